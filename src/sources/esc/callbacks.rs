//! Which callbacks are taken, and what becomes of one that is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;

use crate::config::esc::Callbacks;
use crate::engine::intake::{Intake, NotAccepted, NotKept};
use crate::engine::records::Records;
use crate::event::esc::{CallbackHeaders, Fault, read_callback};
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::webhook::Form;
use crate::event::{Event, Facts};
use crate::listener::{Head, Response, Serve};
use crate::repeats::Repeats;
use crate::secrets::{Keyring, SecretError};
use crate::sources::deliveries::{Claim, Deliveries};
use crate::sources::esc::arrived;
use crate::sources::refusal::Refusal;
use crate::sources::senders::{bearer, cut, is_of_a_page, read_body};

/// Longer types are cut in what is said of them.
const LONGEST_TYPE: usize = 256;

/// Who may send, with the secrets.
#[derive(Debug)]
pub(super) struct Access {
    rules: Callbacks,
    tokens: Option<Keyring>,
}

impl Access {
    /// Reads the tokens; `redaction` hides them.
    pub(super) fn build(rules: &Callbacks, redaction: &Redaction) -> Result<Self, SecretError> {
        Ok(Self {
            tokens: rules
                .token
                .as_ref()
                .map(|token| Keyring::read(&token.secrets, redaction))
                .transpose()?,
            rules: rules.clone(),
        })
    }

    pub(super) fn path(&self) -> &str {
        &self.rules.path
    }

    /// Reads the tokens again whose files changed.
    pub(super) fn look_at_secrets(&self) {
        if let Some(tokens) = &self.tokens {
            tokens.look();
        }
    }

    /// What can be said of a callback before its body is read.
    fn admit(&self, head: &Head) -> Result<(), Refusal> {
        let given = self.token_at(&head.path).ok_or(Refusal::Path)?;
        if head.method != "POST" {
            return Err(Refusal::Method("POST".to_owned()));
        }
        let addresses = &self.rules.addresses;
        if !addresses.is_empty() && !addresses.iter().any(|list| list.contains(head.sender)) {
            return Err(Refusal::Address);
        }
        let (Some(rules), Some(known)) = (&self.rules.token, &self.tokens) else {
            return if is_of_a_page(head) {
                Err(Refusal::Page)
            } else {
                Ok(())
            };
        };
        let is_known = match rules.header.as_deref() {
            None => known.holds(given.as_bytes()),
            Some(name) => head.header(name).is_some_and(|value| match name {
                "authorization" => bearer(&value).is_some_and(|token| known.holds(token.as_bytes())),
                _ => known.holds(value.as_bytes()),
            }),
        };
        if is_known {
            Ok(())
        } else {
            Err(Refusal::Token {
                bearer: rules.header.as_deref() == Some("authorization"),
            })
        }
    }

    /// What may be said of a path at which nothing is taken. A mistyped one may hold a token too, at any place: where tokens stand in
    /// paths, only what is known already is said.
    fn shown_of_unknown<'a>(&self, path: &'a str) -> &'a str {
        let is_in_path = self
            .rules
            .token
            .as_ref()
            .is_some_and(|token| token.header.is_none());
        let first = first_segment(path);
        if !is_in_path {
            path
        } else if first.eq_ignore_ascii_case(first_segment(&self.rules.path)) {
            first
        } else {
            "/"
        }
    }

    /// What stands where the token of a callback belongs, which may be nothing; none for a path of something else.
    fn token_at<'a>(&self, path: &'a str) -> Option<&'a str> {
        let own = self.rules.path.as_str();
        let is_in_path = self
            .rules
            .token
            .as_ref()
            .is_some_and(|token| token.header.is_none());
        if path == own {
            return Some("");
        }
        let behind = path.strip_prefix(own.trim_end_matches('/'))?.strip_prefix('/')?;
        is_in_path.then_some(behind)
    }
}

/// The first segment of a path, with the `/` before it.
fn first_segment(path: &str) -> &str {
    let end = path
        .get(1..)
        .and_then(|rest| rest.find('/'))
        .map_or(path.len(), |at| at + 1);
    &path[..end]
}

/// Why a callback is no event of ESC that can be read. It is kept all the same.
#[derive(Debug, thiserror::Error)]
enum Unreadable {
    #[error(
        "a body of the type `{0}` is not read; callbacks are application/xml or application/json, in UTF-8 and not compressed"
    )]
    Type(String),
    #[error("{0}")]
    Body(Fault),
    #[error("the body is neither XML nor JSON")]
    Unknown,
}

impl Unreadable {
    fn response(&self, event: &str) -> Response {
        let (status, reason) = match self {
            Self::Type(_) => (415, "type"),
            Self::Body(_) | Self::Unknown => (400, "body"),
        };
        Response::problem(status, reason, &format!("{self}; it is kept as event {event}"))
    }
}

/// What a callback says it is, and where it says nothing or the other of the two, what it looks like.
fn form(head: &Head, body: &[u8]) -> Result<Form, Unreadable> {
    let header = |name: &str| head.header(name).unwrap_or_default();
    let (encoding, content_type) = (header("content-encoding"), header("content-type"));
    if !encoding.is_empty() && !encoding.eq_ignore_ascii_case("identity") {
        return Err(Unreadable::Type(cut(&encoding, LONGEST_TYPE)));
    }
    let said = match Form::of_type(&content_type) {
        Some(form @ (Form::Json | Form::Xml)) if is_utf8(&content_type) => Some(form),
        None if content_type.trim().is_empty() => None,
        _ => return Err(Unreadable::Type(cut(&content_type, LONGEST_TYPE))),
    };
    Form::by_content(body).or(said).ok_or(Unreadable::Unknown)
}

/// Whether a `Content-Type` speaks of UTF-8, of which ASCII is a part, or of no character set at all.
fn is_utf8(content_type: &str) -> bool {
    content_type.split(';').skip(1).all(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let value = value.trim().trim_matches('"').to_ascii_lowercase();
        !name.trim().eq_ignore_ascii_case("charset")
            || matches!(value.as_str(), "utf-8" | "utf8" | "us-ascii")
    })
}

/// A callback that was read, or not.
struct Read {
    event: Event,
    delivery: Option<String>,
    unreadable: Option<Unreadable>,
}

fn read(source: &str, names_source: bool, head: &Head, body: Bytes) -> Read {
    let headers = CallbackHeaders::of(head.headers());
    let transaction = headers.transaction.clone();
    let found =
        form(head, &body).and_then(|form| read_callback(form, &body, headers).map_err(Unreadable::Body));
    let event =
        |key, subject, facts, payload| arrived(source.into(), names_source, key, subject, facts, payload);
    match found {
        Ok((mut esc, tree)) => {
            esc.sender = Some(head.sender.to_string());
            esc.request = Some(head.id.clone());
            let delivery = esc.delivery.clone();
            let (key, subject) = (esc.key(), esc.subject());
            let payload = Payload::with_tree(body, tree);
            Read {
                event: event(key, subject, Facts::Esc(Box::new(esc)), payload),
                delivery,
                unreadable: None,
            }
        }
        Err(unreadable) => {
            let transaction = transaction.map_or(String::new(), |id| format!(" of the transaction {id}"));
            let reason = format!("a callback{transaction} cannot be read: {unreadable}");
            Read {
                event: event(
                    "ESC".to_owned(),
                    None,
                    Facts::Undecodable { reason },
                    Payload::new(body),
                ),
                delivery: None,
                unreadable: Some(unreadable),
            }
        }
    }
}

/// Where callbacks come in.
pub(super) struct Door {
    source: String,
    names_source: bool,
    access: Arc<Access>,
    deliveries: Deliveries,
    intake: Intake,
    records: Records,
    log: Mutex<Repeats>,
}

impl Door {
    pub(super) fn new(
        source: String,
        names_source: bool,
        access: Arc<Access>,
        deliveries: Deliveries,
        intake: Intake,
        records: Records,
    ) -> Self {
        Self {
            source,
            names_source,
            access,
            deliveries,
            intake,
            records,
            log: Mutex::default(),
        }
    }

    fn warn(&self, about: &str, head: &Head, why: &str, what: &'static str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(repeats) = log.allows(about, Instant::now()) {
            tracing::warn!(
                source = self.source, request = head.id, sender = %head.sender, path = self.shown(&head.path), repeats,
                why, "{what}"
            );
        }
    }

    fn refuse(&self, head: &Head, refusal: &Refusal) -> Response {
        if let Some(reason) = refusal.counted_as() {
            self.intake.not_kept(NotKept::Refused(reason));
        }
        self.warn(
            refusal.reason(),
            head,
            &refusal.detail(),
            "a callback was refused",
        );
        refusal.response()
    }

    async fn take(&self, head: &Arc<Head>, body: Bytes) -> Result<Response, NotAccepted> {
        let Read {
            event,
            delivery,
            unreadable,
        } = self.read(head, body).await?;
        let ticket = match &delivery {
            None => None,
            Some(delivery) => match self.deliveries.claim(delivery).await {
                Claim::New(ticket) => Some(ticket),
                Claim::Known(event) => {
                    self.intake.not_kept(NotKept::Duplicate);
                    return Ok(self.told(event, "duplicate"));
                }
            },
        };
        let accepted = self.intake.deliver(event).await?;
        if let Some(ticket) = ticket {
            ticket.accepted(accepted.seq);
        }
        let Some(unreadable) = unreadable else {
            return Ok(self.told(accepted.seq, "accepted"));
        };
        let response = unreadable.response(&self.records.event_id(accepted.seq));
        self.warn(
            "unreadable",
            head,
            &unreadable.to_string(),
            "a callback cannot be read",
        );
        Ok(response)
    }

    async fn read(&self, head: &Arc<Head>, body: Bytes) -> Result<Read, NotAccepted> {
        let (source, names_source, head) = (self.source.clone(), self.names_source, Arc::clone(head));
        read_body(body.len(), move || read(&source, names_source, &head, body))
            .await
            .ok_or(NotAccepted::Stopping)
    }

    fn told(&self, event: Seq, status: &str) -> Response {
        let event = self.records.event_id(event);
        Response::json(200, &json!({ "event": event, "status": status }))
    }
}

impl Serve for Door {
    fn admit(&self, head: &Head) -> Result<(), Response> {
        self.access
            .admit(head)
            .map_err(|refusal| self.refuse(head, &refusal))
    }

    async fn answer(self: Arc<Self>, head: Head, body: Bytes) -> Response {
        let head = Arc::new(head);
        match self.take(&head, body).await {
            Ok(response) => response,
            Err(not_now) => self.refuse(&head, &Refusal::NotNow(not_now)),
        }
    }

    fn shown<'a>(&self, path: &'a str) -> &'a str {
        // Behind the own path stands a token, or what was to be one.
        match self.access.token_at(path) {
            Some(token) => path[..path.len() - token.len()].trim_end_matches('/'),
            None => self.access.shown_of_unknown(path),
        }
    }

    fn broken(&self, why: &'static str) {
        self.intake.not_kept(NotKept::Refused(why));
    }
}
