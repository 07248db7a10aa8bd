//! Holds three lists against one another: what was given, what the scripts wrote down, what the store says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hem::engine::execution::{Attempt, Cause, Execution, Settlement, State};
use hem::event::Facts;
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::own::OwnEvent;
use hem::runner::Outcome;
use hem::store::{EventQuery, ExecutionQuery, Store};

use super::{Campaign, Figures};

/// A line that a script wrote.
#[derive(Debug)]
struct Line {
    starts: bool,
    execution: String,
    attempt: u32,
    number: String,
    subject: String,
}

/// An execution with its attempts, as recorded.
struct Recorded {
    execution: Execution,
    attempts: Vec<Attempt>,
}

/// Everything the store holds about a campaign.
struct Journal {
    /// The number in each event's payload, by the event's number in the store.
    numbers: BTreeMap<Seq, String>,
    /// By the id that scripts are given.
    executions: BTreeMap<String, Recorded>,
    /// Times of which it says that events may have passed unseen.
    gaps: u64,
    /// How often the end of an execution was told as an event of hem's own.
    told: BTreeMap<ExecutionKey, u64>,
    /// The executions that these events caused.
    tellers: Vec<Execution>,
}

/// Finds every way in which the daemon did not keep its promises, and counts the rest.
pub(super) fn reconcile(campaign: &mut Campaign) {
    let mut faults = Vec::new();
    let store = Store::open(&campaign.path("state")).expect("a store that opens");
    let lines = lines(&campaign.path("ran"), &mut faults);
    let journal = read(&store, &mut faults);
    let mut figures = std::mem::take(&mut campaign.figures);

    compare_given(campaign, &journal, &mut figures, &mut faults);
    compare_runs(&lines, &journal, &mut figures, &mut faults);
    check_lanes(&lines, &journal, &mut faults);
    check_told(&journal, &mut figures, &mut faults);
    check_sums(&store, &journal, &mut faults);
    drop(store);
    check_log(campaign, &journal, &mut faults);

    figures.gaps += journal.gaps;
    if journal.gaps == 0 {
        faults.push("the daemon was away and no gap was said".to_owned());
    }
    figures.executions += journal.executions.len() as u64;
    figures.faults.extend(faults);
    campaign.figures = figures;
}

fn lines(path: &std::path::Path, faults: &mut Vec<String>) -> Vec<Line> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            [what @ ("start" | "end"), execution, attempt, number, subject] => lines.push(Line {
                starts: *what == "start",
                execution: (*execution).to_owned(),
                attempt: attempt.parse().unwrap_or(0),
                number: (*number).to_owned(),
                subject: (*subject).to_owned(),
            }),
            _ => faults.push(format!("a script wrote `{line}`")),
        }
    }
    lines
}

fn read(store: &Store, faults: &mut Vec<String>) -> Journal {
    let mut journal = Journal {
        numbers: BTreeMap::new(),
        executions: BTreeMap::new(),
        gaps: 0,
        told: BTreeMap::new(),
        tellers: Vec::new(),
    };
    if !store.untold(usize::MAX).expect("readable own events").is_empty() {
        faults.push("own events are still untold".to_owned());
    }
    let all = EventQuery {
        limit: usize::MAX,
        ..EventQuery::default()
    };
    for listed in store.events(&all).expect("readable events") {
        let seq = listed.event.seq;
        match &listed.event.facts {
            Facts::Gap(_) => {
                journal.gaps += 1;
                continue;
            }
            Facts::Own(OwnEvent::Execution(ended)) => {
                if listed.hooks != [HookName::trusted("told")] {
                    faults.push(format!("own event {seq} caused {:?}", listed.hooks));
                }
                *journal.told.entry(ended.execution.clone()).or_default() += 1;
                journal.tellers.extend(
                    store
                        .execution(&ExecutionKey::new(seq, HookName::trusted("told")))
                        .expect("a readable execution"),
                );
                continue;
            }
            _ => {}
        }
        let whole = store.event(seq).expect("a readable event").expect("an event");
        let payload = String::from_utf8_lossy(whole.event.payload.bytes()).into_owned();
        let number = payload
            .split_once("<NUMBER>")
            .and_then(|(_, rest)| rest.split_once("</NUMBER>"))
            .map(|(number, _)| number.to_owned());
        match number {
            Some(number) => {
                journal.numbers.insert(seq, number);
            }
            None => faults.push(format!("event {seq} has lost its payload: {payload:?}")),
        }
        let mut hooks: Vec<&str> = listed.hooks.iter().map(|hook| hook.as_str()).collect();
        hooks.sort_unstable();
        if hooks != ["free", "once", "rerun"] {
            faults.push(format!("event {seq} caused {hooks:?}"));
        }
        for hook in listed.hooks {
            let key = ExecutionKey::new(seq, hook);
            match store.execution(&key).expect("a readable execution") {
                Some(execution) => {
                    let attempts = store.attempts(&key).expect("readable attempts");
                    let id = key.with_store(store.id());
                    journal.executions.insert(id, Recorded { execution, attempts });
                }
                None => faults.push(format!("execution {key} was accepted and is missing")),
            }
        }
    }
    journal
}

/// What was given, and what was accepted of it.
fn compare_given(campaign: &Campaign, journal: &Journal, figures: &mut Figures, faults: &mut Vec<String>) {
    let mut accepted: HashMap<&str, Seq> = HashMap::new();
    for (seq, number) in &journal.numbers {
        if let Some(before) = accepted.insert(number, *seq) {
            faults.push(format!("{number} was accepted twice, as {before} and {seq}"));
        }
    }
    let mut given = 0;
    for (life, gave) in campaign.lives.iter().enumerate() {
        for emitted in &gave.emitted {
            let found = accepted.get(emitted.number.as_str()).copied();
            given += usize::from(found.is_some());
            match (emitted.acknowledged, found) {
                (Some(seq), found) => {
                    figures.acknowledged += 1;
                    if found != Some(Seq(seq)) {
                        faults.push(format!(
                            "{} was acknowledged as {seq} and is recorded as {found:?}",
                            emitted.number
                        ));
                    }
                }
                (None, found) => {
                    figures.unanswered += 1;
                    figures.unanswered_and_accepted += u64::from(found.is_some());
                }
            }
        }
        // ZeroMQ acknowledges nothing. But on one connection everything arrives, in order, from the subscription to the
        // end: what a life accepted is an unbroken run of what was published in it.
        let run: Vec<Option<Seq>> = gave
            .published
            .iter()
            .map(|number| accepted.get(number.as_str()).copied())
            .collect();
        let found: Vec<Seq> = run.iter().flatten().copied().collect();
        given += found.len();
        figures.published += gave.published.len() as u64;
        figures.published_and_accepted += found.len() as u64;
        if !found.is_sorted() {
            faults.push(format!(
                "life {life}: published events were numbered out of order"
            ));
        }
        let first = run.iter().position(Option::is_some).unwrap_or(0);
        let last = run.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        if last - first != found.len() {
            faults.push(format!(
                "life {life}: {} events in the middle of the stream are missing",
                last - first - found.len()
            ));
        }
        if life + 1 == campaign.lives.len() && run.last().is_none_or(Option::is_none) {
            faults.push("the last event published is missing".to_owned());
        }
    }
    if given != journal.numbers.len() {
        faults.push(format!(
            "{} events are recorded, {given} of them were given",
            journal.numbers.len()
        ));
    }
}

/// What the scripts wrote down, and what is recorded of it.
fn compare_runs(lines: &[Line], journal: &Journal, figures: &mut Figures, faults: &mut Vec<String>) {
    let mut started: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut ended: BTreeSet<(&str, u32)> = BTreeSet::new();
    for line in lines {
        let Line {
            execution,
            attempt,
            number,
            ..
        } = line;
        let Some(recorded) = journal.executions.get(execution) else {
            faults.push(format!("{execution} ran without a record"));
            continue;
        };
        if journal.numbers.get(&recorded.execution.key.event) != Some(number) {
            faults.push(format!("{execution} ran with the event of {number}"));
        }
        if !recorded.attempts.iter().any(|known| known.number == *attempt) {
            faults.push(format!("attempt {attempt} of {execution} ran without a record"));
        }
        let new = if line.starts {
            figures.ran += 1;
            started.entry(execution).or_default().insert(*attempt)
        } else {
            ended.insert((execution, *attempt))
        };
        if !new {
            faults.push(format!("attempt {attempt} of {execution} ran twice"));
        }
    }
    for (id, recorded) in &journal.executions {
        let ran = started.get(id.as_str()).cloned().unwrap_or_default();
        compare_execution(id, recorded, &ran, &ended, figures, faults);
    }
}

fn compare_execution(
    id: &str,
    recorded: &Recorded,
    ran: &BTreeSet<u32>,
    ended: &BTreeSet<(&str, u32)>,
    figures: &mut Figures,
    faults: &mut Vec<String>,
) {
    let Recorded { execution, attempts } = recorded;
    figures.attempts += attempts.len() as u64;
    figures.ran_again += u64::from(ran.len() > 1);
    let hook = execution.key.hook.as_str();
    if hook == "once" && (ran.len() > 1 || attempts.len() > 1) {
        faults.push(format!("{id} must never run twice: {ran:?}"));
    }
    if attempts.len() != execution.progress.attempts as usize
        || !attempts
            .iter()
            .map(|attempt| attempt.number)
            .eq(1..=attempts.len() as u32)
    {
        faults.push(format!("{id}: its attempts are not all there"));
    }
    let mut after_interruption = false;
    for (index, attempt) in attempts.iter().enumerate() {
        let number = attempt.number;
        let cause_fits = match attempt.cause {
            Cause::Event => index == 0,
            Cause::Recovery => after_interruption,
            Cause::Retry => index > 0 && !after_interruption,
            Cause::RetryMessage(_) | Cause::Operator { .. } => false,
        };
        if !cause_fits {
            faults.push(format!(
                "{id}: attempt {number} says its cause is {:?}",
                attempt.cause
            ));
        }
        match attempt.ended.as_ref().map(|ended| &ended.outcome) {
            Some(Outcome::Exited { code }) => {
                let wrote = recorded_output(attempt);
                if !ran.contains(&number) || !ended.contains(&(id, number)) || !wrote {
                    faults.push(format!(
                        "{id}: attempt {number} is recorded to have ended with {code}; the script knows nothing of it"
                    ));
                }
                after_interruption = false;
            }
            Some(Outcome::Interrupted) => {
                figures.interrupted += 1;
                figures.never_ran += u64::from(!ran.contains(&number));
                after_interruption = true;
            }
            other => faults.push(format!("{id}: attempt {number} ended as {other:?}")),
        }
    }
    let last = attempts.last().and_then(|attempt| attempt.ended.as_ref());
    let as_it_ended = match (&execution.progress.state, last.map(|ended| &ended.outcome)) {
        (State::Settled { settlement, .. }, Some(outcome)) => match (settlement, outcome) {
            (Settlement::Succeeded, Outcome::Exited { code: 0 }) => true,
            // Not to be run again, or interrupted three times in a row.
            (Settlement::Failed, Outcome::Interrupted) => {
                hook == "once" || execution.progress.interruptions == 3
            }
            _ => false,
        },
        _ => false,
    };
    if !as_it_ended {
        faults.push(format!(
            "{id}: {:?} does not follow from its last attempt, {last:?}",
            execution.progress.state
        ));
    }
}

fn recorded_output(attempt: &Attempt) -> bool {
    attempt
        .ended
        .as_ref()
        .is_some_and(|ended| ended.stdout.head.starts_with(b"output of "))
}

/// In a lane, what comes first starts first, and nothing starts before the one before it ended.
fn check_lanes(lines: &[Line], journal: &Journal, faults: &mut Vec<String>) {
    let mut lanes: HashMap<(&str, &str), Vec<&Line>> = HashMap::new();
    for line in lines {
        if let Some(recorded) = journal.executions.get(&line.execution) {
            let hook = recorded.execution.key.hook.as_str();
            if hook != "free" {
                lanes.entry((hook, &line.subject)).or_default().push(line);
            }
        }
    }
    for ((hook, subject), lane) in lanes {
        let (mut newest, mut current) = (Seq(0), None);
        for line in lane {
            let execution = line.execution.as_str();
            let Some(event) = journal.executions.get(execution).map(|r| r.execution.key.event) else {
                continue;
            };
            let this = (execution, line.attempt);
            if line.starts {
                if event < newest {
                    faults.push(format!(
                        "{hook} on {subject}: {execution} ran after a newer one, {newest}"
                    ));
                }
                newest = newest.max(event);
                current = Some(this);
            } else if current != Some(this) {
                faults.push(format!(
                    "{hook} on {subject}: {current:?} started before {this:?} had ended"
                ));
            }
        }
    }
}

/// Each end of `once` is told once, no other is, and each telling ran its hook.
fn check_told(journal: &Journal, figures: &mut Figures, faults: &mut Vec<String>) {
    let mut told = journal.told.clone();
    for recorded in journal.executions.values() {
        let key = &recorded.execution.key;
        let expected = u64::from(key.hook.as_str() == "once");
        let found = told.remove(key).unwrap_or_default();
        if found != expected {
            faults.push(format!("the end of {key} was told {found} times, not {expected}"));
        }
    }
    if !told.is_empty() {
        faults.push(format!("ends were told of nothing that was: {told:?}"));
    }
    figures.told += journal.tellers.len() as u64;
    if journal.tellers.len() != journal.told.len() {
        faults.push(format!(
            "{} ends were told, and {} hooks ran for it",
            journal.told.len(),
            journal.tellers.len()
        ));
    }
}

fn check_sums(store: &Store, journal: &Journal, faults: &mut Vec<String>) {
    let summary = store.summary();
    let mut accepted = 0;
    for (source, counters) in &summary.events {
        accepted += counters.accepted();
        if !counters.adds_up() || counters.lost > 0 {
            faults.push(format!("{source}: {counters:?}"));
        }
    }
    let events = journal.numbers.len() + journal.told.len();
    if accepted != events as u64 {
        faults.push(format!("{accepted} events are counted, {events} are there"));
    }
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let numbered = journal.executions.values().map(|recorded| &recorded.execution);
    for execution in numbered.chain(&journal.tellers) {
        *states
            .entry(execution.progress.state.name().to_owned())
            .or_default() += 1;
    }
    let counted: BTreeMap<String, u64> = summary
        .executions
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .collect();
    if counted != states {
        faults.push(format!(
            "{counted:?} executions are counted, {states:?} are there"
        ));
    }
    let listed = store
        .executions(&ExecutionQuery {
            limit: usize::MAX,
            ..ExecutionQuery::default()
        })
        .expect("readable executions");
    let executions = journal.executions.len() + journal.tellers.len();
    if listed.len() != executions {
        faults.push(format!(
            "{} executions are listed, {executions} belong to events",
            listed.len(),
        ));
    }
    match store.unsettled() {
        Ok(unsettled) if unsettled.is_empty() => {}
        other => faults.push(format!("the store still has work: {other:?}")),
    }
}

/// What an operator is shown without a daemon.
fn check_log(campaign: &Campaign, journal: &Journal, faults: &mut Vec<String>) {
    let mut command = campaign.program.command();
    command.arg("--config").arg(campaign.path("hem.yaml")).args([
        "log",
        "--offline",
        "--json",
        "--limit",
        "1000000",
    ]);
    let output = assert_cmd::Command::from_std(command).output().expect("it runs");
    let shown = serde_json::from_slice::<serde_json::Value>(&output.stdout)
        .ok()
        .and_then(|log| log.as_array().map(Vec::len));
    let executions = journal.executions.len() + journal.tellers.len();
    if shown != Some(executions) {
        faults.push(format!(
            "`hem log --offline` shows {shown:?} of {executions} executions: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
}
