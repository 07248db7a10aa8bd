//! Which hooks an event triggers, and why not. Pure: no input or output, no clock.
//!
//! [`Index`] finds an event's hooks without looking at the others; [`explain`] looks at one hook and says everything.
//! Both answer the same question, and a property test holds them to the same answer. Neither knows whether a hook was
//! muted, nor what became of an earlier event.

mod explanation;
mod index;
mod own;

pub use self::explanation::{Explanation, Step, explain};
pub use self::index::{Index, Match, Matches};
pub use self::own::asks_for;

use crate::event::masakari::MasakariNotification;
use crate::event::{ApiCall, Event, StateChange};
use crate::hooks::Names;

/// How a hook spells the result of a call.
const fn result_name(success: bool) -> &'static str {
    if success { "success" } else { "failure" }
}

/// Whether a source's name is the one asked for.
fn source_fits(asked: Option<&str>, found: &str) -> bool {
    asked.is_none_or(|asked| asked == found)
}

/// Whether a name that an event may lack is among those asked for.
fn name_fits(asked: &Names, found: Option<&str>) -> bool {
    match (asked, found) {
        (Names::Any, _) => true,
        (Names::Of(_), None) => false,
        (Names::Of(_), Some(found)) => asked.contains(found),
    }
}

/// Whether the resource was in one of the states asked for before: by its state's name or its life-cycle state's.
fn from_fits(asked: &Names, change: &StateChange) -> bool {
    name_fits(asked, change.previous_state.as_deref())
        || name_fits(asked, change.previous_lcm_state.as_deref())
}

/// Whether an event may trigger a hook that asks, or does not ask, for states that were missed.
fn catch_up_fits(is_asked_for: bool, event: &Event) -> bool {
    is_asked_for || !event.is_caught_up()
}

/// Whether a call ended as asked for.
fn result_fits(asked: Option<bool>, call: &ApiCall) -> bool {
    asked.is_none_or(|asked| asked == call.success)
}

/// What a notification says under the name of an attribute of the trigger.
fn told_of<'a>(told: &'a MasakariNotification, attribute: &str) -> Option<&'a str> {
    match attribute {
        "type" => Some(&told.kind),
        "host" => Some(&told.hostname),
        "status" => Some(told.status()),
        "process" => told.text("process_name"),
        other => told.text(other),
    }
}

#[cfg(test)]
mod tests;
