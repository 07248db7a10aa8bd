//! The client of librdkafka: with which properties it is made, and what it tells while it runs.

use std::path::PathBuf;
use std::sync::Arc;

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::types::RDKafkaRespErr;
use tokio::sync::mpsc;

use super::Spot;
use crate::config::NcmpSource;
use crate::event::redaction::Redaction;
use crate::file_stamp::FileStamp;
use crate::secrets::{Keyring, Secret, SecretError};

/// What is read ahead is bounded in memory: so many KiB of records, and so many bytes of one answer.
const READ_AHEAD: &str = "16384";
const LARGEST_FETCH: &str = "16777216";

/// A single batch of records may be larger than what was asked for; a larger one than this breaks the connection.
const LARGEST_ANSWER: &str = "67108864";

/// What hem sets unless `librdkafka:` says otherwise.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "hem"),
    // A member that is gone for good gives its partitions up within this time, and so does one that begins again after a crash.
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "2000"),
    // Topics and partitions that are made later are found within this time.
    ("topic.metadata.refresh.interval.ms", "10000"),
    ("metadata.max.age.ms", "30000"),
    // A connection on which nothing is answered is given up within this time.
    ("socket.timeout.ms", "15000"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.ms", "200"),
    ("reconnect.backoff.max.ms", "10000"),
    ("queued.min.messages", "1000"),
    ("queued.max.messages.kbytes", READ_AHEAD),
    ("fetch.max.bytes", LARGEST_FETCH),
    ("receive.message.max.bytes", LARGEST_ANSWER),
];

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A secret cannot be had.
    #[error("a secret cannot be had")]
    Secret(#[source] SecretError),
    /// A secret is no text.
    #[error("the secret for `{0}` is no UTF-8")]
    NoText(&'static str),
    /// librdkafka does not take a property.
    #[error("librdkafka does not take the property `{name}`: {why}")]
    Property {
        /// Its name.
        name: String,
        /// Why, in its words.
        why: String,
    },
    /// librdkafka does not take the properties together, or cannot read a file.
    #[error("librdkafka cannot begin: {0}")]
    Begin(String),
}

/// A consumer that tells what happens to it.
pub(super) type Consumer = StreamConsumer<Teller>;

/// What opens the broker to hem.
#[derive(Debug)]
pub(super) struct Credentials {
    password: Option<Keyring>,
    passphrase: Option<Keyring>,
    files: Vec<PathBuf>,
    seen: Vec<Option<FileStamp>>,
    used: Vec<Arc<Vec<Secret>>>,
}

impl Credentials {
    pub(super) fn read(rules: &NcmpSource, redaction: &Redaction) -> Result<Self, SecretError> {
        let keyring = |place| Keyring::read(std::slice::from_ref(place), redaction);
        let identity = rules.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let passphrase = identity.and_then(|identity| identity.passphrase.as_ref());
        let mut files: Vec<PathBuf> = rules.tls.iter().filter_map(|tls| tls.ca.clone()).collect();
        files.extend(identity.map(|identity| identity.certificate.clone()));
        files.extend(identity.map(|identity| identity.key.clone()));
        let mut credentials = Self {
            password: rules
                .sasl
                .as_ref()
                .map(|sasl| keyring(&sasl.password))
                .transpose()?,
            passphrase: passphrase.map(keyring).transpose()?,
            files,
            seen: Vec::new(),
            used: Vec::new(),
        };
        credentials.take_up();
        Ok(credentials)
    }

    /// Whether they are others than those that were used last.
    pub(super) fn have_changed(&self) -> bool {
        for keyring in [&self.password, &self.passphrase].into_iter().flatten() {
            keyring.look();
        }
        self.seen != self.stamps() || self.used != self.secrets()
    }

    fn take_up(&mut self) {
        self.seen = self.stamps();
        self.used = self.secrets();
    }

    fn stamps(&self) -> Vec<Option<FileStamp>> {
        self.files.iter().map(|file| FileStamp::of(file).ok()).collect()
    }

    fn secrets(&self) -> Vec<Arc<Vec<Secret>>> {
        let keyrings = [&self.password, &self.passphrase].into_iter().flatten();
        keyrings.map(Keyring::secrets).collect()
    }
}

/// The text of the only secret of a keyring.
fn text(keyring: &Keyring, property: &'static str) -> Result<String, ClientError> {
    let secret = keyring.first();
    let bytes = secret.map(|secret| secret.bytes().to_vec()).unwrap_or_default();
    String::from_utf8(bytes).map_err(|_| ClientError::NoText(property))
}

/// Makes a consumer that is not yet a member of its group.
///
/// # Errors
/// librdkafka does not take its properties.
pub(super) fn consumer(
    rules: &NcmpSource,
    credentials: &mut Credentials,
    teller: Teller,
) -> Result<Consumer, ClientError> {
    credentials.take_up();
    let made = properties(rules, credentials)?.create_with_context(teller);
    made.map_err(client_error)
}

/// Says what librdkafka does not take, before anything is read.
///
/// # Errors
/// The first thing that it does not take.
pub(super) fn try_out(rules: &NcmpSource, credentials: &Credentials) -> Result<(), ClientError> {
    let (teller, _) = Teller::new(String::new());
    let made: Result<BaseConsumer<Teller>, _> = properties(rules, credentials)?.create_with_context(teller);
    made.map(drop).map_err(client_error)
}

pub(super) fn client_error(error: KafkaError) -> ClientError {
    match error {
        KafkaError::ClientConfig(_, why, name, _) => ClientError::Property { name, why },
        KafkaError::ClientCreation(why) => ClientError::Begin(why),
        other => ClientError::Begin(other.to_string()),
    }
}

fn properties(rules: &NcmpSource, credentials: &Credentials) -> Result<ClientConfig, ClientError> {
    let mut properties = ClientConfig::new();
    properties.set_log_level(RDKafkaLogLevel::Info);
    for (name, value) in DEFAULTS {
        properties.set(*name, *value);
    }
    for (name, value) in &rules.properties {
        properties.set(name, value);
    }
    properties.set("group.id", &rules.group_id);
    // All members give up all partitions, and have said how far they read them, before any is read by another one.
    properties.set("partition.assignment.strategy", "range");
    properties.set("enable.auto.commit", "false");
    properties.set("enable.auto.offset.store", "false");
    // What is out of range is judged here.
    properties.set("auto.offset.reset", "error");
    properties.set("allow.auto.create.topics", "false");
    open(rules, credentials, &mut properties)?;
    Ok(properties)
}

/// Sets where the brokers are, and what opens them.
pub(super) fn open(
    rules: &NcmpSource,
    credentials: &Credentials,
    properties: &mut ClientConfig,
) -> Result<(), ClientError> {
    properties.set("bootstrap.servers", rules.bootstrap());
    let protocol = match (&rules.tls, &rules.sasl) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    };
    properties.set("security.protocol", protocol);
    if let (Some(sasl), Some(password)) = (&rules.sasl, &credentials.password) {
        properties.set("sasl.mechanism", sasl.mechanism);
        properties.set("sasl.username", &sasl.user);
        properties.set("sasl.password", text(password, "sasl.password")?);
    }
    if let Some(tls) = &rules.tls {
        let path = |file: &PathBuf| file.to_string_lossy().into_owned();
        if let Some(file) = &tls.ca {
            properties.set("ssl.ca.location", path(file));
        }
        if let Some(identity) = &tls.identity {
            properties.set("ssl.certificate.location", path(&identity.certificate));
            properties.set("ssl.key.location", path(&identity.key));
        }
        if let Some(passphrase) = &credentials.passphrase {
            properties.set("ssl.key.password", text(passphrase, "ssl.key.password")?);
        }
    }
    Ok(())
}

/// What librdkafka tells.
#[derive(Debug)]
pub(super) enum Told {
    /// These partitions are to be read from now on, and no others.
    Assigned(Vec<Spot>),
    /// None is to be read any more. Others may read them already where that `is_lost`.
    Revoked {
        /// The group has gone on without this member.
        is_lost: bool,
    },
    /// Something is wrong; librdkafka goes on by itself.
    Trouble {
        /// What.
        code: RDKafkaErrorCode,
        /// In its words.
        reason: String,
    },
}

/// Passes on what librdkafka tells.
#[derive(Debug)]
pub(super) struct Teller {
    source: String,
    told: mpsc::UnboundedSender<Told>,
}

impl Teller {
    /// For the source of this name; and where it is heard. Once nobody listens any more, partitions are given up as they are revoked.
    pub(super) fn new(source: String) -> (Self, mpsc::UnboundedReceiver<Told>) {
        let (told, heard) = mpsc::unbounded_channel();
        (Self { source, told }, heard)
    }
}

impl ClientContext for Teller {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error too, and is said where it is understood.
        tracing::debug!(source = self.source, ?level, facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            let reason = reason.to_owned();
            // Nobody listens while the consumer ends.
            let _ = self.told.send(Told::Trouble { code, reason });
        }
    }
}

impl ConsumerContext for Teller {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        error: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let told = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let spots = partitions.elements();
                Told::Assigned(
                    spots
                        .iter()
                        .map(|spot| (spot.topic().into(), spot.partition()))
                        .collect(),
                )
            }
            _ => Told::Revoked {
                is_lost: consumer.assignment_lost(),
            },
        };
        // librdkafka waits until the partitions are taken or given up.
        if self.told.send(told).is_err()
            && let Err(error) = consumer.unassign()
        {
            tracing::debug!(source = self.source, %error, "partitions cannot be given up");
        }
    }
}
