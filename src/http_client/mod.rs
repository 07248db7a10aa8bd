//! Asking others over HTTP: one request, one connection, one answer, with limits for all of it. It knows nothing of what is asked,
//! follows no redirection, and hides hyper and rustls.

mod trust;

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::header::HOST;
use hyper::{HeaderMap, Request};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

pub use self::trust::TrustError;
use crate::config::scalar::HttpUrl;

/// What one question may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For the connection and its TLS.
    pub connect: Duration,
    /// For everything, from the connection to the last byte of the answer.
    pub whole: Duration,
    /// Bytes of an answer's body.
    pub answer: usize,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or the network fails.
    #[error("{url} cannot be reached")]
    NotReachable {
        /// Where it was looked for.
        url: HttpUrl,
        /// Why.
        source: io::Error,
    },
    /// Who listens there is not who it should be, or speaks no TLS.
    #[error("there is no TLS with {url}")]
    Tls {
        /// Where it is.
        url: HttpUrl,
        /// Why.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("{url} did not answer within {} s", limit.as_secs())]
    TooSlow {
        /// Where it is.
        url: HttpUrl,
        /// How long was waited.
        limit: Duration,
    },
    /// The answer is longer than anything that could be meant.
    #[error("the answer of {url} has more than {limit} bytes")]
    TooLong {
        /// Where it is.
        url: HttpUrl,
        /// How many are read.
        limit: usize,
    },
    /// The connection broke, or what listens there speaks no HTTP.
    #[error("the connection to {url} broke")]
    Broken {
        /// Where it is.
        url: HttpUrl,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A question.
#[derive(Debug, Default)]
pub struct Question<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// What stands behind the path of the client's address: `/auth/tokens?nocatalog`.
    pub target: &'a str,
    /// Headers; `Host` and the length are there already.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: Bytes,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status: 200.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    headers: HeaderMap,
}

impl Answer {
    /// The first value of a header, if it is plain text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Asks one server. Cloning is cheap.
#[derive(Clone)]
pub struct Client {
    url: HttpUrl,
    tls: Option<TlsConnector>,
    limits: Limits,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("url", &self.url.as_str())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client; nothing is asked yet. With `https` it reads the file of authorities: `ca_file`, or else the system's own.
    ///
    /// # Errors
    /// There are no authorities to be had.
    pub fn new(url: &HttpUrl, ca_file: Option<&Path>, limits: Limits) -> Result<Self, TrustError> {
        let tls = url.is_https().then(|| trust::connector(ca_file)).transpose()?;
        Ok(Self {
            url: url.clone(),
            tls,
            limits,
        })
    }

    /// Where it asks.
    pub const fn url(&self) -> &HttpUrl {
        &self.url
    }

    /// Asks. Dropped, it leaves nothing behind but a thread that finds out an address, until the system's resolver gives up.
    ///
    /// # Errors
    /// There is no answer; an answer with a status that tells of an error is one.
    pub async fn ask(&self, question: &Question<'_>) -> Result<Answer, AskError> {
        match timeout(self.limits.whole, self.connect_and_ask(question)).await {
            Ok(asked) => asked,
            Err(_) => Err(AskError::TooSlow {
                url: self.url.clone(),
                limit: self.limits.whole,
            }),
        }
    }

    async fn connect_and_ask(&self, question: &Question<'_>) -> Result<Answer, AskError> {
        let url = &self.url;
        let not_reachable = |source| AskError::NotReachable {
            url: url.clone(),
            source,
        };
        let no_tls = |source| AskError::Tls {
            url: url.clone(),
            source,
        };
        let request = self.request(question).map_err(|error| self.broken(error))?;
        let until = Instant::now() + self.limits.connect;
        let found = timeout_at(until, lookup_host((url.host(), url.port()))).await;
        let addresses: Vec<SocketAddr> = found
            .map_err(|_| not_reachable(io::ErrorKind::TimedOut.into()))?
            .map_err(not_reachable)?
            .collect();
        let stream = connect(&addresses, until).await.map_err(not_reachable)?;
        match &self.tls {
            None => self.exchange(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(url.host().to_owned())
                    .map_err(|error| no_tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
                let shaken = timeout(self.limits.connect, tls.connect(name, stream)).await;
                let stream = shaken
                    .map_err(|_| no_tls(io::ErrorKind::TimedOut.into()))?
                    .map_err(no_tls)?;
                self.exchange(stream, request).await
            }
        }
    }

    fn request(&self, question: &Question<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let target = format!("{}{}", self.url.path(), question.target);
        let target = if target.starts_with('/') {
            target
        } else {
            format!("/{target}")
        };
        let mut request = Request::builder()
            .method(question.method)
            .uri(target)
            .header(HOST, self.url.authority());
        for (name, value) in question.headers {
            request = request.header(*name, *value);
        }
        request.body(Full::new(question.body.clone()))
    }

    async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, AskError> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        let exchange = async {
            let answer = sender
                .send_request(request)
                .await
                .map_err(|error| self.broken(error))?;
            let (head, body) = answer.into_parts();
            match Limited::new(body, self.limits.answer).collect().await {
                Ok(body) => Ok(Answer {
                    status: head.status.as_u16(),
                    headers: head.headers,
                    body: body.to_bytes(),
                }),
                Err(error) if error.is::<LengthLimitError>() => Err(AskError::TooLong {
                    url: self.url.clone(),
                    limit: self.limits.answer,
                }),
                Err(error) => Err(self.broken(error)),
            }
        };
        // The connection is driven by the question itself: with the question it ends.
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            _ = connection => exchange.await,
        }
    }

    fn broken(&self, source: impl Into<Box<dyn Error + Send + Sync>>) -> AskError {
        AskError::Broken {
            url: self.url.clone(),
            source: source.into(),
        }
    }
}

/// Connects to the first of these addresses that answers. Each has its share of the time that is left, so that one that says nothing, as
/// where IPv6 leads nowhere, keeps no other from being tried.
async fn connect(addresses: &[SocketAddr], until: Instant) -> io::Result<TcpStream> {
    let mut why = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (address, left) in addresses.iter().zip((1..=addresses.len()).rev()) {
        let share = until.saturating_duration_since(Instant::now()) / u32::try_from(left).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => why = error,
            Err(_) => why = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests {
    use socket2::{Domain, Socket, Type};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio_util::task::TaskTracker;

    use super::*;

    const LIMITS: Limits = Limits {
        connect: Duration::from_secs(20),
        whole: Duration::from_secs(30),
        answer: 1_000,
    };

    #[tokio::test]
    async fn an_address_that_says_nothing_keeps_no_other_from_being_tried() {
        // What a full listener is asked for is dropped on the way.
        let silent = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        silent.bind(&any.into()).expect("a port");
        silent.listen(0).expect("a listener");
        let address = silent.local_addr().expect("an address");
        let address = address.as_socket().expect("an address");
        let mut held = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(500), TcpStream::connect(address)).await {
            held.push(stream.expect("a connection"));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let good = listener.local_addr().expect("an address");
        let until = Instant::now() + Duration::from_secs(2);
        let stream = connect(&[address, good], until).await.expect("a connection");
        assert_eq!(stream.peer_addr().expect("an address"), good);

        let until = Instant::now() + Duration::from_millis(100);
        let why = connect(&[address], until).await.expect_err("nobody answers");
        assert_eq!(why.kind(), io::ErrorKind::TimedOut);
        assert!(connect(&[], until).await.is_err());
    }

    /// What comes of a question to somebody who sends these bytes, and what was asked; with `stays` it sends no end.
    async fn asked(
        path: &str,
        answer: &'static str,
        stays: bool,
        limits: Limits,
    ) -> (Result<Answer, AskError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let others = TaskTracker::new();
        let peer = others.spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut heard = vec![0; 4_096];
            let length = stream.read(&mut heard).await.expect("a request");
            stream.write_all(answer.as_bytes()).await.expect("it reads");
            if stays {
                // Until the other end has gone.
                let _ = stream.read(&mut [0; 1]).await;
            }
            String::from_utf8_lossy(&heard[..length]).into_owned()
        });
        let url: HttpUrl = format!("http://127.0.0.1:{port}{path}")
            .parse()
            .expect("an address");
        let client = Client::new(&url, None, limits).expect("a client");
        let question = Question {
            method: "POST",
            target: "/auth/tokens?nocatalog",
            headers: &[("x-auth-token", "t")],
            body: Bytes::from_static(b"{}"),
        };
        let answer = client.ask(&question).await;
        (answer, peer.await.expect("a peer"))
    }

    #[tokio::test]
    async fn a_question_is_put_below_the_path_and_answered_with_status_headers_and_body() {
        let sent = "HTTP/1.1 201 Created\r\nX-Subject-Token: abc\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        let (answer, heard) = asked("/identity/v3", sent, false, LIMITS).await;
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, &answer.body[..]), (201, &b"{}"[..]));
        assert_eq!(
            (answer.header("x-subject-token"), answer.header("x-other")),
            (Some("abc"), None)
        );
        assert!(
            heard.starts_with("POST /identity/v3/auth/tokens?nocatalog HTTP/1.1\r\nhost: 127.0.0.1:"),
            "{heard}"
        );
        assert!(
            heard.contains("x-auth-token: t\r\n") && heard.contains("content-length: 2\r\n"),
            "{heard}"
        );
    }

    #[tokio::test]
    async fn what_is_no_answer_in_time_and_size_is_an_error_of_its_kind() {
        let (endless, _) = asked(
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n",
            false,
            LIMITS,
        )
        .await;
        assert!(matches!(endless, Err(AskError::Broken { .. })), "{endless:?}");
        let (ssh, _) = asked("", "SSH-2.0-OpenSSH_9.2p1\r\n", false, LIMITS).await;
        assert!(matches!(ssh, Err(AskError::Broken { .. })), "{ssh:?}");
        let none = Limits { answer: 1, ..LIMITS };
        let (long, _) = asked("", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", true, none).await;
        assert!(
            matches!(long, Err(AskError::TooLong { limit: 1, .. })),
            "{long:?}"
        );
        let short = Limits {
            whole: Duration::from_millis(200),
            ..LIMITS
        };
        let (slow, _) = asked("", "HTTP/1.1 200 OK\r\n", true, short).await;
        assert!(matches!(slow, Err(AskError::TooSlow { .. })), "{slow:?}");
        let nobody: HttpUrl = "http://127.0.0.1:1".parse().expect("an address");
        let client = Client::new(&nobody, None, LIMITS).expect("a client");
        let alone = client
            .ask(&Question {
                method: "GET",
                ..Question::default()
            })
            .await;
        assert!(matches!(alone, Err(AskError::NotReachable { .. })), "{alone:?}");
    }

    #[test]
    fn with_https_somebody_must_be_trusted() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.pem");
        let url: HttpUrl = "https://keystone.example.org".parse().expect("an address");
        let missing = Client::new(&url, Some(&file), LIMITS);
        assert!(matches!(missing, Err(TrustError::Read { .. })), "{missing:?}");
        std::fs::write(&file, "nothing\n").expect("a file");
        let empty = Client::new(&url, Some(&file), LIMITS);
        assert!(matches!(empty, Err(TrustError::Empty { .. })), "{empty:?}");
    }
}
