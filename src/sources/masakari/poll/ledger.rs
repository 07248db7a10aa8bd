//! How far another Masakari was read, and what was last seen of its notifications: kept in bookmarks, each written in the same entry as
//! the event that it belongs to. So every notification is raised once, and so is every change of its status that is seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::api::Told;
use crate::engine::bookmark::{Bookmark, BookmarkError};

/// The bookmark with the newest notification that was raised.
const CURSOR: &str = "cursor";

/// What stands before the UUID in the bookmarks of single notifications.
const STATUS: &str = "status/";

/// The statuses that a notification has before its end.
pub(super) const UNFINISHED: [&str; 3] = ["new", "running", "error"];

/// So many finished notifications are remembered, the newest: should one be taken up again, its event says what it was before.
const FINISHED_KEPT: usize = 1_000;

/// A number may be given before another one and be seen after it, by so many at most. Fewer than are remembered.
const LATE: u64 = 500;

/// So many unfinished ones are watched, the newest.
pub(super) const UNFINISHED_KEPT: usize = 20_000;

/// The newest notification that was raised, or the one from which on everything is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Its number; 0 before the first.
    pub(super) id: u64,
    /// Its UUID: a Masakari that lost its database gives the same numbers once more.
    pub(super) uuid: String,
    /// When it was made, in the words of the Masakari, which sort as they are.
    pub(super) created_at: String,
    /// Up to this number nothing is raised for the first time.
    pub(super) floor: u64,
}

impl Cursor {
    pub(super) fn at(told: &Told, floor: u64) -> Self {
        Self {
            id: told.id,
            uuid: told.uuid.clone(),
            created_at: told.created_at.clone(),
            floor,
        }
    }

    /// Whether a notification was made after this one, whatever its number: by the clock of the Masakari.
    pub(super) fn is_before(&self, told: &Told) -> bool {
        told.created_at > self.created_at
    }
}

/// What was last seen of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    id: u64,
    status: String,
}

impl Seen {
    fn is_unfinished(&self) -> bool {
        UNFINISHED.contains(&self.status.as_str())
    }
}

/// What is known of another Masakari.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    cursor: Option<Cursor>,
    seen: BTreeMap<String, Seen>,
    /// How many of them are not at their end.
    unfinished: usize,
}

/// What is to be made of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement<'a> {
    /// Nothing: it was seen so before.
    Known,
    /// It is to be raised: it had this status before.
    Changed(&'a str),
    /// Nothing yet: it comes when what is new is read.
    Ahead,
    /// It is to be raised for the first time: it has a lower number than another one, and could be read only after that.
    Late,
    /// It is to be watched, and not raised: it is from before the first reading, or was forgotten.
    Older,
}

/// What is to be kept, and becomes true of the ledger when it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Step {
    cursor: Option<Cursor>,
    seen: Option<(String, Seen)>,
    forgotten: Vec<String>,
}

impl Ledger {
    /// What a former life kept. What cannot be read is left out, and so begins anew.
    pub(super) fn of(bookmarks: &BTreeMap<String, Bytes>) -> Self {
        let mut ledger = Self::default();
        for (name, value) in bookmarks {
            if name == CURSOR {
                ledger.cursor = serde_json::from_slice(value).ok();
            } else if let Some(uuid) = name.strip_prefix(STATUS)
                && let Ok(seen) = serde_json::from_slice(value)
            {
                ledger.see(uuid.to_owned(), seen);
            }
        }
        ledger
    }

    fn see(&mut self, uuid: String, seen: Seen) {
        self.unfinished += usize::from(seen.is_unfinished());
        let before = self.seen.insert(uuid, seen);
        self.unfinished -= usize::from(before.is_some_and(|before| before.is_unfinished()));
    }

    fn forget(&mut self, uuid: &str) {
        let before = self.seen.remove(uuid);
        self.unfinished -= usize::from(before.is_some_and(|before| before.is_unfinished()));
    }

    /// How far it was read; none before the first reading.
    pub(super) const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// The status that was seen last, if any was.
    pub(super) fn status(&self, uuid: &str) -> Option<&str> {
        self.seen.get(uuid).map(|seen| seen.status.as_str())
    }

    /// Notifications that were not at their end when they were seen last.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &str> {
        self.seen
            .iter()
            .filter(|(_, seen)| seen.is_unfinished())
            .map(|(uuid, _)| uuid.as_str())
    }

    /// Reading begins, or begins anew, behind this one.
    pub(super) fn begin(cursor: Cursor) -> Step {
        Step {
            cursor: Some(cursor),
            ..Step::default()
        }
    }

    /// A notification is raised for the first time, and is the newest now.
    pub(super) fn first_sight(&self, told: &Told, floor: u64) -> Step {
        Step {
            cursor: Some(Cursor::at(told, floor)),
            ..self.sight(told)
        }
    }

    /// A notification is seen with this status. The oldest of those like it makes place where there are too many.
    pub(super) fn sight(&self, told: &Told) -> Step {
        let seen = Seen {
            id: told.id,
            status: told.status.clone(),
        };
        let is_like_it = |other: &Seen| other.is_unfinished() == seen.is_unfinished();
        let (known, most) = if seen.is_unfinished() {
            (self.unfinished, UNFINISHED_KEPT)
        } else {
            (self.seen.len() - self.unfinished, FINISHED_KEPT)
        };
        let others = known - usize::from(self.seen.get(&told.uuid).is_some_and(is_like_it));
        let oldest = if others < most {
            None
        } else {
            let others = self.seen.iter().filter(|(uuid, _)| **uuid != told.uuid);
            others
                .filter(|(_, other)| is_like_it(other))
                .min_by_key(|(_, other)| other.id)
        };
        Step {
            cursor: None,
            forgotten: oldest.into_iter().map(|(uuid, _)| uuid.clone()).collect(),
            seen: Some((told.uuid.clone(), seen)),
        }
    }

    /// What is to be made of a notification that is not newer than the newest.
    pub(super) fn judge(&self, told: &Told) -> Judgement<'_> {
        let cursor = self.cursor.clone().unwrap_or_default();
        match self.status(&told.uuid) {
            Some(status) if status == told.status => Judgement::Known,
            Some(status) => Judgement::Changed(status),
            None if told.id > cursor.id => Judgement::Ahead,
            None if self.unfinished >= UNFINISHED_KEPT => Judgement::Ahead,
            None if told.id > cursor.floor && told.id.saturating_add(LATE) > cursor.id => Judgement::Late,
            None => Judgement::Older,
        }
    }

    /// A notification is not there any more.
    pub(super) fn gone(uuid: &str) -> Step {
        Step {
            forgotten: vec![uuid.to_owned()],
            ..Step::default()
        }
    }

    /// Does what is kept now.
    pub(super) fn take(&mut self, step: Step) {
        if let Some(cursor) = step.cursor {
            self.cursor = Some(cursor);
        }
        for uuid in &step.forgotten {
            self.forget(uuid);
        }
        if let Some((uuid, seen)) = step.seen {
            self.see(uuid, seen);
        }
    }
}

impl Step {
    /// What is to be kept.
    ///
    /// # Errors
    /// Something in it is too long.
    pub(super) fn bookmarks(&self) -> Result<Vec<Bookmark>, BookmarkError> {
        let name = |uuid: &str| format!("{STATUS}{uuid}");
        let mut bookmarks: Vec<Bookmark> = self
            .forgotten
            .iter()
            .map(|uuid| Bookmark::removal(name(uuid)))
            .collect();
        if let Some((uuid, seen)) = &self.seen {
            bookmarks.push(Bookmark::new(name(uuid), json(seen))?);
        }
        if let Some(cursor) = &self.cursor {
            bookmarks.push(Bookmark::new(CURSOR, json(cursor))?);
        }
        Ok(bookmarks)
    }
}

/// Texts and numbers always have a form in JSON.
fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(id: u64, status: &str) -> Told {
        let whole = json!({
            "id": id, "notification_uuid": format!("u{id}"), "type": "VM", "status": status, "payload": {},
            "generated_time": "", "created_at": format!("2026-11-21T23:{:02}:{:02}.000000", id / 60, id % 60),
        });
        match whole {
            serde_json::Value::Object(whole) => Told::try_from(whole).expect("a notification"),
            other => panic!("{other}"),
        }
    }

    /// What is found of the bookmarks in the next life.
    fn reborn(bookmarks: &mut BTreeMap<String, Bytes>, step: &Step) -> Ledger {
        for bookmark in step.bookmarks().expect("short ones") {
            match bookmark.value() {
                Some(value) => bookmarks.insert(bookmark.name().to_owned(), value.clone()),
                None => bookmarks.remove(bookmark.name()),
            };
        }
        Ledger::of(bookmarks)
    }

    #[test]
    fn an_unfinished_one_is_judged_by_what_was_seen_and_where_reading_began() {
        let mut ledger = Ledger::default();
        ledger.take(Ledger::begin(Cursor::at(&told(10, "new"), 10)));
        ledger.take(ledger.first_sight(&told(12, "new"), 10));
        assert_eq!(ledger.judge(&told(12, "new")), Judgement::Known);
        assert_eq!(ledger.judge(&told(12, "running")), Judgement::Changed("new"));
        assert_eq!(ledger.judge(&told(13, "new")), Judgement::Ahead);
        assert_eq!(ledger.judge(&told(11, "new")), Judgement::Late);
        assert_eq!(ledger.judge(&told(10, "new")), Judgement::Older);
        ledger.take(ledger.sight(&told(11, "finished")));
        assert_eq!(
            ledger.cursor().map(|cursor| cursor.id),
            Some(12),
            "what is late moves nothing"
        );
        assert_eq!(ledger.unfinished().collect::<Vec<_>>(), ["u12"]);
        assert_eq!(ledger.judge(&told(11, "running")), Judgement::Changed("finished"));
        ledger.take(Ledger::gone("u11"));
        assert_eq!(ledger.status("u11"), None);
    }

    #[test]
    fn finished_ones_make_place_for_newer_ones() {
        let mut ledger = Ledger::default();
        for id in 1..=FINISHED_KEPT as u64 + 2 {
            ledger.take(ledger.first_sight(&told(id, "finished"), 0));
        }
        assert_eq!(ledger.seen.len(), FINISHED_KEPT);
        assert_eq!(
            (ledger.status("u2"), ledger.status("u3")),
            (None, Some("finished"))
        );
        assert_eq!(
            ledger.judge(&told(2, "running")),
            Judgement::Older,
            "it was raised before"
        );
    }

    #[test]
    fn bookmarks_that_cannot_be_read_are_left_out() {
        let bookmarks = [
            ("cursor", "x"),
            ("status/u1", "1"),
            ("status/u2", r#"{"id":2,"status":"new"}"#),
            ("other", ""),
        ];
        let bookmarks = bookmarks.map(|(name, value)| (name.to_owned(), Bytes::from(value)));
        let ledger = Ledger::of(&bookmarks.into());
        assert_eq!((ledger.cursor(), ledger.unfinished().count()), (None, 1));
    }

    proptest! {
        #[test]
        fn a_next_life_knows_what_this_one_knew(steps in proptest::collection::vec((0_u64..50, 0_usize..7), 0..60)) {
            let mut ledger = Ledger::default();
            let mut bookmarks = BTreeMap::new();
            for (id, what) in steps {
                let step = match what {
                    0 => Ledger::begin(Cursor::at(&told(id, "new"), id)),
                    1 => Ledger::gone(&format!("u{id}")),
                    2 => ledger.first_sight(&told(id, "new"), 0),
                    3 => ledger.first_sight(&told(id, "finished"), 0),
                    4 => ledger.sight(&told(id, "running")),
                    5 => ledger.sight(&told(id, "error")),
                    _ => ledger.sight(&told(id, "failed")),
                };
                let next = reborn(&mut bookmarks, &step);
                ledger.take(step);
                prop_assert_eq!(&next, &ledger);
            }
        }
    }
}
