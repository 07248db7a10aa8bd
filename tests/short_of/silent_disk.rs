//! A file system that never answers, which only the processes of one mount namespace see.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What to do where there is no such file system to be had.
const WAY_OUT: &str = "this test needs a mount namespace and the kernel's FUSE: run it as root (in a container with \
                       CAP_SYS_ADMIN and /dev/fuse, for Docker `--cap-add SYS_ADMIN --device /dev/fuse`), or as a user who \
                       may make user namespaces and open /dev/fuse; `unshare`, `nsenter` and `mount` are in Debian's \
                       packages util-linux and mount";

/// Holds the kernel's end of a FUSE mount and answers nothing, as a server that is gone does: whoever looks at a path below it
/// waits. It lives until its standard input is closed, and the waiting with it.
const SERVER: &str = "exec 3<>/dev/fuse && \
    mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 silent \"$1\" && echo mounted && exec cat";

/// The file system, and the process that keeps it and its namespace.
pub(crate) struct SilentDisk {
    keeper: Child,
    in_user_namespace: bool,
}

impl SilentDisk {
    /// Mounts it on `folder`.
    pub(crate) fn mount(folder: &Path) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let in_user_namespace = !nix::unistd::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if in_user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        let mut keeper = command
            .args(["sh", "-c", SERVER, "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `unshare`: {error}; {WAY_OUT}"));
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe"))
            .read_line(&mut said)
            .expect("a line");
        assert_eq!(said, "mounted\n", "no file system of our own; {WAY_OUT}");
        Self {
            keeper,
            in_user_namespace,
        }
    }

    /// What a command that is to see it begins with.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let target = self.keeper.id().to_string();
        let mut words = vec!["nsenter", "--target", &target, "--mount"];
        if self.in_user_namespace {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push("--");
        words.into_iter().map(str::to_owned).collect()
    }
}

impl Drop for SilentDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
