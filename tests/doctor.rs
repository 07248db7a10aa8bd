//! `hem doctor` on machines that are well, and on machines where one thing is not.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
#[path = "short_of/namespace.rs"]
mod namespace;
mod node;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;
#[path = "short_of/silent_disk.rs"]
mod silent_disk;
#[path = "short_of/small_disk.rs"]
#[allow(dead_code, reason = "the disk is filled here and not cleared")]
mod small_disk;
mod sshd;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use daemon::{House, until};
use node::Node;
use oned_stand_in::Oned;
use peers::Port;
use serde_json::{Value, json};
use service::{Said, Service, said};
use silent_disk::silent_disk;
use small_disk::SmallDisk;

/// A front-end: a controller, a hook with its script, and `hem.yaml`.
struct FrontEnd {
    house: House,
    oned: Oned,
}

impl FrontEnd {
    fn new() -> Self {
        let front_end = Self {
            house: House::new(),
            oned: Oned::start(&[]),
        };
        front_end.house.script("good.sh", "#!/bin/sh\nexit 0\n");
        front_end.hook("good", "good.sh", "");
        fs::write(front_end.house.path("one_auth"), front_end.oned.session()).expect("a file");
        front_end.oned_conf("-h 20000");
        front_end.tool("timedatectl", "#!/bin/sh\necho yes\n");
        front_end.configure("");
        front_end
    }

    fn hook(&self, name: &str, command: &str, more: &str) {
        self.house.hook(
            name,
            &format!("name: {name}\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: {command}\n{more}"),
        );
    }

    /// A program that goes before the machine's own of that name.
    fn tool(&self, name: &str, text: &str) {
        let folder = self.house.path("bin");
        fs::create_dir_all(&folder).expect("a folder");
        let file = folder.join(name);
        fs::write(&file, text).expect("a program");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// What oned starts its hook manager with.
    fn oned_conf(&self, arguments: &str) {
        let port = self.oned.events().rsplit(':').next().expect("a port");
        let text = format!(
            "HM_MAD = [\n    EXECUTABLE = \"one_hm\",\n    ARGUMENTS = \"-p {port} {arguments}\" ]\n"
        );
        fs::write(self.house.path("oned.conf"), text).expect("a file");
    }

    fn configure(&self, below_oned: &str) {
        let oned = format!(
            "oned:\n  endpoint: {}\n  auth: {}\n{below_oned}",
            self.oned.xmlrpc(),
            self.house.path("one_auth").display(),
        );
        self.configure_all(self.oned.events(), self.oned.replies(), &oned);
    }

    fn configure_all(&self, endpoint: &str, replies: &str, more: &str) {
        let config = &self.house.config;
        let text = format!(
            "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\nremote_scripts_dir: {}\ncontrol: {{ socket: {} }}\n\
             sources:\n  opennebula: {{ type: opennebula, endpoint: \"{endpoint}\", replies: \"{replies}\" }}\n{more}",
            config.state_dir.display(),
            config.hooks_dir.display(),
            config.scripts_dir.display(),
            config.scripts_dir.display(),
            config.control.socket.display(),
        );
        fs::write(self.house.path("hem.yaml"), text).expect("a file");
    }

    /// Runs `hem` with this front-end's configuration.
    async fn hem(&self, arguments: &[&str]) -> Said {
        self.hem_by(&[], arguments).await
    }

    /// Runs it by a command that takes another one as its arguments.
    async fn hem_by(&self, prefix: &[String], arguments: &[&str]) -> Said {
        let path = std::env::var("PATH").unwrap_or_default();
        let words: Vec<&str> = prefix
            .iter()
            .map(String::as_str)
            .chain([env!("CARGO_BIN_EXE_hem")])
            .collect();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env("PATH", format!("{}:{path}", self.house.path("bin").display()))
            .env_remove("HEM_SOCKET")
            .env("HEM_CONFIG", self.house.path("hem.yaml"))
            .args(arguments);
        said(command).await
    }

    async fn doctor(&self, arguments: &[&str]) -> Report {
        self.doctor_by(&[], arguments).await
    }

    async fn doctor_by(&self, prefix: &[String], arguments: &[&str]) -> Report {
        let oned_conf = self.house.path("oned.conf");
        let own = [
            "doctor",
            "--json",
            "--oned-conf",
            oned_conf.to_str().expect("a path"),
        ];
        let said = self.hem_by(prefix, &[&own, arguments].concat()).await;
        let view = serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("no report: {said:?}"));
        Report {
            view,
            code: said.code,
        }
    }
}

/// What the doctor said.
#[derive(Debug)]
struct Report {
    view: Value,
    code: i32,
}

impl Report {
    /// All findings with this verdict, `section: message`.
    fn all(&self, verdict: &str) -> Vec<String> {
        let checks = self.view["checks"].as_array().expect("a list");
        let text = |check: &Value, name: &str| check[name].as_str().expect("a text").to_owned();
        checks
            .iter()
            .filter(|check| check["verdict"] == verdict)
            .map(|check| format!("{}: {}", text(check, "section"), text(check, "message")))
            .collect()
    }

    /// One finding has this verdict and begins so, section first.
    #[track_caller]
    fn says(&self, verdict: &str, beginning: &str) -> &Self {
        let found = self.all(verdict);
        assert!(
            found.iter().any(|finding| finding.starts_with(beginning)),
            "no `{verdict}` begins with `{beginning}`: {:#}",
            self.view
        );
        self
    }

    /// Nothing else fails or warns, and the exit code says so.
    #[track_caller]
    fn nothing_but(&self, warnings: usize, failures: usize) -> &Self {
        let (warn, fail) = (self.all("warn"), self.all("fail"));
        assert_eq!((warn.len(), fail.len()), (warnings, failures), "{:#}", self.view);
        assert_eq!(self.code, i32::from(failures > 0));
        assert_eq!(self.view["passed"], failures == 0);
        self
    }

    /// What to do about it stands beside the finding that begins so.
    #[track_caller]
    fn advises(&self, beginning: &str, advice: &str) -> &Self {
        let checks = self.view["checks"].as_array().expect("a list");
        let begins = |check: &&Value| {
            check["message"]
                .as_str()
                .is_some_and(|message| message.starts_with(beginning))
        };
        let found = checks.iter().find(begins).expect("the finding");
        let given = found["advice"].as_str().unwrap_or_default();
        assert!(given.contains(advice), "{given}");
        self
    }
}

/// A process that only waits, with these words as its command line; ended when dropped.
struct Pretender(Child);

impl Pretender {
    /// The first word is only said; `/bin/sh` runs the second one, a script.
    fn start(front_end: &FrontEnd, script: &str, words: &[&str]) -> Self {
        let file = front_end.house.path(script);
        // It ends when its standard input does, which is when this process ends.
        fs::write(&file, "read line\n").expect("a script");
        let child = Command::new("/bin/sh")
            .arg0("ruby")
            .arg(&file)
            .args(words)
            .env("ONE_LOCATION", front_end.house.folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        Self(child)
    }

    async fn is_seen(&self) {
        let file = format!("/proc/{}/cmdline", self.0.id());
        until("the process has its words", || {
            fs::read(&file).is_ok_and(|words| words.starts_with(b"ruby\0"))
        })
        .await;
    }
}

impl Drop for Pretender {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An `onehem-server.rb` whose configuration names this front-end's hook manager.
async fn predecessor(front_end: &FrontEnd) -> Pretender {
    fs::create_dir_all(front_end.house.path("etc")).expect("a folder");
    fs::write(
        front_end.house.path("etc/onehem-server.conf"),
        format!(":subscriber_endpoint: '{}'\n", front_end.oned.events()),
    )
    .expect("a file");
    let pretender = Pretender::start(front_end, "onehem-server.rb", &[]);
    pretender.is_seen().await;
    pretender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_end_that_is_well_gets_one_page_without_a_warning() {
    let mut front_end = FrontEnd::new();
    front_end
        .oned
        .create_hook("NAME=pooled\nTYPE=api\nCALL=one.vm.deploy\nCOMMAND=/bin/true");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 0)
        .says("skipped", "daemon: no daemon answers at ")
        .says("ok", "daemon: no onehem-server listens where hem does")
        .says("ok", "oned: oned answers at http://127.0.0.1:")
        .says("ok", "oned: this front-end stands alone")
        .says(
            "ok",
            "hook manager: `opennebula`: it publishes at tcp://127.0.0.1:",
        )
        .says(
            "ok",
            "hook manager: `opennebula`: it takes results at tcp://127.0.0.1:",
        )
        .says(
            "ok",
            "hook manager: `opennebula`: it keeps 20,000 messages for a subscriber (`",
        )
        .says(
            "ok",
            "hooks: each command is there, executable, with its interpreter and safe rights (2 looked at)",
        )
        .says("ok", "hooks: 2 hooks with the digest ")
        .says("skipped", "remote hosts: no hook has `remote: true`")
        .says("ok", "machine: the clock is synchronised")
        .says("ok", "machine: oned has the same clock");
    assert_eq!(report.view["digest"].as_str().map(str::len), Some(64));

    // For people it is the same page, and nothing was sent to the hook manager.
    let said = front_end.hem(&["doctor"]).await;
    assert!(
        said.stdout.contains("\noned\n  ok       oned answers"),
        "{said:?}"
    );
    assert!(said.stdout.contains(" failed, "), "{said:?}");
    let results = front_end.oned.tell(json!({ "do": "results" }));
    assert_eq!(results["results"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_daemon_is_asked_for_its_hooks_and_what_concerns_it() {
    let front_end = FrontEnd::new();
    let mut service = Service::start(&front_end.house);
    service
        .until("it is connected", |status| {
            status.sources.values().all(|source| source.connected)
        })
        .await;
    let report = front_end.doctor(&[]).await;
    report
        .says("ok", "daemon: hem 0.")
        .says("ok", "hooks: each command is there, executable")
        .nothing_but(0, 0);
    let with = report.view["digest"].clone();

    front_end.house.hook("good", "name: [broken\n");
    service
        .until("it knows of the broken file", |status| !status.stale.is_empty())
        .await;
    let report = front_end.doctor(&[]).await;
    report
        .says("warn", "daemon: ")
        .says("fail", "hooks: 1 error in the hook files of ")
        .advises("1 error in the hook files", "hem check");
    assert_eq!(report.code, 1);
    assert_eq!(report.view["digest"], with, "the last good version is in force");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oned_that_is_away_silent_or_refuses_is_said_with_what_to_do() {
    let mut front_end = FrontEnd::new();
    front_end
        .oned
        .tell(json!({ "do": "break", "method": "one.hookpool.info", "how": "auth", "times": 1 }));
    front_end
        .doctor(&[])
        .await
        .nothing_but(0, 1)
        .says("fail", "oned: oned refused `one.hookpool.info`: ")
        .advises("oned refused", "another user or an old password");

    front_end
        .oned
        .tell(json!({ "do": "break", "method": "one.hookpool.info", "how": "hang", "times": 1 }));
    front_end
        .doctor(&[])
        .await
        .nothing_but(0, 1)
        .says("fail", "oned: oned at http://127.0.0.1:");

    fs::remove_file(front_end.house.path("one_auth")).expect("the file");
    front_end
        .doctor(&[])
        .await
        .nothing_but(0, 1)
        .says(
            "fail",
            "oned: cannot read the credentials for oned: there is no file",
        )
        .advises("cannot read the credentials", "ONE_AUTH");
    fs::write(front_end.house.path("one_auth"), front_end.oned.session()).expect("a file");

    front_end.oned.tell(json!({ "do": "down" }));
    front_end
        .doctor(&[])
        .await
        .nothing_but(0, 3)
        .says("fail", "oned: oned cannot be reached at http://127.0.0.1:")
        .says("fail", "hook manager: `opennebula`: nobody publishes at ")
        .says("fail", "hook manager: `opennebula`: nobody takes results at ")
        .advises("oned cannot be reached", "systemctl start opennebula");

    // Where hem does not ask oned, its absence is none of hem's.
    front_end.configure_all(front_end.oned.events(), front_end.oned.replies(), "");
    let report = front_end.doctor(&[]).await;
    report.nothing_but(0, 2).says("skipped", "oned: ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hook_manager_s_ports_are_told_apart() {
    let front_end = FrontEnd::new();
    let oned = format!(
        "oned:\n  endpoint: {}\n  auth: {}\n",
        front_end.oned.xmlrpc(),
        front_end.house.path("one_auth").display()
    );
    front_end.configure_all(front_end.oned.replies(), front_end.oned.events(), &oned);
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 2)
        .says("fail", "hook manager: `opennebula`: nobody publishes at ")
        .says("fail", "hook manager: `opennebula`: nobody takes results at ");
    let failures = report.all("fail").join("\n");
    assert!(failures.contains("the peer is a REP socket"), "{failures}");
    assert!(
        failures.contains("PUB socket, which does not work with REQ"),
        "{failures}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_is_said_and_whether_hem_cares() {
    let mut front_end = FrontEnd::new();
    for (state, verdict, words) in [
        ("LEADER", "ok", "oned: this front-end leads"),
        (
            "FOLLOWER",
            "warn",
            "oned: this front-end follows another one, and hem would work",
        ),
        ("CANDIDATE", "warn", "oned: this front-end has no leader"),
    ] {
        front_end.oned.tell(json!({ "do": "raft", "state": state }));
        let warnings = usize::from(verdict == "warn");
        front_end
            .doctor(&[])
            .await
            .nothing_but(warnings, 0)
            .says(verdict, words);
    }
    front_end.oned.tell(json!({ "do": "raft", "state": "FOLLOWER" }));
    front_end.configure("  leader_only: true\n");
    let report = front_end.doctor(&[]).await;
    report.nothing_but(0, 0).says(
        "ok",
        "oned: this front-end follows another one, and hem stands by",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_high_water_mark_is_that_of_the_running_hook_manager_or_of_oned_conf() {
    let front_end = FrontEnd::new();
    for (arguments, verdict, words) in [
        (
            "",
            "warn",
            "hook manager: `opennebula`: it keeps only 1,000 messages",
        ),
        (
            "-h 500",
            "warn",
            "hook manager: `opennebula`: it keeps only 500 messages",
        ),
        (
            "--hwm=0",
            "ok",
            "hook manager: `opennebula`: it keeps any number of messages",
        ),
        (
            "-h 1001",
            "ok",
            "hook manager: `opennebula`: it keeps 1,001 messages",
        ),
    ] {
        front_end.oned_conf(arguments);
        let warnings = usize::from(verdict == "warn");
        front_end
            .doctor(&[])
            .await
            .nothing_but(warnings, 0)
            .says(verdict, words);
    }
    let port = front_end
        .oned
        .events()
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let running = Pretender::start(&front_end, "one_hm.rb", &["-p", &port, "-l", "1", "-h", "700"]);
    running.is_seen().await;
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(1, 0)
        .says("warn", "hook manager: `opennebula`: it keeps only 700 messages")
        .advises("`opennebula`: it keeps only", "HM_MAD");
    drop(running);
    fs::remove_file(front_end.house.path("oned.conf")).expect("the file");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 0)
        .says("skipped", "hook manager: `opennebula`: it does not run here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_of_a_command_is_named_with_its_cure() {
    let mut front_end = FrontEnd::new();
    front_end
        .house
        .script("no-mode.sh", "#!/bin/sh\n")
        .script("no-interpreter.rb", "#!/no/such/ruby\n")
        .script("no-env.rb", "#!/usr/bin/env no-such-ruby\n")
        .script("windows.sh", "#!/bin/sh\r\nexit 0\r\n")
        .script("open.sh", "#!/bin/sh\n")
        .script("bare.sh", "exit 0\n");
    let scripts = front_end.house.config.scripts_dir.clone();
    let set_mode = |name: &str, mode: u32| {
        let file = scripts.join(name);
        fs::set_permissions(file, fs::Permissions::from_mode(mode)).expect("a mode");
    };
    set_mode("no-mode.sh", 0o644);
    for (hook, command, verdict, words, advice) in [
        (
            "absent",
            "absent.sh",
            "fail",
            "there is no `",
            "install the script",
        ),
        ("no-mode", "no-mode.sh", "fail", "`", "chmod +x"),
        ("no-interpreter", "no-interpreter.rb", "fail", "`", "install it"),
        ("no-env", "no-env.rb", "fail", "`", "install it"),
        ("windows", "windows.sh", "fail", "`", "line ends of Windows"),
        ("bare", "bare.sh", "warn", "`", "begin the script with"),
    ] {
        front_end.hook(hook, command, "");
        let (warnings, failures) = if verdict == "warn" { (1, 0) } else { (0, 1) };
        let report = front_end.doctor(&[]).await;
        report
            .nothing_but(warnings, failures)
            .says(verdict, &format!("hooks: `{hook}`: {words}"))
            .advises(&format!("`{hook}`: "), advice);
        let hooks = &front_end.house.config.hooks_dir;
        fs::remove_file(hooks.join(format!("{hook}.yaml"))).expect("the hook");
    }
    // A script that others may write is refused, and no script runs by its rights.
    set_mode("open.sh", 0o777);
    front_end.hook("open", "open.sh", "");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 1)
        .says("fail", "hooks: `open`: others may write `")
        .advises("`open`: others may write", "chmod go-w");
    // Hooks of the pool are looked at like those of the folder.
    front_end
        .oned
        .create_hook("NAME=pooled\nTYPE=api\nCALL=one.vm.deploy\nCOMMAND=/no/such/file");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 2)
        .says("fail", "hooks: `oned/pooled`: there is no `/no/such/file`");
    front_end.oned.call("one.hook.delete", json!([0]));
    // A hook that is not enabled runs nothing.
    front_end.hook("open", "/bin/true", "");
    front_end.hook("absent", "absent.sh", "enabled: false\n");
    front_end.doctor(&[]).await.nothing_but(0, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_a_file_system_that_does_not_answer_is_named_and_hides_no_other() {
    let front_end = FrontEnd::new();
    let disk = silent_disk(&front_end.house.path("silent"));
    let script = front_end.house.path("silent/hook.sh").display().to_string();
    front_end.hook("silent", &script, "");
    front_end.hook("absent", "absent.sh", "");
    let report = front_end.doctor_by(&disk.prefix(), &[]).await;
    report
        .nothing_but(0, 2)
        .says(
            "fail",
            &format!("hooks: `silent`: `{script}` could not be looked at within 10 s"),
        )
        .advises("`silent`: ", "is the file system that it stands on there?")
        .says("fail", "hooks: `absent`: there is no `");

    // Nor do the hook files have to be there.
    let silent = front_end.house.path("silent").display().to_string();
    let config = front_end.house.path("hem.yaml");
    let text = fs::read_to_string(&config).expect("a file");
    let hooks = front_end.house.config.hooks_dir.display().to_string();
    fs::write(
        &config,
        text.replace(&format!("hooks_dir: {hooks}"), &format!("hooks_dir: {silent}")),
    )
    .expect("a file");
    let report = front_end.doctor_by(&disk.prefix(), &[]).await;
    report
        .nothing_but(0, 1)
        .says("fail", &format!("hooks: {silent} could not be read within 10 s"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_digest_tells_whether_front_ends_have_the_same_hooks() {
    let (one, other) = (FrontEnd::new(), FrontEnd::new());
    // The folder of scripts is part of what a hook is.
    let oned = format!(
        "oned:\n  endpoint: {}\n  auth: {}\nscripts_dir: {}\n",
        other.oned.xmlrpc(),
        other.house.path("one_auth").display(),
        one.house.config.scripts_dir.display()
    );
    let digest = async |front_end: &FrontEnd| front_end.doctor(&[]).await.view["digest"].clone();
    let text = fs::read_to_string(other.house.path("hem.yaml")).expect("a file");
    let scripts = format!("scripts_dir: {}\n", other.house.config.scripts_dir.display());
    let text = text.replacen(&scripts, "", 1);
    let (before, _) = text.split_once("oned:").expect("the section");
    fs::write(other.house.path("hem.yaml"), format!("{before}{oned}")).expect("a file");
    assert_eq!(digest(&one).await, digest(&other).await);
    other.hook("good", "good.sh", "timeout: 3s\n");
    assert_ne!(digest(&one).await, digest(&other).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_are_reached_by_ssh_and_asked_for_the_commands() {
    let mut front_end = FrontEnd::new();
    let mut node = Node::new(&front_end.house);
    node.listens().await;
    let oned = format!(
        "oned:\n  endpoint: {}\n  auth: {}\nssh: {{ config: {} }}\n",
        front_end.oned.xmlrpc(),
        front_end.house.path("one_auth").display(),
        node.folder.join("ssh_config").display()
    );
    front_end.configure_all(front_end.oned.events(), front_end.oned.replies(), &oned);
    front_end
        .doctor(&["--host", "node1", "--host", "rh6938"])
        .await
        .nothing_but(0, 0)
        .says(
            "ok",
            "remote hosts: 2 hosts are reached by ssh without a password",
        );

    // Hosts that oned knows are asked where a hook runs on hosts; one that is switched off is left in peace.
    front_end.hook("far", "far.sh", "remote: true\n");
    for (id, name, state) in [(1, "node1", "MONITORED"), (2, "asleep", "OFFLINE")] {
        front_end
            .oned
            .tell(json!({ "do": "host", "id": id, "name": name, "state": state }));
    }
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 1)
        .says("fail", "remote hosts: `node1`: there is no executable `")
        .advises("`node1`: there is no executable", "onehost sync");
    front_end.house.script("far.sh", "#!/bin/sh\n");
    front_end.doctor(&[]).await.nothing_but(0, 0).says(
        "ok",
        "remote hosts: 1 host is reached by ssh without a password, and the commands",
    );

    // Nobody may log in any more; then nobody listens.
    fs::write(node.folder.join("authorized_keys"), "").expect("a file");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(0, 1)
        .says("fail", "remote hosts: `node1`: ")
        .advises("`node1`: ", "ssh -o BatchMode=yes node1 true");
    node.stop();
    let report = front_end.doctor(&[]).await;
    report.nothing_but(0, 1).says("fail", "remote hosts: `node1`: ");
    let failures = report.all("fail").join("\n");
    assert!(failures.contains("refused"), "{failures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_nobody_sets_is_a_warning_and_one_that_cannot_be_asked_is_not() {
    let front_end = FrontEnd::new();
    front_end.tool("timedatectl", "#!/bin/sh\necho no\n");
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(1, 0)
        .says("warn", "machine: the clock is not synchronised");
    front_end.tool("timedatectl", "#!/bin/sh\necho 'no bus here' >&2\nexit 1\n");
    let report = front_end.doctor(&[]).await;
    report.nothing_but(0, 0).says(
        "skipped",
        "machine: whether the clock is synchronised is not known: `timedatectl` says `no bus here`",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_has_room_is_nearly_full_or_keeps_hem_from_accepting() {
    const MIB: u64 = 1 << 20;
    let mut front_end = FrontEnd::new();
    let disk = SmallDisk::mount(&front_end.house.path("disk"), 64);
    // It is not there before the first start.
    let state = front_end.house.path("disk/hem/state");
    front_end.house.config.state_dir.clone_from(&state);
    let with_reserve = |reserve: &str| {
        front_end.configure("");
        let file = front_end.house.path("hem.yaml");
        let text = fs::read_to_string(&file).expect("a file");
        fs::write(file, format!("{text}limits: {{ reserve: {reserve} }}\n")).expect("a file");
    };
    let prefix = disk.prefix();
    let free = || {
        format!(
            "machine: {} MiB are free for {}",
            disk.free() / MIB,
            state.display()
        )
    };

    with_reserve("2MiB");
    let report = front_end.doctor_by(&prefix, &[]).await;
    report
        .nothing_but(0, 0)
        .says("ok", &format!("{}; 2 MiB are kept in reserve", free()));

    // One that is larger than the disk counts as a twentieth of it: 3.2 MiB.
    with_reserve("1TiB");
    let report = front_end.doctor_by(&prefix, &[]).await;
    report
        .nothing_but(0, 0)
        .says("ok", &format!("{}; 3 MiB are kept in reserve", free()));
    disk.fill(5 * MIB);
    let report = front_end.doctor_by(&prefix, &[]).await;
    report
        .nothing_but(1, 0)
        .says(
            "warn",
            &format!("{}; below 3 MiB nothing new is accepted", free()),
        )
        .advises(free().trim_start_matches("machine: "), "`retention:`");
    disk.fill(2 * MIB);
    let report = front_end.doctor_by(&prefix, &[]).await;
    report
        .nothing_but(0, 1)
        .says(
            "fail",
            &format!("{}, 3 MiB are kept in reserve: nothing new is accepted", free()),
        )
        .advises(free().trim_start_matches("machine: "), "make room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_users_daemon_and_a_wrong_configuration_are_said() {
    let front_end = FrontEnd::new();
    // Nobody runs these tests as both.
    let theirs = if nix::unistd::Uid::effective().is_root() {
        let folder = front_end.house.path("theirs");
        fs::create_dir(&folder).expect("a folder");
        std::os::unix::fs::chown(&folder, Some(65_534), None).expect("an owner");
        folder
    } else {
        "/".into()
    };
    let text = fs::read_to_string(front_end.house.path("hem.yaml")).expect("a file");
    let own = front_end.house.config.state_dir.display().to_string();
    fs::write(
        front_end.house.path("hem.yaml"),
        text.replacen(&own, &theirs.display().to_string(), 1),
    )
    .expect("a file");
    front_end
        .doctor(&[])
        .await
        .nothing_but(1, 0)
        .says("warn", "daemon: the daemon is `")
        .advises("the daemon is `", "sudo -u ");

    fs::write(front_end.house.path("hem.yaml"), "concurrency: many\n").expect("a file");
    let report = front_end.doctor(&[]).await;
    report.nothing_but(0, 1).says("fail", "configuration: ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_onehem_server_is_found_and_hem_does_not_start_beside_it() {
    let front_end = FrontEnd::new();
    let old = predecessor(&front_end).await;
    let named = format!("onehem-server runs (pid {})", old.0.id());
    let report = front_end.doctor(&[]).await;
    report
        .nothing_but(1, 0)
        .says("warn", &format!("daemon: {named}"))
        .advises(&named, "systemctl stop opennebula-hem");

    let refused = front_end.hem(&["run"]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains(&named), "{refused:?}");
    assert!(refused.stderr.contains("the hooks of oned's pool"), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("hint: stop it with `systemctl stop opennebula-hem`"),
        "{refused:?}"
    );

    // A hook that stands for one of oned's is the same; one of hem's own is not, and neither is one that is told to.
    let elsewhere = (front_end.oned.events(), front_end.oned.replies());
    front_end.configure_all(elsewhere.0, elsewhere.1, "");
    front_end.hook("good", "good.sh", "id: 3\n");
    let refused = front_end.hem(&["run"]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.stderr.contains("the hook `good`, whose `id:`"),
        "{refused:?}"
    );
    let told = Service::start_by(&front_end.house, &[], &["--beside-onehem"]);
    runs(told).await;
    front_end.hook("good", "good.sh", "");
    runs(Service::start(&front_end.house)).await;

    // One that listens to another hook manager is no concern of this one.
    front_end.configure("");
    let other = Port::reserve();
    fs::write(
        front_end.house.path("etc/onehem-server.conf"),
        format!(":subscriber_endpoint: {}\n", other.endpoint()),
    )
    .expect("a file");
    front_end.doctor(&[]).await.nothing_but(0, 0);
    runs(Service::start(&front_end.house)).await;
}

async fn runs(mut service: Service) {
    service.until("it runs", |_| true).await;
    service.stop().await;
}
