//! Opening and closing.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::super::keys::Space;
use super::super::{OpenError, keys};
use super::*;

/// The files of a folder with what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry"))
    {
        if entry.path().is_file() {
            found.insert(entry.path(), fs::read(entry.path()).expect("a file"));
        }
    }
    found
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_it_is_opened_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let id = desk.store.id().clone();
    let hook = hook("a", "one");
    desk.write(accepted(event(1, 5, b"<X/>"), &[&hook])).await;
    desk.close();

    let store = Store::open(folder.path()).expect("a store");
    assert_eq!(*store.id(), id);
    assert_eq!(store.summary().last_seq, Seq(1));
    let unsettled = store.unsettled().expect("a read");
    assert_eq!(unsettled.len(), 1);
    assert_eq!(unsettled[0].key, key(1, "a"));
    let definition = store
        .definition(&hook.version)
        .expect("a read")
        .expect("its definition");
    assert_eq!(definition.text, *hook.text);
    let listed = store.event(Seq(1)).expect("a read").expect("the event");
    assert_eq!(listed.event.payload.bytes().as_ref(), b"<X/>");
}

#[test]
fn a_second_one_is_refused_while_the_first_has_it_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = Store::open(folder.path()).expect("a store");
    let error = Store::open(folder.path()).expect_err("a refusal");
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    drop(first);
}

#[test]
fn a_newer_format_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let tree = &store.shared.tree;
    tree.insert(keys::meta("format"), &2_u32.to_be_bytes())
        .expect("a write");
    tree.flush().expect("a write");
    drop(store);
    for _ in 0..2 {
        let error = Store::open(folder.path()).expect_err("a refusal");
        assert!(matches!(error, OpenError::Newer { found: 2, .. }), "{error:?}");
    }

    let folder = tempfile::tempdir().expect("a folder");
    drop(Store::open(folder.path()).expect("a store"));
    fs::write(folder.path().join("hem-store"), "format 3 id k3vd\n").expect("a write");
    let before = files(folder.path());
    let error = Store::open(folder.path()).expect_err("a refusal");
    assert!(matches!(error, OpenError::Newer { found: 3, .. }), "{error:?}");
    assert!(files(folder.path()) == before, "the files changed");
}

#[tokio::test]
async fn a_damaged_folder_is_refused_and_left_untouched() {
    type Damage = fn(&Path);
    // What is done to it, and whether sled takes the log for a new one, which it then makes longer.
    let damages: [(&str, bool, Damage); 5] = [
        ("no counters", false, |folder| {
            let store = Store::open(folder).expect("a store");
            store.shared.tree.remove(keys::meta("totals")).expect("a write");
            store.shared.tree.flush().expect("a write");
        }),
        ("no format", false, |folder| {
            let store = Store::open(folder).expect("a store");
            store.shared.tree.remove(keys::meta("format")).expect("a write");
            store.shared.tree.flush().expect("a write");
        }),
        ("the log is overwritten", true, |folder| {
            let db = folder.join("db");
            let length = fs::metadata(&db).expect("the log").len();
            fs::write(db, vec![b'x'; usize::try_from(length).expect("small")]).expect("a write");
        }),
        ("the log is gone", false, |folder| {
            fs::remove_file(folder.join("db")).expect("the log");
        }),
        ("the label is unreadable", false, |folder| {
            fs::write(folder.join("hem-store"), b"\xff").expect("a write");
        }),
    ];
    for (what, is_foreign, damage) in damages {
        let folder = tempfile::tempdir().expect("a folder");
        let desk = Desk::open(folder.path(), keep_all());
        for seq in 1..50 {
            desk.write(accepted(event(seq, 5, b"<X/>"), &[&hook("a", "one")]))
                .await;
        }
        desk.close();
        damage(folder.path());
        let before = files(folder.path());
        let error = Store::open(folder.path()).expect_err(what);
        assert!(matches!(error, OpenError::Damaged { .. }), "{what}: {error:?}");
        // sled writes a new snapshot of where things are whenever it opens its files; the log is what counts.
        let after = files(folder.path());
        for name in ["db", "conf", "hem-store"] {
            let of = |files: &BTreeMap<PathBuf, Vec<u8>>| files.get(&folder.path().join(name)).cloned();
            assert!(
                is_foreign || of(&after) == of(&before),
                "{what}: `{name}` changed"
            );
        }
        let again = Store::open(folder.path()).expect_err(what);
        assert!(
            matches!(again, OpenError::Damaged { .. }),
            "{what}, once more: {again:?}"
        );
    }
}

/// The store of format 1 as the first release wrote it, checked in.
fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1")
}

/// Writes what the fixture holds.
async fn write_the_fixture(folder: &Path) {
    let desk = Desk::open(folder, keep_all());
    let hook = hook("a", "one");
    desk.write(accepted(event(1, 5, &[b'x'; 20_000]), &[&hook])).await;
    let mut changes = attempted(&key(1, "a"), 1, hook.version, vec![b'y'; 300]);
    changes.push(moved(&key(1, "a"), "queued", succeeded(), hook.version));
    desk.write(changes).await;
    desk.write(accepted(event(2, 6, b"<X/>"), &[&hook])).await;
    desk.write(accepted(event(3, 7, b"<Y/>"), &[])).await;
    desk.write(vec![Change::LastGood {
        file: "a.yaml".to_owned(),
        text: Some((hook.text.to_string(), None)),
    }])
    .await;
    desk.close();
}

#[test]
fn a_store_of_format_1_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (path, content) in files(&fixture()) {
        fs::write(folder.path().join(path.file_name().expect("a name")), content).expect("a copy");
    }
    assert_holds_the_same(folder.path());
}

/// With `HEM_UPDATE_STORE` set this makes the fixture; it is made once for each format, when that is released.
#[tokio::test]
async fn what_this_version_writes_is_what_the_fixture_holds() {
    let temporary = tempfile::tempdir().expect("a folder");
    let folder = match std::env::var_os("HEM_UPDATE_STORE") {
        Some(_) => fixture(),
        None => temporary.path().join("state"),
    };
    write_the_fixture(&folder).await;
    assert_holds_the_same(&folder);
}

/// Asserts that a store holds what [`write_the_fixture`] writes.
fn assert_holds_the_same(folder: &Path) {
    let store = Store::open(folder).expect("a store");
    assert_eq!(all_events(&store), [1, 2, 3]);
    let states: Vec<String> = all_executions(&store)
        .iter()
        .map(|execution| format!("{} {}", execution.key, execution.progress.state.name()))
        .collect();
    assert_eq!(states, ["2.a queued", "1.a succeeded"]);
    let large = store.event(Seq(1)).expect("a read").expect("the event");
    assert_eq!(large.event.payload.bytes().as_ref(), [b'x'; 20_000]);
    let attempts = store.attempts(&key(1, "a")).expect("attempts");
    let ended = attempts[0].ended.as_ref().expect("an end");
    assert_eq!(
        (ended.outcome.clone(), ended.stdout.total),
        (Outcome::Exited { code: 0 }, 300)
    );
    let unsettled = store.unsettled().expect("a read");
    let version = unsettled[0].progress.version;
    let definition = store.definition(&version).expect("a read").expect("a definition");
    assert_eq!(store.last_good().expect("a read")["a.yaml"].0, definition.text);
    let summary = store.summary();
    assert!(summary.events["one"].adds_up());
    assert_eq!(
        (summary.last_seq, summary.unmatched_kept, summary.matched_kept),
        (Seq(3), 1, 2)
    );
}

/// Were one of them told to be unsettled or to be an error, the daemon would not start, whatever else there is to do.
#[tokio::test]
async fn damaged_records_of_executions_keep_nothing_else_from_being_taken_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let hook = hook("a", "one");
    for seq in 1..=20 {
        desk.write(accepted(event(seq, 0, b"a payload"), &[&hook])).await;
        if seq % 2 == 0 {
            let settled = moved(&key(seq, "a"), "queued", succeeded(), hook.version);
            desk.write(vec![settled]).await;
        }
    }
    let border = desk.store.listed_below();
    assert!((5..15).contains(&border), "{border}");
    let place = |seq| keys::of_execution(Space::Execution, &key(seq, "a"));
    let tree = &desk.store.shared.tree;
    // One unsettled and listed, one unsettled and one settled of the newest events.
    for seq in [3, 18, 19] {
        tree.insert(place(seq), b"damaged".as_slice()).expect("a write");
    }
    // This one says that it is unsettled, and nothing else that makes sense.
    let half = b"damaged\n{\"state\":{\"is\":\"queued\"}}\n".as_slice();
    tree.insert(place(17), half).expect("a write");
    desk.close();

    let desk = Desk::open(folder.path(), keep_all());
    let left = desk.store.unsettled().expect("the others");
    let left: Vec<u64> = left.iter().map(|execution| execution.key.event.0).collect();
    assert_eq!(left, [1, 5, 7, 9, 11, 13, 15]);
    assert!(desk.store.execution(&key(18, "a")).is_err(), "the damage is real");
    let settled = moved(&key(15, "a"), "queued", succeeded(), hook.version);
    desk.write(vec![settled]).await;
    assert_eq!(desk.store.unsettled().expect("the others").len(), 6);
    desk.close();
}

/// What a start reads: were a settled record read, its damage would be told.
#[tokio::test]
async fn a_start_reads_only_what_is_unsettled() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let hook = hook("a", "one");
    for seq in 1..=100 {
        desk.write(accepted(event(seq, 0, b"a payload"), &[&hook])).await;
        let key = key(seq, "a");
        let mut changes = attempted(&key, 1, hook.version, b"an output".to_vec());
        if seq % 10 != 0 {
            changes.push(moved(&key, "queued", succeeded(), hook.version));
        }
        desk.write(changes).await;
    }
    let tree = desk.store.shared.tree.clone();
    // Of the newest events each record is looked at.
    let newest = desk.store.listed_below();
    assert!(newest > 90, "{newest}");
    for seq in (1..newest).filter(|seq| seq % 10 != 0) {
        for space in [Space::Event, Space::Payload, Space::Execution, Space::Attempt] {
            for key in tree.scan_prefix(keys::numbered(space, seq)).keys() {
                tree.insert(key.expect("a key"), b"damaged".as_slice())
                    .expect("a write");
            }
        }
    }
    let before = desk.store.summary();
    drop(tree);
    desk.close();
    let store = Store::open(folder.path()).expect("a store");
    let mut left: Vec<u64> = store
        .unsettled()
        .expect("what a start reads is whole")
        .iter()
        .map(|execution| execution.key.event.0)
        .collect();
    left.sort_unstable();
    assert_eq!(left, (1..=10).map(|ten| ten * 10).collect::<Vec<_>>());
    store.overrides().expect("a read");
    store.last_good().expect("a read");
    assert_eq!(format!("{:?}", store.summary()), format!("{before:?}"));
    assert!(store.execution(&key(1, "a")).is_err(), "the damage is real");
}

#[tokio::test]
async fn a_source_was_heard_last_when_its_newest_event_came_that_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let of = |source: &str, seq: u64| {
        let event = Event {
            source: source.into(),
            ..*event(seq, seq.cast_signed() * 1_000, b"x")
        };
        accepted(Box::new(event), &[])
    };
    for (source, seq) in [("a", 1), ("a", 2), ("a", 3), ("b", 4), ("b", 5)] {
        desk.write(of(source, seq)).await;
    }
    let store = &desk.store;
    let last = |source: &str, since: Option<i64>, at_most| {
        let since = since.map(|since| Timestamp::from_millis(since * 1_000));
        let last = store.last_received(source, since, at_most).expect("a read");
        last.map(|at| at.as_millis() / 1_000)
    };
    assert_eq!(
        [last("a", None, 9), last("b", None, 9), last("c", None, 9)],
        [Some(3), Some(5), None]
    );
    assert_eq!(
        last("a", None, 2),
        Some(1),
        "nobody knows; it is no earlier than anything on record"
    );
    let days_later = Some(1_000_000);
    assert_eq!(last("a", days_later, 9), None, "the newest of all is too old");
    for damaged in [3, 5] {
        let place = keys::event(Seq(damaged));
        store
            .shared
            .tree
            .insert(place, b"odd".as_slice())
            .expect("a write");
    }
    assert_eq!([last("a", None, 9), last("b", None, 9)], [Some(2), Some(4)]);
    desk.close();
}
