//! An execution's record: how many writes it takes, and that nothing of it is lost however long it is and in whatever steps it comes.

use proptest::prelude::*;

use super::super::draft::Draft;
use super::super::format::StoredAttempt;
use super::super::keys::Space;
use super::super::{blob, keys};
use super::*;
use crate::engine::execution::{Actor, Attempt, CancelReason};

fn noise(rng: &mut fastrand::Rng, length: usize) -> String {
    std::iter::repeat_with(|| rng.alphanumeric())
        .take(length)
        .collect()
}

/// What is there but for what the store says of itself, definitions and the audit log.
fn entries(store: &Store) -> Vec<sled::IVec> {
    let lasting = [Space::Meta, Space::Definition, Space::Audit].map(|space| space as u8);
    let keys = store.shared.tree.iter().keys().map(|key| key.expect("a read"));
    keys.filter(|key| !lasting.contains(&key[0])).collect()
}

/// Every write counts in processor time and in wear of the disk.
#[tokio::test]
async fn a_short_execution_with_its_event_is_five_writes() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let hook = hook("a", "one");
    // The definition is written once, with the first.
    desk.write(accepted(event(1, 0, b"<X/>"), &[&hook])).await;
    let mut writes = desk.store.shared.tree.watch_prefix(Vec::new());
    let key = key(2, "a");
    desk.write(accepted(event(2, 0, &[b'x'; 2_000]), &[&hook])).await;
    let mut attempt = attempted(&key, 1, hook.version, Vec::new());
    if let Change::Started { process, .. } = &mut attempt[1] {
        process.arguments_sha256 = None;
    }
    let ending = attempt.split_off(1);
    let running = State::Running {
        attempt: 1,
        cause: Cause::Event,
        since: Timestamp::from_millis(2),
        ended_for: None,
    };
    attempt.insert(0, moved(&key, "queued", running, hook.version));
    desk.write(attempt).await;
    desk.write(
        ending
            .into_iter()
            .chain([moved(&key, "running", succeeded(), hook.version)])
            .collect(),
    )
    .await;
    let mut written = Vec::new();
    while let Ok(write) = writes.next_timeout(std::time::Duration::ZERO) {
        let (sled::Event::Insert { key, .. } | sled::Event::Remove { key }) = write;
        written.push(key);
    }
    let mut spaces: Vec<char> = written
        .iter()
        .map(|key| char::from(key[0]))
        .filter(|space| *space != 'M')
        .collect();
    spaces.sort_unstable();
    assert_eq!(spaces, ['E', 'H', 'X', 'X', 'X']);
    assert_eq!(written.len() - spaces.len(), 3, "the counters, once a batch");
    assert_eq!(desk.store.attempts(&key).expect("a read").len(), 1);
    desk.close();
}

/// A longer value than [`blob::PIECE`] is what sled keeps where it is not synced.
#[test]
fn a_record_stays_within_a_piece_however_its_parts_grow() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a store");
    let tree = &store.shared.tree;
    let sizes = (
        0..4_500_usize,
        0..4_500_usize,
        0..1_500_usize,
        proptest::num::u64::ANY,
    );
    let last = std::cell::Cell::new(0);
    proptest!(|((why, environment, actor, seed) in sizes)| {
        let mut rng = fastrand::Rng::with_seed(seed);
        last.set(last.get() + 1);
        let (hook, key) = (hook("a", "one"), key(last.get(), "a"));
        let write = |draft: Draft, mut batch: sled::Batch| {
            draft.write(tree, &key, &mut batch).expect("a write");
            tree.apply_batch(batch).expect("a write");
            let record = tree.get(keys::of_execution(Space::Execution, &key)).expect("a read");
            record.expect("a record").len()
        };
        let execution = Execution {
            key: key.clone(),
            source: "one".into(),
            subject: None,
            accepted: Timestamp::from_millis(0),
            why: noise(&mut rng, why),
            retry_of: None,
            progress: progress(queued(), hook.version),
        };
        let mut batch = sled::Batch::default();
        let mut draft = Draft::new(&execution, &mut batch);
        let mut attempt = StoredAttempt::new(1, &Cause::Event, Timestamp::from_millis(2));
        let mut process = attempted(&key, 1, hook.version, Vec::new()).swap_remove(1);
        let Change::Started { process, .. } = &mut process else {
            panic!("a process");
        };
        process.environment = vec![("NOISE".to_owned(), noise(&mut rng, environment))];
        attempt.start(process);
        draft.release(attempt);
        prop_assert!(write(draft, batch) <= blob::PIECE);

        // Who stopped it makes the progress longer, before an attempt that nobody asked for.
        let actor = Actor::Token { name: noise(&mut rng, actor).into() };
        let cancelled = State::Settled {
            settlement: Settlement::Cancelled(CancelReason::Operator(actor)),
            at: Timestamp::from_millis(3),
        };
        let grown = Progress { attempts: 1, ..progress(cancelled, hook.version) };
        let mut draft = Draft::read(tree, &key).expect("a read").expect("a record");
        draft.progress(&grown);
        prop_assert!(write(draft, sled::Batch::default()) <= blob::PIECE);
        let back = store.execution(&key).expect("a read").expect("an execution");
        prop_assert_eq!(back, Execution { progress: grown, ..execution });
        let attempts = store.attempts(&key).expect("a read");
        prop_assert_eq!(attempts.len(), 1);
        prop_assert_eq!(attempts[0].process.as_ref().map(|kept| &kept.environment), Some(&process.environment));
    });
}

/// Steps of one execution, handed over together or apart.
struct Steps<'a> {
    desk: &'a Desk,
    rng: fastrand::Rng,
    waiting: Vec<Change>,
}

impl Steps<'_> {
    async fn next(&mut self, change: Change) {
        self.waiting.push(change);
        if self.rng.bool() {
            self.finish().await;
        }
    }

    async fn finish(&mut self) {
        self.desk.write(std::mem::take(&mut self.waiting)).await;
    }
}

#[tokio::test]
async fn an_execution_of_any_length_comes_back_and_goes_whole() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let desk = Desk::open(folder.path(), keep_all());
        let (hook, key) = (hook("a", "one"), key(1, "a"));
        let length = rng.usize(..9_000);
        let mut changes = accepted(event(1, 0, noise(&mut rng, length).as_bytes()), &[&hook]);
        let Some(Change::Record(Record::Created(execution))) = changes.last_mut() else {
            panic!("an execution");
        };
        let length = rng.usize(..5_000);
        execution.why = noise(&mut rng, length);
        let mut execution = execution.as_ref().clone();
        desk.write(changes).await;

        let mut steps = Steps {
            desk: &desk,
            rng: rng.fork(),
            waiting: Vec::new(),
        };
        let mut expected: Vec<Attempt> = Vec::new();
        for number in 1..=rng.u32(1..5) {
            let length = [0, 10, 9_000][rng.usize(..3)];
            let printed = noise(&mut rng, length).into_bytes();
            let mut attempt = Attempt {
                number,
                cause: Cause::Event,
                released: Timestamp::from_millis(2),
                process: None,
                ended: None,
            };
            let was = execution.progress.state.name();
            execution.progress.attempts = number;
            execution.progress.state = if rng.bool() { queued() } else { succeeded() };
            steps
                .next(Change::Record(Record::Progressed {
                    key: key.clone(),
                    left: was,
                    progress: execution.progress.clone(),
                }))
                .await;
            for mut change in attempted(&key, number, hook.version, printed) {
                match &mut change {
                    Change::Started { process, .. } => {
                        let length = rng.usize(..6_000);
                        process.argv.push(noise(&mut rng, length));
                        attempt.process = Some(process.as_ref().clone());
                    }
                    Change::Ended { ended, .. } => attempt.ended = Some(ended.as_ref().clone()),
                    _ => {}
                }
                steps.next(change).await;
            }
            expected.push(attempt);
            steps.finish().await;
            let attempts = desk.store.attempts(&key).expect("attempts");
            assert!(
                attempts == expected,
                "seed {seed}, attempt {number}: {attempts:?}"
            );
        }
        let longest = desk.store.shared.tree.iter().values();
        let longest = longest.map(|value| value.expect("a read").len()).max();
        assert!(longest <= Some(blob::PIECE), "seed {seed}: {longest:?}");
        desk.close();

        let desk = Desk::open(folder.path(), keep_all());
        let back = desk.store.execution(&key).expect("a read").expect("a record");
        assert!(back == execution, "seed {seed}: {back:?}");
        assert!(
            desk.store.attempts(&key).expect("attempts") == expected,
            "seed {seed}"
        );
        keeping::assert_counts(&desk.store);
        if !execution.progress.state.is_settled() {
            let settled = moved(&key, execution.progress.state.name(), succeeded(), hook.version);
            desk.write(vec![settled]).await;
        }
        desk.writer.retain(Retention {
            executions: 0,
            ..keep_all()
        });
        desk.pruned("the execution", |summary| summary.matched_kept == 0)
            .await;
        assert!(
            entries(&desk.store).is_empty(),
            "seed {seed}: {:?}",
            entries(&desk.store)
        );
        desk.close();
    }
}

/// What is unsettled is found by a start, however much came after it.
#[tokio::test]
async fn what_is_unsettled_is_listed_when_its_event_is_none_of_the_newest_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let hook = hook("a", "one");
    let is_listed = |desk: &Desk, seq| {
        let place = keys::of_execution(Space::Unsettled, &key(seq, "a"));
        desk.store.shared.tree.contains_key(place).expect("a read")
    };
    let unsettled = |desk: &Desk| -> Vec<u64> {
        let unsettled = desk.store.unsettled().expect("a read");
        unsettled.iter().map(|execution| execution.key.event.0).collect()
    };
    for seq in 1..=3 {
        desk.write(accepted(event(seq, 0, b"<X/>"), &[&hook])).await;
    }
    desk.write(vec![moved(&key(2, "a"), "queued", succeeded(), hook.version)])
        .await;
    assert_eq!([1, 2, 3].map(|seq| is_listed(&desk, seq)), [false; 3]);
    assert_eq!(unsettled(&desk), [1, 3]);
    desk.close();

    // In the next life as well.
    let desk = Desk::open(folder.path(), keep_all());
    desk.write(accepted(event(100, 0, b"<X/>"), &[])).await;
    assert_eq!([1, 2, 3].map(|seq| is_listed(&desk, seq)), [true, false, true]);
    assert_eq!(unsettled(&desk), [1, 3]);
    desk.write(vec![
        moved(&key(1, "a"), "queued", succeeded(), hook.version),
        moved(&key(2, "a"), "succeeded", queued(), hook.version),
    ])
    .await;
    assert_eq!([1, 2, 3].map(|seq| is_listed(&desk, seq)), [false, true, true]);
    assert_eq!(unsettled(&desk), [2, 3]);
    desk.close();
}
