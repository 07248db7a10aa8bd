//! The systemd unit does what the documents promise of it.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use hem::config::Config;

/// A setting of the unit, and whether a comment stands above it or above the settings it stands with.
struct Setting {
    value: String,
    has_reason: bool,
}

fn unit() -> BTreeMap<String, Setting> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/hem.service");
    let text = std::fs::read_to_string(file).expect("the unit");
    let mut settings = BTreeMap::new();
    let mut has_reason = false;
    for line in text.lines() {
        if line.starts_with('#') {
            has_reason = true;
        } else if line.is_empty() || line.starts_with('[') {
            has_reason = false;
        } else {
            let (name, value) = line.split_once('=').expect("a setting");
            let setting = Setting {
                value: value.to_owned(),
                has_reason,
            };
            assert!(
                settings.insert(name.to_owned(), setting).is_none(),
                "{name} twice"
            );
        }
    }
    settings
}

#[test]
fn the_unit_is_set_up_for_a_daemon_that_owns_scripts() {
    let unit = unit();
    for (name, value) in [
        ("Type", "notify"),
        ("KillMode", "mixed"),
        ("OOMPolicy", "continue"),
        ("Delegate", "yes"),
        ("Restart", "on-failure"),
        ("StartLimitIntervalSec", "0"),
        ("RestartPreventExitStatus", "2 4 5"),
    ] {
        let setting = unit.get(name).unwrap_or_else(|| panic!("{name} is missing"));
        assert_eq!(setting.value, value, "{name}");
    }
    for name in [
        "Type",
        "WatchdogSec",
        "KillMode",
        "TimeoutStopSec",
        "OOMPolicy",
        "Delegate",
    ] {
        assert!(unit[name].has_reason, "{name} does not say why");
    }
    let seconds = |name: &str| Duration::from_secs(unit[name].value.parse().expect("seconds"));
    // The grace of the daemon, then that between TERM and KILL of a script, and time to write it all down.
    let needed = Config::defaults(Path::new("/")).shutdown_grace + Duration::from_secs(10);
    assert!(seconds("TimeoutStopSec") >= needed + Duration::from_secs(20));
    assert!(seconds("WatchdogSec") > Duration::ZERO);
}

#[test]
fn hooks_inherit_no_hardening_from_the_unit() {
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
    for name in unit().keys() {
        let by_family = ["Private", "Protect", "Restrict"]
            .iter()
            .any(|family| name.starts_with(family));
        assert!(!by_family && !hardening.contains(&name.as_str()), "{name}");
    }
}
