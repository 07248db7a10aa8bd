//! The scheduler: a pure core that decides, and a dispatcher that carries its effects out.
//!
//! [`Engine::start`] may be called more than once in one process: there are no globals.

mod acceptance;
mod acceptance_times;
mod attempt;
pub mod bookmark;
pub mod catch_up;
mod clock;
pub mod core;
mod dispatcher;
pub mod execution;
mod feed;
pub mod handle;
mod hooks_in_force;
pub mod intake;
pub mod known_states;
mod live_output;
pub mod mute;
mod offer;
pub mod outbox;
mod past;
pub mod pinned;
pub mod pool;
pub mod records;
mod reload;
pub mod role;
mod room;
pub mod seek;
mod vital;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::acceptance::{Acceptance, Tracked};
use self::attempt::Attempts;
use self::catch_up::CatchUp;
use self::dispatcher::{Dispatcher, Left, Parts, QUEUE, Unsettled};
use self::execution::{Actor, State};
use self::feed::Feed;
use self::handle::{Handle, SourceStatus};
use self::hooks_in_force::HooksInForce;
use self::intake::{Decode, IntakeQueue};
use self::known_states::KnownStates;
use self::live_output::LiveOutputs;
use self::outbox::{Outbox, Results};
use self::past::past;
use self::pinned::pinned_hook;
use self::pool::{Followed, Inlet, PoolDesk};
use self::records::Records;
use self::reload::{Reloader, Settings};
use self::role::{Leadership, PresentRole};
use self::room::Room;
use self::seek::{Seek, SeekDesk};
use self::vital::Vitals;
use crate::config::{Config, Oned, Permissions, Reload, Reread};
use crate::event::id::StoreId;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::hooks::check::CheckOptions;
use crate::hooks::watch::watch;
use crate::hooks::{Defaults, Hook, Version};
use crate::kill_point;
use crate::runner::Runner;
use crate::runner::leftovers::{Recorded, boot_id, end_leftovers};
use crate::runner::ssh::Ssh;
use crate::store::writer::{Change, Writer, durable};
use crate::store::{ReadError, Store};

/// Between TERM and KILL for processes that a former life left behind.
const LEFTOVERS_GRACE: Duration = Duration::from_secs(5);

/// How long the daemon's end waits for controllers to be told what the last scripts came to.
const TELLING_GRACE: Duration = Duration::from_secs(2);

/// A source as the engine sees it: its messages come through the intake, this makes events of them.
pub struct Source {
    /// Its name, as configured.
    pub name: String,
    /// Makes events of its messages; none where it hands events over.
    pub decoder: Option<Arc<dyn Decode>>,
    /// What is known of its connection so far.
    pub status: SourceStatus,
    /// The controller behind it, where the hooks that it keeps are to run.
    pub pool: Option<Followed>,
}

/// Why the engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no thread or process.
    #[error("cannot start the engine's threads")]
    Threads(#[source] io::Error),
    /// What a former life left cannot be read.
    #[error("cannot read what is still to be done")]
    Read(#[source] ReadError),
    /// The store took no writes.
    #[error("the store takes no writes")]
    Closed,
}

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    handle: Handle,
    vitals: Vitals,
    writer: Writer,
    runner: Runner,
    outbox: Outbox,
    /// The source whose controller can be asked what was missed, and the end by which it is.
    catch_up: Option<(Arc<str>, CatchUp)>,
    /// Until somebody takes it.
    inlet: Option<Inlet>,
    tasks: TaskTracker,
    attempts: TaskTracker,
    /// Nothing new is accepted.
    closing: CancellationToken,
    /// The daemon stops: what is ended from then on was interrupted.
    draining: CancellationToken,
    /// All scripts end.
    ending: CancellationToken,
    /// Everything ends.
    stop: CancellationToken,
    matching: JoinHandle<()>,
    writing: JoinHandle<()>,
}

impl Engine {
    /// Takes up what is unsettled in the store, reads the hooks folder, and begins to accept what `queue` brings. `reread` is
    /// asked for the configuration when somebody wants a reload.
    /// `redaction` is what own events do not carry on.
    /// `began_anew` is the last sign of life of a damaged store that this one stands in for.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(
        config: &Config,
        redaction: Redaction,
        strict_hooks: bool,
        reread: Option<Arc<dyn Reread>>,
        (store, began_anew): (Store, Option<Timestamp>),
        queue: IntakeQueue,
        sources: Vec<Source>,
    ) -> Result<Self, StartError> {
        let defaults = Defaults {
            scripts_dir: config.scripts_dir.clone(),
            onehem_scripts_dir: config.onehem_scripts_dir.clone(),
            remote_scripts_dir: config.remote_scripts_dir.clone(),
            catch_up: config.oned.as_ref().is_some_and(|oned| oned.catch_up),
        };
        let ssh = Ssh {
            config: config.ssh.config.clone(),
            sockets: config
                .ssh
                .share
                .then(|| config.control.socket.with_file_name("ssh")),
        };
        let runner = Runner::start()
            .map_err(StartError::Threads)?
            .sharing(ssh.clone(), for_connections(store.id()));
        let left = unsettled(&store, &defaults).map_err(StartError::Read)?;
        let recorded = recorded(&store, &left);
        for leftover in end_leftovers(store.id().as_str(), &recorded, LEFTOVERS_GRACE).await {
            tracing::warn!(
                pid = leftover.pid,
                command = leftover.command,
                "ended a process of a former life"
            );
        }
        kill_point::reach("recovery");
        let mutes = store.mutes().map_err(StartError::Read)?;
        let overrides = store.overrides().map_err(StartError::Read)?;
        let (writer, writing) =
            Writer::start(store.clone(), config.retention.clone()).map_err(StartError::Threads)?;

        let hooks = Arc::new(HooksInForce::new(overrides));
        let (dispatcher, inbox) = mpsc::channel(QUEUE);
        let feed = Feed::new();
        let (tasks, attempts) = (TaskTracker::new(), TaskTracker::new());
        let (closing, draining, ending, stop) = (
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
            CancellationToken::new(),
        );
        // The hooks of a zone with several front-ends run on the one that leads: until it is known which that is, on none.
        let leader_only = config.oned.as_ref().is_some_and(|oned| oned.leader_only);
        let role = Arc::new(PresentRole::at_start(leader_only, config.observe));
        if config.observe {
            tracing::warn!(
                "observing: what would run is recorded, nothing is started and nothing is replied"
            );
        }
        let last_led = store.led().map_err(StartError::Read)?;
        let room = Arc::new(Room::new(config.state_dir.clone(), config.limits.clone()));
        let mut connections = BTreeMap::new();
        let mut decoders = BTreeMap::new();
        let controllers = sources.iter().filter(|source| source.decoder.is_some());
        let names_source = controllers.count() > 1;
        let mut followed = None;
        for source in sources {
            if let Some(decoder) = source.decoder {
                decoders.insert(Arc::from(source.name.as_str()), decoder);
            }
            if let Some(pool) = source.pool {
                followed = Some((source.name.clone(), pool));
            }
            connections.insert(source.name, source.status);
        }
        let connections = Arc::new(Mutex::new(connections));
        let outbox =
            Outbox::open(&store, &writer, &defaults, decoders.keys().cloned()).map_err(StartError::Read)?;

        let check = CheckOptions {
            defaults: defaults.clone(),
            permissions: config.permissions,
        };
        let (mut reloader, mut of_pools) = Reloader::new(
            config.hooks_dir.clone(),
            check,
            strict_hooks,
            &store,
            Arc::clone(&hooks),
            dispatcher.clone(),
        )
        .map_err(StartError::Read)?;
        let (desk, inlet) = followed
            .map(|(source, pool)| PoolDesk::new(&source, names_source, pool, &mut of_pools, &defaults))
            .unzip();
        let shared_pool = desk.as_ref().map(|desk| desk.shared().clone());
        reloader.pool = desk;
        reloader.forgotten = of_pools.forgotten();

        let outputs = LiveOutputs::default();
        let works = Dispatcher::new(Parts {
            store: store.clone(),
            writer: writer.clone(),
            attempts: Arc::new(Attempts {
                store: store.clone(),
                writer: writer.clone(),
                runner: runner.clone(),
                environment: environment(),
                shell: config.onehem_shell,
                ssh,
                refuses_open_programs: config.permissions == Permissions::Strict,
                boot_id: boot_id(),
                outputs: outputs.clone(),
            }),
            hooks: Arc::clone(&hooks),
            connections: Arc::clone(&connections),
            room: Arc::clone(&room),
            outbox: outbox.clone(),
            pool: shared_pool.clone(),
            role: Arc::clone(&role),
            last_led,
            feed: feed.clone(),
            tracker: attempts.clone(),
            inbox: dispatcher.clone(),
            emitter: queue.emitter(),
            redaction,
            concurrency: config.concurrency,
            blocked_after: config.blocked_after,
            draining: draining.clone(),
            ending: ending.clone(),
        });
        let vitals = Vitals::default();
        let (watched, until) = (vitals.watch("the dispatcher", &draining), stop.clone());
        tasks.spawn(async move {
            let _watched = watched;
            works.run(inbox, until).await;
        });

        // The hooks come into force before what was left is taken up and the first event is matched.
        let in_force = Arc::new(ArcSwap::from_pointee(config.clone()));
        reloader.settings = reread.map(|reread| Settings {
            reread,
            in_force: Arc::clone(&in_force),
            room: Arc::clone(&room),
            writer: writer.clone(),
        });
        let hints = match config.reload {
            Reload::Auto => watch(config.hooks_dir.clone(), hooks.looks(), &tasks, stop.clone()).await,
            Reload::Manual => mpsc::channel(1).1,
        };
        reloader
            .reload(false, Actor::Daemon, None)
            .await
            .ok_or(StartError::Closed)?;
        let (reloads, requests) = mpsc::channel(16);
        let (watched, until) = (
            vitals.watch("the reader of the hooks folder", &draining),
            stop.clone(),
        );
        tasks.spawn(async move {
            let _watched = watched;
            reloader.run(hints, requests, until).await;
        });

        let (tracked, catch_up) = match &config.oned {
            Some(oned) if decoders.contains_key(oned.source.as_str()) => {
                let known = known_states(&store, oned).map_err(StartError::Read)?;
                let (open, is_open) = watch::channel(known.is_open() && role.standby().is_none());
                let catch_up = CatchUp {
                    intake: queue.source(&oned.source),
                    open: is_open,
                };
                let source = Arc::clone(known.source());
                (Some(Tracked::new(known, open)), Some((source, catch_up)))
            }
            _ => (None, None),
        };
        let forgotten = baselines_of_others(&store, catch_up.as_ref().map(|(source, _)| &**source))
            .map_err(StartError::Read)?;
        if !forgotten.is_empty() {
            durable(&writer, forgotten)
                .await
                .map_err(|_| StartError::Closed)?;
        }
        let rounds = Arc::new(AtomicU64::new(0));
        let emitter = queue.emitter();
        let acceptance = Acceptance {
            queue,
            decoders,
            hooks: Arc::clone(&hooks),
            store: store.clone(),
            dispatcher: dispatcher.clone(),
            connections,
            room,
            works: role.standby().is_none(),
            role: Arc::clone(&role),
            rounds: Arc::clone(&rounds),
            last_seq: store.summary().last_seq,
            began_anew,
            shut_out: BTreeMap::new(),
            missed: BTreeMap::new(),
            pool: shared_pool,
            tracked,
        };
        let handle = Handle {
            store,
            config: in_force,
            hooks,
            dispatcher,
            reloads,
            feed,
            defaults,
            rounds,
            emitter,
            role,
            onehem_shell: config.onehem_shell,
            outputs,
            seeks: SeekDesk::default(),
            stop: CancellationToken::new(),
        };
        let past = past(handle.store(), &handle.hooks(), Timestamp::now());
        handle
            .recover(Left {
                unsettled: left,
                mutes,
                past,
            })
            .await
            .map_err(|_| StartError::Closed)?;
        kill_point::reach("recovery");
        let (watched, closes) = (vitals.watch("the matching thread", &draining), closing.clone());
        let matching = std::thread::Builder::new()
            .name("matching".to_owned())
            .spawn(move || {
                let _watched = watched;
                acceptance.run(&closes);
            })
            .map_err(StartError::Threads)?;

        Ok(Self {
            handle,
            vitals,
            writer,
            runner,
            outbox,
            catch_up,
            inlet,
            tasks,
            attempts,
            closing,
            draining,
            ending,
            stop,
            matching,
            writing,
        })
    }

    /// The end by which a source catches up with what it missed. It can be taken once; None for a source whose controller is
    /// not asked.
    pub fn catch_up(&mut self, source: &str) -> Option<CatchUp> {
        self.catch_up
            .take_if(|(tracked, _)| **tracked == *source)
            .map(|(_, catch_up)| catch_up)
    }

    /// Where a source gets its orders to read from elsewhere.
    pub fn seeks(&self, source: &str) -> mpsc::Receiver<Seek> {
        self.handle.seeks.inlet(source)
    }

    /// What the controller behind a source is to be told. None for a source that the engine does not know.
    pub fn results(&self, source: &str) -> Option<Results> {
        self.outbox.results(source)
    }

    /// Where the controller's own hooks are handed over, once, if they are to run.
    pub fn take_inlet(&mut self) -> Option<Inlet> {
        self.inlet.take()
    }

    /// The end at which it is told how the controller's daemon stands. To be used where hooks run only while that one leads.
    pub fn leadership(&self) -> Leadership {
        Leadership {
            dispatcher: self.handle.dispatcher.clone(),
        }
    }

    /// What sources may look up.
    pub fn records(&self) -> Records {
        self.handle.records()
    }

    /// What the control room works with.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Comes back when somebody asked the engine to stop through its handle, or it cannot go on.
    ///
    /// # Errors
    /// Why it cannot go on.
    pub async fn until_stopped(&self) -> Result<(), Failed> {
        tokio::select! {
            biased;
            () = self.handle.stop.cancelled() => Ok(()),
            () = self.writer.failed().cancelled() => Err(Failed::Store),
            part = self.vitals.failed() => Err(Failed::Part(part)),
        }
    }

    /// Accepts what was received, starts nothing more, gives running scripts `grace` to end, ends the rest, and comes back
    /// when everything is written. What did not end is taken up by the next life.
    pub async fn drain(self, grace: Duration) {
        let Self {
            handle,
            vitals: _,
            writer,
            runner,
            outbox,
            catch_up: _,
            inlet: _,
            tasks,
            attempts,
            closing,
            draining,
            ending,
            stop,
            matching,
            writing,
        } = self;
        draining.cancel();
        // After a failed write the dispatcher is gone, and nothing is started any more anyway.
        let _ = handle.start_nothing_more().await;
        // What waits in the intake was received: it is accepted while there is still somebody to do it. Operators add nothing
        // to it, or a script of theirs that does so without a pause would keep the engine from stopping.
        handle.emitter.close();
        closing.cancel();
        join(matching).await;
        attempts.close();
        if tokio::time::timeout(grace, attempts.wait()).await.is_err() {
            tracing::warn!(running = attempts.len(), "scripts still run and are ended");
            ending.cancel();
            attempts.wait().await;
        }
        runner.close_connections().await;
        // The last word of each attempt is on its way through the dispatcher; what follows it is behind it.
        let _ = handle.status().await;
        outbox.finish(TELLING_GRACE).await;
        stop.cancel();
        tasks.close();
        tasks.wait().await;
        drop((handle, writer));
        join(writing).await;
    }
}

async fn join(thread: JoinHandle<()>) {
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    if !matches!(joined, Ok(Ok(()))) {
        tracing::error!("a thread of the engine panicked");
    }
}

/// Why an engine cannot go on. Nothing was acknowledged since, and a restart takes up what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// A write or a sync failed.
    #[error("writing to the store failed; what was accepted is kept, and a restart takes it up")]
    Store,
    /// A part of the engine ended by itself, which is a fault of hem.
    #[error("{0} ended by itself, a fault of hem; what was accepted is kept, and a restart takes it up")]
    Part(&'static str),
}

/// What a former life knew of the resources of the controller that is asked.
fn known_states(store: &Store, oned: &Oned) -> Result<KnownStates, ReadError> {
    let source: Arc<str> = oned.source.as_str().into();
    let story = |record| {
        let story = store.gap_story(record).inspect_err(|error| {
            tracing::warn!(event = %record, error = error as &dyn std::error::Error, "what became of a gap is counted anew");
        });
        story.ok().flatten().unwrap_or_default()
    };
    let baseline = store.baselines()?.remove(&source);
    let states = store.known_states(&source)?;
    Ok(KnownStates::new(source, oned.max_gap, baseline, states, story))
}

/// Takes away what is known of sources but `tracked`: from now on nobody keeps it up, and one day it would pass for the truth.
fn baselines_of_others(store: &Store, tracked: Option<&str>) -> Result<Vec<Change>, ReadError> {
    let baselines = store.baselines()?.into_keys();
    let others = baselines.filter(|source| Some(&**source) != tracked);
    Ok(others
        .map(|source| Change::Baseline {
            source,
            baseline: None,
        })
        .collect())
}

/// What a former life left unsettled, with the hooks it is pinned to where those can be had.
fn unsettled(store: &Store, defaults: &Defaults) -> Result<Vec<Unsettled>, ReadError> {
    let mut compiled: HashMap<Version, Option<Arc<Hook>>> = HashMap::new();
    let left = store.unsettled()?.into_iter().map(|execution| {
        let hook = compiled.entry(execution.progress.version).or_insert_with(|| {
            pinned_hook(store, &execution, defaults)
                .inspect_err(|error| {
                    tracing::error!(execution = %execution.key, error = error as &dyn std::error::Error, "cannot take it up");
                })
                .ok()
        });
        let hook = hook.clone();
        (execution, hook)
    });
    Ok(left.collect())
}

/// The processes of the attempts that were running, as far as they were recorded.
fn recorded(store: &Store, left: &[Unsettled]) -> Vec<Recorded> {
    let running = left
        .iter()
        .filter(|(execution, _)| matches!(execution.progress.state, State::Running { .. }));
    running
        .filter_map(|(execution, _)| {
            let attempts = store.attempts(&execution.key).inspect_err(|error| {
                tracing::warn!(
                    execution = %execution.key, error = error as &dyn std::error::Error,
                    "its process is looked for by its environment alone"
                );
            });
            let process = attempts.ok()?.pop()?.process?;
            Some(Recorded {
                pid: process.pid,
                start_ticks: process.start_ticks,
                boot_id: process.boot_id?,
            })
        })
        .collect()
}

/// What the service manager told this process alone; a script must not answer for the daemon.
const NOT_FOR_SCRIPTS: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "LISTEN_PID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];

/// What the processes of shared connections get: what `ssh` reads, and the mark by which the next life finds them.
fn for_connections(instance: &StoreId) -> Vec<(OsString, OsString)> {
    let mark = ("HEM_INSTANCE".into(), instance.as_str().into());
    std::env::vars_os()
        .filter(|(name, _)| !NOT_FOR_SCRIPTS.iter().any(|own| name == own))
        .chain([mark])
        .collect()
}

fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter(|(name, _)| !NOT_FOR_SCRIPTS.iter().any(|own| name == own))
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .collect()
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("name", &self.name)
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}
