//! The record of one match: its states, its attempts.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Subject;
use crate::event::id::{ExecutionKey, Seq};
use crate::event::time::Timestamp;
use crate::hooks::Version;
pub use crate::runner::FileFingerprint;
use crate::runner::{Captured, Outcome};

/// The durable record of one match (one hook × one event).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// Which it is.
    pub key: ExecutionKey,
    /// What it is about; with the hook it makes the lane.
    pub subject: Option<Subject>,
    /// The source of its event.
    pub source: Arc<str>,
    /// When its event was accepted.
    pub accepted: Timestamp,
    /// Why the hook matched, in a few words: `state VM ACTIVE/RUNNING`.
    pub why: String,
    /// The execution this one repeats, for a RETRY message.
    pub retry_of: Option<ExecutionKey>,
    /// How far it got.
    pub progress: Progress,
}

/// How far an execution got: the part of its record that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Its place in the order of its lane: given when it is accepted and anew when it is reopened.
    pub turn: u64,
    /// The version of the hook that matched or, once reopened, that the next attempt uses.
    pub version: Version,
    /// How many attempts were released to start in all.
    pub attempts: u32,
    /// How many of them count against the retry budget since it was last reopened.
    pub budget_used: u32,
    /// How many of the last ones in a row were cut short by the daemon's end.
    pub interruptions: u32,
}

/// Where an execution stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It waits for its turn.
    Queued {
        /// What the attempt it waits for is caused by.
        cause: Cause,
        /// When it began to wait.
        since: Timestamp,
    },
    /// An attempt is about to start, or runs: from here on it may have run.
    Running {
        /// The attempt's number, from 1.
        attempt: u32,
        /// What caused the attempt.
        cause: Cause,
        /// When it was released to start.
        since: Timestamp,
        /// Why it is to end, if it is: from then on nothing starts it again.
        ended_for: Option<CancelReason>,
    },
    /// It waits out its hook's `debounce`: a newer one of its lane takes its place.
    Debouncing {
        /// Until when, at the latest.
        due: Timestamp,
        /// The hook's delay; after a jump of the clock it is waited in full again at most.
        delay: Duration,
        /// What the attempt it waits for is caused by.
        cause: Cause,
    },
    /// A failed attempt is to be repeated by itself.
    Retrying {
        /// When, at the earliest.
        due: Timestamp,
        /// The delay that was chosen; after a jump of the clock it is waited in full again at most.
        delay: Duration,
    },
    /// It reached its end.
    Settled {
        /// How.
        settlement: Settlement,
        /// When.
        at: Timestamp,
    },
}

impl State {
    /// Whether the execution reached its end.
    pub const fn is_settled(&self) -> bool {
        matches!(self, Self::Settled { .. })
    }

    /// The names of the states that are no end.
    pub const UNSETTLED: [&'static str; 4] = ["queued", "debouncing", "running", "retrying"];

    /// The name in tables, filters and JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Debouncing { .. } => "debouncing",
            Self::Running { .. } => "running",
            Self::Retrying { .. } => "retrying",
            Self::Settled { settlement, .. } => settlement.name(),
        }
    }
}

/// How an execution ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// An attempt ended with exit status 0.
    Succeeded,
    /// The attempts are used up.
    Failed,
    /// It never ran, by a policy.
    Skipped(SkipReason),
    /// It was ended before its end, or never begun, by somebody's word or for what happened meanwhile: the reason says which.
    Cancelled(CancelReason),
}

impl Settlement {
    /// The name in tables, filters and JSON.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped(_) => "skipped",
            Self::Cancelled(_) => "cancelled",
        }
    }
}

/// Why an execution was skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// It was not started within `start_within`.
    Expired,
    /// The hook's `throttle` was used up.
    Throttled,
    /// A newer one of its lane took its place: the hook's `debounce` or `overlap`, or the end of a mute.
    Superseded,
    /// Another one of its lane was under way: the hook's `overlap: drop`.
    Overlap,
    /// It was held by a mute, which was taken back with the order to drop what it held.
    Muted,
    /// It would have run: hem only observed.
    Observed,
}

impl SkipReason {
    /// The name in answers and own events.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Throttled => "throttled",
            Self::Superseded => "superseded",
            Self::Overlap => "overlap",
            Self::Muted => "muted",
            Self::Observed => "observed",
        }
    }
}

/// Why an execution was cancelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelReason {
    /// An operator asked for it.
    Operator(Actor),
    /// Its hook was removed from the folder before it started.
    HookRemoved,
    /// Its hook was disabled before it started.
    HookDisabled,
    /// A newer one of its lane ended it: the hook's `overlap: cancel`.
    Superseded,
    /// An operator stopped its hook.
    Stopped(Actor),
    /// It was to be started again and was not in time: hem was on standby, and another front-end may have led.
    Expired,
}

impl CancelReason {
    /// The name in answers and, where nobody asked for it, in own events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Operator(_) => "operator",
            Self::HookRemoved => "hook_removed",
            Self::HookDisabled => "hook_disabled",
            Self::Superseded => "superseded",
            Self::Stopped(_) => "stopped",
            Self::Expired => "expired",
        }
    }
}

/// What caused an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The event itself.
    Event,
    /// An automatic retry.
    Retry,
    /// A RETRY message of the controller, with the event's number.
    RetryMessage(Seq),
    /// An operator's `hem retry`.
    Operator {
        /// Who.
        actor: Actor,
        /// With the recorded definition instead of today's.
        as_recorded: bool,
    },
    /// The attempt before was cut short by the daemon's end.
    Recovery,
}

/// Who asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A user of this machine, known from the control socket's peer credentials.
    User {
        /// The user's number.
        uid: u32,
    },
    /// Whoever has a token of that name.
    Token {
        /// The name.
        name: Arc<str>,
    },
    /// The daemon itself.
    Daemon,
}

/// One start of the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number within the execution, from 1.
    pub number: u32,
    /// What caused it.
    pub cause: Cause,
    /// When it was released to start.
    pub released: Timestamp,
    /// What was started; unset until the process exists.
    pub process: Option<StartedProcess>,
    /// How it ended; unset while it runs.
    pub ended: Option<EndedAttempt>,
}

/// What was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartedProcess {
    /// The process id.
    pub pid: u32,
    /// The process's start time in clock ticks since boot, which with the boot id tells it from a later one of the same number.
    pub start_ticks: u64,
    /// The boot of the machine it was started in; unset where the kernel did not say.
    pub boot_id: Option<String>,
    /// When it started.
    pub at: Timestamp,
    /// The user it runs as.
    pub uid: u32,
    /// The version of the hook whose definition was used.
    pub version: Version,
    /// The hook's file.
    pub hook_file: PathBuf,
    /// SHA-256 of the hook's file.
    pub hook_file_sha256: [u8; 32],
    /// SHA-256 of the arguments as one line, by which a RETRY message finds what it repeats; only of hooks that stand for one of
    /// the controller's.
    pub arguments_sha256: Option<[u8; 32]>,
    /// The program, its arguments and environment, as started; secrets named, not shown.
    pub argv: Vec<String>,
    /// The environment, without the values of secrets.
    pub environment: Vec<(String, String)>,
    /// The working directory.
    pub directory: Option<PathBuf>,
    /// SHA-256 and size of the program file, and of the script where the program is an interpreter.
    pub files: Vec<FileFingerprint>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    /// When.
    pub at: Timestamp,
    /// How.
    pub outcome: Outcome,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// What it wrote was kept and is not any more: outputs may be pruned before the record.
    pub outputs_pruned: bool,
}
