//! How the daemon does: its sums, its sources, and what is not as it should be.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{MuteStatusView, QueueView, Time, is_false};

/// How the daemon does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusView {
    /// The version of the program.
    pub version: String,
    /// The store's id.
    pub store: String,
    /// When the daemon started.
    pub started: Time,
    /// When this was said.
    pub now: Time,
    /// Where the control API and the page are over TCP, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The last number given to an event.
    pub last_seq: u64,
    /// Where the events of each source ended.
    pub events: BTreeMap<String, EventSums>,
    /// How many kept executions are in each state.
    pub executions: BTreeMap<String, u64>,
    /// How many of the queued ones a mute holds.
    #[serde(default)]
    pub held: u64,
    /// The mutes in force.
    #[serde(default)]
    pub mutes: Vec<MuteStatusView>,
    /// What waits or runs, by hook; hooks of which nothing does are left out.
    #[serde(default)]
    pub queue: Vec<QueueView>,
    /// The sources' connections.
    pub sources: BTreeMap<String, SourceView>,
    /// Executions that wait too long.
    pub blocked: Vec<BlockedView>,
    /// Scripts running now.
    pub running: usize,
    /// Scripts that may run at once.
    pub concurrency: usize,
    /// Hooks in force.
    pub hooks: usize,
    /// Broken hook files.
    pub stale: Vec<StaleView>,
    /// Matches whose condition failed to be worked out.
    pub condition_errors: u64,
    /// Matches that came to nothing because their condition asks for an element the event does not have.
    #[serde(default)]
    pub absent_elements: u64,
    /// From receipt to acceptance.
    pub acceptance: Vec<AcceptanceBucket>,
    /// The time from receipt to acceptance of all these events, added up, in milliseconds.
    #[serde(default)]
    pub acceptance_total_ms: u64,
    /// Since when the execution waits for its turn that has waited longest.
    #[serde(default)]
    pub oldest_queued: Option<Time>,
    /// How much the store keeps.
    #[serde(default)]
    pub kept: KeptView,
    /// Why no new work is accepted; none when it is.
    pub not_accepting: Option<String>,
    /// Nothing is started or replied: what would run is recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub observing: bool,
    /// The part it plays among those of several front-ends; none where it works whatever `oned` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleView>,
    /// How the telling of results to the sources' controllers goes.
    #[serde(default)]
    pub results: BTreeMap<String, ResultsView>,
    /// How it stands with the hooks that `oned` keeps; none where they are not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolView>,
    /// What is not as it should be, as sentences; empty when all is well.
    pub concerns: Vec<String>,
}

/// How it stands with the hooks that `oned` keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PoolView {
    /// The source whose controller it is.
    pub source: String,
    /// Where it is asked.
    pub endpoint: String,
    /// Hooks of it in force.
    pub hooks: usize,
    /// Hooks of it that hooks of the folder stand for.
    pub shadowed: usize,
    /// Hooks of it that cannot be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unusable: Vec<UnusableView>,
    /// When it was read last since the daemon started. While it was not, its hooks are those of the last time.
    pub read: Option<Time>,
    /// Since when it cannot be read; none when it can.
    pub away_since: Option<Time>,
    /// Why it cannot be read.
    pub away: Option<String>,
    /// How often it was read since the daemon started.
    pub reads: u64,
    /// How often it could not be read since the daemon started.
    pub failures: u64,
}

/// A hook of `oned` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnusableView {
    /// Its number, where that can be read.
    pub id: Option<u64>,
    /// Its name there, where that can be read.
    pub name: Option<String>,
    /// Why it cannot be used.
    pub why: String,
}

/// The part that a daemon plays among those of several front-ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RoleView {
    /// `leader`, `solo` or `standby`.
    pub name: String,
    /// Since when it works, or stands by.
    pub since: Time,
    /// Why it stands by: `oned is FOLLOWER`; none where it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// How much the store keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptView {
    /// Events that matched something.
    pub matched_events: u64,
    /// Events that matched nothing.
    pub unmatched_events: u64,
    /// Bytes of payloads and outputs, as stored.
    pub bytes: u64,
}

/// Where the events of one source ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventSums {
    /// accepted + duplicate + refused + lost.
    pub received: u64,
    /// matched + unmatched + undecodable.
    pub accepted: u64,
    /// Matched by at least one hook.
    pub matched: u64,
    /// Matched by none.
    pub unmatched: u64,
    /// Could not be read.
    pub undecodable: u64,
    /// Further copies of an event.
    pub duplicate: u64,
    /// Counted and not kept, by configuration or for want of room.
    pub refused: u64,
    /// The queue was full.
    pub lost: u64,
    /// Gap records written; they are made here and not received.
    #[serde(default)]
    pub gaps: u64,
    /// Whether it adds up.
    pub adds_up: bool,
}

/// A source's connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceView {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it connects to.
    pub endpoint: String,
    /// Whether it is connected.
    pub connected: bool,
    /// Since when.
    pub since: Time,
    /// How often the connection was made.
    pub connects: u64,
    /// The last error.
    pub last_error: Option<SourceErrorView>,
    /// Refused messages by reason.
    pub refused: BTreeMap<String, u64>,
    /// How catching up with what was missed goes; none where the source's controller is not asked.
    #[serde(default)]
    pub catch_up: Option<CatchUpView>,
}

/// How catching up with what a source missed goes. The sums are those since the store was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CatchUpView {
    /// Resources whose state is known.
    pub known: u64,
    /// As of when the known states are the present ones; none before they were asked for once.
    pub as_of: Option<Time>,
    /// The beginning of the oldest gap that is still to be caught up with; none when there is none.
    pub open_since: Option<Time>,
    /// States that were missed and raised.
    pub raised: u64,
    /// States not raised, because a live event of the resource came first.
    pub live: u64,
    /// States not raised, because no hook asks for catch-up.
    pub unwanted: u64,
    /// Gaps that were too long to catch up with: the states were only noted.
    pub too_old: u64,
    /// Why the controller cannot be asked; none when it can.
    pub last_error: Option<SourceErrorView>,
}

/// How the telling of results to a controller goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResultsView {
    /// Attempts that it is still to be told of.
    pub waiting: u64,
    /// Told and acknowledged since the daemon started.
    pub delivered: u64,
    /// Never to be told since the daemon started: of those that waited only the newest of each hook are sent.
    pub superseded: u64,
    /// Since when it cannot be told; none while it can.
    pub away_since: Option<Time>,
}

/// An error of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceErrorView {
    /// When.
    pub at: Time,
    /// What.
    pub message: String,
}

/// An execution that waits too long for another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BlockedView {
    /// The subject of the lane.
    pub subject: Option<String>,
    /// The one that waits.
    pub waiting: String,
    /// The one it waits for.
    pub behind: String,
    /// Since when that one runs or waits for its retry.
    pub since: Time,
}

/// A broken hook file whose last good version is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StaleView {
    /// The file.
    pub file: String,
    /// Since when.
    pub since: Time,
    /// What is wrong.
    pub fault: String,
}

/// Events accepted within a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AcceptanceBucket {
    /// Milliseconds from receipt to acceptance, at most.
    pub up_to_ms: u64,
    /// How many events.
    pub events: u64,
}

/// Over which time the activity is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ActivityFilter {
    /// So many minutes, the last of which goes on now; 60 when unset, at most 1440.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minutes: Option<u32>,
}

/// How many executions reached their end in each of the last minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActivityView {
    /// The minutes, in order; the last one goes on.
    pub minutes: Vec<MinuteView>,
    /// Whether all were counted: of more than 100,000 executions only the newest are.
    pub complete: bool,
}

/// A minute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MinuteView {
    /// When it began.
    pub begin: Time,
    /// How many executions reached their end in it, by the state they are in: `succeeded`, `failed`, `skipped`, `cancelled`.
    pub settled: BTreeMap<String, u64>,
}
