//! What waits while another front-end may lead, and what of it is still started afterwards. And what observing leaves behind.

use super::mutes::{HOUR, named};
use super::*;
use crate::hooks::{Throttle, ThrottleKey, ThrottleThen};

const MINUTE: u64 = 60;

fn within(seconds: u64) -> impl FnOnce(&mut Policy) {
    move |policy| policy.start_within = Some(Duration::from_secs(seconds))
}

fn debouncing(name: &str) -> Arc<Hook> {
    hook(name, |policy| policy.debounce = Some(Duration::from_secs(30)))
}

/// The daemon dies; the next one, at `seconds`, does not know yet whether it leads.
fn dies_and_returns(bench: &mut Bench, led: Timestamp, seconds: u64) {
    bench.core = core(bench.core.concurrency);
    bench.core.stand_by(led);
    let left = bench
        .kept
        .values()
        .filter(|(execution, _)| !execution.progress.state.is_settled())
        .cloned()
        .collect();
    let step = bench.core.recover(left, Vec::new(), after(seconds));
    bench.keep(step);
}

#[test]
fn on_standby_nothing_is_started_and_what_runs_goes_on_to_its_end() {
    let mut bench = Bench::new(1);
    let (a, b) = (hook("a", retries(2)), plain("b"));
    let running = bench.accept(&a, "vm/1");
    let waiting = bench.accept(&b, "vm/1");
    assert_eq!(bench.started(), ["1.a#1"]);
    bench.step(Input::StandBy, after(1));
    bench.end_at(&running, Verdict::Failure, after(2));
    bench.step(Input::Tick, after(60));
    assert_eq!(
        bench.started(),
        [""; 0],
        "neither what waits nor the retry that is due"
    );
    assert_eq!(
        (bench.end_of(&running), bench.end_of(&waiting)),
        ("queued".into(), "queued".into())
    );
    bench.step(Input::Lead, after(61));
    assert_eq!(bench.started(), ["2.b#1"]);
    bench.end_at(&waiting, Verdict::Success, after(62));
    assert_eq!(bench.started(), ["1.a#2"]);
}

#[test]
fn a_role_that_flaps_takes_nothing_away_however_long_it_waited_before() {
    let mut bench = Bench::new(1);
    let a = hook("a", retries(3));
    let first = bench.accept(&a, "vm/1");
    let second = bench.accept(&a, "vm/2");
    assert_eq!(bench.started(), ["1.a#1"]);
    // Both have waited for two hours on a front-end that led all the time.
    for seconds in [7_200, 7_210, 7_220] {
        bench.step(Input::StandBy, after(seconds));
        bench.step(Input::Lead, after(seconds + 5));
    }
    bench.end_at(&first, Verdict::Failure, after(7_300));
    assert_eq!(bench.started(), ["2.a#1"]);
    bench.step(Input::StandBy, after(7_301));
    bench.end_at(&second, Verdict::Success, after(7_302));
    bench.step(Input::Tick, after(7_400));
    bench.step(Input::Lead, after(7_301 + 14 * MINUTE));
    assert_eq!(bench.started(), ["1.a#2"], "its retry, too");
}

#[test]
fn what_waited_too_long_while_another_one_may_have_led_is_not_started() {
    let mut bench = Bench::new(1);
    let (tried, fresh, patient) = (
        hook("tried", retries(3)),
        plain("fresh"),
        hook("patient", within(7_200)),
    );
    let first = bench.accept(&tried, "vm/1");
    let second = bench.accept(&fresh, "vm/1");
    let third = bench.accept(&patient, "vm/1");
    bench.end_at(&first, Verdict::Failure, NOW);
    assert_eq!(bench.started(), ["1.tried#1", "2.fresh#1"]);
    bench.step(Input::StandBy, after(1));
    bench.end_at(&second, Verdict::Success, after(2));
    let fourth = bench.accept_at(&[&fresh], Some("vm/2"), after(3_000));
    bench.step(Input::Tick, after(3_600));
    bench.step(Input::Lead, after(3_600));
    assert_eq!(
        bench.end_of(&first),
        "cancelled: Expired",
        "it was tried, and its retry is stale"
    );
    assert_eq!(bench.end_of(&second), "succeeded");
    assert_eq!(
        bench.started(),
        ["3.patient#1"],
        "its hook says that it may wait for two hours"
    );
    bench.end_at(&third, Verdict::Success, after(3_601));
    assert_eq!(bench.started(), ["4.fresh#1"], "it came ten minutes ago");
    bench.end_at(&fourth, Verdict::Success, after(3_602));
    assert_eq!(bench.core.unsettled(), 0);
}

#[test]
fn what_a_dead_leader_left_is_stale_by_the_time_it_is_known_to_have_led() {
    for (away, ends) in [
        (10 * MINUTE, ["running", "running", "running", "running"]),
        (
            60 * MINUTE,
            [
                "cancelled: Expired",
                "cancelled: Expired",
                "skipped: expired",
                "skipped: expired",
            ],
        ),
    ] {
        let mut bench = Bench::new(4);
        let (a, b) = (hook("a", retries(3)), plain("b"));
        let cut_short = bench.accept(&b, "vm/1");
        let behind = bench.accept(&b, "vm/1");
        let retried = bench.accept(&a, "vm/2");
        let debounced = bench.accept(&debouncing("d"), "vm/3");
        bench.end_at(&retried, Verdict::Failure, NOW);
        let led = after(20 * MINUTE);
        let back = 20 * MINUTE + away;
        dies_and_returns(&mut bench, led, back);
        assert_eq!(
            bench.started().len(),
            2,
            "what was started before, and nothing now"
        );
        bench.step(Input::Lead, after(back + 2));
        assert_eq!(bench.end_of(&cut_short), ends[0]);
        assert_eq!(bench.end_of(&retried), ends[1]);
        assert_eq!(bench.end_of(&debounced), ends[3]);
        if bench.end_of(&cut_short) == "running" {
            bench.end_at(&cut_short, Verdict::Success, after(back + 3));
        }
        assert_eq!(bench.end_of(&behind), ends[2], "away for {away} s");
    }
}

#[test]
fn what_somebody_asked_for_long_ago_is_stale_as_well() {
    let mut bench = Bench::new(1);
    let a = plain("a");
    let first = bench.accept(&a, "vm/1");
    bench.end(&first, Verdict::Failure);
    bench.accept(&a, "vm/2");
    bench.reopen(&first);
    bench.step(Input::StandBy, after(1));
    bench.step(Input::Lead, after(3_600));
    assert_eq!(bench.end_of(&first), "cancelled: Expired");
}

#[test]
fn a_clock_that_is_set_back_on_standby_makes_nothing_younger_than_it_is() {
    let mut bench = Bench::new(1);
    let a = plain("a");
    bench.accept(&a, "vm/1");
    let waiting = bench.accept(&a, "vm/2");
    bench.step(Input::StandBy, after(3_600));
    bench.step(Input::ClockJumped, NOW);
    bench.step(Input::Lead, after(16 * MINUTE));
    assert_eq!(bench.end_of(&waiting), "skipped: expired");
}

#[test]
fn observing_records_what_would_run_and_starts_nothing() {
    let mut bench = Bench::new(4);
    bench.core.only_observe();
    let throttled = hook("t", |policy| {
        policy.throttle = Some(Throttle {
            max: 2,
            per: HOUR,
            key: ThrottleKey::Subject,
            then: ThrottleThen::Skip,
        });
    });
    let plain_ones: Vec<ExecutionKey> = (0..3).map(|_| bench.accept(&plain("a"), "vm/1")).collect();
    assert_eq!(
        bench.ends(&plain_ones),
        ["skipped: observed"; 3],
        "nothing waits for another one"
    );
    let throttled: Vec<ExecutionKey> = (0..3).map(|_| bench.accept(&throttled, "vm/1")).collect();
    assert_eq!(
        bench.ends(&throttled),
        ["skipped: observed", "skipped: observed", "skipped: throttled"]
    );
    let burst = debouncing("d");
    let burst: Vec<ExecutionKey> = [0, 20, 40, 80]
        .map(|seconds| bench.accept_later(&burst, "vm/1", seconds))
        .into();
    assert_eq!(
        bench.ends(&burst),
        [
            "skipped: observed",
            "skipped: superseded",
            "skipped: superseded",
            "skipped: observed"
        ]
    );
    bench.mute(Scope::Hook(named("a")));
    let muted = bench.accept(&plain("a"), "vm/9");
    assert_eq!(bench.end_of(&muted), "skipped: muted");
    bench.cause = Cause::RetryMessage(Seq(99));
    let asked_for = bench.accept(&plain("a"), "vm/9");
    assert_eq!(
        bench.end_of(&asked_for),
        "skipped: observed",
        "a RETRY message passes mutes"
    );
    assert_eq!(bench.started(), [""; 0]);
    assert_eq!(bench.core.unsettled(), 0);
}

#[test]
fn a_life_that_runs_starts_nothing_of_what_was_observed_and_counts_none_of_it() {
    let mut bench = Bench::new(4);
    bench.core.only_observe();
    let once = hook("a", |policy| {
        policy.throttle = Some(Throttle {
            max: 1,
            per: HOUR,
            key: ThrottleKey::Subject,
            then: ThrottleThen::Skip,
        });
    });
    let observed = bench.accept(&once, "vm/1");
    bench.crash_at(after(1));
    assert_eq!(bench.end_of(&observed), "skipped: observed");
    assert_eq!(bench.started(), [""; 0]);
    let run = bench.accept_later(&once, "vm/1", 2);
    assert_eq!(bench.end_of(&run), "running");
}

#[test]
fn what_waited_before_waits_while_another_life_observes() {
    let mut bench = Bench::new(1);
    let a = plain("a");
    bench.accept(&a, "vm/1");
    let waiting = bench.accept(&a, "vm/2");
    assert_eq!(bench.started(), ["1.a#1"]);
    bench.core = core(1);
    bench.core.only_observe();
    let left = bench.kept.values().cloned().collect();
    let step = bench.core.recover(left, Vec::new(), after(10));
    bench.keep(step);
    assert_eq!(bench.started(), [""; 0]);
    assert_eq!(bench.end_of(&waiting), "queued");
}
