//! Stores damaged at random: nothing panics, nothing is replaced in silence, and what salvage keeps is what was written.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::super::Override;
use super::super::salvage::{SalvageError, Salvaged, salvage};
use super::*;
use crate::engine::execution::{Actor, Attempt};

const EVENTS: u64 = 90;

/// Damages that are tried.
const SEEDS: u64 = 100;

/// What was written of an event.
struct Written {
    payload: Vec<u8>,
    /// Its execution, as far as it came, and what it printed.
    execution: Option<(bool, Vec<u8>)>,
}

type History = BTreeMap<u64, Written>;

fn noise(rng: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// A store with work done and work to do, an override, texts and orders, in a log of some segments.
async fn filled(folder: &Path) -> History {
    let mut rng = fastrand::Rng::with_seed(7);
    let desk = Desk::open(folder, keep_all());
    let hook = hook("a", "one");
    let mut history = History::new();
    for seq in 1..=EVENTS {
        let length = if seq % 20 == 0 { 30_000 } else { 2_000 };
        let payload = noise(&mut rng, length);
        let hooks: &[&Arc<Hook>] = if seq % 3 == 0 { &[] } else { &[&hook] };
        desk.write(accepted(event(seq, 5, &payload), hooks)).await;
        let execution = (seq % 3 > 0).then(|| {
            let output = noise(&mut rng, 1_000);
            (seq % 3 == 1, output)
        });
        if let Some((is_settled, output)) = &execution {
            let key = key(seq, "a");
            let mut changes = attempted(&key, 1, hook.version, output.clone());
            if *is_settled {
                changes.push(moved(&key, "queued", succeeded(), hook.version));
            }
            desk.write(changes).await;
        }
        history.insert(seq, Written { payload, execution });
    }
    desk.write(vec![
        Change::Override(
            HookName::trusted("a"),
            Some(Override {
                enabled: false,
                actor: Actor::Daemon,
                at: Timestamp::from_millis(1),
            }),
        ),
        Change::Audit {
            at: Timestamp::from_millis(1),
            actor: Actor::User { uid: 7 },
            action: "disable",
            target: "a".to_owned(),
        },
        Change::LastGood {
            file: "a.yaml".to_owned(),
            text: Some(("name: a\n".repeat(2_000), None)),
        },
    ])
    .await;
    desk.close();
    // A second life leaves a snapshot.
    drop(Store::open(folder).expect("a store"));
    history
}

fn copied(from: &Path, to: &Path) {
    fs::create_dir_all(to.join("blobs")).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        if entry.path().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
        }
    }
}

fn snapshots(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("snap"))
        })
        .collect()
}

/// Does one thing, or some, to the files; says what.
fn damage(folder: &Path, rng: &mut fastrand::Rng) -> String {
    let mut done = Vec::new();
    for _ in 0..rng.u32(1..=2) {
        done.push(damage_once(folder, rng));
    }
    done.join(", ")
}

fn damage_once(folder: &Path, rng: &mut fastrand::Rng) -> String {
    let db = folder.join("db");
    let files = |folder: &Path| -> Vec<std::path::PathBuf> {
        let mut found = snapshots(folder);
        found.extend(["db", "conf", "hem-store"].map(|name| folder.join(name)));
        found.retain(|path| path.exists());
        found.sort();
        found
    };
    let all = files(folder);
    let Some(file) = (!all.is_empty()).then(|| all[rng.usize(..all.len())].clone()) else {
        return "nothing is left".to_owned();
    };
    let name = file.file_name().expect("a name").to_string_lossy().into_owned();
    let write = |path: &Path| OpenOptions::new().write(true).open(path).expect("the file");
    let length = |path: &Path| path.metadata().map_or(0, |found| found.len());
    match rng.u32(0..10) {
        // Most things happen to the log, because it is most of a store.
        0..3 if length(&db) > 0 => {
            let keep = rng.u64(0..length(&db));
            write(&db).set_len(keep).expect("a cut");
            format!("log cut to {keep}")
        }
        3..6 if length(&db) > 0 => {
            let (count, log) = (rng.u64(1..200), write(&db));
            for _ in 0..count {
                let at = rng.u64(0..length(&db));
                log.write_all_at(&[rng.u8(..)], at).expect("damage");
            }
            format!("{count} bytes of the log changed")
        }
        6 if length(&db) > 0 => {
            let (at, size) = (rng.u64(0..length(&db)), rng.usize(1..200_000));
            let bytes = if rng.bool() {
                vec![0; size]
            } else {
                noise(rng, size)
            };
            write(&db).write_all_at(&bytes, at).expect("damage");
            format!("{size} bytes of the log overwritten at {at}")
        }
        7 => {
            fs::remove_file(&file).expect("removed");
            format!("{name} removed")
        }
        8 => {
            let keep = rng.u64(0..=length(&file));
            write(&file).set_len(keep).expect("a cut");
            format!("{name} cut to {keep}")
        }
        _ => {
            let bytes = noise(rng, usize::try_from(length(&file).min(5_000)).expect("small"));
            fs::write(&file, bytes).expect("damage");
            format!("{name} is noise")
        }
    }
}

/// Everything that the store shows is as it was written, or as it was at some time before. Panics where it is not.
fn assert_true_to(history: &History, store: &Store, what: &str) -> (u64, u64) {
    let mut executions = 0;
    let events = all_events(store);
    for seq in &events {
        let whole = store.event(Seq(*seq)).expect("a read").expect("the event");
        let written = &history[seq];
        // Of an event that matched nothing the record may be kept without its payload.
        let payload = whole.event.payload.bytes().as_ref();
        assert!(
            payload == written.payload || (payload.is_empty() && written.execution.is_none()),
            "{what}: the payload of {seq} is another one"
        );
        for execution in store.executions_of(Seq(*seq)).expect("a read") {
            executions += 1;
            let (is_settled, output) = written.execution.as_ref().expect("an execution");
            assert!(
                *is_settled || !execution.progress.state.is_settled(),
                "{what}: {seq} waits still"
            );
            let attempts: Vec<Attempt> = store.attempts(&execution.key).expect(what);
            for ended in attempts.iter().filter_map(|attempt| attempt.ended.as_ref()) {
                let kept = ended.stdout.head.as_ref();
                assert!(
                    output.starts_with(kept),
                    "{what}: the output of {seq} is another one"
                );
            }
        }
    }
    for execution in store.unsettled().expect(what) {
        assert!(store.event(execution.key.event).expect(what).is_some(), "{what}");
    }
    store.audit(usize::MAX).expect(what);
    store.overrides().expect(what);
    store.last_good().expect(what);
    (events.len() as u64, executions)
}

/// What salvage gave, held against what was written; none where it gave nothing, and then nothing may have changed.
fn salvaged(folder: &Path, history: &History, what: &str) -> Option<Salvaged> {
    let contents = || -> BTreeMap<_, _> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(path).expect("a file")))
            .collect()
    };
    let before = contents();
    let saved = match salvage(folder, |_| {}) {
        Ok(saved) => saved,
        Err(
            SalvageError::NothingReadable { .. } | SalvageError::Absent { .. } | SalvageError::Newer { .. },
        ) => {
            assert!(contents() == before, "{what}: the damaged store was changed");
            return None;
        }
        Err(error) => panic!("{what}: {error:?}"),
    };
    let store = Store::open(folder).expect(what);
    let counts = assert_true_to(history, &store, what);
    assert_eq!(counts, (saved.events, saved.executions), "{what}");
    let summary = store.summary();
    assert_eq!(
        store.unsettled().expect(what).len() as u64,
        saved.unsettled,
        "{what}"
    );
    assert!(
        summary.last_seq.0 >= all_events(&store).last().copied().unwrap_or(0),
        "{what}"
    );
    keeping::assert_counts(&store);
    for (path, bytes) in before {
        let kept = saved.set_aside.join(path.file_name().expect("a name"));
        assert!(
            fs::read(kept).expect(what) == bytes,
            "{what}: the damaged store is set aside as it was"
        );
    }
    Some(saved)
}

#[tokio::test]
async fn a_hundred_random_damages_panic_nothing_replace_nothing_and_lose_only_what_is_unreadable() {
    let parent = tempfile::tempdir().expect("a folder");
    let sound = parent.path().join("sound");
    let history = filled(&sound).await;
    let id = Store::open(&sound).expect("a store").id().clone();
    let waiting = history
        .values()
        .filter(|written| matches!(written.execution, Some((false, _))))
        .count() as u64;
    let (mut opened, mut saved, mut events, mut work) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = parent.path().join(format!("state-{seed}"));
        copied(&sound, &folder);
        let what = format!("seed {seed}, {}", damage(&folder, &mut rng));

        // A daemon's start, on a copy: it opens the store that was there, or refuses.
        let tried = parent.path().join("tried");
        copied(&folder, &tried);
        let had_files = tried.join("db").exists() || tried.join("hem-store").exists();
        match Store::open(&tried) {
            Ok(store) => {
                assert!(
                    !had_files || *store.id() == id,
                    "{what}: another store took its place"
                );
                opened += 1;
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{what}"),
        }
        fs::remove_dir_all(&tried).expect("removed");

        if let Some(came) = salvaged(&folder, &history, &what) {
            saved += 1;
            events += came.events;
            work += came.unsettled.min(waiting);
            fs::remove_dir_all(&came.set_aside).expect("removed");
        }
        fs::remove_dir_all(&folder).expect("removed");
    }
    println!(
        "of {SEEDS} damaged stores {opened} opened and {saved} were salvaged, with {} of 100 events and {} of 100 executions \
         still to be done",
        events * 100 / (EVENTS * saved).max(1),
        work * 100 / (waiting * saved).max(1)
    );
    assert!(saved >= SEEDS * 3 / 4, "{saved} were salvaged");
    // A cut takes half of the log on average, so that all cannot be asked for.
    assert!(
        work * 2 >= waiting * saved,
        "{work} of what was to be done was found again in {saved} stores of {waiting}"
    );
}

#[tokio::test]
async fn a_folder_without_its_log_its_label_or_anything_is_told_apart() {
    let parent = tempfile::tempdir().expect("a folder");
    let sound = parent.path().join("sound");
    let history = filled(&sound).await;
    let id = Store::open(&sound).expect("a store").id().clone();
    // Files that are gone, whether the store opens, and whether everything is salvaged.
    let cases: [(&[&str], bool, bool); 5] = [
        (&["conf"], true, true),
        (&["hem-store"], true, true),
        (&["snap"], true, true),
        (&["db"], false, false),
        (&["db", "snap", "conf"], false, false),
    ];
    for (number, (gone, opens, is_saved)) in cases.into_iter().enumerate() {
        let what = format!("without {gone:?}");
        let folder = parent.path().join(format!("state-{number}"));
        copied(&sound, &folder);
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if path.is_file() && gone.iter().any(|gone| name.starts_with(gone)) {
                fs::remove_file(path).expect("removed");
            }
        }
        let tried = parent.path().join(format!("tried-{number}"));
        copied(&folder, &tried);
        match Store::open(&tried) {
            Ok(store) => assert!(opens && *store.id() == id, "{what}"),
            Err(error) => assert!(!opens, "{what}: {error}"),
        }
        let saved = salvaged(&folder, &history, &what);
        assert_eq!(
            saved.map(|saved| saved.events),
            is_saved.then_some(EVENTS),
            "{what}"
        );
    }
    let nothing = parent.path().join("nothing");
    fs::create_dir(&nothing).expect("a folder");
    assert!(matches!(
        salvage(&nothing, |_| {}),
        Err(SalvageError::Absent { .. })
    ));
}
