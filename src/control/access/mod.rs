//! Who calls, and what they may do.
//!
//! Over the Unix socket the kernel says who calls, and whoever may connect may do everything. Over TCP every caller shows a token, or
//! the cookie of a session that began with one.

mod hosts;
mod random;
mod sessions;
mod tokens;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, HOST, HeaderName, HeaderValue, ORIGIN,
    REFERRER_POLICY, SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Json, Response};

use self::hosts::Hosts;
pub use self::random::secret;
use self::sessions::{Session, Sessions, cookie};
pub use self::tokens::TokenError;
use self::tokens::{Digest, Holder, Tokens};
use super::api::{ErrorCode, SessionView, Time};
use super::problem::Failure;
use crate::config::control::{Role, Tcp};
use crate::engine::execution::Actor;
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::listener::Peer;
use crate::repeats::Repeats;

/// Nothing may be loaded from anywhere else, and nothing on the page may act on its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The header in which a session's writing requests repeat what its view says as `csrf`.
const CSRF: &str = "x-hem-csrf";

/// A caller.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// What the audit log calls them.
    pub(super) actor: Actor,
    /// What they may do.
    pub(super) role: Role,
    /// What lets them in; none over the Unix socket.
    pass: Option<Pass>,
}

/// What let a caller in, which may be taken back.
#[derive(Debug, Clone)]
struct Pass {
    guard: Arc<Guard>,
    holder: Holder,
    /// The session, where they came by one.
    session: Option<Digest>,
}

/// Who is not heard of for so long may have been sent away meanwhile.
const LOOKED_AT: Duration = Duration::from_secs(1);

impl Caller {
    /// Somebody of this machine, who may do everything.
    pub(super) const fn local(actor: Actor) -> Self {
        Self {
            actor,
            role: Role::Operator,
            pass: None,
        }
    }

    /// Whether they would still be let in, as far as was found within the last second: an answer that goes on for long must not outlast that.
    pub(super) fn is_still_welcome(&self) -> bool {
        self.pass.as_ref().is_none_or(|pass| {
            let guard = &pass.guard;
            pass.session
                .is_none_or(|id| guard.sessions.goes_on(&id, Instant::now()))
                && guard.tokens.knew_lately(&pass.holder)
        })
    }

    /// Comes back when they would no longer be let in. It may be dropped at any time.
    pub(super) async fn sent_away(&self) {
        if self.pass.is_none() {
            std::future::pending::<()>().await;
        }
        while self.is_still_welcome() {
            tokio::time::sleep(LOOKED_AT).await;
        }
    }
}

/// Who is at the other end of a connection to the Unix socket; none when the kernel does not say.
#[derive(Debug, Clone)]
pub(super) struct SocketPeer(pub(super) Option<Actor>);

/// Whoever may connect to the Unix socket may do everything.
pub(super) async fn by_socket(
    ConnectInfo(SocketPeer(actor)): ConnectInfo<SocketPeer>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Some(actor) = actor {
        request.extensions_mut().insert(Caller::local(actor));
    }
    next.run(request).await
}

/// Stands at the door of the TCP listener.
#[derive(Debug)]
pub(super) struct Guard {
    tokens: Tokens,
    sessions: Sessions,
    hosts: Hosts,
    /// The sessions' cookie. Cookies know no ports, so its name says the port.
    cookie: String,
    is_secure: bool,
    /// Whoever reaches the port could fill the log.
    log: Mutex<Repeats>,
}

impl Guard {
    /// Reads the tokens.
    pub(super) fn new(config: &Tcp, address: SocketAddr, redaction: &Redaction) -> Result<Self, TokenError> {
        let is_secure = config.listen.tls.is_some();
        // Browsers take a cookie of this prefix over TLS alone, and from this very host.
        let prefix = if is_secure { "__Host-" } else { "" };
        Ok(Self {
            tokens: Tokens::read(&config.tokens, redaction)?,
            sessions: Sessions::default(),
            hosts: Hosts::new(address, &config.hosts),
            cookie: format!("{prefix}hem-{}", address.port()),
            is_secure,
            log: Mutex::default(),
        })
    }

    fn admit(self: &Arc<Self>, request: &Request) -> Result<Option<Caller>, Failure> {
        let headers = request.headers();
        let host = self.host(request)?;
        if is_open(request.method(), request.uri().path()) {
            return Ok(None);
        }
        let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
        let (holder, session) = match bearer(headers)? {
            Some(token) => (
                self.tokens.holder(token).ok_or_else(|| {
                    self.tell_of_unknown(request.extensions().get::<Peer>());
                    unauthenticated("nobody knows this token")
                })?,
                None,
            ),
            None => {
                let session = self.session(headers)?;
                if writes {
                    let said = headers.get(CSRF).map(HeaderValue::as_bytes);
                    if !is_same_origin(headers, host) || said != Some(session.csrf.as_bytes()) {
                        return Err(Failure::new(
                            ErrorCode::Forbidden,
                            "a session writes from its own page alone: `Origin` must name this host, and `X-Hem-CSRF` must repeat \
                             what `/v1/session` says as `csrf`",
                        ));
                    }
                }
                (session.holder, Some(session.id))
            }
        };
        if writes && holder.role < Role::Operator && request.uri().path() != SESSION {
            return Err(Failure::new(
                ErrorCode::Forbidden,
                format!(
                    "a token of `{}` may only read, and this asks for an operator",
                    holder.name
                ),
            ));
        }
        Ok(Some(Caller {
            actor: Actor::Token {
                name: Arc::clone(&holder.name),
            },
            role: holder.role,
            pass: Some(Pass {
                guard: Arc::clone(self),
                holder,
                session,
            }),
        }))
    }

    fn tell_of_unknown(&self, peer: Option<&Peer>) {
        let address = peer.map(|peer| peer.address.to_string());
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeats) = log.allows(address.as_deref().unwrap_or_default(), Instant::now()) {
            tracing::info!(
                request = peer.map(|peer| peer.request.as_str()),
                peer = address,
                repeats,
                "somebody called with a token that nobody knows"
            );
        }
    }

    /// The host that a request is for, if it is one of those known.
    fn host<'a>(&self, request: &'a Request) -> Result<&'a str, Failure> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (hosts.next().and_then(|host| host.to_str().ok()), hosts.next()) else {
            return Err(Failure::new(ErrorCode::BadRequest, "a request needs one `Host`"));
        };
        if !self.hosts.know(host) {
            return Err(Failure::new(
                ErrorCode::Misdirected,
                format!("hem does not know itself by the name `{host}`"),
            )
            .with_hint(Some(
                "`control: { hosts }` says by which names it is reached".to_owned(),
            )));
        }
        Ok(host)
    }

    fn cookie<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        headers
            .get_all(COOKIE)
            .iter()
            .filter_map(|header| header.to_str().ok())
            .find_map(|header| cookie(header, &self.cookie))
    }

    /// The session that a request belongs to. It ends with the token that began it.
    fn session(&self, headers: &HeaderMap) -> Result<Session, Failure> {
        let cookie = self.cookie(headers).ok_or_else(|| {
            unauthenticated("whoever calls over TCP needs a token: `Authorization: Bearer …`")
        })?;
        let session = self.sessions.get(cookie, Instant::now());
        if let Some(session) = &session
            && !self.tokens.still_knows(&session.holder)
        {
            self.sessions.end(cookie);
            return Err(unauthenticated(
                "the token that began this session was taken back",
            ));
        }
        session.ok_or_else(|| unauthenticated("the session has ended"))
    }

    fn view(session: &Session) -> SessionView {
        SessionView {
            name: session.holder.name.to_string(),
            role: session.holder.role.name().to_owned(),
            csrf: session.csrf.clone(),
            expires: Time(Timestamp::now().plus(session.left(Instant::now()))),
        }
    }

    /// The `Set-Cookie` that a browser keeps for `seconds`.
    fn set_cookie(&self, value: &str, seconds: u64) -> Result<HeaderValue, Failure> {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}",
            self.cookie
        );
        HeaderValue::try_from(text)
            .map_err(|_| Failure::new(ErrorCode::Internal, "the cookie cannot be written"))
    }

    /// Begins a session for whoever shows a token. A page from elsewhere cannot: no browser lets it send the header.
    pub(super) fn begin(&self, headers: &HeaderMap) -> Result<Response, Failure> {
        let token = bearer(headers)?.ok_or_else(|| {
            Failure::new(
                ErrorCode::BadRequest,
                "a session begins with a token: `Authorization: Bearer …`",
            )
        })?;
        let holder: Holder = self
            .tokens
            .holder(token)
            .ok_or_else(|| unauthenticated("nobody knows this token"))?;
        tracing::info!(token = %holder.name, "a session begins");
        let (cookie, session) = self
            .sessions
            .begin(holder, Instant::now())
            .map_err(|error: io::Error| {
                tracing::error!(%error, "no session can begin: there is no randomness");
                Failure::new(
                    ErrorCode::Internal,
                    "no session can begin; the daemon's log says more",
                )
            })?;
        let cookie = self.set_cookie(&cookie, sessions::LONGEST.as_secs())?;
        Ok(([(SET_COOKIE, cookie)], Json(Self::view(&session))).into_response())
    }

    /// The caller's session.
    pub(super) fn present(&self, headers: &HeaderMap) -> Result<SessionView, Failure> {
        self.session(headers).map(|session| Self::view(&session))
    }

    /// Ends the caller's session.
    pub(super) fn end(&self, headers: &HeaderMap) -> Result<Response, Failure> {
        if let Some(cookie) = self.cookie(headers) {
            self.sessions.end(cookie);
        }
        let cookie = self.set_cookie("", 0)?;
        Ok((axum::http::StatusCode::NO_CONTENT, [(SET_COOKIE, cookie)]).into_response())
    }
}

/// Where sessions begin and end, which whoever may read may do.
const SESSION: &str = "/v1/session";

/// What is answered to anybody, because it says nothing that is secret.
fn is_open(method: &Method, path: &str) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
        && (matches!(path, "/" | "/healthz" | "/readyz") || path.starts_with("/assets/"))
}

fn unauthenticated(why: &str) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, why)
}

/// The token of an `Authorization` header; of another scheme than `Bearer`, none is known.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Failure> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let Some(first) = given.next() else {
        return Ok(None);
    };
    let token = first
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim_matches(' '));
    match (token, given.next()) {
        (Some(token), None) => Ok(Some(token)),
        _ => Err(unauthenticated("`Authorization` must say `Bearer` and a token")),
    }
}

/// Whether a request comes from a page of this host itself. Whether that page came over TLS is a proxy's matter.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    let (Some(origin), None) = (
        origins.next().and_then(|origin| origin.to_str().ok()),
        origins.next(),
    ) else {
        return false;
    };
    // Browsers leave the scheme's own port out of an origin, and some proxies write it into `Host`.
    [("https://", ":443"), ("http://", ":80")]
        .into_iter()
        .any(|(scheme, port)| {
            let host = host.strip_suffix(port).unwrap_or(host);
            origin
                .strip_prefix(scheme)
                .is_some_and(|origin| origin.eq_ignore_ascii_case(host))
        })
}

/// Lets in who may come in, and says on every answer what a browser must not do with it.
pub(super) async fn at_the_door(
    State(guard): State<Arc<Guard>>,
    mut request: Request,
    next: Next,
) -> Response {
    let mut response = match guard.admit(&request) {
        Ok(caller) => {
            if let Some(caller) = caller {
                request.extensions_mut().insert(caller);
            }
            request.extensions_mut().insert(guard);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    };
    let is_unauthenticated = response.status() == axum::http::StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    if is_unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"hem\""));
    }
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
        (
            HeaderName::from_static("cross-origin-opener-policy"),
            "same-origin",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The guard, for those addresses that are about sessions; over the Unix socket there are none.
pub(super) struct Door(pub(super) Arc<Guard>);

impl<S: Send + Sync> FromRequestParts<S> for Door {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        parts
            .extensions
            .get()
            .cloned()
            .map(Self)
            .ok_or_else(|| Failure::new(ErrorCode::NotFound, "there are no sessions over the Unix socket"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_that_of_a_host_with_or_without_the_port_of_its_scheme() {
        let is_own = |origin: &str, host: &str| {
            let origin = HeaderValue::try_from(origin).expect("a header");
            is_same_origin(&HeaderMap::from_iter([(ORIGIN, origin)]), host)
        };
        for (origin, host) in [
            ("https://hem.example.org", "hem.example.org"),
            ("https://hem.example.org", "hem.example.org:443"),
            ("http://hem.example.org", "HEM.example.org:80"),
            ("https://hem.example.org:8443", "hem.example.org:8443"),
            ("https://[::1]", "[::1]:443"),
        ] {
            assert!(is_own(origin, host), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://hem.example.org", "hem.example.org:443"),
            ("https://hem.example.org", "hem.example.org:80"),
            ("https://hem.example.org:8443", "hem.example.org"),
            ("https://evil.example.net", "hem.example.org:443"),
            ("hem.example.org", "hem.example.org"),
            ("null", "null"),
        ] {
            assert!(!is_own(origin, host), "{origin} {host}");
        }
    }
}
