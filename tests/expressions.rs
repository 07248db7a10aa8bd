//! What conditions mean, line by line, so that a new version of the CEL crate that means something else is noticed.

mod recorded;

use std::sync::Arc;

use bytes::Bytes;
use hem::event::id::Seq;
use hem::event::opennebula::{self, Resource};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts, StateChange, Subject};
use hem::expression::{EvaluationError, Expression};
use serde_json::json;

fn event() -> Event {
    let tree = json!({
        "HOOK_TYPE": "STATE",
        "VM": {
            "@version": "7.0",
            "ID": "12",
            "NAME": "web-1",
            "EMPTY": "",
            "UNICODE": "grün",
            "COUNT": 3,
            "TEMPLATE": {
                "CPU": "0.5",
                "MEMORY": "8192",
                "DISK": [
                    { "IMAGE": "debian", "SIZE": "10" },
                    { "IMAGE": "data", "SIZE": "20" },
                ],
                "NIC": { "IP": "10.0.0.1" },
            },
            "USER_TEMPLATE": { "TIER": "web", "MY-KEY": "x" },
        },
    });
    Event {
        seq: Seq(1042),
        source: Arc::from("zone1"),
        key: "EVENT STATE VM/ACTIVE/RUNNING/12".to_owned(),
        subject: Some(Subject::new("vm/12")),
        received: Timestamp::from_millis(1_795_313_403_120),
        facts: Facts::State(StateChange {
            resource: Resource::Vm,
            id: Some("12".to_owned()),
            state: "ACTIVE".to_owned(),
            lcm_state: Some("RUNNING".to_owned()),
            previous_state: None,
            previous_lcm_state: Some("BOOT".to_owned()),
            host: Some("node-3".to_owned()),
        }),
        ambiguous: false,
        synthesised: false,
        payload: Payload::with_tree(Bytes::new(), tree),
    }
}

/// What an expression gives, as the golden file writes it.
fn result(text: &str, event: &Event) -> String {
    let Ok(expression) = Expression::compile(text) else {
        return "refused".to_owned();
    };
    match expression.holds(event) {
        Ok(truth) => return truth.to_string(),
        Err(EvaluationError::Absent { path }) => return format!("absent {path}"),
        Err(EvaluationError::Failed(_)) => {}
    }
    match expression.text_for(event) {
        Ok(text) => format!("\"{text}\""),
        Err(_) => "failed".to_owned(),
    }
}

#[test]
fn expressions_mean_what_they_meant() {
    let event = event();
    let golden = include_str!("golden/expressions.txt");
    let lines: Vec<(usize, &str, &str)> = golden
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let (expression, expected) = line
                .rsplit_once(" => ")
                .unwrap_or_else(|| panic!("line {}: no ` => `", number + 1));
            (number + 1, expression, expected)
        })
        .collect();
    assert!(lines.len() >= 60, "only {} expressions", lines.len());

    let differences: Vec<String> = lines
        .into_iter()
        .filter_map(|(number, expression, expected)| {
            let found = result(expression, &event);
            (found != expected).then(|| format!("line {number}: {expression} => {found}, was {expected}"))
        })
        .collect();
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

#[test]
fn conditions_read_what_a_real_controller_publishes() {
    let named = Expression::compile("event.VM.NAME != '' && int(event.VM.ID) >= 0").expect("CEL");
    let inside = Expression::compile(
        "event.HOOK_TYPE == 'STATE' ? event.STATE == meta.state : event.CALL == meta.call",
    )
    .expect("CEL");
    let parameters = Expression::compile(
        "each(event.CALL_INFO.PARAMETERS.PARAMETER).exists(p, p.TYPE == 'OUT' && p.POSITION == '1')",
    )
    .expect("CEL");
    let (mut states_of_vms, mut calls) = (0, 0);
    for message in recorded::events() {
        let reading = opennebula::read(&message.key, &message.content);
        let event = Event {
            key: message.key.clone(),
            facts: reading.facts,
            payload: Payload::new(message.content),
            ..event()
        };
        if matches!(event.facts, Facts::State(_) | Facts::Api(_)) {
            assert_eq!(inside.holds(&event), Ok(true), "{}", message.key);
        }
        match &event.facts {
            Facts::State(change) if change.resource == Resource::Vm => {
                states_of_vms += 1;
                assert_eq!(named.holds(&event), Ok(true), "{}", message.key);
            }
            Facts::Api(_) => {
                calls += 1;
                assert_eq!(parameters.holds(&event), Ok(true), "{}", message.key);
            }
            _ => {}
        }
    }
    assert!(states_of_vms > 50 && calls > 50, "{states_of_vms} {calls}");
}
