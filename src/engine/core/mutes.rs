//! The mutes in force, found by what they cover.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::mute::{Mute, Scope, Until};
use crate::event::Subject;
use crate::event::id::HookName;
use crate::event::time::Timestamp;

/// The mutes in force, one for each scope.
#[derive(Debug, Default)]
pub(super) struct Mutes {
    by_scope: BTreeMap<Scope, Mute>,
    ends: BTreeSet<(Timestamp, Scope)>,
}

impl Mutes {
    /// Puts a mute into force in the place of a former one of its scope.
    pub(super) fn insert(&mut self, mute: Mute) {
        self.remove(&mute.scope);
        if let Some(until) = mute.until {
            self.ends.insert((until.at, mute.scope.clone()));
        }
        self.by_scope.insert(mute.scope.clone(), mute);
    }

    pub(super) fn remove(&mut self, scope: &Scope) -> Option<Mute> {
        let mute = self.by_scope.remove(scope)?;
        if let Some(until) = mute.until {
            self.ends.remove(&(until.at, scope.clone()));
        }
        Some(mute)
    }

    pub(super) fn contains(&self, scope: &Scope) -> bool {
        self.by_scope.contains_key(scope)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Mute> {
        self.by_scope.values()
    }

    /// Whether any of them covers what a hook is to do about an event of that source and subject.
    pub(super) fn cover(&self, hook: &HookName, source: &Arc<str>, subject: Option<&Subject>) -> bool {
        if self.by_scope.is_empty() {
            return false;
        }
        self.contains(&Scope::All)
            || self.contains(&Scope::Hook(hook.clone()))
            || self.contains(&Scope::Source(Arc::clone(source)))
            || subject.is_some_and(|subject| self.contains(&Scope::Lane(hook.clone(), subject.clone())))
    }

    /// When the next one ends.
    pub(super) fn next_end(&self) -> Option<Timestamp> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// A scope whose mute has come to its end.
    pub(super) fn ended(&self, now: Timestamp) -> Option<Scope> {
        let (at, scope) = self.ends.first()?;
        (*at <= now).then(|| scope.clone())
    }

    /// Makes none of them last longer than its own length from now; gives those that are changed.
    pub(super) fn shorten(&mut self, now: Timestamp) -> Vec<Mute> {
        let late: Vec<Mute> = self
            .by_scope
            .values()
            .filter_map(|mute| {
                let until = mute.until.filter(|until| until.at > now.plus(until.length))?;
                Some(Mute {
                    until: Some(Until::after(now, until.length)),
                    ..mute.clone()
                })
            })
            .collect();
        for mute in &late {
            self.insert(mute.clone());
        }
        late
    }
}
