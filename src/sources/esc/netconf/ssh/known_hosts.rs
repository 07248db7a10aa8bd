//! Host keys as OpenSSH's files `known_hosts` hold them: which keys a server may have, and which it must not.
//!
//! Pure: text goes in. Names may be hashed, be patterns, and stand with or without a port.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Where names stand without a port.
const SSH_PORT: u16 = 22;

/// A server's public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerKey {
    /// The algorithm: `ssh-ed25519`.
    pub(super) algorithm: String,
    /// The key as SSH sends it.
    pub(super) blob: Vec<u8>,
}

impl ServerKey {
    /// Reads both words of a key; none where the second is no base64.
    pub(super) fn of(algorithm: &str, encoded: &str) -> Option<Self> {
        Some(Self {
            algorithm: algorithm.to_owned(),
            blob: STANDARD.decode(encoded).ok()?,
        })
    }

    /// As `ssh` shows it: `SHA256:…`.
    pub(super) fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(&self.blob)))
    }

    /// Both words, as files and settings hold them.
    pub(super) fn words(&self) -> String {
        format!("{} {}", self.algorithm, STANDARD.encode(&self.blob))
    }
}

/// A key that a file has for a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// The key.
    pub(super) key: ServerKey,
}

/// What a file says of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The keys that it may have.
    pub(super) keys: Vec<Line>,
    /// Keys that nobody may have any more.
    pub(super) revoked: Vec<Line>,
    /// How many lines of authorities speak of it, whose certificates are not understood.
    pub(super) authorities: usize,
}

/// How a file names a server: with the port, unless it is SSH's own.
pub(super) fn name_of(host: &str, port: u16) -> String {
    if port == SSH_PORT {
        host.to_owned()
    } else {
        format!("[{host}]:{port}")
    }
}

/// What a file says of a server. Lines that cannot be read say nothing. As with `ssh`, lines that name the host without a port count
/// where none names it with the port.
pub(super) fn known(text: &str, host: &str, port: u16) -> Known {
    let host = host.to_ascii_lowercase();
    let with_port = of_name(text, &name_of(&host, port));
    if port == SSH_PORT || !with_port.keys.is_empty() {
        return with_port;
    }
    let plain = of_name(text, &host);
    Known {
        keys: plain.keys,
        revoked: with_port.revoked.into_iter().chain(plain.revoked).collect(),
        authorities: with_port.authorities + plain.authorities,
    }
}

fn of_name(text: &str, name: &str) -> Known {
    let mut known = Known::default();
    for (index, line) in text.lines().enumerate() {
        let mut words = line.split_ascii_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let (Some(names), Some(algorithm), Some(encoded)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if names.starts_with('#') || !matches(names, name) {
            continue;
        }
        let Some(key) = ServerKey::of(algorithm, encoded) else {
            continue;
        };
        let line = Line {
            number: index + 1,
            key,
        };
        match marker {
            None => known.keys.push(line),
            Some("@revoked") => known.revoked.push(line),
            Some("@cert-authority") => known.authorities += 1,
            Some(_) => {}
        }
    }
    known
}

/// Whether a line's names, separated by commas, mean this one. A name with `!` before it excludes.
fn matches(names: &str, name: &str) -> bool {
    let mut found = false;
    for pattern in names.split(',') {
        match pattern.strip_prefix('!') {
            Some(excluded) if fits(excluded, name) => return false,
            Some(_) => {}
            None => found |= fits(pattern, name),
        }
    }
    found
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_prefix("|1|") {
        Some(hashed) => is_hash_of(hashed, name).unwrap_or(false),
        None => is_like(pattern.to_ascii_lowercase().as_bytes(), name.as_bytes()),
    }
}

/// `SALT|HASH`, both in base64: the hash of the name under the salt.
fn is_hash_of(hashed: &str, name: &str) -> Option<bool> {
    let (salt, hash) = hashed.split_once('|')?;
    let (salt, hash) = (STANDARD.decode(salt).ok()?, STANDARD.decode(hash).ok()?);
    let mac = Hmac::<Sha1>::new_from_slice(&salt).ok()?;
    Some(mac.chain_update(name.as_bytes()).verify_slice(&hash).is_ok())
}

/// `*` stands for any characters, `?` for one.
fn is_like(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match star {
                // The last star takes one more.
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    in_name = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn lines(known: &[Line]) -> Vec<usize> {
        known.iter().map(|line| line.number).collect()
    }

    #[test]
    fn all_keys_of_an_endpoint_are_found_however_it_is_named() {
        let text = format!(
            "# a comment\n\n[esc]:830 ssh-ed25519 {ONE} the first\n[esc]:830,[10.0.0.1]:830 ssh-ed25519 {OTHER}\n\
             [esc]:22 ssh-ed25519 {ONE}\nother ssh-ed25519 {ONE}\n@cert-authority [esc]:830 ssh-ed25519 {ONE}\n\
             @revoked [e*]:83? ssh-ed25519 {OTHER}\n[esc]:830 ssh-ed25519 %%%\n[esc]:830\n[*]:830,![esc]:830 ssh-ed25519 {ONE}\n"
        );
        let found = known(&text, "ESC", 830);
        assert_eq!(lines(&found.keys), [3, 4]);
        assert_eq!((lines(&found.revoked), found.authorities), (vec![8], 1));
        assert_eq!(lines(&known(&text, "10.0.0.1", 830).keys), [4, 11]);
        assert_eq!(lines(&known(&text, "esc", 831).keys), Vec::<usize>::new());
        assert_eq!(lines(&known(&text, "other", 22).keys), [6]);
        // As with `ssh`, a line without a port will do where there is none with it.
        assert_eq!(lines(&known(&text, "other", 2022).keys), [6]);
    }

    #[test]
    fn hashed_names_are_recognised() {
        let text = format!(
            "|1|O33ESRMWPVkMYIwJ1Uw+n877jTo=|nuuC5vEqXlEZ/8BXQR7m619W6Ak= ssh-ed25519 {ONE}\n|1|x|y ssh-ed25519 {ONE}\n\
             |1| ssh-ed25519 {ONE}\n"
        );
        assert_eq!(lines(&known(&text, "example.com", 22).keys), [1]);
        assert_eq!(lines(&known(&text, "example.org", 22).keys), Vec::<usize>::new());
    }

    #[test]
    fn a_fingerprint_is_what_ssh_shows() {
        let key = ServerKey::of("ssh-ed25519", ONE).expect("a key");
        assert_eq!(
            key.fingerprint(),
            "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE"
        );
        assert_eq!(key.words(), format!("ssh-ed25519 {ONE}"));
    }

    proptest! {
        #[test]
        fn what_was_written_for_a_name_is_found(host in "[a-z]{1,8}(\\.[a-z]{1,4})?", port in 1_u16.., before in "(\\PC{0,20}\n){0,3}") {
            let text = format!("{before}{} ssh-ed25519 {ONE}\n", name_of(&host, port));
            prop_assert!(known(&text, &host, port).keys.iter().any(|line| line.key.words().ends_with(ONE)));
        }

        #[test]
        fn no_file_makes_it_panic(text in "([@|!*?#,\\[\\]: \n=1a]|ssh-rsa|AAAA|@revoked |\\PC){0,60}") {
            let _ = known(&text, "esc", 830);
        }

        #[test]
        fn a_pattern_of_its_own_letters_or_a_star_fits(name in "[a-c]{0,6}", other in "[a-c*?]{0,6}") {
            prop_assert!(is_like(name.as_bytes(), name.as_bytes()));
            let with_star = format!("{other}*");
            let _ = is_like(with_star.as_bytes(), name.as_bytes());
            prop_assert!(is_like(b"*", name.as_bytes()));
        }
    }
}
