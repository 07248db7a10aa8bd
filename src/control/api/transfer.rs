//! Records as lines of JSON, on their way from one store to another or to whoever reads them.
//!
//! The first line says what the file is, the last one how many lines stand before it: a file without it was cut off.
//! Between them stand the records in the order of the events: a definition before the first execution that refers to it,
//! an event, the executions it caused, and behind each of them its attempts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AttemptView, AuditView, DefinitionView, EventSums, EventView, ExecutionView, MuteView, OverrideView,
    Time, is_false,
};

/// The format of the lines. Fields are only ever added; what an older hem would misread raises it.
pub const EXPORT_FORMAT: u32 = 1;

/// What is to be exported.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExportFilter {
    /// Only events received at or after this time, and what they caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// Only events received at or before this time, and what they caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// Only executions of this hook, and their events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// Only executions in this state, and their events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Events alone.
    #[serde(default, skip_serializing_if = "is_false")]
    pub events: bool,
    /// Executions alone, with their attempts and definitions.
    #[serde(default, skip_serializing_if = "is_false")]
    pub executions: bool,
    /// Show what is redacted otherwise; written to the audit log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
}

impl ExportFilter {
    /// Whether everything is asked for.
    pub fn is_everything(&self) -> bool {
        *self
            == Self {
                reveal: self.reveal,
                ..Self::default()
            }
    }
}

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ExportLine {
    /// The first line.
    Export(Box<ExportHeader>),
    /// An operator's word on a hook.
    Override(OverrideLine),
    /// A mute in force.
    Mute(MuteLine),
    /// The definition of a hook, before the first execution that refers to it.
    Definition(Box<DefinitionLine>),
    /// An event.
    Event(Box<EventLine>),
    /// An execution, behind its event.
    Execution(Box<ExecutionLine>),
    /// An attempt, behind its execution.
    Attempt(Box<AttemptLine>),
    /// A line of the audit log.
    Audit(AuditView),
    /// Something that stands in the store and cannot be read.
    Unreadable {
        /// What it is.
        what: String,
        /// Why.
        why: String,
    },
    /// The last line.
    End {
        /// How many lines stand before it.
        lines: u64,
    },
}

/// What the file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportHeader {
    /// The format of the lines.
    pub format: u32,
    /// The id of the store they come from.
    pub store: String,
    /// The version of the hem that wrote them.
    pub hem: String,
    /// When.
    pub made: Time,
    /// Passwords and tokens are blotted out: what is read again is for people, and cannot be run.
    pub redacted: bool,
    /// Everything the store had is here.
    pub complete: bool,
    /// The last number given to an event.
    pub last_seq: u64,
    /// The last number given to a line of the audit log.
    pub last_audit: u64,
    /// Where the events of each source ended, whatever of them is still kept.
    pub events: BTreeMap<String, EventSums>,
    /// Matches whose condition could not be worked out.
    pub condition_errors: u64,
    /// Matches that came to nothing for want of an element.
    pub absent_elements: u64,
}

/// An operator's word on a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideLine {
    /// The hook.
    pub hook: String,
    /// What was said.
    #[serde(flatten)]
    pub said: OverrideView,
}

/// A mute in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MuteLine {
    /// The mute.
    #[serde(flatten)]
    pub mute: MuteView,
    /// How long it was to last when it was made, in milliseconds, where it ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_ms: Option<u64>,
}

/// The definition of a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DefinitionLine {
    /// The hook.
    pub hook: String,
    /// Its definition.
    #[serde(flatten)]
    pub definition: DefinitionView,
}

/// An event; without `payload` where only its envelope was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// The event.
    #[serde(flatten)]
    pub event: EventView,
    /// Of a request to run a hook once more: the arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_arguments: Option<String>,
    /// Of a gap: keys of lost events.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_keys: Vec<String>,
}

/// An execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExecutionLine {
    /// The execution.
    #[serde(flatten)]
    pub execution: ExecutionView,
    /// Its place in the order of its lane.
    pub turn: u64,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptLine {
    /// The execution it is an attempt of, `1042.vm-running`.
    pub execution: String,
    /// The attempt.
    #[serde(flatten)]
    pub attempt: AttemptView,
    /// SHA-256 of the arguments, by which a RETRY message finds what it repeats; not where secrets are blotted out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_sha256: Option<String>,
}

/// What came of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportReply {
    /// The store's id.
    pub store: String,
    /// Events taken over.
    pub events: u64,
    /// Executions taken over, with their attempts.
    pub executions: u64,
    /// Of these, not at their end: they are taken up at the next start.
    pub unsettled: u64,
    /// Lines of the audit log taken over.
    pub audit: u64,
    /// Records that were there already and stay as they are.
    pub already_there: u64,
    /// Executions left out because they had not reached their end.
    pub left_out: u64,
    /// Records that could not be read when the export was made.
    pub unreadable: u64,
}
