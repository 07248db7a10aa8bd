//! What is kept and for how long. Unsettled work is never pruned.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use sled::Batch;

use super::format::Totals;
use super::keys::Space;
use super::{ReadError, Store, blob, keys};
use crate::config::Retention;
use crate::engine::execution::State;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::hooks::Version;

/// At most this many records are looked at in one go, so that a commit never waits long for it.
const LOOKED_AT: usize = 2_000;

/// Prunes in passes; remembers how far the last one came.
#[derive(Debug, Default)]
pub(super) struct Pruner {
    from: u64,
    /// The last pass took something out or looked for it in vain so far: the next one follows at once.
    in_stride: bool,
    /// Definitions that lost a record that referred to them, by hook, and the events up to which no other one was found.
    doubtful: BTreeMap<Version, (HookName, u64)>,
}

/// What one pass goes by.
pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    pub(super) limits: &'a Retention,
    /// Events that are not to be touched.
    pub(super) held: &'a BTreeMap<Seq, usize>,
    pub(super) now: Timestamp,
}

impl Pruner {
    /// Whether the store holds more than it may.
    pub(super) fn is_over(&self, limits: &Retention, totals: &Totals) -> bool {
        totals.unmatched_kept > limits.unmatched_events
            || totals.bytes > limits.bytes
            || settled(totals) > limits.executions
    }

    /// Whether the next pass is to follow without a pause.
    pub(super) const fn is_in_stride(&self) -> bool {
        self.in_stride
    }

    /// A record that refers to this definition is on its way.
    pub(super) fn keep(&mut self, version: &Version) {
        self.doubtful.remove(version);
    }

    /// The definition lost a record that referred to it.
    pub(super) fn doubt(&mut self, hook: &HookName, version: Version) {
        self.doubtful.entry(version).or_insert_with(|| (hook.clone(), 0));
    }

    /// Adds to `batch` what makes the store keep to its limits, oldest first, and takes it off `totals`. Gives the
    /// definitions that go as well, because no record refers to them; none when nothing goes at all.
    ///
    /// A record that cannot be read stays and is passed over: it must not keep all the others.
    pub(super) fn prune(
        &mut self,
        pass: &Pass<'_>,
        totals: &mut Totals,
        batch: &mut Batch,
    ) -> Option<Vec<Version>> {
        self.in_stride = false;
        let mut removed = BTreeSet::new();
        self.prune_unmatched(pass, &mut removed, totals, batch);
        self.prune_settled(pass, &mut removed, totals, batch);
        self.in_stride = !removed.is_empty();
        // What this pass removes still stands in the tree, so definitions wait for a pass that finds nothing else to do.
        if self.in_stride {
            return Some(Vec::new());
        }
        let dropped = self.prune_definitions(pass.store, batch);
        (!dropped.is_empty()).then_some(dropped)
    }

    fn prune_unmatched(
        &mut self,
        pass: &Pass<'_>,
        removed: &mut BTreeSet<Seq>,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        let excess = totals.unmatched_kept.saturating_sub(pass.limits.unmatched_events);
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        let tree = &pass.store.shared.tree;
        let unmatched = tree.scan_prefix(keys::space(Space::Unmatched)).keys();
        for key in unmatched.take(excess.min(LOOKED_AT)) {
            let Some(seq) = key.ok().and_then(|key| keys::number(&key)).map(Seq) else {
                continue;
            };
            self.remove(pass, seq, removed, totals, batch);
        }
    }

    fn prune_settled(
        &mut self,
        pass: &Pass<'_>,
        removed: &mut BTreeSet<Seq>,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        let age = i64::try_from(pass.limits.age.as_millis()).unwrap_or(i64::MAX);
        let oldest_kept = Timestamp::from_millis(pass.now.as_millis().saturating_sub(age));
        let range = (
            Bound::Included(keys::numbered(Space::Event, self.from)),
            Bound::Excluded(keys::space_after(Space::Event)),
        );
        let events = pass.store.shared.tree.range::<Vec<u8>, _>(range);
        for (looked_at, entry) in events.enumerate() {
            if looked_at >= LOOKED_AT {
                return;
            }
            let Ok((key, bytes)) = entry else { continue };
            let seq = Seq(keys::number(&key).unwrap_or_default());
            self.from = seq.0 + 1;
            let Ok(listed) = pass.store.listed_event(seq, &bytes) else {
                continue;
            };
            let is_too_old = listed.event.received < oldest_kept;
            let are_too_many = settled(totals) > pass.limits.executions;
            let are_too_large = totals.bytes > pass.limits.bytes;
            if !is_too_old && !are_too_many && !are_too_large {
                // Everything that follows is younger.
                break;
            }
            if is_too_old || are_too_large || !listed.hooks.is_empty() {
                self.remove(pass, seq, removed, totals, batch);
            }
        }
        self.from = 0;
    }

    /// Takes an event out with all it caused, unless something of it is still to be done.
    fn remove(
        &mut self,
        pass: &Pass<'_>,
        seq: Seq,
        removed: &mut BTreeSet<Seq>,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        if pass.held.contains_key(&seq) || removed.contains(&seq) {
            return;
        }
        match Removal::of(pass.store, seq) {
            Ok(Some(removal)) => {
                removed.insert(seq);
                removal.write(totals, batch);
                for (hook, version) in removal.versions {
                    self.doubt(&hook, version);
                }
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(event = %seq, error = &error as &dyn std::error::Error, "cannot prune an event");
            }
        }
    }

    /// Removes doubtful definitions once all records of their hook were looked at; a few records at a time.
    fn prune_definitions(&mut self, store: &Store, batch: &mut Batch) -> Vec<Version> {
        let mut left = LOOKED_AT;
        let mut dropped = Vec::new();
        let versions: Vec<Version> = self.doubtful.keys().copied().collect();
        for version in versions {
            let Some((hook, from)) = self.doubtful.get_mut(&version) else {
                continue;
            };
            match search_reference(store, hook, &version, from, &mut left) {
                Ok(Search::Found) => {
                    self.doubtful.remove(&version);
                }
                Ok(Search::NotYet) => {
                    self.in_stride = true;
                    break;
                }
                Ok(Search::None) => {
                    match blob::remove(&store.shared.tree, batch, &keys::definition(&version)) {
                        Ok(_) => {
                            self.doubtful.remove(&version);
                            dropped.push(version);
                        }
                        Err(error) => {
                            tracing::warn!(%version, error = &error as &dyn std::error::Error, "cannot prune a definition");
                        }
                    }
                }
                Err(error) => {
                    // Nobody knows what the damaged record refers to.
                    tracing::warn!(%version, error = &error as &dyn std::error::Error, "a definition is kept");
                    self.doubtful.remove(&version);
                }
            }
        }
        dropped
    }
}

/// What came of looking for a record that refers to a definition.
enum Search {
    Found,
    None,
    /// There are more records than may be looked at in one go.
    NotYet,
}

fn search_reference(
    store: &Store,
    hook: &HookName,
    version: &Version,
    from: &mut u64,
    left: &mut usize,
) -> Result<Search, ReadError> {
    let after = ExecutionKey::new(Seq(*from), hook.clone());
    let prefix = keys::by_hook(hook);
    for key in store.shared.tree.range(keys::by_hook_and_event(&after)..).keys() {
        let key = key.map_err(ReadError::Read)?;
        let Some(event) = key.strip_prefix(prefix.as_slice()) else {
            break;
        };
        if *left == 0 {
            return Ok(Search::NotYet);
        }
        *left -= 1;
        let event = Seq(u64::from_be_bytes(event.try_into().unwrap_or_default()));
        let versions = versions_of(store, &ExecutionKey::new(event, hook.clone()))?;
        if versions.contains(version) {
            return Ok(Search::Found);
        }
        *from = event.0 + 1;
    }
    Ok(Search::None)
}

/// The versions that an execution's record refers to: the one it is pinned to, and those its attempts ran.
fn versions_of(store: &Store, key: &ExecutionKey) -> Result<BTreeSet<Version>, ReadError> {
    let mut versions = BTreeSet::new();
    if let Some(execution) = store.execution(key)? {
        versions.insert(execution.progress.version);
        // Only a reopened execution has attempts of another version, and that takes more than one.
        if execution.progress.attempts > 1 {
            let processes = store
                .attempts(key)?
                .into_iter()
                .filter_map(|attempt| attempt.process);
            versions.extend(processes.map(|process| process.version));
        }
    }
    Ok(versions)
}

/// The entries by which RETRY messages find this execution.
fn arguments_of(store: &Store, key: &ExecutionKey) -> Result<Vec<sled::IVec>, ReadError> {
    let tree = &store.shared.tree;
    let mut of_hook = tree.scan_prefix(keys::by_arguments(&key.hook));
    if of_hook.next().transpose().map_err(ReadError::Read)?.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for process in store
        .attempts(key)?
        .into_iter()
        .filter_map(|attempt| attempt.process)
    {
        let Some(arguments) = process.arguments_sha256 else {
            continue;
        };
        let entry = keys::by_hook_and_arguments(&key.hook, &arguments);
        let newest = tree.get(&entry).map_err(ReadError::Read)?;
        if newest.is_some_and(|number| number.as_ref() == key.event.0.to_be_bytes()) {
            found.push(entry.into());
        }
    }
    Ok(found)
}

fn settled(totals: &Totals) -> u64 {
    totals
        .executions
        .iter()
        .filter(|(state, _)| !State::UNSETTLED.contains(&state.as_str()))
        .map(|(_, count)| count)
        .sum()
}

/// All that goes with an event.
#[derive(Default)]
struct Removal {
    keys: Vec<sled::IVec>,
    bytes: u64,
    is_unmatched: bool,
    states: Vec<&'static str>,
    versions: BTreeSet<(HookName, Version)>,
}

impl Removal {
    /// None when something of it is still to be done.
    fn of(store: &Store, seq: Seq) -> Result<Option<Self>, ReadError> {
        let tree = &store.shared.tree;
        let mut unsettled = tree.scan_prefix(keys::numbered(Space::Unsettled, seq.0));
        if unsettled.next().transpose().map_err(ReadError::Read)?.is_some() {
            return Ok(None);
        }
        let mut removal = Self::default();
        for entry in tree.scan_prefix(keys::payload(seq)) {
            let (piece, value) = entry.map_err(ReadError::Read)?;
            removal.bytes += value.len() as u64;
            removal.keys.push(piece);
        }
        for entry in tree.scan_prefix(keys::numbered(Space::Long, seq.0)).keys() {
            removal.keys.push(entry.map_err(ReadError::Read)?);
        }
        let unmatched = keys::unmatched(seq);
        removal.is_unmatched = tree.contains_key(&unmatched).map_err(ReadError::Read)?;
        removal.keys.extend([keys::event(seq).into(), unmatched.into()]);
        for execution in store.executions_of(seq)? {
            let key = &execution.key;
            for version in versions_of(store, key)? {
                removal.versions.insert((key.hook.clone(), version));
            }
            removal.keys.extend(arguments_of(store, key)?);
            removal.states.push(execution.progress.state.name());
            removal.keys.extend([
                keys::of_execution(Space::Execution, key).into(),
                keys::of_execution(Space::Progress, key).into(),
                keys::by_hook_and_event(key).into(),
            ]);
            let attempts = keys::attempts(key);
            for entry in tree.scan_prefix(&attempts) {
                let (part, value) = entry.map_err(ReadError::Read)?;
                if keys::is_output(&part, &attempts) {
                    removal.bytes += value.len() as u64;
                }
                removal.keys.push(part);
            }
        }
        Ok(Some(removal))
    }

    fn write(&self, totals: &mut Totals, batch: &mut Batch) {
        for key in &self.keys {
            batch.remove(key);
        }
        for state in &self.states {
            if let Some(count) = totals.executions.get_mut(*state) {
                *count = count.saturating_sub(1);
            }
        }
        let kept = if self.is_unmatched {
            &mut totals.unmatched_kept
        } else {
            &mut totals.matched_kept
        };
        *kept = kept.saturating_sub(1);
        totals.bytes = totals.bytes.saturating_sub(self.bytes);
    }
}
