//! Records on their way from one machine to another, as an operator moves them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;

use std::process::Command;
use std::time::Duration;

use daemon::{House, store_of, until, until_settled};
use hem::config::Config;
use hem::daemon::{Daemon, Options};

const SECRET: &str = "hunter2-of-ann";

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

async fn hem(house: &House, arguments: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
    command
        .env("HEM_SOCKET", &house.config.control.socket)
        .env("HEM_CONFIG", house.path("hem.yaml"))
        .args(arguments);
    let stdin = stdin.to_owned();
    let output = tokio::time::timeout(
        daemon::LIMIT,
        tokio::task::spawn_blocking(move || {
            assert_cmd::Command::from_std(command).write_stdin(stdin).output()
        }),
    )
    .await
    .expect("the program ends")
    .expect("it ran")
    .expect("it was started");
    Said {
        code: output.status.code().expect("an exit code"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A house whose two hooks run for each event: one prints a secret of the event, the other waits for the file `go`.
fn house() -> House {
    let house = House::new();
    let trigger = "trigger: { state: { resource: VM, on: RUNNING } }\n";
    let wait = format!(
        "#!/bin/sh\nuntil test -e {}; do sleep 0.02; done\necho \"$HEM_EXECUTION_ID $HEM_ATTEMPT\" >> {}\n",
        house.path("go").display(),
        house.path("ran").display()
    );
    house
        .script(
            "print.sh",
            &format!("#!/bin/sh\necho '<PASSWORD>{SECRET}</PASSWORD>'\n"),
        )
        .hook("print", &format!("name: print\n{trigger}command: print.sh\n"))
        .script("wait.sh", &wait)
        .hook("wait", &format!("name: wait\n{trigger}command: wait.sh\n"));
    std::fs::write(
        house.path("hem.yaml"),
        format!("state_dir: {}\n", house.config.state_dir.display()),
    )
    .expect("a configuration");
    let event = format!(
        "EVENT STATE VM/ACTIVE/RUNNING/12 \n<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE>\
         <HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE><LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID>\
         <VM><ID>12</ID><TEMPLATE><PASSWORD>{SECRET}</PASSWORD></TEMPLATE></VM></HOOK_MESSAGE>"
    );
    std::fs::write(house.path("event.xml"), event).expect("an event");
    house
}

async fn emit(house: &House) {
    let event = house.path("event.xml").display().to_string();
    let said = hem(house, &["emit", &event], "").await;
    assert_eq!(said.code, 0, "{}", said.stderr);
}

/// A daemon that gives running scripts no time when it stops.
async fn impatient(house: &House) -> Daemon {
    let config = Config {
        shutdown_grace: Duration::from_millis(10),
        ..house.config.clone()
    };
    Daemon::start(&config, Options::default())
        .await
        .expect("a daemon")
}

fn types(text: &str) -> Vec<String> {
    text.lines()
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
            line["type"].as_str().expect("a type").to_owned()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_move_to_another_machine_and_what_was_left_to_do_is_done_there() {
    let mut house = house();
    let running = impatient(&house).await;
    emit(&house).await;
    let handle = running.handle().clone();
    until("one hook has run and the other waits", || {
        let states = handle.store().summary().executions;
        states.get("succeeded") == Some(&1) && states.get("running") == Some(&1)
    })
    .await;

    // From a daemon that runs: a line for everything, secrets blotted out.
    let live = hem(&house, &["export"], "").await;
    assert_eq!(live.code, 0, "{}", live.stderr);
    assert_eq!(
        types(&live.stdout),
        [
            "export",
            "definition",
            "definition",
            "event",
            "execution",
            "attempt",
            "execution",
            "attempt",
            "audit",
            "audit",
            "end"
        ]
    );
    assert!(!live.stdout.contains(SECRET), "{}", live.stdout);
    let events = hem(&house, &["export", "--events", "--hook", "wait"], "").await;
    assert_eq!(types(&events.stdout), ["export", "event", "end"]);
    let chosen = hem(&house, &["export", "--executions", "--status", "succeeded"], "").await;
    assert_eq!(
        types(&chosen.stdout),
        ["export", "definition", "execution", "attempt", "end"]
    );
    let later = hem(&house, &["export", "--since", "2100-01-01"], "").await;
    assert_eq!(types(&later.stdout), ["export", "end"], "{}", later.stdout);
    let revealed = hem(&house, &["export", "--reveal"], "").await;
    assert!(revealed.stdout.contains(SECRET));
    let audit = hem(&house, &["audit"], "").await;
    assert!(
        audit.stdout.contains("reveal") && audit.stdout.contains("export"),
        "{}",
        audit.stdout
    );
    let in_use = hem(&house, &["import-records", "-"], &live.stdout).await;
    assert_eq!(in_use.code, 5, "{}", in_use.stderr);
    assert!(
        in_use.stderr.contains("stop the daemon first"),
        "{}",
        in_use.stderr
    );
    drop(handle);
    running.stop().await;

    // From a store that no daemon has, into a file.
    let file = house.path("move.jsonl").display().to_string();
    let offline = hem(
        &house,
        &["export", "--offline", "--reveal", "--output", &file],
        "",
    )
    .await;
    assert_eq!(
        (offline.code, offline.stdout.as_str()),
        (0, ""),
        "{}",
        offline.stderr
    );
    let id = store_of(&house.config).id().clone();

    // The other machine.
    house.config.state_dir = house.path("elsewhere");
    let config = format!("state_dir: {}\n", house.config.state_dir.display());
    std::fs::write(house.path("hem.yaml"), config).expect("a configuration");
    let blotted = hem(&house, &["import-records", "-", "--with-unsettled"], &live.stdout).await;
    assert_eq!(blotted.code, 1);
    assert!(blotted.stderr.contains("--reveal"), "{}", blotted.stderr);
    assert!(!house.config.state_dir.exists());
    let dry = hem(
        &house,
        &["import-records", &file, "--with-unsettled", "--dry-run"],
        "",
    )
    .await;
    assert!(
        dry.stdout.contains("the file has 1 events, 2 executions"),
        "{}",
        dry.stdout
    );
    assert!(!house.config.state_dir.exists());

    let history = hem(&house, &["import-records", &file], "").await;
    assert_eq!(history.code, 0, "{}", history.stderr);
    assert!(
        history.stdout.contains("1 executions had not reached their end"),
        "{}",
        history.stdout
    );
    assert_eq!(store_of(&house.config).unsettled().expect("a read"), []);
    let all = hem(
        &house,
        &["import-records", &file, "--with-unsettled", "--json"],
        "",
    )
    .await;
    assert_eq!(all.code, 0, "{}", all.stderr);
    let all: serde_json::Value = serde_json::from_str(&all.stdout).expect("JSON");
    assert_eq!((&all["executions"], &all["unsettled"]), (&1.into(), &1.into()));
    assert_eq!(all["store"], id.as_str());

    // What the old machine had begun is repeated here, with a higher number, and new numbers follow the old ones.
    std::fs::write(house.path("go"), "").expect("a file");
    let running = house.daemon().await;
    emit(&house).await;
    until_settled(running.handle(), 2).await;
    assert_eq!(
        house.lines("ran"),
        [format!("{id}-1.wait 2"), format!("{id}-2.wait 1")]
    );
    let show = hem(&house, &["show", &format!("{id}-1.print")], "").await;
    assert!(
        show.stdout.contains("SUCCEEDED"),
        "{}{}",
        show.stdout,
        show.stderr
    );
    running.stop().await;
}
