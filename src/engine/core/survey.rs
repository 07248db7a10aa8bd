//! What waits, runs and is held: the scheduler's state for whoever asks how it does.

use std::collections::BTreeMap;

use super::Core;
use crate::engine::execution::State;
use crate::engine::mute::{Mute, Scope};
use crate::event::id::HookName;
use crate::event::time::Timestamp;

/// What waits or runs, and what mutes hold of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// By hook.
    pub groups: BTreeMap<HookName, Group>,
    /// Queued executions under each mute. One that several mutes cover counts for each of them.
    pub held: BTreeMap<Scope, u64>,
}

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
    /// When the first of those began to wait that no mute holds.
    pub oldest_free: Option<Timestamp>,
}

impl Core {
    /// The mutes in force.
    pub fn mutes(&self) -> impl Iterator<Item = &Mute> {
        self.mutes.iter()
    }

    /// What waits or runs. Looks at every execution that has not reached its end, once.
    pub fn survey(&self) -> Survey {
        let mut survey = Survey::default();
        for (key, active) in &self.active {
            if !survey.groups.contains_key(&key.hook) {
                survey.groups.insert(key.hook.clone(), Group::default());
            }
            let Some(group) = survey.groups.get_mut(&key.hook) else {
                continue;
            };
            match &active.progress.state {
                State::Queued { since, .. } => {
                    group.queued += 1;
                    let older =
                        |oldest: Option<Timestamp>| Some(oldest.map_or(*since, |oldest| oldest.min(*since)));
                    group.oldest = older(group.oldest);
                    if self.is_held(key, active) {
                        group.held += 1;
                        let subject = active.subject.as_ref();
                        for scope in self.mutes.covering(&key.hook, &active.source, subject) {
                            *survey.held.entry(scope).or_default() += 1;
                        }
                    } else {
                        group.oldest_free = older(group.oldest_free);
                    }
                }
                State::Debouncing { .. } => group.debouncing += 1,
                State::Retrying { .. } => group.retrying += 1,
                State::Running { .. } => group.running += 1,
                State::Settled { .. } => {}
            }
        }
        survey
    }

    /// How many queued executions a mute of that scope would hold, and how many scripts under it run.
    pub fn under(&self, scope: &Scope) -> (u64, u64) {
        let (mut held, mut running) = (0, 0);
        for (key, active) in &self.active {
            if !scope.covers(&key.hook, &active.source, active.subject.as_ref()) {
                continue;
            }
            match &active.progress.state {
                State::Queued { cause, .. } if !cause.is_explicit() => held += 1,
                State::Running { .. } => running += 1,
                _ => {}
            }
        }
        (held, running)
    }

    /// How many queued executions of that scope some mute holds.
    pub fn held_under(&self, scope: &Scope) -> u64 {
        let held = self.active.iter().filter(|(key, active)| {
            scope.covers(&key.hook, &active.source, active.subject.as_ref()) && self.is_held(key, active)
        });
        held.count() as u64
    }

    /// Whether something of that hook waits or runs.
    pub fn knows(&self, hook: &HookName) -> bool {
        self.active.keys().any(|key| key.hook == *hook)
    }
}
