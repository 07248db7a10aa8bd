//! What is read from files, and read again when they change.

use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;

use crate::file_stamp::FileStamp;
use crate::repeats::Repeats;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What could not be read may be there a moment later: it is tried again after this time, also where it does not change.
const AGAIN: Duration = LOOK_EVERY;

/// How the log speaks of files.
#[derive(Debug, Clone, Copy)]
pub struct Words {
    /// What they are: `a secret`.
    pub what: &'static str,
    /// What holds while they cannot be read: `the former one stays in force`.
    pub meanwhile: &'static str,
}

/// Files, and how they were when they were last read.
#[derive(Debug)]
pub struct Watch {
    files: Vec<PathBuf>,
    words: Words,
    seen: Vec<Option<FileStamp>>,
    /// When they could not be read, if that was so the last time.
    failed: Option<Instant>,
    log: Repeats,
}

impl Watch {
    /// Reads for the first time.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn begin<T, E>(
        files: Vec<PathBuf>,
        words: Words,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<(Self, T), E> {
        // Taken first: what is written meanwhile is seen the next time.
        let seen = stamps(&files);
        let value = read()?;
        let watch = Self {
            files,
            words,
            seen,
            failed: None,
            log: Repeats::default(),
        };
        Ok((watch, value))
    }

    /// Reads again if a file has changed, or could not be read a while ago, and tells the log how that went.
    pub fn again<T, E: Error + 'static>(
        &mut self,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        self.again_at(Instant::now(), read)
    }

    fn again_at<T, E: Error + 'static>(
        &mut self,
        now: Instant,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let stamps = stamps(&self.files);
        let is_due = |failed: Instant| now.saturating_duration_since(failed) >= AGAIN;
        if stamps == self.seen && !self.failed.is_some_and(is_due) {
            return None;
        }
        self.seen = stamps;
        let Words { what, meanwhile } = self.words;
        let read = read();
        self.failed = match &read {
            Ok(_) => {
                let files: Vec<_> = self.files.iter().map(|file| file.display()).collect();
                tracing::info!(?files, "{what} changed and was read again");
                None
            }
            Err(error) => {
                let error: &(dyn Error + 'static) = error;
                if let Some(repeats) = self.log.allows(&error.to_string(), now) {
                    tracing::warn!(error, repeats, "{what} changed and cannot be used; {meanwhile}");
                }
                Some(now)
            }
        };
        Some(read)
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Option<FileStamp>> {
    files.iter().map(|path| FileStamp::of(path).ok()).collect()
}

/// What was read from files. While they cannot be read, what was read before stays in force.
#[derive(Debug)]
pub struct Watched<T> {
    in_force: ArcSwap<T>,
    watch: Mutex<Watch>,
}

impl<T> Watched<T> {
    /// Reads for the first time.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(
        files: Vec<PathBuf>,
        words: Words,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        let (watch, value) = Watch::begin(files, words, read)?;
        Ok(Self {
            in_force: ArcSwap::from_pointee(value),
            watch: Mutex::new(watch),
        })
    }

    /// What is in force.
    pub fn get(&self) -> Arc<T> {
        self.in_force.load_full()
    }

    /// Reads again if a file has changed.
    pub fn look<E: Error + 'static>(&self, read: impl FnOnce() -> Result<T, E>) {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(value)) = watch.again(read) {
            self.in_force.store(Arc::new(value));
        }
    }
}

/// Looks at files every second, until `until`.
pub async fn keep_looking(until: &CancellationToken, look: impl Fn() + Sync) {
    while until
        .run_until_cancelled(tokio::time::sleep(LOOK_EVERY))
        .await
        .is_some()
    {
        look();
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const WORDS: Words = Words {
        what: "a file",
        meanwhile: "nothing holds",
    };

    #[test]
    fn what_cannot_be_read_is_tried_again_until_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "one").expect("a file");
        let read = || std::fs::read_to_string(&file);
        let (mut watch, first) = Watch::begin(vec![file.clone()], WORDS, read).expect("a file");
        assert_eq!(first, "one");
        let now = Instant::now();
        assert!(watch.again_at(now, read).is_none(), "it is as it was");

        std::fs::write(&file, "another").expect("a file");
        let no_handle = || Err(io::Error::other("too many open files"));
        assert!(matches!(
            watch.again_at::<String, _>(now, no_handle),
            Some(Err(_))
        ));
        assert!(watch.again_at(now, read).is_none(), "not at once");
        let second = watch
            .again_at(now + AGAIN, read)
            .expect("it is due")
            .expect("a file");
        assert_eq!(second, "another");
        assert!(watch.again_at(now + 2 * AGAIN, read).is_none());
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_once_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, "one").expect("a file");
        let read = || std::fs::read_to_string(&file);
        let watched = Watched::read(vec![file.clone()], WORDS, || {
            let text = read();
            std::fs::write(&file, "another").map(|()| text)?
        });
        let watched = watched.expect("a file");
        assert_eq!(*watched.get(), "one");
        watched.look(read);
        assert_eq!(*watched.get(), "another");
        std::fs::remove_file(&file).expect("it was there");
        watched.look(read);
        assert_eq!(*watched.get(), "another", "the former one stays");
    }
}
