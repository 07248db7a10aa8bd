//! The journal, executions, counters, overrides and the audit log, on sled. No other room names sled.

use std::collections::BTreeMap;

use crate::engine::execution::{Actor, Attempt, Execution};
use crate::event::id::{ExecutionKey, HookName, Seq, StoreId};
use crate::event::time::Timestamp;
use crate::event::{Event, Kind};
use crate::hooks::Version;

/// A store, open. Cloning is cheap; clones are the same store. Reads are allowed from any thread.
#[derive(Debug, Clone)]
pub struct Store {}

/// A read that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the store")]
pub struct ReadError {}

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
    /// Only executions accepted at or after this time.
    pub since: Option<Timestamp>,
    /// Only executions accepted at or before this time.
    pub until: Option<Timestamp>,
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

/// Where every received event ended; the sums of `docs/crash-contract.md`.
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
    /// Counted and not kept, by configuration (`ignore_calls`) or for want of room.
    pub refused: u64,
    /// The queue was full: the payload is gone.
    pub lost: u64,
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
        unimplemented!()
    }

    /// One event with its payload.
    pub fn event(&self, _seq: Seq) -> Result<Option<ListedEvent>, ReadError> {
        unimplemented!()
    }

    /// Events, newest first, without payloads.
    pub fn events(&self, _query: &EventQuery) -> Result<Vec<ListedEvent>, ReadError> {
        unimplemented!()
    }

    /// One execution.
    pub fn execution(&self, _key: &ExecutionKey) -> Result<Option<Execution>, ReadError> {
        unimplemented!()
    }

    /// The executions an event caused, by hook name.
    pub fn executions_of(&self, _event: Seq) -> Result<Vec<Execution>, ReadError> {
        unimplemented!()
    }

    /// Executions, newest first.
    pub fn executions(&self, _query: &ExecutionQuery) -> Result<Vec<Execution>, ReadError> {
        unimplemented!()
    }

    /// The attempts of an execution, in order, with their output.
    pub fn attempts(&self, _key: &ExecutionKey) -> Result<Vec<Attempt>, ReadError> {
        unimplemented!()
    }

    /// The definition of that version.
    pub fn definition(&self, _version: &Version) -> Result<Option<Definition>, ReadError> {
        unimplemented!()
    }

    /// The last `limit` lines of the audit log, newest first.
    pub fn audit(&self, _limit: usize) -> Result<Vec<AuditEntry>, ReadError> {
        unimplemented!()
    }

    /// The overrides in force.
    pub fn overrides(&self) -> Result<BTreeMap<HookName, Override>, ReadError> {
        unimplemented!()
    }
}
