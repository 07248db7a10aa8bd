//! The daemon: whether one answers, as whom it runs, and what it is concerned about.

use std::os::unix::fs::MetadataExt as _;

use nix::unistd::{Uid, User};
use tokio::time::timeout;

use super::LIMIT;
use super::report::{Finding, Section};
use crate::cli::exit::chain;
use crate::cli::onehem_server::OnehemServer;
use crate::config::Config;
use crate::control::api::{HookView, StatusView};
use crate::control::client::{Client, ClientError};

/// What was found, and what the daemon says its hooks are.
pub(super) struct Daemon {
    pub(super) section: Section,
    /// The hooks in force; none without a daemon that says so.
    pub(super) hooks: Option<Vec<HookView>>,
}

pub(super) async fn look(config: &Config) -> Daemon {
    let mut findings = Vec::new();
    let asked = timeout(LIMIT, ask(config)).await;
    let (hooks, runs) = match asked {
        Ok(Ok((status, hooks))) => {
            findings.extend(of_status(&status, config));
            // One that only observes runs nothing a second time.
            (Some(hooks), !status.observing)
        }
        Ok(Err(ClientError::NotReachable { .. })) => {
            findings.push(Finding::skipped(format!(
                "no daemon answers at {}: start it with `systemctl start hem`, on a front-end with the package hem-opennebula \
                 `systemctl start opennebula-hem`",
                config.control.socket.display()
            )));
            (None, false)
        }
        Ok(Err(error @ ClientError::NotPermitted { .. })) => {
            findings.push(Finding::warn(
                chain(&error),
                "run it as the daemon's user, or give your group access with `control: { socket_group }` in hem.yaml",
            ));
            (None, true)
        }
        Ok(Err(error)) => {
            findings.push(Finding::fail(
                chain(&error),
                "look at the daemon's log: `journalctl -u hem -u opennebula-hem -n 50`",
            ));
            (None, true)
        }
        Err(_) => {
            findings.push(Finding::fail(
                format!(
                    "the daemon does not answer within {} s at {}",
                    LIMIT.as_secs(),
                    config.control.socket.display()
                ),
                "look at its log: `journalctl -u hem -u opennebula-hem -n 50`",
            ));
            (None, true)
        }
    };
    findings.extend(other_user(config));
    findings.push(predecessor(config, runs));
    Daemon {
        section: Section {
            name: "daemon",
            findings,
        },
        hooks,
    }
}

async fn ask(config: &Config) -> Result<(StatusView, Vec<HookView>), ClientError> {
    let client = Client::connect(&config.control.socket).await?;
    Ok((client.status().await?, client.hooks().await?))
}

fn of_status(status: &StatusView, config: &Config) -> Vec<Finding> {
    let does = if status.observing {
        "; it only observes"
    } else {
        ""
    };
    let mut findings = vec![Finding::ok(format!(
        "hem {} answers at {}; hooks in force: {}{does}",
        status.version,
        config.control.socket.display(),
        status.hooks
    ))];
    if status.version != env!("CARGO_PKG_VERSION") {
        findings.push(Finding::warn(
            format!(
                "this is hem {}, the daemon is another version",
                env!("CARGO_PKG_VERSION")
            ),
            "restart the daemon to run what is installed",
        ));
    }
    findings.extend(
        status
            .concerns
            .iter()
            .map(|concern| Finding::warn(concern, "`hem status` says more")),
    );
    findings
}

/// Keys, credentials and rights are looked at as those of whoever runs this.
fn other_user(config: &Config) -> Option<Finding> {
    let of = |path: &std::path::Path| Some(Uid::from_raw(std::fs::metadata(path).ok()?.uid()));
    let owner = of(&config.control.socket).or_else(|| of(&config.state_dir))?;
    if owner == Uid::effective() {
        return None;
    }
    let name = |uid: Uid| match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("#{uid}"),
    };
    let owner = name(owner);
    Some(Finding::warn(
        format!(
            "the daemon is `{owner}`'s, and this runs as `{}`: credentials, ssh keys and rights may differ",
            name(Uid::effective())
        ),
        format!("run `sudo -u {owner} hem doctor`"),
    ))
}

/// An `onehem-server` that still runs.
fn predecessor(config: &Config, hem_runs: bool) -> Finding {
    let servers = OnehemServer::beside(config);
    let Some(server) = servers.first() else {
        return Finding::ok("no onehem-server listens where hem does");
    };
    let found = format!(
        "onehem-server runs (pid {}) and listens to {}",
        server.pid, server.endpoint
    );
    let stop = "`systemctl stop opennebula-hem`, or `onehem-server stop` where no service manager started it";
    if hem_runs {
        Finding::warn(
            format!("{found}, and so does hem: hooks that both know run twice"),
            stop,
        )
    } else {
        Finding::warn(
            format!("{found}: `hem run` does not start beside it where both would run the same hooks"),
            format!("{stop}, once you are to change over"),
        )
    }
}
