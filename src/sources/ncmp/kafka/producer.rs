//! A stand-in for NCMP: it produces records as NCMP does. Keys choose the partition as Java's client has them choose it, so what happens to
//! one CM handle stays in order.

use std::collections::VecDeque;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};

use super::client::{ClientError, Credentials, client_error, open};
use crate::config::NcmpSource;
use crate::event::ncmp::SavedRecord;
use crate::event::redaction::Redaction;

/// Records that are on their way at once.
const IN_FLIGHT: usize = 500;

/// How long a broker may be away before a record counts as not taken.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why a record was not produced.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// There is no client to be had.
    #[error("cannot set up a producer for {brokers}")]
    Client {
        /// The brokers.
        brokers: String,
        /// Why.
        source: ClientError,
    },
    /// The broker did not take it.
    #[error("{brokers} did not take a record")]
    NotTaken {
        /// The brokers.
        brokers: String,
        /// Why.
        source: KafkaError,
    },
    /// The client ended before its answer came.
    #[error("what became of a record for {brokers} is not known")]
    Unknown {
        /// The brokers.
        brokers: String,
    },
}

/// Produces records. What it was given is certain only once [`Producer::finish`] has come back.
pub struct Producer {
    brokers: String,
    client: FutureProducer,
    in_flight: VecDeque<DeliveryFuture>,
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("brokers", &self.brokers)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// A producer for these brokers, `HOST:PORT[,HOST:PORT]`, which need no TLS and no password; nothing is asked of them yet.
    ///
    /// # Errors
    /// librdkafka does not take the settings.
    pub fn new(brokers: &str) -> Result<Self, ProduceError> {
        let mut properties = ClientConfig::new();
        properties.set("bootstrap.servers", brokers);
        Self::with(brokers.to_owned(), properties)
    }

    /// A producer for the brokers of a source, with what opens them to hem.
    ///
    /// # Errors
    /// A secret cannot be had, or librdkafka does not take the settings.
    pub fn of_source(rules: &NcmpSource, redaction: &Redaction) -> Result<Self, ProduceError> {
        let brokers = rules.bootstrap();
        let mut properties = ClientConfig::new();
        for (name, value) in &rules.properties {
            properties.set(name, value);
        }
        let opened = Credentials::read(rules, redaction)
            .map_err(ClientError::Secret)
            .and_then(|credentials| open(rules, &credentials, &mut properties));
        match opened {
            Ok(()) => Self::with(brokers, properties),
            Err(source) => Err(ProduceError::Client { brokers, source }),
        }
    }

    fn with(brokers: String, mut properties: ClientConfig) -> Result<Self, ProduceError> {
        let made = properties
            // Sent again after a fault, a record is neither twice in its partition nor behind a later one.
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("message.timeout.ms", PATIENCE.as_millis().to_string())
            .create();
        match made {
            Ok(client) => Ok(Self {
                brokers,
                client,
                in_flight: VecDeque::new(),
            }),
            Err(error) => Err(ProduceError::Client {
                brokers,
                source: client_error(error),
            }),
        }
    }

    /// Produces a record to a topic, as soon as there is room.
    ///
    /// # Errors
    /// It, or one before it, was not taken.
    pub async fn produce(&mut self, topic: &str, record: &SavedRecord) -> Result<(), ProduceError> {
        while self.in_flight.len() >= IN_FLIGHT {
            self.oldest().await?;
        }
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: value.as_deref(),
                })
            });
        let mut produced = FutureRecord::<str, [u8]>::to(topic).headers(headers);
        produced.key = record.key.as_deref();
        produced.payload = record.value.as_deref();
        loop {
            match self.client.send_result(produced) {
                Ok(delivery) => {
                    self.in_flight.push_back(delivery);
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused))
                    if !self.in_flight.is_empty() =>
                {
                    produced = refused;
                    self.oldest().await?;
                }
                Err((source, _)) => return Err(self.not_taken(source)),
            }
        }
    }

    /// Waits until everything was taken.
    ///
    /// # Errors
    /// Something was not.
    pub async fn finish(mut self) -> Result<(), ProduceError> {
        while !self.in_flight.is_empty() {
            self.oldest().await?;
        }
        Ok(())
    }

    async fn oldest(&mut self) -> Result<(), ProduceError> {
        let Some(delivery) = self.in_flight.pop_front() else {
            return Ok(());
        };
        match delivery.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err((source, _))) => Err(self.not_taken(source)),
            Err(_) => Err(ProduceError::Unknown {
                brokers: self.brokers.clone(),
            }),
        }
    }

    fn not_taken(&self, source: KafkaError) -> ProduceError {
        ProduceError::NotTaken {
            brokers: self.brokers.clone(),
            source,
        }
    }
}
