//! Taking over records of another store: under the numbers they have there, and without anything running for it.
//!
//! A number means one event only together with a store's id. So records come into a store that has that id, or into an
//! empty one, which takes it on. What stands in the store already is never replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use sled::Batch;

use super::format::{self, StoredCounters, Totals};
use super::open::Label;
use super::writer::{Change, Closed, Writer, durable, put_event};
use super::{
    AuditEntry, Definition, EventCounters, ListedEvent, OpenError, Override, Shared, Store, blob, keys,
};
use crate::config::Retention;
use crate::engine::core::Record;
use crate::engine::execution::{Actor, Attempt, Execution};
use crate::engine::mute::Mute;
use crate::event::id::{ExecutionKey, HookName, Seq, StoreId};
use crate::hooks::Version;

/// A record as it was in the store it comes from.
#[derive(Debug)]
pub enum Imported {
    /// An event, with its payload where `keep_payload` is set.
    Event {
        /// The event.
        listed: Box<ListedEvent>,
        /// Whether its payload was kept.
        keep_payload: bool,
    },
    /// The definition of a hook.
    Definition(Version, Definition),
    /// A line of the audit log.
    Audit(AuditEntry),
    /// What the other store counted; for a store that has counted nothing itself.
    Counters {
        /// What it counted.
        counters: Box<Counters>,
        /// The audit log of the store here: it goes behind the other one's.
        own_audit: Vec<AuditEntry>,
    },
}

/// What a store counted in all its life, whatever of it is still kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// The last number given to an event.
    pub last_seq: u64,
    /// The last number given to a line of the audit log.
    pub last_audit: u64,
    /// Where the events of each source ended.
    pub events: BTreeMap<String, EventCounters>,
    /// Matches whose condition could not be worked out.
    pub condition_errors: u64,
    /// Matches that came to nothing for want of an element.
    pub absent_elements: u64,
}

impl Imported {
    /// The bytes of payload in it.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Event { listed, .. } => listed.event.payload.bytes().len(),
            _ => 0,
        }
    }

    /// Adds the record to the batch and to what is kept; returns the bytes of payload it brought. It counts as received
    /// where it was received, and not again here.
    pub(super) fn add(&self, totals: &mut Totals, batch: &mut Batch) -> usize {
        match self {
            Self::Event { listed, keep_payload } => {
                let event = &listed.event;
                let bytes = put_event(batch, event, listed.payload_len, &listed.hooks, *keep_payload);
                totals.keep(listed.hooks.is_empty(), bytes);
                totals.last_seq = totals.last_seq.max(event.seq.0);
                event.payload.bytes().len()
            }
            Self::Definition(version, definition) => {
                blob::put(
                    batch,
                    &keys::definition(version),
                    &format::write_definition(definition),
                );
                0
            }
            Self::Audit(entry) => {
                let line = format::write_audit(entry.at, &entry.actor, &entry.action, &entry.target);
                batch.insert(keys::audit(entry.number), line);
                totals.last_audit = totals.last_audit.max(entry.number);
                0
            }
            Self::Counters { counters, own_audit } => {
                for entry in own_audit {
                    batch.remove(keys::audit(entry.number));
                }
                totals.last_audit = counters.last_audit;
                for entry in own_audit {
                    totals.last_audit += 1;
                    let line = format::write_audit(entry.at, &entry.actor, &entry.action, &entry.target);
                    batch.insert(keys::audit(totals.last_audit), line);
                }
                totals.last_seq = totals.last_seq.max(counters.last_seq);
                totals.condition_errors = counters.condition_errors;
                totals.absent_elements = counters.absent_elements;
                totals.sources = counters
                    .events
                    .iter()
                    .map(|(source, counters)| {
                        let mut stored = StoredCounters::default();
                        stored.add(counters);
                        (source.clone(), stored)
                    })
                    .collect();
                0
            }
        }
    }
}

/// Why records cannot come into a store.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The store cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is another store's, and not empty.
    #[error(
        "the store there has records of its own, with the id `{own}`; records of `{theirs}` go only into an empty store"
    )]
    Other {
        /// The store's id.
        own: StoreId,
        /// The id of the records' store.
        theirs: StoreId,
    },
    /// The store cannot be given its id.
    #[error("cannot give the empty store in {} the id of the records", path.display())]
    Label {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the writer")]
    Thread(#[source] io::Error),
}

/// Why counters cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// The store cannot be read.
    #[error(transparent)]
    Read(super::ReadError),
    /// A write failed.
    #[error(transparent)]
    Write(Closed),
}

/// A store that records of another one come into. No daemon runs on it meanwhile.
#[derive(Debug)]
pub struct Importer {
    store: Store,
    writer: Writer,
    thread: JoinHandle<()>,
    was_empty: bool,
}

impl Importer {
    /// Opens the store in `folder`, or makes one, for records of the store `id`.
    ///
    /// # Errors
    /// See [`AdoptError`].
    pub fn open(folder: &Path, id: &StoreId) -> Result<Self, AdoptError> {
        let mut store = Store::open(folder)?;
        let was_empty = store.is_empty();
        if store.id() != id {
            if !was_empty {
                return Err(AdoptError::Other {
                    own: store.id().clone(),
                    theirs: id.clone(),
                });
            }
            store = store.renamed(id).map_err(|source| AdoptError::Label {
                path: folder.to_path_buf(),
                source,
            })?;
        }
        // What is too old goes when a daemon runs: pruning what was just brought would hide that it came.
        let everything = Retention::unlimited();
        let (writer, thread) = Writer::start(store.clone(), everything).map_err(AdoptError::Thread)?;
        Ok(Self {
            store,
            writer,
            thread,
            was_empty,
        })
    }

    /// The store, to look at what it has.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Takes over what the other store counted, where no event was ever recorded here.
    ///
    /// # Errors
    /// The audit log cannot be read, or a write failed.
    pub async fn adopt(&self, counters: Counters) -> Result<(), TakeError> {
        if !self.was_empty {
            return Ok(());
        }
        let own_audit = self.store.audit_after(0, usize::MAX).map_err(TakeError::Read)?;
        let counters = Box::new(counters);
        let adopted = Imported::Counters { counters, own_audit };
        // Whoever asks next whether a line of the audit log is there must not see those that were moved.
        durable(&self.writer, vec![Change::Imported(Box::new(adopted))])
            .await
            .map_err(TakeError::Write)
    }

    /// Writes records, together.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn write(&self, records: Vec<Imported>) -> Result<(), Closed> {
        let changes = records
            .into_iter()
            .map(|record| Change::Imported(Box::new(record)))
            .collect();
        self.writer.submit(changes, || ()).await
    }

    /// Writes an execution as it stands, with its attempts. One that is not settled is taken up by the next daemon.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn write_execution(&self, execution: Execution, attempts: Vec<Attempt>) -> Result<(), Closed> {
        let key = execution.key.clone();
        let mut changes = vec![Change::Record(Record::Created(Box::new(execution)))];
        changes.extend(attempts.into_iter().flat_map(|attempt| of_attempt(&key, attempt)));
        self.writer.submit(changes, || ()).await
    }

    /// Writes an operator's override of a hook.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn write_override(&self, hook: HookName, value: Override) -> Result<(), Closed> {
        let changes = vec![Change::Override(hook, Some(value))];
        self.writer.submit(changes, || ()).await
    }

    /// Writes a mute: what it covers is held by the next daemon too.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn write_mute(&self, mute: Mute) -> Result<(), Closed> {
        let changes = vec![Change::Record(Record::Muted(mute))];
        self.writer.submit(changes, || ()).await
    }

    /// Comes back when everything is durable. `target` is what the audit log says was imported; nothing is written there
    /// where nothing was.
    ///
    /// # Errors
    /// When a write failed.
    pub async fn finish(self, actor: Actor, target: Option<String>) -> Result<(), Closed> {
        let changes = target.map(|target| Change::audit(actor, "import", target));
        let written = durable(&self.writer, changes.into_iter().collect()).await;
        drop(self.writer);
        // A panic of the writer's thread has been said by `durable`.
        let _ = tokio::task::spawn_blocking(move || self.thread.join()).await;
        written
    }
}

fn of_attempt(key: &ExecutionKey, attempt: Attempt) -> Vec<Change> {
    let number = attempt.number;
    let mut changes = vec![Change::Record(Record::Released {
        key: key.clone(),
        attempt: number,
        cause: attempt.cause,
        at: attempt.released,
    })];
    changes.extend(attempt.process.map(|process| Change::Started {
        key: key.clone(),
        attempt: number,
        process: Box::new(process),
    }));
    changes.extend(attempt.ended.map(|ended| Change::Ended {
        key: key.clone(),
        attempt: number,
        ended: Box::new(ended),
    }));
    changes
}

impl Store {
    /// Whether no event was ever recorded here. A daemon that has started may have written to the audit log.
    fn is_empty(&self) -> bool {
        self.summary().last_seq == Seq(0)
    }

    /// The same store under another id. Only for one that no number was given in, and that nobody else holds.
    fn renamed(self, id: &StoreId) -> io::Result<Self> {
        let shared = Arc::into_inner(self.shared)
            .ok_or_else(|| io::Error::other("the store is in use in this very process"))?;
        // Without a label the id inside holds, so a crash at any point leaves a store that opens.
        match fs::remove_file(shared.path.join(super::open::LABEL)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(&shared.path)?.sync_all()?;
        shared
            .tree
            .insert(keys::meta("id"), id.as_str())
            .and_then(|_| shared.tree.flush())
            .map_err(io::Error::other)?;
        shared.log.sync_all()?;
        let label = Label {
            format: format::FORMAT,
            id: id.clone(),
        };
        label.write(&shared.path)?;
        File::open(&shared.path)?.sync_all()?;
        Ok(Self {
            shared: Arc::new(Shared {
                id: id.clone(),
                ..shared
            }),
        })
    }
}

impl Store {
    /// Events from number `from` on, oldest first, without payloads; of one that cannot be read, its number and why.
    pub fn events_from(
        &self,
        from: Seq,
    ) -> impl Iterator<Item = Result<ListedEvent, (Seq, super::ReadError)>> + use<> {
        let store = self.clone();
        let range = keys::event(from)..keys::space_after(keys::Space::Event);
        self.shared.tree.range(range).map(move |entry| {
            let (key, bytes) = entry.map_err(|error| (from, super::ReadError::Read(error)))?;
            let seq = Seq(keys::number(&key).unwrap_or_default());
            store.listed_event(seq, &bytes).map_err(|error| (seq, error))
        })
    }

    /// The lines of the audit log behind number `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the store cannot be read or a line is damaged.
    pub fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<AuditEntry>, super::ReadError> {
        let range = keys::audit(after + 1)..keys::space_after(keys::Space::Audit);
        self.shared
            .tree
            .range(range)
            .take(limit)
            .map(|entry| {
                let (key, bytes) = entry.map_err(super::ReadError::Read)?;
                let number = keys::number(&key).unwrap_or_default();
                format::read_audit(number, &bytes).map_err(super::ReadError::format(format!(
                    "line {number} of the audit log"
                )))
            })
            .collect()
    }
}
