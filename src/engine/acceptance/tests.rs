//! The matching thread by itself, with its neighbours' ends in hand.

use tempfile::TempDir;
use tokio::sync::{oneshot, watch};

use super::*;
use crate::config::Limits as RoomLimits;
use crate::engine::intake::{Intake, LOST_KEYS, Limits, Pending};
use crate::engine::known_states::{Baseline, CatchUpTotals, GapStory, KnownStates};
use crate::engine::role::{Role, Standing};

#[derive(Debug)]
struct Broken;

impl Decode for Broken {
    fn source(&self) -> Arc<str> {
        "broken".into()
    }

    fn decode(&self, _message: Received) -> Decoded {
        panic!("as it must, in this test")
    }
}

#[test]
fn a_message_that_hem_itself_fails_on_is_kept_and_says_so() {
    let received = Received {
        key: "EVENT API x 1".to_owned(),
        frames: Vec::new(),
        at: Timestamp::from_millis(7),
    };
    let Decoded::Event(event) = decoded(&Broken, received) else {
        panic!("an event")
    };
    assert_eq!(event.key, "EVENT API x 1");
    let Facts::Undecodable { reason } = &event.facts else {
        panic!("undecodable, not {:?}", event.facts)
    };
    assert!(reason.contains("as it must"), "{reason}");
}

/// Keeps every message as it is.
#[derive(Debug)]
struct Plain;

impl Decode for Plain {
    fn source(&self) -> Arc<str> {
        "plain".into()
    }

    fn decode(&self, message: Received) -> Decoded {
        Decoded::Event(Box::new(Event {
            seq: Seq::default(),
            source: self.source(),
            key: message.key,
            subject: None,
            received: message.at,
            facts: Facts::Undecodable {
                reason: "it is not read".to_owned(),
            },
            ambiguous: false,
            synthesised: false,
            payload: Payload::new(Bytes::new()),
        }))
    }
}

/// A thread's state with one source, how it is reached, and what it tells the dispatcher.
struct Bench {
    acceptance: Acceptance,
    intake: Intake,
    told: mpsc::Receiver<Message>,
    _folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = RoomLimits {
            reserve: 0,
            max_backlog: 100,
        };
        let queue = IntakeQueue::new(Limits {
            events: 100,
            bytes: 1 << 20,
        });
        let (intake, (dispatcher, told)) = (queue.source("plain"), mpsc::channel(100));
        let decoder: Arc<dyn Decode> = Arc::new(Plain);
        Self {
            acceptance: Acceptance {
                queue,
                decoders: [("plain".into(), decoder)].into(),
                hooks: Arc::new(HooksInForce::new(BTreeMap::new())),
                store: Store::open(folder.path()).expect("a store"),
                dispatcher,
                connections: Connections::default(),
                room: Arc::new(Room::new(folder.path().to_owned(), limits)),
                works: true,
                role: Arc::new(PresentRole::at_start(true, false)),
                rounds: Arc::default(),
                began_anew: None,
                last_seq: Seq(0),
                shut_out: BTreeMap::new(),
                missed: BTreeMap::new(),
                pool: None,
                tracked: None,
            },
            intake,
            told,
            _folder: folder,
        }
    }

    fn stands(&self, standing: Standing, other_led: bool) {
        self.acceptance.role.set(Role {
            standing,
            since: Timestamp::now(),
            other_led,
        });
    }
}

fn message(at: i64) -> Received {
    Received {
        key: format!("message {at}"),
        frames: Vec::new(),
        at: Timestamp::from_millis(at),
    }
}

/// The keys of what is accepted in one round while the role changes between its messages.
fn keys_around_a_standby(between: &Standing, other_led: bool) -> Vec<String> {
    let mut bench = Bench::new();
    let in_force = bench.acceptance.hooks.now();
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    let roles = [
        (Standing::Leader, false),
        (between.clone(), other_led),
        (Standing::Leader, other_led),
    ];
    for (at, (standing, other_led)) in (1..).zip(roles) {
        bench.stands(standing, other_led);
        let entry = Entry::Message {
            source: "plain".into(),
            received: message(at),
        };
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    assert_eq!(not_accepted["plain"].refused, 1);
    assert!(bench.acceptance.hand_on(offers, &in_force));
    let mut keys = Vec::new();
    while let Ok(told) = bench.told.try_recv() {
        if let Message::Offers(offers, _) = told {
            keys.extend(offers.into_iter().map(|offer| offer.event.key.clone()));
        }
    }
    keys
}

#[test]
fn a_standby_that_begins_and_ends_within_one_round_is_noticed() {
    let unknown = Standing::Unknown("it is gone".to_owned());
    let keys = keys_around_a_standby(&unknown, false);
    assert_eq!(keys, ["message 1", "GAP", "message 3"]);
    let follower = Standing::NotLeading("FOLLOWER".to_owned());
    let keys = keys_around_a_standby(&follower, true);
    assert_eq!(keys, ["message 1", "message 3"], "whoever led saw the other one");
}

#[test]
fn what_sources_refused_last_is_counted_before_the_thread_ends() {
    let Bench {
        acceptance,
        intake,
        mut told,
        _folder,
    } = Bench::new();
    let stop = CancellationToken::new();
    stop.cancel();
    intake.not_kept(NotKept::Duplicate);
    intake.not_kept(NotKept::Refused("too large"));
    acceptance.run(&stop);
    let Some(Message::NotAccepted { source, counters }) = told.blocking_recv() else {
        panic!("it is counted")
    };
    assert_eq!(source, "plain");
    let counted = (counters.received, counters.duplicate, counters.refused);
    assert_eq!(counted, (2, 1, 1));
}

#[test]
fn what_a_source_keeps_stands_with_its_event_and_behind_what_came_before() {
    let mut bench = Bench::new();
    bench.stands(Standing::Leader, false);
    let in_force = bench.acceptance.hooks.now();
    let bookmark = |value: &'static str| vec![Bookmark::new("cursor", value).expect("a bookmark")];
    let Decoded::Event(event) = Plain.decode(message(1)) else {
        panic!("an event")
    };
    let _pending = bench.intake.hand_over(*event, bookmark("1")).expect("room");
    let (reply, _answer) = oneshot::channel();
    let mut entries = bench.acceptance.queue.take(1, Duration::ZERO);
    entries.push(Entry::Kept(Box::new(Keeping {
        source: "plain".into(),
        bookmarks: bookmark("2"),
        reply,
    })));
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    for entry in entries {
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    assert!(offers.is_empty(), "what came before is handed on first");
    let values = |changes: &[Change]| -> Vec<String> {
        let value = |change: &Change| match change {
            Change::Bookmark { source, bookmark } if **source == *"plain" => {
                String::from_utf8_lossy(bookmark.value().expect("a value")).into_owned()
            }
            other => panic!("{other:?}"),
        };
        changes.iter().map(value).collect()
    };
    let Some(Message::Offers(offers, _)) = bench.told.blocking_recv() else {
        panic!("the event")
    };
    let [offer] = offers.as_slice() else {
        panic!("one event: {offers:?}")
    };
    assert_eq!(values(&offer.learned), ["1"]);
    let Some(Message::Kept { changes, .. }) = bench.told.blocking_recv() else {
        panic!("what is kept")
    };
    assert_eq!(values(&changes), ["2"]);
}

#[test]
fn what_a_source_keeps_is_not_kept_where_there_is_no_room() {
    let mut bench = Bench::new();
    bench.stands(Standing::Leader, false);
    let in_force = bench.acceptance.hooks.now();
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    // So many wait that there is no room, and then not any more.
    for (backlog, is_kept) in [(101, false), (100, true)] {
        bench.acceptance.room.look(backlog);
        let (reply, mut answer) = oneshot::channel();
        let entry = Entry::Kept(Box::new(Keeping {
            source: "plain".into(),
            bookmarks: vec![Bookmark::new("cursor", "1").expect("a bookmark")],
            reply,
        }));
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
        let answered = answer.try_recv();
        let is_refused = matches!(&answered, Ok(Err(NotAccepted::NoRoom(why))) if why.contains("backlog"));
        assert_eq!(!is_refused, is_kept, "{answered:?}");
        let mut told = std::iter::from_fn(|| bench.told.try_recv().ok());
        assert_eq!(
            told.any(|message| matches!(message, Message::Kept { .. })),
            is_kept
        );
    }
}

#[test]
fn of_a_sequence_nothing_is_accepted_behind_what_was_not() {
    let mut bench = Bench::new();
    bench.stands(Standing::Leader, false);
    let in_force = bench.acceptance.hooks.now();
    let next = |n| match Plain.decode(message(n)) {
        Decoded::Event(event) => *event,
        other => panic!("{other:?}"),
    };
    let cursor = |value: &'static str| vec![Bookmark::new("cursor", value).expect("a bookmark")];
    let mut sequence = bench.intake.sequence();
    let mut pendings = Vec::new();
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    // There is room for all but the second; one that is no part of it is judged by itself.
    for (n, backlog) in [(1, 0), (2, 101), (3, 0)] {
        bench.acceptance.room.look(backlog);
        pendings.push(sequence.hand_over(next(n), cursor("1")));
        let apart = bench.intake.hand_over(next(n), Vec::new());
        assert!(apart.is_ok(), "{apart:?}");
        for entry in bench.acceptance.queue.take(10, Duration::ZERO) {
            bench
                .acceptance
                .take(entry, &in_force, &mut offers, &mut not_accepted);
        }
    }
    let with_cursor = |offers: &[Offer]| offers.iter().filter(|offer| !offer.learned.is_empty()).count();
    assert_eq!((offers.len(), with_cursor(&offers)), (3, 1));
    assert!(
        matches!(pendings.pop(), Some(Err(NotAccepted::Behind))),
        "at the door"
    );
    // What was on its way already when the one before it was refused.
    sequence.begin_anew();
    let first = sequence.hand_over(next(2), cursor("2")).expect("room");
    let second = sequence.hand_over(next(3), cursor("3")).expect("room");
    for (entry, backlog) in bench
        .acceptance
        .queue
        .take(10, Duration::ZERO)
        .into_iter()
        .zip([101, 0])
    {
        bench.acceptance.room.look(backlog);
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let answered = |pending: Pending| runtime.block_on(pending.accepted());
    assert!(matches!(answered(first), Err(NotAccepted::NoRoom(_))));
    assert_eq!(answered(second), Err(NotAccepted::Behind));
    sequence.begin_anew();
    let _again = sequence.hand_over(next(2), cursor("2")).expect("room");
    for entry in bench.acceptance.queue.take(10, Duration::ZERO) {
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    assert_eq!((offers.len(), with_cursor(&offers)), (4, 2));
}

/// A thread's state whose one source is asked for the states that were missed, and was heard until second 1.
fn tracked() -> Bench {
    let mut bench = Bench::new();
    bench.stands(Standing::Leader, false);
    let baseline = Baseline {
        heard: Some(Timestamp::from_millis(1_000)),
        open: Vec::new(),
        totals: CatchUpTotals::default(),
    };
    let hour = Duration::from_secs(3_600);
    let known = KnownStates::new("plain".into(), hour, Some(baseline), Vec::new(), |_| {
        GapStory::default()
    });
    bench.acceptance.tracked = Some(Tracked::new(known, watch::channel(false).0));
    bench.acceptance.tracked_is_up("plain", true);
    bench
}

/// Until when the source is heard, by each note of it, and the keys of what is accepted, in the order in which they are told.
fn words(told: &mut mpsc::Receiver<Message>) -> Vec<String> {
    let mut words = Vec::new();
    while let Ok(message) = told.try_recv() {
        match message {
            Message::Learned(changes) => words.extend(changes.into_iter().map(|change| match change {
                Change::Baseline {
                    baseline: Some(baseline),
                    ..
                } => format!("heard until {:?}", baseline.heard.map(Timestamp::as_millis)),
                other => panic!("{other:?}"),
            })),
            Message::Offers(offers, _) => words.extend(offers.into_iter().map(|offer| {
                let from = match &offer.event.facts {
                    Facts::Gap(gap) => {
                        format!(" {}-{} {}", gap.from.as_millis(), gap.to.as_millis(), gap.why)
                    }
                    _ => String::new(),
                };
                format!("{}{from}", offer.event.key)
            })),
            _ => {}
        }
    }
    words
}

#[test]
fn what_is_lost_for_want_of_room_until_the_end_is_missed_from_its_first_message_on() {
    let mut bench = tracked();
    bench.acceptance.room.look(101);
    bench.intake.offer(message(5_000));
    bench.intake.offer(message(9_000));
    bench.intake.disconnected("the end of the test");
    let stop = CancellationToken::new();
    stop.cancel();
    bench.acceptance.run(&stop);
    let words = words(&mut bench.told);
    assert_eq!(
        words.last().map(String::as_str),
        Some("heard until Some(5000)"),
        "{words:?}"
    );
}

#[test]
fn what_was_lost_for_want_of_room_is_written_down_before_anything_newer() {
    let mut bench = tracked();
    let in_force = bench.acceptance.hooks.now();
    let entry = |at| Entry::Message {
        source: "plain".into(),
        received: message(at),
    };
    let full = Entry::Lost {
        source: "plain".into(),
        gap: gap_of(
            Timestamp::from_millis(6_000),
            Timestamp::from_millis(7_000),
            "the intake queue was full".to_owned(),
        ),
    };
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    for (backlog, entry) in [
        (0, entry(4_000)),
        (101, entry(5_000)),
        (101, full),
        (101, entry(8_000)),
        (0, entry(9_000)),
    ] {
        bench.acceptance.room.look(backlog);
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    assert!(bench.acceptance.hand_on(offers, &in_force));
    let words = words(&mut bench.told);
    let backlog = "the backlog is full: 101 executions wait (`limits.max_backlog`)";
    assert_eq!(
        words,
        [
            "message 4000".to_owned(),
            "heard until Some(5000)".to_owned(),
            format!("GAP 5000-5000 {backlog}"),
            "GAP 6000-7000 the intake queue was full".to_owned(),
            "heard until Some(5000)".to_owned(),
            format!("GAP 8000-8000 {backlog}"),
            "message 9000".to_owned(),
        ]
    );
}

#[test]
fn what_is_lost_for_want_of_room_costs_little_whatever_keys_it_has() {
    let mut bench = tracked();
    let in_force = bench.acceptance.hooks.now();
    let (mut offers, mut not_accepted) = (Vec::new(), BTreeMap::new());
    bench.acceptance.room.look(101);
    for at in 1..=500 {
        let entry = Entry::Message {
            source: "plain".into(),
            received: Received {
                key: "k".repeat(100_000),
                ..message(at)
            },
        };
        bench
            .acceptance
            .take(entry, &in_force, &mut offers, &mut not_accepted);
    }
    bench.acceptance.room.look(0);
    bench.acceptance.tell_shut_out(&in_force, &mut offers);
    let [offer] = offers.as_slice() else {
        panic!("one gap: {offers:?}")
    };
    let Facts::Gap(gap) = &offer.event.facts else {
        panic!("a gap: {:?}", offer.event)
    };
    assert_eq!((gap.lost, gap.keys.len()), (500, LOST_KEYS));
    assert!(gap.keys.iter().map(String::len).sum::<usize>() < 100_000);
}
