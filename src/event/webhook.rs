//! Requests over HTTP as events: what is known of one, how its body is read, and the form in which one is saved to a file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::Seq;
use super::payload::{self, Payload};
use super::saved::{ONE_OF_THREE, carried, unreadable};
use super::sending::{NotSendable, Request};
use super::time::Timestamp;
use super::{Event, Facts, Subject, document};

/// The source of a saved request that does not say which it came from.
const SOURCE: &str = "webhook";

/// A form has this many fields at most.
const MAX_FIELDS: usize = 10_000;

/// A request that an endpoint took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookRequest {
    /// The endpoint's name.
    pub endpoint: String,
    /// The method, in capitals.
    pub method: String,
    /// What the body was read as.
    pub form: Form,
    /// By what the sender tells this delivery from others.
    pub delivery: Option<String>,
    /// The headers that the endpoint keeps; their names in small letters.
    pub headers: BTreeMap<String, String>,
    /// The address it came from, which may be a proxy's.
    pub sender: Option<String>,
    /// The id of the request, as the log and the answer say it.
    pub request: Option<String>,
}

/// What a body is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// JSON.
    Json,
    /// Names and values, `a=1&b=2`; also what stands behind the `?` of an address.
    Form,
    /// XML; the tree is that of the root's children.
    Xml,
}

impl Form {
    /// The name in records and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Form => "form",
            Self::Xml => "xml",
        }
    }

    /// The form of this name.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Json, Self::Form, Self::Xml]
            .into_iter()
            .find(|form| form.as_str() == name)
    }

    /// What a body looks like by its first character; none where that is neither XML nor an object or list of JSON.
    pub fn by_content(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        match body.trim_ascii_start().first()? {
            b'<' => Some(Self::Xml),
            b'{' | b'[' => Some(Self::Json),
            _ => None,
        }
    }

    /// The form that a `Content-Type` speaks of; none where it is another one.
    pub fn of_type(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim();
        let kind = kind.to_ascii_lowercase();
        match kind.as_str() {
            "application/json" | "text/json" => Some(Self::Json),
            "application/x-www-form-urlencoded" => Some(Self::Form),
            "application/xml" | "text/xml" => Some(Self::Xml),
            other if other.ends_with("+json") => Some(Self::Json),
            other if other.ends_with("+xml") => Some(Self::Xml),
            _ => None,
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a body cannot be read as what it is said to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyFault {
    /// It is no UTF-8.
    #[error("the body is no UTF-8")]
    Encoding,
    /// It is no JSON, or its values are nested more than 128 deep.
    #[error("the body is no JSON: {0}")]
    Json(String),
    /// It is no form.
    #[error("the body is no form: {0}")]
    Form(&'static str),
    /// It is no XML that is accepted here.
    #[error("the body is no XML that is taken: {0}")]
    Xml(String),
}

/// The tree of a body.
///
/// # Errors
/// It cannot be read as that, or is nested too deep.
pub fn read(form: Form, body: &[u8]) -> Result<Value, BodyFault> {
    let text = std::str::from_utf8(body).map_err(|_| BodyFault::Encoding)?;
    match form {
        Form::Json => serde_json::from_str(text).map_err(|error| BodyFault::Json(error.to_string())),
        Form::Form => fields(text).map_err(BodyFault::Form),
        Form::Xml => document::parse(text)
            .map(|root| payload::children(&root))
            .map_err(|fault| BodyFault::Xml(fault.to_string())),
    }
}

/// Names and values; one that occurs more than once is a list.
fn fields(text: &str) -> Result<Value, &'static str> {
    let mut fields = Map::new();
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    for (position, pair) in pairs.enumerate() {
        if position == MAX_FIELDS {
            return Err("it has too many fields");
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        payload::insert(
            &mut fields,
            &unescaped(name)?,
            Value::String(unescaped(value)?.into_owned()),
        );
    }
    Ok(Value::Object(fields))
}

/// `%41+b` is `A b`.
fn unescaped(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Ok(Cow::Borrowed(text));
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        match first {
            b'+' => plain.push(b' '),
            b'%' => {
                let digits = rest.get(..2).ok_or("`%` without its two digits")?;
                let digit = |byte: u8| {
                    char::from(byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                let (Some(high), Some(low)) = (digit(digits[0]), digit(digits[1])) else {
                    return Err("`%` without its two digits");
                };
                plain.push(high << 4 | low);
                rest = &rest[2..];
            }
            byte => plain.push(byte),
        }
    }
    String::from_utf8(plain)
        .map(Cow::Owned)
        .map_err(|_| "what `%` stands for is no UTF-8")
}

/// The key of an endpoint's events.
pub fn key(endpoint: &str) -> String {
    format!("WEBHOOK {endpoint}")
}

/// A saved request: a JSON object with `"kind": "webhook"`. The body is `body`, a JSON value, or `text`, exactly as it was sent,
/// or `base64`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    kind: String,
    endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    form: Option<Form>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivery: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

/// Whether a document is a saved request.
pub fn is_saved(document: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    document.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<Kind>(document).is_ok_and(|head| head.kind == "webhook")
}

/// The event that a saved request is; one that cannot be read is undecodable and says why.
pub fn from_saved(document: &[u8]) -> Event {
    saved_event(document)
        .unwrap_or_else(|reason| unreadable(SOURCE, &format!("no saved request: {reason}"), document))
}

/// The request that a saved one was; nothing is said of whether its body can be read.
pub(super) fn request(document: &[u8]) -> Result<Request, NotSendable> {
    let (saved, form, body) = saved_request(document).map_err(NotSendable::Unreadable)?;
    let method = saved.method.unwrap_or_else(|| "POST".to_owned());
    let content_type = match form {
        Form::Json => "application/json",
        Form::Form => "application/x-www-form-urlencoded",
        Form::Xml => "application/xml; charset=UTF-8",
    };
    Ok(Request::new(method, content_type, saved.headers, body))
}

fn saved_request(document: &[u8]) -> Result<(Saved, Form, Vec<u8>), String> {
    let mut saved: Saved = serde_json::from_slice(document).map_err(|error| error.to_string())?;
    let form = saved.form.unwrap_or(Form::Json);
    let is_json = saved.body.is_some();
    let body = carried(saved.body.take(), saved.text.take(), saved.base64.take())?.ok_or(ONE_OF_THREE)?;
    if is_json && form != Form::Json {
        return Err(format!("`body` is for JSON; give the {form} as `text`"));
    }
    Ok((saved, form, body))
}

fn saved_event(document: &[u8]) -> Result<Event, String> {
    let (saved, form, body) = saved_request(document)?;
    let tree = read(form, &body).map_err(|fault| fault.to_string())?;
    Ok(Event {
        seq: Seq::default(),
        source: saved.source.unwrap_or_else(|| SOURCE.to_owned()).into(),
        key: key(&saved.endpoint),
        subject: saved.subject.as_deref().map(Subject::new),
        received: Timestamp::now(),
        facts: Facts::Webhook(WebhookRequest {
            endpoint: saved.endpoint,
            method: saved.method.unwrap_or_else(|| "POST".to_owned()),
            form,
            delivery: saved.delivery,
            headers: saved
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            sender: saved.sender,
            request: None,
        }),
        ambiguous: false,
        synthesised: false,
        payload: Payload::with_tree(body.into(), tree),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_body_is_a_tree() {
        for (form, body, tree) in [
            (
                Form::Json,
                r#"{"a": [1, {"b": null}]}"#,
                json!({"a": [1, {"b": null}]}),
            ),
            (Form::Json, "\"text\"", json!("text")),
            (
                Form::Form,
                "a=1&b=x+y%21&a=2&c&=e&%C3%A4=%20",
                json!({"a": ["1", "2"], "b": "x y!", "c": "", "": "e", "ä": " "}),
            ),
            (Form::Form, "", json!({})),
            (
                Form::Xml,
                "<r k='v'><a>1</a><a>2</a></r>",
                json!({"@k": "v", "a": ["1", "2"]}),
            ),
            (
                Form::Xml,
                "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE></HOOK_MESSAGE>",
                json!({"HOOK_TYPE": "API"}),
            ),
        ] {
            assert_eq!(read(form, body.as_bytes()), Ok(tree), "{body}");
        }
    }

    #[test]
    fn what_is_no_such_body_is_refused() {
        let deep_json = "[".repeat(200) + &"]".repeat(200);
        let deep_xml = "<a>".repeat(200) + &"</a>".repeat(200);
        for (form, body) in [
            (Form::Json, ""),
            (Form::Json, "{"),
            (Form::Json, "{} {}"),
            (Form::Json, deep_json.as_str()),
            (Form::Form, "a=%"),
            (Form::Form, "a=%4"),
            (Form::Form, "a=%zz"),
            (Form::Form, "a=%+1"),
            (Form::Form, "a=%ff"),
            (Form::Xml, ""),
            (Form::Xml, "<a>"),
            (Form::Xml, "<!DOCTYPE a><a/>"),
            (Form::Xml, "<a>&x;</a>"),
            (Form::Xml, deep_xml.as_str()),
        ] {
            assert!(read(form, body.as_bytes()).is_err(), "{form}: {body}");
        }
        for form in [Form::Json, Form::Form, Form::Xml] {
            assert_eq!(read(form, b"\"\xff\""), Err(BodyFault::Encoding));
        }
    }

    #[test]
    fn types_of_content_are_known_by_what_they_mean() {
        for (content_type, form) in [
            ("application/json", Some(Form::Json)),
            ("Application/JSON; charset=utf-8", Some(Form::Json)),
            ("application/vnd.github+json", Some(Form::Json)),
            ("application/x-www-form-urlencoded", Some(Form::Form)),
            ("text/xml;charset=utf-8", Some(Form::Xml)),
            ("application/soap+xml", Some(Form::Xml)),
            ("multipart/form-data; boundary=x", None),
            ("text/plain", None),
            ("", None),
        ] {
            assert_eq!(Form::of_type(content_type), form, "{content_type}");
        }
    }

    #[test]
    fn a_saved_request_is_the_event_that_it_was() {
        let saved = json!({
            "kind": "webhook", "endpoint": "deploy", "subject": "site", "headers": {"X-GitHub-Event": "push"},
            "body": {"repository": {"name": "site"}},
        });
        let event = from_saved(saved.to_string().as_bytes());
        let Facts::Webhook(request) = &event.facts else {
            panic!("{:?}", event.facts)
        };
        assert_eq!(request.headers["x-github-event"], "push");
        assert_eq!(event.payload.text("repository/name"), "site");
        assert_eq!(event.key, "WEBHOOK deploy");

        let form = json!({"kind": "webhook", "endpoint": "x", "form": "form", "text": "a=1"});
        assert!(is_saved(form.to_string().as_bytes()));
        assert_eq!(from_saved(form.to_string().as_bytes()).payload.text("a"), "1");
        for wrong in [
            json!({"kind": "webhook", "endpoint": "x"}),
            json!({"kind": "webhook", "endpoint": "x", "form": "xml", "body": {}}),
            json!({"kind": "webhook", "endpoint": "x", "text": "{"}),
            json!({"kind": "webhook", "endpoint": "x", "body": 1, "bodi": 2}),
        ] {
            let event = from_saved(wrong.to_string().as_bytes());
            assert!(matches!(event.facts, Facts::Undecodable { .. }), "{wrong}");
        }
    }

    fn escaped(text: &str) -> String {
        text.bytes().map(|byte| format!("%{byte:02X}")).collect()
    }

    proptest! {
        #[test]
        fn what_is_escaped_reads_as_what_it_was(name in "\\PC{0,8}", value in "\\PC{0,20}") {
            let body = format!("{}={}", escaped(&name), escaped(&value));
            prop_assert_eq!(read(Form::Form, body.as_bytes()), Ok(json!({ name: value })));
        }

        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for form in [Form::Json, Form::Form, Form::Xml] {
                let _ = read(form, &bytes);
            }
            let _ = is_saved(&bytes);
            let _ = from_saved(&bytes);
        }

        #[test]
        fn no_text_makes_a_reader_panic(text in "([a-c]|%|%4|=|&|\\+|<|>|/|\\{|\\}|\\[|\"|:|,|\\PC){0,40}", kind in "\\PC{0,30}") {
            for form in [Form::Json, Form::Form, Form::Xml] {
                let _ = read(form, text.as_bytes());
            }
            let _ = Form::of_type(&kind);
        }
    }
}
