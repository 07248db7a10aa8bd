//! The way in: the queue between a source that never stops reading and the engine.
//!
//! Bounded by count and by bytes. When it is full, the payload is dropped and the key is kept and counted `lost`.

use std::sync::Arc;

use bytes::Bytes;

use crate::event::time::Timestamp;

/// A message as a source received it, before it is decoded.
#[derive(Debug, Clone)]
pub struct Received {
    /// The frames' first: the key, as sent (lossy where it is no UTF-8).
    pub key: String,
    /// All further frames.
    pub frames: Vec<Bytes>,
    /// When it was received.
    pub at: Timestamp,
}

/// What a source says about a message it does not hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotKept {
    /// A further copy of an event that came under another key.
    Duplicate,
    /// Not kept by configuration.
    Refused(&'static str),
}

/// Turns a received message into an event; runs on the matching thread, never on the reader.
pub trait Decode: Send + Sync + 'static {
    /// Decodes one message. Never fails: what cannot be read is an event of kind `undecodable`.
    fn decode(&self, message: Received) -> Decoded;
}

/// What decoding made of a message.
#[derive(Debug)]
pub enum Decoded {
    /// An event, to be matched and kept.
    Event(Box<crate::event::Event>),
    /// Counted, not kept.
    NotKept(NotKept),
}

/// A source's end of the intake. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Intake {
    _inner: Arc<()>,
}

impl Intake {
    /// Hands a message over; never waits. A full queue drops the payload, counts it `lost` and keeps the key for the gap record.
    pub fn offer(&self, _message: Received) {
        unimplemented!()
    }

    /// The connection to the source came up.
    pub fn connected(&self) {
        unimplemented!()
    }

    /// The connection to the source went down, or could not be made.
    pub fn disconnected(&self, _why: &str) {
        unimplemented!()
    }
}
