//! `trigger: { esc: … }`: what a hook asks of events of Cisco ESC.

use super::Trigger;
use super::compile::Compiler;
use super::own::Patterns;
use super::raw::{RawEscTrigger, RawNames};
use super::tree::At;
use crate::config::{Config, Source};
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

impl EscTrigger {
    /// The source that tells of a step both ways, where this takes it either way: then one step may run a hook twice.
    pub fn taken_twice<'a>(&self, config: &'a Config) -> Option<&'a str> {
        let tells_twice = |source: &Source| match source {
            Source::Esc(source) => source.callbacks.is_some() && source.netconf.is_some(),
            _ => false,
        };
        let is_asked = |name: &str| self.source.as_deref().is_none_or(|asked| asked == name);
        let mut sources = config.sources.iter();
        let found =
            sources.find(|(name, source)| self.via.is_none() && is_asked(name) && tells_twice(source));
        found.map(|(name, _)| name.as_str())
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
