//! How an event is stored, apart from its payload.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::ListedEvent;
use super::esc::StoredEsc;
use super::ncmp::StoredNcmp;
use super::{FormatError, is_false, read, write};
use crate::event::id::{HookName, Seq};
use crate::event::masakari::{MasakariNotification, Observed};
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::webhook::{Form, WebhookRequest};
use crate::event::{ApiCall, Event, Facts, Gap, RetryRequest, StateChange, Subject, own};

#[derive(Serialize, Deserialize)]
struct StoredEvent {
    source: String,
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    received: i64,
    facts: StoredFacts,
    #[serde(default, skip_serializing_if = "is_false")]
    ambiguous: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    synthesised: bool,
    payload_len: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hooks: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum StoredFacts {
    State {
        resource: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        state: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lcm_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous_lcm_state: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
    },
    Api {
        call: String,
        success: bool,
    },
    Retry {
        hook_id: u64,
        arguments: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remote_host: Option<String>,
    },
    Undecodable {
        reason: String,
    },
    Gap {
        from: i64,
        to: i64,
        why: String,
        lost: u64,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        keys: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        present: Vec<String>,
    },
    /// hem's own: the object that is also its payload.
    Own {
        document: String,
    },
    Webhook {
        endpoint: String,
        method: String,
        form: Form,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        delivery: Option<String>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
    },
    Esc(Box<StoredEsc>),
    Ncmp(StoredNcmp),
    Masakari {
        uuid: String,
        #[serde(rename = "type")]
        notification_type: String,
        hostname: String,
        generated_time: String,
        payload: BTreeMap<String, String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host_uuid: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segment_uuid: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        observed: Option<StoredObserved>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<String>,
    },
}

#[derive(Serialize, Deserialize)]
struct StoredObserved {
    id: u64,
    status: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
}

pub(in crate::store) fn write_event(event: &Event, payload_len: u64, hooks: &[HookName]) -> Vec<u8> {
    let facts = match &event.facts {
        Facts::State(change) => StoredFacts::State {
            resource: change.resource.as_str().to_owned(),
            id: change.id.clone(),
            state: change.state.clone(),
            lcm_state: change.lcm_state.clone(),
            previous_state: change.previous_state.clone(),
            previous_lcm_state: change.previous_lcm_state.clone(),
            host: change.host.clone(),
        },
        Facts::Api(call) => StoredFacts::Api {
            call: call.call.clone(),
            success: call.success,
        },
        Facts::Retry(retry) => StoredFacts::Retry {
            hook_id: retry.hook_id,
            arguments: retry.arguments.clone(),
            remote_host: retry.remote_host.clone(),
        },
        Facts::Undecodable { reason } => StoredFacts::Undecodable {
            reason: reason.clone(),
        },
        Facts::Gap(gap) => StoredFacts::Gap {
            from: gap.from.as_millis(),
            to: gap.to.as_millis(),
            why: gap.why.clone(),
            lost: gap.lost,
            keys: gap.keys.clone(),
            present: gap.present.clone(),
        },
        Facts::Own(own) => StoredFacts::Own {
            document: own.document(),
        },
        Facts::Webhook(webhook) => StoredFacts::Webhook {
            endpoint: webhook.endpoint.clone(),
            method: webhook.method.clone(),
            form: webhook.form,
            delivery: webhook.delivery.clone(),
            headers: webhook.headers.clone(),
            sender: webhook.sender.clone(),
            request: webhook.request.clone(),
        },
        Facts::Esc(event) => StoredFacts::Esc(Box::new(StoredEsc::of(event))),
        Facts::Ncmp(told) => StoredFacts::Ncmp(StoredNcmp::of(told)),
        Facts::Masakari(told) => StoredFacts::Masakari {
            uuid: told.uuid.clone(),
            notification_type: told.kind.clone(),
            hostname: told.hostname.clone(),
            generated_time: told.generated_time.clone(),
            payload: told.payload.clone(),
            host_uuid: told.host_uuid.clone(),
            segment_uuid: told.segment_uuid.clone(),
            observed: told.observed.as_ref().map(|observed| StoredObserved {
                id: observed.id,
                status: observed.status.clone(),
                previous: observed.previous.clone(),
            }),
            sender: told.sender.clone(),
            request: told.request.clone(),
        },
    };
    write(&StoredEvent {
        source: event.source.to_string(),
        key: event.key.clone(),
        subject: event.subject.as_ref().map(ToString::to_string),
        received: event.received.as_millis(),
        facts,
        ambiguous: event.ambiguous,
        synthesised: event.synthesised,
        payload_len,
        hooks: hooks.iter().map(ToString::to_string).collect(),
    })
}

/// Reads an event; its payload is empty.
pub(in crate::store) fn read_event(seq: Seq, bytes: &[u8]) -> Result<ListedEvent, FormatError> {
    let stored: StoredEvent = read(bytes)?;
    let facts = match stored.facts {
        StoredFacts::State {
            resource,
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        } => Facts::State(StateChange {
            resource: Resource::parse(&resource),
            id,
            state,
            lcm_state,
            previous_state,
            previous_lcm_state,
            host,
        }),
        StoredFacts::Api { call, success } => Facts::Api(ApiCall { call, success }),
        StoredFacts::Retry {
            hook_id,
            arguments,
            remote_host,
        } => Facts::Retry(RetryRequest {
            hook_id,
            arguments,
            remote_host,
        }),
        StoredFacts::Undecodable { reason } => Facts::Undecodable { reason },
        StoredFacts::Gap {
            from,
            to,
            why,
            lost,
            keys,
            present,
        } => Facts::Gap(Gap {
            from: Timestamp::from_millis(from),
            to: Timestamp::from_millis(to),
            why,
            lost,
            keys,
            present,
        }),
        StoredFacts::Own { document } => match own::read(document.as_bytes()).facts {
            Facts::Own(own) => Facts::Own(own),
            _ => return Err(FormatError::Value(document)),
        },
        StoredFacts::Webhook {
            endpoint,
            method,
            form,
            delivery,
            headers,
            sender,
            request,
        } => Facts::Webhook(WebhookRequest {
            endpoint,
            method,
            form,
            delivery,
            headers,
            sender,
            request,
        }),
        StoredFacts::Ncmp(stored) => Facts::Ncmp(Box::new(stored.into_record())),
        StoredFacts::Esc(stored) => Facts::Esc(Box::new(stored.into_event()?)),
        StoredFacts::Masakari {
            uuid,
            notification_type,
            hostname,
            generated_time,
            payload,
            host_uuid,
            segment_uuid,
            observed,
            sender,
            request,
        } => Facts::Masakari(MasakariNotification {
            uuid,
            kind: notification_type,
            hostname,
            generated_time,
            payload,
            host_uuid,
            segment_uuid,
            observed: observed.map(|observed| Observed {
                id: observed.id,
                status: observed.status,
                previous: observed.previous,
            }),
            sender,
            request,
        }),
    };
    Ok(ListedEvent {
        event: Event {
            seq,
            source: stored.source.into(),
            key: stored.key,
            subject: stored.subject.as_deref().map(Subject::new),
            received: Timestamp::from_millis(stored.received),
            facts,
            ambiguous: stored.ambiguous,
            synthesised: stored.synthesised,
            payload: Payload::new(Bytes::new()),
        },
        payload_len: stored.payload_len,
        hooks: stored.hooks.iter().map(|name| HookName::trusted(name)).collect(),
    })
}
