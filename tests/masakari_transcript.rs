//! Every request of a recorded conversation with Masakari 22.0.0, sent to hem, and each answer compared with the recorded one.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod masakari_api;
mod recorded;
mod service;
mod web;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use daemon::House;
use masakari_api::{INSTANCE, SITE, configure, get, start};
use serde_json::{Value, json};
use service::hem;
use web::{Answer, send};

const TRANSCRIPT: &str = include_str!("data/masakari/http-transcript.txt");

/// Where the recorded service listened.
const THERE: &str = "http://127.0.0.1:15868";

/// Where hem answers otherwise, and why. `docs/masakari.md` tells the same.
const DIFFERENCES: [(&str, &str); 1] = [(
    "with project id in path",
    "without authentication there is no project to compare with: the addresses of every project are served",
)];

/// A recorded answer.
struct Recorded {
    title: &'static str,
    answer: Answer,
}

fn recorded() -> Vec<Recorded> {
    let conversation = TRANSCRIPT.split("\n### ").skip(1);
    conversation
        .map(|part| {
            let (title, answer) = part.split_once('\n').expect("an answer");
            // What was asked for each column to sort by stands in lines of its own.
            let answer = answer.split("\nsort_key=").next().unwrap_or_default();
            let lines: Vec<&str> = answer.trim_end().lines().collect();
            Recorded {
                title,
                answer: Answer::read(&lines.join("\r\n")),
            }
        })
        .collect()
}

/// A request: its title in the transcript, method, path, headers and body.
struct Request {
    title: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<&'static str>,
    body: String,
}

fn notification(fields: &Value) -> String {
    json!({ "notification": fields }).to_string()
}

/// The body of a notification whose fields come in this order: messages quote them as they were sent.
fn ordered(fields: &str) -> String {
    format!("{{\"notification\": {{{fields}}}}}")
}

/// The requests that were recorded, in their order. `shown` is the UUID of the fifth notification.
fn requests(shown: &str) -> Vec<Request> {
    const JSON: &str = "Content-Type: application/json";
    let time = "2026-11-21T23:00:00Z";
    let vm = json!({
        "type": "VM", "hostname": "node1", "generated_time": "2026-11-21T23:00:00.123456",
        "payload": {"instance_uuid": INSTANCE, "vir_domain_event": "STOPPED_DESTROYED", "event": "LIFECYCLE"},
    });
    let of = |kind: &str, hostname: &str, payload: Value| {
        notification(&json!({"type": kind, "hostname": hostname, "generated_time": time, "payload": payload}))
    };
    let instance = |uuid: &str, more: &str| {
        let mut payload = json!({"instance_uuid": uuid, "vir_domain_event": "a", "event": "b"});
        if !more.is_empty() {
            payload[more] = json!("d");
        }
        of("VM", "node1", payload)
    };
    let process = |event: &str| json!({"process_name": "nova-compute", "event": event});
    let mut requests = Vec::new();
    let mut add = |title, method, path: &str, headers: &[&'static str], body: &str| {
        requests.push(Request {
            title,
            method,
            path: path.to_owned(),
            headers: headers.to_vec(),
            body: body.to_owned(),
        });
    };
    add("GET /v1", "GET", "/v1", &[], "");
    add("GET /v1/", "GET", "/v1/", &[], "");
    add("GET /foo (no such root path)", "GET", "/foo", &[], "");
    {
        let mut post = |title, body: &str| add(title, "POST", "/v1/notifications", &[JSON], body);
        post("POST VM ok", &notification(&vm));
        post("POST VM duplicate", &notification(&vm));
    }
    add(
        "POST PROCESS ok upper, microversion 1.3",
        "POST",
        "/v1/notifications",
        &[JSON, "OpenStack-API-Version: instance-ha 1.3"],
        &of("PROCESS", "node1", process("STOPPED")),
    );
    {
        let mut post = |title, body: &str| add(title, "POST", "/v1/notifications", &[JSON], body);
        post(
            "POST PROCESS doc sample lower-case event",
            &of("PROCESS", "node1", process("stopped")),
        );
        let host = json!({"event": "STOPPED", "host_status": "UNKNOWN", "cluster_status": "OFFLINE"});
        post("POST COMPUTE_HOST ok", &of("COMPUTE_HOST", "node1", host));
        post(
            "POST COMPUTE_HOST with tz",
            &notification(&json!({
                "type": "COMPUTE_HOST", "hostname": "node1", "generated_time": "2026-11-21T23:30:00+02:00",
                "payload": {"event": "STARTED"},
            })),
        );
        let started = json!({"event": "STARTED"});
        post(
            "POST host on maintenance",
            &of("COMPUTE_HOST", "node2", started.clone()),
        );
        post("POST host unknown", &of("COMPUTE_HOST", "nope", started));
        post("POST bad type", &of("Fake", "node1", json!({})));
        post("POST missing notification", "{}");
        post(
            "POST missing hostname",
            &ordered(&format!(
                "\"type\": \"VM\", \"generated_time\": \"{time}\", \"payload\": {{\"event\": \"STOPPED\"}}"
            )),
        );
        post(
            "POST extra key",
            &ordered(&format!(
                "\"type\": \"VM\", \"hostname\": \"node1\", \"generated_time\": \"{time}\", \"payload\": {{\"event\": \"x\"}}, \
                 \"zzz\": 1"
            )),
        );
        let timed = json!({"type": "VM", "hostname": "node1", "generated_time": "yesterday", "payload": {}});
        post("POST bad time", &notification(&timed));
        post("POST bad hostname", &of("VM", "no de", json!({})));
        post("POST bad uuid", &instance("x", ""));
        post("POST VM extra payload key", &instance(INSTANCE, "c"));
        post(
            "POST payload non-string",
            &of("PROCESS", "node1", json!({"process_name": "a", "event": 1})),
        );
        post("POST malformed JSON", "{");
        post("POST empty body", "");
    }
    let last = notification(&json!({
        "type": "COMPUTE_HOST", "hostname": "node1", "generated_time": "2026-11-21T23:55:00",
        "payload": {"event": "STOPPED", "host_status": "NORMAL"},
    }));
    add(
        "POST text/xml",
        "POST",
        "/v1/notifications",
        &["Content-Type: text/xml"],
        "<a/>",
    );
    add(
        "POST no content type JSON body",
        "POST",
        "/v1/notifications",
        &[],
        &last,
    );
    for (title, query) in [
        ("GET list", ""),
        ("GET list limit=1", "?limit=1"),
        ("GET list limit=0", "?limit=0"),
        ("GET list marker=2 (numeric id)", "?marker=2"),
        (
            "GET list marker=uuid",
            "?marker=96ab1c42-668c-4f2d-8689-afa3301d4ee9",
        ),
        ("GET list limit=-1", "?limit=-1"),
        ("GET list limit=abc", "?limit=abc"),
        ("sort_dir bad", "?sort_dir=abc"),
        ("two sort_dir", "?sort_dir=asc&sort_dir=desc"),
        ("status=new&type=VM", "?status=new&type=VM"),
        ("status=bogus", "?status=bogus"),
        ("generated-since bad", "?generated-since=abc"),
        (
            "generated-since=2026-11-21T23:50:00",
            "?generated-since=2026-11-21T23:50:00",
        ),
        (
            "generated_since (underscore, ignored?)",
            "?generated_since=2099-01-01T00:00:00&limit=1",
        ),
    ] {
        add(title, "GET", &format!("/v1/notifications{query}"), &[], "");
    }
    let one = |uuid: &str| format!("/v1/notifications/{uuid}");
    add("show", "GET", &one(shown), &[], "");
    add("show 404 uuid", "GET", &one(INSTANCE), &[], "");
    add("show 404 nonuuid", "GET", &one("2"), &[], "");
    add("PUT", "PUT", &one(INSTANCE), &[JSON], "{}");
    add("DELETE", "DELETE", &one(INSTANCE), &[], "");
    for (title, header) in [
        ("microversion 1.9", "OpenStack-API-Version: instance-ha 1.9"),
        ("microversion bogus", "OpenStack-API-Version: instance-ha abc"),
        ("microversion latest", "OpenStack-API-Version: instance-ha latest"),
        (
            "microversion service type masakari",
            "OpenStack-API-Version: masakari 1.3",
        ),
    ] {
        add(title, "GET", "/v1/notifications?limit=1", &[header], "");
    }
    add(
        "with project id in path",
        "GET",
        "/v1/0123456789abcdef0123456789abcdef/notifications",
        &[],
        "",
    );
    add("no such resource", "GET", "/v1/nonexistent", &[], "");
    add("healthcheck", "GET", "/healthcheck", &[], "");
    requests
}

fn ask(address: SocketAddr, request: &Request) -> Answer {
    let mut headers = request.headers.clone();
    if request.method == "POST" && request.body.is_empty() {
        headers.push("Content-Length: 0");
    }
    send(
        address,
        request.method,
        &request.path,
        &headers,
        request.body.as_bytes(),
    )
}

/// What has to be the same of two answers: everything but what is drawn by lot, the time, and who answers.
fn comparable(answer: &Answer, there: &str) -> (u16, Vec<(&'static str, Option<String>)>, Value) {
    let length = answer.header("content-length").map(|length| {
        // The addresses in the body may differ in length.
        let length: usize = length.parse().expect("a length");
        let here = answer.body.matches(there).count() * there.len();
        (length - here).to_string()
    });
    let header = |name| (name, answer.header(name).map(str::to_owned));
    let request = answer.header("x-openstack-request-id").map(|id| {
        let uuid = id.strip_prefix("req-").unwrap_or_default();
        assert!(is_uuid(uuid), "{id}");
        "a request's id".to_owned()
    });
    let headers = vec![
        header("content-type"),
        header("openstack-api-version"),
        header("vary"),
        header("www-authenticate"),
        header("location"),
        ("content-length", length),
        ("x-openstack-request-id", request),
    ];
    let body = match serde_json::from_str(&answer.body) {
        Ok(json) => without_lots(json, there),
        Err(_) => Value::String(answer.body.replace("\r\n", "\n")),
    };
    (answer.status, headers, body)
}

fn is_uuid(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
    lengths == [8, 4, 4, 4, 12] && text.bytes().all(is_digit)
}

/// The document without UUIDs that are drawn by lot, times of acceptance, and the service's own address.
fn without_lots(mut json: Value, there: &str) -> Value {
    match &mut json {
        Value::Object(fields) => {
            for (name, value) in fields {
                let text = value.as_str().unwrap_or_default();
                *value = match name.as_str() {
                    "notification_uuid" if is_uuid(text) => json!("a UUID"),
                    "created_at" if is_time(text) => json!("a time"),
                    _ => without_lots(value.take(), there),
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_lots(item.take(), there);
            }
        }
        Value::String(text) => *text = text.replace(there, "http://SERVICE"),
        _ => {}
    }
    json
}

fn is_time(text: &str) -> bool {
    // Whole seconds, as Masakari keeps them.
    text.len() == 26
        && text.ends_with(".000000")
        && text
            .replacen('T', " ", 1)
            .parse::<jiff::civil::DateTime>()
            .is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_recorded_request_is_answered_as_recorded_but_for_the_listed_differences() {
    let house = House::new();
    house
        .script("act.sh", "#!/bin/sh\n")
        .hook("act", "name: act\ntrigger: { masakari: {} }\ncommand: act.sh\n");
    configure(&house, &format!("strict_hosts: true\n{SITE}"));
    let (service, address) = start(&house).await;
    // Nothing was done with the recorded notifications: their engine was not there.
    assert_eq!(hem(&house, &["mute", "act"]).await.code, 0);

    let recorded = recorded();
    let here = format!("http://{address}");
    let titles: BTreeSet<&str> = recorded.iter().map(|recorded| recorded.title).collect();
    let mut asked = BTreeSet::new();
    let mut shown = String::new();
    let count = requests("").len();
    for place in 0..count {
        let request = requests(&shown).swap_remove(place);
        let title = request.title;
        let expected = recorded
            .iter()
            .find(|recorded| recorded.title == title)
            .unwrap_or_else(|| panic!("{title} was not recorded"));
        let answer = ask(address, &request);
        let (found, wanted) = (comparable(&answer, &here), comparable(&expected.answer, THERE));
        match DIFFERENCES.iter().find(|(known, _)| *known == title) {
            None => assert_eq!(found, wanted, "{title}"),
            Some(_) => assert_ne!(found, wanted, "{title} is no difference any more"),
        }
        if title == "POST no content type JSON body" {
            let uuid = &answer.json()["notification"]["notification_uuid"];
            uuid.as_str().expect("a UUID").clone_into(&mut shown);
        }
        asked.insert(title);
    }
    assert_eq!(asked, titles, "all that was recorded was asked");
    columns_are_sorted_by_as_recorded(address);
    service.stop().await;
}

/// `sort_key=type -> 200 {"notifications": [{"id": 1, …`: the status, and of a list its beginning.
fn columns_are_sorted_by_as_recorded(address: SocketAddr) {
    let lines = TRANSCRIPT
        .lines()
        .filter_map(|line| line.strip_prefix("sort_key="));
    let mut compared = 0;
    for line in lines {
        let (column, wanted) = line.split_once(" -> ").expect("an answer");
        let (status, wanted) = wanted.split_once(' ').expect("a body");
        let answer = get(address, &format!("/v1/notifications?sort_key={column}"));
        assert_eq!(answer.status.to_string(), status, "{column}");
        compared += 1;
        if answer.status != 200 {
            assert_eq!(answer.body, wanted, "{column}");
            continue;
        }
        let listed = answer.json();
        let listed = listed["notifications"].as_array().expect("a list");
        if column == "notification_uuid" {
            // They are drawn by lot: which one is the first is not recorded, but that it is the greatest.
            let uuids: Vec<&str> = listed.iter().filter_map(|one| one[column].as_str()).collect();
            assert!(uuids.is_sorted_by(|left, right| left > right), "{uuids:?}");
            continue;
        }
        let first = wanted
            .strip_prefix("{\"notifications\": [{\"id\": ")
            .expect("a list");
        assert!(
            first.starts_with(&format!("{},", listed[0]["id"])),
            "{column}: {}",
            listed[0]
        );
        assert_eq!(listed.len(), 5);
    }
    assert_eq!(compared, 11);
}

#[test]
fn the_page_tells_every_difference() {
    let page = include_str!("../docs/masakari.md");
    for (title, why) in DIFFERENCES {
        let row = page.lines().find(|line| line.contains(&format!("`{title}`")));
        assert!(
            row.is_some_and(|row| row.contains(why)),
            "docs/masakari.md does not say of `{title}`: {why}"
        );
    }
}
