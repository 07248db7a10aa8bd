//! What was exported comes in as it was, once, or not at all.

use std::io::{Seek as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::config::{Config, Retention};
use crate::control::api::ExportFilter;
use crate::control::export::Exporter;
use crate::control::veil::Veil;
use crate::engine::core::Record as Decided;
use crate::engine::execution::{
    CancelReason, Cause, EndedAttempt, FileFingerprint, Progress, Settlement, SkipReason, StartedProcess,
    State,
};
use crate::engine::mute::{Mute, MutedBy, Scope, Until};
use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::id::{ExecutionKey, HookName};
use crate::event::masakari::{MasakariNotification, Observed};
use crate::event::ncmp::NcmpRecord;
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::webhook::{Form, WebhookRequest};
use crate::event::{ApiCall, Event, Facts, Gap, RetryRequest, StateChange, Subject};
use crate::hooks::{Hook, declared};
use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};
use crate::store::Override;
use crate::store::writer::{Change, Writer, durable};

const SECRET: &str = "s3cret-of-ann";

fn hook(name: &str, text: &str) -> Arc<Hook> {
    let text = format!(
        "name: {name}\ndescription: {text}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n"
    );
    Arc::new(declared(&text))
}

fn time(rng: &mut fastrand::Rng) -> Timestamp {
    Timestamp::from_millis(rng.i64(1_700_000_000_000..1_800_000_000_000))
}

fn noise(rng: &mut fastrand::Rng, most: usize) -> Vec<u8> {
    let length = rng.usize(..=most);
    if rng.bool() {
        std::iter::repeat_with(|| rng.u8(..)).take(length).collect()
    } else {
        "grüße\n".repeat(length / 7).into_bytes()
    }
}

fn facts(rng: &mut fastrand::Rng) -> Facts {
    match rng.u32(0..8) {
        0 => Facts::State(StateChange {
            resource: Resource::Vm,
            id: Some("12".to_owned()),
            state: "ACTIVE".to_owned(),
            lcm_state: rng.bool().then(|| "RUNNING".to_owned()),
            previous_state: None,
            previous_lcm_state: rng.bool().then(|| "BOOT".to_owned()),
            host: Some("node1".to_owned()),
        }),
        1 => Facts::Api(ApiCall {
            call: "one.vm.allocate".to_owned(),
            success: rng.bool(),
        }),
        2 => Facts::Retry(RetryRequest {
            hook_id: 7,
            arguments: "a 'b c'".to_owned(),
            remote_host: rng.bool().then(|| "node2".to_owned()),
        }),
        3 => Facts::Undecodable {
            reason: "not XML".to_owned(),
        },
        4 => Facts::Webhook(WebhookRequest {
            endpoint: "deploy".to_owned(),
            method: "POST".to_owned(),
            form: [Form::Json, Form::Form, Form::Xml][rng.usize(..3)],
            delivery: rng.bool().then(|| "72d3162e".to_owned()),
            headers: [("x-github-event".to_owned(), "push".to_owned())].into(),
            sender: rng.bool().then(|| "192.0.2.7".to_owned()),
            request: rng.bool().then(|| "a1-2".to_owned()),
        }),
        5 => Facts::Esc(Box::new(EscEvent {
            via: [Via::Rest, Via::Netconf][rng.usize(..2)],
            form: Form::Xml,
            event: "VM_ALIVE".to_owned(),
            status: rng.bool().then(|| "SUCCESS".to_owned()),
            status_code: rng.bool().then(|| "200".to_owned()),
            status_message: Some("alive".to_owned()),
            tenant: rng.bool().then(|| "t1".to_owned()),
            deployment: Some("dep1".to_owned()),
            vm_group: None,
            vm: Machine {
                id: rng.bool().then(|| "1dd943b9".to_owned()),
                ..Machine::default()
            },
            new_vm: Machine::default(),
            resource: None,
            transaction: Some("d53f0047".to_owned()),
            time: rng.bool().then(|| "2026-06-23T18:15:04.27+00:00".to_owned()),
            delivery: rng.bool().then(|| "d53f0047 VM_ALIVE 200".to_owned()),
            sender: Some("192.0.2.7".to_owned()),
            request: None,
        })),
        7 => Facts::Ncmp(Box::new(NcmpRecord {
            topic: "ncmp-events".to_owned(),
            partition: 3,
            offset: 42,
            event: "update".to_owned(),
            event_type: "org.onap.ncmp.cmhandle-lcm-event.update".to_owned(),
            cm_handle: rng.bool().then(|| "cmhandle-001".to_owned()),
            state: rng.bool().then(|| "READY".to_owned()),
            data_sync: rng.bool().then_some(true),
            properties: [("color".to_owned(), "green".to_owned())].into(),
            ..NcmpRecord::default()
        })),
        6 => Facts::Masakari(MasakariNotification {
            uuid: "3d548a84".to_owned(),
            kind: "VM".to_owned(),
            hostname: "node1".to_owned(),
            generated_time: "2026-11-21T23:00:00.123456".to_owned(),
            payload: [("event".to_owned(), "LIFECYCLE".to_owned())].into(),
            host_uuid: rng.bool().then(|| "b1b2".to_owned()),
            segment_uuid: rng.bool().then(|| "a1b2".to_owned()),
            observed: rng.bool().then(|| Observed {
                id: 7,
                status: "running".to_owned(),
                previous: rng.bool().then(|| "new".to_owned()),
            }),
            sender: rng.bool().then(|| "192.0.2.7".to_owned()),
            request: rng.bool().then(|| "a1-2".to_owned()),
        }),
        _ => Facts::Gap(Gap {
            from: time(rng),
            to: time(rng),
            why: "the publisher was away".to_owned(),
            lost: rng.u64(..5),
            keys: vec!["EVENT API one.vm.allocate 1".to_owned(); rng.usize(..3)],
            present: vec!["t1/d1".to_owned()],
        }),
    }
}

fn cause(rng: &mut fastrand::Rng) -> Cause {
    match rng.u32(0..5) {
        0 => Cause::Retry,
        1 => Cause::RetryMessage(Seq(3)),
        2 => Cause::Operator {
            actor: Actor::User { uid: 0 },
            as_recorded: rng.bool(),
        },
        3 => Cause::Recovery,
        _ => Cause::Event,
    }
}

fn state(rng: &mut fastrand::Rng, attempts: u32) -> State {
    let (at, cause) = (time(rng), cause(rng));
    let settlement = match rng.u32(0..8) {
        0 => return State::Queued { cause, since: at },
        1 if attempts > 0 => {
            return State::Running {
                attempt: attempts,
                cause,
                since: at,
                ended_for: rng.bool().then_some(CancelReason::Superseded),
            };
        }
        2 => {
            return State::Retrying {
                due: at,
                delay: Duration::from_millis(rng.u64(..100_000)),
            };
        }
        3 => Settlement::Failed,
        4 => Settlement::Skipped(SkipReason::Expired),
        5 => Settlement::Cancelled(CancelReason::Operator(Actor::Daemon)),
        6 => Settlement::Cancelled(CancelReason::HookRemoved),
        _ => Settlement::Succeeded,
    };
    State::Settled { settlement, at }
}

fn outcome(rng: &mut fastrand::Rng) -> Outcome {
    match rng.u32(0..7) {
        0 => Outcome::Signalled { signal: 11 },
        1 => Outcome::TimedOut {
            after: Duration::from_secs(3),
            killed: rng.bool(),
        },
        2 => Outcome::Stopped { killed: rng.bool() },
        3 => Outcome::StartFailed(StartFailure {
            kind: StartFailureKind::NotFound,
            message: "there is no such file".to_owned(),
        }),
        4 => Outcome::Leaked { code: 3 },
        5 => Outcome::Interrupted,
        _ => Outcome::Exited { code: rng.i32(0..3) },
    }
}

fn captured(rng: &mut fastrand::Rng) -> Captured {
    let (head, tail) = (noise(rng, 3_000), noise(rng, 300));
    let tail = if rng.bool() { tail } else { Vec::new() };
    let kept = (head.len() + tail.len()) as u64;
    // Without a tail nothing was cut.
    let cut = if tail.is_empty() { 0 } else { rng.u64(1..10_000) };
    Captured {
        head: head.into(),
        tail: tail.into(),
        total: kept + cut,
    }
}

fn attempts(rng: &mut fastrand::Rng, key: &ExecutionKey, hook: &Hook, count: u32) -> Vec<Change> {
    let mut changes = Vec::new();
    for attempt in 1..=count {
        changes.push(Change::Record(Decided::Released {
            key: key.clone(),
            attempt,
            cause: cause(rng),
            at: time(rng),
        }));
        if rng.u32(0..4) > 0 {
            let process = StartedProcess {
                pid: rng.u32(..),
                start_ticks: rng.u64(..),
                boot_id: None,
                at: time(rng),
                uid: 1,
                version: hook.version,
                hook_file: "a.yaml".into(),
                hook_file_sha256: [7; 32],
                arguments_sha256: rng.bool().then_some([8; 32]),
                argv: vec!["/bin/true".to_owned(), format!("--password={SECRET}")],
                environment: vec![("DNS_PASSWORD".to_owned(), SECRET.to_owned())],
                directory: rng.bool().then(|| "/".into()),
                files: vec![FileFingerprint {
                    path: "/bin/true".into(),
                    sha256: [9; 32],
                    size: 100,
                }],
            };
            changes.push(Change::Started {
                key: key.clone(),
                attempt,
                process: Box::new(process),
            });
        }
        if attempt < count || rng.bool() {
            changes.push(Change::Ended {
                key: key.clone(),
                attempt,
                ended: Box::new(EndedAttempt {
                    at: time(rng),
                    outcome: outcome(rng),
                    stdout: captured(rng),
                    stderr: captured(rng),
                    outputs_pruned: rng.u32(0..5) == 0,
                }),
            });
        }
    }
    changes
}

fn of_event(rng: &mut fastrand::Rng, seq: u64, hooks: &[Arc<Hook>]) -> Vec<Change> {
    let matched: Vec<&Arc<Hook>> = hooks.iter().filter(|_| rng.u32(0..3) == 0).collect();
    let mut payload = noise(rng, 6_000);
    payload.extend_from_slice(format!("<VM><PASSWORD>{SECRET}</PASSWORD></VM>").as_bytes());
    let event = Event {
        seq: Seq(seq),
        source: if rng.bool() { "one" } else { "zone1" }.into(),
        key: "EVENT API one.vm.allocate 1 ".to_owned(),
        subject: rng.bool().then(|| Subject::new("vm/1")),
        received: time(rng),
        facts: facts(rng),
        ambiguous: rng.bool(),
        synthesised: rng.bool(),
        payload: Payload::new(payload.into()),
    };
    let mut changes: Vec<Change> = matched
        .iter()
        .map(|hook| Change::Definition(Arc::clone(hook)))
        .collect();
    changes.push(Change::Event {
        event: Box::new(event),
        hooks: matched.iter().map(|hook| hook.name.clone()).collect(),
        condition_errors: rng.u64(..2),
        absent_elements: rng.u64(..2),
        keep_payload: rng.u32(0..6) > 0,
    });
    for hook in matched {
        let key = ExecutionKey::new(Seq(seq), hook.name.clone());
        let count = rng.u32(0..4);
        let execution = Execution {
            key: key.clone(),
            source: "".into(),
            subject: Some(Subject::new("vm/1")),
            accepted: time(rng),
            why: "api one.vm.allocate success".to_owned(),
            retry_of: rng.bool().then(|| ExecutionKey::new(Seq(1), hook.name.clone())),
            progress: Progress {
                state: state(rng, count),
                turn: seq,
                version: hook.version,
                attempts: count,
                budget_used: rng.u32(..3),
                interruptions: rng.u32(..3),
            },
        };
        changes.push(Change::Record(Decided::Created(Box::new(execution))));
        changes.extend(attempts(rng, &key, hook, count));
    }
    changes
}

/// A store with records of all kinds.
async fn filled(folder: &Path, seed: u64) -> Store {
    let mut rng = fastrand::Rng::with_seed(seed);
    let store = Store::open(folder).expect("a store");
    let for_ever = Duration::from_secs(1 << 40);
    let retention = Retention {
        age: for_ever,
        unmatched_age: for_ever,
        output_age: for_ever,
        ..Config::defaults(Path::new("/")).retention
    };
    let (writer, thread) = Writer::start(store.clone(), retention).expect("a thread");
    let hooks = [hook("a", "one"), hook("ab", "one"), hook("oned.b", "two")];
    for seq in 1..=rng.u64(5..40) {
        // Numbers of what was pruned are missing.
        if rng.u32(0..5) > 0 {
            let changes = of_event(&mut rng, seq, &hooks);
            durable(&writer, changes).await.expect("a write");
        }
    }
    let mut changes = vec![Change::Override(
        HookName::trusted("a"),
        Some(Override {
            enabled: false,
            actor: Actor::Daemon,
            at: time(&mut rng),
        }),
    )];
    for (scope, length) in [
        (Scope::All, None),
        (Scope::Source("one".into()), Some(Duration::from_secs(60))),
        (Scope::Lane(HookName::trusted("ab"), Subject::new("vm/1")), None),
    ] {
        let since = time(&mut rng);
        changes.push(Change::Record(Decided::Muted(Mute {
            scope,
            since,
            until: length.map(|length| Until::after(since, length)),
            by: MutedBy::Operator(Actor::User { uid: 12 }),
            reason: rng.bool().then(|| "DNS is moved".to_owned()),
        })));
    }
    changes.extend((0..rng.usize(1..5)).map(|_| Change::Audit {
        at: Timestamp::from_millis(1_700_000_000_000),
        actor: Actor::User { uid: 12 },
        action: "cancel",
        target: "1.a".to_owned(),
    }));
    changes.push(Change::NotAccepted {
        source: "one".to_owned(),
        counters: crate::store::EventCounters {
            received: 3,
            duplicate: 1,
            lost: 2,
            ..Default::default()
        },
    });
    durable(&writer, changes).await.expect("a write");
    drop(writer);
    thread.join().expect("the writer ends");
    store
}

fn exported(store: &Store, veil: Veil) -> Vec<String> {
    let mut exporter = Exporter::new(store.clone(), veil, ExportFilter::default()).expect("an export");
    let mut text = Vec::new();
    while let Some(chunk) = exporter.next_chunk() {
        text.extend(chunk);
    }
    let text = String::from_utf8(text).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// The lines without what tells of the export and the import themselves.
fn records(lines: &[String]) -> Vec<String> {
    lines
        .iter()
        .filter(|line| !line.contains(r#""action":"import""#))
        .map(|line| {
            let mut line: serde_json::Value = serde_json::from_str(line).expect("JSON");
            if line["type"] == "export" {
                for own in ["made", "last_audit"] {
                    line[own] = serde_json::Value::Null;
                }
            }
            if line["type"] == "end" {
                line["lines"] = serde_json::Value::Null;
            }
            line.to_string()
        })
        .collect()
}

#[track_caller]
fn assert_same(ours: &[String], theirs: &[String], seed: u64) {
    let short = |line: &String| line.chars().take(300).collect::<String>();
    for (line, (our, their)) in ours.iter().zip(theirs).enumerate() {
        assert!(
            our == their,
            "seed {seed}, line {line}:\n{}\n{}",
            short(our),
            short(their)
        );
    }
    assert_eq!(ours.len(), theirs.len(), "seed {seed}");
}

fn file(lines: &[String]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    for line in lines {
        writeln!(file, "{line}").expect("written");
    }
    file.rewind().expect("the beginning");
    file
}

const MOVE: ImportOptions = ImportOptions {
    with_unsettled: true,
    dry_run: false,
};
const HISTORY: ImportOptions = ImportOptions {
    with_unsettled: false,
    dry_run: false,
};

#[tokio::test]
async fn a_store_that_was_moved_gives_the_same_lines_and_moving_it_again_changes_nothing() {
    for seed in 0..25 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = filled(&folder.path().join("old"), seed).await;
        let lines = exported(&store, Veil::lifted());
        let new = folder.path().join("new");
        let reply = import(&new, &mut file(&lines), "a file", MOVE)
            .await
            .expect("an import");
        let moved = Store::open(&new).expect("a store");
        assert_eq!(moved.id(), store.id());
        let (theirs, ours) = (store.summary(), moved.summary());
        assert_eq!(ours.events, theirs.events, "seed {seed}");
        assert_eq!(
            (ours.last_seq, ours.unmatched_kept, ours.matched_kept),
            (theirs.last_seq, theirs.unmatched_kept, theirs.matched_kept),
            "seed {seed}"
        );
        // Where an output was cut in the middle of a character, the halves of it stay behind.
        assert!(ours.bytes > 0 && ours.bytes <= theirs.bytes, "seed {seed}");
        assert_eq!(ours.executions, theirs.executions, "seed {seed}");
        assert_eq!(reply.unsettled, moved.unsettled().expect("a read").len() as u64);
        assert_same(
            &records(&exported(&moved, Veil::lifted())),
            &records(&lines),
            seed,
        );

        let before = exported(&moved, Veil::lifted());
        drop(moved);
        let again = import(&new, &mut file(&lines), "a file", MOVE)
            .await
            .expect("an import");
        assert_eq!((again.events, again.executions, again.audit), (0, 0, 0));
        let after = exported(&Store::open(&new).expect("a store"), Veil::lifted());
        assert_same(&before[1..], &after[1..], seed);
    }
}

#[tokio::test]
async fn history_alone_leaves_nothing_to_be_done_and_shows_no_secret() {
    for seed in 100..110 {
        let folder = tempfile::tempdir().expect("a folder");
        let store = filled(&folder.path().join("old"), seed).await;
        let lines = exported(&store, Veil::new(Redaction::default()));
        assert!(lines.iter().all(|line| !line.contains(SECRET)), "seed {seed}");
        let refused = import(&folder.path().join("new"), &mut file(&lines), "a file", MOVE).await;
        assert!(matches!(refused, Err(ImportError::Redacted)), "{refused:?}");

        let new = folder.path().join("new");
        let reply = import(&new, &mut file(&lines), "a file", HISTORY)
            .await
            .expect("an import");
        let moved = Store::open(&new).expect("a store");
        assert_eq!(moved.unsettled().expect("a read"), []);
        assert_eq!(reply.left_out, store.unsettled().expect("a read").len() as u64);
        // What is blotted out stays so, and everything else is as it was.
        let of_settled = |lines: &[String]| -> Vec<String> {
            let left_out: Vec<String> = store
                .unsettled()
                .expect("a read")
                .iter()
                .map(|execution| format!(r#""execution":"{}""#, execution.key))
                .collect();
            records(lines)
                .into_iter()
                .filter(|line| !left_out.iter().any(|key| line.contains(key)))
                .filter(|line| !line.contains(r#""type":"definition""#))
                .collect()
        };
        assert_same(
            &of_settled(&exported(&moved, Veil::new(Redaction::default()))),
            &of_settled(&lines),
            seed,
        );
        drop(moved);

        // The rest can follow: what was left out is not mistaken for what is there.
        let whole = exported(&store, Veil::lifted());
        let rest = import(&new, &mut file(&whole), "a file", MOVE)
            .await
            .expect("an import");
        assert_eq!((rest.events, rest.executions), (0, reply.left_out));
    }
}

#[tokio::test]
async fn records_go_only_into_a_store_of_their_own_id_or_an_empty_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(&folder.path().join("one"), 1).await;
    let other = filled(&folder.path().join("two"), 2).await;
    assert_ne!(store.id(), other.id());
    let before = exported(&other, Veil::lifted());
    let lines = exported(&store, Veil::lifted());
    let two = folder.path().join("two");
    let refused = import(&two, &mut file(&lines), "a file", HISTORY).await;
    assert!(refused.as_ref().is_err_and(ImportError::is_in_use), "{refused:?}");
    drop(other);
    let refused = import(&two, &mut file(&lines), "a file", HISTORY).await;
    assert!(
        matches!(refused, Err(ImportError::Adopt(AdoptError::Other { .. }))),
        "{refused:?}"
    );
    let other = Store::open(&two).expect("a store");
    assert_same(&exported(&other, Veil::lifted())[1..], &before[1..], 2);

    // A daemon that was started once has no event yet, but lines in its audit log.
    let empty = folder.path().join("empty");
    let fresh = Store::open(&empty).expect("a store");
    crate::store::offline::log_reveal(&fresh, Actor::Daemon, "something")
        .await
        .expect("a line");
    drop(fresh);
    import(&empty, &mut file(&lines), "a file", HISTORY)
        .await
        .expect("an empty store takes them");
    let taken = Store::open(&empty).expect("a store");
    assert_eq!(taken.id(), store.id());
    let actions: Vec<String> = taken
        .audit_after(0, usize::MAX)
        .expect("a log")
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    let theirs = usize::try_from(store.summary().last_audit).expect("few");
    assert_eq!(actions[..theirs], vec!["cancel"; theirs]);
    assert_eq!(actions[theirs..], ["reveal", "import"]);
}

#[tokio::test]
async fn a_broken_line_is_named_and_nothing_is_imported() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(&folder.path().join("old"), 3).await;
    let lines = exported(&store, Veil::lifted());
    let find = |kind: &str| {
        let found = lines
            .iter()
            .position(|line| line.contains(&format!(r#"{{"type":"{kind}""#)));
        found.expect("such a line")
    };
    let changed = |at: usize, line: String| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines
    };
    let without = |at: usize| {
        let mut lines = lines.clone();
        lines.remove(at);
        lines
    };
    let (event, execution, attempt) = (find("event"), find("execution"), find("attempt"));
    let last = lines.len() - 1;
    let newer = lines[0].replacen(r#""format":1"#, r#""format":2,"odd":true"#, 1);
    let cases: Vec<(Vec<String>, &str)> = vec![
        (changed(event, "{".to_owned()), "is no line of an export"),
        (
            changed(event, lines[event].replacen(r#""seq":"#, r#""seq":9"#, 1)),
            "for its id",
        ),
        (without(0), "line 1 should say what the file is"),
        (lines[..last].to_vec(), "is cut off behind line"),
        (without(event), "its event does not stand before it"),
        (without(find("audit")), "lines stand before it"),
        (without(execution), "its execution does not stand before it"),
        (changed(0, newer), "has format 2"),
        (
            changed(
                attempt,
                lines[attempt].replacen(r#""number":1"#, r#""number":99"#, 1),
            ),
            "attempts are numbered",
        ),
        (
            lines.iter().chain(&lines).cloned().collect(),
            "the file has ended",
        ),
        (Vec::new(), "is cut off behind line 0"),
    ];
    for (lines, expected) in cases {
        let new = folder.path().join("new");
        let error = import(&new, &mut file(&lines), "a file", MOVE)
            .await
            .expect_err(expected);
        assert!(
            error.to_string().contains(expected),
            "{error} instead of {expected}"
        );
        assert!(!new.exists(), "{expected}: nothing is made");
    }
}

#[test]
fn a_file_in_which_anything_is_changed_is_refused_or_makes_sense_and_never_makes_it_panic() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let store = runtime.block_on(filled(folder.path(), 4));
    let text = exported(&store, Veil::lifted()).join("\n").into_bytes();
    let check_text = |text: &[u8]| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(text).expect("written");
        check(&mut file, MOVE).map(|(_, found)| found)
    };
    check_text(&text).expect("the file itself is fine");
    proptest!(ProptestConfig::with_cases(300), |(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        cut in proptest::option::of(any::<proptest::sample::Index>()),
        line in "\\PC{0,60}",
    )| {
        let mut text = text.clone();
        for (at, byte) in changes {
            let at = at.index(text.len());
            text[at] = byte;
        }
        if let Some(cut) = cut {
            text.truncate(cut.index(text.len()));
            text.extend_from_slice(line.as_bytes());
        }
        let _ = check_text(&text);
        let _ = check_text(line.as_bytes());
    });
}
