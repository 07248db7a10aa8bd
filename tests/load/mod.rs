//! Load: a store with many records, a store under a steady stream of them, a daemon under a flood of events.
//!
//! `tests/load.rs` does it small and asserts what must hold; `examples/load.rs` does it large and prints figures.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "the test does a part of what the example does; a harness that cannot go on says where"
)]

#[path = "../peers/mod.rs"]
mod peers;

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hem::config::{Config, Retention};
use hem::control::api::{EventFilter, StatusView};
use hem::control::client::Client;
use hem::engine::core::Record;
use hem::engine::execution::{Cause, EndedAttempt, Execution, Progress, Settlement, StartedProcess, State};
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{ApiCall, Event, Facts, Subject};
use hem::hooks::Version;
use hem::runner::{Captured, Outcome};
use hem::store::Store;
use hem::store::writer::{Change, Writer, durable};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use peers::{Peer, Port};

/// Nothing here takes this long on any machine.
const LIMIT: Duration = Duration::from_secs(1_800);

/// Events that are on their way to the store at once.
const IN_FLIGHT: u64 = 512;

fn hook() -> HookName {
    HookName::new("vm-running").expect("a name")
}

fn moved(key: &ExecutionKey, left: &'static str, state: State) -> Change {
    Change::Record(Record::Progressed {
        key: key.clone(),
        left,
        progress: progress(key.event.0, state, 1),
    })
}

fn progress(turn: u64, state: State, attempts: u32) -> Progress {
    Progress {
        state,
        turn,
        version: Version([7; 32]),
        attempts,
        budget_used: attempts,
        interruptions: 0,
    }
}

/// What the daemon writes when an event is accepted whose script starts at once.
fn accepted(seq: u64, now: Timestamp) -> Vec<Change> {
    let mut rng = fastrand::Rng::with_seed(seq);
    let noise: String = std::iter::repeat_with(|| rng.alphanumeric()).take(600).collect();
    let key = ExecutionKey::new(Seq(seq), hook());
    let running = State::Running {
        attempt: 1,
        cause: Cause::Event,
        since: now,
        ended_for: None,
    };
    let event = Event {
        seq: Seq(seq),
        source: "opennebula".into(),
        key: "EVENT API one.vm.info 1 ".to_owned(),
        subject: Some(Subject::new(&format!("vm/{}", seq % 500))),
        received: now,
        facts: Facts::Api(ApiCall {
            call: "one.vm.info".to_owned(),
            success: true,
        }),
        ambiguous: false,
        synthesised: false,
        payload: Payload::new(format!("<VM><N>{noise}</N></VM>").into()),
    };
    vec![
        Change::Event {
            event: Box::new(event),
            hooks: vec![hook()],
            condition_errors: 0,
            absent_elements: 0,
            keep_payload: true,
        },
        Change::Record(Record::Created(Box::new(Execution {
            source: "opennebula".into(),
            key: key.clone(),
            subject: Some(Subject::new(&format!("vm/{}", seq % 500))),
            accepted: now,
            why: "api one.vm.info".to_owned(),
            retry_of: None,
            progress: progress(seq, running, 1),
        }))),
        Change::Record(Record::Released {
            key,
            attempt: 1,
            cause: Cause::Event,
            at: now,
        }),
    ]
}

/// What it writes when the script has ended.
fn ended(seq: u64, now: Timestamp) -> Vec<Change> {
    let key = ExecutionKey::new(Seq(seq), hook());
    let output = format!("registered vm/{} in the DNS\n", seq % 500);
    let captured = |text: String| Captured {
        total: text.len() as u64,
        head: text.into(),
        tail: Vec::new().into(),
    };
    let settled = State::Settled {
        settlement: Settlement::Succeeded,
        at: now,
    };
    vec![
        Change::Started {
            key: key.clone(),
            attempt: 1,
            process: Box::new(StartedProcess {
                pid: 1,
                start_ticks: seq,
                boot_id: None,
                at: now,
                uid: 0,
                version: Version([7; 32]),
                hook_file: "vm-running.yaml".into(),
                hook_file_sha256: [7; 32],
                arguments_sha256: None,
                argv: vec!["/etc/hem/scripts/register.sh".to_owned(), seq.to_string()],
                environment: vec![("HEM_EVENT_ID".to_owned(), seq.to_string())],
                directory: None,
                files: Vec::new(),
            }),
        },
        Change::Ended {
            key: key.clone(),
            attempt: 1,
            ended: Box::new(EndedAttempt {
                at: now,
                outcome: Outcome::Exited { code: 0 },
                stdout: captured(output),
                stderr: captured(String::new()),
                outputs_pruned: false,
            }),
        },
        moved(&key, "running", settled),
    ]
}

/// Writes executions with their events, attempts and outputs into the store in `folder`, as many as `count`, through its own
/// writer. Each time that `every` are durable, `look` is called.
pub(crate) fn write(folder: &Path, retention: Retention, count: u64, every: u64, mut look: impl FnMut(u64)) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let store = Store::open(folder).expect("a store");
    let first = store.summary().last_seq.0;
    let (writer, thread) = Writer::start(store, retention).expect("a thread");
    runtime.block_on(async {
        for number in 1..=count {
            let now = Timestamp::now();
            let seq = first + number;
            writer
                .submit(accepted(seq, now), || ())
                .await
                .expect("a store that writes");
            writer
                .submit(ended(seq, now), || ())
                .await
                .expect("a store that writes");
            if number.is_multiple_of(IN_FLIGHT) || number.is_multiple_of(every) || number == count {
                durable(&writer, Vec::new()).await.expect("a store that writes");
            }
            if number.is_multiple_of(every) {
                look(number);
            }
        }
    });
    drop(writer);
    thread.join().expect("the writer's thread");
}

/// Bytes that a folder takes on the disk, as `du` counts them.
pub(crate) fn disk_use(folder: &Path) -> u64 {
    fs::read_dir(folder)
        .expect("a folder")
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => disk_use(&entry.path()),
            Ok(metadata) => metadata.blocks() * 512,
            // Removed a moment ago.
            Err(_) => 0,
        })
        .sum()
}

/// A limit of so many executions, and none besides.
pub(crate) fn keeping(executions: u64) -> Retention {
    Retention {
        executions,
        bytes: u64::MAX,
        ..Config::defaults(Path::new("/")).retention
    }
}

/// What is run as `hem`: the program, and the arguments that come before its own.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// The file.
    pub(crate) path: PathBuf,
    /// What makes it be `hem`.
    pub(crate) arguments: Vec<OsString>,
}

impl Program {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_remove("HEM_CONFIG");
        command
    }
}

/// What a flood came to.
#[derive(Debug)]
pub(crate) struct Flood {
    /// Events that were published.
    pub(crate) published: u64,
    /// How long the publisher took.
    pub(crate) took: Duration,
    /// The last status.
    pub(crate) status: StatusView,
    /// Lost events that gap records speak of.
    pub(crate) lost_in_gaps: u64,
    /// Of the daemon, in bytes.
    pub(crate) peak_memory: u64,
    /// How long each `hem status` took, sorted.
    pub(crate) answers: Vec<Duration>,
}

/// The daemon of a flood. It ends with this.
struct Flooded {
    child: Child,
}

impl Drop for Flooded {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Flooded {
    fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("VmHWM");
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kib << 10
    }
}

/// Publishes events as fast as libzmq can, with scripts of 50 ms, and asks for the status all the while.
pub(crate) fn flood(program: &Program, folder: &Path, events: u64) -> Flood {
    let port = Port::reserve();
    let mut publisher = Peer::publisher(&port.endpoint(), &["--drop"]);
    let (hooks, scripts, socket) = (
        folder.join("hooks.d"),
        folder.join("scripts"),
        folder.join("hem.sock"),
    );
    for folder in [&hooks, &scripts] {
        fs::create_dir_all(folder).expect("a folder");
    }
    let script = scripts.join("slow.sh");
    fs::write(&script, "#!/bin/sh\nexec sleep 0.05\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("its mode");
    fs::write(
        hooks.join("slow.yaml"),
        "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: slow.sh\nmax_parallel: 10\nloop_guard: off\n",
    )
    .expect("a hook");
    let child = program
        .command()
        .args(["run", "--shutdown-grace", "1s", "--opennebula", &port.endpoint()])
        .arg("--state-dir")
        .arg(folder.join("state"))
        .arg("--hooks-dir")
        .arg(&hooks)
        .arg("--scripts-dir")
        .arg(&scripts)
        .arg("--socket")
        .arg(&socket)
        .stdout(Stdio::null())
        .stderr(Stdio::from(fs::File::create(folder.join("log")).expect("a file")))
        .spawn()
        .expect("a process");
    let mut daemon = Flooded { child };
    publisher.wait_for_subscriptions(2);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let is_over = Arc::new(AtomicBool::new(false));
    let asking = {
        let (program, socket, is_over) = (program.clone(), socket.clone(), Arc::clone(&is_over));
        thread::spawn(move || ask(&program, &socket, &is_over))
    };
    let began = Instant::now();
    publisher.order(&format!("states {events} 1500"));
    publisher.expect("sent");
    let took = began.elapsed();
    let (status, lost_in_gaps) = runtime.block_on(until_all_came(&mut publisher, &socket));
    is_over.store(true, Ordering::Relaxed);
    let answers = asking.join().expect("the status is told");
    let peak_memory = daemon.peak_memory();
    let pid = i32::try_from(daemon.child.id()).expect("a pid");
    kill(Pid::from_raw(pid), Signal::SIGTERM).expect("it lives");
    assert!(
        daemon.child.wait().expect("its end").success(),
        "the daemon ends in order"
    );
    Flood {
        published: events,
        took,
        status,
        lost_in_gaps,
        peak_memory,
        answers,
    }
}

/// Asks again and again, as an operator who wonders; how long each answer took, sorted.
fn ask(program: &Program, socket: &Path, is_over: &AtomicBool) -> Vec<Duration> {
    let mut answers = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let began = Instant::now();
        let mut command = program.command();
        command.arg("status").arg("--socket").arg(socket);
        let answer = command.stdout(Stdio::null()).stderr(Stdio::inherit()).status();
        assert!(answer.expect("a process").success(), "`hem status` answers");
        answers.push(began.elapsed());
        thread::sleep(Duration::from_millis(50));
    }
    answers.sort();
    answers
}

/// Waits until an event that was published last is recorded: what came before it was accepted or lost by then.
async fn until_all_came(publisher: &mut Peer, socket: &Path) -> (StatusView, u64) {
    let began = Instant::now();
    let client = Client::connect(socket).await.expect("a daemon");
    for number in 0.. {
        let key = format!("EVENT API one.flood.end{number} 1");
        publisher.send(&[key.as_bytes(), b"eA=="]);
        let asked = Instant::now();
        while asked.elapsed() < Duration::from_secs(5) {
            assert!(began.elapsed() < LIMIT, "the events are not accepted");
            let filter = EventFilter {
                key: Some("one.flood.end".to_owned()),
                limit: Some(1),
                ..EventFilter::default()
            };
            if !client.events(&filter).await.expect("events").is_empty() {
                return totals(&client).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    unreachable!("the numbers do not end");
}

/// The status once the counters of what was lost have been written as well, and what gap records say of them.
async fn totals(client: &Client) -> (StatusView, u64) {
    let began = Instant::now();
    loop {
        let status = client.status().await.expect("a status");
        let filter = EventFilter {
            kind: Some("gap".to_owned()),
            limit: Some(100_000),
            ..EventFilter::default()
        };
        let gaps = client.events(&filter).await.expect("events");
        let lost_in_gaps = gaps
            .iter()
            .map(|gap| match gap.facts {
                hem::control::api::FactsView::Gap { lost, .. } => lost,
                _ => 0,
            })
            .sum();
        if status.events["opennebula"].lost == lost_in_gaps || began.elapsed() > Duration::from_secs(60) {
            return (status, lost_in_gaps);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Flood {
    /// What should not be.
    pub(crate) fn faults(&self) -> Vec<String> {
        let sums = &self.status.events["opennebula"];
        let executions: u64 = self.status.executions.values().sum();
        let mut faults = Vec::new();
        let mut must = |holds: bool, what: String| {
            if !holds {
                faults.push(what);
            }
        };
        must(sums.adds_up, format!("the sums do not add up: {sums:?}"));
        must(
            sums.received >= 1 && sums.matched <= self.published,
            format!("more was accepted than published: {sums:?}"),
        );
        must(
            executions == sums.matched,
            format!("{executions} executions for {} matched events", sums.matched),
        );
        must(
            sums.lost == self.lost_in_gaps,
            format!("{} lost, {} of them in gap records", sums.lost, self.lost_in_gaps),
        );
        must(
            self.peak_memory <= memory_bound(sums.matched),
            format!("{} MiB of memory", self.peak_memory >> 20),
        );
        faults
    }
}

/// What a daemon may take at most while so many executions wait: sled's cache, the queues from the network and to the store, and
/// for each that waits twice what was measured (`tests/backlog.rs`).
pub(crate) const fn memory_bound(waiting: u64) -> u64 {
    (384 << 20) + waiting * 6_144
}
