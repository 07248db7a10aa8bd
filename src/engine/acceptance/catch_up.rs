//! Catching up, on the matching thread: it alone knows which live events came, so it alone decides what was missed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::Acceptance;
use crate::engine::catch_up::{Raise, Step, Taken};
use crate::engine::dispatcher::Message;
use crate::engine::hooks_in_force::InForce;
use crate::engine::known_states::{Decision, KnownStates, OpenGap};
use crate::engine::offer::Offer;
use crate::engine::role::Standing;
use crate::event::id::Seq;
use crate::event::opennebula::pool::state_told;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};
use crate::store::writer::Change;

/// How often it is written down that a quiet source is heard.
const NOTE_EVERY: Duration = Duration::from_secs(60);

/// How often it is written down with what a source says.
const NOTE_WITH_EVENTS: Duration = Duration::from_secs(1);

/// The source whose controller can be asked what was missed.
#[derive(Debug)]
pub(in crate::engine) struct Tracked {
    known: KnownStates,
    /// Tells the source's task whether there is something to catch up with.
    open: watch::Sender<bool>,
    is_up: bool,
    /// When it was last written down that the source is heard.
    noted: Option<Instant>,
}

impl Tracked {
    pub(in crate::engine) const fn new(known: KnownStates, open: watch::Sender<bool>) -> Self {
        Self {
            known,
            open,
            is_up: false,
            noted: None,
        }
    }

    pub(super) fn is(&self, source: &str) -> bool {
        **self.known.source() == *source
    }

    pub(super) const fn heard(&self) -> Option<Timestamp> {
        self.known.heard()
    }

    /// That the source is heard, where it was last written down so long ago.
    fn note(&mut self, every: Duration) -> Option<Change> {
        let is_due = self.noted.is_none_or(|noted| noted.elapsed() >= every);
        if !(self.is_up && is_due && self.known.is_heard(Timestamp::now())) {
            return None;
        }
        self.noted = Some(Instant::now());
        Some(self.known.baseline())
    }
}

impl Acceptance {
    /// What is known with a live event.
    pub(super) fn learned_from(&mut self, event: &Event) -> Vec<Change> {
        let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(&event.source)) else {
            return Vec::new();
        };
        let told =
            state_told(&event.facts).and_then(|(id, names)| tracked.known.tell(id, names, Instant::now()));
        let note = tracked.note(NOTE_WITH_EVENTS);
        if note.is_some() {
            self.show();
        }
        told.into_iter().chain(note).collect()
    }

    /// A gap is open from then on; gives what is to be written down with its record.
    pub(super) fn gap_is_open(&mut self, source: &str, from: Timestamp, record: Seq) -> Vec<Change> {
        self.opens(
            source,
            OpenGap {
                from,
                record: Some(record),
            },
        )
    }

    /// A source was connected to without a gap before: it is the first time.
    pub(super) fn begins(&mut self, source: &str, at: Timestamp) {
        // Written down with what is found: a life that ends before begins like this one.
        let _ = self.opens(
            source,
            OpenGap {
                from: at,
                record: None,
            },
        );
    }

    /// This front-end leads from now on, and what was published before passed unseen.
    pub(super) fn catches_up_as_leader(&mut self) {
        if let Some(tracked) = &mut self.tracked {
            tracked.known.give_up();
            let (source, heard) = (Arc::clone(tracked.known.source()), tracked.heard());
            self.begins(&source, heard.unwrap_or_else(Timestamp::now));
        }
    }

    /// While hem stands by: what was asked for before grows old, and what is known is forgotten once it is sure that another
    /// front-end leads.
    pub(super) fn stands_by(&mut self) {
        let role = self.role.now();
        let leads_elsewhere = role.is_some_and(|role| matches!(role.standing, Standing::NotLeading(_)));
        let Some(tracked) = &mut self.tracked else {
            return;
        };
        tracked.known.give_up();
        let forgets = leads_elsewhere.then(|| tracked.known.stand_by()).flatten();
        let is_asked_for = *tracked.open.borrow();
        if forgets.is_some() || is_asked_for {
            self.show();
        }
        if let Some(change) = forgets {
            // The dispatcher is gone only when the daemon is.
            let _ = self.dispatcher.blocking_send(Message::Learned(vec![change]));
        }
    }

    fn opens(&mut self, source: &str, gap: OpenGap) -> Vec<Change> {
        let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(source)) else {
            return Vec::new();
        };
        tracked.known.open_gap(gap);
        let baseline = tracked.known.baseline();
        self.show();
        vec![baseline]
    }

    /// A source was heard until then, and nothing was missed before, unless hem takes nothing of what it hears: it stands by, or
    /// has no room.
    pub(super) fn heard_until(&mut self, source: &str, until: Timestamp) {
        if self.role.standby().is_some() || self.shut_out.contains_key(source) {
            return;
        }
        if let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(source))
            && tracked.is_up
        {
            tracked.known.is_heard(until);
        }
    }

    /// What a source sends from then on is lost for want of room. That is written down behind what was accepted before, and what
    /// was asked for until then grows old.
    pub(super) fn heard_no_more(
        &mut self,
        source: &str,
        since: Timestamp,
        in_force: &Arc<InForce>,
        offers: &mut Vec<Offer>,
    ) {
        self.heard_until(source, since);
        let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(source)) else {
            return;
        };
        tracked.known.give_up();
        let baseline = tracked.known.baseline();
        self.show();
        let before = std::mem::take(offers);
        // The dispatcher is gone only when the daemon is.
        let _ = self.hand_on(before, in_force)
            && self
                .dispatcher
                .blocking_send(Message::Learned(vec![baseline]))
                .is_ok();
    }

    pub(super) fn tracked_is_up(&mut self, source: &str, is_up: bool) {
        if let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(source)) {
            tracked.is_up = is_up;
        }
    }

    /// Writes down now and then that the source is heard; says whether there is still somebody to do it.
    pub(super) fn note_that_it_is_heard(&mut self) -> bool {
        let note = self.working().and_then(|tracked| tracked.note(NOTE_EVERY));
        note.is_none_or(|note| {
            self.show();
            self.dispatcher
                .blocking_send(Message::Learned(vec![note]))
                .is_ok()
        })
    }

    /// The daemon stops: what comes from now on is missed.
    pub(super) fn heard_to_the_end(&mut self) {
        let note = self.working().and_then(|tracked| tracked.note(Duration::ZERO));
        if let Some(note) = note {
            // The dispatcher is gone only when the daemon is: the next one takes the last note.
            let _ = self.dispatcher.blocking_send(Message::Learned(vec![note]));
        }
    }

    /// What is known, while hem works and takes what the source says.
    fn working(&mut self) -> Option<&mut Tracked> {
        let (works, shut_out) = (self.role.standby().is_none(), &self.shut_out);
        self.tracked
            .as_mut()
            .filter(|tracked| works && !shut_out.contains_key(tracked.known.source()))
    }

    /// Takes a step of catching up.
    pub(super) fn step(
        &mut self,
        source: &str,
        step: Step,
        in_force: &Arc<InForce>,
        offers: &mut Vec<Offer>,
    ) {
        let Some(tracked) = self.tracked.as_mut().filter(|tracked| tracked.is(source)) else {
            return;
        };
        let now = Timestamp::now();
        // Whoever asked may have gone away, here and below.
        let learned = match step {
            Step::Begin { reply } => {
                let is_heard = tracked.is_up || tracked.known.is_open();
                let accepts = is_heard
                    && self.role.standby().is_none()
                    && self.room.lacking().is_none()
                    && !self.shut_out.contains_key(source);
                let _ = reply.send(accepts.then(|| tracked.known.begin(now, Instant::now())));
                Vec::new()
            }
            Step::Compare {
                resource,
                asked,
                page,
                reply,
            } => {
                let (differ, learned) = tracked.known.compare(&resource, asked, &page);
                let _ = reply.send(tracked.known.is_polled().then_some(differ));
                learned
            }
            Step::Absent { resource, reply } => {
                let (absent, learned) = tracked.known.absent(&resource);
                let _ = reply.send(tracked.known.is_polled().then_some(absent));
                learned
            }
            Step::Raise(raise) => {
                self.raise(*raise, in_force, offers);
                return;
            }
            Step::Forget(id) => tracked.known.forget(id).into_iter().collect(),
            Step::End { reply } => {
                let counts = tracked.known.is_polled();
                let learned = tracked.known.end(now);
                let is_wanted = tracked.known.is_open() && self.role.standby().is_none();
                tracked.open.send_replace(is_wanted);
                let _ = reply.send(counts);
                learned
            }
            Step::Failed { why } => tracked.known.failed(&why, now),
        };
        if !learned.is_empty() {
            // In the journal it stands behind the events before it.
            let before = std::mem::take(offers);
            // The dispatcher is gone only when the daemon is.
            let _ = self.hand_on(before, in_force)
                && self.dispatcher.blocking_send(Message::Learned(learned)).is_ok();
        }
        self.show();
    }

    fn raise(&mut self, raise: Raise, in_force: &InForce, offers: &mut Vec<Offer>) {
        let Raise {
            id,
            names,
            asked,
            mut event,
            reply,
        } = raise;
        let is_wanted = in_force.index.is_catch_up_wanted();
        let accepts = self.room.lacking().is_none() && self.role.standby().is_none();
        let taken = if let Some(tracked) = &mut self.tracked {
            if !accepts {
                // Until something is accepted again, this state and the rest of its page grow old.
                tracked.known.give_up();
            }
            let (decision, learned) = tracked.known.decide(&id, &names, asked, is_wanted);
            if let Decision::Raise { former } = decision {
                if let (Facts::State(change), Some(former)) = (&mut event.facts, former) {
                    // In the controller's own record the state before is the present one by now.
                    change.previous_state = Some(former.state);
                    change.previous_lcm_state = former.lcm_state;
                }
                event.received = Timestamp::now();
                self.offer(event, in_force, offers);
                if let Some(offer) = offers.last_mut() {
                    offer.learned = learned;
                }
                Taken::Raised
            } else {
                if let Some(offer) = offers.last_mut() {
                    offer.learned.extend(learned);
                } else if !learned.is_empty() {
                    // The dispatcher is gone only when the daemon is.
                    let _ = self.dispatcher.blocking_send(Message::Learned(learned));
                }
                match decision {
                    Decision::GivenUp => Taken::GivenUp,
                    _ => Taken::NotRaised,
                }
            }
        } else {
            Taken::NotRaised
        };
        // Whoever asked may have gone away.
        let _ = reply.send(taken);
        self.show();
    }

    /// Puts how it goes where a status is taken from, and wakes the source's task.
    fn show(&mut self) {
        let Some(tracked) = &self.tracked else {
            return;
        };
        let (source, status) = (Arc::clone(tracked.known.source()), tracked.known.status());
        let is_wanted = status.open_since.is_some() && self.role.standby().is_none();
        tracked
            .open
            .send_if_modified(|was| std::mem::replace(was, is_wanted) != is_wanted);
        self.with_status(&source, |shown| shown.catch_up = Some(status));
    }
}
