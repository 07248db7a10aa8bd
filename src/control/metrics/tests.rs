//! `docs/metrics.md` and what is exposed, compared both ways.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::engine::handle::{
    CatchUpStatus, CatchUpTotals, Kept, OutboxStatus, PoolStatus, QueueGroup, SourceStatus,
};
use crate::event::id::{HookName, Seq};
use crate::store::EventCounters;

const PAGE: &str = include_str!("../../../docs/metrics.md");

/// A metric's type and the names of its labels, sorted.
#[derive(Debug, PartialEq, Eq)]
struct Described {
    kind: String,
    labels: Vec<String>,
}

/// A daemon of which there is something of everything to tell.
fn everything() -> Status {
    let now = Timestamp::from_millis(1_000);
    let source = SourceStatus {
        kind: "opennebula",
        endpoint: "tcp://127.0.0.1:2101".to_owned(),
        connection: Connection::Up { since: now },
        last_error: None,
        last_gap: None,
        connects: 1,
        refused: BTreeMap::from([("too_large".to_owned(), 2)]),
        noted: BTreeMap::new(),
        catch_up: Some(CatchUpStatus {
            known: 3,
            as_of: Some(now),
            open_since: None,
            totals: CatchUpTotals::default(),
            last_error: None,
        }),
    };
    let waiting = QueueGroup {
        hook: HookName::trusted("greet"),
        queued: 1,
        held: 0,
        debouncing: 0,
        retrying: 0,
        running: 0,
        oldest: Some(now),
        left: None,
    };
    let one = "one".to_owned();
    Status {
        store: "bcdf".parse().expect("an id"),
        started: now,
        last_seq: Seq(7),
        events: BTreeMap::from([(one.clone(), EventCounters::default())]),
        executions: BTreeMap::from([("queued", 1)]),
        held: 0,
        mutes: Vec::new(),
        queue: vec![waiting],
        sources: BTreeMap::from([(one.clone(), source)]),
        blocked: Vec::new(),
        running: 0,
        concurrency: 10,
        stale: Vec::new(),
        silent_folder: None,
        condition_errors: 0,
        absent_elements: 0,
        acceptance_millis: vec![(1, 4), (u64::MAX, 0)],
        acceptance_total: Duration::from_millis(3),
        kept: Kept::default(),
        not_accepting: None,
        observing: false,
        role: None,
        outboxes: BTreeMap::from([(one.clone(), OutboxStatus::default())]),
        pool: Some(PoolStatus {
            source: one,
            endpoint: "http://localhost:2633/RPC2".to_owned(),
            hooks: 1,
            shadowed: 0,
            unusable: Vec::new(),
            read: Some(now),
            away: None,
            reads: 1,
            failures: 0,
        }),
    }
}

/// The metrics of a text in Prometheus' older format.
fn exposed(text: &str) -> BTreeMap<String, Described> {
    let mut metrics = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let described = Described {
                kind: kind.to_owned(),
                labels: Vec::new(),
            };
            assert!(
                metrics.insert(name.to_owned(), described).is_none(),
                "{name} comes twice"
            );
        }
    }
    let mut shown: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let sample = line.split([' ', '{']).next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"]
            .iter()
            .filter_map(|end| sample.strip_suffix(end))
            .find(|family| metrics.contains_key(*family))
            .unwrap_or(sample);
        let labels = line
            .split_once('{')
            .and_then(|(_, rest)| rest.split_once('}'))
            .map_or("", |(labels, _)| labels);
        let mut names: Vec<String> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, _)| name.to_owned())
            .filter(|name| name != "le")
            .collect();
        names.sort();
        assert_eq!(
            shown.entry(family.to_owned()).or_insert_with(|| names.clone()),
            &names,
            "the samples of {family} have different labels"
        );
    }
    for (name, described) in &mut metrics {
        described.labels = shown
            .remove(name)
            .unwrap_or_else(|| panic!("{name} has no sample, so its labels are not known"));
    }
    assert!(shown.is_empty(), "samples without a type: {shown:?}");
    metrics
}

/// The metrics of the page's tables.
fn documented(page: &str) -> BTreeMap<String, Described> {
    let mut metrics = BTreeMap::new();
    for row in page.lines().filter(|line| line.starts_with("| `hem_")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, about] = cells[..] else {
            panic!("a row of other than four cells: {row}");
        };
        assert!(!about.is_empty(), "{name} is not explained");
        let mut labels: Vec<String> = labels
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(|label| label.trim_matches('`').to_owned())
            .collect();
        labels.sort();
        let described = Described {
            kind: kind.to_owned(),
            labels,
        };
        let name = name.trim_matches('`').to_owned();
        assert!(
            metrics.insert(name.clone(), described).is_none(),
            "{name} stands twice"
        );
    }
    metrics
}

#[test]
fn the_page_names_each_metric_with_its_type_and_its_labels_and_no_other() {
    let text = render(everything(), 1, Timestamp::from_millis(2_000), Format::Prometheus).expect("a text");
    let (exposed, documented) = (exposed(&text), documented(PAGE));
    assert!(exposed.len() > 20, "{exposed:#?}");
    for (name, described) in &exposed {
        assert_eq!(
            documented.get(name),
            Some(described),
            "docs/metrics.md says something else of {name}"
        );
    }
    for name in documented.keys() {
        assert!(
            exposed.contains_key(name),
            "docs/metrics.md has {name}, which is not exposed"
        );
    }
}

/// Rules that ask for what there is not never fire.
#[test]
fn the_rules_ask_for_metrics_that_there_are() {
    let documented = documented(PAGE);
    let (_, rules) = PAGE.split_once("## Rules").expect("the rules");
    let words = rules.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let asked: Vec<&str> = words.filter(|word| word.starts_with("hem_")).collect();
    assert!(asked.len() > 5, "{asked:?}");
    for name in asked {
        let family = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(documented.contains_key(family), "a rule asks for {name}");
    }
}

#[test]
#[should_panic(expected = "of other than four cells")]
fn a_row_without_labels_is_found() {
    documented("| `hem_x` | gauge | what it is |\n");
}
