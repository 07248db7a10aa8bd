//! From the interface's types back to the engine's. What comes from a file is believed only as far as it makes sense.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::LineFault;
use crate::control::api::{
    ActorView, AttemptLine, AuditView, CancelReasonView, CauseView, DefinitionLine, EndedView, EventLine,
    EventSums, ExecutionLine, FactsView, MuteLine, MutedByView, OutcomeView, OutputView, OverrideLine,
    ProcessView, ScopeView, SkipReasonView, StateView, Text,
};
use crate::engine::execution::{
    Actor, Attempt, CancelReason, Cause, EndedAttempt, Execution, FileFingerprint, Progress, Settlement,
    SkipReason, StartedProcess, State,
};
use crate::engine::mute::{Mute, MutedBy, Scope, Until};
use crate::event::id::{ExecutionKey, HookName, Reference, Seq, StoreId};
use crate::event::opennebula::Resource;
use crate::event::webhook::{Form, WebhookRequest};
use crate::event::{ApiCall, Event, Facts, Gap, RetryRequest, StateChange, Subject, own};
use crate::hooks::Version;
use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};
use crate::store::{AuditEntry, Definition, EventCounters, ListedEvent, Override};

/// Numbers go on behind what was imported; every reader of JSON can hold these.
const GREATEST: u64 = 1 << 53;

/// An execution's attempts go on behind what was imported.
const MOST_ATTEMPTS: u32 = 1 << 30;

/// Sources and hooks are told apart by their names, which stand in keys.
const LONGEST_NAME: usize = 256;

pub(super) fn no_store() -> StoreId {
    StoreId::draw(&mut fastrand::Rng::with_seed(0))
}

fn wrong(field: &'static str, value: impl ToString) -> LineFault {
    let mut value: String = value.to_string().chars().take(80).collect();
    if value.is_empty() {
        value.push_str("nothing");
    }
    LineFault::Value { field, value }
}

pub(super) fn number(field: &'static str, number: u64) -> Result<u64, LineFault> {
    if number < GREATEST {
        Ok(number)
    } else {
        Err(wrong(field, number))
    }
}

fn counted(field: &'static str, number: u32) -> Result<u32, LineFault> {
    if number < MOST_ATTEMPTS {
        Ok(number)
    } else {
        Err(wrong(field, number))
    }
}

fn seq(field: &'static str, number: u64) -> Result<Seq, LineFault> {
    match self::number(field, number)? {
        0 => Err(wrong(field, 0)),
        number => Ok(Seq(number)),
    }
}

fn hook_name(name: &str) -> Result<HookName, LineFault> {
    let plain = name.strip_prefix("oned/").unwrap_or(name);
    if name.len() > LONGEST_NAME || HookName::new(plain).is_err() {
        return Err(wrong("hook", name));
    }
    Ok(HookName::trusted(name))
}

fn key(field: &'static str, text: &str) -> Result<ExecutionKey, LineFault> {
    match text.parse() {
        Ok(Reference::Execution(None, key)) => {
            seq(field, key.event.0)?;
            hook_name(key.hook.as_str())?;
            Ok(key)
        }
        _ => Err(wrong(field, text)),
    }
}

fn sha256(field: &'static str, text: &str) -> Result<[u8; 32], LineFault> {
    let bad = || wrong(field, text);
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
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

fn version(text: &str) -> Result<Version, LineFault> {
    sha256("version", text).map(Version)
}

fn bytes(field: &'static str, text: Text) -> Result<Bytes, LineFault> {
    match text {
        Text::Text(text) => Ok(text.into_bytes().into()),
        Text::Base64(text) => BASE64
            .decode(&text)
            .map(Bytes::from)
            .map_err(|_| wrong(field, "something that is no base64")),
    }
}

fn actor(view: &ActorView) -> Actor {
    match view {
        ActorView::User { uid, .. } => Actor::User { uid: *uid },
        ActorView::Token { name } => Actor::Token {
            name: name.as_str().into(),
        },
        ActorView::Daemon => Actor::Daemon,
    }
}

fn cause(view: &CauseView) -> Result<Cause, LineFault> {
    Ok(match view {
        CauseView::Event => Cause::Event,
        CauseView::Retry => Cause::Retry,
        CauseView::RetryMessage { event } => Cause::RetryMessage(Seq(number("cause", *event)?)),
        CauseView::Operator {
            actor: who,
            as_recorded,
        } => Cause::Operator {
            actor: actor(who),
            as_recorded: *as_recorded,
        },
        CauseView::Recovery => Cause::Recovery,
    })
}

pub(super) fn counters(sums: &EventSums) -> EventCounters {
    EventCounters {
        received: sums.received,
        matched: sums.matched,
        unmatched: sums.unmatched,
        undecodable: sums.undecodable,
        duplicate: sums.duplicate,
        refused: sums.refused,
        lost: sums.lost,
        gaps: sums.gaps,
    }
}

pub(super) fn override_(line: &OverrideLine) -> Result<(HookName, Override), LineFault> {
    let value = Override {
        enabled: line.said.enabled,
        actor: actor(&line.said.actor),
        at: line.said.at.0,
    };
    Ok((hook_name(&line.hook)?, value))
}

pub(super) fn mute(line: MuteLine) -> Result<Mute, LineFault> {
    let view = line.mute;
    let scope = match view.scope {
        ScopeView::All => Scope::All,
        ScopeView::Source { source } => Scope::Source(source.into()),
        ScopeView::Hook { hook } => Scope::Hook(hook_name(&hook)?),
        ScopeView::Lane { hook, subject } => Scope::Lane(hook_name(&hook)?, Subject::new(&subject)),
    };
    let until = match (view.until, line.length_ms) {
        (Some(at), Some(length)) => Some(Until {
            at: at.0,
            length: Duration::from_millis(number("length_ms", length)?),
        }),
        (Some(at), None) => return Err(wrong("length_ms", at.0)),
        (None, _) => None,
    };
    Ok(Mute {
        scope,
        since: view.since.0,
        until,
        by: match view.by {
            MutedByView::Operator(who) => MutedBy::Operator(actor(&who)),
            MutedByView::Throttle => MutedBy::Throttle,
            MutedByView::LoopGuard => MutedBy::LoopGuard,
            MutedByView::Breaker => MutedBy::Breaker,
        },
        reason: view.reason,
    })
}

pub(super) fn definition(line: DefinitionLine) -> Result<(Version, Definition), LineFault> {
    let view = line.definition;
    let definition = Definition {
        name: hook_name(&line.hook)?,
        text: view.text,
        file: view.file,
        line: view.line,
        file_sha256: sha256("file_sha256", &view.file_sha256)?,
    };
    Ok((version(&view.version)?, definition))
}

/// The event, and whether its payload was kept.
pub(super) fn event(store: &StoreId, line: EventLine) -> Result<(ListedEvent, bool), LineFault> {
    let view = line.event;
    let seq = seq("seq", view.seq)?;
    if view.id != format!("{store}-{seq}") {
        return Err(wrong("id", view.id));
    }
    if view.source.len() > LONGEST_NAME {
        return Err(wrong("source", view.source));
    }
    let hooks = view
        .hooks
        .iter()
        .map(|hook| hook_name(hook))
        .collect::<Result<_, _>>()?;
    let keep_payload = view.payload.is_some();
    let payload = view
        .payload
        .map_or(Ok(Bytes::new()), |payload| bytes("payload", payload))?;
    if keep_payload && payload.len() as u64 != view.payload_len {
        return Err(wrong("payload_len", view.payload_len));
    }
    let facts = match view.facts {
        FactsView::State {
            resource,
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        } => Facts::State(StateChange {
            resource: Resource::parse(&resource),
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        }),
        FactsView::Api { call, success } => Facts::Api(ApiCall { call, success }),
        FactsView::Retry { hook_id, remote_host } => Facts::Retry(RetryRequest {
            hook_id,
            arguments: line.retry_arguments.unwrap_or_default(),
            remote_host,
        }),
        FactsView::Undecodable { reason } => Facts::Undecodable { reason },
        FactsView::Gap {
            from,
            to,
            why,
            lost,
            present,
        } => Facts::Gap(Gap {
            from: from.0,
            to: to.0,
            why,
            lost,
            keys: line.lost_keys,
            present,
        }),
        FactsView::Webhook {
            endpoint,
            method,
            form,
            delivery,
            headers,
            sender,
            request,
        } => Facts::Webhook(WebhookRequest {
            endpoint,
            method,
            form: Form::named(&form).ok_or_else(|| wrong("form", form))?,
            delivery,
            headers,
            sender,
            request,
        }),
        FactsView::Esc(view) => {
            let way = format!("{} {}", view.via, view.form);
            Facts::Esc(Box::new(view.into_event().ok_or_else(|| wrong("via", way))?))
        }
        FactsView::Ncmp(told) => Facts::Ncmp(Box::new(told.into_record())),
        FactsView::Masakari(told) => Facts::Masakari(told.into()),
        // Their document says all of it.
        FactsView::Execution { .. }
        | FactsView::Muted { .. }
        | FactsView::Blocked { .. }
        | FactsView::SourceDown { .. } => own::read(&payload).facts,
    };
    let event = Event {
        seq,
        source: view.source.into(),
        key: view.key,
        subject: view.subject.as_deref().map(Subject::new),
        received: view.received.0,
        payload: facts.payload(payload),
        facts,
        ambiguous: view.ambiguous,
        synthesised: view.synthesised,
    };
    let listed = ListedEvent {
        event,
        payload_len: view.payload_len,
        hooks,
    };
    Ok((listed, keep_payload))
}

pub(super) fn execution(store: &StoreId, line: ExecutionLine) -> Result<Execution, LineFault> {
    let view = line.execution;
    let key = key("execution", &view.execution)?;
    if view.id != key.with_store(store) || view.event != key.event.0 || view.hook != key.hook.as_str() {
        return Err(wrong("id", view.id));
    }
    Ok(Execution {
        // The event's line says it.
        source: "".into(),
        subject: view.subject.as_deref().map(Subject::new),
        accepted: view.accepted.0,
        why: view.why,
        retry_of: view
            .retry_of
            .as_deref()
            .map(|of| self::key("retry_of", of))
            .transpose()?,
        progress: Progress {
            state: state(view.state)?,
            turn: number("turn", line.turn)?,
            version: version(&view.version)?,
            attempts: counted("attempts", view.attempts)?,
            budget_used: counted("budget_used", view.budget_used)?,
            interruptions: counted("interruptions", view.interruptions)?,
        },
        key,
    })
}

fn state(view: StateView) -> Result<State, LineFault> {
    let settled = |settlement, at: crate::control::api::Time| State::Settled { settlement, at: at.0 };
    Ok(match view {
        StateView::Queued { cause: why, since } => State::Queued {
            cause: cause(&why)?,
            since: since.0,
        },
        StateView::Running {
            attempt,
            cause: why,
            since,
            ended_for,
        } => State::Running {
            attempt: counted("state", attempt)?,
            cause: cause(&why)?,
            since: since.0,
            ended_for: ended_for.as_ref().map(cancel_reason),
        },
        StateView::Debouncing {
            cause: why,
            due,
            delay_ms,
        } => State::Debouncing {
            due: due.0,
            delay: Duration::from_millis(number("delay_ms", delay_ms)?),
            cause: cause(&why)?,
        },
        StateView::Retrying { due, delay_ms } => State::Retrying {
            due: due.0,
            delay: Duration::from_millis(number("delay_ms", delay_ms)?),
        },
        StateView::Succeeded { at } => settled(Settlement::Succeeded, at),
        StateView::Failed { at } => settled(Settlement::Failed, at),
        StateView::Skipped { at, reason } => settled(
            Settlement::Skipped(match reason {
                SkipReasonView::Expired => SkipReason::Expired,
                SkipReasonView::Throttled => SkipReason::Throttled,
                SkipReasonView::Superseded => SkipReason::Superseded,
                SkipReasonView::Overlap => SkipReason::Overlap,
                SkipReasonView::Muted => SkipReason::Muted,
                SkipReasonView::Observed => SkipReason::Observed,
            }),
            at,
        ),
        StateView::Cancelled { at, reason } => settled(Settlement::Cancelled(cancel_reason(&reason)), at),
    })
}

fn cancel_reason(view: &CancelReasonView) -> CancelReason {
    match view {
        CancelReasonView::Operator(who) => CancelReason::Operator(actor(who)),
        CancelReasonView::HookRemoved => CancelReason::HookRemoved,
        CancelReasonView::HookDisabled => CancelReason::HookDisabled,
        CancelReasonView::Superseded => CancelReason::Superseded,
        CancelReasonView::Stopped(who) => CancelReason::Stopped(actor(who)),
        CancelReasonView::Expired => CancelReason::Expired,
    }
}

pub(super) fn attempt(of: &ExecutionKey, line: AttemptLine) -> Result<Attempt, LineFault> {
    if line.execution != of.to_string() {
        return Err(LineFault::Order("its execution does not stand before it"));
    }
    let view = line.attempt;
    let arguments_sha256 = line
        .arguments_sha256
        .as_deref()
        .map(|sum| sha256("arguments_sha256", sum))
        .transpose()?;
    Ok(Attempt {
        number: counted("number", view.number)?,
        cause: cause(&view.cause)?,
        released: view.released.0,
        process: view
            .process
            .map(|view| process(view, arguments_sha256))
            .transpose()?,
        ended: view.ended.map(ended).transpose()?,
    })
}

/// A process of another machine, or of a boot long ago: its start time, by which a former life's process is told from
/// another one of the same number, is left out.
fn process(view: ProcessView, arguments_sha256: Option<[u8; 32]>) -> Result<StartedProcess, LineFault> {
    Ok(StartedProcess {
        pid: view.pid,
        start_ticks: 0,
        boot_id: None,
        at: view.at.0,
        uid: view.uid,
        version: version(&view.version)?,
        hook_file: PathBuf::from(view.hook_file),
        hook_file_sha256: sha256("hook_file_sha256", &view.hook_file_sha256)?,
        arguments_sha256,
        argv: view.argv,
        environment: view.environment,
        directory: view.directory.map(PathBuf::from),
        files: view
            .files
            .into_iter()
            .map(|file| {
                Ok(FileFingerprint {
                    path: PathBuf::from(file.path),
                    sha256: sha256("sha256", &file.sha256)?,
                    size: file.size,
                })
            })
            .collect::<Result<_, _>>()?,
    })
}

fn ended(view: EndedView) -> Result<EndedAttempt, LineFault> {
    Ok(EndedAttempt {
        at: view.at.0,
        outcome: outcome(view.outcome)?,
        stdout: captured(view.stdout)?,
        stderr: captured(view.stderr)?,
        outputs_pruned: view.outputs_pruned,
    })
}

fn captured(view: OutputView) -> Result<Captured, LineFault> {
    Ok(Captured {
        head: bytes("output", view.head)?,
        tail: bytes("output", view.tail)?,
        total: view.total,
    })
}

fn outcome(view: OutcomeView) -> Result<Outcome, LineFault> {
    Ok(match view {
        OutcomeView::Exited { code } => Outcome::Exited { code },
        OutcomeView::Signalled { signal } => Outcome::Signalled { signal },
        OutcomeView::TimedOut { after_ms, killed } => Outcome::TimedOut {
            after: Duration::from_millis(number("after_ms", after_ms)?),
            killed,
        },
        OutcomeView::Stopped { killed } => Outcome::Stopped { killed },
        OutcomeView::StartFailed { kind, message } => Outcome::StartFailed(StartFailure {
            kind: match kind.as_str() {
                "not_found" => StartFailureKind::NotFound,
                "not_permitted" => StartFailureKind::NotPermitted,
                "argument_too_long" => StartFailureKind::ArgumentTooLong,
                "bad_argument" => StartFailureKind::BadArgument,
                "exhausted" => StartFailureKind::Exhausted,
                "other" => StartFailureKind::Other,
                _ => return Err(wrong("kind", kind)),
            },
            message,
        }),
        OutcomeView::Leaked { code } => Outcome::Leaked { code },
        OutcomeView::Interrupted => Outcome::Interrupted,
    })
}

pub(super) fn audit(view: &AuditView) -> Result<AuditEntry, LineFault> {
    Ok(AuditEntry {
        number: seq("number", view.number)?.0,
        at: view.at.0,
        actor: actor(&view.actor),
        action: view.action.clone(),
        target: view.target.clone(),
    })
}
