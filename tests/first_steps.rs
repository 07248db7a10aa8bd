//! What the pages of the sources tell a reader to type brings a hook to run, from nothing, with the program of this build.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A longer run of a page's commands is one that hangs, as those do that wait for what does not come.
const SECONDS: &str = "240";

/// Waits until the first hook has ended, and shows what it did: the page says so of a moment later.
const ENDED: &str = "until hem --socket hem.sock log | grep -q succeeded; do sleep 0.1; done\nhem --socket hem.sock show last\n";

/// The blocks of shell commands in a part of a page, as they would be pasted.
fn commands(page: &str, heading: &str) -> String {
    let (_, part) = page
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("there is no part `{heading}`"));
    let part = part.split("\n## ").next().expect("a part");
    let blocks: Vec<&str> = part
        .split("```")
        .skip(1)
        .step_by(2)
        .filter_map(|block| block.strip_prefix("sh\n"))
        .collect();
    assert!(!blocks.is_empty(), "there is nothing to type in `{heading}`");
    blocks.concat()
}

/// Types what the first part of a page and these further ones say, on other ports than these, each command as soon as the one before
/// it has ended. Gives what was written.
fn follow(page: &str, further: &[&str], ports: &[&str]) -> String {
    let file = Path::new(ROOT).join("docs").join(page);
    let page = std::fs::read_to_string(file).expect("a page");
    let mut typed = commands(&page, "From nothing to a running hook") + ENDED;
    for heading in further {
        typed += &commands(&page, heading);
    }
    let free: Vec<TcpListener> = ports
        .iter()
        .map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"))
        .collect();
    for (port, free) in ports.iter().zip(&free) {
        let written = format!("127.0.0.1:{port}");
        assert!(typed.contains(&written), "{written} is named");
        let address = free.local_addr().expect("an address");
        typed = typed
            .replace(&written, &address.to_string())
            .replace(&format!("--port {port} "), &format!("--port {} ", address.port()));
    }
    drop(free);
    let python = std::env::var("HEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    // What the reader installs is what `make test-deps` has installed.
    let typed: String = typed
        .lines()
        .filter(|line| {
            ["python3 -m venv", "venv/bin/pip install", "sudo apt-get install"]
                .iter()
                .all(|installs| !line.starts_with(installs))
        })
        .map(|line| line.replace("../tests/", &format!("{ROOT}/tests/")))
        .map(|line| {
            line.replace("venv/bin/python", &python).replace(
                "venv/bin/openstack",
                &format!("{python} -m openstackclient.shell"),
            ) + "\n"
        })
        .collect();
    let folder = tempfile::tempdir().expect("a folder");
    let bin = Path::new(env!("CARGO_BIN_EXE_hem")).parent().expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let child = Command::new("timeout")
        .args([SECONDS, "bash", "-c"])
        .arg(format!("umask 022\ntrap 'kill $(jobs -p); wait' EXIT\n{typed}"))
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("HOME", folder.path())
        .env_remove("HEM_CONFIG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("bash and timeout, which every Debian has");
    let output = child.wait_with_output().expect("its end");
    let (said, logged) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    for complaint in [
        "command not found",
        "No such file",
        "Connection refused",
        "No module named",
    ] {
        assert!(!logged.contains(complaint), "{said}\n{logged}");
    }
    assert_ne!(output.status.code(), Some(124), "it hangs: {said}\n{logged}");
    said
}

#[test]
fn webhooks_come_to_a_running_hook() {
    let said = follow("webhooks.md", &[], &["8080"]);
    assert!(said.contains("\"status\":\"accepted\""), "{said}");
    assert!(said.contains("deploying site at 6113728f"), "{said}");
}

#[test]
fn callbacks_of_esc_come_to_a_running_hook() {
    let said = follow("esc.md", &[], &["8081"]);
    assert!(said.contains("\"status\":\"accepted\""), "{said}");
    assert!(said.contains("dep1 is open for t1"), "{said}");
}

#[test]
fn notifications_of_esc_come_to_a_running_hook() {
    let said = follow("esc.md", &["The same over NETCONF"], &["8081", "2830"]);
    assert!(
        said.contains("dep1 is open for t1: Service group started successfully"),
        "{said}"
    );
}

/// Also who may use it, by a file of users and by Keystone, the command `openstack`, and a second hem that reads the first one.
#[test]
fn notifications_of_masakari_come_to_a_running_hook_and_to_another_hem() {
    let further = [
        "Who may use it",
        "The clients that were tried",
        "Reading an existing Masakari",
    ];
    let said = follow("masakari.md", &further, &["15868", "15869", "5000"]);
    assert!(
        said.contains("starting 96ab1c42-668c-4f2d-8689-afa3301d4ee9 again on node1"),
        "{said}"
    );
    let answers: Vec<&str> = said
        .split("HTTP/1.1 ")
        .skip(1)
        .filter_map(|answer| answer.split(' ').next())
        .collect();
    assert_eq!(
        answers,
        ["202", "401", "200", "401", "200"],
        "sent; without and with a password; without and with a token: {said}"
    );
    assert!(said.contains("nova-compute"), "what `openstack` made: {said}");
    let (_, read) = said.rsplit_once("\nEvent ").expect("what the other one shows");
    assert!(
        read.contains("│ notification "),
        "what the other one read: {said}"
    );
}

#[test]
fn records_of_ncmp_come_to_a_running_hook() {
    let said = follow("ncmp.md", &[], &["9092"]);
    assert!(
        said.contains("configuring cmhandle-001, which was ADVISED"),
        "{said}"
    );
}
