//! Events, executions, their attempts and stories, and which of them are asked for.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::esc::EscView;
use super::ncmp::NcmpView;
use super::{ActorView, MuteView, NotificationView, SourceErrorView, Text, Time, is_false};

/// Which events are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EventFilter {
    /// Only events about this subject, `vm/12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only events whose key contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Only events of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Only events of this kind: `state`, `api`, `retry`, `webhook`, `esc`, `masakari`, `ncmp`, `undecodable`, `gap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Only events that caused no execution.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unmatched: bool,
    /// Received at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Received at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// At most this many, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those behind what an answer before named as the next: its `Next-Cursor`. Not together with `follow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Go on with what becomes durable from now on, as lines of JSON.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Show what is redacted otherwise; written to the audit log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
}

/// Which executions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecutionFilter {
    /// Only executions of this hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Only executions in this state: `queued`, `debouncing`, `running`, `retrying`, `succeeded`, `failed`, `skipped`, `cancelled`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Only executions about this subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Only executions that events of this source caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Accepted at or after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Accepted at or before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// At most this many, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those behind what an answer before named as the next: its `Next-Cursor`. Not together with `follow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Go on with what becomes durable from now on, as lines of JSON.
    #[serde(default, skip_serializing_if = "is_false")]
    pub follow: bool,
    /// Say the arguments of those whose hook stands for one of the controller's; not together with `follow`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub arguments: bool,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventView {
    /// Its number in this store.
    pub seq: u64,
    /// Its id across stores, `k3vd-1042`.
    pub id: String,
    /// The source it came from.
    pub source: String,
    /// Its key, as the source spells it.
    pub key: String,
    /// The resource it is about.
    pub subject: Option<String>,
    /// When it was received.
    pub received: Time,
    /// What it says happened.
    pub facts: FactsView,
    /// It can be read in more than one way.
    pub ambiguous: bool,
    /// It was made here and not sent by the controller.
    pub synthesised: bool,
    /// The payload's length in bytes.
    pub payload_len: u64,
    /// The hooks it caused executions of.
    pub hooks: Vec<String>,
    /// The payload; not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Text>,
}

/// What an event says happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FactsView {
    /// A resource changed its state.
    State {
        /// The kind of resource, `VM`.
        resource: String,
        /// The resource's number.
        id: Option<String>,
        /// The state it is in.
        state: String,
        /// The life-cycle state it is in.
        lcm_state: Option<String>,
        /// The state it was in.
        previous_state: Option<String>,
        /// The life-cycle state it was in.
        previous_lcm_state: Option<String>,
        /// The host it is on.
        host: Option<String>,
    },
    /// An API call ended.
    Api {
        /// The method.
        call: String,
        /// Whether it succeeded.
        success: bool,
    },
    /// The controller asks for a hook to run once more.
    Retry {
        /// The hook's number in the controller.
        hook_id: u64,
        /// The host.
        remote_host: Option<String>,
    },
    /// It could not be read.
    Undecodable {
        /// Why.
        reason: String,
    },
    /// Events of the source may have passed unseen.
    Gap {
        /// The beginning.
        from: Time,
        /// The end.
        to: Time,
        /// Why.
        why: String,
        /// How many are known to be lost.
        lost: u64,
        /// What the source has now, one line each, where it was asked.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        present: Vec<String>,
    },
    /// An execution reached its end.
    Execution {
        /// Which one.
        execution: String,
        /// How.
        outcome: String,
        /// How many attempts were started.
        attempts: u32,
    },
    /// Executions are held or dropped.
    Muted {
        /// Only of this hook.
        hook: Option<String>,
        /// Only for events of this source.
        source: Option<String>,
        /// Only about this subject.
        subject: Option<String>,
        /// Who muted.
        by: String,
        /// Why.
        reason: Option<String>,
        /// When it ends by itself.
        until: Option<Time>,
    },
    /// An execution waits too long for another one.
    Blocked {
        /// The one that waits.
        waiting: String,
        /// The one that it waits for.
        behind: String,
        /// Since when that one runs or waits for its retry.
        since: Time,
    },
    /// A source has been away for some time.
    SourceDown {
        /// Its name.
        source: String,
        /// Since when.
        since: Time,
        /// The last error of its connection.
        error: Option<String>,
    },
    /// Somebody sent a request over HTTP.
    Webhook {
        /// The endpoint's name.
        endpoint: String,
        /// The method.
        method: String,
        /// What the body was read as: `json`, `form` or `xml`.
        form: String,
        /// By what the sender tells this delivery from others.
        delivery: Option<String>,
        /// The headers that the endpoint keeps.
        headers: BTreeMap<String, String>,
        /// The address it came from.
        sender: Option<String>,
        /// The id of the request.
        request: Option<String>,
    },
    /// Cisco ESC reports a step.
    Esc(Box<EscView>),
    /// ONAP NCMP: something became of a CM handle.
    Ncmp(NcmpView),
    /// Masakari: a host, a process or a virtual machine failed or came back.
    Masakari(NotificationView),
}

impl FactsView {
    /// Whether hem made the event itself, which then says all of it in its payload.
    pub const fn is_own(&self) -> bool {
        matches!(
            self,
            Self::Gap { .. }
                | Self::Execution { .. }
                | Self::Muted { .. }
                | Self::Blocked { .. }
                | Self::SourceDown { .. }
        )
    }

    /// In a few words: `VM ACTIVE/RUNNING`, `one.vm.allocate failed`.
    pub fn in_words(&self) -> String {
        match self {
            Self::State {
                resource,
                state,
                lcm_state,
                ..
            } => match lcm_state {
                Some(lcm) if lcm != "LCM_INIT" => format!("{resource} {state}/{lcm}"),
                _ => format!("{resource} {state}"),
            },
            Self::Api { call, success: true } => format!("{call} succeeded"),
            Self::Api { call, success: false } => format!("{call} failed"),
            Self::Retry { hook_id, .. } => format!("retry of hook {hook_id}"),
            Self::Undecodable { reason } => format!("undecodable: {reason}"),
            Self::Gap { why, .. } => format!("gap: {why}"),
            Self::Execution {
                execution,
                outcome,
                attempts: _,
            } => format!("{execution} {outcome}"),
            Self::Muted {
                hook,
                source,
                subject,
                by,
                ..
            } => {
                let hook = hook.as_ref().map(|hook| format!("hook {hook}"));
                let source = source.as_ref().map(|source| format!("source {source}"));
                let what: Vec<String> = hook.into_iter().chain(source).chain(subject.clone()).collect();
                let what = if what.is_empty() {
                    "everything".to_owned()
                } else {
                    what.join(" ")
                };
                format!("{what} muted by {by}")
            }
            Self::Blocked { waiting, behind, .. } => format!("{waiting} waits for {behind}"),
            Self::SourceDown { source, .. } => format!("source {source} is not connected"),
            Self::Webhook {
                endpoint, delivery, ..
            } => match delivery {
                Some(delivery) => format!("webhook {endpoint} {delivery}"),
                None => format!("webhook {endpoint}"),
            },
            Self::Esc(event) => event.in_words(),
            Self::Ncmp(told) => told.in_words(),
            Self::Masakari(told) => told.in_words(),
        }
    }
}

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionView {
    /// Its id in this store, `1042.vm-running`.
    pub execution: String,
    /// Its id across stores, `k3vd-1042.vm-running`.
    pub id: String,
    /// The event that caused it.
    pub event: u64,
    /// The hook it runs.
    pub hook: String,
    /// The version of the hook that matched, a SHA-256 in hexadecimal.
    pub version: String,
    /// What it is about.
    pub subject: Option<String>,
    /// The source its event came from; empty where an older hem did not say.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// When its event was accepted.
    pub accepted: Time,
    /// Why the hook matched.
    pub why: String,
    /// The execution it repeats, for a RETRY message.
    pub retry_of: Option<String>,
    /// Where it stands.
    pub state: StateView,
    /// The mute that holds it, while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<MuteView>,
    /// How many attempts were started.
    pub attempts: u32,
    /// How many of them count against the retry budget.
    pub budget_used: u32,
    /// How many of the last ones in a row were cut short by the daemon's end.
    pub interruptions: u32,
    /// Its arguments, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments: Option<ArgumentsView>,
}

/// The arguments of an execution, as the controller's records have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArgumentsView {
    /// The controller's number of the hook.
    pub oned_id: u64,
    /// When the event was received.
    pub received: Time,
    /// SHA-256 of the line with its secrets, in hexadecimal; where there are any, for operators alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The line without secrets, and without the middle of a long one.
    pub line: String,
}

impl ArgumentsView {
    /// Characters of a long line that are shown of its beginning, and of its end.
    const SHOWN: usize = 120;

    /// The SHA-256 of a line, in hexadecimal.
    pub fn digest(line: &str) -> String {
        let digest = Sha256::digest(line.as_bytes());
        digest.iter().fold(String::with_capacity(64), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// A line without its middle, where it is a long one.
    pub fn shortened(line: &str) -> String {
        let length = line.chars().count();
        if length <= 2 * Self::SHOWN {
            return line.to_owned();
        }
        let head: String = line.chars().take(Self::SHOWN).collect();
        let tail: String = line.chars().skip(length - Self::SHOWN).collect();
        format!("{head}…{tail}")
    }
}

/// Where an execution stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum StateView {
    /// It waits for its turn.
    Queued {
        /// What the attempt it waits for is caused by.
        cause: CauseView,
        /// Since when.
        since: Time,
    },
    /// An attempt is about to start, or runs.
    Running {
        /// The attempt's number.
        attempt: u32,
        /// What caused it.
        cause: CauseView,
        /// Since when.
        since: Time,
        /// Why it is to end, where somebody asked for that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_for: Option<CancelReasonView>,
    },
    /// It waits out its hook's `debounce`: a newer one of its subject takes its place.
    Debouncing {
        /// What the attempt it waits for is caused by.
        cause: CauseView,
        /// Until when, at the latest.
        due: Time,
        /// The hook's delay, in milliseconds.
        delay_ms: u64,
    },
    /// A failed attempt is to be repeated by itself.
    Retrying {
        /// When, at the earliest.
        due: Time,
        /// The delay that was chosen, in milliseconds.
        delay_ms: u64,
    },
    /// An attempt ended with exit status 0.
    Succeeded {
        /// When.
        at: Time,
    },
    /// The attempts are used up.
    Failed {
        /// When.
        at: Time,
    },
    /// It never ran, by a policy.
    Skipped {
        /// When.
        at: Time,
        /// Why.
        reason: SkipReasonView,
    },
    /// An operator, or the removal of its hook, ended it.
    Cancelled {
        /// When.
        at: Time,
        /// Why.
        reason: CancelReasonView,
    },
}

impl StateView {
    /// The name in tables and filters.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Debouncing { .. } => "debouncing",
            Self::Running { .. } => "running",
            Self::Retrying { .. } => "retrying",
            Self::Succeeded { .. } => "succeeded",
            Self::Failed { .. } => "failed",
            Self::Skipped { .. } => "skipped",
            Self::Cancelled { .. } => "cancelled",
        }
    }

    /// The names of all states, as filters take them.
    pub const NAMES: [&'static str; 8] = [
        "queued",
        "debouncing",
        "running",
        "retrying",
        "succeeded",
        "failed",
        "skipped",
        "cancelled",
    ];

    /// Whether the execution reached its end.
    pub const fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Succeeded { .. } | Self::Failed { .. } | Self::Skipped { .. } | Self::Cancelled { .. }
        )
    }
}

/// Why an execution was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SkipReasonView {
    /// It was not started within `start_within`.
    Expired,
    /// The hook's `throttle` was used up.
    Throttled,
    /// A newer one of its subject took its place.
    Superseded,
    /// Another one of its subject was under way, and the hook says `overlap: drop`.
    Overlap,
    /// A mute held it and was taken back with the order to drop what it held.
    Muted,
    /// It would have run: the daemon only observed.
    Observed,
}

/// Why an execution was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelReasonView {
    /// Somebody asked for it.
    Operator(ActorView),
    /// Its hook was removed before it started.
    HookRemoved,
    /// Its hook was disabled before it started.
    HookDisabled,
    /// A newer one of its subject ended it: the hook says `overlap: cancel`.
    Superseded,
    /// An operator stopped its hook.
    Stopped(ActorView),
    /// It was to be started again and was not in time: hem was on standby.
    Expired,
}

/// What caused an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum CauseView {
    /// The event itself.
    Event,
    /// An automatic retry.
    Retry,
    /// A RETRY message of the controller.
    RetryMessage {
        /// The message's number as an event.
        event: u64,
    },
    /// `hem retry`.
    Operator {
        /// Who.
        actor: ActorView,
        /// With the recorded definition.
        as_recorded: bool,
    },
    /// The attempt before was cut short by the daemon's end.
    Recovery,
}

/// The whole story of an event and what it caused, or of one execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Story {
    /// The event; none when it is no longer kept.
    pub event: Option<EventView>,
    /// The executions asked for, by hook name.
    pub executions: Vec<ExecutionStory>,
    /// How the gap was caught up with that the event records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caught_up: Option<CaughtUpView>,
}

/// How a gap was caught up with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CaughtUpView {
    /// States that were missed and raised.
    pub raised: u64,
    /// States not raised, because a live event of the resource came first.
    pub live: u64,
    /// States not raised, because no hook asks for catch-up.
    pub unwanted: u64,
    /// Set where states were only noted.
    pub noted_only: Option<NotedOnlyView>,
    /// How often the controller could not be asked.
    pub failures: u64,
    /// Why, the last time.
    pub last_error: Option<SourceErrorView>,
    /// When all was caught up with; none while it is not.
    pub finished: Option<Time>,
}

/// Why states were noted and not raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NotedOnlyView {
    /// None were known before.
    First,
    /// Another front-end led meanwhile.
    OtherLed,
    /// The gap was longer than `max_gap`.
    TooOld,
}

/// The whole story of one execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionStory {
    /// The execution.
    pub execution: ExecutionView,
    /// The definition that matched.
    pub definition: Option<DefinitionView>,
    /// How the hook stands today, for `hem retry`; unknown without a daemon.
    pub today: Today,
    /// Its attempts, in order.
    pub attempts: Vec<AttemptView>,
}

/// How a recorded hook stands today.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Today {
    /// The definition in force is the one that matched.
    Same,
    /// The definition in force is another one.
    Changed,
    /// There is no such hook any more.
    Removed,
    /// Not known: the record was read without a daemon.
    Unknown,
}

/// A hook's definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefinitionView {
    /// Its version, a SHA-256 in hexadecimal.
    pub version: String,
    /// The YAML document.
    pub text: String,
    /// The file it stood in.
    pub file: String,
    /// The line it began on.
    pub line: usize,
    /// SHA-256 of that file.
    pub file_sha256: String,
}

/// One start of the script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptView {
    /// Its number, from 1.
    pub number: u32,
    /// What caused it.
    pub cause: CauseView,
    /// When it was released to start.
    pub released: Time,
    /// What was started; none until the process exists.
    pub process: Option<ProcessView>,
    /// How it ended; none while it runs.
    pub ended: Option<EndedView>,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessView {
    /// The process id.
    pub pid: u32,
    /// When it started.
    pub at: Time,
    /// The user it ran as.
    pub uid: u32,
    /// The version of the hook that was used.
    pub version: String,
    /// The hook's file.
    pub hook_file: String,
    /// SHA-256 of it.
    pub hook_file_sha256: String,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The environment, without the values of secrets.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: Option<String>,
    /// The program's file and, of an interpreter, the script's.
    pub files: Vec<FileView>,
}

/// What a file was when it was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileView {
    /// Its path.
    pub path: String,
    /// Its SHA-256.
    pub sha256: String,
    /// Its size in bytes.
    pub size: u64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EndedView {
    /// When.
    pub at: Time,
    /// How.
    pub outcome: OutcomeView,
    /// What it wrote to its standard output.
    pub stdout: OutputView,
    /// What it wrote to its standard error.
    pub stderr: OutputView,
    /// What it wrote was kept and has been pruned since.
    #[serde(default, skip_serializing_if = "is_false")]
    pub outputs_pruned: bool,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum OutcomeView {
    /// The script ended by itself.
    Exited {
        /// Its exit status.
        code: i32,
    },
    /// It was ended by a signal that did not come from hem.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It ran into its time limit.
    TimedOut {
        /// The limit, in milliseconds.
        after_ms: u64,
        /// Whether KILL was needed after TERM.
        killed: bool,
    },
    /// It was ended on request.
    Stopped {
        /// Whether KILL was needed after TERM.
        killed: bool,
    },
    /// It could not be started.
    StartFailed {
        /// The class: `not_found`, `not_permitted`, `argument_too_long`, `bad_argument`, `exhausted`, `other`.
        kind: String,
        /// A sentence with what to do.
        message: String,
    },
    /// It ended by itself, but a descendant still held its output.
    Leaked {
        /// The script's exit status.
        code: i32,
    },
    /// The daemon ended while it ran.
    Interrupted,
}

/// What an execution's attempt has written, while it runs as well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LiveOutputView {
    /// The execution.
    pub execution: String,
    /// The attempt's number: the one that runs, or the last one that ended. None before the first.
    pub attempt: Option<u32>,
    /// Whether it runs: there may be more.
    pub running: bool,
    /// What it has written to its standard output.
    pub stdout: OutputView,
    /// What it has written to its standard error.
    pub stderr: OutputView,
}

/// One output stream, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutputView {
    /// The beginning; all of it when nothing was cut.
    pub head: Text,
    /// The end, when something was cut.
    pub tail: Text,
    /// Bytes cut between them.
    pub cut: u64,
    /// Bytes written in all.
    pub total: u64,
}

/// A line of the live feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum FeedLine {
    /// An event was accepted.
    Event(Box<EventView>),
    /// An execution was made, or changed its state.
    Execution(Box<ExecutionView>),
    /// The reader was too slow.
    Skipped {
        /// How many lines it missed.
        lines: u64,
    },
}

/// Why a kept event does or does not trigger a hook in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplanationView {
    /// The hook.
    pub hook: String,
    /// Whether it is enabled now; one that is not runs nothing, whatever matches.
    pub enabled: bool,
    /// Whether it matches as it is declared now.
    pub matches: bool,
    /// Whether the event caused an execution of it when it was accepted.
    pub caused: bool,
    /// Everything that was looked at, in order.
    pub steps: Vec<StepView>,
}

/// One thing that was looked at to find whether a hook matches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepView {
    /// Which of the hook's triggers it belongs to, from 0; none for its condition.
    pub trigger: Option<usize>,
    /// What is asked for: `state is RUNNING`.
    pub asked: String,
    /// What was found: `BOOT`.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
    /// Whether the hook does not match because of it.
    pub decisive: bool,
    /// Of a condition, what was looked up in the event, each with the value found.
    pub lookups: Vec<(String, String)>,
}
