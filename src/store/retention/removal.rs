//! What is taken out, and what comes off the sums with it.

use std::collections::BTreeSet;

use sled::Batch;

use super::versions_of;
use crate::engine::execution::Execution;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::hooks::Version;
use crate::store::format::Totals;
use crate::store::keys::{self, Space};
use crate::store::{ReadError, Store, blob};

/// Entries that go together.
#[derive(Default)]
pub(super) struct Removal {
    keys: Vec<sled::IVec>,
    bytes: u64,
    output_bytes: u64,
    /// The event goes; whether it matched nothing.
    event: Option<bool>,
    pub(super) executions: Vec<Gone>,
}

/// An execution that goes.
pub(super) struct Gone {
    pub(super) key: ExecutionKey,
    state: &'static str,
    pub(super) versions: BTreeSet<Version>,
}

impl Removal {
    /// An event with all it caused; none when something of it is still to be done.
    pub(super) fn of(store: &Store, seq: Seq) -> Result<Option<Self>, ReadError> {
        let mut removal = Self::default();
        for execution in store.executions_of(seq)? {
            if !execution.progress.state.is_settled() {
                return Ok(None);
            }
            removal.add_execution(store, &execution)?;
        }
        removal.add_event(store, seq)?;
        Ok(Some(removal))
    }

    /// An execution alone, and its event too where no execution of it is left besides `gone`.
    pub(super) fn of_execution(
        store: &Store,
        execution: &Execution,
        gone: &BTreeSet<ExecutionKey>,
    ) -> Result<Self, ReadError> {
        let mut removal = Self::default();
        removal.add_execution(store, execution)?;
        let seq = execution.key.event;
        let mut others = store
            .shared
            .tree
            .scan_prefix(keys::numbered(Space::Execution, seq.0))
            .keys();
        let is_last = others.try_fold(true, |is_last, key| {
            let key = keys::execution(&key.map_err(ReadError::Read)?);
            Ok(is_last && key.is_none_or(|key| key == execution.key || gone.contains(&key)))
        })?;
        if is_last {
            removal.add_event(store, seq)?;
        }
        Ok(removal)
    }

    fn add_event(&mut self, store: &Store, seq: Seq) -> Result<(), ReadError> {
        let tree = &store.shared.tree;
        let record = tree
            .get(keys::event(seq))
            .map_err(ReadError::Read)?
            .unwrap_or_default();
        let (_, packed) = blob::split_line(&record);
        self.bytes += packed.len() as u64;
        for entry in tree.scan_prefix(keys::payload(seq)) {
            let (piece, value) = entry.map_err(ReadError::Read)?;
            self.bytes += value.len() as u64;
            self.keys.push(piece);
        }
        self.add_below(store, &keys::numbered(Space::Long, seq.0))?;
        let unmatched = keys::unmatched(seq);
        self.event = Some(tree.contains_key(&unmatched).map_err(ReadError::Read)?);
        self.keys.extend([
            keys::event(seq).into(),
            unmatched.into(),
            keys::gap_story(seq).into(),
        ]);
        Ok(())
    }

    fn add_execution(&mut self, store: &Store, execution: &Execution) -> Result<(), ReadError> {
        let key = &execution.key;
        self.keys.extend(arguments_of(store, key)?);
        let place = keys::of_execution(Space::Execution, key);
        self.add_below(store, &keys::long(key.event, &place))?;
        self.keys
            .extend([place.into(), keys::by_hook_and_event(key).into()]);
        let attempts = keys::attempts(key);
        for entry in store.shared.tree.scan_prefix(&attempts) {
            let (part, value) = entry.map_err(ReadError::Read)?;
            if keys::is_output(&part, &attempts) {
                self.bytes += value.len() as u64;
                self.output_bytes += value.len() as u64;
            }
            self.keys.push(part);
        }
        self.executions.push(Gone {
            key: key.clone(),
            state: execution.progress.state.name(),
            versions: versions_of(store, key)?,
        });
        Ok(())
    }

    fn add_below(&mut self, store: &Store, prefix: &[u8]) -> Result<(), ReadError> {
        for key in store.shared.tree.scan_prefix(prefix).keys() {
            self.keys.push(key.map_err(ReadError::Read)?);
        }
        Ok(())
    }

    /// The hooks and versions that lose a record which referred to them.
    pub(super) fn versions(&self) -> impl Iterator<Item = (&HookName, Version)> {
        self.executions
            .iter()
            .flat_map(|gone| gone.versions.iter().map(|version| (&gone.key.hook, *version)))
    }

    pub(super) fn write(&self, totals: &mut Totals, batch: &mut Batch) {
        for key in &self.keys {
            batch.remove(key);
        }
        for gone in &self.executions {
            if let Some(count) = totals.executions.get_mut(gone.state) {
                *count = count.saturating_sub(1);
            }
        }
        let less = |sum: &mut u64, by: u64| *sum = sum.saturating_sub(by);
        match self.event {
            Some(true) => {
                less(&mut totals.unmatched_kept, 1);
                less(&mut totals.unmatched_bytes, self.bytes - self.output_bytes);
            }
            Some(false) => less(&mut totals.matched_kept, 1),
            None => {}
        }
        less(&mut totals.bytes, self.bytes);
        less(&mut totals.output_bytes, self.output_bytes);
    }
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
