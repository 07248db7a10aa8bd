//! Why one hook does or does not match one event.

use super::own::own_steps;
use super::{catch_up_fits, from_fits, name_fits, result_fits, result_name, source_fits, told_of};
use crate::event::esc;
use crate::event::masakari::MasakariNotification;
use crate::event::opennebula::Resource;
use crate::event::{ApiCall, Event, Facts, StateChange};
use crate::expression::{EvaluationContext, Expression};
use crate::hooks::{
    ApiTrigger, EscTrigger, Hook, MasakariTrigger, Names, NcmpTrigger, Patterns, StateTrigger, Trigger,
    WebhookTrigger,
};

/// Why one hook does or does not match one event: everything that was asked, with what was found.
///
/// Whether the hook is enabled or muted is not among it: the one who asks knows, and this room does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Everything that was looked at, in order, whether or not something before it decided already.
    pub steps: Vec<Step>,
    /// Whether the hook matches.
    pub matches: bool,
}

/// One thing looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which of the hook's triggers it belongs to, from 0; none for the condition, which belongs to the hook.
    pub trigger: Option<usize>,
    /// What is asked for: `state is RUNNING`.
    pub asked: String,
    /// What was found: `BOOT`.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
    /// Whether the hook does not match because of it: the first step of a trigger that does not hold, where no trigger
    /// fits, or the condition, where one does.
    pub decisive: bool,
    /// Of a condition, the parts that were looked up in the event, each with the value found.
    pub lookups: Vec<(String, String)>,
}

/// Says why `hook` does or does not match `event`.
pub fn explain(hook: &Hook, event: &Event) -> Explanation {
    let mut triggers: Vec<Vec<Step>> = hook
        .triggers
        .iter()
        .enumerate()
        .map(|(position, trigger)| trigger_steps(position, trigger, hook, event))
        .collect();
    let fits = triggers.iter().any(|steps| steps.iter().all(|step| step.holds));
    let mut condition = hook.when.as_ref().map(|when| condition_step(when, event));

    if fits {
        if let Some(step) = &mut condition {
            step.decisive = !step.holds;
        }
    } else {
        for steps in &mut triggers {
            if let Some(step) = steps.iter_mut().find(|step| !step.holds) {
                step.decisive = true;
            }
        }
    }
    let matches = fits && condition.as_ref().is_none_or(|step| step.holds);
    Explanation {
        steps: triggers.into_iter().flatten().chain(condition).collect(),
        matches,
    }
}

fn trigger_steps(position: usize, trigger: &Trigger, hook: &Hook, event: &Event) -> Vec<Step> {
    let mut steps = Steps {
        trigger: position,
        steps: Vec::new(),
    };
    match trigger {
        Trigger::State(asked) => state_steps(&mut steps, asked, hook, event),
        Trigger::Api(asked) => api_steps(&mut steps, asked, event),
        Trigger::Own(asked) => own_steps(&mut steps, asked, &hook.name, event),
        Trigger::Webhook(asked) => webhook_steps(&mut steps, asked, event),
        Trigger::Ncmp(asked) => ncmp_steps(&mut steps, asked, event),
        Trigger::Esc(asked) => esc_steps(&mut steps, asked, event),
        Trigger::Masakari(asked) => masakari_steps(&mut steps, asked, event),
    }
    steps.steps
}

/// The steps of one trigger.
pub(super) struct Steps {
    trigger: usize,
    steps: Vec<Step>,
}

impl Steps {
    pub(super) fn add(&mut self, asked: String, found: impl Into<String>, holds: bool) {
        self.steps.push(Step {
            trigger: Some(self.trigger),
            asked,
            found: found.into(),
            holds,
            decisive: false,
            lookups: Vec::new(),
        });
    }

    fn source(&mut self, asked: Option<&str>, event: &Event) {
        if let Some(asked) = asked {
            self.add(
                format!("source is {asked}"),
                &*event.source,
                source_fits(Some(asked), &event.source),
            );
        }
    }

    pub(super) fn pattern(&mut self, what: &str, asked: &Patterns, found: Option<&str>) {
        self.told(what, asked, found, None);
    }

    /// `why` says why the event may not tell it.
    fn told(&mut self, what: &str, asked: &Patterns, found: Option<&str>, why: Option<&str>) {
        if let Patterns::Of(patterns) = asked {
            self.add(
                format!("{what} is {}", list(patterns)),
                shown(found, why),
                asked.fit(found),
            );
        }
    }

    fn name(&mut self, what: &str, asked: &Names, found: Option<&str>) {
        if let Names::Of(names) = asked {
            self.add(
                format!("{what} is {}", list(names)),
                found.unwrap_or(NOTHING),
                name_fits(asked, found),
            );
        }
    }
}

/// What is found where an event says nothing.
pub(super) const NOTHING: &str = "(none)";

fn shown(found: Option<&str>, why: Option<&str>) -> String {
    match (found, why) {
        (Some(found), _) => found.to_owned(),
        (None, Some(why)) => format!("{NOTHING}: {why}"),
        (None, None) => NOTHING.to_owned(),
    }
}

pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => "one of no names".to_owned(),
        [name] => name.clone(),
        names => format!("one of {}", names.join(", ")),
    }
}

fn state_steps(steps: &mut Steps, asked: &StateTrigger, hook: &Hook, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let change = match &event.facts {
        Facts::State(change) => Some(change),
        _ => None,
    };
    steps.add("kind is state".to_owned(), kind_found(event), change.is_some());
    let resource = change.map(|change| &change.resource);
    steps.add(
        format!("resource is {}", asked.resource),
        resource.map_or(NOTHING, Resource::as_str),
        resource == Some(&asked.resource),
    );
    steps.name("state", &asked.state, change.map(|c| c.state.as_str()));
    steps.name(
        "lcm_state",
        &asked.lcm_state,
        change.and_then(|c| c.lcm_state.as_deref()),
    );
    if let Names::Of(names) = &asked.from {
        steps.add(
            format!("previous state is {}", list(names)),
            change.map_or_else(|| NOTHING.to_owned(), previous_found),
            change.is_some_and(|change| from_fits(&asked.from, change)),
        );
    }
    if event.is_caught_up() {
        let found = if hook.catch_up {
            "raised by hem after a gap"
        } else {
            "raised by hem after a gap; the hook does not ask for catch-up"
        };
        steps.add(
            "the controller sent it, or the hook has `catch_up: true`".to_owned(),
            found,
            catch_up_fits(hook.catch_up, event),
        );
    }
}

fn api_steps(steps: &mut Steps, asked: &ApiTrigger, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let call: Option<&ApiCall> = match &event.facts {
        Facts::Api(call) => Some(call),
        _ => None,
    };
    steps.add("kind is api".to_owned(), kind_found(event), call.is_some());
    steps.name("call", &asked.call, call.map(|call| call.call.as_str()));
    if let Some(success) = asked.success {
        steps.add(
            format!("result is {}", result_name(success)),
            call.map_or(NOTHING, |call| result_name(call.success)),
            call.is_some_and(|call| result_fits(Some(success), call)),
        );
    }
}

fn webhook_steps(steps: &mut Steps, asked: &WebhookTrigger, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let request = match &event.facts {
        Facts::Webhook(request) => Some(request),
        _ => None,
    };
    steps.add("kind is webhook".to_owned(), kind_found(event), request.is_some());
    let found = request.map(|request| request.endpoint.as_str());
    steps.pattern("endpoint", &asked.name, found);
}

fn ncmp_steps(steps: &mut Steps, asked: &NcmpTrigger, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let told = match &event.facts {
        Facts::Ncmp(told) => Some(&**told),
        _ => None,
    };
    steps.add("kind is ncmp".to_owned(), kind_found(event), told.is_some());
    let nothing = |name| told.and_then(|told| told.absence(name));
    for (name, patterns, value) in asked.asked(told) {
        steps.told(name, patterns, value, nothing(name));
    }
    if let Some(wanted) = asked.data_sync {
        let found = told.and_then(|told| told.data_sync);
        let text = found.map(|found| found.to_string());
        let shown = shown(text.as_deref(), nothing("data_sync"));
        steps.add(format!("data_sync is {wanted}"), shown, found == Some(wanted));
    }
}

fn esc_steps(steps: &mut Steps, asked: &EscTrigger, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let found = match &event.facts {
        Facts::Esc(event) => Some(&**event),
        _ => None,
    };
    steps.add("kind is esc".to_owned(), kind_found(event), found.is_some());
    steps.pattern("event", &asked.event, found.map(|event| event.event.as_str()));
    for (what, patterns, value) in [
        ("status", &asked.status, found.map(|event| &event.status)),
        ("tenant", &asked.tenant, found.map(|event| &event.tenant)),
        (
            "deployment",
            &asked.deployment,
            found.map(|event| &event.deployment),
        ),
        ("vm_group", &asked.vm_group, found.map(|event| &event.vm_group)),
    ] {
        // Only what came by the other way may have it.
        let why = found.and_then(|event| esc::absence(event.via, what));
        steps.told(what, patterns, value.and_then(Option::as_deref), why);
    }
    if let Some(via) = asked.via {
        steps.add(
            format!("via is {via}"),
            found.map_or(NOTHING, |event| event.via.as_str()),
            found.is_some_and(|event| event.via == via),
        );
    }
}

fn masakari_steps(steps: &mut Steps, asked: &MasakariTrigger, event: &Event) {
    steps.source(asked.source.as_deref(), event);
    let told = match &event.facts {
        Facts::Masakari(told) => Some(told),
        _ => None,
    };
    steps.add("kind is masakari".to_owned(), kind_found(event), told.is_some());
    for (name, patterns) in asked.asked() {
        steps.pattern(name, patterns, told.and_then(|told| told_of(told, name)));
    }
    if asked.status.is_none() {
        let found = match told.and_then(MasakariNotification::previous_status) {
            Some(previous) => format!("a change of the status from {previous}"),
            None => "the first".to_owned(),
        };
        steps.add(
            "it is the first that is seen of the notification, or the hook asks for a `status`".to_owned(),
            found,
            told.is_some_and(MasakariNotification::is_first_sight),
        );
    }
}

pub(super) fn kind_found(event: &Event) -> String {
    match &event.facts {
        Facts::Retry(retry) => format!("retry of the controller's hook {}", retry.hook_id),
        Facts::Undecodable { reason } => format!("undecodable: {reason}"),
        Facts::State(_)
        | Facts::Api(_)
        | Facts::Gap(_)
        | Facts::Own(_)
        | Facts::Webhook(_)
        | Facts::Esc(_)
        | Facts::Ncmp(_)
        | Facts::Masakari(_) => event.kind().as_str().to_owned(),
    }
}

fn previous_found(change: &StateChange) -> String {
    match (&change.previous_state, &change.previous_lcm_state) {
        (Some(state), Some(lcm_state)) => format!("{state}/{lcm_state}"),
        (Some(name), None) | (None, Some(name)) => name.clone(),
        (None, None) => NOTHING.to_owned(),
    }
}

fn condition_step(condition: &Expression, event: &Event) -> Step {
    let context = EvaluationContext::new(event);
    let holds = condition.holds_in(&context);
    Step {
        trigger: None,
        asked: format!("when: {}", condition.text()),
        found: match &holds {
            Ok(truth) => truth.to_string(),
            Err(error) => error.to_string(),
        },
        holds: holds == Ok(true),
        decisive: false,
        lookups: condition.lookups_in(&context),
    }
}
