//! What a result says of its attempt: laid out when the attempt is, which has the event at hand, or anew from the records.

use std::sync::{Arc, Mutex, PoisonError};

use super::{Captured, FinishedAttempt, Outcome, Owed};
use crate::engine::pinned::hook_of_version;
use crate::event::id::ExecutionKey;
use crate::event::{Event, Facts};
use crate::hooks::invocation::{argument_line, command_shown};
use crate::hooks::{Defaults, Hook};
use crate::store::{ReadError, Store};

/// What a result says besides how the attempt ended.
#[derive(Debug)]
pub(in crate::engine) struct Wording {
    /// The source whose event it was.
    pub(super) source: Arc<str>,
    arguments: String,
    command: String,
    remote_host: Option<String>,
    /// It was asked for by a RETRY message.
    repeats: bool,
}

impl Wording {
    /// That of an attempt of `hook` for `event`, whose arguments make this line; empty where none can be made.
    pub(in crate::engine) fn of(hook: &Hook, event: &Event, arguments: String) -> Self {
        Self {
            source: Arc::clone(&event.source),
            command: command_shown(hook, &arguments),
            arguments,
            remote_host: remote_host(hook, event),
            repeats: matches!(event.facts, Facts::Retry(_)),
        }
    }

    /// What is told of the attempt now that it has ended.
    pub(super) fn finished(
        self,
        owed: &Owed,
        outcome: Outcome,
        stdout: Captured,
        stderr: Captured,
    ) -> FinishedAttempt {
        FinishedAttempt {
            hook_id: owed.hook_id,
            arguments: self.arguments,
            command: self.command,
            outcome,
            stdout,
            stderr,
            remote_host: self.remote_host,
            repeats: owed.attempt > 1 || self.repeats,
        }
    }
}

/// The host that `onehem-server` names: that of a hook that runs on other hosts, and any that a RETRY message came with.
fn remote_host(hook: &Hook, event: &Event) -> Option<String> {
    let is_said = hook.action.remote || matches!(event.facts, Facts::Retry(_));
    event.host().filter(|_| is_said).map(str::to_owned)
}

/// Lays results out again, from the records: those that are not at hand in memory.
#[derive(Debug)]
pub(super) struct WordingAnew {
    store: Store,
    defaults: Defaults,
    /// The hook that was told of last. Many results in a row are of one hook, and to compile it anew takes longer than to tell.
    last_hook: Mutex<Option<Arc<Hook>>>,
}

impl WordingAnew {
    pub(super) fn new(store: &Store, defaults: &Defaults) -> Self {
        Self {
            store: store.clone(),
            defaults: defaults.clone(),
            last_hook: Mutex::default(),
        }
    }

    /// What there is to tell; or why it cannot be told. Reading may wait for the disk.
    pub(super) fn finished(&self, owed: &Owed) -> Result<FinishedAttempt, String> {
        let of = &owed.execution;
        let unreadable =
            |error: ReadError| format!("attempt {} of {of} cannot be read: {error}", owed.attempt);
        let gone = || format!("attempt {} of {of} is no longer in the store", owed.attempt);
        let event = self
            .store
            .event(of.event)
            .map_err(unreadable)?
            .ok_or_else(gone)?
            .event;
        let attempts = self.store.attempts(of).map_err(unreadable)?;
        let attempt = attempts
            .into_iter()
            .find(|attempt| attempt.number == owed.attempt);
        let ended = attempt.and_then(|attempt| attempt.ended).ok_or_else(gone)?;
        let hook = self.hook(owed)?;
        // What cannot be made from the event did not start, and the outcome says so.
        let arguments = argument_line(&hook, &event).unwrap_or_default();
        let wording = Wording::of(&hook, &event, arguments);
        Ok(wording.finished(owed, ended.outcome, ended.stdout, ended.stderr))
    }

    /// The source whose event it was.
    pub(super) fn source_of(&self, of: &ExecutionKey) -> Result<Option<String>, ReadError> {
        self.store.source_of(of.event)
    }

    /// The hook in the version that ran.
    fn hook(&self, owed: &Owed) -> Result<Arc<Hook>, String> {
        let name = &owed.execution.hook;
        let last = || self.last_hook.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(hook) = &*last()
            && hook.version == owed.version
            && hook.name == *name
        {
            return Ok(Arc::clone(hook));
        }
        let hook = hook_of_version(&self.store, name, owed.version, &self.defaults)
            .map_err(|error| error.to_string())?;
        *last() = Some(Arc::clone(&hook));
        Ok(hook)
    }
}
