//! How an attempt is stored: its release, and its process and its end once they are known.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::executions::StoredCause;
use super::{FormatError, hex, is_false, millis, read, unhex, utf8, write};
use crate::engine::execution::{Attempt, Cause, EndedAttempt, FileFingerprint, StartedProcess};
use crate::event::time::Timestamp;
use crate::hooks::Version;
use crate::runner::{Captured, Outcome, StartFailure, StartFailureKind};

/// What is known of an attempt but for its outputs.
#[derive(Serialize, Deserialize)]
pub(in crate::store) struct StoredAttempt {
    number: u32,
    cause: StoredCause,
    released: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<StoredProcess>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<StoredEnded>,
}

#[derive(Serialize, Deserialize)]
struct StoredProcess {
    pid: u32,
    start_ticks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot_id: Option<String>,
    at: i64,
    uid: u32,
    version: String,
    hook_file: PathBuf,
    hook_file_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arguments_sha256: Option<String>,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    directory: Option<PathBuf>,
    #[serde(default)]
    files: Vec<StoredFile>,
}

#[derive(Serialize, Deserialize)]
struct StoredFile {
    path: PathBuf,
    sha256: String,
    size: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredEnded {
    at: i64,
    outcome: StoredOutcome,
    stdout: StoredExtent,
    stderr: StoredExtent,
    #[serde(default, skip_serializing_if = "is_false")]
    outputs_pruned: bool,
}

/// Which part of the kept bytes is the head, and how many there were.
#[derive(Serialize, Deserialize)]
struct StoredExtent {
    head: usize,
    total: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum StoredOutcome {
    Exited {
        code: i32,
    },
    Signalled {
        signal: i32,
    },
    TimedOut {
        after: u64,
        killed: bool,
    },
    Stopped {
        killed: bool,
    },
    StartFailed {
        failure: StoredStartFailure,
        message: String,
    },
    Leaked {
        code: i32,
    },
    Interrupted,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StoredStartFailure {
    NotFound,
    NotPermitted,
    ArgumentTooLong,
    BadArgument,
    Exhausted,
    Other,
}

impl StoredAttempt {
    /// One that was just released.
    pub(in crate::store) fn new(number: u32, cause: &Cause, at: Timestamp) -> Self {
        Self {
            number,
            cause: cause.into(),
            released: at.as_millis(),
            process: None,
            ended: None,
        }
    }

    /// # Errors
    /// When it is not what was written.
    pub(in crate::store) fn read(bytes: &[u8]) -> Result<Self, FormatError> {
        read(bytes)
    }

    pub(in crate::store) fn write(&self) -> Vec<u8> {
        write(self)
    }

    pub(in crate::store) fn number(&self) -> u32 {
        self.number
    }

    pub(in crate::store) fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Its process exists.
    pub(in crate::store) fn start(&mut self, process: &StartedProcess) {
        self.process = Some(stored_process(process));
    }

    /// It ended.
    pub(in crate::store) fn end(&mut self, ended: &EndedAttempt) {
        self.ended = Some(stored_end(ended));
    }

    /// Its outputs are kept no longer.
    pub(in crate::store) fn drop_outputs(&mut self) {
        if let Some(ended) = &mut self.ended {
            (ended.stdout.head, ended.stderr.head) = (0, 0);
            ended.outputs_pruned = true;
        }
    }

    /// The attempt with what it printed.
    ///
    /// # Errors
    /// When a value cannot stand where it does.
    pub(in crate::store) fn with_outputs(self, stdout: Bytes, stderr: Bytes) -> Result<Attempt, FormatError> {
        Ok(Attempt {
            number: self.number,
            cause: self.cause.into(),
            released: Timestamp::from_millis(self.released),
            process: self.process.map(read_process).transpose()?,
            ended: self.ended.map(|ended| read_end(ended, stdout, stderr)),
        })
    }
}

fn stored_process(process: &StartedProcess) -> StoredProcess {
    StoredProcess {
        pid: process.pid,
        start_ticks: process.start_ticks,
        boot_id: process.boot_id.clone(),
        at: process.at.as_millis(),
        uid: process.uid,
        version: process.version.to_string(),
        hook_file: utf8(&process.hook_file),
        hook_file_sha256: hex(&process.hook_file_sha256),
        arguments_sha256: process.arguments_sha256.as_ref().map(hex),
        argv: process.argv.clone(),
        environment: process.environment.clone(),
        directory: process.directory.as_deref().map(utf8),
        files: process
            .files
            .iter()
            .map(|file| StoredFile {
                path: utf8(&file.path),
                sha256: hex(&file.sha256),
                size: file.size,
            })
            .collect(),
    }
}

fn stored_end(ended: &EndedAttempt) -> StoredEnded {
    let extent = |captured: &Captured| StoredExtent {
        head: captured.head.len(),
        total: captured.total,
    };
    StoredEnded {
        at: ended.at.as_millis(),
        outcome: match &ended.outcome {
            Outcome::Exited { code } => StoredOutcome::Exited { code: *code },
            Outcome::Signalled { signal } => StoredOutcome::Signalled { signal: *signal },
            Outcome::TimedOut { after, killed } => StoredOutcome::TimedOut {
                after: millis(*after),
                killed: *killed,
            },
            Outcome::Stopped { killed } => StoredOutcome::Stopped { killed: *killed },
            Outcome::StartFailed(StartFailure { kind, message }) => StoredOutcome::StartFailed {
                failure: match kind {
                    StartFailureKind::NotFound => StoredStartFailure::NotFound,
                    StartFailureKind::NotPermitted => StoredStartFailure::NotPermitted,
                    StartFailureKind::ArgumentTooLong => StoredStartFailure::ArgumentTooLong,
                    StartFailureKind::BadArgument => StoredStartFailure::BadArgument,
                    StartFailureKind::Exhausted => StoredStartFailure::Exhausted,
                    StartFailureKind::Other => StoredStartFailure::Other,
                },
                message: message.clone(),
            },
            Outcome::Leaked { code } => StoredOutcome::Leaked { code: *code },
            Outcome::Interrupted => StoredOutcome::Interrupted,
        },
        stdout: extent(&ended.stdout),
        stderr: extent(&ended.stderr),
        outputs_pruned: ended.outputs_pruned,
    }
}

fn read_process(stored: StoredProcess) -> Result<StartedProcess, FormatError> {
    let files: Result<Vec<FileFingerprint>, FormatError> = stored
        .files
        .into_iter()
        .map(|file| {
            Ok(FileFingerprint {
                path: file.path,
                sha256: unhex(&file.sha256)?,
                size: file.size,
            })
        })
        .collect();
    Ok(StartedProcess {
        pid: stored.pid,
        start_ticks: stored.start_ticks,
        boot_id: stored.boot_id,
        at: Timestamp::from_millis(stored.at),
        uid: stored.uid,
        version: Version(unhex(&stored.version)?),
        hook_file: stored.hook_file,
        hook_file_sha256: unhex(&stored.hook_file_sha256)?,
        arguments_sha256: stored.arguments_sha256.as_deref().map(unhex).transpose()?,
        argv: stored.argv,
        environment: stored.environment,
        directory: stored.directory,
        files: files?,
    })
}

fn read_end(stored: StoredEnded, stdout: Bytes, stderr: Bytes) -> EndedAttempt {
    let captured = |extent: &StoredExtent, kept: Bytes| {
        let head = extent.head.min(kept.len());
        Captured {
            head: kept.slice(..head),
            tail: kept.slice(head..),
            total: extent.total,
        }
    };
    EndedAttempt {
        at: Timestamp::from_millis(stored.at),
        outcome: match stored.outcome {
            StoredOutcome::Exited { code } => Outcome::Exited { code },
            StoredOutcome::Signalled { signal } => Outcome::Signalled { signal },
            StoredOutcome::TimedOut { after, killed } => Outcome::TimedOut {
                after: Duration::from_millis(after),
                killed,
            },
            StoredOutcome::Stopped { killed } => Outcome::Stopped { killed },
            StoredOutcome::StartFailed { failure, message } => Outcome::StartFailed(StartFailure {
                kind: match failure {
                    StoredStartFailure::NotFound => StartFailureKind::NotFound,
                    StoredStartFailure::NotPermitted => StartFailureKind::NotPermitted,
                    StoredStartFailure::ArgumentTooLong => StartFailureKind::ArgumentTooLong,
                    StoredStartFailure::BadArgument => StartFailureKind::BadArgument,
                    StoredStartFailure::Exhausted => StartFailureKind::Exhausted,
                    StoredStartFailure::Other => StartFailureKind::Other,
                },
                message,
            }),
            StoredOutcome::Leaked { code } => Outcome::Leaked { code },
            StoredOutcome::Interrupted => Outcome::Interrupted,
        },
        stdout: captured(&stored.stdout, stdout),
        stderr: captured(&stored.stderr, stderr),
        outputs_pruned: stored.outputs_pruned,
    }
}
