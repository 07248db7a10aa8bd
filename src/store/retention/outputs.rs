//! Outputs may go before the record: what an attempt printed is the most of it and is asked for the soonest.

use std::ops::Bound;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sled::Batch;

use super::Pass;
use super::per_hook::is_settled;
use crate::engine::execution::{Attempt, EndedAttempt};
use crate::event::id::{ExecutionKey, Seq};
use crate::runner::Captured;
use crate::store::format::{self, Totals};
use crate::store::keys::{self, AttemptPart, Space};
use crate::store::{ReadError, Store, blob};

/// At most this many events' outputs are looked at in one go: they are read, so that what is left of their records is right.
const LOOKED_AT: usize = 100;

/// What was unsettled when its turn came is looked at again after this long.
const AGAIN: Duration = Duration::from_secs(3600);

/// Takes outputs out, oldest first.
#[derive(Debug, Default)]
pub(super) struct OutputPruner {
    /// The outputs of settled executions below this number are gone.
    from: u64,
    began: Option<Instant>,
}

impl OutputPruner {
    /// Adds to `batch` what makes outputs keep to their limits; whether something was taken out or is still to be looked at,
    /// so that the next pass is to follow.
    pub(super) fn prune(
        &mut self,
        pass: &Pass<'_>,
        removed: impl Fn(Seq) -> bool,
        totals: &mut Totals,
        batch: &mut Batch,
    ) -> bool {
        let limits = pass.limits;
        // Where outputs live as long as records, records are all there is to prune.
        if limits.output_age >= limits.age && totals.output_bytes <= limits.output_bytes {
            return false;
        }
        if self.began.is_none_or(|began| began.elapsed() > AGAIN) {
            *self = Self {
                from: 0,
                began: Some(Instant::now()),
            };
        }
        let oldest_kept = pass.oldest_kept(limits.output_age);
        let range = (
            Bound::Included(keys::numbered(Space::Event, self.from)),
            Bound::Excluded(keys::space_after(Space::Event)),
        );
        let (mut looked_at, mut is_something) = (0, false);
        for entry in pass.store.shared.tree.range::<Vec<u8>, _>(range) {
            if looked_at >= LOOKED_AT {
                return true;
            }
            let Ok((key, bytes)) = entry else { continue };
            let seq = Seq(keys::number(&key).unwrap_or_default());
            let Ok(listed) = pass.store.listed_event(seq, &bytes) else {
                continue;
            };
            if listed.event.received >= oldest_kept && totals.output_bytes <= limits.output_bytes {
                break;
            }
            self.from = seq.0 + 1;
            looked_at += 1;
            if listed.hooks.is_empty() || removed(seq) || pass.held.contains_key(&seq) {
                continue;
            }
            match drop_outputs(pass.store, seq, batch) {
                Ok(freed) => {
                    is_something |= freed > 0;
                    totals.bytes = totals.bytes.saturating_sub(freed);
                    totals.output_bytes = totals.output_bytes.saturating_sub(freed);
                }
                Err(error) => {
                    tracing::warn!(event = %seq, error = &error as &dyn std::error::Error, "cannot prune an output");
                }
            }
        }
        is_something
    }
}

/// Takes the outputs of what an event caused and is settled; returns the bytes that frees.
fn drop_outputs(store: &Store, seq: Seq, batch: &mut Batch) -> Result<u64, ReadError> {
    let mut freed = 0;
    for execution in store.executions_of(seq)? {
        if !is_settled(store, &execution.key)? {
            continue;
        }
        for attempt in store.attempts(&execution.key)? {
            freed += drop_output(store, &execution.key, attempt, batch)?;
        }
    }
    Ok(freed)
}

fn drop_output(
    store: &Store,
    key: &ExecutionKey,
    attempt: Attempt,
    batch: &mut Batch,
) -> Result<u64, ReadError> {
    let Some(ended) = attempt.ended else {
        return Ok(0);
    };
    let is_kept = |captured: &Captured| !captured.head.is_empty() || !captured.tail.is_empty();
    if !is_kept(&ended.stdout) && !is_kept(&ended.stderr) {
        return Ok(0);
    }
    let tree = &store.shared.tree;
    let part = |part| keys::attempt(key, attempt.number, part);
    let mut freed = 0;
    for stream in [AttemptPart::Stdout, AttemptPart::Stderr] {
        freed += blob::remove(tree, batch, &part(stream)).map_err(ReadError::Read)?;
    }
    blob::remove(tree, batch, &part(AttemptPart::Ended)).map_err(ReadError::Read)?;
    let without = |captured: &Captured| Captured {
        head: Bytes::new(),
        tail: Bytes::new(),
        total: captured.total,
    };
    let ended = EndedAttempt {
        stdout: without(&ended.stdout),
        stderr: without(&ended.stderr),
        outputs_pruned: true,
        ..ended
    };
    blob::put(batch, &part(AttemptPart::Ended), &format::write_ended(&ended));
    Ok(freed)
}
