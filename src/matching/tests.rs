mod ncmp;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::masakari::{MasakariNotification, Observed};
use crate::event::opennebula::Resource;
use crate::event::own::{Blocked, ExecutionEnded, Muted, Outcome, OwnEvent, SourceDown};
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::webhook::Form;
use crate::event::{Event, Facts, Gap, RetryRequest};
use crate::expression::Expression;
use crate::hooks::{
    ApiTrigger, EscTrigger, Hook, HookSet, MasakariTrigger, OwnTrigger, Patterns, StateTrigger, Trigger,
    declared,
};

fn hook(name: &str, triggers: Vec<Trigger>, when: Option<&str>) -> Hook {
    Hook {
        triggers,
        when: when.map(|text| Expression::compile(text).expect(text)),
        ..declared(&format!(
            "name: {name}\ntrigger: {{ api: {{ call: any }} }}\ncommand: /bin/true\n"
        ))
    }
}

fn names(names: &[&str]) -> Names {
    Names::Of(names.iter().map(|name| (*name).to_owned()).collect())
}

fn vm_state(state: Names, lcm_state: Names) -> StateTrigger {
    StateTrigger {
        source: None,
        resource: Resource::Vm,
        state,
        lcm_state,
        from: Names::Any,
    }
}

fn on_running() -> Trigger {
    Trigger::State(vm_state(names(&["ACTIVE"]), names(&["RUNNING"])))
}

fn on_call(call: Names, success: Option<bool>) -> Trigger {
    Trigger::Api(ApiTrigger {
        source: None,
        call,
        success,
    })
}

fn event(facts: Facts) -> Event {
    Event {
        seq: Seq(1),
        source: Arc::from("opennebula"),
        key: String::new(),
        subject: None,
        received: Timestamp::from_millis(0),
        facts,
        ambiguous: false,
        synthesised: false,
        payload: Payload::with_tree(
            Bytes::new(),
            json!({ "VM": { "NAME": "web-1", "MEMORY": "2048" } }),
        ),
    }
}

fn change(state: &str, lcm_state: Option<&str>) -> StateChange {
    StateChange {
        resource: Resource::Vm,
        id: Some("12".to_owned()),
        state: state.to_owned(),
        lcm_state: lcm_state.map(str::to_owned),
        previous_state: Some("ACTIVE".to_owned()),
        previous_lcm_state: Some("BOOT".to_owned()),
        host: None,
    }
}

fn running() -> Event {
    event(Facts::State(change("ACTIVE", Some("RUNNING"))))
}

fn called(call: &str, success: bool) -> Event {
    event(Facts::Api(ApiCall {
        call: call.to_owned(),
        success,
    }))
}

fn index_of(hooks: Vec<Hook>) -> Index {
    let set = HookSet::new(hooks.into_iter().map(Arc::new).collect());
    Index::new(Arc::new(set), |hook| hook.enabled)
}

fn matched(index: &Index, event: &Event) -> Vec<String> {
    let matches = index.matches(event).matches;
    matches.iter().map(|found| found.hook.name.to_string()).collect()
}

#[test]
fn all_hooks_of_an_event_match_in_the_sets_order() {
    let index = index_of(vec![
        hook("c", vec![Trigger::State(vm_state(Names::Any, Names::Any))], None),
        hook("api", vec![on_call(Names::Any, None)], None),
        hook("b", vec![on_running()], None),
        hook(
            "lcm",
            vec![Trigger::State(vm_state(Names::Any, names(&["RUNNING"])))],
            None,
        ),
        hook(
            "state",
            vec![Trigger::State(vm_state(names(&["DONE", "ACTIVE"]), Names::Any))],
            None,
        ),
        hook(
            "other",
            vec![Trigger::State(vm_state(names(&["DONE"]), Names::Any))],
            None,
        ),
        hook("a", vec![on_running()], None),
    ]);
    assert_eq!(matched(&index, &running()), ["c", "b", "lcm", "state", "a"]);
    assert_eq!(matched(&index, &called("one.vm.info", true)), ["api"]);
    let poweroff = event(Facts::State(change("POWEROFF", Some("LCM_INIT"))));
    assert_eq!(matched(&index, &poweroff), ["c"]);
}

#[test]
fn names_are_compared_exactly() {
    let index = index_of(vec![
        hook("upper", vec![on_running()], None),
        hook(
            "lower",
            vec![Trigger::State(vm_state(names(&["active"]), names(&["running"])))],
            None,
        ),
        hook(
            "unknown",
            vec![Trigger::State(StateTrigger {
                resource: Resource::Other("SERVICE".to_owned()),
                ..vm_state(names(&["NEW_STATE"]), Names::Any)
            })],
            None,
        ),
    ]);
    assert_eq!(matched(&index, &running()), ["upper"]);
    let service = event(Facts::State(StateChange {
        resource: Resource::Other("SERVICE".to_owned()),
        ..change("NEW_STATE", None)
    }));
    assert_eq!(matched(&index, &service), ["unknown"]);
    let no_lcm_state = event(Facts::State(change("ACTIVE", None)));
    assert!(matched(&index, &no_lcm_state).is_empty());
}

#[test]
fn the_previous_state_the_source_and_the_result_are_asked_for() {
    let from = |from: Names| {
        Trigger::State(StateTrigger {
            from,
            ..vm_state(names(&["ACTIVE"]), Names::Any)
        })
    };
    let source = |source: &str| {
        Trigger::State(StateTrigger {
            source: Some(source.to_owned()),
            ..vm_state(Names::Any, Names::Any)
        })
    };
    let index = index_of(vec![
        hook("from-lcm", vec![from(names(&["BOOT", "BOOT_POWEROFF"]))], None),
        hook("from-state", vec![from(names(&["ACTIVE"]))], None),
        hook("from-else", vec![from(names(&["POWEROFF"]))], None),
        hook("here", vec![source("opennebula")], None),
        hook("there", vec![source("zone2")], None),
        hook(
            "good",
            vec![on_call(names(&["one.vm.allocate"]), Some(true))],
            None,
        ),
        hook(
            "bad",
            vec![on_call(names(&["one.vm.allocate"]), Some(false))],
            None,
        ),
        hook("either", vec![on_call(names(&["one.vm.allocate"]), None)], None),
    ]);
    assert_eq!(matched(&index, &running()), ["from-lcm", "from-state", "here"]);
    assert_eq!(
        matched(&index, &called("one.vm.allocate", true)),
        ["good", "either"]
    );
    assert_eq!(
        matched(&index, &called("one.vm.allocate", false)),
        ["bad", "either"]
    );
    assert!(matched(&index, &called("one.vm.Allocate", true)).is_empty());
}

#[test]
fn a_hook_with_several_triggers_matches_once_for_the_first_that_fits() {
    let index = index_of(vec![hook(
        "many",
        vec![
            on_call(names(&["one.vm.allocate"]), None),
            Trigger::State(vm_state(names(&["ACTIVE"]), names(&["BOOT"]))),
            Trigger::State(vm_state(Names::Any, names(&["RUNNING", "RUNNING"]))),
            on_running(),
        ],
        None,
    )]);
    let matches = index.matches(&running()).matches;
    assert_eq!(matches.len(), 1);
    assert_eq!(matches[0].why, "state VM ACTIVE/RUNNING");
    let matches = index.matches(&called("one.vm.allocate", false)).matches;
    assert_eq!(matches[0].why, "api one.vm.allocate failure");
}

#[test]
fn the_condition_decides_after_the_trigger() {
    let index = index_of(vec![
        hook("holds", vec![on_running()], Some("event.VM.NAME == 'web-1'")),
        hook("not", vec![on_running()], Some("event.VM.NAME == 'db-1'")),
        hook("absent", vec![on_running()], Some("event.VM.TIER == 'web'")),
        hook("broken", vec![on_running()], Some("event.VM.MEMORY > 1024")),
        hook(
            "never-asked",
            vec![on_call(Names::Any, None)],
            Some("event.VM.MEMORY > 1024"),
        ),
    ]);
    let found = index.matches(&running());
    assert_eq!(found.matches.len(), 1);
    assert_eq!(found.matches[0].hook.name.as_str(), "holds");
    assert_eq!(found.absent_elements.len(), 1);
    assert_eq!(found.absent_elements[0].0.name.as_str(), "absent");
    assert_eq!(found.absent_elements[0].1, "event.VM.TIER");
    assert_eq!(found.condition_errors.len(), 1);
    assert_eq!(found.condition_errors[0].0.name.as_str(), "broken");
    assert!(found.condition_errors[0].1.contains("int("));
}

#[test]
fn ambiguous_events_match_like_others_and_unreadable_ones_never() {
    let index = index_of(vec![
        hook(
            "any",
            vec![Trigger::State(vm_state(Names::Any, Names::Any))],
            None,
        ),
        hook("call", vec![on_call(Names::Any, None)], None),
    ]);
    let ambiguous = Event {
        ambiguous: true,
        ..running()
    };
    assert_eq!(matched(&index, &ambiguous), ["any"]);
    let unreadable = event(Facts::Undecodable {
        reason: "not XML".to_owned(),
    });
    assert!(matched(&index, &unreadable).is_empty());
    let retry = event(Facts::Retry(RetryRequest {
        hook_id: 7,
        arguments: String::new(),
        remote_host: None,
    }));
    assert!(matched(&index, &retry).is_empty());
}

#[test]
fn disabled_hooks_match_nothing_but_can_be_retried() {
    let mut disabled = hook("disabled", vec![on_running()], None);
    disabled.enabled = false;
    disabled.oned_id = Some(7);
    let index = index_of(vec![disabled]);
    assert!(matched(&index, &running()).is_empty());
    let target = index.retry_target(7, "one").expect("the hook with that number");
    assert_eq!(target.name.as_str(), "disabled");
    assert!(index.retry_target(8, "one").is_none());
}

#[test]
fn controllers_number_their_hooks_each_for_itself() {
    let of_source = |name: &str, source: Option<&str>| {
        let trigger = Trigger::State(StateTrigger {
            source: source.map(str::to_owned),
            ..vm_state(Names::Any, Names::Any)
        });
        let mut hook = hook(name, vec![trigger], None);
        hook.oned_id = Some(7);
        hook
    };
    let index = index_of(vec![
        of_source("first", Some("zone1")),
        of_source("second", Some("zone2")),
    ]);
    let target = |source: &str| {
        index
            .retry_target(7, source)
            .map(|hook| hook.name.as_str().to_owned())
    };
    assert_eq!(target("zone1").as_deref(), Some("first"));
    assert_eq!(target("zone2").as_deref(), Some("second"));
    assert_eq!(target("zone3"), None);
}

#[test]
fn an_explanation_says_everything_and_marks_what_decided() {
    let hook = hook(
        "many",
        vec![
            Trigger::State(StateTrigger {
                source: Some("zone1".to_owned()),
                from: names(&["BOOT", "PROLOG"]),
                ..vm_state(names(&["DONE"]), names(&["RUNNING"]))
            }),
            on_call(names(&["one.vm.allocate", "one.vm.action"]), Some(true)),
        ],
        Some("int(event.VM.MEMORY) >= 4096"),
    );
    let lines = |event: &Event| -> Vec<String> {
        explain(&hook, event)
            .steps
            .into_iter()
            .map(|step| {
                let trigger = step.trigger.map_or("-".to_owned(), |t| t.to_string());
                let holds = if step.holds { "yes" } else { "no" };
                let decisive = if step.decisive { " !" } else { "" };
                format!("{trigger} {}: {} {holds}{decisive}", step.asked, step.found)
            })
            .collect()
    };
    assert_eq!(
        lines(&running()),
        [
            "0 source is zone1: opennebula no !",
            "0 kind is state: state yes",
            "0 resource is VM: VM yes",
            "0 state is DONE: ACTIVE no",
            "0 lcm_state is RUNNING: RUNNING yes",
            "0 previous state is one of BOOT, PROLOG: ACTIVE/BOOT yes",
            "1 kind is api: state no !",
            "1 call is one of one.vm.allocate, one.vm.action: (none) no",
            "1 result is success: (none) no",
            "- when: int(event.VM.MEMORY) >= 4096: false no",
        ]
    );
    let explanation = explain(&hook, &called("one.vm.action", true));
    assert!(!explanation.matches);
    let decisive: Vec<_> = explanation.steps.iter().filter(|s| s.decisive).collect();
    assert_eq!(decisive.len(), 1);
    assert_eq!(
        decisive[0].lookups,
        [("event.VM.MEMORY".to_owned(), "\"2048\"".to_owned())]
    );
}

fn some_names(of: &'static [&'static str]) -> impl Strategy<Value = Names> {
    prop_oneof![
        1 => Just(Names::Any),
        3 => prop::collection::vec(prop::sample::select(of), 0..3).prop_map(|chosen| names(&chosen)),
    ]
}

const STATES: &[&str] = &["ACTIVE", "DONE", "active"];
const LCM_STATES: &[&str] = &["RUNNING", "BOOT", "LCM_INIT"];
const CALLS: &[&str] = &["one.vm.allocate", "one.vm.action"];

fn some_resource() -> impl Strategy<Value = Resource> {
    prop::sample::select(vec![
        Resource::Vm,
        Resource::Host,
        Resource::Other("SERVICE".to_owned()),
    ])
}

fn some_trigger() -> impl Strategy<Value = Trigger> {
    let source = prop::option::weighted(0.3, prop::sample::select(vec!["opennebula", "zone2"]))
        .prop_map(|source| source.map(str::to_owned));
    let previous = some_names(&["ACTIVE", "BOOT", "DONE"]);
    prop_oneof![
        (
            source.clone(),
            some_resource(),
            some_names(STATES),
            some_names(LCM_STATES),
            prop_oneof![2 => Just(Names::Any), 1 => previous],
        )
            .prop_map(|(source, resource, state, lcm_state, from)| {
                Trigger::State(StateTrigger {
                    source,
                    resource,
                    state,
                    lcm_state,
                    from,
                })
            }),
        some_own_trigger().prop_map(Trigger::Own),
        some_esc_trigger().prop_map(Trigger::Esc),
        some_masakari_trigger().prop_map(Trigger::Masakari),
        ncmp::some_trigger().prop_map(Trigger::Ncmp),
        (source, some_names(CALLS), prop::option::of(any::<bool>())).prop_map(|(source, call, success)| {
            Trigger::Api(ApiTrigger {
                source,
                call,
                success,
            })
        }),
    ]
}

fn some_patterns(of: &'static [&'static str]) -> impl Strategy<Value = Patterns> {
    prop_oneof![
        1 => Just(Patterns::Any),
        3 => prop::collection::vec(prop::sample::select(of).prop_map(str::to_owned), 1..3).prop_map(Patterns::Of),
    ]
}

/// Hooks in the tests below are named `h0`, `h1` ….
const HOOKS: &[&str] = &["h0", "h1", "h*", "*", "web"];
const SOURCES: &[&str] = &["opennebula", "open*", "zone2"];

fn some_own_trigger() -> impl Strategy<Value = OwnTrigger> {
    let outcomes = prop::collection::vec(prop::sample::select(Outcome::ALL.to_vec()), 1..4);
    prop_oneof![
        some_patterns(SOURCES).prop_map(|source| OwnTrigger::Gap { source }),
        (some_patterns(HOOKS), outcomes)
            .prop_map(|(hook, outcomes)| OwnTrigger::Execution { hook, outcomes }),
        (some_patterns(HOOKS), some_patterns(SOURCES))
            .prop_map(|(hook, source)| OwnTrigger::Muted { hook, source }),
        some_patterns(HOOKS).prop_map(|hook| OwnTrigger::Blocked { hook }),
        (some_patterns(SOURCES), 1..3_u64).prop_map(|(source, after)| OwnTrigger::SourceDown {
            source,
            after: Duration::from_secs(after),
        }),
    ]
}

const ESC_EVENTS: &[&str] = &["VM_ALIVE", "SERVICE_ALIVE", "VM_*"];
const ESC_NAMES: &[&str] = &["t1", "dep1", "t*"];

fn some_esc_trigger() -> impl Strategy<Value = EscTrigger> {
    let names = || prop_oneof![2 => Just(Patterns::Any), 1 => some_patterns(ESC_NAMES)];
    (
        some_patterns(ESC_EVENTS),
        prop_oneof![Just(Patterns::Any), some_patterns(&["SUCCESS", "FAILURE"])],
        names(),
        names(),
        names(),
        prop::option::weighted(0.3, prop::sample::select(Via::ALL.to_vec())),
    )
        .prop_map(|(event, status, tenant, deployment, vm_group, via)| EscTrigger {
            source: None,
            event,
            status,
            tenant,
            deployment,
            vm_group,
            via,
        })
}

fn some_esc_facts() -> impl Strategy<Value = Facts> {
    let name = || prop::option::of(prop::sample::select(vec!["t1", "dep1"]).prop_map(str::to_owned));
    (
        prop::sample::select(Via::ALL.to_vec()),
        prop::sample::select(vec!["VM_ALIVE", "VM_STARTED", "SERVICE_ALIVE"]),
        prop::option::of(prop::sample::select(vec!["SUCCESS", "FAILURE"]).prop_map(str::to_owned)),
        [name(), name(), name()],
    )
        .prop_map(|(via, event, status, [tenant, deployment, vm_group])| {
            Facts::Esc(Box::new(EscEvent {
                tenant,
                deployment,
                vm_group,
                ..step(via, event, status.as_deref())
            }))
        })
}

fn some_masakari_trigger() -> impl Strategy<Value = MasakariTrigger> {
    let few = |of| prop_oneof![3 => Just(Patterns::Any), 1 => some_patterns(of)];
    (
        some_patterns(&["VM", "PROCESS", "*"]),
        few(&["STOPPED", "LIFECYCLE"]),
        few(&["node1", "node*"]),
        prop::option::of(some_patterns(&["new", "failed"])),
        [
            few(&["NORMAL"]),
            few(&["OFFLINE"]),
            few(&["nova-compute"]),
            few(&["STOPPED_*"]),
            few(&["96ab"]),
        ],
    )
        .prop_map(|(kind, event, host, status, texts)| {
            let [
                host_status,
                cluster_status,
                process,
                vir_domain_event,
                instance_uuid,
            ] = texts;
            MasakariTrigger {
                source: None,
                kind,
                event,
                host,
                status,
                host_status,
                cluster_status,
                process,
                vir_domain_event,
                instance_uuid,
            }
        })
}

fn notification(kind: &str, host: &str, seen: Option<(&str, Option<&str>)>) -> MasakariNotification {
    MasakariNotification {
        uuid: String::new(),
        kind: kind.to_owned(),
        hostname: host.to_owned(),
        generated_time: String::new(),
        payload: [("event", "STOPPED"), ("process_name", "nova-compute")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        host_uuid: None,
        segment_uuid: None,
        observed: seen.map(|(status, previous)| Observed {
            id: 1,
            status: status.to_owned(),
            previous: previous.map(str::to_owned),
        }),
        sender: None,
        request: None,
    }
}

fn some_notification() -> impl Strategy<Value = Facts> {
    let seen = prop::sample::select(vec![
        None,
        Some(("new", None)),
        Some(("failed", None)),
        Some(("failed", Some("running"))),
    ]);
    (
        prop::sample::select(vec!["VM", "PROCESS"]),
        prop::sample::select(vec!["node1", "other"]),
        seen,
    )
        .prop_map(|(kind, host, seen)| Facts::Masakari(notification(kind, host, seen)))
}

#[test]
fn a_change_of_a_notification_triggers_those_that_ask_for_a_status() {
    let hooks = ["", "status: failed, ", "status: any, "].map(|status| {
        let yaml = format!(
            "name: h\ntrigger: {{ masakari: {{ {status}type: VM, host: \"node*\" }} }}\ncommand: /bin/true\n"
        );
        declared(&yaml)
    });
    let fitting = |seen| {
        let event = event(Facts::Masakari(notification("VM", "node1", seen)));
        hooks.each_ref().map(|hook| explain(hook, &event).matches)
    };
    assert_eq!(fitting(None), [true, false, true], "it was sent");
    assert_eq!(fitting(Some(("failed", None))), [true, true, true], "first seen");
    assert_eq!(fitting(Some(("failed", Some("running")))), [false, true, true]);
    assert_eq!(fitting(Some(("running", Some("new")))), [false, false, true]);
}

/// A step of ESC that names nothing.
fn step(via: Via, event: &str, status: Option<&str>) -> EscEvent {
    EscEvent {
        via,
        form: Form::Xml,
        event: event.to_owned(),
        status: status.map(str::to_owned),
        status_code: None,
        status_message: None,
        tenant: None,
        deployment: None,
        vm_group: None,
        vm: Machine::default(),
        new_vm: Machine::default(),
        resource: None,
        transaction: None,
        time: None,
        delivery: None,
        sender: None,
        request: None,
    }
}

#[test]
fn what_a_way_does_not_carry_is_said() {
    let asked = |vm_group: &str, via| {
        let of = |name: &str| Patterns::Of(vec![name.to_owned()]);
        Trigger::Esc(EscTrigger {
            source: None,
            event: of("VM_ALIVE"),
            status: of("SUCCESS"),
            tenant: Patterns::Any,
            deployment: Patterns::Any,
            vm_group: of(vm_group),
            via,
        })
    };
    let decisive = |trigger: Trigger, facts: EscEvent| {
        let explanation = explain(
            &hook("group", vec![trigger], None),
            &event(Facts::Esc(Box::new(facts))),
        );
        let step = explanation.steps.into_iter().find(|step| step.decisive);
        step.map(|step| (step.asked, step.found))
    };
    let of_rest = step(Via::Rest, "VM_ALIVE", Some("SUCCESS"));
    assert_eq!(
        decisive(asked("g1", None), of_rest.clone()),
        Some((
            "vm_group is g1".to_owned(),
            "(none): callbacks over REST do not name it".to_owned()
        ))
    );
    let of_netconf = EscEvent {
        vm_group: Some("g1".to_owned()),
        ..step(Via::Netconf, "VM_ALIVE", Some("SUCCESS"))
    };
    assert_eq!(decisive(asked("g1", None), of_netconf.clone()), None);
    assert_eq!(
        decisive(asked("g2", None), of_netconf.clone()),
        Some(("vm_group is g2".to_owned(), "g1".to_owned()))
    );
    assert_eq!(
        decisive(asked("g1", Some(Via::Rest)), of_netconf),
        Some(("via is rest".to_owned(), "netconf".to_owned()))
    );
    let without_code = EscEvent {
        status: None,
        ..of_rest
    };
    assert_eq!(
        decisive(asked("g1", None), without_code),
        Some((
            "status is SUCCESS".to_owned(),
            "(none): it follows from the header ESC-Status-Code, which is missing".to_owned()
        ))
    );
}

fn some_own_facts() -> impl Strategy<Value = Facts> {
    let hook = || prop::sample::select(vec!["h0", "h1", "h2", "db"]).prop_map(HookName::trusted);
    let source = || prop::sample::select(vec!["opennebula", "zone2"]).prop_map(str::to_owned);
    let at = Timestamp::default();
    prop_oneof![
        Just(Facts::Gap(Gap {
            from: at,
            to: at,
            why: String::new(),
            lost: 0,
            keys: Vec::new(),
            present: Vec::new()
        })),
        (hook(), prop::sample::select(Outcome::ALL.to_vec()))
            .prop_map(move |(hook, outcome)| { Facts::Own(OwnEvent::Execution(ended(hook, outcome))) }),
        (prop::option::of(hook()), prop::option::of(source())).prop_map(move |(hook, source)| {
            Facts::Own(OwnEvent::Muted(Muted {
                hook,
                source,
                about: None,
                by: "uid 0".to_owned(),
                reason: None,
                until: None,
                at,
            }))
        }),
        hook().prop_map(move |hook| {
            Facts::Own(OwnEvent::Blocked(Blocked {
                waiting: ExecutionKey::new(Seq(2), hook.clone()),
                behind: ExecutionKey::new(Seq(1), hook),
                about: None,
                since: at,
                at,
            }))
        }),
        (source(), 1..3_u64).prop_map(move |(source, after)| {
            Facts::Own(OwnEvent::SourceDown(SourceDown {
                source,
                since: at,
                after: Duration::from_secs(after),
                error: None,
                at,
            }))
        }),
    ]
}

fn ended(hook: HookName, outcome: Outcome) -> ExecutionEnded {
    ExecutionEnded {
        execution: ExecutionKey::new(Seq(1), hook),
        turn: 1,
        outcome,
        reason: None,
        attempts: 1,
        about: None,
        event_key: String::new(),
        why: String::new(),
        last: None,
        at: Timestamp::default(),
    }
}

#[test]
fn a_hook_is_never_triggered_by_what_is_about_itself_and_the_explanation_says_so() {
    let all = OwnTrigger::Execution {
        hook: Patterns::Any,
        outcomes: Outcome::ALL.to_vec(),
    };
    let index = index_of(vec![
        hook("dns", vec![Trigger::Own(all.clone())], None),
        hook("mail", vec![Trigger::Own(all)], None),
    ]);
    let failed = ended(HookName::trusted("dns"), Outcome::Failed);
    let event = event(Facts::Own(OwnEvent::Execution(failed.clone())));
    assert_eq!(matched(&index, &event), ["mail"]);
    let hooks: Vec<&Hook> = index.own_triggers().map(|(hook, _)| hook).collect();
    let explanation = explain(hooks[0], &event);
    let decisive: Vec<&Step> = explanation.steps.iter().filter(|step| step.decisive).collect();
    assert_eq!(decisive.len(), 1);
    assert_eq!(
        (decisive[0].asked.as_str(), decisive[0].found.as_str()),
        ("it is about another hook", "execution dns failed")
    );
    // What is asked for is what would match.
    let asking: Vec<bool> = index
        .own_triggers()
        .map(|(hook, asked)| asks_for(hook, asked, &OwnEvent::Execution(failed.clone())))
        .collect();
    assert_eq!(asking, [false, true]);
}

#[test]
fn a_state_that_was_missed_triggers_hooks_that_ask_for_it_and_the_explanation_says_so() {
    let with = |name: &str, catch_up| Hook {
        catch_up,
        ..hook(name, vec![on_running()], None)
    };
    let index = index_of(vec![with("waits", true), with("lives", false)]);
    assert!(index.is_catch_up_wanted());
    assert!(!index_of(vec![with("lives", false)]).is_catch_up_wanted());
    let live = event(Facts::State(change("ACTIVE", Some("RUNNING"))));
    assert_eq!(matched(&index, &live), ["waits", "lives"]);
    let raised = Event {
        synthesised: true,
        ..live
    };
    assert_eq!(matched(&index, &raised), ["waits"]);
    assert_eq!(
        index.matches(&raised).matches[0].why,
        "state VM ACTIVE/RUNNING, raised after a gap"
    );
    let explanation = explain(&with("lives", false), &raised);
    let decisive: Vec<&Step> = explanation.steps.iter().filter(|step| step.decisive).collect();
    assert_eq!(decisive.len(), 1);
    assert_eq!(
        decisive[0].found,
        "raised by hem after a gap; the hook does not ask for catch-up"
    );
    assert!(explain(&with("waits", true), &raised).matches);
}

fn some_event() -> impl Strategy<Value = Event> {
    let name =
        |of: &'static [&'static str]| prop::option::of(prop::sample::select(of).prop_map(str::to_owned));
    let facts = prop_oneof![
        4 => (
            some_resource(),
            prop::sample::select(STATES),
            name(LCM_STATES),
            name(STATES),
            name(LCM_STATES),
        )
            .prop_map(|(resource, state, lcm_state, previous_state, previous_lcm_state)| {
                Facts::State(StateChange {
                    resource,
                    lcm_state,
                    previous_state,
                    previous_lcm_state,
                    ..change(state, None)
                })
            }),
        3 => (prop::sample::select(CALLS), any::<bool>()).prop_map(|(call, success)| {
            Facts::Api(ApiCall { call: call.to_owned(), success })
        }),
        3 => some_own_facts(),
        3 => some_esc_facts(),
        3 => some_notification(),
        3 => ncmp::some_facts(),
        1 => Just(Facts::Undecodable { reason: String::new() }),
        1 => Just(Facts::Retry(RetryRequest {
            hook_id: 1,
            arguments: String::new(),
            remote_host: None,
        })),
    ];
    (facts, any::<bool>()).prop_map(|(facts, synthesised)| Event {
        synthesised,
        ..event(facts)
    })
}

proptest! {
    #[test]
    fn the_index_and_the_explanations_agree(
        definitions in prop::collection::vec(
            (
                prop::collection::vec(some_trigger(), 0..4),
                prop::option::weighted(0.3, prop::sample::select(vec![
                    "true",
                    "false",
                    "event.VM.NAME == 'web-1'",
                    "event.VM.TIER == 'web'",
                    "event.VM.NAME > 1",
                    "meta.kind == 'api'",
                ])),
            ),
            0..12,
        ),
        events in prop::collection::vec(some_event(), 1..6),
    ) {
        let hooks: Vec<Hook> = definitions
            .into_iter()
            .enumerate()
            .map(|(number, (triggers, when))| Hook {
                catch_up: number % 2 == 0,
                ..hook(&format!("h{number}"), triggers, when)
            })
            .collect();
        let set = Arc::new(HookSet::new(hooks.into_iter().map(Arc::new).collect()));
        let index = Index::new(Arc::clone(&set), |_| true);
        for event in &events {
            let explained: Vec<String> = set
                .iter()
                .filter(|hook| explain(hook, event).matches)
                .map(|hook| hook.name.to_string())
                .collect();
            prop_assert_eq!(matched(&index, event), explained);
            for hook in set.iter() {
                let explanation = explain(hook, event);
                let decisive = explanation.steps.iter().any(|step| step.decisive);
                prop_assert_eq!(
                    decisive,
                    !explanation.matches && !hook.triggers.is_empty()
                );
            }
        }
    }
}
