//! How many settled executions of each hook there are, and which hooks have more than they may.
//!
//! Nothing of this is stored: with ten thousand hooks it would make every batch larger. It is counted again in each life,
//! a part in each pass, and from then on kept up with what changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::Pass;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::store::ReadError;
use crate::store::keys::{self, Space};

/// What is kept of each hook.
#[derive(Debug, Default)]
pub(super) struct PerHook {
    /// Of hooks that say so themselves.
    own: BTreeMap<HookName, u64>,
    /// Of all others; none for no limit.
    default: Option<u64>,
    counted: HashMap<HookName, Counted>,
    over: BTreeSet<HookName>,
    counting: Counting,
}

#[derive(Debug)]
struct Counted {
    settled: u64,
    /// Where the next look for the oldest begins: those before it are unsettled.
    from: u64,
}

/// How far the count has come.
#[derive(Debug, Default)]
enum Counting {
    /// No hook has a limit.
    #[default]
    Idle,
    /// This hook's executions below this number are counted, and all hooks that come before it.
    At {
        hook: HookName,
        next: u64,
        settled: u64,
    },
    Done,
}

impl PerHook {
    /// New limits: everything is counted again.
    pub(super) fn limit(&mut self, own: BTreeMap<HookName, u64>, default: Option<u64>) {
        let is_limited = default.is_some() || !own.is_empty();
        *self = Self {
            own,
            default,
            counting: if is_limited {
                Counting::At {
                    // No hook has an empty name: all come behind it.
                    hook: HookName::trusted(""),
                    next: 0,
                    settled: 0,
                }
            } else {
                Counting::Idle
            },
            ..Self::default()
        };
    }

    /// Whether this is another limit than the one that holds for hooks without their own.
    pub(super) fn default_differs(&self, default: Option<u64>) -> bool {
        self.default != default
    }

    /// The limits that hooks have themselves.
    pub(super) fn own(&self) -> &BTreeMap<HookName, u64> {
        &self.own
    }

    /// Whether hooks are still to be counted.
    pub(super) fn is_counting(&self) -> bool {
        matches!(self.counting, Counting::At { .. })
    }

    /// Leaves the rest uncounted: of hooks that come behind, only what settles from now on counts.
    pub(super) fn stop_counting(&mut self) {
        self.counting = Counting::Done;
    }

    /// A hook with more than it may have, how many more, and where its oldest are to be looked for.
    pub(super) fn excess(&self) -> Option<(HookName, u64, u64)> {
        let hook = self.over.first()?;
        let counted = self.counted.get(hook)?;
        let limit = self.limit_of(hook)?;
        Some((hook.clone(), counted.settled.saturating_sub(limit), counted.from))
    }

    /// Of the hook that has too many, this number was looked at last; none when there is nothing more to look at.
    pub(super) fn looked_up_to(&mut self, hook: &HookName, last: Option<Seq>) {
        if let Some(counted) = self.counted.get_mut(hook) {
            counted.from = last.map_or(0, |last| last.0 + 1);
        }
        if last.is_none() {
            // The rest is unsettled, held or damaged; the next one that settles brings the hook back.
            self.over.remove(hook);
        }
    }

    /// An execution was settled.
    pub(super) fn settled(&mut self, key: &ExecutionKey) {
        self.change(key, true);
    }

    /// A settled execution was reopened or removed.
    pub(super) fn gone(&mut self, key: &ExecutionKey) {
        self.change(key, false);
    }

    fn change(&mut self, key: &ExecutionKey, is_more: bool) {
        match &mut self.counting {
            Counting::Idle => return,
            Counting::At { hook, next, settled } if *hook == key.hook => {
                if key.event.0 < *next {
                    *settled = if is_more {
                        *settled + 1
                    } else {
                        settled.saturating_sub(1)
                    };
                }
                return;
            }
            // What comes behind is counted when its turn comes.
            Counting::At { hook, .. } if *hook < key.hook => return,
            Counting::At { .. } | Counting::Done => {}
        }
        let counted = self
            .counted
            .entry(key.hook.clone())
            .or_insert(Counted { settled: 0, from: 0 });
        if is_more {
            counted.settled += 1;
            // It may be older than those that were looked at.
            counted.from = counted.from.min(key.event.0);
        } else {
            counted.settled = counted.settled.saturating_sub(1);
        }
        self.weigh(&key.hook);
    }

    fn limit_of(&self, hook: &HookName) -> Option<u64> {
        self.own.get(hook).copied().or(self.default)
    }

    fn weigh(&mut self, hook: &HookName) {
        let settled = self.counted.get(hook).map_or(0, |counted| counted.settled);
        if self.limit_of(hook).is_some_and(|limit| settled > limit) {
            self.over.insert(hook.clone());
        } else {
            self.over.remove(hook);
        }
    }

    /// Counts on, this many executions at most.
    pub(super) fn count(&mut self, pass: &Pass<'_>, at_most: usize) -> Result<(), ReadError> {
        for _ in 0..at_most {
            let Counting::At { hook, next, settled } = &mut self.counting else {
                return Ok(());
            };
            let from = keys::by_hook_and_event(&ExecutionKey::new(Seq(*next), hook.clone()));
            let mut following = pass
                .store
                .shared
                .tree
                .range(from..keys::space_after(Space::ByHook))
                .keys();
            let found = following.next().transpose().map_err(ReadError::Read)?;
            match found.as_deref().and_then(keys::of_hook) {
                Some(key) if key.hook == *hook => {
                    *next = key.event.0 + 1;
                    *settled += u64::from(pass.is_settled(&key)?);
                }
                another => {
                    let done = (hook.clone(), *settled);
                    self.counting = match another {
                        Some(key) => Counting::At {
                            hook: key.hook,
                            next: 0,
                            settled: 0,
                        },
                        None => Counting::Done,
                    };
                    let (hook, settled) = done;
                    self.counted.insert(hook.clone(), Counted { settled, from: 0 });
                    self.weigh(&hook);
                }
            }
        }
        Ok(())
    }
}
