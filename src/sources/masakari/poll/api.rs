//! Another Masakari, asked as its own tools ask it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::ledger::UNFINISHED_KEPT;
use crate::config::masakari::poll::{MasakariPoll, PollAuth};
use crate::event::redaction::Redaction;
use crate::http_client::{Answer, AskError, Client, Limits, Question};
use crate::keystone::{KeystoneError, Session};
use crate::secrets::{Keyring, Secret};
use crate::sources::BuildError;

/// Masakari waits up to a minute for others of its own.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(5),
    whole: Duration::from_secs(70),
    answer: 16 << 20,
};

/// Entries asked for at once. A Masakari may be set to give fewer.
pub(super) const PAGE: usize = 200;

/// So many of one list are held at once, the last: no more notifications than that are watched.
const MOST_HELD: usize = UNFINISHED_KEPT;

/// Why it cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// It does not answer.
    #[error("the Masakari gives no answer")]
    Ask(#[source] AskError),
    /// Keystone gives no token.
    #[error("there is no token for the Masakari")]
    Keystone(#[source] KeystoneError),
    /// It refuses.
    #[error("the Masakari answers `{target}` with status {status}: {message}")]
    Status {
        /// What was asked.
        target: String,
        /// The status.
        status: u16,
        /// Its words, shortened.
        message: String,
    },
    /// The answer is none of Masakari.
    #[error("the answer of the Masakari to `{target}` cannot be read")]
    Unreadable {
        /// What was asked.
        target: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A page does not go on behind the one before, so there would be no end.
    #[error("the Masakari lists without end: it does not go on behind the `marker` that `{target}` asks for")]
    Endless {
        /// What was asked.
        target: String,
    },
}

/// What has a number, by which lists go on.
pub(super) trait Numbered {
    /// Its number.
    fn id(&self) -> u64;
}

/// A notification as it is told: what hem needs of it, and all of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub(super) struct Told {
    pub(super) id: u64,
    pub(super) uuid: String,
    pub(super) kind: String,
    pub(super) status: String,
    pub(super) generated_time: String,
    pub(super) created_at: String,
    pub(super) host_uuid: Option<String>,
    pub(super) segment_uuid: Option<String>,
    pub(super) payload: BTreeMap<String, Value>,
    /// The object, as it came.
    pub(super) whole: Map<String, Value>,
}

#[derive(Deserialize)]
struct Fields {
    id: u64,
    notification_uuid: String,
    #[serde(rename = "type")]
    kind: String,
    status: String,
    generated_time: String,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    source_host_uuid: Option<String>,
    #[serde(default)]
    failover_segment_uuid: Option<String>,
    payload: BTreeMap<String, Value>,
}

impl Numbered for Told {
    fn id(&self) -> u64 {
        self.id
    }
}

impl TryFrom<Map<String, Value>> for Told {
    type Error = serde_json::Error;

    fn try_from(whole: Map<String, Value>) -> Result<Self, serde_json::Error> {
        let fields: Fields = serde_json::from_value(Value::Object(whole.clone()))?;
        Ok(Self {
            id: fields.id,
            uuid: fields.notification_uuid,
            kind: fields.kind,
            status: fields.status,
            generated_time: fields.generated_time,
            created_at: fields.created_at.unwrap_or_default(),
            host_uuid: fields.source_host_uuid,
            segment_uuid: fields.failover_segment_uuid,
            payload: fields.payload,
            whole,
        })
    }
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(rename = "notifications", alias = "segments", alias = "hosts")]
    rows: Vec<T>,
}

#[derive(Deserialize)]
struct Notification {
    notification: Told,
}

#[derive(Deserialize)]
struct Segment {
    id: u64,
    uuid: String,
}

impl Numbered for Segment {
    fn id(&self) -> u64 {
        self.id
    }
}

#[derive(Deserialize)]
struct Host {
    id: u64,
    uuid: String,
    name: String,
}

impl Numbered for Host {
    fn id(&self) -> u64 {
        self.id
    }
}

/// A list by number, and how far it was read.
#[derive(Debug)]
pub(super) struct Pages {
    target: String,
    after: Option<u64>,
}

impl Pages {
    fn of(list: &str) -> Self {
        Self {
            target: format!("{list}?sort_key=id&sort_dir=asc&limit={PAGE}"),
            after: None,
        }
    }

    /// All notifications behind the one with this number; from the first without it.
    pub(super) fn of_notifications(after: Option<u64>) -> Self {
        Self {
            after,
            ..Self::of("/notifications")
        }
    }
}

/// Who hem is to it.
enum Credentials {
    None,
    HttpBasic { username: String, password: Keyring },
    Token(Keyring),
    Keystone(Box<Session>),
}

/// Another Masakari.
pub(super) struct Api {
    client: Client,
    credentials: Credentials,
}

impl Api {
    /// Reads the secrets that it needs; nothing is asked yet.
    pub(super) fn build(config: &MasakariPoll, redaction: &Redaction) -> Result<Self, BuildError> {
        let keyring =
            |place| Keyring::read(std::slice::from_ref(place), redaction).map_err(BuildError::Secret);
        Ok(Self {
            client: Client::new(&config.endpoint, config.ca_file.as_deref(), LIMITS)
                .map_err(BuildError::Trust)?,
            credentials: match &config.auth {
                PollAuth::None => Credentials::None,
                PollAuth::HttpBasic { username, password } => Credentials::HttpBasic {
                    username: username.clone(),
                    password: keyring(password)?,
                },
                PollAuth::Token(token) => Credentials::Token(keyring(token)?),
                PollAuth::Keystone(keystone) => {
                    let session = Session::new(keystone, redaction).map_err(BuildError::Keystone)?;
                    Credentials::Keystone(Box::new(session))
                }
            },
        })
    }

    /// The newest notifications, newest first: one page of them.
    pub(super) async fn newest(&self) -> Result<Vec<Told>, ApiError> {
        let target = format!("/notifications?sort_key=id&sort_dir=desc&limit={PAGE}");
        let list: List<Told> = self.get(&target).await?;
        Ok(list.rows)
    }

    /// The next page of a list; none behind its end.
    pub(super) async fn next<T>(&self, pages: &mut Pages) -> Result<Option<Vec<T>>, ApiError>
    where
        T: Numbered + DeserializeOwned,
    {
        let marker = pages.after.map(|id| format!("&marker={id}"));
        let target = format!("{}{}", pages.target, marker.unwrap_or_default());
        let list: List<T> = self.get(&target).await?;
        let Some(last) = list.rows.last().map(Numbered::id) else {
            return Ok(None);
        };
        if pages.after.is_some_and(|after| last <= after) {
            return Err(ApiError::Endless { target });
        }
        pages.after = Some(last);
        Ok(Some(list.rows))
    }

    /// A whole list, or the last [`MOST_HELD`] of it.
    async fn all<T>(&self, mut pages: Pages) -> Result<Vec<T>, ApiError>
    where
        T: Numbered + DeserializeOwned,
    {
        let mut all: Vec<T> = Vec::new();
        loop {
            match self.next(&mut pages).await {
                Ok(Some(page)) => all.extend(page),
                Ok(None) => return Ok(all),
                // The last one of the page before has been removed.
                Err(ApiError::Status { status: 400, .. }) if pages.after.is_some() => return Ok(all),
                Err(error) => return Err(error),
            }
            all.drain(..all.len().saturating_sub(MOST_HELD));
        }
    }

    /// All notifications with this status, or the newest of them.
    pub(super) async fn with_status(&self, status: &str) -> Result<Vec<Told>, ApiError> {
        let mut pages = Pages::of("/notifications");
        pages.target.push_str(&format!("&status={status}"));
        self.all(pages).await
    }

    /// One notification; none where there is none.
    pub(super) async fn notification(&self, uuid: &str) -> Result<Option<Told>, ApiError> {
        let found: Result<Notification, _> = self.get(&format!("/notifications/{uuid}")).await;
        match found {
            Ok(found) => Ok(Some(found.notification)),
            Err(ApiError::Status { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The names of all hosts, by their UUIDs.
    pub(super) async fn hosts(&self) -> Result<HashMap<String, String>, ApiError> {
        let mut names = HashMap::new();
        let segments: Vec<Segment> = self.all(Pages::of("/segments")).await?;
        for segment in segments {
            let hosts = Pages::of(&format!("/segments/{}/hosts", segment.uuid));
            let hosts: Vec<Host> = match self.all(hosts).await {
                // The segment has been removed since.
                Err(ApiError::Status { status: 404, .. }) => continue,
                hosts => hosts?,
            };
            names.extend(hosts.into_iter().map(|host| (host.uuid, host.name)));
        }
        Ok(names)
    }

    /// Reads secrets again whose files changed.
    pub(super) fn look_at_secrets(&self) {
        match &self.credentials {
            Credentials::HttpBasic { password, .. } => password.look(),
            Credentials::Token(token) => token.look(),
            Credentials::None | Credentials::Keystone(_) => {}
        }
    }

    async fn get<T: DeserializeOwned>(&self, target: &str) -> Result<T, ApiError> {
        let answer = match &self.credentials {
            Credentials::None => self.ask(target, None).await?,
            Credentials::HttpBasic { username, password } => {
                let credentials = format!("{username}:{}", text(password));
                let basic = format!("Basic {}", STANDARD.encode(credentials));
                self.ask(target, Some(("authorization", &basic))).await?
            }
            Credentials::Token(token) => {
                let token = text(token);
                self.ask(target, Some(("x-auth-token", &token))).await?
            }
            Credentials::Keystone(session) => {
                let token = session.token().await.map_err(ApiError::Keystone)?;
                let answer = self.ask(target, Some(("x-auth-token", &token))).await?;
                if answer.status == 401 {
                    // The token may have ended before its time; a new one shows whether that was it.
                    session.give_up(&token).await;
                    let token = session.token().await.map_err(ApiError::Keystone)?;
                    self.ask(target, Some(("x-auth-token", &token))).await?
                } else {
                    answer
                }
            }
        };
        if answer.status != 200 {
            return Err(ApiError::Status {
                target: target.to_owned(),
                status: answer.status,
                message: words(&answer.body),
            });
        }
        serde_json::from_slice(&answer.body).map_err(|source| ApiError::Unreadable {
            target: target.to_owned(),
            source,
        })
    }

    async fn ask(&self, target: &str, credentials: Option<(&'static str, &str)>) -> Result<Answer, ApiError> {
        let accept = ("accept", "application/json");
        let headers: Vec<_> = [accept].into_iter().chain(credentials).collect();
        let question = Question {
            method: "GET",
            target,
            headers: &headers,
            ..Question::default()
        };
        self.client.ask(&question).await.map_err(ApiError::Ask)
    }
}

fn text(keyring: &Keyring) -> String {
    let secret = keyring.first();
    let bytes = secret.as_ref().map_or(&[][..], Secret::bytes);
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a fault says: the message of one of Masakari's or of Keystone's, or the beginning of whatever came.
fn words(body: &[u8]) -> String {
    let message = serde_json::from_slice::<Value>(body).ok().and_then(|fault| {
        let said = fault.as_object()?.values().next()?;
        said.get("message")?.as_str().map(str::to_owned)
    });
    let text = message.map_or_else(|| String::from_utf8_lossy(body), Cow::Owned);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn told(value: Value) -> Result<Told, serde_json::Error> {
        match value {
            Value::Object(whole) => Told::try_from(whole),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_notification_is_read_whether_or_not_it_has_the_newer_fields() {
        let mut value = json!({
            "id": 7, "notification_uuid": "3d54", "type": "VM", "status": "running", "payload": {"event": "LIFECYCLE"},
            "generated_time": "2026-11-21T23:00:00.000000", "source_host_uuid": "b1b2", "created_at": "2026-11-21T23:00:01.000000",
            "failover_segment_uuid": "a1b2", "message": null, "deleted": false,
        });
        let newer = told(value.clone()).expect("a notification");
        assert_eq!((newer.id, newer.status.as_str()), (7, "running"));
        assert_eq!(newer.segment_uuid.as_deref(), Some("a1b2"));
        assert!(newer.whole.contains_key("deleted"));
        let fields = value.as_object_mut().expect("an object");
        fields.remove("failover_segment_uuid");
        fields.remove("created_at");
        let older = told(value.clone()).expect("a notification");
        assert_eq!((older.segment_uuid, older.created_at.as_str()), (None, ""));
        value.as_object_mut().expect("an object").remove("status");
        assert!(told(value).is_err());
    }

    #[test]
    fn a_fault_is_told_in_its_own_words_and_shortened() {
        let masakari = br#"{"itemNotFound": {"code": 404, "message": "No notification with id 1."}}"#;
        assert_eq!(words(masakari), "No notification with id 1.");
        assert_eq!(words(b"<html>\n <head>\n"), "<html> <head>");
        assert_eq!(words("x".repeat(1000).as_bytes()).len(), 200);
    }

    proptest! {
        #[test]
        fn no_answer_makes_a_reader_panic(body in "\\PC{0,60}", id: i64, payload in "\\PC{0,10}") {
            let _ = words(body.as_bytes());
            let _ = serde_json::from_str::<List<Told>>(&body);
            let _ = told(json!({"id": id, "notification_uuid": body, "type": "VM", "status": "new", "generated_time": "", "payload": payload}));
        }
    }
}
