//! A real NETCONF server: netconfd with a module and a plug-in of our own, behind a real sshd; and what is between it and hem.

#![allow(
    dead_code,
    unused_imports,
    clippy::expect_used,
    clippy::panic,
    reason = "each test program uses its own part; a test that cannot go on says where"
)]

mod door;
mod link;
mod operator;
mod scripted;
pub(crate) mod subscriber;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::UNIX_EPOCH;

pub(crate) use door::{Account, Door};
pub(crate) use link::Link;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
pub(crate) use operator::{Emit, Operator};
pub(crate) use scripted::{Manners, Scripted, Subscription, framed, notification, stream};

use crate::daemon::{House, until};

/// The only stream that netconfd has.
pub(crate) const STREAM: &str = "NETCONF";

/// The present second since 1970.
fn second() -> u64 {
    let since = UNIX_EPOCH.elapsed().expect("a time after 1970");
    since.as_secs()
}

/// netconfd as a process of its own, reached through a [`Door`].
pub(crate) struct Netconfd {
    pub(crate) door: Door,
    events: u32,
    child: Option<Child>,
    /// The second in which it served at last.
    began: u64,
}

impl Netconfd {
    /// Starts it with a replay log for so many notifications, and waits until it serves.
    pub(crate) async fn start(house: &House, events: u32) -> Self {
        Self::start_with(house, events, "").await
    }

    /// Starts it behind an sshd with further lines of configuration.
    pub(crate) async fn start_with(house: &House, events: u32, sshd: &str) -> Self {
        let door = Door::open(house, sshd, |folder, port| {
            // netconfd takes a connection only under the number of the port by which sshd was reached.
            format!(
                "/usr/sbin/netconf-subsystem --ncxserver-sockname={port}@{}/ncx.sock",
                folder.display()
            )
        });
        build_plug_in(&door.folder);
        let mut netconfd = Self {
            door,
            events,
            child: None,
            began: 0,
        };
        netconfd.start_again().await;
        netconfd
    }

    /// The settings by which hem listens to it through the link, and further ones.
    pub(crate) fn settings(&self, link: &Link, more: &str) -> String {
        format!("{}, stream: {STREAM}{more}", self.door.settings(link.port))
    }

    /// Starts it anew: what it knew is lost, its replay log too.
    pub(crate) async fn start_again(&mut self) {
        self.kill();
        // It says in whole seconds when its log began, by which alone its lives can be told apart.
        until("another second has begun", || second() > self.began).await;
        let folder = &self.door.folder;
        let socket = folder.join("ncx.sock");
        let _ = fs::remove_file(&socket);
        // Of its own: sessions are numbered from one again.
        let log = fs::File::create(self.log_file()).expect("a log");
        let errors = log.try_clone().expect("a log");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netconf");
        let child = Command::new("/usr/sbin/netconfd")
            .args(["--module=esc", "--no-startup", "--target=running"])
            // Without a limit to bursts; else it sends ten notifications a second.
            .args(["--max-burst=0", "--access-control=off", "--log-level=info"])
            .arg(format!("--superuser={}", self.door.user))
            .arg(format!("--port={}", self.door.sshd.port))
            .arg(format!("--eventlog-size={}", self.events))
            .arg(format!("--modpath={}:/usr/share/yuma/modules", source.display()))
            .arg(format!("--runpath={}", folder.display()))
            .arg(format!("--ncxserver-sockname={}", socket.display()))
            .env("LD_LIBRARY_PATH", folder)
            .env("HOME", folder)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("netconfd: install netconfd");
        self.child = Some(child);
        until("netconfd serves", || UnixStream::connect(&socket).is_ok()).await;
        allow_everybody(&socket);
        self.began = second();
        self.door.sshd.listens().await;
    }

    /// Ends it by SIGKILL, and with it all its sessions.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// It stops, or goes on: SIGSTOP, SIGCONT.
    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
        kill(pid, signal).expect("it lives");
    }

    /// What it has said since it was started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.door.folder.join("netconfd.log")
    }
}

impl Drop for Netconfd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whoever sshd lets in may connect to the socket, under whichever account.
fn allow_everybody(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("a mode");
}

/// Builds `esc.c` as the library that netconfd looks for.
fn build_plug_in(folder: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netconf/esc.c");
    let built = Command::new("cc")
        .args(["-O1", "-shared", "-fPIC", "-I/usr/include/libxml2"])
        .args(["agt", "ncx", "platform"].map(|part| format!("-I/usr/include/yuma/{part}")))
        .arg("-o")
        .arg(folder.join("libesc.so"))
        .arg(source)
        .status()
        .expect("a C compiler, `cc`: install gcc");
    assert!(
        built.success(),
        "esc.c does not compile: install libyuma-dev and libxml2-dev"
    );
}
