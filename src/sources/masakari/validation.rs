//! What a body must be, and in which words Masakari says that it is not. It looks at types and values in the order of its schemas and
//! names the first thing that is wrong, as the Python library `jsonschema` does.

use std::collections::BTreeMap;

use super::instant::Instant;
use super::python::{Json, text_repr, tuple};
use super::uuid;
use crate::event::masakari::{CLUSTER_STATUSES, HOST_STATUSES, TYPES};

const HOST_PATTERN: &str = "^[a-zA-Z0-9-._]*$";
const KEY_PATTERN: &str = "^[a-zA-Z0-9-_:. ]{1,255}$";
const LONGEST: usize = 255;
const LONGEST_PROCESS: usize = 4096;

/// The events of hosts and processes.
const EVENTS: [&str; 2] = ["STARTED", "STOPPED"];

/// What a body says, once it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) kind: String,
    pub(super) hostname: String,
    pub(super) generated: Instant,
    pub(super) payload: BTreeMap<String, String>,
}

/// Reads the body of a notification.
///
/// # Errors
/// It is not what it must be: what Masakari says.
pub(super) fn notification(body: &Json) -> Result<Told, String> {
    let outer = Place::new(None, body);
    outer.is_object()?;
    let generated = match body.get("notification") {
        Some(notification) => Some(outer_schema(notification)?),
        None => None,
    };
    outer.has(&["notification"])?;
    outer.has_no_other(&["notification"])?;
    let text = |name| {
        body.get("notification")
            .and_then(|notification| notification.get(name))
            .and_then(Json::text)
            .unwrap_or_default()
            .to_owned()
    };
    let payload = body
        .get("notification")
        .and_then(|notification| notification.get("payload"))
        .unwrap_or(&Json::Null);
    let kind = text("type");
    match kind.as_str() {
        "COMPUTE_HOST" => compute_host(payload)?,
        "VM" => instance(payload)?,
        _ => process(payload)?,
    }
    Ok(Told {
        kind,
        hostname: text("hostname"),
        generated: generated.unwrap_or(Instant::from(crate::event::time::Timestamp::default())),
        payload: texts(payload),
    })
}

fn texts(payload: &Json) -> BTreeMap<String, String> {
    match payload {
        Json::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), value.plain()))
            .collect(),
        _ => BTreeMap::new(),
    }
}

/// What every notification must have.
fn outer_schema(notification: &Json) -> Result<Instant, String> {
    const KEYS: [&str; 4] = ["type", "hostname", "generated_time", "payload"];
    let place = Place::new(Some("notification"), notification);
    place.is_object()?;
    if let Some(kind) = place.at("type") {
        kind.is_text()?;
        kind.is_one_of(&TYPES)?;
    }
    if let Some(hostname) = place.at("hostname") {
        hostname.is_text()?;
        hostname.has_length(1, LONGEST)?;
        hostname.fits(HOST_PATTERN, |char| {
            char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_')
        })?;
    }
    let mut generated = None;
    if let Some(time) = place.at("generated_time") {
        time.is_text()?;
        generated = time.value.text().and_then(Instant::parse);
        if generated.is_none() {
            return Err(time.fault(&format!("{} is not a 'date-time'", time.value.repr())));
        }
    }
    if let Some(payload) = place.at("payload") {
        any_payload(&payload)?;
    }
    place.has(&KEYS)?;
    place.has_no_other(&KEYS)?;
    generated.ok_or_else(|| place.fault("'generated_time' is a required property"))
}

fn any_payload(payload: &Place<'_>) -> Result<(), String> {
    payload.is_object()?;
    let is_allowed = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | ':' | '.' | ' ');
    let is_key = |name: &str| (1..=LONGEST).contains(&name.len()) && name.chars().all(is_allowed);
    let Json::Object(fields) = payload.value else {
        return Ok(());
    };
    for (name, value) in fields.iter().filter(|(name, _)| is_key(name)) {
        let value = Place::new(Some(name), value);
        value.is_text()?;
        value.has_length(0, LONGEST)?;
    }
    let mut others: Vec<&str> = fields
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(|name| !is_key(name))
        .collect();
    others.sort_unstable();
    let verb = match others.len() {
        0 => return Ok(()),
        1 => "does",
        _ => "do",
    };
    let others: Vec<String> = others.into_iter().map(text_repr).collect();
    Err(payload.fault(&format!(
        "{} {verb} not match any of the regexes: {}",
        others.join(", "),
        text_repr(KEY_PATTERN)
    )))
}

fn compute_host(payload: &Json) -> Result<(), String> {
    let place = Place::new(None, payload);
    for (name, known) in [
        ("host_status", &HOST_STATUSES),
        ("cluster_status", &CLUSTER_STATUSES),
        ("event", &EVENTS),
    ] {
        if let Some(value) = place.at(name) {
            value.is_one_of(known)?;
        }
    }
    place.has(&["event"])?;
    place.has_no_other(&["host_status", "cluster_status", "event"])
}

fn process(payload: &Json) -> Result<(), String> {
    let place = Place::new(None, payload);
    if let Some(name) = place.at("process_name") {
        name.has_length(1, LONGEST_PROCESS)?;
    }
    if let Some(event) = place.at("event") {
        event.is_one_of(&EVENTS)?;
    }
    place.has(&["process_name", "event"])?;
    place.has_no_other(&["process_name", "event"])
}

fn instance(payload: &Json) -> Result<(), String> {
    const KEYS: [&str; 3] = ["instance_uuid", "vir_domain_event", "event"];
    let place = Place::new(None, payload);
    if let Some(instance) = place.at("instance_uuid")
        && instance.value.text().and_then(uuid::parse).is_none()
    {
        return Err(instance.fault(&format!("{} is not a 'uuid'", instance.value.repr())));
    }
    for name in ["vir_domain_event", "event"] {
        if let Some(value) = place.at(name) {
            value.has_length(1, LONGEST)?;
        }
    }
    place.has(&KEYS)?;
    place.has_no_other(&KEYS)
}

/// What an operator may change of a host, by the word that says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HostChange {
    pub(super) on_maintenance: Option<bool>,
    pub(super) reserved: Option<bool>,
    /// The texts that are given; null for none.
    pub(super) texts: BTreeMap<&'static str, Option<String>>,
}

/// Words for yes and no.
const YES: [&str; 10] = ["True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"];
const NO: [&str; 10] = [
    "False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no",
];

/// Reads the body of a host's change.
///
/// # Errors
/// It is not what it must be: what Masakari says.
pub(super) fn host_change(body: &Json) -> Result<HostChange, String> {
    const KEYS: [&str; 5] = ["name", "type", "control_attributes", "reserved", "on_maintenance"];
    let outer = Place::new(None, body);
    outer.is_object()?;
    let mut change = HostChange::default();
    if let Some(host) = outer.at("host") {
        host.is_object()?;
        if let Some(name) = host.at("name") {
            name.is_text()?;
            name.has_length(1, LONGEST)?;
            change.texts.insert("name", name.value.text().map(str::to_owned));
        }
        for text in ["type", "control_attributes"] {
            if let Some(value) = host.at(text) {
                if !matches!(value.value, Json::Text(_) | Json::Null) {
                    return Err(
                        value.fault(&format!("{} is not of type 'string', 'null'", value.value.repr()))
                    );
                }
                value.has_length(0, if text == "type" { LONGEST } else { usize::MAX })?;
                if text == "type" {
                    value.fits("^[a-zA-Z0-9]*$", |char| char.is_ascii_alphanumeric())?;
                }
                change.texts.insert(text, value.value.text().map(str::to_owned));
            }
        }
        for (name, kept) in [
            ("reserved", &mut change.reserved),
            ("on_maintenance", &mut change.on_maintenance),
        ] {
            if let Some(value) = host.at(name) {
                *kept = Some(value.truth()?);
            }
        }
        host.has_no_other(&KEYS)?;
        if change == HostChange::default() {
            return Err(host.fault(&format!(
                "{} is not valid under any of the given schemas",
                host.value.repr()
            )));
        }
    }
    outer.has(&["host"])?;
    outer.has_no_other(&["host"])?;
    Ok(change)
}

/// A value, and under which key it stands.
struct Place<'a> {
    key: Option<&'a str>,
    value: &'a Json,
}

impl<'a> Place<'a> {
    const fn new(key: Option<&'a str>, value: &'a Json) -> Self {
        Self { key, value }
    }

    fn at(&self, key: &'a str) -> Option<Self> {
        Some(Self::new(Some(key), self.value.get(key)?))
    }

    fn fault(&self, why: &str) -> String {
        match self.key {
            Some(key) => format!(
                "Invalid input for field/attribute {key}. Value: {}. {why}",
                self.value.plain()
            ),
            None => why.to_owned(),
        }
    }

    fn is_object(&self) -> Result<(), String> {
        match self.value {
            Json::Object(_) => Ok(()),
            other => Err(self.fault(&format!("{} is not of type 'object'", other.repr()))),
        }
    }

    fn is_text(&self) -> Result<(), String> {
        match self.value {
            Json::Text(_) => Ok(()),
            other => Err(self.fault(&format!("{} is not of type 'string'", other.repr()))),
        }
    }

    fn is_one_of(&self, known: &[&str]) -> Result<(), String> {
        if self.value.text().is_some_and(|text| known.contains(&text)) {
            return Ok(());
        }
        Err(self.fault(&format!("{} is not one of {}", self.value.repr(), tuple(known))))
    }

    /// How many characters a text has.
    fn has_length(&self, least: usize, most: usize) -> Result<(), String> {
        let length = self.value.text().map_or(least, |text| text.chars().count());
        let what = if length < least {
            "should be non-empty"
        } else if length > most {
            "is too long"
        } else {
            return Ok(());
        };
        Err(self.fault(&format!("{} {what}", self.value.repr())))
    }

    fn fits(&self, pattern: &str, is_allowed: impl Fn(char) -> bool) -> Result<(), String> {
        if self.value.text().is_none_or(|text| text.chars().all(is_allowed)) {
            return Ok(());
        }
        Err(self.fault(&format!(
            "{} does not match {}",
            self.value.repr(),
            text_repr(pattern)
        )))
    }

    fn has(&self, keys: &[&str]) -> Result<(), String> {
        match keys.iter().find(|key| self.value.get(key).is_none()) {
            Some(key) => Err(self.fault(&format!("{} is a required property", text_repr(key)))),
            None => Ok(()),
        }
    }

    fn has_no_other(&self, keys: &[&str]) -> Result<(), String> {
        let Json::Object(fields) = self.value else {
            return Ok(());
        };
        let mut others: Vec<&str> = fields
            .iter()
            .map(|(name, _)| name.as_str())
            .filter(|name| !keys.contains(name))
            .collect();
        others.sort_unstable();
        let verb = match others.len() {
            0 => return Ok(()),
            1 => "was",
            _ => "were",
        };
        let others: Vec<String> = others.into_iter().map(text_repr).collect();
        Err(self.fault(&format!(
            "Additional properties are not allowed ({} {verb} unexpected)",
            others.join(", ")
        )))
    }

    fn truth(&self) -> Result<bool, String> {
        match self.value {
            Json::Bool(truth) => Ok(*truth),
            Json::Text(word) if YES.contains(&word.as_str()) => Ok(true),
            Json::Text(word) if NO.contains(&word.as_str()) => Ok(false),
            Json::Text(word) => {
                let words = |words: &[&str]| {
                    let words: Vec<String> = words.iter().map(|word| text_repr(word)).collect();
                    words.join(", ")
                };
                Err(self.fault(&format!(
                    "{} is not one of [True, {}, False, {}]",
                    text_repr(word),
                    words(&YES),
                    words(&NO)
                )))
            }
            other => Err(self.fault(&format!("{} is not of type 'boolean', 'string'", other.repr()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(body: &Value) -> Result<Told, String> {
        notification(&Json::parse(body.to_string().as_bytes()).expect("JSON"))
    }

    /// Made by `tests/data/masakari/validation.py` with the libraries that Masakari uses.
    #[test]
    fn what_is_refused_is_refused_in_the_words_of_pythons_libraries() {
        let recorded = include_str!("../../../tests/data/masakari/validation.jsonl");
        let mut taken = 0;
        for line in recorded.lines() {
            let line = Json::parse(line.as_bytes()).expect("JSON");
            let body = line.get("body").expect("a body");
            let said = line.get("said").and_then(Json::text);
            let here = notification(body);
            assert_eq!(here.as_ref().err().map(String::as_str), said, "{body:?}");
            taken += usize::from(here.is_ok());
        }
        assert!(taken > 100 && recorded.lines().count() > 700);
    }

    #[test]
    fn what_is_taken_is_what_was_said() {
        let told = read(&json!({"notification": {
            "type": "COMPUTE_HOST", "hostname": "node1", "generated_time": "2026-11-21T23:30:00+02:00",
            "payload": {"event": "STOPPED", "host_status": "NORMAL"},
        }}));
        let told = told.expect("a notification");
        assert_eq!(
            (told.kind.as_str(), told.hostname.as_str()),
            ("COMPUTE_HOST", "node1")
        );
        assert_eq!(told.generated.text(), "2026-11-21T21:30:00.000000");
        assert_eq!(told.payload["host_status"], "NORMAL");
    }

    #[test]
    fn changes_of_hosts_are_read_and_refused_in_the_services_words() {
        let read = |body: Value| host_change(&Json::parse(body.to_string().as_bytes()).expect("JSON"));
        for (word, on) in [(json!(true), true), (json!("OFF"), false), (json!("1"), true)] {
            let change = read(json!({"host": {"on_maintenance": word}})).expect("a change");
            assert_eq!(change.on_maintenance, Some(on));
        }
        for (body, said) in [
            (json!({}), "'host' is a required property"),
            (
                json!({"host": {}}),
                "Invalid input for field/attribute host. Value: {}. {} is not valid under any of the given schemas",
            ),
            (
                json!({"host": {"on_maintenance": 1}}),
                "Invalid input for field/attribute on_maintenance. Value: 1. 1 is not of type 'boolean', 'string'",
            ),
            (
                json!({"host": {"type": "a b"}}),
                "Invalid input for field/attribute type. Value: a b. 'a b' does not match '^[a-zA-Z0-9]*$'",
            ),
            (
                json!({"host": {"color": "red"}}),
                "Invalid input for field/attribute host. Value: {'color': 'red'}. \
                 Additional properties are not allowed ('color' was unexpected)",
            ),
        ] {
            assert_eq!(read(body.clone()), Err(said.to_owned()), "{body}");
        }
        let maybe = read(json!({"host": {"reserved": "maybe"}})).expect_err("no word");
        assert!(maybe.ends_with("'maybe' is not one of [True, 'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', \
             False, 'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']"), "{maybe}");
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,6}".prop_map(Value::from),
            prop_oneof![
                Just("VM"),
                Just("PROCESS"),
                Just("COMPUTE_HOST"),
                Just("STOPPED"),
                Just("2026-11-21"),
                Just("96ab1c42-668c-4f2d-8689-afa3301d4ee9"),
            ]
            .prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 6, |inner| {
            let key = prop_oneof![
                Just("notification".to_owned()),
                Just("type".to_owned()),
                Just("hostname".to_owned()),
                Just("generated_time".to_owned()),
                Just("payload".to_owned()),
                Just("event".to_owned()),
                Just("process_name".to_owned()),
                Just("host".to_owned()),
                Just("on_maintenance".to_owned()),
                "\\PC{0,4}",
            ];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key, inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in value()) {
            let _ = read(&body);
            let _ = host_change(&Json::parse(body.to_string().as_bytes()).expect("JSON"));
        }

        #[test]
        fn what_is_taken_is_what_the_schemas_allow(
            kind in "(VM|PROCESS|COMPUTE_HOST|Fake)", hostname in "[a-z0-9.-]{0,3}[ ä_\n]?", time in "2026-1[12]-[0-3][0-9]",
            event in "(STARTED|STOPPED|stopped||LIFECYCLE)", name in "(process_name|host_status|vir_domain_event|instance_uuid)",
            value in "(nova|NORMAL|96ab1c42-668c-4f2d-8689-afa3301d4ee9|)", more in any::<bool>()
        ) {
            let mut payload = json!({"event": event, name: value});
            if more {
                payload["vir_domain_event"] = json!("STOPPED_FAILED");
            }
            let taken = read(&json!({"notification": {
                "type": kind, "hostname": hostname, "generated_time": time, "payload": payload,
            }}));
            if let Ok(told) = taken {
                prop_assert!(TYPES.contains(&told.kind.as_str()));
                prop_assert!(!told.hostname.is_empty());
                prop_assert!(told.hostname.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)));
                prop_assert_eq!(told.kind == "VM" || EVENTS.contains(&event.as_str()), true);
                prop_assert!(told.payload.values().all(|value| value.len() <= LONGEST));
                let keys: &[&str] = match told.kind.as_str() {
                    "VM" => &["instance_uuid", "vir_domain_event", "event"],
                    "PROCESS" => &["process_name", "event"],
                    _ => &["event", "host_status", "cluster_status"],
                };
                prop_assert!(told.payload.keys().all(|key| keys.contains(&key.as_str())));
            }
        }
    }
}
