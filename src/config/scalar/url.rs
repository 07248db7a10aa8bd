//! Where something is reached over HTTP: `https://keystone.example.org:5000/v3`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de::Error as _};

/// Longer addresses are none that people write.
const LONGEST: usize = 2_048;

/// An address for HTTP: `http://HOST[:PORT][/PATH]`, or the same with `https`. Never with credentials, a query or a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl {
    text: String,
    is_https: bool,
    host: String,
    port: u16,
    path: String,
}

impl HttpUrl {
    /// As it was written, without slashes at its end.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is asked through TLS.
    pub const fn is_https(&self) -> bool {
        self.is_https
    }

    /// The host's name or address, an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; 80 or 443 where none is written.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path without a slash at its end; empty where none is written.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address with `version` (`/v3`) at its end, where it does not stand there already.
    #[must_use]
    pub fn of_version(self, version: &str) -> Self {
        if self.path.ends_with(version) {
            return self;
        }
        Self {
            text: self.text + version,
            path: self.path + version,
            ..self
        }
    }

    /// Whether only this machine can be meant.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost"
            || self
                .host
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.to_canonical().is_loopback())
    }

    /// What a request says in its header `Host`.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            Cow::Owned(format!("[{}]", self.host))
        } else {
            Cow::Borrowed(self.host.as_str())
        };
        match (self.is_https, self.port) {
            (true, 443) | (false, 80) => host.into_owned(),
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // What stands there may hold a password.
        let refused = |why: &str| {
            let shown = if text.contains('@') { "the address" } else { text };
            Err(format!(
                "`{shown}` cannot be used: {why}; write `http://HOST:PORT` or `https://HOST:PORT`"
            ))
        };
        let (is_https, rest) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return refused("it begins neither with `http://` nor with `https://`"),
        };
        if text.len() > LONGEST {
            return refused("it is too long");
        }
        if !rest.bytes().all(|byte| byte.is_ascii_graphic()) {
            return refused("it holds a character that no address has");
        }
        if rest.contains(['?', '#']) {
            return refused("nothing may stand behind its path");
        }
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return refused("credentials have no place in it");
        }
        let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').unwrap_or(port))),
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return refused("the host is missing");
        }
        let port = match port.map(str::parse::<u16>) {
            None if is_https => 443,
            None => 80,
            Some(Ok(port)) if port != 0 => port,
            Some(_) => return refused("the port is no number from 1 to 65535"),
        };
        Ok(Self {
            text: text.trim_end_matches('/').to_owned(),
            is_https,
            host: host.to_owned(),
            port,
            path: path.trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where `oned`'s API is: an address for HTTP without TLS, `http://HOST[:PORT][/PATH]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcEndpoint(HttpUrl);

impl RpcEndpoint {
    /// The address.
    pub const fn url(&self) -> &HttpUrl {
        &self.0
    }
}

impl FromStr for RpcEndpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url: HttpUrl = text.parse()?;
        if url.is_https() {
            return Err(format!(
                "`{url}` is no endpoint: hem speaks to oned without TLS, on this machine or through a tunnel; \
                 write `http://HOST:PORT/RPC2`"
            ));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for RpcEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

read_from_text!(HttpUrl, "HttpUrl", { "type": "string", "pattern": "^https?://" });
read_from_text!(RpcEndpoint, "RpcEndpoint", {
    "type": "string",
    "pattern": r"^http://[^/]+(/.*)?$"
});

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_taken_apart() {
        for (text, is_https, host, port, path, authority) in [
            (
                "http://keystone:5000/v3",
                false,
                "keystone",
                5000,
                "/v3",
                "keystone:5000",
            ),
            (
                "https://keystone/identity/v3/",
                true,
                "keystone",
                443,
                "/identity/v3",
                "keystone",
            ),
            ("http://[::1]:15868", false, "::1", 15868, "", "[::1]:15868"),
            ("http://[::1]", false, "::1", 80, "", "[::1]"),
            ("https://10.0.0.7:80", true, "10.0.0.7", 80, "", "10.0.0.7:80"),
        ] {
            let url: HttpUrl = text.parse().expect("an address");
            assert_eq!(
                (
                    url.is_https(),
                    url.host(),
                    url.port(),
                    url.path(),
                    url.authority().as_str()
                ),
                (is_https, host, port, path, authority),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_is_not_repeated() {
        for wrong in [
            "",
            "keystone:5000",
            "ftp://keystone",
            "http://",
            "http://:5000",
            "http://keystone:0",
            "http://keystone:x",
            "http://keystone:1:2/",
            "http://key stone",
            "http://keystone/?a=1",
            "http://keystone/#a",
        ] {
            assert!(wrong.parse::<HttpUrl>().is_err(), "{wrong}");
        }
        let said = "http://admin:hunter2@keystone"
            .parse::<HttpUrl>()
            .expect_err("credentials");
        assert!(!said.contains("hunter2"), "{said}");
    }

    #[test]
    fn oned_is_reached_without_tls() {
        let endpoint: RpcEndpoint = "http://[::1]:2633/RPC2".parse().expect("an endpoint");
        assert_eq!(endpoint.url().path(), "/RPC2");
        let said = "https://one/RPC2".parse::<RpcEndpoint>().expect_err("TLS");
        assert!(said.contains("without TLS"), "{said}");
    }

    #[test]
    fn a_version_is_put_at_its_end_once() {
        for (text, with_it) in [
            ("http://keystone:5000", "http://keystone:5000/v3"),
            ("http://keystone/identity/", "http://keystone/identity/v3"),
            ("http://keystone/identity/v3/", "http://keystone/identity/v3"),
        ] {
            let url: HttpUrl = text.parse().expect("an address");
            assert_eq!(Ok(url.of_version("/v3")), with_it.parse(), "{text}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for (text, is_loopback) in [
            ("http://localhost:1", true),
            ("http://127.9.9.9", true),
            ("http://[::1]:1", true),
            ("http://10.0.0.1", false),
            ("http://localhost.example.org", false),
        ] {
            assert_eq!(
                text.parse::<HttpUrl>().expect("an address").is_loopback(),
                is_loopback,
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_read_reads_back(text in "https?://[a-z\\[\\]:.0-9]{0,12}(/[a-z/]{0,8})?|\\PC{0,40}") {
            if let Ok(url) = text.parse::<HttpUrl>() {
                prop_assert_eq!(url.as_str().parse::<HttpUrl>(), Ok(url.clone()));
                prop_assert!(!url.path().ends_with('/'));
            }
        }
    }
}
