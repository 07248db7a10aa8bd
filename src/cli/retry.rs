//! `hem retry`.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, IsTerminal as _};
use std::time::Duration;

use clap::Args;

use super::difference::difference;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome, log, when};
use crate::control::api::{
    ExecutionFilter, ExecutionView, FeedLine, RetryOrder, RetryReply, RetryResult, StateView, Time,
};
use crate::control::client::{Client, Lines};

/// More than this many are run again only after a question, or with `--yes`.
const ASKS_ABOVE: usize = 1;

/// Executions in one order when no rate is given.
const ORDER_SIZE: usize = 100;

/// Run executions again with the recorded event
///
/// Today's hook and script are used; where the definition changed since, the difference is shown. An attempt is added
/// to the execution's record. It keeps to the order of its lane: it never overlaps, and may come after newer events.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem retry 1042.vm-running
  hem retry 1042                                 # all that event 1042 caused
  hem retry --failed --hook dns --since 2h --dry-run
  hem retry --failed --since today --yes --rate 5/s
  hem retry last --as-recorded --wait")]
pub(super) struct Arguments {
    /// What to run again: 1042.vm-running, 1042 (all it caused), last
    #[arg(value_name = "ID", required_unless_present = "failed")]
    ids: Vec<String>,
    /// All failed executions
    #[arg(long, conflicts_with = "ids")]
    failed: bool,
    /// With --failed: only those of this hook
    #[arg(long, requires = "failed")]
    hook: Option<String>,
    /// With --failed: only those accepted since then
    #[arg(long, requires = "failed", value_name = "TIME", value_parser = when::instant)]
    since: Option<Time>,
    /// Use the recorded definition instead of today's
    #[arg(long)]
    as_recorded: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Order them no faster than this: 5/s, 30/min
    #[arg(long, value_name = "NUMBER/UNIT", value_parser = rate)]
    rate: Option<Duration>,
    /// Wait until they reach their end; exit with 1 unless all succeed
    #[arg(short, long, conflicts_with = "dry_run")]
    wait: bool,
}

/// The time between two orders.
fn rate(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is no rate; write a number and a unit, such as 5/s or 30/min");
    let (number, unit) = text.split_once('/').ok_or_else(refused)?;
    let unit = match unit.trim() {
        "s" => Duration::from_secs(1),
        "m" | "min" => Duration::from_secs(60),
        "h" => Duration::from_secs(3600),
        _ => return Err(refused()),
    };
    match number.trim().parse::<u32>() {
        Ok(number) if number > 0 => Ok(unit / number),
        _ => Err(refused()),
    }
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let client = global.client().await?;
    let style = global.style();
    let ids = if arguments.failed {
        failed(&client, &arguments).await?
    } else {
        arguments.ids.clone()
    };
    if ids.is_empty() {
        output::say("no failed executions");
        return Ok(Exit::Ok);
    }
    let plan = plan(&client, &ids, arguments.as_recorded).await?;
    if arguments.dry_run {
        if global.json {
            output::print_json(&RetryReply { results: plan })?;
        } else {
            output::print(&render_plan(&plan, arguments.as_recorded, &style))?;
        }
        return Ok(Exit::Ok);
    }
    if !global.json {
        output::say(render_plan(&plan, arguments.as_recorded, &style).trim_end());
    }
    let (possible, refused): (Vec<_>, Vec<_>) = plan.into_iter().partition(|result| result.refused.is_none());
    if possible.len() > ASKS_ABOVE && !arguments.yes && !agreed(possible.len())? {
        return Err(Failure::new(Exit::Failed, "nothing was ordered"));
    }
    // Watching begins before the order, so that no end is missed.
    let feed = match arguments.wait {
        true => Some(
            client
                .follow_executions(&ExecutionFilter {
                    limit: Some(0),
                    ..ExecutionFilter::default()
                })
                .await?,
        ),
        false => None,
    };
    let mut results = order(&client, &possible, &arguments).await?;
    results.extend(refused);
    let awaited: BTreeMap<String, u32> = results
        .iter()
        .filter(|result| result.refused.is_none())
        .map(|result| (result.execution.clone(), result.attempt))
        .collect();
    let all_ordered = awaited.len() == results.len();
    let Some(feed) = feed else {
        if global.json {
            output::print_json(&RetryReply { results })?;
        } else {
            report(&results);
        }
        return Ok(if all_ordered { Exit::Ok } else { Exit::Failed });
    };
    report(&results);
    let settled = wait(&client, feed, awaited).await?;
    if global.json {
        output::print_json(&settled)?;
    } else {
        output::print(&log::table(&settled, &style))?;
    }
    let all_succeeded = settled
        .iter()
        .all(|execution| matches!(execution.state, StateView::Succeeded { .. }));
    Ok(if all_ordered && all_succeeded {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// The failed executions that are meant, oldest first.
async fn failed(client: &Client, arguments: &Arguments) -> Result<Vec<String>, Failure> {
    let filter = ExecutionFilter {
        hook: arguments.hook.clone(),
        status: Some("failed".to_owned()),
        since: arguments.since,
        limit: Some(crate::control::query::GREATEST_LIMIT),
        ..ExecutionFilter::default()
    };
    let mut executions = client.executions(&filter).await?;
    executions.reverse();
    Ok(executions
        .into_iter()
        .map(|execution| execution.execution)
        .collect())
}

async fn plan(client: &Client, ids: &[String], as_recorded: bool) -> Result<Vec<RetryResult>, Failure> {
    let mut results = Vec::new();
    for part in ids.chunks(ORDER_SIZE) {
        let order = RetryOrder {
            executions: part.to_vec(),
            as_recorded,
            dry_run: true,
        };
        results.extend(client.retry(&order).await?.results);
    }
    Ok(results)
}

async fn order(
    client: &Client,
    possible: &[RetryResult],
    arguments: &Arguments,
) -> Result<Vec<RetryResult>, Failure> {
    let size = if arguments.rate.is_some() { 1 } else { ORDER_SIZE };
    let progress = indicatif::ProgressBar::new(possible.len() as u64);
    // Only worth showing where it takes a while; it hides itself where standard error is no terminal.
    if possible.len() <= size {
        progress.set_draw_target(indicatif::ProgressDrawTarget::hidden());
    }
    let mut pace = arguments.rate.map(tokio::time::interval);
    let mut results = Vec::with_capacity(possible.len());
    for part in possible.chunks(size) {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let order = RetryOrder {
            executions: part.iter().map(|result| result.execution.clone()).collect(),
            as_recorded: arguments.as_recorded,
            dry_run: false,
        };
        results.extend(client.retry(&order).await?.results);
        progress.inc(part.len() as u64);
    }
    progress.finish_and_clear();
    Ok(results)
}

/// Asks the person at the terminal.
fn agreed(number: usize) -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        return Err(Failure::new(
            Exit::Usage,
            format!("{number} executions would run again and nobody can be asked"),
        )
        .with_hint("`--yes` answers, `--dry-run` shows them"));
    }
    output::say(&format!("Run these {number} executions again? [y/N]"));
    let mut answer = String::new();
    io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot read the answer: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn render_plan(plan: &[RetryResult], as_recorded: bool, style: &Style) -> String {
    let mut text = String::new();
    // One difference for each pair of definitions, not for each execution.
    let mut told: Vec<(&str, &str)> = Vec::new();
    for result in plan {
        let line = match &result.refused {
            Some(why) => format!(
                "{}  {}",
                style.paint(Tint::Faint, &result.execution),
                output::safe(why)
            ),
            None => format!(
                "{}  attempt {}",
                style.paint(Tint::Strong, &result.execution),
                result.attempt
            ),
        };
        text.push_str(&line);
        text.push('\n');
        let (Some(recorded), Some(today)) = (&result.recorded, &result.today) else {
            continue;
        };
        let pair = (recorded.version.as_str(), today.version.as_str());
        if told.contains(&pair) || result.refused.is_some() {
            continue;
        }
        told.push(pair);
        if let Some(lines) = difference(&recorded.text, &today.text) {
            let used = if as_recorded {
                "the recorded one is used"
            } else {
                "today's is used"
            };
            text.push_str(&format!(
                "  the definition of `{}` has changed; {used}:\n",
                result.hook
            ));
            for line in lines.lines() {
                let tint = match line.as_bytes().first() {
                    Some(b'-') => Tint::Bad,
                    Some(b'+') => Tint::Good,
                    _ => Tint::Faint,
                };
                text.push_str(&format!("    {}\n", style.paint(tint, &output::safe(line))));
            }
        }
    }
    text
}

fn report(results: &[RetryResult]) {
    let ordered = results.iter().filter(|result| result.refused.is_none()).count();
    match results {
        [one] if ordered == 1 => output::say(&format!(
            "ordered; `hem show {}` shows how it goes",
            one.execution
        )),
        _ => output::say(&format!("{ordered} of {} ordered", results.len())),
    }
}

/// Waits until each execution reached its end with at least that attempt.
async fn wait(
    client: &Client,
    mut feed: Lines<FeedLine>,
    mut awaited: BTreeMap<String, u32>,
) -> Result<Vec<ExecutionView>, Failure> {
    let is_over = |execution: &ExecutionView, attempt: u32| {
        let cancelled = matches!(execution.state, StateView::Cancelled { .. });
        execution.state.is_settled() && (execution.attempts >= attempt || cancelled)
    };
    let mut over = Vec::with_capacity(awaited.len());
    while !awaited.is_empty() {
        match feed.next().await? {
            Some(FeedLine::Execution(execution)) => {
                if let Some(attempt) = awaited.get(&execution.execution)
                    && is_over(&execution, *attempt)
                {
                    awaited.remove(&execution.execution);
                    over.push(*execution);
                }
            }
            // Some news passed by: ask for each.
            Some(FeedLine::Skipped { .. }) => {
                for (id, attempt) in awaited.clone() {
                    let story = client.story(&id, false).await?;
                    for told in story.executions {
                        if is_over(&told.execution, attempt) {
                            awaited.remove(&id);
                            over.push(told.execution);
                        }
                    }
                }
            }
            Some(FeedLine::Event(_)) => {}
            None => {
                return Err(Failure::new(
                    Exit::NotReachable,
                    "the daemon ended before the executions did; they go on when it is back",
                ));
            }
        }
    }
    over.sort_by(|one, other| (one.event, &one.hook).cmp(&(other.event, &other.hook)));
    Ok(over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::show::tests::definition;
    use crate::control::api::DefinitionView;

    #[test]
    fn rates_are_a_number_and_a_unit() {
        assert_eq!(rate("5/s"), Ok(Duration::from_millis(200)));
        assert_eq!(rate("30/min"), Ok(Duration::from_secs(2)));
        for text in ["", "5", "0/s", "5/day", "/s", "-1/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_plan_shows_the_difference_once() {
        let changed = DefinitionView {
            version: "11".repeat(32),
            text: definition().text.replace("register.sh", "register-v2.sh"),
            ..definition()
        };
        let result = |execution: &str, refused: Option<&str>| RetryResult {
            execution: execution.to_owned(),
            hook: "vm-running".to_owned(),
            attempt: 3,
            recorded: Some(definition()),
            today: Some(changed.clone()),
            refused: refused.map(str::to_owned),
        };
        let plan = [
            result("1042.vm-running", None),
            result("1043.vm-running", None),
            result("1044.vm-running", Some("it is running")),
        ];
        insta::assert_snapshot!(render_plan(&plan, false, &output::tests::fixed()));
    }
}
