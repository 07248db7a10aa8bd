//! Named points at which a test ends the daemon as SIGKILL does.
//!
//! With the cargo feature `kill-points`, `HEM_KILL_POINT=NAME` or `NAME:N` ends the process when it comes to that point for
//! the first, or the N-th, time. Without the feature a point is nothing at all.

/// The points there are.
pub const NAMES: [&str; 7] = [
    "after-accept",
    "before-spawn",
    "after-spawn",
    "before-settle",
    "after-settle",
    "mid-batch",
    "recovery",
];

/// Says that the program is at this point of its work.
#[cfg(not(feature = "kill-points"))]
#[inline(always)]
pub const fn reach(_name: &'static str) {}

#[cfg(feature = "kill-points")]
pub use armed::reach;

#[cfg(feature = "kill-points")]
mod armed {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::getpid;

    /// The one point that ends this process, and how many times it is still passed.
    struct Armed {
        name: String,
        left: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        let wanted = std::env::var("HEM_KILL_POINT").ok()?;
        let (name, times) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some(Armed {
            name: name.to_owned(),
            left: AtomicU32::new(times.parse().unwrap_or(1)),
        })
    });

    /// Says that the program is at this point of its work; ends it there, if that was asked for.
    pub fn reach(name: &'static str) {
        if let Some(armed) = ARMED.as_ref()
            && armed.name == name
            && armed.left.fetch_sub(1, Ordering::SeqCst) == 1
        {
            // Nothing can be done, and nothing need be, where a process may not end itself.
            let _ = kill(getpid(), Signal::SIGKILL);
        }
    }
}
