//! Ctrl-C and SIGTERM as a token.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::{Exit, Failure};

/// Runs `work` with a token that SIGINT and SIGTERM cancel; `work` decides how it ends then.
///
/// # Errors
/// The signals cannot be watched.
pub(super) async fn until_done<T>(
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, Failure> {
    let watch = |kind| {
        signal(kind).map_err(|error| Failure::new(Exit::Failed, format!("cannot watch for signals: {error}")))
    };
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut terminate = watch(SignalKind::terminate())?;
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return Ok(done),
            _ = interrupt.recv() => stop.cancel(),
            _ = terminate.recv() => stop.cancel(),
        }
    }
}
