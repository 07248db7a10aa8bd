//! The way to a NETCONF server: SSH, with the server's key checked, somebody logged in, and a link noticed when it is dead (RFC 6242).

mod algorithms;
mod host_key;
mod known_hosts;
mod login;

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use russh::client::{self, DisconnectReason, Handle, Msg};
use russh::keys::{PublicKeyBase64 as _, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Disconnect, SshId};
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::host_key::Gatekeeper;
use self::host_key::{HostKeyRefusal, KnownHostsError};
use self::known_hosts::ServerKey;
pub(in crate::sources::esc) use self::login::Credentials;
use self::login::LoginError;
use crate::config::esc::netconf::Netconf;
use crate::config::scalar::SshEndpoint;

/// A server that takes longer to be reached is not there.
const CONNECTING: Duration = Duration::from_secs(10);

/// A server that takes longer to agree on keys, or to let somebody in, does not.
const GREETING: Duration = Duration::from_secs(20);

/// Unanswered questions whether it is there, after which a server is gone.
const UNANSWERED: usize = 3;

/// Messages of the server's that wait in a link before it takes no more.
const WAITING: usize = 1_000;

/// Of what a server says on the side, the last is kept.
const LAST_WORDS: usize = 500;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub(super) enum SshError {
    /// The server cannot be reached.
    #[error("{endpoint} cannot be reached")]
    Unreachable {
        /// Which one.
        endpoint: String,
        /// Why.
        source: std::io::Error,
    },
    /// It does not answer in time.
    #[error("{endpoint} has not answered in {} seconds", within.as_secs())]
    Silent {
        /// Which one.
        endpoint: String,
        /// How long it had.
        within: Duration,
    },
    /// What is known of its key cannot be read.
    #[error(transparent)]
    KnownHosts(#[from] KnownHostsError),
    /// It is not known to be the right one.
    #[error("{0}")]
    HostKey(Box<HostKeyRefusal>),
    /// Nothing is common.
    #[error("there is no common algorithm for {kind}: hem has {ours}, the server has {theirs}{hint}")]
    NoCommonAlgorithm {
        /// What for.
        kind: String,
        /// What hem may take.
        ours: String,
        /// What it has.
        theirs: String,
        /// What to do.
        hint: &'static str,
    },
    /// It does not let hem in.
    #[error(transparent)]
    Login(Box<LoginError>),
    /// It has no NETCONF.
    #[error("the server has no subsystem `netconf`{0}")]
    NoSubsystem(LastWords),
    /// The link ended.
    #[error("the link ended: {0}")]
    Ended(String),
    /// The protocol was not kept.
    #[error("SSH failed")]
    Protocol(#[source] russh::Error),
}

impl SshError {
    /// Whether somebody has to do something about it before it can be otherwise.
    pub(super) const fn needs_somebody(&self) -> bool {
        matches!(
            self,
            Self::KnownHosts(_) | Self::HostKey(_) | Self::NoCommonAlgorithm { .. } | Self::Login(_)
        )
    }
}

impl From<LoginError> for SshError {
    fn from(error: LoginError) -> Self {
        Self::Login(Box::new(error))
    }
}

impl From<russh::Error> for SshError {
    fn from(error: russh::Error) -> Self {
        match error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => {
                let old = ["sha1", "ssh-rsa", "cbc"];
                let is_old = theirs.iter().any(|name| old.iter().any(|old| name.contains(old)));
                Self::NoCommonAlgorithm {
                    kind: format!("{kind:?}").to_lowercase(),
                    ours: ours.join(","),
                    theirs: theirs.join(","),
                    hint: if is_old {
                        "; `ssh_algorithms: legacy` allows old ones"
                    } else {
                        ""
                    },
                }
            }
            russh::Error::KeepaliveTimeout => {
                Self::Ended(format!("the server has not answered {UNANSWERED} times"))
            }
            russh::Error::HUP
            | russh::Error::Disconnect
            | russh::Error::SendError
            | russh::Error::RecvError => Self::Ended("the server closed the connection".to_owned()),
            russh::Error::IO(error) => Self::Ended(error.to_string()),
            other => Self::Protocol(other),
        }
    }
}

/// What a server said on the side, where it said anything.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(String);

impl LastWords {
    fn hear(&mut self, bytes: &[u8]) {
        self.0.push_str(&String::from_utf8_lossy(bytes));
        let from = self.0.len().saturating_sub(LAST_WORDS);
        self.0.drain(..self.0.ceil_char_boundary(from));
    }
}

impl fmt::Display for LastWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.0.split_whitespace().collect();
        if words.is_empty() {
            Ok(())
        } else {
            write!(f, "; it says: {}", words.join(" "))
        }
    }
}

/// Stands at the door while a link is made, and hears why it ends.
struct Doorkeeper {
    gatekeeper: Gatekeeper,
    heard: Arc<Mutex<Heard>>,
}

/// What is known of a link from the side of the server.
#[derive(Debug, Default)]
struct Heard {
    /// Its key: the algorithm and the fingerprint.
    host_key: String,
    /// Why it ended.
    end: Option<String>,
}

fn locked(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl client::Handler for Doorkeeper {
    type Error = SshError;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, SshError> {
        let key = shown.public_key();
        let key = ServerKey {
            algorithm: key.algorithm().as_str().to_owned(),
            blob: key.public_key_bytes(),
        };
        locked(&self.heard).host_key = format!("{} {}", key.algorithm, key.fingerprint());
        match self.gatekeeper.admit(key) {
            Ok(()) => Ok(true),
            Err(refusal) => Err(SshError::HostKey(refusal)),
        }
    }

    async fn disconnected(&mut self, reason: DisconnectReason<SshError>) -> Result<(), SshError> {
        let (why, result) = match reason {
            DisconnectReason::ReceivedDisconnect(told) => (
                format!("the server closed the connection: {}", told.message),
                Ok(()),
            ),
            DisconnectReason::Error(SshError::Ended(why)) => (why.clone(), Err(SshError::Ended(why))),
            DisconnectReason::Error(error) => (crate::sources::sentence(&error), Err(error)),
        };
        locked(&self.heard).end.get_or_insert(why);
        result
    }
}

/// A link to a server, with somebody logged in.
pub(super) struct Link {
    handle: Handle<Doorkeeper>,
    heard: Arc<Mutex<Heard>>,
}

/// Connects and logs in.
pub(super) async fn connect(rules: &Netconf, credentials: &Credentials) -> Result<Link, SshError> {
    let endpoint = &rules.endpoint;
    let gatekeeper = Gatekeeper::read(endpoint, &rules.host_keys).await?;
    if gatekeeper.authorities() > 0 {
        tracing::debug!(
            %endpoint, lines = gatekeeper.authorities(),
            "lines @cert-authority are not understood: a server is known by its own key"
        );
    }
    let config = client::Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-hem_", env!("CARGO_PKG_VERSION")))),
        preferred: algorithms::preferred(rules.legacy_algorithms, &gatekeeper.algorithms()),
        keepalive_interval: Some(rules.keepalive),
        keepalive_max: UNANSWERED,
        channel_buffer_size: WAITING,
        nodelay: true,
        ..client::Config::default()
    };
    let heard = Arc::new(Mutex::new(Heard::default()));
    let doorkeeper = Doorkeeper {
        gatekeeper,
        heard: Arc::clone(&heard),
    };
    let address = (endpoint.host(), endpoint.port());
    let stream = within(endpoint, CONNECTING, async {
        TcpStream::connect(address)
            .await
            .and_then(|stream| stream.set_nodelay(true).map(|()| stream))
            .map_err(|source| SshError::Unreachable {
                endpoint: endpoint.to_string(),
                source,
            })
    })
    .await?;
    let greeted = client::connect_stream(Arc::new(config), stream, doorkeeper);
    let mut handle = within(endpoint, GREETING, greeted).await?;
    within(endpoint, GREETING, login::login(&mut handle, rules, credentials)).await?;
    Ok(Link { handle, heard })
}

async fn within<T>(
    endpoint: &SshEndpoint,
    limit: Duration,
    step: impl Future<Output = Result<T, SshError>>,
) -> Result<T, SshError> {
    timeout(limit, step).await.unwrap_or_else(|_| {
        Err(SshError::Silent {
            endpoint: endpoint.to_string(),
            within: limit,
        })
    })
}

impl Link {
    /// Opens a channel to the server's NETCONF.
    pub(super) async fn netconf(&self) -> Result<NetconfChannel, SshError> {
        let mut channel = self.handle.channel_open_session().await?;
        channel.request_subsystem(true, "netconf").await?;
        let mut last_words = LastWords::default();
        let mut early = Vec::new();
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Data { data }) => early.push(data),
                Some(ChannelMsg::ExtendedData { data, .. }) => last_words.hear(&data),
                Some(ChannelMsg::Failure | ChannelMsg::Close | ChannelMsg::Eof) => {
                    return Err(SshError::NoSubsystem(last_words));
                }
                Some(_) => {}
                None => return Err(SshError::Ended(self.end())),
            }
        }
        early.reverse();
        Ok(NetconfChannel {
            channel,
            early,
            last_words,
        })
    }

    /// Why it ended; what is behind it may be said a moment later than the end is seen.
    pub(super) fn end(&self) -> String {
        let end = locked(&self.heard).end.clone();
        end.unwrap_or_else(|| "the server closed the connection".to_owned())
    }

    /// The server's host key: the algorithm and the fingerprint.
    pub(super) fn host_key(&self) -> String {
        locked(&self.heard).host_key.clone()
    }

    /// Says goodbye.
    pub(super) async fn close(self) {
        // A link that is gone needs none.
        let _ = self.handle.disconnect(Disconnect::ByApplication, "", "en").await;
    }
}

/// A channel to a server's NETCONF: bytes both ways.
pub(super) struct NetconfChannel {
    channel: Channel<Msg>,
    /// What came before it was granted, the last first.
    early: Vec<Bytes>,
    last_words: LastWords,
}

impl NetconfChannel {
    /// Sends.
    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<(), SshError> {
        if !bytes.is_empty() {
            self.channel.data_bytes(bytes).await?;
        }
        Ok(())
    }

    /// What came; none at its end. Nothing is lost where nobody waits for it any more.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        if let Some(early) = self.early.pop() {
            return Some(early);
        }
        loop {
            match self.channel.wait().await? {
                ChannelMsg::Data { data } => return Some(data),
                ChannelMsg::ExtendedData { data, .. } => self.last_words.hear(&data),
                ChannelMsg::Eof | ChannelMsg::Close => return None,
                _ => {}
            }
        }
    }

    /// What the server said on the side.
    pub(super) fn last_words(&self) -> LastWords {
        self.last_words.clone()
    }

    /// Closes it.
    pub(super) async fn close(self) {
        // One that is gone needs no closing.
        let _ = self.channel.close().await;
    }
}
