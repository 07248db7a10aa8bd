//! Tells what became durable: to whoever follows everything, and to whoever waits for the end of what one event caused.
//!
//! The two go apart, because thousands of requests may each wait for an event of their own: an end wakes those of its event.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc};

use super::core::Record;
use super::handle::Notice;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::store::Store;

/// Notices kept for a follower that is slow to read.
const KEPT: usize = 4_096;

/// Where it is told. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    notices: broadcast::Sender<Notice>,
    waiters: Waiters,
}

/// The ends of which somebody is to be told, by whoever waits for them.
type Waiters = Arc<Mutex<HashMap<Seq, Vec<mpsc::UnboundedSender<HookName>>>>>;

/// An execution that a step made or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Touched {
    key: ExecutionKey,
    /// It reached its end.
    is_settled: bool,
}

/// The executions that a step made or changed.
pub(super) fn touched(records: &[Record]) -> Vec<Touched> {
    let mut all: Vec<Touched> = Vec::new();
    for record in records {
        let (key, is_settled) = match record {
            Record::Created(execution) => (&execution.key, execution.progress.state.is_settled()),
            Record::Progressed { key, progress, .. } => (key, progress.state.is_settled()),
            Record::Released { key, .. } => (key, false),
            Record::Muted(_) | Record::MuteShortened(_) | Record::Unmuted { .. } => continue,
        };
        match all.last_mut() {
            Some(last) if last.key == *key => last.is_settled = is_settled,
            _ => all.push(Touched {
                key: key.clone(),
                is_settled,
            }),
        }
    }
    all
}

impl Feed {
    pub(super) fn new() -> Self {
        let (notices, _) = broadcast::channel(KEPT);
        Self {
            notices,
            waiters: Waiters::default(),
        }
    }

    /// Everything from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.notices.subscribe()
    }

    /// The ends, from now on, of what this event caused.
    pub(super) fn ends_of(&self, event: Seq) -> Ends {
        let (told, hooks) = mpsc::unbounded_channel();
        waiting(&self.waiters).entry(event).or_default().push(told);
        Ends {
            waiters: Arc::clone(&self.waiters),
            event,
            hooks,
        }
    }

    /// Whether anybody follows everything.
    pub(super) fn is_followed(&self) -> bool {
        self.notices.receiver_count() > 0
    }

    pub(super) fn tell(&self, notice: Notice) {
        // Whoever followed may have gone away.
        let _ = self.notices.send(notice);
    }

    /// Tells of executions whose changes are in the store by now: whoever begins to follow from here on finds them there.
    pub(super) fn tell_of(&self, touched: Vec<Touched>, store: &Store) {
        self.wake(&touched);
        let follows = self.is_followed();
        for Touched { key, .. } in touched.into_iter().filter(|_| follows) {
            if let Ok(Some(execution)) = store.execution(&key) {
                self.tell(Notice::Execution(Arc::new(execution)));
            }
        }
    }

    /// Wakes those who wait for one of these ends, and nobody else.
    fn wake(&self, touched: &[Touched]) {
        let waiters = waiting(&self.waiters);
        if waiters.is_empty() {
            return;
        }
        for Touched { key, .. } in touched.iter().filter(|touched| touched.is_settled) {
            for told in waiters.get(&key.event).into_iter().flatten() {
                // It may go away right now.
                let _ = told.send(key.hook.clone());
            }
        }
    }
}

fn waiting(waiters: &Waiters) -> MutexGuard<'_, HashMap<Seq, Vec<mpsc::UnboundedSender<HookName>>>> {
    waiters.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ends of what one event caused, as they come. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub(super) struct Ends {
    waiters: Waiters,
    event: Seq,
    hooks: mpsc::UnboundedReceiver<HookName>,
}

impl Ends {
    /// The hook whose execution ended next; there is always one to wait for. Dropped, it loses nothing.
    pub(super) async fn next(&mut self) -> Option<HookName> {
        self.hooks.recv().await
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.hooks.close();
        if let Entry::Occupied(mut of_event) = waiting(&self.waiters).entry(self.event) {
            of_event.get_mut().retain(|told| !told.is_closed());
            if of_event.get().is_empty() {
                of_event.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake, Waker};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Wakes {
        fn count(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn ended(event: u64, hook: &str) -> Touched {
        Touched {
            key: ExecutionKey::new(Seq(event), HookName::trusted(hook)),
            is_settled: true,
        }
    }

    fn poll(ends: &mut Ends, wakes: &Arc<Wakes>) -> Poll<Option<HookName>> {
        let waker = Waker::from(Arc::clone(wakes));
        let next = std::pin::pin!(ends.next());
        next.poll(&mut Context::from_waker(&waker))
    }

    #[test]
    fn an_end_wakes_those_who_wait_for_its_event_and_nobody_else() {
        let feed = Feed::new();
        let mut waiters: Vec<(u64, Ends, Arc<Wakes>)> = (0..1_000)
            .map(|number| {
                let event = number % 500;
                (event, feed.ends_of(Seq(event)), Arc::new(Wakes::default()))
            })
            .collect();
        for (_, ends, wakes) in &mut waiters {
            assert_eq!(poll(ends, wakes), Poll::Pending);
        }
        feed.wake(&[ended(7, "h")]);
        feed.wake(&[Touched {
            is_settled: false,
            ..ended(8, "h")
        }]);
        for (event, ends, wakes) in &mut waiters {
            let is_its = *event == 7;
            assert_eq!(wakes.count(), usize::from(is_its), "of event {event}");
            let told = if is_its {
                Poll::Ready(Some(HookName::trusted("h")))
            } else {
                Poll::Pending
            };
            assert_eq!(poll(ends, wakes), told, "of event {event}");
        }
        drop(waiters);
        assert!(waiting(&feed.waiters).is_empty(), "nothing is left behind");
    }

    #[test]
    fn an_end_between_two_looks_is_kept_and_one_who_goes_takes_nobody_along() {
        let feed = Feed::new();
        let (mut stays, goes) = (feed.ends_of(Seq(1)), feed.ends_of(Seq(1)));
        let wakes = Arc::new(Wakes::default());
        drop(goes);
        feed.wake(&[ended(1, "a"), ended(2, "a"), ended(1, "b")]);
        for hook in ["a", "b"] {
            assert_eq!(
                poll(&mut stays, &wakes),
                Poll::Ready(Some(HookName::trusted(hook)))
            );
        }
        assert_eq!(poll(&mut stays, &wakes), Poll::Pending);
    }
}
