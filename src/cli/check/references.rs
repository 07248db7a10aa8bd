//! `hem check` of hooks beside hem.yaml: what they ask for that nothing gives.

use super::configuration::{meant, told};
use crate::config::{Config, PlaceInText, Places, Source};
use crate::hooks::{Fault, Hook, OwnTrigger, Patterns, Severity, Trigger};

/// Triggers of a hook that no configured source can raise: the hook is good, and would never run.
pub(super) fn check(hook: &Hook, config: &Config) -> Vec<Fault> {
    let place = Places::of(&hook.text);
    let fault = |key: &str, text: &str, message: String, hint: String| {
        let within = |places: &Places| {
            let mut texts = places.texts("trigger", key).into_iter();
            texts
                .find(|(found, _)| *found == text)
                .map_or_else(|| places.find(&["trigger"]), |(_, place)| place)
        };
        let place = place.as_ref().map_or(PlaceInText { line: 1, column: 1 }, within);
        let mut fault = told(
            &hook.origin.file,
            &hook.text,
            place,
            Severity::Warning,
            message,
            Some(hint),
        );
        fault.line += hook.origin.line.saturating_sub(1);
        fault
    };
    let names: Vec<&str> = config.sources.keys().map(String::as_str).collect();
    let mut faults = Vec::new();
    for trigger in &hook.triggers {
        if let Some(name) = trigger.source()
            && let Some(wrong) = wrong_source(trigger, name, config)
        {
            faults.push(fault(
                "source",
                name,
                wrong,
                meant(name, &sources_for(trigger, config)),
            ));
        } else if let Some(wanted) = trigger.source_type()
            && !config.sources.values().any(|source| source.type_name() == wanted)
        {
            let message = format!("hem.yaml has no source of type `{wanted}`, so nothing triggers this");
            let hint = format!("add one to `sources:`, `NAME: {{ type: {wanted} }}`");
            faults.push(fault("", "", message, hint));
        } else if let Trigger::Webhook(trigger) = trigger
            && let Patterns::Of(patterns) = &trigger.name
        {
            let endpoints = endpoints(config, trigger.source.as_deref());
            for pattern in patterns.iter().filter(|pattern| fits_none(pattern, &endpoints)) {
                let message = format!("there is no webhook endpoint `{pattern}` in hem.yaml");
                faults.push(fault("name", pattern, message, meant(pattern, &endpoints)));
            }
        }
        if let Trigger::Esc(trigger) = trigger
            && let Some(name) = trigger.taken_twice(config)
        {
            let message = format!(
                "the source `{name}` tells of a step by a callback and by a notification, and this takes both: one step may run it twice"
            );
            let hint = "say which one is meant: `via: netconf` or `via: rest`".to_owned();
            faults.push(fault("", "", message, hint));
        }
        if let Trigger::Own(
            OwnTrigger::Gap { source }
            | OwnTrigger::Muted { source, .. }
            | OwnTrigger::SourceDown { source, .. },
        ) = trigger
            && let Patterns::Of(patterns) = source
        {
            for pattern in patterns.iter().filter(|pattern| fits_none(pattern, &names)) {
                let message = format!("there is no source `{pattern}` in hem.yaml");
                faults.push(fault("source", pattern, message, meant(pattern, &names)));
            }
        }
    }
    faults.sort_by_key(|fault| (fault.line, fault.column));
    faults.dedup();
    faults
}

fn wrong_source(trigger: &Trigger, name: &str, config: &Config) -> Option<String> {
    let Some(source) = config.sources.get(name) else {
        return Some(format!("there is no source `{name}` in hem.yaml"));
    };
    let wanted = trigger
        .source_type()
        .filter(|wanted| *wanted != source.type_name())?;
    Some(format!(
        "the source `{name}` is of type `{}`; this asks for events of type `{wanted}`",
        source.type_name()
    ))
}

/// The names of the sources that can raise what a trigger asks for.
fn sources_for<'a>(trigger: &Trigger, config: &'a Config) -> Vec<&'a str> {
    let fits = |source: &Source| {
        trigger
            .source_type()
            .is_none_or(|wanted| wanted == source.type_name())
    };
    let sources = config.sources.iter().filter(|(_, source)| fits(source));
    sources.map(|(name, _)| name.as_str()).collect()
}

fn endpoints<'a>(config: &'a Config, source: Option<&str>) -> Vec<&'a str> {
    let sources = config.sources.iter();
    sources
        .filter(|(name, _)| source.is_none_or(|asked| asked == *name))
        .filter_map(|(_, source)| match source {
            Source::Webhook(source) => Some(source.endpoints.keys().map(String::as_str)),
            _ => None,
        })
        .flatten()
        .collect()
}

fn fits_none(pattern: &str, names: &[&str]) -> bool {
    let pattern = Patterns::Of(vec![pattern.to_owned()]);
    !names.iter().any(|name| pattern.fit(Some(name)))
}
