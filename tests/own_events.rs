//! hem's own doings as events: what triggers hooks, what never does, and what a crash does to them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

mod daemon;
mod recorded;
mod service;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon::{House, LIMIT, publish, publisher, until};
use hem::engine::handle::Handle;
use hem::event::Kind;
use hem::event::id::HookName;
use hem::sources::opennebula::publisher::Publisher;
use hem::store::{EventQuery, ListedEvent, Store};
use serde_json::Value;
use service::hem;

/// A house whose hook `dns` fails, with the words it says last.
fn house_with_a_failing_hook() -> House {
    let house = House::new();
    house
        .script(
            "fail.sh",
            "#!/bin/sh\necho looking\necho 'dns: refused' >&2\nexit 3\n",
        )
        .hook(
            "dns",
            "name: dns\ntrigger: { api: { call: one.vm.allocate } }\ncommand: fail.sh\n",
        );
    house
}

/// A hook whose script runs until the file `go` is there, one at a time.
fn slow_hook(house: &House) {
    let script = format!(
        "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.05; done\n",
        house.path("go").display()
    );
    house.script("wait.sh", &script).hook(
        "slow",
        "name: slow\ntrigger: { api: { call: one.vm.allocate } }\ncommand: wait.sh\norder: hook\n",
    );
}

/// A hook that writes down the event it gets, one line of JSON each.
fn watcher(house: &House, name: &str, trigger: &str) {
    let notes = house.path(&format!("{name}.notes"));
    house
        .script(
            &format!("{name}.sh"),
            &format!("#!/bin/sh\n{{ cat; echo; }} >> {}\n", notes.display()),
        )
        .hook(
            name,
            &format!("name: {name}\ntrigger: {trigger}\ncommand: {name}.sh\nstdin: payload\n"),
        );
}

fn noted(house: &House, name: &str) -> Vec<Value> {
    house
        .lines(&format!("{name}.notes"))
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

fn events_of(store: &Store, kind: Kind) -> Vec<ListedEvent> {
    let query = EventQuery {
        kind: Some(kind),
        limit: usize::MAX,
        ..EventQuery::default()
    };
    store.events(&query).expect("events")
}

async fn publish_call(publisher: &Publisher) {
    let events = recorded::events();
    let call = events
        .iter()
        .find(|event| event.key.starts_with("EVENT API one.vm.allocate 1"))
        .expect("a recorded call");
    publish(publisher, call).await;
}

async fn until_quiet(handle: &Handle) {
    let store = handle.store().clone();
    until("nothing waits or runs", || {
        daemon::unsettled(&store.summary()) == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_execution_triggers_another_hook_which_gets_the_whole_story() {
    let publisher = publisher().await;
    let mut house = house_with_a_failing_hook();
    house.listen_to(&publisher);
    watcher(
        &house,
        "watch",
        "{ execution: { hook: \"d*\", outcome: failed } }",
    );
    watcher(
        &house,
        "strict",
        "{ execution: { hook: dns, outcome: any } }\nwhen: event.code == 4",
    );
    watcher(&house, "other", "{ execution: { hook: web, outcome: failed } }");
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish_call(&publisher).await;
    until("the watcher ran", || noted(&house, "watch").len() == 1).await;
    until_quiet(daemon.handle()).await;

    let told = noted(&house, "watch").remove(0);
    for (name, value) in [
        ("kind", Value::from("execution")),
        ("execution", Value::from("1.dns")),
        ("hook", Value::from("dns")),
        ("event", Value::from(1)),
        ("outcome", Value::from("failed")),
        ("attempts", Value::from(1)),
        ("result", Value::from("exited")),
        ("code", Value::from(3)),
        ("said", Value::from("dns: refused")),
    ] {
        assert_eq!(told[name], value, "{told}");
    }
    assert!(noted(&house, "strict").is_empty() && noted(&house, "other").is_empty());

    // It is an event like any other: numbered, kept, shown, explained.
    let shown = hem(&house, &["events", "--kind", "execution", "--json"]).await;
    let shown: Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(shown[0]["seq"], 2, "{shown}");
    assert_eq!(shown[0]["source"], "hem");
    assert_eq!(shown[0]["subject"], "hook/dns");
    assert_eq!(shown[0]["hooks"], serde_json::json!(["watch"]));
    assert_eq!(shown[0]["facts"]["outcome"], "failed");
    let arguments = [
        "match",
        "2",
        "--hooks",
        house.config.hooks_dir.to_str().expect("a path"),
    ];
    let matched = hem(&house, &arguments).await;
    assert_eq!(matched.code, 0, "{}", matched.stderr);
    for part in ["watch", "event.code == 4", "hook is web"] {
        assert!(matched.stdout.contains(part), "{part}: {}", matched.stdout);
    }
    let store = daemon.handle().store().clone();
    assert!(store.summary().events["hem"].adds_up());
    assert!(store.untold(10).expect("a read").is_empty());
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hook_is_triggered_by_itself_and_no_two_keep_each_other_going() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.script("fail.sh", "#!/bin/sh\nexit 1\n").hook(
        "ring",
        "name: first\ntrigger: [{ api: { call: one.vm.allocate } }, { execution: { hook: \"*\", outcome: any } }]\n\
         command: fail.sh\n---\n\
         name: second\ntrigger: { execution: { hook: \"*\", outcome: any } }\ncommand: fail.sh\n",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish_call(&publisher).await;
    let store = daemon.handle().store().clone();
    until("the second one failed as well", || {
        store.summary().executions.get("failed") == Some(&2)
    })
    .await;
    // What were still to come would be written down by now, in the batch of the second failure.
    assert!(store.untold(10).expect("a read").is_empty());
    let told = events_of(&store, Kind::Execution);
    let [told] = told.as_slice() else {
        panic!("one event, not {told:?}")
    };
    let hooks: Vec<&str> = told.hooks.iter().map(|hook| hook.as_str()).collect();
    assert_eq!(hooks, ["second"], "`first` is not told of itself");
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_asks_for_is_not_made() {
    let publisher = publisher().await;
    let mut house = house_with_a_failing_hook();
    house.listen_to(&publisher);
    watcher(
        &house,
        "watch",
        "{ execution: { hook: dns, outcome: succeeded } }",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish_call(&publisher).await;
    let store = daemon.handle().store().clone();
    until("it failed", || {
        store.summary().executions.get("failed") == Some(&1)
    })
    .await;
    assert!(store.untold(10).expect("a read").is_empty());
    assert!(events_of(&store, Kind::Execution).is_empty());
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_execution_that_never_ran_is_told_too() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    slow_hook(&house);
    watcher(&house, "watch", "{ execution: { outcome: cancelled } }");
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish_call(&publisher).await;
    publish_call(&publisher).await;
    let store = daemon.handle().store().clone();
    until("one waits behind the other", || {
        let executions = store.summary().executions;
        executions.get("queued") == Some(&1) && executions.get("running") == Some(&1)
    })
    .await;
    let cancelled = hem(&house, &["cancel", "2.slow"]).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    until("the watcher ran", || noted(&house, "watch").len() == 1).await;
    let told = noted(&house, "watch").remove(0);
    assert_eq!(told["execution"], "2.slow", "{told}");
    assert_eq!(told["attempts"], 0, "{told}");
    assert!(
        told["reason"].as_str().is_some_and(|why| why.contains("uid")),
        "{told}"
    );
    assert_eq!(told.get("result"), None, "{told}");
    std::fs::write(house.path("go"), "").expect("a file");
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_lane_and_an_absent_source_trigger_hooks_once() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.config.blocked_after = Duration::from_millis(1);
    slow_hook(&house);
    watcher(&house, "blocked", "{ blocked: { hook: slow } }");
    watcher(
        &house,
        "away",
        "{ source_down: { source: \"open*\", after: 1s } }",
    );
    watcher(&house, "longer", "{ source_down: { after: 3s } }");
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    publish_call(&publisher).await;
    publish_call(&publisher).await;
    until("the lane is told", || !noted(&house, "blocked").is_empty()).await;
    let told = noted(&house, "blocked").remove(0);
    assert_eq!(
        (&told["waiting"], &told["behind"]),
        (&"2.slow".into(), &"1.slow".into())
    );
    assert!(noted(&house, "away").is_empty(), "it is connected");

    publisher.finish().await;
    until("the absence is told", || !noted(&house, "away").is_empty()).await;
    let told = noted(&house, "away").remove(0);
    assert_eq!(told["source"], "opennebula", "{told}");
    assert_eq!(told["after_ms"], 1000, "{told}");
    // Who asks for a longer absence is told later, and by then nobody else is told again.
    until("the longer absence is told", || {
        !noted(&house, "longer").is_empty()
    })
    .await;
    assert_eq!(noted(&house, "longer")[0]["after_ms"], 3000);
    assert_eq!(noted(&house, "blocked").len(), 1);
    assert_eq!(noted(&house, "away").len(), 1);
    std::fs::write(house.path("go"), "").expect("a file");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_triggers_a_hook_of_its_source() {
    let first = publisher().await;
    let mut house = House::new();
    house.listen_to(&first);
    watcher(&house, "watch", "{ gap: { source: opennebula } }");
    watcher(&house, "other", "{ gap: { source: zone1 } }");
    let daemon = house.daemon().await;
    first.wait_for_subscriber().await;
    publish_call(&first).await;
    let store = daemon.handle().store().clone();
    until("the event is there", || store.summary().last_seq.0 == 1).await;
    let endpoint = first.events().clone();
    first.finish().await;
    let again = Publisher::bind(&endpoint, &"tcp://127.0.0.1:0".parse().expect("an endpoint"))
        .await
        .expect("the same port")
        .0;
    again.wait_for_subscriber().await;
    until("the gap is told", || noted(&house, "watch").len() == 1).await;
    let told = noted(&house, "watch").remove(0);
    assert_eq!(told["kind"], "gap", "{told}");
    assert_eq!(told["source"], "opennebula", "{told}");
    let counters = store.summary().events["opennebula"].clone();
    assert_eq!((counters.gaps, counters.received), (1, 1));
    assert!(noted(&house, "other").is_empty());
    drop(store);
    daemon.stop().await;
}

/// The daemon as a process of its own, so that it can be killed.
struct Life(Child);

impl Life {
    fn begin(house: &House, kill_point: Option<&str>) -> Self {
        let config = house.path("hem.yaml");
        let text = format!(
            "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\npermissions: lax\nsources: {{}}\ncontrol: {{ socket: {} }}\n",
            house.config.state_dir.display(),
            house.config.hooks_dir.display(),
            house.config.scripts_dir.display(),
            house.config.control.socket.display(),
        );
        std::fs::write(&config, text).expect("a configuration");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
        command
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        match kill_point {
            Some(point) => command.env("HEM_KILL_POINT", point),
            None => command.env_remove("HEM_KILL_POINT"),
        };
        Self(command.spawn().expect("a daemon"))
    }

    /// Waits for it to be killed at its point.
    async fn until_killed(&mut self) {
        use std::os::unix::process::ExitStatusExt as _;

        let began = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().expect("its state") {
                assert_eq!(
                    status.signal(),
                    Some(9),
                    "run these tests with --all-features: {status}"
                );
                return;
            }
            assert!(began.elapsed() < LIMIT, "it did not come to its point");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn saved(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(path)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_untold_when_the_daemon_is_killed_is_told_once_by_the_next_life() {
    let house = house_with_a_failing_hook();
    watcher(&house, "watch", "{ execution: { hook: dns, outcome: failed } }");
    let mut life = Life::begin(&house, Some("after-settle"));
    until("the daemon answers", || house.config.control.socket.exists()).await;
    let event = saved("opennebula/events/vm-allocate.xml");
    let emitted = hem(&house, &["emit", event.to_str().expect("a path")]).await;
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);
    life.until_killed().await;
    drop(life);

    // The end is durable, the event is untold, and nobody heard of it.
    let store = Store::open(&house.config.state_dir).expect("a store");
    assert_eq!(store.summary().executions.get("failed"), Some(&1));
    assert!(events_of(&store, Kind::Execution).is_empty());
    assert_eq!(store.untold(10).expect("a read").len(), 1);
    drop(store);
    assert!(noted(&house, "watch").is_empty());

    // Once the event is accepted and kept, it is not told again, however often the daemon is killed.
    let mut life = Life::begin(&house, Some("after-accept"));
    life.until_killed().await;
    drop(life);
    let life = Life::begin(&house, None);
    until("the watcher ran", || !noted(&house, "watch").is_empty()).await;
    assert_eq!(noted(&house, "watch")[0]["execution"], "1.dns");
    let status = hem(&house, &["status", "--json"]).await;
    assert_eq!(status.code, 0, "{}", status.stderr);
    drop(life);

    let store = Store::open(&house.config.state_dir).expect("a store");
    assert_eq!(events_of(&store, Kind::Execution).len(), 1);
    assert!(store.untold(10).expect("a read").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cancelled_because_its_hook_is_disabled_is_so_in_the_batch_of_that_order() {
    let house = House::new();
    slow_hook(&house);
    watcher(
        &house,
        "watch",
        "{ execution: { hook: slow, outcome: cancelled } }",
    );
    let mut life = Life::begin(&house, Some("after-settle"));
    until("the daemon answers", || house.config.control.socket.exists()).await;
    let event = saved("opennebula/events/vm-allocate.xml");
    for _ in 0..3 {
        let emitted = hem(&house, &["emit", event.to_str().expect("a path")]).await;
        assert_eq!(emitted.code, 0, "{}", emitted.stderr);
    }
    // The daemon is killed as soon as the cancellations are durable: whether the command hears of it is another matter.
    hem(&house, &["hooks", "disable", "slow"]).await;
    life.until_killed().await;
    drop(life);

    let store = Store::open(&house.config.state_dir).expect("a store");
    assert_eq!(store.summary().executions.get("cancelled"), Some(&2));
    let overrides = store.overrides().expect("a read");
    let slow = HookName::new("slow").expect("a name");
    assert_eq!(overrides.get(&slow).map(|value| value.enabled), Some(false));
    let audit = store.audit(10).expect("a read");
    assert!(audit.iter().any(|line| line.action == "disable"), "{audit:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_own_event_is_tried_matched_and_handed_over() {
    let house = house_with_a_failing_hook();
    watcher(
        &house,
        "watch",
        "{ execution: { hook: \"register-*\", outcome: failed } }",
    );
    let daemon = house.daemon().await;
    let event = saved("own/events/execution-failed.json");
    let event = event.to_str().expect("a path");
    let hooks = house.config.hooks_dir.to_str().expect("a path").to_owned();
    let matched = hem(&house, &["match", event, "--hooks", &hooks]).await;
    assert_eq!(matched.code, 0, "{}", matched.stderr);
    assert!(matched.stdout.contains("watch"), "{}", matched.stdout);

    let scripts = house.config.scripts_dir.to_str().expect("a path").to_owned();
    let tried = hem(
        &house,
        &[
            "try",
            "watch",
            event,
            "--hooks",
            &hooks,
            "--scripts-dir",
            &scripts,
        ],
    )
    .await;
    assert_eq!(tried.code, 0, "{}", tried.stderr);
    let whole = std::fs::read_to_string(house.path("watch.notes")).expect("what it got");
    let told: Value = serde_json::from_str(&whole).expect("JSON");
    assert_eq!(told["execution"], "1042.register-vm");
    std::fs::remove_file(house.path("watch.notes")).expect("a file");

    let emitted = hem(&house, &["emit", event]).await;
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);
    until("the watcher ran", || house.path("watch.notes").exists()).await;
    let refused = house.path("strange.json");
    std::fs::write(&refused, r#"{"kind":"execution"}"#).expect("a file");
    let refused = hem(&house, &["emit", refused.to_str().expect("a path")]).await;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("missing field"), "{}", refused.stderr);
    daemon.stop().await;
}
