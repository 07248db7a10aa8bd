//! hem's own doings, as events: an execution ended, something was muted, a lane is blocked, a source is away, and
//! events may be missing.
//!
//! Hooks are triggered by them as by any other event. Each says everything about itself in its payload, a JSON object
//! whose `kind` tells what it is ([`document`](OwnEvent::document)); [`read`] takes it back from there, so that an own
//! event saved to a file is the event that it was.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::id::{ExecutionKey, HookName, Reference, Seq};
use super::payload::Payload;
use super::time::Timestamp;
use super::{Event, Facts, Gap, Kind, Subject};

/// The name of the source that own events come from; gaps come from the source that they are about.
pub const SOURCE: &str = "hem";

/// Something that hem did or noticed itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OwnEvent {
    /// An execution reached its end.
    Execution(ExecutionEnded),
    /// Executions are held or dropped from now on.
    Muted(Muted),
    /// An execution waits too long for another one of its lane.
    Blocked(Blocked),
    /// A source has been away for some time.
    SourceDown(SourceDown),
}

/// An execution reached its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionEnded {
    /// Which one.
    pub execution: ExecutionKey,
    /// Its place in the order of its lane, which is given anew each time it is reopened: together with the execution it
    /// names this end of it and no other.
    pub turn: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it was skipped or cancelled, where it was.
    pub reason: Option<String>,
    /// How many attempts were started in all.
    pub attempts: u32,
    /// What it was about: `vm/12`.
    pub about: Option<String>,
    /// The key of the event that caused it.
    pub event_key: String,
    /// Why the hook matched.
    pub why: String,
    /// How the last attempt ended, where one ended just now.
    pub last: Option<LastAttempt>,
    /// When.
    pub at: Timestamp,
}

/// How the attempt ended with which an execution reached its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastAttempt {
    /// The name of the outcome: `exited`, `signalled`, `timed_out` ….
    pub result: String,
    /// The exit status or the signal's number.
    pub code: Option<i32>,
    /// The last line it wrote, to its standard error rather than to its standard output.
    pub said: Option<String>,
}

/// The ends that an execution can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// An attempt succeeded.
    Succeeded,
    /// The attempts are used up.
    Failed,
    /// It never ran, by a policy.
    Skipped,
    /// It was cancelled.
    Cancelled,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Skipped, Self::Cancelled];

    /// The name in hook files, tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Executions are held or dropped from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Muted {
    /// Only of this hook.
    pub hook: Option<HookName>,
    /// Only for events of this source.
    pub source: Option<String>,
    /// Only about this subject.
    pub about: Option<String>,
    /// Who muted: a user's number (`uid 0`), or the policy that did.
    pub by: String,
    /// Why, in the words of whoever muted.
    pub reason: Option<String>,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When.
    pub at: Timestamp,
}

/// An execution waits too long for another one of its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The one that waits.
    pub waiting: ExecutionKey,
    /// The one that it waits for.
    pub behind: ExecutionKey,
    /// What the lane is about.
    pub about: Option<String>,
    /// Since when the other one runs or waits for its retry.
    pub since: Timestamp,
    /// When.
    pub at: Timestamp,
}

/// A source has been away for some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceDown {
    /// Its name.
    pub source: String,
    /// Since when.
    pub since: Timestamp,
    /// For how long, as asked for by a trigger.
    pub after: Duration,
    /// The last error of its connection.
    pub error: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl OwnEvent {
    /// The kind of event it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Execution(_) => Kind::Execution,
            Self::Muted(_) => Kind::Muted,
            Self::Blocked(_) => Kind::Blocked,
            Self::SourceDown(_) => Kind::SourceDown,
        }
    }

    /// The hook that it is about. It never triggers this one.
    pub const fn hook(&self) -> Option<&HookName> {
        match self {
            Self::Execution(ended) => Some(&ended.execution.hook),
            Self::Muted(muted) => muted.hook.as_ref(),
            Self::Blocked(blocked) => Some(&blocked.waiting.hook),
            Self::SourceDown(_) => None,
        }
    }

    /// The source that it is about.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::Execution(_) | Self::Blocked(_) => None,
            Self::Muted(muted) => muted.source.as_deref(),
            Self::SourceDown(down) => Some(&down.source),
        }
    }

    /// When it happened.
    pub const fn at(&self) -> Timestamp {
        match self {
            Self::Execution(ended) => ended.at,
            Self::Muted(muted) => muted.at,
            Self::Blocked(blocked) => blocked.at,
            Self::SourceDown(down) => down.at,
        }
    }

    /// What tells it from every other one. The same doing has the same identity however often it is told.
    pub fn identity(&self) -> String {
        match self {
            Self::Execution(ended) => format!("execution {} {}", ended.execution, ended.turn),
            Self::Muted(muted) => format!("muted {} {}", muted.at.as_millis(), self.object()),
            Self::Blocked(blocked) => {
                format!("blocked {} {}", blocked.waiting, blocked.since.as_millis())
            }
            Self::SourceDown(down) => format!(
                "source_down {} {} {}",
                down.source,
                down.since.as_millis(),
                down.after.as_millis()
            ),
        }
    }

    /// In a few words, for tables and records: `execution dns failed`.
    pub fn in_words(&self) -> String {
        match self {
            Self::Execution(ended) => format!("execution {} {}", ended.execution.hook, ended.outcome),
            Self::Muted(_) => format!("muted {}", self.object()),
            Self::Blocked(blocked) => format!("blocked {}", blocked.waiting.hook),
            Self::SourceDown(down) => format!("source_down {}", down.source),
        }
    }

    /// What is muted, in words.
    fn object(&self) -> String {
        let hook = self.hook().map(|hook| format!("hook {hook}"));
        let source = self.source().map(|source| format!("source {source}"));
        let about = match self {
            Self::Muted(muted) => muted.about.clone(),
            _ => None,
        };
        let parts: Vec<String> = hook.into_iter().chain(source).chain(about).collect();
        if parts.is_empty() {
            "everything".to_owned()
        } else {
            parts.join(" ")
        }
    }

    /// The lane's subject: the hook or the source it is about.
    pub fn subject(&self) -> Option<Subject> {
        let hook = self.hook().map(|hook| format!("hook/{hook}"));
        let source = || self.source().map(|source| format!("source/{source}"));
        hook.or_else(source).as_deref().map(Subject::new)
    }

    /// The event that says it.
    pub fn into_event(self) -> Event {
        Event {
            seq: Seq::default(),
            source: Arc::from(SOURCE),
            key: key(&self.in_words()),
            subject: self.subject(),
            received: self.at(),
            ambiguous: false,
            synthesised: true,
            payload: Payload::new(self.document().into()),
            facts: Facts::Own(self),
        }
    }

    /// All of it as one JSON object: the payload, and the form in which it is saved and stored.
    pub fn document(&self) -> String {
        Document::from(self).text()
    }
}

/// Keys begin with a word in capitals, as those of other sources do.
fn key(words: &str) -> String {
    match words.split_once(' ') {
        Some((first, rest)) => format!("{} {rest}", first.to_uppercase()),
        None => words.to_uppercase(),
    }
}

/// The JSON object that a gap says of itself.
pub(super) fn gap_document(gap: &Gap, source: &str) -> String {
    Document::Gap {
        source: source.to_owned(),
        from: gap.from.to_string(),
        to: gap.to.to_string(),
        why: gap.why.clone(),
        lost: gap.lost,
        keys: gap.keys.clone(),
        present: gap.present.clone(),
    }
    .text()
}

/// Whether a document could be one of hem's own events: those are JSON objects, and no controller's are.
pub fn is_own(document: &[u8]) -> bool {
    document.trim_ascii_start().starts_with(b"{")
}

/// The event that a document says, as it was when it was made; one that cannot be read is undecodable and says why.
pub fn read(document: &[u8]) -> Event {
    let read = serde_json::from_slice::<Document>(document)
        .map_err(|error| error.to_string())
        .and_then(Document::into_event);
    match read {
        // What is in the file beside the known fields is part of the payload.
        Ok(event) => Event {
            payload: Payload::new(document.to_vec().into()),
            ..event
        },
        Err(why) => Event {
            seq: Seq::default(),
            source: Arc::from(SOURCE),
            key: String::new(),
            subject: None,
            received: Timestamp::default(),
            facts: Facts::Undecodable {
                reason: format!("no event of hem's own: {why}"),
            },
            ambiguous: false,
            synthesised: true,
            payload: Payload::new(document.to_vec().into()),
        },
    }
}

/// The document's form. Fields are only ever added: hooks and saved files depend on them.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Document {
    Gap {
        source: String,
        from: String,
        to: String,
        why: String,
        #[serde(default)]
        lost: u64,
        #[serde(default)]
        keys: Vec<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        present: Vec<String>,
    },
    Execution {
        execution: String,
        hook: String,
        event: u64,
        #[serde(default)]
        turn: u64,
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default)]
        attempts: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        #[serde(default)]
        key: String,
        #[serde(default)]
        why: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        result: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        said: Option<String>,
        at: String,
    },
    Muted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hook: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        source: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<String>,
        at: String,
    },
    Blocked {
        hook: String,
        waiting: String,
        behind: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subject: Option<String>,
        since: String,
        at: String,
    },
    SourceDown {
        source: String,
        since: String,
        after_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        at: String,
    },
}

impl From<&OwnEvent> for Document {
    fn from(own: &OwnEvent) -> Self {
        match own {
            OwnEvent::Execution(ended) => Self::Execution {
                execution: ended.execution.to_string(),
                hook: ended.execution.hook.to_string(),
                event: ended.execution.event.0,
                turn: ended.turn,
                outcome: ended.outcome,
                reason: ended.reason.clone(),
                attempts: ended.attempts,
                subject: ended.about.clone(),
                key: ended.event_key.clone(),
                why: ended.why.clone(),
                result: ended.last.as_ref().map(|last| last.result.clone()),
                code: ended.last.as_ref().and_then(|last| last.code),
                said: ended.last.as_ref().and_then(|last| last.said.clone()),
                at: ended.at.to_string(),
            },
            OwnEvent::Muted(muted) => Self::Muted {
                hook: muted.hook.as_ref().map(ToString::to_string),
                source: muted.source.clone(),
                subject: muted.about.clone(),
                by: muted.by.clone(),
                reason: muted.reason.clone(),
                until: muted.until.as_ref().map(ToString::to_string),
                at: muted.at.to_string(),
            },
            OwnEvent::Blocked(blocked) => Self::Blocked {
                hook: blocked.waiting.hook.to_string(),
                waiting: blocked.waiting.to_string(),
                behind: blocked.behind.to_string(),
                subject: blocked.about.clone(),
                since: blocked.since.to_string(),
                at: blocked.at.to_string(),
            },
            OwnEvent::SourceDown(down) => Self::SourceDown {
                source: down.source.clone(),
                since: down.since.to_string(),
                after_ms: u64::try_from(down.after.as_millis()).unwrap_or(u64::MAX),
                error: down.error.clone(),
                at: down.at.to_string(),
            },
        }
    }
}

impl Document {
    fn text(&self) -> String {
        // Plain data with texts for keys: there is nothing that could fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn into_event(self) -> Result<Event, String> {
        let own = match self {
            Self::Gap {
                source,
                from,
                to,
                why,
                lost,
                keys,
                present,
            } => {
                let gap = Gap {
                    from: time(&from)?,
                    to: time(&to)?,
                    why,
                    lost,
                    keys,
                    present,
                };
                return Ok(gap.into_event(source.into()));
            }
            Self::Execution {
                execution,
                turn,
                outcome,
                reason,
                attempts,
                subject,
                key,
                why,
                result,
                code,
                said,
                at,
                // Both are in `execution`.
                hook: _,
                event: _,
            } => OwnEvent::Execution(ExecutionEnded {
                execution: execution_key(&execution)?,
                turn,
                outcome,
                reason,
                attempts,
                about: subject,
                event_key: key,
                why,
                last: result.map(|result| LastAttempt { result, code, said }),
                at: time(&at)?,
            }),
            Self::Muted {
                hook,
                source,
                subject,
                by,
                reason,
                until,
                at,
            } => OwnEvent::Muted(Muted {
                hook: hook.as_deref().map(HookName::trusted),
                source,
                about: subject,
                by,
                reason,
                until: until.as_deref().map(time).transpose()?,
                at: time(&at)?,
            }),
            Self::Blocked {
                waiting,
                behind,
                subject,
                since,
                at,
                // It is in `waiting`.
                hook: _,
            } => OwnEvent::Blocked(Blocked {
                waiting: execution_key(&waiting)?,
                behind: execution_key(&behind)?,
                about: subject,
                since: time(&since)?,
                at: time(&at)?,
            }),
            Self::SourceDown {
                source,
                since,
                after_ms,
                error,
                at,
            } => OwnEvent::SourceDown(SourceDown {
                source,
                since: time(&since)?,
                after: Duration::from_millis(after_ms),
                error,
                at: time(&at)?,
            }),
        };
        Ok(own.into_event())
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::from_str(text).map_err(|error| error.to_string())
}

fn execution_key(text: &str) -> Result<ExecutionKey, String> {
    match text.parse() {
        Ok(Reference::Execution(_, key)) => Ok(key),
        _ => Err(format!("`{text}` is no execution, such as `1042.vm-running`")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn all() -> Vec<OwnEvent> {
        let key = |seq| ExecutionKey::new(Seq(seq), HookName::trusted("dns"));
        vec![
            OwnEvent::Execution(ExecutionEnded {
                execution: key(1042),
                turn: 7,
                outcome: Outcome::Failed,
                reason: None,
                attempts: 3,
                about: Some("vm/12".to_owned()),
                event_key: "EVENT STATE VM/ACTIVE/RUNNING/12 ".to_owned(),
                why: "state VM ACTIVE/RUNNING".to_owned(),
                last: Some(LastAttempt {
                    result: "exited".to_owned(),
                    code: Some(3),
                    said: Some("dns: refused".to_owned()),
                }),
                at: at(1_795_313_403_120),
            }),
            OwnEvent::Muted(Muted {
                hook: None,
                source: Some("zone1".to_owned()),
                about: None,
                by: "uid 0".to_owned(),
                reason: Some("maintenance".to_owned()),
                until: Some(at(1_795_320_000_000)),
                at: at(1_795_313_403_120),
            }),
            OwnEvent::Blocked(Blocked {
                waiting: key(1044),
                behind: key(1042),
                about: None,
                since: at(0),
                at: at(600_000),
            }),
            OwnEvent::SourceDown(SourceDown {
                source: "zone1".to_owned(),
                since: at(0),
                after: Duration::from_secs(60),
                error: Some("refused".to_owned()),
                at: at(60_000),
            }),
        ]
    }

    #[test]
    fn what_is_saved_is_what_it_was() {
        for own in all() {
            let event = own.clone().into_event();
            let again = read(event.payload.bytes());
            assert_eq!(again.facts, Facts::Own(own));
            assert_eq!(again.key, event.key);
            assert_eq!(again.subject, event.subject);
            assert_eq!(again.received, event.received);
            assert_eq!(again.source, event.source);
            assert_eq!(event.payload.tree()["kind"], event.kind().as_str());
        }
        let gap = Gap {
            from: at(1),
            to: at(2),
            why: "away".to_owned(),
            lost: 3,
            keys: vec!["EVENT".to_owned()],
            present: vec!["t1/d1".to_owned()],
        };
        let again = read(gap.clone().into_event("zone1".into()).payload.bytes());
        assert_eq!(again.facts, Facts::Gap(gap));
        assert_eq!(&*again.source, "zone1");
    }

    #[test]
    fn keys_and_subjects_say_what_it_is_about() {
        let said: Vec<_> = all()
            .into_iter()
            .map(|own| {
                let event = own.into_event();
                (event.key, event.subject.map(|subject| subject.to_string()))
            })
            .collect();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            said,
            [
                ("EXECUTION dns failed".to_owned(), some("hook/dns")),
                ("MUTED source zone1".to_owned(), some("source/zone1")),
                ("BLOCKED dns".to_owned(), some("hook/dns")),
                ("SOURCE_DOWN zone1".to_owned(), some("source/zone1")),
            ]
        );
    }

    #[test]
    fn a_document_that_says_nothing_is_undecodable_and_says_why() {
        for (document, why) in [
            ("{}", "kind"),
            (r#"{"kind":"execution"}"#, "missing field"),
            (
                r#"{"kind":"blocked","hook":"a","waiting":"x","behind":"1.a","since":"2026-11-22T02:10:03Z","at":"2026-11-22T02:10:03Z"}"#,
                "`x` is no execution",
            ),
            (
                r#"{"kind":"gap","source":"a","from":"noon","to":"noon","why":""}"#,
                "noon",
            ),
        ] {
            let Facts::Undecodable { reason } = read(document.as_bytes()).facts else {
                panic!("{document}")
            };
            assert!(reason.contains(why), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn no_document_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in r#"\{"kind":"(gap|execution|muted|blocked|source_down)".{0,80}\}"#) {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }
}
