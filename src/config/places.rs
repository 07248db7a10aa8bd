//! Where each setting of a YAML text stands: for faults that show only when several settings, or files they name, are looked at.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

/// The settings of a text with their places.
#[derive(Debug)]
pub struct Places(Spanned<Value>);

#[derive(Debug)]
enum Value {
    Mapping(Vec<(Spanned<String>, Spanned<Value>)>),
    List(Vec<Spanned<Value>>),
    Scalar(String),
}

/// One entry of a mapping, on the way through all of them in the order of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    /// Where its key stands.
    pub(super) key: Place,
    /// Where the mapping begins that it is part of.
    pub(super) mapping: Place,
    /// Whether that mapping has no other.
    pub(super) is_alone: bool,
}

impl Places {
    /// Reads one YAML document; none where it cannot be read at all.
    pub fn of(text: &str) -> Option<Self> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).ok().map(Self)
    }

    /// The names of the outermost settings.
    pub fn outermost(&self) -> impl Iterator<Item = &str> {
        let entries = match &self.0.value {
            Value::Mapping(entries) => entries.as_slice(),
            Value::List(_) | Value::Scalar(_) => &[],
        };
        entries.iter().map(|(key, _)| key.value.as_str())
    }

    /// The value of the setting that this path leads to, or of the last one on the way that stands in the text. Items of lists are
    /// named by their number from 0.
    pub fn find(&self, path: &[&str]) -> Place {
        let mut at = &self.0;
        for step in path {
            let next = match &at.value {
                Value::Mapping(entries) => entries
                    .iter()
                    .find(|(key, _)| key.value == *step)
                    .map(|(_, value)| value),
                Value::List(items) => step.parse().ok().and_then(|index: usize| items.get(index)),
                Value::Scalar(_) => None,
            };
            match next {
                Some(next) => at = next,
                None => break,
            }
        }
        place(at)
    }

    /// Every text that stands, alone or in a list, as a setting called `key` somewhere below the outermost setting `below`.
    pub fn texts(&self, below: &str, key: &str) -> Vec<(&str, Place)> {
        let mut found = Vec::new();
        if let Value::Mapping(entries) = &self.0.value {
            for (name, value) in entries {
                if name.value == below {
                    collect_texts(value, key, &mut found);
                }
            }
        }
        found
    }

    /// All entries of all mappings, in the order of the text.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let mut found = Vec::new();
        collect_entries(&self.0, &mut found);
        found.sort_by_key(|entry| entry.key);
        found
    }
}

fn place<T>(at: &Spanned<T>) -> Place {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Place {
        line: number(at.referenced.line()),
        column: number(at.referenced.column()),
    }
}

fn collect_texts<'a>(at: &'a Spanned<Value>, key: &str, found: &mut Vec<(&'a str, Place)>) {
    match &at.value {
        Value::Mapping(entries) => {
            for (name, value) in entries {
                match &value.value {
                    Value::Scalar(text) if name.value == key => found.push((text, place(value))),
                    Value::List(items) if name.value == key => {
                        found.extend(items.iter().filter_map(|item| match &item.value {
                            Value::Scalar(text) => Some((text.as_str(), place(item))),
                            Value::Mapping(_) | Value::List(_) => None,
                        }));
                    }
                    _ => collect_texts(value, key, found),
                }
            }
        }
        Value::List(items) => items.iter().for_each(|item| collect_texts(item, key, found)),
        Value::Scalar(_) => {}
    }
}

fn collect_entries(at: &Spanned<Value>, found: &mut Vec<Entry>) {
    match &at.value {
        Value::Mapping(entries) => {
            for (key, value) in entries {
                found.push(Entry {
                    key: place(key),
                    mapping: place(at),
                    is_alone: entries.len() == 1,
                });
                collect_entries(value, found);
            }
        }
        Value::List(items) => items.iter().for_each(|item| collect_entries(item, found)),
        Value::Scalar(_) => {}
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Mapping(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Scalar(text.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Scalar(String::new()))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Scalar(String::new()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Deserialize::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
control: { socket: /run/x }
sources:
  hooks:
    type: webhook
    endpoints:
      deploy: { token: { secrets: [{ env: A }, { file: b }] } }
trigger:
  - webhook: { name: [deploy, other] }
    source: hooks
  - { api: { call: x }, source: nowhere }
";

    #[test]
    fn settings_are_found_by_their_path_and_else_what_leads_there() {
        let places = Places::of(TEXT).expect("YAML");
        let found = |path: &[&str]| {
            let place = places.find(path);
            (place.line, place.column)
        };
        assert_eq!(found(&["control", "socket"]), (1, 20));
        assert_eq!(found(&["sources", "hooks", "type"]), (4, 11));
        let secrets = ["sources", "hooks", "endpoints", "deploy", "token", "secrets"];
        assert_eq!(found(&[&secrets[..], &["1", "file"]].concat()), (6, 56));
        assert_eq!(found(&["sources", "hooks", "listen"]), (4, 5));
        assert_eq!(
            places.outermost().collect::<Vec<_>>(),
            ["control", "sources", "trigger"]
        );
    }

    #[test]
    fn texts_are_found_by_the_name_of_their_setting() {
        let places = Places::of(TEXT).expect("YAML");
        let texts = |key| {
            let found = places.texts("trigger", key).into_iter();
            found.map(|(text, place)| (text, place.line)).collect::<Vec<_>>()
        };
        assert_eq!(texts("name"), [("deploy", 8), ("other", 8)]);
        assert_eq!(texts("source"), [("hooks", 9), ("nowhere", 10)]);
        assert_eq!(texts("file"), []);
    }

    #[test]
    fn what_is_no_yaml_has_no_places() {
        assert!(Places::of("a: [").is_none());
    }
}
