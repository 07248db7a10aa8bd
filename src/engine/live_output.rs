//! The output of scripts that run, before it is recorded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::id::ExecutionKey;
use crate::runner::{Captured, SoFar};

/// What an attempt that runs has written so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveOutput {
    /// The attempt's number.
    pub attempt: u32,
    /// To its standard output.
    pub stdout: Captured,
    /// To its standard error.
    pub stderr: Captured,
}

/// Of all attempts that run. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveOutputs(Arc<Mutex<HashMap<ExecutionKey, (u32, SoFar)>>>);

impl LiveOutputs {
    fn shown(&self) -> MutexGuard<'_, HashMap<ExecutionKey, (u32, SoFar)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows what an attempt writes, until the answer is dropped.
    pub(super) fn show(&self, key: &ExecutionKey, attempt: u32, so_far: SoFar) -> Showing {
        self.shown().insert(key.clone(), (attempt, so_far));
        Showing {
            outputs: self.clone(),
            key: key.clone(),
            attempt,
        }
    }

    /// What the attempt of an execution that runs has written; none where none runs.
    pub(super) fn of(&self, key: &ExecutionKey) -> Option<LiveOutput> {
        let (attempt, so_far) = self.shown().get(key).cloned()?;
        let [stdout, stderr] = so_far.kept();
        Some(LiveOutput {
            attempt,
            stdout,
            stderr,
        })
    }
}

/// An attempt whose output is shown. To be dropped when its record has it.
#[derive(Debug)]
pub(super) struct Showing {
    outputs: LiveOutputs,
    key: ExecutionKey,
    attempt: u32,
}

impl Drop for Showing {
    fn drop(&mut self) {
        let mut shown = self.outputs.shown();
        // The next attempt may have begun already.
        if shown
            .get(&self.key)
            .is_some_and(|(attempt, _)| *attempt == self.attempt)
        {
            shown.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::id::{HookName, Seq};

    #[test]
    fn an_attempt_is_shown_until_it_is_recorded_and_never_hides_the_next_one() {
        let outputs = LiveOutputs::default();
        let key = ExecutionKey::new(Seq(1), HookName::trusted("h"));
        assert_eq!(outputs.of(&key), None);
        let first = outputs.show(&key, 1, SoFar::default());
        assert_eq!(outputs.of(&key).map(|live| live.attempt), Some(1));
        let second = outputs.show(&key, 2, SoFar::default());
        drop(first);
        assert_eq!(outputs.of(&key).map(|live| live.attempt), Some(2));
        drop(second);
        assert_eq!(outputs.of(&key), None);
    }
}
