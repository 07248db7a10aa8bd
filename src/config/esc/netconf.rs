//! The notifications of a source of type `esc`, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_saphyr::Spanned;

use crate::config::NamedFile;
use crate::config::load::SourceFault;
use crate::config::raw::esc_netconf::{RawNetconf, RawNetconfStart, RawSshAlgorithms};
use crate::config::scalar::{HostKey, SshAgent, SshEndpoint};
use crate::config::secret::{self, SecretPlace};

/// How soon a server that is silent is asked.
const KEEPALIVE: std::ops::RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);

/// Where notifications over NETCONF come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Netconf {
    /// The server.
    pub endpoint: SshEndpoint,
    /// The user's name there.
    pub user: String,
    /// Where the user's password is.
    pub password: Option<SecretPlace>,
    /// The user's private key.
    pub key: Option<PrivateKeyFile>,
    /// An agent that holds the user's keys.
    pub agent: SshAgent,
    /// How the server is known.
    pub host_keys: HostKeys,
    /// Whether old algorithms may be agreed on.
    pub legacy_algorithms: bool,
    /// After so long without a word the server is asked whether it is there.
    pub keepalive: Duration,
    /// The stream of notifications.
    pub stream: String,
    /// Where the very first subscription begins.
    pub start: NetconfStart,
    /// Whether, after a gap, the present deployments are read and shown.
    pub reconcile: bool,
}

/// A file with a private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateKeyFile {
    /// The file.
    pub path: PathBuf,
    /// Where that is with which it is encrypted; none where it is not.
    pub passphrase: Option<SecretPlace>,
}

/// How a server is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostKeys {
    /// By what `ssh` reads: the user's own file and the machine's.
    Usual,
    /// By these files.
    Files(Vec<PathBuf>),
    /// By these keys alone.
    Listed(Vec<HostKey>),
}

/// Where the very first subscription begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NetconfStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest notification that the server has kept.
    Earliest,
}

impl Netconf {
    /// The files that its settings name, by the path below its own.
    pub(super) fn named_files(&self) -> Vec<NamedFile<'_>> {
        let password = self.password.iter();
        let mut files: Vec<NamedFile<'_>> = password
            .filter_map(|place| secret::named_file(place, &["password"]))
            .collect();
        if let Some(key) = &self.key {
            files.push(NamedFile::secret(&key.path, &["key"]));
            let passphrase = key.passphrase.iter();
            files.extend(passphrase.filter_map(|place| secret::named_file(place, &["passphrase"])));
        }
        if let HostKeys::Files(known_hosts) = &self.host_keys {
            files.extend(
                known_hosts
                    .iter()
                    .enumerate()
                    .map(|(index, path)| NamedFile::plain(path, &["known_hosts", &index.to_string()])),
            );
        }
        files
    }
}

/// `folder` is what relative paths are relative to.
pub(super) fn check(raw: Spanned<RawNetconf>, folder: &Path) -> Result<Netconf, SourceFault> {
    let agent = raw.value.agent.clone().unwrap_or(SshAgent::None);
    if raw.value.password.is_none() && raw.value.key.is_none() && agent == SshAgent::None {
        return Err(SourceFault::at(
            &raw,
            "nothing says who hem is; give it a `password`, a `key` or `agent: true`".to_owned(),
        ));
    }
    let raw = raw.value;
    let key = match (raw.key, raw.passphrase) {
        (Some(file), passphrase) => Some(PrivateKeyFile {
            path: folder.join(file),
            passphrase: passphrase
                .map(|secret| secret::check(secret, folder))
                .transpose()?,
        }),
        (None, Some(passphrase)) => {
            return Err(SourceFault::at(
                &passphrase,
                "a passphrase belongs to a private key, and there is no `key`".to_owned(),
            ));
        }
        (None, None) => None,
    };
    let keepalive = match raw.keepalive {
        None => Duration::from_secs(2),
        Some(time) if KEEPALIVE.contains(&time.value.0) => time.value.0,
        Some(time) => {
            return Err(SourceFault::at(
                &time,
                "a silent server can be asked after `100ms` to `10m`".to_owned(),
            ));
        }
    };
    let stream = match raw.stream {
        None => "escEvent".to_owned(),
        Some(stream) if is_name(&stream.value) => stream.value,
        Some(stream) => {
            return Err(SourceFault::at(
                &stream,
                "a stream has a name without control characters, such as `escEvent`".to_owned(),
            ));
        }
    };
    Ok(Netconf {
        endpoint: raw.endpoint,
        user: raw.user,
        password: raw
            .password
            .map(|secret| secret::check(secret, folder))
            .transpose()?,
        key,
        agent: match agent {
            SshAgent::At(socket) => SshAgent::At(folder.join(socket)),
            other => other,
        },
        host_keys: check_host_keys(raw.known_hosts, raw.host_keys, folder)?,
        legacy_algorithms: matches!(raw.ssh_algorithms, Some(RawSshAlgorithms::Legacy)),
        keepalive,
        stream,
        start: match raw.start {
            None | Some(RawNetconfStart::Latest) => NetconfStart::Latest,
            Some(RawNetconfStart::Earliest) => NetconfStart::Earliest,
        },
        reconcile: raw.reconcile.unwrap_or(false),
    })
}

fn is_name(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}

fn check_host_keys(
    known_hosts: Option<Spanned<Vec<PathBuf>>>,
    host_keys: Option<Spanned<Vec<HostKey>>>,
    folder: &Path,
) -> Result<HostKeys, SourceFault> {
    let empty = |what: &str| format!("the list is empty, so no server would be known; leave `{what}` out");
    match (known_hosts, host_keys) {
        (None, None) => Ok(HostKeys::Usual),
        (Some(_), Some(keys)) => Err(SourceFault::at(
            &keys,
            "the server is known by `host_keys` or by `known_hosts`; leave one of them out".to_owned(),
        )),
        (Some(files), None) if files.value.is_empty() => Err(SourceFault::at(&files, empty("known_hosts"))),
        (Some(files), None) => Ok(HostKeys::Files(
            files.value.into_iter().map(|file| folder.join(file)).collect(),
        )),
        (None, Some(keys)) if keys.value.is_empty() => Err(SourceFault::at(&keys, empty("host_keys"))),
        (None, Some(keys)) => Ok(HostKeys::Listed(keys.value)),
    }
}
