//! What holds executions back and takes them away: mutes.

use super::*;
use crate::engine::mute::{Mute, MutedBy, Scope, Then, Until};

/// What of one hook waits or runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Executions that are queued.
    pub queued: u64,
    /// How many of those are held by a mute.
    pub held: u64,
    /// Executions that wait out the hook's `debounce`.
    pub debouncing: u64,
    /// Executions that wait for an automatic retry.
    pub retrying: u64,
    /// Scripts that run.
    pub running: u64,
    /// When the first of the queued ones began to wait.
    pub oldest: Option<Timestamp>,
}

impl Core {
    /// The mutes in force.
    pub fn mutes(&self) -> impl Iterator<Item = &Mute> {
        self.mutes.iter()
    }

    /// What waits or runs, by hook. Looks at every execution that has not reached its end.
    pub fn groups(&self) -> BTreeMap<HookName, Group> {
        let mut groups: BTreeMap<HookName, Group> = BTreeMap::new();
        for (key, active) in &self.active {
            let group = groups.entry(key.hook.clone()).or_default();
            match &active.progress.state {
                State::Queued { since, .. } => {
                    group.queued += 1;
                    group.held += u64::from(self.is_held(key, active));
                    group.oldest = Some(group.oldest.map_or(*since, |oldest| oldest.min(*since)));
                }
                State::Debouncing { .. } => group.debouncing += 1,
                State::Retrying { .. } => group.retrying += 1,
                State::Running { .. } => group.running += 1,
                State::Settled { .. } => {}
            }
        }
        groups
    }

    /// How many queued executions a mute of that scope holds, and how many scripts under it run.
    pub fn under(&self, scope: &Scope) -> (u64, u64) {
        let mut counts = (0, 0);
        for (key, active) in &self.active {
            if !scope.covers(&key.hook, &active.source, active.subject.as_ref()) {
                continue;
            }
            match &active.progress.state {
                State::Queued { cause, .. } if !cause.is_explicit() => counts.0 += 1,
                State::Running { .. } => counts.1 += 1,
                _ => {}
            }
        }
        counts
    }

    /// How many queued executions of that scope a mute holds, of whatever scope.
    pub fn held_under(&self, scope: &Scope) -> u64 {
        let held = self.active.iter().filter(|(key, active)| {
            scope.covers(&key.hook, &active.source, active.subject.as_ref()) && self.is_held(key, active)
        });
        held.count() as u64
    }

    /// Whether something of that hook waits or runs.
    pub fn knows(&self, hook: &HookName) -> bool {
        self.hooks.contains_key(hook)
    }

    /// Whether a mute keeps it from being started.
    pub(super) fn is_held(&self, key: &ExecutionKey, active: &Active) -> bool {
        let State::Queued { cause, .. } = &active.progress.state else {
            return false;
        };
        !cause.is_explicit()
            && self
                .mutes
                .cover(&key.hook, &active.source, active.subject.as_ref())
    }

    pub(super) fn mute(&mut self, mute: Mute, step: &mut Step) {
        self.mutes.insert(mute.clone());
        step.records.push(Record::Muted(mute));
    }

    pub(super) fn unmute(
        &mut self,
        scope: &Scope,
        then: Then,
        by: Option<Actor>,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let Some(mute) = self.mutes.remove(scope) else {
            return Err(Refusal::NotMuted(scope.clone()));
        };
        step.records.push(Record::Unmuted {
            scope: mute.scope,
            then,
            by,
        });
        Ok(())
    }

    /// Mutes that have come to their end let run what they held.
    pub(super) fn end_mutes(&mut self, now: Timestamp, step: &mut Step) {
        while let Some(scope) = self.mutes.ended(now) {
            // It was just there.
            let _ = self.unmute(&scope, Then::Run, None, step);
        }
    }

    pub(super) fn stop_hook(
        &mut self,
        hook: &HookName,
        length: Option<Duration>,
        reason: Option<String>,
        actor: &Actor,
        now: Timestamp,
        step: &mut Step,
    ) {
        let mute = Mute {
            scope: Scope::Hook(hook.clone()),
            since: now,
            until: length.map(|length| Until::after(now, length)),
            by: MutedBy::Operator(actor.clone()),
            reason,
        };
        self.mute(mute, step);
        let mut of_hook: Vec<(u64, ExecutionKey)> = self
            .active
            .iter()
            .filter(|(key, _)| key.hook == *hook)
            .map(|(key, active)| (active.progress.turn, key.clone()))
            .collect();
        of_hook.sort();
        for (_, key) in of_hook {
            self.end(&key, CancelReason::Stopped(actor.clone()), now, step);
        }
    }
}
