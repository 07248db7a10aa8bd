//! Which hooks an event triggers, and why not. Pure: no input or output, no clock.

use std::sync::Arc;

use crate::event::Event;
use crate::hooks::{Hook, HookSet};

/// One hook that an event triggers.
#[derive(Debug, Clone)]
pub struct Match {
    /// The hook.
    pub hook: Arc<Hook>,
    /// Why, in a few words: `state VM ACTIVE/RUNNING`.
    pub why: String,
}

/// What came of matching one event.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// The hooks it triggers, in the set's order.
    pub matches: Vec<Match>,
    /// Hooks whose trigger fits and whose condition could not be worked out: nothing runs, it is counted and shown.
    pub condition_errors: Vec<(Arc<Hook>, String)>,
}

/// The hooks in force, arranged so that an event finds its candidates without looking at the others.
#[derive(Debug)]
pub struct Index {
    _hooks: Arc<HookSet>,
}

impl Index {
    /// Arranges a set. `is_enabled` says which hooks count (the file's word and the operator's override).
    pub fn new(hooks: Arc<HookSet>, _is_enabled: impl Fn(&Hook) -> bool) -> Self {
        Self { _hooks: hooks }
    }

    /// The hooks `event` triggers.
    pub fn matches(&self, _event: &Event) -> Matches {
        unimplemented!()
    }
}

/// Why one hook does or does not match one event: every condition with the value found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The steps that were looked at, in order; the first that does not hold decides.
    pub steps: Vec<Step>,
    /// Whether the hook matches.
    pub matches: bool,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is asked for: `state is RUNNING`.
    pub asked: String,
    /// What was found: `BOOT`.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

/// Says why `hook` does or does not match `event`.
pub fn explain(_hook: &Hook, _event: &Event) -> Explanation {
    unimplemented!()
}
