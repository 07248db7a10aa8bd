//! Masakari's notifications as events: what is known of one, and the form in which one is saved to a file.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::id::Seq;
use super::payload::Payload;
use super::saved::unreadable;
use super::sending::{NotSendable, Request};
use super::time::Timestamp;
use super::webhook::Form;
use super::{Event, Facts, Subject};

/// The source of a saved notification that does not say which it came from.
const SOURCE: &str = "masakari";

/// The status of a notification that was received a moment ago.
pub const NEW: &str = "new";

/// The types of notifications.
pub const TYPES: [&str; 3] = ["COMPUTE_HOST", "VM", "PROCESS"];

/// The events that the monitors are known to send. Those of virtual machines are free text to Masakari.
pub const EVENTS: [&str; 10] = [
    "STARTED",
    "STOPPED",
    "LIFECYCLE",
    "REBOOT",
    "WATCHDOG",
    "IO_ERROR",
    "IO_ERROR_REASON",
    "CONTROL_ERROR",
    "QEMU_GUEST_AGENT_ERROR",
    "RTC_CHANGE",
];

/// What Pacemaker says of a host.
pub const HOST_STATUSES: [&str; 2] = ["NORMAL", "UNKNOWN"];

/// What Corosync says of a host.
pub const CLUSTER_STATUSES: [&str; 2] = ["ONLINE", "OFFLINE"];

/// The statuses of notifications.
pub const STATUSES: [&str; 6] = [NEW, "running", "error", "failed", "ignored", "finished"];

/// A notification: a host, a process or a virtual machine failed or came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasakariNotification {
    /// Its UUID.
    pub uuid: String,
    /// Its type: `COMPUTE_HOST`, `VM` or `PROCESS`. Another Masakari than ours may know more.
    pub kind: String,
    /// The host that it is about.
    pub hostname: String,
    /// When it was made, UTC: `2026-11-21T23:00:00.123456`.
    pub generated_time: String,
    /// What it says, by name.
    pub payload: BTreeMap<String, String>,
    /// The UUID of the host, where it is known.
    pub host_uuid: Option<String>,
    /// The UUID of the failover segment that the host is in, where it is known.
    pub segment_uuid: Option<String>,
    /// How it was seen in another Masakari; none for one that was sent to hem.
    pub observed: Option<Observed>,
    /// The address that sent it, which may be a proxy's.
    pub sender: Option<String>,
    /// The id of the request, as the log and the answer say it.
    pub request: Option<String>,
}

/// What another Masakari said of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Its number there.
    pub id: u64,
    /// Its status there.
    pub status: String,
    /// The status that was seen before; none at the first sight.
    pub previous: Option<String>,
}

impl MasakariNotification {
    /// A text of the payload.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.payload.get(name).map(String::as_str)
    }

    /// What happened: `STOPPED`, `LIFECYCLE`.
    pub fn event(&self) -> Option<&str> {
        self.text("event")
    }

    /// Its status when the event was made.
    pub fn status(&self) -> &str {
        self.observed
            .as_ref()
            .map_or(NEW, |observed| observed.status.as_str())
    }

    /// The status that was seen before, where the event is a change of it.
    pub fn previous_status(&self) -> Option<&str> {
        self.observed.as_ref()?.previous.as_deref()
    }

    /// Whether nothing was known of it before.
    pub fn is_first_sight(&self) -> bool {
        self.previous_status().is_none()
    }

    /// The key of its events: `MASAKARI VM LIFECYCLE`.
    pub fn key(&self) -> String {
        format!("MASAKARI {} {}", self.kind, self.event().unwrap_or_default())
            .trim_end()
            .to_owned()
    }

    /// The subject of its events, `host/node1`; with the source's name in front where there are several.
    pub fn subject(&self, source: Option<&str>) -> Subject {
        Subject::of(&format!("host/{}", self.hostname), source)
    }

    /// The event that it is; `document` is what was received. `names_source` where there are several sources of the type.
    pub fn into_event(
        self,
        source: Arc<str>,
        names_source: bool,
        received: Timestamp,
        document: bytes::Bytes,
    ) -> Event {
        Event {
            seq: Seq::default(),
            key: self.key(),
            subject: Some(self.subject(names_source.then_some(&*source))),
            source,
            received,
            facts: Facts::Masakari(self),
            ambiguous: false,
            synthesised: false,
            payload: Payload::of_form(document, Form::Json),
        }
    }
}

/// A saved notification: the body of a request, `{"notification": {…}}`, or what a Masakari tells of one, which has the same form.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    notification: SavedNotification,
    /// The source that it came from.
    #[serde(default)]
    source: Option<String>,
    /// The status that was seen before.
    #[serde(default)]
    previous_status: Option<String>,
}

/// Whatever else a Masakari tells is passed over.
#[derive(Debug, Deserialize)]
struct SavedNotification {
    #[serde(rename = "type")]
    kind: String,
    hostname: Option<String>,
    generated_time: String,
    payload: BTreeMap<String, Value>,
    id: Option<u64>,
    notification_uuid: Option<String>,
    source_host_uuid: Option<String>,
    failover_segment_uuid: Option<String>,
    status: Option<String>,
}

/// Whether a document is a saved notification.
pub fn is_saved(document: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Body {
        #[serde(rename = "notification")]
        _notification: BTreeMap<String, serde::de::IgnoredAny>,
    }
    document.trim_ascii_start().starts_with(b"{") && serde_json::from_slice::<Body>(document).is_ok()
}

/// The event that a saved notification is; one that cannot be read is undecodable and says why.
pub fn from_saved(document: &[u8]) -> Event {
    saved_event(document)
        .unwrap_or_else(|error| unreadable(SOURCE, &format!("no saved notification: {error}"), document))
}

/// The request that a monitor made for a saved notification.
pub(super) fn request(document: &[u8]) -> Result<Request, NotSendable> {
    #[derive(Serialize)]
    struct Body {
        notification: Sent,
    }
    #[derive(Serialize)]
    struct Sent {
        #[serde(rename = "type")]
        kind: String,
        hostname: Option<String>,
        generated_time: String,
        payload: BTreeMap<String, Value>,
    }
    let unreadable = |error: serde_json::Error| NotSendable::Unreadable(error.to_string());
    let saved: Saved = serde_json::from_slice(document).map_err(unreadable)?;
    let told = saved.notification;
    if told.status.is_some() {
        return Err(NotSendable::Observed);
    }
    let body = Body {
        notification: Sent {
            kind: told.kind,
            hostname: told.hostname,
            generated_time: told.generated_time,
            payload: told.payload,
        },
    };
    let body = serde_json::to_vec(&body).map_err(unreadable)?;
    Ok(Request::new("POST".to_owned(), "application/json", [], body))
}

fn saved_event(document: &[u8]) -> Result<Event, serde_json::Error> {
    let saved: Saved = serde_json::from_slice(document)?;
    let told = saved.notification;
    let source = saved.source.as_deref().unwrap_or(SOURCE);
    let notification = MasakariNotification {
        uuid: told.notification_uuid.unwrap_or_default(),
        kind: told.kind,
        // What a Masakari tells names the host by its UUID alone.
        hostname: told
            .hostname
            .or_else(|| told.source_host_uuid.clone())
            .unwrap_or_default(),
        generated_time: told.generated_time,
        payload: texts(told.payload),
        host_uuid: told.source_host_uuid,
        segment_uuid: told.failover_segment_uuid,
        observed: told.status.map(|status| Observed {
            id: told.id.unwrap_or_default(),
            status,
            previous: saved.previous_status,
        }),
        sender: None,
        request: None,
    };
    let document = document.to_vec().into();
    Ok(notification.into_event(source.into(), false, Timestamp::now(), document))
}

/// The values of a payload as texts: Masakari takes no others, but its database may hold some.
pub fn texts(payload: BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Value::String(text) => text,
        other => other.to_string(),
    };
    payload
        .into_iter()
        .map(|(name, value)| (name, text(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn notification(saved: &Value) -> MasakariNotification {
        assert!(is_saved(saved.to_string().as_bytes()));
        match from_saved(saved.to_string().as_bytes()).facts {
            Facts::Masakari(notification) => notification,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_body_of_a_request_is_a_saved_notification() {
        let body = json!({"notification": {
            "type": "VM", "hostname": "node1", "generated_time": "2026-11-21T23:00:00",
            "payload": {"instance_uuid": "96ab", "vir_domain_event": "STOPPED_FAILED", "event": "LIFECYCLE"},
        }});
        let event = from_saved(body.to_string().as_bytes());
        assert_eq!(event.key, "MASAKARI VM LIFECYCLE");
        assert_eq!(event.subject, Some(Subject::new("host/node1")));
        assert_eq!(&*event.source, "masakari");
        assert_eq!(event.host(), Some("node1"));
        assert_eq!(
            event.payload.text("notification/payload/vir_domain_event"),
            "STOPPED_FAILED"
        );
        let facts = notification(&body);
        assert_eq!(
            (facts.status(), facts.is_first_sight(), facts.event()),
            ("new", true, Some("LIFECYCLE"))
        );
    }

    #[test]
    fn what_a_masakari_tells_is_one_too() {
        let told = json!({"source": "site", "previous_status": "running", "notification": {
            "id": 7, "notification_uuid": "3d54", "generated_time": "2026-11-21T23:00:00.000000", "source_host_uuid": "b1b2",
            "type": "COMPUTE_HOST", "payload": {"event": "STOPPED", "n": 1}, "status": "finished", "message": null,
        }});
        let facts = notification(&told);
        assert_eq!(
            (facts.hostname.as_str(), facts.uuid.as_str(), facts.text("n")),
            ("b1b2", "3d54", Some("1"))
        );
        assert_eq!(
            facts.observed,
            Some(Observed {
                id: 7,
                status: "finished".to_owned(),
                previous: Some("running".to_owned())
            })
        );
        assert!(!facts.is_first_sight());
    }

    #[test]
    fn what_lacks_something_is_undecodable() {
        for wrong in [
            json!({"notification": {"type": "VM"}}),
            json!({"notification": {"type": 1, "generated_time": "", "payload": {}}}),
            json!({"notification": {"type": "VM", "generated_time": "", "payload": {}}, "more": 1}),
        ] {
            let event = from_saved(wrong.to_string().as_bytes());
            assert!(matches!(event.facts, Facts::Undecodable { .. }), "{wrong}");
        }
        for other in ["{}", "[]", "", "{\"notification\": 1}"] {
            assert!(!is_saved(other.as_bytes()), "{other}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = is_saved(&bytes);
            let _ = from_saved(&bytes);
        }

        #[test]
        fn no_document_makes_a_reader_panic(
            kind in "\\PC{0,9}", host in "\\PC{0,9}", payload in proptest::collection::btree_map("\\PC{0,5}", "\\PC{0,5}", 0..4)
        ) {
            let body = json!({"notification": {"type": kind, "hostname": host, "generated_time": "", "payload": payload}});
            let facts = notification(&body);
            prop_assert_eq!(facts.hostname, host);
            prop_assert_eq!(facts.payload, payload);
        }
    }
}
