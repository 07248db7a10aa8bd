//! Which executions are unsettled, so that a start finds them among any number that are settled.
//!
//! Most executions end soon after they began: to list each and to take it off the list again would be two writes of the five.
//! So the executions of the newest events are not listed; a start looks at their records. What is still unsettled when its event
//! is none of the newest any more is listed in the batch that moves the border.
//!
//! A record that does not say whether its execution is settled is told and passed over: it must not keep all the others from being
//! taken up.

use std::collections::BTreeSet;

use sled::Batch;

use super::keys::{self, Space};
use super::{ReadError, Store};
use crate::event::id::{ExecutionKey, Seq};

/// A start looks at the executions of so many of the newest events. A unit test is to meet the border soon.
const NEWEST: u64 = if cfg!(test) { 8 } else { 4_096 };

/// Unsettled executions that are not listed.
#[derive(Debug, Default)]
pub(super) struct Unlisted {
    /// Unsettled executions of events below this number are listed, others are not.
    border: u64,
    keys: BTreeSet<ExecutionKey>,
}

impl Unlisted {
    /// What a former life left.
    pub(super) fn read(store: &Store) -> Result<Self, ReadError> {
        let border = store.listed_below();
        let keys = store.unsettled_from(Seq(border), |key, error| {
            tracing::error!(
                execution = %key,
                error = error as &dyn std::error::Error,
                "the record of an execution is damaged; it counts as settled"
            );
        })?;
        Ok(Self { border, keys })
    }

    /// An execution is unsettled now.
    pub(super) fn add(&mut self, key: &ExecutionKey, batch: &mut Batch) {
        if key.event.0 < self.border {
            batch.insert(keys::of_execution(Space::Unsettled, key), &[]);
        } else {
            self.keys.insert(key.clone());
        }
    }

    /// An execution is settled now.
    pub(super) fn remove(&mut self, key: &ExecutionKey, batch: &mut Batch) {
        if !self.keys.remove(key) {
            batch.remove(keys::of_execution(Space::Unsettled, key));
        }
    }

    /// Whether an execution is unsettled and not listed.
    pub(super) fn contains(&self, key: &ExecutionKey) -> bool {
        self.keys.contains(key)
    }

    /// With this last number the newest events are others; lists what is none of theirs. Returns where the border is now.
    pub(super) fn move_border(&mut self, last: u64, batch: &mut Batch) -> u64 {
        self.border = self.border.max((last + 1).saturating_sub(NEWEST));
        while let Some(oldest) = self.keys.first()
            && oldest.event.0 < self.border
            && let Some(oldest) = self.keys.pop_first()
        {
            batch.insert(keys::of_execution(Space::Unsettled, &oldest), &[]);
        }
        self.border
    }
}
