//! Values of any size in pieces of at most 4,000 bytes.
//!
//! sled writes bigger values to files of their own and never syncs those, so that a power cut would lose them
//! although the batch that names them was acknowledged. Values are compressed first, then cut.

use std::borrow::Cow;

use sled::{Batch, Tree};

use super::keys;
use crate::event::id::Seq;

/// Small enough that sled keeps a leaf of such values inside its log. A leaf that takes more than a quarter of a segment
/// (128 KiB) goes to a file of its own, and a leaf is split once it has more than 16 entries: with pieces of 8,000 bytes the
/// seventeenth entry was too much.
pub(super) const PIECE: usize = 4_000;

/// Below this, compressing does not pay for itself.
const WORTH_COMPRESSING: usize = 200;

/// Stands in place of a line that was too long. Lines are JSON objects, so that none begins like it.
const LONG: &[u8] = b"+";

/// Ends each line of a record. JSON is written without one.
const NEW_LINE: u8 = b'\n';

const PLAIN: u8 = 0;
const LZ4: u8 = 1;

/// A value whose pieces do not make sense together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pieces of a value do not fit together")]
pub(super) struct BadPieces;

/// Adds a value below `prefix`; returns the bytes it takes.
pub(super) fn put(batch: &mut Batch, prefix: &[u8], value: &[u8]) -> u64 {
    put_packed(batch, prefix, &pack(value))
}

/// Adds a value that is packed already.
pub(super) fn put_packed(batch: &mut Batch, prefix: &[u8], packed: &[u8]) -> u64 {
    for (number, piece) in packed.chunks(PIECE).enumerate() {
        let mut key = prefix.to_vec();
        key.extend_from_slice(&u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
        batch.insert(key, piece);
    }
    packed.len() as u64
}

/// The line that stands for `line` at the beginning of the record at `key`, which belongs to event `seq`: as a rule itself.
/// What the controller or an operator writes into one has no limit, so one of more than `at_most` bytes goes into pieces.
pub(super) fn put_line<'a>(
    batch: &mut Batch,
    seq: Seq,
    key: &[u8],
    line: &'a [u8],
    at_most: usize,
) -> &'a [u8] {
    if line.len() <= at_most {
        line
    } else {
        put(batch, &keys::long(seq, key), line);
        LONG
    }
}

/// The line for which `stored` stands at the beginning of the record at `key`, which belongs to event `seq`.
pub(super) fn line<'a>(
    tree: &Tree,
    seq: Seq,
    key: &[u8],
    stored: &'a [u8],
) -> Result<Cow<'a, [u8]>, GetError> {
    if stored == LONG {
        let line = get(tree, &keys::long(seq, key))?;
        line.map(Cow::Owned).ok_or(GetError::Pieces(BadPieces))
    } else {
        Ok(Cow::Borrowed(stored))
    }
}

/// A record's first line, and what is behind it.
pub(super) fn split_line(record: &[u8]) -> (&[u8], &[u8]) {
    match record.iter().position(|byte| *byte == NEW_LINE) {
        Some(end) => (&record[..end], &record[end + 1..]),
        None => (record, &[]),
    }
}

/// A record of lines, and of what may stand behind the last of them.
pub(super) fn record(lines: &[&[u8]], behind: &[u8]) -> Vec<u8> {
    let length = lines.iter().map(|line| line.len() + 1).sum::<usize>() + behind.len();
    let mut record = Vec::with_capacity(length);
    for line in lines {
        record.extend_from_slice(line);
        record.push(NEW_LINE);
    }
    record.extend_from_slice(behind);
    record
}

/// Reads a value back; none when there is nothing below `prefix`.
pub(super) fn get(tree: &Tree, prefix: &[u8]) -> Result<Option<Vec<u8>>, GetError> {
    let mut packed = Vec::new();
    let mut next: u32 = 0;
    for entry in tree.scan_prefix(prefix) {
        let (key, piece) = entry.map_err(GetError::Sled)?;
        // A longer prefix of something else begins the same way; its keys are longer.
        if key.len() == prefix.len() + 4 {
            if !key.ends_with(&next.to_be_bytes()) {
                return Err(GetError::Pieces(BadPieces));
            }
            next += 1;
            packed.extend_from_slice(&piece);
        }
    }
    if packed.is_empty() {
        Ok(None)
    } else {
        unpack(&packed).map(Some).map_err(GetError::Pieces)
    }
}

/// The bytes a value takes.
pub(super) fn length(tree: &Tree, prefix: &[u8]) -> sled::Result<u64> {
    let mut length = 0;
    for entry in tree.scan_prefix(prefix) {
        let (key, piece) = entry?;
        if key.len() == prefix.len() + 4 {
            length += piece.len() as u64;
        }
    }
    Ok(length)
}

/// Takes a value out; returns the bytes that frees.
pub(super) fn remove(tree: &Tree, batch: &mut Batch, prefix: &[u8]) -> sled::Result<u64> {
    let mut freed = 0;
    for entry in tree.scan_prefix(prefix) {
        let (key, piece) = entry?;
        if key.len() == prefix.len() + 4 {
            freed += piece.len() as u64;
            batch.remove(key);
        }
    }
    Ok(freed)
}

/// Why a value cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum GetError {
    #[error("sled cannot read")]
    Sled(#[source] sled::Error),
    #[error(transparent)]
    Pieces(BadPieces),
}

/// A value as it is stored.
pub(super) fn pack(value: &[u8]) -> Vec<u8> {
    if value.len() >= WORTH_COMPRESSING {
        let compressed = lz4_flex::block::compress_prepend_size(value);
        if compressed.len() < value.len() {
            let mut packed = Vec::with_capacity(compressed.len() + 1);
            packed.push(LZ4);
            packed.extend_from_slice(&compressed);
            return packed;
        }
    }
    let mut packed = Vec::with_capacity(value.len() + 1);
    packed.push(PLAIN);
    packed.extend_from_slice(value);
    packed
}

/// The value that was packed so.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, BadPieces> {
    match packed.split_first() {
        Some((&PLAIN, value)) => Ok(value.to_vec()),
        Some((&LZ4, compressed)) => {
            // The announced size is not to be believed before it is held against what LZ4 can reach (255 to 1).
            let announced = compressed
                .get(..4)
                .and_then(|size| <[u8; 4]>::try_from(size).ok())
                .ok_or(BadPieces)?;
            if u32::from_le_bytes(announced) as usize / 256 > compressed.len() {
                return Err(BadPieces);
            }
            lz4_flex::block::decompress_size_prepended(compressed).map_err(|_| BadPieces)
        }
        _ => Err(BadPieces),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_out_again(value in proptest::collection::vec(any::<u8>(), 0..30_000)) {
            prop_assert_eq!(unpack(&pack(&value)), Ok(value));
        }

        #[test]
        fn no_bytes_make_unpacking_panic(packed in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = unpack(&packed);
        }
    }

    #[test]
    fn a_value_of_many_pieces_is_kept_and_taken_out_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = sled::open(folder.path())
            .expect("a store")
            .open_tree("t")
            .expect("a tree");
        let value: Vec<u8> = (0..100_000_u32)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        let mut batch = Batch::default();
        put(&mut batch, b"k", &value);
        put(&mut batch, b"k\0longer", b"other");
        tree.apply_batch(batch).expect("a write");
        assert!(tree.iter().all(|entry| entry.expect("a read").1.len() <= PIECE));
        assert_eq!(
            get(&tree, b"k").expect("a read").as_deref(),
            Some(value.as_slice())
        );
        let mut batch = Batch::default();
        remove(&tree, &mut batch, b"k").expect("a read");
        tree.apply_batch(batch).expect("a write");
        assert_eq!(get(&tree, b"k").expect("a read"), None);
        assert_eq!(
            get(&tree, b"k\0longer").expect("a read").as_deref(),
            Some(b"other".as_slice())
        );
    }
}
