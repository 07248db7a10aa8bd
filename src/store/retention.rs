//! What is kept and for how long. Unsettled work is never pruned.
//!
//! * `removal`: what goes with an event or an execution.
//! * `per_hook`: how many executions each hook has.
//! * `outputs`: outputs that go before their record.

mod outputs;
mod per_hook;
mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use sled::Batch;

use self::outputs::OutputPruner;
use self::per_hook::PerHook;
use self::removal::Removal;
use super::format::Totals;
use super::keys::Space;
use super::unlisted::Unlisted;
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
    per_hook: PerHook,
    outputs: OutputPruner,
}

/// What one pass has taken out so far; it still stands in the tree.
#[derive(Default)]
struct Removed {
    events: BTreeSet<Seq>,
    executions: BTreeSet<ExecutionKey>,
}

/// What one pass goes by.
pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    pub(super) limits: &'a Retention,
    /// Events that are not to be touched.
    pub(super) held: &'a BTreeMap<Seq, usize>,
    /// Which of the newest executions are unsettled.
    pub(super) unlisted: &'a Unlisted,
    pub(super) now: Timestamp,
}

impl Pass<'_> {
    /// What was received before is older than this age.
    fn oldest_kept(&self, age: Duration) -> Timestamp {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.now.as_millis().saturating_sub(age))
    }

    /// Whether an execution of which there is a record is at its end.
    fn is_settled(&self, key: &ExecutionKey) -> Result<bool, ReadError> {
        if self.unlisted.contains(key) {
            return Ok(false);
        }
        let unsettled = keys::of_execution(Space::Unsettled, key);
        let is_listed = self.store.shared.tree.contains_key(unsettled);
        Ok(!is_listed.map_err(ReadError::Read)?)
    }
}

impl Pruner {
    /// Limits that hooks have themselves, and the one of all others.
    pub(super) fn limit_hooks(&mut self, own: BTreeMap<HookName, u64>, default: Option<u64>) {
        self.per_hook.limit(own, default);
        self.in_stride = true;
    }

    /// An execution was settled.
    pub(super) fn settled(&mut self, key: &ExecutionKey) {
        self.per_hook.settled(key);
    }

    /// A settled execution was reopened.
    pub(super) fn reopened(&mut self, key: &ExecutionKey) {
        self.per_hook.gone(key);
    }

    /// Whether the store holds more than it may.
    pub(super) fn is_over(&self, limits: &Retention, totals: &Totals) -> bool {
        totals.unmatched_kept > limits.unmatched_events
            || totals.unmatched_bytes > limits.unmatched_bytes
            || totals.output_bytes > limits.output_bytes
            || totals.bytes > limits.bytes
            || settled(totals) > limits.executions
            || self.per_hook.excess().is_some()
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
        let mut removed = Removed::default();
        self.prune_unmatched(pass, &mut removed, totals, batch);
        self.prune_settled(pass, &mut removed, totals, batch);
        self.prune_hooks(pass, &mut removed, totals, batch);
        let is_removed =
            |seq| removed.events.contains(&seq) || removed.executions.iter().any(|key| key.event == seq);
        let drops_outputs = self.outputs.prune(pass, is_removed, totals, batch);
        self.in_stride = drops_outputs
            || self.per_hook.is_counting()
            || !removed.events.is_empty()
            || !removed.executions.is_empty();
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
        removed: &mut Removed,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        let limits = pass.limits;
        let oldest_kept = pass.oldest_kept(limits.unmatched_age);
        let is_short_lived = limits.unmatched_age < limits.age;
        let unmatched = pass
            .store
            .shared
            .tree
            .scan_prefix(keys::space(Space::Unmatched))
            .keys();
        for key in unmatched.take(LOOKED_AT) {
            let Some(seq) = key.ok().and_then(|key| keys::number(&key)).map(Seq) else {
                continue;
            };
            let are_too_many = totals.unmatched_kept > limits.unmatched_events
                || totals.unmatched_bytes > limits.unmatched_bytes;
            let is_too_old = is_short_lived && is_older(pass.store, seq, oldest_kept);
            if !are_too_many && !is_too_old {
                break;
            }
            self.remove(pass, seq, removed, totals, batch);
        }
    }

    /// Takes out the oldest executions of hooks that have too many.
    fn prune_hooks(
        &mut self,
        pass: &Pass<'_>,
        removed: &mut Removed,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        if self.per_hook.default_differs(pass.limits.executions_per_hook) {
            let own = self.per_hook.own().clone();
            self.per_hook.limit(own, pass.limits.executions_per_hook);
        }
        if let Err(error) = self.per_hook.count(pass, LOOKED_AT) {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "cannot count the executions of all hooks"
            );
            self.per_hook.stop_counting();
        }
        let mut left = LOOKED_AT;
        while let Some((hook, excess, from)) = self.per_hook.excess() {
            if left == 0 {
                return;
            }
            if let Err(error) =
                self.prune_hook(pass, (&hook, excess, from), &mut left, removed, totals, batch)
            {
                tracing::warn!(%hook, error = &error as &dyn std::error::Error, "cannot prune a hook's executions");
                self.per_hook.looked_up_to(&hook, None);
            }
        }
    }

    fn prune_hook(
        &mut self,
        pass: &Pass<'_>,
        (hook, mut excess, from): (&HookName, u64, u64),
        left: &mut usize,
        removed: &mut Removed,
        totals: &mut Totals,
        batch: &mut Batch,
    ) -> Result<(), ReadError> {
        let first = keys::by_hook_and_event(&ExecutionKey::new(Seq(from), hook.clone()));
        let after = keys::space_after(Space::ByHook);
        for key in pass.store.shared.tree.range(first..after).keys() {
            let key = keys::of_hook(&key.map_err(ReadError::Read)?).filter(|key| key.hook == *hook);
            let Some(key) = key else { break };
            if excess == 0 || *left == 0 {
                return Ok(());
            }
            *left -= 1;
            self.per_hook.looked_up_to(hook, Some(key.event));
            let is_untouchable = pass.held.contains_key(&key.event)
                || removed.events.contains(&key.event)
                || removed.executions.contains(&key);
            if is_untouchable || !pass.is_settled(&key)? {
                continue;
            }
            let Some(execution) = pass.store.execution(&key)? else {
                continue;
            };
            let removal = Removal::of_execution(pass.store, &execution, &removed.executions)?;
            self.take(&removal, removed, totals, batch);
            excess -= 1;
        }
        // A whole round: what is left over its limit cannot go now.
        if excess > 0 {
            self.per_hook.looked_up_to(hook, None);
        }
        Ok(())
    }

    fn prune_settled(
        &mut self,
        pass: &Pass<'_>,
        removed: &mut Removed,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        let oldest_kept = pass.oldest_kept(pass.limits.age);
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
        removed: &mut Removed,
        totals: &mut Totals,
        batch: &mut Batch,
    ) {
        if pass.held.contains_key(&seq) || removed.events.contains(&seq) {
            return;
        }
        match Removal::of(pass.store, seq) {
            Ok(Some(removal)) => {
                removed.events.insert(seq);
                self.take(&removal, removed, totals, batch);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(event = %seq, error = &error as &dyn std::error::Error, "cannot prune an event");
            }
        }
    }

    fn take(&mut self, removal: &Removal, removed: &mut Removed, totals: &mut Totals, batch: &mut Batch) {
        removal.write(totals, batch);
        for (hook, version) in removal.versions() {
            self.doubt(hook, version);
        }
        for gone in &removal.executions {
            self.per_hook.gone(&gone.key);
            removed.executions.insert(gone.key.clone());
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
        if !key.starts_with(&prefix) {
            break;
        }
        if *left == 0 {
            return Ok(Search::NotYet);
        }
        *left -= 1;
        let Some(key) = keys::of_hook(&key) else {
            continue;
        };
        if versions_of(store, &key)?.contains(version) {
            return Ok(Search::Found);
        }
        *from = key.event.0 + 1;
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

/// Whether an event was received before this time; one that cannot be read is passed over.
fn is_older(store: &Store, seq: Seq, than: Timestamp) -> bool {
    let record = store.shared.tree.get(keys::event(seq)).ok().flatten();
    record
        .and_then(|bytes| store.listed_event(seq, &bytes).ok())
        .is_some_and(|listed| listed.event.received < than)
}

fn settled(totals: &Totals) -> u64 {
    totals
        .executions
        .iter()
        .filter(|(state, _)| !State::UNSETTLED.contains(&state.as_str()))
        .map(|(_, count)| count)
        .sum()
}
