//! A record of ONAP NCMP as the API gives it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::ncmp::NcmpRecord;

/// What is known of a record of NCMP; what it does not say is null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NcmpView {
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// What happened: `create`, `update`, `delete`.
    pub event: String,
    /// Its type in full.
    pub event_type: String,
    /// Its id, as its sender gave it.
    pub id: Option<String>,
    /// Its time, as its sender wrote it.
    pub time: Option<String>,
    /// Who sent it.
    pub origin: Option<String>,
    /// The CM handle.
    pub cm_handle: Option<String>,
    /// The other name of the CM handle.
    pub alternate_id: Option<String>,
    /// The state it is in now, where it changed.
    pub state: Option<String>,
    /// The state it was in before.
    pub old_state: Option<String>,
    /// Whether its data is synchronised, where that changed.
    pub data_sync: Option<bool>,
    /// Its public properties now, where they are told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Its public properties before, where they are told.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub old_properties: BTreeMap<String, String>,
}

impl NcmpView {
    pub(in crate::control) fn of(told: &NcmpRecord) -> Self {
        let told = told.clone();
        Self {
            topic: told.topic,
            partition: told.partition,
            offset: told.offset,
            event: told.event,
            event_type: told.event_type,
            id: told.id,
            time: told.time,
            origin: told.origin,
            cm_handle: told.cm_handle,
            alternate_id: told.alternate_id,
            state: told.state,
            old_state: told.old_state,
            data_sync: told.data_sync,
            properties: told.properties,
            old_properties: told.old_properties,
        }
    }

    /// The record that this is.
    pub fn into_record(self) -> NcmpRecord {
        NcmpRecord {
            topic: self.topic,
            partition: self.partition,
            offset: self.offset,
            event: self.event,
            event_type: self.event_type,
            id: self.id,
            time: self.time,
            origin: self.origin,
            cm_handle: self.cm_handle,
            alternate_id: self.alternate_id,
            state: self.state,
            old_state: self.old_state,
            data_sync: self.data_sync,
            properties: self.properties,
            old_properties: self.old_properties,
        }
    }

    /// `ncmp update cmhandle-001 ADVISED → READY`.
    pub(super) fn in_words(&self) -> String {
        let mut words = format!("ncmp {}", self.event);
        if let Some(handle) = &self.cm_handle {
            words = format!("{words} {handle}");
        }
        match (&self.old_state, &self.state) {
            (Some(old), Some(new)) => format!("{words} {old} → {new}"),
            (None, Some(state)) | (Some(state), None) => format!("{words} {state}"),
            (None, None) => words,
        }
    }
}
