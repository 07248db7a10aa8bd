//! A burst of 20,000 events while all scripts are slow. Alone in its program, because it measures the program's memory.

mod daemon;
mod recorded;

use std::time::Instant;

use daemon::{House, publish, publisher, unsettled, until};
use hem::engine::execution::Actor;
use hem::event::id::HookName;
use recorded::Recorded;

const EVENTS: u64 = 20_000;

/// Of an execution that waits, memory holds its key, lane, state and the lane's queue; its event and payload are on disk.
/// What sled's cache takes (64 MiB at most, whatever the backlog) is not counted per execution.
const BYTES_AT_MOST: u64 = 4_096;
const CACHE: u64 = 64 << 20;

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("its status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .expect("VmRSS");
    let kib = line.split_ascii_whitespace().nth(1).expect("a number");
    kib.parse::<u64>().expect("a number") * 1024
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
            "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: slow.sh\nmax_parallel: 2\n",
        );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let handle = daemon.handle().clone();
    let began = Instant::now();
    let before = resident();
    // Each is another text of 2 kB that does not compress well.
    let mut rng = fastrand::Rng::with_seed(1);
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
        publish(&publisher, &event).await;
    }
    let published = began.elapsed();
    until("all are accepted", || {
        handle
            .store()
            .summary()
            .events
            .get("opennebula")
            .is_some_and(|counters| counters.received == EVENTS)
    })
    .await;
    let accepted = began.elapsed();
    let at_full = resident();
    let summary = handle.store().summary();
    let counters = summary.events["opennebula"].clone();
    assert_eq!((counters.matched, counters.lost), (EVENTS, 0), "{counters:?}");
    assert_eq!(summary.executions["queued"], EVENTS - 2);
    assert_eq!(handle.status().await.expect("a status").running, 2);
    let grown = at_full.saturating_sub(before);
    println!(
        "published in {published:.1?}, accepted in {accepted:.1?}; VmRSS {} MiB before, {} MiB with {} waiting: \
         {} bytes for each, sled's cache included",
        before >> 20,
        at_full >> 20,
        EVENTS - 2,
        grown / EVENTS
    );
    assert!(
        grown <= CACHE + EVENTS * BYTES_AT_MOST,
        "memory grew by {} MiB",
        grown >> 20
    );

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
        (EVENTS - 2, 2)
    );
    println!("cancelled in {:.1?}", began.elapsed() - accepted);
    drop(handle);
    daemon.stop().await;
}
