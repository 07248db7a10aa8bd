//! A source of type `ncmp`, as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::RawSourceType;
use super::secret::RawSecret;
use crate::config::scalar::{BrokerAddress, GroupName, PropertyText, TopicName};

/// A source of type `ncmp`: ONAP's network configuration management proxy, whose events are read from topics of a Kafka broker. The
/// packages have it; a hem that was built without the feature `kafka` refuses it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawNcmp {
    /// `ncmp`.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("const" = "ncmp"))]
    pub kind: Spanned<RawSourceType>,
    /// Brokers to begin with, which tell of all others: `kafka.example.org:9092`, `"[2001:db8::1]:9092"`. Without a port it is 9092.
    #[schemars(with = "Vec<BrokerAddress>")]
    pub brokers: Spanned<Vec<BrokerAddress>>,
    /// The topics that are read. One that does not exist yet is waited for. Default `[ncmp-events]`.
    #[schemars(with = "Option<Vec<TopicName>>")]
    pub topics: Option<Spanned<Vec<TopicName>>>,
    /// The consumer group, under which Kafka's own tools show how far hem has read. Several hems of one group share the partitions;
    /// each reads what no other one has accepted.
    pub group_id: GroupName,
    /// Where the very first reading of a partition begins. Later ones go on where the last one stopped. A topic or partition that is
    /// made later is read from its beginning. Default `latest`.
    pub start: Option<RawKafkaStart>,
    /// TLS. `tls: {}` trusts the authorities of the system. Default: none.
    pub tls: Option<RawKafkaTls>,
    /// Who hem is to the broker. Default: nobody in particular.
    #[schemars(with = "Option<RawSasl>")]
    pub sasl: Option<Spanned<RawSasl>>,
    /// Further properties of the library `librdkafka`, by their names: `{ session.timeout.ms: 45000 }`. Those that hem decides itself
    /// are refused.
    #[schemars(with = "Option<BTreeMap<String, PropertyText>>")]
    pub librdkafka: Option<BTreeMap<String, Spanned<PropertyText>>>,
}

/// Where the very first reading of a partition begins.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawKafkaStart {
    /// With what comes from now on.
    Latest,
    /// With the oldest record that is there.
    Earliest,
}

/// TLS to the broker, by files in PEM form. They are read when the source starts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawKafkaTls {
    /// The authorities that may vouch for the broker. Default: the system's own.
    pub ca: Option<PathBuf>,
    /// hem's own certificate, where the broker wants one, and those that lead to its authority.
    #[schemars(with = "Option<PathBuf>")]
    pub certificate: Option<Spanned<PathBuf>>,
    /// Its private key.
    #[schemars(with = "Option<PathBuf>")]
    pub key: Option<Spanned<PathBuf>>,
    /// What opens the private key, where it is encrypted.
    #[schemars(with = "Option<RawSecret>")]
    pub passphrase: Option<Spanned<RawSecret>>,
}

/// Who hem is to the broker.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawSasl {
    /// How it shows that.
    pub mechanism: RawSaslMechanism,
    /// The user's name.
    pub user: String,
    /// The password. Read again when the file changes and the broker refuses the one before.
    #[schemars(with = "RawSecret")]
    pub password: Spanned<RawSecret>,
}

/// How hem shows who it is.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
pub enum RawSaslMechanism {
    /// By telling the password. To brokers on other machines with TLS alone.
    #[serde(rename = "PLAIN")]
    Plain,
    /// By proving, over SHA-256, that it knows the password.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// By proving, over SHA-512, that it knows the password.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}
