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
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::process::Command;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Invocation, Observer, Order, Outcome, Report, Runner, StartFailure, StartFailureKind};

/// Sessions in one connection: sshd refuses more than `MaxSessions`, 10 unless told otherwise, and an operator needs one too.
const SESSIONS_AT_MOST: usize = 8;

/// How long a connection that nobody uses is kept.
const KEPT_FOR: &str = "ControlPersist=10m";

/// Longer than the time in which `ssh` itself gives up.
const PATIENCE: Duration = Duration::from_secs(15);

/// What `ssh` is always told: ask nobody, give up on hosts that do not answer. Host keys are checked as its own
/// configuration says.
pub const OPTIONS: [&str; 4] = [
    "BatchMode=yes",
    "ConnectTimeout=10",
    "ServerAliveInterval=5",
    "ServerAliveCountMax=3",
];

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
        for option in OPTIONS {
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

    pub(super) async fn run_elsewhere(self, order: Order, stop: CancellationToken) -> Report {
        let (Some(host), Some(connections)) = (order.invocation.host.clone(), self.connections.clone())
        else {
            return self.run_here(order, stop).await;
        };
        let readied = stop.run_until_cancelled(async {
            let session = connections.session(&host).await;
            (session, connections.connect(&host).await)
        });
        let Some((_session, shares)) = readied.await else {
            return Report::not_started(Outcome::Stopped { killed: false });
        };
        if !shares {
            let invocation = connections.alone(order.invocation, &host);
            return self.run_here(Order { invocation, ..order }, stop).await;
        }
        let again = Order {
            invocation: connections.alone(order.invocation.clone(), &host),
            limits: order.limits.clone(),
            observer: match order.observer.output.clone() {
                Some(listener) => Observer::none().output(listener),
                None => Observer::none(),
            },
        };
        let report = self.run_here(order, stop.clone()).await;
        // 255 is ssh's own status. Where the connection is gone and the script said nothing, it was the connection that
        // failed: it had been up for long, and nobody had told it yet that the host was restarted.
        let code = TRANSPORT_FAILED;
        if report.outcome == (Outcome::Exited { code })
            && report.stdout.total == 0
            && !connections.stands(&host)
        {
            self.run_here(again, stop).await
        } else {
            report
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
    /// Held by the one who sees to the connection.
    tending: tokio::sync::Mutex<()>,
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

    /// Sees to it that there is a connection to share. False where there is none: `ssh` then tries by itself and says why.
    async fn connect(&self, host: &str) -> bool {
        let Some(folder) = &self.ssh.sockets else {
            return false;
        };
        let place = self.host(host);
        let _tending = place.tending.lock().await;
        let socket = socket(folder, host);
        if is_alive(&socket) {
            return true;
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
        matches!(status, Ok(Ok(status)) if status.success()) && is_alive(&socket)
    }

    /// Whether the connection still stands.
    fn stands(&self, host: &str) -> bool {
        self.ssh
            .sockets
            .as_ref()
            .is_some_and(|folder| is_alive(&socket(folder, host)))
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
