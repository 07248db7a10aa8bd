//! Which connections there are, and which of them makes place for a new one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit};
use tokio_util::sync::CancellationToken;

/// Open files that connections leave for everything else, where there are many: a thousand scripts take three each.
const FOR_ALL_ELSE: u64 = 4_096;

/// What all listeners of the process have at once.
#[derive(Debug)]
pub(super) struct Budget {
    connections: usize,
    listeners: AtomicUsize,
}

impl Budget {
    /// As many connections as the files allow that the process may open. Half of them, or what is enough in any case, is for the store,
    /// the scripts and everything else.
    pub(super) fn of_process() -> Arc<Self> {
        static OF_PROCESS: LazyLock<Arc<Budget>> = LazyLock::new(|| {
            let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
            let free = soft - (soft / 2).min(FOR_ALL_ELSE);
            Budget::new(usize::try_from(free).unwrap_or(usize::MAX))
        });
        Arc::clone(&OF_PROCESS)
    }

    fn new(connections: usize) -> Arc<Self> {
        Arc::new(Self {
            connections,
            listeners: AtomicUsize::new(0),
        })
    }

    /// A listener's part. All have as much, so that whoever fills one of them keeps nobody out of another.
    pub(super) fn share(self: Arc<Self>) -> Share {
        self.listeners.fetch_add(1, Ordering::Relaxed);
        Share(self)
    }
}

/// A listener's part of the budget; the others have more of it when it is dropped.
#[derive(Debug)]
pub(super) struct Share(Arc<Budget>);

impl Share {
    fn connections(&self) -> usize {
        let listeners = self.0.listeners.load(Ordering::Relaxed);
        self.0.connections / listeners.max(1)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.listeners.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    share: Share,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// All that are not told to go.
    count: usize,
    /// Those that keep hem waiting, the one that has done so for longest first.
    waiting: BTreeMap<u64, CancellationToken>,
    next: u64,
}

impl Connections {
    /// There are at most `limit` connections, and no more than the share has.
    pub(super) fn within(limit: usize, share: Share) -> Arc<Self> {
        Arc::new(Self {
            limit,
            share,
            state: Mutex::default(),
        })
    }

    /// The same where files do not matter.
    #[cfg(test)]
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Self::within(limit, Budget::new(usize::MAX).share())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a new connection; where there is none, the one that has kept hem waiting longest loses its own. None while hem
    /// works for all of them.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let limit = self.limit.min(self.share.connections()).max(1);
        let mut state = self.state();
        // The share of a listener shrinks when another one begins.
        while state.count >= limit {
            let (_, longest) = state.waiting.pop_first()?;
            longest.cancel();
            state.count -= 1;
        }
        state.count += 1;
        let lost = CancellationToken::new();
        let turn = state.wait(&lost);
        drop(state);
        Some(Place {
            connections: Arc::clone(self),
            turn: Mutex::new(turn),
            lost,
        })
    }
}

impl State {
    fn wait(&mut self, lost: &CancellationToken) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, lost.clone());
        self.next
    }
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    connections: Arc<Connections>,
    turn: Mutex<u64>,
    lost: CancellationToken,
}

impl Place {
    /// Comes back when another connection was given the place.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Hem has all that it needs of the peer: the connection keeps its place. False where another one was given it before.
    #[must_use]
    pub(super) fn hem_works(&self) -> bool {
        let turn = *self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.connections.state();
        state.waiting.remove(&turn);
        !self.lost.is_cancelled()
    }

    /// It is the peer's turn again.
    pub(super) fn peer_works(&self) {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.connections.state();
        if !self.lost.is_cancelled() {
            state.waiting.remove(&turn);
            *turn = state.wait(&self.lost);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let turn = *self.turn.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.connections.state();
        state.waiting.remove(&turn);
        if !self.lost.is_cancelled() {
            state.count -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_one_that_kept_hem_waiting_longest_makes_place() {
        let connections = Connections::new(3);
        let [first, second, third] = std::array::from_fn(|_| connections.enter().expect("a place"));
        assert!(first.hem_works());
        let fourth = connections.enter().expect("the second one's place");
        assert!(second.lost.is_cancelled() && !second.hem_works());
        // The first one is idle again, but for a shorter time than the third.
        first.peer_works();
        let fifth = connections.enter().expect("the third one's place");
        assert!(third.lost.is_cancelled() && !first.lost.is_cancelled() && !fourth.lost.is_cancelled());
        for place in [&first, &fourth, &fifth] {
            assert!(place.hem_works());
        }
        assert!(connections.enter().is_none(), "hem works for all of them");
        drop(fourth);
        assert!(connections.enter().is_some());
    }

    #[test]
    fn listeners_share_what_the_files_allow_and_none_starves_another() {
        let budget = Budget::new(8);
        let first = Connections::within(100, Arc::clone(&budget).share());
        let idle: Vec<Place> = (0..20).filter_map(|_| first.enter()).collect();
        let alive = |places: &[Place]| places.iter().filter(|place| !place.lost.is_cancelled()).count();
        assert_eq!((idle.len(), alive(&idle)), (20, 8));
        let second = Connections::within(100, Arc::clone(&budget).share());
        let others: Vec<Place> = (0..20).filter_map(|_| second.enter()).collect();
        assert_eq!(alive(&others), 4);
        // What the first one had before goes with its next connection.
        let next = first.enter().expect("a place");
        assert_eq!((alive(&idle), alive(&others), alive(&[next])), (3, 4, 1));
        drop((idle, first));
        let more: Vec<Place> = (0..20).filter_map(|_| second.enter()).collect();
        assert_eq!(alive(&others) + alive(&more), 8);
    }

    proptest! {
        #[test]
        fn there_are_never_more_than_the_limit(limit in 1_usize..5, steps in proptest::collection::vec((0_u8..4, 0_usize..8), 0..60)) {
            let connections = Connections::new(limit);
            let mut places: Vec<Place> = Vec::new();
            for (step, which) in steps {
                let which = which.checked_rem(places.len());
                match (step, which) {
                    (0, _) => places.extend(connections.enter()),
                    (1, Some(which)) => {
                        places.remove(which);
                    }
                    (2, Some(which)) => {
                        let is_held = !places[which].lost.is_cancelled();
                        prop_assert_eq!(places[which].hem_works(), is_held);
                    }
                    (3, Some(which)) => {
                        places[which].peer_works();
                    }
                    _ => {}
                }
                let alive = places.iter().filter(|place| !place.lost.is_cancelled()).count();
                prop_assert!(alive <= limit);
                prop_assert_eq!(connections.state().count, alive);
            }
            drop(places);
            prop_assert_eq!(connections.state().count, 0);
            prop_assert!(connections.state().waiting.is_empty());
        }
    }
}
