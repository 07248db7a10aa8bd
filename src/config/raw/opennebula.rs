//! A source of type `opennebula`, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::RawSourceType;
use crate::config::scalar::{Endpoint, SizeText};

/// A source of type `opennebula`: OpenNebula's hook manager, over ZeroMQ.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawOpennebula {
    /// `opennebula`.
    #[serde(rename = "type")]
    #[schemars(with = "String", extend("const" = "opennebula"))]
    pub kind: RawSourceType,
    /// Where the hook manager publishes. Default `tcp://127.0.0.1:2101`.
    #[schemars(with = "Option<Endpoint>")]
    pub endpoint: Option<serde_saphyr::Spanned<Endpoint>>,
    /// Where the hook manager takes the results of hooks with an `id`. Default: the endpoint's host, one port further.
    pub replies: Option<Endpoint>,
    /// Calls that are counted and not kept; `*` stands for any characters.
    /// Default `[one.zone.*, "*.monitoring", one.vmpool.infoset, one.system.*]`.
    pub ignore_calls: Option<Vec<String>>,
    /// Whether messages are checked against the schemas in `xsd/`. Default `off`.
    pub validate: Option<RawValidate>,
    /// The queue between the network and the engine. When it is full, payloads are dropped and counted as lost.
    pub queue: Option<RawQueue>,
}

/// Whether messages are checked against the schemas.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawValidate {
    /// Not at all.
    Off,
    /// With a warning where they differ; the event is taken all the same.
    Warn,
}

/// The queue between the network and the engine.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RawQueue {
    /// At most this many events. Default 100000.
    pub events: Option<usize>,
    /// At most this many bytes. Default `256MiB`.
    pub bytes: Option<SizeText>,
}
