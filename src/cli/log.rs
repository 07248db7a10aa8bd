//! `hem log`.

use clap::Args;

use super::backend::Backend;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome, events, when};
use crate::control::api::{
    CancelReasonView, ExecutionFilter, ExecutionView, FeedLine, SkipReasonView, StateView, Time,
};

/// What was run: executions, the newest last
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem log
  hem log --status failed --since yesterday
  hem log --hook vm-running --subject vm/12 --follow
  hem log --json --limit 1000 | jq '.[] | select(.attempts > 1)'")]
pub(super) struct Arguments {
    /// Only executions of this hook
    #[arg(long)]
    hook: Option<String>,
    /// Only executions in this state
    #[arg(long, value_parser = StateView::NAMES)]
    status: Option<String>,
    /// Only executions about this resource, such as vm/12
    #[arg(long)]
    subject: Option<String>,
    /// Only executions that events of this source caused
    #[arg(long)]
    source: Option<String>,
    /// Only executions accepted since then: 10m, 2h ago, today, 2026-11-22 02:00
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    since: Option<Time>,
    /// Only executions accepted until then
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    until: Option<Time>,
    /// Go on with what changes
    #[arg(short, long)]
    follow: bool,
    /// At most this many, the newest
    #[arg(short = 'n', long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    /// Open the store itself, while no daemon is alive
    #[arg(long, conflicts_with = "follow")]
    offline: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let filter = ExecutionFilter {
        cursor: None,
        hook: arguments.hook,
        status: arguments.status,
        subject: arguments.subject,
        source: arguments.source,
        since: arguments.since,
        until: arguments.until,
        limit: Some(arguments.limit),
        follow: false,
        arguments: false,
    };
    let style = global.style();
    if arguments.follow {
        return follow(&global, &filter, &style).await;
    }
    let mut executions = Backend::open(&global, arguments.offline)
        .await?
        .executions(&filter)
        .await?;
    executions.reverse();
    if global.json {
        output::print_json(&executions)?;
    } else if executions.is_empty() {
        output::say("no executions");
    } else {
        output::print(&table(&executions, &style))?;
    }
    Ok(Exit::Ok)
}

async fn follow(global: &Global, filter: &ExecutionFilter, style: &Style) -> Outcome {
    let mut feed = global.client().await?.follow_executions(filter).await?;
    while let Some(line) = feed.next().await? {
        match &line {
            _ if global.json => output::print_json_line(&line)?,
            FeedLine::Execution(execution) => output::print(&feed_line(execution, style))?,
            FeedLine::Skipped { lines } => output::say(&events::skipped(*lines)),
            FeedLine::Event(_) => {}
        }
    }
    Err(Failure::new(Exit::NotReachable, "the daemon ended the feed"))
}

/// When the state began, or is due.
pub(super) const fn moment(state: &StateView) -> Time {
    match state {
        StateView::Queued { since, .. } | StateView::Running { since, .. } => *since,
        StateView::Debouncing { due, .. } | StateView::Retrying { due, .. } => *due,
        StateView::Succeeded { at }
        | StateView::Failed { at }
        | StateView::Skipped { at, .. }
        | StateView::Cancelled { at, .. } => *at,
    }
}

/// What the state's name leaves out: `due in 5 s`, `expired`, `by ann`.
pub(super) fn detail(state: &StateView, style: &Style) -> Option<String> {
    match state {
        StateView::Debouncing { due, .. } => {
            Some(format!("waits for a newer event, starts {}", style.ago(*due)))
        }
        StateView::Retrying { due, .. } => Some(format!("next attempt {}", style.ago(*due))),
        StateView::Skipped { reason, .. } => Some(skip_reason(*reason).to_owned()),
        StateView::Cancelled { reason, .. } => Some(match reason {
            CancelReasonView::Operator(who) => format!("by {}", output::actor(who)),
            CancelReasonView::HookRemoved => "its hook was removed".to_owned(),
            CancelReasonView::HookDisabled => "its hook was disabled".to_owned(),
            CancelReasonView::Superseded => "ended by a newer event".to_owned(),
            CancelReasonView::Stopped(who) => format!("its hook was stopped by {}", output::actor(who)),
            CancelReasonView::Expired => "not started again in time: hem was on standby".to_owned(),
        }),
        _ => None,
    }
}

pub(super) const fn skip_reason(reason: SkipReasonView) -> &'static str {
    match reason {
        SkipReasonView::Expired => "expired: not started in time",
        SkipReasonView::Throttled => "throttled",
        SkipReasonView::Superseded => "a newer event took its place",
        SkipReasonView::Overlap => "another one was under way",
        SkipReasonView::Muted => "muted",
        SkipReasonView::Observed => "observed: would have run",
    }
}

pub(super) fn table(executions: &[ExecutionView], style: &Style) -> String {
    let mut table = style.table(&["EXECUTION", "STATE", "SINCE", "SUBJECT", "ATTEMPTS", "WHY"]);
    for execution in executions {
        let state = match (&execution.held_by, detail(&execution.state, style)) {
            (Some(mute), _) => format!("queued (held: {} muted)", mute.scope.in_words()),
            (None, Some(detail)) => format!("{} ({detail})", execution.state.name()),
            (None, None) => execution.state.name().to_owned(),
        };
        table.add_row([
            style.cell(Tint::Strong, &execution.execution),
            style.cell(output::tint_of(&execution.state), &state),
            style.cell(Tint::Plain, &style.time(moment(&execution.state))),
            style.cell(Tint::Plain, execution.subject.as_deref().unwrap_or("-")),
            style.cell(Tint::Plain, &execution.attempts.to_string()),
            style.cell(Tint::Faint, &execution.why),
        ]);
    }
    output::lines_of(&table)
}

fn feed_line(execution: &ExecutionView, style: &Style) -> String {
    let state = format!("{:<9}", execution.state.name());
    let mut line = format!(
        "{}  {}  {}  {}",
        style.paint(Tint::Faint, &style.time(moment(&execution.state))),
        style.paint(output::tint_of(&execution.state), &state),
        style.paint(Tint::Strong, &execution.execution),
        output::safe_line(execution.subject.as_deref().unwrap_or("-")),
    );
    if execution.attempts > 1 {
        line.push_str(&format!("  attempt {}", execution.attempts));
    }
    if let Some(mute) = &execution.held_by {
        let held = format!("  held: {} muted", output::safe_line(&mute.scope.in_words()));
        line.push_str(&style.paint(Tint::Faint, &held));
    }
    if let Some(detail) = detail(&execution.state, style) {
        line.push_str(&style.paint(Tint::Faint, &format!("  {detail}")));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::mute::tests::mute;
    use crate::cli::show::tests::{execution, time};
    use crate::control::api::{ActorView, CauseView, ScopeView};

    #[test]
    fn executions_make_a_table_that_fits() {
        let states = [
            StateView::Queued {
                cause: CauseView::Event,
                since: time(0),
            },
            StateView::Running {
                attempt: 1,
                cause: CauseView::Event,
                since: time(0),
                ended_for: None,
            },
            StateView::Retrying {
                due: time(1_800_000),
                delay_ms: 4000,
            },
            StateView::Succeeded { at: time(120) },
            StateView::Failed { at: time(6000) },
            StateView::Cancelled {
                at: time(7000),
                reason: CancelReasonView::Operator(ActorView::User {
                    uid: 9869,
                    name: Some("oneadmin".to_owned()),
                }),
            },
        ];
        let mut executions: Vec<_> = states
            .into_iter()
            .map(|state| ExecutionView { state, ..execution() })
            .collect();
        executions[0].held_by = Some(mute(ScopeView::All));
        let style = output::tests::fixed();
        let text = table(&executions, &style);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let feed: String = executions.iter().map(|one| feed_line(one, &style)).collect();
        insta::assert_snapshot!(format!("{text}\n{feed}"));
    }
}
