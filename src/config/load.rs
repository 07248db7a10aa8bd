//! From a file, or from none, to a checked [`Config`].

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_saphyr::Spanned;

use super::fault::Fault;
use super::places::Places;
use super::raw::{
    RawConfig, RawDamagedStore, RawOned, RawOnehemShell, RawPermissions, RawReload, RawRetention, RawSource,
};
use super::scalar::{Endpoint, SourceName};
use super::typed::read_sources;
use super::{Config, Oned, OnehemConf, OpennebulaSource, Permissions, Reload, Retention, Source};
use super::{DamagedStore, OnehemShell, Ssh, esc, masakari, ncmp, opennebula, webhook};

/// The installed configuration file.
const INSTALLED: &str = "/etc/hem/hem.yaml";

/// The settings of a file, and those of its sources, each read by itself.
type Read = (RawConfig, Option<BTreeMap<SourceName, RawSource>>);

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file says something that is not allowed.
    #[error("{0}")]
    Invalid(Box<Fault>),
    /// Where `oned` is, as OpenNebula's own tools are told, cannot be read.
    #[error("cannot tell where oned is: {0}")]
    Oned(String),
    /// A path given on the command line or in the file cannot be made absolute.
    #[error("cannot make `{}` an absolute path", path.display())]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What the defaults depend on: who runs the program, and where that user keeps things.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Whether the program runs as root; then everything is where a package installs it.
    pub root: bool,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state_home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `ONE_XMLRPC`.
    pub one_xmlrpc: Option<String>,
    /// `ONE_AUTH`.
    pub one_auth: Option<PathBuf>,
    /// `ONE_LOCATION`: where OpenNebula is installed, when not by packages.
    pub one_location: Option<PathBuf>,
}

impl Place {
    /// Looks around in this process's environment.
    pub fn of_this_process() -> Self {
        let absolute = |name: &str| {
            std::env::var_os(name)
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
        };
        Self {
            root: nix::unistd::geteuid().is_root(),
            home: absolute("HOME"),
            state_home: absolute("XDG_STATE_HOME"),
            config_home: absolute("XDG_CONFIG_HOME"),
            runtime_dir: absolute("XDG_RUNTIME_DIR"),
            one_xmlrpc: std::env::var("ONE_XMLRPC").ok().filter(|value| !value.is_empty()),
            one_auth: absolute("ONE_AUTH"),
            one_location: absolute("ONE_LOCATION"),
        }
    }

    /// What applies where no file says otherwise.
    fn defaults(&self) -> Config {
        let mut config = Config::defaults(Path::new("/"));
        config.sources.insert(
            "opennebula".to_owned(),
            Source::Opennebula(OpennebulaSource::default()),
        );
        if let Some(one) = &self.one_location {
            config.onehem_scripts_dir = one.join("var/remotes/hooks");
        }
        let Some(home) = self.home.as_deref().filter(|_| !self.root) else {
            return config;
        };
        let configuration = self
            .config_home
            .clone()
            .unwrap_or_else(|| home.join(".config"))
            .join("hem");
        config.state_dir = self
            .state_home
            .clone()
            .unwrap_or_else(|| home.join(".local/state"))
            .join("hem");
        config.hooks_dir = configuration.join("hooks.d");
        config.scripts_dir = configuration.join("scripts");
        config.control.socket = match &self.runtime_dir {
            Some(runtime) => runtime.join("hem/hem.sock"),
            None => config.state_dir.join("hem.sock"),
        };
        config
    }
}

/// What the command line says instead of the file. What it says itself goes before what `--onehem-conf` says. Relative paths are relative to the current folder.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--hooks-dir`.
    pub hooks_dir: Option<PathBuf>,
    /// `--scripts-dir`.
    pub scripts_dir: Option<PathBuf>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
    /// `--opennebula`: the only source, at this endpoint.
    pub opennebula: Option<Endpoint>,
    /// `--observe`.
    pub observe: bool,
    /// `--shutdown-grace`.
    pub shutdown_grace: Option<Duration>,
    /// `--onehem-conf`: the configuration of onehem-server, which goes before `hem.yaml`.
    pub onehem_conf: Option<PathBuf>,
}

impl Config {
    /// Reads the configuration: the file given, else the installed one where there is one, else the defaults.
    ///
    /// `given` is what `--config` or `HEM_CONFIG` says; that file must exist.
    ///
    /// # Errors
    /// The file cannot be read, or says something that is not allowed (with line and column).
    pub fn load(given: Option<&Path>) -> Result<Self, ConfigError> {
        let place = Place::of_this_process();
        let Some(path) = Self::file(given) else {
            return Ok(place.defaults());
        };
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(&text, &absolute(path)?, &place)
    }

    /// The file that [`load`](Self::load) reads: the one given, else the installed one where there is one.
    pub fn file(given: Option<&Path>) -> Option<&Path> {
        let installed = Path::new(INSTALLED);
        given.or_else(|| {
            let is_absent =
                matches!(std::fs::metadata(installed), Err(error) if error.kind() == io::ErrorKind::NotFound);
            (!is_absent).then_some(installed)
        })
    }

    /// Checks the text of a configuration file that stands at `path` (absolute).
    ///
    /// # Errors
    /// What is wrong first, with line and column.
    pub fn from_text(text: &str, path: &Path, place: &Place) -> Result<Self, ConfigError> {
        match read_raw(text, path)? {
            None => Ok(place.defaults()),
            Some((raw, sources)) => check(raw, sources, place.defaults(), path, text, place),
        }
    }

    /// The controller that `oned:` names, or, where there is no such section, the one that OpenNebula's own tools would ask. For
    /// commands that ask it once.
    ///
    /// # Errors
    /// What the environment or a file of the user says is no endpoint.
    pub fn oned_to_ask(&self) -> Result<Oned, ConfigError> {
        if let Some(oned) = &self.oned {
            return Ok(oned.clone());
        }
        let source = self.opennebula_source().unwrap_or("opennebula").to_owned();
        Oned::from_raw(
            &RawOned::default(),
            source,
            Path::new("/"),
            &Place::of_this_process(),
        )
        .map_err(ConfigError::Oned)
    }

    /// The only source of this type, if there is just one.
    pub(super) fn opennebula_source(&self) -> Option<&str> {
        only_opennebula(&self.sources)
    }

    /// Puts what the command line says in the place of what the file says.
    ///
    /// # Errors
    /// A relative path cannot be made absolute because the current folder is gone, or `onehem-server.conf` cannot be read.
    pub fn with(mut self, overrides: Overrides) -> Result<Self, ConfigError> {
        if let Some(path) = overrides.onehem_conf {
            let conf = OnehemConf::read(&absolute(&path)?)?;
            self = self.with_onehem_conf(&conf, &Place::of_this_process())?;
        }
        if let Some(path) = overrides.state_dir {
            self.state_dir = absolute(&path)?;
        }
        if let Some(path) = overrides.hooks_dir {
            self.hooks_dir = absolute(&path)?;
        }
        if let Some(path) = overrides.scripts_dir {
            self.scripts_dir = absolute(&path)?;
        }
        if let Some(path) = overrides.socket {
            self.control.socket = absolute(&path)?;
        }
        self.observe |= overrides.observe;
        if let Some(grace) = overrides.shutdown_grace {
            self.shutdown_grace = grace;
        }
        if let Some(endpoint) = overrides.opennebula {
            let replies = endpoint.next_port().unwrap_or_else(|| endpoint.clone()).0;
            let source = OpennebulaSource {
                endpoint: endpoint.0,
                replies,
                ..OpennebulaSource::default()
            };
            self.sources = BTreeMap::from([("opennebula".to_owned(), Source::Opennebula(source))]);
            if let Some(oned) = &mut self.oned {
                "opennebula".clone_into(&mut oned.source);
            }
        }
        Ok(self)
    }
}

/// Reads every setting by itself. None where the text says nothing.
pub(super) fn read_raw(text: &str, path: &Path) -> Result<Option<Read>, Fault> {
    let only_comments = text.lines().all(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with('#') || line == "---"
    });
    if only_comments {
        return Ok(None);
    }
    let options = serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        legacy_octal_numbers: false,
    };
    let refused = |error: serde_saphyr::Error| Fault::of_parser(path, text, &error);
    let mut raw: RawConfig = serde_saphyr::from_str_with_options(text, options.clone()).map_err(refused)?;
    let sources = match raw.sources.take() {
        Some(heads) => Some(read_sources(text, options, &heads).map_err(refused)?),
        None => None,
    };
    Ok(Some((raw, sources)))
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|source| ConfigError::Path {
        path: path.to_owned(),
        source,
    })
}

/// The name of the only source of this type, if there is just one.
fn only_opennebula(sources: &BTreeMap<String, Source>) -> Option<&str> {
    let of_type = |source: &Source| matches!(source, Source::Opennebula(_));
    let mut names = sources
        .iter()
        .filter(|(_, source)| of_type(source))
        .map(|(name, _)| name.as_str());
    names.next().filter(|_| names.next().is_none())
}

/// The source whose controller `oned:` is about.
fn source_of_oned(raw: &RawOned, sources: &BTreeMap<String, Source>) -> Result<String, String> {
    match &raw.source {
        Some(name) => match sources.get(&name.0) {
            Some(Source::Opennebula(_)) => Ok(name.0.clone()),
            Some(_) => Err(format!("`oned`: the source `{}` has no controller", name.0)),
            None => Err(format!("`oned`: there is no source `{}`", name.0)),
        },
        None => only_opennebula(sources).map(str::to_owned).ok_or_else(|| {
            "`oned`: say in `source:` whose controller it is: there is not just one source of type `opennebula`"
                .to_owned()
        }),
    }
}

/// A fault that shows when several settings are looked at, at the one that this path leads to.
fn fault_at(path: &Path, text: &str, setting: &[&str], message: String) -> Fault {
    let (line, column) = Places::of(text).map_or((0, 0), |places| {
        let place = places.find(setting);
        (place.line as u64, place.column as u64)
    });
    Fault::at(path, text, line, column, message)
}

/// Two listeners cannot have one address.
fn check_listeners(config: &Config, path: &Path, text: &str) -> Result<(), Fault> {
    let listeners = config.listeners();
    for (index, (setting, listen)) in listeners.iter().enumerate() {
        let taken = listeners[..index]
            .iter()
            .find(|(_, other)| listen.collides_with(other));
        if let Some((other, listen_there)) = taken {
            let steps: Vec<&str> = setting.iter().map(String::as_str).collect();
            let message = format!(
                "`{}` already listens on {}, so this cannot listen on {}",
                other.join("."),
                listen_there.address,
                listen.address
            );
            return Err(Fault {
                hint: Some("give one of them another port".to_owned()),
                ..fault_at(path, text, &steps, message)
            });
        }
    }
    Ok(())
}

/// How far another Masakari was read is known to the hem alone that read it: one that takes up the work of another would raise again
/// whatever that one has raised, and one that moved on while it stood by would leave out what nobody raised during the change. Of
/// a consumer group a hem that stands by would hold partitions and take nothing of them. How far the notifications of an ESC were
/// heard is known to one hem alone, too.
fn check_reading(config: &Config, path: &Path, text: &str) -> Result<(), Fault> {
    if !config.oned.as_ref().is_some_and(|oned| oned.leader_only) {
        return Ok(());
    }
    let reads = |source: &Source| match source {
        Source::MasakariPoll(_) => Some((
            Some("poll"),
            "a Masakari cannot be read under `oned: { leader_only: true }`: a hem that takes up the work would raise again what the one \
             before it has raised",
            "read it with a hem of its own that has no `leader_only`, or let the monitors send to hem: `type: masakari` without `poll`",
        )),
        Source::Esc(esc) if esc.netconf.is_some() => Some((
            Some("netconf"),
            "the notifications of an ESC cannot be listened to under `oned: { leader_only: true }`: a hem that takes up the work would \
             run again what the one before it has run",
            "listen to them with a hem of its own that has no `leader_only`, or have ESC call back: `callbacks` without `netconf`",
        )),
        Source::Ncmp(_) => Some((
            None,
            "NCMP cannot be read under `oned: { leader_only: true }`: a hem that stands by would hold partitions of its group, and \
             nobody would read them",
            "read it with a hem of its own that has no `leader_only`",
        )),
        Source::Opennebula(_) | Source::Webhook(_) | Source::Masakari(_) | Source::Esc(_) => None,
    };
    let found = config
        .sources
        .iter()
        .find_map(|(name, source)| Some((name, reads(source)?)));
    let Some((name, (setting, message, hint))) = found else {
        return Ok(());
    };
    let steps: Vec<&str> = ["sources", name].into_iter().chain(setting).collect();
    Err(Fault {
        hint: Some(hint.to_owned()),
        ..fault_at(path, text, &steps, message.to_owned())
    })
}

fn check(
    raw: RawConfig,
    sources: Option<BTreeMap<SourceName, RawSource>>,
    defaults: Config,
    path: &Path,
    text: &str,
    place: &Place,
) -> Result<Config, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    // Joining an absolute path gives that path.
    let below = |given: Option<PathBuf>, default: PathBuf| given.map_or(default, |given| folder.join(given));
    let limits = raw.limits.unwrap_or_default();
    let state_dir = below(raw.state_dir, defaults.state_dir);
    let sources = match sources {
        None => defaults.sources,
        Some(sources) => sources
            .into_iter()
            .map(|(name, source)| {
                let source = check_source(source, folder)
                    .map_err(|found| Fault::at(path, text, found.line, found.column, found.message))?;
                Ok((name.0, source))
            })
            .collect::<Result<_, ConfigError>>()?,
    };
    let oned = match &raw.oned {
        None => None,
        Some(raw) => Some(
            source_of_oned(raw, &sources)
                .and_then(|source| Oned::from_raw(raw, source, folder, place))
                .map_err(|message| fault_at(path, text, &["oned", "source"], message))?,
        ),
    };
    let config = Config {
        observe: false,
        oned,
        state_dir,
        hooks_dir: below(raw.hooks_dir, defaults.hooks_dir),
        scripts_dir: below(raw.scripts_dir, defaults.scripts_dir),
        onehem_scripts_dir: below(raw.onehem_scripts_dir, defaults.onehem_scripts_dir),
        // It is a path of other hosts.
        remote_scripts_dir: raw.remote_scripts_dir.unwrap_or(defaults.remote_scripts_dir),
        ssh: {
            let raw = raw.ssh.unwrap_or_default();
            Ssh {
                share: raw.share.unwrap_or(defaults.ssh.share),
                config: raw.config.map(|file| folder.join(file)),
            }
        },
        onehem_shell: match raw.oned.unwrap_or_default().shell {
            None | Some(RawOnehemShell::Auto) => OnehemShell::Auto,
            Some(RawOnehemShell::Never) => OnehemShell::Never,
        },
        control: super::Control::from_raw(raw.control.unwrap_or_default(), defaults.control, folder)
            .map_err(|found| match found.line {
                0 => fault_at(path, text, &["control"], found.message),
                line => Fault::at(path, text, line, found.column, found.message),
            })?,
        concurrency: raw.concurrency.map_or(defaults.concurrency, |number| number.0),
        blocked_after: raw.blocked_after.map_or(defaults.blocked_after, |after| after.0),
        shutdown_grace: raw
            .shutdown_grace
            .map_or(defaults.shutdown_grace, |grace| grace.0),
        log: raw.log.unwrap_or(defaults.log),
        reload: match raw.reload {
            None | Some(RawReload::Auto) => Reload::Auto,
            Some(RawReload::Manual) => Reload::Manual,
        },
        permissions: match raw.permissions {
            None | Some(RawPermissions::Strict) => Permissions::Strict,
            Some(RawPermissions::Lax) => Permissions::Lax,
        },
        on_damaged_store: match raw.on_damaged_store {
            None | Some(RawDamagedStore::Refuse) => DamagedStore::Refuse,
            Some(RawDamagedStore::StartEmpty) => DamagedStore::StartEmpty,
        },
        sources,
        retention: check_retention(&raw.retention.unwrap_or_default(), &defaults.retention),
        limits: super::Limits {
            reserve: limits.reserve.map_or(defaults.limits.reserve, |bytes| bytes.0),
            max_backlog: limits.max_backlog.unwrap_or(defaults.limits.max_backlog),
        },
        redact: raw
            .redact
            .unwrap_or_default()
            .into_iter()
            .map(|path| path.0)
            .collect(),
    };
    check_listeners(&config, path, text)?;
    check_reading(&config, path, text)?;
    Ok(config)
}

/// What is not said of events and outputs by themselves holds for them as for everything.
fn check_retention(raw: &RawRetention, defaults: &Retention) -> Retention {
    let age = raw.age.as_ref().map_or(defaults.age, |age| age.0);
    let bytes = raw.bytes.as_ref().map_or(defaults.bytes, |bytes| bytes.0);
    Retention {
        executions: raw.executions.unwrap_or(defaults.executions),
        executions_per_hook: raw.executions_per_hook.or(defaults.executions_per_hook),
        unmatched_events: raw.unmatched_events.unwrap_or(defaults.unmatched_events),
        age,
        unmatched_age: raw.unmatched_age.as_ref().map_or(age, |age| age.0),
        output_age: raw.output_age.as_ref().map_or(age, |age| age.0),
        bytes,
        unmatched_bytes: raw.unmatched_bytes.as_ref().map_or(bytes, |bytes| bytes.0),
        output_bytes: raw.output_bytes.as_ref().map_or(bytes, |bytes| bytes.0),
    }
}

/// What is wrong in a source, and where.
#[derive(Debug)]
pub(super) struct SourceFault {
    line: u64,
    column: u64,
    message: String,
}

impl SourceFault {
    /// Points at something that was read.
    pub(super) fn at<T>(place: &Spanned<T>, message: String) -> Self {
        Self {
            line: place.referenced.line(),
            column: place.referenced.column(),
            message,
        }
    }

    /// Is about the file as a whole.
    pub(super) const fn of_all(message: String) -> Self {
        Self {
            line: 0,
            column: 0,
            message,
        }
    }
}

/// `folder` is what relative paths are relative to.
fn check_source(raw: RawSource, folder: &Path) -> Result<Source, SourceFault> {
    match raw {
        RawSource::Opennebula(raw) => opennebula::check(raw).map(Source::Opennebula),
        RawSource::Webhook(raw) => webhook::check(raw, folder).map(Source::Webhook),
        RawSource::Masakari(raw) => masakari::check(*raw, folder),
        RawSource::Esc(raw) => esc::check(*raw, folder).map(Source::Esc),
        RawSource::Ncmp(raw) => ncmp::check(*raw, folder).map(Source::Ncmp),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::esc::netconf::{HostKeys, NetconfStart};
    use crate::config::scalar::SshAgent;

    fn read(text: &str) -> Result<Config, ConfigError> {
        Config::from_text(
            text,
            Path::new("/etc/hem/hem.yaml"),
            &Place {
                root: true,
                ..Place::default()
            },
        )
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        for text in ["", "# nothing\n", "---\n", "{}\n"] {
            let config = read(text).expect("a valid configuration");
            assert_eq!(config.state_dir, Path::new("/var/lib/hem"));
            assert_eq!(config.control.socket, Path::new("/run/hem/hem.sock"));
            let Some(Source::Opennebula(source)) = config.sources.get("opennebula") else {
                panic!("no default source");
            };
            assert_eq!(source.endpoint, "tcp://127.0.0.1:2101");
        }
    }

    #[test]
    fn other_users_than_root_get_folders_of_their_own() {
        let place = Place {
            home: Some("/home/ann".into()),
            ..Place::default()
        };
        let config = place.defaults();
        assert_eq!(config.state_dir, Path::new("/home/ann/.local/state/hem"));
        assert_eq!(config.hooks_dir, Path::new("/home/ann/.config/hem/hooks.d"));
        assert_eq!(
            config.control.socket,
            Path::new("/home/ann/.local/state/hem/hem.sock")
        );
        let place = Place {
            state_home: Some("/s".into()),
            config_home: Some("/c".into()),
            runtime_dir: Some("/run/user/1000".into()),
            ..place
        };
        let config = place.defaults();
        assert_eq!(config.state_dir, Path::new("/s/hem"));
        assert_eq!(config.scripts_dir, Path::new("/c/hem/scripts"));
        assert_eq!(config.control.socket, Path::new("/run/user/1000/hem/hem.sock"));
    }

    #[test]
    fn every_setting_reaches_the_checked_form() {
        let config = read(
            r#"
state_dir: /srv/hem
hooks_dir: hooks.d
scripts_dir: ../scripts
onehem_scripts_dir: /var/lib/one/remotes/hooks
oned:
  { shell: never, source: zone1, auth: one_auth, hooks: none, leader_only: true, catch_up: true, max_gap: 5m, look_every: 10m,
    endpoint: "http://10.0.0.1:2633/RPC2" }
control: { socket: /run/one/hem.sock, socket_mode: "0660", socket_group: oneadmin }
concurrency: 32
blocked_after: 5m
shutdown_grace: 2m
log: warn,hem::engine=debug
reload: manual
permissions: lax
on_damaged_store: start_empty
sources:
  zone1:
    type: opennebula
    endpoint: tcp://10.0.0.1:2101
    ignore_calls: ["one.zone.*"]
    validate: warn
    queue: { events: 500, bytes: 64MiB }
  local: { type: opennebula, endpoint: "ipc:///run/pub", replies: "ipc:///run/rep" }
retention: { executions: 10, unmatched_events: 20, age: 7d, bytes: 1GiB }
limits: { reserve: 1GiB, max_backlog: 99 }
redact: ["//MY_TOKEN"]
"#,
        )
        .expect("a valid configuration");
        assert_eq!(config.hooks_dir, Path::new("/etc/hem/hooks.d"));
        assert_eq!(config.onehem_shell, OnehemShell::Never);
        let oned = Oned {
            endpoint: "http://10.0.0.1:2633/RPC2".parse().expect("an endpoint"),
            auth: vec!["/etc/hem/one_auth".into()],
            source: "zone1".to_owned(),
            hooks: false,
            leader_only: true,
            catch_up: true,
            max_gap: Duration::from_secs(300),
            look_every: Some(Duration::from_secs(600)),
        };
        assert_eq!(config.oned, Some(oned));
        assert_eq!(config.control.socket_mode, 0o660);
        assert_eq!(config.control.socket_group.as_deref(), Some("oneadmin"));
        assert_eq!(config.concurrency, 32);
        assert_eq!(config.blocked_after, Duration::from_secs(300));
        assert_eq!(config.shutdown_grace, Duration::from_secs(120));
        assert_eq!(config.log.as_str(), "warn,hem::engine=debug");
        assert_eq!(config.reload, Reload::Manual);
        assert_eq!(config.permissions, Permissions::Lax);
        assert_eq!(config.on_damaged_store, DamagedStore::StartEmpty);
        assert_eq!(config.retention.bytes, 1 << 30);
        assert_eq!(config.limits.max_backlog, 99);
        assert_eq!(config.redact, ["//MY_TOKEN"]);
        let Some(Source::Opennebula(zone1)) = config.sources.get("zone1") else {
            panic!("zone1 is missing");
        };
        assert_eq!(zone1.replies, "tcp://10.0.0.1:2102");
        assert!(zone1.validate);
        assert_eq!(zone1.queue_bytes, 64 << 20);
    }

    #[test]
    fn the_command_line_has_the_last_word() {
        let config = read("hooks_dir: /a")
            .expect("a valid configuration")
            .with(Overrides {
                hooks_dir: Some("/b".into()),
                opennebula: Some("tcp://127.0.0.1:7000".parse().expect("an endpoint")),
                ..Overrides::default()
            })
            .expect("absolute paths");
        assert_eq!(config.hooks_dir, Path::new("/b"));
        let Some(Source::Opennebula(source)) = config.sources.get("opennebula") else {
            panic!("no source");
        };
        assert_eq!(source.replies, "tcp://127.0.0.1:7001");
    }

    #[test]
    fn a_masakari_is_read_by_nobody_who_takes_up_the_work_of_others() {
        let reading = "sources:\n  one: { type: opennebula }\n  site:\n    type: masakari\n    poll: { endpoint: \"http://m:15868/v1\" }\n";
        assert!(read(reading).is_ok());
        assert!(read(&format!("oned: {{ leader_only: false }}\n{reading}")).is_ok());
        let error = read(&format!("oned: {{ leader_only: true }}\n{reading}")).expect_err("a fault");
        let error = error.to_string();
        assert!(error.contains("a Masakari cannot be read under"), "{error}");
        assert!(error.contains("poll: {"), "it says where: {error}");
        let taking =
            "oned: { leader_only: true }\nsources:\n  one: { type: opennebula }\n  ha: { type: masakari }\n";
        assert!(read(taking).is_ok());
    }

    #[test]
    fn notifications_are_listened_to_by_nobody_who_takes_up_the_work_of_others() {
        let netconf = "netconf: { endpoint: esc.example.org, user: admin, agent: true }";
        let listening = format!(
            "sources:\n  one: {{ type: opennebula }}\n  esc1:\n    type: esc\n    callbacks: {{}}\n    {netconf}\n"
        );
        assert!(read(&listening).is_ok());
        let error = read(&format!("oned: {{ leader_only: true }}\n{listening}")).expect_err("a fault");
        let error = error.to_string();
        assert!(error.contains("the notifications of an ESC cannot"), "{error}");
        assert!(error.contains("netconf: {"), "it says where: {error}");
        let taking = listening.replace(netconf, "");
        assert!(read(&format!("oned: {{ leader_only: true }}\n{taking}")).is_ok());
    }

    #[test]
    fn faults_say_where_and_what() {
        let said = [
            "state_dirr: /x\n",
            "blocked_after: soon\n",
            "control:\n  socket_mode: \"0666\"\n",
            "concurrency: 0\n",
            "log: hem=loud\n",
            "reload: sometimes\n",
            "oned: { shell: often }\n",
            "oned: { endpoint: \"https://one/RPC2\" }\n",
            "oned: { source: zone2 }\n",
            "oned: {}\nsources: {}\n",
            "sources:\n  a b: { type: opennebula }\n",
            "sources:\n  z: { type: rabbitmq }\n",
            "sources:\n  z:\n    type: opennebula\n    endpoint: ipc:///run/pub\n",
            "sources:\n  z: { type: masakari, listen: \"0.0.0.0:1\" }\n",
            "sources:\n  z: { type: masakari, base_path: /a//b }\n",
            "sources:\n  z:\n    type: masakari\n    segments:\n      a: { hosts: { n1: {} } }\n      b: { hosts: { n1: } }\n",
            "sources:\n  z: { type: masakari, segments: { a: { hosts: { \"n 1\": {} } } } }\n",
            "sources:\n  z: { type: masakari, segments: { a: { uuid: 1-2, hosts: {} } } }\n",
            "sources:\n  z: { type: masakari, listen: \"127.0.0.1:1\", poll: { endpoint: \"http://site/v1\" } }\n",
            "sources:\n  z: { type: masakari, poll: { endpoint: \"http://site/v1\", every: 1ms } }\n",
            "sources:\n  z: { type: esc }\n",
            "sources:\n  z: { type: esc, netconf: { user: admin, agent: true } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: \"esc:0\", user: admin, agent: true } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin, agent: true, passphrase: { env: P } } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin, agent: true, known_hosts: [] } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin, agent: true, host_keys: [ssh-ed25519 AAAA] } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin, agent: true, keepalive: 1ms } }\n",
            "sources:\n  z: { type: esc, netconf: { endpoint: esc, user: admin, agent: true, stream: \"\" } }\n",
            "sources:\n  z:\n    type: esc\n    callbacks: { listen: \"0.0.0.0:1\" }\n",
            "sources:\n  z:\n    type: esc\n    callbacks:\n      listen: 0.0.0.0:1\n      addresses: []\n",
            "sources:\n  z:\n    type: esc\n    callbacks: { addresses: [10.0.0.1/8] }\n",
            "sources:\n  z:\n    type: esc\n    callbacks: { token: { secrets: [] } }\n",
            "sources:\n  z:\n    type: esc\n    callbacks: { path: esc }\n",
            "retention: { bytes: 12 }\n",
            "concurrency: 3\nconcurrency: 4\n",
            "control: [\n",
        ]
        .map(|text| match read(text) {
            Ok(_) => panic!("accepted: {text}"),
            Err(error) => error.to_string(),
        })
        .join("\n\n");
        insta::assert_snapshot!(said);
    }

    #[test]
    fn callbacks_from_elsewhere_need_a_token_or_addresses_and_have_defaults() {
        let callbacks = |settings: &str| {
            let text = format!("sources:\n  z: {{ type: esc, callbacks: {{ {settings} }} }}\n");
            let config = read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            match config.sources.get("z") {
                Some(Source::Esc(source)) => source.callbacks.clone().expect("callbacks"),
                other => panic!("{other:?}"),
            }
        };
        let plain = callbacks("");
        assert_eq!(plain.listen.address.to_string(), "127.0.0.1:8081");
        assert_eq!(plain.path, "/esc");
        assert_eq!(plain.remember, Duration::from_secs(86_400));
        assert!(plain.token.is_none() && plain.addresses.is_empty());
        let listed =
            callbacks("listen: \"0.0.0.0:1\", addresses: [192.0.2.10, 10.0.0.0/8], remember: 2h, path: /x");
        assert_eq!(listed.addresses.len(), 2);
        assert_eq!((listed.path.as_str(), listed.remember.as_secs()), ("/x", 7200));
        let known = callbacks(
            "listen: \"0.0.0.0:1\", token: { header: X-Token, secrets: [{ file: esc }, { env: E }] }",
        );
        let token = known.token.expect("a token");
        assert_eq!(token.header.as_deref(), Some("x-token"));
        assert_eq!(token.secrets.len(), 2);
    }

    #[test]
    fn notifications_over_netconf_have_defaults_and_every_way_to_log_in() {
        let netconf = |settings: &str| {
            let text = format!(
                "sources:\n  z: {{ type: esc, netconf: {{ endpoint: esc, user: admin, {settings} }} }}\n"
            );
            let config = read(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            match config.sources.get("z") {
                Some(Source::Esc(source)) => source.netconf.clone().expect("notifications"),
                other => panic!("{other:?}"),
            }
        };
        let plain = netconf("agent: true");
        assert_eq!(plain.endpoint.to_string(), "esc:830");
        assert_eq!(plain.agent, SshAgent::OfEnvironment);
        assert_eq!(
            (plain.stream.as_str(), plain.keepalive.as_secs()),
            ("escEvent", 2)
        );
        assert_eq!(
            (&plain.host_keys, plain.start),
            (&HostKeys::Usual, NetconfStart::Latest)
        );
        assert!(
            !plain.legacy_algorithms && !plain.reconcile && plain.key.is_none() && plain.password.is_none()
        );
        let full = netconf(
            "agent: /run/agent, key: id, passphrase: { env: P }, password: { file: p }, known_hosts: [k], \
             ssh_algorithms: legacy, keepalive: 500ms, stream: s, start: earliest, reconcile: true",
        );
        assert_eq!(full.agent, SshAgent::At("/run/agent".into()));
        assert!(
            full.key
                .is_some_and(|key| key.path.ends_with("id") && key.passphrase.is_some())
        );
        assert!(full.legacy_algorithms && full.reconcile && full.password.is_some());
        assert!(matches!(full.host_keys, HostKeys::Files(files) if files.len() == 1));
        assert_eq!(
            (full.start, full.keepalive.as_millis()),
            (NetconfStart::Earliest, 500)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_makes_it_panic(text in "[a-z_:{}\\[\\]\" \n#&*-]{0,80}") {
            let _ = read(&text);
        }
    }
}
