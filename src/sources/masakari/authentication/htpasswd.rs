//! A file of users and hashes of their passwords, as Apache's `htpasswd` makes it (`htpasswd(1)`, "Password Formats" of its manual).
//!
//! Taken are bcrypt (`-B`), which is what OpenStack's own services take, the `apr1` form of MD5 that `htpasswd` makes by itself, and
//! SHA-1 (`-s`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::{Digest as _, Sha1};

use crate::secrets::is_same;

/// A hash of a higher cost would take a processor for a minute and more.
const HIGHEST_COST: u32 = 17;

/// What stands before an `apr1` hash.
const APR1: &str = "$apr1$";

/// The letters of an `apr1` hash, each for six bits.
const LETTERS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// What is wrong with such a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HtpasswdFault {
    /// A line has no user or no hash.
    #[error("line {0} is not `USER:HASH`")]
    Line(usize),
    /// A hash is of another kind.
    #[error("line {line}: the hash of `{user}` is of a kind that is not taken; make it with `htpasswd -B`")]
    Kind {
        /// The line.
        line: usize,
        /// The user.
        user: String,
    },
    /// To check a password against a hash would take too long.
    #[error("line {line}: the hash of `{user}` has a cost of more than {HIGHEST_COST}")]
    Cost {
        /// The line.
        line: usize,
        /// The user.
        user: String,
    },
    /// There is nobody in it.
    #[error("there is no user in it")]
    Nobody,
}

/// The users of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Users(BTreeMap<String, Hash>);

/// The hash of a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Hash {
    Bcrypt(String),
    Apr1 { salt: String, digest: String },
    Sha1(Vec<u8>),
}

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hash(…)")
    }
}

impl Users {
    /// Reads a file. Empty lines and those that begin with `#` are passed over; of a user who stands there twice the first counts.
    pub(super) fn read(text: &str) -> Result<Self, HtpasswdFault> {
        let mut users = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let (number, line) = (index + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (user, hash) = line
                .split_once(':')
                .filter(|(user, hash)| !user.is_empty() && !hash.is_empty())
                .ok_or(HtpasswdFault::Line(number))?;
            let hash = Hash::read(hash).map_err(|fault| fault(number, user.to_owned()))?;
            users.entry(user.to_owned()).or_insert(hash);
        }
        if users.is_empty() {
            return Err(HtpasswdFault::Nobody);
        }
        Ok(Self(users))
    }

    /// The hash that a password is to be checked against; of an unknown user that of somebody else, so that it takes as long.
    pub(super) fn hash_of(&self, user: &str) -> (bool, Option<&Hash>) {
        match self.0.get(user) {
            Some(hash) => (true, Some(hash)),
            None => (false, self.0.values().next()),
        }
    }
}

impl Hash {
    fn read(text: &str) -> Result<Self, fn(usize, String) -> HtpasswdFault> {
        let other_kind: fn(usize, String) -> HtpasswdFault = |line, user| HtpasswdFault::Kind { line, user };
        if let Some(rest) = ["$2y$", "$2a$", "$2b$"]
            .iter()
            .find_map(|kind| text.strip_prefix(kind))
        {
            let cost = rest
                .split_once('$')
                .and_then(|(cost, _)| cost.parse::<u32>().ok());
            return match cost {
                Some(cost) if cost > HIGHEST_COST => Err(|line, user| HtpasswdFault::Cost { line, user }),
                Some(_) if text.len() == 60 && text.is_ascii() => Ok(Self::Bcrypt(text.to_owned())),
                _ => Err(other_kind),
            };
        }
        if let Some(rest) = text.strip_prefix(APR1) {
            return match rest.split_once('$') {
                Some((salt, digest)) if salt.len() <= 8 && digest.len() == 22 => Ok(Self::Apr1 {
                    salt: salt.to_owned(),
                    digest: digest.to_owned(),
                }),
                _ => Err(other_kind),
            };
        }
        if let Some(rest) = text.strip_prefix("{SHA}") {
            return match STANDARD.decode(rest) {
                Ok(digest) if digest.len() == 20 => Ok(Self::Sha1(digest)),
                _ => Err(other_kind),
            };
        }
        Err(other_kind)
    }

    /// Its text, by which it is told from another one.
    pub(super) fn identity(&self) -> &[u8] {
        match self {
            Self::Bcrypt(text) => text.as_bytes(),
            Self::Apr1 { digest, .. } => digest.as_bytes(),
            Self::Sha1(digest) => digest,
        }
    }

    /// Whether this is the password. May take a tenth of a second and more.
    pub(super) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Apr1 { salt, digest } => {
                is_same(apr1(password, salt.as_bytes()).as_bytes(), digest.as_bytes())
            }
            Self::Sha1(digest) => is_same(&Sha1::digest(password), digest),
        }
    }
}

/// Apache's variant of the MD5 crypt of Poul-Henning Kamp: a thousand rounds, and the salt's name in the first.
fn apr1(password: &[u8], salt: &[u8]) -> String {
    let mixed = Md5::new()
        .chain_update(password)
        .chain_update(salt)
        .chain_update(password)
        .finalize();
    let mut first = Md5::new()
        .chain_update(password)
        .chain_update(APR1)
        .chain_update(salt);
    for piece in password.chunks(mixed.len()) {
        first.update(&mixed[..piece.len()]);
    }
    let mut bits = password.len();
    while bits > 0 {
        first.update(if bits & 1 == 1 { &[0] } else { &password[..1] });
        bits >>= 1;
    }
    let mut digest = first.finalize();
    for round in 0..1000 {
        let mut next = Md5::new();
        let is_odd = round % 2 == 1;
        next.update(if is_odd { password } else { &digest[..] });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if is_odd { &digest[..] } else { password });
        digest = next.finalize();
    }
    let mut text = String::with_capacity(22);
    let mut write = |mut value: u32, letters: usize| {
        for _ in 0..letters {
            text.push(char::from(LETTERS[(value & 0x3f) as usize]));
            value >>= 6;
        }
    };
    let byte = |index: usize| u32::from(digest[index]);
    for [high, middle, low] in [[0, 6, 12], [1, 7, 13], [2, 8, 14], [3, 9, 15], [4, 10, 5]] {
        write(byte(high) << 16 | byte(middle) << 8 | byte(low), 4);
    }
    write(byte(11), 2);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Made with `htpasswd -nbB`, `htpasswd -nb` and `htpasswd -nbs` of Debian's apache2-utils 2.4.
    const FILE: &str = "\
# Users of the tests.
bcrypt:$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82

md5:$apr1$kRPDdask$F2K4M7XkD6GUXwW0uTTG9.
sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
long:$apr1$qB7Cwwfj$f2OnMgpLjsynWth7rVCVz1
";

    fn is_user(users: &Users, user: &str, password: &str) -> bool {
        let (is_known, hash) = users.hash_of(user);
        hash.expect("a hash").is_of(password.as_bytes()) && is_known
    }

    #[test]
    fn what_htpasswd_makes_is_taken() {
        let users = Users::read(FILE).expect("a file");
        for user in ["bcrypt", "md5", "sha", "long"] {
            let password = if user == "long" {
                "a password of more than sixteen characters"
            } else {
                "secret"
            };
            assert!(is_user(&users, user, password), "{user}");
            for wrong in ["", "Secret", "secret ", "secre"] {
                assert!(!is_user(&users, user, wrong), "{user} {wrong}");
            }
        }
        assert!(!is_user(&users, "nobody", "secret"));
        assert!(!format!("{users:?}").contains("$2y$"), "no hash is shown");
    }

    #[test]
    fn what_is_no_such_file_is_said_with_its_line() {
        for (text, said) in [
            ("", "there is no user in it"),
            ("# nobody\n\n", "there is no user in it"),
            ("\nbob", "line 2 is not `USER:HASH`"),
            (":x", "line 1 is not `USER:HASH`"),
            ("bob:", "line 1 is not `USER:HASH`"),
            (
                "bob:secret",
                "line 1: the hash of `bob` is of a kind that is not taken; make it with `htpasswd -B`",
            ),
            (
                "bob:$1$x$y",
                "line 1: the hash of `bob` is of a kind that is not taken; make it with `htpasswd -B`",
            ),
            (
                "bob:$2y$05$short",
                "line 1: the hash of `bob` is of a kind that is not taken; make it with `htpasswd -B`",
            ),
            (
                "bob:{SHA}AAAA",
                "line 1: the hash of `bob` is of a kind that is not taken; make it with `htpasswd -B`",
            ),
            (
                "bob:$2y$31$",
                "line 1: the hash of `bob` has a cost of more than 17",
            ),
        ] {
            assert_eq!(Users::read(text).expect_err(text).to_string(), said, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_file_makes_it_panic(
            text in "\\PC{0,60}|[a-z]{1,3}:(\\$2y\\$0[0-9]\\$|\\$apr1\\$|\\{SHA\\})\\PC{0,60}", password in "\\PC{0,40}"
        ) {
            if let Ok(users) = Users::read(&text) {
                let (_, hash) = users.hash_of("a");
                // Whatever it says: a bcrypt hash of this length takes milliseconds at a cost below ten.
                let _ = hash.expect("somebody").is_of(password.as_bytes());
            }
        }

        #[test]
        fn an_apr1_hash_has_twenty_two_letters_and_depends_on_both(password in "\\PC{0,40}", salt in "[./0-9A-Za-z]{1,8}") {
            let hash = apr1(password.as_bytes(), salt.as_bytes());
            prop_assert_eq!(hash.len(), 22);
            prop_assert_ne!(&hash, &apr1(format!("{password}x").as_bytes(), salt.as_bytes()));
        }
    }
}
