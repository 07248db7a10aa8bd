//! What a crash leaves of work on the store's files that sled does not clean up itself.
//!
//! Two things would keep sled from opening a store in which nothing is wrong: a file `conf` or `db` that was never finished
//! because the crash came while the store was made, and a snapshot that was being written while sled started.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::Flock;

use super::open::lock_in_time;

/// What sled adds to the name of a snapshot until it is written and synced.
const UNFINISHED: &str = "generating";

/// Making a store leaves less than this in its log before the store is labelled.
const LOG_OF_NOTHING: u64 = 4_096;

/// How sled's `conf` begins, and its whole length.
const CONF_BEGINS: &[u8] = b"segment_size: ";
const CONF_LEN: usize = 62;

/// Held by the one process that opens a store. Once the store is open, sled's own lock keeps others out.
#[derive(Debug)]
pub(super) struct Opening {
    _lock: Flock<File>,
}

impl Opening {
    /// Waits for its turn, and takes away what a crash left half done. `is_labelled` says whether a store was finished here:
    /// only then may anything have been accepted.
    pub(super) fn begin(folder: &Path, is_labelled: impl FnOnce() -> io::Result<bool>) -> io::Result<Self> {
        let lock = lock_in_time(File::open(folder)?)?;
        for unfinished in snapshots(folder)? {
            if unfinished.extension().is_some_and(|end| end == UNFINISHED) {
                finish_snapshot(&unfinished)?;
            }
        }
        File::open(folder)?.sync_all()?;
        if !is_labelled()? && is_unfinished(folder)? {
            for file in snapshots(folder)?
                .into_iter()
                .chain([folder.join("db"), folder.join("conf")])
            {
                match fs::remove_file(file) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(Self { _lock: lock })
    }
}

/// Does what sled would have done next: gives a whole snapshot its name, or drops half a one.
///
/// A whole one must not be dropped. Once it is synced, sled begins to overwrite parts of the log that only the snapshot makes
/// superfluous; read from an older one, such a log seems to end where the first of those parts is.
fn finish_snapshot(unfinished: &Path) -> io::Result<()> {
    let bytes = fs::read(unfinished)?;
    // The snapshot, its length in eight bytes, its CRC-32 in four.
    let is_whole = bytes
        .len()
        .checked_sub(12)
        .filter(|len| *len > 0)
        .and_then(|len| Some((bytes.get(..len)?, bytes.get(len + 8..)?)))
        .is_some_and(|(snapshot, sum)| crc32(&[snapshot]).to_le_bytes() == sum);
    if is_whole {
        File::open(unfinished)?.sync_all()?;
        fs::rename(unfinished, unfinished.with_extension(""))
    } else {
        fs::remove_file(unfinished)
    }
}

/// CRC-32 as in IEEE 802.3, of these parts one behind the other.
pub(super) fn crc32(parts: &[&[u8]]) -> u32 {
    let mut sum: u32 = !0;
    for part in parts {
        for byte in *part {
            sum = (sum >> 8) ^ CRC_OF_BYTE[usize::from(sum.to_le_bytes()[0] ^ byte)];
        }
    }
    !sum
}

const CRC_OF_BYTE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut sum, mut bit) = (byte as u32, 0);
        while bit < 8 {
            sum = (sum >> 1) ^ (0xEDB8_8320 & (sum & 1).wrapping_neg());
            bit += 1;
        }
        table[byte] = sum;
        byte += 1;
    }
    table
};

/// Whether the files are what a crash leaves while sled makes them. Files of somebody else are not.
fn is_unfinished(folder: &Path) -> io::Result<bool> {
    let conf = match fs::read(folder.join("conf")) {
        Ok(conf) => conf,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let begins = conf.get(..CONF_BEGINS.len()).unwrap_or(&conf);
    let is_sleds = conf.len() <= CONF_LEN && (begins == CONF_BEGINS || begins.iter().all(|byte| *byte == 0));
    let log = match fs::metadata(folder.join("db")) {
        Ok(log) => log.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    Ok(is_sleds && log < LOG_OF_NOTHING)
}

fn snapshots(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("snap.") {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check value of the CRC catalogues.
    #[test]
    fn the_sum_is_the_well_known_one() {
        assert_eq!(crc32(&[b"1234", b"56789"]), 0xCBF4_3926);
    }

    #[test]
    fn a_whole_snapshot_is_finished_and_half_a_one_is_dropped() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        let mut whole = b"a snapshot".to_vec();
        let sum = crc32(&[&whole]);
        whole.extend_from_slice(&10_u64.to_le_bytes());
        whole.extend_from_slice(&sum.to_le_bytes());
        fs::write(at("snap.0000000000000200.generating"), &whole).expect("a file");
        fs::write(at("snap.0000000000000300.generating"), &whole[..15]).expect("a file");
        fs::write(at("snap.0000000000000400.generating"), b"").expect("a file");
        drop(Opening::begin(folder.path(), || Ok(true)).expect("its turn"));
        assert_eq!(fs::read(at("snap.0000000000000200")).expect("a file"), whole);
        assert_eq!(snapshots(folder.path()).expect("a folder").len(), 1);
    }

    #[test]
    fn a_store_that_was_never_finished_is_begun_anew_and_files_of_others_stay() {
        for (conf, db, is_labelled, stays) in [
            (&b"segment_size: 524288"[..], &[][..], false, false),
            (&[0; 62], &[0; 400], false, false),
            (b"segment_size: 524288", &[0; 400], true, true),
            (b"segment_size: 524288", &[0; 5_000], false, true),
            (b"[my own settings]", &[], false, true),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, bytes) in [("conf", conf), ("db", db)] {
                fs::write(folder.path().join(name), bytes).expect("a file");
            }
            drop(Opening::begin(folder.path(), || Ok(is_labelled)).expect("its turn"));
            for name in ["conf", "db"] {
                assert_eq!(folder.path().join(name).exists(), stays, "{name} of {conf:?}");
            }
        }
    }
}
