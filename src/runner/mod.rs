//! Runs one child process from start to end: limits, output, process group.
//!
//! This room knows no events and no hooks: it gets an [`Invocation`] and [`Limits`], and gives back a [`Report`].
//!
//! What it promises:
//!
//! * Nothing is inherited by accident: the environment is exactly the invocation's, the umask is the one asked for, and
//!   only descriptors 0 to 2 are open.
//! * Every process leads a group of its own. A time limit or a stop ends the whole group: TERM, grace, KILL.
//! * Output is read all the time, whatever else happens, and kept as head and tail in bounded memory.
//! * [`Runner::run`] always comes back, also when a descendant holds the pipes for ever or a process cannot be killed.
//!
//! A descendant that gave the output pipes back is left alone when the script ends by itself: that is how a script starts
//! a daemon on purpose. One that still holds them when [`Limits::leak`] has passed is ended with the rest of the group. A
//! process that made a group or session of its own is beyond the group's reach; [`leftovers`] finds it by its environment.

mod descriptors;
pub mod fingerprint;
mod leader;
pub mod leftovers;
mod output;
mod process_group;
pub mod processes;
pub mod rights;
mod runs;
mod secrets;
pub mod ssh;
mod start;
mod start_failure;
mod supervision;
mod threads;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::mpsc;

pub use self::fingerprint::FileFingerprint;
pub use self::output::SoFar;
pub use self::runs::{Order, Runner};

/// Everything needed to start a process; nothing in it is ever parsed by a shell unless the program is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program: a path (a relative one is taken from `directory`), or a bare name that is looked up in the environment's `PATH`.
    pub program: PathBuf,
    /// The arguments after the program's name.
    pub arguments: Vec<OsString>,
    /// The whole environment: nothing else is inherited.
    pub environment: Vec<(OsString, OsString)>,
    /// Read at each start and added to the environment; their values are blotted out of the output.
    pub secrets: Vec<Secret>,
    /// The working directory; the daemon's own when unset.
    pub directory: Option<PathBuf>,
    /// What the process reads from its standard input. `Empty` is a pipe at its end.
    pub stdin: Stdin,
    /// The file mode creation mask; the one the daemon was started with when unset.
    pub umask: Option<u32>,
    /// The host that the program, `ssh`, runs something on; unset for what runs here.
    pub host: Option<String>,
    /// Do not start a program that others than its owner may write, or whose folder they may.
    pub refuses_open_programs: bool,
}

/// A value read from a file when a process starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// The environment variable that carries it.
    pub name: String,
    /// The file that holds it; one newline at its end is not part of the value.
    pub file: PathBuf,
}

/// Standard input of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stdin {
    /// A pipe that is at its end at once.
    Empty,
    /// These bytes, then the end.
    Bytes(Bytes),
}

/// What a process may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run; no limit when unset.
    pub timeout: Option<Duration>,
    /// How long its process group has between TERM and KILL.
    pub grace: Duration,
    /// How long after the script's exit a descendant may go on holding its output before it is reported, and ended with the
    /// rest of the process group.
    pub leak: Duration,
    /// Bytes kept from the beginning of each output stream.
    pub output_head: usize,
    /// Bytes kept from the end of each output stream.
    pub output_tail: usize,
}

/// How an attempt ended. Every way has its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The script ended by itself.
    Exited {
        /// Its exit status, 0 to 255.
        code: i32,
    },
    /// The script was ended by a signal that did not come from here.
    Signalled {
        /// The signal's number.
        signal: i32,
    },
    /// It ran into its time limit and its process group was ended.
    TimedOut {
        /// The limit.
        after: Duration,
        /// Whether KILL was needed after TERM.
        killed: bool,
    },
    /// It was ended on request (an operator, or the daemon's stop).
    Stopped {
        /// Whether KILL was needed after TERM.
        killed: bool,
    },
    /// It could not be started.
    StartFailed(StartFailure),
    /// The script ended by itself, but a descendant still held its output when the leak limit passed. The rest of the process
    /// group was then ended.
    Leaked {
        /// The script's exit status.
        code: i32,
    },
    /// The daemon ended while it ran (a crash, a power cut); how it went on is not known.
    Interrupted,
}

/// Why a process could not be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StartFailure {
    /// The class of failure, which decides whether it is tried again.
    pub kind: StartFailureKind,
    /// A sentence with what to do.
    pub message: String,
}

/// Classes of failures to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartFailureKind {
    /// The program does not exist (ENOENT).
    NotFound,
    /// The program may not be run (EACCES).
    NotPermitted,
    /// An argument or the whole is longer than the kernel takes (E2BIG; 131,071 bytes for one argument on Linux).
    ArgumentTooLong,
    /// An argument holds a NUL byte, or cannot be made from the event.
    BadArgument,
    /// The machine is short of processes, memory or files for now (EAGAIN, ENOMEM, EMFILE), or the program is being written
    /// this very moment (ETXTBSY); tried again outside the budget.
    Exhausted,
    /// Anything else.
    Other,
}

impl StartFailureKind {
    /// Whether the next try may go better without anybody changing anything.
    pub const fn is_passing(self) -> bool {
        matches!(self, Self::Exhausted)
    }
}

/// One output stream, as kept.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The beginning; all of it when nothing was cut.
    pub head: Bytes,
    /// The end, when something between was cut.
    pub tail: Bytes,
    /// Bytes written by the process in all, counted after the values of secrets were replaced.
    pub total: u64,
}

impl Captured {
    /// How many bytes were cut between head and tail.
    pub fn cut(&self) -> u64 {
        self.total
            .saturating_sub(self.head.len() as u64)
            .saturating_sub(self.tail.len() as u64)
    }
}

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// What was started; unset when nothing was.
    pub started: Option<Started>,
    /// When it ended, by the wall clock.
    pub ended: SystemTime,
    /// What it wrote to its standard output.
    pub stdout: Captured,
    /// What it wrote to its standard error.
    pub stderr: Captured,
    /// Chunks of live output that a slow listener missed; the record misses nothing by it.
    pub chunks_dropped: u64,
}

/// A process that now exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The process id, which is also the id of its process group.
    pub pid: u32,
    /// When it started, by the wall clock.
    pub at: SystemTime,
    /// The user it runs as.
    pub uid: u32,
    /// The files that were run: the program, and the script where the program is an interpreter.
    pub files: Vec<FileFingerprint>,
}

/// One of a process's output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Output as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which stream it was written to.
    pub stream: Stream,
    /// What was written, with the values of secrets replaced.
    pub bytes: Bytes,
}

type OnStart = Box<dyn FnOnce(&Started) + Send>;
type OnRepeat = Box<dyn FnOnce(&str) + Send>;
type StillRunning = Box<dyn FnOnce(u64) + Send>;

/// Who is told of a run while it goes on. By default, nobody.
#[derive(Default)]
pub struct Observer {
    on_start: Option<OnStart>,
    on_repeat: Option<OnRepeat>,
    still_running: Option<(Duration, StillRunning)>,
    output: Option<mpsc::Sender<Chunk>>,
    so_far: Option<SoFar>,
}

impl Observer {
    /// Nobody is told.
    pub fn none() -> Self {
        Self::default()
    }

    /// Calls `tell` as soon as the process exists. It must not block: the process's output waits for it.
    #[must_use]
    pub fn on_start(mut self, tell: impl FnOnce(&Started) + Send + 'static) -> Self {
        self.on_start = Some(Box::new(tell));
        self
    }

    /// Calls `tell` with the host's name before something that runs there is started once more, because the connection failed
    /// and the script may never have begun. It must not block.
    #[must_use]
    pub fn on_repeat(mut self, tell: impl FnOnce(&str) + Send + 'static) -> Self {
        self.on_repeat = Some(Box::new(tell));
        self
    }

    /// Calls `tell` when the process has run for so long, with its start time in clock ticks since boot (field 22 of
    /// `/proc/<pid>/stat`; 0 where that could not be read). It must not block.
    #[must_use]
    pub fn still_running(mut self, after: Duration, tell: impl FnOnce(u64) + Send + 'static) -> Self {
        self.still_running = Some((after, Box::new(tell)));
        self
    }

    /// Sends the output as it comes. What does not fit into the channel is dropped and counted in
    /// [`Report::chunks_dropped`]: a slow listener never slows the script.
    #[must_use]
    pub fn output(mut self, chunks: mpsc::Sender<Chunk>) -> Self {
        self.output = Some(chunks);
        self
    }

    /// Shows in `so_far` what the process has written, at any time from its start on.
    #[must_use]
    pub fn so_far(mut self, so_far: SoFar) -> Self {
        self.so_far = Some(so_far);
        self
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("on_start", &self.on_start.is_some())
            .field("on_repeat", &self.on_repeat.is_some())
            .field("still_running", &self.still_running.is_some())
            .field("output", &self.output.is_some())
            .field("so_far", &self.so_far.is_some())
            .finish()
    }
}
