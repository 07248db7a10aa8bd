//! How long after an event was published its script runs, on a machine that has nothing else to do.
//!
//! `cargo bench --bench latency` publishes 20 events a second, whose script (`date`) writes the time at which it runs, and
//! starts the same script the same way from a bare loop in between. It prints median and 99th percentile of both: the
//! difference is what receiving, matching and making it durable cost. It also prints the time of one synced append of 4 kB.

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

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use hem::event::id::{ExecutionKey, HookName, Seq};
use site::{done, encoded, publish_all, quantile, until};

const EVENTS: usize = 600;
const BETWEEN: Duration = Duration::from_millis(50);

#[tokio::main(worker_threads = 2)]
async fn main() {
    let publisher = daemon::publisher().await;
    let mut house = site::house();
    house.listen_to(&publisher).hook(
        "date",
        "name: date\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: /bin/date\narguments: [\"+%s%N\"]\n\
         loop_guard: off\n",
    );
    site::describe(house.folder.path());
    let daemon = site::daemon(&house).await;
    publisher.wait_for_subscriber().await;

    let messages = encoded(0..EVENTS);
    let mut probe = std::fs::File::create(house.path("synced")).expect("a file");
    let (mut published, mut bare, mut synced) = (Vec::new(), Vec::new(), Vec::new());
    let mut ticks = tokio::time::interval(BETWEEN);
    for message in messages.chunks(1) {
        ticks.tick().await;
        published.push(since_epoch());
        publish_all(&publisher, message).await;
        tokio::time::sleep(BETWEEN / 2).await;
        let (started, took) = tokio::task::block_in_place(|| (bare_start(), sync(&mut probe)));
        bare.push(started);
        synced.push(took);
    }
    until(|| done(&daemon).1 >= EVENTS as u64).await;

    let store = daemon.handle().store();
    let hook = HookName::new("date").expect("a name");
    let mut whole: Vec<Duration> = published
        .iter()
        .zip(1..)
        .map(|(published, seq)| {
            let key = ExecutionKey::new(Seq(seq), hook.clone());
            let attempts = store.attempts(&key).expect("its attempts");
            let ended = attempts
                .first()
                .and_then(|attempt| attempt.ended.as_ref())
                .expect("its end");
            nanoseconds(std::str::from_utf8(&ended.stdout.head).expect("digits")).saturating_sub(*published)
        })
        .collect();

    println!(
        "from publishing an event to its script running, {} a second, {EVENTS} events",
        1_000 / BETWEEN.as_millis()
    );
    println!("{:<38}  {:>9}  {:>9}", "", "median", "99th");
    print("hem", &mut whole);
    print("bare start of the same script", &mut bare);
    print("one synced append of 4 kB", &mut synced);
    daemon.stop().await;
}

fn print(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let millis = |share| quantile(times, share).as_secs_f64() * 1e3;
    println!("{what:<38}  {:>6.2} ms  {:>6.2} ms", millis(0.5), millis(0.99));
}

fn bare_start() -> Duration {
    let began = since_epoch();
    let mut child = Command::new("/bin/date")
        .arg("+%s%N")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a process");
    drop(child.stdin.take());
    let mut text = String::new();
    let mut output = child.stdout.take().expect("a pipe");
    output.read_to_string(&mut text).expect("its output");
    child.wait().expect("its end");
    nanoseconds(&text).saturating_sub(began)
}

fn sync(file: &mut std::fs::File) -> Duration {
    let began = Instant::now();
    file.write_all(&[0x5a; 4096]).expect("a write");
    file.sync_all().expect("a sync");
    began.elapsed()
}

fn nanoseconds(text: &str) -> Duration {
    Duration::from_nanos(text.trim().parse().expect("nanoseconds"))
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a time after 1970")
}
