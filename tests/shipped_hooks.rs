//! That hooks which read their input as those that OpenNebula ships do find what they look for: small Ruby scripts with the
//! same ways of reading, run by the daemon for events of the stand-in for `oned`.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod ruby;

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, until};
use oned_stand_in::Oned;
use serde_json::{Value, json};

/// A house with a hook that runs one of the scripts.
fn house(oned: &Oned, script: &str, hook: &str) -> House {
    ruby::must_be_there();
    let mut house = House::new();
    house.serve(oned.events(), oned.replies());
    let text = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ruby-hooks")
        .join(script);
    house.script(script, &std::fs::read_to_string(text).expect("a script"));
    let head = format!("name: shipped\nid: 4\nprofile: onehem\ncommand: {script}\n");
    house.hook("shipped", &format!("{head}{hook}"));
    house
}

/// What the hook printed, as its result came to the controller.
fn printed(result: &Value) -> Value {
    let document = result["document"].as_str().expect("a document");
    let text = |name: &str| {
        let (_, rest) = document.split_once(&format!("<{name}>")).expect(name);
        let encoded = rest
            .split_once(&format!("</{name}>"))
            .expect(name)
            .0
            .replace('\n', "");
        String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("UTF-8")
    };
    assert_eq!(
        (result["rc"].as_i64(), result["hook"].as_i64()),
        (Some(0), Some(4)),
        "{}",
        text("STDERR")
    );
    serde_json::from_str(&text("STDOUT")).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_and_options_come_on_standard_input() {
    let mut oned = Oned::start(&[]);
    let house = house(
        &oned,
        "host-failed.rb",
        "trigger: { state: { resource: HOST, state: ERROR } }\narguments: $TEMPLATE -m -p 5\narguments_stdin: true\n",
    );
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    oned.tell(json!({ "do": "host", "id": 3, "name": "node-3", "state": "MONITORED" }));
    oned.tell(json!({ "do": "host", "id": 3, "state": "ERROR", "template": { "NOTE": "a <b> & ü" } }));
    let results = oned.results(1);
    assert_eq!(
        printed(&results[0]),
        json!({ "id": "3", "name": "node-3", "--migrate": "", "--pause": "5" })
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_comes_as_an_argument() {
    let mut oned = Oned::start(&[]);
    let house = house(
        &oned,
        "vm-starts.rb",
        "trigger: { state: { resource: VM, state: POWEROFF, lcm_state: LCM_INIT } }\narguments: $TEMPLATE -a 'b'\n",
    );
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    oned.vm(12, "ACTIVE", "RUNNING");
    oned.tell(
        json!({ "do": "vm", "id": 12, "state": "POWEROFF", "user_template": { "AUTOSTART": "a <b> & 'c'" } }),
    );
    let results = oned.results(1);
    assert_eq!(
        printed(&results[0]),
        json!({ "id": "12", "autostart": "a <b> & 'c'", "words": ["-a", "b"] })
    );
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_word_come_on_standard_input_and_a_process_that_is_left_behind_lives() {
    let mut oned = Oned::start(&[]);
    let house = house(
        &oned,
        "backup-made.rb",
        "trigger: { api: { call: one.vm.backup, result: any } }\narguments: $API backup\narguments_stdin: true\n",
    );
    let daemon = house.daemon().await;
    oned.wait_for_subscriber();
    oned.tell(json!({ "do": "api", "call": "one.vm.backup", "in": ["12", "100", "false"], "out": "12" }));
    let results = oned.results(1);
    assert_eq!(
        printed(&results[0]),
        json!({ "id": "12", "result": "1", "word": "backup" })
    );
    // Only now may the process that the hook left behind go on.
    std::fs::write(house.config.scripts_dir.join("go"), "").expect("a file");
    let watched = house.config.scripts_dir.join("watched");
    until("the process that was left behind writes", || {
        std::fs::read_to_string(&watched).is_ok_and(|text| text == "12")
    })
    .await;
    oned.tell(json!({ "do": "api", "call": "one.vm.backup", "result": false, "in": ["13", "100", "false"] }));
    let results = oned.results(2);
    assert_eq!(
        printed(&results[1]),
        json!({ "id": "13", "result": "0", "word": "backup" })
    );
    daemon.stop().await;
}
