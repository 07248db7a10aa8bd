//! Writing into a store that no daemon has.

use std::io;
use std::time::Duration;

use super::writer::{Change, Writer, durable};
use super::{ReadError, Store};
use crate::config::Retention;
use crate::engine::bookmark::{Bookmark, BookmarkError};
use crate::engine::execution::Actor;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The store cannot be read.
    #[error("it cannot be read")]
    Read(#[source] ReadError),
    /// It cannot be kept.
    #[error(transparent)]
    Bookmark(#[from] BookmarkError),
    /// The write failed.
    #[error("it cannot be written to")]
    Write(#[source] io::Error),
}

/// Writes into the audit log that the store's secrets are shown.
///
/// # Errors
/// When the line could not be written.
pub async fn log_reveal(store: &Store, actor: Actor, target: &str) -> io::Result<()> {
    write(store, vec![Change::audit(actor, "reveal", target.to_owned())]).await
}

/// Keeps something for a source, by name, with a line in the audit log that says so.
///
/// # Errors
/// It cannot be kept.
pub async fn keep(
    store: &Store,
    source: &str,
    bookmarks: Vec<(String, Vec<u8>)>,
    actor: Actor,
    action: &'static str,
    target: String,
) -> Result<(), OfflineError> {
    let mut changes = Vec::new();
    for (name, value) in bookmarks {
        changes.push(Change::Bookmark {
            source: source.into(),
            bookmark: Bookmark::new(name, value)?,
        });
    }
    changes.push(Change::audit(actor, action, target));
    write(store, changes).await.map_err(OfflineError::Write)
}

async fn write(store: &Store, changes: Vec<Change>) -> io::Result<()> {
    let (writer, thread) = Writer::start(store.clone(), Retention::unlimited())?;
    let written = durable(&writer, changes).await;
    drop(writer);
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    written.map_err(io::Error::other)
}

impl Retention {
    /// Keeps everything.
    pub(super) fn unlimited() -> Self {
        const FOR_EVER: Duration = Duration::from_secs(1 << 40);
        Self {
            executions: u64::MAX,
            executions_per_hook: None,
            unmatched_events: u64::MAX,
            age: FOR_EVER,
            unmatched_age: FOR_EVER,
            output_age: FOR_EVER,
            bytes: u64::MAX,
            unmatched_bytes: u64::MAX,
            output_bytes: u64::MAX,
        }
    }
}
