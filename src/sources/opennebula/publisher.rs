//! A stand-in for OpenNebula's hook manager: PUB for events, REP for replies, as `one_hm` binds them.
//!
//! Unlike ZeroMQ's PUB it loses nothing: a subscriber that does not keep up makes [`Publisher::publish`] wait. Events
//! published while nobody subscribes go nowhere, as there.

use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::zmtp::codec::{self, Command, Traffic};
use super::zmtp::{Endpoint, HandshakeError, Options, Reader, Session, SocketType, Writer};

/// Messages that wait for one subscriber's connection besides what its TCP buffers hold.
const QUEUED_PER_SUBSCRIBER: usize = 64;

/// Messages are written together up to about this many bytes.
const WRITE_CHUNK: usize = 64 << 10;

/// Replies taken and not yet looked at; further ones wait for their ACK.
const QUEUED_REPLIES: usize = 1024;

/// Rest after a connection could not be accepted.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_secs(1);

/// How long a finished connection may take to be closed by the subscriber.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What every reply is answered with (`one_hm.rb`).
const ACK: &[u8] = b"ACK";

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot bind {endpoint}")]
pub struct BindError {
    /// Where.
    pub endpoint: Endpoint,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A bound PUB and a bound REP. Dropping it closes all connections at once; [`Publisher::finish`] lets them drain.
#[derive(Debug)]
pub struct Publisher {
    events: Endpoint,
    replies: Endpoint,
    subscribers: Arc<Subscribers>,
    tasks: TaskTracker,
    accepting: CancellationToken,
    _stop: DropGuard,
}

impl Publisher {
    /// Binds both sockets; port 0 takes a free one. The receiver gets the body of every reply, in order.
    ///
    /// Without anyone receiving, replies are acknowledged and dropped.
    ///
    /// # Errors
    /// When one of the two cannot be bound.
    pub async fn bind(
        events: &Endpoint,
        replies: &Endpoint,
    ) -> Result<(Self, mpsc::Receiver<Bytes>), BindError> {
        let stop = CancellationToken::new();
        let accepting = stop.child_token();
        let tasks = TaskTracker::new();
        let subscribers = Arc::new(Subscribers::default());
        let events = Listener::bind(events).await?;
        let replies = Listener::bind(replies).await?;
        let (reply_sender, reply_receiver) = mpsc::channel(QUEUED_REPLIES);
        let publisher = Self {
            events: events.endpoint.clone(),
            replies: replies.endpoint.clone(),
            subscribers: Arc::clone(&subscribers),
            tasks: tasks.clone(),
            accepting: accepting.clone(),
            _stop: stop.clone().drop_guard(),
        };
        tasks.spawn({
            let (tasks, stop) = (tasks.clone(), stop.clone());
            accepting
                .clone()
                .run_until_cancelled_owned(events.serve(SocketType::Pub, move |session| {
                    let subscribers = Arc::clone(&subscribers);
                    tasks.spawn(
                        stop.clone()
                            .run_until_cancelled_owned(async move { subscribers.serve(session).await }),
                    );
                }))
        });
        tasks.spawn({
            let tasks = tasks.clone();
            accepting
                .clone()
                .run_until_cancelled_owned(replies.serve(SocketType::Rep, move |session| {
                    let replies = reply_sender.clone();
                    tasks.spawn(
                        accepting
                            .clone()
                            .run_until_cancelled_owned(acknowledge(session, replies)),
                    );
                }))
        });
        Ok((publisher, reply_receiver))
    }

    /// Where events are published, with the port that was taken.
    pub const fn events(&self) -> &Endpoint {
        &self.events
    }

    /// Where replies are taken, with the port that was taken.
    pub const fn replies(&self) -> &Endpoint {
        &self.replies
    }

    /// Waits until somebody has subscribed to something.
    pub async fn wait_for_subscriber(&self) {
        let mut count = self.subscribers.count.subscribe();
        // The sender lives as long as `self`, so waiting cannot fail.
        let _ = count.wait_for(|count| *count > 0).await;
    }

    /// How many connections have subscribed to something.
    pub fn subscribers(&self) -> usize {
        *self.subscribers.count.borrow()
    }

    /// Publishes one message of two frames. Waits for subscribers that do not keep up; gives how many it went to.
    pub async fn publish(&self, key: &str, content: &[u8]) -> usize {
        self.publish_frames(&[key.as_bytes(), content]).await
    }

    /// Publishes a message of any number of frames.
    pub async fn publish_frames(&self, frames: &[&[u8]]) -> usize {
        let mut encoded = BytesMut::new();
        codec::write_message(frames, &mut encoded);
        let encoded = encoded.freeze();
        let mut reached = 0;
        for queue in self
            .subscribers
            .wanting(frames.first().copied().unwrap_or_default())
        {
            // A queue whose connection ended meanwhile takes nothing more.
            if queue.send(encoded.clone()).await.is_ok() {
                reached += 1;
            }
        }
        reached
    }

    /// Takes no more connections and waits until all that was published is written; then closes them.
    pub async fn finish(self) {
        self.accepting.cancel();
        self.subscribers.lock().close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// A bound socket.
struct Listener {
    endpoint: Endpoint,
    socket: Socket,
}

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    async fn bind(endpoint: &Endpoint) -> Result<Self, BindError> {
        let failed = |source| BindError {
            endpoint: endpoint.clone(),
            source,
        };
        match endpoint {
            Endpoint::Tcp { host, port } => {
                let address = if host == "*" { "0.0.0.0" } else { host.as_str() };
                let socket = TcpListener::bind((address, *port)).await.map_err(failed)?;
                let port = socket.local_addr().map_err(failed)?.port();
                Ok(Self {
                    endpoint: Endpoint::Tcp {
                        host: host.clone(),
                        port,
                    },
                    socket: Socket::Tcp(socket),
                })
            }
            Endpoint::Ipc(path) => {
                // A socket file nobody listens at is what a process that was killed left behind.
                if let Err(error) = UnixStream::connect(path).await
                    && error.kind() == io::ErrorKind::ConnectionRefused
                {
                    std::fs::remove_file(path).map_err(failed)?;
                }
                Ok(Self {
                    endpoint: endpoint.clone(),
                    socket: Socket::Unix(UnixListener::bind(path).map_err(failed)?),
                })
            }
        }
    }

    /// Accepts connections for ever; `start` gets the handshake of each, not yet done, so that a silent peer holds nobody up.
    async fn serve(self, own: SocketType, start: impl Fn(Greeting)) {
        let options = Options::default();
        loop {
            let accepted = match &self.socket {
                Socket::Tcp(socket) => socket
                    .accept()
                    .await
                    .map(|(stream, _)| Greeting::Tcp(stream, own, options)),
                Socket::Unix(socket) => socket
                    .accept()
                    .await
                    .map(|(stream, _)| Greeting::Unix(stream, own, options)),
            };
            match accepted {
                Ok(greeting) => start(greeting),
                // Out of file descriptors, most likely: connections that end give some back.
                Err(error) => {
                    tracing::warn!(endpoint = %self.endpoint, %error, "cannot accept a connection");
                    sleep(AFTER_FAILED_ACCEPT).await;
                }
            }
        }
    }
}

/// A connection whose handshake is still to be done.
enum Greeting {
    Tcp(TcpStream, SocketType, Options),
    Unix(UnixStream, SocketType, Options),
}

impl Greeting {
    async fn finish(self) -> Result<Session, HandshakeError> {
        match self {
            Self::Tcp(stream, own, options) => Session::accept_tcp(stream, own, &options).await,
            Self::Unix(stream, own, options) => Session::accept_unix(stream, own, &options).await,
        }
    }
}

/// The connections to the PUB socket.
#[derive(Debug, Default)]
struct Subscribers {
    registry: Mutex<Registry>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Registry {
    by_number: BTreeMap<u64, Subscriber>,
    closed: bool,
}

#[derive(Debug)]
struct Subscriber {
    prefixes: Vec<Bytes>,
    queue: mpsc::Sender<Bytes>,
}

impl Subscribers {
    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wanting(&self, key: &[u8]) -> Vec<mpsc::Sender<Bytes>> {
        self.lock()
            .by_number
            .values()
            .filter(|subscriber| subscriber.prefixes.iter().any(|prefix| key.starts_with(prefix)))
            .map(|subscriber| subscriber.queue.clone())
            .collect()
    }

    /// Changes one subscriber's prefixes, if it is still there, and counts anew.
    fn change(&self, number: u64, change: impl FnOnce(&mut Vec<Bytes>)) {
        let mut registry = self.lock();
        if let Some(subscriber) = registry.by_number.get_mut(&number) {
            change(&mut subscriber.prefixes);
        }
        self.count.send_replace(registry.subscribed());
    }

    /// Serves one connection until it ends, or until the publisher finishes and all is written.
    async fn serve(&self, greeting: Greeting) {
        let session = match greeting.finish().await {
            Ok(session) => session,
            Err(error) => {
                tracing::debug!(%error, "a connection to the PUB socket was refused");
                return;
            }
        };
        let (reader, writer) = session.into_split();
        let (queue, queued) = mpsc::channel(QUEUED_PER_SUBSCRIBER);
        let pongs = queue.downgrade();
        let Some(number) = self.lock().register(queue) else {
            return;
        };
        let mut listening = pin!(self.listen(number, reader, pongs));
        tokio::select! {
            () = &mut listening => {}
            written = write_queued(writer, queued) => match written {
                // A connection closed with unread bytes is reset, and what was written may be lost on its way: the
                // subscriber closes first.
                Ok(()) => {
                    let _ = timeout(LAST_WORDS, listening).await;
                }
                Err(error) => tracing::debug!(%error, "a subscriber is gone"),
            }
        }
        let mut registry = self.lock();
        registry.by_number.remove(&number);
        self.count.send_replace(registry.subscribed());
    }

    /// Takes subscriptions, and PINGs, until the connection ends.
    async fn listen(&self, number: u64, mut reader: Reader, queue: mpsc::WeakSender<Bytes>) {
        loop {
            match reader.receive().await {
                Ok(Traffic::Message(parts)) => {
                    // The form of ZMTP 3.0: one part that begins with 1 (subscribe) or 0 (cancel).
                    if let [part] = parts.as_slice() {
                        match part.first() {
                            Some(1) => self.change(number, |prefixes| prefixes.push(part.slice(1..))),
                            Some(0) => self.change(number, |prefixes| remove_one(prefixes, &part[1..])),
                            _ => {}
                        }
                    }
                }
                Ok(Traffic::Command(Command::Subscribe { prefix })) => {
                    self.change(number, |prefixes| prefixes.push(prefix));
                }
                Ok(Traffic::Command(Command::Cancel { prefix })) => {
                    self.change(number, |prefixes| remove_one(prefixes, &prefix));
                }
                Ok(Traffic::Command(Command::Ping { context })) => {
                    let mut pong = BytesMut::new();
                    codec::write_pong(&context, &mut pong);
                    let Some(queue) = queue.upgrade() else {
                        continue;
                    };
                    if queue.send(pong.freeze()).await.is_err() {
                        return;
                    }
                }
                Ok(Traffic::Command(_)) => {}
                Err(error) => {
                    tracing::debug!(%error, "a subscriber is gone");
                    return;
                }
            }
        }
    }
}

impl Registry {
    /// A number for a new connection; none once the publisher finishes.
    fn register(&mut self, queue: mpsc::Sender<Bytes>) -> Option<u64> {
        if self.closed {
            return None;
        }
        let number = self.by_number.last_key_value().map_or(0, |(last, _)| last + 1);
        let subscriber = Subscriber {
            prefixes: Vec::new(),
            queue,
        };
        self.by_number.insert(number, subscriber);
        Some(number)
    }

    /// Lets every connection end when what is queued for it is written.
    fn close(&mut self) {
        self.closed = true;
        self.by_number.clear();
    }

    fn subscribed(&self) -> usize {
        self.by_number
            .values()
            .filter(|subscriber| !subscriber.prefixes.is_empty())
            .count()
    }
}

fn remove_one(prefixes: &mut Vec<Bytes>, prefix: &[u8]) {
    if let Some(index) = prefixes.iter().position(|p| p == prefix) {
        prefixes.remove(index);
    }
}

/// Writes what is queued until the queue is closed and empty.
async fn write_queued(mut writer: Writer, mut queued: mpsc::Receiver<Bytes>) -> io::Result<()> {
    let mut out = BytesMut::new();
    while let Some(first) = queued.recv().await {
        out.extend_from_slice(&first);
        while out.len() < WRITE_CHUNK
            && let Ok(next) = queued.try_recv()
        {
            out.extend_from_slice(&next);
        }
        writer.send(&out).await?;
        out.clear();
    }
    writer.finish().await
}

/// Answers every question of one REQ socket with ACK, once it is handed on.
async fn acknowledge(greeting: Greeting, replies: mpsc::Sender<Bytes>) {
    let mut session = match greeting.finish().await {
        Ok(session) => session,
        Err(error) => {
            tracing::debug!(%error, "a connection to the REP socket was refused");
            return;
        }
    };
    while let Ok(parts) = session.receive().await {
        // The address envelope ends with an empty part (RFC 28); what stands before it goes back as it came.
        let Some(delimiter) = parts.iter().position(Bytes::is_empty) else {
            return;
        };
        let (envelope, body) = parts.split_at(delimiter + 1);
        // A receiver that is gone wants no replies; whoever asks shall not wait for it.
        let _ = replies.send(body.concat().into()).await;
        let answer: Vec<&[u8]> = envelope.iter().map(AsRef::as_ref).chain([ACK]).collect();
        if session.send(&answer).await.is_err() {
            return;
        }
    }
}
