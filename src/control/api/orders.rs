//! What the daemon is told to do, to which hooks, what comes of it, and the log of who told it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ActorView, DefinitionView, MuteView, Time, is_false};

/// Whether secrets are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reveal {
    /// Show what is redacted otherwise; written to the audit log.
    #[serde(default, skip_serializing_if = "is_false")]
    pub reveal: bool,
}

/// What to run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryOrder {
    /// The executions: `1042.vm-running`, `1042` (all it caused), `last`.
    pub executions: Vec<String>,
    /// With the recorded definition instead of today's.
    #[serde(default)]
    pub as_recorded: bool,
    /// Only say what would happen.
    #[serde(default)]
    pub dry_run: bool,
}

/// What came of a [`RetryOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryReply {
    /// One for each execution.
    pub results: Vec<RetryResult>,
}

/// What came of running one execution again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RetryResult {
    /// The execution.
    pub execution: String,
    /// The hook.
    pub hook: String,
    /// The number of the attempt that was ordered.
    pub attempt: u32,
    /// The definition that matched.
    pub recorded: Option<DefinitionView>,
    /// The definition in force; none when the hook was removed.
    pub today: Option<DefinitionView>,
    /// Why it was refused; none when it was ordered (or would be).
    pub refused: Option<String>,
}

/// Names an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ordered {
    /// The execution.
    pub execution: String,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HookView {
    /// Its name.
    pub name: String,
    /// The number of the OpenNebula hook it stands for.
    pub oned_id: Option<u64>,
    /// For people.
    pub description: Option<String>,
    /// Whether it is in force.
    pub enabled: bool,
    /// What its file says.
    pub enabled_in_file: bool,
    /// What an operator said instead.
    pub override_: Option<OverrideView>,
    /// Where it was declared.
    #[serde(default)]
    pub origin: OriginView,
    /// The place of the hook of the folder that stands for it; it does not run while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadowed_by: Option<String>,
    /// What is doubtful about it beside other hooks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The mutes that cover it, wholly or about one subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub muted: Vec<MuteView>,
    /// `hem` or `onehem`.
    pub profile: String,
    /// What triggers it, in words.
    pub triggers: Vec<String>,
    /// What must also hold.
    pub when: Option<String>,
    /// The command as declared.
    pub command: String,
    /// The command resolved.
    pub program: String,
    /// Whether a shell reads the command.
    pub shell: bool,
    /// Whether it runs on the event's host.
    #[serde(default)]
    pub remote: bool,
    /// The definition.
    pub definition: DefinitionView,
}

/// Where a hook was declared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum OriginView {
    /// In a file of the hooks folder.
    #[default]
    File,
    /// In the pool of `oned`.
    Oned {
        /// Its number there.
        id: u64,
        /// What is locked of it there, `use`, `manage` or `admin`; it runs all the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        locked: Option<String>,
        /// Whether `oned` was asked since the daemon started; until then it is the hook of the last time.
        confirmed: bool,
        /// How it was understood where that may surprise.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        notes: Vec<String>,
    },
}

/// What an operator said about a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OverrideView {
    /// Whether the hook is enabled.
    pub enabled: bool,
    /// Who said so.
    pub actor: ActorView,
    /// When.
    pub at: Time,
}

/// How to read the hooks folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadOrder {
    /// Take a set that lost more than half of its hooks.
    #[serde(default)]
    pub accept: bool,
}

/// One thing wrong with a hook file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FaultView {
    /// How bad it is.
    pub severity: SeverityView,
    /// The file.
    pub file: String,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// The whole of it as `hem check` prints it, with the line in question and what to do.
    pub text: String,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeverityView {
    /// The hook is in force, but perhaps works not as meant.
    Warning,
    /// The file is refused.
    Error,
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReloadReply {
    /// Hooks that are new.
    pub added: Vec<String>,
    /// Hooks whose definition changed.
    pub changed: Vec<String>,
    /// Hooks that are gone.
    pub removed: Vec<String>,
    /// Faults found; of files with errors the last good version stays in force.
    pub faults: Vec<FaultView>,
    /// Why the former set was kept whole.
    pub kept: Option<String>,
    /// Settings of the configuration that changed and are in force now.
    #[serde(default)]
    pub settings: Vec<String>,
    /// Settings of the configuration that changed and wait for the daemon's next start.
    #[serde(default)]
    pub settings_at_start: Vec<String>,
    /// What is wrong with the configuration; the former one stays in force.
    #[serde(default)]
    pub configuration: Option<String>,
}

/// Reads partitions of a topic from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SeekOrder {
    /// The topic.
    pub topic: String,
    /// One of its partitions; all that the source reads where unset.
    #[serde(default)]
    #[schemars(range(min = 0))]
    pub partition: Option<i32>,
    /// From where.
    pub to: SeekTarget,
    /// Only says which partitions it would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// From where partitions are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SeekTarget {
    /// From the oldest record that is there.
    Earliest,
    /// From the end: what comes from now on.
    Latest,
    /// From this offset.
    Offset(i64),
    /// From the first record of this time or later.
    Time(Time),
}

/// What a [`SeekOrder`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeekReply {
    /// The partitions that are read from elsewhere.
    pub partitions: Vec<SoughtView>,
}

/// A partition that is read from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SoughtView {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Up to which offset it was read; absent where nobody knows.
    #[serde(default)]
    pub read_up_to: Option<i64>,
}

/// A synthetic event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmitOrder {
    /// The key.
    #[serde(default)]
    pub key: String,
    /// The document, in base64.
    pub payload: String,
    /// Run only this hook, whatever its trigger says.
    #[serde(default)]
    pub hook: Option<String>,
}

/// What came of an [`EmitOrder`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EmitReply {
    /// The number the event got.
    pub seq: u64,
    /// The executions it caused.
    pub executions: Vec<String>,
}

/// A line of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditView {
    /// Its number.
    pub number: u64,
    /// When.
    pub at: Time,
    /// Who.
    pub actor: ActorView,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
}

/// Which lines of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditFilter {
    /// At most this many, the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// Only those behind what an answer before named as the next: its `Next-Cursor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
