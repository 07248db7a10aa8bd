//! What was saved, made whole: what lost a part goes, what is still to be done is found, everything is counted anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sled::{Batch, IVec, Tree};

use super::{Meta, Salvaged};
use crate::engine::execution::Execution;
use crate::event::id::{ExecutionKey, Seq, StoreId};
use crate::event::{Facts, own};
use crate::store::draft::{Lines, attempt_apart};
use crate::store::format::{self, FORMAT, StoredAttempt};
use crate::store::keys::{self, AttemptPart, Space};
use crate::store::{ListedEvent, blob};

/// Numbers that are not given again where the end of the log was lost with the numbers in it.
const NUMBERS_SKIPPED: u64 = 100_000;

/// Leaves out what is not whole, finds out what is still to be done, and counts everything anew.
pub(super) fn mend(
    to: &Tree,
    meta: &Meta,
    labelled: Option<StoreId>,
    loses_its_end: bool,
) -> sled::Result<Salvaged> {
    let meta = |name: &str| meta.get(&keys::meta(name));
    let id = labelled
        .or_else(|| std::str::from_utf8(meta("id")?).ok()?.parse().ok())
        .unwrap_or_else(|| StoreId::draw(&mut fastrand::Rng::new()));
    let former = meta("totals").and_then(|bytes| format::read_totals(bytes).ok());
    let mut totals = former.clone().unwrap_or_default();
    (totals.executions, totals.unmatched_kept, totals.matched_kept) = (BTreeMap::new(), 0, 0);
    totals.unmatched_bytes = 0;

    let mut batch = Batch::default();
    let (mut events, mut executions, mut unsettled, mut left_out) = (0, 0, 0, 0);
    for entry in to.scan_prefix(keys::space(Space::Event)) {
        let (key, value) = entry?;
        let seq = Seq(keys::number(&key).unwrap_or_default());
        let Some(listed) = whole_event(to, seq, &value) else {
            batch.remove(key);
            batch.remove(keys::unmatched(seq));
            batch.remove(keys::gap_story(seq));
            blob::remove(to, &mut batch, &keys::payload(seq))?;
            left_out += 1;
            continue;
        };
        events += 1;
        totals.last_seq = totals.last_seq.max(seq.0);
        if listed.hooks.is_empty() {
            totals.unmatched_kept += 1;
            totals.unmatched_bytes += payload_stored(to, seq, &value)?;
            batch.insert(keys::unmatched(seq), &[]);
        } else {
            totals.matched_kept += 1;
        }
        if former.is_none() {
            totals.count(&listed.event, listed.hooks.is_empty());
        }
    }
    for entry in to.scan_prefix(keys::space(Space::Execution)) {
        let (key, value) = entry?;
        let Some(execution) = whole_execution(to, &key, &value)? else {
            left_out += 1;
            remove_execution(to, &key, &mut batch)?;
            continue;
        };
        executions += 1;
        let state = &execution.progress.state;
        *totals.executions.entry(state.name().to_owned()).or_default() += 1;
        batch.insert(keys::by_hook_and_event(&execution.key), &[]);
        if !state.is_settled() {
            unsettled += 1;
            batch.insert(keys::of_execution(Space::Unsettled, &execution.key), &[]);
        }
    }
    to.apply_batch(std::mem::take(&mut batch))?;
    drop_orphans(to)?;
    drop_unreadable(to)?;
    let (payloads, outputs) = bytes_kept(to)?;
    (totals.bytes, totals.output_bytes) = (payloads + outputs, outputs);
    let last_audit = to
        .scan_prefix(keys::space(Space::Audit))
        .keys()
        .next_back()
        .transpose()?;
    totals.last_audit = totals
        .last_audit
        .max(last_audit.and_then(|key| keys::number(&key)).unwrap_or_default());
    if loses_its_end || former.is_none() {
        totals.last_seq += NUMBERS_SKIPPED;
    }
    // Whatever is unsettled was listed above.
    totals.listed_below = totals.last_seq + 1;
    batch.insert(keys::meta("format"), &FORMAT.to_be_bytes());
    batch.insert(keys::meta("id"), id.as_str());
    batch.insert(keys::meta("totals"), format::write(&totals));
    to.apply_batch(batch)?;
    Ok(Salvaged {
        id,
        events,
        executions,
        unsettled,
        left_out,
        cut: 0,
        set_aside: PathBuf::new(),
    })
}

/// The execution, if its event is there, and its record makes sense but perhaps for an attempt.
fn whole_execution(tree: &Tree, key: &IVec, value: &IVec) -> sled::Result<Option<Execution>> {
    let Some(name) = keys::execution(key) else {
        return Ok(None);
    };
    let Some(event) = tree.get(keys::event(name.event))? else {
        return Ok(None);
    };
    if whole_event(tree, name.event, &event).is_none() {
        return Ok(None);
    }
    let lines = Lines::of(value);
    let fixed = blob::line(tree, name.event, key, lines.fixed).ok();
    Ok(fixed.and_then(|fixed| format::read_execution(name, &fixed, lines.progress).ok()))
}

/// The event, if its record makes sense and its payload is as long as the record says.
fn whole_event(tree: &Tree, seq: Seq, stored: &[u8]) -> Option<ListedEvent> {
    let (line, packed) = blob::split_line(stored);
    let line = blob::line(tree, seq, &keys::event(seq), line).ok()?;
    let listed = format::read_event(seq, &line).ok()?;
    let payload = if packed.is_empty() {
        blob::get(tree, &keys::payload(seq)).ok()?
    } else {
        Some(blob::unpack(packed).ok()?)
    };
    let is_whole = match payload {
        Some(payload) => payload.len() as u64 == listed.payload_len,
        // Of some events that match nothing only the record is kept.
        None => listed.payload_len == 0 || listed.hooks.is_empty(),
    };
    is_whole.then_some(listed)
}

/// The bytes that the payload of the event takes whose record this is.
fn payload_stored(tree: &Tree, seq: Seq, record: &[u8]) -> sled::Result<u64> {
    let (_, packed) = blob::split_line(record);
    Ok(packed.len() as u64 + blob::length(tree, &keys::payload(seq))?)
}

fn remove_execution(tree: &Tree, key: &IVec, batch: &mut Batch) -> sled::Result<()> {
    batch.remove(key.clone());
    let Some(name) = keys::execution(key) else {
        return Ok(());
    };
    batch.remove(keys::by_hook_and_event(&name));
    for part in tree.scan_prefix(keys::attempts(&name)).keys() {
        batch.remove(part?);
    }
    Ok(())
}

/// Takes out what belongs to an event or an execution that is not there.
fn drop_orphans(tree: &Tree) -> sled::Result<()> {
    let mut batch = Batch::default();
    for space in [Space::Payload, Space::Unmatched, Space::Long, Space::GapStory] {
        for key in tree.scan_prefix(keys::space(space)).keys() {
            let key = key?;
            let event = keys::number(&key).map(|seq| keys::event(Seq(seq)));
            if !is_there(tree, event)? {
                batch.remove(key);
            }
        }
    }
    for space in [Space::Attempt, Space::ByHook] {
        for key in tree.scan_prefix(keys::space(space)).keys() {
            let key = key?;
            let execution = match space {
                Space::Attempt => keys::execution_of_attempt(&key),
                _ => keys::of_hook(&key),
            };
            let place = execution.map(|execution| keys::of_execution(Space::Execution, &execution));
            if !is_there(tree, place)? {
                batch.remove(key);
            }
        }
    }
    tree.apply_batch(batch)
}

fn is_there(tree: &Tree, key: Option<Vec<u8>>) -> sled::Result<bool> {
    key.map_or(Ok(false), |key| tree.contains_key(key))
}

/// Takes out what would be told to be damaged whenever it is read, and would keep a daemon from starting.
fn drop_unreadable(tree: &Tree) -> sled::Result<()> {
    let mut batch = Batch::default();
    for entry in tree.scan_prefix(keys::space(Space::Execution)) {
        let (place, record) = entry?;
        if let Some(key) = keys::execution(&place) {
            let lines = Lines::of(&record);
            let within = lines.attempt().ok().flatten();
            if within.is_none() && !lines.attempt.is_empty() {
                batch.insert(place, blob::record(&[lines.fixed, lines.progress], &[]));
            }
            drop_unreadable_attempts(tree, &key, within, &mut batch)?;
        }
    }
    for space in [Space::Audit, Space::Override, Space::Mute, Space::Owed] {
        for entry in tree.scan_prefix(keys::space(space)) {
            let (key, value) = entry?;
            let is_readable = match space {
                Space::Audit => format::read_audit(0, &value).is_ok(),
                Space::Override => format::read_override(&value).is_ok(),
                Space::Mute => format::read_mute(&value).is_ok(),
                _ => format::read_owed(0, &value).is_ok(),
            };
            if !is_readable {
                batch.remove(key);
            }
        }
    }
    for space in [Space::Definition, Space::LastGood, Space::Untold] {
        let mut former = Vec::new();
        for key in tree.scan_prefix(keys::space(space)).keys() {
            let key = key?;
            // The number of the piece comes last.
            let prefix = key.get(..key.len().saturating_sub(4)).unwrap_or_default();
            if prefix == former {
                continue;
            }
            former = prefix.to_vec();
            let is_readable = match blob::get(tree, prefix) {
                Ok(Some(bytes)) => match space {
                    Space::Definition => format::read_definition(&bytes).is_ok(),
                    Space::Untold => matches!(own::read(&bytes).facts, Facts::Own(_)),
                    _ => format::read_last_good(&bytes).is_ok(),
                },
                _ => false,
            };
            if !is_readable {
                blob::remove(tree, &mut batch, prefix)?;
            }
        }
    }
    tree.apply_batch(batch)
}

/// Takes out what is unreadable of the attempts that stand apart, and outputs of attempts that have no end. `within` is the
/// attempt in the execution's own record.
fn drop_unreadable_attempts(
    tree: &Tree,
    key: &ExecutionKey,
    within: Option<StoredAttempt>,
    batch: &mut Batch,
) -> sled::Result<()> {
    let prefix = keys::attempts(key);
    let mut numbers = BTreeSet::new();
    for part in tree.scan_prefix(&prefix).keys() {
        numbers.extend(keys::attempt_number(&part?, prefix.len()));
    }
    for number in numbers {
        let apart = attempt_apart(tree, key, number);
        if apart.is_err() {
            blob::remove(tree, batch, &keys::attempt(key, number, AttemptPart::Record))?;
        }
        let has_end = match &within {
            Some(within) if within.number() == number => within.has_ended(),
            _ => apart.is_ok_and(|apart| apart.is_some_and(|apart| apart.has_ended())),
        };
        for stream in [AttemptPart::Stdout, AttemptPart::Stderr] {
            let output = keys::attempt(key, number, stream);
            if !has_end || !matches!(blob::get(tree, &output), Ok(Some(_))) {
                blob::remove(tree, batch, &output)?;
            }
        }
    }
    Ok(())
}

/// Bytes of payloads, and of outputs.
fn bytes_kept(tree: &Tree) -> sled::Result<(u64, u64)> {
    let (mut payloads, mut outputs) = (0, 0);
    for entry in tree.scan_prefix(keys::space(Space::Event)) {
        payloads += blob::split_line(&entry?.1).1.len() as u64;
    }
    for entry in tree.scan_prefix(keys::space(Space::Payload)) {
        payloads += entry?.1.len() as u64;
    }
    for entry in tree.scan_prefix(keys::space(Space::Attempt)) {
        let (key, value) = entry?;
        // The hook's name ends with a NUL.
        let name_ends = key.iter().skip(9).position(|byte| *byte == 0).map(|at| at + 10);
        if name_ends
            .and_then(|end| key.get(..end))
            .is_some_and(|prefix| keys::is_output(&key, prefix))
        {
            outputs += value.len() as u64;
        }
    }
    Ok((payloads, outputs))
}
