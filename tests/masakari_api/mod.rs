//! A daemon with a source of type `masakari`, and what is sent to it.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::daemon::House;
use crate::service::Service;
use crate::web::{Answer, post, send};

/// The host and the segment of the recorded service.
pub(crate) const NODE1: &str = "b1b2c3d4-0000-4000-8000-000000000001";
pub(crate) const SEGMENT: &str = "a1b2c3d4-0000-4000-8000-000000000001";

/// A machine that the recorded service tells of.
pub(crate) const INSTANCE: &str = "96ab1c42-668c-4f2d-8689-afa3301d4ee9";

/// One segment with `node1`, and with `node2`, which is under maintenance.
pub(crate) const SITE: &str = "segments:\n  rack1:\n    uuid: a1b2c3d4-0000-4000-8000-000000000001\n    hosts:\n      \
     node1: { uuid: b1b2c3d4-0000-4000-8000-000000000001 }\n      node2: { on_maintenance: true }\n";

/// Writes `hem.yaml` with the source `ha`: any free port of this machine, and these settings besides.
pub(crate) fn configure(house: &House, source: &str) {
    let config = &house.config;
    let indented: String = source.lines().map(|line| format!("    {line}\n")).collect();
    let text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\nshutdown_grace: 5s\n\
         sources:\n  ha:\n    type: masakari\n    listen: 127.0.0.1:0\n{indented}",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.scripts_dir.display(),
        config.control.socket.display()
    );
    std::fs::write(house.path("hem.yaml"), text).expect("a file");
}

/// Starts the daemon; says where it listens.
pub(crate) async fn start(house: &House) -> (Service, SocketAddr) {
    let mut service = Service::start(house);
    let status = service
        .until("it takes notifications", |status| {
            status.sources.get("ha").is_some_and(|ha| ha.connected)
        })
        .await;
    let url = &status.sources["ha"].endpoint;
    let address = url.split('/').nth(2).expect("an address");
    (service, address.parse().expect("an address"))
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, &[], b"")
}

/// Asks with version 1.1, which tells of the workflow.
pub(crate) fn show(address: SocketAddr, uuid: &str) -> Value {
    let version = ["OpenStack-API-Version: instance-ha 1.1"];
    let answer = send(
        address,
        "GET",
        &format!("/v1/notifications/{uuid}"),
        &version,
        b"",
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["notification"].clone()
}

/// The body that tells of a process of a host.
pub(crate) fn process(host: &str, time: &str, process: &str, event: &str) -> String {
    json!({"notification": {
        "type": "PROCESS", "hostname": host, "generated_time": time,
        "payload": {"process_name": process, "event": event},
    }})
    .to_string()
}

pub(crate) fn notify(address: SocketAddr, body: &str) -> Answer {
    post(address, "/v1/notifications", &[], body)
}

/// Sends what has to be accepted, and gives its UUID.
pub(crate) fn accepted(address: SocketAddr, body: &str) -> String {
    let answer = notify(address, body);
    assert_eq!(answer.status, 202, "{answer:?}");
    let uuid = &answer.json()["notification"]["notification_uuid"];
    uuid.as_str().expect("a UUID").to_owned()
}

/// What a fault says.
pub(crate) fn message(answer: &Answer) -> String {
    let fault = answer.json();
    let told = fault.as_object().and_then(|fault| fault.values().next());
    let told = told.unwrap_or_else(|| panic!("no fault: {answer:?}"));
    assert_eq!(told["code"], answer.status, "{answer:?}");
    told["message"].as_str().expect("a message").to_owned()
}

/// The numbers of a list.
pub(crate) fn ids(address: SocketAddr, query: &str) -> Vec<u64> {
    let answer = get(address, &format!("/v1/notifications?{query}"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let listed = answer.json();
    let listed = listed["notifications"].as_array().expect("a list");
    listed
        .iter()
        .map(|notification| notification["id"].as_u64().expect("a number"))
        .collect()
}
