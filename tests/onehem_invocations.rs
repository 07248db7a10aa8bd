//! Hooks of both profiles, from their files to what is started, against what `onehem-server` started for the same events.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod recorded;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hem::config::Permissions;
use hem::event::id::{ExecutionKey, Seq, StoreId};
use hem::event::opennebula::read;
use hem::event::payload::Payload;
use hem::event::time::Timestamp;
use hem::event::{Event, Kind};
use hem::hooks::Defaults;
use hem::hooks::check::{CheckOptions, check};
use hem::hooks::invocation::{AttemptFacts, OnehemShell, invocation};
use hem::runner::ssh::Ssh;
use hem::runner::{Invocation, Stdin};
use recorded::{Passed, canonical};

const SCRIPT: &str = "dump.py";

/// What of a recorded run is said in a hook's file.
struct Declared {
    /// `$API` or `$TEMPLATE`, then the literal words.
    words: Vec<String>,
    /// Whether the arguments went to standard input: then the command that was reported has none.
    stdin: bool,
}

impl Declared {
    fn of(run: &Passed, kind: Kind) -> Self {
        let element = match kind {
            Kind::Api => "$API",
            Kind::State => "$TEMPLATE",
            other => panic!("no hook runs for {other:?}"),
        };
        let encoded = STANDARD.encode(&run.argument_xml);
        let words = run.arguments.split(' ').map(|word| {
            if word == encoded {
                element.to_owned()
            } else {
                word.to_owned()
            }
        });
        Self {
            words: words.collect(),
            stdin: !run.reply.contains(&format!(" {}</COMMAND>", run.arguments)),
        }
    }

    fn file(&self, profile: &str) -> String {
        let arguments = match profile {
            // As ARGUMENTS stands in a template: one line.
            "onehem" => serde_json::Value::from(self.words.join(" ")),
            _ => serde_json::Value::from(self.words.clone()),
        };
        format!(
            "name: recorded\nprofile: {profile}\ntrigger:\n  - state: {{ resource: VM, state: any }}\n  \
             - api: {{ call: any }}\ncommand: {SCRIPT}\narguments: {arguments}\narguments_stdin: {}\n",
            self.stdin
        )
    }
}

fn event(run: &Passed) -> Event {
    let reading = read(&run.event.key, &run.event.content);
    Event {
        seq: Seq(1),
        source: "opennebula".into(),
        key: run.event.key.clone(),
        subject: None,
        received: Timestamp::default(),
        facts: reading.facts,
        ambiguous: reading.ambiguous,
        synthesised: false,
        payload: Payload::new(run.event.content.clone()),
    }
}

/// What would be started for the event by the hook in that file.
fn started(file: &str, event: &Event) -> Invocation {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text, mode) in [("hook.yaml", file, 0o644), (SCRIPT, "#!/bin/sh\n", 0o755)] {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
    }
    let options = CheckOptions {
        defaults: Defaults {
            scripts_dir: folder.path().to_owned(),
            onehem_scripts_dir: folder.path().to_owned(),
            remote_scripts_dir: "/var/tmp/one/hooks".into(),
            catch_up: false,
        },
        permissions: Permissions::Lax,
    };
    let checked = check(&folder.path().join("hook.yaml"), &options).expect("a file");
    let [hook] = checked.hooks.as_slice() else {
        panic!("{file}\n{:?}", checked.faults);
    };
    let instance: StoreId = "test".parse().expect("a store id");
    let execution = ExecutionKey::new(event.seq, hook.name.clone());
    let facts = AttemptFacts {
        instance: &instance,
        execution: &execution,
        attempt: 1,
        daemon_environment: &[],
        shell: OnehemShell::Auto,
        ssh: &Ssh::default(),
    };
    let mut invocation = invocation(hook, event, &facts).expect("an invocation");
    invocation.program = invocation
        .program
        .strip_prefix(folder.path())
        .map_or_else(|_| invocation.program.clone(), Path::to_owned);
    invocation
}

/// The words on the command line, or the one text on standard input.
fn given(invocation: &Invocation, stdin: bool, run: &Passed) -> Vec<String> {
    assert_eq!(
        invocation.program,
        Path::new(SCRIPT),
        "no shell: {}",
        run.event.key
    );
    if stdin {
        assert!(invocation.arguments.is_empty(), "{}", run.event.key);
        let Stdin::Bytes(bytes) = &invocation.stdin else {
            panic!("nothing on standard input: {}", run.event.key);
        };
        return vec![String::from_utf8(bytes.to_vec()).expect("UTF-8")];
    }
    assert_eq!(invocation.stdin, Stdin::Empty, "{}", run.event.key);
    invocation
        .arguments
        .iter()
        .map(|word| word.to_str().expect("UTF-8").to_owned())
        .collect()
}

#[test]
fn hooks_of_the_onehem_profile_get_byte_for_byte_what_onehem_passed() {
    let (mut on_line, mut on_stdin) = (0, 0);
    for run in recorded::passed() {
        let event = event(&run);
        let declared = Declared::of(&run, event.kind());
        let invocation = started(&declared.file("onehem"), &event);
        let given = given(&invocation, declared.stdin, &run);
        if declared.stdin {
            on_stdin += 1;
            assert_eq!(given, [run.arguments.as_str()], "{}", run.event.key);
        } else {
            on_line += 1;
            let passed: Vec<&str> = run.arguments.split(' ').collect();
            assert_eq!(given, passed, "{}", run.event.key);
        }
    }
    assert_eq!((on_line, on_stdin), (19, 40));
}

#[test]
fn hooks_of_the_hem_profile_get_the_same_document_as_received() {
    for run in recorded::passed() {
        let event = event(&run);
        let declared = Declared::of(&run, event.kind());
        let invocation = started(&declared.file("hem"), &event);
        let given = given(&invocation, declared.stdin, &run).join(" ");
        let mut words = given.split(' ');
        let document = STANDARD.decode(words.next().expect("a word")).expect("base64");
        assert_eq!(
            canonical(&document),
            canonical(run.argument_xml.as_bytes()),
            "{}",
            run.event.key
        );
        let content = std::str::from_utf8(&run.event.content).expect("UTF-8");
        let document = std::str::from_utf8(&document).expect("UTF-8");
        assert!(content.contains(document), "not as received: {}", run.event.key);
        assert!(words.eq(declared.words.iter().skip(1)), "{}", run.event.key);
    }
}
