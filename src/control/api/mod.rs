//! What goes over the control socket. These types are the interface; the engine's own are never serialised.
//!
//! Times are RFC 3339 in UTC with milliseconds. Every state, outcome and cause carries its name.
//!
//! * `records`: what is kept: events, executions, their attempts, and how they are asked for.
//! * `esc`: what is known of an event of Cisco ESC.
//! * `ncmp`: what is known of a record of ONAP NCMP.
//! * `feed`: what the live feed says, and the sessions of browsers that listen to it.
//! * `health`: whether the daemon can do its work.
//! * `mutes`: what holds executions back.
//! * `orders`: what the daemon is told to do and what comes of it, with the hooks it is done to.
//! * `status`: how the daemon does.
//! * `transfer`: records as lines, on their way to another store.
//!
//! Here stand the failures and what all of them are built of.

mod esc;
mod feed;
mod health;
mod mutes;
mod ncmp;
mod notification;
mod orders;
mod records;
mod status;
mod transfer;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub use self::esc::{EscView, MachineView};
pub use self::feed::{FeedFilter, FeedMessage, SessionView};
pub use self::health::{AliveView, ReadyView, UnreadyReason};
pub use self::mutes::{
    MuteOrder, MuteReply, MuteStatusView, MuteView, MutedByView, QueueView, ScopeView, StopOrder, StopReply,
    ThenView, UnmuteOrder, UnmuteReply,
};
pub use self::ncmp::NcmpView;
pub use self::notification::{NotificationView, ObservedView};
pub use self::orders::{
    AuditFilter, AuditView, EmitOrder, EmitReply, FaultView, HookView, Ordered, OriginView, OverrideView,
    ReloadOrder, ReloadReply, RetryOrder, RetryReply, RetryResult, Reveal, SeekOrder, SeekReply, SeekTarget,
    SeverityView, SoughtView,
};
pub use self::records::{
    ArgumentsView, AttemptView, CancelReasonView, CaughtUpView, CauseView, DefinitionView, EndedView,
    EventFilter, EventView, ExecutionFilter, ExecutionStory, ExecutionView, ExplanationView, FactsView,
    FeedLine, FileView, LiveOutputView, NotedOnlyView, OutcomeView, OutputView, ProcessView, SkipReasonView,
    StateView, StepView, Story, Today,
};
pub use self::status::{
    AcceptanceBucket, ActivityFilter, ActivityView, BlockedView, CatchUpView, EventSums, KeptView,
    MinuteView, PoolView, ResultsView, RoleView, SourceErrorView, SourceView, StaleView, StatusView,
    UnusableView,
};
pub use self::transfer::{
    AttemptLine, DefinitionLine, EXPORT_FORMAT, EventLine, ExecutionLine, ExportFilter, ExportHeader,
    ExportLine, ImportReply, MuteLine, OverrideLine,
};
use crate::event::time::Timestamp;

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// Bytes that are text most of the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Text {
    /// Valid UTF-8.
    Text(String),
    /// Anything else, in base64.
    Base64(String),
}

/// Who asked for something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorView {
    /// A user of this machine.
    User {
        /// The user's number.
        uid: u32,
        /// The user's name, where the machine knows it.
        name: Option<String>,
    },
    /// Whoever has a token of that name.
    Token {
        /// The name.
        name: String,
    },
    /// The daemon itself.
    Daemon,
}

/// The body of every answer that is no success: problem details (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the status says the class, and `code` the rest.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What went wrong, for people.
    pub detail: String,
    /// What went wrong, for programs; never changes its meaning.
    pub code: ErrorCode,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request cannot be read.
    BadRequest,
    /// There is no such event, execution, hook or address.
    NotFound,
    /// The state of the execution does not allow it.
    NotPossible,
    /// The address takes no such method.
    MethodNotAllowed,
    /// The caller does not say who they are, or is nobody known.
    Unauthenticated,
    /// The caller may not do this.
    Forbidden,
    /// The request is for a host that the daemon does not know itself by.
    Misdirected,
    /// The request did not arrive in time.
    TooSlow,
    /// The request is larger than allowed.
    TooLarge,
    /// The answer took too long.
    TimedOut,
    /// The daemon is stopping.
    Stopping,
    /// The store cannot be read.
    StoreUnreadable,
    /// A bug.
    Internal,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
