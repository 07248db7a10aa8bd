//! What the controller says of the present state of its resources, and the message that would have told of it.
//!
//! A pool is `<VM_POOL>` with one element a resource, the very element that a state's message holds (OpenNebula, "XML-RPC
//! API"; `to_xml` of `src/vm/VirtualMachine.cc` and its neighbours). States stand in it as numbers; messages have their names.

use quick_xml::escape::partial_escape;

use super::{Resource, vocabulary};
use crate::event::document::{self, Element, Fault};
use crate::event::{Facts, StateChange};

/// Elements before which a resource's element holds only what the controller writes itself.
const STOP: &[&str] = &["TEMPLATE", "USER_TEMPLATE"];

/// The longest name of a state that is remembered, in bytes. The controller's have some twenty; who else publishes a message
/// may write anything there.
const LONGEST_STATE: usize = 100;

/// Which resource it is: its kind and its number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// The kind.
    pub resource: Resource,
    /// The number.
    pub number: u64,
}

/// The state a resource is in, by the names that the controller publishes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StateNames {
    /// The state.
    pub state: String,
    /// The state of the life-cycle manager; VMs only.
    pub lcm_state: Option<String>,
}

impl StateNames {
    /// Whether both say the same. A life-cycle state that one of them does not say is not compared.
    pub fn is_same_as(&self, other: &Self) -> bool {
        let both = self.lcm_state.as_ref().zip(other.lcm_state.as_ref());
        self.state == other.state && both.is_none_or(|(one, other)| one == other)
    }
}

/// Which resource a change of state is about, and what it is in now. None where the message does not say, for kinds of
/// resources that cannot be asked for, and for names that no state has.
pub fn state_told(facts: &Facts) -> Option<(ResourceId, StateNames)> {
    let Facts::State(change) = facts else {
        return None;
    };
    let StateChange {
        resource,
        id: Some(id),
        state,
        lcm_state,
        ..
    } = change
    else {
        return None;
    };
    if let Resource::Other(_) = resource {
        return None;
    }
    let resource = ResourceId {
        resource: resource.clone(),
        number: id.parse().ok()?,
    };
    // One value of the store has both.
    let is_a_name = |name: &String| name.len() <= LONGEST_STATE;
    if !is_a_name(state) || !lcm_state.as_ref().is_none_or(is_a_name) {
        return None;
    }
    let names = StateNames {
        state: state.clone(),
        lcm_state: lcm_state.clone(),
    };
    Some((resource, names))
}

/// One resource as a pool has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEntry {
    /// Which one.
    pub id: ResourceId,
    /// The state it is in; none where its number is not known here.
    pub state: Option<StateNames>,
    /// Its element, as it stands there.
    pub element: String,
}

/// Why a document is no pool, or has no resource in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PoolFault {
    /// It is not well-formed.
    #[error("it is no XML that can be read: {0}")]
    Document(String),
    /// It is something else.
    #[error("it begins with `{found}`, not with `{wanted}`")]
    Other {
        /// What it begins with, the first of it.
        found: String,
        /// What was asked for.
        wanted: String,
    },
    /// A resource in it does not say which one it is.
    #[error("a resource in it has no number")]
    NoNumber,
}

/// What a pool, or a page of one, says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// The resources that can be read, in the document's order.
    pub entries: Vec<PoolEntry>,
    /// Those that cannot.
    pub left_out: Vec<LeftOut>,
}

impl Page {
    /// How many resources it has, whether they can be read or not.
    pub const fn len(&self) -> usize {
        self.entries.len() + self.left_out.len()
    }

    /// Whether it has none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A resource of a pool that cannot be read; the others can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its number, where that much can be read.
    pub number: Option<u64>,
    /// Why not.
    pub why: PoolFault,
}

/// The resources of a pool of this kind: `<VM_POOL>…</VM_POOL>`. One that cannot be read leaves the others.
///
/// # Errors
/// See [`PoolFault`]: it is no such pool, or ends before its end.
pub fn pool_page(document: &str, resource: &Resource) -> Result<Page, PoolFault> {
    let root = format!("{}_POOL", resource.element_name());
    let (open, close, empty) = (format!("<{root}>"), format!("</{root}>"), format!("<{root}/>"));
    let text = after_declaration(document);
    if text.trim_end() == empty {
        return Ok(Page::default());
    }
    let mut rest = text.strip_prefix(open.as_str()).ok_or_else(|| PoolFault::Other {
        found: text.chars().take(32).collect(),
        wanted: open,
    })?;
    let mut page = Page::default();
    loop {
        rest = rest.trim_ascii_start();
        if let Some(behind) = rest.strip_prefix(close.as_str()) {
            return if behind.trim_ascii().is_empty() {
                Ok(page)
            } else {
                Err(unreadable(&Fault::AfterRoot))
            };
        }
        if rest.is_empty() {
            return Err(unreadable(&Fault::Unclosed));
        }
        let (element, behind, read) = match first_element(rest) {
            Ok((element, behind)) => (element, behind, entry(element, resource)),
            Err(why) => {
                let (broken, behind) = rest.split_at(length_of_broken(rest, resource, &close));
                (broken, behind, Err(why))
            }
        };
        rest = behind;
        match read {
            Ok(entry) => page.entries.extend(entry),
            Err(why) => {
                let [number] = document::leading_texts(element, ["ID"], STOP);
                let number = number.and_then(|number| number.trim().parse().ok());
                page.left_out.push(LeftOut { number, why });
            }
        }
    }
}

/// How far a resource reaches that is not well-formed: to where the next one or the end of the pool follows its end tag.
/// What users write stands in CDATA sections, which are not looked into.
fn length_of_broken(rest: &str, resource: &Resource, close: &str) -> usize {
    const DATA: &str = "<![CDATA[";
    let name = resource.element_name();
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let mut at = 0;
    while let Some(found) = rest[at..].find('<') {
        at += found;
        let here = &rest[at..];
        if here.starts_with(DATA) {
            match here.find("]]>") {
                Some(length) => at += length,
                None => break,
            }
        } else if here.starts_with(end.as_str()) {
            at += end.len();
            let behind = rest[at..].trim_ascii_start();
            if behind.starts_with(start.as_str()) || behind.starts_with(close) {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// The one resource of this kind that a document holds: `<VM>…</VM>`.
///
/// # Errors
/// See [`PoolFault`].
pub fn resource_entry(document: &str, resource: &Resource) -> Result<PoolEntry, PoolFault> {
    let text = after_declaration(document);
    let (element, _) = first_element(text)?;
    entry(element, resource)?.ok_or_else(|| PoolFault::Other {
        found: text.chars().take(32).collect(),
        wanted: format!("<{}>", resource.element_name()),
    })
}

fn unreadable(fault: &Fault) -> PoolFault {
    PoolFault::Document(fault.to_string())
}

fn after_declaration(document: &str) -> &str {
    let text = document.trim_start_matches('\u{feff}').trim_ascii_start();
    match text.strip_prefix("<?xml") {
        Some(declaration) => match declaration.split_once("?>") {
            Some((_, rest)) => rest.trim_ascii_start(),
            None => text,
        },
        None => text,
    }
}

fn first_element(text: &str) -> Result<(&str, &str), PoolFault> {
    let length = document::measure(text).map_err(|fault| unreadable(&fault))?;
    // A length inside of the text, by what `measure` promises.
    text.split_at_checked(length)
        .ok_or_else(|| unreadable(&Fault::Unclosed))
}

/// The resource of an element; none for an element of another name.
fn entry(element: &str, resource: &Resource) -> Result<Option<PoolEntry>, PoolFault> {
    let name = element
        .strip_prefix('<')
        .and_then(|inner| inner.split(['>', '/', ' ', '\t', '\r', '\n']).next());
    if name != Some(resource.element_name()) {
        return Ok(None);
    }
    let [number, state, lcm_state] = document::leading_texts(element, ["ID", "STATE", "LCM_STATE"], STOP);
    let number = number
        .and_then(|number| number.trim().parse().ok())
        .ok_or(PoolFault::NoNumber)?;
    Ok(Some(PoolEntry {
        id: ResourceId {
            resource: resource.clone(),
            number,
        },
        state: named(resource, state.as_deref(), lcm_state.as_deref()),
        element: element.to_owned(),
    }))
}

fn named(resource: &Resource, state: Option<&str>, lcm_state: Option<&str>) -> Option<StateNames> {
    let lcm_state = match resource {
        Resource::Vm => Some(vocabulary::known_lcm_state_name(lcm_state?)?.to_owned()),
        _ => None,
    };
    Some(StateNames {
        state: vocabulary::state_name(resource, state?)?.to_owned(),
        lcm_state,
    })
}

/// A message as the hook manager publishes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateMessage {
    /// Its key, as the driver spells it.
    pub key: String,
    /// Its document.
    pub document: String,
}

impl PoolEntry {
    /// The message that tells of the state this resource is in, built around its element as the controller builds it
    /// (`format_message` in `src/hm/HookState*.cc`). What a VM's owner wrote into `SERVICE_ID` is escaped, though: the
    /// controller puts it there as it is, and so lets it pass for a part of the message.
    ///
    /// None where the state is not known by name.
    pub fn message(&self) -> Option<StateMessage> {
        let StateNames { state, lcm_state } = self.state.as_ref()?;
        let ResourceId { resource, number } = &self.id;
        let mut document = format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>{resource}</HOOK_OBJECT><STATE>{state}</STATE>"
        );
        let number_told = format!("<RESOURCE_ID>{number}</RESOURCE_ID>");
        match resource {
            Resource::Vm => {
                let lcm_state = lcm_state.as_deref().unwrap_or_default();
                document.push_str(&format!("<LCM_STATE>{lcm_state}</LCM_STATE>{number_told}"));
                let of_vm = OfVm::read(&self.element);
                if !of_vm.service.is_empty() {
                    let service = partial_escape(&*of_vm.service);
                    document.push_str(&format!("<SERVICE_ID>{service}</SERVICE_ID>"));
                }
                document.push_str(&match of_vm.host {
                    Some(host) => format!("<REMOTE_HOST>{}</REMOTE_HOST>", partial_escape(&*host)),
                    None => "<REMOTE_HOST/>".to_owned(),
                });
            }
            Resource::Host => {
                let [name] = document::leading_texts(&self.element, ["NAME"], STOP);
                let name = name.unwrap_or_default();
                document.push_str(&format!(
                    "<REMOTE_HOST>{}</REMOTE_HOST>{number_told}",
                    partial_escape(&*name)
                ));
            }
            Resource::Image | Resource::Net | Resource::Other(_) => document.push_str(&number_told),
        }
        document.push_str(&self.element);
        document.push_str("</HOOK_MESSAGE>");
        let lcm_state = lcm_state.as_deref().unwrap_or_default();
        Some(StateMessage {
            key: format!(
                "EVENT STATE {}/{state}/{lcm_state}/{number} ",
                resource.key_name()
            ),
            document,
        })
    }
}

/// What a message of a VM says besides its state.
#[derive(Debug, Default)]
struct OfVm {
    /// The service that its owner's template names.
    service: String,
    /// The host of the newest record of its history; none before it was ever deployed.
    host: Option<String>,
}

impl OfVm {
    fn read(element: &str) -> Self {
        let Ok(vm) = document::parse_element(element) else {
            return Self::default();
        };
        let child =
            |parent: &Element, name: &str| parent.elements().find(|child| child.name == name).cloned();
        let service = child(&vm, "USER_TEMPLATE").and_then(|template| child(&template, "SERVICE_ID"));
        let newest = child(&vm, "HISTORY_RECORDS").and_then(|records| {
            let sequence = |record: &Element| -> Option<u64> {
                child(record, "SEQ").and_then(|number| number.text().trim().parse().ok())
            };
            let histories = records.elements().filter(|record| record.name == "HISTORY");
            histories.max_by_key(|record| sequence(record)).cloned()
        });
        Self {
            service: service.map(|service| service.text()).unwrap_or_default(),
            host: newest
                .and_then(|record| child(&record, "HOSTNAME"))
                .map(|host| host.text()),
        }
    }
}

#[cfg(test)]
mod tests;
