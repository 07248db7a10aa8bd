//! `hem try`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::output;
use super::test_match::{command_for, find_event, unknown_hook};
use super::{Global, Outcome, check, signals};
use crate::config::Permissions;
use crate::control::outcome_view;
use crate::event::Facts;
use crate::event::id::HookName;
use crate::hooks::Hook;
use crate::matching::explain;
use crate::runner::{Invocation, Limits, Observer, Outcome as Ended, Report, Runner, Stream};

/// How long a descendant may hold the output after the script's own end.
const LEAK: Duration = Duration::from_secs(10);

/// Pieces of output on their way to the terminal; the script waits for nobody, so this is what may be in flight.
const OUTPUT_IN_FLIGHT: usize = 1024;

/// Run one hook once on a saved event, without a daemon
///
/// With the same limits, arguments and environment as the daemon; the output is live and nothing is recorded. Exit code 0
/// says that the script ended with 0.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem try vm-running examples/opennebula/events/vm-running.xml
  hem try vm-running 1042                       # an event the daemon has kept
  hem try handle-ready examples/ncmp/events/update-v1.json
  hem try dns events.jsonl#17 --hooks ./hooks.d")]
pub(super) struct Arguments {
    /// The hook
    hook: String,
    /// A saved event of any system (.xml, .b64, .json, FILE.jsonl#17), or the id of an event the daemon has kept
    #[arg(value_name = "EVENT")]
    event: String,
    /// A hook file or a folder of them [default: hooks_dir of the configuration]
    #[arg(long, value_name = "PATH")]
    hooks: Option<PathBuf>,
    /// Where relative commands are looked for, instead of scripts_dir
    #[arg(long, value_name = "FOLDER")]
    scripts_dir: Option<PathBuf>,
    /// Take a kept event from the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
    /// Run it only if it matches
    #[arg(long)]
    only_if_matching: bool,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let config = check::config(global, arguments.scripts_dir.as_deref())?;
    let asked = find_event(global, &arguments.event, arguments.offline)?;
    let event = &asked.event;
    let of_oned = if arguments.hook.starts_with(HookName::POOL_PREFIX) {
        asked.hooks_of_oned(global, &config, arguments.hooks.as_deref(), arguments.offline)?
    } else {
        Vec::new()
    };
    let path = arguments.hooks.unwrap_or_else(|| config.hooks_dir.clone());
    let checked = check::read(&path, &config)?;
    let Some(hook) = checked
        .hooks
        .iter()
        .chain(&of_oned)
        .find(|hook| hook.name.as_str() == arguments.hook)
    else {
        for fault in &checked.faults {
            output::say(fault.to_string().trim_end());
        }
        return Err(unknown_hook(&arguments.hook, &path));
    };
    for name in asked.differing(std::iter::once(&**hook)) {
        output::say(&format!("note: the daemon does not run this version of `{name}`"));
    }
    let redaction = config.redaction().knowing(event.payload.bytes());
    let call = match &event.facts {
        Facts::Api(api) => Some(api.call.as_str()),
        _ => None,
    };
    let explanation = explain(hook, event);
    if !explanation.matches {
        let failing = explanation.steps.iter().find(|step| !step.holds);
        let why = failing.map_or_else(String::new, |step| {
            format!(": {} (found: {})", step.asked, redaction.text(&step.found, call))
        });
        output::say(&format!("note: the event does not match{}", output::safe(&why)));
        if arguments.only_if_matching {
            return Ok(Exit::Failed);
        }
    }
    let mut invocation = command_for(hook, event, config.onehem_shell).map_err(|failure| {
        let why = redaction.text(&failure.message, call);
        Failure::new(Exit::Failed, format!("cannot start: {why}"))
    })?;
    invocation.refuses_open_programs = config.permissions == Permissions::Strict;
    let report = super::wait_for_value(carry_out(hook, invocation))?;
    let words = output::outcome(&outcome_view(&report.outcome));
    output::say(&format!("{}: {words}", hook.name));
    let succeeded = matches!(
        report.outcome,
        Ended::Exited { code: 0 } | Ended::Leaked { code: 0 }
    );
    Ok(if succeeded { Exit::Ok } else { Exit::Failed })
}

async fn carry_out(hook: &Hook, invocation: Invocation) -> Result<Report, Failure> {
    let runner = Runner::start()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot run scripts: {error}")))?;
    let limits = Limits {
        timeout: hook.policy.timeout,
        grace: hook.policy.grace,
        leak: LEAK,
        output_head: hook.policy.output.head,
        output_tail: hook.policy.output.tail,
    };
    let (sender, mut chunks) = mpsc::channel(OUTPUT_IN_FLIGHT);
    let stop = CancellationToken::new();
    let run = runner.run(invocation, limits, stop.clone(), Observer::none().output(sender));
    let pass_on = async {
        while let Some(chunk) = chunks.recv().await {
            // A reader that went away does not end the script.
            let _ = match chunk.stream {
                Stream::Stdout => std::io::stdout().lock().write_all(&chunk.bytes),
                Stream::Stderr => std::io::stderr().lock().write_all(&chunk.bytes),
            };
            let _ = std::io::stdout().lock().flush();
        }
    };
    let (report, ()) = signals::until_done(&stop, async { tokio::join!(run, pass_on) }).await?;
    if report.chunks_dropped > 0 {
        output::say("note: the terminal was too slow for some of the output");
    }
    Ok(report)
}
