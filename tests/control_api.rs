//! The control API over TCP, end to end against the real daemon: the live feed, lists and outputs, and what is said when something is
//! wrong. Who may do what, and what browsers are kept from, stands in `control_api/access.rs`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

#[path = "control_api/access.rs"]
mod access;
mod control_site;
mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;
mod web;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;

use control_site::{Feed, OPERATOR, Site, VIEWER};
use daemon::{House, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use oned_stand_in::Oned;
use serde_json::{Value, json};
use service::hem;
use web::{Answer, connect, raw, send, tool};

/// The problem's code.
fn code(answer: &Answer) -> String {
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{answer:?}"
    );
    let problem = answer.json();
    assert_eq!(problem["status"], answer.status, "{answer:?}");
    assert_eq!(problem["type"], "about:blank", "{answer:?}");
    assert!(
        problem["title"].is_string() && problem["detail"].is_string(),
        "{answer:?}"
    );
    problem["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_feed_that_was_cut_off_misses_nothing_and_hears_nothing_twice() {
    let site = Site::open("").await;
    let feed = site.follow(None);
    let hello = feed.next().expect("a beginning");
    assert_eq!(hello.name, "hello");
    let keys: Vec<String> = (0..40).map(|number| format!("event {number}")).collect();
    for key in &keys[..10] {
        site.emit(key);
    }
    let mut heard = Vec::new();
    let mut last = String::new();
    for _ in 0..7 {
        let (id, key) = feed.event();
        last = id;
        heard.push(key);
    }
    feed.cut();
    for key in &keys[10..30] {
        site.emit(key);
    }
    let feed = site.follow(Some(&last));
    for key in &keys[30..] {
        site.emit(key);
    }
    while heard.len() < keys.len() {
        heard.push(feed.event().1);
    }
    assert_eq!(heard, keys);
    // From the greeting on, all of it again.
    let again = site.follow(Some(&hello.id));
    for key in &keys {
        assert_eq!(again.event().1, *key);
    }
    // Who was never here, or in another life, is told that it cannot go on.
    for unknown in ["", "x", "00000000-7", "ffffffff-1"] {
        let first = site.follow(Some(unknown)).next().expect("a message");
        let expected = if unknown.is_empty() { "hello" } else { "reset" };
        assert_eq!(first.name, expected, "{unknown}");
    }
    // The feed ends in order when the daemon stops.
    site.emit("the last one");
    site.service.stop().await;
    for mut feed in [feed, again] {
        assert_eq!(feed.event().1, "the last one");
        assert!(feed.next().is_none());
        let status = feed.ended();
        assert!(status.success(), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_tells_of_executions_and_mutes_and_only_of_what_is_asked_for() {
    let house = House::new();
    house
        .script("true.sh", "#!/bin/sh\nexit 0\n")
        .hook(
            "one",
            "name: one\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: true.sh\n",
        )
        .hook(
            "two",
            "name: two\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: true.sh\n",
        );
    let site = Site::of(house, "").await;
    let url = format!("http://{}/v1/feed?hook=two&without_events=true", site.address);
    let feed = Feed::open(&url, None, &[]);
    assert_eq!(feed.next().expect("a beginning").name, "hello");
    for hook in ["one", "two"] {
        let order = json!({ "key": "x", "payload": "PGEvPg==", "hook": hook }).to_string();
        assert_eq!(site.ask(OPERATOR, "POST", "/v1/events", &order).status, 200);
    }
    loop {
        let message = feed.next().expect("a message");
        assert_eq!(
            (message.name.as_str(), &message.data["hook"]),
            ("execution", &json!("two"))
        );
        if message.data["state"]["name"] == "succeeded" {
            break;
        }
    }
    let scope = json!({ "is": "hook", "hook": "one" });
    let mute = site.ask(
        OPERATOR,
        "POST",
        "/v1/mutes",
        &json!({ "scope": scope }).to_string(),
    );
    assert_eq!(mute.status, 200, "{mute:?}");
    let muted = feed.next().expect("a message");
    assert_eq!((muted.name.as_str(), &muted.data["scope"]), ("muted", &scope));
    assert_eq!(muted.data["by"]["operator"]["token"]["name"], "operator");
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_neither_repeat_nor_leave_out_while_new_things_arrive() {
    let house = House::new();
    house.script("true.sh", "#!/bin/sh\nexit 0\n").hook(
        "h",
        "name: h\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: true.sh\n",
    );
    let mut site = Site::of(house, "").await;
    let emit = |number: u64| {
        let order = json!({ "key": format!("k {number}"), "payload": "PGEvPg==", "hook": "h" }).to_string();
        let answer = site.ask(OPERATOR, "POST", "/v1/events", &order);
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    (1..=23).for_each(emit);
    let mut arrives = 24;
    for (list, of) in [
        ("/v1/events?limit=5", "seq"),
        ("/v1/executions?limit=5", "event"),
        ("/v1/executions?limit=5&hook=h", "event"),
        ("/v1/audit?limit=5", "number"),
    ] {
        let (mut found, mut path, mut first) = (Vec::<u64>::new(), list.to_owned(), None);
        loop {
            let page = site.ask(VIEWER, "GET", &path, "");
            assert_eq!(page.status, 200, "{page:?}");
            let items = page.json();
            let items = items.as_array().expect("a list");
            found.extend(items.iter().map(|item| item[of].as_u64().expect("a number")));
            first.get_or_insert(found[0]);
            emit(arrives);
            arrives += 1;
            let Some(link) = page.header("link") else {
                assert_eq!(page.header("next-cursor"), None);
                break;
            };
            assert_eq!(items.len(), 5);
            path = link
                .strip_prefix('<')
                .and_then(|link| link.strip_suffix(">; rel=\"next\""))
                .expect("an address")
                .to_owned();
            let cursor = page.header("next-cursor").expect("a cursor");
            assert!(
                path.contains(&format!("cursor={cursor}")) && path.contains("limit=5"),
                "{path}"
            );
        }
        let newest = first.expect("a first page");
        assert_eq!(found, (1..=newest).rev().collect::<Vec<_>>(), "{list}");
    }
    for wrong in ["x", "zzzz-1", "last", "7"] {
        for list in ["events", "executions", "audit"] {
            let refused = site.ask(VIEWER, "GET", &format!("/v1/{list}?cursor={wrong}"), "");
            assert_eq!(
                (refused.status, code(&refused).as_str()),
                (400, "bad_request"),
                "{list} {wrong}"
            );
        }
    }
    site.service
        .until("all is settled", |status| service::unsettled(status) == 0)
        .await;
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_writes_can_be_read_while_it_runs_without_its_secrets() {
    let house = House::new();
    let go_on = house.path("go-on");
    let secret = house.path("secret");
    std::fs::write(&secret, "hunter2-of-the-dns\n").expect("a secret");
    house
        .script(
            "slow.sh",
            &format!(
                "#!/bin/sh\necho \"began with $DNS_TOKEN\"\necho oops >&2\nwhile [ ! -e {} ]; do sleep 0.05; done\necho done\n",
                go_on.display()
            ),
        )
        .hook(
            "slow",
            &format!(
                "name: slow\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: slow.sh\nsecrets: {{ DNS_TOKEN: {} }}\n",
                secret.display()
            ),
        );
    house.hook(
        "old",
        &format!("name: old\nid: 7\nprofile: onehem\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\n\
         command: /bin/true\narguments: PIN {OPERATOR}\n---\n\
         name: quoting\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\nwhen: text(\"VM/NAME\") == \"{OPERATOR}\"\n\
         command: slow.sh\n"),
    );
    let site = Site::of(house, "").await;
    for hook in ["slow", "old"] {
        let order = json!({ "key": "x", "payload": "PGEvPg==", "hook": hook }).to_string();
        assert_eq!(site.ask(OPERATOR, "POST", "/v1/events", &order).status, 200);
    }
    let output = || site.ask(VIEWER, "GET", "/v1/executions/1.slow/output", "").json();
    until("its first line is shown", || output()["stdout"]["total"] != 0).await;
    until("its second stream is shown", || {
        output()["stderr"]["head"] == json!({ "text": "oops\n" })
    })
    .await;
    let so_far = output();
    assert_eq!(
        (&so_far["running"], &so_far["attempt"]),
        (&json!(true), &json!(1))
    );
    let text = so_far["stdout"]["head"]["text"].as_str().expect("text");
    assert!(
        text.starts_with("began with ") && !text.contains("hunter2"),
        "{text}"
    );
    std::fs::write(&go_on, "").expect("a file");
    // It never seems to have written less than before.
    let mut least = 0;
    until("it has ended", || {
        let now = output();
        let total = now["stdout"]["total"].as_u64().expect("a number");
        assert!(total >= least, "{now}");
        least = total;
        now["running"] == false
    })
    .await;
    assert!(
        output()["stdout"]["head"]["text"]
            .as_str()
            .expect("text")
            .ends_with("\ndone\n")
    );
    let absent = site.ask(VIEWER, "GET", "/v1/executions/7.slow/output", "");
    assert_eq!((absent.status, code(&absent).as_str()), (404, "not_found"));

    // Wherever else a secret that hem knows was written, it is not seen either.
    let feed = site.follow(None);
    assert_eq!(feed.next().expect("a beginning").name, "hello");
    let order = json!({
        "scope": { "is": "lane", "hook": "slow", "subject": format!("web:{OPERATOR}") },
        "reason": format!("{OPERATOR} is wrong"),
    });
    let mute = site.ask(OPERATOR, "POST", "/v1/mutes", &order.to_string());
    assert_eq!(mute.status, 200, "{mute:?}");
    let muted = feed.next().expect("a message");
    assert_eq!(muted.data["scope"]["subject"], "web:[redacted]", "{muted:?}");
    assert_eq!(muted.data["reason"], "[redacted] is wrong");
    for path in [
        "/v1/status",
        "/v1/hooks",
        "/v1/audit",
        "/v1/export",
        "/v1/events/1/explanation",
        "/v1/executions?arguments=true",
    ] {
        let answer = site.ask(VIEWER, "GET", path, "");
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(
            answer.body.contains("[redacted]") && !answer.body.contains(OPERATOR),
            "{path}: {}",
            answer.body
        );
    }
    // The digest of a line that holds a secret is for those who may see the secret.
    let arguments = |token: &str| {
        let listed = site
            .ask(token, "GET", "/v1/executions?arguments=true&hook=old", "")
            .json();
        listed[0]["arguments"].clone()
    };
    assert_eq!(arguments(VIEWER)["line"], "PIN [redacted]");
    assert_eq!(arguments(VIEWER)["sha256"], Value::Null);
    assert!(arguments(OPERATOR)["sha256"].is_string());
    site.service.stop().await;
}

/// What is said of its readiness over TCP and over the socket, which is the same.
fn readiness(site: &Site) -> (u16, Value) {
    let over_tcp = send(site.address, "GET", "/readyz", &[], b"");
    let socket = &site.house.config.control.socket;
    let socket = socket.to_str().expect("a path");
    let over_socket = web::curl(&["--unix-socket", socket, "http://hem/readyz"]);
    match over_socket.status == over_tcp.status && over_socket.json() == over_tcp.json() {
        true => (over_tcp.status, over_tcp.json()),
        // It changed in between.
        false => (0, Value::Null),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_takes_nothing_more_is_alive_and_not_ready() {
    let house = House::new();
    let go_on = house.path("go-on");
    house
        .script(
            "wait.sh",
            &format!(
                "#!/bin/sh\nwhile [ ! -e {} ]; do sleep 0.05; done\n",
                go_on.display()
            ),
        )
        .hook(
            "h",
            "name: h\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: wait.sh\n",
        );
    let site = Site::of(house, "limits: { max_backlog: 0 }\n").await;
    let ready = json!({ "ready": true, "standby": false, "reasons": [] });
    assert_eq!(readiness(&site), (200, ready.clone()));
    let order = json!({ "key": "x", "payload": "PGEvPg==", "hook": "h" }).to_string();
    assert_eq!(site.ask(OPERATOR, "POST", "/v1/events", &order).status, 200);
    let full = json!({ "ready": false, "standby": false, "reasons": ["not_accepting"] });
    until("the backlog is full", || readiness(&site) == (503, full.clone())).await;
    assert_eq!(send(site.address, "GET", "/healthz", &[], b"").status, 200);
    std::fs::write(&go_on, "").expect("a file");
    until("there is room again", || readiness(&site) == (200, ready.clone())).await;

    // While scripts have their grace, it is not stuck: it stops.
    std::fs::remove_file(&go_on).expect("the file");
    assert_eq!(site.ask(OPERATOR, "POST", "/v1/events", &order).status, 200);
    until("the script runs", || {
        site.ask(VIEWER, "GET", "/v1/status", "").json()["running"] == 1
    })
    .await;
    site.service.signal(Signal::SIGTERM);
    let stopping = json!({ "ready": false, "standby": false, "reasons": ["stopping"] });
    let stuck = json!(["stuck"]);
    until("it says that it stops", || {
        let said = readiness(&site);
        assert_ne!(said.1["reasons"], stuck);
        said == (503, stopping.clone())
    })
    .await;
    std::fs::write(&go_on, "").expect("a file");
    let mut service = site.service;
    assert!(service.ended().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_by_is_ready_unless_nobody_knows_who_leads() {
    let mut house = House::new();
    let auth = house.path("one_auth");
    let auth = auth.to_str().expect("a path");
    let mut oned = Oned::start(&["--raft", "FOLLOWER", "--auth-file", auth]);
    house.serve(oned.events(), oned.replies());
    let more = format!(
        "oned: {{ endpoint: \"{}\", auth: {auth}, hooks: none, leader_only: true }}\n",
        oned.xmlrpc()
    );
    let site = Site::of(house, &more).await;
    let standby = json!({ "ready": true, "standby": true, "reasons": [] });
    until("it stands by", || readiness(&site) == (200, standby.clone())).await;
    oned.tell(json!({ "do": "break", "method": "one.zone.raftstatus", "how": "auth" }));
    let unknown = json!({ "ready": false, "standby": true, "reasons": ["leader_unknown"] });
    until("nobody says who leads", || {
        readiness(&site) == (503, unknown.clone())
    })
    .await;
    oned.tell(json!({ "do": "mend" }));
    oned.tell(json!({ "do": "raft", "state": "LEADER" }));
    let leads = json!({ "ready": true, "standby": false, "reasons": [] });
    until("it leads", || readiness(&site) == (200, leads.clone())).await;
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_wrong_is_said_as_a_problem_over_tcp_and_over_the_socket() {
    let site = Site::open("  limits: { body: 64KiB, body_time: 1s, head_time: 5s }\n").await;
    site.emit("first");
    let large = format!("{{ \"payload\": \"{}\" }}", "A".repeat(70_000));
    let many = json!({ "executions": vec!["99.h"; 1_001] }).to_string();
    for (method, path, body, status, reason) in [
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("POST", "/v1/executions/retry", &many, 413, "too_large"),
        ("GET", "/v1/events/99", "", 404, "not_found"),
        ("GET", "/v1/executions/1.h", "", 404, "not_found"),
        ("POST", "/v1/hooks/h/disable", "", 404, "not_found"),
        ("DELETE", "/v1/events", "", 405, "method_not_allowed"),
        ("GET", "/v1/events?kind=odd", "", 400, "bad_request"),
        ("GET", "/v1/events?what=odd", "", 400, "bad_request"),
        ("GET", "/v1/executions/%FF", "", 400, "bad_request"),
        ("GET", "/v1/events?follow=true&cursor=x", "", 400, "bad_request"),
        ("POST", "/v1/events", "{", 400, "bad_request"),
        ("POST", "/v1/events", "{ \"payload\": \"?\" }", 400, "bad_request"),
        ("POST", "/v1/reload", "{ \"what\": 1 }", 400, "bad_request"),
        ("POST", "/v1/events", &large, 413, "too_large"),
    ] {
        let answer = site.ask(OPERATOR, method, path, body);
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (status, reason),
            "{method} {path}"
        );
        if answer.status != 413 {
            let socket = site
                .house
                .config
                .control
                .socket
                .to_str()
                .expect("a path")
                .to_owned();
            let url = format!("http://hem{path}");
            let local = web::curl(&["--unix-socket", &socket, "-X", method, "-d", body, &url]);
            assert_eq!(
                (local.status, code(&local).as_str()),
                (status, reason),
                "{method} {path}"
            );
            assert_eq!(local.json(), answer.json());
        }
    }
    let authorised = format!("Host: localhost\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\n");
    // A body in chunks, whose length nobody said.
    let mut chunked =
        format!("POST /v1/events HTTP/1.1\r\n{authorised}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for _ in 0..20 {
        chunked.extend(format!("1000\r\n{}\r\n", "A".repeat(0x1000)).bytes());
    }
    chunked.extend(b"0\r\n\r\n");
    let answer = Answer::read(&raw(site.address, &chunked));
    assert_eq!((answer.status, code(&answer).as_str()), (413, "too_large"));
    // One that does not come.
    let slow = format!("POST /v1/events HTTP/1.1\r\n{authorised}Content-Length: 9\r\n\r\n{{");
    let answer = Answer::read(&raw(site.address, slow.as_bytes()));
    assert_eq!((answer.status, code(&answer).as_str()), (408, "too_slow"));
    // Nor is an order carried out before its sender has done its part, where the address says all of it.
    for path in [
        "/v1/hooks/h/enable",
        "/v1/hooks/h/disable",
        "/v1/hooks/h/reset",
        "/v1/executions/1.h/cancel",
    ] {
        let slow = format!("POST {path} HTTP/1.1\r\n{authorised}Content-Length: 9\r\n\r\n{{");
        let answer = Answer::read(&raw(site.address, slow.as_bytes()));
        assert_eq!(
            (answer.status, code(&answer).as_str()),
            (408, "too_slow"),
            "{path}"
        );
    }

    let said = hem(&site.house, &["show", "7"]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(
        said.stderr.contains("there is no event 7") && said.stderr.contains("hint"),
        "{said:?}"
    );
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_idle_connections_keep_out_neither_requests_nor_a_feed() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096).max(soft), hard).expect("more files");
    let site = Site::open("  limits: { connections: 200, head_time: 10m, body_time: 10m }\n").await;
    let feed = site.follow(None);
    assert_eq!(feed.next().expect("a beginning").name, "hello");
    let mut idle: Vec<TcpStream> = Vec::new();
    for number in 0..1_000 {
        let mut stream = connect(site.address);
        let sent = match number % 3 {
            0 => String::new(),
            1 => "GET /v1/status HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
            _ => format!(
                "POST /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {OPERATOR}\r\nContent-Length: 9\r\n\r\n{{"
            ),
        };
        // Those that made place for others are closed already.
        let _ = stream.write_all(sent.as_bytes());
        idle.push(stream);
        if number % 100 == 99 {
            site.emit(&format!("after {number}"));
            assert_eq!(feed.event().1, format!("after {number}"));
        }
    }
    // The oldest made place long ago.
    let mut rest = Vec::new();
    assert_eq!(idle.remove(0).read_to_end(&mut rest).expect("an end"), 0);
    drop(idle);
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_a_feed_goes_on() {
    let house = House::new();
    for name in ["first", "second"] {
        web::certificate(&house, name);
    }
    let put = |name: &str, house: &House| {
        for end in ["pem", "key"] {
            let new = house.path(&format!("new.{end}"));
            std::fs::copy(house.path(&format!("{name}.{end}")), &new).expect("a copy");
            std::fs::rename(new, house.path(&format!("web.{end}"))).expect("renamed");
        }
    };
    put("first", &house);
    let site = Site::of(house, "  tls: { certificate: web.pem, key: web.key }\n").await;
    let url = format!("https://localhost:{}", site.address.port());
    let authority = |name: &str| {
        site.house
            .path(&format!("{name}.pem"))
            .to_str()
            .expect("a path")
            .to_owned()
    };
    let feed = Feed::open(
        &format!("{url}/v1/feed"),
        None,
        &["--cacert", &authority("first")],
    );
    assert_eq!(feed.next().expect("a beginning").name, "hello");
    let begin = |name: &str| {
        let mut command = Command::new("curl");
        command.args([
            "-sSi",
            "--max-time",
            "60",
            "--cacert",
            &authority(name),
            "-X",
            "POST",
            "-H",
        ]);
        command
            .arg(format!("Authorization: Bearer {OPERATOR}"))
            .arg(format!("{url}/v1/session"));
        let output = assert_cmd::Command::from_std(command)
            .output()
            .expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let begun = Answer::read(&begin("first"));
    let cookie = begun.header("set-cookie").expect("a cookie");
    assert!(
        cookie.starts_with("__Host-hem-") && cookie.contains("; Secure"),
        "{cookie}"
    );
    put("second", &site.house);
    until("the second certificate is in force", || {
        begin("second").starts_with("HTTP/1.1 200")
    })
    .await;
    assert_eq!(begin("first"), "");
    let order = json!({ "key": "over TLS", "payload": "PGEvPg==" }).to_string();
    tool(
        "curl",
        &[
            "-sSf",
            "--cacert",
            &authority("second"),
            "-H",
            &format!("Authorization: Bearer {OPERATOR}"),
            "-d",
            &order,
            &format!("{url}/v1/events"),
        ],
        b"",
    );
    assert_eq!(feed.event().1, "over TLS");
    site.service.stop().await;
    assert!(feed.next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_valid_and_says_what_the_daemon_does() {
    let site = Site::open("").await;
    site.emit("first");
    let served = site.ask(VIEWER, "GET", "/v1/openapi.json", "").json();
    let printed = hem(&site.house, &["schema", "openapi"]).await.stdout;
    assert_eq!(serde_json::from_str::<Value>(&printed).expect("JSON"), served);
    let python = std::env::var("HEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let check = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/openapi.py");
    let paths = served["paths"].as_object().expect("paths");
    let said = tool(&python, &[check], printed.as_bytes());
    assert_eq!(String::from_utf8_lossy(&said).trim(), paths.len().to_string());

    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let address = path
                .replace("{seq}", "1")
                .replace("{reference}", "1")
                .replace("{name}", "h");
            let nobody = send(site.address, &method.to_uppercase(), &address, &[], b"");
            let is_open = operation["security"] == json!([]);
            assert_eq!(nobody.status == 401, !is_open, "{method} {path}: {nobody:?}");
            if operation["x-hem-role"] == "operator" {
                assert_eq!(
                    site.ask(VIEWER, &method.to_uppercase(), &address, "").status,
                    403,
                    "{method} {path}"
                );
            }
            if method != "get" || path == "/v1/feed" || path == "/v1/session" {
                continue;
            }
            let answer = site.ask(VIEWER, "GET", &address, "");
            let kind = answer.header("content-type").expect("a type");
            let kind = kind.split(';').next().unwrap_or_default();
            match answer.status {
                200 => assert!(
                    operation["responses"]["200"]["content"][kind].is_object(),
                    "{path}: {kind}"
                ),
                _ => assert_eq!(kind, "application/problem+json", "{path}: {answer:?}"),
            }
        }
    }
    site.service.stop().await;
}
