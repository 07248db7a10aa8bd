//! The file with `user:password`, as OpenNebula's tools keep it.

use std::fmt;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// A file of credentials has one line; what is longer than this is another file.
const LONGEST: u64 = 64 << 10;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// None of the files exists.
    #[error("there is no file with `user:password`; looked for {}", Listed(.0))]
    Missing(Vec<PathBuf>),
    /// The file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("`{}` does not hold `user:password` in its first line", .0.display())]
    Malformed(PathBuf),
}

struct Listed<'a>(&'a [PathBuf]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, path) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{}", path.display())?;
        }
        Ok(())
    }
}

/// A session, `user:password`. It is never printed.
pub(super) struct Session(String);

impl Session {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads the first of `files` that exists.
pub(super) fn read(files: &[PathBuf]) -> Result<Session, CredentialsError> {
    for path in files {
        match read_file(path) {
            Ok(text) => {
                let line = text.lines().next().unwrap_or_default().trim();
                let is_session = line.split_once(':').is_some_and(|(user, _)| !user.is_empty());
                return if is_session {
                    Ok(Session(line.to_owned()))
                } else {
                    Err(CredentialsError::Malformed(path.clone()))
                };
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(CredentialsError::Malformed(path.clone()));
            }
            Err(source) => {
                return Err(CredentialsError::Read {
                    path: path.clone(),
                    source,
                });
            }
        }
    }
    Err(CredentialsError::Missing(files.to_vec()))
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(LONGEST)
        .read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_file_that_exists_decides() {
        let folder = tempfile::tempdir().expect("a folder");
        let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
        let files = [first.clone(), second.clone()];
        let said = |files: &[PathBuf]| match read(files) {
            Ok(session) => session.as_str().to_owned(),
            Err(error) => error.to_string(),
        };
        let missing = format!(
            "there is no file with `user:password`; looked for {}, {}",
            first.display(),
            second.display()
        );
        assert_eq!(said(&files), missing);
        std::fs::write(&second, "oneadmin:pass:word\n").expect("a file");
        assert_eq!(said(&files), "oneadmin:pass:word");
        for nothing in ["", "oneadmin", ":x", "\n"] {
            std::fs::write(&first, nothing).expect("a file");
            let malformed = format!(
                "`{}` does not hold `user:password` in its first line",
                first.display()
            );
            assert_eq!(said(&files), malformed, "{nothing:?}");
        }
        std::fs::write(&first, [0xff, 0xfe, b':']).expect("a file");
        assert!(said(&files).contains("does not hold"));
    }
}
