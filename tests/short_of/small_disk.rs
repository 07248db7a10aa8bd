//! A small disk that only the processes of one mount namespace see.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::statvfs::statvfs;

/// What to do where there is no namespace to be had.
const WAY_OUT: &str = "these tests need mount namespaces: run them as root (in a container with CAP_SYS_ADMIN, for Docker \
                       `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`), or as a user who may make user namespaces \
                       (`sysctl kernel.unprivileged_userns_clone=1`); `unshare`, `nsenter` and `mount` are in Debian's \
                       packages util-linux and mount";

/// A tmpfs in a mount namespace, and the process that keeps the namespace.
pub(crate) struct SmallDisk {
    keeper: Child,
    folder: PathBuf,
    in_user_namespace: bool,
}

impl SmallDisk {
    /// Mounts a disk of so many MiB on `folder`.
    pub(crate) fn mount(folder: &Path, mebibytes: u32) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let in_user_namespace = !nix::unistd::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if in_user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        // It lives until its standard input is closed, and so until this does.
        let script = "mount -t tmpfs -o \"size=$2m,mode=0700\" tmpfs \"$1\" && echo mounted && exec cat";
        let mut keeper = command
            .args(["sh", "-c", script, "sh"])
            .arg(folder)
            .arg(mebibytes.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `unshare`: {error}; {WAY_OUT}"));
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe"))
            .read_line(&mut said)
            .expect("a line");
        assert_eq!(said, "mounted\n", "no disk of our own; {WAY_OUT}");
        Self {
            keeper,
            folder: folder.to_owned(),
            in_user_namespace,
        }
    }

    /// What a command that is to see this disk begins with.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let target = self.keeper.id().to_string();
        let mut words = vec!["nsenter", "--target", &target, "--mount"];
        if self.in_user_namespace {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push("--");
        words.into_iter().map(str::to_owned).collect()
    }

    /// The disk as this process sees it.
    fn seen(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(self.folder.strip_prefix("/").expect("an absolute path"))
    }

    pub(crate) fn free(&self) -> u64 {
        let disk = statvfs(&self.seen()).expect("a disk");
        disk.blocks_available() * disk.fragment_size()
    }

    /// Fills the disk until no more than so many bytes are free.
    pub(crate) fn fill(&self, leave: u64) {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.seen().join("ballast"))
            .expect("a file");
        let page = [0; 4096];
        while self.free() > leave {
            if let Err(error) = ballast.write_all(&page) {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                return;
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    pub(crate) fn clear(&self) {
        fs::remove_file(self.seen().join("ballast")).expect("the ballast");
    }

    /// Makes the disk read-only, or writable again. Works only while nobody has a file open for writing.
    pub(crate) fn remount(&self, how: &str) {
        let prefix = self.prefix();
        let status = Command::new(&prefix[0])
            .args(&prefix[1..])
            .args(["mount", "-o", &format!("remount,{how}")])
            .arg(&self.folder)
            .status()
            .expect("nsenter");
        assert!(status.success(), "remount,{how}");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
