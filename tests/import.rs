//! OpenNebula's hooks and the configuration of onehem-server, taken over by `hem import` and `hem run --onehem-conf`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod oned_stand_in;
mod peers;
mod recorded;
mod service;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use daemon::House;
use hem::event::opennebula::{hook_pool, parsed_call};
use hem::event::payload::Payload;
use hem::hooks::onehook::{Onehook, Use, declare_all};
use hem::hooks::{Defaults, Origin, Profile, parse_definition};
use oned_stand_in::Oned;
use serde_json::Value;
use service::{Said, Service, configure, said};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/onehook")
        .join(name)
}

/// A folder to import into, and `hem` as somebody would call it there, without any configuration of this machine.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::write(desk.path("hem.yaml"), "").expect("a file");
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hem"));
        command
            .current_dir(self.folder.path())
            .env("HEM_CONFIG", self.path("hem.yaml"))
            .env("HOME", self.folder.path())
            .env_remove("ONE_LOCATION")
            .env_remove("ONE_XMLRPC")
            .env_remove("ONE_AUTH")
            .args(arguments);
        command
    }

    async fn hem(&self, arguments: &[&str]) -> Said {
        said(self.command(arguments)).await
    }

    /// `hem import` of these fixtures with these options.
    async fn import(&self, fixtures: &[&str], options: &[&str]) -> Said {
        let files: Vec<String> = fixtures
            .iter()
            .map(|name| fixture(name).display().to_string())
            .collect();
        let mut arguments = vec!["import"];
        arguments.extend(files.iter().map(String::as_str));
        arguments.extend(options);
        self.hem(&arguments).await
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("a file")
    }

    /// What stands in the folder of hooks, by name.
    fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.path("hooks.d"))
            .map(|entries| {
                entries
                    .map(|entry| entry.expect("an entry").file_name().display().to_string())
                    .collect()
            })
            .unwrap_or_default();
        names.sort();
        names
    }
}

/// Without what differs from one machine to another.
fn everywhere(text: &str) -> String {
    text.replace(&fixture("").display().to_string(), "")
}

const TEMPLATES: [&str; 5] = [
    "vm-prolog.tmpl",
    "vm-boot-failure.tmpl",
    "host-error.tmpl",
    "vm-allocate.tmpl",
    "own-call.tmpl",
];

#[tokio::test]
async fn templates_become_files_that_hem_check_accepts() {
    let desk = Desk::new();
    let imported = desk.import(&TEMPLATES, &["--out", "hooks.d"]).await;
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    insta::assert_snapshot!(
        "imported_templates_are_told",
        everywhere(&format!("{}--- stderr\n{}", imported.stdout, imported.stderr))
    );
    let files = desk.files();
    assert_eq!(
        files,
        [
            "host-error.yaml",
            "own-call.yaml",
            "vm-allocate.yaml",
            "vm-boot-failure.yaml",
            "vm-prolog.yaml"
        ]
    );
    let texts: Vec<String> = files
        .iter()
        .map(|name| format!("=== {name}\n{}", desk.text(&format!("hooks.d/{name}"))))
        .collect();
    insta::assert_snapshot!("imported_templates", everywhere(&texts.join("\n")));
    for name in &files {
        let mode = fs::metadata(desk.path(&format!("hooks.d/{name}")))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o133, 0, "{name}: {mode:o}");
    }
    let checked = desk.hem(&["check", "hooks.d", "--json"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let checked: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!(checked["hooks"].as_array().map(Vec::len), Some(5), "{checked}");
}

#[tokio::test]
async fn without_a_folder_the_documents_make_one_file() {
    let desk = Desk::new();
    let imported = desk.import(&TEMPLATES, &[]).await;
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    fs::write(desk.path("all.yaml"), &imported.stdout).expect("a file");
    let checked = desk.hem(&["check", "all.yaml", "--json"]).await;
    assert_eq!(checked.code, 0, "{}", checked.stdout);
    let checked: Value = serde_json::from_str(&checked.stdout).expect("JSON");
    assert_eq!(checked["hooks"].as_array().map(Vec::len), Some(5), "{checked}");
}

#[tokio::test]
async fn what_onehook_prints_is_read_and_a_bad_hook_leaves_the_others() {
    let desk = Desk::new();
    // As in `onehook list -x | hem import -`; a command that is waited for has no other standard input.
    let mut command = Command::new("/bin/sh");
    let own = desk.command(&[]);
    command
        .current_dir(desk.folder.path())
        .env("HEM_CONFIG", desk.path("hem.yaml"))
        .args(["-c", "exec \"$1\" import - --out hooks.d <\"$2\"", "sh"])
        .arg(own.get_program())
        .arg(fixture("list.xml"));
    let imported = said(command).await;
    assert_eq!(imported.code, 1);
    assert!(
        imported
            .stderr
            .contains("refused: standard input: hook `broken` cannot be imported: it has no COMMAND"),
        "{}",
        imported.stderr
    );
    assert_eq!(desk.files(), ["follower-cleanup.yaml", "image-ready.yaml"]);
    let text = desk.text("hooks.d/follower-cleanup.yaml");
    assert!(text.contains("\nid: 7\n") && text.contains("on: DONE"), "{text}");

    let shown = desk.import(&["show.xml"], &[]).await;
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert!(shown.stdout.contains("\nid: 12\n"), "{}", shown.stdout);
    // The number is taken by what was imported from the list, if not by the same file.
    fs::rename(
        desk.path("hooks.d/image-ready.yaml"),
        desk.path("hooks.d/own.yaml"),
    )
    .expect("renamed");
    let doubled = desk.import(&["show.xml"], &["--out", "hooks.d"]).await;
    assert_eq!(doubled.code, 1);
    assert!(
        doubled.stderr.contains("own.yaml has this name"),
        "{}",
        doubled.stderr
    );
    let text = desk
        .text("hooks.d/own.yaml")
        .replace("name: image-ready", "name: own");
    fs::write(desk.path("hooks.d/own.yaml"), text).expect("a file");
    let doubled = desk.import(&["show.xml"], &["--out", "hooks.d"]).await;
    assert!(
        doubled
            .stderr
            .contains("own.yaml stands for oned's hook with its number"),
        "{}",
        doubled.stderr
    );
    let twice = desk.import(&["show.xml", "list.xml"], &[]).await;
    assert!(
        twice
            .stderr
            .contains("has the number of `image-ready`, which is imported already"),
        "{}",
        twice.stderr
    );
}

#[tokio::test]
async fn nothing_is_written_over_unless_forced_and_nothing_at_all_in_a_dry_run() {
    let desk = Desk::new();
    let arguments = ["--out", "hooks.d"];
    let dry = desk
        .import(&["vm-prolog.tmpl"], &["--out", "hooks.d", "--dry-run"])
        .await;
    assert_eq!(
        (dry.code, dry.stdout.as_str()),
        (0, "would write hooks.d/vm-prolog.yaml\n")
    );
    assert_eq!(desk.files(), Vec::<String>::new());
    assert!(!desk.path("hooks.d").exists());

    assert_eq!(desk.import(&["vm-prolog.tmpl"], &arguments).await.code, 0);
    fs::write(desk.path("hooks.d/vm-prolog.yaml"), "# mine\n").expect("a file");
    let refused = desk
        .import(&["vm-prolog.tmpl", "own-call.tmpl"], &arguments)
        .await;
    assert_eq!(refused.code, 1);
    assert!(
        refused
            .stderr
            .contains("hooks.d/vm-prolog.yaml is there already; --force writes over it"),
        "{}",
        refused.stderr
    );
    assert_eq!(desk.text("hooks.d/vm-prolog.yaml"), "# mine\n");
    assert_eq!(desk.files(), ["own-call.yaml", "vm-prolog.yaml"]);

    let forced = desk
        .import(&["vm-prolog.tmpl"], &["--out", "hooks.d", "--force"])
        .await;
    assert_eq!(forced.code, 0, "{}", forced.stderr);
    assert!(desk.text("hooks.d/vm-prolog.yaml").contains("name: vm-prolog"));
}

#[tokio::test]
async fn programs_are_told_the_same() {
    let desk = Desk::new();
    let told = desk.import(&["host-error.tmpl", "list.xml"], &["--json"]).await;
    assert_eq!(told.code, 1);
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    let names: Vec<&str> = told["hooks"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|hook| hook["name"].as_str().expect("a name"))
        .collect();
    assert_eq!(names, ["host-error", "follower-cleanup", "image-ready"]);
    assert_eq!(told["hooks"][0]["id"], Value::Null);
    assert_eq!(told["hooks"][1]["id"], 7);
    assert!(
        told["hooks"][0]["notes"]
            .as_array()
            .is_some_and(|notes| notes.len() == 4),
        "{told}"
    );
    assert_eq!(told["refused"].as_array().map(Vec::len), Some(1), "{told}");
}

#[tokio::test]
async fn what_cannot_be_read_is_named_with_its_place() {
    let desk = Desk::new();
    fs::write(desk.path("a.tmpl"), "NAME = a\nCOMMAND = /bin/x -v\n").expect("a file");
    fs::write(desk.path("b.tmpl"), b"NAME = \xff\n").expect("a file");
    fs::write(desk.path("c.tmpl"), "TYPE = api\n").expect("a file");
    fs::write(desk.path("d.xml"), "<VM><ID>1</ID></VM>").expect("a file");
    fs::write(
        desk.path("e.tmpl"),
        "NAME=e\nTYPE=state\nRESOURCE=VM\nON=STARTED\nCOMMAND=x\n",
    )
    .expect("a file");
    let refused = desk
        .hem(&["import", "a.tmpl", "b.tmpl", "c.tmpl", "d.xml", "e.tmpl"])
        .await;
    assert_eq!(refused.code, 1);
    assert_eq!(refused.stdout, "");
    insta::assert_snapshot!("what_cannot_be_imported", refused.stderr);
    for (arguments, part) in [
        (vec!["import"], "required"),
        (
            vec!["import", "--pool", "--onehem-conf", "x"],
            "cannot be used with",
        ),
        (vec!["import", "a.tmpl", "--write", "x"], "cannot be used with"),
        (
            vec!["import", "--onehem-conf", "x", "--out", "y"],
            "cannot be used with",
        ),
    ] {
        let said = desk.hem(&arguments).await;
        assert_eq!(said.code, 2, "{arguments:?}");
        assert!(said.stderr.contains(part), "{arguments:?}: {}", said.stderr);
    }
    let absent = desk.hem(&["import", "none.tmpl"]).await;
    assert_eq!(absent.code, 1);
    assert!(
        absent.stderr.contains("cannot read `none.tmpl`"),
        "{}",
        absent.stderr
    );
}

/// EXTRA of a recorded call holds the hook as oned keeps it.
#[test]
fn recorded_hooks_are_declared_for_the_pool() {
    let defaults = Defaults {
        scripts_dir: "/scripts".into(),
        onehem_scripts_dir: "/var/lib/one/remotes/hooks".into(),
        remote_scripts_dir: "/var/tmp/one/hooks".into(),
        catch_up: false,
    };
    let mut declared = Vec::new();
    for event in recorded::events() {
        if !event.key.starts_with("EVENT API one.hook.allocate 1") {
            continue;
        }
        let call = parsed_call(&Payload::new(event.content)).expect("a call");
        let pool = hook_pool::read(&call.extra).expect("a hook");
        assert_eq!((pool.hooks.len(), pool.faults.len()), (1, 0), "{}", call.extra);
        let hooks: Vec<Onehook> = pool.hooks.iter().map(Onehook::from).collect();
        for hook in declare_all(&hooks, Use::Pool { source: None }) {
            let hook = hook.expect("a declaration");
            assert_eq!(hook.notes, Vec::<String>::new());
            let compiled = parse_definition(&hook.text, &Origin::of_pool(&hook.text), &defaults)
                .unwrap_or_else(|faults| panic!("{faults:?}"));
            assert_eq!(compiled.profile, Profile::Onehem);
            assert!(compiled.oned_id.is_some());
            declared.push(hook.text);
        }
    }
    insta::assert_snapshot!("recorded_hooks_of_the_pool", declared.join("---\n"));
}

#[tokio::test]
async fn a_live_pool_is_imported() {
    let desk = Desk::new();
    let mut oned = Oned::start(&[]);
    for template in TEMPLATES {
        // oned refuses a call it does not know.
        if template != "own-call.tmpl" {
            oned.create_hook(&fs::read_to_string(fixture(template)).expect("a template"));
        }
    }
    fs::write(desk.path("auth"), format!("{}\n", oned.session())).expect("a file");
    let mut command = desk.command(&["import", "--pool", "--out", "hooks.d"]);
    command
        .env("ONE_XMLRPC", oned.xmlrpc())
        .env("ONE_AUTH", desk.path("auth"));
    let imported = said(command).await;
    assert_eq!(imported.code, 0, "{}", imported.stderr);
    assert_eq!(
        desk.files(),
        [
            "host-error.yaml",
            "vm-allocate.yaml",
            "vm-boot-failure.yaml",
            "vm-prolog.yaml"
        ]
    );
    let text = desk.text("hooks.d/vm-prolog.yaml");
    assert!(
        text.starts_with("# Imported from oned.\nname: vm-prolog\nid: 0\nprofile: onehem\n"),
        "{text}"
    );
    assert!(text.contains("{ resource: VM, on: PROLOG }"), "{text}");
    assert_eq!(desk.hem(&["check", "hooks.d"]).await.code, 0);

    // hem.yaml says it as well, and a wrong password is no riddle.
    fs::write(desk.path("wrong"), "oneadmin:wrong").expect("a file");
    fs::write(
        desk.path("hem.yaml"),
        format!("oned: {{ endpoint: \"{}\", auth: wrong }}\n", oned.xmlrpc()),
    )
    .expect("a file");
    let refused = desk.hem(&["import", "--pool"]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(
        refused.stderr.contains("oned refused `one.hookpool.info`"),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    drop(oned);
    fs::write(
        desk.path("hem.yaml"),
        "oned: { endpoint: \"http://127.0.0.1:1/RPC2\", auth: wrong }\n",
    )
    .expect("a file");
    let gone = desk.hem(&["import", "--pool"]).await;
    assert_eq!(gone.code, 1);
    assert!(gone.stderr.contains("oned cannot be reached"), "{}", gone.stderr);
    fs::remove_file(desk.path("wrong")).expect("removed");
    let nobody = desk.hem(&["import", "--pool"]).await;
    assert!(
        nobody.stderr.contains("cannot read the credentials"),
        "{}",
        nobody.stderr
    );
}

#[tokio::test]
async fn the_configuration_of_onehem_server_becomes_hem_yaml() {
    let desk = Desk::new();
    let conf = fixture("onehem-server.conf").display().to_string();
    let printed = desk.hem(&["import", "--onehem-conf", &conf]).await;
    assert_eq!(printed.code, 0, "{}", printed.stderr);
    insta::assert_snapshot!("onehem_conf_as_hem_yaml", everywhere(&printed.stdout));
    assert!(
        printed.stderr.contains("note: `:own_setting` is not read"),
        "{}",
        printed.stderr
    );

    let write = ["import", "--onehem-conf", conf.as_str(), "--write", "new.yaml"];
    let dry = desk.hem(&[&write[..], &["--dry-run"]].concat()).await;
    assert_eq!((dry.code, dry.stdout.as_str()), (0, "would write new.yaml\n"));
    assert!(!desk.path("new.yaml").exists());
    assert_eq!(desk.hem(&write).await.code, 0);
    assert_eq!(desk.text("new.yaml"), printed.stdout);
    for arguments in [write.to_vec(), [&write[..], &["--dry-run"]].concat()] {
        let refused = desk.hem(&arguments).await;
        assert_eq!(refused.code, 1, "{arguments:?}");
        assert!(
            refused.stderr.contains("--force writes over it"),
            "{}",
            refused.stderr
        );
    }
    assert_eq!(desk.hem(&[&write[..], &["--force"]].concat()).await.code, 0);
    let told = desk.hem(&["import", "--onehem-conf", &conf, "--json"]).await;
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!(told["text"], printed.stdout);
    // hem itself takes it.
    let checked = desk.hem(&["--config", "new.yaml", "check", "."]).await;
    assert!(!checked.stderr.contains("new.yaml"), "{}", checked.stderr);

    let mut installed_elsewhere = desk.command(&["import", "--onehem-conf", "empty.conf"]);
    fs::write(desk.path("empty.conf"), "# nothing\n").expect("a file");
    installed_elsewhere.env("ONE_LOCATION", "/opt/one");
    let printed = said(installed_elsewhere).await;
    assert!(
        printed
            .stdout
            .contains("\nonehem_scripts_dir: /opt/one/var/remotes/hooks\n"),
        "{}",
        printed.stdout
    );

    fs::write(desk.path("bad.conf"), ":concurrency: many\n").expect("a file");
    let refused = desk.hem(&["import", "--onehem-conf", "bad.conf"]).await;
    assert_eq!(refused.code, 4);
    assert!(
        refused.stderr.contains("`many` is no number from 1 to 1000"),
        "{}",
        refused.stderr
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_daemon_takes_the_configuration_of_onehem_server_as_it_is() {
    let mut oned = Oned::start(&[]);
    let mut house = House::new();
    house.config.sources.clear();
    configure(&house, "");
    house.script("say.sh", "#!/bin/sh\necho \"said $*\"\n");
    let hook = oned.create_hook(
        "NAME = say\nTYPE = state\nRESOURCE = VM\nON = RUNNING\nCOMMAND = say.sh\nARGUMENTS = \"it runs\"\n",
    );
    fs::write(house.path("auth"), oned.session()).expect("a file");
    let conf = |concurrency: u32, level: u32| {
        let text = format!(
            ":debug_level: {level}\n:hook_base_path: {}\n:subscriber_endpoint: {}\n:replier_endpoint: {}\n:concurrency: {concurrency}\n:own: 1\n",
            house.config.scripts_dir.display(),
            oned.events(),
            oned.replies()
        );
        fs::write(house.path("onehem-server.conf"), text).expect("a file");
    };
    conf(10, 2);
    let file = house.path("onehem-server.conf").display().to_string();
    let environment = [
        "/usr/bin/env".to_owned(),
        format!("ONE_XMLRPC={}", oned.xmlrpc()),
        format!("ONE_AUTH={}", house.path("auth").display()),
    ];
    let mut daemon = Service::start_by(&house, &environment, &["--onehem-conf", &file]);
    let status = daemon
        .until("it is connected", |status| {
            status
                .sources
                .get("opennebula")
                .is_some_and(|source| source.connected)
        })
        .await;
    assert_eq!(status.sources["opennebula"].endpoint, oned.events());
    conf(20, 3);
    let reloaded = service::hem(&house, &["reload"]).await;
    assert_eq!(reloaded.code, 0, "{}", reloaded.stderr);
    assert!(
        reloaded.stdout.contains("concurrency") && reloaded.stdout.contains("log"),
        "{}",
        reloaded.stdout
    );

    // The pool's hook runs below its base path, and oned is told.
    oned.wait_for_subscriber();
    daemon
        .until("the pool is read", |status| {
            status.pool.as_ref().is_some_and(|pool| pool.hooks == 1)
        })
        .await;
    oned.vm(12, "ACTIVE", "RUNNING");
    let results = oned.results(1);
    assert_eq!(
        (&results[0]["hook"], &results[0]["rc"]),
        (&hook.into(), &0.into()),
        "{results:?}"
    );
    let shown = service::hem(&house, &["show", "last"]).await;
    assert!(shown.stdout.contains("said it runs"), "{}", shown.stdout);
    let log = daemon.log();
    assert!(log.contains("`:own` is not read"), "{log}");
}
