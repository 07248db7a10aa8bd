//! What the listener bears: whatever is wrong, idle or slow, and a certificate that is replaced; against the real daemon.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;
mod web;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use daemon::{LIMIT, until};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use service::Service;
use web::{
    Answer, KNOWN_TOKEN, configure, connect, nearly_a_request, noting, post, raw, read_to_end, refused, send,
    start,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_wrong_gets_its_code_and_is_counted_and_others_go_on_being_served() {
    let house = noting();
    configure(
        &house,
        "limits: { body: 64KiB, head_time: 5s, body_time: 5s }\nendpoints: { x: {}, y: { methods: [GET, PUT] } }\n",
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
        // A text of another encoding, declared and not.
        (
            send(
                address,
                "POST",
                "/x",
                &["Content-Type: application/xml"],
                b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>\xe9</a>",
            ),
            400,
            "body",
        ),
        (
            send(address, "POST", "/x", &[json], b"\xff\xfe{\0}\0"),
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
        ("body", 8),
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
    let mut newest = idle.remove(998);
    newest.write_all(b"}").expect("it is open");
    let mut part = [0; 1024];
    let read = newest.read(&mut part).expect("an answer");
    assert_eq!(Answer::read(&String::from_utf8_lossy(&part[..read])).status, 202);
    let oldest = idle.remove(0);
    assert_eq!(read_to_end(oldest), "");
    service.until_succeeded(11).await;
    drop(newest);
    drop(idle);
    service.stop().await;
}

/// Each byte comes in time, and the whole never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_drips_is_cut_off_and_keeps_nobody_out() {
    let house = noting();
    configure(
        &house,
        "limits: { head_time: 4s, body_time: 4s }\nendpoints: { x: {} }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let begun =
        b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{";
    let drips: Vec<_> = [&b"POST /x HTTP/1.1\r\nX-Drip: "[..], begun]
        .into_iter()
        .cycle()
        .take(20)
        .map(|beginning| {
            std::thread::spawn(move || {
                let mut stream = connect(address);
                stream.write_all(beginning).expect("the beginning");
                let mut sender = stream.try_clone().expect("the other half");
                let drip = std::thread::spawn(move || {
                    // Until hem has closed: then there is nobody to write to.
                    while sender.write_all(b" ").is_ok() {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
                let said = read_to_end(stream);
                drip.join().expect("it ends");
                said
            })
        })
        .collect();
    while drips.iter().any(|drip| !drip.is_finished()) {
        assert_eq!(post(address, "/x", &[], "{}").status, 202, "others are served");
    }
    for (number, drip) in drips.into_iter().enumerate() {
        let said = drip.join().expect("it ends");
        if number % 2 == 0 {
            assert!(!said.starts_with("HTTP/1.1 2"), "{said}");
        } else {
            assert_eq!(Answer::read(&said).status, 408, "{said}");
        }
    }
    refused(&mut service, "too slow", 10).await;
    service.stop().await;
}

/// Most of them keep their connection until the time for a head is over.
const CASES: u32 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_go_unanswered_for_ever_or_disturb_others() {
    let house = noting();
    configure(
        &house,
        "limits: { head_time: 300ms, body_time: 300ms }\nendpoints: { x: { methods: [GET, POST, PUT] } }\n",
        "",
    );
    let (mut service, address) = start(&house).await;
    let mut runner = TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(CASES)
    });
    let outcome = runner.run(&nearly_a_request(), |bytes| {
        let said = raw(address, &bytes);
        prop_assert!(said.is_empty() || said.starts_with("HTTP/1."), "{said}");
        prop_assert!(!said.contains(" 500 "), "{said}");
        // On a busy machine a good one may be too slow as well.
        let began = Instant::now();
        let mut status = post(address, "/x", &[], "{}").status;
        while status == 408 && began.elapsed() < LIMIT {
            status = post(address, "/x", &[], "{}").status;
        }
        prop_assert_eq!(status, 202);
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let status = service
        .until("everything is counted", |status| {
            status.events["web"].accepted >= u64::from(CASES)
        })
        .await;
    assert!(status.events["web"].adds_up, "{:?}", status.events["web"]);
    service.stop().await;
}

/// The same for those that other requests come to, each at another address of one daemon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bytes_go_unanswered_by_any_listener() {
    let house = noting();
    let limits = "limits: { head_time: 300ms, body_time: 300ms }";
    let file = configure(&house, "endpoints: { x: {} }\n", "");
    let tokens = house.path("tokens");
    std::fs::write(&tokens, KNOWN_TOKEN).expect("a file");
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let socket = house.config.control.socket.display().to_string();
    let control = format!(
        "{{ socket: {socket}, listen: \"127.0.0.1:0\", tokens: [{{ file: tokens, role: operator }}], {limits} }}"
    );
    let text = std::fs::read_to_string(&file).expect("a configuration");
    let text = text.replace(&format!("{{ socket: {socket} }}"), &control)
        + &format!("  esc: {{ type: esc, callbacks: {{ listen: \"127.0.0.1:0\", {limits} }} }}\n")
        + &format!("  ha: {{ type: masakari, listen: \"127.0.0.1:0\", {limits} }}\n");
    std::fs::write(&file, text).expect("a configuration");
    let mut service = Service::start(&house);
    let status = service
        .until("it listens everywhere", |status| {
            let is_there = |name| status.sources.get(name).is_some_and(|source| source.connected);
            status.url.is_some() && is_there("esc") && is_there("ha")
        })
        .await;
    let at = |url: &str| -> SocketAddr {
        let address = url.split('/').nth(2).expect("an address");
        address.parse().expect("an address")
    };
    let masakari = at(&status.sources["ha"].endpoint);
    let doors = [
        ("/healthz", at(status.url.as_deref().expect("an address"))),
        ("/esc", at(&status.sources["esc"].endpoint)),
        ("/v1/hosts", masakari),
    ];
    std::thread::scope(|scope| {
        for (path, address) in doors {
            scope.spawn(move || {
                let mut runner = TestRunner::new(ProptestConfig {
                    failure_persistence: None,
                    ..ProptestConfig::with_cases(CASES / 3)
                });
                let outcome = runner.run(&nearly_a_request(), |bytes| {
                    let said = raw(address, &bytes);
                    prop_assert!(said.is_empty() || said.starts_with("HTTP/1."), "{said}");
                    prop_assert!(!said.contains(" 500 "), "{said}");
                    prop_assert!(send(address, "GET", path, &[], b"").status < 500);
                    Ok(())
                });
                outcome.unwrap_or_else(|failure| panic!("{path}: {failure}"));
            });
        }
    });
    let half = b"POST /v1/notifications HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
    assert_eq!(Answer::read(&raw(masakari, half)).status, 408);
    let status = service.status().await.expect("a status");
    for name in ["esc", "ha"] {
        assert!(status.events[name].adds_up, "{:?}", status.events[name]);
    }
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_replaced_while_the_daemon_runs() {
    let house = noting();
    for name in ["first", "second"] {
        web::certificate(&house, name);
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
