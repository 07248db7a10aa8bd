//! Observing: what would run is recorded, nothing is ever started, and nothing is left behind that a later life would start.

use std::sync::Arc;

use super::Core;
use super::lanes::LaneKey;
use super::policies::throttle_key;
use crate::engine::execution::{Cause, SkipReason};
use crate::event::Subject;
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;
use crate::hooks::{Hook, ThrottleThen};

impl Core {
    /// Starts nothing for good. To be called before anything else.
    pub fn only_observe(&mut self) {
        self.observing = true;
    }

    /// How an execution ends at once. One that would run counts for `throttle` and `debounce` as if it did. Nobody can tell
    /// when a burst will be over without waiting for it, so of one that `debounce` makes a single execution of the first is
    /// observed, not the last.
    pub(super) fn observed(
        &mut self,
        key: &ExecutionKey,
        hook: &Arc<Hook>,
        source: &Arc<str>,
        subject: Option<&Subject>,
        cause: &Cause,
        now: Timestamp,
    ) -> SkipReason {
        if cause.is_explicit() {
            return SkipReason::Observed;
        }
        if self.mutes.cover(&hook.name, source, subject) {
            return SkipReason::Muted;
        }
        if let Some(throttle) = hook.policy.throttle {
            let counted = throttle_key(&throttle, hook, subject);
            if throttle.then == ThrottleThen::Skip
                && self.throttles.is_full(&counted, throttle.max, throttle.per, now)
            {
                return SkipReason::Throttled;
            }
            self.throttles.note(counted, now, throttle.max, throttle.per, now);
        }
        if let Some(delay) = hook.policy.debounce {
            let lane = LaneKey::of(hook, subject, key);
            let goes_on = self.bursts.is_full(&lane, 1, delay, now);
            self.bursts.note(lane, now, 1, delay, now);
            if goes_on {
                return SkipReason::Superseded;
            }
        }
        SkipReason::Observed
    }
}
