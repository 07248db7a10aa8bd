//! What a step of the scheduler takes and what it gives.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::execution::{Actor, CancelReason, Cause, Execution, Progress};
use crate::engine::mute::{Mute, Scope, Then};
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::hooks::Hook;

/// What the core is told.
#[derive(Debug)]
pub enum Input {
    /// An event was numbered and matched.
    Accept {
        /// Its number; numbers only grow.
        seq: Seq,
        /// Its source.
        source: Arc<str>,
        /// What it is about.
        subject: Option<Subject>,
        /// The hooks it is to run.
        matches: Vec<NewExecution>,
    },
    /// An attempt ended.
    Ended {
        /// Which execution's.
        key: ExecutionKey,
        /// Its number.
        attempt: u32,
        /// What is to come of it.
        verdict: Verdict,
    },
    /// A settled execution is to run once more.
    Reopen {
        /// Its record.
        execution: Box<Execution>,
        /// The definition to run.
        hook: Arc<Hook>,
        /// Who asked for it.
        cause: Cause,
    },
    /// An execution is to end.
    Cancel {
        /// Which.
        key: ExecutionKey,
        /// Who asked for it.
        actor: Actor,
    },
    /// A hook is no longer in force: what it has not started yet is cancelled.
    Withdraw {
        /// The hook.
        hook: HookName,
        /// Why.
        reason: CancelReason,
    },
    /// A scope is to be muted; a mute of the same scope is replaced.
    Mute(Mute),
    /// A mute is taken back.
    Unmute {
        /// Which.
        scope: Scope,
        /// What becomes of what it holds.
        then: Then,
        /// Who asked for it.
        actor: Actor,
    },
    /// A hook is to be muted, what of it waits is cancelled, and what runs is ended.
    StopHook {
        /// Which hook.
        hook: HookName,
        /// How long it is muted; for ever when unset.
        length: Option<Duration>,
        /// Why, for people.
        reason: Option<String>,
        /// Who asked for it.
        actor: Actor,
    },
    /// Time went on.
    Tick,
    /// The wall clock was set: no wait is longer than its own full delay from now.
    ClockJumped,
    /// So many scripts may run at once from now on.
    Concurrency(usize),
    /// Another front-end may lead: nothing is started until [`Input::Lead`].
    StandBy,
    /// This front-end leads: what waits is taken up, unless it waited for too long while another one may have led.
    Lead,
    /// Nothing is started any more.
    Stop,
}

/// One match, to become an execution.
#[derive(Debug)]
pub struct NewExecution {
    /// The hook, in the version that matched.
    pub hook: Arc<Hook>,
    /// Why it matched.
    pub why: String,
    /// What causes the first attempt.
    pub cause: Cause,
    /// The execution this one repeats.
    pub retry_of: Option<ExecutionKey>,
    /// The subject whose lane it joins, where that is not the event's.
    pub lane_subject: Option<Subject>,
}

/// What is to come of an attempt that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it was to do.
    Success,
    /// It failed; another attempt may go better.
    Failure,
    /// It could not be started, and no other attempt would.
    Hopeless,
    /// The machine was short of something; tried again outside the budget.
    Exhausted,
    /// It was ended on request.
    Stopped,
    /// The daemon's stop ended it.
    Interrupted,
}

/// Something to be made durable. Records of one step are durable together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A new execution.
    Created(Box<Execution>),
    /// An execution got further.
    Progressed {
        /// Which.
        key: ExecutionKey,
        /// The name of the state it left.
        left: &'static str,
        /// How far it got.
        progress: Progress,
    },
    /// An attempt is released to start: from here on it may have run.
    Released {
        /// Which execution's.
        key: ExecutionKey,
        /// Its number.
        attempt: u32,
        /// What caused it.
        cause: Cause,
        /// When.
        at: Timestamp,
    },
    /// A scope is muted from now on; a former mute of the scope is replaced.
    Muted(Mute),
    /// A mute ends earlier than it would have, because the clock was set back.
    MuteShortened(Mute),
    /// A mute came to its end.
    Unmuted {
        /// Which.
        scope: Scope,
        /// What became of what it held.
        then: Then,
        /// Who took it back; none when it ended by itself.
        by: Option<Actor>,
    },
}

/// Something to be done once the step's records are durable.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Start the script.
    Start {
        /// Which execution's.
        key: ExecutionKey,
        /// The attempt's number.
        attempt: u32,
        /// The definition to run.
        hook: Arc<Hook>,
        /// What caused it.
        cause: Cause,
    },
    /// End the running script.
    End {
        /// Which execution's.
        key: ExecutionKey,
        /// The attempt's number.
        attempt: u32,
    },
}

/// What one step decided.
#[derive(Debug, Default)]
pub struct Step {
    /// To be made durable, in this order.
    pub records: Vec<Record>,
    /// To be done after that, in this order.
    pub effects: Vec<Effect>,
}

/// Why an order cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The execution reached its end already, or is not known.
    #[error("`{0}` is not waiting or running")]
    NotActive(ExecutionKey),
    /// The execution has not reached its end.
    #[error("`{0}` has not ended yet; it is {1}")]
    NotSettled(ExecutionKey, &'static str),
    /// There is no such mute.
    #[error("{0} is not muted")]
    NotMuted(Scope),
}
