//! Lanes: what must happen one after the other, and the states that executions in them go through.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Core, Record, Step};
use crate::engine::execution::{Cause, Progress, Settlement, State};
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName};
use crate::event::time::Timestamp;
use crate::hooks::{Hook, Order};

/// What must happen one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LaneKey {
    Subject(HookName, Subject),
    Hook(HookName),
    /// No order, or no subject: a lane of its own.
    Own(ExecutionKey),
}

impl LaneKey {
    /// The lane that a hook's execution joins.
    pub(super) fn of(hook: &Hook, subject: Option<&Subject>, key: &ExecutionKey) -> Self {
        match (hook.policy.order, subject) {
            (Order::Hook, _) => Self::Hook(hook.name.clone()),
            (Order::Subject, Some(subject)) => Self::Subject(hook.name.clone(), subject.clone()),
            (Order::Subject, None) | (Order::None, _) => Self::Own(key.clone()),
        }
    }

    pub(super) const fn hook(&self) -> &HookName {
        match self {
            Self::Subject(hook, _) | Self::Hook(hook) => hook,
            Self::Own(key) => &key.hook,
        }
    }
}

/// The executions of one lane, in the order of their turns.
#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) members: VecDeque<ExecutionKey>,
    /// The one that has been started and keeps the lane until its end: it runs, or waits to run once more. It is not the
    /// first of them where somebody asked for it while the first was held.
    pub(super) begun: Option<ExecutionKey>,
    /// The turn by which the lane stands among the ready ones of its hook.
    pub(super) ready_as: Option<u64>,
}

/// An execution that has not reached its end.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) hook: Arc<Hook>,
    pub(super) subject: Option<Subject>,
    pub(super) source: Arc<str>,
    /// From when its time to start counts: its acceptance, never later than the clock allows.
    pub(super) counts_from: Timestamp,
    pub(super) progress: Progress,
    pub(super) lane: LaneKey,
    /// It holds a slot as one of high priority.
    pub(super) high: bool,
    /// Tries in a row that the machine was short of something.
    pub(super) exhausted: u32,
}

impl Active {
    /// When it is skipped if it has not been started by then.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let State::Queued {
            cause: Cause::Event | Cause::RetryMessage(_),
            ..
        } = self.progress.state
        else {
            return None;
        };
        let limit = self.hook.policy.start_within?;
        (self.progress.attempts == 0).then(|| self.counts_from.plus(limit))
    }

    /// Whether policies may take it away: it waits, has never been started, and nobody asked for just it.
    pub(super) const fn is_untouched(&self) -> bool {
        let State::Queued { cause, .. } = &self.progress.state else {
            return false;
        };
        self.progress.attempts == 0 && !cause.is_explicit()
    }
}

impl Core {
    /// Puts an execution into its lane. It keeps its turn's place there.
    pub(super) fn insert(
        &mut self,
        key: ExecutionKey,
        hook: Arc<Hook>,
        subject: Option<Subject>,
        source: Arc<str>,
        accepted: Timestamp,
        progress: Progress,
    ) {
        let lane = LaneKey::of(&hook, subject.as_ref(), &key);
        // The newest version of a hook says how much of it may run; older ones that still wait do not.
        let queue = self.queue_of(&hook);
        queue.limit_as(&hook);
        let high = queue.priority_high;
        if let (LaneKey::Own(_), Some(subject)) = (&lane, &subject) {
            let place = (hook.name.clone(), subject.clone(), progress.turn);
            self.unordered.insert(place, key.clone());
        }
        self.active.insert(
            key.clone(),
            Active {
                hook,
                subject,
                source,
                counts_from: accepted,
                progress,
                lane: lane.clone(),
                high,
                exhausted: 0,
            },
        );
        let members = &mut self.lanes.entry(lane.clone()).or_default().members;
        members.push_back(key.clone());
        self.enter(&key);
        self.refresh(&lane);
    }

    /// The one of a lane that may be started next.
    ///
    /// One that has begun keeps the lane. Where the first one may not be started yet, what somebody asked for goes before it.
    pub(super) fn next_in(&self, lane: &LaneKey) -> Option<&ExecutionKey> {
        let Lane { members, begun, .. } = self.lanes.get(lane)?;
        let first = begun.as_ref().or_else(|| members.front())?;
        let active = self.active.get(first)?;
        match &active.progress.state {
            State::Queued { .. } if !self.is_held(first, active) => Some(first),
            State::Queued { .. } | State::Debouncing { .. } if begun.is_none() => {
                if self.explicit.is_empty() {
                    return None;
                }
                let of_lane = (lane.clone(), 0)..=(lane.clone(), u64::MAX);
                self.explicit.range(of_lane).next().map(|(_, key)| key)
            }
            _ => None,
        }
    }

    /// Puts a lane among the ready ones of its hook, or takes it out, as its next one says.
    pub(super) fn refresh(&mut self, lane: &LaneKey) {
        let next = self.next_in(lane).and_then(|next| self.active.get(next));
        let next = next.map(|active| (Arc::clone(&active.hook), active.progress.turn));
        let turn = next.as_ref().map(|(_, turn)| *turn);
        let Some(found) = self.lanes.get_mut(lane) else {
            return;
        };
        let former = std::mem::replace(&mut found.ready_as, turn);
        if former == turn {
            return;
        }
        if let Some(former) = former
            && let Some(queue) = self.hooks.get_mut(lane.hook())
        {
            queue.ready.remove(&(former, lane.clone()));
        }
        if let Some((hook, turn)) = next {
            self.queue_of(&hook).ready.insert((turn, lane.clone()));
            self.enter_rotation(&hook.name);
        }
    }

    /// Changes the state of an execution that goes on, with all that hangs on it.
    pub(super) fn change(&mut self, key: &ExecutionKey, state: State, step: &mut Step) {
        self.change_with(key, |progress| progress.state = state, step);
    }

    pub(super) fn change_with(
        &mut self,
        key: &ExecutionKey,
        change: impl FnOnce(&mut Progress),
        step: &mut Step,
    ) {
        self.leave(key);
        let Some(active) = self.active.get_mut(key) else {
            return;
        };
        let left = active.progress.state.name();
        change(&mut active.progress);
        let lane = active.lane.clone();
        step.records.push(Record::Progressed {
            key: key.clone(),
            left,
            progress: active.progress.clone(),
        });
        self.enter(key);
        self.refresh(&lane);
    }

    pub(super) fn settle(
        &mut self,
        key: &ExecutionKey,
        settlement: Settlement,
        now: Timestamp,
        step: &mut Step,
    ) {
        self.leave(key);
        let Some(mut active) = self.active.remove(key) else {
            return;
        };
        let left = active.progress.state.name();
        if let (LaneKey::Own(_), Some(subject)) = (&active.lane, &active.subject) {
            let place = (key.hook.clone(), subject.clone(), active.progress.turn);
            self.unordered.remove(&place);
        }
        let has_failed = settlement == Settlement::Failed;
        active.progress.state = State::Settled { settlement, at: now };
        if let Some(lane) = self.lanes.get_mut(&active.lane) {
            // Members stand in the order of their turns, so a long lane is not searched from end to end.
            let (turn, others) = (active.progress.turn, &self.active);
            let turn_of =
                |member: &ExecutionKey| others.get(member).map_or(turn, |other| other.progress.turn);
            let place = lane.members.partition_point(|member| turn_of(member) < turn);
            lane.members.remove(place);
            if lane.begun.as_ref() == Some(key) {
                lane.begun = None;
            }
            self.refresh(&active.lane);
            if self
                .lanes
                .get(&active.lane)
                .is_some_and(|lane| lane.members.is_empty())
            {
                self.lanes.remove(&active.lane);
            }
        }
        step.records.push(Record::Progressed {
            key: key.clone(),
            left,
            progress: active.progress,
        });
        if has_failed {
            self.has_failed(&active.hook, now, step);
        }
        if let Some(queue) = self.hooks.get(&key.hook)
            && queue.running == 0
            && queue.ready.is_empty()
            && !queue.in_rotation
        {
            self.hooks.remove(&key.hook);
        }
    }

    /// Notes what hangs on the state an execution is in now.
    fn enter(&mut self, key: &ExecutionKey) {
        let Some(active) = self.active.get(key) else {
            return;
        };
        let (lane, turn) = (&active.lane, active.progress.turn);
        let has_begun = match &active.progress.state {
            State::Running { .. } => {
                let (hook, high) = (Arc::clone(&active.hook), active.high);
                self.running += 1;
                self.running_high += usize::from(high);
                self.queue_of(&hook).running += 1;
                true
            }
            State::Retrying { due, .. } => {
                self.timers.insert((*due, key.clone()));
                true
            }
            State::Debouncing { due, .. } => {
                self.timers.insert((*due, key.clone()));
                self.debouncing.insert(lane.clone(), key.clone());
                false
            }
            State::Queued { cause, .. } => {
                if cause.is_explicit() {
                    self.explicit.insert((lane.clone(), turn), key.clone());
                }
                if let Some(expiry) = active.expires() {
                    self.timers.insert((expiry, key.clone()));
                }
                matches!(cause, Cause::Retry | Cause::Recovery)
            }
            State::Settled { .. } => false,
        };
        if has_begun
            && let Some(active) = self.active.get(key)
            && let Some(lane) = self.lanes.get_mut(&active.lane)
        {
            lane.begun = Some(key.clone());
        }
    }

    /// Undoes what hangs on the state an execution is about to leave.
    fn leave(&mut self, key: &ExecutionKey) {
        let Some(active) = self.active.get(key) else {
            return;
        };
        match &active.progress.state {
            State::Running { .. } => {
                let high = active.high;
                self.free_slot(&key.hook, high);
            }
            State::Retrying { due, .. } => {
                self.timers.remove(&(*due, key.clone()));
            }
            State::Debouncing { due, .. } => {
                self.timers.remove(&(*due, key.clone()));
                if self.debouncing.get(&active.lane) == Some(key) {
                    self.debouncing.remove(&active.lane);
                }
            }
            State::Queued { cause, .. } => {
                if cause.is_explicit() {
                    self.explicit.remove(&(active.lane.clone(), active.progress.turn));
                }
                if let Some(expiry) = active.expires() {
                    self.timers.remove(&(expiry, key.clone()));
                }
            }
            State::Settled { .. } => {}
        }
    }
}
