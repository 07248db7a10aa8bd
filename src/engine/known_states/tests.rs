use proptest::prelude::*;

use super::*;

const MAX_GAP: Duration = Duration::from_secs(900);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

fn id(resource: Resource, number: u64) -> ResourceId {
    ResourceId { resource, number }
}

fn vm(number: u64) -> ResourceId {
    id(Resource::Vm, number)
}

fn names(state: &str) -> StateNames {
    StateNames {
        state: state.to_owned(),
        lcm_state: None,
    }
}

fn seen(number: u64, state: &str) -> Seen {
    Seen {
        number,
        names: Some(names(state)),
    }
}

fn gap(from: i64, record: u64) -> OpenGap {
    OpenGap {
        from: at(from),
        record: Some(Seq(record)),
    }
}

/// What a former life knew, at second 0.
fn known(states: &[(ResourceId, &str)]) -> KnownStates {
    let baseline = Baseline {
        heard: Some(at(0)),
        open: Vec::new(),
        totals: CatchUpTotals::default(),
    };
    let states = states.iter().map(|(id, state)| (id.clone(), names(state)));
    KnownStates::new("one".into(), MAX_GAP, Some(baseline), states.collect(), |_| {
        GapStory::default()
    })
}

/// One word a change: `vm/12=ACTIVE`, `vm/12-`, `7:raised 1`, `heard 5 open 7`.
fn words(changes: &[Change]) -> Vec<String> {
    changes
        .iter()
        .map(|change| match change {
            Change::KnownState { id, names, .. } => {
                let what = names
                    .as_ref()
                    .map_or("-".to_owned(), |names| format!("={}", names.state));
                format!("{}/{}{what}", id.resource.subject_prefix(), id.number)
            }
            Change::GapStory { record, story } => format!("{record}:raised {}", story.raised),
            Change::Baseline {
                baseline: Some(baseline),
                ..
            } => {
                let open: Vec<_> = baseline
                    .open
                    .iter()
                    .map(|gap| gap.record.map_or(0, |seq| seq.0))
                    .collect();
                let heard = baseline.heard.map_or(-1, |heard| heard.as_millis() / 1000);
                format!("heard {heard} open {open:?}")
            }
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn the_first_poll_is_a_baseline_and_raises_nothing() {
    let mut states = KnownStates::new("one".into(), MAX_GAP, None, Vec::new(), |_| GapStory::default());
    let now = Instant::now();
    states.open_gap(OpenGap {
        from: at(5),
        record: None,
    });
    assert!(!states.is_heard(at(5)));
    assert_eq!(states.begin(at(6), now), Some(NotedOnly::First));
    let (differ, changes) = states.compare(&Resource::Vm, now, &[seen(1, "ACTIVE"), seen(2, "HOLD")]);
    assert_eq!(
        (differ.len(), words(&changes)),
        (0, vec!["vm/1=ACTIVE".to_owned(), "vm/2=HOLD".to_owned()])
    );
    assert_eq!(states.absent(&Resource::Vm).0, Vec::<u64>::new());
    assert_eq!(words(&states.end(at(7))), ["heard 7 open []"]);
    assert!(!states.is_open() && states.is_heard(at(8)));
    assert_eq!(states.status().totals, CatchUpTotals::default());
}

#[test]
fn what_changed_is_raised_once_and_what_is_new_too() {
    let mut states = known(&[
        (vm(1), "ACTIVE"),
        (vm(2), "HOLD"),
        (vm(4), "HOLD"),
        (id(Resource::Image, 4), "READY"),
    ]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    assert_eq!(states.begin(at(20), now), None);
    let page = [
        seen(1, "POWEROFF"),
        seen(2, "HOLD"),
        seen(3, "PENDING"),
        seen(5, "DONE"),
        Seen {
            number: 4,
            names: None,
        },
    ];
    let (differ, changes) = states.compare(&Resource::Vm, now, &page);
    assert_eq!((differ, changes.len()), (vec![0, 2], 0));
    let (decision, changes) = states.decide(&vm(1), &names("POWEROFF"), now, true);
    assert_eq!(
        decision,
        Decision::Raise {
            former: Some(names("ACTIVE"))
        }
    );
    assert_eq!(
        words(&changes),
        ["vm/1=POWEROFF", "7:raised 1", "heard 0 open [7]"]
    );
    assert_eq!(
        states.decide(&vm(1), &names("POWEROFF"), now, true).0,
        Decision::Same
    );
    assert_eq!(
        states.decide(&vm(3), &names("PENDING"), now, true).0,
        Decision::Raise { former: None }
    );
    // The image is gone: no state of it is told.
    assert_eq!(states.absent(&Resource::Vm).0, Vec::<u64>::new());
    assert_eq!(words(&states.absent(&Resource::Image).1), ["image/4-"]);
    assert_eq!(words(&states.end(at(21))), ["7:raised 2", "heard 21 open []"]);
    // A second poll finds nothing.
    states.open_gap(gap(30, 8));
    states.begin(at(30), now);
    let page = [
        seen(1, "POWEROFF"),
        seen(2, "HOLD"),
        seen(3, "PENDING"),
        seen(4, "HOLD"),
    ];
    assert_eq!(states.compare(&Resource::Vm, now, &page).0, Vec::<usize>::new());
}

#[test]
fn a_vm_that_no_pool_lists_is_asked_for_and_done() {
    let mut states = known(&[(vm(1), "ACTIVE"), (vm(2), "ACTIVE")]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    states.begin(at(20), now);
    states.compare(&Resource::Vm, now, &[seen(2, "ACTIVE")]);
    assert_eq!(states.absent(&Resource::Vm).0, [1]);
    let (decision, changes) = states.decide(&vm(1), &names("DONE"), now, true);
    assert!(matches!(decision, Decision::Raise { .. }));
    assert_eq!(words(&changes)[0], "vm/1-");
    assert_eq!(states.decide(&vm(1), &names("DONE"), now, true).0, Decision::Same);
}

#[test]
fn a_live_event_wins_over_what_was_asked_for_before_it() {
    let mut states = known(&[(vm(1), "ACTIVE"), (vm(2), "ACTIVE")]);
    let asked = Instant::now();
    let later = asked + Duration::from_millis(1);
    states.open_gap(gap(10, 7));
    states.begin(at(20), asked);
    let changes: Vec<_> = states.tell(vm(1), names("HOLD"), later).into_iter().collect();
    assert_eq!(words(&changes), ["vm/1=HOLD"]);
    let changes: Vec<_> = states.tell(vm(2), names("DONE"), later).into_iter().collect();
    assert_eq!(words(&changes), ["vm/2-"]);
    // The pool is older: in it the second one is not done yet.
    let page = [seen(1, "POWEROFF"), seen(2, "POWEROFF")];
    assert_eq!(states.compare(&Resource::Vm, asked, &page).0, Vec::<usize>::new());
    for number in [1, 2] {
        let (decision, changes) = states.decide(&vm(number), &names("POWEROFF"), asked, true);
        assert_eq!((decision, changes.len()), (Decision::Live, 0));
    }
    assert_eq!(states.absent(&Resource::Vm).0, Vec::<u64>::new());
    states.end(at(21));
    assert_eq!(states.status().totals.live, 2);
    assert_eq!(states.status().known, 1);
}

#[test]
fn what_is_older_than_the_longest_gap_is_only_noted() {
    let mut states = known(&[(vm(1), "ACTIVE"), (vm(2), "ACTIVE")]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    assert_eq!(states.begin(at(900), now), None);
    states.failed("refused", at(900));
    // What counts is until when the source was heard, though the connection is up again.
    assert_eq!(states.begin(at(901), now), Some(NotedOnly::TooOld));
    let (differ, changes) = states.compare(&Resource::Vm, now, &[seen(2, "HOLD")]);
    assert_eq!((differ.len(), words(&changes)), (0, vec!["vm/2=HOLD".to_owned()]));
    let (absent, changes) = states.absent(&Resource::Vm);
    assert_eq!((absent.len(), words(&changes)), (0, vec!["vm/1-".to_owned()]));
    let changes = states.end(at(912));
    let Some(Change::GapStory { story, .. }) = changes.first() else {
        panic!("{changes:?}")
    };
    assert_eq!(
        (story.noted_only, story.failures, story.raised),
        (Some(NotedOnly::TooOld), 1, 0)
    );
    assert_eq!(story.finished, Some(at(912)));
    assert_eq!(states.status().totals.rebuilt, 1);
}

#[test]
fn a_gap_that_opens_during_a_poll_needs_another_one() {
    let mut states = known(&[]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    states.begin(at(20), now);
    states.open_gap(gap(21, 8));
    assert_eq!(words(&states.end(at(22))), ["7:raised 0", "heard 22 open [8]"]);
    assert!(states.is_open() && !states.is_heard(at(23)));
    assert_eq!(states.status().open_since, Some(at(21)));
}

#[test]
fn what_another_front_end_led_through_is_only_noted() {
    let mut states = known(&[(vm(1), "ACTIVE")]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    states.begin(at(20), now);
    let changes: Vec<_> = states.stand_by().into_iter().collect();
    assert_eq!(words(&changes), ["heard -1 open []"]);
    assert!(states.stand_by().is_none() && states.end(at(21)).is_empty());
    states.open_gap(OpenGap {
        from: at(30),
        record: None,
    });
    assert_eq!(states.begin(at(30), now), Some(NotedOnly::OtherLed));
    assert_eq!(
        states.compare(&Resource::Vm, now, &[seen(1, "HOLD")]).0,
        Vec::<usize>::new()
    );
    states.end(at(31));
    assert_eq!((states.heard(), states.status().known), (Some(at(31)), 1));
}

#[test]
fn of_very_many_gaps_the_oldest_and_the_newest_are_kept_apart() {
    let mut states = known(&[]);
    for number in 0..200 {
        states.open_gap(gap(10 + number, u64::try_from(number).expect("small")));
    }
    let Change::Baseline {
        baseline: Some(baseline),
        ..
    } = states.baseline()
    else {
        panic!("a baseline")
    };
    let records: Vec<_> = baseline.open.iter().filter_map(|gap| gap.record).collect();
    assert_eq!(records.len(), OPEN_AT_MOST);
    assert_eq!(
        (records[0], records[1], records[49]),
        (Seq(0), Seq(151), Seq(199))
    );
}

#[test]
fn nobody_who_asks_for_it_is_no_reason_to_raise_it_later() {
    let mut states = known(&[(vm(1), "ACTIVE")]);
    let now = Instant::now();
    states.open_gap(gap(10, 7));
    states.begin(at(20), now);
    let (decision, changes) = states.decide(&vm(1), &names("HOLD"), now, false);
    assert_eq!(
        (decision, words(&changes)),
        (Decision::Unwanted, vec!["vm/1=HOLD".to_owned()])
    );
    assert_eq!(states.decide(&vm(1), &names("HOLD"), now, true).0, Decision::Same);
}

#[test]
fn what_was_asked_for_by_a_poll_that_counts_no_more_is_not_raised() {
    let mut states = known(&[(vm(1), "ACTIVE"), (vm(2), "ACTIVE")]);
    let asked = Instant::now();
    states.open_gap(gap(10, 7));
    states.begin(at(20), asked);
    assert_eq!(states.compare(&Resource::Vm, asked, &[seen(1, "HOLD")]).0, [0]);
    states.give_up();
    let decided = |states: &mut KnownStates| {
        let (decision, changes) = states.decide(&vm(1), &names("HOLD"), asked, true);
        (decision, changes.len())
    };
    assert_eq!(decided(&mut states), (Decision::GivenUp, 0));
    assert!(states.end(at(21)).is_empty() && states.is_open());

    // Nor within the next poll, which finds what is the case then.
    let later = asked + Duration::from_secs(60);
    assert_eq!(states.begin(at(80), later), None);
    assert_eq!(decided(&mut states), (Decision::GivenUp, 0));
    assert_eq!(
        states
            .compare(&Resource::Vm, later, &[seen(1, "ACTIVE"), seen(2, "HOLD")])
            .0,
        [1]
    );
    assert!(matches!(
        states.decide(&vm(2), &names("HOLD"), later, true).0,
        Decision::Raise { .. }
    ));
    assert_eq!(states.status().totals.raised, 1);
}

/// What happens to one of three VMs, and whether hem hears of it.
#[derive(Debug, Clone)]
enum Happening {
    Changes {
        vm: u64,
        to: usize,
        is_heard: bool,
    },
    /// hem asks, and meanwhile these change, heard by everybody.
    Poll {
        meanwhile: Vec<(u64, usize)>,
    },
}

const STATES: [&str; 4] = ["PENDING", "ACTIVE", "POWEROFF", "DONE"];

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let change = (0..3_u64, 0..STATES.len(), any::<bool>())
        .prop_map(|(vm, to, is_heard)| Happening::Changes { vm, to, is_heard });
    let meanwhile = prop::collection::vec((0..3_u64, 0..STATES.len()), 0..3);
    let poll = meanwhile.prop_map(|meanwhile| Happening::Poll { meanwhile });
    prop::collection::vec(prop_oneof![3 => change, 1 => poll], 0..40)
}

proptest! {
    /// Whatever happened: after a poll, what was told last of each resource, by a live event or raised, is its present state,
    /// and nothing was raised that was told before.
    #[test]
    fn after_a_poll_the_present_state_of_everything_was_told_last(happenings in happenings()) {
        let mut states = known(&[]);
        let mut real: HashMap<u64, usize> = HashMap::new();
        let mut told: HashMap<u64, usize> = HashMap::new();
        let mut clock = Instant::now();
        let mut tick = || { clock += Duration::from_millis(1); clock };
        let change = |states: &mut KnownStates, real: &mut HashMap<u64, usize>, told: &mut HashMap<u64, usize>, number, to, now: Option<Instant>| {
            // A VM that is done stays so.
            if real.get(&number) == Some(&3) {
                return;
            }
            real.insert(number, to);
            if let Some(now) = now {
                states.tell(vm(number), names(STATES[to]), now);
                told.insert(number, to);
            }
        };
        for happening in happenings {
            match happening {
                Happening::Changes { vm, to, is_heard } => {
                    let now = is_heard.then(&mut tick);
                    change(&mut states, &mut real, &mut told, vm, to, now);
                }
                Happening::Poll { meanwhile } => {
                    states.open_gap(gap(1, 7));
                    states.begin(at(2), tick());
                    let asked = tick();
                    let pool: Vec<_> = real.iter().filter(|(_, state)| **state != 3)
                        .map(|(number, state)| seen(*number, STATES[*state])).collect();
                    let before = real.clone();
                    for (number, to) in meanwhile {
                        let now = tick();
                        change(&mut states, &mut real, &mut told, number, to, Some(now));
                    }
                    let mut raise = |states: &mut KnownStates, number: u64, state: usize| {
                        let (decision, _) = states.decide(&vm(number), &names(STATES[state]), asked, true);
                        if let Decision::Raise { .. } = decision {
                            prop_assert_ne!(told.insert(number, state), Some(state));
                        }
                        Ok(())
                    };
                    for place in states.compare(&Resource::Vm, asked, &pool).0 {
                        raise(&mut states, pool[place].number, before[&pool[place].number])?;
                    }
                    for number in states.absent(&Resource::Vm).0 {
                        raise(&mut states, number, before[&number])?;
                    }
                    states.end(at(3));
                    // Of a VM that came and went unheard nobody tells.
                    let expected: HashMap<_, _> = real.iter().map(|(number, state)| (*number, *state))
                        .filter(|(number, state)| *state != 3 || told.contains_key(number)).collect();
                    prop_assert_eq!(&told, &expected);
                    prop_assert_eq!(states.status().known, real.values().filter(|state| **state != 3).count());
                }
            }
        }
    }
}
