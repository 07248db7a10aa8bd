//! The life of one child process, from its start to the report; it takes the thread it runs on for as long.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::pin::pin;
use std::process::{ChildStderr, ChildStdin, ChildStdout, ExitStatus};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::leader::Leader;
use super::output::{Capture, Shared, SoFar};
use super::process_group::Stat;
use super::secrets::Redactor;
use super::start::Running;
use super::threads::Bell;
use super::{Chunk, Limits, Outcome, Report, Started, Stdin, StillRunning, Stream};

/// How long a killed group is waited for. A process in an uninterruptible wait (a dead NFS server) may take for ever.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// After the whole group has ended, what is still in the pipes is read for this long. Longer only matters when a process
/// outside the group holds them.
const DRAIN: Duration = Duration::from_millis(250);

/// How often a group that is being ended is looked at once its leader is gone: nothing else tells of its last member's end.
const GROUP_POLL: Duration = Duration::from_millis(20);

/// How often a process is looked at where the kernel does not tell of its end.
const LEADER_POLL: Duration = Duration::from_millis(10);

/// Most scripts write little: a buffer of a whole pipe for each stream costs more to get and to give back than it saves.
const READ_SIZE: usize = 8 << 10;

/// A pipe that can be written to takes this much without blocking: pipe(7), PIPE_BUF.
const WRITE_SIZE: usize = 4 << 10;

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

/// One run of a process that was just started.
pub(super) struct Supervision {
    leader: Leader,
    started: Started,
    limits: Limits,
    stdin: Input,
    stdout: Output<ChildStdout>,
    stderr: Output<ChildStderr>,
    still_running: Option<(Instant, StillRunning)>,
    listener: Option<mpsc::Sender<Chunk>>,
    chunks_dropped: u64,
    phase: Phase,
    exit: Option<Exit>,
    ending: Option<Ending>,
    killed: bool,
}

/// What ended a wait.
#[derive(Debug)]
struct Woken {
    rung: bool,
    exit: bool,
    stdout: PollFlags,
    stderr: PollFlags,
    stdin: bool,
}

impl Supervision {
    pub(super) fn new(
        running: Running,
        stdin: Stdin,
        limits: Limits,
        still_running: Option<(Duration, StillRunning)>,
        listener: Option<mpsc::Sender<Chunk>>,
        so_far: Option<&SoFar>,
    ) -> Self {
        let Running {
            mut leader,
            started,
            stdout_redactor,
            stderr_redactor,
        } = running;
        let child = leader.child();
        let stdin = Input::new(child.stdin.take(), stdin);
        let capture = || Shared::new(Capture::new(limits.output_head, limits.output_tail));
        let stdout = Output::new(child.stdout.take(), capture(), stdout_redactor);
        let stderr = Output::new(child.stderr.take(), capture(), stderr_redactor);
        if let Some(so_far) = so_far {
            so_far.begin(&stdout.capture, &stderr.capture);
        }
        Self {
            leader,
            started,
            limits,
            stdin,
            stdout,
            stderr,
            still_running: still_running.map(|(after_that, tell)| (after(after_that), tell)),
            listener,
            chunks_dropped: 0,
            phase: Phase::Running,
            exit: None,
            ending: None,
            killed: false,
        }
    }

    /// Stays with the process to its end. The leader comes back too, for what is to be done once the report is out: one that
    /// could not be killed is waited for when it is dropped.
    pub(super) fn run(mut self, bell: &Arc<Bell>, stop: &CancellationToken) -> (Report, Leader) {
        let limit = self
            .limits
            .timeout
            .and_then(|timeout| Instant::now().checked_add(timeout));
        let waker = Waker::from(Arc::clone(bell));
        let mut context = Context::from_waker(&waker);
        // Polled by hand: the waker rings the bell, which is among the descriptors that are waited for.
        let mut stopped = pin!(stop.cancelled());
        let mut is_stopped = stopped.as_mut().poll(&mut context).is_ready();
        while !self.is_over() {
            // What is due comes before output: a script that never stops printing must not outshout its own time limit.
            if is_stopped && self.may_be_stopped() {
                self.end_group(Ending::Stopped);
            }
            let now = Instant::now();
            if self.phase.end(limit).is_some_and(|end| end <= now) {
                if self.phase_is_over() {
                    break;
                }
                continue;
            }
            if self.exit.is_some() && self.phase.look().is_some_and(|look| look <= now) {
                self.look_at_group();
                continue;
            }
            if let Some((_, tell)) = self.still_running.take_if(|(due, _)| *due <= now) {
                // The process is not waited for yet, so its number is its own and `/proc` still knows it.
                tell(Stat::of(self.leader.pid()).map_or(0, |stat| stat.start_ticks));
            }
            let woken = self.wait(bell, self.due(limit), now);
            if woken.rung {
                bell.silence();
                is_stopped = is_stopped || stopped.as_mut().poll(&mut context).is_ready();
            }
            if woken.exit {
                self.collect();
            }
            let chunk = self.stdout.read(woken.stdout);
            self.heard(Stream::Stdout, chunk);
            let chunk = self.stderr.read(woken.stderr);
            self.heard(Stream::Stderr, chunk);
            if woken.stdin {
                self.stdin.write();
            }
        }
        self.report()
    }

    /// Nothing is waited for any more.
    fn is_over(&self) -> bool {
        let silent = self.stdout.is_closed() && self.stderr.is_closed();
        let waits_for_output_only = !matches!(self.phase, Phase::Terminating { .. } | Phase::Killed { .. });
        silent && self.exit.is_some() && waits_for_output_only
    }

    /// When something is to be done that no descriptor tells of.
    fn due(&self, limit: Option<Instant>) -> Option<Instant> {
        let look = self.phase.look().filter(|_| self.exit.is_some());
        let tell = self.still_running.as_ref().map(|(due, _)| *due);
        let leader = (self.exit.is_none() && self.leader.end().is_none()).then(|| after(LEADER_POLL));
        [self.phase.end(limit), look, tell, leader]
            .into_iter()
            .flatten()
            .min()
    }

    /// Waits until something can be read or written, the process has ended, the bell rings, or `until` has come.
    fn wait(&self, bell: &Bell, until: Option<Instant>, now: Instant) -> Woken {
        fn listed<'a>(
            list: &mut Vec<PollFd<'a>>,
            descriptor: Option<BorrowedFd<'a>>,
            events: PollFlags,
        ) -> Option<usize> {
            list.push(PollFd::new(descriptor?, events));
            Some(list.len() - 1)
        }
        let mut list = Vec::with_capacity(5);
        let rung = listed(&mut list, Some(bell.as_fd()), PollFlags::POLLIN);
        let end = self.leader.end().filter(|_| self.exit.is_none());
        let exit = listed(&mut list, end, PollFlags::POLLIN);
        let stdout = listed(&mut list, self.stdout.descriptor(), PollFlags::POLLIN);
        let stderr = listed(&mut list, self.stderr.descriptor(), PollFlags::POLLIN);
        let stdin = listed(&mut list, self.stdin.descriptor(), PollFlags::POLLOUT);

        let timeout = match until {
            None => PollTimeout::NONE,
            // A millisecond that has begun is waited for: waking before the time would only mean to wait again.
            Some(until) => until
                .saturating_duration_since(now)
                .checked_add(Duration::from_micros(999))
                .and_then(|wait| PollTimeout::try_from(wait).ok())
                .unwrap_or(PollTimeout::MAX),
        };
        match poll(&mut list, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => {
                tracing::error!(pid = self.started.pid, %errno, "a script could not be waited for; it is looked at again");
                std::thread::sleep(LEADER_POLL);
            }
        }
        let events = |at: Option<usize>| {
            at.and_then(|at| list.get(at)?.revents())
                .unwrap_or(PollFlags::empty())
        };
        Woken {
            rung: !events(rung).is_empty(),
            // Where nothing tells of the process's end, it is looked at each time.
            exit: !events(exit).is_empty() || (self.exit.is_none() && exit.is_none()),
            stdout: events(stdout),
            stderr: events(stderr),
            stdin: !events(stdin).is_empty(),
        }
    }

    fn may_be_stopped(&self) -> bool {
        matches!(self.phase, Phase::Running | Phase::Leaking { .. })
    }

    fn collect(&mut self) {
        self.exit = Some(match self.leader.collect() {
            Ok(Some(status)) => Exit::Status(status),
            Ok(None) => return,
            Err(error) => {
                tracing::error!(pid = self.started.pid, %error, "the exit status of a script was lost");
                Exit::Unknown
            }
        });
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
        self.leader.group().terminate();
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
                self.leader.group().kill();
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
        if self.exit.is_some() && !self.leader.group().is_alive() {
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

    fn report(mut self) -> (Report, Leader) {
        let held_back = self.stdout.redactor.finish();
        self.heard(Stream::Stdout, held_back);
        let held_back = self.stderr.redactor.finish();
        self.heard(Stream::Stderr, held_back);
        self.leader.run_is_over();
        let report = Report {
            outcome: self.outcome(),
            started: Some(self.started),
            ended: SystemTime::now(),
            stdout: self.stdout.capture.kept(),
            stderr: self.stderr.capture.kept(),
            chunks_dropped: self.chunks_dropped,
        };
        (report, self.leader)
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
    redactor: Redactor,
    capture: Shared,
}

impl<R: io::Read + AsFd> Output<R> {
    const fn new(pipe: Option<R>, capture: Shared, redactor: Redactor) -> Self {
        Self {
            pipe,
            redactor,
            capture,
        }
    }

    const fn is_closed(&self) -> bool {
        self.pipe.is_none()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// The next output, redacted, where `events` says that there is some; empty when the stream has just ended or nothing can
    /// be said yet.
    fn read(&mut self, events: PollFlags) -> Vec<u8> {
        if events.is_empty() {
            return Vec::new();
        }
        let Some(pipe) = &mut self.pipe else {
            return Vec::new();
        };
        if !events.contains(PollFlags::POLLIN) {
            // Nothing is in it, and nobody holds its other end.
            self.pipe = None;
            return Vec::new();
        }
        let mut buffer = [0; READ_SIZE];
        match pipe.read(&mut buffer) {
            Ok(0) => {
                self.pipe = None;
                Vec::new()
            }
            Ok(read) => self
                .redactor
                .push(buffer.get(..read).unwrap_or_default().to_vec()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, "the output of a script could not be read any further");
                self.pipe = None;
                Vec::new()
            }
        }
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

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Writes what a pipe that can be written to takes without blocking, and closes it after the last byte.
    fn write(&mut self) {
        let Some(pipe) = &mut self.pipe else { return };
        let next = self.rest.get(..WRITE_SIZE).unwrap_or(&self.rest);
        match pipe.write(next) {
            Ok(written) if written < self.rest.len() => {
                let _ = self.rest.split_to(written);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // All is written, or the script closed its input: it need not read what it does not want (EPIPE).
            Ok(_) | Err(_) => self.pipe = None,
        }
    }
}

fn after(duration: Duration) -> Instant {
    let now = Instant::now();
    // Some thirty years: as good as for ever, and never beyond the clock's range.
    now.checked_add(duration)
        .unwrap_or_else(|| now + Duration::from_secs(1 << 30))
}
