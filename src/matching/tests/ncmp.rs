//! Triggers on records of NCMP, and why they do not fit.

use proptest::prelude::*;

use super::{event, some_patterns};
use crate::event::Facts;
use crate::event::ncmp::NcmpRecord;
use crate::hooks::{NcmpTrigger, Patterns, declared};
use crate::matching::explain;

fn text(of: &'static [&'static str]) -> impl Strategy<Value = Option<String>> {
    prop::option::of(prop::sample::select(of).prop_map(str::to_owned))
}

pub(super) fn some_trigger() -> impl Strategy<Value = NcmpTrigger> {
    let few = |of| prop_oneof![3 => Just(Patterns::Any), 1 => some_patterns(of)];
    (
        prop::option::weighted(0.2, Just("zone2".to_owned())),
        few(&["create", "update", "Avc*"]),
        few(&["h1", "h*"]),
        few(&["READY", "LOCKED"]),
        few(&["ADVISED"]),
        prop::option::weighted(0.3, any::<bool>()),
        few(&["ncmp-events", "cm-*"]),
    )
        .prop_map(
            |(source, event, cm_handle, state, old_state, data_sync, topic)| NcmpTrigger {
                source,
                event,
                cm_handle,
                state,
                old_state,
                data_sync,
                topic,
            },
        )
}

pub(super) fn some_facts() -> impl Strategy<Value = Facts> {
    (
        prop::sample::select(vec!["create", "update", "delete", "AvcEvent"]),
        text(&["h1", "x1"]),
        text(&["READY", "LOCKED"]),
        text(&["ADVISED", "READY"]),
        prop::option::of(any::<bool>()),
        prop::sample::select(vec!["ncmp-events", "cm-events"]),
    )
        .prop_map(|(event, cm_handle, state, old_state, data_sync, topic)| {
            Facts::Ncmp(Box::new(NcmpRecord {
                topic: topic.to_owned(),
                event: event.to_owned(),
                cm_handle,
                state,
                old_state,
                data_sync,
                ..NcmpRecord::default()
            }))
        })
}

/// What happened to the CM handle `site-7-node-1`.
fn record(event: &str, old_state: Option<&str>, state: Option<&str>) -> NcmpRecord {
    NcmpRecord {
        topic: "ncmp-events".to_owned(),
        event: event.to_owned(),
        event_type: format!("org.onap.ncmp.cmhandle-lcm-event.{event}"),
        cm_handle: Some("site-7-node-1".to_owned()),
        state: state.map(str::to_owned),
        old_state: old_state.map(str::to_owned),
        ..NcmpRecord::default()
    }
}

fn ready() -> NcmpRecord {
    NcmpRecord {
        data_sync: Some(false),
        ..record("update", Some("ADVISED"), Some("READY"))
    }
}

fn cloud_event() -> NcmpRecord {
    NcmpRecord {
        topic: "cm-events".to_owned(),
        event: "AvcEvent".to_owned(),
        event_type: "org.onap.cps.ncmp.events.avc1_0_0.AvcEvent".to_owned(),
        cm_handle: Some("site-8-node-1".to_owned()),
        ..NcmpRecord::default()
    }
}

/// Which of these it triggers: `ready`, a creation, a deletion and a CloudEvent.
fn fitting(trigger: &str) -> [bool; 4] {
    let hook = declared(&format!(
        "name: h\ntrigger: {{ ncmp: {trigger} }}\ncommand: /bin/true\n"
    ));
    [
        ready(),
        record("create", None, Some("ADVISED")),
        record("delete", None, None),
        cloud_event(),
    ]
    .map(|told| explain(&hook, &event(Facts::Ncmp(Box::new(told)))).matches)
}

#[test]
fn every_attribute_of_the_trigger_asks_for_its_own() {
    for (trigger, expected) in [
        ("{ event: any }", [true, true, true, true]),
        ("{ event: update }", [true, false, false, false]),
        ("{ event: [create, delete] }", [false, true, true, false]),
        ("{ event: \"*te\" }", [true, true, true, false]),
        ("{ event: AvcEvent }", [false, false, false, true]),
        (
            "{ event: any, cm_handle: \"site-7-*\" }",
            [true, true, true, false],
        ),
        (
            "{ event: any, cm_handle: [site-8-node-1, other] }",
            [false, false, false, true],
        ),
        ("{ event: any, state: READY }", [true, false, false, false]),
        (
            "{ event: any, state: [READY, ADVISED] }",
            [true, true, false, false],
        ),
        ("{ event: any, state: any }", [true, true, true, true]),
        ("{ event: any, old_state: ADVISED }", [true, false, false, false]),
        ("{ event: any, old_state: \"*\" }", [true, false, false, false]),
        ("{ event: any, data_sync: false }", [true, false, false, false]),
        ("{ event: any, data_sync: true }", [false, false, false, false]),
        ("{ event: any, topic: ncmp-events }", [true, true, true, false]),
        ("{ event: any, topic: \"cm-*\" }", [false, false, false, true]),
        (
            "{ event: update, state: READY, old_state: ADVISED, data_sync: false, cm_handle: \"*\", topic: any }",
            [true, false, false, false],
        ),
    ] {
        assert_eq!(fitting(trigger), expected, "{trigger}");
    }
}

#[test]
fn why_not_says_what_was_found_and_why_something_is_not_told() {
    let lines = |trigger: &str, told: NcmpRecord| -> Vec<String> {
        let hook = declared(&format!("name: h\ntrigger: {trigger}\ncommand: /bin/true\n"));
        let steps = explain(&hook, &event(Facts::Ncmp(Box::new(told)))).steps;
        let line = |step: crate::matching::Step| {
            let holds = if step.holds { "yes" } else { "no" };
            let decisive = if step.decisive { " !" } else { "" };
            format!("{}: {} {holds}{decisive}", step.asked, step.found)
        };
        steps.into_iter().map(line).collect()
    };
    let all = "{ source: ncmp1, ncmp: { event: create, cm_handle: [a, b], state: LOCKED, old_state: READY, data_sync: true, topic: x } }";
    assert_eq!(
        lines(all, ready()),
        [
            "source is ncmp1: opennebula no !",
            "kind is ncmp: ncmp yes",
            "event is create: update no",
            "cm_handle is one of a, b: site-7-node-1 no",
            "state is LOCKED: READY no",
            "old_state is READY: ADVISED no",
            "topic is x: ncmp-events no",
            "data_sync is true: false no",
        ]
    );
    let asked = "{ ncmp: { event: any, state: READY, old_state: READY, data_sync: true } }";
    assert_eq!(
        lines(asked, record("delete", None, None))[1..],
        [
            "state is READY: (none): a deletion tells no values no !",
            "old_state is READY: (none): a deletion tells no values no",
            "data_sync is true: (none): a deletion tells no values no",
        ]
    );
    assert_eq!(
        lines(asked, record("create", None, Some("READY")))[1..],
        [
            "state is READY: READY yes",
            "old_state is READY: (none): a creation tells no former values no !",
            "data_sync is true: (none): the event does not tell it no",
        ]
    );
    let only_changes = "(none): an update tells only what changed";
    assert_eq!(
        lines(asked, record("update", None, None))[1..],
        [
            format!("state is READY: {only_changes} no !"),
            format!("old_state is READY: {only_changes} no"),
            format!("data_sync is true: {only_changes} no"),
        ]
    );
    assert_eq!(
        lines(asked, cloud_event())[1],
        "state is READY: (none): only events of a CM handle's life cycle tell it no !"
    );
}
