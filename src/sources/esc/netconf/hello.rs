//! How a session begins: both sides say which versions they speak, and what else they can (RFC 6241, section 8.1).

use super::framing::{Framing, framed};
use super::request::BASE_NAMESPACE;
use crate::event::document::{self, Element};

pub(super) const BASE_1_0: &str = "urn:ietf:params:netconf:base:1.0";
pub(super) const BASE_1_1: &str = "urn:ietf:params:netconf:base:1.1";
pub(super) const NOTIFICATIONS: &str = "urn:ietf:params:netconf:capability:notification:1.0";

/// A hello is no longer; real ones have some KiB.
pub(super) const LONGEST: usize = 1 << 20;

/// What a server says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    /// The number that it gave the session.
    pub(super) session: String,
    /// How messages are told apart from now on.
    pub(super) framing: Framing,
    /// It sends notifications.
    pub(super) has_notifications: bool,
}

/// Why a server's first message is no beginning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloFault {
    /// It is longer than any.
    #[error("the server's first message is no hello that is understood: it is too long")]
    TooLong,
    /// It cannot be read.
    #[error("the server's first message is no hello that is understood: {0}")]
    Unreadable(String),
    /// Neither version is common.
    #[error("the server speaks neither base:1.0 nor base:1.1")]
    Base,
}

/// What hem says first, as it is sent.
pub(super) fn sent() -> Vec<u8> {
    let hello = format!(
        "<hello xmlns=\"{BASE_NAMESPACE}\"><capabilities><capability>{BASE_1_0}</capability><capability>{BASE_1_1}</capability>\
         </capabilities></hello>"
    );
    framed(Framing::EndMark, &hello)
}

/// Reads what a server says first.
pub(super) fn read(message: &[u8]) -> Result<Greeting, HelloFault> {
    let unreadable = |why: &str| HelloFault::Unreadable(why.to_owned());
    let text = std::str::from_utf8(message).map_err(|_| unreadable("it is no UTF-8"))?;
    let root = document::parse(text).map_err(|fault| HelloFault::Unreadable(fault.to_string()))?;
    if local(&root.name) != "hello" {
        return Err(unreadable("it is something else"));
    }
    let capabilities: Vec<String> = child(&root, "capabilities")
        .into_iter()
        .flat_map(Element::elements)
        .map(|capability| capability.text().trim().to_owned())
        .collect();
    let has = |wanted: &str| {
        let mut capabilities = capabilities.iter();
        capabilities.any(|known| known.split('?').next() == Some(wanted))
    };
    let session = child(&root, "session-id")
        .map(|id| id.text().trim().to_owned())
        .filter(|id| !id.is_empty())
        .ok_or_else(|| unreadable("it gives the session no number"))?;
    let framing = if has(BASE_1_1) {
        Framing::Chunks
    } else if has(BASE_1_0) {
        Framing::EndMark
    } else {
        return Err(HelloFault::Base);
    };
    Ok(Greeting {
        session,
        framing,
        has_notifications: has(NOTIFICATIONS),
    })
}

/// The first child of this name, whatever its namespace.
pub(super) fn child<'a>(element: &'a Element, name: &str) -> Option<&'a Element> {
    element.elements().find(|child| local(&child.name) == name)
}

/// The name without its prefix.
pub(super) fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}
