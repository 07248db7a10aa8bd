//! Masakari's notifications become events: what a monitor sends, what operators list and show, what outlives a kill.

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

use daemon::{House, until};
use masakari_api::{
    INSTANCE, NODE1, SEGMENT, SITE, accepted, configure, get, ids, message, notify, process, show, start,
};
use serde_json::{Value, json};
use service::hem;
use web::{Answer, curl, post, raw, refused_by, send, sums_of};

/// A hook for every notification, which notes down what it was given.
const NOTE: &str =
    "name: note\ntrigger: { masakari: {} }\ncommand: note.sh\nstdin: payload\nloop_guard: off\n";

const NOTE_SCRIPT: &str = "#!/bin/sh\ncat >\"FOLDER/${HEM_EVENT_ID#*-}\"\n\
     echo \"$HEM_HOST|$HEM_SUBJECT|$HEM_EVENT_KEY|$HEM_NOTIFICATION_TYPE|$HEM_NOTIFICATION_STATUS|$HEM_PAYLOAD_EVENT|\
     $HEM_PAYLOAD_VIR_DOMAIN_EVENT|$HEM_NOTIFICATION_UUID\" >>FOLDER/notes\n";

fn noting() -> House {
    let house = House::new();
    let folder = house.path("noted");
    std::fs::create_dir(&folder).expect("a folder");
    let script = NOTE_SCRIPT.replace("FOLDER", &folder.display().to_string());
    house.script("note.sh", &script).hook("note", NOTE);
    house
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_monitor_sends_is_an_event_with_all_that_it_says() {
    let house = noting();
    let chosen = |name: &str, trigger: &str, when: &str| {
        format!("name: {name}\ntrigger: {{ masakari: {trigger} }}\nwhen: {when}\ncommand: /bin/true\n")
    };
    house.hook(
        "chosen",
        &[
            chosen("vm", "{ type: VM, event: LIFECYCLE, host: \"node*\", status: new }", "'true'"),
            chosen(
                "body",
                "{}",
                "'event.notification.payload.vir_domain_event == \"STOPPED_FAILED\" && meta.host == \"node1\"'",
            ),
            chosen("host", "{ type: COMPUTE_HOST }", "'true'"),
            chosen("finished", "{ status: finished }", "'true'"),
            chosen("elsewhere", "{ host: \"other-*\" }", "'true'"),
        ]
        .join("---\n"),
    );
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    // Byte for byte what a monitor wrote into its connection, which it keeps open.
    let recorded = include_str!("data/masakari/monitors-request.txt");
    let request = recorded
        .split("\n---")
        .next()
        .expect("a request")
        .replace("\r\n", "\n")
        .replace('\n', "\r\n")
        .replace("Connection: keep-alive", "Connection: close");
    let answer = Answer::read(&raw(address, request.trim_end().as_bytes()));
    assert_eq!(answer.status, 202, "{answer:?}");
    let told = answer.json()["notification"].clone();
    assert_eq!(told["source_host_uuid"], NODE1);
    assert_eq!(told["failover_segment_uuid"], SEGMENT);
    let uuid = told["notification_uuid"].as_str().expect("a UUID");

    service.until_succeeded(3).await;
    assert_eq!(
        house.lines("noted/notes"),
        [format!(
            "node1|host/node1|MASAKARI VM LIFECYCLE|VM|new|LIFECYCLE|STOPPED_FAILED|{uuid}"
        )]
    );
    let (_, body) = request.split_once("\r\n\r\n").expect("a body");
    let payload = std::fs::read_to_string(house.path("noted/1")).expect("a payload");
    assert_eq!(payload.trim_end(), body.trim_end());
    let executions = show(address, uuid)["recovery_workflow_details"].clone();
    let names: Vec<&str> = executions
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|task| task["name"].as_str())
        .collect();
    assert_eq!(names, ["body", "note", "vm"]);

    let events = hem(&house, &["events", "--kind", "masakari", "--json"]).await;
    for said in [uuid, "\"COMPUTE_HOST\"", "STOPPED_FAILED", "host/node1"] {
        assert_eq!(
            events.stdout.contains(said),
            said != "\"COMPUTE_HOST\"",
            "{}",
            events.stdout
        );
    }
    let config = house.path("hem.yaml");
    let config = config.to_str().expect("a path");
    let matched = hem(&house, &["--config", config, "match", "1"]).await;
    assert!(
        matched.stdout.contains("host is other-*") && matched.stdout.contains("node1"),
        "{}",
        matched.stdout
    );
    sums_of(&mut service, "ha", 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_notification_can_be_matched_and_emitted() {
    let house = noting();
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    let file = house.path("saved.json");
    std::fs::write(
        &file,
        process("node1", "2026-11-21T23:00:00", "nova-compute", "STOPPED"),
    )
    .expect("a file");
    let file = file.to_str().expect("a path");
    let config = house.path("hem.yaml");
    let config = config.to_str().expect("a path");
    let matched = hem(&house, &["--config", config, "match", file]).await;
    assert!(
        matched.stdout.contains("note"),
        "{}{}",
        matched.stdout,
        matched.stderr
    );
    let emitted = hem(&house, &["emit", file]).await;
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);
    service.until_succeeded(1).await;
    let notes = house.lines("noted/notes");
    assert_eq!(
        notes,
        ["node1|host/node1|MASAKARI PROCESS STOPPED|PROCESS|new|STOPPED||"]
    );
    assert_eq!(ids(address, ""), [0; 0], "no monitor sent it");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_follows_the_executions() {
    let house = House::new();
    let gate = house.path("gate");
    // Fails until the gate says otherwise.
    let script = format!(
        "#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.02; done\nexit \"$(cat {gate})\"\n",
        gate = gate.display()
    );
    house.script("act.sh", &script).hook(
        "act",
        "name: act\ntrigger: { masakari: { process: [acted, kept] } }\ncommand: act.sh\nretry: { attempts: 2, backoff: 2s..2s }\n\
         loop_guard: off\n",
    );
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    let status = |uuid: &str| {
        show(address, uuid)["status"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let until_status = async |uuid: &str, wanted: &str| {
        until(&format!("it is {wanted}"), || status(uuid) == wanted).await;
    };

    let ignored = accepted(
        address,
        &process("node2x", "2026-11-21T23:00:00", "other", "STOPPED"),
    );
    until_status(&ignored, "ignored").await;
    assert_eq!(show(address, &ignored)["recovery_workflow_details"], json!([]));

    let acted = accepted(
        address,
        &process("node1", "2026-11-21T23:00:00", "acted", "STOPPED"),
    );
    until_status(&acted, "running").await;
    let kept = accepted(
        address,
        &process("node1", "2026-11-21T23:00:00", "kept", "STOPPED"),
    );
    assert_eq!(status(&kept), "new", "the one before it of its host runs");
    assert!(show(address, &kept)["updated_at"].is_null());
    std::fs::write(&gate, "3").expect("a file");
    until_status(&acted, "error").await;
    until_status(&acted, "failed").await;
    let told = show(address, &acted);
    let task = &told["recovery_workflow_details"][0];
    assert_eq!(
        (&task["name"], &task["state"], &task["progress"]),
        (&json!("act"), &json!("FAILURE"), &json!(1.0))
    );
    let messages: Vec<&str> = task["progress_details"]
        .as_array()
        .expect("details")
        .iter()
        .filter_map(|detail| detail["message"].as_str())
        .collect();
    assert_eq!(messages.len(), 4, "{messages:?}");
    assert!(messages[0].starts_with("Attempt 1: starting") && messages[3] == "Attempt 2: exited 3");
    assert_eq!(task["progress_details"][3]["progress"], "1.0");
    assert!(told["updated_at"].is_string());
    assert!(get(address, &format!("/v1/notifications/{acted}")).json()["notification"]["recovery_workflow_details"].is_null());

    // An operator's retry reopens it, also for lists that know it as failed.
    until("a list knows it as failed", || {
        ids(address, "status=failed").contains(&2)
    })
    .await;
    std::fs::write(&gate, "0").expect("a file");
    let retried = hem(&house, &["retry", "2.act"]).await;
    assert_eq!(retried.code, 0, "{}", retried.stderr);
    until_status(&acted, "finished").await;
    until_status(&kept, "finished").await;
    until("lists know it too", || ids(address, "status=finished") == [3, 2]).await;
    assert_eq!(ids(address, "status=ignored"), [1]);
    assert_eq!(ids(address, "status=new"), [0; 0]);
    assert_eq!(ids(address, "sort_key=status&sort_dir=asc"), [2, 3, 1]);
    service
        .until("nothing waits", |status| service::unsettled(status) == 0)
        .await;
    service.stop().await;
}

fn at_once(address: SocketAddr, bodies: Vec<String>) -> Vec<Answer> {
    let senders: Vec<_> = bodies
        .into_iter()
        .map(|body| std::thread::spawn(move || notify(address, &body)))
        .collect();
    senders
        .into_iter()
        .map(|sender| sender.join().expect("a sender"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_equal_notifications_one_is_taken_also_at_once_and_across_a_kill() {
    let house = noting();
    configure(&house, "");
    let (service, address) = start(&house).await;
    let body = |time: &str| process("node1", time, "nova-compute", "STOPPED");
    let answers = at_once(address, vec![body("2026-11-21T23:00:00"); 12]);
    let taken: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert_eq!(taken.len(), 1, "{answers:?}");
    let told = taken[0].json()["notification"].clone();
    assert!(told["failover_segment_uuid"].is_null());
    for answer in answers.iter().filter(|answer| answer.status != 202) {
        assert_eq!(answer.status, 409);
        assert_eq!(
            message(answer),
            "Notification received from host node1 of type PROCESS is duplicate."
        );
    }
    service.kill();

    let (mut service, address) = start(&house).await;
    for (time, status) in [
        ("2026-11-21T23:03:00", 409),
        ("2026-11-21T22:00:00", 409),
        ("2026-11-21T23:03:00.000001", 202),
        ("2026-11-21T23:03:00.000002", 409),
    ] {
        assert_eq!(notify(address, &body(time)).status, status, "{time}");
    }
    let started = process("node1", "2026-11-21T23:00:00", "nova-compute", "STARTED");
    assert_eq!(notify(address, &started).status, 202, "another payload");
    let elsewhere = process("node2", "2026-11-21T23:00:00", "nova-compute", "STOPPED");
    assert_eq!(notify(address, &elsewhere).status, 202, "another host");
    assert_eq!(ids(address, ""), [4, 3, 2, 1]);
    service.until_succeeded(4).await;
    let uuid = told["notification_uuid"].as_str().expect("a UUID");
    let found = show(address, uuid);
    for same in [
        "id",
        "notification_uuid",
        "generated_time",
        "payload",
        "created_at",
        "source_host_uuid",
    ] {
        assert_eq!(found[same], told[same]);
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_paged_filtered_and_sorted_as_the_whole_says() {
    let house = House::new();
    configure(&house, SITE);
    let (service, address) = start(&house).await;
    let bodies = (0..60).map(|number| {
        let host = ["node1", "other"][number % 2];
        let time = format!("2026-11-21T23:{:02}:00", 59 - number);
        process(
            host,
            &time,
            &format!("process-{:02}", number * 7 % 60),
            ["STARTED", "STOPPED"][number % 2],
        )
    });
    for answer in at_once(address, bodies.collect()) {
        assert_eq!(answer.status, 202, "{answer:?}");
    }
    let whole: Vec<Value> = {
        let listed = get(address, "/v1/notifications").json();
        listed["notifications"].as_array().expect("a list").clone()
    };
    assert_eq!(ids(address, ""), (1..=60).rev().collect::<Vec<u64>>());
    for (sort, column) in [
        ("", "id"),
        ("sort_key=generated_time", "generated_time"),
        ("sort_key=payload", "payload"),
        ("sort_key=source_host_uuid", "source_host_uuid"),
        ("sort_key=updated_at", "updated_at"),
    ] {
        for direction in ["asc", "desc"] {
            let query = format!("{sort}&sort_dir={direction}");
            let mut expected: Vec<(String, u64)> = whole
                .iter()
                .map(|one| (one[column].to_string(), one["id"].as_u64().expect("a number")))
                .collect();
            if column == "id" {
                expected.iter_mut().for_each(|(text, _)| text.clear());
            }
            expected.sort();
            if direction == "desc" {
                expected.reverse();
            }
            let expected: Vec<u64> = expected.into_iter().map(|(_, id)| id).collect();
            let mut paged = Vec::new();
            loop {
                let marker = paged
                    .last()
                    .map_or(String::new(), |last| format!("&marker={last}"));
                let page = ids(address, &format!("{query}&limit=7{marker}"));
                assert!(page.len() <= 7);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, expected, "{query}");
        }
    }
    let of_node1: BTreeSet<u64> = ids(address, &format!("source_host_uuid={NODE1}"))
        .into_iter()
        .collect();
    assert_eq!(of_node1.len(), 30);
    let late = ids(
        address,
        "generated-since=2026-11-21T23:50:00%2B00:00&sort_key=generated_time&sort_dir=asc",
    );
    assert_eq!(late.len(), 10);
    assert_eq!(ids(address, "type=VM"), [0; 0]);
    assert_eq!(ids(address, "status=ignored&limit=3").len(), 3);
    let refused = get(address, "/v1/notifications?marker=61");
    assert_eq!(
        (refused.status, message(&refused)),
        (400, "Marker 61 could not be found.".to_owned())
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_and_hosts_are_told_and_maintenance_outlives_a_kill() {
    let house = House::new();
    configure(&house, &format!("base_path: /instance-ha\n{SITE}"));
    let (service, address) = start(&house).await;
    let path = |rest: &str| format!("/instance-ha/v1/{rest}");
    let hosts = path(&format!("segments/{SEGMENT}/hosts"));
    let segments = get(address, &path("0123abc/segments")).json();
    assert_eq!(segments["segments"][0]["name"], "rack1");
    assert!(segments["segments"][0]["enabled"].is_null());
    let segment = curl(&[
        "-H",
        "OpenStack-API-Version: instance-ha 1.2",
        &format!("http://{address}{}", path(&format!("segments/{SEGMENT}"))),
    ]);
    assert_eq!(segment.json()["segment"]["enabled"], true);
    let listed = get(address, &format!("{hosts}?on_maintenance=yes")).json();
    assert_eq!(listed["hosts"].as_array().map(Vec::len), Some(1));
    let node2 = listed["hosts"][0].clone();
    assert_eq!(
        (&node2["name"], &node2["failover_segment"]["uuid"]),
        (&json!("node2"), &json!(SEGMENT))
    );
    let node1 = format!("{hosts}/{NODE1}");
    assert_eq!(get(address, &node1).json()["host"]["on_maintenance"], false);

    let put = |path: &str, body: &str| {
        send(
            address,
            "PUT",
            path,
            &["Content-Type: application/json"],
            body.as_bytes(),
        )
    };
    let changed = put(&node1, "{\"host\": {\"on_maintenance\": \"True\"}}");
    assert_eq!(
        (changed.status, &changed.json()["host"]["on_maintenance"]),
        (200, &json!(true)),
        "{changed:?}"
    );
    let back = format!("{hosts}/{}", node2["uuid"].as_str().expect("a UUID"));
    assert_eq!(
        put(
            &back,
            "{\"host\": {\"on_maintenance\": false, \"type\": \"COMPUTE\"}}"
        )
        .status,
        200
    );
    for (body, status, said) in [
        (
            "{\"host\": {}}",
            400,
            "is not valid under any of the given schemas",
        ),
        (
            "{\"host\": {\"name\": \"other\"}}",
            403,
            "name is declared in hem's configuration",
        ),
        ("{", 400, "Malformed request body"),
    ] {
        let refused = put(&node1, body);
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(message(&refused).contains(said), "{refused:?}");
    }
    for (path, said) in [
        (path("segments/x"), "No failover segment with id x."),
        (path("segments/x/hosts"), "No failover segment with id x."),
        (format!("{hosts}/x"), "No host with id x."),
    ] {
        let unknown = get(address, &path);
        assert_eq!((unknown.status, message(&unknown)), (404, said.to_owned()));
    }
    let declared = post(address, &path("segments"), &[], "{}");
    assert_eq!(
        (declared.status, message(&declared)),
        (
            405,
            "The request method: 'POST' with action: 'create' is not allowed on this resource".to_owned()
        )
    );
    service.kill();

    let (service, address) = start(&house).await;
    assert_eq!(get(address, &node1).json()["host"]["on_maintenance"], true);
    let on = |host: &str| {
        let body = process(host, "2026-11-21T23:00:00", "a", "STOPPED");
        post(address, &path("notifications"), &[], &body)
    };
    let refused = on("node1");
    assert_eq!(
        (refused.status, message(&refused)),
        (
            409,
            "Notification received from host node1 of type 'PROCESS' is ignored as the host is already under maintenance."
                .to_owned()
        )
    );
    assert_eq!(on("node2").status, 202);
    assert_eq!(
        get(address, "/v1/notifications").status,
        404,
        "it is not under the base path"
    );
    let versions = get(address, "/instance-ha").json();
    assert_eq!(
        versions["versions"][0]["links"][0]["href"],
        json!(format!("http://{address}/instance-ha/v1/"))
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_stopped_is_taken_out_with_the_event_that_says_so() {
    let house = noting();
    configure(&house, &format!("strict_hosts: true\nmaintenance: auto\n{SITE}"));
    let (mut service, address) = start(&house).await;
    let host = |status: &str, event: &str| {
        json!({"notification": {
            "type": "COMPUTE_HOST", "hostname": "node1", "generated_time": "2026-11-21T23:00:00",
            "payload": {"event": event, "host_status": status},
        }})
        .to_string()
    };
    let on_maintenance = |address: SocketAddr| {
        let path = format!("/v1/segments/{SEGMENT}/hosts/{NODE1}");
        get(address, &path).json()["host"]["on_maintenance"] == true
    };
    accepted(address, &host("NORMAL", "STARTED"));
    accepted(address, &host("UNKNOWN", "STOPPED"));
    assert!(!on_maintenance(address));
    // Only the first of those that come at once passes: it takes the host out.
    let stopped = |number| {
        process(
            "node1",
            "2026-11-21T23:00:00",
            &format!("process-{number}"),
            "STOPPED",
        )
    };
    let answers = at_once(address, (0..8).map(stopped).collect());
    let statuses: BTreeSet<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [202, 409].into());
    assert_eq!(answers.iter().filter(|answer| answer.status == 202).count(), 1);
    assert!(on_maintenance(address));
    let unknown = notify(address, &process("nope", "2026-11-21T23:00:00", "a", "STOPPED"));
    assert_eq!(
        (unknown.status, message(&unknown)),
        (400, "Host with name nope could not be found.".to_owned())
    );
    refused_by(&mut service, "ha", "unknown host", 1).await;
    refused_by(&mut service, "ha", "maintenance", 7).await;
    sums_of(&mut service, "ha", 11).await;
    service.kill();

    let (mut service, address) = start(&house).await;
    assert!(on_maintenance(address));
    service.until_succeeded(3).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_input_gets_the_right_answer_and_others_go_on() {
    let house = noting();
    configure(&house, "limits: { body: 8KiB }\n");
    let (mut service, address) = start(&house).await;
    let deep = format!("{}1{}", "[".repeat(2_000), "]".repeat(2_000));
    for (body, status) in [
        (deep.as_bytes(), 400),
        (b"\xff\xfe{\"notification\"".as_slice(), 400),
        (b"{\"notification\": \"\xff\"}", 400),
        (b"{}\0", 400),
        (&[b' '; 9_000], 413),
    ] {
        let answer = send(
            address,
            "POST",
            "/v1/notifications",
            &["Content-Type: application/json"],
            body,
        );
        assert_eq!(answer.status, status, "{answer:?}");
    }
    for (method, path, status) in [
        ("DELETE", "/v1/notifications", 404),
        ("PUT", "/v1/notifications/x", 405),
        ("GET", "/v1/notifications/new", 405),
        ("POST", "/v1/notifications/x/action", 405),
        ("GET", "/v1/notifications/%ff%00", 404),
        ("GET", "/v1/%2e%2e/notifications", 404),
        ("GET", "/v1/notifications?limit=%ff", 400),
    ] {
        assert_eq!(
            send(address, method, path, &[], b"").status,
            status,
            "{method} {path}"
        );
    }
    assert!(
        get(address, "/v1/notifications/x")
            .header("x-openstack-request-id")
            .is_some()
    );
    let good = json!({"notification": {
        "type": "VM", "hostname": "node1", "generated_time": "2026-11-21T23:00:00",
        "payload": {"instance_uuid": INSTANCE, "vir_domain_event": "Ä\u{0}", "event": "LIFECYCLE"},
    }});
    accepted(address, &good.to_string());
    service.until_succeeded(1).await;
    assert_eq!(house.lines("noted/notes").len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_browser_sends_for_a_page_of_somebody_elses_is_not_taken() {
    let house = noting();
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    let body = process("node1", "2026-11-21T23:00:00", "nova-compute", "STOPPED");
    // A page may send these without asking anybody: a form's type, or none that matters.
    for said in [
        "Origin: https://evil.example",
        "Origin: null",
        "Sec-Fetch-Site: cross-site",
    ] {
        let headers = ["Content-Type: text/plain", said];
        let refusal = send(address, "POST", "/v1/notifications", &headers, body.as_bytes());
        assert_eq!(
            (refusal.status, message(&refusal).as_str()),
            (403, "requests that a page in a browser sends are not taken"),
            "{said}"
        );
        let path = format!("/v1/segments/{SEGMENT}/hosts/{NODE1}");
        assert_eq!(send(address, "PUT", &path, &[said], b"{}").status, 403, "{said}");
        assert_eq!(
            send(address, "GET", "/v1/notifications", &[said], b"").status,
            403,
            "{said}"
        );
    }
    refused_by(&mut service, "ha", "browser", 3).await;
    // A name of somebody else's that means this machine: to the browser, its page and hem are one site.
    let named = |host: &str| {
        let request = format!(
            "POST /v1/notifications HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Answer::read(&raw(address, request.as_bytes())).status
    };
    assert_eq!(named(&format!("evil.example:{}", address.port())), 421);
    refused_by(&mut service, "ha", "host", 1).await;
    assert_eq!(named(&format!("localhost:{}", address.port())), 202);
    sums_of(&mut service, "ha", 5).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_sent_and_not_taken_is_counted_under_its_reason() {
    let house = noting();
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    let body = process("node1", "2026-11-21T23:00:00", "nova-compute", "STOPPED");
    let json = "Content-Type: application/json";
    for (path, header, status) in [
        ("/nowhere", json, 300),
        ("/v1/nowhere", json, 404),
        ("/v1/notifications", "OpenStack-API-Version: instance-ha 9.9", 406),
        ("/v1/notifications/x/action", json, 405),
        ("/v1/notifications", "Content-Type: text/xml", 415),
    ] {
        let answer = send(address, "POST", path, &[header], body.as_bytes());
        assert_eq!(answer.status, status, "{path} {header}: {answer:?}");
    }
    // What Masakari's words repeat of a large body is not all in the log.
    let long = "x".repeat(200_000);
    let told = body.replace("PROCESS", &long);
    let answer = send(address, "POST", "/v1/notifications", &[json], told.as_bytes());
    assert_eq!(answer.status, 400);
    for (reason, count) in [
        ("path", 2),
        ("version", 1),
        ("method", 1),
        ("type", 1),
        ("body", 1),
    ] {
        refused_by(&mut service, "ha", reason, count).await;
    }
    sums_of(&mut service, "ha", 6).await;
    service.until_logged(&long[..100]).await;
    assert!(!service.log().contains(&long[..1_000]));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitors_and_operators_are_told_to_come_again_while_nothing_is_accepted() {
    let house = House::new();
    let go = house.path("go");
    let script = format!(
        "#!/bin/sh\nwhile ! [ -e {} ]; do sleep 0.02; done\n",
        go.display()
    );
    house.script("wait.sh", &script).hook(
        "wait",
        "name: wait\ntrigger: { masakari: {} }\ncommand: wait.sh\nloop_guard: off\n",
    );
    configure(&house, SITE);
    let file = house.path("hem.yaml");
    let text = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, text + "limits: { max_backlog: 0 }\n").expect("a file");
    let (mut service, address) = start(&house).await;
    let told = |name: &str| process("node1", "2026-11-21T23:00:00", name, "STOPPED");
    accepted(address, &told("a"));
    service
        .until("the backlog is full", |status| status.not_accepting.is_some())
        .await;
    let refusal = notify(address, &told("b"));
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(message(&refusal).starts_with("Nothing is accepted at present"));
    assert!(refusal.header("retry-after").is_some());
    refused_by(&mut service, "ha", "no room", 1).await;
    let path = format!("/v1/segments/{SEGMENT}/hosts/{NODE1}");
    let on = |on: bool| {
        let body = json!({"host": {"on_maintenance": on}}).to_string();
        send(
            address,
            "PUT",
            &path,
            &["Content-Type: application/json"],
            body.as_bytes(),
        )
    };
    let refusal = on(true);
    assert_eq!(refusal.status, 503, "{refusal:?}");
    assert!(refusal.header("retry-after").is_some());
    std::fs::write(go, "").expect("a file");
    service
        .until("there is room again", |status| status.not_accepting.is_none())
        .await;
    accepted(address, &told("b"));
    let answer = on(true);
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["host"]["on_maintenance"], json!(true));
    sums_of(&mut service, "ha", 3).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_in_no_segment_is_taken_and_counted() {
    let house = noting();
    configure(&house, SITE);
    let (mut service, address) = start(&house).await;
    accepted(address, &process("node1", "2026-11-21T23:00:00", "a", "STOPPED"));
    for name in ["a", "b"] {
        accepted(
            address,
            &process("stranger", "2026-11-21T23:00:00", name, "STOPPED"),
        );
    }
    let status = service
        .until("both are counted", |status| {
            status.sources["ha"].noted.get("unknown host") == Some(&2)
        })
        .await;
    assert!(status.sources["ha"].refused.is_empty(), "{status:?}");
    let shown = hem(&house, &["status"]).await;
    assert!(
        shown.stdout.contains("unknown host: 2, taken all the same"),
        "{}",
        shown.stdout
    );
    sums_of(&mut service, "ha", 3).await;
    service.stop().await;
}
