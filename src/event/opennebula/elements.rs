//! The parts of a message that scripts and conditions are given.

use bytes::Bytes;
use serde_json::Value;

use super::calls::CallInfo;
use super::envelope::Envelope;
use super::{Layout, layout};
use crate::event::document::{self, Element, Node};
use crate::event::payload::{self, Payload};

/// The resource's own element (`<VM>…</VM>`), or of an API event none.
///
/// Of a document that is not well-formed it is everything from the element's start to the end of the frame, as received in
/// either layout.
pub fn resource_element(payload: &Payload, layout: Layout) -> Option<Bytes> {
    let text = document::readable(payload.bytes());
    let envelope = Envelope::read(&text).ok()?;
    let (start, name) = envelope.body?;
    if name == "CALL_INFO" {
        return None;
    }
    let rest = &text[start..];
    let Ok(length) = document::measure(rest) else {
        let end = rest.rfind("</HOOK_MESSAGE>").unwrap_or(rest.len());
        return Some(payload.bytes().slice(start..start + end));
    };
    element(payload, &text, start..start + length, layout)
}

/// The CALL_INFO element, made well-formed where parameter values are not; none for a state event.
///
/// Where the document can be read in more than one way, the element is put together from the reading: each value as text,
/// EXTRA empty.
pub fn call_info(payload: &Payload, layout: Layout) -> Option<Bytes> {
    let text = document::readable(payload.bytes());
    let envelope = Envelope::read(&text).ok()?;
    if !envelope.is_api() {
        return None;
    }
    let info = CallInfo::read(&text, &envelope);
    if let Some(range) = sound_call(&text, &envelope, &info) {
        return element(payload, &text, range, layout);
    }
    let built = info.to_element();
    Some(Bytes::from(match layout {
        Layout::AsReceived => layout::plain(&built),
        Layout::Libxml2 => layout::libxml2(&built),
    }))
}

/// What an API event says of its call; none for any other document.
pub fn parsed_call(payload: &Payload) -> Option<CallInfo> {
    let text = document::readable(payload.bytes());
    let envelope = Envelope::read(&text).ok()?;
    envelope.is_api().then(|| CallInfo::read(&text, &envelope))
}

/// Where CALL_INFO stands, if it is well-formed as it is and can be read in one way only.
fn sound_call(text: &str, envelope: &Envelope<'_>, info: &CallInfo) -> Option<std::ops::Range<usize>> {
    let (start, _) = envelope.body?;
    if info.ambiguous {
        return None;
    }
    let length = document::measure(&text[start..]).ok()?;
    // It must be the whole rest of the message, or it ends earlier than the reading says.
    (text[start + length..].trim() == "</HOOK_MESSAGE>").then_some(start..start + length)
}

fn element(payload: &Payload, text: &str, range: std::ops::Range<usize>, layout: Layout) -> Option<Bytes> {
    match layout {
        Layout::AsReceived => Some(payload.bytes().slice(range)),
        Layout::Libxml2 => {
            let element = document::parse_element(&text[range]).ok()?;
            Some(Bytes::from(layout::libxml2(&element)))
        }
    }
}

/// The tree of a message that a strict reader would refuse or misread: the envelope, and the call as it was read. None if
/// the text is no message of the hook manager, or is one that needs no tolerance.
pub(in crate::event) fn tolerant_tree(text: &str) -> Option<Value> {
    let envelope = Envelope::read(text).ok()?;
    let mut children: Vec<Node> = envelope
        .fields()
        .map(|(name, value)| Node::Element(Element::of_text(name, value)))
        .collect();
    if envelope.is_api() {
        let info = CallInfo::read(text, &envelope);
        if sound_call(text, &envelope, &info).is_some() {
            return None;
        }
        children.push(Node::Element(info.to_element()));
    } else if document::parse(text).is_ok() {
        return None;
    }
    Some(payload::children(&Element::of("HOOK_MESSAGE", children)))
}
