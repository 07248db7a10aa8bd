//! An execution's record: one entry for all of it, read and written as a whole.
//!
//! Three lines: what never changes, how far the execution got, and one of its attempts, packed. That is the newest attempt as
//! a rule; it stands apart where it is too long, and so do the attempts before it. However many changes of an execution a batch
//! takes, they are one write.

use std::collections::{BTreeMap, BTreeSet};

use sled::{Batch, Tree};

use super::blob::{self, GetError, PIECE};
use super::format::{self, FormatError, StoredAttempt};
use super::keys::{self, AttemptPart, Space};
use crate::engine::execution::{Execution, Progress};
use crate::event::id::ExecutionKey;

/// What never changes stands apart where it is longer, so that there is always room for the progress behind it.
const FIXED_AT_MOST: usize = PIECE / 2;

/// What stands in an execution's entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines<'a> {
    /// What never changes, or what stands for it where that is long.
    pub(super) fixed: &'a [u8],
    pub(super) progress: &'a [u8],
    /// An attempt, packed; empty for none.
    pub(super) attempt: &'a [u8],
}

impl<'a> Lines<'a> {
    pub(super) fn of(record: &'a [u8]) -> Self {
        let (fixed, rest) = blob::split_line(record);
        let (progress, attempt) = blob::split_line(rest);
        Self {
            fixed,
            progress,
            attempt,
        }
    }

    pub(super) fn attempt(&self) -> Result<Option<StoredAttempt>, ReadError> {
        if self.attempt.is_empty() {
            return Ok(None);
        }
        let bytes = blob::unpack(self.attempt).map_err(GetError::Pieces)?;
        Ok(Some(StoredAttempt::read(&bytes)?))
    }
}

/// Why an attempt cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Get(#[from] GetError),
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// An attempt that stands apart from its execution's record.
pub(super) fn attempt_apart(
    tree: &Tree,
    key: &ExecutionKey,
    number: u32,
) -> Result<Option<StoredAttempt>, ReadError> {
    let bytes = blob::get(tree, &keys::attempt(key, number, AttemptPart::Record))?;
    Ok(bytes.map(|bytes| StoredAttempt::read(&bytes)).transpose()?)
}

/// A record that is being changed.
pub(super) struct Draft {
    place: Vec<u8>,
    fixed: Vec<u8>,
    progress: Vec<u8>,
    /// The attempt in the record, as long as none is asked for.
    untouched: Vec<u8>,
    attempts: BTreeMap<u32, StoredAttempt>,
    /// Of these, those that stood apart.
    apart: BTreeSet<u32>,
}

impl Draft {
    /// The record of a new execution. What is long of it goes into the batch at once.
    pub(super) fn new(execution: &Execution, batch: &mut Batch) -> Self {
        let key = &execution.key;
        let place = keys::of_execution(Space::Execution, key);
        let fixed = format::write_execution(execution);
        let fixed = blob::put_line(batch, key.event, &place, &fixed, FIXED_AT_MOST).to_vec();
        Self {
            place,
            fixed,
            progress: format::write_progress(&execution.progress),
            untouched: Vec::new(),
            attempts: BTreeMap::new(),
            apart: BTreeSet::new(),
        }
    }

    /// The record as it stands; none when there is none.
    pub(super) fn read(tree: &Tree, key: &ExecutionKey) -> sled::Result<Option<Self>> {
        let place = keys::of_execution(Space::Execution, key);
        let stored = tree.get(&place)?;
        Ok(stored.map(|stored| {
            let lines = Lines::of(&stored);
            Self {
                place,
                fixed: lines.fixed.to_vec(),
                progress: lines.progress.to_vec(),
                untouched: lines.attempt.to_vec(),
                attempts: BTreeMap::new(),
                apart: BTreeSet::new(),
            }
        }))
    }

    /// How far it got now.
    pub(super) fn progress(&mut self, progress: &Progress) {
        self.progress = format::write_progress(progress);
    }

    /// An attempt was released.
    pub(super) fn release(&mut self, attempt: StoredAttempt) {
        self.unpack();
        self.attempts.insert(attempt.number(), attempt);
    }

    /// One of its attempts, to be changed; none when nothing was written of it.
    pub(super) fn attempt(
        &mut self,
        tree: &Tree,
        key: &ExecutionKey,
        number: u32,
    ) -> Result<Option<&mut StoredAttempt>, ReadError> {
        self.unpack();
        if !self.attempts.contains_key(&number)
            && let Some(attempt) = attempt_apart(tree, key, number)?
        {
            self.attempts.insert(number, attempt);
            self.apart.insert(number);
        }
        Ok(self.attempts.get_mut(&number))
    }

    fn unpack(&mut self) {
        let untouched = std::mem::take(&mut self.untouched);
        let lines = Lines {
            fixed: &self.fixed,
            progress: &self.progress,
            attempt: &untouched,
        };
        match lines.attempt() {
            Ok(attempt) => self
                .attempts
                .extend(attempt.map(|attempt| (attempt.number(), attempt))),
            // It would be told to be damaged whenever it is read; what comes takes its place.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "an attempt's record is damaged and is not kept"
            ),
        }
    }

    /// Adds the record to the batch, and what does not fit into it.
    pub(super) fn write(mut self, tree: &Tree, key: &ExecutionKey, batch: &mut Batch) -> sled::Result<()> {
        for number in &self.apart {
            blob::remove(tree, batch, &keys::attempt(key, *number, AttemptPart::Record))?;
        }
        let room = PIECE.saturating_sub(self.fixed.len() + self.progress.len() + 2);
        if self.untouched.len() > room {
            // The progress before it is longer than it was.
            self.unpack();
        }
        let mut within = self.untouched;
        if let Some((number, newest)) = self.attempts.pop_last() {
            let packed = blob::pack(&newest.write());
            if packed.len() <= room {
                within = packed;
            } else {
                let apart = keys::attempt(key, number, AttemptPart::Record);
                blob::put_packed(batch, &apart, &packed);
            }
        }
        for (number, attempt) in self.attempts {
            let apart = keys::attempt(key, number, AttemptPart::Record);
            blob::put(batch, &apart, &attempt.write());
        }
        batch.insert(self.place, blob::record(&[&self.fixed, &self.progress], &within));
        Ok(())
    }
}
