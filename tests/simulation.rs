//! The scheduler under every history that a seed can make up: the real core, a store that loses what was not synced,
//! scripts that take their time, a clock that jumps, and a daemon that dies at any step. A checker then holds the
//! history against the promises. A failing seed is printed; `HEM_SIMULATION_SEED=n` runs it alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use hem::engine::core::{Core, Effect, Input, NewExecution, Record, Step, Verdict};
use hem::engine::execution::{Actor, CancelReason, Cause, Execution, Settlement, State};
use hem::event::Subject;
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::time::Timestamp;
use hem::hooks::{
    Defaults, Hook, OnInterrupt, Order, Origin, Policy, Priority, Retry, Version, parse_definition,
};

const SEEDS: u64 = 10_000;

#[test]
fn ten_thousand_histories_keep_the_promises() {
    if let Ok(seed) = std::env::var("HEM_SIMULATION_SEED") {
        History::of(seed.parse().expect("HEM_SIMULATION_SEED is a number")).check();
        return;
    }
    let workers = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    (worker..SEEDS)
                        .step_by(workers as usize)
                        .find(|&seed| std::panic::catch_unwind(|| History::of(seed).check()).is_err())
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|thread| thread.join().expect("a worker"))
            .collect()
    });
    assert!(
        failed.is_empty(),
        "run one alone with HEM_SIMULATION_SEED={failed:?}"
    );
}

/// One start of a script, as the script itself would tell it.
#[derive(Debug)]
struct Run {
    key: ExecutionKey,
    attempt: u32,
    lane: Option<(HookName, Option<Subject>)>,
    hook: Arc<Hook>,
    cause: Cause,
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
                Record::Muted(_) | Record::MuteShortened(_) | Record::Unmuted { .. } => {}
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
            rng,
        };
        for _ in 0..history.rng.usize(20..120) {
            history.anything();
        }
        history.until_quiet();
        history
    }

    fn anything(&mut self) {
        self.step += 1;
        match self.rng.u32(0..100) {
            0..30 => self.accept(),
            30..55 => self.commit(),
            55..78 => self.end_one(),
            78..86 => self.wait(),
            86..90 => self.cancel_one(),
            90..93 => self.reopen_one(),
            93..94 => self.withdraw_one(),
            94..96 => self.jump(),
            _ => self.crash(),
        }
        self.check_limits();
    }

    fn feed(&mut self, input: Input, acknowledges: Option<Seq>) {
        if let Ok(step) = self.core.step(input, self.now) {
            self.uncommitted.push_back((step, acknowledges));
        }
    }

    fn accept(&mut self) {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        let subject = (self.rng.u32(0..8) > 0).then(|| Subject::new(&format!("vm/{}", self.rng.u32(0..3))));
        let matches: Vec<NewExecution> = self
            .hooks
            .clone()
            .into_iter()
            .filter(|_| self.rng.bool())
            .map(|hook| NewExecution {
                hook,
                why: String::new(),
                cause: Cause::Event,
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
                source: "one".into(),
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
                let subject = self.disk.executions[&key].subject.clone();
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

    /// The daemon dies: what is not committed is gone, and its scripts with it.
    fn crash(&mut self) {
        self.uncommitted.clear();
        self.offered.clear();
        for at in self.running() {
            self.runs[at].to = Some(self.step);
            self.runs[at].interrupted = true;
        }
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
        let step = self.core.recover(left, Vec::new(), self.now);
        self.uncommitted.push_back((step, None));
    }

    fn until_quiet(&mut self) {
        for _ in 0..10_000 {
            self.step += 1;
            while !self.uncommitted.is_empty() {
                self.commit();
            }
            let running = self.running();
            if let Some(&at) = running.first() {
                self.end(at, Verdict::Success);
            } else if let Some(due) = self.core.next_due() {
                self.now = self.now.max(due);
                self.feed(Input::Tick, None);
            } else {
                assert_eq!(self.core.unsettled(), 0, "executions wait for nothing");
                return;
            }
            self.check_limits();
        }
        panic!("the engine never comes to rest");
    }

    fn check_limits(&self) {
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

    fn check(&self) {
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
    };
    parse_definition(text, &origin, &defaults).expect("a hook")
});

fn hook(number: usize, rng: &mut fastrand::Rng) -> Arc<Hook> {
    Arc::new(Hook {
        name: HookName::new(&format!("hook-{number}")).expect("a name"),
        policy: Policy {
            retry: rng.bool().then(|| Retry {
                attempts: rng.u32(1..5),
                backoff_min: Duration::from_millis(rng.u64(0..2_000)),
                backoff_max: Duration::from_secs(60),
            }),
            order: [Order::Subject, Order::Subject, Order::Hook, Order::None][rng.usize(..4)],
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
