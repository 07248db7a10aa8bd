//! From the engine's types to the interface's.

use std::time::Duration;

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::api::{
    AcceptanceBucket, ActorView, AttemptView, AuditView, BlockedView, CancelReasonView, CatchUpView,
    CaughtUpView, CauseView, DefinitionView, EndedView, EscView, EventSums, EventView, ExecutionView,
    FactsView, FaultView, FileView, HookView, KeptView, NcmpView, NotedOnlyView, OutcomeView, OutputView,
    OverrideView, ProcessView, ReloadReply, ResultsView, RoleView, SeverityView, SkipReasonView,
    SourceErrorView, SourceView, StaleView, StateView, StatusView, Text, Time,
};
use super::{mutes, pool};
use crate::engine::execution::{
    Actor, Attempt, CancelReason, Cause, EndedAttempt, Execution, Settlement, SkipReason, StartedProcess,
    State,
};
use crate::engine::handle::{
    CatchUpStatus, Connection, GapStory, NotedOnly, PoolInForce, ReloadReport, Role, SourceStatus, Standing,
    Status,
};
use crate::event::Facts;
use crate::event::id::{HookName, StoreId};
use crate::event::own::OwnEvent;
use crate::event::time::Timestamp;
use crate::hooks::fault::{Fault, Severity};
use crate::hooks::invocation::{OnehemShell, uses_shell};
use crate::hooks::{
    EscTrigger, Hook, MasakariTrigger, Names, NcmpTrigger, OwnTrigger, Patterns, Profile, Trigger, Version,
};
use crate::runner::{Captured, Outcome, StartFailureKind};
use crate::store::{AuditEntry, Definition, EventCounters, ListedEvent, Override};

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

pub(super) fn text(bytes: &[u8]) -> Text {
    match std::str::from_utf8(bytes) {
        Ok(text) => Text::Text(text.to_owned()),
        Err(_) => Text::Base64(BASE64.encode(bytes)),
    }
}

fn facts(facts: &Facts) -> FactsView {
    match facts {
        Facts::State(change) => FactsView::State {
            resource: change.resource.as_str().to_owned(),
            id: change.id.clone(),
            state: change.state.clone(),
            lcm_state: change.lcm_state.clone(),
            previous_state: change.previous_state.clone(),
            previous_lcm_state: change.previous_lcm_state.clone(),
            host: change.host.clone(),
        },
        Facts::Api(api) => FactsView::Api {
            call: api.call.clone(),
            success: api.success,
        },
        Facts::Retry(retry) => FactsView::Retry {
            hook_id: retry.hook_id,
            remote_host: retry.remote_host.clone(),
        },
        Facts::Undecodable { reason } => FactsView::Undecodable {
            reason: reason.clone(),
        },
        Facts::Gap(gap) => FactsView::Gap {
            from: Time(gap.from),
            to: Time(gap.to),
            why: gap.why.clone(),
            lost: gap.lost,
            present: gap.present.clone(),
        },
        Facts::Own(own) => own_facts(own),
        Facts::Webhook(request) => FactsView::Webhook {
            endpoint: request.endpoint.clone(),
            method: request.method.clone(),
            form: request.form.as_str().to_owned(),
            delivery: request.delivery.clone(),
            headers: request.headers.clone(),
            sender: request.sender.clone(),
            request: request.request.clone(),
        },
        Facts::Esc(event) => FactsView::Esc(Box::new(EscView::of(event))),
        Facts::Ncmp(told) => FactsView::Ncmp(NcmpView::of(told)),
        Facts::Masakari(told) => FactsView::Masakari(told.into()),
    }
}

fn own_facts(own: &OwnEvent) -> FactsView {
    match own {
        OwnEvent::Execution(ended) => FactsView::Execution {
            execution: ended.execution.to_string(),
            outcome: ended.outcome.as_str().to_owned(),
            attempts: ended.attempts,
        },
        OwnEvent::Muted(muted) => FactsView::Muted {
            hook: muted.hook.as_ref().map(ToString::to_string),
            source: muted.source.clone(),
            subject: muted.about.clone(),
            by: muted.by.clone(),
            reason: muted.reason.clone(),
            until: muted.until.map(Time),
        },
        OwnEvent::Blocked(blocked) => FactsView::Blocked {
            waiting: blocked.waiting.to_string(),
            behind: blocked.behind.to_string(),
            since: Time(blocked.since),
        },
        OwnEvent::SourceDown(down) => FactsView::SourceDown {
            source: down.source.clone(),
            since: Time(down.since),
            error: down.error.clone(),
        },
    }
}

/// An event without its payload.
pub(super) fn event(store: &StoreId, listed: &ListedEvent) -> EventView {
    let event = &listed.event;
    EventView {
        seq: event.seq.0,
        id: format!("{store}-{}", event.seq),
        source: event.source.to_string(),
        key: event.key.clone(),
        subject: event.subject.as_ref().map(ToString::to_string),
        received: Time(event.received),
        facts: facts(&event.facts),
        ambiguous: event.ambiguous,
        synthesised: event.synthesised,
        payload_len: listed.payload_len,
        hooks: listed.hooks.iter().map(ToString::to_string).collect(),
        payload: None,
    }
}

pub(super) fn actor(actor: &Actor) -> ActorView {
    match actor {
        Actor::User { uid } => ActorView::User {
            uid: *uid,
            name: nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(*uid))
                .ok()
                .flatten()
                .map(|user| user.name),
        },
        Actor::Token { name } => ActorView::Token {
            name: name.to_string(),
        },
        Actor::Daemon => ActorView::Daemon,
    }
}

fn cause(cause: &Cause) -> CauseView {
    match cause {
        Cause::Event => CauseView::Event,
        Cause::Retry => CauseView::Retry,
        Cause::RetryMessage(seq) => CauseView::RetryMessage { event: seq.0 },
        Cause::Operator {
            actor: who,
            as_recorded,
        } => CauseView::Operator {
            actor: actor(who),
            as_recorded: *as_recorded,
        },
        Cause::Recovery => CauseView::Recovery,
    }
}

fn state(state: &State) -> StateView {
    match state {
        State::Queued { cause: why, since } => StateView::Queued {
            cause: cause(why),
            since: Time(*since),
        },
        State::Running {
            attempt,
            cause: why,
            since,
            ended_for,
        } => StateView::Running {
            attempt: *attempt,
            cause: cause(why),
            since: Time(*since),
            ended_for: ended_for.as_ref().map(cancel_reason),
        },
        State::Debouncing {
            due,
            delay,
            cause: why,
        } => StateView::Debouncing {
            cause: cause(why),
            due: Time(*due),
            delay_ms: millis(*delay),
        },
        State::Retrying { due, delay } => StateView::Retrying {
            due: Time(*due),
            delay_ms: millis(*delay),
        },
        State::Settled { settlement, at } => {
            let at = Time(*at);
            match settlement {
                Settlement::Succeeded => StateView::Succeeded { at },
                Settlement::Failed => StateView::Failed { at },
                Settlement::Skipped(reason) => StateView::Skipped {
                    at,
                    reason: match reason {
                        SkipReason::Expired => SkipReasonView::Expired,
                        SkipReason::Throttled => SkipReasonView::Throttled,
                        SkipReason::Superseded => SkipReasonView::Superseded,
                        SkipReason::Overlap => SkipReasonView::Overlap,
                        SkipReason::Muted => SkipReasonView::Muted,
                        SkipReason::Observed => SkipReasonView::Observed,
                    },
                },
                Settlement::Cancelled(reason) => StateView::Cancelled {
                    at,
                    reason: cancel_reason(reason),
                },
            }
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn execution(store: &StoreId, execution: &Execution) -> ExecutionView {
    ExecutionView {
        execution: execution.key.to_string(),
        id: execution.key.with_store(store),
        event: execution.key.event.0,
        hook: execution.key.hook.to_string(),
        version: execution.progress.version.to_string(),
        subject: execution.subject.as_ref().map(ToString::to_string),
        source: execution.source.to_string(),
        accepted: Time(execution.accepted),
        why: execution.why.clone(),
        retry_of: execution.retry_of.as_ref().map(ToString::to_string),
        state: state(&execution.progress.state),
        held_by: None,
        attempts: execution.progress.attempts,
        budget_used: execution.progress.budget_used,
        interruptions: execution.progress.interruptions,
        arguments: None,
    }
}

fn cancel_reason(reason: &CancelReason) -> CancelReasonView {
    match reason {
        CancelReason::Operator(who) => CancelReasonView::Operator(actor(who)),
        CancelReason::HookRemoved => CancelReasonView::HookRemoved,
        CancelReason::HookDisabled => CancelReasonView::HookDisabled,
        CancelReason::Superseded => CancelReasonView::Superseded,
        CancelReason::Stopped(who) => CancelReasonView::Stopped(actor(who)),
        CancelReason::Expired => CancelReasonView::Expired,
    }
}

pub(super) fn definition(version: &Version, definition: &Definition) -> DefinitionView {
    DefinitionView {
        version: version.to_string(),
        text: definition.text.clone(),
        file: definition.file.clone(),
        line: definition.line,
        file_sha256: hex(&definition.file_sha256),
    }
}

pub(super) fn definition_in_force(hook: &Hook) -> DefinitionView {
    DefinitionView {
        version: hook.version.to_string(),
        text: hook.text.to_string(),
        file: hook.origin.file.display().to_string(),
        line: hook.origin.line,
        file_sha256: hex(&hook.origin.file_sha256),
    }
}

pub(super) fn attempt(attempt: &Attempt) -> AttemptView {
    AttemptView {
        number: attempt.number,
        cause: cause(&attempt.cause),
        released: Time(attempt.released),
        process: attempt.process.as_ref().map(process),
        ended: attempt.ended.as_ref().map(ended),
    }
}

fn process(process: &StartedProcess) -> ProcessView {
    ProcessView {
        pid: process.pid,
        at: Time(process.at),
        uid: process.uid,
        version: process.version.to_string(),
        hook_file: process.hook_file.display().to_string(),
        hook_file_sha256: hex(&process.hook_file_sha256),
        argv: process.argv.clone(),
        environment: process.environment.clone(),
        directory: process.directory.as_ref().map(|path| path.display().to_string()),
        files: process
            .files
            .iter()
            .map(|file| FileView {
                path: file.path.display().to_string(),
                sha256: hex(&file.sha256),
                size: file.size,
            })
            .collect(),
    }
}

fn ended(ended: &EndedAttempt) -> EndedView {
    EndedView {
        at: Time(ended.at),
        outcome: outcome(&ended.outcome),
        stdout: output(&ended.stdout),
        stderr: output(&ended.stderr),
        outputs_pruned: ended.outputs_pruned,
    }
}

/// An outcome in the interface's terms.
pub fn outcome(outcome: &Outcome) -> OutcomeView {
    match outcome {
        Outcome::Exited { code } => OutcomeView::Exited { code: *code },
        Outcome::Signalled { signal } => OutcomeView::Signalled { signal: *signal },
        Outcome::TimedOut { after, killed } => OutcomeView::TimedOut {
            after_ms: millis(*after),
            killed: *killed,
        },
        Outcome::Stopped { killed } => OutcomeView::Stopped { killed: *killed },
        Outcome::StartFailed(failure) => OutcomeView::StartFailed {
            kind: match failure.kind {
                StartFailureKind::NotFound => "not_found",
                StartFailureKind::NotPermitted => "not_permitted",
                StartFailureKind::ArgumentTooLong => "argument_too_long",
                StartFailureKind::BadArgument => "bad_argument",
                StartFailureKind::Exhausted => "exhausted",
                StartFailureKind::Other => "other",
            }
            .to_owned(),
            message: failure.message.clone(),
        },
        Outcome::Leaked { code } => OutcomeView::Leaked { code: *code },
        Outcome::Interrupted => OutcomeView::Interrupted,
    }
}

/// A cut may go through the middle of a character: up to three bytes at the cut's edges are no reason to show base64.
pub(super) fn output(captured: &Captured) -> OutputView {
    let cut = captured.cut();
    let (mut head, mut tail) = (&captured.head[..], &captured.tail[..]);
    if cut > 0 {
        if let Err(error) = std::str::from_utf8(head)
            && error.error_len().is_none()
        {
            head = &head[..error.valid_up_to()];
        }
        let continued = tail
            .iter()
            .take(3)
            .take_while(|byte| **byte & 0xC0 == 0x80)
            .count();
        // Bytes that are no text anyway are shown as they are.
        if std::str::from_utf8(&tail[continued..]).is_ok() {
            tail = &tail[continued..];
        }
    }
    OutputView {
        head: text(head),
        tail: text(tail),
        cut: captured
            .total
            .saturating_sub(head.len() as u64)
            .saturating_sub(tail.len() as u64),
        total: captured.total,
    }
}

pub(super) fn audit(entry: &AuditEntry) -> AuditView {
    AuditView {
        number: entry.number,
        at: Time(entry.at),
        actor: actor(&entry.actor),
        action: entry.action.clone(),
        target: entry.target.clone(),
    }
}

fn names(names: &Names) -> String {
    match names {
        Names::Any => "any".to_owned(),
        Names::Of(names) => names.join("|"),
    }
}

/// A trigger in words: `state VM ACTIVE/RUNNING from BOOT`, `api one.vm.allocate succeeded`.
fn trigger(trigger: &Trigger) -> String {
    let (mut words, source) = match trigger {
        Trigger::Own(own) => (own_trigger(own), &None),
        Trigger::State(state) => {
            let mut words = format!("state {} {}", state.resource.as_str(), names(&state.state));
            if state.lcm_state != Names::Any {
                words = format!("{words}/{}", names(&state.lcm_state));
            }
            if state.from != Names::Any {
                words = format!("{words} from {}", names(&state.from));
            }
            (words, &state.source)
        }
        Trigger::Api(api) => {
            let result = match api.success {
                None => "",
                Some(true) => " succeeded",
                Some(false) => " failed",
            };
            (format!("api {}{result}", names(&api.call)), &api.source)
        }
        Trigger::Webhook(webhook) => (format!("webhook {}", webhook.name), &webhook.source),
        Trigger::Esc(esc) => (esc_trigger(esc), &esc.source),
        Trigger::Ncmp(asked) => (ncmp_trigger(asked), &asked.source),
        Trigger::Masakari(asked) => (masakari_trigger(asked), &asked.source),
    };
    if let Some(source) = source {
        words = format!("{words} of {source}");
    }
    words
}

/// `ncmp event update state READY`.
fn ncmp_trigger(trigger: &NcmpTrigger) -> String {
    let mut words = "ncmp".to_owned();
    for (name, patterns, _) in trigger.asked(None) {
        words = format!("{words} {name} {patterns}");
    }
    match trigger.data_sync {
        Some(wanted) => format!("{words} data_sync {wanted}"),
        None => words,
    }
}

/// `esc SERVICE_ALIVE FAILURE, deployment dep`.
fn esc_trigger(trigger: &EscTrigger) -> String {
    let mut words = format!("esc {}", trigger.event);
    if trigger.status != Patterns::Any {
        words = format!("{words} {}", trigger.status);
    }
    for (what, patterns) in [
        ("tenant", &trigger.tenant),
        ("deployment", &trigger.deployment),
        ("vm_group", &trigger.vm_group),
    ] {
        if *patterns != Patterns::Any {
            words = format!("{words}, {what} {patterns}");
        }
    }
    match trigger.via {
        Some(via) => format!("{words}, via {via}"),
        None => words,
    }
}

/// `masakari type COMPUTE_HOST event STOPPED`.
fn masakari_trigger(trigger: &MasakariTrigger) -> String {
    trigger
        .asked()
        .fold("masakari".to_owned(), |words, (name, patterns)| {
            format!("{words} {name} {patterns}")
        })
}

/// `execution failed of dns`, `source_down after 1m of any`.
fn own_trigger(trigger: &OwnTrigger) -> String {
    let name = trigger.name();
    match trigger {
        OwnTrigger::Gap { source } => format!("{name} of {source}"),
        OwnTrigger::Execution { hook, outcomes } => {
            let outcomes: Vec<&str> = outcomes.iter().map(|outcome| outcome.as_str()).collect();
            format!("{name} {} of {hook}", outcomes.join("|"))
        }
        OwnTrigger::Muted { hook, source } => format!("{name} hook {hook}, source {source}"),
        OwnTrigger::Blocked { hook } => format!("{name} {hook}"),
        OwnTrigger::SourceDown { source, after } => {
            format!("{name} {source} after {after:?}")
        }
    }
}

pub(super) fn override_(said: &Override) -> OverrideView {
    OverrideView {
        enabled: said.enabled,
        actor: actor(&said.actor),
        at: Time(said.at),
    }
}

pub(super) fn hook(hook: &Hook, said: Option<&Override>, shell: OnehemShell, pool: &PoolInForce) -> HookView {
    HookView {
        name: hook.name.to_string(),
        oned_id: hook.oned_id,
        description: hook.description.clone(),
        enabled: said.map_or(hook.enabled, |said| said.enabled),
        enabled_in_file: hook.enabled,
        override_: said.map(override_),
        origin: pool::origin(hook, pool),
        shadowed_by: None,
        warnings: pool.repeats.get(&hook.name).cloned().unwrap_or_default(),
        muted: Vec::new(),
        profile: match hook.profile {
            Profile::Hem => "hem",
            Profile::Onehem => "onehem",
        }
        .to_owned(),
        triggers: hook.triggers.iter().map(trigger).collect(),
        when: hook.when.as_ref().map(|when| when.text().to_owned()),
        command: hook.action.command.clone(),
        program: hook.action.program.display().to_string(),
        shell: uses_shell(hook, shell),
        remote: hook.action.remote,
        definition: definition_in_force(hook),
    }
}

fn fault(fault: &Fault) -> FaultView {
    FaultView {
        severity: match fault.severity {
            Severity::Warning => SeverityView::Warning,
            Severity::Error => SeverityView::Error,
        },
        file: fault.file.display().to_string(),
        line: fault.line,
        text: fault.to_string(),
    }
}

pub(super) fn reload(report: &ReloadReport) -> ReloadReply {
    let names = |names: &[HookName]| names.iter().map(ToString::to_string).collect();
    let settings = |settings: &[&str]| settings.iter().map(ToString::to_string).collect();
    ReloadReply {
        added: names(&report.added),
        changed: names(&report.changed),
        removed: names(&report.removed),
        faults: report.faults.iter().map(fault).collect(),
        kept: report.kept.clone(),
        settings: settings(&report.settings.at_once),
        settings_at_start: settings(&report.settings.at_start),
        configuration: report.configuration.clone(),
    }
}

pub(super) fn sums(counters: &EventCounters) -> EventSums {
    EventSums {
        received: counters.received,
        accepted: counters.accepted(),
        matched: counters.matched,
        unmatched: counters.unmatched,
        undecodable: counters.undecodable,
        duplicate: counters.duplicate,
        refused: counters.refused,
        lost: counters.lost,
        gaps: counters.gaps,
        adds_up: counters.adds_up(),
    }
}

fn source(status: &SourceStatus) -> SourceView {
    let (connected, since) = match status.connection {
        Connection::Up { since } => (true, since),
        Connection::Down { since } => (false, since),
    };
    SourceView {
        kind: status.kind.to_owned(),
        endpoint: status.endpoint.clone(),
        connected,
        since: Time(since),
        connects: status.connects,
        last_error: status.last_error.as_ref().map(error_of_source),
        refused: status.refused.clone(),
        noted: status.noted.clone(),
        catch_up: status.catch_up.as_ref().map(catch_up),
    }
}

fn error_of_source((at, message): &(Timestamp, String)) -> SourceErrorView {
    SourceErrorView {
        at: Time(*at),
        message: message.clone(),
    }
}

fn catch_up(status: &CatchUpStatus) -> CatchUpView {
    CatchUpView {
        known: status.known as u64,
        as_of: status.as_of.map(Time),
        open_since: status.open_since.map(Time),
        raised: status.totals.raised,
        live: status.totals.live,
        unwanted: status.totals.unwanted,
        too_old: status.totals.rebuilt,
        last_error: status.last_error.as_ref().map(error_of_source),
    }
}

pub(super) fn caught_up(story: &GapStory) -> CaughtUpView {
    CaughtUpView {
        raised: story.raised,
        live: story.live,
        unwanted: story.unwanted,
        noted_only: story.noted_only.map(|why| match why {
            NotedOnly::First => NotedOnlyView::First,
            NotedOnly::OtherLed => NotedOnlyView::OtherLed,
            NotedOnly::TooOld => NotedOnlyView::TooOld,
        }),
        failures: story.failures,
        last_error: story.last_error.as_ref().map(error_of_source),
        finished: story.finished.map(Time),
    }
}

fn role(role: &Role) -> RoleView {
    RoleView {
        name: role.name().to_owned(),
        since: Time(role.since),
        why: role.why(),
    }
}

/// A gap is worth a look this long.
const GAP_IS_NEWS: Duration = Duration::from_secs(3600);

/// The status, with what is not as it should be spelt out.
pub(super) fn status(status: &Status, hooks: usize, now: Timestamp) -> StatusView {
    let events: std::collections::BTreeMap<_, _> = status
        .events
        .iter()
        .map(|(name, counters)| (name.clone(), sums(counters)))
        .collect();
    let mut concerns = Vec::new();
    if let Some(why) = &status.not_accepting {
        concerns.push(format!("nothing new is accepted: {why}"));
    }
    // One that follows is as it should be; one that cannot say what it is is not.
    if let Some(Role {
        standing: Standing::Unknown(why),
        since,
        ..
    }) = &status.role
    {
        concerns.push(format!(
            "on standby since {since}, because oned does not say that it leads: {why}"
        ));
    }
    for (name, state) in &status.sources {
        if let Connection::Down { .. } = state.connection {
            let why = state
                .last_error
                .as_ref()
                .map_or_else(String::new, |(_, message)| format!(": {message}"));
            concerns.push(format!(
                "source `{name}` is not connected to {}{why}",
                state.endpoint
            ));
        }
    }
    for (name, state) in &status.sources {
        if let Some(gap) = state
            .last_gap
            .as_ref()
            .filter(|gap| now.since(gap.to) < GAP_IS_NEWS)
        {
            concerns.push(format!(
                "events of source `{name}` may be missing from {} to {}: {}",
                gap.from, gap.to, gap.why
            ));
        }
    }
    for (name, state) in &status.sources {
        if let Some((since, why)) = state
            .catch_up
            .as_ref()
            .and_then(|status| status.last_error.as_ref())
        {
            concerns.push(format!(
                "what source `{name}` missed cannot be asked for, last tried {since}: {why}"
            ));
        }
    }
    for (name, results) in &status.outboxes {
        if let Some((since, why)) = &results.away {
            concerns.push(format!(
                "the controller of source `{name}` cannot be told of results since {since}: {why}"
            ));
        }
    }
    for (name, sums) in &events {
        if !sums.adds_up {
            concerns.push(format!("the counters of source `{name}` do not add up"));
        }
    }
    for blocked in &status.blocked {
        concerns.push(format!(
            "`{}` waits too long for `{}`",
            blocked.waiting, blocked.behind
        ));
    }
    concerns.extend(status.pool.iter().flat_map(pool::concerns));
    concerns.extend(status.mutes.iter().filter_map(mutes::concern));
    if let Some(since) = status.silent_folder {
        concerns.push(format!(
            "the hooks folder does not answer since {since}; the hooks in force stay"
        ));
    }
    for stale in &status.stale {
        concerns.push(format!(
            "`{}` is broken; its last good version is in force",
            stale.file.display()
        ));
    }
    StatusView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store: status.store.to_string(),
        started: Time(status.started),
        now: Time(now),
        url: None,
        last_seq: status.last_seq.0,
        events,
        executions: status
            .executions
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect(),
        held: status.held,
        mutes: status.mutes.iter().map(mutes::status).collect(),
        queue: status.queue.iter().map(mutes::queue).collect(),
        sources: status
            .sources
            .iter()
            .map(|(name, state)| (name.clone(), source(state)))
            .collect(),
        blocked: status
            .blocked
            .iter()
            .map(|blocked| BlockedView {
                subject: blocked.subject.clone(),
                waiting: blocked.waiting.to_string(),
                behind: blocked.behind.to_string(),
                since: Time(blocked.since),
            })
            .collect(),
        running: status.running,
        concurrency: status.concurrency,
        hooks,
        stale: status
            .stale
            .iter()
            .map(|stale| StaleView {
                file: stale.file.display().to_string(),
                since: Time(stale.since),
                fault: stale.fault.clone(),
            })
            .collect(),
        condition_errors: status.condition_errors,
        absent_elements: status.absent_elements,
        acceptance: status
            .acceptance_millis
            .iter()
            .map(|(up_to_ms, events)| AcceptanceBucket {
                up_to_ms: *up_to_ms,
                events: *events,
            })
            .collect(),
        acceptance_total_ms: millis(status.acceptance_total),
        oldest_queued: status.oldest_queued().map(Time),
        kept: KeptView {
            matched_events: status.kept.matched_events,
            unmatched_events: status.kept.unmatched_events,
            bytes: status.kept.bytes,
        },
        not_accepting: status.not_accepting.clone(),
        observing: status.observing,
        role: status.role.as_ref().map(role),
        results: status
            .outboxes
            .iter()
            .map(|(name, results)| {
                let view = ResultsView {
                    waiting: results.waiting,
                    delivered: results.delivered,
                    superseded: results.superseded,
                    away_since: results.away.as_ref().map(|(since, _)| Time(*since)),
                };
                (name.clone(), view)
            })
            .collect(),
        pool: status.pool.as_ref().map(pool::status),
        concerns,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_cut_through_a_character_still_shows_text() {
        let captured = Captured {
            head: Bytes::from_static("grü".as_bytes()).slice(..3),
            tail: Bytes::from_static("ße".as_bytes()).slice(1..),
            total: 100,
        };
        let view = output(&captured);
        assert_eq!(view.head, Text::Text("gr".to_owned()));
        assert_eq!(view.tail, Text::Text("e".to_owned()));
        assert_eq!(view.cut, 97);
    }

    #[test]
    fn bytes_that_are_no_text_go_in_base64() {
        assert_eq!(text(&[0xff, 0x00]), Text::Base64("/wA=".to_owned()));
    }

    #[test]
    fn the_names_of_states_agree_with_the_engine() {
        let at = Timestamp::default();
        for settlement in [
            Settlement::Succeeded,
            Settlement::Failed,
            Settlement::Skipped(SkipReason::Expired),
            Settlement::Cancelled(CancelReason::HookRemoved),
        ] {
            let internal = State::Settled { settlement, at };
            let view = state(&internal);
            assert_eq!(view.name(), internal.name());
            assert!(view.is_settled());
            let json = serde_json::to_value(&view).expect("JSON");
            assert_eq!(json["name"], internal.name());
        }
        assert_eq!(
            state(&State::Queued {
                cause: Cause::Event,
                since: at
            })
            .name(),
            "queued"
        );
    }
}
