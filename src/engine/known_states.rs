//! What is known of a controller's resources: the last state of each, until when the source was heard, and which of its gaps
//! are still to be caught up with.
//!
//! Nothing here has a clock or a disk: times are arguments, and what is to be made durable is given back as [`Change`]s. A
//! live event always wins: a state that a poll found counts only where no event of the resource came since it was asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::event::id::Seq;
use crate::event::opennebula::Resource;
use crate::event::opennebula::pool::{ResourceId, StateNames};
use crate::event::time::Timestamp;
use crate::store::writer::Change;

/// Gaps kept apart while oned cannot be asked; of more, the oldest and the newest. Their list is one value of the store.
pub(crate) const OPEN_AT_MOST: usize = 50;

/// What is known of a source besides the states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// Until when the source was surely heard, so that the known states were the present ones; none where they are not to be
    /// relied on.
    pub heard: Option<Timestamp>,
    /// Gaps that are still to be caught up with, oldest first.
    pub open: Vec<OpenGap>,
    /// What was done so far.
    pub totals: CatchUpTotals,
}

/// A gap that is still to be caught up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenGap {
    /// Its beginning.
    pub from: Timestamp,
    /// The event that records it; none for the first start, which has no gap.
    pub record: Option<Seq>,
}

/// What came of catching up, since the store was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CatchUpTotals {
    /// States that were raised.
    pub raised: u64,
    /// States not raised, because a live event of the resource came first.
    pub live: u64,
    /// States not raised, because no hook asks for it.
    pub unwanted: u64,
    /// Times that all states were only noted, because the gap was too long.
    pub rebuilt: u64,
}

/// Why states are noted and not raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotedOnly {
    /// None were known before.
    First,
    /// Another front-end led, and what it ran for is not known here.
    OtherLed,
    /// What was known is older than the longest gap that is caught up with.
    TooOld,
}

/// What became of a gap: how it was caught up with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GapStory {
    /// States that were raised.
    pub raised: u64,
    /// States not raised, because a live event of the resource came first.
    pub live: u64,
    /// States not raised, because no hook asks for it.
    pub unwanted: u64,
    /// Set where the states were only noted.
    pub noted_only: Option<NotedOnly>,
    /// How often oned could not be asked, or did not answer as it should.
    pub failures: u64,
    /// The last of these, and when.
    pub last_error: Option<(Timestamp, String)>,
    /// When all was caught up with.
    pub finished: Option<Timestamp>,
}

/// How catching up with a source goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatchUpStatus {
    /// Resources whose state is known.
    pub known: usize,
    /// As of when the known states are the present ones; none before the first poll is through.
    pub as_of: Option<Timestamp>,
    /// The beginning of the oldest gap that is still to be caught up with.
    pub open_since: Option<Timestamp>,
    /// What was done so far.
    pub totals: CatchUpTotals,
    /// Why oned could not be asked, and when, if that is how it stands.
    pub last_error: Option<(Timestamp, String)>,
}

/// A resource as a poll found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its number.
    pub number: u64,
    /// Its state; none where it is not known by name, which is never raised.
    pub names: Option<StateNames>,
}

/// What is to be done about a state that a poll found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// It was missed: raise it.
    Raise {
        /// The state known before; none for a resource that was not known.
        former: Option<StateNames>,
    },
    /// A live event of the resource came since it was asked for.
    Live,
    /// It is the known state.
    Same,
    /// It was missed, and no hook asks for it.
    Unwanted,
    /// It was asked for by a poll that counts no more.
    GivenUp,
}

#[derive(Debug)]
struct Known {
    /// Its state; none while a poll is under way that may still find a VM which is done.
    names: Option<StateNames>,
    /// When its last live event was taken.
    live: Option<Instant>,
}

impl Known {
    fn is_live_since(&self, asked: Instant) -> bool {
        self.live.is_some_and(|live| live > asked)
    }
}

#[derive(Debug)]
struct Open {
    gap: OpenGap,
    story: GapStory,
}

/// A poll of all resources.
#[derive(Debug)]
struct Round {
    began: Instant,
    /// How many of the open gaps began before it.
    covers: usize,
    noted_only: Option<NotedOnly>,
    seen: HashSet<ResourceId>,
}

/// What is known of one source's resources.
#[derive(Debug)]
pub(super) struct KnownStates {
    source: Arc<str>,
    max_gap: Duration,
    states: HashMap<ResourceId, Known>,
    heard: Option<Timestamp>,
    open: Vec<Open>,
    totals: CatchUpTotals,
    round: Option<Round>,
    /// Another front-end led since the last poll.
    other_led: bool,
    last_error: Option<(Timestamp, String)>,
}

impl KnownStates {
    /// What the store says. `story` gives what became of a gap so far.
    pub(super) fn new(
        source: Arc<str>,
        max_gap: Duration,
        baseline: Option<Baseline>,
        states: Vec<(ResourceId, StateNames)>,
        mut story: impl FnMut(Seq) -> GapStory,
    ) -> Self {
        let states = states.into_iter().map(|(id, names)| {
            let known = Known {
                names: Some(names),
                live: None,
            };
            (id, known)
        });
        let open = baseline
            .iter()
            .flat_map(|baseline| &baseline.open)
            .map(|gap| Open {
                gap: *gap,
                story: gap.record.map(&mut story).unwrap_or_default(),
            });
        Self {
            source,
            max_gap,
            states: states.collect(),
            heard: baseline.as_ref().and_then(|baseline| baseline.heard),
            open: open.collect(),
            totals: baseline.map(|baseline| baseline.totals).unwrap_or_default(),
            round: None,
            other_led: false,
            last_error: None,
        }
    }

    pub(super) fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// Until when the source was surely heard; none where no states are known.
    pub(super) const fn heard(&self) -> Option<Timestamp> {
        self.heard
    }

    /// Takes a live event.
    pub(super) fn tell(&mut self, id: ResourceId, names: StateNames, now: Instant) -> Option<Change> {
        self.learn(id, names, Some(now))
    }

    /// There is something to catch up with.
    pub(super) fn open_gap(&mut self, gap: OpenGap) {
        if self.open.len() >= OPEN_AT_MOST {
            self.open.remove(1);
            if let Some(round) = &mut self.round
                && round.covers > 1
            {
                round.covers -= 1;
            }
        }
        self.open.push(Open {
            gap,
            story: GapStory::default(),
        });
    }

    /// Whether there is anything to catch up with.
    pub(super) const fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    /// The source is connected at this time; says whether that is worth writing down.
    pub(super) fn is_heard(&mut self, now: Timestamp) -> bool {
        let counts = self.heard.is_some() && !self.is_open();
        if counts {
            self.heard = Some(now);
        }
        counts
    }

    /// What is to be written down besides the states.
    pub(super) fn baseline(&self) -> Change {
        Change::Baseline {
            source: Arc::clone(&self.source),
            baseline: Some(Baseline {
                heard: self.heard,
                open: self.open.iter().map(|open| open.gap).collect(),
                totals: self.totals,
            }),
        }
    }

    /// Another front-end leads: what is known here is not kept up, and what is missed here is run for there.
    pub(super) fn stand_by(&mut self) -> Option<Change> {
        if self.heard.is_none() && self.open.is_empty() {
            return None;
        }
        self.other_led = true;
        self.heard = None;
        self.open.clear();
        self.round = None;
        self.drop_gone();
        Some(self.baseline())
    }

    /// A poll begins; says whether states are only noted.
    pub(super) fn begin(&mut self, now: Timestamp, began: Instant) -> Option<NotedOnly> {
        let since = self.open.iter().map(|open| open.gap.from).chain(self.heard).min();
        let noted_only = match (self.heard, since) {
            (None, _) if self.other_led => Some(NotedOnly::OtherLed),
            (None, _) => Some(NotedOnly::First),
            (Some(_), Some(since)) if self.is_open() && now.since(since) > self.max_gap => {
                Some(NotedOnly::TooOld)
            }
            (Some(_), _) => None,
        };
        self.drop_gone();
        self.round = Some(Round {
            began,
            covers: self.open.len(),
            noted_only,
            seen: HashSet::new(),
        });
        noted_only
    }

    /// Compares a page of a pool, asked for at `asked`; gives the places of those whose state differs. Where states are only
    /// noted, it is noted and none is given.
    pub(super) fn compare(
        &mut self,
        resource: &Resource,
        asked: Instant,
        page: &[Seen],
    ) -> (Vec<usize>, Vec<Change>) {
        let (mut differ, mut changes) = (Vec::new(), Vec::new());
        for (place, seen) in page.iter().enumerate() {
            let id = ResourceId {
                resource: resource.clone(),
                number: seen.number,
            };
            let Some(round) = &mut self.round else {
                break;
            };
            round.seen.insert(id.clone());
            let notes_only = round.noted_only.is_some();
            let Some(names) = &seen.names else {
                continue;
            };
            if !self.differs(&id, names, asked) {
                continue;
            }
            if notes_only {
                changes.extend(self.learn(id, names.clone(), None));
            } else {
                differ.push(place);
            }
        }
        (differ, changes)
    }

    /// After all pages of a pool: the numbers of known VMs that it does not have, which may be done. Other resources that it
    /// does not have are gone: the controller tells no state of those, and they are forgotten.
    pub(super) fn absent(&mut self, resource: &Resource) -> (Vec<u64>, Vec<Change>) {
        let Some(round) = &self.round else {
            return (Vec::new(), Vec::new());
        };
        let mut absent: Vec<ResourceId> = self
            .states
            .iter()
            .filter(|(id, known)| {
                id.resource == *resource
                    && known.names.is_some()
                    && !round.seen.contains(*id)
                    && !known.is_live_since(round.began)
            })
            .map(|(id, _)| id.clone())
            .collect();
        absent.sort();
        if *resource == Resource::Vm && round.noted_only.is_none() {
            return (absent.into_iter().map(|id| id.number).collect(), Vec::new());
        }
        let changes = absent.into_iter().filter_map(|id| self.forget(id));
        (Vec::new(), changes.collect())
    }

    /// What is to be done about a state found at `asked`; `is_wanted` says whether any hook asks for it. What is decided
    /// counts from then on. The changes are for the same batch as the event.
    pub(super) fn decide(
        &mut self,
        id: &ResourceId,
        names: &StateNames,
        asked: Instant,
        is_wanted: bool,
    ) -> (Decision, Vec<Change>) {
        // Of an earlier poll nobody knows how old what it found is by now.
        if self.round.as_ref().is_none_or(|round| asked < round.began) {
            return (Decision::GivenUp, Vec::new());
        }
        let known = self.states.get(id);
        if known.is_some_and(|known| known.is_live_since(asked)) {
            self.totals.live += 1;
            self.of_round(|story| story.live += 1);
            return (Decision::Live, Vec::new());
        }
        if !self.differs(id, names, asked) {
            return (Decision::Same, Vec::new());
        }
        let former = known.and_then(|known| known.names.clone());
        let mut changes: Vec<Change> = self.learn(id.clone(), names.clone(), None).into_iter().collect();
        if !is_wanted {
            self.totals.unwanted += 1;
            self.of_round(|story| story.unwanted += 1);
            return (Decision::Unwanted, changes);
        }
        self.totals.raised += 1;
        self.of_round(|story| story.raised += 1);
        changes.extend(self.stories());
        changes.push(self.baseline());
        (Decision::Raise { former }, changes)
    }

    /// The controller does not know this resource.
    pub(super) fn forget(&mut self, id: ResourceId) -> Option<Change> {
        self.states.remove(&id)?;
        Some(self.forgotten(id))
    }

    /// The poll that is under way, if any, counts no more: nothing that it found is raised from now on. Its gaps stay open.
    pub(super) fn give_up(&mut self) {
        if self.round.take().is_some() {
            self.drop_gone();
        }
    }

    /// Whether a poll is under way that counts.
    pub(super) const fn is_polled(&self) -> bool {
        self.round.is_some()
    }

    /// The poll is through.
    pub(super) fn end(&mut self, now: Timestamp) -> Vec<Change> {
        let Some(noted_only) = self.round.as_ref().map(|round| round.noted_only) else {
            return Vec::new();
        };
        if noted_only == Some(NotedOnly::TooOld) {
            self.totals.rebuilt += 1;
        }
        self.of_round(|story| {
            story.noted_only = noted_only;
            story.finished = Some(now);
        });
        let mut changes = self.stories();
        let covers = self.round.take().map_or(0, |round| round.covers);
        self.open.drain(..covers.min(self.open.len()));
        self.drop_gone();
        (self.last_error, self.other_led) = (None, false);
        self.heard = Some(now);
        changes.push(self.baseline());
        changes
    }

    /// The poll failed; what was raised counts, the rest is still to be done.
    pub(super) fn failed(&mut self, why: &str, now: Timestamp) -> Vec<Change> {
        self.of_round(|story| {
            story.failures += 1;
            story.last_error = Some((now, why.to_owned()));
        });
        self.last_error = Some((now, why.to_owned()));
        let changes = self.stories();
        self.round = None;
        self.drop_gone();
        changes
    }

    /// How it goes.
    pub(super) fn status(&self) -> CatchUpStatus {
        let open_since = self.open.iter().map(|open| open.gap.from).min();
        CatchUpStatus {
            known: self.states.len(),
            as_of: self
                .heard
                .map(|heard| open_since.map_or(heard, |open| open.min(heard))),
            open_since,
            totals: self.totals,
            last_error: self.last_error.clone(),
        }
    }

    /// Whether a state found at `asked` is news.
    fn differs(&self, id: &ResourceId, names: &StateNames, asked: Instant) -> bool {
        match self.states.get(id) {
            None => !is_last(id, names),
            Some(known) if known.is_live_since(asked) => false,
            Some(known) => known.names.as_ref().is_none_or(|known| !known.is_same_as(names)),
        }
    }

    fn learn(&mut self, id: ResourceId, names: StateNames, live: Option<Instant>) -> Option<Change> {
        if is_last(&id, &names) {
            let was_known = match (live, &self.round) {
                // What a page of the poll says of it is older than this.
                (Some(_), Some(_)) => self
                    .states
                    .insert(id.clone(), Known { names: None, live })
                    .is_some_and(|known| known.names.is_some()),
                _ => self.states.remove(&id).is_some(),
            };
            return was_known.then(|| self.forgotten(id));
        }
        let known = Known {
            names: Some(names.clone()),
            live,
        };
        let former = self.states.insert(id.clone(), known);
        let is_news = former.and_then(|known| known.names).as_ref() != Some(&names);
        is_news.then(|| Change::KnownState {
            source: Arc::clone(&self.source),
            id,
            names: Some(names),
        })
    }

    fn forgotten(&self, id: ResourceId) -> Change {
        Change::KnownState {
            source: Arc::clone(&self.source),
            id,
            names: None,
        }
    }

    fn of_round(&mut self, change: impl Fn(&mut GapStory)) {
        let covers = self.round.as_ref().map_or(0, |round| round.covers);
        for open in self.open.iter_mut().take(covers) {
            change(&mut open.story);
        }
    }

    /// The stories of the gaps that the poll is about.
    fn stories(&self) -> Vec<Change> {
        let covers = self.round.as_ref().map_or(0, |round| round.covers);
        let covered = self.open.iter().take(covers);
        covered
            .filter_map(|open| {
                Some(Change::GapStory {
                    record: open.gap.record?,
                    story: open.story.clone(),
                })
            })
            .collect()
    }

    /// Forgets that VMs are done: no poll is under way that could find them.
    fn drop_gone(&mut self) {
        self.states.retain(|_, known| known.names.is_some());
    }
}

/// Whether nothing more happens to a resource once it is in this state. Networks have a DONE too, and are still there in it.
fn is_last(id: &ResourceId, names: &StateNames) -> bool {
    id.resource == Resource::Vm && names.state == "DONE"
}

#[cfg(test)]
mod tests;
