//! Looks at the hooks folder, whose file system may not answer: one whose server is gone holds up whoever asks, without end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::event::time::Timestamp;

/// A folder that has not answered by then does not answer.
pub const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// The looks that are under way. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Looks(Arc<Mutex<UnderWay>>);

#[derive(Debug, Default)]
struct UnderWay {
    /// When each began.
    began: BTreeMap<u64, (Instant, Timestamp)>,
    last: u64,
}

impl Looks {
    fn under_way(&self) -> MutexGuard<'_, UnderWay> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks on a thread that may have to wait.
    pub fn start<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let mut under_way = self.under_way();
        under_way.last += 1;
        let number = under_way.last;
        under_way.began.insert(number, (Instant::now(), Timestamp::now()));
        drop(under_way);
        let ended = Ended {
            looks: self.clone(),
            number,
        };
        spawn_blocking(move || {
            let _ended = ended;
            look()
        })
    }

    /// Since when the folder does not answer; none where it does.
    pub fn silent_since(&self) -> Option<Timestamp> {
        let under_way = self.under_way();
        let (began, since) = under_way.began.values().next()?;
        (began.elapsed() >= ANSWERS_WITHIN).then_some(*since)
    }
}

/// Notes that a look has come to its end, whichever.
struct Ended {
    looks: Looks,
    number: u64,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.looks.under_way().began.remove(&self.number);
    }
}

/// What a look found; none when the folder does not answer. The look goes on then, and can be waited for.
pub async fn in_time<T>(look: &mut JoinHandle<T>) -> Option<Result<T, JoinError>> {
    timeout(ANSWERS_WITHIN, look).await.ok()
}
