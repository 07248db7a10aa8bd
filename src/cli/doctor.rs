//! `hem doctor`.

mod controller;
mod daemon;
mod hook_manager;
mod hooks;
mod hosts;
mod machine;
mod netconf;
mod program;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use self::hooks::Declared;
use self::report::{Finding, Report, Section};
use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::config::Config;

/// What has not answered by then counts as one that does not. Hosts have a little more, because `ssh` itself gives up first.
const LIMIT: Duration = Duration::from_secs(10);

/// The steps that the progress counts.
const STEPS: u64 = 7;

/// Look at all that hem needs, and say what to do
///
/// One page: the daemon, oned and its credentials, the hook manager's two sockets, the NETCONF servers of ESC with their host keys, who
/// leads, an onehem-server that still runs, every hook's command with its interpreter and rights, the hosts of hooks with `remote: true`, disk and clock.
/// Nothing is changed and nothing is sent to the hook manager. Run it as the daemon's user, whose keys, credentials and
/// rights it then looks at; with a daemon or without. Exit code 1 says that something fails; warnings do not.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sudo -u oneadmin hem doctor
  hem doctor --host node1 --host node2     # can hooks with `remote: true` run there?
  hem doctor --json | jq -r .digest        # the hooks in one number, to compare over front-ends")]
pub(super) struct Arguments {
    /// A host to reach by ssh [default: where a hook has `remote: true`, all that oned knows and that are not offline]
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
    /// oned's configuration, to find the hook manager's arguments while it does not run
    /// [default: $ONE_LOCATION/etc/oned.conf, or /etc/one/oned.conf]
    #[arg(long, value_name = "FILE")]
    oned_conf: Option<PathBuf>,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start the runtime: {error}")))?;
    let report = match global.config() {
        Ok(config) => runtime.block_on(examine(&config, arguments)),
        Err(failure) => Report {
            sections: vec![Section {
                name: "configuration",
                findings: vec![invalid(failure)?],
            }],
            digest: None,
        },
    };
    // A disk that does not answer keeps a thread for ever; nobody waits for it.
    runtime.shutdown_background();
    if global.json {
        output::print_json(&report.view())?;
    } else {
        output::print(&report.render(&global.style()))?;
    }
    Ok(if report.has_failed() {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

fn invalid(failure: Failure) -> Result<Finding, Failure> {
    match failure {
        Failure::Said { message, hint, .. } => Ok(Finding::fail(
            message,
            hint.unwrap_or_else(|| "nothing else was looked at; mend this first".to_owned()),
        )),
        Failure::Output(_) => Err(failure),
    }
}

async fn examine(config: &Config, arguments: Arguments) -> Report {
    // It hides itself where standard error is no terminal.
    let progress = ProgressBar::new(STEPS);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} looked at, {elapsed}") {
        progress.set_style(style);
        progress.enable_steady_tick(Duration::from_millis(200));
    }
    let (daemon, controller, hook_manager, netconf, machine) = tokio::join!(
        counted(&progress, daemon::look(config)),
        counted(&progress, controller::look(config)),
        counted(&progress, hook_manager::look(config, arguments.oned_conf)),
        counted(&progress, netconf::look(config)),
        counted(&progress, machine::look(config)),
    );
    let hooks = counted(&progress, hooks::look(config, &daemon, &controller)).await;
    let remote: Vec<&Declared> = hooks
        .declared
        .iter()
        .filter(|hook| hook.runs_elsewhere())
        .collect();
    let hosts = hosts::look(config, &controller, arguments.host, &remote);
    let hosts = counted(&progress, hosts).await;
    progress.finish_and_clear();
    let mut sections = vec![daemon.section, controller.section, hook_manager];
    sections.extend(netconf);
    let digest = hooks.digest();
    sections.extend([hooks.section, hosts, machine]);
    Report { digest, sections }
}

async fn counted<T>(progress: &ProgressBar, look: impl Future<Output = T>) -> T {
    let seen = look.await;
    progress.inc(1);
    seen
}

/// Looks at files and disks on a thread that may have to wait for them; none when the limit has passed.
async fn within_limit<T: Send + 'static>(look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let looking = tokio::task::spawn_blocking(look);
    timeout(LIMIT, looking).await.ok()?.ok()
}
