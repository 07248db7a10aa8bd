//! The peers of `tests/peers` that obey orders of JSON, Keystone's and Masakari's stand-ins and Kafka's broker: started, steered and
//! stopped.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use serde_json::{Value, json};

use crate::peers::Peer;

/// A stand-in. It ends with this.
pub(crate) struct StandIn {
    peer: Peer,
    said: Value,
}

impl StandIn {
    /// Starts a script of `tests/peers` at a free port; the options are those of its command line.
    pub(crate) fn start(script: &str, options: &[&str]) -> Self {
        let peer = Peer::start(script, options);
        let line = peer.line();
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("{script} did not start: {line}"));
        assert_eq!(said["ready"], true, "{said}");
        Self { peer, said }
    }

    /// Keystone with the users `hem` (role `service`, with which hem looks at tokens), `nova` (role `admin`) and `demo` (role `member`),
    /// whose passwords are `PASSWORD-of-NAME`.
    pub(crate) fn keystone() -> Self {
        let users = ["hem:service:service", "nova:service:admin", "demo:demo:member"];
        let options: Vec<String> = users
            .iter()
            .filter_map(|user| user.split_once(':'))
            .flat_map(|(name, rest)| ["--user".to_owned(), format!("{name}:PASSWORD-of-{name}:{rest}")])
            .collect();
        Self::start(
            "keystone.py",
            &options.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> &str {
        self.said("url")
    }

    /// What its first line says by this name.
    pub(crate) fn said(&self, name: &str) -> &str {
        self.said[name].as_str().expect("a text")
    }

    /// Gives an order that must be obeyed; the scripts say which there are.
    #[track_caller]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "orders are written where they are given"
    )]
    pub(crate) fn tell(&mut self, order: Value) -> Value {
        self.peer.order(&order.to_string());
        let line = self.peer.line();
        let answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("the stand-in is gone: {line}"));
        assert_eq!(answer["ok"], true, "{order}: {answer}");
        answer
    }

    /// The requests that came since this was asked last.
    pub(crate) fn calls(&mut self) -> Vec<String> {
        let answer = self.tell(json!({ "do": "calls" }));
        let calls = answer["calls"].as_array().expect("a list");
        calls
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    }

    /// Nobody listens any more.
    pub(crate) fn go_away(&mut self) {
        self.tell(json!({ "do": "down" }));
    }

    /// It listens again, where it did before.
    pub(crate) fn come_back(&mut self) {
        self.tell(json!({ "do": "up" }));
    }
}
