//! Where events wait until they are durable: in their order, many on their way at once, and none passed over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::engine::bookmark::Bookmark;
use crate::engine::intake::{Intake, NotAccepted};
use crate::event::Event;
use crate::repeats::Repeats;
use crate::sources::backoff::Backoff;

/// So many are on their way at once.
pub(super) const TOGETHER: usize = 256;

/// So many wait besides. When there are more, the server is listened to no more, and has to wait, too.
const WAITING: usize = 4_096;

/// Bytes of all that wait. One alone is taken whatever its size.
const WAITING_KIB: u32 = 64 << 10;

/// The longest delay before something is handed over again: each attempt is counted as received and refused.
const AGAIN: Duration = Duration::from_secs(5);

/// The end at which events are put in.
#[derive(Debug, Clone)]
pub(super) struct Line {
    entries: Sender<Entry>,
    room: Arc<Semaphore>,
}

/// The other end.
#[derive(Debug)]
pub(super) struct Waiting(Receiver<Entry>);

#[derive(Debug)]
struct Entry {
    /// None where something is kept apart from any event.
    event: Option<Event>,
    bookmarks: Vec<Bookmark>,
    _room: Option<OwnedSemaphorePermit>,
}

/// An empty line.
pub(super) fn line() -> (Line, Waiting) {
    let (entries, waiting) = mpsc::channel(WAITING);
    let line = Line {
        entries,
        room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
    };
    (line, Waiting(waiting))
}

impl Line {
    /// Puts an event behind all others, with what is to be kept with it, as soon as there is room.
    pub(super) async fn put(&self, event: Event, bookmarks: Vec<Bookmark>) {
        let kib = event.payload.bytes().len().div_ceil(1_024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).clamp(1, WAITING_KIB);
        // Nobody closes the room; without it the event is taken all the same.
        let room = Arc::clone(&self.room).acquire_many_owned(kib).await.ok();
        self.send(Some(event), bookmarks, room).await;
    }

    /// Has something kept, behind all events that were put before.
    pub(super) async fn keep(&self, bookmarks: Vec<Bookmark>) {
        self.send(None, bookmarks, None).await;
    }

    async fn send(&self, event: Option<Event>, bookmarks: Vec<Bookmark>, room: Option<OwnedSemaphorePermit>) {
        let entry = Entry {
            event,
            bookmarks,
            _room: room,
        };
        // The other end is gone only when the engine stops: what is not accepted is heard again by the next life.
        let _ = self.entries.send(entry).await;
    }
}

impl Waiting {
    /// Hands over what is put in, until nothing more can come and all is answered for, or the engine stops.
    pub(super) async fn hand_over(mut self, source: &str, intake: Intake, until: &CancellationToken) {
        let mut sequence = intake.sequence();
        // All that are not accepted yet; of these the first `handed` are on their way.
        let mut entries: VecDeque<Entry> = VecDeque::new();
        let mut answers = FuturesOrdered::new();
        let mut handed = 0;
        let mut together = TOGETHER;
        let mut is_open = true;
        let mut log = Repeats::default();
        let mut backoff = Backoff::new(fastrand::Rng::new()).up_to(AGAIN);
        loop {
            let mut refused = None;
            while let Some(entry) = entries.get(handed).filter(|_| handed < together) {
                let bookmarks = entry.bookmarks.clone();
                match &entry.event {
                    Some(event) => match sequence.hand_over(event.clone(), bookmarks) {
                        Ok(pending) => {
                            answers.push_back(pending.accepted());
                            handed += 1;
                        }
                        Err(why) => {
                            refused = Some(why);
                            break;
                        }
                    },
                    // It stands behind all before it.
                    None if handed > 0 => break,
                    None => match intake.keep(bookmarks).await {
                        Ok(()) => {
                            entries.pop_front();
                            backoff.reset();
                        }
                        Err(why) => {
                            refused = Some(why);
                            break;
                        }
                    },
                }
            }
            if refused.is_none() {
                tokio::select! {
                    Some(answer) = answers.next(), if handed > 0 => match answer {
                        Ok(_) => {
                            entries.pop_front();
                            handed -= 1;
                            together = TOGETHER;
                            backoff.reset();
                        }
                        Err(why) => refused = Some(why),
                    },
                    entry = self.0.recv(), if is_open && entries.len() < TOGETHER => match entry {
                        Some(entry) => entries.push_back(entry),
                        None => is_open = false,
                    },
                    else => return,
                }
            }
            let Some(why) = refused else {
                continue;
            };
            // All must be answered for before they are handed over again. Those before it may be accepted; those behind it are not.
            while let Some(answer) = answers.next().await {
                if answer.is_ok() {
                    entries.pop_front();
                }
            }
            handed = 0;
            if why == NotAccepted::Stopping || until.is_cancelled() {
                return;
            }
            let why = why.to_string();
            if let Some(repeats) = log.allows(&why, Instant::now()) {
                tracing::warn!(source, why, repeats, "events wait: hem takes none now");
            }
            until
                .run_until_cancelled(tokio::time::sleep(backoff.next_delay()))
                .await;
            sequence.begin_anew();
            // The first one shows whether there is room again.
            together = 1;
        }
    }
}
