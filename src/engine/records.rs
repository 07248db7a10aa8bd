//! What a source may look up of what was accepted from it: its newest events, and what became of what they caused.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::broadcast::{self, error::RecvError};

use super::execution::{Execution, Settlement, State};
use super::feed::Feed;
use super::handle::Notice;
use crate::event::Event;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::time::Timestamp;
use crate::runner::Outcome;
pub use crate::store::ReadError;
use crate::store::{EventQuery, Store};

/// The records, for reading. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Records {
    pub(super) store: Store,
    pub(super) feed: Feed,
}

/// Where an execution stands, as a sender is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionStanding {
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

/// How far an execution got, as a sender is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for its turn.
    Waiting,
    /// It runs.
    Running,
    /// It failed and is to be repeated by itself.
    Retrying,
    /// It ended well.
    Succeeded,
    /// It failed for good.
    Failed,
    /// It never ran, by a policy.
    Skipped,
    /// Somebody ended it.
    Cancelled,
}

impl Phase {
    /// Whether nothing more comes by itself.
    pub const fn is_settled(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running | Self::Retrying)
    }
}

/// How far an execution got, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// How far.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
}

/// An execution's whole way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Which execution it is.
    pub execution: ExecutionKey,
    /// How far it got.
    pub stage: Stage,
    /// Why it was skipped or cancelled, where it was.
    pub reason: Option<&'static str>,
    /// Its attempts, in order.
    pub attempts: Vec<Try>,
}

/// One attempt of an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// Its number, from 1.
    pub number: u32,
    /// When it was released to start.
    pub released: Timestamp,
    /// The program that was started.
    pub program: Option<String>,
    /// When it ended, and how (`exited`, `signalled`, `timed_out` …), with the exit status or the signal's number.
    pub ended: Option<(Timestamp, &'static str, Option<i32>)>,
}

/// What happens to executions, as it happens.
#[derive(Debug)]
pub struct Changes(broadcast::Receiver<Notice>);

/// Something that happened to executions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// An execution that this event caused changed its state.
    Execution {
        /// The event.
        event: Seq,
        /// Whether nothing more comes of the execution by itself.
        is_settled: bool,
    },
    /// Too much happened at once, and nobody knows what.
    Missed,
}

impl Changes {
    /// Waits for the next one; none when the engine has ended. Dropped, it loses nothing.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.0.recv().await {
                Ok(Notice::Execution(execution)) => {
                    return Some(Change::Execution {
                        event: execution.key.event,
                        is_settled: execution.progress.state.is_settled(),
                    });
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return Some(Change::Missed),
                Err(RecvError::Closed) => return None,
            }
        }
    }
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

    /// Visits the newest events of a source, newest first, without their payloads. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn visit_newest(
        &self,
        source: &str,
        limit: usize,
        mut visit: impl FnMut(Event),
    ) -> Result<(), ReadError> {
        let mut visited = 0;
        self.store.visit_events(|listed| {
            if *listed.event.source == *source {
                visited += 1;
                visit(listed.event);
            }
            visited < limit
        })
    }

    /// An event without its payload. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn header(&self, event: Seq) -> Result<Option<Event>, ReadError> {
        Ok(self.store.event_header(event)?.map(|listed| listed.event))
    }

    /// Whether an event is still on record. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn has(&self, event: Seq) -> Result<bool, ReadError> {
        self.store.has_event(event)
    }

    /// How far everything got that an event caused, in the order of the hooks' names. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn stages(&self, event: Seq) -> Result<Vec<Stage>, ReadError> {
        Ok(self.store.executions_of(event)?.iter().map(stage).collect())
    }

    /// The whole way of everything that an event caused, in the order of the hooks' names. Waits for the disk.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn courses(&self, event: Seq) -> Result<Vec<Course>, ReadError> {
        let executions = self.store.executions_of(event)?;
        executions
            .iter()
            .map(|execution| course(&self.store, execution))
            .collect()
    }

    /// What happens to executions from now on.
    pub fn changes(&self) -> Changes {
        Changes(self.feed.subscribe())
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
        // An end is told by the time it is in the store: waited for first and read then, none is missed.
        let mut ends = self.feed.ends_of(event);
        let mut open = self.unsettled(event).await?;
        while !open.is_empty()
            && let Some(ended) = ends.next().await
        {
            open.retain(|hook| *hook != ended);
        }
        Ok(())
    }

    /// Where everything stands that an event caused, in the order of the hooks' names.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn standings(&self, event: Seq) -> Result<Vec<ExecutionStanding>, ReadError> {
        self.read(move |store| {
            let executions = store.executions_of(event)?;
            executions
                .iter()
                .map(|execution| standing(store, execution))
                .collect()
        })
        .await
    }

    async fn unsettled(&self, event: Seq) -> Result<Vec<HookName>, ReadError> {
        self.read(move |store| {
            let executions = store.executions_of(event)?;
            let open = executions
                .into_iter()
                .filter(|execution| !execution.progress.state.is_settled());
            Ok(open.map(|execution| execution.key.hook).collect())
        })
        .await
    }

    /// Reads on a thread that may wait for the disk.
    async fn read<T: Send + Default + 'static>(
        &self,
        read: impl FnOnce(&Store) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let store = self.store.clone();
        apart(move || read(&store)).await.map(Option::unwrap_or_default)
    }
}

/// Reads on a thread that may wait for the disk. None where the runtime ends over it: that takes its threads along, and whoever waits here.
///
/// # Errors
/// The store cannot be read; a panic is no lack of records.
pub async fn apart<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<Option<T>, ReadError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(read) => read.map(Some),
        Err(error) if error.is_panic() => Err(ReadError::Fault(error.to_string())),
        Err(_) => Ok(None),
    }
}

fn standing(store: &Store, execution: &Execution) -> Result<ExecutionStanding, ReadError> {
    let state = &execution.progress.state;
    let attempts = store.attempts(&execution.key)?;
    let ended = attempts.iter().rev().find_map(|attempt| attempt.ended.as_ref());
    Ok(ExecutionStanding {
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

fn stage(execution: &Execution) -> Stage {
    let (phase, since) = match &execution.progress.state {
        State::Queued { since, .. } => (Phase::Waiting, *since),
        State::Debouncing { .. } => (Phase::Waiting, execution.accepted),
        State::Running { since, .. } => (Phase::Running, *since),
        State::Retrying { due, delay } => {
            let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
            let since = Timestamp::from_millis(due.as_millis().saturating_sub(delay));
            (Phase::Retrying, since)
        }
        State::Settled { settlement, at } => {
            let phase = match settlement {
                Settlement::Succeeded => Phase::Succeeded,
                Settlement::Failed => Phase::Failed,
                Settlement::Skipped(_) => Phase::Skipped,
                Settlement::Cancelled(_) => Phase::Cancelled,
            };
            (phase, *at)
        }
    };
    Stage { phase, since }
}

fn course(store: &Store, execution: &Execution) -> Result<Course, ReadError> {
    let attempts = store.attempts(&execution.key)?;
    Ok(Course {
        execution: execution.key.clone(),
        stage: stage(execution),
        reason: match &execution.progress.state {
            State::Settled { settlement, .. } => reason(settlement),
            _ => None,
        },
        attempts: attempts
            .into_iter()
            .map(|attempt| Try {
                number: attempt.number,
                released: attempt.released,
                program: attempt
                    .process
                    .and_then(|process| process.argv.into_iter().next()),
                ended: attempt.ended.map(|ended| {
                    let (outcome, code) = result_of(&ended.outcome);
                    (ended.at, outcome, code)
                }),
            })
            .collect(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_fault_is_not_taken_for_a_lack_of_records() {
        assert_eq!(apart(|| Ok(1)).await.expect("it is read"), Some(1));
        let panics = apart(|| -> Result<u8, ReadError> { panic!("index out of bounds") });
        let error = panics.await.expect_err("a fault");
        assert!(error.to_string().contains("index out of bounds"), "{error}");
    }
}
