//! Process groups, and what `/proc` says of processes.

use std::fs;
use std::path::Path;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The process group that one started process leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct ProcessGroup {
    leader: u32,
    /// Once its leader was waited for, the leader's number is free to be given to a stranger.
    leader_reaped: bool,
}

impl ProcessGroup {
    pub(super) fn led_by(pid: u32) -> Self {
        Self {
            leader: pid,
            leader_reaped: false,
        }
    }

    pub(super) fn leader_was_reaped(&mut self) {
        self.leader_reaped = true;
    }

    /// Asks every member to end. A stopped process is woken, so that it can.
    pub(super) fn terminate(self) {
        self.signal(Signal::SIGTERM);
        self.signal(Signal::SIGCONT);
    }

    pub(super) fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(self, signal: Signal) {
        let Some(pgid) = self.pgid() else { return };
        if self.is_a_strangers() {
            return;
        }
        if let Err(errno) = killpg(pgid, signal)
            && errno != nix::errno::Errno::ESRCH
        {
            tracing::warn!(group = self.leader, %signal, %errno, "a process group could not be signalled");
        }
    }

    fn pgid(self) -> Option<Pid> {
        // 0 and 1 would mean our own group and everybody.
        i32::try_from(self.leader)
            .ok()
            .filter(|pid| *pid > 1)
            .map(Pid::from_raw)
    }

    /// A process with the leader's number after the leader was waited for: the group had been empty and its number was given
    /// away. As long as any member lives, the kernel gives the number to nobody.
    fn is_a_strangers(self) -> bool {
        self.leader_reaped && Path::new(&format!("/proc/{}", self.leader)).exists()
    }

    /// Whether anybody in the group still runs. Zombies do not count: where nobody collects orphans they stay for ever.
    pub(super) fn is_alive(self) -> bool {
        let Some(pgid) = self.pgid() else { return false };
        if self.is_a_strangers() || killpg(pgid, None).is_err() {
            return false;
        }
        let Ok(processes) = fs::read_dir("/proc") else {
            return true;
        };
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .filter_map(Stat::of)
            .any(|stat| stat.group == pgid.as_raw() && !stat.is_zombie)
    }
}

/// What `/proc/<pid>/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) is_zombie: bool,
    /// Clock ticks since boot.
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The command's name (field 2) stands in parentheses and may itself hold blanks and parentheses: proc_pid_stat(5).
    fn parse(line: &str) -> Option<Self> {
        let (_, after_name) = line.rsplit_once(')')?;
        let mut fields = after_name.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        // Fields 3 to 5 are taken; starttime is field 22.
        let start_ticks = fields.nth(16)?.parse().ok()?;
        Some(Self {
            parent,
            group,
            is_zombie: matches!(state, "Z" | "X"),
            start_ticks,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stat_line_is_read_past_a_hostile_name() {
        let line = "4242 (a) S 1 (b) S 17 4242 4242 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        assert_eq!(
            Stat::parse(line),
            Some(Stat {
                parent: 17,
                group: 4242,
                is_zombie: false,
                start_ticks: 987_654
            })
        );
    }

    #[test]
    fn our_own_stat_is_readable() {
        let stat = Stat::of(std::process::id()).expect("/proc/self/stat");
        assert_eq!(stat.group, nix::unistd::getpgrp().as_raw());
        assert!(stat.start_ticks > 0 && !stat.is_zombie);
    }

    proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line in "\\PC{0,80}") {
            let _ = Stat::parse(&line);
        }
    }
}
