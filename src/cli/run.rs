//! `hem run`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, service};
use crate::config::scalar::Endpoint;
use crate::config::{Config, Overrides};
use crate::control::server::BindError;
use crate::daemon::{DaemonError, Failed, Options};
use crate::quantity;

/// What is left to do after a second signal has this long.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Run the daemon
///
/// Without a configuration file it listens to the OpenNebula hook manager on this machine. SIGTERM and Ctrl-C end it:
/// nothing new is started, and what runs gets its grace; a second one ends it at once, and the next start takes up what
/// was cut short. SIGHUP reads the hooks folder. Under systemd it tells when it is ready, how it does, and feeds the
/// watchdog.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem run
  hem run --hooks-dir ./hooks.d --scripts-dir ./scripts --state-dir ./state
  hem run --opennebula tcp://frontend:2101")]
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
    /// Any error in a hook file keeps the whole former set in force
    #[arg(long)]
    strict_hooks: bool,
    /// How long running scripts have to end when the daemon is stopped
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = quantity::duration)]
    shutdown_grace: Duration,
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
    let config = Config::load(global.config.as_deref())?.with(Overrides {
        state_dir: arguments.state_dir,
        hooks_dir: arguments.hooks_dir,
        scripts_dir: arguments.scripts_dir,
        socket: global.socket.clone(),
        opennebula: arguments.opennebula,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?;
    log_to_stderr();
    let options = Options {
        strict_hooks: arguments.strict_hooks,
        stop_grace: arguments.shutdown_grace,
    };
    let ended = runtime.block_on(service::serve(&config, options));
    // After a second signal scripts may still run; dropping their tasks kills them.
    runtime.shutdown_timeout(AT_ONCE);
    ended
}

pub(super) fn failure(error: &DaemonError) -> Failure {
    let exit = match error {
        DaemonError::Store(error) if error.is_passing() => Exit::StoreForNow,
        DaemonError::Store(_) => Exit::Store,
        DaemonError::Failed(Failed::Store) => Exit::StoreForNow,
        DaemonError::Control(BindError::NoGroup { .. } | BindError::TooLong { .. }) => Exit::Invalid,
        DaemonError::Control(_) | DaemonError::Engine(_) | DaemonError::Failed(Failed::Part(_)) => {
            Exit::Failed
        }
    };
    Failure::of(exit, error)
}

/// The daemon's log; `HEM_LOG` chooses what is in it (`debug`, `hem::engine=trace`).
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("HEM_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    // Only the first daemon of a process sets the log up.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}
