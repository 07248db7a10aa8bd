//! The notifications API of OpenStack Masakari: each notification that is accepted is an event, and is answered when the event is
//! durable.

mod address;
mod answer;
mod authentication;
mod door;
mod instant;
mod inventory;
mod keeper;
mod microversion;
mod notifications;
mod poll;
mod python;
mod query;
mod register;
mod uuid;
mod validation;
mod version;
mod workflow;

use std::sync::{Arc, Mutex};

pub use self::authentication::HtpasswdError;

use self::authentication::Authentication;
use self::door::{Door, Gates};
use self::inventory::Inventory;
use self::register::Register;
use super::{BuildError, Built, Site, Source, Wires};
use crate::config::MasakariSource;
use crate::engine::intake::Limits;
use crate::event::time::Timestamp;
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
        let authentication = Arc::new(Authentication::build(&self.auth, site.redaction)?);
        let bound = listener::bind(&self.listen).map_err(BuildError::Listen)?;
        if self.listen.tls.is_none() && !self.listen.is_loopback() {
            tracing::warn!(
                source = site.name, address = %self.listen.address,
                "requests come without TLS: whoever is on the way can read them and the credentials in them"
            );
        }
        let (rules, names_source) = (self.clone(), site.names_source);
        Ok(Built {
            endpoint: format!("{}{}/v1", bound.url(), self.base_path),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| start(bound, rules, authentication, names_source, wires)),
        })
    }
}

fn start(
    bound: Bound,
    rules: MasakariSource,
    authentication: Arc<Authentication>,
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
    let followers = readers.clone();
    let watched = Arc::clone(&authentication);
    readers.spawn(|until| async move { watched.keep_fresh(&until).await });
    readers.spawn(|until| async move {
        let register = Arc::new(Register::default());
        let changes = records.changes();
        // What cannot be found again would be taken twice and be on no list: nothing is taken until it can.
        let kept = match keeper::recall(&register, &records, &name).await {
            Ok(()) => records.bookmarks(&name).await,
            Err(error) => Err(error),
        };
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                tracing::error!(
                    source = name,
                    error = &error as &dyn std::error::Error,
                    "former notifications cannot be read; none are taken"
                );
                intake.disconnected("former notifications cannot be read");
                return;
            }
        };
        let (followed, following) = (Arc::clone(&register), records.clone());
        followers.spawn(|until| keeper::follow(followed, following, changes, until));
        let url = bound.url();
        let hosts = rules
            .segments
            .iter()
            .map(|segment| segment.hosts.len())
            .sum::<usize>();
        tracing::info!(
            source = name,
            url,
            base_path = rules.base_path,
            hosts,
            "taking notifications"
        );
        intake.connected();
        let door = Door {
            source: name,
            names_source,
            inventory: Inventory::new(&rules.segments, &kept, Timestamp::now()),
            rules,
            authentication,
            register,
            intake,
            records,
            url,
            gates: Gates::default(),
            log: Mutex::default(),
        };
        bound.serve(Arc::new(door), until).await;
    });
}
