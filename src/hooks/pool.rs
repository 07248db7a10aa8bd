//! The hooks of a controller's pool, and how they stand beside those of the hooks folder. Pure.
//!
//! A hook of the pool is turned into the YAML text that declares it, and that text is compiled as any other. From then on it
//! is a hook like those of the folder: versions, records and retries know no difference.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::compile::parse_definition;
use super::fault::{Fault, Severity};
use super::onehook::{Onehook, Use, declare_all};
use super::{Defaults, Hook, HookSet, Names, Origin, Trigger};
use crate::event::id::HookName;
use crate::event::opennebula::hook_pool::{self, Lock, Pool};

/// The hooks of a controller's pool.
#[derive(Debug, Clone, Default)]
pub struct PoolHooks {
    /// Those that can run, in the pool's order.
    pub hooks: Vec<PooledHook>,
    /// Those that cannot.
    pub unusable: Vec<UnusableHook>,
}

/// A hook of the pool.
#[derive(Debug, Clone)]
pub struct PooledHook {
    /// The controller's number of it.
    pub id: u64,
    /// The hook.
    pub hook: Arc<Hook>,
    /// Who locked it, where that is known and it is. It runs all the same.
    pub lock: Option<Lock>,
    /// What an operator should know of how it was understood.
    pub notes: Vec<String>,
}

/// A hook of the pool that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusableHook {
    /// The controller's number of it, where that much can be read.
    pub id: Option<u64>,
    /// The controller's name for it, where that much can be read.
    pub name: Option<String>,
    /// Why it does not.
    pub why: String,
}

impl UnusableHook {
    /// What people call it.
    pub fn called(&self) -> String {
        match (self.id, &self.name) {
            (Some(id), Some(name)) => format!("hook {id} (`{}`)", name.escape_debug()),
            (Some(id), None) => format!("hook {id}"),
            (None, Some(name)) => format!("hook `{}`", name.escape_debug()),
            (None, None) => "a hook without a number".to_owned(),
        }
    }
}

impl PoolHooks {
    /// The hooks as the controller's document says them. With `source`, only events of that source trigger them.
    pub fn declared(pool: &Pool, source: Option<&str>, defaults: &Defaults) -> Self {
        let mut hooks = Self::default();
        let mut seen = BTreeSet::new();
        let (first, again): (Vec<_>, Vec<_>) = pool.hooks.iter().partition(|hook| seen.insert(hook.id));
        let given: Vec<Onehook> = first.iter().map(|hook| Onehook::from(*hook)).collect();
        for (hook, declared) in first.into_iter().zip(declare_all(&given, Use::Pool { source })) {
            let compiled = declared.map_err(|error| error.to_string()).and_then(|declared| {
                let compiled = compile(&declared.text, defaults)?;
                Ok((compiled, declared.notes))
            });
            match compiled {
                Ok((compiled, notes)) => hooks.hooks.push(PooledHook {
                    id: hook.id,
                    hook: Arc::new(compiled),
                    lock: hook.lock.clone(),
                    notes,
                }),
                Err(why) => hooks.unusable.push(unusable(hook, why)),
            }
        }
        let again = again
            .into_iter()
            .map(|hook| unusable(hook, "another hook has the same number".to_owned()));
        hooks.unusable.extend(again);
        hooks
            .unusable
            .extend(pool.faults.iter().map(|fault| UnusableHook {
                id: fault.id,
                name: fault.name.clone(),
                why: fault.reason.clone(),
            }));
        hooks
    }

    /// The hooks that these texts, by the controller's numbers, declared when the pool was last read.
    pub fn restored<'a>(texts: impl Iterator<Item = (u64, &'a str)>, defaults: &Defaults) -> Self {
        let mut hooks = Self::default();
        for (id, text) in texts {
            match compile(text, defaults) {
                Ok(hook) => hooks.hooks.push(PooledHook {
                    id,
                    hook: Arc::new(hook),
                    lock: None,
                    notes: Vec::new(),
                }),
                Err(why) => hooks.unusable.push(UnusableHook {
                    id: Some(id),
                    name: None,
                    why,
                }),
            }
        }
        hooks
    }
}

fn unusable(hook: &hook_pool::PoolHook, why: String) -> UnusableHook {
    UnusableHook {
        id: Some(hook.id),
        name: Some(hook.name.clone()),
        why,
    }
}

fn compile(text: &str, defaults: &Defaults) -> Result<Hook, String> {
    parse_definition(text, &Origin::of_pool(text), defaults).map_err(|faults| {
        let error = faults.into_iter().find(Fault::is_error);
        error.map_or_else(|| "hem cannot declare it".to_owned(), |error| error.message)
    })
}

/// The folder's hooks and the pool's in one set.
#[derive(Debug, Default)]
pub struct Combined {
    /// What is in force.
    pub set: HookSet,
    /// Hooks of the pool that do not run, because one of the folder stands for them.
    pub shadowed: Vec<Shadowed>,
    /// Hooks of the folder that do what one of the pool does as well, each with a warning.
    pub repeats: Vec<(HookName, Fault)>,
}

/// A hook of the pool in whose place one of the folder runs.
#[derive(Debug, Clone)]
pub struct Shadowed {
    /// The pool's.
    pub hook: Arc<Hook>,
    /// The folder's.
    pub by: Arc<Hook>,
}

/// Puts the pool of the controller behind `source` beside the folder's hooks. A hook of the folder with the number of one of
/// the pool replaces that one.
pub fn combine(folder: &HookSet, pool: &PoolHooks, source: &str) -> Combined {
    let mut combined = Combined::default();
    let mut hooks: Vec<Arc<Hook>> = folder.iter().cloned().collect();
    for pooled in &pool.hooks {
        let stands_for_it = |hook: &&Arc<Hook>| hook.oned_id == Some(pooled.id) && hook.may_take_from(source);
        if let Some(by) = folder.iter().find(stands_for_it) {
            combined.shadowed.push(Shadowed {
                hook: Arc::clone(&pooled.hook),
                by: Arc::clone(by),
            });
            continue;
        }
        hooks.push(Arc::clone(&pooled.hook));
        let repeating = folder
            .iter()
            .filter(|hook| hook.oned_id.is_none() && hook.may_take_from(source))
            .filter(|hook| hook.enabled && repeats(hook, &pooled.hook));
        for hook in repeating {
            let warning = warning(hook, pooled);
            combined.repeats.push((hook.name.clone(), warning));
        }
    }
    combined.set = HookSet::new(hooks);
    combined
}

/// Whether one event can let both run the same command.
fn repeats(hook: &Hook, pooled: &Hook) -> bool {
    let first_word = |hook: &Hook| {
        let word = hook.action.command.split_ascii_whitespace().next();
        word.map(str::to_owned)
    };
    let same_command = hook.action.program == pooled.action.program || first_word(hook) == first_word(pooled);
    same_command
        && !hook.action.shell
        && hook
            .triggers
            .iter()
            .any(|trigger| pooled.triggers.iter().any(|other| overlap(trigger, other)))
}

fn overlap(one: &Trigger, other: &Trigger) -> bool {
    match (one, other) {
        (Trigger::State(one), Trigger::State(other)) => {
            one.resource == other.resource
                && common(&one.state, &other.state)
                && common(&one.lcm_state, &other.lcm_state)
        }
        (Trigger::Api(one), Trigger::Api(other)) => common(&one.call, &other.call),
        _ => false,
    }
}

fn common(one: &Names, other: &Names) -> bool {
    match (one, other) {
        (Names::Any, _) | (_, Names::Any) => true,
        (Names::Of(names), other) => names.iter().any(|name| other.contains(name)),
    }
}

fn warning(hook: &Hook, pooled: &PooledHook) -> Fault {
    let (name, id) = (&pooled.hook.name, pooled.id);
    let message = format!(
        "`{}` does what `{name}`, hook {id} of oned, does as well: for one event both run",
        hook.name
    );
    let mut fault = Fault::of_file(&hook.origin.file, Severity::Warning, message).with_hint(format!(
        "write `id: {id}` into it, and it replaces that one; or delete one of them"
    ));
    (fault.line, fault.column) = (hook.origin.line, 1);
    fault
}
