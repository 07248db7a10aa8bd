//! How a record of ONAP NCMP is stored, apart from its value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::ncmp::NcmpRecord;

#[derive(Serialize, Deserialize)]
pub(super) struct StoredNcmp {
    topic: String,
    partition: i32,
    offset: i64,
    event: String,
    event_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cm_handle: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alternate_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    old_state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data_sync: Option<bool>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    properties: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    old_properties: BTreeMap<String, String>,
}

impl StoredNcmp {
    pub(super) fn of(told: &NcmpRecord) -> Self {
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

    pub(super) fn into_record(self) -> NcmpRecord {
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
}
