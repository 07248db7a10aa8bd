//! Mutes between the engine's terms and the interface's, and the orders about them.

use std::sync::Arc;
use std::time::Duration;

use super::api::{
    MuteOrder, MuteReply, MuteStatusView, MuteView, MutedByView, QueueView, ScopeView, StopOrder, StopReply,
    ThenView, Time, UnmuteOrder, UnmuteReply,
};
use super::convert;
use crate::engine::execution::{Actor, Execution};
use crate::engine::handle::{Handle, MuteStatus, OrderError, QueueGroup, StopCounts};
use crate::engine::mute::{self, Mute, MutedBy, Scope, Then};
use crate::event::Subject;
use crate::event::id::HookName;

/// Reasons are for a line in a table.
const LONGEST_REASON: usize = 500;

pub(super) async fn order_mute(
    handle: &Handle,
    order: MuteOrder,
    actor: Actor,
) -> Result<MuteReply, OrderError> {
    let reason = checked(order.reason)?;
    let length = order.for_ms.map(Duration::from_millis);
    let muted = handle.mute(scope(&order.scope), length, reason, actor).await?;
    Ok(MuteReply {
        mute: view(&muted.mute),
        held: muted.held,
        running: muted.running,
    })
}

pub(super) async fn order_unmute(
    handle: &Handle,
    order: UnmuteOrder,
    actor: Actor,
) -> Result<UnmuteReply, OrderError> {
    let then = match order.then {
        ThenView::Run => Then::Run,
        ThenView::Latest => Then::Latest,
        ThenView::Drop => Then::Drop,
    };
    let unmuted = handle.unmute(scope(&order.scope), then, actor).await?;
    Ok(UnmuteReply {
        released: unmuted.released,
        still_held: unmuted.still_held,
        skipped: unmuted.skipped,
        cancelled: unmuted.cancelled,
    })
}

pub(super) async fn order_stop(
    handle: &Handle,
    hook: HookName,
    order: StopOrder,
    actor: Actor,
) -> Result<StopReply, OrderError> {
    let StopCounts { cancelled, ended } = if order.dry_run {
        handle.stop_counts(hook).await?
    } else {
        let reason = checked(order.reason)?;
        let length = order.for_ms.map(Duration::from_millis);
        handle.stop_hook(hook, length, reason, actor).await?
    };
    Ok(StopReply { cancelled, ended })
}

fn checked(reason: Option<String>) -> Result<Option<String>, OrderError> {
    match reason {
        Some(reason) if reason.chars().count() > LONGEST_REASON => Err(OrderError::NotPossible(format!(
            "a reason has at most {LONGEST_REASON} characters"
        ))),
        reason => Ok(reason),
    }
}

fn scope(view: &ScopeView) -> Scope {
    match view {
        ScopeView::All => Scope::All,
        ScopeView::Source { source } => Scope::Source(Arc::from(source.as_str())),
        ScopeView::Hook { hook } => Scope::Hook(HookName::trusted(hook)),
        ScopeView::Lane { hook, subject } => Scope::Lane(HookName::trusted(hook), Subject::new(subject)),
    }
}

pub(super) fn scope_view(scope: &Scope) -> ScopeView {
    match scope {
        Scope::All => ScopeView::All,
        Scope::Source(source) => ScopeView::Source {
            source: source.to_string(),
        },
        Scope::Hook(hook) => ScopeView::Hook {
            hook: hook.to_string(),
        },
        Scope::Lane(hook, subject) => ScopeView::Lane {
            hook: hook.to_string(),
            subject: subject.to_string(),
        },
    }
}

pub(super) fn view(mute: &Mute) -> MuteView {
    MuteView {
        scope: scope_view(&mute.scope),
        since: Time(mute.since),
        until: mute.until.map(|until| Time(until.at)),
        by: match &mute.by {
            MutedBy::Operator(actor) => MutedByView::Operator(convert::actor(actor)),
            MutedBy::Throttle => MutedByView::Throttle,
            MutedBy::LoopGuard => MutedByView::LoopGuard,
            MutedBy::Breaker => MutedByView::Breaker,
        },
        reason: mute.reason.clone(),
    }
}

/// The mute that holds an execution, the widest where there are several.
pub(super) fn holding(mutes: &[Mute], execution: &Execution) -> Option<MuteView> {
    mute::holding(mutes, execution).map(view)
}

pub(super) fn status(mute: &MuteStatus) -> MuteStatusView {
    MuteStatusView {
        mute: view(&mute.mute),
        held: mute.held,
    }
}

pub(super) fn queue(group: &QueueGroup) -> QueueView {
    QueueView {
        hook: group.hook.to_string(),
        queued: group.queued,
        held: group.held,
        debouncing: group.debouncing,
        retrying: group.retrying,
        running: group.running,
        oldest: group.oldest.map(Time),
        left_ms: group
            .left
            .map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// A mute that a policy made, as a sentence; an operator knows of his own.
pub(super) fn concern(status: &MuteStatus) -> Option<String> {
    let policy = match &status.mute.by {
        MutedBy::Operator(_) => return None,
        MutedBy::Throttle => "throttle",
        MutedBy::LoopGuard => "loop_guard",
        MutedBy::Breaker => "breaker",
    };
    let why = status
        .mute
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    Some(format!("{} is muted by its {policy}{why}", status.mute.scope))
}
