//! How long acceptance takes, in buckets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::time::Timestamp;

/// Upper bounds in milliseconds of the buckets that count how long acceptance takes.
const ACCEPTANCE_BUCKETS: [u64; 10] = [1, 2, 5, 10, 20, 50, 100, 500, 1_000, u64::MAX];

/// Counts how long events take from receipt to acceptance.
#[derive(Debug, Default)]
pub(super) struct AcceptanceTimes {
    counts: [AtomicU64; ACCEPTANCE_BUCKETS.len()],
    /// In milliseconds.
    total: AtomicU64,
}

impl AcceptanceTimes {
    pub(super) fn count(&self, received: Timestamp) {
        let took = u64::try_from(Timestamp::now().since(received).as_millis()).unwrap_or(u64::MAX);
        let bucket = ACCEPTANCE_BUCKETS.iter().position(|bound| took <= *bound);
        if let Some(counter) = bucket.and_then(|at| self.counts.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
            self.total.fetch_add(took, Ordering::Relaxed);
        }
    }

    pub(super) fn buckets(&self) -> Vec<(u64, u64)> {
        ACCEPTANCE_BUCKETS
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| (*bound, count.load(Ordering::Relaxed)))
            .collect()
    }

    pub(super) fn total(&self) -> Duration {
        Duration::from_millis(self.total.load(Ordering::Relaxed))
    }
}
