//! The sshd before a NETCONF server, who may come in, and how hem is told to.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::{Uid, User, getuid};

use crate::daemon::House;
use crate::sshd::{Sshd, free_port, make_key, public_key};

/// An sshd with the subsystem `netconf`.
pub(crate) struct Door {
    pub(crate) folder: PathBuf,
    pub(crate) sshd: Sshd,
    /// Who the tests run as: let in by `user_key`.
    pub(crate) user: String,
}

impl Door {
    /// Opens it in the folder `netconf` of the house. The command of the subsystem is made of the folder and the port.
    pub(crate) fn open(house: &House, lines: &str, subsystem: impl Fn(&Path, u16) -> String) -> Self {
        let folder = house.path("netconf");
        fs::create_dir_all(&folder).expect("a folder");
        // Other accounts look for their keys, and for the server's socket, in it.
        for folder in [house.folder.path(), &folder] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).expect("a mode");
        }
        for key in ["host_key", "user_key"] {
            make_key(&folder.join(key), &["-t", "ed25519", "-N", ""]);
        }
        fs::copy(folder.join("user_key.pub"), folder.join("authorized_keys")).expect("a copy");
        let port = free_port();
        let lines = format!("{lines}Subsystem netconf {}\n", subsystem(&folder, port));
        let sshd = Sshd::start(&folder, port, &lines);
        let user = User::from_uid(getuid())
            .expect("readable")
            .expect("an account of this process's user");
        Self {
            folder,
            sshd,
            user: user.name,
        }
    }

    /// Another host key from now on; connections that stand stay.
    pub(crate) fn change_host_key(&mut self) {
        for file in ["host_key", "host_key.pub"] {
            fs::remove_file(self.folder.join(file)).expect("it was there");
        }
        make_key(&self.folder.join("host_key"), &["-t", "ed25519", "-N", ""]);
        self.sshd.start_again();
    }

    /// The line of `known_hosts` by which the host key that it has now is known at this port.
    pub(crate) fn known_host(&self, port: u16) -> String {
        format!("[127.0.0.1]:{port} {}", public_key(&self.folder.join("host_key")))
    }

    /// Writes `known_hosts` with its present host key for this port.
    pub(crate) fn is_known(&self, port: u16) {
        let line = self.known_host(port) + "\n";
        fs::write(self.folder.join("known_hosts"), line).expect("a file");
    }

    /// The settings of hem by which it comes in with the key through this port of this machine.
    pub(crate) fn settings(&self, port: u16) -> String {
        self.is_known(port);
        format!(
            "endpoint: \"127.0.0.1:{port}\", user: {}, key: {at}/user_key, known_hosts: [{at}/known_hosts]",
            self.user,
            at = self.folder.display()
        )
    }

    /// The fingerprint of a key as OpenSSH writes it.
    pub(crate) fn fingerprint(&self, key: &str) -> String {
        fingerprint(&self.folder.join(key))
    }
}

/// The fingerprint of a key as OpenSSH writes it: `SHA256:` and 43 letters.
fn fingerprint(key: &Path) -> String {
    let mut list = Command::new("ssh-keygen");
    list.arg("-lf").arg(key.with_extension("pub"));
    let said = assert_cmd::Command::from_std(list).output().expect("ssh-keygen");
    let said = String::from_utf8(said.stdout).expect("text");
    said.split(' ').nth(1).expect("a fingerprint").to_owned()
}

/// An account of this machine that is thrown away, with a password.
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) password: String,
}

impl Account {
    /// Makes one, which takes root.
    pub(crate) fn make() -> Self {
        assert!(
            Uid::current().is_root(),
            "sshd tells a wrong password from a right one only as root, and an account to try it with takes root: run this test as root"
        );
        let account = Self {
            name: format!("hem-test-{}", std::process::id()),
            password: "four words of no meaning".to_owned(),
        };
        let add = "for i in 1 2 3 4 5 6 7 8 9 10; do\n\
                   useradd --no-create-home --home-dir / --shell /bin/sh \"$0\" && break || sleep 1\ndone\n\
                   echo \"$0:$1\" | chpasswd";
        let made = Command::new("sh")
            .args(["-c", add, &account.name, &account.password])
            .stdin(Stdio::null())
            .status()
            .expect("a shell");
        assert!(
            made.success(),
            "useradd and chpasswd, which makes an account, failed: install passwd"
        );
        account
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("userdel")
            .arg(&self.name)
            .stdin(Stdio::null())
            .status();
    }
}
