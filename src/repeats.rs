//! How often to say the same thing.

use std::time::{Duration, Instant};

/// The same sentence is logged once in this time.
const REPEAT_AFTER: Duration = Duration::from_secs(60);

/// Different sentences logged in that time at most: some quote what a peer sent, which may be new each time.
const DIFFERENT: usize = 16;

/// Keeps a loop from flooding the log.
#[derive(Debug, Default)]
pub struct Repeats {
    said: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    sentence: String,
    at: Instant,
    kept_back: u64,
}

impl Repeats {
    /// Whether `sentence` may be logged now: then how often it was kept back since it was last logged.
    pub fn allows(&mut self, sentence: &str, now: Instant) -> Option<u64> {
        let is_recent = |said: &Said| now.saturating_duration_since(said.at) < REPEAT_AFTER;
        if let Some(said) = self.said.iter_mut().find(|said| said.sentence == sentence) {
            if is_recent(said) {
                said.kept_back += 1;
                return None;
            }
            said.at = now;
            return Some(std::mem::take(&mut said.kept_back));
        }
        if self.said.len() == DIFFERENT {
            self.said.retain(is_recent);
        }
        if self.said.len() == DIFFERENT {
            return None;
        }
        self.said.push(Said {
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
    fn sentences_that_differ_each_time_are_bounded_too() {
        let start = Instant::now();
        let mut log = Repeats::default();
        let mut said = |second: u64| {
            (0..1000)
                .filter(|n| {
                    let sentence = format!("{second} {n}");
                    log.allows(&sentence, start + Duration::from_secs(second))
                        .is_some()
                })
                .count()
        };
        assert_eq!((said(0), said(59), said(60)), (DIFFERENT, 0, DIFFERENT));
    }
}
