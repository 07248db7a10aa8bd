//! Slots: how many scripts run at once, of each hook and in all, and whose turn it is.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::lanes::LaneKey;
use super::{Core, Effect, Record, Step};
use crate::engine::execution::{Progress, State};
use crate::event::id::HookName;
use crate::event::time::Timestamp;
use crate::hooks::{Hook, Priority};

/// The lanes of one hook that could start something, oldest turn first, and how many of its scripts run.
#[derive(Debug, Default)]
pub(super) struct HookQueue {
    pub(super) ready: BTreeSet<(u64, LaneKey)>,
    pub(super) running: usize,
    /// What the hook itself says.
    max_parallel: Option<usize>,
    pub(super) priority_high: bool,
    pub(super) in_rotation: bool,
}

impl HookQueue {
    pub(super) fn limit_as(&mut self, hook: &Hook) {
        self.max_parallel = hook.policy.max_parallel;
        self.priority_high = hook.policy.priority == Priority::High;
    }

    fn has_room(&self, default_parallel: usize) -> bool {
        self.running < self.max_parallel.unwrap_or(default_parallel).max(1)
    }
}

impl Core {
    /// A hook's queue; one that is made anew gets the limits of the version at hand.
    pub(super) fn queue_of(&mut self, hook: &Hook) -> &mut HookQueue {
        self.hooks.entry(hook.name.clone()).or_insert_with(|| {
            let mut queue = HookQueue::default();
            queue.limit_as(hook);
            queue
        })
    }

    pub(super) fn default_parallel(&self) -> usize {
        (self.concurrency / 2).max(1)
    }

    /// Lets so many scripts run at once. What runs beyond that comes to its end.
    pub(super) fn allow(&mut self, scripts: usize) {
        self.concurrency = scripts.max(1);
        let hooks: BTreeSet<HookName> = self.hooks.keys().cloned().collect();
        for hook in hooks {
            self.enter_rotation(&hook);
        }
    }

    pub(super) fn enter_rotation(&mut self, hook: &HookName) {
        let default_parallel = self.default_parallel();
        if let Some(queue) = self.hooks.get_mut(hook)
            && !queue.in_rotation
            && !queue.ready.is_empty()
            && queue.has_room(default_parallel)
        {
            queue.in_rotation = true;
            let rotation = if queue.priority_high {
                &mut self.rotation_high
            } else {
                &mut self.rotation
            };
            rotation.push_back((self.next_place, hook.clone()));
            self.next_place += 1;
        }
    }

    /// Gives free slots to hooks with a ready lane, round-robin, within a hook to its oldest.
    pub(super) fn start_what_can(&mut self, now: Timestamp, step: &mut Step) {
        let default_parallel = self.default_parallel();
        while !self.stopping && !self.observing && self.standby.is_none() {
            let Some((name, high)) = self.next_in_rotation() else {
                return;
            };
            let Some(queue) = self.hooks.get_mut(&name) else {
                continue;
            };
            queue.in_rotation = false;
            if queue.has_room(default_parallel)
                && let Some((_, lane)) = queue.ready.pop_first()
            {
                if let Some(lane) = self.lanes.get_mut(&lane) {
                    lane.ready_as = None;
                }
                self.start_next(&lane, high, now, step);
            }
            self.enter_rotation(&name);
        }
    }

    /// The hook whose turn it is, if there is a slot for it, and whether it is one of high priority.
    ///
    /// One slot more than `concurrency` is there for high priority alone: of the running ones of high priority one
    /// counts as being in it. For all other slots a hook of high priority waits its turn like any other.
    fn next_in_rotation(&mut self) -> Option<(HookName, bool)> {
        let reserved_is_free = self.running_high == 0;
        let slot_is_free = self.running - self.running_high.min(1) < self.concurrency;
        let high_is_next = match (self.rotation_high.front(), self.rotation.front()) {
            (None, _) => false,
            (Some(_), _) if reserved_is_free => true,
            (Some((high, _)), Some((normal, _))) => high < normal,
            (Some(_), None) => true,
        };
        if high_is_next && (reserved_is_free || slot_is_free) {
            self.rotation_high.pop_front().map(|(_, name)| (name, true))
        } else if slot_is_free {
            self.rotation.pop_front().map(|(_, name)| (name, false))
        } else {
            None
        }
    }

    fn start_next(&mut self, lane: &LaneKey, high: bool, now: Timestamp, step: &mut Step) {
        let Some(key) = self.next_in(lane).cloned() else {
            return;
        };
        let Some(active) = self.active.get_mut(&key) else {
            return;
        };
        let State::Queued { cause, .. } = active.progress.state.clone() else {
            return;
        };
        active.high = high;
        let attempt = active.progress.attempts + 1;
        let hook = Arc::clone(&active.hook);
        let state = State::Running {
            attempt,
            cause: cause.clone(),
            since: now,
            ended_for: None,
        };
        let start = |progress: &mut Progress| {
            progress.state = state;
            progress.attempts = attempt;
        };
        self.change_with(&key, start, step);
        step.records.push(Record::Released {
            key: key.clone(),
            attempt,
            cause: cause.clone(),
            at: now,
        });
        step.effects.push(Effect::Start {
            key,
            attempt,
            hook,
            cause,
        });
    }

    pub(super) fn free_slot(&mut self, hook: &HookName, high: bool) {
        self.running = self.running.saturating_sub(1);
        self.running_high = self.running_high.saturating_sub(usize::from(high));
        if let Some(queue) = self.hooks.get_mut(hook) {
            queue.running = queue.running.saturating_sub(1);
        }
        self.enter_rotation(hook);
    }
}
