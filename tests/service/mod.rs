//! The real binary: as a daemon on a house's folders, and as the command line that asks it.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use hem::control::api::StatusView;
use hem::control::client::Client;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::daemon::{House, LIMIT};

/// What a run of the program gave.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `hem` against the house's daemon.
pub(crate) async fn hem(house: &House, arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
    command
        .env("HEM_SOCKET", &house.config.control.socket)
        .env_remove("HEM_CONFIG")
        .args(arguments);
    said(command).await
}

/// Runs a command to its end.
pub(crate) async fn said(command: Command) -> Said {
    let output: Output = tokio::time::timeout(
        LIMIT,
        tokio::task::spawn_blocking(move || assert_cmd::Command::from_std(command).output()),
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

/// Writes `hem.yaml`, which says of the house's configuration where everything is, and `more`.
pub(crate) fn configure(house: &House, more: &str) -> PathBuf {
    let config = &house.config;
    let mut text = format!(
        "state_dir: {}\nhooks_dir: {}\nscripts_dir: {}\nonehem_scripts_dir: {}\ncontrol: {{ socket: {} }}\n\
         permissions: lax\nsources:\n",
        config.state_dir.display(),
        config.hooks_dir.display(),
        config.scripts_dir.display(),
        config.onehem_scripts_dir.display(),
        config.control.socket.display()
    );
    for (name, source) in config.opennebula_sources() {
        text += &format!(
            "  {name}: {{ type: opennebula, endpoint: \"{}\", replies: \"{}\" }}\n",
            source.endpoint, source.replies
        );
    }
    if config.sources.is_empty() {
        text.truncate(text.len() - 1);
        text += " {}\n";
    }
    text += more;
    let file = house.path("hem.yaml");
    std::fs::write(&file, text).expect("a file");
    file
}

/// `hem run` in a process of its own; killed when dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
    socket: PathBuf,
}

impl Service {
    /// Starts it on the `hem.yaml` of the house.
    pub(crate) fn start(house: &House) -> Self {
        Self::start_by(house, &[], &[])
    }

    /// Starts it by a command that takes another one as its arguments, and with further arguments.
    pub(crate) fn start_by(house: &House, prefix: &[String], arguments: &[&str]) -> Self {
        let file = house.path("daemon.log");
        let log = File::options()
            .create(true)
            .append(true)
            .open(&file)
            .expect("a log");
        let config = house.path("hem.yaml");
        let config = config.to_str().expect("a path");
        let own = [env!("CARGO_BIN_EXE_hem"), "--config", config, "run"];
        let words: Vec<&str> = prefix
            .iter()
            .map(String::as_str)
            .chain(own)
            .chain(arguments.iter().copied())
            .collect();
        let child = Command::new(words[0])
            .args(&words[1..])
            .env_remove("HEM_LOG")
            .env_remove("HEM_SOCKET")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}`: {error}", words[0]));
        Self {
            child,
            log: file,
            socket: house.config.control.socket.clone(),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"));
        kill(pid, signal).expect("the daemon lives");
    }

    /// All that daemons on this house have said so far.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it does; none while it does not answer.
    pub(crate) async fn status(&self) -> Option<StatusView> {
        let client = Client::connect(&self.socket).await.ok()?;
        client.status().await.ok()
    }

    /// Waits until it answers with a status that holds.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&StatusView) -> bool) -> StatusView {
        let began = Instant::now();
        loop {
            let status = tokio::time::timeout(LIMIT, self.status()).await.ok().flatten();
            if let Some(status) = status.clone()
                && holds(&status)
            {
                return status;
            }
            if let Some(ended) = self.child.try_wait().expect("a child") {
                panic!("{what}: the daemon ended ({ended})\n{}", self.log());
            }
            assert!(
                began.elapsed() < LIMIT,
                "waited in vain: {what}; its status: {status:?}\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until nothing is queued, running or waiting for a retry, and so many executions succeeded.
    pub(crate) async fn until_succeeded(&mut self, executions: u64) -> StatusView {
        self.until(&format!("{executions} executions succeeded"), |status| {
            unsettled(status) == 0 && in_state(status, "succeeded") >= executions
        })
        .await
    }

    /// Waits until so many executions succeeded, whatever else waits.
    pub(crate) async fn until_succeeded_at_least(&mut self, executions: u64) -> StatusView {
        self.until(&format!("{executions} executions succeeded"), |status| {
            in_state(status, "succeeded") >= executions
        })
        .await
    }

    /// Waits until the log says so.
    pub(crate) async fn until_logged(&self, text: &str) {
        crate::daemon::until(&format!("the log says `{text}`"), || self.log().contains(text)).await;
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(began.elapsed() < LIMIT, "it does not end\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks it to stop in order, and waits for that.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let status = self.ended().await;
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Ends it by SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a signal");
        self.child.wait().expect("its end");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kept executions in a state.
pub(crate) fn in_state(status: &StatusView, state: &str) -> u64 {
    status.executions.get(state).copied().unwrap_or_default()
}

/// Executions that have not reached their end.
pub(crate) fn unsettled(status: &StatusView) -> u64 {
    ["queued", "running", "retrying"]
        .iter()
        .map(|state| in_state(status, state))
        .sum()
}
