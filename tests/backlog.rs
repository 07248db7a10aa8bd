//! A burst of 20,000 events while all scripts are slow. Alone in its program, because it measures the program's memory.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own machinery fails the test where it fails"
)]

mod daemon;
mod recorded;

use std::time::Instant;

use daemon::{House, publish, publisher, unsettled, until};
use hem::engine::execution::Actor;
use hem::engine::handle::Handle;
use hem::event::id::HookName;
use hem::sources::opennebula::publisher::Publisher;
use recorded::Recorded;

const EVENTS: u64 = 20_000;

const BURSTS: u64 = 4;

/// Of an execution that waits, memory holds its key, lane, state and its place in the queues, and sled its table of pages;
/// event and payload are on disk. Three times what was measured.
const BYTES_AT_MOST: u64 = 6_144;

/// What the first burst may add: sled's cache of 64 MiB, the intake's and the writer's queues, the publisher's own.
const ONCE: u64 = 384 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    let kib = line.split_ascii_whitespace().nth(1).expect("a number");
    kib.parse::<u64>().expect("a number") * 1024
}

/// Publishes events of 2 kB, each another text that does not compress, as fast as they can be sent.
async fn burst(publisher: &Publisher, rng: &mut fastrand::Rng) {
    for number in 0..EVENTS {
        let vm = number % 500;
        let noise: String = (0..1_750).map(|_| rng.alphanumeric()).collect();
        let event = Recorded {
            key: format!("EVENT STATE VM/ACTIVE/RUNNING/{vm} "),
            content: format!(
                "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
                 <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{vm}</RESOURCE_ID><REMOTE_HOST/>\
                 <VM><ID>{vm}</ID><N>{noise}</N></VM></HOOK_MESSAGE>"
            )
            .into(),
        };
        publish(publisher, &event).await;
    }
}

/// Waits until that many events are accepted; none is lost, and all but two wait.
async fn until_accepted(handle: &Handle, count: u64) {
    let counters = || {
        handle
            .store()
            .summary()
            .events
            .get("opennebula")
            .cloned()
            .unwrap_or_default()
    };
    until("all are accepted", || counters().received == count).await;
    let counters = counters();
    assert_eq!((counters.matched, counters.lost), (count, 0), "{counters:?}");
    assert_eq!(handle.store().summary().executions["queued"], count - 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_events_wait_for_slow_scripts_and_none_is_lost() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.config.concurrency = 2;
    let gate = house.path("gate").display().to_string();
    house
        .script("slow.sh", &format!("#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.2; done\n"))
        .hook(
            "slow",
            "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: slow.sh\nmax_parallel: 2\n\
             loop_guard: off\n",
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    let mut rng = fastrand::Rng::with_seed(1);
    let before = resident();
    let began = Instant::now();
    burst(&publisher, &mut rng).await;
    until_accepted(&handle, EVENTS).await;
    let took = began.elapsed();
    let at_full = resident();
    assert_eq!(handle.status().await.expect("a status").running, 2);
    // The others find all queues and caches as large as they get: what they add is the backlog's own, and what the allocator
    // keeps of this thread's or that one's, which differs from run to run and is less beside more events.
    for bursts in 2..=BURSTS {
        burst(&publisher, &mut rng).await;
        until_accepted(&handle, bursts * EVENTS).await;
    }
    let at_last = resident();
    let each = at_last.saturating_sub(at_full) / ((BURSTS - 1) * EVENTS);
    println!(
        "{EVENTS} events accepted in {took:.1?}; VmRSS {} MiB before, {} MiB with {EVENTS} waiting, {} MiB with {BURSTS} times \
         as many: {each} bytes for each more",
        before >> 20,
        at_full >> 20,
        at_last >> 20,
    );
    assert!(
        at_full.saturating_sub(before) <= ONCE,
        "memory grew by {} MiB",
        (at_full - before) >> 20
    );
    assert!(
        each <= BYTES_AT_MOST,
        "{each} bytes for each execution that waits"
    );

    let began = Instant::now();
    let slow = HookName::new("slow").expect("a name");
    handle
        .set_enabled(slow, Some(false), Actor::User { uid: 7 })
        .await
        .expect("disabled");
    std::fs::write(house.path("gate"), "").expect("open");
    until("nothing waits", || unsettled(&handle.store().summary()) == 0).await;
    let executions = handle.store().summary().executions;
    assert_eq!(
        (executions["cancelled"], executions["succeeded"]),
        (BURSTS * EVENTS - 2, 2)
    );
    println!("cancelled in {:.1?}", began.elapsed());
    drop(handle);
    daemon.stop().await;
}
