//! One attempt: from the stored event to the outcome.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::Either;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::core::Verdict;
use super::execution::{EndedAttempt, StartedProcess};
use super::live_output::{LiveOutputs, Showing};
use super::outbox::Wording;
use crate::event::id::ExecutionKey;
use crate::event::time::Timestamp;
use crate::hooks::Hook;
use crate::hooks::invocation::{Arguments, AttemptFacts, OnehemShell, invocation_with};
use crate::kill_point;
use crate::runner::ssh::Ssh;
use crate::runner::{
    Invocation, Limits, Observer, Order, Outcome, Report, Runner, SoFar, StartFailure, StartFailureKind,
    Started,
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
    /// What its controller is told besides, where it was laid out and is told at all.
    pub(super) wording: Option<Wording>,
    /// Shows what it wrote until the record does.
    pub(super) showing: Showing,
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
    /// The boot of the machine in which this life runs.
    pub(super) boot_id: Option<String>,
    /// What the scripts that run have written.
    pub(super) outputs: LiveOutputs,
    /// Programs that others may write are not run.
    pub(super) refuses_open_programs: bool,
}

impl Attempts {
    /// Runs one attempt and says how it ended. It begins at once; the future only waits for it. Everything that can go wrong is
    /// an outcome, a defect in here included: otherwise the attempt would hold its slot for ever.
    pub(super) fn run(
        self: &Arc<Self>,
        key: ExecutionKey,
        attempt: u32,
        hook: Arc<Hook>,
        stop: CancellationToken,
    ) -> impl Future<Output = Ran> + Send + use<> + 'static {
        let begun = Arc::<Mutex<Begun>>::default();
        let (tell, told) = oneshot::channel();
        let so_far = SoFar::default();
        let showing = self.outputs.show(&key, attempt, so_far.clone());
        let (grace, goes_elsewhere) = (hook.policy.grace, hook.action.remote);
        let report = {
            let (attempts, key, begun) = (Arc::clone(self), key.clone(), Arc::clone(&begun));
            let lay_out = move || attempts.lay_out(&key, attempt, hook, begun, tell, so_far);
            if goes_elsewhere {
                Either::Left(self.runner.clone().carry_out_elsewhere(lay_out, stop))
            } else {
                Either::Right(self.runner.carry_out(lay_out, grace, stop))
            }
        };
        let writer = self.writer.clone();
        async move {
            let mut report = pin!(report);
            let report = tokio::select! {
                biased;
                report = &mut report => report,
                Ok(()) = told => {
                    let process = locked(&begun).unrecorded.take();
                    if let Some(process) = process {
                        record_start(&writer, &key, attempt, process).await;
                    }
                    report.await
                }
            };
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
            let Begun { unrecorded, wording } = std::mem::take(&mut *locked(&begun));
            Ran {
                unrecorded,
                ended,
                wording,
                showing,
            }
        }
    }

    /// Reads the event back and lays out the command: that may wait for the disk, and takes its time for a large document.
    /// What came of it is put down in `begun`, and `tell` says when it has run long enough to be recorded.
    fn lay_out(
        &self,
        key: &ExecutionKey,
        attempt: u32,
        hook: Arc<Hook>,
        begun: Arc<Mutex<Begun>>,
        tell: oneshot::Sender<()>,
        so_far: SoFar,
    ) -> Result<Order, StartFailure> {
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
        let arguments = Arguments::of(&hook, &listed.event);
        let mut arguments_sha256 = None;
        if hook.oned_id.is_some() {
            let line = arguments.as_ref().map(Arguments::line);
            arguments_sha256 = line.as_deref().ok().map(|line| Sha256::digest(line).into());
            let wording = Wording::of(&hook, &listed.event, line.unwrap_or_default().into_owned());
            locked(&begun).wording = Some(wording);
        }
        let mut invocation = invocation_with(arguments?, &hook, &listed.event, &facts)?;
        invocation.refuses_open_programs = self.refuses_open_programs;
        let limits = Limits {
            timeout: hook.policy.timeout,
            grace: hook.policy.grace,
            leak: LEAK,
            output_head: hook.policy.output.head,
            output_tail: hook.policy.output.tail,
        };
        let shown = Shown::of(&invocation, arguments_sha256);
        let (to_record, boot_id) = (Arc::clone(&begun), self.boot_id.clone());
        kill_point::reach("before-spawn");
        let repeated = key.clone();
        let observer = Observer::none()
            .so_far(so_far)
            .on_repeat(move |host| {
                tracing::warn!(
                    execution = %repeated,
                    attempt,
                    host,
                    "the shared connection failed before the script had written anything: it is started once more over a \
                     connection of its own, and runs twice if it had begun"
                );
            })
            .on_start(move |started| {
                kill_point::reach("after-spawn");
                locked(&to_record).unrecorded = Some(Box::new(shown.process(&hook, started, boot_id)));
            })
            .still_running(SHORT, move |start_ticks| {
                if let Some(process) = &mut locked(&begun).unrecorded {
                    process.start_ticks = start_ticks;
                }
                // Nobody listens any more only when the whole attempt was dropped.
                let _ = tell.send(());
            });
        Ok(Order {
            invocation,
            limits,
            observer,
        })
    }
}

/// What is known of an attempt before it has ended.
#[derive(Debug, Default)]
struct Begun {
    /// The process that exists and is not recorded.
    unrecorded: Option<Box<StartedProcess>>,
    wording: Option<Wording>,
}

fn locked(begun: &Mutex<Begun>) -> MutexGuard<'_, Begun> {
    begun.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn record_start(writer: &Writer, key: &ExecutionKey, attempt: u32, process: Box<StartedProcess>) {
    let change = Change::Started {
        key: key.clone(),
        attempt,
        process,
    };
    if writer.submit(vec![change], || ()).await.is_err() {
        tracing::warn!(execution = %key, attempt, "the store takes no more writes: the process is not recorded");
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
            start_ticks: 0,
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
