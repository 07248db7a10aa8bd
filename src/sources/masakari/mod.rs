//! The notifications API of OpenStack Masakari: each notification that is accepted is an event, and is answered when the event is
//! durable.

mod answer;
mod authentication;
mod door;

use std::sync::Arc;

use self::authentication::Authentication;
use self::door::Door;
use super::{BuildError, Built, Site, Source, Wires};
use crate::config::MasakariSource;
use crate::engine::intake::Limits;
use crate::listener::{self, Bound};

/// What waits for acceptance is bounded by the connections; so many bytes of it are more than enough.
const QUEUE_BYTES: usize = 64 << 20;

impl Source for MasakariSource {
    fn kind(&self) -> &'static str {
        "masakari"
    }

    fn queue(&self) -> Limits {
        Limits {
            events: self.listen.limits.connections,
            bytes: QUEUE_BYTES.max(self.listen.limits.body),
        }
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let authentication = Authentication::build(&self.auth);
        let bound = listener::bind(&self.listen).map_err(BuildError::Listen)?;
        if self.listen.tls.is_none() && !self.listen.is_loopback() {
            tracing::warn!(
                source = site.name, address = %self.listen.address,
                "requests come without TLS: whoever is on the way can read them and the credentials in them"
            );
        }
        let (rules, names_source) = (self.clone(), site.names_source);
        Ok(Built {
            endpoint: bound.url(),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| start(bound, rules, authentication, names_source, wires)),
        })
    }
}

fn start(
    bound: Bound,
    rules: MasakariSource,
    authentication: Authentication,
    names_source: bool,
    wires: Wires,
) {
    let Wires {
        name,
        intake,
        records,
        readers,
        ..
    } = wires;
    readers.spawn(|until| async move {
        let url = bound.url();
        tracing::info!(source = name, url, "taking notifications");
        intake.connected();
        let door = Door::new(name, names_source, rules, authentication, intake, records);
        bound.serve(Arc::new(door), until).await;
    });
}
