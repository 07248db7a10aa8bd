//! A record as it comes from the broker.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use sha2::{Digest as _, Sha256};

use super::Spot;
use crate::event::ncmp::Record;

/// So many bytes of a print tell records apart.
const PRINT_BYTES: usize = 12;

/// A record, apart from the memory of librdkafka.
#[derive(Debug)]
pub(super) struct Message {
    /// The partition.
    pub spot: Spot,
    /// Its place in it.
    pub offset: i64,
    timestamp: Option<i64>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    /// A header's name is no UTF-8; then none of them can be had.
    pub is_without_headers: bool,
}

impl Message {
    pub(super) fn of(message: &BorrowedMessage<'_>) -> Self {
        // The binding takes names of headers for UTF-8, which nobody promises.
        let headers = catch_unwind(AssertUnwindSafe(|| {
            let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
            headers
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect()
        }));
        Self {
            spot: (message.topic().into(), message.partition()),
            offset: message.offset(),
            timestamp: message.timestamp().to_millis(),
            key: message.key().map(<[u8]>::to_vec),
            value: message.payload().map(<[u8]>::to_vec),
            is_without_headers: headers.is_err(),
            headers: headers.unwrap_or_default(),
        }
    }

    /// The record as it is read.
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            topic: &self.spot.0,
            partition: self.spot.1,
            offset: self.offset,
            key: self.key.as_deref(),
            headers: &self.headers,
            value: self.value.as_deref(),
        }
    }

    /// How many bytes it has.
    pub(super) fn weight(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::len)
    }

    /// By what it is known again: a hash of what it says and when.
    pub(super) fn print(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.timestamp.unwrap_or(-1).to_be_bytes());
        for part in [&self.key, &self.value] {
            let length = part.as_ref().map_or(u64::MAX, |part| part.len() as u64);
            hash.update(length.to_be_bytes());
            hash.update(part.as_deref().unwrap_or_default());
        }
        let digits = hash.finalize();
        digits[..PRINT_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
