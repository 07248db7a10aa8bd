//! Records of NCMP's topics in files: a JSON object that holds the key and the headers besides the value.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use super::{Record, event};
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};

/// The source of a saved record that does not say which it came from.
const SOURCE: &str = "ncmp";

/// The topic of events of a CM handle's life cycle, as onap/cps comes with it.
const TOPIC: &str = "ncmp-events";

/// A saved record: a JSON object with `"kind": "ncmp"`. The value is `body`, a JSON value, or `text`, exactly as it was sent, or
/// `base64`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    partition: i32,
    #[serde(default)]
    offset: i64,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

/// Whether a document is a saved record.
pub fn is_saved(document: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    document.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<Kind>(document).is_ok_and(|head| head.kind == "ncmp")
}

/// The event that a saved record is; one that cannot be read is undecodable and says why.
pub fn from_saved(document: &[u8]) -> Event {
    read(document).unwrap_or_else(|reason| Event {
        seq: Seq::default(),
        source: SOURCE.into(),
        key: String::new(),
        subject: None,
        received: Timestamp::now(),
        facts: Facts::Undecodable {
            reason: format!("no saved record of NCMP: {reason}"),
        },
        ambiguous: false,
        synthesised: true,
        payload: Payload::new(document.to_vec().into()),
    })
}

fn read(document: &[u8]) -> Result<Event, String> {
    let saved: Saved = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let value = match (saved.body, saved.text, saved.base64) {
        (Some(body), None, None) => body.to_string().into_bytes(),
        (None, Some(text), None) => text.into_bytes(),
        (None, None, Some(base64)) => STANDARD
            .decode(base64)
            .map_err(|error| format!("`base64` is none: {error}"))?,
        _ => return Err("it needs one of `body`, `text` and `base64`".to_owned()),
    };
    let headers: Vec<_> = saved
        .headers
        .into_iter()
        .map(|(name, value)| (name, Some(value.into_bytes())))
        .collect();
    let record = Record {
        topic: saved.topic.as_deref().unwrap_or(TOPIC),
        partition: saved.partition,
        offset: saved.offset,
        key: saved.key.as_deref().map(str::as_bytes),
        headers: &headers,
        value: Some(&value),
    };
    let source = saved.source.as_deref().unwrap_or(SOURCE);
    Ok(event(&record, source, false, Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_record_is_the_event_that_it_was() {
        let document = br#"{"kind":"ncmp","key":"h1","headers":{"eventId":"1"},"offset":7,"body":
            {"eventType":"org.onap.ncmp.cmhandle-lcm-event.update","event":{"cmHandleId":"h1","newValues":{"cmHandleState":"READY"}}}}"#;
        assert!(is_saved(document));
        let event = from_saved(document);
        assert_eq!(event.key, "NCMP update READY");
        assert_eq!(event.subject.expect("a subject").as_str(), "cm-handle/h1");
        assert_eq!(event.payload.text("event/cmHandleId"), "h1");
        let Facts::Ncmp(told) = event.facts else {
            panic!("{:?}", event.facts)
        };
        assert_eq!((told.topic.as_str(), told.offset), ("ncmp-events", 7));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        assert!(!is_saved(br#"{"kind":"esc"}"#));
        let reason = |document: &[u8]| match from_saved(document).facts {
            Facts::Undecodable { reason } => reason,
            other => panic!("{other:?}"),
        };
        let expected = "no saved record of NCMP: it needs one of `body`, `text` and `base64`";
        assert_eq!(reason(br#"{"kind":"ncmp"}"#), expected);
        assert!(reason(br#"{"kind":"ncmp","bdy":1}"#).contains("unknown field `bdy`"));
        // The record can be read as a file; what is in it cannot be read as a record.
        assert!(reason(br#"{"kind":"ncmp","text":"{"}"#).starts_with("the value is no JSON"));
    }
}
