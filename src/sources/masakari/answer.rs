//! Answers in the words of Masakari's API, faults included.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::ser::SerializeMap as _;

use crate::listener::Response;

/// A sender that is told to come again shall wait so many seconds.
const COME_AGAIN: &str = "10";

/// Success, as JSON.
pub(super) fn json(status: u16, body: &impl Serialize) -> Response {
    Response {
        status,
        headers: Vec::new(),
        content_type: "application/json",
        body: written(body),
    }
}

/// Success, as JSON under one name.
pub(super) fn named(status: u16, name: &'static str, body: &impl Serialize) -> Response {
    json(status, &Named { name, body })
}

/// A fault: the code, and why in words.
pub(super) fn fault(status: u16, message: &str) -> Response {
    #[derive(Serialize)]
    struct Fault<'a> {
        code: u16,
        message: &'a str,
    }
    let name = match status {
        400 => "badRequest",
        401 => "unauthorized",
        403 => "forbidden",
        404 => "itemNotFound",
        405 => "badMethod",
        409 => "conflictingRequest",
        413 | 429 => "overLimit",
        415 => "badMediaType",
        501 => "notImplemented",
        503 => "serviceUnavailable",
        _ => "masakariFault",
    };
    let code = status;
    Response {
        content_type: "application/json; charset=UTF-8",
        ..named(status, name, &Fault { code, message })
    }
}

/// It cannot be accepted now; monitors try again for some minutes.
pub(super) fn not_now(why: &str) -> Response {
    fault(503, &format!("Nothing is accepted at present: {why}")).with("retry-after", COME_AGAIN)
}

/// A page in HTML, as the framework under the API answers where no controller does.
pub(super) fn page(status: u16, title: &str, explanation: &str, detail: &str) -> Response {
    let page = format!(
        "<html>\n <head>\n  <title>{status} {title}</title>\n </head>\n <body>\n  <h1>{status} {title}</h1>\n  \
         {explanation}<br /><br />\n{detail}\n\n\n </body>\n</html>"
    );
    Response {
        status,
        headers: Vec::new(),
        content_type: "text/html; charset=UTF-8",
        body: Bytes::from(page),
    }
}

/// Nothing is at this path.
pub(super) fn nothing_here() -> Response {
    page(404, "Not Found", "The resource could not be found.", "")
}

/// Plain text.
pub(super) fn text(body: &'static str) -> Response {
    Response {
        status: 200,
        headers: Vec::new(),
        content_type: "text/plain; charset=UTF-8",
        body: Bytes::from_static(body.as_bytes()),
    }
}

struct Named<'a, T> {
    name: &'static str,
    body: &'a T,
}

impl<T: Serialize> Serialize for Named<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.name, self.body)?;
        map.end()
    }
}

/// As Python writes JSON: a blank behind commas and colons, and nothing but ASCII.
struct AsPython;

impl serde_json::ser::Formatter for AsPython {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        writer.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, text: &str) -> io::Result<()> {
        for char in text.chars() {
            if char.is_ascii() {
                write!(writer, "{char}")?;
                continue;
            }
            for unit in char.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

fn written(body: &impl Serialize) -> Bytes {
    let mut json = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut json, AsPython);
    match body.serialize(&mut serializer) {
        Ok(()) => json.into(),
        // What is answered has no maps with keys that are no texts, and a vector takes all that is written.
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "an answer cannot be written"
            );
            Bytes::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_is_written_as_python_writes_it() {
        let answer = json(200, &json!({"a": [1, 2.5, {}], "b": "ä\n😀", "c": null}));
        assert_eq!(
            answer.body,
            br#"{"a": [1, 2.5, {}], "b": "\u00e4\n\ud83d\ude00", "c": null}"#.as_slice()
        );
        let fault = fault(409, "no");
        assert_eq!(
            fault.body,
            br#"{"conflictingRequest": {"code": 409, "message": "no"}}"#.as_slice()
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_what_it_was(text in "\\PC{0,20}[\\x00-\\x7f]{0,5}") {
            let read: Value = serde_json::from_slice(&json(200, &text).body).expect("JSON");
            prop_assert_eq!(read, Value::String(text));
        }
    }
}
