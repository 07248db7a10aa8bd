//! What of a changed configuration a running daemon can take up.

use std::fmt;

use super::{Config, ConfigError};

/// The settings of `hem.yaml` that a running daemon takes up when it is told to read its configuration again. All others are
/// read at its start.
pub const TAKES_EFFECT_AT_ONCE: [&str; 6] = [
    "blocked_after",
    "concurrency",
    "limits",
    "log",
    "retention",
    "shutdown_grace",
];

/// The settings in which two configurations differ, by their names in `hem.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a running daemon takes up.
    pub at_once: Vec<&'static str>,
    /// Those that wait for its next start.
    pub at_start: Vec<&'static str>,
}

/// Reads a daemon's configuration again, from where it came from.
pub trait Reread: fmt::Debug + Send + Sync {
    /// The configuration as it is now.
    ///
    /// # Errors
    /// It cannot be read, or says something that is not allowed.
    fn reread(&self) -> Result<Config, ConfigError>;

    /// Called with what is in force from now on, for what lies outside of the daemon: the log of its process.
    fn is_in_force(&self, config: &Config);
}

impl Config {
    /// In what `new` differs from this one.
    pub fn changes_to(&self, new: &Self) -> Changes {
        // Taken apart in full: a setting that is added must not be forgotten here.
        let Self {
            // The command line's word alone.
            observe: _,
            state_dir,
            hooks_dir,
            scripts_dir,
            onehem_scripts_dir,
            remote_scripts_dir,
            ssh,
            oned,
            onehem_shell,
            control,
            concurrency,
            blocked_after,
            shutdown_grace,
            log,
            reload,
            permissions,
            on_damaged_store,
            sources,
            retention,
            limits,
            redact,
        } = new;
        let differs = [
            ("blocked_after", self.blocked_after != *blocked_after),
            ("concurrency", self.concurrency != *concurrency),
            ("control", self.control != *control),
            ("hooks_dir", self.hooks_dir != *hooks_dir),
            ("limits", self.limits != *limits),
            ("log", self.log != *log),
            ("on_damaged_store", self.on_damaged_store != *on_damaged_store),
            ("oned", self.onehem_shell != *onehem_shell || self.oned != *oned),
            (
                "onehem_scripts_dir",
                self.onehem_scripts_dir != *onehem_scripts_dir,
            ),
            ("permissions", self.permissions != *permissions),
            ("redact", self.redact != *redact),
            (
                "remote_scripts_dir",
                self.remote_scripts_dir != *remote_scripts_dir,
            ),
            ("reload", self.reload != *reload),
            ("retention", self.retention != *retention),
            ("scripts_dir", self.scripts_dir != *scripts_dir),
            ("shutdown_grace", self.shutdown_grace != *shutdown_grace),
            ("ssh", self.ssh != *ssh),
            ("sources", self.sources != *sources),
            ("state_dir", self.state_dir != *state_dir),
        ];
        let changed = differs
            .into_iter()
            .filter(|(_, differs)| *differs)
            .map(|(name, _)| name);
        let (at_once, at_start) = changed.partition(|name| TAKES_EFFECT_AT_ONCE.contains(name));
        Changes { at_once, at_start }
    }

    /// This configuration with what a running daemon takes up of `new`.
    #[must_use]
    pub fn taking_up(&self, new: &Self) -> Self {
        Self {
            blocked_after: new.blocked_after,
            concurrency: new.concurrency,
            limits: new.limits.clone(),
            log: new.log.clone(),
            retention: new.retention.clone(),
            shutdown_grace: new.shutdown_grace,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Place;
    use crate::config::raw::RawConfig;

    /// A value for every setting that is not its default.
    const EVERYTHING_ELSE: &str = r#"
state_dir: /srv/hem
hooks_dir: hooks.d
scripts_dir: ../scripts
onehem_scripts_dir: /srv/one/hooks
oned: { shell: never }
remote_scripts_dir: /srv/hooks
ssh: { share: false }
control: { socket_mode: "0660" }
concurrency: 32
blocked_after: 5m
shutdown_grace: 2m
log: debug
reload: manual
permissions: lax
on_damaged_store: start_empty
sources: { other: { type: opennebula } }
retention: { executions: 10 }
limits: { max_backlog: 99 }
redact: ["//MY_TOKEN"]
"#;

    fn read(text: &str) -> Config {
        let place = Place {
            root: true,
            ..Place::default()
        };
        Config::from_text(text, Path::new("/etc/other/hem.yaml"), &place).expect("a valid configuration")
    }

    #[test]
    fn every_setting_that_changed_is_named_and_is_taken_up_or_waits_for_a_start() {
        let (before, after) = (read(""), read(EVERYTHING_ELSE));
        let Changes { at_once, at_start } = before.changes_to(&after);
        assert_eq!(at_once, TAKES_EFFECT_AT_ONCE);
        let mut named: Vec<&str> = at_once.into_iter().chain(at_start.iter().copied()).collect();
        named.sort_unstable();
        let schema = serde_json::to_value(schemars::schema_for!(RawConfig)).expect("JSON");
        let settings: Vec<&String> = schema["properties"]
            .as_object()
            .expect("settings")
            .keys()
            .collect();
        assert_eq!(named, settings);

        let taken_up = before.taking_up(&after);
        let left = taken_up.changes_to(&after);
        assert_eq!(
            left,
            Changes {
                at_once: Vec::new(),
                at_start
            }
        );
        assert_eq!(before.changes_to(&before), Changes::default());
    }
}
