//! Documents of ESC → facts and trees.
//!
//! XML is read by local names, whatever the root element and the namespaces: guides show the NETCONF base namespace on callbacks,
//! and two different ones on notifications.

use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::{EscEvent, LONGEST_MESSAGE, LONGEST_VALUE, Machine, Via};
use crate::event::document::{self, Element};
use crate::event::payload;
use crate::event::webhook::{BodyFault, Form};

/// What ESC writes for a value it does not have.
const NULL: &str = "NULL";

/// A longer delivery is known by its hash.
const LONGEST_DELIVERY: usize = 512;

/// Why a document is no event of ESC.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It cannot be read at all.
    #[error(transparent)]
    Body(#[from] BodyFault),
    /// Neither XML nor a JSON object.
    #[error("the body is no JSON object")]
    NoObject,
    /// Callbacks are XML or JSON.
    #[error("callbacks are XML or JSON, not a form")]
    Form,
    /// It does not say what happened.
    #[error("it does not say what happened: `{0}` is missing or empty")]
    NoType(&'static str),
    /// It is XML, but no notification.
    #[error("its root is `{0}`, and not a `notification`")]
    NoNotification(String),
}

/// What stands in the headers of a callback.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallbackHeaders {
    /// The transaction.
    pub transaction: Option<String>,
    /// The code, like HTTP's.
    pub status_code: Option<String>,
    /// What ESC says about it, on one line.
    pub status_message: Option<String>,
}

impl CallbackHeaders {
    /// Finds them among all headers. ESC's guides spell them with `-` and with `_`, in capitals and in small letters; of one that
    /// occurs twice the first counts.
    pub fn of<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Self {
        let mut found = Self::default();
        for (name, value) in headers {
            let name = name.to_ascii_lowercase().replace('_', "-");
            let (place, longest) = match name.as_str() {
                "esc-transaction-id" => (&mut found.transaction, LONGEST_VALUE),
                "esc-status-code" => (&mut found.status_code, LONGEST_VALUE),
                "esc-status-message" => (&mut found.status_message, LONGEST_MESSAGE),
                _ => continue,
            };
            if place.is_none() {
                *place = said(&String::from_utf8_lossy(value)).map(|text| cut(text, longest));
            }
        }
        found
    }
}

/// What a document of the notification stream is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notification {
    /// An event, with its tree.
    Event(Box<EscEvent>, Value),
    /// All that the server had kept was sent (RFC 5277, `replayComplete`).
    ReplayComplete,
    /// The subscription has ended (RFC 5277, `notificationComplete`).
    NotificationComplete,
    /// Another module's, whose element this is.
    Other(String),
}

/// The tree of a callback's body, by local names and without what says nothing.
///
/// # Errors
/// It cannot be read as that, or is no object.
pub fn callback_tree(form: Form, body: &[u8]) -> Result<Value, Fault> {
    let tree = match form {
        Form::Json => {
            let text = utf8(body)?;
            let tree = serde_json::from_str(text.trim_start_matches('\u{feff}'))
                .map_err(|error| BodyFault::Json(error.to_string()))?;
            let Value::Object(_) = tree else {
                return Err(Fault::NoObject);
            };
            within_the_root(pruned(tree).unwrap_or_else(|| Value::Object(Map::new())))
        }
        Form::Xml => tree_of(&parsed(body)?),
        Form::Form => return Err(Fault::Form),
    };
    Ok(tree)
}

/// The event that a callback is, with its tree; `sender` and `request` are the caller's to add.
///
/// # Errors
/// The body cannot be read, or does not say what happened.
pub fn read_callback(form: Form, body: &[u8], headers: CallbackHeaders) -> Result<(EscEvent, Value), Fault> {
    let tree = callback_tree(form, body)?;
    let mut event = EscEvent {
        status_code: headers.status_code.or_else(|| text(&tree, &["status_code"])),
        status_message: headers.status_message.or_else(|| message(&tree)),
        transaction: headers.transaction.or_else(|| text(&tree, &["transaction_id"])),
        ..facts(Via::Rest, form, &tree).ok_or(Fault::NoType("event_type"))?
    };
    if event.status.is_none() {
        event.status = event
            .status_code
            .as_deref()
            .and_then(status_of)
            .map(str::to_owned);
    }
    event.delivery = event
        .transaction
        .as_ref()
        .map(|transaction| delivery(transaction, &event, &tree));
    Ok((event, tree))
}

/// The tree of the `escEvent` in a notification, likewise; of another notification, of what it brings.
///
/// # Errors
/// It cannot be read, or is no notification.
pub fn notification_tree(document: &[u8]) -> Result<Value, Fault> {
    let root = parsed(document)?;
    Ok(notified(&root)?.map_or_else(Value::default, tree_of))
}

/// What a document of the notification stream is. A bare `escEvent` is taken too; it has no time.
///
/// # Errors
/// It cannot be read, is no notification, or does not say what happened.
pub fn read_notification(document: &[u8]) -> Result<Notification, Fault> {
    let root = parsed(document)?;
    let Some(element) = notified(&root)? else {
        return Ok(Notification::Other(String::new()));
    };
    match local(&element.name) {
        "escEvent" => {}
        "replayComplete" => return Ok(Notification::ReplayComplete),
        "notificationComplete" => return Ok(Notification::NotificationComplete),
        other => return Ok(Notification::Other(cut(other.to_owned(), LONGEST_VALUE))),
    }
    let time = root.elements().find(|child| local(&child.name) == "eventTime");
    let tree = tree_of(element);
    let event = EscEvent {
        time: time
            .and_then(|time| said(&time.text()))
            .map(|time| cut(time, LONGEST_VALUE)),
        ..facts(Via::Netconf, Form::Xml, &tree).ok_or(Fault::NoType("event/type"))?
    };
    Ok(Notification::Event(Box::new(event), tree))
}

/// What a notification brings besides its time.
fn notified(root: &Element) -> Result<Option<&Element>, Fault> {
    match local(&root.name) {
        "escEvent" => Ok(Some(root)),
        "notification" => Ok(root.elements().find(|child| local(&child.name) != "eventTime")),
        other => Err(Fault::NoNotification(cut(other.to_owned(), LONGEST_VALUE))),
    }
}

fn utf8(body: &[u8]) -> Result<&str, BodyFault> {
    std::str::from_utf8(body).map_err(|_| BodyFault::Encoding)
}

fn parsed(body: &[u8]) -> Result<Element, BodyFault> {
    document::parse(utf8(body)?).map_err(|fault| BodyFault::Xml(fault.to_string()))
}

/// What both ways say, by the names of either. None where it does not say what happened.
fn facts(via: Via, form: Form, tree: &Value) -> Option<EscEvent> {
    Some(EscEvent {
        via,
        form,
        event: text(tree, &["event_type", "event/type"])?,
        status: text(tree, &["status"]),
        status_code: text(tree, &["status_code"]),
        status_message: message(tree),
        tenant: text(tree, &["tenant", "internal_tenant_id", "tenant_name"]),
        deployment: text(tree, &["depname", "internal_deployment_id", "deployment_name"]),
        vm_group: text(tree, &["vm_group", "vm_group_name"]),
        vm: Machine {
            id: text(tree, &["vm_source/vmid", "deployment_details/vm_uuid", "vm_uuid"]),
            name: text(
                tree,
                &["vm_source/vmname", "deployment_details/vm_name", "vm_name"],
            ),
            host_id: text(tree, &["vm_source/hostid", "deployment_details/host_uuid"]),
            host_name: text(tree, &["vm_source/hostname", "deployment_details/host_name"]),
        },
        new_vm: Machine {
            id: text(tree, &["vm_target/vmid"]),
            name: text(tree, &["vm_target/vmname"]),
            host_id: text(tree, &["vm_target/hostid"]),
            host_name: text(tree, &["vm_target/hostname"]),
        },
        resource: text(
            tree,
            &[
                // A subnet names its network besides.
                "subnet",
                "internal_subnet_id",
                "network",
                "internal_network_id",
                "image",
                "internal_image_id",
                "flavor",
                "internal_flavor_id",
                "volume",
                "internal_volume_id",
            ],
        ),
        transaction: None,
        time: None,
        delivery: None,
        sender: None,
        request: None,
    })
}

/// `SUCCESS` for the codes that mean it in HTTP; none for what is no code.
fn status_of(code: &str) -> Option<&'static str> {
    let code: u16 = code.parse().ok()?;
    Some(if (200..300).contains(&code) {
        "SUCCESS"
    } else {
        "FAILURE"
    })
}

/// By what a callback is known when it comes again: its transaction, its type, how it ended, and what it is about. A transaction
/// of several steps sends several callbacks, and one of several VMs the same step for each.
fn delivery(transaction: &str, event: &EscEvent, tree: &Value) -> String {
    let mut vms: Vec<String> = Vec::new();
    for path in [
        "deployment_details/vm_uuid",
        "vm_uuid",
        "vm_source/vmid",
        "vm_target/vmid",
    ] {
        collect(tree, path, &mut vms);
    }
    let about = [
        Some(event.event.as_str()),
        event.status_code.as_deref().or(event.status.as_deref()),
        Some(&vms.join(",")),
        event.resource.as_deref(),
    ];
    let delivery = about.into_iter().fold(transaction.to_owned(), |delivery, part| {
        format!("{delivery} {}", part.unwrap_or_default())
    });
    if delivery.len() <= LONGEST_DELIVERY {
        return delivery;
    }
    Sha256::digest(delivery)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// All texts at a path, in every branch.
fn collect(tree: &Value, path: &str, found: &mut Vec<String>) {
    if let Value::Array(list) = tree {
        list.iter().for_each(|item| collect(item, path, found));
        return;
    }
    let (name, rest) = path.split_once('/').unwrap_or((path, ""));
    if let Some(value) = tree.get(name) {
        match (rest, value) {
            ("", Value::Array(list)) => found.extend(list.iter().filter_map(scalar)),
            ("", value) => found.extend(scalar(value)),
            (rest, value) => collect(value, rest, found),
        }
    }
}

fn message(tree: &Value) -> Option<String> {
    longer_text(tree, &["status_message"], LONGEST_MESSAGE)
}

/// The text at the first of these paths that has one.
fn text(tree: &Value, paths: &[&str]) -> Option<String> {
    longer_text(tree, paths, LONGEST_VALUE)
}

fn longer_text(tree: &Value, paths: &[&str], longest: usize) -> Option<String> {
    let found = paths.iter().find_map(|path| {
        let mut value = first(tree);
        for name in path.split('/') {
            value = first(value.get(name)?);
        }
        scalar(value)
    });
    found.map(|text| cut(text, longest))
}

fn first(value: &Value) -> &Value {
    match value {
        Value::Array(list) => list.first().unwrap_or(&Value::Null),
        other => other,
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        // An element with attributes beside its text.
        Value::Object(fields) => fields.get("#text").and_then(Value::as_str).map(str::to_owned),
        Value::Array(_) | Value::Null => None,
    }
}

/// The text with every run of blanks and line breaks as one blank; none where it says nothing.
fn said(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let mut said = words.next()?.to_owned();
    for word in words {
        said.push(' ');
        said.push_str(word);
    }
    (said != NULL).then_some(said)
}

fn cut(mut text: String, longest: usize) -> String {
    text.truncate(text.floor_char_boundary(longest));
    text
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// What is in an element; always an object, where it says nothing an empty one.
fn tree_of(element: &Element) -> Value {
    match value(element) {
        Some(tree @ Value::Object(_)) => tree,
        Some(text) => Value::Object(Map::from_iter([("#text".to_owned(), text)])),
        None => Value::Object(Map::new()),
    }
}

/// None where the element says nothing. Depth is bounded where documents are read.
fn value(element: &Element) -> Option<Value> {
    let mut fields = Map::new();
    for (name, value) in &element.attributes {
        let is_namespace = name == "xmlns" || name.starts_with("xmlns:");
        if !is_namespace && let Some(said) = said(value) {
            fields.insert(format!("@{}", local(name)), Value::String(said));
        }
    }
    for child in element.elements() {
        if let Some(value) = value(child) {
            payload::insert(&mut fields, local(&child.name), value);
        }
    }
    match said(&element.text()).map(Value::String) {
        text if fields.is_empty() => text,
        Some(text) => {
            fields.insert("#text".to_owned(), text);
            Some(Value::Object(fields))
        }
        None => Some(Value::Object(fields)),
    }
}

/// A JSON value without what says nothing. Depth is bounded where documents are read.
fn pruned(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::String(text) => said(&text).map(Value::String),
        Value::Array(list) => {
            let list: Vec<Value> = list.into_iter().filter_map(pruned).collect();
            (!list.is_empty()).then_some(Value::Array(list))
        }
        Value::Object(fields) => {
            let fields: Map<String, Value> = fields
                .into_iter()
                .filter_map(|(name, value)| Some((name, pruned(value)?)))
                .collect();
            (!fields.is_empty()).then_some(Value::Object(fields))
        }
        other @ (Value::Bool(_) | Value::Number(_)) => Some(other),
    }
}

/// A JSON object that holds nothing but one object, as the root element of XML does, is passed through.
fn within_the_root(tree: Value) -> Value {
    match tree {
        Value::Object(fields) if fields.len() == 1 => match fields.into_iter().next() {
            Some((_, inner @ Value::Object(_))) => inner,
            Some((name, value)) => Value::Object(Map::from_iter([(name, value)])),
            None => Value::default(),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests;
