//! A real sshd on loopback, and keys that are thrown away.

#![allow(
    dead_code,
    clippy::expect_used,
    reason = "each test program uses its own part; a test that cannot go on shall fail"
)]

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::daemon::until;

/// Makes a pair of keys by these words of `ssh-keygen`: the file, and the file with `.pub` behind it.
pub(crate) fn make_key(file: &Path, kind: &[&str]) {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-f"])
        .arg(file)
        .args(kind)
        .stdin(Stdio::null())
        .status();
    assert!(
        made.is_ok_and(|status| status.success()),
        "ssh-keygen failed: install openssh-client"
    );
}

/// The public part of a pair as it stands in `known_hosts` behind the names: the kind and the key.
pub(crate) fn public_key(file: &Path) -> String {
    let text = fs::read_to_string(file.with_extension("pub")).expect("a key");
    let words: Vec<&str> = text.split(' ').take(2).collect();
    words.join(" ").trim_end().to_owned()
}

/// A port that nobody listens at.
pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    free.local_addr().expect("an address").port()
}

/// The server: its configuration and its log are in a folder of the test.
pub(crate) struct Sshd {
    folder: PathBuf,
    pub(crate) port: u16,
    child: Option<Child>,
}

impl Sshd {
    /// Starts one at a free port with these lines of configuration, and the keys `host_key` and `authorized_keys` of the folder
    /// unless the lines name others.
    pub(crate) fn start(folder: &Path, port: u16, lines: &str) -> Self {
        let at = folder.display();
        let mut config = format!(
            "{lines}ListenAddress 127.0.0.1\nPort {port}\nAuthorizedKeysFile {at}/authorized_keys\nPidFile none\nStrictModes no\n\
             UsePAM no\nLogLevel VERBOSE\nMaxStartups 200\nPermitRootLogin yes\n"
        );
        if !lines.contains("HostKey ") {
            config += &format!("HostKey {at}/host_key\n");
        }
        if !lines.contains("PasswordAuthentication ") {
            config += "PasswordAuthentication no\n";
        }
        fs::write(folder.join("sshd_config"), config).expect("a file");
        let mut sshd = Self {
            folder: folder.to_owned(),
            port,
            child: None,
        };
        sshd.start_again();
        sshd
    }

    /// Starts it on its configuration as that is now.
    pub(crate) fn start_again(&mut self) {
        self.stop();
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
        let child = Command::new(program)
            .args(["-D", "-e", "-f"])
            .arg(self.folder.join("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("sshd starts");
        self.child = Some(child);
    }

    pub(crate) async fn listens(&self) {
        until("sshd listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        })
        .await;
    }

    /// Nobody can connect any more; who is connected stays so.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.join("sshd.log")).unwrap_or_default()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}
