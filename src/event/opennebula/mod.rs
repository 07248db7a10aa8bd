//! What OpenNebula's documents say: the envelope, the names of states and calls, libxml2's layout.

/// The kinds of resources whose state changes OpenNebula publishes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A virtual machine.
    Vm,
    /// A hypervisor host.
    Host,
    /// A disk image.
    Image,
    /// A virtual network; `NET` in keys and hooks, `VNET` in documents.
    Net,
    /// A kind this program does not know, as spelt in the message.
    Other(String),
}

use bytes::Bytes;

use super::Facts;
use super::payload::Payload;

/// How an element is written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// The bytes as received.
    AsReceived,
    /// As libxml2 lays a document out (two blanks a level, `<X/>` for an empty element, CDATA kept): what `onehem-server` passes on.
    Libxml2,
}

/// What reading a message gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it says happened.
    pub facts: Facts,
    /// What it is about: `vm/12`; without the source's name.
    pub subject: Option<String>,
    /// It can be read in more than one way.
    pub ambiguous: bool,
}

/// Reads a decoded message. The envelope decides what it is; the key only where the envelope says nothing.
pub fn read(_key: &str, _document: &[u8]) -> Reading {
    unimplemented!()
}

/// The resource's own element (`<VM>…</VM>`), or of an API event none.
pub fn resource_element(_payload: &Payload, _layout: Layout) -> Option<Bytes> {
    unimplemented!()
}

/// The CALL_INFO element, made well-formed where parameter values are not; none for a state event.
pub fn call_info(_payload: &Payload, _layout: Layout) -> Option<Bytes> {
    unimplemented!()
}
