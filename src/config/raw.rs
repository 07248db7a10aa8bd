//! `hem.yaml` as it is written. The doc comments are the reference manual: `docs/configuration.md` is made from them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::scalar::{Concurrency, DurationText, Endpoint, ModeText, RedactionPath, SizeText, SourceName};

/// The configuration of hem, `hem.yaml`. Every setting has a default; relative paths are relative to this file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "hem.yaml")]
pub struct RawConfig {
    /// Where the store lives. `/var/lib/hem` for root, `$XDG_STATE_HOME/hem` for other users.
    pub state_dir: Option<PathBuf>,
    /// The folder of hook files. `/etc/hem/hooks.d` for root, `~/.config/hem/hooks.d` for other users.
    pub hooks_dir: Option<PathBuf>,
    /// Where relative commands of hooks are looked for. `/etc/hem/scripts` for root, `~/.config/hem/scripts` for other users.
    pub scripts_dir: Option<PathBuf>,
    /// Where relative commands of hooks of the profile `onehem` are looked for. Default `/var/lib/one/remotes/hooks`.
    pub onehem_scripts_dir: Option<PathBuf>,
    /// What concerns hooks of the profile `onehem`: OpenNebula's own.
    pub oned: Option<RawOned>,
    /// How the daemon is reached.
    pub control: Option<RawControl>,
    /// How many scripts run at once, from 1 to 1000. Default 10.
    pub concurrency: Option<Concurrency>,
    /// An execution that waits longer than this for another one of its lane is reported. Default `10m`.
    pub blocked_after: Option<DurationText>,
    /// How changes in the hooks folder take effect. Default `auto`.
    pub reload: Option<RawReload>,
    /// Whether files that others may write are refused. Default `strict`.
    pub permissions: Option<RawPermissions>,
    /// What becomes of a store that is damaged. Default `refuse`.
    pub on_damaged_store: Option<RawDamagedStore>,
    /// The sources by name. Left out, there is one, `opennebula`, on this machine; `{}` means none.
    pub sources: Option<BTreeMap<SourceName, RawSource>>,
    /// What the store keeps of settled executions and of events that matched nothing. Unsettled work is never pruned.
    pub retention: Option<RawRetention>,
    /// Limits of the disk and of the backlog.
    pub limits: Option<RawLimits>,
    /// Further elements whose text is never printed, besides the built-in ones, such as `//MY_TOKEN`,
    /// and parameters of calls, such as `one.vm.exec IN 3`.
    pub redact: Option<Vec<RedactionPath>>,
}

/// What concerns hooks of the profile `onehem`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOned {
    /// Whether a shell may read their command lines. Default `auto`.
    pub shell: Option<RawOnehemShell>,
}

/// Whether a shell may read the command lines of hooks of the profile `onehem`.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawOnehemShell {
    /// As with onehem-server: a line that holds one of the shell's characters is given to `/bin/sh -c`; what events bring
    /// along is base64 there. `hem hooks show` says of each hook whether that is so.
    Auto,
    /// Never: quotes and backslashes are understood as a shell would, everything else is literal.
    Never,
}

/// How the daemon is reached.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawControl {
    /// The Unix socket. `/run/hem/hem.sock` for root, `$XDG_RUNTIME_DIR/hem/hem.sock` for other users.
    pub socket: Option<PathBuf>,
    /// Its mode, in quotes. Who may write to the socket may retry, cancel and reload. Default `"0600"`.
    pub socket_mode: Option<ModeText>,
    /// The group it is given to; with mode `"0660"` its members may use the daemon. Default: the daemon's own.
    pub socket_group: Option<String>,
}

/// How changes in the hooks folder take effect.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawReload {
    /// By themselves, within a second.
    Auto,
    /// Only by `hem reload`.
    Manual,
}

/// Whether files that others may write are refused.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawPermissions {
    /// Hook files, folders and commands that others may write are refused, as sshd does.
    Strict,
    /// They are accepted.
    Lax,
}

/// What becomes of a store that is damaged.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawDamagedStore {
    /// The daemon does not start; `hem store salvage` keeps what is readable.
    Refuse,
    /// The store is set aside, and the daemon starts with an empty one and a gap for every source. What waited is not run.
    StartEmpty,
}

/// One source.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSource {
    /// The kind of system it connects to.
    #[serde(rename = "type")]
    pub kind: RawSourceType,
    /// Where the hook manager publishes. Default `tcp://127.0.0.1:2101`.
    #[schemars(with = "Option<Endpoint>")]
    pub endpoint: Option<serde_saphyr::Spanned<Endpoint>>,
    /// Where the hook manager takes the results of hooks with an `id`. Default: the endpoint's host, one port further.
    pub replies: Option<Endpoint>,
    /// Calls that are counted and not kept; `*` stands for any characters.
    /// Default `[one.zone.*, "*.monitoring", one.vmpool.infoset, one.system.*]`.
    pub ignore_calls: Option<Vec<String>>,
    /// Whether messages are checked against the schemas in `xsd/`. Default `off`.
    pub validate: Option<RawValidate>,
    /// The queue between the network and the engine. When it is full, payloads are dropped and counted as lost.
    pub queue: Option<RawQueue>,
}

/// The kinds of systems.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawSourceType {
    /// OpenNebula's hook manager, over ZeroMQ.
    Opennebula,
}

/// Whether messages are checked against the schemas.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawValidate {
    /// Not at all.
    Off,
    /// With a warning where they differ; the event is taken all the same.
    Warn,
}

/// The queue between the network and the engine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawQueue {
    /// At most this many events. Default 100000.
    pub events: Option<usize>,
    /// At most this many bytes. Default `256MiB`.
    pub bytes: Option<SizeText>,
}

/// What the store keeps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetention {
    /// Settled executions kept. Default 100000.
    pub executions: Option<u64>,
    /// Events kept that matched nothing. Default 10000.
    pub unmatched_events: Option<u64>,
    /// Nothing settled is kept longer. Default `30d`.
    pub age: Option<DurationText>,
    /// Bytes of payloads and outputs kept. Default `2GiB`.
    pub bytes: Option<SizeText>,
}

/// Limits of the disk and of the backlog.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// Below this much free space on the store's disk nothing new is accepted. Default `256MiB`.
    pub reserve: Option<SizeText>,
    /// Above this many unsettled executions nothing new is accepted. Default 1000000.
    pub max_backlog: Option<usize>,
}
