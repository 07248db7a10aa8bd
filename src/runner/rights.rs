//! Who may write what is run. A script that others may change is theirs, as sshd holds of keys.

use std::fmt;
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// A program, or the folder it stands in, that others than its owner may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenToOthers {
    /// What they may write.
    pub path: PathBuf,
    /// Whether it is the folder.
    pub is_folder: bool,
    /// Its mode in words, `mode 0775`.
    pub mode: String,
}

impl OpenToOthers {
    /// Looks at a program and its folder. What cannot be looked at is for the start to fail on.
    pub fn find(program: &Path) -> Option<Self> {
        let folder = match program.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => Path::new("/"),
        };
        [(program, false), (folder, true)]
            .into_iter()
            .find_map(|(path, is_folder)| {
                let metadata = fs::metadata(path).ok()?;
                is_open_to_others(&metadata).then(|| Self {
                    path: path.to_owned(),
                    is_folder,
                    mode: mode(&metadata),
                })
            })
    }

    /// What to do about it.
    pub fn cure(&self) -> String {
        format!("run `chmod go-w {}`", self.path.display())
    }
}

impl fmt::Display for OpenToOthers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_folder { "the folder " } else { "" };
        write!(
            f,
            "others may write {what}`{}` ({})",
            self.path.display(),
            self.mode
        )
    }
}

/// Whether the group or everybody may write it. In a sticky folder (`/tmp`) others can add files, but not replace ours.
pub fn is_open_to_others(metadata: &Metadata) -> bool {
    let mode = metadata.permissions().mode();
    mode & 0o022 != 0 && !(metadata.is_dir() && mode & 0o1000 != 0)
}

/// The mode as people read it, `mode 0775`.
pub fn mode(metadata: &Metadata) -> String {
    format!("mode {:04o}", metadata.permissions().mode() & 0o7777)
}
