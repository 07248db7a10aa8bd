//! Executions that wait too long for others of their lanes: each is said once, for as long as it waits.

use std::collections::HashSet;

use crate::engine::handle::Blocked;
use crate::event::id::ExecutionKey;

/// Of those that are found together, so many are named in the log.
const NAMED: usize = 10;

/// Those that were said already and still wait.
#[derive(Debug, Default)]
pub(super) struct ReportedBlocked(HashSet<ExecutionKey>);

impl ReportedBlocked {
    /// Takes all that wait too long now; says in the log which of them were not there at the last look, and gives those.
    pub(super) fn newly(&mut self, blocked: Vec<Blocked>) -> Vec<Blocked> {
        // There may be as many as the backlog allows: each is looked up, and none compared with all others.
        let now = blocked.iter().map(|waiting| waiting.waiting.clone()).collect();
        let former = std::mem::replace(&mut self.0, now);
        let newly: Vec<Blocked> = blocked
            .into_iter()
            .filter(|waiting| !former.contains(&waiting.waiting))
            .collect();
        for waiting in newly.iter().take(NAMED) {
            tracing::warn!(
                subject = waiting.subject.as_deref().unwrap_or("-"),
                waiting = %waiting.waiting, behind = %waiting.behind, since = %waiting.since,
                "an execution waits for another one of its lane"
            );
        }
        if newly.len() > NAMED {
            let more = newly.len() - NAMED;
            tracing::warn!(
                more,
                "more executions wait for others of their lanes; `hem status` names them"
            );
        }
        newly
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::id::{HookName, Seq};
    use crate::event::time::Timestamp;

    fn blocked(numbers: impl IntoIterator<Item = u64>) -> Vec<Blocked> {
        let key = |number| ExecutionKey::new(Seq(number), HookName::trusted("a"));
        let numbers = numbers.into_iter();
        let blocked = numbers.map(|number| Blocked {
            subject: Some(format!("vm/{number}")),
            waiting: key(number),
            behind: key(0),
            since: Timestamp::from_millis(0),
        });
        blocked.collect()
    }

    #[test]
    fn each_is_told_once_while_it_waits_and_again_when_it_waits_again() {
        let mut reported = ReportedBlocked::default();
        assert_eq!(reported.newly(blocked([1, 2])), blocked([1, 2]));
        assert_eq!(reported.newly(blocked([1, 2, 3])), blocked([3]));
        assert_eq!(reported.newly(blocked([3])), blocked([]));
        assert_eq!(reported.newly(blocked([1, 3])), blocked([1]));
    }

    #[test]
    fn as_many_as_a_backlog_holds_are_looked_at_again_and_again_without_a_pause() {
        let mut reported = ReportedBlocked::default();
        assert_eq!(reported.newly(blocked(0..100_000)).len(), 100_000);
        for _ in 0..5 {
            // Compared each with each, this would not come to an end.
            assert_eq!(reported.newly(blocked(0..100_000)), blocked([]));
        }
    }
}
