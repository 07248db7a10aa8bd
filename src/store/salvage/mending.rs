//! What was saved, made whole: what lost a part goes, what is still to be done is found, everything is counted anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sled::{Batch, IVec, Tree};

use super::{Meta, Salvaged};
use crate::engine::execution::Execution;
use crate::event::id::{ExecutionKey, Seq, StoreId};
use crate::store::format::{self, AttemptParts, FORMAT};
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
            totals.unmatched_bytes += blob::length(to, &keys::payload(seq))?;
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

/// The execution, if its event and both parts of its record are there and make sense.
fn whole_execution(tree: &Tree, key: &IVec, value: &IVec) -> sled::Result<Option<Execution>> {
    let Some(name) = keys::execution(key) else {
        return Ok(None);
    };
    let Some(progress) = tree.get(keys::of_execution(Space::Progress, &name))? else {
        return Ok(None);
    };
    let Some(event) = tree.get(keys::event(name.event))? else {
        return Ok(None);
    };
    if whole_event(tree, name.event, &event).is_none() {
        return Ok(None);
    }
    let record = blob::record(tree, name.event, key, value).ok();
    Ok(record.and_then(|record| format::read_execution(name, &record, &progress).ok()))
}

/// The event, if its record makes sense and its payload is as long as the record says.
fn whole_event(tree: &Tree, seq: Seq, stored: &[u8]) -> Option<ListedEvent> {
    let record = blob::record(tree, seq, &keys::event(seq), stored).ok()?;
    let listed = format::read_event(seq, &record).ok()?;
    let is_whole = match blob::get(tree, &keys::payload(seq)).ok()? {
        Some(payload) => payload.len() as u64 == listed.payload_len,
        // Of some events that match nothing only the record is kept.
        None => listed.payload_len == 0 || listed.hooks.is_empty(),
    };
    is_whole.then_some(listed)
}

fn remove_execution(tree: &Tree, key: &IVec, batch: &mut Batch) -> sled::Result<()> {
    batch.remove(key.clone());
    let Some(name) = keys::execution(key) else {
        return Ok(());
    };
    batch.remove(keys::of_execution(Space::Progress, &name));
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
    for space in [Space::Progress, Space::Attempt, Space::ByHook] {
        for key in tree.scan_prefix(keys::space(space)).keys() {
            let key = key?;
            let execution = match space {
                Space::Progress => keys::execution(&key),
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
    for key in tree.scan_prefix(keys::space(Space::Execution)).keys() {
        if let Some(key) = keys::execution(&key?) {
            drop_unreadable_attempts(tree, &key, &mut batch)?;
        }
    }
    for entry in tree.scan_prefix(keys::space(Space::Audit)) {
        let (key, value) = entry?;
        if format::read_audit(0, &value).is_err() {
            batch.remove(key);
        }
    }
    for entry in tree.scan_prefix(keys::space(Space::Override)) {
        let (key, value) = entry?;
        if format::read_override(&value).is_err() {
            batch.remove(key);
        }
    }
    for space in [Space::Definition, Space::LastGood] {
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
                Ok(Some(bytes)) if space == Space::Definition => format::read_definition(&bytes).is_ok(),
                Ok(Some(bytes)) => format::read_last_good(&bytes).is_ok(),
                _ => false,
            };
            if !is_readable {
                blob::remove(tree, &mut batch, prefix)?;
            }
        }
    }
    tree.apply_batch(batch)
}

/// Of an attempt, the release is the record; what is unreadable of the rest goes by itself.
fn drop_unreadable_attempts(tree: &Tree, key: &ExecutionKey, batch: &mut Batch) -> sled::Result<()> {
    let prefix = keys::attempts(key);
    let mut numbers = BTreeSet::new();
    for part in tree.scan_prefix(&prefix).keys() {
        numbers.extend(keys::attempt_number(&part?, prefix.len()));
    }
    for number in numbers {
        let place = |part| keys::attempt(key, number, part);
        let read = |part| blob::get(tree, &place(part)).unwrap_or_default();
        let makes_sense = |parts| format::read_attempt(number, parts).is_ok();
        let released = read(AttemptPart::Released).unwrap_or_default();
        let with = |started, ended| AttemptParts {
            released: released.clone(),
            started,
            ended,
            ..AttemptParts::default()
        };
        if !makes_sense(with(None, None)) {
            let whole = place(AttemptPart::Released);
            // All its parts begin alike, but for the last byte.
            let attempt = whole.get(..whole.len() - 1).unwrap_or_default();
            for part in tree.scan_prefix(attempt).keys() {
                batch.remove(part?);
            }
            continue;
        }
        let started = read(AttemptPart::Started);
        if started.is_none() || !makes_sense(with(started, None)) {
            blob::remove(tree, batch, &place(AttemptPart::Started))?;
        }
        let ended = read(AttemptPart::Ended);
        let has_end = ended.is_some() && makes_sense(with(None, ended));
        if !has_end {
            blob::remove(tree, batch, &place(AttemptPart::Ended))?;
        }
        for stream in [AttemptPart::Stdout, AttemptPart::Stderr] {
            if !has_end || read(stream).is_none() {
                blob::remove(tree, batch, &place(stream))?;
            }
        }
    }
    Ok(())
}

/// Bytes of payloads, and of outputs.
fn bytes_kept(tree: &Tree) -> sled::Result<(u64, u64)> {
    let (mut payloads, mut outputs) = (0, 0);
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
