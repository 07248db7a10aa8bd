//! A daemon with a source of type `webhook`, and senders: raw sockets, curl and openssl.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use crate::daemon::{House, LIMIT};
use crate::service::{Service, in_state, unsettled};

/// An answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// With names in small letters.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn read(text: &str) -> Self {
        // Whoever was told to go on with the body is answered twice.
        let text = text.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(text);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        Self {
            status,
            headers: lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect(),
            body: body.to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The problem's reason.
    pub(crate) fn reason(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(
            problem["title"].is_string() && problem["detail"].is_string(),
            "{self:?}"
        );
        problem["reason"].as_str().expect("a reason").to_owned()
    }
}

/// Writes `hem.yaml` with the source `web`: any free port of this machine, and these settings besides.
pub(crate) fn configure(house: &House, source: &str, more: &str) -> PathBuf {
    let config = &house.config;
    let indented: String = source.lines().map(|line| format!("    {line}\n")).collect();
    let listen = if source.contains("listen:") {
        ""
    } else {
        "    listen: 127.0.0.1:0\n"
    };
    let text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\ncontrol: {{ socket: {} }}\npermissions: lax\nshutdown_grace: 5s\n{more}\
         sources:\n  web:\n    type: webhook\n{listen}{indented}",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.scripts_dir.display(),
        config.control.socket.display()
    );
    let file = house.path("hem.yaml");
    std::fs::write(&file, text).expect("a file");
    file
}

/// Starts the daemon; says where it takes webhooks.
pub(crate) async fn start(house: &House) -> (Service, SocketAddr) {
    start_source(house, "web").await
}

/// Starts the daemon; says where this source of it takes requests.
pub(crate) async fn start_source(house: &House, source: &str) -> (Service, SocketAddr) {
    let mut service = Service::start(house);
    let status = service
        .until("it takes requests", |status| {
            status.sources.get(source).is_some_and(|source| source.connected)
        })
        .await;
    let url = &status.sources[source].endpoint;
    let address = url.split('/').nth(2).expect("an address");
    (service, address.parse().expect("an address"))
}

/// Has several threads send to daemons that are killed amid it, and looks whether all that was answered has run. `deliver` sends one
/// delivery of that name and is answered; the name is in this column of the lines in the house's `notes`.
pub(crate) async fn all_that_was_answered_runs(
    house: &House,
    source: &str,
    deliver: fn(SocketAddr, &str) -> Answer,
    accepted: u16,
    column: usize,
) {
    let mut answered: BTreeSet<String> = BTreeSet::new();
    for round in 0..3 {
        let (service, address) = start_source(house, source).await;
        let senders: Vec<_> = (0..4)
            .map(|sender| {
                std::thread::spawn(move || {
                    (0..10)
                        .map(|number| {
                            let name = format!("{round}.{sender}.{number}");
                            let answer = deliver(address, &name);
                            assert_eq!(answer.status, accepted, "{answer:?}");
                            name
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
    let (mut service, _) = start_source(house, source).await;
    service
        .until("all is settled", |status| {
            unsettled(status) == 0 && in_state(status, "succeeded") == answered.len() as u64
        })
        .await;
    let ran: BTreeSet<String> = house
        .lines("notes")
        .iter()
        .filter_map(|line| line.split('|').nth(column))
        .map(str::to_owned)
        .collect();
    assert_eq!(ran, answered);
    service.stop().await;
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Sends these bytes and reads until the other end closes.
pub(crate) fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // A peer that has heard enough may close before all is sent.
    let _ = stream.write_all(bytes);
    read_to_end(stream)
}

pub(crate) fn read_to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&part[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error}: {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// Sends a request with these headers (`Name: value` lines) and this body.
pub(crate) fn send(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for header in headers {
        request += &format!("{header}\r\n");
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    let mut bytes = (request + "\r\n").into_bytes();
    bytes.extend_from_slice(body);
    Answer::read(&raw(address, &bytes))
}

/// Posts JSON.
pub(crate) fn post(address: SocketAddr, path: &str, headers: &[&str], body: &str) -> Answer {
    let headers: Vec<&str> = std::iter::once("Content-Type: application/json")
        .chain(headers.iter().copied())
        .collect();
    send(address, "POST", path, &headers, body.as_bytes())
}

/// Runs a program that `tests/install-tools` brings, and gives what it wrote.
pub(crate) fn tool(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start `{program}` ({error}); `make test-deps` installs it"));
    child
        .stdin
        .take()
        .expect("an input")
        .write_all(input)
        .expect("it reads");
    let output = child.wait_with_output().expect("its end");
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// curl, with the head of the answer in what it gives.
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let all: Vec<&str> = ["-sS", "-i", "--max-time", "60"]
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    Answer::read(&String::from_utf8_lossy(&tool("curl", &all, b"")))
}

/// The HMAC of a body, in hexadecimal digits, as openssl makes it.
pub(crate) fn signature(algorithm: &str, secret: &str, body: &[u8]) -> String {
    let said = tool(
        "openssl",
        &["dgst", &format!("-{algorithm}"), "-hmac", secret],
        body,
    );
    let said = String::from_utf8(said).expect("text");
    said.trim().rsplit(' ').next().expect("digits").to_owned()
}

/// Makes `NAME.pem` and `NAME.key` for `localhost` in the house.
pub(crate) fn certificate(house: &House, name: &str) {
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

/// A hook for every endpoint, which notes down what it was given.
pub(crate) const NOTE: &str =
    "name: note\ntrigger: { webhook: { name: any } }\ncommand: note.sh\nstdin: payload\nloop_guard: off\n";

/// A house whose hook writes a line for each event, and the payload into a file of its own.
pub(crate) fn noting() -> House {
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

pub(crate) async fn refused(service: &mut Service, reason: &str, number: u64) {
    refused_by(service, "web", reason, number).await;
}

pub(crate) async fn refused_by(service: &mut Service, source: &str, reason: &str, number: u64) {
    service
        .until(&format!("{number} refused for `{reason}`"), |status| {
            status.sources[source].refused.get(reason) == Some(&number)
        })
        .await;
}

/// Every request is in exactly one counter.
pub(crate) async fn sums_add_up(service: &mut Service, received: u64) {
    sums_of(service, "web", received).await;
}

/// Every request that a source received is in exactly one counter.
pub(crate) async fn sums_of(service: &mut Service, source: &str, received: u64) {
    let status = service
        .until(&format!("{received} requests are counted"), |status| {
            status
                .events
                .get(source)
                .is_some_and(|sums| sums.received >= received)
        })
        .await;
    let sums = &status.events[source];
    assert!(sums.adds_up, "{sums:?}");
    assert_eq!(sums.received, received, "{sums:?}");
}

/// A token that [`nearly_a_request`] shows now and then.
pub(crate) const KNOWN_TOKEN: &str = "token-of-whoever-knows-it";

/// What looks like a request, up to a point.
pub(crate) fn nearly_a_request() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just(b"POST /x HTTP/1.1\r\n".to_vec()),
        Just(b"GET /x HTTP/1.0\r\n".to_vec()),
        Just(b"POST /esc HTTP/1.1\r\n".to_vec()),
        Just(b"POST /v1/notifications HTTP/1.1\r\n".to_vec()),
        Just(b"POST /v1/events HTTP/1.1\r\n".to_vec()),
        Just(b"GET /v1/events?limit=2 HTTP/1.1\r\n".to_vec()),
        Just(b"PUT /%zz?\xff HTTP/1.1\r\n".to_vec()),
        Just(b"POST /x HTTP/9.9\n".to_vec()),
        Just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        vec(any::<u8>(), 0..30),
    ];
    let header = prop_oneof![
        Just(b"Host: x\r\n".to_vec()),
        Just(format!("Host: localhost\r\nAuthorization: Bearer {KNOWN_TOKEN}\r\n").into_bytes()),
        Just(b"Content-Type: application/json\r\n".to_vec()),
        Just(b"Content-Type: text/xml\r\n".to_vec()),
        Just(b"Content-Type: application/x-www-form-urlencoded\r\n".to_vec()),
        Just(b"Transfer-Encoding: chunked\r\n".to_vec()),
        Just(b"Transfer-Encoding: gzip, chunked\r\n".to_vec()),
        Just(b"Expect: 100-continue\r\n".to_vec()),
        Just(b"Connection: upgrade\r\nUpgrade: h2c\r\n".to_vec()),
        (0_u64..40).prop_map(|length| format!("Content-Length: {length}\r\n").into_bytes()),
        Just(b"Content-Length: 99999999999999999999\r\n".to_vec()),
        Just(b"Content-Length: -1\r\n".to_vec()),
        vec(any::<u8>(), 0..20),
    ];
    let body = prop_oneof![
        Just(b"{}".to_vec()),
        Just(b"5\r\nhello\r\n0\r\n\r\n".to_vec()),
        Just(b"ffffffffffffffff1\r\n".to_vec()),
        Just(b"<a b='c'>&#0;</a>".to_vec()),
        Just(b"a=%ff&b[]=%".to_vec()),
        vec(any::<u8>(), 0..60),
    ];
    (line, vec(header, 0..5), any::<bool>(), body).prop_map(|(line, headers, is_ended, body)| {
        let end: &[u8] = if is_ended { b"\r\n" } else { b"" };
        [line, headers.concat(), end.to_vec(), body].concat()
    })
}
