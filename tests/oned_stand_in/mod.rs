//! The stand-in for `oned` of `tests/peers/oned.py`: started, steered and stopped.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use serde_json::{Value, json};

use crate::peers::Peer;

/// A controller with its XML-RPC calls and the driver that publishes and takes results. It ends with this.
pub(crate) struct Oned {
    peer: Peer,
    addresses: Value,
}

impl Oned {
    /// Starts one on free ports; the options are those of the command line.
    pub(crate) fn start(options: &[&str]) -> Self {
        let peer = Peer::start("oned.py", options);
        let said = peer.line();
        let addresses: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("the stand-in did not start: {said}"));
        assert_eq!(addresses["ready"], true, "{addresses}");
        Self { peer, addresses }
    }

    fn address(&self, which: &str) -> &str {
        self.addresses[which].as_str().expect("an address")
    }

    /// Where its XML-RPC calls are: `http://127.0.0.1:PORT/RPC2`.
    pub(crate) fn xmlrpc(&self) -> &str {
        self.address("xmlrpc")
    }

    /// Where it publishes.
    pub(crate) fn events(&self) -> &str {
        self.address("events")
    }

    /// Where it takes results.
    pub(crate) fn replies(&self) -> &str {
        self.address("replies")
    }

    /// Who may call: `user:password`.
    pub(crate) fn session(&self) -> &str {
        self.address("session")
    }

    /// Gives an order, waits for its answer, and says what was wrong with it if something was.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "orders are written where they are given"
    )]
    pub(crate) fn try_tell(&mut self, order: Value) -> Result<Value, String> {
        self.peer.order(&order.to_string());
        let said = self.peer.line();
        let answer: Value =
            serde_json::from_str(&said).unwrap_or_else(|_| panic!("the stand-in is gone: {said}"));
        if answer["ok"] == true {
            Ok(answer)
        } else {
            Err(answer["error"].as_str().unwrap_or_default().to_owned())
        }
    }

    /// Gives an order that must be obeyed; `tests/peers/oned.py` says which there are.
    #[track_caller]
    pub(crate) fn tell(&mut self, order: Value) -> Value {
        let shown = order.to_string();
        self.try_tell(order)
            .unwrap_or_else(|error| panic!("the stand-in did not obey {shown}: {error}"))
    }

    /// Waits until somebody is subscribed to events and to `RETRY`.
    #[track_caller]
    pub(crate) fn wait_for_subscriber(&mut self) {
        self.tell(json!({ "do": "wait", "subscriptions": ["EVENT", "RETRY"] }));
    }

    /// Makes a call as a client would, which publishes its event; gives the array that the client would get.
    #[track_caller]
    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Vec<Value> {
        let answer = self.tell(json!({ "do": "call", "method": method, "parameters": parameters }));
        answer["answer"].as_array().expect("an array").clone()
    }

    /// Creates a hook by its template, and gives its number.
    #[track_caller]
    pub(crate) fn create_hook(&mut self, template: &str) -> u64 {
        let answer = self.call("one.hook.allocate", json!([template]));
        answer[1]
            .as_u64()
            .unwrap_or_else(|| panic!("refused: {answer:?}"))
    }

    /// A VM comes into a state, and it is told.
    #[track_caller]
    pub(crate) fn vm(&mut self, id: u64, state: &str, lcm_state: &str) {
        self.tell(json!({ "do": "vm", "id": id, "state": state, "lcm_state": lcm_state }));
    }

    /// Waits until this many results came, those too that were dropped, and gives them all.
    #[track_caller]
    pub(crate) fn results(&mut self, count: usize) -> Vec<Value> {
        self.tell(json!({ "do": "wait", "results": count }));
        let answer = self.tell(json!({ "do": "results" }));
        answer["results"].as_array().expect("a list").clone()
    }

    /// The XML of the execution records that it keeps of a hook, oldest first.
    #[track_caller]
    pub(crate) fn records(&mut self, hook: u64) -> Vec<String> {
        let answer = self.tell(json!({ "do": "records", "hook": hook }));
        let records = answer["records"].as_array().expect("a list");
        records
            .iter()
            .map(|record| record["xml"].as_str().expect("XML").to_owned())
            .collect()
    }

    /// The names of the calls that clients made, in their order.
    #[track_caller]
    pub(crate) fn calls(&mut self) -> Vec<String> {
        let answer = self.tell(json!({ "do": "calls" }));
        let calls = answer["calls"].as_array().expect("a list");
        calls
            .iter()
            .map(|call| call["method"].as_str().expect("a name").to_owned())
            .collect()
    }
}
