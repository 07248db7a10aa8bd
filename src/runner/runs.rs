//! The way in: takes orders for runs and gives back reports.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::leader::{Leader, Leash};
use super::ssh::Connections;
use super::supervision::Supervision;
use super::threads::{Seat, Threads};
use super::{
    Captured, Invocation, Limits, Observer, Outcome, Report, StartFailure, StartFailureKind, descriptors,
    start,
};

/// Runs processes. Cloning is cheap; the threads behind it end with the last clone.
#[derive(Debug, Clone)]
pub struct Runner {
    threads: Threads,
    /// The connections to other hosts; without them each script there has one of its own.
    pub(super) connections: Option<Arc<Connections>>,
}

/// What is to be run, and how.
#[derive(Debug)]
pub struct Order {
    /// What is started.
    pub invocation: Invocation,
    /// What it may use.
    pub limits: Limits,
    /// Who is told of it.
    pub observer: Observer,
}

impl Runner {
    /// Starts the first of the threads that carry scripts out.
    ///
    /// # Errors
    /// When no thread can be started, and when SIGCHLD is ignored (as after `trap '' CHLD`): the kernel then throws exit
    /// statuses away.
    pub fn start() -> io::Result<Self> {
        if sigchld_is_ignored() {
            return Err(io::Error::other(
                "SIGCHLD is ignored, so the exit status of scripts would be lost; start hem without `trap '' CHLD`",
            ));
        }
        descriptors::keep_from_children();
        Ok(Self {
            threads: Threads::start()?,
            connections: None,
        })
    }

    /// Runs one process to its end. Comes back in any case: at the latest when the time limit, the grace and a bounded wait
    /// for the killed group have passed, or, without a time limit, when the script ends or `stop` is cancelled.
    ///
    /// Dropping the future kills the process group. Must be called within a tokio runtime with time.
    pub async fn run(
        &self,
        invocation: Invocation,
        limits: Limits,
        stop: CancellationToken,
        observer: Observer,
    ) -> Report {
        let order = Order {
            invocation,
            limits,
            observer,
        };
        if order.invocation.host.is_some() {
            self.clone().run_elsewhere(order, stop).await
        } else {
            self.run_here(order, stop).await
        }
    }

    /// Runs one process to its end, whatever other host it may talk to.
    pub(super) async fn run_here(&self, order: Order, stop: CancellationToken) -> Report {
        let grace = order.limits.grace;
        self.carry_out(|| Ok(order), grace, stop).await
    }

    /// Like [`Self::run`], for what is yet to be laid out: `lay_out` is called on the thread that the process is started on,
    /// where it may block. That begins at once; the future only waits for what comes of it. `grace` is how long a start that
    /// blocks is waited for after a stop.
    pub fn carry_out<L>(
        &self,
        lay_out: L,
        grace: Duration,
        stop: CancellationToken,
    ) -> impl Future<Output = Report> + Send + use<L> + 'static
    where
        L: FnOnce() -> Result<Order, StartFailure> + Send + 'static,
    {
        let held = Held(Arc::default());
        let (tell, mut told) = oneshot::channel();
        let given = {
            let (leash, stop) = (Arc::clone(&held.0), stop.clone());
            self.threads.give(move |seat| {
                let (report, leader) = carry_out(lay_out, seat, &leash, &stop);
                // Whoever asked may have gone away.
                let _ = tell.send(report);
                drop(leader);
            })
        };
        async move {
            if let Err(error) = given {
                return Report::start_failed(StartFailure {
                    kind: StartFailureKind::Exhausted,
                    message: format!("the machine has no room for a thread that starts a process: {error}"),
                });
            }
            let report = tokio::select! {
                biased;
                report = &mut told => report,
                // A start that is under way is waited for, so that the process gets its TERM and its grace like any other.
                () = stop.cancelled() => match timeout(grace, &mut told).await {
                    Ok(report) => report,
                    Err(_) if held.0.has_started() => told.await,
                    Err(_) => return Report::not_started(Outcome::Stopped { killed: false }),
                },
            };
            report.unwrap_or_else(|_| {
                Report::start_failed(StartFailure {
                    kind: StartFailureKind::Exhausted,
                    message: "the thread that started the process ended unexpectedly".to_owned(),
                })
            })
        }
    }
}

/// Lets go of a run when it is dropped.
struct Held(Arc<Leash>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

fn carry_out(
    lay_out: impl FnOnce() -> Result<Order, StartFailure>,
    seat: &Seat,
    leash: &Arc<Leash>,
    stop: &CancellationToken,
) -> (Report, Option<Leader>) {
    let is_wanted = || !stop.is_cancelled() && !leash.is_let_go();
    if !is_wanted() {
        return (Report::not_started(Outcome::Stopped { killed: false }), None);
    }
    let laid_out = catch_unwind(AssertUnwindSafe(lay_out)).unwrap_or_else(|_| {
        Err(StartFailure {
            kind: StartFailureKind::Other,
            message: "laying out the command failed, a defect of hem; its log says where".to_owned(),
        })
    });
    let Order {
        mut invocation,
        limits,
        observer,
    } = match laid_out {
        Ok(order) => order,
        Err(failure) => return (Report::start_failed(failure), None),
    };
    if !is_wanted() {
        return (Report::not_started(Outcome::Stopped { killed: false }), None);
    }
    let stdin = std::mem::replace(&mut invocation.stdin, super::Stdin::Empty);
    let running = match start::start(&invocation, seat, leash) {
        Ok(running) => running,
        Err(failure) => return (Report::start_failed(failure), None),
    };
    drop(invocation);
    if let Some(tell) = observer.on_start {
        tell(&running.started);
    }
    let supervision = Supervision::new(
        running,
        stdin,
        limits,
        observer.still_running,
        observer.output,
        observer.so_far.as_ref(),
    );
    let (report, leader) = supervision.run(seat.bell(), stop);
    (report, Some(leader))
}

impl Report {
    pub(super) fn not_started(outcome: Outcome) -> Self {
        Self {
            outcome,
            started: None,
            ended: SystemTime::now(),
            stdout: Captured::default(),
            stderr: Captured::default(),
            chunks_dropped: 0,
        }
    }

    pub(super) fn start_failed(failure: StartFailure) -> Self {
        Self::not_started(Outcome::StartFailed(failure))
    }
}

/// Whether bit 17 (SIGCHLD) of this process's ignored signals is set: proc_pid_status(5).
fn sigchld_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    mask & (1 << (nix::sys::signal::Signal::SIGCHLD as u32 - 1)) != 0
}
