//! Events of ESC in files: a notification as it is, a callback as a JSON object that holds its headers besides.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{CallbackHeaders, EscEvent, Notification, read_callback, read_notification};
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::saved::{ONE_OF_THREE, carried, unreadable};
use crate::event::sending::{NotSendable, Request};
use crate::event::time::Timestamp;
use crate::event::webhook::Form;
use crate::event::{Event, Facts, Subject, document};

/// The source of a saved event that does not say which it came from.
const SOURCE: &str = "esc";

/// A saved callback: a JSON object with `"kind": "esc"`. The body is `body`, a JSON value, or `text`, exactly as it was sent (XML
/// where it begins with `<`), or `base64`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    sender: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

/// Whether a document is a saved callback or a notification.
pub fn is_saved(document: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let document = document.trim_ascii_start();
    if document.starts_with(b"{") {
        return serde_json::from_slice::<Kind>(document).is_ok_and(|head| head.kind == "esc");
    }
    document::root_name(document)
        .is_some_and(|root| matches!(root.rsplit(':').next(), Some("notification" | "escEvent")))
}

/// The event that such a document is; one that cannot be read is undecodable and says why.
pub fn from_saved(document: &[u8]) -> Event {
    let read = if document.trim_ascii_start().starts_with(b"{") {
        saved_callback(document)
    } else {
        saved_notification(document)
    };
    read.unwrap_or_else(|reason| unreadable(SOURCE, &format!("no saved event of ESC: {reason}"), document))
}

/// The request that a saved callback was; nothing is said of whether its body can be read.
pub(in crate::event) fn request(document: &[u8]) -> Result<Request, NotSendable> {
    if !document.trim_ascii_start().starts_with(b"{") {
        return Err(NotSendable::Notification);
    }
    let (saved, body) = saved_request(document).map_err(NotSendable::Unreadable)?;
    let content_type = match Form::by_content(&body) {
        Some(Form::Json) => "application/json",
        _ => "application/xml; charset=UTF-8",
    };
    Ok(Request::new("POST".to_owned(), content_type, saved.headers, body))
}

fn saved_request(document: &[u8]) -> Result<(Saved, Vec<u8>), String> {
    let mut saved: Saved = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let body = carried(saved.body.take(), saved.text.take(), saved.base64.take())?.ok_or(ONE_OF_THREE)?;
    Ok((saved, body))
}

fn saved_callback(document: &[u8]) -> Result<Event, String> {
    let (saved, body) = saved_request(document)?;
    let headers = CallbackHeaders::of(
        saved
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes())),
    );
    let form = Form::by_content(&body).ok_or("the body is neither XML nor JSON")?;
    let (mut event, tree) = read_callback(form, &body, headers).map_err(|fault| fault.to_string())?;
    event.sender = saved.sender;
    Ok(read_event(
        saved.source,
        event,
        Payload::with_tree(body.into(), tree),
    ))
}

fn saved_notification(document: &[u8]) -> Result<Event, String> {
    match read_notification(document).map_err(|fault| fault.to_string())? {
        Notification::Event(event, tree) => {
            let payload = Payload::with_tree(document.to_vec().into(), tree);
            Ok(read_event(None, *event, payload))
        }
        Notification::ReplayComplete | Notification::NotificationComplete => {
            Err("the notification is about the subscription and no event".to_owned())
        }
        Notification::Other(element) => Err(format!("the notification holds `{element}` and no `escEvent`")),
    }
}

fn read_event(source: Option<String>, event: EscEvent, payload: Payload) -> Event {
    Event {
        seq: Seq::default(),
        source: source.unwrap_or_else(|| SOURCE.to_owned()).into(),
        key: event.key(),
        subject: event.subject().as_deref().map(Subject::new),
        received: Timestamp::now(),
        facts: Facts::Esc(Box::new(event)),
        ambiguous: false,
        synthesised: false,
        payload,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::event::esc::Via;

    const NOTIFICATION: &str = "<?xml version='1.0'?>\n<!-- kept -->\n<notification xmlns='urn:x'><eventTime>2026-06-23T18:15:04.27+00:00\
        </eventTime><escEvent><status>SUCCESS</status><depname>dep1</depname><tenant>t1</tenant><event><type>VM_ALIVE</type></event>\
        </escEvent></notification>\n";

    #[test]
    fn a_saved_event_is_the_event_that_it_was() {
        let callback = json!({
            "kind": "esc", "headers": {"ESC_TRANSACTION_ID": "x", "ESC-Status-Code": "200"}, "sender": "192.0.2.7",
            "body": {"event_type": "VM_ALIVE", "internal_tenant_id": "t1", "internal_deployment_id": "dep1"},
        });
        let xml = json!({
            "kind": "esc", "source": "esc2", "headers": {"ESC-Status-Code": "200"},
            "text": "<d><event_type>VM_ALIVE</event_type><internal_tenant_id>t1</internal_tenant_id>\
                <internal_deployment_id>dep1</internal_deployment_id></d>",
        });
        for (document, via) in [
            (NOTIFICATION.to_owned(), Via::Netconf),
            (callback.to_string(), Via::Rest),
            (xml.to_string(), Via::Rest),
        ] {
            assert!(is_saved(document.as_bytes()), "{document}");
            let event = from_saved(document.as_bytes());
            let Facts::Esc(esc) = &event.facts else {
                panic!("{:?}", event.facts)
            };
            assert_eq!(
                (esc.via, esc.event.as_str(), esc.status.as_deref()),
                (via, "VM_ALIVE", Some("SUCCESS"))
            );
            assert_eq!(event.subject, Some(Subject::new("deployment/t1/dep1")));
            assert_eq!(event.key, "ESC VM_ALIVE SUCCESS");
        }
    }

    #[test]
    fn what_is_none_is_left_to_others_or_says_why() {
        for other in [
            "",
            "{}",
            r#"{"kind": "webhook", "endpoint": "x", "body": {}}"#,
            "<HOOK_MESSAGE><notification/></HOOK_MESSAGE>",
            "<notifications/>",
            "text <notification/>",
            "<!DOCTYPE notification><notification/>",
        ] {
            assert!(!is_saved(other.as_bytes()), "{other}");
        }
        for wrong in [
            json!({"kind": "esc"}).to_string(),
            json!({"kind": "esc", "body": {}, "text": "{}"}).to_string(),
            json!({"kind": "esc", "body": {"a": 1}}).to_string(),
            json!({"kind": "esc", "text": "VM_ALIVE"}).to_string(),
            json!({"kind": "esc", "bodi": {}}).to_string(),
            "<notification><replayComplete/></notification>".to_owned(),
            "<notification><linkDown/></notification>".to_owned(),
        ] {
            assert!(is_saved(wrong.as_bytes()), "{wrong}");
            let event = from_saved(wrong.as_bytes());
            assert!(matches!(event.facts, Facts::Undecodable { .. }), "{wrong}");
        }
    }
}
