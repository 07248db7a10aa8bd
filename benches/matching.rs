//! How many decoded events a second one core matches, with 10, 1,000 and 10,000 hooks.
//!
//! `cargo bench --bench matching` prints, for recorded events that match nothing and for the same events with conditions
//! to work out, events per second, the ratio to the smallest set of hooks (flat is 1), and the ratio to the aim.

#![allow(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a benchmark prints its figures and stops where it cannot run"
)]

#[path = "../tests/recorded/mod.rs"]
mod recorded;

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hem::event::id::Seq;
use hem::event::opennebula::{self, Resource, vocabulary};
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Facts, Subject};
use hem::expression::Expression;
use hem::hooks::{
    ApiTrigger, Defaults, Hook, HookSet, Names, Origin, StateTrigger, Trigger, parse_definition,
};
use hem::matching::Index;

/// Events a second, on one core, that matching is to reach whatever the number of hooks.
const AIM: f64 = 200_000.0;

/// How long each figure is measured.
const MEASURED: Duration = Duration::from_secs(2);

fn main() {
    let events: Vec<Event> = recorded::events().into_iter().map(decoded).collect();
    println!("{} recorded events, one core", events.len());
    measure("matching nothing", &events, elsewhere, &[10, 1_000, 10_000]);
    // One hook in ten asks for what happened, and has a condition; none holds.
    measure(
        "one hook in ten with a condition to work out",
        &events,
        with_conditions,
        &[10, 100],
    );
}

fn measure(what: &str, events: &[Event], hook: fn(usize, &[Event]) -> Hook, sizes: &[usize]) {
    println!("\n{what}");
    println!(
        "{:>8}  {:>12}  {:>10}  {:>10}",
        "hooks", "events/s", "to fewest", "to aim"
    );
    let mut fewest = None;
    for &size in sizes {
        let hooks = (0..size).map(|number| Arc::new(hook(number, events))).collect();
        let index = Index::new(Arc::new(HookSet::new(hooks)), |_| true);
        for event in events {
            assert!(index.matches(event).matches.is_empty(), "{} matches", event.key);
        }
        let rate = rate(&index, events);
        let fewest = *fewest.get_or_insert(rate);
        println!(
            "{size:>8}  {rate:>12.0}  {:>10.2}  {:>10.2}",
            rate / fewest,
            rate / AIM
        );
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a count of events fits a double's digits"
)]
fn rate(index: &Index, events: &[Event]) -> f64 {
    let started = Instant::now();
    let mut rounds = 0_usize;
    while started.elapsed() < MEASURED {
        for event in events {
            black_box(index.matches(black_box(event)));
        }
        rounds += 1;
    }
    (rounds * events.len()) as f64 / started.elapsed().as_secs_f64()
}

fn decoded(message: recorded::Recorded) -> Event {
    let reading = opennebula::read(&message.key, &message.content);
    Event {
        seq: Seq(1),
        source: Arc::from("opennebula"),
        key: message.key,
        subject: reading.subject.as_deref().map(Subject::new),
        received: Timestamp::from_millis(0),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(message.content),
    }
}

/// A hook on a state or a call that is real, and spread over all there are, but that no recorded event has.
fn elsewhere(number: usize, events: &[Event]) -> Hook {
    let never_seen = |call: &&&str| {
        !events
            .iter()
            .any(|event| matches!(&event.facts, Facts::Api(api) if api.call == **call))
    };
    let trigger = if number.is_multiple_of(2) {
        let lcm_states = vocabulary::lcm_states();
        Trigger::State(StateTrigger {
            source: None,
            resource: Resource::Vm,
            // A state of its own for every hook, beside one of the real ones that never comes with this life-cycle state.
            state: Names::Of(vec![format!("STATE_{number}"), "DONE".to_owned()]),
            lcm_state: Names::Of(vec![lcm_states[number % lcm_states.len()].to_owned() + "_NEVER"]),
            from: Names::Any,
        })
    } else {
        let unseen: Vec<&&str> = CALLS.iter().filter(never_seen).collect();
        Trigger::Api(ApiTrigger {
            source: None,
            call: Names::Of(vec![(*unseen[number % unseen.len()]).to_owned()]),
            success: None,
        })
    };
    hook(number, trigger, None)
}

const CALLS: [&str; 6] = [
    "one.vm.chmod",
    "one.vm.rename",
    "one.image.clone",
    "one.host.rename",
    "one.vrouter.delete",
    "one.vdc.rename",
];

/// One in ten asks for every state of a VM and has a condition on it; the others ask for what never happens.
fn with_conditions(number: usize, events: &[Event]) -> Hook {
    if !number.is_multiple_of(10) {
        return elsewhere(number, events);
    }
    let trigger = Trigger::State(StateTrigger {
        source: None,
        resource: Resource::Vm,
        state: Names::Any,
        lcm_state: Names::Any,
        from: Names::Any,
    });
    let condition = Expression::compile(
        "text(\"VM/USER_TEMPLATE/TIER\") == \"never\" && int(event.VM.TEMPLATE.MEMORY) >= 4096",
    );
    hook(number, trigger, Some(condition.expect("an expression")))
}

fn hook(number: usize, trigger: Trigger, when: Option<Expression>) -> Hook {
    let text = format!("name: hook-{number}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n");
    let origin = Origin {
        file: "hooks.yaml".into(),
        line: 1,
        file_sha256: [0; 32],
    };
    let defaults = Defaults {
        scripts_dir: "/scripts".into(),
        onehem_scripts_dir: "/scripts".into(),
        remote_scripts_dir: "/var/tmp/one/hooks".into(),
        catch_up: false,
    };
    Hook {
        triggers: vec![trigger],
        when,
        ..parse_definition(&text, &origin, &defaults).expect("a hook")
    }
}
