//! The way in for sources whose senders wait for an answer: an event is handed over, and the answer comes when it is durable.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::{Accepted, Entry, Intake, IntakeQueue, NotKept, Sequence, Thread};
use crate::engine::bookmark::Bookmark;
use crate::event::Event;

/// Why an event was not accepted. All of it passes: whoever sent it may send it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAccepted {
    /// The intake queue is full.
    #[error("the intake queue is full")]
    Full,
    /// There is no room on the disk or in the backlog; or this hem stands by.
    #[error("{0}")]
    NoRoom(String),
    /// One before it in its [`Sequence`] was not accepted.
    #[error("one before it was not accepted")]
    Behind,
    /// The engine is stopping, or the store takes no writes.
    #[error("the engine is stopping")]
    Stopping,
}

impl NotAccepted {
    /// The same in a few words, for programs and for the counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Full => "intake full",
            Self::NoRoom(_) => "no room",
            Self::Behind => "behind a refused one",
            Self::Stopping => "stopping",
        }
    }
}

/// An event that a source hands over, already decoded.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// What is kept for the source in the same entry: it is durable exactly where the event is.
    pub bookmarks: Vec<Bookmark>,
    /// What it has in common with those it makes sense with alone.
    pub(in crate::engine) thread: Option<Thread>,
    /// Gets the answer when the event is durable, or why it is not accepted.
    pub reply: oneshot::Sender<Result<Accepted, NotAccepted>>,
}

/// What a source wants kept, apart from any event.
#[derive(Debug)]
pub struct Keeping {
    /// The source's name.
    pub source: Arc<str>,
    /// What is to be kept.
    pub bookmarks: Vec<Bookmark>,
    /// Gets the answer when it is durable, or why it is not kept.
    pub reply: oneshot::Sender<Result<(), NotAccepted>>,
}

/// An event that was handed over and is not yet answered for.
#[derive(Debug)]
pub struct Pending(oneshot::Receiver<Result<Accepted, NotAccepted>>);

impl Pending {
    /// Waits until the event is durable.
    ///
    /// # Errors
    /// It is not accepted now.
    pub async fn accepted(self) -> Result<Accepted, NotAccepted> {
        // The engine ends without an answer where the store takes no writes.
        self.0.await.unwrap_or(Err(NotAccepted::Stopping))
    }
}

impl Intake {
    /// Hands an event over that was decoded already; comes back when it is durable. Where it is not accepted, it is counted
    /// as refused; where the engine ends over it, nothing can be counted any more.
    ///
    /// # Errors
    /// It is not accepted now.
    pub async fn deliver(&self, event: Event) -> Result<Accepted, NotAccepted> {
        self.hand_over(event, Vec::new())?.accepted().await
    }

    /// Hands an event over that was decoded already, with what is to be kept in the same entry, and does not wait: so many may be
    /// on their way, and are accepted in this order; each by itself, so that a later one may be where an earlier one is not
    /// ([`Intake::sequence`] sees to that).
    ///
    /// # Errors
    /// It is not taken now.
    pub fn hand_over(&self, event: Event, bookmarks: Vec<Bookmark>) -> Result<Pending, NotAccepted> {
        self.hand_over_in(event, bookmarks, None)
    }

    /// Deliveries that only make sense in their order.
    pub fn sequence(&self) -> Sequence {
        Sequence::new(self.clone())
    }

    pub(super) fn hand_over_in(
        &self,
        event: Event,
        bookmarks: Vec<Bookmark>,
        thread: Option<Thread>,
    ) -> Result<Pending, NotAccepted> {
        let limits = self.shared.limits;
        let mut state = self.shared.lock();
        let refusal = if state.is_closed {
            Some(NotAccepted::Stopping)
        } else if state.has_room(limits, event.payload.bytes().len()) {
            None
        } else {
            Some(NotAccepted::Full)
        };
        if let Some(refusal) = refusal {
            state.not_kept(&self.source, NotKept::Refused(refusal.reason()));
            return Err(refusal);
        }
        let source = state.sources.entry(Arc::clone(&self.source)).or_default();
        source.counters.received += 1;
        let held_back = std::mem::take(&mut source.held_back);
        state.push_all(held_back.into_entries(&self.source));
        let (reply, answer) = oneshot::channel();
        state.push(Entry::Delivered(Box::new(Delivery {
            event,
            bookmarks,
            thread,
            reply,
        })));
        self.shared.filled.notify_one();
        Ok(Pending(answer))
    }

    /// Keeps something apart from any event, behind all that was handed over before; comes back when it is durable.
    ///
    /// # Errors
    /// It is not kept now.
    pub async fn keep(&self, bookmarks: Vec<Bookmark>) -> Result<(), NotAccepted> {
        let (reply, answer) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if state.is_closed {
                return Err(NotAccepted::Stopping);
            }
            if !state.has_room(self.shared.limits, 0) {
                return Err(NotAccepted::Full);
            }
            state.push(Entry::Kept(Box::new(Keeping {
                source: Arc::clone(&self.source),
                bookmarks,
                reply,
            })));
            self.shared.filled.notify_one();
        }
        // The engine ends without an answer where the store takes no writes.
        answer.await.unwrap_or(Err(NotAccepted::Stopping))
    }

    /// Counts something that was received and is not handed over.
    pub fn not_kept(&self, why: NotKept) {
        self.shared.lock().not_kept(&self.source, why);
    }

    /// Counts something odd in what is handed over all the same.
    pub fn remark(&self, what: &'static str) {
        let mut state = self.shared.lock();
        let source = state.sources.entry(Arc::clone(&self.source)).or_default();
        match source.noted.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += 1,
            None => source.noted.push((what, 1)),
        }
    }
}

impl IntakeQueue {
    /// What sources received and did not hand over since the last time, by source and reason.
    pub fn take_not_kept(&self) -> Vec<(Arc<str>, NotKept, u64)> {
        let mut state = self.shared.lock();
        let mut taken = Vec::new();
        for (name, source) in &mut state.sources {
            let counted = std::mem::take(&mut source.not_kept).into_iter();
            taken.extend(counted.map(|(why, count)| (Arc::clone(name), why, count)));
        }
        taken
    }

    /// What sources found odd in what they handed over since the last time, by source.
    pub fn take_noted(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let mut state = self.shared.lock();
        let mut taken = Vec::new();
        for (name, source) in &mut state.sources {
            let counted = std::mem::take(&mut source.noted).into_iter();
            taken.extend(counted.map(|(what, count)| (Arc::clone(name), what, count)));
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::super::{IntakeQueue, Limits};
    use super::*;
    use crate::event::Facts;
    use crate::event::id::Seq;
    use crate::event::payload::Payload;
    use crate::event::time::Timestamp;

    fn event() -> Event {
        Event {
            seq: Seq::default(),
            source: "web".into(),
            key: "WEBHOOK x".to_owned(),
            subject: None,
            received: Timestamp::from_millis(1),
            facts: Facts::Undecodable {
                reason: String::new(),
            },
            ambiguous: false,
            synthesised: false,
            payload: Payload::new(Bytes::from_static(b"{}")),
        }
    }

    const ONE: Limits = Limits {
        events: 1,
        bytes: 1000,
    };

    #[tokio::test]
    async fn a_delivery_is_answered_when_somebody_answers_it() {
        let mut queue = IntakeQueue::new(ONE);
        let intake = queue.source("web");
        let waiting = tokio_util::task::TaskTracker::new();
        let delivered = waiting.spawn(async move { intake.deliver(event()).await });
        let taken = tokio::task::spawn_blocking(move || queue.take(1, Duration::from_secs(60)))
            .await
            .expect("a taker");
        let Some(Entry::Delivered(delivery)) = taken.into_iter().next() else {
            panic!("a delivery")
        };
        let accepted = Accepted {
            seq: Seq(7),
            executions: Vec::new(),
        };
        delivery.reply.send(Ok(accepted.clone())).expect("somebody waits");
        assert_eq!(delivered.await.expect("a task"), Ok(accepted));
    }

    #[tokio::test]
    async fn what_is_refused_at_the_door_is_counted_once_with_its_reason() {
        let queue = IntakeQueue::new(ONE);
        let intake = queue.source("web");
        let _first = intake.hand_over(event(), Vec::new()).expect("there is room");
        assert_eq!(intake.deliver(event()).await, Err(NotAccepted::Full));
        intake.not_kept(NotKept::Duplicate);
        intake.not_kept(NotKept::Duplicate);
        let source: Arc<str> = "web".into();
        let expected = vec![
            (Arc::clone(&source), NotKept::Refused("intake full"), 1),
            (source, NotKept::Duplicate, 2),
        ];
        assert_eq!(queue.take_not_kept(), expected);
        assert_eq!(queue.take_not_kept(), Vec::new());
        assert_eq!(intake.counters().received, 4);
        let emitter = queue.emitter();
        emitter.close();
        assert_eq!(intake.deliver(event()).await, Err(NotAccepted::Stopping));
    }

    #[tokio::test]
    async fn a_queue_that_goes_away_answers_that_nothing_is_accepted() {
        let queue = IntakeQueue::new(ONE);
        let intake = queue.source("web");
        let answer = intake.hand_over(event(), Vec::new()).expect("there is room");
        drop(queue);
        assert_eq!(answer.accepted().await, Err(NotAccepted::Stopping));
        assert_eq!(intake.deliver(event()).await, Err(NotAccepted::Stopping));
    }
}
