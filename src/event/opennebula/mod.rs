//! What OpenNebula's documents say: the envelope, the names of states and calls, libxml2's layout.
//!
//! A message of the hook manager is `<HOOK_MESSAGE>`, an envelope of plain elements, and then either the resource's own
//! element or `CALL_INFO`. The controller does not escape what users write into a call's parameters, so a document may not
//! be well-formed, and may hold text that imitates its own frame. Everything here reads the envelope first and believes
//! nothing below it.

mod calls;
mod elements;
mod envelope;
pub mod hook_pool;
pub mod key;
mod layout;
pub mod pool;
pub mod schema;
mod subject;
pub mod template;
pub mod vocabulary;

pub use self::calls::{CallInfo, Direction, Parameter};
pub use self::elements::{call_info, parsed_call, resource_element};
pub use self::envelope::{MAX_DOCUMENT, read};

pub(super) use self::calls::parameter_ranges;
pub(super) use self::elements::tolerant_tree;

use super::Facts;

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
