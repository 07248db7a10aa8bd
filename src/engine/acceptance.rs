//! The matching thread: takes messages from the intake, decodes and matches them, and hands them to the dispatcher.
//!
//! One thread, so that the order of arrival is the order of numbers without anything having to restore it; a slow
//! condition delays the events behind it and never the reader of a source.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::core::NewExecution;
use super::dispatcher::{Message, Offer};
use super::execution::{Cause, Execution};
use super::handle::{Connection, SourceStatus};
use super::hooks_in_force::{HooksInForce, InForce};
use super::intake::{Decode, Decoded, Entry, IntakeQueue, NotKept};
use super::room::Room;
use crate::event::id::HookName;
use crate::event::{Event, Facts, RetryRequest};
use crate::hooks::Hook;
use crate::store::{EventCounters, ExecutionQuery, Store};

/// Messages decoded and matched before they are handed on together, in number and in bytes.
const TOGETHER: usize = 256;
const BYTES_TOGETHER: usize = 1 << 20;

/// How long the thread waits for a message before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);

/// How many earlier executions of a hook a RETRY message is held against, newest first.
const RETRY_SEARCH: usize = 100;

/// The sources' connections, as last heard of.
pub(super) type Connections = Arc<Mutex<BTreeMap<String, SourceStatus>>>;

pub(super) struct Acceptance {
    pub(super) queue: IntakeQueue,
    pub(super) decoders: BTreeMap<Arc<str>, Arc<dyn Decode>>,
    pub(super) hooks: Arc<HooksInForce>,
    pub(super) store: Store,
    pub(super) dispatcher: mpsc::Sender<Message>,
    pub(super) connections: Connections,
    pub(super) room: Arc<Room>,
}

impl Acceptance {
    /// Runs until `stop` is cancelled and the queue is empty, or the dispatcher is gone.
    pub(super) fn run(mut self, stop: &CancellationToken) {
        loop {
            let entries = self.queue.take(TOGETHER, WAIT);
            if entries.is_empty() && stop.is_cancelled() {
                return;
            }
            let in_force = self.hooks.now();
            let mut offers: Vec<Offer> = Vec::with_capacity(entries.len());
            let mut bytes = 0;
            let mut not_accepted: BTreeMap<Arc<str>, EventCounters> = BTreeMap::new();
            for entry in entries {
                let before = offers.len();
                self.take(entry, &in_force, &mut offers, &mut not_accepted);
                bytes += offers[before..]
                    .iter()
                    .map(|offer| offer.event.payload.bytes().len())
                    .sum::<usize>();
                if bytes >= BYTES_TOGETHER {
                    bytes = 0;
                    if !self.hand_on(std::mem::take(&mut offers), &in_force) {
                        return;
                    }
                }
            }
            for (source, counters) in not_accepted {
                let message = Message::NotAccepted {
                    source: source.to_string(),
                    counters,
                };
                if self.dispatcher.blocking_send(message).is_err() {
                    return;
                }
            }
            if !offers.is_empty() && !self.hand_on(offers, &in_force) {
                return;
            }
        }
    }

    /// Says whether there is still somebody to take it.
    fn hand_on(&self, offers: Vec<Offer>, in_force: &Arc<InForce>) -> bool {
        let message = Message::Offers(offers, Arc::clone(in_force));
        self.dispatcher.blocking_send(message).is_ok()
    }

    fn take(
        &self,
        entry: Entry,
        in_force: &InForce,
        offers: &mut Vec<Offer>,
        not_accepted: &mut BTreeMap<Arc<str>, EventCounters>,
    ) {
        match entry {
            Entry::Message { source, received } => {
                let mut count = |count: fn(&mut EventCounters)| {
                    let counters = not_accepted.entry(Arc::clone(&source)).or_default();
                    counters.received += 1;
                    count(counters);
                };
                if self.room.lacking().is_some() {
                    count(|counters| counters.lost += 1);
                    return;
                }
                let Some(decoder) = self.decoders.get(&source) else {
                    return;
                };
                match decoder.decode(received) {
                    Decoded::Event(event) => offers.push(offer(*event, in_force, &self.store)),
                    Decoded::NotKept(NotKept::Duplicate) => count(|counters| counters.duplicate += 1),
                    Decoded::NotKept(NotKept::Refused(reason)) => {
                        count(|counters| counters.refused += 1);
                        self.with_status(&source, |status| {
                            *status.refused.entry(reason.to_owned()).or_default() += 1;
                        });
                    }
                }
            }
            Entry::Lost {
                source,
                keys,
                count,
                from,
                to,
            } => {
                let counters = not_accepted.entry(Arc::clone(&source)).or_default();
                counters.received += count;
                counters.lost += count;
                tracing::error!(%source, count, %from, %to, ?keys, "events were lost: the queue was full");
                self.with_status(&source, |status| {
                    status.last_error = Some((to, format!("{count} events were lost: the queue was full")));
                });
            }
            Entry::Connected { source, at } => self.with_status(&source, |status| {
                status.connection = Connection::Up { since: at };
                status.connects += 1;
            }),
            Entry::Disconnected { source, at, why } => self.with_status(&source, |status| {
                if matches!(status.connection, Connection::Up { .. }) {
                    status.connection = Connection::Down { since: at };
                }
                status.last_error = Some((at, why));
            }),
        }
    }

    fn with_status(&self, source: &str, change: impl FnOnce(&mut SourceStatus)) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = connections.get_mut(source) {
            change(status);
        }
    }
}

/// Matches an event against the hooks in force.
pub(super) fn offer(event: Event, in_force: &InForce, store: &Store) -> Offer {
    if let Facts::Retry(retry) = &event.facts {
        let target = in_force.index.retry_target(retry.hook_id);
        let executions = match target.filter(|hook| in_force.is_enabled(hook)) {
            Some(hook) => vec![repeated(retry, &event, hook, store)],
            None => Vec::new(),
        };
        return Offer {
            event: Box::new(event),
            executions,
            condition_errors: 0,
            absent_elements: 0,
            reply: None,
        };
    }
    let found = in_force.index.matches(&event);
    for (hook, error) in &found.condition_errors {
        tracing::warn!(hook = %hook.name, key = %event.key, error, "a condition could not be worked out; nothing runs");
    }
    let executions = found
        .matches
        .into_iter()
        .map(|found| NewExecution {
            hook: found.hook,
            why: found.why,
            cause: Cause::Event,
            retry_of: None,
            lane_subject: None,
        })
        .collect();
    Offer {
        event: Box::new(event),
        executions,
        condition_errors: found.condition_errors.len() as u64,
        absent_elements: found.absent_elements.len() as u64,
        reply: None,
    }
}

/// The execution a RETRY message asks for. It joins the lane of the newest one with the same arguments.
fn repeated(retry: &RetryRequest, event: &Event, hook: &Arc<Hook>, store: &Store) -> NewExecution {
    let former = match former_execution(store, &hook.name, &retry.arguments) {
        Ok(former) => former,
        Err(error) => {
            tracing::warn!(hook = %hook.name, error = &error as &dyn std::error::Error, "cannot look for the execution that is to be repeated");
            None
        }
    };
    NewExecution {
        hook: Arc::clone(hook),
        why: format!("RETRY of hook {}", retry.hook_id),
        cause: Cause::RetryMessage(event.seq),
        lane_subject: former.as_ref().and_then(|execution| execution.subject.clone()),
        retry_of: former.map(|execution| execution.key),
    }
}

fn former_execution(
    store: &Store,
    hook: &HookName,
    arguments: &str,
) -> Result<Option<Execution>, crate::store::ReadError> {
    let query = ExecutionQuery {
        hook: Some(hook.clone()),
        limit: RETRY_SEARCH,
        ..ExecutionQuery::default()
    };
    for execution in store.executions(&query)? {
        let same = store.attempts(&execution.key)?.iter().any(|attempt| {
            attempt.process.as_ref().is_some_and(|process| {
                process
                    .argv
                    .get(1..)
                    .is_some_and(|recorded| recorded.join(" ") == arguments)
            })
        });
        if same {
            return Ok(Some(execution));
        }
    }
    Ok(None)
}
