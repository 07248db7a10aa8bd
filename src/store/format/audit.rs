//! How a line of the audit log is stored.

use serde::{Deserialize, Serialize};

use super::super::AuditEntry;
use super::{FormatError, StoredActor, read, write};
use crate::engine::execution::Actor;
use crate::event::time::Timestamp;

#[derive(Serialize, Deserialize)]
struct StoredAudit {
    at: i64,
    by: StoredActor,
    action: String,
    target: String,
}

pub(in crate::store) fn write_audit(at: Timestamp, actor: &Actor, action: &str, target: &str) -> Vec<u8> {
    write(&StoredAudit {
        at: at.as_millis(),
        by: actor.into(),
        action: action.to_owned(),
        target: target.to_owned(),
    })
}

pub(in crate::store) fn read_audit(number: u64, bytes: &[u8]) -> Result<AuditEntry, FormatError> {
    let stored: StoredAudit = read(bytes)?;
    Ok(AuditEntry {
        number,
        at: Timestamp::from_millis(stored.at),
        actor: stored.by.into(),
        action: stored.action,
        target: stored.target,
    })
}
