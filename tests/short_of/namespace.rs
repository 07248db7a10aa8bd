//! A file system that only the processes of one mount namespace see.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The process that keeps the namespace, and the file system in it. Dropped, both are gone.
pub(crate) struct Namespace {
    keeper: Child,
    in_user_namespace: bool,
}

impl Namespace {
    /// Has a shell script mount something on `folder`, which is its `$1`; `more` are its further arguments. The script is to say
    /// `mounted` and to live until its standard input is closed. `needs` is what to do where that cannot be had.
    pub(crate) fn mount(folder: &Path, script: &str, more: &[&str], needs: &str) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let in_user_namespace = !nix::unistd::geteuid().is_root();
        let mut command = Command::new("unshare");
        command.arg("--mount");
        if in_user_namespace {
            command.args(["--user", "--map-root-user"]);
        }
        let mut keeper = command
            .args([
                "sh".as_ref(),
                "-c".as_ref(),
                script.as_ref(),
                "sh".as_ref(),
                folder.as_os_str(),
            ])
            .args(more.iter().map(OsStr::new))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `unshare`: {error}; {needs}"));
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().expect("a pipe"))
            .read_line(&mut said)
            .expect("a line");
        assert_eq!(
            said, "mounted\n",
            "no file system of our own; {needs}; `unshare`, `nsenter` and `mount` are in Debian's packages util-linux and mount"
        );
        Self {
            keeper,
            in_user_namespace,
        }
    }

    /// What a command that is to see the file system begins with.
    pub(crate) fn prefix(&self) -> Vec<String> {
        let target = self.keeper.id().to_string();
        let mut words = vec!["nsenter", "--target", &target, "--mount"];
        if self.in_user_namespace {
            words.extend(["--user", "--preserve-credentials"]);
        }
        words.push("--");
        words.into_iter().map(str::to_owned).collect()
    }

    /// A folder of it as this process sees it.
    pub(crate) fn seen(&self, folder: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.keeper.id()));
        root.join(folder.strip_prefix("/").expect("an absolute path"))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}
