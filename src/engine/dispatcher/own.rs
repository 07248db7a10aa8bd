//! hem's own doings, on their way to become events.
//!
//! An own event is written down as *untold* first: a record in the batch of what caused it, so that no crash loses it. Once that is durable
//! the event goes through the intake like any other, gets its number, and the batch that accepts it removes the record.
//! What is untold at a start is raised again; nothing is accepted twice, because nothing is raised while it is under way
//! and the record goes with the acceptance.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Dispatcher;
use crate::engine::core::Record;
use crate::engine::execution::{Actor, CancelReason, EndedAttempt, Execution, Progress, Settlement, State};
use crate::engine::handle::{Blocked, Connection};
use crate::engine::intake::Emitter;
use crate::engine::mute::{Mute, MutedBy, Scope};
use crate::engine::records::result_of;
use crate::event::id::ExecutionKey;
use crate::event::own::{self, ExecutionEnded, LastAttempt, OwnEvent, SourceDown};
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::{Event, Kind};
use crate::hooks::OwnTrigger;
use crate::kill_point;
use crate::matching;
use crate::runner::{Captured, Outcome};
use crate::store::writer::{Change, Closed, durable};
use crate::store::{ReadError, Store};

/// Own events under way at once; more of them wait in the store.
const UNDER_WAY: usize = 1_000;

/// Of what a script said last, this many characters are told.
const SAID: usize = 300;

/// What is untold, as far as this life knows. The writer's thread tells it what became of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Telling(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    /// By identity: raised, or about to be, and their acceptance is not durable.
    raised: HashSet<String>,
    /// More is untold than is under way.
    left_behind: bool,
}

impl Telling {
    /// At the start of a life: what the former one left untold is in the store alone.
    pub(super) fn of_a_former_life() -> Self {
        let telling = Self::default();
        telling.lock().left_behind = true;
        telling
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is to be raised now: not when it is under way already, nor when too many are.
    fn take_up(&self, identity: &str) -> bool {
        let mut under_way = self.lock();
        if under_way.raised.contains(identity) {
            return false;
        }
        if under_way.raised.len() >= UNDER_WAY {
            under_way.left_behind = true;
            return false;
        }
        under_way.raised.insert(identity.to_owned())
    }

    /// It was accepted, durably.
    pub(super) fn accepted(&self, identity: &str) {
        self.lock().raised.remove(identity);
    }

    /// There was no room for it: it is tried again later.
    pub(super) fn put_off(&self, identity: &str) {
        let mut under_way = self.lock();
        under_way.raised.remove(identity);
        under_way.left_behind = true;
    }
}

/// Own events that go to the intake once the records that keep them are durable.
#[derive(Debug, Default)]
pub(super) struct Raised(Vec<(String, OwnEvent)>);

impl Raised {
    pub(super) fn into_intake(self, emitter: &Emitter, telling: &Telling) {
        if !self.0.is_empty() {
            kill_point::reach("after-settle");
        }
        for (identity, own) in self.0 {
            if !emitter.raise(own.into_event(), identity.clone()) {
                telling.put_off(&identity);
            }
        }
    }
}

/// An absence that was told: the source, since when, and after how long.
pub(super) type Absence = (String, Timestamp, Duration);

impl Dispatcher {
    /// Writes down the own events that follow from a batch, in this batch, and gives them to be raised once it is durable.
    pub(super) async fn tell_of(&self, changes: &mut Vec<Change>) -> Result<Raised, Closed> {
        let mut own_events: Vec<OwnEvent> = Vec::new();
        if self.somebody_asks() {
            for change in &*changes {
                match change {
                    Change::Record(Record::Muted(mute)) => own_events.push(OwnEvent::Muted(muted(mute))),
                    Change::Record(Record::Created(execution)) => {
                        own_events.extend(self.ended(&execution.key, &execution.progress, changes).await?);
                    }
                    Change::Record(Record::Progressed { key, progress, .. }) => {
                        own_events.extend(self.ended(key, progress, changes).await?);
                    }
                    _ => {}
                }
            }
        }
        Ok(self.tell(own_events, changes))
    }

    /// Tells what was noticed while looking around: blocked lanes, absent sources, and what is still untold.
    pub(super) async fn tell_what_was_noticed(&mut self, newly_blocked: Vec<Blocked>) -> Result<(), Closed> {
        let now = self.clock.now();
        let blocked = newly_blocked.into_iter().map(|blocked| {
            OwnEvent::Blocked(own::Blocked {
                waiting: blocked.waiting,
                behind: blocked.behind,
                about: blocked.subject,
                since: blocked.since,
                at: now,
            })
        });
        let noticed: Vec<OwnEvent> = blocked.chain(self.absences(now)).collect();
        let mut changes = Vec::new();
        let mut raised = self.tell(noticed, &mut changes);
        raised.0.extend(self.left_behind().await?);
        let (emitter, telling) = (self.parts.emitter.clone(), self.telling.clone());
        self.parts
            .writer
            .submit(changes, move || raised.into_intake(&emitter, &telling))
            .await
    }

    fn somebody_asks(&self) -> bool {
        self.parts.hooks.now().index.own_triggers().next().is_some()
    }

    fn is_asked_for(&self, own: &OwnEvent) -> bool {
        let in_force = self.parts.hooks.now();
        let mut triggers = in_force.index.own_triggers();
        triggers.any(|(hook, asked)| matching::asks_for(hook, asked, own))
    }

    fn tell(&self, own_events: Vec<OwnEvent>, changes: &mut Vec<Change>) -> Raised {
        let mut raised = Raised::default();
        for own in own_events.into_iter().filter(|own| self.is_asked_for(own)) {
            let identity = own.identity();
            // Its record would outlive the acceptance that takes the former one out, and tell it again.
            if self.telling.lock().raised.contains(&identity) {
                continue;
            }
            changes.push(Change::Untold(own.clone()));
            if self.telling.take_up(&identity) {
                raised.0.push((identity, own));
            }
        }
        raised
    }

    /// What is untold in the store and not under way.
    async fn left_behind(&self) -> Result<Vec<(String, OwnEvent)>, Closed> {
        // Once more only when something is left behind again.
        let is_left = std::mem::take(&mut self.telling.lock().left_behind);
        if !is_left {
            return Ok(Vec::new());
        }
        if self.parts.room.lacking().is_some() {
            self.telling.lock().left_behind = true;
            return Ok(Vec::new());
        }
        // What was left behind may still be on its way into the store, and nothing would bring anybody to look again.
        durable(&self.parts.writer, Vec::new()).await?;
        // What is under way is asked for before the store is read: what is accepted in between has left the store.
        let under_way = self.telling.lock().raised.clone();
        let untold = match self.parts.store.untold(UNDER_WAY * 2) {
            Ok(untold) => untold,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot read which own events are still to be told"
                );
                self.telling.lock().left_behind = true;
                return Ok(Vec::new());
            }
        };
        let mut raised = Vec::new();
        for own in untold {
            let identity = own.identity();
            if !under_way.contains(&identity) && self.telling.take_up(&identity) {
                raised.push((identity, own));
            }
        }
        Ok(raised)
    }

    /// Sources that have been away for as long as somebody asks for, each told once.
    fn absences(&mut self, now: Timestamp) -> Vec<OwnEvent> {
        if self.parts.draining.is_cancelled() {
            return Vec::new();
        }
        let connections = self
            .parts
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let down: BTreeMap<&String, (Timestamp, Option<String>)> = connections
            .iter()
            .filter_map(|(name, status)| match status.connection {
                Connection::Down { since } => {
                    let error = status.last_error.as_ref().map(|(_, error)| error.clone());
                    Some((name, (since, error)))
                }
                Connection::Up { .. } => None,
            })
            .collect();
        self.told_absences
            .retain(|(name, since, _)| down.get(name).is_some_and(|(found, _)| found == since));
        let in_force = self.parts.hooks.now();
        let asked: BTreeSet<Duration> = in_force
            .index
            .own_triggers()
            .filter_map(|(_, asked)| match asked {
                OwnTrigger::SourceDown { after, .. } => Some(*after),
                _ => None,
            })
            .collect();
        let mut absences = Vec::new();
        for (name, (since, error)) in down {
            for after in asked.iter().filter(|after| now.since(since) >= **after) {
                let absence = OwnEvent::SourceDown(SourceDown {
                    source: name.clone(),
                    since,
                    after: *after,
                    error: error.clone(),
                    at: now,
                });
                // What nobody asks for now may be asked for after a reload.
                if self.is_asked_for(&absence) && self.told_absences.insert((name.clone(), since, *after)) {
                    absences.push(absence);
                }
            }
        }
        absences
    }

    /// The end of an execution, if it is one and somebody asks for it.
    async fn ended(
        &self,
        key: &ExecutionKey,
        progress: &Progress,
        changes: &[Change],
    ) -> Result<Option<OwnEvent>, Closed> {
        let State::Settled { settlement, at } = &progress.state else {
            return Ok(None);
        };
        let (outcome, reason) = outcome(settlement);
        let ended = ExecutionEnded {
            execution: key.clone(),
            turn: progress.turn,
            outcome,
            reason,
            attempts: progress.attempts,
            about: None,
            event_key: String::new(),
            why: String::new(),
            last: None,
            at: *at,
        };
        if !self.is_asked_for(&OwnEvent::Execution(ended.clone())) {
            return Ok(None);
        }
        let mut cause = cause_of(key, changes, &self.parts.store);
        if let Ok(None) = cause {
            // Its own acceptance may still be on its way into the store.
            durable(&self.parts.writer, Vec::new()).await?;
            cause = cause_of(key, changes, &self.parts.store);
        }
        let (execution, event) = match cause {
            Ok(Some(cause)) => cause,
            Ok(None) => {
                tracing::error!(execution = %key, "an execution ended that has no record; no event is made of it");
                return Ok(None);
            }
            Err(error) => {
                tracing::error!(
                    execution = %key, error = &error as &dyn std::error::Error,
                    "an execution ended whose record cannot be read; no event is made of it"
                );
                return Ok(None);
            }
        };
        // One that was itself caused by such an event ends the chain, or two hooks could keep each other going for ever.
        if event.kind() == Kind::Execution {
            return Ok(None);
        }
        let redaction = self.parts.redaction.knowing(event.payload.bytes());
        let last = changes.iter().find_map(|change| match change {
            Change::Ended { key: of, ended, .. } if of == key => Some(last_attempt(ended, &redaction)),
            _ => None,
        });
        Ok(Some(OwnEvent::Execution(ExecutionEnded {
            about: execution.subject.as_ref().map(ToString::to_string),
            event_key: redaction.text(&event.key, None),
            why: execution.why,
            last,
            ..ended
        })))
    }
}

/// The record of an execution and the event that caused it: from the batch that accepts them, or from the store.
fn cause_of(
    key: &ExecutionKey,
    changes: &[Change],
    store: &Store,
) -> Result<Option<(Execution, Event)>, ReadError> {
    let mut execution = None;
    let mut event = None;
    for change in changes {
        match change {
            Change::Record(Record::Created(created)) if created.key == *key => {
                execution = Some((**created).clone());
            }
            Change::Event { event: accepted, .. } if accepted.seq == key.event => {
                event = Some((**accepted).clone());
            }
            _ => {}
        }
    }
    if execution.is_none() {
        execution = store.execution(key)?;
    }
    if event.is_none() {
        event = store.event(key.event)?.map(|listed| listed.event);
    }
    Ok(execution.zip(event))
}

fn outcome(settlement: &Settlement) -> (own::Outcome, Option<String>) {
    match settlement {
        Settlement::Succeeded => (own::Outcome::Succeeded, None),
        Settlement::Failed => (own::Outcome::Failed, None),
        Settlement::Skipped(reason) => (own::Outcome::Skipped, Some(reason.name().to_owned())),
        Settlement::Cancelled(reason) => {
            let reason = match reason {
                CancelReason::Operator(actor) => format!("by {}", who(actor)),
                CancelReason::Stopped(actor) => format!("stopped by {}", who(actor)),
                CancelReason::HookRemoved
                | CancelReason::HookDisabled
                | CancelReason::Superseded
                | CancelReason::Expired => reason.name().to_owned(),
            };
            (own::Outcome::Cancelled, Some(reason))
        }
    }
}

fn who(actor: &Actor) -> String {
    match actor {
        Actor::User { uid } => format!("uid {uid}"),
        Actor::Token { name } => format!("token {name}"),
        Actor::Daemon => "hem".to_owned(),
    }
}

fn last_attempt(ended: &EndedAttempt, redaction: &Redaction) -> LastAttempt {
    let (result, code) = result_of(&ended.outcome);
    let said = match &ended.outcome {
        Outcome::StartFailed(failure) => Some(failure.message.clone()),
        _ => said_last(&ended.stderr).or_else(|| said_last(&ended.stdout)),
    };
    LastAttempt {
        result: result.to_owned(),
        code,
        said: said.map(|said| redaction.text(&said, None).chars().take(SAID).collect()),
    }
}

/// The last line with something in it.
fn said_last(captured: &Captured) -> Option<String> {
    let kept = if captured.tail.is_empty() {
        &captured.head
    } else {
        &captured.tail
    };
    let text = String::from_utf8_lossy(kept);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    Some(last.to_owned())
}

fn muted(mute: &Mute) -> own::Muted {
    let (hook, source, about) = match &mute.scope {
        Scope::All => (None, None, None),
        Scope::Source(source) => (None, Some(source.to_string()), None),
        Scope::Hook(hook) => (Some(hook.clone()), None, None),
        Scope::Lane(hook, subject) => (Some(hook.clone()), None, Some(subject.to_string())),
    };
    own::Muted {
        hook,
        source,
        about,
        by: match &mute.by {
            MutedBy::Operator(actor) => who(actor),
            MutedBy::Throttle => "throttle".to_owned(),
            MutedBy::LoopGuard => "loop_guard".to_owned(),
            MutedBy::Breaker => "breaker".to_owned(),
        },
        reason: mute.reason.clone(),
        until: mute.until.map(|until| until.at),
        at: mute.since,
    }
}
