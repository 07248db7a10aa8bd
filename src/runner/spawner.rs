//! Threads that start processes, one for each umask in use.
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

type Umask = Option<u32>;

/// Starts processes, each with the umask it asks for.
#[derive(Debug, Clone)]
pub(super) struct Spawner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    runtime: Handle,
    threads: Mutex<HashMap<Umask, mpsc::Sender<Order>>>,
    fingerprints: Arc<Mutex<Fingerprints>>,
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
            threads: Mutex::new(HashMap::new()),
            fingerprints: Arc::default(),
            umask_refused: Arc::default(),
        }));
        // A machine that has no room for one more thread is to say so at the start, not at the first event.
        spawner.thread(None)?;
        Ok(spawner)
    }

    pub(super) async fn start(&self, invocation: Invocation) -> Result<Running, StartFailure> {
        let umask = invocation.umask;
        let (answer, started) = oneshot::channel();
        let thread = self.thread(umask).map_err(|error| StartFailure {
            kind: StartFailureKind::Exhausted,
            message: format!("the machine has no room for a thread that starts processes: {error}"),
        })?;
        let answered = match thread.send(Order { invocation, answer }) {
            Ok(()) => started.await.ok(),
            Err(_) => None,
        };
        answered.unwrap_or_else(|| {
            self.forget(umask);
            Err(StartFailure {
                kind: StartFailureKind::Exhausted,
                message: "the thread that starts processes ended unexpectedly".to_owned(),
            })
        })
    }

    fn thread(&self, umask: Umask) -> io::Result<mpsc::Sender<Order>> {
        let mut threads = self.0.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = threads.get(&umask) {
            return Ok(thread.clone());
        }
        let (orders, inbox) = mpsc::channel();
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
        threads.insert(umask, orders.clone());
        Ok(orders)
    }

    /// Makes the next start use a new thread.
    fn forget(&self, umask: Umask) {
        self.0
            .threads
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
fn serve(inbox: &mpsc::Receiver<Order>, runtime: &Handle, fingerprints: &Mutex<Fingerprints>) {
    let _context = runtime.enter();
    for Order { invocation, answer } in inbox {
        if answer.is_closed() {
            continue;
        }
        let running = start::start(&invocation, |program| {
            fingerprints
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .of_command(program, &invocation.arguments, invocation.directory.as_deref())
        });
        // Nobody waits any more: what was started is dropped, which ends it.
        drop(answer.send(running));
    }
}
