//! Both profiles against tables, and the rule that no value of an event is ever more than one argument or read by a shell.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::event::id::Seq;
use crate::event::opennebula::Resource;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{ApiCall, Facts, RetryRequest, StateChange, Subject};
use crate::expression::Expression;
use crate::hooks::{Action, Piece, StdinChoice, Template, declared};
use crate::runner::Stdin;

const VM: &str = "<VM><ID>12</ID><NAME>web 1</NAME><EMPTY></EMPTY></VM>";
const CALL: &str = "<CALL_INFO><RESULT>1</RESULT><PARAMETERS><PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE>\
    <VALUE>x</VALUE></PARAMETER></PARAMETERS><EXTRA></EXTRA></CALL_INFO>";

fn hook(profile: Profile, command: &str, arguments: Vec<Template>) -> Hook {
    let first = match profile {
        Profile::Hem => command,
        Profile::Onehem => command.split_ascii_whitespace().next().unwrap_or_default(),
    };
    let mut hook = declared("name: log\ntrigger: { api: { call: any } }\ncommand: log.sh\n");
    hook.profile = profile;
    hook.action = Action {
        command: command.to_owned(),
        program: hook.action.scripts_dir.join(first),
        arguments,
        ..hook.action
    };
    hook
}

fn event(facts: Facts, document: &str) -> Event {
    Event {
        seq: Seq(1042),
        source: Arc::from("opennebula"),
        key: "EVENT STATE VM/ACTIVE/RUNNING/12 ".to_owned(),
        subject: Some(Subject::new("vm/12")),
        received: Timestamp::from_millis(0),
        facts,
        ambiguous: false,
        synthesised: false,
        payload: Payload::new(Bytes::from(document.to_owned())),
    }
}

fn state_event() -> Event {
    let change = StateChange {
        resource: Resource::Vm,
        id: Some("12".to_owned()),
        state: "ACTIVE".to_owned(),
        lcm_state: Some("RUNNING".to_owned()),
        previous_state: None,
        previous_lcm_state: None,
        host: None,
    };
    let document = format!(
        "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
         <LCM_STATE>RUNNING</LCM_STATE><RESOURCE_ID>12</RESOURCE_ID>{VM}</HOOK_MESSAGE>"
    );
    event(Facts::State(change), &document)
}

fn api_event() -> Event {
    let call = ApiCall {
        call: "one.vm.hold".to_owned(),
        success: true,
    };
    let document =
        format!("<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.hold</CALL>{CALL}</HOOK_MESSAGE>");
    event(Facts::Api(call), &document)
}

fn retry_event(arguments: &str) -> Event {
    let retry = RetryRequest {
        hook_id: 7,
        arguments: arguments.to_owned(),
        remote_host: None,
    };
    event(Facts::Retry(retry), "<HOOK_MESSAGE/>")
}

fn literal(text: &str) -> Template {
    Template::Text(vec![Piece::Literal(text.to_owned())])
}

fn value(expression: &str) -> Template {
    Template::Text(vec![Piece::Value(
        Expression::compile(expression).expect("an expression"),
    )])
}

fn laid_out(
    hook: &Hook,
    event: &Event,
    environment: &[(&str, &str)],
    shell: OnehemShell,
) -> Result<Invocation, StartFailure> {
    let instance: StoreId = "k3vd".parse().expect("a store id");
    let execution = ExecutionKey::new(event.seq, hook.name.clone());
    let daemon_environment: Vec<(String, String)> = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let ssh = Ssh {
        config: None,
        sockets: Some("/run/hem/ssh".into()),
    };
    let facts = AttemptFacts {
        instance: &instance,
        execution: &execution,
        attempt: 2,
        daemon_environment: &daemon_environment,
        shell,
        ssh: &ssh,
    };
    invocation(hook, event, &facts)
}

fn made(hook: &Hook, event: &Event) -> Invocation {
    laid_out(hook, event, &[], OnehemShell::Auto).expect("an invocation")
}

fn argv(invocation: &Invocation) -> Vec<String> {
    std::iter::once(invocation.program.as_os_str())
        .chain(invocation.arguments.iter().map(OsString::as_os_str))
        .map(|word| word.to_str().expect("text").to_owned())
        .collect()
}

fn environment(invocation: &Invocation) -> BTreeMap<&str, &str> {
    invocation
        .environment
        .iter()
        .map(|(name, value)| (name.to_str().expect("text"), value.to_str().expect("text")))
        .collect()
}

fn input(invocation: &Invocation) -> String {
    match &invocation.stdin {
        Stdin::Empty => String::new(),
        Stdin::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
    }
}

#[test]
fn the_hem_profile_makes_one_argument_of_each_template() {
    let arguments = vec![
        literal("$HOME; `id`"),
        Template::ResourceElement,
        Template::CallInfo,
        Template::Text(vec![
            Piece::Literal("name=".to_owned()),
            Piece::Value(Expression::compile("event.VM.NAME").expect("an expression")),
        ]),
    ];
    let hook = hook(Profile::Hem, "dns/register.sh", arguments);
    let invocation = made(&hook, &state_event());
    assert_eq!(
        argv(&invocation),
        [
            "/scripts/dns/register.sh",
            "$HOME; `id`",
            &STANDARD.encode(VM),
            "",
            "name=web 1"
        ]
    );
    assert_eq!(invocation.directory.as_deref(), Some(Path::new("/scripts")));
    assert_eq!(invocation.umask, Some(0o027));
    assert_eq!(invocation.stdin, Stdin::Empty);
}

#[test]
fn the_element_an_event_has_none_of_is_an_empty_argument() {
    let hook = hook(
        Profile::Hem,
        "log.sh",
        vec![Template::ResourceElement, Template::CallInfo],
    );
    assert_eq!(
        argv(&made(&hook, &api_event())),
        ["/scripts/log.sh", "", &STANDARD.encode(CALL)]
    );
}

#[test]
fn an_argument_that_cannot_be_made_is_named() {
    let hook = hook(
        Profile::Hem,
        "log.sh",
        vec![literal("a"), value("event.VM.NO_SUCH")],
    );
    let failure = laid_out(&hook, &state_event(), &[], OnehemShell::Auto).expect_err("no such element");
    assert_eq!(failure.kind, StartFailureKind::BadArgument);
    assert!(failure.message.contains("argument 2"), "{failure}");
    assert!(failure.message.contains("event.VM.NO_SUCH"), "{failure}");
}

#[test]
fn a_nul_byte_in_a_value_is_refused_and_in_a_key_replaced() {
    let mut event = state_event();
    event.key = "a\0b".to_owned();
    let with_key = hook(Profile::Hem, "log.sh", vec![value("meta.key")]);
    let failure = laid_out(&with_key, &event, &[], OnehemShell::Auto).expect_err("a NUL");
    assert_eq!(failure.kind, StartFailureKind::BadArgument);
    let without_key = hook(Profile::Hem, "log.sh", Vec::new());
    assert_eq!(
        environment(&made(&without_key, &event))["HEM_EVENT_KEY"],
        "a\u{fffd}b"
    );
}

#[test]
fn a_shell_text_gets_values_as_its_parameters() {
    let mut hook = hook(Profile::Hem, "echo \"$1\" | logger", vec![value("event.VM.NAME")]);
    hook.action.shell = true;
    assert_eq!(
        argv(&made(&hook, &state_event())),
        ["/bin/sh", "-c", "echo \"$1\" | logger", "log", "web 1"]
    );
}

#[test]
fn arguments_go_to_standard_input_when_asked() {
    // No newline. What the event has none of is an empty piece; onehem-server strips the line.
    for (profile, line) in [(Profile::Hem, " -m"), (Profile::Onehem, "-m")] {
        let mut hook = hook(profile, "log.sh", vec![Template::ResourceElement, literal("-m")]);
        hook.action.arguments_stdin = true;
        let invocation = made(&hook, &api_event());
        assert_eq!(argv(&invocation), ["/scripts/log.sh"]);
        assert_eq!(input(&invocation), line, "{profile:?}");
    }
}

#[test]
fn standard_input_is_what_was_chosen() {
    let event = state_event();
    let mut hook = hook(Profile::Hem, "log.sh", Vec::new());
    let mut chosen = |choice| {
        hook.action.stdin = choice;
        input(&made(&hook, &event))
    };
    let document = String::from_utf8(event.payload.bytes().to_vec()).expect("text");
    assert_eq!(chosen(StdinChoice::None), "");
    assert_eq!(chosen(StdinChoice::Payload), document);
    assert_eq!(
        chosen(StdinChoice::Base64),
        format!("{}\n", STANDARD.encode(&document))
    );
    let line = chosen(StdinChoice::Event);
    assert_eq!(line.matches('\n').count(), 1);
    let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        object,
        json!({
            "id": "k3vd-1042", "seq": 1042, "source": "opennebula", "kind": "state",
            "key": "EVENT STATE VM/ACTIVE/RUNNING/12 ", "subject": "vm/12",
            "received": "1970-01-01T00:00:00.000Z", "ambiguous": false, "synthesised": false,
            "facts": {
                "resource": "VM", "id": "12", "state": "ACTIVE", "lcm_state": "RUNNING",
                "previous_state": null, "previous_lcm_state": null, "host": null,
            },
            "event": {
                "HOOK_TYPE": "STATE", "HOOK_OBJECT": "VM", "STATE": "ACTIVE", "LCM_STATE": "RUNNING",
                "RESOURCE_ID": "12", "VM": { "ID": "12", "NAME": "web 1", "EMPTY": "" },
            },
            "payload": STANDARD.encode(&document),
        })
    );
}

#[test]
fn the_hem_profile_passes_on_only_what_is_listed() {
    let daemon = [
        ("PATH", "/bin"),
        ("LANG", "de_AT.UTF-8"),
        ("LC_TIME", "C"),
        ("ONE_XMLRPC", "http://one"),
        ("AWS_SECRET", "x"),
        ("RUBYLIB", "/usr/lib/one"),
        ("HEM_AMBIGUOUS", "1"),
        ("HEM_HOOK", "another"),
        ("ZONE", "test"),
    ];
    let mut hook = hook(Profile::Hem, "log.sh", Vec::new());
    hook.action.pass_env = vec!["RUBYLIB".to_owned(), "ZONE".to_owned()];
    hook.action.env = [("ZONE", "prod"), ("HEM_ATTEMPT", "99")]
        .map(|(n, v)| (n.to_owned(), v.to_owned()))
        .into();
    let mut event = state_event();
    event.synthesised = true;
    let invocation = laid_out(&hook, &event, &daemon, OnehemShell::Auto).expect("an invocation");
    let expected = [
        ("HEM_ATTEMPT", "2"),
        ("HEM_EVENT_ID", "k3vd-1042"),
        ("HEM_EVENT_KEY", "EVENT STATE VM/ACTIVE/RUNNING/12 "),
        ("HEM_EXECUTION_ID", "k3vd-1042.log"),
        ("HEM_HOOK", "log"),
        ("HEM_INSTANCE", "k3vd"),
        ("HEM_SOURCE", "opennebula"),
        ("HEM_SUBJECT", "vm/12"),
        ("HEM_SYNTHESISED", "1"),
        ("LANG", "de_AT.UTF-8"),
        ("LC_TIME", "C"),
        ("ONE_XMLRPC", "http://one"),
        ("PATH", "/bin"),
        ("RUBYLIB", "/usr/lib/one"),
        ("ZONE", "prod"),
    ];
    assert_eq!(environment(&invocation), expected.into());
}

#[test]
fn a_bare_daemon_environment_is_filled_up_for_hem_and_left_alone_for_onehem() {
    let event = Event {
        ambiguous: true,
        subject: None,
        ..state_event()
    };
    let hem = made(&hook(Profile::Hem, "log.sh", Vec::new()), &event);
    let hem = environment(&hem);
    assert_eq!(
        (hem["LANG"], hem["HEM_AMBIGUOUS"], hem["HEM_SUBJECT"]),
        ("C.UTF-8", "1", "")
    );
    assert!(hem["PATH"].contains("/usr/bin"));

    let onehem = hook(Profile::Onehem, "log.sh", Vec::new());
    let onehem = laid_out(&onehem, &event, &[("AWS_SECRET", "x")], OnehemShell::Auto).expect("an invocation");
    let seen = environment(&onehem);
    assert_eq!(seen.get("AWS_SECRET"), Some(&"x"));
    assert_eq!((seen.get("PATH"), seen.get("LANG")), (None, None));
    assert_eq!((onehem.directory.as_deref(), onehem.umask), (None, None));
}

#[test]
fn secrets_are_named_and_not_read() {
    let mut hook = hook(Profile::Hem, "log.sh", Vec::new());
    hook.action.secrets = BTreeMap::from([("TOKEN".to_owned(), "/nonexistent".into())]);
    let invocation = made(&hook, &state_event());
    assert_eq!(
        invocation.secrets,
        [Secret {
            name: "TOKEN".to_owned(),
            file: "/nonexistent".into()
        }]
    );
    assert!(!environment(&invocation).contains_key("TOKEN"));
}

/// A state event that names the host `node1`.
fn event_on(host: &str) -> Event {
    let mut event = state_event();
    if let Facts::State(change) = &mut event.facts {
        change.host = Some(host.to_owned());
    }
    event
}

/// What `ssh` is asked to run; what comes before it is the same for all.
fn on_the_host(invocation: &Invocation) -> Vec<String> {
    let argv = argv(invocation);
    assert_eq!(argv[0], "ssh");
    assert_eq!(invocation.host.as_deref(), Some("node1"));
    for option in ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5"] {
        assert!(argv.iter().any(|word| word == option), "{argv:?}");
    }
    let host = argv
        .iter()
        .position(|word| word == "--")
        .expect("the end of the options")
        + 1;
    assert_eq!(argv[host], "node1");
    argv[host + 1..].to_vec()
}

#[test]
fn a_remote_hook_of_the_onehem_profile_leaves_its_line_to_both_shells() {
    let mut hook = hook(Profile::Onehem, "log.sh", vec![literal("a"), literal("b")]);
    hook.action.remote = true;
    hook.policy.timeout = None;
    let made = laid_out(&hook, &event_on("node1"), &[], OnehemShell::Auto).expect("an invocation");
    assert_eq!(on_the_host(&made), ["/scripts/log.sh", "a", "b"]);
    assert!(
        argv(&made).iter().any(|word| word == "-n"),
        "nobody reads the daemon's input"
    );
    // Ruby would give this line to a shell, which takes one pair of quotes; the host's shell sees the other.
    hook.action.arguments = vec![literal("\"'x  y'\"")];
    let made = laid_out(&hook, &event_on("node1"), &[], OnehemShell::Auto).expect("an invocation");
    let argv = argv(&made);
    assert_eq!(argv[..2], ["/bin/sh", "-c"]);
    assert!(
        argv[2].starts_with("exec ssh ") && argv[2].ends_with(" -- node1 /scripts/log.sh \"'x  y'\""),
        "{argv:?}"
    );
}

#[test]
fn a_remote_hook_of_the_hem_profile_quotes_each_word_for_the_shell_of_its_host() {
    let mut hook = hook(Profile::Hem, "log.sh", vec![literal("a b"), literal("$(id)")]);
    hook.action.remote = true;
    let made = laid_out(&hook, &event_on("node1"), &[], OnehemShell::Auto).expect("an invocation");
    let words = on_the_host(&made);
    assert_eq!(words[0], "env");
    assert!(words.contains(&"'HEM_ATTEMPT=2'".to_owned()), "{words:?}");
    let at = words
        .iter()
        .position(|word| word == "timeout")
        .expect("the limit is kept there too");
    assert_eq!(
        words[at + 1..],
        ["-k", "10.000", "600.000", "/scripts/log.sh", "'a b'", "'$(id)'"]
    );
}

#[test]
fn a_remote_hook_without_a_host_or_with_a_strange_one_is_a_failure_that_says_so() {
    let mut hook = hook(Profile::Onehem, "log.sh", Vec::new());
    hook.action.remote = true;
    let failure = laid_out(&hook, &event_on(""), &[], OnehemShell::Auto).expect_err("no host");
    assert!(failure.message.contains("names none"), "{failure}");
    for strange in ["-oProxyCommand=id", "a b", "x;id", "a@b"] {
        let failure = laid_out(&hook, &event_on(strange), &[], OnehemShell::Auto).expect_err("no host");
        assert!(failure.message.contains("name of a host"), "{failure}");
    }
}

#[test]
fn the_onehem_profile_runs_a_line_as_ruby_would() {
    let sh = |line: &str| vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_owned()];
    let direct = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    for (command, arguments, expected) in [
        ("log.sh", vec!["a", "b"], direct(&["/scripts/log.sh", "a", "b"])),
        ("/usr/bin/log", vec![], direct(&["/usr/bin/log"])),
        ("log.sh  -v", vec!["a"], direct(&["/scripts/log.sh", "-v", "a"])),
        (
            "log.sh",
            vec!["a=b", "100%", "x,y", "!"],
            direct(&["/scripts/log.sh", "a=b", "100%", "x,y", "!"]),
        ),
        ("log.sh", vec!["a", ";", "id"], sh("/scripts/log.sh a ; id")),
        (
            "log.sh",
            vec!["'one", "arg'", "two"],
            sh("/scripts/log.sh 'one arg' two"),
        ),
        ("log.sh", vec!["--api=$API"], sh("/scripts/log.sh --api=$API")),
        ("log.sh", vec!["#1"], sh("/scripts/log.sh #1")),
        ("log.sh >/tmp/log", vec!["a"], sh("/scripts/log.sh >/tmp/log a")),
    ] {
        let hook = hook(
            Profile::Onehem,
            command,
            arguments.iter().map(|text| literal(text)).collect(),
        );
        assert_eq!(
            argv(&made(&hook, &state_event())),
            expected,
            "{command} {arguments:?}"
        );
    }
}

#[test]
fn every_shell_character_calls_for_a_shell_and_no_other_does() {
    for byte in 0x21..0x7f_u8 {
        let text = char::from(byte).to_string();
        let hook = hook(Profile::Onehem, "log.sh", vec![literal(&text)]);
        let uses_shell = made(&hook, &state_event()).program == Path::new("/bin/sh");
        assert_eq!(uses_shell, r##"*?{}[]<>()~&|\$;'`"#"##.contains(&text), "{text}");
    }
}

#[test]
fn without_a_shell_a_line_is_split_like_one_would() {
    let hook = hook(
        Profile::Onehem,
        "log.sh",
        vec![literal("'one"), literal("arg'"), literal("$HOME;id")],
    );
    let never = |hook: &Hook| laid_out(hook, &state_event(), &[], OnehemShell::Never);
    assert_eq!(
        argv(&never(&hook).expect("an invocation")),
        ["/scripts/log.sh", "one arg", "$HOME;id"]
    );
    let open = self::hook(Profile::Onehem, "log.sh", vec![literal("it's")]);
    assert_eq!(
        never(&open).expect_err("an open quote").kind,
        StartFailureKind::BadArgument
    );
}

#[test]
fn the_onehem_profile_passes_elements_as_libxml2_lays_them_out() {
    let hook = hook(
        Profile::Onehem,
        "log.sh",
        vec![Template::ResourceElement, Template::CallInfo, literal("z")],
    );
    let laid_out = "<VM>\n  <ID>12</ID>\n  <NAME>web 1</NAME>\n  <EMPTY/>\n</VM>";
    assert_eq!(
        argv(&made(&hook, &state_event())),
        ["/scripts/log.sh", &STANDARD.encode(laid_out), "z"]
    );
}

#[test]
fn a_retry_message_brings_its_own_arguments() {
    let event = retry_event("QUJD x y");
    for profile in [Profile::Hem, Profile::Onehem] {
        let mut hook = hook(
            profile,
            "log.sh",
            vec![Template::ResourceElement, literal("another")],
        );
        assert_eq!(argv(&made(&hook, &event)), ["/scripts/log.sh", "QUJD", "x", "y"]);
        hook.action.arguments_stdin = true;
        let invocation = made(&hook, &event);
        assert_eq!(
            (argv(&invocation), input(&invocation)),
            (vec!["/scripts/log.sh".to_owned()], "QUJD x y".to_owned())
        );
    }
}

#[test]
fn a_retry_message_reaches_a_shell_only_with_the_hooks_own_words() {
    let quoted = hook(
        Profile::Onehem,
        "log.sh",
        vec![Template::ResourceElement, literal("'one"), literal("arg'")],
    );
    for (arguments, uses_shell) in [
        ("QUJD 'one arg'", true),
        ("QUI= 'one arg'", true),
        (" 'one arg'", true),
        ("QUJD;id 'one arg'", false),
        ("$(id) 'one arg'", false),
        ("QUJD 'one arg' ; id", false),
        ("QUJD 'one arg';id", false),
        ("QUJD 'one", false),
        ("QUJD\n'one arg'", false),
        ("id;", false),
        ("", false),
    ] {
        let invocation = made(&quoted, &retry_event(arguments));
        if arguments.is_empty() {
            assert_eq!(argv(&invocation), ["/scripts/log.sh"]);
        } else {
            assert_eq!(
                invocation.program == Path::new("/bin/sh"),
                uses_shell,
                "{arguments}"
            );
        }
    }
}

#[test]
fn an_expression_is_refused_in_the_onehem_profile() {
    let hook = hook(Profile::Onehem, "log.sh", vec![value("meta.key")]);
    let failure = laid_out(&hook, &state_event(), &[], OnehemShell::Auto).expect_err("an expression");
    assert_eq!(failure.kind, StartFailureKind::BadArgument);
}

/// Text that a shell would do something with.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "[^\\x00]{0,20}",
        "([;&|`$(){}<>'\"\\\\ \n\t*?#=%~!-]|id){0,30}",
    ]
}

proptest! {
    #[test]
    fn a_value_of_an_event_is_exactly_one_argument_and_never_a_shells(text in hostile(), shell in any::<bool>()) {
        let mut hook = hook(Profile::Hem, "log.sh", vec![literal("before"), value("meta.key"), literal("after")]);
        hook.action.shell = shell;
        let event = Event { key: text.clone(), ..state_event() };
        let invocation = made(&hook, &event);
        let own: &[&str] = if shell { &["/bin/sh", "-c", "log.sh", "log"] } else { &["/scripts/log.sh"] };
        let mut expected = own.to_vec();
        expected.extend(["before", &text, "after"]);
        prop_assert_eq!(argv(&invocation), expected);
    }

    #[test]
    fn a_resource_is_at_most_one_argument_of_the_onehem_profile_and_calls_for_no_shell(text in hostile()) {
        let escaped = quick_xml::escape::escape(text.as_str()).into_owned();
        // Control characters cannot stand in XML at all; what then becomes of the element is not the matter here.
        let document = format!(
            "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>VM</HOOK_OBJECT><STATE>ACTIVE</STATE>\
             <RESOURCE_ID>12</RESOURCE_ID><VM><NAME>{escaped}</NAME></VM></HOOK_MESSAGE>"
        );
        let event = Event { payload: Payload::new(Bytes::from(document)), ..state_event() };
        let hook = hook(Profile::Onehem, "log.sh", vec![literal("before"), Template::ResourceElement, literal("after")]);
        let argv = argv(&made(&hook, &event));
        prop_assert_eq!(&argv[0], "/scripts/log.sh");
        prop_assert_eq!(&argv[1], "before");
        prop_assert_eq!(argv.last().map(String::as_str), Some("after"));
        prop_assert!(argv.len() <= 4, "{:?}", argv);
    }

    #[test]
    fn what_a_retry_message_adds_never_reaches_a_shell(text in hostile(), own in prop::collection::vec("[a-z';$]{1,4}", 0..3)) {
        let hook = hook(Profile::Onehem, "log.sh", own.iter().map(|word| literal(word)).collect());
        let invocation = made(&hook, &retry_event(&text));
        if invocation.program == Path::new("/bin/sh") {
            prop_assert_eq!(text, own.join(" "));
        }
    }
}

#[test]
fn a_shell_is_announced_where_one_reads_the_line() {
    let table = [
        (Profile::Onehem, "log.sh", "plain", true, false),
        (Profile::Onehem, "log.sh", "'two words'", true, true),
        (Profile::Onehem, "log.sh", "'two words'", false, false),
        (Profile::Onehem, "log.sh | logger", "plain", true, true),
        (Profile::Hem, "log.sh", "a; b", true, false),
    ];
    for (profile, command, argument, may, expected) in table {
        let hook = hook(profile, command, vec![literal(argument), Template::CallInfo]);
        let shell = if may {
            OnehemShell::Auto
        } else {
            OnehemShell::Never
        };
        assert_eq!(uses_shell(&hook, shell), expected, "{command} {argument} {may}");
        let laid_out = laid_out(&hook, &api_event(), &[], shell).expect("an invocation");
        assert_eq!(
            laid_out.program == Path::new("/bin/sh"),
            expected,
            "what is announced is what is done: {command} {argument}"
        );
    }
}
