//! Whether a file was replaced or written to since it was last looked at.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// By what a file is told from what it was. A replaced file has another inode, a written one another time of change. Many kernels' clocks
/// for these times tick every few milliseconds alone, so who may read a file is compared besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileStamp {
    inode: u64,
    size: u64,
    mode: u32,
    owner: u32,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileStamp {
    /// That of the file at `path` as it is now.
    ///
    /// # Errors
    /// When there is no such file, or it may not be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self {
            inode: file.ino(),
            size: file.size(),
            mode: file.mode(),
            owner: file.uid(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_was_written_to_or_replaced_has_another_stamp() {
        let folder = tempfile::tempdir().expect("a folder");
        let (file, other) = (folder.path().join("file"), folder.path().join("other"));
        std::fs::write(&file, "one").expect("a file");
        let first = FileStamp::of(&file).expect("a stamp");
        assert_eq!(FileStamp::of(&file).expect("a stamp"), first);

        std::fs::write(&file, "longer").expect("a file");
        let second = FileStamp::of(&file).expect("a stamp");
        assert_ne!(second, first);

        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        let third = FileStamp::of(&file).expect("a stamp");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("its mode");
        let fourth = FileStamp::of(&file).expect("a stamp");
        assert_ne!(third.mode, fourth.mode, "whatever the times say");
        assert_ne!(third, fourth);

        std::fs::write(&other, "larger").expect("a file");
        std::fs::rename(&other, &file).expect("both are in one folder");
        assert_ne!(FileStamp::of(&file).expect("a stamp"), fourth);

        std::fs::remove_file(&file).expect("it was there");
        assert!(FileStamp::of(&file).is_err());
    }
}
