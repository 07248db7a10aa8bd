//! Tells `oned` what became of the hooks it counts as its own: one question a result, each until it is acknowledged.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::zmtp::{Endpoint, Requester};
use super::{reply, sentence};
use crate::engine::outbox::Results;
use crate::repeats::Repeats;
use crate::sources::backoff::Backoff;

/// How long `oned` may take; its hook manager acknowledges before it looks at what it got.
const DEADLINE: Duration = Duration::from_secs(10);

/// The answer to every result (one_hm.rb).
const ACKNOWLEDGED: &[u8] = b"ACK";

/// An `oned` that was away writes each result of the backlog to its database: it gets twenty of them a second.
const BETWEEN_BACKLOG: Duration = Duration::from_millis(50);

/// Sends results to the hook manager at `endpoint` until `shutdown`, or until the engine has no more to come.
pub async fn run(endpoint: &str, name: &str, results: Results, shutdown: CancellationToken) {
    let endpoint = match endpoint.parse::<Endpoint>() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(source = name, %error, "results cannot be sent");
            results.not_delivered(&error.to_string()).await;
            return;
        }
    };
    // What is given up while it is sent is still owed, and sent again by the next life.
    shutdown
        .run_until_cancelled(send_all(&endpoint, name, &results))
        .await;
}

async fn send_all(endpoint: &Endpoint, name: &str, results: &Results) {
    let mut backoff = Backoff::new(fastrand::Rng::new());
    let mut log = Repeats::default();
    // A connection for each result would take three times as long as the result itself.
    let mut requester = Requester::new(endpoint.clone());
    while let Some(due) = results.next().await {
        match send(&mut requester, endpoint, &reply::message(&due.attempt)).await {
            Ok(()) => {
                results.delivered(due.number).await;
                backoff.reset();
                if due.is_backlog {
                    sleep(BETWEEN_BACKLOG).await;
                }
            }
            Err(why) => {
                if let Some(repeats) = log.allows(&why, Instant::now()) {
                    tracing::warn!(source = name, %endpoint, repeats, why, "a result could not be sent; it is tried again");
                }
                results.not_delivered(&why).await;
                sleep(backoff.next_delay()).await;
            }
        }
    }
}

async fn send(requester: &mut Requester, endpoint: &Endpoint, message: &[u8]) -> Result<(), String> {
    let answer = requester
        .ask(message, DEADLINE)
        .await
        .map_err(|error| sentence(&error))?;
    if answer.as_ref() == ACKNOWLEDGED {
        Ok(())
    } else {
        Err(format!(
            "{endpoint} answered `{}` in place of `ACK`; is it the hook manager?",
            String::from_utf8_lossy(&answer[..answer.len().min(40)])
        ))
    }
}
