//! Tokens, read from files and read again when those change.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use crate::config::control::{Role, TokenFile};
use crate::event::redaction::Redaction;
use crate::watched::{Watch, Words};

/// What is larger was not meant as a list of tokens.
const LARGEST: u64 = 64 << 10;

/// What is shorter can be guessed.
const SHORTEST: usize = 16;

/// How the log speaks of a file.
const WORDS: Words = Words {
    what: "a file of tokens",
    meanwhile: "its tokens let nobody in",
};

/// Why a file's tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("cannot read the tokens in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner have rights to it.
    #[error("others than its owner have rights to the tokens in `{}` (mode {mode:04o}); run `chmod 600` on it", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is too large.
    #[error("`{}` is larger than {LARGEST} bytes: that is no list of tokens", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A line is no token.
    #[error("line {line} of `{}` is no token: a token has {SHORTEST} characters or more, of letters, digits and `-._~+/=`", path.display())]
    NoToken {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// There is none in it.
    #[error("there is no token in `{}`; `hem token` makes one", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What goes on for long asks as often as it likes, and its token's file is looked at again after this time.
const LATELY: Duration = Duration::from_secs(1);

/// By this a token is known. Two are compared by it alone, so how long that takes says nothing of a token.
pub(super) type Digest = [u8; 32];

/// Who has a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: Arc<str>,
    pub(super) role: Role,
    pub(super) digest: Digest,
}

/// All tokens that are in force.
#[derive(Debug)]
pub(super) struct Tokens {
    files: Vec<Kept>,
    /// Hides each of them from the moment it is in force.
    redaction: Redaction,
}

#[derive(Debug)]
struct Kept {
    name: Arc<str>,
    role: Role,
    path: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    watch: Watch,
    /// When its file was looked at last.
    looked: Instant,
    digests: Vec<Digest>,
}

impl Tokens {
    /// Reads the files for the first time.
    pub(super) fn read(files: &[TokenFile], redaction: &Redaction) -> Result<Self, TokenError> {
        let files = files
            .iter()
            .map(|file| {
                let read = || read(&file.file, redaction);
                let (watch, digests) = Watch::begin(vec![file.file.clone()], WORDS, read)?;
                Ok(Kept {
                    name: file.name.as_str().into(),
                    role: file.role,
                    path: file.file.clone(),
                    read: Mutex::new(Read {
                        watch,
                        looked: Instant::now(),
                        digests,
                    }),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self {
            files,
            redaction: redaction.clone(),
        })
    }

    /// Who has this token; of two of one token, the one who may do more.
    pub(super) fn holder(&self, token: &str) -> Option<Holder> {
        let digest: Digest = Sha256::digest(token).into();
        self.files
            .iter()
            .filter(|file| self.holds(file, &digest, Duration::ZERO))
            .max_by_key(|file| file.role)
            .map(|file| Holder {
                name: Arc::clone(&file.name),
                role: file.role,
                digest,
            })
    }

    /// Whether the token that somebody came in with is still in force, with the same name and role.
    pub(super) fn still_knows(&self, holder: &Holder) -> bool {
        self.knew(holder, Duration::ZERO)
    }

    /// The same by what was found within the last [`LATELY`], for those who ask again and again.
    pub(super) fn knew_lately(&self, holder: &Holder) -> bool {
        self.knew(holder, LATELY)
    }

    fn knew(&self, holder: &Holder, lately: Duration) -> bool {
        self.files
            .iter()
            .filter(|file| file.name == holder.name && file.role == holder.role)
            .any(|file| self.holds(file, &holder.digest, lately))
    }

    /// Looks at the file first, unless that was done so lately: what was taken out of it must not let anybody in for a moment longer.
    /// One that cannot be used lets nobody in.
    fn holds(&self, file: &Kept, digest: &Digest, lately: Duration) -> bool {
        let mut kept = file.read.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.looked.elapsed() >= lately {
            kept.looked = Instant::now();
            if let Some(read) = kept.watch.again(|| read(&file.path, &self.redaction)) {
                kept.digests = read.unwrap_or_default();
            }
        }
        kept.digests.contains(digest)
    }
}

fn read(path: &Path, redaction: &Redaction) -> Result<Vec<Digest>, TokenError> {
    let unreadable = |source| TokenError::Read {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let about = file.metadata().map_err(unreadable)?;
    let mode = about.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(TokenError::OpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    if about.len() > LARGEST {
        return Err(TokenError::TooLarge {
            path: path.to_owned(),
        });
    }
    let mut text = String::new();
    file.by_ref()
        .take(LARGEST)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let mut digests = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let token = line.trim();
        if token.is_empty() || token.starts_with('#') {
            continue;
        }
        if !is_token(token) {
            return Err(TokenError::NoToken {
                path: path.to_owned(),
                line: index + 1,
            });
        }
        redaction.hide(token);
        digests.push(Sha256::digest(token).into());
    }
    if digests.is_empty() {
        return Err(TokenError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(digests)
}

/// What can stand behind `Bearer` (RFC 6750).
fn is_token(text: &str) -> bool {
    text.len() >= SHORTEST
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const OLD: &str = "old-token-of-the-watch";
    const NEW: &str = "new-token-of-the-watch";

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).expect("a file");
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("its mode");
    }

    fn file(path: &Path, name: &str, role: Role) -> TokenFile {
        TokenFile {
            name: name.to_owned(),
            file: path.to_owned(),
            role,
        }
    }

    #[test]
    fn old_and_new_tokens_work_until_the_old_one_is_taken_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("watch");
        write(&path, &format!("# of the watch\n\n{OLD}\n"), 0o600);
        let redaction = Redaction::default();
        let tokens = Tokens::read(&[file(&path, "watch", Role::Viewer)], &redaction).expect("tokens");
        let holder = tokens.holder(OLD).expect("it is known");
        assert_eq!((&*holder.name, holder.role), ("watch", Role::Viewer));
        assert_eq!(tokens.holder(NEW), None);
        assert_eq!(tokens.holder(""), None);

        write(&path, &format!("{OLD}\n  {NEW}  \n"), 0o600);
        assert!(tokens.holder(OLD).is_some() && tokens.holder(NEW).is_some());
        assert!(tokens.still_knows(&holder));
        write(&path, NEW, 0o600);
        assert!(tokens.holder(OLD).is_none() && tokens.holder(NEW).is_some());
        assert!(!tokens.still_knows(&holder));
        let shown = redaction.text(&format!("{OLD} {NEW}"), None);
        assert!(!shown.contains(OLD) && !shown.contains(NEW), "{shown}");
        assert!(!format!("{tokens:?}").contains(NEW));
    }

    #[test]
    fn a_file_that_cannot_be_used_any_more_lets_nobody_in() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("watch");
        write(&path, OLD, 0o600);
        let files = [file(&path, "watch", Role::Viewer)];
        let tokens = Tokens::read(&files, &Redaction::default()).expect("tokens");
        assert!(tokens.holder(OLD).is_some());
        write(&path, OLD, 0o640);
        assert!(tokens.holder(OLD).is_none());
        write(&path, OLD, 0o400);
        assert!(tokens.holder(OLD).is_some());
        std::fs::remove_file(&path).expect("it was there");
        assert!(tokens.holder(OLD).is_none());
    }

    #[test]
    fn of_two_holders_of_one_token_the_operator_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        write(&one, OLD, 0o600);
        write(&other, OLD, 0o600);
        let files = [file(&one, "a", Role::Operator), file(&other, "b", Role::Viewer)];
        let tokens = Tokens::read(&files, &Redaction::default()).expect("tokens");
        assert_eq!(tokens.holder(OLD).map(|holder| holder.role), Some(Role::Operator));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("watch");
        let refused = |said: &str| {
            let files = [file(&path, "watch", Role::Viewer)];
            let error = Tokens::read(&files, &Redaction::default()).expect_err(said);
            assert!(error.to_string().contains(said), "{error}");
        };
        refused("cannot read the tokens");
        write(&path, OLD, 0o604);
        refused("mode 0604");
        write(&path, "# none yet\n", 0o600);
        refused("there is no token");
        write(&path, &format!("{OLD}\nshort\n"), 0o600);
        refused("line 2");
        write(&path, "a token with blanks in it", 0o600);
        refused("line 1");
        write(&path, &"x".repeat(70_000), 0o600);
        refused("larger than");
    }
}
