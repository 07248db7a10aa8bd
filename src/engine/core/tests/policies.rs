//! Policies one by one, and what they are to each other.

use super::mutes::{HOUR, lane, named, of_hook};
use super::*;
use crate::hooks::{Breaker, LoopGuard, Overlap, Throttle, ThrottleKey, ThrottleThen};

pub(super) fn throttled(max: usize, then: ThrottleThen) -> Arc<Hook> {
    hook("a", |policy| {
        policy.throttle = Some(Throttle {
            max,
            per: Duration::from_secs(60),
            key: ThrottleKey::Subject,
            then,
        });
    })
}

pub(super) fn overlapping(overlap: Overlap) -> Arc<Hook> {
    hook("a", |policy| policy.overlap = overlap)
}

pub(super) fn debounced() -> Arc<Hook> {
    hook("a", |policy| policy.debounce = Some(Duration::from_secs(30)))
}

#[test]
fn a_throttle_skips_what_is_beyond_it_until_its_window_is_free() {
    let a = throttled(2, ThrottleThen::Skip);
    let mut bench = Bench::new(9);
    let keys = [
        bench.accept_later(&a, "vm/1", 0),
        bench.accept_later(&a, "vm/1", 30),
        bench.accept_later(&a, "vm/1", 59),
        bench.accept_later(&a, "vm/2", 59),
        bench.accept_later(&a, "vm/1", 60),
        bench.accept_later(&a, "vm/1", 89),
        bench.accept_later(&a, "vm/1", 90),
    ];
    assert_eq!(
        bench.ends(&keys),
        [
            "running",
            "queued",
            "skipped: throttled",
            "running",
            "queued",
            "skipped: throttled",
            "queued",
        ],
        "what was skipped does not count"
    );
}

#[test]
fn a_throttle_counts_subjects_or_the_whole_hook() {
    let whole = hook("a", |policy| {
        policy.throttle = Some(Throttle {
            max: 2,
            per: HOUR,
            key: ThrottleKey::Hook,
            then: ThrottleThen::Skip,
        });
    });
    let mut bench = Bench::new(9);
    let keys = [
        bench.accept(&whole, "vm/1"),
        bench.accept(&whole, "vm/2"),
        bench.accept(&whole, "vm/3"),
        bench.accept(&plain("b"), "vm/3"),
    ];
    assert_eq!(
        bench.ends(&keys),
        ["running", "running", "skipped: throttled", "running"]
    );
}

#[test]
fn a_throttles_window_survives_a_crash_and_a_clock_that_is_set_back() {
    let a = throttled(2, ThrottleThen::Skip);
    let mut bench = Bench::new(9);
    for seconds in [0, 10, 20] {
        let key = bench.accept_later(&a, "vm/1", seconds);
        if seconds < 20 {
            bench.end_at(&key, Verdict::Success, after(seconds));
        }
    }
    bench.crash_at(after(30));
    let beyond = bench.accept_later(&a, "vm/1", 59);
    let free = bench.accept_later(&a, "vm/1", 60);
    assert_eq!(bench.ends(&[beyond, free]), ["skipped: throttled", "running"]);

    let yesterday = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
    for restarts in [false, true] {
        let mut bench = Bench::new(9);
        bench.accept(&a, "vm/1");
        bench.accept(&a, "vm/1");
        if restarts {
            bench.crash_at(yesterday);
        } else {
            bench.step(Input::ClockJumped, yesterday);
        }
        let beyond = bench.accept_at(&[&a], Some("vm/1"), yesterday.plus(Duration::from_secs(59)));
        let free = bench.accept_at(&[&a], Some("vm/1"), yesterday.plus(Duration::from_secs(60)));
        assert_eq!(bench.ends(&[beyond, free]), ["skipped: throttled", "queued"]);
    }
}

#[test]
fn a_throttle_that_mutes_delays_what_is_beyond_it() {
    let a = throttled(2, ThrottleThen::Mute);
    let mut bench = Bench::new(9);
    let first = bench.accept(&a, "vm/1");
    let second = bench.accept(&a, "vm/1");
    bench.end(&first, Verdict::Success);
    bench.end(&second, Verdict::Success);
    let beyond = bench.accept_later(&a, "vm/1", 10);
    let more = bench.accept_later(&a, "vm/1", 20);
    let other = bench.accept_later(&a, "vm/2", 20);
    assert_eq!(
        bench.ends(&[beyond.clone(), more, other]),
        ["queued", "queued", "running"]
    );
    let mute = &bench.mutes[&lane("a", "vm/1")];
    assert_eq!(mute.by, MutedBy::Throttle);
    assert_eq!(mute.reason.as_deref(), Some("more than 2 executions within 60s"));
    bench.crash_at(after(30));
    bench.started();
    bench.step(Input::Tick, after(69));
    assert_eq!(bench.started(), [""; 0]);
    bench.step(Input::Tick, after(70));
    assert_eq!(bench.started(), ["3.a#1"]);
    assert_eq!(bench.end_of(&beyond), "running");
}

#[test]
fn a_newer_one_takes_the_place_of_one_that_is_debounced_and_waits_anew() {
    let a = debounced();
    let mut bench = Bench::new(9);
    let first = bench.accept_later(&a, "vm/1", 0);
    let other = bench.accept_later(&a, "vm/2", 5);
    let second = bench.accept_later(&a, "vm/1", 20);
    assert_eq!(
        bench.ends(&[first, other.clone(), second.clone()]),
        ["skipped: superseded", "debouncing", "debouncing"]
    );
    bench.step(Input::Tick, after(34));
    assert_eq!(bench.started(), [""; 0]);
    bench.step(Input::Tick, after(35));
    assert_eq!(bench.started(), ["2.a#1"]);
    bench.crash_at(after(40));
    assert_eq!(bench.started(), ["2.a#2"]);
    assert_eq!(bench.core.next_due(), Some(after(50)));
    bench.step(Input::Tick, after(50));
    assert_eq!(bench.started(), ["3.a#1"]);
    let third = bench.accept_later(&a, "vm/1", 51);
    bench.step(Input::Tick, after(81));
    assert_eq!(
        bench.end_of(&third),
        "queued",
        "it waited, and the one before it still runs"
    );
    bench.end_at(&second, Verdict::Success, after(82));
    assert_eq!(bench.end_of(&third), "running");
    assert_eq!(bench.end_of(&other), "running");
}

#[test]
fn a_debounce_waits_no_longer_than_its_delay_when_the_clock_is_set_back() {
    let yesterday = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
    for restarts in [false, true] {
        let mut bench = Bench::new(9);
        let waits = bench.accept(&debounced(), "vm/1");
        if restarts {
            bench.crash_at(yesterday);
        } else {
            bench.step(Input::ClockJumped, yesterday);
        }
        assert_eq!(
            bench.core.next_due(),
            Some(yesterday.plus(Duration::from_secs(30)))
        );
        bench.step(Input::Tick, yesterday.plus(Duration::from_secs(30)));
        assert_eq!(bench.end_of(&waits), "running");
    }
}

#[test]
fn what_is_debounced_can_be_cancelled_withdrawn_and_expires() {
    let a = hook("a", |policy| {
        policy.debounce = Some(Duration::from_secs(30));
        policy.start_within = Some(Duration::from_secs(60));
    });
    let mut bench = Bench::new(9);
    let cancelled = bench.accept(&a, "vm/1");
    bench.cancel(&cancelled);
    let withdrawn = bench.accept(&a, "vm/1");
    let (hook, reason) = (named("a"), CancelReason::HookDisabled);
    bench.step(Input::Withdraw { hook, reason }, NOW);
    let running = bench.accept(&a, "vm/1");
    bench.step(Input::Tick, after(30));
    let expires = bench.accept_later(&a, "vm/1", 31);
    bench.step(Input::Tick, after(61));
    bench.step(Input::Tick, after(91));
    assert_eq!(
        bench.ends(&[cancelled, withdrawn, running, expires]),
        [
            "cancelled: User { uid: 7 }",
            "cancelled: HookDisabled",
            "running",
            "skipped: expired"
        ]
    );
    assert_eq!(bench.core.next_due(), None);
}

#[test]
fn overlap_says_what_becomes_of_those_that_would_wait() {
    // What the four of a lane come to, the first of them running.
    let cases = [
        (Overlap::Queue, ["running", "queued", "queued", "queued"]),
        (
            Overlap::Latest,
            ["running", "skipped: superseded", "skipped: superseded", "queued"],
        ),
        (
            Overlap::Drop,
            [
                "running",
                "skipped: overlap",
                "skipped: overlap",
                "skipped: overlap",
            ],
        ),
        (
            Overlap::Cancel,
            ["running", "skipped: superseded", "skipped: superseded", "queued"],
        ),
    ];
    for (overlap, ends) in cases {
        let a = overlapping(overlap);
        let mut bench = Bench::new(9);
        let keys: Vec<ExecutionKey> = (0..4).map(|_| bench.accept(&a, "vm/1")).collect();
        let other = bench.accept(&a, "vm/2");
        assert_eq!(bench.ends(&keys), ends, "{overlap:?}");
        assert_eq!(bench.end_of(&other), "running", "{overlap:?}: another subject");
        let started = bench.started();
        if overlap == Overlap::Cancel {
            assert_eq!(started, ["1.a#1", "end 1.a#1", "5.a#1"], "it is told once");
            bench.end(&keys[0], Verdict::Stopped);
            assert_eq!(bench.end_of(&keys[0]), "cancelled: Superseded");
        } else {
            assert_eq!(started, ["1.a#1", "5.a#1"], "{overlap:?}");
            bench.end(&keys[0], Verdict::Success);
        }
        let next = bench.started();
        match overlap {
            Overlap::Queue => assert_eq!(next, ["2.a#1"]),
            Overlap::Latest | Overlap::Cancel => assert_eq!(next, ["4.a#1"]),
            Overlap::Drop => {
                assert_eq!(next, [""; 0]);
                let later = bench.accept(&a, "vm/1");
                assert_eq!(bench.end_of(&later), "running", "nothing is under way any more");
            }
        }
    }
}

#[test]
fn overlap_ends_a_retry_that_waits_and_spares_what_somebody_asked_for() {
    let a = hook("a", |policy| {
        policy.overlap = Overlap::Cancel;
        retries(3)(policy);
    });
    let mut bench = Bench::new(9);
    let retrying = bench.accept(&a, "vm/1");
    bench.end(&retrying, Verdict::Failure);
    let newer = bench.accept(&a, "vm/1");
    assert_eq!(
        bench.ends(&[retrying.clone(), newer.clone()]),
        ["cancelled: Superseded", "running"]
    );
    bench.end(&newer, Verdict::Success);
    bench.reopen(&retrying);
    bench.started();
    let newest = bench.accept(&a, "vm/1");
    assert_eq!(bench.started(), [""; 0]);
    assert_eq!(
        bench.ends(&[retrying.clone(), newest.clone()]),
        ["running", "queued"]
    );
    bench.reopen(&newer);
    bench.accept(&a, "vm/1");
    assert_eq!(bench.end_of(&newest), "skipped: superseded");
    bench.end(&retrying, Verdict::Success);
    assert_eq!(bench.end_of(&newer), "running");
}

#[test]
fn an_order_to_end_that_stood_before_keeps_its_reason() {
    let a = overlapping(Overlap::Cancel);
    let mut bench = Bench::new(9);
    let running = bench.accept(&a, "vm/1");
    bench.cancel(&running);
    bench.accept(&a, "vm/1");
    bench.end(&running, Verdict::Stopped);
    assert_eq!(bench.end_of(&running), "cancelled: User { uid: 7 }");
}

#[test]
fn a_subject_that_triggers_itself_is_muted_for_a_while_and_loses_nothing() {
    let mut bench = Bench::new(9);
    let a = plain("a");
    let mut keys = Vec::new();
    for second in 0..60 {
        let key = bench.accept_later(&a, "vm/1", second / 2);
        bench.end_at(&key, Verdict::Success, after(second / 2));
        keys.push(key);
    }
    assert!(bench.mutes.is_empty());
    let beyond = bench.accept_later(&a, "vm/1", 40);
    let more = bench.accept_later(&a, "vm/1", 100);
    let other = bench.accept_later(&a, "vm/2", 100);
    assert_eq!(
        bench.ends(&[beyond, more, other]),
        ["queued", "queued", "running"]
    );
    let mute = &bench.mutes[&lane("a", "vm/1")];
    assert_eq!(mute.by, MutedBy::LoopGuard);
    assert_eq!(
        mute.reason.as_deref(),
        Some("more than 60 executions within 60s: it may trigger itself")
    );
    assert_eq!(
        mute.until,
        Some(Until::after(after(40), Duration::from_secs(600)))
    );
    bench.started();
    bench.step(Input::Tick, after(640));
    assert_eq!(bench.started(), ["61.a#1"]);
}

#[test]
fn the_loop_guard_goes_on_counting_after_a_crash_and_only_what_gets_through() {
    let guarded = |change: fn(&mut Policy)| {
        hook("a", |policy| {
            policy.loop_guard = Some(LoopGuard {
                max: 3,
                per: Duration::from_secs(60),
                length: HOUR,
            });
            change(policy);
        })
    };
    let mut bench = Bench::new(9);
    let a = guarded(|_| {});
    for second in [0, 10, 20] {
        bench.accept_later(&a, "vm/1", second);
    }
    bench.crash_at(after(30));
    bench.accept_later(&a, "vm/1", 59);
    assert!(bench.mutes.contains_key(&lane("a", "vm/1")));

    // Ten events that `debounce` makes one of are one.
    let mut bench = Bench::new(9);
    let a = guarded(|policy| policy.debounce = Some(Duration::from_secs(5)));
    for second in 0..10 {
        bench.accept_later(&a, "vm/1", second);
    }
    bench.crash_at(after(11));
    bench.step(Input::Tick, after(14));
    assert!(bench.mutes.is_empty());

    // What is held by somebody triggers nothing.
    let mut bench = Bench::new(9);
    bench.mute(Scope::All);
    let a = guarded(|_| {});
    for _ in 0..10 {
        bench.accept(&a, "vm/1");
    }
    assert_eq!(bench.mutes.keys().collect::<Vec<_>>(), [&Scope::All]);
}

#[test]
fn a_breaker_mutes_a_hook_that_fails() {
    let fragile = hook("a", |policy| {
        policy.breaker = Some(Breaker {
            failures: 3,
            per: Duration::from_secs(300),
            length: Duration::from_secs(120),
        });
    });
    let mut bench = Bench::new(9);
    let fail = |bench: &mut Bench, vm: u64, second: u64| {
        let key = bench.accept_later(&fragile, &format!("vm/{vm}"), second);
        bench.end_at(&key, Verdict::Failure, after(second));
    };
    fail(&mut bench, 1, 0);
    fail(&mut bench, 2, 10);
    bench.crash_at(after(20));
    fail(&mut bench, 3, 300);
    assert!(bench.mutes.is_empty(), "the first is out of its window");
    fail(&mut bench, 4, 309);
    let mute = &bench.mutes[&of_hook("a")];
    assert_eq!(mute.by, MutedBy::Breaker);
    assert_eq!(mute.reason.as_deref(), Some("3 executions failed within 300s"));
    let held = bench.accept_later(&fragile, "vm/5", 310);
    assert_eq!(bench.end_of(&held), "queued");
    bench.step(Input::Tick, after(429));
    assert_eq!(bench.end_of(&held), "running");
    bench.end_at(&held, Verdict::Failure, after(430));
    assert_eq!(
        bench.mutes.len(),
        1,
        "one more is enough while the others still count"
    );
}

#[test]
fn a_policy_does_not_shorten_an_operators_mute() {
    let fragile = hook("a", |policy| {
        policy.breaker = Some(Breaker {
            failures: 1,
            per: Duration::from_secs(300),
            length: Duration::from_secs(120),
        });
    });
    let mut bench = Bench::new(9);
    let running = bench.accept(&fragile, "vm/1");
    bench.mute(of_hook("a"));
    bench.end(&running, Verdict::Failure);
    assert_eq!(bench.mutes[&of_hook("a")].by, MutedBy::Operator(OPERATOR));
}

#[test]
fn the_first_policy_that_applies_decides() {
    let everything = hook("a", |policy| {
        policy.throttle = Some(Throttle {
            max: 2,
            per: Duration::from_secs(60),
            key: ThrottleKey::Subject,
            then: ThrottleThen::Skip,
        });
        policy.debounce = Some(Duration::from_secs(30));
        policy.overlap = Overlap::Drop;
    });
    // Mute before throttle: all are held, none is throttled, debounced or dropped.
    let mut bench = Bench::new(9);
    bench.mute(of_hook("a"));
    let keys: Vec<ExecutionKey> = (0..4).map(|_| bench.accept(&everything, "vm/1")).collect();
    assert_eq!(bench.ends(&keys), ["queued"; 4]);

    // Throttle before debounce: the third is throttled and takes nobody's place.
    let mut bench = Bench::new(9);
    let keys: Vec<ExecutionKey> = (0..3).map(|_| bench.accept(&everything, "vm/1")).collect();
    assert_eq!(
        bench.ends(&keys),
        ["skipped: superseded", "debouncing", "skipped: throttled"]
    );

    // Debounce before overlap: the one that waits is dropped when its time has come and another one runs, not before.
    bench.step(Input::Tick, after(30));
    assert_eq!(bench.end_of(&keys[1]), "running");
    let late = bench.accept_later(&everything, "vm/1", 61);
    assert_eq!(bench.end_of(&late), "debouncing");
    bench.step(Input::Tick, after(91));
    assert_eq!(bench.end_of(&late), "skipped: overlap");
}

#[test]
fn orders_of_operators_and_of_the_controller_pass_every_policy() {
    let everything = hook("a", |policy| {
        policy.throttle = Some(Throttle {
            max: 1,
            per: HOUR,
            key: ThrottleKey::Hook,
            then: ThrottleThen::Skip,
        });
        policy.debounce = Some(Duration::from_secs(30));
        policy.overlap = Overlap::Drop;
        policy.loop_guard = Some(LoopGuard {
            max: 1,
            per: HOUR,
            length: HOUR,
        });
    });
    let mut bench = Bench::new(9);
    bench.mute(of_hook("a"));
    for _ in 0..5 {
        bench.cause = Cause::RetryMessage(Seq(1));
        let key = bench.accept(&everything, "vm/1");
        assert_eq!(bench.end_of(&key), "running");
        bench.end(&key, Verdict::Success);
        bench.reopen(&key);
        assert_eq!(bench.end_of(&key), "running");
        bench.end(&key, Verdict::Success);
    }
    assert_eq!(bench.mutes.len(), 1);
}

#[test]
fn a_host_that_fails_does_not_wait_behind_thousands_of_machines() {
    let machines = plain("vm-unknown");
    let hosts = hook("host-error", |policy| policy.priority = Priority::High);
    let mut bench = Bench::new(10);
    for vm in 0..5_000 {
        bench.accept(&machines, &format!("vm/{vm}"));
    }
    for host in 0..20 {
        bench.accept(&hosts, &format!("host/{host}"));
    }
    // What started first ends first, and each end makes room for one.
    let mut order = Vec::new();
    while order
        .iter()
        .filter(|key: &&ExecutionKey| key.hook == hosts.name)
        .count()
        < 20
    {
        for started in bench.started() {
            let (id, _) = started.split_once('#').expect("a start");
            let key = bench.kept.keys().find(|key| key.to_string() == id);
            order.push(key.expect("a known execution").clone());
        }
        let running = order.iter().find(|key| bench.end_of(key) == "running").cloned();
        bench.end(&running.expect("something runs"), Verdict::Success);
    }
    let first = order.iter().position(|key| key.hook == hosts.name);
    assert_eq!(first, Some(5), "at once, behind what ran already");
    assert!(order.len() <= 5 + 2 * 20, "they take turns: {}", order.len());
}
