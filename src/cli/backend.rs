//! Where a command that only reads gets its answers: from the daemon, or from the store itself.

use std::collections::BTreeSet;

use super::Global;
use super::exit::{Exit, Failure};
use crate::config::Source;
use crate::control::Veil;
use crate::control::api::{
    AuditFilter, AuditView, EventFilter, EventView, ExecutionFilter, ExecutionView, ExportFilter, ExportLine,
    SeekOrder, SeekReply, Story, Time,
};
use crate::control::client::{Client, Lines};
use crate::control::export::Exporter;
use crate::control::query::{GREATEST_LIMIT, Reader};
use crate::control::seek;
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
            Self::Store(reader) => Ok(reader.events(filter)?.items),
        }
    }

    pub(super) async fn executions(&self, filter: &ExecutionFilter) -> Result<Vec<ExecutionView>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.executions(filter).await?),
            Self::Store(reader) => Ok(reader.executions(filter)?.items),
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

    /// The hooks in force that stand for one of the controller's, with its numbers of them. A store does not say what is in
    /// force: there, all hooks of which executions were accepted since then, without numbers.
    pub(super) async fn hooks_of_oned(&self, since: Time) -> Result<Vec<(String, Option<u64>)>, Failure> {
        match self {
            Self::Daemon(client) => {
                let hooks = client.hooks().await?.into_iter();
                Ok(hooks
                    .filter(|hook| hook.oned_id.is_some())
                    .map(|hook| (hook.name, hook.oned_id))
                    .collect())
            }
            Self::Store(reader) => {
                let filter = ExecutionFilter {
                    since: Some(since),
                    limit: Some(GREATEST_LIMIT),
                    ..ExecutionFilter::default()
                };
                let executions = reader.executions(&filter)?.items.into_iter();
                let names: BTreeSet<String> = executions.map(|execution| execution.hook).collect();
                Ok(names.into_iter().map(|name| (name, None)).collect())
            }
        }
    }

    /// When the daemon started; a store does not say it.
    pub(super) async fn started(&self) -> Result<Option<Time>, Failure> {
        match self {
            Self::Daemon(client) => Ok(Some(client.status().await?.started)),
            Self::Store(_) => Ok(None),
        }
    }

    pub(super) async fn audit(&self, limit: usize) -> Result<Vec<AuditView>, Failure> {
        match self {
            Self::Daemon(client) => Ok(client.audit(Some(limit)).await?),
            Self::Store(reader) => {
                let filter = AuditFilter {
                    limit: Some(limit),
                    cursor: None,
                };
                Ok(reader.audit(&filter)?.items)
            }
        }
    }
}

impl Backend {
    /// Lets a source read from elsewhere: the daemon at once, or, in a store that none has, from its next start on.
    pub(super) async fn seek(
        global: &Global,
        offline: bool,
        source: &str,
        order: &SeekOrder,
    ) -> Result<SeekReply, Failure> {
        if !offline {
            return Ok(global.client().await?.seek(source, order).await?);
        }
        let config = global.config()?;
        match config.sources.get(source) {
            Some(Source::Ncmp(_)) => {}
            Some(other) => {
                let message = format!(
                    "the source `{source}` is of type `{}`; only one of type `ncmp` can be told where to read from",
                    other.type_name()
                );
                return Err(Failure::new(Exit::Failed, message));
            }
            None => {
                return Err(Failure::new(
                    Exit::Failed,
                    format!("there is no source `{source}`"),
                ));
            }
        }
        let store = opened(global)?;
        let uid = nix::unistd::getuid().as_raw();
        let sought = seek::offline(&store, source, order, uid).await;
        sought.map_err(|error| Failure::of(Exit::Failed, &error))
    }

    /// Records as lines, as they come.
    pub(super) async fn export(
        global: &Global,
        offline: bool,
        filter: ExportFilter,
    ) -> Result<Export, Failure> {
        if !offline {
            return Ok(Export::Daemon(global.client().await?.export(&filter).await?));
        }
        let redaction = global.config()?.redaction();
        let exporter = Exporter::offline(opened(global)?, redaction, filter).await?;
        Ok(Export::Store(Box::new(exporter)))
    }
}

/// Records as lines.
pub(super) enum Export {
    /// A daemon sends them.
    Daemon(Lines<ExportLine>),
    /// They are read here.
    Store(Box<Exporter>),
}

impl Export {
    /// The next line with its end; none when there are no more.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self {
            Self::Daemon(lines) => Ok(lines.next_text().await?.map(|line| line.to_vec())),
            Self::Store(exporter) => Ok(exporter.next_line()),
        }
    }
}

/// The store as a daemon left it. The store belongs to one process, so a daemon that is alive keeps it closed.
fn open_store(global: &Global, veil: impl FnOnce(Redaction) -> Veil) -> Result<Reader, Failure> {
    let store = opened(global)?;
    Ok(Reader::new(store, None, veil(global.config()?.redaction())))
}

fn opened(global: &Global) -> Result<Store, Failure> {
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
    Store::open(folder).map_err(|error| {
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
    })
}
