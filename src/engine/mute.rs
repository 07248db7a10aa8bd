//! Mutes: what holds executions back, though their events are kept. Pure.
//!
//! A mute is one durable record. What it holds stays `queued`, whatever its number; the scheduler does not start it while
//! any mute covers it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::execution::{Actor, Cause, Execution, State};
use crate::event::Subject;
use crate::event::id::HookName;
use crate::event::time::Timestamp;

/// A mute in force. There is one for each scope; a new one takes the place of the former.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mute {
    /// What it covers.
    pub scope: Scope,
    /// Since when.
    pub since: Timestamp,
    /// When it ends by itself; it does not when unset.
    pub until: Option<Until>,
    /// Who muted.
    pub by: MutedBy,
    /// Why, for people: the operator's words, or the policy's.
    pub reason: Option<String>,
}

/// When a mute ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Until {
    /// The time.
    pub at: Timestamp,
    /// How long it was to last when it was made; after a jump of the clock it lasts that long again at most.
    pub length: Duration,
}

impl Until {
    /// That long after `now`.
    pub fn after(now: Timestamp, length: Duration) -> Self {
        let at = now.plus(length);
        Self { at, length }
    }
}

/// What a mute covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everything.
    All,
    /// What events of one source cause.
    Source(Arc<str>),
    /// One hook.
    Hook(HookName),
    /// One hook about one subject.
    Lane(HookName, Subject),
}

impl Scope {
    /// Whether it covers what a hook is to do about an event of that source and subject.
    pub fn covers(&self, hook: &HookName, source: &str, subject: Option<&Subject>) -> bool {
        match self {
            Self::All => true,
            Self::Source(name) => **name == *source,
            Self::Hook(name) => name == hook,
            Self::Lane(name, about) => name == hook && Some(about) == subject,
        }
    }
}

/// As it stands in logs: `everything`, `source zone1`, `hook vm-running`, `hook vm-running for vm/12`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("everything"),
            Self::Source(name) => write!(f, "source {name}"),
            Self::Hook(hook) => write!(f, "hook {hook}"),
            Self::Lane(hook, subject) => write!(f, "hook {hook} for {subject}"),
        }
    }
}

/// Who muted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MutedBy {
    /// Somebody asked for it.
    Operator(Actor),
    /// The hook's `throttle`.
    Throttle,
    /// The hook's `loop_guard`.
    LoopGuard,
    /// The hook's `breaker`.
    Breaker,
}

/// What becomes of the held executions when a mute is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// They run, as far as the hook's own `debounce` and `overlap` let them. So it is when a mute ends by itself.
    Run,
    /// Of each hook and subject the newest one runs; the others are skipped as superseded.
    Latest,
    /// None of them runs; they are skipped as muted.
    Drop,
}

/// The mute that holds an execution, the widest first; none when it may start as far as mutes go.
pub fn holding<'a>(mutes: &'a [Mute], execution: &Execution) -> Option<&'a Mute> {
    let State::Queued { cause, .. } = &execution.progress.state else {
        return None;
    };
    if cause.is_explicit() {
        return None;
    }
    mutes
        .iter()
        .filter(|mute| {
            let subject = execution.subject.as_ref();
            mute.scope.covers(&execution.key.hook, &execution.source, subject)
        })
        .min_by(|a, b| a.scope.cmp(&b.scope))
}

impl Cause {
    /// Whether somebody asked for just this attempt: then no policy holds it back or takes it away.
    pub const fn is_explicit(&self) -> bool {
        match self {
            Self::RetryMessage(_) | Self::Operator { .. } => true,
            Self::Event | Self::Retry | Self::Recovery => false,
        }
    }
}
