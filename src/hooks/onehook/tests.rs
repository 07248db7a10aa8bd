use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::event::opennebula::{hook_pool, template};
use crate::hooks::{
    ApiTrigger, Defaults, Hook, Names, Origin, Profile, StateTrigger, Trigger, parse_definition,
};

const POOL: Use<'static> = Use::Pool { source: None };

fn defaults() -> Defaults {
    Defaults {
        scripts_dir: "/scripts".into(),
        onehem_scripts_dir: "/var/lib/one/remotes/hooks".into(),
        remote_scripts_dir: "/var/tmp/one/hooks".into(),
        catch_up: false,
    }
}

fn onehook(kind: HookKind, attributes: &[(&str, &str)]) -> Onehook {
    Onehook {
        id: Some(3),
        name: "log".to_owned(),
        kind,
        attributes: attributes
            .iter()
            .map(|(name, value)| Attribute {
                name: (*name).to_owned(),
                value: AttributeValue::Text((*value).to_owned()),
            })
            .collect(),
        comments: Comments::default(),
    }
}

fn api(attributes: &[(&str, &str)]) -> Onehook {
    let mut hook = onehook(
        HookKind::Api,
        &[("CALL", "one.vm.allocate"), ("COMMAND", "log.sh")],
    );
    let given = onehook(HookKind::Api, attributes).attributes;
    hook.attributes
        .retain(|own| !given.iter().any(|other| other.name == own.name));
    hook.attributes.extend(given);
    hook
}

fn state(attributes: &[(&str, &str)]) -> Onehook {
    let mut hook = onehook(HookKind::State, &[("RESOURCE", "VM"), ("COMMAND", "log.sh")]);
    let given = onehook(HookKind::State, attributes).attributes;
    hook.attributes
        .retain(|own| !given.iter().any(|other| other.name == own.name));
    hook.attributes.extend(given);
    hook
}

fn one(hook: &Onehook, purpose: Use<'_>) -> Declared {
    declare_all(std::slice::from_ref(hook), purpose)
        .remove(0)
        .expect("a declaration")
}

fn compiled(declared: &Declared, purpose: Use<'_>) -> Hook {
    let origin = match purpose {
        Use::Pool { .. } => Origin::of_pool(&declared.text),
        Use::File => Origin {
            file: "log.yaml".into(),
            line: 1,
            file_sha256: [0; 32],
        },
    };
    let hook = parse_definition(&declared.text, &origin, &defaults())
        .unwrap_or_else(|faults| panic!("{faults:?}\n{}", declared.text));
    assert_eq!(hook.name, declared.name);
    hook
}

fn in_pool(hook: &Onehook) -> (Hook, Vec<String>) {
    let declared = one(hook, POOL);
    (compiled(&declared, POOL), declared.notes)
}

fn vm(state: &str, lcm_state: &str) -> Trigger {
    Trigger::State(StateTrigger {
        source: None,
        resource: Resource::Vm,
        state: Names::Of(vec![state.to_owned()]),
        lcm_state: Names::Of(vec![lcm_state.to_owned()]),
        from: Names::Any,
    })
}

#[test]
fn a_hook_of_the_pool_is_declared_whole() {
    let pool = hook_pool::read(
        "<HOOK><ID>12</ID><NAME>vm run</NAME><TYPE>state</TYPE><TEMPLATE><ARGUMENTS><![CDATA[$TEMPLATE 'a b']]></ARGUMENTS>\
         <ARGUMENTS_STDIN><![CDATA[yes]]></ARGUMENTS_STDIN><COMMAND><![CDATA[vm/run.rb -v]]></COMMAND>\
         <LCM_STATE><![CDATA[RUNNING]]></LCM_STATE><REMOTE><![CDATA[YES]]></REMOTE><RESOURCE><![CDATA[VM]]></RESOURCE>\
         <STATE><![CDATA[ACTIVE]]></STATE><TIMEOUT><![CDATA[30]]></TIMEOUT></TEMPLATE></HOOK>",
    )
    .expect("a hook");
    let declared = one(
        &Onehook::from(&pool.hooks[0]),
        Use::Pool {
            source: Some("zone1"),
        },
    );
    assert_eq!(
        declared.text,
        "name: oned/vm-run\nid: 12\nprofile: onehem\n\
         trigger: { source: zone1, state: { resource: VM, on: RUNNING } }\n\
         command: vm/run.rb -v\narguments: \"$TEMPLATE 'a b'\"\narguments_stdin: true\nremote: true\ntimeout: 30s\n\
         start_within: 15m\n"
    );
    let hook = compiled(&declared, POOL);
    assert_eq!(hook.oned_id, Some(12));
    assert_eq!(hook.profile, Profile::Onehem);
    assert_eq!(hook.triggers[0].source(), Some("zone1"));
    assert_eq!(hook.action.command, "vm/run.rb -v");
    assert_eq!(hook.action.raw_arguments.as_deref(), Some("$TEMPLATE 'a b'"));
    assert!(hook.action.arguments_stdin && hook.action.remote);
    assert_eq!(hook.policy.timeout, Some(Duration::from_secs(30)));
    assert_eq!(hook.policy.start_within, Some(Duration::from_secs(900)));
    assert_eq!(declared.notes, ["oned calls it `vm run`"]);
}

#[test]
fn only_the_pool_has_names_with_its_prefix() {
    let declared = one(&api(&[]), POOL);
    let file = Origin {
        file: "log.yaml".into(),
        line: 1,
        file_sha256: [0; 32],
    };
    let faults = parse_definition(&declared.text, &file, &defaults()).expect_err("a refusal");
    assert_eq!(
        faults[0].message,
        "`/` cannot stand in a hook's name; allowed are letters, digits, `.`, `_` and `-`"
    );
    for name in ["log", "oned/", "oned/a/b", "one/log"] {
        let text = declared.text.replace("oned/log", name);
        assert!(
            parse_definition(&text, &Origin::of_pool(&text), &defaults()).is_err(),
            "{name}"
        );
    }
    assert!(Origin::of_pool("").is_pool() && !file.is_pool());
}

#[test]
fn states_are_found_by_every_way_to_name_them() {
    for (attributes, expected) in [
        (
            &[("STATE", "ACTIVE"), ("LCM_STATE", "RUNNING")][..],
            vm("ACTIVE", "RUNNING"),
        ),
        (
            &[("STATE", "active"), ("LCM_STATE", "boot")],
            vm("ACTIVE", "BOOT"),
        ),
        (&[("ON", "prolog")], vm("ACTIVE", "PROLOG")),
        (&[("ON", "SHUTDOWN")], vm("ACTIVE", "EPILOG")),
        (&[("ON", "STOP")], vm("STOPPED", "LCM_INIT")),
        (&[("ON", "DONE"), ("STATE", "ACTIVE")], vm("DONE", "LCM_INIT")),
        (&[("ON", "UNKNOWN")], vm("ACTIVE", "UNKNOWN")),
        (
            &[
                ("ON", "CUSTOM"),
                ("STATE", "SUSPENDED"),
                ("LCM_STATE", "LCM_INIT"),
            ],
            vm("SUSPENDED", "LCM_INIT"),
        ),
        (
            &[("STATE", "ACTIVE"), ("LCM_STATE", "BRAND_NEW")],
            vm("ACTIVE", "BRAND_NEW"),
        ),
    ] {
        assert_eq!(
            in_pool(&state(attributes)).0.triggers,
            [expected],
            "{attributes:?}"
        );
    }
    let host = state(&[("RESOURCE", "HOST"), ("STATE", "ERROR")]);
    let Trigger::State(host) = &in_pool(&host).0.triggers[0] else {
        panic!("a state")
    };
    assert_eq!(host.resource, Resource::Host);
    assert_eq!(host.state, Names::Of(vec!["ERROR".to_owned()]));
    assert_eq!(host.lcm_state, Names::Any);
}

#[test]
fn names_this_version_does_not_know_are_compared_as_they_are() {
    let (hook, notes) = in_pool(&state(&[("RESOURCE", "DOCUMENT"), ("STATE", "OPEN")]));
    let Trigger::State(trigger) = &hook.triggers[0] else {
        panic!("a state")
    };
    assert_eq!(trigger.resource, Resource::Other("DOCUMENT".to_owned()));
    assert_eq!(trigger.state, Names::Of(vec!["OPEN".to_owned()]));
    assert_eq!(notes.len(), 2, "{notes:?}");
    for call in ["one.vm.fly", "any", "=x", "one.vm.info", "{ a: b }"] {
        let (hook, notes) = in_pool(&api(&[("CALL", call)]));
        assert_eq!(
            hook.triggers,
            [Trigger::Api(ApiTrigger {
                source: None,
                call: Names::Of(vec![call.to_owned()]),
                success: None
            })]
        );
        assert_eq!(notes.len(), 1, "{call}: {notes:?}");
    }
    assert!(in_pool(&api(&[("CALL", "one.internal.vmmonitor")])).1.is_empty());
}

#[test]
fn what_a_hook_needs_and_has_not_is_named() {
    let refused = |hook: &Onehook| {
        declare_all(std::slice::from_ref(hook), POOL)
            .remove(0)
            .expect_err("a refusal")
    };
    assert_eq!(
        refused(&api(&[("COMMAND", " ")])),
        Undeclarable::Missing("COMMAND")
    );
    assert_eq!(refused(&api(&[("CALL", "")])), Undeclarable::Missing("CALL"));
    assert_eq!(refused(&state(&[])), Undeclarable::Missing("STATE"));
    assert_eq!(
        refused(&state(&[("STATE", "ACTIVE")])),
        Undeclarable::Missing("LCM_STATE")
    );
    assert_eq!(
        refused(&state(&[("ON", "STARTED")])),
        Undeclarable::On("STARTED".to_owned())
    );
    assert_eq!(
        refused(&onehook(HookKind::Other("cron".to_owned()), &[])),
        Undeclarable::Kind("cron".to_owned())
    );
    assert_eq!(
        refused(&api(&[("ARGUMENTS", "a\0b")])),
        Undeclarable::Nul("ARGUMENTS")
    );
    let good = api(&[]);
    let all = declare_all(&[good.clone(), api(&[("CALL", "")]), good], POOL);
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 2);
}

#[test]
fn arguments_go_to_standard_input_for_yes_and_for_true() {
    for (value, expected) in [
        ("yes", true),
        ("YES", true),
        ("true", true),
        ("True", true),
        ("no", false),
        ("", false),
        ("1", false),
    ] {
        let (hook, notes) = in_pool(&api(&[("ARGUMENTS_STDIN", value), ("ARGUMENTS", "$API")]));
        assert_eq!(hook.action.arguments_stdin, expected, "{value}");
        let is_noted = matches!(value, "true" | "True" | "1");
        assert_eq!(!notes.is_empty(), is_noted, "{value}: {notes:?}");
    }
    assert!(!in_pool(&api(&[])).0.action.arguments_stdin);
}

#[test]
fn time_limits_are_read_as_ruby_reads_them() {
    for (value, expected) in [
        ("30", Some(30)),
        ("30s", Some(30)),
        (" 7", Some(7)),
        ("1_000", Some(1000)),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("99999999999999999999", None),
    ] {
        let (hook, notes) = in_pool(&api(&[("TIMEOUT", value)]));
        assert_eq!(hook.policy.timeout, expected.map(Duration::from_secs), "{value}");
        assert_eq!(
            notes.is_empty(),
            value.trim() == "30" || value == " 7",
            "{value}: {notes:?}"
        );
    }
    assert_eq!(in_pool(&api(&[])).0.policy.timeout, None);
}

#[test]
fn what_has_no_equal_is_explained() {
    for (hook, expected) in [
        (
            api(&[("ARGUMENTS", "$TEMPLATE")]),
            "`$TEMPLATE` stands for an empty text here",
        ),
        (
            state(&[("ON", "RUNNING"), ("ARGUMENTS", "$API")]),
            "`$API` stands for an empty text here",
        ),
        (
            api(&[("ARGUMENTS", "--api=$API")]),
            "nothing stands in for `--api=$API`",
        ),
        (api(&[("REMOTE", "YES")]), "no event of an API call names a host"),
        (api(&[("REMOTE", "true")]), "`REMOTE = true` counts as no"),
        (
            api(&[("ARGUMENTS", "a  b")]),
            "several blanks between arguments count as one",
        ),
        (
            api(&[("ARGUMENTS", "a;b")]),
            "ARGUMENTS holds characters that are a shell's",
        ),
        (
            api(&[("COMMAND", "a.sh | b")]),
            "COMMAND holds characters that are a shell's",
        ),
        (api(&[("TIMEOUT", "0")]), "not greater than 0 is no limit"),
    ] {
        for purpose in [POOL, Use::File] {
            let declared = one(&hook, purpose);
            assert!(
                declared.notes.iter().any(|note| note.contains(expected)),
                "{expected}: {:?}",
                declared.notes
            );
            compiled(&declared, purpose);
            let in_text = declared.text.lines().any(|line| line.starts_with("# Note: "));
            assert_eq!(in_text, purpose == Use::File, "{}", declared.text);
        }
    }
    assert!(
        one(&api(&[("ARGUMENTS", "$API x"), ("REMOTE", "NO")]), POOL)
            .notes
            .is_empty()
    );
}

#[test]
fn a_file_keeps_comments_and_attributes_that_are_not_read() {
    let mut hook = api(&[("OWN", "va: lue")]);
    hook.id = None;
    hook.attributes.push(Attribute {
        name: "LIST".to_owned(),
        value: AttributeValue::Vector(vec![("K".to_owned(), "v w".to_owned())]),
    });
    hook.comments = Comments {
        above: vec![
            ("NAME".to_owned(), " All about it".to_owned()),
            ("COMMAND".to_owned(), " below\u{85}remotes/hooks".to_owned()),
            ("OWN".to_owned(), " own".to_owned()),
        ],
        below: vec!["# end".to_owned()],
    };
    let declared = one(&hook, Use::File);
    assert_eq!(
        declared.text,
        "# All about it\nname: log\nprofile: onehem\ntrigger: { api: { call: one.vm.allocate } }\n\
         # below\\x85remotes/hooks\ncommand: log.sh\n# own\n# Not read: OWN = \"va: lue\"\n\
         # Not read: LIST = [ K = v w ]\n## end\n"
    );
    assert_eq!(declared.notes.len(), 2);
    assert_eq!(compiled(&declared, Use::File).policy.start_within, None);
}

#[test]
fn a_template_is_a_hook_without_a_number() {
    let template = template::parse(
        "# about it\nCOMMAND = log.sh\nNAME = log # its name\nTYPE = API\nCALL = one.vm.allocate\n# again\nCALL = one.vm.action\n",
    )
    .expect("a template");
    let hook = Onehook::try_from(template).expect("a hook");
    assert_eq!(
        (hook.id, hook.name.as_str(), &hook.kind),
        (None, "log", &HookKind::Api)
    );
    let declared = one(&hook, Use::File);
    assert_eq!(
        declared.text,
        "# about it\n# its name\nname: log\nprofile: onehem\n# again\ntrigger: { api: { call: one.vm.allocate } }\n\
         command: log.sh\n# Not read: CALL = one.vm.action\n"
    );
    assert_eq!(
        declared.notes,
        ["the attribute `CALL` stands there more than once, and the first one counts"]
    );
    for (text, missing) in [
        ("TYPE = api", "NAME"),
        ("NAME = x", "TYPE"),
        ("NAME = [ A = b ]\nTYPE = api", "NAME"),
    ] {
        let template = template::parse(text).expect("a template");
        assert_eq!(Onehook::try_from(template), Err(Undeclarable::Missing(missing)));
    }
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        "[a-zA-Z0-9 ./$:#'\"\\\\{}\\[\\],&*!|>%@`?~=-]{0,40}",
        proptest::collection::vec(any::<char>(), 0..20).prop_map(|chars| chars.into_iter().collect()),
        prop_oneof![
            Just("true"),
            Just("No"),
            Just("null"),
            Just("~"),
            Just("1e3"),
            Just("0x10"),
            Just(".nan"),
            Just("---"),
            Just("- a"),
            Just("a: b"),
            Just("a #b"),
            Just("? a"),
            Just("<<"),
            Just("any"),
            Just("${{ x }}"),
            Just("\u{feff}a"),
        ]
        .prop_map(str::to_owned),
    ]
}

/// A hook with any of the attributes that are read, each with any value or with one that it is made for.
fn any_hook() -> impl Strategy<Value = Onehook> {
    let attribute = prop_oneof![
        (
            Just("RESOURCE"),
            prop_oneof!["VM|HOST|IMAGE|NET|VNET|vm", any_text()]
        ),
        (Just("ON"), prop_oneof!["PROLOG|custom|STOP|", any_text()]),
        (
            Just("STATE"),
            prop_oneof!["ACTIVE|DONE|ERROR|any|=|==x", any_text()]
        ),
        (
            Just("LCM_STATE"),
            prop_oneof!["RUNNING|LCM_INIT|any|NEW", any_text()]
        ),
        (
            Just("CALL"),
            prop_oneof!["one.vm.allocate|one.vm.info|any|=", any_text()]
        ),
        (Just("COMMAND"), any_text()),
        (Just("ARGUMENTS"), prop_oneof!["\\$API|\\$TEMPLATE x", any_text()]),
        (Just("ARGUMENTS_STDIN"), prop_oneof!["yes|true|no", any_text()]),
        (Just("REMOTE"), prop_oneof!["yes|no", any_text()]),
        (Just("TIMEOUT"), prop_oneof!["[-+]?[0-9_]{0,30}", any_text()]),
        (Just("OWN"), any_text()),
    ];
    let kind = prop_oneof![Just(HookKind::State), Just(HookKind::Api)];
    (
        kind,
        proptest::collection::vec(attribute, 0..12),
        proptest::collection::vec(any_text(), 0..3),
        proptest::option::of(any::<u64>()),
    )
        .prop_map(|(kind, attributes, comments, id)| {
            // The first of several counts, so these stand in for what was not drawn.
            let needed = [
                ("COMMAND", "x"),
                ("CALL", "one.vm.allocate"),
                ("RESOURCE", "VM"),
                ("ON", "RUNNING"),
            ];
            let given: Vec<(&str, &str)> = attributes
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .chain(needed)
                .collect();
            let mut hook = onehook(kind, &given);
            hook.id = id;
            hook.comments.above = comments
                .iter()
                .map(|line| ("ON".to_owned(), line.clone()))
                .collect();
            hook.comments.below = comments;
            hook
        })
}

proptest! {
    #[test]
    fn whatever_is_declared_is_accepted(hook in any_hook()) {
        for purpose in [Use::Pool { source: Some("zone1") }, Use::File] {
            if let Ok(declared) = declare_all(std::slice::from_ref(&hook), purpose).remove(0) {
                prop_assert_eq!(compiled(&declared, purpose).oned_id, hook.id);
            }
        }
    }

    #[test]
    fn every_text_comes_out_of_the_yaml_as_it_went_in(
        command in any_text(), arguments in any_text(), call in any_text(), name in any_text(), remark in any_text()
    ) {
        for purpose in [POOL, Use::File] {
            let mut hook = api(&[("COMMAND", &command), ("ARGUMENTS", &arguments), ("CALL", &call), ("OWN", &remark)]);
            hook.name.clone_from(&name);
            hook.comments.above.push(("CALL".to_owned(), remark.clone()));
            let Ok(declared) = declare_all(std::slice::from_ref(&hook), purpose).remove(0) else {
                let has_nul = command.contains('\0') || arguments.contains('\0');
                prop_assert!(command.trim().is_empty() || call.trim().is_empty() || has_nul);
                return Ok(());
            };
            let hook = compiled(&declared, purpose);
            prop_assert_eq!(&hook.action.command, &command);
            match hook.action.raw_arguments {
                Some(line) => prop_assert_eq!(&line, &arguments),
                None => prop_assert!(arguments.trim().is_empty()),
            }
            prop_assert_eq!(
                &hook.triggers,
                &[Trigger::Api(ApiTrigger { source: None, call: Names::Of(vec![call.trim().to_owned()]), success: None })]
            );
        }
    }
}
