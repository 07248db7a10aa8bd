//! Hook files as their authors meet them: what is said of broken ones, what a folder does, that the examples hold.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use hem::config::Permissions;
use hem::event::time::Timestamp;
use hem::hooks::check::{CheckOptions, Checked, check};
use hem::hooks::folder::{LastGood, LoadOptions, Loaded, load};
use hem::hooks::invocation::OnehemShell;
use hem::hooks::{
    Defaults, Names, Origin, Profile, Severity, Template, Trigger, json_schema, parse_definition, trial,
};
use tempfile::TempDir;

/// A folder of hooks and a folder of scripts beside it.
struct Site {
    root: TempDir,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let site = Self { root };
        fs::create_dir(site.hooks()).expect("a folder");
        fs::create_dir(site.scripts()).expect("a folder");
        for folder in [site.hooks(), site.scripts()] {
            fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).expect("a mode");
        }
        site.script("ok.sh", "#!/bin/sh\n", 0o755);
        site
    }

    fn hooks(&self) -> PathBuf {
        self.root.path().join("hooks.d")
    }

    fn scripts(&self) -> PathBuf {
        self.root.path().join("scripts")
    }

    fn script(&self, name: &str, text: &str, mode: u32) {
        let path = self.scripts().join(name);
        fs::write(&path, text).expect("a script");
        fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.hooks().join(name);
        fs::write(&path, text).expect("a hook file");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("a mode");
    }

    fn options(&self) -> CheckOptions {
        CheckOptions {
            defaults: Defaults {
                scripts_dir: self.scripts(),
                onehem_scripts_dir: self.scripts(),
                remote_scripts_dir: "/var/tmp/one/hooks".into(),
                catch_up: false,
            },
            permissions: Permissions::Strict,
        }
    }

    fn check(&self) -> Checked {
        check(&self.hooks(), &self.options()).expect("a folder")
    }

    /// What `hem check` would print, with paths as seen from the site.
    fn faults(&self) -> String {
        let mut printed = String::new();
        for fault in self.check().faults {
            writeln!(printed, "{fault}\n").expect("a string");
        }
        printed.replace(&format!("{}/", self.root.path().display()), "")
    }

    fn load(&self, previous: &LastGood) -> Loaded {
        self.load_with(previous, |_| {})
    }

    fn load_with(&self, previous: &LastGood, change: impl FnOnce(&mut LoadOptions)) -> Loaded {
        let mut options = LoadOptions {
            check: self.options(),
            strict: false,
            accept: false,
            now: Timestamp::from_millis(1_000),
        };
        change(&mut options);
        load(&self.hooks(), previous, &options)
    }
}

fn names(loaded: &Loaded) -> Vec<String> {
    loaded.set.iter().map(|hook| hook.name.to_string()).collect()
}

/// A good hook with that name.
fn hook(name: &str) -> String {
    format!("name: {name}\ntrigger: {{ state: {{ resource: VM, on: RUNNING }} }}\ncommand: ok.sh\n")
}

/// A hook whose first lines are right, and these after them.
fn with(lines: &str) -> String {
    format!("{}{lines}\n", hook("x"))
}

/// A hook with this trigger.
fn triggered(trigger: &str) -> String {
    format!("name: x\ncommand: ok.sh\ntrigger: {trigger}\n")
}

#[test]
fn faults_are_told_with_place_and_cure() {
    let broken: Vec<(&str, String)> = vec![
        ("nothing but a name", "name: x\n".into()),
        ("a list", "- name: x\n".into()),
        ("a text", "just words\n".into()),
        ("misspelt attribute", with("timout: 5s")),
        ("capital attribute", with("COMMAND: x")),
        (
            "several faults at once",
            with("timout: 5s\nretry: { attempt: 3, backoff: 1s..x }\norder: subjects\nmax_parallel: -1"),
        ),
        (
            "template attribute at the top",
            "name: x\nresource: VM\non: RUNNING\ncommand: ok.sh\n".into(),
        ),
        (
            "catching up with calls",
            "name: x\ntrigger: { api: { call: one.vm.deploy } }\ncommand: ok.sh\ncatch_up: true\n".into(),
        ),
        ("throttle without its time", with("throttle: { max: 5 }")),
        (
            "throttle that lets nothing through",
            with("throttle: { max: 0, per: 0s, key: vm, then: drop }"),
        ),
        ("no time to debounce", with("debounce: 0s")),
        (
            "policies without an order",
            with("order: none\ndebounce: 30s\noverlap: latest\nloop_guard: { max: 9 }"),
        ),
        (
            "debounce longer than start_within",
            with("debounce: 30s\nstart_within: 30s"),
        ),
        ("misspelt overlap", with("overlap: lastest")),
        ("loop guard that is neither on nor off", with("loop_guard: never")),
        ("loop guard that is on", with("loop_guard: true")),
        (
            "loop guard with a misspelt limit",
            with("loop_guard: { max: 60, within: 1m }"),
        ),
        ("breaker without limits", with("breaker: { for: 5m }")),
        (
            "breaker with bad limits",
            with("breaker: { failures: 1001, per: 5, for: 0s }"),
        ),
        ("yes is no boolean", with("enabled: yes")),
        (
            "on became true",
            triggered("{ state: { resource: VM, true: RUNNING } }"),
        ),
        (
            "misspelt state",
            triggered("{ state: { resource: VM, on: RUNING } }"),
        ),
        (
            "state where on is",
            triggered("{ state: { resource: VM, on: POWEROFF } }"),
        ),
        (
            "life-cycle state where on is",
            triggered("{ state: { resource: VM, on: BOOT_FAILURE } }"),
        ),
        (
            "misspelt life-cycle state in a list",
            triggered("{ state: { resource: VM, lcm_state: [RUNNING, BOOT_FAILUR] } }"),
        ),
        (
            "on and state",
            triggered("{ state: { resource: VM, on: RUNNING, state: ACTIVE } }"),
        ),
        (
            "custom without states",
            triggered("{ state: { resource: VM, on: CUSTOM, state: ACTIVE } }"),
        ),
        ("vnet", triggered("{ state: { resource: VNET, state: READY } }")),
        (
            "lcm_state of a host",
            triggered("{ state: { resource: HOST, state: ERROR, lcm_state: RUNNING } }"),
        ),
        (
            "misspelt host state",
            triggered("{ state: { resource: HOST, state: ERRO } }"),
        ),
        ("no resource", triggered("{ state: { on: RUNNING } }")),
        ("no state", triggered("{ state: { resource: VM } }")),
        (
            "misspelt former state",
            triggered("{ state: { resource: VM, on: RUNNING, from: [BOOTT, any] } }"),
        ),
        ("misspelt call", triggered("{ api: { call: one.vm.alocate } }")),
        ("unpublished call", triggered("{ api: { call: one.vm.info } }")),
        (
            "wrong result",
            triggered("{ api: { call: any, result: sucess } }"),
        ),
        ("foreign trigger", triggered("{ kafka: { topic: x } }")),
        (
            "NCMP with words that are nearly known",
            triggered(
                "{ ncmp: { event: [creat, AvcEvent, del*], state: [REDY, \"=SLEEPING\"], old_state: ready, cm_handle: \"a b\", data_sync: maybe } }",
            ),
        ),
        (
            "NCMP with a state that is none",
            triggered("{ ncmp: { event: any, old_state: idle } }"),
        ),
        ("NCMP without an event", triggered("{ ncmp: { state: READY } }")),
        (
            "NCMP with no such attribute",
            triggered("{ ncmp: { event: create, handle: x } }"),
        ),
        (
            "Masakari with words that are nearly known",
            triggered(
                "{ masakari: { type: [VN, \"=CLUSTER\"], event: [STOPED, LIFE*, FIRE], status: done, host: \"a b\", host_status: ok } }",
            ),
        ),
        (
            "Masakari with no such attribute",
            triggered("{ masakari: { process_name: x } }"),
        ),
        ("ESC without an event", triggered("{ esc: { status: SUCCESS } }")),
        (
            "ESC with words that are nearly known",
            triggered(
                "{ esc: { event: [VM_ALIV, vm_alive, \"=VM_ALIV\", \"VM_*\", VM_TELEPORTED], status: SUCESS } }",
            ),
        ),
        (
            "ESC with no such way",
            triggered("{ esc: { event: any, via: netconv, tenant: \"\" } }"),
        ),
        (
            "outcome misspelt",
            triggered("{ execution: { hook: dns, outcome: faild } }"),
        ),
        (
            "outcome unknown",
            triggered("{ execution: { outcome: [failed, red, any] } }"),
        ),
        ("no outcome", triggered("{ execution: { hook: \"*\" } }")),
        (
            "attribute of an execution misspelt",
            triggered("{ execution: { hok: dns, outcome: any } }"),
        ),
        ("hooks with blanks", triggered("{ blocked: { hook: dns web } }")),
        ("no hook in the list", triggered("{ muted: { hook: [] } }")),
        ("attribute of a gap unknown", triggered("{ gap: { hook: dns } }")),
        ("source beside a gap", triggered("{ gap: {}, source: zone1 }")),
        (
            "away too shortly",
            triggered("{ source_down: { source: zone1, after: 10ms } }"),
        ),
        ("own trigger misspelt", triggered("{ source_dwn: {} }")),
        (
            "two triggers in one",
            triggered("{ state: { resource: VM, on: DONE }, api: { call: any } }"),
        ),
        ("no trigger in the list", triggered("[]")),
        (
            "bad name",
            "name: vm running\ntrigger: { api: { call: any } }\ncommand: ok.sh\n".into(),
        ),
        (
            "number as name",
            "name: 12\ntrigger: { api: { call: any } }\ncommand: ok.sh\n".into(),
        ),
        ("time without unit", with("grace: 30")),
        ("size without unit", with("output: { head: 64 }")),
        ("no attempts", with("retry: { attempts: 0 }")),
        ("backoff the wrong way round", with("retry: { backoff: 5m..2s }")),
        ("empty value", with("when:")),
        ("condition that ends too soon", with("when: event.VM.NAME == ")),
        ("open quote in arguments", with("arguments: \"a 'b\"")),
        ("open expression", with("arguments: [\"${{ event.VM.NAME\"]")),
        (
            "value that may be an option",
            with("arguments: \"${{ event.VM.NAME }} x\""),
        ),
        ("boolean argument", with("arguments: [true]")),
        (
            "expression in a shell script",
            "name: x\ntrigger: { api: { call: any } }\nshell: true\ncommand: echo ${{ meta.key }}\n".into(),
        ),
        (
            "two uses of standard input",
            with("arguments_stdin: true\nstdin: payload"),
        ),
        ("relative cwd", with("cwd: var/lib")),
        ("bad variable", with("env: { A-B: x, HEM_HOOK: y }")),
        (
            "retry in the onehem profile",
            with("profile: onehem\nretry: { attempts: 2 }"),
        ),
        ("no event in a test", with("tests: [{ expect: { match: true } }]")),
        (
            "argv of a hook that does not match",
            with("tests: [{ event: a.xml, expect: { match: false, argv: [a] } }]"),
        ),
        (
            "missing command",
            "name: x\ntrigger: { api: { call: any } }\ncommand: dns/missing.sh --now\n".into(),
        ),
        ("key twice", with("timeout: 1s\ntimeout: 2s")),
        ("tab", with("retry:\n\tattempts: 3")),
        ("bad indentation", "name: x\n  trigger: y\n".into()),
        ("open bracket", with("env: { A: b")),
        ("unknown anchor", with("timeout: *t")),
        (
            "merge conflict",
            format!("<<<<<<< HEAD\n{}=======\n{}>>>>>>> topic\n", hook("a"), hook("b")),
        ),
        (
            "faults in two documents",
            format!("{}timout: 1s\n---\n{}ordr: hook\n", hook("a"), hook("b")),
        ),
        ("one name twice", format!("{}---\n{}", hook("a"), hook("a"))),
        (
            "one id twice",
            format!("{}id: 7\n---\n{}id: 7\n", hook("a"), hook("b")),
        ),
    ];
    let mut printed = String::new();
    for (title, text) in broken {
        let site = Site::new();
        site.write("a.yaml", text);
        let faults = site.faults();
        assert!(!faults.is_empty(), "{title}: no fault");
        writeln!(printed, "## {title}\n{faults}").expect("a string");
    }
    insta::assert_snapshot!(printed);
}

/// A few lines that make a million nodes.
fn multiplying_aliases() -> String {
    let mut text = "x-0: &a0 [x, x]\n".to_owned();
    for level in 1..8 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "x-{level}: &a{level} [{inner}]").expect("a string");
    }
    text
}

#[test]
fn documents_without_end_are_refused() {
    for text in [
        with(&format!("env: {}", "[".repeat(50_000))),
        with(&multiplying_aliases()),
        "a: ".repeat(100_000),
    ] {
        let site = Site::new();
        site.write("a.yaml", text);
        assert!(site.check().has_errors());
        assert!(site.check().hooks.is_empty());
    }
}

#[test]
fn what_yaml_allows_is_read() {
    for text in [
        format!("\u{feff}{}", hook("a")),
        hook("a").replace('\n', "\r\n"),
        format!("%YAML 1.2\n---\n{}...\n# the end\n", hook("a")),
        format!("--- # a hook\n{}---\n", hook("a")),
        "{ name: a, \"trigger\": { 'api': { call: any } }, command: ok.sh }".to_owned(),
        with("x-all: &limits { attempts: 3 }\nretry: *limits").replace("name: x", "name: a"),
        with("retry: { <<: { attempts: 3 }, backoff: 1s }").replace("name: x", "name: a"),
    ] {
        let site = Site::new();
        site.write("a.yaml", &text);
        assert_eq!(site.faults(), "", "{text}");
        assert_eq!(site.check().hooks.len(), 1, "{text}");
        assert_eq!(site.check().hooks[0].name.as_str(), "a");
    }
}

#[test]
fn a_test_that_fails_says_why() {
    let failures = |tests: &str| -> Vec<String> {
        let site = Site::new();
        let events = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/opennebula/events");
        site.write(
            "a.yaml",
            with(&format!("arguments: [a, \"$TEMPLATE\"]\ntests: [{{ {tests} }}]")),
        );
        let checked = site.check();
        assert!(!checked.has_errors(), "{}", site.faults());
        let results = trial::run_tests(&checked.hooks[0], &[events], OnehemShell::Auto);
        assert_eq!(results[0].line, 5);
        results.into_iter().flat_map(|result| result.failures).collect()
    };
    assert_eq!(
        failures("event: vm-running.xml, expect: { argv: [ok.sh, a, ...] }"),
        Vec::<String>::new()
    );
    assert_eq!(
        failures("event: vm-running.xml, expect: { argv: [ok.sh, b, ...] }"),
        ["argv[1] is `a` and should be `b`"]
    );
    assert!(failures("event: vm-running.xml, expect: { argv: [ok.sh] }")[0].starts_with("argv has 3 words"));
    assert_eq!(
        failures("event: vm-running.xml, expect: { match: false }"),
        ["the hook matches and should not"]
    );
    assert!(failures("event: vm-poweroff.xml")[0].starts_with("the hook does not match: "));
    assert!(failures("event: nowhere.xml")[0].starts_with("there is no `nowhere.xml`"));
    assert_eq!(failures("event: day.jsonl#9999").len(), 1);
}

#[test]
fn files_that_cannot_be_hook_files_are_refused() {
    let site = Site::new();
    site.write("a.yaml", "#".repeat((1 << 20) + 1));
    site.write("b.yaml", b"name: x\ncommand: \xff\n");
    symlink("nowhere", site.hooks().join("c.yaml")).expect("a link");
    site.write(".hidden.yaml", "nonsense");
    site.write("d.yaml~", "nonsense");
    site.write("e.txt", "nonsense");
    fs::create_dir(site.hooks().join("f.yaml")).expect("a folder");
    insta::assert_snapshot!(site.faults());
}

#[test]
fn commands_are_looked_at() {
    let site = Site::new();
    site.script("plain.sh", "#!/bin/sh\n", 0o644);
    site.script("bare.sh", "echo\n", 0o755);
    site.script("open.sh", "#!/bin/sh\n", 0o777);
    for name in ["plain", "bare", "open"] {
        site.write(
            &format!("{name}.yaml"),
            hook(name).replace("ok.sh", &format!("{name}.sh")),
        );
    }
    insta::assert_snapshot!(
        site.faults()
            .replace(&format!("{}/", site.root.path().display()), "")
    );

    let mut options = site.options();
    options.permissions = Permissions::Lax;
    let checked = check(&site.hooks(), &options).expect("a folder");
    assert!(
        !checked.has_errors(),
        "lax permissions accept files that others may write"
    );
}

#[test]
fn what_others_may_write_is_refused() {
    let site = Site::new();
    site.write("a.yaml", hook("a"));
    fs::set_permissions(site.hooks().join("a.yaml"), PermissionsExt::from_mode(0o664)).expect("a mode");
    assert!(
        site.faults().contains("others may write this file (mode 0664)"),
        "{}",
        site.faults()
    );
    fs::set_permissions(site.hooks(), PermissionsExt::from_mode(0o777)).expect("a mode");
    assert!(
        site.faults().contains("others may write this folder (mode 0777)"),
        "{}",
        site.faults()
    );

    let loaded = site.load(&LastGood::default());
    assert!(loaded.set.is_empty() && loaded.kept.is_some());
}

#[test]
fn opennebulas_words_mean_what_they_mean_in_a_template() {
    let state = |trigger: &str| {
        let site = Site::new();
        site.write("a.yaml", triggered(trigger));
        let checked = site.check();
        assert!(!checked.has_errors(), "{}", site.faults());
        checked.hooks[0].triggers.clone()
    };
    for (on, states) in [
        ("PROLOG", ("ACTIVE", "PROLOG")),
        ("RUNNING", ("ACTIVE", "RUNNING")),
        ("SHUTDOWN", ("ACTIVE", "EPILOG")),
        ("STOP", ("STOPPED", "LCM_INIT")),
        ("DONE", ("DONE", "LCM_INIT")),
        ("UNKNOWN", ("ACTIVE", "UNKNOWN")),
    ] {
        let triggers = state(&format!("{{ state: {{ resource: VM, on: {on} }} }}"));
        let [Trigger::State(trigger)] = triggers.as_slice() else {
            panic!("one state trigger: {triggers:?}")
        };
        assert_eq!(trigger.state, Names::Of(vec![states.0.into()]), "{on}");
        assert_eq!(trigger.lcm_state, Names::Of(vec![states.1.into()]), "{on}");
    }
    assert_eq!(state("{ state: { resource: VM, on: [STOP, DONE] } }").len(), 2);
    let triggers =
        state("{ state: { resource: VM, on: CUSTOM, state: ACTIVE, lcm_state: [BOOT, \"=NEW_STATE\"] } }");
    let Trigger::State(trigger) = &triggers[0] else {
        panic!("a state trigger")
    };
    assert_eq!(
        trigger.lcm_state,
        Names::Of(vec!["BOOT".into(), "NEW_STATE".into()])
    );
    let triggers = state("{ state: { resource: NET, state: UPDATE_FAILURE } }");
    let Trigger::State(trigger) = &triggers[0] else {
        panic!("a state trigger")
    };
    assert!(trigger.state.contains(""), "oned publishes an empty text for it");
    let triggers =
        state("[{ source: zone1, api: { call: any, result: failure } }, { api: { call: one.internal.x } }]");
    assert_eq!(triggers[0].source(), Some("zone1"));
    assert!(
        matches!(&triggers[0], Trigger::Api(api) if api.success == Some(false) && api.call == Names::Any)
    );
}

#[test]
fn triggers_on_hems_own_doings_take_names_lists_and_stars() {
    use hem::event::own::Outcome;
    use hem::hooks::{OwnTrigger, Patterns};

    let own = |trigger: &str| {
        let site = Site::new();
        site.write("a.yaml", triggered(trigger));
        let checked = site.check();
        assert!(!checked.has_errors(), "{}", site.faults());
        match checked.hooks[0].triggers.as_slice() {
            [Trigger::Own(own)] => own.clone(),
            other => panic!("one trigger of hem's own: {other:?}"),
        }
    };
    let of = |patterns: &[&str]| Patterns::Of(patterns.iter().map(|&pattern| pattern.to_owned()).collect());
    assert_eq!(
        own("{ gap: { source: opennebula } }"),
        OwnTrigger::Gap {
            source: of(&["opennebula"])
        }
    );
    assert_eq!(
        own("{ gap: {} }"),
        OwnTrigger::Gap {
            source: Patterns::Any
        }
    );
    assert_eq!(
        own("{ execution: { hook: \"*\", outcome: failed } }"),
        OwnTrigger::Execution {
            hook: of(&["*"]),
            outcomes: vec![Outcome::Failed]
        }
    );
    assert_eq!(
        own("{ execution: { hook: [dns, vm-*], outcome: [skipped, cancelled] } }"),
        OwnTrigger::Execution {
            hook: of(&["dns", "vm-*"]),
            outcomes: vec![Outcome::Skipped, Outcome::Cancelled]
        }
    );
    assert_eq!(
        own("{ execution: { outcome: any } }"),
        OwnTrigger::Execution {
            hook: Patterns::Any,
            outcomes: Outcome::ALL.to_vec()
        }
    );
    assert_eq!(
        own("{ muted: { source: zone1 } }"),
        OwnTrigger::Muted {
            hook: Patterns::Any,
            source: of(&["zone1"])
        }
    );
    assert_eq!(
        own("{ blocked: { hook: any } }"),
        OwnTrigger::Blocked { hook: Patterns::Any }
    );
    let down = |after| OwnTrigger::SourceDown {
        source: Patterns::Any,
        after: std::time::Duration::from_secs(after),
    };
    assert_eq!(own("{ source_down: {} }"), down(60));
    assert_eq!(own("{ source_down: { after: 10m } }"), down(600));
}

#[test]
fn the_onehem_profile_keeps_the_line_and_its_own_defaults() {
    let site = Site::new();
    site.write(
        "a.yaml",
        "name: x\nprofile: onehem\ntrigger: { api: { call: any } }\ncommand: ok.sh\narguments: \"$API  'a b'\"\ntimeout: 30\n",
    );
    let checked = site.check();
    let hook = &checked.hooks[0];
    assert_eq!(hook.profile, Profile::Onehem);
    assert_eq!(hook.action.raw_arguments.as_deref(), Some("$API  'a b'"));
    assert_eq!(hook.action.arguments.len(), 3);
    assert!(matches!(hook.action.arguments[0], Template::CallInfo));
    assert_eq!(
        hook.policy.timeout,
        Some(std::time::Duration::from_secs(30)),
        "seconds, as in a template"
    );
    assert_eq!(hook.policy.retry, None);
}

#[test]
fn a_version_is_the_text_and_the_defaults() {
    let site = Site::new();
    let origin = Origin {
        file: "a.yaml".into(),
        line: 3,
        file_sha256: [0; 32],
    };
    let defaults = site.options().defaults;
    let first = parse_definition(&hook("a"), &origin, &defaults).expect("a hook");
    let again = parse_definition(&first.text, &origin, &defaults).expect("the same hook");
    assert_eq!(first.version, again.version);
    let other_text = parse_definition(&hook("b"), &origin, &defaults).expect("a hook");
    assert_ne!(first.version, other_text.version);
    let other_defaults = Defaults {
        scripts_dir: "/elsewhere".into(),
        ..defaults
    };
    let elsewhere = parse_definition(&hook("a"), &origin, &other_defaults).expect("a hook");
    assert_ne!(first.version, elsewhere.version);
    let faults =
        parse_definition("name: x\ncommand: y\ntriger: 1\n", &origin, &other_defaults).expect_err("a fault");
    assert_eq!(faults[0].line, 5, "lines are those of the file: {}", faults[0]);
}

#[test]
fn good_files_and_the_last_good_text_of_broken_ones_are_in_force() {
    let site = Site::new();
    site.write("a.yaml", hook("a"));
    site.write("b.yaml", format!("{}---\n{}", hook("b1"), hook("b2")));
    let first = site.load(&LastGood::default());
    assert_eq!(names(&first), ["a", "b1", "b2"]);
    assert_eq!(first.kept, None);
    assert!(first.faults.is_empty() && first.stale.is_empty());

    site.write("a.yaml", hook("a2"));
    site.write("b.yaml", format!("{}---\nnam: x\n", hook("b3")));
    let broken = site.load(&first.last_good);
    assert_eq!(
        names(&broken),
        ["a2", "b1", "b2"],
        "a broken file takes no part, not even with its good documents"
    );
    assert_eq!(broken.stale.len(), 1);
    assert_eq!(broken.stale[0].since, Timestamp::from_millis(1_000));

    // What came out goes in again after a restart.
    let restarted = site.load_with(&broken.last_good, |options| {
        options.now = Timestamp::from_millis(9_000)
    });
    assert_eq!(names(&restarted), ["a2", "b1", "b2"]);
    assert_eq!(
        restarted.stale[0].since,
        Timestamp::from_millis(1_000),
        "stale since the first time"
    );

    site.write("b.yaml", hook("b4"));
    let cured = site.load(&restarted.last_good);
    assert_eq!(names(&cured), ["a2", "b4"]);
    assert!(cured.stale.is_empty());
    assert_eq!(cured.last_good.files[Path::new("b.yaml")].since_stale, None);
}

#[test]
fn a_broken_new_file_takes_no_part() {
    let site = Site::new();
    site.write("a.yaml", hook("a"));
    site.write("b.yaml", "nonsense");
    let loaded = site.load(&LastGood::default());
    assert_eq!(names(&loaded), ["a"]);
    assert!(loaded.stale.is_empty());
    assert_eq!(
        loaded
            .faults
            .iter()
            .filter(|fault| fault.severity == Severity::Error)
            .count(),
        1
    );

    let strict = site.load_with(&LastGood::default(), |options| options.strict = true);
    assert!(strict.set.is_empty());
    assert!(
        strict
            .kept
            .is_some_and(|reason| reason.contains("--strict-hooks"))
    );
}

#[test]
fn names_that_collide_keep_the_whole_former_set() {
    let site = Site::new();
    site.write("a.yaml", hook("a"));
    site.write("b.yaml", hook("b"));
    let first = site.load(&LastGood::default());
    site.write("b.yaml", hook("b2"));
    site.write("c.yaml", hook("a"));
    let second = site.load(&first.last_good);
    assert_eq!(names(&second), ["a", "b"]);
    assert!(second.kept.is_some());
    assert_eq!(second.last_good, first.last_good);
    let fault = second
        .faults
        .iter()
        .find(|fault| fault.is_error())
        .expect("a fault");
    assert!(fault.file.ends_with("c.yaml"), "{fault}");
    assert!(
        fault
            .hint
            .as_deref()
            .is_some_and(|hint| hint.contains("a.yaml:1:7")),
        "{fault}"
    );
}

#[test]
fn losing_most_hooks_at_once_needs_consent() {
    let site = Site::new();
    for name in ["a", "b", "c", "d"] {
        site.write(&format!("{name}.yaml"), hook(name));
    }
    let first = site.load(&LastGood::default());
    for name in ["a", "b"] {
        fs::remove_file(site.hooks().join(format!("{name}.yaml"))).expect("removed");
    }
    let half = site.load(&first.last_good);
    assert_eq!(names(&half), ["c", "d"], "half may go");

    for name in ["c", "d"] {
        fs::remove_file(site.hooks().join(format!("{name}.yaml"))).expect("removed");
    }
    let emptied = site.load(&half.last_good);
    assert_eq!(names(&emptied), ["c", "d"]);
    assert!(
        emptied
            .kept
            .as_deref()
            .is_some_and(|reason| reason.contains("--accept")),
        "{:?}",
        emptied.kept
    );

    fs::remove_dir(site.hooks()).expect("removed");
    let vanished = site.load(&emptied.last_good);
    assert_eq!(names(&vanished), ["c", "d"]);
    assert!(vanished.kept.is_some());

    let accepted = site.load_with(&vanished.last_good, |options| options.accept = true);
    assert!(accepted.set.is_empty() && accepted.kept.is_none());
    assert!(accepted.last_good.files.is_empty());

    fs::create_dir(site.hooks()).expect("a folder");
    fs::set_permissions(site.hooks(), PermissionsExt::from_mode(0o755)).expect("a mode");
    for name in ["a", "b", "c"] {
        site.write(&format!("{name}.yaml"), hook(name));
    }
    let back = site.load(&accepted.last_good);
    assert_eq!(names(&back), ["a", "b", "c"]);
    for name in ["a", "b"] {
        fs::remove_file(site.hooks().join(format!("{name}.yaml"))).expect("removed");
    }
    let most = site.load(&back.last_good);
    assert_eq!(names(&most), ["a", "b", "c"]);
    assert_eq!(
        names(&site.load_with(&back.last_good, |options| options.accept = true)),
        ["c"]
    );
}

#[test]
fn the_schema_is_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/hook.schema.json");
    let checked_in: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(path).expect("a schema")).expect("JSON");
    assert!(
        checked_in == json_schema(),
        "the hook forms changed: run `hem schema > docs/schema/hook.schema.json`"
    );
}

/// All hook files of the project are free of faults, and their tests pass.
#[test]
fn the_examples_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![("hooks.d".into(), "examples/opennebula/scripts".into())];
    folders.extend(
        ["opennebula", "webhook", "esc", "masakari", "ncmp", "own"].map(|system| {
            (
                format!("examples/{system}/hooks"),
                format!("examples/{system}/scripts"),
            )
        }),
    );
    for (folder, scripts) in folders {
        let scripts = root.join(scripts);
        let options = CheckOptions {
            defaults: Defaults {
                scripts_dir: scripts.clone(),
                onehem_scripts_dir: scripts,
                remote_scripts_dir: "/var/tmp/one/hooks".into(),
                catch_up: false,
            },
            // What mode a checkout has is not the examples' fault.
            permissions: Permissions::Lax,
        };
        let checked = check(&root.join(&folder), &options).expect("a folder");
        let faults: Vec<String> = checked.faults.iter().map(ToString::to_string).collect();
        assert_eq!(faults, Vec::<String>::new());
        assert!(
            checked.hooks.iter().any(|hook| !hook.tests.is_empty()),
            "{folder}"
        );
        for hook in &checked.hooks {
            for result in trial::run_tests(hook, &[], OnehemShell::Auto) {
                assert!(result.passed(), "{}: {result:?}", hook.name);
            }
        }
    }
}

/// What the reference shows on one line works.
#[test]
fn the_reference_is_right() {
    let reference = include_str!("../docs/hooks.md");
    let mut tried = 0;
    for line in reference.lines() {
        let Some((attribute, value)) = line.split_once(": ") else {
            continue;
        };
        let text = match attribute {
            "trigger" => triggered(value),
            "when" | "arguments" | "retry" | "throttle" | "debounce" | "overlap" | "loop_guard"
            | "breaker" => with(line),
            _ => continue,
        };
        let site = Site::new();
        site.write("a.yaml", text);
        assert!(!site.check().has_errors(), "{line}: {}", site.faults());
        tried += 1;
    }
    assert!(tried > 20, "{tried}");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(
        noise in "\\PC{0,120}",
        yaml in "((name|trigger|state|on|command|arguments|when|retry|- |\\{|\\}|\\[|\\]|: |, |\n|  |x|'|\"|&a|\\*a|\\||true|5s|---\n|\t|\\$\\{\\{|<<){1,1}){0,60}",
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
    ) {
        let site = Site::new();
        site.write("noise.yaml", noise);
        site.write("yaml.yaml", yaml);
        site.write("bytes.yaml", bytes);
        for fault in site.check().faults {
            let _ = fault.to_string();
        }
    }

    #[test]
    fn a_mutilated_hook_never_panics(cut in 0usize..2000, length in 0usize..40, insert in "\\PC{0,6}") {
        let whole = include_str!("../examples/opennebula/hooks/every-attribute.yaml");
        let start = whole.floor_char_boundary(cut.min(whole.len()));
        let end = whole.floor_char_boundary((start + length).min(whole.len()));
        let site = Site::new();
        site.write("a.yaml", format!("{}{insert}{}", &whole[..start], &whole[end.max(start)..]));
        for fault in site.check().faults {
            let _ = fault.to_string();
        }
    }
}
