//! Triggers on what hem did itself.

use super::explanation::{NOTHING, Steps, kind_found, list};
use crate::event::id::HookName;
use crate::event::own::{Outcome, OwnEvent, SourceDown};
use crate::event::{Event, Facts};
use crate::hooks::{Hook, OwnTrigger};

/// Whether a hook that asks so would be triggered by what hem is about to say, conditions aside. What nobody asks for
/// need not become an event.
pub fn asks_for(hook: &Hook, asked: &OwnTrigger, own: &OwnEvent) -> bool {
    is_of_another(&hook.name, own) && fits(asked, own)
}

/// Whether an event fits a trigger of the hook with this name.
pub(super) fn own_fits(asked: &OwnTrigger, hook: &HookName, event: &Event) -> bool {
    match (&event.facts, asked) {
        (Facts::Gap(_), OwnTrigger::Gap { source }) => source.fit(Some(&event.source)),
        (Facts::Own(own), asked) => is_of_another(hook, own) && fits(asked, own),
        _ => false,
    }
}

/// A hook is never triggered by what is about itself: it would go on for ever.
fn is_of_another(hook: &HookName, own: &OwnEvent) -> bool {
    own.hook() != Some(hook)
}

fn fits(asked: &OwnTrigger, own: &OwnEvent) -> bool {
    let name = own.hook().map(HookName::as_str);
    match (asked, own) {
        (OwnTrigger::Execution { hook, outcomes }, OwnEvent::Execution(ended)) => {
            hook.fit(name) && outcomes.contains(&ended.outcome)
        }
        (OwnTrigger::Muted { hook, source }, OwnEvent::Muted(_)) => {
            hook.fit(name) && source.fit(own.source())
        }
        (OwnTrigger::Blocked { hook }, OwnEvent::Blocked(_)) => hook.fit(name),
        (OwnTrigger::SourceDown { source, after }, OwnEvent::SourceDown(down)) => {
            // One event for each time that somebody asks for: each hook gets its own, once.
            source.fit(Some(&down.source)) && *after == down.after
        }
        _ => false,
    }
}

pub(super) fn why_own(event: &Event) -> String {
    match &event.facts {
        Facts::Own(own) => own.in_words(),
        _ => format!("gap of {}", event.source),
    }
}

pub(super) fn own_steps(steps: &mut Steps, asked: &OwnTrigger, name: &HookName, event: &Event) {
    let own = match &event.facts {
        Facts::Own(own) => Some(own),
        _ => None,
    };
    let kind = asked.name();
    steps.add(
        format!("kind is {kind}"),
        kind_found(event),
        event.kind().as_str() == kind,
    );
    let own = own.filter(|own| own.kind().as_str() == kind);
    let found_hook = own.and_then(OwnEvent::hook).map(HookName::as_str);
    let found_source = own.and_then(OwnEvent::source);
    match asked {
        OwnTrigger::Gap { source } => {
            let is_gap = matches!(event.facts, Facts::Gap(_));
            steps.pattern("source", source, is_gap.then_some(&*event.source));
        }
        OwnTrigger::Execution { hook, outcomes } => {
            steps.pattern("hook", hook, found_hook);
            if *outcomes != Outcome::ALL {
                let names: Vec<String> = outcomes.iter().map(ToString::to_string).collect();
                let found = match own {
                    Some(OwnEvent::Execution(ended)) => Some(ended.outcome),
                    _ => None,
                };
                steps.add(
                    format!("outcome is {}", list(&names)),
                    found.map_or(NOTHING, Outcome::as_str),
                    found.is_some_and(|found| outcomes.contains(&found)),
                );
            }
        }
        OwnTrigger::Muted { hook, source } => {
            steps.pattern("hook", hook, found_hook);
            steps.pattern("source", source, found_source);
        }
        OwnTrigger::Blocked { hook } => steps.pattern("hook", hook, found_hook),
        OwnTrigger::SourceDown { source, after } => {
            steps.pattern("source", source, found_source);
            let found = match own {
                Some(OwnEvent::SourceDown(SourceDown { after, .. })) => Some(*after),
                _ => None,
            };
            steps.add(
                format!("away for {after:?}"),
                found.map_or_else(|| NOTHING.to_owned(), |found| format!("{found:?}")),
                found == Some(*after),
            );
        }
    }
    if let Some(own) = own.filter(|own| !is_of_another(name, own)) {
        steps.add("it is about another hook".to_owned(), own.in_words(), false);
    }
}
