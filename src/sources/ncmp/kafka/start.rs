//! From the configuration to a source that reads.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::client::{self, Consumer, Credentials, Teller};
use super::reader::{Ended, Reader, ReaderSite};
use crate::config::NcmpSource;
use crate::engine::intake::Limits;
use crate::repeats::Repeats;
use crate::sources::{BuildError, Built, Site, Source, Wires, sentence};

/// More than is ever on its way at once: what is refused is refused for another reason.
const QUEUE: Limits = Limits {
    events: 1_024,
    bytes: 96 << 20,
};

/// A consumer that could not be used is not made anew sooner.
const ANEW_AFTER: Duration = Duration::from_secs(2);

/// How long the group may take to let hem go.
const FAREWELL: Duration = Duration::from_secs(5);

impl Source for NcmpSource {
    fn kind(&self) -> &'static str {
        "ncmp"
    }

    fn queue(&self) -> Limits {
        QUEUE
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let credentials = Credentials::read(self, site.redaction).map_err(BuildError::Secret)?;
        client::try_out(self, &credentials).map_err(BuildError::Kafka)?;
        if self.sasl.is_some()
            && self.tls.is_none()
            && !self.brokers.iter().all(|broker| broker.is_loopback())
        {
            tracing::warn!(
                source = site.name,
                "the broker is reached without TLS: whoever is on the way can read all that it tells"
            );
        }
        let (rules, names_source) = (self.clone(), site.names_source);
        Ok(Built {
            endpoint: format!("kafka://{}/{}", self.bootstrap(), self.topics.join(",")),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| start(rules, credentials, names_source, wires)),
        })
    }
}

fn start(rules: NcmpSource, mut credentials: Credentials, names_source: bool, wires: Wires) {
    let Wires {
        name,
        intake,
        records,
        readers,
        mut seeks,
        ..
    } = wires;
    readers.spawn(|until| async move {
        let site = ReaderSite {
            name: name.as_str().into(),
            names_source,
            rules: rules.into(),
            intake,
            records,
        };
        let mut log = Repeats::default();
        loop {
            let (teller, told) = Teller::new(name.clone());
            match client::consumer(&site.rules, &mut credentials, teller) {
                Ok(consumer) => {
                    let consumer = Arc::new(consumer);
                    let reader = Reader::new(
                        &site,
                        Arc::clone(&consumer),
                        told,
                        &mut seeks,
                        &credentials,
                        &mut log,
                    );
                    let ended = reader.run(&until).await;
                    part(&name, consumer).await;
                    if matches!(ended, Ended::Stopped) {
                        break;
                    }
                }
                Err(error) => {
                    let why = sentence(&error);
                    site.intake.disconnected(&why);
                    if let Some(repeats) = log.allows(&why, Instant::now()) {
                        tracing::warn!(source = name, why, repeats, "the broker cannot be read");
                    }
                }
            }
            if until.run_until_cancelled(sleep(ANEW_AFTER)).await.is_none() {
                break;
            }
        }
        site.intake.disconnected("hem stops");
    });
}

/// Leaves the group. That asks the broker, who may not answer.
async fn part(name: &str, consumer: Arc<Consumer>) {
    let parting = tokio::task::spawn_blocking(move || drop(consumer));
    if timeout(FAREWELL, parting).await.is_err() {
        tracing::warn!(
            source = name,
            "the broker does not let hem leave the group; its partitions are free when the session ends there"
        );
    }
}
