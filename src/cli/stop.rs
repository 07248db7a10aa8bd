//! `hem stop`.

use std::io::{self, BufRead as _, IsTerminal as _};

use clap::Args;

use super::exit::{Exit, Failure};
use super::mute::millis;
use super::output::{self, count};
use super::{Global, Outcome};
use crate::config::scalar::DurationText;
use crate::control::api::{StopOrder, StopReply};

/// Stop a hook that runs wild: mute it, cancel what waits, end what runs
///
/// Says how much that is and asks first. What comes later is held; `hem unmute HOOK` lets the hook run again.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem stop vm-unknown
  hem stop vm-unknown --reason 'floods the DNS' --for 1h --yes
  hem stop vm-unknown --dry-run      # how much it would be")]
pub(super) struct Arguments {
    /// The hook
    #[arg(value_name = "HOOK")]
    hook: String,
    /// End the mute by itself after so long: 90s, 30m, 2h; what was held then runs
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<DurationText>,
    /// Why, for whoever looks at `hem status`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Only say how much it would be
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let client = global.client().await?;
    let hook = &arguments.hook;
    let asked = StopOrder {
        dry_run: true,
        ..StopOrder::default()
    };
    let plan = client.stop(hook, &asked).await?;
    if arguments.dry_run {
        if global.json {
            output::print_json(&plan)?;
        } else {
            output::say(&format!(
                "stopping `{}` would {}",
                output::safe_line(hook),
                planned(&plan)
            ));
        }
        return Ok(Exit::Ok);
    }
    output::say(&format!(
        "stopping `{}`: {}",
        output::safe_line(hook),
        planned(&plan)
    ));
    if !arguments.yes && !agreed()? {
        output::say("nothing was done");
        return Ok(Exit::Failed);
    }
    let order = StopOrder {
        for_ms: arguments.length.map(millis),
        reason: arguments.reason,
        dry_run: false,
    };
    let done = client.stop(hook, &order).await?;
    if global.json {
        output::print_json(&done)?;
    } else {
        output::say(&format!(
            "`{hook}` is stopped: {} cancelled, {} ended; `hem unmute {hook}` lets it run again",
            count(done.cancelled),
            count(done.ended)
        ));
    }
    Ok(Exit::Ok)
}

/// What is to be done, in numbers.
fn planned(plan: &StopReply) -> String {
    let number = |number: u64, one: &str, many: &str| match number {
        1 => format!("1 {one}"),
        number => format!("{} {many}", count(number)),
    };
    format!(
        "mute it, cancel {} and end {}",
        number(plan.cancelled, "execution that waits", "executions that wait"),
        number(plan.ended, "script that runs", "scripts that run"),
    )
}

/// Asks the person at the terminal.
fn agreed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::new(Exit::Usage, "nobody can be asked whether that is meant")
                .with_hint("`--yes` answers, `--dry-run` only says how much it would be"),
        );
    }
    output::say("Go on? [y/N]");
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counts_are_said_before_anything_is_done() {
        let plan = StopReply {
            cancelled: 4988,
            ended: 1,
        };
        assert_eq!(
            planned(&plan),
            "mute it, cancel 4,988 executions that wait and end 1 script that runs"
        );
    }
}
