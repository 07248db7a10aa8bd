//! That hooks which read their input as those that OpenNebula ships do find what they look for: small Ruby scripts with the
//! same ways of reading, created by the templates that the shipped ones tell to use, and run by hem's real binary.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod front_end;
mod oned_stand_in;
mod peers;
mod recorded;
mod ruby;
mod service;

use std::path::Path;

use daemon::until;
use front_end::{FrontEnd, Told};
use serde_json::{Value, json};

/// A front-end with one hook, of a template without NAME and COMMAND, that runs one of the scripts.
async fn front_end(script: &str, template: &str) -> FrontEnd {
    ruby::must_be_there();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/ruby-hooks")
        .join(script);
    let text = std::fs::read_to_string(file).expect("a script");
    let template = format!("NAME = shipped\nCOMMAND = shipped/{script}\n{template}");
    let mut front = FrontEnd::new().with(&format!("shipped/{script}"), &text, &template);
    front.start().await;
    front
}

/// What the hook printed, as its result came to the controller.
fn printed(told: &Told) -> Value {
    assert_eq!((told.code, told.kept), (0, true), "{}", told.stderr());
    serde_json::from_str(&told.stdout()).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_and_options_come_on_standard_input() {
    let template = "TYPE = state\nRESOURCE = HOST\nSTATE = ERROR\nREMOTE = \"no\"\nARGUMENTS = \"$TEMPLATE -m -p 5\"\n\
        ARGUMENTS_STDIN = yes\n";
    let mut front = front_end("host-failed.rb", template).await;
    front
        .oned
        .tell(json!({ "do": "host", "id": 3, "name": "node-3", "state": "MONITORED" }));
    front
        .oned
        .tell(json!({ "do": "host", "id": 3, "state": "ERROR", "template": { "NOTE": "a <b> & ü" } }));
    let told = front.told(1);
    assert_eq!(
        printed(&told[0]),
        json!({ "id": "3", "name": "node-3", "--migrate": "", "--pause": "5" })
    );
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_comes_as_an_argument() {
    let template = "TYPE = state\nRESOURCE = VM\nON = CUSTOM\nSTATE = POWEROFF\nLCM_STATE = LCM_INIT\n\
        ARGUMENTS = \"$TEMPLATE -a 'b'\"\n";
    let mut front = front_end("vm-starts.rb", template).await;
    front.oned.vm(12, "ACTIVE", "RUNNING");
    front.oned.tell(
        json!({ "do": "vm", "id": 12, "state": "POWEROFF", "user_template": { "AUTOSTART": "a <b> & 'c'" } }),
    );
    let told = front.told(1);
    assert_eq!(
        printed(&told[0]),
        json!({ "id": "12", "autostart": "a <b> & 'c'", "words": ["-a", "b"] })
    );
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_and_a_word_come_on_standard_input_and_a_process_that_is_left_behind_lives() {
    // `true` is what onehem-server's own code means to take and does not; hem takes both.
    let template = "TYPE = api\nCALL = one.vm.backup\nARGUMENTS = \"$API backup\"\nARGUMENTS_STDIN = true\n";
    let mut front = front_end("backup-made.rb", template).await;
    front
        .oned
        .tell(json!({ "do": "api", "call": "one.vm.backup", "in": ["12", "100", "false"], "out": "12" }));
    let told = front.told(1);
    assert_eq!(
        printed(&told[0]),
        json!({ "id": "12", "result": "1", "word": "backup" })
    );
    // Only now may the process that the hook left behind go on.
    let folder = front.house.config.scripts_dir.join("shipped");
    std::fs::write(folder.join("go"), "").expect("a file");
    until("the process that was left behind writes", || {
        std::fs::read_to_string(folder.join("watched")).is_ok_and(|text| text == "12")
    })
    .await;
    // Hooks run for calls that failed as well.
    front
        .oned
        .tell(json!({ "do": "api", "call": "one.vm.backup", "result": false, "in": ["13", "100", "false"] }));
    let told = front.told(2);
    assert_eq!(
        printed(&told[1]),
        json!({ "id": "13", "result": "0", "word": "backup" })
    );
    front.stop().await;
}
