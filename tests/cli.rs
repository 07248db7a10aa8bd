//! The command line against a whole daemon, over its real socket.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod recorded;
mod service;

use std::process::{Command, Stdio};

use daemon::{House, LIMIT, publish, publisher, until_settled};
use hem::sources::opennebula::publisher::Publisher;
use service::hem;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

/// A house whose one hook fails until the file `repaired` is there, and one recorded event that triggers it.
async fn house_with_a_failure() -> (House, Publisher, hem::daemon::Daemon, String) {
    let publisher = publisher().await;
    let mut house = House::new();
    house.listen_to(&publisher);
    let script = format!(
        "#!/bin/sh\necho \"looking at $HEM_SUBJECT\"\ntest -e {} || {{ echo 'dns: refused' >&2; exit 3; }}\n",
        house.path("repaired").display()
    );
    house.script("register.sh", &script).hook(
        "dns",
        "name: vm-running\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
         command: register.sh\narguments: [\"$TEMPLATE\", \"${{ event.VM.NAME }}\"]\n",
    );
    let daemon = house.daemon().await;
    publisher.wait_for_subscriber().await;
    let event = recorded::events()
        .into_iter()
        .find(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .expect("a recorded event");
    publish(&publisher, &event).await;
    until_settled(daemon.handle(), 1).await;
    (house, publisher, daemon, "1.vm-running".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failure_is_seen_understood_and_repaired() {
    let (house, _publisher, daemon, id) = house_with_a_failure().await;

    let log = hem(&house, &["log", "--status", "failed"]).await;
    assert_eq!(log.code, 0, "{}", log.stderr);
    assert!(log.stdout.contains(&id), "{}", log.stdout);

    let show = hem(&house, &["show", "last"]).await;
    assert_eq!(show.code, 0, "{}", show.stderr);
    let first = show.stdout.lines().next().expect("a line");
    assert!(first.contains(&id) && first.contains("FAILED"), "{first}");
    for part in [
        "exit status 3",
        "it said: dns: refused",
        "hem retry 1.vm-running",
        "shown decoded",
        "looking at vm/",
    ] {
        assert!(
            show.stdout.contains(part),
            "`{part}` is missing in\n{}",
            show.stdout
        );
    }

    let dry = hem(&house, &["retry", "--failed", "--dry-run"]).await;
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert!(dry.stdout.contains(&id), "{}", dry.stdout);

    std::fs::write(house.path("repaired"), "").expect("a file");
    let retry = hem(&house, &["retry", &id, "--wait"]).await;
    assert_eq!(retry.code, 0, "{}{}", retry.stdout, retry.stderr);
    assert!(retry.stdout.contains("succeeded"), "{}", retry.stdout);

    let audit = hem(&house, &["audit", "--json"]).await;
    let audit: serde_json::Value = serde_json::from_str(&audit.stdout).expect("JSON");
    let last = audit
        .as_array()
        .and_then(|entries| entries.last())
        .expect("an entry");
    assert_eq!(last["action"], "retry");
    assert_eq!(last["actor"]["user"]["uid"], nix::unistd::getuid().as_raw());

    let status = hem(&house, &["status"]).await;
    assert!(
        status
            .stdout
            .contains("received 1 = accepted 1 + duplicate 0 + refused 0 + lost 0"),
        "{}",
        status.stdout
    );
    let check = hem(&house, &["status", "--check"]).await;
    assert_eq!((check.code, check.stdout.as_str()), (0, ""), "{}", check.stderr);
    daemon.stop().await;
}

/// The lines of a command as they come.
struct Following {
    lines: Lines<BufReader<ChildStdout>>,
    child: Child,
}

impl Following {
    fn start(house: &House, arguments: &[&str]) -> Self {
        let mut child = tokio::process::Command::new(env!("CARGO_BIN_EXE_hem"))
            .env("HEM_SOCKET", &house.config.control.socket)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it was started");
        let stdout = child.stdout.take().expect("a pipe");
        Self {
            lines: BufReader::new(stdout).lines(),
            child,
        }
    }

    async fn next(&mut self) -> Option<String> {
        let line = timeout(LIMIT, self.lines.next_line()).await;
        line.expect("a line, or the end").expect("text")
    }

    /// All that is still to come, and the exit code.
    async fn rest(mut self) -> (Vec<String>, Option<i32>) {
        let mut rest = Vec::new();
        while let Some(line) = self.next().await {
            rest.push(line);
        }
        let status = timeout(LIMIT, self.child.wait()).await.expect("it ends");
        (rest, status.expect("a status").code())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_script_writes_is_followed_to_its_end() {
    let house = House::new();
    let script = format!(
        "#!/bin/sh\necho \"attempt $HEM_ATTEMPT begins\"\nuntil test -e {}-$HEM_ATTEMPT; do sleep 0.02; done\n\
         echo 'it ends' >&2\ntest \"$HEM_ATTEMPT\" = 2 || exit 3\n",
        house.path("go").display()
    );
    house
        .script("slow.sh", &script)
        .hook(
            "slow",
            "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: slow.sh\n\
             retry: { attempts: 2, backoff: 1ms..1ms }\n",
        )
        .script("other.sh", "#!/bin/sh\nexit 1\n")
        .hook(
            "other",
            "name: other\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: other.sh\n",
        );
    let event = recorded::events()
        .into_iter()
        .find(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .expect("a recorded event");
    std::fs::write(house.path("event.xml"), &event.content).expect("a file");
    let daemon = house.daemon().await;
    let event = house.path("event.xml");
    let emitted = hem(&house, &["emit", event.to_str().expect("a path")]).await;
    assert_eq!(emitted.code, 0, "{}", emitted.stderr);

    let several = hem(&house, &["show", "1", "--follow"]).await;
    assert_eq!(several.code, 2, "{}", several.stderr);
    assert!(several.stderr.contains("1.other, 1.slow"), "{}", several.stderr);

    let mut following = Following::start(&house, &["show", "1.slow", "--follow"]);
    // Nothing but the script's own pace is between these lines: it does not go on until the file is there.
    for attempt in [1, 2] {
        while following.next().await.expect("a line") != format!("stdout │ attempt {attempt} begins") {}
        std::fs::write(house.path(&format!("go-{attempt}")), "").expect("a file");
        assert_eq!(following.next().await.as_deref(), Some("stderr │ it ends"));
        let end = following.next().await.expect("a line");
        let status = if attempt == 1 { 3 } else { 0 };
        assert!(
            end.starts_with(&format!("Attempt {attempt}: exit status {status}, after ")),
            "{end}"
        );
    }
    let (rest, code) = following.rest().await;
    let rest = rest.join("\n");
    assert!(rest.contains("1.slow  SUCCEEDED  in 2 attempts"), "{rest}");
    assert_eq!(code, Some(0));

    // What has ended is told the same way, at once.
    let (all, code) = Following::start(&house, &["show", "1.slow", "--follow"])
        .rest()
        .await;
    let told = |line: &str| all.iter().filter(|one| *one == line).count();
    assert_eq!(told("stdout │ attempt 1 begins"), 1, "{all:?}");
    assert_eq!(told("stderr │ it ends"), 2, "{all:?}");
    assert_eq!(code, Some(0));
    let (failed, code) = Following::start(&house, &["show", "1.other", "--follow"])
        .rest()
        .await;
    assert!(failed.iter().any(|line| line.contains("FAILED")), "{failed:?}");
    assert_eq!(code, Some(1));
    let story = hem(&house, &["show", "1.slow", "--follow", "--json"]).await;
    let story: serde_json::Value = serde_json::from_str(&story.stdout).expect("JSON");
    assert_eq!(story["executions"][0]["attempts"][1]["number"], 2);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_listed_disabled_and_reset() {
    let (house, _publisher, daemon, _) = house_with_a_failure().await;
    let list = hem(&house, &["hooks"]).await;
    assert!(list.stdout.contains("state VM ACTIVE/RUNNING"), "{}", list.stdout);
    for (order, enabled) in [("disable", false), ("enable", true), ("reset", true)] {
        let said = hem(&house, &["hooks", order, "vm-running", "--json"]).await;
        assert_eq!(said.code, 0, "{}", said.stderr);
        let view: serde_json::Value = serde_json::from_str(&said.stdout).expect("JSON");
        assert_eq!(view["enabled"], enabled, "{order}");
    }
    let unknown = hem(&house, &["hooks", "disable", "no-such"]).await;
    assert_eq!(unknown.code, 1);
    assert!(
        unknown.stderr.contains("there is no hook `no-such`"),
        "{}",
        unknown.stderr
    );
    let reload = hem(&house, &["reload"]).await;
    assert_eq!(reload.code, 0, "{}{}", reload.stdout, reload.stderr);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_exist_is_said_with_a_hint() {
    let (house, _publisher, daemon, _) = house_with_a_failure().await;
    for (arguments, code, part) in [
        (vec!["show", "999"], 1, "there is no event 999"),
        (vec!["show", "999.x"], 1, "there is no execution `999.x`"),
        (vec!["show", "zzzz-1"], 1, "not `zzzz`"),
        (vec!["show", "x y"], 2, "is no id"),
        (vec!["cancel", "1.vm-running"], 1, ""),
        (vec!["retry"], 2, "required"),
        (vec!["log", "--since", "soon"], 2, "is no point in time"),
        (vec!["run", "vm-running"], 2, "did you mean `hem try vm-running`?"),
    ] {
        let said = hem(&house, &arguments).await;
        assert_eq!(said.code, code, "{arguments:?}: {}", said.stderr);
        assert!(said.stderr.contains(part), "{arguments:?}: {}", said.stderr);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_daemon_the_way_out_is_said_and_the_record_can_be_read() {
    let (house, _publisher, daemon, id) = house_with_a_failure().await;
    let config = house.path("hem.yaml");
    std::fs::write(
        &config,
        format!("state_dir: {}\n", house.config.state_dir.display()),
    )
    .expect("a file");
    let config = config.to_str().expect("a path").to_owned();

    let alive = hem(&house, &["--config", &config, "log", "--offline"]).await;
    assert_eq!(alive.code, 6, "{}", alive.stderr);
    daemon.stop().await;

    let unreachable = hem(&house, &["log"]).await;
    assert_eq!(unreachable.code, 3);
    assert!(
        unreachable.stderr.contains("systemctl start hem"),
        "{}",
        unreachable.stderr
    );

    let show = hem(&house, &["--config", &config, "show", &id, "--offline"]).await;
    assert_eq!(show.code, 0, "{}", show.stderr);
    assert!(show.stdout.contains("dns: refused"), "{}", show.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emitted_events_run_and_the_feed_shows_them_once() {
    let (house, _publisher, daemon, _) = house_with_a_failure().await;
    let client = hem::control::client::Client::connect(&house.config.control.socket)
        .await
        .expect("a daemon");
    let filter = hem::control::api::EventFilter::default();
    let mut feed = client.follow_events(&filter).await.expect("a feed");
    let event = recorded::events()
        .into_iter()
        .find(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .expect("a recorded event");
    let saved = house.path("event.xml");
    std::fs::write(&saved, &event.content).expect("a file");
    let emit = hem(
        &house,
        &["emit", saved.to_str().expect("a path"), "--hook", "vm-running"],
    )
    .await;
    assert_eq!(emit.code, 0, "{}", emit.stderr);
    assert_eq!(emit.stdout, "2.vm-running\n");

    let mut told = Vec::new();
    while told.len() < 2 {
        let line = timeout(LIMIT, feed.next())
            .await
            .expect("in time")
            .expect("a feed");
        match line {
            Some(hem::control::api::FeedLine::Event(event)) => told.push(event.seq),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, [1, 2]);
    // The feed must not hold the daemon up.
    daemon.stop().await;
    assert!(matches!(feed.next().await, Ok(None) | Err(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_event_is_matched_and_tried_as_it_was_and_its_secrets_are_not_printed() {
    const SECRET: &str = "s3cret-of-ann";
    let house = House::new();
    house
        .script("count.sh", "#!/bin/sh\nprintf %s \"$1\" | wc -c\n")
        .hook(
            "count",
            "name: count\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
         when: size(text(\"VM/TEMPLATE/PASSWORD\")) == 13\n\
         command: count.sh\narguments: [\"${{ event.VM.TEMPLATE.PASSWORD }}\"]\n",
        );
    std::fs::write(
        house.path("event.xml"),
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID><VM><ID>12</ID><TEMPLATE>\
             <PASSWORD>{SECRET}</PASSWORD></TEMPLATE></VM></HOOK_MESSAGE>"
        ),
    )
    .expect("a file");
    let config = house.path("hem.yaml");
    std::fs::write(
        &config,
        format!(
            "state_dir: {}\nhooks_dir: hooks.d\nscripts_dir: scripts\npermissions: lax\n",
            house.config.state_dir.display()
        ),
    )
    .expect("a file");
    let config = config.to_str().expect("a path").to_owned();
    let daemon = house.daemon().await;
    let event = house.path("event.xml");
    let emitted = hem(&house, &["emit", event.to_str().expect("a path")]).await;
    assert_eq!(emitted.stdout, "1.count\n", "{}", emitted.stderr);

    until_settled(daemon.handle(), 1).await;
    let matched = hem(&house, &["--config", &config, "match", "1"]).await;
    assert!(
        matched.stdout.contains("1 of 1 hooks would run"),
        "{}",
        matched.stdout
    );
    assert!(matched.stdout.contains("[1] [redacted]"), "{}", matched.stdout);
    let tried = hem(&house, &["--config", &config, "try", "count", "1"]).await;
    assert_eq!(tried.stdout.trim(), "13", "{}", tried.stderr);
    let audit = hem(&house, &["audit"]).await;
    assert!(audit.stdout.contains("reveal"), "{}", audit.stdout);
    let disabled = hem(&house, &["hooks", "disable", "count"]).await;
    assert_eq!(disabled.code, 0, "{}", disabled.stderr);
    let overridden = hem(&house, &["--config", &config, "match", "1"]).await;
    assert!(
        overridden.stdout.contains("would match, but is disabled"),
        "{}",
        overridden.stdout
    );
    let shown = hem(&house, &["show", "1"]).await;
    for printed in [&matched, &tried, &overridden, &shown] {
        assert!(!printed.stdout.contains(SECRET), "{}", printed.stdout);
        assert!(!printed.stderr.contains(SECRET), "{}", printed.stderr);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_checked_matched_and_tried_without_a_daemon() {
    let house = House::new();
    house
        .script("greet.sh", "#!/bin/sh\necho \"hello $1\"\nexit 4\n")
        .hook(
            "greet",
            "name: greet\ntrigger: { state: { resource: VM, on: RUNNING } }\n\
             command: greet.sh\narguments: [\"${{ event.VM.ID }}\"]\n",
        );
    let event = recorded::events()
        .into_iter()
        .find(|event| event.key.contains("VM/ACTIVE/RUNNING/"))
        .expect("a recorded event");
    std::fs::write(house.path("event.xml"), &event.content).expect("a file");
    let config = house.path("hem.yaml");
    std::fs::write(
        &config,
        "hooks_dir: hooks.d\nscripts_dir: scripts\npermissions: lax\n",
    )
    .expect("a file");
    let config = config.to_str().expect("a path").to_owned();
    let event = house.path("event.xml");
    let event = event.to_str().expect("a path");

    let check = hem(&house, &["--config", &config, "check"]).await;
    assert_eq!(check.code, 0, "{}{}", check.stdout, check.stderr);
    let matched = hem(&house, &["--config", &config, "match", event]).await;
    assert_eq!(matched.code, 0, "{}", matched.stderr);
    assert!(
        matched.stdout.contains("1 of 1 hooks would run"),
        "{}",
        matched.stdout
    );
    let tried = hem(&house, &["--config", &config, "try", "greet", event]).await;
    assert_eq!(tried.code, 1, "{}", tried.stderr);
    assert!(tried.stdout.starts_with("hello "), "{}", tried.stdout);
    assert!(tried.stderr.contains("greet: exit status 4"), "{}", tried.stderr);

    house.hook("broken", "name: broken\ntriger: {}\n");
    let check = hem(&house, &["--config", &config, "check"]).await;
    assert_eq!(check.code, 4);
    assert!(check.stdout.contains("triger"), "{}", check.stdout);
}

/// The real binary as a service.
struct Service {
    child: std::process::Child,
}

impl Service {
    fn start(house: &House, notify: &std::path::Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_hem"))
            .arg("run")
            .args(["--state-dir".as_ref(), house.config.state_dir.as_os_str()])
            .args(["--hooks-dir".as_ref(), house.config.hooks_dir.as_os_str()])
            .args(["--scripts-dir".as_ref(), house.config.scripts_dir.as_os_str()])
            .args(["--socket".as_ref(), house.config.control.socket.as_os_str()])
            .args(["--opennebula", "tcp://127.0.0.1:9", "--shutdown-grace", "1h"])
            .env("NOTIFY_SOCKET", notify)
            .env("WATCHDOG_USEC", "3000000")
            .env("HEM_LOG", "warn")
            .spawn()
            .expect("the binary");
        Self { child }
    }

    fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        nix::sys::signal::kill(pid, signal).expect("a signal");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_tells_how_it_does_reloads_and_stops_at_once_when_asked_twice() {
    use nix::sys::signal::Signal;

    let house = House::new();
    house.script(
        "slow.sh",
        "#!/bin/sh\ntrap '' TERM\necho started > \"$1\"\nwhile :; do sleep 1; done\n",
    );
    let notify = house.path("notify");
    let manager = std::os::unix::net::UnixDatagram::bind(&notify).expect("a socket");
    manager.set_read_timeout(Some(LIMIT)).expect("a limit");
    let told = |what: &str| {
        let mut message = [0; 4096];
        loop {
            let length = manager.recv(&mut message).expect("told in time");
            if String::from_utf8_lossy(&message[..length]).contains(what) {
                return;
            }
        }
    };
    let mut service = Service::start(&house, &notify);
    told("READY=1");
    told("WATCHDOG=1");

    house.hook(
        "slow",
        &format!(
            "name: slow\ntrigger: {{ api: {{ call: any }} }}\ncommand: slow.sh\narguments: [{}]\n",
            house.path("started").display()
        ),
    );
    service.signal(Signal::SIGHUP);
    let socket = house.config.control.socket.to_str().expect("a path").to_owned();
    let event = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/examples/opennebula/events/vm-allocate.xml"
    );
    daemon::until("the hook runs", || {
        let emitted = Command::new(env!("CARGO_BIN_EXE_hem"))
            .args(["--socket", &socket, "emit", event, "--hook", "slow"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        emitted.is_ok_and(|status| status.success())
    })
    .await;
    daemon::until("the script started", || house.path("started").exists()).await;

    service.signal(Signal::SIGTERM);
    told("STOPPING=1");
    service.signal(Signal::SIGTERM);
    let status = service.child.wait().expect("an end");
    assert_eq!(status.code(), Some(1), "it did not wait for the hour of grace");
    let store = daemon::store_of(&house.config);
    assert_eq!(
        store.unsettled().expect("a read").len(),
        1,
        "what was cut short is still to be done"
    );
}
