//! The scheduler under every history that a seed can make up: the real core, a store that loses what was not synced,
//! scripts that take their time, hooks with every policy, mutes that come and go, a front-end that leads and follows, a clock that
//! jumps, and a daemon that dies at any step. A checker then holds the history against the promises. A failing seed is printed; `HEM_SIMULATION_SEED=n` runs it alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

mod histories;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hem::engine::core::{Core, Effect, Input, NewExecution, Record, Step, Verdict};
use hem::engine::execution::{Actor, CancelReason, Cause, Execution, Settlement, SkipReason, State};
use hem::engine::mute::{Mute, MutedBy, Scope, Then, Until};
use hem::event::Subject;
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::time::Timestamp;
use hem::hooks::{
    Breaker, Defaults, Hook, LoopGuard, OnInterrupt, Order, Origin, Overlap, Policy, Priority, Retry,
    Throttle, ThrottleKey, ThrottleThen, Version, parse_definition,
};

const SEEDS: u64 = 10_000;

#[test]
fn ten_thousand_histories_keep_the_promises() {
    if let Ok(seed) = std::env::var("HEM_SIMULATION_SEED") {
        History::of(seed.parse().expect("HEM_SIMULATION_SEED is a number")).check();
        return;
    }
    let workers = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let seen: Vec<Result<BTreeSet<String>, u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let mut seen = BTreeSet::new();
                    for seed in (worker..SEEDS).step_by(workers as usize) {
                        let history = std::panic::catch_unwind(|| {
                            let history = History::of(seed);
                            history.check();
                            history.seen()
                        });
                        seen.extend(history.map_err(|_| seed)?);
                    }
                    Ok(seen)
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a worker"))
            .collect()
    });
    let failed: Vec<&u64> = seen.iter().filter_map(|seen| seen.as_ref().err()).collect();
    assert!(
        failed.is_empty(),
        "run one alone with HEM_SIMULATION_SEED={failed:?}"
    );
    // A promise is held only by histories in which it could have been broken.
    let seen: BTreeSet<String> = seen.into_iter().flatten().flatten().collect();
    for expected in [
        "skipped: Expired",
        "skipped: Throttled",
        "skipped: Superseded",
        "skipped: Overlap",
        "skipped: Muted",
        "cancelled: Superseded",
        "cancelled: Stopped",
        "cancelled: Expired",
        "muted by Operator",
        "muted by Throttle",
        "muted by LoopGuard",
        "muted by Breaker",
        "a mute shortened",
        "a mute kept over a crash",
        "led again after a crash",
    ] {
        assert!(
            seen.contains(expected),
            "no history has one that is {expected}: {seen:?}"
        );
    }
}

/// One start of a script, as the script itself would tell it.
#[derive(Debug)]
struct Run {
    key: ExecutionKey,
    attempt: u32,
    lane: Option<(HookName, Option<Subject>)>,
    hook: Arc<Hook>,
    cause: Cause,
    /// What the clock said when it was started.
    at: Timestamp,
    from: u64,
    /// The step at which it ended, by itself or with the daemon.
    to: Option<u64>,
    interrupted: bool,
}

/// What a crash leaves: only what was committed.
#[derive(Debug, Default)]
struct Disk {
    executions: BTreeMap<ExecutionKey, Execution>,
    released: BTreeSet<(ExecutionKey, u32)>,
    reopened: BTreeSet<ExecutionKey>,
    mutes: BTreeMap<Scope, Mute>,
    /// What was ever taken back with the order to keep the newest, or none.
    unmuted: BTreeSet<(Scope, bool)>,
    /// What happened at all.
    seen: BTreeSet<String>,
}

impl Disk {
    fn commit(&mut self, records: Vec<Record>) {
        for record in records {
            match record {
                Record::Created(execution) => {
                    let former = self.executions.insert(execution.key.clone(), *execution);
                    assert!(former.is_none(), "an execution was made twice");
                }
                Record::Progressed { key, left, progress } => {
                    let execution = self
                        .executions
                        .get_mut(&key)
                        .expect("progress of a known execution");
                    assert_eq!(
                        execution.progress.state.name(),
                        left,
                        "the counts of states would not add up"
                    );
                    assert!(
                        execution.progress.attempts <= progress.attempts,
                        "attempt numbers only grow"
                    );
                    if execution.progress.state.is_settled() {
                        self.reopened.insert(key);
                    }
                    execution.progress = progress;
                }
                Record::Muted(mute) => {
                    self.seen.insert(format!("muted by {}", first_word(&mute.by)));
                    self.mutes.insert(mute.scope.clone(), mute);
                }
                Record::MuteShortened(mute) => {
                    self.seen.insert("a mute shortened".to_owned());
                    let former = self.mutes.insert(mute.scope.clone(), mute);
                    assert!(former.is_some(), "a mute was shortened that is not there");
                }
                Record::Unmuted { scope, then, .. } => {
                    let former = self.mutes.remove(&scope);
                    assert!(former.is_some(), "a mute ended that is not there");
                    if then != Then::Run {
                        self.unmuted.insert((scope, then == Then::Drop));
                    }
                }
                Record::Released { key, attempt, .. } => {
                    assert!(
                        self.released.insert((key, attempt)),
                        "an attempt was released twice"
                    );
                }
            }
        }
    }
}

struct History {
    rng: fastrand::Rng,
    hooks: Vec<Arc<Hook>>,
    concurrency: usize,
    core: Core,
    now: Timestamp,
    /// Counts simulation steps: the order in which things really happened, whatever the clock says.
    step: u64,
    disk: Disk,
    /// Decided, not yet committed.
    uncommitted: VecDeque<(Step, Option<Seq>)>,
    next_seq: u64,
    acknowledged: BTreeMap<Seq, Vec<ExecutionKey>>,
    offered: HashMap<Seq, Vec<ExecutionKey>>,
    runs: Vec<Run>,
    /// Events of the kind `retry`.
    retry_messages: BTreeSet<Seq>,
    /// The clock was set, ever.
    has_jumped: bool,
    /// Something was muted, ever.
    has_muted: bool,
    /// Whether another front-end may lead, in the histories in which there are several.
    standby: Option<bool>,
    /// It was on standby, ever.
    has_stood_by: bool,
    /// When it is last known to have led.
    led: Timestamp,
}

impl History {
    fn of(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let hooks = (0..rng.usize(1..5)).map(|n| hook(n, &mut rng)).collect();
        let concurrency = rng.usize(1..5);
        let mut history = Self {
            core: Core::new(concurrency, rng.fork()),
            hooks,
            concurrency,
            now: Timestamp::from_millis(1_700_000_000_000),
            step: 0,
            disk: Disk::default(),
            uncommitted: VecDeque::new(),
            next_seq: 1,
            acknowledged: BTreeMap::new(),
            offered: HashMap::new(),
            runs: Vec::new(),
            retry_messages: BTreeSet::new(),
            has_jumped: false,
            has_muted: false,
            standby: None,
            has_stood_by: false,
            led: Timestamp::from_millis(1_700_000_000_000),
            rng,
        };
        if history.rng.u32(0..3) == 0 {
            history.standby = Some(false);
        }
        for _ in 0..history.rng.usize(20..120) {
            history.anything();
        }
        history.until_quiet();
        history
    }

    fn anything(&mut self) {
        self.step += 1;
        match self.rng.u32(0..112) {
            0..30 => self.accept(),
            30..55 => self.commit(),
            55..78 => self.end_one(),
            78..86 => self.wait(),
            86..90 => self.cancel_one(),
            90..93 => self.reopen_one(),
            93..94 => self.withdraw_one(),
            94..96 => self.jump(),
            100..103 => self.mute_one(),
            103..105 => self.unmute_one(),
            105 => self.stop_one(),
            106..112 => self.change_role(),
            _ => self.crash(),
        }
        self.check_limits();
    }

    fn feed(&mut self, input: Input, acknowledges: Option<Seq>) {
        let leads = matches!(input, Input::Lead);
        if let Ok(step) = self.core.step(input, self.now) {
            if leads {
                self.check_taken_up(&step);
            }
            let starts = step
                .effects
                .iter()
                .any(|effect| matches!(effect, Effect::Start { .. }));
            assert!(
                self.standby != Some(true) || !starts,
                "something was started while another front-end may lead"
            );
            self.uncommitted.push_back((step, acknowledges));
        }
    }

    fn accept(&mut self) {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        let subject = (self.rng.u32(0..8) > 0).then(|| Subject::new(&format!("vm/{}", self.rng.u32(0..3))));
        // A RETRY message asks for one hook.
        let is_retry_message = self.rng.u32(0..12) == 0;
        let only = is_retry_message.then(|| self.rng.usize(..self.hooks.len()));
        let cause = if is_retry_message {
            self.retry_messages.insert(seq);
            Cause::RetryMessage(seq)
        } else {
            self.retry_messages.remove(&seq);
            Cause::Event
        };
        let source = if self.rng.u32(0..4) == 0 { "two" } else { "one" };
        let matches: Vec<NewExecution> = self
            .hooks
            .clone()
            .into_iter()
            .enumerate()
            .filter(|(at, _)| only.map_or_else(|| self.rng.bool(), |only| only == *at))
            .map(|(_, hook)| NewExecution {
                hook,
                why: String::new(),
                cause: cause.clone(),
                retry_of: None,
                lane_subject: None,
            })
            .collect();
        self.offered.insert(
            seq,
            matches
                .iter()
                .map(|m| ExecutionKey::new(seq, m.hook.name.clone()))
                .collect(),
        );
        self.feed(
            Input::Accept {
                seq,
                source: source.into(),
                subject,
                matches,
            },
            Some(seq),
        );
    }

    fn commit(&mut self) {
        for _ in 0..self.rng.usize(1..=3) {
            let Some((step, acknowledges)) = self.uncommitted.pop_front() else {
                return;
            };
            self.disk.commit(step.records);
            if let Some(seq) = acknowledges {
                let keys = self.offered.remove(&seq).expect("an offered event");
                self.acknowledged.insert(seq, keys);
            }
            for effect in step.effects {
                self.carry_out(effect);
            }
            self.check_waiters();
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start {
                key,
                attempt,
                hook,
                cause,
            } => {
                assert!(
                    self.disk.released.contains(&(key.clone(), attempt)),
                    "a script was started without a durable record"
                );
                let execution = &self.disk.executions[&key];
                if !cause.is_explicit() {
                    let covering =
                        self.disk.mutes.keys().find(|scope| {
                            scope.covers(&key.hook, &execution.source, execution.subject.as_ref())
                        });
                    assert_eq!(covering, None, "{key} was started under a mute");
                }
                let subject = execution.subject.clone();
                let lane = match hook.policy.order {
                    Order::None => None,
                    Order::Hook => Some((hook.name.clone(), None)),
                    Order::Subject => subject.map(|subject| (hook.name.clone(), Some(subject))),
                };
                self.runs.push(Run {
                    key,
                    attempt,
                    lane,
                    hook,
                    cause,
                    at: self.now,
                    from: self.step,
                    to: None,
                    interrupted: false,
                });
            }
            Effect::End { key, attempt } => {
                let running = self
                    .runs
                    .iter()
                    .position(|run| run.to.is_none() && run.key == key && run.attempt == attempt);
                if let Some(at) = running {
                    self.end(at, Verdict::Stopped);
                }
            }
        }
    }

    fn end(&mut self, at: usize, verdict: Verdict) {
        self.runs[at].to = Some(self.step);
        let (key, attempt) = (self.runs[at].key.clone(), self.runs[at].attempt);
        self.feed(
            Input::Ended {
                key,
                attempt,
                verdict,
            },
            None,
        );
    }

    fn running(&self) -> Vec<usize> {
        (0..self.runs.len())
            .filter(|&at| self.runs[at].to.is_none())
            .collect()
    }

    fn end_one(&mut self) {
        let running = self.running();
        if let Some(&at) = self.rng.choice(&running) {
            let verdict = match self.rng.u32(0..10) {
                0..5 => Verdict::Success,
                5..8 => Verdict::Failure,
                8 => Verdict::Exhausted,
                _ => Verdict::Hopeless,
            };
            self.end(at, verdict);
        }
    }

    fn wait(&mut self) {
        let at_most = self.rng.u64(0..5_000);
        self.now = self.now.plus(Duration::from_millis(at_most));
        self.feed(Input::Tick, None);
    }

    fn jump(&mut self) {
        let by = self.rng.i64(-7_200_000..7_200_000);
        self.now = Timestamp::from_millis(self.now.as_millis() + by);
        self.has_jumped = true;
        self.feed(Input::ClockJumped, None);
    }

    fn some_execution(&mut self, settled: bool) -> Option<Execution> {
        let candidates: Vec<&Execution> = self
            .disk
            .executions
            .values()
            .filter(|execution| execution.progress.state.is_settled() == settled)
            .collect();
        self.rng.choice(&candidates).map(|&execution| execution.clone())
    }

    fn cancel_one(&mut self) {
        if let Some(execution) = self.some_execution(false) {
            self.feed(
                Input::Cancel {
                    key: execution.key,
                    actor: Actor::User { uid: 0 },
                },
                None,
            );
        }
    }

    fn reopen_one(&mut self) {
        let Some(execution) = self.some_execution(true) else {
            return;
        };
        // The record is read from the disk, as the dispatcher does: what is decided and not yet committed for it
        // must not be overtaken.
        if self
            .uncommitted
            .iter()
            .any(|(step, _)| mentions(step, &execution.key))
        {
            return;
        }
        let hook = self
            .hooks
            .iter()
            .find(|hook| hook.name == execution.key.hook)
            .cloned();
        let cause = Cause::Operator {
            actor: Actor::User { uid: 0 },
            as_recorded: false,
        };
        self.feed(
            Input::Reopen {
                execution: Box::new(execution),
                hook: hook.expect("a hook"),
                cause,
            },
            None,
        );
    }

    fn withdraw_one(&mut self) {
        let hook = self.hooks[self.rng.usize(..self.hooks.len())].name.clone();
        self.feed(
            Input::Withdraw {
                hook,
                reason: CancelReason::HookDisabled,
            },
            None,
        );
    }

    fn some_scope(&mut self) -> Scope {
        let hook = self.hooks[self.rng.usize(..self.hooks.len())].name.clone();
        match self.rng.u32(0..6) {
            0 => Scope::All,
            1 => Scope::Source("two".into()),
            2 | 3 => Scope::Hook(hook),
            _ => Scope::Lane(hook, Subject::new(&format!("vm/{}", self.rng.u32(0..3)))),
        }
    }

    fn mute_one(&mut self) {
        self.has_muted = true;
        let length = self
            .rng
            .bool()
            .then(|| Duration::from_millis(self.rng.u64(0..20_000)));
        let mute = Mute {
            scope: self.some_scope(),
            since: self.now,
            until: length.map(|length| Until::after(self.now, length)),
            by: MutedBy::Operator(Actor::User { uid: 0 }),
            reason: None,
        };
        self.feed(Input::Mute(mute), None);
    }

    fn unmute_one(&mut self) {
        let scopes: Vec<Scope> = self.core.mutes().map(|mute| mute.scope.clone()).collect();
        if let Some(scope) = self.rng.choice(&scopes).cloned() {
            let then = [Then::Run, Then::Latest, Then::Drop][self.rng.usize(..3)];
            let actor = Actor::User { uid: 0 };
            self.feed(Input::Unmute { scope, then, actor }, None);
        }
    }

    /// Where there are several front-ends, another one leads from now on, or this one does.
    fn change_role(&mut self) {
        match self.standby {
            None => {}
            Some(false) => {
                self.led = self.now;
                self.feed(Input::StandBy, None);
                (self.standby, self.has_stood_by) = (Some(true), true);
                // Another one leads for some time, a long one now and then.
                let most = if self.rng.u32(0..4) == 0 { 3_600_000 } else { 5_000 };
                self.now = self.now.plus(Duration::from_millis(self.rng.u64(0..most)));
            }
            Some(true) => {
                self.standby = Some(false);
                self.feed(Input::Lead, None);
            }
        }
    }

    fn stop_one(&mut self) {
        self.has_muted = true;
        let hook = self.hooks[self.rng.usize(..self.hooks.len())].name.clone();
        let length = self.rng.u64(0..20_000);
        self.feed(
            Input::StopHook {
                hook,
                length: Some(Duration::from_millis(length)),
                reason: None,
                actor: Actor::User { uid: 0 },
            },
            None,
        );
    }

    /// The daemon dies: what is not committed is gone, and its scripts with it.
    fn crash(&mut self) {
        self.uncommitted.clear();
        self.offered.clear();
        for at in self.running() {
            self.runs[at].to = Some(self.step);
            self.runs[at].interrupted = true;
        }
        let died = self.now;
        if self.rng.u32(0..4) == 0 {
            let away = self.rng.u64(0..3_600_000);
            self.now = self.now.plus(Duration::from_millis(away));
        }
        // Numbers go on after the last durable one: an event that was not acknowledged may lose its number to another.
        self.next_seq = self.acknowledged.last_key_value().map_or(1, |(seq, _)| seq.0 + 1);
        self.core = Core::new(self.concurrency, self.rng.fork());
        let left = self
            .disk
            .executions
            .values()
            .filter(|execution| !execution.progress.state.is_settled())
            .map(|execution| {
                let hook = self
                    .hooks
                    .iter()
                    .find(|hook| hook.version == execution.progress.version);
                (execution.clone(), Arc::clone(hook.expect("a definition")))
            })
            .collect();
        for execution in self.disk.executions.values() {
            let hook = self.hooks.iter().find(|hook| hook.name == execution.key.hook);
            if !self.retry_messages.contains(&execution.key.event) {
                self.core.remember(execution, hook.expect("a hook"), self.now);
            }
        }
        if !self.disk.mutes.is_empty() {
            self.disk.seen.insert("a mute kept over a crash".to_owned());
        }
        if let Some(stood_by) = self.standby {
            if !stood_by {
                self.led = died;
            }
            self.disk.seen.insert("led again after a crash".to_owned());
            self.core.stand_by(self.led);
            (self.standby, self.has_stood_by) = (Some(true), true);
        }
        let mutes = self.disk.mutes.values().cloned().collect();
        let step = self.core.recover(left, mutes, self.now);
        self.uncommitted.push_back((step, None));
    }

    fn until_quiet(&mut self) {
        for _ in 0..10_000 {
            self.step += 1;
            while !self.uncommitted.is_empty() {
                self.commit();
            }
            let running = self.running();
            if self.standby == Some(true) {
                self.change_role();
            } else if let Some(&at) = running.first() {
                self.end(at, Verdict::Success);
            } else if let Some(due) = self.core.next_due() {
                self.now = self.now.max(due);
                self.feed(Input::Tick, None);
            } else if !self.disk.mutes.is_empty() {
                let scope = self.disk.mutes.keys().next().cloned().expect("a mute");
                let (then, actor) = (Then::Run, Actor::User { uid: 0 });
                self.feed(Input::Unmute { scope, then, actor }, None);
            } else {
                assert_eq!(self.core.unsettled(), 0, "executions wait for nothing");
                return;
            }
            self.check_limits();
        }
        panic!("the engine never comes to rest");
    }
}

fn first_word(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    text.split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn mentions(step: &Step, key: &ExecutionKey) -> bool {
    step.records.iter().any(|record| match record {
        Record::Created(execution) => execution.key == *key,
        Record::Progressed { key: other, .. } | Record::Released { key: other, .. } => other == key,
        Record::Muted(_) | Record::MuteShortened(_) | Record::Unmuted { .. } => false,
    })
}

/// What all hooks have in common.
static PLAIN: LazyLock<Hook> = LazyLock::new(|| {
    let text = "name: simulated\ntrigger: { api: { call: any } }\ncommand: /bin/true\n";
    let origin = Origin {
        file: "simulated.yaml".into(),
        line: 1,
        file_sha256: [0; 32],
    };
    let defaults = Defaults {
        scripts_dir: "/bin".into(),
        onehem_scripts_dir: "/bin".into(),
        remote_scripts_dir: "/var/tmp/one/hooks".into(),
        catch_up: false,
    };
    parse_definition(text, &origin, &defaults).expect("a hook")
});

fn throttle(rng: &mut fastrand::Rng) -> Throttle {
    Throttle {
        max: rng.usize(1..4),
        per: Duration::from_millis(rng.u64(1..20_000)),
        key: [ThrottleKey::Subject, ThrottleKey::Hook][rng.usize(..2)],
        then: [ThrottleThen::Skip, ThrottleThen::Mute][rng.usize(..2)],
    }
}

fn loop_guard(rng: &mut fastrand::Rng) -> LoopGuard {
    LoopGuard {
        max: rng.usize(1..5),
        per: Duration::from_millis(rng.u64(1..20_000)),
        length: Duration::from_millis(rng.u64(1..20_000)),
    }
}

fn breaker(rng: &mut fastrand::Rng) -> Breaker {
    Breaker {
        failures: rng.usize(1..4),
        per: Duration::from_millis(rng.u64(1..20_000)),
        length: Duration::from_millis(rng.u64(1..20_000)),
    }
}

fn hook(number: usize, rng: &mut fastrand::Rng) -> Arc<Hook> {
    let order = [Order::Subject, Order::Subject, Order::Hook, Order::None][rng.usize(..4)];
    // Half of the hooks have no policy, the others several.
    let (has_policies, is_ordered) = (rng.bool(), order != Order::None);
    let mut some = |may: bool| has_policies && may && rng.u32(0..3) == 0;
    let (throttles, debounces, overlaps) = (some(true), some(is_ordered), some(is_ordered));
    let (guards, breaks) = (some(order == Order::Subject), some(true));
    Arc::new(Hook {
        name: HookName::new(&format!("hook-{number}")).expect("a name"),
        policy: Policy {
            retry: rng.bool().then(|| Retry {
                attempts: rng.u32(1..5),
                backoff_min: Duration::from_millis(rng.u64(0..2_000)),
                backoff_max: Duration::from_secs(60),
            }),
            order,
            throttle: throttles.then(|| throttle(rng)),
            debounce: debounces.then(|| Duration::from_millis(rng.u64(1..5_000))),
            overlap: if overlaps {
                [Overlap::Latest, Overlap::Drop, Overlap::Cancel][rng.usize(..3)]
            } else {
                Overlap::Queue
            },
            loop_guard: guards.then(|| loop_guard(rng)),
            breaker: breaks.then(|| breaker(rng)),
            max_parallel: rng.bool().then(|| rng.usize(1..4)),
            priority: if rng.u32(0..4) == 0 {
                Priority::High
            } else {
                Priority::Normal
            },
            start_within: (rng.u32(0..4) == 0).then(|| Duration::from_secs(rng.u64(1..30))),
            on_interrupt: if rng.bool() {
                OnInterrupt::Rerun
            } else {
                OnInterrupt::Fail
            },
            ..PLAIN.policy.clone()
        },
        version: Version([u8::try_from(number).expect("few hooks"); 32]),
        ..PLAIN.clone()
    })
}
