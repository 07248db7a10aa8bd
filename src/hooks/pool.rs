//! The hooks of a controller's pool, and how they stand beside those of the hooks folder. Pure.
//!
//! A hook of the pool is turned into the YAML text that declares it, and that text is compiled as any other. From then on it
//! is a hook like those of the folder: versions, records and retries know no difference.

use std::collections::{BTreeSet, HashMap};
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
        Self::default().followed_by(pool, source, defaults)
    }

    /// The same after these: what did not change is not compiled again.
    pub fn followed_by(&self, pool: &Pool, source: Option<&str>, defaults: &Defaults) -> Self {
        let mut hooks = Self::default();
        let known: HashMap<&str, &Arc<Hook>> = self
            .hooks
            .iter()
            .map(|pooled| (&*pooled.hook.text, &pooled.hook))
            .collect();
        let mut seen = BTreeSet::new();
        let (first, again): (Vec<_>, Vec<_>) = pool.hooks.iter().partition(|hook| seen.insert(hook.id));
        let given: Vec<Onehook> = first.iter().map(|hook| Onehook::from(*hook)).collect();
        for (hook, declared) in first.into_iter().zip(declare_all(&given, Use::Pool { source })) {
            let compiled = declared.map_err(|error| error.to_string()).and_then(|declared| {
                let text = declared.text.as_str();
                let hook = match known.get(text) {
                    Some(hook) => Arc::clone(hook),
                    None => Arc::new(compile(text, defaults)?),
                };
                Ok((hook, declared.notes))
            });
            match compiled {
                Ok((compiled, notes)) => hooks.hooks.push(PooledHook {
                    id: hook.id,
                    hook: compiled,
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::event::opennebula::hook_pool::{Attribute, AttributeValue, HookKind};
    use crate::hooks::declared;

    fn defaults() -> Defaults {
        Defaults {
            scripts_dir: "/scripts".into(),
            onehem_scripts_dir: "/scripts".into(),
            remote_scripts_dir: "/var/tmp/one/hooks".into(),
            catch_up: false,
        }
    }

    fn pool(document: &str) -> PoolHooks {
        let pool = hook_pool::read(&format!("<HOOK_POOL>{document}</HOOK_POOL>")).expect("a pool");
        PoolHooks::declared(&pool, None, &defaults())
    }

    fn running(id: u64, name: &str, command: &str) -> String {
        format!(
            "<HOOK><ID>{id}</ID><NAME>{name}</NAME><TYPE>state</TYPE><TEMPLATE><COMMAND>{command}</COMMAND><RESOURCE>VM</RESOURCE>\
             <STATE>ACTIVE</STATE><LCM_STATE>RUNNING</LCM_STATE></TEMPLATE></HOOK>"
        )
    }

    fn names<'a>(hooks: impl Iterator<Item = &'a Arc<Hook>>) -> Vec<&'a str> {
        hooks.map(|hook| hook.name.as_str()).collect()
    }

    fn folder(texts: &[&str]) -> HookSet {
        HookSet::new(texts.iter().map(|text| Arc::new(declared(text))).collect())
    }

    #[test]
    fn what_cannot_be_used_is_named_and_the_others_run() {
        let hooks = pool(&format!(
            "{}{}{}<HOOK><ID>4</ID><NAME>odd</NAME><TYPE>moon</TYPE><TEMPLATE/></HOOK><HOOK><ID>5</ID></HOOK>",
            running(1, "good", "a.sh"),
            running(2, "blank", " "),
            running(1, "again", "a.sh"),
        ));
        assert_eq!(
            names(hooks.hooks.iter().map(|pooled| &pooled.hook)),
            ["oned/good"]
        );
        let said: Vec<String> = hooks
            .unusable
            .iter()
            .map(|hook| format!("{}: {}", hook.called(), hook.why))
            .collect();
        assert_eq!(
            said,
            [
                "hook 2 (`blank`): it has no COMMAND",
                "hook 4 (`odd`): its TYPE is `moon`, neither `state` nor `api`",
                "hook 1 (`again`): another hook has the same number",
                "hook 5: it has no TYPE",
            ]
        );
    }

    #[test]
    fn a_hook_of_the_pool_starts_soon_or_not_at_all_and_is_the_profile_s() {
        let hooks = pool(&running(1, "good", "a.sh"));
        let hook = &hooks.hooks[0].hook;
        assert_eq!(
            hook.policy.start_within,
            Some(std::time::Duration::from_secs(900))
        );
        assert_eq!(hook.profile, super::super::Profile::Onehem);
        assert!(hook.origin.is_pool());
    }

    #[test]
    fn the_folder_s_hook_with_the_number_replaces_the_pool_s_of_the_same_source_alone() {
        let hooks = pool(&format!(
            "{}{}",
            running(7, "dns", "a.sh"),
            running(8, "log", "b.sh")
        ));
        let on = "state: { resource: VM, on: RUNNING }";
        let own = format!("name: own\nid: 7\ntrigger: {{ {on} }}\ncommand: x.sh\n");
        let of_one = format!("name: own\nid: 7\ntrigger: {{ source: one, {on} }}\ncommand: x.sh\n");
        let of_other = format!("name: own\nid: 7\ntrigger: {{ source: other, {on} }}\ncommand: x.sh\n");
        for (text, in_force) in [
            (&own, vec!["own", "oned/log"]),
            (&of_one, vec!["own", "oned/log"]),
            (&of_other, vec!["own", "oned/dns", "oned/log"]),
        ] {
            let combined = combine(&folder(&[text]), &hooks, "one");
            assert_eq!(names(combined.set.iter()), in_force, "{text}");
            let shadowed: Vec<(&str, &str)> = combined
                .shadowed
                .iter()
                .map(|shadowed| (shadowed.hook.name.as_str(), shadowed.by.name.as_str()))
                .collect();
            let expected = if in_force.len() == 2 {
                vec![("oned/dns", "own")]
            } else {
                vec![]
            };
            assert_eq!(shadowed, expected, "{text}");
            assert!(combined.repeats.is_empty());
        }
    }

    #[test]
    fn a_hook_of_the_folder_that_does_what_one_of_the_pool_does_is_warned_of() {
        let hooks = pool(&running(7, "dns", "a.sh"));
        let on = "trigger: { state: { resource: VM, on: RUNNING } }";
        let elsewhere = "trigger: { state: { resource: VM, on: DONE } }";
        let of_other = "trigger: { source: other, state: { resource: VM, on: RUNNING } }";
        let any = "trigger: { state: { resource: VM, state: any } }";
        for (text, warned) in [
            (format!("name: own\n{on}\ncommand: a.sh\n"), true),
            (format!("name: own\n{any}\ncommand: /scripts/a.sh\n"), true),
            (
                format!("name: own\nprofile: onehem\n{on}\ncommand: a.sh -v\n"),
                true,
            ),
            (format!("name: own\n{on}\ncommand: b.sh\n"), false),
            (format!("name: own\n{elsewhere}\ncommand: a.sh\n"), false),
            (format!("name: own\n{of_other}\ncommand: a.sh\n"), false),
            (format!("name: own\nenabled: false\n{on}\ncommand: a.sh\n"), false),
            (format!("name: own\nid: 9\n{on}\ncommand: a.sh\n"), false),
        ] {
            let combined = combine(&folder(&[&text]), &hooks, "one");
            assert_eq!(combined.repeats.len(), usize::from(warned), "{text}");
            assert_eq!(combined.set.len(), 2, "{text}");
        }
        let text = format!("name: own\n{on}\ncommand: a.sh\n");
        let combined = combine(&folder(&[&text]), &hooks, "one");
        let (hook, fault) = &combined.repeats[0];
        assert_eq!(hook.as_str(), "own");
        assert_eq!(
            fault.to_string(),
            "warning: `own` does what `oned/dns`, hook 7 of oned, does as well: for one event both run\n \
             --> hooks.yaml:1:1\n  \
             = help: write `id: 7` into it, and it replaces that one; or delete one of them"
        );
    }

    fn attribute() -> impl Strategy<Value = Attribute> {
        let names = [
            "COMMAND",
            "RESOURCE",
            "ON",
            "STATE",
            "LCM_STATE",
            "CALL",
            "ARGUMENTS",
            "TIMEOUT",
            "REMOTE",
            "X",
        ];
        let values = prop_oneof![
            "\\PC{0,12}",
            prop::sample::select(vec![
                "VM",
                "HOST",
                "CUSTOM",
                "ACTIVE",
                "RUNNING",
                "one.vm.action",
                "a.sh",
                "yes",
                "7",
                "$API x"
            ])
            .prop_map(str::to_owned),
        ];
        (prop::sample::select(names.to_vec()), values).prop_map(|(name, value)| Attribute {
            name: name.to_owned(),
            value: AttributeValue::Text(value),
        })
    }

    fn pool_hook() -> impl Strategy<Value = hook_pool::PoolHook> {
        let kinds = prop::sample::select(vec!["state", "api", "moon"]);
        (
            0u64..6,
            "\\PC{1,10}",
            kinds,
            prop::collection::vec(attribute(), 0..8),
        )
            .prop_map(|(id, name, kind, attributes)| hook_pool::PoolHook {
                id,
                name,
                kind: HookKind::parse(kind),
                lock: None,
                attributes,
            })
    }

    proptest! {
        #[test]
        fn every_hook_of_a_pool_is_usable_or_said_and_its_text_brings_it_back(
            hooks in prop::collection::vec(pool_hook(), 0..8),
            source in prop::option::of("[a-z]{1,8}"),
        ) {
            let count = hooks.len();
            let pool = Pool { hooks, faults: Vec::new() };
            let found = PoolHooks::declared(&pool, source.as_deref(), &defaults());
            prop_assert_eq!(found.hooks.len() + found.unusable.len(), count);
            let texts: Vec<(u64, String)> = found
                .hooks
                .iter()
                .map(|pooled| (pooled.id, pooled.hook.text.to_string()))
                .collect();
            let again = PoolHooks::restored(texts.iter().map(|(id, text)| (*id, text.as_str())), &defaults());
            prop_assert!(again.unusable.is_empty());
            for (one, other) in found.hooks.iter().zip(&again.hooks) {
                prop_assert_eq!(&one.hook.name, &other.hook.name);
                prop_assert_eq!(one.hook.version, other.hook.version);
                prop_assert_eq!(one.hook.oned_id, Some(one.id));
            }
        }

        #[test]
        fn a_hook_of_the_pool_runs_or_is_shadowed_and_the_folder_s_all_run(
            in_pool in prop::collection::btree_set(0u64..12, 0..8),
            in_folder in prop::collection::btree_set(0u64..12, 0..8),
        ) {
            let documents: String = in_pool.iter().map(|id| running(*id, &format!("p{id}"), "a.sh")).collect();
            let texts: Vec<String> = in_folder
                .iter()
                .map(|id| format!("name: f{id}\nid: {id}\ntrigger: {{ api: {{ call: any }} }}\ncommand: b.sh\n"))
                .collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let folder = folder(&texts);
            let combined = combine(&folder, &pool(&documents), "one");
            let in_force = names(combined.set.iter());
            prop_assert_eq!(&in_force[..in_folder.len()], &names(folder.iter())[..]);
            let shadowed: BTreeSet<u64> = combined.shadowed.iter().filter_map(|one| one.hook.oned_id).collect();
            prop_assert_eq!(shadowed, in_pool.intersection(&in_folder).copied().collect());
            prop_assert_eq!(combined.set.len() + combined.shadowed.len(), in_pool.len() + in_folder.len());
        }
    }
}
