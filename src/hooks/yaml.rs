//! YAML text → documents → trees.
//!
//! The parser can tell only the first fault of a document. So it fills a plain tree, and the raw forms are
//! read from the tree: what cannot be read is reported, taken out of the tree, and reading goes on.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::fault::Mark;
use super::tree::{Node, ReadError, Value};

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
    // A directive (`%YAML 1.2`) stands before the marker that begins its document; hooks need none.
    documents.retain(|document| {
        !document
            .text
            .lines()
            .all(|line| is_blank(line) || line.starts_with('%'))
    });
    documents
}

fn is_blank(line: &str) -> bool {
    let line = line.trim_start_matches('\u{feff}').trim();
    line.is_empty() || line.starts_with('#')
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
