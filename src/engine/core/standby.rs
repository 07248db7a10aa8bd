//! Standby: nothing is started while another front-end may lead, and what is taken up again is not stale.

use std::time::Duration;

use super::lanes::Active;
use super::{Core, Step};
use crate::engine::execution::{CancelReason, Cause, Settlement, SkipReason, State};
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;

/// `start_within` of hooks that do not say it, as far as standby is concerned: what waited for longer while another front-end
/// may have led is not started any more.
const STALE_AFTER: Duration = Duration::from_secs(15 * 60);

impl Core {
    /// Starts nothing from now on, as if that had been so since `since`. A life that does not know yet whether it leads calls
    /// this before [`Core::recover`], with the last time at which the former one knew that it did.
    pub fn stand_by(&mut self, since: Timestamp) {
        self.standby.get_or_insert(since);
    }

    /// Whether nothing is started because another front-end may lead.
    pub const fn is_on_standby(&self) -> bool {
        self.standby.is_some()
    }

    /// Takes the work up again. What waited too long while another front-end may have led comes to its end.
    pub(super) fn lead(&mut self, now: Timestamp, step: &mut Step) {
        let Some(since) = self.standby.take() else {
            return;
        };
        let stale = self
            .active
            .iter()
            .filter(|(_, active)| is_stale(active, since, now));
        let stale: Vec<ExecutionKey> = self.in_order(stale);
        for key in stale {
            let was_tried = self
                .active
                .get(&key)
                .is_some_and(|active| active.progress.attempts > 0);
            let settlement = if was_tried {
                Settlement::Cancelled(CancelReason::Expired)
            } else {
                Settlement::Skipped(SkipReason::Expired)
            };
            self.settle(&key, settlement, now, step);
        }
    }
}

/// Whether it waits, and has for too long since `standby` began or since it was its turn, whichever came later. Time before
/// that counts for nothing: a role that flaps takes nothing away.
fn is_stale(active: &Active, standby: Timestamp, now: Timestamp) -> bool {
    let due = match &active.progress.state {
        // When it was put into the queue says nothing where a former life left it: that was done when this one began.
        State::Queued {
            cause: Cause::Retry | Cause::Recovery,
            ..
        } => standby,
        State::Queued {
            cause: Cause::Operator { .. },
            since,
        } => *since,
        State::Queued { .. } => active.counts_from,
        State::Retrying { due, .. } | State::Debouncing { due, .. } => *due,
        State::Running { .. } | State::Settled { .. } => return false,
    };
    let limit = active.hook.policy.start_within.unwrap_or(STALE_AFTER);
    due.max(standby).plus(limit) <= now
}
