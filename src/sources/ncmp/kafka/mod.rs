//! Reads topics of a Kafka broker as a member of a consumer group, and produces records for tests of hooks.

mod asking;
mod client;
mod lane;
mod link;
mod message;
mod place;
mod placing;
pub mod producer;
mod reader;
mod start;

use std::sync::Arc;

pub use self::client::ClientError;

/// A partition: its topic and its number.
type Spot = (Arc<str>, i32);
