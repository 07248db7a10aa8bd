//! What hem does when the machine is short of something: of disk, of a disk that takes writes, of open files, of processes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;
#[path = "short_of/small_disk.rs"]
mod small_disk;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, publisher, until};
use hem::control::api::{EmitOrder, EventFilter, EventSums, FactsView, OutcomeView, StatusView};
use hem::control::client::{Client, ClientError};
use hem::sources::opennebula::publisher::Publisher;
use nix::errno::Errno;
use service::{Service, configure, hem, in_state, unsettled};
use small_disk::SmallDisk;

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
    publisher.publish(&key, STANDARD.encode(document).as_bytes()).await;
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
        assert!(ran.contains(&execution.execution.id), "{} did not run", execution.execution.id);
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
    assert_eq!(house.lines("ran").last().map(String::as_str).map(|line| line.ends_with(" 2")), Some(true));
}
