//! How far a server's notifications were read, and what of them comes again when they are read from there once more.
//!
//! Pure. Places are the server's own times, and are compared with nothing but the server's own times. Servers may have no finer times
//! than seconds, or cut those of a replay down to seconds, so that a reading goes on with the whole second, and a few before it since
//! events need not come in the order of their times. What was heard of these seconds is remembered, and dropped as often as it was heard:
//! equal events of one second are told apart by their number.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::streams::Stream;
use crate::config::esc::netconf::NetconfStart;
use crate::engine::bookmark::Bookmark;
use crate::event::esc::EscEvent;
use crate::event::time::Timestamp;

/// The bookmark that says how far.
const CURSOR: &str = "cursor";

/// What stands before the names of the bookmarks that say what was heard: `heard/SECOND/IDENTITY`.
const HEARD: &str = "heard/";

/// So many seconds before the newest event are read again.
const OVERLAP: i64 = 5;

/// Of all that is remembered, the oldest is forgotten above this.
const REMEMBERED: usize = 100_000;

/// So many old bookmarks go with each event.
const FORGOTTEN_AT_ONCE: usize = 64;

/// A time is looked for in so many bytes of what cannot be read.
const LOOKED_THROUGH: usize = 4 << 10;

/// By what one is known when it comes again: the second in which it happened, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Identity([u8; 16]);

impl Identity {
    fn of(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.len().to_be_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        let mut identity = [0; 16];
        identity.copy_from_slice(&hash[..16]);
        Self(identity)
    }

    fn of_text(text: &str) -> Option<Self> {
        let mut identity = [0; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in identity.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(Self(identity))
    }
}

/// One that was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The server's time, as it wrote it, and its second.
    at: Option<(String, i64)>,
    identity: Identity,
}

impl Sighting {
    fn new(kind: &str, time: Option<&str>, says: &[u8]) -> Self {
        let at = time.and_then(|time| Some((time.to_owned(), second_of(time)?)));
        let when = match (&at, time) {
            (Some((_, second)), _) => second.to_string(),
            (None, Some(time)) => time.to_owned(),
            (None, None) => String::new(),
        };
        Self {
            identity: Identity::of(&[kind.as_bytes(), when.as_bytes(), says]),
            at,
        }
    }

    /// An event with its tree.
    pub(super) fn of_event(event: &EscEvent, tree: &Value) -> Self {
        Self::new("event", event.time.as_deref(), tree.to_string().as_bytes())
    }

    /// A message that cannot be read; a time in it counts all the same.
    pub(super) fn of_unreadable(document: &[u8]) -> Self {
        Self::new("unreadable", time_in(document).as_deref(), document)
    }

    /// A message of so many bytes, which were too many.
    pub(super) fn of_too_long(length: u64) -> Self {
        Self::new("too long", None, &length.to_be_bytes())
    }
}

/// What stands in the first element `eventTime`.
fn time_in(document: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&document[..document.len().min(LOOKED_THROUGH)]);
    let (_, behind) = text.split_once("eventTime>")?;
    let (time, _) = behind.split_once('<')?;
    Some(time.trim().to_owned()).filter(|time| second_of(time).is_some())
}

/// The second of a time as servers write it (RFC 3339); without a zone it is UTC.
fn second_of(time: &str) -> Option<i64> {
    if let Ok(time) = time.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond().div_euclid(1_000));
    }
    let time: jiff::civil::DateTime = time.parse().ok()?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(time.timestamp().as_millisecond().div_euclid(1_000))
}

/// A second as it is asked for.
fn written(second: i64) -> Option<String> {
    let time = jiff::Timestamp::from_second(second).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// How far it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The time of the newest event, as the server wrote it; none before the first one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    /// Since when the server's log then kept them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// What the log then had dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aged: Option<String>,
    /// hem's own time when that was noted, in milliseconds: for people.
    noted: i64,
}

impl Cursor {
    fn second(&self) -> Option<i64> {
        second_of(self.time.as_deref()?)
    }
}

/// How the next subscription goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Since when what the server has kept is to be sent again; only what is new where unset.
    pub(super) start: Option<String>,
    /// Why events may have been missed, if so.
    pub(super) gap: Option<String>,
    /// What is sent again only shows where the server stands: it was never listened to before.
    pub(super) only_looks: bool,
}

/// How often each of those that come again is to be dropped.
#[derive(Debug, Default)]
pub(super) struct Overlap(HashMap<Identity, u32>);

impl Overlap {
    /// Whether it was heard before, and counts that it came again.
    pub(super) fn drops(&mut self, sighting: &Sighting) -> bool {
        match self.0.get_mut(&sighting.identity) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

/// How far a server's notifications were read.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    cursor: Option<Cursor>,
    /// How often each was heard, by its second.
    heard: BTreeMap<(i64, Identity), u32>,
    /// What is forgotten, and still kept.
    stale: VecDeque<(i64, Identity)>,
    /// Whether a former life kept a cursor that cannot be read.
    is_place_lost: bool,
    /// What the server says of the stream at present.
    created: Option<String>,
    aged: Option<String>,
}

impl Ledger {
    /// What a former life kept.
    pub(super) fn of(bookmarks: &BTreeMap<String, Bytes>) -> Self {
        let value = bookmarks.get(CURSOR);
        let cursor = value.and_then(|value| serde_json::from_slice(value).ok());
        let mut ledger = Self {
            is_place_lost: value.is_some() && cursor.is_none(),
            cursor,
            ..Self::default()
        };
        for (name, value) in bookmarks {
            let parts = name.strip_prefix(HEARD).and_then(|rest| rest.split_once('/'));
            let key = parts.and_then(|(second, identity)| {
                Some((second.parse::<i64>().ok()?, Identity::of_text(identity)?))
            });
            let count = std::str::from_utf8(value)
                .ok()
                .and_then(|count| count.parse().ok());
            if let (Some(key), Some(count)) = (key, count) {
                ledger.heard.insert(key, count);
            }
        }
        ledger.forget();
        ledger
    }

    /// Whether how far it was read was known, and is not any more.
    pub(super) const fn is_place_lost(&self) -> bool {
        self.is_place_lost && self.cursor.is_none()
    }

    /// The time of the newest event, as the server wrote it.
    pub(super) fn place(&self) -> Option<&str> {
        self.cursor.as_ref()?.time.as_deref()
    }

    /// When the newest was noted, by hem's own clock; none where the server was never listened to.
    pub(super) fn noted(&self) -> Option<Timestamp> {
        Some(Timestamp::from_millis(self.cursor.as_ref()?.noted))
    }

    /// How to go on, as things are; `stream` is what the server says of it, if it says anything.
    pub(super) fn plan(&self, stream: Option<&Stream>, start: NetconfStart) -> Plan {
        let place_lost = || {
            self.is_place_lost()
                .then(|| "how far it was read cannot be read in the store".to_owned())
        };
        let Some(stream) = stream.filter(|stream| stream.replays) else {
            return Plan {
                gap: self
                    .cursor
                    .is_some()
                    .then(|| "the server keeps nothing that could be sent again".to_owned())
                    .or_else(place_lost),
                ..Plan::default()
            };
        };
        let all = || stream.created.clone().or_else(|| written(0));
        let Some((cursor, second)) = self
            .cursor
            .as_ref()
            .and_then(|cursor| Some((cursor, cursor.second()?)))
        else {
            return Plan {
                start: all(),
                gap: self
                    .cursor
                    .is_some()
                    .then(|| "no event was heard before, so that no place is known to go on from".to_owned())
                    .or_else(place_lost),
                only_looks: start == NetconfStart::Latest,
            };
        };
        Plan {
            start: written(second - OVERLAP).or_else(all),
            gap: lost(stream, cursor, second),
            only_looks: false,
        }
    }

    /// What is to be dropped where the server sends again what a plan asks for.
    pub(super) fn overlap(&self) -> Overlap {
        Overlap(
            self.heard
                .iter()
                .map(|((_, identity), count)| (*identity, *count))
                .collect(),
        )
    }

    /// What the server says of the stream from now on.
    pub(super) fn attend(&mut self, stream: Option<&Stream>) {
        let stream = stream.filter(|stream| stream.replays);
        self.created = stream.and_then(|stream| stream.created.clone());
        self.aged = stream.and_then(|stream| stream.aged.clone());
    }

    /// Notes one that was heard, and says what is to be kept with it.
    pub(super) fn note(&mut self, sighting: &Sighting, now: Timestamp) -> Vec<Bookmark> {
        let before = self.cursor.as_ref().and_then(Cursor::second);
        let time = match (&sighting.at, before) {
            (Some((time, second)), Some(before)) if *second >= before || self.went_back(sighting) => {
                Some(time)
            }
            (Some((time, _)), None) => Some(time),
            _ => None,
        };
        let time = time
            .cloned()
            .or_else(|| self.cursor.as_mut().and_then(|cursor| cursor.time.take()));
        self.cursor = Some(self.cursor_at(time, now));
        let second = sighting.at.as_ref().map(|(_, second)| *second);
        let key = (second.or(before).unwrap_or_default(), sighting.identity);
        let count = self.heard.entry(key).or_default();
        *count += 1;
        let heard = Bookmark::new(heard_name(&key), count.to_string());
        let mut bookmarks: Vec<Bookmark> = self.kept_cursor().into_iter().collect();
        // Short, and without a NUL: there is nothing that could be refused.
        bookmarks.extend(heard.ok());
        self.forget();
        bookmarks.extend(self.removals());
        bookmarks
    }

    /// Whether its time lies so far before the newest one's that the server's clock must have been set back.
    pub(super) fn went_back(&self, sighting: &Sighting) -> bool {
        let newest = self.cursor.as_ref().and_then(Cursor::second);
        match (&sighting.at, newest) {
            (Some((_, second)), Some(newest)) => *second < newest.saturating_sub(OVERLAP),
            _ => false,
        }
    }

    /// A gap is told, and says what is to be kept with its record, so that the same one is not told again.
    pub(super) fn note_gap(&mut self, now: Timestamp) -> Vec<Bookmark> {
        let mut time = self.cursor.as_mut().and_then(|cursor| cursor.time.take());
        let begins = self.created.as_deref().and_then(second_of);
        if begins > time.as_deref().and_then(second_of) {
            time.clone_from(&self.created);
        }
        self.cursor = Some(self.cursor_at(time, now));
        self.forget();
        self.kept_cursor().into_iter().chain(self.removals()).collect()
    }

    /// Ends a look at what there is: that is where the server stands, and what is to be kept of it.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<Bookmark> {
        let time = self.cursor.as_mut().and_then(|cursor| cursor.time.take());
        let time = time.or_else(|| self.created.clone().filter(|time| second_of(time).is_some()));
        self.cursor = Some(self.cursor_at(time, now));
        self.forget();
        // None of these was kept.
        self.stale.clear();
        let heard = self
            .heard
            .iter()
            .filter_map(|(key, count)| Bookmark::new(heard_name(key), count.to_string()).ok());
        self.kept_cursor().into_iter().chain(heard).collect()
    }

    fn cursor_at(&self, time: Option<String>, now: Timestamp) -> Cursor {
        Cursor {
            time,
            created: self.created.clone(),
            aged: self.aged.clone(),
            noted: now.as_millis(),
        }
    }

    fn kept_cursor(&self) -> Option<Bookmark> {
        let value = serde_json::to_vec(self.cursor.as_ref()?).ok()?;
        Bookmark::new(CURSOR, value).ok()
    }

    /// Forgets what is older than what is read again.
    fn forget(&mut self) {
        if let Some(second) = self.cursor.as_ref().and_then(Cursor::second) {
            let from = (second.saturating_sub(OVERLAP), Identity([0; 16]));
            let kept = self.heard.split_off(&from);
            self.stale
                .extend(std::mem::replace(&mut self.heard, kept).into_keys());
        }
        while self.heard.len() > REMEMBERED {
            self.stale.extend(self.heard.pop_first().map(|(key, _)| key));
        }
    }

    fn removals(&mut self) -> Vec<Bookmark> {
        let count = self.stale.len().min(FORGOTTEN_AT_ONCE);
        let old = self.stale.drain(..count);
        // One may have been heard again after the server's clock was set back.
        old.filter(|key| !self.heard.contains_key(key))
            .map(|key| Bookmark::removal(heard_name(&key)))
            .collect()
    }
}

fn heard_name((second, Identity(identity)): &(i64, Identity)) -> String {
    let mut name = format!("{HEARD}{second}/");
    for byte in identity {
        // Nothing that writes to a text fails.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

/// Whether two times are one, however they are written.
fn is_same_moment(one: &str, other: &str) -> bool {
    let moment = |time: &str| time.parse::<jiff::Timestamp>().ok();
    one == other || moment(one).is_some_and(|one| Some(one) == moment(other))
}

/// Why a server that sends again what it has kept does not have all behind the cursor, if so.
fn lost(stream: &Stream, cursor: &Cursor, second: i64) -> Option<String> {
    let newest = cursor.time.as_deref().unwrap_or_default();
    let created = stream.created.as_deref();
    if created != cursor.created.as_deref()
        && let Some(begins) = created.and_then(second_of)
        // Another log that began in the second of the newest event may lack one of that second.
        && begins >= second
    {
        return Some(format!(
            "what the server keeps begins at {}, and the newest event was of {newest}",
            created.unwrap_or_default()
        ));
    }
    // Of two servers behind one address the other one's log may have begun long ago, and have nothing of what this one told.
    if let (Some(other), Some(known)) = (created, cursor.created.as_deref())
        && !is_same_moment(other, known)
    {
        return Some(format!(
            "another log answers: it was begun at {other}, and the one that was read at {known}; the newest event was of {newest}"
        ));
    }
    let aged = stream.aged.as_deref();
    if aged != cursor.aged.as_deref()
        && let Some(dropped) = aged.and_then(second_of)
        && dropped >= second
    {
        return Some(format!(
            "the server has dropped what it kept up to {}, and the newest event was of {newest}",
            aged.unwrap_or_default()
        ));
    }
    None
}

#[cfg(test)]
mod tests;
