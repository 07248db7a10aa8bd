//! The daemon is told to stop, or is ended, in any order and at any time: what was accepted is executed, once it is back.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, LIMIT, publisher, until};
use hem::control::api::{EmitOrder, StatusView};
use hem::control::client::Client;
use hem::event::id::Seq;
use hem::sources::opennebula::publisher::Publisher;
use hem::store::ExecutionQuery;
use nix::sys::signal::Signal::{self, SIGHUP, SIGINT, SIGTERM};
use service::{Service, configure, hem, in_state, unsettled};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_to_cancel_that_was_answered_outlives_the_daemon() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\necho \"$HEM_ATTEMPT\" >>{}\nwhile :; do sleep 0.05; done\n",
        house.path("ran").display()
    );
    house.script("stubborn.sh", &script).hook(
        "stubborn",
        "name: stubborn\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: stubborn.sh\ngrace: 1h\n\
         retry: { attempts: 5, backoff: 1ms..2ms }\n",
    );
    configure(&house, "");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;
    let event = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/opennebula/events/vm-running.xml"
    );
    let emitted = hem(&house, &["emit", event]).await;
    assert_eq!(emitted.stdout, "1.stubborn\n", "{}", emitted.stderr);
    until("the script runs", || !house.lines("ran").is_empty()).await;
    let cancelled = hem(&house, &["cancel", "1.stubborn"]).await;
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    // The script has an hour to end, and does not think of it.
    daemon.kill();

    let mut daemon = Service::start(&house);
    daemon
        .until("it is settled", |status| unsettled(status) == 0)
        .await;
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    let story = client.story("1", false).await.expect("its story");
    assert_eq!(
        story.executions[0].execution.state.name(),
        "cancelled",
        "{story:?}"
    );
    assert_eq!(house.lines("ran"), ["1"]);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_does_not_go_on_does_not_keep_the_daemon_from_stopping() {
    use std::io::Write as _;

    let house = House::new();
    configure(&house, "");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;
    let mut caller =
        std::os::unix::net::UnixStream::connect(&house.config.control.socket).expect("a connection");
    caller
        .write_all(b"POST /v1/events HTTP/1.1\r\nhost: hem\r\ncontent-length: 1000\r\n\r\n{")
        .expect("the daemon listens");
    // It has read the half of it by the time that it has answered somebody else.
    daemon.until("it answers", |_| true).await;
    daemon.stop().await;
}

/// The key and the document of an event about one of a few machines.
fn event(number: u64) -> (String, String) {
    let machine = number % 7;
    (
        format!("EVENT STATE VM/ACTIVE/RUNNING/{machine} "),
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{machine}</RESOURCE_ID><VM><ID>{machine}</ID>\
             <NUMBER>{number}</NUMBER></VM></HOOK_MESSAGE>"
        ),
    )
}

/// Hands events over for as long as it is told to; comes back with the numbers of those that were acknowledged.
async fn emit(socket: &Path, over: &AtomicBool, count: &AtomicUsize) -> Vec<u64> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        number += 1;
        let (key, document) = event(number);
        let order = EmitOrder {
            key,
            payload: STANDARD.encode(document),
            hook: None,
        };
        let reply = match Client::connect(socket).await {
            Ok(client) => client.emit(&order).await,
            Err(error) => Err(error),
        };
        acknowledged.extend(reply.ok().map(|reply| reply.seq));
        count.store(acknowledged.len(), Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(15)).await;
    }
    acknowledged
}

/// Publishes bursts for as long as it is told to.
async fn publish(publisher: &Publisher, over: &AtomicBool) {
    let mut number = 0;
    while !over.load(Ordering::SeqCst) {
        for _ in 0..3 {
            number += 1;
            let (key, document) = event(number);
            publisher
                .publish(&key, STANDARD.encode(document).as_bytes())
                .await;
        }
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
}

/// What a life is told, one after the other with a pause between. The last but one ends it, and so does the last, if it is not
/// gone by then.
const ORDERS: [&[Signal]; 9] = [
    &[SIGTERM],
    &[SIGINT],
    &[SIGTERM, SIGTERM],
    &[SIGINT, SIGTERM],
    &[SIGHUP, SIGTERM],
    &[SIGTERM, SIGHUP],
    &[SIGHUP, SIGHUP, SIGINT, SIGHUP],
    &[SIGHUP, SIGTERM, SIGHUP, SIGTERM],
    &[SIGTERM, SIGINT, SIGTERM],
];

/// When a life is told.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// In the first tenth of a second.
    AtTheStart,
    /// After it has done something.
    AtWork,
}

/// Waits until this life has acknowledged and accepted some events, and runs a script.
async fn has_worked(daemon: &mut Service, acknowledged: &AtomicUsize) {
    let before = acknowledged.load(Ordering::SeqCst);
    let accepted = |status: &StatusView| -> u64 { status.events.values().map(|sums| sums.accepted).sum() };
    let first = daemon.until("it answers", |_| true).await;
    daemon
        .until("it works", |status| {
            acknowledged.load(Ordering::SeqCst) >= before + 3
                && accepted(status) >= accepted(&first) + 8
                && in_state(status, "running") > 0
        })
        .await;
}

/// Lives of one daemon, told to stop in each of the orders, each at two moments: while it starts, and in the middle of its work.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_signals_come_in_whatever_order_what_was_accepted_is_executed() {
    let seed = std::env::var("HEM_STOPPING_SEED").map_or_else(
        |_| fastrand::u64(..),
        |seed| seed.parse().expect("HEM_STOPPING_SEED is a number"),
    );
    eprintln!("HEM_STOPPING_SEED={seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    let script = format!(
        "#!/bin/sh\necho \"start $HEM_EXECUTION_ID $HEM_ATTEMPT\" >>{ran}\n\
         case $1 in *7) sleep 0.4 ;; *) sleep 0.02 ;; esac\n\
         echo \"end $HEM_EXECUTION_ID $HEM_ATTEMPT\" >>{ran}\n",
        ran = house.path("ran").display()
    );
    house.script("work.sh", &script).hook(
        "work",
        "name: work\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: work.sh\n\
         arguments: [\"${{ event.VM.NUMBER }}\"]\nmax_parallel: 8\nloop_guard: off\n",
    );
    // Most scripts end within the grace, some do not.
    configure(
        &house,
        "concurrency: 8\nshutdown_grace: 200ms\nlimits: { reserve: 1MiB }\n",
    );
    let mut lives: Vec<(&[Signal], Moment)> = ORDERS
        .iter()
        .flat_map(|order| [(*order, Moment::AtTheStart), (*order, Moment::AtWork)])
        .collect();
    rng.shuffle(&mut lives);
    let (over, count, began) = (AtomicBool::new(false), AtomicUsize::new(0), Instant::now());
    let all_lives = async {
        let mut lives = VecDeque::from(lives);
        while let Some((order, moment)) = lives.pop_front() {
            let said = house.path("daemon.log");
            let before = std::fs::metadata(&said).map_or(0, |log| log.len());
            let mut daemon = Service::start(&house);
            if let Moment::AtWork = moment {
                has_worked(&mut daemon, &count).await;
            }
            tokio::time::sleep(Duration::from_millis(rng.u64(0..120))).await;
            for signal in order {
                if daemon.has_ended() {
                    break;
                }
                daemon.signal(*signal);
                tokio::time::sleep(Duration::from_millis(rng.u64(0..60))).await;
            }
            let status = daemon.ended().await;
            // Before it has said anything it listens to nothing either.
            let had_begun = std::fs::metadata(&said).map_or(0, |log| log.len()) > before;
            let in_order = matches!(status.code(), Some(0 | 1));
            assert!(
                in_order || (!had_begun && status.signal().is_some()),
                "{order:?}, {moment:?}: {status}\n{}",
                daemon.log()
            );
            let is_rerun = |line: &String| line.starts_with("start ") && !line.ends_with(" 1");
            if lives.is_empty() && !house.lines("ran").iter().any(is_rerun) {
                assert!(began.elapsed() < LIMIT * 5, "no script is ever interrupted");
                lives.push_back((&[SIGTERM, SIGTERM], Moment::AtWork));
            }
        }
        over.store(true, Ordering::SeqCst);
    };
    let socket = &house.config.control.socket;
    let (acknowledged, (), ()) =
        tokio::join!(emit(socket, &over, &count), publish(&publisher, &over), all_lives);

    let mut daemon = Service::start(&house);
    let status = daemon
        .until("everything is done", |status| unsettled(status) == 0)
        .await;
    assert!(
        status.events.values().all(|sums| sums.adds_up && sums.lost == 0),
        "{status:?}"
    );
    let accepted: u64 = status.events.values().map(|sums| sums.accepted).sum();
    publisher.finish().await;
    daemon.stop().await;

    let mut runs: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in house.lines("ran") {
        let words: Vec<&str> = line.split(' ').collect();
        let [what, execution, attempt] = words.as_slice() else {
            panic!("a line that the script did not write: {line}")
        };
        let run = format!("{what} {attempt}");
        let known = runs.entry((*execution).to_owned()).or_default();
        assert!(!known.contains(&run), "{execution} twice under one number: {run}");
        known.push(run);
    }
    let store = daemon::store_of(&house.config);
    let everything = ExecutionQuery {
        limit: usize::MAX,
        ..ExecutionQuery::default()
    };
    let executions = store.executions(&everything).expect("a read");
    // Gaps are events that run nothing; every other one has its execution.
    let gaps: u64 = status.events.values().map(|sums| sums.gaps).sum();
    assert_eq!(executions.len() as u64, accepted, "{gaps} gaps");
    let mut done = BTreeSet::new();
    let mut interrupted = 0;
    for execution in &executions {
        let id = execution.key.with_store(store.id());
        let known = runs.remove(&id).unwrap_or_default();
        let starts = known.iter().filter(|run| run.starts_with("start")).count();
        assert!(starts <= execution.progress.attempts as usize, "{id}: {known:?}");
        interrupted += usize::from(execution.progress.attempts > 1);
        match execution.progress.state.name() {
            "succeeded" => assert!(
                known.contains(&format!("end {}", execution.progress.attempts)),
                "{id}: {known:?}"
            ),
            // Cut short three times in a row is the end of it.
            "failed" => assert_eq!(execution.progress.interruptions, 3, "{id}"),
            other => panic!("{id} is {other}"),
        }
        done.insert(execution.key.event);
    }
    assert!(runs.is_empty(), "these ran without a record: {runs:?}");
    for seq in &acknowledged {
        assert!(
            done.contains(&Seq(*seq)),
            "event {seq} was acknowledged and has no execution"
        );
    }
    assert!(
        acknowledged.len() > 20 && accepted > 50 && interrupted > 0,
        "too little happened: {} acknowledged, {accepted} accepted, {interrupted} interrupted",
        acknowledged.len()
    );
}
