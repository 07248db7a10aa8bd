//! `hem compare`.

mod pairing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::pairing::{Fate, Ours, Paired, Theirs, Times, pair};
use super::backend::Backend;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint, count};
use super::{Global, Outcome, log, when};
use crate::control::api::{
    ArgumentsView, EventFilter, ExecutionFilter, ExecutionView, FactsView, SkipReasonView, StateView, Time,
};
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::oned::{CallError, Client, HookRecord};
use crate::quantity;

/// Of each hook at most this many executions are looked at, the newest; `oned` keeps 20 records of it.
const OURS_AT_MOST: usize = 2_000;

/// Examples shown of each difference of a hook, where not all are asked for.
const EXAMPLES: usize = 3;

/// Characters that are shown of arguments, from where they begin to differ.
const SHOWN: usize = 60;

/// What onehem-server ran, beside what hem did or would have run
///
/// Asks `oned` for its records of executions and sets them beside hem's of the same hooks: those of its pool, and those of the
/// hooks folder with an `id`. Two are the same if hook and arguments are, and the record came soon enough after the event.
/// Exits with 1 where anything differs.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem run --observe            # for a day, beside onehem-server; then
  hem compare --since 1d
  hem compare --since 2h --verbose
  hem compare --json | jq '.hooks[] | select(.differs)'")]
pub(super) struct Arguments {
    /// Compare what happened since then: 1d, 2h ago, today, 2026-11-22 02:00
    #[arg(long, value_name = "TIME", value_parser = when::instant, default_value = "1d")]
    since: Time,
    /// How long after its event a record may come: how long a script may run, and wait for its turn
    #[arg(long, value_name = "TIME", value_parser = quantity::duration, default_value = "10m")]
    tolerance: Duration,
    /// Show every difference, not only a few of each kind
    #[arg(short, long)]
    verbose: bool,
    /// Open the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
}

/// What came of it.
#[derive(Debug, Serialize)]
struct Report {
    since: Time,
    differs: bool,
    hooks: Vec<HookReport>,
}

/// One hook's.
#[derive(Debug, Serialize)]
struct HookReport {
    /// hem's names of it, several where it was replaced; none where hem has no such hook.
    names: BTreeSet<String>,
    oned_id: u64,
    differs: bool,
    both: u64,
    /// What happened before is not compared.
    from: Time,
    /// `oned` keeps no older records of it.
    is_cut_by_oned: bool,
    /// Records that came too soon after hem had not listened.
    unheard: u64,
    only_onehem: Vec<Difference>,
    only_hem: Vec<Difference>,
    arguments_differ: Vec<Difference>,
    unfinished: Vec<Difference>,
}

/// An execution, as far as either has it.
#[derive(Debug, Default, Serialize)]
struct Difference {
    /// The number of the controller's record.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_of_onehem: Option<String>,
    /// hem's execution.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    received: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_of_hem: Option<String>,
    /// Why hem did not run it.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_run: Option<String>,
}

impl Difference {
    fn of(theirs: Option<Theirs>, ours: Option<Ours>) -> Self {
        Self {
            record: theirs.as_ref().map(|theirs| theirs.execution),
            recorded: theirs.as_ref().map(|theirs| Time(theirs.at)),
            arguments_of_onehem: theirs.map(|theirs| theirs.line),
            execution: ours.as_ref().map(|ours| ours.execution.clone()),
            received: ours.as_ref().map(|ours| Time(ours.at)),
            arguments_of_hem: ours.map(|ours| ours.line),
            not_run: None,
        }
    }
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let config = global.config()?;
    let oned = Client::new(&config.oned_to_ask()?);
    let backend = Backend::open(&global, arguments.offline).await?;
    // What is in the controller's list came to hem before it ended, so hem's list is read after it.
    let records = oned.hook_log().await.map_err(|error| refused(&error))?;
    let now = Timestamp::now();
    let report = compared(&backend, records, &arguments, &config.redaction(), now).await?;
    if global.json {
        output::print_json(&report)?;
    } else {
        output::print(&render(&report, arguments.verbose, &global.style()))?;
    }
    Ok(if report.differs { Exit::Failed } else { Exit::Ok })
}

fn refused(error: &CallError) -> Failure {
    Failure::of(Exit::Failed, error)
        .with_hint("`oned:` in hem.yaml says where oned is and with which credentials; its log is for the group oneadmin")
}

/// What is known of one hook.
#[derive(Debug, Default)]
struct Group {
    names: BTreeSet<String>,
    theirs: Vec<HookRecord>,
    ours: Vec<Ours>,
    /// Older executions of hem were not looked at.
    cut: Option<Timestamp>,
}

async fn compared(
    backend: &Backend,
    records: Vec<HookRecord>,
    arguments: &Arguments,
    redaction: &Redaction,
    now: Timestamp,
) -> Result<Report, Failure> {
    let Arguments { since, tolerance, .. } = arguments;
    let mut groups: BTreeMap<u64, Group> = BTreeMap::new();
    for record in records {
        groups.entry(record.hook_id).or_default().theirs.push(record);
    }
    // The first of the records may belong to events before.
    let earliest = Time(before(since.0, *tolerance));
    for (name, oned_id) in backend.hooks_of_oned(earliest).await? {
        if let Some(oned_id) = oned_id {
            groups.entry(oned_id).or_default().names.insert(name.clone());
        }
        let filter = ExecutionFilter {
            hook: Some(name.clone()),
            since: Some(earliest),
            limit: Some(OURS_AT_MOST),
            arguments: true,
            ..ExecutionFilter::default()
        };
        let executions = backend.executions(&filter).await?;
        let is_cut = executions.len() == OURS_AT_MOST;
        let cut = executions
            .last()
            .map(|oldest| oldest.accepted.0)
            .filter(|_| is_cut);
        for (oned_id, own) in executions.into_iter().flat_map(occurrences) {
            let group = groups.entry(oned_id).or_default();
            group.names.insert(name.clone());
            group.cut = group.cut.max(cut);
            group.ours.push(own);
        }
    }
    let deaf = deaf_times(backend, *since).await?;
    let hooks: Vec<HookReport> = groups
        .into_iter()
        .map(|(oned_id, group)| {
            let times = Times {
                from: since.0,
                is_cut: false,
                now,
                tolerance: *tolerance,
                deaf: deaf.clone(),
            };
            of_hook(oned_id, group, times, redaction)
        })
        .collect();
    Ok(Report {
        since: *since,
        differs: hooks.iter().any(|hook| hook.differs),
        hooks,
    })
}

fn before(time: Timestamp, length: Duration) -> Timestamp {
    let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(time.as_millis().saturating_sub(length))
}

fn of_hook(oned_id: u64, group: Group, mut times: Times, redaction: &Redaction) -> HookReport {
    // The first record that is kept is not the first there was: older ones are gone.
    let oldest = group.theirs.first().filter(|oldest| oldest.execution_id > 0);
    let is_cut_by_oned = oldest.is_some_and(|oldest| oldest.at > times.from);
    times.is_cut = is_cut_by_oned;
    times.from = times.from.max(oldest.map_or(times.from, |oldest| oldest.at));
    times.from = times.from.max(group.cut.unwrap_or(times.from));
    let theirs = group.theirs.into_iter().map(|record| Theirs {
        execution: record.execution_id,
        at: record.at,
        digest: ArgumentsView::digest(&record.arguments),
        line: ArgumentsView::shortened(&redaction.argument(&record.arguments, None)),
    });
    let paired = pair(theirs.collect(), group.ours, &times);
    let differs = paired.differs();
    let Paired {
        both,
        only_theirs,
        only_ours,
        differing,
        unfinished,
        unheard,
    } = paired;
    let only_ours_of = |ours: Vec<Ours>| {
        ours.into_iter()
            .map(|own| Difference::of(None, Some(own)))
            .collect()
    };
    HookReport {
        names: group.names,
        oned_id,
        differs,
        both,
        from: Time(times.from),
        is_cut_by_oned,
        unheard,
        only_onehem: only_theirs
            .into_iter()
            .map(|(record, not_run)| Difference {
                not_run,
                ..Difference::of(Some(record), None)
            })
            .collect(),
        only_hem: only_ours_of(only_ours),
        arguments_differ: differing
            .into_iter()
            .map(|(record, own)| Difference::of(Some(record), Some(own)))
            .collect(),
        unfinished: only_ours_of(unfinished),
    }
}

/// An execution as often as the controller has a record of it, with the controller's number of its hook.
fn occurrences(execution: ExecutionView) -> Vec<(u64, Ours)> {
    let Some(arguments) = execution.arguments else {
        return Vec::new();
    };
    // Only to viewers is it not told.
    let Some(digest) = arguments.sha256 else {
        return Vec::new();
    };
    let tried = execution.attempts;
    let (ended, last) = match &execution.state {
        StateView::Running { .. } => (tried.saturating_sub(1), Some(Fate::Unfinished)),
        StateView::Queued { .. } | StateView::Debouncing { .. } | StateView::Retrying { .. } => {
            (tried, Some(Fate::Unfinished))
        }
        StateView::Skipped {
            reason: SkipReasonView::Observed,
            ..
        } => (tried + 1, None),
        StateView::Succeeded { .. } | StateView::Failed { .. } => (tried, None),
        StateView::Skipped { reason, .. } => {
            (tried, Some(Fate::NotRun(log::skip_reason(*reason).to_owned())))
        }
        StateView::Cancelled { .. } if tried > 0 => (tried, None),
        StateView::Cancelled { .. } => (0, Some(Fate::NotRun("cancelled".to_owned()))),
    };
    let fates = (0..ended).map(|_| Fate::Ran).chain(last);
    fates
        .map(|fate| {
            let own = Ours {
                execution: execution.execution.clone(),
                at: arguments.received.0,
                digest: digest.clone(),
                line: arguments.line.clone(),
                fate,
            };
            (arguments.oned_id, own)
        })
        .collect()
}

/// The times since then in which hem did not listen: gaps, and all before its first start.
async fn deaf_times(backend: &Backend, since: Time) -> Result<Vec<(Timestamp, Timestamp)>, Failure> {
    let gaps = EventFilter {
        kind: Some("gap".to_owned()),
        since: Some(since),
        limit: Some(crate::control::query::GREATEST_LIMIT),
        ..EventFilter::default()
    };
    let gaps = backend.events(&gaps).await?;
    let mut deaf: Vec<(Timestamp, Timestamp)> = gaps
        .into_iter()
        .filter_map(|event| match event.facts {
            FactsView::Gap { from, to, .. } => Some((from.0, to.0)),
            _ => None,
        })
        .collect();
    let first = match backend.started().await? {
        Some(started) => started,
        // A store whose daemon is gone: its first event since then is the first sign of it.
        None => {
            let all = EventFilter {
                since: Some(since),
                limit: Some(crate::control::query::GREATEST_LIMIT),
                ..EventFilter::default()
            };
            let events = backend.events(&all).await?;
            events.last().map_or(since, |event| event.received)
        }
    };
    let earlier = EventFilter {
        until: Some(Time(before(first.0, Duration::from_millis(1)))),
        limit: Some(1),
        ..EventFilter::default()
    };
    if backend.events(&earlier).await?.is_empty() {
        deaf.push((Timestamp::default(), first.0));
    }
    Ok(deaf)
}

fn render(report: &Report, verbose: bool, style: &Style) -> String {
    if report.hooks.is_empty() {
        return "neither oned nor hem has a hook that the other could have\n".to_owned();
    }
    let mut table = style.table(&[
        "HOOK",
        "ONED ID",
        "BOTH",
        "ONLY ONEHEM",
        "ONLY HEM",
        "ARGV DIFFERS",
        "UNFINISHED",
        "SINCE",
    ]);
    for hook in &report.hooks {
        let number = |list: &[Difference], tint| {
            let tint = if list.is_empty() { Tint::Faint } else { tint };
            style.cell(tint, &count(list.len() as u64))
        };
        table.add_row([
            style.cell(Tint::Strong, &hook.name()),
            style.cell(Tint::Plain, &hook.oned_id.to_string()),
            style.cell(Tint::Plain, &count(hook.both)),
            number(&hook.only_onehem, Tint::Bad),
            number(&hook.only_hem, Tint::Bad),
            number(&hook.arguments_differ, Tint::Bad),
            number(&hook.unfinished, Tint::Busy),
            style.cell(Tint::Plain, &style.time(hook.from)),
        ]);
    }
    let mut text = output::lines_of(&table);
    for hook in &report.hooks {
        text.push_str(&remarks(hook, verbose, style));
    }
    let differing = report.hooks.iter().filter(|hook| hook.differs).count() as u64;
    text.push_str(&match differing {
        0 => format!("\n{}\n", style.paint(Tint::Good, "no difference")),
        1 => format!("\n{}\n", style.paint(Tint::Bad, "1 hook differs")),
        more => format!(
            "\n{}\n",
            style.paint(Tint::Bad, &format!("{} hooks differ", count(more)))
        ),
    });
    text
}

impl HookReport {
    fn name(&self) -> String {
        if self.names.is_empty() {
            return "(unknown to hem)".to_owned();
        }
        let names: Vec<_> = self.names.iter().map(|name| output::safe_line(name)).collect();
        names.join(", ")
    }
}

/// What there is to say of a hook besides the numbers, with examples.
fn remarks(hook: &HookReport, verbose: bool, style: &Style) -> String {
    let mut lines: Vec<String> = Vec::new();
    if hook.is_cut_by_oned {
        lines.push(format!(
            "oned's records reach back to {} only; what came before is not compared",
            style.time(hook.from)
        ));
    }
    if hook.unheard > 0 {
        lines.push(format!(
            "{} of oned's records came while hem did not listen, or too soon after; they are not compared",
            count(hook.unheard)
        ));
    }
    let kinds = [
        ("only onehem", &hook.only_onehem),
        ("only hem", &hook.only_hem),
        ("argv differs", &hook.arguments_differ),
        ("unfinished", &hook.unfinished),
    ];
    for (kind, list) in kinds {
        let shown = if verbose { list.len() } else { EXAMPLES };
        for difference in list.iter().take(shown) {
            lines.push(format!("{kind}: {}", example(difference, style)));
        }
        if list.len() > shown {
            lines.push(format!(
                "{kind}: {} more; `--verbose` shows them",
                count((list.len() - shown) as u64)
            ));
        }
    }
    if lines.is_empty() {
        return String::new();
    }
    let heading = format!("\n{}\n", style.paint(Tint::Strong, &hook.name()));
    lines.iter().fold(heading, |mut text, line| {
        text.push_str("  ");
        text.push_str(line);
        text.push('\n');
        text
    })
}

fn example(difference: &Difference, style: &Style) -> String {
    let record = difference.record.zip(difference.recorded);
    let record = record.map(|(number, at)| format!("record {number} of {}", style.time(at)));
    let execution = difference.execution.as_ref().zip(difference.received);
    let execution = execution.map(|(name, at)| format!("{} of {}", output::safe_line(name), style.time(at)));
    let arguments = match (&difference.arguments_of_onehem, &difference.arguments_of_hem) {
        (Some(theirs), Some(ours)) => {
            let (theirs, ours) = excerpts(theirs, ours);
            format!(
                "`{}`, by hem `{}`",
                output::safe_line(&theirs),
                output::safe_line(&ours)
            )
        }
        (Some(one), None) | (None, Some(one)) => format!("`{}`", output::safe_line(&excerpts(one, "").0)),
        (None, None) => String::new(),
    };
    let mut words: Vec<String> = record.into_iter().chain(execution).collect();
    words.push(format!("arguments {arguments}"));
    words.extend(
        difference
            .not_run
            .as_ref()
            .map(|why| format!("hem did not run it: {why}")),
    );
    words.join(", ")
}

/// Two texts from a little before where they begin to differ.
fn excerpts(one: &str, other: &str) -> (String, String) {
    const BEFORE: usize = 12;
    let same = one.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(BEFORE);
    let excerpt = |text: &str| {
        let length = text.chars().count();
        let shown: String = text.chars().skip(from).take(SHOWN).collect();
        let head = if from > 0 { "…" } else { "" };
        let tail = if length > from + SHOWN { "…" } else { "" };
        format!("{head}{shown}{tail}")
    };
    (excerpt(one), excerpt(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::show::tests::time;

    fn hook(name: &str, oned_id: u64) -> HookReport {
        HookReport {
            names: BTreeSet::from([name.to_owned()]),
            oned_id,
            differs: false,
            both: 17,
            from: time(-86_400_000),
            is_cut_by_oned: false,
            unheard: 0,
            only_onehem: Vec::new(),
            only_hem: Vec::new(),
            arguments_differ: Vec::new(),
            unfinished: Vec::new(),
        }
    }

    fn theirs(line: &str) -> Theirs {
        Theirs {
            execution: 21,
            at: time(-60_000).0,
            digest: String::new(),
            line: line.to_owned(),
        }
    }

    fn ours(line: &str) -> Ours {
        Ours {
            execution: "1042.dns".to_owned(),
            at: time(-61_000).0,
            digest: String::new(),
            line: line.to_owned(),
            fate: Fate::Ran,
        }
    }

    #[test]
    fn every_difference_is_counted_and_a_few_are_shown() {
        let template = "PFZNPjxJRD4xMjwvSUQ+PC9WTT4=".repeat(4);
        let differing = Difference::of(
            Some(theirs(&format!("{template} x"))),
            Some(ours(&format!("{template} y"))),
        );
        let not_run = Difference {
            not_run: Some("throttled".to_owned()),
            ..Difference::of(Some(theirs("a")), None)
        };
        let only_hem = (0..5).map(|_| Difference::of(None, Some(ours("b\nc"))));
        let report = Report {
            since: time(-86_400_000),
            differs: true,
            hooks: vec![
                hook("oned/same", 3),
                HookReport {
                    differs: true,
                    is_cut_by_oned: true,
                    unheard: 2,
                    only_onehem: vec![not_run],
                    only_hem: only_hem.collect(),
                    arguments_differ: vec![differing],
                    unfinished: vec![Difference::of(None, Some(ours("")))],
                    ..hook("dns", 7)
                },
                HookReport {
                    names: BTreeSet::new(),
                    differs: true,
                    both: 0,
                    only_onehem: vec![Difference::of(Some(theirs("")), None)],
                    ..hook("", 9)
                },
            ],
        };
        insta::assert_snapshot!(render(&report, false, &output::tests::fixed()));
        let all = render(&report, true, &output::tests::fixed());
        assert_eq!(all.matches("  only hem: ").count(), 5, "{all}");
    }

    #[test]
    fn two_that_agree_are_said_to() {
        let report = Report {
            since: time(-86_400_000),
            differs: false,
            hooks: vec![hook("oned/same", 3)],
        };
        assert!(render(&report, false, &output::tests::fixed()).ends_with("\nno difference\n"));
    }
}
