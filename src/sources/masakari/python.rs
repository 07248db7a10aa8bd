//! JSON in the order in which it was sent, and as Python prints it: the API quotes what it refuses in Python's own form.

use std::fmt::{self, Display, Write as _};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

/// A value of JSON. What stands in an object keeps its order; of a key that occurs twice the last value counts, in the first place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a document. Python takes a few things besides, such as `NaN`; nobody sends them.
    pub(super) fn parse(document: &[u8]) -> Option<Self> {
        serde_json::from_slice(document).ok()
    }

    /// What stands in an object under this key.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => fields
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// As Python's `repr` prints it.
    pub(super) fn repr(&self) -> String {
        let mut printed = String::new();
        // Writing to a string cannot fail.
        let _ = self.print(&mut printed);
        printed
    }

    /// As Python's `str` prints it: texts without quotes.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            other => other.repr(),
        }
    }

    fn print(&self, out: &mut String) -> fmt::Result {
        match self {
            Self::Null => out.write_str("None"),
            Self::Bool(true) => out.write_str("True"),
            Self::Bool(false) => out.write_str("False"),
            Self::Number(number) => match number.as_f64() {
                Some(float) if number.is_f64() => out.write_str(&float_repr(float)),
                _ => write!(out, "{number}"),
            },
            Self::Text(text) => out.write_str(&text_repr(text)),
            Self::List(items) => {
                out.write_char('[')?;
                for (place, item) in items.iter().enumerate() {
                    out.write_str(if place == 0 { "" } else { ", " })?;
                    item.print(out)?;
                }
                out.write_char(']')
            }
            Self::Object(fields) => {
                out.write_char('{')?;
                for (place, (name, value)) in fields.iter().enumerate() {
                    out.write_str(if place == 0 { "" } else { ", " })?;
                    out.write_str(&text_repr(name))?;
                    out.write_str(": ")?;
                    value.print(out)?;
                }
                out.write_char('}')
            }
        }
    }
}

/// A text in quotes, as Python prints it.
pub(super) fn text_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut printed = String::with_capacity(text.len() + 2);
    printed.push(quote);
    for char in text.chars() {
        let code = u32::from(char);
        // Writing to a string cannot fail.
        let _ = match char {
            '\\' => printed.write_str("\\\\"),
            '\n' => printed.write_str("\\n"),
            '\r' => printed.write_str("\\r"),
            '\t' => printed.write_str("\\t"),
            char if char == quote => write!(printed, "\\{char}"),
            char if is_printable(char) => printed.write_char(char),
            _ if code < 0x100 => write!(printed, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(printed, "\\u{code:04x}"),
            _ => write!(printed, "\\U{code:08x}"),
        };
    }
    printed.push(quote);
    printed
}

fn is_printable(char: char) -> bool {
    if char.is_ascii() {
        return !char.is_ascii_control();
    }
    // A mark that belongs to the character before it is one that can be seen.
    let pair: String = ['a', char].into_iter().collect();
    !char.is_whitespace() && pair.escape_debug().nth(1) == Some(char)
}

/// The fewest digits that mean the same number; an exponent from 1e16 on and below 1e-4.
fn float_repr(float: f64) -> String {
    let scientific = format!("{float:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return scientific;
    };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..16).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
        }
        _ => format!("{float:?}"),
    }
}

/// Names in a row, as Python prints a tuple of texts.
pub(super) fn tuple(names: &[&str]) -> impl Display + use<> {
    let names: Vec<String> = names.iter().map(|name| text_repr(name)).collect();
    format!("({})", names.join(", "))
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonVisitor;
        impl<'de> Visitor<'de> for JsonVisitor {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Bool(value))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Number(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
            }

            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Json::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
                let mut fields: Vec<(String, Json)> = Vec::new();
                let mut places = std::collections::HashMap::new();
                while let Some((name, value)) = entries.next_entry::<String, Json>()? {
                    match places.get(&name) {
                        Some(&place) => {
                            let (_, known): &mut (String, Json) = &mut fields[place];
                            *known = value;
                        }
                        None => {
                            places.insert(name.clone(), fields.len());
                            fields.push((name, value));
                        }
                    }
                }
                Ok(Json::Object(fields))
            }
        }
        deserializer.deserialize_any(JsonVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_printed_as_python_does() {
        for (json, repr) in [
            (
                r#"{"z": null, "a": [true, false, 1, -2, "x"], "z2": {}}"#,
                "{'z': None, 'a': [True, False, 1, -2, 'x'], 'z2': {}}",
            ),
            (r#"{"a": 1, "b": 2, "a": 3}"#, "{'a': 3, 'b': 2}"),
            (r#""it's""#, r#""it's""#),
            (r#""it's \"so\"""#, r#"'it\'s "so"'"#),
            (r#""a\\b\n\t\r\u0000\u007f""#, r"'a\\b\n\t\r\x00\x7f'"),
            (r#""ä\u00a0\u200b\u0301😀""#, "'ä\\xa0\\u200b\u{301}😀'"),
            ("1.0", "1.0"),
            ("1e16", "1e+16"),
            ("0.00001", "1e-05"),
            ("1.5e300", "1.5e+300"),
            ("123456789.125", "123456789.125"),
            ("0.0001", "0.0001"),
        ] {
            let value = Json::parse(json.as_bytes()).expect(json);
            assert_eq!(value.repr(), repr, "{json}");
        }
        assert_eq!(Json::Text("x".to_owned()).plain(), "x");
        assert_eq!(tuple(&["A", "B"]).to_string(), "('A', 'B')");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(json) = Json::parse(&bytes) {
                let _ = json.repr();
            }
        }

        #[test]
        fn a_text_in_quotes_holds_no_control_character(text in "\\PC{0,5}[\\x00-\\x1f]{0,3}\\PC{0,5}") {
            let printed = text_repr(&text);
            prop_assert!(!printed.chars().any(char::is_control), "{}", printed);
        }
    }
}
