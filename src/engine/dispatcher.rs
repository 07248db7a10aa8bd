//! The dispatcher: owns the scheduler core, gives events their numbers, has records written and carries effects out.
//!
//! It decides in memory, hands the records to the writer, and the writer's thread releases the effects once they are
//! durable. Only the dispatcher knows what runs.

mod blocked;
mod mutes;
mod own;
mod pace;
mod recovery;
mod role;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle as Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::blocked::ReportedBlocked;
use self::mutes::of_mute;
use self::own::{Absence, Telling};
use self::pace::Pace;
use super::acceptance::Connections;
use super::acceptance_times::AcceptanceTimes;
use super::attempt::{Attempts, Ran, verdict};
use super::clock::Clock;
use super::core::{Core, Effect, Input, Refusal, Step};
use super::execution::{Actor, CancelReason, Cause, Execution, State};
use super::feed::{Feed, touched};
use super::handle::{
    Accepted, Blocked, Kept, Muted, Notice, OrderError, Status, StopCounts, Stopping, Unmuted,
};
use super::hooks_in_force::{HooksInForce, InForce};
use super::intake::{Emitter, NotAccepted};
use super::mute::{Mute, Scope, Then};
use super::offer::Offer;
use super::outbox::Outbox;
use super::pool::SharedPool;
use super::role::{PresentRole, Standing};
use super::room::Room;
use crate::event::id::{ExecutionKey, HookName};
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};
use crate::hooks::Hook;
use crate::kill_point;
use crate::store::writer::{Change, Closed, Writer, durable};
use crate::store::{EventCounters, ListedEvent, Override, Store};

/// Messages that may wait for the dispatcher; whoever sends more waits.
pub(super) const QUEUE: usize = 16;

/// How often the clocks are compared and lanes looked at that wait too long.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// What a former life left, with the hook it is pinned to where that can be had.
pub(super) type Unsettled = (Execution, Option<Arc<Hook>>);

/// All that a former life left.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) unsettled: Vec<Unsettled>,
    pub(super) mutes: Vec<Mute>,
    /// The newest executions, settled ones too, that count for the policies of the hooks they are given with.
    pub(super) past: Vec<(Execution, Arc<Hook>)>,
}

/// What the dispatcher is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Events in the order of their arrival, and the hooks they were matched against.
    Offers(Vec<Offer>, Arc<InForce>),
    /// Received and not accepted.
    NotAccepted { source: String, counters: EventCounters },
    /// What was learned of a controller's resources other than by an event.
    Learned(Vec<Change>),
    /// What a source wants kept; answered when it is durable.
    Kept {
        changes: Vec<Change>,
        reply: oneshot::Sender<Result<(), NotAccepted>>,
    },
    /// An attempt ended.
    Ended {
        key: ExecutionKey,
        attempt: u32,
        hook: Arc<Hook>,
        ran: Ran,
    },
    /// `hem retry`.
    Retry {
        keys: Vec<(ExecutionKey, Option<Arc<Hook>>)>,
        as_recorded: bool,
        actor: Actor,
        reply: oneshot::Sender<Vec<Result<(), OrderError>>>,
    },
    /// `hem cancel`.
    Cancel {
        key: ExecutionKey,
        actor: Actor,
        reply: oneshot::Sender<Result<(), OrderError>>,
    },
    /// What a former life left.
    Recover { left: Left, reply: oneshot::Sender<()> },
    /// `hem hooks enable`, `disable`.
    Override {
        hook: HookName,
        value: Option<Override>,
        actor: Actor,
        reply: oneshot::Sender<()>,
    },
    /// The set of hooks was replaced.
    HooksChanged {
        withdrawn: Vec<(HookName, CancelReason)>,
        changes: Vec<Change>,
        reply: oneshot::Sender<()>,
    },
    /// Settings that the dispatcher works by were changed.
    Settings {
        concurrency: usize,
        blocked_after: Duration,
    },
    /// A line for the audit log.
    Audit {
        actor: Actor,
        action: &'static str,
        target: String,
        reply: oneshot::Sender<()>,
    },
    /// `hem mute`.
    Mute {
        scope: Scope,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<Muted, OrderError>>,
    },
    /// `hem unmute`.
    Unmute {
        scope: Scope,
        then: Then,
        actor: Actor,
        reply: oneshot::Sender<Result<Unmuted, OrderError>>,
    },
    /// What `hem stop` would do.
    StopCounts {
        hook: HookName,
        reply: oneshot::Sender<Result<StopCounts, OrderError>>,
    },
    /// `hem stop`.
    StopHook {
        hook: HookName,
        length: Option<Duration>,
        reason: Option<String>,
        actor: Actor,
        reply: oneshot::Sender<Result<StopCounts, OrderError>>,
    },
    /// How `oned` stands among those of the zone.
    Standing(Standing),
    /// There was no room to accept the own event of this identity.
    PutOff { identity: String },
    /// The daemon stops: nothing more is started. Answered when all that was started before is on its way.
    Stop { reply: oneshot::Sender<()> },
    /// Answered when what was submitted before is durable.
    Pulse { reply: oneshot::Sender<()> },
    /// How does it do?
    Status { reply: oneshot::Sender<Status> },
}

/// What the dispatcher works with.
pub(super) struct Parts {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) attempts: Arc<Attempts>,
    pub(super) hooks: Arc<HooksInForce>,
    pub(super) connections: Connections,
    pub(super) room: Arc<Room>,
    pub(super) outbox: Outbox,
    pub(super) pool: Option<SharedPool>,
    pub(super) role: Arc<PresentRole>,
    /// When a former life is last known to have led.
    pub(super) last_led: Option<Timestamp>,
    pub(super) feed: Feed,
    pub(super) tracker: TaskTracker,
    pub(super) inbox: mpsc::Sender<Message>,
    pub(super) emitter: Emitter,
    pub(super) redaction: Redaction,
    pub(super) concurrency: usize,
    pub(super) blocked_after: Duration,
    /// Cancelled when the daemon stops: what ends from then on because it is told to was interrupted.
    pub(super) draining: CancellationToken,
    /// Cancelled when all that still runs is to end.
    pub(super) ending: CancellationToken,
}

/// The dispatcher's state.
pub(super) struct Dispatcher {
    parts: Parts,
    core: Core,
    clock: Clock,
    started: Timestamp,
    /// What ends a running attempt.
    running: HashMap<ExecutionKey, CancellationToken>,
    reported_blocked: ReportedBlocked,
    telling: Telling,
    told_absences: BTreeSet<Absence>,
    times: Arc<AcceptanceTimes>,
    pace: Pace,
    /// When it was last written down that this front-end leads.
    noted_leading: Option<Timestamp>,
}

impl Dispatcher {
    /// A dispatcher over a store that was just opened.
    pub(super) fn new(parts: Parts) -> Self {
        let clock = Clock::start();
        let mut core = Core::new(parts.concurrency, fastrand::Rng::new());
        if parts.role.standby().is_some() {
            // A store that says nothing may be as old as anything in it.
            core.stand_by(parts.last_led.unwrap_or_default());
            parts.outbox.pause();
        }
        if parts.role.observes() {
            core.only_observe();
            parts.outbox.pause();
        }
        Self {
            core,
            started: clock.now(),
            clock,
            running: HashMap::new(),
            reported_blocked: ReportedBlocked::default(),
            telling: Telling::of_a_former_life(),
            told_absences: BTreeSet::new(),
            times: Arc::default(),
            pace: Pace::default(),
            noted_leading: None,
            parts,
        }
    }

    /// Works until `stop` is cancelled.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Message>, stop: CancellationToken) {
        let mut look_around = tokio::time::interval(LOOK_AROUND);
        look_around.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.core.next_due().map(|due| due.since(self.clock.now()));
            let outcome = tokio::select! {
                message = inbox.recv() => match message {
                    Some(message) => self.take(message).await,
                    None => return,
                },
                () = sleep_for(due) => self.decide(Input::Tick, Vec::new(), || ()).await,
                _ = look_around.tick() => self.look_around().await,
                () = stop.cancelled() => return,
            };
            if outcome.is_err() {
                return;
            }
        }
    }

    async fn take(&mut self, message: Message) -> Result<(), Closed> {
        match message {
            Message::Offers(offers, matched_against) => {
                let in_force = self.parts.hooks.now();
                let is_the_same = Arc::ptr_eq(&in_force, &matched_against);
                for offer in offers {
                    // Acceptance is what counts: each event meets one set of hooks, and that as a whole.
                    let offer = if is_the_same {
                        offer
                    } else {
                        offer.matched_again(&in_force, &self.parts.store)
                    };
                    self.accept(offer).await?;
                }
                Ok(())
            }
            Message::NotAccepted { source, counters } => {
                let change = Change::NotAccepted { source, counters };
                self.parts.writer.submit(vec![change], || ()).await
            }
            Message::Learned(changes) => self.parts.writer.submit(changes, || ()).await,
            Message::Kept { changes, reply } => self.answer_when_durable(changes, Ok(()), reply).await,
            Message::Ended {
                key,
                attempt,
                hook,
                ran,
            } => {
                self.running.remove(&key);
                let Ran {
                    unrecorded,
                    ended,
                    wording,
                    showing,
                } = ran;
                let verdict = verdict(&ended.outcome, self.parts.draining.is_cancelled());
                let started = unrecorded.map(|process| Change::Started {
                    key: key.clone(),
                    attempt,
                    process,
                });
                let outbox = self.parts.outbox.clone();
                let letter = outbox.letter(&hook, &key, attempt, &ended, wording);
                let mut changes = Vec::from_iter(started);
                changes.push(Change::Ended {
                    key: key.clone(),
                    attempt,
                    ended,
                });
                changes.extend(letter.as_ref().map(|letter| Change::Owed(letter.owed.clone())));
                self.decide(
                    Input::Ended {
                        key,
                        attempt,
                        verdict,
                    },
                    changes,
                    move || {
                        drop(showing);
                        if let Some(letter) = letter {
                            outbox.post(letter);
                        }
                    },
                )
                .await
            }
            Message::Recover { left, reply } => {
                self.recover(left).await?;
                // Whoever asked may have gone away.
                let _ = reply.send(());
                Ok(())
            }
            Message::Retry {
                keys,
                as_recorded,
                actor,
                reply,
            } => self.retry(keys, as_recorded, actor, reply).await,
            Message::Cancel { key, actor, reply } => self.cancel(key, actor, reply).await,
            Message::Mute {
                scope,
                length,
                reason,
                actor,
                reply,
            } => self.mute(scope, length, reason, actor, reply).await,
            Message::Unmute {
                scope,
                then,
                actor,
                reply,
            } => self.unmute(scope, then, actor, reply).await,
            Message::StopCounts { hook, reply } => {
                let counts = self.known_hook(hook).map(|hook| self.stop_counts(&hook));
                // Whoever asked may have gone away.
                let _ = reply.send(counts);
                Ok(())
            }
            Message::StopHook {
                hook,
                length,
                reason,
                actor,
                reply,
            } => self.stop_hook(hook, length, reason, actor, reply).await,
            Message::Override {
                hook,
                value,
                actor,
                reply,
            } => {
                let action = match &value {
                    Some(value) if value.enabled => "enable",
                    Some(_) => "disable",
                    None => "reset",
                };
                let changes = vec![
                    Change::Override(hook.clone(), value.clone()),
                    self.audit(actor, action, hook.to_string()),
                ];
                let withdrawn = self.parts.hooks.set_override(&hook, value);
                self.withdraw(withdrawn, changes, reply).await
            }
            Message::HooksChanged {
                withdrawn,
                changes,
                reply,
            } => self.withdraw(withdrawn, changes, reply).await,
            Message::Settings {
                concurrency,
                blocked_after,
            } => {
                (self.parts.concurrency, self.parts.blocked_after) = (concurrency, blocked_after);
                self.decide(Input::Concurrency(concurrency), Vec::new(), || ())
                    .await
            }
            Message::Audit {
                actor,
                action,
                target,
                reply,
            } => {
                let change = self.audit(actor, action, target);
                self.parts
                    .writer
                    .submit(vec![change], move || {
                        let _ = reply.send(());
                    })
                    .await
            }
            Message::Stop { reply } => {
                self.decide(Input::Stop, Vec::new(), || ()).await?;
                self.answer_when_durable(Vec::new(), (), reply).await
            }
            Message::Standing(standing) => self.stand(standing).await,
            Message::PutOff { identity } => {
                self.telling.put_off(&identity);
                Ok(())
            }
            Message::Pulse { reply } => self.answer_when_durable(Vec::new(), (), reply).await,
            Message::Status { reply } => {
                // Whoever asked may have gone away.
                let _ = reply.send(self.status());
                Ok(())
            }
        }
    }

    async fn answer_when_durable<T: Send + 'static>(
        &mut self,
        changes: Vec<Change>,
        answer: T,
        reply: oneshot::Sender<T>,
    ) -> Result<(), Closed> {
        let on_durable = move || {
            // Whoever asked may have gone away.
            let _ = reply.send(answer);
        };
        self.parts.writer.submit(changes, on_durable).await
    }

    async fn accept(&mut self, offer: Offer) -> Result<(), Closed> {
        let Offer {
            event,
            executions,
            condition_errors,
            absent_elements,
            asked,
            delivered,
            tells,
            learned,
            is_for_one_hook: _,
        } = offer;
        let hooks: Vec<HookName> = executions.iter().map(|new| new.hook.name.clone()).collect();
        let mut changes: Vec<Change> = executions
            .iter()
            .map(|new| Change::Definition(Arc::clone(&new.hook)))
            .collect();
        let accepted = Accepted {
            seq: event.seq,
            executions: hooks
                .iter()
                .map(|hook| ExecutionKey::new(event.seq, hook.clone()))
                .collect(),
        };
        if let Some(asked) = &asked {
            changes.push(self.audit(
                asked.actor.clone(),
                "emit",
                format!("{} {}", event.seq, event.key),
            ));
        }
        let notice = self.parts.feed.is_followed().then(|| {
            Notice::Event(Arc::new(ListedEvent {
                event: Event {
                    payload: Payload::new(bytes::Bytes::new()),
                    ..(*event).clone()
                },
                payload_len: event.payload.bytes().len() as u64,
                hooks: hooks.clone(),
            }))
        });
        let (seq, source, received) = (event.seq, Arc::clone(&event.source), event.received);
        let subject = event.subject.clone();
        // What users do to their accounts carries their passwords: nobody asked for it, so only the fact is kept.
        let private = hooks.is_empty()
            && matches!(&event.facts, Facts::Api(call) if call.call.starts_with("one.user."));
        changes.push(Change::Event {
            event,
            hooks,
            condition_errors,
            absent_elements,
            keep_payload: !private,
        });

        changes.extend(tells.clone().map(Change::Told));
        changes.extend(learned);
        let (feed, times) = (self.parts.feed.clone(), Arc::clone(&self.times));
        let telling = self.telling.clone();
        let on_durable = move || {
            kill_point::reach("after-accept");
            if let Some(told) = tells {
                telling.accepted(&told);
            }
            times.count(received);
            if let Some(notice) = notice {
                feed.tell(notice);
            }
            // Neither may be there any more.
            if let Some(delivered) = delivered {
                let _ = delivered.send(Ok(accepted.clone()));
            }
            if let Some(asked) = asked {
                let _ = asked.reply.send(Ok(accepted));
            }
        };
        self.decide(
            Input::Accept {
                seq,
                source,
                subject,
                matches: executions,
            },
            changes,
            on_durable,
        )
        .await
    }

    async fn retry(
        &mut self,
        keys: Vec<(ExecutionKey, Option<Arc<Hook>>)>,
        as_recorded: bool,
        actor: Actor,
        reply: oneshot::Sender<Vec<Result<(), OrderError>>>,
    ) -> Result<(), Closed> {
        if let Some(refusal) = self.parts.role.starts_nothing() {
            // Whoever asked may have gone away.
            let _ = reply.send(keys.iter().map(|_| Err(refusal.clone())).collect());
            return Ok(());
        }
        // What was decided and is still being written must stand in the records that are read now.
        durable(&self.parts.writer, Vec::new()).await?;
        let mut results = Vec::with_capacity(keys.len());
        let mut last = None;
        for (key, hook) in keys {
            // Between here and the commit nothing may prune what is read here.
            let held = self.parts.store.hold(key.event);
            let result = match (hook, self.parts.store.execution(&key)) {
                (_, Err(error)) => Err(OrderError::NotPossible(error.to_string())),
                (_, Ok(None)) => Err(OrderError::NoSuchExecution(key.clone())),
                (None, Ok(Some(_))) => Err(OrderError::NoSuchHook(key.hook.clone())),
                (Some(hook), Ok(Some(execution))) => {
                    let changes = vec![
                        Change::Definition(Arc::clone(&hook)),
                        self.audit(actor.clone(), "retry", key.to_string()),
                    ];
                    let cause = Cause::Operator {
                        actor: actor.clone(),
                        as_recorded,
                    };
                    let input = Input::Reopen {
                        execution: Box::new(execution),
                        hook,
                        cause,
                    };
                    match self.core.step(input, self.clock.now()) {
                        Ok(step) => {
                            let (durable, waits) = oneshot::channel();
                            self.submit(changes, step, move || {
                                drop(held);
                                let _ = durable.send(());
                            })
                            .await?;
                            last = Some(waits);
                            Ok(())
                        }
                        Err(refusal) => Err(refused(&refusal)),
                    }
                }
            };
            results.push(result);
        }
        // The journal is one sequence: when the last one is durable, all are.
        self.parts.tracker.spawn(async move {
            if let Some(last) = last
                && last.await.is_err()
            {
                return;
            }
            let _ = reply.send(results);
        });
        Ok(())
    }

    async fn cancel(
        &mut self,
        key: ExecutionKey,
        actor: Actor,
        reply: oneshot::Sender<Result<(), OrderError>>,
    ) -> Result<(), Closed> {
        if let Some(refusal) = self.parts.role.observes_only() {
            // Whoever asked may have gone away.
            let _ = reply.send(Err(refusal));
            return Ok(());
        }
        let change = self.audit(actor.clone(), "cancel", key.to_string());
        match self.core.step(Input::Cancel { key, actor }, self.clock.now()) {
            Ok(step) => {
                self.submit(vec![change], step, move || {
                    let _ = reply.send(Ok(()));
                })
                .await
            }
            Err(refusal) => {
                let _ = reply.send(Err(refused(&refusal)));
                Ok(())
            }
        }
    }

    async fn withdraw(
        &mut self,
        withdrawn: Vec<(HookName, CancelReason)>,
        changes: Vec<Change>,
        reply: oneshot::Sender<()>,
    ) -> Result<(), Closed> {
        // All in one batch with the order that causes it: a crash between them would leave work that is cancelled for an order
        // that nobody gave.
        let mut all = Step::default();
        for (hook, reason) in withdrawn {
            match self.core.step(Input::Withdraw { hook, reason }, self.clock.now()) {
                Ok(Step { records, effects }) => {
                    all.records.extend(records);
                    all.effects.extend(effects);
                }
                Err(refusal) => not_asked(&refusal),
            }
        }
        if all.records.is_empty() && all.effects.is_empty() {
            // With no changes either, `submit` would answer at once; whoever asked is answered behind what was submitted before.
            return self.answer_when_durable(changes, (), reply).await;
        }
        self.submit(changes, all, move || {
            // Whoever asked may have gone away.
            let _ = reply.send(());
        })
        .await
    }

    fn audit(&self, actor: Actor, action: &'static str, target: String) -> Change {
        Change::Audit {
            at: self.clock.now(),
            actor,
            action,
            target,
        }
    }

    /// Lets the core decide something that it cannot refuse.
    async fn decide(
        &mut self,
        input: Input,
        changes: Vec<Change>,
        on_durable: impl FnOnce() + Send + 'static,
    ) -> Result<(), Closed> {
        match self.core.step(input, self.clock.now()) {
            Ok(step) => self.submit(changes, step, on_durable).await,
            Err(refusal) => {
                not_asked(&refusal);
                Ok(())
            }
        }
    }

    /// Has a step written; its effects follow when it is durable.
    async fn submit(
        &mut self,
        mut changes: Vec<Change>,
        step: Step,
        on_durable: impl FnOnce() + Send + 'static,
    ) -> Result<(), Closed> {
        let Step { records, effects } = step;
        self.pace.note(&records, self.clock.now());
        let touched = touched(&records);
        let mute_notices: Vec<Notice> = records.iter().filter_map(of_mute).collect();
        changes.extend(records.into_iter().map(Change::Record));
        let raised = self.tell_of(&mut changes).await?;
        if changes.is_empty() && effects.is_empty() {
            on_durable();
            return Ok(());
        }
        let mut starts = Vec::new();
        let mut ends = Vec::new();
        for effect in effects {
            match effect {
                Effect::Start {
                    key, attempt, hook, ..
                } => {
                    let stop = self.parts.ending.child_token();
                    self.running.insert(key.clone(), stop.clone());
                    starts.push((key, attempt, hook, stop));
                }
                Effect::End { key, .. } => ends.extend(self.running.get(&key).cloned()),
            }
        }
        let (attempts, inbox) = (Arc::clone(&self.parts.attempts), self.parts.inbox.clone());
        let (tracker, runtime) = (self.parts.tracker.clone(), Runtime::current());
        let (store, feed) = (self.parts.store.clone(), self.parts.feed.clone());
        let (emitter, telling) = (self.parts.emitter.clone(), self.telling.clone());
        self.parts
            .writer
            .submit(changes, move || {
                on_durable();
                raised.into_intake(&emitter, &telling);
                for notice in mute_notices {
                    feed.tell(notice);
                }
                feed.tell_of(touched, &store);
                for stop in ends {
                    stop.cancel();
                }
                for (key, attempt, hook, stop) in starts {
                    let inbox = inbox.clone();
                    let run = attempts.run(key.clone(), attempt, Arc::clone(&hook), stop);
                    tracker.spawn_on(
                        async move {
                            let ran = run.await;
                            kill_point::reach("before-settle");
                            // The dispatcher is gone only when the daemon is: the next one finds the attempt interrupted.
                            let ended = Message::Ended {
                                key,
                                attempt,
                                hook,
                                ran,
                            };
                            let _ = inbox.send(ended).await;
                        },
                        &runtime,
                    );
                }
            })
            .await
    }

    async fn look_around(&mut self) -> Result<(), Closed> {
        if self.clock.follow_jump(Timestamp::now()) {
            tracing::warn!(now = %self.clock.now(), "the clock was set; waits are shortened to their full delay at most");
            self.pace.forget();
            self.decide(Input::ClockJumped, Vec::new(), || ()).await?;
        }
        // Once a second, so that one of the runtime's threads for what blocks is always there: where the machine has no room
        // for another thread, what is to be laid out and read waits for that one.
        let (room, backlog) = (Arc::clone(&self.parts.room), self.core.unsettled());
        self.parts.tracker.spawn_blocking(move || room.look(backlog));
        if let Some(change) = self.still_leads() {
            self.parts.writer.submit(vec![change], || ()).await?;
        }
        let newly = self.reported_blocked.newly(self.blocked());
        // A store with nothing to write still has to look for what is too old: this submits in any case.
        self.tell_what_was_noticed(newly).await
    }

    fn blocked(&self) -> Vec<Blocked> {
        let waiting = self.core.blocked(self.parts.blocked_after, self.clock.now());
        waiting
            .into_iter()
            .map(|waiting| Blocked {
                subject: waiting.subject.map(|subject| subject.to_string()),
                waiting: waiting.waiting,
                behind: waiting.behind,
                since: waiting.since,
            })
            .collect()
    }

    fn status(&self) -> Status {
        let summary = self.parts.store.summary();
        let mut executions: BTreeMap<&'static str, u64> = BTreeMap::new();
        let ends = ["succeeded", "failed", "skipped", "cancelled"];
        for name in State::UNSETTLED.into_iter().chain(ends) {
            executions.insert(name, summary.executions.get(name).copied().unwrap_or_default());
        }
        let (mutes, queue) = self.held_and_queue();
        Status {
            store: self.parts.store.id().clone(),
            started: self.started,
            last_seq: summary.last_seq,
            events: summary.events,
            executions,
            held: queue.iter().map(|group| group.held).sum(),
            mutes,
            queue,
            sources: self
                .parts
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            blocked: self.blocked(),
            running: self.core.running(),
            concurrency: self.parts.concurrency,
            stale: self.parts.hooks.stale(),
            silent_folder: self.parts.hooks.looks().silent_since(),
            condition_errors: summary.condition_errors,
            absent_elements: summary.absent_elements,
            acceptance_millis: self.times.buckets(),
            acceptance_total: self.times.total(),
            kept: Kept {
                matched_events: summary.matched_kept,
                unmatched_events: summary.unmatched_kept,
                bytes: summary.bytes,
            },
            not_accepting: self.parts.room.lacking(),
            role: self.parts.role.now().as_deref().cloned(),
            observing: self.parts.role.observes(),
            outboxes: self.parts.outbox.status(),
            pool: self.parts.pool.as_ref().map(SharedPool::status),
        }
    }
}

fn not_asked(refusal: &Refusal) {
    tracing::error!(%refusal, "the scheduler refused what it is not asked about");
}

fn refused(refusal: &Refusal) -> OrderError {
    OrderError::NotPossible(refusal.to_string())
}

async fn sleep_for(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

impl From<Closed> for Stopping {
    fn from(_: Closed) -> Self {
        Self
    }
}
