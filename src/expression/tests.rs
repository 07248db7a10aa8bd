use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::esc::{EscEvent, Machine, Via};
use crate::event::id::Seq;
use crate::event::ncmp::NcmpRecord;
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::webhook::Form;
use crate::event::{Facts, StateChange, Subject};

fn event_with(tree: serde_json::Value) -> Event {
    Event {
        seq: Seq(7),
        source: Arc::from("zone1"),
        key: "EVENT STATE VM/ACTIVE/RUNNING/12".to_owned(),
        subject: Some(Subject::new("vm/12")),
        received: Timestamp::from_millis(0),
        facts: Facts::State(StateChange {
            resource: Resource::Vm,
            id: Some("12".to_owned()),
            state: "ACTIVE".to_owned(),
            lcm_state: Some("RUNNING".to_owned()),
            previous_state: Some("PENDING".to_owned()),
            previous_lcm_state: None,
            host: None,
        }),
        ambiguous: false,
        synthesised: false,
        payload: Payload::with_tree(Bytes::new(), tree),
    }
}

fn vm() -> Event {
    event_with(json!({
        "VM": {
            "@state": "3",
            "NAME": "web-1",
            "EMPTY": "",
            "TEMPLATE": {
                "MEMORY": "8192",
                "DISK": [{"SIZE": "10"}, {"SIZE": "20"}],
                "NIC": {"IP": "10.0.0.1"},
            },
            "USER_TEMPLATE": {"TIER": "web", "MY-KEY": "x"},
        },
    }))
}

fn compiled(text: &str) -> Expression {
    Expression::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> CompileError {
    Expression::compile(text).expect_err(text)
}

#[test]
fn what_cannot_be_known_is_refused_with_the_place_and_a_hint() {
    for (text, offset, hint) in [
        ("evnt.VM.ID == '1'", Some(0), "did you mean `event`?"),
        ("true && VM.ID == '1'", Some(8), "`event.VM`"),
        ("'é' == 'é' && siz(event) > 1", Some(16), "did you mean `size`?"),
        (
            "event.VM.NAME.startWith('w')",
            Some(14),
            "did you mean `startsWith`?",
        ),
        ("event.VM.NAME.matches('w')", None, "regular expressions"),
        ("startsWith(event.VM.NAME, 'w')", None, "is called on a text"),
        ("meta.lcmstate == 'BOOT'", None, "did you mean `lcm_state`?"),
        ("meta['lcmstate'] == 'BOOT'", None, "did you mean `lcm_state`?"),
        ("int() > 1", None, "takes one argument, not 0"),
        ("event.VM.NAME.contains()", None, "takes 1 argument, not 0"),
        ("[1].exists(event, event > 0)", None, "cannot name an element"),
        ("[1].exists(x, y > 0)", Some(14), "unknown variable `y`"),
        ("[1].exists(x)", None, "`list.exists(x, condition)`"),
        ("Thing{a: 1} == 1", None, "no type `Thing`"),
        ("event.VM.?NAME", None, "syntax"),
        ("1 +", Some(3), "ends too early"),
        ("'é' == + 2", Some(8), "unexpected `+`"),
        ("event.VM.NAME == 'a' and true", Some(21), "unexpected `and`"),
        ("", None, "empty"),
        ("  // nothing", None, "ends too early"),
    ] {
        let error = refused(text);
        assert!(error.message.contains(hint), "{text}: {error}");
        if offset.is_some() {
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }
}

#[test]
fn a_missing_element_is_told_apart_from_a_mistake() {
    for (text, path) in [
        ("event.VM.TEMPLATE.CPU == '1'", "event.VM.TEMPLATE.CPU"),
        (
            "event.VM.NAME == 'x' || event.HOST.NAME == 'y'",
            "event.HOST.NAME",
        ),
        ("event.VM.NAME.FIRST == 'x'", "event.VM.NAME.FIRST"),
        ("event.VM.EMPTY.CHILD == 'x'", "event.VM.EMPTY.CHILD"),
        (
            "event.VM.TEMPLATE.DISK[7].SIZE == '1'",
            "event.VM.TEMPLATE.DISK[7].SIZE",
        ),
        ("event.VM['@missing'] == '1'", "event.VM['@missing']"),
        ("meta.call == 'one.vm.allocate'", "meta.call"),
    ] {
        assert_eq!(
            compiled(text).holds(&vm()),
            Err(EvaluationError::Absent {
                path: path.to_owned()
            }),
            "{text}"
        );
    }
    for (text, said) in [
        ("event.VM.NAME", "the condition gave a string, not true or false"),
        (
            "event.VM.TEMPLATE",
            "the condition gave an element with children, not true or false",
        ),
        ("event.VM.TEMPLATE.MEMORY >= 4096", "`int(…)` makes it a number"),
        ("event.VM.TEMPLATE.MEMORY + 1 == 2", "`int(…)` makes it a number"),
        ("event.VM.TEMPLATE.DISK.SIZE == '1'", "is a list"),
        ("int(event.VM.NAME) == 1", "int"),
        ("1 / 0 == 1", "division by zero"),
    ] {
        match compiled(text).holds(&vm()) {
            Err(EvaluationError::Failed(sentence)) => {
                assert!(sentence.contains(said), "{text}: {sentence}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn everything_that_is_known_of_a_step_of_esc_has_a_name() {
    let said = |text: &str| Some(text.to_owned());
    let machine = |id: &str| Machine {
        id: said(id),
        name: said("a name"),
        host_id: said("a host"),
        host_name: said("node1"),
    };
    let esc = EscEvent {
        via: Via::Rest,
        form: Form::Xml,
        event: "VM_ALIVE".to_owned(),
        status: said("SUCCESS"),
        status_code: said("200"),
        status_message: said("alive"),
        tenant: said("t1"),
        deployment: said("dep1"),
        vm_group: said("g1"),
        vm: machine("old"),
        new_vm: machine("new"),
        resource: said("n1"),
        transaction: said("x"),
        time: said("now"),
        delivery: None,
        sender: said("192.0.2.7"),
        request: None,
    };
    let event = Event {
        facts: Facts::Esc(Box::new(esc.clone())),
        ..event_with(json!({}))
    };
    assert_eq!(esc.texts().count(), 20);
    for (name, text) in esc.texts() {
        assert_eq!(
            compiled(&format!("meta.{name}")).text_for(&event).as_deref(),
            Ok(text),
            "{name}"
        );
    }
}

#[test]
fn everything_that_is_known_of_a_record_of_ncmp_has_a_name() {
    let said = |text: &str| Some(text.to_owned());
    let properties = |site: &str| [("site".to_owned(), site.to_owned())].into();
    let told = NcmpRecord {
        topic: "ncmp-events".to_owned(),
        partition: 3,
        offset: 42,
        event: "update".to_owned(),
        event_type: "org.onap.ncmp.cmhandle-lcm-event.update".to_owned(),
        id: said("1"),
        time: said("now"),
        origin: said("org.onap.ncmp"),
        cm_handle: said("h1"),
        alternate_id: said("fdn1"),
        state: said("READY"),
        old_state: said("ADVISED"),
        data_sync: Some(true),
        properties: properties("cork"),
        old_properties: properties("dublin"),
    };
    let event = Event {
        facts: Facts::Ncmp(Box::new(told.clone())),
        ..event_with(json!({}))
    };
    assert_eq!(told.texts().count(), 13);
    for (name, text) in told.texts() {
        assert_eq!(
            compiled(&format!("meta.{name}")).text_for(&event).as_deref(),
            Ok(&*text),
            "{name}"
        );
    }
    let moved =
        compiled("meta.old_properties.site != meta.properties.site && meta.properties['site'] == 'cork'");
    assert_eq!(moved.holds(&event), Ok(true));
}

#[test]
fn text_is_made_of_single_values_only() {
    for (text, expected) in [
        ("event.VM.NAME", "web-1"),
        ("'a' + event.VM.NAME", "aweb-1"),
        ("int(event.VM.TEMPLATE.MEMORY) / 1024", "8"),
        ("1.5", "1.5"),
        ("1u", "1"),
        ("1 == 1", "true"),
        ("text('VM/NOWHERE')", ""),
        ("meta.subject", "vm/12"),
    ] {
        assert_eq!(compiled(text).text_for(&vm()).as_deref(), Ok(expected), "{text}");
    }
    for text in ["event.VM", "event.VM.TEMPLATE.DISK", "null", "b'x'"] {
        assert!(
            matches!(compiled(text).text_for(&vm()), Err(EvaluationError::Failed(_))),
            "{text}"
        );
    }
    assert_eq!(
        compiled("event.VM.NOWHERE").text_for(&vm()),
        Err(EvaluationError::Absent {
            path: "event.VM.NOWHERE".to_owned()
        })
    );
}

#[test]
fn a_comparison_that_never_holds_is_warned_of() {
    let expression = compiled("meta.seq == 7 && event.VM.NAME == 12");
    let [warning] = expression.warnings() else {
        panic!("{:?}", expression.warnings());
    };
    assert!(warning.message.contains("`event.VM.NAME == \"12\"`"));
    assert_eq!(warning.offset, Some(31));
    for fine in ["int(event.VM.ID) == 12", "event.VM.ID == '12'", "1 == 1"] {
        assert_eq!(compiled(fine).warnings(), [], "{fine}");
    }
}

#[test]
fn lookups_name_what_the_condition_read() {
    let expression = compiled(
        "int(event.VM.TEMPLATE.MEMORY) >= 4096 && text(\"VM/USER_TEMPLATE/TIER\") == \"web\" \
         && (has(event.VM.GPU) || each(event.VM.TEMPLATE.DISK).exists(d, int(d.SIZE) > 15)) \
         && event.VM['@state'] == '3' && event.VM.USER_TEMPLATE['MY-KEY'] == 'x' && event.VM.TEMPLATE.MEMORY != ''",
    );
    assert_eq!(expression.holds(&vm()), Ok(true));
    let expected = [
        ("event.VM.TEMPLATE.MEMORY", "\"8192\""),
        ("text(\"VM/USER_TEMPLATE/TIER\")", "\"web\""),
        ("event.VM.GPU", "(absent)"),
        (
            "event.VM.TEMPLATE.DISK",
            "[{\"SIZE\": \"10\"}, {\"SIZE\": \"20\"}]",
        ),
        ("event.VM['@state']", "\"3\""),
        ("event.VM.USER_TEMPLATE['MY-KEY']", "\"x\""),
    ]
    .map(|(path, value)| (path.to_owned(), value.to_owned()));
    let mut found = expression.lookups(&vm());
    let mut expected = expected.to_vec();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn one_context_serves_many_expressions() {
    let event = vm();
    let context = EvaluationContext::new(&event);
    for _ in 0..3 {
        assert_eq!(compiled("event.VM.NAME == 'web-1'").holds_in(&context), Ok(true));
        assert_eq!(compiled("meta.seq").text_in(&context).as_deref(), Ok("7"));
    }
}

#[test]
fn lists_and_the_work_on_them_are_bounded() {
    let numbers = |n: usize| json!({ "L": vec!["1"; n] });
    let once = compiled("each(event.L).all(x, x == '1')");
    assert_eq!(once.holds(&event_with(numbers(values::MAX_ELEMENTS))), Ok(true));
    let too_long = once.holds(&event_with(numbers(values::MAX_ELEMENTS + 1)));
    assert!(
        matches!(&too_long, Err(EvaluationError::Failed(s)) if s.contains("too long")),
        "{too_long:?}"
    );

    let nested = compiled("event.L.all(x, event.L.all(y, x == y))");
    assert_eq!(nested.holds(&event_with(numbers(300))), Ok(true));
    let too_much = nested.holds(&event_with(numbers(600)));
    assert!(
        matches!(&too_much, Err(EvaluationError::Failed(s)) if s.contains("too much")),
        "{too_much:?}"
    );
    // A few large elements are as much work as many small ones.
    let large = event_with(json!({
        "L": vec!["1"; 5_000],
        "M": [{ "N": vec!["1"; 100] }],
    }));
    let copied = compiled("event.L.all(x, event.M.all(y, true))").holds(&large);
    assert!(
        matches!(&copied, Err(EvaluationError::Failed(s)) if s.contains("too much")),
        "{copied:?}"
    );

    // The allowance is of one evaluation, not of the context.
    let event = event_with(numbers(9_000));
    let context = EvaluationContext::new(&event);
    for _ in 0..20 {
        assert_eq!(once.holds_in(&context), Ok(true));
    }
}

#[test]
fn the_deepest_expressions_fit_on_a_small_stack() {
    let (deep, long) = (limits::MAX_NESTING, limits::MAX_DEPTH);
    let longest = |make: &dyn Fn(usize) -> String| -> String {
        (1..=long * 2)
            .map(make)
            .take_while(|text| limits::check(text).is_ok())
            .last()
            .expect("the shortest is allowed")
    };
    let texts = [
        longest(&|n| format!("{}1{}", "(".repeat(n), ")".repeat(n))),
        longest(&|n| format!("{}1{}", "[".repeat(n), "]".repeat(n))),
        longest(&|n| format!("{}1{}", "{1:".repeat(n), "}".repeat(n))),
        longest(&|n| format!("{}1{}", "int(".repeat(n), ")".repeat(n))),
        longest(&|n| format!("{}1{}", "1 + (".repeat(n), ")".repeat(n))),
        longest(&|n| format!("{}true{}", "[1].all(x, ".repeat(n), ")".repeat(n))),
        longest(&|n| format!("{}1", "true ? 1 : ".repeat(n))),
        longest(&|n| format!("{}true", "!".repeat(n))),
        longest(&|n| vec!["1"; n].join(" + ")),
        longest(&|n| format!("event{}", ".VM".repeat(n))),
        longest(&|n| format!("event{}", "[0]".repeat(n))),
        longest(&|n| format!("'a'{}", ".contains('a')".repeat(n))),
        vec!["true"; 400].join(" && "),
        vec!["(true || false)"; deep * 6].join(" && "),
    ];
    let worker = std::thread::Builder::new()
        .stack_size(2 << 20)
        .spawn(move || {
            for text in texts {
                let expression = compiled(&text);
                let _any = expression.holds(&vm());
                let _any = expression.lookups(&vm());
            }
        })
        .expect("a thread");
    worker.join().expect("no expression panics");
}

/// Text that is more often an expression than random characters are.
fn expression_text() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "event",
        "meta",
        "VM",
        "NAME",
        "TEMPLATE",
        "DISK",
        "x",
        "1",
        "1u",
        "2.5",
        "'a'",
        "\"b\"",
        "b'c'",
        "r'\\'",
        "true",
        "null",
        ".",
        "..",
        "?",
        ":",
        ",",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "+",
        "-",
        "*",
        "/",
        "%",
        "!",
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        " in ",
        "text",
        "each",
        "has",
        "size",
        "int",
        "string",
        "exists",
        "all",
        "map",
        "filter",
        "exists_one",
        "state",
        "@",
        "`",
        "\\",
        "'",
        "\"",
        "//",
        "\n",
        "é",
        "9223372036854775807",
        "type",
        "dyn",
        "bytes",
        "double",
        "uint",
        "contains",
        "startsWith",
    ]);
    prop_oneof![
        2 => prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat()),
        1 => ".{0,80}",
    ]
}

/// A well-formed expression of the language.
fn expression() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "event",
        "meta",
        "event.VM",
        "event.VM.NAME",
        "event.VM.TEMPLATE.DISK",
        "event[0]",
        "1",
        "-1",
        "0",
        "2u",
        "0.0",
        "'a'",
        "''",
        "true",
        "null",
        "[]",
        "{}",
        "b'x'",
        "meta.state",
        "text('VM/NAME')",
        "9223372036854775807",
        "-9223372036854775808",
        "int",
        "x",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(4, 24, 3, |inner| {
        let operator = prop::sample::select(vec![
            "+", "-", "*", "/", "%", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "in",
        ]);
        let function = prop::sample::select(vec![
            "size", "string", "int", "uint", "double", "bool", "bytes", "dyn", "type", "text", "each", "has",
            "!", "-",
        ]);
        let method = prop::sample::select(vec!["contains", "startsWith", "endsWith"]);
        let comprehension = prop::sample::select(vec!["all", "exists", "exists_one", "map", "filter"]);
        prop_oneof![
            (inner.clone(), operator, inner.clone()).prop_map(|(a, o, b)| format!("({a} {o} {b})")),
            (function, inner.clone()).prop_map(|(f, a)| format!("{f}({a})")),
            (inner.clone(), method, inner.clone()).prop_map(|(a, m, b)| format!("({a}).{m}({b})")),
            (inner.clone(), comprehension, inner.clone()).prop_map(|(a, m, b)| format!("({a}).{m}(x, {b})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("({a} ? {b} : {c})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a})[{b}]")),
            inner.clone().prop_map(|a| format!("({a}).NAME")),
            prop::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(", "))),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{{{a}: {b}}}")),
        ]
    })
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let name = prop::sample::select(vec!["VM", "NAME", "TEMPLATE", "DISK", "@id", "#text", "SIZE"]);
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|b| json!(b)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        ".{0,8}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| json!(list)),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|members| {
                serde_json::Value::Object(
                    members
                        .into_iter()
                        .map(|(name, value)| (name.to_owned(), value))
                        .collect(),
                )
            }),
        ]
    })
}

/// The crate panics on nothing we know of; a panic that is caught would still show here.
fn did_not_panic<T>(result: &Result<T, EvaluationError>) -> bool {
    !matches!(result, Err(EvaluationError::Failed(sentence)) if sentence == "the expression could not be worked out")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_the_compiler(text in expression_text()) {
        match Expression::compile(&text) {
            Ok(expression) => prop_assert_eq!(expression.text(), text),
            Err(error) => {
                prop_assert_ne!(&error.message, "the expression cannot be read");
                if let Some(offset) = error.offset {
                    prop_assert!(text.is_char_boundary(offset), "{} in {:?}", offset, text);
                }
            }
        }
    }

    #[test]
    fn text_reads_what_the_payload_reads(
        tree in tree(),
        path in prop::collection::vec(prop::sample::select(vec!["VM", "NAME", "TEMPLATE", "@id", "#text", ""]), 0..4),
    ) {
        let path = path.join("/");
        let event = event_with(tree);
        let expression = compiled(&format!("text('{path}')"));
        // Numbers with a fraction, which only JSON has, are printed as CEL prints them.
        let (Ok(found), expected) = (expression.text_for(&event), event.payload.text(&path)) else {
            return Err(TestCaseError::fail("text always gives a text"));
        };
        if !matches!(event.payload.at(&path), Some(value) if value.to_string().contains(['.', 'e'])) {
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn no_expression_and_tree_panic_the_evaluation(text in expression(), tree in tree()) {
        if let Ok(expression) = Expression::compile(&text) {
            let event = event_with(tree);
            let context = EvaluationContext::new(&event);
            let holds = expression.holds_in(&context);
            prop_assert!(did_not_panic(&holds), "{}", text);
            prop_assert!(did_not_panic(&expression.text_in(&context)), "{}", text);
            let _any = expression.lookups_in(&context);
            prop_assert_eq!(expression.holds(&event), holds);
        }
    }
}
