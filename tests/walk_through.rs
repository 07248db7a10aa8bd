//! `docs/from-onehem.md`, from the day of watching to the way back, with its own configurations and commands.

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

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use daemon::{House, until};
use hem::config::{Config, Place, Source};
use nix::unistd::{Group, getegid};
use oned_stand_in::Oned;
use serde_json::json;
use service::{Said, Service, in_state, said};

fn text_of(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("a file")
}

/// The blocks of the page in this language.
fn blocks(language: &str) -> Vec<String> {
    let page = text_of("docs/from-onehem.md");
    let parts = page.split("```").skip(1).step_by(2);
    parts
        .filter_map(|block| block.strip_prefix(&format!("{language}\n")))
        .map(str::to_owned)
        .collect()
}

/// `observe.yaml` of the page.
fn observing() -> String {
    let mut blocks = blocks("yaml");
    assert_eq!(blocks.len(), 1, "the page has one configuration");
    blocks.remove(0)
}

/// The words of each command with the observing configuration, without the program itself, in the order of the page.
fn observing_commands() -> Vec<Vec<String>> {
    let blocks = blocks("sh").concat();
    let commands = blocks.lines().filter_map(|line| {
        let (_, command) = line.split_once("hem --config /etc/hem/observe.yaml ")?;
        Some(shell_words::split(command).expect("words"))
    });
    commands.collect()
}

#[test]
fn the_configurations_of_the_walk_through_are_read_as_the_page_says() {
    // oneadmin, with a home of its own.
    let place = Place {
        home: Some("/var/lib/one".into()),
        ..Place::default()
    };
    let read = |file: &str, text: &str| {
        Config::from_text(text, Path::new(file), &place).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let observing = read("/etc/hem/observe.yaml", &observing());
    let in_earnest = read("/etc/hem/hem.yaml", &text_of("packaging/opennebula/hem.yaml"));
    assert_eq!(observing.state_dir, PathBuf::from("/var/lib/hem-observe"));
    assert_eq!(in_earnest.state_dir, PathBuf::from("/var/lib/hem"));
    assert_ne!(observing.control.socket, in_earnest.control.socket);
    for config in [&observing, &in_earnest] {
        assert!(config.oned.as_ref().is_some_and(|oned| oned.hooks));
        assert_eq!(config.hooks_dir, PathBuf::from("/etc/hem/hooks.d"));
        assert_eq!(config.scripts_dir, PathBuf::from("/etc/hem/scripts"));
        assert_eq!(
            config.onehem_scripts_dir,
            PathBuf::from("/var/lib/one/remotes/hooks")
        );
        let Source::Opennebula(source) = &config.sources["opennebula"] else {
            panic!("{:?}", config.sources)
        };
        assert_eq!(source.endpoint, "tcp://127.0.0.1:2101");
        assert_eq!(source.replies, "tcp://127.0.0.1:2102");
    }
}

/// A front-end on which `onehem-server` runs: a process of its name that does nothing, and whose records somebody writes.
struct Site {
    house: House,
    oned: Oned,
    predecessor: Option<Child>,
}

impl Site {
    async fn new() -> Self {
        let house = House::new();
        let auth = house.path("one_auth").display().to_string();
        let oned = Oned::start(&["--auth-file", &auth]);
        fs::create_dir(house.path("etc")).expect("a folder");
        fs::write(
            house.path("etc/onehem-server.conf"),
            format!(":subscriber_endpoint: '{}'\n", oned.events()),
        )
        .expect("a file");
        let script = house.path("onehem-server.rb");
        // It ends when its standard input does, which is when this process ends.
        fs::write(&script, "read line\n").expect("a script");
        let predecessor = Command::new("/bin/sh")
            .arg0("ruby")
            .arg(&script)
            .env("ONE_LOCATION", house.folder.path())
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let words = format!("/proc/{}/cmdline", predecessor.id());
        until("the process has its words", || {
            fs::read(&words).is_ok_and(|words| words.starts_with(b"ruby\0"))
        })
        .await;
        Self {
            house,
            oned,
            predecessor: Some(predecessor),
        }
    }

    /// `systemctl stop opennebula-hem`, before hem is what it runs.
    fn stop_predecessor(&mut self) {
        if let Some(mut process) = self.predecessor.take() {
            process.kill().expect("a signal");
            process.wait().expect("its end");
        }
    }

    /// Writes a configuration of the walk-through, with this front-end's places in those of a real one.
    fn configure(&self, text: &str) {
        let config = &self.house.config;
        let group = Group::from_gid(getegid()).expect("a look").expect("a group");
        let mut text = text.to_owned();
        for (theirs, ours) in [
            ("/var/lib/hem", self.house.path("lib-hem").display().to_string()),
            ("/etc/hem/hooks.d", config.hooks_dir.display().to_string()),
            ("/etc/hem/scripts", config.scripts_dir.display().to_string()),
            ("/run/hem-observe/", "/run/hem/".to_owned()),
            ("/run/hem/hem.sock", config.control.socket.display().to_string()),
            ("socket_group: oneadmin", format!("socket_group: {}", group.name)),
            ("tcp://127.0.0.1:2101", self.oned.events().to_owned()),
        ] {
            text = text.replace(theirs, &ours);
        }
        let (events, replies) = (self.oned.events(), self.oned.replies());
        let endpoint = format!("    endpoint: \"{events}\"\n");
        // Where the real one publishes needs no words.
        if !text.contains("\nsources:\n") {
            text += &format!("sources:\n  opennebula:\n    type: opennebula\n{endpoint}");
        }
        assert!(text.contains(&endpoint), "{text}");
        text = text.replace(&endpoint, &format!("{endpoint}    replies: \"{replies}\"\n"));
        text += &format!("onehem_scripts_dir: {}\n", config.scripts_dir.display());
        fs::write(self.house.path("hem.yaml"), text).expect("a file");
    }

    /// Where OpenNebula's tools look for `oned`.
    fn environment(&self) -> [(&'static str, String); 2] {
        let auth = self.house.path("one_auth").display().to_string();
        [("ONE_XMLRPC", self.oned.xmlrpc().to_owned()), ("ONE_AUTH", auth)]
    }

    async fn hem(&self, arguments: &[String]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
        command
            .env_remove("HEM_SOCKET")
            .env("HEM_CONFIG", self.house.path("hem.yaml"))
            .envs(self.environment())
            .args(arguments);
        said(command).await
    }

    async fn says(&self, line: &str) -> Said {
        let said = self.hem(&shell_words::split(line).expect("words")).await;
        assert_eq!(said.code, 0, "`hem {line}`: {said:?}");
        said
    }

    fn start(&self, arguments: &[&str]) -> Service {
        let mut prefix = vec!["env".to_owned()];
        prefix.extend(self.environment().map(|(name, value)| format!("{name}={value}")));
        Service::start_by(&self.house, &prefix, arguments)
    }

    /// What `onehem-server` tells `oned` of a run.
    fn record(&mut self, hook: u64, arguments: &str) {
        let document = format!(
            "<ARGUMENTS>{arguments}</ARGUMENTS><EXECUTION_RESULT><COMMAND>/x/run.sh {arguments}</COMMAND><STDOUT></STDOUT>\
             <STDERR></STDERR><CODE>0</CODE></EXECUTION_RESULT>"
        );
        self.oned
            .tell(json!({ "do": "record", "hook": hook, "document": document }));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.stop_predecessor();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_walk_through_from_onehem_server_holds() {
    let mut site = Site::new().await;
    let ran = site.house.path("ran");
    site.house.script(
        "run.sh",
        &format!("#!/bin/sh\necho \"$1\" >> {}\n", ran.display()),
    );
    let hook = site
        .oned
        .create_hook("NAME=running\nTYPE=state\nRESOURCE=VM\nON=RUNNING\nCOMMAND=run.sh\nARGUMENTS=seen");
    let commands = observing_commands();
    let [doctor, run, hooks, compare] = commands.as_slice() else {
        panic!("{commands:?}");
    };
    assert_eq!(run.as_slice(), ["run", "--observe"]);

    // 1. Look around.
    site.configure(&observing());
    let looked = site.hem(doctor).await;
    assert_eq!(looked.code, 0, "{looked:?}");
    for words in [
        "no daemon answers",
        "onehem-server runs (pid ",
        "oned answers at ",
    ] {
        assert!(looked.stdout.contains(words), "{words}: {looked:?}");
    }

    // 2. A day of watching, beside the one that runs the hooks.
    let mut observer = site.start(&["--observe"]);
    site.oned.wait_for_subscriber();
    observer
        .until("the pool is read", |status| status.hooks == 1)
        .await;
    let listed = site.hem(hooks).await;
    assert!(listed.stdout.contains("oned/running"), "{listed:?}");
    for vm in [1, 2] {
        site.oned.vm(vm, "ACTIVE", "RUNNING");
        site.record(hook, "seen");
    }
    observer
        .until("both are observed", |status| in_state(status, "skipped") == 2)
        .await;
    let compared = site.hem(compare).await;
    assert_eq!(compared.code, 0, "{compared:?}");
    let columns = &blocks("text")[0];
    let heading = |text: &str| {
        let line = text.lines().next().expect("a heading");
        line.split("  ")
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(heading(&compared.stdout), heading(columns));
    assert!(compared.stdout.ends_with("\nno difference\n"), "{compared:?}");
    observer.stop().await;
    assert_eq!(site.house.lines("ran"), [""; 0], "it only watched");
    assert_eq!(site.oned.records(hook).len(), 2, "and told nothing");

    // 3. The change: not while the other one runs.
    site.configure(&text_of("packaging/opennebula/hem.yaml"));
    let refused = site.hem(&["run".to_owned()]).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.stderr.contains("onehem-server runs (pid "), "{refused:?}");
    site.stop_predecessor();
    let mut hem = site.start(&[]);
    site.oned.wait_for_subscriber();
    hem.until("it listens, with the pool", |status| {
        status.hooks == 1 && status.sources["opennebula"].connected
    })
    .await;
    let looked = site.says("doctor").await;
    assert!(
        looked.stdout.contains("no onehem-server listens where hem does"),
        "{looked:?}"
    );
    site.oned.vm(3, "ACTIVE", "RUNNING");
    hem.until_succeeded(1).await;
    site.oned.results(1);
    assert_eq!(site.house.lines("ran"), ["seen"], "of the new event alone");

    // `onehook retry`, of what the former one ran.
    let answer = site.oned.call("one.hook.retry", json!([hook, 0]));
    assert_eq!(answer[0], true, "{answer:?}");
    hem.until_succeeded(2).await;
    site.oned.results(2);
    assert_eq!(site.house.lines("ran"), ["seen", "seen"]);
    // `onehook show`: its records go on.
    let records = site.oned.records(hook);
    assert_eq!(records.len(), 4, "{records:?}");
    assert!(!records[2].contains("<RETRY>"), "{records:?}");
    assert!(records[3].contains("<RETRY>yes</RETRY>"), "{records:?}");
    let log = site.says("log").await;
    assert_eq!(log.stdout.matches("oned/running").count(), 2, "{log:?}");
    site.says("status").await;

    // 4. The way back: nothing in `oned` was changed.
    hem.stop().await;
    let calls = site.oned.calls();
    assert!(calls.iter().any(|call| call == "one.hookpool.info"), "{calls:?}");
    let changes: Vec<&String> = calls
        .iter()
        .filter(|call| !call.contains(".info") && !call.ends_with(".raftstatus"))
        .collect();
    assert_eq!(changes, [""; 0]);
}
