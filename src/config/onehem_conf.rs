//! `onehem-server.conf`, the configuration of OpenNebula's own hook execution manager: YAML whose keys are Ruby symbols,
//! `:concurrency: 10` (`src/hem/etc/onehem-server.conf`).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::fault::{Fault, first_line};
use super::load::{ConfigError, Place};
use super::raw::RawOned;
use super::scalar::{Concurrency, Endpoint, LogFilter};
use super::{Config, Oned, OpennebulaSource, Source};

/// The levels that `:debug_level` counts through, from 0, as hem calls them.
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

/// What the file says; a setting that it does not have is unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OnehemConf {
    /// `:debug_level`.
    pub log: Option<LogFilter>,
    /// `:hook_base_path`.
    pub hook_base_path: Option<PathBuf>,
    /// `:remote_hook_base_path`.
    pub remote_hook_base_path: Option<PathBuf>,
    /// `:subscriber_endpoint`.
    pub subscriber_endpoint: Option<Endpoint>,
    /// `:replier_endpoint`.
    pub replier_endpoint: Option<Endpoint>,
    /// `:concurrency`.
    pub concurrency: Option<Concurrency>,
    /// What of the file is not read, in sentences without a full stop.
    pub notes: Vec<String>,
}

impl OnehemConf {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is no YAML, or has a value that cannot be used.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::from_text(&text, path)
    }

    /// Checks the text of a file that stands at `path`.
    ///
    /// # Errors
    /// It is no YAML, or has a value that cannot be used; with line and column.
    pub fn from_text(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let options = serde_saphyr::options! { with_snippet: false };
        let only_comments = text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#') || line == "---"
        });
        if only_comments {
            return Ok(Self::default());
        }
        let entries: BTreeMap<String, Spanned<Scalar>> = serde_saphyr::from_str_with_options(text, options)
            .map_err(|error| {
            let (line, column) = error
                .location()
                .map_or((0, 0), |location| (location.line(), location.column()));
            let message = first_line(&error.without_snippet().to_string());
            Fault::at(path, text, line, column, message)
        })?;
        let mut conf = Self::default();
        for (key, value) in entries {
            let place = value.referenced;
            conf.set(&key, value.value)
                .map_err(|message| Fault::at(path, text, place.line(), place.column(), message))?;
        }
        Ok(conf)
    }

    fn set(&mut self, key: &str, value: Scalar) -> Result<(), String> {
        let Some(name) = key.strip_prefix(':') else {
            self.notes.push(format!(
                "`{key}` is not read: it has no `:` before it, and onehem-server did not read it either"
            ));
            return Ok(());
        };
        let text = match value {
            Scalar::Text(text) => text,
            Scalar::Nothing => {
                self.notes.push(format!("`{key}` has no value and is not read"));
                return Ok(());
            }
            Scalar::Other => String::new(),
        };
        match name {
            "debug_level" => {
                let level = text
                    .parse::<usize>()
                    .ok()
                    .and_then(|number| LEVELS.get(number))
                    .ok_or_else(|| format!("`{key}`: `{text}` is no level from 0 to 3"))?;
                self.log = Some(level.parse()?);
            }
            "hook_base_path" => self.hook_base_path = Some(absolute(key, &text)?),
            "remote_hook_base_path" => self.remote_hook_base_path = Some(absolute(key, &text)?),
            "subscriber_endpoint" => self.subscriber_endpoint = Some(read(key, &text)?),
            "replier_endpoint" => self.replier_endpoint = Some(read(key, &text)?),
            "concurrency" => self.concurrency = Some(read(key, &text)?),
            _ => self
                .notes
                .push(format!("`{key}` is not read: hem has no such setting")),
        }
        Ok(())
    }
}

fn read<T: FromStr<Err = String>>(key: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|message| format!("`{key}`: {message}"))
}

fn absolute(key: &str, text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(format!("`{key}`: `{text}` is no absolute path"))
    }
}

impl Config {
    /// Puts what `onehem-server.conf` says in the place of what `hem.yaml` says, and follows `oned`'s pool, as onehem-server
    /// does.
    ///
    /// # Errors
    /// It cannot be told which of several sources is meant, or where `oned` is.
    pub(super) fn with_onehem_conf(mut self, conf: &OnehemConf, place: &Place) -> Result<Self, ConfigError> {
        if let Some(log) = &conf.log {
            self.log = log.clone();
        }
        if let Some(folder) = &conf.hook_base_path {
            self.onehem_scripts_dir.clone_from(folder);
        }
        if let Some(folder) = &conf.remote_hook_base_path {
            self.remote_scripts_dir.clone_from(folder);
        }
        if let Some(number) = conf.concurrency {
            self.concurrency = number.0;
        }
        let name = match (&self.oned, self.opennebula_source()) {
            (Some(oned), _) => oned.source.clone(),
            (None, Some(name)) => name.to_owned(),
            (None, None) if self.opennebula_sources().next().is_none() => "opennebula".to_owned(),
            (None, None) => {
                return Err(ConfigError::Oned(
                    "there are several sources; say in hem.yaml whose controller it is: `oned: { source: … }`"
                        .to_owned(),
                ));
            }
        };
        let entry = self
            .sources
            .entry(name.clone())
            .or_insert_with(|| Source::Opennebula(OpennebulaSource::default()));
        let Source::Opennebula(source) = entry else {
            return Err(ConfigError::Oned(format!(
                "the source `{name}` of hem.yaml is none of type `opennebula`"
            )));
        };
        if let Some(endpoint) = &conf.subscriber_endpoint {
            source.endpoint.clone_from(&endpoint.0);
        }
        if let Some(endpoint) = &conf.replier_endpoint {
            source.replies.clone_from(&endpoint.0);
        }
        if self.oned.is_none() {
            let oned = Oned::from_raw(&RawOned::default(), name, Path::new("/"), place)
                .map_err(ConfigError::Oned)?;
            self.oned = Some(oned);
        }
        Ok(self)
    }
}

/// A value of the file.
enum Scalar {
    Text(String),
    Nothing,
    /// A list or a mapping, which no setting takes.
    Other,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl<'de> Visitor<'de> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Scalar, E> {
                Ok(Scalar::Text(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Text(number.to_string()))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Scalar, E> {
                Ok(Scalar::Text(number.to_string()))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Text(value.to_string()))
            }

            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_none<E>(self) -> Result<Scalar, E> {
                Ok(Scalar::Nothing)
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar, D::Error> {
                Scalar::deserialize(deserializer)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Scalar, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Scalar, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Scalar::Other)
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Overrides;

    /// As OpenNebula's packages install it, without its comments.
    const SHIPPED: &str = "# comment\n\n:debug_level: 2\n\n:hook_base_path: '/var/lib/one/remotes/hooks'\n\
                           :remote_hook_base_path: '/var/tmp/one/hooks'\n\n:subscriber_endpoint: 'tcp://localhost:2101'\n\
                           :replier_endpoint: 'tcp://localhost:2102'\n\n:concurrency: 10\n";

    fn conf(text: &str) -> Result<OnehemConf, ConfigError> {
        OnehemConf::from_text(text, Path::new("/etc/one/onehem-server.conf"))
    }

    fn in_force(yaml: &str, text: &str, place: &Place) -> Config {
        Config::from_text(yaml, Path::new("/etc/hem/hem.yaml"), place)
            .and_then(|config| config.with_onehem_conf(&conf(text)?, place))
            .expect("a configuration")
    }

    fn source(config: &Config, name: &str) -> OpennebulaSource {
        let Source::Opennebula(source) = &config.sources[name] else {
            panic!("{:?}", config.sources[name])
        };
        source.clone()
    }

    #[test]
    fn the_shipped_file_is_read_whole() {
        let conf = conf(SHIPPED).expect("the file");
        assert_eq!(
            conf,
            OnehemConf {
                log: Some("info".parse().expect("a level")),
                hook_base_path: Some("/var/lib/one/remotes/hooks".into()),
                remote_hook_base_path: Some("/var/tmp/one/hooks".into()),
                subscriber_endpoint: Some(Endpoint("tcp://localhost:2101".to_owned())),
                replier_endpoint: Some(Endpoint("tcp://localhost:2102".to_owned())),
                concurrency: Some(Concurrency(10)),
                notes: Vec::new(),
            }
        );
    }

    #[test]
    fn what_the_file_says_goes_before_what_hem_yaml_says() {
        let place = Place {
            root: true,
            ..Place::default()
        };
        let yaml = "concurrency: 3\nlog: error\nblocked_after: 1m\n\
                    sources: { one: { type: opennebula, endpoint: \"tcp://10.0.0.1:1\" } }\n";
        let text = ":concurrency: 20\n:debug_level: 3\n:subscriber_endpoint: tcp://10.0.0.2:5001\n\
                    :hook_base_path: /srv/hooks\n:remote_hook_base_path: /srv/remote\n";
        let config = in_force(yaml, text, &place);
        assert_eq!((config.concurrency, config.log.as_str()), (20, "debug"));
        assert_eq!(config.blocked_after.as_secs(), 60);
        assert_eq!(config.onehem_scripts_dir, Path::new("/srv/hooks"));
        assert_eq!(config.remote_scripts_dir, Path::new("/srv/remote"));
        assert_eq!(source(&config, "one").endpoint, "tcp://10.0.0.2:5001");
        assert_eq!(source(&config, "one").replies, "tcp://10.0.0.1:2");
        let oned = config.oned.expect("oned is asked");
        assert!(oned.hooks);
        assert_eq!(oned.source, "one");

        // What hem.yaml says of oned stays.
        let config = in_force(
            "oned: { leader_only: true }\n",
            ":replier_endpoint: tcp://h:7\n",
            &place,
        );
        assert!(config.oned.as_ref().is_some_and(|oned| oned.leader_only));
        assert_eq!(source(&config, "opennebula").replies, "tcp://h:7");
        let config = in_force("sources: {}\n", SHIPPED, &place);
        assert_eq!(source(&config, "opennebula").endpoint, "tcp://localhost:2101");

        let two = "sources: { a: { type: opennebula }, b: { type: opennebula } }\n";
        let refused = Config::from_text(two, Path::new("/etc/hem/hem.yaml"), &place)
            .expect("a configuration")
            .with_onehem_conf(&OnehemConf::default(), &place)
            .expect_err("which one?");
        assert!(refused.to_string().contains("several sources"), "{refused}");
    }

    #[test]
    fn what_the_command_line_says_goes_before_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("onehem-server.conf");
        std::fs::write(&file, SHIPPED.replace("10", "7")).expect("a file");
        let overrides = |onehem_conf: &Path| Overrides {
            opennebula: Some(Endpoint("tcp://10.0.0.9:2101".to_owned())),
            onehem_conf: Some(onehem_conf.to_owned()),
            ..Overrides::default()
        };
        let yaml = "sources: { one: { type: opennebula } }\n";
        let read = || {
            Config::from_text(yaml, Path::new("/etc/hem/hem.yaml"), &Place::default())
                .expect("a configuration")
        };
        let config = read().with(overrides(&file)).expect("a configuration");
        assert_eq!(config.concurrency, 7);
        assert_eq!(source(&config, "opennebula").endpoint, "tcp://10.0.0.9:2101");
        assert_eq!(config.oned.expect("oned is asked").source, "opennebula");
        let absent = read()
            .with(overrides(&folder.path().join("none")))
            .expect_err("no such file");
        assert!(matches!(absent, ConfigError::Read { .. }), "{absent}");
    }

    /// onehem-server looks in `var/remotest/hooks` there.
    #[test]
    fn the_default_hook_path_below_one_location_is_spelt_rightly() {
        for root in [true, false] {
            let place = Place {
                root,
                home: Some("/home/one".into()),
                one_location: Some("/opt/one".into()),
                ..Place::default()
            };
            for text in ["", ":concurrency: 10\n"] {
                let config = in_force("", text, &place);
                assert_eq!(config.onehem_scripts_dir, Path::new("/opt/one/var/remotes/hooks"));
            }
            let named = in_force("", ":hook_base_path: /srv/hooks\n", &place);
            assert_eq!(named.onehem_scripts_dir, Path::new("/srv/hooks"));
            let named = in_force("onehem_scripts_dir: /srv/own\n", "", &place);
            assert_eq!(named.onehem_scripts_dir, Path::new("/srv/own"));
        }
        let config = in_force("", "", &Place::default());
        assert_eq!(config.onehem_scripts_dir, Path::new("/var/lib/one/remotes/hooks"));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_place() {
        for (text, line, part) in [
            (
                ":debug_level: 7\n",
                1,
                "`:debug_level`: `7` is no level from 0 to 3",
            ),
            (
                "\n:concurrency: 0\n",
                2,
                "`:concurrency`: `0` is no number from 1 to 1000",
            ),
            (":concurrency: [1]\n", 1, "is no number"),
            (":hook_base_path: hooks\n", 1, "`hooks` is no absolute path"),
            (
                ":subscriber_endpoint: localhost\n",
                1,
                "`localhost` is no endpoint",
            ),
            (":a: [\n", 0, ""),
            ("- a\n", 0, ""),
        ] {
            let ConfigError::Invalid(fault) = conf(text).expect_err(text) else {
                panic!("another error")
            };
            assert!(line == 0 || fault.line == line, "{text:?}: {fault}");
            assert!(fault.message.contains(part), "{text:?}: {fault}");
        }
    }

    #[test]
    fn what_is_not_read_is_said() {
        let conf = conf("concurrency: 7\n:own: [1, { a: b }]\n:replier_endpoint:\n").expect("a file");
        assert_eq!(conf.concurrency, None);
        assert_eq!(conf.notes.len(), 3, "{:?}", conf.notes);
        assert!(
            conf.notes.iter().any(|note| note.contains("`:own`")),
            "{:?}",
            conf.notes
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(:debug_level: |:concurrency: |:|[a-z]{1,4}|\n|[0-9]|'|\"|\\[|\\{|- |\\PC){0,24}") {
            let _ = conf(&text);
        }
    }
}
