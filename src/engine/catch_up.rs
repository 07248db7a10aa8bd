//! The way by which a source learns that there is something to catch up with, and hands over what it found.
//!
//! A source's task polls the controller; the matching thread, which takes the live events too, compares and decides. So what
//! is asked here stands in the intake, in line with them.

use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};

use super::intake::Intake;
pub use super::known_states::{NotedOnly, Seen};
use crate::event::Event;
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::{ResourceId, StateNames};

/// How long is waited before something is handed over again, where there was no room for it.
const AGAIN: Duration = Duration::from_millis(200);

/// One step of catching up, as the matching thread takes it.
#[derive(Debug)]
pub enum Step {
    /// A poll begins. Answered with why states are only noted, if so; None where nothing is accepted at present.
    Begin {
        /// Where the answer goes.
        reply: oneshot::Sender<Option<Option<NotedOnly>>>,
    },
    /// A page of a pool. Answered with the places of those resources whose state differs from the known one; None where the
    /// poll counts no more, here and below.
    Compare {
        /// What kind of pool.
        resource: Resource,
        /// When it was asked for.
        asked: Instant,
        /// What is on the page.
        page: Vec<Seen>,
        /// Where the answer goes.
        reply: oneshot::Sender<Option<Vec<usize>>>,
    },
    /// All pages of a pool were handed over. Answered with the numbers of known resources that have to be asked for.
    Absent {
        /// What kind of pool.
        resource: Resource,
        /// Where the answer goes.
        reply: oneshot::Sender<Option<Vec<u64>>>,
    },
    /// A state that differs.
    Raise(Box<Raise>),
    /// The controller does not know a resource any more.
    Forget(ResourceId),
    /// The poll is through.
    End {
        /// Answered when that is taken, with whether the poll counted to its end.
        reply: oneshot::Sender<bool>,
    },
    /// The controller could not be asked.
    Failed {
        /// Why, as a sentence for the operator.
        why: String,
    },
}

/// A state that may have been missed, with the event that would have told of it.
#[derive(Debug)]
pub struct Raise {
    /// Which resource.
    pub id: ResourceId,
    /// Its state.
    pub names: StateNames,
    /// When it was asked for.
    pub asked: Instant,
    /// The event, marked as synthesised.
    pub event: Event,
    /// Where it is said what became of it.
    pub reply: oneshot::Sender<Taken>,
}

/// What became of a state that was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Its event is accepted.
    Raised,
    /// It is no news, or nobody wants to know.
    NotRaised,
    /// The poll counts no more: nothing is accepted at present, or was not meanwhile.
    GivenUp,
}

impl Step {
    /// What it counts against the intake's limit in bytes.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Raise(raise) => raise.event.payload.bytes().len(),
            _ => 0,
        }
    }
}

/// The engine has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine has ended")]
pub struct Ended;

/// Why a poll does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Halted {
    /// The engine has ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// The engine accepts nothing at present, or did not meanwhile, and what was asked for grows old. The gap stays open.
    #[error("the engine accepts nothing at present")]
    GivenUp,
}

/// A source's end.
#[derive(Debug)]
pub struct CatchUp {
    pub(super) intake: Intake,
    /// Whether there is something to catch up with.
    pub(super) open: watch::Receiver<bool>,
}

impl CatchUp {
    /// Comes back when there is something to catch up with.
    ///
    /// # Errors
    /// When the engine has ended.
    pub async fn wanted(&mut self) -> Result<(), Ended> {
        self.open
            .wait_for(|is_open| *is_open)
            .await
            .map(drop)
            .map_err(|_| Ended)
    }

    /// Begins a poll; says why states are only noted, if so.
    ///
    /// # Errors
    /// See [`Halted`].
    pub async fn begin(&self) -> Result<Option<NotedOnly>, Halted> {
        self.ask(|reply| Step::Begin { reply })
            .await?
            .ok_or(Halted::GivenUp)
    }

    /// Hands a page of a pool over; gives the places of the resources whose state differs from the known one.
    ///
    /// # Errors
    /// See [`Halted`].
    pub async fn differing(
        &self,
        resource: &Resource,
        asked: Instant,
        page: Vec<Seen>,
    ) -> Result<Vec<usize>, Halted> {
        self.ask(|reply| Step::Compare {
            resource: resource.clone(),
            asked,
            page,
            reply,
        })
        .await?
        .ok_or(Halted::GivenUp)
    }

    /// After all pages of a pool: the numbers of known resources that were on none and are to be asked for.
    ///
    /// # Errors
    /// See [`Halted`].
    pub async fn absent(&self, resource: &Resource) -> Result<Vec<u64>, Halted> {
        self.ask(|reply| Step::Absent {
            resource: resource.clone(),
            reply,
        })
        .await?
        .ok_or(Halted::GivenUp)
    }

    /// Hands over a state that differs, with its event; says whether the event is raised.
    ///
    /// # Errors
    /// See [`Halted`].
    pub async fn raise(
        &self,
        id: &ResourceId,
        names: &StateNames,
        asked: Instant,
        event: Event,
    ) -> Result<bool, Halted> {
        let taken = self
            .ask(|reply| {
                Step::Raise(Box::new(Raise {
                    id: id.clone(),
                    names: names.clone(),
                    asked,
                    event,
                    reply,
                }))
            })
            .await?;
        match taken {
            Taken::Raised => Ok(true),
            Taken::NotRaised => Ok(false),
            Taken::GivenUp => Err(Halted::GivenUp),
        }
    }

    /// Says that the controller does not know a resource.
    pub async fn forget(&self, id: ResourceId) {
        self.tell(Step::Forget(id)).await;
    }

    /// Ends the poll: everything was handed over.
    ///
    /// # Errors
    /// See [`Halted`].
    pub async fn end(&self) -> Result<(), Halted> {
        let counted = self.ask(|reply| Step::End { reply }).await?;
        counted.then_some(()).ok_or(Halted::GivenUp)
    }

    /// Says that the controller could not be asked.
    pub async fn failed(&self, why: &str) {
        let why = why.to_owned();
        self.tell(Step::Failed { why }).await;
    }

    async fn ask<T>(&self, step: impl FnOnce(oneshot::Sender<T>) -> Step) -> Result<T, Ended> {
        let (reply, answer) = oneshot::channel();
        self.tell(step(reply)).await;
        answer.await.map_err(|_| Ended)
    }

    /// Waits while the intake is full: what sources receive goes first.
    async fn tell(&self, step: Step) {
        let mut step = Some(step);
        while let Some(refused) = step.take().and_then(|step| self.intake.catch_up(step).err()) {
            step = Some(refused);
            tokio::time::sleep(AGAIN).await;
        }
    }
}
