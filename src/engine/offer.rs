//! An event with what it is to run: how it is matched, and matched again where other hooks came into force on its way to the
//! dispatcher.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::core::NewExecution;
use super::execution::{Actor, Cause};
use super::handle::{Accepted, OrderError};
use super::hooks_in_force::InForce;
use super::intake::NotAccepted;
use crate::event::{Event, Facts, RetryRequest};
use crate::hooks::Hook;
use crate::store::Store;
use crate::store::writer::Change;

/// An event and what it is to run, to be accepted together.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) event: Box<Event>,
    pub(super) executions: Vec<NewExecution>,
    pub(super) condition_errors: u64,
    pub(super) absent_elements: u64,
    /// The operator who handed it over.
    pub(super) asked: Option<Asked>,
    /// The source that handed it over and waits for its acceptance.
    pub(super) delivered: Option<oneshot::Sender<Result<Accepted, NotAccepted>>>,
    /// The identity of an own event, which is told with this.
    pub(super) tells: Option<String>,
    /// What is known of the controller's resources with this, and what its source keeps.
    pub(super) learned: Vec<Change>,
    /// The operator named the hook to be run, whatever its trigger says.
    pub(super) is_for_one_hook: bool,
}

/// An operator who handed an event over and waits for its acceptance.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) actor: Actor,
    pub(super) reply: oneshot::Sender<Result<Accepted, OrderError>>,
}

impl Offer {
    /// An event that runs nothing.
    fn unmatched(event: Event) -> Self {
        Self {
            event: Box::new(event),
            executions: Vec::new(),
            condition_errors: 0,
            absent_elements: 0,
            asked: None,
            delivered: None,
            tells: None,
            learned: Vec::new(),
            is_for_one_hook: false,
        }
    }

    /// An event with what the hooks in force are to do about it. An event that hem itself fails on is kept, and says so.
    pub(super) fn matched(event: Event, in_force: &InForce, store: &Store) -> Self {
        let matched = catch_unwind(AssertUnwindSafe(|| {
            let mut offer = Self::unmatched(event.clone());
            offer.match_against(in_force, store);
            offer
        }));
        matched.unwrap_or_else(|panic| {
            let reason = format!("hem failed to match it: {}", panic_text(&*panic));
            tracing::error!(event = %event.seq, reason, "an event is kept unmatched");
            Self::unmatched(Event {
                facts: Facts::Undecodable { reason },
                ..event
            })
        })
    }

    /// An event with one execution, of a hook that an operator named.
    pub(super) fn of_one_hook(event: Event, hook: Arc<Hook>) -> Self {
        let mut offer = Self::unmatched(event);
        offer.is_for_one_hook = true;
        offer.executions.push(NewExecution {
            hook,
            why: "emitted for this hook".to_owned(),
            cause: Cause::Event,
            retry_of: None,
            lane_subject: None,
        });
        offer
    }

    /// The same with what these hooks are to do about it, which came into force since it was matched. To drop what is not in
    /// force any more would not do: an event would meet neither the former set nor this one, and none of a hook that has
    /// another name by now.
    pub(super) fn matched_again(mut self, in_force: &InForce, store: &Store) -> Self {
        if self.is_for_one_hook {
            self.executions.retain_mut(|new| {
                let hook = in_force.set.get(&new.hook.name);
                let Some(hook) = hook.filter(|hook| in_force.is_enabled(hook)) else {
                    return false;
                };
                new.hook = Arc::clone(hook);
                true
            });
            return self;
        }
        let Self {
            event,
            asked,
            delivered,
            tells,
            learned,
            ..
        } = self;
        Self {
            asked,
            delivered,
            tells,
            learned,
            ..Self::matched(*event, in_force, store)
        }
    }

    fn match_against(&mut self, in_force: &InForce, store: &Store) {
        let event = &self.event;
        if let Facts::Retry(retry) = &event.facts {
            let target = in_force.index.retry_target(retry.hook_id, &event.source);
            let target = target.filter(|hook| in_force.is_enabled(hook));
            self.executions
                .extend(target.map(|hook| repeated(retry, event, hook, store)));
            return;
        }
        let found = in_force.index.matches(event);
        for (hook, error) in &found.condition_errors {
            tracing::warn!(hook = %hook.name, key = %event.key, error, "a condition could not be worked out; nothing runs");
        }
        self.condition_errors = found.condition_errors.len() as u64;
        self.absent_elements = found.absent_elements.len() as u64;
        self.executions
            .extend(found.matches.into_iter().map(|found| NewExecution {
                hook: found.hook,
                why: found.why,
                cause: Cause::Event,
                retry_of: None,
                lane_subject: None,
            }));
    }
}

/// The execution a RETRY message asks for. It joins the lane of the newest one with the same arguments.
fn repeated(retry: &RetryRequest, event: &Event, hook: &Arc<Hook>, store: &Store) -> NewExecution {
    let arguments = Sha256::digest(retry.arguments.as_bytes()).into();
    let former = match store.newest_with_arguments(&hook.name, &arguments) {
        Ok(former) => former,
        Err(error) => {
            tracing::warn!(hook = %hook.name, error = &error as &dyn std::error::Error, "cannot look for the execution that is to be repeated");
            None
        }
    };
    NewExecution {
        hook: Arc::clone(hook),
        why: format!("RETRY of hook {}", retry.hook_id),
        cause: Cause::RetryMessage(event.seq),
        lane_subject: former.as_ref().and_then(|execution| execution.subject.clone()),
        retry_of: former.map(|execution| execution.key),
    }
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::engine::hooks_in_force::{HooksInForce, NextHooks};
    use crate::event::ApiCall;
    use crate::event::id::{HookName, Seq};
    use crate::event::payload::Payload;
    use crate::event::time::Timestamp;
    use crate::hooks::{HookSet, declared};

    fn in_force(hooks: &[(&str, &str)]) -> Arc<InForce> {
        let hooks = hooks.iter().map(|(name, more)| {
            Arc::new(declared(&format!(
                "name: {name}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n{more}\n"
            )))
        });
        let all = HooksInForce::new(BTreeMap::new());
        all.replace_hooks(NextHooks {
            set: Arc::new(HookSet::new(hooks.collect())),
            ..NextHooks::default()
        });
        all.now()
    }

    fn event(facts: Facts) -> Event {
        Event {
            seq: Seq(7),
            source: "opennebula".into(),
            key: "EVENT API one.vm.allocate 1".to_owned(),
            subject: None,
            received: Timestamp::from_millis(0),
            facts,
            ambiguous: false,
            synthesised: false,
            payload: Payload::new(Bytes::new()),
        }
    }

    fn call() -> Facts {
        Facts::Api(ApiCall {
            call: "one.vm.allocate".to_owned(),
            success: true,
        })
    }

    fn names(offer: &Offer) -> Vec<&str> {
        offer
            .executions
            .iter()
            .map(|new| new.hook.name.as_str())
            .collect()
    }

    #[test]
    fn an_event_on_its_way_meets_the_new_set_as_a_whole_and_keeps_what_hangs_on_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let (former, now) = (
            in_force(&[("former", ""), ("stays", "")]),
            in_force(&[("renamed", ""), ("stays", "enabled: false"), ("comes", "")]),
        );
        let mut offer = Offer::matched(event(call()), &former, &store);
        assert_eq!(names(&offer), ["former", "stays"]);
        let (delivered, _pending) = oneshot::channel();
        offer.delivered = Some(delivered);
        offer.tells = Some("identity".to_owned());
        offer.learned = vec![Change::NoLongerOwed(3)];
        let offer = offer.matched_again(&now, &store);
        assert_eq!(names(&offer), ["renamed", "comes"]);
        assert_eq!(offer.event.seq, Seq(7));
        assert!(offer.delivered.is_some() && offer.asked.is_none());
        assert_eq!(offer.tells.as_deref(), Some("identity"));
        assert!(matches!(offer.learned.as_slice(), [Change::NoLongerOwed(3)]));
    }

    #[test]
    fn a_message_that_asks_for_a_hook_by_its_number_meets_the_one_that_has_it_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let (former, now) = (
            in_force(&[("former", "id: 5")]),
            in_force(&[("renamed", "id: 5"), ("other", "id: 6")]),
        );
        let retry = Facts::Retry(RetryRequest {
            hook_id: 5,
            arguments: String::new(),
            remote_host: None,
        });
        let offer = Offer::matched(event(retry), &former, &store);
        assert_eq!(names(&offer), ["former"]);
        assert_eq!(names(&offer.matched_again(&now, &store)), ["renamed"]);
    }

    #[test]
    fn what_an_operator_hands_over_for_one_hook_runs_that_one_as_it_is_now_or_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("a store");
        let former = in_force(&[("mine", "")]);
        let mine = HookName::new("mine").expect("a name");
        let hook = former.set.get(&mine).expect("the hook");
        let offer = || Offer::of_one_hook(event(call()), Arc::clone(hook));
        let changed = in_force(&[("mine", "on_interrupt: fail"), ("other", "")]);
        let now = offer().matched_again(&changed, &store);
        assert_eq!(names(&now), ["mine"]);
        assert_ne!(now.executions[0].hook.version, hook.version);
        for gone in [
            in_force(&[("other", "")]),
            in_force(&[("mine", "enabled: false")]),
        ] {
            assert!(names(&offer().matched_again(&gone, &store)).is_empty());
        }
    }
}
