//! ONAP's network configuration management proxy: what it publishes is read from topics of a Kafka broker.

#[cfg(feature = "kafka")]
mod asking;
#[cfg(feature = "kafka")]
mod client;
#[cfg(feature = "kafka")]
mod lane;
#[cfg(feature = "kafka")]
mod link;
#[cfg(feature = "kafka")]
mod message;
#[cfg(feature = "kafka")]
mod place;
#[cfg(feature = "kafka")]
mod placing;
#[cfg(feature = "kafka")]
pub mod producer;
#[cfg(feature = "kafka")]
mod reader;
#[cfg(feature = "kafka")]
mod start;

#[cfg(feature = "kafka")]
use std::sync::Arc;

#[cfg(feature = "kafka")]
pub use self::client::ClientError;
#[cfg(not(feature = "kafka"))]
use super::Source;
#[cfg(not(feature = "kafka"))]
use super::{BuildError, Built, Site};
#[cfg(not(feature = "kafka"))]
use crate::config::NcmpSource;
#[cfg(not(feature = "kafka"))]
use crate::engine::intake::Limits;

/// A partition: its topic and its number.
#[cfg(feature = "kafka")]
type Spot = (Arc<str>, i32);

#[cfg(not(feature = "kafka"))]
impl Source for NcmpSource {
    fn kind(&self) -> &'static str {
        "ncmp"
    }

    fn queue(&self) -> Limits {
        Limits { events: 0, bytes: 0 }
    }

    fn build(&self, _: &Site<'_>) -> Result<Built, BuildError> {
        Err(BuildError::Lacks("kafka"))
    }
}
