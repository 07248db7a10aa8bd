//! What happened: events, their payloads and their identifiers.
//!
//! An [`Event`] is one thing that happened in an outside system. Sources make them, matching reads them, the
//! journal keeps them. This room knows no other room.

pub(crate) mod document;
pub mod esc;
pub mod id;
pub mod masakari;
pub mod ncmp;
pub mod opennebula;
pub mod own;
pub mod payload;
pub mod redaction;
pub mod saved;
pub mod sending;
pub mod time;
pub mod webhook;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use self::esc::{EscEvent, Via};
use self::id::Seq;
use self::masakari::MasakariNotification;
use self::ncmp::NcmpRecord;
use self::opennebula::Resource;
use self::own::OwnEvent;
use self::payload::Payload;
use self::time::Timestamp;
use self::webhook::{Form, WebhookRequest};

/// The source of events that operators hand over (`hem emit`); no configured source is named so.
pub const EMITTED: &str = "emit";

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// The number it got at acceptance; 0 before that.
    pub seq: Seq,
    /// The name of the source it came from, as configured (`opennebula`, `zone1`), or `emit` for a hand-made one.
    pub source: Arc<str>,
    /// The key, exactly as the source spelt it.
    pub key: String,
    /// The resource it is about, `vm/12`; none for an event that is about nothing in particular.
    pub subject: Option<Subject>,
    /// When it was received.
    pub received: Timestamp,
    /// What it says happened, read from the message's envelope.
    pub facts: Facts,
    /// The message could be read in more than one way (a parameter value that imitates the envelope).
    pub ambiguous: bool,
    /// It was made here, after a gap or by an operator, and not sent by the controller.
    pub synthesised: bool,
    /// The document, exactly as received (decoded from base64).
    pub payload: Payload,
}

impl Event {
    /// What kind of event it is.
    pub fn kind(&self) -> Kind {
        match &self.facts {
            Facts::State(_) => Kind::State,
            Facts::Api(_) => Kind::Api,
            Facts::Retry(_) => Kind::Retry,
            Facts::Undecodable { .. } => Kind::Undecodable,
            Facts::Gap(_) => Kind::Gap,
            Facts::Own(own) => own.kind(),
            Facts::Webhook(_) => Kind::Webhook,
            Facts::Esc(_) => Kind::Esc,
            Facts::Masakari(_) => Kind::Masakari,
            Facts::Ncmp(_) => Kind::Ncmp,
        }
    }

    /// Whether hem raised it after a gap in place of a state event that was missed.
    pub fn is_caught_up(&self) -> bool {
        self.synthesised && *self.source != *EMITTED && matches!(self.facts, Facts::State(_))
    }

    /// The host the event names, on which a `remote: true` hook runs.
    pub fn host(&self) -> Option<&str> {
        match &self.facts {
            Facts::State(state) => state.host.as_deref(),
            Facts::Retry(retry) => retry.remote_host.as_deref(),
            Facts::Esc(event) => event.host(),
            Facts::Masakari(notification) => Some(&notification.hostname),
            Facts::Api(_)
            | Facts::Undecodable { .. }
            | Facts::Gap(_)
            | Facts::Own(_)
            | Facts::Webhook(_)
            | Facts::Ncmp(_) => None,
        }
    }
}

/// The resource an event is about, as `kind/id`, with the source's name in front where several of its kind are configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Arc<str>);

impl Subject {
    /// The longest text of a subject, in bytes.
    pub const LONGEST: usize = 256;

    /// Takes the text of a subject: `vm/12`, `zone1:vm/12`. Who sends an event may put any text there, and it becomes a part of
    /// names and records that must stay short: of one beyond [`Self::LONGEST`] bytes the beginning and the SHA-256 of the whole
    /// stand for it, so that two that differ are never taken for one.
    pub fn new(text: &str) -> Self {
        if text.len() <= Self::LONGEST {
            return Self(text.into());
        }
        let digest = Sha256::digest(text.as_bytes());
        let end: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let beginning = text.floor_char_boundary(Self::LONGEST - end.len() - '…'.len_utf8());
        Self(format!("{}…{end}", &text[..beginning]).into())
    }

    /// The subject that a source gives an event, with its name in front where it says one: there are several of its type.
    pub fn of(text: &str, source: Option<&str>) -> Self {
        match source {
            Some(source) => Self::new(&format!("{source}:{text}")),
            None => Self::new(text),
        }
    }

    /// The subject as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of events, as counted and shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A resource changed its state.
    State,
    /// A call of the controller's API ended.
    Api,
    /// The controller asks for a hook to run once more.
    Retry,
    /// A message that could not be read; kept and shown, never matched.
    Undecodable,
    /// A time in which events may have passed unseen; made here.
    Gap,
    /// An execution reached its end; made here.
    Execution,
    /// Executions are held or dropped from now on; made here.
    Muted,
    /// An execution waits too long for another one; made here.
    Blocked,
    /// A source has been away for some time; made here.
    SourceDown,
    /// Somebody sent a request over HTTP.
    Webhook,
    /// Cisco ESC reports a step.
    Esc,
    /// A host, a process or a virtual machine failed or came back, says a Masakari monitor.
    Masakari,
    /// Something became of a CM handle, says ONAP NCMP.
    Ncmp,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::State,
        Self::Api,
        Self::Retry,
        Self::Undecodable,
        Self::Gap,
        Self::Execution,
        Self::Muted,
        Self::Blocked,
        Self::SourceDown,
        Self::Webhook,
        Self::Esc,
        Self::Masakari,
        Self::Ncmp,
    ];

    /// The name in records, tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Api => "api",
            Self::Retry => "retry",
            Self::Undecodable => "undecodable",
            Self::Gap => "gap",
            Self::Execution => "execution",
            Self::Muted => "muted",
            Self::Blocked => "blocked",
            Self::SourceDown => "source_down",
            Self::Webhook => "webhook",
            Self::Esc => "esc",
            Self::Masakari => "masakari",
            Self::Ncmp => "ncmp",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an event says happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Facts {
    /// OpenNebula: a resource changed its state.
    State(StateChange),
    /// OpenNebula: an API call ended.
    Api(ApiCall),
    /// OpenNebula: `onehook retry` asks for a run.
    Retry(RetryRequest),
    /// It could not be read.
    Undecodable {
        /// Why, as a sentence for the operator.
        reason: String,
    },
    /// Events of the source may have passed unseen, or are known to be lost.
    Gap(Gap),
    /// hem itself did or noticed something.
    Own(OwnEvent),
    /// Somebody sent a request over HTTP.
    Webhook(WebhookRequest),
    /// Cisco ESC reports a step.
    Esc(Box<EscEvent>),
    /// Masakari: a host, a process or a virtual machine failed or came back.
    Masakari(MasakariNotification),
    /// ONAP NCMP: something became of a CM handle.
    Ncmp(Box<NcmpRecord>),
}

impl Facts {
    /// The payload of an event with these facts.
    pub fn payload(&self, bytes: Bytes) -> Payload {
        match self {
            Self::Webhook(request) => Payload::of_form(bytes, request.form),
            Self::Esc(event) => match event.via {
                Via::Rest => Payload::of_callback(bytes, event.form),
                Via::Netconf => Payload::of_notification(bytes),
            },
            Self::Masakari(_) | Self::Ncmp(_) => Payload::of_form(bytes, Form::Json),
            _ => Payload::new(bytes),
        }
    }
}

/// A resource changed its state. Names are as OpenNebula spells them and may be unknown to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateChange {
    /// The kind of resource.
    pub resource: Resource,
    /// The resource's number, as text; unset when the message has none.
    pub id: Option<String>,
    /// The state it is in now.
    pub state: String,
    /// The state of the life-cycle manager; VMs only.
    pub lcm_state: Option<String>,
    /// The state it was in before (`PREV_STATE`), where the document says so; VMs only.
    pub previous_state: Option<String>,
    /// The life-cycle state it was in before (`PREV_LCM_STATE`), where the document says so.
    pub previous_lcm_state: Option<String>,
    /// The host it is on.
    pub host: Option<String>,
}

/// An API call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiCall {
    /// The method: `one.vm.allocate`.
    pub call: String,
    /// Whether it succeeded.
    pub success: bool,
}

/// A time in which events of a source may have passed unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Why, as a sentence for the operator.
    pub why: String,
    /// How many events are known to be lost; 0 when nobody can tell.
    pub lost: u64,
    /// Keys of lost events, the newest of them where they were many.
    pub keys: Vec<String>,
    /// What the source has now, one line each, where it was asked.
    pub present: Vec<String>,
}

impl Gap {
    /// The record of this gap, as an event of the source it is about. Its payload says the same as JSON.
    pub fn into_event(self, source: Arc<str>) -> Event {
        let document = own::gap_document(&self, &source);
        Event {
            seq: Seq::default(),
            key: "GAP".to_owned(),
            subject: Some(Subject::new(&format!("source/{source}"))),
            received: self.to,
            facts: Facts::Gap(self),
            ambiguous: false,
            synthesised: true,
            payload: Payload::new(document.into()),
            source,
        }
    }
}

/// A request to run a hook once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryRequest {
    /// The hook's number in the controller.
    pub hook_id: u64,
    /// The argument string of the recorded execution, decoded from base64 and not split.
    pub arguments: String,
    /// The host it ran on.
    pub remote_host: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_of_any_length_are_kept_short_and_told_apart() {
        let at_most = "ü".repeat(Subject::LONGEST / 2);
        assert_eq!(Subject::new(&at_most).as_str(), at_most);
        let long = |end: &str| Subject::new(&format!("vm/{}{end}", "ü".repeat(100_000)));
        let (one, other) = (long("1"), long("2"));
        assert_ne!(one, other);
        assert_eq!(one, long("1"));
        for subject in [one, other] {
            assert!(subject.as_str().starts_with("vm/üü") && subject.as_str().len() <= Subject::LONGEST);
            assert_eq!(
                Subject::new(subject.as_str()),
                subject,
                "it is read back as it is"
            );
        }
    }

    #[test]
    fn a_subject_has_its_source_in_front_where_there_are_several() {
        assert_eq!(Subject::of("vm/1", None).as_str(), "vm/1");
        assert_eq!(Subject::of("vm/1", Some("zone1")).as_str(), "zone1:vm/1");
    }
}
