//! What a script reads: the document, its elements in base64, the whole event as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::event::id::StoreId;
use crate::event::opennebula::{self, Layout};
use crate::event::{Event, Facts};
use crate::hooks::StdinChoice;
use crate::runner::Stdin;

/// `$TEMPLATE`: base64 without line breaks of the resource's element; empty for an event that has none.
pub(super) fn resource_element(event: &Event, layout: Layout) -> String {
    match event.facts {
        Facts::State(_) => opennebula::resource_element(&event.payload, layout)
            .map_or_else(String::new, |element| STANDARD.encode(element)),
        Facts::Api(_)
        | Facts::Retry(_)
        | Facts::Undecodable { .. }
        | Facts::Gap(_)
        | Facts::Own(_)
        | Facts::Webhook(_)
        | Facts::Esc(_)
        | Facts::Masakari(_)
        | Facts::Ncmp(_) => String::new(),
    }
}

/// `$API`: base64 without line breaks of CALL_INFO; empty for an event that has none.
pub(super) fn call_info(event: &Event, layout: Layout) -> String {
    match event.facts {
        Facts::Api(_) => opennebula::call_info(&event.payload, layout)
            .map_or_else(String::new, |element| STANDARD.encode(element)),
        Facts::State(_)
        | Facts::Retry(_)
        | Facts::Undecodable { .. }
        | Facts::Gap(_)
        | Facts::Own(_)
        | Facts::Webhook(_)
        | Facts::Esc(_)
        | Facts::Masakari(_)
        | Facts::Ncmp(_) => String::new(),
    }
}

/// Arguments on standard input: no newline follows them, as onehem-server writes none.
pub(super) fn text(arguments: String) -> Stdin {
    if arguments.is_empty() {
        Stdin::Empty
    } else {
        Stdin::Bytes(Bytes::from(arguments))
    }
}

/// What `stdin:` asks for.
pub(super) fn chosen(choice: StdinChoice, event: &Event, instance: &StoreId) -> Stdin {
    match choice {
        StdinChoice::None => Stdin::Empty,
        StdinChoice::Payload => Stdin::Bytes(event.payload.bytes().clone()),
        StdinChoice::Base64 => line(STANDARD.encode(event.payload.bytes())),
        StdinChoice::Event => line(event_object(event, instance).to_string()),
    }
}

fn line(mut text: String) -> Stdin {
    text.push('\n');
    Stdin::Bytes(Bytes::from(text))
}

/// The whole event; its shape is documented at [`super`].
fn event_object(event: &Event, instance: &StoreId) -> Value {
    json!({
        "id": format!("{instance}-{}", event.seq),
        "seq": event.seq.0,
        "source": &*event.source,
        "kind": event.kind().as_str(),
        "key": event.key,
        "subject": event.subject.as_ref().map(|subject| subject.as_str()),
        "received": event.received.to_string(),
        "ambiguous": event.ambiguous,
        "synthesised": event.synthesised,
        "facts": facts(&event.facts),
        "event": event.payload.tree(),
        "payload": STANDARD.encode(event.payload.bytes()),
    })
}

fn facts(facts: &Facts) -> Value {
    match facts {
        Facts::State(change) => json!({
            "resource": change.resource.as_str(),
            "id": change.id,
            "state": change.state,
            "lcm_state": change.lcm_state,
            "previous_state": change.previous_state,
            "previous_lcm_state": change.previous_lcm_state,
            "host": change.host,
        }),
        Facts::Api(api) => json!({ "call": api.call, "success": api.success }),
        Facts::Retry(retry) => json!({
            "hook_id": retry.hook_id,
            "arguments": retry.arguments,
            "remote_host": retry.remote_host,
        }),
        Facts::Undecodable { reason } => json!({ "reason": reason }),
        Facts::Gap(gap) => json!({
            "from": gap.from.to_string(),
            "to": gap.to.to_string(),
            "why": gap.why,
            "lost": gap.lost,
            "keys": gap.keys,
            "present": gap.present,
        }),
        Facts::Webhook(request) => json!({
            "endpoint": request.endpoint,
            "method": request.method,
            "form": request.form.as_str(),
            "delivery": request.delivery,
            "headers": request.headers,
            "sender": request.sender,
        }),
        Facts::Esc(event) => event
            .texts()
            .map(|(name, text)| (name, Value::from(text)))
            .collect(),
        Facts::Ncmp(told) => {
            let texts = told
                .texts()
                .map(|(name, text)| (name.to_owned(), Value::from(text)));
            let properties = [
                ("properties".to_owned(), json!(told.properties)),
                ("old_properties".to_owned(), json!(told.old_properties)),
            ];
            texts.chain(properties).collect()
        }
        Facts::Masakari(told) => json!({
            "notification_uuid": told.uuid,
            "type": told.kind,
            "hostname": told.hostname,
            "generated_time": told.generated_time,
            "payload": told.payload,
            "source_host_uuid": told.host_uuid,
            "failover_segment_uuid": told.segment_uuid,
            "status": told.status(),
            "previous_status": told.previous_status(),
            "sender": told.sender,
        }),
        // Its payload is made of nothing else.
        Facts::Own(own) => serde_json::from_str(&own.document()).unwrap_or_default(),
    }
}
