//! What was written comes back as it was.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::draft::Lines;
use super::super::format::{
    StoredAttempt, is_settled, read_audit, read_definition, read_event, read_execution, read_last_good,
    read_mute, read_override, write_audit, write_definition, write_event, write_execution, write_last_good,
    write_mute, write_override, write_progress,
};
use super::super::{Definition, Override};
use crate::engine::execution::{
    Actor, Attempt, CancelReason, Cause, EndedAttempt, Execution, FileFingerprint, Progress, Settlement,
    SkipReason, StartedProcess, State,
};
use crate::engine::mute::{Mute, MutedBy, Scope, Until};
use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::masakari::{MasakariNotification, Observed};
use crate::event::ncmp::NcmpRecord;
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::webhook::{Form, WebhookRequest};
use crate::event::{ApiCall, Event, Facts, RetryRequest, StateChange, Subject};
use crate::hooks::Version;
use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};

fn text() -> impl Strategy<Value = String> {
    ".{0,12}"
}

fn maybe() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(text())
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

fn name() -> impl Strategy<Value = HookName> {
    "[A-Za-z0-9._-]{1,20}".prop_map(|name| HookName::trusted(&name))
}

fn version() -> impl Strategy<Value = Version> {
    any::<[u8; 32]>().prop_map(Version)
}

fn delay() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

fn actor() -> impl Strategy<Value = Actor> {
    prop_oneof![
        any::<u32>().prop_map(|uid| Actor::User { uid }),
        "[a-z]{1,8}".prop_map(|name| Actor::Token { name: name.into() }),
        Just(Actor::Daemon)
    ]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Event),
        Just(Cause::Retry),
        Just(Cause::Recovery),
        any::<u64>().prop_map(|seq| Cause::RetryMessage(Seq(seq))),
        (actor(), any::<bool>()).prop_map(|(actor, as_recorded)| Cause::Operator { actor, as_recorded }),
    ]
}

fn cancel_reason() -> impl Strategy<Value = CancelReason> {
    prop_oneof![
        Just(CancelReason::HookRemoved),
        Just(CancelReason::HookDisabled),
        Just(CancelReason::Superseded),
        Just(CancelReason::Expired),
        actor().prop_map(CancelReason::Operator),
        actor().prop_map(CancelReason::Stopped),
    ]
}

fn state() -> impl Strategy<Value = State> {
    let settlement = prop_oneof![
        Just(Settlement::Succeeded),
        Just(Settlement::Failed),
        prop_oneof![
            Just(SkipReason::Expired),
            Just(SkipReason::Throttled),
            Just(SkipReason::Superseded),
            Just(SkipReason::Overlap),
            Just(SkipReason::Muted),
            Just(SkipReason::Observed),
        ]
        .prop_map(Settlement::Skipped),
        cancel_reason().prop_map(Settlement::Cancelled),
    ];
    prop_oneof![
        (cause(), time()).prop_map(|(cause, since)| State::Queued { cause, since }),
        (
            any::<u32>(),
            cause(),
            time(),
            proptest::option::of(cancel_reason())
        )
            .prop_map(|(attempt, cause, since, ended_for)| State::Running {
                attempt,
                cause,
                since,
                ended_for,
            }),
        (time(), delay(), cause()).prop_map(|(due, delay, cause)| State::Debouncing { due, delay, cause }),
        (time(), delay()).prop_map(|(due, delay)| State::Retrying { due, delay }),
        (settlement, time()).prop_map(|(settlement, at)| State::Settled { settlement, at }),
    ]
}

fn progress() -> impl Strategy<Value = Progress> {
    (state(), any::<u64>(), version(), any::<[u32; 3]>()).prop_map(
        |(state, turn, version, [attempts, budget_used, interruptions])| Progress {
            state,
            turn,
            version,
            attempts,
            budget_used,
            interruptions,
        },
    )
}

fn execution() -> impl Strategy<Value = Execution> {
    let key = || (any::<u64>(), name()).prop_map(|(seq, hook)| ExecutionKey::new(Seq(seq), hook));
    (
        key(),
        maybe(),
        text(),
        time(),
        text(),
        proptest::option::of(key()),
        progress(),
    )
        .prop_map(
            |(key, subject, source, accepted, why, retry_of, progress)| Execution {
                key,
                subject: subject.map(|subject| Subject::new(&subject)),
                source: source.into(),
                accepted,
                why,
                retry_of,
                progress,
            },
        )
}

fn mute() -> impl Strategy<Value = Mute> {
    let scope = prop_oneof![
        Just(Scope::All),
        text().prop_map(|source| Scope::Source(source.into())),
        name().prop_map(Scope::Hook),
        (name(), text()).prop_map(|(hook, subject)| Scope::Lane(hook, Subject::new(&subject))),
    ];
    let by = prop_oneof![
        actor().prop_map(MutedBy::Operator),
        Just(MutedBy::Throttle),
        Just(MutedBy::LoopGuard),
        Just(MutedBy::Breaker),
    ];
    let until = (time(), delay()).prop_map(|(at, length)| Until { at, length });
    (scope, time(), proptest::option::of(until), by, maybe()).prop_map(|(scope, since, until, by, reason)| {
        Mute {
            scope,
            since,
            until,
            by,
            reason,
        }
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let resource = prop_oneof![
        Just(Resource::Vm),
        Just(Resource::Host),
        Just(Resource::Image),
        Just(Resource::Net),
        "[A-Z]{5,8}".prop_map(Resource::Other),
    ];
    prop_oneof![
        (resource, text(), proptest::array::uniform5(maybe())).prop_map(
            |(resource, state, [id, lcm_state, previous_state, previous_lcm_state, host])| Facts::State(
                StateChange {
                    resource,
                    id,
                    state,
                    lcm_state,
                    previous_state,
                    previous_lcm_state,
                    host,
                }
            )
        ),
        (text(), any::<bool>()).prop_map(|(call, success)| Facts::Api(ApiCall { call, success })),
        (any::<u64>(), text(), maybe()).prop_map(|(hook_id, arguments, remote_host)| Facts::Retry(
            RetryRequest {
                hook_id,
                arguments,
                remote_host,
            }
        )),
        text().prop_map(|reason| Facts::Undecodable { reason }),
        (
            [text(), text()],
            [maybe(), maybe(), maybe()],
            prop_oneof![Just(Form::Json), Just(Form::Form), Just(Form::Xml)],
            proptest::collection::btree_map(text(), text(), 0..3),
        )
            .prop_map(
                |([endpoint, method], [delivery, sender, request], form, headers)| Facts::Webhook(
                    WebhookRequest {
                        endpoint,
                        method,
                        form,
                        delivery,
                        headers,
                        sender,
                        request,
                    }
                )
            ),
        esc(),
        ncmp(),
        (
            [text(), text(), text(), text()],
            [maybe(), maybe(), maybe(), maybe()],
            proptest::option::of((any::<u64>(), text(), maybe())),
            proptest::collection::btree_map(text(), text(), 0..3),
        )
            .prop_map(
                |(
                    [uuid, kind, hostname, generated_time],
                    [host_uuid, segment_uuid, sender, request],
                    observed,
                    payload,
                )| Facts::Masakari(MasakariNotification {
                    uuid,
                    kind,
                    hostname,
                    generated_time,
                    payload,
                    host_uuid,
                    segment_uuid,
                    observed: observed.map(|(id, status, previous)| Observed { id, status, previous }),
                    sender,
                    request,
                })
            ),
    ]
}

fn ncmp() -> impl Strategy<Value = Facts> {
    let texts = || proptest::collection::vec(proptest::option::of("\\PC{0,8}"), 7);
    let properties = || proptest::collection::btree_map("\\PC{0,4}", "\\PC{0,4}", 0..3);
    let place = ("\\PC{0,8}", any::<i32>(), any::<i64>());
    let event = ("\\PC{0,8}", "\\PC{0,8}");
    let data_sync = proptest::option::of(any::<bool>());
    (place, event, texts(), data_sync, properties(), properties()).prop_map(
        |((topic, partition, offset), (event, event_type), texts, data_sync, properties, old_properties)| {
            let mut texts = texts.into_iter();
            let mut next = || texts.next().flatten();
            Facts::Ncmp(Box::new(NcmpRecord {
                topic,
                partition,
                offset,
                event,
                event_type,
                id: next(),
                time: next(),
                origin: next(),
                cm_handle: next(),
                alternate_id: next(),
                state: next(),
                old_state: next(),
                data_sync,
                properties,
                old_properties,
            }))
        },
    )
}

fn esc() -> impl Strategy<Value = Facts> {
    let text = || "\\PC{0,8}";
    let maybe = || proptest::option::of("\\PC{0,8}");
    let machine = || {
        [maybe(), maybe(), maybe(), maybe()].prop_map(|[id, name, host_id, host_name]| Machine {
            id,
            name,
            host_id,
            host_name,
        })
    };
    (
        prop_oneof![Just(Via::Rest), Just(Via::Netconf)],
        prop_oneof![Just(Form::Json), Just(Form::Xml)],
        text(),
        [machine(), machine()],
        proptest::collection::vec(maybe(), 12),
    )
        .prop_map(|(via, form, event, [vm, new_vm], texts)| {
            let mut texts = texts.into_iter();
            let mut next = || texts.next().flatten();
            Facts::Esc(Box::new(EscEvent {
                via,
                form,
                event,
                status: next(),
                status_code: next(),
                status_message: next(),
                tenant: next(),
                deployment: next(),
                vm_group: next(),
                vm,
                new_vm,
                resource: next(),
                transaction: next(),
                time: next(),
                delivery: next(),
                sender: next(),
                request: next(),
            }))
        })
}

fn captured() -> impl Strategy<Value = Captured> {
    let part = || proptest::collection::vec(any::<u8>(), 0..50).prop_map(Bytes::from);
    (part(), part(), any::<u64>()).prop_map(|(head, tail, total)| Captured { head, tail, total })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let kind = prop_oneof![
        Just(StartFailureKind::NotFound),
        Just(StartFailureKind::NotPermitted),
        Just(StartFailureKind::ArgumentTooLong),
        Just(StartFailureKind::BadArgument),
        Just(StartFailureKind::Exhausted),
        Just(StartFailureKind::Other),
    ];
    prop_oneof![
        any::<i32>().prop_map(|code| Outcome::Exited { code }),
        any::<i32>().prop_map(|code| Outcome::Leaked { code }),
        any::<i32>().prop_map(|signal| Outcome::Signalled { signal }),
        (delay(), any::<bool>()).prop_map(|(after, killed)| Outcome::TimedOut { after, killed }),
        any::<bool>().prop_map(|killed| Outcome::Stopped { killed }),
        (kind, text()).prop_map(|(kind, message)| Outcome::StartFailed(StartFailure { kind, message })),
        Just(Outcome::Interrupted),
    ]
}

fn process() -> impl Strategy<Value = StartedProcess> {
    let path = || text().prop_map(PathBuf::from);
    let file = (path(), any::<[u8; 32]>(), any::<u64>()).prop_map(|(path, sha256, size)| FileFingerprint {
        path,
        sha256,
        size,
    });
    (
        (any::<u32>(), any::<u64>(), time(), any::<u32>(), version()),
        (path(), any::<[u8; 32]>(), proptest::option::of(path())),
        proptest::collection::vec(text(), 0..4),
        proptest::collection::vec((text(), text()), 0..4),
        proptest::collection::vec(file, 0..3),
    )
        .prop_map(
            |(
                (pid, start_ticks, at, uid, version),
                (hook_file, hook_file_sha256, directory),
                argv,
                environment,
                files,
            )| StartedProcess {
                pid,
                start_ticks,
                boot_id: (pid % 3 == 0).then(|| format!("boot-{pid}")),
                at,
                uid,
                version,
                hook_file,
                hook_file_sha256,
                arguments_sha256: (pid % 2 == 0).then_some(hook_file_sha256),
                argv,
                environment,
                directory,
                files,
            },
        )
}

fn attempt() -> impl Strategy<Value = Attempt> {
    let ended = (time(), outcome(), captured(), captured(), any::<bool>()).prop_map(
        |(at, outcome, stdout, stderr, outputs_pruned)| EndedAttempt {
            at,
            outcome,
            stdout,
            stderr,
            outputs_pruned,
        },
    );
    (
        any::<u32>(),
        cause(),
        time(),
        proptest::option::of(process()),
        proptest::option::of(ended),
    )
        .prop_map(|(number, cause, released, process, ended)| Attempt {
            number,
            cause,
            released,
            process,
            ended,
        })
}

proptest! {
    #[test]
    fn executions(execution in execution()) {
        let (fixed, moving) = (write_execution(&execution), write_progress(&execution.progress));
        let back = read_execution(execution.key.clone(), &fixed, &moving).expect("what was written");
        prop_assert_eq!(is_settled(&moving).expect("what was written"), execution.progress.state.is_settled());
        prop_assert_eq!(back, execution);
    }

    #[test]
    fn mutes(mute in mute()) {
        prop_assert_eq!(read_mute(&write_mute(&mute)).expect("what was written"), mute);
    }

    #[test]
    fn attempts(attempt in attempt()) {
        let mut stored = StoredAttempt::new(attempt.number, &attempt.cause, attempt.released);
        if let Some(process) = &attempt.process {
            stored.start(process);
        }
        let (mut stdout, mut stderr) = (Bytes::new(), Bytes::new());
        if let Some(ended) = &attempt.ended {
            stored.end(ended);
            let kept = |captured: &Captured| [captured.head.as_ref(), captured.tail.as_ref()].concat().into();
            (stdout, stderr) = (kept(&ended.stdout), kept(&ended.stderr));
        }
        let back = StoredAttempt::read(&stored.write()).expect("what was written");
        prop_assert_eq!(back.number(), attempt.number);
        prop_assert_eq!(back.with_outputs(stdout, stderr).expect("what was written"), attempt);
    }

    #[test]
    fn events(
        facts in facts(),
        (source, key, subject) in (text(), text(), maybe()),
        received in time(),
        (ambiguous, synthesised) in any::<(bool, bool)>(),
        payload in proptest::collection::vec(any::<u8>(), 0..50),
        hooks in proptest::collection::vec(name(), 0..4),
    ) {
        let event = Event {
            seq: Seq(7),
            source: source.as_str().into(),
            key,
            subject: subject.map(|subject| Subject::new(&subject)),
            received,
            facts,
            ambiguous,
            synthesised,
            payload: Payload::new(payload.clone().into()),
        };
        let listed = read_event(event.seq, &write_event(&event, payload.len() as u64, &hooks)).expect("what was written");
        prop_assert_eq!(listed.hooks, hooks);
        prop_assert_eq!(listed.payload_len, payload.len() as u64);
        let back = listed.event;
        prop_assert_eq!(back.seq, event.seq);
        prop_assert_eq!(back.source, event.source);
        prop_assert_eq!(back.key, event.key);
        prop_assert_eq!(back.subject, event.subject);
        prop_assert_eq!(back.received, event.received);
        prop_assert_eq!(back.facts, event.facts);
        prop_assert_eq!((back.ambiguous, back.synthesised), (ambiguous, synthesised));
    }

    #[test]
    fn definitions_overrides_texts_and_the_audit_log(
        (name, text_of, file) in (name(), text(), text()),
        line in any::<usize>(),
        file_sha256 in any::<[u8; 32]>(),
        (actor, at, enabled) in (actor(), time(), any::<bool>()),
        stale_since in proptest::option::of(time()),
        (action, target) in (text(), text()),
    ) {
        let definition = Definition { name, text: text_of.clone(), file, line, file_sha256 };
        prop_assert_eq!(read_definition(&write_definition(&definition)).expect("written"), definition);
        let value = Override { enabled, actor: actor.clone(), at };
        prop_assert_eq!(read_override(&write_override(&value)).expect("written"), value);
        let last_good = read_last_good(&write_last_good(&text_of, stale_since)).expect("written");
        prop_assert_eq!(last_good, (text_of, stale_since));
        let line = read_audit(9, &write_audit(at, &actor, &action, &target)).expect("written");
        prop_assert_eq!((line.number, line.at, line.actor), (9, at, actor));
        prop_assert_eq!((line.action, line.target), (action, target));
    }

    #[test]
    fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let _ = read_event(Seq(1), &bytes);
        let key = ExecutionKey::new(Seq(1), HookName::trusted("a"));
        let fixed: &[u8] = br#"{"source":"one","accepted":0,"why":""}"#;
        let _ = read_execution(key.clone(), fixed, &bytes);
        let _ = read_execution(key, &bytes, &bytes);
        let _ = read_definition(&bytes);
        let _ = read_override(&bytes);
        let _ = read_mute(&bytes);
        let _ = read_audit(1, &bytes);
        let _ = StoredAttempt::read(&bytes);
        let _ = Lines::of(&bytes).attempt();
    }
}

#[test]
fn a_path_that_is_no_utf8_makes_no_record_unreadable() {
    use std::os::unix::ffi::OsStrExt as _;

    let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"/etc/\xff.yaml"));
    let process = StartedProcess {
        pid: 1,
        start_ticks: 1,
        boot_id: None,
        at: Timestamp::from_millis(1),
        uid: 1,
        version: Version([0; 32]),
        hook_file: odd.clone(),
        hook_file_sha256: [0; 32],
        arguments_sha256: None,
        argv: Vec::new(),
        environment: Vec::new(),
        directory: Some(odd.clone()),
        files: vec![FileFingerprint {
            path: odd,
            sha256: [0; 32],
            size: 1,
        }],
    };
    let mut stored = StoredAttempt::new(1, &Cause::Event, Timestamp::from_millis(1));
    stored.start(&process);
    let back = StoredAttempt::read(&stored.write())
        .and_then(|stored| stored.with_outputs(Bytes::new(), Bytes::new()))
        .expect("a record");
    assert_eq!(
        back.process.expect("a process").hook_file,
        PathBuf::from("/etc/\u{fffd}.yaml")
    );
}

/// The forms of format 1 as they stand in stores: a change here is a change of the format.
#[test]
fn what_format_1_wrote_is_read() {
    let execution =
        br#"{"subject":"vm/12","source":"one","accepted":1700000000000,"why":"state VM ACTIVE/RUNNING","retry_of":[3,"a"]}"#;
    let moving = br#"{"state":{"is":"retrying","due":1700000005000,"delay":5000},"turn":9,"version":"0707070707070707070707070707070707070707070707070707070707070707","attempts":2,"budget_used":1}"#;
    let key = ExecutionKey::new(Seq(7), HookName::trusted("vm-running"));
    let back = read_execution(key, execution, moving).expect("a record");
    assert_eq!(
        back.retry_of,
        Some(ExecutionKey::new(Seq(3), HookName::trusted("a")))
    );
    assert_eq!(back.progress.version, Version([7; 32]));
    assert_eq!(
        back.progress.interruptions, 0,
        "a field that came later has its default"
    );
    assert_eq!(
        back.progress.state,
        State::Retrying {
            due: Timestamp::from_millis(1_700_000_005_000),
            delay: Duration::from_secs(5),
        }
    );
    let event = br#"{"source":"opennebula","key":"EVENT STATE VM/ACTIVE/RUNNING/12 ","received":5,"facts":{"kind":"state","resource":"VM","state":"ACTIVE","lcm_state":"RUNNING"},"payload_len":3,"from_the_future":true}"#;
    let listed = read_event(Seq(7), event).expect("an event");
    assert!(matches!(
        listed.event.facts,
        Facts::State(StateChange {
            resource: Resource::Vm,
            ..
        })
    ));
    assert_eq!(listed.hooks, []);
}
