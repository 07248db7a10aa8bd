//! Requests over HTTP become events: by real clients, against the real daemon.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;
mod web;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, LIMIT, until};
use hem::engine::execution::Actor;
use hem::engine::handle::Notice;
use hem::event::id::{HookName, Seq};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts};
use nix::sys::signal::Signal::SIGTERM;
use serde_json::{Value, json};
use service::hem;
use tokio::task::JoinSet;
use tokio::time::timeout;
use web::{
    Answer, all_that_was_answered_runs, configure, curl, noting, post, raw, refused, send, signature, start,
    sums_add_up,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_body_is_an_event_with_its_bytes_as_they_came() {
    let house = noting();
    configure(
        &house,
        "endpoints:\n  deploy:\n    subject: event.repository.name\n    headers: [X-GitHub-Event]\n  \
         odd: { path: /x/y%20z, methods: [GET, POST, PUT], body: json }\n  \
         form: { subject: event.name, methods: [GET, POST] }\n  xml: { subject: \"event.host['@name']\" }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let url = |path: &str| format!("http://{address}{path}");
    let bodies = [
        ("{\"repository\":  {\"name\": \"site\"}}\n", "deploy|site|push|"),
        ("a=1&name=K%C3%B6ln+S%C3%BCd", "form|Köln Süd||"),
        (
            "<?xml version=\"1.0\"?>\n<event><host name=\"n1\"/></event>",
            "xml|n1||",
        ),
        ("[1, 2]", "odd|||"),
        ("name=query", "form|query||"),
        ("", "odd|||"),
    ];
    let answers = [
        curl(&[
            "-H",
            "Content-Type: application/json; charset=utf-8",
            "-H",
            "X-GitHub-Event: push",
            "--data-binary",
            bodies[0].0,
            &url("/deploy"),
        ]),
        curl(&["--data-binary", bodies[1].0, &url("/form")]),
        curl(&[
            "-H",
            "Content-Type: application/soap+xml",
            "--data-binary",
            bodies[2].0,
            &url("/xml"),
        ]),
        curl(&[
            "-X",
            "PUT",
            "-H",
            "Content-Type: text/plain",
            "--data-binary",
            bodies[3].0,
            &url("/x/y%20z"),
        ]),
        curl(&[&url("/form?name=query")]),
        curl(&[&url("/x/y%20z")]),
    ];
    for (number, answer) in (1..).zip(&answers) {
        assert_eq!(answer.status, 202, "{answer:?}");
        let told = answer.json();
        let event = told["event"].as_str().expect("an event");
        assert!(event.ends_with(&format!("-{number}")), "{told}");
        assert_eq!(told["status"], "accepted");
        assert_eq!(
            told["executions"],
            json!([{"execution": format!("{event}.note"), "hook": "note"}])
        );
        assert!(answer.header("x-request-id").is_some());
    }
    service.until_succeeded(bodies.len() as u64).await;
    let expected: BTreeSet<String> = bodies.iter().map(|(_, note)| (*note).to_owned()).collect();
    assert_eq!(
        house.lines("notes").into_iter().collect::<BTreeSet<_>>(),
        expected
    );
    for (number, (body, _)) in (1..).zip(&bodies) {
        let kept = std::fs::read_to_string(house.path(&format!("payloads/{number}"))).expect("a payload");
        assert_eq!(&kept, body);
    }
    sums_add_up(&mut service, bodies.len() as u64).await;
    let shown = hem(&house, &["events", "--kind", "webhook", "--json"]).await;
    assert_eq!(
        shown.stdout.matches("\"endpoint\"").count(),
        bodies.len(),
        "{}",
        shown.stdout
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_see_body_and_headers_and_triggers_choose_endpoints() {
    let house = House::new();
    let hook = |name: &str, trigger: &str, when: &str| {
        format!("name: {name}\ntrigger: {trigger}\nwhen: {when}\ncommand: note.sh\narguments: [{name}]\n")
    };
    let script = format!("#!/bin/sh\necho \"$1\" >>{}\n", house.path("notes").display());
    house.script("note.sh", &script).hook(
        "hooks",
        &[
            hook(
                "body",
                "{ webhook: { name: deploy } }",
                "'event.ref == \"refs/heads/main\"'",
            ),
            hook(
                "header",
                "{ webhook: { name: [other, \"dep*\"] } }",
                "'meta.headers[\"x-event\"] == \"push\"'",
            ),
            hook(
                "meta",
                "{ source: web, webhook: { name: any } }",
                "'meta.kind == \"webhook\" && meta.endpoint == \"deploy\" && meta.method == \"POST\"'",
            ),
            hook(
                "wrong-ref",
                "{ webhook: { name: deploy } }",
                "'event.ref == \"refs/heads/dev\"'",
            ),
            hook("wrong-name", "{ webhook: { name: \"x*\" } }", "'true'"),
            hook(
                "wrong-source",
                "{ source: other, webhook: { name: any } }",
                "'true'",
            ),
        ]
        .join("---\n"),
    );
    configure(&house, "endpoints: { deploy: { headers: [x-event] } }\n", "");
    let (mut service, address) = start(&house).await;
    let answer = post(
        address,
        "/deploy",
        &["X-Event: push"],
        r#"{"ref": "refs/heads/main"}"#,
    );
    let told = answer.json();
    let hooks: BTreeSet<&str> = told["executions"]
        .as_array()
        .expect("executions")
        .iter()
        .filter_map(|execution| execution["hook"].as_str())
        .collect();
    assert_eq!(hooks, ["body", "header", "meta"].into());
    service.until_succeeded(3).await;
    let why = hem(
        &house,
        &[
            "match",
            "1",
            "--hooks",
            house.config.hooks_dir.to_str().expect("a path"),
        ],
    )
    .await;
    assert!(
        why.stdout.contains("3 of 6 hooks would run"),
        "{}{}",
        why.stdout,
        why.stderr
    );
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_made_by_openssl_are_taken_and_others_are_not() {
    let house = noting();
    for (name, secret) in [("old", "the old secret\n"), ("new", "the new secret")] {
        std::fs::write(house.path(name), secret).expect("a file");
    }
    configure(
        &house,
        "endpoints:\n  s1: { signature: { algorithm: sha1, secrets: [{ file: old }] } }\n  \
         s256: { signature: { secrets: [{ file: old }, { file: new }] } }\n  \
         s512: { signature: { algorithm: sha512, header: X-Sum, prefix: \"\", encoding: base64, secrets: [{ file: new }] } }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let body = r#"{"a": "ä"}"#;
    let hex = |algorithm: &str, secret: &str| signature(algorithm, secret, body.as_bytes());
    let in_base64 = |hex: &str| {
        let bytes: Vec<u8> = (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("digits"))
            .collect();
        STANDARD.encode(bytes)
    };
    let good = [
        (
            "/s1",
            format!("X-Hub-Signature: sha1={}", hex("sha1", "the old secret")),
        ),
        (
            "/s256",
            format!("X-Hub-Signature-256: sha256={}", hex("sha256", "the old secret")),
        ),
        (
            "/s256",
            format!("X-Hub-Signature-256: sha256={}", hex("sha256", "the new secret")),
        ),
        (
            "/s512",
            format!("X-Sum: {}", in_base64(&hex("sha512", "the new secret"))),
        ),
    ];
    for (path, header) in &good {
        let answer = post(address, path, &[header], body);
        assert_eq!(answer.status, 202, "{path} {header}: {answer:?}");
    }
    // The signature of nothing vouches for nothing, and not for what stands behind the `?`.
    let of_nothing = format!(
        "X-Hub-Signature-256: sha256={}",
        signature("sha256", "the old secret", b"")
    );
    let empty = send(address, "POST", "/s256?a=forged", &[&of_nothing], b"");
    assert_eq!(empty.status, 202, "{empty:?}");
    let event = empty.json()["event"].as_str().expect("an id").to_owned();
    let kept = hem(&house, &["show", &event, "--json"]).await.stdout;
    assert!(!kept.contains("forged"), "{kept}");
    let bad = [
        (
            "/s1",
            format!("X-Hub-Signature: sha1={}", hex("sha1", "the new secret")),
            body,
        ),
        (
            "/s1",
            format!("X-Hub-Signature: {}", hex("sha1", "the old secret")),
            body,
        ),
        (
            "/s256",
            format!("X-Hub-Signature-256: sha256={}", hex("sha256", "the old secret")),
            r#"{"a": "a"}"#,
        ),
        (
            "/s256",
            format!(
                "X-Hub-Signature-256: sha256={}",
                hex("sha256", "the old secret\n")
            ),
            body,
        ),
        ("/s256", "X-Hub-Signature-256: sha256=".to_owned(), body),
        ("/s256", "X-Other: 1".to_owned(), body),
        (
            "/s512",
            format!("X-Sum: {}", hex("sha512", "the new secret")),
            body,
        ),
    ];
    for (path, header, body) in &bad {
        let answer = post(address, path, &[header], body);
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "signature"),
            "{path} {header}"
        );
        assert!(answer.header("www-authenticate").is_some());
    }
    refused(&mut service, "signature", bad.len() as u64).await;
    sums_add_up(&mut service, (good.len() + 1 + bad.len()) as u64).await;
    assert!(!service.log().contains("the old secret") && !service.log().contains("the new secret"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_needed_and_can_be_replaced_while_the_daemon_runs() {
    let house = noting();
    let told = format!("#!/bin/sh\ncat >{}\n", house.path("told").display());
    house
        .script("leak.sh", "#!/bin/sh\necho 'it was second-token' >&2\n")
        .script("told.sh", &told)
        .hook(
            "leak",
            "name: leak\ntrigger: { webhook: { name: leaky } }\ncommand: leak.sh\n---\n\
             name: told\ntrigger: { execution: { hook: leak, outcome: any } }\ncommand: told.sh\nstdin: payload\n",
        );
    std::fs::write(house.path("token"), "first-token\n").expect("a file");
    configure(
        &house,
        "endpoints:\n  leaky: {}\n  bearer: { token: { secrets: [{ file: token }] } }\n  \
         gitlab: { token: { header: X-Gitlab-Token, secrets: [{ file: token }] } }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let status = |path: &str, header: &str| post(address, path, &[header], "{}").status;
    assert_eq!(status("/bearer", "Authorization: Bearer first-token"), 202);
    assert_eq!(status("/gitlab", "X-Gitlab-Token: first-token"), 202);
    let wrong = [
        ("/bearer", "Authorization: Bearer first-toke"),
        ("/bearer", "Authorization: Basic first-token"),
        ("/bearer", "X-Gitlab-Token: first-token"),
        ("/gitlab", "X-Gitlab-Token: "),
        ("/gitlab", "Authorization: Bearer first-token"),
    ];
    for (path, header) in wrong {
        let answer = post(address, path, &[header], "{}");
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (401, "token"),
            "{path} {header}"
        );
    }
    refused(&mut service, "token", wrong.len() as u64).await;

    std::fs::write(house.path("next"), "second-token\n").expect("a file");
    std::fs::rename(house.path("next"), house.path("token")).expect("renamed");
    until("the new token is taken", || {
        status("/gitlab", "X-Gitlab-Token: second-token") == 202
    })
    .await;
    assert_eq!(status("/gitlab", "X-Gitlab-Token: first-token"), 401);
    // A body may quote the token; what is shown does not.
    let quoted = post(
        address,
        "/bearer",
        &["Authorization: Bearer second-token"],
        r#"{"said": "first-token, second-token"}"#,
    );
    let event = quoted.json()["event"].as_str().expect("an event").to_owned();
    let number = event.rsplit('-').next().expect("a number");
    let shown = hem(&house, &["show", number, "--json"]).await;
    assert!(
        shown.stdout.contains("said")
            && !shown.stdout.contains("first-token")
            && !shown.stdout.contains("second-token"),
        "{}",
        shown.stdout
    );
    // Nor does what other hooks are told of a script that prints it.
    assert_eq!(post(address, "/leaky", &[], "{}").status, 202);
    until("the end is told", || !house.lines("told").is_empty()).await;
    let told = house.lines("told").join("\n");
    assert!(
        told.contains("it was [redacted]") && !told.contains("second-token"),
        "{told}"
    );
    for secret in ["first-token", "second-token"] {
        assert!(!service.log().contains(secret), "{}", service.log());
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_browsers_are_kept_out() {
    let house = noting();
    configure(
        &house,
        "endpoints:\n  near: { addresses: [127.0.0.0/8, \"::1\"] }\n  far: { addresses: [192.0.2.0/24] }\n  open: {}\n  asked: { methods: [GET] }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    assert_eq!(post(address, "/near", &[], "{}").status, 202);
    let far = post(address, "/far", &[], "{}");
    assert_eq!((far.status, far.reason().as_str()), (403, "address"));
    for header in ["Origin: https://example.org", "Sec-Fetch-Site: cross-site"] {
        let page = post(address, "/open", &[header], "{}");
        assert_eq!(
            (page.status, page.reason().as_str()),
            (403, "browser"),
            "{header}"
        );
    }
    assert_eq!(post(address, "/open", &[], "{}").status, 202);
    // A page of which the name was made to lead here.
    let by = |host: &str| {
        let request = format!("GET /asked?a=1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        Answer::read(&raw(address, request.as_bytes()))
    };
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]"] {
        assert_eq!(by(host).status, 202, "{host}");
    }
    for host in [
        "rebound.example.net",
        "127.0.0.1.example.net:8080",
        "192.0.2.7",
        "",
    ] {
        let rebound = by(host);
        assert_eq!(
            (rebound.status, rebound.reason().as_str()),
            (421, "host"),
            "{host}"
        );
    }
    refused(&mut service, "address", 1).await;
    refused(&mut service, "browser", 2).await;
    refused(&mut service, "host", 4).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_proxy_says_who_sent_a_request_and_nobody_else_does() {
    for (proxies, forwarded, status) in [
        ("trusted_proxies: [127.0.0.1]\n", "198.51.100.7", 202),
        ("trusted_proxies: [127.0.0.1]\n", "203.0.113.9", 403),
        ("trusted_proxies: [127.0.0.1]\n", "198.51.100.7, 203.0.113.9", 403),
        ("trusted_proxies: [127.0.0.1]\n", "somebody", 403),
        ("", "198.51.100.7", 403),
    ] {
        let house = noting();
        configure(
            &house,
            &format!("{proxies}endpoints: {{ x: {{ addresses: [198.51.100.0/24] }} }}\n"),
            "",
        );
        let (service, address) = start(&house).await;
        let header = format!("X-Forwarded-For: {forwarded}");
        let answer = post(address, "/x", &[&header], "{}");
        assert_eq!(answer.status, status, "{proxies}{forwarded}: {answer:?}");
        service.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_delivered_twice_is_one_event_also_across_a_kill() {
    let house = noting();
    configure(
        &house,
        "endpoints: { hub: { delivery: { header: X-GitHub-Delivery } } }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let deliver =
        |address: SocketAddr, id: &str| post(address, "/hub", &[&format!("X-GitHub-Delivery: {id}")], "{}");
    let first = deliver(address, "a");
    assert_eq!(first.status, 202);
    let again = deliver(address, "a");
    assert_eq!(again.status, 200);
    assert_eq!(
        again.json(),
        json!({"event": first.json()["event"], "status": "duplicate"})
    );
    assert_eq!(deliver(address, "b").status, 202);
    assert_eq!(
        post(address, "/hub", &[], "{}").status,
        202,
        "without the header it is new"
    );
    // All at once: one of them is the event.
    let threads: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || deliver(address, "c").status))
        .collect();
    let mut statuses: Vec<u16> = threads
        .into_iter()
        .map(|thread| thread.join().expect("an answer"))
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 202]);
    sums_add_up(&mut service, 12).await;
    service
        .until("duplicates are counted", |status| {
            status.events["web"].duplicate == 8
        })
        .await;
    service.kill();

    let (mut service, address) = start(&house).await;
    let again = deliver(address, "a");
    assert_eq!(
        (again.status, &again.json()["event"]),
        (200, &first.json()["event"])
    );
    assert_eq!(deliver(address, "d").status, 202);
    service.until_succeeded(5).await;
    assert_eq!(house.lines("notes").len(), 5);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_tells_the_result_where_that_is_asked_for() {
    let house = House::new();
    house
        .script("exit.sh", "#!/bin/sh\nexit \"$1\"\n")
        .script("wait.sh", &format!("#!/bin/sh\nwhile ! [ -e {} ]; do sleep 0.05; done\n", house.path("go").display()))
        .hook(
            "hooks",
            "name: good\ntrigger: { webhook: { name: run } }\ncommand: exit.sh\narguments: [\"0\"]\n---\n\
             name: odd\ntrigger: { webhook: { name: run } }\ncommand: exit.sh\narguments: [\"${{ event.code }}\"]\n---\n\
             name: slow\ntrigger: { webhook: { name: \"slow*\" } }\ncommand: wait.sh\n",
        );
    configure(
        &house,
        "endpoints:\n  run: { respond: result, delivery: { header: X-Id } }\n  slow: { respond: result, respond_within: 200ms }\n  \
         slower: { respond: result, respond_within: 10m }\n  nothing: { respond: result }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let ended = post(address, "/run", &["X-Id: 1"], r#"{"code": 3}"#);
    assert_eq!(ended.status, 200);
    let told = ended.json();
    assert_eq!(told["status"], "ended");
    let mut executions: Vec<(String, String, Value)> = told["executions"]
        .as_array()
        .expect("executions")
        .iter()
        .map(|execution| {
            let text = |name: &str| execution[name].as_str().expect("text").to_owned();
            (text("hook"), text("state"), execution["last"].clone())
        })
        .collect();
    executions.sort_by(|a, b| a.0.cmp(&b.0));
    let exited = |code: i32| json!({"outcome": "exited", "code": code});
    assert_eq!(
        executions,
        [
            ("good".to_owned(), "succeeded".to_owned(), exited(0)),
            ("odd".to_owned(), "failed".to_owned(), exited(3)),
        ]
    );
    let again = post(address, "/run", &["X-Id: 1"], r#"{"code": 3}"#);
    assert_eq!((again.status, &again.json()["duplicate"]), (200, &json!(true)));
    assert_eq!(again.json()["executions"], told["executions"]);
    let nothing = post(address, "/nothing", &[], "{}");
    assert_eq!((nothing.status, &nothing.json()["executions"]), (200, &json!([])));

    let slow = post(address, "/slow", &[], "{}");
    assert_eq!((slow.status, &slow.json()["status"]), (202, &json!("running")));
    assert_eq!(slow.json()["executions"][0]["hook"], "slow");

    // Who waits when the daemon stops is told how far it got.
    let waiting = std::thread::spawn(move || post(address, "/slower", &[], "{}"));
    service
        .until("it is accepted", |status| status.events["web"].accepted == 4)
        .await;
    service.signal(SIGTERM);
    let told = waiting.join().expect("an answer");
    assert_eq!((told.status, &told.json()["status"]), (202, &json!("running")));
    std::fs::write(house.path("go"), "").expect("a file");
    assert!(service.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill() {
    let house = noting();
    configure(&house, "endpoints: { x: { subject: event.n } }\n", "");
    let deliver = |address, name: &str| post(address, "/x", &[], &format!("{{\"n\": \"{name}\"}}"));
    all_that_was_answered_runs(&house, "web", deliver, 202, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_is_told_to_come_again_while_nothing_is_accepted() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\nwhile ! [ -e {} ]; do sleep 0.05; done\n",
        house.path("go").display()
    );
    house.script("wait.sh", &script).hook(
        "wait",
        "name: wait\ntrigger: { webhook: { name: x } }\ncommand: wait.sh\n",
    );
    configure(
        &house,
        "endpoints: { x: { delivery: { header: X-Id } } }\n",
        "limits: { max_backlog: 0 }\n",
    );
    let (mut service, address) = start(&house).await;
    assert_eq!(post(address, "/x", &["X-Id: 1"], "{}").status, 202);
    service
        .until("the backlog is full", |status| status.not_accepting.is_some())
        .await;
    let refusal = post(address, "/x", &["X-Id: 2"], "{}");
    assert_eq!((refusal.status, refusal.reason().as_str()), (503, "no room"));
    assert!(
        refusal
            .header("retry-after")
            .is_some_and(|seconds| seconds.parse::<u32>().is_ok())
    );
    refused(&mut service, "no room", 1).await;
    std::fs::write(house.path("go"), "").expect("a file");
    service
        .until("there is room again", |status| status.not_accepting.is_none())
        .await;
    // What was refused is no duplicate when it comes again.
    assert_eq!(post(address, "/x", &["X-Id: 2"], "{}").status, 202);
    sums_add_up(&mut service, 3).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_requests_are_matched_tried_emitted_and_carried_along() {
    let house = noting();
    let config = configure(&house, "endpoints: { deploy: {} }\n", "");
    let config = config.to_str().expect("a path");
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/webhook/events/push.json");
    let matched = hem(&house, &["--config", config, "match", saved]).await;
    assert!(
        matched.stdout.contains("1 of 1 hooks would run"),
        "{}{}",
        matched.stdout,
        matched.stderr
    );
    let tried = hem(&house, &["--config", config, "try", "note", saved]).await;
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    assert_eq!(house.lines("notes").len(), 1);
    let (mut service, address) = start(&house).await;
    let emitted = hem(&house, &["emit", saved]).await;
    assert_eq!(emitted.stdout, "1.note\n", "{}", emitted.stderr);
    assert_eq!(post(address, "/deploy", &[], "{\"a\": 1}").status, 202);
    service.until_succeeded(2).await;
    let tried = hem(&house, &["--config", config, "try", "note", "2"]).await;
    assert_eq!(tried.code, 0, "{}{}", tried.stdout, tried.stderr);
    let exported = hem(&house, &["export"]).await;
    assert_eq!(
        exported.stdout.matches("\"kind\":\"webhook\"").count(),
        2,
        "{}",
        exported.stdout
    );
    service.stop().await;

    // Another machine takes them over.
    let other = House::new();
    let records = other.path("records.jsonl");
    std::fs::write(&records, exported.stdout).expect("a file");
    let config = configure(&other, "endpoints: { deploy: {} }\n", "");
    let config = config.to_str().expect("a path");
    let imported = hem(
        &other,
        &[
            "--config",
            config,
            "import-records",
            records.to_str().expect("a path"),
        ],
    )
    .await;
    assert_eq!(imported.code, 0, "{}{}", imported.stdout, imported.stderr);
    let (service, _) = start(&other).await;
    let shown = hem(&other, &["events", "--kind", "webhook", "--json"]).await;
    assert_eq!(shown.stdout.matches("\"deploy\"").count(), 2, "{}", shown.stdout);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_made_up_by_a_sender_do_not_silence_other_refusals() {
    let house = noting();
    configure(
        &house,
        "endpoints:\n  near: {}\n  far: { addresses: [192.0.2.0/24] }\n",
        "",
    );
    let (service, address) = start(&house).await;
    for number in 0..30 {
        assert_eq!(
            post(address, &format!("/made-up-{number}"), &[], "{}").status,
            404
        );
    }
    assert_eq!(post(address, "/far", &[], "{}").status, 403);
    service.until_logged("/far").await;
    assert!(!service.log().contains("/made-up-29"), "{}", service.log());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_is_no_gap_for_who_can_send_again() {
    let house = noting();
    house.hook(
        "alarm",
        "name: alarm\ntrigger: { gap: { source: web } }\ncommand: note.sh\nloop_guard: off\n",
    );
    configure(&house, "endpoints: { x: {} }\n", "");
    for round in 1..=3 {
        let (mut service, address) = start(&house).await;
        assert_eq!(post(address, "/x", &[], "{}").status, 202);
        service.until_succeeded(round).await;
        service.stop().await;
    }
    let (service, _) = start(&house).await;
    let shown = hem(&house, &["events", "--json"]).await;
    assert_eq!(
        shown.stdout.matches("\"endpoint\"").count(),
        3,
        "{}",
        shown.stdout
    );
    assert_eq!(house.lines("notes").len(), 3, "{:?}", house.lines("notes"));
    let shown = hem(&house, &["events", "--kind", "gap", "--json"]).await;
    assert!(!shown.stdout.contains("why"), "{}", shown.stdout);
    assert!(
        !service.log().contains("events may be missing"),
        "{}",
        service.log()
    );
    service.stop().await;
}

fn any() -> Event {
    Event {
        seq: Seq::default(),
        source: "web".into(),
        key: "WEBHOOK x".to_owned(),
        subject: None,
        received: Timestamp::now(),
        facts: Facts::Undecodable {
            reason: String::new(),
        },
        ambiguous: false,
        synthesised: false,
        payload: Payload::new("{}".into()),
    }
}

/// Whoever follows first and reads then: `hem wait`, `hem demo`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_end_is_missed_whenever_one_begins_to_wait() {
    let house = House::new();
    house.script("short.sh", "#!/bin/sh\n").hook(
        "short",
        "name: short\ntrigger: { webhook: { name: any } }\ncommand: short.sh\nloop_guard: off\n",
    );
    let daemon = house.daemon().await;
    let (handle, hook) = (daemon.handle(), HookName::new("short").expect("a name"));
    for round in 0..200 {
        let accepted = handle
            .emit(any(), Some(hook.clone()), Actor::Daemon)
            .await
            .expect("accepted");
        // Somewhere around the script's end.
        tokio::time::sleep(Duration::from_millis(round % 20)).await;
        let mut feed = handle.subscribe();
        let executions = handle.store().executions_of(accepted.seq).expect("readable");
        let mut is_settled = executions
            .iter()
            .all(|execution| execution.progress.state.is_settled());
        while !is_settled {
            let notice = timeout(LIMIT, feed.recv()).await;
            let notice = notice.unwrap_or_else(|_| panic!("the end of round {round} was missed"));
            is_settled = matches!(notice.expect("it goes on"), Notice::Execution(execution) if execution.progress.state.is_settled());
        }
    }
    daemon.stop().await;
}

/// A sender that waits for a result has an end of its own to wait for, however many others wait beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_of_many_who_wait_is_told_when_its_own_event_has_come_to_its_end() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\nuntil test -e {}-${{HEM_EVENT_ID#*-}}; do sleep 0.02; done\n",
        house.path("go").display()
    );
    house.script("wait.sh", &script).hook(
        "wait",
        "name: wait\ntrigger: { webhook: { name: any } }\ncommand: wait.sh\nloop_guard: off\n",
    );
    let daemon = house.daemon().await;
    let (handle, hook) = (daemon.handle(), HookName::new("wait").expect("a name"));
    let mut waiting = Vec::new();
    for _ in 0..4 {
        let accepted = handle.emit(any(), Some(hook.clone()), Actor::Daemon).await;
        let event = accepted.expect("accepted").seq;
        let mut waiters = JoinSet::new();
        for _ in 0..50 {
            let records = handle.records();
            waiters.spawn(async move { records.until_settled(event).await });
        }
        waiting.push((event, waiters));
    }
    for number in [2, 0, 3, 1] {
        let (event, waiters) = &mut waiting[number];
        assert!(
            waiters.try_join_next().is_none(),
            "of event {event} nothing has ended"
        );
        std::fs::write(house.path(&format!("go-{event}")), "").expect("a file");
        let told = std::mem::take(waiters).join_all();
        let told = timeout(LIMIT, told).await.expect("all are told");
        assert!(told.len() == 50 && told.iter().all(Result::is_ok), "{told:?}");
        // Who comes after the end has nothing to wait for.
        let late = timeout(LIMIT, handle.records().until_settled(*event)).await;
        late.expect("it is told").expect("a read");
    }
    daemon.stop().await;
}
