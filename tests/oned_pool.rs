//! The hooks that `oned` keeps, in a daemon beside the stand-in for `oned`: read at the start, followed, and told of.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon::{House, LIMIT, until, until_found, until_settled};
use hem::config::{Config, OpennebulaSource, Source};
use hem::daemon::{Daemon, Options};
use hem::engine::execution::{Actor, Cause, Execution, State};
use hem::engine::handle::{Handle, PoolStatus};
use hem::event::id::{HookName, Seq};
use hem::event::opennebula::read;
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts, Subject};
use hem::store::{EventQuery, ExecutionQuery};
use oned_stand_in::Oned;
use peers::Port;
use serde_json::json;
use service::hem;

/// The follower looks at most this often.
const BETWEEN_READS: Duration = Duration::from_millis(200);

/// A front-end: the stand-in, and a house for daemons that ask it.
struct Site {
    oned: Oned,
    house: House,
}

impl Site {
    fn new() -> Self {
        let oned = Oned::start(&[]);
        let mut house = House::new();
        house.config.onehem_scripts_dir = house.config.scripts_dir.clone();
        let source = OpennebulaSource {
            endpoint: oned.events().to_owned(),
            replies: oned.replies().to_owned(),
            ..OpennebulaSource::default()
        };
        house
            .config
            .sources
            .insert("opennebula".to_owned(), Source::Opennebula(source));
        house.config.oned = Some(hem::config::Oned {
            endpoint: oned.xmlrpc().parse().expect("an endpoint"),
            auth: vec![house.path("one_auth")],
            source: "opennebula".to_owned(),
            hooks: true,
            leader_only: false,
            catch_up: false,
            max_gap: Duration::from_secs(900),
            look_every: None,
        });
        std::fs::write(house.path("one_auth"), oned.session()).expect("a file");
        for script in ["say.sh", "shout.sh"] {
            let said = house.path("said").display().to_string();
            house.script(script, &format!("#!/bin/sh\necho {script} \"$@\" >> {said}\n"));
        }
        Self { oned, house }
    }

    /// A hook of `oned` that says `word` when a VM runs.
    fn saying(&mut self, name: &str, word: &str) -> u64 {
        self.oned.create_hook(&template(name, word))
    }

    fn said(&self) -> Vec<String> {
        self.house.lines("said")
    }

    async fn until_said(&self, count: usize) -> Vec<String> {
        until(&format!("{count} lines are said"), || self.said().len() >= count).await;
        self.said()
    }

    /// A daemon that is subscribed and has read the pool since.
    async fn daemon(&mut self) -> Daemon {
        let daemon = self.house.daemon().await;
        self.oned.wait_for_subscriber();
        until_read(daemon.handle()).await;
        daemon
    }

    fn reads(&mut self) -> usize {
        let calls = self.oned.calls();
        calls.iter().filter(|call| *call == "one.hookpool.info").count()
    }
}

/// A template whose hook says `word` when a VM runs.
fn template(name: &str, word: &str) -> String {
    format!(
        "NAME = {name}\nTYPE = state\nRESOURCE = VM\nON = RUNNING\nCOMMAND = say.sh\nARGUMENTS = \"{word}\"\n"
    )
}

async fn pool(handle: &Handle) -> PoolStatus {
    handle.status().await.expect("a status").pool.expect("a pool")
}

async fn until_pool(handle: &Handle, what: &str, holds: impl Fn(&PoolStatus) -> bool) -> PoolStatus {
    until_found(what, async || {
        let pool = pool(handle).await;
        if holds(&pool) { Ok(pool) } else { Err(pool) }
    })
    .await
}

/// Waits until the pool was read, once for the start and once for the connection.
async fn until_read(handle: &Handle) -> PoolStatus {
    until_found("it connects", async || {
        let status = handle.status().await.expect("a status");
        let source = status.sources["opennebula"].clone();
        if source.connects > 0 { Ok(()) } else { Err(source) }
    })
    .await;
    until_pool(handle, "the pool is read", |pool| {
        pool.reads >= 2 && pool.away.is_none()
    })
    .await
}

fn in_force(handle: &Handle) -> Vec<String> {
    handle.hooks().iter().map(|hook| hook.name.to_string()).collect()
}

async fn until_in_force(handle: &Handle, names: &[&str]) {
    until(&format!("{names:?} are in force"), || in_force(handle) == names).await;
}

/// The text of a hook in force.
fn text(handle: &Handle, name: &str) -> String {
    let name = HookName::trusted(name);
    handle
        .hooks()
        .get(&name)
        .map(|hook| hook.text.to_string())
        .unwrap_or_default()
}

/// All executions, newest first.
fn executions_of(daemon: &Daemon) -> Vec<Execution> {
    let query = ExecutionQuery {
        limit: 100,
        ..ExecutionQuery::default()
    };
    daemon.handle().store().executions(&query).expect("a read")
}

/// Hands over an event of VM `id` that runs, as the source would.
async fn emit_running(handle: &Handle, id: u64) {
    let document = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{id}</RESOURCE_ID><REMOTE_HOST/><VM><ID>{id}</ID></VM></HOOK_MESSAGE>"
    );
    let key = format!("EVENT STATE VM/ACTIVE/RUNNING/{id} ");
    let reading = read(&key, document.as_bytes());
    let event = Event {
        seq: Seq(0),
        source: "opennebula".into(),
        key,
        subject: reading.subject.as_deref().map(Subject::new),
        received: Timestamp::now(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(document.into()),
    };
    let accepted = handle.emit(event, None, Actor::User { uid: 7 }).await;
    accepted.expect("accepted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_of_oned_run_from_the_start_all_on_one_event_and_are_acknowledged() {
    let mut site = Site::new();
    site.saying("first", "one");
    site.saying("second", "two");
    site.oned.create_hook(
        "NAME = calls\nTYPE = api\nCALL = one.vm.deploy\nCOMMAND = say.sh\nARGUMENTS = deployed\n",
    );
    site.house.hook(
        "own",
        "name: own\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: shout.sh\narguments: three\n",
    );
    let daemon = site.daemon().await;
    until_in_force(
        daemon.handle(),
        &["own", "oned/first", "oned/second", "oned/calls"],
    )
    .await;

    site.oned.vm(12, "ACTIVE", "RUNNING");
    // A failed call runs a hook of `oned` as well as one that succeeded.
    site.oned
        .tell(json!({ "do": "api", "call": "one.vm.deploy", "in": ["12", "0"], "result": false }));
    let mut said = site.until_said(4).await;
    said.sort();
    assert_eq!(
        said,
        ["say.sh deployed", "say.sh one", "say.sh two", "shout.sh three"]
    );

    let results = site.oned.results(3);
    let mut told: Vec<(u64, bool)> = results
        .iter()
        .map(|result| (result["hook"].as_u64().expect("a number"), result["kept"] == true))
        .collect();
    told.sort_unstable();
    assert_eq!(told, [(0, true), (1, true), (2, true)]);

    let hooks = hem(&site.house, &["hooks", "--json"]).await;
    let hooks: serde_json::Value = serde_json::from_str(&hooks.stdout).expect("JSON");
    assert_eq!(hooks[0]["origin"], json!({ "is": "file" }));
    assert_eq!(
        hooks[1]["origin"],
        json!({ "is": "oned", "id": 0, "confirmed": true })
    );
    let table = hem(&site.house, &["hooks"]).await;
    assert!(table.stdout.contains("oned #1"), "{}", table.stdout);
    let shown = hem(&site.house, &["hooks", "show", "oned/first"]).await;
    for line in [
        "origin       oned #0\n",
        "  name: oned/first\n",
        "  id: 0\n",
        "  start_within: 15m\n",
    ] {
        assert!(shown.stdout.contains(line), "{line:?} in {}", shown.stdout);
    }
    let status = hem(&site.house, &["status"]).await;
    let line = format!("\noned {}: 3 hooks, read ", site.oned.xmlrpc());
    assert!(status.stdout.contains(&line), "{}", status.stdout);
    let metrics = hem(&site.house, &["metrics"]).await;
    assert!(
        metrics
            .stdout
            .contains("hem_oned_hooks{source=\"opennebula\",standing=\"in_force\"} 3"),
        "{}",
        metrics.stdout
    );

    // An operator's word counts for a hook of `oned` as for any other.
    let disabled = hem(&site.house, &["hooks", "disable", "oned/second"]).await;
    assert_eq!(disabled.code, 0, "{}", disabled.stderr);
    site.oned.vm(13, "ACTIVE", "RUNNING");
    let mut more = site.until_said(6).await.split_off(4);
    more.sort();
    assert_eq!(more, ["say.sh one", "shout.sh three"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_created_changed_renamed_locked_and_deleted_takes_effect() {
    let mut site = Site::new();
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    assert_eq!(in_force(handle), [""; 0]);

    let id = site.saying("dns", "one");
    until_in_force(handle, &["oned/dns"]).await;
    site.oned
        .call("one.hook.update", json!([id, "ARGUMENTS = \"two\"", 1]));
    until("the new arguments are in force", || {
        text(handle, "oned/dns").contains("two")
    })
    .await;
    site.oned.call("one.hook.rename", json!([id, "names"]));
    until_in_force(handle, &["oned/names"]).await;
    site.oned.call("one.hook.lock", json!([id, 2]));
    let name = HookName::trusted("oned/names");
    until("the lock is known", || handle.pool().hooks[&name].lock == Some(2)).await;
    let table = hem(&site.house, &["hooks"]).await;
    assert!(
        table.stdout.contains("enabled, locked (manage)"),
        "{}",
        table.stdout
    );
    site.oned.vm(12, "ACTIVE", "RUNNING");
    assert_eq!(site.until_said(1).await, ["say.sh two"], "a locked hook runs");

    site.oned.call("one.hook.unlock", json!([id]));
    until("the lock is gone", || handle.pool().hooks[&name].lock.is_none()).await;
    site.oned.call("one.hook.delete", json!([id]));
    until_in_force(handle, &[]).await;
    daemon.stop().await;
}

/// With `onehem-server` a refused deletion took the hook away where a hook was registered for that call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_failed_change_nothing() {
    let mut site = Site::new();
    let id = site.saying("dns", "one");
    site.oned.create_hook(
        "NAME = watch\nTYPE = api\nCALL = one.hook.delete\nCOMMAND = shout.sh\nARGUMENTS = deleted\n",
    );
    site.oned.call("one.hook.lock", json!([id, 1]));
    let daemon = site.daemon().await;
    let reads = site.reads();

    assert_eq!(site.oned.call("one.hook.delete", json!([id]))[0], false);
    assert_eq!(
        site.oned
            .call("one.hook.allocate", json!([template("dns", "twice")]))[0],
        false
    );
    assert_eq!(
        site.oned.call("one.hook.update", json!([99, "ARGUMENTS = x", 1]))[0],
        false
    );
    // What is published later is decoded later.
    site.oned.vm(12, "ACTIVE", "RUNNING");
    let mut said = site.until_said(2).await;
    said.sort();
    assert_eq!(said, ["say.sh one", "shout.sh deleted"]);
    assert_eq!(site.reads(), reads);
    until_in_force(daemon.handle(), &["oned/dns", "oned/watch"]).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_that_come_and_go_in_a_tight_loop_disturb_no_other() {
    const ROUNDS: u64 = 60;
    let mut site = Site::new();
    site.saying("steady", "steady");
    let daemon = site.daemon().await;
    let (began, before) = (Instant::now(), site.reads());
    for round in 0..ROUNDS {
        let id = site.saying("restless", "restless");
        site.oned
            .call("one.hook.update", json!([id, "ARGUMENTS = \"more\"", 1]));
        site.oned.vm(100 + round, "ACTIVE", "RUNNING");
        site.oned.call("one.hook.delete", json!([id]));
    }
    let steady = |site: &Site| {
        let said = site.said();
        said.iter().filter(|line| *line == "say.sh steady").count() as u64
    };
    until("the steady hook has run for every machine", || {
        steady(&site) >= ROUNDS
    })
    .await;
    until_in_force(daemon.handle(), &["oned/steady"]).await;
    until_settled(daemon.handle(), 0).await;
    assert_eq!(steady(&site), ROUNDS);
    let most = began.elapsed().as_millis() / BETWEEN_READS.as_millis() + 2;
    let reads = site.reads() - before;
    assert!(reads as u128 <= most, "{reads} reads, {most} at most");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oned_that_is_not_up_is_waited_for_while_the_folder_s_hooks_run() {
    let mut site = Site::new();
    site.saying("first", "one");
    site.oned.tell(json!({ "do": "down" }));
    site.house.hook(
        "own",
        "name: own\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: shout.sh\narguments: own\n",
    );
    let daemon = site.house.daemon().await;
    let handle = daemon.handle();
    until_pool(handle, "several tries have failed", |pool| pool.failures >= 3).await;
    emit_running(handle, 12).await;
    assert_eq!(site.until_said(1).await, ["shout.sh own"]);
    let concerns = hem(&site.house, &["status", "--check"]).await;
    assert_eq!(concerns.code, 1);
    assert!(
        concerns
            .stdout
            .contains("oned cannot be asked for its hooks since ")
            && concerns.stdout.contains("none of its hooks are known"),
        "{}",
        concerns.stdout
    );

    site.oned.tell(json!({ "do": "up" }));
    site.oned.wait_for_subscriber();
    until_in_force(handle, &["own", "oned/first"]).await;
    site.oned.vm(13, "ACTIVE", "RUNNING");
    let mut said = site.until_said(3).await.split_off(1);
    said.sort();
    assert_eq!(said, ["say.sh one", "shout.sh own"]);
    until_pool(handle, "all is well again", |pool| pool.away.is_none()).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_said_and_new_ones_taken_up() {
    let mut site = Site::new();
    site.saying("first", "one");
    std::fs::write(site.house.path("one_auth"), "oneadmin:wrong").expect("a file");
    let daemon = site.house.daemon().await;
    let refused = until_pool(daemon.handle(), "oned refuses", |pool| pool.away.is_some()).await;
    let (_, why) = refused.away.expect("away");
    assert!(
        why.contains("couldn't be authenticated") && !why.contains("wrong"),
        "{why}"
    );
    std::fs::write(site.house.path("one_auth"), site.oned.session()).expect("a file");
    until_in_force(daemon.handle(), &["oned/first"]).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_of_the_folder_with_the_number_of_one_of_oned_stands_for_it() {
    let mut site = Site::new();
    let id = site.saying("dns", "oned");
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    let trigger = "trigger: { state: { resource: VM, on: RUNNING } }";

    // Without the number it runs beside it, which is said.
    site.house.hook(
        "dns",
        &format!("name: dns\n{trigger}\ncommand: say.sh\narguments: folder\n"),
    );
    let reloaded = hem(&site.house, &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.stderr);
    let table = hem(&site.house, &["hooks"]).await;
    let warning =
        format!("`dns` does what `oned/dns`, hook {id} of oned, does as well: for one event both run");
    assert!(table.stderr.contains(&warning), "{}", table.stderr);
    let again = hem(&site.house, &["reload"]).await;
    assert!(again.stdout.contains(&warning), "{}", again.stdout);

    site.house.hook(
        "dns",
        &format!("name: dns\nid: {id}\nprofile: onehem\n{trigger}\ncommand: say.sh\narguments: folder\n"),
    );
    let reloaded = hem(&site.house, &["reload"]).await;
    assert!(!reloaded.stdout.contains("does as well"), "{}", reloaded.stdout);
    until_in_force(handle, &["dns"]).await;
    let table = hem(&site.house, &["hooks"]).await;
    let place = site.house.config.hooks_dir.join("dns.yaml").display().to_string();
    assert!(
        table.stdout.contains(&format!("shadowed by {place}:1")),
        "{}",
        table.stdout
    );
    let status = hem(&site.house, &["status"]).await;
    assert!(
        status.stdout.contains(": 1 hook, 1 of them shadowed, read "),
        "{}",
        status.stdout
    );

    site.oned.vm(12, "ACTIVE", "RUNNING");
    assert_eq!(site.until_said(1).await, ["say.sh folder"]);
    // Results and RETRY messages go by the number.
    site.oned.results(1);
    assert_eq!(site.oned.call("one.hook.retry", json!([id, 0]))[0], true);
    assert_eq!(site.until_said(2).await[1], "say.sh folder");
    site.oned.results(2);

    // What changes in `oned` meanwhile is taken up and stays in its shadow.
    site.oned
        .call("one.hook.update", json!([id, "ARGUMENTS = \"changed\"", 1]));
    until("the change is known", || {
        handle
            .shadowed()
            .iter()
            .any(|shadowed| shadowed.hook.text.contains("changed"))
    })
    .await;
    assert_eq!(in_force(handle), ["dns"]);

    std::fs::remove_file(site.house.config.hooks_dir.join("dns.yaml")).expect("removed");
    let reloaded = hem(&site.house, &["reload", "--accept"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.stdout);
    until_in_force(handle, &["oned/dns"]).await;
    site.oned.vm(13, "ACTIVE", "RUNNING");
    assert_eq!(site.until_said(3).await[2], "say.sh changed");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_the_hooks_are_in_force_before_oned_answers() {
    let mut site = Site::new();
    site.saying("first", "one");
    let daemon = site.daemon().await;
    until_in_force(daemon.handle(), &["oned/first"]).await;
    daemon.stop().await;
    site.oned.tell(json!({ "do": "down" }));

    let daemon = site.house.daemon().await;
    assert_eq!(in_force(daemon.handle()), ["oned/first"]);
    emit_running(daemon.handle(), 12).await;
    assert_eq!(site.until_said(1).await, ["say.sh one"]);
    let shown = hem(&site.house, &["hooks", "show", "oned/first"]).await;
    assert!(
        shown.stdout.contains("oned #0, as it was read last"),
        "{}",
        shown.stdout
    );
    // What was done while nobody looked is found when it is up again.
    site.saying("second", "two");
    site.oned.call("one.hook.delete", json!([0]));
    site.oned.tell(json!({ "do": "up" }));
    until_in_force(daemon.handle(), &["oned/second"]).await;
    daemon.stop().await;

    let without = Config {
        oned: None,
        ..site.house.config.clone()
    };
    let daemon = Daemon::start(&without, Options::default())
        .await
        .expect("a daemon");
    assert_eq!(in_force(daemon.handle()), [""; 0]);
    assert_eq!(daemon.handle().status().await.expect("a status").pool, None);
    daemon.stop().await;
    // And it is forgotten: an `oned` that is away when it is asked for again brings nothing back.
    site.oned.tell(json!({ "do": "down" }));
    let daemon = site.house.daemon().await;
    assert_eq!(in_force(daemon.handle()), [""; 0]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_pool_is_believed_and_a_read_that_fails_is_not() {
    let mut site = Site::new();
    let id = site.saying("first", "one");
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    for how in ["garbage", "http500"] {
        let before = pool(handle).await.failures;
        site.oned
            .tell(json!({ "do": "break", "method": "one.hookpool.info", "how": how }));
        site.oned.call("one.hook.rename", json!([id, how]));
        until_pool(handle, "reading fails", |pool| pool.failures > before).await;
        site.oned.tell(json!({ "do": "mend" }));
        until_in_force(handle, &[&format!("oned/{how}")]).await;
    }
    site.oned.call("one.hook.delete", json!([id]));
    until_in_force(handle, &[]).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_new_connection_has_the_pool_read_again() {
    let mut site = Site::new();
    let id = site.saying("first", "one");
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    // Nobody is told of what changes while the driver is away.
    site.oned.tell(json!({ "do": "down" }));
    site.oned.call("one.hook.rename", json!([id, "other"]));
    site.oned.tell(json!({ "do": "up" }));
    until_in_force(handle, &["oned/other"]).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_runs_the_hook_as_it_is_now_with_the_recorded_arguments_and_the_record_says_so() {
    let mut site = Site::new();
    let id = site.saying("dns", "then");
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    site.oned.vm(12, "ACTIVE", "RUNNING");
    site.until_said(1).await;
    site.oned.results(1);
    let former = handle
        .hooks()
        .get(&HookName::trusted("oned/dns"))
        .expect("a hook")
        .version;

    site.oned.call(
        "one.hook.update",
        json!([id, "COMMAND = shout.sh\nARGUMENTS = \"now\"", 1]),
    );
    until("the change is in force", || {
        text(handle, "oned/dns").contains("shout.sh")
    })
    .await;
    let today = handle
        .hooks()
        .get(&HookName::trusted("oned/dns"))
        .expect("a hook")
        .version;
    assert_eq!(site.oned.call("one.hook.retry", json!([id, 0]))[0], true);
    assert_eq!(site.until_said(2).await, ["say.sh then", "shout.sh then"]);

    let results = site.oned.results(2);
    assert_eq!(results[1]["hook"], id);
    assert_eq!(results[1]["kept"], true);
    let document = results[1]["document"].as_str().expect("a document");
    assert!(document.contains("<RETRY>yes</RETRY>"), "{document}");
    assert!(document.contains("<ARGUMENTS>then</ARGUMENTS>"), "{document}");
    assert!(document.contains("shout.sh then</COMMAND>"), "{document}");

    let store = handle.store();
    let executions = executions_of(&daemon);
    let [repeated, first] = executions.as_slice() else {
        panic!("{executions:?}");
    };
    assert_eq!(repeated.retry_of.as_ref(), Some(&first.key));
    assert_eq!(repeated.subject, first.subject);
    let process = |execution: &Execution| {
        let mut attempts = store.attempts(&execution.key).expect("a read");
        let attempt = attempts.pop().expect("an attempt");
        (attempt.process.expect("a process"), attempt.cause)
    };
    let ((process_first, _), (process_repeated, cause)) = (process(first), process(repeated));
    assert_eq!((process_first.version, process_repeated.version), (former, today));
    assert!(
        process_repeated.argv[0].ends_with("/shout.sh"),
        "{:?}",
        process_repeated.argv
    );
    assert_eq!(process_repeated.argv[1..], ["then"]);
    assert!(matches!(cause, Cause::RetryMessage(_)), "{cause:?}");
    let shown = hem(&site.house, &["show", &repeated.key.to_string()]).await;
    assert!(shown.stdout.contains(&today.to_string()), "{}", shown.stdout);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_of_a_deleted_hook_is_cancelled_and_what_runs_ends() {
    let mut site = Site::new();
    let (started, go) = (site.house.path("started"), site.house.path("go"));
    site.house.script(
        "wait.sh",
        &format!(
            "#!/bin/sh\necho >> {}\nwhile ! [ -e {} ]; do sleep 0.05; done\n",
            started.display(),
            go.display()
        ),
    );
    let id = site
        .oned
        .create_hook("NAME = slow\nTYPE = state\nRESOURCE = VM\nON = RUNNING\nCOMMAND = wait.sh\n");
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    // The same machine twice: the second waits for the first.
    emit_running(handle, 12).await;
    until("the first runs", || site.house.lines("started").len() == 1).await;
    emit_running(handle, 12).await;
    site.oned.call("one.hook.delete", json!([id]));
    until("what waited is cancelled", || {
        handle.store().summary().executions.get("cancelled") == Some(&1)
    })
    .await;
    std::fs::write(go, "").expect("a file");
    until_settled(handle, 0).await;
    let executions = executions_of(&daemon);
    let mut states: Vec<&str> = executions.iter().map(|one| one.progress.state.name()).collect();
    states.sort_unstable();
    assert_eq!(states, ["cancelled", "succeeded"]);
    assert!(
        executions
            .iter()
            .all(|one| matches!(one.progress.state, State::Settled { .. }))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_controllers_each_has_its_own_hooks() {
    let mut site = Site::new();
    let id = site.saying("dns", "zone1");
    let other = Oned::start(&[]);
    let second = OpennebulaSource {
        endpoint: other.events().to_owned(),
        replies: other.replies().to_owned(),
        ..OpennebulaSource::default()
    };
    site.house
        .config
        .sources
        .insert("zone2".to_owned(), Source::Opennebula(second));
    let daemon = site.daemon().await;
    let handle = daemon.handle();
    until_in_force(handle, &["oned/dns"]).await;
    let mut other = other;
    other.wait_for_subscriber();
    // A hook of the second controller with the same number, and a RETRY of it: none of the first one's business.
    assert_eq!(other.create_hook(&template("theirs", "zone2")), id);
    other.tell(json!({ "do": "record", "hook": id, "document": "<ARGUMENTS>zone2</ARGUMENTS>" }));
    other.vm(12, "ACTIVE", "RUNNING");
    assert_eq!(other.call("one.hook.retry", json!([id, 0]))[0], true);
    other.tell(json!({ "do": "flush" }));
    until("the second controller's events are accepted", || {
        let summary = handle.store().summary();
        summary
            .events
            .get("zone2")
            .is_some_and(|counters| counters.accepted() >= 3)
    })
    .await;
    site.oned.vm(12, "ACTIVE", "RUNNING");
    assert_eq!(site.until_said(1).await, ["say.sh zone1"]);
    site.oned.results(1);
    until_settled(handle, 4).await;
    assert_eq!(site.said().len(), 1);
    let retried = handle.store().events(&EventQuery {
        limit: 100,
        ..EventQuery::default()
    });
    let retried = retried.expect("a read");
    assert!(
        retried
            .iter()
            .any(|listed| matches!(listed.event.facts, Facts::Retry(_)))
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hem_match_and_hem_try_take_the_hooks_of_oned_from_the_daemon() {
    let mut site = Site::new();
    site.saying("dns", "oned");
    let daemon = site.daemon().await;
    until_in_force(daemon.handle(), &["oned/dns"]).await;
    site.oned.vm(12, "ACTIVE", "RUNNING");
    site.until_said(1).await;
    until_settled(daemon.handle(), 1).await;
    let more = format!(
        "oned: {{ endpoint: \"{}\", auth: {} }}\n",
        site.oned.xmlrpc(),
        site.house.path("one_auth").display(),
    );
    let file = service::configure(&site.house, &more);
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(PathBuf::from(env!("CARGO_BIN_EXE_hem")));
        command
            .env_remove("HEM_SOCKET")
            .arg("--config")
            .arg(&file)
            .args(arguments);
        service::said(command)
    };
    let event = daemon.handle().store().summary().last_seq.to_string();
    let matched = run(&["match", &event, "--json"]).await;
    let answers: serde_json::Value = serde_json::from_str(&matched.stdout).expect("JSON");
    assert_eq!(answers[0]["hook"], "oned/dns", "{}", matched.stderr);
    assert_eq!(answers[0]["matches"], true);
    let tried = run(&["try", "oned/dns", &event]).await;
    assert_eq!(tried.code, 0, "{}", tried.stderr);
    assert_eq!(site.said(), ["say.sh oned", "say.sh oned"]);
    daemon.stop().await;
    let alone = run(&["match", "examples/opennebula/events/vm-running.xml"]).await;
    assert!(alone.stderr.contains("no daemon answers"), "{}", alone.stderr);
}

/// Nothing listens there; a port of its own keeps it so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_stops_at_once_while_oned_is_waited_for() {
    let mut site = Site::new();
    let nobody = Port::reserve();
    let endpoint = nobody.endpoint().replace("tcp://", "http://") + "/RPC2";
    if let Some(oned) = &mut site.house.config.oned {
        oned.endpoint = endpoint.parse().expect("an endpoint");
    }
    let daemon = site.house.daemon().await;
    until_pool(daemon.handle(), "a try has failed", |pool| pool.failures > 0).await;
    let stopped = tokio::time::timeout(LIMIT, daemon.stop()).await;
    stopped.expect("it stops");
}
