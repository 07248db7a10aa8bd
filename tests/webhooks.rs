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
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal::SIGTERM;
use serde_json::{Value, json};
use service::{Service, hem, in_state};
use web::{Answer, configure, connect, curl, post, raw, read_to_end, send, signature, start, tool};

/// A hook for every endpoint, which notes down what it was given.
const NOTE: &str =
    "name: note\ntrigger: { webhook: { name: any } }\ncommand: note.sh\nstdin: payload\nloop_guard: off\n";

/// A house whose hook writes a line for each event, and the payload into a file of its own.
fn noting() -> House {
    let house = House::new();
    let (notes, payloads) = (house.path("notes"), house.path("payloads"));
    std::fs::create_dir(&payloads).expect("a folder");
    let script = format!(
        "#!/bin/sh\ncat >{}/\"${{HEM_EVENT_ID#*-}}\"\necho \"$HEM_ENDPOINT|$HEM_SUBJECT|$HEM_HEADER_X_GITHUB_EVENT|$HEM_DELIVERY\" >>{}\n",
        payloads.display(),
        notes.display()
    );
    house.script("note.sh", &script).hook("note", NOTE);
    house
}

async fn refused(service: &mut Service, reason: &str, number: u64) {
    service
        .until(&format!("{number} refused for `{reason}`"), |status| {
            status.sources["web"].refused.get(reason) == Some(&number)
        })
        .await;
}

/// Every request is in exactly one counter.
async fn sums_add_up(service: &mut Service, received: u64) {
    let status = service
        .until(&format!("{received} requests are counted"), |status| {
            status
                .events
                .get("web")
                .is_some_and(|sums| sums.received >= received)
        })
        .await;
    let sums = &status.events["web"];
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!(sums.received, received, "{sums:?}");
}

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
    sums_add_up(&mut service, (good.len() + bad.len()) as u64).await;
    assert!(!service.log().contains("the old secret") && !service.log().contains("the new secret"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_needed_and_can_be_replaced_while_the_daemon_runs() {
    let house = noting();
    std::fs::write(house.path("token"), "first-token\n").expect("a file");
    configure(
        &house,
        "endpoints:\n  bearer: { token: { secrets: [{ file: token }] } }\n  \
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
        r#"{"said": "first-token"}"#,
    );
    let event = quoted.json()["event"].as_str().expect("an event").to_owned();
    let number = event.rsplit('-').next().expect("a number");
    let shown = hem(&house, &["show", number, "--json"]).await;
    assert!(
        shown.stdout.contains("said") && !shown.stdout.contains("first-token"),
        "{}",
        shown.stdout
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
        "endpoints:\n  near: { addresses: [127.0.0.0/8, \"::1\"] }\n  far: { addresses: [192.0.2.0/24] }\n  open: {}\n",
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
    refused(&mut service, "address", 1).await;
    refused(&mut service, "browser", 2).await;
    service.stop().await;
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
async fn everything_wrong_gets_its_code_and_is_counted_and_others_go_on_being_served() {
    let house = noting();
    configure(
        &house,
        "limits: { body: 64KiB, head_time: 1s, body_time: 1s }\nendpoints: { x: {}, y: { methods: [GET, PUT] } }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let json = "Content-Type: application/json";
    let large = vec![b' '; (64 << 10) + 1];
    let deep = "[".repeat(10_000);
    let deep_xml = "<a>".repeat(10_000);
    let refusals: Vec<(Answer, u16, &str)> = vec![
        (post(address, "/nowhere", &[], "{}"), 404, "path"),
        (post(address, "/x/", &[], "{}"), 404, "path"),
        (post(address, "/y", &[], "{}"), 405, "method"),
        (send(address, "BREW", "/x", &[], b""), 405, "method"),
        (
            send(address, "POST", "/x", &["Content-Type: text/plain"], b"x"),
            415,
            "type",
        ),
        (send(address, "POST", "/x", &[], b"{}"), 415, "type"),
        (
            send(
                address,
                "POST",
                "/x",
                &["Content-Type: multipart/form-data; boundary=x"],
                b"x",
            ),
            415,
            "type",
        ),
        (
            send(
                address,
                "POST",
                "/x",
                &[json, "Content-Encoding: gzip"],
                b"\x1f\x8b",
            ),
            415,
            "type",
        ),
        (post(address, "/x", &[], "{"), 400, "body"),
        (post(address, "/x", &[], &deep), 400, "body"),
        (
            send(
                address,
                "POST",
                "/x",
                &["Content-Type: text/xml"],
                deep_xml.as_bytes(),
            ),
            400,
            "body",
        ),
        (
            send(
                address,
                "POST",
                "/x",
                &["Content-Type: text/xml"],
                b"<!DOCTYPE x><x/>",
            ),
            400,
            "body",
        ),
        (send(address, "POST", "/x", &[json], b"\"\xff\xfe\""), 400, "body"),
        (
            send(
                address,
                "POST",
                "/x",
                &["Content-Type: application/x-www-form-urlencoded"],
                b"a=%f",
            ),
            400,
            "body",
        ),
        (send(address, "POST", "/x", &[json], &large), 413, "too large"),
        (
            Answer::read(&raw(
                address,
                &[
                    format!(
                        "POST /x HTTP/1.1\r\nHost: x\r\n{json}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n",
                        large.len()
                    )
                    .as_bytes(),
                    &large,
                    b"\r\n0\r\n\r\n",
                ]
                .concat(),
            )),
            413,
            "too large",
        ),
        (
            Answer::read(&raw(
                address,
                format!("POST /x HTTP/1.1\r\nHost: x\r\n{json}\r\nContent-Length: 10\r\n\r\n{{").as_bytes(),
            )),
            408,
            "too slow",
        ),
    ];
    for (answer, status, reason) in &refusals {
        assert_eq!(
            (answer.status, answer.reason().as_str()),
            (*status, *reason),
            "{answer:?}"
        );
        assert!(answer.header("x-request-id").is_some());
    }
    assert_eq!(refusals[2].0.header("allow"), Some("GET, PUT"));

    // What is no request is answered and closed, or only closed.
    let many: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    let long = "a".repeat(100_000);
    for (garbage, status) in [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            Some(400),
        ),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n".to_vec(), Some(400)),
        (format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes(), Some(431)),
        (format!("GET /{long} HTTP/1.1\r\n\r\n").into_bytes(), None),
        (
            b"POST /x HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n".to_vec(),
            Some(400),
        ),
        (b"POST /x HTT".to_vec(), None),
        (b"".to_vec(), None),
    ] {
        let said = raw(address, &garbage);
        match status {
            Some(status) => assert_eq!(Answer::read(&said).status, status, "{said}"),
            None => assert!(!said.starts_with("HTTP/1.1 2"), "{said}"),
        }
        assert_eq!(post(address, "/x", &[], "{}").status, 202, "others are served");
    }
    for (reason, number) in [
        ("path", 2),
        ("method", 2),
        ("type", 4),
        ("body", 6),
        ("too large", 2),
        ("too slow", 1),
    ] {
        refused(&mut service, reason, number).await;
    }
    let status = service.status().await.expect("a status");
    assert!(status.events["web"].adds_up, "{:?}", status.events["web"]);
    assert_eq!(status.events["web"].accepted, 7);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_id_is_taken_over_or_made_and_stands_in_the_log() {
    let house = noting();
    configure(
        &house,
        "endpoints: { x: {} }\n",
        "log: info,hem::listener=debug\n",
    );
    let (service, address) = start(&house).await;
    let given = post(address, "/x", &["X-Request-Id: from-the-proxy.1"], "{}");
    assert_eq!(given.header("x-request-id"), Some("from-the-proxy.1"));
    let odd = post(address, "/x", &["X-Request-Id: a b\"c"], "{}");
    let made = odd.header("x-request-id").expect("an id").to_owned();
    assert!(!made.contains(' '), "{made}");
    let refused = post(address, "/none", &["X-Request-Id: refused-one"], "{}");
    assert_eq!(refused.status, 404);
    for id in ["from-the-proxy.1", &made, "refused-one"] {
        service.until_logged(id).await;
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_and_half_requests_keep_nobody_out() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096).max(soft), hard).expect("more files");
    let house = noting();
    configure(
        &house,
        "limits: { connections: 200, head_time: 10m, body_time: 10m }\nendpoints: { x: {} }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let mut idle = Vec::new();
    for number in 0..1_000 {
        let mut stream = connect(address);
        let sent: &[u8] = match number % 3 {
            0 => b"",
            1 => b"POST /x HTTP/1.1\r\nHost: x\r\n",
            _ => {
                b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
            }
        };
        // Those that made place for others are closed already.
        let _ = stream.write_all(sent);
        idle.push(stream);
        if number % 100 == 99 {
            assert_eq!(post(address, "/x", &[], "{}").status, 202, "after {number}");
        }
    }
    // The newest of them are still served, the oldest made place.
    let mut newest = idle.pop().expect("a stream");
    newest.set_read_timeout(Some(daemon::LIMIT)).expect("a limit");
    newest.write_all(b"").expect("it is open");
    let oldest = idle.remove(0);
    assert_eq!(read_to_end(oldest), "");
    service.until_succeeded(10).await;
    drop(newest);
    drop(idle);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_carries_many_requests_and_idles_no_longer_than_it_may() {
    let house = noting();
    configure(&house, "limits: { head_time: 1s }\nendpoints: { x: {} }\n", "");
    let (mut service, address) = start(&house).await;
    let mut stream = connect(address);
    for _ in 0..20 {
        let request =
            "POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        while !answer.contains("}\n") {
            let mut part = [0; 1024];
            let read = stream.read(&mut part).expect("an answer");
            assert!(read > 0, "closed after {answer}");
            answer += &String::from_utf8_lossy(&part[..read]);
        }
        assert_eq!(Answer::read(&answer).status, 202);
    }
    assert_eq!(
        read_to_end(stream),
        "",
        "it is closed when it has been idle for long enough"
    );
    service.until_succeeded(20).await;
    service.stop().await;
}

fn make_certificate(house: &House, name: &str) {
    let (certificate, key) = (
        house.path(&format!("{name}.pem")),
        house.path(&format!("{name}.key")),
    );
    tool(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &format!("/CN={name}"),
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            key.to_str().expect("a path"),
            "-out",
            certificate.to_str().expect("a path"),
        ],
        b"",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_the_daemon_runs() {
    let house = noting();
    for name in ["first", "second"] {
        make_certificate(&house, name);
    }
    let put = |name: &str| {
        for end in ["pem", "key"] {
            std::fs::copy(
                house.path(&format!("{name}.{end}")),
                house.path(&format!("new.{end}")),
            )
            .expect("a copy");
            std::fs::rename(
                house.path(&format!("new.{end}")),
                house.path(&format!("web.{end}")),
            )
            .expect("renamed");
        }
    };
    put("first");
    configure(
        &house,
        "tls: { certificate: web.pem, key: web.key }\nendpoints: { x: {} }\n",
        "",
    );
    let (service, address) = start(&house).await;
    let url = format!("https://localhost:{}/x", address.port());
    let by = |name: &str| {
        let authority = house.path(&format!("{name}.pem"));
        let mut command = std::process::Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "60",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--json",
            "{}",
            "--cacert",
        ]);
        command.arg(authority).arg(&url);
        let output = assert_cmd::Command::from_std(command)
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!((by("first"), by("second")), ("202".to_owned(), "000".to_owned()));
    let other = connect(address);
    put("second");
    until("the second certificate is in force", || by("second") == "202").await;
    assert_eq!(by("first"), "000");
    drop(other);
    // A pair that cannot be used changes nothing.
    std::fs::write(house.path("web.key"), "no key").expect("a file");
    service
        .until_logged("the former certificate stays in force")
        .await;
    assert_eq!(by("second"), "202");
    // Who does not speak TLS is no request.
    assert!(!raw(address, b"POST /x HTTP/1.1\r\nHost: x\r\n\r\n").contains("202"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_is_there_after_a_kill() {
    let house = noting();
    configure(&house, "endpoints: { x: { subject: event.n } }\n", "");
    let mut answered: BTreeSet<String> = BTreeSet::new();
    for round in 0..3 {
        let (service, address) = start(&house).await;
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                std::thread::spawn(move || {
                    (0..10)
                        .map(|number| {
                            let n = format!("{round}.{sender}.{number}");
                            let answer = post(address, "/x", &[], &format!("{{\"n\": \"{n}\"}}"));
                            assert_eq!(answer.status, 202, "{answer:?}");
                            n
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for sender in senders {
            answered.extend(sender.join().expect("a sender"));
        }
        // The last answer is a moment old.
        service.kill();
    }
    let (mut service, _) = start(&house).await;
    service
        .until("all is settled", |status| {
            service::unsettled(status) == 0 && in_state(status, "succeeded") == answered.len() as u64
        })
        .await;
    let ran: BTreeSet<String> = house
        .lines("notes")
        .iter()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::to_owned)
        .collect();
    assert_eq!(ran, answered);
    service.stop().await;
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
async fn a_daemon_that_cannot_listen_or_has_no_secret_says_so() {
    let house = noting();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    for (source, code, said) in [
        (
            format!("listen: {address}\nendpoints: {{ x: {{}} }}\n"),
            1,
            address.to_string(),
        ),
        (
            "endpoints: { x: { token: { secrets: [{ file: nowhere }] } } }\n".to_owned(),
            4,
            "nowhere".to_owned(),
        ),
        (
            "endpoints: { x: { token: { secrets: [{ env: HEM_TEST_UNSET }] } } }\n".to_owned(),
            4,
            "HEM_TEST_UNSET".to_owned(),
        ),
        (
            "tls: { certificate: a.pem, key: a.key }\nendpoints: { x: {} }\n".to_owned(),
            4,
            "a.pem".to_owned(),
        ),
        (
            "listen: 0.0.0.0:8080\nendpoints: { x: {} }\n".to_owned(),
            4,
            "hem.yaml:".to_owned(),
        ),
    ] {
        configure(&house, &source, "");
        let mut service = Service::start(&house);
        let ended = service.ended().await;
        assert_eq!(ended.code(), Some(code), "{source}: {}", service.log());
        assert!(service.log().contains(&said), "{source}: {}", service.log());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn saved_requests_are_matched_tried_emitted_and_carried_along() {
    let house = noting();
    let config = configure(&house, "endpoints: { deploy: {} }\n", "");
    let config = config.to_str().expect("a path");
    let saved = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/events/webhook-push.json");
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
