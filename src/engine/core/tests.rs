//! The scheduler's rules one by one. `tests/simulation.rs` holds all of them at once through histories made up from a seed.

mod mutes;
mod policies;
mod standby;

use std::collections::BTreeMap;

use super::*;
use crate::engine::mute::{MutedBy, Scope, Then, Until};
use crate::event::id::Seq;
use crate::hooks::{Order, Policy, Priority, Retry, declared};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const OPERATOR: Actor = Actor::User { uid: 7 };

fn after(seconds: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(seconds))
}

fn hook(name: &str, change: impl FnOnce(&mut Policy)) -> Arc<Hook> {
    let mut hook = declared(&format!(
        "name: {name}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n"
    ));
    change(&mut hook.policy);
    Arc::new(hook)
}

fn plain(name: &str) -> Arc<Hook> {
    hook(name, |_| {})
}

fn retries(attempts: u32) -> impl FnOnce(&mut Policy) {
    move |policy| {
        policy.retry = Some(Retry {
            attempts,
            backoff_min: Duration::from_secs(10),
            backoff_max: Duration::from_secs(60),
        });
    }
}

/// A core and the records it wrote, as the store would keep them.
struct Bench {
    core: Core,
    kept: BTreeMap<ExecutionKey, (Execution, Arc<Hook>)>,
    mutes: BTreeMap<Scope, Mute>,
    /// How many records were written.
    records: usize,
    /// What was started, in order, and not looked at yet.
    started: Vec<String>,
    next_seq: u64,
    /// The source of what is accepted from now on, and what causes it.
    source: &'static str,
    cause: Cause,
}

impl Bench {
    fn new(concurrency: usize) -> Self {
        Self {
            core: core(concurrency),
            kept: BTreeMap::new(),
            mutes: BTreeMap::new(),
            records: 0,
            started: Vec::new(),
            next_seq: 1,
            source: "one",
            cause: Cause::Event,
        }
    }

    fn keep(&mut self, step: Step) {
        self.records += step.records.len();
        for record in step.records {
            match record {
                Record::Created(execution) => {
                    let hook = plain(execution.key.hook.as_str());
                    self.kept.insert(execution.key.clone(), (*execution, hook));
                }
                Record::Progressed { key, left, progress } => {
                    let (execution, _) = self.kept.get_mut(&key).expect("a known execution");
                    assert_eq!(execution.progress.state.name(), left);
                    execution.progress = progress;
                }
                Record::Muted(mute) | Record::MuteShortened(mute) => {
                    self.mutes.insert(mute.scope.clone(), mute);
                }
                Record::Unmuted { scope, .. } => {
                    self.mutes.remove(&scope).expect("a mute that was kept");
                }
                Record::Released { .. } => {}
            }
        }
        for effect in step.effects {
            match effect {
                Effect::Start {
                    key, attempt, hook, ..
                } => {
                    if let Some((_, kept)) = self.kept.get_mut(&key) {
                        *kept = hook;
                    }
                    self.started.push(format!("{key}#{attempt}"));
                }
                Effect::End { key, attempt } => self.started.push(format!("end {key}#{attempt}")),
            }
        }
    }

    fn step(&mut self, input: Input, now: Timestamp) {
        let step = self.core.step(input, now).expect("no refusal");
        self.keep(step);
    }

    /// Accepts an event for hooks; gives the key of the first one's execution.
    fn accept_at(&mut self, hooks: &[&Arc<Hook>], subject: Option<&str>, now: Timestamp) -> ExecutionKey {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        let matches = hooks
            .iter()
            .map(|hook| NewExecution {
                hook: Arc::clone(hook),
                why: String::new(),
                cause: self.cause.clone(),
                retry_of: None,
                lane_subject: None,
            })
            .collect();
        let subject = subject.map(Subject::new);
        self.step(
            Input::Accept {
                seq,
                source: self.source.into(),
                subject,
                matches,
            },
            now,
        );
        for hook in hooks {
            if let Some((_, kept)) = self.kept.get_mut(&ExecutionKey::new(seq, hook.name.clone())) {
                *kept = Arc::clone(hook);
            }
        }
        ExecutionKey::new(seq, hooks[0].name.clone())
    }

    fn accept(&mut self, hook: &Arc<Hook>, subject: &str) -> ExecutionKey {
        self.accept_at(&[hook], Some(subject), NOW)
    }

    fn end_at(&mut self, key: &ExecutionKey, verdict: Verdict, now: Timestamp) {
        let attempt = self.kept[key].0.progress.attempts;
        self.step(
            Input::Ended {
                key: key.clone(),
                attempt,
                verdict,
            },
            now,
        );
    }

    fn end(&mut self, key: &ExecutionKey, verdict: Verdict) {
        self.end_at(key, verdict, NOW);
    }

    fn cancel(&mut self, key: &ExecutionKey) {
        self.step(
            Input::Cancel {
                key: key.clone(),
                actor: OPERATOR,
            },
            NOW,
        );
    }

    fn reopen(&mut self, key: &ExecutionKey) {
        let (execution, hook) = self.kept[key].clone();
        let cause = Cause::Operator {
            actor: OPERATOR,
            as_recorded: false,
        };
        self.step(
            Input::Reopen {
                execution: Box::new(execution),
                hook,
                cause,
            },
            NOW,
        );
    }

    /// The daemon dies and a new one takes over what was kept.
    fn crash_at(&mut self, now: Timestamp) {
        self.core = core(self.core.concurrency);
        let left = self
            .kept
            .values()
            .filter(|(execution, _)| !execution.progress.state.is_settled())
            .cloned()
            .collect();
        for (execution, hook) in self.kept.values() {
            self.core.remember(execution, hook, now);
        }
        let step = self
            .core
            .recover(left, self.mutes.values().cloned().collect(), now);
        self.keep(step);
    }

    fn state(&self, key: &ExecutionKey) -> &State {
        &self.kept[key].0.progress.state
    }

    /// `succeeded`, or with its reason: `skipped: expired`.
    fn end_of(&self, key: &ExecutionKey) -> String {
        match self.state(key) {
            State::Settled { settlement, .. } => match settlement {
                Settlement::Skipped(reason) => format!("skipped: {}", format!("{reason:?}").to_lowercase()),
                Settlement::Cancelled(CancelReason::Operator(actor)) => format!("cancelled: {actor:?}"),
                Settlement::Cancelled(reason) => format!("cancelled: {reason:?}"),
                Settlement::Succeeded | Settlement::Failed => settlement.name().to_owned(),
            },
            state => state.name().to_owned(),
        }
    }

    fn started(&mut self) -> Vec<String> {
        std::mem::take(&mut self.started)
    }

    fn due(&self, key: &ExecutionKey) -> Timestamp {
        match self.state(key) {
            State::Retrying { due, .. } => *due,
            state => panic!("{key} is {}", state.name()),
        }
    }
}

fn core(concurrency: usize) -> Core {
    Core::new(concurrency, fastrand::Rng::with_seed(1))
}

#[test]
fn what_can_start_at_once_is_accepted_as_running_in_one_record() {
    let mut core = core(4);
    let accept = |core: &mut Core, seq| {
        core.step(
            Input::Accept {
                seq: Seq(seq),
                source: "one".into(),
                subject: Some(Subject::new("vm/1")),
                matches: vec![NewExecution {
                    hook: plain("a"),
                    why: "because".to_owned(),
                    cause: Cause::Event,
                    retry_of: None,
                    lane_subject: None,
                }],
            },
            NOW,
        )
        .expect("accepted")
    };
    let first = accept(&mut core, 1);
    let [Record::Created(execution), Record::Released { attempt: 1, .. }] = first.records.as_slice() else {
        panic!("{:?}", first.records);
    };
    assert!(matches!(
        execution.progress.state,
        State::Running { attempt: 1, .. }
    ));
    assert!(matches!(
        first.effects.as_slice(),
        [Effect::Start { attempt: 1, .. }]
    ));

    let behind = accept(&mut core, 2);
    let [Record::Created(execution)] = behind.records.as_slice() else {
        panic!("{:?}", behind.records);
    };
    assert_eq!(execution.progress.state.name(), "queued");
    assert!(behind.effects.is_empty());
}

#[test]
fn what_becomes_of_an_attempt() {
    // The policy, how its attempts end one after the other, where the execution then stands.
    type Case = (&'static str, Arc<Hook>, &'static [Verdict], &'static str);
    use Verdict::{Exhausted, Failure, Hopeless, Interrupted, Stopped, Success};
    let cases: &[Case] = &[
        ("it succeeds", plain("a"), &[Success], "succeeded"),
        ("no retry was asked for", plain("a"), &[Failure], "failed"),
        ("one of three", hook("a", retries(3)), &[Failure], "retrying"),
        (
            "the third of three",
            hook("a", retries(3)),
            &[Failure, Failure, Failure],
            "failed",
        ),
        (
            "a retry succeeds",
            hook("a", retries(3)),
            &[Failure, Success],
            "succeeded",
        ),
        (
            "no attempt could start it",
            hook("a", retries(3)),
            &[Hopeless],
            "failed",
        ),
        (
            "short of processes",
            plain("a"),
            &[Exhausted, Exhausted, Exhausted],
            "retrying",
        ),
        (
            "that is outside the budget",
            hook("a", retries(2)),
            &[Exhausted, Failure],
            "retrying",
        ),
        (
            "and leaves the budget whole",
            hook("a", retries(2)),
            &[Exhausted, Failure, Exhausted, Failure],
            "failed",
        ),
        ("ended by the daemon", plain("a"), &[Stopped], "cancelled: Daemon"),
        ("cut short", plain("a"), &[Interrupted], "running"),
        (
            "cut short twice",
            plain("a"),
            &[Interrupted, Interrupted],
            "running",
        ),
        (
            "three in a row",
            plain("a"),
            &[Interrupted, Interrupted, Interrupted],
            "failed",
        ),
        (
            "not in a row",
            hook("a", retries(5)),
            &[Interrupted, Interrupted, Failure, Interrupted, Interrupted],
            "running",
        ),
        (
            "interruptions use no budget",
            hook("a", retries(2)),
            &[Interrupted, Failure],
            "retrying",
        ),
        (
            "on_interrupt: fail",
            hook("a", |policy| policy.on_interrupt = OnInterrupt::Fail),
            &[Interrupted],
            "failed",
        ),
    ];
    for (what, hook, verdicts, end) in cases {
        let mut bench = Bench::new(2);
        let key = bench.accept(hook, "vm/1");
        let mut now = NOW;
        for verdict in *verdicts {
            if let State::Retrying { due, .. } = bench.state(&key) {
                now = *due;
                bench.step(Input::Tick, now);
            }
            bench.end_at(&key, *verdict, now);
        }
        assert_eq!(bench.end_of(&key), *end, "{what}");
    }
}

#[test]
fn the_third_end_of_the_daemon_in_a_row_fails_and_a_first_one_runs_again_with_a_higher_number() {
    let mut bench = Bench::new(1);
    let key = bench.accept(&plain("a"), "vm/1");
    bench.crash_at(after(1));
    bench.crash_at(after(2));
    assert_eq!(bench.started(), ["1.a#1", "1.a#2", "1.a#3"]);
    bench.crash_at(after(3));
    assert_eq!(bench.started(), [""; 0]);
    assert_eq!(bench.end_of(&key), "failed");
}

#[test]
fn retries_wait_longer_each_time_up_to_the_longest_delay_and_keep_the_head_of_their_lane() {
    let mut bench = Bench::new(4);
    let key = bench.accept(&hook("a", retries(9)), "vm/1");
    let behind = bench.accept(&hook("a", retries(9)), "vm/1");
    let mut now = NOW;
    for full in [10, 20, 40, 60, 60, 60] {
        bench.end_at(&key, Verdict::Failure, now);
        let waits = bench.due(&key).since(now);
        let full = Duration::from_secs(full);
        assert!(waits <= full && waits >= full / 2, "{waits:?} of {full:?}");
        now = bench.due(&key);
        bench.step(Input::Tick, now);
    }
    assert_eq!(bench.end_of(&behind), "queued");
    bench.end_at(&key, Verdict::Success, now);
    assert_eq!(bench.end_of(&behind), "running");
}

#[test]
fn what_is_not_started_in_time_expires() {
    let within = hook("a", |policy| policy.start_within = Some(Duration::from_secs(60)));
    let mut bench = Bench::new(2);
    let first = bench.accept(&within, "vm/1");
    let behind = bench.accept(&within, "vm/1");
    let last = bench.accept_at(&[&within], Some("vm/1"), after(30));
    bench.step(Input::Tick, after(59));
    assert_eq!(bench.end_of(&behind), "queued");
    assert_eq!(bench.core.next_due(), Some(after(60)));
    bench.step(Input::Tick, after(60));
    assert_eq!(bench.end_of(&behind), "skipped: expired");
    assert_eq!(bench.end_of(&last), "queued", "it counts from its own acceptance");
    assert_eq!(
        bench.end_of(&first),
        "running",
        "what was started is not late any more"
    );
    bench.end_at(&first, Verdict::Success, after(61));
    assert_eq!(bench.end_of(&last), "running");
    bench.end_at(&last, Verdict::Interrupted, after(3_600));
    assert_eq!(bench.end_of(&last), "running", "nor when it is run again");
}

#[test]
fn what_waited_too_long_while_the_daemon_was_down_expires_and_never_starts() {
    let within = hook("a", |policy| policy.start_within = Some(Duration::from_secs(60)));
    let mut bench = Bench::new(1);
    let running = bench.accept(&plain("b"), "vm/1");
    let waiting = bench.accept(&within, "vm/1");
    bench.started();
    bench.crash_at(after(600));
    assert_eq!(bench.end_of(&waiting), "skipped: expired");
    assert_eq!(bench.started(), ["1.b#2"]);
    assert_eq!(bench.end_of(&running), "running");
}

#[test]
fn a_clock_that_is_set_back_makes_no_wait_longer_than_its_full_delay() {
    let mut bench = Bench::new(1);
    let retrying = bench.accept(&hook("a", retries(2)), "vm/1");
    bench.end(&retrying, Verdict::Failure);
    let delay = bench.due(&retrying).since(NOW);
    let running = bench.accept(&plain("b"), "vm/1");
    let within = hook("c", |policy| policy.start_within = Some(Duration::from_secs(60)));
    let waiting = bench.accept(&within, "vm/1");

    let yesterday = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
    bench.step(Input::ClockJumped, yesterday);
    assert_eq!(bench.due(&retrying), yesterday.plus(delay));
    bench.step(Input::Tick, yesterday.plus(Duration::from_secs(60)));
    assert_eq!(bench.end_of(&waiting), "skipped: expired");
    assert_eq!(
        bench.end_of(&retrying),
        "queued",
        "its delay is over; the slot is taken"
    );
    bench.end_at(&running, Verdict::Success, yesterday);
    assert_eq!(bench.end_of(&retrying), "running");
    assert_eq!(bench.core.next_due(), None);

    // The same when the daemon finds the clock set back at its start.
    let mut bench = Bench::new(1);
    let retrying = bench.accept(&hook("a", retries(2)), "vm/1");
    bench.end(&retrying, Verdict::Failure);
    let delay = bench.due(&retrying).since(NOW);
    bench.crash_at(yesterday);
    assert_eq!(bench.due(&retrying), yesterday.plus(delay));
}

#[test]
fn cancelling_ends_what_runs_and_settles_what_waits() {
    let retrying = hook("a", retries(3));
    let mut bench = Bench::new(2);
    let running = bench.accept(&retrying, "vm/1");
    let queued = bench.accept(&retrying, "vm/1");
    let behind = bench.accept(&retrying, "vm/1");
    bench.started();

    bench.cancel(&queued);
    assert_eq!(bench.end_of(&queued), "cancelled: User { uid: 7 }");
    bench.cancel(&running);
    assert_eq!(bench.started(), ["end 1.a#1"]);
    assert_eq!(bench.end_of(&running), "running", "until its process is gone");
    bench.end(&running, Verdict::Stopped);
    assert_eq!(bench.end_of(&running), "cancelled: User { uid: 7 }");
    assert_eq!(bench.started(), ["3.a#1"], "the lane goes on behind it");

    bench.end(&behind, Verdict::Failure);
    bench.cancel(&behind);
    assert_eq!(bench.end_of(&behind), "cancelled: User { uid: 7 }");
    assert_eq!(bench.core.next_due(), None, "its retry is off");
    let again = bench.core.step(
        Input::Cancel {
            key: behind.clone(),
            actor: OPERATOR,
        },
        NOW,
    );
    assert_eq!(again.expect_err("a refusal"), Refusal::NotActive(behind));
}

#[test]
fn a_cancelled_attempt_is_not_run_again_however_it_ends() {
    for (verdict, end) in [
        (Verdict::Success, "succeeded"),
        (Verdict::Hopeless, "failed"),
        (Verdict::Failure, "cancelled: User { uid: 7 }"),
        (Verdict::Exhausted, "cancelled: User { uid: 7 }"),
        (Verdict::Stopped, "cancelled: User { uid: 7 }"),
        (Verdict::Interrupted, "cancelled: User { uid: 7 }"),
    ] {
        let mut bench = Bench::new(1);
        let key = bench.accept(&hook("a", retries(5)), "vm/1");
        bench.cancel(&key);
        bench.end(&key, verdict);
        assert_eq!(bench.end_of(&key), end, "{verdict:?}");
    }
}

#[test]
fn more_slots_are_used_at_once_and_fewer_as_scripts_end() {
    // Half of the slots each, where a hook does not say otherwise.
    let (half, two) = (plain("a"), hook("b", |policy| policy.max_parallel = Some(2)));
    let mut bench = Bench::new(2);
    let keys: Vec<ExecutionKey> = (1..=8)
        .map(|number| {
            let hook = if number <= 5 { &half } else { &two };
            bench.accept(hook, &format!("vm/{number}"))
        })
        .collect();
    assert_eq!(bench.core.running(), 2);
    bench.started();
    bench.step(Input::Concurrency(6), NOW);
    assert_eq!(bench.core.running(), 5);
    assert_eq!(bench.started(), ["7.b#1", "2.a#1", "3.a#1"]);
    bench.step(Input::Concurrency(1), NOW);
    for key in [&keys[0], &keys[1], &keys[2], &keys[5]] {
        bench.end(key, Verdict::Success);
    }
    assert_eq!(bench.started(), [""; 0], "one still runs");
    bench.end(&keys[6], Verdict::Success);
    assert_eq!(bench.started().len(), 1);
}

#[test]
fn an_order_to_cancel_what_runs_outlives_a_crash() {
    let mut bench = Bench::new(1);
    let key = bench.accept(&hook("a", retries(5)), "vm/1");
    let behind = bench.accept(&hook("a", retries(5)), "vm/1");
    bench.cancel(&key);
    // A second one changes nothing of who asked first.
    bench.step(
        Input::Cancel {
            key: key.clone(),
            actor: Actor::Daemon,
        },
        NOW,
    );
    bench.started();
    bench.crash_at(NOW);
    assert_eq!(bench.end_of(&key), "cancelled: User { uid: 7 }");
    assert_eq!(bench.started(), ["2.a#1"], "the lane goes on behind it");
    bench.crash_at(NOW);
    assert_eq!(bench.end_of(&behind), "running", "nobody asked for its end");
}

#[test]
fn a_hook_that_is_withdrawn_loses_what_it_has_not_started() {
    let (gone, stays) = (hook("a", retries(2)), plain("b"));
    let mut bench = Bench::new(4);
    let running = bench.accept(&gone, "vm/1");
    let queued = bench.accept(&gone, "vm/1");
    let retrying = bench.accept(&gone, "vm/2");
    bench.end(&retrying, Verdict::Failure);
    let other = bench.accept(&stays, "vm/1");
    let waiting = bench.accept(&stays, "vm/1");
    bench.step(
        Input::Withdraw {
            hook: gone.name.clone(),
            reason: CancelReason::HookRemoved,
        },
        NOW,
    );
    assert_eq!(bench.end_of(&queued), "cancelled: HookRemoved");
    assert_eq!(bench.end_of(&running), "running");
    assert_eq!(bench.end_of(&retrying), "retrying");
    assert_eq!(bench.end_of(&other), "running");
    assert_eq!(bench.end_of(&waiting), "queued");
}

#[test]
fn withdrawing_a_lane_of_very_many_takes_no_time() {
    let began = std::time::Instant::now();
    let in_order = hook("a", |policy| policy.order = Order::Hook);
    let mut bench = Bench::new(4);
    for _ in 0..20_000 {
        bench.accept(&in_order, "vm/1");
    }
    bench.step(
        Input::Withdraw {
            hook: in_order.name.clone(),
            reason: CancelReason::HookDisabled,
        },
        NOW,
    );
    assert_eq!(bench.core.unsettled(), 1);
    assert!(
        began.elapsed() < Duration::from_secs(120),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn a_reopened_execution_goes_to_the_end_of_its_lane_and_has_a_new_budget() {
    let twice = hook("a", retries(2));
    let mut bench = Bench::new(4);
    let first = bench.accept(&twice, "vm/1");
    bench.end(&first, Verdict::Failure);
    bench.step(Input::Tick, bench.due(&first));
    bench.end(&first, Verdict::Failure);
    assert_eq!(bench.end_of(&first), "failed");
    let second = bench.accept(&twice, "vm/1");
    let third = bench.accept(&twice, "vm/1");
    bench.started();

    bench.reopen(&first);
    assert_eq!(bench.end_of(&first), "queued");
    bench.end(&second, Verdict::Success);
    bench.end(&third, Verdict::Success);
    assert_eq!(bench.started(), ["3.a#1", "1.a#3"]);
    bench.end(&first, Verdict::Failure);
    assert_eq!(bench.end_of(&first), "retrying", "it may fail once more");
    let (execution, hook) = bench.kept[&first].clone();
    let again = bench.core.step(
        Input::Reopen {
            execution: Box::new(execution),
            hook,
            cause: Cause::Recovery,
        },
        NOW,
    );
    assert_eq!(
        again.expect_err("a refusal"),
        Refusal::NotSettled(first, "retrying")
    );
}

#[test]
fn free_slots_go_round_the_hooks_and_within_a_hook_to_its_oldest() {
    let hooks = ["a", "b", "c"].map(|name| {
        hook(name, |policy| {
            policy.order = Order::None;
            policy.max_parallel = Some(1);
        })
    });
    let blocker = plain("z");
    let mut bench = Bench::new(1);
    let blocks = bench.accept(&blocker, "vm/1");
    for _ in 0..4 {
        bench.accept(&hooks[0], "vm/1");
    }
    bench.accept(&hooks[1], "vm/1");
    bench.accept(&hooks[1], "vm/1");
    bench.accept(&hooks[2], "vm/1");
    bench.started();
    let mut order = Vec::new();
    bench.end(&blocks, Verdict::Success);
    while let Some(started) = bench.started().pop() {
        let key = bench
            .kept
            .keys()
            .find(|key| format!("{key}#1") == started)
            .cloned()
            .expect("a known execution");
        order.push(key.to_string());
        bench.end(&key, Verdict::Success);
    }
    assert_eq!(order, ["2.a", "6.b", "8.c", "3.a", "7.b", "4.a", "5.a"]);
}

#[test]
fn no_hook_runs_more_at_once_than_it_may() {
    let (two, default) = (hook("a", |policy| policy.max_parallel = Some(2)), plain("b"));
    let mut bench = Bench::new(6);
    let keys: Vec<ExecutionKey> = (0..5).map(|vm| bench.accept(&two, &format!("vm/{vm}"))).collect();
    assert_eq!(bench.core.running(), 2);
    for vm in 0..5 {
        bench.accept(&default, &format!("vm/{vm}"));
    }
    assert_eq!(bench.core.running(), 5, "half of six, unless it says otherwise");
    bench.end(&keys[0], Verdict::Success);
    assert_eq!(bench.core.running(), 5);

    // A new version's limit holds, whatever older versions that still wait would allow.
    let one = hook("a", |policy| policy.max_parallel = Some(1));
    bench.accept(&one, "vm/9");
    bench.end(&keys[1], Verdict::Success);
    assert_eq!(bench.core.running(), 4);
}

#[test]
fn high_priority_has_a_slot_of_its_own_and_takes_its_turn_for_the_others() {
    let free = |policy: &mut Policy| {
        policy.order = Order::None;
        policy.max_parallel = Some(9);
    };
    let normal = hook("normal", free);
    let high = hook("high", |policy| {
        free(policy);
        policy.priority = Priority::High;
    });
    let mut bench = Bench::new(1);
    let first = bench.accept(&normal, "vm/1");
    bench.accept(&normal, "vm/1");
    assert_eq!(bench.core.running(), 1, "the reserved slot is not for everybody");
    let reserved = bench.accept(&high, "vm/1");
    assert_eq!(bench.core.running(), 2);
    let waits = bench.accept(&high, "vm/1");
    assert_eq!(bench.end_of(&waits), "queued", "there is one, not two");
    bench.started();

    bench.end(&first, Verdict::Success);
    assert_eq!(bench.started(), ["2.normal#1"], "whose turn it was");
    bench.end(&reserved, Verdict::Success);
    assert_eq!(bench.started(), ["4.high#1"]);
}

#[test]
fn an_order_is_kept_as_far_as_it_was_asked_for() {
    let with = |order| {
        hook("a", move |policy| {
            policy.order = order;
            policy.max_parallel = Some(9);
        })
    };
    // The order, the subjects of events, how many of them run at once.
    for (order, subjects, at_once) in [
        (Order::Subject, [Some("vm/1"), Some("vm/1"), Some("vm/2")], 2),
        (Order::Subject, [None, None, Some("vm/2")], 3),
        (Order::Hook, [Some("vm/1"), Some("vm/2"), None], 1),
        (Order::None, [Some("vm/1"), Some("vm/1"), Some("vm/1")], 3),
    ] {
        let mut bench = Bench::new(9);
        for subject in subjects {
            bench.accept_at(&[&with(order)], subject, NOW);
        }
        assert_eq!(bench.core.running(), at_once, "{order:?} {subjects:?}");
    }
}

#[test]
fn one_event_has_one_execution_of_a_hook() {
    let mut bench = Bench::new(9);
    let twice = plain("a");
    bench.accept_at(&[&twice, &twice], Some("vm/1"), NOW);
    assert_eq!(bench.core.unsettled(), 1);
    assert_eq!(bench.started(), ["1.a#1"]);
}

#[test]
fn an_execution_is_blocked_when_it_has_waited_long_itself() {
    let limit = Duration::from_secs(600);
    let mut bench = Bench::new(9);
    let head = bench.accept(&plain("a"), "vm/1");
    let waits = bench.accept_at(&[&plain("a")], Some("vm/1"), after(500));
    bench.accept(&plain("a"), "vm/2");
    assert_eq!(
        bench.core.blocked(limit, after(700)),
        [],
        "it waits for 200 seconds"
    );
    let blocked = bench.core.blocked(limit, after(1_100));
    assert_eq!(
        blocked,
        [Waiting {
            waiting: waits,
            subject: Some(Subject::new("vm/1")),
            behind: head,
            since: NOW,
        }]
    );
}

#[test]
fn nothing_is_started_after_a_stop_and_what_is_accepted_still_waits() {
    let mut bench = Bench::new(9);
    let running = bench.accept(&plain("a"), "vm/1");
    bench.started();
    bench.step(Input::Stop, NOW);
    let later = bench.accept(&plain("b"), "vm/1");
    bench.end(&running, Verdict::Interrupted);
    assert_eq!(bench.started(), [""; 0]);
    bench.crash_at(after(1));
    assert_eq!(bench.started(), ["1.a#2", "2.b#1"]);
    assert_eq!(bench.end_of(&later), "running");
}
