//! What was missed comes back: whole daemons, and a stand-in for `oned` whose resources change while nobody listens.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::time::Duration;

use bytes::Bytes;
use daemon::{House, until, until_found, until_settled};
use hem::config::{self, OpennebulaSource, Source};
use hem::daemon::Daemon;
use hem::engine::handle::{CatchUpStatus, GapStory, Handle, NotedOnly, Status};
use hem::event::id::Seq;
use hem::event::opennebula::key::Key;
use hem::event::opennebula::pool::{pool_page, resource_entry};
use hem::event::opennebula::{Layout, Resource, resource_element};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Facts, Kind};
use hem::store::{EventQuery, ListedEvent};
use oned_stand_in::Oned;
use serde_json::json;
use service::{Service, configure, hem};

/// A house whose daemon asks this `oned`, with a script that notes what it is run for.
fn house(oned: &Oned) -> House {
    let mut house = House::new();
    let source = OpennebulaSource {
        endpoint: oned.events().to_owned(),
        replies: oned.replies().to_owned(),
        ..OpennebulaSource::default()
    };
    let auth = house.path("one_auth");
    std::fs::write(&auth, oned.session()).expect("a file");
    house
        .config
        .sources
        .insert("opennebula".to_owned(), Source::Opennebula(source));
    house.config.oned = Some(config::Oned {
        endpoint: oned.xmlrpc().parse().expect("an endpoint"),
        auth: vec![auth],
        source: "opennebula".to_owned(),
        hooks: false,
        leader_only: false,
        catch_up: false,
        max_gap: Duration::from_secs(900),
        look_every: None,
    });
    let ran = house.path("ran").display().to_string();
    house.script(
        "note.sh",
        &format!("#!/bin/sh\necho \"$HEM_HOOK $HEM_SUBJECT $1 ${{HEM_SYNTHESISED:-live}}\" >> {ran}\n"),
    );
    house
}

/// A hook on every state of a kind of resource, which notes the state; `more` is further YAML.
fn on_states(house: &House, name: &str, resource: &str, more: &str) {
    let lcm_state = if resource == "VM" { ", lcm_state: any" } else { "" };
    house.hook(
        name,
        &format!(
            "name: {name}\ntrigger: {{ state: {{ resource: {resource}, state: any{lcm_state} }} }}\ncommand: note.sh\n\
             arguments: ['${{{{ meta.state }}}}']\nloop_guard: off\n{more}"
        ),
    );
}

async fn catch_up(handle: &Handle) -> Option<CatchUpStatus> {
    let status = handle.status().await.expect("a status");
    status.sources["opennebula"].catch_up.clone()
}

/// Waits until catching up has come so far.
async fn until_it_is(handle: &Handle, what: &str, holds: impl Fn(&CatchUpStatus) -> bool) -> CatchUpStatus {
    until_found(what, async || match catch_up(handle).await {
        Some(status) if holds(&status) => Ok(status),
        other => Err(other),
    })
    .await
}

/// Waits until the gap with this record is caught up with.
async fn until_closed(handle: &Handle, gaps: usize) -> GapStory {
    until_it_is(handle, &format!("{gaps} gaps are there and closed"), |status| {
        status.as_of.is_some() && status.open_since.is_none() && events(handle, Kind::Gap).len() >= gaps
    })
    .await;
    handle.pulse().await.expect("a pulse");
    let newest = events(handle, Kind::Gap).pop();
    newest.map_or_else(GapStory::default, |gap| {
        let story = handle.store().gap_story(gap.event.seq).expect("a store");
        story.expect("a story")
    })
}

/// Events of a kind, oldest first.
fn events(handle: &Handle, kind: Kind) -> Vec<ListedEvent> {
    let query = EventQuery {
        kind: Some(kind),
        limit: usize::MAX,
        ..EventQuery::default()
    };
    let mut events = handle.store().events(&query).expect("a store");
    events.reverse();
    events
}

/// The states that hem raised, with the resource, in their order.
fn raised(handle: &Handle) -> Vec<String> {
    events(handle, Kind::State)
        .into_iter()
        .filter(|listed| listed.event.synthesised)
        .map(|listed| {
            let Facts::State(change) = &listed.event.facts else {
                panic!("a state")
            };
            format!(
                "{} {}",
                listed.event.subject.clone().expect("a subject"),
                change.state
            )
        })
        .collect()
}

/// Waits until the daemon has noted all states for the first time.
async fn until_known(daemon: &Daemon) {
    until_it_is(daemon.handle(), "the states are known", |status| {
        status.as_of.is_some()
    })
    .await;
}

fn vm_unheard(oned: &mut Oned, id: u64, state: &str) {
    oned.tell(json!({ "do": "vm", "id": id, "state": state, "publish": false }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_state_that_was_missed_is_raised_once_and_only_for_hooks_that_ask_for_it() {
    let mut oned = Oned::start(&[]);
    oned.vm(12, "ACTIVE", "RUNNING");
    let house = house(&oned);
    on_states(&house, "wants", "VM", "catch_up: true\n");
    on_states(&house, "wants-not", "VM", "");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    oned.wait_for_subscriber();
    oned.vm(12, "ACTIVE", "BOOT_POWEROFF");
    until_settled(daemon.handle(), 1).await;

    // The publisher is away while the VM goes through several states; the present one counts.
    oned.tell(json!({ "do": "vm", "id": 12, "state": "SUSPENDED", "publish": false }));
    oned.tell(json!({ "do": "vm", "id": 12, "state": "POWEROFF", "publish": false, "host": "node1" }));
    oned.tell(json!({ "do": "kill" }));
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!((story.raised, story.live, story.noted_only), (1, 0, None));
    until_settled(daemon.handle(), 2).await;
    assert_eq!(raised(daemon.handle()), ["vm/12 POWEROFF"]);
    let mut lines = house.lines("ran");
    lines.sort();
    assert_eq!(
        lines,
        [
            "wants vm/12 ACTIVE live",
            "wants vm/12 POWEROFF 1",
            "wants-not vm/12 ACTIVE live"
        ]
    );

    let event = events(daemon.handle(), Kind::State)
        .pop()
        .expect("an event")
        .event;
    let Facts::State(change) = &event.facts else {
        panic!("a state")
    };
    assert_eq!(event.key, "EVENT STATE VM/POWEROFF/LCM_INIT/12 ");
    assert_eq!(change.host.as_deref(), Some("node1"));
    let former = (
        change.previous_state.as_deref(),
        change.previous_lcm_state.as_deref(),
    );
    assert_eq!(former, (Some("ACTIVE"), Some("BOOT_POWEROFF")));

    // Another gap, in which nothing happened.
    oned.tell(json!({ "do": "kill" }));
    let story = until_closed(daemon.handle(), 2).await;
    assert_eq!((story.raised, story.live), (0, 0));
    assert_eq!(raised(daemon.handle()).len(), 1);

    let gap = events(daemon.handle(), Kind::Gap)[0].event.seq;
    let said = hem(&house, &["show", &gap.to_string()]).await.stdout;
    assert!(
        said.contains("1 state raised") && said.contains("Caught up"),
        "{said}"
    );
    let said = hem(&house, &["show", &event.seq.to_string()]).await.stdout;
    assert!(said.contains("raised by hem after a gap"), "{said}");
    let config = configure(&house, "").display().to_string();
    let said = hem(&house, &["--config", &config, "match", &event.seq.to_string()]).await;
    let why = "the hook does not ask for catch-up";
    assert!(said.stdout.contains(why), "{said:?}");
    let said = hem(&house, &["events"]).await.stdout;
    assert!(said.contains("(synthesised)"), "{said}");
    let said = hem(&house, &["status"]).await.stdout;
    assert!(said.contains("caught up: 1 raised, 0 came live first"), "{said}");
    let said = hem(&house, &["metrics"]).await.stdout;
    let line = "hem_missed_states_total{source=\"opennebula\",outcome=\"raised\"} 1";
    assert!(said.contains(line), "{said}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_first_start_is_a_baseline_and_raises_nothing() {
    let mut oned = Oned::start(&[]);
    for id in 0..250 {
        vm_unheard(&mut oned, id, if id == 7 { "DONE" } else { "POWEROFF" });
    }
    oned.tell(json!({ "do": "host", "id": 0, "publish": false }));
    oned.tell(json!({ "do": "image", "id": 0, "publish": false }));
    oned.tell(json!({ "do": "vnet", "id": 0, "publish": false }));
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").catch_up = true;
    for resource in ["VM", "HOST", "IMAGE", "NET"] {
        on_states(&house, &resource.to_lowercase(), resource, "");
    }
    let daemon = house.daemon().await;
    let status = until_it_is(daemon.handle(), "the states are known", |status| {
        status.as_of.is_some()
    })
    .await;
    assert_eq!(status.known, 249 + 3);
    assert_eq!(raised(daemon.handle()), Vec::<String>::new());
    assert_eq!(daemon.summary().last_seq, Seq(0));
    daemon.stop().await;

    // The next life holds the present states against it, of all kinds of resources; what is gone is forgotten.
    vm_unheard(&mut oned, 200, "DONE");
    vm_unheard(&mut oned, 249, "SUSPENDED");
    vm_unheard(&mut oned, 300, "PENDING");
    oned.tell(json!({ "do": "forget", "kind": "vm", "id": 3 }));
    oned.tell(json!({ "do": "host", "id": 0, "state": "ERROR", "publish": false }));
    oned.tell(json!({ "do": "image", "id": 0, "state": "USED", "publish": false }));
    oned.tell(json!({ "do": "vnet", "id": 0, "state": "ERROR", "publish": false }));
    let daemon = house.daemon().await;
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!((story.raised, story.noted_only), (6, None));
    let status = catch_up(daemon.handle()).await.expect("a status");
    assert_eq!(status.known, 249 + 3 - 1);
    let mut all = raised(daemon.handle());
    assert_eq!(all[0], "host/0 ERROR", "hosts come first");
    all.sort();
    assert_eq!(
        all,
        [
            "host/0 ERROR",
            "image/0 USED",
            "net/0 ERROR",
            "vm/200 DONE",
            "vm/249 SUSPENDED",
            "vm/300 PENDING"
        ]
    );
    until_settled(daemon.handle(), 6).await;
    assert_eq!(house.lines("ran").len(), 6);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_vm_that_is_done_meanwhile_is_raised_as_done() {
    let mut oned = Oned::start(&["--list-order", "DESC"]);
    for id in 0..5 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    let house = house(&oned);
    house.hook(
        "done",
        "name: done\ntrigger: { state: { resource: VM, on: DONE } }\ncommand: note.sh\narguments: [DONE]\ncatch_up: true\n",
    );
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    vm_unheard(&mut oned, 3, "DONE");
    oned.tell(json!({ "do": "kill" }));
    until_closed(daemon.handle(), 1).await;
    until_settled(daemon.handle(), 1).await;
    assert_eq!(house.lines("ran"), ["done vm/3 DONE 1"]);
    // It stays done: nobody asks for it again.
    oned.tell(json!({ "do": "kill" }));
    until_closed(daemon.handle(), 2).await;
    let asked = oned.calls().iter().filter(|call| *call == "one.vm.info").count();
    assert_eq!(asked, 1);
    assert_eq!(house.lines("ran").len(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_are_raised_at_a_pace_and_a_live_event_meanwhile_wins() {
    let mut oned = Oned::start(&[]);
    for id in 0..100 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    let house = house(&oned);
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    for id in 0..100 {
        vm_unheard(&mut oned, id, "SUSPENDED");
    }
    oned.tell(json!({ "do": "kill" }));
    until_it_is(daemon.handle(), "the first is raised", |status| {
        status.totals.raised > 0
    })
    .await;
    // They are raised in the order of their numbers, and this one is far behind.
    oned.wait_for_subscriber();
    oned.vm(99, "HOLD", "LCM_INIT");
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!((story.raised, story.live), (99, 1));
    until_settled(daemon.handle(), 100).await;
    let lines = house.lines("ran");
    assert_eq!(lines.len(), 100);
    assert!(lines.contains(&"wants vm/99 HOLD live".to_owned()));
    assert!(!lines.iter().any(|line| line.contains("vm/99 SUSPENDED")));
    let times: Vec<_> = events(daemon.handle(), Kind::State)
        .into_iter()
        .filter(|listed| listed.event.synthesised)
        .map(|listed| listed.event.received)
        .collect();
    let took = times[98].since(times[0]);
    assert!(
        took >= Duration::from_millis(98 * 50 - 100),
        "at most twenty a second: {took:?}"
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_gap_that_was_too_long_is_not_caught_up_with_and_says_so() {
    let mut oned = Oned::start(&[]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").max_gap = Duration::from_millis(1);
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.tell(json!({ "do": "kill" }));
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!((story.raised, story.noted_only), (0, Some(NotedOnly::TooOld)));
    let gap = events(daemon.handle(), Kind::Gap)[0].event.seq;
    let said = hem(&house, &["show", &gap.to_string()]).await.stdout;
    assert!(said.contains("the gap was longer than `max_gap`"), "{said}");
    daemon.stop().await;

    // What was noted is what the next gap is held against.
    house.config.oned.as_mut().expect("oned").max_gap = Duration::from_secs(900);
    let daemon = house.daemon().await;
    let story = until_closed(daemon.handle(), 2).await;
    assert_eq!((story.raised, story.noted_only), (0, None));
    assert_eq!(house.lines("ran"), Vec::<String>::new());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_oned_that_cannot_be_asked_is_asked_again_until_it_can() {
    let mut oned = Oned::start(&[]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    let house = house(&oned);
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    vm_unheard(&mut oned, 1, "SUSPENDED");
    for (gaps, (how, says)) in [
        ("http500", "status 500"),
        ("garbage", "cannot be read"),
        ("auth", "refused"),
    ]
    .into_iter()
    .enumerate()
    {
        oned.tell(json!({ "do": "break", "method": "one.vmpool.infoextended", "how": how }));
        oned.tell(json!({ "do": "kill" }));
        let status = until_it_is(daemon.handle(), how, |status| {
            let error = status.last_error.as_ref();
            error.is_some_and(|(_, why)| why.contains(says))
        })
        .await;
        assert!(status.open_since.is_some());
        let concerns = hem(&house, &["status", "--check"]).await;
        assert!(
            concerns
                .stdout
                .contains("what source `opennebula` missed cannot be asked for"),
            "{concerns:?}"
        );
        oned.tell(json!({ "do": "mend" }));
        let story = until_closed(daemon.handle(), gaps + 1).await;
        assert!(story.failures > 0 && story.finished.is_some());
    }
    until_settled(daemon.handle(), 1).await;
    assert_eq!(house.lines("ran"), ["wants vm/1 SUSPENDED 1"]);

    // Away altogether, with the publisher, and back.
    oned.tell(json!({ "do": "down" }));
    vm_unheard(&mut oned, 1, "POWEROFF");
    oned.tell(json!({ "do": "up" }));
    until_closed(daemon.handle(), 4).await;
    until_settled(daemon.handle(), 2).await;
    assert_eq!(house.lines("ran")[1..], ["wants vm/1 POWEROFF 1"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_another_front_end_led_through_is_not_caught_up_with() {
    let mut oned = Oned::start(&["--raft", "LEADER"]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").leader_only = true;
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;

    // The hem beside the one that leads ran what there was to run.
    oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    until_it_is(daemon.handle(), "nothing is known any more", |status| {
        status.as_of.is_none()
    })
    .await;
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.tell(json!({ "do": "raft", "state": "LEADER" }));
    until_known(&daemon).await;
    assert_eq!(raised(daemon.handle()), Vec::<String>::new());

    // From then on this one does.
    vm_unheard(&mut oned, 1, "POWEROFF");
    oned.tell(json!({ "do": "kill" }));
    until_closed(daemon.handle(), 1).await;
    assert_eq!(raised(daemon.handle()), ["vm/1 POWEROFF"]);
    daemon.stop().await;

    // Nor is it forgotten by a restart of the one that leads.
    vm_unheard(&mut oned, 1, "SUSPENDED");
    let daemon = house.daemon().await;
    until_it_is(daemon.handle(), "it is raised", |status| {
        status.totals.raised == 2
    })
    .await;
    until("both ran", || house.lines("ran").len() == 2).await;
    assert_eq!(
        house.lines("ran"),
        ["wants vm/1 POWEROFF 1", "wants vm/1 SUSPENDED 1"]
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_dropped_without_a_gap_is_found_by_looking_twice() {
    let mut oned = Oned::start(&[]);
    for id in 1..=2 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    let mut house = house(&oned);
    let asked = house.config.oned.as_mut().expect("oned");
    asked.look_every = Some(Duration::from_secs(1));
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    oned.wait_for_subscriber();

    // The hook manager says nothing of one, and the other one's event comes.
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.vm(2, "SUSPENDED", "LCM_INIT");
    let before = polls(&mut oned);
    until("both ran", || house.lines("ran").len() == 2).await;
    let status = until_it_is(daemon.handle(), "it is counted", |status| {
        status.totals.raised == 1
    })
    .await;
    assert_eq!(status.open_since, None);
    assert_eq!(raised(daemon.handle()), ["vm/1 SUSPENDED"]);
    let mut ran = house.lines("ran");
    ran.sort();
    assert_eq!(ran, ["wants vm/1 SUSPENDED 1", "wants vm/2 SUSPENDED live"]);
    let took = polls(&mut oned) - before;
    assert!(
        took >= 4,
        "one look may only meet an event on its way: {took} pools were asked for"
    );

    // It is told once, and what ends is found as well.
    vm_unheard(&mut oned, 2, "DONE");
    until_it_is(daemon.handle(), "its end is found", |status| {
        status.totals.raised == 2
    })
    .await;
    let looked = polls(&mut oned);
    oned.tell(json!({ "do": "wait", "method": "one.hostpool.info", "calls": looked / 2 + 3 }));
    assert_eq!(raised(daemon.handle()), ["vm/1 SUSPENDED", "vm/2 DONE"]);
    assert_eq!(events(daemon.handle(), Kind::Gap).len(), 0);
    daemon.stop().await;
}

/// How often pools of resources were asked for.
fn polls(oned: &mut Oned) -> usize {
    let is_poll = |call: &String| call == "one.hostpool.info" || call == "one.vmpool.infoextended";
    oned.calls().into_iter().filter(is_poll).count()
}

/// Waits until `oned` was asked twice more whether it leads: what was to come of its first answer has come.
fn asked_twice_more(oned: &mut Oned) {
    let asked = oned
        .calls()
        .iter()
        .filter(|call| *call == "one.zone.raftstatus")
        .count();
    oned.tell(json!({ "do": "wait", "method": "one.zone.raftstatus", "calls": asked + 2 }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_with_an_open_gap_asks_for_nothing_until_it_leads() {
    let mut oned = Oned::start(&["--raft", "LEADER"]);
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").leader_only = true;
    on_states(&house, "wants", "VM", "catch_up: true\n");
    vm_unheard(&mut oned, 1, "POWEROFF");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    daemon.stop().await;

    // Nobody says who leads: what was missed stays so, and nothing is asked for.
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.tell(json!({ "do": "break", "method": "one.zone.raftstatus", "how": "auth" }));
    let before = polls(&mut oned);
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    asked_twice_more(&mut oned);
    daemon.handle().pulse().await.expect("a pulse");
    assert_eq!(polls(&mut oned), before);
    assert_eq!(raised(daemon.handle()), Vec::<String>::new());

    // As soon as it leads, what was missed runs, once: what was known is kept.
    oned.tell(json!({ "do": "mend" }));
    until_closed(daemon.handle(), 1).await;
    assert!(polls(&mut oned) > before);
    assert_eq!(raised(daemon.handle()), ["vm/1 SUSPENDED"]);
    until("it ran", || !house.lines("ran").is_empty()).await;
    daemon.stop().await;

    // A start beside a follower: the leader's hem runs what was missed here, so this one forgets it, and asks for nothing.
    vm_unheard(&mut oned, 1, "POWEROFF");
    oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    let before = polls(&mut oned);
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    until_it_is(daemon.handle(), "nothing is known any more", |status| {
        status.as_of.is_none() && status.open_since.is_none()
    })
    .await;
    asked_twice_more(&mut oned);
    daemon.handle().pulse().await.expect("a pulse");
    assert_eq!(polls(&mut oned), before);

    // Once it leads it asks, notes what is, and goes on from there.
    oned.tell(json!({ "do": "raft", "state": "LEADER" }));
    until_known(&daemon).await;
    assert!(polls(&mut oned) > before);
    assert_eq!(raised(daemon.handle()), ["vm/1 SUSPENDED"]);
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.tell(json!({ "do": "kill" }));
    let twice = ["wants vm/1 SUSPENDED 1", "wants vm/1 SUSPENDED 1"];
    until("what is missed from now on runs", || house.lines("ran") == twice).await;
    daemon.stop().await;
}

/// 200 VMs that no hook wants to know of: what counts is what is raised.
async fn suspended_unheard(oned: &mut Oned, daemon: &Daemon) {
    until_known(daemon).await;
    for id in 0..200 {
        vm_unheard(oned, id, "SUSPENDED");
    }
    oned.tell(json!({ "do": "kill" }));
    until_it_is(daemon.handle(), "the first is raised", |status| {
        status.totals.raised > 0
    })
    .await;
}

/// Waits until hem stands by, in the middle of raising 200 states; gives how many were raised until then.
async fn until_standby(handle: &Handle) -> usize {
    until_status(handle, |status| {
        status.role.as_ref().is_some_and(|role| role.why().is_some())
    })
    .await;
    handle.pulse().await.expect("a pulse");
    let raised = raised(handle).len();
    assert!(raised < 190, "the lead was lost too late to tell anything");
    raised
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_asked_for_before_the_lead_was_lost_is_not_raised_when_it_is_back() {
    let mut oned = Oned::start(&["--raft", "LEADER"]);
    for id in 0..200 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").leader_only = true;
    on_states(&house, "wants", "HOST", "catch_up: true\n");
    let daemon = house.daemon().await;
    suspended_unheard(&mut oned, &daemon).await;

    // Another front-end leads, and runs what there is to run.
    oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    let before = until_standby(daemon.handle()).await;
    until_it_is(daemon.handle(), "nothing is known any more", |status| {
        status.as_of.is_none()
    })
    .await;
    oned.tell(json!({ "do": "raft", "state": "LEADER" }));
    until_known(&daemon).await;
    assert_eq!(raised(daemon.handle()).len(), before);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_a_time_without_a_role_it_is_asked_anew() {
    let mut oned = Oned::start(&["--raft", "LEADER"]);
    for id in 0..200 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    let mut house = house(&oned);
    house.config.oned.as_mut().expect("oned").leader_only = true;
    on_states(&house, "wants", "HOST", "catch_up: true\n");
    let daemon = house.daemon().await;
    suspended_unheard(&mut oned, &daemon).await;

    oned.tell(json!({ "do": "break", "method": "one.zone.raftstatus", "how": "auth" }));
    let before = until_standby(daemon.handle()).await;
    // What is not raised yet goes back to what it was: there is nothing to tell of it any more.
    for id in 0..200 {
        vm_unheard(&mut oned, id, "POWEROFF");
    }
    oned.tell(json!({ "do": "mend" }));
    until_closed(daemon.handle(), 1).await;
    let all = raised(daemon.handle());
    let suspended = all.iter().filter(|what| what.ends_with(" SUSPENDED")).count();
    assert_eq!((suspended, all.len()), (before, 2 * before));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_refused_on_standby_is_not_taken_for_heard() {
    let mut oned = Oned::start(&["--raft", "LEADER"]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    let mut house = house(&oned);
    let asked = house.config.oned.as_mut().expect("oned");
    (asked.leader_only, asked.max_gap) = (true, Duration::from_secs(4));
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    oned.wait_for_subscriber();
    oned.tell(json!({ "do": "break", "method": "one.zone.raftstatus", "how": "auth" }));
    until_standby(daemon.handle()).await;
    until_it_is(daemon.handle(), "it is too long ago", |status| {
        status
            .as_of
            .is_some_and(|heard| Timestamp::now().since(heard) > Duration::from_secs(5))
    })
    .await;
    vm_unheard(&mut oned, 1, "SUSPENDED");

    // The connection, which was up all the time, breaks just now.
    oned.tell(json!({ "do": "kill" }));
    oned.wait_for_subscriber();
    oned.tell(json!({ "do": "mend" }));
    until_it_is(daemon.handle(), "the states are only noted", |status| {
        status.open_since.is_none() && status.totals.rebuilt == 1
    })
    .await;
    assert_eq!(raised(daemon.handle()), Vec::<String>::new());
    daemon.stop().await;
}

/// Waits until the daemon's status is so.
async fn until_status(handle: &Handle, holds: impl Fn(&Status) -> bool) {
    until_found("the status is so", async || {
        let status = handle.status().await.expect("a status");
        if holds(&status) { Ok(()) } else { Err(status) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_resource_that_cannot_be_read_holds_up_no_other() {
    let mut oned = Oned::start(&[]);
    oned.tell(json!({ "do": "host", "id": 0, "name": "a </b> c", "publish": false }));
    oned.tell(json!({ "do": "host", "id": 1, "publish": false }));
    oned.tell(json!({ "do": "image", "id": 0, "publish": false }));
    let house = house(&oned);
    on_states(&house, "wants", "IMAGE", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    oned.tell(json!({ "do": "host", "id": 1, "state": "ERROR", "publish": false }));
    oned.tell(json!({ "do": "image", "id": 0, "state": "USED", "publish": false }));
    oned.tell(json!({ "do": "kill" }));
    until_closed(daemon.handle(), 1).await;
    assert_eq!(raised(daemon.handle()), ["host/1 ERROR", "image/0 USED"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hooks_of_oned_get_what_was_missed_where_the_configuration_says_so() {
    let mut oned = Oned::start(&[]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    oned.create_hook(
        "NAME = hung\nTYPE = state\nRESOURCE = VM\nON = CUSTOM\nSTATE = SUSPENDED\nLCM_STATE = LCM_INIT\n\
         COMMAND = note.sh\nARGUMENTS = hung\n",
    );
    let mut house = house(&oned);
    house.config.onehem_scripts_dir = house.config.scripts_dir.clone();
    let asked = house.config.oned.as_mut().expect("oned");
    (asked.hooks, asked.catch_up) = (true, true);
    let daemon = house.daemon().await;
    until_status(daemon.handle(), |status| {
        status.pool.as_ref().is_some_and(|pool| pool.hooks == 1)
    })
    .await;
    until_known(&daemon).await;
    oned.wait_for_subscriber();
    vm_unheard(&mut oned, 1, "SUSPENDED");
    oned.tell(json!({ "do": "kill" }));
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!(story.raised, 1);
    until("it ran", || !house.lines("ran").is_empty()).await;
    until_settled(daemon.handle(), 0).await;
    let lines = house.lines("ran");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].ends_with(" vm/1 hung 1"), "{lines:?}");
    daemon.stop().await;
}

/// Ends a daemon at a point of its work, and lets the next one live.
async fn ends_at(point: &str) {
    let mut oned = Oned::start(&[]);
    vm_unheard(&mut oned, 1, "POWEROFF");
    let house = house(&oned);
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let asked = format!(
        "oned: {{ endpoint: \"{}\", auth: one_auth, hooks: none }}\n",
        oned.xmlrpc()
    );
    configure(&house, &asked);
    let is_known = |status: &hem::control::api::StatusView| {
        let catch_up = status.sources["opennebula"].catch_up.as_ref();
        catch_up.is_some_and(|catch_up| catch_up.as_of.is_some() && catch_up.open_since.is_none())
    };
    let mut first = Service::start(&house);
    first.until("the states are known", is_known).await;
    first.stop().await;
    vm_unheard(&mut oned, 1, "SUSPENDED");

    let environment = ["env".to_owned(), format!("HEM_KILL_POINT={point}")];
    let mut second = Service::start_by(&house, &environment, &[]);
    second.ended().await;
    let mut third = Service::start(&house);
    third
        .until("all is caught up with and run", |status| {
            is_known(status) && status.executions.get("succeeded") == Some(&1)
        })
        .await;
    let said = hem(&house, &["events", "--kind", "state", "--json"]).await;
    let events: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(events.len(), 1, "{point}: {}", said.stdout);
    assert_eq!(events[0]["synthesised"], true);
    assert_eq!(house.lines("ran"), ["wants vm/1 SUSPENDED 1"], "{point}");
    third.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_between_raising_and_running_leaves_one_run() {
    // The first batch with a change is the record of the gap, the second one the raised event.
    for point in ["mid-batch:1", "mid-batch:2", "after-accept:2", "before-spawn"] {
        ends_at(point).await;
    }
}

/// The recorded messages of state changes, rebuilt from nothing but the element in them.
#[test]
fn what_is_raised_is_byte_for_byte_what_oned_would_have_sent() {
    let mut rebuilt = 0;
    for event in recorded::events() {
        let Key::State { resource, .. } = Key::parse(&event.key) else {
            continue;
        };
        let document = String::from_utf8(event.content.to_vec()).expect("text");
        let payload = Payload::new(Bytes::from(document.clone().into_bytes()));
        let element = resource_element(&payload, Layout::AsReceived).expect("an element");
        let element = std::str::from_utf8(&element).expect("text");
        let pool = format!("<{0}_POOL>{element}</{0}_POOL>", resource.element_name());
        let page = pool_page(&pool, &resource).expect("a pool");
        let [entry] = page.entries.as_slice() else {
            panic!("one resource in {pool}")
        };
        assert_eq!(resource_entry(element, &resource).as_ref(), Ok(entry));
        let message = entry.message().expect("a state that is known");
        assert_eq!(message.key, event.key);
        // What an owner wrote there is not escaped by oned, and is here.
        let is_escaped = resource == Resource::Vm
            && message.document.contains("<SERVICE_ID>")
            && document.contains("<SERVICE_ID>7 8/9<");
        assert!(message.document == document || is_escaped, "{}", event.key);
        rebuilt += 1;
    }
    assert!(rebuilt > 100, "{rebuilt}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_lost_for_want_of_room_is_raised_when_there_is_room() {
    let mut oned = Oned::start(&[]);
    oned.vm(5, "ACTIVE", "RUNNING");
    let mut house = house(&oned);
    house.config.limits.max_backlog = 1;
    let go = house.path("go").display().to_string();
    house.script(
        "wait.sh",
        &format!("#!/bin/sh\nwhile [ ! -e {go} ]; do sleep 0.05; done\n"),
    );
    house.hook(
        "waits",
        "name: waits\ntrigger: { state: { resource: HOST, state: any } }\ncommand: wait.sh\n",
    );
    on_states(&house, "wants", "VM", "catch_up: true\n");
    let daemon = house.daemon().await;
    until_known(&daemon).await;
    oned.wait_for_subscriber();
    for id in 0..2 {
        oned.tell(json!({ "do": "host", "id": id, "state": "ERROR" }));
    }
    until_status(daemon.handle(), |status| status.not_accepting.is_some()).await;
    oned.vm(5, "HOLD", "LCM_INIT");
    until_status(daemon.handle(), |status| {
        status
            .events
            .get("opennebula")
            // One change, published under two keys.
            .is_some_and(|counters| counters.lost == 2)
    })
    .await;
    vm_unheard(&mut oned, 5, "SUSPENDED");
    std::fs::write(house.path("go"), "").expect("a file");
    let story = until_closed(daemon.handle(), 1).await;
    assert_eq!((story.raised, story.noted_only), (1, None));
    assert_eq!(raised(daemon.handle()), ["vm/5 SUSPENDED"]);
    daemon.stop().await;
}
