//! The serde forms of one YAML document, as the author writes it. [`compile`](super::compile) checks them into a
//! [`Hook`](super::Hook); nothing else sees them. The doc comments here are the descriptions in the JSON Schema.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::de::{self, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::scalar::{Backoff, HumanDuration, Size, TimeLimit};
use super::tree::{AS_WRITTEN, At, HINT};

/// A hook of hem: what triggers it, what it runs, and with which limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "hem hook", extend(
    "required" = ["name", "trigger", "command"],
    "patternProperties" = { "^x-": { "description": "Not read: a place for YAML anchors." } }
))]
#[schemars(rename = "Hook")]
pub(super) struct RawHook {
    /// Its name, unique in the folder: letters, digits, `.`, `_` and `-`.
    pub(super) name: Option<At<String>>,
    /// The number of the OpenNebula hook it stands for: RETRY messages with that number run it, and its results are
    /// reported under it.
    pub(super) id: Option<At<u64>>,
    /// For people.
    pub(super) description: Option<At<String>>,
    /// `false` keeps the definition, but no event is kept for it. Default: true.
    pub(super) enabled: Option<At<bool>>,
    /// What triggers it: one trigger, or a list of which any one suffices.
    pub(super) trigger: Option<At<Triggers>>,
    /// A condition in CEL over `event` (the payload) and `meta`; what must also hold.
    pub(super) when: Option<At<String>>,
    /// After a gap (hem or its connection was away), the present state of what changed meanwhile triggers the hook too, once,
    /// marked as `synthesised`. Default: `catch_up` of `oned` in hem.yaml, which is false if not given.
    pub(super) catch_up: Option<At<bool>>,
    /// What it runs: a path relative to the scripts folder, or absolute. With `shell: true` the text of a script.
    pub(super) command: Option<At<String>>,
    /// The arguments: a list, or one text that is split into words like a shell would, without a shell. The word
    /// `$TEMPLATE` is base64 of the resource's element, `$API` of the call's CALL_INFO; `${{ … }}` inserts the value
    /// of a CEL expression.
    pub(super) arguments: Option<At<Words>>,
    /// The arguments go to standard input, joined by one blank, instead of the command line. Default: false.
    pub(super) arguments_stdin: Option<At<bool>>,
    /// What the command reads from its standard input. Default: none.
    pub(super) stdin: Option<At<RawStdin>>,
    /// The working directory. Default: the scripts folder; the daemon's with the profile `onehem`.
    pub(super) cwd: Option<At<String>>,
    /// Variables set for the command.
    pub(super) env: Option<At<BTreeMap<String, At<Written>>>>,
    /// Run on the event's host over ssh. Default: false.
    pub(super) remote: Option<At<bool>>,
    /// Variables passed on from the daemon's environment, besides the profile's.
    pub(super) pass_env: Option<At<Vec<At<String>>>>,
    /// Files whose contents become variables when the command starts; the values are redacted everywhere.
    pub(super) secrets: Option<At<BTreeMap<String, At<String>>>>,
    /// The time limit of one attempt; `none` for no limit. Default: 10m; none with the profile `onehem`.
    pub(super) timeout: Option<At<TimeLimit>>,
    /// Between TERM and KILL when an attempt is ended. Default: 10s.
    pub(super) grace: Option<At<HumanDuration>>,
    /// Automatic retries. Default: none.
    pub(super) retry: Option<At<RawRetry>>,
    /// What must happen in event order, one at a time. Default: subject.
    pub(super) order: Option<At<RawOrder>>,
    /// How many of this hook's executions run at once. Default: half of the engine's `concurrency`.
    pub(super) max_parallel: Option<At<u32>>,
    /// `high` may use the slot reserved for hooks of high priority. Default: normal.
    pub(super) priority: Option<At<RawPriority>>,
    /// Not started this long after acceptance, an execution is skipped as expired. Default: never.
    pub(super) start_within: Option<At<HumanDuration>>,
    /// What becomes of an attempt that the end of the daemon cut short. Default: rerun; fail with the profile `onehem`.
    pub(super) on_interrupt: Option<At<RawOnInterrupt>>,
    /// How many executions are accepted in a time, and what becomes of those beyond. Default: any number.
    pub(super) throttle: Option<At<RawThrottle>>,
    /// An execution waits this long; a newer one of its subject takes its place and waits anew. Default: no wait.
    pub(super) debounce: Option<At<HumanDuration>>,
    /// What becomes of an execution while another one of its subject is under way. Default: queue.
    pub(super) overlap: Option<At<RawOverlap>>,
    /// When a subject is taken for a loop and muted for a while; `off` for never. Default: more than 60 in a minute, for
    /// ten minutes.
    pub(super) loop_guard: Option<At<RawLoopGuard>>,
    /// Mutes the hook for a while when many of its executions fail. Default: never.
    pub(super) breaker: Option<At<RawBreaker>>,
    /// How many of its settled executions are kept. Default: `executions_per_hook` of `retention` in hem.yaml.
    pub(super) keep: Option<At<u64>>,
    /// How much of each output stream is kept.
    pub(super) output: Option<At<RawOutput>>,
    /// `command` is the text of a script for `/bin/sh`; the arguments arrive as `$1` …. Default: false.
    pub(super) shell: Option<At<bool>>,
    /// How its process is set up: hem's own way, or OpenNebula's `onehem-server`'s. Default: hem.
    pub(super) profile: Option<At<RawProfile>>,
    /// The author's own tests, run by `hem check`.
    pub(super) tests: Option<At<Vec<At<RawTest>>>>,
}

/// One trigger: exactly one of `state`, `api`, `webhook`, `esc`, `masakari` and `ncmp`, and perhaps the source; or one of those on what hem did
/// itself: `gap`, `execution`, `muted`, `blocked`, `source_down`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("oneOf" = [
    { "required": ["state"] },
    { "required": ["api"] },
    { "required": ["webhook"] },
    { "required": ["esc"] },
    { "required": ["masakari"] },
    { "required": ["ncmp"] },
    { "required": ["gap"] },
    { "required": ["execution"] },
    { "required": ["muted"] },
    { "required": ["blocked"] },
    { "required": ["source_down"] }
]))]
#[schemars(rename = "Trigger")]
pub(super) struct RawTrigger {
    /// Only events of the source with this name.
    pub(super) source: Option<At<String>>,
    /// OpenNebula: a resource entered a state.
    pub(super) state: Option<At<RawStateTrigger>>,
    /// OpenNebula: a call of the API ended.
    pub(super) api: Option<At<RawApiTrigger>>,
    /// HTTP: somebody sent a request to an endpoint of a source of type `webhook`.
    pub(super) webhook: Option<At<RawWebhookTrigger>>,
    /// Cisco ESC: a step of a workflow ended, as a callback or a notification says.
    pub(super) esc: Option<At<RawEscTrigger>>,
    /// Masakari: a host, a process or a virtual machine failed or came back.
    pub(super) masakari: Option<At<RawMasakariTrigger>>,
    /// ONAP NCMP: something became of a CM handle.
    pub(super) ncmp: Option<At<RawNcmpTrigger>>,
    /// hem: events of a source may be missing.
    pub(super) gap: Option<At<RawGapTrigger>>,
    /// hem: an execution of another hook reached its end.
    pub(super) execution: Option<At<RawExecutionTrigger>>,
    /// hem: somebody muted, or a policy did.
    pub(super) muted: Option<At<RawMutedTrigger>>,
    /// hem: an execution has waited longer than `blocked_after` for another one of its lane.
    pub(super) blocked: Option<At<RawBlockedTrigger>>,
    /// hem: a source is not connected.
    pub(super) source_down: Option<At<RawSourceDownTrigger>>,
}

/// A resource entered a state.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["resource"]))]
#[schemars(rename = "StateTrigger")]
pub(super) struct RawStateTrigger {
    /// The kind of resource: `VM`, `HOST`, `IMAGE` or `NET`.
    pub(super) resource: Option<At<String>>,
    /// VMs only, OpenNebula's short names: `PROLOG` (ACTIVE/PROLOG), `RUNNING` (ACTIVE/RUNNING), `SHUTDOWN`
    /// (ACTIVE/EPILOG), `STOP` (STOPPED), `DONE`, `UNKNOWN` (ACTIVE/UNKNOWN), or `CUSTOM` with `state` and `lcm_state`.
    pub(super) on: Option<At<RawNames>>,
    /// The state: a name, a list, or `any`. `"=NAME"` takes a name this version does not know.
    pub(super) state: Option<At<RawNames>>,
    /// VMs only: the state of the life-cycle manager: a name, a list, or `any`.
    pub(super) lcm_state: Option<At<RawNames>>,
    /// VMs only: the previous state or life-cycle state: a name, a list, or `any`.
    pub(super) from: Option<At<RawNames>>,
}

/// A call of the API ended.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["call"]))]
#[schemars(rename = "ApiTrigger")]
pub(super) struct RawApiTrigger {
    /// The call, `one.vm.allocate`: a name, a list, or `any`. `"=NAME"` takes a name this version does not know.
    pub(super) call: Option<At<RawNames>>,
    /// The result asked for. Default: any.
    pub(super) result: Option<At<RawResult>>,
}

/// Somebody sent a request to an endpoint.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["name"]))]
#[schemars(rename = "WebhookTrigger")]
pub(super) struct RawWebhookTrigger {
    /// The endpoint: a name, a list, or `any`; `*` in a name stands for any characters.
    pub(super) name: Option<At<RawNames>>,
}

/// Cisco ESC: a step of a workflow ended. Each name may be a list, or `any`; `*` in a name stands for any characters. Success and
/// failure have the same type: ask for the `status` too.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["event"]))]
#[schemars(rename = "EscTrigger")]
pub(super) struct RawEscTrigger {
    /// The type of the event: `VM_ALIVE`.
    pub(super) event: Option<At<RawNames>>,
    /// How the step ended: `SUCCESS` or `FAILURE`. Default: any.
    pub(super) status: Option<At<RawNames>>,
    /// The tenant. Default: any, and none.
    pub(super) tenant: Option<At<RawNames>>,
    /// The deployment. Default: any, and none.
    pub(super) deployment: Option<At<RawNames>>,
    /// The group of VMs, which callbacks over REST do not name. Default: any, and none.
    pub(super) vm_group: Option<At<RawNames>>,
    /// The way it came: `rest` or `netconf`. Default: any.
    pub(super) via: Option<At<String>>,
}

/// ONAP NCMP: something became of a CM handle. Each name may be a list, or `any`; `*` in a name stands for any characters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["event"]))]
#[schemars(rename = "NcmpTrigger")]
pub(super) struct RawNcmpTrigger {
    /// What became of it: `create`, `update` or `delete`; of a CloudEvent the last word of its type, `AvcEvent`. `"=NAME"` takes a
    /// name that looks like a mistake.
    pub(super) event: Option<At<RawNames>>,
    /// The CM handle: `"site-7-*"`. Default: any, and none.
    pub(super) cm_handle: Option<At<RawNames>>,
    /// The state it is in now, where it changed: `ADVISED`, `READY`, `LOCKED`, `DELETING`, `DELETED`. Default: any, and none.
    pub(super) state: Option<At<RawNames>>,
    /// The state it was in before. Default: any, and none.
    pub(super) old_state: Option<At<RawNames>>,
    /// Whether its data is synchronised, where the event tells. Default: either, and not told.
    pub(super) data_sync: Option<bool>,
    /// The topic. Default: any.
    pub(super) topic: Option<At<RawNames>>,
}

/// Masakari: a host, a process or a virtual machine failed or came back. Each attribute is a name, a list, or `any`; `*` in a name
/// stands for any characters.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "MasakariTrigger")]
pub(super) struct RawMasakariTrigger {
    /// The type: `COMPUTE_HOST`, `VM` or `PROCESS`. Default: any.
    #[serde(rename = "type")]
    pub(super) kind: Option<At<RawNames>>,
    /// What happened: `STARTED` or `STOPPED` to a host or a process; to a virtual machine `LIFECYCLE`, `REBOOT`, `WATCHDOG`,
    /// `IO_ERROR`, `QEMU_GUEST_AGENT_ERROR` or whatever a monitor says. `"=NAME"` takes a name that looks like a mistake. Default: any.
    pub(super) event: Option<At<RawNames>>,
    /// The host: `"compute-*"`. Default: any.
    pub(super) host: Option<At<RawNames>>,
    /// The status of the notification: `new`, `running`, `error`, `failed`, `ignored`, `finished`. Those that are sent to hem are
    /// `new`; of a Masakari that hem reads, each change of the status is an event too. Default: the first that is seen of a
    /// notification, whatever its status, and no change.
    pub(super) status: Option<At<RawNames>>,
    /// What Pacemaker says of the host: `NORMAL` or `UNKNOWN`. Default: any.
    pub(super) host_status: Option<At<RawNames>>,
    /// What Corosync says of the host: `ONLINE` or `OFFLINE`. Default: any.
    pub(super) cluster_status: Option<At<RawNames>>,
    /// The process that stopped: `nova-compute`. Default: any.
    pub(super) process: Option<At<RawNames>>,
    /// What libvirt says of the virtual machine: `STOPPED_FAILED`. Default: any.
    pub(super) vir_domain_event: Option<At<RawNames>>,
    /// The virtual machine. Default: any.
    pub(super) instance_uuid: Option<At<RawNames>>,
}

/// Events of a source may be missing.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "GapTrigger")]
pub(super) struct RawGapTrigger {
    /// The source: a name, a list, or `any`; `*` in a name stands for any characters. Default: any.
    pub(super) source: Option<At<RawNames>>,
}

/// An execution of another hook reached its end. The hook's own executions never trigger it, nor do those that an
/// `execution` trigger caused.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["outcome"]))]
#[schemars(rename = "ExecutionTrigger")]
pub(super) struct RawExecutionTrigger {
    /// The hook whose execution it is: a name, a list, or `any`; `*` in a name stands for any characters. Default: any.
    pub(super) hook: Option<At<RawNames>>,
    /// How it ended: `succeeded`, `failed`, `skipped`, `cancelled`, a list of these, or `any`.
    pub(super) outcome: Option<At<RawNames>>,
}

/// Somebody muted, or a policy did.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "MutedTrigger")]
pub(super) struct RawMutedTrigger {
    /// The hook that is muted: a name, a list, or `any`; `*` in a name stands for any characters. Default: any.
    pub(super) hook: Option<At<RawNames>>,
    /// The source whose events are muted, likewise. Default: any.
    pub(super) source: Option<At<RawNames>>,
}

/// An execution has waited longer than `blocked_after` for another one of its lane.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "BlockedTrigger")]
pub(super) struct RawBlockedTrigger {
    /// The hook whose execution waits: a name, a list, or `any`; `*` in a name stands for any characters. Default: any.
    pub(super) hook: Option<At<RawNames>>,
}

/// A source is not connected.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "SourceDownTrigger")]
pub(super) struct RawSourceDownTrigger {
    /// The source: a name, a list, or `any`; `*` in a name stands for any characters. Default: any.
    pub(super) source: Option<At<RawNames>>,
    /// For how long. Default: 1m.
    pub(super) after: Option<At<HumanDuration>>,
}

/// Automatic retries.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Retry")]
pub(super) struct RawRetry {
    /// Attempts in all, the first included. Default: 5.
    pub(super) attempts: Option<At<u32>>,
    /// The first and the longest delay; each doubles until then, with jitter. Default: 2s..5m.
    pub(super) backoff: Option<At<Backoff>>,
}

/// How many executions are accepted in a time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["max", "per"]))]
#[schemars(rename = "Throttle")]
pub(super) struct RawThrottle {
    /// Executions accepted within `per`.
    pub(super) max: Option<At<u32>>,
    /// The time in which they are counted.
    pub(super) per: Option<At<HumanDuration>>,
    /// Whether each subject is counted by itself, or the whole hook together. Default: subject.
    pub(super) key: Option<At<RawThrottleKey>>,
    /// What becomes of those beyond. Default: skip.
    pub(super) then: Option<At<RawThrottleThen>>,
}

/// When a subject is taken for a loop: its hook's script causes the event that triggers it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "LoopGuard")]
pub(super) struct RawLoopLimits {
    /// Executions of one subject within `per` that pass for no loop. Default: 60.
    pub(super) max: Option<At<u32>>,
    /// The time in which they are counted. Default: 1m.
    pub(super) per: Option<At<HumanDuration>>,
    /// How long the subject is muted. Default: 10m.
    #[serde(rename = "for")]
    pub(super) length: Option<At<HumanDuration>>,
}

/// Mutes a hook whose executions fail.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["failures", "per"]))]
#[schemars(rename = "Breaker")]
pub(super) struct RawBreaker {
    /// Executions that fail within `per`.
    pub(super) failures: Option<At<u32>>,
    /// The time in which they are counted.
    pub(super) per: Option<At<HumanDuration>>,
    /// How long the hook is muted. Default: as long as `per`.
    #[serde(rename = "for")]
    pub(super) length: Option<At<HumanDuration>>,
}

/// How much of each output stream is kept; the cut between is marked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Output")]
pub(super) struct RawOutput {
    /// Bytes of the beginning. Default: 64KiB.
    pub(super) head: Option<At<Size>>,
    /// Bytes of the end. Default: 64KiB.
    pub(super) tail: Option<At<Size>>,
}

/// One test: a saved event and what is expected of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("required" = ["event"]))]
#[schemars(rename = "Test")]
pub(super) struct RawTest {
    /// The saved event: a file relative to the hook file's folder or one of its parents; `#17` behind a `.jsonl` file
    /// names the line.
    pub(super) event: Option<At<String>>,
    /// What is expected. Default: that the hook matches.
    pub(super) expect: Option<At<RawExpectation>>,
}

/// What a test expects.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "Expectation")]
pub(super) struct RawExpectation {
    /// Whether the hook matches. Default: true.
    #[serde(rename = "match")]
    pub(super) matches: Option<At<bool>>,
    /// The command as declared and its arguments; `...` stands for any one of them.
    pub(super) argv: Option<At<Vec<At<Written>>>>,
}

/// What the command reads from its standard input.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Stdin")]
pub(super) enum RawStdin {
    /// Nothing.
    None,
    /// The document as received.
    Payload,
    /// The document in base64, one line.
    Base64,
    /// The whole event as one line of JSON.
    Event,
}

/// What must happen in order.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Order")]
pub(super) enum RawOrder {
    /// One at a time per subject.
    Subject,
    /// One at a time for the whole hook.
    Hook,
    /// No order.
    None,
}

/// Whether it may use the reserved slot.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Priority")]
pub(super) enum RawPriority {
    /// As others.
    Normal,
    /// One slot is reserved.
    High,
}

/// What becomes of an interrupted attempt.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "OnInterrupt")]
pub(super) enum RawOnInterrupt {
    /// Run again with a higher attempt number.
    Rerun,
    /// The execution settles as failed.
    Fail,
}

/// What a throttle counts together.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ThrottleKey")]
pub(super) enum RawThrottleKey {
    /// Each subject by itself.
    Subject,
    /// The whole hook.
    Hook,
}

/// What becomes of executions beyond a throttle.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ThrottleThen")]
pub(super) enum RawThrottleThen {
    /// They are skipped.
    Skip,
    /// They wait until as much time has passed again.
    Mute,
}

/// What becomes of an execution while another one of its lane is under way.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Overlap")]
pub(super) enum RawOverlap {
    /// All wait and run.
    Queue,
    /// The newest waits; those that waited before it are skipped.
    Latest,
    /// The new one is skipped.
    Drop,
    /// The one that runs is ended, and those that waited are skipped.
    Cancel,
}

/// How its process is set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Profile")]
pub(super) enum RawProfile {
    /// hem's own way.
    Hem,
    /// Like OpenNebula's `onehem-server`.
    Onehem,
}

/// The result of a call.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Result")]
pub(super) enum RawResult {
    /// It succeeded.
    Success,
    /// It failed.
    Failure,
    /// Either.
    Any,
}

/// One trigger or a list of them.
#[derive(Debug)]
pub(super) struct Triggers(pub(super) Vec<At<RawTrigger>>);

impl<'de> Deserialize<'de> for Triggers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TriggersVisitor;
        impl<'de> Visitor<'de> for TriggersVisitor {
            type Value = Triggers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a trigger such as `state: { resource: VM, on: RUNNING }`, or a list of them")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Triggers, A::Error> {
                let mut triggers = Vec::new();
                while let Some(trigger) = items.next_element()? {
                    triggers.push(trigger);
                }
                Ok(Triggers(triggers))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Triggers, A::Error> {
                let value = RawTrigger::deserialize(de::value::MapAccessDeserializer::new(entries))?;
                // The place of a single trigger is that of `trigger`'s value, which the caller knows.
                let mark = super::fault::Mark::default();
                Ok(Triggers(vec![At { value, mark }]))
            }
        }
        deserializer.deserialize_any(TriggersVisitor)
    }
}

/// The limits of the loop guard, or `off`.
#[derive(Debug)]
pub(super) enum RawLoopGuard {
    Off,
    Limits(RawLoopLimits),
}

impl<'de> Deserialize<'de> for RawLoopGuard {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LoopGuardVisitor;
        impl<'de> Visitor<'de> for LoopGuardVisitor {
            type Value = RawLoopGuard;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`off`, or limits such as `{ max: 60, per: 1m, for: 10m }`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RawLoopGuard, E> {
                match text {
                    "off" => Ok(RawLoopGuard::Off),
                    _ => Err(E::invalid_type(de::Unexpected::Str(text), &self)),
                }
            }

            // A tool that speaks YAML 1.1 writes `off` back as the boolean.
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<RawLoopGuard, E> {
                match value {
                    false => Ok(RawLoopGuard::Off),
                    true => Err(E::custom(format_args!(
                        "the loop guard is on unless it is `off`{HINT}take it out, or write `loop_guard: {{ max: 60, per: 1m }}`"
                    ))),
                }
            }

            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<RawLoopGuard, A::Error> {
                RawLoopLimits::deserialize(de::value::MapAccessDeserializer::new(entries))
                    .map(RawLoopGuard::Limits)
            }
        }
        deserializer.deserialize_any(LoopGuardVisitor)
    }
}

/// A name, a list of names, or `any`.
#[derive(Debug)]
pub(super) enum RawNames {
    One(String),
    Of(Vec<At<String>>),
}

impl<'de> Deserialize<'de> for RawNames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NamesVisitor;
        impl<'de> Visitor<'de> for NamesVisitor {
            type Value = RawNames;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, a list of names, or `any`")
            }

            fn visit_str<E>(self, text: &str) -> Result<RawNames, E> {
                Ok(RawNames::One(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawNames, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = items.next_element()? {
                    names.push(name);
                }
                Ok(RawNames::Of(names))
            }
        }
        deserializer.deserialize_any(NamesVisitor)
    }
}

/// Arguments: one text, or a list.
#[derive(Debug)]
pub(super) enum Words {
    Line(String),
    List(Vec<At<Written>>),
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WordsVisitor;
        impl<'de> Visitor<'de> for WordsVisitor {
            type Value = Words;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Words, E> {
                Ok(Words::Line(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Words, E> {
                Ok(Words::Line(number.to_string()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Words, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = items.next_element()? {
                    words.push(word);
                }
                Ok(Words::List(words))
            }
        }
        deserializer.deserialize_any(WordsVisitor)
    }
}

/// A text; a number counts as the text it is written with.
#[derive(Debug)]
pub(super) struct Written(pub(super) String);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WrittenVisitor;
        impl Visitor<'_> for WrittenVisitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Written, E> {
                Err(E::custom(format_args!(
                    "expected a text, found `{value}`{HINT}put quotes around it: `\"{value}\"`"
                )))
            }

            fn visit_str<E>(self, text: &str) -> Result<Written, E> {
                Ok(Written(text.to_owned()))
            }
        }
        deserializer.deserialize_newtype_struct(AS_WRITTEN, WrittenVisitor)
    }
}
