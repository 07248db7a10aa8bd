//! The threads that carry scripts out, as many as run at once; idle ones are kept for a while.
//!
//! A thread stays with a script from the reading of its secrets to the last byte of its output. Starting blocks, and so does
//! waiting for a process, so a thread is taken up either way; to hand a started process over to a runtime that watches its
//! pipes costs more processor time than the start itself.
//!
//! A child inherits the umask of the thread that starts it, as long as it is made by posix_spawn and not by a fork that
//! sets its own. So each thread unshares its file system attributes (`CLONE_FS`), and then has a umask to itself.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, unshare};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::stat::{Mode, umask};

use super::fingerprint::Fingerprints;

/// How long a thread that has nothing to do is kept.
const IDLE: Duration = Duration::from_secs(10);

/// What a thread is given to do.
type Job = Box<dyn FnOnce(&Seat) + Send>;

/// The way to the threads. Cloning is cheap; they end with the last clone, once they have done what they were given.
#[derive(Clone)]
pub(super) struct Threads(Arc<Owner>);

struct Owner(Arc<Pool>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.work.notify_all();
    }
}

struct Pool {
    state: Mutex<State>,
    work: Condvar,
    fingerprints: Fingerprints,
    /// A thread could not get a umask of its own, and that was said.
    umask_refused: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Threads").finish_non_exhaustive()
    }
}

impl Threads {
    pub(super) fn start() -> io::Result<Self> {
        let pool = Arc::new(Pool {
            state: Mutex::default(),
            work: Condvar::new(),
            fingerprints: Fingerprints::default(),
            umask_refused: AtomicBool::new(false),
        });
        // A machine that has no room for one more thread is to say so at the start, not at the first event.
        spawn(&pool)?;
        Ok(Self(Arc::new(Owner(pool))))
    }

    /// Has a thread of its own do `job`.
    ///
    /// # Errors
    /// When the machine has no room for one more thread; the job is then dropped.
    pub(super) fn give(&self, job: impl FnOnce(&Seat) + Send + 'static) -> io::Result<()> {
        let pool = &self.0.0;
        let mut state = pool.state();
        state.jobs.push_back(Box::new(job));
        // A thread counts as idle until it has taken a job, so each job before this one has its thread.
        if state.jobs.len() > state.idle {
            // Nobody else takes the job meanwhile: whoever does has to lock first.
            return spawn(pool).inspect_err(|_| drop(state.jobs.pop_back()));
        }
        drop(state);
        pool.work.notify_one();
        Ok(())
    }
}

impl Pool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None when a thread is to end.
    fn next(&self) -> Option<Job> {
        let mut state = self.state();
        state.idle += 1;
        let job = loop {
            if let Some(job) = state.jobs.pop_front() {
                break Some(job);
            }
            if state.closed {
                break None;
            }
            let (again, waited) = self
                .work
                .wait_timeout(state, IDLE)
                .unwrap_or_else(PoisonError::into_inner);
            state = again;
            // The last one stays: there is always one that a start does not have to wait for.
            if waited.timed_out() && state.jobs.is_empty() && state.idle > 1 {
                break None;
            }
        };
        state.idle -= 1;
        job
    }
}

fn spawn(pool: &Arc<Pool>) -> io::Result<()> {
    let bell = Arc::new(Bell::new()?);
    let pool = Arc::clone(pool);
    thread::Builder::new().name("runner".to_owned()).spawn(move || {
        let seat = Seat {
            own_umask: unshared_umask(),
            bell,
            pool,
        };
        while let Some(job) = seat.pool.next() {
            if catch_unwind(AssertUnwindSafe(|| job(&seat))).is_err() {
                tracing::error!("a thread that carries scripts out panicked; the script was ended");
            }
        }
    })?;
    Ok(())
}

/// Gives this thread a umask of its own, which is the process's at first. None where a sandbox forbids that.
fn unshared_umask() -> Option<Mode> {
    unshare(CloneFlags::CLONE_FS).ok()?;
    let own = umask(Mode::empty());
    umask(own);
    Some(own)
}

/// A thread's place, with what it keeps from one script to the next.
pub(super) struct Seat {
    /// The umask the process had; none where the thread shares it with all others.
    own_umask: Option<Mode>,
    bell: Arc<Bell>,
    pool: Arc<Pool>,
}

impl Seat {
    /// What wakes this thread while it waits for descriptors.
    pub(super) const fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(super) fn fingerprints(&self) -> &Fingerprints {
        &self.pool.fingerprints
    }

    /// Makes what this thread starts next begin with that umask, or with the process's. Where the thread has none of its own
    /// the process's stays: changing it would change it for files that the daemon itself writes.
    pub(super) fn take_umask(&self, mask: Option<u32>) {
        match (self.own_umask, mask) {
            (Some(own), mask) => {
                umask(mask.map_or(own, Mode::from_bits_truncate));
            }
            (None, Some(_)) => {
                if !self.pool.umask_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        "a thread may not have a umask of its own here (unshare refused); scripts get the daemon's umask"
                    );
                }
            }
            (None, None) => {}
        }
    }
}

/// Wakes a thread that waits for descriptors: one of them is this.
#[derive(Debug)]
pub(super) struct Bell(EventFd);

impl Bell {
    fn new() -> io::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(EventFd::from_flags(flags)?))
    }

    /// Takes back that it rang.
    pub(super) fn silence(&self) {
        // EAGAIN says that it did not ring.
        let _ = self.0.read();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        // EAGAIN says that it has rung 2^64 - 2 times unheard.
        let _ = self.0.write(1);
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[test]
    fn jobs_that_wait_for_each_other_all_get_a_thread() {
        let threads = Threads::start().expect("a thread");
        let together = Arc::new(std::sync::Barrier::new(20));
        let (tell, told) = mpsc::channel();
        for _ in 0..20 {
            let (together, tell) = (Arc::clone(&together), tell.clone());
            threads
                .give(move |_| {
                    together.wait();
                    tell.send(()).expect("somebody listens");
                })
                .expect("a thread");
        }
        for _ in 0..20 {
            told.recv_timeout(LIMIT).expect("all come to their end");
        }
    }

    #[test]
    fn a_job_that_panics_takes_no_thread_with_it_and_no_other_job() {
        let threads = Threads::start().expect("a thread");
        let (tell, told) = mpsc::channel();
        for number in 0..10 {
            let tell = tell.clone();
            threads
                .give(move |_| {
                    assert!(number % 2 == 0, "as it must, in this test");
                    tell.send(number).expect("somebody listens");
                })
                .expect("a thread");
        }
        let mut done: Vec<i32> = (0..5).map(|_| told.recv_timeout(LIMIT).expect("a job")).collect();
        done.sort_unstable();
        assert_eq!(done, [0, 2, 4, 6, 8]);
    }

    #[test]
    fn what_was_given_before_the_end_is_still_done() {
        let threads = Threads::start().expect("a thread");
        let (tell, told) = mpsc::channel();
        for _ in 0..5 {
            let tell = tell.clone();
            threads
                .give(move |_| tell.send(()).expect("somebody listens"))
                .expect("a thread");
        }
        drop((threads, tell));
        assert_eq!(told.iter().count(), 5);
    }

    #[test]
    fn each_thread_has_a_umask_to_itself() {
        let threads = Threads::start().expect("a thread");
        let (tell, told) = mpsc::channel();
        let read = || {
            let status = std::fs::read_to_string("/proc/thread-self/status").expect("its status");
            let mask = status.lines().find_map(|line| line.strip_prefix("Umask:"));
            mask.expect("a umask").trim().to_owned()
        };
        let before = read();
        threads
            .give(move |seat| {
                seat.take_umask(Some(0o037));
                let taken = read();
                seat.take_umask(None);
                tell.send((taken, read())).expect("somebody listens");
            })
            .expect("a thread");
        let (taken, given_back) = told.recv_timeout(LIMIT).expect("the job");
        assert_eq!((taken.as_str(), &given_back), ("0037", &before));
        assert_eq!(read(), before);
    }
}
