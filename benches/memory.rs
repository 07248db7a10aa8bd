//! What a daemon takes of memory when it has nothing to do, and when it has 10,000 hooks; and the size of the binary.
//!
//! `cargo bench --bench memory` starts this program once more for each figure, as a process that runs nothing but a daemon,
//! and reads its resident memory from `/proc`.

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

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use daemon::House;
use site::{done, encoded, publish_all, until};

/// What the second start of this program is to be, by its argument.
const ONLY_A_DAEMON: &str = "only-a-daemon";

#[tokio::main(worker_threads = 2)]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == ONLY_A_DAEMON) {
        let number = |offset: usize| -> usize { arguments[at + offset].parse().expect("a number") };
        return be_a_daemon(number(1), number(2)).await;
    }
    site::describe(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")));
    println!("{:<52}  {:>9}  {:>9}", "", "resident", "peak");
    for (hooks, events) in [(0, 0), (1, 0), (10_000, 0), (1, 20_000)] {
        let (resident, peak) = measured(hooks, events);
        let what = match (hooks, events) {
            (hooks, 0) => format!("{hooks} hooks, nothing to do"),
            (hooks, events) => format!("{hooks} hook, after {events} events, all queued behind one"),
        };
        println!("{what:<52}  {resident:>6} kB  {peak:>6} kB");
    }
    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_hem"))
        .expect("the binary")
        .len();
    println!("{:<52}  {:>6} kB", "the binary, with line tables", binary / 1_000);
}

fn measured(hooks: usize, events: usize) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([ONLY_A_DAEMON, &hooks.to_string(), &events.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("its output"))
        .read_line(&mut ready)
        .expect("its word");
    assert_eq!(ready, "ready\n");
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("its status");
    let field = |name: &str| -> u64 {
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("a field");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    };
    let figures = (field("VmRSS:"), field("VmHWM:"));
    drop(child.stdin.take());
    assert!(child.wait().expect("its end").success());
    figures
}

/// A daemon with so many hooks, that has accepted so many events; it ends with its standard input.
async fn be_a_daemon(hooks: usize, events: usize) {
    let publisher = daemon::publisher().await;
    let mut house: House = site::house();
    house.listen_to(&publisher);
    house.config.concurrency = 1;
    let mut yaml = String::new();
    for number in 0..hooks {
        let on = if number == 0 { "RUNNING" } else { "DONE" };
        let _ = write!(
            yaml,
            "---\nname: hook-{number}\ntrigger: {{ state: {{ resource: VM, on: {on} }} }}\n\
             when: text(\"VM/USER_TEMPLATE/TIER\") != \"tier-{number}\"\ncommand: /bin/sleep\narguments: [\"600\"]\n"
        );
        // Files of a hundred hooks, as somebody with so many might keep them.
        if number % 100 == 99 || number + 1 == hooks {
            house.hook(&format!("hooks-{number}"), &yaml);
            yaml.clear();
        }
    }
    drop(yaml);
    let daemon = site::daemon(&house).await;
    assert_eq!(daemon.handle().hooks().len(), hooks, "not all hooks are in force");
    publisher.wait_for_subscriber().await;
    for from in (0..events).step_by(1_000) {
        publish_all(&publisher, &encoded(from..events.min(from + 1_000))).await;
    }
    until(|| done(&daemon).0 >= events as u64).await;
    println!("ready");
    let mut rest = String::new();
    tokio::task::block_in_place(|| std::io::stdin().read_line(&mut rest)).expect("the end of the input");
    daemon.stop().await;
}
