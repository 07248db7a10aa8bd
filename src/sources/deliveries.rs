//! Which deliveries were seen, so that what is sent twice over HTTP is one event.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::engine::records::{Records, apart};
use crate::event::Event;
use crate::event::id::Seq;
use crate::event::time::Timestamp;

/// So many deliveries are remembered at most, the newest.
const REMEMBERED: usize = 100_000;

/// No sender sends anything again after so long.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// The events that a former life accepted from a source in the time that is remembered, oldest first, with their age; none where they
/// cannot be read, which is said.
pub(super) async fn former(records: &Records, source: &str, remembered: Duration) -> Vec<(Event, Duration)> {
    let now = Timestamp::now();
    let remembered = i64::try_from(remembered.as_millis()).unwrap_or(i64::MAX);
    let since = Timestamp::from_millis(now.as_millis().saturating_sub(remembered));
    let (records, name) = (records.clone(), source.to_owned());
    let events = match apart(move || records.newest(&name, since, REMEMBERED)).await {
        Ok(events) => events.unwrap_or_default(),
        Err(error) => {
            tracing::error!(
                source,
                error = &error as &dyn std::error::Error,
                "former deliveries cannot be read; they would be taken again"
            );
            Vec::new()
        }
    };
    let with_age = events.into_iter().rev().map(|event| {
        let age = now.since(event.received);
        (event, age)
    });
    with_age.collect()
}

/// The deliveries at one address. Cloning is cheap.
#[derive(Debug, Clone)]
pub(super) struct Deliveries {
    known: Arc<Mutex<Known>>,
    remember: Duration,
}

#[derive(Debug, Default)]
struct Known {
    by_id: HashMap<Arc<str>, Delivery>,
    /// The accepted ones, in the order in which they are forgotten.
    accepted: VecDeque<(Instant, Arc<str>)>,
}

#[derive(Debug)]
enum Delivery {
    /// Somebody is handing it over now.
    UnderWay(watch::Receiver<Option<Seq>>),
    Accepted(Seq),
}

/// What is known of a delivery.
pub(super) enum Claim {
    /// It is new; whoever asked hands it over.
    New(Ticket),
    /// It was accepted before, as this event.
    Known(Seq),
}

/// The right to hand a delivery over. Dropped without [`accepted`](Self::accepted), the next one may try.
#[derive(Debug)]
pub(super) struct Ticket {
    deliveries: Deliveries,
    id: Arc<str>,
    told: watch::Sender<Option<Seq>>,
}

impl Deliveries {
    pub(super) fn new(remember: Duration) -> Self {
        Self {
            known: Arc::default(),
            remember: remember.min(LONGEST),
        }
    }

    pub(super) const fn remember_for(&self) -> Duration {
        self.remember
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delivery that a former life accepted so long ago. Older ones come first.
    pub(super) fn recall(&self, id: &str, event: Seq, age: Duration) {
        if let Some(left) = self.remember.checked_sub(age) {
            self.known().accept(id.into(), event, Instant::now() + left);
        }
    }

    /// Says whether a delivery is new. While somebody else hands the same one over, it waits for what comes of that.
    pub(super) async fn claim(&self, id: &str) -> Claim {
        loop {
            let mut under_way = {
                let mut known = self.known();
                known.forget(Instant::now());
                match known.by_id.get(id) {
                    Some(Delivery::Accepted(event)) => return Claim::Known(*event),
                    Some(Delivery::UnderWay(waiting)) => waiting.clone(),
                    None => {
                        let id: Arc<str> = id.into();
                        let (told, waiting) = watch::channel(None);
                        known.by_id.insert(Arc::clone(&id), Delivery::UnderWay(waiting));
                        return Claim::New(Ticket {
                            deliveries: self.clone(),
                            id,
                            told,
                        });
                    }
                }
            };
            // It came to nothing where the other one is gone: then it is looked for anew.
            let came_of_it = under_way.wait_for(Option::is_some).await;
            if let Some(event) = came_of_it.ok().and_then(|event| *event) {
                return Claim::Known(event);
            }
        }
    }
}

impl Known {
    fn accept(&mut self, id: Arc<str>, event: Seq, until: Instant) {
        self.by_id.insert(Arc::clone(&id), Delivery::Accepted(event));
        self.accepted.push_back((until, id));
        if self.accepted.len() > REMEMBERED
            && let Some((_, oldest)) = self.accepted.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }

    fn forget(&mut self, now: Instant) {
        while let Some((until, _)) = self.accepted.front()
            && *until <= now
        {
            if let Some((_, id)) = self.accepted.pop_front() {
                self.by_id.remove(&id);
            }
        }
    }
}

impl Ticket {
    /// The delivery was accepted as this event.
    pub(super) fn accepted(self, event: Seq) {
        let until = Instant::now() + self.deliveries.remember;
        self.deliveries.known().accept(Arc::clone(&self.id), event, until);
        self.told.send_replace(Some(event));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut known = self.deliveries.known();
        if let Some(Delivery::UnderWay(_)) = known.by_id.get(&self.id) {
            known.by_id.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    async fn new(deliveries: &Deliveries, id: &str) -> Ticket {
        match deliveries.claim(id).await {
            Claim::New(ticket) => ticket,
            Claim::Known(event) => panic!("known as {event}"),
        }
    }

    async fn known(deliveries: &Deliveries, id: &str) -> Option<Seq> {
        match deliveries.claim(id).await {
            Claim::New(_) => None,
            Claim::Known(event) => Some(event),
        }
    }

    #[tokio::test]
    async fn what_was_accepted_is_known_and_what_was_refused_may_come_again() {
        let deliveries = Deliveries::new(Duration::from_secs(3600));
        new(&deliveries, "a").await.accepted(Seq(7));
        assert_eq!(known(&deliveries, "a").await, Some(Seq(7)));
        drop(new(&deliveries, "b").await);
        assert_eq!(known(&deliveries, "b").await, None);
    }

    #[tokio::test]
    async fn a_second_one_waits_for_what_comes_of_the_first() {
        let deliveries = Deliveries::new(Duration::from_secs(3600));
        let tasks = TaskTracker::new();
        let waits = |deliveries: &Deliveries| {
            let deliveries = deliveries.clone();
            tasks.spawn(async move { known(&deliveries, "a").await })
        };
        let first = new(&deliveries, "a").await;
        let second = waits(&deliveries);
        tokio::task::yield_now().await;
        first.accepted(Seq(3));
        assert_eq!(second.await.expect("a task"), Some(Seq(3)));

        let deliveries = Deliveries::new(Duration::from_secs(3600));
        let first = new(&deliveries, "a").await;
        let second = waits(&deliveries);
        tokio::task::yield_now().await;
        drop(first);
        assert_eq!(second.await.expect("a task"), None, "it is the first one now");
    }

    #[tokio::test]
    async fn what_is_old_or_too_much_is_forgotten() {
        let deliveries = Deliveries::new(Duration::from_secs(10));
        deliveries.recall("old", Seq(1), Duration::from_secs(11));
        deliveries.recall("young", Seq(2), Duration::from_secs(9));
        assert_eq!(known(&deliveries, "old").await, None);
        assert_eq!(known(&deliveries, "young").await, Some(Seq(2)));
        deliveries.known().forget(Instant::now() + Duration::from_secs(2));
        assert_eq!(known(&deliveries, "young").await, None);

        for number in 0..=REMEMBERED {
            deliveries.recall(&number.to_string(), Seq(1), Duration::ZERO);
        }
        assert_eq!(known(&deliveries, "0").await, None);
        assert_eq!(known(&deliveries, "1").await, Some(Seq(1)));
        assert_eq!(deliveries.known().accepted.len(), REMEMBERED);
    }
}
