//! Opening: one process at a time, a format this program understands, nothing replaced in silence.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::format::{self, FORMAT, Totals};
use super::remains::Opening;
use super::{Shared, Store, keys};
use crate::event::id::StoreId;
use crate::event::time::Timestamp;

/// Pages of the store that sled keeps in memory, in bytes.
const CACHE: u64 = 64 << 20;

/// How long a store that another process has is waited for: sled lets go of its files when its own threads have ended, a moment
/// after it was closed, which on a busy machine may be long.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// How long until it is asked for again.
const LOCK_AGAIN: Duration = Duration::from_millis(20);

/// Stands beside sled's own files and says what they are. sled takes a log that is gone or begins with other bytes for a
/// new one: without this an empty store would silently take the place of a damaged one.
pub(super) const LABEL: &str = "hem-store";

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("another hem already uses the store in {}; `hem status` asks it how it does", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// It was written by a newer program.
    #[error("the store in {} has format {found}; this hem reads up to {FORMAT} and leaves it untouched: use the hem that wrote it", path.display())]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// What is in the folder cannot be read as a store. Nothing was changed.
    #[error("the store in {} is damaged; `hem store salvage` keeps what is readable", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What was found.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The folder cannot be made, read or written.
    #[error("cannot use the folder {}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl OpenError {
    /// Whether it may pass without anybody seeing to the store itself.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::InUse { .. } | Self::Folder { .. })
    }
}

/// A panic of the database library over its files.
#[derive(Debug, thiserror::Error)]
#[error("its files do not fit together: {0}")]
pub(super) struct Panicked(String);

impl Panicked {
    /// Does what may panic. After a power cut, or in damaged files, sled finds what it did not expect and panics rather than
    /// to return an error.
    pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, Self> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied());
            Self(text.unwrap_or("no reason given").to_owned())
        })
    }
}

/// Locks a file for this process alone, and waits as long as a store that another process has is waited for.
///
/// # Errors
/// `EWOULDBLOCK` where somebody keeps it.
pub(super) fn lock_in_time(mut file: File) -> Result<Flock<File>, Errno> {
    let began = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((refused, Errno::EWOULDBLOCK)) if began.elapsed() < LOCK_PATIENCE => file = refused,
            Err((_, errno)) => return Err(errno),
        }
        std::thread::sleep(LOCK_AGAIN);
    }
}

/// The database and its one tree.
pub(super) type Files = (sled::Db, sled::Tree);

/// Opens sled's files in `folder`, with nothing said about what is in them.
pub(super) fn open_files(folder: &Path) -> Result<sled::Result<Files>, Panicked> {
    Panicked::catch(|| {
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE)
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            .open()?;
        let tree = db.open_tree(b"hem")?;
        Ok((db, tree))
    })
}

/// The store does not know its own id or counters.
#[derive(Debug, thiserror::Error)]
#[error("it has records, but not {0}")]
struct Missing(&'static str);

impl Store {
    /// Opens the store in `folder`; makes both when they are not there.
    ///
    /// # Errors
    /// See [`OpenError`]; a store that is damaged or newer is left as it is.
    pub fn open(folder: &Path) -> Result<Self, OpenError> {
        let path = folder.to_path_buf();
        let in_folder = |source| OpenError::Folder {
            path: path.clone(),
            source,
        };
        let damaged = |source| OpenError::Damaged {
            path: path.clone(),
            source,
        };
        // What the disk refuses says nothing about the store; an end where there should be more does.
        let failed = |error| match error {
            sled::Error::Io(error) if error.kind() != io::ErrorKind::UnexpectedEof => in_folder(error),
            error => damaged(error.into()),
        };
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(in_folder)?;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).map_err(in_folder)?;

        let is_labelled = || Label::read(folder).map(|label| label.is_some());
        let opening = match Opening::begin(folder, is_labelled) {
            Ok(opening) => opening,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(OpenError::InUse { path }),
            Err(error) => return Err(in_folder(error)),
        };
        let label = Label::read(folder).map_err(in_folder)?;
        if let Some(label) = &label {
            let Label { format, .. } = label.as_ref().map_err(|bad| damaged(bad.clone().into()))?;
            if *format > FORMAT {
                return Err(OpenError::Newer { path, found: *format });
            }
            if !folder.join("db").exists() {
                return Err(damaged(Missing("the file `db`").into()));
            }
        }

        let began = Instant::now();
        let mut opened = open_files(folder);
        while let Ok(Err(sled::Error::Io(error))) = &opened
            && is_lock(error)
            && began.elapsed() < LOCK_PATIENCE
        {
            std::thread::sleep(LOCK_AGAIN);
            opened = open_files(folder);
        }
        let (db, tree) = match opened {
            Ok(Ok(opened)) => opened,
            Ok(Err(sled::Error::Io(error))) if is_lock(&error) => return Err(OpenError::InUse { path }),
            Ok(Err(error)) => return Err(failed(error)),
            Err(panic) => return Err(damaged(panic.into())),
        };

        let read = |name: &str| tree.get(keys::meta(name)).map_err(&failed);
        let (id, totals) = match read("format")? {
            Some(bytes) => {
                let found = <[u8; 4]>::try_from(bytes.as_ref()).map_or(u32::MAX, u32::from_be_bytes);
                if found > FORMAT {
                    return Err(OpenError::Newer { path, found });
                }
                let id = read("id")?
                    .and_then(|bytes| std::str::from_utf8(&bytes).ok()?.parse().ok())
                    .ok_or_else(|| damaged(Missing("its id").into()))?;
                let totals = read("totals")?.ok_or_else(|| damaged(Missing("its counters").into()))?;
                (
                    id,
                    format::read_totals(&totals).map_err(|error| damaged(error.into()))?,
                )
            }
            None if tree.is_empty() && label.is_none() => {
                let id = StoreId::draw(&mut fastrand::Rng::new());
                let totals = Totals::default();
                let mut batch = sled::Batch::default();
                batch.insert(keys::meta("format"), &FORMAT.to_be_bytes());
                batch.insert(keys::meta("id"), id.as_str());
                batch.insert(keys::meta("totals"), format::write(&totals));
                tree.apply_batch(batch).map_err(&failed)?;
                (id, totals)
            }
            None => return Err(damaged(Missing("its format").into())),
        };
        tree.flush().map_err(&failed)?;
        sync_all_of(folder).map_err(in_folder)?;
        // A label says that a store was finished here, so it comes last.
        match label {
            Some(Ok(label)) if label.id != id => {
                return Err(damaged(Missing("the id it is labelled with").into()));
            }
            Some(_) => {}
            None => {
                let (format, id) = (FORMAT, id.clone());
                Label { format, id }.write(folder).map_err(in_folder)?;
                File::open(folder)
                    .and_then(|names| names.sync_all())
                    .map_err(in_folder)?;
            }
        }
        drop(opening);
        let log = File::open(folder.join("db")).map_err(in_folder)?;
        Ok(Self {
            shared: Arc::new(Shared {
                id,
                path,
                _db: db,
                tree,
                log,
                totals: Mutex::new(totals),
                held: Mutex::default(),
            }),
        })
    }
}

/// What [`LABEL`] says.
pub(super) struct Label {
    pub(super) format: u32,
    pub(super) id: StoreId,
}

/// The label does not say what it should.
#[derive(Debug, Clone, thiserror::Error)]
#[error("its file `{LABEL}` says `{0}`")]
pub(super) struct BadLabel(String);

impl Label {
    /// None when there is no store in the folder yet.
    pub(super) fn read(folder: &Path) -> io::Result<Option<Result<Self, BadLabel>>> {
        let text = match std::fs::read(folder.join(LABEL)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let label = text
            .trim_end()
            .strip_prefix("format ")
            .and_then(|rest| rest.split_once(" id "))
            .and_then(|(format, id)| {
                Some(Self {
                    format: format.parse().ok()?,
                    id: id.parse().ok()?,
                })
            });
        Ok(Some(label.ok_or(BadLabel(text))))
    }

    pub(super) fn write(&self, folder: &Path) -> io::Result<()> {
        let unfinished = folder.join(format!("{LABEL}.new"));
        let mut file = File::create(&unfinished)?;
        writeln!(file, "format {} id {}", self.format, self.id)?;
        file.sync_all()?;
        std::fs::rename(unfinished, folder.join(LABEL))
    }
}

pub(super) fn is_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

/// Makes what sled made durable as far as folders go: the names of its files, and the folder's own.
pub(super) fn sync_all_of(folder: &Path) -> io::Result<()> {
    for name in ["conf", "db", "blobs"] {
        match File::open(folder.join(name)) {
            Ok(file) => file.sync_all()?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

/// Moves a store that cannot be opened out of the way; returns where it is now, and when it was last written to.
///
/// # Errors
/// The folder cannot be read or renamed.
pub fn set_aside(folder: &Path) -> Result<(PathBuf, Timestamp), OpenError> {
    let in_folder = |source| OpenError::Folder {
        path: folder.to_path_buf(),
        source,
    };
    let written = last_written(folder).map_err(in_folder)?;
    let since_epoch = written.duration_since(UNIX_EPOCH).unwrap_or_default();
    let last_written = Timestamp::from_millis(0).plus(since_epoch);
    let aside = aside(folder);
    std::fs::rename(folder, &aside).map_err(in_folder)?;
    Ok((aside, last_written))
}

/// When the log of a store was last written to; where it is gone, the newest of what is left in its folder, which is older.
fn last_written(folder: &Path) -> io::Result<SystemTime> {
    match std::fs::metadata(folder.join("db")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        log => return log?.modified(),
    }
    let mut newest = UNIX_EPOCH;
    for left in std::fs::read_dir(folder)? {
        let left = left?.metadata()?;
        if left.is_file() {
            newest = newest.max(left.modified()?);
        }
    }
    Ok(newest)
}

/// Where a damaged store goes to: beside where it was.
pub(super) fn aside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!("{name}.damaged-{}", Timestamp::now().as_millis()))
}
