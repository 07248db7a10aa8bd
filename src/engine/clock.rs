//! Engine time: the wall clock at the start, carried on by the monotonic clock, and set anew when the wall clock jumps.

use std::time::{Duration, Instant};

use crate::event::time::Timestamp;

/// The wall clock may drift this far from the monotonic one before that counts as a jump.
const JUMP: Duration = Duration::from_secs(1);

/// A clock that waits like the monotonic one and reads like the wall clock.
#[derive(Debug)]
pub(super) struct Clock {
    base: Timestamp,
    since: Instant,
}

impl Clock {
    /// Begins at the wall clock's present time.
    pub(super) fn start() -> Self {
        Self {
            base: Timestamp::now(),
            since: Instant::now(),
        }
    }

    /// The time now. It never goes back but for [`Clock::follow_jump`].
    pub(super) fn now(&self) -> Timestamp {
        self.base.plus(self.since.elapsed())
    }

    /// Takes the wall clock's time over if it was set by more than a second; says whether it was.
    pub(super) fn follow_jump(&mut self, wall: Timestamp) -> bool {
        let now = self.now();
        let jumped = wall.since(now) > JUMP || now.since(wall) > JUMP;
        if jumped {
            *self = Self {
                base: wall,
                since: Instant::now(),
            };
        }
        jumped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_jump_of_the_wall_clock_is_followed_and_a_drift_is_not() {
        let mut clock = Clock::start();
        let now = clock.now();
        assert!(!clock.follow_jump(now.plus(Duration::from_millis(900))));
        assert!(clock.follow_jump(now.plus(Duration::from_secs(3_600))));
        assert!(clock.now() >= now.plus(Duration::from_secs(3_600)));
        assert!(clock.follow_jump(now), "backwards as well");
        assert!(clock.now() < now.plus(Duration::from_secs(60)));
    }
}
