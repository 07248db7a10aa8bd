//! Threads that start processes, a few for each umask in use.
//!
//! A child inherits the umask of the thread that starts it, as long as it is made by posix_spawn and not by a fork that
//! sets its own. So a thread that unshared its file system attributes (`CLONE_FS`) and set its umask once gives it to all
//! it starts. The threads also keep what blocks (the exec itself, the reading of secrets and scripts) off the runtime's workers.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, umask};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::fingerprint::Fingerprints;
use super::start::{self, Running};
use super::{Invocation, StartFailure, StartFailureKind};

/// Starting takes as long as the child needs to reach its exec, and on a busy machine the child has to wait for its turn to
/// get there. One thread alone would make all starts wait for each other; more than these few gain nothing.
const THREADS_PER_UMASK: usize = 4;

type Umask = Option<u32>;

/// Starts processes, each with the umask it asks for.
#[derive(Debug, Clone)]
pub(super) struct Spawner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    orders: Mutex<HashMap<Umask, mpsc::Sender<Order>>>,
    fingerprints: Arc<Fingerprints>,
    umask_refused: Arc<AtomicBool>,
}

struct Order {
    invocation: Invocation,
    answer: oneshot::Sender<Result<Running, StartFailure>>,
}

impl Spawner {
    pub(super) fn new(runtime: Handle) -> io::Result<Self> {
        let spawner = Self(Arc::new(Shared {
            runtime,
            orders: Mutex::new(HashMap::new()),
            fingerprints: Arc::default(),
            umask_refused: Arc::default(),
        }));
        // A machine that has no room for one more thread is to say so at the start, not at the first event.
        spawner.threads(None)?;
        Ok(spawner)
    }

    pub(super) async fn start(&self, invocation: Invocation) -> Result<Running, StartFailure> {
        let umask = invocation.umask;
        let (answer, started) = oneshot::channel();
        let threads = self.threads(umask).map_err(|error| StartFailure {
            kind: StartFailureKind::Exhausted,
            message: format!("the machine has no room for threads that start processes: {error}"),
        })?;
        let answered = match threads.send(Order { invocation, answer }) {
            Ok(()) => started.await.ok(),
            Err(_) => None,
        };
        answered.unwrap_or_else(|| {
            self.forget(umask);
            Err(StartFailure {
                kind: StartFailureKind::Exhausted,
                message: "the threads that start processes ended unexpectedly".to_owned(),
            })
        })
    }

    /// Where starts with this umask are ordered; makes the threads that take the orders when it is the first.
    fn threads(&self, umask: Umask) -> io::Result<mpsc::Sender<Order>> {
        let mut known = self.0.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = known.get(&umask) {
            return Ok(orders.clone());
        }
        let (orders, inbox) = mpsc::channel();
        let inbox = Arc::new(Mutex::new(inbox));
        for _ in 0..THREADS_PER_UMASK {
            let inbox = Arc::clone(&inbox);
            let runtime = self.0.runtime.clone();
            let fingerprints = Arc::clone(&self.0.fingerprints);
            let umask_refused = Arc::clone(&self.0.umask_refused);
            thread::Builder::new()
                .name("hem-spawner".to_owned())
                .spawn(move || {
                    if let Some(mask) = umask {
                        take_umask(mask, &umask_refused);
                    }
                    serve(&inbox, &runtime, &fingerprints);
                })?;
        }
        known.insert(umask, orders.clone());
        Ok(orders)
    }

    /// Makes the next start use new threads.
    fn forget(&self, umask: Umask) {
        self.0
            .orders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&umask);
    }
}

/// Gives this thread a umask of its own. Where a sandbox forbids that, the process's stays: changing it would change it for
/// files that the daemon itself writes.
fn take_umask(mask: u32, refused_before: &AtomicBool) {
    match unshare(CloneFlags::CLONE_FS) {
        Ok(()) => {
            umask(Mode::from_bits_truncate(mask));
        }
        Err(errno) => {
            if !refused_before.swap(true, Ordering::Relaxed) {
                tracing::warn!(
                    %errno,
                    "a thread may not have a umask of its own here (unshare refused); scripts get the daemon's umask"
                );
            }
        }
    }
}

/// Ends when the last runner is dropped.
fn serve(inbox: &Mutex<mpsc::Receiver<Order>>, runtime: &Handle, fingerprints: &Fingerprints) {
    let _context = runtime.enter();
    loop {
        // The lock is held while waiting: the others wait for it instead.
        let order = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Order { invocation, answer }) = order else {
            return;
        };
        if answer.is_closed() {
            continue;
        }
        let running = start::start(&invocation, |program| {
            fingerprints.of_command(program, &invocation.arguments, invocation.directory.as_deref())
        });
        // Nobody waits any more: what was started is dropped, which ends it.
        drop(answer.send(running));
    }
}
