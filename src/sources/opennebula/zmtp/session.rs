//! One connection that speaks ZMTP, and the REQ that asks over such connections.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::codec::{self, Command, Decoder, FrameError, GreetingError, Traffic};
use super::{Endpoint, SocketType};

/// Bytes asked for at each read.
const READ_CHUNK: usize = 64 << 10;

/// How soon TCP notices that packets no longer get through.
///
/// hem sends no PING of its own: a publisher that is only frozen must be waited for, so that nothing is lost when it
/// goes on, and its kernel answers keepalive probes meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes before the connection counts as dead.
    pub probes: u32,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            interval: Duration::from_secs(5),
            probes: 3,
        }
    }
}

impl Keepalive {
    fn apply(self, stream: &TcpStream) -> io::Result<()> {
        let socket = SockRef::from(stream);
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(self.idle)
                .with_interval(self.interval)
                .with_retries(self.probes),
        )?;
        // What was sent and not acknowledged (a PONG) suspends keepalive; the same time is allowed for it.
        socket.set_tcp_user_timeout(Some(self.idle + self.interval * self.probes))
    }
}

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// For the connection itself, name lookup included.
    pub connect: Duration,
    /// For the whole handshake after it.
    pub handshake: Duration,
    /// For silence of the network afterwards.
    pub keepalive: Keepalive,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            handshake: Duration::from_secs(3),
            keepalive: Keepalive::default(),
        }
    }
}

/// A session that could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// There is no connection.
    #[error("cannot connect to {endpoint}")]
    Connect {
        /// Where to.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// There is a connection, but no ZeroMQ socket of the right kind at its other end.
    #[error("cannot talk to {endpoint}")]
    Handshake {
        /// With whom.
        endpoint: Endpoint,
        /// Why.
        source: HandshakeError,
    },
}

/// A handshake that failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The time is up.
    #[error("the peer did not finish the ZMTP handshake within {0:?}; is it a ZeroMQ socket?")]
    TimedOut(Duration),
    /// Its greeting is none.
    #[error(transparent)]
    Greeting(GreetingError),
    /// What followed its greeting is no ZMTP.
    #[error(transparent)]
    Frame(FrameError),
    /// It refused.
    #[error("the peer refused the connection: {0}")]
    Refused(String),
    /// Traffic came where READY was expected.
    #[error("the peer sent something else in place of its READY command")]
    NotReady,
    /// It is a socket of another kind.
    #[error("the peer is a {peer} socket, which does not work with {own}; is it the right port?")]
    WrongSocket {
        /// The kind of this side.
        own: SocketType,
        /// The kind the peer says it is.
        peer: String,
    },
    /// The connection ended.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The connection failed.
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
}

/// A session that ended.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The peer closed the connection.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[source] io::Error),
    /// What came is no ZMTP, or beyond a limit.
    #[error(transparent)]
    Frame(FrameError),
    /// The peer says that it ends the session.
    #[error("the peer ended the session: {0}")]
    Refused(String),
}

/// A byte stream in both directions: TCP or a Unix socket.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The half of a session that receives.
pub(in crate::sources::opennebula) struct Reader {
    stream: ReadHalf<Box<dyn Transport>>,
    decoder: Decoder,
}

/// The half of a session that sends.
pub(in crate::sources::opennebula) struct Writer {
    stream: WriteHalf<Box<dyn Transport>>,
}

/// A connection on which both sides have said READY.
pub struct Session {
    reader: Reader,
    writer: Writer,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl Session {
    /// Connects to `endpoint` as a socket of kind `own`.
    ///
    /// # Errors
    /// When there is no connection, or no fitting ZeroMQ socket behind it, each within its deadline.
    pub async fn connect(
        endpoint: &Endpoint,
        own: SocketType,
        options: &Options,
    ) -> Result<Self, ConnectError> {
        let stream = timeout(options.connect, open(endpoint, options.keepalive))
            .await
            .unwrap_or_else(|_| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("no answer within {:?}", options.connect),
                ))
            })
            .map_err(|source| ConnectError::Connect {
                endpoint: endpoint.clone(),
                source,
            })?;
        Self::establish(stream, own, options)
            .await
            .map_err(|source| ConnectError::Handshake {
                endpoint: endpoint.clone(),
                source,
            })
    }

    /// Greets the peer on a TCP connection that it opened.
    pub(in crate::sources::opennebula) async fn accept_tcp(
        stream: TcpStream,
        own: SocketType,
        options: &Options,
    ) -> Result<Self, HandshakeError> {
        stream
            .set_nodelay(true)
            .and_then(|()| options.keepalive.apply(&stream))
            .map_err(HandshakeError::Io)?;
        Self::establish(Box::new(stream), own, options).await
    }

    /// Greets the peer on a Unix socket's connection that it opened.
    pub(in crate::sources::opennebula) async fn accept_unix(
        stream: UnixStream,
        own: SocketType,
        options: &Options,
    ) -> Result<Self, HandshakeError> {
        Self::establish(Box::new(stream), own, options).await
    }

    async fn establish(
        stream: Box<dyn Transport>,
        own: SocketType,
        options: &Options,
    ) -> Result<Self, HandshakeError> {
        timeout(options.handshake, handshake(stream, own))
            .await
            .unwrap_or(Err(HandshakeError::TimedOut(options.handshake)))
    }

    /// Subscribes to all messages whose first part begins with `prefix`.
    ///
    /// As a message (ZMTP 3.0): the greeting announced that version, and every implementation takes this form.
    ///
    /// # Errors
    /// When the connection failed.
    pub async fn subscribe(&mut self, prefix: &str) -> io::Result<()> {
        self.send(&[&[b"\x01", prefix.as_bytes()].concat()]).await
    }

    /// Sends a message.
    ///
    /// # Errors
    /// When the connection failed.
    pub async fn send(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        let mut out = BytesMut::new();
        codec::write_message(parts, &mut out);
        self.writer.send(&out).await
    }

    /// The parts of the next message. PING is answered on the way.
    ///
    /// # Errors
    /// When the session ended; there is no more to come.
    pub async fn receive(&mut self) -> Result<Vec<Bytes>, ReceiveError> {
        loop {
            match self.reader.receive().await? {
                Traffic::Message(parts) => return Ok(parts),
                Traffic::Command(Command::Ping { context }) => {
                    let mut pong = BytesMut::new();
                    codec::write_pong(&context, &mut pong);
                    self.writer.send(&pong).await.map_err(ReceiveError::Io)?;
                }
                Traffic::Command(Command::Error { reason }) => return Err(ReceiveError::Refused(reason)),
                Traffic::Command(_) => {}
            }
        }
    }

    /// The two halves, for tasks of their own.
    pub(in crate::sources::opennebula) fn into_split(self) -> (Reader, Writer) {
        (self.reader, self.writer)
    }
}

impl Reader {
    /// The next message or command. May be given up while it waits, without loss.
    pub(in crate::sources::opennebula) async fn receive(&mut self) -> Result<Traffic, ReceiveError> {
        loop {
            if let Some(traffic) = self.decoder.take().map_err(ReceiveError::Frame)? {
                return Ok(traffic);
            }
            if !self.fill().await.map_err(ReceiveError::Io)? {
                return Err(ReceiveError::Closed);
            }
        }
    }

    /// Reads what there is; false at the stream's end.
    async fn fill(&mut self) -> io::Result<bool> {
        let buffer = self.decoder.buffer();
        buffer.reserve(READ_CHUNK);
        Ok(self.stream.read_buf(buffer).await? > 0)
    }
}

impl Writer {
    /// Sends bytes that are frames already.
    pub(in crate::sources::opennebula) async fn send(&mut self, frames: &[u8]) -> io::Result<()> {
        self.stream.write_all(frames).await
    }

    /// Says that nothing more will be sent; what was sent still arrives.
    pub(in crate::sources::opennebula) async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

async fn open(endpoint: &Endpoint, keepalive: Keepalive) -> io::Result<Box<dyn Transport>> {
    match endpoint {
        Endpoint::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await?;
            stream.set_nodelay(true)?;
            keepalive.apply(&stream)?;
            Ok(Box::new(stream))
        }
        Endpoint::Ipc(path) => Ok(Box::new(UnixStream::connect(path).await?)),
    }
}

async fn handshake(stream: Box<dyn Transport>, own: SocketType) -> Result<Session, HandshakeError> {
    let (stream, out) = tokio::io::split(stream);
    let mut reader = Reader {
        stream,
        decoder: Decoder::default(),
    };
    let mut writer = Writer { stream: out };
    // Both sides send their greeting at once. A peer that is no ZeroMQ socket may answer ours and close before the next
    // write, so its answer is read before READY is sent: it tells what the peer is.
    writer
        .send(&codec::greeting())
        .await
        .map_err(HandshakeError::Io)?;
    while !codec::check_greeting(reader.decoder.buffer()).map_err(HandshakeError::Greeting)? {
        if !reader.fill().await.map_err(HandshakeError::Io)? {
            return Err(HandshakeError::Closed);
        }
    }
    let _ = reader.decoder.buffer().split_to(codec::GREETING_LEN);

    let mut ready = BytesMut::new();
    codec::write_ready(own, &mut ready);
    writer.send(&ready).await.map_err(HandshakeError::Io)?;
    let first = reader.receive().await.map_err(|error| match error {
        ReceiveError::Closed => HandshakeError::Closed,
        ReceiveError::Io(source) => HandshakeError::Io(source),
        ReceiveError::Frame(source) => HandshakeError::Frame(source),
        ReceiveError::Refused(reason) => HandshakeError::Refused(reason),
    })?;
    match first {
        Traffic::Command(Command::Ready { socket_type }) if own.works_with(&socket_type) => {
            Ok(Session { reader, writer })
        }
        Traffic::Command(Command::Ready { socket_type }) => Err(HandshakeError::WrongSocket {
            own,
            peer: socket_type,
        }),
        Traffic::Command(Command::Error { reason }) => Err(HandshakeError::Refused(reason)),
        Traffic::Command(_) | Traffic::Message(_) => Err(HandshakeError::NotReady),
    }
}

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The time is up. The question may have arrived.
    #[error("{endpoint} did not answer within {deadline:?}")]
    TimedOut {
        /// Who was asked.
        endpoint: Endpoint,
        /// The time that was allowed.
        deadline: Duration,
    },
    /// The question could not be asked.
    #[error(transparent)]
    Connect(ConnectError),
    /// The connection failed while the question was sent.
    #[error("cannot send to {endpoint}")]
    Send {
        /// Who was asked.
        endpoint: Endpoint,
        /// Why.
        source: io::Error,
    },
    /// The connection ended before the answer. The question may have arrived.
    #[error("no answer from {endpoint}")]
    Receive {
        /// Who was asked.
        endpoint: Endpoint,
        /// Why.
        source: ReceiveError,
    },
    /// The answer has not the one part it should have.
    #[error("{endpoint} answered with {parts} parts in place of one")]
    Malformed {
        /// Who was asked.
        endpoint: Endpoint,
        /// Parts after the delimiter.
        parts: usize,
    },
}

/// Asks questions as a REQ socket, one after the other, over a connection that is kept as long as it is well.
///
/// A REQ socket that missed an answer is out of step for ever, so a connection on which anything went wrong is not used again.
#[derive(Debug)]
pub struct Requester {
    endpoint: Endpoint,
    kept: Option<Session>,
}

impl Requester {
    /// One that asks at `endpoint`. It connects with the first question.
    pub const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, kept: None }
    }

    /// Asks one question and gives the answer; all within `deadline`. Where a connection that was kept turns out to be gone, the
    /// question is asked once more over another one: whoever answers may get it twice.
    ///
    /// # Errors
    /// When there is no answer in time, or none of one part.
    pub async fn ask(&mut self, question: &[u8], deadline: Duration) -> Result<Bytes, RequestError> {
        // Taken out: what is given up half-way is dropped with its connection.
        let kept = self.kept.take();
        let asked = timeout(deadline, async {
            if let Some(session) = kept
                && let Ok(answered) = ask(&self.endpoint, session, question).await
            {
                return Ok(answered);
            }
            let session = Session::connect(&self.endpoint, SocketType::Req, &Options::default())
                .await
                .map_err(RequestError::Connect)?;
            ask(&self.endpoint, session, question).await
        });
        let (answer, session) = asked.await.unwrap_or_else(|_| {
            Err(RequestError::TimedOut {
                endpoint: self.endpoint.clone(),
                deadline,
            })
        })?;
        self.kept = Some(session);
        Ok(answer)
    }
}

/// Asks over `session`, which comes back with the answer.
async fn ask(
    endpoint: &Endpoint,
    mut session: Session,
    question: &[u8],
) -> Result<(Bytes, Session), RequestError> {
    // An empty part stands between the address envelope, which REQ leaves empty, and the question (RFC 28).
    session
        .send(&[b"", question])
        .await
        .map_err(|source| RequestError::Send {
            endpoint: endpoint.clone(),
            source,
        })?;
    let parts = session.receive().await.map_err(|source| RequestError::Receive {
        endpoint: endpoint.clone(),
        source,
    })?;
    match parts.as_slice() {
        [delimiter, answer] if delimiter.is_empty() => Ok((answer.clone(), session)),
        other => Err(RequestError::Malformed {
            endpoint: endpoint.clone(),
            parts: other.len().saturating_sub(1),
        }),
    }
}
