//! `trigger: { esc: … }`: what a hook asks of events of Cisco ESC.

use super::compile::Compiler;
use super::own::Patterns;
use super::raw::{RawEscTrigger, RawNames};
use super::tree::At;
use super::{Hook, Trigger};
use crate::event::esc::Via;
use crate::event::esc::vocabulary::{EVENT_TYPES, STATUSES};
use crate::event::opennebula::vocabulary::nearest;

/// `trigger: { esc: … }`. Names are compared exactly; none of them has to be known to this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EscTrigger {
    /// Only events of the source with this name.
    pub source: Option<String>,
    /// The types of events.
    pub event: Patterns,
    /// How the step ended.
    pub status: Patterns,
    /// The tenants.
    pub tenant: Patterns,
    /// The deployments.
    pub deployment: Patterns,
    /// The groups of VMs.
    pub vm_group: Patterns,
    /// The way it came; either when unset.
    pub via: Option<Via>,
}

impl Hook {
    /// Whether it runs twice for one thing that happened in ESC: it takes events whichever way they come, and there are sources
    /// that give them over REST and sources that give them over NETCONF.
    pub fn takes_esc_twice(&self, rest: &[&str], netconf: &[&str]) -> bool {
        self.triggers.iter().any(|trigger| match trigger {
            Trigger::Esc(asked) if asked.via.is_none() => {
                let is_asked = |name: &&str| asked.source.as_deref().is_none_or(|asked| asked == *name);
                rest.iter().any(is_asked) && netconf.iter().any(is_asked)
            }
            _ => false,
        })
    }
}

impl Compiler<'_> {
    pub(super) fn esc_trigger(&mut self, raw: At<RawEscTrigger>, source: Option<String>) -> Option<Trigger> {
        let mark = raw.mark;
        let raw = raw.value;
        if raw.event.is_none() {
            self.missing(
                mark,
                "`esc` needs `event`",
                "write the type of an event, `event: VM_ALIVE`; `any` for all",
            );
            return None;
        }
        let via = raw.via.and_then(|via| self.esc_via(&via));
        Some(Trigger::Esc(EscTrigger {
            source,
            event: self.esc_names(raw.event, "event", EVENT_TYPES),
            status: self.esc_names(raw.status, "status", STATUSES),
            tenant: self.esc_names(raw.tenant, "tenant", &[]),
            deployment: self.esc_names(raw.deployment, "deployment", &[]),
            vm_group: self.esc_names(raw.vm_group, "VM group", &[]),
            via,
        }))
    }

    fn esc_via(&mut self, raw: &At<String>) -> Option<Via> {
        if raw.value == "any" {
            return None;
        }
        let via = Via::named(&raw.value);
        if via.is_none() {
            let names = Via::ALL.map(Via::as_str);
            let hint = match nearest(&raw.value, names) {
                Some(name) => format!("did you mean `{name}`?"),
                None => format!("allowed: {} and any", names.join(", ")),
            };
            self.error(raw.mark, format!("no such way `{}`", raw.value))
                .help(hint);
        }
        via
    }

    /// Names and patterns. A word that is nearly one of the known ones is pointed out and taken all the same: releases of ESC
    /// have words of their own. `"=NAME"` says that it is meant so.
    fn esc_names(&mut self, raw: Option<At<RawNames>>, what: &str, known: &[&str]) -> Patterns {
        let Some(words) = raw.and_then(|raw| self.words(raw)) else {
            return Patterns::Any;
        };
        let mut names = Vec::new();
        for (word, mark) in words {
            if word.trim().is_empty() {
                self.error(mark, format!("the name of a {what} must not be empty"));
                continue;
            }
            if let Some(meant) = word.strip_prefix('=').filter(|name| !name.is_empty()) {
                names.push(meant.to_owned());
                continue;
            }
            if !word.contains('*')
                && !known.contains(&word.as_str())
                && let Some(name) = nearest(&word, known.iter().copied())
            {
                self.warning(mark, format!("no guide of ESC knows the {what} `{word}`"))
                    .help(format!(
                        "did you mean `{name}`? write `\"={word}\"` if your ESC has it"
                    ));
            }
            names.push(word);
        }
        Patterns::Of(names)
    }
}

#[cfg(test)]
mod tests {
    use super::super::declared;

    #[test]
    fn a_hook_that_both_ways_trigger_runs_twice() {
        let hook = |trigger: &str| declared(&format!("name: x\ntrigger: {trigger}\ncommand: /bin/true\n"));
        for (trigger, rest, netconf, twice) in [
            ("{ esc: { event: VM_ALIVE } }", &["esc"][..], &["esc"][..], true),
            ("{ esc: { event: VM_ALIVE, via: any } }", &["a"], &["b"], true),
            ("{ esc: { event: VM_ALIVE, via: rest } }", &["a"], &["b"], false),
            (
                "{ esc: { event: VM_ALIVE, via: netconf } }",
                &["a"],
                &["b"],
                false,
            ),
            ("{ esc: { event: VM_ALIVE }, source: a }", &["a"], &["b"], false),
            (
                "{ esc: { event: VM_ALIVE }, source: a }",
                &["a"],
                &["a", "b"],
                true,
            ),
            ("{ esc: { event: VM_ALIVE } }", &["a", "b"], &[], false),
            ("{ webhook: { name: any } }", &["a"], &["b"], false),
            (
                "[{ esc: { event: VM_ALIVE, via: rest } }, { esc: { event: VM_ALIVE, via: netconf } }]",
                &["a"],
                &["b"],
                false,
            ),
        ] {
            assert_eq!(hook(trigger).takes_esc_twice(rest, netconf), twice, "{trigger}");
        }
    }
}
