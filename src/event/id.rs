//! Identifiers of events, hooks and executions.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The number an event gets when it is accepted: 1, 2, 3 … within one store. Everything is ordered by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Four characters drawn when a store is made, so that numbers of two stores are never confused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreId(Arc<str>);

impl StoreId {
    /// An id for a new store, from the given source of randomness.
    pub fn draw(rng: &mut fastrand::Rng) -> Self {
        // No vowels: four random letters shall not spell a word on somebody's screen at three in the morning.
        const LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxyz23456789";
        let id: String = (0..4)
            .map(|_| char::from(LETTERS[rng.usize(..LETTERS.len())]))
            .collect();
        Self(id.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.len() == 4 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId {
                text: text.to_owned(),
            })
        }
    }
}

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no id; expected an event (`1042`), an execution (`1042.vm-running`), each with or without its store (`k3vd-1042`), or `last`"
)]
pub struct InvalidId {
    /// What was given.
    pub text: String,
}

/// A hook's name: one or more of `A-Z a-z 0-9 . _ -`; pool hooks of oned are named `oned/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HookName(Arc<str>);

impl HookName {
    /// What the names of hooks of `oned`'s pool begin with.
    pub const POOL_PREFIX: &str = "oned/";

    /// Takes a name as it stands in a hook file.
    ///
    /// # Errors
    /// A sentence for the author when a character is not allowed or the name is empty.
    pub fn new(name: &str) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a hook's name must not be empty".to_owned());
        }
        if let Some(bad) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(format!(
                "`{bad}` cannot stand in a hook's name; allowed are letters, digits, `.`, `_` and `-`"
            ));
        }
        Ok(Self(name.into()))
    }

    /// Takes a name that was checked before (from the store, or of a pool hook).
    pub fn trusted(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names one execution within a store: the event and the hook. One pair has one execution, so accepting twice changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionKey {
    /// The event that caused it.
    pub event: Seq,
    /// The hook it runs.
    pub hook: HookName,
}

impl ExecutionKey {
    /// The key of `hook`'s execution for `event`.
    pub fn new(event: Seq, hook: HookName) -> Self {
        Self { event, hook }
    }

    /// The id across stores: `k3vd-1042.vm-running`.
    pub fn with_store(&self, store: &StoreId) -> String {
        format!("{store}-{self}")
    }
}

/// The short form that the command line speaks: `1042.vm-running`.
impl fmt::Display for ExecutionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.event, self.hook)
    }
}

/// What an operator names on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The newest execution.
    Last,
    /// An event and all it caused: `1042`.
    Event(Option<StoreId>, Seq),
    /// One execution: `1042.vm-running`.
    Execution(Option<StoreId>, ExecutionKey),
}

impl FromStr for Reference {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let invalid = || InvalidId {
            text: text.to_owned(),
        };
        if text == "last" {
            return Ok(Self::Last);
        }
        let (event, hook) = match text.split_once('.') {
            Some((event, hook)) => (event, Some(hook)),
            None => (text, None),
        };
        let (store, number) = match event.split_once('-') {
            Some((store, number)) => (Some(store.parse::<StoreId>()?), number),
            None => (None, event),
        };
        if number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        let seq = Seq(number.parse().map_err(|_| invalid())?);
        match hook {
            None => Ok(Self::Event(store, seq)),
            Some(hook) => {
                let plain = hook.strip_prefix(HookName::POOL_PREFIX).unwrap_or(hook);
                HookName::new(plain).map_err(|_| invalid())?;
                Ok(Self::Execution(
                    store,
                    ExecutionKey::new(seq, HookName::trusted(hook)),
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_command_line_speaks_them() {
        assert_eq!("last".parse(), Ok(Reference::Last));
        assert_eq!("1042".parse(), Ok(Reference::Event(None, Seq(1042))));
        assert_eq!(
            "1042.vm-running.v2".parse(),
            Ok(Reference::Execution(
                None,
                ExecutionKey::new(Seq(1042), HookName::trusted("vm-running.v2"))
            ))
        );
        let store: StoreId = "k3vd".parse().expect("a store id");
        assert_eq!(
            "k3vd-7.oned/log".parse(),
            Ok(Reference::Execution(
                Some(store),
                ExecutionKey::new(Seq(7), HookName::trusted("oned/log"))
            ))
        );
        for bad in ["", "x", "1042.", "-1", "1.a b", "toolong-1", "1x"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }
}
