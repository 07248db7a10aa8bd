//! Where a command that only reads gets its answers: from the daemon, or from the store itself.

use super::Global;
use super::exit::{Exit, Failure};
use crate::control::Veil;
use crate::control::api::{AuditView, EventFilter, EventView, ExecutionFilter, ExecutionView, Story};
use crate::control::client::Client;
use crate::control::query::Reader;
use crate::event::id::Reference;
use crate::event::redaction::Redaction;
use crate::store::{OpenError, Store};

/// Where the answers come from.
pub(super) enum Backend {
    /// A daemon.
    Daemon(Client),
    /// The store, while no daemon is alive.
    Store(Box<Reader>),
}

impl Backend {
    pub(super) async fn open(global: &Global, offline: bool) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::Store(Box::new(open_store(global, Veil::new)?)));
        }
        Ok(Self::Daemon(global.client().await?))
    }

    /// The same, but the store shows its documents as they are: for commands that work on a document, and blot out
    /// themselves what they print of it. A daemon wants to be asked for that each time.
    pub(super) async fn open_unveiled(global: &Global, offline: bool) -> Result<Self, Failure> {
        if offline {
            return Ok(Self::Store(Box::new(open_store(global, |_| Veil::lifted())?)));
        }
        Self::open(global, offline).await
    }

    pub(super) async fn events(&self, filter: &EventFilter) -> Result<Vec<EventView>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.events(filter).await?),
            Self::Store(reader) => Ok(reader.events(filter)?),
        }
    }

    pub(super) async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionView>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.executions(filter).await?),
            Self::Store(reader) => Ok(reader.executions(filter)?),
        }
    }

    pub(super) async fn story(
        &self,
        reference: &str,
        parsed: &Reference,
        reveal: bool,
    ) -> Result<Story, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.story(reference, reveal).await?),
            Self::Store(reader) => Ok(reader.story(parsed)?),
        }
    }

    pub(super) async fn audit(&self, limit: usize) -> Result<Vec<AuditView>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.audit(Some(limit)).await?),
            Self::Store(reader) => Ok(reader.audit(Some(limit))?),
        }
    }
}

/// The store as a daemon left it. The store belongs to one process, so a daemon that is alive keeps it closed.
fn open_store(global: &Global, veil: impl FnOnce(Redaction) -> Veil) -> Result<Reader, Failure> {
    let config = global.config()?;
    let folder = &config.state_dir;
    // Opening would make one, and a command that only reads leaves no traces.
    if !folder.join("db").exists() {
        return Err(Failure::new(
            Exit::Store,
            format!("there is no store in `{}`", folder.display()),
        )
        .with_hint("`--config` names the configuration the daemon runs with; its `state_dir` is read"));
    }
    let store = Store::open(folder).map_err(|error| {
        let exit = if error.is_passing() {
            Exit::StoreForNow
        } else {
            Exit::Store
        };
        let failure = Failure::of(exit, &error);
        match error {
            OpenError::InUse { .. } => failure.with_hint("the daemon is alive: leave out `--offline`"),
            _ => failure,
        }
    })?;
    Ok(Reader::new(store, None, veil(config.redaction())))
}
