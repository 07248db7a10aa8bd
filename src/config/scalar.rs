//! The scalars of `hem.yaml` with their schemas: `30s`, `256MiB`, `"0660"`, `tcp://127.0.0.1:2101`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::event::EMITTED;
use crate::event::redaction::Redaction;
use crate::quantity::{self, Fault};

/// A duration with its unit: `250ms`, `30s`, `10m`, `2h`, `30d`, or several in a row, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DurationText(pub Duration);

impl FromStr for DurationText {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        quantity::duration(text).map(Self)
    }
}

impl fmt::Display for DurationText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
            if millis != 0 && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

/// A number of bytes with its unit: `64KiB`, `256MiB`, `2GiB` (1024 based), `500MB` (1000 based), `4096B`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeText(pub u64);

impl FromStr for SizeText {
    type Err = Fault;

    fn from_str(text: &str) -> Result<Self, Fault> {
        quantity::size(text).map(Self)
    }
}

/// A file mode in octal, in quotes: `"0600"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeText(pub u32);

impl FromStr for ModeText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("`{text}` is no file mode; write it in octal, such as \"0600\" or \"0660\"");
        let octal = text.strip_prefix("0o").unwrap_or(text);
        if !(3..=4).contains(&octal.len()) || !octal.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let mode = u32::from_str_radix(octal, 8).map_err(|_| refused())?;
        if mode > 0o777 {
            return Err(refused());
        }
        if mode & 0o600 != 0o600 {
            return Err(format!(
                "mode `{text}` would shut out the socket's own user; it needs at least 0600"
            ));
        }
        if mode & 0o007 != 0 {
            return Err(format!(
                "mode `{text}` would let every user of this machine give orders; use `socket_group` and \"0660\""
            ));
        }
        Ok(Self(mode))
    }
}

/// A ZeroMQ endpoint: `tcp://HOST:PORT` or `ipc:///absolute/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(pub String);

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!(
                "`{text}` is no endpoint: {why}; write `tcp://HOST:PORT` or `ipc:///path/of/socket`"
            ))
        };
        if let Some(path) = text.strip_prefix("ipc://") {
            return if path.starts_with('/') {
                Ok(Self(text.to_owned()))
            } else {
                refused("the path is not absolute")
            };
        }
        let Some(address) = text.strip_prefix("tcp://") else {
            return refused("it begins neither with `tcp://` nor with `ipc://`");
        };
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() => match port.parse::<u16>() {
                Ok(0) | Err(_) => refused("the port is no number from 1 to 65535"),
                Ok(_) => Ok(Self(text.to_owned())),
            },
            _ => refused("the port is missing"),
        }
    }
}

impl Endpoint {
    /// The same host, one port further: where OpenNebula's hook manager takes replies by default.
    /// None for `ipc://` endpoints and for the last port.
    pub fn next_port(&self) -> Option<Self> {
        let (host, port) = self.0.strip_prefix("tcp://")?.rsplit_once(':')?;
        let next = port.parse::<u16>().ok()?.checked_add(1)?;
        Some(Self(format!("tcp://{host}:{next}")))
    }
}

/// How many scripts run at once: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency(pub usize);

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 1..=1000) => Ok(Self(number)),
            _ => Err(format!("`{text}` is no number from 1 to 1000")),
        }
    }
}

/// A source's name: letters, digits, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceName(pub String);

impl FromStr for SourceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == EMITTED {
            return Err("`emit` is kept for events made by `hem emit`; name the source otherwise".to_owned());
        }
        if text.is_empty()
            || !text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        {
            return Err(format!(
                "`{text}` is no name for a source; allowed are letters, digits, `_` and `-`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// An element or a parameter whose value is never printed: `//PIN`, `one.vm.exec IN 3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactionPath(pub String);

impl FromStr for RedactionPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Redaction::new(&[text])
            .map(|_| Self(text.to_owned()))
            .map_err(|error| error.to_string())
    }
}

/// What the log holds, as in `HEM_LOG`: `info`, `warn,hem::engine=debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The library takes a misspelt level for a part of the program, and the log falls silent.
        for directive in text.split(',') {
            let (part, level) = directive.rsplit_once('=').unwrap_or(("hem", directive));
            let is_part = !part.is_empty()
                && part
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'));
            if !is_part {
                return Err(format!(
                    "`{part}` is no part of hem; write for example `info,hem::engine=debug`"
                ));
            }
            if !matches!(level, "off" | "error" | "warn" | "info" | "debug" | "trace") {
                return Err(format!(
                    "`{level}` is no level; there are off, error, warn, info, debug and trace"
                ));
            }
        }
        Ok(Self(text.to_owned()))
    }
}

macro_rules! read_from_text {
    ($type:ty, $name:literal, $schema:tt) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    };
}

read_from_text!(DurationText, "Duration", {
    "type": "string",
    "pattern": format!("^{}$", quantity::DURATION_PATTERN)
});
read_from_text!(SizeText, "Size", {
    "type": "string",
    "pattern": format!("^{}$", quantity::SIZE_PATTERN)
});
read_from_text!(ModeText, "Mode", {
    "type": "string",
    "pattern": r"^0?[67][0-7]0$"
});
read_from_text!(Endpoint, "Endpoint", {
    "type": "string",
    "pattern": r"^(tcp://.+:[0-9]+|ipc:///.+)$"
});
read_from_text!(Concurrency, "Concurrency", {
    "type": "integer",
    "minimum": 1,
    "maximum": 1000
});
read_from_text!(LogFilter, "LogFilter", {
    "type": "string",
    "pattern": r"^([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace)(,([A-Za-z0-9_:]+=)?(off|error|warn|info|debug|trace))*$"
});
read_from_text!(RedactionPath, "RedactionPath", { "type": "string" });
read_from_text!(SourceName, "SourceName", {
    "type": "string",
    "pattern": r"^[A-Za-z0-9_-]+$"
});

mod http;
mod kafka;
mod masakari;
mod ssh;
mod url;

pub use self::http::{
    EndpointName, HeaderName, HostPattern, ListenAddress, MethodName, Network, SubjectExpression, TokenName,
    UrlPath, VariableName,
};
pub use self::kafka::{BrokerAddress, GroupName, PropertyText, TopicName};
pub use self::masakari::{MasakariHostName, SegmentName, UuidText};
pub use self::ssh::{HostKey, SshAgent, SshEndpoint};
pub use self::url::{HttpUrl, RpcEndpoint};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn modes_that_shut_out_the_owner_or_let_in_everybody_are_refused() {
        assert_eq!("0600".parse(), Ok(ModeText(0o600)));
        assert_eq!("660".parse(), Ok(ModeText(0o660)));
        for text in ["", "0900", "0666", "0060", "77777", "rw"] {
            assert!(text.parse::<ModeText>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_misspelt_level_does_not_silence_the_log() {
        for text in ["info", "off", "warn,hem::engine=debug", "hem=trace,info"] {
            assert!(text.parse::<LogFilter>().is_ok(), "{text}");
            assert!(tracing_subscriber::EnvFilter::try_new(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "inof",
            "INFO",
            "info,",
            "hem::engine",
            "=debug",
            "hem engine=info",
            "info, warn",
        ] {
            assert!(text.parse::<LogFilter>().is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_name_a_port_or_a_path() {
        for text in [
            "tcp://127.0.0.1:2101",
            "tcp://[::1]:2101",
            "ipc:///run/one/hm.sock",
        ] {
            assert!(text.parse::<Endpoint>().is_ok(), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:2101",
            "tcp://host",
            "tcp://:1",
            "tcp://host:0",
            "tcp://h:70000",
            "ipc://relative",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        let endpoint: Endpoint = "tcp://127.0.0.1:2101".parse().expect("an endpoint");
        assert_eq!(
            endpoint.next_port(),
            Some(Endpoint("tcp://127.0.0.1:2102".to_owned()))
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,24}") {
            let _ = text.parse::<ModeText>();
            let _ = text.parse::<Endpoint>();
            let _ = text.parse::<LogFilter>();
        }

        #[test]
        fn a_duration_is_read_back_as_it_is_printed(millis in 0u64..10_000_000_000) {
            let duration = DurationText(Duration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }
    }
}
