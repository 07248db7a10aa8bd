//! Events of ESC in files: a notification as it is, a callback as a JSON object that holds its headers besides.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::{CallbackHeaders, EscEvent, Notification, read_callback, read_notification};
use crate::event::id::Seq;
use crate::event::payload::Payload;
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
    read.unwrap_or_else(|reason| Event {
        seq: Seq::default(),
        source: Arc::from(SOURCE),
        key: String::new(),
        subject: None,
        received: Timestamp::now(),
        facts: Facts::Undecodable {
            reason: format!("no saved event of ESC: {reason}"),
        },
        ambiguous: false,
        synthesised: true,
        payload: Payload::new(document.to_vec().into()),
    })
}

fn saved_callback(document: &[u8]) -> Result<Event, String> {
    let saved: Saved = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let body = match (saved.body, saved.text, saved.base64) {
        (Some(body), None, None) => body.to_string().into_bytes(),
        (None, Some(text), None) => text.into_bytes(),
        (None, None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| format!("`base64` is none: {error}"))?,
        _ => return Err("it needs one of `body`, `text` and `base64`".to_owned()),
    };
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
