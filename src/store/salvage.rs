//! Salvage: what can be read of a damaged store goes into a new one, and the damaged one is set aside.
//!
//! sled's files are a log cut into segments. Copies of the folder are tried: as it is, without its snapshots, and with
//! more and more segments cut off the end; the first that can be read from end to end serves, or else the one that
//! gives the most. Records that are not whole are left out; counters are counted anew.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sled::{Batch, IVec, Tree};

use super::format::{self, FORMAT};
use super::keys::{self, Space};
use super::open::{Label, Panicked, aside, open_files, sync_all_of};
use super::{ListedEvent, blob};
use crate::engine::execution::Execution;
use crate::event::id::{Seq, StoreId};

/// sled's segments: it reads its log in pieces of this many bytes.
const SEGMENT: u64 = 512 << 10;

/// So many segments are cut off one at a time.
const ONE_BY_ONE: usize = 32;

/// Entries written together.
const TOGETHER: usize = 1_000;

/// Numbers that are not given again where the end of the log was lost with the numbers in it.
const NUMBERS_SKIPPED: u64 = 100_000;

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvaged {
    /// The store's id: the old one, where it could be read.
    pub id: StoreId,
    /// Events saved.
    pub events: u64,
    /// Executions saved, with their attempts.
    pub executions: u64,
    /// Of these, not at their end: they are taken up at the next start.
    pub unsettled: u64,
    /// Events and executions that were not whole and are left out.
    pub left_out: u64,
    /// Bytes cut off the end of the log.
    pub cut: u64,
    /// Where the damaged store is now, untouched.
    pub set_aside: PathBuf,
}

/// Why nothing was saved. The damaged store is untouched.
#[derive(Debug, thiserror::Error)]
pub enum SalvageError {
    /// A process has it.
    #[error("a hem uses the store in {}; stop it first", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// There is no store.
    #[error("there is no store in {}", path.display())]
    Absent {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("the store in {} has format {found}; this hem reads up to {FORMAT}: use the hem that wrote it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// Nothing in it can be read.
    #[error("nothing in {} can be read as a store", path.display())]
    NothingReadable {
        /// The folder.
        path: PathBuf,
    },
    /// A folder cannot be read or written.
    #[error("cannot work beside {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The new store cannot be written.
    #[error("cannot write the new store beside {}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: sled::Error,
    },
}

/// A way to try to read the damaged files.
#[derive(Debug, Clone, Copy)]
struct Try {
    keep_snapshots: bool,
    cut: u64,
}

/// Saves what is readable of the store in `folder` into a new one in its place. `say` hears how it goes.
///
/// # Errors
/// See [`SalvageError`].
pub fn salvage(folder: &Path, mut say: impl FnMut(&str)) -> Result<Salvaged, SalvageError> {
    let path = folder.to_path_buf();
    let in_folder = |source| SalvageError::Folder {
        path: path.clone(),
        source,
    };
    let log = folder.join("db");
    let file = match File::open(&log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(SalvageError::Absent { path }),
        Err(error) => return Err(in_folder(error)),
    };
    let length = file.metadata().map_err(in_folder)?.len();
    let Ok(_lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
        return Err(SalvageError::InUse { path });
    };
    let label = Label::read(folder).map_err(in_folder)?.and_then(Result::ok);
    if let Some(label) = label.as_ref().filter(|label| label.format > FORMAT) {
        return Err(SalvageError::Newer {
            path,
            found: label.format,
        });
    }

    let parent = folder
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let workshop = tempfile::Builder::new()
        .prefix(".hem-salvage-")
        .tempdir_in(parent)
        .map_err(in_folder)?;
    let mut best: Option<(u64, Try)> = None;
    for attempt in tries(length) {
        say(&attempt.in_words());
        let copy = workshop.path().join("copy");
        copy_store(folder, &copy, attempt).map_err(in_folder)?;
        let (readable, whole) = readable_entries(&copy);
        fs::remove_dir_all(&copy).map_err(in_folder)?;
        say(&format!(
            "  {readable} entries are readable{}",
            if whole { ", all of them" } else { "" }
        ));
        if readable > best.map_or(0, |(most, _)| most) {
            best = Some((readable, attempt));
        }
        if whole && readable > 0 {
            break;
        }
    }
    let Some((_, attempt)) = best else {
        return Err(SalvageError::NothingReadable { path });
    };

    let (copy, fresh) = (workshop.path().join("copy"), workshop.path().join("fresh"));
    copy_store(folder, &copy, attempt).map_err(in_folder)?;
    fs::create_dir(&fresh).map_err(in_folder)?;
    let write = |source| SalvageError::Write {
        path: path.clone(),
        source,
    };
    let mut salvaged = {
        let (_old, from) = match open_files(&copy) {
            Ok(Ok(opened)) => opened,
            Ok(Err(source)) => return Err(write(source)),
            Err(_) => return Err(SalvageError::NothingReadable { path }),
        };
        let (db, to) = match open_files(&fresh) {
            Ok(opened) => opened.map_err(write)?,
            Err(_) => return Err(SalvageError::NothingReadable { path }),
        };
        copy_entries(&from, &to).map_err(write)?;
        let salvaged = mend(&from, &to, label.map(|label| label.id), attempt.cut).map_err(write)?;
        db.flush().map_err(write)?;
        salvaged
    };
    Label {
        format: FORMAT,
        id: salvaged.id.clone(),
    }
    .write(&fresh)
    .map_err(in_folder)?;
    sync_all_of(&fresh).map_err(in_folder)?;

    salvaged.set_aside = aside(folder);
    fs::rename(folder, &salvaged.set_aside).map_err(in_folder)?;
    fs::rename(&fresh, folder).map_err(in_folder)?;
    File::open(parent)
        .and_then(|parent| parent.sync_all())
        .map_err(in_folder)?;
    Ok(salvaged)
}

fn tries(length: u64) -> Vec<Try> {
    let mut tries = vec![
        Try {
            keep_snapshots: true,
            cut: 0,
        },
        Try {
            keep_snapshots: false,
            cut: 0,
        },
    ];
    // A log that does not end with a segment was cut before: the rest of it is the first to go.
    let mut cut = length % SEGMENT;
    if cut > 0 {
        tries.push(Try {
            keep_snapshots: false,
            cut,
        });
    }
    // One by one as long as that is cheap, then in ever larger steps.
    let mut segments = 1;
    while cut + segments * SEGMENT < length {
        cut += segments * SEGMENT;
        tries.push(Try {
            keep_snapshots: false,
            cut,
        });
        if tries.len() > ONE_BY_ONE {
            segments *= 2;
        }
    }
    tries
}

impl Try {
    fn in_words(self) -> String {
        match self {
            Self {
                keep_snapshots: true, ..
            } => "reading it as it is".to_owned(),
            Self { cut: 0, .. } => "reading the log without the snapshots".to_owned(),
            Self { cut, .. } => format!("reading the log without its last {} KiB", cut >> 10),
        }
    }
}

fn copy_store(folder: &Path, copy: &Path, attempt: Try) -> io::Result<()> {
    fs::create_dir(copy)?;
    fs::create_dir(copy.join("blobs"))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_snapshot = name.to_string_lossy().starts_with("snap");
        if entry.file_type()?.is_file() && (attempt.keep_snapshots || !is_snapshot) {
            fs::copy(entry.path(), copy.join(&name))?;
        }
    }
    let log = OpenOptions::new().write(true).open(copy.join("db"))?;
    let length = log.metadata()?.len();
    log.set_len(length.saturating_sub(attempt.cut))
}

/// How many entries can be read, and whether that was all the way to the end.
fn readable_entries(copy: &Path) -> (u64, bool) {
    let Ok(Ok((_db, tree))) = open_files(copy) else {
        return (0, false);
    };
    let mut readable = 0;
    let whole = Panicked::catch(|| {
        for entry in &tree {
            match entry {
                Ok(_) => readable += 1,
                Err(_) => return false,
            }
        }
        true
    });
    (readable, whole.unwrap_or(false))
}

fn copy_entries(from: &Tree, to: &Tree) -> sled::Result<()> {
    let mut batch = Batch::default();
    let mut waiting = 0;
    let mut entries = from.iter();
    // What cannot be read ends the walk; a panic does the same.
    while let Ok(Some(Ok((key, value)))) = Panicked::catch(|| entries.next()) {
        if key.first() != Some(&(Space::Meta as u8)) && key.first() != Some(&(Space::Unsettled as u8)) {
            batch.insert(key, value);
            waiting += 1;
        }
        if waiting == TOGETHER {
            to.apply_batch(std::mem::take(&mut batch))?;
            waiting = 0;
        }
    }
    to.apply_batch(batch)
}

/// Leaves out what is not whole, finds out what is still to be done, and counts everything anew.
fn mend(from: &Tree, to: &Tree, labelled: Option<StoreId>, cut: u64) -> sled::Result<Salvaged> {
    let meta = |name: &str| from.get(keys::meta(name)).ok().flatten();
    let id = labelled
        .or_else(|| std::str::from_utf8(&meta("id")?).ok()?.parse().ok())
        .unwrap_or_else(|| StoreId::draw(&mut fastrand::Rng::new()));
    let former = meta("totals").and_then(|bytes| format::read_totals(&bytes).ok());
    let mut totals = former.clone().unwrap_or_default();
    (totals.executions, totals.unmatched_kept, totals.matched_kept) = (BTreeMap::new(), 0, 0);
    totals.unmatched_bytes = 0;

    let mut batch = Batch::default();
    let (mut events, mut executions, mut unsettled, mut left_out) = (0, 0, 0, 0);
    for entry in to.scan_prefix(keys::space(Space::Event)) {
        let (key, value) = entry?;
        let seq = Seq(keys::number(&key).unwrap_or_default());
        let Some(listed) = whole_event(to, seq, &value) else {
            batch.remove(key);
            batch.remove(keys::unmatched(seq));
            blob::remove(to, &mut batch, &keys::payload(seq))?;
            left_out += 1;
            continue;
        };
        events += 1;
        totals.last_seq = totals.last_seq.max(seq.0);
        if listed.hooks.is_empty() {
            totals.unmatched_kept += 1;
            totals.unmatched_bytes += blob::length(to, &keys::payload(seq))?;
            batch.insert(keys::unmatched(seq), &[]);
        } else {
            totals.matched_kept += 1;
        }
        if former.is_none() {
            totals.count(&listed.event, listed.hooks.is_empty());
        }
    }
    for entry in to.scan_prefix(keys::space(Space::Execution)) {
        let (key, value) = entry?;
        let Some(execution) = whole_execution(to, &key, &value)? else {
            left_out += 1;
            remove_execution(to, &key, &mut batch)?;
            continue;
        };
        executions += 1;
        let state = &execution.progress.state;
        *totals.executions.entry(state.name().to_owned()).or_default() += 1;
        batch.insert(keys::by_hook_and_event(&execution.key), &[]);
        if !state.is_settled() {
            unsettled += 1;
            batch.insert(keys::of_execution(Space::Unsettled, &execution.key), &[]);
        }
    }
    to.apply_batch(std::mem::take(&mut batch))?;
    let (payloads, outputs) = bytes_kept(to)?;
    (totals.bytes, totals.output_bytes) = (payloads + outputs, outputs);
    let last_audit = to
        .scan_prefix(keys::space(Space::Audit))
        .keys()
        .next_back()
        .transpose()?;
    totals.last_audit = totals
        .last_audit
        .max(last_audit.and_then(|key| keys::number(&key)).unwrap_or_default());
    if cut > 0 || former.is_none() {
        totals.last_seq += NUMBERS_SKIPPED;
    }
    batch.insert(keys::meta("format"), &FORMAT.to_be_bytes());
    batch.insert(keys::meta("id"), id.as_str());
    batch.insert(keys::meta("totals"), format::write(&totals));
    to.apply_batch(batch)?;
    Ok(Salvaged {
        id,
        events,
        executions,
        unsettled,
        left_out,
        cut,
        set_aside: PathBuf::new(),
    })
}

/// The execution, if its event and both parts of its record are there and make sense.
fn whole_execution(tree: &Tree, key: &IVec, value: &IVec) -> sled::Result<Option<Execution>> {
    let Some(name) = keys::execution(key) else {
        return Ok(None);
    };
    let Some(progress) = tree.get(keys::of_execution(Space::Progress, &name))? else {
        return Ok(None);
    };
    let Some(event) = tree.get(keys::event(name.event))? else {
        return Ok(None);
    };
    if whole_event(tree, name.event, &event).is_none() {
        return Ok(None);
    }
    let record = blob::record(tree, name.event, key, value).ok();
    Ok(record.and_then(|record| format::read_execution(name, &record, &progress).ok()))
}

/// The event, if its record makes sense and its payload is as long as the record says.
fn whole_event(tree: &Tree, seq: Seq, stored: &[u8]) -> Option<ListedEvent> {
    let record = blob::record(tree, seq, &keys::event(seq), stored).ok()?;
    let listed = format::read_event(seq, &record).ok()?;
    let is_whole = match blob::get(tree, &keys::payload(seq)).ok()? {
        Some(payload) => payload.len() as u64 == listed.payload_len,
        // Of some events that match nothing only the record is kept.
        None => listed.payload_len == 0 || listed.hooks.is_empty(),
    };
    is_whole.then_some(listed)
}

fn remove_execution(tree: &Tree, key: &IVec, batch: &mut Batch) -> sled::Result<()> {
    batch.remove(key.clone());
    let Some(name) = keys::execution(key) else {
        return Ok(());
    };
    batch.remove(keys::of_execution(Space::Progress, &name));
    batch.remove(keys::by_hook_and_event(&name));
    for part in tree.scan_prefix(keys::attempts(&name)).keys() {
        batch.remove(part?);
    }
    Ok(())
}

/// Bytes of payloads, and of outputs.
fn bytes_kept(tree: &Tree) -> sled::Result<(u64, u64)> {
    let (mut payloads, mut outputs) = (0, 0);
    for entry in tree.scan_prefix(keys::space(Space::Payload)) {
        payloads += entry?.1.len() as u64;
    }
    for entry in tree.scan_prefix(keys::space(Space::Attempt)) {
        let (key, value) = entry?;
        // The hook's name ends with a NUL.
        let name_ends = key.iter().skip(9).position(|byte| *byte == 0).map(|at| at + 10);
        if name_ends
            .and_then(|end| key.get(..end))
            .is_some_and(|prefix| keys::is_output(&key, prefix))
        {
            outputs += value.len() as u64;
        }
    }
    Ok((payloads, outputs))
}
