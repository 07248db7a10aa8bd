//! Events saved to files: what `hem match`, `hem try`, `hem publish` and the authors' tests read.
//!
//! Four forms, told apart by the file's name and content:
//!
//! * `.xml`: the document, with the message's key as a first line of its own or without; or a notification of ESC ([`esc`]);
//! * `.b64`: the same document in base64, as it travels, with the key as a first line or without;
//! * `.json`: an event of hem's own: the JSON object that is its payload ([`own`]); a request over HTTP ([`webhook`]); a callback of ESC
//!   ([`esc`]); a notification of Masakari ([`masakari`]); or a record of NCMP, or its value alone ([`ncmp`]);
//! * `.jsonl`: one event a line, `{"key": "EVENT API one.vm.allocate 1", "content": "<base64>"}` or any of those that a `.json` file may
//!   hold; `events.jsonl#17` names line 17.
//!
//! Each of them may be compressed with gzip: `events.jsonl.gz`.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::event::id::Seq;
use crate::event::opennebula::{self, key::Key};
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts, Subject, esc, masakari, ncmp, own, webhook};

/// The name that events have whose source is not known.
pub const SOURCE: &str = "opennebula";

/// The recorded corpora are some megabytes; what is larger was not meant.
const LARGEST_FILE: u64 = 256 << 20;

/// A saved event that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SavedEventError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is too large to be a saved event.
    #[error("{} is larger than 256 MiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// There is no such line.
    #[error("{} has no line {line}", path.display())]
    NoSuchLine {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// The file has several events and none was chosen.
    #[error("{} holds several events; choose one: `{}#1`", path.display(), path.display())]
    WhichLine {
        /// The file.
        path: PathBuf,
    },
    /// A line is no JSON object, or one with a `content` that is none.
    #[error("line {line} of {} is no saved event", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The content is no base64.
    #[error("the content in {} is no base64", path.display())]
    Base64 {
        /// The file.
        path: PathBuf,
        /// Why.
        source: base64::DecodeError,
    },
}

/// A message as it was saved: the key (empty where the file has none) and the decoded document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedMessage {
    /// The key, exactly as saved.
    pub key: String,
    /// The document.
    pub document: Bytes,
}

/// Divides what an operator names, `events.jsonl#17`, into the file and the line. A file that has such a name is itself.
pub fn locate(name: &Path) -> (PathBuf, Option<usize>) {
    let split = name.to_str().and_then(|text| text.rsplit_once('#'));
    match split {
        Some((file, line)) if !name.exists() => match line.parse() {
            Ok(line) => (PathBuf::from(file), Some(line)),
            Err(_) => (name.to_owned(), None),
        },
        _ => (name.to_owned(), None),
    }
}

/// Reads one saved event. `line` chooses among the events of a `.jsonl` file, from 1.
///
/// # Errors
/// The file cannot be read, or has no such event. A document that cannot be read is an event of kind
/// [`Undecodable`](crate::event::Kind::Undecodable), as it is when it comes over the wire.
pub fn read(path: &Path, line: Option<usize>) -> Result<Event, SavedEventError> {
    let messages = messages(path, line)?;
    match <[SavedMessage; 1]>::try_from(messages) {
        Ok([message]) => Ok(event(message)),
        Err(messages) if messages.is_empty() => Err(SavedEventError::NoSuchLine {
            path: path.to_owned(),
            line: line.unwrap_or(1),
        }),
        Err(_) => Err(SavedEventError::WhichLine {
            path: path.to_owned(),
        }),
    }
}

/// Reads all messages of a file, or the one of that line.
///
/// # Errors
/// As [`read`], but a file with several events is fine.
pub fn messages(path: &Path, line: Option<usize>) -> Result<Vec<SavedMessage>, SavedEventError> {
    let content = content(path)?;
    let format = format(path);
    if format.as_deref() == Some("jsonl") {
        return json_lines(path, &content, line);
    }
    if let Some(line) = line.filter(|line| *line != 1) {
        return Err(SavedEventError::NoSuchLine {
            path: path.to_owned(),
            line,
        });
    }
    let (key, document) = divide(&content);
    let document = if format.as_deref() == Some("b64") {
        decode(path, document)?
    } else {
        document.to_vec()
    };
    Ok(vec![SavedMessage {
        key,
        document: document.into(),
    }])
}

/// The event a saved message is.
pub fn event(message: SavedMessage) -> Event {
    if let Some(event) = of_a_form_of_its_own(&message.document) {
        return event;
    }
    if own::is_own(&message.document) {
        return own::read(&message.document);
    }
    let reading = opennebula::read(&message.key, &message.document);
    let key = if message.key.is_empty() {
        key_of(&reading.facts, reading.subject.as_deref())
    } else {
        message.key
    };
    Event {
        seq: Seq::default(),
        source: Arc::from(SOURCE),
        key,
        subject: reading.subject.as_deref().map(Subject::new),
        received: Timestamp::now(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(message.document),
    }
}

/// What a document shows by itself that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SavedAs {
    Webhook,
    Esc,
    Ncmp,
    Masakari,
    /// An event of hem's own.
    Own,
    /// What the others are not: a message of OpenNebula.
    Message,
}

impl SavedAs {
    pub(super) fn of(document: &[u8]) -> Self {
        if webhook::is_saved(document) {
            Self::Webhook
        } else if esc::is_saved(document) {
            Self::Esc
        } else if ncmp::is_saved(document) {
            Self::Ncmp
        } else if masakari::is_saved(document) {
            Self::Masakari
        } else if own::is_own(document) {
            Self::Own
        } else {
            Self::Message
        }
    }
}

/// The event of a document that shows by itself which system it is of; none where it is one of OpenNebula or of hem's own.
pub fn of_a_form_of_its_own(document: &[u8]) -> Option<Event> {
    match SavedAs::of(document) {
        SavedAs::Webhook => Some(webhook::from_saved(document)),
        SavedAs::Esc => Some(esc::from_saved(document)),
        SavedAs::Ncmp => Some(ncmp::from_saved(document)),
        SavedAs::Masakari => Some(masakari::from_saved(document)),
        SavedAs::Own | SavedAs::Message => None,
    }
}

/// The event of a document that shows which system it is of and cannot be read.
pub(super) fn unreadable(source: &str, reason: &str, document: &[u8]) -> Event {
    Event {
        seq: Seq::default(),
        source: Arc::from(source),
        key: String::new(),
        subject: None,
        received: Timestamp::now(),
        facts: Facts::Undecodable {
            reason: reason.to_owned(),
        },
        ambiguous: false,
        synthesised: true,
        payload: Payload::new(document.to_vec().into()),
    }
}

/// What is wrong with a document that says more than once what was sent, or nowhere.
pub(super) const ONE_OF_THREE: &str = "it needs one of `body`, `text` and `base64`";

/// What was sent: `body`, a JSON value, or `text`, exactly as it was, or `base64`; none where none of them is there.
pub(super) fn carried(
    body: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<Vec<u8>>, String> {
    match (body, text, base64) {
        (Some(body), None, None) => Ok(Some(body.to_string().into_bytes())),
        (None, Some(text), None) => Ok(Some(text.into_bytes())),
        (None, None, Some(base64)) => from_base64(&base64).map(Some),
        (None, None, None) => Ok(None),
        _ => Err(ONE_OF_THREE.to_owned()),
    }
}

pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD
        .decode(text)
        .map_err(|error| format!("`base64` is none: {error}"))
}

/// The key under which the driver (`one_hm.rb`) would have published it.
fn key_of(facts: &Facts, subject: Option<&str>) -> String {
    match facts {
        Facts::State(state) => {
            let id = state
                .id
                .as_deref()
                .or_else(|| {
                    subject
                        .and_then(|subject| subject.rsplit_once('/'))
                        .map(|(_, id)| id)
                })
                .unwrap_or_default();
            format!(
                "EVENT STATE {}/{}/{}/{id} ",
                state.resource.key_name(),
                state.state,
                state.lcm_state.as_deref().unwrap_or_default()
            )
        }
        Facts::Api(call) => format!("EVENT API {} {}", call.call, u8::from(call.success)),
        Facts::Retry(_) => "RETRY".to_owned(),
        Facts::Undecodable { .. }
        | Facts::Gap(_)
        | Facts::Own(_)
        | Facts::Webhook(_)
        | Facts::Esc(_)
        | Facts::Masakari(_)
        | Facts::Ncmp(_) => String::new(),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, SavedEventError> {
    let failed = |source| SavedEventError::Read {
        path: path.to_owned(),
        source,
    };
    let mut content = Vec::new();
    let file = File::open(path).map_err(failed)?;
    let read = if is_compressed(path) {
        GzDecoder::new(file)
            .take(LARGEST_FILE + 1)
            .read_to_end(&mut content)
    } else {
        file.take(LARGEST_FILE + 1).read_to_end(&mut content)
    };
    read.map_err(failed)?;
    if content.len() as u64 > LARGEST_FILE {
        return Err(SavedEventError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

/// The extension that says what is in the file: of `events.jsonl.gz` the inner one.
fn format(path: &Path) -> Option<String> {
    let named = if is_compressed(path) {
        Path::new(path.file_stem()?)
    } else {
        path
    };
    named.extension()?.to_str().map(str::to_owned)
}

/// The key's line and the rest, where the file begins with a key.
fn divide(content: &[u8]) -> (String, &[u8]) {
    let end = content.iter().position(|b| *b == b'\n').unwrap_or(content.len());
    match std::str::from_utf8(&content[..end]) {
        Ok(first) if !matches!(Key::parse(first.trim_end_matches('\r')), Key::Unknown) => (
            first.trim_end_matches('\r').to_owned(),
            content.get(end + 1..).unwrap_or_default(),
        ),
        _ => (String::new(), content),
    }
}

fn decode(path: &Path, text: &[u8]) -> Result<Vec<u8>, SavedEventError> {
    let text: Vec<u8> = text
        .iter()
        .copied()
        .filter(|b| !b.is_ascii_whitespace())
        .collect();
    STANDARD.decode(text).map_err(|source| SavedEventError::Base64 {
        path: path.to_owned(),
        source,
    })
}

fn json_lines(
    path: &Path,
    content: &[u8],
    wanted: Option<usize>,
) -> Result<Vec<SavedMessage>, SavedEventError> {
    #[derive(Deserialize)]
    struct Line {
        key: String,
        content: String,
    }
    let mut messages = Vec::new();
    for (index, text) in content.split(|b| *b == b'\n').enumerate() {
        let line = index + 1;
        if text.trim_ascii().is_empty() || wanted.is_some_and(|wanted| wanted != line) {
            continue;
        }
        let message = match serde_json::from_slice(text) {
            Ok(Line { key, content }) => SavedMessage {
                key,
                document: decode(path, content.as_bytes())?.into(),
            },
            // What is no message is an event that is JSON by itself.
            Err(_) if is_object_without_content(text) => SavedMessage {
                key: String::new(),
                document: text.to_vec().into(),
            },
            Err(source) => {
                return Err(SavedEventError::Json {
                    path: path.to_owned(),
                    line,
                    source,
                });
            }
        };
        messages.push(message);
    }
    match wanted {
        Some(line) if messages.is_empty() => Err(SavedEventError::NoSuchLine {
            path: path.to_owned(),
            line,
        }),
        _ => Ok(messages),
    }
}

fn is_object_without_content(text: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Object {
        content: Option<IgnoredAny>,
    }
    text.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<Object>(text).is_ok_and(|object| object.content.is_none())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const DOCUMENT: &str = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
        <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><REMOTE_HOST>h1</REMOTE_HOST><VM><ID>12</ID></VM>\
        </HOOK_MESSAGE>";
    const KEY: &str = "EVENT STATE VM/ACTIVE/RUNNING/12 ";

    fn saved(name: &str, content: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file");
        (folder, path)
    }

    #[test]
    fn every_form_reads_as_the_same_event() {
        let content = STANDARD.encode(DOCUMENT);
        let line = serde_json::json!({ "key": KEY, "content": content }).to_string();
        for (name, content, line) in [
            ("a.xml", DOCUMENT.to_owned(), None),
            ("a.xml", format!("{KEY}\n{DOCUMENT}\n"), None),
            ("a.b64", content.clone(), None),
            (
                "a.b64",
                format!("{KEY}\n{}\n{}\n", &content[..40], &content[40..]),
                None,
            ),
            ("a.jsonl", format!("{line}\n"), None),
            ("a.jsonl", format!("{line}\n\nnot json\n{line}\n"), Some(4)),
        ] {
            let (_folder, path) = saved(name, &content);
            let event = read(&path, line).expect("an event");
            assert_eq!(event.key, KEY, "{content}");
            assert_eq!(event.subject, Some(Subject::new("vm/12")), "{content}");
            assert!(matches!(event.facts, Facts::State(_)), "{content}");
        }
    }

    #[test]
    fn a_line_may_hold_an_event_of_any_system() {
        let lines = [
            serde_json::json!({ "key": "", "content": STANDARD.encode("<notification><eventTime>2026-06-23T18:15:04Z</eventTime>\
                <escEvent><event><type>VM_ALIVE</type></event></escEvent></notification>") }),
            serde_json::json!({ "kind": "ncmp", "key": "h1", "headers": { "ce_type": "x.AvcEvent" }, "body": {} }),
            serde_json::json!({ "kind": "webhook", "endpoint": "deploy", "body": { "content": "x" } }),
            serde_json::json!({ "notification": { "type": "VM", "generated_time": "", "payload": {} } }),
        ];
        let content: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let (_folder, path) = saved("a.jsonl", &content);
        let keys = (1..=4).map(|line| read(&path, Some(line)).expect("an event").key);
        assert_eq!(
            keys.collect::<Vec<_>>(),
            ["ESC VM_ALIVE", "NCMP AvcEvent", "WEBHOOK deploy", "MASAKARI VM"]
        );
        let (_folder, path) = saved("b.jsonl", r#"{"content": 1}"#);
        assert!(matches!(
            read(&path, None),
            Err(SavedEventError::Json { line: 1, .. })
        ));
    }

    #[test]
    fn a_wrong_choice_is_said() {
        let line = serde_json::json!({ "key": KEY, "content": STANDARD.encode(DOCUMENT) });
        let (_folder, path) = saved("a.jsonl", &format!("{line}\n{line}\nx\n"));
        assert!(matches!(
            read(&path, Some(9)),
            Err(SavedEventError::NoSuchLine { line: 9, .. })
        ));
        assert!(matches!(
            read(&path, Some(3)),
            Err(SavedEventError::Json { line: 3, .. })
        ));
        let (_folder, path) = saved("b.jsonl", &format!("{line}\n{line}\n"));
        assert!(matches!(
            read(&path, None),
            Err(SavedEventError::WhichLine { .. })
        ));
        let (_folder, path) = saved("a.b64", "%%%");
        assert!(matches!(read(&path, None), Err(SavedEventError::Base64 { .. })));
        assert!(matches!(
            read(Path::new("/nowhere.xml"), None),
            Err(SavedEventError::Read { .. })
        ));
    }

    #[test]
    fn lines_are_named_behind_the_file() {
        assert_eq!(
            locate(Path::new("e.jsonl#17")),
            (PathBuf::from("e.jsonl"), Some(17))
        );
        assert_eq!(locate(Path::new("e#x.xml")), (PathBuf::from("e#x.xml"), None));
        let (_folder, path) = saved("a#1", "x");
        assert_eq!(locate(&path), (path.clone(), None));
    }

    proptest::proptest! {
        #[test]
        fn no_content_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200), key in ".{0,30}") {
            let folder = tempfile::tempdir().expect("a folder");
            for name in ["a.xml", "a.b64", "a.jsonl"] {
                let path = folder.path().join(name);
                fs::write(&path, &bytes).expect("a file");
                let _ = read(&path, None);
            }
            let _ = event(SavedMessage { key, document: bytes.into() });
        }
    }
}
