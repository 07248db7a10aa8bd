//! Mutes and `hem stop`, from the command line to what runs and what is shown.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on shall fail"
)]

mod daemon;
mod recorded;
mod service;

use daemon::{House, publish, publisher, until};
use hem::engine::handle::Handle;
use hem::sources::opennebula::publisher::Publisher;
use serde_json::Value;
use service::{Said, hem};

/// A house whose hook `dns` notes the event's number down.
fn house() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"${{HEM_EXECUTION_ID#*-}}\" >> {}\n",
        house.path("ran").display()
    );
    house.script("note.sh", &script).hook(
        "dns",
        "name: dns\ntrigger: { api: { call: one.vm.allocate } }\ncommand: note.sh\norder: hook\nloop_guard: off\n",
    );
    house
}

async fn publish_calls(publisher: &Publisher, handle: &Handle, number: u64) {
    let events = recorded::events();
    let call = events
        .iter()
        .find(|event| event.key.starts_with("EVENT API one.vm.allocate 1"))
        .expect("a recorded call");
    let before = handle.store().summary().last_seq.0;
    for _ in 0..number {
        publish(publisher, call).await;
    }
    until("they are accepted", || {
        handle.store().summary().last_seq.0 >= before + number
    })
    .await;
}

fn fine(said: Said) -> String {
    assert_eq!(said.code, 0, "{}", said.stderr);
    format!("{}{}", said.stdout, said.stderr)
}

fn json(said: &Said) -> Value {
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_muted_hook_holds_what_comes_and_everything_says_so_across_a_restart() {
    let publisher = publisher().await;
    let mut house = house();
    house.listen_to(&publisher);
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let said = hem(
        &house,
        &["mute", "dns", "--for", "2h", "--reason", "DNS is moved"],
    )
    .await;
    let said = fine(said);
    assert!(
        said.contains("hook dns is muted until") && said.contains("hem unmute dns"),
        "{said}"
    );
    publish_calls(&publisher, daemon.handle(), 3).await;
    daemon.stop().await;

    let daemon = house.daemon().await;
    let status = hem(&house, &["status", "--json"]).await;
    let status = json(&status);
    assert_eq!(status["held"], 3, "{status}");
    assert_eq!(status["mutes"][0]["held"], 3);
    assert_eq!(
        status["mutes"][0]["mute"]["scope"],
        serde_json::json!({"is": "hook", "hook": "dns"})
    );
    assert_eq!(status["mutes"][0]["mute"]["reason"], "DNS is moved");
    assert!(
        status["mutes"][0]["mute"]["by"]["operator"]["user"]["uid"].is_u64(),
        "{status}"
    );
    assert!(status["mutes"][0]["mute"]["until"].is_string(), "{status}");
    assert_eq!(status["queue"][0]["hook"], "dns");
    assert_eq!(
        (&status["queue"][0]["queued"], &status["queue"][0]["held"]),
        (&3.into(), &3.into())
    );
    assert!(status["concerns"].as_array().is_some_and(|concerns| {
        !concerns
            .iter()
            .any(|concern| concern.as_str().is_some_and(|words| words.contains("muted")))
    }));
    let shown = fine(hem(&house, &["status"]).await);
    assert!(
        shown.contains("hook dns: 3 held; by ") && shown.contains("DNS is moved"),
        "{shown}"
    );
    assert!(shown.contains("3 queued, 3 of them held, oldest"), "{shown}");
    let log = hem(&house, &["log", "--json"]).await;
    assert_eq!(json(&log)[0]["held_by"]["scope"]["hook"], "dns");
    let log = fine(hem(&house, &["log", "--utc"]).await);
    assert!(log.contains("held"), "{log}");
    let show = fine(hem(&house, &["show", "1.dns"]).await);
    assert!(
        show.contains("held: hook dns is muted by") && show.contains("hem unmute dns"),
        "{show}"
    );
    let hooks = fine(hem(&house, &["hooks", "show", "dns"]).await);
    assert!(hooks.contains("enabled, muted"), "{hooks}");
    let audit = fine(hem(&house, &["audit"]).await);
    assert!(
        audit.contains("mute") && audit.contains("DNS is moved"),
        "{audit}"
    );
    assert!(house.lines("ran").is_empty(), "nothing was started");

    // The newest one alone runs; of the others the record says what became of them.
    let reply = hem(&house, &["unmute", "dns", "--then", "latest", "--json"]).await;
    let reply = json(&reply);
    assert_eq!(
        (&reply["skipped"], &reply["released"]),
        (&2.into(), &1.into()),
        "{reply}"
    );
    until("what was let go ran", || {
        daemon::unsettled(&daemon.handle().store().summary()) == 0
    })
    .await;
    assert_eq!(house.lines("ran"), ["3.dns"]);
    let status = hem(&house, &["status", "--json"]).await;
    assert_eq!(json(&status)["mutes"], serde_json::json!([]));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_mute_held_runs_in_its_order_or_is_dropped_as_ordered() {
    let publisher = publisher().await;
    let mut house = house();
    house.listen_to(&publisher);
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    for scope in [vec!["--all"], vec!["--source", "opennebula"], vec!["dns"]] {
        let mute: Vec<&str> = ["mute"].into_iter().chain(scope.clone()).collect();
        fine(hem(&house, &mute).await);
        publish_calls(&publisher, &handle, 2).await;
        let unmute: Vec<&str> = ["unmute", "--json"].into_iter().chain(scope).collect();
        let reply = hem(&house, &unmute).await;
        assert_eq!(json(&reply)["released"], 2);
        until("both ran", || daemon::unsettled(&handle.store().summary()) == 0).await;
    }
    assert_eq!(
        house.lines("ran"),
        ["1.dns", "2.dns", "3.dns", "4.dns", "5.dns", "6.dns"]
    );

    fine(hem(&house, &["mute", "dns"]).await);
    publish_calls(&publisher, &handle, 2).await;
    let reply = hem(&house, &["unmute", "dns", "--then", "drop", "--json"]).await;
    assert_eq!(json(&reply)["skipped"], 2);
    let log = hem(&house, &["log", "--status", "skipped", "--json"]).await;
    let log = json(&log);
    assert_eq!(log.as_array().map(Vec::len), Some(2), "{log}");
    assert_eq!(log[0]["state"]["reason"], "muted", "{log}");
    assert_eq!(house.lines("ran").len(), 6);
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_runs_wild_is_stopped_after_its_counts_were_said() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.script("sleep.sh", "#!/bin/sh\nexec sleep 600\n").hook(
        "wild",
        "name: wild\ntrigger: { api: { call: one.vm.allocate } }\ncommand: sleep.sh\norder: hook\nloop_guard: off\n",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    publish_calls(&publisher, &handle, 4).await;
    until("one runs and three wait", || {
        let executions = handle.store().summary().executions;
        executions.get("running") == Some(&1) && executions.get("queued") == Some(&3)
    })
    .await;

    let plan = hem(&house, &["stop", "wild", "--dry-run", "--json"]).await;
    assert_eq!(json(&plan), serde_json::json!({"cancelled": 3, "ended": 1}));
    let asked = hem(&house, &["stop", "wild"]).await;
    assert_eq!(asked.code, 2, "nobody can be asked: {}", asked.stderr);
    assert!(
        asked
            .stderr
            .contains("cancel 3 executions that wait and end 1 script that runs"),
        "{}",
        asked.stderr
    );
    assert_eq!(
        handle.store().summary().executions.get("queued"),
        Some(&3),
        "nothing was done"
    );

    let done = hem(&house, &["stop", "wild", "--yes", "--reason", "floods"]).await;
    let done = fine(done);
    assert!(
        done.contains("3 cancelled, 1 ended") && done.contains("hem unmute wild"),
        "{done}"
    );
    until("all of it has ended", || {
        handle.store().summary().executions.get("cancelled") == Some(&4)
    })
    .await;
    let log = fine(hem(&house, &["show", "2.wild"]).await);
    assert!(log.contains("its hook was stopped by"), "{log}");
    publish_calls(&publisher, &handle, 1).await;
    let status = hem(&house, &["status", "--json"]).await;
    assert_eq!(json(&status)["held"], 1, "what comes now is held");
    let audit = fine(hem(&house, &["audit"]).await);
    assert!(audit.contains("stop"), "{audit}");
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mute_is_told_to_hooks_whoever_made_it() {
    let publisher = publisher().await;
    let mut house = house();
    house.listen_to(&publisher);
    let notes = house.path("told");
    house
        .script("tell.sh", &format!("#!/bin/sh\n{{ cat; echo; }} >> {}\n", notes.display()))
        .hook(
            "tell",
            "name: tell\ntrigger: { muted: { hook: [dns, looping] } }\ncommand: tell.sh\nstdin: payload\n",
        )
        .hook(
            "looping",
            "name: looping\ntrigger: { api: { call: one.vm.allocate } }\ncommand: note.sh\nloop_guard: { max: 2, per: 1h }\n",
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    fine(
        hem(
            &house,
            &["mute", "dns", "--subject", "vm/12", "--reason", "tired"],
        )
        .await,
    );
    let told = || -> Vec<Value> {
        let lines = house.lines("told");
        let told = lines.iter().filter(|line| !line.is_empty());
        told.map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    until("the mute is told", || told().len() == 1).await;
    assert_eq!(told()[0]["hook"], "dns");
    assert_eq!(told()[0]["subject"], "vm/12");
    assert_eq!(told()[0]["reason"], "tired");
    assert!(told()[0]["by"].as_str().is_some_and(|by| by.starts_with("uid ")));

    publish_calls(&publisher, daemon.handle(), 3).await;
    until("the guard is told", || told().len() == 2).await;
    assert_eq!(
        (&told()[1]["hook"], &told()[1]["by"]),
        (&"looping".into(), &"loop_guard".into())
    );
    let check = hem(&house, &["status", "--check"]).await;
    assert_eq!(check.code, 1, "a policy's mute is something to look at");
    assert!(
        check.stdout.contains("is muted by its loop_guard"),
        "{}",
        check.stdout
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_that_make_no_sense_are_refused_with_what_to_do() {
    let house = house();
    let daemon = house.daemon().await;
    for (arguments, code, words) in [
        (vec!["mute"], 2, "HOOK"),
        (vec!["mute", "dns", "--all"], 2, "cannot be used with"),
        (
            vec!["mute", "--all", "--subject", "vm/1"],
            2,
            "cannot be used with",
        ),
        (vec!["mute", "dns", "--for", "soon"], 2, "no duration"),
        (vec!["mute", "dsn"], 1, "no hook `dsn`"),
        (vec!["mute", "--source", "zone9"], 1, "zone9"),
        (vec!["unmute", "dns"], 1, "not muted"),
        (vec!["stop", "dsn", "--yes"], 1, "no hook `dsn`"),
    ] {
        let said = hem(&house, &arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(words), "{arguments:?}: {}", said.stderr);
    }
    daemon.stop().await;
}
