//! Notifications of the stream become events while hem is connected: netconfd, behind OpenSSH, sends them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod netconf;
mod recorded;
mod service;
mod sshd;

use std::path::Path;

use daemon::{House, until};
use netconf::subscriber::{
    SOURCE, accepted, configure, connected, kept, listening, notes, only_gap, subscribed,
};
use netconf::{Emit, Link, Netconfd, Operator};
use nix::sys::signal::Signal;
use service::{Service, hem};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_of_the_tests_sends_what_it_is_told_to_send() {
    let house = House::new();
    let netconfd = Netconfd::start(&house, 1000).await;
    let mut operator = Operator::connect(&netconfd).await;
    let mut other = Operator::connect(&netconfd).await;
    let reply = other.ask(
        "<create-subscription xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><stream>NETCONF</stream></create-subscription>",
    );
    assert!(reply.contains("<ok/>"), "{reply}");
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(7, 2));
    for number in 7..9 {
        let notification = other.next();
        assert!(
            notification.contains(&format!("<status_message>{number}</status_message>")),
            "{notification}"
        );
    }
}

/// The elements of an event of `examples/esc`, for the server to send.
fn example(name: &str) -> Emit {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/esc/events/{name}.xml"));
    let text = std::fs::read_to_string(file).expect("an example");
    let (_, event) = text.split_once("<escEvent").expect("an event");
    let (_, elements) = event.split_once('>').expect("its elements");
    let (elements, _) = elements.split_once("</escEvent>").expect("their end");
    Emit {
        elements: elements.to_owned(),
        ..Emit::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_run_on_notifications_of_a_real_server() {
    let mut house = House::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/esc");
    house.config.hooks_dir = examples.join("hooks");
    house.config.scripts_dir = examples.join("scripts");
    let (_netconfd, _link, mut service, mut operator) = listening(&house, 1000, "").await;
    for event in [
        "vm-started",
        "vm-alive",
        "service-alive",
        "service-alive-failed",
        "vm-recovered",
    ] {
        operator.emit(&example(event));
    }
    service.until_succeeded(5).await;
    let log = hem(&house, &["log", "--json"]).await.stdout;
    let executions: Vec<serde_json::Value> = serde_json::from_str(&log).expect("a list");
    let mut ran = Vec::new();
    for execution in executions {
        let id = execution["id"].as_str().expect("an id");
        ran.push(hem(&house, &["show", id, "--full"]).await.stdout);
    }
    for said in [
        "VM_STARTED SUCCESS via netconf: t1 dep1 1dd943b9-93a4-4987-b26b-1b8fd2647700",
        "VM_ALIVE SUCCESS via netconf: dep1 1dd943b9-93a4-4987-b26b-1b8fd2647700 ucs-7",
        "SERVICE_ALIVE SUCCESS via netconf: t1 dep1",
        "SERVICE_ALIVE FAILURE via netconf: t1 dep1 Service group reboot failed",
        "VM_RECOVERY_COMPLETE SUCCESS via netconf: 1dd943b9-93a4-4987-b26b-1b8fd2647700 22d210a1-15e1-4e2b-a7a9-9796ec7b2500 ucs-8",
    ] {
        assert_eq!(
            ran.iter().filter(|shown| shown.contains(said)).count(),
            1,
            "{said}: {ran:#?}"
        );
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_a_thousand_events_arrives_whole_and_in_order() {
    let house = House::new();
    let (_netconfd, _link, mut service, mut operator) = listening(&house, 5000, ", keepalive: 20s").await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 1000));
    let status = accepted(&mut service, 1000).await;
    let sums = &status.events[SOURCE];
    assert_eq!((sums.undecodable, sums.lost, sums.gaps), (0, 0, 0), "{sums:?}");
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!(status.sources[SOURCE].connects, 1, "one session brought them all");
    service.stop().await;
    let kept = kept(&house);
    let messages: Vec<u32> = kept
        .events
        .iter()
        .map(|(_, message)| message.parse().expect("a number"))
        .collect();
    assert_eq!(messages, (1..=1000).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_equal_each_other_are_as_many_events() {
    let house = House::new();
    let (_netconfd, link, mut service, mut operator) = listening(&house, 5000, "").await;
    // Within one second of the server's clock: it writes no fractions.
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").times(20));
    operator.emit(&Emit::step("SERVICE_ALIVE", "SUCCESS"));
    accepted(&mut service, 21).await;
    // The replay overlaps with what was accepted, and brings all of them again.
    link.cut();
    connected(&mut service, 2).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").times(5));
    let status = accepted(&mut service, 26).await;
    let sums = &status.events[SOURCE];
    assert!(sums.duplicate >= 1 && sums.adds_up, "{sums:?}");
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(
        (kept.of_type("VM_ALIVE"), kept.of_type("SERVICE_ALIVE"), kept.gaps),
        (25, 1, Vec::new())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_of_other_modules_are_counted_and_are_no_events() {
    let house = House::new();
    notes(&house);
    let netconfd = Netconfd::start(&house, 1000).await;
    let link = Link::to(netconfd.door.sshd.port);
    configure(&house, &netconfd.settings(&link, ""));
    let mut service = subscribed(&house).await;
    // Its own module tells of this session, and of what it changes, on the same stream.
    let mut operator = Operator::connect(&netconfd).await;
    operator.deploy("t1", "dep1", "SERVICE_ACTIVE_STATE");
    operator.emit(&Emit::step("SERVICE_ALIVE", "SUCCESS"));
    let status = service.until_succeeded(1).await;
    let others = status.sources[SOURCE].refused.get("another module");
    assert!(
        others.is_some_and(|count| *count >= 2),
        "a session began and a setting changed: {:?}",
        status.sources[SOURCE]
    );
    assert!(status.events[SOURCE].adds_up);
    assert_eq!(
        house.lines("notes"),
        ["SERVICE_ALIVE SUCCESS netconf deployment/t1/dep1 "]
    );
    service.stop().await;
    let kept = kept(&house);
    assert_eq!((kept.events.len(), kept.undecodable), (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_open_link_is_noticed_and_nothing_is_lost_by_it() {
    let house = House::new();
    let (_netconfd, link, mut service, mut operator) = listening(&house, 1000, ", keepalive: 500ms").await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 1));
    accepted(&mut service, 1).await;
    // Nobody is told that the link is dead: no end, no error, only silence.
    link.freeze();
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(2, 3));
    let status = connected(&mut service, 2).await;
    let error = status.sources[SOURCE].last_error.as_ref().expect("a reason");
    assert!(
        error.message.contains("keepalive") || error.message.contains("answer"),
        "{error:?}"
    );
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(5, 1));
    accepted(&mut service, 5).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 5), (Vec::new(), Vec::new()));
    assert_eq!(kept.gaps, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stands_still_for_a_while_goes_on_where_it_was() {
    let house = House::new();
    let (netconfd, link, mut service, mut operator) = listening(&house, 1000, ", keepalive: 1s").await;
    // sshd answers for the connection all the same, so nothing is wrong with it.
    netconfd.signal(Signal::SIGSTOP);
    let received = link.received();
    until("sshd has answered some keepalives", || {
        link.received() >= received + 100
    })
    .await;
    netconfd.signal(Signal::SIGCONT);
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 2));
    let status = accepted(&mut service, 2).await;
    assert_eq!(status.sources[SOURCE].connects, 1, "{:?}", status.sources[SOURCE]);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_was_killed_is_come_back_to_with_a_gap_that_shows_the_deployments_there_are() {
    let house = House::new();
    let (mut netconfd, link, mut service, mut operator) = listening(&house, 1000, ", reconcile: true").await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(1, 2));
    accepted(&mut service, 2).await;

    // Its log is in its memory, so nobody can say what happened in between.
    link.take_down();
    netconfd.kill();
    service
        .until("it has noticed", |status| !status.sources[SOURCE].connected)
        .await;
    netconfd.start_again().await;
    let mut operator = Operator::connect(&netconfd).await;
    operator.deploy("t1", "dep-still-there", "SERVICE_ACTIVE_STATE");
    link.repair();
    connected(&mut service, 2).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS").numbered(3, 2));
    let status = accepted(&mut service, 4).await;
    assert_eq!(status.events[SOURCE].gaps, 1, "{:?}", status.events[SOURCE]);
    let shown = only_gap(&house).await;
    assert!(
        shown.contains("dep-still-there") && shown.contains("SERVICE_ACTIVE_STATE"),
        "{shown}"
    );
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 4), (Vec::new(), Vec::new()));
    assert_eq!(kept.gaps.len(), 1, "{:?}", kept.gaps);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    let house = House::new();
    let mut netconfd = Netconfd::start(&house, 1000).await;
    let link = Link::to(netconfd.door.sshd.port);
    configure(&house, &netconfd.settings(&link, ""));
    netconfd.kill();
    link.take_down();
    let mut service = Service::start(&house);
    service
        .until("it has tried and says so", |status| {
            status
                .sources
                .get(SOURCE)
                .is_some_and(|source| source.last_error.is_some())
        })
        .await;
    // sshd is back before the server behind it.
    link.repair();
    until("it has tried sshd", || link.received() > 0).await;
    netconfd.start_again().await;
    connected(&mut service, 1).await;
    let mut operator = Operator::connect(&netconfd).await;
    operator.emit(&Emit::step("VM_ALIVE", "SUCCESS"));
    accepted(&mut service, 1).await;
    service.stop().await;
}
