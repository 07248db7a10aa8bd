//! What the live feed said last, numbered, so that a reader who was cut off goes on where it stood.
//!
//! It is filled from the first reader on; a daemon that nobody watches keeps nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::super::api::{FeedFilter, FeedMessage};
use super::super::room::Room;
use super::super::veil::Veil;
use super::super::{convert, mutes};
use crate::engine::handle::Notice;
use crate::event::id::StoreId;

/// So many messages are kept.
const MOST: usize = 10_000;

/// Together they have at most so many bytes.
const MOST_BYTES: usize = 16 << 20;

/// So many are given at once.
const AT_ONCE: usize = 64;

/// The messages that are kept.
#[derive(Debug)]
pub(in super::super) struct Ring {
    /// Tells one life of the daemon from another: messages are numbered from 1 in each.
    life: u32,
    kept: Mutex<Kept>,
    last: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    is_filled: bool,
    lines: VecDeque<Arc<Line>>,
    bytes: usize,
    /// The number of the last message.
    last: u64,
}

/// A message, as it is kept.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) name: &'static str,
    pub(super) json: Bytes,
    about: About,
}

/// What decides whether a reader wants it.
#[derive(Debug)]
enum About {
    Event {
        hooks: Vec<String>,
        subject: Option<String>,
    },
    Execution {
        hook: String,
        subject: Option<String>,
    },
    Everybody,
}

impl About {
    fn of(message: &FeedMessage) -> Self {
        match message {
            FeedMessage::Event(event) => Self::Event {
                hooks: event.hooks.clone(),
                subject: event.subject.clone(),
            },
            FeedMessage::Execution(execution) => Self::Execution {
                hook: execution.hook.clone(),
                subject: execution.subject.clone(),
            },
            _ => Self::Everybody,
        }
    }
}

impl Line {
    pub(super) fn is_wanted(&self, filter: &FeedFilter) -> bool {
        let is_of = |known: &Option<String>| filter.subject.is_none() || *known == filter.subject;
        match &self.about {
            About::Event { hooks, subject } => {
                !filter.without_events
                    && filter.hook.as_ref().is_none_or(|hook| hooks.contains(hook))
                    && is_of(subject)
            }
            About::Execution { hook, subject } => {
                !filter.without_executions
                    && filter.hook.as_ref().is_none_or(|wanted| wanted == hook)
                    && is_of(subject)
            }
            About::Everybody => true,
        }
    }
}

/// Where a reader stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    life: u32,
    /// The last message it has seen.
    pub(super) number: u64,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:08x}-{}", self.life, self.number)
    }
}

impl std::str::FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (life, number) = text.split_once('-').ok_or(NoPosition)?;
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if life.len() != 8 || !is_plain(life) || !is_plain(number) {
            return Err(NoPosition);
        }
        Ok(Self {
            life: u32::from_str_radix(life, 16).map_err(|_| NoPosition)?,
            number: number.parse().map_err(|_| NoPosition)?,
        })
    }
}

/// A text is no position in a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of a message of the feed")]
pub(super) struct NoPosition;

impl Default for Ring {
    fn default() -> Self {
        Self {
            life: fastrand::u32(..),
            kept: Mutex::default(),
            last: watch::Sender::new(0),
        }
    }
}

impl Ring {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fill it, unless that has been done.
    pub(super) fn fill(self: &Arc<Self>, room: &Room) {
        let mut kept = self.kept();
        if std::mem::replace(&mut kept.is_filled, true) {
            return;
        }
        let live = room.handle.subscribe();
        let (ring, store, veil) = (
            Arc::clone(self),
            room.handle.store().id().clone(),
            room.veil.clone(),
        );
        let shutdown = room.shutdown.clone();
        room.tasks
            .spawn(async move { ring.follow(live, &store, &veil, &shutdown).await });
    }

    async fn follow(
        &self,
        mut live: broadcast::Receiver<Notice>,
        store: &StoreId,
        veil: &Veil,
        shutdown: &CancellationToken,
    ) {
        loop {
            let Some(received) = shutdown.run_until_cancelled(live.recv()).await else {
                return;
            };
            match received {
                Ok(notice) => self.push(&message(store, veil, &notice)),
                Err(RecvError::Lagged(lines)) => self.push(&FeedMessage::Skipped { lines }),
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn push(&self, message: &FeedMessage) {
        let json = Bytes::from(serde_json::to_vec(message).unwrap_or_default());
        let mut kept = self.kept();
        kept.last += 1;
        kept.bytes += json.len();
        let line = Line {
            number: kept.last,
            name: message.name(),
            about: About::of(message),
            json,
        };
        kept.lines.push_back(Arc::new(line));
        while kept.lines.len() > MOST || (kept.bytes > MOST_BYTES && kept.lines.len() > 1) {
            if let Some(gone) = kept.lines.pop_front() {
                kept.bytes -= gone.json.len();
            }
        }
        let last = kept.last;
        drop(kept);
        self.last.send_replace(last);
    }

    /// Where a reader stands who has seen everything.
    pub(super) fn end(&self) -> Position {
        Position {
            life: self.life,
            number: self.kept().last,
        }
    }

    /// The same number in this life.
    pub(super) fn at(&self, number: u64) -> Position {
        Position {
            life: self.life,
            number,
        }
    }

    /// What follows a position, not all of it at once; none where it is no longer kept, or never was.
    pub(super) fn after(&self, position: Position) -> Option<Vec<Arc<Line>>> {
        let kept = self.kept();
        if position.life != self.life || position.number > kept.last {
            return None;
        }
        let unseen = usize::try_from(kept.last - position.number).ok()?;
        let from = kept.lines.len().checked_sub(unseen)?;
        Some(kept.lines.iter().skip(from).take(AT_ONCE).cloned().collect())
    }

    /// Tells when there is something new.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }
}

fn message(store: &StoreId, veil: &Veil, notice: &Notice) -> FeedMessage {
    match notice {
        Notice::Event(listed) => {
            let mut view = convert::event(store, listed);
            veil.event(&mut view);
            FeedMessage::Event(Box::new(view))
        }
        Notice::Execution(execution) => {
            FeedMessage::Execution(Box::new(convert::execution(store, execution)))
        }
        Notice::Muted(mute) => FeedMessage::Muted(Box::new(mutes::view(mute))),
        Notice::Unmuted(scope) => FeedMessage::Unmuted {
            scope: mutes::scope_view(scope),
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(messages: u64) -> Ring {
        let ring = Ring::default();
        for lines in 1..=messages {
            ring.push(&FeedMessage::Skipped { lines });
        }
        ring
    }

    /// The numbers of all that follows.
    fn numbers(ring: &Ring, mut position: Position) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        loop {
            let lines = ring.after(position)?;
            let Some(last) = lines.last() else {
                return Some(numbers);
            };
            position = ring.at(last.number);
            numbers.extend(lines.iter().map(|line| line.number));
        }
    }

    #[test]
    fn a_reader_goes_on_where_it_stood_as_long_as_that_is_kept() {
        let ring = filled(200);
        assert_eq!(numbers(&ring, ring.at(150)), Some((151..=200).collect()));
        assert_eq!(numbers(&ring, ring.at(0)), Some((1..=200).collect()));
        assert_eq!(numbers(&ring, ring.end()), Some(Vec::new()));
        assert_eq!(numbers(&ring, ring.at(201)), None, "not of this life");
        let of_another_life = Position {
            life: ring.life.wrapping_add(1),
            number: 150,
        };
        assert_eq!(numbers(&ring, of_another_life), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let ring = filled(MOST as u64 + 10);
        assert_eq!(numbers(&ring, ring.at(9)), None, "no longer kept");
        assert_eq!(
            numbers(&ring, ring.at(10)).map(|numbers| numbers.len()),
            Some(MOST)
        );
        let large = FeedMessage::Reset {
            why: "x".repeat(MOST_BYTES / 3),
        };
        for _ in 0..4 {
            ring.push(&large);
        }
        let last = ring.end().number;
        assert_eq!(numbers(&ring, ring.at(last - 2)), Some(vec![last - 1, last]));
        assert_eq!(numbers(&ring, ring.at(last - 3)), None);
        assert!(ring.kept().bytes <= MOST_BYTES);
    }

    proptest! {
        #[test]
        fn positions_are_read_back(life: u32, number: u64) {
            let position = Position { life, number };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<Position>();
        }
    }
}
