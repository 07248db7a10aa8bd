//! What is reached through SSH: endpoints, host keys, agents.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, de::Error as _};

/// Where NETCONF is spoken over SSH (RFC 6242).
const NETCONF_PORT: u16 = 830;

/// Names of hosts are no longer.
const LONGEST_HOST: usize = 255;

/// A server: `HOST`, `HOST:PORT`, `[::1]:830`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshEndpoint {
    host: String,
    port: u16,
}

impl SshEndpoint {
    /// The host's name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 830 where none is written.
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for SshEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!(
                "`{text}` is no endpoint: {why}; write `HOST`, `HOST:PORT` or `\"[ADDRESS]:PORT\"`"
            ))
        };
        let is_bare = text.parse::<Ipv6Addr>().is_ok();
        let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match bracketed {
            Some((host, rest)) if host.parse::<Ipv6Addr>().is_ok() => match rest.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if rest.is_empty() => (host, None),
                None => return refused("what stands behind `]` is no port"),
            },
            Some(_) => return refused("what stands in brackets is no IPv6 address"),
            None if is_bare => (text, None),
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(is_plain) {
            return refused("the host is missing, or none");
        }
        let port = match port.map(str::parse::<u16>) {
            None => NETCONF_PORT,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return refused("the port is no number from 1 to 65535"),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for SshEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A server's public key, as OpenSSH writes it: `ssh-ed25519 AAAA…`, with or without a comment behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostKey {
    algorithm: String,
    encoded: String,
}

impl HostKey {
    /// The algorithm: `ssh-ed25519`.
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The key in base64.
    pub fn encoded(&self) -> &str {
        &self.encoded
    }
}

impl FromStr for HostKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!(
                "`{text}` is no host key: {why}; write it as `ssh-keyscan` tells it, without the name: `ssh-ed25519 AAAA…`"
            ))
        };
        let mut words = text.split_ascii_whitespace();
        let (Some(algorithm), Some(encoded)) = (words.next(), words.next()) else {
            return refused("it has the algorithm and the key, with a blank between them");
        };
        let Ok(key) = STANDARD.decode(encoded) else {
            return refused("its second word is no base64");
        };
        // The key says its algorithm once more, behind four bytes with that name's length.
        let named = key.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            rest.get(..length)
        });
        if named != Some(algorithm.as_bytes()) {
            return refused("the key is of another algorithm than its first word says");
        }
        Ok(Self {
            algorithm: algorithm.to_owned(),
            encoded: encoded.to_owned(),
        })
    }
}

/// An agent that holds keys: `true`, `false`, or the path of its socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshAgent {
    /// None.
    None,
    /// The one that `SSH_AUTH_SOCK` names.
    OfEnvironment,
    /// The one behind this socket.
    At(PathBuf),
}

impl<'de> Deserialize<'de> for SshAgent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SwitchOrPath;

        impl Visitor<'_> for SwitchOrPath {
            type Value = SshAgent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`true`, `false` or the path of a socket")
            }

            fn visit_bool<E>(self, is_asked: bool) -> Result<SshAgent, E> {
                Ok(if is_asked {
                    SshAgent::OfEnvironment
                } else {
                    SshAgent::None
                })
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SshAgent, E> {
                match text {
                    "true" => Ok(SshAgent::OfEnvironment),
                    "false" => Ok(SshAgent::None),
                    "" => Err(E::custom("an agent is `true` or the path of its socket")),
                    path => Ok(SshAgent::At(path.into())),
                }
            }
        }

        deserializer.deserialize_any(SwitchOrPath)
    }
}

impl JsonSchema for SshAgent {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "SshAgent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["boolean", "string"] })
    }
}

read_from_text!(SshEndpoint, "SshEndpoint", { "type": "string", "description": "A host with or without a port: `esc.example.org:830`." });
read_from_text!(HostKey, "HostKey", { "type": "string", "description": "A public key: `ssh-ed25519 AAAA…`." });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn endpoints_have_the_port_of_netconf_unless_they_say_another() {
        for (text, host, port, shown) in [
            ("esc", "esc", 830, "esc:830"),
            (
                "esc.example.org:2022",
                "esc.example.org",
                2022,
                "esc.example.org:2022",
            ),
            ("192.0.2.7", "192.0.2.7", 830, "192.0.2.7:830"),
            ("[::1]:831", "::1", 831, "[::1]:831"),
            ("[2001:db8::7]", "2001:db8::7", 830, "[2001:db8::7]:830"),
            ("::1", "::1", 830, "[::1]:830"),
        ] {
            let endpoint: SshEndpoint = text.parse().unwrap_or_else(|why| panic!("{why}"));
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
            assert_eq!(endpoint.to_string(), shown);
        }
        for text in [
            "", ":830", "a:0", "a:70000", "a:b", "a b", "[::1", "[a]:1", "[::1]x", "ssh://a", "u@a", "a:1:2",
        ] {
            assert!(text.parse::<SshEndpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_key_is_of_the_algorithm_that_it_names() {
        let encoded = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let key: HostKey = format!("ssh-ed25519 {encoded} root@esc").parse().expect("a key");
        assert_eq!((key.algorithm(), key.encoded()), ("ssh-ed25519", encoded));
        for text in [
            "",
            "ssh-ed25519",
            "ssh-ed25519 %",
            "ssh-ed25519 AAAA",
            "ssh-ed25519 AA==",
        ] {
            assert!(text.parse::<HostKey>().is_err(), "{text}");
        }
        assert!(format!("ssh-rsa {encoded}").parse::<HostKey>().is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_them_panic(text in "\\PC{0,32}", bytes in proptest::collection::vec(any::<u8>(), 0..12)) {
            let _ = text.parse::<SshEndpoint>();
            let _ = text.parse::<HostKey>();
            let _ = format!("a {}", STANDARD.encode(bytes)).parse::<HostKey>();
        }
    }
}
