//! The checker of `tests/simulation.rs`: what must hold in every history, whatever happened in it.

use super::*;

impl History {
    pub(super) fn check_limits(&self) {
        let running = self.running();
        assert!(running.len() <= self.concurrency + 1, "too many scripts at once");
        let high = running
            .iter()
            .filter(|&&at| self.runs[at].hook.policy.priority == Priority::High)
            .count();
        assert!(
            running.len() - high.min(1) <= self.concurrency,
            "the reserved slot was taken"
        );
        for hook in &self.hooks {
            let of_hook = running
                .iter()
                .filter(|&&at| self.runs[at].hook.name == hook.name)
                .count();
            let limit = hook.policy.max_parallel.unwrap_or((self.concurrency / 2).max(1));
            assert!(of_hook <= limit, "too many scripts of one hook at once");
        }
    }

    /// Where nothing was ever muted, no lane has more waiting than its hook's `overlap` and `debounce` say.
    pub(super) fn check_waiters(&self) {
        if self.has_muted {
            return;
        }
        let mut lanes: BTreeMap<(&HookName, Option<&Subject>), [usize; 3]> = BTreeMap::new();
        for execution in self.disk.executions.values() {
            let Some(lane) = lane_of(self.hook_of(&execution.key), execution) else {
                continue;
            };
            let [waiting, debouncing, begun] = lanes.entry(lane).or_default();
            match &execution.progress.state {
                State::Queued { cause, .. } if !cause.is_explicit() && execution.progress.attempts == 0 => {
                    *waiting += 1;
                }
                State::Debouncing { .. } => *debouncing += 1,
                State::Running { .. } | State::Retrying { .. } => *begun += 1,
                State::Queued { .. } | State::Settled { .. } => {}
            }
        }
        // Policies mute as well, and what a mute held may have been let go a moment ago.
        if !self.disk.mutes.is_empty() {
            return;
        }
        for ((hook, subject), [waiting, debouncing, begun]) in lanes {
            let policy = &self
                .hooks
                .iter()
                .find(|one| one.name == *hook)
                .expect("a hook")
                .policy;
            assert!(debouncing <= 1, "{hook} {subject:?}: two are debounced");
            assert!(begun <= 1, "{hook} {subject:?}: two have begun");
            if policy.overlap != Overlap::Queue {
                assert!(
                    waiting <= 1,
                    "{hook} {subject:?}: {waiting} wait, {:?}",
                    policy.overlap
                );
            }
        }
    }

    /// Whoever leads again starts nothing that waited for longer than its hook allows while another one may have led.
    pub(super) fn check_taken_up(&self, step: &Step) {
        if self.has_jumped {
            return;
        }
        for effect in &step.effects {
            let Effect::Start { key, hook, .. } = effect else {
                continue;
            };
            let Some(execution) = self.disk.executions.get(key) else {
                continue;
            };
            let waits_since = match &execution.progress.state {
                State::Retrying { due, .. } | State::Debouncing { due, .. } => *due,
                State::Queued { since, .. } => *since,
                State::Running { .. } | State::Settled { .. } => continue,
            };
            let limit = hook.policy.start_within.unwrap_or(Duration::from_secs(900));
            assert!(
                self.now.since(waits_since.max(self.led)) < limit,
                "{key} is stale and was started"
            );
        }
    }

    fn hook_of(&self, key: &ExecutionKey) -> &Arc<Hook> {
        let hook = self.hooks.iter().find(|hook| hook.name == key.hook);
        hook.expect("a hook")
    }

    /// What was skipped was so for a reason that the records bear out.
    fn check_skipped(&self) {
        for (key, execution) in &self.disk.executions {
            let policy = &self.hook_of(key).policy;
            let in_lane = |other: &&Execution| {
                let hook = self.hook_of(key);
                other.key.hook == key.hook
                    && match (hook.policy.order, &execution.subject) {
                        (Order::Hook, _) => true,
                        (_, Some(subject)) => other.subject.as_ref() == Some(subject),
                        (_, None) => false,
                    }
            };
            let covered =
                |scope: &Scope| scope.covers(&key.hook, &execution.source, execution.subject.as_ref());
            let others = || self.disk.executions.values().filter(in_lane);
            let State::Settled {
                settlement: Settlement::Skipped(reason),
                at,
            } = &execution.progress.state
            else {
                continue;
            };
            match reason {
                SkipReason::Expired => assert!(
                    policy.start_within.is_some() || self.has_stood_by,
                    "{key} cannot expire"
                ),
                SkipReason::Throttled => {
                    let throttle = policy.throttle.expect("a throttle");
                    assert_eq!(throttle.then, ThrottleThen::Skip);
                    assert_eq!(*at, execution.accepted, "{key} was throttled later");
                    let counted = self.counted_before(execution, &throttle, true);
                    assert!(counted >= throttle.max, "{key} was throttled after {counted}");
                }
                SkipReason::Superseded => {
                    assert!(
                        others().any(|other| other.key.event > key.event),
                        "{key} was superseded by nothing"
                    );
                    let by_policy = policy.debounce.is_some()
                        || matches!(policy.overlap, Overlap::Latest | Overlap::Cancel);
                    let by_order = self
                        .disk
                        .unmuted
                        .iter()
                        .any(|(scope, drops)| !drops && covered(scope));
                    assert!(by_policy || by_order, "{key} was superseded for no reason");
                }
                SkipReason::Overlap => {
                    assert_eq!(policy.overlap, Overlap::Drop);
                    assert!(
                        others().any(|other| other.key != *key),
                        "{key} overlaps with nothing"
                    );
                }
                SkipReason::Observed => panic!("{key} was observed by a core that runs scripts"),
                SkipReason::Muted => assert!(
                    self.disk
                        .unmuted
                        .iter()
                        .any(|(scope, drops)| *drops && covered(scope)),
                    "{key} was held by nothing that was dropped"
                ),
            }
        }
        // Where the clock went on and nothing was muted, a throttle lets no more through than it says, and what is debounced
        // waits its time.
        if self.has_jumped || self.has_muted {
            return;
        }
        for (key, execution) in &self.disk.executions {
            let policy = &self.hook_of(key).policy;
            if self.retry_messages.contains(&key.event) || self.disk.reopened.contains(key) {
                continue;
            }
            let is_throttled = matches!(
                execution.progress.state,
                State::Settled {
                    settlement: Settlement::Skipped(SkipReason::Throttled),
                    ..
                }
            );
            if let Some(throttle) = policy.throttle
                && throttle.then == ThrottleThen::Skip
                && !is_throttled
                && policy.breaker.is_none()
                && policy.loop_guard.is_none()
            {
                let counted = self.counted_before(execution, &throttle, false);
                assert!(counted < throttle.max, "{key} was let through after {counted}");
            }
            let first = self.runs.iter().find(|run| run.key == *key);
            if let (Some(delay), Some(first)) = (policy.debounce, first)
                && first.cause == Cause::Event
                && policy.breaker.is_none()
                && policy.loop_guard.is_none()
                && policy
                    .throttle
                    .is_none_or(|throttle| throttle.then == ThrottleThen::Skip)
            {
                assert!(
                    first.at.since(execution.accepted) >= delay,
                    "{key} was started before its debounce was over"
                );
            }
        }
    }

    /// How many executions before it count for the throttle at its acceptance: at most, or at least. One that was throttled
    /// and reopened does not say so any more.
    fn counted_before(&self, execution: &Execution, throttle: &Throttle, at_most: bool) -> usize {
        let counts = |other: &&Execution| {
            other.key.hook == execution.key.hook
                && other.key.event < execution.key.event
                && !self.retry_messages.contains(&other.key.event)
                && (at_most || !self.disk.reopened.contains(&other.key))
                && (throttle.key == ThrottleKey::Hook || other.subject == execution.subject)
                && !matches!(
                    other.progress.state,
                    State::Settled {
                        settlement: Settlement::Skipped(SkipReason::Throttled),
                        ..
                    }
                )
                // A clock that was set makes more of them count, never fewer than this.
                && (self.has_jumped || other.accepted.plus(throttle.per) > execution.accepted)
        };
        self.disk.executions.values().filter(counts).count()
    }

    /// What happened in it at all.
    pub(super) fn seen(mut self) -> BTreeSet<String> {
        for execution in self.disk.executions.values() {
            if let State::Settled { settlement, .. } = &execution.progress.state {
                self.disk.seen.insert(match settlement {
                    Settlement::Skipped(reason) => format!("skipped: {}", first_word(reason)),
                    Settlement::Cancelled(reason) => format!("cancelled: {}", first_word(reason)),
                    Settlement::Succeeded | Settlement::Failed => settlement.name().to_owned(),
                });
            }
        }
        self.disk.seen
    }

    pub(super) fn check(&self) {
        // Accepted means kept: every acknowledged execution is recorded and reached its end; it ran, unless the
        // record says why not.
        for key in self.acknowledged.values().flatten() {
            let execution = self
                .disk
                .executions
                .get(key)
                .expect("an accepted execution is recorded");
            let State::Settled { settlement, .. } = &execution.progress.state else {
                panic!("{key} never ended: {:?}", execution.progress);
            };
            let ran = self.runs.iter().any(|run| run.key == *key);
            if matches!(settlement, Settlement::Succeeded | Settlement::Failed) {
                assert!(ran, "{key} is {} and never ran", settlement.name());
            }
        }
        // At least once, visibly: no attempt number is used twice, and numbers grow.
        let mut last = HashMap::new();
        for run in &self.runs {
            let former = last.insert(&run.key, run.attempt);
            assert!(
                former.is_none_or(|former| former < run.attempt),
                "{} ran twice as one attempt",
                run.key
            );
        }
        for run in self.runs.iter().filter(|run| run.interrupted) {
            if run.hook.policy.on_interrupt == OnInterrupt::Fail && !self.disk.reopened.contains(&run.key) {
                assert!(
                    !self
                        .runs
                        .iter()
                        .any(|later| later.key == run.key && later.attempt > run.attempt),
                    "{} was run again after an interruption",
                    run.key
                );
            }
        }
        self.check_order();
        self.check_budget();
        self.check_skipped();
    }

    fn check_order(&self) {
        let mut lanes: BTreeMap<_, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            if let Some(lane) = &run.lane {
                lanes.entry(lane).or_default().push(run);
            }
        }
        for (lane, runs) in lanes {
            for pair in runs.windows(2) {
                let ended = pair[0].to.expect("an ended run");
                assert!(
                    ended <= pair[1].from,
                    "{lane:?}: {} and {} overlap",
                    pair[0].key,
                    pair[1].key
                );
            }
            let firsts: Vec<Seq> = runs
                .iter()
                .filter(|run| run.cause == Cause::Event && !self.disk.reopened.contains(&run.key))
                .map(|run| run.key.event)
                .collect();
            assert!(firsts.is_sorted(), "{lane:?} started out of order: {firsts:?}");
            // A retry keeps the head of its lane: no younger execution runs between two attempts of an older one.
            for (at, run) in runs.iter().enumerate() {
                let automatic = matches!(run.cause, Cause::Retry | Cause::Recovery);
                if automatic && let Some(before) = at.checked_sub(1).map(|before| runs[before]) {
                    assert_eq!(before.key, run.key, "{lane:?}: a retry lost its place");
                }
            }
        }
    }

    fn check_budget(&self) {
        for (key, execution) in &self.disk.executions {
            let Some(hook) = self.hooks.iter().find(|hook| hook.name == key.hook) else {
                continue;
            };
            let allowed = hook.policy.retry.as_ref().map_or(1, |retry| retry.attempts);
            assert!(
                execution.progress.budget_used <= allowed,
                "{key} used more attempts than it has"
            );
        }
    }
}

/// The lane of an execution, if it shares one with others.
fn lane_of<'a>(hook: &Hook, execution: &'a Execution) -> Option<(&'a HookName, Option<&'a Subject>)> {
    let name = &execution.key.hook;
    match hook.policy.order {
        Order::None => None,
        Order::Hook => Some((name, None)),
        Order::Subject => execution.subject.as_ref().map(|subject| (name, Some(subject))),
    }
}
