//! Mutes: what holds executions back, how it is ordered and taken back, and what of each hook waits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActorView, Time, is_false};

/// What a mute covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ScopeView {
    /// Everything.
    All,
    /// What events of one source cause.
    Source {
        /// Its name.
        source: String,
    },
    /// One hook.
    Hook {
        /// Its name.
        hook: String,
    },
    /// One hook about one subject.
    Lane {
        /// The hook's name.
        hook: String,
        /// The subject: `vm/12`.
        subject: String,
    },
}

impl ScopeView {
    /// In words: `everything`, `source zone1`, `hook dns`, `hook dns for vm/12`.
    pub fn in_words(&self) -> String {
        match self {
            Self::All => "everything".to_owned(),
            Self::Source { source } => format!("source {source}"),
            Self::Hook { hook } => format!("hook {hook}"),
            Self::Lane { hook, subject } => format!("hook {hook} for {subject}"),
        }
    }

    /// Whether it covers a hook, whatever the event's source: wholly, or about one subject.
    pub fn is_about(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Source { .. } => false,
            Self::Hook { hook } | Self::Lane { hook, .. } => hook == name,
        }
    }
}

/// A mute in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MuteView {
    /// What it covers.
    pub scope: ScopeView,
    /// Since when.
    pub since: Time,
    /// When it ends by itself.
    pub until: Option<Time>,
    /// Who muted.
    pub by: MutedByView,
    /// Why.
    pub reason: Option<String>,
}

/// Who muted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MutedByView {
    /// Somebody asked for it.
    Operator(ActorView),
    /// The hook's `throttle`.
    Throttle,
    /// The hook's `loop_guard`.
    LoopGuard,
    /// The hook's `breaker`.
    Breaker,
}

/// A mute, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MuteStatusView {
    /// The mute.
    pub mute: MuteView,
    /// Queued executions under it.
    pub held: u64,
}

/// What of one hook waits or runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QueueView {
    /// The hook.
    pub hook: String,
    /// Executions that are queued.
    pub queued: u64,
    /// How many of those a mute holds.
    pub held: u64,
    /// Executions that wait for a newer event.
    pub debouncing: u64,
    /// Executions that wait for an automatic retry.
    pub retrying: u64,
    /// Scripts that run.
    pub running: u64,
    /// Since when the first of the queued ones waits.
    pub oldest: Option<Time>,
    /// About how long it takes until those have run that nothing holds; none while that is not known.
    pub left_ms: Option<u64>,
}

/// What to mute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MuteOrder {
    /// What it covers.
    pub scope: ScopeView,
    /// For how long; until somebody takes it back when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What muting did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MuteReply {
    /// The mute.
    pub mute: MuteView,
    /// Queued executions that it holds.
    pub held: u64,
    /// Scripts under it that run on.
    pub running: u64,
}

/// What becomes of the executions that a mute held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThenView {
    /// They run.
    #[default]
    Run,
    /// Of each hook and subject the newest one runs.
    Latest,
    /// None of them runs.
    Drop,
}

/// Which mute to take back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnmuteOrder {
    /// What it covers.
    pub scope: ScopeView,
    /// What becomes of what it held.
    #[serde(default)]
    pub then: ThenView,
}

/// What taking a mute back did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnmuteReply {
    /// Executions that run or wait for their turn again.
    pub released: u64,
    /// Executions that another mute still holds.
    pub still_held: u64,
    /// Executions that were skipped.
    pub skipped: u64,
    /// Executions that were cancelled: dropped, though they had been tried before.
    pub cancelled: u64,
}

/// How to stop a hook.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// For how long it is muted; until somebody takes that back when unset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Only say what would happen.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
}

/// What stopping a hook did, or would do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StopReply {
    /// Executions that waited and are cancelled.
    pub cancelled: u64,
    /// Scripts that ran and are ended.
    pub ended: u64,
}
