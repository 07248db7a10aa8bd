//! The live feed as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::super::access::Caller;
use super::super::api::{FeedFilter, FeedMessage};
use super::super::room::Room;
use super::ring::{Position, Ring};

/// A feed on which nothing happens says so this often: what lies between must not think it dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Browsers come back after this time when the connection is cut.
const COME_BACK_MILLIS: u32 = 2_000;

/// The feed from where a reader stood, or from now on.
pub(in super::super) fn feed(
    room: &Arc<Room>,
    caller: Caller,
    filter: FeedFilter,
    last_seen: Option<&str>,
) -> Response {
    room.feed.fill(room);
    let ring = Arc::clone(&room.feed);
    let (position, first) = begin(&ring, last_seen);
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is at once.
    heartbeat.reset();
    let reader = Reader {
        news: ring.news(),
        ring,
        filter,
        position,
        first: Some(format!("retry: {COME_BACK_MILLIS}\n{first}")),
        heartbeat,
        caller,
        room: Arc::clone(room),
    };
    (
        [
            (CONTENT_TYPE, "text/event-stream"),
            (CACHE_CONTROL, "no-store"),
            // Proxies of nginx's kind hold answers back otherwise.
            (HeaderName::from_static("x-accel-buffering"), "no"),
        ],
        Body::from_stream(reader.messages()),
    )
        .into_response()
}

/// Where a reader goes on, and what it is told first.
fn begin(ring: &Ring, last_seen: Option<&str>) -> (Position, String) {
    let end = ring.end();
    let Some(last_seen) = last_seen else {
        return (end, frame(end, &FeedMessage::Hello));
    };
    match last_seen
        .parse::<Position>()
        .ok()
        .filter(|position| ring.after(*position).is_some())
    {
        Some(position) => (position, ":\n\n".to_owned()),
        None => {
            let why = format!("what followed `{}` is no longer kept", shortened(last_seen));
            (end, frame(end, &FeedMessage::Reset { why }))
        }
    }
}

fn shortened(id: &str) -> String {
    id.chars().take(40).collect()
}

fn frame(position: Position, message: &FeedMessage) -> String {
    let json = serde_json::to_string(message).unwrap_or_default();
    format!("id: {position}\nevent: {}\ndata: {json}\n\n", message.name())
}

struct Reader {
    ring: Arc<Ring>,
    news: watch::Receiver<u64>,
    filter: FeedFilter,
    position: Position,
    /// What is to be said before anything else.
    first: Option<String>,
    heartbeat: Interval,
    caller: Caller,
    room: Arc<Room>,
}

impl Reader {
    fn messages(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::unfold(self, |mut reader| async move {
            let text = reader.next().await?;
            Some((Ok(Bytes::from(text)), reader))
        })
    }

    /// What is to be said next; none when the daemon stops, or the caller is no longer welcome. Nothing of it is lost when it is dropped.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if !self.caller.is_still_welcome() {
                return None;
            }
            self.news.mark_unchanged();
            let Some(lines) = self.ring.after(self.position) else {
                self.position = self.ring.end();
                let why = "the reader was too slow".to_owned();
                return Some(frame(self.position, &FeedMessage::Reset { why }));
            };
            if let Some(last) = lines.last() {
                self.position = self.ring.at(last.number);
                let mut text = String::new();
                for line in lines.iter().filter(|line| line.is_wanted(&self.filter)) {
                    let position = self.ring.at(line.number);
                    text.push_str(&format!("id: {position}\nevent: {}\ndata: ", line.name));
                    text.push_str(&String::from_utf8_lossy(&line.json));
                    text.push_str("\n\n");
                }
                if text.is_empty() {
                    continue;
                }
                self.heartbeat.reset();
                return Some(text);
            }
            tokio::select! {
                // What was said before the end is said.
                biased;
                Ok(()) = self.news.changed() => {}
                () = self.room.shutdown.cancelled() => return None,
                // A message without data only moves the reader on: what it did not want need not be looked at again.
                _ = self.heartbeat.tick() => {
                    if !self.caller.is_still_welcome() {
                        return None;
                    }
                    return Some(format!(":\nid: {}\n\n", self.position));
                }
            }
        }
    }
}
