//! What a request and its answer are, for those who know no HTTP library.

use std::borrow::Cow;
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use serde_json::{Value, json};

/// Answers requests.
pub trait Serve: Send + Sync + 'static {
    /// Looks at the head of a request before any of its body is read.
    ///
    /// # Errors
    /// The answer to a request that is not to be read any further.
    fn admit(&self, head: &Head) -> Result<(), Response>;

    /// Answers a request. It is carried out to its end, also when the sender goes away.
    fn answer(self: Arc<Self>, head: Head, body: Bytes) -> impl Future<Output = Response> + Send + 'static;

    /// What of a path may stand in the log: some paths carry a secret.
    fn shown<'a>(&self, path: &'a str) -> &'a str {
        path
    }

    /// Something came that is no request or did not become one, and why in a few words.
    fn broken(&self, why: &'static str);
}

/// The head of a request.
#[derive(Debug)]
pub struct Head {
    /// Names the request in the log and in the answer: what the sender wrote into `X-Request-Id`, or a new one.
    pub id: String,
    /// The address it came from.
    pub sender: IpAddr,
    /// The method, in capitals.
    pub method: String,
    /// The path, as it was sent.
    pub path: String,
    /// What stands behind the `?`.
    pub query: Option<String>,
    /// Whether a body follows.
    pub has_body: bool,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// All headers, their names in small letters.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }

    /// A header's value, of one that occurs several times all of them.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        let mut values = self
            .headers
            .get_all(name)
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()));
        let first = values.next()?;
        Some(values.fold(first, |all, more| Cow::Owned(format!("{all}, {more}"))))
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status: 202.
    pub status: u16,
    /// Further headers; their values are plain ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// The type of the body.
    pub content_type: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// An answer in JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "application/json",
            body: with_newline(body),
        }
    }

    /// What is wrong with a request, as problem details (RFC 9457). `reason` is for programs, `detail` for people.
    pub fn problem(status: u16, reason: &str, detail: &str) -> Self {
        let title = hyper::StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason())
            .unwrap_or("Unknown");
        let body = json!({
            "type": "about:blank",
            "title": title,
            "status": status,
            "detail": detail,
            "reason": reason,
        });
        Self {
            status,
            headers: Vec::new(),
            content_type: "application/problem+json",
            body: with_newline(&body),
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

fn with_newline(body: &Value) -> Bytes {
    format!("{body}\n").into()
}
