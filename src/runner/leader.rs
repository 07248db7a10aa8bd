//! The process that leads a group: what tells of its end, and who may end it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::process::{Child, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::libc;

use super::process_group::ProcessGroup;

/// What a run shares with whoever waits for it, who may stop waiting at any time.
#[derive(Debug, Default)]
pub(super) struct Leash(Mutex<Hold>);

#[derive(Debug, Default)]
enum Hold {
    /// Nothing was started so far.
    #[default]
    Nothing,
    Group(ProcessGroup),
    /// The run is over.
    Over,
    /// Nobody waits any more.
    LetGo,
}

impl Leash {
    fn hold(&self) -> MutexGuard<'_, Hold> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody waits any more: what was started, or is yet to be, is ended.
    pub(super) fn let_go(&self) {
        let former = std::mem::replace(&mut *self.hold(), Hold::LetGo);
        if let Hold::Group(group) = former {
            group.kill();
        }
    }

    pub(super) fn is_let_go(&self) -> bool {
        matches!(*self.hold(), Hold::LetGo)
    }

    /// Whether there is, or was, a process.
    pub(super) fn has_started(&self) -> bool {
        matches!(*self.hold(), Hold::Group(_) | Hold::Over)
    }
}

/// A process that was started as the leader of a group of its own. Dropped before its run is over, it takes the group with it.
#[derive(Debug)]
pub(super) struct Leader {
    child: Child,
    /// None where the kernel has none (before Linux 5.3).
    descriptor: Option<OwnedFd>,
    group: ProcessGroup,
    leash: Arc<Leash>,
    is_reaped: bool,
    is_over: bool,
}

impl Leader {
    pub(super) fn new(child: Child, leash: Arc<Leash>) -> Self {
        let group = ProcessGroup::led_by(child.id());
        let mut hold = leash.hold();
        match *hold {
            Hold::LetGo => group.kill(),
            _ => *hold = Hold::Group(group),
        }
        drop(hold);
        Self {
            descriptor: descriptor_of(child.id()),
            child,
            group,
            leash,
            is_reaped: false,
            is_over: false,
        }
    }

    /// The process, with its ends of the pipes.
    pub(super) const fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) const fn group(&self) -> ProcessGroup {
        self.group
    }

    /// Becomes readable when the process ends.
    pub(super) fn end(&self) -> Option<BorrowedFd<'_>> {
        self.descriptor.as_ref().map(AsFd::as_fd)
    }

    /// How it ended, if it has.
    pub(super) fn collect(&mut self) -> io::Result<Option<ExitStatus>> {
        // From the moment it is waited for, its number may be given to a stranger; whoever lets go at that moment must not
        // signal that one.
        let mut hold = self.leash.hold();
        let status = self.child.try_wait()?;
        if status.is_some() {
            self.is_reaped = true;
            self.group.leader_was_reaped();
            if let Hold::Group(group) = &mut *hold {
                *group = self.group;
            }
        }
        Ok(status)
    }

    /// The run is over: what is left of the group goes on.
    pub(super) fn run_is_over(&mut self) {
        self.is_over = true;
        let mut hold = self.leash.hold();
        if let Hold::Group(_) = *hold {
            *hold = Hold::Over;
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.is_over {
            self.group.kill();
        }
        if !self.is_reaped {
            // It was killed and has not ended yet: it waits in the kernel. Nobody waits for this thread.
            let _ = self.child.wait();
        }
    }
}

/// A descriptor that becomes readable when the process ends: pidfd_open(2), which sets close-on-exec.
#[allow(
    unsafe_code,
    reason = "the C library's wrapper came much later than the system call, and there is no safe one here"
)]
fn descriptor_of(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok()?;
    // SAFETY: the call takes two numbers and touches no memory of this process.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let descriptor = i32::try_from(descriptor).ok().filter(|number| *number >= 0)?;
    // SAFETY: the kernel has just given this descriptor to us, and nobody else knows its number.
    Some(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
