//! How a record of one of NCMP's topics is read.
//!
//! Two kinds are really sent. Events of a CM handle's life cycle have their envelope in the body (`eventType`, `eventSchema`), whose
//! fields are repeated in headers as serialised Java strings that may differ from it: the body counts. Everything else is a
//! CloudEvent in binary mode, whose envelope are plain headers with the prefix `ce_`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{LIFE_CYCLE_TYPE, NcmpRecord};

/// What a serialised Java string begins with: the stream's magic number and version.
const JAVA_STREAM: &[u8] = &[0xac, 0xed, 0x00, 0x05];

/// A short string follows: its length in two bytes, in eight for a long one (Java Object Serialization Specification, 6.4.2).
const JAVA_SHORT_STRING: u8 = 0x74;
const JAVA_LONG_STRING: u8 = 0x7c;

/// Longer texts of a record's envelope are cut: they stand in tables and name lanes.
const LONGEST_TEXT: usize = 1_024;

/// What has more bytes is not read, and kept up to here alone.
pub const LONGEST_VALUE: usize = 16 << 20;

/// A record as a broker has it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its place in the partition.
    pub offset: i64,
    /// The key, by which records are put into partitions.
    pub key: Option<&'a [u8]>,
    /// The headers; a name may occur several times, and a value may be absent.
    pub headers: &'a [(String, Option<Vec<u8>>)],
    /// The value; none is a sign that the key is gone.
    pub value: Option<&'a [u8]>,
}

impl Record<'_> {
    /// Where it is, for people: `record 42 of ncmp-events/3, key h1`.
    pub(super) fn place(&self) -> String {
        let place = format!("record {} of {}/{}", self.offset, self.topic, self.partition);
        match self.key {
            Some(key) => format!("{place}, key `{}`", cut(&header_text(key)).escape_debug()),
            None => format!("{place}, without a key"),
        }
    }
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// It has no value.
    #[error("the record has no value")]
    NoValue,
    /// The value is too long.
    #[error("the value has {0} bytes, more than {LONGEST_VALUE}; what is beyond them is not kept")]
    TooLong(usize),
    /// The value is no JSON, or is nested more than 128 deep.
    #[error("the value is no JSON: {0}")]
    Json(String),
    /// The value is JSON and no object.
    #[error("the value is no JSON object")]
    NoObject,
    /// Nothing says what it is.
    #[error("neither `eventType` in the value nor a header `ce_type` says what it is")]
    NoType,
    /// An event of a CM handle that names none.
    #[error("the event names no CM handle: `event.cmHandleId` is missing")]
    NoHandle,
}

/// Reads a record.
///
/// # Errors
/// It is nothing that is sent on these topics.
pub fn read(record: &Record<'_>) -> Result<NcmpRecord, RecordFault> {
    let value = record.value.ok_or(RecordFault::NoValue)?;
    if value.len() > LONGEST_VALUE {
        return Err(RecordFault::TooLong(value.len()));
    }
    let place = NcmpRecord {
        topic: record.topic.to_owned(),
        partition: record.partition,
        offset: record.offset,
        ..NcmpRecord::default()
    };
    let body: Value = serde_json::from_slice(value).map_err(|error| RecordFault::Json(error.to_string()))?;
    let Value::Object(body) = body else {
        return Err(RecordFault::NoObject);
    };
    match text(&body, "eventType") {
        Some(event_type) => life_cycle(place, event_type, &body),
        None => cloud_event(place, record),
    }
}

/// An event of a CM handle's life cycle, in the first or the second version of its schema: they differ in where the handle's other
/// attributes stand and in the form of its properties.
fn life_cycle(
    place: NcmpRecord,
    event_type: String,
    body: &Map<String, Value>,
) -> Result<NcmpRecord, RecordFault> {
    let none = Map::new();
    let event = object(body, "event").unwrap_or(&none);
    let new = object(event, "newValues").unwrap_or(&none);
    let old = object(event, "oldValues").unwrap_or(&none);
    let word = match event_type.strip_prefix(LIFE_CYCLE_TYPE) {
        Some(word) => word.to_owned(),
        None => last_word(&event_type),
    };
    let cm_handle = text(event, "cmHandleId");
    if cm_handle.is_none() && event_type.starts_with(LIFE_CYCLE_TYPE) {
        return Err(RecordFault::NoHandle);
    }
    Ok(NcmpRecord {
        event: word,
        event_type,
        id: text(body, "eventId"),
        time: text(body, "eventTime"),
        origin: text(body, "eventSource"),
        cm_handle,
        alternate_id: text(event, "alternateId").or_else(|| text(new, "alternateId")),
        state: text(new, "cmHandleState"),
        old_state: text(old, "cmHandleState"),
        data_sync: new.get("dataSyncEnabled").and_then(Value::as_bool),
        properties: properties(new),
        old_properties: properties(old),
        ..place
    })
}

/// A CloudEvent in binary mode. Its record's key is the CM handle.
fn cloud_event(place: NcmpRecord, record: &Record<'_>) -> Result<NcmpRecord, RecordFault> {
    let header = |name: &str| {
        let found = record
            .headers
            .iter()
            .rev()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = found.and_then(|(_, value)| value.as_deref())?;
        Some(cut(&header_text(value))).filter(|text| !text.is_empty())
    };
    let event_type = header("ce_type").ok_or(RecordFault::NoType)?;
    let key = record
        .key
        .map(header_text)
        .map(|key| cut(&key))
        .filter(|key| !key.is_empty());
    Ok(NcmpRecord {
        event: last_word(&event_type),
        event_type,
        id: header("ce_id"),
        time: header("ce_time"),
        origin: header("ce_source"),
        cm_handle: key.or_else(|| header("ce_correlationid")),
        ..place
    })
}

/// The text of a header or a key: a serialised Java string, or plain UTF-8.
pub fn header_text(bytes: &[u8]) -> Cow<'_, str> {
    match java_string(bytes) {
        Some(text) => Cow::Owned(text),
        None => String::from_utf8_lossy(bytes),
    }
}

/// The string that Java's serialisation made these bytes of; none where they are nothing of that kind.
fn java_string(bytes: &[u8]) -> Option<String> {
    let (kind, rest) = bytes.strip_prefix(JAVA_STREAM)?.split_first()?;
    let (length, text) = match *kind {
        JAVA_SHORT_STRING => {
            let (length, text) = rest.split_first_chunk::<2>()?;
            (u64::from(u16::from_be_bytes(*length)), text)
        }
        JAVA_LONG_STRING => {
            let (length, text) = rest.split_first_chunk::<8>()?;
            (u64::from_be_bytes(*length), text)
        }
        _ => return None,
    };
    if length != text.len() as u64 {
        return None;
    }
    modified_utf8(text)
}

/// Java's own UTF-8: each half of a surrogate pair stands by itself, and NUL takes two bytes.
fn modified_utf8(mut bytes: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(bytes.len());
    let tail = |byte: u8| (byte & 0xc0 == 0x80).then_some(u16::from(byte & 0x3f));
    while let Some((&first, rest)) = bytes.split_first() {
        let (unit, rest) = match first {
            0x01..0x80 => (u16::from(first), rest),
            0xc0..0xe0 => {
                let (second, rest) = rest.split_first()?;
                (u16::from(first & 0x1f) << 6 | tail(*second)?, rest)
            }
            0xe0..0xf0 => {
                let ([second, third], rest) = rest.split_first_chunk::<2>()?;
                let unit = u16::from(first & 0x0f) << 12 | tail(*second)? << 6 | tail(*third)?;
                (unit, rest)
            }
            _ => return None,
        };
        units.push(unit);
        bytes = rest;
    }
    Some(String::from_utf16_lossy(&units))
}

fn object<'a>(of: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    of.get(name).and_then(Value::as_object)
}

/// A member's text; none where it is absent, `null`, empty or something else.
fn text(of: &Map<String, Value>, name: &str) -> Option<String> {
    of.get(name)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
        .map(cut)
}

/// The first version sends a list of maps, the second one a map.
fn properties(values: &Map<String, Value>) -> BTreeMap<String, String> {
    let maps = match values.get("cmHandleProperties") {
        Some(Value::Array(maps)) => maps.iter().filter_map(Value::as_object).collect(),
        Some(Value::Object(map)) => vec![map],
        _ => Vec::new(),
    };
    let all = maps.into_iter().flatten();
    let told = all.filter_map(|(name, value)| match value {
        Value::Null => None,
        Value::String(text) => Some((name.clone(), text.clone())),
        other => Some((name.clone(), other.to_string())),
    });
    told.collect()
}

fn last_word(event_type: &str) -> String {
    event_type.rsplit('.').next().unwrap_or(event_type).to_owned()
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(LONGEST_TEXT)].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record<'a>(value: &'a str, headers: &'a [(String, Option<Vec<u8>>)]) -> Record<'a> {
        Record {
            topic: "ncmp-events",
            partition: 3,
            offset: 42,
            key: Some(b"cmhandle-001"),
            headers,
            value: Some(value.as_bytes()),
        }
    }

    fn hexadecimal(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text
            .chars()
            .map(|digit| u8::try_from(digit.to_digit(16).expect("a digit")).expect("small"))
            .collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    const UPDATE: &str = r#"{"eventId":"3f1c","eventCorrelationId":"cmhandle-001","eventTime":"2026-11-21T20:30:40.000+0000",
        "eventSource":"org.onap.ncmp","eventType":"org.onap.ncmp.cmhandle-lcm-event.update",
        "eventSchema":"org.onap.ncmp:cmhandle-lcm-event","eventSchemaVersion":"1.0",
        "event":{"cmHandleId":"cmhandle-001","alternateId":"fdn1","moduleSetTag":"tag1",
        "oldValues":{"cmHandleState":"ADVISED","cmHandleProperties":null},
        "newValues":{"cmHandleState":"READY","dataSyncEnabled":false,"cmHandleProperties":[{"color":"green","size":3}]}}}"#;

    #[test]
    fn the_first_version_is_read_as_it_is_really_sent() {
        let read = read(&record(UPDATE, &[])).expect("a record");
        let expected = NcmpRecord {
            topic: "ncmp-events".to_owned(),
            partition: 3,
            offset: 42,
            event: "update".to_owned(),
            event_type: "org.onap.ncmp.cmhandle-lcm-event.update".to_owned(),
            id: Some("3f1c".to_owned()),
            time: Some("2026-11-21T20:30:40.000+0000".to_owned()),
            origin: Some("org.onap.ncmp".to_owned()),
            cm_handle: Some("cmhandle-001".to_owned()),
            alternate_id: Some("fdn1".to_owned()),
            state: Some("READY".to_owned()),
            old_state: Some("ADVISED".to_owned()),
            data_sync: Some(false),
            properties: [("color", "green"), ("size", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            old_properties: BTreeMap::new(),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn the_second_version_has_its_properties_as_a_map_and_says_only_what_changed() {
        let value = r#"{"eventId":"1","eventType":"org.onap.ncmp.cmhandle-lcm-event.create",
            "eventSchema":"org.onap.ncmp:cmhandle-lcm-event.v2","eventSchemaVersion":"1.0",
            "event":{"cmHandleId":"h","oldValues":null,
            "newValues":{"cmHandleState":"ADVISED","alternateId":"fdn2","cmHandleProperties":{"color":"green","gone":null}}}}"#;
        let read = read(&record(value, &[])).expect("a record");
        assert_eq!(read.event, "create");
        assert_eq!(read.state.as_deref(), Some("ADVISED"));
        assert_eq!(read.old_state, None);
        assert_eq!(read.alternate_id.as_deref(), Some("fdn2"));
        assert_eq!(read.data_sync, None);
        let properties: Vec<_> = read.properties.into_iter().collect();
        assert_eq!(properties, [("color".to_owned(), "green".to_owned())]);
    }

    #[test]
    fn the_body_counts_and_not_the_headers_that_repeat_it() {
        let other_id = hexadecimal("aced0005740003312e30");
        let headers = [("eventId".to_owned(), Some(other_id))];
        let read = read(&record(UPDATE, &headers)).expect("a record");
        assert_eq!(read.id.as_deref(), Some("3f1c"));
    }

    #[test]
    fn a_cloud_event_is_known_by_its_headers() {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let headers = [
            header("ce_specversion", "1.0"),
            header("ce_type", "org.onap.cps.ncmp.events.avc1_0_0.AvcEvent"),
            header("ce_id", "7"),
            header("ce_source", "ONAP-DMI-PLUGIN"),
            ("ce_time".to_owned(), None),
        ];
        let read = read(&record(r#"{"data":{}}"#, &headers)).expect("a record");
        assert_eq!(read.event, "AvcEvent");
        assert_eq!(read.event_type, "org.onap.cps.ncmp.events.avc1_0_0.AvcEvent");
        assert_eq!(read.id.as_deref(), Some("7"));
        assert_eq!(read.time, None);
        assert_eq!(read.cm_handle.as_deref(), Some("cmhandle-001"));
    }

    #[test]
    fn serialised_java_strings_are_read() {
        let read = |hex| header_text(&hexadecimal(hex)).into_owned();
        assert_eq!(read("aced0005740003312e30"), "1.0");
        assert_eq!(read("aced000574000d6f72672e6f6e61702e6e636d70"), "org.onap.ncmp");
        assert_eq!(read("aced000574000c636d68616e646c652d303031"), "cmhandle-001");
        // NUL, and a sign beyond the first 65,536 as two halves.
        assert_eq!(read("aced0005740008c080eda0bdedb880"), "\0\u{1f600}");
        let mut long = hexadecimal("aced00057c");
        long.extend_from_slice(&70_000_u64.to_be_bytes());
        long.extend_from_slice(&[b'x'; 70_000]);
        assert_eq!(header_text(&long).len(), 70_000);
    }

    #[test]
    fn what_is_no_serialised_string_is_text() {
        assert_eq!(header_text(b"plain"), "plain");
        assert_eq!(header_text(b""), "");
        // Cut off, and of another kind.
        for hex in ["aced0005", "aced00057400", "aced000574000361", "aced0005730000"] {
            let bytes = hexadecimal(hex);
            assert_eq!(header_text(&bytes), String::from_utf8_lossy(&bytes), "{hex}");
        }
    }

    #[test]
    fn what_nobody_sends_is_refused_with_a_reason() {
        let fault = |value| read(&record(value, &[])).expect_err(value);
        for value in [
            "",
            r#"{"eventCorrelationId : "x"}"#,
            r#""event": {"cmHandleId": "x"}"#,
            r#"{"event": {"cmHandleProperties": [color: green]}}"#,
            r#"{"event": {"newValues": {"cmHandleState": "READY",}}}"#,
            r#"{"event": {}}}"#,
            r#"{"event" : ...}"#,
        ] {
            assert!(matches!(fault(value), RecordFault::Json(_)), "{value}");
        }
        assert_eq!(fault("[1]"), RecordFault::NoObject);
        assert_eq!(fault(r#"{"event":{"cmHandleId":"h"}}"#), RecordFault::NoType);
        let nameless = r#"{"eventType":"org.onap.ncmp.cmhandle-lcm-event.delete","event":{}}"#;
        assert_eq!(fault(nameless), RecordFault::NoHandle);
        let gone = Record {
            value: None,
            ..record("", &[])
        };
        assert_eq!(read(&gone), Err(RecordFault::NoValue));
        let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(fault(&deep), RecordFault::Json(_)));
    }

    proptest! {
        #[test]
        fn no_header_makes_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..64), java in any::<bool>()) {
            let mut all = if java { JAVA_STREAM.to_vec() } else { Vec::new() };
            all.extend(bytes);
            let _ = header_text(&all);
        }

        #[test]
        fn what_java_writes_comes_back(text in "\\PC{0,40}") {
            // As `DataOutput.writeUTF` writes it: each half of a surrogate pair by itself.
            let mut bytes = Vec::new();
            for unit in text.encode_utf16() {
                match unit {
                    0x01..0x80 => bytes.push(unit as u8),
                    0 | 0x80..0x800 => bytes.extend([0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8]),
                    _ => bytes.extend([
                        0xe0 | (unit >> 12) as u8,
                        0x80 | (unit >> 6 & 0x3f) as u8,
                        0x80 | (unit & 0x3f) as u8,
                    ]),
                }
            }
            let mut stream = JAVA_STREAM.to_vec();
            stream.push(JAVA_SHORT_STRING);
            stream.extend(u16::try_from(bytes.len()).expect("short").to_be_bytes());
            stream.extend(bytes);
            prop_assert_eq!(header_text(&stream), text);
        }

        #[test]
        fn no_value_makes_it_fail(
            value in proptest::collection::vec(any::<u8>(), 0..200),
            event_type in "\\PC{0,30}",
            member in "\\PC{0,30}",
        ) {
            let bytes = Record { value: Some(&value), ..record("", &[]) };
            let _ = read(&bytes);
            let odd = serde_json::json!({
                "eventType": event_type,
                "event": { "cmHandleId": member, "newValues": { "cmHandleProperties": [member, { "a": [member] }] } },
            });
            let text = odd.to_string();
            let _ = read(&record(&text, &[]));
        }
    }
}
