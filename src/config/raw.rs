//! `hem.yaml` as it is written. The doc comments are the reference manual: `docs/configuration.md` is made from them.

pub mod esc;
pub mod esc_netconf;
pub mod keystone;
pub mod listen;
pub mod masakari;
pub mod masakari_auth;
pub mod masakari_poll;
pub mod ncmp;
pub mod opennebula;
pub mod secret;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use self::esc::RawEsc;
use self::listen::{RawHttpLimits, RawTls};
use self::masakari::RawMasakari;
use self::ncmp::RawNcmp;
use self::opennebula::RawOpennebula;
use self::webhook::RawWebhook;
use super::scalar::{
    Concurrency, DurationText, HostPattern, ListenAddress, LogFilter, ModeText, RedactionPath, RpcEndpoint,
    SizeText, SourceName, TokenName,
};

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
    /// Where relative commands of hooks of the profile `onehem` are looked for. Default
    /// `/var/lib/one/remotes/hooks`, or `var/remotes/hooks` below `ONE_LOCATION` where that is set.
    pub onehem_scripts_dir: Option<PathBuf>,
    /// Where relative commands of hooks with `remote: true` are looked for, on the host they run on. Default `/var/tmp/one/hooks`.
    pub remote_scripts_dir: Option<PathBuf>,
    /// How the hosts of hooks with `remote: true` are reached.
    pub ssh: Option<RawSsh>,
    /// OpenNebula's daemon and its own hooks. Left out, `oned` is not asked for anything.
    pub oned: Option<RawOned>,
    /// How the daemon is reached.
    pub control: Option<RawControl>,
    /// How many scripts run at once, from 1 to 1000. Default 10.
    pub concurrency: Option<Concurrency>,
    /// An execution that waits longer than this for another one of its lane is reported. Default `10m`.
    pub blocked_after: Option<DurationText>,
    /// How long running scripts have to end when the daemon is stopped, before they are ended. `hem run --shutdown-grace`
    /// says it instead. Default `30s`.
    pub shutdown_grace: Option<DurationText>,
    /// What the daemon's log holds: a level (`off`, `error`, `warn`, `info`, `debug`, `trace`), and levels for parts of it,
    /// such as `info,hem::engine=debug`. The variable `HEM_LOG` says it instead. Default `info`.
    pub log: Option<LogFilter>,
    /// How changes in the hooks folder take effect. Default `auto`.
    pub reload: Option<RawReload>,
    /// Whether files that others may write are refused. Default `strict`.
    pub permissions: Option<RawPermissions>,
    /// What becomes of a store that is damaged. Default `refuse`.
    pub on_damaged_store: Option<RawDamagedStore>,
    /// The sources by name. Left out, there is one, `opennebula`, on this machine; `{}` means none.
    #[schemars(with = "Option<BTreeMap<SourceName, RawSource>>")]
    pub sources: Option<BTreeMap<SourceName, RawSourceHead>>,
    /// What the store keeps of settled executions and of events that matched nothing. Unsettled work is never pruned.
    pub retention: Option<RawRetention>,
    /// Limits of the disk and of the backlog.
    pub limits: Option<RawLimits>,
    /// Further elements whose text is never printed, besides the built-in ones, such as `//MY_TOKEN`,
    /// and parameters of calls, such as `one.vm.exec IN 3`.
    pub redact: Option<Vec<RedactionPath>>,
}

/// OpenNebula's daemon and its own hooks. Where this section stands, be it empty (`oned: {}`), hem asks `oned` for the hooks that
/// were made with `onehook` and runs them beside those of `hooks_dir`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOned {
    /// Where its XML-RPC API is. Default: `ONE_XMLRPC`, else what `~/.one/one_endpoint` or `/var/lib/one/.one/one_endpoint` says, else
    /// `http://localhost:2633/RPC2`.
    pub endpoint: Option<RpcEndpoint>,
    /// The file with `user:password`, read anew for each call. Default: the one `ONE_AUTH` names, else `~/.one/one_auth`, else
    /// `/var/lib/one/.one/one_auth`.
    pub auth: Option<PathBuf>,
    /// The source whose controller it is. Default: the only one of type `opennebula`.
    pub source: Option<SourceName>,
    /// Which of its hooks run. Default `pool`.
    pub hooks: Option<RawOnedHooks>,
    /// Where the zone has several front-ends: work only while the `oned` here leads or is alone, and be on standby otherwise.
    /// Default `false`.
    pub leader_only: Option<bool>,
    /// After a gap, hooks that do not say otherwise get the present state of what changed meanwhile. Default `false`.
    pub catch_up: Option<bool>,
    /// After a longer gap nothing is caught up. Default `15m`.
    pub max_gap: Option<DurationText>,
    /// How often, without a gap, the present states are asked for too, to find those that the hook manager dropped in silence; at
    /// least `1m`. Default: never.
    pub look_every: Option<DurationText>,
    /// Whether a shell may read the command lines of hooks of the profile `onehem`. Default `auto`.
    pub shell: Option<RawOnehemShell>,
}

/// Which hooks of `oned` run.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawOnedHooks {
    /// All of its pool, but for those that a hook of `hooks_dir` with the same `id` stands in for.
    Pool,
    /// None; those of `hooks_dir` alone.
    None,
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

/// How the hosts of hooks with `remote: true` are reached. Keys, users and host keys are `ssh`'s own matter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSsh {
    /// Scripts on one host share a connection, which is kept for ten minutes. Default `true`.
    pub share: Option<bool>,
    /// `ssh`'s configuration file (`ssh -F`). Default: the one `ssh` takes by itself.
    pub config: Option<PathBuf>,
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
    /// The address and the port where the control API and the page can be reached over TCP as well: `127.0.0.1:8090`,
    /// `"[::1]:8090"`, `0.0.0.0:8443`. With port 0 any free one, which the log tells. Whoever calls there needs one of `tokens`, on
    /// this machine too. Default: none.
    #[schemars(with = "Option<ListenAddress>")]
    pub listen: Option<Spanned<ListenAddress>>,
    /// TLS for `listen`, by files in PEM form. Default: none.
    pub tls: Option<RawTls>,
    /// What one caller of `listen` may take.
    pub limits: Option<RawHttpLimits>,
    /// The files whose tokens open `listen`.
    pub tokens: Option<Vec<RawTokenFile>>,
    /// Names by which `listen` is reached, besides its own address and, where that is one of this machine's own, `localhost`:
    /// `hem.example.org`, or `hem.example.org:8443` for one port alone. A request for any other name is refused, lest a page from
    /// elsewhere reach hem through a name that leads here. `"*"` takes any name.
    pub hosts: Option<Vec<HostPattern>>,
}

/// A file of tokens that open the control API over TCP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawTokenFile {
    /// The name that the audit log gives to whoever calls with one of them. Default: the file's name without what is behind the
    /// last dot.
    #[schemars(with = "Option<TokenName>")]
    pub name: Option<Spanned<TokenName>>,
    /// The file: one token a line, any of which will do; empty lines and lines that begin with `#` mean nothing. Nobody but the
    /// daemon's user and root may have any right to it (mode 0600). It is read again when it changes. `hem token` makes tokens.
    #[schemars(with = "PathBuf")]
    pub file: Spanned<PathBuf>,
    /// What they allow.
    pub role: RawRole,
}

/// What a token allows.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRole {
    /// Everything that only reads, without what is redacted.
    Viewer,
    /// Everything.
    Operator,
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

/// One source: the settings of its type.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RawSource {
    /// `type: opennebula`.
    Opennebula(RawOpennebula),
    /// `type: webhook`.
    Webhook(RawWebhook),
    /// `type: masakari`.
    Masakari(Box<RawMasakari>),
    /// `type: esc`.
    Esc(Box<RawEsc>),
    /// `type: ncmp`.
    Ncmp(Box<RawNcmp>),
}

/// What of a source is read first: its type says how the rest is to be read.
#[derive(Debug, Deserialize)]
pub struct RawSourceHead {
    /// The kind of system.
    #[serde(rename = "type")]
    pub kind: RawSourceType,
}

/// The kinds of systems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RawSourceType {
    /// OpenNebula's hook manager, over ZeroMQ.
    Opennebula,
    /// Whoever sends requests over HTTP.
    Webhook,
    /// The notifications API of Masakari.
    Masakari,
    /// A Cisco Elastic Services Controller.
    Esc,
    /// ONAP's network configuration management proxy, over Kafka.
    Ncmp,
}

/// What the store keeps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawRetention {
    /// Settled executions kept. Default 100000.
    pub executions: Option<u64>,
    /// Settled executions kept of each hook; a hook's `keep` says otherwise. Default: no limit but that of all.
    pub executions_per_hook: Option<u64>,
    /// Events kept that matched nothing. Default 10000.
    pub unmatched_events: Option<u64>,
    /// Nothing settled is kept longer. Default `30d`.
    pub age: Option<DurationText>,
    /// No event that matched nothing is kept longer. Default: `age`.
    pub unmatched_age: Option<DurationText>,
    /// What scripts wrote is kept no longer; the record stays and says that its output was pruned. Default: `age`.
    pub output_age: Option<DurationText>,
    /// Bytes of payloads and outputs kept. Default `2GiB`.
    pub bytes: Option<SizeText>,
    /// Of these, payloads of events that matched nothing. Default: `bytes`.
    pub unmatched_bytes: Option<SizeText>,
    /// Of these, what scripts wrote; the oldest goes, and the record stays. Default: `bytes`.
    pub output_bytes: Option<SizeText>,
}

/// Limits of the disk and of the backlog.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawLimits {
    /// Below this much free space on the store's disk, or a twentieth of the disk where that is less, nothing new is accepted. Default
    /// `256MiB`.
    pub reserve: Option<SizeText>,
    /// Above this many unsettled executions nothing new is accepted. Default 1000000.
    pub max_backlog: Option<usize>,
}
