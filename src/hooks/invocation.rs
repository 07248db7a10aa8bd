//! From a hook and an event to what is started: argv, environment, standard input. Pure: no input or output, no clock.

use crate::event::Event;
use crate::event::id::{ExecutionKey, StoreId};
use crate::hooks::Hook;
use crate::runner::{Invocation, StartFailure};

/// What an attempt's environment says besides the event.
#[derive(Debug, Clone)]
pub struct AttemptFacts<'a> {
    /// The store's id, `HEM_INSTANCE`.
    pub instance: &'a StoreId,
    /// The execution, `HEM_EXECUTION_ID`.
    pub execution: &'a ExecutionKey,
    /// The attempt's number, `HEM_ATTEMPT`.
    pub attempt: u32,
    /// The daemon's own environment.
    pub daemon_environment: &'a [(String, String)],
}

/// Lays out what is started when `hook` runs for `event`.
///
/// # Errors
/// A named failure to start when an argument cannot be made from the event.
pub fn invocation(
    _hook: &Hook,
    _event: &Event,
    _facts: &AttemptFacts<'_>,
) -> Result<Invocation, StartFailure> {
    unimplemented!()
}
