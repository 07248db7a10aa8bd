//! The hooks in force, arranged by what their triggers ask for.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::own::{own_fits, why_own};
use super::{catch_up_fits, from_fits, result_fits, result_name, source_fits, told_of};
use crate::event::esc::EscEvent;
use crate::event::masakari::MasakariNotification;
use crate::event::ncmp::NcmpRecord;
use crate::event::opennebula::Resource;
use crate::event::webhook::WebhookRequest;
use crate::event::{ApiCall, Event, Facts, StateChange};
use crate::expression::{EvaluationContext, EvaluationError};
use crate::hooks::{
    ApiTrigger, EscTrigger, Hook, HookSet, MasakariTrigger, Names, NcmpTrigger, OwnTrigger, StateTrigger,
    Trigger, WebhookTrigger,
};

/// One hook that an event triggers.
#[derive(Debug, Clone)]
pub struct Match {
    /// The hook.
    pub hook: Arc<Hook>,
    /// Why, in a few words: `state VM ACTIVE/RUNNING`.
    pub why: String,
}

/// What came of matching one event.
#[derive(Debug, Clone, Default)]
pub struct Matches {
    /// The hooks it triggers, in the set's order.
    pub matches: Vec<Match>,
    /// Hooks whose trigger fits and whose condition could not be worked out: nothing runs, it is counted and shown.
    pub condition_errors: Vec<(Arc<Hook>, String)>,
    /// Hooks whose trigger fits and whose condition asks for an element that the event does not have, with its path: no
    /// match, but counted.
    pub absent_elements: Vec<(Arc<Hook>, String)>,
}

/// The hooks in force, arranged so that an event finds its candidates without looking at the others.
#[derive(Debug)]
pub struct Index {
    /// Those that count, in the set's order.
    hooks: Vec<Arc<Hook>>,
    states: HashMap<Resource, ByName<ByName<Vec<Candidate>>>>,
    calls: ByName<Vec<Candidate>>,
    /// Those that ask for what hem did itself, whatever the kind: they are few.
    own: Vec<Candidate>,
    /// Those that ask for requests over HTTP, likewise.
    webhooks: Vec<Candidate>,
    /// Those that ask for events of ESC, likewise.
    esc: Vec<Candidate>,
    /// Those that ask for events of NCMP, likewise.
    ncmp: Vec<Candidate>,
    /// Those that ask for notifications of Masakari, likewise.
    masakari: Vec<Candidate>,
    /// All hooks that stand for one of the controller's, enabled or not.
    /// Controllers of several sources number their hooks each for itself.
    by_oned_id: HashMap<u64, Vec<Arc<Hook>>>,
}

/// One trigger of one hook, by their places in [`Index::hooks`] and [`Hook::triggers`].
///
/// Lists of candidates are sorted, because hooks are put in one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    hook: usize,
    trigger: usize,
}

/// What is asked for under certain names, and what is asked for whatever the name.
#[derive(Debug, Default)]
struct ByName<T> {
    named: HashMap<Box<str>, T>,
    any: T,
}

impl<T: Default> ByName<T> {
    /// The places where something that asks for `names` belongs.
    fn places(&mut self, names: &Names, mut put: impl FnMut(&mut T)) {
        match names {
            Names::Any => put(&mut self.any),
            Names::Of(names) => {
                for (position, name) in names.iter().enumerate() {
                    if !names[..position].contains(name) {
                        put(self.named.entry(name.as_str().into()).or_default());
                    }
                }
            }
        }
    }

    /// What is asked for under `name`, and whatever the name.
    fn find(&self, name: Option<&str>) -> (Option<&T>, &T) {
        // Most sets ask for nothing by name in most places.
        let named = match name {
            Some(name) if !self.named.is_empty() => self.named.get(name),
            _ => None,
        };
        (named, &self.any)
    }
}

impl Index {
    /// Arranges a set. `is_enabled` says which hooks count (the file's word and the operator's override).
    pub fn new(hooks: Arc<HookSet>, is_enabled: impl Fn(&Hook) -> bool) -> Self {
        let mut index = Self {
            hooks: Vec::new(),
            states: HashMap::new(),
            calls: ByName::default(),
            own: Vec::new(),
            webhooks: Vec::new(),
            esc: Vec::new(),
            ncmp: Vec::new(),
            masakari: Vec::new(),
            by_oned_id: HashMap::new(),
        };
        for hook in hooks.iter() {
            if let Some(id) = hook.oned_id {
                index.by_oned_id.entry(id).or_default().push(Arc::clone(hook));
            }
            if is_enabled(hook) {
                index.put(hook);
            }
        }
        index
    }

    fn put(&mut self, hook: &Arc<Hook>) {
        for (trigger, asked) in hook.triggers.iter().enumerate() {
            let candidate = Candidate {
                hook: self.hooks.len(),
                trigger,
            };
            match asked {
                Trigger::State(asked) => self.states.entry(asked.resource.clone()).or_default().places(
                    &asked.state,
                    |lcm_states| {
                        lcm_states.places(&asked.lcm_state, |list| list.push(candidate));
                    },
                ),
                Trigger::Api(asked) => self.calls.places(&asked.call, |list| list.push(candidate)),
                Trigger::Own(_) => self.own.push(candidate),
                Trigger::Webhook(_) => self.webhooks.push(candidate),
                Trigger::Esc(_) => self.esc.push(candidate),
                Trigger::Ncmp(_) => self.ncmp.push(candidate),
                Trigger::Masakari(_) => self.masakari.push(candidate),
            }
        }
        self.hooks.push(Arc::clone(hook));
    }

    /// The hooks `event` triggers.
    ///
    /// RETRY messages and messages that could not be read trigger none; for the former see
    /// [`retry_target`](Self::retry_target).
    pub fn matches(&self, event: &Event) -> Matches {
        let mut found = Found {
            index: self,
            event,
            context: OnceCell::new(),
            decided: None,
            matches: Matches::default(),
        };
        match &event.facts {
            Facts::State(change) => {
                let Some(by_state) = self.states.get(&change.resource) else {
                    return found.matches;
                };
                let (named, any) = by_state.find(Some(&change.state));
                let lcm_state = change.lcm_state.as_deref();
                let (any_named, any_any) = any.find(lcm_state);
                let (named_named, named_any) = match named {
                    Some(named) => {
                        let (named_named, named_any) = named.find(lcm_state);
                        (named_named, Some(named_any))
                    }
                    None => (None, None),
                };
                let lists = [named_named, named_any, any_named, Some(any_any)];
                for candidate in in_order(lists) {
                    found.consider(candidate);
                }
            }
            Facts::Api(call) => {
                let (named, any) = self.calls.find(Some(&call.call));
                for candidate in in_order([named, Some(any)]) {
                    found.consider(candidate);
                }
            }
            Facts::Gap(_) | Facts::Own(_) => {
                for candidate in in_order([Some(&self.own)]) {
                    found.consider(candidate);
                }
            }
            Facts::Webhook(_) => {
                for candidate in in_order([Some(&self.webhooks)]) {
                    found.consider(candidate);
                }
            }
            Facts::Ncmp(_) => {
                for candidate in in_order([Some(&self.ncmp)]) {
                    found.consider(candidate);
                }
            }
            Facts::Esc(_) => {
                for candidate in in_order([Some(&self.esc)]) {
                    found.consider(candidate);
                }
            }
            Facts::Masakari(_) => {
                for candidate in in_order([Some(&self.masakari)]) {
                    found.consider(candidate);
                }
            }
            Facts::Retry(_) | Facts::Undecodable { .. } => {}
        }
        found.matches
    }

    /// The triggers on what hem did itself, of the hooks that count, each with its hook.
    pub fn own_triggers(&self) -> impl Iterator<Item = (&Hook, &OwnTrigger)> {
        self.own.iter().filter_map(|candidate| {
            let hook = self.hooks.get(candidate.hook)?;
            match hook.triggers.get(candidate.trigger)? {
                Trigger::Own(asked) => Some((&**hook, asked)),
                Trigger::State(_)
                | Trigger::Api(_)
                | Trigger::Webhook(_)
                | Trigger::Esc(_)
                | Trigger::Ncmp(_)
                | Trigger::Masakari(_) => None,
            }
        })
    }

    /// Whether any hook that counts is triggered by states that were missed.
    pub fn is_catch_up_wanted(&self) -> bool {
        self.hooks.iter().any(|hook| {
            let mut triggers = hook.triggers.iter();
            hook.catch_up && triggers.any(|trigger| matches!(trigger, Trigger::State(_)))
        })
    }

    /// The hook that a RETRY message with the number `hook_id` from the controller behind `source` means; whether it is enabled,
    /// muted or gone from the controller is the caller's to judge.
    pub fn retry_target(&self, hook_id: u64, source: &str) -> Option<&Arc<Hook>> {
        let mut hooks = self.by_oned_id.get(&hook_id)?.iter();
        hooks.find(|hook| hook.may_take_from(source))
    }
}

/// Goes through several sorted lists as if they were one, without making it.
fn in_order<const N: usize>(lists: [Option<&Vec<Candidate>>; N]) -> impl Iterator<Item = Candidate> {
    let mut lists = lists.map(|list| list.map_or(&[][..], Vec::as_slice));
    std::iter::from_fn(move || {
        let next = lists
            .iter_mut()
            .filter(|list| !list.is_empty())
            .min_by_key(|list| list[0])?;
        let (first, rest) = next.split_first()?;
        *next = rest;
        Some(*first)
    })
}

/// One event's search.
struct Found<'a> {
    index: &'a Index,
    event: &'a Event,
    /// Made when the first condition is looked at: most events meet none.
    context: OnceCell<EvaluationContext<'a>>,
    /// The hook that was decided last: a further trigger of it changes nothing.
    decided: Option<usize>,
    matches: Matches,
}

impl Found<'_> {
    /// Decides on a hook whose trigger has the event's names; what is not a key of the index is compared here.
    fn consider(&mut self, candidate: Candidate) {
        if self.decided == Some(candidate.hook) {
            return;
        }
        let Some(hook) = self.index.hooks.get(candidate.hook) else {
            return;
        };
        let source = &self.event.source;
        let why = match (hook.triggers.get(candidate.trigger), &self.event.facts) {
            (Some(Trigger::State(asked)), Facts::State(change)) => {
                let fits = catch_up_fits(hook.catch_up, self.event) && state_fits(asked, source, change);
                fits.then(|| why_state(change, self.event.is_caught_up()))
            }
            (Some(Trigger::Api(asked)), Facts::Api(call)) => {
                call_fits(asked, source, call).then(|| why_call(call))
            }
            (Some(Trigger::Own(asked)), Facts::Gap(_) | Facts::Own(_)) => {
                own_fits(asked, &hook.name, self.event).then(|| why_own(self.event))
            }
            (Some(Trigger::Webhook(asked)), Facts::Webhook(request)) => {
                request_fits(asked, source, request).then(|| format!("webhook {}", request.endpoint))
            }
            (Some(Trigger::Ncmp(asked)), Facts::Ncmp(told)) => {
                record_fits(asked, source, told).then(|| why_record(told))
            }
            (Some(Trigger::Esc(asked)), Facts::Esc(event)) => {
                esc_fits(asked, source, event).then(|| why_esc(event))
            }
            (Some(Trigger::Masakari(asked)), Facts::Masakari(told)) => {
                notification_fits(asked, source, told).then(|| why_notification(told))
            }
            _ => None,
        };
        let Some(why) = why else {
            return;
        };
        self.decided = Some(candidate.hook);

        let holds = match &hook.when {
            None => Ok(true),
            Some(condition) => {
                let context = self.context.get_or_init(|| EvaluationContext::new(self.event));
                condition.holds_in(context)
            }
        };
        let hook = Arc::clone(hook);
        match holds {
            Ok(true) => self.matches.matches.push(Match { hook, why }),
            Ok(false) => {}
            Err(EvaluationError::Absent { path }) => {
                self.matches.absent_elements.push((hook, path));
            }
            Err(error @ EvaluationError::Failed(_)) => {
                self.matches.condition_errors.push((hook, error.to_string()));
            }
        }
    }
}

fn state_fits(asked: &StateTrigger, source: &str, change: &StateChange) -> bool {
    source_fits(asked.source.as_deref(), source) && from_fits(&asked.from, change)
}

fn call_fits(asked: &ApiTrigger, source: &str, call: &ApiCall) -> bool {
    source_fits(asked.source.as_deref(), source) && result_fits(asked.success, call)
}

fn request_fits(asked: &WebhookTrigger, source: &str, request: &WebhookRequest) -> bool {
    source_fits(asked.source.as_deref(), source) && asked.name.fit(Some(&request.endpoint))
}

fn record_fits(asked: &NcmpTrigger, source: &str, told: &NcmpRecord) -> bool {
    source_fits(asked.source.as_deref(), source)
        && asked
            .data_sync
            .is_none_or(|wanted| told.data_sync == Some(wanted))
        && asked
            .asked(Some(told))
            .all(|(_, patterns, value)| patterns.fit(value))
}

fn why_record(told: &NcmpRecord) -> String {
    match (&told.old_state, &told.state) {
        (Some(old), Some(new)) => format!("ncmp {}, {old} → {new}", told.event),
        (None, Some(new)) => format!("ncmp {}, {new}", told.event),
        _ => format!("ncmp {}", told.event),
    }
}

fn esc_fits(asked: &EscTrigger, source: &str, event: &EscEvent) -> bool {
    source_fits(asked.source.as_deref(), source)
        && asked.event.fit(Some(&event.event))
        && asked.status.fit(event.status.as_deref())
        && asked.tenant.fit(event.tenant.as_deref())
        && asked.deployment.fit(event.deployment.as_deref())
        && asked.vm_group.fit(event.vm_group.as_deref())
        && asked.via.is_none_or(|via| via == event.via)
}

fn why_esc(event: &EscEvent) -> String {
    match &event.status {
        Some(status) => format!("esc {} {status}", event.event),
        None => format!("esc {}", event.event),
    }
}

fn notification_fits(asked: &MasakariTrigger, source: &str, told: &MasakariNotification) -> bool {
    source_fits(asked.source.as_deref(), source)
        && (asked.status.is_some() || told.is_first_sight())
        && asked
            .asked()
            .all(|(name, patterns)| patterns.fit(told_of(told, name)))
}

fn why_notification(told: &MasakariNotification) -> String {
    let what = format!("masakari {} {}", told.kind, told.event().unwrap_or_default());
    match told.previous_status() {
        Some(previous) => format!("{what}, {previous} → {}", told.status()),
        None => what,
    }
}

fn why_state(change: &StateChange, is_caught_up: bool) -> String {
    let resource = &change.resource;
    let how = if is_caught_up { ", raised after a gap" } else { "" };
    match &change.lcm_state {
        Some(lcm_state) => format!("state {resource} {}/{lcm_state}{how}", change.state),
        None => format!("state {resource} {}{how}", change.state),
    }
}

fn why_call(call: &ApiCall) -> String {
    format!("api {} {}", call.call, result_name(call.success))
}
