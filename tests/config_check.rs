//! `hem check` of hem.yaml, as an operator or a pipeline meets it.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A folder in which `hem` is called, without any configuration of this machine.
struct Desk(TempDir);

/// What a run of the program gave.
struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Desk {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, text).expect("a file");
        self.mode(name, 0o644)
    }

    fn mode(&self, name: &str, mode: u32) -> &Self {
        fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).expect("a mode");
        self
    }

    fn check(&self, arguments: &[&str]) -> Said {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_hem"))
            .current_dir(self.0.path())
            .timeout(Duration::from_secs(60))
            .env_remove("HEM_CONFIG")
            .env_remove("ONE_XMLRPC")
            .env("HOME", self.0.path())
            .arg("check")
            .args(arguments)
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let here = format!("{}/", self.0.path().display());
        Said {
            code: output.status.code().expect("an exit code"),
            stdout: text(output.stdout).replace(&here, ""),
            stderr: text(output.stderr).replace(&here, ""),
        }
    }
}

/// Files that are refused, each for something else.
const REFUSED: &[&str] = &[
    // Names.
    "state_dirr: /x\n",
    "sources:\n  hooks:\n    type: webhook\n    endpoints:\n      deploy: { pathh: /x }\n",
    "sources:\n  hooks: { type: webhok, endpoints: {} }\n",
    "reload: sometimes\nlimits: { reserv: 1GiB }\n",
    // Kinds of values.
    "concurrency: ten\nlimits: { max_backlog: -1 }\n",
    "ssh: { share: maybe }\n",
    "control: /run/hem.sock\n",
    "redact: //MY_TOKEN\n",
    "hooks_dir: [a, b]\n",
    // Values out of range.
    "concurrency: 1001\nblocked_after: 5 minutes\nretention: { bytes: 12 }\n",
    "control: { socket_mode: rw }\n",
    "sources:\n  hooks:\n    type: webhook\n    limits: { body: 65MiB }\n    endpoints: {}\n",
    "sources:\n  hooks:\n    type: webhook\n    endpoints:\n      deploy: { respond: result, respond_within: 11m }\n",
    "sources:\n  hooks:\n    type: webhook\n    endpoints:\n      deploy: { addresses: [10.0.0.1/8] }\n",
    // What does not go together.
    "sources:\n  hooks:\n    type: webhook\n    listen: 0.0.0.0:8080\n    endpoints:\n      deploy: {}\n",
    "sources:\n  hooks:\n    type: webhook\n    listen: 0.0.0.0:8080\n    endpoints:\n      deploy: { methods: [GET], addresses: [10.0.0.0/8] }\n",
    "sources:\n  hooks:\n    type: webhook\n    endpoints:\n      deploy:\n        token: { secrets: [{ file: a, env: A }] }\n",
    "sources:\n  hooks:\n    type: webhook\n    endpoints:\n      one: { path: /x }\n      two: { path: /x }\n",
    "sources:\n  a: { type: webhook, endpoints: {} }\n  b: { type: webhook, listen: \"0.0.0.0:8080\", endpoints: {} }\n",
    "sources:\n  a: { type: webhook, listen: \"127.0.0.1:0\", endpoints: {} }\noned: { source: a }\n",
    "oned: { source: zone2 }\n",
    "sources:\n  ha: { type: masakari, listen: \"0.0.0.0:15868\" }\n",
    "sources:\n  ha:\n    type: masakari\n    strict_hosts: true\n    poll: { endpoint: \"http://site/v1\" }\n",
    "sources:\n  esc:\n    type: esc\n    callbacks: { listen: \"0.0.0.0:8081\" }\n",
    "sources:\n  a: { type: esc, callbacks: {} }\n  b: { type: masakari, listen: \"127.0.0.1:8081\" }\n",
    // What is missing.
    "sources:\n  hooks: { type: webhook }\n",
    "sources:\n  hooks: {}\n",
    // What is no YAML.
    "control: [\n",
    "concurrency: 3\nconcurrency: 4\n",
    "ssh: b: c\n",
    "concurrency 3\n",
    // Several at once, and a secret that stands where none may.
    "state_dirr: /x\nconcurrency: 0\ncontrol: { socket_mode: \"0666\", sockets: /run/x }\nsources:\n  z:\n    type: opennebula\n    \
     enpoint: tcp://127.0.0.1:1\n    queue:\n      events: many\n  hooks:\n    type: webhook\n    endpoints:\n      deploy:\n        \
     password: s3cret-of-ann\n        respond: perhaps\n",
];

#[test]
fn every_fault_is_told_with_place_and_cure() {
    let desk = Desk::new();
    let mut told = String::new();
    for text in REFUSED {
        desk.write("hem.yaml", text);
        let said = desk.check(&["hem.yaml"]);
        assert_eq!(said.code, 4, "accepted: {text}\n{}", said.stdout);
        assert!(!said.stdout.contains("s3cret"), "{}", said.stdout);
        let (faults, sums) = said
            .stdout
            .trim_end()
            .rsplit_once("\n\n")
            .expect("faults and sums");
        assert!(sums.starts_with("1 file, 0 good hooks, "), "{sums}");
        told += &format!("{faults}\n\n");
    }
    insta::assert_snapshot!(told);
}

#[test]
fn what_the_daemon_would_use_is_checked_with_the_hooks_it_names() {
    let desk = Desk::new();
    let hook = "name: greet\ntrigger: { webhook: { name: deploy } }\ncommand: greet.sh\n";
    desk.write(
        "etc/hem.yaml",
        "hooks_dir: hooks.d\nscripts_dir: scripts\nsources:\n  hooks: { type: webhook, endpoints: { deploy: {} } }\n",
    )
    .write("etc/hooks.d/greet.yaml", hook)
    .write("etc/scripts/greet.sh", "#!/bin/sh\n")
    .mode("etc/scripts/greet.sh", 0o755);
    for folder in ["etc", "etc/hooks.d", "etc/scripts"] {
        desk.mode(folder, 0o755);
    }
    for arguments in [
        &["--config", "etc/hem.yaml"][..],
        &["etc"],
        &["--strict", "--config", "etc/hem.yaml"],
    ] {
        let said = desk.check(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}{}", said.stdout, said.stderr);
        assert_eq!(
            said.stdout,
            "2 files, 1 good hook, 0 errors, 0 warnings; 0 tests, 0 failed\n"
        );
    }
    // A hook file or a folder of hooks is that alone, and a configuration under any name is one.
    desk.write("other.yaml", "concurrency: 3\n");
    for (path, sums) in [
        ("etc/hooks.d", "1 file, 1 good hook"),
        ("etc/hooks.d/greet.yaml", "1 file, 1 good hook"),
        ("other.yaml", "1 file, 0 good hooks"),
    ] {
        let said = desk.check(&["--config", "etc/hem.yaml", path]);
        assert_eq!(said.code, 0, "{path}: {}{}", said.stdout, said.stderr);
        assert!(said.stdout.starts_with(sums), "{path}: {}", said.stdout);
    }

    desk.write("etc/hem.yaml", "hooks_dir: nowhere\nconcurrency: 3\n");
    let said = desk.check(&["--config", "etc/hem.yaml"]);
    assert_eq!(said.code, 4, "{}", said.stdout);
    assert!(
        said.stdout.contains("etc/hem.yaml:1:12"),
        "the setting that names the folder: {}",
        said.stdout
    );
    let said = desk.check(&["--config", "absent.yaml"]);
    assert_eq!(said.code, 4, "{}", said.stdout);
    assert!(said.stderr.contains("absent.yaml"), "{}", said.stderr);
}

#[test]
fn faults_are_told_to_programs_too() {
    let desk = Desk::new();
    desk.write("hem.yaml", "log: info\nconcurency: 3\n");
    let said = desk.check(&["hem.yaml", "--json"]);
    assert_eq!(said.code, 4, "{}", said.stderr);
    let told: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!(told["configuration"], "hem.yaml");
    assert_eq!(
        told["faults"],
        serde_json::json!([{
            "file": "hem.yaml", "line": 2, "column": 1, "severity": "error",
            "message": "unknown setting `concurency`", "hint": "did you mean `concurrency`?",
        }])
    );
}

#[test]
fn what_would_not_work_as_meant_is_a_warning_with_its_place() {
    let desk = Desk::new();
    desk.write(
        "etc/hem.yaml",
        "hooks_dir: hooks.d\nscripts_dir: scripts\nssh: { config: absent }\nsources:\n  web:\n    type: webhook\n    \
         tls: { certificate: certificate.pem, key: key.pem }\n    endpoints:\n      deploy:\n        token:\n          \
         secrets:\n            - file: token\n            - file: old-token\n      build:\n        signature: \
         { secrets: [{ file: empty }, { env: NOT_SET_HERE }] }\n",
    )
    .write("etc/certificate.pem", "x")
    .write("etc/key.pem", "x")
    .write("etc/token", "x")
    .write("etc/empty", "")
    .mode("etc/token", 0o640)
    .mode("etc/empty", 0o600)
    .write("etc/scripts/ok.sh", "#!/bin/sh\n")
    .mode("etc/scripts/ok.sh", 0o755)
    .write(
        "etc/hooks.d/all.yaml",
        "name: fits\ntrigger: { webhook: { name: [deploy, \"bu*\"] } }\ncommand: ok.sh\n---\n\
         name: no-endpoint\ntrigger: { webhook: { name: [build, deplay] } }\ncommand: ok.sh\n---\n\
         name: no-source\ntrigger:\n  - webhook: { name: deploy }\n    source: wep\n  - gap: { source: [web, zone] }\n\
         command: ok.sh\n---\n\
         name: other-type\ntrigger: { state: { resource: VM, on: RUNNING }, source: web }\ncommand: ok.sh\n---\n\
         name: no-such-type\ntrigger: { api: { call: one.vm.allocate } }\ncommand: ok.sh\n",
    );
    for folder in ["etc", "etc/hooks.d", "etc/scripts"] {
        desk.mode(folder, 0o755);
    }
    let said = desk.check(&["--config", "etc/hem.yaml"]);
    assert_eq!(said.code, 0, "warnings alone: {}{}", said.stdout, said.stderr);
    insta::assert_snapshot!(said.stdout);
    assert_eq!(desk.check(&["--config", "etc/hem.yaml", "--strict"]).code, 4);
}

#[test]
fn a_hook_that_takes_a_step_of_esc_both_ways_is_pointed_out() {
    let desk = Desk::new();
    let netconf = "netconf: { endpoint: esc, user: admin, agent: true }";
    let hooks = "name: either\ntrigger: { esc: { event: VM_ALIVE } }\ncommand: ok.sh\n---\n\
                 name: one\ntrigger: { esc: { event: VM_ALIVE, via: netconf } }\ncommand: ok.sh\n---\n\
                 name: other\ntrigger: { esc: { event: VM_ALIVE }, source: plain }\ncommand: ok.sh\n";
    desk.write("etc/scripts/ok.sh", "#!/bin/sh\n")
        .mode("etc/scripts/ok.sh", 0o755)
        .write("etc/hooks.d/all.yaml", hooks);
    let check = |both: &str| {
        let sources = format!(
            "hooks_dir: hooks.d\nscripts_dir: scripts\nsources:\n  both: {{ type: esc, {both} }}\n  plain: {{ type: esc, {netconf} }}\n"
        );
        desk.write("etc/hem.yaml", &sources);
        for folder in ["etc", "etc/hooks.d", "etc/scripts"] {
            desk.mode(folder, 0o755);
        }
        desk.check(&["--config", "etc/hem.yaml"])
    };
    let said = check(&format!("callbacks: {{}}, {netconf}"));
    assert_eq!(said.code, 0, "a warning alone: {}{}", said.stdout, said.stderr);
    assert_eq!(
        said.stdout.matches("may run it twice").count(),
        1,
        "{}",
        said.stdout
    );
    assert!(
        said.stdout.contains("via: netconf") && said.stdout.contains("`both`"),
        "{}",
        said.stdout
    );
    for one in [netconf, "callbacks: {}"] {
        let said = check(one);
        assert!(!said.stdout.contains("twice"), "{}", said.stdout);
    }
}

/// The files that a source of Masakari and one of ESC name, at the settings that name them.
#[test]
fn files_of_users_tokens_passwords_and_certificates_are_looked_at() {
    let desk = Desk::new();
    desk.write(
        "etc/hem.yaml",
        "hooks_dir: hooks.d\nscripts_dir: scripts\nsources:\n  users:\n    type: masakari\n    listen: 127.0.0.1:1\n    \
         auth: { http_basic: { file: users } }\n  tokens:\n    type: masakari\n    listen: 127.0.0.1:2\n    \
         auth: { token: { secrets: [{ file: open-token }, { file: no-token }] } }\n  keystone:\n    type: masakari\n    \
         listen: 127.0.0.1:3\n    auth:\n      keystone:\n        url: https://keystone:5000\n        ca_file: no-authorities\n        \
         user: { username: hem, password: { file: no-password }, project: service }\n  site:\n    type: masakari\n    poll:\n      \
         endpoint: https://site/v1\n      auth: { http_basic: { username: hem, password: { file: open-password } } }\n  esc:\n    \
         type: esc\n    callbacks:\n      tls: { certificate: no-certificate, key: open-key }\n      \
         token:\n        secrets:\n          - file: token\n          - file: no-old-token\n",
    )
    .write("etc/open-token", "x")
    .write("etc/open-password", "x")
    .write("etc/open-key", "x")
    .write("etc/token", "x")
    .mode("etc/token", 0o600)
    .write("etc/hooks.d/none.txt", "")
    .write("etc/scripts/none.txt", "");
    for folder in ["etc", "etc/hooks.d", "etc/scripts"] {
        desk.mode(folder, 0o755);
    }
    let said = desk.check(&["--config", "etc/hem.yaml"]);
    for file in [
        "users",
        "open-token",
        "no-token",
        "no-authorities",
        "no-password",
        "open-password",
        "no-certificate",
        "open-key",
        "no-old-token",
    ] {
        let told = said
            .stdout
            .lines()
            .filter(|line| line.contains(&format!("etc/{file}")))
            .count();
        assert!(told > 0, "nothing about {file}: {}", said.stdout);
    }
    insta::assert_snapshot!(said.stdout);

    // All of them in order, nothing is said.
    desk.write(
        "etc/users",
        "alice:$2y$05$Jj5/p78G5xe9UkfnShcbC.ZQKp1/PuERzuR4Jifeden8JYnOTs/82\n",
    );
    for file in [
        "users",
        "open-token",
        "no-token",
        "no-password",
        "open-password",
        "open-key",
        "no-old-token",
    ] {
        if !desk.path(&format!("etc/{file}")).exists() {
            desk.write(&format!("etc/{file}"), "x");
        }
        desk.mode(&format!("etc/{file}"), 0o600);
    }
    desk.write("etc/no-authorities", "x")
        .write("etc/no-certificate", "x");
    let said = desk.check(&["--strict", "--config", "etc/hem.yaml"]);
    assert_eq!(said.code, 0, "{}{}", said.stdout, said.stderr);
}

/// What a page shows of `hem.yaml` or of a hook, each as a whole file; none where it is something else.
fn shown(page: &str) -> Vec<(&'static str, String)> {
    let blocks = page.split("```").skip(1).step_by(2);
    let mut files = Vec::new();
    for block in blocks.filter_map(|block| block.strip_prefix("yaml\n")) {
        let Some(first) = block.lines().find(|line| !line.starts_with('#')) else {
            continue;
        };
        let indented = || {
            block
                .lines()
                .fold(String::new(), |text, line| format!("{text}    {line}\n"))
        };
        let (setting, _) = first.split_once(':').expect("a setting");
        match setting {
            "control" | "sources" | "oned" => files.push(("hem.yaml", block.to_owned())),
            "  esc" => files.push(("hem.yaml", format!("sources:\n{block}"))),
            "    listen" => files.push((
                "hem.yaml",
                format!(
                    "sources:\n  web:\n    type: webhook\n    endpoints: {{ deploy: {{ addresses: [10.0.0.1] }} }}\n{block}"
                ),
            )),
            "auth" => files.push(("hem.yaml", format!("sources:\n  ha:\n    type: masakari\n{}", indented()))),
            "trigger" => files.extend(
                block
                    .lines()
                    .map(|line| ("hook.yaml", format!("name: shown\n{line}\ncommand: /bin/true\n"))),
            ),
            _ => {}
        }
    }
    files
}

#[test]
fn what_the_pages_show_of_configurations_and_triggers_is_good() {
    let desk = Desk::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for (page, least) in [
        ("control-api.md", 2),
        ("esc.md", 4),
        ("masakari.md", 7),
        ("opennebula.md", 2),
        ("operations.md", 1),
        ("page.md", 2),
        ("webhooks.md", 1),
    ] {
        let files = shown(&fs::read_to_string(root.join("docs").join(page)).expect("a page"));
        assert!(files.len() >= least, "{page} shows {}", files.len());
        for (name, text) in files {
            desk.write(name, &text);
            let said = desk.check(&[name]);
            assert_eq!(said.code, 0, "{page}: {text}\n{}{}", said.stdout, said.stderr);
        }
    }
}

/// What is shipped and shown has no fault.
#[test]
fn the_shipped_configurations_are_good() {
    let desk = Desk::new();
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for file in ["packaging/hem.yaml", "packaging/opennebula/hem.yaml"] {
        let text = fs::read_to_string(root.join(file)).expect("a file");
        desk.write("hem.yaml", &text);
        let said = desk.check(&["hem.yaml"]);
        assert_eq!(said.code, 0, "{file}: {}", said.stdout);
    }
}
