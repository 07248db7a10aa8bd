//! Outputs may go before the record: what an attempt printed is the most of it and is asked for the soonest.

use std::ops::Bound;
use std::time::{Duration, Instant};

use sled::Batch;

use super::Pass;
use crate::engine::execution::Attempt;
use crate::event::id::Seq;
use crate::store::draft::Draft;
use crate::store::format::Totals;
use crate::store::keys::{self, AttemptPart, Space};
use crate::store::{ReadError, blob};

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
            match drop_outputs(pass, seq, batch) {
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
fn drop_outputs(pass: &Pass<'_>, seq: Seq, batch: &mut Batch) -> Result<u64, ReadError> {
    let (store, mut freed) = (pass.store, 0);
    for execution in store.executions_of(seq)? {
        if !pass.is_settled(&execution.key)? {
            continue;
        }
        let key = &execution.key;
        let printed: Vec<u32> = store
            .attempts(key)?
            .iter()
            .filter(|attempt| has_printed(attempt))
            .map(|attempt| attempt.number)
            .collect();
        if printed.is_empty() {
            continue;
        }
        let tree = &store.shared.tree;
        let Some(mut draft) = Draft::read(tree, key).map_err(ReadError::Read)? else {
            continue;
        };
        for number in printed {
            for stream in [AttemptPart::Stdout, AttemptPart::Stderr] {
                let output = keys::attempt(key, number, stream);
                freed += blob::remove(tree, batch, &output).map_err(ReadError::Read)?;
            }
            let what = format!("attempt {number} of {key}");
            let attempt = draft
                .attempt(tree, key, number)
                .map_err(ReadError::attempt(what))?;
            if let Some(attempt) = attempt {
                attempt.drop_outputs();
            }
        }
        draft.write(tree, key, batch).map_err(ReadError::Read)?;
    }
    Ok(freed)
}

/// Whether something of what it printed is kept.
fn has_printed(attempt: &Attempt) -> bool {
    attempt.ended.as_ref().is_some_and(|ended| {
        [&ended.stdout, &ended.stderr]
            .iter()
            .any(|captured| !captured.head.is_empty() || !captured.tail.is_empty())
    })
}
