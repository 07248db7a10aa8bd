//! What `oned` is told of hooks that stand for its own, at a real libzmq REP: as `onehem-server` tells it, in order, and
//! whatever becomes of the one that listens.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod peers;
mod recorded;

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use daemon::{House, until, until_found, until_settled};
use hem::daemon::Daemon;
use hem::engine::execution::Actor;
use hem::engine::handle::{Handle, OutboxStatus};
use hem::event::id::{HookName, Seq};
use hem::event::opennebula::read;
use hem::event::opennebula::schema::validate_reply;
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts, RetryRequest};
use peers::{Peer, Port};
use recorded::Recorded;

const STATE: &str = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
    <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><REMOTE_HOST/><VM><ID>12</ID></VM></HOOK_MESSAGE>";

/// A hook manager's two ports: nobody publishes, and results go to the second.
fn house(replies: &Port) -> (House, Port) {
    let mut house = House::new();
    let events = Port::reserve();
    house.serve(&events.endpoint(), &replies.endpoint());
    (house, events)
}

fn replier(port: &Port) -> Peer {
    let peer = Peer::start("replier.py", &[&port.endpoint()]);
    peer.expect("bound");
    peer
}

fn event(recorded: &Recorded) -> Event {
    let reading = read(&recorded.key, &recorded.content);
    Event {
        seq: Seq(0),
        source: "opennebula".into(),
        key: recorded.key.clone(),
        subject: None,
        received: Timestamp::now(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(recorded.content.clone()),
    }
}

/// Lets `hook` run for an event, whatever its trigger says.
async fn run(daemon: &Daemon, hook: &str, event: Event) {
    let hook = HookName::new(hook).expect("a name");
    let accepted = daemon
        .handle()
        .emit(event, Some(hook), Actor::User { uid: 7 })
        .await;
    assert_eq!(accepted.expect("accepted").executions.len(), 1);
}

/// The same event `count` times.
async fn run_often(daemon: &Daemon, hook: &str, count: usize) {
    let message = Recorded {
        key: "EVENT STATE VM/ACTIVE/RUNNING/12 ".to_owned(),
        content: STATE.into(),
    };
    for _ in 0..count {
        run(daemon, hook, event(&message)).await;
    }
}

/// Waits until the telling has come so far.
async fn until_told(handle: &Handle, holds: impl Fn(&OutboxStatus) -> bool) -> OutboxStatus {
    until_found("the telling comes so far", async || {
        let told = handle.status().await.expect("a status").outboxes["opennebula"].clone();
        if holds(&told) { Ok(told) } else { Err(told) }
    })
    .await
}

/// A message's return code, hook and document.
fn parts(message: &str) -> (i32, u64, String) {
    let mut words = message.split(' ');
    let mut next = || words.next().expect("three words");
    let code = next().parse().expect("a return code");
    let hook = next().parse().expect("a hook's number");
    let document = STANDARD.decode(next()).expect("base64");
    (code, hook, String::from_utf8(document).expect("UTF-8"))
}

fn element(document: &str, name: &str) -> String {
    let (_, rest) = document.split_once(&format!("<{name}>")).expect(name);
    rest.split_once(&format!("</{name}>")).expect(name).0.to_owned()
}

fn stdout(document: &str) -> String {
    let encoded = element(document, "STDOUT").replace('\n', "");
    String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
}

/// Hooks whose scripts printed something else are hooks of their own here, with numbers of their own.
fn own_id(recorded: u64, hook: &str) -> u64 {
    let number: u64 = hook.trim_start_matches("hook-").parse().expect("a number");
    recorded * 1000 + number
}

/// Prints how often it has run.
const COUNTING: &str = "#!/bin/sh\necho x >> \"$COUNT\"\nwc -l < \"$COUNT\"\n";

/// A hook that stands for number 7 and prints how often it ran.
fn counting(house: &House) {
    let count = house.path("count").display().to_string();
    house.script("count.sh", COUNTING).hook(
        "counting",
        &format!(
            "name: counting\nid: 7\nprofile: onehem\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\n\
             command: count.sh\narguments: a b\norder: hook\nenv: {{ COUNT: {count} }}\n"
        ),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_events_give_the_very_messages_that_onehem_server_sent() {
    let replies = Port::reserve();
    let (house, _events) = house(&replies);
    let folder = house.config.scripts_dir.display().to_string();
    // Which hook a recorded run belongs to, by all that its file and its script must say.
    let mut hooks: BTreeMap<String, String> = BTreeMap::new();
    let mut runs = Vec::new();
    for run in recorded::passed() {
        let (code, id, document) = parts(&run.message);
        let command = element(&document, "COMMAND");
        // What ran on another host is compared where hooks run on other hosts.
        if document.contains("<REMOTE_HOST>") {
            continue;
        }
        assert_eq!(code, 0);
        let stdin = !command.ends_with(&run.arguments);
        let encoded = STANDARD.encode(&run.argument_xml);
        let element_word = match event(&run.event).facts {
            Facts::Api(_) => "$API",
            _ => "$TEMPLATE",
        };
        let arguments = run.arguments.replacen(&encoded, element_word, 1);
        let script = command.split(' ').next().expect("a command");
        let script = script.rsplit('/').next().expect("a name").to_owned();
        let stderr = element(&document, "STDERR").replace('\n', "");
        let says = element(&document, "STDOUT").replace('\n', "");
        let signature = format!("{id} {arguments} {stdin} {script} {says} {stderr}");
        let next = format!("hook-{}", hooks.len());
        let name = hooks.entry(signature).or_insert_with(|| {
            house.script(
                &format!("{next}/{script}"),
                &format!(
                    "#!/bin/sh\ncat > /dev/null\necho {says} | base64 -d\necho {stderr} | base64 -d >&2\n"
                ),
            );
            let yaml = format!(
                "name: {next}\nid: {}\nprofile: onehem\ntrigger: {{ api: {{ call: any }} }}\ncommand: {next}/{script}\n\
                 arguments: {}\narguments_stdin: {stdin}\n",
                own_id(id, &next),
                serde_json::Value::from(arguments.as_str()),
            );
            house.hook(&next, &yaml);
            next
        });
        runs.push((name.clone(), script, run, id, document));
    }
    assert_eq!(runs.len(), 58);

    let mut peer = replier(&replies);
    let daemon = house.daemon().await;
    for (hook, script, recorded, id, document) in runs {
        run(&daemon, &hook, event(&recorded.event)).await;
        peer.order("answer 1");
        let document = document.replace(
            &format!("/var/lib/one/remotes/hooks/{script}"),
            &format!("{folder}/{hook}/{script}"),
        );
        let expected = format!("0 {} {}", own_id(id, &hook), STANDARD.encode(&document));
        let sent = peer.line();
        assert_eq!(parts(&sent), parts(&expected));
        assert_eq!(sent, expected);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_acknowledgement_delays_the_results_and_stops_nothing() {
    let replies = Port::reserve();
    let (house, _events) = house(&replies);
    counting(&house);
    let mut peer = replier(&replies);
    let daemon = house.daemon().await;
    peer.order("swallow");
    run_often(&daemon, "counting", 5).await;
    let first = peer.line();
    assert_eq!(stdout(&parts(&first).2), "1\n");
    // All of them ran meanwhile, and the one that never answered goes away with the question.
    until_settled(daemon.handle(), 5).await;
    drop(peer);
    let mut peer = replier(&replies);
    peer.order("wrong");
    assert_eq!(peer.line(), first);
    peer.order("answer 5");
    for number in 1..=5 {
        let (code, hook, document) = parts(&peer.line());
        assert_eq!((code, hook), (0, 7));
        assert_eq!(
            stdout(&document),
            format!("{number}\n"),
            "in the order in which they ended"
        );
    }
    let handle = daemon.handle().clone();
    let told = until_told(&handle, |told| told.delivered == 5).await;
    assert_eq!((told.waiting, told.superseded, told.away), (0, 0, None));
    drop(handle);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_that_was_away_for_long_gets_the_newest_results_of_each_hook_and_the_rest_is_counted() {
    let replies = Port::reserve();
    let (house, _events) = house(&replies);
    counting(&house);
    let daemon = house.daemon().await;
    run_often(&daemon, "counting", 30).await;
    until_settled(daemon.handle(), 30).await;
    let told = until_told(daemon.handle(), |told| told.away.is_some() && told.waiting == 20).await;
    assert_eq!((told.superseded, told.delivered), (10, 0));
    // A new life finds what the former one could not tell.
    daemon.stop().await;
    let daemon = house.daemon().await;
    let handle = daemon.handle().clone();
    let told = until_told(&handle, |told| told.away.is_some() && told.waiting <= 20).await;
    assert_eq!(
        (told.waiting, told.superseded),
        (20, 0),
        "the rest was counted once"
    );
    let mut peer = replier(&replies);
    peer.order("time 20");
    for number in 11..=30 {
        assert_eq!(stdout(&parts(&peer.line()).2), format!("{number}\n"));
    }
    let took: u64 = peer.line().parse().expect("nanoseconds");
    // Twenty a second at most, less what the first may have been on its way.
    let at_least = Duration::from_millis(19 * 50 - 25);
    assert!(
        Duration::from_nanos(took) >= at_least,
        "a backlog of 20 came within {took} ns"
    );
    let store = handle.store().clone();
    drop(handle);
    until("nothing is owed any more", || {
        store.owed().expect("readable").is_empty()
    })
    .await;
    drop(store);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signs_that_xml_reserves_do_not_cost_the_record() {
    let replies = Port::reserve();
    let (house, _events) = house(&replies);
    house.script("a&b.sh", "#!/bin/sh\necho \"$@\"\n");
    house.hook(
        "signs",
        &format!(
            "name: signs\nid: 9\nprofile: hem\ntrigger: {{ api: {{ call: any }} }}\ncommand: {}\n\
             arguments: ['x < y', 'a & b', ']]>']\n",
            serde_json::Value::from("a&b.sh")
        ),
    );
    let mut peer = replier(&replies);
    let daemon = house.daemon().await;
    peer.order("answer 1");
    run_often(&daemon, "signs", 1).await;
    let (code, hook, document) = parts(&peer.line());
    assert_eq!((code, hook), (0, 9));
    assert_eq!(validate_reply(&document), Vec::<String>::new());
    assert_eq!(element(&document, "ARGUMENTS"), "x &lt; y a &amp; b ]]&gt;");
    assert!(element(&document, "COMMAND").ends_with("a&amp;b.sh x &lt; y a &amp; b ]]&gt;"));
    assert_eq!(stdout(&document), "x < y a & b ]]>\n");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_retry_message_asked_for_is_told_as_a_retry() {
    let replies = Port::reserve();
    let (house, _events) = house(&replies);
    house.script("say.sh", "#!/bin/sh\necho \"$@\"\nexit 3\n").hook(
        "saying",
        "name: saying\nid: 7\nprofile: onehem\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
         command: say.sh\narguments: a b\n",
    );
    let mut peer = replier(&replies);
    let daemon = house.daemon().await;
    peer.order("answer 2");
    run_often(&daemon, "saying", 1).await;
    let (code, _, document) = parts(&peer.line());
    assert_eq!((code, document.contains("RETRY")), (3, false));
    let retry = Event {
        key: "RETRY".to_owned(),
        facts: Facts::Retry(RetryRequest {
            hook_id: 7,
            arguments: "a b".to_owned(),
            remote_host: Some("node1".to_owned()),
        }),
        payload: Payload::new(Bytes::new()),
        ..event(&Recorded {
            key: "RETRY".to_owned(),
            content: Bytes::new(),
        })
    };
    let accepted = daemon
        .handle()
        .emit(retry, None, Actor::User { uid: 7 })
        .await
        .expect("accepted");
    assert_eq!(accepted.executions.len(), 1);
    let (code, hook, document) = parts(&peer.line());
    assert_eq!((code, hook), (3, 7));
    assert_eq!(stdout(&document), "a b\n");
    assert!(
        document.ends_with("<REMOTE_HOST>node1</REMOTE_HOST><RETRY>yes</RETRY>"),
        "{document}"
    );
    daemon.stop().await;
}
