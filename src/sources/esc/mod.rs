//! Cisco's Elastic Services Controller. Each callback that it sends is an event, and is answered when the event is durable; each
//! notification over NETCONF is one, and is passed over in no later reading until it is durable.

mod callbacks;
pub mod netconf;

use std::sync::Arc;
use std::time::Duration;

use self::callbacks::{Access, Door};
use self::netconf::Notifications;
use super::deliveries::{Deliveries, former};
use super::{BuildError, Built, Site, Source, Tasks};
use crate::config::EscSource;
use crate::config::esc::Callbacks;
use crate::engine::intake::{Intake, Limits};
use crate::engine::records::Records;
use crate::event::id::Seq;
use crate::event::payload::Payload;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts, Subject};
use crate::listener::{self, Bound};
use crate::watched::keep_looking;

/// What waits for acceptance is bounded by the connections; so many bytes of it are more than enough.
const QUEUE_BYTES: usize = 64 << 20;

impl Source for EscSource {
    fn kind(&self) -> &'static str {
        "esc"
    }

    fn queue(&self) -> Limits {
        let of_callbacks = self.callbacks.as_ref().map(|callbacks| &callbacks.listen.limits);
        let of_notifications = self.netconf.as_ref().map(|_| netconf::QUEUE);
        Limits {
            events: of_callbacks.map_or(0, |limits| limits.connections)
                + of_notifications.map_or(0, |limits| limits.events),
            bytes: of_callbacks.map_or(0, |limits| QUEUE_BYTES.max(limits.body))
                + of_notifications.map_or(0, |limits| limits.bytes),
        }
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let doorway = self
            .callbacks
            .as_ref()
            .map(|callbacks| Doorway::build(callbacks, site))
            .transpose()?;
        let notifications = self
            .netconf
            .as_ref()
            .map(|netconf| Notifications::build(netconf, site))
            .transpose()?;
        let endpoints = doorway
            .iter()
            .map(Doorway::url)
            .chain(notifications.iter().map(Notifications::url));
        Ok(Built {
            endpoint: endpoints.collect::<Vec<_>>().join(", "),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| {
                if let Some(doorway) = doorway {
                    // Whether the source is up is for the connection to say, where there is one.
                    let tells = notifications.is_none();
                    let (name, intake, records) =
                        (wires.name.clone(), wires.intake.clone(), wires.records.clone());
                    doorway.start(name, intake, records, &wires.readers, tells);
                }
                if let Some(notifications) = notifications {
                    notifications.start(wires);
                }
            }),
        })
    }
}

/// The event that came.
fn arrived(
    source: Arc<str>,
    names_source: bool,
    key: String,
    subject: Option<String>,
    facts: Facts,
    payload: Payload,
) -> Event {
    let subject = subject.map(|subject| Subject::of(&subject, names_source.then_some(&*source)));
    Event {
        seq: Seq::default(),
        source,
        key,
        subject,
        received: Timestamp::now(),
        facts,
        ambiguous: false,
        synthesised: false,
        payload,
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

    fn start(self, name: String, intake: Intake, records: Records, readers: &Tasks, tells: bool) {
        let url = self.url();
        let Self {
            bound,
            access,
            names_source,
            remember,
        } = self;
        let watched = Arc::clone(&access);
        readers.spawn(|until| async move { keep_looking(&until, || watched.look_at_secrets()).await });
        readers.spawn(|until| async move {
            let deliveries = Deliveries::new(remember);
            recall(&deliveries, &name, &records).await;
            tracing::info!(source = name, url, "taking callbacks");
            if tells {
                intake.connected();
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_that_differ_far_from_their_beginning_stay_two() {
        let subject = |names_source, end| {
            let long = format!("deployment/{}{end}", "x".repeat(600));
            let facts = Facts::Undecodable {
                reason: String::new(),
            };
            let payload = Payload::new("".into());
            let event = arrived(
                "esc1".into(),
                names_source,
                String::new(),
                Some(long),
                facts,
                payload,
            );
            event.subject.expect("it has one")
        };
        for names_source in [false, true] {
            assert_ne!(subject(names_source, "1"), subject(names_source, "2"));
            assert_eq!(subject(names_source, "1"), subject(names_source, "1"));
        }
    }
}
