//! How far a partition was read, as it is kept beside its events; and what is kept of a topic.

use serde::{Deserialize, Serialize};

use crate::event::time::Timestamp;

/// How far a partition was read. Kept under [`partition_name`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mark {
    /// Up to here.
    Read(Read),
    /// An operator wants it to be read from elsewhere, when it is read next.
    Seek(Target),
}

/// Up to where a partition was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    /// The offset behind the last record that was accepted.
    pub next: i64,
    /// By what that record is known again; none where there is none, or nobody has read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<String>,
    /// When it was read, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<i64>,
    /// What the group had committed when an operator wanted the partition to be read from elsewhere: it does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overrules: Option<i64>,
}

impl Read {
    /// Nothing but the offset is known.
    pub const fn up_to(next: i64) -> Self {
        Self {
            next,
            print: None,
            at: None,
            overrules: None,
        }
    }
}

/// From where a partition is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// From the oldest record that is there.
    Earliest,
    /// From behind the newest record that is there.
    Latest,
    /// From this offset; from the oldest or behind the newest record where there is no such offset.
    Offset(i64),
    /// From the first record of this time or later, in milliseconds since 1970.
    Time(i64),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Earliest => f.write_str("its oldest record"),
            Self::Latest => f.write_str("the end"),
            Self::Offset(offset) => write!(f, "offset {offset}"),
            Self::Time(millis) => write!(f, "{}", Timestamp::from_millis(*millis)),
        }
    }
}

/// What a topic was when hem first saw it. Kept under the topic's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstSight {
    /// How many partitions it had; 0 where there was no such topic. Whatever was added later is read from its beginning.
    pub partitions: i32,
}

impl Mark {
    /// What is kept.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was kept; none where it is nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl FirstSight {
    /// What is kept.
    pub fn to_bytes(self) -> Vec<u8> {
        serde_json::to_vec(&self).unwrap_or_default()
    }

    /// What was kept; none where it is nothing of the kind.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

/// The name under which is kept how far a partition was read. No topic's name holds a slash.
pub fn partition_name(topic: &str, partition: i32) -> String {
    format!("{topic}/{partition}")
}

/// The partition that a name stands for; none where it stands for something else.
pub fn partition_of(name: &str) -> Option<(&str, i32)> {
    let (topic, partition) = name.rsplit_once('/')?;
    let partition = partition.parse().ok().filter(|&number| number >= 0)?;
    Some((topic, partition))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_kept_is_found_again() {
        let marks = [
            Mark::Read(Read::up_to(42)),
            Mark::Read(Read {
                next: 7,
                print: Some("00ff".to_owned()),
                at: Some(1),
                overrules: Some(9),
            }),
            Mark::Seek(Target::Earliest),
            Mark::Seek(Target::Latest),
            Mark::Seek(Target::Offset(3)),
            Mark::Seek(Target::Time(1_700_000_000_000)),
        ];
        for mark in marks {
            assert_eq!(Mark::from_bytes(&mark.to_bytes()), Some(mark));
        }
        // As it stands in stores.
        assert_eq!(Mark::Read(Read::up_to(42)).to_bytes(), br#"{"read":{"next":42}}"#);
        assert_eq!(Mark::Seek(Target::Earliest).to_bytes(), br#"{"seek":"earliest"}"#);
        let sight = FirstSight { partitions: 4 };
        assert_eq!(FirstSight::from_bytes(&sight.to_bytes()), Some(sight));
        assert_eq!(Mark::from_bytes(&sight.to_bytes()), None);
    }

    #[test]
    fn partitions_have_names() {
        assert_eq!(partition_name("ncmp-events", 3), "ncmp-events/3");
        assert_eq!(partition_of("ncmp-events/3"), Some(("ncmp-events", 3)));
        for name in ["ncmp-events", "a/-1", "a/b", ""] {
            assert_eq!(partition_of(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_was_kept_makes_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = (Mark::from_bytes(&bytes), FirstSight::from_bytes(&bytes));
        }
    }
}
