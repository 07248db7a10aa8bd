//! Patience with a peer: when to try again, and how often to say that it failed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// The same sentence is logged once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Different sentences remembered; a peer that fails in more ways than this fails in a way worth another line.
const REMEMBERED: usize = 8;

/// Delays between attempts to connect: doubling from 100 ms to 2 s, each shortened by chance by up to a half, so that
/// several subscribers do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A first delay is due next.
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self { next: FIRST, rng }
    }

    /// The delay before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(LONGEST);
        delay.mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    /// The last attempt was good: begin with the first delay again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// Keeps a loop from flooding the log.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    said: VecDeque<Said>,
}

#[derive(Debug)]
struct Said {
    sentence: String,
    at: Instant,
    kept_back: u64,
}

impl Repeats {
    /// Whether `sentence` may be logged now: then how often it was kept back since it was last logged.
    pub(super) fn allows(&mut self, sentence: &str, now: Instant) -> Option<u64> {
        if let Some(said) = self.said.iter_mut().find(|said| said.sentence == sentence) {
            if now.saturating_duration_since(said.at) < REPEAT_AFTER {
                said.kept_back += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.kept_back));
        }
        if self.said.len() == REMEMBERED {
            self.said.pop_front();
        }
        self.said.push_back(Said {
            sentence: sentence.to_owned(),
            at: now,
            kept_back: 0,
        });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_anew_after_a_reset() {
        let mut backoff = Backoff::new(fastrand::Rng::with_seed(7));
        let between = |delay: Duration, millis: u64| {
            let full = Duration::from_millis(millis);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} for {full:?}");
        };
        for millis in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            between(backoff.next_delay(), millis);
        }
        backoff.reset();
        between(backoff.next_delay(), 100);
    }

    #[test]
    fn the_same_sentence_is_said_once_a_minute_with_the_number_kept_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut log = Repeats::default();
        assert_eq!(log.allows("down", at(0)), Some(0));
        assert_eq!(log.allows("up", at(1)), Some(0));
        for second in 2..60 {
            assert_eq!(log.allows("down", at(second)), None);
            assert_eq!(log.allows("up", at(second)), None);
        }
        assert_eq!(log.allows("down", at(60)), Some(58));
        assert_eq!(log.allows("down", at(61)), None);
        assert_eq!(log.allows("up", at(61)), Some(58));
    }

    #[test]
    fn few_sentences_are_remembered() {
        let now = Instant::now();
        let mut log = Repeats::default();
        for n in 0..1000 {
            assert_eq!(log.allows(&n.to_string(), now), Some(0));
        }
        assert_eq!(log.said.len(), REMEMBERED);
    }
}
