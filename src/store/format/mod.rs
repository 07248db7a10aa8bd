//! The stored forms: what stands in the values, as JSON, apart from the types the program works with.
//!
//! Fields are only ever added, with a default, so that a newer program reads an older store. What an older program
//! could not read correctly raises [`FORMAT`], and the older program refuses the store.
//!
//! One module for each kind of record; here stands what they share.

mod attempts;
mod audit;
mod definitions;
mod esc;
mod events;
mod executions;
mod known;
mod mutes;
mod ncmp;
mod owed;
mod totals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(super) use self::attempts::StoredAttempt;
pub(super) use self::audit::{read_audit, write_audit};
pub(super) use self::definitions::{
    read_definition, read_last_good, read_override, write_definition, write_last_good, write_override,
};
pub(super) use self::events::{read_event, write_event};
pub(super) use self::executions::{is_settled, read_execution, write_execution, write_progress};
pub(super) use self::known::{
    read_baseline, read_gap_story, read_state_names, write_baseline, write_gap_story, write_state_names,
};
pub(super) use self::mutes::{read_mute, write_mute};
pub(super) use self::owed::{read_owed, write_owed};
pub(super) use self::totals::{StoredCounters, Totals, read_totals};
use crate::engine::execution::Actor;
use crate::hooks::Version;

/// The format this program writes.
pub(super) const FORMAT: u32 = 1;

/// A stored value that does not say what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("it is not the JSON that was written")]
    Json(#[source] serde_json::Error),
    #[error("`{0}` cannot stand there")]
    Value(String),
}

pub(super) fn write<T: Serialize>(value: &T) -> Vec<u8> {
    // Stored forms are plain data with text for keys: there is nothing that could fail.
    serde_json::to_vec(value).unwrap_or_default()
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, FormatError> {
    serde_json::from_slice(bytes).map_err(FormatError::Json)
}

fn is_false(value: &bool) -> bool {
    !*value
}

fn hex(bytes: &[u8; 32]) -> String {
    Version(*bytes).to_string()
}

fn unhex(text: &str) -> Result<[u8; 32], FormatError> {
    let bad = || FormatError::Value(text.to_owned());
    if text.len() != 64 {
        return Err(bad());
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = text
            .get(at..at + 2)
            .and_then(|pair| u8::from_str_radix(pair, 16).ok())
            .ok_or_else(bad)?;
    }
    Ok(bytes)
}

/// A path as JSON can hold it.
fn utf8(path: &Path) -> PathBuf {
    path.to_string_lossy().into_owned().into()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredActor {
    User { uid: u32 },
    Token { name: String },
    Daemon,
}

impl From<&Actor> for StoredActor {
    fn from(actor: &Actor) -> Self {
        match actor {
            Actor::User { uid } => Self::User { uid: *uid },
            Actor::Token { name } => Self::Token {
                name: name.to_string(),
            },
            Actor::Daemon => Self::Daemon,
        }
    }
}

impl From<StoredActor> for Actor {
    fn from(stored: StoredActor) -> Self {
        match stored {
            StoredActor::User { uid } => Self::User { uid },
            StoredActor::Token { name } => Self::Token { name: name.into() },
            StoredActor::Daemon => Self::Daemon,
        }
    }
}
