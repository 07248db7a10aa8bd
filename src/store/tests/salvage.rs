//! Salvage of stores damaged in many ways.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::super::blob;
use super::super::draft::Lines;
use super::super::keys::{self, AttemptPart, Space};
use super::super::salvage::{SalvageError, Salvaged, salvage};
use super::*;
use crate::engine::mute::{Mute, MutedBy, Scope};
use crate::engine::outbox::Owed;
use crate::event::own::{OwnEvent, SourceDown};

const EVENTS: u64 = 400;

/// A store with events large and small, half of them with an execution, all still to be done.
async fn filled(folder: &Path) -> Arc<Hook> {
    let desk = Desk::open(folder, keep_all());
    let hook = hook("a", "one");
    for seq in 1..=EVENTS {
        let payload = noise(seq, if seq % 50 == 0 { 60_000 } else { 2_000 });
        let hooks: &[&Arc<Hook>] = if seq % 2 == 0 { &[&hook] } else { &[] };
        desk.write(accepted(event(seq, 5, &payload), hooks)).await;
    }
    desk.close();
    hook
}

/// Bytes that do not compress, the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..length).map(|_| rng.u8(..)).collect()
}

/// Salvages, and holds what came of it to the figures that were given. None where nothing is readable, and then nothing
/// may have changed: how much sled reads of a damaged log hangs on where the damage lies.
fn salvaged(folder: &Path) -> Option<Salvaged> {
    let before = fs::read(folder.join("db")).expect("the log");
    let saved = match salvage(folder, |_| {}) {
        Ok(saved) => saved,
        Err(SalvageError::NothingReadable { .. }) => {
            assert_eq!(fs::read(folder.join("db")).expect("the log"), before);
            return None;
        }
        Err(error) => panic!("{error:?}"),
    };
    let store = Store::open(folder).expect("a store that opens");
    let summary = store.summary();
    assert_eq!(summary.unmatched_kept + summary.matched_kept, saved.events);
    assert_eq!(summary.executions.values().sum::<u64>(), saved.executions);
    assert_eq!(store.unsettled().expect("a read").len() as u64, saved.unsettled);
    let everything = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    for listed in store.events(&everything).expect("events") {
        let seq = listed.event.seq;
        assert!(summary.last_seq >= seq, "numbers are not given twice");
        let whole = store.event(seq).expect("a read").expect("the event");
        if !whole.event.payload.bytes().is_empty() {
            assert_eq!(
                whole.event.payload.bytes().len() as u64,
                whole.payload_len,
                "event {seq}"
            );
        }
    }
    for execution in store.unsettled().expect("a read") {
        assert!(store.event(execution.key.event).expect("a read").is_some());
    }
    let kept = fs::read(saved.set_aside.join("db")).expect("the damaged store is kept");
    assert_eq!(kept, before);
    Some(saved)
}

#[tokio::test]
async fn a_sound_store_is_saved_whole() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    let hook = filled(&folder).await;
    let id = Store::open(&folder).expect("a store").id().clone();
    let saved = salvaged(&folder).expect("all of it");
    assert_eq!(
        (saved.events, saved.executions, saved.unsettled),
        (EVENTS, EVENTS / 2, EVENTS / 2)
    );
    assert_eq!((saved.left_out, saved.cut, saved.id), (0, 0, id));
    let store = Store::open(&folder).expect("a store");
    assert!(store.definition(&hook.version).expect("a read").is_some());
}

#[tokio::test]
async fn a_log_that_lost_its_end_gives_what_sled_still_reads_or_is_left_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    filled(&folder).await;
    let log = OpenOptions::new()
        .write(true)
        .open(folder.join("db"))
        .expect("the log");
    let length = log.metadata().expect("its length").len();
    log.set_len(length - (600 << 10)).expect("a cut");
    for entry in fs::read_dir(&folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("snap"))
        {
            fs::remove_file(path).expect("removed");
        }
    }
    if let Some(saved) = salvaged(&folder) {
        assert!(saved.events <= EVENTS);
    }
}

#[tokio::test]
async fn overwritten_parts_leave_what_sled_still_reads_or_are_left_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let sound = parent.path().join("sound");
    filled(&sound).await;
    let length = fs::metadata(sound.join("db")).expect("the log").len();
    for seed in 0..8 {
        let folder = parent.path().join(format!("state-{seed}"));
        fs::create_dir_all(folder.join("blobs")).expect("a folder");
        for entry in fs::read_dir(&sound).expect("a folder") {
            let entry = entry.expect("an entry");
            if entry.path().is_file() {
                fs::copy(entry.path(), folder.join(entry.file_name())).expect("a copy");
            }
        }
        let log = OpenOptions::new()
            .write(true)
            .open(folder.join("db"))
            .expect("the log");
        let at = fastrand::Rng::with_seed(seed).u64(length / 4..length);
        log.write_all_at(&noise(seed, 4_096), at).expect("damage");
        drop(log);
        if let Some(saved) = salvaged(&folder) {
            assert!(saved.events <= EVENTS);
        }
    }
}

#[tokio::test]
async fn what_is_no_store_or_in_use_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(matches!(
        salvage(folder.path(), |_| {}),
        Err(SalvageError::Absent { .. })
    ));
    let store = Store::open(folder.path()).expect("a store");
    assert!(matches!(
        salvage(folder.path(), |_| {}),
        Err(SalvageError::InUse { .. })
    ));
    drop(store);
}

/// An attempt that cannot be read is left out with what it printed; its execution, and the other attempts, are not.
#[tokio::test]
async fn an_attempt_that_makes_no_sense_goes_alone() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    let desk = Desk::open(&folder, keep_all());
    let hook = hook("a", "one");
    for seq in 1..=2 {
        desk.write(accepted(event(seq, 5, b"<X/>"), &[&hook])).await;
        for attempt in 1..=2 {
            desk.write(attempted(&key(seq, "a"), attempt, hook.version, noise(seq, 300)))
                .await;
        }
    }
    let tree = &desk.store.shared.tree;
    // Of the first the newest attempt, which stands in its record; of the second the one before it, which stands apart.
    let place = keys::of_execution(Space::Execution, &key(1, "a"));
    let record = tree.get(&place).expect("a read").expect("the record");
    let lines = Lines::of(&record);
    let damaged = blob::record(&[lines.fixed, lines.progress], b"no attempt");
    tree.insert(place, damaged).expect("a write");
    let apart = keys::attempt(&key(2, "a"), 1, AttemptPart::Record);
    for entry in tree.scan_prefix(apart).keys() {
        tree.insert(entry.expect("a read"), b"no attempt".as_slice())
            .expect("a write");
    }
    assert!(desk.store.attempts(&key(1, "a")).is_err(), "the damage is real");
    assert!(desk.store.attempts(&key(2, "a")).is_err(), "the damage is real");
    desk.close();

    let saved = salvaged(&folder).expect("the rest");
    assert_eq!((saved.events, saved.executions, saved.left_out), (2, 2, 0));
    let store = Store::open(&folder).expect("a store");
    let numbers = |seq| -> Vec<u32> {
        let attempts = store.attempts(&key(seq, "a")).expect("what is left is whole");
        attempts.iter().map(|attempt| attempt.number).collect()
    };
    assert_eq!((numbers(1), numbers(2)), (vec![1], vec![2]));
    keeping::assert_counts(&store);
}

/// Of what a daemon reads at its start, and of what it looks at again and again, nothing is left that cannot be read.
#[tokio::test]
async fn own_events_mutes_and_results_that_make_no_sense_go_and_the_others_stay() {
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("state");
    let desk = Desk::open(&folder, keep_all());
    let at = Timestamp::from_millis(5);
    let own = |source: &str| {
        OwnEvent::SourceDown(SourceDown {
            source: source.to_owned(),
            since: at,
            after: std::time::Duration::from_secs(1),
            error: None,
            at,
        })
    };
    let scope = |hook: &str| Scope::Hook(HookName::trusted(hook));
    let mute = |hook: &str| Mute {
        scope: scope(hook),
        since: at,
        until: None,
        by: MutedBy::Throttle,
        reason: None,
    };
    let owed = |number| Owed {
        number,
        source: "one".into(),
        hook_id: 7,
        execution: key(1, "a"),
        attempt: 1,
        version: Version([0; 32]),
    };
    desk.write(vec![
        Change::Untold(own("damaged")),
        Change::Untold(own("whole")),
        Change::Record(Record::Muted(mute("damaged"))),
        Change::Record(Record::Muted(mute("whole"))),
        Change::Owed(owed(1)),
        Change::Owed(owed(2)),
    ])
    .await;
    let mut untold = keys::untold(&own("damaged").identity());
    untold.extend([0; 4]);
    for place in [untold, keys::of_mute(&scope("damaged")), keys::owed(1)] {
        let former = desk.store.shared.tree.insert(place, b"odd".as_slice());
        assert!(former.expect("a write").is_some(), "it stood there");
    }
    assert_eq!(desk.store.untold(9).expect("the others"), [own("whole")]);
    assert!(
        desk.store.mutes().is_err() && desk.store.owed().is_err(),
        "the damage is real"
    );
    desk.close();

    salvaged(&folder).expect("the rest");
    let store = Store::open(&folder).expect("a store");
    assert_eq!(store.untold(9).expect("a read"), [own("whole")]);
    assert_eq!(store.mutes().expect("a read"), [mute("whole")]);
    assert_eq!(store.owed().expect("a read"), [owed(2)]);
    let left = store.shared.tree.scan_prefix(keys::space(Space::Untold));
    assert_eq!(left.count(), 1);
}
