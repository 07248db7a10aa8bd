//! A small disk that only the processes of one mount namespace see.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;

use super::namespace::Namespace;

/// What to do where there is no namespace to be had.
const NEEDS: &str = "these tests need mount namespaces: run them as root (in a container with CAP_SYS_ADMIN, for Docker \
                     `--cap-add SYS_ADMIN --security-opt apparmor=unconfined`), or as a user who may make user namespaces \
                     (`sysctl kernel.unprivileged_userns_clone=1`)";

const TMPFS: &str = "mount -t tmpfs -o \"size=$2m,mode=0700\" tmpfs \"$1\" && echo mounted && exec cat";

/// A tmpfs in a mount namespace.
pub(crate) struct SmallDisk {
    namespace: Namespace,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many MiB on `folder`.
    pub(crate) fn mount(folder: &Path, mebibytes: u32) -> Self {
        Self {
            namespace: Namespace::mount(folder, TMPFS, &[&mebibytes.to_string()], NEEDS),
            folder: folder.to_owned(),
        }
    }

    /// What a command that is to see this disk begins with.
    pub(crate) fn prefix(&self) -> Vec<String> {
        self.namespace.prefix()
    }

    /// The disk as this process sees it.
    fn seen(&self) -> PathBuf {
        self.namespace.seen(&self.folder)
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
