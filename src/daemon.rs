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

use crate::config::{Config, DamagedStore, OpennebulaSource, Reread, Source as SourceConfig};
use crate::control::server::{BindError, bind};
pub use crate::engine::Failed;
use crate::engine::execution::Actor;
use crate::engine::handle::{Connection, Handle, SourceStatus, Stopping};
use crate::engine::intake::{Decode, IntakeQueue, Limits};
use crate::engine::pool::{Followed, Hints};
use crate::engine::{Engine, Source, StartError};
use crate::event::time::Timestamp;
use crate::oned::Client;
use crate::sources::opennebula;
use crate::sources::opennebula::decode::Decoder;
use crate::sources::opennebula::{catch_up, leadership, pool, replier};
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
    /// The engine cannot be started.
    #[error("cannot start the engine")]
    Engine(#[source] StartError),
    /// The control socket cannot be bound.
    #[error("cannot listen on the control socket")]
    Control(#[source] BindError),
    /// It could not go on.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// A running daemon.
#[derive(Debug)]
pub struct Daemon {
    engine: Engine,
    sources: TaskTracker,
    repliers: TaskTracker,
    control: TaskTracker,
    stop_sources: CancellationToken,
    stop_repliers: CancellationToken,
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
        let (store, began_anew) = match opened {
            Ok(opened) => opened.map_err(DaemonError::Store)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        let socket = bind(&config.control).map_err(DaemonError::Control)?;

        let named = |(name, source): (&String, &SourceConfig)| match source {
            SourceConfig::Opennebula(source) => (name.clone(), source.clone()),
        };
        let configured: Vec<(String, OpennebulaSource)> = config.sources.iter().map(named).collect();
        let limits = configured
            .iter()
            .fold(Limits { events: 0, bytes: 0 }, |sum, (_, source)| Limits {
                events: sum.events + source.queue_events,
                bytes: sum.bytes + source.queue_bytes,
            });
        let queue = IntakeQueue::new(limits);
        let names_source = configured.len() > 1;
        let mut intakes = Vec::new();
        let mut sources = Vec::new();
        let asked = config.oned.as_ref().filter(|oned| oned.hooks);
        for (name, source) in configured {
            let pool = asked.filter(|oned| oned.source == name).map(|oned| Followed {
                endpoint: oned.endpoint.to_string(),
                hints: Hints::default(),
            });
            let mut decoder = Decoder::new(&name, &source, names_source).hiding(config.redaction());
            if let Some(pool) = &pool {
                decoder = decoder.hinting(pool.hints.clone());
            }
            let decoder = Arc::new(decoder);
            sources.push(Source {
                name: name.clone(),
                decoder: Arc::clone(&decoder) as Arc<dyn Decode>,
                pool,
                status: SourceStatus {
                    kind: "opennebula",
                    endpoint: source.endpoint.clone(),
                    connection: Connection::Down {
                        since: Timestamp::now(),
                    },
                    last_error: None,
                    last_gap: None,
                    connects: 0,
                    refused: Default::default(),
                    catch_up: None,
                },
            });
            intakes.push((queue.source(&name), name, source, decoder));
        }
        let mut engine = Engine::start(
            config,
            options.strict_hooks,
            options.reread,
            store,
            began_anew,
            queue,
            sources,
        )
        .await
        .map_err(DaemonError::Engine)?;

        let (control, stop_control) = (TaskTracker::new(), CancellationToken::new());
        let (handle, redaction, until) = (engine.handle().clone(), config.redaction(), stop_control.clone());
        control.spawn(async move {
            if let Err(error) = socket.serve(handle, redaction, until).await {
                tracing::error!(%error, "the control socket failed; the engine goes on");
            }
        });
        let (tracker, stop_sources) = (TaskTracker::new(), CancellationToken::new());
        let (repliers, stop_repliers) = (TaskTracker::new(), CancellationToken::new());
        for (intake, name, source, decoder) in intakes {
            if let Some(results) = engine.results(&name) {
                let (endpoint, name, until) = (source.replies.clone(), name.clone(), stop_repliers.clone());
                repliers.spawn(async move { replier::run(&endpoint, &name, results, until).await });
            }
            if let Some((oned, catch_up)) = config.oned.as_ref().zip(engine.catch_up(&name)) {
                let (client, name, until) = (Client::new(oned), name.clone(), stop_sources.clone());
                tracker.spawn(async move { catch_up::run(client, &name, decoder, catch_up, until).await });
            }
            let until = stop_sources.clone();
            tracker.spawn(async move { opennebula::run(source, &name, intake, until).await });
        }
        if let (Some(inlet), Some(oned)) = (engine.take_inlet(), asked) {
            let (client, until) = (Client::new(oned), stop_sources.clone());
            tracker.spawn(async move { pool::follow(client, inlet, until).await });
        }
        if let Some(oned) = config.oned.as_ref().filter(|oned| oned.leader_only) {
            let (client, told, until) = (Client::new(oned), engine.leadership(), stop_sources.clone());
            tracker.spawn(async move { leadership::run(client, told, until).await });
        }
        tracing::info!(
            store = %engine.handle().store().id(),
            state_dir = %config.state_dir.display(),
            hooks_dir = %config.hooks_dir.display(),
            socket = %config.control.socket.display(),
            "hem is up"
        );
        Ok(Self {
            engine,
            sources: tracker,
            repliers,
            control,
            stop_sources,
            stop_repliers,
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
        self.stop_sources.cancel();
        self.sources.close();
        self.sources.wait().await;
        let grace = self.handle().config().shutdown_grace;
        self.engine.drain(grace).await;
        self.stop_repliers.cancel();
        self.repliers.close();
        self.repliers.wait().await;
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
