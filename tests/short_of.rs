//! What hem does when the machine is short of something: of disk, of a disk that takes writes, of open files, of processes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
#[path = "short_of/namespace.rs"]
mod namespace;
mod peers;
mod recorded;
mod service;
#[path = "short_of/small_disk.rs"]
mod small_disk;

use std::collections::BTreeSet;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, publisher, until};
use hem::control::api::{
    EmitOrder, EventFilter, EventSums, ExecutionFilter, FactsView, FeedLine, OutcomeView, StatusView,
};
use hem::control::client::{Client, ClientError, Lines};
use hem::sources::opennebula::publisher::Publisher;
use hem::sources::opennebula::zmtp::Endpoint;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use peers::Port;
use service::{Service, configure, hem, in_state, unsettled};
use small_disk::SmallDisk;
use tokio::task::JoinSet;

/// The key and the document of a numbered event; the document is at least so long.
fn event(number: u64, bytes: usize) -> (String, String) {
    (
        format!("EVENT STATE VM/ACTIVE/RUNNING/{number} "),
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{number}</RESOURCE_ID><VM><ID>{number}</ID>\
             <NOISE>{}</NOISE></VM></HOOK_MESSAGE>",
            noise(bytes)
        ),
    )
}

/// Text that no compression makes shorter than three quarters.
fn noise(bytes: usize) -> String {
    let random: Vec<u8> = (0..bytes * 3 / 4).map(|_| fastrand::u8(..)).collect();
    STANDARD.encode(random)
}

async fn publish(publisher: &Publisher, number: u64) {
    let (key, document) = event(number, 0);
    publisher
        .publish(&key, STANDARD.encode(document).as_bytes())
        .await;
}

/// Hands an event over as `hem emit` does; its number once it is acknowledged.
async fn emit(house: &House, hook: Option<&str>, number: u64, bytes: usize) -> Result<u64, ClientError> {
    let (key, document) = event(number, bytes);
    let order = EmitOrder {
        key,
        payload: STANDARD.encode(document),
        hook: hook.map(str::to_owned),
    };
    let client = Client::connect(&house.config.control.socket).await?;
    client.emit(&order).await.map(|reply| reply.seq)
}

/// A house with the hook `count`, which writes down what it ran for, and `slow`, which also says 60 kB once the file `go` is
/// there. What either writes down stands in `ran`, on the disk that is not short of anything.
fn house() -> House {
    let house = House::new();
    let say = |what: &str| {
        format!(
            "echo \"{what} $HEM_EXECUTION_ID $HEM_ATTEMPT\" >>{}\n",
            house.path("ran").display()
        )
    };
    let slow = format!(
        "#!/bin/sh\n{}until test -e {}; do sleep 0.02; done\nhead -c 45000 /dev/urandom | base64\n{}",
        say("start"),
        house.path("go").display(),
        say("end")
    );
    house
        .script("count.sh", &format!("#!/bin/sh\n{}", say("ran")))
        .script("slow.sh", &slow)
        .hook(
            "count",
            "name: count\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: count.sh\n",
        )
        .hook(
            "slow",
            "name: slow\ntrigger: { api: { call: one.vm.recover } }\ncommand: slow.sh\nmax_parallel: 1\n",
        );
    house
}

fn go(house: &House) {
    std::fs::write(house.path("go"), "").expect("a file");
}

fn sums(status: &StatusView) -> EventSums {
    status.events.get("opennebula").copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn below_the_reserve_nothing_new_is_accepted_and_what_was_accepted_comes_to_its_end() {
    let publisher = publisher().await;
    let mut house = house();
    house.listen_to(&publisher);
    house.config.state_dir = house.path("disk/state");
    let disk = SmallDisk::mount(&house.path("disk"), 64);
    configure(&house, "limits: { reserve: 3MiB }\n");
    let mut daemon = Service::start_by(&house, &disk.prefix(), &[]);
    publisher.wait_for_subscriber().await;
    publish(&publisher, 1).await;
    daemon.until_succeeded(1).await;
    for number in [2, 3] {
        emit(&house, Some("slow"), number, 0).await.expect("accepted");
    }
    daemon
        .until("one runs, one waits", |status| {
            in_state(status, "running") == 1 && in_state(status, "queued") == 1
        })
        .await;

    disk.fill(2 << 20);
    let full = daemon
        .until("it says that the disk is full", |status| {
            status.not_accepting.is_some()
        })
        .await;
    let why = full.not_accepting.clone().unwrap_or_default();
    assert!(why.starts_with("the disk is full"), "{why}");
    for number in 10..20 {
        publish(&publisher, number).await;
    }
    daemon
        .until("what came is counted as lost", |status| sums(status).lost == 10)
        .await;

    let saved = house.path("event.xml");
    std::fs::write(&saved, event(20, 0).1).expect("a file");
    let saved = saved.to_str().expect("a path");
    let refused = hem(&house, &["emit", saved]).await;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains("the disk is full"), "{}", refused.stderr);
    let check = hem(&house, &["status", "--check"]).await;
    assert_eq!(check.code, 1);
    assert!(
        check.stdout.contains("nothing new is accepted: the disk is full"),
        "{}",
        check.stdout
    );

    // The one that runs comes to its end and is recorded with all it said, and so does the one that waited.
    go(&house);
    let settled = daemon.until_succeeded(3).await;
    assert!(settled.not_accepting.is_some(), "the disk is still full");
    let shown = hem(&house, &["show", "2", "--json"]).await;
    assert!(shown.stdout.len() > 60_000, "{}", shown.stdout.len());

    disk.clear();
    daemon
        .until("events are accepted again", |status| {
            status.not_accepting.is_none() && sums(status).gaps == 1
        })
        .await;
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    let gaps = client
        .events(&EventFilter {
            kind: Some("gap".to_owned()),
            ..EventFilter::default()
        })
        .await
        .expect("gaps");
    let FactsView::Gap { lost, why, .. } = &gaps.first().expect("a gap").facts else {
        panic!("a gap, not {gaps:?}")
    };
    assert_eq!(*lost, 10);
    assert!(why.starts_with("the disk is full"), "{why}");
    publish(&publisher, 21).await;
    let status = daemon.until_succeeded(4).await;
    let sums = sums(&status);
    assert!(sums.adds_up && sums.lost == 10 && sums.accepted == 2, "{sums:?}");
    daemon.stop().await;
}

/// Ends a daemon by a write that fails, and holds the next life to what was acknowledged. `fail` makes writes fail, `mend`
/// undoes that.
async fn a_write_fails(house: &House, start: impl Fn() -> Service, fail: impl FnOnce(), mend: impl FnOnce()) {
    let mut daemon = start();
    daemon.until("it answers", |_| true).await;
    let mut acknowledged = vec![emit(house, Some("slow"), 1, 0).await.expect("accepted")];
    for number in 2..12 {
        acknowledged.push(emit(house, None, number, 2_000).await.expect("accepted"));
    }
    daemon
        .until("ten have run", |status| in_state(status, "succeeded") == 10)
        .await;
    until("the slow script runs", || house.lines("ran").len() == 11).await;

    fail();
    let mut number = 12;
    while let Ok(seq) = emit(house, None, number, 2_000).await {
        acknowledged.push(seq);
        number += 1;
        assert!(number < 10_000, "writes go on");
    }
    daemon
        .until_logged("writing to the store failed: nothing more is accepted or acknowledged")
        .await;
    let refused = emit(house, None, number + 1, 0).await;
    assert!(refused.is_err(), "nothing more is acknowledged: {refused:?}");
    // What runs has its grace: it comes to its end, though that cannot be written down any more.
    assert!(!house.lines("ran").iter().any(|line| line.starts_with("end ")));
    go(house);
    assert_eq!(daemon.ended().await.code(), Some(6), "{}", daemon.log());
    assert!(house.lines("ran").iter().any(|line| line.starts_with("end ")));

    // Another start does not help as long as the disk takes nothing, and says so.
    let mut in_vain = start();
    assert_eq!(in_vain.ended().await.code(), Some(6), "{}", in_vain.log());

    mend();
    let mut daemon = start();
    let status = daemon
        .until("everything is taken up", |status| {
            status.last_seq >= acknowledged.len() as u64 && unsettled(status) == 0
        })
        .await;
    assert_eq!(in_state(&status, "failed"), 0);
    let ran: BTreeSet<String> = house
        .lines("ran")
        .iter()
        .filter_map(|line| line.split(' ').nth(1).map(str::to_owned))
        .collect();
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    for seq in &acknowledged {
        let story = client.story(&seq.to_string(), false).await.expect("its story");
        let [execution] = story.executions.as_slice() else {
            panic!("event {seq} has one execution: {story:?}")
        };
        assert_eq!(execution.execution.state.name(), "succeeded", "event {seq}");
        assert!(
            ran.contains(&execution.execution.id),
            "{} did not run",
            execution.execution.id
        );
    }
    let slow = client.story("1", false).await.expect("its story");
    let outcomes: Vec<OutcomeView> = slow.executions[0]
        .attempts
        .iter()
        .filter_map(|attempt| Some(attempt.ended.as_ref()?.outcome.clone()))
        .collect();
    let twice = [OutcomeView::Interrupted, OutcomeView::Exited { code: 0 }];
    assert_eq!(outcomes, twice, "what could not be written down ran again");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_full_to_the_last_byte_ends_the_daemon_and_a_start_with_room_takes_everything_up() {
    let mut house = house();
    house.config.state_dir = house.path("disk/state");
    let disk = SmallDisk::mount(&house.path("disk"), 32);
    // Without a reserve, or with one that something else used up.
    configure(&house, "limits: { reserve: 1B }\n");
    let start = || Service::start_by(&house, &disk.prefix(), &[]);
    a_write_fails(&house, start, || disk.fill(0), || disk.clear()).await;
}

/// Makes the calls of a daemon fail as those to a bad disk do.
struct BadDisk {
    prefix: Vec<String>,
    order: PathBuf,
}

impl BadDisk {
    fn below(house: &House) -> Self {
        let library = house.path("refuse.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/short_of/refuse.c");
        let built = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .expect("a C compiler, `cc`: install gcc");
        assert!(built.success(), "refuse.c does not compile");
        let order = house.path("refuse");
        let prefix = vec![
            "env".to_owned(),
            format!("LD_PRELOAD={}", library.display()),
            format!("REFUSE_BELOW={}", house.config.state_dir.display()),
            format!("REFUSE_ORDER={}", order.display()),
        ];
        Self { prefix, order }
    }

    fn refuse(&self, call: &str, errno: Errno) {
        // In one step, so that no half of it is read.
        let unfinished = self.order.with_extension("new");
        std::fs::write(&unfinished, format!("{call} {}\n", errno as i32)).expect("a file");
        std::fs::rename(&unfinished, &self.order).expect("a file");
    }

    fn relent(&self) {
        std::fs::remove_file(&self.order).expect("the order");
    }
}

/// A kernel that meets an error on a disk makes its file system read-only under those who write to it. `mount` does not:
/// it refuses as long as a file is open for writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_turns_read_only_ends_the_daemon_and_a_start_on_a_writable_one_takes_everything_up() {
    let house = house();
    let disk = BadDisk::below(&house);
    configure(&house, "");
    let start = || Service::start_by(&house, &disk.prefix, &[]);
    let refuse = || disk.refuse("write", Errno::EROFS);
    a_write_fails(&house, start, refuse, || disk.relent()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_is_not_tried_again_and_ends_the_daemon() {
    let house = house();
    let disk = BadDisk::below(&house);
    configure(&house, "");
    let start = || Service::start_by(&house, &disk.prefix, &[]);
    let refuse = || disk.refuse("sync", Errno::EIO);
    a_write_fails(&house, start, refuse, || disk.relent()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_is_read_only_is_refused_in_plain_words_and_taken_once_it_is_writable() {
    let mut house = house();
    house.config.state_dir = house.path("disk/state");
    let disk = SmallDisk::mount(&house.path("disk"), 32);
    configure(&house, "limits: { reserve: 1MiB }\n");
    let start = || Service::start_by(&house, &disk.prefix(), &[]);
    let mut daemon = start();
    daemon.until("it answers", |_| true).await;
    emit(&house, Some("slow"), 1, 0).await.expect("accepted");
    until("the script runs", || !house.lines("ran").is_empty()).await;
    daemon.kill();

    disk.remount("ro");
    let mut in_vain = start();
    assert_eq!(in_vain.ended().await.code(), Some(6), "{}", in_vain.log());
    let log = in_vain.log();
    assert!(
        log.contains("cannot use the folder") && log.contains("Read-only file system"),
        "{log}"
    );

    disk.remount("rw");
    go(&house);
    start().until_succeeded(1).await;
    assert_eq!(
        house
            .lines("ran")
            .last()
            .map(String::as_str)
            .map(|line| line.ends_with(" 2")),
        Some(true)
    );
}

/// Sets a soft limit of a process that runs, which every user may do to their own: `prefix` makes the command one of theirs.
fn limit(process: &Service, prefix: &[String], limit: &str) {
    let pid = process.pid().to_string();
    let words: Vec<&str> = prefix
        .iter()
        .map(String::as_str)
        .chain(["prlimit", "--pid", &pid, limit])
        .collect();
    let status = Command::new(words[0])
        .args(&words[1..])
        .status()
        .expect("`prlimit`: install util-linux");
    assert!(status.success(), "prlimit {limit}");
}

/// The soft limit of a process, as `/proc` shows it.
fn limit_of(process: &Service, name: &str) -> String {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid())).expect("its limits");
    let line = limits
        .lines()
        .find(|line| line.starts_with(name))
        .expect("a limit");
    line[name.len()..]
        .split_whitespace()
        .next()
        .expect("a number")
        .to_owned()
}

/// The processor time that a process has used, in clock ticks.
fn ticks_used(process: &Service) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).expect("it lives");
    let (_, fields) = stat.rsplit_once(')').expect("its name");
    // utime and stime are fields 14 and 15; the first one here is field 3.
    fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(|ticks| ticks.parse::<u64>().expect("a number"))
        .sum()
}

/// Follows executions until so many of them wait for a retry.
async fn until_retrying(feed: &mut Lines<FeedLine>, executions: usize) {
    let mut waiting = BTreeSet::new();
    while waiting.len() < executions {
        let line = tokio::time::timeout(daemon::LIMIT, feed.next())
            .await
            .expect("in time")
            .expect("a feed");
        if let Some(FeedLine::Execution(execution)) = line
            && execution.state.name() == "retrying"
        {
            waiting.insert(execution.execution);
        }
    }
}

/// Holds the record of events 2 to 4 to what a shortage is: attempts that could not be started for want of something, then one
/// that ran, and none of them charged to the budget of a hook that has one attempt.
async fn started_once_the_shortage_was_over(house: &House) {
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    for seq in 2..5 {
        let story = client.story(&seq.to_string(), false).await.expect("its story");
        let story = &story.executions[0];
        assert_eq!(story.execution.state.name(), "succeeded");
        assert_eq!(story.execution.budget_used, 0, "{story:?}");
        let outcomes: Vec<OutcomeView> = story
            .attempts
            .iter()
            .filter_map(|attempt| Some(attempt.ended.as_ref()?.outcome.clone()))
            .collect();
        let (last, failed) = outcomes.split_last().expect("an attempt");
        assert_eq!(last, &OutcomeView::Exited { code: 0 });
        assert!(!failed.is_empty(), "event {seq} was started during the shortage");
        for outcome in failed {
            let OutcomeView::StartFailed { kind, .. } = outcome else {
                panic!("not started, rather than {outcome:?}")
            };
            assert_eq!(kind, "exhausted", "{outcome:?}");
        }
    }
}

/// How long a daemon that is short of something is looked at, and the processor time it may use meanwhile: one that tries
/// without a pause uses all it can get.
const WINDOW: Duration = Duration::from_secs(3);
const TICKS_AT_MOST: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_open_files_the_daemon_lives_on_and_what_could_not_start_runs_afterwards() {
    let port = Port::reserve();
    let endpoint: Endpoint = port.endpoint().parse().expect("an endpoint");
    let anywhere: Endpoint = "tcp://127.0.0.1:0".parse().expect("an endpoint");
    let bind = async || {
        Publisher::bind(&endpoint, &anywhere)
            .await
            .expect("a publisher")
            .0
    };
    let publisher = bind().await;
    let mut house = house();
    house.listen_to(&publisher);
    std::fs::write(house.path("secret"), "of the hook\n").expect("a file");
    house.hook(
        "count",
        &format!(
            "name: count\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: count.sh\n\
             secrets: {{ TOKEN: {} }}\n",
            house.path("secret").display()
        ),
    );
    configure(&house, "");
    let mut daemon = Service::start(&house);
    publisher.wait_for_subscriber().await;
    publish(&publisher, 1).await;
    daemon.until_succeeded(1).await;
    let socket = house.config.control.socket.clone();
    let client = Client::connect(&socket).await.expect("a daemon");
    let filter = ExecutionFilter::default();
    let mut feed = client.follow_executions(&filter).await.expect("a feed");

    // What is open stays open; nothing more can be opened.
    let before = limit_of(&daemon, "Max open files");
    limit(&daemon, &[], "--nofile=3:");
    for number in 2..5 {
        publish(&publisher, number).await;
    }
    until_retrying(&mut feed, 3).await;
    // Somebody calls, the hooks folder is to be read, and the publisher goes away and comes back.
    let mut caller = JoinSet::new();
    caller.spawn(async move { Client::connect(&socket).await?.status().await });
    daemon.signal(Signal::SIGHUP);
    daemon.until_logged("cannot read the hooks folder").await;
    publisher.finish().await;
    let publisher = bind().await;
    daemon.until_logged("Too many open files").await;
    let used = ticks_used(&daemon);
    tokio::time::sleep(WINDOW).await;
    let used = ticks_used(&daemon) - used;
    assert!(used <= TICKS_AT_MOST, "{used} ticks in {WINDOW:?}");

    limit(&daemon, &[], &format!("--nofile={before}:"));
    let answered = tokio::time::timeout(daemon::LIMIT, caller.join_next()).await;
    let answered = answered.expect("in time").expect("one caller");
    answered.expect("no panic").expect("an answer");
    daemon.until_succeeded(4).await;
    started_once_the_shortage_was_over(&house).await;
    publisher.wait_for_subscriber().await;
    publish(&publisher, 5).await;
    let status = daemon.until_succeeded(5).await;
    assert_eq!(status.hooks, 2, "the hooks stayed in force");
    assert!(status.stale.is_empty(), "{:?}", status.stale);
    daemon.stop().await;
}

/// After this time tokio lets a thread go that had nothing to do.
const IDLE: Duration = Duration::from_secs(11);

/// A user whose processes nobody else's count against.
fn other_user() -> u32 {
    20_000 + std::process::id() % 40_000
}

/// Lets the daemon run as a user whom RLIMIT_NPROC binds: it does not bind root.
fn as_other_user(house: &House) -> Vec<String> {
    if !nix::unistd::geteuid().is_root() {
        return Vec::new();
    }
    let user = other_user();
    let mut folders = vec![house.path("")];
    while let Some(folder) = folders.pop() {
        chown(&folder, Some(user), Some(user)).expect("it is ours");
        for entry in std::fs::read_dir(&folder).expect("a folder").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                chown(entry.path(), Some(user), Some(user)).expect("it is ours");
            }
        }
    }
    let user = user.to_string();
    [
        "setpriv",
        "--reuid",
        &user,
        "--regid",
        &user,
        "--clear-groups",
        "--",
    ]
    .map(str::to_owned)
    .into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_processes_the_daemon_lives_on_and_what_could_not_start_runs_afterwards() {
    let publisher = publisher().await;
    let mut house = house();
    house.listen_to(&publisher);
    // Nothing but events gives it anything to do.
    configure(&house, "reload: manual\n");
    let prefix = as_other_user(&house);
    let mut daemon = Service::start_by(&house, &prefix, &[]);
    publisher.wait_for_subscriber().await;
    publish(&publisher, 1).await;
    daemon.until_succeeded(1).await;

    tokio::time::sleep(IDLE).await;

    let before = limit_of(&daemon, "Max processes");
    limit(&daemon, &prefix, "--nproc=1:");
    for number in 2..5 {
        publish(&publisher, number).await;
    }
    daemon
        .until("they wait for a retry", |status| {
            in_state(status, "retrying") == 3
        })
        .await;
    daemon.signal(Signal::SIGHUP);
    let used = ticks_used(&daemon);
    tokio::time::sleep(WINDOW).await;
    let used = ticks_used(&daemon) - used;
    assert!(used <= TICKS_AT_MOST, "{used} ticks in {WINDOW:?}");

    limit(&daemon, &prefix, &format!("--nproc={before}:"));
    daemon.until_succeeded(4).await;
    started_once_the_shortage_was_over(&house).await;
    publish(&publisher, 5).await;
    daemon.until_succeeded(5).await;
    daemon.stop().await;
}
