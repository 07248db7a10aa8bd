//! The engine's promises on a whole daemon, with a real publisher, real scripts and a real store.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own machinery fails the test where it fails"
)]

mod daemon;
mod recorded;

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::CommandExt as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, publish, publisher, until, until_settled};
use hem::config::Source;
use hem::engine::execution::{Actor, CancelReason, Cause, Execution, Settlement, SkipReason, State};
use hem::engine::handle::Handle;
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::{Facts, Kind};
use hem::runner::Outcome;
use hem::sources::opennebula::publisher::Publisher;
use hem::store::{EventQuery, ExecutionQuery, ListedEvent};
use recorded::Recorded;

const OPERATOR: Actor = Actor::User { uid: 7 };

/// A VM came to run; `number` tells one event from the next.
fn running(vm: u32, number: usize) -> Recorded {
    running_with(vm, &format!("<N>{number}</N>"))
}

fn running_with(vm: u32, more: &str) -> Recorded {
    Recorded {
        key: format!("EVENT STATE VM/ACTIVE/RUNNING/{vm} "),
        content: format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{vm}</RESOURCE_ID><REMOTE_HOST/>\
             <VM><ID>{vm}</ID>{more}</VM></HOOK_MESSAGE>"
        )
        .into(),
    }
}

fn retry_message(hook: u64, arguments: &str) -> Recorded {
    Recorded {
        key: "RETRY".to_owned(),
        content: format!(
            "<HOOK_MESSAGE><ARGUMENTS>{}</ARGUMENTS><HOOK_ID>{hook}</HOOK_ID></HOOK_MESSAGE>",
            STANDARD.encode(arguments)
        )
        .into(),
    }
}

/// A hook on VMs that run, with further lines.
fn on_running(name: &str, command: &str, more: &str) -> String {
    format!(
        "name: {name}\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: {command}\n\
         arguments: [\"${{{{ event.VM.ID }}}}\", \"${{{{ event.VM.N }}}}\"]\n{more}\n"
    )
}

fn key(event: u64, hook: &str) -> ExecutionKey {
    ExecutionKey::new(Seq(event), HookName::new(hook).expect("a name"))
}

fn execution(handle: &Handle, event: u64, hook: &str) -> Option<Execution> {
    handle.store().execution(&key(event, hook)).expect("a read")
}

fn state(handle: &Handle, event: u64, hook: &str) -> &'static str {
    execution(handle, event, hook).map_or("absent", |execution| execution.progress.state.name())
}

fn executions(handle: &Handle) -> Vec<Execution> {
    let query = ExecutionQuery {
        limit: usize::MAX,
        ..ExecutionQuery::default()
    };
    handle.store().executions(&query).expect("executions")
}

fn events(handle: &Handle) -> Vec<ListedEvent> {
    let query = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    handle.store().events(&query).expect("events")
}

fn received(handle: &Handle) -> u64 {
    handle
        .store()
        .summary()
        .events
        .values()
        .map(|counters| counters.received)
        .sum()
}

async fn until_received(handle: &Handle, count: u64) {
    until(&format!("{count} events are received"), || {
        received(handle) >= count
    })
    .await;
}

fn assert_adds_up(handle: &Handle) {
    let summary = handle.store().summary();
    for counters in summary.events.values() {
        assert!(counters.adds_up(), "{counters:?}");
    }
    let kept: u64 = summary.executions.values().sum();
    assert_eq!(kept, executions(handle).len() as u64);
}

/// A house that listens, with scripts that append to `notes`.
async fn house() -> (House, Publisher) {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    let notes = house.path("notes").display().to_string();
    let gate = house.path("gate").display().to_string();
    house
        .script("true.sh", "#!/bin/sh\nexit 0\n")
        .script("note.sh", &format!("#!/bin/sh\necho \"$*\" >> {notes}\n"))
        .script(
            "gate.sh",
            &format!("#!/bin/sh\necho \"$*\" >> {notes}\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"),
        );
    (house, publisher)
}

/// The most scripts at once, of lines `+ …` and `- …` in the order they were written.
fn most_at_once(lines: &[String]) -> i32 {
    let (mut now, mut most) = (0, 0);
    for line in lines {
        now += if line.starts_with('+') { 1 } else { -1 };
        most = most.max(now);
    }
    assert_eq!(now, 0, "every script that began has ended");
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_a_subject_holds_under_load_with_failures_and_retries() {
    let (house, publisher) = house().await;
    let notes = house.path("order").display().to_string();
    house
        .script(
            "flaky.sh",
            &format!(
                "#!/bin/sh\necho \"+ $1 $2\" >> {notes}\necho \"- $1 $2\" >> {notes}\n\
                 [ $(($2 % 3)) -ne 0 ] || [ $HEM_ATTEMPT -gt 1 ]\n"
            ),
        )
        .hook(
            "flaky",
            &on_running(
                "flaky",
                "flaky.sh",
                "retry: { attempts: 3, backoff: 10ms..20ms }\nmax_parallel: 4",
            ),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    for number in 1..=25 {
        for vm in 1..=4 {
            publish(&publisher, &running(vm, number)).await;
        }
    }
    let handle = daemon.handle().clone();
    until_settled(&handle, 100).await;
    let mut of_vm: BTreeMap<String, Vec<(String, usize)>> = BTreeMap::new();
    for line in house.lines("order") {
        let words: Vec<&str> = line.split(' ').collect();
        let number = words[2].parse().expect("a number");
        of_vm
            .entry(words[1].to_owned())
            .or_default()
            .push((words[0].to_owned(), number));
    }
    assert_eq!(of_vm.len(), 4);
    let expected: Vec<(String, usize)> = (1..=25)
        .flat_map(|number| vec![number; if number % 3 == 0 { 2 } else { 1 }])
        .flat_map(|number| [("+".to_owned(), number), ("-".to_owned(), number)])
        .collect();
    for (vm, lines) in of_vm {
        assert_eq!(lines, expected, "VM {vm}");
    }
    assert_eq!(handle.store().summary().executions["succeeded"], 100);
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn different_subjects_run_at_the_same_time() {
    let (house, publisher) = house().await;
    let meet = house.path("meet").display().to_string();
    // Each waits for the other: one after the other they would never end.
    house
        .script(
            "meet.sh",
            &format!(
                "#!/bin/sh\ntouch {meet}.$1\nwhile [ ! -e {meet}.1 ] || [ ! -e {meet}.2 ]; do sleep 0.02; done\n"
            ),
        )
        .hook("meet", &on_running("meet", "meet.sh", ""));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1, 1)).await;
    publish(&publisher, &running(2, 2)).await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 2).await;
    assert_eq!(handle.store().summary().executions["succeeded"], 2);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_hook_and_of_the_daemon_are_never_passed() {
    let (mut house, publisher) = house().await;
    house.config.concurrency = 3;
    // Each goes on until the limits have been reached once: of all, and of the one hook that may have two at a time.
    for (name, more, waits_for) in [
        ("none", "order: none\nmax_parallel: 2", "all 3; met none 2"),
        ("hook", "order: hook\nmax_parallel: 2", "all 3"),
        ("free", "order: none\nmax_parallel: 9", "all 3"),
    ] {
        house
            .script(
                &format!("{name}.sh"),
                &format!(
                    "#!/bin/sh\ncd {folder}\n\
                     met() {{\n\
                         until test -e $1.met; do\n\
                             begun=$(grep -c '^+' $1); ended=$(grep -c '^-' $1)\n\
                             if test $((begun - ended)) -ge $2; then touch $1.met; else sleep 0.02; fi\n\
                         done\n\
                     }}\n\
                     echo + >> {name}; echo + >> all\nmet {waits_for}\necho - >> all; echo - >> {name}\n",
                    folder = house.folder.path().display()
                ),
            )
            .hook(name, &on_running(name, &format!("{name}.sh"), more));
    }
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    for number in 0..12 {
        publish(&publisher, &running(1, number)).await;
    }
    let handle = daemon.handle().clone();
    until_settled(&handle, 12).await;
    assert_eq!(
        most_at_once(&house.lines("none")),
        2,
        "max_parallel, and one subject does not hold it back"
    );
    assert_eq!(most_at_once(&house.lines("hook")), 1);
    assert!(most_at_once(&house.lines("free")) <= 3);
    assert_eq!(most_at_once(&house.lines("all")), 3, "concurrency");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_message_runs_the_hook_with_that_id_and_its_arguments_again() {
    let (house, publisher) = house().await;
    house.hook("seven", &on_running("seven", "note.sh", "id: 7"));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(12, 34)).await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 1).await;
    publish(&publisher, &retry_message(7, "12 34")).await;
    publish(&publisher, &retry_message(7, "somebody else's")).await;
    publish(&publisher, &retry_message(99, "12 34")).await;
    until_settled(&handle, 4).await;

    // Two lanes: which of the two messages' scripts comes first is nobody's promise.
    let mut notes = house.lines("notes");
    notes.sort();
    assert_eq!(notes, ["12 34", "12 34", "somebody else's"]);
    let again = execution(&handle, 2, "seven").expect("an execution");
    assert_eq!(again.retry_of, Some(key(1, "seven")));
    assert_eq!(
        again.subject,
        execution(&handle, 1, "seven").expect("the first").subject
    );
    let attempts = handle.store().attempts(&again.key).expect("attempts");
    assert_eq!(attempts[0].cause, Cause::RetryMessage(Seq(2)));
    let unknown = execution(&handle, 3, "seven").expect("an execution");
    assert_eq!((unknown.retry_of, unknown.subject), (None, None));
    let counters = handle.store().summary().events["opennebula"].clone();
    assert_eq!(
        (counters.matched, counters.unmatched),
        (3, 1),
        "no hook has the number 99"
    );

    // A disabled hook is not run by a message either.
    let name = HookName::new("seven").expect("a name");
    handle
        .set_enabled(name, Some(false), OPERATOR)
        .await
        .expect("disabled");
    publish(&publisher, &retry_message(7, "12 34")).await;
    until_settled(&handle, 5).await;
    assert_eq!(state(&handle, 5, "seven"), "absent");
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_message_finds_what_it_repeats_wherever_the_arguments_went_to() {
    let (house, publisher) = house().await;
    house
        .script("read.sh", "#!/bin/sh\ncat > /dev/null\n")
        .hook(
            "stdin",
            &on_running("stdin", "read.sh", "id: 1\narguments_stdin: true"),
        )
        .hook(
            "shell",
            &on_running("shell", "'true \"$1\" \"$2\"'", "id: 2\nshell: true"),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(12, 34)).await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 1).await;
    publish(&publisher, &retry_message(1, "12 34")).await;
    publish(&publisher, &retry_message(2, "12 34")).await;
    until_settled(&handle, 3).await;
    for (event, hook) in [(2, "stdin"), (3, "shell")] {
        let again = execution(&handle, event, hook).expect("an execution");
        assert_eq!(again.retry_of, Some(key(1, hook)));
        assert_eq!(state(&handle, event, hook), "succeeded");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_the_folder_take_effect_and_what_is_broken_stays_as_it_was_over_a_restart() {
    let (house, publisher) = house().await;
    for name in ["a", "b", "c"] {
        house.hook(name, &on_running(name, "true.sh", ""));
    }
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    let names = |handle: &Handle| -> Vec<String> {
        handle.hooks().iter().map(|hook| hook.name.to_string()).collect()
    };
    house.hook("d", &on_running("d", "true.sh", ""));
    until("the new hook is in force", || {
        names(&handle) == ["a", "b", "c", "d"]
    })
    .await;

    let version = handle.hooks().iter().next().expect("a hook").version;
    house.hook("a", &on_running("a", "note.sh", ""));
    until("the change is in force", || {
        handle.hooks().iter().next().expect("a hook").version != version
    })
    .await;
    std::fs::remove_file(house.config.hooks_dir.join("d.yaml")).expect("removed");
    until("the removal is in force", || names(&handle) == ["a", "b", "c"]).await;

    house.hook("a", "name: a\ntrigger: [oh no\n");
    let mut stale = Vec::new();
    let began = Instant::now();
    while stale.is_empty() {
        assert!(began.elapsed() < daemon::LIMIT, "the broken file is told");
        stale = handle.status().await.expect("a status").stale;
    }
    assert!(stale[0].file.ends_with("a.yaml"));
    publish(&publisher, &running(1, 5)).await;
    until_settled(&handle, 1).await;
    assert_eq!(house.lines("notes"), ["1 5"], "the last good version runs");
    drop(handle);
    daemon.stop().await;

    let daemon = house.daemon().await;
    let status = daemon.handle().status().await.expect("a status");
    assert_eq!(status.stale.len(), 1);
    assert_eq!(status.stale[0].since, stale[0].since);
    publisher.wait_for_subscriber().await;
    until("it is connected again", || publisher.subscribers() > 0).await;
    publish(&publisher, &running(1, 6)).await;
    until_settled(daemon.handle(), 2).await;
    assert_eq!(house.lines("notes"), ["1 5", "1 6"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_goes_takes_what_waits_for_it_along_also_while_the_daemon_is_down() {
    let (house, publisher) = house().await;
    for name in ["goes", "goes-later", "stays"] {
        house.hook(name, &on_running(name, "gate.sh", ""));
    }
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    for number in 1..=2 {
        publish(&publisher, &running(1, number)).await;
    }
    let handle = daemon.handle().clone();
    until_received(&handle, 2).await;
    until("three run", || house.lines("notes").len() == 3).await;
    std::fs::remove_file(house.config.hooks_dir.join("goes.yaml")).expect("removed");
    until("what waited is cancelled", || {
        state(&handle, 2, "goes") == "cancelled"
    })
    .await;
    let cancelled = execution(&handle, 2, "goes").expect("an execution");
    assert!(matches!(
        cancelled.progress.state,
        State::Settled {
            settlement: Settlement::Cancelled(CancelReason::HookRemoved),
            ..
        }
    ));
    assert_eq!(state(&handle, 1, "goes"), "running", "what was started goes on");
    assert_eq!(state(&handle, 2, "goes-later"), "queued");
    drop(handle);
    daemon.stop().await;

    std::fs::remove_file(house.config.hooks_dir.join("goes-later.yaml")).expect("removed");
    // One of two is not more than half of them.
    std::fs::write(house.path("gate"), "").expect("open");
    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 2).await;
    assert_eq!(state(&handle, 2, "goes-later"), "cancelled");
    assert_eq!(
        state(&handle, 1, "goes-later"),
        "succeeded",
        "what was interrupted runs again"
    );
    assert_eq!(state(&handle, 2, "stays"), "succeeded");
    assert_adds_up(&handle);
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_word_on_a_hook_outlives_a_restart() {
    let (house, publisher) = house().await;
    house
        .hook("a", &on_running("a", "note.sh", ""))
        .hook("b", &on_running("b", "true.sh", "enabled: false"));
    let daemon = house.daemon().await;
    let name = |name| HookName::new(name).expect("a name");
    daemon
        .handle()
        .set_enabled(name("a"), Some(false), OPERATOR)
        .await
        .expect("disabled");
    daemon
        .handle()
        .set_enabled(name("b"), Some(true), OPERATOR)
        .await
        .expect("enabled");
    daemon.stop().await;

    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    assert_eq!(handle.overrides()[&name("a")].actor, OPERATOR);
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1, 1)).await;
    until_settled(&handle, 1).await;
    assert_eq!(
        (state(&handle, 1, "a"), state(&handle, 1, "b")),
        ("absent", "succeeded")
    );
    handle
        .set_enabled(name("a"), None, OPERATOR)
        .await
        .expect("as its file says");
    publish(&publisher, &running(1, 2)).await;
    until_settled(&handle, 2).await;
    assert_eq!(state(&handle, 2, "a"), "succeeded");
    let actions: Vec<String> = handle
        .store()
        .audit(9)
        .expect("the audit log")
        .into_iter()
        .map(|line| format!("{} {}", line.action, line.target))
        .collect();
    for said in ["disable a", "enable b", "reset a"] {
        assert!(actions.iter().any(|action| action == said), "{said}: {actions:?}");
    }
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_hooks_are_loaded_again_and_again() {
    let (house, publisher) = house().await;
    house.hook("a", &on_running("a", "true.sh", "order: none"));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    for number in 0..300 {
        if number % 10 == 0 {
            // The other hook comes, changes and goes.
            let other = house.config.hooks_dir.join("b.yaml");
            match number / 10 % 3 {
                0 => drop(house.hook("b", &on_running("b", "true.sh", "order: none"))),
                1 => drop(house.hook("b", &on_running("b", "true.sh", ""))),
                _ => std::fs::remove_file(other).expect("removed"),
            }
            handle.reload(true, OPERATOR).await.expect("a reload");
        }
        publish(&publisher, &running(1, number)).await;
    }
    until_settled(&handle, 300).await;
    let counters = handle.store().summary().events["opennebula"].clone();
    assert_eq!((counters.received, counters.matched), (300, 300), "{counters:?}");
    for seq in 1..=300 {
        assert_eq!(state(&handle, seq, "a"), "succeeded", "event {seq}");
    }
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_meets_one_set_of_hooks_while_a_hook_changes_its_name() {
    const BURST: usize = 100;
    let (house, publisher) = house().await;
    house.hook("a", &on_running("even", "true.sh", "loop_guard: off"));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    for (round, name) in ["odd", "even"].into_iter().cycle().take(12).enumerate() {
        for number in 0..BURST {
            publish(&publisher, &running(1, round * BURST + number)).await;
        }
        house.hook("a", &on_running(name, "true.sh", "loop_guard: off"));
        handle.reload(true, OPERATOR).await.expect("a reload");
    }
    let sent = 12 * BURST;
    until_settled(&handle, sent as u64).await;
    let mut of_event: BTreeMap<Seq, Vec<String>> = BTreeMap::new();
    for execution in executions(&handle) {
        let of_event = of_event.entry(execution.key.event).or_default();
        of_event.push(execution.key.hook.to_string());
    }
    // What waits for a hook that goes is cancelled, and has its record.
    let odd: Vec<_> = of_event.iter().filter(|(_, hooks)| hooks.len() != 1).collect();
    assert_eq!((of_event.len(), odd), (sent, Vec::new()));
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_started_in_time_is_skipped() {
    let (house, publisher) = house().await;
    house.hook("a", &on_running("a", "gate.sh", "start_within: 200ms"));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1, 1)).await;
    publish(&publisher, &running(1, 2)).await;
    let handle = daemon.handle().clone();
    until("the second expires", || state(&handle, 2, "a") == "skipped").await;
    let skipped = execution(&handle, 2, "a").expect("an execution");
    assert!(matches!(
        skipped.progress.state,
        State::Settled {
            settlement: Settlement::Skipped(SkipReason::Expired),
            ..
        }
    ));
    assert_eq!(state(&handle, 1, "a"), "running");
    std::fs::write(house.path("gate"), "").expect("open");
    until_settled(&handle, 2).await;
    assert_eq!(house.lines("notes"), ["1 1"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_waits_is_still_due_after_a_restart() {
    let (house, publisher) = house().await;
    let notes = house.path("notes").display().to_string();
    house
        .script(
            "second.sh",
            &format!("#!/bin/sh\necho $HEM_ATTEMPT >> {notes}\n[ $HEM_ATTEMPT -gt 1 ]\n"),
        )
        .hook(
            "a",
            &on_running("a", "second.sh", "retry: { attempts: 2, backoff: 2s..2s }"),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1, 1)).await;
    let handle = daemon.handle().clone();
    until("it waits for its retry", || state(&handle, 1, "a") == "retrying").await;
    drop(handle);
    daemon.stop().await;
    assert_eq!(house.lines("notes"), ["1"]);

    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    until_settled(&handle, 1).await;
    assert_eq!(house.lines("notes"), ["1", "2"]);
    let attempts = handle.store().attempts(&key(1, "a")).expect("attempts");
    assert_eq!(attempts[1].cause, Cause::Retry);
    assert!(attempts[1].released.since(attempts[0].released) >= Duration::from_millis(900));
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_former_life_left_running_is_ended_before_anything_starts() {
    let (house, _publisher) = house().await;
    let daemon = house.daemon().await;
    let id = daemon.handle().store().id().clone();
    daemon.stop().await;
    let mut left = std::process::Command::new("sleep")
        .arg("600")
        .env("HEM_INSTANCE", id.as_str())
        .process_group(0)
        .spawn()
        .expect("a process");
    // For an instant of its exec a process shows no environment at all.
    let environment = format!("/proc/{}/environ", left.id());
    let mark = format!("HEM_INSTANCE={id}").into_bytes();
    until("it shows its mark", || {
        let shown = std::fs::read(&environment).unwrap_or_default();
        shown.split(|byte| *byte == 0).any(|one| one == mark)
    })
    .await;
    let daemon = house.daemon().await;
    let ended = left.try_wait().expect("a look");
    assert!(ended.is_some(), "it runs on");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_loses_what_it_counts_and_the_sums_add_up() {
    let (mut house, publisher) = house().await;
    let Some(Source::Opennebula(source)) = house.config.sources.get_mut("opennebula") else {
        panic!("a source")
    };
    // Reading is slow, for each message is held against its schema, and the queue holds one.
    source.queue_events = 1;
    source.validate = true;
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let more = "<T>text</T>".repeat(2_000);
    for _ in 0..400 {
        publish(&publisher, &running_with(1, &more)).await;
    }
    let handle = daemon.handle().clone();
    until_received(&handle, 400).await;
    let counters = handle.store().summary().events["opennebula"].clone();
    assert_eq!(counters.received, 400);
    assert!(counters.lost > 0, "{counters:?}");
    assert_eq!(counters.accepted() + counters.gaps, events(&handle).len() as u64);
    assert_adds_up(&handle);
    assert!(counters.gaps > 0, "{counters:?}");
    let status = handle.status().await.expect("a status");
    let gap = status.sources["opennebula"]
        .last_gap
        .clone()
        .expect("a word on it");
    assert!(gap.lost > 0 && !gap.keys.is_empty(), "{gap:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_backlog_is_said_and_counted_and_passes() {
    let (mut house, publisher) = house().await;
    house.config.limits.max_backlog = 1;
    house.hook("a", &on_running("a", "gate.sh", ""));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    publish(&publisher, &running(1, 1)).await;
    publish(&publisher, &running(1, 2)).await;
    until_received(&handle, 2).await;
    let not_accepting = async |wanted: bool| {
        let began = Instant::now();
        loop {
            let status = handle.status().await.expect("a status");
            if status.not_accepting.is_some() == wanted {
                return status.not_accepting;
            }
            assert!(began.elapsed() < daemon::LIMIT, "not accepting: {wanted}");
        }
    };
    let why = not_accepting(true).await.expect("a reason");
    assert!(why.contains("max_backlog"), "{why}");
    publish(&publisher, &running(1, 3)).await;
    until_received(&handle, 3).await;
    let counters = handle.store().summary().events["opennebula"].clone();
    assert_eq!((counters.received, counters.lost), (3, 1));
    let refused = handle
        .emit(events(&handle).remove(0).event, None, OPERATOR)
        .await
        .expect_err("a refusal");
    assert!(refused.to_string().contains("max_backlog"), "{refused}");
    std::fs::write(house.path("gate"), "").expect("open");
    until_settled(&handle, 3).await;
    not_accepting(false).await;
    publish(&publisher, &running(1, 4)).await;
    until_settled(&handle, 4).await;
    assert_eq!(house.lines("notes"), ["1 1", "1 2", "1 4"]);
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_matched_is_kept_counted_and_shown() {
    let (house, publisher) = house().await;
    let notes = house.path("ambiguous").display().to_string();
    house
        .script(
            "ambiguous.sh",
            &format!("#!/bin/sh\necho \"$HEM_AMBIGUOUS\" >> {notes}\n"),
        )
        .hook(
            "error",
            &on_running("error", "true.sh", "when: int(event.VM.N) > 3"),
        )
        .hook(
            "absent",
            &on_running("absent", "true.sh", "when: event.VM.ABSENT == \"x\""),
        )
        .hook(
            "call",
            "name: call\ntrigger: { api: { call: one.vm.update } }\ncommand: ambiguous.sh\n",
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    publish(&publisher, &running_with(1, "<N>no number</N>")).await;
    publisher
        .publish("EVENT STATE VM/ACTIVE/RUNNING/2 ", b"!!!")
        .await;
    let call = |call: &str, parameters: &str| {
        Recorded {
        key: format!("EVENT API {call} 1"),
        content: format!(
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>{call}</CALL><CALL_INFO><RESULT>1</RESULT><PARAMETERS>\
             {parameters}</PARAMETERS><EXTRA></EXTRA></CALL_INFO></HOOK_MESSAGE>"
        )
        .into(),
    }
    };
    let parameter = |value: &str| {
        format!("<PARAMETER><POSITION>2</POSITION><TYPE>IN</TYPE><VALUE>{value}</VALUE></PARAMETER>")
    };
    publish(&publisher, &call("one.user.passwd", &parameter("secret"))).await;
    let imitates = parameter("</VALUE></PARAMETER></PARAMETERS><EXTRA></EXTRA></CALL_INFO>");
    publish(&publisher, &call("one.vm.update", &imitates)).await;
    until_settled(&handle, 4).await;

    let status = handle.status().await.expect("a status");
    assert_eq!((status.condition_errors, status.absent_elements), (1, 1));
    assert_eq!(status.events["opennebula"].undecodable, 1);
    let seen: HashMap<u64, ListedEvent> = events(&handle)
        .into_iter()
        .map(|listed| (listed.event.seq.0, listed))
        .collect();
    assert_eq!(seen[&2].event.kind(), Kind::Undecodable);
    assert!(matches!(&seen[&2].event.facts, Facts::Undecodable { reason } if !reason.is_empty()));
    let private = handle.store().event(Seq(3)).expect("a read").expect("the event");
    assert!(private.event.payload.bytes().is_empty(), "passwords are not kept");
    assert!(seen[&4].event.ambiguous);
    assert_eq!(house.lines("ambiguous"), ["1"]);
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_the_store_are_kept_while_it_works() {
    let (mut house, publisher) = house().await;
    house.config.retention.executions = 20;
    house.config.retention.unmatched_events = 10;
    house.hook(
        "a",
        &on_running("a", "true.sh", "order: none\nwhen: int(event.VM.N) % 2 == 0"),
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    for number in 0..200 {
        publish(&publisher, &running(1, number)).await;
    }
    until_settled(&handle, 200).await;
    until("all but the newest are gone", || {
        let summary = handle.store().summary();
        summary.executions.values().sum::<u64>() == 20 && summary.unmatched_kept == 10
    })
    .await;
    assert_eq!(events(&handle).len(), 30);
    assert_eq!(
        executions(&handle).last().map(|oldest| oldest.key.event),
        Some(Seq(161))
    );
    assert_eq!(handle.store().summary().events["opennebula"].matched, 100);
    assert_adds_up(&handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_runs_when_the_daemon_stops_was_interrupted_unless_it_was_cancelled() {
    let (house, publisher) = house().await;
    house
        .hook("a", &on_running("a", "gate.sh", ""))
        .hook("b", &on_running("b", "gate.sh", ""));
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1, 1)).await;
    let handle = daemon.handle().clone();
    until("both run", || house.lines("notes").len() == 2).await;
    handle.cancel(key(1, "b"), OPERATOR).await.expect("cancelled");
    until("it ended", || state(&handle, 1, "b") == "cancelled").await;
    drop(handle);
    daemon.stop().await;
    let store = daemon::store_of(&house.config);
    let outcome = |hook| {
        let attempts = store.attempts(&key(1, hook)).expect("attempts");
        attempts[0].ended.clone().expect("an end").outcome
    };
    assert!(matches!(outcome("a"), Outcome::Stopped { .. }));
    let left = store.unsettled().expect("a read");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].progress.interruptions, 1);
}
