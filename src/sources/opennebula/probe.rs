//! Whether a hook manager is where it is looked for: a ZMTP handshake, and nothing after it.

use super::zmtp::{ConnectError, Endpoint, InvalidEndpoint, Options, Session, SocketType};

/// Why there is no hook manager.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// What is configured is no endpoint.
    #[error(transparent)]
    Endpoint(InvalidEndpoint),
    /// There is nothing, or something else.
    #[error(transparent)]
    Connect(ConnectError),
}

/// Shakes hands with the socket that publishes events. Subscribes to nothing, so nothing is sent.
///
/// # Errors
/// See [`ProbeError`]; each step has its deadline, six seconds in all.
pub async fn publisher(endpoint: &str) -> Result<(), ProbeError> {
    shake_hands(endpoint, SocketType::Sub).await
}

/// Shakes hands with the socket that takes results. Asks nothing: the hook manager would pass any question on to `oned`.
///
/// # Errors
/// See [`ProbeError`]; each step has its deadline, six seconds in all.
pub async fn replier(endpoint: &str) -> Result<(), ProbeError> {
    shake_hands(endpoint, SocketType::Req).await
}

async fn shake_hands(endpoint: &str, own: SocketType) -> Result<(), ProbeError> {
    let endpoint: Endpoint = endpoint.parse().map_err(ProbeError::Endpoint)?;
    Session::connect(&endpoint, own, &Options::default())
        .await
        .map(drop)
        .map_err(ProbeError::Connect)
}
