//! How an execution is stored: what never changes, and in a line of its own how far it got.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FormatError, StoredActor, millis, read, unhex, write};
use crate::engine::execution::{CancelReason, Cause, Execution, Progress, Settlement, SkipReason, State};
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::hooks::Version;

#[derive(Serialize, Deserialize)]
struct StoredExecution {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    source: String,
    accepted: i64,
    why: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_of: Option<(u64, String)>,
}

#[derive(Serialize, Deserialize)]
struct StoredProgress {
    state: StoredState,
    turn: u64,
    version: String,
    attempts: u32,
    #[serde(default)]
    budget_used: u32,
    #[serde(default)]
    interruptions: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredState {
    Queued {
        cause: StoredCause,
        since: i64,
    },
    Running {
        attempt: u32,
        cause: StoredCause,
        since: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ended_for: Option<StoredCancel>,
    },
    Debouncing {
        due: i64,
        delay: u64,
        cause: StoredCause,
    },
    Retrying {
        due: i64,
        delay: u64,
    },
    Succeeded {
        at: i64,
    },
    Failed {
        at: i64,
    },
    Expired {
        at: i64,
    },
    Throttled {
        at: i64,
    },
    Superseded {
        at: i64,
    },
    Overlap {
        at: i64,
    },
    Muted {
        at: i64,
    },
    Observed {
        at: i64,
    },
    Cancelled {
        at: i64,
        why: StoredCancel,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredCancel {
    Operator { by: StoredActor },
    HookRemoved,
    HookDisabled,
    Superseded,
    Stopped { by: StoredActor },
    Expired,
}

impl From<&CancelReason> for StoredCancel {
    fn from(reason: &CancelReason) -> Self {
        match reason {
            CancelReason::Operator(actor) => Self::Operator { by: actor.into() },
            CancelReason::HookRemoved => Self::HookRemoved,
            CancelReason::HookDisabled => Self::HookDisabled,
            CancelReason::Superseded => Self::Superseded,
            CancelReason::Stopped(actor) => Self::Stopped { by: actor.into() },
            CancelReason::Expired => Self::Expired,
        }
    }
}

impl From<StoredCancel> for CancelReason {
    fn from(stored: StoredCancel) -> Self {
        match stored {
            StoredCancel::Operator { by } => Self::Operator(by.into()),
            StoredCancel::HookRemoved => Self::HookRemoved,
            StoredCancel::HookDisabled => Self::HookDisabled,
            StoredCancel::Superseded => Self::Superseded,
            StoredCancel::Stopped { by } => Self::Stopped(by.into()),
            StoredCancel::Expired => Self::Expired,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub(super) enum StoredCause {
    Event,
    Retry,
    RetryMessage { event: u64 },
    Operator { by: StoredActor, as_recorded: bool },
    Recovery,
}

impl From<&Cause> for StoredCause {
    fn from(cause: &Cause) -> Self {
        match cause {
            Cause::Event => Self::Event,
            Cause::Retry => Self::Retry,
            Cause::RetryMessage(seq) => Self::RetryMessage { event: seq.0 },
            Cause::Operator { actor, as_recorded } => Self::Operator {
                by: actor.into(),
                as_recorded: *as_recorded,
            },
            Cause::Recovery => Self::Recovery,
        }
    }
}

impl From<StoredCause> for Cause {
    fn from(stored: StoredCause) -> Self {
        match stored {
            StoredCause::Event => Self::Event,
            StoredCause::Retry => Self::Retry,
            StoredCause::RetryMessage { event } => Self::RetryMessage(Seq(event)),
            StoredCause::Operator { by, as_recorded } => Self::Operator {
                actor: by.into(),
                as_recorded,
            },
            StoredCause::Recovery => Self::Recovery,
        }
    }
}

/// The beginning of [`StoredProgress`]: what says whether an execution is at its end.
#[derive(Deserialize)]
struct StoredStanding {
    state: StoredTag,
}

#[derive(Deserialize)]
struct StoredTag {
    is: Tag,
}

/// The tags of [`StoredState`].
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Tag {
    Queued,
    Running,
    Debouncing,
    Retrying,
    Succeeded,
    Failed,
    Expired,
    Throttled,
    Superseded,
    Overlap,
    Muted,
    Observed,
    Cancelled,
}

/// Whether an execution that got so far is at its end. The rest of its progress is not looked at.
pub(in crate::store) fn is_settled(progress: &[u8]) -> Result<bool, FormatError> {
    let stored: StoredStanding = read(progress)?;
    Ok(match stored.state.is {
        Tag::Queued | Tag::Running | Tag::Debouncing | Tag::Retrying => false,
        Tag::Succeeded
        | Tag::Failed
        | Tag::Expired
        | Tag::Throttled
        | Tag::Superseded
        | Tag::Overlap
        | Tag::Muted
        | Tag::Observed
        | Tag::Cancelled => true,
    })
}

pub(in crate::store) fn write_execution(execution: &Execution) -> Vec<u8> {
    write(&StoredExecution {
        subject: execution.subject.as_ref().map(ToString::to_string),
        source: execution.source.to_string(),
        accepted: execution.accepted.as_millis(),
        why: execution.why.clone(),
        retry_of: execution
            .retry_of
            .as_ref()
            .map(|key| (key.event.0, key.hook.to_string())),
    })
}

pub(in crate::store) fn write_progress(progress: &Progress) -> Vec<u8> {
    let state = match &progress.state {
        State::Queued { cause, since } => StoredState::Queued {
            cause: cause.into(),
            since: since.as_millis(),
        },
        State::Running {
            attempt,
            cause,
            since,
            ended_for,
        } => StoredState::Running {
            attempt: *attempt,
            cause: cause.into(),
            since: since.as_millis(),
            ended_for: ended_for.as_ref().map(Into::into),
        },
        State::Debouncing { due, delay, cause } => StoredState::Debouncing {
            due: due.as_millis(),
            delay: millis(*delay),
            cause: cause.into(),
        },
        State::Retrying { due, delay } => StoredState::Retrying {
            due: due.as_millis(),
            delay: millis(*delay),
        },
        State::Settled { settlement, at } => {
            let at = at.as_millis();
            match settlement {
                Settlement::Succeeded => StoredState::Succeeded { at },
                Settlement::Failed => StoredState::Failed { at },
                Settlement::Skipped(reason) => match reason {
                    SkipReason::Expired => StoredState::Expired { at },
                    SkipReason::Throttled => StoredState::Throttled { at },
                    SkipReason::Superseded => StoredState::Superseded { at },
                    SkipReason::Overlap => StoredState::Overlap { at },
                    SkipReason::Muted => StoredState::Muted { at },
                    SkipReason::Observed => StoredState::Observed { at },
                },
                Settlement::Cancelled(reason) => StoredState::Cancelled {
                    at,
                    why: reason.into(),
                },
            }
        }
    };
    write(&StoredProgress {
        state,
        turn: progress.turn,
        version: progress.version.to_string(),
        attempts: progress.attempts,
        budget_used: progress.budget_used,
        interruptions: progress.interruptions,
    })
}

pub(in crate::store) fn read_execution(
    key: ExecutionKey,
    execution: &[u8],
    progress: &[u8],
) -> Result<Execution, FormatError> {
    let stored: StoredExecution = read(execution)?;
    Ok(Execution {
        key,
        subject: stored.subject.as_deref().map(Subject::new),
        source: Arc::from(stored.source),
        accepted: Timestamp::from_millis(stored.accepted),
        why: stored.why,
        retry_of: stored
            .retry_of
            .map(|(event, hook)| ExecutionKey::new(Seq(event), HookName::trusted(&hook))),
        progress: read_progress(progress)?,
    })
}

fn read_progress(bytes: &[u8]) -> Result<Progress, FormatError> {
    let stored: StoredProgress = read(bytes)?;
    let settled = |settlement, at| State::Settled {
        settlement,
        at: Timestamp::from_millis(at),
    };
    let state = match stored.state {
        StoredState::Queued { cause, since } => State::Queued {
            cause: cause.into(),
            since: Timestamp::from_millis(since),
        },
        StoredState::Running {
            attempt,
            cause,
            since,
            ended_for,
        } => State::Running {
            attempt,
            cause: cause.into(),
            since: Timestamp::from_millis(since),
            ended_for: ended_for.map(Into::into),
        },
        StoredState::Debouncing { due, delay, cause } => State::Debouncing {
            due: Timestamp::from_millis(due),
            delay: Duration::from_millis(delay),
            cause: cause.into(),
        },
        StoredState::Retrying { due, delay } => State::Retrying {
            due: Timestamp::from_millis(due),
            delay: Duration::from_millis(delay),
        },
        StoredState::Succeeded { at } => settled(Settlement::Succeeded, at),
        StoredState::Failed { at } => settled(Settlement::Failed, at),
        StoredState::Expired { at } => settled(Settlement::Skipped(SkipReason::Expired), at),
        StoredState::Throttled { at } => settled(Settlement::Skipped(SkipReason::Throttled), at),
        StoredState::Superseded { at } => settled(Settlement::Skipped(SkipReason::Superseded), at),
        StoredState::Overlap { at } => settled(Settlement::Skipped(SkipReason::Overlap), at),
        StoredState::Muted { at } => settled(Settlement::Skipped(SkipReason::Muted), at),
        StoredState::Observed { at } => settled(Settlement::Skipped(SkipReason::Observed), at),
        StoredState::Cancelled { at, why } => settled(Settlement::Cancelled(why.into()), at),
    };
    Ok(Progress {
        state,
        turn: stored.turn,
        version: Version(unhex(&stored.version)?),
        attempts: stored.attempts,
        budget_used: stored.budget_used,
        interruptions: stored.interruptions,
    })
}
