//! The pure scheduler: lanes, slots, retries. It decides and does nothing.
//!
//! [`Core::step`] takes one input and the time and gives back records to be made durable and effects to be
//! carried out once they are. It knows no clock, no disk and no process, so that a simulation can run it through
//! any history, crashes included, from a seed.

mod lanes;
mod mutes;
mod observation;
mod policies;
mod slots;
mod standby;
mod step;
mod survey;
#[cfg(test)]
mod tests;
mod windows;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::lanes::{Active, Lane, LaneKey};
use self::mutes::Mutes;
use self::policies::Admission;
use self::slots::HookQueue;
pub use self::step::{Effect, Input, NewExecution, Record, Refusal, Step, Verdict};
pub use self::survey::{Group, Survey};
use self::windows::Windows;
use super::execution::{Actor, CancelReason, Cause, Execution, Progress, Settlement, SkipReason, State};
use super::mute::Mute;
use crate::event::Subject;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::hooks::{Hook, OnInterrupt};

/// An execution that the daemon's end cut short this often in a row is not run again.
const INTERRUPTIONS_AT_MOST: u32 = 3;

/// Delays between tries to start a process while the machine is short of processes, memory or files.
const EXHAUSTED_MIN: Duration = Duration::from_secs(1);
const EXHAUSTED_MAX: Duration = Duration::from_secs(60);

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
    lanes: HashMap<LaneKey, Lane>,
    /// Queued executions that somebody asked for, which no mute holds, by lane and turn.
    explicit: BTreeMap<(LaneKey, u64), ExecutionKey>,
    /// Executions that have a subject and no order, by hook, subject and turn.
    unordered: BTreeMap<(HookName, Subject, u64), ExecutionKey>,
    /// The one of each lane that waits out its hook's `debounce`.
    debouncing: BTreeMap<LaneKey, ExecutionKey>,
    hooks: HashMap<HookName, HookQueue>,
    /// Hooks with a ready lane and room for one more script, in the order of their next turn, with the number of that turn.
    rotation: VecDeque<(u64, HookName)>,
    /// The same for hooks of high priority.
    rotation_high: VecDeque<(u64, HookName)>,
    next_place: u64,
    /// What happens at a time of its own accord: retries, ends of `debounce`, and executions that expire.
    timers: BTreeSet<(Timestamp, ExecutionKey)>,
    mutes: Mutes,
    /// When executions were accepted, by hook and, where those are counted by themselves, subject.
    throttles: Windows<(HookName, Option<Subject>)>,
    /// When executions were accepted that are to run, by hook and subject.
    loop_guards: Windows<(HookName, Subject)>,
    /// When executions failed, by hook.
    breakers: Windows<HookName>,
    next_turn: u64,
    running: usize,
    running_high: usize,
    stopping: bool,
    /// Since when nothing is started because another front-end may lead.
    standby: Option<Timestamp>,
    /// Nothing is ever started: what would have been is recorded.
    observing: bool,
    /// While hem observes: until when the bursts last that `debounce` makes one execution of.
    bursts: Windows<LaneKey>,
}

impl Core {
    /// A scheduler with nothing to do, that runs at most `concurrency` scripts at once (at least one), and one more of high priority.
    pub fn new(concurrency: usize, rng: fastrand::Rng) -> Self {
        Self {
            concurrency: concurrency.max(1),
            rng,
            active: HashMap::new(),
            lanes: HashMap::new(),
            explicit: BTreeMap::new(),
            unordered: BTreeMap::new(),
            debouncing: BTreeMap::new(),
            hooks: HashMap::new(),
            rotation: VecDeque::new(),
            rotation_high: VecDeque::new(),
            next_place: 0,
            timers: BTreeSet::new(),
            mutes: Mutes::default(),
            throttles: Windows::default(),
            loop_guards: Windows::default(),
            breakers: Windows::default(),
            next_turn: 1,
            running: 0,
            running_high: 0,
            stopping: false,
            standby: None,
            observing: false,
            bursts: Windows::default(),
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
            Input::Unmute { scope, then, actor } => self.unmute(&scope, then, Some(actor), now, &mut step)?,
            Input::StopHook {
                hook,
                length,
                reason,
                actor,
            } => self.stop_hook(&hook, length, reason, &actor, now, &mut step),
            Input::Tick => {}
            Input::Concurrency(scripts) => self.allow(scripts),
            Input::ClockJumped => self.shorten_waits(now, &mut step),
            Input::StandBy => self.stand_by(now),
            Input::Lead => self.lead(now, &mut step),
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
                let head = lane.begun.as_ref()?;
                let active = self.active.get(head)?;
                let since = match active.progress.state {
                    State::Running { since, .. } => since,
                    State::Retrying { due, delay } => Timestamp::from_millis(
                        due.as_millis() - i64::try_from(delay.as_millis()).unwrap_or(0),
                    ),
                    State::Queued { .. } | State::Debouncing { .. } | State::Settled { .. } => return None,
                };
                let next = lane.members.iter().find(|member| *member != head)?;
                let waiting = self.active.get(next)?;
                let State::Queued {
                    since: waits_since, ..
                } = &waiting.progress.state
                else {
                    return None;
                };
                if self.is_held(next, waiting) {
                    return None;
                }
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
            let admission = if self.observing {
                let reason = self.observed(&key, &hook, source, subject.as_ref(), &cause, now);
                Admission::Skip(reason)
            } else {
                self.admit(&key, &hook, source, subject.as_ref(), &cause, now, step)
            };
            let state = match admission {
                Admission::Queue => State::Queued { cause, since: now },
                Admission::Debounce(delay) => State::Debouncing {
                    due: now.plus(delay),
                    delay,
                    cause,
                },
                Admission::Skip(reason) => State::Settled {
                    settlement: Settlement::Skipped(reason),
                    at: now,
                },
            };
            let progress = Progress {
                state,
                turn: self.next_turn,
                version: hook.version,
                attempts: 0,
                budget_used: 0,
                interruptions: 0,
            };
            self.next_turn += 1;
            step.records.push(Record::Created(Box::new(Execution {
                key: key.clone(),
                subject: subject.clone(),
                source: Arc::clone(source),
                accepted: now,
                why,
                retry_of,
                progress: progress.clone(),
            })));
            if !progress.state.is_settled() {
                self.insert(key.clone(), hook, subject, Arc::clone(source), now, progress);
                self.arrive(&key, now, step);
            }
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

    fn retry_later(&mut self, key: &ExecutionKey, delay: Duration, now: Timestamp, step: &mut Step) {
        let due = now.plus(delay);
        self.change(key, State::Retrying { due, delay }, step);
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
                    self.has_debounced(&key, now, step);
                    self.arrive(&key, now, step);
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
        let late: Vec<(ExecutionKey, State)> = self
            .active
            .iter()
            .filter_map(|(key, active)| {
                let mut state = active.progress.state.clone();
                match &mut state {
                    State::Retrying { due, delay } | State::Debouncing { due, delay, .. }
                        if *due > now.plus(*delay) =>
                    {
                        *due = now.plus(*delay);
                    }
                    _ => return None,
                }
                Some((key.clone(), state))
            })
            .collect();
        for (key, state) in late {
            self.change(&key, state, step);
        }
        for mute in self.mutes.shorten(now) {
            step.records.push(Record::MuteShortened(mute));
        }
        self.throttles.follow_clock(now);
        self.loop_guards.follow_clock(now);
        self.breakers.follow_clock(now);
        self.bursts.follow_clock(now);
        self.standby = self.standby.map(|since| since.min(now));
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
}

/// The delay before retry number `retry` (from 0): doubled each time up to `max`, the upper half of it by chance,
/// so that what failed together is not tried again together.
fn backoff(rng: &mut fastrand::Rng, min: Duration, max: Duration, retry: u32) -> Duration {
    let full = min.saturating_mul(2_u32.saturating_pow(retry)).min(max.max(min));
    let half = u64::try_from(full.as_millis() / 2).unwrap_or(u64::MAX / 2);
    Duration::from_millis(half + rng.u64(..=half))
}
