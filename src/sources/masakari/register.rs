//! The notifications on record, in a few words each: by them lists are chosen and sorted, notifications are found by their UUIDs, and
//! duplicates are recognised. Everything else of a notification is read from the store.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::instant::Instant;
use super::query::Filter;
use super::uuid;
use super::workflow::Standing;
use crate::event::Event;
use crate::event::Facts;
use crate::event::id::Seq;
use crate::event::masakari::MasakariNotification;
use crate::event::time::Timestamp;

/// So many notifications are told of at most, the newest; some 250 bytes each. A unit test is to meet the limit soon.
pub(super) const REGISTERED: usize = if cfg!(test) { 100 } else { 500_000 };

/// Notifications of one host that say the same and were made within this time are one.
pub(super) const DUPLICATE_SECONDS: i64 = 180;

/// What is not on record any more is known for this long, lest it be taken twice.
const REMEMBERED: Duration = Duration::from_secs(180);

/// What tells one notification from another: its type, its host and its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    pub(super) fn of(kind: &str, hostname: &str, payload: &BTreeMap<String, String>) -> Self {
        let mut hash = Sha256::new();
        let texts = [kind, hostname].into_iter();
        let texts = texts.chain(
            payload
                .iter()
                .flat_map(|(name, value)| [name.as_str(), value.as_str()]),
        );
        for text in texts {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        let bytes = hash.finalize();
        Self(
            bytes
                .iter()
                .take(16)
                .fold(0, |hash, byte| hash << 8 | u128::from(*byte)),
        )
    }

    /// One of so many places.
    pub(super) fn place(self, places: usize) -> usize {
        let places = u128::try_from(places).unwrap_or(1).max(1);
        usize::try_from(self.0 % places).unwrap_or_default()
    }
}

/// What the register knows of one notification. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) seq: Seq,
    pub(super) uuid: u128,
    pub(super) kind: Arc<str>,
    pub(super) host_uuid: Arc<str>,
    pub(super) segment_uuid: Option<Arc<str>>,
    pub(super) generated: Instant,
    pub(super) received: Timestamp,
    fingerprint: Fingerprint,
    /// Where it stands, once nothing more comes by itself.
    pub(super) standing: Option<Standing>,
    /// How often something has happened to it.
    version: u32,
}

impl Row {
    /// Whether it is among those asked for; what is asked of the status is not looked at.
    pub(super) fn fits(&self, filter: &Filter) -> bool {
        filter.kind.as_deref().is_none_or(|kind| *kind == *self.kind)
            && filter.host.as_deref().is_none_or(|host| *host == *self.host_uuid)
            && filter.since.is_none_or(|since| self.generated >= since)
    }
}

/// The notifications on record.
#[derive(Debug, Default)]
pub(super) struct Register(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    rows: BTreeMap<Seq, Row>,
    by_uuid: HashMap<u128, Seq>,
    /// When the newest one was made of those that say the same.
    newest: HashMap<Fingerprint, Instant>,
    /// Texts that many of them have.
    texts: HashSet<Arc<str>>,
}

impl Register {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the notification that an event is.
    pub(super) fn take(&self, event: &Event) {
        if let Facts::Masakari(told) = &event.facts
            && told.observed.is_none()
        {
            self.state().take(event.seq, event.received, told);
        }
    }

    /// Whether one that says the same is known, and was made less than three minutes before, or later.
    pub(super) fn is_duplicate(&self, fingerprint: Fingerprint, generated: Instant) -> bool {
        let newest = self.state().newest.get(&fingerprint).copied();
        newest.is_some_and(|newest| newest >= generated.before(DUPLICATE_SECONDS))
    }

    /// The one with this UUID.
    pub(super) fn find(&self, uuid: u128) -> Option<Row> {
        let state = self.state();
        let seq = state.by_uuid.get(&uuid)?;
        state.rows.get(seq).cloned()
    }

    /// The one with this number.
    pub(super) fn row(&self, seq: Seq) -> Option<Row> {
        self.state().rows.get(&seq).cloned()
    }

    /// Some of those that fit, by number: the next ones behind `after`.
    pub(super) fn next(
        &self,
        filter: &Filter,
        descending: bool,
        after: Option<Seq>,
        limit: usize,
    ) -> Vec<Row> {
        let state = self.state();
        let fitting = |rows: &mut dyn Iterator<Item = &Row>| {
            rows.filter(|row| row.fits(filter)).take(limit).cloned().collect()
        };
        match (descending, after) {
            (true, None) => fitting(&mut state.rows.values().rev()),
            (true, Some(after)) => fitting(&mut state.rows.range(..after).rev().map(|(_, row)| row)),
            (false, None) => fitting(&mut state.rows.values()),
            (false, Some(after)) => {
                let behind = Seq(after.0.saturating_add(1));
                fitting(&mut state.rows.range(behind..).map(|(_, row)| row))
            }
        }
    }

    /// The numbers of all, or of those alone that may still change.
    pub(super) fn numbers(&self, open_only: bool) -> Vec<Seq> {
        let state = self.state();
        let rows = state.rows.values();
        rows.filter(|row| !open_only || row.standing.is_none())
            .map(|row| row.seq)
            .collect()
    }

    /// Something happened to one: where it stands has to be read anew. False where it is not known.
    pub(super) fn touch(&self, seq: Seq) -> bool {
        let mut state = self.state();
        let Some(row) = state.rows.get_mut(&seq) else {
            return false;
        };
        row.standing = None;
        row.version = row.version.wrapping_add(1);
        true
    }

    /// Keeps where one stands, if nothing has happened to it since it was looked at.
    pub(super) fn keep(&self, row: &Row, standing: Standing) {
        if !standing.is_final {
            return;
        }
        let mut state = self.state();
        if let Some(known) = state.rows.get_mut(&row.seq)
            && known.version == row.version
        {
            known.standing = Some(standing);
        }
    }

    /// It is not on record any more.
    pub(super) fn forget(&self, seq: Seq, now: Timestamp) {
        self.state().forget(seq, now);
    }
}

impl State {
    fn take(&mut self, seq: Seq, received: Timestamp, told: &MasakariNotification) {
        let (Some(uuid), Some(generated)) = (uuid::parse(&told.uuid), Instant::parse(&told.generated_time))
        else {
            return;
        };
        let fingerprint = Fingerprint::of(&told.kind, &told.hostname, &told.payload);
        let row = Row {
            seq,
            uuid,
            kind: self.text(&told.kind),
            host_uuid: self.text(told.host_uuid.as_deref().unwrap_or_default()),
            segment_uuid: told.segment_uuid.as_deref().map(|uuid| self.text(uuid)),
            generated,
            received,
            fingerprint,
            standing: None,
            version: 0,
        };
        self.by_uuid.insert(uuid, seq);
        let newest = self.newest.entry(fingerprint).or_insert(generated);
        *newest = generated.max(*newest);
        self.rows.insert(seq, row);
        // There are more for a while where the oldest may not go yet, so that later more than one goes.
        while self.rows.len() > REGISTERED
            && let Some(oldest) = self.rows.keys().next().copied()
            && self.forget(oldest, received)
        {}
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        // Those that no notification has any more make room.
        if self.texts.len() > 2 * self.rows.len() + 1_000 {
            self.texts.retain(|text| Arc::strong_count(text) > 1);
        }
        let text: Arc<str> = text.into();
        self.texts.insert(Arc::clone(&text));
        text
    }

    /// Says whether it is gone.
    fn forget(&mut self, seq: Seq, now: Timestamp) -> bool {
        let Some(row) = self.rows.get(&seq) else {
            return true;
        };
        let is_newest = self.newest.get(&row.fingerprint) == Some(&row.generated);
        if is_newest && now.since(row.received) < REMEMBERED {
            return false;
        }
        if is_newest {
            self.newest.remove(&row.fingerprint);
        }
        let uuid = row.uuid;
        self.rows.remove(&seq);
        self.by_uuid.remove(&uuid);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::masakari::workflow::Status;

    fn told(uuid: u128, host: &str, generated: &str) -> MasakariNotification {
        MasakariNotification {
            uuid: uuid::dashed(uuid),
            kind: "VM".to_owned(),
            hostname: host.to_owned(),
            generated_time: generated.to_owned(),
            payload: [("event".to_owned(), "LIFECYCLE".to_owned())].into(),
            host_uuid: Some(uuid::of("host", host)),
            segment_uuid: None,
            observed: None,
            sender: None,
            request: None,
        }
    }

    fn take(register: &Register, seq: u64, told: MasakariNotification) {
        let mut event = told.into_event(
            "masakari".into(),
            false,
            Timestamp::from_millis(0),
            bytes::Bytes::new(),
        );
        event.seq = Seq(seq);
        register.take(&event);
    }

    fn at(text: &str) -> Instant {
        Instant::parse(text).expect("a time")
    }

    #[test]
    fn duplicates_are_what_says_the_same_within_three_minutes_or_ahead() {
        let register = Register::default();
        let first = told(1, "node1", "2026-11-21T23:00:00");
        let fingerprint = Fingerprint::of(&first.kind, &first.hostname, &first.payload);
        assert!(!register.is_duplicate(fingerprint, at("2026-11-21T23:00:00")));
        take(&register, 1, first);
        for (time, is_duplicate) in [
            ("2026-11-21T23:00:00", true),
            ("2026-11-21T23:03:00", true),
            ("2026-11-21T23:03:00.000001", false),
            ("2026-11-21T20:00:00", true),
        ] {
            assert_eq!(
                register.is_duplicate(fingerprint, at(time)),
                is_duplicate,
                "{time}"
            );
        }
        let other = Fingerprint::of("VM", "node2", &BTreeMap::new());
        assert!(!register.is_duplicate(other, at("2026-11-21T23:00:00")));
    }

    #[test]
    fn what_is_pruned_stays_known_for_three_minutes() {
        let register = Register::default();
        let first = told(1, "node1", "2026-11-21T23:00:00");
        let fingerprint = Fingerprint::of(&first.kind, &first.hostname, &first.payload);
        take(&register, 1, first);
        register.forget(Seq(1), Timestamp::from_millis(179_000));
        assert!(register.is_duplicate(fingerprint, at("2026-11-21T23:00:00")));
        register.forget(Seq(1), Timestamp::from_millis(180_000));
        assert!(!register.is_duplicate(fingerprint, at("2026-11-21T23:00:00")));
        assert!(register.find(1).is_none() && register.row(Seq(1)).is_none());
    }

    #[test]
    fn what_a_flood_left_goes_once_it_may() {
        let register = Register::default();
        let flood = REGISTERED as u64 + 50;
        let take = |number: u64, received| {
            let told = told(number.into(), &format!("node{number}"), "2026-11-21T23:00:00");
            let document = bytes::Bytes::new();
            let mut event = told.into_event(
                "masakari".into(),
                false,
                Timestamp::from_millis(received),
                document,
            );
            event.seq = Seq(number);
            register.take(&event);
        };
        for number in 1..=flood {
            take(number, 0);
        }
        assert!(register.row(Seq(1)).is_some(), "it is known for three minutes");
        take(flood + 1, 180_000);
        let kept = (1..=flood + 1).filter(|number| register.row(Seq(*number)).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), (52..=flood + 1).collect::<Vec<_>>());
    }

    #[test]
    fn rows_are_found_by_uuid_and_paged_by_number() {
        let register = Register::default();
        for number in 1..=5 {
            take(
                &register,
                number,
                told(u128::from(number), "node1", "2026-11-21T23:00:00"),
            );
        }
        assert_eq!(register.find(3).map(|row| row.seq), Some(Seq(3)));
        let numbers = |descending, after: Option<u64>, limit| -> Vec<u64> {
            let rows = register.next(&Filter::default(), descending, after.map(Seq), limit);
            rows.into_iter().map(|row| row.seq.0).collect()
        };
        assert_eq!(numbers(true, None, 2), [5, 4]);
        assert_eq!(numbers(true, Some(4), 9), [3, 2, 1]);
        assert_eq!(numbers(false, Some(4), 9), [5]);
        let strange = Filter {
            kind: Some("PROCESS".to_owned()),
            ..Filter::default()
        };
        assert!(register.next(&strange, true, None, 9).is_empty());
    }

    #[test]
    fn what_happens_meanwhile_is_not_covered_by_what_was_read_before() {
        let register = Register::default();
        take(&register, 1, told(1, "node1", "2026-11-21T23:00:00"));
        let standing = Standing {
            status: Status::Finished,
            updated: Some(Timestamp::from_millis(1)),
            is_final: true,
        };
        let seen = register.row(Seq(1)).expect("a row");
        assert!(register.touch(Seq(1)));
        register.keep(&seen, standing);
        assert_eq!(register.numbers(true), [Seq(1)], "it is read anew");
        let seen = register.row(Seq(1)).expect("a row");
        register.keep(
            &seen,
            Standing {
                is_final: false,
                ..standing
            },
        );
        assert_eq!(register.numbers(true), [Seq(1)], "it may still change");
        register.keep(&seen, standing);
        assert!(register.numbers(true).is_empty());
        assert!(!register.touch(Seq(2)));
    }
}
