//! How many executions of `/bin/true` a second go the whole way: published over ZeroMQ, accepted durably, run with all three
//! pipes, recorded durably; against a bare loop that starts the same program with the same pipes, as many at once.
//!
//! `cargo bench --bench executions` prints both rates for each of several rounds, one after the other on the same machine,
//! and the ratio of the best of each, with 10 at once.

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

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

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
    for round in 0..ROUNDS {
        let messages = encoded(round * EACH_ROUND..(round + 1) * EACH_ROUND);
        let began = Instant::now();
        publish_all(&publisher, &messages).await;
        let settled = ((round + 1) * EACH_ROUND) as u64;
        until(|| done(&daemon).1 >= settled).await;
        whole.push(per_second(EACH_ROUND, began.elapsed()));

        bare.push(tokio::task::block_in_place(spawn_bare));
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
    daemon.stop().await;
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
