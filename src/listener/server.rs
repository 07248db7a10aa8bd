//! Binding, accepting, and one connection's life.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::sys::resource::{Resource, getrlimit};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections::{Connections, Place};
use super::message::{Head, Response, Serve};
use super::tls::{Tls, TlsError};
use crate::config::listen::{HttpLimits, Listen};

/// Connections that the kernel keeps until they are taken.
const BACKLOG: u32 = 1_024;

/// A request's line and headers have at most so many bytes.
const HEAD_BYTES: usize = 32 << 10;

/// A request has at most so many headers.
const HEADERS: usize = 100;

/// When the listener stops, requests under way have this long to be answered.
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
    })
}

impl Bound {
    /// Where it listens: `https://127.0.0.1:8443`.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers requests until `until`; those under way get a moment to be answered.
    pub async fn serve<S: Serve>(self, service: Arc<S>, until: CancellationToken) {
        let Self {
            listener,
            tls,
            limits,
            address,
        } = self;
        let connections = Connections::new(limits.connections.min(half_of_the_files()));
        let server = Arc::new(Server {
            service,
            limits,
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

/// What all connections of a listener share.
struct Server<S> {
    service: Arc<S>,
    limits: HttpLimits,
    tls: Option<Tls>,
    until: CancellationToken,
    tasks: TaskTracker,
    ids: RequestIds,
}

impl<S: Serve> Server<S> {
    async fn connection(self: Arc<Self>, stream: TcpStream, peer: IpAddr, place: Place) {
        // Answers are small and written at once.
        let _ = stream.set_nodelay(true);
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
                self.service.broken("TLS failed");
            }
            Err(_) => self.service.broken("too slow"),
        }
    }

    async fn speak<I: AsyncRead + AsyncWrite + Unpin>(&self, io: I, peer: IpAddr, place: &Arc<Place>) {
        let service = service_fn(|request| async move {
            let response = self.request(request, peer, place).await;
            place.peer_works();
            Ok::<_, Infallible>(response)
        });
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
                self.service.broken("no HTTP");
            } else if error.is_incomplete_message() {
                self.service.broken("cut off");
            }
        }
    }

    async fn request(
        &self,
        request: hyper::Request<Incoming>,
        peer: IpAddr,
        place: &Place,
    ) -> hyper::Response<Full<Bytes>> {
        let began = Instant::now();
        let (parts, body) = request.into_parts();
        let head = Head {
            id: self
                .ids
                .of(parts.headers.get("x-request-id").map(HeaderValue::as_bytes)),
            sender: peer.to_canonical(),
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            has_body: !body.is_end_stream(),
            headers: parts.headers,
        };
        let (id, method, path) = (head.id.clone(), head.method.clone(), head.path.clone());
        let (response, is_read) = self.response(head, body, place).await;
        let path = self.service.shown(&path);
        tracing::debug!(
            request = id, %peer, method, path, status = response.status, millis = began.elapsed().as_millis(),
            "a request was answered"
        );
        on_the_wire(response, &id, is_read)
    }

    /// The answer, and whether the body was read to its end.
    async fn response(&self, head: Head, body: Incoming, place: &Place) -> (Response, bool) {
        let largest = self.limits.body;
        let refused = match self.service.admit(&head) {
            Err(response) => Some(response),
            Ok(()) if body.size_hint().lower() > largest as u64 => {
                self.service.broken("too large");
                Some(too_large(largest))
            }
            Ok(()) => None,
        };
        if let Some(response) = refused {
            return (response, is_read_to_its_end(body).await);
        }
        let body = match timeout(self.limits.body_time, Limited::new(body, largest).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                self.service.broken("too large");
                return (too_large(largest), false);
            }
            Ok(Err(error)) => {
                self.service.broken("cut off");
                let detail = format!("the body cannot be read: {error}");
                return (Response::problem(400, "cut off", &detail), false);
            }
            Err(_) => {
                self.service.broken("too slow");
                let detail = format!("the body did not arrive within {:?}", self.limits.body_time);
                return (Response::problem(408, "too slow", &detail), false);
            }
        };
        (self.answer(head, body, place).await, true)
    }

    async fn answer(&self, head: Head, body: Bytes, place: &Place) -> Response {
        if !place.hem_works() {
            // The connection ends at this: nothing must begin that the sender would not hear of.
            return std::future::pending().await;
        }
        // On its own: a sender that goes away must not end what has begun.
        let answer = self.tasks.spawn(Arc::clone(&self.service).answer(head, body));
        answer.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request could not be answered, a fault of hem");
            Response::problem(500, "fault", "hem failed to answer")
        })
    }
}

fn too_large(largest: usize) -> Response {
    let detail = format!("the body is larger than {largest} bytes");
    Response::problem(413, "too large", &detail)
}

/// Reads on for a moment where nobody wants the body.
async fn is_read_to_its_end(mut body: Incoming) -> bool {
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

fn on_the_wire(response: Response, id: &str, is_read: bool) -> hyper::Response<Full<Bytes>> {
    let mut wire = hyper::Response::new(Full::new(response.body));
    *wire.status_mut() =
        hyper::StatusCode::from_u16(response.status).unwrap_or(hyper::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = wire.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(response.content_type));
    for (name, value) in response.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
    headers.insert(
        HeaderName::from_static("cache-control"),
        HeaderValue::from_static("no-store"),
    );
    if !is_read {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    wire
}

/// The other half is for the store, the scripts and everything else.
fn half_of_the_files() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(soft, _)| soft);
    usize::try_from(soft / 2).unwrap_or(usize::MAX).max(1)
}

/// Names for requests that bring none.
#[derive(Debug)]
struct RequestIds {
    /// Tells one life of the daemon from another.
    life: u32,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
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

    /// Counts what is answered.
    #[derive(Debug, Default)]
    struct Counting(AtomicU64);

    impl Serve for Counting {
        fn admit(&self, _head: &Head) -> Result<(), Response> {
            Ok(())
        }

        async fn answer(self: Arc<Self>, _head: Head, _body: Bytes) -> Response {
            self.0.fetch_add(1, Ordering::Relaxed);
            Response::problem(400, "test", "as it should")
        }

        fn broken(&self, _why: &'static str) {}
    }

    #[tokio::test]
    async fn nothing_begins_for_a_connection_that_lost_its_place() {
        let service = Arc::new(Counting::default());
        let server = Server {
            service: Arc::clone(&service),
            limits: HttpLimits::default(),
            tls: None,
            until: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids: RequestIds::new(),
        };
        let head = || Head {
            id: "1".to_owned(),
            sender: IpAddr::from([127, 0, 0, 1]),
            method: "POST".to_owned(),
            path: "/x".to_owned(),
            query: None,
            has_body: true,
            headers: hyper::HeaderMap::new(),
        };
        let connections = Connections::new(1);
        let lost = connections.enter().expect("a place");
        // Between the last byte of the body and the answer.
        let kept = connections.enter().expect("its place");
        assert_eq!(server.answer(head(), Bytes::new(), &kept).await.status, 400);
        tokio::select! {
            biased;
            _ = server.answer(head(), Bytes::new(), &lost) => panic!("an answer that nobody would hear"),
            () = lost.lost() => {}
        }
        server.tasks.close();
        server.tasks.wait().await;
        assert_eq!(service.0.load(Ordering::Relaxed), 1);
    }

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
