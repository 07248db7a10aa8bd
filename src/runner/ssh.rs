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

use super::Invocation;

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
    pub(super) fn new(ssh: Ssh, environment: Vec<(OsString, OsString)>) -> Self {
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
    pub(super) async fn session(&self, host: &str) -> Option<OwnedSemaphorePermit> {
        let sessions = Arc::clone(&self.host(host).sessions);
        // The semaphore is never closed.
        sessions.acquire_owned().await.ok()
    }

    /// Sees to it that there is a connection to share. False where there is none: `ssh` then tries by itself and says why.
    pub(super) async fn connect(&self, host: &str) -> bool {
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
    pub(super) fn stands(&self, host: &str) -> bool {
        self.ssh
            .sockets
            .as_ref()
            .is_some_and(|folder| is_alive(&socket(folder, host)))
    }

    /// Ends all connections.
    pub(super) async fn close(&self) {
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

/// The same, in a connection of its own.
pub(super) fn alone(mut invocation: Invocation, ssh: &Connections, host: &str) -> Invocation {
    let Some(folder) = &ssh.ssh.sockets else {
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
