//! A host that is reached by ssh: a real sshd on loopback, with a key that is thrown away.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::Pid;

use crate::daemon::House;
use crate::sshd::{Sshd, free_port, make_key, public_key};

/// A machine called `node1`: an sshd of our own, and the client's configuration that leads there.
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    sshd: Sshd,
}

impl Node {
    pub(crate) fn new(house: &House) -> Self {
        let folder = house.path("node");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a mode");
        for key in ["host_key", "user_key"] {
            make_key(&folder.join(key), &["-t", "ed25519", "-N", ""]);
        }
        fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).expect("a copy");
        let port = free_port();
        fs::write(
            folder.join("known_hosts"),
            format!("[127.0.0.1]:{port} {}\n", public_key(&folder.join("host_key"))),
        )
        .expect("a file");
        let at = folder.display();
        fs::write(
            folder.join("ssh_config"),
            format!(
                "Host node1 rh6938\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {at}/user_key\n  \
                 IdentitiesOnly yes\n  UserKnownHostsFile {at}/known_hosts\n  StrictHostKeyChecking yes\n"
            ),
        )
        .expect("a file");
        let sshd = Sshd::start(&folder, port, "");
        Self { folder, port, sshd }
    }

    pub(crate) fn start(&mut self) {
        self.sshd.start_again();
    }

    pub(crate) async fn listens(&self) {
        self.sshd.listens().await;
    }

    /// Nobody can connect any more.
    pub(crate) fn stop(&mut self) {
        self.sshd.stop();
    }

    /// The process behind the only shared connection whose socket is in this folder.
    pub(crate) fn connection(&self, sockets: &Path) -> Pid {
        let mut entries = fs::read_dir(sockets).expect("a folder");
        let socket = entries.next().expect("a connection").expect("an entry").path();
        let asked = Command::new("ssh")
            .arg("-F")
            .arg(self.folder.join("ssh_config"))
            .arg("-o")
            .arg(format!("ControlPath={}", socket.display()))
            .args(["-O", "check", "node1"])
            .output()
            .expect("ssh: install openssh-client");
        // "Master running (pid=NUMBER)"
        let said = String::from_utf8_lossy(&asked.stderr);
        let pid = said
            .split_once("pid=")
            .and_then(|(_, rest)| rest.split(')').next()?.parse().ok());
        Pid::from_raw(pid.unwrap_or_else(|| panic!("no connection stands: {said}")))
    }

    /// How many connections were made to it.
    pub(crate) fn logins(&self) -> usize {
        self.sshd.log().matches("Accepted publickey").count()
    }
}
