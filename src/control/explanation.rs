//! Why an event that is kept does or does not trigger each of the hooks in force.

use super::api::{ExplanationView, StepView};
use super::query::QueryError;
use super::veil::Veil;
use crate::engine::handle::Handle;
use crate::event::id::Seq;
use crate::event::{Event, Facts};
use crate::hooks::Hook;
use crate::matching::explain;
use crate::store::ListedEvent;

/// Explains every hook in force, those that match first. Conditions are worked out over the event as it is; what they found
/// is said with secrets blotted out.
///
/// # Errors
/// There is no such event, its document was not kept, or the store cannot be read.
pub(super) fn of_event(handle: &Handle, veil: &Veil, seq: Seq) -> Result<Vec<ExplanationView>, QueryError> {
    let listed = handle
        .store()
        .event(seq)?
        .ok_or_else(|| QueryError::absent_event(seq))?;
    if listed.payload_len > 0 && listed.event.payload.bytes().is_empty() {
        return Err(QueryError::Absent {
            message: format!("the document of event {seq} was not kept"),
            hint: Some(
                "of `one.user.*` calls that match no hook only the envelope is kept, for the passwords in them"
                    .to_owned(),
            ),
        });
    }
    let veil = veil.over(listed.event.payload.bytes());
    let overrides = handle.overrides();
    let mut views: Vec<ExplanationView> = handle
        .hooks()
        .iter()
        .map(|hook| {
            let enabled = overrides
                .get(&hook.name)
                .map_or(hook.enabled, |said| said.enabled);
            of_hook(hook, enabled, &listed, &veil)
        })
        .collect();
    views.sort_by_key(|view| !view.matches);
    Ok(views)
}

fn of_hook(hook: &Hook, enabled: bool, listed: &ListedEvent, veil: &Veil) -> ExplanationView {
    let event: &Event = &listed.event;
    let call = match &event.facts {
        Facts::Api(api) => Some(api.call.as_str()),
        _ => None,
    };
    let explanation = explain(hook, event);
    ExplanationView {
        hook: hook.name.to_string(),
        enabled,
        matches: explanation.matches,
        caused: listed.hooks.contains(&hook.name),
        steps: explanation
            .steps
            .into_iter()
            .map(|step| StepView {
                trigger: step.trigger,
                asked: step.asked,
                found: veil.of_call(&step.found, call),
                holds: step.holds,
                decisive: step.decisive,
                lookups: step
                    .lookups
                    .into_iter()
                    .map(|(asked, found)| {
                        let found = veil.variable(&asked, &found, call);
                        (asked, found)
                    })
                    .collect(),
            })
            .collect(),
    }
}
