//! The life of one child process, from start to report.

use std::ffi::OsString;
use std::future::pending;
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::descriptors;
use super::output::Capture;
use super::secrets::Redactor;
use super::spawner::Spawner;
use super::ssh::{self, Connections, Ssh};
use super::start::{GroupGuard, Running};
use super::{
    Captured, Chunk, Invocation, Limits, Observer, Outcome, Report, StartFailure, Started, Stdin, Stream,
};

/// How long a killed group is waited for. A process in an uninterruptible wait (a dead NFS server) may take for ever.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// After the whole group has ended, what is still in the pipes is read for this long. Longer only matters when a process
/// outside the group holds them.
const DRAIN: Duration = Duration::from_millis(250);

/// How often a group that is being ended is looked at once its leader is gone: nothing else tells of its last member's end.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// Most scripts write little: a buffer of a whole pipe for each stream costs more to get and to give back than it saves.
const READ_SIZE: usize = 8 << 10;

/// What `ssh` ends with when it could not reach the host (ssh(1), "Exit status").
const TRANSPORT_FAILED: i32 = 255;

/// Another host, and the way there.
struct Elsewhere<'a> {
    host: String,
    connections: &'a Connections,
}

/// Runs processes. Cloning is cheap; the threads behind it end with the last clone.
#[derive(Debug, Clone)]
pub struct Runner {
    spawner: Spawner,
    connections: Option<Arc<Connections>>,
}

impl Runner {
    /// Starts the threads that start processes. Must be called within a tokio runtime, which then watches the processes.
    ///
    /// # Errors
    /// When there is no runtime, when no thread can be started, and when SIGCHLD is ignored (as after `trap '' CHLD`): the
    /// kernel then throws exit statuses away.
    pub fn start() -> io::Result<Self> {
        if sigchld_is_ignored() {
            return Err(io::Error::other(
                "SIGCHLD is ignored, so the exit status of scripts would be lost; start hem without `trap '' CHLD`",
            ));
        }
        descriptors::keep_from_children();
        let runtime = Handle::try_current().map_err(io::Error::other)?;
        Ok(Self {
            spawner: Spawner::new(runtime)?,
            connections: None,
        })
    }

    /// Has what runs on other hosts share connections, whose processes get this environment.
    pub fn sharing(self, ssh: Ssh, environment: Vec<(OsString, OsString)>) -> Self {
        Self {
            connections: Some(Arc::new(Connections::new(ssh, environment))),
            ..self
        }
    }

    /// Ends the connections to other hosts. What still runs there is cut off.
    pub async fn close_connections(&self) {
        if let Some(connections) = &self.connections {
            connections.close().await;
        }
    }

    /// Runs one process to its end. Comes back in any case: at the latest when the time limit, the grace and a bounded wait
    /// for the killed group have passed, or, without a time limit, when the script ends or `stop` is cancelled.
    ///
    /// Dropping the future kills the process group.
    pub async fn run(
        &self,
        invocation: Invocation,
        limits: Limits,
        stop: CancellationToken,
        observer: Observer,
    ) -> Report {
        match (invocation.host.clone(), self.connections.as_deref()) {
            (Some(host), Some(connections)) => {
                let there = Elsewhere { host, connections };
                self.run_elsewhere(there, invocation, limits, stop, observer)
                    .await
            }
            _ => self.run_here(invocation, limits, stop, observer).await,
        }
    }

    async fn run_elsewhere(
        &self,
        there: Elsewhere<'_>,
        invocation: Invocation,
        limits: Limits,
        stop: CancellationToken,
        observer: Observer,
    ) -> Report {
        let Elsewhere { host, connections } = there;
        let readied = stop.run_until_cancelled(async {
            let session = connections.session(&host).await;
            (session, connections.connect(&host).await)
        });
        let Some((_session, shares)) = readied.await else {
            return Report::not_started(Outcome::Stopped { killed: false });
        };
        if !shares {
            let invocation = ssh::alone(invocation, connections, &host);
            return self.run_here(invocation, limits, stop, observer).await;
        }
        let listener = observer.output.clone();
        let again = ssh::alone(invocation.clone(), connections, &host);
        let report = self
            .run_here(invocation, limits.clone(), stop.clone(), observer)
            .await;
        // 255 is ssh's own status. Where the connection is gone and the script said nothing, it was the connection that
        // failed: it had been up for long, and nobody had told it yet that the host was restarted.
        let failed_to_connect = report.outcome
            == Outcome::Exited {
                code: TRANSPORT_FAILED,
            }
            && report.stdout.total == 0
            && !connections.stands(&host);
        if !failed_to_connect {
            return report;
        }
        let observer = match listener {
            Some(listener) => Observer::none().output(listener),
            None => Observer::none(),
        };
        self.run_here(again, limits, stop, observer).await
    }

    async fn run_here(
        &self,
        invocation: Invocation,
        limits: Limits,
        stop: CancellationToken,
        observer: Observer,
    ) -> Report {
        if stop.is_cancelled() {
            return Report::not_started(Outcome::Stopped { killed: false });
        }
        let stdin = invocation.stdin.clone();
        let mut start = pin!(self.spawner.start(invocation));
        let running = tokio::select! {
            biased;
            running = &mut start => running,
            // A start that is under way is waited for, so that the process gets its TERM and its grace like any other.
            () = stop.cancelled() => match timeout(limits.grace, start).await {
                Ok(running) => running,
                Err(_) => return Report::not_started(Outcome::Stopped { killed: false }),
            },
        };
        match running {
            Ok(running) => {
                if let Some(tell) = observer.on_start {
                    tell(&running.started);
                }
                Supervision::new(running, stdin, limits, observer.output)
                    .run(&stop)
                    .await
            }
            Err(failure) => Report::start_failed(failure),
        }
    }
}

impl Report {
    fn not_started(outcome: Outcome) -> Self {
        Self {
            outcome,
            started: None,
            ended: SystemTime::now(),
            stdout: Captured::default(),
            stderr: Captured::default(),
            chunks_dropped: 0,
        }
    }

    fn start_failed(failure: StartFailure) -> Self {
        Self::not_started(Outcome::StartFailed(failure))
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The script runs.
    Running,
    /// The script has ended, somebody still holds its output.
    Leaking { until: Instant },
    /// The group was sent TERM.
    Terminating { until: Instant, look: Instant },
    /// The group was sent KILL.
    Killed { until: Instant, look: Instant },
    /// The group has ended; what is in the pipes is read.
    Draining { until: Instant },
}

impl Phase {
    /// When this phase is over whatever happens; `limit` is the script's own.
    fn end(self, limit: Option<Instant>) -> Option<Instant> {
        match self {
            Self::Running => limit,
            Self::Leaking { until }
            | Self::Terminating { until, .. }
            | Self::Killed { until, .. }
            | Self::Draining { until } => Some(until),
        }
    }

    /// When the group is to be looked at again.
    fn look(self) -> Option<Instant> {
        match self {
            Self::Terminating { look, .. } | Self::Killed { look, .. } => Some(look),
            Self::Running | Self::Leaking { .. } | Self::Draining { .. } => None,
        }
    }
}

/// Why the group was ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    TimedOut,
    Stopped,
    Leaked,
}

/// How the script itself ended.
enum Exit {
    Status(ExitStatus),
    /// Its status was lost.
    Unknown,
}

struct Supervision {
    child: Child,
    group: GroupGuard,
    started: Started,
    limits: Limits,
    stdin: Input,
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
    listener: Option<mpsc::Sender<Chunk>>,
    chunks_dropped: u64,
    phase: Phase,
    exit: Option<Exit>,
    ending: Option<Ending>,
    killed: bool,
}

impl Supervision {
    fn new(running: Running, stdin: Stdin, limits: Limits, listener: Option<mpsc::Sender<Chunk>>) -> Self {
        let Running {
            mut child,
            started,
            group,
            stdout_redactor,
            stderr_redactor,
        } = running;
        let stdin = Input::new(child.stdin.take(), stdin);
        let capture = || Capture::new(limits.output_head, limits.output_tail);
        let stdout = Output::new(child.stdout.take(), capture(), stdout_redactor);
        let stderr = Output::new(child.stderr.take(), capture(), stderr_redactor);
        Self {
            child,
            group,
            started,
            limits,
            stdin,
            stdout,
            stderr,
            listener,
            chunks_dropped: 0,
            phase: Phase::Running,
            exit: None,
            ending: None,
            killed: false,
        }
    }

    async fn run(mut self, stop: &CancellationToken) -> Report {
        let limit = self
            .limits
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            // Every branch may be dropped half-way without losing anything: what was read is handed over whole or not at all.
            tokio::select! {
                // A script that never stops printing must not outshout its own time limit.
                biased;
                () = stop.cancelled(), if self.may_be_stopped() => self.end_group(Ending::Stopped),
                () = at(self.phase.end(limit)) => {
                    if self.phase_is_over() {
                        break;
                    }
                }
                () = at(self.phase.look()), if self.exit.is_some() => self.look_at_group(),
                status = self.child.wait(), if self.exit.is_none() => self.script_ended(status),
                chunk = self.stdout.read() => self.heard(Stream::Stdout, chunk),
                chunk = self.stderr.read() => self.heard(Stream::Stderr, chunk),
                () = self.stdin.write() => {}
            }
            let silent = self.stdout.is_closed() && self.stderr.is_closed();
            let waits_for_output_only =
                !matches!(self.phase, Phase::Terminating { .. } | Phase::Killed { .. });
            if silent && self.exit.is_some() && waits_for_output_only {
                break;
            }
        }
        self.report()
    }

    fn may_be_stopped(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaking { .. })
    }

    fn script_ended(&mut self, status: io::Result<ExitStatus>) {
        self.exit = Some(match status {
            Ok(status) => Exit::Status(status),
            Err(error) => {
                tracing::error!(pid = self.started.pid, %error, "the exit status of a script was lost");
                Exit::Unknown
            }
        });
        self.group.group.leader_was_reaped();
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Leaking {
                    until: after(self.limits.leak),
                }
            }
            Phase::Terminating { .. } | Phase::Killed { .. } => self.look_at_group(),
            Phase::Leaking { .. } | Phase::Draining { .. } => {}
        }
    }

    /// Sends TERM to the group. Who ended before by itself and only left somebody behind is reported so.
    fn end_group(&mut self, why: Ending) {
        self.ending = Some(if self.exit.is_some() { Ending::Leaked } else { why });
        self.group.group.terminate();
        self.phase = Phase::Terminating {
            until: after(self.limits.grace),
            look: Instant::now(),
        };
    }

    /// Goes on to what follows when a phase's time is up; true when nothing does.
    fn phase_is_over(&mut self) -> bool {
        match self.phase {
            Phase::Running => self.end_group(Ending::TimedOut),
            Phase::Leaking { .. } => self.end_group(Ending::Leaked),
            Phase::Terminating { .. } => {
                self.group.group.kill();
                self.killed = true;
                self.phase = Phase::Killed {
                    until: after(KILL_PATIENCE),
                    look: Instant::now(),
                };
            }
            Phase::Killed { .. } => {
                tracing::error!(
                    pid = self.started.pid,
                    "a process group did not end after KILL; it is no longer waited for"
                );
                return true;
            }
            Phase::Draining { .. } => return true,
        }
        false
    }

    fn look_at_group(&mut self) {
        if self.exit.is_some() && !self.group.group.is_alive() {
            self.phase = Phase::Draining { until: after(DRAIN) };
            return;
        }
        if let Phase::Terminating { look, .. } | Phase::Killed { look, .. } = &mut self.phase {
            *look = after(GROUP_POLL);
        }
    }

    fn heard(&mut self, stream: Stream, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match stream {
            Stream::Stdout => self.stdout.capture.push(&bytes),
            Stream::Stderr => self.stderr.capture.push(&bytes),
        }
        if let Some(listener) = &self.listener {
            match listener.try_send(Chunk {
                stream,
                bytes: Bytes::from(bytes),
            }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => self.chunks_dropped += 1,
                Err(mpsc::error::TrySendError::Closed(_)) => self.listener = None,
            }
        }
    }

    fn report(mut self) -> Report {
        let held_back = self.stdout.redactor.finish();
        self.heard(Stream::Stdout, held_back);
        let held_back = self.stderr.redactor.finish();
        self.heard(Stream::Stderr, held_back);
        self.group.disarm();
        Report {
            outcome: self.outcome(),
            started: Some(self.started),
            ended: SystemTime::now(),
            stdout: self.stdout.capture.finish(),
            stderr: self.stderr.capture.finish(),
            chunks_dropped: self.chunks_dropped,
        }
    }

    fn outcome(&self) -> Outcome {
        let killed = self.killed;
        match self.ending {
            Some(Ending::TimedOut) => {
                return Outcome::TimedOut {
                    after: self.limits.timeout.unwrap_or_default(),
                    killed,
                };
            }
            Some(Ending::Stopped) => return Outcome::Stopped { killed },
            Some(Ending::Leaked) | None => {}
        }
        let Some(Exit::Status(status)) = &self.exit else {
            return Outcome::Interrupted;
        };
        match (status.code(), status.signal()) {
            (Some(code), _) if self.ending == Some(Ending::Leaked) => Outcome::Leaked { code },
            (Some(code), _) => Outcome::Exited { code },
            (None, Some(signal)) => Outcome::Signalled { signal },
            (None, None) => Outcome::Interrupted,
        }
    }
}

/// The end of a script's output that is read here.
struct Output<R> {
    pipe: Option<R>,
    buffer: Vec<u8>,
    redactor: Redactor,
    capture: Capture,
}

impl<R: AsyncRead + Unpin> Output<R> {
    fn new(pipe: Option<R>, capture: Capture, redactor: Redactor) -> Self {
        Self {
            pipe,
            buffer: Vec::with_capacity(READ_SIZE),
            redactor,
            capture,
        }
    }

    fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    /// The next output, redacted; empty when the stream has just ended or nothing can be said yet.
    async fn read(&mut self) -> Vec<u8> {
        let Some(pipe) = &mut self.pipe else {
            return pending().await;
        };
        self.buffer.clear();
        match pipe.read_buf(&mut self.buffer).await {
            Ok(0) => self.pipe = None,
            Err(error) => {
                tracing::warn!(%error, "the output of a script could not be read any further");
                self.pipe = None;
            }
            Ok(_) => {}
        }
        self.redactor.push(self.buffer.clone())
    }
}

/// The end of a script's input that is written here.
struct Input {
    pipe: Option<ChildStdin>,
    rest: Bytes,
}

impl Input {
    fn new(pipe: Option<ChildStdin>, stdin: Stdin) -> Self {
        match stdin {
            Stdin::Bytes(rest) if !rest.is_empty() => Self { pipe, rest },
            // Dropping the pipe's only writing end puts the script at the end of its input.
            Stdin::Bytes(_) | Stdin::Empty => Self {
                pipe: None,
                rest: Bytes::new(),
            },
        }
    }

    /// Writes as much as the pipe takes, and closes it after the last byte.
    async fn write(&mut self) {
        let Some(pipe) = &mut self.pipe else {
            return pending().await;
        };
        match pipe.write(&self.rest).await {
            Ok(written) if written < self.rest.len() => {
                let _ = self.rest.split_to(written);
            }
            // All is written, or the script closed its input: it need not read what it does not want (EPIPE).
            Ok(_) | Err(_) => self.pipe = None,
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    // Some thirty years: as good as for ever, and never beyond the clock's range.
    now.checked_add(duration)
        .unwrap_or_else(|| now + Duration::from_secs(1 << 30))
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
