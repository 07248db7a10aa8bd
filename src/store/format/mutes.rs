//! How a mute is stored.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{FormatError, StoredActor, millis, read, write};
use crate::engine::mute::{Mute, MutedBy, Scope, Until};
use crate::event::Subject;
use crate::event::id::HookName;
use crate::event::time::Timestamp;

#[derive(Serialize, Deserialize)]
struct StoredMute {
    scope: StoredScope,
    since: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<StoredUntil>,
    by: StoredMutedBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredUntil {
    at: i64,
    length: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredScope {
    All,
    Source { source: String },
    Hook { hook: String },
    Lane { hook: String, subject: String },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredMutedBy {
    Operator { who: StoredActor },
    Throttle,
    LoopGuard,
    Breaker,
}

pub(in crate::store) fn write_mute(mute: &Mute) -> Vec<u8> {
    write(&StoredMute {
        scope: match &mute.scope {
            Scope::All => StoredScope::All,
            Scope::Source(source) => StoredScope::Source {
                source: source.to_string(),
            },
            Scope::Hook(hook) => StoredScope::Hook {
                hook: hook.to_string(),
            },
            Scope::Lane(hook, subject) => StoredScope::Lane {
                hook: hook.to_string(),
                subject: subject.to_string(),
            },
        },
        since: mute.since.as_millis(),
        until: mute.until.map(|until| StoredUntil {
            at: until.at.as_millis(),
            length: millis(until.length),
        }),
        by: match &mute.by {
            MutedBy::Operator(actor) => StoredMutedBy::Operator { who: actor.into() },
            MutedBy::Throttle => StoredMutedBy::Throttle,
            MutedBy::LoopGuard => StoredMutedBy::LoopGuard,
            MutedBy::Breaker => StoredMutedBy::Breaker,
        },
        reason: mute.reason.clone(),
    })
}

pub(in crate::store) fn read_mute(bytes: &[u8]) -> Result<Mute, FormatError> {
    let stored: StoredMute = read(bytes)?;
    Ok(Mute {
        scope: match stored.scope {
            StoredScope::All => Scope::All,
            StoredScope::Source { source } => Scope::Source(Arc::from(source)),
            StoredScope::Hook { hook } => Scope::Hook(HookName::trusted(&hook)),
            StoredScope::Lane { hook, subject } => {
                Scope::Lane(HookName::trusted(&hook), Subject::new(&subject))
            }
        },
        since: Timestamp::from_millis(stored.since),
        until: stored.until.map(|until| Until {
            at: Timestamp::from_millis(until.at),
            length: Duration::from_millis(until.length),
        }),
        by: match stored.by {
            StoredMutedBy::Operator { who } => MutedBy::Operator(who.into()),
            StoredMutedBy::Throttle => MutedBy::Throttle,
            StoredMutedBy::LoopGuard => MutedBy::LoopGuard,
            StoredMutedBy::Breaker => MutedBy::Breaker,
        },
        reason: stored.reason,
    })
}
