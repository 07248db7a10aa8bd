//! What holds executions back and takes them away: mutes, throttle, debounce, the loop guard, overlap, the breaker.
//!
//! At acceptance they are asked in this order, and the first that has something to say decides. What a mute holds passed none
//! of the others; when it is let go, `debounce` and `overlap` apply to it as if all of it had come at that moment. An attempt
//! that somebody asked for (a RETRY message, an operator) passes all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::lanes::{Active, LaneKey};
use super::{Core, Record, Refusal, Step};
use crate::engine::execution::{Actor, CancelReason, Cause, Execution, Settlement, SkipReason, State};
use crate::engine::mute::{Mute, MutedBy, Scope, Then, Until};
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName};
use crate::event::time::Timestamp;
use crate::hooks::{Hook, LoopGuard, Order, Overlap, Throttle, ThrottleKey, ThrottleThen};

/// What becomes of a new execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    Queue,
    Debounce(Duration),
    Skip(SkipReason),
}

impl Core {
    /// Takes an execution of a former life into account for what is counted over a time: throttle, loop guard and breaker.
    /// The caller leaves out what a RETRY message caused. To be called before [`Core::recover`], in any order.
    pub fn remember(&mut self, execution: &Execution, hook: &Hook, now: Timestamp) {
        let policy = &hook.policy;
        // The clock may have been set back meanwhile.
        let accepted = execution.accepted.min(now);
        let ended = match &execution.progress.state {
            State::Settled { settlement, at } => Some((settlement, (*at).min(now))),
            _ => None,
        };
        let skipped = match ended {
            Some((Settlement::Skipped(reason), _)) => Some(*reason),
            _ => None,
        };
        if let Some((Settlement::Failed, at)) = ended
            && let Some(breaker) = policy.breaker
        {
            let name = hook.name.clone();
            self.breakers.note(name, at, breaker.failures, breaker.per, now);
        }
        if skipped == Some(SkipReason::Throttled) {
            return;
        }
        // What would have run under one life's eyes only takes nothing away from what is to run in the next.
        if skipped == Some(SkipReason::Observed) && !self.observing {
            return;
        }
        if let Some(throttle) = policy.throttle {
            let key = throttle_key(&throttle, hook, execution.subject.as_ref());
            self.throttles
                .note(key, accepted, throttle.max, throttle.per, now);
        }
        let never_got_through = policy.debounce.is_some()
            && (skipped == Some(SkipReason::Superseded)
                || matches!(execution.progress.state, State::Debouncing { .. }));
        if let (Some(guard), Some(subject), false) =
            (policy.loop_guard, &execution.subject, never_got_through)
        {
            let key = (hook.name.clone(), subject.clone());
            self.loop_guards.note(key, accepted, guard.max, guard.per, now);
        }
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

    /// Whether a hook's `overlap` or `debounce` may skip it: it waits, and what is held is not touched before it is let go.
    fn may_be_taken_away(&self, key: &ExecutionKey) -> bool {
        let active = self.active.get(key);
        active.is_some_and(|active| active.is_untouched() && !self.is_held(key, active))
    }

    /// Asks the policies what becomes of a new execution.
    #[expect(
        clippy::too_many_arguments,
        reason = "all that makes an execution, before there is one"
    )]
    pub(super) fn admit(
        &mut self,
        key: &ExecutionKey,
        hook: &Arc<Hook>,
        source: &Arc<str>,
        subject: Option<&Subject>,
        cause: &Cause,
        now: Timestamp,
        step: &mut Step,
    ) -> Admission {
        if cause.is_explicit() {
            return Admission::Queue;
        }
        let was_muted = self.mutes.cover(&hook.name, source, subject);
        if let Some(throttle) = hook.policy.throttle {
            let counted = throttle_key(&throttle, hook, subject);
            if !was_muted && self.throttles.is_full(&counted, throttle.max, throttle.per, now) {
                match throttle.then {
                    ThrottleThen::Skip => return Admission::Skip(SkipReason::Throttled),
                    ThrottleThen::Mute => self.throttled(&throttle, counted.clone(), now, step),
                }
            }
            self.throttles.note(counted, now, throttle.max, throttle.per, now);
        }
        let is_muted = self.mutes.cover(&hook.name, source, subject);
        let lane = LaneKey::of(hook, subject, key);
        if let Some(delay) = hook.policy.debounce
            && !is_muted
        {
            if let Some(older) = self.debouncing.get(&lane).cloned() {
                self.settle(&older, Settlement::Skipped(SkipReason::Superseded), now, step);
            }
            return Admission::Debounce(delay);
        }
        if let (Some(guard), Some(subject)) = (hook.policy.loop_guard, subject) {
            self.guard(guard, &hook.name, source, subject, now, step);
        }
        let is_muted = self.mutes.cover(&hook.name, source, subject);
        if hook.policy.overlap == Overlap::Drop && !is_muted && self.lanes.contains_key(&lane) {
            return Admission::Skip(SkipReason::Overlap);
        }
        Admission::Queue
    }

    /// The execution waited out its hook's `debounce`: from here on it counts for the loop guard.
    pub(super) fn has_debounced(&mut self, key: &ExecutionKey, now: Timestamp, step: &mut Step) {
        if let Some(active) = self.active.get(key)
            && let (Some(guard), Some(subject)) = (active.hook.policy.loop_guard, active.subject.clone())
        {
            let source = Arc::clone(&active.source);
            self.guard(guard, &key.hook, &source, &subject, now, step);
        }
    }

    /// Applies the hook's `overlap` to an execution that waits for its turn from now on.
    pub(super) fn arrive(&mut self, key: &ExecutionKey, now: Timestamp, step: &mut Step) {
        let Some(active) = self.active.get(key) else {
            return;
        };
        let overlap = active.hook.policy.overlap;
        if overlap == Overlap::Queue || !active.is_untouched() || self.is_held(key, active) {
            return;
        }
        let Some(lane) = self.lanes.get(&active.lane) else {
            return;
        };
        let begun = lane.begun.clone();
        if overlap == Overlap::Drop {
            if begun.is_some() || lane.members.front() != Some(key) {
                self.settle(key, Settlement::Skipped(SkipReason::Overlap), now, step);
            }
            return;
        }
        let older: Vec<ExecutionKey> = lane
            .members
            .iter()
            .take_while(|member| *member != key)
            .filter(|member| self.may_be_taken_away(member))
            .cloned()
            .collect();
        for older in older {
            self.settle(&older, Settlement::Skipped(SkipReason::Superseded), now, step);
        }
        if overlap == Overlap::Cancel
            && let Some(begun) = begun
            && let Some(active) = self.active.get(&begun)
        {
            let stays = match &active.progress.state {
                State::Running { cause, ended_for, .. } => cause.is_explicit() || ended_for.is_some(),
                State::Queued { cause, .. } => cause.is_explicit(),
                _ => false,
            };
            if !stays {
                self.end(&begun, CancelReason::Superseded, now, step);
            }
        }
    }

    /// An execution of that hook settled as failed.
    pub(super) fn has_failed(&mut self, hook: &Hook, now: Timestamp, step: &mut Step) {
        let Some(breaker) = hook.policy.breaker else {
            return;
        };
        let (failures, per) = (breaker.failures, breaker.per);
        self.breakers.note(hook.name.clone(), now, failures, per, now);
        if self.breakers.is_full(&hook.name, failures, per, now) {
            let reason = format!("{failures} executions failed within {per:?}");
            let scope = Scope::Hook(hook.name.clone());
            self.mute_for(scope, MutedBy::Breaker, breaker.length, reason, now, step);
        }
    }

    pub(super) fn mute(&mut self, mute: Mute, step: &mut Step) {
        self.mutes.insert(mute.clone());
        for lane in self.ready_under(&mute.scope) {
            self.refresh(&lane);
        }
        step.records.push(Record::Muted(mute));
    }

    pub(super) fn unmute(
        &mut self,
        scope: &Scope,
        then: Then,
        by: Option<Actor>,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if self.mutes.remove(scope).is_none() {
            return Err(Refusal::NotMuted(scope.clone()));
        }
        step.records.push(Record::Unmuted {
            scope: scope.clone(),
            then,
            by: by.clone(),
        });
        let held = self.queued_under(scope);
        let lanes: BTreeSet<LaneKey> = held
            .iter()
            .filter_map(|key| self.active.get(key).map(|active| active.lane.clone()))
            .collect();
        match then {
            Then::Run => self.let_run(&held, now, step),
            Then::Latest => self.let_latest_run(&held, now, step),
            Then::Drop => self.drop_held(&held, by.unwrap_or(Actor::Daemon), now, step),
        }
        for lane in lanes {
            self.refresh(&lane);
        }
        Ok(())
    }

    /// Mutes that have come to their end let run what they held.
    pub(super) fn end_mutes(&mut self, now: Timestamp, step: &mut Step) {
        while let Some(scope) = self.mutes.ended(now) {
            // It is there: it was found just now.
            let _ = self.unmute(&scope, Then::Run, None, now, step);
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
        let of_hook = self.in_order(self.active.iter().filter(|(key, _)| key.hook == *hook));
        for key in of_hook {
            self.end(&key, CancelReason::Stopped(actor.clone()), now, step);
        }
    }

    /// Mutes for a policy. A mute that is there already stays: it is an operator's, or holds for the same reason.
    fn mute_for(
        &mut self,
        scope: Scope,
        by: MutedBy,
        length: Duration,
        reason: String,
        now: Timestamp,
        step: &mut Step,
    ) {
        if self.mutes.contains(&scope) {
            return;
        }
        let mute = Mute {
            scope,
            since: now,
            until: Some(Until::after(now, length)),
            by,
            reason: Some(reason),
        };
        self.mute(mute, step);
    }

    fn throttled(
        &mut self,
        throttle: &Throttle,
        (hook, subject): (HookName, Option<Subject>),
        now: Timestamp,
        step: &mut Step,
    ) {
        let scope = match subject {
            Some(subject) => Scope::Lane(hook, subject),
            None => Scope::Hook(hook),
        };
        let (max, per) = (throttle.max, throttle.per);
        let reason = format!("more than {max} executions within {per:?}");
        self.mute_for(scope, MutedBy::Throttle, per, reason, now, step);
    }

    /// Counts an execution that is to run, and mutes the subject where there are too many to be no loop.
    fn guard(
        &mut self,
        guard: LoopGuard,
        hook: &HookName,
        source: &Arc<str>,
        subject: &Subject,
        now: Timestamp,
        step: &mut Step,
    ) {
        let LoopGuard { max, per, length } = guard;
        let key = (hook.clone(), subject.clone());
        let is_loop = self.loop_guards.is_full(&key, max, per, now);
        self.loop_guards.note(key, now, max, per, now);
        // What is held triggers nothing.
        if is_loop && !self.mutes.cover(hook, source, Some(subject)) {
            let reason = format!("more than {max} executions within {per:?}: it may trigger itself");
            let scope = Scope::Lane(hook.clone(), subject.clone());
            self.mute_for(scope, MutedBy::LoopGuard, length, reason, now, step);
        }
    }

    /// Lets go what nothing else holds: of hooks that want only the newest of a lane, that one.
    fn let_run(&mut self, held: &[ExecutionKey], now: Timestamp, step: &mut Step) {
        let mut lanes: BTreeMap<LaneKey, ExecutionKey> = BTreeMap::new();
        for key in held {
            if let Some(active) = self.active.get(key)
                && active.is_untouched()
                && !self.is_held(key, active)
                && (active.hook.policy.debounce.is_some() || active.hook.policy.overlap != Overlap::Queue)
            {
                lanes.entry(active.lane.clone()).or_insert_with(|| key.clone());
            }
        }
        for (lane, first) in lanes {
            // What nothing held came behind the first that was held, and waits there too.
            let members = self.lanes.get(&lane).into_iter().flat_map(|lane| &lane.members);
            let members: Vec<ExecutionKey> = members
                .skip_while(|member| **member != first)
                .filter(|member| self.may_be_taken_away(member))
                .cloned()
                .collect();
            let newest = members.last().and_then(|newest| self.active.get(newest));
            let Some(hook) = newest.map(|newest| Arc::clone(&newest.hook)) else {
                continue;
            };
            let (debounce, overlap) = (hook.policy.debounce, hook.policy.overlap);
            if debounce.is_some() || matches!(overlap, Overlap::Latest | Overlap::Cancel) {
                self.supersede(&lane, members, now, step);
            } else {
                for member in members {
                    self.arrive(&member, now, step);
                }
            }
        }
    }

    /// Lets go the newest of each hook and subject.
    fn let_latest_run(&mut self, held: &[ExecutionKey], now: Timestamp, step: &mut Step) {
        let mut groups: BTreeMap<LaneKey, Vec<ExecutionKey>> = BTreeMap::new();
        for key in held {
            if let Some(active) = self.active.get(key)
                && active.is_untouched()
            {
                let group = match (&active.subject, active.hook.policy.order) {
                    // Without an order the newest of a subject is still what counts.
                    (Some(subject), Order::None) => LaneKey::Subject(key.hook.clone(), subject.clone()),
                    _ => active.lane.clone(),
                };
                groups.entry(group).or_default().push(key.clone());
            }
        }
        for (group, members) in groups {
            self.supersede(&group, members, now, step);
        }
    }

    /// Of the members of a lane, in order, and the one of it that waits out a `debounce`, the newest stays.
    fn supersede(&mut self, lane: &LaneKey, members: Vec<ExecutionKey>, now: Timestamp, step: &mut Step) {
        let debouncing = self.debouncing.get(lane).cloned();
        let newest = members.iter().chain(&debouncing).max_by_key(|key| self.turn(key));
        let newest = newest.cloned();
        for key in members.iter().chain(&debouncing) {
            if Some(key) != newest.as_ref() {
                self.settle(key, Settlement::Skipped(SkipReason::Superseded), now, step);
            }
        }
        if let Some(newest) = newest {
            self.arrive(&newest, now, step);
        }
    }

    fn drop_held(&mut self, held: &[ExecutionKey], by: Actor, now: Timestamp, step: &mut Step) {
        for key in held {
            let is_untouched = self.active.get(key).is_some_and(Active::is_untouched);
            let settlement = if is_untouched {
                Settlement::Skipped(SkipReason::Muted)
            } else {
                Settlement::Cancelled(CancelReason::Operator(by.clone()))
            };
            self.settle(key, settlement, now, step);
        }
    }

    /// The queued executions that a mute of that scope holds, in order.
    fn queued_under(&self, scope: &Scope) -> Vec<ExecutionKey> {
        let is_queued = |active: &Active| matches!(&active.progress.state, State::Queued { cause, .. } if !cause.is_explicit());
        let is_under = |(key, active): &(&ExecutionKey, &Active)| {
            is_queued(active) && scope.covers(&key.hook, &active.source, active.subject.as_ref())
        };
        let Scope::Lane(hook, subject) = scope else {
            return self.in_order(self.active.iter().filter(is_under));
        };
        // Policies mute subjects, many of them perhaps: none of their ends looks at everything.
        let in_lanes = [
            LaneKey::Subject(hook.clone(), subject.clone()),
            LaneKey::Hook(hook.clone()),
        ];
        let members = in_lanes
            .iter()
            .filter_map(|lane| self.lanes.get(lane))
            .flat_map(|lane| &lane.members);
        let unordered = self.unordered.range((hook.clone(), subject.clone(), 0)..);
        let unordered = unordered
            .take_while(|((of_hook, about, _), _)| of_hook == hook && about == subject)
            .map(|(_, key)| key);
        let keys = members.chain(unordered);
        self.in_order(
            keys.filter_map(|key| Some((key, self.active.get(key)?)))
                .filter(is_under),
        )
    }

    /// The ready lanes that a mute of that scope may hold, in order.
    fn ready_under(&self, scope: &Scope) -> Vec<LaneKey> {
        let of_scope = |hook: &HookName| match scope {
            Scope::All | Scope::Source(_) => true,
            Scope::Hook(name) | Scope::Lane(name, _) => name == hook,
        };
        let is_about = |lane: &LaneKey| match (scope, lane) {
            (Scope::Lane(_, muted), LaneKey::Subject(_, subject)) => muted == subject,
            _ => true,
        };
        let mut lanes: Vec<LaneKey> = match scope {
            Scope::Lane(hook, subject) => {
                let lane = LaneKey::Subject(hook.clone(), subject.clone());
                self.lanes
                    .contains_key(&lane)
                    .then_some(lane)
                    .into_iter()
                    .collect()
            }
            _ => Vec::new(),
        };
        if lanes.is_empty() {
            let queues = self.hooks.iter().filter(|(hook, _)| of_scope(hook));
            let ready = queues.flat_map(|(_, queue)| queue.ready.iter().map(|(_, lane)| lane));
            lanes = ready.filter(|lane| is_about(lane)).cloned().collect();
        }
        // Hooks stand in no order; what follows from a history must not hang on that.
        lanes.sort();
        lanes
    }

    pub(super) fn in_order<'a>(
        &self,
        executions: impl Iterator<Item = (&'a ExecutionKey, &'a Active)>,
    ) -> Vec<ExecutionKey> {
        let mut found: Vec<(u64, &ExecutionKey)> = executions
            .map(|(key, active)| (active.progress.turn, key))
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, key)| key.clone()).collect()
    }

    fn turn(&self, key: &ExecutionKey) -> u64 {
        self.active.get(key).map_or(0, |active| active.progress.turn)
    }
}

/// What a throttle counts together with an execution.
pub(super) fn throttle_key(
    throttle: &Throttle,
    hook: &Hook,
    subject: Option<&Subject>,
) -> (HookName, Option<Subject>) {
    let subject = match throttle.key {
        ThrottleKey::Subject => subject.cloned(),
        ThrottleKey::Hook => None,
    };
    (hook.name.clone(), subject)
}
