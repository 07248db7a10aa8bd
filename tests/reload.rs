//! A running daemon takes up its changed configuration, as far as it can, and says of the rest that it waits for a start.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
#[path = "short_of/namespace.rs"]
mod namespace;
mod recorded;
mod service;
#[path = "short_of/silent_disk.rs"]
mod silent_disk;

use std::os::unix::fs::symlink;
use std::path::Path;

use daemon::{House, until};
use hem::control::api::StatusView;
use hem::control::client::Client;
use nix::sys::signal::Signal;
use service::{Service, configure, hem, in_state};
use silent_disk::silent_disk;

/// A house with the hook `waits`, whose script goes on until the file `go` is there.
fn house() -> House {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho run >>{}\nuntil test -e {}; do sleep 0.02; done\n",
        house.path("ran").display(),
        house.path("go").display()
    );
    house.script("waits.sh", &script).hook(
        "waits",
        "name: waits\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: waits.sh\n",
    );
    house
}

async fn emit(house: &House, machine: u32) {
    let file = house.path("event.xml");
    let document = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{machine}</RESOURCE_ID><VM><ID>{machine}</ID></VM></HOOK_MESSAGE>"
    );
    std::fs::write(&file, document).expect("a file");
    let emitted = hem(house, &["emit", file.to_str().expect("a path")]).await;
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_takes_up_what_a_running_daemon_can_and_names_the_rest() {
    let house = house();
    configure(&house, "concurrency: 1\nlog: error\nshutdown_grace: 1h\n");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;
    for machine in [1, 1, 2, 3] {
        emit(&house, machine).await;
    }
    let before = daemon
        .until("one runs", |status| in_state(status, "running") == 1)
        .await;
    assert_eq!((before.concurrency, in_state(&before, "queued")), (1, 3));
    assert!(before.blocked.is_empty() && before.not_accepting.is_none());
    assert!(!daemon.log().contains("hem is up"), "{}", daemon.log());

    configure(
        &house,
        "concurrency: 6\nlog: info\nshutdown_grace: 10ms\nblocked_after: 1ms\nlimits: { max_backlog: 3 }\n\
         retention: { executions: 1 }\nredact: [\"//PIN\"]\n",
    );
    daemon.signal(Signal::SIGHUP);
    let after = |status: &StatusView| {
        (
            status.concurrency,
            in_state(status, "running"),
            status.blocked.len(),
        ) == (6, 3, 1)
            && status
                .not_accepting
                .as_ref()
                .is_some_and(|why| why.contains("the backlog is full"))
    };
    daemon.until("what changed is in force", after).await;
    daemon
        .until_logged("settings=\"blocked_after concurrency limits log retention shutdown_grace\"")
        .await;
    daemon
        .until_logged("settings that changed wait for the next start settings=\"redact\"")
        .await;

    // What waits for a start is said each time, by the command too.
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(reload.code, 0, "{}", reload.stderr);
    assert_eq!(
        reload.stdout,
        "these settings changed and wait for the daemon's next start: redact\n"
    );
    let audit = hem(&house, &["audit", "--json"]).await;
    assert!(audit.stdout.contains("concurrency limits"), "{}", audit.stdout);

    std::fs::write(house.path("go"), "").expect("a file");
    daemon
        .until("all but one of the ended ones are pruned", |status| {
            service::unsettled(status) == 0
                && in_state(status, "succeeded") == 1
                && status.not_accepting.is_none()
        })
        .await;
    std::fs::remove_file(house.path("go")).expect("the file");
    emit(&house, 4).await;
    until("a script runs", || house.lines("ran").len() == 5).await;
    // It had an hour before.
    daemon.stop().await;
    let store = daemon::store_of(&house.config);
    assert_eq!(store.unsettled().expect("a read").len(), 1, "it was interrupted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_with_a_fault_is_refused_as_a_whole_and_the_fault_named() {
    let house = house();
    configure(&house, "concurrency: 3\n");
    let mut daemon = Service::start(&house);
    daemon.until("it answers", |_| true).await;

    configure(&house, "concurrency: 5\nblocked_aftr: 1m\n");
    house.hook(
        "second",
        "name: second\ntrigger: { state: { resource: VM, on: DONE } }\ncommand: waits.sh\n",
    );
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(reload.code, 4, "{}{}", reload.stdout, reload.stderr);
    assert!(
        reload
            .stdout
            .starts_with("the former configuration stays in force:\n")
            && reload.stdout.contains("hem.yaml:9:1: ")
            && reload.stdout.contains("blocked_aftr"),
        "{}",
        reload.stdout
    );
    daemon.signal(Signal::SIGHUP);
    until("it is in the log twice", || {
        daemon.log().matches("the configuration is refused").count() == 2
    })
    .await;
    let client = Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    let status = client.status().await.expect("a status");
    assert_eq!(status.concurrency, 3, "nothing of it is in force");
    assert_eq!(status.hooks, 2, "the hooks are not refused with it");

    configure(&house, "concurrency: 5\nblocked_after: 1m\n");
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(
        (reload.code, reload.stdout.as_str()),
        (0, "setting  blocked_after\nsetting  concurrency\n")
    );
    std::fs::remove_file(house.path("hem.yaml")).expect("the file");
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(reload.code, 4);
    assert!(
        reload.stdout.contains("cannot read the configuration") && reload.stdout.contains("No such file"),
        "{}",
        reload.stdout
    );
    let status = client.status().await.expect("a status");
    assert_eq!(status.concurrency, 5);
    daemon.stop().await;
}

/// As with a folder on a file system whose server is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hooks_of_a_folder_that_does_not_answer_stay_in_force() {
    let house = house();
    std::fs::write(house.path("go"), "").expect("a file");
    let (link, folder) = (&house.config.hooks_dir, house.path("hooks.real"));
    let lead_to = |target: &Path| {
        let next = house.path("next");
        symlink(target, &next).expect("a link");
        std::fs::rename(&next, link).expect("swapped");
    };
    std::fs::rename(link, &folder).expect("moved");
    lead_to(&folder);
    let disk = silent_disk(&house.path("silent"));
    configure(&house, "");
    let is_said = |status: &StatusView| {
        let mut concerns = status.concerns.iter();
        concerns.any(|concern| concern.contains("the hooks folder does not answer since"))
    };
    let mut daemon = Service::start_by(&house, &disk.prefix(), &[]);
    let well = daemon
        .until("its hook is in force", |status| status.hooks == 1)
        .await;
    assert!(!is_said(&well), "{well:?}");

    lead_to(&house.path("silent"));
    daemon
        .until("it is said", |status| is_said(status) && status.hooks == 1)
        .await;
    emit(&house, 1).await;
    daemon.until_succeeded(1).await;
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(reload.code, 4, "{reload:?}");
    assert!(
        reload
            .stdout
            .contains("the former hooks stay in force: the folder ")
            && reload.stdout.contains("could not be read within 10 s"),
        "{reload:?}"
    );

    // Neither does it hold up the daemon's end, nor its start.
    daemon.stop().await;
    let mut daemon = Service::start_by(&house, &disk.prefix(), &[]);
    daemon
        .until("the former hook is in force", |status| {
            is_said(status) && status.hooks == 1
        })
        .await;
    emit(&house, 2).await;
    daemon.until_succeeded(2).await;

    lead_to(&folder);
    house.hook(
        "new",
        "name: new\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: waits.sh\n",
    );
    drop(disk);
    daemon
        .until("it answers again", |status| !is_said(status) && status.hooks == 2)
        .await;
    daemon.stop().await;
}
