//! Who a user is by a password, checked where it holds up nobody else: a hash that is meant to be slow is slow for everybody.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use super::htpasswd::{HtpasswdFault, Users};
use crate::file_stamp::FileStamp;
use crate::secrets::Disguise;

/// A longer file is none of users.
const LONGEST: u64 = 4 << 20;

/// Passwords that are checked at once.
const AT_ONCE: usize = 2;

/// A password that was right is taken for right again for so long, if its hash is still the same.
const REMEMBER: Duration = Duration::from_secs(60);

/// So many are remembered.
const REMEMBERED: usize = 1_000;

/// Why there are no users.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdError {
    /// The file cannot be read.
    #[error("cannot read the users in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too long.
    #[error("`{}` has more than {LONGEST} bytes", path.display())]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The kernel has no randomness to give.
    #[error("the kernel's randomness cannot be had")]
    Randomness(#[source] io::Error),
    /// It says something else.
    #[error("`{}` is no file of users", path.display())]
    Fault {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: HtpasswdFault,
    },
}

/// A file of users that is read again when it changes.
#[derive(Debug)]
pub(in crate::sources::masakari) struct Passwords {
    path: PathBuf,
    users: ArcSwap<Users>,
    seen: Mutex<Option<FileStamp>>,
    right: Mutex<HashMap<[u8; 32], Instant>>,
    disguise: Disguise,
    turns: Semaphore,
}

impl Passwords {
    /// Reads the file for the first time.
    pub(super) fn read(path: &Path) -> Result<Self, HtpasswdError> {
        let seen = FileStamp::of(path).ok();
        let users = read(path)?;
        Ok(Self {
            path: path.to_owned(),
            users: ArcSwap::from_pointee(users),
            seen: Mutex::new(seen),
            right: Mutex::default(),
            disguise: Disguise::new().map_err(HtpasswdError::Randomness)?,
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Reads the file again if it has changed. What cannot be read leaves the former users in force.
    pub(super) fn look(&self) {
        let now = FileStamp::of(&self.path).ok();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return;
        }
        *seen = now;
        match read(&self.path) {
            Ok(users) => {
                self.users.store(Arc::new(users));
                tracing::info!(file = %self.path.display(), "the users were read again");
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the file of users changed and cannot be used; the former users stay in force"
            ),
        }
    }

    /// Whether a user has this password.
    pub(super) async fn is_user(&self, user: &str, password: &[u8]) -> bool {
        let users = self.users.load_full();
        let (is_known, Some(hash)) = users.hash_of(user) else {
            return false;
        };
        let identity = self.disguise.of(&[user.as_bytes(), hash.identity(), password]);
        if self.was_right(&identity) {
            return is_known;
        }
        // Closed by nobody.
        let Ok(_turn) = self.turns.acquire().await else {
            return false;
        };
        // Somebody before in this line may have had the same password.
        if self.was_right(&identity) {
            return is_known;
        }
        let (hash, password) = (hash.clone(), password.to_vec());
        let is_right = tokio::task::spawn_blocking(move || hash.is_of(&password))
            .await
            .unwrap_or(false);
        let is_user = is_right && is_known;
        if is_user {
            self.remember(identity);
        }
        is_user
    }

    fn was_right(&self, identity: &[u8; 32]) -> bool {
        let right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        right.get(identity).is_some_and(|at| at.elapsed() < REMEMBER)
    }

    fn remember(&self, identity: [u8; 32]) {
        let mut right = self.right.lock().unwrap_or_else(PoisonError::into_inner);
        if right.len() >= REMEMBERED {
            right.retain(|_, at| at.elapsed() < REMEMBER);
        }
        if right.len() < REMEMBERED {
            right.insert(identity, Instant::now());
        }
    }
}

fn read(path: &Path) -> Result<Users, HtpasswdError> {
    let unreadable = |source| HtpasswdError::Read {
        path: path.to_owned(),
        source,
    };
    if std::fs::metadata(path).map_err(unreadable)?.len() > LONGEST {
        return Err(HtpasswdError::TooLong {
            path: path.to_owned(),
        });
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    Users::read(&text).map_err(|source| HtpasswdError::Fault {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `secret`, as `htpasswd -nbs` and `htpasswd -nbB` make it.
    const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const BCRYPT: &str = "$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82";

    #[tokio::test]
    async fn a_password_that_was_right_is_not_checked_again_until_its_hash_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        std::fs::write(&file, format!("alice:{BCRYPT}\n")).expect("a file");
        let passwords = Passwords::read(&file).expect("users");
        assert!(passwords.is_user("alice", b"secret").await);
        assert!(!passwords.is_user("alice", b"wrong").await);
        assert!(!passwords.is_user("bob", b"secret").await);
        assert_eq!(
            passwords.right.lock().expect("a lock").len(),
            1,
            "only what was right"
        );
        let _all = passwords
            .turns
            .acquire_many(u32::try_from(AT_ONCE).expect("few"))
            .await;
        // With nobody to check it, it is still taken.
        assert!(passwords.is_user("alice", b"secret").await);
    }

    #[tokio::test]
    async fn a_file_that_changed_is_read_again_and_one_that_cannot_be_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        std::fs::write(&file, format!("alice:{BCRYPT}\n")).expect("a file");
        let passwords = Passwords::read(&file).expect("users");
        assert!(passwords.is_user("alice", b"secret").await);
        std::fs::write(&file, format!("bob:{SHA}\n")).expect("a file");
        passwords.look();
        assert!(passwords.is_user("bob", b"secret").await);
        assert!(
            !passwords.is_user("alice", b"secret").await,
            "who left is not let in"
        );
        std::fs::write(&file, "bob:plain\n").expect("a file");
        passwords.look();
        assert!(passwords.is_user("bob", b"secret").await);

        std::fs::write(&file, "bob:plain\n").expect("a file");
        let error = Passwords::read(&file).expect_err("no users");
        assert!(error.to_string().ends_with("is no file of users"), "{error}");
        assert!(Passwords::read(&folder.path().join("none")).is_err());
    }
}
