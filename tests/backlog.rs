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

/// Further bursts, of which the growth is taken.
const BURSTS: u64 = 3;

/// What a further execution adds to memory, waiting or settled: sled's table of pages, and what the allocator does not give
/// back. Three times what was measured.
const BYTES_AT_MOST: u64 = 6_144;

/// What one that waits may add beyond one that is settled: its key, lane, state and place in the queues, some 500 bytes, and
/// the difference that the allocator's chance makes from burst to burst.
const MORE_AT_MOST: u64 = 3_072;

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
async fn burst(publisher: &Publisher, lcm_state: &str, rng: &mut fastrand::Rng) {
    for number in 0..EVENTS {
        let vm = number % 500;
        let noise: String = (0..1_750).map(|_| rng.alphanumeric()).collect();
        let event = Recorded {
            key: format!("EVENT STATE VM/ACTIVE/{lcm_state}/{vm} "),
            content: format!(
                "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
                 <LCM_STATE>{lcm_state}</LCM_STATE><RESOURCE_ID>{vm}</RESOURCE_ID><REMOTE_HOST/>\
                 <VM><ID>{vm}</ID><N>{noise}</N></VM></HOOK_MESSAGE>"
            )
            .into(),
        };
        publish(publisher, &event).await;
    }
}

/// Waits until that many events are accepted, none of them lost.
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_events_wait_for_slow_scripts_and_none_is_lost() {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    house.config.concurrency = 2;
    // All are looked for at the end.
    house.config.retention.executions = 1_000_000;
    let gate = house.path("gate").display().to_string();
    let hook = |name: &str, on: &str, more: &str| {
        format!(
            "name: {name}\ntrigger: {{ state: {{ resource: VM, on: {on} }} }}\ncommand: slow.sh\nmax_parallel: 2\n\
             loop_guard: off\n{more}"
        )
    };
    house
        .script(
            "slow.sh",
            &format!("#!/bin/sh\nwhile [ ! -e {gate} ]; do sleep 0.2; done\n"),
        )
        .hook("slow", &hook("slow", "RUNNING", ""))
        // The same record for each event, settled at once.
        .hook(
            "settled",
            &hook(
                "settled",
                "UNKNOWN",
                "throttle: { max: 1, per: 1d, key: hook, then: skip }\n",
            ),
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    let mut rng = fastrand::Rng::with_seed(1);
    let mut accepted = 0;
    let before = resident();
    let began = Instant::now();
    burst(&publisher, "RUNNING", &mut rng).await;
    accepted += EVENTS;
    until_accepted(&handle, accepted).await;
    let took = began.elapsed();
    let at_full = resident();
    let queued = || handle.store().summary().executions["queued"];
    assert_eq!(
        (handle.status().await.expect("a status").running, queued()),
        (2, EVENTS - 2)
    );
    // What comes now finds all queues and caches as large as they get. What it adds is its own, and what the allocator keeps of
    // this thread's or that one's, which differs from run to run and is less beside more events.
    let mut each = Vec::new();
    for state in ["UNKNOWN", "RUNNING"] {
        let before = resident();
        for _ in 0..BURSTS {
            burst(&publisher, state, &mut rng).await;
            accepted += EVENTS;
            until_accepted(&handle, accepted).await;
        }
        each.push(resident().saturating_sub(before) / (BURSTS * EVENTS));
    }
    let waiting = (BURSTS + 1) * EVENTS;
    // The one that the throttle let pass waits as well.
    assert_eq!(
        queued() + handle.store().summary().executions["running"],
        waiting + 1
    );
    println!(
        "{EVENTS} events accepted in {took:.1?}; VmRSS {} MiB before, {} MiB with {EVENTS} waiting; {} bytes for each further one \
         that is settled, {} for each that waits",
        before >> 20,
        at_full >> 20,
        each[0],
        each[1],
    );
    assert!(
        at_full.saturating_sub(before) <= ONCE,
        "memory grew by {} MiB",
        (at_full - before) >> 20
    );
    assert!(
        each.iter().all(|each| *each <= BYTES_AT_MOST),
        "bytes for each further execution, settled and waiting: {each:?}"
    );
    assert!(
        each[1] <= each[0] + MORE_AT_MOST,
        "bytes for each further execution, settled and waiting: {each:?}"
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
        (waiting - 2, 3)
    );
    println!("cancelled in {:.1?}", began.elapsed());
    drop(handle);
    daemon.stop().await;
}
