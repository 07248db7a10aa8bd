//! Every situation of `docs/runbook.md` is made, and its command prints what the page shows.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod front_end;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use front_end::FrontEnd;
use hem::control::api::{ExecutionFilter, StatusView};
use serde_json::json;
use service::{Said, in_state, said};

/// A situation of the page.
#[derive(Debug)]
struct Situation {
    title: String,
    command: Vec<String>,
    /// The lines that are shown of what it prints; `…` stands for what differs.
    shown: Vec<String>,
}

fn page(name: &str) -> String {
    let file = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(file).expect("a page")
}

/// The lines of the blocks that begin so.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut lines = Vec::new();
    let mut within = false;
    for line in text.lines() {
        match line.trim_start().strip_prefix("```") {
            Some(given) => within = !within && given == language,
            None if within => lines.push(line.to_owned()),
            None => {}
        }
    }
    lines
}

fn situations() -> Vec<Situation> {
    page("runbook.md")
        .split("\n## ")
        .skip(1)
        .map(|section| {
            let title = section.lines().next().expect("a title").to_owned();
            let commands = blocks(section, "sh");
            assert_eq!(commands.len(), 1, "`{title}` has one command");
            Situation {
                command: shell_words::split(&commands[0]).expect("words"),
                shown: blocks(section, "text"),
                title,
            }
        })
        .collect()
}

fn situation(title: &str) -> Situation {
    let mut all = situations();
    let at = all.iter().position(|situation| situation.title.ends_with(title));
    all.swap_remove(at.unwrap_or_else(|| panic!("the page has no `{title}`")))
}

/// Whether the pieces between the `…` of a line come in one line of what was printed, in their order; blanks may be more or fewer.
fn is_shown(line: &str, printed: &str) -> bool {
    let narrow = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, printed): (String, Vec<String>) = (narrow(line), printed.lines().map(narrow).collect());
    printed.iter().any(|printed| {
        let mut rest = printed.as_str();
        line.split('…')
            .map(str::trim)
            .all(|piece| match rest.find(piece) {
                Some(at) => {
                    rest = &rest[at + piece.len()..];
                    true
                }
                None => false,
            })
    })
}

impl Situation {
    /// Runs its command against the front-end, with the execution that there is in the place of the page's. Everything that
    /// the page shows is printed.
    async fn run(&self, front: &FrontEnd, event: Option<&str>) -> Said {
        let event = event.unwrap_or("1042");
        let words: Vec<String> = self
            .command
            .iter()
            .map(|word| word.replace("1042", event))
            .collect();
        assert_eq!(words[0], "hem", "{}", self.title);
        let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
        command
            .env("HEM_CONFIG", front.house.path("hem.yaml"))
            .env_remove("HEM_SOCKET")
            .env("TZ", "UTC")
            .args(&words[1..]);
        let said = said(command).await;
        assert!(
            self.shown.len() > usize::from(self.shown.is_empty()),
            "{}",
            self.title
        );
        for line in self.shown.iter().map(|line| line.replace("1042", event)) {
            let printed = format!("{}{}", said.stdout, said.stderr);
            assert!(
                is_shown(&line, &printed),
                "`{}`: `{line}` is not in\n{printed}",
                self.title
            );
        }
        said
    }
}

/// A front-end with a hook `vm-running`, which runs this script.
async fn front_end(script: &str, more: &str) -> FrontEnd {
    let mut front = FrontEnd::new();
    front.house.script("vm-running.sh", script).hook(
        "vm-running",
        "name: vm-running\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: vm-running.sh\n",
    );
    front.start_with(more).await;
    front
}

/// VM 12 comes to run, once more if it does already; gives the number of its event once the status is as it should be.
async fn runs(front: &mut FrontEnd, what: &str, holds: impl Fn(&StatusView) -> bool) -> String {
    front.oned.vm(12, "POWEROFF", "LCM_INIT");
    front.oned.vm(12, "ACTIVE", "RUNNING");
    front.hem().until(what, holds).await;
    let filter = ExecutionFilter::default();
    let executions = front
        .client()
        .await
        .executions(&filter)
        .await
        .expect("executions");
    executions.last().expect("an execution").event.to_string()
}

const FAILS: &str = "#!/bin/sh\necho 'no such zone'\nexit 3\n";

const HANGS: &str = "#!/bin/sh\nsleep 600\n";

#[test]
fn every_situation_has_a_test_here() {
    let tests =
        fs::read_to_string(format!("{}/tests/runbook.rs", env!("CARGO_MANIFEST_DIR"))).expect("this file");
    let situations = situations();
    assert!(situations.len() >= 10, "{}", situations.len());
    let numbers: Vec<String> = (1..=situations.len())
        .map(|number| format!("{number}. "))
        .collect();
    for (situation, number) in situations.iter().zip(numbers) {
        let title = situation
            .title
            .strip_prefix(&number)
            .expect("numbers in their order");
        assert!(
            tests.contains(&format!("situation(\"{title}\")")),
            "`{title}` has no test"
        );
        assert!(!situation.shown.is_empty(), "`{title}` shows nothing");
    }
}

/// Commands that stand in running text or in other pages are understood, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_operators_pages_is_understood() {
    let mut commands = BTreeSet::new();
    for name in ["runbook.md", "from-onehem.md", "operations.md"] {
        let text = page(name);
        let within = text.split('`').skip(1).step_by(2).map(str::to_owned);
        let lines = ["sh", "console"]
            .into_iter()
            .flat_map(|language| blocks(&text, language));
        commands.extend(within.chain(lines).filter_map(|line| {
            let line = line.trim().trim_start_matches("# ").trim_start_matches("$ ");
            let line = line.strip_prefix("sudo -u oneadmin ").unwrap_or(line);
            let line = line.split(" #").next().unwrap_or(line).split('|').next()?.trim();
            let is_whole = !line.contains(['…', '>', '&', '\\', '\n']);
            (line.starts_with("hem ") && is_whole).then(|| line.to_owned())
        }));
    }
    assert!(commands.len() > 30, "{commands:?}");
    for line in commands {
        let words = shell_words::split(&line).unwrap_or_else(|_| panic!("{line}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
        // What stands before `--help` is read first.
        command.args(&words[1..]).arg("--help");
        let said = said(command).await;
        assert_eq!(said.code, 0, "`{line}`: {}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_any_more() {
    let mut front = front_end(FAILS, "").await;
    front.oned.tell(json!({ "do": "down" }));
    let down = |status: &StatusView| status.sources.values().all(|source| !source.connected);
    front.hem().until("it is not connected", down).await;
    situation("Nothing runs any more").run(&front, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_fails_for_everybody_and_what_failed_runs_again() {
    let mut front = front_end(FAILS, "").await;
    let event = runs(&mut front, "it failed", |status| in_state(status, "failed") == 1).await;
    situation("A hook fails for everybody")
        .run(&front, Some(&event))
        .await;
    let again = situation("Run again all that failed")
        .run(&front, Some(&event))
        .await;
    assert_eq!(again.code, 0);
    let events = situation("Nothing ran for one VM")
        .run(&front, Some(&event))
        .await;
    assert_eq!(events.code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_hangs_and_others_wait() {
    let mut front = front_end(HANGS, "").await;
    let event = runs(&mut front, "it runs", |status| in_state(status, "running") == 1).await;
    let cancelled = situation("A hook hangs, and others wait")
        .run(&front, Some(&event))
        .await;
    assert_eq!(cancelled.code, 0);
    front
        .hem()
        .until("it has ended", |status| in_state(status, "cancelled") == 1)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_runs_wild() {
    let mut front = front_end(HANGS, "").await;
    runs(&mut front, "one runs", |status| in_state(status, "running") == 1).await;
    runs(&mut front, "one waits", |status| in_state(status, "queued") == 1).await;
    let stopped = situation("A hook runs wild").run(&front, None).await;
    assert_eq!(stopped.code, 0);
    front
        .hem()
        .until("nothing runs", |status| {
            in_state(status, "running") + in_state(status, "queued") == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oned_was_away() {
    let mut front = front_end(FAILS, "").await;
    front.oned.tell(json!({ "do": "restart" }));
    let gap = |status: &StatusView| status.events.values().any(|sums| sums.gaps > 0);
    front.hem().until("a gap is written down", gap).await;
    situation("oned was away").run(&front, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_new_is_accepted() {
    let mut front = front_end(HANGS, "limits: { max_backlog: 1 }\n").await;
    let full = |status: &StatusView| status.not_accepting.is_some();
    for _ in 0..2 {
        front.oned.vm(12, "POWEROFF", "LCM_INIT");
        front.oned.vm(12, "ACTIVE", "RUNNING");
    }
    front.hem().until("the backlog is full", full).await;
    let checked = situation("Nothing new is accepted").run(&front, None).await;
    assert_eq!(checked.code, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_damaged() {
    let mut front = front_end(FAILS, "").await;
    runs(&mut front, "it failed", |status| in_state(status, "failed") == 1).await;
    front.hem.take().expect("a daemon").stop().await;
    let db = front.house.config.state_dir.join("db");
    let file = fs::File::options().write(true).open(&db).expect("the log");
    let length = file.metadata().expect("its length").len();
    file.write_all_at(&[0x5a; 64], length / 2).expect("a write");
    let saved = situation("The store is damaged").run(&front, None).await;
    assert_eq!(saved.code, 0, "{saved:?}");
    front.start().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leads_after_a_failover() {
    let mut front = front_end(FAILS, "  leader_only: true\n").await;
    front.oned.tell(json!({ "do": "raft", "state": "LEADER" }));
    situation("After a failover, who leads?").run(&front, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_does_not_start() {
    let mut front = front_end(FAILS, "").await;
    front.hem.take().expect("a daemon").stop().await;
    front.house.hook("broken", "name: broken\ntriger: {}\n");
    let checked = situation("The daemon does not start").run(&front, None).await;
    assert_eq!(checked.code, 4);
}
