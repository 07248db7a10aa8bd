//! A host that is reached by ssh: a real sshd on loopback, with a key that is thrown away.

#![allow(
    dead_code,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::unistd::Pid;

use crate::daemon::{House, until};

/// A machine called `node1`: an sshd of our own, and the client's configuration that leads there.
pub(crate) struct Node {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    sshd: Option<Child>,
}

impl Node {
    pub(crate) fn new(house: &House) -> Self {
        let folder = house.path("node");
        fs::create_dir(&folder).expect("a folder");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).expect("a mode");
        for key in ["host_key", "user_key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(folder.join(key))
                .status();
            assert!(
                made.is_ok_and(|status| status.success()),
                "ssh-keygen failed: install openssh-client"
            );
        }
        fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).expect("a copy");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = free.local_addr().expect("an address").port();
        let host_key = fs::read_to_string(folder.join("host_key.pub")).expect("a key");
        let words: Vec<&str> = host_key.split(' ').take(2).collect();
        fs::write(
            folder.join("known_hosts"),
            format!("[127.0.0.1]:{port} {}\n", words.join(" ")),
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
        fs::write(
            folder.join("sshd_config"),
            format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host_key\nAuthorizedKeysFile {at}/authorized_keys\n\
                 PidFile {at}/sshd.pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n\
                 LogLevel VERBOSE\n"
            ),
        )
        .expect("a file");
        drop(free);
        let mut node = Self {
            folder,
            port,
            sshd: None,
        };
        node.start();
        node
    }

    pub(crate) fn start(&mut self) {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("sshd: install openssh-server");
        if nix::unistd::Uid::current().is_root() {
            // Where sshd, as root, keeps the process that talks to strangers.
            fs::create_dir_all("/run/sshd").expect("a folder");
        }
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("sshd.log"))
            .expect("a log");
        let sshd = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        self.sshd = Some(sshd);
    }

    pub(crate) async fn listens(&self) {
        until("sshd listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        })
        .await;
    }

    /// Nobody can connect any more.
    pub(crate) fn stop(&mut self) {
        if let Some(mut sshd) = self.sshd.take() {
            let _ = sshd.kill();
            let _ = sshd.wait();
        }
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
        fs::read_to_string(self.folder.join("sshd.log"))
            .unwrap_or_default()
            .matches("Accepted publickey")
            .count()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop();
    }
}
