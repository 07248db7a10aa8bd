//! Secrets that hem shares with others: read from files and from the environment, and again when a file changes. Nothing shows them.

use std::fmt;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::config::secret::SecretPlace;
use crate::event::redaction::Redaction;
use crate::watched::{Watch, Words};

/// What is shorter can be guessed.
const SHORT: usize = 16;

/// What is longer was not meant as a secret.
const LONGEST: u64 = 64 << 10;

/// How the log speaks of a secret.
const WORDS: Words = Words {
    what: "a secret",
    meanwhile: "the former one stays in force",
};

/// Tells what others send in secret apart without keeping it: a hash under a key that nobody else has, so that what is remembered says
/// nothing of what it stands for.
pub struct Disguise {
    key: [u8; 64],
}

impl fmt::Debug for Disguise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disguise(…)")
    }
}

impl Disguise {
    /// One with a key of the kernel's randomness.
    ///
    /// # Errors
    /// When the kernel's randomness cannot be had.
    pub fn new() -> io::Result<Self> {
        let mut key = [0; 64];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
        Ok(Self { key })
    }

    /// What stands for these texts, taken together in this order.
    pub fn of(&self, texts: &[&[u8]]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new(&self.key.into());
        for text in texts {
            mac.update(&text.len().to_be_bytes());
            mac.update(text);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The variable is not set.
    #[error("the variable `{name}`, which is to hold a secret, is not set")]
    Unset {
        /// The variable.
        name: String,
    },
    /// There is nothing in it.
    #[error("the secret in {place} is empty")]
    Empty {
        /// Where it is.
        place: SecretPlace,
    },
    /// It is too long.
    #[error("the secret in {place} is longer than {LONGEST} bytes")]
    TooLong {
        /// Where it is.
        place: SecretPlace,
    },
}

/// A secret's bytes, which no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// What it is.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn of(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The secrets of which any one will do.
#[derive(Debug)]
pub struct Keyring {
    in_force: ArcSwap<Vec<Secret>>,
    places: Mutex<Vec<Watched>>,
    /// Hides each of them from the moment it is in force.
    redaction: Redaction,
}

/// A secret, and where it is read again. Each is for itself, so that one that is gone keeps no other one back.
#[derive(Debug)]
struct Watched {
    place: SecretPlace,
    watch: Watch,
    secret: Secret,
}

impl Watched {
    fn read(place: &SecretPlace) -> Result<Self, SecretError> {
        let files = match place {
            SecretPlace::File(path) => vec![path.clone()],
            SecretPlace::Variable(_) => Vec::new(),
        };
        let (watch, secret) = Watch::begin(files, WORDS, || read(place))?;
        Ok(Self {
            place: place.clone(),
            watch,
            secret,
        })
    }

    /// Reads it again if its file has changed; whether there is another one now.
    fn look(&mut self) -> bool {
        let place = &self.place;
        match self.watch.again(|| read(place)) {
            Some(Ok(secret)) => {
                self.secret = secret;
                true
            }
            Some(Err(_)) | None => false,
        }
    }

    /// Says that it can be guessed, and hides it.
    fn begin(&self, redaction: &Redaction) {
        let bytes = self.secret.bytes().len();
        if bytes < SHORT {
            tracing::warn!(place = %self.place, bytes, "this secret can be guessed; make one of at least {SHORT} bytes");
        }
        redaction.hide(&String::from_utf8_lossy(self.secret.bytes()));
    }
}

fn all(places: &[Watched]) -> Arc<Vec<Secret>> {
    Arc::new(places.iter().map(|one| one.secret.clone()).collect())
}

impl Keyring {
    /// Reads the secrets for the first time. `redaction` hides them, and those that take their place.
    ///
    /// # Errors
    /// One of them cannot be had.
    pub fn read(places: &[SecretPlace], redaction: &Redaction) -> Result<Self, SecretError> {
        for place in places {
            if let SecretPlace::File(path) = place
                && std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
            {
                tracing::warn!(file = %path.display(), "every user of this machine can read this secret; run `chmod o-r` on it");
            }
        }
        let places: Vec<Watched> = places.iter().map(Watched::read).collect::<Result<_, _>>()?;
        places.iter().for_each(|one| one.begin(redaction));
        Ok(Self {
            in_force: ArcSwap::new(all(&places)),
            places: Mutex::new(places),
            redaction: redaction.clone(),
        })
    }

    /// The secrets in force.
    pub fn secrets(&self) -> Arc<Vec<Secret>> {
        self.in_force.load_full()
    }

    /// The first of the secrets in force: where one alone is configured, that one.
    pub fn first(&self) -> Option<Secret> {
        self.secrets().first().cloned()
    }

    /// Whether `token` is one of the secrets; see [`is_same`].
    pub fn holds(&self, token: &[u8]) -> bool {
        is_one_of(&self.secrets(), token)
    }

    /// Reads those again whose files have changed. What cannot be read leaves the former one in force.
    pub fn look(&self) {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_changed = false;
        for one in places.iter_mut() {
            if one.look() {
                one.begin(&self.redaction);
                has_changed = true;
            }
        }
        if has_changed {
            self.in_force.store(all(&places));
        }
    }
}

fn is_one_of(secrets: &[Secret], token: &[u8]) -> bool {
    // None is left out, so that it does not show which one it was.
    secrets
        .iter()
        .fold(false, |found, secret| is_same(secret.bytes(), token) | found)
}

/// Whether two texts are the same. Their hashes are compared, in the same time wherever they differ, so that not even the lengths show.
pub fn is_same(one: &[u8], other: &[u8]) -> bool {
    let hash = |text: &[u8]| Hmac::<Sha256>::new_from_slice(b"compared").map(|mac| mac.chain_update(text));
    match (hash(one), hash(other)) {
        (Ok(one), Ok(other)) => one.verify_slice(&other.finalize().into_bytes()).is_ok(),
        // A key of any length will do.
        _ => false,
    }
}

/// One newline at the end of a file is not part of the secret.
fn read(place: &SecretPlace) -> Result<Secret, SecretError> {
    let mut value = match place {
        SecretPlace::File(path) => {
            let unreadable = |source| SecretError::Read {
                path: path.clone(),
                source,
            };
            if std::fs::metadata(path).map_err(unreadable)?.len() > LONGEST {
                return Err(SecretError::TooLong { place: place.clone() });
            }
            std::fs::read(path).map_err(unreadable)?
        }
        SecretPlace::Variable(name) => std::env::var_os(name)
            .map(std::os::unix::ffi::OsStringExt::into_vec)
            .ok_or_else(|| SecretError::Unset { name: name.clone() })?,
    };
    if matches!(place, SecretPlace::File(_)) && value.last() == Some(&b'\n') {
        value.pop();
    }
    if value.is_empty() {
        return Err(SecretError::Empty { place: place.clone() });
    }
    Ok(Secret(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_and_read_again_and_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "old-one\n").expect("a file");
        let redaction = Redaction::default();
        let keyring = Keyring::read(&[SecretPlace::File(file.clone())], &redaction).expect("a keyring");
        assert_eq!(*keyring.secrets(), [Secret::of("old-one")]);
        assert!(!format!("{keyring:?}").contains("old-one"));

        std::fs::write(&file, "newer-one").expect("a file");
        keyring.look();
        assert_eq!(*keyring.secrets(), [Secret::of("newer-one")]);
        assert_eq!(keyring.first(), Some(Secret::of("newer-one")));
        let shown = redaction.text("old-one, newer-one", None);
        assert!(
            !shown.contains("old-one") && !shown.contains("newer-one"),
            "{shown}"
        );

        // What cannot be read leaves the former one in force.
        std::fs::write(&file, "\n").expect("a file");
        keyring.look();
        assert_eq!(*keyring.secrets(), [Secret::of("newer-one")]);
        std::fs::remove_file(&file).expect("it was there");
        keyring.look();
        assert_eq!(*keyring.secrets(), [Secret::of("newer-one")]);
    }

    #[test]
    fn a_secret_that_is_gone_keeps_no_other_one_back() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::write(&old, "old-one").expect("a file");
        std::fs::write(&new, "new-one").expect("a file");
        let places = [SecretPlace::File(old.clone()), SecretPlace::File(new.clone())];
        let keyring = Keyring::read(&places, &Redaction::default()).expect("a keyring");
        std::fs::remove_file(&old).expect("it was there");
        keyring.look();
        std::fs::write(&new, "newer-one").expect("a file");
        keyring.look();
        assert_eq!(
            *keyring.secrets(),
            [Secret::of("old-one"), Secret::of("newer-one")]
        );
    }

    #[test]
    fn a_secret_of_a_few_letters_holds_and_blots_out_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let redaction = Redaction::default();
        for (secret, shown) in [
            ("e", "one event"),
            ("eve", "one event"),
            ("even", "one [redacted]t"),
        ] {
            let file = folder.path().join(secret);
            std::fs::write(&file, secret).expect("a file");
            let keyring = Keyring::read(&[SecretPlace::File(file)], &redaction).expect("a keyring");
            assert!(keyring.holds(secret.as_bytes()));
            assert_eq!(redaction.text("one event", None), shown, "{secret}");
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        let secrets = [Secret::of("old"), Secret::of("new")];
        assert!(is_one_of(&secrets, b"old") && is_one_of(&secrets, b"new"));
        for wrong in ["", "ol", "old ", "older", "New", "old, new"] {
            assert!(!is_one_of(&secrets, wrong.as_bytes()), "{wrong}");
        }
        assert!(!is_one_of(&[], b""));
    }

    #[test]
    fn what_stands_for_a_secret_depends_on_all_of_it_and_on_the_key() {
        let disguise = Disguise::new().expect("randomness");
        assert_eq!(
            disguise.of(&[b"user", b"password"]),
            disguise.of(&[b"user", b"password"])
        );
        assert_ne!(
            disguise.of(&[b"user", b"password"]),
            disguise.of(&[b"userp", b"assword"])
        );
        let other = Disguise::new().expect("randomness");
        assert_ne!(disguise.of(&[b"token"]), other.of(&[b"token"]));
    }

    #[test]
    fn what_is_missing_is_named() {
        let nowhere = SecretPlace::File("/nowhere/secret".into());
        let unset = SecretPlace::Variable("HEM_TEST_NO_SUCH_VARIABLE".to_owned());
        for (place, said) in [(nowhere, "/nowhere/secret"), (unset, "HEM_TEST_NO_SUCH_VARIABLE")] {
            let error = Keyring::read(&[place], &Redaction::default()).expect_err("nothing there");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}
