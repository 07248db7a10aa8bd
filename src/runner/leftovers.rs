//! Ends what a former life of the daemon left running.
//!
//! Every script carries `HEM_INSTANCE=<store id>` in its environment, and so do its descendants unless they cleared it. A
//! process that cleared its environment and made a session of its own cannot be told from a stranger and is left alone.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid, getpgrp};
use tokio::time::{Instant, sleep};

use super::process_group::Stat;

/// How long killed processes are waited for.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(50);

/// A process that a former life of the daemon left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its process id.
    pub pid: u32,
    /// Its command line, blanks between the words.
    pub command: String,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a leftover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It ended within the grace.
    Terminated,
    /// It was ended by KILL.
    Killed,
    /// It is still there: it waits in the kernel, or belongs to somebody else by now.
    Survives,
}

/// Ends every process of this user whose environment holds `HEM_INSTANCE=<instance>`, with its process group: TERM, `grace`,
/// KILL, and a bounded wait. Says what was found. This process and those it descends from are spared, and so is its own group.
///
/// Must run before anything of this life is started, because that carries the same mark.
pub async fn end_leftovers(instance: &str, grace: Duration) -> Vec<Leftover> {
    let found = marked_processes(instance);
    if found.is_empty() {
        return Vec::new();
    }
    signal_all(&found, Signal::SIGTERM);
    signal_all(&found, Signal::SIGCONT);
    // Those that appear meanwhile are children of the found ones: they are signalled as soon as they are seen.
    let mut known = found.clone();
    let after_term = wait_for_end(instance, &mut known, grace, Signal::SIGTERM).await;
    let mut survivors = Vec::new();
    if !after_term.is_empty() {
        signal_all(&after_term, Signal::SIGKILL);
        survivors = wait_for_end(instance, &mut known, KILL_PATIENCE, Signal::SIGKILL).await;
    }
    known
        .into_iter()
        .map(|process| Leftover {
            fate: if survivors.contains(&process) {
                Fate::Survives
            } else if after_term.contains(&process) {
                Fate::Killed
            } else {
                Fate::Terminated
            },
            pid: process.pid,
            command: process.command,
        })
        .collect()
}

/// A process that carries the mark. Pid and start time together name it for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked {
    pid: u32,
    start_ticks: u64,
    group: i32,
    command: String,
}

async fn wait_for_end(
    instance: &str,
    known: &mut Vec<Marked>,
    patience: Duration,
    signal: Signal,
) -> Vec<Marked> {
    let until = Instant::now() + patience;
    loop {
        let new: Vec<Marked> = marked_processes(instance)
            .into_iter()
            .filter(|process| !known.iter().any(|other| other.is(process)))
            .collect();
        signal_all(&new, signal);
        known.extend(new);
        // An ending process gives up its environment, and with it the mark, before it is gone.
        let left: Vec<Marked> = known
            .iter()
            .filter(|process| process.is_alive())
            .cloned()
            .collect();
        if left.is_empty() || Instant::now() >= until {
            return left;
        }
        sleep(POLL).await;
    }
}

impl Marked {
    fn is(&self, other: &Self) -> bool {
        self.pid == other.pid && self.start_ticks == other.start_ticks
    }

    fn is_alive(&self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.start_ticks == self.start_ticks && !stat.is_zombie)
    }
}

fn signal_all(processes: &[Marked], signal: Signal) {
    let own_group = getpgrp().as_raw();
    for process in processes {
        let Ok(pid) = i32::try_from(process.pid) else {
            continue;
        };
        let sent = if process.group > 1 && process.group != own_group {
            killpg(Pid::from_raw(process.group), signal)
        } else {
            kill(Pid::from_raw(pid), signal)
        };
        if let Err(errno) = sent
            && errno != nix::errno::Errno::ESRCH
        {
            tracing::warn!(pid = process.pid, %signal, %errno, "a process of a former life could not be signalled");
        }
    }
}

fn marked_processes(instance: &str) -> Vec<Marked> {
    let mark = format!("HEM_INSTANCE={instance}").into_bytes();
    let uid = Uid::current().as_raw();
    let spared = own_line();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut marked: Vec<Marked> = processes
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            if spared.contains(&pid) || entry.metadata().ok()?.uid() != uid {
                return None;
            }
            let environment = fs::read(entry.path().join("environ")).ok()?;
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark)
                .then_some(())?;
            let stat = Stat::of(pid).filter(|stat| !stat.is_zombie)?;
            Some(Marked {
                pid,
                start_ticks: stat.start_ticks,
                group: stat.group,
                command: command_line(pid),
            })
        })
        .collect();
    marked.sort_by_key(|process| process.pid);
    marked
}

/// This process and all it descends from.
fn own_line() -> Vec<u32> {
    let mut line = vec![std::process::id()];
    while let Some(pid) = line.last().copied()
        && let Some(parent) = Stat::of(pid).and_then(|stat| u32::try_from(stat.parent).ok())
        && parent > 0
        && !line.contains(&parent)
    {
        line.push(parent);
    }
    line
}

fn command_line(pid: u32) -> String {
    let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
    let mut bytes = fs::read(path).unwrap_or_default();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    for byte in &mut bytes {
        if *byte == 0 {
            *byte = b' ';
        }
    }
    std::ffi::OsStr::from_bytes(&bytes).to_string_lossy().into_owned()
}
