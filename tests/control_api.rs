//! The control API over TCP, end to end against the real daemon: who may do what, what browsers are kept from, the live feed, and what
//! is said when something is wrong.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;
mod web;

use std::os::unix::fs::PermissionsExt as _;

use daemon::House;
use service::{Service, configure};
use web::{Answer, send};

const VIEWER: &str = "token-of-the-viewer";
const OPERATOR: &str = "token-of-the-operator";

/// A daemon whose control API is open to a viewer and an operator.
struct Site {
    house: House,
    service: Service,
    address: std::net::SocketAddr,
}

impl Site {
    async fn open(more: &str) -> Self {
        let house = House::new();
        Self::of(house, more).await
    }

    async fn of(house: House, more: &str) -> Self {
        for (name, token) in [("viewer", VIEWER), ("operator", OPERATOR)] {
            write_token(&house, name, token);
        }
        let file = configure(&house, "");
        let text = std::fs::read_to_string(&file).expect("a configuration");
        let socket = format!("control: {{ socket: {} }}", house.config.control.socket.display());
        let control = format!(
            "control:\n  socket: {}\n  listen: 127.0.0.1:0\n  tokens:\n    - {{ file: viewer.tokens, role: viewer }}\n    \
             - {{ file: operator.tokens, role: operator }}\n{more}",
            house.config.control.socket.display()
        );
        std::fs::write(&file, text.replace(&socket, &control)).expect("a configuration");
        let mut service = Service::start(&house);
        let status = service.until("it is open", |status| status.url.is_some()).await;
        let url = status.url.expect("an address");
        let address = url
            .rsplit('/')
            .next()
            .expect("an address")
            .parse()
            .expect("an address");
        Self {
            house,
            service,
            address,
        }
    }

    /// Asks with a token.
    fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        send(self.address, method, path, &[&bearer], body.as_bytes())
    }
}

fn write_token(house: &House, name: &str, text: &str) {
    let file = house.path(&format!("{name}.tokens"));
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}

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
async fn a_viewer_reads_an_operator_does_everything_and_nobody_else_anything() {
    let site = Site::open("").await;
    for path in ["/v1/status", "/v1/events", "/v1/hooks", "/metrics", "/v1/audit"] {
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
}
