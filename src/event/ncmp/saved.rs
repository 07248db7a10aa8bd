//! Records of NCMP's topics in files: a JSON object that holds the key and the headers besides the value.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{LIFE_CYCLE_TYPE, Record, event};
use crate::event::Event;
use crate::event::saved::{carried, from_base64, unreadable};
use crate::event::time::Timestamp;

/// The source of a saved record that does not say which it came from.
const SOURCE: &str = "ncmp";

/// The topic of events of a CM handle's life cycle, as onap/cps comes with it.
const TOPIC: &str = "ncmp-events";

/// What the schema of an event of a CM handle's life cycle is named in every version.
const LIFE_CYCLE_SCHEMA: &str = "org.onap.ncmp:cmhandle-lcm-event";

/// A saved record: a JSON object with `"kind": "ncmp"`. The value is `body`, a JSON value, or `text`, exactly as it was sent, or
/// `base64`; without any of them the record had none.
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
    headers: BTreeMap<String, Option<HeaderValue>>,
    #[serde(default)]
    body: Option<Value>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default)]
    base64: Option<String>,
}

/// The value of a header: a text, or bytes that are none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum HeaderValue {
    Text(String),
    Bytes { base64: String },
}

impl HeaderValue {
    fn bytes(self) -> Result<Vec<u8>, String> {
        match self {
            Self::Text(text) => Ok(text.into_bytes()),
            Self::Bytes { base64 } => from_base64(&base64),
        }
    }
}

/// What tells a saved record, or the value of one, from other documents.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Head {
    kind: Option<String>,
    event_type: Option<String>,
    event_schema: Option<String>,
}

/// Whether a document is a saved record, or the value of a record as NCMP sends it for a CM handle's life cycle.
pub fn is_saved(document: &[u8]) -> bool {
    document.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<Head>(document)
            .is_ok_and(|head| head.kind.as_deref() == Some("ncmp") || head.is_bare())
}

impl Head {
    fn is_bare(&self) -> bool {
        let begins = |text: &Option<String>, with| text.as_deref().is_some_and(|text| text.starts_with(with));
        let is_of_a_life_cycle =
            begins(&self.event_type, LIFE_CYCLE_TYPE) || begins(&self.event_schema, LIFE_CYCLE_SCHEMA);
        self.kind.is_none() && is_of_a_life_cycle
    }
}

/// A record as it is saved, or as it was read from a saved value: what a broker is given for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedRecord {
    /// The source that it came from, where the file says.
    pub source: Option<String>,
    /// The topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// The key.
    pub key: Option<String>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// The value, where it has one.
    pub value: Option<Vec<u8>>,
}

impl SavedRecord {
    /// Reads a document that [`is_saved`].
    ///
    /// # Errors
    /// Says what is wrong with the file; whether the record itself can be read is another matter.
    pub fn read(document: &[u8]) -> Result<Self, String> {
        let head: Head = serde_json::from_slice(document).map_err(|error| error.to_string())?;
        if head.is_bare() {
            return Ok(Self::bare(document));
        }
        let saved: Saved = serde_json::from_slice(document).map_err(|error| error.to_string())?;
        let value = carried(saved.body, saved.text, saved.base64)?;
        let headers = saved
            .headers
            .into_iter()
            .map(|(name, value)| Ok((name, value.map(HeaderValue::bytes).transpose()?)));
        Ok(Self {
            source: saved.source,
            topic: saved.topic.unwrap_or_else(|| TOPIC.to_owned()),
            partition: saved.partition,
            offset: saved.offset,
            key: saved.key,
            headers: headers.collect::<Result<_, String>>()?,
            value,
        })
    }

    /// NCMP makes the CM handle the key.
    fn bare(document: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Body {
            event: Named,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Named {
            cm_handle_id: String,
        }
        let body = serde_json::from_slice::<Body>(document);
        Self {
            source: None,
            topic: TOPIC.to_owned(),
            partition: 0,
            offset: 0,
            key: body.ok().map(|body| body.event.cm_handle_id),
            headers: Vec::new(),
            value: Some(document.to_vec()),
        }
    }
}

/// The event that a saved record is; one that cannot be read is undecodable and says why.
pub fn from_saved(document: &[u8]) -> Event {
    read(document)
        .unwrap_or_else(|reason| unreadable(SOURCE, &format!("no saved record of NCMP: {reason}"), document))
}

fn read(document: &[u8]) -> Result<Event, String> {
    let saved = SavedRecord::read(document)?;
    let record = Record {
        topic: &saved.topic,
        partition: saved.partition,
        offset: saved.offset,
        key: saved.key.as_deref().map(str::as_bytes),
        headers: &saved.headers,
        value: saved.value.as_deref(),
    };
    let source = saved.source.as_deref().unwrap_or(SOURCE);
    Ok(event(&record, source, false, Timestamp::now()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Facts;

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
    fn a_value_alone_is_a_record_too() {
        let document = br#" {"eventId":"1","eventType":"org.onap.ncmp.cmhandle-lcm-event.delete",
            "eventSchema":"org.onap.ncmp:cmhandle-lcm-event.v2","event":{"cmHandleId":"h1"}}"#;
        assert!(is_saved(document));
        let saved = SavedRecord::read(document).expect("a record");
        assert_eq!(saved.key.as_deref(), Some("h1"));
        assert_eq!(saved.value.as_deref(), Some(&document[..]));
        let event = from_saved(document);
        assert_eq!(event.key, "NCMP delete");
        assert_eq!(&event.payload.bytes()[..], document);
        // One that lacks the CM handle is still one, and says so.
        let lacking = br#"{"eventSchema":"org.onap.ncmp:cmhandle-lcm-event","eventType":"org.onap.ncmp.cmhandle-lcm-event.create"}"#;
        assert!(is_saved(lacking));
        let Facts::Undecodable { reason } = from_saved(lacking).facts else {
            panic!("a CM handle was found")
        };
        assert!(reason.contains("cmHandleId"), "{reason}");
        for other in [
            "{}",
            "[]",
            r#"{"eventType":"org.onap.ncmp"}"#,
            r#"{"eventType":1}"#,
            r#"{"kind":"webhook","eventType":"org.onap.ncmp.cmhandle-lcm-event.create"}"#,
        ] {
            assert!(!is_saved(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn headers_may_be_bytes_or_nothing() {
        let document = br#"{"kind":"ncmp","topic":"t","headers":{"a":{"base64":"rO0ABXQAAzEuMA=="},"b":null,"ce_type":"x.Y"},"body":{}}"#;
        let saved = SavedRecord::read(document).expect("a record");
        let headers = [
            ("a".to_owned(), Some(b"\xac\xed\0\x05t\0\x031.0".to_vec())),
            ("b".to_owned(), None),
            ("ce_type".to_owned(), Some(b"x.Y".to_vec())),
        ];
        assert_eq!(saved.headers, headers);
        assert_eq!(from_saved(document).key, "NCMP Y");
        assert!(SavedRecord::read(br#"{"kind":"ncmp","headers":{"a":{"base64":"%"}},"body":{}}"#).is_err());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        assert!(!is_saved(br#"{"kind":"esc"}"#));
        let reason = |document: &[u8]| match from_saved(document).facts {
            Facts::Undecodable { reason } => reason,
            other => panic!("{other:?}"),
        };
        let expected = "no saved record of NCMP: it needs one of `body`, `text` and `base64`";
        assert_eq!(reason(br#"{"kind":"ncmp","body":{},"text":"{}"}"#), expected);
        assert!(reason(br#"{"kind":"ncmp","key":"h1"}"#).starts_with("the record has no value"));
        assert!(reason(br#"{"kind":"ncmp","bdy":1}"#).contains("unknown field `bdy`"));
        // The record can be read as a file; what is in it cannot be read as a record.
        assert!(reason(br#"{"kind":"ncmp","text":"{"}"#).starts_with("the value is no JSON"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _ = is_saved(&bytes);
            let _ = from_saved(&bytes);
        }

        #[test]
        fn what_is_sent_for_a_file_is_what_it_says(key in "\\PC{0,9}", name in "\\PC{0,9}", header in "\\PC{0,9}", value in "\\PC{0,9}") {
            let document = serde_json::json!({"kind": "ncmp", "key": key, "headers": {&name: header}, "text": value}).to_string();
            let saved = SavedRecord::read(document.as_bytes()).expect("a record");
            proptest::prop_assert_eq!(saved.key, Some(key));
            proptest::prop_assert_eq!(saved.headers, vec![(name, Some(header.into_bytes()))]);
            proptest::prop_assert_eq!(saved.value, Some(value.into_bytes()));
        }
    }
}
