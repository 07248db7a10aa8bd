//! The notifications of a source of type `esc`, as they are written.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::secret::RawSecret;
use crate::config::scalar::{DurationText, HostKey, SshAgent, SshEndpoint};

/// Where notifications over NETCONF come from, through SSH. At least one of `password`, `key` and `agent` must be set; the agent is tried
/// first, then the key, then the password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNetconf {
    /// The server: `esc.example.org`, `esc.example.org:830`, `192.0.2.7`, `"[2001:db8::7]:830"`. Without a port it is 830.
    pub endpoint: SshEndpoint,
    /// The user's name there.
    pub user: String,
    /// The user's password, in a file or in the environment; read again when the file changes.
    #[schemars(with = "Option<RawSecret>")]
    pub password: Option<Spanned<RawSecret>>,
    /// A file with the user's private key, in OpenSSH's form or PEM. Nobody else may have any right to it (mode 0600).
    pub key: Option<PathBuf>,
    /// What the private key is encrypted with.
    #[schemars(with = "Option<RawSecret>")]
    pub passphrase: Option<Spanned<RawSecret>>,
    /// `true` asks the agent that `SSH_AUTH_SOCK` names; or the path of an agent's socket. Default `false`.
    pub agent: Option<SshAgent>,
    /// Files in which the server's keys are looked for, as `ssh` does; all that are there for the server are good. Default
    /// `~/.ssh/known_hosts` and `/etc/ssh/ssh_known_hosts`.
    #[schemars(with = "Option<Vec<PathBuf>>")]
    pub known_hosts: Option<Spanned<Vec<PathBuf>>>,
    /// The server's own keys instead of such files: `ssh-ed25519 AAAA…`, as a file `ssh_host_ed25519_key.pub` holds it. Several where
    /// an address moves between machines.
    #[schemars(with = "Option<Vec<HostKey>>")]
    pub host_keys: Option<Spanned<Vec<HostKey>>>,
    /// Which algorithms SSH may agree on. Default `modern`.
    pub ssh_algorithms: Option<RawSshAlgorithms>,
    /// After so long without a word from the server it is asked whether it is there, from `100ms` to `10m`; when it has not answered
    /// three times, the connection is given up. Default `2s`.
    #[schemars(with = "Option<DurationText>")]
    pub keepalive: Option<Spanned<DurationText>>,
    /// The stream of notifications. Default `escEvent`.
    #[schemars(with = "Option<String>")]
    pub stream: Option<Spanned<String>>,
    /// Where the very first subscription begins. Later ones go on where the last one stopped. Default `latest`.
    pub start: Option<RawNetconfStart>,
    /// Whether, after a gap, the deployments that there are then are read and shown in the gap's record. Default `false`.
    pub reconcile: Option<bool>,
}

/// Which algorithms SSH may agree on.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawSshAlgorithms {
    /// Those that are thought to be safe.
    Modern,
    /// Old ones too, where nothing better is common: `diffie-hellman-group14-sha1`, `diffie-hellman-group1-sha1`, `ssh-rsa`, AES in CBC
    /// mode, `hmac-sha1`. For servers that know no others.
    Legacy,
}

/// Where the very first subscription begins.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawNetconfStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest notification that the server has kept, where it keeps any.
    Earliest,
}
