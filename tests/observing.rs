//! `hem run --observe`: what would run is recorded, nothing is started or replied, and a later life runs none of it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use daemon::House;
use oned_stand_in::Oned;
use serde_json::{Value, json};
use service::{Service, hem, in_state, unsettled};

/// A house beside an `oned`, with one hook in a file and one in the pool. Scripts append to the file `ran`.
fn house(oned: &Oned, auth: &std::path::Path) -> House {
    let house = House::new();
    let ran = house.path("ran").display().to_string();
    house.script("run.sh", &format!("#!/bin/sh\necho \"$1\" >> {ran}\n"));
    house.hook(
        "file",
        "name: file\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: run.sh\narguments: [\"${{ meta.subject }}\"]\n\
         throttle: { max: 3, per: 1h, key: hook }\n",
    );
    let config = &house.config;
    let text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {scripts}\nonehem_scripts_dir: {scripts}\ncontrol: {{ socket: {} }}\n\
         permissions: lax\nsources:\n  opennebula: {{ type: opennebula, endpoint: \"{}\", replies: \"{}\" }}\n\
         oned: {{ endpoint: \"{}\", auth: {} }}\n",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.control.socket.display(),
        oned.events(),
        oned.replies(),
        oned.xmlrpc(),
        auth.display(),
        scripts = config.scripts_dir.display(),
    );
    std::fs::write(house.path("hem.yaml"), text).expect("a file");
    house
}

async fn executions(house: &House) -> Vec<(String, Value)> {
    let said = hem(house, &["log", "--json", "--limit", "1000"]).await;
    let executions: Vec<Value> = serde_json::from_str(&said.stdout).expect("JSON");
    let told = executions.into_iter().map(|execution| {
        let name = execution["execution"].as_str().expect("a name").to_owned();
        (name, execution["state"]["reason"].clone())
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_would_run_is_recorded_and_neither_started_nor_told_then_or_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let auth = folder.path().join("one_auth");
    let mut oned = Oned::start(&["--auth-file", auth.to_str().expect("a path")]);
    let house = house(&oned, &auth);
    let pool = oned
        .create_hook("NAME=pool\nTYPE=state\nRESOURCE=VM\nON=RUNNING\nCOMMAND=run.sh\nARGUMENTS=\"pool\"");
    let mut observer = Service::start_by(&house, &[], &["--observe"]);
    oned.wait_for_subscriber();
    observer
        .until("the pool is read", |status| status.hooks == 2)
        .await;
    for id in 1..=4 {
        oned.vm(id, "ACTIVE", "RUNNING");
    }
    let retry =
        format!("<HOOK_MESSAGE><ARGUMENTS>cG9vbA==</ARGUMENTS><HOOK_ID>{pool}</HOOK_ID></HOOK_MESSAGE>");
    let retry = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, retry);
    oned.tell(json!({ "do": "publish", "key": "RETRY", "content": format!("{retry} ") }));
    let status = observer
        .until("all are recorded", |status| in_state(status, "skipped") == 9)
        .await;
    assert!(status.observing);
    assert_eq!((status.running, unsettled(&status)), (0, 0));
    assert_eq!(status.concerns, Vec::<String>::new());

    let recorded = executions(&house).await;
    let reasons = |hook: &str| -> Vec<&str> {
        let of_hook = recorded.iter().filter(|(name, _)| name.ends_with(hook));
        of_hook
            .map(|(_, reason)| reason.as_str().expect("a reason"))
            .collect()
    };
    assert_eq!(
        reasons(".oned/pool"),
        ["observed"; 5],
        "four events and the RETRY: {recorded:?}"
    );
    assert_eq!(
        reasons(".file"),
        ["observed", "observed", "observed", "throttled"],
        "its policy holds"
    );

    let said = hem(&house, &["status"]).await.stdout;
    assert!(said.contains("observing: what would run is recorded"), "{said}");
    assert!(
        hem(&house, &["metrics"])
            .await
            .stdout
            .contains("hem_observing 1\n")
    );
    let log = hem(&house, &["log"]).await.stdout;
    assert!(log.contains("observed: would have run"), "{log}");
    assert!(
        observer
            .log()
            .contains("nothing is started and nothing is replied")
    );
    for order in [["retry", "1.file"], ["cancel", "1.file"]] {
        let refused = hem(&house, &order).await;
        assert_eq!(refused.code, 1, "{}", refused.stdout);
        assert!(
            refused.stderr.contains("only observes (`hem run --observe`)"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(house.lines("ran"), [""; 0]);
    observer.stop().await;

    // The same store, in earnest: nothing of the day before runs, and none of it counts for the throttle.
    let mut daemon = Service::start(&house);
    oned.wait_for_subscriber();
    daemon.until("the pool is read", |status| status.hooks == 2).await;
    oned.vm(7, "ACTIVE", "RUNNING");
    let status = daemon.until_succeeded(2).await;
    assert!(!status.observing);
    assert_eq!(in_state(&status, "skipped"), 9);
    let mut ran = house.lines("ran");
    ran.sort();
    assert_eq!(ran, ["pool", "vm/7"]);
    assert_eq!(oned.results(1).len(), 1, "and oned is told of that alone");
    daemon.stop().await;
}
