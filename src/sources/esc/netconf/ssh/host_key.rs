//! Whether a server is the one that is meant.

use std::fmt;
use std::path::PathBuf;

use super::known_hosts::{self, Line, ServerKey};
use crate::config::esc::netconf::HostKeys;
use crate::config::scalar::SshEndpoint;

/// What `ssh` reads for the whole machine.
const OF_THE_MACHINE: &str = "/etc/ssh/ssh_known_hosts";

/// A file of known hosts that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the known hosts in `{}` cannot be read", path.display())]
pub(in crate::sources::esc::netconf) struct KnownHostsError {
    path: PathBuf,
    source: std::io::Error,
}

/// The keys that a server may have, and those that it must not.
#[derive(Debug)]
pub(super) struct Gatekeeper {
    endpoint: SshEndpoint,
    /// Each with where it is known from.
    keys: Vec<(String, ServerKey)>,
    revoked: Vec<(String, ServerKey)>,
    /// Lines of authorities, which are not understood.
    authorities: usize,
    add_to: AddTo,
}

/// Where a further key belongs.
#[derive(Debug, Clone)]
enum AddTo {
    File(PathBuf),
    Setting,
}

impl Gatekeeper {
    /// Reads what is known of a server.
    pub(super) async fn read(endpoint: &SshEndpoint, host_keys: &HostKeys) -> Result<Self, KnownHostsError> {
        let (files, must_be_there) = match host_keys {
            HostKeys::Usual => (usual_files(), false),
            HostKeys::Files(files) => (files.clone(), true),
            HostKeys::Listed(listed) => {
                let keys = listed
                    .iter()
                    .filter_map(|key| ServerKey::of(key.algorithm(), key.encoded()));
                return Ok(Self {
                    endpoint: endpoint.clone(),
                    keys: keys.map(|key| ("`host_keys`".to_owned(), key)).collect(),
                    revoked: Vec::new(),
                    authorities: 0,
                    add_to: AddTo::Setting,
                });
            }
        };
        let add_to = files
            .first()
            .cloned()
            .unwrap_or_else(|| PathBuf::from(OF_THE_MACHINE));
        let mut gatekeeper = Self {
            endpoint: endpoint.clone(),
            keys: Vec::new(),
            revoked: Vec::new(),
            authorities: 0,
            add_to: AddTo::File(add_to),
        };
        for path in files {
            let text = match tokio::fs::read(&path).await {
                Ok(bytes) => bytes,
                Err(error) if !must_be_there && error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(KnownHostsError { path, source }),
            };
            let known = known_hosts::known(&String::from_utf8_lossy(&text), endpoint.host(), endpoint.port());
            let placed = |line: Line| (format!("`{}` line {}", path.display(), line.number), line.key);
            gatekeeper.keys.extend(known.keys.into_iter().map(placed));
            gatekeeper.revoked.extend(known.revoked.into_iter().map(placed));
            gatekeeper.authorities += known.authorities;
        }
        Ok(gatekeeper)
    }

    /// The algorithms of the known keys.
    pub(super) fn algorithms(&self) -> Vec<&str> {
        self.keys.iter().map(|(_, key)| key.algorithm.as_str()).collect()
    }

    /// How many lines are not understood, since they speak of authorities.
    pub(super) const fn authorities(&self) -> usize {
        self.authorities
    }

    /// Lets a server in, or says why not.
    pub(super) fn admit(&self, key: ServerKey) -> Result<(), Box<HostKeyRefusal>> {
        let refusal = |why| {
            Box::new(HostKeyRefusal {
                endpoint: self.endpoint.to_string(),
                name: known_hosts::name_of(self.endpoint.host(), self.endpoint.port()),
                add_to: self.add_to.clone(),
                key: key.clone(),
                why,
            })
        };
        if let Some((place, _)) = self.revoked.iter().find(|(_, revoked)| revoked.blob == key.blob) {
            return Err(refusal(Why::Revoked(place.clone())));
        }
        if self.keys.iter().any(|(_, known)| known.blob == key.blob) {
            return Ok(());
        }
        if self.keys.is_empty() {
            return Err(refusal(Why::Unknown));
        }
        let known = self
            .keys
            .iter()
            .map(|(place, key)| format!("{} {} ({place})", key.algorithm, key.fingerprint()));
        Err(refusal(Why::Other(known.collect())))
    }
}

fn usual_files() -> Vec<PathBuf> {
    std::env::home_dir()
        .map(|home| home.join(".ssh/known_hosts"))
        .into_iter()
        .chain([PathBuf::from(OF_THE_MACHINE)])
        .collect()
}

/// A server that is not let in: both fingerprints, and what to add where its key is right.
#[derive(Debug, Clone)]
pub(in crate::sources::esc::netconf) struct HostKeyRefusal {
    endpoint: String,
    name: String,
    add_to: AddTo,
    key: ServerKey,
    why: Why,
}

#[derive(Debug, Clone)]
enum Why {
    Unknown,
    Other(Vec<String>),
    Revoked(String),
}

impl fmt::Display for HostKeyRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, key, .. } = self;
        let shown = format!("{} {}", key.algorithm, key.fingerprint());
        let when = match &self.why {
            Why::Revoked(place) => {
                return write!(f, "the host key of {endpoint}, {shown}, is revoked in {place}");
            }
            Why::Unknown => {
                write!(f, "the host key of {endpoint} is not known: it is {shown}")?;
                "if that is the server's own"
            }
            Why::Other(known) => {
                let known = known.join(", ");
                write!(
                    f,
                    "the host key of {endpoint} is another one: it is {shown}, and known is {known}; somebody may be in between"
                )?;
                "if it was changed on purpose"
            }
        };
        match &self.add_to {
            AddTo::File(path) => write!(
                f,
                "; {when}, add this line to `{}`: {} {}",
                path.display(),
                self.name,
                key.words()
            ),
            AddTo::Setting => write!(f, "; {when}, add this to `host_keys`: {}", key.words()),
        }
    }
}

impl std::error::Error for HostKeyRefusal {}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const OTHER: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIA6rWI3G1sz07DnfFlrouTcysQlj2P+jpNSOEWD9OJ3X";

    fn key(encoded: &str) -> ServerKey {
        ServerKey::of("ssh-ed25519", encoded).expect("a key")
    }

    async fn gatekeeper(text: &str) -> (tempfile::TempDir, Gatekeeper) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("known_hosts");
        std::fs::write(&file, text).expect("a file");
        let endpoint = "esc:2022".parse().expect("an endpoint");
        let gatekeeper = Gatekeeper::read(&endpoint, &HostKeys::Files(vec![file]))
            .await
            .expect("it can be read");
        (folder, gatekeeper)
    }

    #[tokio::test]
    async fn a_server_with_another_key_is_told_with_both_fingerprints_and_the_line_to_add() {
        let (folder, gatekeeper) = gatekeeper(&format!("[esc]:2022 ssh-ed25519 {ONE}\n")).await;
        assert!(gatekeeper.admit(key(ONE)).is_ok());
        let said = gatekeeper.admit(key(OTHER)).expect_err("another one").to_string();
        let file = folder.path().join("known_hosts");
        for part in [
            key(ONE).fingerprint(),
            key(OTHER).fingerprint(),
            format!("`{}`: [esc]:2022 ssh-ed25519 {OTHER}", file.display()),
            "line 1".to_owned(),
        ] {
            assert!(said.contains(&part), "{said}");
        }
    }

    #[tokio::test]
    async fn one_of_several_keys_will_do_and_a_revoked_or_unknown_one_will_not() {
        let both = format!("[esc]:2022 ssh-ed25519 {ONE}\n[esc]:2022 ssh-ed25519 {OTHER}\n");
        let (_folder, lenient) = gatekeeper(&both).await;
        assert!(lenient.admit(key(ONE)).is_ok() && lenient.admit(key(OTHER)).is_ok());
        let (_folder, strict) = gatekeeper(&format!("{both}@revoked * ssh-ed25519 {ONE}\n")).await;
        assert!(strict.admit(key(OTHER)).is_ok());
        let said = strict.admit(key(ONE)).expect_err("revoked").to_string();
        assert!(said.contains("revoked"), "{said}");
        let (_folder, empty) = gatekeeper("").await;
        let said = empty.admit(key(ONE)).expect_err("unknown").to_string();
        assert!(
            said.contains("not known") && said.contains("[esc]:2022 ssh-ed25519"),
            "{said}"
        );
    }

    #[tokio::test]
    async fn listed_keys_stand_for_files_and_a_file_that_was_named_must_be_there() {
        let endpoint: SshEndpoint = "esc".parse().expect("an endpoint");
        let listed = HostKeys::Listed(vec![format!("ssh-ed25519 {ONE}").parse().expect("a key")]);
        let gatekeeper = Gatekeeper::read(&endpoint, &listed).await.expect("no file");
        assert!(gatekeeper.admit(key(ONE)).is_ok());
        let said = gatekeeper.admit(key(OTHER)).expect_err("another").to_string();
        assert!(said.contains("`host_keys`: ssh-ed25519"), "{said}");
        let nowhere = HostKeys::Files(vec!["/nowhere/known_hosts".into()]);
        let said = Gatekeeper::read(&endpoint, &nowhere).await.expect_err("no file");
        assert!(said.to_string().contains("/nowhere/known_hosts"));
    }
}
