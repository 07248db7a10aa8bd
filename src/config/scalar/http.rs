//! The scalars of what listens for HTTP: `127.0.0.1:8080`, `/deploy`, `X-GitHub-Event`, `10.0.0.0/8`.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

use crate::expression::Expression;

/// Longer paths are no addresses that people give out.
const LONGEST_PATH: usize = 512;

/// An address and a port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddress(pub SocketAddr);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numeric = match text.strip_prefix("localhost:") {
            Some(port) => Cow::Owned(format!("127.0.0.1:{port}")),
            None => Cow::Borrowed(text),
        };
        numeric.parse().map(Self).map_err(|_| {
            format!(
                "`{text}` is no address to listen on; write an address and a port, `127.0.0.1:8080` or \"[::1]:8080\""
            )
        })
    }
}

/// A name by which this machine is reached, with a port or for any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// Any name.
    Any,
    /// This one.
    Name {
        /// A name or a numeric address, in small letters, one of IPv6 in brackets: as it stands in a `Host` header.
        host: String,
        /// For this port alone.
        port: Option<u16>,
    },
}

impl FromStr for HostPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let refused = || {
            format!(
                "`{text}` is no name of a host; write `hem.example.org`, `hem.example.org:8443` or \"[2001:db8::1]\""
            )
        };
        // The colons of an address in brackets are no port's.
        let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
        let (host, port) = match text.get(after_brackets..).and_then(|rest| rest.rfind(':')) {
            Some(at) => {
                let (host, port) = text.split_at(after_brackets + at);
                (host, Some(port[1..].parse().map_err(|_| refused())?))
            }
            None => (text, None),
        };
        let is_address = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
        let is_name = (1..=253).contains(&host.len())
            && host
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
        if !is_address && !is_name {
            return Err(refused());
        }
        Ok(Self::Name {
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

/// The name of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenName(pub String);

impl FromStr for TokenName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(is_allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "`{text}` is no name for tokens; use letters, digits, dots, hyphens and underscores, 64 at most"
            ))
        }
    }
}

/// The path of an address: `/deploy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPath(pub String);

impl FromStr for UrlPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| Err(format!("`{text}` is no path: {why}"));
        if !text.starts_with('/') {
            return refused("it does not begin with `/`");
        }
        if text.len() > LONGEST_PATH {
            return refused("it is too long");
        }
        let is_plain =
            |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'"' | b'<' | b'>');
        if !text.bytes().all(is_plain) {
            return refused(
                "it holds a character that stands in no path as it is; write it as `%` and two digits",
            );
        }
        Ok(Self(text.to_owned()))
    }
}

/// A method of HTTP that an endpoint can take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MethodName(pub String);

impl FromStr for MethodName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "GET" | "POST" | "PUT" | "PATCH" | "DELETE" => Ok(Self(text.to_owned())),
            _ => Err(format!(
                "`{text}` is no method; there are GET, POST, PUT, PATCH and DELETE"
            )),
        }
    }
}

/// The name of a header, in small letters, because that is how they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderName(pub String);

impl FromStr for HeaderName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(is_allowed) {
            return Err(format!(
                "`{text}` is no name of a header; allowed are letters, digits, `-` and `_`"
            ));
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

/// The name of an endpoint: letters, digits, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointName(pub String);

impl FromStr for EndpointName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if text.is_empty() || text.len() > 64 || !text.bytes().all(is_allowed) {
            return Err(format!(
                "`{text}` is no name for an endpoint; allowed are letters, digits, `.`, `_` and `-`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of a variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableName(pub String);

impl FromStr for VariableName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if text.is_empty() || text.as_bytes()[0].is_ascii_digit() || !text.bytes().all(is_allowed) {
            return Err(format!("`{text}` is no name of a variable"));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What an event is about, as a CEL expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectExpression(pub Expression);

impl FromStr for SubjectExpression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Expression::compile(text)
            .map(Self)
            .map_err(|error| format!("`{text}` is no expression: {error}"))
    }
}

/// An address, or all that begin alike: `192.0.2.7`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address is in it. An IPv4 address in IPv6's clothes is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = network.to_bits() ^ address.to_bits();
                differing.leading_zeros() >= u32::from(self.prefix)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = |why: &str| {
            Err(format!(
                "`{text}` is no address or network: {why}; write `192.0.2.7` or `10.0.0.0/8`"
            ))
        };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let Ok(address) = address.parse::<IpAddr>() else {
            return refused("the address cannot be read");
        };
        let (longest, bits) = match address {
            IpAddr::V4(address) => (32, u128::from(address.to_bits()) << 96),
            IpAddr::V6(address) => (128, address.to_bits()),
        };
        let prefix = match prefix.map(str::parse::<u8>) {
            None => longest,
            Some(Ok(prefix)) if prefix <= longest => prefix,
            Some(_) => return refused("the number behind `/` cannot be"),
        };
        if bits.checked_shl(u32::from(prefix)).unwrap_or_default() != 0 {
            return refused("it has bits behind the network's own");
        }
        Ok(Self { address, prefix })
    }
}

read_from_text!(ListenAddress, "ListenAddress", { "type": "string", "description": "An address and a port: `127.0.0.1:8080`." });
read_from_text!(HostPattern, "HostPattern", { "type": "string", "description": "A name by which a machine is reached, with or without a port." });
read_from_text!(TokenName, "TokenName", { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" });
read_from_text!(UrlPath, "UrlPath", { "type": "string", "pattern": "^/" });
read_from_text!(MethodName, "MethodName", { "enum": ["GET", "POST", "PUT", "PATCH", "DELETE"] });
read_from_text!(HeaderName, "HeaderName", { "type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$" });
read_from_text!(EndpointName, "EndpointName", { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" });
read_from_text!(VariableName, "VariableName", { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" });
read_from_text!(SubjectExpression, "SubjectExpression", { "type": "string", "description": "A CEL expression." });
read_from_text!(Network, "Network", { "type": "string", "description": "An address or a network: `10.0.0.0/8`." });

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_of_hosts_may_say_a_port() {
        let name = |host: &str, port| {
            Ok(HostPattern::Name {
                host: host.to_owned(),
                port,
            })
        };
        for (text, read) in [
            ("*", Ok(HostPattern::Any)),
            ("Hem.Example.org", name("hem.example.org", None)),
            ("hem.example.org:8443", name("hem.example.org", Some(8443))),
            ("192.0.2.7:80", name("192.0.2.7", Some(80))),
            ("[2001:db8::1]", name("[2001:db8::1]", None)),
            ("[2001:DB8::1]:8443", name("[2001:db8::1]", Some(8443))),
        ] {
            assert_eq!(text.parse::<HostPattern>(), read, "{text}");
        }
        for text in [
            "",
            "http://hem",
            "hem/",
            "hem:x",
            "hem:70000",
            "2001:db8::1",
            "[hem]",
            "a b",
            ":80",
        ] {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.100"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("::/0", "::1", "127.0.0.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
        ] {
            let read: Network = network.parse().expect("a network");
            assert!(
                read.contains(inside.parse().expect("an address")),
                "{network} {inside}"
            );
            assert!(
                !read.contains(outside.parse().expect("an address")),
                "{network} {outside}"
            );
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::1/129",
            "host",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0/8",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_network_that_is_read_holds_its_own_address_and_reads_back(address: u32, prefix in 0_u8..=32) {
            let address = std::net::Ipv4Addr::from_bits(address & u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
            let network: Network = format!("{address}/{prefix}").parse().expect("a network");
            prop_assert!(network.contains(address.into()));
            prop_assert_eq!(network.to_string().parse::<Network>(), Ok(network));
        }

        #[test]
        fn no_text_makes_a_scalar_panic(text in "\\PC{0,40}|[0-9a-f:./]{0,40}") {
            let _ = text.parse::<Network>();
            let _ = text.parse::<ListenAddress>();
            let _ = text.parse::<TokenName>();
            let _ = text.parse::<HostPattern>();
            let _ = text.parse::<UrlPath>();
            let _ = text.parse::<HeaderName>();
            let _ = text.parse::<VariableName>();
            let _ = text.parse::<EndpointName>();
        }
    }
}
