//! Tells when to look at the hooks folder again.
//!
//! The kernel's notifications are a hint and nothing more: a hint leads to a look at names and contents, and only a
//! difference is reported. So an editor's rename, a burst of `git pull`, a swapped link and a lost notification all come
//! to the same.
//!
//! A change is reported once nothing more happened for [`QUIET`], and after [`PATIENCE`] at the latest: a single change
//! takes effect within half a second, and a burst of up to two seconds counts as one.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::check::hook_files;
use super::looks::{Looks, in_time};

/// Nothing more happens for this long: the change is whole.
pub const QUIET: Duration = Duration::from_millis(250);

/// The longest a change is held back while more follow.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// The folder is looked at this often without any hint: network file systems give none, and a full queue loses some.
pub const LOOK_ANYWAY: Duration = Duration::from_secs(10);

/// Watches a hooks folder until `shutdown`; each message says that it is to be loaded again.
///
/// The folder may be a link, may be swapped for another, and need not exist yet. A message that is not taken yet stands
/// for later ones too. Changes before this call are not reported: load the folder after it. A folder that does not answer is
/// waited for [`ANSWERS_WITHIN`](super::looks::ANSWERS_WITHIN), here as well; once it answers, that is a change.
pub async fn watch(
    folder: PathBuf,
    looks: Looks,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> mpsc::Receiver<()> {
    let (ticks, receiver) = mpsc::channel(1);
    let (hints, mut hinted) = mpsc::channel(1);
    let look = move |mut watches: Watches| {
        let folder = folder.clone();
        looks.start(move || {
            // Armed before the look: what changes during the look gives a new hint.
            watches.arm(&folder);
            let fingerprint = fingerprint(&folder);
            (watches, fingerprint)
        })
    };
    let mut looking = look(Watches::new(hints));
    let mut looked = in_time(&mut looking).await;
    let mut seen = match &looked {
        Some(Ok((_, fingerprint))) => Some(*fingerprint),
        _ => None,
    };
    tasks.spawn(async move {
        loop {
            let looked_at = match looked {
                Some(looked) => looked,
                None => {
                    tracing::error!("the hooks folder does not answer; the hooks in force stay");
                    let Some(late) = shutdown.run_until_cancelled(looking).await else {
                        return;
                    };
                    tracing::info!("the hooks folder answers again");
                    late
                }
            };
            let Ok((watches, found)) = looked_at else {
                tracing::error!("the hooks folder is no longer watched: the look at it failed");
                return;
            };
            if seen.replace(found) != Some(found)
                && let Err(mpsc::error::TrySendError::Closed(())) = ticks.try_send(())
            {
                return;
            }
            let look_anyway = Instant::now() + LOOK_ANYWAY;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = sleep_until(look_anyway) => {}
                Some(()) = hinted.recv() => {
                    if shutdown.run_until_cancelled(settle(&mut hinted)).await.is_none() {
                        return;
                    }
                }
            }
            looking = look(watches);
            looked = match shutdown.run_until_cancelled(in_time(&mut looking)).await {
                Some(looked) => looked,
                None => return,
            };
        }
    });
    receiver
}

/// Waits until no hint has come for [`QUIET`], but no longer than [`PATIENCE`].
async fn settle(hinted: &mut mpsc::Receiver<()>) {
    let patience = Instant::now() + PATIENCE;
    loop {
        let quiet = (Instant::now() + QUIET).min(patience);
        match timeout_at(quiet, hinted.recv()).await {
            Ok(Some(())) if Instant::now() < patience => {}
            _ => return,
        }
    }
}

/// The folders the kernel is asked to watch.
struct Watches {
    watcher: Option<RecommendedWatcher>,
    armed: BTreeSet<PathBuf>,
}

impl Watches {
    fn new(hints: mpsc::Sender<()>) -> Self {
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading is no change, and this room's own look would hint at itself for ever.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                // A hint that waits says all that another could.
                let _ = hints.try_send(());
            }
        });
        match watcher {
            Ok(watcher) => Self {
                watcher: Some(watcher),
                armed: BTreeSet::new(),
            },
            Err(error) => {
                tracing::warn!(%error, "no notifications of changed files; the hooks folder is looked at every {LOOK_ANYWAY:?}");
                Self {
                    watcher: None,
                    armed: BTreeSet::new(),
                }
            }
        }
    }

    /// Watches what the folder is now: itself, where it is a link from, and where linked files lie.
    fn arm(&mut self, folder: &Path) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted = places(folder);
        for gone in self.armed.difference(&wanted) {
            // A folder that does not exist any more is not watched any more either.
            let _ = watcher.unwatch(gone);
        }
        // All are asked for again: a folder made anew has the old name, and only the old one was watched.
        self.armed = wanted
            .into_iter()
            .filter(|place| watcher.watch(place, RecursiveMode::NonRecursive).is_ok())
            .collect();
    }
}

fn places(folder: &Path) -> BTreeSet<PathBuf> {
    let mut places = BTreeSet::new();
    // The link itself, if it is one, and every link on the way are changed in the folders they lie in.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let mut link = folder.clone();
    for _ in 0..16 {
        if let Some(existing) = link.ancestors().skip(1).find(|place| place.is_dir()) {
            places.insert(existing.to_owned());
        }
        match fs::read_link(&link) {
            Ok(target) => link = link.parent().unwrap_or(Path::new("/")).join(target),
            Err(_) => break,
        }
    }
    if let Ok(real) = fs::canonicalize(&folder) {
        places.insert(real);
    }
    for name in hook_files(&folder).unwrap_or_default() {
        let file = folder.join(name);
        if file.is_symlink()
            && let Some(place) = fs::canonicalize(&file)
                .ok()
                .and_then(|file| file.parent().map(Path::to_owned))
        {
            places.insert(place);
        }
    }
    places
}

/// Names, permissions and contents of the hook files; of a folder that cannot be read, that it cannot.
fn fingerprint(folder: &Path) -> u64 {
    use std::os::unix::fs::PermissionsExt;

    const ENOUGH: u64 = (1 << 20) + 1;
    let mut hash = DefaultHasher::new();
    let mode = |path: &Path| {
        fs::metadata(path)
            .map(|metadata| metadata.permissions().mode())
            .ok()
    };
    mode(folder).hash(&mut hash);
    for name in hook_files(folder).unwrap_or_default() {
        let path = folder.join(&name);
        let mut content = Vec::new();
        let read = fs::File::open(&path).and_then(|file| file.take(ENOUGH).read_to_end(&mut content));
        (name, mode(&path), read.ok(), content).hash(&mut hash);
    }
    hash.finish()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    struct Watched {
        ticks: mpsc::Receiver<()>,
        tasks: TaskTracker,
        shutdown: CancellationToken,
    }

    impl Watched {
        async fn new(folder: &Path) -> Self {
            let tasks = TaskTracker::new();
            let shutdown = CancellationToken::new();
            let looks = Looks::default();
            let ticks = watch(folder.to_owned(), looks, &tasks, shutdown.clone()).await;
            Self {
                ticks,
                tasks,
                shutdown,
            }
        }

        async fn ticks_in_time(&mut self, what: &str) {
            let limit = Duration::from_secs(5);
            assert_eq!(
                tokio::time::timeout(limit, self.ticks.recv()).await,
                Ok(Some(())),
                "{what}"
            );
        }

        async fn end(self) {
            self.shutdown.cancel();
            self.tasks.close();
            tokio::time::timeout(Duration::from_secs(5), self.tasks.wait())
                .await
                .expect("the watcher ends");
        }
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_seen() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("hooks.d");
        fs::create_dir(&folder).expect("a folder");
        let mut watched = Watched::new(&folder).await;

        fs::write(folder.join("a.yaml"), "a: 1").expect("written");
        watched.ticks_in_time("a new file").await;

        fs::write(folder.join(".a.yaml.swp"), "a: 2").expect("written");
        fs::write(folder.join("a.tmp"), "a: 2").expect("written");
        fs::rename(folder.join("a.tmp"), folder.join("a.yaml")).expect("renamed");
        watched.ticks_in_time("renamed over").await;

        fs::remove_file(folder.join("a.yaml")).expect("removed");
        watched.ticks_in_time("removed").await;

        fs::write(folder.join("a.yaml"), "a: 1").expect("written");
        watched.ticks_in_time("a file again").await;
        fs::remove_dir_all(&folder).expect("removed");
        watched.ticks_in_time("the folder is gone").await;
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("b.yaml"), "a: 1").expect("written");
        watched.ticks_in_time("the folder is made anew").await;
        fs::write(folder.join("b.yaml"), "a: 2").expect("written");
        watched.ticks_in_time("a file in the new folder").await;
        watched.end().await;
    }

    #[tokio::test]
    async fn a_burst_counts_as_one_and_what_changes_nothing_as_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut watched = Watched::new(folder.path()).await;
        for number in 0..200 {
            fs::write(folder.path().join(format!("{number}.yaml")), "a: 1").expect("written");
        }
        watched.ticks_in_time("a burst").await;

        fs::write(folder.path().join("1.yaml"), "a: 1").expect("written");
        fs::write(folder.path().join("notes.txt"), "a: 1").expect("written");
        let silence = tokio::time::timeout(QUIET * 4, watched.ticks.recv()).await;
        assert!(silence.is_err(), "nothing changed");
        watched.end().await;
    }

    #[tokio::test]
    async fn a_link_may_be_swapped_and_the_folder_come_later() {
        let root = tempfile::tempdir().expect("a folder");
        for release in ["one", "two"] {
            fs::create_dir(root.path().join(release)).expect("a folder");
            fs::write(root.path().join(release).join("a.yaml"), format!("a: {release}")).expect("written");
        }
        let folder = root.path().join("hooks.d");
        let mut watched = Watched::new(&folder).await;

        symlink("one", &folder).expect("a link");
        watched.ticks_in_time("the folder appears").await;

        symlink("two", root.path().join("next")).expect("a link");
        fs::rename(root.path().join("next"), &folder).expect("swapped");
        watched.ticks_in_time("the link is swapped").await;

        fs::write(root.path().join("two/a.yaml"), "a: three").expect("written");
        watched.ticks_in_time("a file behind the link changes").await;

        fs::remove_file(&folder).expect("removed");
        watched.ticks_in_time("the link is gone").await;
        watched.end().await;
    }

    #[tokio::test]
    async fn a_linked_file_is_watched_where_it_lies() {
        let root = tempfile::tempdir().expect("a folder");
        let (folder, elsewhere) = (root.path().join("hooks.d"), root.path().join("elsewhere"));
        fs::create_dir(&folder).expect("a folder");
        fs::create_dir(&elsewhere).expect("a folder");
        fs::write(elsewhere.join("a.yaml"), "a: 1").expect("written");
        symlink("../elsewhere/a.yaml", folder.join("a.yaml")).expect("a link");
        let mut watched = Watched::new(&folder).await;
        fs::write(elsewhere.join("a.yaml"), "a: 2").expect("written");
        watched.ticks_in_time("the file behind the link").await;
        watched.end().await;
    }
}
