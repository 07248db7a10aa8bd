//! `hem run`.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, signals};
use crate::config::quantity::Endpoint;
use crate::config::{Config, Overrides};

/// Run the daemon
///
/// Without a configuration file it listens to the OpenNebula hook manager on this machine. SIGTERM and Ctrl-C end it:
/// nothing new is started, and what runs gets its grace.
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
    let shutdown = CancellationToken::new();
    runtime.block_on(signals::until_done(&shutdown, daemon(config, shutdown.clone())))?
}

async fn daemon(_config: Config, shutdown: CancellationToken) -> Outcome {
    shutdown.cancelled().await;
    Ok(Exit::Ok)
}
