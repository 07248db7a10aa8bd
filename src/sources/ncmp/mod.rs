//! ONAP's network configuration management proxy: what it publishes is read from topics of a Kafka broker.

#[cfg(feature = "kafka")]
pub mod producer;

use super::{BuildError, Built, Site, Source};
use crate::config::NcmpSource;
use crate::engine::intake::Limits;

/// What waits for acceptance.
const QUEUE: Limits = Limits {
    events: 1_000,
    bytes: 64 << 20,
};

impl Source for NcmpSource {
    fn kind(&self) -> &'static str {
        "ncmp"
    }

    fn queue(&self) -> Limits {
        QUEUE
    }

    fn build(&self, _: &Site<'_>) -> Result<Built, BuildError> {
        Err(BuildError::Lacks("kafka"))
    }
}
