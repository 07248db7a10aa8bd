//! How it is stored that a controller is still to be told of an attempt.

use serde::{Deserialize, Serialize};

use super::{FormatError, hex, read, unhex, write};
use crate::engine::outbox::Owed;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::hooks::Version;

#[derive(Serialize, Deserialize)]
struct StoredOwed {
    source: String,
    hook_id: u64,
    event: u64,
    hook: String,
    attempt: u32,
    version: String,
}

pub(in crate::store) fn write_owed(owed: &Owed) -> Vec<u8> {
    write(&StoredOwed {
        source: owed.source.to_string(),
        hook_id: owed.hook_id,
        event: owed.execution.event.0,
        hook: owed.execution.hook.to_string(),
        attempt: owed.attempt,
        version: hex(&owed.version.0),
    })
}

pub(in crate::store) fn read_owed(number: u64, bytes: &[u8]) -> Result<Owed, FormatError> {
    let stored: StoredOwed = read(bytes)?;
    Ok(Owed {
        number,
        source: stored.source.as_str().into(),
        hook_id: stored.hook_id,
        execution: ExecutionKey::new(Seq(stored.event), HookName::trusted(&stored.hook)),
        attempt: stored.attempt,
        version: Version(unhex(&stored.version)?),
    })
}
