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
                plain_text(text, &start).or_else(|| verbatim_service(text, &start))
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

    /// Whether the message asks for a hook to run once more.
    pub(super) fn is_retry(&self) -> bool {
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

/// `SERVICE_ID` is copied from the VM's user template as it is, tags and all; `REMOTE_HOST` follows it.
fn verbatim_service<'a>(text: &'a str, start: &Tag<'a>) -> Option<(Cow<'a, str>, usize)> {
    if start.name != "SERVICE_ID" {
        return None;
    }
    let end = service_ends(&text[start.end..]).next()?;
    let value = &text[start.end..start.end + end];
    Some((Cow::Borrowed(value), start.end + end + SERVICE_END.len()))
}

const SERVICE_END: &str = "</SERVICE_ID>";

/// Each place where a `SERVICE_ID` ends and a `REMOTE_HOST` follows.
fn service_ends(text: &str) -> impl Iterator<Item = usize> {
    text.match_indices(SERVICE_END)
        .filter(|(at, found)| text[at + found.len()..].trim_start().starts_with("<REMOTE_HOST"))
        .map(|(at, _)| at)
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
    // Before TEMPLATE an element holds only what the controller writes itself.
    const STOP: &[&str] = &["TEMPLATE", "USER_TEMPLATE"];
    let [own_id, previous_state, previous_lcm_state] = match body {
        Some((element, "VM")) => {
            document::leading_texts(element, ["ID", "PREV_STATE", "PREV_LCM_STATE"], STOP)
        }
        // A host's element is long, and only its number is wanted.
        Some((element, _)) => {
            let [id] = document::leading_texts(element, ["ID"], STOP);
            [id, None, None]
        }
        None => [const { None }; 3],
    };
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
    Reading {
        subject: id
            .as_ref()
            .map(|id| format!("{}/{id}", resource.subject_prefix())),
        facts: Facts::State(StateChange {
            id,
            state,
            lcm_state,
            previous_state: previous_state.map(|number| vocabulary::vm_state_name(&number)),
            previous_lcm_state: previous_lcm_state.map(|number| vocabulary::lcm_state_name(&number)),
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
    if envelope.get("SERVICE_ID").is_none() {
        return false;
    }
    let pairs = service_ends(text).take(2).count();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vm(head: &str, element: &str) -> String {
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID>{head}<VM>{element}</VM></HOOK_MESSAGE>"
        )
    }

    fn change(reading: &Reading) -> &StateChange {
        match &reading.facts {
            Facts::State(change) => change,
            other => panic!("{other:?}"),
        }
    }

    fn reason(document: &[u8]) -> String {
        match read("EVENT ", document).facts {
            Facts::Undecodable { reason } => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_state_change_is_read_from_the_head() {
        let document = vm(
            "<REMOTE_HOST>h1</REMOTE_HOST>",
            "<ID>12</ID><PREV_STATE>3</PREV_STATE><PREV_LCM_STATE>20</PREV_LCM_STATE><TEMPLATE/>",
        );
        let reading = read("EVENT ", document.as_bytes());
        assert!(!reading.ambiguous);
        assert_eq!(reading.subject.as_deref(), Some("vm/12"));
        assert_eq!(
            change(&reading),
            &StateChange {
                resource: Resource::Vm,
                id: Some("12".to_owned()),
                state: "ACTIVE".to_owned(),
                lcm_state: Some("RUNNING".to_owned()),
                previous_state: Some("ACTIVE".to_owned()),
                previous_lcm_state: Some("BOOT_POWEROFF".to_owned()),
                host: Some("h1".to_owned()),
            }
        );
    }

    #[test]
    fn nothing_below_the_head_can_pretend_to_be_it() {
        let document = vm(
            "<REMOTE_HOST/>",
            "<ID>12</ID><USER_TEMPLATE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.delete</CALL><STATE>DONE</STATE>\
             <RESOURCE_ID>1</RESOURCE_ID><REMOTE_HOST>evil</REMOTE_HOST><PREV_STATE>1</PREV_STATE>\
             </USER_TEMPLATE>",
        );
        let reading = read("EVENT ", document.as_bytes());
        let change = change(&reading);
        assert_eq!(
            (change.state.as_str(), change.id.as_deref()),
            ("ACTIVE", Some("12"))
        );
        assert_eq!((&change.host, &change.previous_state), (&None, &None));
        assert!(!reading.ambiguous);
    }

    #[test]
    fn another_objects_number_is_ambiguous() {
        let document = vm("<REMOTE_HOST/>", "<ID>13</ID>");
        assert!(read("", document.as_bytes()).ambiguous);
    }

    /// The owner of a VM chooses its SERVICE_ID; a script must not go to a host he chose with it.
    #[test]
    fn a_service_cannot_bring_its_own_host() {
        let honest = vm(
            "<SERVICE_ID>7 8/9</SERVICE_ID><REMOTE_HOST>h1</REMOTE_HOST>",
            "<ID>12</ID>",
        );
        let reading = read("", honest.as_bytes());
        assert!(!reading.ambiguous);
        assert_eq!(change(&reading).host.as_deref(), Some("h1"));

        for forged in [
            "7</SERVICE_ID><REMOTE_HOST>evil</REMOTE_HOST><X>",
            "7</SERVICE_ID><REMOTE_HOST>evil</REMOTE_HOST><VM><ID>12</ID><T><![CDATA[",
            "7</SERVICE_ID> <REMOTE_HOST>evil</REMOTE_HOST><SERVICE_ID>7",
            "<b></SERVICE_ID><REMOTE_HOST>evil</REMOTE_HOST>",
            "7</SERVICE_ID><X/><REMOTE_HOST>evil</REMOTE_HOST><SERVICE_ID>",
        ] {
            let document = vm(
                &format!("<SERVICE_ID>{forged}</SERVICE_ID><REMOTE_HOST>h1</REMOTE_HOST>"),
                "<ID>12</ID><T><![CDATA[x]]></T>",
            );
            let reading = read("", document.as_bytes());
            assert!(reading.ambiguous, "{forged}");
            assert_ne!(change(&reading).host.as_deref(), Some("evil"), "{forged}");
            assert_eq!(change(&reading).id.as_deref(), Some("12"), "{forged}");
        }

        let odd = vm(
            "<SERVICE_ID>a<b</SERVICE_ID><REMOTE_HOST>h1</REMOTE_HOST>",
            "<ID>12</ID>",
        );
        assert_eq!(change(&read("", odd.as_bytes())).host.as_deref(), Some("h1"));
    }

    #[test]
    fn the_key_helps_only_where_the_envelope_is_silent() {
        let document = "<HOOK_MESSAGE><VM><ID>12</ID></VM></HOOK_MESSAGE>";
        let reading = read("EVENT STATE VM/ACTIVE/RUNNING/12 ", document.as_bytes());
        assert_eq!(reading.subject.as_deref(), Some("vm/12"));
        assert_eq!(change(&reading).state, "ACTIVE");

        let document = vm("<REMOTE_HOST/>", "<ID>12</ID>");
        let reading = read("EVENT API one.vm.delete 1", document.as_bytes());
        assert_eq!(change(&reading).state, "ACTIVE");
    }

    #[test]
    fn a_network_in_update_failure_has_an_empty_state() {
        let document = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>NET</HOOK_OBJECT><STATE></STATE>\
                        <RESOURCE_ID>3</RESOURCE_ID><VNET><ID>3</ID></VNET></HOOK_MESSAGE>";
        let reading = read("EVENT STATE NET///3 ", document.as_bytes());
        assert_eq!(change(&reading).state, "");
        assert_eq!(reading.subject.as_deref(), Some("net/3"));
        assert!(!reading.ambiguous);
    }

    #[test]
    fn a_message_that_cannot_be_read_says_why() {
        let table: &[(&[u8], &str)] = &[
            (b"", "empty"),
            (b"not xml", "not XML"),
            (b"\xff\xfe\x00", "not XML"),
            (b"<html/>", "`html`, not `HOOK_MESSAGE`"),
            (b"<!DOCTYPE x [<!ENTITY a 'b'>]><HOOK_MESSAGE/>", "DOCTYPE"),
            (b"<?xml version='1.0'?>\n<!DOCTYPE x><HOOK_MESSAGE/>", "DOCTYPE"),
            (
                b"<HOOK_MESSAGE><HOOK_TYPE>X</HOOK_TYPE></HOOK_MESSAGE>",
                "HOOK_TYPE `X`",
            ),
            (b"<HOOK_MESSAGE></HOOK_MESSAGE>", "neither"),
            (
                b"<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE></HOOK_MESSAGE>",
                "kind of resource",
            ),
            (
                b"<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE></HOOK_MESSAGE>",
                "which call",
            ),
            (
                b"<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.x</CALL></HOOK_MESSAGE>",
                "succeeded",
            ),
            (b"<HOOK_MESSAGE><HOOK_ID>x</HOOK_ID></HOOK_MESSAGE>", "no number"),
            (
                b"<HOOK_MESSAGE><ARGUMENTS>%%</ARGUMENTS><HOOK_ID>2</HOOK_ID></HOOK_MESSAGE>",
                "base64",
            ),
        ];
        for (document, part) in table {
            let reason = reason(document);
            assert!(
                reason.contains(part),
                "{reason:?} for {:?}",
                String::from_utf8_lossy(document)
            );
        }
    }

    #[test]
    fn a_retry_is_decoded_once() {
        let document = "<HOOK_MESSAGE><ARGUMENTS>PFZN\nLz4geCB5</ARGUMENTS><HOOK_ID>2</HOOK_ID>\
                        <REMOTE_HOST>h1</REMOTE_HOST></HOOK_MESSAGE>\n";
        assert_eq!(
            read("RETRY", document.as_bytes()).facts,
            Facts::Retry(RetryRequest {
                hook_id: 2,
                arguments: "<VM/> x y".to_owned(),
                remote_host: Some("h1".to_owned()),
            })
        );
    }

    #[test]
    fn bytes_that_are_not_text_do_not_hide_an_event() {
        let mut document = vm("<REMOTE_HOST/>", "<ID>12</ID><NAME>").into_bytes();
        let at = document.len() - "</VM></HOOK_MESSAGE>".len();
        document.splice(at..at, *b"\xff\xfe</NAME>");
        let reading = read("", &document);
        assert_eq!(reading.subject.as_deref(), Some("vm/12"));
        assert!(!reading.ambiguous);
    }

    proptest! {
        #[test]
        fn no_document_makes_the_reader_panic(
            key in "(EVENT |STATE |API |RETRY|VM/|[a-z.]|[0-9 ]){0,6}",
            parts in proptest::collection::vec(prop_oneof![
                Just("<HOOK_MESSAGE>".to_owned()), Just("</HOOK_MESSAGE>".to_owned()), Just("<CALL_INFO>".to_owned()),
                Just("<HOOK_TYPE>API</HOOK_TYPE>".to_owned()), Just("<HOOK_TYPE>STATE</HOOK_TYPE>".to_owned()),
                Just("<CALL>one.vm.allocate</CALL>".to_owned()), Just("<RESULT>1</RESULT>".to_owned()),
                Just("<PARAMETERS>".to_owned()), Just("</PARAMETERS>".to_owned()), Just("<EXTRA>".to_owned()),
                Just("<PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE><VALUE>".to_owned()),
                Just("</VALUE></PARAMETER>".to_owned()), Just("</EXTRA></CALL_INFO>".to_owned()),
                Just("<SERVICE_ID>".to_owned()), Just("</SERVICE_ID><REMOTE_HOST>".to_owned()),
                Just("<VM><ID>".to_owned()), Just("<![CDATA[".to_owned()), Just("]]>".to_owned()), "\\PC{0,8}",
            ], 0..16),
        ) {
            let _ = read(&key, parts.concat().as_bytes());
            let _ = read(&key, format!("<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL_INFO>{}", parts.concat()).as_bytes());
        }

        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read("", &bytes);
        }
    }
}
