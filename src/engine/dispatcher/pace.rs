//! How fast each hook's scripts come to their ends: what an estimate of the time left is made of.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::engine::core::{Group, Record};
use crate::event::id::HookName;
use crate::event::time::Timestamp;

/// The ends remembered of each hook.
const REMEMBERED: usize = 64;

/// With fewer ends than this nothing is said.
const ENOUGH: usize = 5;

/// When the newest scripts of each hook ended.
#[derive(Debug, Default)]
pub(super) struct Pace {
    ends: HashMap<HookName, VecDeque<Timestamp>>,
}

impl Pace {
    /// Notes what a step settled.
    pub(super) fn note(&mut self, records: &[Record], now: Timestamp) {
        for record in records {
            if let Record::Progressed { key, left, progress } = record
                && *left == "running"
                && progress.state.is_settled()
            {
                let ends = self.ends.entry(key.hook.clone()).or_default();
                if ends.len() == REMEMBERED {
                    ends.pop_front();
                }
                ends.push_back(now);
            }
        }
    }

    /// The clock was set: what was measured means nothing any more.
    pub(super) fn forget(&mut self) {
        self.ends.clear();
    }

    /// About how long it takes until what waits and is not held has run.
    ///
    /// Only what ended since the oldest of them waits counts: before that the hook may have had nothing to do.
    pub(super) fn left(&self, hook: &HookName, group: &Group, now: Timestamp) -> Option<Duration> {
        let waiting = u32::try_from(group.queued - group.held)
            .ok()
            .filter(|waiting| *waiting > 0)?;
        let since = group.oldest_free?;
        let ends = self.ends.get(hook)?;
        let counted = ends.iter().filter(|end| **end >= since).count();
        if counted < ENOUGH {
            return None;
        }
        // Where older ends were forgotten, the time is measured from the first that is remembered.
        let (from, ended) = match ends.front() {
            Some(first) if counted == REMEMBERED => (*first, counted - 1),
            _ => (since, counted),
        };
        let each = now.since(from) / u32::try_from(ended).unwrap_or(u32::MAX);
        Some(each * waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::execution::{Progress, Settlement, State};
    use crate::event::id::{ExecutionKey, Seq};
    use crate::hooks::Version;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn hook() -> HookName {
        HookName::trusted("a")
    }

    fn ended() -> Record {
        Record::Progressed {
            key: ExecutionKey::new(Seq(1), hook()),
            left: "running",
            progress: Progress {
                state: State::Settled {
                    settlement: Settlement::Succeeded,
                    at: at(0),
                },
                turn: 1,
                version: Version([0; 32]),
                attempts: 1,
                budget_used: 0,
                interruptions: 0,
            },
        }
    }

    fn waiting(queued: u64, held: u64, since: i64) -> Group {
        Group {
            queued,
            held,
            oldest: Some(at(since)),
            oldest_free: Some(at(since)),
            ..Group::default()
        }
    }

    #[test]
    fn the_time_left_follows_from_what_ended_while_something_waited() {
        let mut pace = Pace::default();
        // An hour ago there was little to do.
        for minute in 0..30 {
            pace.note(&[ended()], at(minute * 60));
        }
        let group = waiting(1_000, 200, 10_000);
        assert_eq!(
            pace.left(&hook(), &group, at(10_001)),
            None,
            "nothing is known yet"
        );
        for second in 1..=5 {
            pace.note(&[ended(), ended()], at(10_000 + second));
        }
        let left = pace.left(&hook(), &group, at(10_005)).expect("an estimate");
        assert_eq!(left, Duration::from_secs(400), "two a second, 800 to go");
        for second in 6..=1_000 {
            pace.note(&[ended()], at(10_000 + second));
        }
        let left = pace
            .left(&hook(), &waiting(63, 0, 10_000), at(11_000))
            .expect("an estimate");
        assert_eq!(left, Duration::from_secs(63), "the newest count");
        assert_eq!(
            pace.left(&hook(), &waiting(9, 9, 10_000), at(11_000)),
            None,
            "all are held"
        );
        pace.forget();
        assert_eq!(pace.left(&hook(), &group, at(11_000)), None);
    }
}
