//! YAML text → a tree that remembers where everything stands, and serde's view of that tree.
//!
//! The parser can tell only the first fault of a document. So it fills a plain tree, and the raw forms are
//! read from the tree: what cannot be read is reported, taken out of the tree, and reading goes on.

use std::fmt;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use serde_saphyr::Spanned;

use super::fault::{Mark, listed};
use crate::event::opennebula::vocabulary::nearest;

/// One document of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Document<'a> {
    /// Its text, without the marker that ends or begins it.
    pub(super) text: &'a str,
    /// The line of the file its text begins on, from 1.
    pub(super) line: usize,
}

/// The documents of a file that hold more than blanks and comments.
///
/// A line that begins with `---` or `...` can stand nowhere inside a document, so no parser is needed to find them,
/// and a fault in one document does not hide those of the next.
pub(super) fn documents(file: &str) -> Vec<Document<'_>> {
    let mut documents = Vec::new();
    let mut start = (0, 1);
    let mut offset = 0;
    for (index, line) in file.split_inclusive('\n').enumerate() {
        let number = index + 1;
        let after_marker = ["---", "..."].iter().find_map(|marker| {
            line.strip_prefix(marker)
                .filter(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
        });
        if let Some(rest) = after_marker {
            documents.push(Document {
                text: &file[start.0..offset],
                line: start.1,
            });
            start = if is_blank(rest) {
                (offset + line.len(), number + 1)
            } else {
                (offset, number)
            };
        }
        offset += line.len();
    }
    documents.push(Document {
        text: &file[start.0..],
        line: start.1,
    });
    documents.retain(|document| !document.text.lines().all(is_blank));
    documents
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim();
    line.is_empty() || line.starts_with('#')
}

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

/// Limits far above any hook and far below what would stall the daemon.
fn parser_options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: 64,
            max_nodes: 50_000,
            max_aliases: 1_000,
            max_documents: 1,
        },
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::AsString,
    }
}

/// Reads one document into a tree. Marks are lines of the file.
pub(super) fn parse(document: Document<'_>) -> Result<Node, ReadError> {
    match serde_saphyr::from_str_with_options::<Spanned<Parsed>>(document.text, parser_options()) {
        Ok(root) => Ok(place(root, document)),
        Err(error) => Err(syntax_error(&error, document)),
    }
}

fn syntax_error(error: &serde_saphyr::Error, document: Document<'_>) -> ReadError {
    let location = error.location();
    let rendered = error.to_string();
    let mut message = rendered.lines().next().unwrap_or_default().to_owned();
    if let Some(cut) = message.rfind(" at line ") {
        message.truncate(cut);
    }
    let mut error = if let Some(key) = message
        .strip_prefix("duplicate mapping key: ")
        .map(|rest| rest.split(", set ").next().unwrap_or(rest))
    {
        ReadError::new(format!("`{key}` is written twice")).with_hint("keep one of them")
    } else if message.starts_with("tabs disallowed") {
        ReadError::new("a tab cannot be used for indentation in YAML").with_hint("indent with blanks")
    } else if message.starts_with("mapping values are not allowed") {
        ReadError::new("a `:` cannot stand here")
            .with_hint("check the indentation, and put quotes around a text that holds `: `")
    } else if let Some(rest) = message.strip_prefix("unexpected character: ") {
        ReadError::new(format!(
            "unexpected character {}",
            rest.trim_matches(['`', '\'']).escape_default()
        ))
        .with_hint("put quotes around a text that begins with a special character")
    } else {
        ReadError::new(message)
    };
    error.mark = location.map(|location| mark_of(location, document));
    error
}

fn mark_of(location: serde_saphyr::Location, document: Document<'_>) -> Mark {
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Mark {
        line: number(location.line()).max(1).saturating_add(document.line - 1),
        column: number(location.column()).max(1),
        length: number(location.span().len()).max(1),
    }
}

fn place(parsed: Spanned<Parsed>, document: Document<'_>) -> Node {
    let mark = mark_of(parsed.referenced, document);
    let value = match parsed.value {
        Parsed::Nothing => Value::Nothing,
        Parsed::Bool(value) => Value::Bool(value),
        Parsed::Text(text) => Value::Text(text),
        Parsed::Number(text) => {
            let span = parsed.defined.span();
            let written = span
                .byte_offset()
                .zip(span.byte_len())
                .and_then(|(start, length)| {
                    let start = usize::try_from(start).ok()?;
                    let end = start.checked_add(usize::try_from(length).ok()?)?;
                    document.text.get(start..end)
                });
            Value::Number(written.map_or(text, |written| written.trim().to_owned()))
        }
        Parsed::List(items) => Value::List(items.into_iter().map(|item| place(item, document)).collect()),
        Parsed::Mapping(entries) => Value::Mapping(
            entries
                .into_iter()
                .map(|(key, value)| (place(key, document), place(value, document)))
                .collect(),
        ),
    };
    Node { mark, value }
}

enum Parsed {
    Nothing,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Spanned<Parsed>>),
    Mapping(Vec<(Spanned<Parsed>, Spanned<Parsed>)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParsedVisitor)
    }
}

struct ParsedVisitor;

impl<'de> Visitor<'de> for ParsedVisitor {
    type Value = Parsed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Nothing)
    }

    fn visit_none<E>(self) -> Result<Parsed, E> {
        Ok(Parsed::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Parsed, D::Error> {
        Parsed::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parsed, E> {
        Ok(Parsed::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parsed, E> {
        Ok(Parsed::Number(value.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
        Ok(Parsed::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Parsed, E> {
        Ok(Parsed::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Parsed, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Parsed::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Parsed, A::Error> {
        let mut mapping = Vec::new();
        while let Some(key) = entries.next_key()? {
            mapping.push((key, entries.next_value()?));
        }
        Ok(Parsed::Mapping(mapping))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_with_their_lines() {
        let file = "# all about it\n---\na: 1\n---\n\n# nothing\n---\nb: |\n  --- no marker\n...\nc: 1";
        let found: Vec<_> = documents(file).iter().map(|d| (d.line, d.text)).collect();
        assert_eq!(
            found,
            [(3, "a: 1\n"), (8, "b: |\n  --- no marker\n"), (11, "c: 1")]
        );
        assert_eq!(
            documents("--- {a: 1}\n"),
            [Document {
                text: "--- {a: 1}\n",
                line: 1
            }]
        );
        assert_eq!(documents("---\n---\n# x\n"), []);
        assert_eq!(documents("----\n")[0].text, "----\n");
    }

    #[test]
    fn numbers_stay_as_written() {
        let tree = parse(Document {
            text: "a: 0x10\nb: 1.50\n",
            line: 5,
        })
        .expect("a tree");
        let Value::Mapping(entries) = tree.value else {
            panic!("no mapping")
        };
        assert_eq!(entries[0].1.value, Value::Number("0x10".to_owned()));
        assert_eq!(entries[1].1.value, Value::Number("1.50".to_owned()));
        assert_eq!(
            entries[1].1.mark,
            Mark {
                line: 6,
                column: 4,
                length: 4
            }
        );
    }
}
