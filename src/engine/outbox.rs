//! The way back: attempts that ended and of which a controller is still to be told.
//!
//! What is owed is written with the attempt's end and taken out when the controller has acknowledged it, so each is told at
//! least once, whatever happens to the daemon or to the controller. What is told is made from the records when its turn comes.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::pinned::hook_of_version;
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};
use crate::hooks::invocation::{argument_line, command_shown};
use crate::hooks::{Defaults, Hook, Version};
pub use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};
use crate::store::writer::{Change, Writer};
use crate::store::{ReadError, Store};

/// A controller that was away is told of this many attempts of each hook, the newest; `oned` keeps no more of them
/// (`LOG_RETENTION` in oned.conf).
pub const NEWEST: usize = 20;

/// What a controller is told of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedAttempt {
    /// The controller's number of the hook.
    pub hook_id: u64,
    /// The arguments as one line.
    pub arguments: String,
    /// The command with its arguments, unless those went to its standard input.
    pub command: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// The host it ran on, where that is not this one.
    pub remote_host: Option<String>,
    /// It is not the first attempt for its event, or repeats an earlier execution.
    pub repeats: bool,
}

/// That a controller is still to be told of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its place in the order in which attempts ended.
    pub number: u64,
    /// The source whose controller it is.
    pub source: Arc<str>,
    /// The controller's number of the hook.
    pub hook_id: u64,
    /// The execution.
    pub execution: ExecutionKey,
    /// The attempt's number.
    pub attempt: u32,
    /// The version of the hook that ran.
    pub version: Version,
}

/// Something to tell now.
#[derive(Debug)]
pub struct Due {
    /// Names it to [`Results::delivered`].
    pub number: u64,
    /// What to tell.
    pub attempt: FinishedAttempt,
    /// It became due while the controller was away: there may be many of these at once.
    pub is_backlog: bool,
}

/// How the telling goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboxStatus {
    /// Attempts that are still to be told of.
    pub waiting: u64,
    /// Told and acknowledged since the daemon started.
    pub delivered: u64,
    /// Never to be told, because the controller was away for too long, or the record is gone.
    pub superseded: u64,
    /// Why the controller could not be told, and when, if that is how it stands.
    pub away: Option<(Timestamp, String)>,
}

/// All that is owed, by source. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Outbox {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    defaults: Defaults,
    /// Unset once the engine ends.
    writer: Mutex<Option<Writer>>,
    trays: BTreeMap<Arc<str>, Tray>,
    next_number: AtomicU64,
    /// The hook that was told of last. Many results in a row are of one hook, and to compile it anew takes longer than to tell.
    last_hook: Mutex<Option<Arc<Hook>>>,
    /// Nothing is told for now.
    paused: AtomicBool,
}

#[derive(Debug, Default)]
struct Tray {
    queue: Mutex<Queue>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    owed: VecDeque<Owed>,
    status: OutboxStatus,
    /// What has this number or a lower one became due while the controller was away.
    backlog: u64,
    closed: bool,
}

impl Tray {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out one that cannot be told.
    fn give_up(&self, number: u64) {
        let mut queue = self.queue();
        let was_first = queue.take(number);
        queue.status.superseded += u64::from(was_first);
    }
}

impl Queue {
    /// Leaves the newest of each hook; gives the numbers of the others.
    fn supersede(&mut self) -> Vec<u64> {
        let mut kept: HashMap<u64, usize> = HashMap::new();
        let mut superseded = Vec::new();
        let mut rest = VecDeque::with_capacity(self.owed.len());
        for owed in self.owed.drain(..).rev() {
            let count = kept.entry(owed.hook_id).or_default();
            *count += 1;
            if *count > NEWEST {
                superseded.push(owed.number);
            } else {
                rest.push_front(owed);
            }
        }
        self.owed = rest;
        self.status.superseded += superseded.len() as u64;
        superseded
    }

    /// Takes the one with this number out, if it is still the first.
    fn take(&mut self, number: u64) -> bool {
        let is_first = self.owed.front().is_some_and(|owed| owed.number == number);
        if is_first {
            self.owed.pop_front();
        }
        is_first
    }
}

impl Outbox {
    /// What the store says is owed to these sources' controllers, all of it backlog.
    pub(super) fn open(
        store: &Store,
        writer: &Writer,
        defaults: &Defaults,
        sources: impl Iterator<Item = Arc<str>>,
    ) -> Result<Self, ReadError> {
        let mut trays: BTreeMap<Arc<str>, Tray> = sources.map(|source| (source, Tray::default())).collect();
        let mut last = 0;
        for owed in store.owed()? {
            last = owed.number;
            if let Some(tray) = trays.get_mut(&owed.source) {
                let queue = tray.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
                queue.backlog = owed.number;
                queue.owed.push_back(owed);
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                store: store.clone(),
                defaults: defaults.clone(),
                writer: Mutex::new(Some(writer.clone())),
                trays,
                next_number: AtomicU64::new(last + 1),
                last_hook: Mutex::default(),
                paused: AtomicBool::new(false),
            }),
        })
    }

    /// What is owed for an attempt of `hook` that ended, if a controller waits for it. To be written with the attempt's end and
    /// posted when that is durable.
    pub(super) fn owed_for(&self, hook: &Hook, execution: &ExecutionKey, attempt: u32) -> Option<Owed> {
        let hook_id = hook.oned_id?;
        let source = match self.shared.store.source_of(execution.event) {
            Ok(source) => source?,
            Err(error) => {
                tracing::warn!(%execution, error = &error as &dyn std::error::Error, "cannot tell whose event it was; its result is not reported");
                return None;
            }
        };
        let (source, _) = self.shared.trays.get_key_value(source.as_str())?;
        Some(Owed {
            number: self.shared.next_number.fetch_add(1, Ordering::Relaxed),
            source: Arc::clone(source),
            hook_id,
            execution: execution.clone(),
            attempt,
            version: hook.version,
        })
    }

    /// Has it told.
    pub(super) fn post(&self, owed: Owed) {
        if let Some(tray) = self.shared.trays.get(&owed.source) {
            let mut queue = tray.queue();
            if queue.status.away.is_some() {
                queue.backlog = owed.number;
            }
            queue.owed.push_back(owed);
            drop(queue);
            tray.changed.notify_waiters();
        }
    }

    /// Tells nothing until [`resume`](Self::resume); what is owed stays so.
    pub(super) fn pause(&self) {
        self.shared.paused.store(true, Ordering::Relaxed);
    }

    /// Tells again. What was held back meanwhile is backlog.
    pub(super) fn resume(&self) {
        self.shared.paused.store(false, Ordering::Relaxed);
        for tray in self.shared.trays.values() {
            let mut queue = tray.queue();
            queue.backlog = queue.owed.back().map_or(queue.backlog, |owed| owed.number);
            drop(queue);
            tray.changed.notify_waiters();
        }
    }

    /// The end at which a source's results come out.
    pub(super) fn results(&self, source: &str) -> Option<Results> {
        let (source, _) = self.shared.trays.get_key_value(source)?;
        Some(Results {
            shared: Arc::clone(&self.shared),
            source: Arc::clone(source),
        })
    }

    /// How the telling goes, by source.
    pub(super) fn status(&self) -> BTreeMap<String, OutboxStatus> {
        let trays = self.shared.trays.iter();
        trays
            .map(|(source, tray)| {
                let queue = tray.queue();
                let waiting = queue.owed.len() as u64;
                (
                    source.to_string(),
                    OutboxStatus {
                        waiting,
                        ..queue.status.clone()
                    },
                )
            })
            .collect()
    }

    /// Waits until what can be told has been, `grace` at most, and ends it. What is left is told by the next life.
    pub(super) async fn finish(&self, grace: Duration) {
        let all_told = async {
            for tray in self.shared.trays.values() {
                loop {
                    let changed = tray.changed.notified();
                    tokio::pin!(changed);
                    // From here on no change is missed.
                    changed.as_mut().enable();
                    {
                        let queue = tray.queue();
                        if self.shared.is_paused() || queue.owed.is_empty() || queue.status.away.is_some() {
                            break;
                        }
                    }
                    changed.await;
                }
            }
        };
        // What takes longer is told by the next life.
        let _ = tokio::time::timeout(grace, all_told).await;
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for tray in self.shared.trays.values() {
            tray.queue().closed = true;
            tray.changed.notify_waiters();
        }
        drop(writer);
    }
}

/// The results that one source's controller is to be told, in the order in which the attempts ended.
#[derive(Debug, Clone)]
pub struct Results {
    shared: Arc<Shared>,
    source: Arc<str>,
}

impl Results {
    /// The next one, which stays the next one until it is [`delivered`](Self::delivered). None when the engine ends.
    pub async fn next(&self) -> Option<Due> {
        let tray = self.tray()?;
        loop {
            let changed = tray.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let (first, backlog) = {
                let queue = tray.queue();
                if queue.closed {
                    return None;
                }
                let first = queue.owed.front().filter(|_| !self.shared.is_paused());
                (first.cloned(), queue.backlog)
            };
            let Some(owed) = first else {
                changed.await;
                continue;
            };
            let (shared, number) = (Arc::clone(&self.shared), owed.number);
            let is_backlog = number <= backlog;
            // Reading may wait for the disk, and laying out a large document takes its time.
            let finished = tokio::task::spawn_blocking(move || shared.finished(&owed)).await;
            match finished {
                Ok(Ok(attempt)) => {
                    return Some(Due {
                        number,
                        attempt,
                        is_backlog,
                    });
                }
                Ok(Err(why)) => tracing::warn!(source = %self.source, why, "a result cannot be reported"),
                Err(panic) => {
                    tracing::error!(source = %self.source, %panic, "laying out a result failed; it is not reported");
                }
            }
            tray.give_up(number);
            self.settle(vec![number]).await;
        }
    }

    /// The controller acknowledged it.
    pub async fn delivered(&self, number: u64) {
        let Some(tray) = self.tray() else { return };
        {
            let mut queue = tray.queue();
            let was_first = queue.take(number);
            queue.status.away = None;
            queue.status.delivered += u64::from(was_first);
        }
        tray.changed.notify_waiters();
        self.settle(vec![number]).await;
    }

    /// The controller could not be told. While it is away, of each hook only the newest results are kept for it.
    pub async fn not_delivered(&self, why: &str) {
        let Some(tray) = self.tray() else { return };
        let superseded = {
            let mut queue = tray.queue();
            let since = queue
                .status
                .away
                .as_ref()
                .map_or_else(Timestamp::now, |(since, _)| *since);
            queue.status.away = Some((since, why.to_owned()));
            queue.backlog = queue.owed.back().map_or(queue.backlog, |owed| owed.number);
            queue.supersede()
        };
        tray.changed.notify_waiters();
        self.settle(superseded).await;
    }

    fn tray(&self) -> Option<&Tray> {
        self.shared.trays.get(&self.source)
    }

    /// Takes what is no longer owed out of the store. Nobody waits for that: what is told twice does no harm.
    async fn settle(&self, numbers: Vec<u64>) {
        let writer = self
            .shared
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(writer) = writer
            && !numbers.is_empty()
        {
            let changes = numbers.into_iter().map(Change::NoLongerOwed).collect();
            // After a failed write the next life tells it again.
            let _ = writer.submit(changes, || ()).await;
        }
    }
}

impl Shared {
    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// What there is to tell, from the records; or why it cannot be told.
    fn finished(&self, owed: &Owed) -> Result<FinishedAttempt, String> {
        let of = &owed.execution;
        let unreadable =
            |error: ReadError| format!("attempt {} of {of} cannot be read: {error}", owed.attempt);
        let gone = || format!("attempt {} of {of} is no longer in the store", owed.attempt);
        let event = self
            .store
            .event(of.event)
            .map_err(unreadable)?
            .ok_or_else(gone)?
            .event;
        let attempts = self.store.attempts(of).map_err(unreadable)?;
        let attempt = attempts
            .into_iter()
            .find(|attempt| attempt.number == owed.attempt);
        let ended = attempt.and_then(|attempt| attempt.ended).ok_or_else(gone)?;
        let hook = self.hook(owed)?;
        Ok(FinishedAttempt {
            hook_id: owed.hook_id,
            // What cannot be made from the event did not start, and the outcome says so.
            arguments: argument_line(&hook, &event).unwrap_or_default(),
            command: command_shown(&hook, &event),
            outcome: ended.outcome,
            stdout: ended.stdout,
            stderr: ended.stderr,
            remote_host: remote_host(&hook, &event),
            repeats: owed.attempt > 1 || matches!(event.facts, Facts::Retry(_)),
        })
    }

    /// The hook in the version that ran.
    fn hook(&self, owed: &Owed) -> Result<Arc<Hook>, String> {
        let name = &owed.execution.hook;
        let last = || self.last_hook.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = &*last()
            && hook.version == owed.version
            && hook.name == *name
        {
            return Ok(Arc::clone(hook));
        }
        let hook = hook_of_version(&self.store, name, owed.version, &self.defaults)
            .map_err(|error| error.to_string())?;
        *last() = Some(Arc::clone(&hook));
        Ok(hook)
    }
}

/// The host that `onehem-server` names: that of a hook that runs on other hosts, and any that a RETRY message came with.
fn remote_host(hook: &Hook, event: &Event) -> Option<String> {
    let is_said = hook.action.remote || matches!(event.facts, Facts::Retry(_));
    event.host().filter(|_| is_said).map(str::to_owned)
}
