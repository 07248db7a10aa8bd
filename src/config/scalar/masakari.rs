//! The scalars of Masakari: names of hosts and segments, UUIDs.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Masakari takes no longer names.
const LONGEST_NAME: usize = 255;

/// The name of a host: letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MasakariHostName(pub String);

impl FromStr for MasakariHostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > LONGEST_NAME || !text.bytes().all(is_allowed) {
            return Err(format!(
                "`{text}` is no name of a host; allowed are letters, digits, `.`, `_` and `-`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of a failover segment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentName(pub String);

impl FromStr for SegmentName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = text.trim() == text && !text.chars().any(char::is_control);
        if text.is_empty() || text.chars().count() > LONGEST_NAME || !is_plain {
            return Err(format!(
                "`{text}` is no name of a segment; it has up to 255 characters that can be seen and no blank at its ends"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A UUID with its dashes, in small letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UuidText(pub String);

impl FromStr for UuidText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_digit = |(place, byte): (usize, u8)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        if text.len() != 36 || !text.bytes().enumerate().all(is_digit) {
            return Err(format!(
                "`{text}` is no UUID, such as 3d548a84-c96b-4b48-8e62-12bc72860022"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

read_from_text!(MasakariHostName, "MasakariHostName", {
    "type": "string",
    "pattern": r"^[A-Za-z0-9._-]{1,255}$"
});
read_from_text!(SegmentName, "SegmentName", {
    "type": "string",
    "minLength": 1,
    "maxLength": 255
});
read_from_text!(UuidText, "Uuid", {
    "type": "string",
    "pattern": r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$"
});
