//! The API of OpenNebula's daemon `oned`: XML-RPC over HTTP, with one user's credentials.
//!
//! A call is `one.vm.info` with a session, `user:password`, before its own parameters; the answer is an array of `true` and a
//! value, or of `false`, an error text and an error code (OpenNebula, "XML-RPC API"). Nothing here knows what an answer is
//! used for.

mod credentials;
mod hook_log;
mod xmlrpc;
mod zone;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

use self::credentials::Session;

pub use self::credentials::CredentialsError;
pub use self::hook_log::HookRecord;
pub use self::xmlrpc::{AnswerFault, Value};
pub use self::zone::RaftState;
use crate::config::Oned;
use crate::config::scalar::RpcEndpoint;
use crate::http_client::{self, AskError, Limits, Question};

/// A connection that is not made by then is not made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// A call that is not answered by then has failed; a page of a pool takes a busy `oned` a second or two.
const CALL_LIMIT: Duration = Duration::from_secs(60);

/// Answers are refused beyond this many bytes; a page of a hundred machines has a few million.
const LONGEST_ANSWER: usize = 128 << 20;

/// `ErrorCode::AUTHENTICATION` (`src/rm/…/RequestManager.h`, and the documentation of the API).
const AUTHENTICATION: i64 = 0x0100;

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There are no credentials to call with.
    #[error("cannot read the credentials for oned")]
    Credentials(#[source] CredentialsError),
    /// hem failed while it read the credentials.
    #[error("the credentials for oned were not read to the end")]
    Reading(#[source] JoinError),
    /// Nobody listens there, or the network fails.
    #[error("oned cannot be reached at {endpoint}")]
    NotReachable {
        /// Where it was looked for.
        endpoint: RpcEndpoint,
        /// Why.
        source: io::Error,
    },
    /// No answer came in time.
    #[error("oned at {endpoint} did not answer `{method}` within {} s", limit.as_secs())]
    TooSlow {
        /// Where it is.
        endpoint: RpcEndpoint,
        /// What was called.
        method: String,
        /// How long was waited.
        limit: Duration,
    },
    /// The connection broke, or what listens there speaks no HTTP.
    #[error("the connection to oned at {endpoint} broke")]
    Broken {
        /// Where it is.
        endpoint: RpcEndpoint,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What listens there is not `oned`, or it is not well.
    #[error("{endpoint} answered with HTTP status {status}; is that oned?")]
    Status {
        /// Where it is.
        endpoint: RpcEndpoint,
        /// What it said.
        status: u16,
    },
    /// The answer is not one of `oned`.
    #[error("the answer of {endpoint} to `{method}` cannot be read")]
    Answer {
        /// Where it is.
        endpoint: RpcEndpoint,
        /// What was called.
        method: String,
        /// What is wrong with it.
        source: AnswerFault,
    },
    /// `oned` refused the call; the sentence is its own.
    #[error("oned refused `{method}`: {message}")]
    Refused {
        /// What was called.
        method: String,
        /// Its code, `0x0100` for wrong credentials.
        code: i64,
        /// Its words.
        message: String,
    },
}

impl CallError {
    /// Whether `oned` does not know the user, or not with this password.
    pub const fn is_authentication(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                code: AUTHENTICATION,
                ..
            }
        )
    }
}

/// A client of one `oned`. Each call makes a connection of its own and reads the credentials anew, so a changed password needs
/// no restart. Cloning is cheap enough.
#[derive(Debug, Clone)]
pub struct Client {
    config: Oned,
    call_limit: Duration,
    /// Held while the credentials are read.
    reading: Arc<Mutex<()>>,
}

impl Client {
    /// A client; nothing is asked yet.
    pub fn new(config: &Oned) -> Self {
        Self {
            config: config.clone(),
            call_limit: CALL_LIMIT,
            reading: Arc::default(),
        }
    }

    /// The same, with another limit for the time of a call.
    #[must_use]
    pub fn with_limit(self, call_limit: Duration) -> Self {
        Self { call_limit, ..self }
    }

    /// Where it asks.
    pub const fn endpoint(&self) -> &RpcEndpoint {
        &self.config.endpoint
    }

    /// Calls a method; `parameters` are those after the session. Gives the value behind `true`.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn call(&self, method: &str, parameters: &[Value]) -> Result<Value, CallError> {
        let too_slow = || CallError::TooSlow {
            endpoint: self.config.endpoint.clone(),
            method: method.to_owned(),
            limit: self.call_limit,
        };
        let asked = async {
            let session = self.session().await?;
            self.post(method, xmlrpc::call(method, &session, parameters))
                .await
        };
        let answer = timeout(self.call_limit, asked).await.map_err(|_| too_slow())??;
        let unreadable = |source| CallError::Answer {
            endpoint: self.config.endpoint.clone(),
            method: method.to_owned(),
            source,
        };
        match xmlrpc::answer(&answer).map_err(unreadable)? {
            xmlrpc::Answer::Given(value) => Ok(value),
            xmlrpc::Answer::Refused { code, message } => Err(CallError::Refused {
                method: method.to_owned(),
                code,
                message,
            }),
        }
    }

    /// Calls a method that answers with a text: a document in most cases.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn text(&self, method: &str, parameters: &[Value]) -> Result<String, CallError> {
        match self.call(method, parameters).await? {
            Value::Text(text) => Ok(text),
            Value::Integer(_) | Value::Boolean(_) => Err(CallError::Answer {
                endpoint: self.config.endpoint.clone(),
                method: method.to_owned(),
                source: AnswerFault::NotOfOned("its value is no text".to_owned()),
            }),
        }
    }

    /// Reads the credentials where a network file system that hangs holds up nobody else.
    async fn session(&self) -> Result<Session, CallError> {
        let files = self.config.auth.clone();
        // One thread may hang there, not one for each call.
        let turn = Arc::clone(&self.reading).lock_owned().await;
        let read = spawn_blocking(move || {
            let _turn = turn;
            credentials::read(&files)
        });
        match read.await {
            Ok(read) => read.map_err(CallError::Credentials),
            Err(failed) => Err(CallError::Reading(failed)),
        }
    }

    async fn post(&self, method: &str, body: String) -> Result<Bytes, CallError> {
        let endpoint = &self.config.endpoint;
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| CallError::Broken {
            endpoint: endpoint.clone(),
            source,
        };
        let limits = Limits {
            connect: CONNECT_LIMIT,
            whole: self.call_limit,
            answer: LONGEST_ANSWER,
        };
        // Without TLS there is nobody to be trusted, and so no fault.
        let client = http_client::Client::new(endpoint.url(), None, limits);
        let client = client.map_err(|error| broken(error.into()))?;
        let question = Question {
            method: "POST",
            target: "",
            headers: &[("content-type", "text/xml")],
            body: body.into(),
        };
        let answer = client.ask(&question).await.map_err(|error| match error {
            AskError::NotReachable { source, .. } => CallError::NotReachable {
                endpoint: endpoint.clone(),
                source,
            },
            AskError::TooSlow { limit, .. } => CallError::TooSlow {
                endpoint: endpoint.clone(),
                method: method.to_owned(),
                limit,
            },
            AskError::Broken { source, .. } => broken(source),
            other => broken(other.into()),
        })?;
        if answer.status != 200 {
            return Err(CallError::Status {
                endpoint: endpoint.clone(),
                status: answer.status,
            });
        }
        Ok(answer.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn credentials_that_cannot_be_read_in_time_hold_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("one_auth");
        nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        let config = Oned {
            endpoint: "http://127.0.0.1:1/RPC2".parse().expect("an endpoint"),
            auth: vec![file.clone()],
            source: "opennebula".to_owned(),
            hooks: false,
            leader_only: true,
            catch_up: false,
            max_gap: Duration::from_secs(60),
            look_every: None,
        };
        let limit = Duration::from_millis(20);
        let client = Client::new(&config).with_limit(limit);
        // Nobody writes into it: reading it is as long as a file system that hangs.
        for _ in 0..2 {
            let called = client.call("one.zone.raftstatus", &[]).await;
            assert!(matches!(called, Err(CallError::TooSlow { .. })), "{called:?}");
        }
        // The thread that reads is let go.
        std::fs::write(&file, "a:b").expect("a fifo");
    }
}
