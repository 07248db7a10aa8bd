//! Cisco's Elastic Services Controller. Each callback that it sends is an event, and is answered when the event is durable.

mod callbacks;
pub mod netconf;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use self::callbacks::{Access, Door};
use super::deliveries::{Deliveries, former};
use super::{BuildError, Built, Site, Source, Wires};
use crate::config::EscSource;
use crate::config::esc::Callbacks;
use crate::engine::intake::Limits;
use crate::engine::records::Records;
use crate::event::Facts;
use crate::listener::{self, Bound};

/// What waits for acceptance is bounded by the connections; so many bytes of it are more than enough.
const QUEUE_BYTES: usize = 64 << 20;

/// How often files of secrets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Source for EscSource {
    fn kind(&self) -> &'static str {
        "esc"
    }

    fn queue(&self) -> Limits {
        let limits = self.callbacks.as_ref().map(|callbacks| &callbacks.listen.limits);
        Limits {
            events: limits.map_or(0, |limits| limits.connections),
            bytes: limits.map_or(QUEUE_BYTES, |limits| QUEUE_BYTES.max(limits.body)),
        }
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let doorway = self
            .callbacks
            .as_ref()
            .map(|callbacks| Doorway::build(callbacks, site))
            .transpose()?;
        Ok(Built {
            endpoint: doorway.as_ref().map_or_else(String::new, Doorway::url),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| {
                if let Some(doorway) = doorway {
                    doorway.start(wires);
                }
            }),
        })
    }
}

/// Where callbacks will come in.
struct Doorway {
    bound: Bound,
    access: Arc<Access>,
    names_source: bool,
    remember: Duration,
}

impl Doorway {
    fn build(callbacks: &Callbacks, site: &Site<'_>) -> Result<Self, BuildError> {
        let access = Access::build(callbacks, site.redaction).map_err(BuildError::Secret)?;
        let bound = listener::bind(&callbacks.listen).map_err(BuildError::Listen)?;
        if callbacks.listen.tls.is_none() && !callbacks.listen.is_loopback() {
            tracing::warn!(
                source = site.name, address = %callbacks.listen.address,
                "callbacks come without TLS: whoever is on the way can read them and the tokens in them"
            );
        }
        Ok(Self {
            bound,
            access: Arc::new(access),
            names_source: site.names_source,
            remember: callbacks.remember,
        })
    }

    fn url(&self) -> String {
        format!("{}{}", self.bound.url(), self.access.path())
    }

    fn start(self, wires: Wires) {
        let url = self.url();
        let Self {
            bound,
            access,
            names_source,
            remember,
        } = self;
        let Wires {
            name,
            intake,
            records,
            readers,
            ..
        } = wires;
        let watched = Arc::clone(&access);
        readers.spawn(|until| async move { keep_secrets_fresh(&watched, &until).await });
        readers.spawn(|until| async move {
            let deliveries = Deliveries::new(remember);
            recall(&deliveries, &name, &records).await;
            tracing::info!(source = name, url, "taking callbacks");
            intake.connected();
            let door = Door::new(name, names_source, access, deliveries, intake, records);
            bound.serve(Arc::new(door), until).await;
        });
    }
}

/// Reads the callbacks that a former life accepted.
async fn recall(deliveries: &Deliveries, source: &str, records: &Records) {
    for (event, age) in former(records, source, deliveries.remember_for()).await {
        if let Facts::Esc(esc) = &event.facts
            && let Some(delivery) = &esc.delivery
        {
            deliveries.recall(delivery, event.seq, age);
        }
    }
}

async fn keep_secrets_fresh(access: &Access, until: &CancellationToken) {
    while until
        .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
        .await
        .is_some()
    {
        access.look_at_secrets();
    }
}
