//! How many executions of `/bin/true` a second go the whole way: published over ZeroMQ, accepted durably, run with all three
//! pipes, recorded durably; against a bare loop that starts the same program with the same pipes, as many at once.
//!
//! `cargo bench --bench executions` prints both rates for each of several rounds, one after the other on the same machine,
//! and the ratio of the best of each, with 10 at once; then what processor time an execution takes on either side, and which
//! threads take it. Other work on the machine moves the rates; it hardly moves the processor time.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its figures and stops where it cannot run"
)]

#[path = "../tests/daemon/mod.rs"]
mod daemon;
#[path = "../tests/recorded/mod.rs"]
mod recorded;
mod site;

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use site::processor::Used;
use site::{best, done, encoded, per_second, publish_all, until};

/// The least share of the bare loop's rate that the whole way is to keep.
const AIM: f64 = 0.8;

const AT_ONCE: usize = 10;
const EACH_ROUND: usize = 3_000;
const ROUNDS: usize = 5;

#[tokio::main(worker_threads = 2)]
async fn main() {
    let publisher = daemon::publisher().await;
    let mut house = site::house();
    house.listen_to(&publisher).hook(
        "true",
        &format!(
            "name: \"true\"\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: /bin/true\nmax_parallel: {AT_ONCE}\n\
             loop_guard: off\n"
        ),
    );
    house.config.concurrency = AT_ONCE;
    site::describe(house.folder.path());
    let daemon = site::daemon(&house).await;
    publisher.wait_for_subscriber().await;

    println!("executions of /bin/true a second, {AT_ONCE} at once, {EACH_ROUND} a round");
    println!("{:>6}  {:>10}  {:>10}  {:>6}", "round", "hem", "bare", "ratio");
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    let (mut used_whole, mut used_bare) = (Used::default(), Used::default());
    for round in 0..ROUNDS {
        let messages = encoded(round * EACH_ROUND..(round + 1) * EACH_ROUND);
        let (began, before) = (Instant::now(), Used::now());
        publish_all(&publisher, &messages).await;
        let settled = ((round + 1) * EACH_ROUND) as u64;
        until(|| done(&daemon).1 >= settled).await;
        whole.push(per_second(EACH_ROUND, began.elapsed()));
        used_whole.add(&Used::now().since(&before));

        let before = Used::now();
        bare.push(tokio::task::block_in_place(spawn_bare));
        used_bare.add(&Used::now().since(&before));
        let (whole, bare) = (whole[round], bare[round]);
        println!(
            "{:>6}  {whole:>10.0}  {bare:>10.0}  {:>6.2}",
            round + 1,
            whole / bare
        );
    }
    let succeeded = daemon.handle().store().summary().executions["succeeded"];
    assert_eq!(succeeded, (ROUNDS * EACH_ROUND) as u64, "not all succeeded");
    let (whole, bare) = (best(&whole), best(&bare));
    println!(
        "{:>6}  {whole:>10.0}  {bare:>10.0}  {:>6.2}  aim {AIM}",
        "best",
        whole / bare
    );
    print_used(&used_whole, &used_bare);
    daemon.stop().await;
}

/// Processor time an execution, over all rounds.
fn print_used(whole: &Used, bare: &Used) {
    let micros = |used: Duration| used.as_secs_f64() * 1e6 / (ROUNDS * EACH_ROUND) as f64;
    println!("\nprocessor time an execution, in microseconds");
    println!("{:<26}  {:>8}  {:>8}  {:>6}", "", "hem", "bare", "ratio");
    for (what, whole, bare) in [
        ("this process", whole.own, bare.own),
        ("the processes it started", whole.children, bare.children),
        ("together", whole.whole(), bare.whole()),
    ] {
        let (whole, bare) = (micros(whole), micros(bare));
        println!("{what:<26}  {whole:>8.0}  {bare:>8.0}  {:>6.2}", bare / whole);
    }
    println!("by hem's threads, and the publisher's:");
    for (name, used) in whole.by_thread() {
        println!("{name:<26}  {:>8.0}", micros(used));
    }
}

/// The same program and pipes from as many threads, each of which starts one, reads what it writes, and waits for its end.
fn spawn_bare() -> f64 {
    let started = AtomicUsize::new(0);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while started.fetch_add(1, Ordering::Relaxed) < EACH_ROUND {
                    run_one();
                }
            });
        }
    });
    per_second(EACH_ROUND, began.elapsed())
}

fn run_one() {
    let mut child = Command::new("/bin/true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("a process");
    drop(child.stdin.take());
    let mut output = Vec::new();
    for stream in [
        child
            .stdout
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
        child
            .stderr
            .take()
            .map(|pipe| Box::new(pipe) as Box<dyn std::io::Read>),
    ] {
        stream
            .expect("a pipe")
            .read_to_end(&mut output)
            .expect("its output");
    }
    assert!(child.wait().expect("its end").success(), "/bin/true failed");
}
