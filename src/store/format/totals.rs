//! How the sums are stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::EventCounters;
use super::{FormatError, read};
use crate::event::{Event, Kind};

/// Everything that is counted; it rides in each batch, so that sums and records never disagree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct Totals {
    pub(in crate::store) last_seq: u64,
    pub(in crate::store) last_audit: u64,
    pub(in crate::store) condition_errors: u64,
    #[serde(default)]
    pub(in crate::store) absent_elements: u64,
    /// Kept executions by the name of their state.
    pub(in crate::store) executions: BTreeMap<String, u64>,
    pub(in crate::store) unmatched_kept: u64,
    pub(in crate::store) matched_kept: u64,
    /// Bytes of payloads and outputs kept.
    pub(in crate::store) bytes: u64,
    /// Of these, outputs.
    #[serde(default)]
    pub(in crate::store) output_bytes: u64,
    /// Of these, payloads of events that matched nothing.
    #[serde(default)]
    pub(in crate::store) unmatched_bytes: u64,
    pub(in crate::store) sources: BTreeMap<String, StoredCounters>,
    /// Unsettled executions of events below this number are listed.
    pub(in crate::store) listed_below: u64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct StoredCounters {
    received: u64,
    matched: u64,
    unmatched: u64,
    undecodable: u64,
    duplicate: u64,
    refused: u64,
    lost: u64,
    #[serde(default)]
    gaps: u64,
}

impl Totals {
    /// Adds an event with this many bytes of payload to what is kept.
    pub(in crate::store) fn keep(&mut self, is_unmatched: bool, bytes: u64) {
        self.bytes += bytes;
        if is_unmatched {
            self.unmatched_kept += 1;
            self.unmatched_bytes += bytes;
        } else {
            self.matched_kept += 1;
        }
    }

    /// Counts an accepted event where it belongs.
    pub(in crate::store) fn count(&mut self, event: &Event, is_unmatched: bool) {
        let mut counters = EventCounters::default();
        match (event.kind(), is_unmatched) {
            // Made here: it is not among what was received.
            (Kind::Gap, _) => counters.gaps = 1,
            (_, false) => (counters.received, counters.matched) = (1, 1),
            (Kind::Undecodable, true) => (counters.received, counters.undecodable) = (1, 1),
            (_, true) => (counters.received, counters.unmatched) = (1, 1),
        }
        self.sources
            .entry(event.source.to_string())
            .or_default()
            .add(&counters);
    }
}

impl StoredCounters {
    pub(in crate::store) fn add(&mut self, more: &EventCounters) {
        self.received += more.received;
        self.matched += more.matched;
        self.unmatched += more.unmatched;
        self.undecodable += more.undecodable;
        self.duplicate += more.duplicate;
        self.refused += more.refused;
        self.lost += more.lost;
        self.gaps += more.gaps;
    }

    pub(in crate::store) fn counters(&self) -> EventCounters {
        EventCounters {
            received: self.received,
            matched: self.matched,
            unmatched: self.unmatched,
            undecodable: self.undecodable,
            duplicate: self.duplicate,
            refused: self.refused,
            lost: self.lost,
            gaps: self.gaps,
        }
    }
}

pub(in crate::store) fn read_totals(bytes: &[u8]) -> Result<Totals, FormatError> {
    read(bytes)
}
