//! `oned:`: where the controller's API is and with which credentials it is asked, found as OpenNebula's own tools find them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::load::Place;
use super::raw::{RawOned, RawOnedHooks};
use super::scalar::RpcEndpoint;

/// Where OpenNebula's packages install, and where its tools look last (`src/oca/ruby/opennebula/client.rb`).
const INSTALLED: &str = "/var/lib/one/.one";

/// Where `oned` listens when nothing else is said.
const USUAL: &str = "http://localhost:2633/RPC2";

/// A state that nobody kept up for longer than this is no ground to raise events on.
const MAX_GAP: Duration = Duration::from_secs(15 * 60);

/// A look makes `oned` read all its pools from its database.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_secs(60);

/// The controller behind a source, asked through its XML-RPC API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oned {
    /// Where it listens.
    pub endpoint: RpcEndpoint,
    /// Files that may hold `user:password`; the first that exists is read, anew for each call.
    pub auth: Vec<PathBuf>,
    /// The source whose controller it is.
    pub source: String,
    /// Whether the hooks of its pool run.
    pub hooks: bool,
    /// Whether this daemon works only while this front-end leads.
    pub leader_only: bool,
    /// Whether hooks that do not say otherwise are given the states they missed.
    pub catch_up: bool,
    /// No state is raised after a gap that was longer.
    pub max_gap: Duration,
    /// How often it is asked for the present states where there is no gap; never, where unset.
    pub look_every: Option<Duration>,
}

impl Oned {
    /// Checks what the file says, and finds what it does not say.
    pub(super) fn from_raw(
        raw: &RawOned,
        source: String,
        folder: &Path,
        place: &Place,
    ) -> Result<Self, String> {
        let endpoint = match &raw.endpoint {
            Some(endpoint) => endpoint.clone(),
            None => place.rpc_endpoint()?,
        };
        let auth = match &raw.auth {
            Some(file) => vec![folder.join(file)],
            None => place.one_auth(),
        };
        let look_every = raw.look_every.as_ref().map(|every| every.0);
        if look_every.is_some_and(|every| every < LOOK_AT_MOST_EVERY) {
            return Err(format!(
                "`look_every` is less than {} s: each look asks for all resources",
                LOOK_AT_MOST_EVERY.as_secs()
            ));
        }
        Ok(Self {
            endpoint,
            auth,
            source,
            hooks: !matches!(raw.hooks, Some(RawOnedHooks::None)),
            leader_only: raw.leader_only.unwrap_or(false),
            catch_up: raw.catch_up.unwrap_or(false),
            max_gap: raw.max_gap.map_or(MAX_GAP, |gap| gap.0),
            look_every,
        })
    }
}

impl Place {
    /// `ONE_XMLRPC`, else the first line of `one_endpoint`, else the usual one.
    fn rpc_endpoint(&self) -> Result<RpcEndpoint, String> {
        if let Some(endpoint) = &self.one_xmlrpc {
            return endpoint.parse().map_err(|fault| format!("ONE_XMLRPC: {fault}"));
        }
        for folder in self.one_folders() {
            let file = folder.join("one_endpoint");
            match std::fs::read_to_string(&file) {
                Ok(text) => {
                    return text
                        .trim()
                        .parse()
                        .map_err(|fault| format!("{}: {fault}", file.display()));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(format!("cannot read {}: {error}", file.display())),
            }
        }
        USUAL.parse()
    }

    /// The file `ONE_AUTH` names and no other, else those of the user and of the installation.
    fn one_auth(&self) -> Vec<PathBuf> {
        match &self.one_auth {
            Some(file) => vec![file.clone()],
            None => self.one_folders().map(|folder| folder.join("one_auth")).collect(),
        }
    }

    fn one_folders(&self) -> impl Iterator<Item = PathBuf> {
        let own = self.home.as_ref().map(|home| home.join(".one"));
        own.into_iter().chain([PathBuf::from(INSTALLED)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(raw: &RawOned, place: &Place) -> Result<Oned, String> {
        Oned::from_raw(raw, "opennebula".to_owned(), Path::new("/etc/hem"), place)
    }

    #[test]
    fn what_the_file_does_not_say_is_found_as_opennebulas_tools_find_it() {
        let home = tempfile::tempdir().expect("a folder");
        let place = Place {
            home: Some(home.path().to_owned()),
            ..Place::default()
        };
        let oned = found(&RawOned::default(), &place).expect("defaults");
        assert_eq!(oned.endpoint.to_string(), "http://localhost:2633/RPC2");
        let installed = PathBuf::from("/var/lib/one/.one/one_auth");
        assert_eq!(oned.auth, [home.path().join(".one/one_auth"), installed]);
        assert!(oned.hooks && !oned.leader_only && !oned.catch_up);

        std::fs::create_dir(home.path().join(".one")).expect("a folder");
        std::fs::write(home.path().join(".one/one_endpoint"), "http://one:2633/RPC2\n").expect("a file");
        let oned = found(&RawOned::default(), &place).expect("an endpoint");
        assert_eq!(oned.endpoint.to_string(), "http://one:2633/RPC2");

        let place = Place {
            one_xmlrpc: Some("http://10.0.0.7:2633/RPC2".to_owned()),
            one_auth: Some("/root/auth".into()),
            ..place
        };
        let oned = found(&RawOned::default(), &place).expect("an endpoint");
        assert_eq!(oned.endpoint.to_string(), "http://10.0.0.7:2633/RPC2");
        assert_eq!(oned.auth, [PathBuf::from("/root/auth")]);

        let raw = RawOned {
            endpoint: Some("http://[::1]:1/RPC2".parse().expect("an endpoint")),
            auth: Some("auth".into()),
            ..RawOned::default()
        };
        let oned = found(&raw, &place).expect("what the file says");
        assert_eq!(oned.endpoint.to_string(), "http://[::1]:1/RPC2");
        assert_eq!(oned.auth, [PathBuf::from("/etc/hem/auth")]);
    }

    #[test]
    fn nobody_looks_at_all_resources_more_often_than_once_a_minute() {
        let every = |text: &str| {
            let raw = serde_saphyr::from_str::<RawOned>(&format!("look_every: {text}")).expect("a duration");
            found(&raw, &Place::default()).map(|oned| oned.look_every)
        };
        assert_eq!(every("10m"), Ok(Some(Duration::from_secs(600))));
        let fault = every("59s").expect_err("too often");
        assert!(fault.starts_with("`look_every` is less than 60 s"), "{fault}");
    }

    #[test]
    fn an_endpoint_in_the_environment_that_is_none_is_said_with_its_name() {
        let place = Place {
            one_xmlrpc: Some("localhost".to_owned()),
            ..Place::default()
        };
        let fault = found(&RawOned::default(), &place).expect_err("a fault");
        assert!(fault.starts_with("ONE_XMLRPC: "), "{fault}");
    }
}
