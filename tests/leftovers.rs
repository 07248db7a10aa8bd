//! What a former life of the daemon left running is ended before anything of the next one starts, and nothing else is.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use daemon::{House, LIMIT, until, until_found};
use hem::control::client::Client;
use hem::runner::leftovers::{Fate, Recorded, boot_id, end_leftovers};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use service::{Service, configure, hem};

/// Between TERM and KILL.
const GRACE: Duration = Duration::from_secs(2);

/// A process in a group of its own.
fn start(command: &mut Command) -> Child {
    command.process_group(0).spawn().expect("a process")
}

/// Field 22 of `/proc/<pid>/stat`.
fn start_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let (_, fields) = stat.rsplit_once(')').expect("its name");
    fields
        .split_ascii_whitespace()
        .nth(19)
        .expect("a field")
        .parse()
        .expect("a number")
}

fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
    })
}

fn pid_in(file: &Path) -> u32 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.trim()
        .parse()
        .unwrap_or_else(|_| panic!("a pid, not `{text}`"))
}

#[tokio::test]
async fn leftovers_of_a_former_life_are_ended_and_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let instance = format!("t{}", std::process::id());
    // A script whose daemon died: it, and a child in a group of its own that ignores TERM.
    let child = folder.path().join("child");
    let script = r#"python3 -c 'import os,signal,sys,time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.setsid()
open(sys.argv[1], "w").write(str(os.getpid()))
time.sleep(300)' "$1" & sleep 300"#;
    let spawn = |mark: &str, file: &Path| {
        let mut command = Command::new("/bin/sh");
        command.env("HEM_INSTANCE", mark).args(["-c", script, "sh"]);
        start(command.arg(file))
    };
    let mut marked = spawn(&instance, &child);
    let strangers_child = folder.path().join("stranger");
    let mut stranger = spawn(&format!("{instance}x"), &strangers_child);
    let has_pid = |file: &Path| fs::read_to_string(file).is_ok_and(|text| !text.is_empty());
    until("the children run", || {
        has_pid(&child) && has_pid(&strangers_child)
    })
    .await;

    let ended = tokio::time::timeout(LIMIT, end_leftovers(&instance, &[], GRACE))
        .await
        .expect("it ends");
    let fate = |pid: u32| {
        ended
            .iter()
            .find(|leftover| leftover.pid == pid)
            .map(|leftover| leftover.fate)
    };
    assert_eq!(fate(marked.id()), Some(Fate::Terminated), "{ended:?}");
    let child = pid_in(&child);
    assert_eq!(fate(child), Some(Fate::Killed), "{ended:?}");
    assert!(
        ended.iter().any(|leftover| leftover.command == "sleep 300"),
        "{ended:?}"
    );
    assert!(!is_alive(child));
    assert!(
        stranger.try_wait().expect("a status").is_none(),
        "another instance's script is none of ours"
    );
    assert_eq!(end_leftovers(&instance, &[], GRACE).await, []);

    marked.wait().expect("a status");
    let raw = |pid: u32| Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(raw(pid_in(&strangers_child)), Signal::SIGKILL).expect("a process to end");
    killpg(raw(stranger.id()), Signal::SIGKILL).expect("a group to end");
    stranger.wait().expect("a status");
}

#[tokio::test]
async fn a_recorded_process_is_ended_though_it_shows_no_mark_and_one_that_only_has_its_number_is_not() {
    let instance = format!("r{}", std::process::id());
    let mut unmarked = start(Command::new("sleep").arg("300").env_clear());
    let mut recycled = start(Command::new("sleep").arg("301").env_clear());
    let mut of_another_boot = start(Command::new("sleep").arg("302").env_clear());
    let mut of_another_store = start(Command::new("sleep").arg("303").env("HEM_INSTANCE", "other"));
    // For an instant of its exec a process shows no environment at all.
    until("it shows its mark", || {
        let environment = fs::read(format!("/proc/{}/environ", of_another_store.id()));
        environment.is_ok_and(|environment| !environment.is_empty())
    })
    .await;
    let boot = boot_id().expect("a boot");
    let record = |child: &Child| Recorded {
        pid: child.id(),
        start_ticks: start_ticks(child.id()),
        boot_id: boot.clone(),
    };
    let recorded = [
        record(&unmarked),
        Recorded {
            start_ticks: start_ticks(recycled.id()) - 1,
            ..record(&recycled)
        },
        Recorded {
            boot_id: "4a6c1f0e-0000-4000-8000-000000000000".to_owned(),
            ..record(&of_another_boot)
        },
        record(&of_another_store),
        // What goes wrong while records are made must not end the whole machine, nor this process.
        Recorded {
            pid: 1,
            start_ticks: start_ticks(1),
            boot_id: boot.clone(),
        },
        Recorded {
            pid: std::process::id(),
            start_ticks: start_ticks(std::process::id()),
            boot_id: boot.clone(),
        },
    ];
    let ended = tokio::time::timeout(LIMIT, end_leftovers(&instance, &recorded, GRACE))
        .await
        .expect("it ends");
    let pids: Vec<u32> = ended.iter().map(|leftover| leftover.pid).collect();
    assert_eq!(pids, [unmarked.id()], "{ended:?}");
    assert_eq!(ended[0].fate, Fate::Terminated);
    unmarked.wait().expect("its end");
    for stranger in [&mut recycled, &mut of_another_boot, &mut of_another_store] {
        assert!(stranger.try_wait().expect("a status").is_none(), "{stranger:?}");
        stranger.kill().expect("it lives");
        stranger.wait().expect("its end");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_cleared_its_environment_is_ended_by_the_next_life() {
    let house = House::new();
    let pid = house.path("pid");
    // The same process goes on as another program, and shows nothing of what hem gave it.
    let script = format!(
        "#!/bin/sh\ntest $HEM_ATTEMPT = 1 || exit 0\necho $$ >{}\nexec env -i /bin/sleep 300\n",
        pid.display()
    );
    house.script("hides.sh", &script).hook(
        "hides",
        "name: hides\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: hides.sh\n",
    );
    configure(&house, "");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;
    let event = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/opennebula/events/vm-running.xml"
    );
    let emitted = hem(&house, &["emit", event]).await;
    assert_eq!(emitted.stdout, "1.hides\n", "{}", emitted.stderr);
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    until_found("the process is recorded", async || {
        let story = client.story("1", false).await.expect("its story");
        let attempt = story.executions[0].attempts.first();
        let is_recorded = attempt.is_some_and(|attempt| attempt.process.is_some());
        if is_recorded { Ok(()) } else { Err(story) }
    })
    .await;
    let pid = pid_in(&pid);
    until("it hides", || {
        fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environment| environment.is_empty())
    })
    .await;
    daemon.kill();
    assert!(is_alive(pid), "nobody else ends it");

    let mut daemon = Service::start(&house);
    daemon.until_succeeded(1).await;
    assert!(!is_alive(pid), "{}", daemon.log());
    assert!(daemon.log().contains("ended a process of a former life"));
    daemon.stop().await;
}
