//! Whether this hem works: one that stands beside one `oned` of several works only while that one leads.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc;

use super::dispatcher::Message;
use super::handle::Stopping;
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
#[derive(Debug, Default)]
pub(super) struct PresentRole(ArcSwapOption<Role>);

impl PresentRole {
    /// The role of a hem that works only while its `oned` leads, and has not asked yet.
    pub(super) fn not_asked() -> Self {
        Self(ArcSwapOption::from_pointee(Role {
            standing: Standing::Unknown("oned has not answered yet".to_owned()),
            since: Timestamp::now(),
        }))
    }

    pub(super) fn now(&self) -> Option<Arc<Role>> {
        self.0.load_full()
    }

    pub(super) fn set(&self, role: Role) {
        self.0.store(Some(Arc::new(role)));
    }

    /// Why hem stands by; none where it works.
    pub(super) fn standby(&self) -> Option<String> {
        self.0.load().as_ref().and_then(|role| role.why())
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
