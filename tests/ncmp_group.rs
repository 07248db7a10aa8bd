//! ONAP NCMP's topics are read from a real broker by a member of a group that is killed, cut off, joined by others, and whose store
//! takes nothing for a while: nothing is lost, and nothing is accepted twice.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod http_stand_in;
mod kafka;
#[path = "short_of/namespace.rs"]
mod namespace;
mod peers;
mod recorded;
mod service;
#[allow(dead_code, reason = "another test program remounts it")]
#[path = "short_of/small_disk.rs"]
mod small_disk;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use daemon::{House, until};
use hem::control::api::StatusView;
use kafka::{
    Broker, SESSION_MS, Sent, TOPIC, configure, gaps, kept, life_cycle, offsets, place, reads,
    until_accepted, updates,
};
use serde_json::{Value, json};
use service::Service;
use small_disk::SmallDisk;

const PARTITIONS: i32 = 4;
const HANDLES: u64 = 200;
const EVENTS_PER_HANDLE: u64 = 50;
const EVENTS: u64 = HANDLES * EVENTS_PER_HANDLE;
const KILLS: u64 = 10;

/// A house whose hook writes a line for each record: its CM handle and the number that it has as its id.
fn counting() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"$HEM_NCMP_CM_HANDLE $HEM_NCMP_ID\" >>{}\n",
        house.path("notes").display()
    );
    house.script("note.sh", &script).hook(
        "note",
        "name: note\ntrigger: { ncmp: { event: any } }\ncommand: note.sh\nloop_guard: off\n",
    );
    house
}

/// Handles go through their lives side by side; each stays in one partition.
fn event_of(number: u64) -> Sent {
    let (handle, step) = (number % HANDLES, number / HANDLES);
    let name = format!("cmhandle-{handle:03}");
    let value = match step {
        0 => life_cycle("create", &name, step, None, Some("ADVISED")),
        step if step == EVENTS_PER_HANDLE - 1 => life_cycle("delete", &name, step, None, None),
        step if step % 2 == 1 => life_cycle("update", &name, step, Some("ADVISED"), Some("READY")),
        _ => life_cycle("update", &name, step, Some("READY"), Some("LOCKED")),
    };
    let partition = i32::try_from(handle).expect("small") % PARTITIONS;
    Sent::new(partition, &name, value)
}

/// What the command line says of a store whose daemon has ended.
async fn events_by_command(house: &House) -> Vec<Value> {
    let config = house.path("hem.yaml");
    let arguments = [
        "--config",
        config.to_str().expect("a path"),
        "events",
        "--offline",
        "--json",
        "--source",
        "ncmp1",
        "--limit",
        "100000",
    ];
    let said = service::hem(house, &arguments).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    serde_json::from_str(&said.stdout).expect("a list of events")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_events_none_is_lost_or_accepted_twice_over_ten_kills() {
    let mut broker = Broker::with_topic(PARTITIONS.unsigned_abs());
    let house = counting();
    configure(&house, broker.address(), ", start: earliest");
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let began = Instant::now();
    let sent = EVENTS / (KILLS + 1);
    let mut produced = 0;
    for _ in 0..KILLS {
        let batch: Vec<Sent> = (produced..produced + sent).map(event_of).collect();
        broker.produce(&batch);
        let at_least = produced + rng.u64(1..sent);
        produced += sent;
        let mut service = Service::start(&house);
        until_accepted(&mut service, at_least).await;
        tokio::time::sleep(Duration::from_millis(rng.u64(0..200))).await;
        service.kill();
    }
    let rest: Vec<Sent> = (produced..EVENTS).map(event_of).collect();
    broker.produce(&rest);
    let mut service = Service::start(&house);
    for done in (1_000..=EVENTS).step_by(1_000) {
        service.until_succeeded_at_least(done).await;
    }
    let status = service.until_succeeded(EVENTS).await;
    broker.until_committed("hem", TOPIC).await;
    let took = began.elapsed();
    let sums = status.events["ncmp1"];
    service.stop().await;

    let events = events_by_command(&house).await;
    let mut places = BTreeMap::<(String, i64, i64), u64>::new();
    for event in &events {
        let facts = &event["facts"];
        assert_eq!(facts["kind"], "ncmp", "{event}");
        let number = |name: &str| facts[name].as_i64().expect("a number");
        let topic = facts["topic"].as_str().expect("a topic").to_owned();
        *places
            .entry((topic, number("partition"), number("offset")))
            .or_default() += 1;
    }
    let wanted = broker.ends(TOPIC).into_iter();
    let wanted: BTreeSet<_> = wanted
        .flat_map(|(partition, end)| {
            (0..end).map(move |offset| (TOPIC.to_owned(), i64::from(partition), offset))
        })
        .collect();
    assert_eq!(wanted.len() as u64, EVENTS);
    let lost = wanted.iter().filter(|place| !places.contains_key(place)).count();
    let twice = places.values().filter(|times| **times > 1).count();

    // A script that was running when hem was killed runs again; nothing of its CM handle runs in between.
    let mut of_handle = BTreeMap::<String, Vec<u64>>::new();
    for line in house.lines("notes") {
        let (handle, step) = line.split_once(' ').expect("a handle and a number");
        of_handle
            .entry(handle.to_owned())
            .or_default()
            .push(step.parse().expect("a number"));
    }
    let runs: usize = of_handle.values().map(Vec::len).sum();
    println!(
        "{EVENTS} events over {PARTITIONS} partitions and {KILLS} kills in {took:.1?}: {lost} lost, {twice} accepted twice, {} doubles \
         dropped, {} runs of scripts cut off by a kill and made good",
        sums.duplicate,
        runs as u64 - EVENTS,
    );
    assert_eq!((lost, twice, places.len() as u64), (0, 0, EVENTS));
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!(of_handle.len() as u64, HANDLES);
    let steps: Vec<u64> = (0..EVENTS_PER_HANDLE).collect();
    for (handle, mut ran) in of_handle {
        ran.dedup();
        assert_eq!(ran, steps, "{handle}");
    }
}

/// So many records into each partition.
fn into_each(partitions: i32, numbers: std::ops::Range<u64>) -> Vec<Sent> {
    (0..partitions)
        .flat_map(|partition| updates(partition, numbers.clone()))
        .collect()
}

type Place = (String, i32, i64);

/// What the other member has, and what it got so far.
fn got(broker: &mut Broker) -> (usize, BTreeSet<Place>) {
    let got = broker.tell(json!({ "do": "got" }));
    let records: Vec<Place> = serde_json::from_value(got["records"].clone()).expect("records");
    (
        got["holds"].as_array().expect("a list").len(),
        records.into_iter().collect(),
    )
}

fn every_place(broker: &mut Broker) -> BTreeSet<Place> {
    let ends = broker.ends(TOPIC).into_iter();
    ends.flat_map(|(partition, end)| (0..end).map(move |offset| (TOPIC.to_owned(), partition, offset)))
        .collect()
}

/// That each was accepted once, and which they were.
fn each_once(house: &House) -> BTreeSet<Place> {
    let events = kept(house);
    let places: Vec<Place> = events.iter().filter_map(place).collect();
    let each: BTreeSet<Place> = places.iter().cloned().collect();
    assert_eq!(each.len(), places.len(), "accepted twice");
    assert_eq!(gaps(&events), Vec::<String>::new());
    each
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_joins_and_leaves_and_nothing_is_lost() {
    let mut broker = Broker::with_topic(4);
    let house = counting();
    configure(&house, broker.address(), ", start: earliest");
    broker.produce(&into_each(4, 0..20));
    let mut service = Service::start(&house);
    until_accepted(&mut service, 80).await;

    broker.tell(json!({ "do": "join", "group": "hem", "topics": [TOPIC], "session_ms": SESSION_MS }));
    broker.produce(&into_each(4, 20..40));
    until("the other member has its share", || got(&mut broker).0 == 2).await;
    broker.produce(&into_each(4, 40..60));
    // Whoever has a partition reads it on; what is behind what the group has committed was read by one of them.
    broker.until_committed("hem", TOPIC).await;
    let (_, others) = got(&mut broker);
    assert!(others.len() >= 40, "it reads two of four: {}", others.len());

    broker.tell(json!({ "do": "leave" }));
    broker.produce(&into_each(4, 60..80));
    broker.until_committed("hem", TOPIC).await;
    reads(&mut service).await;
    service.stop().await;
    let own = each_once(&house);
    let all: BTreeSet<Place> = own.union(&others).cloned().collect();
    assert_eq!(all, every_place(&mut broker));
    let last: Vec<_> = (0..4)
        .map(|partition| (TOPIC.to_owned(), partition, 79))
        .collect();
    assert!(
        last.iter().all(|place| own.contains(place)),
        "what came back is read on"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hems_share_a_group_and_one_takes_over_when_the_other_is_killed() {
    let mut broker = Broker::with_topic(4);
    let houses = [counting(), counting()];
    for house in &houses {
        configure(house, broker.address(), ", start: earliest");
    }
    broker.produce(&into_each(4, 0..20));
    let mut first = Service::start(&houses[0]);
    until_accepted(&mut first, 80).await;
    let mut second = Service::start(&houses[1]);
    reads(&mut second).await;
    // They share by now or will soon: each gets something of what comes.
    let mut number = 20;
    let began = Instant::now();
    while sums_accepted(&second).await == 0 {
        assert!(began.elapsed() < daemon::LIMIT, "the second one gets nothing");
        broker.produce(&into_each(4, number..number + 1));
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.produce(&into_each(4, number..number + 20));
    broker.until_committed("hem", TOPIC).await;
    first.kill();
    broker.produce(&into_each(4, number + 20..number + 40));
    broker.until_committed("hem", TOPIC).await;
    second.stop().await;
    let own: Vec<BTreeSet<Place>> = houses.iter().map(each_once).collect();
    let all: BTreeSet<Place> = own[0].union(&own[1]).cloned().collect();
    assert_eq!(all, every_place(&mut broker));
    let last = i64::try_from(number).expect("small") + 39;
    assert!((0..4).all(|partition| own[1].contains(&(TOPIC.to_owned(), partition, last))));
}

async fn sums_accepted(service: &Service) -> u64 {
    let status = service.status().await;
    let sums = status.and_then(|status| status.events.get("ncmp1").copied());
    sums.map_or(0, |sums| sums.accepted)
}

fn is_away(status: &StatusView) -> bool {
    let source = &status.sources["ncmp1"];
    !source.connected && source.last_error.is_some()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_is_cut_or_silent_for_longer_than_a_session_loses_nothing() {
    let mut broker = Broker::with_topic(2);
    let house = counting();
    configure(&house, broker.address(), ", start: earliest");
    broker.produce(&into_each(2, 0..5));
    let mut service = Service::start(&house);
    until_accepted(&mut service, 10).await;
    let mut accepted = 10;
    for how in ["cut", "freeze"] {
        broker.tell(json!({ "do": how }));
        service.until(&format!("it is away: {how}"), is_away).await;
        broker.produce(&into_each(2, accepted..accepted + 5));
        // The broker gives its partitions to nobody, and forgets it.
        tokio::time::sleep(Duration::from_millis(u64::from(SESSION_MS) * 3 / 2)).await;
        broker.tell(json!({ "do": "heal" }));
        accepted += 10;
        until_accepted(&mut service, accepted).await;
        reads(&mut service).await;
    }
    broker.until_committed("hem", TOPIC).await;
    service.stop().await;
    assert_eq!(each_once(&house), every_place(&mut broker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_not_there_yet_is_waited_for() {
    let mut broker = Broker::with_topic(1);
    broker.tell(json!({ "do": "cut" }));
    broker.produce(&updates(0, 0..3));
    let house = counting();
    configure(&house, broker.address(), ", start: earliest");
    let mut service = Service::start(&house);
    service.until("it says that it cannot be reached", is_away).await;
    broker.tell(json!({ "do": "heal" }));
    until_accepted(&mut service, 3).await;
    reads(&mut service).await;
    service.stop().await;
    assert_eq!(each_once(&house), every_place(&mut broker));
}

/// A house whose script waits until there is a file `go`.
fn waiting() -> House {
    let house = counting();
    let script = format!(
        "#!/bin/sh\nuntil test -e {}; do sleep 0.05; done\necho \"$HEM_NCMP_CM_HANDLE $HEM_NCMP_ID\" >>{}\n",
        house.path("go").display(),
        house.path("notes").display()
    );
    house.script("note.sh", &script);
    house
}

fn go(house: &House) {
    std::fs::write(house.path("go"), "").expect("a file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_backlog_is_full_records_stay_with_the_broker() {
    let mut broker = Broker::with_topic(2);
    let house = waiting();
    configure(&house, broker.address(), ", start: earliest");
    append(&house, "limits: { max_backlog: 30 }\n");
    broker.produce(&into_each(2, 0..20));
    let mut service = Service::start(&house);
    service
        .until("nothing more is accepted", |status| {
            status.not_accepting.is_some()
        })
        .await;
    broker.produce(&into_each(2, 20..200));
    service.until_logged("hem takes none now").await;
    let status = service.status().await.expect("a status");
    let accepted = status.events["ncmp1"].accepted;
    assert!((30..400).contains(&accepted), "{accepted}");
    // What is not accepted is not committed: after a kill, or by another member, it would be read.
    until("what was accepted is committed", || {
        let committed: i64 = broker.committed("hem", TOPIC).values().sum();
        assert!(
            committed <= i64::try_from(accepted).expect("small"),
            "{committed}"
        );
        u64::try_from(committed) == Ok(accepted)
    })
    .await;
    go(&house);
    until_accepted(&mut service, 400).await;
    service.until_succeeded(400).await;
    broker.until_committed("hem", TOPIC).await;
    service.stop().await;
    assert_eq!(each_once(&house), every_place(&mut broker));
    let events = kept(&house);
    for partition in 0..2 {
        assert!(offsets(&events, TOPIC, partition).is_sorted(), "in their order");
    }
    for handle in ["h0", "h1"] {
        let beginning = format!("{handle} ");
        let notes = house.lines("notes");
        let ran: Vec<u64> = notes
            .iter()
            .filter_map(|line| line.strip_prefix(&beginning)?.parse().ok())
            .collect();
        assert_eq!(ran, (0..200).collect::<Vec<u64>>(), "{handle}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_that_are_placed_anew_while_they_are_paused_are_read_on() {
    let mut broker = Broker::with_topic(1);
    let house = waiting();
    configure(&house, broker.address(), ", start: earliest");
    append(
        &house,
        "limits: { max_backlog: 5 }\nlog: info,hem::sources::ncmp=debug\n",
    );
    broker.produce(&into_each(1, 0..10));
    let mut service = Service::start(&house);
    let full = |status: &StatusView| status.not_accepting.is_some();
    service.until("nothing more is accepted", full).await;
    broker.produce(&into_each(1, 10..40));
    service.until_logged("the partitions are paused").await;
    let status = service.status().await.expect("a status");
    let accepted = status.events["ncmp1"].accepted;
    assert!(accepted < 40, "{accepted}");
    let anew = ["source", "seek", "ncmp1", "--topic", TOPIC, "--earliest"];
    // It cannot be kept, and the partition is placed where it was.
    let said = service::hem(&house, &anew).await;
    assert!(said.stderr.contains("the backlog is full"), "{said:?}");
    go(&house);
    service.until_succeeded(40).await;
    service.stop().await;
    assert_eq!(each_once(&house), every_place(&mut broker));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_disk_is_full_records_stay_with_the_broker() {
    let mut broker = Broker::with_topic(2);
    let mut house = counting();
    house.config.state_dir = house.path("disk/state");
    let disk = SmallDisk::mount(&house.path("disk"), 64);
    configure(&house, broker.address(), ", start: earliest");
    append(&house, "limits: { reserve: 3MiB }\n");
    broker.produce(&into_each(2, 0..10));
    let mut service = Service::start_by(&house, &disk.prefix(), &[]);
    service.until_succeeded(20).await;
    broker.until_committed("hem", TOPIC).await;

    disk.fill(2 << 20);
    service
        .until("it says that the disk is full", |status| {
            status.not_accepting.is_some()
        })
        .await;
    broker.produce(&into_each(2, 10..20));
    service.until_logged("hem takes none now").await;
    let status = service.status().await.expect("a status");
    assert_eq!(status.events["ncmp1"].accepted, 20);
    assert_eq!(broker.committed("hem", TOPIC), [(0, 10), (1, 10)].into());
    disk.clear();
    service.until_succeeded(40).await;
    broker.until_committed("hem", TOPIC).await;
    let said = service::hem(
        &house,
        &["events", "--json", "--source", "ncmp1", "--limit", "1000"],
    )
    .await;
    let events: Vec<Value> = serde_json::from_str(&said.stdout).expect("a list of events");
    let mut places: Vec<(i64, i64)> = events
        .iter()
        .map(|event| {
            let number = |name: &str| event["facts"][name].as_i64().unwrap_or_else(|| panic!("{event}"));
            (number("partition"), number("offset"))
        })
        .collect();
    places.sort_unstable();
    let all: Vec<(i64, i64)> = (0..2)
        .flat_map(|partition| (0..20).map(move |offset| (partition, offset)))
        .collect();
    assert_eq!(places, all);
    service.stop().await;
}

/// Adds to `hem.yaml`.
fn append(house: &House, more: &str) {
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text + more).expect("a file");
}
