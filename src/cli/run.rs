//! `hem run`.

use std::fmt;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tracing_subscriber::{EnvFilter, reload};

use super::exit::{Exit, Failure};
use super::onehem_server::OnehemServer;
use super::{Global, Outcome, check, service};
use crate::config::scalar::Endpoint;
use crate::config::{Config, ConfigError, OnehemConf, Overrides, Reread};
use crate::control::server::BindError;
use crate::daemon::{DaemonError, Failed, Options};
use crate::hooks::Hook;
use crate::quantity;

/// What is left to do after a second signal has this long.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Run the daemon
///
/// Without a configuration file it listens to the OpenNebula hook manager on this machine. SIGTERM and Ctrl-C end it:
/// nothing new is started, and what runs gets its grace; a second one ends it at once, and the next start takes up what
/// was cut short. With `--onehem-conf` it takes the place of OpenNebula's onehem-server: what that file says goes before what hem.yaml
/// says, what the command line says goes before both, and the hooks of oned's pool run. SIGHUP reads the configuration and the hooks folder. Under systemd it tells when it is ready, how it does, and feeds the
/// watchdog.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem run
  hem run --hooks-dir ./hooks.d --scripts-dir ./scripts --state-dir ./state
  hem run --observe      # beside onehem-server; `hem compare` says where the two differ
  hem run --opennebula tcp://frontend:2101
  hem run --onehem-conf /etc/one/onehem-server.conf")]
pub(super) struct Arguments {
    /// The folder of hook files
    #[arg(long, value_name = "FOLDER")]
    hooks_dir: Option<PathBuf>,
    /// Where relative commands are looked for
    #[arg(long, value_name = "FOLDER")]
    scripts_dir: Option<PathBuf>,
    /// Where the store lives
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// The only source: an OpenNebula hook manager that publishes here
    #[arg(long, value_name = "ENDPOINT")]
    opennebula: Option<Endpoint>,
    /// The configuration of onehem-server, taken as it is; the hooks of oned's pool run
    #[arg(long, value_name = "FILE")]
    onehem_conf: Option<PathBuf>,
    /// Any error in a hook file keeps the whole former set in force
    #[arg(long)]
    strict_hooks: bool,
    /// Start though an onehem-server runs that listens to the same hook manager: hooks that both know run twice
    #[arg(long)]
    beside_onehem: bool,
    /// Record what would run, start nothing and reply nothing
    #[arg(long)]
    observe: bool,
    /// How long running scripts have to end when the daemon is stopped, instead of `shutdown_grace`
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    shutdown_grace: Option<Duration>,
    /// What somebody gives who means `hem try`.
    #[arg(hide = true)]
    unexpected: Vec<String>,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    if !arguments.unexpected.is_empty() {
        let words = arguments.unexpected.join(" ");
        return Err(
            Failure::new(Exit::Usage, "`hem run` starts the daemon and takes no hook")
                .with_hint(format!("did you mean `hem try {words}`?")),
        );
    }
    let overrides = Overrides {
        state_dir: arguments.state_dir,
        hooks_dir: arguments.hooks_dir,
        scripts_dir: arguments.scripts_dir,
        socket: global.socket.clone(),
        opennebula: arguments.opennebula,
        observe: arguments.observe,
        shutdown_grace: arguments.shutdown_grace,
        onehem_conf: arguments.onehem_conf,
    };
    let config = Config::load(global.config.as_deref())?.with(overrides.clone())?;
    let conf_notes = match &overrides.onehem_conf {
        Some(path) => OnehemConf::read(path)?.notes,
        None => Vec::new(),
    };
    if !arguments.beside_onehem && !config.observe {
        refuse_to_run_hooks_twice(&config)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?;
    let options = Options {
        strict_hooks: arguments.strict_hooks,
        reread: Some(Arc::new(Origin {
            file: global.config.clone(),
            overrides,
            log: log_to_stderr(&config),
        })),
    };
    for note in conf_notes {
        tracing::warn!("onehem-server.conf: {note}");
    }
    let ended = runtime.block_on(service::serve(&config, options));
    // After a second signal scripts may still run; dropping their tasks kills them.
    runtime.shutdown_timeout(AT_ONCE);
    ended
}

/// Refuses to start beside an `onehem-server` that runs the same hooks: those of `oned`'s pool, or files with an `id`, which stand for
/// them. Hooks without one are hem's alone.
fn refuse_to_run_hooks_twice(config: &Config) -> Result<(), Failure> {
    let servers = OnehemServer::beside(config);
    let Some(server) = servers.first() else {
        return Ok(());
    };
    let pool = config.oned.as_ref().is_some_and(|oned| oned.hooks);
    // A folder that cannot be read has no hooks to run.
    let shared = check::read(&config.hooks_dir, config).ok().and_then(|checked| {
        let stands_for = |hook: &&Arc<Hook>| hook.enabled && hook.oned_id.is_some();
        checked
            .hooks
            .iter()
            .find(stands_for)
            .map(|hook| hook.name.clone())
    });
    let both_run = match (pool, shared) {
        (true, _) => "the hooks of oned's pool (`oned:` in hem.yaml)".to_owned(),
        (false, Some(name)) => format!("the hook `{name}`, whose `id:` stands for one of oned's"),
        (false, None) => return Ok(()),
    };
    let message = format!(
        "onehem-server runs (pid {}) and listens to {}: both would run {both_run}",
        server.pid, server.endpoint
    );
    Err(Failure::new(Exit::Invalid, message).with_hint(
        "stop it with `systemctl stop opennebula-hem`, or `onehem-server stop` where no service manager started it; \
         `hem run --observe` may run beside it, and `--beside-onehem` starts hem all the same",
    ))
}

pub(super) fn failure(error: &DaemonError) -> Failure {
    let exit = match error {
        DaemonError::Store(error) if error.is_passing() => Exit::StoreForNow,
        DaemonError::Store(_) => Exit::Store,
        DaemonError::Failed(Failed::Store) => Exit::StoreForNow,
        DaemonError::Control(BindError::NoGroup { .. } | BindError::TooLong { .. }) => Exit::Invalid,
        DaemonError::Source { source, .. } if !source.is_passing() => Exit::Invalid,
        DaemonError::Source { .. }
        | DaemonError::Control(_)
        | DaemonError::Engine(_)
        | DaemonError::Failed(Failed::Part(_)) => Exit::Failed,
    };
    Failure::of(exit, error)
}

/// Where the daemon's configuration comes from, and the log that follows it.
struct Origin {
    file: Option<PathBuf>,
    overrides: Overrides,
    /// Unset where something else than the configuration says what the log holds.
    log: Option<ChangeFilter>,
}

/// Changes what the log holds.
type ChangeFilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

impl Reread for Origin {
    fn reread(&self) -> Result<Config, ConfigError> {
        Config::load(self.file.as_deref())?.with(self.overrides.clone())
    }

    fn is_in_force(&self, config: &Config) {
        if let Some(change) = &self.log
            && let Err(error) = change(EnvFilter::new(config.log.as_str()))
        {
            tracing::error!(%error, "the log stays as it is");
        }
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

/// The daemon's log. `HEM_LOG` chooses what is in it (`debug`, `hem::engine=trace`), or else the configuration.
fn log_to_stderr(config: &Config) -> Option<ChangeFilter> {
    let by_variable = EnvFilter::try_from_env("HEM_LOG").ok();
    let follows_configuration = by_variable.is_none();
    let filter = by_variable.unwrap_or_else(|| EnvFilter::new(config.log.as_str()));
    let log = tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_env_filter(filter)
        .with_filter_reloading();
    let handle = log.reload_handle();
    // Only the first daemon of a process sets the log up.
    let is_ours = log.try_init().is_ok();
    (is_ours && follows_configuration).then(|| Box::new(move |filter| handle.reload(filter)) as ChangeFilter)
}
