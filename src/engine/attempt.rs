//! One attempt: from the stored event to the outcome.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::FutureExt as _;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::core::Verdict;
use super::execution::{EndedAttempt, StartedProcess};
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;
use crate::hooks::Hook;
use crate::hooks::invocation::{AttemptFacts, OnehemShell, argument_line, invocation};
use crate::kill_point;
use crate::runner::ssh::Ssh;
use crate::runner::{
    Captured, Invocation, Limits, Observer, Outcome, Report, Runner, StartFailure, StartFailureKind, Started,
};
use crate::store::Store;
use crate::store::writer::{Change, Writer};

/// How long a descendant may hold a script's output after the script's own end.
const LEAK: Duration = Duration::from_secs(10);

/// A process that ends sooner than this is recorded together with its end: nobody needs to find it any more, and a commit of
/// its own would cost more than the script.
const SHORT: Duration = Duration::from_millis(50);

/// What came of an attempt.
#[derive(Debug)]
pub(super) struct Ran {
    /// The process, where it ended before it was recorded.
    pub(super) unrecorded: Option<Box<StartedProcess>>,
    /// How it ended.
    pub(super) ended: Box<EndedAttempt>,
}

/// What every attempt needs and none changes.
#[derive(Debug)]
pub(super) struct Attempts {
    pub(super) store: Store,
    pub(super) writer: Writer,
    pub(super) runner: Runner,
    /// The environment the daemon was started with.
    pub(super) environment: Vec<(String, String)>,
    /// `oned: { shell: … }`.
    pub(super) shell: OnehemShell,
    /// How other hosts are reached.
    pub(super) ssh: Ssh,
    /// Programs that others may write are not run.
    pub(super) refuses_open_programs: bool,
    /// The boot of the machine in which this life runs.
    pub(super) boot_id: Option<String>,
}

impl Attempts {
    /// Runs one attempt and says how it ended. Everything that can go wrong is an outcome, a defect in here included:
    /// otherwise the attempt would hold its slot for ever.
    pub(super) async fn run(
        self: &Arc<Self>,
        key: &ExecutionKey,
        attempt: u32,
        hook: &Arc<Hook>,
        stop: CancellationToken,
    ) -> Ran {
        let run = AssertUnwindSafe(self.run_unguarded(key, attempt, hook, stop));
        run.catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(execution = %key, attempt, "carrying out an attempt panicked");
            not_started(StartFailure {
                kind: StartFailureKind::Other,
                message: "a defect of hem ended the attempt; its log says where".to_owned(),
            })
        })
    }

    fn prepare(&self, key: &ExecutionKey, attempt: u32, hook: &Hook) -> Result<Prepared, StartFailure> {
        let unreadable = |message: String| StartFailure {
            kind: StartFailureKind::Other,
            message,
        };
        let listed = self
            .store
            .event(key.event)
            .map_err(|error| unreadable(format!("cannot read event {} back: {error}", key.event)))?
            .ok_or_else(|| unreadable(format!("event {} is no longer in the store", key.event)))?;
        let facts = AttemptFacts {
            instance: self.store.id(),
            execution: key,
            attempt,
            daemon_environment: &self.environment,
            shell: self.shell,
            ssh: &self.ssh,
        };
        let arguments_sha256 = match hook.oned_id {
            Some(_) => Some(Sha256::digest(argument_line(hook, &listed.event)?.as_bytes()).into()),
            None => None,
        };
        let mut invocation = invocation(hook, &listed.event, &facts)?;
        invocation.refuses_open_programs = self.refuses_open_programs;
        Ok(Prepared {
            invocation,
            arguments_sha256,
        })
    }

    async fn run_unguarded(
        self: &Arc<Self>,
        key: &ExecutionKey,
        attempt: u32,
        hook: &Arc<Hook>,
        stop: CancellationToken,
    ) -> Ran {
        let prepared = {
            let (attempts, key, hook) = (Arc::clone(self), key.clone(), Arc::clone(hook));
            // Reading may wait for the disk, and laying out a large document takes its time.
            tokio::task::spawn_blocking(move || attempts.prepare(&key, attempt, &hook)).await
        };
        let Prepared {
            invocation,
            arguments_sha256,
        } = match prepared {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(failure)) => return not_started(failure),
            Err(panic) => {
                return not_started(StartFailure {
                    kind: StartFailureKind::Other,
                    message: format!("laying out the command failed: {panic}"),
                });
            }
        };
        let limits = Limits {
            timeout: hook.policy.timeout,
            grace: hook.policy.grace,
            leak: LEAK,
            output_head: hook.policy.output.head,
            output_tail: hook.policy.output.tail,
        };
        let (tell, told) = oneshot::channel();
        kill_point::reach("before-spawn");
        let observer = Observer::none().on_start(move |started| {
            kill_point::reach("after-spawn");
            // Nobody listens any more only when the whole attempt was dropped.
            let _ = tell.send(started.clone());
        });
        let shown = Shown::of(&invocation, arguments_sha256);
        let over = CancellationToken::new();
        let run = async {
            let _over = over.clone().drop_guard();
            self.runner.run(invocation, limits, stop, observer).await
        };
        // The process id is recorded beside the run, not before it goes on.
        let record_start = async {
            let started = told.await.ok()?;
            let process = Box::new(shown.process(hook, &started, self.boot_id.clone()));
            if over
                .run_until_cancelled(tokio::time::sleep(SHORT))
                .await
                .is_none()
            {
                return Some(process);
            }
            let change = Change::Started {
                key: key.clone(),
                attempt,
                process,
            };
            if self.writer.submit(vec![change], || ()).await.is_err() {
                tracing::warn!(execution = %key, attempt, "the store takes no more writes: the process is not recorded");
            }
            None
        };
        let (report, unrecorded) = tokio::join!(run, record_start);
        let Report {
            outcome,
            ended,
            stdout,
            stderr,
            ..
        } = report;
        let ended = Box::new(EndedAttempt {
            at: timestamp(ended),
            outcome,
            stdout,
            stderr,
            outputs_pruned: false,
        });
        Ran { unrecorded, ended }
    }
}

/// What is to come of an attempt that ended so.
pub(super) fn verdict(outcome: &Outcome, daemon_stops: bool) -> Verdict {
    match outcome {
        Outcome::Exited { code: 0 } | Outcome::Leaked { code: 0 } => Verdict::Success,
        Outcome::Exited { .. }
        | Outcome::Leaked { .. }
        | Outcome::Signalled { .. }
        | Outcome::TimedOut { .. } => Verdict::Failure,
        Outcome::StartFailed(failure) if failure.kind.is_passing() => Verdict::Exhausted,
        Outcome::StartFailed(_) => Verdict::Hopeless,
        Outcome::Stopped { .. } if daemon_stops => Verdict::Interrupted,
        Outcome::Stopped { .. } => Verdict::Stopped,
        Outcome::Interrupted => Verdict::Interrupted,
    }
}

/// What is about to be started.
struct Prepared {
    invocation: Invocation,
    /// See [`StartedProcess::arguments_sha256`].
    arguments_sha256: Option<[u8; 32]>,
}

fn not_started(failure: StartFailure) -> Ran {
    let ended = Box::new(EndedAttempt {
        at: Timestamp::now(),
        outcome: Outcome::StartFailed(failure),
        stdout: Captured::default(),
        stderr: Captured::default(),
        outputs_pruned: false,
    });
    Ran {
        unrecorded: None,
        ended,
    }
}

fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
}

/// The part of an invocation that the record shows. Secrets are named in it, not shown.
struct Shown {
    arguments_sha256: Option<[u8; 32]>,
    argv: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<std::path::PathBuf>,
}

impl Shown {
    fn of(invocation: &Invocation, arguments_sha256: Option<[u8; 32]>) -> Self {
        let text = |text: &std::ffi::OsString| text.to_string_lossy().into_owned();
        let mut argv = vec![invocation.program.display().to_string()];
        argv.extend(invocation.arguments.iter().map(text));
        let mut environment: Vec<(String, String)> = invocation
            .environment
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect();
        environment.extend(
            invocation
                .secrets
                .iter()
                .map(|secret| (secret.name.clone(), format!("[secret {}]", secret.name))),
        );
        Self {
            arguments_sha256,
            argv,
            environment,
            directory: invocation.directory.clone(),
        }
    }

    fn process(self, hook: &Hook, started: &Started, boot_id: Option<String>) -> StartedProcess {
        StartedProcess {
            pid: started.pid,
            start_ticks: started.start_ticks,
            boot_id,
            at: timestamp(started.at),
            uid: started.uid,
            version: hook.version,
            hook_file: hook.origin.file.clone(),
            hook_file_sha256: hook.origin.file_sha256,
            arguments_sha256: self.arguments_sha256,
            argv: self.argv,
            environment: self.environment,
            directory: self.directory,
            files: started.files.clone(),
        }
    }
}
