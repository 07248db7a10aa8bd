//! When to try again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Delays between attempts to connect: doubling from 100 ms to 2 s, each shortened by chance by up to a half, so that
/// several subscribers do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
    longest: Duration,
    rng: fastrand::Rng,
}

impl Backoff {
    /// A first delay is due next.
    pub(super) fn new(rng: fastrand::Rng) -> Self {
        Self {
            next: FIRST,
            longest: LONGEST,
            rng,
        }
    }

    /// The same, doubling up to another longest delay.
    #[must_use]
    pub(super) fn up_to(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// The delay before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.longest);
        delay.mul_f64(0.5 + 0.5 * self.rng.f64())
    }

    /// The last attempt was good: begin with the first delay again.
    pub(super) fn reset(&mut self) {
        self.next = FIRST;
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
}
