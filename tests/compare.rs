//! `hem compare`: what one program ran for hooks of `oned`, beside what an observing hem would have run.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::path::Path;
use std::time::{Duration, Instant};

use daemon::{House, until};
use oned_stand_in::Oned;
use serde_json::{Value, json};
use service::{Said, Service, in_state, said};

/// A machine with an `oned`.
struct Machine {
    folder: tempfile::TempDir,
    oned: Oned,
}

impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let auth = folder.path().join("one_auth");
        let oned = Oned::start(&["--auth-file", auth.to_str().expect("a path")]);
        Self { folder, oned }
    }

    /// A hem on this machine, with a store of its own.
    fn house(&self) -> House {
        let house = House::new();
        house.script("run.sh", "#!/bin/sh\nexit 0\n");
        let config = &house.config;
        let path = |path: &Path| path.display().to_string();
        let text = format!(
            "state_dir: {}\nhooks_dir: {}\nonehem_scripts_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\n\
             sources:\n  opennebula: {{ type: opennebula, endpoint: \"{}\", replies: \"{}\" }}\n\
             oned: {{ endpoint: \"{}\", auth: {} }}\n",
            path(&config.state_dir),
            path(&config.hooks_dir),
            path(&config.scripts_dir),
            path(&config.control.socket),
            self.oned.events(),
            self.oned.replies(),
            self.oned.xmlrpc(),
            path(&self.folder.path().join("one_auth")),
        );
        std::fs::write(house.path("hem.yaml"), text).expect("a file");
        house
    }

    fn api_hook(&mut self, name: &str, call: &str, arguments: &str) -> u64 {
        self.oned.create_hook(&format!(
            "NAME={name}\nTYPE=api\nCALL={call}\nCOMMAND=run.sh\nARGUMENTS=\"{arguments}\""
        ))
    }

    fn call(&mut self, call: &str) {
        self.oned
            .tell(json!({ "do": "api", "call": call, "in": ["12"], "out": "12" }));
    }

    /// What `onehem-server` would have had `oned` record.
    fn record(&mut self, hook: u64, arguments: &str) {
        let document = format!(
            "<ARGUMENTS>{arguments}</ARGUMENTS><EXECUTION_RESULT><COMMAND>/x/run.sh {arguments}</COMMAND><STDOUT></STDOUT>\
             <STDERR></STDERR><CODE>0</CODE></EXECUTION_RESULT>"
        );
        let answer = self
            .oned
            .tell(json!({ "do": "record", "hook": hook, "document": document }));
        assert_eq!(answer["kept"], true);
    }
}

async fn observer(machine: &mut Machine, house: &House, hooks: usize) -> Service {
    let mut observer = Service::start_by(house, &[], &["--observe"]);
    machine.oned.wait_for_subscriber();
    observer
        .until("the pool is read", |status| status.hooks == hooks)
        .await;
    observer
}

async fn compare(house: &House, more: &[&str]) -> Said {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hem"));
    command
        .env_remove("HEM_SOCKET")
        .arg("--config")
        .arg(house.path("hem.yaml"))
        .args(["compare", "--since", "1h", "--utc"])
        .args(more);
    said(command).await
}

/// The numbers of each hook: both, only onehem, only hem, argv differs, unfinished.
fn numbers(said: &Said) -> Vec<(String, [usize; 5])> {
    let report: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
    let hooks = report["hooks"].as_array().expect("hooks");
    let told = hooks.iter().map(|hook| {
        let length = |list: &str| hook[list].as_array().expect("a list").len();
        let both = usize::try_from(hook["both"].as_u64().expect("a number")).expect("a small one");
        let name = hook["names"][0].as_str().unwrap_or("-").to_owned();
        let lists = ["only_onehem", "only_hem", "arguments_differ", "unfinished"].map(length);
        (name, [both, lists[0], lists[1], lists[2], lists[3]])
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_that_runs_and_one_that_observes_agree() {
    let mut machine = Machine::new();
    machine.oned.create_hook(
        "NAME=state\nTYPE=state\nRESOURCE=VM\nON=RUNNING\nCOMMAND=run.sh\nARGUMENTS=\"$TEMPLATE x\"",
    );
    machine.api_hook("api", "one.vm.resize", "$API");
    let (running, watching) = (machine.house(), machine.house());
    let mut daemon = Service::start(&running);
    daemon.until("the pool is read", |status| status.hooks == 2).await;
    let mut observer = observer(&mut machine, &watching, 2).await;
    daemon
        .until("it listens", |status| status.sources["opennebula"].connected)
        .await;
    for id in 0..4 {
        machine.oned.vm(id, "ACTIVE", "RUNNING");
    }
    machine.call("one.vm.resize");
    machine.call("one.vm.resize");
    assert_eq!(machine.oned.results(6).len(), 6);
    observer
        .until("all are observed", |status| in_state(status, "skipped") == 6)
        .await;
    let said = compare(&watching, &["--json"]).await;
    let expected = [("oned/state", [4, 0, 0, 0, 0]), ("oned/api", [2, 0, 0, 0, 0])];
    let expected = expected.map(|(name, numbers)| (name.to_owned(), numbers));
    assert_eq!(numbers(&said), expected, "{}", said.stdout);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let said = compare(&watching, &[]).await;
    assert!(said.stdout.ends_with("\nno difference\n"), "{}", said.stdout);

    // The one that runs agrees with its own records as well.
    let said = compare(&running, &["--json"]).await;
    assert_eq!(
        (numbers(&said), said.code),
        (expected.to_vec(), 0),
        "{}",
        said.stdout
    );

    observer.stop().await;
    let said = compare(&watching, &["--json", "--offline"]).await;
    assert_eq!(
        (numbers(&said), said.code),
        (expected.to_vec(), 0),
        "{}",
        said.stdout
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_extra_or_has_other_arguments_is_found() {
    let mut machine = Machine::new();
    let same = machine.api_hook("same", "one.vm.resize", "a b");
    let missing = machine.api_hook("missing", "one.vm.lock", "a");
    machine.api_hook("extra", "one.vm.chown", "secret");
    let differs = machine.api_hook("differs", "one.vm.chmod", "one two");
    let twice = machine.api_hook("twice", "one.vm.rename", "t");
    let house = machine.house();
    let mut observer = observer(&mut machine, &house, 5).await;
    let began = Instant::now();
    for call in ["one.vm.resize", "one.vm.chown", "one.vm.chmod", "one.vm.rename"] {
        machine.call(call);
    }
    machine.record(same, "a b");
    machine.record(differs, "one  two");
    observer
        .until("all are observed", |status| in_state(status, "skipped") == 4)
        .await;
    // Right after its start it may have missed what a record is about; and whoever runs scripts may still be at one.
    until("both had their time", || {
        began.elapsed() > Duration::from_secs(10)
    })
    .await;
    machine.record(missing, "a");
    machine.call("one.vm.rename");
    observer
        .until("it is observed", |status| in_state(status, "skipped") == 5)
        .await;
    machine.record(twice, "t");

    let arguments = ["--tolerance", "5s"];
    let said = compare(&house, &[&["--json"], &arguments[..]].concat()).await;
    let found = numbers(&said);
    let expected = [
        ("oned/same", [1, 0, 0, 0, 0]),
        ("oned/missing", [0, 1, 0, 0, 0]),
        ("oned/extra", [0, 0, 1, 0, 0]),
        ("oned/differs", [0, 0, 0, 1, 0]),
    ];
    let expected = expected.map(|(name, numbers)| (name.to_owned(), numbers));
    assert_eq!(&found[..4], expected, "{}", said.stdout);
    // The first of two was not run.
    assert_eq!(
        found[4],
        ("oned/twice".to_owned(), [1, 0, 1, 0, 0]),
        "{}",
        said.stdout
    );
    assert_eq!(said.code, 1);

    let shown = compare(&house, &arguments).await;
    assert_eq!(shown.code, 1);
    for line in [
        "  only onehem: record 0 of ",
        "  only hem: 2.oned/extra of ",
        "  argv differs: record 0 of ",
        "arguments `one  two`, by hem `one two`",
        "4 hooks differ",
    ] {
        assert!(shown.stdout.contains(line), "{line}\n{}", shown.stdout);
    }

    // Where scripts may take an hour, all of them may still be on their way, and only what came unasked is found.
    let said = compare(&house, &["--json", "--tolerance", "1h"]).await;
    let of = |name: &str| {
        numbers(&said)
            .into_iter()
            .find(|(hook, _)| hook == name)
            .expect("it")
            .1
    };
    assert_eq!(of("oned/extra"), [0, 0, 0, 0, 1], "{}", said.stdout);

    observer.stop().await;
    let offline = compare(&house, &[&["--json", "--offline"], &arguments[..]].concat()).await;
    assert_eq!(offline.code, 1);
    let offline = numbers(&offline);
    assert!(
        expected[2..].iter().all(|hook| offline.contains(hook)),
        "{offline:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_further_back_than_the_log_of_oned_reaches_is_compared() {
    let mut machine = Machine::new();
    let hook = machine.api_hook("often", "one.vm.resize", "x");
    let house = machine.house();
    let mut observer = observer(&mut machine, &house, 1).await;
    for count in 1..=30 {
        machine.call("one.vm.resize");
        observer
            .until("it is observed", |status| in_state(status, "skipped") == count)
            .await;
        machine.record(hook, "x");
    }
    let said = compare(&house, &["--json"]).await;
    let report: Value = serde_json::from_str(&said.stdout).expect("JSON");
    let hook = &report["hooks"][0];
    assert_eq!(hook["both"], 20, "oned keeps no more: {hook}");
    assert_eq!(hook["is_cut_by_oned"], true);
    assert_eq!(hook["only_onehem"], json!([]));
    let shown = compare(&house, &[]).await.stdout;
    assert!(shown.contains("oned's records reach back to "), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oned_that_refuses_says_so() {
    let mut machine = Machine::new();
    let house = machine.house();
    let _observer = observer(&mut machine, &house, 0).await;
    std::fs::write(machine.folder.path().join("one_auth"), "serveradmin:wrong\n").expect("a file");
    let said = compare(&house, &[]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.contains("oned refused `one.hooklog.info`"),
        "{}",
        said.stderr
    );
    assert!(said.stderr.contains("hint: "), "{}", said.stderr);
}
