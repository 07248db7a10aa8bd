//! OpenNebula's hook manager: a subscription to all it publishes, kept up whatever happens to the connection.
//!
//! The reader does nothing but read and hand over: the hook manager drops what a subscriber does not take in time, in
//! silence. Everything else happens behind the intake queue, in [`decode`].

pub mod catch_up;
pub mod decode;
pub mod leadership;
pub mod pool;
pub mod probe;
pub mod publisher;
pub mod replier;
mod reply;
pub mod zmtp;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::decode::Decoder;
use self::zmtp::{ConnectError, Endpoint, Options, ReceiveError, Session, SocketType};
use super::backoff::Backoff;
use super::{BuildError, Built, Site, Source, Wires, sentence};
use crate::config::{Oned, OpennebulaSource};
use crate::engine::intake::{Intake, Limits, Received};
use crate::engine::pool::{Followed, Hints};
use crate::event::time::Timestamp;
use crate::oned::Client;
use crate::repeats::Repeats;

/// What is subscribed to: all events, the damaged key `EVENT ` included, and requests to run a hook once more.
const PREFIXES: [&str; 2] = ["EVENT", "RETRY"];

/// A connection that lasted this long was a good one: the next one is tried soon after it ends.
const GOOD_CONNECTION: Duration = Duration::from_secs(10);

impl Source for OpennebulaSource {
    fn kind(&self) -> &'static str {
        "opennebula"
    }

    fn queue(&self) -> Limits {
        Limits {
            events: self.queue_events,
            bytes: self.queue_bytes,
        }
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let mut decoder = Decoder::new(site.name, self, site.names_source).hiding(site.redaction.clone());
        let pool = site.oned.filter(|oned| oned.hooks).map(|oned| Followed {
            endpoint: oned.endpoint.to_string(),
            hints: Hints::default(),
        });
        if let Some(pool) = &pool {
            decoder = decoder.hinting(pool.hints.clone());
        }
        let decoder = Arc::new(decoder);
        let (config, oned, own) = (self.clone(), site.oned.cloned(), Arc::clone(&decoder));
        Ok(Built {
            endpoint: self.endpoint.clone(),
            decoder: Some(decoder),
            pool,
            start: Box::new(move |wires| start(config, own, oned.as_ref(), wires)),
        })
    }
}

fn start(config: OpennebulaSource, decoder: Arc<Decoder>, oned: Option<&Oned>, wires: Wires) {
    let name = wires.name;
    if let Some(results) = wires.results {
        let (endpoint, name) = (config.replies.clone(), name.clone());
        wires
            .tellers
            .spawn(|until| async move { replier::run(&endpoint, &name, results, until).await });
    }
    if let Some((oned, catch_up)) = oned.zip(wires.catch_up) {
        let (client, name, look_every) = (Client::new(oned), name.clone(), oned.look_every);
        wires.readers.spawn(move |until| async move {
            catch_up::run(client, &name, decoder, catch_up, look_every, until).await;
        });
    }
    let intake = wires.intake;
    wires
        .readers
        .spawn(|until| async move { run(config, &name, intake, until).await });
    let Some(oned) = oned else {
        return;
    };
    if let Some(inlet) = wires.inlet {
        let client = Client::new(oned);
        wires.readers.spawn(|until| pool::follow(client, inlet, until));
    }
    if let Some(leadership) = wires.leadership {
        let client = Client::new(oned);
        wires
            .readers
            .spawn(|until| leadership::run(client, leadership, until));
    }
}

/// Reads the hook manager's messages into `intake` until `shutdown`, and connects again whenever it must.
pub async fn run(config: OpennebulaSource, name: &str, intake: Intake, shutdown: CancellationToken) {
    run_with(config, name, intake, shutdown, Options::default()).await;
}

/// [`run`] with other deadlines.
pub async fn run_with(
    config: OpennebulaSource,
    name: &str,
    intake: Intake,
    shutdown: CancellationToken,
    options: Options,
) {
    let endpoint = match config.endpoint.parse::<Endpoint>() {
        Ok(endpoint) => endpoint,
        Err(error) => {
            tracing::error!(source = name, %error, "the source cannot be reached");
            intake.disconnected(&error.to_string());
            return;
        }
    };
    let supervisor = Supervisor {
        name,
        endpoint,
        options,
        intake,
    };
    // Giving the supervisor up at any point loses nothing that could be kept: what is not handed over yet is not accepted.
    shutdown.run_until_cancelled(supervisor.keep_up()).await;
    // What is published from now on is missed.
    supervisor.intake.disconnected("hem stops");
}

/// How a session went.
struct Ended {
    why: ReceiveError,
    was_good: bool,
}

struct Supervisor<'a> {
    name: &'a str,
    endpoint: Endpoint,
    options: Options,
    intake: Intake,
}

impl Supervisor<'_> {
    async fn keep_up(&self) {
        let mut backoff = Backoff::new(fastrand::Rng::new());
        let mut log = Repeats::default();
        loop {
            let why = match self.subscribe().await {
                Ok(session) => {
                    self.intake.connected();
                    if let Some(repeats) = log.allows("connected", Instant::now()) {
                        tracing::info!(source = self.name, endpoint = %self.endpoint, repeats, "connected to the hook manager");
                    }
                    let ended = self.read(session).await;
                    if ended.was_good {
                        backoff.reset();
                    }
                    sentence(&ended.why)
                }
                Err(error) => sentence(&error),
            };
            self.intake.disconnected(&why);
            if let Some(repeats) = log.allows(&why, Instant::now()) {
                tracing::warn!(source = self.name, endpoint = %self.endpoint, repeats, why, "not connected to the hook manager");
            }
            sleep(backoff.next_delay()).await;
        }
    }

    async fn subscribe(&self) -> Result<Session, ConnectError> {
        let mut session = Session::connect(&self.endpoint, SocketType::Sub, &self.options).await?;
        for prefix in PREFIXES {
            session
                .subscribe(prefix)
                .await
                .map_err(|source| ConnectError::Connect {
                    endpoint: self.endpoint.clone(),
                    source,
                })?;
        }
        Ok(session)
    }

    async fn read(&self, mut session: Session) -> Ended {
        let since = Instant::now();
        let mut messages: u64 = 0;
        loop {
            match session.receive().await {
                Ok(parts) => {
                    messages += 1;
                    let mut parts = parts.into_iter();
                    let key = parts.next().unwrap_or_default();
                    self.intake.offer(Received {
                        key: String::from_utf8_lossy(&key).into_owned(),
                        frames: parts.collect(),
                        at: Timestamp::now(),
                    });
                }
                Err(why) => {
                    return Ended {
                        why,
                        was_good: messages > 0 || since.elapsed() >= GOOD_CONNECTION,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::intake::{Entry, IntakeQueue};

    #[tokio::test]
    async fn a_reader_that_ends_says_so() {
        let mut queue = IntakeQueue::new(Limits {
            events: 10,
            bytes: 1_000,
        });
        let config = OpennebulaSource {
            endpoint: "tcp://127.0.0.1:1".to_owned(),
            ..OpennebulaSource::default()
        };
        let shutdown = CancellationToken::new();
        shutdown.cancel();
        run(config, "one", queue.source("one"), shutdown).await;
        let entries = queue.take(10, Duration::ZERO);
        let Some(Entry::Disconnected { why, .. }) = entries.last() else {
            panic!("{entries:?}")
        };
        assert_eq!(why, "hem stops");
    }
}
