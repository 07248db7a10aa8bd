//! Salvage: what can be read of a damaged store goes into a new one, and the damaged one is set aside.
//!
//! sled's files are a log cut into segments. Copies of the folder are tried: as it is, and without its snapshots. Where
//! sled cannot read them from end to end, the log is read past what is damaged (`carving`), and where even that gives less,
//! with more and more segments cut off the end; what gives the most serves. Records that are not whole are left out (`mending`),
//! counters are counted anew.

mod carving;
mod mending;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use sled::{Batch, Tree};

use self::carving::Carving;
use self::mending::mend;
use super::format::FORMAT;
use super::keys::Space;
use super::open::{Label, Panicked, aside, lock_in_time, open_files, sync_all_of};
use crate::event::id::StoreId;

/// sled's segments: it reads its log in pieces of this many bytes.
const SEGMENT: u64 = 512 << 10;

/// So many segments are cut off one at a time.
const ONE_BY_ONE: usize = 32;

/// Entries written together.
const TOGETHER: usize = 1_000;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Try {
    /// sled reads a copy.
    Sled { keep_snapshots: bool, cut: u64 },
    /// The log is read past what is damaged.
    Past,
}

impl Try {
    const WHOLE: Self = Self::Sled {
        keep_snapshots: true,
        cut: 0,
    };
    const WITHOUT_SNAPSHOTS: Self = Self::Sled {
        keep_snapshots: false,
        cut: 0,
    };

    const fn cut(self) -> u64 {
        match self {
            Self::Sled { cut, .. } => cut,
            Self::Past => 0,
        }
    }

    fn in_words(self) -> String {
        match self {
            Self::WHOLE => "reading it as it is".to_owned(),
            Self::WITHOUT_SNAPSHOTS => "reading the log without the snapshots".to_owned(),
            Self::Past => "reading the log past what is damaged".to_owned(),
            Self::Sled { cut, .. } => format!("reading the log without its last {} KiB", cut >> 10),
        }
    }
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
    // sled itself holds this lock while a store is open.
    let Ok(_lock) = lock_in_time(file) else {
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
    let (copy, fresh) = (workshop.path().join("copy"), workshop.path().join("fresh"));
    let best = best_try(folder, &copy, length, &mut say).map_err(in_folder)?;
    let Some(attempt) = best else {
        return Err(SalvageError::NothingReadable { path });
    };

    fs::create_dir(&fresh).map_err(in_folder)?;
    let write = |source| SalvageError::Write {
        path: path.clone(),
        source,
    };
    let mut salvaged = {
        let (db, to) = match open_files(&fresh) {
            Ok(opened) => opened.map_err(write)?,
            Err(_) => return Err(SalvageError::NothingReadable { path }),
        };
        let meta = match attempt {
            Try::Past => {
                let log = File::open(&log).map_err(in_folder)?;
                let carving = Carving::read(log).map_err(in_folder)?;
                carve_entries(&carving, &to).map_err(write)?
            }
            Try::Sled { .. } => {
                copy_store(folder, &copy, attempt).map_err(in_folder)?;
                let (_old, from) = match open_files(&copy) {
                    Ok(Ok(opened)) => opened,
                    Ok(Err(source)) => return Err(write(source)),
                    Err(_) => return Err(SalvageError::NothingReadable { path }),
                };
                copy_entries(&from, &to).map_err(write)?
            }
        };
        let loses_its_end = attempt != Try::WHOLE && attempt != Try::WITHOUT_SNAPSHOTS;
        let mut salvaged = mend(&to, &meta, label.map(|label| label.id), loses_its_end).map_err(write)?;
        salvaged.cut = attempt.cut();
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

/// The way that gives the most entries; none when nothing gives any. What sled reads from end to end is not improved upon.
fn best_try(folder: &Path, copy: &Path, length: u64, say: &mut impl FnMut(&str)) -> io::Result<Option<Try>> {
    let mut best: Option<(u64, Try)> = None;
    for attempt in [Try::WHOLE, Try::WITHOUT_SNAPSHOTS, Try::Past]
        .into_iter()
        .chain(cuts(length))
    {
        // Cuts are for a log of which nothing can be told by its messages.
        if attempt.cut() > 0 && best.is_some() {
            break;
        }
        say(&attempt.in_words());
        let (readable, whole) = match attempt {
            Try::Past => (carvable_entries(&folder.join("db"))?, false),
            Try::Sled { .. } => {
                copy_store(folder, copy, attempt)?;
                let found = readable_entries(copy);
                fs::remove_dir_all(copy)?;
                found
            }
        };
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
    Ok(best.map(|(_, attempt)| attempt))
}

fn cuts(length: u64) -> Vec<Try> {
    let without = |cut| Try::Sled {
        keep_snapshots: false,
        cut,
    };
    let mut tries = Vec::new();
    // A log that does not end with a segment was cut before: the rest of it is the first to go.
    let mut cut = length % SEGMENT;
    if cut > 0 {
        tries.push(without(cut));
    }
    // One by one as long as that is cheap, then in ever larger steps.
    let mut segments = 1;
    while cut + segments * SEGMENT < length {
        cut += segments * SEGMENT;
        tries.push(without(cut));
        if tries.len() > ONE_BY_ONE {
            segments *= 2;
        }
    }
    tries
}

fn copy_store(folder: &Path, copy: &Path, attempt: Try) -> io::Result<()> {
    fs::create_dir(copy)?;
    fs::create_dir(copy.join("blobs"))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_snapshot = name.to_string_lossy().starts_with("snap");
        if entry.file_type()?.is_file() && (attempt == Try::WHOLE || !is_snapshot) {
            fs::copy(entry.path(), copy.join(&name))?;
        }
    }
    let log = OpenOptions::new().write(true).open(copy.join("db"))?;
    let length = log.metadata()?.len();
    log.set_len(length.saturating_sub(attempt.cut()))
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

/// How many entries the log's messages give.
fn carvable_entries(log: &Path) -> io::Result<u64> {
    let mut readable = 0;
    let carving = Carving::read(File::open(log)?)?;
    carving.each(|key, _| {
        readable += u64::from(is_an_entry(&key));
        Ok::<_, io::Error>(())
    })?;
    Ok(readable)
}

/// Kinds of entries are named by capital letters; sled keeps nothing of its own beside them.
fn is_an_entry(key: &[u8]) -> bool {
    key.first().is_some_and(u8::is_ascii_uppercase)
}

/// What a store says of itself, by key.
type Meta = BTreeMap<Vec<u8>, Vec<u8>>;

/// Takes entries over but for what is worked out anew.
struct Taking<'a> {
    to: &'a Tree,
    batch: Batch,
    waiting: usize,
    meta: Meta,
}

impl<'a> Taking<'a> {
    fn new(to: &'a Tree) -> Self {
        Self {
            to,
            batch: Batch::default(),
            waiting: 0,
            meta: Meta::new(),
        }
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> sled::Result<()> {
        if key.first() == Some(&(Space::Meta as u8)) {
            self.meta.insert(key.to_vec(), value.to_vec());
        } else if key.first() != Some(&(Space::Unsettled as u8)) {
            self.batch.insert(key, value);
            self.waiting += 1;
        }
        if self.waiting == TOGETHER {
            self.to.apply_batch(std::mem::take(&mut self.batch))?;
            self.waiting = 0;
        }
        Ok(())
    }

    fn finish(self) -> sled::Result<Meta> {
        self.to.apply_batch(self.batch)?;
        Ok(self.meta)
    }
}

fn copy_entries(from: &Tree, to: &Tree) -> sled::Result<Meta> {
    let mut taking = Taking::new(to);
    let mut entries = from.iter();
    // What cannot be read ends the walk; a panic does the same.
    while let Ok(Some(Ok((key, value)))) = Panicked::catch(|| entries.next()) {
        taking.take(&key, &value)?;
    }
    taking.finish()
}

fn carve_entries(carving: &Carving, to: &Tree) -> sled::Result<Meta> {
    let mut taking = Taking::new(to);
    carving.each(|key, value| {
        if is_an_entry(&key) {
            taking.take(&key, &value)
        } else {
            Ok(())
        }
    })?;
    taking.finish()
}
