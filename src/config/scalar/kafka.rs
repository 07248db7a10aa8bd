//! The scalars of Kafka: brokers, names of topics and groups, the values of librdkafka's properties.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer};

/// Where brokers listen unless something else is said.
const PORT: u16 = 9092;

/// Kafka takes no longer names of topics.
const LONGEST_TOPIC: usize = 249;

/// Longer names of groups are a slip.
const LONGEST_GROUP: usize = 255;

/// Where a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerAddress {
    /// A name or a numeric address, one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl BrokerAddress {
    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        match self.host.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => self.host.eq_ignore_ascii_case("localhost"),
        }
    }
}

impl fmt::Display for BrokerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for BrokerAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!(
                "`{text}` is no broker; write its name and port, `kafka.example.org:9092` or \"[::1]:9092\""
            )
        };
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, rest)) => {
                address.parse::<std::net::Ipv6Addr>().map_err(|_| refused())?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if rest.is_empty() => None,
                    None => return Err(refused()),
                };
                (address, port)
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || !host.bytes().all(is_plain) {
            return Err(refused());
        }
        let port = match port {
            None => PORT,
            Some(port) => port.parse().ok().filter(|&port| port != 0).ok_or_else(refused)?,
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

/// The name of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicName(pub String);

impl FromStr for TopicName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if matches!(text, "" | "." | "..") || text.len() > LONGEST_TOPIC || !text.bytes().all(is_allowed) {
            return Err(format!(
                "`{text}` is no name of a topic; it has up to {LONGEST_TOPIC} letters, digits, `.`, `_` and `-`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The name of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupName(pub String);

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_plain = text.trim() == text && !text.chars().any(char::is_control);
        if text.is_empty() || text.len() > LONGEST_GROUP || !is_plain {
            return Err(format!(
                "`{text}` is no name of a group; it has up to {LONGEST_GROUP} characters that can be seen and no blank at its ends"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// What one of librdkafka's properties is set to: a text, a number, `true` or `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertyText(pub String);

impl<'de> Deserialize<'de> for PropertyText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyScalar;

        impl Visitor<'_> for AnyScalar {
            type Value = PropertyText;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number, `true` or `false`")
            }

            fn visit_bool<E>(self, value: bool) -> Result<PropertyText, E> {
                Ok(PropertyText(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<PropertyText, E> {
                Ok(PropertyText(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<PropertyText, E> {
                Ok(PropertyText(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<PropertyText, E> {
                Ok(PropertyText(value.to_string()))
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<PropertyText, E> {
                if value.contains('\0') {
                    return Err(E::custom("a property's value holds no NUL"));
                }
                Ok(PropertyText(value.to_owned()))
            }
        }

        deserializer.deserialize_any(AnyScalar)
    }
}

impl JsonSchema for PropertyText {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Property".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

read_from_text!(BrokerAddress, "Broker", {
    "type": "string",
    "pattern": r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]+)?$"
});
read_from_text!(TopicName, "Topic", {
    "type": "string",
    "pattern": r"^[A-Za-z0-9._-]{1,249}$"
});
read_from_text!(GroupName, "Group", {
    "type": "string",
    "minLength": 1,
    "maxLength": 255
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brokers_are_read_with_and_without_a_port() {
        let read = |text: &str| text.parse::<BrokerAddress>().map(|broker| broker.to_string());
        assert_eq!(read("kafka"), Ok("kafka:9092".to_owned()));
        assert_eq!(
            read("kafka.example.org:9093"),
            Ok("kafka.example.org:9093".to_owned())
        );
        assert_eq!(read("[::1]:19092"), Ok("[::1]:19092".to_owned()));
        assert_eq!(read("[2001:db8::1]"), Ok("[2001:db8::1]:9092".to_owned()));
        for text in [
            "",
            ":9092",
            "a:0",
            "a:65536",
            "a b",
            "a,b",
            "ssl://a:1",
            "[::1",
            "[::1]9",
            "::1",
            "[a]:1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let is_local = |text: &str| text.parse::<BrokerAddress>().expect("a broker").is_loopback();
        assert!(is_local("localhost") && is_local("127.0.0.2:1") && is_local("[::1]:1"));
        assert!(!is_local("10.0.0.1") && !is_local("localhost.example.org"));
    }

    #[test]
    fn names_that_kafka_takes_are_taken() {
        for text in ["ncmp-events", "a.b_c", "A"] {
            assert!(text.parse::<TopicName>().is_ok(), "{text}");
        }
        // A `^` in front would be a pattern to librdkafka.
        for text in ["", ".", "..", "^ncmp", "a b", "ü", &"a".repeat(250)] {
            assert!(text.parse::<TopicName>().is_err(), "{text}");
        }
        assert!("hem of site 1".parse::<GroupName>().is_ok());
        for text in ["", " hem", "a\nb"] {
            assert!(text.parse::<GroupName>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_broker_that_is_read_is_written_so_that_it_is_read_again(text in "[a-z0-9.:\\[\\]-]{0,20}") {
            if let Ok(broker) = text.parse::<BrokerAddress>() {
                prop_assert_eq!(broker.to_string().parse(), Ok(broker));
            }
        }
    }
}
