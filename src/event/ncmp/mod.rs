//! What ONAP's network configuration management proxy (NCMP) publishes: events of CM handles, as records of a Kafka broker. Facts even
//! out what differs between the versions of their schema, so that a hook need not know them.

pub mod mark;
mod reading;
mod saved;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use self::reading::{LONGEST_VALUE, Record, RecordFault, header_text, read};
pub use self::saved::{SavedRecord, from_saved, is_saved};
use super::{Event, Facts, Subject};
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::webhook::Form;

/// In front of the word that says what became of a CM handle (`LcmEventObjectCreator` of onap/cps).
const LIFE_CYCLE_TYPE: &str = "org.onap.ncmp.cmhandle-lcm-event.";

/// What becomes of a CM handle.
pub const EVENTS: [&str; 3] = ["create", "update", "delete"];

/// The states of a CM handle (`CmHandleState` of onap/cps).
pub const STATES: [&str; 5] = ["ADVISED", "READY", "LOCKED", "DELETING", "DELETED"];

/// What a record says. What it does not say is unset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NcmpRecord {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// What happened: `create`, `update` or `delete` to a CM handle; of other events the last word of their type, `AvcEvent`.
    pub event: String,
    /// Its type in full: `org.onap.ncmp.cmhandle-lcm-event.update`.
    pub event_type: String,
    /// Its id, as its sender gave it.
    pub id: Option<String>,
    /// Its time, as its sender wrote it.
    pub time: Option<String>,
    /// Who sent it: `org.onap.ncmp`, `NCMP`.
    pub origin: Option<String>,
    /// The CM handle it is about.
    pub cm_handle: Option<String>,
    /// The other name of the CM handle.
    pub alternate_id: Option<String>,
    /// The state the CM handle is in now, where it changed: `READY`.
    pub state: Option<String>,
    /// The state it was in before.
    pub old_state: Option<String>,
    /// Whether its data is synchronised, where that changed.
    pub data_sync: Option<bool>,
    /// Its public properties now, where they are told.
    pub properties: BTreeMap<String, String>,
    /// Its public properties before, where they are told.
    pub old_properties: BTreeMap<String, String>,
}

impl NcmpRecord {
    /// What is known of it, each by the name that conditions, scripts and tables use; what it does not say is left out.
    pub fn texts(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let flag = |set: bool| Cow::Borrowed(if set { "true" } else { "false" });
        let maybe = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
        [
            ("topic", Some(Cow::Borrowed(self.topic.as_str()))),
            ("partition", Some(Cow::Owned(self.partition.to_string()))),
            ("offset", Some(Cow::Owned(self.offset.to_string()))),
            ("event", Some(Cow::Borrowed(self.event.as_str()))),
            ("event_type", Some(Cow::Borrowed(self.event_type.as_str()))),
            ("id", maybe(&self.id)),
            ("time", maybe(&self.time)),
            ("origin", maybe(&self.origin)),
            ("cm_handle", maybe(&self.cm_handle)),
            ("alternate_id", maybe(&self.alternate_id)),
            ("state", maybe(&self.state)),
            ("old_state", maybe(&self.old_state)),
            ("data_sync", self.data_sync.map(flag)),
        ]
        .into_iter()
        .filter_map(|(name, text)| Some((name, text?)))
    }

    /// Why it may lack what a trigger asks for; none where nothing is known of that.
    pub fn absence(&self, attribute: &str) -> Option<&'static str> {
        if !matches!(attribute, "state" | "old_state" | "data_sync") {
            return None;
        }
        if !self.event_type.starts_with(LIFE_CYCLE_TYPE) {
            return Some("only events of a CM handle's life cycle tell it");
        }
        Some(match (self.event.as_str(), attribute) {
            ("delete", _) => "a deletion tells no values",
            ("create", "old_state") => "a creation tells no former values",
            ("update", _) => "an update tells only what changed",
            _ => "the event does not tell it",
        })
    }

    /// The key of such an event: `NCMP update READY`.
    pub fn key(&self) -> String {
        match &self.state {
            Some(state) => format!("NCMP {} {state}", self.event),
            None => format!("NCMP {}", self.event),
        }
    }

    /// What it is about, so that what happens to one CM handle stays in order: the CM handle; else the partition, whose order is all
    /// that is known.
    pub fn subject(&self) -> String {
        match &self.cm_handle {
            Some(handle) => format!("cm-handle/{handle}"),
            None => partition_subject(&self.topic, self.partition),
        }
    }
}

fn partition_subject(topic: &str, partition: i32) -> String {
    format!("partition/{topic}/{partition}")
}

/// The event that a record is; one that cannot be read is undecodable, says why and keeps the bytes. `names_source` where there are
/// several sources of the type.
pub fn event(record: &Record<'_>, source: &str, names_source: bool, received: Timestamp) -> Event {
    let value = record.value.unwrap_or_default();
    let bytes = value[..value.len().min(LONGEST_VALUE)].to_vec().into();
    let (key, subject, facts, payload) = match read(record) {
        Ok(told) => (
            told.key(),
            told.subject(),
            Facts::Ncmp(Box::new(told)),
            Payload::of_form(bytes, Form::Json),
        ),
        Err(fault) => (
            format!("NCMP {} {} {}", record.topic, record.partition, record.offset),
            partition_subject(record.topic, record.partition),
            Facts::Undecodable {
                reason: format!("{fault} ({})", record.place()),
            },
            Payload::new(bytes),
        ),
    };
    Event {
        seq: Seq::default(),
        source: source.into(),
        key,
        subject: Some(Subject::of(&subject, names_source.then_some(source))),
        received,
        facts,
        ambiguous: false,
        synthesised: false,
        payload,
    }
}
