//! How the program ends.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::process::ExitCode;

use crate::config::ConfigError;
use crate::control::api::ErrorCode;
use crate::control::client::ClientError;
use crate::control::query::QueryError;

/// The exit codes, for people; part of every `--help`.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0  ok
  1  the thing asked for failed
  2  the command line is wrong
  3  the daemon is not reachable
  4  configuration or hooks are invalid
  5  the store is damaged, or newer than this program
  6  the store cannot be used for now: its disk takes no writes, or another process has it";

/// Why the program ends, as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything went well.
    Ok = 0,
    /// The thing asked for failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The daemon is not reachable.
    NotReachable = 3,
    /// Configuration or hooks are invalid.
    Invalid = 4,
    /// The store is damaged, or newer than this program: somebody has to see to it.
    Store = 5,
    /// The store cannot be used for now: its disk takes no writes, or another process has it. Trying again may help.
    StoreForNow = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        // The enum's numbers are the codes.
        Self::from(exit as u8)
    }
}

/// A command could not do what was asked.
#[derive(Debug)]
pub enum Failure {
    /// Said on stderr.
    Said {
        /// The exit code.
        exit: Exit,
        /// What went wrong, with its causes.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Standard output cannot be written; a reader that went away is no error.
    Output(io::Error),
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self::Said {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    pub(super) fn of(exit: Exit, error: &dyn Error) -> Self {
        Self::new(exit, chain(error))
    }

    pub(super) fn with_hint(mut self, text: impl Into<String>) -> Self {
        if let Self::Said { hint, .. } = &mut self {
            *hint = Some(text.into());
        }
        self
    }
}

/// An error and its causes in one sentence; each says its own level only.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match &error {
            ClientError::NotReachable { .. } => Self::of(Exit::NotReachable, &error).with_hint(
                "start it with `systemctl start hem` or `hem run`; `--socket` names another socket, and commands that only read take `--offline`",
            ),
            ClientError::NotPermitted { .. } => Self::of(Exit::NotReachable, &error)
                .with_hint("run it as the daemon's user, or give your group access with `control: { socket_group }` in hem.yaml"),
            ClientError::Refused(problem) => {
                let exit = match problem.code {
                    ErrorCode::BadRequest => Exit::Usage,
                    ErrorCode::Stopping => Exit::NotReachable,
                    ErrorCode::StoreUnreadable => Exit::Store,
                    _ => Exit::Failed,
                };
                Self::Said {
                    exit,
                    message: problem.detail.clone(),
                    hint: problem.hint.clone(),
                }
            }
            ClientError::Broken(_) => Self::of(Exit::NotReachable, &error),
            ClientError::Answer(_) | ClientError::Text(_) | ClientError::Request(_) => Self::of(Exit::Failed, &error),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::of(Exit::Invalid, &error)
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let (exit, hint) = match &error {
            QueryError::Question { hint, .. } => (Exit::Usage, hint.clone()),
            QueryError::Absent { hint, .. } => (Exit::Failed, hint.clone()),
            QueryError::Read(_) => (Exit::Store, None),
        };
        Self::Said {
            exit,
            message: chain(&error),
            hint,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
