//! One view over XML and JSON documents.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::document::{self, Element, Node};
use super::esc;
use super::opennebula::{self, MAX_DOCUMENT};
use super::webhook::{self, Form};

/// A document exactly as received, and the tree it reads as, built when first asked for.
///
/// Cloning is cheap; clones share the tree.
#[derive(Debug, Clone)]
pub struct Payload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    reader: Reader,
    tree: OnceLock<Value>,
}

/// How the tree is made.
#[derive(Debug, Clone, Copy)]
enum Reader {
    /// By what the document looks like.
    Content,
    /// As this form and nothing else.
    Form(Form),
    /// As the body of a callback of ESC.
    EscCallback(Form),
    /// As a notification of ESC.
    EscNotification,
}

impl Payload {
    /// Takes a document as received.
    pub fn new(bytes: Bytes) -> Self {
        Self::with(bytes, Reader::Content, OnceLock::new())
    }

    /// Takes a document that is to be read as this and nothing else.
    pub fn of_form(bytes: Bytes, form: Form) -> Self {
        Self::with(bytes, Reader::Form(form), OnceLock::new())
    }

    /// Takes the body of a callback of ESC.
    pub fn of_callback(bytes: Bytes, form: Form) -> Self {
        Self::with(bytes, Reader::EscCallback(form), OnceLock::new())
    }

    /// Takes a notification of ESC; its tree is what is in its `escEvent`.
    pub fn of_notification(bytes: Bytes) -> Self {
        Self::with(bytes, Reader::EscNotification, OnceLock::new())
    }

    /// Takes a document that was read already: for sources that decode JSON themselves, and for tests.
    pub fn with_tree(bytes: Bytes, tree: Value) -> Self {
        Self::with(bytes, Reader::Content, OnceLock::from(tree))
    }

    fn with(bytes: Bytes, reader: Reader, tree: OnceLock<Value>) -> Self {
        Self(Arc::new(Inner { bytes, reader, tree }))
    }

    /// The document, byte for byte.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The document as a tree: children of the root by name, repeated elements as lists, text as strings, attributes as `@name`.
    /// `Null` when it cannot be read at all.
    ///
    /// An element that holds text only is a string, an empty one the empty string; text beside elements is `#text`, CDATA is
    /// text like any other. A JSON document is its own tree. Of a message whose parameter values are not escaped, or can be
    /// read in more than one way, the tree is made of what was read, every value a string.
    pub fn tree(&self) -> &Value {
        let bytes = &self.0.bytes;
        self.0.tree.get_or_init(|| match self.0.reader {
            Reader::Content => tree(bytes),
            Reader::Form(form) => webhook::read(form, bytes).unwrap_or_default(),
            Reader::EscCallback(form) => esc::callback_tree(form, bytes).unwrap_or_default(),
            Reader::EscNotification => esc::notification_tree(bytes).unwrap_or_default(),
        })
    }

    /// What stands at `path`, names separated by `/` (`VM/USER_TEMPLATE/TIER`); on the way the first of a list is taken.
    pub fn at(&self, path: &str) -> Option<&Value> {
        let mut value = self.tree();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            value = first(value).get(name)?;
        }
        Some(value)
    }

    /// The text at `path`, of a list the first one's; empty when nothing is there or it is no text.
    pub fn text(&self, path: &str) -> String {
        match self.at(path).map(first) {
            Some(Value::String(text)) => text.clone(),
            Some(number @ (Value::Number(_) | Value::Bool(_))) => number.to_string(),
            Some(Value::Object(fields)) => fields
                .get("#text")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            _ => String::new(),
        }
    }
}

fn first(value: &Value) -> &Value {
    match value {
        Value::Array(list) => list.first().unwrap_or(&Value::Null),
        other => other,
    }
}

fn tree(bytes: &[u8]) -> Value {
    if bytes.len() > MAX_DOCUMENT {
        return Value::Null;
    }
    let text = document::readable(bytes);
    if text.trim_start().starts_with(['{', '[']) {
        return serde_json::from_str(&text).unwrap_or_default();
    }
    if let Some(tree) = opennebula::tolerant_tree(&text) {
        return tree;
    }
    document::parse(&text).map_or(Value::Null, |root| children(&root))
}

/// The tree of what is in an element.
pub(super) fn children(element: &Element) -> Value {
    let mut fields = Map::new();
    for (name, value) in &element.attributes {
        fields.insert(format!("@{name}"), Value::String(value.clone()));
    }
    for child in element.elements() {
        insert(&mut fields, &child.name, value(child));
    }
    if let Some(text) = own_text(element) {
        fields.insert("#text".to_owned(), Value::String(text));
    }
    Value::Object(fields)
}

fn value(element: &Element) -> Value {
    if element.attributes.is_empty() && element.elements().next().is_none() {
        return Value::String(element.text());
    }
    // Depth is bounded where documents are read.
    children(element)
}

pub(super) fn insert(fields: &mut Map<String, Value>, name: &str, value: Value) {
    match fields.get_mut(name) {
        Some(Value::Array(list)) => list.push(value),
        Some(only) => {
            let earlier = only.take();
            *only = Value::Array(vec![earlier, value]);
        }
        None => {
            fields.insert(name.to_owned(), value);
        }
    }
}

/// Text that stands in the element itself; the blanks between elements are layout, not text.
fn own_text(element: &Element) -> Option<String> {
    let text = element.text();
    let marked = element
        .children
        .iter()
        .any(|node| matches!(node, Node::CData(data) if !data.is_empty()));
    (marked || !text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn payload(document: &str) -> Payload {
        Payload::new(Bytes::from(document.to_owned()))
    }

    #[test]
    fn a_document_is_a_tree() {
        let table = [
            (
                "<R><A>x</A><B><C>1</C><C>2</C><C><D/></C></B><E/></R>",
                json!({"A": "x", "B": {"C": ["1", "2", {"D": ""}]}, "E": ""}),
            ),
            (
                "<R><A k='v'>x</A><B k='v'/><C><![CDATA[<&>]]></C></R>",
                json!({"A": {"@k": "v", "#text": "x"}, "B": {"@k": "v"}, "C": "<&>"}),
            ),
            (
                "<R>\n  <A> x </A>\n  <B>\n    <C/>\n  </B>\n</R>",
                json!({"A": " x ", "B": {"C": ""}}),
            ),
            ("<R>a<B/>c</R>", json!({"B": "", "#text": "ac"})),
            ("<R>text</R>", json!({"#text": "text"})),
            ("<R/>", json!({})),
            (
                "<?xml version='1.0'?><!-- c --><R><A>&lt;&#65;</A></R>\n",
                json!({"A": "<A"}),
            ),
            (" {\"a\": [1, {\"b\": null}]}", json!({"a": [1, {"b": null}]})),
            ("[1]", json!([1])),
            ("{broken", Value::Null),
            ("", Value::Null),
            ("text", Value::Null),
            ("<R><A></R>", Value::Null),
            ("<!DOCTYPE R><R/>", Value::Null),
        ];
        for (document, tree) in table {
            assert_eq!(payload(document).tree(), &tree, "{document}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = |n: usize| "<A>".repeat(n) + &"</A>".repeat(n);
        assert!(payload(&deep(128)).tree().is_object());
        assert!(payload(&deep(129)).tree().is_null());
        assert!(payload(&deep(100_000)).tree().is_null());
        assert!(payload(&"[".repeat(100_000)).tree().is_null());
    }

    #[test]
    fn a_path_leads_to_a_text() {
        let payload = payload(
            "<HOOK_MESSAGE><VM><USER_TEMPLATE><TIER>web</TIER></USER_TEMPLATE><DISK><ID>0</ID></DISK><DISK><ID>1</ID></DISK>\
             <N k='v'>t</N></VM></HOOK_MESSAGE>",
        );
        assert_eq!(payload.text("VM/USER_TEMPLATE/TIER"), "web");
        assert_eq!(payload.text("VM/USER_TEMPLATE/NONE"), "");
        assert_eq!(payload.text("VM/USER_TEMPLATE"), "");
        assert_eq!(payload.text("VM/DISK/ID"), "0");
        assert_eq!(payload.text("VM/N"), "t");
        assert_eq!(payload.text("VM/N/@k"), "v");
        assert!(payload.at("VM/DISK").is_some_and(Value::is_array));
        assert!(payload.at("VM/DISK/NONE").is_none());
        assert_eq!(payload.at(""), Some(payload.tree()));
    }

    #[test]
    fn a_state_message_that_is_not_well_formed_still_has_its_head() {
        let document = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><STATE>HOLD</STATE><VM><NAME>a & b</NAME></VM></HOOK_MESSAGE>";
        assert_eq!(
            payload(document).tree(),
            &json!({"HOOK_TYPE": "STATE", "STATE": "HOLD"})
        );
    }

    #[test]
    fn clones_share_the_tree() {
        let first = payload("<R><A>x</A></R>");
        let second = first.clone();
        assert!(std::ptr::eq(first.tree(), second.tree()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_tree_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let payload = Payload::new(Bytes::from(bytes));
            let _ = payload.tree();
            let _ = payload.text("A/B");
        }

        #[test]
        fn no_text_makes_the_tree_panic(text in "(<[A-C]>|</[A-C]>|<[A-C]/>|<HOOK_MESSAGE>|<HOOK_TYPE>API</HOOK_TYPE>|<CALL_INFO>|<RESULT>1</RESULT>|\\{|\\[|\"|&|\\PC){0,20}") {
            let _ = payload(&text).tree();
        }
    }
}
