//! The one thread that writes: it takes what queued up, writes it as one batch, syncs it, and only then says so.
//!
//! The journal is one sequence: what is durable implies everything submitted before it. After a failed write or
//! sync nothing is acknowledged any more; a failed sync is never tried again, for nobody can tell what it left.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sled::Batch;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::blob::{GetError, PIECE};
use super::draft::Draft;
use super::format::{self, StoredAttempt, Totals};
use super::import::Imported;
use super::keys::AttemptPart;
use super::retention::{Pass, Pruner};
use super::unlisted::Unlisted;
use super::{Definition, EventCounters, Override, Store, blob, draft, keys};
use crate::config::Retention;
use crate::engine::bookmark::Bookmark;
use crate::engine::core::Record;
use crate::engine::execution::{Actor, EndedAttempt, Execution, StartedProcess, State};
use crate::engine::known_states::{Baseline, GapStory};
use crate::engine::outbox::Owed;
use crate::event::Event;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::opennebula::pool::{ResourceId, StateNames};
use crate::event::own::OwnEvent;
use crate::event::time::Timestamp;
use crate::hooks::{Hook, Version};
use crate::kill_point;

/// Submissions that may wait for the writer; whoever submits more waits.
const QUEUE: usize = 4_096;

/// Payloads and outputs that may wait for the writer, in bytes; whoever submits more waits.
const QUEUE_BYTES: u32 = 32 << 20;

/// A commit takes no more submissions than this, nor goes on beyond this many bytes of payloads and outputs.
const SUBMISSIONS_AT_MOST: usize = 2_048;
const BYTES_AT_MOST: usize = 16 << 20;

/// How often other threads are let go first before a commit, as long as they bring something.
const YIELDS_AT_MOST: usize = 4;

/// How often it is looked for what is too old, where no other limit is passed.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

/// How often it is looked again while a limit is passed and the last look found nothing that may go.
const PRUNE_AGAIN: Duration = Duration::from_secs(1);

/// One thing to be made durable.
#[derive(Debug)]
pub enum Change {
    /// An event is accepted. The executions it causes stand in the same submission.
    Event {
        /// The event, numbered.
        event: Box<Event>,
        /// The hooks it causes executions of.
        hooks: Vec<HookName>,
        /// Matches whose condition could not be worked out.
        condition_errors: u64,
        /// Matches whose condition asks for an element that the event does not have.
        absent_elements: u64,
        /// Whether its payload is kept.
        keep_payload: bool,
    },
    /// What the scheduler decided.
    Record(Record),
    /// The definition of a hook in the version that matched, if it is not there yet.
    Definition(Arc<Hook>),
    /// The process of an attempt exists.
    Started {
        /// Which execution's.
        key: ExecutionKey,
        /// The attempt's number.
        attempt: u32,
        /// What was started.
        process: Box<StartedProcess>,
    },
    /// An attempt ended.
    Ended {
        /// Which execution's.
        key: ExecutionKey,
        /// The attempt's number.
        attempt: u32,
        /// How.
        ended: Box<EndedAttempt>,
    },
    /// A controller is to be told of an attempt.
    Owed(Owed),
    /// It was told, or never will be.
    NoLongerOwed(u64),
    /// Received and not accepted.
    NotAccepted {
        /// From which source.
        source: String,
        /// Where those ended; `received` included.
        counters: EventCounters,
    },
    /// An operator's override of a hook, or its end.
    Override(HookName, Option<Override>),
    /// A line for the audit log.
    Audit {
        /// When.
        at: Timestamp,
        /// Who.
        actor: Actor,
        /// What.
        action: &'static str,
        /// On what.
        target: String,
    },
    /// An own event is to be raised, in this life or the next.
    Untold(OwnEvent),
    /// The own event of this identity is accepted, in the same submission: it is told.
    Told(String),
    /// The last good text of a hook file; none when the file is gone.
    LastGood {
        /// The file.
        file: String,
        /// Its text, and since when the file has been broken.
        text: Option<(String, Option<Timestamp>)>,
    },
    /// The last known state of a resource; none when it is not known any more.
    KnownState {
        /// The source whose controller has it.
        source: Arc<str>,
        /// Which one.
        id: ResourceId,
        /// Its state.
        names: Option<StateNames>,
    },
    /// What is known of a source's resources together; none when nothing of it holds any more.
    Baseline {
        /// The source.
        source: Arc<str>,
        /// What is known.
        baseline: Option<Baseline>,
    },
    /// What a source wants to find again.
    Bookmark {
        /// The source.
        source: Arc<str>,
        /// What is to be kept.
        bookmark: Bookmark,
    },
    /// What became of a gap.
    GapStory {
        /// The event that records the gap.
        record: Seq,
        /// What became of it so far.
        story: GapStory,
    },
    /// This front-end still led then.
    Led(Timestamp),
    /// How many settled executions are kept of hooks that say so themselves.
    Keep(BTreeMap<HookName, u64>),
    /// A record of another store, as it was there.
    Imported(Box<Imported>),
}

impl Change {
    /// A line for the audit log, of now.
    pub(crate) fn audit(actor: Actor, action: &'static str, target: String) -> Self {
        Self::Audit {
            at: Timestamp::now(),
            actor,
            action,
            target,
        }
    }

    /// The bytes of payload and output in it.
    fn weight(&self) -> usize {
        match self {
            Self::Event { event, .. } => event.payload.bytes().len(),
            Self::Ended { ended, .. } => [&ended.stdout, &ended.stderr]
                .iter()
                .map(|captured| captured.head.len() + captured.tail.len())
                .sum(),
            Self::Imported(record) => record.weight(),
            _ => 0,
        }
    }
}

/// What is called once a submission is durable. It is not called, and dropped, when it never will be.
type OnDurable = Box<dyn FnOnce() + Send>;

struct Submission {
    changes: Vec<Change>,
    on_durable: Option<OnDurable>,
    /// Its share of [`QUEUE_BYTES`], given back when it is written.
    room: Option<OwnedSemaphorePermit>,
}

/// A write or a sync failed, or the writer has ended: nothing is made durable any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the store takes no more writes")]
pub struct Closed;

/// The way to the writer's thread. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Writer {
    submissions: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
    failed: CancellationToken,
    retention: Arc<ArcSwap<Retention>>,
}

impl std::fmt::Debug for Submission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Submission")
            .field("changes", &self.changes)
            .finish_non_exhaustive()
    }
}

impl Writer {
    /// Starts the thread. It ends, everything written, once all writers are dropped.
    ///
    /// # Errors
    /// When the system gives no thread, or the newest records cannot be read.
    pub fn start(store: Store, retention: Retention) -> std::io::Result<(Self, JoinHandle<()>)> {
        let unlisted = Unlisted::read(&store).map_err(std::io::Error::other)?;
        let (submissions, queue) = mpsc::channel(QUEUE);
        let failed = CancellationToken::new();
        let totals = store
            .shared
            .totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let retention = Arc::new(ArcSwap::from_pointee(retention));
        let thread = WriterThread {
            totals,
            store,
            retention: Arc::clone(&retention),
            definitions: HashSet::new(),
            drafts: HashMap::new(),
            unlisted,
            pruner: Pruner::default(),
            looked: None,
        };
        let on_failure = failed.clone();
        let handle = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || thread.run(queue, &on_failure))?;
        let room = Arc::new(Semaphore::new(QUEUE_BYTES as usize));
        Ok((
            Self {
                submissions,
                room,
                failed,
                retention,
            },
            handle,
        ))
    }

    /// Hands changes over, to become durable together. Waits while too many wait already.
    ///
    /// # Errors
    /// When nothing is made durable any more.
    pub async fn submit(
        &self,
        changes: Vec<Change>,
        on_durable: impl FnOnce() + Send + 'static,
    ) -> Result<(), Closed> {
        let weight: usize = changes.iter().map(Change::weight).sum();
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).min(QUEUE_BYTES);
        // One that is larger than the whole room is alone in it.
        let room = match weight {
            0 => None,
            _ => Some(
                Arc::clone(&self.room)
                    .acquire_many_owned(weight)
                    .await
                    .map_err(|_| Closed)?,
            ),
        };
        let submission = Submission {
            changes,
            on_durable: Some(Box::new(on_durable)),
            room,
        };
        self.submissions.send(submission).await.map_err(|_| Closed)
    }

    /// Keeps as much as this from now on.
    pub fn retain(&self, retention: Retention) {
        self.retention.store(Arc::new(retention));
    }

    /// Is cancelled when a write or a sync failed.
    pub fn failed(&self) -> &CancellationToken {
        &self.failed
    }
}

/// Where others wait for this processor, what they have to write goes into the same commit: a commit costs the processor as
/// much as the start of a script. On a machine with time to spare this comes back at once.
fn let_others_submit(queue: &mpsc::Receiver<Submission>) {
    let mut waiting = queue.len();
    for _ in 0..YIELDS_AT_MOST {
        std::thread::yield_now();
        if queue.len() == waiting {
            return;
        }
        waiting = queue.len();
    }
}

struct WriterThread {
    store: Store,
    retention: Arc<ArcSwap<Retention>>,
    totals: Totals,
    definitions: HashSet<Version>,
    /// Executions' records that the batch under way changes.
    drafts: HashMap<ExecutionKey, Draft>,
    unlisted: Unlisted,
    pruner: Pruner,
    /// When it was last looked whether something is to be pruned.
    looked: Option<Instant>,
}

impl WriterThread {
    fn run(mut self, mut queue: mpsc::Receiver<Submission>, failed: &CancellationToken) {
        // No timer: whatever queued up while the last batch was written is the next batch.
        while let Some(first) = queue.blocking_recv() {
            let_others_submit(&queue);
            let mut batch = Batch::default();
            let mut durable = Vec::new();
            let mut rooms = Vec::new();
            let (mut submissions, mut bytes, mut is_empty) = (0, 0, true);
            let mut next = Some(first);
            while let Some(submission) = next {
                for change in submission.changes {
                    is_empty = false;
                    match self.add(&mut batch, change) {
                        Ok(brought) => bytes += brought,
                        Err(error) => {
                            fail(&error, failed);
                            return;
                        }
                    }
                }
                durable.extend(submission.on_durable);
                rooms.extend(submission.room);
                submissions += 1;
                if submissions >= SUBMISSIONS_AT_MOST || bytes >= BYTES_AT_MOST {
                    break;
                }
                next = queue.try_recv().ok();
            }
            // All that came before is durable already: whoever only waits for that is told at once.
            if !is_empty && let Err(error) = self.commit(batch) {
                fail(&*error, failed);
                return;
            }
            drop(rooms);
            for on_durable in durable {
                on_durable();
            }
            if let Err(error) = self.prune() {
                fail(&error, failed);
                return;
            }
        }
    }

    fn commit(&mut self, mut batch: Batch) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let shared = &self.store.shared;
        for (key, draft) in self.drafts.drain() {
            draft.write(&shared.tree, &key, &mut batch)?;
        }
        self.totals.listed_below = self.unlisted.move_border(self.totals.last_seq, &mut batch);
        self.apply(batch)?;
        kill_point::reach("mid-batch");
        shared.tree.flush()?;
        // What is acknowledged does not hang on sled's own way to flush (`full_sync`): without a sync a power cut takes it
        // back.
        shared.log.sync_all()?;
        Ok(())
    }

    /// Writes a batch and what is counted with it, without waiting for either to be durable.
    fn apply(&self, mut batch: Batch) -> sled::Result<()> {
        let shared = &self.store.shared;
        batch.insert(keys::meta("totals"), format::write(&self.totals));
        shared.tree.apply_batch(batch)?;
        *shared.totals.lock().unwrap_or_else(PoisonError::into_inner) = self.totals.clone();
        Ok(())
    }

    /// Takes out what is beyond the limits. It looks at what is written, so it comes after a batch and never in one: there
    /// an execution that is just reopened would still look settled.
    fn prune(&mut self) -> sled::Result<()> {
        let limits = self.retention.load_full();
        let pause = if self.pruner.is_over(&limits, &self.totals) {
            PRUNE_AGAIN
        } else {
            PRUNE_EVERY
        };
        let is_early = self.looked.is_some_and(|looked| looked.elapsed() < pause);
        if is_early && !self.pruner.is_in_stride() {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let mut batch = Batch::default();
        let store = self.store.clone();
        let held = store.held();
        let dropped = self.pruner.prune(
            &Pass {
                store: &store,
                limits: &limits,
                held: &held,
                unlisted: &self.unlisted,
                now: Timestamp::now(),
            },
            &mut self.totals,
            &mut batch,
        );
        let Some(dropped) = dropped else {
            return Ok(());
        };
        for version in dropped {
            self.definitions.remove(&version);
        }
        self.apply(batch)
    }

    /// Whether an event was written, and is there no more: nothing would ever remove what is written about it now.
    fn is_pruned(&self, seq: Seq) -> bool {
        let shared = &self.store.shared;
        let written = shared
            .totals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .last_seq;
        seq.0 <= written
            && shared
                .tree
                .contains_key(keys::event(seq))
                .is_ok_and(|is_there| !is_there)
    }

    /// Adds a change to the batch; returns the bytes of payload or output it brought.
    ///
    /// # Errors
    /// When what it changes cannot be read: as good as a write that failed.
    fn add(&mut self, batch: &mut Batch, change: Change) -> sled::Result<usize> {
        Ok(match change {
            Change::Event {
                event,
                hooks,
                condition_errors,
                absent_elements,
                keep_payload,
            } => {
                self.totals.condition_errors += condition_errors;
                self.totals.absent_elements += absent_elements;
                self.add_event(batch, &event, &hooks, keep_payload)
            }
            Change::Record(record) => {
                self.add_record(batch, record)?;
                0
            }
            Change::Definition(hook) => {
                self.pruner.keep(&hook.version);
                if self.definitions.insert(hook.version) && !self.is_stored(&hook.version) {
                    let definition = Definition {
                        name: hook.name.clone(),
                        text: hook.text.to_string(),
                        file: hook.origin.file.display().to_string(),
                        line: hook.origin.line,
                        file_sha256: hook.origin.file_sha256,
                    };
                    blob::put(
                        batch,
                        &keys::definition(&hook.version),
                        &format::write_definition(&definition),
                    );
                }
                0
            }
            Change::Started {
                key,
                attempt,
                process,
            } => {
                if let Some(arguments) = &process.arguments_sha256 {
                    let newest = keys::by_hook_and_arguments(&key.hook, arguments);
                    batch.insert(newest, &key.event.0.to_be_bytes());
                }
                self.change_attempt(&key, attempt, |attempt| attempt.start(&process))?;
                0
            }
            Change::Ended { key, attempt, ended } => {
                if !self.change_attempt(&key, attempt, |attempt| attempt.end(&ended))? {
                    return Ok(0);
                }
                let mut brought = 0;
                for (stream, captured) in [
                    (AttemptPart::Stdout, &ended.stdout),
                    (AttemptPart::Stderr, &ended.stderr),
                ] {
                    let kept = [captured.head.as_ref(), captured.tail.as_ref()].concat();
                    if !kept.is_empty() {
                        let bytes = blob::put(batch, &keys::attempt(&key, attempt, stream), &kept);
                        self.totals.bytes += bytes;
                        self.totals.output_bytes += bytes;
                        brought += kept.len();
                    }
                }
                brought
            }
            Change::Owed(owed) => {
                insert(batch, keys::owed(owed.number), format::write_owed(&owed));
                0
            }
            Change::NoLongerOwed(number) => {
                batch.remove(keys::owed(number));
                0
            }
            Change::NotAccepted { source, counters } => {
                self.totals.sources.entry(source).or_default().add(&counters);
                0
            }
            Change::Override(hook, value) => {
                match value {
                    Some(value) => insert(batch, keys::of_override(&hook), format::write_override(&value)),
                    None => batch.remove(keys::of_override(&hook)),
                }
                0
            }
            Change::Audit {
                at,
                actor,
                action,
                target,
            } => {
                self.totals.last_audit += 1;
                let line = cut_to_fit(&target, |target| format::write_audit(at, &actor, action, target));
                insert(batch, keys::audit(self.totals.last_audit), line);
                0
            }
            Change::Untold(own) => {
                let prefix = keys::untold(&own.identity());
                blob::put(batch, &prefix, own.document().as_bytes());
                0
            }
            Change::Told(identity) => {
                let prefix = keys::untold(&identity);
                if let Err(error) = blob::remove(&self.store.shared.tree, batch, &prefix) {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        identity,
                        "cannot read what is told"
                    );
                }
                0
            }
            Change::KnownState { source, id, names } => {
                let key = keys::known_state(&source, &id);
                match names {
                    Some(names) => insert(batch, key, format::write_state_names(&names)),
                    None => batch.remove(key),
                }
                0
            }
            Change::Baseline { source, baseline } => {
                let key = keys::baseline(&source);
                match baseline {
                    Some(baseline) => insert(batch, key, format::write_baseline(&baseline)),
                    None => batch.remove(key),
                }
                0
            }
            Change::Bookmark { source, bookmark } => {
                let key = keys::bookmark(&source, bookmark.name());
                match bookmark.value() {
                    Some(value) => insert(batch, key, value.to_vec()),
                    None => batch.remove(key),
                }
                0
            }
            Change::GapStory { record, mut story } => {
                if !self.is_pruned(record) {
                    let last_error = story.last_error.take();
                    let error = last_error.as_ref().map(|(_, error)| error.as_str());
                    let value = cut_to_fit(error.unwrap_or_default(), |error| {
                        story.last_error = last_error.as_ref().map(|(at, _)| (*at, error.to_owned()));
                        format::write_gap_story(&story)
                    });
                    insert(batch, keys::gap_story(record), value);
                }
                0
            }
            Change::Led(at) => {
                batch.insert(keys::meta("led"), &at.as_millis().to_be_bytes());
                0
            }
            Change::Keep(hooks) => {
                let default = self.retention.load().executions_per_hook;
                self.pruner.limit_hooks(hooks, default);
                0
            }
            Change::Imported(record) => record.add(&mut self.totals, batch),
            Change::LastGood { file, text } => {
                let prefix = keys::last_good(&file);
                // A former text may have had more pieces.
                if let Err(error) = blob::remove(&self.store.shared.tree, batch, &prefix) {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        file,
                        "cannot read a last good text"
                    );
                }
                if let Some((text, stale_since)) = text {
                    blob::put(batch, &prefix, &format::write_last_good(&text, stale_since));
                }
                0
            }
        })
    }

    /// The record of an execution, to be written with the batch under way; none when there is none.
    fn draft(&mut self, key: &ExecutionKey) -> sled::Result<Option<&mut Draft>> {
        match self.drafts.entry(key.clone()) {
            Entry::Occupied(draft) => Ok(Some(draft.into_mut())),
            Entry::Vacant(place) => {
                let draft = Draft::read(&self.store.shared.tree, key)?;
                Ok(draft.map(|draft| place.insert(draft)))
            }
        }
    }

    /// Changes the record of an attempt; false when there is none that could be changed.
    fn change_attempt(
        &mut self,
        key: &ExecutionKey,
        number: u32,
        change: impl FnOnce(&mut StoredAttempt),
    ) -> sled::Result<bool> {
        let tree = self.store.shared.tree.clone();
        let Some(draft) = self.draft(key)? else {
            tracing::error!(execution = %key, attempt = number, "there is no record of what an attempt belongs to");
            return Ok(false);
        };
        match draft.attempt(&tree, key, number) {
            Ok(Some(attempt)) => {
                change(attempt);
                Ok(true)
            }
            Ok(None) => {
                tracing::error!(execution = %key, attempt = number, "there is no record of an attempt's release");
                Ok(false)
            }
            Err(draft::ReadError::Get(GetError::Sled(error))) => Err(error),
            Err(error) => {
                tracing::error!(
                    execution = %key,
                    attempt = number,
                    error = &error as &dyn std::error::Error,
                    "the record of an attempt is damaged"
                );
                Ok(false)
            }
        }
    }

    /// Whether a definition is there already. One that cannot be read is written again.
    fn is_stored(&self, version: &Version) -> bool {
        let mut pieces = self.store.shared.tree.scan_prefix(keys::definition(version));
        pieces.next().is_some_and(|piece| piece.is_ok())
    }

    fn add_event(
        &mut self,
        batch: &mut Batch,
        event: &Event,
        hooks: &[HookName],
        keep_payload: bool,
    ) -> usize {
        let payload = event.payload.bytes();
        let bytes = put_event(batch, event, payload.len() as u64, hooks, keep_payload);
        self.totals.keep(hooks.is_empty(), bytes);
        self.totals.count(event, hooks.is_empty());
        self.totals.last_seq = self.totals.last_seq.max(event.seq.0);
        payload.len()
    }

    fn add_record(&mut self, batch: &mut Batch, record: Record) -> sled::Result<()> {
        match record {
            Record::Created(execution) => {
                let Execution { key, progress, .. } = execution.as_ref();
                self.drafts.insert(key.clone(), Draft::new(&execution, batch));
                batch.insert(keys::by_hook_and_event(key), &[]);
                self.add_progress(batch, key, None, &progress.state);
            }
            Record::Progressed { key, left, progress } => {
                if !State::UNSETTLED.contains(&left) {
                    self.doubt_former_version(&key, &progress.version);
                }
                match self.draft(&key)? {
                    Some(draft) => {
                        draft.progress(&progress);
                        self.add_progress(batch, &key, Some(left), &progress.state);
                    }
                    None => tracing::error!(execution = %key, "there is no record of what goes on"),
                }
            }
            Record::Muted(mut mute) | Record::MuteShortened(mut mute) => {
                let reason = mute.reason.take();
                let value = cut_to_fit(reason.as_deref().unwrap_or_default(), |text| {
                    mute.reason = reason.as_ref().map(|_| text.to_owned());
                    format::write_mute(&mute)
                });
                insert(batch, keys::of_mute(&mute.scope), value);
            }
            Record::Unmuted { scope, .. } => batch.remove(keys::of_mute(&scope)),
            Record::Released {
                key,
                attempt,
                cause,
                at,
            } => match self.draft(&key)? {
                Some(draft) => draft.release(StoredAttempt::new(attempt, &cause, at)),
                None => tracing::error!(execution = %key, attempt, "there is no record of what is released"),
            },
        }
        Ok(())
    }

    /// An execution is reopened, with another version perhaps: the former one may be referred to no more.
    fn doubt_former_version(&mut self, key: &ExecutionKey, now: &Version) {
        // A record that cannot be read keeps the definition where it is.
        if let Ok(Some(former)) = self.store.execution(key)
            && former.progress.version != *now
        {
            self.pruner.doubt(&key.hook, former.progress.version);
        }
    }

    fn add_progress(
        &mut self,
        batch: &mut Batch,
        key: &ExecutionKey,
        left: Option<&'static str>,
        state: &State,
    ) {
        let stands_there = left.is_some_and(|left| State::UNSETTLED.contains(&left));
        let was_settled = left.is_some() && !stands_there;
        if state.is_settled() {
            if stands_there {
                self.unlisted.remove(key, batch);
            }
            if !was_settled {
                self.pruner.settled(key);
            }
        } else if !stands_there {
            self.unlisted.add(key, batch);
            if was_settled {
                self.pruner.reopened(key);
            }
        }
        if let Some(left) = left
            && let Some(count) = self.totals.executions.get_mut(left)
        {
            *count = count.saturating_sub(1);
        }
        *self.totals.executions.entry(state.name().to_owned()).or_default() += 1;
    }
}

/// Adds an event; returns the bytes its payload takes.
pub(super) fn put_event(
    batch: &mut Batch,
    event: &Event,
    payload_len: u64,
    hooks: &[HookName],
    keep_payload: bool,
) -> u64 {
    let place = keys::event(event.seq);
    let record = format::write_event(event, payload_len, hooks);
    let line = blob::put_line(batch, event.seq, &place, &record, PIECE - 1);
    let payload = event.payload.bytes();
    let packed = if keep_payload && !payload.is_empty() {
        blob::pack(payload)
    } else {
        Vec::new()
    };
    let stands_behind = line.len() + 1 + packed.len() <= PIECE;
    if !stands_behind {
        blob::put_packed(batch, &keys::payload(event.seq), &packed);
    }
    let behind = if stands_behind { packed.as_slice() } else { &[] };
    batch.insert(place, blob::record(&[line], behind));
    if hooks.is_empty() {
        batch.insert(keys::unmatched(event.seq), &[]);
    }
    packed.len() as u64
}

/// Adds an entry that is one value. sled keeps a longer one, and a leaf that many of those fill, in files that it never
/// syncs ([`blob`]): what may be longer is cut where it comes from, or by [`cut_to_fit`].
fn insert(batch: &mut Batch, key: Vec<u8>, value: Vec<u8>) {
    debug_assert!(
        value.len() <= PIECE,
        "{} bytes below {}",
        value.len(),
        key.escape_ascii()
    );
    batch.insert(key, value);
}

/// The record of a text that somebody else chose: where it would be longer than one value with the whole text, that with its
/// beginning.
fn cut_to_fit(text: &str, mut write: impl FnMut(&str) -> Vec<u8>) -> Vec<u8> {
    if text.len() <= PIECE {
        let whole = write(text);
        if whole.len() <= PIECE {
            return whole;
        }
    }
    let mut end = text.len().min(PIECE);
    loop {
        // A character may take six in JSON.
        end = text.floor_char_boundary(end / 2);
        let value = write(&format!("{}…", &text[..end]));
        if value.len() <= PIECE || end == 0 {
            return value;
        }
    }
}

fn fail(error: &(dyn std::error::Error + 'static), failed: &CancellationToken) {
    tracing::error!(
        error,
        "writing to the store failed: nothing more is accepted or acknowledged"
    );
    failed.cancel();
}

/// Waits for what was submitted to be durable.
///
/// # Errors
/// When it never will be.
pub async fn durable(writer: &Writer, changes: Vec<Change>) -> Result<(), Closed> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    writer
        .submit(changes, move || {
            // Whoever asked may have gone away.
            let _ = sender.send(());
        })
        .await?;
    receiver.await.map_err(|_| Closed)
}
