//! What was lost of a source, folded into a few words.

use std::collections::VecDeque;

use super::Received;
use crate::event::Gap;
use crate::event::time::Timestamp;

/// How many keys of lost messages are kept for one gap record, the newest: they tell the latest states.
pub const LOST_KEYS: usize = 100;

/// Keys of lost messages are kept up to this many bytes; real ones have less than a hundred.
pub(super) const LOST_KEY_BYTES: usize = 256;

/// Messages of a source that were lost one after the other. However many they are and whatever their keys, it stays small.
#[derive(Debug)]
pub(in crate::engine) struct Loss {
    keys: VecDeque<String>,
    count: u64,
    from: Timestamp,
    to: Timestamp,
}

impl Loss {
    /// None so far; the first of them comes at this time.
    pub(in crate::engine) const fn from(from: Timestamp) -> Self {
        Self {
            keys: VecDeque::new(),
            count: 0,
            from,
            to: from,
        }
    }

    /// One more.
    pub(in crate::engine) fn lose(&mut self, message: Received) {
        if self.keys.len() == LOST_KEYS {
            self.keys.pop_front();
        }
        let mut key = message.key;
        key.truncate(key.floor_char_boundary(LOST_KEY_BYTES));
        key.shrink_to_fit();
        self.keys.push_back(key);
        self.count += 1;
        self.to = message.at;
    }

    /// What is to be written down of it.
    pub(in crate::engine) fn into_gap(self, why: String) -> Gap {
        Gap {
            from: self.from,
            to: self.to,
            why,
            lost: self.count,
            keys: self.keys.into(),
            present: Vec::new(),
        }
    }
}
