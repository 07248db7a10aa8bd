//! Connections to other hosts, shared by the scripts that run there: `ssh` is asked once for a connection, and each script is
//! a session in it.
//!
//! hem starts that connection itself. `ControlMaster=auto` would leave it to the first script, whose time limit or end would
//! then take the connection from all others.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Captured, Invocation, Observer, Order, Outcome, Report, Runner, StartFailure, StartFailureKind};

/// Sessions in one connection: sshd refuses more than `MaxSessions`, 10 unless told otherwise, and an operator needs one too.
const SESSIONS_AT_MOST: usize = 8;

/// How long a connection that nobody uses is kept.
const KEPT_FOR: &str = "ControlPersist=10m";

/// Longer than the time in which `ssh` itself gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// So long after a connection to a host failed no other one is tried for those who wait for it.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(5);

/// Seconds without a word of the host after which `ssh` asks it for one.
const ALIVE_INTERVAL: u64 = 5;

/// Questions without an answer after which `ssh` gives the host up, an interval after the last of them.
const ALIVE_COUNT: u64 = 3;

/// The longest time in which a connection that is dead already is noticed, with a second for a busy machine. Who was cut off
/// later than this had a live connection at first.
const DEAD_IS_NOTICED: Duration = Duration::from_secs(ALIVE_INTERVAL * (ALIVE_COUNT + 1) + 1);

/// What `ssh` is always told: ask nobody, give up on hosts that do not answer. Host keys are checked as its own
/// configuration says.
fn unconditional_options() -> [String; 4] {
    [
        "BatchMode=yes".to_owned(),
        "ConnectTimeout=10".to_owned(),
        format!("ServerAliveInterval={ALIVE_INTERVAL}"),
        format!("ServerAliveCountMax={ALIVE_COUNT}"),
    ]
}

/// How hosts are reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ssh {
    /// `ssh`'s configuration file; its own choice when unset.
    pub config: Option<PathBuf>,
    /// The folder of the shared connections' sockets; each script has a connection of its own when unset.
    pub sockets: Option<PathBuf>,
}

impl Ssh {
    /// The arguments that come before the host's name.
    pub fn options(&self, host: &str) -> Vec<OsString> {
        let mut options: Vec<OsString> = Vec::new();
        if let Some(file) = &self.config {
            options.extend(["-F".into(), file.clone().into_os_string()]);
        }
        for option in unconditional_options() {
            options.extend(["-o".into(), option.into()]);
        }
        if let Some(folder) = &self.sockets {
            options.extend(["-o".into(), shared_by(&socket(folder, host))]);
        }
        options
    }
}

fn shared_by(socket: &Path) -> OsString {
    let mut option = OsString::from("ControlPath=");
    option.push(socket);
    option
}

/// A path that is short, for a Unix socket's may have 107 bytes, and that any host's name gives.
fn socket(folder: &Path, host: &str) -> PathBuf {
    let digest = Sha256::digest(host.as_bytes());
    let name: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    folder.join(name)
}

/// What `ssh` ends with when it could not reach the host (ssh(1), "Exit status").
const TRANSPORT_FAILED: i32 = 255;

/// Whether it may be that the script never began, where the shared connection is gone: nothing came from the script, and the
/// failure came as soon as that of a connection that was dead before. A silent script that was cut off just as soon looks the
/// same.
fn may_not_have_begun(report: &Report, lasted: Duration) -> bool {
    let code = TRANSPORT_FAILED;
    report.outcome == Outcome::Exited { code } && report.stdout.total == 0 && lasted <= DEAD_IS_NOTICED
}

impl Runner {
    /// Has what runs on other hosts share connections, whose processes get this environment.
    #[must_use]
    pub fn sharing(mut self, ssh: Ssh, environment: Vec<(OsString, OsString)>) -> Self {
        self.connections = Some(Arc::new(Connections::new(ssh, environment)));
        self
    }

    /// Ends the connections to other hosts. What still runs there is cut off.
    pub async fn close_connections(&self) {
        if let Some(connections) = &self.connections {
            connections.close().await;
        }
    }

    /// Like [`carry_out`](Self::carry_out), for what runs on another host: `lay_out` is called on a thread that may block.
    pub async fn carry_out_elsewhere<L>(self, lay_out: L, stop: CancellationToken) -> Report
    where
        L: FnOnce() -> Result<Order, StartFailure> + Send + 'static,
    {
        match tokio::task::spawn_blocking(lay_out).await {
            Ok(Ok(order)) => self.run_elsewhere(order, stop).await,
            Ok(Err(failure)) => Report::start_failed(failure),
            Err(panic) => Report::start_failed(StartFailure {
                kind: StartFailureKind::Other,
                message: format!("laying out the command failed, a defect of hem: {panic}"),
            }),
        }
    }

    pub(super) async fn run_elsewhere(self, mut order: Order, stop: CancellationToken) -> Report {
        let (Some(host), Some(connections)) = (order.invocation.host.clone(), self.connections.clone())
        else {
            return self.run_here(order, stop).await;
        };
        let readied = stop.run_until_cancelled(within(order.limits.timeout, async {
            let session = connections.session(&host).await;
            (session, connections.connect(&host).await)
        }));
        let (_session, shares) = match readied.await {
            Some(Ok(readied)) => readied,
            Some(Err(after)) => return Report::not_reached(&host, after),
            None => return Report::not_started(Outcome::Stopped { killed: false }),
        };
        if !shares {
            let invocation = connections.alone(order.invocation, &host);
            return self.run_here(Order { invocation, ..order }, stop).await;
        }
        let on_repeat = order.observer.on_repeat.take();
        let again = Order {
            invocation: connections.alone(order.invocation.clone(), &host),
            limits: order.limits.clone(),
            observer: Observer {
                output: order.observer.output.clone(),
                so_far: order.observer.so_far.clone(),
                ..Observer::none()
            },
        };
        let began = Instant::now();
        let report = self.run_here(order, stop.clone()).await;
        // The connection may have been up for long, and nobody had told it yet that the host was restarted.
        let lasted = began.elapsed();
        if !may_not_have_begun(&report, lasted) || connections.answers(&host).await {
            return report;
        }
        if let Some(tell) = on_repeat {
            tell(&host);
        }
        self.run_here(again, stop).await
    }
}

/// Waits for something no longer than `limit`; the limit, where it has passed.
async fn within<T>(limit: Option<Duration>, work: impl Future<Output = T>) -> Result<T, Duration> {
    match limit {
        Some(limit) => timeout(limit, work).await.map_err(|_| limit),
        None => Ok(work.await),
    }
}

impl Report {
    /// The time limit passed before there was a session to the host.
    fn not_reached(host: &str, after: Duration) -> Self {
        let killed = false;
        let said = format!("hem: no session to {host} within {after:?}; nothing was started there\n");
        Self {
            stderr: Captured {
                total: said.len() as u64,
                head: said.into(),
                ..Captured::default()
            },
            ..Self::not_started(Outcome::TimedOut { after, killed })
        }
    }
}

/// The shared connections.
#[derive(Debug)]
pub(super) struct Connections {
    ssh: Ssh,
    environment: Vec<(OsString, OsString)>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

#[derive(Debug)]
struct Host {
    sessions: Arc<Semaphore>,
    /// Held by the one who sees to the connection; when that came to nothing last.
    tending: tokio::sync::Mutex<Option<Instant>>,
}

impl Connections {
    /// `environment` is what the connections' processes get: who looks for leftovers finds them by it.
    fn new(ssh: Ssh, environment: Vec<(OsString, OsString)>) -> Self {
        Self {
            ssh,
            environment,
            hosts: Mutex::default(),
        }
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let host = hosts.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Host {
                sessions: Arc::new(Semaphore::new(SESSIONS_AT_MOST)),
                tending: tokio::sync::Mutex::default(),
            })
        });
        Arc::clone(host)
    }

    /// Waits until one more session to the host is allowed.
    async fn session(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let sessions = Arc::clone(&self.host(host).sessions);
        // The semaphore is never closed.
        sessions.acquire_owned().await.ok()
    }

    /// Sees to it that there is a connection to share. False where there is none: `ssh` then tries by itself and says why. So it
    /// is for all who stood in line when a try failed: each would wait for its own, one after the other.
    async fn connect(&self, host: &str) -> bool {
        let Some(folder) = &self.ssh.sockets else {
            return false;
        };
        let place = self.host(host);
        let mut failed = place.tending.lock().await;
        let socket = socket(folder, host);
        if is_alive(&socket) {
            return true;
        }
        if failed.is_some_and(|failed| failed.elapsed() < FAILURE_COUNTS_FOR) {
            return false;
        }
        // What a connection left that did not end in order would keep the next one from being shared.
        let _ = std::fs::remove_file(&socket);
        if let Err(error) = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
        {
            tracing::warn!(folder = %folder.display(), %error, "connections to other hosts cannot be shared");
            return false;
        }
        let mut command = self.command(host);
        command.args(["-o", "ControlMaster=yes", "-o", KEPT_FOR, "-N", "-f", "--", host]);
        // Killed by the timeout; once it went to the background it is another process.
        let status = timeout(PATIENCE, async { command.spawn()?.wait().await }).await;
        let is_shared = matches!(status, Ok(Ok(status)) if status.success()) && is_alive(&socket);
        *failed = (!is_shared).then(Instant::now);
        is_shared
    }

    /// Whether the connection still stands.
    fn stands(&self, host: &str) -> bool {
        self.ssh
            .sockets
            .as_ref()
            .is_some_and(|folder| is_alive(&socket(folder, host)))
    }

    /// Whether the connection's process greets who connects, as `ssh` does at once (OpenSSH's PROTOCOL.mux). One that is just
    /// ending may still let connect, and then closes. One that takes too long counts as standing: it has not failed yet.
    async fn answers(&self, host: &str) -> bool {
        let Some(folder) = &self.ssh.sockets else {
            return false;
        };
        let greeted = timeout(PATIENCE, async {
            let mut stream = tokio::net::UnixStream::connect(socket(folder, host)).await?;
            stream.read_u8().await
        });
        greeted.await.map_or(true, |greeted| greeted.is_ok())
    }

    /// Ends all connections.
    async fn close(&self) {
        let hosts: Vec<String> = {
            let hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.keys().cloned().collect()
        };
        for host in hosts.iter().filter(|host| self.stands(host)) {
            let mut command = self.command(host);
            command.args(["-O", "exit", "--", host]);
            let ended = timeout(PATIENCE, async { command.spawn()?.wait().await }).await;
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!(
                    host,
                    "the connection could not be ended in order; it ends when it has not been used"
                );
            }
        }
    }

    /// The same, in a connection of its own.
    fn alone(&self, mut invocation: Invocation, host: &str) -> Invocation {
        let Some(folder) = &self.ssh.sockets else {
            return invocation;
        };
        let shared = shared_by(&socket(folder, host));
        let shared = shared.to_string_lossy();
        for argument in &mut invocation.arguments {
            if let Some(text) = argument.to_str()
                && text.contains(shared.as_ref())
            {
                // The option stands once, before anything that the hook's author wrote.
                *argument = text.replacen(shared.as_ref(), "ControlPath=none", 1).into();
            }
        }
        invocation
    }

    fn command(&self, host: &str) -> Command {
        let mut command = Command::new("ssh");
        command
            .args(self.ssh.options(host))
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

fn is_alive(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::runner::{Limits, Stdin};

    fn ended(outcome: Outcome, stdout: &'static str) -> Report {
        let stdout = Captured {
            head: Bytes::from_static(stdout.as_bytes()),
            total: stdout.len() as u64,
            ..Captured::default()
        };
        Report {
            outcome,
            started: None,
            ended: SystemTime::UNIX_EPOCH,
            stdout,
            stderr: Captured::default(),
            chunks_dropped: 0,
        }
    }

    #[test]
    fn only_what_may_never_have_begun_is_tried_once_more() {
        let cut_off = || ended(Outcome::Exited { code: 255 }, "");
        let soon = Duration::from_millis(200);
        assert!(may_not_have_begun(&cut_off(), soon));
        assert!(may_not_have_begun(&cut_off(), DEAD_IS_NOTICED));
        let later = DEAD_IS_NOTICED + Duration::from_millis(1);
        assert!(
            !may_not_have_begun(&cut_off(), later),
            "it was cut off while it ran"
        );
        let spoke = ended(Outcome::Exited { code: 255 }, "a");
        assert!(!may_not_have_begun(&spoke, soon));
        for code in [0, 1, 124] {
            assert!(!may_not_have_begun(&ended(Outcome::Exited { code }, ""), soon));
        }
        let stopped = ended(Outcome::Stopped { killed: false }, "");
        assert!(!may_not_have_begun(&stopped, soon));
    }

    /// Connections by an `ssh` that is this script, which finds its folder in `$HERE`.
    fn connections(folder: &Path, script: &str) -> (Ssh, Vec<(OsString, OsString)>) {
        use std::os::unix::fs::PermissionsExt as _;
        let ssh = folder.join("ssh");
        std::fs::write(&ssh, format!("#!/bin/sh\n{script}\n")).expect("a script");
        std::fs::set_permissions(&ssh, std::fs::Permissions::from_mode(0o755)).expect("its mode");
        let path = format!(
            "{}:{}",
            folder.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let environment = vec![
            ("PATH".into(), path.into()),
            ("HERE".into(), folder.as_os_str().to_owned()),
        ];
        let sockets = Some(folder.join("sockets"));
        (
            Ssh {
                sockets,
                config: None,
            },
            environment,
        )
    }

    #[tokio::test]
    async fn of_all_who_wait_for_a_host_that_does_not_answer_one_finds_it_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ssh, environment) = connections(folder.path(), "echo tried >>\"$HERE/tries\"; exit 255");
        let connections = Connections::new(ssh, environment);
        let (a, b, c, d) = tokio::join!(
            connections.connect("away"),
            connections.connect("away"),
            connections.connect("away"),
            connections.connect("another"),
        );
        assert_eq!([a, b, c, d], [false; 4]);
        let tries = std::fs::read_to_string(folder.path().join("tries")).expect("what was tried");
        assert_eq!(tries.lines().count(), 2, "one for each host");
    }

    #[tokio::test]
    async fn what_is_not_connected_within_its_time_limit_is_not_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ssh, environment) = connections(folder.path(), "exec sleep 600");
        let runner = Runner::start().expect("a thread").sharing(ssh, environment);
        let after = Duration::from_millis(200);
        let invocation = Invocation {
            program: "/bin/true".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            directory: None,
            stdin: Stdin::Empty,
            umask: None,
            host: Some("away".to_owned()),
            refuses_open_programs: false,
        };
        let limits = Limits {
            timeout: Some(after),
            grace: Duration::from_secs(1),
            leak: Duration::from_secs(1),
            output_head: 1_000,
            output_tail: 1_000,
        };
        let report = runner
            .run(invocation, limits, CancellationToken::new(), Observer::none())
            .await;
        let killed = false;
        assert_eq!(report.outcome, Outcome::TimedOut { after, killed });
        assert!(report.started.is_none());
        let said = String::from_utf8_lossy(&report.stderr.head);
        assert!(said.contains("no session to away within 200ms"), "{said}");
    }

    #[test]
    fn a_dead_connection_is_noticed_by_the_options_that_ssh_is_given() {
        let options = unconditional_options();
        let number = |name: &str| -> u64 {
            let value = options
                .iter()
                .find_map(|option| option.strip_prefix(name)?.strip_prefix('='));
            value.and_then(|value| value.parse().ok()).unwrap_or_default()
        };
        let noticed = number("ServerAliveInterval") * (number("ServerAliveCountMax") + 1);
        assert!(noticed > 0);
        assert!(DEAD_IS_NOTICED >= Duration::from_secs(noticed));
        assert!(DEAD_IS_NOTICED <= Duration::from_secs(noticed + 5));
    }
}
