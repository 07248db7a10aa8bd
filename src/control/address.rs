//! Addresses with parameters, as they are asked for and as answers name them.

use serde::Serialize;

/// A path with parameters.
pub(super) fn address(path: &str, parameters: &impl Serialize) -> String {
    let Ok(serde_json::Value::Object(parameters)) = serde_json::to_value(parameters) else {
        return path.to_owned();
    };
    let mut address = path.to_owned();
    for (index, (name, value)) in parameters.into_iter().enumerate() {
        let value = match value {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        address.push(if index == 0 { '?' } else { '&' });
        address.push_str(&name);
        address.push('=');
        address.push_str(&encoded(&value));
    }
    address
}

/// Percent-encoded (RFC 3986): everything but unreserved characters.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut out, byte| {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    out.push(char::from(byte))
                }
                _ => {
                    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                    out.push('%');
                    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                    out.push(char::from(DIGITS[usize::from(byte & 15)]));
                }
            }
            out
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::EventFilter;

    #[test]
    fn addresses_are_encoded() {
        let filter = EventFilter {
            key: Some("EVENT VM 12/&?=ü".to_owned()),
            limit: Some(3),
            unmatched: true,
            ..EventFilter::default()
        };
        assert_eq!(
            address("/v1/events", &filter),
            "/v1/events?key=EVENT%20VM%2012%2F%26%3F%3D%C3%BC&limit=3&unmatched=true"
        );
        assert_eq!(address("/v1/events", &EventFilter::default()), "/v1/events");
        assert_eq!(encoded("oned/log"), "oned%2Flog");
    }
}
