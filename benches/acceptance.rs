//! How many events of 2 kB a second are accepted durably, the whole way from a ZeroMQ publisher, against what the store's
//! library and the disk would give with the same bytes and nothing else to do.
//!
//! `cargo bench --bench acceptance` prints, in one run: events a second that match nothing; events a second that each queue an
//! execution; the same documents written by sled in batches with a sync after each; and syncs of the disk a second.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its figures and stops where it cannot run"
)]

#[path = "../tests/daemon/mod.rs"]
mod daemon;
#[path = "../tests/recorded/mod.rs"]
mod recorded;
mod site;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use site::{SIZE, best, done, encoded, per_second, publish_all, until};

/// Events a second that are to be accepted.
const AIM: f64 = 10_000.0;

const EVENTS: usize = 20_000;
const ROUNDS: usize = 3;

/// Events in one batch of the raw loop, as many as the matching thread hands on together.
const BATCH: usize = 256;

#[tokio::main(worker_threads = 2)]
async fn main() {
    site::describe(Path::new(env!("CARGO_TARGET_TMPDIR")));
    println!("events of {SIZE} bytes accepted a second, durable, {EVENTS} a round, best of {ROUNDS}");
    println!("{:<44}  {:>9}  {:>6}", "", "events/s", "to aim");
    let (mut unmatched, mut matched, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        unmatched.push(through(None).await);
        matched.push(through(Some("trigger: { state: { resource: VM, on: RUNNING } }")).await);
        raw.push(tokio::task::block_in_place(raw_store));
    }
    let syncs = tokio::task::block_in_place(syncs);
    let limit = best(&raw);
    for (what, rate) in [
        ("hem, matching nothing", best(&unmatched)),
        ("hem, each queues an execution", best(&matched)),
        ("sled alone, a sync every 256", limit),
    ] {
        println!(
            "{what:<44}  {rate:>9.0}  {:>6.2}  {:.2} of sled alone",
            rate / AIM,
            rate / limit
        );
    }
    println!("{:<44}  {syncs:>9.0}", "the disk: appends of 4 kB, each synced");
}

/// One round through a new daemon; with a trigger, one hook that all events match and that runs next to nothing.
async fn through(trigger: Option<&str>) -> f64 {
    let publisher = daemon::publisher().await;
    let mut house = site::house();
    house.listen_to(&publisher);
    house.config.concurrency = 1;
    if let Some(trigger) = trigger {
        // The one slot is taken for as long as the round lasts: what is measured is acceptance.
        house.hook(
            "slow",
            &format!("name: slow\n{trigger}\ncommand: /bin/sleep\narguments: [\"600\"]\nloop_guard: off\n"),
        );
    }
    let daemon = site::daemon(&house).await;
    publisher.wait_for_subscriber().await;
    let messages = encoded(0..EVENTS);
    let began = Instant::now();
    publish_all(&publisher, &messages).await;
    until(|| done(&daemon).0 >= EVENTS as u64).await;
    let rate = per_second(EVENTS, began.elapsed());
    assert_eq!(
        daemon.handle().store().summary().events["opennebula"].lost,
        0,
        "events were lost"
    );
    daemon.stop().await;
    rate
}

/// The documents alone, one key each, by the store's own library and settings.
fn raw_store() -> f64 {
    let folder = site::house();
    let path = folder.path("raw");
    let db = sled::Config::new()
        .path(&path)
        .flush_every_ms(None)
        .mode(sled::Mode::HighThroughput)
        .open()
        .expect("a store");
    let log = File::open(path.join("db")).expect("the log");
    let documents: Vec<Vec<u8>> = (0..EVENTS).map(|number| site::running(number).content).collect();
    let began = Instant::now();
    for (number, documents) in documents.chunks(BATCH).enumerate() {
        let mut batch = sled::Batch::default();
        for (offset, document) in documents.iter().enumerate() {
            batch.insert(
                &((number * BATCH + offset) as u64).to_be_bytes(),
                document.as_slice(),
            );
        }
        db.apply_batch(batch).expect("a write");
        db.flush().expect("a flush");
        log.sync_all().expect("a sync");
    }
    per_second(EVENTS, began.elapsed())
}

fn syncs() -> f64 {
    let folder = site::house();
    let mut file = File::create(folder.path("synced")).expect("a file");
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(2) {
        file.write_all(&[0x5a; 4096]).expect("a write");
        file.sync_all().expect("a sync");
        count += 1;
    }
    per_second(count, began.elapsed())
}
