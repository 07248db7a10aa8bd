//! Keeps the house in order: which room may name what, how long files are, and that the documents agree with the code.
//!
//! `docs/ARCHITECTURE.md` gives the reason for each rule. A rule that no longer serves is changed there and here together.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod named_paths;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use hem::config::{Config, Place};

use crate::named_paths::{module_of, named};

/// Which other rooms a room may name. Whoever begins with `crate::engine::intake` stands for that one module of a room.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("expression", &["event"]),
    ("matching", &["event", "expression", "hooks"]),
    ("runner", &[]),
    ("kill_point", &[]),
    ("file_stamp", &[]),
    ("repeats", &[]),
    ("watched", &["file_stamp", "repeats"]),
    ("quantity", &[]),
    ("config", &["event", "expression", "quantity"]),
    ("listener", &["config", "watched"]),
    ("secrets", &["config", "event", "watched"]),
    ("http_client", &["config"]),
    ("keystone", &["config", "event", "http_client", "secrets"]),
    ("oned", &["config", "event", "http_client"]),
    (
        "hooks",
        &["config", "event", "expression", "matching", "quantity", "runner"],
    ),
    (
        "sources",
        &[
            "config",
            "engine::bookmark",
            "engine::catch_up",
            "engine::intake",
            "engine::outbox",
            "engine::pool",
            "engine::records",
            "engine::role",
            "engine::seek",
            "event",
            "file_stamp",
            "http_client",
            "keystone",
            "listener",
            "oned",
            "repeats",
            "secrets",
            "watched",
        ],
    ),
    (
        "store",
        &[
            "config",
            "engine::core",
            "engine::execution",
            "engine::bookmark",
            "engine::known_states",
            "engine::outbox",
            "engine::mute",
            "event",
            "hooks",
            "kill_point",
            "runner",
        ],
    ),
    (
        "engine",
        &[
            "config",
            "event",
            "hooks",
            "kill_point",
            "matching",
            "runner",
            "store",
        ],
    ),
    (
        "control",
        &[
            "config",
            "engine::execution",
            "engine::handle",
            "engine::mute",
            "event",
            "hooks",
            "listener",
            "matching",
            "repeats",
            "runner",
            "store",
            "watched",
        ],
    ),
    (
        "daemon",
        &["config", "control", "engine", "event", "oned", "sources", "store"],
    ),
    (
        "cli",
        &[
            "config",
            "control",
            "event",
            "hooks",
            "http_client",
            "matching",
            "oned",
            "quantity",
            "runner",
            "sources::esc::netconf::probe",
            "sources::ncmp::kafka::producer",
            "sources::opennebula::probe",
            "sources::opennebula::publisher",
            "sources::opennebula::zmtp::Endpoint",
        ],
    ),
];

/// What single files may name besides.
const FILE_MAY_NAME: &[(&str, &str)] = &[
    // The two commands that are a daemon; the demo asks its own one directly.
    ("cli/run.rs", "daemon"),
    ("cli/service.rs", "daemon"),
    ("cli/demo.rs", "daemon"),
    ("cli/demo.rs", "engine::execution"),
    ("cli/demo.rs", "engine::handle"),
    ("cli/demo.rs", "store::EventQuery"),
    ("cli/demo.rs", "store::ExecutionQuery"),
    // `--offline`: reads the store where no daemon is alive.
    ("cli/backend.rs", "store"),
    // Works on a store that no daemon could open.
    ("cli/store.rs", "store::salvage"),
];

/// Libraries that one room hides from the others.
const HIDDEN: &[(&str, &[&str])] = &[
    ("sled", &["store"]),
    ("lz4_flex", &["store"]),
    ("cel", &["expression"]),
    ("uppsala", &["event"]),
    ("axum", &["control"]),
    ("hyper", &["control", "http_client", "listener"]),
    ("hyper_util", &["control", "http_client", "listener"]),
    ("tokio_rustls", &["http_client", "listener"]),
    ("bcrypt", &["sources::masakari::authentication"]),
    ("md5", &["sources::masakari::authentication"]),
    (
        "hmac",
        &[
            "secrets",
            "sources::esc::netconf::ssh",
            "sources::webhook",
            "sources::masakari",
        ],
    ),
    (
        "sha1",
        &[
            "sources::esc::netconf::ssh",
            "sources::webhook",
            "sources::masakari",
        ],
    ),
    ("prometheus_client", &["control::metrics"]),
    ("notify", &["hooks::watch"]),
    ("serde_saphyr", &["hooks", "config"]),
    ("socket2", &["listener", "sources::opennebula::zmtp"]),
    ("clap", &["cli", "config"]),
    ("comfy_table", &["cli"]),
    ("indicatif", &["cli"]),
    ("sd_notify", &["cli::service"]),
    ("russh", &["sources::esc::netconf"]),
    ("rdkafka", &["sources::ncmp::kafka"]),
    ("zeromq", &[]),
];

/// Rooms that decide and do nothing, and what they therefore never name.
const PURE: &[&str] = &[
    "matching",
    "expression",
    "quantity",
    "engine::core",
    "engine::execution",
    "engine::mute",
    "event::opennebula",
    "event::document",
    "event::payload",
    "event::redaction",
    "hooks::compile",
    "hooks::invocation",
    "hooks::policies",
    "hooks::pool",
    "hooks::onehook",
    "hooks::trigger",
    "hooks::command_line",
    "sources::opennebula::zmtp::codec",
    "oned::xmlrpc",
    "keystone::answer",
    "sources::masakari::authentication::htpasswd",
    "sources::masakari::poll::ledger",
    "sources::esc::netconf::deployments",
    "sources::esc::netconf::framing",
    "sources::esc::netconf::hello",
    "sources::esc::netconf::inquiry",
    "sources::esc::netconf::ledger",
    "sources::esc::netconf::reply",
    "sources::esc::netconf::request",
    "sources::esc::netconf::session",
    "sources::esc::netconf::ssh::known_hosts",
    "sources::esc::netconf::streams",
];
const IMPURE: &[&str] = &[
    "tokio",
    "tokio_util",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
    "std::time::Instant",
    "std::time::SystemTime",
    "Timestamp::now",
    "fastrand::Rng::new",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder whose names end so, sorted.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with('.') || name == "target");
            if path.is_dir() && !hidden {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// A source file that is part of the program, and what it names.
struct Source {
    /// Below `src`.
    file: PathBuf,
    text: String,
    /// Without `crate`.
    module: String,
    paths: Vec<Vec<String>>,
}

impl Source {
    fn read(file: &Path, text: String) -> (Self, Vec<PathBuf>) {
        let module = module_of(file);
        let named = named(&text, &module);
        let folder = if file
            .file_stem()
            .is_some_and(|stem| stem == "mod" || stem == "lib")
        {
            file.parent().expect("a folder").to_owned()
        } else {
            file.with_extension("")
        };
        let of_tests = named
            .test_modules
            .iter()
            .flat_map(|name| {
                [
                    folder.join(format!("{name}.rs")),
                    folder.join(name).join("mod.rs"),
                ]
            })
            .collect();
        let source = Self {
            file: file.to_owned(),
            text,
            module: module[1..].join("::"),
            paths: named.paths,
        };
        (source, of_tests)
    }
}

/// The program's source files, those of its tests left out.
fn program() -> Vec<Source> {
    let folder = root().join("src");
    let mut sources = Vec::new();
    let mut of_tests = BTreeSet::new();
    for path in files(&folder, "rs") {
        let below = path.strip_prefix(&folder).expect("below src");
        let (source, tests) = Source::read(below, fs::read_to_string(&path).expect("a text"));
        sources.push(source);
        of_tests.extend(tests);
    }
    sources.retain(|source| !of_tests.contains(&source.file));
    assert!(sources.len() > 50, "the sources are where they are looked for");
    sources
}

/// Whether `path` lies in `place` or is it; both in segments joined by `::`.
fn is_in(path: &str, place: &str) -> bool {
    path.strip_prefix(place)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a path names `place`, something in it, or all of what holds it.
fn names(path: &[String], place: &str) -> bool {
    let path = path.join("::");
    let suffix_of_type = place.starts_with(char::is_uppercase) && path.ends_with(place);
    is_in(&path, place)
        || suffix_of_type
        || path
            .strip_suffix("::*")
            .is_some_and(|folder| is_in(place, folder) && folder != place)
}

/// Paths of one file that its room may not name.
fn strangers(source: &Source) -> Vec<String> {
    let room = source.module.split("::").next().unwrap_or_default();
    let Some((_, allowed)) = MAY_NAME.iter().find(|(name, _)| *name == room) else {
        // The crate's root declares all rooms and main starts the command line.
        return match room {
            "" => Vec::new(),
            unknown => vec![format!("the room `{unknown}` has no rule")],
        };
    };
    let file = source.file.to_string_lossy();
    let besides = FILE_MAY_NAME
        .iter()
        .filter(|(name, _)| *name == file)
        .map(|(_, place)| *place);
    let allowed: Vec<&str> = allowed.iter().copied().chain([room]).chain(besides).collect();
    source
        .paths
        .iter()
        .filter(|path| path.first().is_some_and(|first| first == "crate"))
        .filter(|path| {
            let inside = path[1..].join("::");
            !allowed.iter().any(|place| is_in(&inside, place))
        })
        .map(|path| path.join("::"))
        .collect()
}

fn impurities(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|place| is_in(&source.module, place)) {
        return Vec::new();
    }
    source
        .paths
        .iter()
        .filter(|path| IMPURE.iter().any(|place| names(path, place)))
        .map(|path| path.join("::"))
        .collect()
}

fn uncovered_libraries(source: &Source) -> Vec<String> {
    source
        .paths
        .iter()
        .filter(|path| {
            HIDDEN.iter().any(|(library, rooms)| {
                path[0] == *library && !rooms.iter().any(|room| is_in(&source.module, room))
            })
        })
        .map(|path| path.join("::"))
        .collect()
}

/// Asserts that a rule finds nothing in the program; lists all it finds.
fn nothing_in_the_program(rule: impl Fn(&Source) -> Vec<String>, what: &str) {
    let found: Vec<String> = program()
        .iter()
        .flat_map(|source| {
            let found: BTreeSet<String> = rule(source).into_iter().collect();
            found
                .into_iter()
                .map(|name| format!("src/{}: {name}", source.file.display()))
        })
        .collect();
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn every_room_names_only_the_rooms_it_may_know() {
    nothing_in_the_program(strangers, "a room names another one that it must not know");
}

#[test]
fn what_decides_names_no_clock_no_disk_and_no_runtime() {
    nothing_in_the_program(impurities, "a pure room names something that is not");
}

#[test]
fn a_library_is_named_only_in_the_room_that_hides_it() {
    nothing_in_the_program(uncovered_libraries, "a library is named outside its room");
}

#[test]
fn the_commands_way_to_a_daemon_is_the_control_socket_alone() {
    let client_knows = |source: &Source| {
        if source.module != "control::client" {
            return Vec::new();
        }
        source
            .paths
            .iter()
            .filter(|path| {
                ["crate::engine", "crate::store", "crate::sources"]
                    .iter()
                    .any(|place| names(path, place))
            })
            .map(|path| path.join("::"))
            .collect()
    };
    nothing_in_the_program(
        client_knows,
        "the client of the control socket knows more than the socket",
    );
}

fn faults_of_form(file: &Path, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = text.lines().count();
    if lines > 900 {
        faults.push(format!("{lines} lines; 900 are the most"));
    }
    if !text.starts_with("//! ") {
        faults.push("does not begin with the duty of the module (`//! …`)".to_owned());
    }
    for part in file.with_extension("").iter() {
        if matches!(
            part.to_string_lossy().as_ref(),
            "util" | "utils" | "common" | "helper" | "helpers" | "manager" | "misc"
        ) {
            faults.push(format!("the name `{}` says nothing", part.display()));
        }
    }
    faults
}

#[test]
fn every_file_has_one_duty_and_says_it() {
    nothing_in_the_program(
        |source| match source.file.to_string_lossy().as_ref() {
            "main.rs" => Vec::new(),
            _ => faults_of_form(&source.file, &source.text),
        },
        "a file does not keep the form",
    );
    for path in files(&root().join("tests"), "rs") {
        let text = fs::read_to_string(&path).expect("a text");
        assert!(
            text.starts_with("//! "),
            "{} does not say its duty",
            path.display()
        );
    }
}

/// The crates of `[dependencies]` and `[dev-dependencies]`.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_section = false;
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            in_section = matches!(
                section.trim_end_matches(']'),
                "dependencies" | "dev-dependencies" | "build-dependencies"
            );
        } else if let (true, Some((name, _))) = (in_section, line.split_once('='))
            && !line.starts_with(['#', ' '])
        {
            found.insert(name.trim().to_owned());
        }
    }
    found
}

/// The crates in the first column of the tables under the heading `Dependencies`.
fn described_dependencies(readme: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut in_section = false;
    for line in readme.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            in_section = heading == "Dependencies";
        } else if let (true, Some(row)) = (in_section, line.strip_prefix('|')) {
            let first = row.split('|').next().unwrap_or_default();
            found.extend(first.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

#[test]
fn the_readme_describes_exactly_the_dependencies_there_are() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (there, described) = (dependencies(&manifest), described_dependencies(&readme));
    assert!(there.len() > 10, "the manifest was read");
    let missing: Vec<_> = there.difference(&described).collect();
    let stale: Vec<_> = described.difference(&there).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "README.md does not describe {missing:?}, and describes {stale:?}, which are not in Cargo.toml"
    );
}

#[test]
fn the_changelog_has_the_version_that_is_built() {
    let changelog = fs::read_to_string(root().join("CHANGELOG.md")).expect("a changelog");
    let heading = format!("## [{}]", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.lines().any(|line| line.starts_with(&heading)),
        "CHANGELOG.md has no `{heading}`"
    );
}

/// The anchor that a heading has where Markdown is shown as a page.
fn anchor(heading: &str) -> String {
    heading
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

/// A text's lines outside of fenced code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| {
            line.split("](")
                .skip(1)
                .filter_map(|rest| rest.split_once(')'))
                .map(|(target, _)| target.to_owned())
        })
        .collect()
}

fn broken_links(file: &Path, text: &str) -> Vec<String> {
    links(text)
        .into_iter()
        .filter(|link| {
            !["http://", "https://", "mailto:"]
                .iter()
                .any(|scheme| link.starts_with(scheme))
        })
        .filter(|link| {
            let (target, heading) = link
                .split_once('#')
                .map_or((link.as_str(), None), |(a, b)| (a, Some(b)));
            let path = match target {
                "" => file.to_owned(),
                target => file.parent().expect("a folder").join(target),
            };
            let has_heading = |heading: &str| {
                let text = fs::read_to_string(&path).unwrap_or_default();
                prose(&text).any(|line| {
                    line.starts_with('#') && anchor(line.trim_start_matches('#').trim()) == heading
                })
            };
            !path.exists() || !heading.is_none_or(has_heading)
        })
        .collect()
}

#[test]
fn links_between_documents_lead_somewhere() {
    let broken: BTreeMap<String, Vec<String>> = files(root(), "md")
        .into_iter()
        .map(|file| {
            let text = fs::read_to_string(&file).expect("a text");
            let broken = broken_links(&file, &text);
            (file.display().to_string(), broken)
        })
        .filter(|(_, broken)| !broken.is_empty())
        .collect();
    assert!(broken.is_empty(), "links lead nowhere: {broken:#?}");
}

/// The tests that `docs/ARCHITECTURE.md` and the other documents name, as `tests/file.rs::test`, are there.
#[test]
fn tests_that_documents_name_are_there() {
    let mut named = 0;
    for file in files(root(), "md") {
        let text = fs::read_to_string(&file).expect("a text");
        for quoted in text.split('`').skip(1).step_by(2) {
            let Some((path, test)) = quoted.split_once(".rs::") else {
                continue;
            };
            named += 1;
            let path = root().join(format!("{path}.rs"));
            let code = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                code.contains(&format!("fn {test}(")),
                "{} names `{quoted}`, which is not there",
                file.display()
            );
        }
    }
    assert!(named > 5, "the documents name tests");
}

/// A configuration with the settings that it shows in comments: all of them, or those that are said to be defaults.
fn with_what_it_shows(text: &str, with_examples: bool) -> String {
    let mut is_example = false;
    let mut shown = String::new();
    for line in text.lines() {
        let blanks = &line[..line.len() - line.trim_start().len()];
        let comment = line.trim_start().strip_prefix("# ");
        let is_setting = |words: &str| {
            let name = words
                .split_whitespace()
                .next()
                .and_then(|word| word.strip_suffix(':'));
            name.is_some_and(|name| {
                name.chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter == '_')
            })
        };
        match comment {
            Some(setting) if is_setting(setting) => {
                if with_examples || !is_example {
                    shown += &format!("{blanks}{setting}\n");
                }
                continue;
            }
            Some(words) => is_example = words.contains("for example"),
            None => is_example &= !line.is_empty(),
        }
        shown += &format!("{line}\n");
    }
    shown
}

/// The first configurations that are installed can be read, as they are and with everything that they only show; and what they show
/// as a default is the default.
#[test]
fn the_packaged_configurations_show_defaults_and_examples_that_work() {
    let place = Place {
        root: true,
        ..Place::default()
    };
    for name in ["packaging/hem.yaml", "packaging/opennebula/hem.yaml"] {
        let text = fs::read_to_string(root().join(name)).expect("a configuration");
        let read = |text: &str| match Config::from_text(text, Path::new("/etc/hem/hem.yaml"), &place) {
            Ok(config) => config,
            Err(error) => panic!("{name} cannot be read: {error}\n{text}"),
        };
        let (defaults, all) = (with_what_it_shows(&text, false), with_what_it_shows(&text, true));
        assert_ne!(defaults, text, "{name} shows defaults");
        assert_eq!(read(&defaults), read(&text), "{name}: what it shows as a default");
        let all = read(&all);
        if name == "packaging/hem.yaml" {
            assert!(
                all.control.tcp.is_some() && all.oned.is_some(),
                "{name} shows sections"
            );
            assert_eq!(all.sources.len(), 5, "{name} shows a source of each type");
        }
    }
}

/// The rules above can fail: each is shown something that breaks it.
mod the_rules_can_fail {
    use super::*;

    fn source(file: &str, text: &str) -> Source {
        Source::read(Path::new(file), text.to_owned()).0
    }

    #[test]
    fn a_room_that_names_a_stranger_is_found_however_it_does_it() {
        for (file, text) in [
            ("matching/mod.rs", "use crate::store::Store;"),
            (
                "matching/mod.rs",
                "use crate::{event::Event, store::{self, Definition as D}};",
            ),
            ("matching/mod.rs", "fn f(s: &crate::store::Store) {}"),
            ("matching/mod.rs", "fn f() { let _ = super::store::Store::open; }"),
            ("matching/index.rs", "use super::super::runner::Outcome;"),
            ("matching/index.rs", "use crate::*;"),
            ("matching/index.rs", "use crate as house;"),
            (
                "runner/start.rs",
                "/* crate::hooks */ type E = crate::event::Event;",
            ),
            ("sources/opennebula/mod.rs", "use crate::engine::handle::Handle;"),
            ("sources/opennebula/mod.rs", "use crate::engine;"),
            ("cli/log.rs", "use crate::store::Store;"),
            ("cli/log.rs", "use crate::engine::handle::Handle;"),
            ("cli/service.rs", "use crate::engine::handle::Handle;"),
            ("hooks/trial.rs", "use crate::sources::opennebula;"),
            ("cli/publish.rs", "use crate::sources::opennebula::zmtp::Session;"),
            ("control/server.rs", "use crate::engine::core::Core;"),
            ("cellar/mod.rs", "fn f() {}"),
        ] {
            assert!(!strangers(&source(file, text)).is_empty(), "{file}: {text}");
        }
    }

    #[test]
    fn what_is_allowed_is_not_reported() {
        for (file, text) in [
            (
                "matching/mod.rs",
                "use crate::hooks::Hook; // not crate::store::Store",
            ),
            (
                "matching/mod.rs",
                "const S: &str = \"crate::store::Store\"; const C: char = '\"';",
            ),
            (
                "matching/mod.rs",
                "const S: &str = r#\"a \" crate::store::Store\"#; const B: u8 = b'\\'';",
            ),
            (
                "matching/mod.rs",
                "/* a /* nested */ crate::store::Store */ fn f<'a>(x: &'a str) {}",
            ),
            (
                "matching/mod.rs",
                "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() { {} } }",
            ),
            (
                "matching/mod.rs",
                "#[cfg(test)]\n#[allow(x)] use crate::store::Store;",
            ),
            (
                "matching/index.rs",
                "pub(crate) struct A; pub(super) struct B; use super::explanation::X;",
            ),
            (
                "sources/opennebula/mod.rs",
                "use crate::engine::intake::{Intake, Received};",
            ),
            ("cli/run.rs", "use crate::daemon::{self, Options};"),
            (
                "cli/publish.rs",
                "use crate::sources::opennebula::zmtp::Endpoint;",
            ),
        ] {
            assert_eq!(
                strangers(&source(file, text)),
                Vec::<String>::new(),
                "{file}: {text}"
            );
        }
    }

    #[test]
    fn a_pure_room_that_looks_at_the_clock_the_disk_or_the_runtime_is_found() {
        for (file, text) in [
            ("matching/index.rs", "fn f() { tokio::spawn(async {}); }"),
            ("matching/index.rs", "#[tokio::test] async fn f() {}"),
            ("engine/core.rs", "use std::time::{Duration, Instant};"),
            ("engine/core.rs", "use std::time::*;"),
            ("engine/core.rs", "use std::{fs, io};"),
            ("engine/core.rs", "fn f() { let now = Timestamp::now(); }"),
            (
                "engine/core.rs",
                "fn f() { let now = crate::event::time::Timestamp::now(); }",
            ),
            ("hooks/invocation/environment.rs", "fn f() { std::env::vars(); }"),
        ] {
            assert!(!impurities(&source(file, text)).is_empty(), "{file}: {text}");
        }
        assert!(impurities(&source("engine/core.rs", "use std::time::Duration;")).is_empty());
        assert!(impurities(&source("engine/clock.rs", "use std::time::Instant;")).is_empty());
    }

    #[test]
    fn a_library_outside_its_room_is_found() {
        for (file, text) in [
            ("engine/dispatcher.rs", "fn f(db: &sled::Db) {}"),
            ("engine/dispatcher.rs", "use sled;"),
            ("cli/show.rs", "use ::sled::Db;"),
            ("cli/show.rs", "fn f(db: &mut ::sled::Db) {}"),
            ("hooks/folder.rs", "use notify::Watcher;"),
            ("sources/opennebula/mod.rs", "use zeromq::SubSocket;"),
        ] {
            assert!(
                !uncovered_libraries(&source(file, text)).is_empty(),
                "{file}: {text}"
            );
        }
        assert!(uncovered_libraries(&source("store/open.rs", "use sled::Config;")).is_empty());
    }

    #[test]
    fn a_file_that_is_long_silent_or_nameless_is_found() {
        let long = format!("//! Long.\n{}", "\n".repeat(900));
        assert_eq!(faults_of_form(Path::new("a/b.rs"), &long).len(), 1);
        assert_eq!(faults_of_form(Path::new("a/b.rs"), "use x;").len(), 1);
        assert_eq!(faults_of_form(Path::new("utils/b.rs"), "//! A duty.").len(), 1);
        assert_eq!(faults_of_form(Path::new("a/b.rs"), "//! A duty.").len(), 0);
    }

    #[test]
    fn test_modules_in_files_of_their_own_are_known() {
        let (_, of_tests) = Source::read(Path::new("a/mod.rs"), "#[cfg(test)]\nmod tests;".to_owned());
        assert_eq!(of_tests[0], Path::new("a/tests.rs"));
        let (_, of_tests) = Source::read(Path::new("a/b.rs"), "#[cfg(test)]\nmod tests;".to_owned());
        assert_eq!(of_tests[0], Path::new("a/b/tests.rs"));
    }

    #[test]
    fn a_dependency_that_is_missing_or_stale_is_found() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\na = \"1\"\n# c = \"1\"\nb-c = { version = \"1\" }\n[dev-dependencies]\nd = \"1\"\n[lints.rust]\ne = \"warn\"";
        let readme = "| `z` | no |\n## Dependencies\n| crate | why |\n|---|---|\n| `a`, `b-c` | because of `q` |\n## More\n| `y` | no |";
        assert_eq!(
            dependencies(manifest),
            ["a", "b-c", "d"].map(str::to_owned).into()
        );
        assert_eq!(
            described_dependencies(readme),
            ["a", "b-c"].map(str::to_owned).into()
        );
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        let here = root().join("README.md");
        let text = "# A heading: `x`\n[a](Cargo.toml) [b](nothing.md) [c](#a-heading-x) [d](#none) [e](https://x)\n```\n[f](no.md)\n```";
        // The anchors are looked for in the file itself, which has other headings.
        assert_eq!(broken_links(&here, text), ["nothing.md", "#a-heading-x", "#none"]);
        assert_eq!(anchor("A heading: `x`"), "a-heading-x");
    }
}
