//! ONAP's network configuration management proxy: what it publishes is read from topics of a Kafka broker.

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(not(feature = "kafka"))]
mod lacking;
