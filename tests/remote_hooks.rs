//! Hooks that run on the event's host: a real sshd on loopback, with a key that is thrown away.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod daemon;
mod node;
mod peers;
mod recorded;
mod sshd;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use daemon::{House, until, until_settled};
use hem::daemon::Daemon;
use hem::engine::execution::{Actor, Attempt};
use hem::event::id::{ExecutionKey, HookName, Seq};
use hem::event::opennebula::read;
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts, RetryRequest};
use hem::runner::{Outcome, StartFailureKind};
use nix::sys::signal::{Signal, kill};
use node::Node;
use peers::{Peer, Port};

async fn house() -> (House, Node) {
    let mut house = House::new();
    let node = Node::new(&house);
    node.listens().await;
    house.config.ssh.config = Some(node.folder.join("ssh_config"));
    house.config.remote_scripts_dir = house.config.scripts_dir.clone();
    (house, node)
}

/// A VM runs on a host.
fn event(host: &str, vm: u64) -> Event {
    let document = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>{vm}</RESOURCE_ID><REMOTE_HOST>{host}</REMOTE_HOST>\
         <VM><ID>{vm}</ID></VM></HOOK_MESSAGE>"
    );
    let key = format!("EVENT STATE VM/ACTIVE/RUNNING/{vm} ");
    let reading = read(&key, document.as_bytes());
    Event {
        seq: Seq(0),
        source: "opennebula".into(),
        key,
        subject: None,
        received: Timestamp::now(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(document.into_bytes().into()),
    }
}

/// Runs a hook for an event, and gives its last attempt once it has ended.
async fn run(daemon: &Daemon, hook: &str, event: Event) -> Attempt {
    let accepted = offer(daemon, hook, event).await;
    let store = daemon.handle().store().clone();
    until("it settles", || {
        let execution = store
            .execution(&accepted)
            .expect("readable")
            .expect("an execution");
        execution.progress.state.is_settled()
    })
    .await;
    let mut attempts = store.attempts(&accepted).expect("readable");
    attempts.pop().expect("an attempt")
}

async fn offer(daemon: &Daemon, hook: &str, event: Event) -> ExecutionKey {
    let hook = HookName::new(hook).expect("a name");
    let accepted = daemon
        .handle()
        .emit(event, Some(hook), Actor::User { uid: 7 })
        .await
        .expect("accepted");
    accepted.executions[0].clone()
}

fn stdout(attempt: &Attempt) -> String {
    let ended = attempt.ended.as_ref().expect("an end");
    String::from_utf8_lossy(&ended.stdout.head).into_owned()
}

fn outcome(attempt: &Attempt) -> &Outcome {
    &attempt.ended.as_ref().expect("an end").outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_hook_runs_on_the_events_host_with_its_words_whole() {
    let (house, node) = house().await;
    house.script(
        "say.sh",
        "#!/bin/sh\nprintf '%s|' \"$@\"\necho\necho \"$HEM_HOOK $HEM_ATTEMPT $ZONE\"\necho \"$SSH_CONNECTION\"\ncat\nexit 3\n",
    );
    house.hook(
        "saying",
        "name: saying\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\nremote: true\nstdin: payload\n\
         arguments: ['a b', '$(id)', \"it's\", '${{ event.VM.ID }}']\nenv: { ZONE: 'z 1' }\n",
    );
    let daemon = house.daemon().await;
    let attempt = run(&daemon, "saying", event("node1", 12)).await;
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 3 }, "{attempt:?}");
    let said = stdout(&attempt);
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "a b|$(id)|it's|12|");
    assert_eq!(lines[1], "saying 1 z 1");
    assert!(lines[2].starts_with("127.0.0.1 "), "it came by ssh: {said}");
    assert!(lines[3].starts_with("<HOOK_MESSAGE>"), "{said}");
    assert_eq!(node.logins(), 1);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_of_the_onehem_profile_is_read_by_the_shell_here_and_by_the_one_there() {
    let (mut house, _node) = house().await;
    house.config.onehem_scripts_dir = house.config.scripts_dir.clone();
    house.script("say.sh", "#!/bin/sh\nprintf '%s|' \"$@\"\n");
    // The shell here takes the outer quotes, the one there splits what was in them.
    house.hook(
        "saying",
        "name: saying\nprofile: onehem\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\n\
         remote: true\narguments: \"\\\"'x y' z\\\"\"\n",
    );
    let daemon = house.daemon().await;
    let attempt = run(&daemon, "saying", event("node1", 12)).await;
    assert_eq!(stdout(&attempt), "x y|z|", "{attempt:?}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_on_one_host_share_a_connection_and_no_more_than_it_takes() {
    let (mut house, node) = house().await;
    house.config.concurrency = 40;
    house.script("say.sh", "#!/bin/sh\necho done\n").hook(
        "saying",
        "name: saying\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\nremote: true\nmax_parallel: 40\n",
    );
    let daemon = house.daemon().await;
    for vm in 0..30 {
        offer(&daemon, "saying", event("node1", vm)).await;
    }
    until_settled(daemon.handle(), 30).await;
    let executions = daemon.handle().store().summary().executions;
    assert_eq!(executions.get("succeeded"), Some(&30), "{executions:?}");
    assert_eq!(node.logins(), 1, "all of them went through one connection");
    let sockets = house.config.control.socket.with_file_name("ssh");
    let mode = fs::metadata(&sockets).expect("a folder").permissions().mode() & 0o777;
    assert_eq!(mode, 0o700);
    daemon.stop().await;
    until("the connection ends with the daemon", || {
        fs::read_dir(&sockets).is_ok_and(|mut entries| entries.next().is_none())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_went_away_is_made_anew() {
    let (house, node) = house().await;
    house.script("say.sh", "#!/bin/sh\necho done\n").hook(
        "saying",
        "name: saying\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\nremote: true\n",
    );
    let daemon = house.daemon().await;
    assert_eq!(stdout(&run(&daemon, "saying", event("node1", 1)).await), "done\n");
    // The process behind the connection is ended: its socket stays and leads nowhere.
    let sockets = house.config.control.socket.with_file_name("ssh");
    kill(node.connection(&sockets), Signal::SIGKILL).expect("it lives");
    assert_eq!(stdout(&run(&daemon, "saying", event("node1", 2)).await), "done\n");
    assert_eq!(node.logins(), 2);
    daemon.stop().await;
}

/// Notes that it began, and from its second life on ends well; its first one waits to be cut off.
const TWICE: &str = "#!/bin/sh\necho began >> \"$NOTES\"\n\
    [ \"$(wc -l < \"$NOTES\")\" -gt 1 ] || exec sleep 60\necho done\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_script_whose_connection_fails_at_once_is_started_once_more_and_one_that_ends_with_255_is_not()
 {
    let (house, node) = house().await;
    let log = fs::File::create(house.path("log")).expect("a file");
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(Mutex::new(log));
    subscriber.try_init().expect("nobody else takes the log");
    house.script("twice.sh", TWICE);
    let notes = house.path("silent");
    house.hook(
        "silent",
        &format!(
            "name: silent\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: twice.sh\nremote: true\n\
             retry: {{ attempts: 1 }}\nenv: {{ NOTES: {} }}\n",
            notes.display()
        ),
    );
    let failed = house.path("failing").display().to_string();
    house.script(
        "fail.sh",
        &format!("#!/bin/sh\necho began >> {failed}\nexit 255\n"),
    );
    house.hook(
        "failing",
        "name: failing\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: fail.sh\nremote: true\nretry: { attempts: 1 }\n",
    );
    let daemon = house.daemon().await;
    let sockets = house.config.control.socket.with_file_name("ssh");
    let (attempt, ()) = tokio::join!(run(&daemon, "silent", event("node1", 1)), async {
        until("the script began", || notes.exists()).await;
        kill(node.connection(&sockets), Signal::SIGKILL).expect("it lives");
    });
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 0 }, "{attempt:?}");
    assert_eq!((attempt.number, stdout(&attempt).as_str()), (1, "done\n"));
    assert_eq!(house.lines("silent").len(), 2);
    assert_eq!(node.logins(), 2, "the second try has a connection of its own");

    // The connection stands: 255 is the script's own.
    let attempt = run(&daemon, "failing", event("node1", 1)).await;
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 255 }, "{attempt:?}");
    assert_eq!(house.lines("failing").len(), 1);
    daemon.stop().await;
    let warnings: Vec<String> = house
        .lines("log")
        .into_iter()
        .filter(|line| line.contains("it is started once more"))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let line = &warnings[0];
    assert!(line.contains("WARN") && line.contains("host=\"node1\""), "{line}");
    assert!(line.contains("execution=") && line.contains(".silent"), "{line}");
}

/// Says far more than fits between it and hem before it notes that it spoke: by then hem has read some of it.
const SPEAKS: &str =
    "#!/bin/sh\necho began >> \"$NOTES\"\nhead -c 33554432 /dev/zero\n: > \"$NOTES.spoke\"\nexec sleep 60\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_that_has_said_something_is_not_started_once_more_when_its_connection_fails() {
    let (house, node) = house().await;
    house.script("speaks.sh", SPEAKS);
    let notes = house.path("speaking");
    house.hook(
        "speaking",
        &format!(
            "name: speaking\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: speaks.sh\nremote: true\n\
             retry: {{ attempts: 1 }}\nenv: {{ NOTES: {} }}\n",
            notes.display()
        ),
    );
    let daemon = house.daemon().await;
    let sockets = house.config.control.socket.with_file_name("ssh");
    let spoke = house.path("speaking.spoke");
    let (attempt, ()) = tokio::join!(run(&daemon, "speaking", event("node1", 1)), async {
        until("the script has spoken", || spoke.exists()).await;
        kill(node.connection(&sockets), Signal::SIGKILL).expect("it lives");
    });
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 255 });
    assert_eq!(attempt.number, 1);
    assert!(attempt.ended.as_ref().expect("an end").stdout.total > 0);
    assert_eq!(house.lines("speaking"), ["began"], "it ran once");
    assert_eq!(node.logins(), 1, "nobody logged in to start it again");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_share_no_connection_log_in_each_by_itself() {
    let (mut house, node) = house().await;
    house.config.ssh.share = false;
    house.script("say.sh", "#!/bin/sh\necho done\n").hook(
        "saying",
        "name: saying\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\nremote: true\n",
    );
    let daemon = house.daemon().await;
    for vm in 1..=2 {
        assert_eq!(
            stdout(&run(&daemon, "saying", event("node1", vm)).await),
            "done\n"
        );
    }
    assert_eq!(node.logins(), 2);
    assert!(!house.config.control.socket.with_file_name("ssh").exists());
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_away_or_has_another_key_is_a_failure_with_the_words_of_ssh() {
    let (house, mut node) = house().await;
    house.script("say.sh", "#!/bin/sh\necho done\n").hook(
        "saying",
        "name: saying\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: say.sh\nremote: true\n",
    );
    let daemon = house.daemon().await;
    let stderr = |attempt: &Attempt| {
        let ended = attempt.ended.as_ref().expect("an end");
        String::from_utf8_lossy(&ended.stderr.head).into_owned()
    };
    node.stop();
    let attempt = run(&daemon, "saying", event("node1", 1)).await;
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 255 });
    assert!(stderr(&attempt).contains("Connection refused"), "{attempt:?}");

    let known = node.folder.join("known_hosts");
    let other = fs::read_to_string(node.folder.join("user_key.pub")).expect("a key");
    let words: Vec<&str> = other.split(' ').take(2).collect();
    fs::write(&known, format!("[127.0.0.1]:{} {}\n", node.port, words.join(" "))).expect("a file");
    node.start();
    node.listens().await;
    let attempt = run(&daemon, "saying", event("node1", 2)).await;
    assert_eq!(outcome(&attempt), &Outcome::Exited { code: 255 });
    assert!(
        stderr(&attempt).contains("Host key verification failed"),
        "{attempt:?}"
    );

    // An API call on something without a host, or a VM that has none yet.
    let attempt = run(&daemon, "saying", event("", 3)).await;
    let Outcome::StartFailed(failure) = outcome(&attempt) else {
        panic!("{attempt:?}")
    };
    assert_eq!(failure.kind, StartFailureKind::BadArgument);
    assert!(failure.message.contains("names none"), "{failure}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_limit_ends_the_script_on_its_host_too() {
    let (house, _node) = house().await;
    let pid = house.path("pid").display().to_string();
    house
        .script("slow.sh", &format!("#!/bin/sh\necho $$ > {pid}.new\nmv {pid}.new {pid}\nexec sleep 600\n"))
        .hook(
            "slow",
            "name: slow\ntrigger: { state: { resource: VM, on: RUNNING } }\ncommand: slow.sh\nremote: true\ntimeout: 10s\n",
        );
    let daemon = house.daemon().await;
    let attempt = run(&daemon, "slow", event("node1", 1)).await;
    let is_over = match outcome(&attempt) {
        Outcome::TimedOut { .. } => true,
        // timeout(1) there was first.
        Outcome::Exited { code } => *code == 124,
        _ => false,
    };
    assert!(is_over, "{attempt:?}");
    let script: i32 = fs::read_to_string(&pid)
        .expect("it ran")
        .trim()
        .parse()
        .expect("a pid");
    until("the script has ended", || {
        kill(nix::unistd::Pid::from_raw(script), None).is_err()
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_recorded_run_on_another_host_is_told_to_oned_as_onehem_server_told_it() {
    let (mut house, _node) = house().await;
    let (events, replies) = (Port::reserve(), Port::reserve());
    house.serve(&events.endpoint(), &replies.endpoint());
    let recorded = recorded::passed()
        .into_iter()
        .find(|run| run.reply.contains("<REMOTE_HOST>rh6938"))
        .expect("a recorded run on another host");
    house.script("rem.sh", "#!/bin/sh\ncat > /dev/null\necho remote out\n");
    let script = house.config.scripts_dir.join("rem.sh").display().to_string();
    let id = recorded.message.split(' ').nth(1).expect("a hook's number");
    house.hook(
        "remote",
        &format!(
            "name: remote\nid: {id}\nprofile: onehem\ntrigger: {{ api: {{ call: any }} }}\ncommand: {script}\n\
             arguments: $TEMPLATE\narguments_stdin: true\nremote: true\n"
        ),
    );
    let mut peer = Peer::start("replier.py", &[&replies.endpoint()]);
    peer.expect("bound");
    peer.order("answer 1");
    let daemon = house.daemon().await;
    let reading = read(&recorded.event.key, &recorded.event.content);
    let event = Event {
        key: recorded.event.key.clone(),
        facts: reading.facts,
        payload: Payload::new(recorded.event.content.clone()),
        ..event("", 1)
    };
    run(&daemon, "remote", event).await;
    let document = recorded.reply.replace("/abs/rem.sh", &script);
    assert_eq!(peer.line(), format!("0 {id} {}", STANDARD.encode(document)));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_message_names_the_host_of_a_hook_that_runs_elsewhere_and_leaves_others_here() {
    let (mut house, node) = house().await;
    house.config.onehem_scripts_dir = house.config.scripts_dir.clone();
    let (events, replies) = (Port::reserve(), Port::reserve());
    house.serve(&events.endpoint(), &replies.endpoint());
    house.script("say.sh", "#!/bin/sh\necho \"$@\"\nexit 3\n");
    for (hook, id, remote) in [("there", 7, true), ("here", 8, false)] {
        house.hook(
            hook,
            &format!(
                "name: {hook}\nid: {id}\nprofile: onehem\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\n\
                 command: {}\narguments: a b\nremote: {remote}\n",
                house.config.scripts_dir.join("say.sh").display()
            ),
        );
    }
    let daemon = house.daemon().await;
    let store = daemon.handle().store().clone();
    let retry = async |hook_id: u64, host: &str| {
        let retry = Event {
            key: "RETRY".to_owned(),
            facts: Facts::Retry(RetryRequest {
                hook_id,
                arguments: "a b".to_owned(),
                remote_host: Some(host.to_owned()),
            }),
            payload: Payload::new(Vec::new().into()),
            ..event("", 1)
        };
        let accepted = daemon.handle().emit(retry, None, Actor::User { uid: 7 }).await;
        let key = accepted.expect("accepted").executions[0].clone();
        until("it settles", || {
            let execution = store.execution(&key).expect("readable");
            execution.expect("an execution").progress.state.is_settled()
        })
        .await;
        let attempt = store.attempts(&key).expect("readable").pop().expect("an attempt");
        assert_eq!(outcome(&attempt), &Outcome::Exited { code: 3 }, "{attempt:?}");
        assert_eq!(stdout(&attempt), "a b\n");
        attempt.process.expect("a process").argv
    };

    // Two names of the one host, each with a connection of its own.
    run(&daemon, "there", event("node1", 1)).await;
    assert_eq!(node.logins(), 1);
    let argv = retry(7, "rh6938").await.join(" ");
    assert!(argv.contains("ssh") && argv.contains("rh6938"), "{argv}");
    assert!(!argv.contains("node1"), "{argv}");
    assert_eq!(node.logins(), 2);

    run(&daemon, "here", event("node1", 1)).await;
    let argv = retry(8, "node1").await.join(" ");
    assert!(!argv.contains("node1"), "{argv}");
    assert_eq!(node.logins(), 2);
    drop(store);
    daemon.stop().await;
}
