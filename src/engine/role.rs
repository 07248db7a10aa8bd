//! Whether this hem works: one that stands beside one `oned` of several works only while that one leads, and one that only
//! observes starts nothing at all.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;

use super::dispatcher::Message;
use super::handle::OrderError;
pub use super::handle::Stopping;
use crate::event::time::Timestamp;

/// What `oned` says of its part in the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is no other front-end.
    Solo,
    /// It leads.
    Leader,
    /// It does not lead; what it is in its own word, `FOLLOWER`.
    NotLeading(String),
    /// It cannot be asked, and why; or it has not been asked yet.
    Unknown(String),
}

impl Standing {
    /// Whether hem works where `oned` stands so.
    pub const fn works(&self) -> bool {
        matches!(self, Self::Solo | Self::Leader)
    }
}

/// The part that this hem plays among those of several front-ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// What `oned` said last.
    pub standing: Standing,
    /// Since when hem works, or stands by.
    pub since: Timestamp,
    /// Whether another front-end may have led since hem stood by, or, where it works, before: `oned` said that it did not
    /// lead. An `oned` that could not be asked says nothing of others.
    pub other_led: bool,
}

impl Role {
    /// `leader`, `solo` or `standby`.
    pub const fn name(&self) -> &'static str {
        match self.standing {
            Standing::Solo => "solo",
            Standing::Leader => "leader",
            Standing::NotLeading(_) | Standing::Unknown(_) => "standby",
        }
    }

    /// Why hem stands by; none where it works.
    pub fn why(&self) -> Option<String> {
        match &self.standing {
            Standing::Solo | Standing::Leader => None,
            Standing::NotLeading(state) => Some(format!("oned is {state}")),
            Standing::Unknown(why) => Some(why.clone()),
        }
    }
}

/// The present role; none where hem does not ask. Reading it never waits.
#[derive(Debug)]
pub(super) struct PresentRole {
    now: ArcSwapOption<Role>,
    observes: bool,
}

impl PresentRole {
    /// The role at the start. Where hooks run only while `oned` leads, that is not known yet.
    pub(super) fn at_start(leader_only: bool, observes: bool) -> Self {
        let not_asked = || Role {
            standing: Standing::Unknown("oned has not answered yet".to_owned()),
            since: Timestamp::now(),
            other_led: false,
        };
        Self {
            now: ArcSwapOption::new(leader_only.then(|| Arc::new(not_asked()))),
            observes,
        }
    }

    pub(super) fn now(&self) -> Option<Arc<Role>> {
        self.now.load_full()
    }

    pub(super) fn set(&self, role: Role) {
        self.now.store(Some(Arc::new(role)));
    }

    /// Why hem stands by; none where it works.
    pub(super) fn standby(&self) -> Option<String> {
        self.now.load().as_ref().and_then(|role| role.why())
    }

    /// Whether hem only records what would run.
    pub(super) const fn observes(&self) -> bool {
        self.observes
    }

    /// What somebody is told who hands an event over that nobody would take up.
    pub(super) fn accepts_nothing(&self) -> Option<OrderError> {
        self.standby().map(|why| {
            OrderError::NotPossible(format!(
                "this hem is on standby ({why}) and starts nothing; ask the one on the front-end that leads"
            ))
        })
    }

    /// What somebody is told who asks for a script to be started that is not.
    pub(super) fn starts_nothing(&self) -> Option<OrderError> {
        self.observes_only().or_else(|| self.accepts_nothing())
    }

    /// What somebody is told who asks anything of executions that are only observed.
    pub(super) fn observes_only(&self) -> Option<OrderError> {
        self.observes.then(|| {
            OrderError::NotPossible(
                "this hem only observes (`hem run --observe`): nothing is started, and nothing can be ended"
                    .to_owned(),
            )
        })
    }
}

/// The end at which the engine is told how `oned` stands. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Leadership {
    pub(super) dispatcher: mpsc::Sender<Message>,
}

impl Leadership {
    /// Tells how `oned` stands now. What is not news changes nothing.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn tell(&self, standing: Standing) -> Result<(), Stopping> {
        self.dispatcher
            .send(Message::Standing(standing))
            .await
            .map_err(|_| Stopping)
    }
}
