//! Says exactly which file was run: path, SHA-256, size.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

/// Larger files are not fingerprinted: reading one would delay the start.
const LARGEST: u64 = 256 << 20;

/// More files than any folder of scripts has; the cache starts anew beyond it.
const CACHED_FILES: usize = 4096;

/// What a file was when it was run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFingerprint {
    /// Its path.
    pub path: PathBuf,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// Its size in bytes.
    pub size: u64,
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Fingerprints of files, read once and again only after a change.
#[derive(Debug, Default)]
pub struct Fingerprints {
    /// Locked only to look up and to note: reading a file may take long.
    known: Mutex<HashMap<PathBuf, (Identity, [u8; 32])>>,
}

impl Fingerprints {
    /// The fingerprint of `program`, and of the script where the program is an interpreter
    /// (`/usr/bin/python3 script.py`). Relative scripts are looked for in `directory`. A file that cannot be read is left
    /// out: it may be executable and not readable.
    pub fn of_command(
        &self,
        program: &Path,
        arguments: &[OsString],
        directory: Option<&Path>,
    ) -> Vec<FileFingerprint> {
        let script = is_interpreter(program)
            .then(|| script_of(arguments, directory))
            .flatten();
        std::iter::once(program.to_owned())
            .chain(script)
            .filter_map(|path| self.of_file(&path).ok())
            .collect()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<PathBuf, (Identity, [u8; 32])>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of_file(&self, path: &Path) -> io::Result<FileFingerprint> {
        let metadata = fs::metadata(path)?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let identity = Identity::of(&metadata);
        if let Some((known, sha256)) = self.known().get(path)
            && *known == identity
        {
            return Ok(FileFingerprint {
                path: path.to_owned(),
                sha256: *sha256,
                size: identity.size,
            });
        }
        let mut file = File::open(path)?;
        let before = Identity::of(&file.metadata()?);
        let (sha256, size) = hash(&mut file)?;
        if Identity::of(&file.metadata()?) == before {
            let mut known = self.known();
            if known.len() >= CACHED_FILES {
                known.clear();
            }
            known.insert(path.to_owned(), (before, sha256));
        }
        Ok(FileFingerprint {
            path: path.to_owned(),
            sha256,
            size,
        })
    }
}

fn hash(file: &mut File) -> io::Result<([u8; 32], u64)> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finalize().into(), size)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a program usually runs a file named on its command line, judged by its name without version (`python3.11`).
fn is_interpreter(program: &Path) -> bool {
    const INTERPRETERS: &[&str] = &[
        "sh", "ash", "bash", "dash", "ksh", "mksh", "zsh", "busybox", "python", "pypy", "ruby", "perl",
        "node", "php", "lua", "tclsh", "Rscript", "java", "env",
    ];
    program
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| {
            let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || matches!(c, '.' | '-'));
            INTERPRETERS.contains(&plain)
        })
}

/// The first argument that is a file. `sh -c TEXT` and `python3 -m MODULE` name none.
fn script_of(arguments: &[OsString], directory: Option<&Path>) -> Option<PathBuf> {
    arguments
        .iter()
        .map(Path::new)
        .filter(|argument| !argument.as_os_str().is_empty())
        .map(|argument| match directory {
            Some(directory) => directory.join(argument),
            None => argument.to_owned(),
        })
        .find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_known_with_and_without_their_version() {
        for (program, expected) in [
            ("/usr/bin/python3", true),
            ("/usr/bin/python3.11", true),
            ("/bin/sh", true),
            ("/usr/bin/ruby2.7", true),
            ("/usr/bin/env", true),
            ("/usr/bin/ssh", false),
            ("/etc/hem/scripts/register.sh", false),
            ("/bin/cat", false),
        ] {
            assert_eq!(is_interpreter(Path::new(program)), expected, "{program}");
        }
    }

    #[test]
    fn the_program_and_the_script_of_an_interpreter_are_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("script.py");
        fs::write(&script, "print()\n").expect("a script");
        let fingerprints = Fingerprints::default();
        let arguments = ["-u", "script.py", "script.py"].map(OsString::from);
        let files = fingerprints.of_command(Path::new("/bin/sh"), &arguments, Some(folder.path()));
        let paths: Vec<&Path> = files.iter().map(|file| file.path.as_path()).collect();
        assert_eq!(paths, [Path::new("/bin/sh"), &script]);
        assert_eq!(files[1].size, 8);
        assert_eq!(files[1].sha256, <[u8; 32]>::from(Sha256::digest(b"print()\n")));
    }

    #[test]
    fn a_changed_file_gets_a_new_fingerprint_and_an_unchanged_one_is_not_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        fs::write(&program, "one").expect("a program");
        let fingerprints = Fingerprints::default();
        let first = fingerprints.of_command(&program, &[], None);
        let kept = fingerprints.known().clone();
        assert_eq!(fingerprints.of_command(&program, &[], None), first);
        assert_eq!(*fingerprints.known(), kept);

        let other = folder.path().join("other");
        fs::write(&other, "two").expect("another");
        fs::rename(&other, &program).expect("a renamed file");
        let second = fingerprints.of_command(&program, &[], None);
        assert_ne!(first, second);
    }

    #[test]
    fn a_file_that_is_not_there_has_no_fingerprint() {
        assert!(
            Fingerprints::default()
                .of_command(Path::new("/nonexistent/program"), &[], None)
                .is_empty()
        );
    }
}
