//! Secrets: read from their files at each start, replaced by their names in everything the process prints.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;

use super::start_failure::is_shortage;
use super::{Secret, StartFailure, StartFailureKind};

/// Shorter values are not replaced: they would turn up by chance and make output unreadable.
const SHORTEST_REPLACED: usize = 4;

/// A secret with its value, for one start.
pub(super) struct Revealed {
    name: String,
    value: Vec<u8>,
}

impl Revealed {
    /// The environment variable that carries it.
    pub(super) fn variable(&self) -> (OsString, OsString) {
        (
            OsString::from(self.name.clone()),
            OsString::from_vec(self.value.clone()),
        )
    }
}

/// Reads the files; one newline at the end of a file is not part of the value.
pub(super) fn reveal(secrets: &[Secret]) -> Result<Vec<Revealed>, StartFailure> {
    secrets
        .iter()
        .map(|secret| {
            let mut value = fs::read(&secret.file).map_err(|error| unreadable(secret, &error))?;
            if value.last() == Some(&b'\n') {
                value.pop();
            }
            if value.contains(&0) {
                return Err(StartFailure {
                    kind: StartFailureKind::BadArgument,
                    message: format!(
                        "the file {} of the secret {} holds a NUL byte, which no environment variable can carry",
                        secret.file.display(),
                        secret.name
                    ),
                });
            }
            Ok(Revealed { name: secret.name.clone(), value })
        })
        .collect()
}

fn unreadable(secret: &Secret, error: &io::Error) -> StartFailure {
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => StartFailureKind::NotFound,
        io::ErrorKind::PermissionDenied => StartFailureKind::NotPermitted,
        _ if is_shortage(error) => StartFailureKind::Exhausted,
        _ => StartFailureKind::Other,
    };
    StartFailure {
        kind,
        message: format!(
            "cannot read the file {} of the secret {}: {error}",
            secret.file.display(),
            secret.name
        ),
    }
}

/// Replaces the values of secrets in a stream by `[secret NAME]`, also where a value is cut by the border of two chunks.
pub(super) struct Redactor {
    /// Value and replacement, the longest value first: of two that begin alike the longer one is meant.
    values: Vec<(Vec<u8>, Vec<u8>)>,
    begins_value: [bool; 256],
    /// What may turn out to be the beginning of a value.
    held: Vec<u8>,
}

impl Redactor {
    pub(super) fn new(secrets: &[Revealed]) -> Self {
        let mut values: Vec<_> = secrets
            .iter()
            .filter(|secret| secret.value.len() >= SHORTEST_REPLACED)
            .map(|secret| {
                (
                    secret.value.clone(),
                    format!("[secret {}]", secret.name).into_bytes(),
                )
            })
            .collect();
        values.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
        let mut begins_value = [false; 256];
        for (value, _) in &values {
            begins_value[usize::from(value[0])] = true;
        }
        Self {
            values,
            begins_value,
            held: Vec::new(),
        }
    }

    /// Takes a chunk and gives what can be said for certain; a beginning of a value is held back.
    pub(super) fn push(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        if self.values.is_empty() {
            return chunk;
        }
        self.held.extend_from_slice(&chunk);
        self.release(false)
    }

    /// Gives what was held back, at the end of the stream.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        self.release(true)
    }

    fn release(&mut self, at_end: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.held.len());
        let mut at = 0;
        while at < self.held.len() {
            let rest = &self.held[at..];
            if !self.begins_value[usize::from(rest[0])] {
                out.push(rest[0]);
                at += 1;
                continue;
            }
            let undecided = |value: &Vec<u8>| !at_end && value.len() > rest.len() && value.starts_with(rest);
            if self.values.iter().any(|(value, _)| undecided(value)) {
                break;
            }
            match self.values.iter().find(|(value, _)| rest.starts_with(value)) {
                Some((value, replacement)) => {
                    out.extend_from_slice(replacement);
                    at += value.len();
                }
                None => {
                    out.push(rest[0]);
                    at += 1;
                }
            }
        }
        self.held.drain(..at);
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn redactor(secrets: &[(&str, &str)]) -> Redactor {
        let revealed: Vec<_> = secrets
            .iter()
            .map(|(name, value)| Revealed {
                name: (*name).to_owned(),
                value: value.as_bytes().to_vec(),
            })
            .collect();
        Redactor::new(&revealed)
    }

    fn redacted(secrets: &[(&str, &str)], chunks: &[&str]) -> String {
        let mut redactor = redactor(secrets);
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend(redactor.push(chunk.as_bytes().to_vec()));
        }
        out.extend(redactor.finish());
        String::from_utf8(out).expect("text in, text out")
    }

    #[test]
    fn values_are_replaced_wherever_chunks_are_cut() {
        let secrets = [("TOKEN", "hunter22")];
        for chunks in [
            &["x hunter22 y"][..],
            &["x hun", "ter22 y"],
            &["x h", "u", "n", "t", "er2", "2 y"],
        ] {
            assert_eq!(redacted(&secrets, chunks), "x [secret TOKEN] y", "{chunks:?}");
        }
    }

    #[test]
    fn a_beginning_that_is_no_value_is_given_back() {
        assert_eq!(
            redacted(&[("TOKEN", "hunter22")], &["hunt", "hunter2"]),
            "hunthunter2"
        );
        assert_eq!(
            redacted(&[("TOKEN", "aaab")], &["aa", "aaab"]),
            "aa[secret TOKEN]"
        );
    }

    #[test]
    fn of_two_values_that_begin_alike_the_longer_is_meant() {
        let secrets = [("A", "pass"), ("B", "password")];
        assert_eq!(
            redacted(&secrets, &["pass", "word pass"]),
            "[secret B] [secret A]"
        );
    }

    #[test]
    fn short_values_are_left_in_place() {
        assert_eq!(redacted(&[("PIN", "123")], &["0123"]), "0123");
    }

    proptest! {
        #[test]
        fn no_value_survives_and_chunking_changes_nothing(
            parts in prop::collection::vec("[ab]{0,6}|abba|bababa", 0..12),
        ) {
            let secrets = [("A", "abba"), ("B", "bababa")];
            let chunks: Vec<&str> = parts.iter().map(String::as_str).collect();
            let whole = parts.concat();
            let together = redacted(&secrets, &[&whole]);
            prop_assert_eq!(&redacted(&secrets, &chunks), &together);
            prop_assert!(!together.contains("abba") && !together.contains("bababa"), "{}", together);
        }
    }
}
