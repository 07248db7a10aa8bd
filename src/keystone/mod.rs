//! Keystone, OpenStack's identity service, version 3 of its API: hem's own token, and what is true of somebody else's.
//!
//! A token is had with `POST /v3/auth/tokens` and stands in the header `X-Subject-Token` of the answer. Another one is looked at with
//! `GET /v3/auth/tokens`, the own one in `X-Auth-Token` and the other in `X-Subject-Token`; 404 says that there is none such
//! (Identity API v3, "Authentication and token management").

mod answer;

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::timeout;

use self::answer::token_facts;
pub use self::answer::{TokenFacts, Unreadable};
use crate::config;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::http_client::{Answer, AskError, Client, Limits, Question, TrustError};
use crate::secrets::{Keyring, Secret, SecretError};

/// A request of somebody else waits for Keystone's answer; what takes longer is as good as away.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(10),
    answer: 4 << 20,
};

/// The own token is renewed so long before its end, so that it does not end on the way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// After a password was refused the same is not tried again so soon: clouds lock users out who try often.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// When nobody answered, nobody is asked for this long: whoever waited behind the one that found it out need not find it out again.
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// Why Keystone cannot be asked from the start.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The password cannot be had.
    #[error("the password for Keystone cannot be had")]
    Password(#[source] SecretError),
    /// Nobody can vouch for it.
    #[error("Keystone cannot be told from somebody else")]
    Trust(#[source] TrustError),
}

/// Why Keystone gave no answer that helps.
#[derive(Debug, thiserror::Error)]
pub enum KeystoneError {
    /// It did not answer, now or a moment ago.
    #[error("Keystone gave no answer")]
    Ask(#[source] Arc<AskError>),
    /// Others wait for its answer, and it does not come.
    #[error("Keystone takes too long to answer others")]
    OthersWait,
    /// It does not take hem's user and password.
    #[error("Keystone does not let the user `{user}` in (status {status})")]
    Refused {
        /// The user.
        user: String,
        /// The status of its answer.
        status: u16,
    },
    /// It refused so lately that it is not asked again yet.
    #[error("Keystone did not let the user `{user}` in a moment ago")]
    RefusedBefore {
        /// The user.
        user: String,
    },
    /// It does not take hem's token, and did not take a new one either.
    #[error("Keystone does not take hem's own token (status {status})")]
    OwnToken {
        /// The status of its answer.
        status: u16,
    },
    /// It answered with a status that says nothing.
    #[error("Keystone answered with status {status}")]
    Status {
        /// The status.
        status: u16,
    },
    /// The answer cannot be read.
    #[error("Keystone's answer cannot be read")]
    Unreadable(#[source] Unreadable),
    /// The answer has no token.
    #[error("Keystone's answer has no `X-Subject-Token`")]
    NoToken,
}

/// hem's own token.
#[derive(Clone)]
struct OwnToken {
    text: Arc<str>,
    expires: Timestamp,
}

/// Whether hem is let in.
enum Admission {
    /// Nobody asked yet, or the token was given up.
    Unasked,
    Admitted(OwnToken),
    Refused {
        at: Instant,
        /// With this password.
        password: Arc<Vec<Secret>>,
    },
}

/// Keystone, with the user that hem is to it. May be shared.
pub struct Session {
    client: Client,
    user: config::keystone::KeystoneUser,
    password: Keyring,
    admission: Mutex<Admission>,
    silence: std::sync::Mutex<Option<Silence>>,
    /// An answer takes so long at most.
    longest: Duration,
}

/// That nobody answered.
struct Silence {
    since: tokio::time::Instant,
    error: Arc<AskError>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.client)
            .field("username", &self.user.username)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Reads the password; nothing is asked yet.
    ///
    /// # Errors
    /// See [`SetUpError`].
    pub fn new(config: &config::keystone::Keystone, redaction: &Redaction) -> Result<Self, SetUpError> {
        Self::with_limits(config, redaction, LIMITS)
    }

    fn with_limits(
        config: &config::keystone::Keystone,
        redaction: &Redaction,
        limits: Limits,
    ) -> Result<Self, SetUpError> {
        let password = std::slice::from_ref(&config.user.password);
        Ok(Self {
            client: Client::new(&config.url, config.ca_file.as_deref(), limits).map_err(SetUpError::Trust)?,
            password: Keyring::read(password, redaction).map_err(SetUpError::Password)?,
            user: config.user.clone(),
            longest: limits.whole,
            admission: Mutex::new(Admission::Unasked),
            silence: std::sync::Mutex::default(),
        })
    }

    /// hem's own token: the one it has, or a new one.
    ///
    /// # Errors
    /// See [`KeystoneError`].
    pub async fn token(&self) -> Result<Arc<str>, KeystoneError> {
        // Whoever waits here needs the same token.
        let mut admission = timeout(self.longest, self.admission.lock())
            .await
            .map_err(|_| KeystoneError::OthersWait)?;
        self.password.look();
        match &*admission {
            Admission::Admitted(token) if Timestamp::now().plus(RENEW_BEFORE) < token.expires => {
                return Ok(Arc::clone(&token.text));
            }
            Admission::Refused { at, password }
                if at.elapsed() < AFTER_REFUSAL && *password == self.password.secrets() =>
            {
                return Err(KeystoneError::RefusedBefore {
                    user: self.user.username.clone(),
                });
            }
            Admission::Unasked | Admission::Admitted(_) | Admission::Refused { .. } => {}
        }
        let password = self.password.secrets();
        let asked = self.log_in(&password).await;
        *admission = match &asked {
            Ok(token) => Admission::Admitted(token.clone()),
            Err(KeystoneError::Refused { .. }) => Admission::Refused {
                at: Instant::now(),
                password,
            },
            Err(_) => Admission::Unasked,
        };
        asked.map(|token| token.text)
    }

    /// Gives a token up that somebody did not take, unless there is a newer one already.
    pub async fn give_up(&self, token: &str) {
        let mut admission = self.admission.lock().await;
        if matches!(&*admission, Admission::Admitted(own) if *own.text == *token) {
            *admission = Admission::Unasked;
        }
    }

    /// A new token was not taken either: another one is not asked for so soon.
    async fn refused(&self, token: &str) {
        let mut admission = self.admission.lock().await;
        if matches!(&*admission, Admission::Admitted(own) if *own.text == *token) {
            *admission = Admission::Refused {
                at: Instant::now(),
                password: self.password.secrets(),
            };
        }
    }

    /// What is true of somebody else's token; none where Keystone knows no such token.
    ///
    /// # Errors
    /// See [`KeystoneError`].
    pub async fn look_at(&self, token: &str) -> Result<Option<TokenFacts>, KeystoneError> {
        let mut own = self.token().await?;
        let mut answer = self.ask_about(token, &own).await?;
        if answer.status == 401 {
            // Keystone forgets tokens: its keys were rotated, or somebody revoked this one.
            self.give_up(&own).await;
            own = self.token().await?;
            answer = self.ask_about(token, &own).await?;
        }
        match answer.status {
            200 => token_facts(&answer.body)
                .map(Some)
                .map_err(KeystoneError::Unreadable),
            404 => Ok(None),
            401 => {
                self.refused(&own).await;
                Err(KeystoneError::OwnToken { status: 401 })
            }
            // hem is known, and may not look at tokens of others: with another token of its own it may not either.
            403 => Err(KeystoneError::OwnToken { status: 403 }),
            status => Err(KeystoneError::Status { status }),
        }
    }

    /// Asks, unless nobody answered a moment ago.
    async fn ask(&self, question: &Question<'_>) -> Result<Answer, KeystoneError> {
        if let Some(error) = self.silent() {
            return Err(KeystoneError::Ask(error));
        }
        self.client.ask(question).await.map_err(|error| {
            let error = Arc::new(error);
            // What breaks an answer off may be the question.
            if matches!(
                *error,
                AskError::NotReachable { .. } | AskError::Tls { .. } | AskError::TooSlow { .. }
            ) {
                *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Silence {
                    since: tokio::time::Instant::now(),
                    error: Arc::clone(&error),
                });
            }
            KeystoneError::Ask(error)
        })
    }

    fn silent(&self) -> Option<Arc<AskError>> {
        let silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        let silence = silence
            .as_ref()
            .filter(|silence| silence.since.elapsed() < AFTER_SILENCE);
        silence.map(|silence| Arc::clone(&silence.error))
    }

    async fn ask_about(&self, token: &str, own: &str) -> Result<Answer, KeystoneError> {
        let question = Question {
            method: "GET",
            target: "/auth/tokens?nocatalog",
            headers: &[
                ("accept", "application/json"),
                ("x-auth-token", own),
                ("x-subject-token", token),
            ],
            ..Question::default()
        };
        self.ask(&question).await
    }

    async fn log_in(&self, password: &[Secret]) -> Result<OwnToken, KeystoneError> {
        let password = password.first().map_or(&[][..], |secret| secret.bytes());
        let body = json!({"auth": {
            "identity": {"methods": ["password"], "password": {"user": {
                "name": self.user.username,
                "domain": {"name": self.user.domain},
                "password": String::from_utf8_lossy(password),
            }}},
            "scope": {"project": {
                "name": self.user.project,
                "domain": {"name": self.user.project_domain},
            }},
        }});
        let question = Question {
            method: "POST",
            target: "/auth/tokens?nocatalog",
            headers: &[
                ("accept", "application/json"),
                ("content-type", "application/json"),
            ],
            body: body.to_string().into(),
        };
        let answer = self.ask(&question).await?;
        match answer.status {
            200 | 201 => {
                let text = answer.header("x-subject-token").ok_or(KeystoneError::NoToken)?;
                let facts = token_facts(&answer.body).map_err(KeystoneError::Unreadable)?;
                tracing::debug!(keystone = %self.client.url(), user = facts.user, "Keystone gave hem a token");
                Ok(OwnToken {
                    text: text.into(),
                    expires: facts.expires,
                })
            }
            status @ (400 | 401 | 403 | 404) => Err(KeystoneError::Refused {
                user: self.user.username.clone(),
                status,
            }),
            status => Err(KeystoneError::Status { status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keystone::{Keystone, KeystoneUser};
    use crate::config::secret::SecretPlace;

    #[tokio::test]
    async fn that_keystone_is_away_is_found_out_once_for_all_who_wait() {
        let folder = tempfile::tempdir().expect("a folder");
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").expect("a file");
        // Connections are made, and nobody says anything.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let config = Keystone {
            url: format!("http://{address}/v3").parse().expect("an address"),
            ca_file: None,
            user: KeystoneUser {
                username: "hem".to_owned(),
                domain: "Default".to_owned(),
                password: SecretPlace::File(password),
                project: "service".to_owned(),
                project_domain: "Default".to_owned(),
            },
        };
        let limits = Limits {
            whole: Duration::from_millis(200),
            ..LIMITS
        };
        let session = Session::with_limits(&config, &Redaction::default(), limits).expect("a session");
        let answers = futures_util::future::join_all((0..200).map(|_| session.token())).await;
        for answer in answers {
            assert!(
                matches!(answer, Err(KeystoneError::Ask(_) | KeystoneError::OthersWait)),
                "{answer:?}"
            );
        }
        listener.set_nonblocking(true).expect("it does not wait");
        let asked = std::iter::from_fn(|| listener.accept().ok()).count();
        assert!((1..10).contains(&asked), "{asked} times for two hundred");

        // After a while it is asked again.
        let asked_again = async {
            while listener.accept().is_err() {
                assert!(session.token().await.is_err());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(60), asked_again)
            .await
            .expect("it is asked again");
    }
}
