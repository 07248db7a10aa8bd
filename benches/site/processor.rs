//! Where processor time goes: by the threads of this process, and by the processes it started.
//!
//! Rates differ with what else the machine does; the time that one execution takes of a processor differs much less.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::sys::resource::{Usage, UsageWho, getrusage};

/// Processor time used so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used {
    /// By this process, by the names of its threads; those that ended meanwhile are not among them.
    threads: BTreeMap<String, Duration>,
    /// By this process, all its threads together.
    pub(crate) own: Duration,
    /// By the processes it started and waited for.
    pub(crate) children: Duration,
}

impl Used {
    pub(crate) fn now() -> Self {
        Self {
            threads: threads(),
            own: total(getrusage(UsageWho::RUSAGE_SELF).expect("the process's usage")),
            children: total(getrusage(UsageWho::RUSAGE_CHILDREN).expect("its children's usage")),
        }
    }

    /// What was used since then.
    pub(crate) fn since(&self, then: &Self) -> Self {
        let threads = self.threads.iter().map(|(name, used)| {
            let before = then.threads.get(name).copied().unwrap_or_default();
            (name.clone(), used.saturating_sub(before))
        });
        Self {
            threads: threads.collect(),
            own: self.own.saturating_sub(then.own),
            children: self.children.saturating_sub(then.children),
        }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        for (name, used) in &more.threads {
            *self.threads.entry(name.clone()).or_default() += *used;
        }
        self.own += more.own;
        self.children += more.children;
    }

    /// Own and children's time.
    pub(crate) fn whole(&self) -> Duration {
        self.own + self.children
    }

    /// The threads that used most first.
    pub(crate) fn by_thread(&self) -> Vec<(&str, Duration)> {
        let mut threads: Vec<_> = self
            .threads
            .iter()
            .map(|(name, used)| (name.as_str(), *used))
            .collect();
        threads.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        threads
    }
}

fn total(usage: Usage) -> Duration {
    let of = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or_default())
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// The scheduler's own account (`/proc/[pid]/task/[tid]/schedstat`, first field: nanoseconds on a processor). Threads that
/// differ only in a number at the end of their names are taken together.
fn threads() -> BTreeMap<String, Duration> {
    let mut found = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")
        .expect("the threads")
        .flatten()
    {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).ok();
        let (Some(name), Some(schedstat)) = (read("comm"), read("schedstat")) else {
            continue;
        };
        let nanos = schedstat.split(' ').next().and_then(|field| field.parse().ok());
        let name = name
            .trim_end()
            .trim_end_matches(|c: char| c.is_ascii_digit() || c == '-')
            .to_owned();
        *found.entry(name).or_default() += Duration::from_nanos(nanos.unwrap_or_default());
    }
    found
}
