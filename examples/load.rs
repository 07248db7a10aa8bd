//! Figures under load: the start with many records, the disk under a steady load, a flood of events.
//!
//! ```text
//! cargo run --release --all-features --example load -- start --executions 1000000
//! cargo run --release --all-features --example load -- disk --executions 500000 --keep 20000
//! cargo run --release --all-features --example load -- flood --events 100000
//! ```
//!
//! The stores lie in the build folder, so that they are on a real disk where `/tmp` is memory; `--folder` names another
//! place. The flood needs Python 3 with pyzmq, for a publisher that is real libzmq.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::panic,
    reason = "it is a report for the one who runs it, and stops where it cannot go on"
)]

#[path = "../tests/load/mod.rs"]
mod harness;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use harness::{Program, disk_use, flood, keeping, memory_bound, write};
use hem::config::Config;
use hem::daemon::{Daemon, Options};
use hem::store::Store;

/// The first argument with which this program is `hem` itself: the daemon in the flood is the library at hand.
const AS_HEM: &str = "as-hem";

/// Figures under load
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    figure: Figure,
    /// Where the stores lie; it is made, and kept
    #[arg(long, global = true, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/load"))]
    folder: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Figure {
    /// From the start to ready, with many records and with few
    Start {
        /// Executions in the large store, each with its event and its attempt
        #[arg(long, default_value_t = 1_000_000)]
        executions: u64,
    },
    /// What the store takes of the disk while the oldest are pruned
    Disk {
        /// Executions written
        #[arg(long, default_value_t = 500_000)]
        executions: u64,
        /// Executions kept
        #[arg(long, default_value_t = 20_000)]
        keep: u64,
        /// The disk is looked at after each so many
        #[arg(long, default_value_t = 25_000)]
        every: u64,
    },
    /// Events published as fast as libzmq can, with scripts of 50 ms
    Flood {
        /// Events published
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// In a process of its own: open the store, and say how long it took
    #[command(hide = true)]
    Open {
        /// The store
        state: PathBuf,
    },
    /// In a process of its own: start a daemon, and say how long it took
    #[command(hide = true)]
    Ready {
        /// The store
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    let mut words = std::env::args_os();
    let program = words.next();
    if std::env::args_os().nth(1).is_some_and(|word| word == AS_HEM) {
        return hem::cli::main(program.into_iter().chain(words.skip(1)));
    }
    let arguments = Arguments::parse();
    match arguments.figure {
        Figure::Start { executions } => start(&arguments.folder, executions),
        Figure::Disk {
            executions,
            keep,
            every,
        } => disk(&arguments.folder, executions, keep, every),
        Figure::Flood { events } => return print_flood(&arguments.folder, events),
        Figure::Open { state } => {
            let began = Instant::now();
            let store = Store::open(&state).expect("a store");
            say(began.elapsed());
            drop(store);
        }
        Figure::Ready { state } => ready(&state),
    }
    ExitCode::SUCCESS
}

/// Milliseconds, for the process that asked.
fn say(took: Duration) {
    println!("{}", took.as_secs_f64() * 1e3);
}

fn emptied(folder: &Path) -> PathBuf {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
        _ => {}
    }
    std::fs::create_dir_all(folder).expect("a folder");
    folder.to_owned()
}

fn start(folder: &Path, executions: u64) {
    println!(
        "{:>12}  {:>12}  {:>14}  {:>14}",
        "executions", "on the disk", "store opened", "daemon ready"
    );
    for count in [1_000, executions] {
        let state = emptied(&folder.join(format!("start-{count}")));
        write(&state, keeping(u64::MAX), count, u64::MAX, |_| ());
        // The first start after the load brings sled's own files in order, as the first one after a busy life does.
        let first = measured("open", &state);
        let opened = best("open", &state);
        let ready = best("ready", &state);
        println!(
            "{count:>12}  {:>8} MiB  {opened:>11.1} ms  {ready:>11.1} ms   (the first opening: {first:.1} ms)",
            disk_use(&state) >> 20
        );
    }
}

fn best(what: &str, state: &Path) -> f64 {
    (0..3)
        .map(|_| measured(what, state))
        .fold(f64::INFINITY, f64::min)
}

/// What a process of its own measured, in milliseconds.
fn measured(what: &str, state: &Path) -> f64 {
    #[expect(clippy::disallowed_methods, reason = "this program itself, which ends")]
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(what)
        .arg(state)
        .output()
        .expect("a process");
    let said = String::from_utf8(output.stdout).expect("text");
    said.trim().parse().unwrap_or_else(|_| {
        panic!("{what}: {said}{}", String::from_utf8_lossy(&output.stderr));
    })
}

fn ready(state: &Path) {
    let house = tempfile::tempdir().expect("a folder");
    let mut config = Config::defaults(house.path());
    config.state_dir = state.to_owned();
    config.hooks_dir = house.path().join("hooks.d");
    config.control.socket = house.path().join("hem.sock");
    config.retention = keeping(u64::MAX);
    std::fs::create_dir_all(&config.hooks_dir).expect("a folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let began = Instant::now();
        let daemon = Daemon::start(&config, Options::default())
            .await
            .expect("a daemon");
        say(began.elapsed());
        daemon.stop().await;
    });
}

fn disk(folder: &Path, executions: u64, keep: u64, every: u64) {
    let state = emptied(&folder.join("disk"));
    println!("{:>12}  {:>12}  {:>8}", "executions", "on the disk", "a second");
    let mut used = Vec::new();
    let mut began = Instant::now();
    write(&state, keeping(keep), executions, every, |written| {
        let bytes = disk_use(&state);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = every as f64 / began.elapsed().as_secs_f64();
        println!("{written:>12}  {:>8} MiB  {rate:>8.0}", bytes >> 20);
        used.push((written, bytes));
        began = Instant::now();
    });
    let warm = used
        .iter()
        .filter(|(written, _)| *written > 50_000)
        .map(|(_, bytes)| bytes >> 20);
    if let (Some(least), Some(most)) = (warm.clone().min(), warm.max()) {
        println!("after the first 50,000: {least} to {most} MiB, with {keep} executions kept");
    }
}

fn print_flood(folder: &Path, events: u64) -> ExitCode {
    let program = Program {
        path: std::env::current_exe().expect("this program"),
        arguments: vec![OsString::from(AS_HEM)],
    };
    let flood = flood(&program, &emptied(&folder.join("flood")), events);
    let sums = &flood.status.events["opennebula"];
    println!("{:>9}  published, in {:.1?}", flood.published, flood.took);
    for (count, what) in [
        (
            flood.published.saturating_sub(sums.matched + sums.lost),
            "dropped by the publisher",
        ),
        (sums.received, "received, the last one included"),
        (sums.accepted, "accepted"),
        (sums.matched, "matched, with an execution each"),
        (sums.lost, "lost, the queue from the network being full"),
        (flood.lost_in_gaps, "of these in gap records"),
    ] {
        println!("{count:>9}  {what}");
    }
    println!(
        "{:>9}  MiB of memory at most (bound: {} MiB)",
        flood.peak_memory >> 20,
        memory_bound(sums.matched) >> 20
    );
    let (all, worst) = (
        flood.answers.len(),
        flood.answers.last().copied().unwrap_or_default(),
    );
    let median = flood.answers.get(all / 2).copied().unwrap_or_default();
    println!("{all:>9}  times `hem status`: median {median:.1?}, at worst {worst:.1?}");
    let faults = flood.faults();
    for fault in &faults {
        println!("{fault}");
    }
    if faults.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
