//! What a real `oned` published and a real `onehem-server` answered, as recorded on a test machine.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use quick_xml::events::Event as Xml;
use serde_json::Value;

/// One recorded message.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The first frame, trailing blanks kept.
    pub(crate) key: String,
    /// The document, decoded from base64.
    pub(crate) content: Bytes,
}

/// A recorded event with what `onehem-server` passed to the hook.
#[derive(Debug, Clone)]
pub(crate) struct Passed {
    /// The event.
    pub(crate) event: Recorded,
    /// All its arguments, in one line or on its standard input.
    pub(crate) arguments: String,
    /// The XML that the hook's argument was the base64 of.
    pub(crate) argument_xml: String,
    /// What it told `oned`, decoded; it has no root element.
    pub(crate) reply: String,
    /// The whole message it sent: `"<rc> <hook id> <base64>"`.
    pub(crate) message: String,
}

/// The recorded messages, in the order they were published.
pub(crate) fn events() -> Vec<Recorded> {
    lines("opennebula.jsonl.gz").iter().map(recorded).collect()
}

/// The recorded events that a hook ran for.
pub(crate) fn passed() -> Vec<Passed> {
    lines("onehem-replies.jsonl.gz")
        .iter()
        .map(|line| Passed {
            event: recorded(line),
            arguments: text(line, "arguments").to_owned(),
            argument_xml: text(line, "argument_xml").to_owned(),
            reply: String::from_utf8(STANDARD.decode(text(line, "reply")).expect("base64")).expect("UTF-8"),
            message: format!("{} {} {}", line["rc"], line["hook_id"], text(line, "reply")),
        })
        .collect()
}

/// The document's events without what layout may change: blanks between elements, and how an empty element is written.
pub(crate) fn canonical(document: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(document).expect("UTF-8");
    let mut reader = quick_xml::Reader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut events = Vec::new();
    loop {
        match reader.read_event().expect("well-formed XML") {
            Xml::Eof => return events,
            Xml::Text(text) if text.trim().is_empty() => {}
            Xml::Start(start) => events.push(format!("<{}>", &*start)),
            Xml::End(end) => events.push(format!("</{}>", &*end)),
            Xml::CData(data) => events.push(format!("<![CDATA[{}]]>", &*data)),
            event => events.push((*event).to_owned()),
        }
    }
}

fn recorded(line: &Value) -> Recorded {
    let content: String = text(line, "content").split_ascii_whitespace().collect();
    Recorded {
        key: text(line, "key").to_owned(),
        content: STANDARD.decode(content).expect("base64").into(),
    }
}

fn text<'a>(line: &'a Value, field: &str) -> &'a str {
    line[field].as_str().expect("a text")
}

fn lines(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    let file = std::fs::File::open(&path).expect("recorded data");
    let mut all = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut all)
        .expect("gzip");
    all.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect()
}
