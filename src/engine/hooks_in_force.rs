//! The hooks in force: the set, its index, what is known of the controller's own, the operators' overrides, and the files that
//! are broken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::execution::CancelReason;
use super::handle::StaleFile;
use super::pool::PoolInForce;
use crate::event::id::HookName;
use crate::hooks::looks::Looks;
use crate::hooks::pool::Shadowed;
use crate::hooks::{Hook, HookSet};
use crate::matching::Index;
use crate::store::Override;

/// What is in force, replaced as a whole. Reading never waits for a replacement.
#[derive(Debug)]
pub(super) struct HooksInForce {
    now: ArcSwap<InForce>,
    /// Locked while the next one is made of the present one, so that of two replacements neither undoes the other.
    replacing: Mutex<()>,
    stale: Mutex<Vec<StaleFile>>,
    /// At the folder.
    looks: Looks,
}

/// Hooks to be put into force.
#[derive(Debug, Default)]
pub(super) struct NextHooks {
    /// All that are to run, the folder's and the pool's.
    pub(super) set: Arc<HookSet>,
    /// Hooks of the pool that hooks of the folder stand for.
    pub(super) shadowed: Vec<Shadowed>,
    /// What is known of the pool's.
    pub(super) pool: PoolInForce,
}

/// One set with its overrides and the index made of both.
#[derive(Debug)]
pub(super) struct InForce {
    pub(super) set: Arc<HookSet>,
    pub(super) shadowed: Arc<[Shadowed]>,
    pub(super) pool: Arc<PoolInForce>,
    pub(super) overrides: BTreeMap<HookName, Override>,
    pub(super) index: Index,
}

impl InForce {
    fn new(hooks: NextHooks, overrides: BTreeMap<HookName, Override>) -> Self {
        let index = Index::new(Arc::clone(&hooks.set), |hook| is_enabled(hook, &overrides));
        Self {
            set: hooks.set,
            shadowed: hooks.shadowed.into(),
            pool: Arc::new(hooks.pool),
            overrides,
            index,
        }
    }

    /// The same hooks under other overrides.
    fn under(&self, overrides: BTreeMap<HookName, Override>) -> Self {
        let index = Index::new(Arc::clone(&self.set), |hook| is_enabled(hook, &overrides));
        Self {
            set: Arc::clone(&self.set),
            shadowed: Arc::clone(&self.shadowed),
            pool: Arc::clone(&self.pool),
            overrides,
            index,
        }
    }

    /// Whether there is a hook of this name, be it one of the pool that another one stands for.
    pub(super) fn knows(&self, hook: &HookName) -> bool {
        self.set.get(hook).is_some() || self.shadowed.iter().any(|shadowed| shadowed.hook.name == *hook)
    }

    /// Why a hook does not run at all; none when it is in force.
    pub(super) fn not_in_force(&self, hook: &HookName) -> Option<CancelReason> {
        match self.set.get(hook) {
            None => Some(CancelReason::HookRemoved),
            Some(hook) if !self.is_enabled(hook) => Some(CancelReason::HookDisabled),
            Some(_) => None,
        }
    }

    /// Whether the hook runs: its file's word, unless an operator said otherwise.
    pub(super) fn is_enabled(&self, hook: &Hook) -> bool {
        is_enabled(hook, &self.overrides)
    }
}

fn is_enabled(hook: &Hook, overrides: &BTreeMap<HookName, Override>) -> bool {
    overrides
        .get(&hook.name)
        .map_or(hook.enabled, |over| over.enabled)
}

impl HooksInForce {
    /// Nothing but the overrides, until the folder has been read.
    pub(super) fn new(overrides: BTreeMap<HookName, Override>) -> Self {
        Self {
            now: ArcSwap::from_pointee(InForce::new(NextHooks::default(), overrides)),
            replacing: Mutex::default(),
            stale: Mutex::default(),
            looks: Looks::default(),
        }
    }

    pub(super) fn now(&self) -> Arc<InForce> {
        self.now.load_full()
    }

    /// The looks at the folder that are under way.
    pub(super) fn looks(&self) -> Looks {
        self.looks.clone()
    }

    pub(super) fn stale(&self) -> Vec<StaleFile> {
        self.stale.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_stale(&self, files: Vec<StaleFile>) {
        *self.stale.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// Puts new hooks into force; returns those that ran before and do not any more, and why.
    pub(super) fn replace_hooks(&self, hooks: NextHooks) -> Vec<(HookName, CancelReason)> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let overrides = self.now().overrides.clone();
        self.replace(InForce::new(hooks, overrides))
    }

    /// Puts an override into force, or takes one back; returns the hooks that ran before and do not any more.
    pub(super) fn set_override(
        &self,
        hook: &HookName,
        value: Option<Override>,
    ) -> Vec<(HookName, CancelReason)> {
        let _replacing = self.replacing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let mut overrides = now.overrides.clone();
        match value {
            Some(value) => overrides.insert(hook.clone(), value),
            None => overrides.remove(hook),
        };
        self.replace(now.under(overrides))
    }

    fn replace(&self, next: InForce) -> Vec<(HookName, CancelReason)> {
        let next = Arc::new(next);
        let former = self.now.swap(Arc::clone(&next));
        former
            .set
            .iter()
            .filter(|hook| former.is_enabled(hook))
            .filter_map(|hook| Some((hook.name.clone(), next.not_in_force(&hook.name)?)))
            .collect()
    }
}
