//! The systemd units and the Debian packages do what the documents promise of them.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use assert_cmd::Command;
use hem::config::{Config, Place, Source};

/// A setting of a unit, and whether a comment stands above it or above the settings it stands with.
struct Setting {
    values: Vec<String>,
    has_reason: bool,
}

impl Setting {
    /// What counts: the last one.
    fn value(&self) -> &str {
        self.values.last().expect("a value")
    }
}

type Unit = BTreeMap<String, Setting>;

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The settings of a unit or a drop-in. Each stands there once, but for lists that are emptied first.
fn unit(file: &str) -> Unit {
    let text = fs::read_to_string(folder().join("packaging").join(file)).expect("the unit");
    let mut settings = Unit::new();
    let mut has_reason = false;
    for line in text.lines() {
        if line.starts_with('#') {
            has_reason = true;
        } else if line.is_empty() || line.starts_with('[') {
            has_reason = false;
        } else {
            let (name, value) = line.split_once('=').expect("a setting");
            let setting = settings.entry(name.to_owned()).or_insert(Setting {
                values: Vec::new(),
                has_reason,
            });
            assert!(setting.values.iter().all(String::is_empty), "{name} twice");
            setting.values.push(value.to_owned());
        }
    }
    settings
}

const UNITS: [&str; 2] = ["hem.service", "opennebula/hem.conf"];

#[test]
fn the_units_are_set_up_for_a_daemon_that_owns_scripts() {
    for file in UNITS {
        let unit = unit(file);
        for (name, value) in [
            ("Type", "notify"),
            ("NotifyAccess", "main"),
            ("KillMode", "mixed"),
            ("OOMPolicy", "continue"),
            ("Delegate", "yes"),
            ("StartLimitIntervalSec", "0"),
            ("RestartPreventExitStatus", "2 4 5"),
            ("StateDirectory", "hem"),
            ("StateDirectoryMode", "0700"),
            ("RuntimeDirectory", "hem"),
        ] {
            let setting = unit
                .get(name)
                .unwrap_or_else(|| panic!("{name} is missing in {file}"));
            assert_eq!(setting.value(), value, "{name} in {file}");
        }
        for name in [
            "Type",
            "WatchdogSec",
            "KillMode",
            "TimeoutStopSec",
            "OOMPolicy",
            "Delegate",
        ] {
            assert!(unit[name].has_reason, "{name} does not say why in {file}");
        }
        let seconds = |name: &str| Duration::from_secs(unit[name].value().parse().expect("seconds"));
        // The grace of the daemon, then that between TERM and KILL of a script, and time to write it all down.
        let needed = Config::defaults(Path::new("/")).shutdown_grace + Duration::from_secs(10);
        assert!(seconds("TimeoutStopSec") >= needed + Duration::from_secs(20));
        assert!(seconds("WatchdogSec") > Duration::ZERO);
    }
    assert_eq!(unit("hem.service")["Restart"].value(), "on-failure");
}

#[test]
fn the_drop_in_takes_the_command_and_leaves_the_rest_of_the_unit() {
    let drop_in = unit("opennebula/hem.conf");
    for (name, does) in [("ExecStart", "run"), ("ExecReload", "reload")] {
        let command = format!("/usr/bin/hem --config /etc/hem/hem.yaml {does}");
        assert_eq!(drop_in[name].values, ["", command.as_str()], "{name}");
    }
    // What these say stays OpenNebula's own matter, in whatever version.
    for name in [
        "User",
        "Group",
        "EnvironmentFile",
        "Environment",
        "After",
        "Wants",
        "Conflicts",
        "WantedBy",
        "SyslogIdentifier",
        "Restart",
    ] {
        assert!(!drop_in.contains_key(name), "{name}");
    }
    assert_eq!(
        unit("hem.service")["Conflicts"].values,
        ["opennebula-hem.service"]
    );
}

#[test]
fn hooks_inherit_no_hardening_from_the_units() {
    let hardening = [
        "AmbientCapabilities",
        "CapabilityBoundingSet",
        "DevicePolicy",
        "DynamicUser",
        "InaccessiblePaths",
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "OOMScoreAdjust",
        "ReadOnlyPaths",
        "RemoveIPC",
        "SecureBits",
        "SystemCallArchitectures",
        "SystemCallFilter",
        "UMask",
    ];
    for file in UNITS {
        for name in unit(file).keys() {
            let by_family = ["Private", "Protect", "Restrict"]
                .iter()
                .any(|family| name.starts_with(family));
            let prevents_restart = name == "RestartPreventExitStatus";
            assert!(
                (!by_family || prevents_restart) && !hardening.contains(&name.as_str()),
                "{name} in {file}"
            );
        }
    }
}

#[test]
fn the_configurations_of_both_packages_are_good_ones() {
    let place = Place {
        root: true,
        ..Place::default()
    };
    let read = |file: &str| {
        let path = folder().join("packaging").join(file);
        let text = fs::read_to_string(&path).expect("a file");
        Config::from_text(&text, &path, &place).unwrap_or_else(|error| panic!("{file}: {error}"))
    };
    let plain = read("hem.yaml");
    assert_eq!(plain.oned, None);
    let front_end = read("opennebula/hem.yaml");
    let oned = front_end.oned.as_ref().expect("oned");
    assert!(oned.hooks && oned.leader_only && !oned.catch_up);
    assert_eq!(front_end.control.socket_mode, 0o660);
    // For oneadmin the same places are named that root has by default.
    for (said, by_default) in [
        (&front_end.state_dir, &plain.state_dir),
        (&front_end.hooks_dir, &plain.hooks_dir),
        (&front_end.scripts_dir, &plain.scripts_dir),
        (&front_end.control.socket, &plain.control.socket),
    ] {
        assert_eq!(said, by_default);
    }
    for config in [&plain, &front_end] {
        let Source::Opennebula(source) = &config.sources["opennebula"] else {
            panic!("{:?}", config.sources)
        };
        assert_eq!(source.endpoint, "tcp://127.0.0.1:2101");
    }
}

/// Nothing here takes this long on any machine.
const LIMIT: Duration = Duration::from_secs(240);

/// Runs a program to its end and gives what it said.
fn said(command: &mut Command) -> String {
    let shown = format!("{command:?}");
    let output = command
        .timeout(LIMIT)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {shown}: {error}; tests/install-tools installs it"));
    assert!(
        output.status.success(),
        "{shown} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_packages_are_built_with_what_kafka_needs_and_a_plain_build_is_not() {
    let printed = |target: &str| {
        said(
            Command::new("make")
                .current_dir(folder())
                .args(["--dry-run", target]),
        )
    };
    assert!(
        printed("deb").contains("--features 'kafka'"),
        "{}",
        printed("deb")
    );
    assert!(!printed("build").contains("kafka"), "{}", printed("build"));
    // The plain build is looked at with every change too.
    for target in ["test", "lint"] {
        let printed = printed(target);
        assert!(printed.contains("clippy --locked -- -D warnings"), "{printed}");
    }
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).expect("the manifest");
    assert!(
        manifest.contains("\nfeatures = [\"kafka\"]\n"),
        "cargo deb builds with it too"
    );
}

/// Both packages, unpacked. They are built as `make deb` does it.
struct Packages {
    folder: tempfile::TempDir,
}

static PACKAGES: LazyLock<Packages> = LazyLock::new(Packages::build);

impl Packages {
    fn build() -> Self {
        let target = tempfile::tempdir().expect("a folder");
        let release = target.path().join("release");
        let generated = release.join("package");
        fs::create_dir_all(generated.join("man")).expect("a folder");
        let program = env!("CARGO_BIN_EXE_hem");
        // In the place of hem, which takes a minute to compress: any program that needs the C library.
        fs::copy("/bin/true", release.join("hem")).expect("a copy");
        said(
            Command::new(program)
                .args(["man", "--dir"])
                .arg(generated.join("man")),
        );
        for (shell, file) in [("bash", "hem.bash"), ("zsh", "_hem"), ("fish", "hem.fish")] {
            let completions = said(Command::new(program).args(["completions", shell]));
            fs::write(generated.join(file), completions).expect("a file");
        }
        for (name, variant) in [("hem", &[][..]), ("hem-opennebula", &["--variant", "opennebula"])] {
            let package = target.path().join(format!("{name}.deb"));
            let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
            said(
                Command::new(cargo)
                    .current_dir(folder())
                    .env("CARGO_TARGET_DIR", target.path())
                    .args([
                        "deb",
                        "--locked",
                        "--offline",
                        "--no-build",
                        "--no-strip",
                        "--fast",
                    ])
                    .args(variant)
                    .arg("--output")
                    .arg(&package),
            );
            let unpacked = target.path().join(name);
            said(Command::new("dpkg-deb").arg("-R").args([&package, &unpacked]));
        }
        Self { folder: target }
    }

    fn root(&self, package: &str) -> PathBuf {
        self.folder.path().join(package)
    }

    /// A field of the control file.
    fn field(&self, package: &str, name: &str) -> Option<String> {
        let control = fs::read_to_string(self.root(package).join("DEBIAN/control")).expect("a control file");
        let start = format!("{name}: ");
        control
            .lines()
            .find_map(|line| line.strip_prefix(&start))
            .map(str::to_owned)
    }

    /// What the archive says of each entry: mode, owner, path.
    fn entries(&self, package: &str) -> Vec<(String, String, String)> {
        let archive = self.folder.path().join(format!("{package}.deb"));
        said(Command::new("dpkg-deb").arg("-c").arg(archive))
            .lines()
            .map(|line| {
                // Mode, owner, size, date, time, and the path with a dot before it.
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                let path = words[5].strip_prefix('.').expect("a path");
                (words[0].to_owned(), words[1].to_owned(), path.to_owned())
            })
            .collect()
    }
}

#[test]
fn the_packages_hold_what_they_promise_with_safe_owners_and_modes() {
    let own: [(&str, &str, &str); 2] = [
        ("hem", "/usr/lib/systemd/system/hem.service", "packaging/hem.yaml"),
        (
            "hem-opennebula",
            "/usr/lib/systemd/system/opennebula-hem.service.d/hem.conf",
            "packaging/opennebula/hem.yaml",
        ),
    ];
    for (package, unit, config) in own {
        let entries = PACKAGES.entries(package);
        let files: BTreeSet<&str> = entries
            .iter()
            .filter(|(mode, ..)| mode.starts_with('-'))
            .map(|(.., path)| path.as_str())
            .collect();
        let documents = format!("/usr/share/doc/{package}");
        let mut expected: Vec<String> = [
            "/usr/bin/hem",
            "/etc/hem/hem.yaml",
            unit,
            "/usr/share/man/man1/hem.1",
            "/usr/share/man/man1/hem-run.1",
            "/usr/share/bash-completion/completions/hem",
            "/usr/share/zsh/vendor-completions/_hem",
            "/usr/share/fish/vendor_completions.d/hem.fish",
        ]
        .map(str::to_owned)
        .to_vec();
        expected.extend(
            ["copyright", "README.md", "docs/schema/hook.schema.json"]
                .map(|file| format!("{documents}/{file}")),
        );
        for page in fs::read_dir(folder().join("docs")).expect("the pages").flatten() {
            let name = page.file_name().into_string().expect("a name");
            if name.ends_with(".md") {
                expected.push(format!("{documents}/docs/{name}"));
            }
        }
        for file in &expected {
            assert!(files.contains(file.as_str()), "{file} is missing in {package}");
        }
        let units = files.iter().filter(|file| file.contains("/systemd/")).count();
        assert_eq!(units, 1, "{package}");
        for (mode, owner, path) in &entries {
            assert_eq!(owner, "0/0", "{path}");
            let expected = match mode.as_bytes()[0] {
                b'd' => "drwxr-xr-x",
                _ if path == "/usr/bin/hem" => "-rwxr-xr-x",
                _ => "-rw-r--r--",
            };
            assert_eq!(mode, expected, "{path} in {package}");
            let is_placed = ["/usr/", "/etc/hem/"].iter().any(|place| path.starts_with(place));
            assert!(is_placed || path == "/etc/" || path == "/", "{path} in {package}");
        }
        let root = PACKAGES.root(package);
        let read = |path: PathBuf| fs::read_to_string(path).expect("a text");
        assert_eq!(read(root.join("DEBIAN/conffiles")), "/etc/hem/hem.yaml\n");
        assert_eq!(read(root.join("etc/hem/hem.yaml")), read(folder().join(config)));
        assert_eq!(PACKAGES.field(package, "Package").as_deref(), Some(package));
        let needs = PACKAGES.field(package, "Depends").unwrap_or_default();
        assert!(needs.contains("libc6 (>= "), "{needs}");
    }
    // One at a time: both have the program.
    assert_eq!(
        PACKAGES.field("hem", "Conflicts").as_deref(),
        Some("hem-opennebula")
    );
    assert_eq!(
        PACKAGES.field("hem-opennebula", "Conflicts").as_deref(),
        Some("hem")
    );
    assert_eq!(
        PACKAGES.field("hem-opennebula", "Provides").as_deref(),
        Some("hem")
    );
}

/// Shell text without its comments.
fn commands(script: &Path) -> String {
    let text = fs::read_to_string(script).expect("a script");
    assert!(text.starts_with("#!/bin/sh\n# "), "{}", script.display());
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn maintainer_scripts_are_sound_and_do_nothing_without_systemd() {
    for package in ["hem", "hem-opennebula"] {
        for name in ["postinst", "prerm", "postrm"] {
            let script = PACKAGES.root(package).join("DEBIAN").join(name);
            let mode = fs::metadata(&script).expect("a script").permissions().mode() & 0o777;
            assert_eq!(mode, 0o755, "{name} of {package}");
            said(Command::new("sh").arg("-n").arg(&script));
            let text = commands(&script);
            assert!(text.starts_with("set -e\n"), "{name} of {package}: {text}");
            let asks = text.find("/run/systemd/system").expect("the question");
            let first = text.find("systemctl").unwrap_or(usize::MAX);
            assert!(asks < first, "{name} of {package}");
            // dpkg calls them in more ways than they have something to do in.
            let empty = tempfile::tempdir().expect("a folder");
            for stage in ["abort-upgrade", "failed-upgrade"] {
                said(
                    Command::new("sh")
                        .env("DPKG_ROOT", empty.path())
                        .arg(&script)
                        .args([stage, "0.0.1"]),
                );
            }
        }
    }
}

/// A machine in a folder, whose packages dpkg itself installs and removes. `systemctl` and `chown` write down what they are told.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new(with_systemd: bool) -> Self {
        let machine = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let mut folders = vec!["run", "bin", "var/lib/dpkg/info", "var/lib/dpkg/updates"];
        if with_systemd {
            folders.push("run/systemd/system");
        }
        for folder in folders {
            fs::create_dir_all(machine.path(folder)).expect("a folder");
        }
        fs::write(machine.path("var/lib/dpkg/status"), "").expect("a file");
        // The unit `opennebula-hem` is what the drop-in says while it is there; the program may be gone already.
        machine.tool(
            "systemctl",
            "[ ! -e \"$DPKG_ROOT/usr/bin/hem\" ] && program=', without a program'\n\
             unit=onehem-server\n\
             [ -e \"$DPKG_ROOT/usr/lib/systemd/system/opennebula-hem.service.d/hem.conf\" ] && unit=hem\n\
             echo \"$*: $unit$program\" >> \"$DPKG_ROOT/calls\"\n\
             case \"$*\" in *is-active*) [ -e \"$DPKG_ROOT/active\" ] ;; esac",
        );
        machine.tool("chown", "echo \"chown $1\" >> \"$DPKG_ROOT/calls\"");
        machine.tool("getent", "[ -e \"$DPKG_ROOT/oneadmin\" ]");
        machine
    }

    fn path(&self, place: &str) -> PathBuf {
        self.folder.path().join(place)
    }

    fn has(&self, place: &str) -> bool {
        self.path(place).exists()
    }

    fn write(&self, place: &str) {
        let file = self.path(place);
        fs::create_dir_all(file.parent().expect("a folder")).expect("its folder");
        fs::write(file, "").expect("a file");
    }

    /// A program that goes before the system's own of that name.
    fn tool(&self, name: &str, script: &str) {
        let file = self.path("bin").join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).expect("a program");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("its mode");
    }

    /// Has dpkg do it; gives what `systemctl` and `chown` were told meanwhile.
    fn dpkg(&self, does: &str, what: &Path) -> Vec<String> {
        let path = std::env::var("PATH").unwrap_or_default();
        // Files of a package are root's: whoever is somebody else is root among his own.
        let mut command = if nix::unistd::Uid::effective().is_root() {
            Command::new("dpkg")
        } else {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "dpkg"]);
            command
        };
        said(
            command
                .env(
                    "PATH",
                    format!("{}:{path}:/usr/sbin:/sbin", self.path("bin").display()),
                )
                .env_remove("DPKG_ROOT")
                .arg("--root")
                .arg(self.folder.path())
                .arg("--log")
                .arg(self.path("dpkg.log"))
                .args(["--force-script-chrootless", "--force-depends", does])
                .arg(what),
        );
        self.calls()
    }

    fn install(&self, package: &str) -> Vec<String> {
        let archive = PACKAGES.folder.path().join(format!("{package}.deb"));
        self.dpkg("--install", &archive)
    }

    fn remove(&self, package: &str) -> Vec<String> {
        self.dpkg("--remove", Path::new(package))
    }

    fn purge(&self, package: &str) -> Vec<String> {
        self.dpkg("--purge", Path::new(package))
    }

    /// What was told since the last look.
    fn calls(&self) -> Vec<String> {
        let file = self.path("calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text.lines().map(str::to_owned).collect()
    }
}

#[test]
fn the_package_for_front_ends_takes_over_is_upgraded_and_gives_back_as_promised() {
    let machine = Machine::new(true);
    machine.write("oneadmin");
    machine.write("active");
    // onehem-server goes on until somebody restarts the unit.
    assert_eq!(
        machine.install("hem-opennebula"),
        ["chown oneadmin:oneadmin", "daemon-reload: hem"]
    );
    assert!(machine.has("etc/hem/hooks.d") && machine.has("etc/hem/scripts"));
    assert_eq!(
        machine.install("hem-opennebula"),
        [
            "chown oneadmin:oneadmin",
            "daemon-reload: hem",
            "try-restart opennebula-hem.service: hem"
        ],
        "an upgrade"
    );
    machine.write("var/lib/hem/db");
    // hem is stopped while its program is there, and started is what the unit is without the drop-in.
    let way_back = [
        "--quiet is-active opennebula-hem.service: hem",
        "stop opennebula-hem.service: hem",
        "daemon-reload: onehem-server, without a program",
        "start opennebula-hem.service: onehem-server, without a program",
    ];
    assert_eq!(machine.remove("hem-opennebula"), way_back);
    assert!(machine.has("var/lib/hem/db") && machine.has("etc/hem/hem.yaml"));

    // A former upgrade is no reason to restart after a new installation; what did not run is not started.
    fs::remove_file(machine.path("active")).expect("the file");
    assert_eq!(
        machine.install("hem-opennebula"),
        ["chown oneadmin:oneadmin", "daemon-reload: hem"]
    );
    assert_eq!(
        machine.purge("hem-opennebula"),
        [
            "--quiet is-active opennebula-hem.service: hem",
            "daemon-reload: onehem-server, without a program"
        ]
    );
    assert!(!machine.has("var/lib/hem") && !machine.has("etc/hem"));
    let notes = fs::read_dir(machine.path("run")).expect("a folder").count();
    assert_eq!(notes, 1, "only systemd's folder is left in /run");
}

#[test]
fn an_upgrade_that_is_called_off_is_not_taken_for_one_later() {
    let machine = Machine::new(true);
    machine.install("hem-opennebula");
    for (script, stage) in [("prerm", "upgrade"), ("postinst", "abort-upgrade")] {
        said(
            Command::new("sh")
                .env("DPKG_ROOT", machine.folder.path())
                .arg(PACKAGES.root("hem-opennebula").join("DEBIAN").join(script))
                .args([stage, "9.9"]),
        );
        let is_noted = machine.has("run/hem-opennebula.is-upgraded");
        assert_eq!(is_noted, stage == "upgrade", "{script} {stage}");
    }
}

#[test]
fn the_plain_package_starts_nothing_and_stops_its_daemon_while_the_program_is_there() {
    let machine = Machine::new(true);
    assert_eq!(machine.install("hem"), ["daemon-reload: onehem-server"]);
    assert_eq!(
        machine.install("hem"),
        [
            "daemon-reload: onehem-server",
            "try-restart hem.service: onehem-server"
        ],
        "an upgrade"
    );
    machine.write("var/lib/hem/db");
    machine.write("etc/hem/hooks.d/own.yaml");
    assert_eq!(
        machine.remove("hem"),
        [
            "--quiet disable --now hem.service: onehem-server",
            "daemon-reload: onehem-server, without a program"
        ]
    );
    assert!(machine.has("var/lib/hem/db"));
    assert_eq!(machine.purge("hem"), [""; 0]);
    assert!(!machine.has("var/lib/hem") && !machine.has("etc/hem/scripts"));
    assert!(machine.has("etc/hem/hooks.d/own.yaml"), "somebody wrote it");
}

#[test]
fn nobody_calls_systemctl_where_systemd_does_not_run() {
    for package in ["hem", "hem-opennebula"] {
        let machine = Machine::new(false);
        assert_eq!(machine.install(package), [""; 0]);
        assert_eq!(machine.install(package), [""; 0]);
        assert_eq!(machine.remove(package), [""; 0]);
        assert_eq!(machine.purge(package), [""; 0]);
    }
}

#[test]
fn a_package_that_is_purged_later_leaves_the_store_to_the_one_that_took_its_place() {
    for (former, later) in [("hem", "hem-opennebula"), ("hem-opennebula", "hem")] {
        let machine = Machine::new(true);
        machine.install(former);
        machine.write("var/lib/hem/db");
        machine.install(later);
        machine.purge(former);
        for place in [
            "usr/bin/hem",
            "var/lib/hem/db",
            "etc/hem/hooks.d",
            "etc/hem/scripts",
            "etc/hem/hem.yaml",
        ] {
            assert!(machine.has(place), "{place} is gone with {former}");
        }
        machine.purge(later);
        assert!(
            !machine.has("var/lib/hem") && !machine.has("etc/hem"),
            "{later} was the last"
        );
    }
}

#[test]
fn systemd_takes_the_units_as_they_are_installed() {
    // The unit that the drop-in is for, as OpenNebula has it; `/bin/true` in the place of Ruby, which need not be here.
    let original = "[Unit]\nDescription=OpenNebula Hook Execution Service\nAfter=opennebula.service\n\n\
                    [Service]\nType=simple\nGroup=oneadmin\nUser=oneadmin\nEnvironmentFile=-/var/run/one/ssh-agent.env\n\
                    ExecStart=/bin/true\nStartLimitInterval=60\nStartLimitBurst=3\nRestart=on-failure\nRestartSec=5\n\
                    SyslogIdentifier=opennebula-hem\n\n[Install]\nWantedBy=multi-user.target\n";
    for (package, unit) in [
        ("hem", "hem.service"),
        ("hem-opennebula", "opennebula-hem.service"),
    ] {
        let root = PACKAGES.root(package);
        let units = root.join("usr/lib/systemd/system");
        if package == "hem-opennebula" {
            fs::write(units.join(unit), original).expect("a unit");
        }
        for target in ["sysinit", "basic", "shutdown", "network-online"] {
            fs::write(
                units.join(format!("{target}.target")),
                format!("[Unit]\nDescription={target}\n"),
            )
            .expect("a target");
        }
        let verify = |root: &Path| {
            let mut command = Command::new("systemd-analyze");
            let command = command
                .args(["verify", "--man=no"])
                .arg("--root")
                .arg(root)
                .arg(unit);
            let output = command
                .timeout(LIMIT)
                .output()
                .expect("systemd-analyze: tests/install-tools installs it");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.status.success(), said)
        };
        assert_eq!(verify(&root), (true, String::new()), "{unit}");
        // It would have said what it does not understand.
        let file = fs::read_dir(&units)
            .expect("units")
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.ends_with("opennebula-hem.service.d"))
            .map_or(units.join(unit), |folder| folder.join("hem.conf"));
        let text = fs::read_to_string(&file).expect("a unit");
        fs::write(&file, text.replace("KillMode=mixed", "KillMode=mixt")).expect("a unit");
        let (_, said) = verify(&root);
        assert!(said.contains("mixt"), "{said}");
        fs::write(&file, text).expect("a unit");
    }
}
