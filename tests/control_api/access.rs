//! Who may do what over TCP, how tokens are taken up and taken back, and what browsers are kept from.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::code;
use crate::control_site::{Feed, OPERATOR, Site, VIEWER, write_token};
use crate::daemon::until;
use crate::service::{Service, hem};
use crate::web::{Answer, connect, raw, send};

/// A session: its cookie, and what its writing requests repeat.
fn sign_in(site: &Site, token: &str) -> (String, String) {
    let begun = site.ask(token, "POST", "/v1/session", "");
    assert_eq!(begun.status, 200, "{begun:?}");
    let cookie = begun.header("set-cookie").expect("a cookie").to_owned();
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let (cookie, _) = cookie.split_once(';').expect("attributes");
    let csrf = begun.json()["csrf"]
        .as_str()
        .expect("what is repeated")
        .to_owned();
    (cookie.to_owned(), csrf)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_reads_an_operator_does_everything_and_nobody_else_anything() {
    let site = Site::open("").await;
    for path in [
        "/v1/status",
        "/v1/events",
        "/v1/hooks",
        "/metrics",
        "/v1/audit",
        "/v1/openapi.json",
    ] {
        let nobody = send(site.address, "GET", path, &[], b"");
        assert_eq!(
            (nobody.status, code(&nobody).as_str()),
            (401, "unauthenticated"),
            "{path}"
        );
        assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"hem\""));
        assert_eq!(site.ask("another-token-of-nobody", "GET", path, "").status, 401);
        for token in [VIEWER, OPERATOR] {
            assert_eq!(site.ask(token, "GET", path, "").status, 200, "{path}");
        }
    }
    for odd in ["Basic dTpw", "Bearer", "", "Bearer  "] {
        let header = format!("Authorization: {odd}");
        assert_eq!(
            send(site.address, "GET", "/v1/status", &[&header], b"").status,
            401,
            "{odd}"
        );
    }
    // What says nothing secret needs no token.
    for path in ["/", "/healthz", "/readyz", "/assets/app.js"] {
        assert_eq!(send(site.address, "GET", path, &[], b"").status, 200, "{path}");
    }

    site.emit("first");
    for (method, path) in [
        ("POST", "/v1/reload"),
        ("POST", "/v1/events"),
        ("POST", "/v1/executions/retry"),
        ("POST", "/v1/mutes"),
        ("POST", "/v1/hooks/x/disable"),
        ("GET", "/v1/events?reveal=true"),
        ("GET", "/v1/events/1?reveal=true"),
        ("GET", "/v1/export?reveal=true"),
    ] {
        let refused = site.ask(VIEWER, method, path, "{}");
        assert_eq!(
            (refused.status, code(&refused).as_str()),
            (403, "forbidden"),
            "{method} {path}"
        );
    }
    assert_eq!(site.ask(OPERATOR, "POST", "/v1/reload", "{}").status, 200);
    assert_eq!(
        site.ask(OPERATOR, "GET", "/v1/events?reveal=true", "").status,
        200
    );

    // The audit log names the token, and nothing shows one.
    let audit = hem(&site.house, &["audit"]).await;
    assert!(audit.stdout.contains("token operator"), "{}", audit.stdout);
    let log = site.service.log();
    for token in [VIEWER, OPERATOR] {
        assert!(!log.contains(token) && !audit.stdout.contains(token));
    }
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_taken_up_and_taken_back_while_the_daemon_runs() {
    let site = Site::open("").await;
    let made = hem(&site.house, &["token"]).await.stdout;
    let new = made.trim();
    let (cookie, _) = sign_in(&site, OPERATOR);
    let by_session = || {
        send(
            site.address,
            "GET",
            "/v1/session",
            &[&format!("Cookie: {cookie}")],
            b"",
        )
        .status
    };
    assert_eq!(site.ask(new, "GET", "/v1/status", "").status, 401);
    write_token(&site.house, "operator", &format!("{OPERATOR}\n{new}\n"));
    for token in [OPERATOR, new] {
        assert_eq!(site.ask(token, "GET", "/v1/status", "").status, 200);
    }
    assert_eq!(by_session(), 200);
    site.emit("kept");
    let url = format!("http://{}/v1/feed", site.address);
    let of_session = Feed::open_by(&format!("Cookie: {cookie}"), &url, None, &[]);
    let (leaving, csrf) = sign_in(&site, VIEWER);
    let of_leaving = Feed::open_by(&format!("Cookie: {leaving}"), &url, None, &[]);
    let of_viewer = site.follow(None);
    for feed in [&of_session, &of_leaving, &of_viewer] {
        assert_eq!(feed.next().expect("a beginning").name, "hello");
    }
    let followed = format!("http://{}/v1/events?follow=true", site.address);
    let by_token = |token| Feed::open_by(&format!("Authorization: Bearer {token}"), &followed, None, &[]);
    let (of_operator, of_reader) = (by_token(OPERATOR), by_token(VIEWER));
    for listing in [&of_operator, &of_reader] {
        assert!(listing.line().expect("the listing").contains("\"kept\""));
    }
    // Who signs out hears no more, though the token stays.
    let headers = [
        format!("Cookie: {leaving}"),
        format!("Origin: http://{}", site.address),
        format!("X-Hem-CSRF: {csrf}"),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    assert_eq!(
        send(site.address, "DELETE", "/v1/session", &headers, b"").status,
        204
    );
    assert!(of_leaving.next().is_none());
    write_token(&site.house, "operator", new);
    assert_eq!(site.ask(OPERATOR, "GET", "/v1/status", "").status, 401);
    assert_eq!(site.ask(new, "POST", "/v1/reload", "").status, 200);
    assert_eq!(by_session(), 401, "a session ends with its token");
    // So does what it follows, and nobody else's.
    let order = json!({ "key": "heard", "payload": "PGEvPg==" }).to_string();
    assert_eq!(site.ask(new, "POST", "/v1/events", &order).status, 200);
    assert!(of_session.next().is_none());
    assert_eq!(of_operator.line(), None);
    assert_eq!(of_viewer.event().1, "heard");
    assert!(of_reader.line().expect("news").contains("\"heard\""));
    // What others may read lets nobody in.
    let file = site.house.path("operator.tokens");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("its mode");
    assert_eq!(site.ask(new, "GET", "/v1/status", "").status, 401);
    site.service.until_logged("run `chmod 600` on it").await;
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_ends_with_the_token_that_began_it() {
    let site = Site::open("").await;
    // More than lies in the buffers of a connection whose other end does not read.
    let payload = STANDARD.encode("x".repeat(600 << 10));
    let order = json!({ "key": "large", "payload": payload }).to_string();
    for _ in 0..44 {
        assert_eq!(site.ask(OPERATOR, "POST", "/v1/events", &order).status, 200);
    }
    let whole = site.ask(OPERATOR, "GET", "/v1/export", "");
    assert_eq!(whole.status, 200);
    let mut slow = connect(site.address);
    let request = format!(
        "GET /v1/export HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {OPERATOR}\r\nConnection: close\r\n\r\n",
        site.address
    );
    slow.write_all(request.as_bytes()).expect("it is asked");
    let mut first = [0; 64];
    slow.read_exact(&mut first).expect("it begins");
    assert!(first.starts_with(b"HTTP/1.1 200"), "{first:?}");
    write_token(&site.house, "operator", "token-of-somebody-else");
    until("the token is taken back", || {
        site.ask(OPERATOR, "GET", "/v1/status", "").status == 401
    })
    .await;
    let (mut read, mut piece) = (0, vec![0; 128 << 10]);
    while let Ok(length @ 1..) = slow.read(&mut piece) {
        read += length;
    }
    let all = whole.body.len();
    assert!(all > 24 << 20 && read < all, "{read} of {all} bytes");
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_whose_tokens_others_can_read_does_not_start() {
    let Site { house, service, .. } = Site::open("").await;
    service.stop().await;
    let file = house.path("viewer.tokens");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("its mode");
    let mut again = Service::start(&house);
    assert!(!again.ended().await.success());
    again
        .until_logged("others than its owner have rights to the tokens")
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_not_its_own_is_refused_whatever_else_is_right() {
    let site = Site::open("  hosts: [hem.example.org]\n").await;
    let by = |hosts: &str, path: &str| {
        let request = format!(
            "GET {path} HTTP/1.1\r\n{hosts}Authorization: Bearer {OPERATOR}\r\nConnection: close\r\n\r\n"
        );
        Answer::read(&raw(site.address, request.as_bytes()))
    };
    let port = site.address.port();
    for known in [
        format!("127.0.0.1:{port}"),
        format!("localhost:{port}"),
        "hem.example.org".to_owned(),
        "HEM.example.org:443".to_owned(),
    ] {
        assert_eq!(
            by(&format!("Host: {known}\r\n"), "/v1/status").status,
            200,
            "{known}"
        );
    }
    for path in ["/v1/status", "/", "/healthz", "/assets/app.js"] {
        let rebound = by(&format!("Host: rebound.example.net:{port}\r\n"), path);
        assert_eq!(
            (rebound.status, code(&rebound).as_str()),
            (421, "misdirected"),
            "{path}"
        );
    }
    for odd in ["", "Host: localhost\r\nHost: localhost\r\n", "Host: \r\n"] {
        assert!(matches!(by(odd, "/v1/status").status, 400 | 421), "{odd}");
    }
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_writes_from_its_own_page_alone() {
    let site = Site::open("").await;
    let (cookie, csrf) = sign_in(&site, OPERATOR);
    let own = format!("http://{}", site.address);
    let with = |origin: Option<&str>, csrf: Option<&str>, method: &str, path: &str| {
        let mut headers = vec![format!("Cookie: other=1; {cookie}")];
        headers.extend(origin.map(|origin| format!("Origin: {origin}")));
        headers.extend(csrf.map(|csrf| format!("X-Hem-CSRF: {csrf}")));
        let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
        send(site.address, method, path, &headers, b"{}")
    };
    assert_eq!(with(None, None, "GET", "/v1/status").status, 200);
    let present = with(None, None, "GET", "/v1/session").json();
    assert_eq!(
        (&present["csrf"], &present["role"]),
        (&json!(csrf), &json!("operator"))
    );
    for (origin, said) in [
        (None, None),
        (Some(own.as_str()), None),
        (None, Some(csrf.as_str())),
        (Some(own.as_str()), Some("")),
        (Some(own.as_str()), Some("guessed")),
        (Some("https://evil.example.net"), Some(csrf.as_str())),
        (Some("null"), Some(csrf.as_str())),
        (Some("http://127.0.0.1:1"), Some(csrf.as_str())),
        (Some("http://127.0.0.1"), Some(csrf.as_str())),
    ] {
        for (method, path) in [("POST", "/v1/reload"), ("DELETE", "/v1/session")] {
            let refused = with(origin, said, method, path);
            assert_eq!(
                (refused.status, code(&refused).as_str()),
                (403, "forbidden"),
                "{origin:?} {said:?}"
            );
        }
    }
    assert_eq!(with(Some(&own), Some(&csrf), "POST", "/v1/reload").status, 200);

    // A viewer's session reads, and ends itself.
    let (viewer, csrf_of_viewer) = sign_in(&site, VIEWER);
    let headers = [
        format!("Cookie: {viewer}"),
        format!("Origin: {own}"),
        format!("X-Hem-CSRF: {csrf_of_viewer}"),
    ];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let of_viewer = |method: &str, path: &str| send(site.address, method, path, &headers, b"").status;
    assert_eq!(of_viewer("POST", "/v1/reload"), 403);
    assert_eq!(of_viewer("DELETE", "/v1/session"), 204);
    assert_eq!(of_viewer("GET", "/v1/status"), 401);

    let ended = with(Some(&own), Some(&csrf), "DELETE", "/v1/session");
    assert_eq!(ended.status, 204);
    assert!(
        ended
            .header("set-cookie")
            .expect("a cookie")
            .contains("Max-Age=0")
    );
    assert_eq!(with(None, None, "GET", "/v1/status").status, 401);
    site.service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn browsers_are_told_what_they_must_not_do() {
    let site = Site::open("").await;
    let page = send(site.address, "GET", "/", &[], b"");
    for (path, answer) in [
        ("/", page.clone()),
        (
            "/assets/style.css",
            send(site.address, "GET", "/assets/style.css", &[], b""),
        ),
        ("/v1/status", site.ask(VIEWER, "GET", "/v1/status", "")),
        ("/v1/nothing", site.ask(VIEWER, "GET", "/v1/nothing", "")),
    ] {
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}"
        );
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
        assert!(answer.header("x-request-id").is_some(), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}");
    }
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    assert_eq!(
        site.ask(VIEWER, "GET", "/v1/status", "").header("cache-control"),
        Some("no-store")
    );
    let tag = page.header("etag").expect("a tag");
    let again = send(
        site.address,
        "GET",
        "/",
        &[&format!("If-None-Match: \"x\", W/{tag}")],
        b"",
    );
    assert_eq!((again.status, again.body.as_str()), (304, ""));
    assert_eq!(
        send(site.address, "GET", "/assets/nothing.js", &[], b"").status,
        404
    );
    site.service.stop().await;
}
