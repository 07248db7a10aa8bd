//! One view over XML and JSON documents.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::document::{self, Element, Node};
use super::opennebula::{self, MAX_DOCUMENT};

/// A document exactly as received, and the tree it reads as, built when first asked for.
///
/// Cloning is cheap; clones share the tree.
#[derive(Debug, Clone)]
pub struct Payload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    tree: OnceLock<Value>,
}

impl Payload {
    /// Takes a document as received.
    pub fn new(bytes: Bytes) -> Self {
        Self(Arc::new(Inner {
            bytes,
            tree: OnceLock::new(),
        }))
    }

    /// Takes a document that was read already: for sources that decode JSON themselves, and for tests.
    pub fn with_tree(bytes: Bytes, tree: Value) -> Self {
        Self(Arc::new(Inner {
            bytes,
            tree: OnceLock::from(tree),
        }))
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
    /// read in more than one way, the tree is made of what was read: `PARAMETERS.PARAMETER` a list of `POSITION`, `TYPE` and
    /// `VALUE`, each a string.
    pub fn tree(&self) -> &Value {
        self.0.tree.get_or_init(|| tree(&self.0.bytes))
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

fn insert(fields: &mut Map<String, Value>, name: &str, value: Value) {
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
