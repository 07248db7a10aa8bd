//! A line in which callers wait to be known, of a fixed length: whoever waits has not shown yet who it is, so that anybody can wait.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Somebody waits for so long at most.
const LONGEST: Duration = Duration::from_secs(10);

/// There is no place in the line, or it did not move on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many callers wait to be known")]
pub(super) struct Crowded;

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    /// Everybody who has a turn or waits for one.
    places: Semaphore,
    turns: Semaphore,
    longest: Duration,
}

/// A turn; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _turn: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Line {
    /// So many have their turn at once, and so many more wait.
    pub(super) const fn new(at_once: usize, waiting: usize) -> Self {
        Self {
            places: Semaphore::const_new(at_once + waiting),
            turns: Semaphore::const_new(at_once),
            longest: LONGEST,
        }
    }

    /// Waits for a turn.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, Crowded> {
        let place = self.places.try_acquire().map_err(|_| Crowded)?;
        match tokio::time::timeout(self.longest, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(Turn {
                _turn: turn,
                _place: place,
            }),
            // Too long; the line itself is closed by nobody.
            Err(_) | Ok(Err(_)) => Err(Crowded),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_line_has_a_fixed_length_and_nobody_waits_in_it_for_ever() {
        let line = Arc::new(Line::new(2, 3));
        let first = line.turn().await.expect("a turn");
        let _second = line.turn().await.expect("a turn");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let line = Arc::clone(&line);
                Box::pin(async move { line.turn().await.map(drop) })
            })
            .collect();
        let mut waiting = futures_util::future::join_all(waiting);
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("nobody gave a turn back"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(line.turn().await.map(drop), Err(Crowded), "there is no place");
        drop(first);
        assert_eq!(waiting.await, [Ok(()); 3], "one after the other");

        let line = Line {
            longest: Duration::from_millis(1),
            ..Line::new(1, 1)
        };
        let _turn = line.turn().await.expect("a turn");
        assert_eq!(line.turn().await.map(drop), Err(Crowded), "it does not move on");
    }
}
