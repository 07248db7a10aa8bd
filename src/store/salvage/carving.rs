//! Reads sled's log message by message, past what is damaged, where sled itself would give up.
//!
//! The log of sled 0.34 is cut into segments. Each message in it says which segment it was written to and which page it is
//! about, and bears a CRC-32, so that what is whole can be told from what is not wherever it stands. A page is its last
//! whole image and the changes behind it, in the order of segments and places. Of a page whose last image is lost, an older
//! one serves: that is the state of some time before.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::SEGMENT;
use crate::store::remains::crc32;

/// A segment begins with this: its CRC-32, its place in the order, and what was stable then.
const SEGMENT_HEADER: usize = 20;

/// What messages of interest are: a page set free, a whole page, a change of one.
const FREE: u8 = 4;
const NODE: u8 = 8;
const LINK: u8 = 10;
/// The last of the kinds.
const GREATEST_KIND: u8 = 11;

/// Where a whole message stands.
#[derive(Debug, Clone, Copy)]
struct Message {
    kind: u8,
    /// The place of its segment in the order, and its own within that.
    order: (u64, usize),
    /// Of its body, in the file.
    offset: u64,
    length: usize,
}

/// The messages that make up a page as it was last.
#[derive(Debug, Default)]
struct Page {
    image: Option<Message>,
    changes: Vec<Message>,
}

/// What is readable of a log.
#[derive(Debug)]
pub(super) struct Carving {
    log: File,
    /// Those that changed last come last.
    pages: Vec<Page>,
}

impl Carving {
    /// Looks through the log.
    pub(super) fn read(log: File) -> io::Result<Self> {
        let length = log.metadata()?.len();
        let mut found: Vec<(u64, Message)> = Vec::new();
        let mut segment = vec![0; usize::try_from(SEGMENT).unwrap_or_default()];
        for start in (0..length).step_by(segment.len()) {
            let there = usize::try_from(length - start).map_or(segment.len(), |rest| rest.min(segment.len()));
            log.read_exact_at(&mut segment[..there], start)?;
            messages(&segment[..there], start, &mut found);
        }
        found.sort_by_key(|(_, message)| message.order);
        let mut pages: HashMap<u64, Page> = HashMap::new();
        for (id, message) in found {
            match message.kind {
                FREE => {
                    pages.remove(&id);
                }
                NODE => {
                    let page = pages.entry(id).or_default();
                    page.image = Some(message);
                    page.changes.clear();
                }
                _ => pages.entry(id).or_default().changes.push(message),
            }
        }
        let mut pages: Vec<Page> = pages.into_values().collect();
        pages.sort_by_key(Page::changed);
        Ok(Self { log, pages })
    }

    /// Calls `take` with each entry; of two with the same key the later one counts.
    pub(super) fn each<E: From<io::Error>>(
        &self,
        mut take: impl FnMut(Vec<u8>, Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        for page in &self.pages {
            for (key, value) in page.entries(&self.log)? {
                take(key, value)?;
            }
        }
        Ok(())
    }
}

impl Page {
    fn changed(&self) -> (u64, usize) {
        let last = self.changes.last().or(self.image.as_ref());
        last.map_or((0, 0), |message| message.order)
    }

    fn entries(&self, log: &File) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut entries = BTreeMap::new();
        // Changes alone say only the ends of their keys.
        let Some(image) = self.image else {
            return Ok(entries);
        };
        let body = |message: &Message| {
            let mut body = vec![0; message.length];
            log.read_exact_at(&mut body, message.offset).map(|()| body)
        };
        let Some((prefix, leaf)) = node(&body(&image)?) else {
            return Ok(entries);
        };
        let whole = |end: &[u8]| [prefix.as_slice(), end].concat();
        entries.extend(leaf.into_iter().map(|(end, value)| (whole(&end), value)));
        for change in &self.changes {
            match link(&body(change)?) {
                Some((end, Some(value))) => {
                    entries.insert(whole(&end), value);
                }
                Some((end, None)) => {
                    entries.remove(&whole(&end));
                }
                None => {}
            }
        }
        Ok(entries)
    }
}

/// Finds the whole messages of a segment that begins at `start` of the file. Behind one that is damaged, every place where
/// another may begin is tried.
fn messages(segment: &[u8], start: u64, found: &mut Vec<(u64, Message)>) {
    let mut at = SEGMENT_HEADER;
    while at < segment.len() {
        let Some((id, message, end)) = message(segment, at, start) else {
            at += 1;
            continue;
        };
        if matches!(message.kind, FREE | NODE | LINK) {
            found.push((id, message));
        }
        at = end;
    }
}

/// The message at `at`, the page it is about, and where it ends.
fn message(segment: &[u8], at: usize, start: u64) -> Option<(u64, Message, usize)> {
    let mut rest = segment.get(at..)?;
    let sum = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
    let kind = *take(&mut rest, 1)?.first()?;
    if kind == 0 || kind > GREATEST_KIND {
        return None;
    }
    let length = usize::try_from(number(&mut rest)?).ok()?;
    let (order, id) = (number(&mut rest)?, number(&mut rest)?);
    let begins = segment.len() - rest.len();
    let body = take(&mut rest, length)?;
    if !crc32(&[body, segment.get(at + 4..begins)?]) != sum {
        return None;
    }
    let message = Message {
        kind,
        order: (order, at),
        offset: start + begins as u64,
        length,
    };
    Some((id, message, begins + length))
}

/// The common beginning of a leaf's keys, and its entries with the ends of theirs.
#[expect(clippy::type_complexity, reason = "what a leaf is, once")]
fn node(mut body: &[u8]) -> Option<(Vec<u8>, Vec<(Vec<u8>, Vec<u8>)>)> {
    let rest = &mut body;
    let (_next, _merging_child) = (number(rest)?, number(rest)?);
    let _merging = take(rest, 1)?;
    let prefix = usize::from(*take(rest, 1)?.first()?);
    let (lowest, _highest) = (bytes(rest)?, bytes(rest)?);
    if *take(rest, 1)?.first()? != 0 {
        // An index holds no values.
        return None;
    }
    let count = number(rest)?;
    let keys = (0..count).map(|_| bytes(rest)).collect::<Option<Vec<_>>>()?;
    let values = (0..count).map(|_| bytes(rest)).collect::<Option<Vec<_>>>()?;
    let prefix = lowest.get(..prefix)?.to_vec();
    Some((prefix, keys.into_iter().zip(values).collect()))
}

/// The end of the key that was changed, and its value; none when it was removed.
fn link(mut body: &[u8]) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let rest = &mut body;
    match take(rest, 1)?.first()? {
        0 => Some((bytes(rest)?, Some(bytes(rest)?))),
        1 => Some((bytes(rest)?, None)),
        _ => None,
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

fn bytes(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(number(rest)?).ok()?;
    take(rest, length).map(<[u8]>::to_vec)
}

/// sled's variable-length number: as SQLite 4's, but little-endian where it is long.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let first = *take(rest, 1)?.first()?;
    let one = |rest: &mut &[u8]| {
        take(rest, 1)
            .and_then(|byte| byte.first())
            .copied()
            .map(u64::from)
    };
    Some(match first {
        0..=240 => u64::from(first),
        241..=248 => 240 + 256 * (u64::from(first) - 241) + one(rest)?,
        249 => 2288 + 256 * one(rest)? + one(rest)?,
        _ => {
            let length = usize::from(first) - 247;
            let mut long = [0; 8];
            long.get_mut(..length)?.copy_from_slice(take(rest, length)?);
            u64::from_le_bytes(long)
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_sled_wrote_is_read_without_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = sled::open(folder.path())
            .expect("a store")
            .open_tree("t")
            .expect("a tree");
        let mut rng = fastrand::Rng::with_seed(3);
        let mut expected = BTreeMap::new();
        for _ in 0..20_000 {
            let key = format!("key-{}", rng.u32(0..3_000)).into_bytes();
            if rng.u32(0..4) == 0 {
                tree.remove(&key).expect("a write");
                expected.remove(&key);
            } else {
                let length = rng.usize(0..300);
                let value: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
                tree.insert(&key, value.as_slice()).expect("a write");
                expected.insert(key, value);
            }
        }
        tree.flush().expect("a write");
        let carving = Carving::read(File::open(folder.path().join("db")).expect("the log")).expect("a read");
        let mut found = BTreeMap::new();
        let taken: io::Result<()> = carving.each(|key, value| {
            // sled keeps the names of its trees in the same log.
            if key.starts_with(b"key-") {
                found.insert(key, value);
            }
            Ok(())
        });
        taken.expect("a read");
        assert!(
            found == expected,
            "{} entries instead of {}",
            found.len(),
            expected.len()
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(log in proptest::collection::vec(any::<u8>(), 0..3_000)) {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(&log).expect("written");
            let carving = Carving::read(file).expect("a read");
            let taken: io::Result<()> = carving.each(|_, _| Ok(()));
            taken.expect("a read");
            let _ = node(&log);
            let _ = link(&log);
        }
    }
}
