//! Where a ZeroMQ socket is: `tcp://host:port` or `ipc://path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a ZeroMQ socket.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `tcp://host:port`; the host is a name or an address, IPv6 in brackets.
    Tcp {
        /// The host, without brackets; `*` stands for all addresses where a socket is bound.
        host: String,
        /// The port.
        port: u16,
    },
    /// `ipc:///path`: a Unix socket.
    Ipc(PathBuf),
}

/// A text that is no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no endpoint; expected `tcp://host:port` or `ipc:///path/of/socket`")]
pub struct InvalidEndpoint {
    /// What was given.
    pub text: String,
}

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let invalid = || InvalidEndpoint {
            text: text.to_owned(),
        };
        if let Some(path) = text.strip_prefix("ipc://") {
            return if path.is_empty() {
                Err(invalid())
            } else {
                Ok(Self::Ipc(path.into()))
            };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(invalid)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(invalid)?;
        let host = match host.strip_prefix('[') {
            Some(bracketed) => bracketed.strip_suffix(']').ok_or_else(invalid)?,
            None if host.contains([':', ']', '/']) => return Err(invalid()),
            None => host,
        };
        if host.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(invalid());
        }
        Ok(Self::Tcp {
            host: host.to_owned(),
            port: port.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Ipc(path) => write!(f, "ipc://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_are_read_and_written_as_zeromq_spells_them() {
        for text in [
            "tcp://127.0.0.1:2101",
            "tcp://[::1]:2101",
            "tcp://one-front.example.org:65535",
            "tcp://*:0",
            "ipc:///run/one/hm.sock",
        ] {
            let endpoint: Endpoint = text.parse().expect(text);
            assert_eq!(endpoint.to_string(), text);
        }
        for text in [
            "",
            "127.0.0.1:2101",
            "tcp://",
            "tcp://host",
            "tcp://:1",
            "tcp://host:",
            "tcp://host:+1",
            "tcp://host:65536",
            "tcp://::1:2101",
            "tcp://[::1:2101",
            "tcp://host/x:1",
            "ipc://",
            "pgm://x:1",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_endpoint_that_reads_back_or_an_error(text in "(tcp://|ipc://)?\\PC{0,30}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
            }
        }
    }
}
