//! The pure scheduler: lanes, slots, retries. It decides and does nothing.
//!
//! [`Core::step`] takes one input and the time and gives back records to be made durable and effects to be
//! carried out once they are. It knows no clock, no disk and no process, so that a simulation can run it through
//! any history, crashes included, from a seed.

mod mutes;
mod policies;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::mutes::Mutes;
pub use self::policies::Group;
pub use self::step::{Effect, Input, NewExecution, Record, Refusal, Step, Verdict};
use super::execution::{Actor, CancelReason, Cause, Execution, Progress, Settlement, SkipReason, State};
use super::mute::Mute;
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::hooks::{Hook, OnInterrupt, Order, Priority};

/// An execution that the daemon's end cut short this often in a row is not run again.
const INTERRUPTIONS_AT_MOST: u32 = 3;

/// Delays between tries to start a process while the machine is short of processes, memory or files.
const EXHAUSTED_MIN: Duration = Duration::from_secs(1);
const EXHAUSTED_MAX: Duration = Duration::from_secs(60);

/// What must happen one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum LaneKey {
    Subject(HookName, Subject),
    Hook(HookName),
    /// No order, or no subject: a lane of its own.
    Own(ExecutionKey),
}

/// An execution that has not reached its end.
#[derive(Debug)]
struct Active {
    hook: Arc<Hook>,
    subject: Option<Subject>,
    source: Arc<str>,
    /// From when its time to start counts: its acceptance, never later than the clock allows.
    counts_from: Timestamp,
    progress: Progress,
    lane: LaneKey,
    /// It holds a slot as one of high priority.
    high: bool,
    /// Tries in a row that the machine was short of something.
    exhausted: u32,
}

impl Active {
    /// When it is skipped if it has not been started by then.
    fn expires(&self) -> Option<Timestamp> {
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
}

/// The lanes of one hook that could start something, oldest turn first, and how many of its scripts run.
#[derive(Debug, Default)]
struct HookQueue {
    ready: BTreeSet<(u64, LaneKey)>,
    running: usize,
    /// What the hook itself says.
    max_parallel: Option<usize>,
    priority_high: bool,
    in_rotation: bool,
}

impl HookQueue {
    fn limit_as(&mut self, hook: &Hook) {
        self.max_parallel = hook.policy.max_parallel;
        self.priority_high = hook.policy.priority == Priority::High;
    }

    fn has_room(&self, default_parallel: usize) -> bool {
        self.running < self.max_parallel.unwrap_or(default_parallel).max(1)
    }
}

/// An execution that waits for another one of its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The one that waits longest in its lane.
    pub waiting: ExecutionKey,
    /// What the lane is about.
    pub subject: Option<Subject>,
    /// The one at the lane's head.
    pub behind: ExecutionKey,
    /// Since when the head holds the lane.
    pub since: Timestamp,
}

/// The scheduler's whole state.
#[derive(Debug)]
pub struct Core {
    concurrency: usize,
    rng: fastrand::Rng,
    active: HashMap<ExecutionKey, Active>,
    lanes: HashMap<LaneKey, VecDeque<ExecutionKey>>,
    hooks: HashMap<HookName, HookQueue>,
    /// Hooks with a ready lane and room for one more script, in the order of their next turn, with the number of that turn.
    rotation: VecDeque<(u64, HookName)>,
    /// The same for hooks of high priority.
    rotation_high: VecDeque<(u64, HookName)>,
    next_place: u64,
    /// What happens at a time of its own accord: retries, and executions that expire.
    timers: BTreeSet<(Timestamp, ExecutionKey)>,
    mutes: Mutes,
    next_turn: u64,
    running: usize,
    running_high: usize,
    stopping: bool,
}

impl Core {
    /// A scheduler with nothing to do, that runs at most `concurrency` scripts at once (at least one), and one more of high priority.
    pub fn new(concurrency: usize, rng: fastrand::Rng) -> Self {
        Self {
            concurrency: concurrency.max(1),
            rng,
            active: HashMap::new(),
            lanes: HashMap::new(),
            hooks: HashMap::new(),
            rotation: VecDeque::new(),
            rotation_high: VecDeque::new(),
            next_place: 0,
            timers: BTreeSet::new(),
            mutes: Mutes::default(),
            next_turn: 1,
            running: 0,
            running_high: 0,
            stopping: false,
        }
    }

    /// Takes over what a former life left unsettled, in any order.
    ///
    /// An attempt that was released counts as one that may have run: it was interrupted.
    pub fn recover(
        &mut self,
        mut left: Vec<(Execution, Arc<Hook>)>,
        mutes: Vec<Mute>,
        now: Timestamp,
    ) -> Step {
        let mut step = Step::default();
        for mute in mutes {
            self.mutes.insert(mute);
        }
        left.sort_by_key(|(execution, _)| execution.progress.turn);
        let mut interrupted = Vec::new();
        for (execution, hook) in left {
            let Execution {
                key,
                subject,
                source,
                accepted,
                progress,
                ..
            } = execution;
            self.next_turn = self.next_turn.max(progress.turn + 1);
            if let State::Running { attempt, .. } = progress.state {
                interrupted.push((key.clone(), attempt));
            }
            self.insert(key, hook, subject, source, accepted, progress);
        }
        for (key, attempt) in interrupted {
            self.ended(&key, attempt, Verdict::Interrupted, now, &mut step);
        }
        self.shorten_waits(now, &mut step);
        self.fire(now, &mut step);
        self.start_what_can(now, &mut step);
        step
    }

    /// Takes one input.
    ///
    /// # Errors
    /// A [`Refusal`] for an order that cannot be carried out; the state is then unchanged.
    pub fn step(&mut self, input: Input, now: Timestamp) -> Result<Step, Refusal> {
        let mut step = Step::default();
        match input {
            Input::Accept {
                seq,
                source,
                subject,
                matches,
            } => self.accept(seq, &source, subject, matches, now, &mut step),
            Input::Ended {
                key,
                attempt,
                verdict,
            } => self.ended(&key, attempt, verdict, now, &mut step),
            Input::Reopen {
                execution,
                hook,
                cause,
            } => self.reopen(*execution, hook, cause, now, &mut step)?,
            Input::Cancel { key, actor } => self.cancel(&key, actor, now, &mut step)?,
            Input::Withdraw { hook, reason } => self.withdraw(&hook, &reason, now, &mut step),
            Input::Mute(mute) => self.mute(mute, &mut step),
            Input::Unmute { scope, then, actor } => self.unmute(&scope, then, Some(actor), &mut step)?,
            Input::StopHook {
                hook,
                length,
                reason,
                actor,
            } => self.stop_hook(&hook, length, reason, &actor, now, &mut step),
            Input::Tick => {}
            Input::Concurrency(scripts) => self.allow(scripts),
            Input::ClockJumped => self.shorten_waits(now, &mut step),
            Input::Stop => self.stopping = true,
        }
        self.fire(now, &mut step);
        self.start_what_can(now, &mut step);
        Ok(step)
    }

    /// When [`Input::Tick`] is due next.
    pub fn next_due(&self) -> Option<Timestamp> {
        let timer = self.timers.first().map(|(due, _)| *due);
        timer.into_iter().chain(self.mutes.next_end()).min()
    }

    /// Scripts running or about to.
    pub const fn running(&self) -> usize {
        self.running
    }

    /// Executions that have not reached their end.
    pub fn unsettled(&self) -> usize {
        self.active.len()
    }

    /// Where an unsettled execution stands.
    pub fn state(&self, key: &ExecutionKey) -> Option<&State> {
        self.active.get(key).map(|active| &active.progress.state)
    }

    /// The lanes in which an execution has waited for `limit` or longer for the one at the head to end.
    pub fn blocked(&self, limit: Duration, now: Timestamp) -> Vec<Waiting> {
        let mut found: Vec<Waiting> = self
            .lanes
            .values()
            .filter_map(|lane| {
                let (head, next) = (lane.front()?, lane.get(1)?);
                let active = self.active.get(head)?;
                let since = match active.progress.state {
                    State::Running { since, .. } => since,
                    State::Retrying { due, delay } => Timestamp::from_millis(
                        due.as_millis() - i64::try_from(delay.as_millis()).unwrap_or(0),
                    ),
                    State::Queued { .. } | State::Debouncing { .. } | State::Settled { .. } => return None,
                };
                let State::Queued {
                    since: waits_since, ..
                } = self.state(next)?
                else {
                    return None;
                };
                (now.since(*waits_since) >= limit).then(|| Waiting {
                    waiting: next.clone(),
                    subject: active.subject.clone(),
                    behind: head.clone(),
                    since,
                })
            })
            .collect();
        found.sort_by(|a, b| (a.since, &a.waiting).cmp(&(b.since, &b.waiting)));
        found
    }

    fn accept(
        &mut self,
        seq: Seq,
        source: &Arc<str>,
        subject: Option<Subject>,
        matches: Vec<NewExecution>,
        now: Timestamp,
        step: &mut Step,
    ) {
        for NewExecution {
            hook,
            why,
            cause,
            retry_of,
            lane_subject,
        } in matches
        {
            let key = ExecutionKey::new(seq, hook.name.clone());
            if self.active.contains_key(&key) {
                continue;
            }
            let subject = lane_subject.or_else(|| subject.clone());
            let progress = Progress {
                state: State::Queued { cause, since: now },
                turn: self.next_turn,
                version: hook.version,
                attempts: 0,
                budget_used: 0,
                interruptions: 0,
            };
            self.next_turn += 1;
            self.insert(
                key.clone(),
                hook,
                subject.clone(),
                Arc::clone(source),
                now,
                progress.clone(),
            );
            step.records.push(Record::Created(Box::new(Execution {
                key,
                subject,
                source: Arc::clone(source),
                accepted: now,
                why,
                retry_of,
                progress,
            })));
        }
        // What can start at once is accepted already as running: its script waits for one commit, not for two.
        let before = step.records.len();
        self.start_what_can(now, step);
        for record in step.records.split_off(before) {
            if let Record::Progressed { key, progress, .. } = &record
                && let Some(execution) = step.records[..before]
                    .iter_mut()
                    .find_map(|earlier| match earlier {
                        Record::Created(execution) if execution.key == *key => Some(execution),
                        _ => None,
                    })
            {
                execution.progress = progress.clone();
            } else {
                step.records.push(record);
            }
        }
    }

    fn reopen(
        &mut self,
        execution: Execution,
        hook: Arc<Hook>,
        cause: Cause,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        let Execution {
            key,
            subject,
            source,
            accepted,
            mut progress,
            ..
        } = execution;
        if let Some(active) = self.active.get(&key) {
            return Err(Refusal::NotSettled(key, active.progress.state.name()));
        }
        let left = progress.state.name();
        progress.state = State::Queued { cause, since: now };
        progress.turn = self.next_turn;
        progress.version = hook.version;
        progress.budget_used = 0;
        progress.interruptions = 0;
        self.next_turn += 1;
        step.records.push(Record::Progressed {
            key: key.clone(),
            left,
            progress: progress.clone(),
        });
        self.insert(key, hook, subject, source, accepted, progress);
        Ok(())
    }

    fn cancel(
        &mut self,
        key: &ExecutionKey,
        actor: Actor,
        now: Timestamp,
        step: &mut Step,
    ) -> Result<(), Refusal> {
        if !self.active.contains_key(key) {
            return Err(Refusal::NotActive(key.clone()));
        }
        self.end(key, CancelReason::Operator(actor), now, step);
        Ok(())
    }

    /// Settles an execution that waits as cancelled; one that runs, once its script is ended.
    fn end(&mut self, key: &ExecutionKey, reason: CancelReason, now: Timestamp, step: &mut Step) {
        let Some(active) = self.active.get_mut(key) else {
            return;
        };
        if let State::Running {
            attempt, ended_for, ..
        } = &mut active.progress.state
        {
            let attempt = *attempt;
            ended_for.get_or_insert(reason);
            // Whatever comes before its end, a crash included, finds the wish written down.
            step.records.push(Record::Progressed {
                key: key.clone(),
                left: active.progress.state.name(),
                progress: active.progress.clone(),
            });
            step.effects.push(Effect::End {
                key: key.clone(),
                attempt,
            });
        } else {
            self.settle(key, Settlement::Cancelled(reason), now, step);
        }
    }

    fn withdraw(&mut self, hook: &HookName, reason: &CancelReason, now: Timestamp, step: &mut Step) {
        let mut waiting: Vec<(u64, ExecutionKey)> = self
            .active
            .iter()
            .filter(|(key, active)| {
                key.hook == *hook
                    && active.progress.attempts == 0
                    && matches!(
                        active.progress.state,
                        State::Queued { .. } | State::Debouncing { .. }
                    )
            })
            .map(|(key, active)| (active.progress.turn, key.clone()))
            .collect();
        waiting.sort();
        for (_, key) in waiting {
            self.settle(&key, Settlement::Cancelled(reason.clone()), now, step);
        }
    }

    fn ended(&mut self, key: &ExecutionKey, attempt: u32, verdict: Verdict, now: Timestamp, step: &mut Step) {
        let Some(active) = self.active.get_mut(key) else {
            return;
        };
        let ended_for = match &active.progress.state {
            State::Running {
                attempt: current,
                ended_for,
                ..
            } if *current == attempt => ended_for.clone(),
            _ => return,
        };
        let policy = &active.hook.policy;
        let attempts_allowed = policy.retry.as_ref().map_or(1, |retry| retry.attempts);
        if verdict != Verdict::Interrupted {
            active.progress.interruptions = 0;
        }
        if verdict != Verdict::Exhausted {
            active.exhausted = 0;
        }
        // Whoever asked for its end was told that it comes: nothing of what follows starts it again.
        if !matches!(verdict, Verdict::Success | Verdict::Hopeless)
            && let Some(reason) = ended_for
        {
            self.settle(key, Settlement::Cancelled(reason), now, step);
            return;
        }
        match verdict {
            Verdict::Success => self.settle(key, Settlement::Succeeded, now, step),
            Verdict::Hopeless => self.settle(key, Settlement::Failed, now, step),
            Verdict::Stopped => {
                let reason = CancelReason::Operator(Actor::Daemon);
                self.settle(key, Settlement::Cancelled(reason), now, step);
            }
            Verdict::Failure => {
                active.progress.budget_used += 1;
                if active.progress.budget_used < attempts_allowed {
                    let (min, max) = policy
                        .retry
                        .as_ref()
                        .map_or((Duration::ZERO, Duration::ZERO), |r| {
                            (r.backoff_min, r.backoff_max)
                        });
                    let delay = backoff(&mut self.rng, min, max, active.progress.budget_used - 1);
                    self.retry_later(key, delay, now, step);
                } else {
                    self.settle(key, Settlement::Failed, now, step);
                }
            }
            Verdict::Exhausted => {
                let delay = backoff(&mut self.rng, EXHAUSTED_MIN, EXHAUSTED_MAX, active.exhausted);
                active.exhausted += 1;
                self.retry_later(key, delay, now, step);
            }
            Verdict::Interrupted => {
                active.progress.interruptions += 1;
                if policy.on_interrupt == OnInterrupt::Fail
                    || active.progress.interruptions >= INTERRUPTIONS_AT_MOST
                {
                    self.settle(key, Settlement::Failed, now, step);
                } else {
                    self.change(
                        key,
                        State::Queued {
                            cause: Cause::Recovery,
                            since: now,
                        },
                        step,
                    );
                }
            }
        }
    }

    /// Puts an execution into its lane. It keeps its turn's place there.
    fn insert(
        &mut self,
        key: ExecutionKey,
        hook: Arc<Hook>,
        subject: Option<Subject>,
        source: Arc<str>,
        accepted: Timestamp,
        progress: Progress,
    ) {
        let lane = match (hook.policy.order, &subject) {
            (Order::Hook, _) => LaneKey::Hook(hook.name.clone()),
            (Order::Subject, Some(subject)) => LaneKey::Subject(hook.name.clone(), subject.clone()),
            (Order::Subject, None) | (Order::None, _) => LaneKey::Own(key.clone()),
        };
        // The newest version of a hook says how much of it may run; older ones that still wait do not.
        let queue = self.queue_of(&hook);
        queue.limit_as(&hook);
        let high = queue.priority_high;
        let active = Active {
            hook,
            subject,
            source,
            counts_from: accepted,
            progress,
            lane,
            high,
            exhausted: 0,
        };
        match active.progress.state {
            State::Running { .. } => {
                self.running += 1;
                self.running_high += usize::from(active.high);
                self.queue_of(&active.hook).running += 1;
            }
            State::Retrying { due, .. } => {
                self.timers.insert((due, key.clone()));
            }
            State::Debouncing { due, .. } => {
                self.timers.insert((due, key.clone()));
            }
            State::Queued { .. } | State::Settled { .. } => {}
        }
        if let Some(expiry) = active.expires() {
            self.timers.insert((expiry, key.clone()));
        }
        let lane = active.lane.clone();
        self.active.insert(key.clone(), active);
        let members = self.lanes.entry(lane.clone()).or_default();
        members.push_back(key);
        if members.len() == 1 {
            self.offer(&lane);
        }
    }

    /// Marks a lane whose head waits for a slot as ready.
    fn offer(&mut self, lane: &LaneKey) {
        let Some(head) = self.lanes.get(lane).and_then(VecDeque::front) else {
            return;
        };
        let Some(active) = self.active.get(head) else {
            return;
        };
        if !matches!(active.progress.state, State::Queued { .. }) {
            return;
        }
        let (hook, turn) = (Arc::clone(&active.hook), active.progress.turn);
        self.queue_of(&hook).ready.insert((turn, lane.clone()));
        self.enter_rotation(&hook.name);
    }

    /// A hook's queue; one that is made anew gets the limits of the version at hand.
    fn queue_of(&mut self, hook: &Hook) -> &mut HookQueue {
        self.hooks.entry(hook.name.clone()).or_insert_with(|| {
            let mut queue = HookQueue::default();
            queue.limit_as(hook);
            queue
        })
    }

    fn default_parallel(&self) -> usize {
        (self.concurrency / 2).max(1)
    }

    /// Lets so many scripts run at once. What runs beyond that comes to its end.
    fn allow(&mut self, scripts: usize) {
        self.concurrency = scripts.max(1);
        let hooks: BTreeSet<HookName> = self.hooks.keys().cloned().collect();
        for hook in hooks {
            self.enter_rotation(&hook);
        }
    }

    fn enter_rotation(&mut self, hook: &HookName) {
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
    fn start_what_can(&mut self, now: Timestamp, step: &mut Step) {
        let default_parallel = self.default_parallel();
        while !self.stopping {
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
                self.start_head(&lane, high, now, step);
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

    fn start_head(&mut self, lane: &LaneKey, high: bool, now: Timestamp, step: &mut Step) {
        let Some(key) = self.lanes.get(lane).and_then(VecDeque::front).cloned() else {
            return;
        };
        let Some(active) = self.active.get_mut(&key) else {
            return;
        };
        let State::Queued { cause, .. } = active.progress.state.clone() else {
            return;
        };
        if let Some(expiry) = active.expires() {
            self.timers.remove(&(expiry, key.clone()));
        }
        active.progress.attempts += 1;
        let attempt = active.progress.attempts;
        active.high = high;
        let hook = Arc::clone(&active.hook);
        self.running += 1;
        self.running_high += usize::from(high);
        if let Some(queue) = self.hooks.get_mut(&key.hook) {
            queue.running += 1;
        }
        self.change(
            &key,
            State::Running {
                attempt,
                cause: cause.clone(),
                since: now,
                ended_for: None,
            },
            step,
        );
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

    fn retry_later(&mut self, key: &ExecutionKey, delay: Duration, now: Timestamp, step: &mut Step) {
        let due = now.plus(delay);
        self.change(key, State::Retrying { due, delay }, step);
        self.timers.insert((due, key.clone()));
    }

    /// Does what is due: retries queue up at the head of their lane, executions that waited too long expire.
    fn fire(&mut self, now: Timestamp, step: &mut Step) {
        self.end_mutes(now, step);
        while let Some((due, key)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            match self.state(&key) {
                Some(State::Debouncing { cause, .. }) => {
                    let cause = cause.clone();
                    self.change(&key, State::Queued { cause, since: now }, step);
                }
                Some(State::Retrying { .. }) => {
                    self.change(
                        &key,
                        State::Queued {
                            cause: Cause::Retry,
                            since: now,
                        },
                        step,
                    );
                }
                Some(State::Queued { .. }) => {
                    self.settle(&key, Settlement::Skipped(SkipReason::Expired), now, step);
                }
                Some(State::Running { .. } | State::Settled { .. }) | None => {}
            }
        }
    }

    fn shorten_waits(&mut self, now: Timestamp, step: &mut Step) {
        let late: Vec<(ExecutionKey, Duration)> = self
            .active
            .iter()
            .filter_map(|(key, active)| match active.progress.state {
                State::Retrying { due, delay } if due > now.plus(delay) => Some((key.clone(), delay)),
                _ => None,
            })
            .collect();
        for mute in self.mutes.shorten(now) {
            step.records.push(Record::MuteShortened(mute));
        }
        for (key, delay) in late {
            self.retry_later(&key, delay, now, step);
        }
        for (key, active) in &mut self.active {
            if active.counts_from > now {
                if let Some(expiry) = active.expires() {
                    self.timers.remove(&(expiry, key.clone()));
                }
                active.counts_from = now;
                if let Some(expiry) = active.expires() {
                    self.timers.insert((expiry, key.clone()));
                }
            }
        }
    }

    /// Changes the state of an execution that goes on, with all that hangs on it.
    fn change(&mut self, key: &ExecutionKey, state: State, step: &mut Step) {
        let Some(active) = self.active.get_mut(key) else {
            return;
        };
        let former = std::mem::replace(&mut active.progress.state, state);
        let left = former.name();
        let queued = matches!(active.progress.state, State::Queued { .. });
        let (lane, turn) = (active.lane.clone(), active.progress.turn);
        let high = active.high;
        step.records.push(Record::Progressed {
            key: key.clone(),
            left,
            progress: active.progress.clone(),
        });
        match former {
            State::Running { .. } => self.free_slot(&key.hook, high),
            State::Retrying { due, .. } | State::Debouncing { due, .. } => {
                self.timers.remove(&(due, key.clone()));
            }
            State::Queued { .. } => {
                if let Some(queue) = self.hooks.get_mut(&key.hook) {
                    queue.ready.remove(&(turn, lane.clone()));
                }
            }
            State::Settled { .. } => {}
        }
        if queued {
            self.offer(&lane);
        }
    }

    fn settle(&mut self, key: &ExecutionKey, settlement: Settlement, now: Timestamp, step: &mut Step) {
        if let Some(expiry) = self.active.get(key).and_then(Active::expires) {
            self.timers.remove(&(expiry, key.clone()));
        }
        self.change(key, State::Settled { settlement, at: now }, step);
        let Some(active) = self.active.remove(key) else {
            return;
        };
        if let Some(members) = self.lanes.get_mut(&active.lane) {
            // Members stand in the order of their turns, so a long lane is not searched from end to end.
            let (turn, others) = (active.progress.turn, &self.active);
            let turn_of =
                |member: &ExecutionKey| others.get(member).map_or(turn, |other| other.progress.turn);
            let place = members.partition_point(|member| turn_of(member) < turn);
            members.remove(place);
            if members.is_empty() {
                self.lanes.remove(&active.lane);
            } else {
                self.offer(&active.lane);
            }
        }
        if let Some(queue) = self.hooks.get(&key.hook)
            && queue.running == 0
            && queue.ready.is_empty()
            && !queue.in_rotation
        {
            self.hooks.remove(&key.hook);
        }
    }

    fn free_slot(&mut self, hook: &HookName, high: bool) {
        self.running = self.running.saturating_sub(1);
        self.running_high = self.running_high.saturating_sub(usize::from(high));
        if let Some(queue) = self.hooks.get_mut(hook) {
            queue.running = queue.running.saturating_sub(1);
        }
        self.enter_rotation(hook);
    }

    /// How many executions are in each state that is not an end, by its name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        let mut counts = BTreeMap::new();
        for active in self.active.values() {
            *counts.entry(active.progress.state.name()).or_default() += 1;
        }
        counts
    }
}

/// The delay before retry number `retry` (from 0): doubled each time up to `max`, the upper half of it by chance,
/// so that what failed together is not tried again together.
fn backoff(rng: &mut fastrand::Rng, min: Duration, max: Duration, retry: u32) -> Duration {
    let full = min.saturating_mul(2_u32.saturating_pow(retry)).min(max.max(min));
    let half = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX / 2);
    Duration::from_millis(half + rng.u64(..=half))
}
