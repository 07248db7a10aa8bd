//! The stored forms: what stands in the values, as JSON, apart from the types the program works with.
//!
//! Fields are only ever added, with a default, so that a newer program reads an older store. What an older program
//! could not read correctly raises [`FORMAT`], and the older program refuses the store.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{AuditEntry, Definition, EventCounters, ListedEvent, Override};
use crate::engine::execution::{
    Actor, Attempt, CancelReason, Cause, EndedAttempt, Execution, FileFingerprint, Progress, Settlement,
    SkipReason, StartedProcess, State,
};
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{ApiCall, Event, Facts, Gap, Kind, RetryRequest, StateChange, Subject};
use crate::hooks::Version;
use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};

/// The format this program writes.
pub(super) const FORMAT: u32 = 1;

/// A stored value that does not say what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("it is not the JSON that was written")]
    Json(#[source] serde_json::Error),
    #[error("`{0}` cannot stand there")]
    Value(String),
}

pub(super) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Stored forms are plain data with text for keys: there is nothing that could fail.
    serde_json::to_vec(value).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(FormatError::Json)
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn hex(bytes: &[u8; 32]) -> String {
    Version(*bytes).to_string()
}

fn unhex(text: &str) -> Result<[u8; 32], FormatError> {
    let bad = || FormatError::Value(text.to_owned());
    if text.len() != 64 {
        return Err(bad());
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = text
            .get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(bad)?;
    }
    Ok(bytes)
}

/// A path as JSON can hold it.
fn utf8(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
struct StoredEvent {
    source: String,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    received: i64,
    facts: StoredFacts,
    #[serde(default, skip_serializing_if = "is_false")]
    ambiguous: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    synthesised: bool,
    payload_len: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredFacts {
    State {
        resource: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lcm_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_lcm_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    Api {
        call: String,
        success: bool,
    },
    Retry {
        hook_id: u64,
        arguments: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote_host: Option<String>,
    },
    Undecodable {
        reason: String,
    },
    Gap {
        from: i64,
        to: i64,
        why: String,
        lost: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
    },
}

pub(super) fn write_event(event: &Event, hooks: &[HookName]) -> Vec<u8> {
    let facts = match &event.facts {
        Facts::State(change) => StoredFacts::State {
            resource: resource_name(&change.resource).to_owned(),
            id: change.id.clone(),
            state: change.state.clone(),
            lcm_state: change.lcm_state.clone(),
            previous_state: change.previous_state.clone(),
            previous_lcm_state: change.previous_lcm_state.clone(),
            host: change.host.clone(),
        },
        Facts::Api(call) => StoredFacts::Api {
            call: call.call.clone(),
            success: call.success,
        },
        Facts::Retry(retry) => StoredFacts::Retry {
            hook_id: retry.hook_id,
            arguments: retry.arguments.clone(),
            remote_host: retry.remote_host.clone(),
        },
        Facts::Undecodable { reason } => StoredFacts::Undecodable {
            reason: reason.clone(),
        },
        Facts::Gap(gap) => StoredFacts::Gap {
            from: gap.from.as_millis(),
            to: gap.to.as_millis(),
            why: gap.why.clone(),
            lost: gap.lost,
            keys: gap.keys.clone(),
        },
    };
    write(&StoredEvent {
        source: event.source.to_string(),
        key: event.key.clone(),
        subject: event.subject.as_ref().map(ToString::to_string),
        received: event.received.as_millis(),
        facts,
        ambiguous: event.ambiguous,
        synthesised: event.synthesised,
        payload_len: event.payload.bytes().len() as u64,
        hooks: hooks.iter().map(ToString::to_string).collect(),
    })
}

/// Reads an event; its payload is empty.
pub(super) fn read_event(seq: Seq, bytes: &[u8]) -> Result<ListedEvent, FormatError> {
    let stored: StoredEvent = read(bytes)?;
    let facts = match stored.facts {
        StoredFacts::State {
            resource,
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        } => Facts::State(StateChange {
            resource: resource_named(&resource),
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        }),
        StoredFacts::Api { call, success } => Facts::Api(ApiCall { call, success }),
        StoredFacts::Retry {
            hook_id,
            arguments,
            remote_host,
        } => Facts::Retry(RetryRequest {
            hook_id,
            arguments,
            remote_host,
        }),
        StoredFacts::Undecodable { reason } => Facts::Undecodable { reason },
        StoredFacts::Gap {
            from,
            to,
            why,
            lost,
            keys,
        } => Facts::Gap(Gap {
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
            why,
            lost,
            keys,
        }),
    };
    Ok(ListedEvent {
        event: Event {
            seq,
            source: stored.source.into(),
            key: stored.key,
            subject: stored.subject.as_deref().map(Subject::new),
            received: Timestamp::from_millis(stored.received),
            facts,
            ambiguous: stored.ambiguous,
            synthesised: stored.synthesised,
            payload: Payload::new(Bytes::new()),
        },
        payload_len: stored.payload_len,
        hooks: stored.hooks.iter().map(|name| HookName::trusted(name)).collect(),
    })
}

fn resource_name(resource: &Resource) -> &str {
    match resource {
        Resource::Vm => "VM",
        Resource::Host => "HOST",
        Resource::Image => "IMAGE",
        Resource::Net => "NET",
        Resource::Other(name) => name,
    }
}

fn resource_named(name: &str) -> Resource {
    match name {
        "VM" => Resource::Vm,
        "HOST" => Resource::Host,
        "IMAGE" => Resource::Image,
        "NET" => Resource::Net,
        other => Resource::Other(other.to_owned()),
    }
}

#[derive(Serialize, Deserialize)]
struct StoredExecution {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
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
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredCause {
    Event,
    Retry,
    RetryMessage { event: u64 },
    Operator { by: StoredActor, as_recorded: bool },
    Recovery,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredActor {
    User { uid: u32 },
    Daemon,
}

impl From<&Actor> for StoredActor {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::User { uid } => Self::User { uid: *uid },
            Actor::Daemon => Self::Daemon,
        }
    }
}

impl From<StoredActor> for Actor {
    fn from(stored: StoredActor) -> Self {
        match stored {
            StoredActor::User { uid } => Self::User { uid },
            StoredActor::Daemon => Self::Daemon,
        }
    }
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

pub(super) fn write_execution(execution: &Execution) -> Vec<u8> {
    write(&StoredExecution {
        subject: execution.subject.as_ref().map(ToString::to_string),
        accepted: execution.accepted.as_millis(),
        why: execution.why.clone(),
        retry_of: execution
            .retry_of
            .as_ref()
            .map(|key| (key.event.0, key.hook.to_string())),
    })
}

pub(super) fn write_progress(progress: &Progress) -> Vec<u8> {
    let state = match &progress.state {
        State::Queued { cause, since } => StoredState::Queued {
            cause: cause.into(),
            since: since.as_millis(),
        },
        State::Running {
            attempt,
            cause,
            since,
        } => StoredState::Running {
            attempt: *attempt,
            cause: cause.into(),
            since: since.as_millis(),
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
                Settlement::Skipped(SkipReason::Expired) => StoredState::Expired { at },
                Settlement::Cancelled(reason) => StoredState::Cancelled {
                    at,
                    why: match reason {
                        CancelReason::Operator(actor) => StoredCancel::Operator { by: actor.into() },
                        CancelReason::HookRemoved => StoredCancel::HookRemoved,
                        CancelReason::HookDisabled => StoredCancel::HookDisabled,
                    },
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

pub(super) fn read_execution(
    key: ExecutionKey,
    execution: &[u8],
    progress: &[u8],
) -> Result<Execution, FormatError> {
    let stored: StoredExecution = read(execution)?;
    Ok(Execution {
        key,
        subject: stored.subject.as_deref().map(Subject::new),
        accepted: Timestamp::from_millis(stored.accepted),
        why: stored.why,
        retry_of: stored
            .retry_of
            .map(|(event, hook)| ExecutionKey::new(Seq(event), HookName::trusted(&hook))),
        progress: read_progress(progress)?,
    })
}

pub(super) fn read_progress(bytes: &[u8]) -> Result<Progress, FormatError> {
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
        } => State::Running {
            attempt,
            cause: cause.into(),
            since: Timestamp::from_millis(since),
        },
        StoredState::Retrying { due, delay } => State::Retrying {
            due: Timestamp::from_millis(due),
            delay: Duration::from_millis(delay),
        },
        StoredState::Succeeded { at } => settled(Settlement::Succeeded, at),
        StoredState::Failed { at } => settled(Settlement::Failed, at),
        StoredState::Expired { at } => settled(Settlement::Skipped(SkipReason::Expired), at),
        StoredState::Cancelled { at, why } => settled(
            Settlement::Cancelled(match why {
                StoredCancel::Operator { by } => CancelReason::Operator(by.into()),
                StoredCancel::HookRemoved => CancelReason::HookRemoved,
                StoredCancel::HookDisabled => CancelReason::HookDisabled,
            }),
            at,
        ),
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

#[derive(Serialize, Deserialize)]
struct StoredReleased {
    cause: StoredCause,
    at: i64,
}

#[derive(Serialize, Deserialize)]
struct StoredStarted {
    pid: u32,
    start_ticks: u64,
    at: i64,
    uid: u32,
    version: String,
    hook_file: PathBuf,
    hook_file_sha256: String,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(default)]
    files: Vec<StoredFile>,
}

#[derive(Serialize, Deserialize)]
struct StoredFile {
    path: PathBuf,
    sha256: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredEnded {
    at: i64,
    outcome: StoredOutcome,
    stdout: StoredExtent,
    stderr: StoredExtent,
}

/// Which part of the kept bytes is the head, and how many there were.
#[derive(Serialize, Deserialize)]
struct StoredExtent {
    head: usize,
    total: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredOutcome {
    Exited {
        code: i32,
    },
    Signalled {
        signal: i32,
    },
    TimedOut {
        after: u64,
        killed: bool,
    },
    Stopped {
        killed: bool,
    },
    StartFailed {
        failure: StoredStartFailure,
        message: String,
    },
    Leaked {
        code: i32,
    },
    Interrupted,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStartFailure {
    NotFound,
    NotPermitted,
    ArgumentTooLong,
    BadArgument,
    Exhausted,
    Other,
}

pub(super) fn write_released(cause: &Cause, at: Timestamp) -> Vec<u8> {
    write(&StoredReleased {
        cause: cause.into(),
        at: at.as_millis(),
    })
}

pub(super) fn write_started(process: &StartedProcess) -> Vec<u8> {
    write(&StoredStarted {
        pid: process.pid,
        start_ticks: process.start_ticks,
        at: process.at.as_millis(),
        uid: process.uid,
        version: process.version.to_string(),
        hook_file: utf8(&process.hook_file),
        hook_file_sha256: hex(&process.hook_file_sha256),
        argv: process.argv.clone(),
        environment: process.environment.clone(),
        directory: process.directory.as_deref().map(utf8),
        files: process
            .files
            .iter()
            .map(|file| StoredFile {
                path: utf8(&file.path),
                sha256: hex(&file.sha256),
                size: file.size,
            })
            .collect(),
    })
}

pub(super) fn write_ended(ended: &EndedAttempt) -> Vec<u8> {
    let extent = |captured: &Captured| StoredExtent {
        head: captured.head.len(),
        total: captured.total,
    };
    write(&StoredEnded {
        at: ended.at.as_millis(),
        outcome: match &ended.outcome {
            Outcome::Exited { code } => StoredOutcome::Exited { code: *code },
            Outcome::Signalled { signal } => StoredOutcome::Signalled { signal: *signal },
            Outcome::TimedOut { after, killed } => StoredOutcome::TimedOut {
                after: millis(*after),
                killed: *killed,
            },
            Outcome::Stopped { killed } => StoredOutcome::Stopped { killed: *killed },
            Outcome::StartFailed(StartFailure { kind, message }) => StoredOutcome::StartFailed {
                failure: match kind {
                    StartFailureKind::NotFound => StoredStartFailure::NotFound,
                    StartFailureKind::NotPermitted => StoredStartFailure::NotPermitted,
                    StartFailureKind::ArgumentTooLong => StoredStartFailure::ArgumentTooLong,
                    StartFailureKind::BadArgument => StoredStartFailure::BadArgument,
                    StartFailureKind::Exhausted => StoredStartFailure::Exhausted,
                    StartFailureKind::Other => StoredStartFailure::Other,
                },
                message: message.clone(),
            },
            Outcome::Leaked { code } => StoredOutcome::Leaked { code: *code },
            Outcome::Interrupted => StoredOutcome::Interrupted,
        },
        stdout: extent(&ended.stdout),
        stderr: extent(&ended.stderr),
    })
}

/// The parts of an attempt's record, as they stand in the store.
#[derive(Debug, Default)]
pub(super) struct AttemptParts {
    pub(super) released: Vec<u8>,
    pub(super) started: Option<Vec<u8>>,
    pub(super) ended: Option<Vec<u8>>,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

pub(super) fn read_attempt(number: u32, parts: AttemptParts) -> Result<Attempt, FormatError> {
    let released: StoredReleased = read(&parts.released)?;
    let process = match &parts.started {
        Some(bytes) => Some(read_started(bytes)?),
        None => None,
    };
    let ended = match &parts.ended {
        Some(bytes) => Some(read_ended(bytes, parts.stdout.into(), parts.stderr.into())?),
        None => None,
    };
    Ok(Attempt {
        number,
        cause: released.cause.into(),
        released: Timestamp::from_millis(released.at),
        process,
        ended,
    })
}

fn read_started(bytes: &[u8]) -> Result<StartedProcess, FormatError> {
    let stored: StoredStarted = read(bytes)?;
    let files: Result<Vec<FileFingerprint>, FormatError> = stored
        .files
        .into_iter()
        .map(|file| {
            Ok(FileFingerprint {
                path: file.path,
                sha256: unhex(&file.sha256)?,
                size: file.size,
            })
        })
        .collect();
    Ok(StartedProcess {
        pid: stored.pid,
        start_ticks: stored.start_ticks,
        at: Timestamp::from_millis(stored.at),
        uid: stored.uid,
        version: Version(unhex(&stored.version)?),
        hook_file: stored.hook_file,
        hook_file_sha256: unhex(&stored.hook_file_sha256)?,
        argv: stored.argv,
        environment: stored.environment,
        directory: stored.directory,
        files: files?,
    })
}

fn read_ended(bytes: &[u8], stdout: Bytes, stderr: Bytes) -> Result<EndedAttempt, FormatError> {
    let stored: StoredEnded = read(bytes)?;
    let captured = |extent: &StoredExtent, kept: Bytes| {
        let head = extent.head.min(kept.len());
        Captured {
            head: kept.slice(..head),
            tail: kept.slice(head..),
            total: extent.total,
        }
    };
    Ok(EndedAttempt {
        at: Timestamp::from_millis(stored.at),
        outcome: match stored.outcome {
            StoredOutcome::Exited { code } => Outcome::Exited { code },
            StoredOutcome::Signalled { signal } => Outcome::Signalled { signal },
            StoredOutcome::TimedOut { after, killed } => Outcome::TimedOut {
                after: Duration::from_millis(after),
                killed,
            },
            StoredOutcome::Stopped { killed } => Outcome::Stopped { killed },
            StoredOutcome::StartFailed { failure, message } => Outcome::StartFailed(StartFailure {
                kind: match failure {
                    StoredStartFailure::NotFound => StartFailureKind::NotFound,
                    StoredStartFailure::NotPermitted => StartFailureKind::NotPermitted,
                    StoredStartFailure::ArgumentTooLong => StartFailureKind::ArgumentTooLong,
                    StoredStartFailure::BadArgument => StartFailureKind::BadArgument,
                    StoredStartFailure::Exhausted => StartFailureKind::Exhausted,
                    StoredStartFailure::Other => StartFailureKind::Other,
                },
                message,
            }),
            StoredOutcome::Leaked { code } => Outcome::Leaked { code },
            StoredOutcome::Interrupted => Outcome::Interrupted,
        },
        stdout: captured(&stored.stdout, stdout),
        stderr: captured(&stored.stderr, stderr),
    })
}

#[derive(Serialize, Deserialize)]
struct StoredDefinition {
    name: String,
    text: String,
    file: String,
    line: usize,
    file_sha256: String,
}

pub(super) fn write_definition(definition: &Definition) -> Vec<u8> {
    write(&StoredDefinition {
        name: definition.name.to_string(),
        text: definition.text.clone(),
        file: definition.file.clone(),
        line: definition.line,
        file_sha256: hex(&definition.file_sha256),
    })
}

pub(super) fn read_definition(bytes: &[u8]) -> Result<Definition, FormatError> {
    let stored: StoredDefinition = read(bytes)?;
    Ok(Definition {
        name: HookName::trusted(&stored.name),
        text: stored.text,
        file: stored.file,
        line: stored.line,
        file_sha256: unhex(&stored.file_sha256)?,
    })
}

#[derive(Serialize, Deserialize)]
struct StoredOverride {
    enabled: bool,
    by: StoredActor,
    at: i64,
}

pub(super) fn write_override(value: &Override) -> Vec<u8> {
    write(&StoredOverride {
        enabled: value.enabled,
        by: (&value.actor).into(),
        at: value.at.as_millis(),
    })
}

pub(super) fn read_override(bytes: &[u8]) -> Result<Override, FormatError> {
    let stored: StoredOverride = read(bytes)?;
    Ok(Override {
        enabled: stored.enabled,
        actor: stored.by.into(),
        at: Timestamp::from_millis(stored.at),
    })
}

#[derive(Serialize, Deserialize)]
struct StoredAudit {
    at: i64,
    by: StoredActor,
    action: String,
    target: String,
}

pub(super) fn write_audit(at: Timestamp, actor: &Actor, action: &str, target: &str) -> Vec<u8> {
    write(&StoredAudit {
        at: at.as_millis(),
        by: actor.into(),
        action: action.to_owned(),
        target: target.to_owned(),
    })
}

pub(super) fn read_audit(number: u64, bytes: &[u8]) -> Result<AuditEntry, FormatError> {
    let stored: StoredAudit = read(bytes)?;
    Ok(AuditEntry {
        number,
        at: Timestamp::from_millis(stored.at),
        actor: stored.by.into(),
        action: stored.action,
        target: stored.target,
    })
}

/// Everything that is counted; it rides in each batch, so that sums and records never disagree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Totals {
    pub(super) last_seq: u64,
    pub(super) last_audit: u64,
    pub(super) condition_errors: u64,
    #[serde(default)]
    pub(super) absent_elements: u64,
    /// Kept executions by the name of their state.
    pub(super) executions: BTreeMap<String, u64>,
    pub(super) unmatched_kept: u64,
    pub(super) matched_kept: u64,
    /// Bytes of payloads and outputs kept.
    pub(super) bytes: u64,
    pub(super) sources: BTreeMap<String, StoredCounters>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct StoredCounters {
    received: u64,
    matched: u64,
    unmatched: u64,
    undecodable: u64,
    duplicate: u64,
    refused: u64,
    lost: u64,
    #[serde(default)]
    gaps: u64,
}

impl Totals {
    /// Counts an accepted event where it belongs.
    pub(super) fn count(&mut self, event: &Event, is_unmatched: bool) {
        let mut counters = EventCounters::default();
        match (event.kind(), is_unmatched) {
            // Made here: it is not among what was received.
            (Kind::Gap, _) => counters.gaps = 1,
            (_, false) => (counters.received, counters.matched) = (1, 1),
            (Kind::Undecodable, true) => (counters.received, counters.undecodable) = (1, 1),
            (_, true) => (counters.received, counters.unmatched) = (1, 1),
        }
        self.sources
            .entry(event.source.to_string())
            .or_default()
            .add(&counters);
    }
}

impl StoredCounters {
    pub(super) fn add(&mut self, more: &EventCounters) {
        self.received += more.received;
        self.matched += more.matched;
        self.unmatched += more.unmatched;
        self.undecodable += more.undecodable;
        self.duplicate += more.duplicate;
        self.refused += more.refused;
        self.lost += more.lost;
        self.gaps += more.gaps;
    }

    pub(super) fn counters(&self) -> EventCounters {
        EventCounters {
            received: self.received,
            matched: self.matched,
            unmatched: self.unmatched,
            undecodable: self.undecodable,
            duplicate: self.duplicate,
            refused: self.refused,
            lost: self.lost,
            gaps: self.gaps,
        }
    }
}

pub(super) fn read_totals(bytes: &[u8]) -> Result<Totals, FormatError> {
    read(bytes)
}

#[derive(Serialize, Deserialize)]
struct StoredLastGood {
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_since: Option<i64>,
}

pub(super) fn write_last_good(text: &str, stale_since: Option<Timestamp>) -> Vec<u8> {
    write(&StoredLastGood {
        text: text.to_owned(),
        stale_since: stale_since.map(Timestamp::as_millis),
    })
}

pub(super) fn read_last_good(bytes: &[u8]) -> Result<(String, Option<Timestamp>), FormatError> {
    let stored: StoredLastGood = read(bytes)?;
    Ok((stored.text, stored.stale_since.map(Timestamp::from_millis)))
}
