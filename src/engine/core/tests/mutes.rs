//! What mutes hold, and what becomes of it.

use super::policies::{debounced, overlapping};
use super::*;
use crate::hooks::Overlap;

pub(super) const HOUR: Duration = Duration::from_secs(3_600);

pub(super) fn named(name: &str) -> HookName {
    HookName::trusted(name)
}

pub(super) fn of_hook(name: &str) -> Scope {
    Scope::Hook(named(name))
}

pub(super) fn lane(name: &str, subject: &str) -> Scope {
    Scope::Lane(named(name), Subject::new(subject))
}

pub(super) fn operators(scope: Scope, length: Option<Duration>, now: Timestamp) -> Mute {
    Mute {
        scope,
        since: now,
        until: length.map(|length| Until::after(now, length)),
        by: MutedBy::Operator(OPERATOR),
        reason: None,
    }
}

impl Bench {
    pub(super) fn mute(&mut self, scope: Scope) {
        self.step(Input::Mute(operators(scope, None, NOW)), NOW);
    }

    pub(super) fn unmute_at(&mut self, scope: Scope, then: Then, now: Timestamp) {
        let actor = OPERATOR;
        self.step(Input::Unmute { scope, then, actor }, now);
    }

    pub(super) fn unmute(&mut self, scope: Scope, then: Then) {
        self.unmute_at(scope, then, NOW);
    }

    pub(super) fn accept_later(&mut self, hook: &Arc<Hook>, subject: &str, seconds: u64) -> ExecutionKey {
        self.accept_at(&[hook], Some(subject), after(seconds))
    }

    pub(super) fn ends(&self, keys: &[ExecutionKey]) -> Vec<String> {
        keys.iter().map(|key| self.end_of(key)).collect()
    }

    pub(super) fn held(&self) -> u64 {
        self.core.survey().groups.values().map(|group| group.held).sum()
    }
}

#[test]
fn a_mute_is_one_record_whatever_it_holds_and_what_runs_goes_on() {
    let a = hook("a", retries(2));
    let mut bench = Bench::new(4);
    let running = bench.accept(&a, "vm/0");
    let retrying = bench.accept(&a, "vm/1");
    bench.end(&retrying, Verdict::Failure);
    for vm in 0..500 {
        bench.accept(&a, &format!("vm/{vm}"));
    }
    let busy: Vec<ExecutionKey> = bench
        .kept
        .iter()
        .filter(|(_, (execution, _))| execution.progress.state.name() == "running")
        .map(|(key, _)| key.clone())
        .collect();
    bench.started();
    let before = bench.records;
    bench.mute(Scope::All);
    assert_eq!(bench.records, before + 1);
    for key in busy {
        bench.end(&key, Verdict::Success);
    }
    assert_eq!(bench.end_of(&running), "succeeded");
    bench.step(Input::Tick, bench.due(&retrying));
    assert_eq!(
        bench.end_of(&retrying),
        "queued",
        "its retry is due and waits too"
    );
    bench.accept(&a, "vm/9999");
    assert_eq!(bench.started(), [""; 0]);
    assert_eq!(bench.core.running(), 0);
    assert_eq!(bench.held(), bench.core.unsettled() as u64);
    bench.unmute(Scope::All, Then::Run);
    assert_eq!(
        bench.started(),
        ["2.a#2", "3.a#1"],
        "in the order of their turns, as far as there are slots"
    );
}

#[test]
fn muting_very_many_is_one_record() {
    let free = hook("a", |policy| policy.loop_guard = None);
    let mut bench = Bench::new(4);
    for vm in 0..20_000 {
        bench.accept(&free, &format!("vm/{vm}"));
    }
    let before = bench.records;
    bench.mute(Scope::All);
    assert_eq!(bench.records, before + 1);
    let survey = bench.core.survey();
    assert_eq!(survey.held[&Scope::All], 20_000 - 2);
}

#[test]
fn a_mute_covers_what_its_scope_says() {
    // The scope, and whether it covers hook a of source one about vm/1, hook a about vm/2, hook b about vm/1, hook a of source two.
    let cases = [
        (Scope::All, [true, true, true, true]),
        (of_hook("a"), [true, true, false, true]),
        (lane("a", "vm/1"), [true, false, false, true]),
        (Scope::Source("one".into()), [true, true, true, false]),
    ];
    for (scope, covers) in cases {
        let mut bench = Bench::new(9);
        bench.mute(scope.clone());
        let (a, b) = (plain("a"), plain("b"));
        let keys = [
            bench.accept(&a, "vm/1"),
            bench.accept(&a, "vm/2"),
            bench.accept(&b, "vm/1"),
        ];
        bench.source = "two";
        let other = bench.accept(&plain("a"), "vm/3");
        let subject_of_other_source = matches!(scope, Scope::Lane(..));
        for (key, held) in keys.iter().zip(covers) {
            let expected = if held { "queued" } else { "running" };
            assert_eq!(bench.end_of(key), expected, "{scope}: {key}");
        }
        let expected = if covers[3] && !subject_of_other_source {
            "queued"
        } else {
            "running"
        };
        assert_eq!(bench.end_of(&other), expected, "{scope}");
    }
}

#[test]
fn order_is_kept_where_a_mute_holds_only_the_head_of_a_lane() {
    let mut bench = Bench::new(9);
    bench.mute(Scope::Source("one".into()));
    let held = bench.accept(&plain("a"), "vm/1");
    bench.source = "two";
    let behind = bench.accept(&plain("a"), "vm/1");
    assert_eq!(bench.ends(&[held.clone(), behind]), ["queued", "queued"]);
    bench.unmute(Scope::Source("one".into()), Then::Run);
    assert_eq!(bench.started(), ["1.a#1"]);
    bench.end(&held, Verdict::Success);
    assert_eq!(bench.started(), ["2.a#1"]);
}

#[test]
fn an_execution_is_held_while_any_mute_covers_it() {
    let mut bench = Bench::new(9);
    bench.mute(Scope::All);
    bench.mute(of_hook("a"));
    bench.mute(lane("a", "vm/1"));
    let held = bench.accept(&plain("a"), "vm/1");
    bench.unmute(Scope::All, Then::Run);
    bench.unmute(lane("a", "vm/1"), Then::Run);
    assert_eq!(bench.end_of(&held), "queued");
    bench.unmute(of_hook("a"), Then::Run);
    assert_eq!(bench.end_of(&held), "running");
    let again = bench.core.step(
        Input::Unmute {
            scope: of_hook("a"),
            then: Then::Run,
            actor: OPERATOR,
        },
        NOW,
    );
    assert_eq!(again.expect_err("a refusal"), Refusal::NotMuted(of_hook("a")));
}

#[test]
fn what_somebody_asked_for_passes_a_mute_and_overlaps_nothing() {
    let mut bench = Bench::new(9);
    let done = bench.accept(&plain("a"), "vm/1");
    bench.end(&done, Verdict::Failure);
    let also_done = bench.accept(&plain("a"), "vm/1");
    bench.end(&also_done, Verdict::Failure);
    bench.mute(of_hook("a"));
    let held = bench.accept(&plain("a"), "vm/1");
    bench.started();
    bench.reopen(&done);
    assert_eq!(bench.started(), ["1.a#2"], "before the one that is held");
    bench.reopen(&also_done);
    assert_eq!(bench.started(), [""; 0], "one at a time");
    bench.end(&done, Verdict::Success);
    assert_eq!(bench.started(), ["2.a#2"]);
    bench.crash_at(after(1));
    assert_eq!(bench.started(), [""; 0], "to be run again is no order of anybody");
    bench.unmute(of_hook("a"), Then::Run);
    assert_eq!(bench.started(), ["2.a#3"], "what has begun keeps its lane");
    bench.end(&also_done, Verdict::Success);
    assert_eq!(bench.started(), ["3.a#1"]);
    assert_eq!(bench.end_of(&held), "running");
}

#[test]
fn an_automatic_retry_that_a_mute_holds_keeps_its_lane() {
    let a = hook("a", retries(3));
    let mut bench = Bench::new(9);
    let done = bench.accept(&a, "vm/1");
    bench.end(&done, Verdict::Success);
    let retrying = bench.accept(&a, "vm/1");
    bench.end(&retrying, Verdict::Failure);
    bench.mute(of_hook("a"));
    bench.step(Input::Tick, bench.due(&retrying));
    bench.started();
    bench.reopen(&done);
    assert_eq!(
        bench.started(),
        [""; 0],
        "an order of somebody waits for what has begun"
    );
    bench.cancel(&retrying);
    assert_eq!(bench.started(), ["1.a#2"]);
}

#[test]
fn a_mute_survives_a_crash_and_ends_by_itself_also_while_nobody_is_there() {
    let mut bench = Bench::new(9);
    bench.step(Input::Mute(operators(of_hook("a"), Some(HOUR), NOW)), NOW);
    let held = bench.accept(&plain("a"), "vm/1");
    bench.crash_at(after(60));
    assert_eq!(bench.end_of(&held), "queued");
    assert_eq!(bench.core.next_due(), Some(after(3_600)));
    let later = bench.accept_later(&plain("a"), "vm/2", 61);
    assert_eq!(bench.end_of(&later), "queued");
    bench.step(Input::Tick, after(3_599));
    assert_eq!(bench.started(), [""; 0]);
    bench.step(Input::Tick, after(3_600));
    assert_eq!(bench.started(), ["1.a#1", "2.a#1"]);
    assert!(bench.mutes.is_empty());

    let mut bench = Bench::new(9);
    bench.step(Input::Mute(operators(Scope::All, Some(HOUR), NOW)), NOW);
    bench.accept(&plain("a"), "vm/1");
    bench.crash_at(after(7_200));
    assert_eq!(bench.started(), ["1.a#1"]);
    assert!(bench.mutes.is_empty());
}

#[test]
fn a_new_mute_of_a_scope_takes_the_place_of_the_former() {
    let mut bench = Bench::new(9);
    bench.step(Input::Mute(operators(Scope::All, Some(HOUR), NOW)), NOW);
    let held = bench.accept(&plain("a"), "vm/1");
    let longer = operators(Scope::All, Some(HOUR * 2), NOW);
    bench.step(Input::Mute(longer.clone()), NOW);
    bench.step(Input::Tick, after(3_600));
    assert_eq!(bench.end_of(&held), "queued");
    assert_eq!(bench.core.mutes().collect::<Vec<_>>(), [&longer]);
    bench.step(Input::Tick, after(7_200));
    assert_eq!(bench.end_of(&held), "running");
}

#[test]
fn a_clock_that_is_set_back_makes_no_mute_longer_than_it_was_to_be() {
    let yesterday = Timestamp::from_millis(NOW.as_millis() - 86_400_000);
    for restarts in [false, true] {
        let mut bench = Bench::new(9);
        bench.step(Input::Mute(operators(Scope::All, Some(HOUR), NOW)), NOW);
        let held = bench.accept(&plain("a"), "vm/1");
        if restarts {
            bench.crash_at(yesterday);
        } else {
            bench.step(Input::ClockJumped, yesterday);
        }
        assert_eq!(
            bench.mutes[&Scope::All].until,
            Some(Until::after(yesterday, HOUR))
        );
        assert_eq!(bench.core.next_due(), Some(yesterday.plus(HOUR)));
        bench.step(Input::Tick, yesterday.plus(HOUR));
        assert_eq!(bench.end_of(&held), "running");
    }
}

#[test]
fn a_mute_is_taken_back_to_run_all_the_latest_or_none() {
    for (then, ends, started) in [
        (
            Then::Run,
            ["running", "queued", "running", "running"],
            ["1.a#1", "3.a#1", "4.a#1"].as_slice(),
        ),
        (
            Then::Latest,
            ["skipped: superseded", "running", "running", "running"],
            &["2.a#1", "3.a#1", "4.a#1"],
        ),
        (Then::Drop, ["skipped: muted"; 4], &[]),
    ] {
        let a = hook("a", |policy| policy.max_parallel = Some(9));
        let mut bench = Bench::new(9);
        bench.mute(of_hook("a"));
        let keys = [
            bench.accept(&a, "vm/1"),
            bench.accept(&a, "vm/1"),
            bench.accept(&a, "vm/2"),
            bench.accept_at(&[&a], None, NOW),
        ];
        bench.crash_at(NOW);
        bench.unmute(of_hook("a"), then);
        assert_eq!(bench.ends(&keys), ends, "{then:?}");
        assert_eq!(bench.started(), started, "{then:?}");
        assert!(bench.mutes.is_empty());
    }
}

#[test]
fn the_latest_is_that_of_a_subject_also_where_no_order_is_kept() {
    let a = hook("a", |policy| policy.order = Order::None);
    let mut bench = Bench::new(9);
    bench.mute(lane("a", "vm/1"));
    let keys = [
        bench.accept(&a, "vm/1"),
        bench.accept(&a, "vm/1"),
        bench.accept(&a, "vm/2"),
    ];
    assert_eq!(bench.ends(&keys), ["queued", "queued", "running"]);
    bench.unmute(lane("a", "vm/1"), Then::Latest);
    assert_eq!(bench.ends(&keys), ["skipped: superseded", "running", "running"]);
}

#[test]
fn what_was_tried_before_is_neither_superseded_nor_called_skipped() {
    for (then, end) in [
        (Then::Latest, "running"),
        (Then::Drop, "cancelled: User { uid: 7 }"),
    ] {
        let a = hook("a", retries(3));
        let mut bench = Bench::new(9);
        let tried = bench.accept(&a, "vm/1");
        bench.end(&tried, Verdict::Failure);
        bench.mute(Scope::All);
        bench.accept(&a, "vm/1");
        bench.step(Input::Tick, bench.due(&tried));
        bench.unmute_at(Scope::All, then, after(100));
        assert_eq!(bench.end_of(&tried), end, "{then:?}");
    }
}

#[test]
fn what_is_held_too_long_expires() {
    let within = hook("a", |policy| policy.start_within = Some(Duration::from_secs(60)));
    let mut bench = Bench::new(9);
    bench.mute(of_hook("a"));
    let held = bench.accept(&within, "vm/1");
    bench.step(Input::Tick, after(60));
    assert_eq!(bench.end_of(&held), "skipped: expired");
}

#[test]
fn a_held_execution_can_be_cancelled_and_withdrawn() {
    let mut bench = Bench::new(9);
    bench.mute(Scope::All);
    let keys = [
        bench.accept(&plain("a"), "vm/1"),
        bench.accept(&plain("a"), "vm/1"),
    ];
    bench.cancel(&keys[0]);
    let (hook, reason) = (named("a"), CancelReason::HookRemoved);
    bench.step(Input::Withdraw { hook, reason }, NOW);
    assert_eq!(
        bench.ends(&keys),
        ["cancelled: User { uid: 7 }", "cancelled: HookRemoved"]
    );
    assert_eq!(bench.core.unsettled(), 0);
}

#[test]
fn stopping_a_hook_mutes_it_cancels_what_waits_and_ends_what_runs() {
    let a = hook("a", retries(2));
    let mut bench = Bench::new(9);
    let (running, queued) = (bench.accept(&a, "vm/1"), bench.accept(&a, "vm/1"));
    let retrying = bench.accept(&a, "vm/2");
    bench.end(&retrying, Verdict::Failure);
    let other = bench.accept(&plain("b"), "vm/1");
    bench.started();
    bench.step(
        Input::StopHook {
            hook: named("a"),
            length: None,
            reason: None,
            actor: OPERATOR,
        },
        NOW,
    );
    let stopped = "cancelled: Stopped(User { uid: 7 })";
    assert_eq!(
        bench.ends(&[queued, retrying, running.clone(), other]),
        [stopped, stopped, "running", "running"]
    );
    assert_eq!(bench.started(), ["end 1.a#1"]);
    bench.end(&running, Verdict::Stopped);
    assert_eq!(bench.end_of(&running), stopped);
    let next = bench.accept(&a, "vm/3");
    assert_eq!(bench.end_of(&next), "queued");
    assert_eq!(bench.mutes.keys().collect::<Vec<_>>(), [&of_hook("a")]);
}

#[test]
fn what_a_mute_lets_go_meets_debounce_and_overlap_as_if_it_had_come_at_once() {
    let cases = [
        (
            debounced(),
            ["skipped: superseded", "skipped: superseded", "running"],
        ),
        (
            overlapping(Overlap::Latest),
            ["skipped: superseded", "skipped: superseded", "running"],
        ),
        (
            overlapping(Overlap::Cancel),
            ["skipped: superseded", "skipped: superseded", "running"],
        ),
        (
            overlapping(Overlap::Drop),
            ["running", "skipped: overlap", "skipped: overlap"],
        ),
        (overlapping(Overlap::Queue), ["running", "queued", "queued"]),
    ];
    for (a, ends) in cases {
        for crashes in [false, true] {
            let mut bench = Bench::new(9);
            bench.step(Input::Mute(operators(Scope::All, Some(HOUR), NOW)), NOW);
            let keys: Vec<ExecutionKey> = (0..3).map(|_| bench.accept(&a, "vm/1")).collect();
            assert_eq!(bench.ends(&keys), ["queued"; 3]);
            if crashes {
                bench.crash_at(after(3_600));
            } else {
                bench.step(Input::Tick, after(3_600));
            }
            assert_eq!(bench.ends(&keys), ends, "{:?}", a.policy);
        }
    }
}

#[test]
fn one_that_was_debounced_before_a_mute_gives_way_to_what_the_mute_held() {
    let a = debounced();
    let mut bench = Bench::new(9);
    let before = bench.accept(&a, "vm/1");
    bench.step(
        Input::Mute(operators(Scope::All, Some(Duration::from_secs(10)), NOW)),
        NOW,
    );
    let held = bench.accept_later(&a, "vm/1", 5);
    assert_eq!(
        bench.ends(&[before.clone(), held.clone()]),
        ["debouncing", "queued"]
    );
    bench.step(Input::Tick, after(10));
    assert_eq!(bench.ends(&[before, held]), ["skipped: superseded", "running"]);
}

#[test]
fn a_survey_counts_each_execution_once_and_under_each_of_its_mutes() {
    let a = hook("a", retries(2));
    let mut bench = Bench::new(9);
    bench.accept(&a, "vm/1");
    let waits = bench.accept_later(&a, "vm/1", 1);
    let retrying = bench.accept(&a, "vm/2");
    bench.end(&retrying, Verdict::Failure);
    bench.accept(&debounced(), "vm/3");
    bench.accept(&plain("b"), "vm/1");
    bench.mute(lane("a", "vm/1"));
    bench.mute(of_hook("a"));
    let Survey { groups, held } = bench.core.survey();
    let a = &groups[&named("a")];
    assert_eq!(
        (a.queued, a.held, a.running, a.retrying, a.debouncing),
        (1, 1, 1, 1, 1)
    );
    assert_eq!((a.oldest, a.oldest_free), (Some(after(1)), None));
    assert_eq!(held[&lane("a", "vm/1")], 1);
    assert_eq!(held[&of_hook("a")], 1);
    assert_eq!(groups[&named("b")].running, 1);
    assert_eq!(bench.core.held_under(&Scope::All), 1);
    assert_eq!(bench.core.under(&Scope::All), (1, 2));
    let (execution, _) = &bench.kept[&waits];
    let mutes: Vec<Mute> = bench.core.mutes().cloned().collect();
    let holding = crate::engine::mute::holding(&mutes, execution).map(|mute| &mute.scope);
    assert_eq!(holding, Some(&of_hook("a")), "the widest");
}
