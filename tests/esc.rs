//! Callbacks of Cisco ESC become events: by raw sockets and curl that play ESC, against the real daemon.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, until};
use service::{Service, hem, in_state, unsettled};
use web::{Answer, all_that_was_answered_runs, curl, raw, send, start_source};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Writes `hem.yaml` with the source `esc`: any free port of this machine, and these settings of its callbacks.
fn configure(house: &House, callbacks: &str, more: &str) -> String {
    let config = &house.config;
    let text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\nshutdown_grace: 5s\nlog: \
         debug\n{more}sources:\n  esc:\n    type: esc\n    callbacks: {{ listen: \"127.0.0.1:0\", {callbacks} }}\n",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.scripts_dir.display(),
        config.control.socket.display()
    );
    let file = house.path("hem.yaml");
    std::fs::write(&file, text).expect("a file");
    file.to_str().expect("a path").to_owned()
}

/// Starts the daemon; says where it takes callbacks.
async fn start(house: &House) -> (Service, SocketAddr) {
    start_source(house, "esc").await
}

/// A house whose hook takes every event of ESC, writes a line of what it was told, and the body into a file of its own.
fn noting() -> House {
    let house = House::new();
    let (notes, bodies) = (house.path("notes"), house.path("bodies"));
    std::fs::create_dir(&bodies).expect("a folder");
    let script = format!(
        "#!/bin/sh\ncat >{}/\"${{HEM_EVENT_ID#*-}}\"\necho \"$HEM_ESC_EVENT|$HEM_ESC_STATUS|$HEM_ESC_TRANSACTION|$HEM_ESC_STATUS_MESSAGE|\
         $HEM_ESC_VM|$HEM_SUBJECT\" >>{}\n",
        bodies.display(),
        notes.display()
    );
    house.script("note.sh", &script).hook(
        "note",
        "name: note\ntrigger: { esc: { event: any } }\ncommand: note.sh\nstdin: payload\nloop_guard: off\n",
    );
    house
}

/// The body of a callback about a VM.
fn about(event: &str, deployment: &str, vm: &str) -> String {
    format!(
        "<deployment xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><deployment_details><vm_uuid>{vm}</vm_uuid></deployment_details>\
         <event_type>{event}</event_type><internal_deployment_id>{deployment}</internal_deployment_id><internal_tenant_id>t1\
         </internal_tenant_id></deployment>"
    )
}

/// Sends a callback in XML, as ESC does.
fn call_back(address: SocketAddr, transaction: &str, code: u16, body: &str) -> Answer {
    send(
        address,
        "POST",
        "/esc",
        &[
            "Content-Type: application/xml; charset=UTF-8",
            &format!("ESC_TRANSACTION_ID: {transaction}"),
            &format!("ESC-Status-Code: {code}"),
            "ESC-Status-Message: VM has been updated",
        ],
        body.as_bytes(),
    )
}

/// Every callback is in exactly one counter, and these are what they are.
async fn counted(service: &mut Service, received: u64, accepted: u64, duplicate: u64, undecodable: u64) {
    let status = service
        .until(&format!("{received} callbacks are counted"), |status| {
            status
                .events
                .get("esc")
                .is_some_and(|sums| sums.received >= received && sums.accepted >= accepted)
        })
        .await;
    let sums = &status.events["esc"];
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!(
        (sums.received, sums.accepted, sums.duplicate, sums.undecodable),
        (received, accepted, duplicate, undecodable),
        "{sums:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_form_of_body_and_every_spelling_of_the_headers_is_an_event() {
    let house = noting();
    configure(&house, "", "");
    let (mut service, address) = start(&house).await;
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n{}\n",
        about("VM_UPDATED", "dep1", "vm-1")
    );
    let json = r#"{"external_tenant_id": null, "name": "t1",  "enabled": false, "event_type": "CREATE_TENANT", "internal_tenant_id": "t1"}"#;
    let bodies = [
        ("application/xml; charset=UTF-8", xml.as_str()),
        ("text/xml", xml.as_str()),
        ("application/json", json),
        ("application/json;charset=utf-8", json),
        // What it plainly is counts for more than what it is said to be.
        ("application/xml", json),
        ("", json),
    ];
    let spelt = [
        ["esc-transaction-id", "esc-status-code", "esc-status-message"],
        ["ESC-Transaction-Id", "ESC-Status-Code", "ESC-Status-Message"],
        ["ESC_TRANSACTION_ID", "ESC_STATUS_CODE", "ESC_STATUS_MESSAGE"],
        ["Esc-Transaction_Id", "esc_Status-CODE", "esc-status_message"],
    ];
    let mut expected = BTreeSet::new();
    let mut sent = Vec::new();
    for (content_type, body) in bodies {
        for (number, [transaction, code, message]) in spelt.iter().enumerate() {
            let id = format!("{}.{number}", sent.len());
            let mut headers = vec![
                format!("{transaction}: {id}"),
                format!("{code}: {}", [200, 500][number % 2]),
                format!("{message}: All  is \t told"),
            ];
            if !content_type.is_empty() {
                headers.push(format!("Content-Type: {content_type}"));
            }
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            let answer = send(address, "POST", "/esc", &headers, body.as_bytes());
            sent.push(body);
            assert_eq!(answer.status, 200, "{answer:?}");
            let told = answer.json();
            assert_eq!(told["status"], "accepted");
            let event = told["event"].as_str().expect("an event");
            assert!(event.ends_with(&format!("-{}", sent.len())), "{told}");
            let status = ["SUCCESS", "FAILURE"][number % 2];
            let (event, vm, subject) = if body == json {
                ("CREATE_TENANT", "", "tenant/t1")
            } else {
                ("VM_UPDATED", "vm-1", "deployment/t1/dep1")
            };
            expected.insert(format!("{event}|{status}|{id}|All is told|{vm}|{subject}"));
        }
    }
    service.until_succeeded(sent.len() as u64).await;
    assert_eq!(
        house.lines("notes").into_iter().collect::<BTreeSet<_>>(),
        expected
    );
    for (number, body) in (1..).zip(&sent) {
        let kept = std::fs::read_to_string(house.path(&format!("bodies/{number}"))).expect("a body");
        assert_eq!(&kept, body, "byte for byte");
    }
    let shown = hem(&house, &["events", "--kind", "esc", "--json"]).await;
    assert_eq!(
        shown.stdout.matches("\"status_message\"").count(),
        sent.len(),
        "{}",
        shown.stdout
    );
    let sent = sent.len() as u64;
    counted(&mut service, sent, sent, 0, 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steps_of_one_transaction_are_events_and_repeats_are_none_also_across_a_kill() {
    let house = noting();
    configure(&house, "remember: 1h", "");
    let (mut service, address) = start(&house).await;
    let steps = [
        (200, about("VM_UPDATED", "dep1", "vm-1")),
        (200, about("VM_UPDATED", "dep1", "vm-2")),
        (500, about("VM_UPDATED", "dep1", "vm-2")),
        (200, about("SERVICE_UPDATED", "dep1", "")),
    ];
    let mut events = Vec::new();
    for (code, body) in &steps {
        let first = call_back(address, "x", *code, body);
        assert_eq!((first.status, &first.json()["status"]), (200, &"accepted".into()));
        events.push(first.json()["event"].clone());
    }
    // Repeats come under any spelling, laid out in any way, and several at a time.
    for ((_, body), event) in steps.iter().zip(&events).take(2) {
        let again = send(
            address,
            "POST",
            "/esc",
            &["esc-transaction-id: x", "Esc_Status_Code: 200"],
            format!("\n{body}\n").as_bytes(),
        );
        assert_eq!(again.status, 200);
        assert_eq!(
            (&again.json()["status"], &again.json()["event"]),
            (&"duplicate".into(), event)
        );
    }
    let senders: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                call_back(address, "y", 200, &about("VM_ALIVE", "dep1", "vm-1")).json()
            })
        })
        .collect();
    let new = senders
        .into_iter()
        .map(|sender| sender.join().expect("an answer"))
        .filter(|told| told["status"] == "accepted")
        .count();
    assert_eq!(new, 1, "all others are told that they are known");
    // Without a transaction nobody can say that it is a repeat.
    for _ in 0..2 {
        let answer = send(
            address,
            "POST",
            "/esc",
            &[],
            about("VM_ALIVE", "dep1", "vm-1").as_bytes(),
        );
        assert_eq!(answer.json()["status"], "accepted");
    }
    counted(&mut service, 16, 7, 9, 0).await;
    service.until_succeeded(7).await;
    service.kill();

    let (mut service, address) = start(&house).await;
    for ((code, body), event) in steps.iter().zip(&events) {
        let again = call_back(address, "x", *code, body);
        assert_eq!(again.status, 200);
        assert_eq!(
            (&again.json()["status"], &again.json()["event"]),
            (&"duplicate".into(), event)
        );
    }
    let other = call_back(address, "z", 200, &steps[0].1);
    assert_eq!(other.json()["status"], "accepted", "another transaction");
    service.until_succeeded(8).await;
    assert_eq!(house.lines("notes").len(), 8);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_is_forgotten_when_its_time_is_over() {
    let house = noting();
    configure(&house, "remember: 1ms", "");
    let (mut service, address) = start(&house).await;
    let body = about("VM_ALIVE", "dep1", "vm-1");
    let mut again = 0;
    until("it is taken again", || {
        again += 1;
        call_back(address, "x", 200, &body);
        house.lines("notes").len() >= 2
    })
    .await;
    assert!(again >= 2);
    service
        .until("all is settled", |status| unsettled(status) == 0)
        .await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill() {
    let house = noting();
    configure(&house, "", "");
    let deliver =
        |address, transaction: &str| call_back(address, transaction, 200, &about("VM_ALIVE", "dep1", "vm-1"));
    all_that_was_answered_runs(&house, "esc", deliver, 200, 2).await;
}

/// A script that says when it begins and ends, and waits in between until there is a file `go`.
fn waiting(house: &House) -> String {
    format!(
        "#!/bin/sh\necho \"$1 begins\" >>{notes}\nwhile ! [ -e {go} ]; do sleep 0.02; done\necho \"$1 ends\" >>{notes}\n",
        notes = house.path("notes").display(),
        go = house.path("go").display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_hooks_delay_no_answer_and_each_deployment_is_in_order() {
    let house = House::new();
    house.script("wait.sh", &waiting(&house)).hook(
        "step",
        "name: step\ntrigger: { esc: { event: [\"VM_*\", \"SERVICE_*\"], status: SUCCESS } }\ncommand: wait.sh\n\
         arguments: [\"${{ meta.deployment }} ${{ meta.event }}\"]\n",
    );
    configure(&house, "", "");
    let (mut service, address) = start(&house).await;
    let workflow = ["VM_STARTED", "VM_ALIVE", "SERVICE_ALIVE"];
    for event in workflow {
        for deployment in ["dep1", "dep2"] {
            let answer = call_back(address, deployment, 200, &about(event, deployment, "vm-1"));
            assert_eq!(
                answer.status, 200,
                "nothing has ended, and it is answered: {answer:?}"
            );
        }
    }
    service
        .until("one of each deployment runs", |status| {
            in_state(status, "running") == 2
        })
        .await;
    assert_eq!(
        house
            .lines("notes")
            .iter()
            .filter(|line| line.ends_with("ends"))
            .count(),
        0
    );
    std::fs::write(house.path("go"), "").expect("a file");
    service.until_succeeded(6).await;
    let mut by_deployment: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in house.lines("notes") {
        let (deployment, step) = line.split_once(' ').expect("two words");
        by_deployment
            .entry(deployment.to_owned())
            .or_default()
            .push(step.to_owned());
    }
    let expected: Vec<String> = workflow
        .iter()
        .flat_map(|event| [format!("{event} begins"), format!("{event} ends")])
        .collect();
    assert_eq!(
        by_deployment,
        [
            ("dep1".to_owned(), expected.clone()),
            ("dep2".to_owned(), expected)
        ]
        .into()
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_has_the_type_of_a_success_and_hooks_of_its_own() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"$HEM_HOOK $HEM_ESC_STATUS_MESSAGE\" >>{}\n",
        house.path("notes").display()
    );
    let hook =
        |name: &str, trigger: &str| format!("name: {name}\ntrigger: {{ {trigger} }}\ncommand: note.sh\n");
    house.script("note.sh", &script).hook(
        "hooks",
        &[
            hook("opened", "esc: { event: SERVICE_ALIVE, status: SUCCESS }"),
            hook(
                "failed",
                "esc: { event: \"SERVICE_*\", status: FAILURE, tenant: t1, deployment: [dep1, dep2] }",
            ),
            hook("either", "esc: { event: SERVICE_ALIVE, via: rest }, source: esc"),
            hook("others", "esc: { event: SERVICE_ALIVE, tenant: t2 }"),
            hook("grouped", "esc: { event: SERVICE_ALIVE, vm_group: g1 }"),
            hook("notified", "esc: { event: SERVICE_ALIVE, via: netconf }"),
        ]
        .join("---\n"),
    );
    configure(&house, "", "");
    let (mut service, address) = start(&house).await;
    let answer = curl(&[
        "-H",
        "Content-Type: application/json",
        "-H",
        "ESC-Transaction-Id: x",
        "-H",
        "ESC-Status-Code: 500",
        "-H",
        "ESC-Status-Message: Service group reboot failed",
        "--data-binary",
        r#"{"event_type": "SERVICE_ALIVE", "internal_deployment_id": "dep1", "internal_tenant_id": "t1"}"#,
        &format!("http://{address}/esc"),
    ]);
    assert_eq!(answer.status, 200, "{answer:?}");
    service.until_succeeded(2).await;
    let mut notes = house.lines("notes");
    notes.sort();
    assert_eq!(
        notes,
        [
            "either Service group reboot failed",
            "failed Service group reboot failed"
        ]
    );
    let hooks = house.config.hooks_dir.to_str().expect("a path");
    let why = hem(&house, &["match", "1", "--hooks", hooks]).await;
    assert!(
        why.stdout.contains("2 of 6 hooks would run"),
        "{}{}",
        why.stdout,
        why.stderr
    );
    assert!(
        why.stdout.contains("callbacks over REST do not name it"),
        "{}{}",
        why.stdout,
        why.stderr
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_kept_with_its_bytes_and_the_reason_and_is_told() {
    let house = noting();
    configure(&house, "limits: { body: 64KiB }", "");
    let (mut service, address) = start(&house).await;
    let good = about("VM_ALIVE", "dep1", "vm-1");
    let deep_xml = "<a>".repeat(2_000) + &"</a>".repeat(2_000);
    let deep_json = "{\"a\":".repeat(2_000) + "1" + &"}".repeat(2_000);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut latin = good.clone().into_bytes();
    latin.extend_from_slice(b"<!-- K\xf6ln -->");
    let xml = "Content-Type: application/xml";
    let json = "Content-Type: application/json";
    let cases: [(&[&str], &[u8], u16, &str); 16] = [
        (&["Content-Type: text/plain"], good.as_bytes(), 415, "text/plain"),
        (
            &["Content-Type: application/x-www-form-urlencoded"],
            b"event_type=VM_ALIVE",
            415,
            "form",
        ),
        (
            &["Content-Type: application/xml; charset=ISO-8859-1"],
            good.as_bytes(),
            415,
            "ISO-8859-1",
        ),
        (&[xml, "Content-Encoding: gzip"], b"\x1f\x8b\x08", 415, "gzip"),
        (&[xml], &latin, 400, "no UTF-8"),
        (&[xml], &utf16, 400, "no XML"),
        (
            &[xml],
            b"<deployment><event_type>VM_ALIVE</event_type>",
            400,
            "ends within",
        ),
        (
            &[xml],
            b"<!DOCTYPE a SYSTEM \"/etc/passwd\"><a><event_type>VM_ALIVE</event_type></a>",
            400,
            "DOCTYPE",
        ),
        (&[xml], deep_xml.as_bytes(), 400, "deep"),
        (&[json], deep_json.as_bytes(), 400, "recursion"),
        (&[json], b"{\"event_type\": \"VM_ALIVE\"", 400, "JSON"),
        (
            &[json],
            b"[{\"event_type\": \"VM_ALIVE\"}]",
            400,
            "no JSON object",
        ),
        (
            &[json],
            b"{\"event_type\": \"NULL\", \"esc\": true}",
            400,
            "event_type",
        ),
        (
            &[xml, "ESC_TRANSACTION_ID: lost-one"],
            b"<deployment/>",
            400,
            "lost-one",
        ),
        (&[], b"VM_ALIVE", 400, "neither XML nor JSON"),
        (&[], b"", 400, "neither XML nor JSON"),
    ];
    for (number, (headers, body, status, why)) in (1_u64..).zip(cases) {
        let answer = send(address, "POST", "/esc", headers, body);
        let reason = answer.reason();
        assert_eq!(
            (answer.status, reason.as_str()),
            (status, if status == 415 { "type" } else { "body" }),
            "{answer:?}"
        );
        let told = answer.json();
        let detail = told["detail"].as_str().expect("a detail");
        assert!(
            detail.contains(&format!("-{number}")),
            "it names the event: {detail}"
        );
        let shown = hem(&house, &["show", &number.to_string(), "--json"]).await;
        assert!(
            shown.stdout.contains("\"undecodable\"") && shown.stdout.contains(why),
            "{why}: {}{}",
            shown.stdout,
            shown.stderr
        );
    }
    let kept = cases.len() as u64;
    counted(&mut service, kept, kept, 0, kept).await;
    // The bytes are what came.
    let exported = hem(&house, &["export", "--reveal"]).await;
    let payloads = exported
        .stdout
        .lines()
        .filter(|line| line.contains("\"kind\":\"undecodable\""))
        .count();
    assert_eq!(payloads, cases.len(), "{}", exported.stderr);
    for body in [latin.as_slice(), b"\x1f\x8b\x08"] {
        let encoded = STANDARD.encode(body);
        assert!(exported.stdout.contains(&encoded), "{encoded}");
    }
    let as_text = serde_json::to_string(&String::from_utf8_lossy(&utf16)).expect("JSON");
    assert!(exported.stdout.contains(&as_text), "{as_text}");

    let too_large = format!("{good}{}", " ".repeat(70_000));
    assert_eq!(
        send(address, "POST", "/esc", &[xml], too_large.as_bytes()).status,
        413
    );
    assert_eq!(
        call_back(address, "x", 200, &good).status,
        200,
        "others are served"
    );
    service
        .until("what was too large is counted", |status| {
            status.sources["esc"].refused.get("too large") == Some(&1)
        })
        .await;
    counted(&mut service, kept + 2, kept + 1, 0, kept).await;
    service.until_succeeded(1).await;
    assert_eq!(
        house.lines("notes").len(),
        1,
        "what cannot be read triggers nothing"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_send_is_asked_for_and_tokens_stand_in_no_log() {
    let house = noting();
    std::fs::write(house.path("token"), "4f1c7be2d0a94c55\n").expect("a file");
    let body = about("VM_ALIVE", "dep1", "vm-1");
    let to = |address, path: &str, headers: &[&str]| send(address, "POST", path, headers, body.as_bytes());

    configure(&house, "token: { secrets: [{ file: token }] }", "");
    let (mut service, address) = start(&house).await;
    assert_eq!(
        to(address, "/esc/4f1c7be2d0a94c55", &["Origin: http://x"]).status,
        200
    );
    for path in [
        "/esc",
        "/esc/",
        "/esc/4f1c7be2d0a94c5",
        "/esc/4f1c7be2d0a94c55/",
        "/esc/wrong-one",
    ] {
        let answer = to(address, path, &[]);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "token"),
            "{path}"
        );
    }
    assert_eq!(to(address, "/escalate", &[]).status, 404);
    for mistyped in [
        "//esc/4f1c7be2d0a94c55",
        "/ESC/4f1c7be2d0a94c55",
        "/4f1c7be2d0a94c55",
        "/4f1c7be2d0a94c55/esc",
    ] {
        assert_eq!(to(address, mistyped, &[]).status, 404, "{mistyped}");
    }
    let get = send(address, "GET", "/esc/4f1c7be2d0a94c55", &[], b"");
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    let status = service
        .until("refusals are counted", |status| {
            status.events["esc"].received == 12
        })
        .await;
    let refused = &status.sources["esc"].refused;
    assert_eq!(
        (refused["token"], refused["path"], refused["method"]),
        (5, 5, 1),
        "{refused:?}"
    );
    assert_eq!(status.sources["esc"].endpoint, format!("http://{address}/esc"));
    // A new token is in force without a restart.
    std::fs::write(house.path("token"), "another").expect("a file");
    until("the new token is in force", || {
        to(address, "/esc/another", &[]).status == 200
    })
    .await;
    assert_eq!(to(address, "/esc/4f1c7be2d0a94c55", &[]).status, 401);
    let log = service.log();
    assert!(
        log.contains("a request was answered")
            && log.contains("path=\"/esc\"")
            && log.contains("path=\"/ESC\""),
        "{log}"
    );
    for secret in ["4f1c7be2d0a94c5", "wrong-one", "another"] {
        assert!(!log.contains(secret), "{secret} stands in the log: {log}");
    }
    service.stop().await;

    configure(
        &house,
        "path: /in, token: { header: X-Token, secrets: [{ file: token }] }",
        "",
    );
    let (service, address) = start(&house).await;
    assert_eq!(to(address, "/in", &["x-token: another"]).status, 200);
    assert_eq!(to(address, "/in", &["x-token: others"]).status, 401);
    assert_eq!(to(address, "/in/another", &[]).status, 404);
    service.stop().await;

    configure(&house, "addresses: [192.0.2.0/24]", "");
    let (service, address) = start(&house).await;
    assert_eq!(
        (
            to(address, "/esc", &[]).status,
            to(address, "/esc", &[]).reason().as_str()
        ),
        (403, "address")
    );
    service.stop().await;

    configure(&house, "", "");
    let (service, address) = start(&house).await;
    assert_eq!(
        to(address, "/esc", &["Origin: http://page.example"]).reason(),
        "browser"
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_told_to_come_again_while_nothing_is_accepted() {
    let house = House::new();
    house.script("wait.sh", &waiting(&house)).hook(
        "wait",
        "name: wait\ntrigger: { esc: { event: any } }\ncommand: wait.sh\n",
    );
    configure(&house, "", "limits: { max_backlog: 0 }\n");
    let (mut service, address) = start(&house).await;
    let body = about("VM_ALIVE", "dep1", "vm-1");
    assert_eq!(call_back(address, "1", 200, &body).status, 200);
    service
        .until("the backlog is full", |status| status.not_accepting.is_some())
        .await;
    let refusal = call_back(address, "2", 200, &body);
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "no room"));
    assert!(refusal.header("retry-after").is_some());
    std::fs::write(house.path("go"), "").expect("a file");
    service
        .until("there is room again", |status| status.not_accepting.is_none())
        .await;
    let again = call_back(address, "2", 200, &body);
    assert_eq!(
        again.json()["status"],
        "accepted",
        "what was refused is no repeat"
    );
    counted(&mut service, 3, 2, 0, 0).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_callback_keeps_nobody_waiting() {
    let house = noting();
    configure(&house, "limits: { body_time: 200ms, head_time: 200ms }", "");
    let (mut service, address) = start(&house).await;
    let half = std::thread::spawn(move || {
        let head = format!(
            "POST /esc HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/xml\r\nContent-Length: 100\r\n\r\n<half"
        );
        Answer::read(&raw(address, head.as_bytes()))
    });
    assert_eq!(
        call_back(address, "1", 200, &about("VM_ALIVE", "dep1", "vm-1")).status,
        200
    );
    assert_eq!(half.join().expect("an answer").status, 408);
    service.until_succeeded(1).await;
    service.stop().await;
}

/// The saved events of `examples/esc`, in the order of their names.
fn saved_events() -> Vec<String> {
    let mut files: Vec<String> = std::fs::read_dir(Path::new(ROOT).join("examples/esc/events"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_events_are_matched_tried_emitted_and_carried_along() {
    let house = noting();
    let config = configure(&house, "", "");
    let files = saved_events();
    assert!(files.len() >= 8, "{files:?}");
    for file in &files {
        let matched = hem(&house, &["--config", &config, "match", file]).await;
        assert!(
            matched.stdout.contains("1 of 1 hooks would run"),
            "{file}: {}{}",
            matched.stdout,
            matched.stderr
        );
    }
    let tried = hem(&house, &["--config", &config, "try", "note", &files[0]]).await;
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    assert_eq!(house.lines("notes").len(), 1);
    let (mut service, address) = start(&house).await;
    for (number, file) in (1..).zip(&files) {
        let emitted = hem(&house, &["emit", file]).await;
        assert_eq!(emitted.stdout, format!("{number}.note\n"), "{}", emitted.stderr);
    }
    let all = files.len() as u64 + 1;
    assert_eq!(
        call_back(address, "x", 200, &about("VM_ALIVE", "dep1", "vm-1")).status,
        200
    );
    service.until_succeeded(all).await;
    let tried = hem(&house, &["--config", &config, "try", "note", &all.to_string()]).await;
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    let refused = house.path("odd.json");
    std::fs::write(&refused, r#"{"kind": "esc", "body": {}}"#).expect("a file");
    let refused = hem(&house, &["emit", refused.to_str().expect("a path")]).await;
    assert!(
        refused.code != 0 && refused.stderr.contains("event_type"),
        "{}",
        refused.stderr
    );
    let exported = hem(&house, &["export"]).await.stdout;
    service.stop().await;

    // Another machine takes them over.
    let other = House::new();
    let records = other.path("records.jsonl");
    std::fs::write(&records, &exported).expect("a file");
    let config = configure(&other, "", "");
    let imported = hem(
        &other,
        &[
            "--config",
            &config,
            "import-records",
            records.to_str().expect("a path"),
        ],
    )
    .await;
    assert_eq!(imported.code, 0, "{}{}", imported.stdout, imported.stderr);
    let (service, address) = start(&other).await;
    let shown = hem(&other, &["events", "--kind", "esc", "--json"]).await;
    assert_eq!(
        shown.stdout.matches("\"kind\": \"esc\"").count() as u64,
        all,
        "{}",
        shown.stdout
    );
    let again = call_back(address, "x", 200, &about("VM_ALIVE", "dep1", "vm-1"));
    assert_eq!(
        again.json()["status"],
        "duplicate",
        "what the other machine took is known here"
    );
    service.stop().await;
}
