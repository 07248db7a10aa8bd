//! A YAML document as a tree that remembers where everything stands, and serde's view of it.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use super::fault::{Mark, listed};
use crate::event::opennebula::vocabulary::nearest;

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) mark: Mark,
    pub(super) value: Value,
}

/// What a document is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Nothing,
    Bool(bool),
    /// A number, as written: `0x10` and `1.50` stay so where text is asked for.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Mapping(Vec<(Node, Node)>),
}

/// A fault found while reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ReadError {
    pub(super) mark: Option<Mark>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl ReadError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            mark: None,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    fn or_at(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

/// Divides the message from the hint in errors made by visitors, which can hand over one text only.
pub(super) const HINT: &str = "\u{1f}";

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let text = message.to_string();
        match text.split_once(HINT) {
            Some((message, hint)) => Self::new(message).with_hint(hint),
            None => Self::new(text),
        }
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let found = match found {
            de::Unexpected::Bool(value) => format!("`{value}`"),
            de::Unexpected::Unit => "nothing".to_owned(),
            de::Unexpected::Str(text) => format!("the text `{text}`"),
            de::Unexpected::Seq => "a list".to_owned(),
            de::Unexpected::Map => "a mapping".to_owned(),
            de::Unexpected::Unsigned(number) => format!("the number `{number}`"),
            de::Unexpected::Other(number) => format!("`{number}`"),
            other => other.to_string(),
        };
        Self::custom(format_args!("expected {}, found {found}", in_words(expected)))
    }

    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            de::Unexpected::Unsigned(number) => Self::new(format!(
                "`{number}` is too large here, expected {}",
                in_words(expected)
            )),
            found => Self::invalid_type(found, expected),
        }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!("unknown field `{field}`"));
        match nearest(field, expected.iter().copied()) {
            Some(name) => error.with_hint(format!("did you mean `{name}`?")),
            None => error.with_hint(format!("known here: {}", listed(expected.iter().copied()))),
        }
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let error = Self::new(format!("`{variant}` is not one of the values allowed here"));
        match nearest(variant, expected.iter().copied()) {
            Some(name) => error.with_hint(format!("did you mean `{name}`?")),
            None => error.with_hint(format!("allowed: {}", listed(expected.iter().copied()))),
        }
    }
}

/// What serde expects, in the author's words.
fn in_words(expected: &dyn de::Expected) -> String {
    let expected = expected.to_string();
    match expected.as_str() {
        "u32" | "u64" => "a whole number".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "a string" => "a text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        text if text.starts_with("struct ") => "a mapping".to_owned(),
        _ => expected,
    }
}

impl Node {
    /// Takes the entry or item at that place out of the tree; whether there was one.
    pub(super) fn remove(&mut self, mark: Mark) -> bool {
        match &mut self.value {
            Value::List(items) => {
                let before = items.len();
                items.retain(|item| item.mark != mark || !item.is_leaf_or_own(mark));
                items.len() != before || items.iter_mut().any(|item| item.remove(mark))
            }
            Value::Mapping(entries) => {
                if let Some(index) = entries.iter().position(|(key, value)| {
                    key.mark == mark || (value.mark == mark && value.is_leaf_or_own(mark))
                }) {
                    entries.remove(index);
                    return true;
                }
                entries.iter_mut().any(|(_, value)| value.remove(mark))
            }
            _ => false,
        }
    }

    /// A block mapping begins where its first key does: a fault at that place is the key's.
    fn is_leaf_or_own(&self, mark: Mark) -> bool {
        match &self.value {
            Value::Mapping(entries) => entries.first().is_none_or(|(key, _)| key.mark != mark),
            Value::List(items) => items.first().is_none_or(|item| item.mark != mark),
            _ => true,
        }
    }

    fn unexpected(&self) -> de::Unexpected<'_> {
        match &self.value {
            Value::Nothing => de::Unexpected::Unit,
            Value::Bool(value) => de::Unexpected::Bool(*value),
            Value::Number(text) => de::Unexpected::Other(text),
            Value::Text(text) => de::Unexpected::Str(text),
            Value::List(_) => de::Unexpected::Seq,
            Value::Mapping(_) => de::Unexpected::Map,
        }
    }

    fn refuse<T>(&self, expected: &dyn de::Expected) -> Result<T, ReadError> {
        Err(de::Error::invalid_type(self.unexpected(), expected)).map_err(|e: ReadError| e.or_at(self.mark))
    }
}

/// A value of a raw form and its place in the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) mark: Mark,
}

/// The name by which [`At`] asks a [`Node`] for its place.
const AT: &str = "hem::At";

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AtVisitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for AtVisitor<T> {
            type Value = At<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<At<T>, A::Error> {
                let missing = || de::Error::custom("a value without a place");
                let line = parts.next_element()?.ok_or_else(missing)?;
                let column = parts.next_element()?.ok_or_else(missing)?;
                let length = parts.next_element()?.ok_or_else(missing)?;
                let value = parts.next_element()?.ok_or_else(missing)?;
                let mark = Mark { line, column, length };
                Ok(At { value, mark })
            }
        }
        deserializer.deserialize_newtype_struct(AT, AtVisitor(std::marker::PhantomData))
    }
}

struct PlaceAndValue<'de> {
    node: &'de Node,
    next: usize,
}

impl<'de> SeqAccess<'de> for PlaceAndValue<'de> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        let mark = self.node.mark;
        self.next += 1;
        match self.next {
            1 => seed.deserialize(mark.line.into_deserializer()).map(Some),
            2 => seed.deserialize(mark.column.into_deserializer()).map(Some),
            3 => seed.deserialize(mark.length.into_deserializer()).map(Some),
            4 => seed.deserialize(self.node).map(Some),
            _ => Ok(None),
        }
    }
}

struct Items<'de>(std::slice::Iter<'de, Node>);

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        self.0.next().map(|item| seed.deserialize(item)).transpose()
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, (Node, Node)>,
    current: Option<&'de (Node, Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, ReadError> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let text = match &key.value {
            Value::Text(text) => text,
            Value::Bool(true) => {
                return Err(ReadError::new("the key `true` is no attribute")
                    .with_hint("a YAML 1.1 tool turned `on` into `true`; write `\"on\":`")
                    .or_at(key.mark));
            }
            Value::Bool(false) => {
                return Err(ReadError::new("the key `false` is no attribute")
                    .with_hint("a YAML 1.1 tool turned `off` or `no` into `false`; put quotes around it")
                    .or_at(key.mark));
            }
            _ => return key.refuse(&"a name followed by `:`"),
        };
        seed.deserialize(BorrowedStrDeserializer::new(text))
            .map(Some)
            .map_err(|error: ReadError| error.or_at(key.mark))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some((key, value)) = self.current else {
            return Err(ReadError::new("a key without a value"));
        };
        if value.value == Value::Nothing {
            let name = match &key.value {
                Value::Text(text) => text.as_str(),
                _ => "the key",
            };
            return Err(ReadError::new(format!("`{name}` has no value"))
                .with_hint("write a value after the `:`, or take the line out")
                .or_at(key.mark));
        }
        seed.deserialize(value)
            .map_err(|error: ReadError| error.or_at(value.mark))
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let read = match &self.value {
            Value::Nothing => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(text) => match text.parse::<u64>() {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => return self.refuse(&visitor),
            },
            Value::Text(text) => visitor.visit_borrowed_str(text),
            Value::List(items) => visitor.visit_seq(Items(items.iter())),
            Value::Mapping(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
            }),
        };
        read.map_err(|error: ReadError| error.or_at(self.mark))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let read = match name {
            AT => visitor.visit_seq(PlaceAndValue { node: self, next: 0 }),
            AS_WRITTEN => match &self.value {
                Value::Number(text) => visitor.visit_borrowed_str(text),
                _ => self.deserialize_any(visitor),
            },
            _ => visitor.visit_newtype_struct(self),
        };
        read.map_err(|error: ReadError| error.or_at(self.mark))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let read = match &self.value {
            Value::Text(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text)),
            Value::Mapping(entries) => visitor.visit_enum(MapAccessDeserializer::new(Entries {
                entries: entries.iter(),
                current: None,
            })),
            _ => return self.refuse(&"one of the words allowed here"),
        };
        read.map_err(|error: ReadError| error.or_at(self.mark))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map struct identifier
    }
}

/// The name by which a text asks a [`Node`] for numbers as they are written.
pub(super) const AS_WRITTEN: &str = "hem::AsWritten";
