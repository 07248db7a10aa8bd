//! An existing Masakari is read: every notification and every change of its status is an event, once.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod authority;
mod daemon;
mod http_stand_in;
mod peers;
mod recorded;
mod service;

use std::collections::BTreeSet;
use std::process::Command;

use authority::certify;
use daemon::{House, until};
use hem::event::Kind;
use hem::store::{EventQuery, Store};
use http_stand_in::StandIn;
use serde_json::json;
use service::Service;

/// A house whose hook writes a line for each notification and each change of one.
fn noting() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"$HEM_NOTIFICATION_TYPE $HEM_HOST ${{HEM_PREVIOUS_STATUS:--}} $HEM_NOTIFICATION_STATUS $HEM_PAYLOAD_N\" >>{}\n",
        house.path("notes").display()
    );
    house.script("note.sh", &script).hook(
        "note",
        "name: note\ntrigger: { masakari: { status: any } }\ncommand: note.sh\nloop_guard: off\n",
    );
    house
}

/// Writes `hem.yaml` with the source `site`, which reads this Masakari.
fn configure(house: &House, endpoint: &str, more: &str) {
    let poll = format!("{{ endpoint: \"{endpoint}\", every: 100ms{more} }}");
    service::configure(house, &format!("  site: {{ type: masakari, poll: {poll} }}\n"));
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("sources: {}\n", "sources:\n")).expect("a file");
}

fn add(masakari: &mut StandIn, host: &str, number: u32, status: &str) -> u64 {
    let answer = masakari.tell(json!({
        "do": "add", "type": "VM", "host": host, "payload": {"event": "LIFECYCLE", "n": number.to_string()}, "status": status,
    }));
    answer["id"].as_u64().expect("a number")
}

fn set_status(masakari: &mut StandIn, id: u64, status: &str) {
    masakari.tell(json!({ "do": "status", "id": id, "status": status }));
}

async fn until_noted(house: &House, notes: &[&str]) {
    until(&format!("{notes:?} are noted"), || {
        house.lines("notes").len() >= notes.len()
    })
    .await;
    let mut noted = house.lines("notes");
    noted.sort();
    let mut expected = notes.to_vec();
    expected.sort_unstable();
    assert_eq!(noted, expected);
}

async fn up(service: &mut Service) {
    service
        .until("it reads", |status| {
            status.sources.get("site").is_some_and(|site| site.connected)
        })
        .await;
}

/// Lets it read a few times more: what is only wrong by then shows.
async fn rounds(masakari: &mut StandIn) {
    for _ in 0..2 {
        masakari.calls();
        let mut calls = Vec::new();
        until("it has asked for everything once more", || {
            calls.extend(masakari.calls());
            let last = calls
                .iter()
                .rposition(|call: &String| call.contains("status=error"));
            let first = calls.iter().position(|call| call.contains("sort_dir=desc"));
            first.zip(last).is_some_and(|(first, last)| first < last)
        })
        .await;
    }
}

/// Why events may be missing, by what the store says.
fn gaps(house: &House) -> Vec<String> {
    let store = Store::open(&house.config.state_dir).expect("a store");
    let query = EventQuery {
        source: Some("site".to_owned()),
        limit: 10_000,
        ..EventQuery::default()
    };
    let events = store.events(&query).expect("events");
    let why = events.iter().filter_map(|listed| match &listed.event.facts {
        hem::event::Facts::Gap(gap) => Some(gap.why.clone()),
        _ => None,
    });
    why.collect()
}

/// A daemon that reads the stand-in, and has seen what there was.
async fn reading(masakari: &mut StandIn) -> (House, Service) {
    let house = noting();
    configure(&house, masakari.url(), "");
    let mut service = Service::start(&house);
    up(&mut service).await;
    rounds(masakari).await;
    (house, service)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn notifications_and_changes_of_their_status_are_events_once_across_restarts() {
    let mut masakari = StandIn::start("masakari.py", &[]);
    add(&mut masakari, "node1", 1, "finished");
    let running = add(&mut masakari, "node1", 2, "running");
    let (house, service) = reading(&mut masakari).await;

    // What was there before is no news, but what becomes of it is.
    set_status(&mut masakari, running, "finished");
    let third = add(&mut masakari, "node2", 3, "new");
    let first = ["VM node1 running finished 2", "VM node2 - new 3"];
    until_noted(&house, &first).await;
    set_status(&mut masakari, third, "running");
    let second = [first.as_slice(), &["VM node2 new running 3"]].concat();
    until_noted(&house, &second).await;
    service.stop().await;

    set_status(&mut masakari, third, "error");
    add(&mut masakari, "node3", 4, "ignored");
    let mut service = Service::start(&house);
    up(&mut service).await;
    let third_part = ["VM node2 running error 3", "VM node3 - ignored 4"];
    let all = [second.as_slice(), &third_part].concat();
    until_noted(&house, &all).await;
    rounds(&mut masakari).await;
    until_noted(&house, &all).await;

    // Taken up again after its end, as hem's own source does it.
    set_status(&mut masakari, running, "running");
    let all = [all.as_slice(), &["VM node1 finished running 2"]].concat();
    until_noted(&house, &all).await;
    let status = service.status().await.expect("a status");
    assert!(status.events["site"].adds_up, "{:?}", status.events);
    service.stop().await;
    assert_eq!(gaps(&house), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_masakari_that_is_away_is_shown_and_nothing_is_missed() {
    let mut masakari = StandIn::start("masakari.py", &["--token", "t0ken"]);
    let house = noting();
    std::fs::write(house.path("token"), "wrong\n").expect("a file");
    configure(
        &house,
        &format!("{}/v1", masakari.url()),
        &format!(
            ", auth: {{ token: {{ file: {} }} }}",
            house.path("token").display()
        ),
    );
    let mut service = Service::start(&house);
    let down = |text: &'static str| {
        move |status: &hem::control::api::StatusView| {
            let site = &status.sources["site"];
            !site.connected
                && site
                    .last_error
                    .as_ref()
                    .is_some_and(|error| error.message.contains(text))
        }
    };
    service
        .until(
            "the token is refused",
            down("status 401: The request you have made requires authentication."),
        )
        .await;
    std::fs::write(house.path("token"), "t0ken\n").expect("a file");
    up(&mut service).await;
    let first = add(&mut masakari, "node1", 1, "new");
    until_noted(&house, &["VM node1 - new 1"]).await;

    masakari.go_away();
    service.until("it is away", down("cannot be reached")).await;
    set_status(&mut masakari, first, "finished");
    add(&mut masakari, "node2", 2, "new");
    masakari.come_back();
    let all = ["VM node1 - new 1", "VM node1 new finished 1", "VM node2 - new 2"];
    until_noted(&house, &all).await;
    up(&mut service).await;

    for (how, said) in [
        ("http500", "status 500"),
        ("garbage", "broke"),
        ("close", "broke"),
    ] {
        masakari.tell(json!({ "do": "break", "how": how, "times": 20 }));
        service.until(how, down(said)).await;
        up(&mut service).await;
    }
    rounds(&mut masakari).await;
    until_noted(&house, &all).await;
    let log = service.log();
    assert!(!log.contains("t0ken"), "{log}");
    service.stop().await;
    assert_eq!(
        gaps(&house),
        Vec::<String>::new(),
        "what happened meanwhile was still to be had"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_from_the_earliest_is_read_page_by_page_and_once_though_hem_is_killed() {
    let mut masakari = StandIn::start("masakari.py", &["--max-limit", "7"]);
    for number in 1..=120 {
        add(
            &mut masakari,
            "node1",
            number,
            if number % 9 == 0 { "running" } else { "finished" },
        );
    }
    let house = noting();
    configure(&house, masakari.url(), ", start: earliest");
    let mut raised = 0;
    for at_least in [30, 60] {
        let mut service = Service::start(&house);
        let status = service
            .until("some were accepted", |status| {
                status
                    .events
                    .get("site")
                    .is_some_and(|sums| sums.accepted >= at_least)
            })
            .await;
        raised = raised.max(status.events["site"].accepted);
        service.kill();
    }
    assert!(raised < 120, "it is killed on the way: {raised}");
    let mut service = Service::start(&house);
    service.until_succeeded(120).await;
    rounds(&mut masakari).await;
    service.stop().await;
    let store = Store::open(&house.config.state_dir).expect("a store");
    let query = EventQuery {
        source: Some("site".to_owned()),
        limit: 10_000,
        ..EventQuery::default()
    };
    let events = store.events(&query).expect("events");
    let mut numbers: Vec<u64> = events
        .iter()
        .filter(|listed| listed.event.kind() == Kind::Masakari)
        .filter_map(|listed| match &listed.event.facts {
            hem::event::Facts::Masakari(told) => told.observed.as_ref().map(|observed| observed.id),
            _ => None,
        })
        .collect();
    numbers.reverse();
    assert_eq!(
        numbers,
        (1..=120).collect::<Vec<u64>>(),
        "each once, in the order of their numbers"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_was_lost_is_a_gap_and_one_that_was_purged_is_none() {
    let mut masakari = StandIn::start("masakari.py", &[]);
    let (house, service) = reading(&mut masakari).await;
    let ids: Vec<u64> = (1..=5)
        .map(|number| add(&mut masakari, "node1", number, "finished"))
        .collect();
    let noted = |numbers: &[u32]| -> Vec<String> {
        numbers
            .iter()
            .map(|number| format!("VM node1 - finished {number}"))
            .collect()
    };
    let expect = |numbers: &'static [u32]| {
        let house = &house;
        async move {
            let notes = noted(numbers);
            until_noted(house, &notes.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
    };
    expect(&[1, 2, 3, 4, 5]).await;

    // The oldest and the newest are removed by an operator, and a new one comes.
    masakari.go_away();
    add(&mut masakari, "node1", 6, "finished");
    masakari.tell(json!({ "do": "purge", "ids": [ids[0], ids[1], ids[4]] }));
    masakari.come_back();
    expect(&[1, 2, 3, 4, 5, 6]).await;
    rounds(&mut masakari).await;
    assert!(!service.log().contains("jumped back"), "{}", service.log());

    // A backup of two is put in place, and two more come: their numbers were there before.
    masakari.go_away();
    masakari.tell(json!({ "do": "lose", "keep": 2 }));
    add(&mut masakari, "node1", 7, "finished");
    add(&mut masakari, "node1", 8, "finished");
    masakari.come_back();
    expect(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
    service.until_logged("jumped back").await;
    rounds(&mut masakari).await;

    // Everything is lost while hem looks on.
    masakari.tell(json!({ "do": "lose" }));
    service.until_logged("jumped back from 6 to 0").await;
    add(&mut masakari, "node1", 9, "finished");
    expect(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    rounds(&mut masakari).await;
    expect(&[1, 2, 3, 4, 5, 6, 7, 8, 9]).await;
    service.stop().await;
    let gaps: BTreeSet<String> = gaps(&house).into_iter().collect();
    assert_eq!(gaps.len(), 2, "{gaps:?}");
    assert!(gaps.iter().all(|why| why.contains("jumped back")), "{gaps:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_that_can_be_seen_only_after_a_later_one_is_an_event_too() {
    let mut masakari = StandIn::start("masakari.py", &[]);
    let (house, service) = reading(&mut masakari).await;
    let hidden = masakari.tell(json!({
        "do": "add", "type": "PROCESS", "host": "node1", "payload": {"event": "STOPPED", "n": "1"}, "hidden": true,
    }));
    add(&mut masakari, "node1", 2, "new");
    until_noted(&house, &["VM node1 - new 2"]).await;
    masakari.tell(json!({ "do": "hide", "id": hidden["id"], "hidden": false }));
    until_noted(&house, &["VM node1 - new 2", "PROCESS node1 - new 1"]).await;

    // What has ended before it could be seen stands in no list of those that go on.
    let hidden = masakari.tell(json!({
        "do": "add", "type": "VM", "host": "node1", "payload": {"event": "LIFECYCLE", "n": "3"}, "status": "ignored", "hidden": true,
    }));
    add(&mut masakari, "node1", 4, "finished");
    let three = [
        "VM node1 - new 2",
        "PROCESS node1 - new 1",
        "VM node1 - finished 4",
    ];
    until_noted(&house, &three).await;
    masakari.tell(json!({ "do": "hide", "id": hidden["id"], "hidden": false }));
    let four = [three.as_slice(), &["VM node1 - ignored 3"]].concat();
    until_noted(&house, &four).await;
    rounds(&mut masakari).await;
    until_noted(&house, &four).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_have_their_names_however_few_a_page_lists() {
    let mut masakari = StandIn::start("masakari.py", &["--max-limit", "2"]);
    let (house, service) = reading(&mut masakari).await;
    // All hosts are there when the first of them is asked for.
    masakari.go_away();
    for number in 1..=5 {
        add(&mut masakari, &format!("node{number}"), number, "finished");
    }
    masakari.come_back();
    let notes: Vec<String> = (1..=5)
        .map(|number| format!("VM node{number} - finished {number}"))
        .collect();
    until_noted(&house, &notes.iter().map(String::as_str).collect::<Vec<_>>()).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_does_not_go_on_is_a_fault_and_is_not_gathered_for_ever() {
    let mut masakari = StandIn::start("masakari.py", &[]);
    let (house, mut service) = reading(&mut masakari).await;
    add(&mut masakari, "node1", 1, "running");
    until_noted(&house, &["VM node1 - running 1"]).await;
    masakari.tell(json!({ "do": "forget_query" }));
    service
        .until("it says what is wrong", |status| {
            let site = &status.sources["site"];
            site.last_error.as_ref().is_some_and(|error| {
                error.message.contains("lists without end") && error.message.contains("status=running")
            })
        })
        .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_hem_is_read_over_tls_and_its_statuses_follow_its_hooks() {
    let other = House::new();
    certify(&other).await;
    let bcrypt = "alice:$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82\n";
    std::fs::write(other.path("users"), bcrypt).expect("a file");
    let script = format!(
        "#!/bin/sh\nuntil test -e {}; do sleep 0.05; done\n",
        other.path("go").display()
    );
    other.script("work.sh", &script).hook(
        "work",
        "name: work\ntrigger: { masakari: {} }\ncommand: work.sh\n",
    );
    service::configure(
        &other,
        "  ha:\n    type: masakari\n    listen: 127.0.0.1:0\n    base_path: /instance-ha\n    \
         tls: { certificate: tls.pem, key: tls.key }\n    auth: { http_basic: { file: users } }\n    \
         segments: { rack1: { hosts: { node1: {} } } }\n",
    );
    let file = other.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text.replace("sources: {}\n", "sources:\n")).expect("a file");
    let mut masakari = Service::start(&other);
    let status = masakari
        .until("it takes notifications", |status| {
            status.sources.get("ha").is_some_and(|ha| ha.connected)
        })
        .await;
    let endpoint = status.sources["ha"].endpoint.clone();
    assert!(
        endpoint.starts_with("https://127.0.0.1:") && endpoint.ends_with("/instance-ha/v1"),
        "{endpoint}"
    );

    let house = noting();
    std::fs::write(house.path("password"), "secret\n").expect("a file");
    let poll = |more: &str| {
        let password = house.path("password");
        configure(
            &house,
            &endpoint,
            &format!(
                ", auth: {{ http_basic: {{ username: alice, password: {{ file: {} }} }} }}{more}",
                password.display()
            ),
        );
    };
    // Nobody vouches for it.
    poll("");
    let mut service = Service::start(&house);
    service
        .until("its authority is not known", |status| {
            let site = &status.sources["site"];
            site.last_error
                .as_ref()
                .is_some_and(|error| error.message.contains("there is no TLS with https://127.0.0.1:"))
        })
        .await;
    service.stop().await;
    poll(&format!(", ca_file: {}", other.path("ca.pem").display()));
    let mut service = Service::start(&house);
    up(&mut service).await;
    service
        .until("it was read once", |status| status.sources["site"].connected)
        .await;
    service.until_logged("the Masakari is read").await;

    let body = json!({"notification": {
        "type": "VM", "hostname": "node1", "generated_time": "2026-11-21T23:00:00",
        "payload": {"event": "LIFECYCLE", "instance_uuid": "96ab1c42-668c-4f2d-8689-afa3301d4ee9", "vir_domain_event": "STOPPED_FAILED"},
    }});
    let mut curl = Command::new("curl");
    curl.args([
        "-sS",
        "--fail",
        "-u",
        "alice:secret",
        "-H",
        "Content-Type: application/json",
        "--cacert",
    ])
    .arg(other.path("ca.pem"))
    .args([
        "--data-binary",
        &body.to_string(),
        &format!("{endpoint}/notifications"),
    ]);
    let sent = service::said(curl).await;
    assert_eq!(sent.code, 0, "{sent:?}");
    let last = |status: &'static str| {
        let house = &house;
        move || {
            house
                .lines("notes")
                .last()
                .is_some_and(|line| line.ends_with(&format!(" {status} ")))
        }
    };
    until("it is seen at work", last("running")).await;
    std::fs::write(other.path("go"), "").expect("a file");
    until("it is seen to have ended", last("finished")).await;
    let notes = house.lines("notes");
    assert!(notes[0].starts_with("VM node1 - "), "{notes:?}");
    assert!(
        notes[1..].iter().all(|note| !note.contains(" - ")),
        "one first sight: {notes:?}"
    );
    assert_eq!(
        notes.iter().collect::<BTreeSet<_>>().len(),
        notes.len(),
        "each change once: {notes:?}"
    );
    service.stop().await;
    masakari.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_nothing_is_accepted_notifications_wait_in_the_masakari() {
    let mut masakari = StandIn::start("masakari.py", &[]);
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"$HEM_HOST $HEM_PAYLOAD_N\" >>{}\nwhile ! [ -e {} ]; do sleep 0.02; done\n",
        house.path("notes").display(),
        house.path("go").display()
    );
    house.script("wait.sh", &script).hook(
        "wait",
        "name: wait\ntrigger: { masakari: { status: any } }\ncommand: wait.sh\nloop_guard: off\n",
    );
    configure(&house, masakari.url(), ", start: earliest");
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text + "limits: { max_backlog: 0 }\n").expect("a file");
    add(&mut masakari, "node1", 1, "finished");
    let mut service = Service::start(&house);
    service
        .until("the backlog is full", |status| status.not_accepting.is_some())
        .await;
    add(&mut masakari, "node1", 2, "finished");
    add(&mut masakari, "node1", 3, "finished");
    let status = service
        .until("they were refused", |status| {
            status.events.get("site").is_some_and(|sums| sums.refused > 0)
        })
        .await;
    assert_eq!(status.events["site"].accepted, 1);
    assert!(
        status.sources["site"].connected,
        "the Masakari itself is there: {status:?}"
    );
    std::fs::write(house.path("go"), "").expect("a file");
    until_noted(&house, &["node1 1", "node1 2", "node1 3"]).await;
    service.stop().await;
    assert_eq!(gaps(&house), Vec::<String>::new(), "nothing was left out");
}
