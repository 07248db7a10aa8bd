//! `GET /metrics`: how the daemon does, in the words of Prometheus.
//!
//! Nothing is counted here. A scrape asks the engine for its [`Status`], the one that `hem status` shows, and writes
//! it in the OpenMetrics text format, or in Prometheus' older one for readers that do not ask for OpenMetrics
//! (node_exporter's textfile collector reads that alone).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::handle::{Connection, Status};
use crate::engine::mute::{Mute, MutedBy};
use crate::event::time::Timestamp;

/// The content type of OpenMetrics, and what its readers ask for.
const OPENMETRICS: &str = "application/openmetrics-text";

/// In which of Prometheus' two text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus' own text format, 0.0.4.
    Prometheus,
}

impl Format {
    /// The one to answer with, by the request's `Accept`.
    pub(super) fn wanted(accept: Option<&str>) -> Self {
        match accept {
            Some(accept) if accept.contains(OPENMETRICS) => Self::OpenMetrics,
            _ => Self::Prometheus,
        }
    }

    /// The `Content-Type` of the answer.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes a status, taken at `now`, as metrics.
///
/// # Errors
/// When a value cannot be written as text, which is a fault of the program.
pub(super) fn render(
    status: Status,
    hooks: usize,
    now: Timestamp,
    format: Format,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("hem");
    registry.register_collector(Box::new(Scrape { status, hooks, now }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(match format {
        Format::OpenMetrics => text,
        Format::Prometheus => in_the_older_format(&text),
    })
}

/// OpenMetrics names a counter's family without the `_total` of its samples and ends with a mark; the older format names
/// it with, and knows neither the mark nor units.
fn in_the_older_format(text: &str) -> String {
    let counters: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let about = ["# HELP ", "# TYPE "].iter().find_map(|keyword| {
            let (name, rest) = line.strip_prefix(keyword)?.split_once(' ')?;
            counters.contains(name).then_some((keyword, name, rest))
        });
        match about {
            Some((keyword, name, rest)) => {
                out.extend([keyword, name, "_total ", rest, "\n"]);
            }
            None if line == "# EOF" || line.starts_with("# UNIT ") => {}
            None => out.extend([line, "\n"]),
        }
    }
    out
}

/// What one scrape shows.
#[derive(Debug)]
struct Scrape {
    status: Status,
    hooks: usize,
    now: Timestamp,
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        let status = &self.status;
        let build = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("store", status.store.as_str()),
        ];
        sheet.gauges("build_info", "The program and its store; always 1", [(build, 1)])?;
        sheet.gauge_in(
            Unit::Seconds,
            "start_time",
            "When the daemon started, in seconds since 1970",
            since_1970(status.started),
        )?;
        sheet.gauge(
            "accepting",
            "Whether new events are accepted",
            status.not_accepting.is_none().into(),
        )?;
        sheet.gauge(
            "observing",
            "Whether nothing is started, and what would run is recorded",
            status.observing.into(),
        )?;
        let is_on_standby = status.role.as_ref().is_some_and(|role| !role.standing.works());
        sheet.gauge(
            "standby",
            "Whether nothing is accepted or started because another front-end may lead",
            is_on_standby.into(),
        )?;
        self.events(&mut sheet)?;
        self.sources(&mut sheet)?;
        self.catching_up(&mut sheet)?;
        self.executions(&mut sheet)?;
        self.hooks(&mut sheet)?;
        self.pool(&mut sheet)?;
        self.replies(&mut sheet)?;
        self.store(&mut sheet)
    }
}

impl Scrape {
    fn events(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let events = || self.status.events.iter();
        sheet.counters(
            "events_received",
            "Events received; the sum of hem_events over its outcomes",
            events().map(|(source, sums)| ([("source", source.as_str())], sums.received)),
        )?;
        sheet.counters(
            "events",
            "Where received events ended",
            events().flat_map(|(source, sums)| {
                [
                    ("matched", sums.matched),
                    ("unmatched", sums.unmatched),
                    ("undecodable", sums.undecodable),
                    ("duplicate", sums.duplicate),
                    ("refused", sums.refused),
                    ("lost", sums.lost),
                ]
                .map(|(outcome, count)| ([("source", source.as_str()), ("outcome", outcome)], count))
            }),
        )?;
        sheet.counters(
            "gaps",
            "Times in which events may have passed unseen",
            events().map(|(source, sums)| ([("source", source.as_str())], sums.gaps)),
        )?;
        let status = &self.status;
        let buckets: Vec<(f64, u64)> = status
            .acceptance_millis
            .iter()
            .map(|(bound, count)| (bound_in_seconds(*bound), *count))
            .collect();
        sheet.histogram(
            "acceptance",
            "From the receipt of an event until it is durable, since the daemon started",
            status.acceptance_total.as_secs_f64(),
            &buckets,
        )
    }

    fn sources(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let sources = || self.status.sources.iter();
        sheet.gauges(
            "source_up",
            "Whether the source is connected",
            sources().map(|(name, source)| {
                let is_up = matches!(source.connection, Connection::Up { .. });
                ([("source", name.as_str()), ("type", source.kind)], is_up.into())
            }),
        )?;
        sheet.counters(
            "source_connects",
            "How often the source was connected to since the daemon started",
            sources().map(|(name, source)| ([("source", name.as_str())], source.connects)),
        )?;
        sheet.counters(
            "source_refused",
            "Messages refused since the daemon started, by reason",
            sources().flat_map(|(name, source)| {
                let refused = source.refused.iter();
                refused
                    .map(|(reason, count)| ([("source", name.as_str()), ("reason", reason.as_str())], *count))
            }),
        )
    }

    /// Of sources whose controller can be asked what was missed.
    fn catching_up(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let statuses = || {
            let sources = self.status.sources.iter();
            sources.filter_map(|(name, source)| Some((name.as_str(), source.catch_up.as_ref()?)))
        };
        sheet.counters(
            "missed_states",
            "States that were missed in gaps, by what became of them: raised, a live event came first, or no hook asks for them",
            statuses().flat_map(|(name, status)| {
                let totals = status.totals;
                [
                    ("raised", totals.raised),
                    ("live", totals.live),
                    ("unwanted", totals.unwanted),
                ]
                .map(|(outcome, count)| ([("source", name), ("outcome", outcome)], count))
            }),
        )?;
        sheet.counters(
            "gaps_not_caught_up",
            "Gaps that were too long to catch up with",
            statuses().map(|(name, status)| ([("source", name)], status.totals.rebuilt)),
        )?;
        sheet.gauges(
            "known_states",
            "Resources whose state is known, to compare with after a gap",
            statuses().map(|(name, status)| ([("source", name)], status.known as u64)),
        )?;
        sheet.gauges_in(
            Unit::Seconds,
            "known_states_age",
            "How long ago the known states were surely the present ones; it grows while there is something to catch up with",
            statuses().filter_map(|(name, status)| {
                let age = self.now.since(status.as_of?).as_secs_f64();
                Some(([("source", name)], age))
            }),
        )
    }

    fn executions(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let status = &self.status;
        sheet.gauges(
            "executions",
            "Executions that the store keeps, by state",
            status
                .executions
                .iter()
                .map(|(state, count)| ([("state", *state)], *count)),
        )?;
        sheet.gauge("scripts_running", "Scripts running now", status.running as u64)?;
        sheet.gauge(
            "concurrency",
            "Scripts that may run at once",
            status.concurrency as u64,
        )?;
        sheet.gauge(
            "blocked_lanes",
            "Lanes in which an execution has waited for another one for longer than blocked_after",
            status.blocked.len() as u64,
        )?;
        sheet.gauge(
            "held_executions",
            "Queued executions that a mute holds",
            status.held,
        )?;
        let mut mutes = BTreeMap::from(["operator", "throttle", "loop_guard", "breaker"].map(|by| (by, 0)));
        for status in &status.mutes {
            *mutes.entry(muted_by(&status.mute)).or_default() += 1;
        }
        sheet.gauges(
            "mutes",
            "Mutes in force, by who muted",
            mutes.into_iter().map(|(by, count)| ([("by", by)], count)),
        )?;
        sheet.gauges(
            "queued_executions",
            "Queued executions, by hook; hooks of which nothing waits or runs are left out",
            status
                .queue
                .iter()
                .map(|group| ([("hook", group.hook.as_str())], group.queued)),
        )?;
        let oldest = status
            .oldest_queued()
            .map_or(0.0, |since| self.now.since(since).as_secs_f64());
        sheet.gauge_in(
            Unit::Seconds,
            "queue_age",
            "How long the execution that has been queued for longest has waited; 0 when none is queued",
            oldest,
        )
    }

    fn hooks(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let status = &self.status;
        sheet.gauge("hooks", "Hooks in force", self.hooks as u64)?;
        sheet.gauge(
            "stale_hook_files",
            "Broken hook files whose last good version is in force",
            status.stale.len() as u64,
        )?;
        let no_labels: [(&str, &str); 0] = [];
        sheet.counters(
            "condition_errors",
            "Matches that did not run because their condition could not be worked out",
            [(no_labels, status.condition_errors)],
        )?;
        sheet.counters(
            "absent_elements",
            "Matches that did not run because their condition asks for an element that the event does not have",
            [(no_labels, status.absent_elements)],
        )
    }

    /// Nothing where the controller's hooks are not asked for.
    fn pool(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Some(pool) = &self.status.pool else {
            return Ok(());
        };
        let labels = [("source", pool.source.as_str())];
        let is_up = pool.read.is_some() && pool.away.is_none();
        sheet.gauges(
            "oned_up",
            "Whether oned gave its hooks when it was asked last",
            [(labels, is_up.into())],
        )?;
        sheet.gauges(
            "oned_hooks",
            "Hooks that oned keeps, by what becomes of them: in force, shadowed by one of the folder, or unusable",
            [
                ("in_force", pool.hooks),
                ("shadowed", pool.shadowed),
                ("unusable", pool.unusable.len()),
            ]
            .map(|(standing, count)| ([labels[0], ("standing", standing)], count as u64)),
        )?;
        sheet.counters(
            "oned_reads",
            "How often oned was asked for its hooks since the daemon started, by whether it gave them",
            [("yes", pool.reads), ("no", pool.failures)]
                .map(|(given, count)| ([labels[0], ("given", given)], count)),
        )
    }

    /// Of sources whose controller is told how hooks ended.
    fn replies(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let outboxes = || self.status.outboxes.iter();
        sheet.gauges(
            "replies_waiting",
            "Attempts whose end the controller is still to be told of",
            outboxes().map(|(source, status)| ([("source", source.as_str())], status.waiting)),
        )?;
        sheet.counters(
            "replies",
            "Attempts since the daemon started, by whether the controller acknowledged their end or is never to be told of it",
            outboxes().flat_map(|(source, status)| {
                [("delivered", status.delivered), ("superseded", status.superseded)]
                    .map(|(outcome, count)| ([("source", source.as_str()), ("outcome", outcome)], count))
            }),
        )
    }

    fn store(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let kept = &self.status.kept;
        sheet.gauges(
            "store_events",
            "Events that the store keeps, by whether a hook ran for them",
            [("yes", kept.matched_events), ("no", kept.unmatched_events)]
                .map(|(matched, count)| ([("matched", matched)], count)),
        )?;
        sheet.gauge_in(
            Unit::Bytes,
            "store_kept",
            "Payloads and outputs that the store keeps, as stored",
            kept.bytes,
        )
    }
}

/// Writes one metric after the other.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.gauge_in(None, name, help, value)
    }

    /// The unit becomes the end of the name.
    fn gauge_in(
        &mut self,
        unit: impl Into<Option<Unit>>,
        name: &str,
        help: &str,
        value: impl EncodeGaugeValue,
    ) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, unit.into().as_ref(), MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn gauges_in<L: EncodeLabelSet>(
        &mut self,
        unit: Unit,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self
            .0
            .encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    /// A histogram of seconds; buckets are bounds with what lies between one and the next, the last one unbounded.
    fn histogram(&mut self, name: &str, help: &str, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        self.0
            .encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?
            .encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }
}

fn muted_by(mute: &Mute) -> &'static str {
    match mute.by {
        MutedBy::Operator(_) => "operator",
        MutedBy::Throttle => "throttle",
        MutedBy::LoopGuard => "loop_guard",
        MutedBy::Breaker => "breaker",
    }
}

/// A bucket's upper bound; the engine's largest number stands for none.
fn bound_in_seconds(millis: u64) -> f64 {
    match millis {
        u64::MAX => f64::INFINITY,
        millis => std::time::Duration::from_millis(millis).as_secs_f64(),
    }
}

fn since_1970(time: Timestamp) -> f64 {
    time.since(Timestamp::default()).as_secs_f64()
}

#[cfg(test)]
mod tests;
