//! Whether a NETCONF server is where it is looked for, and lets hem in: nothing is subscribed to.

use super::asking::{self, Unanswered};
use super::ssh::{self, Credentials, SshError};
use crate::config::esc::netconf::Netconf;
use crate::event::redaction::Redaction;
use crate::secrets::SecretError;

/// Why there is no server to listen to.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// What hem logs in with cannot be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// There is no link.
    #[error(transparent)]
    Link(NoLink),
}

/// Why there is no link to a server.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoLink(#[from] SshError);

/// A server that lets hem in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// Its host key: the algorithm and the fingerprint.
    pub host_key: String,
    /// Since when what it has kept can be sent again, as it says it; or why nothing can, as a sentence for the operator.
    pub replay: Result<String, String>,
}

/// Connects, logs in, and asks for the stream.
///
/// # Errors
/// See [`ProbeError`]; each step has its deadline, some fifty seconds in all.
pub async fn reach(rules: &Netconf) -> Result<Reached, ProbeError> {
    let credentials = Credentials::read(rules, &Redaction::default())?;
    let link = ssh::connect(rules, &credentials)
        .await
        .map_err(|error| ProbeError::Link(error.into()))?;
    let name = &rules.stream;
    let replay = match asking::stream(&link, name).await {
        Err(Unanswered::Answer(why)) => Err(format!("its streams cannot be read: {why}")),
        Err(error) => Err(crate::sources::sentence(&error)),
        Ok(None) => Err(format!("it does not list the stream `{name}`")),
        Ok(Some(stream)) if !stream.replays => Err("it keeps nothing that could be sent again".to_owned()),
        Ok(Some(stream)) => Ok(stream.created.unwrap_or_else(|| "an unknown time".to_owned())),
    };
    let host_key = link.host_key();
    link.close().await;
    Ok(Reached { host_key, replay })
}
