//! What a message is, from the plain elements at its head.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::calls::CallInfo;
use super::key::Key;
use super::{Reading, Resource, subject, vocabulary};
use crate::event::document::{self, Fault};
use crate::event::{ApiCall, Facts, RetryRequest, StateChange};

/// The largest document that is read, in bytes.
pub const MAX_DOCUMENT: usize = 64 << 20;

/// The envelope has at most nine elements; a few more are looked at, so that a newer controller may add some.
const MAX_FIELDS: usize = 32;

const ROOT: &str = "HOOK_MESSAGE";

/// Why a message has no envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoEnvelope {
    #[error("it is larger than {MAX_DOCUMENT} bytes")]
    TooLarge,
    #[error("it is empty")]
    Empty,
    #[error("it is not XML")]
    NotXml,
    #[error(transparent)]
    Refused(Fault),
    #[error("its root element is `{0}`, not `{ROOT}`")]
    OtherRoot(String),
}

/// The head of a message: plain elements, up to the first that holds others.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    fields: Vec<(&'a str, Cow<'a, str>)>,
    /// Where the resource's element or `CALL_INFO` begins, and its name.
    pub(super) body: Option<(usize, &'a str)>,
    /// An element of the envelope stood there twice; the first one counts.
    repeated: bool,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, NoEnvelope> {
        if text.len() > MAX_DOCUMENT {
            return Err(NoEnvelope::TooLarge);
        }
        let mut at = root(text)?;
        let mut envelope = Self {
            fields: Vec::new(),
            body: None,
            repeated: false,
        };
        while let Some(start) = tag(text, skip_blanks(text, at)) {
            if start.name.starts_with('/') {
                break;
            }
            if is_body(start.name) {
                envelope.body = Some((start.at, start.name));
                break;
            }
            let field = if start.empty {
                Some((Cow::Borrowed(""), start.end))
            } else {
                plain_text(text, &start)
            };
            let Some((value, end)) = field else {
                envelope.body = Some((start.at, start.name));
                break;
            };
            if envelope.get(start.name).is_some() {
                envelope.repeated = true;
            } else if envelope.fields.len() < MAX_FIELDS {
                envelope.fields.push((start.name, value));
            }
            at = end;
        }
        Ok(envelope)
    }

    /// The text of an element of the envelope.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| &**value)
    }

    /// The envelope's elements in their order.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (*name, &**value))
    }

    /// Whether the message tells of an API call.
    pub(super) fn is_api(&self) -> bool {
        match self.get("HOOK_TYPE") {
            Some("API") => true,
            Some("STATE") => false,
            _ => self.get("CALL").is_some(),
        }
    }

    fn is_retry(&self) -> bool {
        self.get("HOOK_TYPE").is_none() && self.get("HOOK_ID").is_some()
    }
}

/// Elements that are never part of the envelope, even when empty.
fn is_body(name: &str) -> bool {
    matches!(name, "CALL_INFO" | "VM" | "HOST" | "IMAGE" | "VNET" | "NET")
}

/// Reads the prolog and the root's start tag; gives the place behind it.
fn root(text: &str) -> Result<usize, NoEnvelope> {
    let mut at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    loop {
        at = skip_blanks(text, at);
        let rest = &text[at..];
        let skipped = if rest.is_empty() {
            return Err(NoEnvelope::Empty);
        } else if rest.starts_with("<?") {
            rest.find("?>").map(|end| end + 2)
        } else if rest.starts_with("<!--") {
            rest.find("-->").map(|end| end + 3)
        } else if rest.starts_with("<!DOCTYPE") {
            return Err(NoEnvelope::Refused(Fault::DocumentType));
        } else {
            let start = tag(text, at)
                .filter(|start| document::is_name(start.name))
                .ok_or(NoEnvelope::NotXml)?;
            if start.name != ROOT {
                return Err(NoEnvelope::OtherRoot(start.name.chars().take(64).collect()));
            }
            return Ok(start.end);
        };
        at += skipped.ok_or(NoEnvelope::NotXml)?;
    }
}

struct Tag<'a> {
    name: &'a str,
    at: usize,
    /// The place behind its `>`.
    end: usize,
    empty: bool,
}

/// The tag that begins at `at`, comments before it skipped.
fn tag(text: &str, at: usize) -> Option<Tag<'_>> {
    let mut at = at;
    while let Some(rest) = text.get(at..).filter(|rest| rest.starts_with("<!--")) {
        at = skip_blanks(text, at + rest.find("-->")? + 3);
    }
    let inner = text.get(at..)?.strip_prefix('<')?;
    let close = inner.find('>')?;
    let inner = &inner[..close];
    let empty = inner.ends_with('/') && inner.len() > 1;
    let inner = if empty { &inner[..inner.len() - 1] } else { inner };
    let name = inner.split_ascii_whitespace().next().unwrap_or("");
    // A start tag holds no other; what looks like one is text.
    (!inner.contains('<') && inner.starts_with(name)).then_some(Tag {
        name,
        at,
        end: at + close + 2,
        empty,
    })
}

/// The text of an element that holds only text, and the place behind its end tag; none if it holds anything else.
fn plain_text<'a>(text: &'a str, start: &Tag<'a>) -> Option<(Cow<'a, str>, usize)> {
    let mut value = Cow::Borrowed("");
    let mut at = start.end;
    loop {
        let rest = &text[at..];
        let stop = rest.find('<')?;
        if stop > 0 {
            value += unescape(&rest[..stop]);
        }
        let rest = &rest[stop..];
        if let Some(data) = rest.strip_prefix("<![CDATA[") {
            let end = data.find("]]>")?;
            value += &data[..end];
            at += stop + "<![CDATA[".len() + end + "]]>".len();
            continue;
        }
        let closing = tag(text, at + stop)?;
        return (closing.name.strip_prefix('/') == Some(start.name)).then_some((value, closing.end));
    }
}

/// References resolved where they are known; anything else stays as it stands.
fn unescape(text: &str) -> Cow<'_, str> {
    quick_xml::escape::unescape(text).unwrap_or(Cow::Borrowed(text))
}

fn skip_blanks(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    text.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len()
}

/// Reads a decoded message. The envelope decides what it is; the key only where the envelope says nothing.
pub fn read(key: &str, document: &[u8]) -> Reading {
    if document.len() > MAX_DOCUMENT {
        return undecodable(&NoEnvelope::TooLarge.to_string());
    }
    let text = document::readable(document);
    let key = Key::parse(key);
    let envelope = match Envelope::read(&text) {
        Ok(envelope) => envelope,
        Err(fault) => return undecodable(&fault.to_string()),
    };
    match envelope.get("HOOK_TYPE") {
        Some("STATE") => return state(&key, &text, &envelope),
        Some("API") => return api(&key, &text, &envelope),
        _ if envelope.is_retry() => return retry(&envelope),
        _ => {}
    }
    match &key {
        Key::State { .. } | Key::OneResource { .. } => state(&key, &text, &envelope),
        Key::Api { .. } => api(&key, &text, &envelope),
        Key::Retry => retry(&envelope),
        Key::Service { .. } | Key::Damaged | Key::Unknown => match envelope.get("HOOK_TYPE") {
            Some(other) => undecodable(&format!("its HOOK_TYPE `{other}` is not known")),
            None => undecodable("neither its envelope nor its key says what it is"),
        },
    }
}

fn undecodable(reason: &str) -> Reading {
    Reading {
        facts: Facts::Undecodable {
            reason: reason.to_owned(),
        },
        subject: None,
        ambiguous: false,
    }
}

fn state(key: &Key, text: &str, envelope: &Envelope<'_>) -> Reading {
    let (key_resource, key_state, key_lcm_state, key_id) = match key {
        Key::State {
            resource,
            state,
            lcm_state,
            id,
        } => (Some(resource), Some(state), lcm_state.as_ref(), id.as_ref()),
        Key::OneResource {
            resource,
            id,
            state,
            lcm_state,
        } => (Some(resource), Some(state), lcm_state.as_ref(), Some(id)),
        _ => (None, None, None, None),
    };
    let body = envelope.body.map(|(at, name)| (&text[at..], name));
    let Some(resource) = envelope
        .get("HOOK_OBJECT")
        .map(Resource::parse)
        .or_else(|| key_resource.cloned())
        .or_else(|| body.map(|(_, name)| Resource::parse(name)))
    else {
        return undecodable("it does not say which kind of resource changed");
    };
    let Some(state) = envelope
        .get("STATE")
        .or(key_state.map(String::as_str))
        .map(str::to_owned)
    else {
        return undecodable("it does not say which state the resource is in");
    };
    let lcm_state = envelope
        .get("LCM_STATE")
        .or(key_lcm_state.map(String::as_str))
        .filter(|lcm| !lcm.is_empty())
        .map(str::to_owned);
    let own = body.map_or([const { None }; 3], |(element, _)| {
        // Before TEMPLATE an element holds only what the controller writes itself.
        document::leading_texts(
            element,
            ["ID", "PREV_STATE", "PREV_LCM_STATE"],
            &["TEMPLATE", "USER_TEMPLATE"],
        )
    });
    let [own_id, previous_state, previous_lcm_state] = own;
    let id = envelope
        .get("RESOURCE_ID")
        .or(key_id.map(String::as_str))
        .or(own_id.as_deref())
        .map(str::trim)
        .filter(|id| !id.is_empty())
        .map(str::to_owned);
    let disputed_host = has_disputed_host(text, envelope);
    let ambiguous = envelope.repeated
        || disputed_host
        || body.is_some_and(|(_, name)| Resource::parse(name) != resource)
        || (own_id.is_some() && own_id != id);
    let is_vm = resource == Resource::Vm;
    Reading {
        subject: id
            .as_ref()
            .map(|id| format!("{}/{id}", resource.subject_prefix())),
        facts: Facts::State(StateChange {
            id,
            state,
            lcm_state,
            previous_state: previous_state
                .filter(|_| is_vm)
                .map(|number| vocabulary::vm_state_name(&number)),
            previous_lcm_state: previous_lcm_state
                .filter(|_| is_vm)
                .map(|number| vocabulary::lcm_state_name(&number)),
            host: envelope
                .get("REMOTE_HOST")
                .filter(|host| !host.is_empty() && !disputed_host)
                .map(str::to_owned),
            resource,
        }),
        ambiguous,
    }
}

/// Whether the host may be a forgery. `SERVICE_ID` is whatever the VM's owner wrote, stands before `REMOTE_HOST` and is not
/// escaped, so it can bring a `REMOTE_HOST` of its own. The genuine pair then still stands somewhere behind the forged
/// one. A script must not be sent to a host that an owner chose.
fn has_disputed_host(text: &str, envelope: &Envelope<'_>) -> bool {
    const SERVICE_END: &str = "</SERVICE_ID>";
    if envelope.get("SERVICE_ID").is_none() {
        return false;
    }
    let pairs = text
        .match_indices(SERVICE_END)
        .filter(|(at, found)| text[at + found.len()..].trim_start().starts_with("<REMOTE_HOST"))
        .take(2)
        .count();
    pairs != 1 || envelope.repeated
}

fn api(key: &Key, text: &str, envelope: &Envelope<'_>) -> Reading {
    let (key_call, key_success) = match key {
        Key::Api { call, success } => (Some(call.as_str()), *success),
        _ => (None, None),
    };
    let Some(call) = envelope
        .get("CALL")
        .filter(|call| !call.is_empty())
        .or(key_call)
        .map(str::to_owned)
    else {
        return undecodable("it does not say which call ended");
    };
    let info = CallInfo::read(text, envelope);
    let Some(success) = info.success().or(key_success) else {
        return undecodable("it does not say whether the call succeeded");
    };
    Reading {
        subject: subject::of_call(&call, success, &info),
        ambiguous: info.ambiguous || envelope.repeated,
        facts: Facts::Api(ApiCall { call, success }),
    }
}

fn retry(envelope: &Envelope<'_>) -> Reading {
    let Some(hook_id) = envelope.get("HOOK_ID").and_then(|id| id.trim().parse().ok()) else {
        return undecodable("it asks for a retry and its HOOK_ID is no number");
    };
    let encoded: String = envelope
        .get("ARGUMENTS")
        .unwrap_or("")
        .split_ascii_whitespace()
        .collect();
    let Ok(arguments) = STANDARD.decode(encoded) else {
        return undecodable("it asks for a retry and its ARGUMENTS are not base64");
    };
    Reading {
        facts: Facts::Retry(RetryRequest {
            hook_id,
            arguments: String::from_utf8_lossy(&arguments).into_owned(),
            remote_host: envelope
                .get("REMOTE_HOST")
                .filter(|host| !host.is_empty())
                .map(str::to_owned),
        }),
        subject: None,
        ambiguous: envelope.repeated,
    }
}
