//! What the control room and the sources may ask of a running engine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::acceptance::NO_MORE_ROUNDS;
use super::dispatcher::{Left, Message};
use super::execution::{Actor, Execution};
use super::feed::Feed;
use super::hooks_in_force::HooksInForce;
use super::intake::{Emission, Emitter};
pub use super::known_states::{CatchUpStatus, CatchUpTotals, GapStory, NotedOnly};
pub use super::live_output::LiveOutput;
use super::live_output::LiveOutputs;
use super::mute::{Mute, Scope, Then};
pub use super::outbox::OutboxStatus;
use super::pinned::pinned_hook;
pub use super::pool::{PoolInForce, PoolStatus, Remarks, UnusableHook};
use super::records::Records;
use super::reload::ReloadRequest;
use super::role::PresentRole;
pub use super::role::{Role, Standing};
use super::seek::SeekDesk;
pub use super::seek::{Aim, Sought};
use crate::config::{Changes, Config};
use crate::event::id::{ExecutionKey, HookName, Seq, StoreId};
use crate::event::time::Timestamp;
use crate::event::{Event, Gap};
use crate::hooks::fault::Fault;
use crate::hooks::invocation::OnehemShell;
use crate::hooks::pool::Shadowed;
use crate::hooks::{Defaults, Hook, HookSet};
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
    /// There is no such source.
    #[error("there is no source `{0}`")]
    NoSuchSource(Arc<str>),
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
    /// Something was muted, by an operator or by a policy.
    Muted(Arc<Mute>),
    /// A mute came to its end.
    Unmuted(Scope),
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
    /// How many of the queued ones are held by a mute.
    pub held: u64,
    /// The mutes in force.
    pub mutes: Vec<MuteStatus>,
    /// What waits or runs, by hook; hooks of which nothing does are left out.
    pub queue: Vec<QueueGroup>,
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
    /// Since when the hooks folder does not answer.
    pub silent_folder: Option<Timestamp>,
    /// Matches whose condition failed to be worked out.
    pub condition_errors: u64,
    /// Matches that came to nothing because their condition asks for an element the event does not have.
    pub absent_elements: u64,
    /// Milliseconds from receipt to acceptance: upper bounds of buckets and their counts.
    pub acceptance_millis: Vec<(u64, u64)>,
    /// The time from receipt to acceptance of all events in these buckets, added up.
    pub acceptance_total: Duration,
    /// How much the store keeps.
    pub kept: Kept,
    /// Set when no new work is accepted: why.
    pub not_accepting: Option<String>,
    /// Nothing is started or replied; what would run is recorded.
    pub observing: bool,
    /// The part this hem plays among those of several front-ends; none where it always works.
    pub role: Option<Role>,
    /// How the telling of results to controllers goes, by source.
    pub outboxes: BTreeMap<String, OutboxStatus>,
    /// How it stands with the controller's own hooks, where they are to run.
    pub pool: Option<PoolStatus>,
}

impl Status {
    /// Since when the execution is queued that has been for longest, held ones included.
    pub fn oldest_queued(&self) -> Option<Timestamp> {
        self.queue.iter().filter_map(|group| group.oldest).min()
    }
}

/// How much the store keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Events that matched something.
    pub matched_events: u64,
    /// Events that matched nothing.
    pub unmatched_events: u64,
    /// Bytes of payloads and outputs, as stored.
    pub bytes: u64,
}

/// A mute, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MuteStatus {
    /// The mute.
    pub mute: Mute,
    /// Queued executions under it. One that several mutes cover counts for each of them.
    pub held: u64,
}

/// What of one hook waits or runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueGroup {
    /// The hook.
    pub hook: HookName,
    /// Executions that are queued.
    pub queued: u64,
    /// How many of those are held by a mute.
    pub held: u64,
    /// Executions that wait out the hook's `debounce`.
    pub debouncing: u64,
    /// Executions that wait for an automatic retry.
    pub retrying: u64,
    /// Scripts that run.
    pub running: u64,
    /// When the first of the queued ones began to wait.
    pub oldest: Option<Timestamp>,
    /// About how long it takes until the queued ones that nothing holds have run, at the present pace; none while that is
    /// not known.
    pub left: Option<Duration>,
}

/// What muting did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muted {
    /// The mute.
    pub mute: Mute,
    /// Queued executions that it holds.
    pub held: u64,
    /// Scripts under it that run on.
    pub running: u64,
}

/// What taking a mute back did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unmuted {
    /// Executions that run or wait for their turn again.
    pub released: u64,
    /// Executions that another mute still holds.
    pub still_held: u64,
    /// Executions that were skipped: superseded or dropped.
    pub skipped: u64,
    /// Executions that were cancelled: dropped, though they had been tried before.
    pub cancelled: u64,
}

/// What stopping a hook does, or did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopCounts {
    /// Executions that wait and are cancelled: queued, held, debouncing, or waiting for a retry.
    pub cancelled: u64,
    /// Scripts that run and are ended.
    pub ended: u64,
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
    /// The last time in which events may have passed unseen.
    pub last_gap: Option<Gap>,
    /// How often the connection was made.
    pub connects: u64,
    /// Refused messages by reason.
    pub refused: BTreeMap<String, u64>,
    /// Messages that were taken and have something odd about them, by what that is.
    pub noted: BTreeMap<String, u64>,
    /// How catching up with it goes; none where its controller cannot be asked.
    pub catch_up: Option<CatchUpStatus>,
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
    /// Faults found; of files with errors the last good version stays in force.
    pub faults: Vec<Fault>,
    /// Why the former set was kept whole, where it was (more than half of the hooks gone; `--accept` takes it).
    pub kept: Option<String>,
    /// The settings of the configuration that changed.
    pub settings: Changes,
    /// Why the configuration was refused; the former one stays in force, whole.
    pub configuration: Option<String>,
}

impl ReloadReport {
    /// Whether other hooks are in force than before.
    pub(super) fn changes_hooks(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty())
    }
}

/// Between two looks at whether the matching thread made its round.
const ROUND: Duration = Duration::from_millis(20);

/// A running engine, as the control room sees it. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) store: Store,
    /// The configuration, as far as it is in force.
    pub(super) config: Arc<ArcSwap<Config>>,
    pub(super) hooks: Arc<HooksInForce>,
    pub(super) dispatcher: mpsc::Sender<Message>,
    pub(super) reloads: mpsc::Sender<ReloadRequest>,
    pub(super) feed: Feed,
    pub(super) defaults: Defaults,
    /// Counts the rounds of the matching thread.
    pub(super) rounds: Arc<AtomicU64>,
    pub(super) emitter: Emitter,
    pub(super) role: Arc<PresentRole>,
    pub(super) onehem_shell: OnehemShell,
    /// What the scripts that run have written.
    pub(super) outputs: LiveOutputs,
    pub(super) seeks: SeekDesk,
    pub(super) stop: CancellationToken,
}

impl Handle {
    /// The store, for reading.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The configuration in force: that of the start, with what was changed since and can be taken up.
    pub fn config(&self) -> Arc<Config> {
        self.config.load_full()
    }

    /// The hooks in force, disabled ones included.
    pub fn hooks(&self) -> Arc<HookSet> {
        Arc::clone(&self.hooks.now().set)
    }

    /// What is known of those hooks in force that the controller keeps.
    pub fn pool(&self) -> Arc<PoolInForce> {
        Arc::clone(&self.hooks.now().pool)
    }

    /// The controller's hooks that do not run because a hook of the folder stands for them.
    pub fn shadowed(&self) -> Arc<[Shadowed]> {
        Arc::clone(&self.hooks.now().shadowed)
    }

    /// What operators said about hooks, whatever their files say.
    pub fn overrides(&self) -> BTreeMap<HookName, Override> {
        self.hooks.now().overrides.clone()
    }

    /// Whether a shell may read command lines of hooks of the `onehem` profile.
    pub fn onehem_shell(&self) -> OnehemShell {
        self.onehem_shell
    }

    /// Whether hem only records what would run.
    pub fn observes(&self) -> bool {
        self.role.observes()
    }

    /// What whoever asks for a script to be started is told, where that is not done.
    ///
    /// # Errors
    /// When hem only observes, or stands by.
    pub fn may_start(&self) -> Result<(), OrderError> {
        self.role.starts_nothing().map_or(Ok(()), Err)
    }

    /// Why hem stands by; none while it works.
    pub fn standby(&self) -> Option<String> {
        self.role.standby()
    }

    /// How the engine does.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn status(&self) -> Result<Status, Stopping> {
        self.ask(|reply| Message::Status { reply }).await
    }

    /// What may be looked up of events and of what they caused.
    pub fn records(&self) -> Records {
        Records {
            store: self.store.clone(),
            feed: self.feed.clone(),
        }
    }

    /// Everything that becomes durable from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.feed.subscribe()
    }

    /// What the attempt of an execution that runs has written so far; none where none runs. It is shown until the record has it.
    pub fn live_output(&self, key: &ExecutionKey) -> Option<LiveOutput> {
        self.outputs.of(key)
    }

    /// Reopens settled executions for one more attempt each; answers when that is durable, in the order of `keys`.
    ///
    /// # Errors
    /// When the engine is stopping; what cannot be done for one execution stands in its place of the answer.
    pub async fn retry(
        &self,
        keys: Vec<ExecutionKey>,
        as_recorded: bool,
        actor: Actor,
    ) -> Result<Vec<Result<(), OrderError>>, Stopping> {
        let (store, in_force, defaults) = (self.store.clone(), self.hooks.now(), self.defaults.clone());
        let keys = tokio::task::spawn_blocking(move || {
            keys.into_iter()
                .map(|key| {
                    let hook = if as_recorded {
                        recorded_hook(&store, &key, &defaults)
                    } else {
                        in_force.set.get(&key.hook).cloned()
                    };
                    (key, hook)
                })
                .collect()
        })
        .await
        .map_err(|_| Stopping)?;
        self.ask(|reply| Message::Retry {
            keys,
            as_recorded,
            actor,
            reply,
        })
        .await
    }

    /// Cancels an execution that waits, or ends the one that runs.
    ///
    /// # Errors
    /// When it has ended already or is not known.
    pub async fn cancel(&self, key: ExecutionKey, actor: Actor) -> Result<(), OrderError> {
        self.ask(|reply| Message::Cancel { key, actor, reply }).await?
    }

    /// Mutes a scope: what its events cause is kept and not started, until the mute ends; automatic retries wait too. Scripts
    /// that run go on. A former mute of the scope is replaced. Answers when it is durable.
    ///
    /// # Errors
    /// When the hook or the source is not known.
    pub async fn mute(
        &self,
        scope: Scope,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<Muted, OrderError> {
        self.ask(|reply| Message::Mute {
            scope,
            length,
            reason,
            actor,
            reply,
        })
        .await?
    }

    /// Takes a mute back; answers when that is durable.
    ///
    /// # Errors
    /// When the scope is not muted.
    pub async fn unmute(&self, scope: Scope, then: Then, actor: Actor) -> Result<Unmuted, OrderError> {
        self.ask(|reply| Message::Unmute {
            scope,
            then,
            actor,
            reply,
        })
        .await?
    }

    /// What [`Handle::stop_hook`] would cancel and end now.
    ///
    /// # Errors
    /// When there is no such hook.
    pub async fn stop_counts(&self, hook: HookName) -> Result<StopCounts, OrderError> {
        self.ask(|reply| Message::StopCounts { hook, reply }).await?
    }

    /// Stops a hook: mutes it, cancels what waits and ends what runs. Answers when that is durable.
    ///
    /// # Errors
    /// When there is no such hook.
    pub async fn stop_hook(
        &self,
        hook: HookName,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
    ) -> Result<StopCounts, OrderError> {
        self.ask(|reply| Message::StopHook {
            hook,
            length,
            reason,
            actor,
            reply,
        })
        .await?
    }

    /// Takes a synthetic event; with a hook, only that one is run, whatever its trigger says.
    ///
    /// # Errors
    /// When there is no such hook or it is disabled, or nothing is accepted at present.
    pub async fn emit(
        &self,
        event: Event,
        hook: Option<HookName>,
        actor: Actor,
    ) -> Result<Accepted, OrderError> {
        let (reply, accepted) = oneshot::channel();
        self.emitter.offer(Emission {
            event,
            hook,
            actor,
            reply,
        });
        accepted.await.map_err(|_| Stopping)?
    }

    /// Enables or disables a hook, durably, whatever its file says; `None` takes the override back.
    ///
    /// # Errors
    /// When there is no such hook.
    pub async fn set_enabled(
        &self,
        hook: HookName,
        enabled: Option<bool>,
        actor: Actor,
    ) -> Result<(), OrderError> {
        let in_force = self.hooks.now();
        if !in_force.knows(&hook) && !in_force.overrides.contains_key(&hook) {
            return Err(OrderError::NoSuchHook(hook));
        }
        let value = enabled.map(|enabled| Override {
            enabled,
            actor: actor.clone(),
            at: Timestamp::now(),
        });
        self.ask(|reply| Message::Override {
            hook,
            value,
            actor,
            reply,
        })
        .await?;
        Ok(())
    }

    /// Reads the configuration and the hooks folder now; `accept` takes a set that lost more than half of its hooks.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn reload(&self, accept: bool, actor: Actor) -> Result<ReloadReport, Stopping> {
        let (reply, report) = oneshot::channel();
        self.reloads
            .send(ReloadRequest { accept, actor, reply })
            .await
            .map_err(|_| Stopping)?;
        report.await.map_err(|_| Stopping)
    }

    /// Lets a source read from elsewhere; comes back when that is durable. The line in the audit log is durable before: whoever gave the
    /// order may go away while it is carried out.
    ///
    /// # Errors
    /// There is no such source, or it cannot do that now.
    pub async fn seek(
        &self,
        source: &str,
        aim: Aim,
        is_dry_run: bool,
        actor: Actor,
    ) -> Result<Vec<Sought>, OrderError> {
        // What cannot be done is not in the audit log.
        let possible = self.seeks.order(source, aim.clone(), true).await?;
        if is_dry_run {
            return Ok(possible);
        }
        self.audit(actor, "seek", &aim.in_audit(source)).await?;
        self.seeks.order(source, aim, false).await
    }

    /// Writes a line into the audit log; answers when it is durable.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn audit(&self, actor: Actor, action: &'static str, target: &str) -> Result<(), Stopping> {
        let target = target.to_owned();
        self.ask(|reply| Message::Audit {
            actor,
            action,
            target,
            reply,
        })
        .await
    }

    /// Comes back when the intake, the scheduler and the writer have each made a round: all three live.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn pulse(&self) -> Result<(), Stopping> {
        let before = self.rounds.load(Ordering::Relaxed);
        self.ask(|reply| Message::Pulse { reply }).await?;
        loop {
            match self.rounds.load(Ordering::Relaxed) {
                // It ends before the scheduler does, which still waits for scripts.
                NO_MORE_ROUNDS => return Err(Stopping),
                now if now != before => return Ok(()),
                _ => tokio::time::sleep(ROUND).await,
            }
        }
    }

    /// Asks the engine to stop: nothing new is started, what runs gets its grace.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Nothing more is started; comes back when what was to be started before has been.
    pub(super) async fn start_nothing_more(&self) -> Result<(), Stopping> {
        self.ask(|reply| Message::Stop { reply }).await
    }

    /// Takes up what a former life left.
    pub(super) async fn recover(&self, left: Left) -> Result<(), Stopping> {
        self.ask(|reply| Message::Recover { left, reply }).await
    }

    async fn ask<T>(&self, message: impl FnOnce(oneshot::Sender<T>) -> Message) -> Result<T, Stopping> {
        let (reply, answer) = oneshot::channel();
        self.dispatcher.send(message(reply)).await.map_err(|_| Stopping)?;
        answer.await.map_err(|_| Stopping)
    }
}

/// The hook in the version that an execution's record names.
fn recorded_hook(store: &Store, key: &ExecutionKey, defaults: &Defaults) -> Option<Arc<Hook>> {
    let execution = store.execution(key).ok()??;
    pinned_hook(store, &execution, defaults).ok()
}
