//! Runs one child process from start to end: limits, output, process group.
//!
//! This room knows no events and no hooks: it gets an [`Invocation`] and [`Limits`], and gives back a [`Report`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

/// Everything needed to start a process; nothing in it is ever parsed by a shell unless the program is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// The program, as an absolute path.
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
    /// How long after the script's exit a descendant may go on holding its output before it is left alone and reported.
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
    /// The script ended by itself, but a descendant still held its output when the leak limit passed.
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
    /// The machine is short of processes, memory or files for now (EAGAIN, ENOMEM, EMFILE); tried again outside the budget.
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
    /// Bytes written by the process in all.
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
