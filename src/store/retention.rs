//! What is kept and for how long. Unsettled work is never pruned.

use std::ops::Bound;

use sled::Batch;

use super::format::Totals;
use super::keys::Space;
use super::{ReadError, Store, blob, format, keys};
use crate::config::Retention;
use crate::event::id::Seq;
use crate::event::time::Timestamp;

/// At most this many events are looked at in one go, so that a commit never waits long for it.
const LOOKED_AT: usize = 2_000;

/// Prunes in passes; remembers how far the last one came.
#[derive(Debug, Default)]
pub(super) struct Pruner {
    from: u64,
}

impl Pruner {
    /// Adds to `batch` what makes the store keep to `limits`, oldest first, and takes it off `totals`.
    pub(super) fn prune(
        &mut self,
        store: &Store,
        limits: &Retention,
        now: Timestamp,
        totals: &mut Totals,
        batch: &mut Batch,
    ) -> Result<(), ReadError> {
        let tree = &store.shared.tree;
        let oldest_kept = Timestamp::from_millis(
            now.as_millis()
                .saturating_sub(i64::try_from(limits.age.as_millis()).unwrap_or(i64::MAX)),
        );
        let mut excess_unmatched = totals.unmatched_kept.saturating_sub(limits.unmatched_events);
        let settled: u64 = totals
            .executions
            .iter()
            .filter(|(state, _)| !matches!(state.as_str(), "queued" | "running" | "retrying"))
            .map(|(_, count)| count)
            .sum();
        let mut excess_settled = settled.saturating_sub(limits.executions);

        if excess_unmatched > 0 {
            for key in tree
                .scan_prefix(keys::space(Space::Unmatched))
                .keys()
                .take(LOOKED_AT)
            {
                if excess_unmatched == 0 {
                    break;
                }
                let key = key.map_err(ReadError::Read)?;
                let seq = Seq(keys::number(&key).unwrap_or_default());
                remove_event(store, seq, totals, batch)?;
                excess_unmatched -= 1;
            }
            return Ok(());
        }

        let range = (
            Bound::Included(keys::numbered(Space::Event, self.from)),
            Bound::Unbounded,
        );
        for (looked_at, entry) in tree.range::<Vec<u8>, _>(range).enumerate() {
            let (key, bytes) = entry.map_err(ReadError::Read)?;
            if key.first() != Some(&(Space::Event as u8)) {
                self.from = 0;
                return Ok(());
            }
            let seq = Seq(keys::number(&key).unwrap_or_default());
            let listed =
                format::read_event(seq, &bytes).map_err(ReadError::format(format!("event {seq}")))?;
            let too_old = listed.event.received < oldest_kept;
            let too_many = excess_settled > 0 && !listed.hooks.is_empty();
            if !too_old && !too_many && totals.bytes <= limits.bytes {
                // Everything younger is younger: nothing more to do until the limits are passed again.
                if excess_settled == 0 {
                    self.from = 0;
                    return Ok(());
                }
            } else if !has_unsettled(store, seq)? {
                excess_settled = excess_settled.saturating_sub(listed.hooks.len() as u64);
                remove_event(store, seq, totals, batch)?;
            }
            if looked_at + 1 >= LOOKED_AT {
                self.from = seq.0 + 1;
                return Ok(());
            }
        }
        self.from = 0;
        Ok(())
    }
}

fn has_unsettled(store: &Store, seq: Seq) -> Result<bool, ReadError> {
    let mut waiting = store
        .shared
        .tree
        .scan_prefix(keys::numbered(Space::Unsettled, seq.0));
    waiting
        .next()
        .transpose()
        .map(|found| found.is_some())
        .map_err(ReadError::Read)
}

/// Takes out an event and all it caused.
fn remove_event(store: &Store, seq: Seq, totals: &mut Totals, batch: &mut Batch) -> Result<(), ReadError> {
    let tree = &store.shared.tree;
    let mut freed = blob::remove(tree, batch, &keys::payload(seq)).map_err(ReadError::Read)?;
    batch.remove(keys::event(seq));
    if tree.contains_key(keys::unmatched(seq)).map_err(ReadError::Read)? {
        batch.remove(keys::unmatched(seq));
        totals.unmatched_kept = totals.unmatched_kept.saturating_sub(1);
    } else {
        totals.matched_kept = totals.matched_kept.saturating_sub(1);
    }
    for execution in store.executions_of(seq)? {
        let key = &execution.key;
        batch.remove(keys::of_execution(Space::Execution, key));
        batch.remove(keys::of_execution(Space::Progress, key));
        batch.remove(keys::by_hook_and_event(key));
        for entry in tree.scan_prefix(keys::attempts(key)) {
            let (part, value) = entry.map_err(ReadError::Read)?;
            if keys::is_output(&part, &keys::attempts(key)) {
                freed += value.len() as u64;
            }
            batch.remove(part);
        }
        if let Some(count) = totals.executions.get_mut(execution.progress.state.name()) {
            *count = count.saturating_sub(1);
        }
    }
    totals.bytes = totals.bytes.saturating_sub(freed);
    Ok(())
}
