//! The way back: attempts that ended and of which a controller is still to be told.
//!
//! What is owed is written with the attempt's end and taken out when the controller has acknowledged it, so each is told at
//! least once, whatever happens to the daemon or to the controller. What is told was laid out with the attempt, and is kept in
//! memory while there is room; otherwise it is made from the records when its turn comes.

mod wording;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

pub(super) use self::wording::Wording;
use self::wording::WordingAnew;
use super::execution::EndedAttempt;
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;
use crate::hooks::{Defaults, Hook, Version};
pub use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};
use crate::store::writer::{Change, Writer};
use crate::store::{ReadError, Store};

/// A controller that was away is told of this many attempts of each hook, the newest; `oned` keeps no more of them
/// (`LOG_RETENTION` in oned.conf).
pub const NEWEST: usize = 20;

/// Bytes of results that are kept in memory until they are told; what is beyond that is read back when its turn comes.
const AT_HAND: usize = 4 << 20;

/// Acknowledgements that are written together, and how long one may wait for others: after a crash so many are told again.
const ACKNOWLEDGED_TOGETHER: usize = 32;
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(100);

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
    pub attempt: Arc<FinishedAttempt>,
    /// It became due while the controller was away: there may be many of these at once.
    pub is_backlog: bool,
}

/// What is owed, with what there is to tell where that is kept in memory.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) owed: Owed,
    at_hand: Option<AtHand>,
}

#[derive(Debug)]
struct AtHand {
    attempt: Arc<FinishedAttempt>,
    /// Its share of [`AT_HAND`].
    _room: OwnedSemaphorePermit,
}

impl AtHand {
    /// Keeps it in memory, if there is room.
    fn keep(attempt: FinishedAttempt, room: &Arc<Semaphore>) -> Option<Self> {
        let output = |captured: &Captured| captured.head.len() + captured.tail.len();
        let texts = attempt.arguments.len() + attempt.command.len();
        let bytes = size_of::<FinishedAttempt>() + texts + output(&attempt.stdout) + output(&attempt.stderr);
        let room = Arc::clone(room)
            .try_acquire_many_owned(u32::try_from(bytes).ok()?)
            .ok()?;
        Some(Self {
            attempt: Arc::new(attempt),
            _room: room,
        })
    }
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
    records: WordingAnew,
    /// Unset once the engine ends.
    writer: Mutex<Option<Writer>>,
    trays: BTreeMap<Arc<str>, Tray>,
    next_number: AtomicU64,
    /// For what is kept in memory, of all sources.
    room: Arc<Semaphore>,
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
    letters: VecDeque<Letter>,
    /// Acknowledged, and not yet taken out of the store; since when the oldest of them waits.
    acknowledged: Vec<u64>,
    acknowledged_since: Option<Instant>,
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
        let mut rest = VecDeque::with_capacity(self.letters.len());
        for letter in self.letters.drain(..).rev() {
            let count = kept.entry(letter.owed.hook_id).or_default();
            *count += 1;
            if *count > NEWEST {
                superseded.push(letter.owed.number);
            } else {
                rest.push_front(letter);
            }
        }
        self.letters = rest;
        self.status.superseded += superseded.len() as u64;
        superseded
    }

    /// Takes the one with this number out, if it is still the first.
    fn take(&mut self, number: u64) -> bool {
        let is_first = self
            .letters
            .front()
            .is_some_and(|letter| letter.owed.number == number);
        if is_first {
            self.letters.pop_front();
        }
        is_first
    }

    /// The number of the newest.
    fn newest(&self) -> Option<u64> {
        self.letters.back().map(|letter| letter.owed.number)
    }

    /// Notes an acknowledgement; gives those that are to be written now.
    fn acknowledge(&mut self, number: u64) -> Vec<u64> {
        self.acknowledged.push(number);
        let since = *self.acknowledged_since.get_or_insert_with(Instant::now);
        let is_time =
            self.acknowledged.len() >= ACKNOWLEDGED_TOGETHER || since.elapsed() >= ACKNOWLEDGED_WITHIN;
        if is_time {
            self.take_acknowledged()
        } else {
            Vec::new()
        }
    }

    /// The acknowledgements that are not written yet.
    fn take_acknowledged(&mut self) -> Vec<u64> {
        self.acknowledged_since = None;
        std::mem::take(&mut self.acknowledged)
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
                queue.letters.push_back(Letter { owed, at_hand: None });
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                records: WordingAnew::new(store, defaults),
                writer: Mutex::new(Some(writer.clone())),
                trays,
                next_number: AtomicU64::new(last + 1),
                room: Arc::new(Semaphore::new(AT_HAND)),
                paused: AtomicBool::new(false),
            }),
        })
    }

    /// What is owed for an attempt of `hook` that ended, if a controller waits for it. What is owed is to be written with the
    /// attempt's end, and the letter posted when that is durable.
    pub(super) fn letter(
        &self,
        hook: &Hook,
        execution: &ExecutionKey,
        attempt: u32,
        ended: &EndedAttempt,
        wording: Option<Wording>,
    ) -> Option<Letter> {
        let hook_id = hook.oned_id?;
        let source = match &wording {
            Some(wording) => Arc::clone(&wording.source),
            None => self.source_of(execution)?,
        };
        let (source, _) = self.shared.trays.get_key_value(&source)?;
        let owed = Owed {
            number: self.shared.next_number.fetch_add(1, Ordering::Relaxed),
            source: Arc::clone(source),
            hook_id,
            execution: execution.clone(),
            attempt,
            version: hook.version,
        };
        let at_hand = wording.and_then(|wording| {
            let (stdout, stderr) = (ended.stdout.clone(), ended.stderr.clone());
            let finished = wording.finished(&owed, ended.outcome.clone(), stdout, stderr);
            AtHand::keep(finished, &self.shared.room)
        });
        Some(Letter { owed, at_hand })
    }

    fn source_of(&self, execution: &ExecutionKey) -> Option<Arc<str>> {
        match self.shared.records.source_of(execution) {
            Ok(source) => source.map(Arc::from),
            Err(error) => {
                tracing::warn!(%execution, error = &error as &dyn std::error::Error, "cannot tell whose event it was; its result is not reported");
                None
            }
        }
    }

    /// Has it told.
    pub(super) fn post(&self, letter: Letter) {
        if let Some(tray) = self.shared.trays.get(&letter.owed.source) {
            let mut queue = tray.queue();
            if queue.status.away.is_some() {
                queue.backlog = letter.owed.number;
            }
            queue.letters.push_back(letter);
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
            queue.backlog = queue.newest().unwrap_or(queue.backlog);
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
                let waiting = queue.letters.len() as u64;
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
                        if self.shared.is_paused() || queue.letters.is_empty() || queue.status.away.is_some()
                        {
                            break;
                        }
                    }
                    changed.await;
                }
            }
        };
        // What takes longer is told by the next life.
        let _ = tokio::time::timeout(grace, all_told).await;
        for tray in self.shared.trays.values() {
            let to_settle = tray.queue().take_acknowledged();
            self.shared.settle(to_settle).await;
        }
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
            let (first, backlog, unsettled) = {
                let queue = tray.queue();
                if queue.closed {
                    return None;
                }
                let first = queue.letters.front().filter(|_| !self.shared.is_paused());
                let first = first.map(|letter| {
                    let at_hand = letter.at_hand.as_ref();
                    (
                        letter.owed.clone(),
                        at_hand.map(|at_hand| Arc::clone(&at_hand.attempt)),
                    )
                });
                (first, queue.backlog, queue.acknowledged_since)
            };
            let Some((owed, at_hand)) = first else {
                match unsettled {
                    None => changed.await,
                    Some(since) => {
                        let until = (since + ACKNOWLEDGED_WITHIN).into();
                        if tokio::time::timeout_at(until, changed).await.is_err() {
                            let to_settle = tray.queue().take_acknowledged();
                            self.shared.settle(to_settle).await;
                        }
                    }
                }
                continue;
            };
            let number = owed.number;
            let is_backlog = number <= backlog;
            if let Some(attempt) = at_hand {
                return Some(Due {
                    number,
                    attempt,
                    is_backlog,
                });
            }
            let shared = Arc::clone(&self.shared);
            // Reading may wait for the disk, and laying out a large document takes its time.
            let finished = tokio::task::spawn_blocking(move || shared.records.finished(&owed)).await;
            match finished {
                Ok(Ok(attempt)) => {
                    return Some(Due {
                        number,
                        attempt: Arc::new(attempt),
                        is_backlog,
                    });
                }
                Ok(Err(why)) => tracing::warn!(source = %self.source, why, "a result cannot be reported"),
                Err(panic) => {
                    tracing::error!(source = %self.source, %panic, "laying out a result failed; it is not reported");
                }
            }
            tray.give_up(number);
            self.shared.settle(vec![number]).await;
        }
    }

    /// The controller acknowledged it.
    pub async fn delivered(&self, number: u64) {
        let Some(tray) = self.tray() else { return };
        let to_settle = {
            let mut queue = tray.queue();
            let was_first = queue.take(number);
            queue.status.away = None;
            queue.status.delivered += u64::from(was_first);
            queue.acknowledge(number)
        };
        tray.changed.notify_waiters();
        self.shared.settle(to_settle).await;
    }

    /// The controller could not be told. While it is away, of each hook only the newest results are kept for it.
    pub async fn not_delivered(&self, why: &str) {
        let Some(tray) = self.tray() else { return };
        let to_settle = {
            let mut queue = tray.queue();
            let since = queue
                .status
                .away
                .as_ref()
                .map_or_else(Timestamp::now, |(since, _)| *since);
            queue.status.away = Some((since, why.to_owned()));
            queue.backlog = queue.newest().unwrap_or(queue.backlog);
            let mut to_settle = queue.take_acknowledged();
            to_settle.extend(queue.supersede());
            to_settle
        };
        tray.changed.notify_waiters();
        self.shared.settle(to_settle).await;
    }

    fn tray(&self) -> Option<&Tray> {
        self.shared.trays.get(&self.source)
    }
}

impl Shared {
    fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Takes what is no longer owed out of the store. Nobody waits for that: what is told twice does no harm.
    async fn settle(&self, numbers: Vec<u64>) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(writer) = writer
            && !numbers.is_empty()
        {
            let changes = numbers.into_iter().map(Change::NoLongerOwed).collect();
            // After a failed write the next life tells it again.
            let _ = writer.submit(changes, || ()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(bytes: usize) -> FinishedAttempt {
        FinishedAttempt {
            hook_id: 7,
            arguments: String::new(),
            command: String::new(),
            outcome: Outcome::Exited { code: 0 },
            stdout: Captured {
                head: vec![b'x'; bytes].into(),
                ..Captured::default()
            },
            stderr: Captured::default(),
            remote_host: None,
            repeats: false,
        }
    }

    #[test]
    fn no_more_is_kept_in_memory_than_there_is_room_for() {
        let room = Arc::new(Semaphore::new(AT_HAND));
        let first = AtHand::keep(finished(AT_HAND / 2), &room).expect("there is room");
        assert!(AtHand::keep(finished(AT_HAND / 2), &room).is_none());
        let small = AtHand::keep(finished(1_000), &room);
        assert!(small.is_some(), "what is smaller still goes in");
        drop(first);
        assert!(AtHand::keep(finished(AT_HAND / 2), &room).is_some());
        drop(small);
        assert_eq!(room.available_permits(), AT_HAND, "all is given back");
        assert!(AtHand::keep(finished(AT_HAND), &room).is_none());
    }

    #[test]
    fn acknowledgements_are_written_together_and_none_twice() {
        let mut queue = Queue::default();
        let mut written = Vec::new();
        for number in 0..100 {
            // The oldest waits as if it had come just now.
            queue.acknowledged_since = Some(Instant::now());
            let now = queue.acknowledge(number);
            assert!(now.is_empty() || now.len() == ACKNOWLEDGED_TOGETHER, "{now:?}");
            written.extend(now);
        }
        assert_eq!(written.len(), 96);
        written.extend(queue.take_acknowledged());
        assert_eq!(written, (0..100).collect::<Vec<u64>>());
        assert_eq!(queue.acknowledged_since, None);

        let long_ago = Instant::now().checked_sub(ACKNOWLEDGED_WITHIN);
        queue.acknowledged_since = Some(long_ago.expect("the machine runs for longer"));
        assert_eq!(queue.acknowledge(100), [100], "it has waited long enough");
    }
}
