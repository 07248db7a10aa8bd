//! What is kept, for how long, and that everything is counted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::blob;
use super::super::keys::{self, AttemptPart, Space};
use super::*;
use crate::engine::bookmark::{Bookmark, LONGEST_NAME, LONGEST_VALUE};
use crate::engine::execution::Actor;
use crate::engine::known_states::{Baseline, CatchUpTotals, GapStory, OPEN_AT_MOST, OpenGap};
use crate::engine::mute::{Mute, MutedBy, Scope, Then};
use crate::store::EventCounters;

/// What the summary should say, counted anew from the records.
fn recount(store: &Store) -> (BTreeMap<String, u64>, u64, u64, u64) {
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    for execution in all_executions(store) {
        *states
            .entry(execution.progress.state.name().to_owned())
            .or_default() += 1;
    }
    let query = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    let events = store.events(&query).expect("events");
    let unmatched = events.iter().filter(|listed| listed.hooks.is_empty()).count() as u64;
    let tree = &store.shared.tree;
    let mut bytes = 0;
    for entry in tree.iter() {
        let (key, value) = entry.expect("a read");
        let name_ends = key.iter().skip(9).position(|byte| *byte == 0).map(|at| at + 9);
        let is_output = key[0] == Space::Attempt as u8
            && name_ends.is_some_and(|end| keys::is_output(&key, &key[..=end]));
        if key[0] == Space::Payload as u8 || is_output {
            bytes += value.len() as u64;
        } else if key[0] == Space::Event as u8 {
            bytes += blob::split_line(&value).1.len() as u64;
        }
    }
    (states, unmatched, events.len() as u64 - unmatched, bytes)
}

#[track_caller]
pub(super) fn assert_counts(store: &Store) {
    let summary = store.summary();
    let said: BTreeMap<String, u64> = summary
        .executions
        .clone()
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    assert_eq!(
        (said, summary.unmatched_kept, summary.matched_kept, summary.bytes),
        recount(store)
    );
    let totals = store.shared.totals.lock().expect("a lock").clone();
    assert_eq!(
        (totals.output_bytes, totals.unmatched_bytes),
        parts_of_bytes(store)
    );
}

/// Bytes of outputs, and of payloads of events that matched nothing.
fn parts_of_bytes(store: &Store) -> (u64, u64) {
    let tree = &store.shared.tree;
    let (mut outputs, mut unmatched) = (0, 0);
    for entry in tree.iter() {
        let (key, value) = entry.expect("a read");
        let payload = match key[0] {
            place if place == Space::Payload as u8 => &value,
            place if place == Space::Event as u8 => blob::split_line(&value).1,
            _ => &[],
        };
        if !payload.is_empty() {
            let seq = Seq(keys::number(&key).expect("a number"));
            if tree.contains_key(keys::unmatched(seq)).expect("a read") {
                unmatched += payload.len() as u64;
            }
        } else if key[0] == Space::Attempt as u8 {
            let name_ends = key.iter().skip(9).position(|byte| *byte == 0).map(|at| at + 9);
            if name_ends.is_some_and(|end| keys::is_output(&key, &key[..=end])) {
                outputs += value.len() as u64;
            }
        }
    }
    (outputs, unmatched)
}

#[tokio::test]
async fn after_any_history_the_summary_is_what_a_recount_finds() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let folder = tempfile::tempdir().expect("a folder");
        let hooks = [hook("a", "one"), hook("ab", "one"), hook("b", "two")];
        let mut unsettled: Vec<ExecutionKey> = Vec::new();
        let mut settled: Vec<ExecutionKey> = Vec::new();
        let mut attempts: BTreeMap<ExecutionKey, u32> = BTreeMap::new();
        let mut next = 1;
        let mut offered = EventCounters::default();
        for _life in 0..3 {
            let limits = Retention {
                executions: rng.u64(0..30),
                executions_per_hook: rng.bool().then(|| rng.u64(0..10)),
                unmatched_events: rng.u64(0..10),
                bytes: rng.u64(1_000..200_000),
                unmatched_bytes: rng.u64(1_000..100_000),
                output_bytes: rng.u64(1_000..100_000),
                ..keep_all()
            };
            let desk = Desk::open(folder.path(), limits);
            for _ in 0..rng.usize(1..40) {
                let changes = match rng.u32(0..10) {
                    0..4 => {
                        let matched: Vec<&Arc<Hook>> = hooks.iter().filter(|_| rng.bool()).collect();
                        let payload: Vec<u8> = (0..rng.usize(0..20_000)).map(|_| rng.u8(..)).collect();
                        unsettled.extend(matched.iter().map(|hook| key(next, hook.name.as_str())));
                        offered.received += 1;
                        if matched.is_empty() {
                            offered.unmatched += 1;
                        } else {
                            offered.matched += 1;
                        }
                        next += 1;
                        accepted(event(next - 1, 0, &payload), &matched)
                    }
                    4..7 if !unsettled.is_empty() => {
                        let key = unsettled.swap_remove(rng.usize(..unsettled.len()));
                        let number = attempts.entry(key.clone()).or_default();
                        *number += 1;
                        let output = (0..rng.usize(0..20_000)).map(|_| rng.u8(..)).collect();
                        let mut changes = attempted(&key, *number, hooks[0].version, output);
                        changes.push(moved(&key, "queued", succeeded(), hooks[0].version));
                        settled.push(key);
                        changes
                    }
                    7 if !settled.is_empty() => {
                        let key = settled.swap_remove(rng.usize(..settled.len()));
                        let held = desk.store.hold(key.event);
                        if desk.store.execution(&key).expect("a read").is_none() {
                            continue;
                        }
                        let changes = vec![moved(&key, "succeeded", queued(), hooks[2].version)];
                        unsettled.push(key);
                        desk.write(changes).await;
                        drop(held);
                        continue;
                    }
                    8 => {
                        let counters = EventCounters {
                            received: 3,
                            duplicate: 1,
                            lost: 2,
                            ..EventCounters::default()
                        };
                        offered.received += 3;
                        offered.duplicate += 1;
                        offered.lost += 2;
                        vec![Change::NotAccepted {
                            source: "one".to_owned(),
                            counters,
                        }]
                    }
                    _ => Vec::new(),
                };
                if rng.bool() {
                    desk.write(changes).await;
                } else {
                    desk.writer.submit(changes, || ()).await.expect("a writer");
                }
            }
            desk.write(Vec::new()).await;
            desk.close();
            let store = Store::open(folder.path()).expect("a store");
            assert_counts(&store);
            let counters = store.summary().events.get("one").cloned().unwrap_or_default();
            assert_eq!(counters, offered, "seed {seed}");
            assert!(counters.adds_up());
            for key in &unsettled {
                let kept = store
                    .execution(key)
                    .expect("a read")
                    .expect("unsettled work is kept");
                assert!(!kept.progress.state.is_settled(), "seed {seed}: {key}");
                assert!(
                    store.event(key.event).expect("a read").is_some(),
                    "seed {seed}: {key}"
                );
            }
            assert_eq!(
                store.unsettled().expect("a read").len(),
                unsettled.len(),
                "seed {seed}"
            );
        }
    }
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(1);
    (0..len).map(|_| rng.u8(..)).collect()
}

/// Events 1 to 6: 1, 3 and 5 match nothing, 2, 4 and 6 ran a hook; 2 still waits. One hour between two.
async fn six_events(desk: &Desk) {
    let hook = hook("a", "one");
    let now = Timestamp::now().as_millis();
    let noise = noise(10_000);
    for seq in 1..=6_u64 {
        let event = event(
            seq,
            now - (7 - i64::try_from(seq).expect("few")) * 3_600_000,
            &noise,
        );
        if seq % 2 == 1 {
            desk.write(accepted(event, &[])).await;
            continue;
        }
        desk.write(accepted(event, &[&hook])).await;
        let key = key(seq, "a");
        let mut changes = attempted(&key, 1, hook.version, noise.clone());
        if seq != 2 {
            changes.push(moved(&key, "queued", succeeded(), hook.version));
        }
        desk.write(changes).await;
    }
}

#[tokio::test]
async fn limits_take_the_oldest_and_never_what_is_still_to_be_done() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    let cases = [
        ("nothing is over", keep_all(), vec![1, 2, 3, 4, 5, 6]),
        (
            "one unmatched",
            Retention {
                unmatched_events: 1,
                ..keep_all()
            },
            vec![2, 4, 5, 6],
        ),
        (
            "one settled",
            Retention {
                executions: 1,
                ..keep_all()
            },
            vec![1, 2, 3, 5, 6],
        ),
        (
            "none settled",
            Retention {
                executions: 0,
                ..keep_all()
            },
            vec![1, 2, 3, 5],
        ),
        (
            "three and a half hours",
            Retention {
                age: hours(3) + hours(1) / 2,
                ..keep_all()
            },
            vec![2, 4, 5, 6],
        ),
        (
            "no time at all",
            Retention {
                age: Duration::ZERO,
                ..keep_all()
            },
            vec![2],
        ),
        // Two payloads and two outputs of 10 kB: what waits, and the newest.
        (
            "forty kilobytes",
            Retention {
                bytes: 41_000,
                ..keep_all()
            },
            vec![2, 6],
        ),
        (
            "no bytes",
            Retention {
                bytes: 0,
                ..keep_all()
            },
            vec![2],
        ),
        (
            "all at once",
            Retention {
                unmatched_events: 0,
                executions: 1,
                ..keep_all()
            },
            vec![2, 6],
        ),
    ];
    for (what, limits, left) in cases {
        let folder = tempfile::tempdir().expect("a folder");
        let desk = Desk::open(folder.path(), keep_all());
        six_events(&desk).await;
        desk.close();
        let desk = Desk::open(folder.path(), limits);
        let kept = left.len() as u64;
        desk.pruned(what, |summary| {
            summary.unmatched_kept + summary.matched_kept == kept
        })
        .await;
        assert_eq!(all_events(&desk.store), left, "{what}");
        assert_counts(&desk.store);

        // What waited is settled, reopened, and kept all the while that it is not settled.
        let (two, version) = (key(2, "a"), hook("a", "one").version);
        desk.write(vec![
            moved(&two, "queued", succeeded(), version),
            moved(&two, "succeeded", queued(), version),
        ])
        .await;
        desk.write(Vec::new()).await;
        assert!(desk.store.event(Seq(2)).expect("a read").is_some(), "{what}");
        desk.close();
    }
}

#[tokio::test]
async fn what_is_held_is_not_pruned_until_it_is_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Retention {
        executions: 0,
        unmatched_events: 0,
        ..keep_all()
    };
    let desk = Desk::open(folder.path(), keep_all());
    six_events(&desk).await;
    desk.close();
    let desk = Desk::open(folder.path(), limits);
    let (held, once_more) = (desk.store.hold(Seq(4)), desk.store.hold(Seq(4)));
    desk.pruned("all but two", |summary| summary.matched_kept == 2)
        .await;
    assert_eq!(all_events(&desk.store), [2, 4]);
    drop(held);
    desk.write(Vec::new()).await;
    assert_eq!(all_events(&desk.store), [2, 4]);
    drop(once_more);
    desk.pruned("the other as well", |summary| summary.matched_kept == 1)
        .await;
    assert_eq!(all_events(&desk.store), [2]);
    desk.close();
}

#[tokio::test]
async fn a_definition_is_kept_while_a_record_refers_to_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Retention {
        executions: 1,
        ..keep_all()
    };
    let (first, second, third, other) = (
        hook("a", "first"),
        hook("a", "second"),
        hook("a", "third"),
        hook("b", "first"),
    );
    let desk = Desk::open(folder.path(), keep_all());
    for (seq, hook) in [(1, &first), (2, &second), (3, &third), (4, &other)] {
        desk.write(accepted(event(seq, 0, b"x"), &[hook])).await;
        let key = key(seq, hook.name.as_str());
        desk.write(attempted(&key, 1, hook.version, Vec::new())).await;
        desk.write(vec![moved(&key, "queued", succeeded(), hook.version)])
            .await;
    }
    // Event 2 is run once more, with the third version: its first attempt still tells of the second.
    let two = key(2, "a");
    desk.write(vec![Change::Record(Record::Progressed {
        key: two.clone(),
        left: "succeeded",
        progress: Progress {
            attempts: 2,
            ..progress(queued(), third.version)
        },
    })])
    .await;
    desk.close();

    let desk = Desk::open(folder.path(), limits);
    let is_kept = |hook: &Arc<Hook>| {
        let found = desk.store.definition(&hook.version).expect("a read");
        found.is_some()
    };
    desk.pruned("the first version", |_| !is_kept(&first)).await;
    // 1 and 3 are gone, 2 waits, 4 is the one that may stay.
    assert_eq!(all_events(&desk.store), [2, 4]);
    assert_eq!([&second, &third, &other].map(is_kept), [true, true, true]);
    assert_counts(&desk.store);

    // The first version comes back into use before its last trace is gone, or after: it is there when it is needed.
    desk.write(accepted(event(5, 0, b"x"), &[&first])).await;
    assert!(is_kept(&first));
    desk.write(vec![Change::Record(Record::Progressed {
        key: two,
        left: "queued",
        progress: Progress {
            attempts: 2,
            ..progress(succeeded(), third.version)
        },
    })])
    .await;
    desk.pruned("the second and the third", |_| {
        [&second, &third].map(is_kept) == [false, false]
    })
    .await;
    assert!(is_kept(&first));
    desk.close();
}

#[tokio::test]
async fn no_value_in_the_tree_is_larger_than_a_piece() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let noise = noise(1_000_000);
    let large = hook("a", &"x".repeat(30_000));
    desk.write(accepted(event(1, 0, &noise), &[&large])).await;
    let key = key(1, "a");
    let mut changes = attempted(&key, 1, large.version, noise.clone());
    if let Change::Started { process, .. } = &mut changes[1] {
        process.argv = (0..200).map(|n| n.to_string().repeat(40_000)).collect();
    }
    desk.write(changes).await;
    desk.write(vec![Change::LastGood {
        file: "a.yaml".to_owned(),
        text: Some((
            noise.iter().map(|byte| char::from(byte % 64 + 48)).collect(),
            None,
        )),
    }])
    .await;
    assert_short(&desk.store);
    let listed = desk.store.event(Seq(1)).expect("a read").expect("the event");
    assert_eq!(listed.event.payload.bytes().as_ref(), noise.as_slice());
    let attempts = desk.store.attempts(&key).expect("attempts");
    assert_eq!(attempts[0].process.as_ref().expect("a process").argv.len(), 200);
    let ended = attempts[0].ended.as_ref().expect("an end");
    assert_eq!(ended.stdout.head, noise);
    let apart = keys::attempt(&key, 1, AttemptPart::Record);
    assert!(
        blob::get(&desk.store.shared.tree, &apart)
            .expect("a read")
            .is_some()
    );
    assert_counts(&desk.store);
    desk.close();
}

fn assert_short(store: &Store) {
    let (mut largest, mut longest_key) = (0, 0);
    for entry in store.shared.tree.iter() {
        let (key, value) = entry.expect("a read");
        (largest, longest_key) = (largest.max(value.len()), longest_key.max(key.len()));
    }
    assert!(largest <= blob::PIECE, "{largest} bytes in one value");
    assert!(longest_key <= 1_000, "{longest_key} bytes in one key");
}

#[tokio::test]
async fn what_somebody_else_chose_makes_no_value_longer_than_a_piece_and_is_cut_where_it_would() {
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    let at = Timestamp::from_millis(i64::MAX / 2);
    // In JSON each of these takes six bytes.
    let long = "\u{1}".repeat(200_000);
    let scope = Scope::Lane(HookName::trusted("a"), Subject::new(&format!("vm/{long}")));
    let mute = Mute {
        scope: scope.clone(),
        since: at,
        until: None,
        by: MutedBy::Operator(Actor::User { uid: u32::MAX }),
        reason: Some(long.clone()),
    };
    let story = GapStory {
        failures: 3,
        last_error: Some((at, long.clone())),
        ..GapStory::default()
    };
    let gap = OpenGap {
        from: at,
        record: Some(Seq(u64::MAX)),
    };
    let bookmark = Bookmark::new("n".repeat(LONGEST_NAME), vec![7; LONGEST_VALUE]).expect("a bookmark");
    desk.write(accepted(event(1, 0, b"x"), &[])).await;
    desk.write(vec![
        Change::Audit {
            at,
            actor: Actor::Daemon,
            action: "emit",
            target: format!("1042 {long}"),
        },
        Change::Record(Record::Muted(mute.clone())),
        Change::GapStory {
            record: Seq(1),
            story: story.clone(),
        },
        Change::Baseline {
            source: "one".into(),
            baseline: Some(Baseline {
                heard: Some(at),
                open: vec![gap; OPEN_AT_MOST],
                totals: CatchUpTotals {
                    raised: u64::MAX,
                    live: u64::MAX,
                    unwanted: u64::MAX,
                    rebuilt: u64::MAX,
                },
            }),
        },
        Change::Bookmark {
            source: "one".into(),
            bookmark: bookmark.clone(),
        },
    ])
    .await;
    assert_short(&desk.store);

    let is_beginning = |kept: &str| {
        let kept = kept.strip_suffix('…').expect("it says that it was cut");
        kept.len() > 100 && long.starts_with(kept)
    };
    let audit = desk.store.audit(1).expect("a line");
    assert!(is_beginning(
        audit[0].target.strip_prefix("1042 ").expect("the event")
    ));
    let mutes = desk.store.mutes().expect("a mute");
    assert_eq!(mutes[0].scope, scope);
    assert!(is_beginning(mutes[0].reason.as_deref().expect("a reason")));
    let kept = desk.store.gap_story(Seq(1)).expect("a read").expect("a story");
    assert_eq!(kept.failures, story.failures);
    assert!(is_beginning(&kept.last_error.expect("an error").1));
    let bookmarks = desk.store.bookmarks("one").expect("a read");
    assert_eq!(bookmarks.get(bookmark.name()), bookmark.value());
    let unmuted = Record::Unmuted {
        scope,
        then: Then::Run,
        by: None,
    };
    desk.write(vec![Change::Record(unmuted)]).await;
    assert!(desk.store.mutes().expect("a read").is_empty());
    desk.close();
}

#[tokio::test]
async fn reading_events_since_a_time_ends_where_it_may() {
    const HOUR: i64 = 3_600_000;
    let folder = tempfile::tempdir().expect("a folder");
    let desk = Desk::open(folder.path(), keep_all());
    // The last but one was received before the clock was set back.
    for (seq, hour) in [(1, 1), (2, 2), (3, 10), (4, 9), (5, 11)] {
        desk.write(accepted(event(seq, hour * HOUR + 1, b"x"), &[])).await;
    }
    let unreadable = keys::event(Seq(1));
    desk.store
        .shared
        .tree
        .insert(unreadable, "no record")
        .expect("a write");
    let since = |since| {
        let query = EventQuery {
            since,
            limit: 10,
            ..EventQuery::default()
        };
        let listed = desk.store.events(&query).ok()?;
        Some(listed.iter().map(|listed| listed.event.seq.0).collect::<Vec<_>>())
    };
    assert_eq!(since(Some(Timestamp::from_millis(10 * HOUR))), Some(vec![5, 3]));
    assert_eq!(since(None), None, "it would have come to the first one");
    desk.close();
}
