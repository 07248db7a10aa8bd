//! Binding, accepting, and one connection's life.

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Budget, Connections, Place, Share};
use super::forwarded;
use super::message::Serve;
use super::stream::{Inbound, Streamed};
use super::tls::{Tls, TlsError};
use super::whole::Whole;
use crate::config::listen::{HttpLimits, Listen};
use crate::config::scalar::Network;

/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1_024;

/// A request's line and headers have at most so many bytes.
const HEAD_BYTES: usize = 32 << 10;

/// A request has at most so many headers.
const HEADERS: usize = 100;

/// When the listener stops, requests under way have this long to be answered, unless whoever stops it waits less long.
const FAREWELL: Duration = Duration::from_secs(5);

/// Of a body that nobody wants, so much is read and so long, lest the sender be cut off before it has read the answer.
const UNWANTED_BYTES: usize = 1 << 20;
const UNWANTED_TIME: Duration = Duration::from_secs(2);

/// After the system had no file or memory for a connection.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// Longer ids of requests are none that people compare.
const LONGEST_ID: usize = 64;

/// Why nobody can listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("cannot listen on {address}")]
    Address {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("cannot use the certificate")]
    Tls(#[source] TlsError),
}

/// An address that is listened on, before anybody serves it.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Tls>,
    limits: HttpLimits,
    trusted_proxies: Vec<Network>,
    share: Share,
}

/// Binds the address and reads the files of TLS; must be called inside a tokio runtime.
///
/// # Errors
/// See [`BindError`].
pub fn bind(config: &Listen) -> Result<Bound, BindError> {
    let tls = config
        .tls
        .as_ref()
        .map(Tls::load)
        .transpose()
        .map_err(BindError::Tls)?;
    let listen = || {
        let socket = match config.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // The next life must not wait for the connections of the former one.
        socket.set_reuseaddr(true)?;
        socket.bind(config.address)?;
        let listener = socket.listen(BACKLOG)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) = listen().map_err(|source| BindError::Address {
        address: config.address,
        source,
    })?;
    Ok(Bound {
        listener,
        address,
        tls,
        limits: config.limits.clone(),
        trusted_proxies: config.trusted_proxies.clone(),
        share: Budget::of_process().share(),
    })
}

impl Bound {
    /// The address and the port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens: `https://127.0.0.1:8443`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers requests until `until`; those under way get a moment to be answered.
    pub async fn serve<S: Serve>(self, service: Arc<S>, until: CancellationToken) {
        self.accept(Whole(service), until).await;
    }

    /// Like [`Self::serve`], for a service that reads bodies as they come and whose answers may take their time. Each request
    /// carries a [`Peer`](super::Peer) among its extensions.
    pub async fn serve_streams<S, B>(self, service: S, until: CancellationToken)
    where
        S: hyper::service::Service<
                hyper::Request<Inbound>,
                Response = hyper::Response<B>,
                Error = Infallible,
                Future: Send + 'static,
            > + Send
            + Sync
            + 'static,
        B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.accept(Streamed(service), until).await;
    }

    async fn accept<E: Exchange>(self, exchange: E, until: CancellationToken) {
        let Self {
            listener,
            tls,
            limits,
            trusted_proxies,
            address,
            share,
        } = self;
        let connections = Connections::within(limits.connections, share);
        let server = Arc::new(Server {
            exchange,
            limits,
            trusted_proxies,
            tls,
            until: until.clone(),
            tasks: TaskTracker::new(),
            ids: RequestIds::new(),
        });
        let follow = async {
            match &server.tls {
                Some(tls) => tls.follow(&until).await,
                None => until.cancelled().await,
            }
        };
        let accept = async {
            while let Some(accepted) = until.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, peer)) => match connections.enter() {
                        Some(place) => {
                            let server = Arc::clone(&server);
                            let tasks = server.tasks.clone();
                            tasks.spawn(async move { server.connection(stream, peer.ip(), place).await });
                        }
                        None => {
                            tracing::debug!(%peer, "a connection was closed: hem works for as many as it may")
                        }
                    },
                    // The peer gave up while it waited to be taken.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        tracing::warn!(%address, %error, "cannot take a connection");
                        let _ = until.run_until_cancelled(tokio::time::sleep(AFTER_FAILURE)).await;
                    }
                }
            }
        };
        tokio::join!(accept, follow);
        drop(listener);
        server.tasks.close();
        if timeout(FAREWELL, server.tasks.wait()).await.is_err() {
            tracing::warn!(%address, "somebody who sent a request is left without an answer");
        }
    }
}

/// What a connection carries back.
pub(super) type Outbound = UnsyncBoxBody<Bytes, BoxError>;

type BoxError = Box<dyn Error + Send + Sync>;

/// How a request becomes an answer.
pub(super) trait Exchange: Sized + Send + Sync + 'static {
    /// The answer, and whether the request's body was read to its end. It says to `place` when it has all it needs of the peer, and
    /// when it is the peer's turn again.
    fn exchange(
        server: &Server<Self>,
        request: Arrived,
        place: &Arc<Place>,
    ) -> impl Future<Output = (hyper::Response<Outbound>, bool)> + Send;

    /// What of a path may stand in the log.
    fn shown<'a>(&self, path: &'a str) -> &'a str {
        path
    }

    /// Something came that is no request or did not become one, and why in a few words.
    fn broken(&self, why: &'static str);
}

/// A request of which the head has arrived.
pub(super) struct Arrived {
    /// Names it in the log and in the answer.
    pub(super) id: String,
    /// Who sent it, where a trusted proxy handed it on.
    pub(super) peer: IpAddr,
    pub(super) parts: hyper::http::request::Parts,
    pub(super) body: Incoming,
}

/// What all connections of a listener share.
pub(super) struct Server<E> {
    pub(super) exchange: E,
    pub(super) limits: HttpLimits,
    pub(super) trusted_proxies: Vec<Network>,
    pub(super) tls: Option<Tls>,
    pub(super) until: CancellationToken,
    /// What was begun for a peer is carried to its end, also when the peer goes away.
    pub(super) tasks: TaskTracker,
    pub(super) ids: RequestIds,
}

impl<E: Exchange> Server<E> {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr, place: Place) {
        // Answers are small and written at once.
        let _ = stream.set_nodelay(true);
        // Nor does hem wait for long for a peer that takes nothing of a long one.
        let _ = SockRef::from(&stream).set_tcp_user_timeout(Some(self.limits.body_time));
        let place = Arc::new(place);
        let Some(tls) = &self.tls else {
            self.speak(stream, peer, &place).await;
            return;
        };
        let handshake = timeout(self.limits.head_time, tls.accept(stream));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = place.lost() => return,
            () = self.until.cancelled() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.speak(stream, peer, &place).await,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "no TLS came about");
                self.exchange.broken("TLS failed");
            }
            Err(_) => self.exchange.broken("too slow"),
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Unpin>(&self, io: I, peer: IpAddr, place: &Arc<Place>) {
        let service =
            service_fn(
                |request| async move { Ok::<_, Infallible>(self.request(request, peer, place).await) },
            );
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_time)
            .max_buf_size(HEAD_BYTES)
            .max_headers(HEADERS)
            .serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        let mut is_stopping = false;
        let ended = loop {
            tokio::select! {
                ended = connection.as_mut() => break ended,
                () = place.lost() => {
                    tracing::debug!(%peer, "a connection that kept hem waiting made place for another one");
                    return;
                }
                () = self.until.cancelled(), if !is_stopping => {
                    is_stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection ended");
            if error.is_parse() || error.is_parse_too_large() {
                self.exchange.broken("no HTTP");
            } else if error.is_incomplete_message() {
                self.exchange.broken("cut off");
            }
        }
    }

    async fn request(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        place: &Arc<Place>,
    ) -> hyper::Response<Outbound> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let id = self
            .ids
            .of(parts.headers.get("x-request-id").map(HeaderValue::as_bytes));
        let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
        let arrived = Arrived {
            id: id.clone(),
            peer: forwarded::sender(peer, &parts.headers, &self.trusted_proxies),
            parts,
            body,
        };
        let (mut response, is_read) = E::exchange(self, arrived, place).await;
        let path = self.exchange.shown(&path);
        tracing::debug!(
            request = id, %peer, %method, path, status = response.status().as_u16(), millis = began.elapsed().as_millis(),
            "a request was answered"
        );
        let headers = response.headers_mut();
        if let Ok(id) = HeaderValue::from_str(&id) {
            headers.insert(HeaderName::from_static("x-request-id"), id);
        }
        if !is_read {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// Reads on for a moment where nobody wants the body.
pub(super) async fn is_read_to_its_end(mut body: Incoming) -> bool {
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            bytes += frame.data_ref().map_or(0, Bytes::len);
            if bytes > UNWANTED_BYTES {
                break;
            }
        }
        body.is_end_stream()
    };
    timeout(UNWANTED_TIME, read).await.unwrap_or(false)
}

/// Names for requests that bring none.
#[derive(Debug)]
pub(super) struct RequestIds {
    /// Tells one life of the daemon from another.
    life: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        Self {
            life: fastrand::u32(..),
            next: AtomicU64::new(1),
        }
    }

    /// What the sender says, where it can stand in a log as it is; otherwise a new one.
    fn of(&self, given: Option<&[u8]>) -> String {
        let given = given
            .filter(|id| (1..=LONGEST_ID).contains(&id.len()))
            .and_then(|id| std::str::from_utf8(id).ok())
            .filter(|id| {
                id.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':'))
            });
        match given {
            Some(id) => id.to_owned(),
            None => format!("{:08x}-{}", self.life, self.next.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_requests_are_taken_over_where_they_can_stand_in_a_log() {
        let ids = RequestIds::new();
        assert_eq!(ids.of(Some(b"a1:2-3_4.5")), "a1:2-3_4.5");
        let long = [b'a'; LONGEST_ID + 1];
        for odd in [
            None,
            Some(&b""[..]),
            Some(b"a b"),
            Some(b"a\"b"),
            Some(b"\xff"),
            Some(&long),
        ] {
            let id = ids.of(odd);
            assert!(id.starts_with(&format!("{:08x}-", ids.life)), "{id}");
        }
        assert_ne!(ids.of(None), ids.of(None));
    }
}
