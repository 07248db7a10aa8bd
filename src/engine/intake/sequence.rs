//! Deliveries that only make sense in their order: a cursor that is kept with each of them must never pass one that was not accepted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Intake, NotAccepted, Pending};
use crate::engine::bookmark::Bookmark;
use crate::event::Event;

/// Events that a source reads one behind the other. Many may be on their way at once; as soon as one of them is not accepted, none of
/// those behind it is ([`NotAccepted::Behind`]), until the source begins anew with it.
#[derive(Debug)]
pub struct Sequence {
    intake: Intake,
    thread: Thread,
}

/// What the deliveries of a sequence have in common since it last began.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Thread(Arc<AtomicBool>);

impl Thread {
    /// Whether one of them was not accepted.
    pub(in crate::engine) fn is_cut(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// One of them is not accepted.
    pub(in crate::engine) fn cut(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Sequence {
    pub(super) fn new(intake: Intake) -> Self {
        Self {
            intake,
            thread: Thread::default(),
        }
    }

    /// Hands the next event over, with what is to be kept in the same entry, and does not wait.
    ///
    /// # Errors
    /// It is not taken now, or one before it was not accepted.
    pub fn hand_over(&self, event: Event, bookmarks: Vec<Bookmark>) -> Result<Pending, NotAccepted> {
        if self.thread.is_cut() {
            return Err(NotAccepted::Behind);
        }
        let pending = self
            .intake
            .hand_over_in(event, bookmarks, Some(self.thread.clone()));
        if pending.is_err() {
            self.thread.cut();
        }
        pending
    }

    /// Begins again: the next event to be handed over is the first one that was not accepted. What was handed over before must have
    /// been answered for.
    pub fn begin_anew(&mut self) {
        self.thread = Thread::default();
    }
}
