//! Who a user is by a password, checked where it holds up nobody else: a hash that is meant to be slow is slow for everybody.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::htpasswd::{HtpasswdFault, Users};
use super::line::{Crowded, Line};
use crate::secrets::Disguise;
use crate::sources::apart;
use crate::watched::{Watched, Words};

/// A longer file is none of users.
const LONGEST: u64 = 4 << 20;

/// Passwords that are checked at once.
const AT_ONCE: usize = 2;

/// So many more wait to be checked: some seconds' worth of a slow hash.
const WAITING: usize = 32;

/// A password that was right is taken for right again for so long, if its hash is still the same.
const REMEMBER: Duration = Duration::from_secs(60);

/// So many are remembered.
const REMEMBERED: usize = 1_000;

/// How the log speaks of the file.
const WORDS: Words = Words {
    what: "the file of users",
    meanwhile: "the former users stay in force",
};

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
    users: Watched<Users>,
    right: Mutex<HashMap<[u8; 32], Instant>>,
    disguise: Disguise,
    line: Line,
}

impl Passwords {
    /// Reads the file for the first time.
    pub(super) fn read(path: &Path) -> Result<Self, HtpasswdError> {
        Ok(Self {
            path: path.to_owned(),
            users: Watched::read(vec![path.to_owned()], WORDS, || read(path))?,
            right: Mutex::default(),
            disguise: Disguise::new().map_err(HtpasswdError::Randomness)?,
            line: Line::new(AT_ONCE, WAITING),
        })
    }

    /// Reads the file again if it has changed. What cannot be read leaves the former users in force.
    pub(super) fn look(&self) {
        self.users.look(|| read(&self.path));
    }

    /// Whether a user has this password.
    ///
    /// # Errors
    /// Too many wait for the answer.
    pub(super) async fn is_user(&self, user: &str, password: &[u8]) -> Result<bool, Crowded> {
        let users = self.users.get();
        let (is_known, Some(hash)) = users.hash_of(user) else {
            return Ok(false);
        };
        let identity = self.disguise.of(&[user.as_bytes(), hash.identity(), password]);
        if self.was_right(&identity) {
            return Ok(is_known);
        }
        let _turn = self.line.turn().await?;
        // Somebody before in this line may have had the same password.
        if self.was_right(&identity) {
            return Ok(is_known);
        }
        let (hash, password) = (hash.clone(), password.to_vec());
        let is_right = apart(move || hash.is_of(&password)).await.unwrap_or(false);
        let is_user = is_right && is_known;
        if is_user {
            self.remember(identity);
        }
        Ok(is_user)
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
    use std::sync::Arc;

    use super::*;

    /// `secret`, as `htpasswd -nbs` and `htpasswd -nbB` make it.
    const SHA: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";
    const BCRYPT: &str = "$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82";

    async fn is_user(passwords: &Passwords, user: &str, password: &[u8]) -> bool {
        passwords
            .is_user(user, password)
            .await
            .expect("nobody else waits")
    }

    #[tokio::test]
    async fn a_password_that_was_right_is_not_checked_again_until_its_hash_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        std::fs::write(&file, format!("alice:{BCRYPT}\n")).expect("a file");
        let passwords = Passwords::read(&file).expect("users");
        assert!(is_user(&passwords, "alice", b"secret").await);
        assert!(!is_user(&passwords, "alice", b"wrong").await);
        assert!(!is_user(&passwords, "bob", b"secret").await);
        assert_eq!(
            passwords.right.lock().expect("a lock").len(),
            1,
            "only what was right"
        );
        let _turns = [
            passwords.line.turn().await.expect("a turn"),
            passwords.line.turn().await.expect("a turn"),
        ];
        // With nobody to check it, it is still taken.
        assert!(is_user(&passwords, "alice", b"secret").await);
    }

    #[tokio::test]
    async fn a_flood_of_wrong_passwords_leaves_a_bounded_number_waiting() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        std::fs::write(&file, format!("alice:{BCRYPT}\n")).expect("a file");
        let passwords = Arc::new(Passwords::read(&file).expect("users"));
        assert!(is_user(&passwords, "alice", b"secret").await);
        let turns = [
            passwords.line.turn().await.expect("a turn"),
            passwords.line.turn().await.expect("a turn"),
        ];
        let mut flood = tokio::task::JoinSet::new();
        for number in 0..10 * WAITING {
            let passwords = Arc::clone(&passwords);
            flood.spawn(async move {
                let password = format!("wrong {number}");
                passwords.is_user("mallory", password.as_bytes()).await
            });
        }
        // Nobody has a turn: whoever has an answer had no place.
        for _ in 0..9 * WAITING {
            assert_eq!(
                flood.join_next().await.expect("a task").expect("an end"),
                Err(Crowded)
            );
        }
        assert!(
            is_user(&passwords, "alice", b"secret").await,
            "who is known already need not wait"
        );
        drop(turns);
        for answer in flood.join_all().await {
            assert_eq!(answer, Ok(false));
        }
    }

    #[tokio::test]
    async fn a_file_that_changed_is_read_again_and_one_that_cannot_be_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("users");
        std::fs::write(&file, format!("alice:{BCRYPT}\n")).expect("a file");
        let passwords = Passwords::read(&file).expect("users");
        assert!(is_user(&passwords, "alice", b"secret").await);
        std::fs::write(&file, format!("bob:{SHA}\n")).expect("a file");
        passwords.look();
        assert!(is_user(&passwords, "bob", b"secret").await);
        assert!(
            !is_user(&passwords, "alice", b"secret").await,
            "who left is not let in"
        );
        std::fs::write(&file, "bob:plain\n").expect("a file");
        passwords.look();
        assert!(is_user(&passwords, "bob", b"secret").await);

        std::fs::write(&file, "bob:plain\n").expect("a file");
        let error = Passwords::read(&file).expect_err("no users");
        assert!(error.to_string().ends_with("is no file of users"), "{error}");
        assert!(Passwords::read(&folder.path().join("none")).is_err());
    }
}
