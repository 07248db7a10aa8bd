use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1);

fn sighting(time: &str, says: &str) -> Sighting {
    Sighting::new("event", Some(time), says.as_bytes())
}

fn at(second: i64) -> String {
    written(1_000_000 + second).expect("a time")
}

/// The bookmarks of a store.
#[derive(Default)]
struct Kept(BTreeMap<String, Bytes>);

impl Kept {
    fn take(&mut self, bookmarks: &[Bookmark]) {
        for bookmark in bookmarks {
            match bookmark.value() {
                Some(value) => self.0.insert(bookmark.name().to_owned(), value.clone()),
                None => self.0.remove(bookmark.name()),
            };
        }
    }
}

fn log(created: i64, aged: Option<i64>) -> Stream {
    Stream {
        replays: true,
        created: Some(at(created)),
        aged: aged.map(at),
    }
}

#[test]
fn times_are_read_as_servers_write_them() {
    let noon = second_of("2026-06-23T12:00:00Z").expect("a time");
    for time in [
        "2026-06-23T12:00:00.27+00:00",
        "2026-06-23T14:00:00.999999999+02:00",
        "2026-06-23T12:00:00",
        "2026-06-23T12:00:00.5",
    ] {
        assert_eq!(second_of(time), Some(noon), "{time}");
    }
    assert_eq!(second_of("yesterday"), None);
    assert_eq!(written(noon).as_deref(), Some("2026-06-23T12:00:00Z"));
    assert_eq!(
        time_in(b"<notification><eventTime>2026-06-23T12:00:00Z</eventTime><x\xff").as_deref(),
        Some("2026-06-23T12:00:00Z")
    );
    assert_eq!(time_in(b"<n:eventTime>x</n:eventTime>"), None);
}

#[test]
fn the_first_start_looks_where_the_server_stands_or_reads_all() {
    let mut ledger = Ledger::default();
    let plan = ledger.plan(Some(&log(0, None)), NetconfStart::Latest);
    assert_eq!((plan.start, plan.gap, plan.only_looks), (Some(at(0)), None, true));
    let plan = ledger.plan(Some(&log(0, None)), NetconfStart::Earliest);
    assert_eq!(
        (plan.start, plan.gap, plan.only_looks),
        (Some(at(0)), None, false)
    );
    assert_eq!(ledger.plan(None, NetconfStart::Latest), Plan::default());
    // An empty log: nothing that happens from its beginning on was heard.
    ledger.attend(Some(&log(0, None)));
    let mut kept = Kept::default();
    kept.take(&ledger.settle(NOW));
    let plan = Ledger::of(&kept.0).plan(Some(&log(0, None)), NetconfStart::Latest);
    assert_eq!(
        (plan.start, plan.gap, plan.only_looks),
        (Some(at(-OVERLAP)), None, false)
    );
}

#[test]
fn a_gap_is_told_where_the_log_does_not_reach_back_and_only_once() {
    let listened = || {
        let mut ledger = Ledger::default();
        ledger.attend(Some(&log(0, None)));
        ledger.note(&sighting(&at(100), "a"), NOW);
        ledger
    };
    let gap = |stream: Stream| listened().plan(Some(&stream), NetconfStart::Latest).gap;
    assert_eq!(gap(log(0, None)), None);
    assert_eq!(gap(log(0, Some(99))), None);
    // The same log that aged up to that second, another one that began then or later.
    assert!(gap(log(0, Some(100))).is_some());
    assert!(gap(log(100, None)).is_some() && gap(log(101, None)).is_some());
    // Another one that began before: whether it has what the first one told, nobody knows.
    assert!(gap(log(99, None)).is_some() && gap(log(-1_000, None)).is_some());
    for stream in [
        log(99, None),
        log(-1_000, None),
        log(0, Some(100)),
        log(0, Some(300)),
        log(100, None),
        log(200, None),
    ] {
        let mut ledger = listened();
        ledger.attend(Some(&stream));
        ledger.note_gap(NOW);
        assert_eq!(
            ledger.plan(Some(&stream), NetconfStart::Latest).gap,
            None,
            "{stream:?}"
        );
    }
    let none = Stream::default();
    let mut ledger = listened();
    assert!(ledger.plan(Some(&none), NetconfStart::Latest).gap.is_some());
    ledger.note_gap(NOW);
    assert!(ledger.plan(None, NetconfStart::Latest).gap.is_some());
    assert_eq!(ledger.place(), Some(at(100).as_str()));
}

#[test]
fn a_log_that_began_in_the_second_of_the_newest_event_is_no_gap_where_it_is_the_same_one() {
    let mut ledger = Ledger::default();
    ledger.attend(Some(&log(100, None)));
    ledger.note(&sighting(&at(100), "a"), NOW);
    assert_eq!(ledger.plan(Some(&log(100, None)), NetconfStart::Latest).gap, None);
}

#[test]
fn a_log_is_the_same_one_however_its_beginning_is_written() {
    let log = |created: &str| Stream {
        replays: true,
        created: Some(created.to_owned()),
        aged: None,
    };
    let mut ledger = Ledger::default();
    ledger.attend(Some(&log("2026-01-01T00:00:00Z")));
    ledger.note(&sighting("2026-03-01T00:00:00Z", "a"), NOW);
    let gap = |created: &str| ledger.plan(Some(&log(created)), NetconfStart::Latest).gap;
    assert_eq!(gap("2026-01-01T01:00:00.0+01:00"), None);
    assert!(gap("2026-01-01T01:00:00Z").is_some_and(|why| why.contains("another log")));
    // One that does not say is not taken for another.
    let silent = Stream {
        created: None,
        ..log("")
    };
    assert_eq!(ledger.plan(Some(&silent), NetconfStart::Latest).gap, None);
}

#[test]
fn a_place_that_cannot_be_read_any_more_is_a_gap_and_no_first_start() {
    let broken = BTreeMap::from([(CURSOR.to_owned(), Bytes::from_static(b"{\"time\":"))]);
    let mut ledger = Ledger::of(&broken);
    assert!(ledger.is_place_lost());
    for stream in [None, Some(log(0, None))] {
        let gap = ledger.plan(stream.as_ref(), NetconfStart::Latest).gap;
        assert!(gap.is_some_and(|why| why.contains("in the store")), "{stream:?}");
    }
    ledger.note_gap(NOW);
    assert!(!ledger.is_place_lost());
    assert!(!Ledger::of(&BTreeMap::new()).is_place_lost());
}

#[test]
fn equal_events_of_a_second_are_told_apart_by_their_number() {
    let mut ledger = Ledger::default();
    let time = |fraction: &str| format!("2026-06-23T12:00:00{fraction}Z");
    for fraction in [".1", ".2", ".3"] {
        ledger.note(&sighting(&time(fraction), "same"), NOW);
    }
    let mut overlap = ledger.overlap();
    // The replay has no fractions, and one more that was not heard.
    let dropped: Vec<bool> = (0..4)
        .map(|_| overlap.drops(&sighting(&time(""), "same")))
        .collect();
    assert_eq!(dropped, [true, true, true, false]);
    assert!(!ledger.overlap().drops(&sighting(&time(""), "other")));
    assert!(!ledger.overlap().drops(&sighting("2026-06-23T12:00:01Z", "same")));
}

#[test]
fn what_has_no_time_is_known_by_what_it_says() {
    let mut ledger = Ledger::default();
    ledger.note(&sighting(&at(0), "a"), NOW);
    ledger.note(&Sighting::of_unreadable(b"<notification>"), NOW);
    ledger.note(&Sighting::of_too_long(7), NOW);
    assert_eq!(ledger.place(), Some(at(0).as_str()));
    let mut overlap = ledger.overlap();
    assert!(overlap.drops(&Sighting::of_too_long(7)) && !overlap.drops(&Sighting::of_too_long(7)));
    assert!(overlap.drops(&Sighting::of_unreadable(b"<notification>")));
}

#[test]
fn what_is_no_longer_read_again_is_forgotten_here_and_in_the_store() {
    let (mut ledger, mut kept) = (Ledger::default(), Kept::default());
    for second in 0..1_000 {
        for says in ["a", "b", "a"] {
            kept.take(&ledger.note(&sighting(&at(second), says), NOW));
        }
    }
    assert!(ledger.heard.len() <= 2 * (OVERLAP as usize + 1));
    assert!(kept.0.len() <= ledger.heard.len() + 3, "{}", kept.0.len());
    // A burst of one second goes bit by bit.
    for n in 0..1_000 {
        kept.take(&ledger.note(&sighting(&at(1_000), &n.to_string()), NOW));
    }
    for n in 0..40 {
        kept.take(&ledger.note(&sighting(&at(2_000), &n.to_string()), NOW));
    }
    assert_eq!(kept.0.len(), 41);
}

#[test]
fn a_clock_that_was_set_back_is_followed() {
    let mut ledger = Ledger::default();
    ledger.note(&sighting(&at(1_000), "a"), NOW);
    let early = sighting(&at(998), "b");
    assert!(!ledger.went_back(&early));
    ledger.note(&early, NOW);
    assert_eq!(ledger.place(), Some(at(1_000).as_str()));
    let earlier = sighting(&at(10), "c");
    assert!(ledger.went_back(&earlier));
    ledger.note(&earlier, NOW);
    assert_eq!(ledger.place(), Some(at(10).as_str()));
}

/// A server's log: each event with its second and what it says.
fn some_log() -> impl Strategy<Value = Vec<(i64, u8)>> {
    let step = prop_oneof![6 => Just(0), 3 => Just(1), 1 => 2_i64..20];
    proptest::collection::vec((step, 0_u8..3), 1..60).prop_map(|steps| {
        let mut second = 0;
        steps
            .into_iter()
            .map(|(step, says)| {
                second += step;
                (second, says)
            })
            .collect()
    })
}

proptest! {
    /// However often the link is cut and the program killed, with however much of what was heard accepted: everything is accepted
    /// once, in order. Replays may begin at the second asked for and have times without fractions.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(
        log in some_log(),
        cuts in proptest::collection::vec((0_usize..70, 0_usize..70, any::<bool>()), 0..12),
        fractions in proptest::collection::vec(0_u16..1000, 60),
    ) {
        let stream = Stream { replays: true, created: Some(at(-1)), aged: None };
        let (mut kept, mut accepted) = (Kept::default(), Vec::new());
        let mut ledger = Ledger::of(&kept.0);
        // Those that were handed over before the link was cut, and wait.
        let mut waiting: VecDeque<((i64, u8), Vec<Bookmark>)> = VecDeque::new();
        let whole = [(usize::MAX, usize::MAX, false)];
        for (heard, written_down, is_killed) in cuts.into_iter().chain(whole) {
            let plan = ledger.plan(Some(&stream), NetconfStart::Earliest);
            prop_assert_eq!(&plan.gap, &None);
            let start = second_of(plan.start.as_deref().expect("it replays")).expect("a time");
            ledger.attend(Some(&stream));
            let mut overlap = ledger.overlap();
            let sent = log.iter().enumerate().filter(|(_, (second, _))| 1_000_000 + second >= start);
            for (index, (second, says)) in sent.take(heard) {
                let live = at(*second).replace('Z', &format!(".{:03}Z", fractions[index]));
                // What comes again has no fraction.
                let time = if heard % 2 == 0 { live } else { at(*second) };
                let sighting = sighting(&time, &says.to_string());
                if !overlap.drops(&sighting) {
                    waiting.push_back(((*second, *says), ledger.note(&sighting, NOW)));
                }
            }
            for _ in 0..written_down.min(waiting.len()) {
                if let Some((event, bookmarks)) = waiting.pop_front() {
                    accepted.push(event);
                    kept.take(&bookmarks);
                }
            }
            if is_killed {
                waiting.clear();
                ledger = Ledger::of(&kept.0);
            }
        }
        prop_assert_eq!(accepted, log);
    }

    #[test]
    fn no_bookmarks_make_it_panic(entries in proptest::collection::btree_map("(cursor|heard/-?[0-9]{0,20}/[0-9a-fA-F]{0,33})", "[0-9{}\":a-z]{0,12}", 0..6)) {
        let entries = entries.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect();
        let mut ledger = Ledger::of(&entries);
        let _ = ledger.plan(Some(&log(0, None)), NetconfStart::Latest);
        ledger.note(&sighting("x", "y"), NOW);
    }

    #[test]
    fn no_time_makes_it_panic(text in "\\PC{0,30}", document in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = second_of(&text);
        let _ = time_in(&document);
    }
}
