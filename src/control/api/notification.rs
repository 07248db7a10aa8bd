//! A notification of Masakari, as the interface tells of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::masakari::{MasakariNotification, Observed};

/// Masakari: a host, a process or a virtual machine failed or came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationView {
    /// The notification's UUID.
    pub notification_uuid: String,
    /// Its type: `COMPUTE_HOST`, `VM` or `PROCESS`.
    #[serde(rename = "type")]
    pub notification_type: String,
    /// The host that it is about.
    pub hostname: String,
    /// When it was made, UTC, as Masakari writes it.
    pub generated_time: String,
    /// What it says, by name.
    pub payload: BTreeMap<String, String>,
    /// The UUID of the host.
    pub source_host_uuid: Option<String>,
    /// The UUID of the failover segment that the host is in.
    pub failover_segment_uuid: Option<String>,
    /// How it was seen in another Masakari.
    pub observed: Option<ObservedView>,
    /// The address that sent it.
    pub sender: Option<String>,
    /// The id of the request.
    pub request: Option<String>,
}

/// What another Masakari said of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ObservedView {
    /// Its number there.
    pub id: u64,
    /// Its status there.
    pub status: String,
    /// The status that was seen before; none at the first sight.
    pub previous: Option<String>,
}

impl NotificationView {
    /// In a few words: `COMPUTE_HOST STOPPED on node1`.
    pub(super) fn in_words(&self) -> String {
        let event = self.payload.get("event").map_or("", String::as_str);
        let what = format!("{} {event} on {}", self.notification_type, self.hostname);
        match &self.observed {
            Some(observed) => format!("{what}: {}", observed.status),
            None => what,
        }
    }
}

impl From<&MasakariNotification> for NotificationView {
    fn from(told: &MasakariNotification) -> Self {
        Self {
            notification_uuid: told.uuid.clone(),
            notification_type: told.kind.clone(),
            hostname: told.hostname.clone(),
            generated_time: told.generated_time.clone(),
            payload: told.payload.clone(),
            source_host_uuid: told.host_uuid.clone(),
            failover_segment_uuid: told.segment_uuid.clone(),
            observed: told.observed.as_ref().map(|observed| ObservedView {
                id: observed.id,
                status: observed.status.clone(),
                previous: observed.previous.clone(),
            }),
            sender: told.sender.clone(),
            request: told.request.clone(),
        }
    }
}

impl From<NotificationView> for MasakariNotification {
    fn from(view: NotificationView) -> Self {
        Self {
            uuid: view.notification_uuid,
            kind: view.notification_type,
            hostname: view.hostname,
            generated_time: view.generated_time,
            payload: view.payload,
            host_uuid: view.source_host_uuid,
            segment_uuid: view.failover_segment_uuid,
            observed: view.observed.map(|observed| Observed {
                id: observed.id,
                status: observed.status,
                previous: observed.previous,
            }),
            sender: view.sender,
            request: view.request,
        }
    }
}
