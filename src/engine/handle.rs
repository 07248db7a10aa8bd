//! What the control room and the sources may ask of a running engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::broadcast;

use super::execution::{Actor, Execution};
use crate::event::Event;
use crate::event::id::{ExecutionKey, HookName, Seq, StoreId};
use crate::event::time::Timestamp;
use crate::hooks::HookSet;
use crate::store::{EventCounters, ListedEvent, Override, Store};

/// The engine is stopping, or a write failed and nothing is acknowledged any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the engine is stopping")]
pub struct Stopping;

/// What was asked for cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The engine is stopping.
    #[error(transparent)]
    Stopping(#[from] Stopping),
    /// There is no such execution.
    #[error("there is no execution `{0}`")]
    NoSuchExecution(ExecutionKey),
    /// There is no such hook.
    #[error("there is no hook `{0}`")]
    NoSuchHook(HookName),
    /// The state of the execution does not allow it; the sentence says what it is.
    #[error("{0}")]
    NotPossible(String),
}

/// Something that became durable; the live feed carries these.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An event was accepted.
    Event(Arc<ListedEvent>),
    /// An execution was made or changed its state.
    Execution(Arc<Execution>),
}

/// What came of accepting an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The number it got.
    pub seq: Seq,
    /// The executions it caused.
    pub executions: Vec<ExecutionKey>,
}

/// How the engine does, at one time.
#[derive(Debug, Clone)]
pub struct Status {
    /// The store's id.
    pub store: StoreId,
    /// When the daemon started.
    pub started: Timestamp,
    /// The last number given to an event.
    pub last_seq: Seq,
    /// Where the events of each source ended.
    pub events: BTreeMap<String, EventCounters>,
    /// How many kept executions are in each state, by `State::name`.
    pub executions: BTreeMap<&'static str, u64>,
    /// The connections of the sources.
    pub sources: BTreeMap<String, SourceStatus>,
    /// Executions that wait too long for another one of their lane.
    pub blocked: Vec<Blocked>,
    /// Scripts running now.
    pub running: usize,
    /// Scripts that may run at once.
    pub concurrency: usize,
    /// Hook files that are broken and whose last good version is in force.
    pub stale: Vec<StaleFile>,
    /// Matches whose condition failed to be worked out.
    pub condition_errors: u64,
    /// Milliseconds from receipt to acceptance: upper bounds of buckets and their counts.
    pub acceptance_millis: Vec<(u64, u64)>,
    /// Set when no new work is accepted: why.
    pub not_accepting: Option<String>,
}

/// A source's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Its type: `opennebula`.
    pub kind: &'static str,
    /// Where it connects to.
    pub endpoint: String,
    /// How the connection is.
    pub connection: Connection,
    /// The last error, and when.
    pub last_error: Option<(Timestamp, String)>,
    /// How often the connection was made.
    pub connects: u64,
    /// Refused messages by reason.
    pub refused: BTreeMap<String, u64>,
}

/// The state of a source's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// Connected since.
    Up {
        /// When it came up.
        since: Timestamp,
    },
    /// Not connected since.
    Down {
        /// When it went down, or when the daemon started.
        since: Timestamp,
    },
}

/// An execution that waits too long for another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The subject of the lane.
    pub subject: Option<String>,
    /// The one that waits longest.
    pub waiting: ExecutionKey,
    /// The one it waits for.
    pub behind: ExecutionKey,
    /// Since when that one runs or waits for its retry.
    pub since: Timestamp,
}

/// A hook file whose text is broken; its hooks' last good version is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaleFile {
    /// The file.
    pub file: PathBuf,
    /// Since when.
    pub since: Timestamp,
    /// What is wrong, as `hem check` says it.
    pub fault: String,
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReloadReport {
    /// Hooks that are new.
    pub added: Vec<HookName>,
    /// Hooks whose definition changed.
    pub changed: Vec<HookName>,
    /// Hooks that are gone.
    pub removed: Vec<HookName>,
    /// Faults found, as `hem check` says them; the last good version of those files stays in force.
    pub faults: Vec<String>,
    /// Why the former set was kept whole, where it was (more than half of the hooks gone; `--accept` takes it).
    pub kept: Option<String>,
}

/// A running engine, as the control room sees it. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Handle {
    store: Store,
}

impl Handle {
    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The hooks in force.
    pub fn hooks(&self) -> Arc<HookSet> {
        unimplemented!()
    }

    /// Whether a hook is in force: enabled by its file and not disabled by an override, or enabled by one.
    pub fn overrides(&self) -> BTreeMap<HookName, Override> {
        unimplemented!()
    }

    /// How the engine does.
    pub async fn status(&self) -> Result<Status, Stopping> {
        unimplemented!()
    }

    /// Everything that becomes durable from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        unimplemented!()
    }

    /// Reopens settled executions for one more attempt each; answers when that is durable, in the order of `keys`.
    pub async fn retry(
        &self,
        _keys: Vec<ExecutionKey>,
        _as_recorded: bool,
        _actor: Actor,
    ) -> Result<Vec<Result<(), OrderError>>, Stopping> {
        unimplemented!()
    }

    /// Cancels an execution that waits, or ends the one that runs.
    pub async fn cancel(&self, _key: ExecutionKey, _actor: Actor) -> Result<(), OrderError> {
        unimplemented!()
    }

    /// Takes a synthetic event; with a hook, only that one is run, whatever its trigger says.
    pub async fn emit(
        &self,
        _event: Event,
        _hook: Option<HookName>,
        _actor: Actor,
    ) -> Result<Accepted, OrderError> {
        unimplemented!()
    }

    /// Enables or disables a hook, durably, whatever its file says; `None` takes the override back.
    pub async fn set_enabled(
        &self,
        _hook: HookName,
        _enabled: Option<bool>,
        _actor: Actor,
    ) -> Result<(), OrderError> {
        unimplemented!()
    }

    /// Reads the hooks folder now; `accept` takes a set that lost more than half of its hooks.
    pub async fn reload(&self, _accept: bool, _actor: Actor) -> Result<ReloadReport, Stopping> {
        unimplemented!()
    }

    /// Writes a line into the audit log.
    pub async fn audit(&self, _actor: Actor, _action: &str, _target: &str) -> Result<(), Stopping> {
        unimplemented!()
    }

    /// Asks the engine to stop: nothing new is started, what runs gets its grace.
    pub fn stop(&self) {
        unimplemented!()
    }
}
