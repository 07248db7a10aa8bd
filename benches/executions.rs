//! How many executions of `/bin/true` a second go the whole way: published over ZeroMQ, accepted durably, run with all three
//! pipes, recorded durably; against a bare loop that starts the same program with the same pipes, as many at once.
//!
//! `cargo bench --bench executions` prints both rates for each of several rounds, one after the other on the same machine,
//! and the ratio of the best of each, with 10 at once; then what processor time an execution takes on either side, and which
//! threads take it. Other work on the machine moves the rates; it hardly moves the processor time. Last comes what the entries
//! of an execution cost where nothing but the store's library writes them, and what ratio that alone would allow.

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

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
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

/// Events accepted in one commit of the store alone, as many as the matching thread hands on together.
const ACCEPTED_TOGETHER: usize = 256;

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
    let lives = tokio::task::block_in_place(|| lives(&house.config.state_dir));
    tokio::task::block_in_place(|| print_floor(&lives, &used_bare));
}

/// A key and its value.
type Entry = (Vec<u8>, Vec<u8>);

/// The entries of one execution with its event, in the commits they are written in: accepted, begun, ended.
type Life = [Vec<Entry>; 3];

/// What the last round left in the store, by execution. The record of an execution is written in each of the commits, and the
/// attempt that stands behind its second line in the last one.
fn lives(store: &Path) -> Vec<Life> {
    let tree = open(store);
    let entries = |space: &[u8]| -> Vec<Entry> {
        let found = tree.scan_prefix(space).rev().take(EACH_ROUND);
        let found = found.map(|entry| entry.expect("an entry"));
        found.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    };
    let (events, by_hook, records) = (entries(b"E"), entries(b"H"), entries(b"X"));
    assert!(
        [&events, &by_hook, &records]
            .iter()
            .all(|found| found.len() == EACH_ROUND),
        "each event of the last round has one execution"
    );
    let mut lives: Vec<Life> = events
        .into_iter()
        .zip(by_hook)
        .zip(records)
        .map(|((event, by_hook), (key, record))| {
            let lines = record
                .split(|byte| *byte == b'\n')
                .take(2)
                .map(|line| line.len() + 1);
            let begun = record[..lines.sum::<usize>().min(record.len())].to_vec();
            [
                vec![event, by_hook, (key.clone(), begun.clone())],
                vec![(key.clone(), begun)],
                vec![(key, record)],
            ]
        })
        .collect();
    lives.reverse();
    lives
}

/// A store of sled's with the settings that hem gives it.
fn open(path: &Path) -> sled::Tree {
    let open = || {
        sled::Config::new()
            .path(path)
            .cache_capacity(64 << 20)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            .open()
    };
    // The daemon's threads let go of the files a moment after it has stopped.
    let began = Instant::now();
    let mut opened = open();
    while opened.is_err() && began.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(20));
        opened = open();
    }
    opened.and_then(|db| db.open_tree(b"hem")).expect("a store")
}

/// The commits of these lives where so many ends, and the starts that follow them, come together; what is accepted comes in large
/// ones.
fn commits<'a>(lives: &'a [Life], together: usize) -> Vec<Vec<&'a Entry>> {
    let step = |lives: &'a [Life], step: usize| lives.iter().flat_map(move |life| &life[step]);
    let mut commits: Vec<Vec<_>> = lives
        .chunks(ACCEPTED_TOGETHER)
        .map(|accepted| step(accepted, 0).collect())
        .collect();
    let mut ended: &[Life] = &[];
    for begun in lives.chunks(together).chain([&[][..]]) {
        commits.push(step(ended, 2).chain(step(begun, 1)).collect());
        ended = begun;
    }
    commits
}

/// Prints what it costs to write these lives durably with nothing else to do, and what ratio would be left.
fn print_floor(lives: &[Life], bare: &Used) {
    let bare = bare.whole().as_secs_f64() * 1e6 / (ROUNDS * EACH_ROUND) as f64;
    let inserts: usize = commits(lives, AT_ONCE).iter().map(Vec::len).sum();
    println!(
        "\nwhat the store alone would allow: {:.1} inserts an execution, and processor time in microseconds",
        inserts as f64 / lives.len() as f64
    );
    println!(
        "{:<26}  {:>10}  {:>13}  {:>13}  {:>13}",
        "starts and ends a commit", "sled alone", "ratio at most", "one file only", "ratio at most"
    );
    for together in [AT_ONCE, AT_ONCE / 2, AT_ONCE / 5, 1] {
        let commits = commits(lives, together);
        let micros = |used: Used| used.own.as_secs_f64() * 1e6 / lives.len() as f64;
        let (sled, file) = (micros(through_sled(&commits)), micros(into_a_file(&commits)));
        println!(
            "{together:<26}  {sled:>10.0}  {:>13.2}  {file:>13.0}  {:>13.2}",
            bare / (bare + sled),
            bare / (bare + file)
        );
    }
    println!(
        "a ratio of {AIM} leaves {:.0} for all that is done beside a bare start",
        bare / AIM - bare
    );
}

/// What is used to write these commits durably with sled, as hem does.
fn through_sled(commits: &[Vec<&Entry>]) -> Used {
    let house = site::house();
    let path = house.folder.path().join("sled-alone");
    let tree = open(&path);
    let log = File::open(path.join("db")).expect("the log");
    let before = Used::now();
    for commit in commits {
        let mut batch = sled::Batch::default();
        for (key, value) in commit {
            batch.insert(key.as_slice(), value.as_slice());
        }
        tree.apply_batch(batch).expect("a write");
        tree.flush().expect("a flush");
        log.sync_all().expect("a sync");
    }
    Used::now().since(&before)
}

/// What is used to append the same to a file, with a sync for each commit: no index, nothing that could be found again.
fn into_a_file(commits: &[Vec<&Entry>]) -> Used {
    let house = site::house();
    let mut file = File::create(house.folder.path().join("appended")).expect("a file");
    let before = Used::now();
    for commit in commits {
        let bytes: Vec<u8> = commit
            .iter()
            .flat_map(|(key, value)| [key.as_slice(), value].concat())
            .collect();
        file.write_all(&bytes).expect("a write");
        file.sync_all().expect("a sync");
    }
    Used::now().since(&before)
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
