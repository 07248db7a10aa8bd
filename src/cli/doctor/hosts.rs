//! The hosts that hooks with `remote: true` run on: whether `ssh` gets there without a password, and finds the commands.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use tokio::process::Command;

use super::controller::Controller;
use super::hooks::Declared;
use super::program::{self, NoAnswer};
use super::report::{Finding, Section};
use crate::cli::exit::chain;
use crate::cli::output::count;
use crate::config::Config;
use crate::event::document;
use crate::runner::ssh::Ssh;

/// Longer than the time in which `ssh` itself gives up.
const LIMIT: Duration = Duration::from_secs(15);

/// Hosts that are asked at once.
const AT_ONCE: usize = 4;

/// What `ssh` ends with when it could not reach the host (ssh(1), "Exit status").
const TRANSPORT_FAILED: i32 = 255;

/// `STATE` of a host that is switched off on purpose (`Host.h`).
const OFFLINE: &str = "8";

/// `given` are the hosts named on the command line, `remote` the hooks that run on hosts.
pub(super) async fn look(
    config: &Config,
    controller: &Controller,
    given: Vec<String>,
    remote: &[&Declared],
) -> Section {
    Section {
        name: "remote hosts",
        findings: findings(config, controller, given, remote).await,
    }
}

async fn findings(
    config: &Config,
    controller: &Controller,
    given: Vec<String>,
    remote: &[&Declared],
) -> Vec<Finding> {
    let hosts = match (given.is_empty(), remote.is_empty()) {
        (false, _) => given,
        (true, true) => {
            return vec![Finding::skipped(
                "no hook has `remote: true`; `--host` looks at hosts all the same",
            )];
        }
        (true, false) => match hosts_of(controller).await {
            Ok(hosts) => hosts,
            Err(why) => {
                return vec![Finding::skipped(format!(
                    "which hosts there are is not known: {why}; name some with `--host`"
                ))];
            }
        },
    };
    if hosts.is_empty() {
        return vec![Finding::skipped("oned knows no host that is not offline")];
    }
    let question = question(remote);
    let number = hosts.len();
    let faults: Vec<Vec<Finding>> = stream::iter(hosts)
        .map(|host| of_host(config, host, &question))
        .buffered(AT_ONCE)
        .collect()
        .await;
    let faults: Vec<Finding> = faults.into_iter().flatten().collect();
    if faults.is_empty() {
        let reached = match number {
            1 => "1 host is".to_owned(),
            number => format!("{} hosts are", count(number as u64)),
        };
        let commands = if remote.is_empty() {
            ""
        } else {
            ", and the commands of hooks with `remote: true` are there"
        };
        vec![Finding::ok(format!(
            "{reached} reached by ssh without a password{commands}"
        ))]
    } else {
        faults
    }
}

/// The names of the hosts in the pool that are not offline.
async fn hosts_of(controller: &Controller) -> Result<Vec<String>, String> {
    let client = controller.client.as_ref().ok_or("oned was not asked")?;
    let pool = client
        .text("one.hostpool.info", &[])
        .await
        .map_err(|error| chain(&error))?;
    let pool = document::parse(&pool).map_err(|fault| fault.to_string())?;
    Ok(pool
        .elements()
        .filter_map(|host| {
            let text = |name| Some(host.elements().find(|element| element.name == name)?.text());
            let name = text("NAME")?;
            // A name that could be an option is none that hem would give to `ssh` either.
            let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric());
            (is_name && text("STATE").as_deref() != Some(OFFLINE)).then_some(name)
        })
        .collect())
}

/// A line for the host's shell, which prints the commands that are not there. Whatever shell the user has there, `sh` reads it.
fn question(remote: &[&Declared]) -> String {
    let mut programs: Vec<String> = remote
        .iter()
        .map(|hook| hook.program.to_string_lossy().into_owned())
        .collect();
    programs.sort();
    programs.dedup();
    if programs.is_empty() {
        return "true".to_owned();
    }
    let words: Vec<_> = programs
        .iter()
        .map(|program| shell_words::quote(program))
        .collect();
    let script = format!(
        "for file in {}; do [ -x \"$file\" ] || echo \"$file\"; done",
        words.join(" ")
    );
    format!("sh -c {}", shell_words::quote(&script))
}

async fn of_host(config: &Config, host: String, question: &str) -> Vec<Finding> {
    let ssh = Ssh {
        config: config.ssh.config.clone(),
        sockets: None,
    };
    let mut command = Command::new("ssh");
    command
        .args(ssh.options(&host))
        .args(["-n", "--", &host, question]);
    let answer = match program::ask(&mut command, LIMIT).await {
        Ok(answer) => answer,
        Err(NoAnswer::Start(error)) => {
            return vec![Finding::fail(
                format!("`{host}`: cannot start ssh: {error}"),
                "install openssh-client",
            )];
        }
        Err(error @ NoAnswer::TooSlow(_)) => {
            return vec![Finding::fail(
                format!("`{host}`: {error}"),
                format!("try `ssh -o BatchMode=yes {host} true` as the daemon's user"),
            )];
        }
    };
    match answer.status.code() {
        Some(0) => answer
            .stdout
            .lines()
            .map(|missing| {
                Finding::fail(
                    format!("`{host}`: there is no executable `{missing}`"),
                    "`onehost sync --force` copies the scripts of /var/lib/one/remotes to the hosts",
                )
            })
            .collect(),
        Some(TRANSPORT_FAILED) => {
            let said = answer.stderr.lines().rfind(|line| !line.trim().is_empty());
            vec![Finding::fail(
                format!(
                    "`{host}`: {}",
                    said.unwrap_or("ssh failed and does not say why").trim()
                ),
                format!(
                    "make `ssh -o BatchMode=yes {host} true` work for the daemon's user: its key, its known_hosts, its agent"
                ),
            )]
        }
        _ => vec![Finding::fail(
            format!(
                "`{host}`: ssh gets there, but no command runs ({}): {}",
                answer.status,
                answer.stderr.lines().next_back().unwrap_or_default()
            ),
            "look at the login shell of the user there",
        )],
    }
}
