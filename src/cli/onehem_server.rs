//! A running `onehem-server`: whether one listens where hem does. Both would run the same hooks.

use std::path::{Path, PathBuf};

use crate::config::{Config, OnehemConf};
use crate::runner::processes::Process;
use crate::sources::opennebula::zmtp::Endpoint;

/// The program's file (`src/hem/onehem-server.rb`).
const PROGRAM: &str = "onehem-server.rb";

/// Its configuration, where OpenNebula is installed in `/`; below `$ONE_LOCATION` in the folder `etc`.
const INSTALLED: &str = "/etc/one/onehem-server.conf";

/// Where it listens when its configuration does not say or cannot be read.
const USUAL: &str = "tcp://localhost:2101";

/// An `onehem-server` that runs on this machine.
#[derive(Debug)]
pub(super) struct OnehemServer {
    /// Its process id.
    pub(super) pid: u32,
    /// The hook manager it listens to.
    pub(super) endpoint: String,
}

impl OnehemServer {
    /// Those that listen to the hook manager of one of the sources, by process id.
    pub(super) fn beside(config: &Config) -> Vec<Self> {
        let own: Vec<Place> = config
            .opennebula_sources()
            .filter_map(|(_, source)| Place::of(&source.endpoint))
            .collect();
        Process::find(is_onehem_server)
            .iter()
            .map(|process| Self {
                pid: process.pid,
                endpoint: endpoint_of(process),
            })
            .filter(|server| Place::of(&server.endpoint).is_none_or(|place| own.contains(&place)))
            .collect()
    }
}

/// Ruby with that script. An editor or a search that names the file is none.
fn is_onehem_server(words: &[String]) -> bool {
    let name = |word: &String| Path::new(word).file_name().map(ToOwned::to_owned);
    let program = words.first().and_then(name).unwrap_or_default();
    let is_ruby = program.to_string_lossy().starts_with("ruby");
    program == PROGRAM || (is_ruby && words.iter().skip(1).filter_map(name).any(|name| name == PROGRAM))
}

fn endpoint_of(process: &Process) -> String {
    let file = process
        .variable("ONE_LOCATION")
        .filter(|location| !location.is_empty())
        .map_or_else(
            || PathBuf::from(INSTALLED),
            |location| Path::new(&location).join("etc/onehem-server.conf"),
        );
    OnehemConf::read(&file)
        .ok()
        .and_then(|conf| conf.subscriber_endpoint)
        .map_or_else(|| USUAL.to_owned(), |endpoint| endpoint.0)
}

/// Where an endpoint leads, all names of this machine alike.
#[derive(Debug, PartialEq, Eq)]
struct Place(Endpoint);

impl Place {
    fn of(endpoint: &str) -> Option<Self> {
        let endpoint = endpoint.parse().ok()?;
        Some(Self(match endpoint {
            Endpoint::Tcp { host, port } if is_this_machine(&host) => Endpoint::Tcp {
                host: "localhost".to_owned(),
                port,
            },
            other => other,
        }))
    }
}

/// Whether a host's name or address is this machine's own, as far as its spelling tells.
pub(super) fn is_this_machine(host: &str) -> bool {
    let is_loopback = |address: std::net::IpAddr| address.is_loopback() || address.is_unspecified();
    host.eq_ignore_ascii_case("localhost") || host == "*" || host.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ruby_with_the_script_is_one() {
        let is = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            is_onehem_server(&words)
        };
        assert!(is("/usr/bin/ruby /usr/lib/one/onehem/onehem-server.rb"));
        assert!(is("ruby3.1 -W0 onehem-server.rb"));
        assert!(is("./onehem-server.rb"));
        assert!(!is("vim /usr/lib/one/onehem/onehem-server.rb"));
        assert!(!is("ruby /usr/lib/one/oneflow/oneflow-server.rb"));
        assert!(!is_onehem_server(&[]));
    }

    #[test]
    fn all_names_of_this_machine_are_the_same_place() {
        assert_eq!(
            Place::of("tcp://localhost:2101"),
            Place::of("tcp://127.0.0.1:2101")
        );
        assert_eq!(Place::of("tcp://[::1]:2101"), Place::of("tcp://*:2101"));
        assert_ne!(
            Place::of("tcp://localhost:2101"),
            Place::of("tcp://localhost:2102")
        );
        assert_ne!(Place::of("tcp://one:2101"), Place::of("tcp://localhost:2101"));
        assert_eq!(Place::of("nonsense"), None);
    }
}
