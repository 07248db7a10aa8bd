//! Why a request is not taken, for its sender, for the log and for the counters.

use crate::engine::intake::NotAccepted;
use crate::event::webhook::BodyFault;
use crate::listener::Response;

/// A sender that is told to come again shall wait so many seconds.
const COME_AGAIN: &str = "10";

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No endpoint has this path.
    Path,
    /// The endpoint does not take this method, but those.
    Method(String),
    /// It comes from an address that is not on the list.
    Address,
    /// A browser sends it for a page, and the endpoint does not know its senders.
    Page,
    /// It is for a name that may be anybody's, and a page could have had it lead here.
    Host,
    /// It carries no token, or a wrong one; whether `Authorization` would have to hold it.
    Token { bearer: bool },
    /// It is not signed, or not with a secret that is known.
    Signature,
    /// The body is none of the kinds that are read.
    Type(String),
    /// The body is not what it is said to be.
    Body(BodyFault),
    /// It cannot be accepted now.
    NotNow(NotAccepted),
}

impl Refusal {
    /// The reason under which it is counted; none where that was done where it was found.
    pub(super) const fn counted_as(&self) -> Option<&'static str> {
        match self {
            Self::NotNow(_) => None,
            _ => Some(self.reason()),
        }
    }

    /// The reason in a few words, for programs.
    pub(super) const fn reason(&self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Method(_) => "method",
            Self::Address => "address",
            Self::Page => "browser",
            Self::Host => "host",
            Self::Token { .. } => "token",
            Self::Signature => "signature",
            Self::Type(_) => "type",
            Self::Body(_) => "body",
            Self::NotNow(why) => why.reason(),
        }
    }

    /// The same as a sentence for the sender. It tells nothing that would help to guess.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Path => "nothing is taken at this path".to_owned(),
            Self::Method(methods) => format!("only {methods} is taken here"),
            Self::Address => "requests from this address are not taken".to_owned(),
            Self::Page => "requests that a page in a browser sends are not taken".to_owned(),
            Self::Host => {
                "without a secret, a GET is only taken for `localhost` or a loopback address".to_owned()
            }
            Self::Token { .. } => "the token is missing or wrong".to_owned(),
            Self::Signature => "the signature is missing or wrong".to_owned(),
            Self::Type(found) => format!(
                "a body of the type `{found}` is not read; send application/json, application/x-www-form-urlencoded or application/xml, \
                 not compressed"
            ),
            Self::Body(fault) => fault.to_string(),
            Self::NotNow(why) => format!("nothing is accepted at present: {why}"),
        }
    }

    const fn status(&self) -> u16 {
        match self {
            Self::Path => 404,
            Self::Method(_) => 405,
            Self::Host => 421,
            Self::Address | Self::Page => 403,
            Self::Token { .. } | Self::Signature => 401,
            Self::Type(_) => 415,
            Self::Body(_) => 400,
            Self::NotNow(_) => 503,
        }
    }

    pub(super) fn response(&self) -> Response {
        let response = Response::problem(self.status(), self.reason(), &self.detail());
        match self {
            Self::Method(methods) => response.with("allow", methods),
            Self::Token { bearer: true } => response.with("www-authenticate", "Bearer"),
            // A 401 has to name a way to do better (RFC 9110).
            Self::Token { bearer: false } => response.with("www-authenticate", "Token"),
            Self::Signature => response.with("www-authenticate", "Signature"),
            Self::NotNow(_) => response.with("retry-after", COME_AGAIN),
            _ => response,
        }
    }
}
