//! `hem demo`: a hook manager, the daemon and sample hooks in one process, over real sockets and with real scripts.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use tempfile::TempDir;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome};
use crate::config::Config;
use crate::control::outcome_view;
use crate::daemon::{Daemon, Options};
use crate::engine::execution::{Cause, Execution, State};
use crate::engine::handle::{Handle, Notice};
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::opennebula::key::Key;
use crate::event::saved::{self, SavedMessage};
use crate::event::{Event, Kind};
use crate::matching::explain;
use crate::sources::opennebula::publisher::Publisher;
use crate::sources::opennebula::zmtp::Endpoint;

/// Longer than the whole story takes on any machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Between two published events, so that the story can be followed with the eye.
const PACE: Duration = Duration::from_millis(120);

const HOOKS: [(&str, &str); 5] = [
    (
        "audit-allocate.yaml",
        include_str!("../../hooks.d/audit-allocate.yaml"),
    ),
    ("register-vm.yaml", include_str!("../../hooks.d/register-vm.yaml")),
    (
        "reserve-capacity.yaml",
        include_str!("../../hooks.d/reserve-capacity.yaml"),
    ),
    ("slow-backup.yaml", include_str!("../../hooks.d/slow-backup.yaml")),
    (
        "sync-inventory.yaml",
        include_str!("../../hooks.d/sync-inventory.yaml"),
    ),
];

const SCRIPTS: [(&str, &str); 5] = [
    (
        "audit-call.sh",
        include_str!("../../examples/opennebula/scripts/audit-call.sh"),
    ),
    (
        "register-vm.sh",
        include_str!("../../examples/opennebula/scripts/register-vm.sh"),
    ),
    (
        "reserve-capacity.sh",
        include_str!("../../examples/opennebula/scripts/reserve-capacity.sh"),
    ),
    (
        "slow-backup.sh",
        include_str!("../../examples/opennebula/scripts/slow-backup.sh"),
    ),
    (
        "sync-inventory.sh",
        include_str!("../../examples/opennebula/scripts/sync-inventory.sh"),
    ),
];

/// What a real `oned` published while a host came up and a VM was made, ran, was powered off and terminated.
const DAY: &str = "day.jsonl";
const DAY_EVENTS: &str = include_str!("../../examples/opennebula/events/day.jsonl");

/// A saved event of the sources.
const EXAMPLE: &str = "examples/opennebula/events/vm-running.xml";

/// Show everything in one process, on a throw-away folder
///
/// A publisher, the daemon and sample hooks run on free ports; recorded events go through real sockets and real scripts.
/// It tells what happens and ends by itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem demo
  hem demo --keep        # then look around: hem log --offline --config FOLDER/hem.yaml")]
pub(super) struct Arguments {
    /// Leave the folder with the hooks, the configuration and the records
    #[arg(long)]
    keep: bool,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        match timeout(LIMIT, play(&global.style(), arguments.keep)).await {
            Ok(played) => played,
            Err(_) => Err(Failure::new(
                Exit::Failed,
                "the demo did not come to its end within a minute",
            )),
        }
    })
}

async fn play(style: &Style, keep: bool) -> Outcome {
    let free = "tcp://127.0.0.1:0";
    let free: Endpoint = free.parse().map_err(|error| Failure::of(Exit::Failed, &error))?;
    let (publisher, _replies) = Publisher::bind(&free, &free)
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    let folder = tempfile::Builder::new()
        .prefix("hem-demo-")
        .tempdir()
        .map_err(cannot_write)?;
    let config = lay_out(folder.path(), publisher.events()).map_err(cannot_write)?;
    let config = Config {
        shutdown_grace: Duration::from_secs(5),
        ..Config::load(Some(&config))?
    };
    let options = Options {
        strict_hooks: true,
        reread: None,
    };
    let daemon = Daemon::start(&config, options)
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    let handle = daemon.handle().clone();

    tell(&format!(
        "{}\n\n  A hook manager publishes on {}, as OpenNebula's does.\n  hem listens to it, with {} hooks in {}/hooks.d.\n\n{}\n  \
         Each event with the hooks it triggers; each script as it ends or is tried again.\n\n",
        style.paint(Tint::Strong, "hem demo: a cloud in a box"),
        publisher.events(),
        handle.hooks().len(),
        folder.path().display(),
        style.paint(Tint::Strong, "What happens"),
    ))?;
    let feed = handle.subscribe();
    publisher.wait_for_subscriber().await;
    let messages =
        saved::messages(&folder.path().join(DAY), None).map_err(|error| Failure::of(Exit::Failed, &error))?;
    let received = messages.len() as u64;
    let publishing = async {
        for SavedMessage { key, document, .. } in &messages {
            publisher.publish(key, BASE64.encode(document).as_bytes()).await;
            tokio::time::sleep(PACE).await;
        }
    };
    let (told, ()) = tokio::join!(tell_live(&handle, feed, received, style), publishing);
    told?;
    tell_stories(&handle, style)?;
    tell_unmatched(&handle, style)?;
    tell_sums(&handle, style)?;
    drop(handle);
    daemon.stop().await;
    let running = messages
        .iter()
        .position(|message| message.key.contains("VM/ACTIVE/RUNNING"));
    tell_next(folder, keep, running, style)?;
    Ok(Exit::Ok)
}

fn cannot_write(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot lay out the demo's folder: {error}"))
}

/// Writes hooks, scripts and a configuration; returns the latter's path.
fn lay_out(folder: &Path, events: &Endpoint) -> io::Result<std::path::PathBuf> {
    let (hooks, scripts) = (folder.join("hooks.d"), folder.join("scripts"));
    fs::create_dir(&hooks)?;
    fs::create_dir(&scripts)?;
    let write = |path: &Path, text: &str, mode: u32| {
        fs::write(path, text)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    for (name, text) in HOOKS {
        write(&hooks.join(name), text, 0o644)?;
    }
    for (name, text) in SCRIPTS {
        write(&scripts.join(name), text, 0o755)?;
    }
    write(&folder.join(DAY), DAY_EVENTS, 0o644)?;
    let config = folder.join("hem.yaml");
    let text = format!(
        "state_dir: state\nhooks_dir: hooks.d\nscripts_dir: scripts\ncontrol: {{ socket: hem.sock }}\n\
         sources:\n  opennebula: {{ type: opennebula, endpoint: \"{events}\" }}\n"
    );
    write(&config, &text, 0o644)?;
    Ok(config)
}

fn tell(text: &str) -> Result<(), Failure> {
    output::print(text).map_err(Failure::Output)
}

/// Tells of events and executions as they become durable, until all are received and settled.
async fn tell_live(
    handle: &Handle,
    mut feed: broadcast::Receiver<Notice>,
    received: u64,
    style: &Style,
) -> Result<(), Failure> {
    loop {
        match feed.recv().await {
            Ok(Notice::Event(listed)) => tell(&event_line(&listed.event, &listed.hooks, style))?,
            Ok(Notice::Execution(execution)) => {
                if let Some(line) = execution_line(handle, &execution, style) {
                    tell(&line)?;
                }
            }
            Ok(Notice::Muted(_) | Notice::Unmuted(_)) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
        let summary = handle.store().summary();
        let got: u64 = summary.events.values().map(|counters| counters.received).sum();
        let unsettled: u64 = State::UNSETTLED
            .iter()
            .filter_map(|state| summary.executions.get(*state))
            .sum();
        if got >= received && unsettled == 0 && feed.is_empty() {
            return Ok(());
        }
    }
}

fn event_line(event: &Event, hooks: &[HookName], style: &Style) -> String {
    let what = match Key::parse(&event.key) {
        Key::Api { call, .. } => format!("API call {call}"),
        _ => event.key.trim_start_matches("EVENT STATE ").trim_end().to_owned(),
    };
    let triggers = if hooks.is_empty() {
        style.paint(Tint::Faint, "no hook")
    } else {
        hooks.iter().map(HookName::as_str).collect::<Vec<_>>().join(", ")
    };
    format!("  event {:<3} {:<40} {triggers}\n", event.seq.0, what)
}

/// A line for what is worth one: the first start is told by the event's line.
fn execution_line(handle: &Handle, execution: &Execution, style: &Style) -> Option<String> {
    let (tint, words) = match &execution.progress.state {
        State::Running {
            attempt,
            cause: Cause::Retry,
            ..
        } => (Tint::Busy, format!("attempt {attempt} starts")),
        State::Retrying { delay, .. } => (
            Tint::Busy,
            format!(
                "{}; again in {}",
                last_outcome(handle, &execution.key),
                output::span(*delay)
            ),
        ),
        State::Settled { settlement, .. } => {
            let tint = if settlement.name() == "succeeded" {
                Tint::Good
            } else {
                Tint::Bad
            };
            (
                tint,
                format!("{}: {}", settlement.name(), last_outcome(handle, &execution.key)),
            )
        }
        State::Queued { .. } | State::Debouncing { .. } | State::Running { .. } => return None,
    };
    Some(format!(
        "            {:<24} {}\n",
        execution.key.to_string(),
        style.paint(tint, &words)
    ))
}

fn last_outcome(handle: &Handle, key: &ExecutionKey) -> String {
    let attempts = handle.store().attempts(key).unwrap_or_default();
    let ended = attempts.iter().rev().find_map(|attempt| attempt.ended.as_ref());
    ended.map_or_else(
        || "not run".to_owned(),
        |ended| output::outcome(&outcome_view(&ended.outcome)),
    )
}

/// Tells what each script printed, attempt by attempt.
fn tell_stories(handle: &Handle, style: &Style) -> Result<(), Failure> {
    tell(&format!(
        "\n{}\n",
        style.paint(Tint::Strong, "What the scripts said, as recorded")
    ))?;
    let query = crate::store::ExecutionQuery {
        limit: usize::MAX,
        ..Default::default()
    };
    let mut executions = handle
        .store()
        .executions(&query)
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    executions.reverse();
    for execution in executions {
        tell(&format!("  {}\n", execution.key))?;
        let attempts = handle
            .store()
            .attempts(&execution.key)
            .map_err(|error| Failure::of(Exit::Failed, &error))?;
        for attempt in attempts {
            let Some(ended) = &attempt.ended else { continue };
            let said = [ended.stdout.head.as_ref(), ended.stderr.head.as_ref()].concat();
            let said = String::from_utf8_lossy(&said);
            let said = said.lines().next().unwrap_or("(nothing)");
            let outcome = output::outcome(&outcome_view(&ended.outcome));
            tell(&format!(
                "    attempt {}  {}  {}\n",
                attempt.number,
                output::safe(said),
                style.paint(Tint::Faint, &format!("({outcome})"))
            ))?;
        }
    }
    Ok(())
}

/// Tells why the hook that nothing triggered was not.
fn tell_unmatched(handle: &Handle, style: &Style) -> Result<(), Failure> {
    let hooks = handle.hooks();
    let (Some(hook), Some(event)) = (
        hooks.get(&HookName::trusted("reserve-capacity")),
        running_vm(handle)?,
    ) else {
        return Ok(());
    };
    tell(&format!(
        "\n{}\n",
        style.paint(
            Tint::Strong,
            &format!("Why event {} did not run {}", event.seq, hook.name)
        )
    ))?;
    for step in explain(hook, &event).steps {
        let (sign, tint) = if step.holds {
            ("yes", Tint::Good)
        } else {
            ("no ", Tint::Bad)
        };
        tell(&format!(
            "  {}  {} {}\n",
            style.paint(tint, sign),
            step.asked,
            style.paint(Tint::Faint, &format!("(found: {})", output::safe(&step.found)))
        ))?;
        for (asked, found) in step.lookups {
            tell(&format!("         {asked} is {}\n", output::safe(&found)))?;
        }
    }
    Ok(())
}

fn running_vm(handle: &Handle) -> Result<Option<Event>, Failure> {
    let query = crate::store::EventQuery {
        key: Some("VM/ACTIVE/RUNNING".to_owned()),
        kind: Some(Kind::State),
        limit: 1,
        ..Default::default()
    };
    let found = handle
        .store()
        .events(&query)
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    let Some(seq) = found.first().map(|listed| listed.event.seq) else {
        return Ok(None);
    };
    let kept = handle
        .store()
        .event(Seq(seq.0))
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(kept.map(|listed| listed.event))
}

fn tell_sums(handle: &Handle, style: &Style) -> Result<(), Failure> {
    let summary = handle.store().summary();
    for counters in summary.events.values() {
        let verdict = if counters.adds_up() {
            "it adds up"
        } else {
            "it does not add up"
        };
        tell(&format!(
            "\n{}\n  {} received = {} matched + {} unmatched + {} duplicates + {} lost: {verdict}\n  \
             (Duplicates: a hook manager publishes a change of state under two keys, and hem takes it once.)\n",
            style.paint(Tint::Strong, "Every event is accounted for"),
            counters.received,
            counters.matched,
            counters.unmatched + counters.undecodable,
            counters.duplicate + counters.refused,
            counters.lost,
        ))?;
    }
    Ok(())
}

/// `saved` is the place, from 0, of an event among the saved ones that triggers a hook.
fn tell_next(folder: TempDir, keep: bool, saved: Option<usize>, style: &Style) -> Result<(), Failure> {
    // After `cargo run` there is no `hem` to be found by its name alone.
    let called = std::env::args_os().next();
    let hem = called.map_or_else(|| "hem".to_owned(), |path| path.to_string_lossy().into_owned());
    let mut next = Vec::new();
    if keep {
        let path = folder.keep();
        let config = path.join("hem.yaml");
        let mut commands = vec!["log --offline".to_owned(), "show last --offline".to_owned()];
        if let Some(saved) = saved {
            let event = format!("{}#{}", path.join(DAY).display(), saved + 1);
            commands.push(format!("match {event}"));
            commands.push(format!("try register-vm {event}"));
        }
        for command in commands {
            next.push(format!("{hem} --config {} {command}", config.display()));
        }
    } else {
        next.push(format!(
            "{hem} demo --keep   # leaves its folder, records and all, and says what to do with it"
        ));
        // In a folder of the sources the same hooks are there to be looked at.
        if Path::new(EXAMPLE).exists() {
            let hooks = "--hooks hooks.d --scripts-dir examples/opennebula/scripts";
            next.push(format!(
                "{hem} check hooks.d --scripts-dir examples/opennebula/scripts"
            ));
            next.push(format!("{hem} match {EXAMPLE} {hooks}"));
            next.push(format!("{hem} try register-vm {EXAMPLE} {hooks}"));
        }
    }
    tell(&format!("\n{}\n", style.paint(Tint::Strong, "Try next")))?;
    for command in next {
        tell(&format!("  {command}\n"))?;
    }
    Ok(())
}
