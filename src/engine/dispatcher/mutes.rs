//! What operators ask of mutes, and what of them stands in the status.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{Dispatcher, refused};
use crate::engine::core::{Input, Record, Step, Survey};
use crate::engine::execution::{Actor, Settlement, State};
use crate::engine::handle::{MuteStatus, Muted, Notice, OrderError, QueueGroup, StopCounts, Unmuted};
use crate::engine::mute::{Mute, MutedBy, Scope, Then, Until};
use crate::event::id::HookName;
use crate::store::writer::Closed;

impl Dispatcher {
    pub(super) async fn mute(
        &mut self,
        scope: Scope,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<Muted, OrderError>>,
    ) -> Result<(), Closed> {
        if let Err(unknown) = self.known_scope(&scope) {
            // Whoever asked may have gone away.
            let _ = reply.send(Err(unknown));
            return Ok(());
        }
        let now = self.clock.now();
        let mute = Mute {
            scope,
            since: now,
            until: length.map(|length| Until::after(now, length)),
            by: MutedBy::Operator(actor.clone()),
            reason,
        };
        let change = self.audit(actor, "mute", described(&mute));
        let (held, running) = self.core.under(&mute.scope);
        let muted = Muted {
            mute: mute.clone(),
            held,
            running,
        };
        self.decide(Input::Mute(mute), vec![change], move || {
            let _ = reply.send(Ok(muted));
        })
        .await
    }

    pub(super) async fn unmute(
        &mut self,
        scope: Scope,
        then: Then,
        actor: Actor,
        reply: oneshot::Sender<Result<Unmuted, OrderError>>,
    ) -> Result<(), Closed> {
        let word = match then {
            Then::Run => "run",
            Then::Latest => "latest",
            Then::Drop => "drop",
        };
        let change = self.audit(actor.clone(), "unmute", format!("{scope}, then {word}"));
        let (held, _) = self.core.under(&scope);
        let input = Input::Unmute {
            scope: scope.clone(),
            then,
            actor,
        };
        match self.core.step(input, self.clock.now()) {
            Ok(step) => {
                let still_held = self.core.held_under(&scope);
                let unmuted = unmuted(held, still_held, &step);
                self.submit(vec![change], step, move || {
                    let _ = reply.send(Ok(unmuted));
                })
                .await
            }
            Err(refusal) => {
                let _ = reply.send(Err(refused(&refusal)));
                Ok(())
            }
        }
    }

    pub(super) async fn stop_hook(
        &mut self,
        hook: HookName,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<StopCounts, OrderError>>,
    ) -> Result<(), Closed> {
        let hook = match self.known_hook(hook) {
            Ok(hook) => hook,
            Err(unknown) => {
                let _ = reply.send(Err(unknown));
                return Ok(());
            }
        };
        let counts = self.stop_counts(&hook);
        let change = self.audit(actor.clone(), "stop", hook.to_string());
        let input = Input::StopHook {
            hook,
            length,
            reason,
            actor,
        };
        self.decide(input, vec![change], move || {
            let _ = reply.send(Ok(counts));
        })
        .await
    }

    pub(super) fn stop_counts(&self, hook: &HookName) -> StopCounts {
        let survey = self.core.survey();
        survey
            .groups
            .get(hook)
            .map_or_else(StopCounts::default, |group| StopCounts {
                cancelled: group.queued + group.debouncing + group.retrying,
                ended: group.running,
            })
    }

    /// A hook that is in force, or of which something waits or runs still.
    pub(super) fn known_hook(&self, hook: HookName) -> Result<HookName, OrderError> {
        let is_known = self.parts.hooks.now().set.get(&hook).is_some() || self.core.knows(&hook);
        if is_known {
            Ok(hook)
        } else {
            Err(OrderError::NoSuchHook(hook))
        }
    }

    fn known_scope(&self, scope: &Scope) -> Result<(), OrderError> {
        match scope {
            Scope::All => Ok(()),
            Scope::Hook(hook) | Scope::Lane(hook, _) => self.known_hook(hook.clone()).map(drop),
            Scope::Source(source) => {
                let connections = self.parts.connections.lock();
                let is_connected = connections
                    .unwrap_or_else(PoisonError::into_inner)
                    .contains_key(&**source);
                // What operators hand over, and what a source sent that is configured no more, has a source as well.
                if is_connected || self.parts.store.summary().events.contains_key(&**source) {
                    Ok(())
                } else {
                    Err(OrderError::NoSuchSource(source.clone()))
                }
            }
        }
    }

    /// The mutes in force and what each holds, and what waits or runs, by hook.
    pub(super) fn held_and_queue(&self) -> (Vec<MuteStatus>, Vec<QueueGroup>) {
        let Survey { groups, held } = self.core.survey();
        let mutes = self.core.mutes().map(|mute| MuteStatus {
            held: held.get(&mute.scope).copied().unwrap_or_default(),
            mute: mute.clone(),
        });
        let now = self.clock.now();
        let queue = groups.into_iter().map(|(hook, group)| QueueGroup {
            left: self.pace.left(&hook, &group, now),
            hook,
            queued: group.queued,
            held: group.held,
            debouncing: group.debouncing,
            retrying: group.retrying,
            running: group.running,
            oldest: group.oldest,
        });
        (mutes.collect(), queue.collect())
    }
}

/// What the live feed says of a mute. Every mute that begins or ends, whoever made it, passes here.
pub(super) fn of_mute(record: &Record) -> Option<Notice> {
    match record {
        Record::Muted(mute) => {
            tracing::warn!(
                scope = %mute.scope, by = ?mute.by, reason = mute.reason.as_deref().unwrap_or("-"),
                until = mute.until.map(|until| tracing::field::display(until.at)),
                "muted"
            );
            Some(Notice::Muted(Arc::new(mute.clone())))
        }
        Record::Unmuted { scope, then, by } => {
            tracing::info!(%scope, ?then, ?by, "unmuted");
            Some(Notice::Unmuted(scope.clone()))
        }
        Record::MuteShortened(_)
        | Record::Created(_)
        | Record::Progressed { .. }
        | Record::Released { .. } => None,
    }
}

/// As it stands in the audit log.
fn described(mute: &Mute) -> String {
    let until = mute
        .until
        .map_or_else(String::new, |until| format!(" until {}", until.at));
    let reason = mute
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {reason}"));
    format!("{}{until}{reason}", mute.scope)
}

/// What became of the executions that a mute held.
fn unmuted(held: u64, still_held: u64, step: &Step) -> Unmuted {
    let mut counts = Unmuted {
        still_held,
        ..Unmuted::default()
    };
    for record in &step.records {
        if let Record::Progressed { progress, .. } = record
            && let State::Settled { settlement, .. } = &progress.state
        {
            match settlement {
                Settlement::Skipped(_) => counts.skipped += 1,
                Settlement::Cancelled(_) => counts.cancelled += 1,
                Settlement::Succeeded | Settlement::Failed => {}
            }
        }
    }
    counts.released = held.saturating_sub(still_held + counts.skipped + counts.cancelled);
    counts
}
