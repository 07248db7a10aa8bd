//! The matching thread: takes messages from the intake, decodes and matches them, and hands them to the dispatcher.
//!
//! One thread, so that the order of arrival is the order of numbers without anything having to restore it; a slow
//! condition delays the events behind it and never the reader of a source.

mod catch_up;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(super) use self::catch_up::Tracked;
use super::bookmark::Bookmark;
use super::dispatcher::Message;
use super::handle::{Connection, OrderError, SourceStatus};
use super::hooks_in_force::{HooksInForce, InForce};
use super::intake::{
    Decode, Decoded, Delivery, Emission, Entry, IntakeQueue, Keeping, Loss, NotAccepted, NotKept, Received,
    Thread,
};
use super::offer::{Asked, Offer, panic_text};
use super::pool::SharedPool;
use super::role::PresentRole;
use super::room::Room;
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts, Gap};
use crate::store::writer::Change;
use crate::store::{EventCounters, Store};

/// Messages decoded and matched before they are handed on together, in number and in bytes.
const TOGETHER: usize = 256;
const BYTES_TOGETHER: usize = 1 << 20;

/// Why a hem on standby keeps nothing.
const STANDBY: &str = "standby";

/// Events on record among which the newest of a source is looked for: the queue fills meanwhile.
const LOOKED_AT: usize = 100_000;

/// How long the thread waits for a message before it looks whether it is to end.
const WAIT: Duration = Duration::from_millis(100);

/// In place of a count of rounds: the thread has ended, and makes none any more.
pub(super) const NO_MORE_ROUNDS: u64 = u64::MAX;

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
    pub(super) role: Arc<PresentRole>,
    /// Whether hem worked when that was last looked at.
    pub(super) works: bool,
    /// Counts its rounds, for whoever wants to know whether it lives.
    pub(super) rounds: Arc<AtomicU64>,
    /// The last sign of life of a damaged store that this one stands in for.
    pub(super) began_anew: Option<Timestamp>,
    /// The last number that was given to an event.
    pub(super) last_seq: Seq,
    /// What was lost for want of room, by source, and what was lacking, until there is room again to say so.
    pub(super) shut_out: BTreeMap<Arc<str>, (Loss, String)>,
    /// What passed while hem stood by, by source, as long as no other front-end is known to have led.
    pub(super) missed: BTreeMap<Arc<str>, Gap>,
    /// The controller's hooks, where they are to run.
    pub(super) pool: Option<SharedPool>,
    /// The source whose controller can be asked what was missed, and what is known of its resources.
    pub(super) tracked: Option<Tracked>,
}

impl Acceptance {
    /// Runs until `stop` is cancelled and the queue is empty, or the dispatcher is gone.
    pub(super) fn run(self, stop: &CancellationToken) {
        let rounds = Arc::clone(&self.rounds);
        self.work(stop);
        rounds.store(NO_MORE_ROUNDS, Ordering::Relaxed);
    }

    fn work(mut self, stop: &CancellationToken) {
        loop {
            let entries = self.queue.take(TOGETHER, WAIT);
            self.rounds.fetch_add(1, Ordering::Relaxed);
            let mut not_accepted: BTreeMap<Arc<str>, EventCounters> = BTreeMap::new();
            if entries.is_empty() && stop.is_cancelled() {
                // Whoever hands something over has ended by then.
                self.count_not_kept(&mut not_accepted);
                self.tell_not_accepted(not_accepted);
                if self.works {
                    self.heard_to_the_end();
                }
                return;
            }
            let in_force = self.hooks.now();
            let mut offers: Vec<Offer> = Vec::with_capacity(entries.len());
            let mut bytes = 0;
            // What was missed begins where hem last worked: that is moved on only behind it.
            if self.is_at_work(&in_force, &mut offers) && !self.note_that_it_is_heard() {
                return;
            }
            for entry in entries {
                let before = offers.len();
                self.take(entry, &in_force, &mut offers, &mut not_accepted);
                let weight = |offers: &[Offer]| -> usize {
                    offers.iter().map(|offer| offer.event.payload.bytes().len()).sum()
                };
                // What is learned of present states hands on what stood before it.
                bytes = match offers.get(before..) {
                    Some(new) => bytes + weight(new),
                    None => weight(&offers),
                };
                if bytes >= BYTES_TOGETHER {
                    bytes = 0;
                    if !self.hand_on(std::mem::take(&mut offers), &in_force) {
                        return;
                    }
                }
            }
            if self.is_at_work(&in_force, &mut offers) && self.room.lacking().is_none() {
                self.tell_shut_out(&in_force, &mut offers);
            }
            self.count_not_kept(&mut not_accepted);
            if !self.tell_not_accepted(not_accepted) {
                return;
            }
            if !offers.is_empty() && !self.hand_on(offers, &in_force) {
                return;
            }
        }
    }

    /// Counts what sources did not hand over, and what they found odd in what they did.
    fn count_not_kept(&self, not_accepted: &mut BTreeMap<Arc<str>, EventCounters>) {
        for (source, why, count) in self.queue.take_not_kept() {
            let counters = not_accepted.entry(Arc::clone(&source)).or_default();
            counters.received += count;
            match why {
                NotKept::Duplicate => counters.duplicate += count,
                NotKept::Refused(reason) => {
                    counters.refused += count;
                    self.count_refused(&source, reason, count);
                }
            }
        }
        for (source, what, count) in self.queue.take_noted() {
            self.with_status(&source, |status| {
                *status.noted.entry(what.to_owned()).or_default() += count;
            });
        }
    }

    /// Says whether there is still somebody to write it down.
    fn tell_not_accepted(&self, not_accepted: BTreeMap<Arc<str>, EventCounters>) -> bool {
        not_accepted.into_iter().all(|(source, counters)| {
            let source = source.to_string();
            let message = Message::NotAccepted { source, counters };
            self.dispatcher.blocking_send(message).is_ok()
        })
    }

    /// Whether hem works, after what is to be done when that has changed.
    fn is_at_work(&mut self, in_force: &Arc<InForce>, offers: &mut Vec<Offer>) -> bool {
        let role = self.role.now();
        let works = role.as_ref().is_none_or(|role| role.standing.works());
        match (std::mem::replace(&mut self.works, works), works) {
            (false, true) => {
                if role.is_some_and(|role| role.other_led) {
                    // Whoever led saw what passed.
                    self.missed.clear();
                }
                self.takes_up_work(in_force, offers);
            }
            (true, false) if !offers.is_empty() => {
                // What stands before it was accepted. The dispatcher is gone only when the daemon is.
                let _ = self.hand_on(std::mem::take(offers), in_force);
            }
            _ => {}
        }
        if !works {
            self.stands_by();
        }
        works
    }

    /// Says whether there is still somebody to take it.
    fn hand_on(&self, offers: Vec<Offer>, in_force: &Arc<InForce>) -> bool {
        let message = Message::Offers(offers, Arc::clone(in_force));
        self.dispatcher.blocking_send(message).is_ok()
    }

    fn take(
        &mut self,
        entry: Entry,
        in_force: &Arc<InForce>,
        offers: &mut Vec<Offer>,
        not_accepted: &mut BTreeMap<Arc<str>, EventCounters>,
    ) {
        let works = self.is_at_work(in_force, offers);
        match entry {
            Entry::Message { source, received } => {
                let mut count = |count: fn(&mut EventCounters)| {
                    let counters = not_accepted.entry(Arc::clone(&source)).or_default();
                    counters.received += 1;
                    count(counters);
                };
                if !works {
                    count(|counters| counters.refused += 1);
                    self.count_refused(&source, STANDBY, 1);
                    self.refused_unread(source, received);
                    return;
                }
                if let Some(why) = self.room.lacking() {
                    count(|counters| counters.lost += 1);
                    self.shut_out(source, received, why, in_force, offers);
                    return;
                }
                // The newest event on record is where a next life takes its gap to begin: what was lost before comes first.
                self.tell_shut_out(in_force, offers);
                let Some(decoder) = self.decoders.get(&source) else {
                    return;
                };
                match decoded(decoder.as_ref(), received) {
                    Decoded::Event(event) => {
                        let learned = self.learned_from(&event);
                        self.offer(*event, in_force, offers);
                        if let Some(offer) = offers.last_mut() {
                            offer.learned = learned;
                        }
                    }
                    Decoded::NotKept(NotKept::Duplicate) => count(|counters| counters.duplicate += 1),
                    Decoded::NotKept(NotKept::Refused(reason)) => {
                        count(|counters| counters.refused += 1);
                        self.count_refused(&source, reason, 1);
                    }
                }
            }
            Entry::Lost { source, gap } => {
                let count = gap.lost;
                let counters = not_accepted.entry(Arc::clone(&source)).or_default();
                counters.received += count;
                if !works {
                    // Had there been room for them, they would have been refused.
                    counters.refused += count;
                    self.count_refused(&source, STANDBY, count);
                    self.passes_by(source, gap.from, gap.to);
                    return;
                }
                counters.lost += count;
                self.heard_until(&source, gap.from);
                self.gap(source, gap, in_force, offers);
            }
            Entry::Connected { source, at, reads_on } => {
                self.hint(&source);
                let mut away_since = None;
                let mut why = String::new();
                let mut first = false;
                self.with_status(&source, |status| {
                    first = status.connects == 0;
                    if let Connection::Down { since } = status.connection {
                        away_since = Some(since);
                    }
                    why = status
                        .last_error
                        .as_ref()
                        .map(|(_, error)| error.clone())
                        .unwrap_or_default();
                    status.connection = Connection::Up { since: at };
                    status.connects += 1;
                });
                let gap = if first {
                    match self.began_anew {
                        Some(from) => Some((from, "the store was damaged, and hem began anew".to_owned())),
                        // What hands events over has senders that were told, and send again.
                        None if !self.decoders.contains_key(&source) => None,
                        None => self
                            .last_heard(&source)
                            .map(|from| (from, "hem was not connected before it started".to_owned())),
                    }
                } else if reads_on {
                    None
                } else {
                    away_since.map(|from| (from, why))
                };
                self.tracked_is_up(&source, true);
                let gap = gap.map(|(from, why)| gap_of(from, at, why));
                match gap {
                    Some(gap) if works => self.gap(source, gap, in_force, offers),
                    Some(gap) => self.misses(source, gap),
                    None if works => self.begins(&source, at),
                    None => {}
                }
            }
            Entry::Delivered(delivery) => self.delivered(*delivery, in_force, offers, not_accepted),
            Entry::Kept(keeping) => self.keep(*keeping, in_force, offers),
            Entry::CatchUp { source, step } => self.step(&source, step, in_force, offers),
            Entry::Emitted(emission) => self.emitted(*emission, in_force, offers),
            Entry::Raised { event, identity } => {
                if self.room.lacking().is_some() {
                    // The dispatcher is gone only when the daemon is: the next one finds the record.
                    let _ = self.dispatcher.blocking_send(Message::PutOff { identity });
                    return;
                }
                self.offer(*event, in_force, offers);
                if let Some(offer) = offers.last_mut() {
                    offer.tells = Some(identity);
                }
            }
            Entry::Disconnected { source, at, why } => {
                if works {
                    self.heard_until(&source, at);
                }
                self.tracked_is_up(&source, false);
                self.with_status(&source, |status| {
                    if matches!(status.connection, Connection::Up { .. }) {
                        status.connection = Connection::Down { since: at };
                    }
                    status.last_error = Some((at, why));
                });
            }
        }
    }

    /// Notes what is lost for want of room, until there is room to write it down. Should that be never in this life, the next
    /// one finds that the source was heard until here and no longer.
    fn shut_out(
        &mut self,
        source: Arc<str>,
        received: Received,
        why: String,
        in_force: &Arc<InForce>,
        offers: &mut Vec<Offer>,
    ) {
        if !self.shut_out.contains_key(&source) {
            self.heard_no_more(&source, received.at, in_force, offers);
        }
        let since = received.at;
        let (loss, _) = self
            .shut_out
            .entry(source)
            .or_insert_with(|| (Loss::from(since), why));
        loss.lose(received);
    }

    /// Writes down what was lost for want of room.
    fn tell_shut_out(&mut self, in_force: &InForce, offers: &mut Vec<Offer>) {
        for (source, (loss, why)) in std::mem::take(&mut self.shut_out) {
            self.gap(source, loss.into_gap(why), in_force, offers);
        }
    }

    /// A message was refused because hem stood by: what another front-end does not see to is missed if it is an event.
    fn refused_unread(&mut self, source: Arc<str>, received: Received) {
        if self.role.now().is_some_and(|role| role.other_led) {
            return;
        }
        let at = received.at;
        let decoder = self.decoders.get(&source);
        if decoder.is_some_and(|decoder| matches!(decoded(decoder.as_ref(), received), Decoded::Event(_))) {
            self.passes_by(source, at, at);
        }
    }

    /// Something was published and refused, because hem stood by.
    fn passes_by(&mut self, source: Arc<str>, from: Timestamp, to: Timestamp) {
        let why = match self.role.standby() {
            Some(why) if !self.missed.contains_key(&source) => format!("hem was on standby: {why}"),
            _ => "hem was on standby".to_owned(),
        };
        self.misses(source, gap_of(from, to, why));
    }

    /// Notes what passes while hem stands by, until it is known whether another front-end led.
    fn misses(&mut self, source: Arc<str>, gap: Gap) {
        let to = gap.to;
        let missed = self.missed.entry(source).or_insert(gap);
        missed.to = missed.to.max(to);
    }

    /// What was published meanwhile passed unseen: where no other front-end led, that is written down.
    fn takes_up_work(&mut self, in_force: &InForce, offers: &mut Vec<Offer>) {
        if let Some(pool) = &self.pool {
            pool.hint();
        }
        let mut is_open = false;
        for (source, gap) in std::mem::take(&mut self.missed) {
            is_open |= self.tracked.as_ref().is_some_and(|tracked| tracked.is(&source));
            self.gap(source, gap, in_force, offers);
        }
        if !is_open {
            self.catches_up_as_leader();
        }
    }

    /// Changes of the controller's hooks may have passed unseen.
    fn hint(&self, source: &str) {
        if let Some(pool) = &self.pool {
            pool.hint_of(source);
        }
    }

    /// Writes down that events may have passed unseen.
    fn gap(&mut self, source: Arc<str>, gap: Gap, in_force: &InForce, offers: &mut Vec<Offer>) {
        if let Some((before, why)) = self.shut_out.remove(&source) {
            // A next life takes its gap to begin at the newest record: none may hide what was lost before it.
            self.gap(Arc::clone(&source), before.into_gap(why), in_force, offers);
        }
        self.hint(&source);
        tracing::warn!(
            %source, from = %gap.from, to = %gap.to, why = gap.why, lost = gap.lost, keys = ?gap.keys,
            "events may be missing"
        );
        self.with_status(&source, |status| status.last_gap = Some(gap.clone()));
        let (from, of) = (gap.from, Arc::clone(&source));
        self.offer(gap.into_event(source), in_force, offers);
        if let Some(offer) = offers.last_mut() {
            offer.learned = self.gap_is_open(&of, from, offer.event.seq);
        }
    }

    /// Gives an event its number and matches it.
    fn offer(&mut self, mut event: Event, in_force: &InForce, offers: &mut Vec<Offer>) {
        event.seq = self.number();
        offers.push(Offer::matched(event, in_force, &self.store));
    }

    fn number(&mut self) -> Seq {
        self.last_seq.0 += 1;
        self.last_seq
    }

    /// Takes what a source hands over whose sender waits for an answer.
    fn delivered(
        &mut self,
        delivery: Delivery,
        in_force: &InForce,
        offers: &mut Vec<Offer>,
        not_accepted: &mut BTreeMap<Arc<str>, EventCounters>,
    ) {
        let Delivery {
            event,
            bookmarks,
            thread,
            reply,
        } = delivery;
        let is_behind = thread.as_ref().is_some_and(Thread::is_cut);
        let counted = |why: NotAccepted| (why.reason(), why);
        let refusal = if is_behind {
            Some(counted(NotAccepted::Behind))
        } else if let Some(why) = self.role.standby() {
            // The sender has to come again, as without room; operators count it apart.
            Some((STANDBY, NotAccepted::NoRoom(format!("this hem stands by: {why}"))))
        } else {
            let lacking = self.room.lacking().map(NotAccepted::NoRoom);
            lacking.map(counted)
        };
        if let Some((reason, why)) = refusal {
            if let Some(thread) = &thread {
                thread.cut();
            }
            let counters = not_accepted.entry(Arc::clone(&event.source)).or_default();
            counters.received += 1;
            counters.refused += 1;
            self.count_refused(&event.source, reason, 1);
            // Whoever sent it may have gone away.
            let _ = reply.send(Err(why));
            return;
        }
        if let Facts::Gap(gap) = &event.facts {
            self.with_status(&event.source, |status| status.last_gap = Some(gap.clone()));
        }
        let kept = kept(&event.source, bookmarks);
        self.offer(event, in_force, offers);
        if let Some(offer) = offers.last_mut() {
            offer.delivered = Some(reply);
            offer.learned.extend(kept);
        }
    }

    /// Keeps what a source wants kept, behind what stood before it.
    fn keep(&self, keeping: Keeping, in_force: &Arc<InForce>, offers: &mut Vec<Offer>) {
        let Keeping {
            source,
            bookmarks,
            reply,
        } = keeping;
        if let Some(why) = self.room.lacking() {
            // Whoever asked may have gone away.
            let _ = reply.send(Err(NotAccepted::NoRoom(why)));
            return;
        }
        let changes = kept(&source, bookmarks).collect();
        let before = std::mem::take(offers);
        // The dispatcher is gone only when the daemon is: whoever asked is told by the lack of an answer.
        let _ = self.hand_on(before, in_force)
            && self
                .dispatcher
                .blocking_send(Message::Kept { changes, reply })
                .is_ok();
    }

    /// Takes what an operator hands over.
    fn emitted(&mut self, emission: Emission, in_force: &InForce, offers: &mut Vec<Offer>) {
        let Emission {
            event,
            hook,
            actor,
            reply,
        } = emission;
        let refusal = match (&hook, self.room.lacking()) {
            _ if self.role.standby().is_some() => self.role.accepts_nothing(),
            (_, Some(why)) => Some(OrderError::NotPossible(why)),
            (None, None) => None,
            (Some(name), None) => match in_force.set.get(name) {
                None => Some(OrderError::NoSuchHook(name.clone())),
                Some(hook) if !in_force.is_enabled(hook) => {
                    Some(OrderError::NotPossible(format!("the hook `{name}` is disabled")))
                }
                Some(_) => None,
            },
        };
        if let Some(refusal) = refusal {
            // Whoever asked may have gone away.
            let _ = reply.send(Err(refusal));
            return;
        }
        match hook.and_then(|name| in_force.set.get(&name).cloned()) {
            None => self.offer(event, in_force, offers),
            Some(hook) => {
                let seq = self.number();
                offers.push(Offer::of_one_hook(Event { seq, ..event }, hook));
            }
        }
        if let Some(offer) = offers.last_mut() {
            offer.asked = Some(Asked { actor, reply });
        }
    }

    /// When the last event of the source was received that a former life kept; none at the very first start.
    fn last_heard(&self, source: &str) -> Option<Timestamp> {
        let known = self.tracked.as_ref().filter(|tracked| tracked.is(source));
        let heard = known.and_then(Tracked::heard);
        let event = self
            .store
            .last_received(source, heard, LOOKED_AT)
            .unwrap_or_else(|error| {
                let error = &error as &dyn std::error::Error;
                tracing::error!(source, error, "cannot read when a source was last heard");
                // Never would mean that nothing can be missing.
                Some(Timestamp::default())
            });
        event.max(heard)
    }

    fn count_refused(&self, source: &str, reason: &str, count: u64) {
        self.with_status(source, |status| {
            *status.refused.entry(reason.to_owned()).or_default() += count;
        });
    }

    fn with_status(&self, source: &str, change: impl FnOnce(&mut SourceStatus)) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = connections.get_mut(source) {
            change(status);
        }
    }
}

/// What a source keeps, as it is written.
fn kept(source: &Arc<str>, bookmarks: Vec<Bookmark>) -> impl Iterator<Item = Change> + use<> {
    let source = Arc::clone(source);
    bookmarks.into_iter().map(move |bookmark| Change::Bookmark {
        source: Arc::clone(&source),
        bookmark,
    })
}

/// A gap in which nobody can tell what was lost.
const fn gap_of(from: Timestamp, to: Timestamp, why: String) -> Gap {
    Gap {
        from,
        to,
        why,
        lost: 0,
        keys: Vec::new(),
        present: Vec::new(),
    }
}

/// Decodes a message; one that hem itself fails on becomes an event that says so.
fn decoded(decoder: &dyn Decode, received: Received) -> Decoded {
    let (key, at) = (received.key.clone(), received.at);
    catch_unwind(AssertUnwindSafe(|| decoder.decode(received))).unwrap_or_else(|panic| {
        let reason = format!("hem failed to decode it: {}", panic_text(&*panic));
        tracing::error!(reason, "a message is kept undecoded");
        Decoded::Event(Box::new(Event {
            seq: Seq::default(),
            source: decoder.source(),
            key,
            subject: None,
            received: at,
            facts: Facts::Undecodable { reason },
            ambiguous: false,
            synthesised: false,
            payload: Payload::new(Bytes::new()),
        }))
    })
}

#[cfg(test)]
mod tests;
