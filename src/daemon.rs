//! Wires the rooms together: opens the store, starts the engine, the control socket and the sources, and ends them in
//! the opposite order.
//!
//! A [`Daemon`] has no globals and may be started more than once in one process; `hem demo` and the tests do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, DamagedStore, Reread};
use crate::control::server::{BindError, bind};
pub use crate::engine::Failed;
use crate::engine::execution::Actor;
use crate::engine::handle::{Connection, Handle, SourceStatus, Stopping};
use crate::engine::intake::{IntakeQueue, Limits};
use crate::engine::{Engine, Source, StartError};
use crate::event::time::Timestamp;
use crate::sources::{self, BuildError, Site, Tasks, Wires};
use crate::store::{OpenError, Store, Summary, set_aside};

/// How long callers of the control socket have to take their last answers.
const FAREWELL: Duration = Duration::from_secs(3);

/// How a daemon is run, besides its configuration.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Any error in a hook file keeps the whole former set.
    pub strict_hooks: bool,
    /// Where the configuration is read again when the daemon is told to; without it, it stays as it was at the start.
    pub reread: Option<Arc<dyn Reread>>,
}

/// Why a daemon cannot start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The store cannot be opened.
    #[error("cannot open the store")]
    Store(#[source] OpenError),
    /// A source cannot be made ready.
    #[error("cannot start the source `{name}`")]
    Source {
        /// Its name.
        name: String,
        /// Why.
        source: BuildError,
    },
    /// The engine cannot be started.
    #[error("cannot start the engine")]
    Engine(#[source] StartError),
    /// The control socket, or the control API's TCP address, cannot be had.
    #[error("cannot open the control API")]
    Control(#[source] BindError),
    /// It could not go on.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    /// What receives.
    readers: Tasks,
    /// What tells controllers results.
    tellers: Tasks,
    control: TaskTracker,
    stop_control: CancellationToken,
}

impl Daemon {
    /// Starts a daemon. When this comes back, its hooks are in force, its control socket answers, and its sources connect.
    ///
    /// # Errors
    /// See [`DaemonError`].
    pub async fn start(config: &Config, options: Options) -> Result<Self, DaemonError> {
        let (folder, on_damage) = (config.state_dir.clone(), config.on_damaged_store);
        // Opening reads files and may wait for the disk for seconds.
        let opened = tokio::task::spawn_blocking(move || open(&folder, on_damage)).await;
        let opened = match opened {
            Ok(opened) => opened.map_err(DaemonError::Store)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let redaction = config.redaction();
        let socket = bind(&config.control, &redaction).map_err(DaemonError::Control)?;
        let url = socket.url();

        let configured: Vec<(&String, &dyn sources::Source)> = config
            .sources
            .iter()
            .map(|(name, source)| (name, sources::configured(source)))
            .collect();
        let limits = configured.iter().map(|(_, source)| source.queue());
        let queue = IntakeQueue::new(limits.fold(Limits { events: 0, bytes: 0 }, |sum, limits| Limits {
            events: sum.events + limits.events,
            bytes: sum.bytes + limits.bytes,
        }));
        let (mut of_engine, mut starts) = (Vec::new(), Vec::new());
        for (name, source) in &configured {
            let of_its_kind = configured
                .iter()
                .filter(|(_, other)| other.kind() == source.kind());
            let site = Site {
                name,
                names_source: of_its_kind.count() > 1,
                redaction: &redaction,
                oned: config.oned.as_ref().filter(|oned| oned.source == **name),
            };
            let built = source.build(&site).map_err(|error| DaemonError::Source {
                name: (*name).clone(),
                source: error,
            })?;
            of_engine.push(Source {
                name: (*name).clone(),
                decoder: built.decoder,
                pool: built.pool,
                status: SourceStatus {
                    kind: source.kind(),
                    endpoint: built.endpoint,
                    connection: Connection::Down {
                        since: Timestamp::now(),
                    },
                    last_error: None,
                    last_gap: None,
                    connects: 0,
                    refused: Default::default(),
                    noted: Default::default(),
                    catch_up: None,
                },
            });
            starts.push((*name, queue.source(name), built.start));
        }
        let mut engine = Engine::start(
            config,
            redaction.clone(),
            options.strict_hooks,
            options.reread,
            opened,
            queue,
            of_engine,
        )
        .await
        .map_err(DaemonError::Engine)?;

        warn_of_double_runs(engine.handle());
        let (control, stop_control) = (TaskTracker::new(), CancellationToken::new());
        let (handle, until) = (engine.handle().clone(), stop_control.clone());
        control.spawn(async move {
            if let Err(error) = socket.serve(handle, redaction, until).await {
                tracing::error!(%error, "the control socket failed; the engine goes on");
            }
        });
        let (readers, tellers) = (Tasks::default(), Tasks::default());
        let followed = |name: &str| config.oned.as_ref().filter(|oned| oned.source == name);
        for (name, intake, start) in starts {
            let oned = followed(name);
            start(Wires {
                name: name.clone(),
                intake,
                records: engine.records(),
                results: engine.results(name),
                inlet: oned.and_then(|_| engine.take_inlet()),
                seeks: engine.seeks(name),
                catch_up: engine.catch_up(name),
                leadership: oned.filter(|oned| oned.leader_only).map(|_| engine.leadership()),
                readers: readers.clone(),
                tellers: tellers.clone(),
            });
        }
        tracing::info!(
            store = %engine.handle().store().id(),
            state_dir = %config.state_dir.display(),
            hooks_dir = %config.hooks_dir.display(),
            socket = %config.control.socket.display(),
            url,
            "hem is up"
        );
        Ok(Self {
            engine,
            readers,
            tellers,
            control,
            stop_control,
        })
    }

    /// What the control room works with.
    pub fn handle(&self) -> &Handle {
        self.engine.handle()
    }

    /// Reads the configuration and the hooks folder now, as `hem reload` does. What was found wrong is in the log.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn reload(&self) -> Result<(), Stopping> {
        self.handle().reload(false, Actor::Daemon).await.map(drop)
    }

    /// Comes back when intake, scheduler and writer have each made a round.
    ///
    /// # Errors
    /// When the daemon is stopping.
    pub async fn pulse(&self) -> Result<(), Stopping> {
        self.handle().pulse().await
    }

    /// What is kept, in numbers.
    pub fn summary(&self) -> Summary {
        self.handle().store().summary()
    }

    /// Why the daemon stands by; none while it works.
    pub fn standby(&self) -> Option<String> {
        self.handle().standby()
    }

    /// Comes back when somebody asked the daemon to stop through its handle, or it cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn until_stopped(&self) -> Result<(), Failed> {
        self.engine.until_stopped().await
    }

    /// Reads nothing more from the sources, accepts what was received, gives running scripts their grace, and ends.
    pub async fn stop(self) {
        self.readers.end().await;
        let grace = self.handle().config().shutdown_grace;
        self.engine.drain(grace).await;
        self.tellers.end().await;
        self.stop_control.cancel();
        self.control.close();
        if timeout(FAREWELL, self.control.wait()).await.is_err() {
            tracing::warn!(
                "somebody who called the control socket and did not go on is left without an answer"
            );
        }
        tracing::info!("hem has stopped");
    }
}

/// Hooks that one step of an ESC may run twice.
fn warn_of_double_runs(handle: &Handle) {
    let config = handle.config();
    for hook in handle.hooks().iter() {
        if let Some(source) = hook.may_run_twice(&config) {
            tracing::warn!(
                hook = %hook.name, source,
                "one step may run this hook twice: the source tells of it by a callback and by a notification, and the hook takes both; \
                 say `via: netconf` or `via: rest` in its trigger"
            );
        }
    }
}

/// Opens the store; where a damaged one is to be replaced, also says when that one was last written to.
fn open(folder: &Path, on_damage: DamagedStore) -> Result<(Store, Option<Timestamp>), OpenError> {
    match (Store::open(folder), on_damage) {
        (Err(OpenError::Damaged { source, .. }), DamagedStore::StartEmpty) => {
            let (aside, last_written) = set_aside(folder)?;
            tracing::error!(
                error = &*source, set_aside = %aside.display(),
                "the store is damaged; beginning with an empty one (on_damaged_store: start_empty)"
            );
            Ok((Store::open(folder)?, Some(last_written)))
        }
        (opened, _) => opened.map(|store| (store, None)),
    }
}
