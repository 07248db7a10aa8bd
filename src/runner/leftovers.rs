//! Ends what a former life of the daemon left running.
//!
//! Every script carries `HEM_INSTANCE=<store id>` in its environment, and so do its descendants unless they cleared it. A
//! script itself is also known by what was recorded when it was started, whatever has become of its environment. A
//! descendant that cleared its environment and left the script's group cannot be told from a stranger and is left alone.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, Uid, getpgrp};
use tokio::time::{Instant, sleep};

use super::process_group::Stat;
use super::processes::command_line;

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

/// A process that a former life started, as recorded then. The three together name it for ever: a pid is used again, and
/// after another boot the ticks are counted anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its process id, which is also the id of its process group.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Which boot that was: see [`boot_id`].
    pub boot_id: String,
}

/// What tells this boot of the machine from all others; none where the kernel does not say.
pub fn boot_id() -> Option<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim_end().to_owned()).filter(|id| !id.is_empty())
}

/// Ends every process of this user whose environment holds `HEM_INSTANCE=<instance>`, and the `recorded` ones that are still
/// there, with their process groups: TERM, `grace`, KILL, and a bounded wait. Says what was found. This process and those it
/// descends from are spared, and so is its own group.
///
/// Must run before anything of this life is started, because that carries the same mark.
pub async fn end_leftovers(instance: &str, recorded: &[Recorded], grace: Duration) -> Vec<Leftover> {
    let mut found = recorded_processes(instance, recorded);
    end_at_its_leisure(&found);
    let marked: Vec<Marked> = marked_processes(instance)
        .into_iter()
        .filter(|process| !found.iter().any(|other| other.is(process)))
        .collect();
    end_at_its_leisure(&marked);
    found.extend(marked);
    if found.is_empty() {
        return Vec::new();
    }
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

/// A process that carries the mark, or is recorded. Pid and start time together name it until the next boot.
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

/// A stopped process is woken, so that it can end.
fn end_at_its_leisure(processes: &[Marked]) {
    signal_all(processes, Signal::SIGTERM);
    signal_all(processes, Signal::SIGCONT);
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

/// The recorded processes that are still the same ones. One whose environment shows the mark of another instance is not ours,
/// whatever the numbers say: where pids are counted apart, as in containers, they may be the same by chance.
fn recorded_processes(instance: &str, recorded: &[Recorded]) -> Vec<Marked> {
    let Some(boot) = boot_id() else {
        return Vec::new();
    };
    let mark = mark(instance);
    let spared = own_line();
    recorded
        .iter()
        .filter(|process| process.boot_id == boot && process.pid > 1 && !spared.contains(&process.pid))
        .filter_map(|process| {
            let stat = Stat::of(process.pid)?;
            let is_the_same = stat.start_ticks == process.start_ticks && !stat.is_zombie;
            let is_anothers = || {
                let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
                environment
                    .split(|byte| *byte == 0)
                    .any(|variable| variable.starts_with(b"HEM_INSTANCE=") && variable != mark)
            };
            (is_the_same && !is_anothers()).then(|| Marked {
                pid: process.pid,
                start_ticks: stat.start_ticks,
                group: stat.group,
                command: command_line(process.pid),
            })
        })
        .collect()
}

fn mark(instance: &str) -> Vec<u8> {
    format!("HEM_INSTANCE={instance}").into_bytes()
}

fn marked_processes(instance: &str) -> Vec<Marked> {
    let mark = mark(instance);
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
