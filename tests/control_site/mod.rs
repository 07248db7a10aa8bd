//! A daemon whose control API is open over TCP, and its live feed as curl reads it.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::daemon::{House, LIMIT};
use crate::service::{Service, configure};
use crate::web::{Answer, send};

pub(crate) const VIEWER: &str = "token-of-the-viewer";
pub(crate) const OPERATOR: &str = "token-of-the-operator";

/// A daemon whose control API is open to a viewer and an operator.
pub(crate) struct Site {
    pub(crate) house: House,
    pub(crate) service: Service,
    pub(crate) address: SocketAddr,
}

impl Site {
    pub(crate) async fn open(more: &str) -> Self {
        let house = House::new();
        Self::of(house, more).await
    }

    pub(crate) async fn of(house: House, more: &str) -> Self {
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

    /// Hands over an event that matches nothing.
    pub(crate) fn emit(&self, key: &str) {
        let order = json!({ "key": key, "payload": "PGEvPg==" }).to_string();
        let answer = self.ask(OPERATOR, "POST", "/v1/events", &order);
        assert_eq!(answer.status, 200, "{answer:?}");
    }

    /// Follows the feed, from where a reader stood or from now on.
    pub(crate) fn follow(&self, last_seen: Option<&str>) -> Feed {
        Feed::open(&format!("http://{}/v1/feed", self.address), last_seen, &[])
    }

    /// Asks with a token.
    pub(crate) fn ask(&self, token: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        send(self.address, method, path, &[&bearer], body.as_bytes())
    }
}

pub(crate) fn write_token(house: &House, name: &str, text: &str) {
    let file = house.path(&format!("{name}.tokens"));
    std::fs::write(&file, text).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// The feed, as curl reads it.
pub(crate) struct Feed {
    curl: Child,
    lines: Receiver<String>,
}

/// A message of the feed.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: Value,
}

impl Feed {
    pub(crate) fn open(url: &str, last_seen: Option<&str>, more: &[&str]) -> Self {
        Self::open_by(&format!("Authorization: Bearer {VIEWER}"), url, last_seen, more)
    }

    /// `credentials` is a header.
    pub(crate) fn open_by(credentials: &str, url: &str, last_seen: Option<&str>, more: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["-sSN", "-H", credentials]);
        if let Some(id) = last_seen {
            command.args(["-H", &format!("Last-Event-ID: {id}")]);
        }
        let mut curl = command
            .args(more)
            .arg(url)
            .stdout(Stdio::piped())
            .spawn()
            .expect("curl; `make test-deps` installs it");
        let output = curl.stdout.take().expect("its output");
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { curl, lines }
    }

    /// The next line; none when there will be no more.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => Some(line),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(error) => panic!("nothing more is said: {error}"),
        }
    }

    /// The next message; none when the feed has ended.
    pub(crate) fn next(&self) -> Option<Message> {
        let (mut id, mut name) = (String::new(), String::new());
        loop {
            let line = self.line()?;
            if let Some(said) = line.strip_prefix("id: ") {
                id = said.to_owned();
            } else if let Some(said) = line.strip_prefix("event: ") {
                name = said.to_owned();
            } else if let Some(said) = line.strip_prefix("data: ") {
                let data: Value = serde_json::from_str(said).expect("JSON");
                assert_eq!(data["type"], *name, "{data}");
                return Some(Message { id, name, data });
            }
        }
    }

    /// The next message, which must be an event; its id and the event's key.
    pub(crate) fn event(&self) -> (String, String) {
        let message = self.next().expect("a message");
        assert_eq!(message.name, "event", "{message:?}");
        (
            message.id,
            message.data["key"].as_str().expect("a key").to_owned(),
        )
    }

    /// Waits until curl ends by itself.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.curl.wait().expect("its end")
    }

    /// Cuts the connection.
    pub(crate) fn cut(mut self) {
        self.curl.kill().expect("a signal");
        self.curl.wait().expect("its end");
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.curl.kill();
        let _ = self.curl.wait();
    }
}
