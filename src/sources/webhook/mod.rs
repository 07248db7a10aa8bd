//! Whoever sends requests over HTTP: each request that one of the endpoints takes is an event, and is answered when the event is
//! durable.

mod answer;
mod endpoint;
mod signature;

use std::collections::HashMap;
use std::sync::Arc;

use self::endpoint::{Door, Endpoint};
use super::deliveries;
use super::{BuildError, Built, Site, Source, Wires};
use crate::config::WebhookSource;
use crate::engine::intake::Limits;
use crate::engine::records::Records;
use crate::event::Facts;
use crate::listener::{self, Bound};
use crate::watched::keep_looking;

/// What waits for acceptance is bounded by the connections; so many bytes of it are more than enough.
const QUEUE_BYTES: usize = 64 << 20;

impl Source for WebhookSource {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn queue(&self) -> Limits {
        Limits {
            events: self.listen.limits.connections,
            bytes: QUEUE_BYTES.max(self.listen.limits.body),
        }
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let is_local = self.listen.is_loopback();
        let endpoints = self
            .endpoints
            .iter()
            .map(|(name, endpoint)| Endpoint::build(name, endpoint, is_local, site.redaction).map(Arc::new))
            .collect::<Result<Vec<_>, _>>()
            .map_err(BuildError::Secret)?;
        let bound = listener::bind(&self.listen).map_err(BuildError::Listen)?;
        if self.listen.tls.is_none() && !self.listen.is_loopback() {
            tracing::warn!(
                source = site.name, address = %self.listen.address,
                "requests come without TLS: whoever is on the way can read them and the tokens in them"
            );
        }
        let names_source = site.names_source;
        Ok(Built {
            endpoint: bound.url(),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| start(bound, endpoints, names_source, wires)),
        })
    }
}

fn start(bound: Bound, endpoints: Vec<Arc<Endpoint>>, names_source: bool, wires: Wires) {
    let Wires {
        name,
        intake,
        records,
        readers,
        ..
    } = wires;
    let watched = endpoints.clone();
    readers.spawn(|until| async move {
        keep_looking(&until, || {
            watched.iter().for_each(|endpoint| endpoint.look_at_secrets())
        })
        .await;
    });
    readers.spawn(|until| async move {
        remember(&endpoints, &name, &records).await;
        let url = bound.url();
        let by_path: HashMap<String, Arc<Endpoint>> = endpoints
            .into_iter()
            .map(|endpoint| (endpoint.path().to_owned(), endpoint))
            .collect();
        tracing::info!(source = name, url, endpoints = by_path.len(), "taking requests");
        intake.connected();
        let door = Door::new(name, names_source, by_path, intake, records, until.clone());
        bound.serve(Arc::new(door), until).await;
    });
}

/// Reads the deliveries that a former life accepted.
async fn remember(endpoints: &[Arc<Endpoint>], source: &str, records: &Records) {
    let Some(longest) = endpoints.iter().filter_map(|endpoint| endpoint.remembers()).max() else {
        return;
    };
    for (event, age) in deliveries::former(records, source, longest).await {
        let Facts::Webhook(request) = &event.facts else {
            continue;
        };
        let endpoint = endpoints
            .iter()
            .find(|endpoint| endpoint.name() == request.endpoint);
        if let (Some(endpoint), Some(delivery)) = (endpoint, &request.delivery) {
            endpoint.remember(delivery, event.seq, age);
        }
    }
}
