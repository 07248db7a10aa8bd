//! The way in: the queue between sources that never stop reading and the thread that matches.
//!
//! Bounded by count and by bytes. When it is full, the payload is dropped, the key is kept and the message is counted
//! lost; as soon as there is room again the loss itself becomes an entry, in its place in the order, so that a gap
//! record can be written. A source's end ([`Intake`]) never waits; only the receiving end ([`IntakeQueue`]) does.

mod delivery;
mod loss;
mod sequence;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::delivery::{Delivery, Keeping, NotAccepted, Pending};
pub use self::loss::LOST_KEYS;
pub(in crate::engine) use self::loss::Loss;
pub use self::sequence::Sequence;
pub(in crate::engine) use self::sequence::Thread;
use super::catch_up::Step;
use super::execution::Actor;
pub use super::handle::Accepted;
use super::handle::{OrderError, Stopping};
use crate::event::id::HookName;
use crate::event::time::Timestamp;
use crate::event::{Event, Gap};

/// A message as a source received it, before it is decoded.
#[derive(Debug, Clone)]
pub struct Received {
    /// The frames' first: the key, as sent (lossy where it is no UTF-8).
    pub key: String,
    /// All further frames.
    pub frames: Vec<Bytes>,
    /// When it was received.
    pub at: Timestamp,
}

impl Received {
    /// What it counts against the limit in bytes.
    fn weight(&self) -> usize {
        self.key.len() + self.frames.iter().map(Bytes::len).sum::<usize>()
    }
}

/// What a source says about a message it does not hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// A further copy of an event that came under another key.
    Duplicate,
    /// Not kept by configuration.
    Refused(&'static str),
}

/// Turns a received message into an event; runs on the matching thread, never on the reader.
pub trait Decode: Send + Sync + 'static {
    /// The name of the source whose messages it decodes.
    fn source(&self) -> Arc<str>;

    /// Decodes one message. Never fails: what cannot be read is an event of kind `undecodable`.
    fn decode(&self, message: Received) -> Decoded;
}

/// What decoding made of a message.
#[derive(Debug)]
pub enum Decoded {
    /// An event, to be matched and kept.
    Event(Box<Event>),
    /// Counted, not kept.
    NotKept(NotKept),
}

/// How much the queue holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries at most.
    pub events: usize,
    /// Bytes of keys and frames at most. One message alone is taken whatever its size: a source bounds that itself.
    pub bytes: usize,
}

/// What the receiving end gets, in the order in which it happened.
#[derive(Debug)]
pub enum Entry {
    /// A message.
    Message {
        /// The source's name.
        source: Arc<str>,
        /// The message.
        received: Received,
    },
    /// The connection came up.
    Connected {
        /// The source's name.
        source: Arc<str>,
        /// When.
        at: Timestamp,
        /// Nothing was missed: what happened meanwhile is read now.
        reads_on: bool,
    },
    /// The connection went down, or could not be made once more.
    Disconnected {
        /// The source's name.
        source: Arc<str>,
        /// When.
        at: Timestamp,
        /// Why, as a sentence for the operator.
        why: String,
    },
    /// Messages were lost here because the queue was full.
    Lost {
        /// The source's name.
        source: Arc<str>,
        /// How many, from the first to the last, with the newest [`LOST_KEYS`] keys of them, oldest first, long ones cut.
        gap: Gap,
    },
    /// A source handed an event over, and waits until it is durable.
    Delivered(Box<Delivery>),
    /// A source wants something kept, and waits until it is durable.
    Kept(Box<Keeping>),
    /// An operator handed an event over.
    Emitted(Box<Emission>),
    /// hem raises an event about itself.
    Raised {
        /// The event.
        event: Box<Event>,
        /// Its identity, under which it is kept until it is accepted.
        identity: String,
    },
    /// A step of catching up with a source.
    CatchUp {
        /// The source's name.
        source: Arc<str>,
        /// The step.
        step: Step,
    },
}

/// An event that an operator hands over, already decoded. It stands in the same line as what sources bring.
#[derive(Debug)]
pub struct Emission {
    /// The event.
    pub event: Event,
    /// Only this hook is run, whatever its trigger says.
    pub hook: Option<HookName>,
    /// Who hands it over.
    pub actor: Actor,
    /// Gets the answer when the event is durable, or why it is not accepted.
    pub reply: oneshot::Sender<Result<Accepted, OrderError>>,
}

impl Entry {
    /// The name of the source it is about.
    pub const fn source(&self) -> &Arc<str> {
        match self {
            Self::Message { source, .. }
            | Self::Connected { source, .. }
            | Self::Disconnected { source, .. }
            | Self::Lost { source, .. }
            | Self::CatchUp { source, .. } => source,
            Self::Delivered(delivery) => &delivery.event.source,
            Self::Kept(keeping) => &keeping.source,
            Self::Emitted(emission) => &emission.event.source,
            Self::Raised { event, .. } => &event.source,
        }
    }
}

/// What one source handed over since the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Messages offered.
    pub received: u64,
    /// Of these, lost because the queue was full.
    pub lost: u64,
}

/// What the queue holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    /// Entries.
    pub events: usize,
    /// Bytes of keys and frames.
    pub bytes: usize,
}

/// The receiving end. Serves several sources; there is one receiver.
#[derive(Debug)]
pub struct IntakeQueue {
    shared: Arc<Shared>,
}

/// A source's end. Cloning is cheap; clones count for the same source. May be used on any thread.
#[derive(Clone)]
pub struct Intake {
    shared: Arc<Shared>,
    source: Arc<str>,
}

impl fmt::Debug for Intake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intake")
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// The end for what operators hand over, and for what hem says about itself. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Emitter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: Limits,
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    entries: VecDeque<Entry>,
    bytes: usize,
    sources: BTreeMap<Arc<str>, SourceState>,
    /// Operators hand nothing over any more: the engine is stopping, or nobody is there to take it.
    is_closed: bool,
}

#[derive(Debug, Default)]
struct SourceState {
    counters: Counters,
    /// What was told by [`Intake::not_kept`] and is not yet counted.
    not_kept: Vec<(NotKept, u64)>,
    /// What was told by [`Intake::remark`] and is not yet counted.
    noted: Vec<(&'static str, u64)>,
    held_back: HeldBack,
}

/// What happened while there was no room, folded into at most three entries: so a source that flaps while nobody
/// receives costs no memory, and still no gap goes unsaid.
#[derive(Debug, Default)]
struct HeldBack {
    lost: Option<Loss>,
    disconnected: Option<(Timestamp, String)>,
    connected: Option<(Timestamp, bool)>,
}

impl IntakeQueue {
    /// An empty queue. It holds at least one entry, whatever the limits say: otherwise it could not even tell its losses.
    pub fn new(limits: Limits) -> Self {
        Self {
            shared: Arc::new(Shared {
                limits: Limits {
                    events: limits.events.max(1),
                    ..limits
                },
                state: Mutex::default(),
                filled: Condvar::new(),
            }),
        }
    }

    /// An end for the source of this name. Asking twice gives two ends of one source.
    pub fn source(&self, name: &str) -> Intake {
        let source: Arc<str> = name.into();
        self.shared.lock().sources.entry(Arc::clone(&source)).or_default();
        Intake {
            shared: Arc::clone(&self.shared),
            source,
        }
    }

    /// An end for what operators hand over.
    pub fn emitter(&self) -> Emitter {
        Emitter {
            shared: Arc::clone(&self.shared),
        }
    }

    /// Takes up to `max` entries in the order in which they happened; waits up to `wait` for the first one.
    pub fn take(&mut self, max: usize, wait: Duration) -> Vec<Entry> {
        let deadline = Instant::now().checked_add(wait);
        let mut state = self.shared.lock();
        while state.entries.is_empty() && max > 0 {
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            if left.is_zero() {
                return Vec::new();
            }
            state = self
                .shared
                .filled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut taken = state.remove_front(max);
        state.release_held_back(self.shared.limits);
        let still_wanted = max - taken.len();
        taken.extend(state.remove_front(still_wanted));
        taken
    }

    /// What each source handed over so far.
    pub fn counters(&self) -> BTreeMap<Arc<str>, Counters> {
        let state = self.shared.lock();
        state
            .sources
            .iter()
            .map(|(name, source)| (Arc::clone(name), source.counters))
            .collect()
    }

    /// What the queue holds now.
    pub fn depth(&self) -> Depth {
        let state = self.shared.lock();
        Depth {
            events: state.entries.len(),
            bytes: state.bytes,
        }
    }
}

/// Whoever waits for an answer about something that is still in the queue is told that none comes.
impl Drop for IntakeQueue {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        state.remove_front(usize::MAX);
    }
}

impl Emitter {
    /// Takes nothing more from operators. What was handed over before is still to be had from the queue.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
    }

    /// Hands an event over. A full queue refuses it at once: whoever asked can ask again.
    pub fn offer(&self, emission: Emission) {
        let mut state = self.shared.lock();
        if state.is_closed {
            // Whoever asked may have gone away.
            let _ = emission.reply.send(Err(Stopping.into()));
        } else if state.has_room(self.shared.limits, emission.event.payload.bytes().len()) {
            state.push(Entry::Emitted(Box::new(emission)));
            self.shared.filled.notify_one();
        } else {
            let full = OrderError::NotPossible("the intake queue is full; try again".to_owned());
            // Whoever asked may have gone away.
            let _ = emission.reply.send(Err(full));
        }
    }
}

impl Emitter {
    /// Raises an own event of this identity; says whether there was room for it. Never waits.
    pub fn raise(&self, event: Event, identity: String) -> bool {
        let mut state = self.shared.lock();
        let fits = state.has_room(self.shared.limits, event.payload.bytes().len());
        if fits {
            let event = Box::new(event);
            state.push(Entry::Raised { event, identity });
            self.shared.filled.notify_one();
        }
        fits
    }
}

impl Intake {
    /// Hands a message over; never waits. A full queue drops the payload, counts it `lost` and keeps the key for the gap record.
    pub fn offer(&self, message: Received) {
        let limits = self.shared.limits;
        let mut state = self.shared.lock();
        let fits = state.has_room(limits, message.weight());
        let source = state.sources.entry(Arc::clone(&self.source)).or_default();
        source.counters.received += 1;
        if fits {
            let held_back = std::mem::take(&mut source.held_back);
            state.push_all(held_back.into_entries(&self.source));
            state.push(Entry::Message {
                source: Arc::clone(&self.source),
                received: message,
            });
            self.shared.filled.notify_one();
        } else {
            source.counters.lost += 1;
            source.held_back.lose(message);
        }
    }

    /// The connection to the source came up. What it sent meanwhile is lost.
    pub fn connected(&self) {
        self.came_up(false);
    }

    /// The same, and what happened meanwhile is still to be had there, and is read.
    pub fn reads_on(&self) {
        self.came_up(true);
    }

    fn came_up(&self, reads_on: bool) {
        let at = Timestamp::now();
        self.note(
            Entry::Connected {
                source: Arc::clone(&self.source),
                at,
                reads_on,
            },
            |held_back| held_back.connected = Some((at, reads_on)),
        );
    }

    /// The connection to the source went down, or could not be made.
    pub fn disconnected(&self, why: &str) {
        let at = Timestamp::now();
        self.note(
            Entry::Disconnected {
                source: Arc::clone(&self.source),
                at,
                why: why.to_owned(),
            },
            |held_back| {
                held_back.disconnected = Some((at, why.to_owned()));
                held_back.connected = None;
            },
        );
    }

    /// Hands over a step of catching up with this source; gives it back where there is no room for it. Once the engine ends,
    /// it is dropped.
    pub(super) fn catch_up(&self, step: Step) -> Result<(), Step> {
        let mut state = self.shared.lock();
        if !state.is_closed {
            if !state.has_room(self.shared.limits, step.weight()) {
                return Err(step);
            }
            state.push(Entry::CatchUp {
                source: Arc::clone(&self.source),
                step,
            });
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// What this source handed over so far.
    pub fn counters(&self) -> Counters {
        let state = self.shared.lock();
        state
            .sources
            .get(&self.source)
            .map(|source| source.counters)
            .unwrap_or_default()
    }

    fn note(&self, entry: Entry, hold_back: impl FnOnce(&mut HeldBack)) {
        let limits = self.shared.limits;
        let mut state = self.shared.lock();
        let has_room = state.entries.len() < limits.events;
        let source = state.sources.entry(Arc::clone(&self.source)).or_default();
        if has_room {
            let held_back = std::mem::take(&mut source.held_back);
            state.push_all(held_back.into_entries(&self.source));
            state.push(entry);
            self.shared.filled.notify_one();
        } else {
            hold_back(&mut source.held_back);
        }
    }
}

impl Shared {
    /// The state is consistent between any two statements that could panic, so a poisoned lock is taken as it is.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, limits: Limits, weight: usize) -> bool {
        self.entries.len() < limits.events
            && (self.bytes == 0 || self.bytes.saturating_add(weight) <= limits.bytes)
    }

    fn not_kept(&mut self, source: &Arc<str>, why: NotKept) {
        let source = self.sources.entry(Arc::clone(source)).or_default();
        source.counters.received += 1;
        match source.not_kept.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += 1,
            None => source.not_kept.push((why, 1)),
        }
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.weight();
        self.entries.push_back(entry);
    }

    fn push_all(&mut self, entries: impl IntoIterator<Item = Entry>) {
        entries.into_iter().for_each(|entry| self.push(entry));
    }

    fn remove_front(&mut self, max: usize) -> Vec<Entry> {
        let count = max.min(self.entries.len());
        let removed: Vec<Entry> = self.entries.drain(..count).collect();
        self.bytes -= removed.iter().map(Entry::weight).sum::<usize>();
        removed
    }

    fn release_held_back(&mut self, limits: Limits) {
        let mut released = Vec::new();
        let mut room = limits.events.saturating_sub(self.entries.len());
        for (name, source) in &mut self.sources {
            if room == 0 {
                break;
            }
            let entries = std::mem::take(&mut source.held_back).into_entries(name);
            room = room.saturating_sub(entries.len());
            released.extend(entries);
        }
        self.push_all(released);
    }
}

impl Entry {
    fn weight(&self) -> usize {
        match self {
            Self::Message { received, .. } => received.weight(),
            Self::Delivered(delivery) => delivery.event.payload.bytes().len(),
            Self::Emitted(emission) => emission.event.payload.bytes().len(),
            Self::Raised { event, .. } => event.payload.bytes().len(),
            Self::CatchUp { step, .. } => step.weight(),
            Self::Kept(_) | Self::Connected { .. } | Self::Disconnected { .. } | Self::Lost { .. } => 0,
        }
    }
}

impl HeldBack {
    fn lose(&mut self, message: Received) {
        let loss = self.lost.get_or_insert_with(|| Loss::from(message.at));
        loss.lose(message);
    }

    fn into_entries(self, source: &Arc<str>) -> Vec<Entry> {
        let lost = self.lost.map(|loss| Entry::Lost {
            source: Arc::clone(source),
            gap: loss.into_gap("the intake queue was full".to_owned()),
        });
        let disconnected = self.disconnected.map(|(at, why)| Entry::Disconnected {
            source: Arc::clone(source),
            at,
            why,
        });
        let connected = self.connected.map(|(at, reads_on)| Entry::Connected {
            reads_on,
            source: Arc::clone(source),
            at,
        });
        lost.into_iter().chain(disconnected).chain(connected).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::loss::LOST_KEY_BYTES;
    use super::*;

    const NO_WAIT: Duration = Duration::ZERO;
    const ROOMY: Limits = Limits {
        events: 100,
        bytes: 10_000,
    };

    fn message(key: &str, bytes: usize, millis: i64) -> Received {
        Received {
            key: key.to_owned(),
            frames: vec![Bytes::from(vec![0; bytes])],
            at: Timestamp::from_millis(millis),
        }
    }

    /// One word an entry, so that an order can be compared at a glance.
    fn words(entries: &[Entry]) -> Vec<String> {
        entries
            .iter()
            .map(|entry| match entry {
                Entry::Message { source, received } => format!("{source}:{}", received.key),
                Entry::Connected { source, .. } => format!("{source}:up"),
                Entry::Disconnected { source, why, .. } => format!("{source}:down {why}"),
                Entry::Lost { source, gap } => {
                    format!("{source}:lost {} {}", gap.lost, gap.keys.join(","))
                }
                Entry::Delivered(delivery) => format!("delivered {}", delivery.event.key),
                Entry::Emitted(emission) => format!("emitted {}", emission.event.key),
                Entry::Raised { event, .. } => format!("raised {}", event.key),
                Entry::CatchUp { source, .. } => format!("{source}:catch-up"),
                Entry::Kept(keeping) => format!("{}:kept", keeping.source),
            })
            .collect()
    }

    #[test]
    fn what_is_emitted_stands_in_line_and_is_refused_when_the_queue_is_full() {
        let mut queue = IntakeQueue::new(Limits {
            events: 2,
            bytes: 1 << 20,
        });
        let (source, emitter) = (queue.source("a"), queue.emitter());
        let emission = |key: &str| {
            let (reply, answer) = oneshot::channel();
            let event = Event {
                seq: crate::event::id::Seq(0),
                source: "emit".into(),
                key: key.to_owned(),
                subject: None,
                received: Timestamp::from_millis(0),
                facts: crate::event::Facts::Undecodable {
                    reason: String::new(),
                },
                ambiguous: false,
                synthesised: false,
                payload: crate::event::payload::Payload::new(Bytes::new()),
            };
            (
                Emission {
                    event,
                    hook: None,
                    actor: Actor::Daemon,
                    reply,
                },
                answer,
            )
        };
        source.offer(message("1", 1, 0));
        let (first, _answer) = emission("2");
        emitter.offer(first);
        let (second, mut refused) = emission("3");
        emitter.offer(second);
        assert!(matches!(refused.try_recv(), Ok(Err(OrderError::NotPossible(_)))));
        assert_eq!(words(&queue.take(9, Duration::ZERO)), ["a:1", "emitted 2"]);

        // Nobody waits for an answer that never comes.
        let (third, mut unanswered) = emission("4");
        emitter.offer(third);
        emitter.close();
        let (fourth, mut refused) = emission("5");
        emitter.offer(fourth);
        assert_eq!(refused.try_recv(), Ok(Err(OrderError::Stopping(Stopping))));
        assert_eq!(unanswered.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(queue);
        assert_eq!(unanswered.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }

    #[test]
    fn entries_of_all_sources_come_in_the_order_in_which_they_happened() {
        let mut queue = IntakeQueue::new(ROOMY);
        let (a, b) = (queue.source("a"), queue.source("b"));
        a.connected();
        a.offer(message("1", 1, 0));
        b.disconnected("refused");
        b.connected();
        b.offer(message("2", 1, 0));
        a.offer(message("3", 1, 0));
        a.disconnected("end of file");
        assert_eq!(
            words(&queue.take(100, NO_WAIT)),
            [
                "a:up",
                "a:1",
                "b:down refused",
                "b:up",
                "b:2",
                "a:3",
                "a:down end of file"
            ]
        );
        assert_eq!(queue.depth(), Depth::default());
    }

    #[test]
    fn take_gives_no_more_than_asked_for() {
        let mut queue = IntakeQueue::new(ROOMY);
        let source = queue.source("s");
        for key in ["1", "2", "3"] {
            source.offer(message(key, 1, 0));
        }
        assert!(queue.take(0, Duration::from_secs(600)).is_empty());
        assert_eq!(words(&queue.take(2, NO_WAIT)), ["s:1", "s:2"]);
        assert_eq!(words(&queue.take(2, NO_WAIT)), ["s:3"]);
        assert!(queue.take(2, NO_WAIT).is_empty());
    }

    #[test]
    fn a_full_queue_keeps_the_keys_of_what_it_loses_and_says_so_in_its_place() {
        let mut queue = IntakeQueue::new(Limits { events: 2, ..ROOMY });
        let source = queue.source("s");
        for (n, key) in ["1", "2", "3", "4"].into_iter().enumerate() {
            source.offer(message(key, 1, i64::try_from(n).expect("small")));
        }
        assert_eq!(words(&queue.take(1, NO_WAIT)), ["s:1"]);
        source.offer(message("5", 1, 5));
        let rest = queue.take(100, NO_WAIT);
        assert_eq!(words(&rest), ["s:2", "s:lost 2 3,4", "s:lost 1 5"]);
        let Entry::Lost { gap, .. } = &rest[1] else {
            panic!("{rest:?}");
        };
        assert_eq!((gap.from.as_millis(), gap.to.as_millis()), (2, 3));
        assert_eq!(source.counters(), Counters { received: 5, lost: 3 });
        source.offer(message("6", 1, 6));
        assert_eq!(words(&queue.take(100, NO_WAIT)), ["s:6"]);
    }

    #[test]
    fn bytes_are_bounded_too_but_one_message_alone_is_always_taken() {
        let mut queue = IntakeQueue::new(Limits { bytes: 100, ..ROOMY });
        let source = queue.source("s");
        source.offer(message("big", 5000, 0));
        source.offer(message("small", 1, 0));
        assert_eq!(
            queue.depth(),
            Depth {
                events: 1,
                bytes: 5003
            }
        );
        assert_eq!(words(&queue.take(100, NO_WAIT)), ["s:big", "s:lost 1 small"]);
        source.offer(message("a", 59, 0));
        source.offer(message("b", 59, 0));
        source.offer(message("c", 10, 0));
        assert_eq!(words(&queue.take(100, NO_WAIT)), ["s:a", "s:lost 1 b", "s:c"]);
    }

    #[test]
    fn of_a_long_loss_the_newest_keys_are_kept_and_long_keys_are_cut() {
        let mut queue = IntakeQueue::new(Limits { events: 1, ..ROOMY });
        let source = queue.source("s");
        source.offer(message("first", 1, 0));
        for n in 0..1000 {
            source.offer(message(&n.to_string(), 1, n));
        }
        source.offer(message(&"ü".repeat(10_000), 1, 1000));
        let entries = queue.take(2, NO_WAIT);
        let [_, Entry::Lost { gap, .. }] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        assert_eq!(gap.lost, 1001);
        assert_eq!(gap.keys.len(), LOST_KEYS);
        assert_eq!(gap.keys[0], "901");
        assert_eq!(gap.keys[LOST_KEYS - 1], "ü".repeat(LOST_KEY_BYTES / 2));
    }

    #[test]
    fn a_source_that_flaps_while_nobody_receives_costs_no_memory_and_its_gap_is_said() {
        let mut queue = IntakeQueue::new(Limits { events: 2, ..ROOMY });
        let (full, flapping) = (queue.source("full"), queue.source("flapping"));
        full.offer(message("1", 1, 0));
        full.offer(message("2", 1, 0));
        flapping.offer(message("gone", 1, 0));
        for n in 0..1000 {
            flapping.connected();
            flapping.disconnected(&n.to_string());
        }
        flapping.connected();
        assert_eq!(queue.depth().events, 2);
        assert_eq!(
            words(&queue.take(100, NO_WAIT)),
            [
                "full:1",
                "full:2",
                "flapping:lost 1 gone",
                "flapping:down 999",
                "flapping:up"
            ]
        );
    }

    #[test]
    fn a_connection_that_ends_down_is_not_reported_up() {
        let mut queue = IntakeQueue::new(Limits { events: 1, ..ROOMY });
        let source = queue.source("s");
        source.offer(message("1", 1, 0));
        source.connected();
        source.disconnected("again");
        assert_eq!(words(&queue.take(100, NO_WAIT)), ["s:1", "s:down again"]);
    }

    #[test]
    fn take_wakes_up_when_something_comes() {
        let mut queue = IntakeQueue::new(ROOMY);
        let source = queue.source("s");
        let receiver = thread::spawn(move || queue.take(1, Duration::from_secs(60)));
        source.offer(message("1", 1, 0));
        assert_eq!(words(&receiver.join().expect("the receiver")), ["s:1"]);
    }

    #[test]
    fn many_senders_and_a_slow_receiver_add_up_and_each_source_keeps_its_order() {
        const EACH: u64 = 5000;
        let mut queue = IntakeQueue::new(Limits {
            events: 50,
            bytes: 4000,
        });
        let senders: Vec<_> = ["a", "b", "c", "d"]
            .map(|name| {
                let source = queue.source(name);
                thread::spawn(move || {
                    for n in 0..EACH {
                        source.offer(message(&n.to_string(), 20, 0));
                    }
                })
            })
            .into();
        let mut came: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut lost: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut received = 0;
        while received < 4 * EACH {
            let entries = queue.take(7, Duration::from_secs(60));
            assert!(!entries.is_empty(), "something is missing");
            assert!(queue.depth().events <= 50 + 4);
            for entry in entries {
                match entry {
                    Entry::Message {
                        source,
                        received: message,
                    } => {
                        let number: u64 = message.key.parse().expect("a number");
                        let before = came.entry(Arc::clone(&source)).or_default();
                        let gap = lost.entry(source).or_default();
                        assert_eq!(number, *before + *gap, "losses stand where they happened");
                        *before += 1;
                        received += 1;
                    }
                    Entry::Lost { source, gap } => {
                        *lost.entry(source).or_default() += gap.lost;
                        received += gap.lost;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        for sender in senders {
            sender.join().expect("a sender");
        }
        for (name, counters) in queue.counters() {
            assert_eq!(counters.received, EACH);
            // On a busy machine all of one source may be lost.
            let came = came.get(&name).copied().unwrap_or_default();
            assert_eq!(counters.lost, lost.get(&name).copied().unwrap_or_default());
            assert_eq!(came + counters.lost, EACH);
        }
    }
}
