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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HEAD: &str = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>NET</HOOK_OBJECT><STATE>READY</STATE>\
                        <RESOURCE_ID>3</RESOURCE_ID>";

    fn payload(parts: &[&[u8]]) -> Payload {
        Payload::new(Bytes::from(parts.concat()))
    }

    #[test]
    fn the_resource_is_cut_out_as_received_or_laid_out() {
        let net = b"<VNET><ID>3</ID><A></A>\n<B/></VNET>";
        let payload = payload(&[HEAD.as_bytes(), net, b"</HOOK_MESSAGE>"]);
        let received = resource_element(&payload, Layout::AsReceived).expect("an element");
        assert_eq!(&received[..], net);
        let laid_out = resource_element(&payload, Layout::Libxml2).expect("an element");
        assert_eq!(laid_out, "<VNET><ID>3</ID><A/>\n<B/></VNET>");
        assert_eq!(call_info(&payload, Layout::AsReceived), None);
        assert_eq!(parsed_call(&payload), None);
    }

    #[test]
    fn a_script_gets_the_bytes_that_came_though_they_are_no_text() {
        let net = b"<VNET><ID>3</ID><N>\xff\xfe</N></VNET>";
        let payload = payload(&[HEAD.as_bytes(), net, b"</HOOK_MESSAGE>"]);
        assert_eq!(
            &resource_element(&payload, Layout::AsReceived).expect("an element")[..],
            net
        );
        assert_eq!(payload.text("VNET/N"), "??");
    }

    #[test]
    fn an_element_that_is_not_well_formed_is_passed_on_as_it_is() {
        let net = b"<VNET><ID>3</ID><N>a & b</N></VNET>";
        let payload = payload(&[HEAD.as_bytes(), net, b"</HOOK_MESSAGE>"]);
        for layout in [Layout::AsReceived, Layout::Libxml2] {
            assert_eq!(&resource_element(&payload, layout).expect("an element")[..], net);
        }
    }

    #[test]
    fn an_unescaped_value_becomes_text() {
        let payload = payload(&[
            b"<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.update</CALL><CALL_INFO><RESULT>1</RESULT><PARAMETERS>",
            b"<PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE><VALUE>a<b> & &amp;\x01</VALUE></PARAMETER></PARAMETERS>",
            b"<EXTRA><VM><ID>1</ID></VM></EXTRA></CALL_INFO></HOOK_MESSAGE>",
        ]);
        assert_eq!(resource_element(&payload, Layout::AsReceived), None);
        assert_eq!(
            call_info(&payload, Layout::AsReceived).expect("a call"),
            "<CALL_INFO><RESULT>1</RESULT><PARAMETERS><PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE>\
             <VALUE>a&lt;b&gt; &amp; &amp;amp;&#xFFFD;</VALUE></PARAMETER></PARAMETERS><EXTRA><VM><ID>1</ID></VM></EXTRA>\
             </CALL_INFO>"
        );
        assert_eq!(
            payload.at("CALL_INFO/PARAMETERS"),
            Some(&json!({"PARAMETER": {"POSITION": "1", "TYPE": "IN", "VALUE": "a<b> & &amp;\u{fffd}"}}))
        );
        assert_eq!(payload.text("CALL_INFO/EXTRA/VM/ID"), "1");
    }

    #[test]
    fn what_is_no_message_has_no_parts() {
        for document in ["", "text", "{\"a\":1}", "<R/>", "<HOOK_MESSAGE/>"] {
            let payload = payload(&[document.as_bytes()]);
            assert_eq!(resource_element(&payload, Layout::Libxml2), None, "{document}");
            assert_eq!(call_info(&payload, Layout::Libxml2), None, "{document}");
        }
    }
}
