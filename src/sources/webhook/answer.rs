//! What a sender is told of its event.

use serde_json::{Value, json};

use crate::engine::records::ExecutionStanding;
use crate::listener::Response;

/// The event is durable, and these hooks run for it.
pub(super) fn accepted(event: &str, hooks: &[String]) -> Response {
    Response::json(202, &told(event, "accepted", of_hooks(event, hooks)))
}

/// The delivery was accepted before, as this event.
pub(super) fn duplicate(event: &str) -> Response {
    Response::json(200, &json!({ "event": event, "status": "duplicate" }))
}

/// Where everything stands that the event caused; a duplicate is told of the first one's.
pub(super) fn result(event: &str, standings: &[ExecutionStanding], is_duplicate: bool) -> Response {
    let has_ended = standings.iter().all(|standing| standing.is_settled);
    let (code, status) = if has_ended {
        (200, "ended")
    } else {
        (202, "running")
    };
    let executions = standings
        .iter()
        .map(|standing| execution(event, standing))
        .collect();
    let mut told = told(event, status, executions);
    if is_duplicate {
        told["duplicate"] = Value::Bool(true);
    }
    Response::json(code, &told)
}

fn told(event: &str, status: &str, executions: Vec<Value>) -> Value {
    json!({ "event": event, "status": status, "executions": executions })
}

fn of_hooks(event: &str, hooks: &[String]) -> Vec<Value> {
    hooks
        .iter()
        .map(|hook| json!({ "execution": format!("{event}.{hook}"), "hook": hook }))
        .collect()
}

fn execution(event: &str, standing: &ExecutionStanding) -> Value {
    let hook = standing.execution.hook.as_str();
    let mut told = json!({
        "execution": format!("{event}.{hook}"),
        "hook": hook,
        "state": standing.state,
        "attempts": standing.attempts,
    });
    if let Some(reason) = standing.reason {
        told["reason"] = reason.into();
    }
    if let Some((outcome, code)) = standing.last {
        told["last"] = json!({ "outcome": outcome, "code": code });
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::id::{ExecutionKey, HookName, Seq};

    fn standing(state: &'static str, is_settled: bool) -> ExecutionStanding {
        ExecutionStanding {
            execution: ExecutionKey::new(Seq(12), HookName::trusted("deploy")),
            state,
            is_settled,
            reason: None,
            attempts: 1,
            last: is_settled.then_some(("exited", Some(3))),
        }
    }

    #[test]
    fn a_result_is_one_when_all_has_ended() {
        let ended = result("k3vd-12", &[standing("failed", true)], false);
        let body: Value = serde_json::from_slice(&ended.body).expect("JSON");
        assert_eq!(ended.status, 200);
        assert_eq!(
            body,
            json!({
                "event": "k3vd-12", "status": "ended",
                "executions": [{
                    "execution": "k3vd-12.deploy", "hook": "deploy", "state": "failed", "attempts": 1,
                    "last": { "outcome": "exited", "code": 3 },
                }],
            })
        );
        let running = result(
            "k3vd-12",
            &[standing("failed", true), standing("running", false)],
            true,
        );
        let body: Value = serde_json::from_slice(&running.body).expect("JSON");
        assert_eq!(
            (running.status, &body["status"], &body["duplicate"]),
            (202, &json!("running"), &json!(true))
        );
    }
}
