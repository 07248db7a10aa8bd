//! Times of what happened lately, to be counted against a limit.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::event::time::Timestamp;

/// With fewer windows than this nobody looks for those that are over.
const FEW: usize = 1_024;

/// The times of the newest things of one kind, no more of them than the limit counts.
#[derive(Debug)]
struct Window {
    times: VecDeque<Timestamp>,
    per: Duration,
}

/// Windows by what is counted together. Those in which nothing happened lately are forgotten.
#[derive(Debug)]
pub(super) struct Windows<K> {
    of: HashMap<K, Window>,
    /// With that many windows it is time to look for those that are over.
    sweep_at: usize,
}

impl<K> Default for Windows<K> {
    fn default() -> Self {
        Self {
            of: HashMap::new(),
            sweep_at: FEW,
        }
    }
}

impl<K: Eq + Hash> Windows<K> {
    /// Whether `max` or more things happened in the last `per`.
    pub(super) fn is_full(&self, key: &K, max: usize, per: Duration, now: Timestamp) -> bool {
        let Some(window) = self.of.get(key) else {
            return false;
        };
        let first_counted = window.times.len().checked_sub(max);
        let first_counted = first_counted.and_then(|at| window.times.get(at));
        first_counted.is_some_and(|at| at.plus(per) > now)
    }

    /// Notes that something happened.
    pub(super) fn note(&mut self, key: K, at: Timestamp, max: usize, per: Duration, now: Timestamp) {
        if self.of.len() >= self.sweep_at {
            self.of.retain(|_, window| {
                let newest = window.times.back();
                newest.is_some_and(|newest| newest.plus(window.per) > now)
            });
            self.sweep_at = (self.of.len() * 2).max(FEW);
        }
        let window = self.of.entry(key).or_insert_with(|| Window {
            times: VecDeque::with_capacity(1),
            per,
        });
        window.per = per;
        // Nearly always the newest; not so when records are read back, or after the clock was set.
        let place = window.times.partition_point(|other| *other <= at);
        window.times.insert(place, at);
        while window.times.len() > max {
            window.times.pop_front();
        }
    }

    /// The clock was set: nothing happened later than now.
    pub(super) fn follow_clock(&mut self, now: Timestamp) {
        for time in self.of.values_mut().flat_map(|window| &mut window.times) {
            *time = (*time).min(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_window_slides() {
        let mut windows = Windows::default();
        for second in [0, 30, 50] {
            windows.note("a", at(second), 3, MINUTE, at(second));
        }
        assert!(windows.is_full(&"a", 3, MINUTE, at(59)));
        assert!(
            !windows.is_full(&"a", 3, MINUTE, at(60)),
            "the first is out of it"
        );
        assert!(windows.is_full(&"a", 2, MINUTE, at(60)));
        assert!(!windows.is_full(&"b", 1, MINUTE, at(60)), "another one's");
    }

    #[test]
    fn what_comes_out_of_order_counts_the_same() {
        let mut windows = Windows::default();
        for second in [50, 0, 30, -90] {
            windows.note("a", at(second), 3, MINUTE, at(50));
        }
        assert!(windows.is_full(&"a", 3, MINUTE, at(59)));
        assert!(!windows.is_full(&"a", 3, MINUTE, at(60)));
    }

    #[test]
    fn a_clock_that_is_set_back_fills_no_window_for_longer_than_its_time() {
        let mut windows = Windows::default();
        windows.note("a", at(9_000), 1, MINUTE, at(9_000));
        windows.follow_clock(at(100));
        assert!(windows.is_full(&"a", 1, MINUTE, at(159)));
        assert!(!windows.is_full(&"a", 1, MINUTE, at(160)));
    }

    #[test]
    fn windows_that_are_over_are_forgotten() {
        let mut windows = Windows::default();
        for number in 0..100_000 {
            windows.note(number, at(number), 60, MINUTE, at(number));
        }
        assert!(windows.of.len() <= FEW, "{}", windows.of.len());
    }
}
