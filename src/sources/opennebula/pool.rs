//! Follows the hooks that `oned` keeps: reads its whole pool at the start and whenever there was a hint of a change.
//!
//! What an event says of a hook is never taken for the hook itself: events get lost, and `oned` knows best. So a hint leads to
//! a look at the pool, and any number of hints while one is under way to one more look.

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::sentence;
use crate::engine::pool::Inlet;
use crate::event::opennebula::hook_pool::{self, NoPool, Pool};
use crate::oned::{CallError, Client};
use crate::repeats::Repeats;
use crate::sources::backoff::Backoff;

/// Gives the whole pool, whose hooks the user may use; it takes no parameters beside the session
/// (`src/rm/xml-rpc/HookXRPC.cc`).
const METHOD: &str = "one.hookpool.info";

/// A pool is small; an `oned` that takes longer is not well, and is asked again.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks: hooks that are changed in a tight loop must not keep `oned` busy.
const BETWEEN: Duration = Duration::from_millis(200);

/// Without any hint the pool is looked at this often, in case an event was lost.
const UNHINTED: Duration = Duration::from_secs(180);

/// `oned` writes each wrong password into its log.
const AFTER_WRONG_CREDENTIALS: Duration = Duration::from_secs(5);

/// Why the pool cannot be read.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("cannot ask oned for its hooks")]
    Call(#[source] CallError),
    #[error("what oned gives as its hooks cannot be read")]
    Document(#[source] NoPool),
    #[error("hem failed to read what oned gives as its hooks, a fault of hem; its log says more")]
    Failed,
}

/// Keeps the pool in force as `oned` has it, until `shutdown` or until the engine ends. An `oned` that cannot be asked is asked
/// again for ever.
pub async fn follow(client: Client, inlet: Inlet, shutdown: CancellationToken) {
    let client = client.with_limit(CALL_LIMIT);
    shutdown.run_until_cancelled(keep_up(&client, &inlet)).await;
}

async fn keep_up(client: &Client, inlet: &Inlet) {
    let endpoint = client.endpoint();
    let mut backoff = Backoff::new(fastrand::Rng::new());
    let mut log = Repeats::default();
    let mut is_away = true;
    loop {
        match read(client).await {
            Ok(pool) => {
                let hooks = pool.hooks.len();
                if inlet.hand_over(pool).await.is_err() {
                    return;
                }
                if std::mem::take(&mut is_away)
                    && let Some(repeats) = log.allows("read", Instant::now())
                {
                    tracing::info!(%endpoint, hooks, repeats, "the hooks of oned's pool are read");
                }
                backoff.reset();
                sleep(BETWEEN).await;
                // That nobody gave a hint is a reason as well.
                let _ = timeout(UNHINTED, inlet.hinted()).await;
            }
            Err(error) => {
                is_away = true;
                let why = sentence(&error);
                inlet.cannot_be_read(&why);
                if let Some(repeats) = log.allows(&why, Instant::now()) {
                    tracing::warn!(%endpoint, repeats, why, "the hooks of oned's pool stay as they were read last");
                }
                let is_refused = matches!(&error, ReadError::Call(error) if error.is_authentication());
                sleep(if is_refused {
                    AFTER_WRONG_CREDENTIALS
                } else {
                    backoff.next_delay()
                })
                .await;
            }
        }
    }
}

async fn read(client: &Client) -> Result<Pool, ReadError> {
    let document = client.text(METHOD, &[]).await.map_err(ReadError::Call)?;
    // A follower that ends would leave the hooks as they are for ever, in silence.
    catch_unwind(|| hook_pool::read(&document))
        .map_err(|_| ReadError::Failed)?
        .map_err(ReadError::Document)
}
