//! Whether the daemon lives and can do its work.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The daemon lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AliveView {
    /// Always.
    pub alive: bool,
}

/// Whether the daemon can do its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReadyView {
    /// Whether it can.
    pub ready: bool,
    /// Whether it leaves the work to another front-end, as it should.
    pub standby: bool,
    /// Why it cannot.
    pub reasons: Vec<UnreadyReason>,
}

/// Why the daemon cannot do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnreadyReason {
    /// It is stopping, or the store takes no more writes.
    Stopping,
    /// A part of it does not come round: the disk may not answer.
    Stuck,
    /// The disk or the backlog is full: nothing new is accepted.
    NotAccepting,
    /// Nobody can say whether it leads, so it stands by.
    LeaderUnknown,
}
