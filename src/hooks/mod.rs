//! What the operator declared: YAML documents in `hooks.d`, read into raw forms, checked into [`Hook`]s.

pub mod check;
mod command_line;
pub mod compile;
mod esc;
pub mod fault;
pub mod folder;
pub mod invocation;
pub mod looks;
mod ncmp;
pub mod onehook;
mod own;
mod policies;
pub mod pool;
mod raw;
mod scalar;
mod schema;
mod tree;
pub mod trial;
mod trigger;
pub mod watch;
mod yaml;
pub mod yaml_text;

pub use self::compile::parse_definition;
pub use self::esc::EscTrigger;
pub use self::fault::{Fault, Severity};
pub use self::ncmp::NcmpTrigger;
pub use self::own::{OwnTrigger, Patterns};
pub use self::schema::json_schema;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::config::Config;
use crate::event::id::HookName;
use crate::event::opennebula::Resource;
use crate::expression::Expression;

/// A hook, checked and ready to match and run. The rest of the program never sees the raw YAML form.
#[derive(Debug, Clone)]
pub struct Hook {
    /// Its name, unique in the set.
    pub name: HookName,
    /// The number of the OpenNebula hook it stands for, used by RETRY messages and replies.
    pub oned_id: Option<u64>,
    /// For people.
    pub description: Option<String>,
    /// `enabled: false` keeps the definition but no event is kept for it.
    pub enabled: bool,
    /// How its process is set up.
    pub profile: Profile,
    /// What it is triggered by; any one of them suffices.
    pub triggers: Vec<Trigger>,
    /// What must also hold.
    pub when: Option<Expression>,
    /// Whether states that were missed and are raised after a gap trigger it too.
    pub catch_up: bool,
    /// What it runs.
    pub action: Action,
    /// When and how often it runs.
    pub policy: Policy,
    /// The author's own tests, run by `hem check`.
    pub tests: Vec<HookTest>,
    /// Where it was declared.
    pub origin: Origin,
    /// The definition's text, exactly as declared (one YAML document): what the store keeps for the record.
    pub text: Arc<str>,
    /// SHA-256 of `text` and of the defaults that were applied to it: names this version of the hook for ever.
    pub version: Version,
}

impl Hook {
    /// The source whose steps may run it twice each, being told both ways, where there is one.
    pub fn may_run_twice<'a>(&self, config: &'a Config) -> Option<&'a str> {
        self.triggers.iter().find_map(|trigger| match trigger {
            Trigger::Esc(trigger) => trigger.taken_twice(config),
            _ => None,
        })
    }

    /// Whether events of the source with that name may trigger it.
    pub fn may_take_from(&self, source: &str) -> bool {
        self.triggers
            .iter()
            .any(|trigger| trigger.source().is_none_or(|asked| asked == source))
    }
}

/// Names one version of a hook: a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub [u8; 32]);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every attempt's record holds several of these, and formatting byte by byte shows in profiles of the writer.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let nibbles = self.0.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
        let text: String = nibbles
            .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
            .collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Where a hook was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, as a path below the folder's configured path.
    pub file: PathBuf,
    /// The line its document begins on, from 1.
    pub line: usize,
    /// SHA-256 of the whole file.
    pub file_sha256: [u8; 32],
}

impl Origin {
    /// Stands for the file of a hook that was declared in `oned`'s pool. No file of the hooks folder is named so: theirs end
    /// in `.yaml` or `.yml`.
    pub const POOL: &str = "oned";

    /// Where a hook of `oned`'s pool was declared: its text is the whole file.
    pub fn of_pool(text: &str) -> Self {
        Self {
            file: Self::POOL.into(),
            line: 1,
            file_sha256: Sha256::digest(text).into(),
        }
    }

    /// Whether it was declared in `oned`'s pool.
    pub fn is_pool(&self) -> bool {
        self.file.as_os_str() == Self::POOL
    }
}

/// The two ways to set up a hook's process (environment, working directory, command line, time limit, retries).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// hem's own: no shell, a listed environment, a time limit.
    Hem,
    /// Like OpenNebula's `onehem-server`.
    Onehem,
}

/// What triggers a hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// A resource entered a state.
    State(StateTrigger),
    /// An API call ended.
    Api(ApiTrigger),
    /// hem itself did or noticed something.
    Own(OwnTrigger),
    /// Somebody sent a request over HTTP.
    Webhook(WebhookTrigger),
    /// Cisco ESC reports a step.
    Esc(EscTrigger),
    /// ONAP NCMP: something became of a CM handle.
    Ncmp(NcmpTrigger),
    /// Masakari: a host, a process or a virtual machine failed or came back.
    Masakari(MasakariTrigger),
}

impl Trigger {
    /// The source it asks for by name.
    pub fn source(&self) -> Option<&str> {
        match self {
            Self::State(trigger) => trigger.source.as_deref(),
            Self::Api(trigger) => trigger.source.as_deref(),
            Self::Own(_) => None,
            Self::Webhook(trigger) => trigger.source.as_deref(),
            Self::Esc(trigger) => trigger.source.as_deref(),
            Self::Ncmp(trigger) => trigger.source.as_deref(),
            Self::Masakari(trigger) => trigger.source.as_deref(),
        }
    }

    /// The type of the sources that raise what it asks for; none for what hem itself raises.
    pub const fn source_type(&self) -> Option<&'static str> {
        match self {
            Self::State(_) | Self::Api(_) => Some("opennebula"),
            Self::Own(_) => None,
            Self::Webhook(_) => Some("webhook"),
            Self::Esc(_) => Some("esc"),
            Self::Ncmp(_) => Some("ncmp"),
            Self::Masakari(_) => Some("masakari"),
        }
    }
}

/// A choice of names: all of them, or a list. Compared exactly; a name may be one this program does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Any name, and none.
    Any,
    /// One of these.
    Of(Vec<String>),
}

impl Names {
    /// Whether `name` is among them.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Of(names) => names.iter().any(|n| n == name),
        }
    }
}

/// `trigger: { state: … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// The kind of resource.
    pub resource: Resource,
    /// The states.
    pub state: Names,
    /// The life-cycle states; `Any` for resources that have none.
    pub lcm_state: Names,
    /// The previous state or life-cycle state, by name; `Any` when not asked for.
    pub from: Names,
}

/// `trigger: { api: … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// The calls.
    pub call: Names,
    /// The result asked for; any when unset.
    pub success: Option<bool>,
}

/// `trigger: { webhook: … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// The endpoints.
    pub name: Patterns,
}

/// `trigger: { masakari: … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasakariTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// The types: `COMPUTE_HOST`, `VM`, `PROCESS`.
    pub kind: Patterns,
    /// What happened.
    pub event: Patterns,
    /// The host.
    pub host: Patterns,
    /// The status of the notification. Not asked for, only the first that is seen of a notification triggers the hook.
    pub status: Option<Patterns>,
    /// What Pacemaker says of the host.
    pub host_status: Patterns,
    /// What Corosync says of the host.
    pub cluster_status: Patterns,
    /// The process that stopped.
    pub process: Patterns,
    /// The event of the virtual machine's domain.
    pub vir_domain_event: Patterns,
    /// The virtual machine.
    pub instance_uuid: Patterns,
}

impl MasakariTrigger {
    /// What it asks for, by the names of its attributes; nothing is said of those that ask for anything.
    pub fn asked(&self) -> impl Iterator<Item = (&'static str, &Patterns)> {
        let all = [
            ("type", Some(&self.kind)),
            ("event", Some(&self.event)),
            ("host", Some(&self.host)),
            ("status", self.status.as_ref()),
            ("host_status", Some(&self.host_status)),
            ("cluster_status", Some(&self.cluster_status)),
            ("process", Some(&self.process)),
            ("vir_domain_event", Some(&self.vir_domain_event)),
            ("instance_uuid", Some(&self.instance_uuid)),
        ];
        all.into_iter()
            .filter_map(|(name, patterns)| Some((name, patterns?)))
            .filter(|(_, patterns)| **patterns != Patterns::Any)
    }
}

/// What a hook runs.
#[derive(Debug, Clone)]
pub struct Action {
    /// The command as declared: a path, relative to the scripts folder, or absolute; a whole line where `shell` is set.
    pub command: String,
    /// The command resolved to an absolute path (not looked for yet).
    pub program: PathBuf,
    /// The arguments, one template each.
    pub arguments: Vec<Template>,
    /// The arguments as one line, as declared; the `onehem` profile only, whose rule for using a shell looks at the line.
    pub raw_arguments: Option<String>,
    /// Arguments go to standard input, joined by one blank, instead of the command line.
    pub arguments_stdin: bool,
    /// What goes to standard input otherwise.
    pub stdin: StdinChoice,
    /// The working directory; by profile when unset.
    pub directory: Option<PathBuf>,
    /// Where the profile looks for relative commands; the working directory of the `hem` profile when none is set.
    pub scripts_dir: PathBuf,
    /// Variables set for it.
    pub env: BTreeMap<String, String>,
    /// Variables passed on from the daemon's own environment, besides the profile's.
    pub pass_env: Vec<String>,
    /// Files whose contents become variables when it starts.
    pub secrets: BTreeMap<String, PathBuf>,
    /// Run on the event's host over ssh.
    pub remote: bool,
    /// The command is a script text for `/bin/sh -c`, arguments arrive as `$1` ….
    pub shell: bool,
}

/// One argument: literal text with `${{ … }}` expressions in it, or one of OpenNebula's own words.
#[derive(Debug, Clone)]
pub enum Template {
    /// `$TEMPLATE`: base64 of the resource's element.
    ResourceElement,
    /// `$API`: base64 of the CALL_INFO element.
    CallInfo,
    /// Text with expressions.
    Text(Vec<Piece>),
}

/// A piece of an argument.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Inserted as it stands.
    Literal(String),
    /// The expression's value, as text.
    Value(Expression),
}

/// `stdin:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StdinChoice {
    /// Nothing.
    #[default]
    None,
    /// The document as received.
    Payload,
    /// The document in base64, one line.
    Base64,
    /// The whole event as one line of JSON.
    Event,
}

/// When and how often a hook runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The time limit of one attempt.
    pub timeout: Option<Duration>,
    /// Between TERM and KILL.
    pub grace: Duration,
    /// Automatic retries; none when unset.
    pub retry: Option<Retry>,
    /// What must happen in order.
    pub order: Order,
    /// How many of this hook's executions run at once; half of the engine's `concurrency` when unset.
    pub max_parallel: Option<usize>,
    /// Whether it may use the reserved slot.
    pub priority: Priority,
    /// Not started this long after acceptance, it is skipped as expired.
    pub start_within: Option<Duration>,
    /// What becomes of an attempt that the end of the daemon cut short.
    pub on_interrupt: OnInterrupt,
    /// How many executions are accepted in a time; any number when unset.
    pub throttle: Option<Throttle>,
    /// How long an execution waits for a newer one to take its place; it does not when unset.
    pub debounce: Option<Duration>,
    /// What becomes of executions that would wait for another one of their lane.
    pub overlap: Overlap,
    /// When a lane is taken for a loop and muted; never when unset.
    pub loop_guard: Option<LoopGuard>,
    /// When a hook that fails is muted; never when unset.
    pub breaker: Option<Breaker>,
    /// How many of its settled executions are kept; what the configuration says of each hook when unset.
    pub keep: Option<u64>,
    /// Bytes kept of the beginning and of the end of each output stream.
    pub output: OutputLimits,
}

/// `retry:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// Attempts in all, the first included; at least 1.
    pub attempts: u32,
    /// The first delay.
    pub backoff_min: Duration,
    /// The longest delay; each doubles until then.
    pub backoff_max: Duration,
}

/// `order:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One at a time, in event order, per subject.
    Subject,
    /// One at a time, in event order, for the whole hook.
    Hook,
    /// No order.
    None,
}

/// `priority:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// As others.
    Normal,
    /// One slot is reserved for hooks of high priority.
    High,
}

/// `on_interrupt:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnInterrupt {
    /// Run again with a higher attempt number.
    Rerun,
    /// The execution settles as failed.
    Fail,
}

/// `throttle:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttle {
    /// Executions accepted within `per`; at least 1.
    pub max: usize,
    /// The time in which they are counted.
    pub per: Duration,
    /// What is counted together.
    pub key: ThrottleKey,
    /// What becomes of those beyond.
    pub then: ThrottleThen,
}

/// What a throttle counts together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleKey {
    /// Each subject by itself; those without a subject together.
    Subject,
    /// The whole hook.
    Hook,
}

/// What becomes of executions beyond a throttle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThrottleThen {
    /// They are skipped.
    Skip,
    /// They wait until as much time has passed again.
    Mute,
}

/// `overlap:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overlap {
    /// All wait and run, one after the other.
    #[default]
    Queue,
    /// The newest waits; those that waited before it are skipped.
    Latest,
    /// A new one is skipped while another is under way.
    Drop,
    /// A new one ends the one that runs, and those that waited are skipped.
    Cancel,
}

/// `loop_guard:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopGuard {
    /// Executions of one subject accepted within `per` that pass for no loop; at least 1.
    pub max: usize,
    /// The time in which they are counted.
    pub per: Duration,
    /// How long the subject is muted.
    pub length: Duration,
}

/// `breaker:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// Executions that fail within `per` and mute the hook; at least 1.
    pub failures: usize,
    /// The time in which they are counted.
    pub per: Duration,
    /// How long the hook is muted.
    pub length: Duration,
}

/// `output:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Bytes kept of the beginning.
    pub head: usize,
    /// Bytes kept of the end.
    pub tail: usize,
}

/// One of the author's own tests.
#[derive(Debug, Clone)]
pub struct HookTest {
    /// The saved event, relative to the hook file's folder or its parents.
    pub event: PathBuf,
    /// Whether the hook is to match.
    pub expect_match: bool,
    /// The argv it is to have; `...` stands for any one argument.
    pub expect_argv: Option<Vec<String>>,
    /// The line of the hook's file the test begins on.
    pub line: usize,
}

/// What checking needs to know from the configuration.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Where relative commands of the `hem` profile are looked for.
    pub scripts_dir: PathBuf,
    /// Where relative commands of the `onehem` profile are looked for.
    pub onehem_scripts_dir: PathBuf,
    /// Where relative commands of hooks that run on other hosts are looked for, on those hosts.
    pub remote_scripts_dir: PathBuf,
    /// Whether hooks that do not say otherwise are given the states that were missed.
    pub catch_up: bool,
}

/// The hooks in force at one time; never changed, only replaced.
#[derive(Debug, Clone, Default)]
pub struct HookSet {
    hooks: Vec<Arc<Hook>>,
}

impl HookSet {
    /// A set of these hooks, in this order.
    pub fn new(hooks: Vec<Arc<Hook>>) -> Self {
        Self { hooks }
    }

    /// All hooks, enabled or not.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Hook>> {
        self.hooks.iter()
    }

    /// The hook with that name.
    pub fn get(&self, name: &HookName) -> Option<&Arc<Hook>> {
        self.hooks.iter().find(|hook| hook.name == *name)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.hooks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }
}

/// A hook as this text declares it, for the tests of all rooms. Scripts stand in `/scripts`.
#[cfg(test)]
pub(crate) fn declared(text: &str) -> Hook {
    let defaults = Defaults {
        scripts_dir: "/scripts".into(),
        onehem_scripts_dir: "/scripts".into(),
        remote_scripts_dir: "/var/tmp/one/hooks".into(),
        catch_up: false,
    };
    let origin = Origin {
        file: "hooks.yaml".into(),
        line: 1,
        file_sha256: [7; 32],
    };
    parse_definition(text, &origin, &defaults).expect("a good hook")
}
