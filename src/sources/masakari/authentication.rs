//! Who may use the API.

mod htpasswd;
mod line;
mod passwords;
mod tokens;

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio_util::sync::CancellationToken;

pub use self::passwords::HtpasswdError;

use self::line::Crowded;
use self::passwords::Passwords;
use self::tokens::{NoFacts, Tokens};
use super::answer;
use crate::config::masakari::auth::{KeystoneAuth, MasakariAuth};
use crate::event::redaction::Redaction;
use crate::keystone::{KeystoneError, Session};
use crate::listener::{Head, Response};
use crate::repeats::Repeats;
use crate::secrets::{Disguise, Keyring};
use crate::sources::BuildError;
use crate::watched::keep_looking;

/// The header that carries a token.
const TOKEN: &str = "x-auth-token";

/// How callers are told from others.
#[derive(Debug)]
pub(super) enum Authentication {
    /// Everybody is an administrator, as with Masakari's `auth_strategy = noauth2`.
    None,
    /// Administrators have a name and a password.
    HttpBasic(Box<Passwords>),
    /// Administrators have one of these tokens.
    Token(Keyring),
    /// Keystone says who somebody is.
    Keystone(Box<ByKeystone>),
}

/// What is needed to ask Keystone.
#[derive(Debug)]
pub(super) struct ByKeystone {
    tokens: Tokens,
    /// Where callers are told to ask for a token.
    public_url: String,
    /// Who has one of them is an administrator.
    roles: Vec<String>,
    log: Mutex<Repeats>,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    /// The project that the caller is in; none where callers are in no project, and then any project's addresses are theirs.
    pub(super) project: Option<String>,
    /// Whether the policy allows what only administrators may.
    pub(super) is_admin: bool,
}

/// Who is known by something that only administrators have.
const ADMIN: Identity = Identity {
    project: None,
    is_admin: true,
};

impl Authentication {
    /// Reads the files that it needs. Keystone is not asked yet.
    pub(super) fn build(auth: &MasakariAuth, redaction: &Redaction) -> Result<Self, BuildError> {
        Ok(match auth {
            MasakariAuth::None => Self::None,
            MasakariAuth::HttpBasic { file } => {
                Self::HttpBasic(Box::new(Passwords::read(file).map_err(BuildError::Users)?))
            }
            MasakariAuth::Token { secrets } => {
                Self::Token(Keyring::read(secrets, redaction).map_err(BuildError::Secret)?)
            }
            MasakariAuth::Keystone(keystone) => Self::of_keystone(keystone, redaction)?,
        })
    }

    fn of_keystone(auth: &KeystoneAuth, redaction: &Redaction) -> Result<Self, BuildError> {
        let session = Session::new(&auth.server, redaction).map_err(BuildError::Keystone)?;
        let disguise = Disguise::new().map_err(BuildError::Randomness)?;
        Ok(Self::Keystone(Box::new(ByKeystone {
            tokens: Tokens::new(session, disguise, auth.cache),
            public_url: auth.public_url.clone(),
            roles: auth.roles.clone(),
            log: Mutex::default(),
        })))
    }

    /// Reads files again when they change, until `until`.
    pub(super) async fn keep_fresh(&self, until: &CancellationToken) {
        match self {
            Self::HttpBasic(passwords) => keep_looking(until, || passwords.look()).await,
            Self::Token(keyring) => keep_looking(until, || keyring.look()).await,
            // Keystone's password is looked at before it is used.
            Self::None | Self::Keystone(_) => {}
        }
    }

    /// Says who calls.
    ///
    /// # Errors
    /// The answer to whoever may not.
    pub(super) async fn admit(&self, head: &Head) -> Result<Identity, Response> {
        match self {
            Self::None => Ok(ADMIN),
            Self::HttpBasic(passwords) => {
                let known = head.header("authorization").as_deref().and_then(basic);
                let is_user = match &known {
                    Some((user, password)) => passwords.is_user(user, password).await.map_err(too_many)?,
                    None => false,
                };
                is_user
                    .then_some(ADMIN)
                    .ok_or_else(|| unauthorized("Basic realm=\"instance-ha\", charset=\"UTF-8\"".to_owned()))
            }
            Self::Token(keyring) => head
                .header(TOKEN)
                .is_some_and(|token| keyring.holds(token.as_bytes()))
                .then_some(ADMIN)
                .ok_or_else(|| unauthorized("Token realm=\"instance-ha\"".to_owned())),
            Self::Keystone(keystone) => keystone.admit(head).await,
        }
    }

    /// Whether a browser could carry what this asks for without its user's knowledge: it asks for nothing, or for a password that a
    /// browser remembers and sends along. A token in a header of its own is set by no page of somebody else's.
    pub(super) const fn is_carried_by_browsers(&self) -> bool {
        matches!(self, Self::None | Self::HttpBasic(_))
    }

    /// Whether everybody is let in.
    pub(super) const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

impl ByKeystone {
    async fn admit(&self, head: &Head) -> Result<Identity, Response> {
        let unauthorized = || unauthorized(format!("Keystone uri=\"{}\"", self.public_url));
        let token = head
            .header(TOKEN)
            .filter(|token| is_token(token))
            .ok_or_else(unauthorized)?;
        match self.tokens.facts(&token).await {
            Ok(None) => Err(unauthorized()),
            Ok(Some(facts)) => Ok(Identity {
                is_admin: facts.roles.iter().any(|role| is_among(role, &self.roles)),
                project: facts.project,
            }),
            Err(NoFacts::Crowded(crowded)) => Err(too_many(crowded)),
            Err(NoFacts::Keystone(error)) => {
                say(&self.log, &error);
                Err(unavailable())
            }
        }
    }
}

/// What is answered while too many callers wait to be known: monitors try again.
fn too_many(crowded: Crowded) -> Response {
    answer::not_now(&crowded.to_string())
}

/// Roles are compared as OpenStack's policies do, without regard to capitals.
fn is_among(role: &str, roles: &[String]) -> bool {
    roles.iter().any(|known| known.eq_ignore_ascii_case(role))
}

/// What can stand in a header once more.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn say(log: &Mutex<Repeats>, error: &KeystoneError) {
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(repeats) = log.allows(&error.to_string(), Instant::now()) {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            repeats,
            "callers cannot be told from others: Keystone gives no answer about their tokens"
        );
    }
}

/// The name and the password in `Basic …` (RFC 7617).
fn basic(header: &str) -> Option<(String, Vec<u8>)> {
    let (scheme, credentials) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let credentials = STANDARD.decode(credentials.trim()).ok()?;
    let colon = credentials.iter().position(|byte| *byte == b':')?;
    let user = String::from_utf8(credentials[..colon].to_vec()).ok()?;
    Some((user, credentials[colon + 1..].to_vec()))
}

/// What `keystonemiddleware` answers in front of Masakari to whoever has no token or a wrong one.
fn unauthorized(challenge: String) -> Response {
    let body = json!({"error": {
        "code": 401,
        "title": "Unauthorized",
        "message": "The request you have made requires authentication.",
    }});
    answer::json(401, &body).with("www-authenticate", challenge)
}

/// What `keystonemiddleware` answers in front of Masakari while Keystone is away.
fn unavailable() -> Response {
    answer::page(
        503,
        "Service Unavailable",
        "The server is currently unavailable. Please try again at a later time.",
        "The Keystone service is temporarily unavailable.",
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the service itself answers, as it was recorded: the part of the file behind a title.
    fn recorded(title: &str) -> (Vec<String>, String) {
        let file = include_str!("../../../tests/data/masakari/http-401-403.txt").replace("\r\n", "\n");
        let (_, rest) = file.split_once(title).expect("it is recorded");
        let rest = rest.split("### ").next().expect("a part");
        let (head, body) = rest.trim_start_matches('\n').split_once("\n\n").expect("a body");
        let head = head.lines().map(str::to_owned).collect();
        (head, body.trim_end_matches('\n').to_owned())
    }

    #[test]
    fn who_may_not_is_told_so_in_the_words_of_the_service() {
        let (head, body) = recorded("### 401 no token (auth_strategy=keystone)");
        let answer = unauthorized("Keystone uri=\"http://127.0.0.1:15000\"".to_owned());
        assert!(
            head.contains(&"Content-Type: application/json".to_owned()),
            "{head:?}"
        );
        assert!(head.contains(&"WWW-Authenticate: Keystone uri=\"http://127.0.0.1:15000\"".to_owned()));
        assert_eq!(answer.content_type, "application/json");
        let challenge = (
            "www-authenticate",
            "Keystone uri=\"http://127.0.0.1:15000\"".to_owned(),
        );
        assert_eq!(answer.headers, [challenge]);
        let said: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(
            said,
            serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
        );

        let (head, body) = recorded("### bad token, keystone unreachable");
        let answer = unavailable();
        assert!(head[0].contains("503 Service Unavailable"), "{head:?}");
        assert_eq!(answer.content_type, "text/html; charset=UTF-8");
        assert_eq!(answer.body, body);
        assert!(
            head.contains(&format!("Content-Length: {}", answer.body.len())),
            "{head:?}"
        );
    }

    #[test]
    fn a_name_and_a_password_are_found_in_their_header() {
        let of = |text: &str| format!("Basic {}", STANDARD.encode(text));
        let found = |text: &str| {
            basic(text).map(|(user, password)| (user, String::from_utf8(password).expect("text")))
        };
        let expected = Some(("bob".to_owned(), "se:cret".to_owned()));
        assert_eq!(found(&of("bob:se:cret")), expected);
        assert_eq!(found(&of("bob:se:cret").replace("Basic", "basic ")), expected);
        assert_eq!(found(&of(":")), Some((String::new(), String::new())));
        for wrong in ["", "Basic", "Basic !", "Bearer Ym9iOmE=", &of("bob")] {
            assert_eq!(found(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_it_panic(header in "\\PC{0,40}|[Bb]asic [A-Za-z0-9+/=]{0,40}") {
            let _ = basic(&header);
            let _ = is_token(&header);
        }
    }
}
