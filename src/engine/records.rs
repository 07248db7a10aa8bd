//! What a source may look up of what was accepted from it: its newest events, and what became of what they caused.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use super::execution::{Execution, Settlement, State};
use super::handle::Notice;
use crate::event::Event;
use crate::event::id::{ExecutionKey, Seq};
use crate::event::time::Timestamp;
use crate::runner::Outcome;
use crate::store::{EventQuery, ReadError, Store};

/// The records, for reading. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Records {
    pub(super) store: Store,
    pub(super) feed: broadcast::Sender<Notice>,
}

/// Where an execution stands, as a sender is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which execution it is.
    pub execution: ExecutionKey,
    /// Its state: `running`, `succeeded`, `failed` ….
    pub state: &'static str,
    /// Whether it has reached its end.
    pub is_settled: bool,
    /// Why it was skipped or cancelled, where it was.
    pub reason: Option<&'static str>,
    /// How many attempts were started.
    pub attempts: u32,
    /// How the last attempt ended (`exited`, `signalled`, `timed_out` …), with the exit status or the signal's number.
    pub last: Option<(&'static str, Option<i32>)>,
}

impl Records {
    /// The id of an event across stores: `k3vd-1042`.
    pub fn event_id(&self, event: Seq) -> String {
        format!("{}-{event}", self.store.id())
    }

    /// The newest events of a source since a time, newest first, without their payloads. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn newest(&self, source: &str, since: Timestamp, limit: usize) -> Result<Vec<Event>, ReadError> {
        let query = EventQuery {
            source: Some(source.to_owned()),
            since: Some(since),
            limit,
            ..EventQuery::default()
        };
        let listed = self.store.events(&query)?;
        Ok(listed.into_iter().map(|listed| listed.event).collect())
    }

    /// What is kept for a source, by name.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn bookmarks(&self, source: &str) -> Result<BTreeMap<String, Bytes>, ReadError> {
        let source = source.to_owned();
        self.read(move |store| store.bookmarks(&source)).await
    }

    /// Waits until everything that an event caused has reached its end. Dropped, it leaves nothing behind.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn until_settled(&self, event: Seq) -> Result<(), ReadError> {
        // An end is told to whoever follows by the time it is in the store: followed first and read then, none is missed.
        let mut ends = self.feed.subscribe();
        loop {
            let mut open = self.unsettled(event).await?;
            while !open.is_empty() {
                match ends.recv().await {
                    Ok(Notice::Execution(execution)) if execution.progress.state.is_settled() => {
                        open.retain(|key| *key != execution.key);
                    }
                    Ok(_) => {}
                    Err(RecvError::Lagged(_)) => break,
                    // The engine has ended.
                    Err(RecvError::Closed) => return Ok(()),
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// Where everything stands that an event caused, in the order of the hooks' names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn standings(&self, event: Seq) -> Result<Vec<Standing>, ReadError> {
        self.read(move |store| {
            let executions = store.executions_of(event)?;
            executions
                .iter()
                .map(|execution| standing(store, execution))
                .collect()
        })
        .await
    }

    async fn unsettled(&self, event: Seq) -> Result<Vec<ExecutionKey>, ReadError> {
        self.read(move |store| {
            let executions = store.executions_of(event)?;
            let open = executions
                .into_iter()
                .filter(|execution| !execution.progress.state.is_settled());
            Ok(open.map(|execution| execution.key).collect())
        })
        .await
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + Default + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.store.clone();
        // A runtime that ends takes its threads along, and whoever waits here.
        tokio::task::spawn_blocking(move || read(&store))
            .await
            .unwrap_or_else(|_| Ok(T::default()))
    }
}

fn standing(store: &Store, execution: &Execution) -> Result<Standing, ReadError> {
    let state = &execution.progress.state;
    let attempts = store.attempts(&execution.key)?;
    let ended = attempts.iter().rev().find_map(|attempt| attempt.ended.as_ref());
    Ok(Standing {
        execution: execution.key.clone(),
        state: state.name(),
        is_settled: state.is_settled(),
        reason: match state {
            State::Settled { settlement, .. } => reason(settlement),
            _ => None,
        },
        attempts: execution.progress.attempts,
        last: ended.map(|ended| result_of(&ended.outcome)),
    })
}

const fn reason(settlement: &Settlement) -> Option<&'static str> {
    match settlement {
        Settlement::Succeeded | Settlement::Failed => None,
        Settlement::Skipped(reason) => Some(reason.name()),
        Settlement::Cancelled(reason) => Some(reason.name()),
    }
}

/// The name of an outcome, with the exit status or the signal's number.
pub(super) const fn result_of(outcome: &Outcome) -> (&'static str, Option<i32>) {
    match outcome {
        Outcome::Exited { code } => ("exited", Some(*code)),
        Outcome::Signalled { signal } => ("signalled", Some(*signal)),
        Outcome::TimedOut { .. } => ("timed_out", None),
        Outcome::Stopped { .. } => ("stopped", None),
        Outcome::StartFailed(_) => ("start_failed", None),
        Outcome::Leaked { code } => ("leaked", Some(*code)),
        Outcome::Interrupted => ("interrupted", None),
    }
}
