//! `hem.yaml`: read into a raw form, checked into [`Config`].

mod change;
pub mod control;
pub mod esc;
mod fault;
pub mod keystone;
pub mod listen;
mod load;
pub mod masakari;
pub mod ncmp;
mod oned;
mod onehem_conf;
mod opennebula;
mod places;
pub mod raw;
mod recovery;
pub mod scalar;
pub mod secret;
mod typed;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::control::Tcp;
use self::listen::Listen;
use self::scalar::LogFilter;
use crate::event::redaction::Redaction;

pub use self::change::{Changes, Reread, TAKES_EFFECT_AT_ONCE};
pub use self::control::Control;
pub use self::esc::EscSource;
pub use self::fault::Fault;
pub use self::load::{ConfigError, Overrides, Place};
pub use self::masakari::MasakariSource;
pub use self::masakari::poll::MasakariPoll;
pub use self::ncmp::NcmpSource;
pub use self::oned::Oned;
pub use self::onehem_conf::OnehemConf;
pub use self::opennebula::OpennebulaSource;
pub use self::places::{Place as PlaceInText, Places};
pub use self::webhook::WebhookSource;

/// The configuration, checked; paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `hem run --observe`: what would run is recorded, and nothing is started or replied.
    pub observe: bool,
    /// Where the store lives.
    pub state_dir: PathBuf,
    /// The folder of hook files.
    pub hooks_dir: PathBuf,
    /// Where relative commands of hooks in `hooks_dir` are looked for.
    pub scripts_dir: PathBuf,
    /// Where relative commands of OpenNebula's own hooks are looked for.
    pub onehem_scripts_dir: PathBuf,
    /// Where relative commands of hooks that run on other hosts are looked for, on those hosts.
    pub remote_scripts_dir: PathBuf,
    /// How other hosts are reached.
    pub ssh: Ssh,
    /// The controller behind a source, where it is to be asked.
    pub oned: Option<Oned>,
    /// How command lines of hooks of the `onehem` profile are run.
    pub onehem_shell: OnehemShell,
    /// How the daemon is reached.
    pub control: Control,
    /// How many scripts run at once.
    pub concurrency: usize,
    /// An execution that waits longer than this for another one of its lane is reported.
    pub blocked_after: Duration,
    /// How long running scripts have to end when the daemon is stopped, before they are ended.
    pub shutdown_grace: Duration,
    /// What the daemon's log holds.
    pub log: LogFilter,
    /// How changes in the hooks folder take effect.
    pub reload: Reload,
    /// Whether files that others may write are refused.
    pub permissions: Permissions,
    /// What becomes of a store that is damaged.
    pub on_damaged_store: DamagedStore,
    /// The sources by name.
    pub sources: BTreeMap<String, Source>,
    /// What the store keeps.
    pub retention: Retention,
    /// Limits of the disk and of the backlog.
    pub limits: Limits,
    /// Further redaction paths, besides the built-in table.
    pub redact: Vec<String>,
}

/// `ssh:`: how other hosts are reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    /// Scripts on one host share a connection.
    pub share: bool,
    /// `ssh`'s configuration file; its own choice when unset.
    pub config: Option<PathBuf>,
}

/// `reload:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reload {
    /// A change in the folder takes effect by itself.
    Auto,
    /// Only `hem reload` brings changes into force.
    Manual,
}

/// `oned: { shell: … }`: how the command line of a hook of the `onehem` profile is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnehemShell {
    /// As Ruby's popen does: a line that holds one of the shell's characters is given to `/bin/sh -c`, any other is run directly.
    #[default]
    Auto,
    /// Never by a shell: quotes and backslashes are understood as a shell would, everything else is literal.
    Never,
}

/// `on_damaged_store:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DamagedStore {
    /// The daemon does not start, and says what to do.
    Refuse,
    /// It is set aside, and the daemon starts with an empty one and a gap for every source.
    StartEmpty,
}

/// `permissions:`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permissions {
    /// Files, folders and commands that others may write are refused.
    Strict,
    /// They are accepted.
    Lax,
}

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// OpenNebula's hook manager.
    Opennebula(OpennebulaSource),
    /// Whoever sends requests over HTTP.
    Webhook(WebhookSource),
    /// The notifications API of Masakari.
    Masakari(MasakariSource),
    /// An existing Masakari that is read.
    MasakariPoll(MasakariPoll),
    /// A Cisco Elastic Services Controller.
    Esc(EscSource),
    /// ONAP's network configuration management proxy.
    Ncmp(NcmpSource),
}

/// A file that a setting names and that hem reads while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile<'a> {
    /// The path to the setting, from the outermost: `sources`, `hooks`, `tls`, `key`. Items of lists by their number from 0.
    pub setting: Vec<String>,
    /// The file.
    pub path: &'a Path,
    /// Whether nobody else may read it.
    pub is_secret: bool,
}

impl<'a> NamedFile<'a> {
    fn secret(path: &'a Path, setting: &[&str]) -> Self {
        Self {
            is_secret: true,
            ..Self::plain(path, setting)
        }
    }

    fn plain(path: &'a Path, setting: &[&str]) -> Self {
        Self {
            setting: setting.iter().map(|&name| name.to_owned()).collect(),
            path,
            is_secret: false,
        }
    }

    /// The same below further settings.
    fn below(mut self, settings: &[&str]) -> Self {
        self.setting
            .splice(0..0, settings.iter().map(|&name| name.to_owned()));
        self
    }
}

impl Source {
    /// What stands in `type:`.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Opennebula(_) => "opennebula",
            Self::Webhook(_) => "webhook",
            Self::Masakari(_) | Self::MasakariPoll(_) => "masakari",
            Self::Esc(_) => "esc",
            Self::Ncmp(_) => "ncmp",
        }
    }

    /// Where it listens for HTTP, if it does.
    pub const fn listen(&self) -> Option<&Listen> {
        match self {
            Self::Opennebula(_) | Self::MasakariPoll(_) | Self::Ncmp(_) => None,
            Self::Webhook(source) => Some(&source.listen),
            Self::Masakari(source) => Some(&source.listen),
            Self::Esc(source) => match &source.callbacks {
                Some(callbacks) => Some(&callbacks.listen),
                None => None,
            },
        }
    }

    /// The files that its settings name, by the path below the source's own.
    fn named_files(&self) -> Vec<NamedFile<'_>> {
        match self {
            Self::Opennebula(_) => Vec::new(),
            Self::MasakariPoll(source) => source.named_files(),
            Self::Webhook(source) => source.named_files(),
            Self::Masakari(source) => source.named_files(),
            Self::Esc(source) => source.named_files(),
            Self::Ncmp(source) => source.named_files(),
        }
    }
}

/// What the store keeps of settled executions and of events that matched nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Settled executions kept.
    pub executions: u64,
    /// Settled executions kept of each hook that does not say otherwise; none for no limit of their own.
    pub executions_per_hook: Option<u64>,
    /// Unmatched events kept.
    pub unmatched_events: u64,
    /// Nothing settled is kept longer.
    pub age: Duration,
    /// No unmatched event is kept longer.
    pub unmatched_age: Duration,
    /// What scripts wrote is kept no longer; the record of the attempt is.
    pub output_age: Duration,
    /// Bytes of payloads and outputs kept.
    pub bytes: u64,
    /// Of these, payloads of unmatched events.
    pub unmatched_bytes: u64,
    /// Of these, outputs.
    pub output_bytes: u64,
}

/// Limits of the disk and of the backlog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Below this much free space nothing new is accepted, in bytes.
    pub reserve: u64,
    /// Above this many unsettled executions nothing new is accepted.
    pub max_backlog: usize,
}

/// Below this share of the disk nothing new is accepted either, where that is less than the configured reserve.
const RESERVE_PART: u64 = 20;

impl Limits {
    /// How many bytes are kept free on a disk of so many.
    pub fn reserve_on(&self, disk: u64) -> u64 {
        self.reserve.min(disk / RESERVE_PART)
    }
}

impl Config {
    /// The sources of type `opennebula` by name.
    pub fn opennebula_sources(&self) -> impl Iterator<Item = (&str, &OpennebulaSource)> {
        self.sources.iter().filter_map(|(name, source)| match source {
            Source::Opennebula(source) => Some((name.as_str(), source)),
            Source::Webhook(_)
            | Source::Masakari(_)
            | Source::MasakariPoll(_)
            | Source::Esc(_)
            | Source::Ncmp(_) => None,
        })
    }

    /// The names of all outermost settings.
    pub fn settings() -> Vec<String> {
        let schema = schemars::schema_for!(raw::RawConfig);
        let properties = schema
            .get("properties")
            .and_then(|properties| properties.as_object());
        properties
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// Who listens for HTTP: the path to the setting, from the outermost, and the address.
    pub fn listeners(&self) -> Vec<(Vec<String>, &Listen)> {
        let sources = self.sources.iter().filter_map(|(name, source)| {
            let within: &[&str] = match source {
                Source::Esc(_) => &["callbacks", "listen"],
                _ => &["listen"],
            };
            let steps = ["sources", name].into_iter().chain(within.iter().copied());
            Some((steps.map(str::to_owned).collect(), source.listen()?))
        });
        let control = self.control.tcp.iter().map(|tcp| {
            let setting = ["control", "listen"].map(str::to_owned).to_vec();
            (setting, &tcp.listen)
        });
        sources.chain(control).collect()
    }

    /// The files that settings name and that are read while hem runs: secrets, certificates, the configuration of `ssh`.
    pub fn named_files(&self) -> Vec<NamedFile<'_>> {
        let of_ssh = self
            .ssh
            .config
            .iter()
            .map(|path| NamedFile::plain(path, &["ssh", "config"]));
        let of_control = self.control.tcp.iter().flat_map(Tcp::named_files);
        let of_sources = self.sources.iter().flat_map(|(name, source)| {
            let files = source.named_files().into_iter();
            files.map(|file| file.below(&["sources", name]))
        });
        of_ssh
            .chain(of_control.map(|file| file.below(&["control"])))
            .chain(of_sources)
            .collect()
    }

    /// What is never printed: the built-in table and `redact:`.
    pub fn redaction(&self) -> Redaction {
        // The paths were checked when the file was read.
        Redaction::new(&self.redact).unwrap_or_default()
    }
}

impl Config {
    /// The defaults, with everything below `root` (`/` for an installed daemon).
    pub fn defaults(root: &Path) -> Self {
        Self {
            observe: false,
            state_dir: root.join("var/lib/hem"),
            hooks_dir: root.join("etc/hem/hooks.d"),
            scripts_dir: root.join("etc/hem/scripts"),
            onehem_scripts_dir: root.join("var/lib/one/remotes/hooks"),
            remote_scripts_dir: "/var/tmp/one/hooks".into(),
            ssh: Ssh {
                share: true,
                config: None,
            },
            oned: None,
            onehem_shell: OnehemShell::Auto,
            control: Control {
                socket: root.join("run/hem/hem.sock"),
                socket_mode: 0o600,
                socket_group: None,
                tcp: None,
            },
            concurrency: 10,
            blocked_after: Duration::from_secs(600),
            shutdown_grace: Duration::from_secs(30),
            log: LogFilter::default(),
            reload: Reload::Auto,
            permissions: Permissions::Strict,
            on_damaged_store: DamagedStore::Refuse,
            sources: BTreeMap::new(),
            retention: Retention {
                executions: 100_000,
                executions_per_hook: None,
                unmatched_events: 10_000,
                age: Duration::from_secs(30 * 24 * 3600),
                unmatched_age: Duration::from_secs(30 * 24 * 3600),
                output_age: Duration::from_secs(30 * 24 * 3600),
                bytes: 2 << 30,
                unmatched_bytes: 2 << 30,
                output_bytes: 2 << 30,
            },
            limits: Limits {
                reserve: 256 << 20,
                max_backlog: 1_000_000,
            },
            redact: Vec::new(),
        }
    }
}
