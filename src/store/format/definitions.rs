//! How hooks are stored: their definitions, what operators said about them, and the last good text of a file.

use serde::{Deserialize, Serialize};

use super::super::{Definition, Override};
use super::{FormatError, StoredActor, hex, read, unhex, write};
use crate::event::id::HookName;
use crate::event::time::Timestamp;

#[derive(Serialize, Deserialize)]
struct StoredDefinition {
    name: String,
    text: String,
    file: String,
    line: usize,
    file_sha256: String,
}

pub(in crate::store) fn write_definition(definition: &Definition) -> Vec<u8> {
    write(&StoredDefinition {
        name: definition.name.to_string(),
        text: definition.text.clone(),
        file: definition.file.clone(),
        line: definition.line,
        file_sha256: hex(&definition.file_sha256),
    })
}

pub(in crate::store) fn read_definition(bytes: &[u8]) -> Result<Definition, FormatError> {
    let stored: StoredDefinition = read(bytes)?;
    Ok(Definition {
        name: HookName::trusted(&stored.name),
        text: stored.text,
        file: stored.file,
        line: stored.line,
        file_sha256: unhex(&stored.file_sha256)?,
    })
}

#[derive(Serialize, Deserialize)]
struct StoredOverride {
    enabled: bool,
    by: StoredActor,
    at: i64,
}

pub(in crate::store) fn write_override(value: &Override) -> Vec<u8> {
    write(&StoredOverride {
        enabled: value.enabled,
        by: (&value.actor).into(),
        at: value.at.as_millis(),
    })
}

pub(in crate::store) fn read_override(bytes: &[u8]) -> Result<Override, FormatError> {
    let stored: StoredOverride = read(bytes)?;
    Ok(Override {
        enabled: stored.enabled,
        actor: stored.by.into(),
        at: Timestamp::from_millis(stored.at),
    })
}

#[derive(Serialize, Deserialize)]
struct StoredLastGood {
    text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stale_since: Option<i64>,
}

pub(in crate::store) fn write_last_good(text: &str, stale_since: Option<Timestamp>) -> Vec<u8> {
    write(&StoredLastGood {
        text: text.to_owned(),
        stale_since: stale_since.map(Timestamp::as_millis),
    })
}

pub(in crate::store) fn read_last_good(bytes: &[u8]) -> Result<(String, Option<Timestamp>), FormatError> {
    let stored: StoredLastGood = read(bytes)?;
    Ok((stored.text, stored.stale_since.map(Timestamp::from_millis)))
}
