//! Binding the control socket and, where that is configured, a TCP address; serving both.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use std::sync::Arc;

use axum::extract::connect_info::Connected;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::serve::IncomingStream;
use hyper_util::service::TowerToHyperService;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::access::{Guard, SocketPeer, TokenError, at_the_door, by_socket};
use super::room::Room;
use super::routes;
use crate::config::Control;
use crate::config::control::Tcp;
use crate::engine::execution::Actor;
use crate::engine::handle::Handle;
use crate::event::redaction::Redaction;
use crate::listener;

/// Longest path of a Unix socket on Linux, in bytes.
const LONGEST_PATH: usize = 107;

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// A daemon answers on it.
    #[error("another hem daemon is listening on `{}`; stop it first, or choose another `--socket` and `--state-dir`", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is no socket is in its place.
    #[error("`{}` exists and is no socket; hem does not remove it", path.display())]
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// The path is longer than the kernel takes.
    #[error("`{}` is too long for a Unix socket ({} bytes of {LONGEST_PATH}); choose a shorter `control: {{ socket }}`", path.display(), path.as_os_str().len())]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// The group of `socket_group` does not exist.
    #[error("there is no group `{group}` (`control: {{ socket_group }}`)")]
    NoGroup {
        /// The group.
        group: String,
    },
    /// The TCP address cannot be had, or its certificate not be used.
    #[error("cannot open the control API over TCP (`control: {{ listen }}`)")]
    Tcp(#[source] listener::BindError),
    /// The tokens that open it cannot be used.
    #[error("the tokens of the control API cannot be used")]
    Tokens(#[source] TokenError),
    /// A step failed.
    #[error("cannot {step} `{}`", path.display())]
    Step {
        /// What was to be done.
        step: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The socket, bound, and removed when dropped; and the TCP address.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    socket: SocketFile,
    tcp: Option<(listener::Bound, Arc<Guard>)>,
}

#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Another daemon may have put its own socket there since.
        if std::fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode)
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the control socket");
        }
    }
}

fn step<'a>(step: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> BindError + 'a {
    move |source| BindError::Step {
        step,
        path: path.to_owned(),
        source,
    }
}

/// Binds the control socket; must be called inside a tokio runtime.
///
/// The socket never exists under its name with rights wider than configured: it is made in a private folder, given
/// its mode and group there, and renamed.
///
/// The tokens that open the TCP address are added to what `redaction` hides.
///
/// # Errors
/// A live daemon listens there, the path cannot be used, or a step fails; the TCP address cannot be had, or its files not be used.
pub fn bind(config: &Control, redaction: &Redaction) -> Result<Bound, BindError> {
    let (listener, socket) = bind_socket(config)?;
    let tcp = config.tcp.as_ref().map(|tcp| open(tcp, redaction)).transpose()?;
    Ok(Bound {
        listener,
        socket,
        tcp,
    })
}

fn open(config: &Tcp, redaction: &Redaction) -> Result<(listener::Bound, Arc<Guard>), BindError> {
    let bound = listener::bind(&config.listen).map_err(BindError::Tcp)?;
    let guard = Guard::new(config, bound.address(), redaction).map_err(BindError::Tokens)?;
    if config.listen.tls.is_none() && !config.listen.is_loopback() {
        tracing::warn!(
            address = %bound.address(),
            "the control API can be reached from other machines without TLS: whoever listens on the network learns tokens"
        );
    }
    Ok((bound, Arc::new(guard)))
}

fn bind_socket(config: &Control) -> Result<(UnixListener, SocketFile), BindError> {
    let path = &config.socket;
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(step("make the folder", parent))?;
    remove_stale(path)?;

    let private = tempfile::Builder::new()
        .prefix(".h")
        .rand_bytes(4)
        .tempdir_in(parent)
        .map_err(step("make a folder in", parent))?;
    let hidden = private.path().join("s");
    if path.as_os_str().len() > LONGEST_PATH || hidden.as_os_str().len() > LONGEST_PATH {
        return Err(BindError::TooLong { path: path.clone() });
    }
    let listener = UnixListener::bind(&hidden).map_err(step("bind", path))?;
    if let Some(group) = &config.socket_group {
        let gid = nix::unistd::Group::from_name(group)
            .ok()
            .flatten()
            .ok_or_else(|| BindError::NoGroup { group: group.clone() })?
            .gid;
        std::os::unix::fs::chown(&hidden, None, Some(gid.as_raw()))
            .map_err(step("give its group to", path))?;
    }
    std::fs::set_permissions(&hidden, std::fs::Permissions::from_mode(config.socket_mode))
        .map_err(step("set the mode of", path))?;
    let inode = std::fs::symlink_metadata(&hidden)
        .map_err(step("look at", path))?
        .ino();
    std::fs::rename(&hidden, path).map_err(step("put in place", path))?;
    let path = path.clone();
    Ok((listener, SocketFile { path, inode }))
}

/// Removes the socket of a daemon that is dead; leaves everything else alone.
fn remove_stale(path: &Path) -> Result<(), BindError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(step("look at", path)(error)),
        Ok(file) if !file.file_type().is_socket() => {
            return Err(BindError::NoSocket {
                path: path.to_owned(),
            });
        }
        Ok(_) => {}
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(BindError::InUse {
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(step("remove the left-over socket", path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(step("connect to", path)(error)),
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for SocketPeer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        match stream.io().peer_cred() {
            Ok(credentials) => Self(Some(Actor::User {
                uid: credentials.uid(),
            })),
            Err(error) => {
                tracing::warn!(%error, "the kernel does not say who is calling");
                Self(None)
            }
        }
    }
}

impl Bound {
    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.socket.path
    }

    /// Where the API is over TCP: `https://127.0.0.1:8443`; none where it is not.
    pub fn url(&self) -> Option<String> {
        self.tcp.as_ref().map(|(bound, _)| bound.url())
    }

    /// Serves until `shutdown` is cancelled; answers that are under way are finished, feeds end.
    ///
    /// `redaction` is what no answer shows, but to those who ask with `reveal`.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        self,
        handle: Handle,
        redaction: Redaction,
        shutdown: CancellationToken,
    ) -> io::Result<()> {
        let room = Arc::new(Room::new(handle, redaction, self.url(), shutdown.clone()));
        let over_tcp = async {
            if let Some((bound, guard)) = self.tcp {
                let router = routes::router(Arc::clone(&room)).layer(from_fn_with_state(guard, at_the_door));
                let service = TowerToHyperService::new(router);
                bound.serve_streams(service, shutdown.clone()).await;
            }
        };
        let service = routes::router(Arc::clone(&room))
            .layer(from_fn(by_socket))
            .into_make_service_with_connect_info::<SocketPeer>();
        let over_socket =
            axum::serve(self.listener, service).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let (served, ()) = tokio::join!(over_socket, over_tcp);
        room.tasks.close();
        room.tasks.wait().await;
        served
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(folder: &Path) -> Control {
        Control {
            socket: folder.join("run/hem.sock"),
            socket_mode: 0o600,
            socket_group: None,
            tcp: None,
        }
    }

    #[tokio::test]
    async fn the_socket_and_its_folder_are_private_and_it_goes_with_its_owner() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = control(folder.path());
        let bound = bind(&config, &Redaction::default()).expect("bound");
        let mode = |path: &Path| {
            std::fs::metadata(path)
                .expect("its metadata")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode(&config.socket), 0o600);
        assert_eq!(mode(&folder.path().join("run")), 0o700);
        let names: Vec<_> = std::fs::read_dir(folder.path().join("run"))
            .expect("a listing")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert_eq!(names, ["hem.sock"]);
        drop(bound);
        assert!(!config.socket.exists());
    }

    #[tokio::test]
    async fn the_socket_of_a_live_daemon_is_refused_and_that_of_a_dead_one_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = control(folder.path());
        let first = bind(&config, &Redaction::default()).expect("bound");
        let refused = bind(&config, &Redaction::default()).expect_err("a second daemon");
        assert!(matches!(refused, BindError::InUse { .. }), "{refused}");

        // A daemon that was killed leaves its socket behind.
        let Bound { listener, socket, .. } = first;
        drop(listener);
        let second = bind(&config, &Redaction::default()).expect("bound over the left-over");
        assert_eq!(second.path(), config.socket);
        // The first one's farewell must not take the second one's socket along.
        if socket.inode == second.socket.inode {
            // The file system gave the same number again: nothing can be told apart.
            std::mem::forget(socket);
        } else {
            drop(socket);
        }
        assert!(config.socket.exists());
    }

    #[tokio::test]
    async fn what_is_no_socket_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = control(folder.path());
        std::fs::create_dir_all(folder.path().join("run")).expect("a folder");
        std::fs::write(&config.socket, "precious").expect("a file");
        assert!(matches!(
            bind(&config, &Redaction::default()),
            Err(BindError::NoSocket { .. })
        ));
        assert!(config.socket.exists());
    }

    #[tokio::test]
    async fn a_path_the_kernel_does_not_take_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = control(folder.path());
        config.socket = folder.path().join("x".repeat(120)).join("hem.sock");
        assert!(matches!(
            bind(&config, &Redaction::default()),
            Err(BindError::TooLong { .. })
        ));
    }

    #[tokio::test]
    async fn an_unknown_group_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut config = control(folder.path());
        config.socket_group = Some("no-such-group-here".to_owned());
        assert!(matches!(
            bind(&config, &Redaction::default()),
            Err(BindError::NoGroup { .. })
        ));
        assert!(!config.socket.exists());
    }
}
