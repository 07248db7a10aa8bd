//! What the live feed says, and who listens in a browser.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EventView, ExecutionView, MuteView, ScopeView, Time, is_false};

/// What of the live feed is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FeedFilter {
    /// No events.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_events: bool,
    /// No executions.
    #[serde(default, skip_serializing_if = "is_false")]
    pub without_executions: bool,
    /// Of executions, only those of this hook; of events, only those that it matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Only events and executions about this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A message of the live feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedMessage {
    /// The feed begins: whatever becomes durable from now on follows.
    Hello,
    /// An event was accepted.
    Event(Box<EventView>),
    /// An execution was made, or changed its state.
    Execution(Box<ExecutionView>),
    /// Something was muted.
    Muted(Box<MuteView>),
    /// A mute came to its end.
    Unmuted {
        /// What it covered.
        scope: ScopeView,
    },
    /// More happened at once than the feed takes: so many messages are missing here.
    Skipped {
        /// How many.
        lines: u64,
    },
    /// What followed the last message that the reader has seen is no longer kept: lists must be read again.
    Reset {
        /// Why.
        why: String,
    },
}

impl FeedMessage {
    /// Its name, which is also that of the server-sent event.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Event(_) => "event",
            Self::Execution(_) => "execution",
            Self::Muted(_) => "muted",
            Self::Unmuted { .. } => "unmuted",
            Self::Skipped { .. } => "skipped",
            Self::Reset { .. } => "reset",
        }
    }
}

/// A browser's session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionView {
    /// The name of the token that began it.
    pub name: String,
    /// `viewer` or `operator`.
    pub role: String,
    /// What every writing request of the session must repeat in the header `X-Hem-CSRF`.
    pub csrf: String,
    /// When it ends by itself.
    pub expires: Time,
}
