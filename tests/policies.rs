//! Policies and mutes on a whole daemon: real scripts, a real store, daemons that are killed.

#![allow(
    clippy::expect_used,
    reason = "a test's own machinery fails the test where it fails"
)]

mod daemon;
mod recorded;

use std::collections::BTreeMap;
use std::process::{Child, Command};
use std::time::Duration;

use daemon::{House, publish, publisher, until, until_found, until_settled};
use hem::engine::execution::{Actor, Execution, State};
use hem::engine::handle::{Handle, Notice, OrderError, Status};
use hem::engine::mute::{MutedBy, Scope, Then, holding};
use hem::event::Subject;
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::time::Timestamp;
use hem::sources::opennebula::publisher::Publisher;
use hem::store::ExecutionQuery;
use recorded::Recorded;

const OPERATOR: Actor = Actor::User { uid: 7 };

fn of_vm(vm: usize, lcm_state: &str) -> Recorded {
    Recorded {
        key: format!("EVENT STATE VM/ACTIVE/{lcm_state}/{vm} "),
        content: format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>{lcm_state}</LCM_STATE><RESOURCE_ID>{vm}</RESOURCE_ID><REMOTE_HOST/>\
             <VM><ID>{vm}</ID></VM></HOOK_MESSAGE>"
        )
        .into(),
    }
}

fn running(vm: usize) -> Recorded {
    of_vm(vm, "RUNNING")
}

fn host_error(host: usize) -> Recorded {
    Recorded {
        key: format!("EVENT STATE HOST/ERROR/{host} "),
        content: format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT><STATE>ERROR</STATE>\
             <LCM_STATE/><RESOURCE_ID>{host}</RESOURCE_ID><REMOTE_HOST/><HOST><ID>{host}</ID></HOST></HOOK_MESSAGE>"
        )
        .into(),
    }
}

/// A hook on VMs that run, with further lines.
fn on_running(name: &str, command: &str, more: &str) -> String {
    format!(
        "name: {name}\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: {command}\n{more}\n"
    )
}

fn name(hook: &str) -> HookName {
    HookName::new(hook).expect("a name")
}

fn of_hook(hook: &str) -> Scope {
    Scope::Hook(name(hook))
}

fn executions(handle: &Handle) -> Vec<Execution> {
    let query = ExecutionQuery {
        limit: usize::MAX,
        ..ExecutionQuery::default()
    };
    let mut found = handle.store().executions(&query).expect("executions");
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// The states of a hook's executions in the order of their events, with the reason of those that were skipped or cancelled.
fn states(handle: &Handle, hook: &str) -> Vec<String> {
    executions(handle)
        .iter()
        .filter(|execution| execution.key.hook.as_str() == hook)
        .map(|execution| match &execution.progress.state {
            State::Settled { settlement, .. } => format!("{settlement:?}"),
            state => state.name().to_owned(),
        })
        .collect()
}

fn state(handle: &Handle, event: u64, hook: &str) -> String {
    let key = ExecutionKey::new(Seq(event), name(hook));
    let found = handle.store().execution(&key).expect("a read");
    found
        .map_or("absent", |execution| execution.progress.state.name())
        .to_owned()
}

async fn until_states(handle: &Handle, hook: &str, expected: &[&str]) {
    let what = format!("{hook} is {expected:?}");
    until(&what, || states(handle, hook) == expected).await;
}

async fn status(handle: &Handle) -> Status {
    handle.status().await.expect("a status")
}

fn assert_adds_up(handle: &Handle, status: &Status) {
    for counters in status.events.values() {
        assert!(counters.adds_up(), "{counters:?}");
    }
    let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
    for execution in executions(handle) {
        *counted.entry(execution.progress.state.name()).or_default() += 1;
    }
    for (state, count) in &status.executions {
        assert_eq!(*count, counted.remove(state).unwrap_or_default(), "{state}");
    }
    assert_eq!(counted, BTreeMap::new());
    let queued: u64 = status.queue.iter().map(|group| group.queued).sum();
    assert_eq!(status.executions["queued"], queued);
    assert!(status.held <= queued);
}

/// A house that listens, with scripts that succeed, fail, and wait for a gate.
async fn house() -> (House, Publisher) {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    let gate = house.path("gate").display().to_string();
    house
        .script("true.sh", "#!/bin/sh\nexit 0\n")
        .script("false.sh", "#!/bin/sh\nexit 1\n")
        .script(
            "gate.sh",
            &format!("#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.05; done\n"),
        );
    (house, publisher)
}

/// A daemon in a process of its own, to be killed.
struct Doomed(Child);

impl Doomed {
    fn start(house: &House, publisher: &Publisher) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_hem"))
            .arg("run")
            .args(["--state-dir".as_ref(), house.config.state_dir.as_os_str()])
            .args(["--hooks-dir".as_ref(), house.config.hooks_dir.as_os_str()])
            .args(["--scripts-dir".as_ref(), house.config.scripts_dir.as_os_str()])
            .args(["--socket".as_ref(), house.config.control.socket.as_os_str()])
            .args(["--opennebula", &publisher.events().to_string()])
            .env("HEM_LOG", "error")
            .spawn()
            .expect("the binary");
        Self(child)
    }

    /// Ends it with SIGKILL.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many executions the daemon at the socket has in each state.
fn counts_of(house: &House) -> BTreeMap<String, u64> {
    let told = assert_cmd::Command::new(env!("CARGO_BIN_EXE_hem"))
        .arg("--socket")
        .arg(&house.config.control.socket)
        .args(["status", "--json"])
        .output()
        .expect("the binary");
    let status: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap_or_default();
    let counts = status["executions"].as_object().cloned().unwrap_or_default();
    let counts = counts
        .into_iter()
        .filter_map(|(state, count)| Some((state, count.as_u64()?)));
    counts.filter(|(_, count)| *count > 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_waits_and_mutes_survive_a_kill() {
    let (house, publisher) = house().await;
    house
        .hook(
            "limited",
            &on_running("limited", "true.sh", "throttle: { max: 2, per: 1h }"),
        )
        .hook(
            "delayed",
            &on_running("delayed", "true.sh", "throttle: { max: 2, per: 1h, then: mute }"),
        )
        .hook("debounced", &on_running("debounced", "true.sh", "debounce: 1h"))
        .hook(
            "guarded",
            &on_running("guarded", "true.sh", "loop_guard: { max: 2, per: 1h, for: 2h }"),
        )
        .hook(
            "fragile",
            &on_running("fragile", "false.sh", "breaker: { failures: 3, per: 1h }"),
        );
    let doomed = Doomed::start(&house, &publisher);
    publisher.wait_for_subscriber().await;
    let counts = |counts: &[(&str, u64)]| -> BTreeMap<String, u64> {
        counts
            .iter()
            .map(|(state, count)| ((*state).to_owned(), *count))
            .collect()
    };
    for _ in 0..2 {
        publish(&publisher, &running(1)).await;
    }
    let expected = counts(&[("succeeded", 6), ("failed", 2), ("skipped", 1), ("debouncing", 1)]);
    until("two events are worked off", || counts_of(&house) == expected).await;
    // The third is too much for those that count: skipped by one, held by two; and the last that `fragile` may fail.
    publish(&publisher, &running(1)).await;
    let expected = counts(&[
        ("succeeded", 6),
        ("failed", 3),
        ("skipped", 3),
        ("debouncing", 1),
        ("queued", 2),
    ]);
    until("three events are worked off", || counts_of(&house) == expected).await;
    doomed.kill();

    let daemon = house.daemon().await;
    let handle = daemon.handle();
    let told = status(handle).await;
    let by: BTreeMap<String, (MutedBy, u64)> = told
        .mutes
        .iter()
        .map(|muted| (muted.mute.scope.to_string(), (muted.mute.by.clone(), muted.held)))
        .collect();
    let expected: BTreeMap<String, (MutedBy, u64)> = [
        ("hook delayed for vm/1", (MutedBy::Throttle, 1)),
        ("hook guarded for vm/1", (MutedBy::LoopGuard, 1)),
        ("hook fragile", (MutedBy::Breaker, 0)),
    ]
    .map(|(scope, held)| (scope.to_owned(), held))
    .into();
    assert_eq!(by, expected);
    assert_eq!(told.held, 2);
    assert_adds_up(handle, &told);

    // What was counted before still counts, and what waited is still what a newer one takes the place of.
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1)).await;
    until("the fourth event is accepted", || {
        states(handle, "fragile").len() == 4
    })
    .await;
    let superseded = "Skipped(Superseded)";
    let ends = [
        (
            "limited",
            [
                "Succeeded",
                "Succeeded",
                "Skipped(Throttled)",
                "Skipped(Throttled)",
            ],
        ),
        ("delayed", ["Succeeded", "Succeeded", "queued", "queued"]),
        ("debounced", [superseded, superseded, superseded, "debouncing"]),
        ("guarded", ["Succeeded", "Succeeded", "queued", "queued"]),
        ("fragile", ["Failed", "Failed", "Failed", "queued"]),
    ];
    for (hook, ends) in ends {
        assert_eq!(states(handle, hook), ends, "{hook}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_mute_holds_over_a_restart_and_is_taken_back_as_asked() {
    let (house, publisher) = house().await;
    for hook in ["all", "latest", "none"] {
        house.hook(hook, &on_running(hook, "true.sh", ""));
    }
    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    let mut feed = handle.subscribe();
    let source = Scope::Source("opennebula".into());
    let muted = handle
        .mute(source.clone(), None, Some("moving house".to_owned()), OPERATOR)
        .await
        .expect("muted");
    assert_eq!((muted.held, muted.running), (0, 0));
    for hook in ["all", "latest", "none"] {
        let length = Some(Duration::from_secs(3_600));
        handle
            .mute(of_hook(hook), length, None, OPERATOR)
            .await
            .expect("muted");
    }
    let first = feed.recv().await.expect("a notice");
    assert!(
        matches!(&first, Notice::Muted(mute) if mute.scope == source && mute.by == MutedBy::Operator(OPERATOR)),
        "{first:?}"
    );
    publisher.wait_for_subscriber().await;
    for _ in 0..3 {
        publish(&publisher, &running(1)).await;
    }
    for hook in ["all", "latest", "none"] {
        until_states(&handle, hook, &["queued"; 3]).await;
    }
    drop((feed, handle));
    daemon.stop().await;

    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    let told = status(&handle).await;
    assert_eq!(told.held, 9);
    let of_source = told.mutes.iter().find(|muted| muted.mute.scope == source);
    let of_source = of_source.expect("it is muted");
    assert_eq!(of_source.held, 9);
    assert_eq!(of_source.mute.reason.as_deref(), Some("moving house"));
    assert_adds_up(&handle, &told);
    let mutes = handle.store().mutes().expect("mutes");
    let held = &executions(&handle)[0];
    assert_eq!(holding(&mutes, held).map(|mute| &mute.scope), Some(&source));

    let unmuted = handle
        .unmute(source.clone(), Then::Run, OPERATOR)
        .await
        .expect("unmuted");
    assert_eq!(
        (unmuted.released, unmuted.still_held),
        (0, 9),
        "each hook is muted as well"
    );
    let again = handle.unmute(source, Then::Run, OPERATOR).await;
    assert_eq!(
        again,
        Err(OrderError::NotPossible(
            "source opennebula is not muted".to_owned()
        ))
    );
    for (hook, then, released, skipped) in [
        ("all", Then::Run, 3, 0),
        ("latest", Then::Latest, 1, 2),
        ("none", Then::Drop, 0, 3),
    ] {
        let unmuted = handle
            .unmute(of_hook(hook), then, OPERATOR)
            .await
            .expect("unmuted");
        assert_eq!((unmuted.released, unmuted.skipped), (released, skipped), "{hook}");
    }
    until_settled(&handle, 3).await;
    let superseded = "Skipped(Superseded)";
    assert_eq!(states(&handle, "all"), ["Succeeded"; 3]);
    assert_eq!(states(&handle, "latest"), [superseded, superseded, "Succeeded"]);
    assert_eq!(states(&handle, "none"), ["Skipped(Muted)"; 3]);
    let told = status(&handle).await;
    assert_eq!((told.held, told.mutes.len()), (0, 0));
    assert_adds_up(&handle, &told);
    let audit = handle.store().audit(20).expect("the audit log");
    let audit: Vec<String> = audit
        .iter()
        .rev()
        .filter(|line| line.action.contains("mute"))
        .map(|line| format!("{} {}", line.action, line.target))
        .collect();
    assert_eq!(audit.len(), 8, "{audit:?}");
    assert_eq!(audit[0], "mute source opennebula: moving house");
    assert_eq!(audit[7], "unmute hook none, then drop");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_known_is_muted_or_stopped() {
    let (house, _publisher) = house().await;
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    let no_hook = || Err(OrderError::NoSuchHook(name("nobody")));
    let mute = |scope| async { handle.mute(scope, None, None, OPERATOR).await.map(drop) };
    assert_eq!(mute(of_hook("nobody")).await, no_hook());
    let lane = Scope::Lane(name("nobody"), Subject::new("vm/1"));
    assert_eq!(mute(lane).await, no_hook());
    assert_eq!(
        mute(Scope::Source("elsewhere".into())).await,
        Err(OrderError::NoSuchSource("elsewhere".into()))
    );
    assert_eq!(handle.stop_counts(name("nobody")).await.map(drop), no_hook());
    let stopped = handle.stop_hook(name("nobody"), None, None, OPERATOR).await;
    assert_eq!(stopped.map(drop), no_hook());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_is_stopped_ends_and_starts_nothing_until_it_is_let_go() {
    let (house, publisher) = house().await;
    house.hook("busy", &on_running("busy", "gate.sh", ""));
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    publisher.wait_for_subscriber().await;
    for vm in [1, 1, 1, 2] {
        publish(&publisher, &running(vm)).await;
    }
    until_states(handle, "busy", &["running", "queued", "queued", "running"]).await;
    let counts = handle.stop_counts(name("busy")).await.expect("counts");
    assert_eq!((counts.cancelled, counts.ended), (2, 2));
    let stopped = handle.stop_hook(name("busy"), None, None, OPERATOR).await;
    assert_eq!(stopped, Ok(counts));
    until_settled(handle, 4).await;
    assert_eq!(states(handle, "busy"), ["Cancelled(Stopped(User { uid: 7 }))"; 4]);
    publish(&publisher, &running(3)).await;
    until("a new one is held", || {
        states(handle, "busy")
            .last()
            .is_some_and(|state| state == "queued")
    })
    .await;
    std::fs::write(house.path("gate"), "").expect("a gate");
    handle
        .unmute(of_hook("busy"), Then::Run, OPERATOR)
        .await
        .expect("unmuted");
    until_settled(handle, 5).await;
    assert_eq!(
        states(handle, "busy").last().map(String::as_str),
        Some("Succeeded")
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_event_ends_the_script_of_the_older_where_the_hook_says_so() {
    let (house, publisher) = house().await;
    house.hook("newest", &on_running("newest", "gate.sh", "overlap: cancel"));
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    publisher.wait_for_subscriber().await;
    publish(&publisher, &running(1)).await;
    until_states(handle, "newest", &["running"]).await;
    publish(&publisher, &running(1)).await;
    until_states(handle, "newest", &["Cancelled(Superseded)", "running"]).await;
    std::fs::write(house.path("gate"), "").expect("a gate");
    until_settled(handle, 2).await;
    assert_eq!(states(handle, "newest"), ["Cancelled(Superseded)", "Succeeded"]);
    assert_adds_up(handle, &status(handle).await);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_debounced_runs_when_nothing_newer_comes() {
    let (house, publisher) = house().await;
    house.hook("calm", &on_running("calm", "true.sh", "debounce: 300ms"));
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    publisher.wait_for_subscriber().await;
    for _ in 0..5 {
        publish(&publisher, &running(1)).await;
    }
    until_settled(handle, 5).await;
    let ends = states(handle, "calm");
    assert_eq!(ends.last().map(String::as_str), Some("Succeeded"), "{ends:?}");
    let calm = executions(handle).pop().expect("the last one");
    let attempts = handle.store().attempts(&calm.key).expect("attempts");
    assert!(attempts[0].released.since(calm.accepted) >= Duration::from_millis(300));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_grouped_by_hook_with_its_pace() {
    let (house, publisher) = house().await;
    house
        .script("slow.sh", "#!/bin/sh\nsleep 0.02\n")
        .hook(
            "busy",
            &on_running("busy", "slow.sh", "order: hook\nmax_parallel: 1"),
        )
        .hook("held", &on_running("held", "true.sh", ""));
    // The daemon's clock begins at the wall clock's millisecond, and never before this.
    let before = Timestamp::now();
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    handle
        .mute(of_hook("held"), None, None, OPERATOR)
        .await
        .expect("muted");
    publisher.wait_for_subscriber().await;
    for vm in 0..200 {
        publish(&publisher, &running(vm)).await;
    }
    until("all are accepted", || states(handle, "held").len() == 200).await;
    let left = until_found("there is an estimate", async || {
        let told = status(handle).await;
        let group = |hook: &str| {
            told.queue
                .iter()
                .find(|group| group.hook.as_str() == hook)
                .cloned()
        };
        let held = group("held").expect("a group");
        assert_eq!(
            (held.queued, held.held, held.running, held.left),
            (200, 200, 0, None)
        );
        assert!(held.oldest.is_some_and(|oldest| oldest >= before));
        let busy = group("busy").ok_or(None)?;
        assert!(busy.running <= 1 && busy.held == 0);
        busy.left.ok_or(Some(busy))
    })
    .await;
    println!("about {left:?} left");
    assert!(left > Duration::ZERO);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_hosts_that_fail_do_not_wait_behind_five_thousand_machines() {
    const MACHINES: usize = 5_000;
    const HOSTS: usize = 20;
    let (mut house, publisher) = house().await;
    house.config.concurrency = 4;
    house
        .script("brief.sh", "#!/bin/sh\nsleep 0.05\n")
        .hook(
            "vm-unknown",
            "name: vm-unknown\ntrigger: { state: { resource: VM, on: UNKNOWN } }\ncommand: brief.sh\nmax_parallel: 4\n",
        )
        .hook(
            "host-error",
            "name: host-error\ntrigger: { state: { resource: HOST, state: ERROR } }\ncommand: true.sh\npriority: high\n",
        );
    let daemon = house.daemon().await;
    let handle = daemon.handle();
    publisher.wait_for_subscriber().await;
    for vm in 0..MACHINES {
        publish(&publisher, &of_vm(vm, "UNKNOWN")).await;
    }
    for host in 0..HOSTS {
        publish(&publisher, &host_error(host)).await;
    }
    let last_host = (MACHINES + HOSTS) as u64;
    until("the hosts are dealt with", || {
        let hosts = (MACHINES as u64 + 1)..=last_host;
        hosts
            .into_iter()
            .all(|event| state(handle, event, "host-error") == "succeeded")
    })
    .await;
    let waiting = status(handle).await.executions["queued"];
    assert!(waiting > 0, "the machines wait still");
    handle
        .stop_hook(name("vm-unknown"), None, None, OPERATOR)
        .await
        .expect("stopped");
    // What was started since the hosts were accepted, in the order of the starts, which is the engine's own.
    let first = ExecutionKey::new(Seq(MACHINES as u64 + 1), name("host-error"));
    let accepted = handle
        .store()
        .execution(&first)
        .expect("a read")
        .expect("accepted")
        .accepted;
    let mut starts: Vec<(Timestamp, ExecutionKey)> = Vec::new();
    for execution in executions(handle).iter().filter(|one| one.progress.attempts > 0) {
        let attempts = handle.store().attempts(&execution.key).expect("attempts");
        starts.extend(
            attempts
                .iter()
                .map(|attempt| (attempt.released, execution.key.clone())),
        );
    }
    starts.retain(|(released, _)| *released >= accepted);
    starts.sort();
    let place = starts
        .iter()
        .position(|(_, key)| *key == first)
        .expect("it was started");
    let after = starts[place].0.since(accepted);
    println!(
        "the first host was start {place} after its acceptance, {after:?} later; {waiting} machines still waited"
    );
    assert!(place < 5, "{place} machines were started before the first host");
    daemon.stop().await;
}
