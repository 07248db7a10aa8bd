//! What is kept, held against a model that knows only the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;

const HOUR: i64 = 3_600_000;

/// An execution as the model knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ran {
    is_settled: bool,
    output: usize,
}

/// An event as the model knows it.
#[derive(Debug, Clone)]
struct Happened {
    /// How old it is, in hours.
    age: i64,
    payload: usize,
    executions: BTreeMap<String, Ran>,
}

type Model = BTreeMap<u64, Happened>;

/// A random history, oldest first; payloads and outputs do not compress.
fn history(rng: &mut fastrand::Rng) -> Model {
    let length = rng.u64(5..60);
    let ages = |seq: u64| i64::try_from(length - seq).expect("few") + 1;
    (1..=length)
        .map(|seq| {
            let executions = ["a", "ab", "b"]
                .iter()
                .filter_map(|hook| {
                    let ran = Ran {
                        is_settled: rng.u32(0..5) > 0,
                        output: rng.usize(0..3) * 500,
                    };
                    (rng.u32(0..3) == 0).then(|| ((*hook).to_owned(), ran))
                })
                .collect();
            let happened = Happened {
                age: ages(seq),
                payload: rng.usize(1..3_000),
                executions,
            };
            (seq, happened)
        })
        .collect()
}

fn bytes(rng: &mut fastrand::Rng, length: usize) -> Vec<u8> {
    std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
}

/// Writes the history into a store, with nothing pruned meanwhile.
async fn written(folder: &Path, model: &Model, rng: &mut fastrand::Rng) {
    let desk = Desk::open(folder, keep_all());
    let now = Timestamp::now().as_millis();
    for (seq, happened) in model {
        let hooks: Vec<Arc<Hook>> = happened.executions.keys().map(|name| hook(name, "one")).collect();
        let payload = bytes(rng, happened.payload);
        let event = event(*seq, now - happened.age * HOUR, &payload);
        desk.write(accepted(event, &hooks.iter().collect::<Vec<_>>()))
            .await;
        for (hook, (name, ran)) in hooks.iter().zip(&happened.executions) {
            let key = key(*seq, name);
            let mut changes = attempted(&key, 1, hook.version, bytes(rng, ran.output));
            if ran.is_settled {
                changes.push(moved(&key, "queued", succeeded(), hook.version));
            }
            desk.write(changes).await;
        }
    }
    desk.close();
}

/// What the store holds, and which outputs were pruned.
fn found(store: &Store) -> (Model, BTreeSet<(u64, String)>) {
    let mut pruned = BTreeSet::new();
    let mut model = Model::new();
    for seq in all_events(store) {
        let listed = store.event(Seq(seq)).expect("a read").expect("an event");
        let mut executions = BTreeMap::new();
        for execution in store.executions_of(Seq(seq)).expect("a read") {
            let attempts = store.attempts(&execution.key).expect("a read");
            let ended = attempts[0].ended.as_ref().expect("an end");
            let name = execution.key.hook.to_string();
            if ended.outputs_pruned {
                assert!(ended.stdout.head.is_empty() && ended.stdout.total > 0);
                pruned.insert((seq, name.clone()));
            }
            executions.insert(
                name,
                Ran {
                    is_settled: execution.progress.state.is_settled(),
                    output: ended.stdout.head.len(),
                },
            );
        }
        let happened = Happened {
            age: 0,
            payload: listed.event.payload.bytes().len(),
            executions,
        };
        model.insert(seq, happened);
    }
    (model, pruned)
}

/// Prunes until a pass finds nothing more.
async fn pruned(folder: &Path, limits: Retention, keep: &[(&str, u64)]) -> Store {
    let desk = Desk::open(folder, limits);
    let keep = keep
        .iter()
        .map(|(hook, keep)| (HookName::trusted(hook), *keep))
        .collect();
    desk.write(vec![Change::Keep(keep)]).await;
    let is_same = |one: &Summary, other: &Summary| format!("{one:?}") == format!("{other:?}");
    let (mut before, mut quiet) = (desk.store.summary(), 0);
    // A pass that took something out is followed by another one at the next write.
    while quiet < 5 {
        desk.write(Vec::new()).await;
        let now = desk.store.summary();
        quiet = if is_same(&before, &now) { quiet + 1 } else { 0 };
        before = now;
    }
    let store = desk.store.clone();
    desk.close();
    store
}

fn hours(hours: i64) -> Duration {
    Duration::from_millis(u64::try_from(hours * HOUR).expect("a while"))
}

fn settled_of<'a>(model: &'a Model, hook: &'a str) -> impl DoubleEndedIterator<Item = u64> + 'a {
    let of_hook = move |happened: &Happened| happened.executions.get(hook).is_some_and(|ran| ran.is_settled);
    model
        .iter()
        .filter(move |(_, happened)| of_hook(happened))
        .map(|(seq, _)| *seq)
}

/// Executions by event and hook.
fn executions(model: &Model) -> BTreeSet<(u64, String)> {
    model
        .iter()
        .flat_map(|(seq, happened)| happened.executions.keys().map(|hook| (*seq, hook.clone())))
        .collect()
}

#[tokio::test]
async fn of_each_hook_the_newest_are_kept_and_their_events_with_them() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let model = history(&mut rng);
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), &model, &mut rng).await;
        let limits = Retention {
            executions_per_hook: Some(rng.u64(0..8)),
            ..keep_all()
        };
        let keep = [("ab", rng.u64(0..8))];
        let mut expected = executions(&model);
        for hook in ["a", "ab", "b"] {
            let limit = match hook {
                "ab" => keep[0].1,
                _ => limits.executions_per_hook.expect("a limit"),
            };
            let newest_first = settled_of(&model, hook).rev();
            for seq in newest_first.skip(usize::try_from(limit).expect("few")) {
                expected.remove(&(seq, hook.to_owned()));
            }
        }
        let store = pruned(folder.path(), limits, &keep).await;
        let (kept, _) = found(&store);
        assert_eq!(executions(&kept), expected, "seed {seed}");
        let events: BTreeSet<u64> = kept.keys().copied().collect();
        let with_execution = expected.iter().map(|(seq, _)| *seq);
        let unmatched = model
            .iter()
            .filter(|(_, happened)| happened.executions.is_empty());
        let living = with_execution.chain(unmatched.map(|(seq, _)| *seq)).collect();
        assert_eq!(events, living, "seed {seed}");
        keeping::assert_counts(&store);
    }
}

#[tokio::test]
async fn outputs_go_before_their_record_and_the_record_says_so() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let model = history(&mut rng);
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), &model, &mut rng).await;
        let by_age = rng.bool();
        let limits = if by_age {
            Retention {
                output_age: hours(rng.i64(0..40)) + Duration::from_secs(60),
                ..keep_all()
            }
        } else {
            Retention {
                output_bytes: rng.u64(0..20_000),
                ..keep_all()
            }
        };
        // The model: oldest first, settled ones only, until it fits. A piece of output takes one byte more.
        let mut left: u64 = model
            .values()
            .flat_map(|happened| happened.executions.values())
            .map(|ran| if ran.output > 0 { ran.output as u64 + 1 } else { 0 })
            .sum();
        let mut expected = BTreeSet::new();
        for (seq, happened) in &model {
            let is_old = hours(happened.age) > limits.output_age;
            if !is_old && left <= limits.output_bytes {
                break;
            }
            for (hook, ran) in &happened.executions {
                if ran.is_settled && ran.output > 0 {
                    left -= ran.output as u64 + 1;
                    expected.insert((*seq, hook.clone()));
                }
            }
        }
        let store = pruned(folder.path(), limits, &[]).await;
        let (kept, gone) = found(&store);
        assert_eq!(gone, expected, "seed {seed}, by age: {by_age}");
        assert_eq!(executions(&kept), executions(&model), "seed {seed}");
        keeping::assert_counts(&store);
    }
}

#[tokio::test]
async fn unmatched_events_have_an_age_and_a_size_of_their_own() {
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let model = history(&mut rng);
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), &model, &mut rng).await;
        let limits = if rng.bool() {
            Retention {
                unmatched_age: hours(rng.i64(0..40)) + Duration::from_secs(60),
                ..keep_all()
            }
        } else {
            Retention {
                unmatched_bytes: rng.u64(0..30_000),
                ..keep_all()
            }
        };
        let unmatched = || {
            model
                .iter()
                .filter(|(_, happened)| happened.executions.is_empty())
        };
        let mut left: u64 = unmatched().map(|(_, happened)| happened.payload as u64 + 1).sum();
        let mut expected: BTreeSet<u64> = model.keys().copied().collect();
        for (seq, happened) in unmatched() {
            let is_old = hours(happened.age) > limits.unmatched_age;
            if !is_old && left <= limits.unmatched_bytes {
                break;
            }
            left -= happened.payload as u64 + 1;
            expected.remove(seq);
        }
        let store = pruned(folder.path(), limits, &[]).await;
        let kept: BTreeSet<u64> = all_events(&store).into_iter().collect();
        assert_eq!(kept, expected, "seed {seed}");
        keeping::assert_counts(&store);
    }
}

#[tokio::test]
async fn under_all_limits_together_what_is_unsettled_stays_whole_and_every_limit_holds() {
    for seed in 0..40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let model = history(&mut rng);
        let folder = tempfile::tempdir().expect("a folder");
        written(folder.path(), &model, &mut rng).await;
        let limits = Retention {
            executions: rng.u64(0..30),
            executions_per_hook: rng.bool().then(|| rng.u64(0..10)),
            unmatched_events: rng.u64(0..20),
            age: hours(rng.i64(1..60)),
            unmatched_age: hours(rng.i64(1..60)),
            output_age: hours(rng.i64(1..60)),
            bytes: rng.u64(1_000..100_000),
            unmatched_bytes: rng.u64(1_000..40_000),
            output_bytes: rng.u64(1_000..40_000),
        };
        let keep = [("a", rng.u64(0..10))];
        let store = pruned(folder.path(), limits.clone(), &keep).await;
        let (kept, _) = found(&store);
        for (seq, happened) in &model {
            for (hook, ran) in happened.executions.iter().filter(|(_, ran)| !ran.is_settled) {
                let left = kept.get(seq).and_then(|left| left.executions.get(hook));
                assert_eq!(left, Some(ran), "seed {seed}: {seq}.{hook}");
                assert_eq!(kept[seq].payload, happened.payload, "seed {seed}: {seq}");
            }
        }
        let is_done = |happened: &Happened| happened.executions.values().all(|ran| ran.is_settled);
        for (seq, happened) in kept.iter().filter(|(_, happened)| is_done(happened)) {
            let limit = if happened.executions.is_empty() {
                limits.age.min(limits.unmatched_age)
            } else {
                limits.age
            };
            assert!(hours(model[seq].age - 1) <= limit, "seed {seed}: {seq}");
        }
        // Beyond a count there are only those that an unsettled one holds.
        let free = |hook: &str| settled_of(&kept, hook).filter(|seq| is_done(&kept[seq])).count() as u64;
        let settled: u64 = ["a", "ab", "b"].iter().map(|hook| free(hook)).sum();
        assert!(settled <= limits.executions, "seed {seed}");
        for hook in ["a", "ab", "b"] {
            let limit = match hook {
                "a" => Some(keep[0].1),
                _ => limits.executions_per_hook,
            };
            let count = settled_of(&kept, hook).count() as u64;
            assert!(limit.is_none_or(|limit| count <= limit), "seed {seed}: {hook}");
        }
        keeping::assert_counts(&store);
    }
}

#[tokio::test]
async fn limits_hold_while_records_come_in_and_a_new_limit_counts_what_is_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Retention {
        executions_per_hook: Some(5),
        ..keep_all()
    };
    let desk = Desk::open(folder.path(), limits);
    let hooks = [hook("a", "one"), hook("b", "one")];
    desk.write(vec![Change::Keep(BTreeMap::from([(HookName::trusted("b"), 30)]))])
        .await;
    let settled = |name: &str| {
        all_executions(&desk.store)
            .iter()
            .filter(|execution| execution.key.hook.as_str() == name)
            .count()
    };
    for seq in 1..=200 {
        desk.write(accepted(event(seq, 0, b"x"), &[&hooks[0], &hooks[1]]))
            .await;
        for hook in &hooks {
            let key = key(seq, hook.name.as_str());
            desk.write(vec![moved(&key, "queued", succeeded(), hook.version)])
                .await;
        }
    }
    desk.pruned("five and thirty", |_| (settled("a"), settled("b")) == (5, 30))
        .await;
    desk.write(vec![Change::Keep(BTreeMap::from([(HookName::trusted("b"), 2)]))])
        .await;
    desk.pruned("five and two", |_| (settled("a"), settled("b")) == (5, 2))
        .await;
    assert_eq!(all_events(&desk.store), [196, 197, 198, 199, 200]);
    desk.write(Vec::new()).await;
    keeping::assert_counts(&desk.store);
    desk.close();
}
