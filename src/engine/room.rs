//! Whether there is room for more: on the disk, and in the backlog.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

use arc_swap::ArcSwap;
use nix::sys::statvfs::statvfs;

use crate::config::Limits;

/// Looks at the disk and the backlog, and says what is lacking.
#[derive(Debug)]
pub(super) struct Room {
    folder: PathBuf,
    limits: ArcSwap<Limits>,
    /// Held during a look, which a disk that does not answer may draw out.
    looking: Mutex<()>,
    lacking: Mutex<Option<String>>,
}

impl Room {
    pub(super) fn new(folder: PathBuf, limits: Limits) -> Self {
        Self {
            folder,
            limits: ArcSwap::from_pointee(limits),
            looking: Mutex::default(),
            lacking: Mutex::default(),
        }
    }

    /// Looks by other limits from now on.
    pub(super) fn limit(&self, limits: Limits) {
        self.limits.store(Arc::new(limits));
    }

    /// Why nothing new is accepted at present; unset while it is.
    pub(super) fn lacking(&self) -> Option<String> {
        self.lacking
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Looks again, with that many executions waiting or running. May wait for the disk, unless another look does.
    pub(super) fn look(&self, backlog: usize) {
        let _looking = match self.looking.try_lock() {
            Ok(looking) => looking,
            Err(TryLockError::Poisoned(looking)) => looking.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        let limits = self.limits.load();
        let found = self.disk(&limits).or_else(|| {
            (backlog > limits.max_backlog)
                .then(|| format!("the backlog is full: {backlog} executions wait (`limits.max_backlog`)"))
        });
        let mut lacking = self.lacking.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*lacking, &found) {
            (None, Some(why)) => tracing::error!(why, "nothing new is accepted"),
            (Some(_), None) => tracing::warn!("there is room again; events are accepted"),
            _ => {}
        }
        *lacking = found;
    }

    fn disk(&self, limits: &Limits) -> Option<String> {
        let disk = statvfs(&self.folder).ok()?;
        let block = disk.fragment_size();
        let free = disk.blocks_available().saturating_mul(block);
        let reserve = limits.reserve_on(disk.blocks().saturating_mul(block));
        (free < reserve).then(|| {
            format!(
                "the disk is full: {} MiB are free below {}, {} MiB are kept in reserve (`limits.reserve`)",
                free >> 20,
                self.folder.display(),
                reserve >> 20
            )
        })
    }
}
