//! The first look at what a server has kept, which only shows where it stands.
//!
//! Not every server says where what it has kept ends. Then its silence does, and at last the time: a server that is never silent would be
//! looked at for ever, and everything that happens passed over.

use std::time::Duration;

use tokio::time::Instant;

use super::ledger::{Ledger, Sighting};
use super::streams::Stream;
use crate::event::time::Timestamp;

/// A server that takes longer to begin has kept nothing.
const BEGINS: Duration = Duration::from_secs(30);

/// A server that has told nothing more for so long has told all that it had kept.
const SILENCE: Duration = Duration::from_secs(10);

/// No look takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// What a look found so far.
#[derive(Debug)]
pub(super) struct Look {
    ledger: Ledger,
    passed_over: u64,
    quiet_at: Instant,
    over_at: Instant,
}

impl Look {
    /// A look that begins now.
    pub(super) fn begin(stream: Option<&Stream>, now: Instant) -> Self {
        let mut ledger = Ledger::default();
        ledger.attend(stream);
        Self {
            ledger,
            passed_over: 0,
            quiet_at: now + BEGINS,
            over_at: now + LONGEST,
        }
    }

    /// Notes one that is passed over.
    pub(super) fn note(&mut self, sighting: &Sighting, noted: Timestamp, now: Instant) {
        self.ledger.note(sighting, noted);
        self.passed_over += 1;
        self.quiet_at = now + SILENCE;
    }

    /// When it ends, whether or not the server has said where what it has kept ends.
    pub(super) fn ends_at(&self) -> Instant {
        self.quiet_at.min(self.over_at)
    }

    /// Whether it ended although the server went on telling.
    pub(super) fn is_cut_short(&self, now: Instant) -> bool {
        now >= self.over_at && self.over_at < self.quiet_at
    }

    /// How many were passed over.
    pub(super) const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Where the server stands.
    pub(super) fn into_ledger(self) -> Ledger {
        self.ledger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTED: Timestamp = Timestamp::from_millis(1);

    #[test]
    fn silence_ends_it_and_a_server_that_is_never_silent_does_not_prolong_it_for_ever() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut look = Look::begin(None, start);
        assert_eq!(look.ends_at(), at(30), "it may take its time to begin");
        let sighting = Sighting::of_too_long(1);
        look.note(&sighting, NOTED, at(20));
        assert_eq!(look.ends_at(), at(30));
        assert!(!look.is_cut_short(at(30)), "it was silent");
        for second in (25..=60).step_by(5) {
            look.note(&sighting, NOTED, at(second));
        }
        assert_eq!(look.ends_at(), at(60));
        assert!(look.is_cut_short(at(60)) && !look.is_cut_short(at(59)));
        assert_eq!(look.passed_over(), 9);
    }
}
