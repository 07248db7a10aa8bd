//! The machine: room on the store's disk, and the clock.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;
use tokio::process::Command;

use super::program::{self, NoAnswer};
use super::report::{Finding, Section};
use super::{LIMIT, within_limit};
use crate::cli::onehem_server::is_this_machine;
use crate::config::Config;

pub(super) async fn look(config: &Config) -> Section {
    let (disk, clock) = tokio::join!(disk(config), clock());
    Section {
        name: "machine",
        findings: vec![disk, clock, difference(config)],
    }
}

/// How full the store's disk is, against what hem keeps free.
async fn disk(config: &Config) -> Finding {
    let (folder, limits) = (config.state_dir.clone(), config.limits.clone());
    let shown = folder.display().to_string();
    let room = within_limit(move || {
        // Before the first start there is no folder yet.
        let disk = folder
            .ancestors()
            .find_map(|place| place.exists().then(|| statvfs(place)))
            .unwrap_or_else(|| statvfs(Path::new("/")))?;
        let block = disk.fragment_size();
        let free = disk.blocks_available().saturating_mul(block);
        let reserve = limits.reserve_on(disk.blocks().saturating_mul(block));
        nix::Result::Ok((free, reserve))
    });
    let mib = |bytes: u64| format!("{} MiB", bytes >> 20);
    match room.await {
        Some(Ok((free, reserve))) if free < reserve => Finding::fail(
            format!(
                "{} are free for {shown}, {} are kept in reserve: nothing new is accepted",
                mib(free),
                mib(reserve)
            ),
            "make room; hem goes on by itself then",
        ),
        Some(Ok((free, reserve))) if free < reserve.saturating_mul(2) => Finding::warn(
            format!(
                "{} are free for {shown}; below {} nothing new is accepted",
                mib(free),
                mib(reserve)
            ),
            "make room, or keep less with `retention:` in hem.yaml",
        ),
        Some(Ok((free, reserve))) => Finding::ok(format!(
            "{} are free for {shown}; {} are kept in reserve",
            mib(free),
            mib(reserve)
        )),
        Some(Err(errno)) => Finding::fail(
            format!("cannot tell how much room there is for {shown}: {errno}"),
            "look at the disk: `df`, `dmesg`",
        ),
        None => Finding::fail(
            format!("the disk of {shown} did not answer within {} s", LIMIT.as_secs()),
            "look at it: `dmesg`, `mount`",
        ),
    }
}

/// What the kernel's clock discipline says; `timedatectl` reads it from there (adjtimex(2), STA_UNSYNC).
async fn clock() -> Finding {
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]);
    match program::ask(&mut command, LIMIT).await {
        Ok(answer) if answer.status.success() => match answer.stdout.trim() {
            "yes" => Finding::ok("the clock is synchronised (says `timedatectl`)"),
            _ => Finding::warn(
                "the clock is not synchronised (says `timedatectl`)",
                "install and start chrony or systemd-timesyncd: records of several machines can hardly be compared otherwise",
            ),
        },
        Ok(answer) => Finding::skipped(format!(
            "whether the clock is synchronised is not known: `timedatectl` says `{}`",
            answer.stderr.lines().next().unwrap_or_default()
        )),
        Err(NoAnswer::Start(error)) if error.kind() == io::ErrorKind::NotFound => {
            Finding::skipped("whether the clock is synchronised is not known: there is no `timedatectl`")
        }
        Err(error) => Finding::skipped(format!(
            "whether the clock is synchronised is not known: `timedatectl`: {error}"
        )),
    }
}

/// `oned`'s answers bear no time, so another machine's clock is not compared.
fn difference(config: &Config) -> Finding {
    match config.oned_to_ask() {
        Ok(oned) if is_this_machine(oned.endpoint.url().host()) => {
            Finding::ok("oned has the same clock: it runs on this machine")
        }
        Ok(oned) => Finding::skipped(format!(
            "the clock is not compared with that of {}: oned's answers do not say the time there",
            oned.endpoint.url().host()
        )),
        Err(_) => Finding::skipped("the clock is not compared with oned's: where oned is is not known"),
    }
}
