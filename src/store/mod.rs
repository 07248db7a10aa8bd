//! The journal, executions, counters, overrides and the audit log, on sled. No other room names sled.
//!
//! Everything stands in one tree (`keys`), in stored forms of its own (`format`), in values of at most 4 kB
//! (`blob`). One thread writes ([`writer`]); reads are allowed from any thread. What is read may be an instant
//! from being durable; what was acknowledged is durable.

mod blob;
mod draft;
mod format;
mod full_sync;
pub mod import;
mod keys;
pub mod offline;
mod open;
mod query;
mod remains;
mod retention;
pub mod salvage;
#[cfg(test)]
mod tests;
mod unlisted;
pub mod writer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::format::{FormatError, Totals};
pub use self::open::{OpenError, set_aside};
use crate::engine::execution::Actor;
use crate::event::id::{ExecutionKey, HookName, Seq, StoreId};
use crate::event::time::Timestamp;
use crate::event::{Event, Kind};

/// A store, open. Cloning is cheap; clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    id: StoreId,
    path: PathBuf,
    /// Kept so that sled's own threads live as long as the tree.
    _db: sled::Db,
    tree: sled::Tree,
    /// The log, held open to be synced: sled's own flush does not survive a power cut.
    log: std::fs::File,
    /// As of the last batch that was written.
    totals: Mutex<Totals>,
    /// Events that are not pruned at present, and for how many askers. Locked while a pass of pruning decides and writes.
    held: Mutex<BTreeMap<Seq, usize>>,
}

/// Keeps an event from being pruned while this lives, so that what was read of it can be built upon.
#[derive(Debug)]
pub(crate) struct Held {
    store: Store,
    event: Seq,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.store.held();
        if let Some(askers) = held.get_mut(&self.event) {
            *askers -= 1;
            if *askers == 0 {
                held.remove(&self.event);
            }
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("id", &self.shared.id)
            .field("path", &self.shared.path)
            .finish()
    }
}

/// A read that failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk, or what is on it, gave an error.
    #[error("cannot read the store")]
    Read(#[source] sled::Error),
    /// A record is there and does not say what it should.
    #[error("the record of {what} in the store is damaged; `hem store salvage` keeps what is readable")]
    Damaged {
        /// Whose record it is.
        what: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// hem failed over it.
    #[error("a fault of hem's while the store was read: {0}")]
    Fault(String),
}

impl ReadError {
    fn format(what: impl ToString) -> impl FnOnce(FormatError) -> Self {
        let what = what.to_string();
        move |source| Self::Damaged {
            what,
            source: source.into(),
        }
    }

    fn attempt(what: impl ToString) -> impl FnOnce(draft::ReadError) -> Self {
        let what = what.to_string();
        move |error| match error {
            draft::ReadError::Get(error) => Self::blob(what)(error),
            draft::ReadError::Format(error) => Self::format(what)(error),
        }
    }

    fn blob(what: impl ToString) -> impl FnOnce(blob::GetError) -> Self {
        let what = what.to_string();
        move |error| match error {
            blob::GetError::Sled(source) => Self::Read(source),
            blob::GetError::Pieces(source) => Self::Damaged {
                what,
                source: source.into(),
            },
        }
    }
}

/// How much the store holds and what it counted.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// The last number given to an event.
    pub last_seq: Seq,
    /// The last number given to a line of the audit log.
    pub last_audit: u64,
    /// Where the events of each source ended.
    pub events: BTreeMap<String, EventCounters>,
    /// Kept executions by the name of their state.
    pub executions: BTreeMap<String, u64>,
    /// Matches whose condition could not be worked out.
    pub condition_errors: u64,
    /// Matches that came to nothing because their condition asks for an element the event does not have.
    pub absent_elements: u64,
    /// Events kept that matched nothing.
    pub unmatched_kept: u64,
    /// Events kept that matched something.
    pub matched_kept: u64,
    /// Bytes of payloads and outputs kept, as stored.
    pub bytes: u64,
}

/// An event as the store lists it.
#[derive(Debug, Clone)]
pub struct ListedEvent {
    /// The event; its payload is empty in lists.
    pub event: Event,
    /// The payload's length in bytes.
    pub payload_len: u64,
    /// The hooks it caused executions of.
    pub hooks: Vec<HookName>,
}

/// Which events are asked for; newest first.
#[derive(Debug, Clone, Default)]
pub struct EventQuery {
    /// Only events about this subject.
    pub subject: Option<String>,
    /// Only events whose key contains this text.
    pub key: Option<String>,
    /// Only events of this source.
    pub source: Option<String>,
    /// Only events of this kind.
    pub kind: Option<Kind>,
    /// Only events that caused no execution.
    pub unmatched: bool,
    /// Only events received at or after this time.
    pub since: Option<Timestamp>,
    /// Only events received at or before this time.
    pub until: Option<Timestamp>,
    /// Only events that were accepted before this one.
    pub before: Option<Seq>,
    /// At most this many.
    pub limit: usize,
}

/// Which executions are asked for; newest first.
#[derive(Debug, Clone, Default)]
pub struct ExecutionQuery {
    /// Only executions of this hook.
    pub hook: Option<HookName>,
    /// Only executions in this state, by the name `State::name` gives.
    pub status: Option<String>,
    /// Only executions about this subject.
    pub subject: Option<String>,
    /// Only executions that events of this source caused.
    pub source: Option<String>,
    /// Only executions accepted at or after this time.
    pub since: Option<Timestamp>,
    /// Only executions accepted at or before this time.
    pub until: Option<Timestamp>,
    /// Only executions that stand behind this one in the order of the list.
    pub before: Option<ExecutionKey>,
    /// At most this many.
    pub limit: usize,
}

/// A hook's definition as kept for the records that refer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// The hook's name.
    pub name: HookName,
    /// The YAML document.
    pub text: String,
    /// The file it stood in.
    pub file: String,
    /// The line it began on.
    pub line: usize,
    /// SHA-256 of that file.
    pub file_sha256: [u8; 32],
}

/// Where every received event ended; the sums of `docs/operations.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventCounters {
    /// Events received from the source.
    pub received: u64,
    /// Accepted, and matched by at least one hook.
    pub matched: u64,
    /// Accepted, and matched by none.
    pub unmatched: u64,
    /// Accepted, though they could not be read.
    pub undecodable: u64,
    /// Further copies of an event, dropped by key.
    pub duplicate: u64,
    /// Counted and not kept: by configuration (`ignore_calls`), on standby, or, where the sender waits for an answer and was told
    /// so, for want of room.
    pub refused: u64,
    /// There was no room in the queue, on the disk or in the backlog, and the sender does not ask: the payload is gone.
    pub lost: u64,
    /// Gap records written: times in which events may have passed unseen. They are made here and not received.
    pub gaps: u64,
}

impl EventCounters {
    /// matched + unmatched + undecodable.
    pub const fn accepted(&self) -> u64 {
        self.matched + self.unmatched + self.undecodable
    }

    /// Whether every received event ended in exactly one bucket.
    pub const fn adds_up(&self) -> bool {
        self.received == self.accepted() + self.duplicate + self.refused + self.lost
    }
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Actor,
    /// What: `retry`, `cancel`, `enable`, `disable`, `reload`, `emit`, `reveal`.
    pub action: String,
    /// On what: an execution, a hook, a file.
    pub target: String,
}

/// A durable override of a hook's `enabled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Whether the hook is enabled.
    pub enabled: bool,
    /// Who said so.
    pub actor: Actor,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// The store's id.
    pub fn id(&self) -> &StoreId {
        &self.shared.id
    }

    /// Keeps an event, and all it caused, from being pruned.
    pub(crate) fn hold(&self, event: Seq) -> Held {
        *self.held().entry(event).or_default() += 1;
        Held {
            store: self.clone(),
            event,
        }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<Seq, usize>> {
        self.shared.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Unsettled executions of events below this number are listed; of the others only their records say it.
    fn listed_below(&self) -> u64 {
        let totals = self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.listed_below
    }

    /// How much the store holds and what it counted, as of the last batch that was written.
    pub fn summary(&self) -> Summary {
        let totals = self.shared.totals.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            last_seq: Seq(totals.last_seq),
            last_audit: totals.last_audit,
            events: totals
                .sources
                .iter()
                .map(|(name, stored)| (name.clone(), stored.counters()))
                .collect(),
            executions: totals.executions.clone(),
            condition_errors: totals.condition_errors,
            absent_elements: totals.absent_elements,
            unmatched_kept: totals.unmatched_kept,
            matched_kept: totals.matched_kept,
            bytes: totals.bytes,
        }
    }
}
