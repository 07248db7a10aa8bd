//! Parts of the engine without which the daemon would live on deaf or dumb: when one ends before it was told to, the
//! engine fails, and says which it was.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

/// What is known of the vital parts. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub(super) struct Vitals {
    failed: CancellationToken,
    which: Arc<Mutex<Option<&'static str>>>,
}

impl Vitals {
    /// Watches a part, which holds this as long as it lives. Ending after `told` was cancelled is in order.
    pub(super) fn watch(&self, part: &'static str, told: &CancellationToken) -> Vital {
        Vital {
            part,
            told: told.clone(),
            vitals: self.clone(),
        }
    }

    /// Comes back with the name of the first part that failed.
    pub(super) async fn failed(&self) -> &'static str {
        self.failed.cancelled().await;
        self.which
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .unwrap_or("a part of the engine")
    }
}

/// Held by a vital part; dropped when it ends, by a panic too.
#[derive(Debug)]
pub(super) struct Vital {
    part: &'static str,
    told: CancellationToken,
    vitals: Vitals,
}

impl Drop for Vital {
    fn drop(&mut self) {
        if self.told.is_cancelled() {
            return;
        }
        tracing::error!(part = self.part, "a vital part of the engine ended");
        self.vitals
            .which
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(self.part);
        self.vitals.failed.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_panics_is_named_and_one_that_was_told_to_end_is_not() {
        let vitals = Vitals::default();
        let told = CancellationToken::new();
        told.cancel();
        drop(vitals.watch("obedient", &told));
        assert!(!vitals.failed.is_cancelled());
        let watched = vitals.watch("broken", &CancellationToken::new());
        let thread = std::thread::spawn(move || {
            let _watched = watched;
            panic!("as it must, in this test");
        });
        assert!(thread.join().is_err());
        assert_eq!(vitals.failed().await, "broken");
    }
}
