//! `hem events`.

use clap::Args;

use super::backend::Backend;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome, when};
use crate::control::api::{EventFilter, EventView, FactsView, FeedLine, Time};
use crate::event::Kind;

/// What arrived: events, the newest last
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem events --since 10m
  hem events --subject vm/12 --follow
  hem events --unmatched --key one.vm. --since today
  hem events --kind undecodable --json | jq .")]
pub(super) struct Arguments {
    /// Go on with what arrives
    #[arg(short, long)]
    follow: bool,
    /// Only events about this resource, such as vm/12
    #[arg(long)]
    subject: Option<String>,
    /// Only events whose key contains this text
    #[arg(long, value_name = "TEXT")]
    key: Option<String>,
    /// Only events of this source
    #[arg(long)]
    source: Option<String>,
    /// Only events of this kind
    #[arg(long, value_parser = Kind::ALL.map(Kind::as_str))]
    kind: Option<String>,
    /// Only events that no hook matched
    #[arg(long)]
    unmatched: bool,
    /// Only events received since then: 10m, 2h ago, today, 2026-11-22 02:00
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    since: Option<Time>,
    /// Only events received until then
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    until: Option<Time>,
    /// At most this many, the newest
    #[arg(short = 'n', long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    /// Open the store itself, while no daemon is alive
    #[arg(long, conflicts_with = "follow")]
    offline: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let filter = EventFilter {
        cursor: None,
        subject: arguments.subject,
        key: arguments.key,
        source: arguments.source,
        kind: arguments.kind,
        unmatched: arguments.unmatched,
        since: arguments.since,
        until: arguments.until,
        limit: Some(arguments.limit),
        follow: false,
        reveal: false,
    };
    let style = global.style();
    if arguments.follow {
        return follow(&global, &filter, &style).await;
    }
    let mut events = Backend::open(&global, arguments.offline)
        .await?
        .events(&filter)
        .await?;
    events.reverse();
    if global.json {
        output::print_json(&events)?;
    } else if events.is_empty() {
        output::say("no events");
    } else {
        output::print(&table(&events, &style))?;
    }
    Ok(Exit::Ok)
}

async fn follow(global: &Global, filter: &EventFilter, style: &Style) -> Outcome {
    let mut feed = global.client().await?.follow_events(filter).await?;
    while let Some(line) = feed.next().await? {
        match &line {
            _ if global.json => output::print_json_line(&line)?,
            FeedLine::Event(event) => output::print(&feed_line(event, style))?,
            FeedLine::Skipped { lines } => output::say(&skipped(*lines)),
            FeedLine::Execution(_) => {}
        }
    }
    Err(Failure::new(Exit::NotReachable, "the daemon ended the feed"))
}

/// What a reader is told that was too slow.
pub(super) fn skipped(lines: u64) -> String {
    format!(
        "… {} lines were skipped: this reader was too slow; they are in the record",
        output::count(lines)
    )
}

fn hooks(event: &EventView) -> String {
    if event.hooks.is_empty() {
        "-".to_owned()
    } else {
        event.hooks.join(", ")
    }
}

fn what(event: &EventView) -> String {
    let mut words = event.facts.in_words();
    if event.ambiguous {
        words.push_str(" (ambiguous)");
    }
    if event.synthesised && matches!(event.facts, FactsView::State { .. }) {
        words.push_str(" (synthesised)");
    }
    words
}

fn table(events: &[EventView], style: &Style) -> String {
    let mut table = style.table(&["EVENT", "RECEIVED", "SOURCE", "SUBJECT", "WHAT", "HOOKS"]);
    for event in events {
        let tint = if event.hooks.is_empty() {
            Tint::Faint
        } else {
            Tint::Plain
        };
        table.add_row([
            style.cell(Tint::Strong, &event.seq.to_string()),
            style.cell(Tint::Plain, &style.time(event.received)),
            style.cell(Tint::Plain, &event.source),
            style.cell(Tint::Plain, event.subject.as_deref().unwrap_or("-")),
            style.cell(Tint::Plain, &what(event)),
            style.cell(tint, &hooks(event)),
        ]);
    }
    output::lines_of(&table)
}

fn feed_line(event: &EventView, style: &Style) -> String {
    format!(
        "{}  {}  {:<12}  {}  {}\n",
        style.paint(Tint::Faint, &style.time(event.received)),
        style.paint(Tint::Strong, &format!("{:>6}", event.seq)),
        output::safe_line(event.subject.as_deref().unwrap_or("-")),
        output::safe_line(&what(event)),
        style.paint(Tint::Faint, &format!("→ {}", hooks(event))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::show::tests::event;

    #[test]
    fn events_make_a_table_that_fits() {
        let mut odd = event();
        odd.seq = 1043;
        odd.subject = None;
        odd.hooks = Vec::new();
        odd.ambiguous = true;
        odd.facts = FactsView::Api {
            call: "one.user.allocate".to_owned(),
            success: false,
        };
        let style = output::tests::fixed();
        let text = table(&[event(), odd.clone()], &style);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        insta::assert_snapshot!(format!("{text}\n{}", feed_line(&odd, &style)));
    }
}
