//! A source of type `opennebula`, checked.

use super::load::SourceFault;
use super::raw::opennebula::{RawOpennebula, RawValidate};

/// A connection to OpenNebula's hook manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpennebulaSource {
    /// Where it publishes: `tcp://127.0.0.1:2101` or `ipc:///path`.
    pub endpoint: String,
    /// Where it takes replies: `tcp://127.0.0.1:2102`.
    pub replies: String,
    /// Calls that are counted and not kept; `*` stands for any characters.
    pub ignore_calls: Vec<String>,
    /// Whether messages are checked against the schemas, with a warning where they differ.
    pub validate: bool,
    /// The intake queue's limit in events.
    pub queue_events: usize,
    /// The intake queue's limit in bytes.
    pub queue_bytes: usize,
}

impl Default for OpennebulaSource {
    fn default() -> Self {
        Self {
            endpoint: "tcp://127.0.0.1:2101".to_owned(),
            replies: "tcp://127.0.0.1:2102".to_owned(),
            ignore_calls: ["one.zone.*", "*.monitoring", "one.vmpool.infoset", "one.system.*"]
                .map(str::to_owned)
                .to_vec(),
            validate: false,
            queue_events: 100_000,
            queue_bytes: 256 << 20,
        }
    }
}

pub(super) fn check(raw: RawOpennebula) -> Result<OpennebulaSource, SourceFault> {
    let defaults = OpennebulaSource::default();
    let queue = raw.queue.unwrap_or_default();
    let replies = match (raw.replies, &raw.endpoint) {
        (Some(replies), _) => replies.0,
        (None, None) => defaults.replies,
        (None, Some(endpoint)) => match endpoint.value.next_port() {
            Some(replies) => replies.0,
            None => {
                let message = format!(
                    "where replies to `{}` go cannot be derived from it; say it in `replies:`",
                    endpoint.value.0
                );
                return Err(SourceFault::at(endpoint, message));
            }
        },
    };
    Ok(OpennebulaSource {
        endpoint: raw
            .endpoint
            .map_or(defaults.endpoint, |endpoint| endpoint.value.0),
        replies,
        ignore_calls: raw.ignore_calls.unwrap_or(defaults.ignore_calls),
        validate: matches!(raw.validate, Some(RawValidate::Warn)),
        queue_events: queue.events.unwrap_or(defaults.queue_events),
        queue_bytes: queue.bytes.map_or(defaults.queue_bytes, |bytes| {
            usize::try_from(bytes.0).unwrap_or(usize::MAX)
        }),
    })
}
