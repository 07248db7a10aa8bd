//! Which names this machine answers to: a page from elsewhere that had its own name lead here would be answered otherwise (DNS
//! rebinding).

use std::net::{IpAddr, SocketAddr};

use crate::config::control::HostPattern;

/// The names that requests may be for.
#[derive(Debug)]
pub(super) struct Hosts {
    address: IpAddr,
    named: Vec<HostPattern>,
}

impl Hosts {
    pub(super) fn new(address: SocketAddr, named: &[HostPattern]) -> Self {
        Self {
            address: address.ip().to_canonical(),
            named: named.to_vec(),
        }
    }

    /// Whether a request with this `Host` header is for hem. Numeric addresses and `localhost` are never somebody else's, so their
    /// port is free: it may be a tunnel's.
    pub(super) fn know(&self, header: &str) -> bool {
        let Ok(HostPattern::Name { host, port }) = header.parse::<HostPattern>() else {
            return false;
        };
        let is_own = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => {
                let address = address.to_canonical();
                self.address.is_unspecified()
                    || address == self.address
                    || (address.is_loopback() && self.address.is_loopback())
            }
            Err(_) => host == "localhost" && (self.address.is_loopback() || self.address.is_unspecified()),
        };
        is_own
            || self.named.iter().any(|known| match known {
                HostPattern::Any => true,
                HostPattern::Name {
                    host: name,
                    port: of_name,
                } => *name == host && of_name.is_none_or(|known| port == Some(known)),
            })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(address: &str, named: &[&str]) -> Hosts {
        let named: Vec<_> = named.iter().map(|name| name.parse().expect("a name")).collect();
        Hosts::new(address.parse().expect("an address"), &named)
    }

    #[test]
    fn only_names_that_lead_here_are_known() {
        let here = hosts("127.0.0.1:8090", &["hem.example.org", "other.example.org:8443"]);
        for known in [
            "127.0.0.1:8090",
            "127.0.0.1",
            "localhost:8090",
            "LOCALHOST:9000",
            "[::1]:8090",
            "hem.example.org",
            "Hem.Example.ORG:8090",
            "other.example.org:8443",
        ] {
            assert!(here.know(known), "{known}");
        }
        for unknown in [
            "",
            "*",
            "evil.example.org",
            "evil.example.org:8090",
            "other.example.org",
            "other.example.org:8090",
            "localhost.evil.example.org",
            "127.0.0.1.evil.example.org",
            "127.0.0.1@evil.example.org",
            "192.0.2.7:8090",
            "hem.example.org:x",
            "hem.example.org/",
        ] {
            assert!(!here.know(unknown), "{unknown}");
        }
        let everywhere = hosts("0.0.0.0:8090", &[]);
        assert!(everywhere.know("192.0.2.7:8090") && everywhere.know("localhost"));
        assert!(!everywhere.know("evil.example.org:8090"));
        let elsewhere = hosts("192.0.2.7:8090", &[]);
        assert!(elsewhere.know("192.0.2.7:8090") && !elsewhere.know("localhost:8090"));
        assert!(hosts("192.0.2.7:8090", &["*"]).know("whatever:1"));
    }

    proptest! {
        #[test]
        fn any_header_is_read_and_only_own_names_pass(header in ".{0,40}") {
            let here = hosts("127.0.0.1:8090", &[]);
            if here.know(&header) {
                let host = header.to_ascii_lowercase();
                prop_assert!(host.starts_with("localhost") || host.starts_with("127.") || host.starts_with('['), "{header}");
            }
        }
    }
}
