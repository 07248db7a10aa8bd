//! Brings changes of the hooks folder and of the controller's pool into force, both as one set, and those changes of the
//! configuration that a running daemon can take up.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::dispatcher::Message;
use super::execution::Actor;
use super::handle::{ReloadReport, StaleFile};
use super::hooks_in_force::{HooksInForce, NextHooks};
use super::pool::{KeptTexts, PoolDesk, Reading};
use super::room::Room;
use crate::config::{Changes, Config, Reread};
use crate::event::id::HookName;
use crate::event::opennebula::hook_pool::Pool;
use crate::event::time::Timestamp;
use crate::hooks::check::CheckOptions;
use crate::hooks::fault::Fault;
use crate::hooks::folder::{LastGood, LastGoodFile, LoadOptions, Loaded, load, unanswered};
use crate::hooks::looks::in_time;
use crate::hooks::{HookSet, Version};
use crate::store::writer::{Change, Writer};
use crate::store::{ReadError, Store};

/// `hem reload`.
#[derive(Debug)]
pub(super) struct ReloadRequest {
    pub(super) accept: bool,
    pub(super) actor: Actor,
    pub(super) reply: oneshot::Sender<ReloadReport>,
}

/// Where the configuration is read again, and who works by it.
pub(super) struct Settings {
    pub(super) reread: Arc<dyn Reread>,
    pub(super) in_force: Arc<ArcSwap<Config>>,
    pub(super) room: Arc<Room>,
    pub(super) writer: Writer,
}

/// Knows the folder and the pool, and what of them is in force.
pub(super) struct Reloader {
    /// Without it the configuration stays as it was at the start.
    pub(super) settings: Option<Settings>,
    /// The controller's hooks, where they are to run.
    pub(super) pool: Option<PoolDesk>,
    /// What the store is to forget of pools that are not followed any more.
    pub(super) forgotten: Vec<Change>,
    folder: PathBuf,
    check: CheckOptions,
    strict: bool,
    last_good: LastGood,
    /// The folder's hooks in force, without the pool's.
    of_folder: HookSet,
    /// The folder's faults that were reported last: what is not new is not said again.
    faults: Vec<Fault>,
    /// The same of hooks of the folder that repeat one of the pool.
    repeats: Vec<Fault>,
    hooks: Arc<HooksInForce>,
    dispatcher: mpsc::Sender<Message>,
    /// A reading to which the folder did not answer in time.
    late: Option<JoinHandle<Loaded>>,
}

impl Reloader {
    /// A reloader that takes up the last good texts of a former life, with what that life kept of pools.
    pub(super) fn new(
        folder: PathBuf,
        check: CheckOptions,
        strict: bool,
        store: &Store,
        hooks: Arc<HooksInForce>,
        dispatcher: mpsc::Sender<Message>,
    ) -> Result<(Self, KeptTexts), ReadError> {
        let mut texts = store.last_good()?;
        let of_pools = KeptTexts::taken_from(&mut texts);
        let files = texts
            .into_iter()
            .map(|(file, (text, since_stale))| {
                let sha256 = Sha256::digest(text.as_bytes()).into();
                (
                    PathBuf::from(file),
                    LastGoodFile {
                        text,
                        sha256,
                        since_stale,
                    },
                )
            })
            .collect();
        let reloader = Self {
            settings: None,
            pool: None,
            forgotten: Vec::new(),
            folder,
            check,
            strict,
            last_good: LastGood { files },
            of_folder: HookSet::default(),
            faults: Vec::new(),
            repeats: Vec::new(),
            hooks,
            dispatcher,
            late: None,
        };
        Ok((reloader, of_pools))
    }

    /// Reads the folder at each hint and each request, and takes up each pool that is handed over, until `stop` is cancelled:
    /// then it goes on with nothing, for neither the folder nor the configuration need ever answer.
    pub(super) async fn run(
        self,
        hints: mpsc::Receiver<()>,
        requests: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        stop.run_until_cancelled(self.work(hints, requests)).await;
    }

    async fn work(mut self, mut hints: mpsc::Receiver<()>, mut requests: mpsc::Receiver<ReloadRequest>) {
        loop {
            tokio::select! {
                Some(()) = hints.recv() => {
                    self.reload(false, Actor::Daemon, None).await;
                }
                request = requests.recv() => {
                    let Some(ReloadRequest { accept, actor, reply }) = request else { return };
                    if let Some(pool) = &self.pool {
                        pool.shared().hint();
                    }
                    let settings = self.reread().await;
                    if let Some(report) = self.reload(accept, actor, Some(settings)).await {
                        // Whoever asked may have gone away.
                        let _ = reply.send(report);
                    }
                }
                () = answered(&mut self.late) => {
                    self.reload(false, Actor::Daemon, None).await;
                }
                Some(Reading { pool, reply }) = reading(&mut self.pool) => {
                    if self.take_up(&pool).await.is_some() {
                        // Whoever read it may have been stopped.
                        let _ = reply.send(());
                    }
                }
            }
        }
    }

    /// Reads the configuration now. One with a fault changes nothing; the fault is told.
    async fn reread(&self) -> Result<Changes, String> {
        let Some(settings) = &self.settings else {
            return Ok(Changes::default());
        };
        let reread = Arc::clone(&settings.reread);
        let config = match tokio::task::spawn_blocking(move || reread.reread()).await {
            Ok(Ok(config)) => config,
            Ok(Err(error)) => {
                let cause = error.source().map(|cause| format!(": {cause}"));
                let fault = format!("{error}{}", cause.unwrap_or_default());
                tracing::error!("{fault}");
                tracing::error!("the configuration is refused; the former one stays in force");
                return Err(fault);
            }
            Err(panic) => {
                tracing::error!(%panic, "reading the configuration failed; the former one stays in force");
                return Err("reading the configuration failed, a fault of hem; its log says more".to_owned());
            }
        };
        let former = settings.in_force.load_full();
        let changes = former.changes_to(&config);
        if !changes.at_once.is_empty() {
            let now = Arc::new(former.taking_up(&config));
            settings.room.limit(now.limits.clone());
            settings.writer.retain(now.retention.clone());
            settings.in_force.store(Arc::clone(&now));
            let message = Message::Settings {
                concurrency: now.concurrency,
                blocked_after: now.blocked_after,
            };
            // The dispatcher is gone only when the engine is.
            let _ = self.dispatcher.send(message).await;
            settings.reread.is_in_force(&now);
            tracing::info!(settings = changes.at_once.join(" "), "settings in force");
        }
        if !changes.at_start.is_empty() {
            let settings = changes.at_start.join(" ");
            tracing::warn!(settings, "settings that changed wait for the next start");
        }
        Ok(changes)
    }

    /// Reads the folder now. `settings` is what became of the configuration, where that was read as well. None when the engine
    /// has stopped.
    pub(super) async fn reload(
        &mut self,
        accept: bool,
        actor: Actor,
        settings: Option<Result<Changes, String>>,
    ) -> Option<ReloadReport> {
        let options = LoadOptions {
            check: self.check.clone(),
            strict: self.strict,
            accept,
            now: Timestamp::now(),
        };
        let (loaded, stale) = match self.read(&options).await {
            Ok(Some(loaded)) => {
                let stale = stale_files(&loaded);
                (loaded, stale)
            }
            Ok(None) => (
                unanswered(&self.folder, &self.last_good, &options),
                self.hooks.stale(),
            ),
            Err(panic) => {
                tracing::error!(%panic, "reading the hooks folder failed; the hooks in force stay");
                return None;
            }
        };
        let former = self.hooks.now();
        let (next, repeats) = self.with_pool(&loaded.set);
        let mut report = ReloadReport {
            faults: loaded.faults.clone(),
            kept: loaded.kept.clone(),
            ..compare(&former.set, &next.set)
        };
        match settings {
            Some(Ok(changes)) => report.settings = changes,
            Some(Err(fault)) => report.configuration = Some(fault),
            None => {}
        }
        let by_operator = !matches!(actor, Actor::Daemon);
        let unchanged = !report.changes_hooks()
            && report.settings.at_once.is_empty()
            && self.forgotten.is_empty()
            && stale == self.hooks.stale()
            && loaded.last_good == self.last_good
            && next.pool == *former.pool;
        let says_nothing_new = report.faults == self.faults && repeats == self.repeats;
        self.faults.clone_from(&report.faults);
        self.repeats.clone_from(&repeats);
        report.faults.extend(repeats);
        if unchanged && !by_operator {
            if !says_nothing_new {
                log(&report, next.set.len());
            }
            return Some(report);
        }
        log(&report, next.set.len());
        let mut changes = kept_texts(&self.last_good, &loaded.last_good);
        changes.append(&mut self.forgotten);
        let mut target = sums(&report);
        if accept {
            target.push_str(" accepted");
        }
        for setting in &report.settings.at_once {
            target.push_str(&format!(" {setting}"));
        }
        changes.push(Change::audit(actor, "reload", target));
        self.last_good = loaded.last_good;
        self.of_folder = loaded.set;
        self.hooks.set_stale(stale);
        self.put_into_force(next, changes).await?;
        Some(report)
    }

    /// Reads the folder; none where it does not answer, and then no second thread is left waiting for it.
    async fn read(&mut self, options: &LoadOptions) -> Result<Option<Loaded>, JoinError> {
        let looks = self.hooks.looks();
        if looks.silent_since().is_some() {
            return Ok(None);
        }
        let (folder, last_good, options) = (self.folder.clone(), self.last_good.clone(), options.clone());
        let mut reading = looks.start(move || load(&folder, &last_good, &options));
        match in_time(&mut reading).await {
            Some(loaded) => loaded.map(Some),
            None => {
                self.late = Some(reading);
                Ok(None)
            }
        }
    }

    /// Takes up the controller's pool as it was read. None when the engine has stopped.
    async fn take_up(&mut self, pool: &Pool) -> Option<()> {
        let desk = self.pool.as_mut()?;
        let mut changes = desk.take_up(pool, &self.check.defaults);
        let source = desk.source().to_owned();
        let former = self.hooks.now();
        let (next, repeats) = self.with_pool(&self.of_folder);
        let report = compare(&former.set, &next.set);
        for fault in repeats.iter().filter(|fault| !self.repeats.contains(fault)) {
            tracing::warn!("{fault}");
        }
        self.repeats = repeats;
        if !report.changes_hooks() && changes.is_empty() && next.pool == *former.pool {
            return Some(());
        }
        if report.changes_hooks() {
            tracing::info!(
                source,
                hooks = next.set.len(),
                added = names(&report.added),
                changed = names(&report.changed),
                removed = names(&report.removed),
                "hooks of oned's pool in force"
            );
            changes.push(Change::audit(
                Actor::Daemon,
                "pool",
                format!("{source} {}", sums(&report)),
            ));
        }
        self.put_into_force(next, changes).await
    }

    /// What is to be in force with these hooks of the folder, and the warnings about hooks that repeat one of the pool.
    fn with_pool(&self, folder: &HookSet) -> (NextHooks, Vec<Fault>) {
        let Some(desk) = &self.pool else {
            let next = NextHooks {
                set: Arc::new(folder.clone()),
                ..NextHooks::default()
            };
            return (next, Vec::new());
        };
        let (combined, pool) = desk.beside(folder);
        let next = NextHooks {
            set: Arc::new(combined.set),
            shadowed: combined.shadowed,
            pool,
        };
        (
            next,
            combined.repeats.into_iter().map(|(_, fault)| fault).collect(),
        )
    }

    async fn put_into_force(&self, next: NextHooks, mut changes: Vec<Change>) -> Option<()> {
        changes.push(Change::Keep(
            next.set
                .iter()
                .filter_map(|hook| Some((hook.name.clone(), hook.policy.keep?)))
                .collect(),
        ));
        let withdrawn = self.hooks.replace_hooks(next);
        let (reply, done) = oneshot::channel();
        self.dispatcher
            .send(Message::HooksChanged {
                withdrawn,
                changes,
                reply,
            })
            .await
            .ok()?;
        done.await.ok()
    }
}

/// Comes back when the folder has answered that did not in time; never, where none is waited for.
async fn answered(late: &mut Option<JoinHandle<Loaded>>) {
    match late {
        Some(reading) => {
            // What it found may be old by now: the folder is read anew.
            let _ = reading.await;
            *late = None;
        }
        None => std::future::pending().await,
    }
}

/// The next pool that is handed over; never, where none is followed.
async fn reading(desk: &mut Option<PoolDesk>) -> Option<Reading> {
    match desk {
        Some(desk) => desk.reading().await,
        None => std::future::pending().await,
    }
}

fn names(names: &[HookName]) -> String {
    names.iter().map(HookName::as_str).collect::<Vec<_>>().join(" ")
}

fn sums(report: &ReloadReport) -> String {
    format!(
        "+{} ~{} -{}",
        report.added.len(),
        report.changed.len(),
        report.removed.len()
    )
}

fn log(report: &ReloadReport, hooks: usize) {
    for fault in &report.faults {
        if fault.is_error() {
            tracing::error!("{fault}");
        } else {
            tracing::warn!("{fault}");
        }
    }
    if let Some(kept) = &report.kept {
        tracing::error!(kept, "the former hooks stay in force");
    }
    tracing::info!(
        hooks,
        added = names(&report.added),
        changed = names(&report.changed),
        removed = names(&report.removed),
        "hooks in force"
    );
}

fn compare(former: &HookSet, now: &HookSet) -> ReloadReport {
    let versions = |set: &HookSet| -> BTreeMap<HookName, Version> {
        set.iter().map(|hook| (hook.name.clone(), hook.version)).collect()
    };
    let (before, after) = (versions(former), versions(now));
    let mut report = ReloadReport::default();
    for (name, version) in &after {
        match before.get(name) {
            None => report.added.push(name.clone()),
            Some(former) if former != version => report.changed.push(name.clone()),
            Some(_) => {}
        }
    }
    report
        .removed
        .extend(before.into_keys().filter(|name| !after.contains_key(name)));
    report
}

fn stale_files(loaded: &Loaded) -> Vec<StaleFile> {
    loaded
        .stale
        .iter()
        .map(|stale| StaleFile {
            file: stale.file.clone(),
            since: stale.since,
            fault: stale.fault.to_string(),
        })
        .collect()
}

/// What the store is to keep anew of the texts.
fn kept_texts(former: &LastGood, now: &LastGood) -> Vec<Change> {
    let name = |file: &PathBuf| file.display().to_string();
    let changed = now
        .files
        .iter()
        .filter(|(file, kept)| former.files.get(*file) != Some(kept))
        .map(|(file, kept)| Change::LastGood {
            file: name(file),
            text: Some((kept.text.clone(), kept.since_stale)),
        });
    let gone = former
        .files
        .keys()
        .filter(|file| !now.files.contains_key(*file))
        .map(|file| Change::LastGood {
            file: name(file),
            text: None,
        });
    changed.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;
    use std::sync::mpsc as blocking;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::config::{ConfigError, Permissions};
    use crate::hooks::Defaults;

    /// A configuration on a file system that does not answer before the test is over.
    #[derive(Debug)]
    struct Silent {
        asked: mpsc::Sender<()>,
        over: Mutex<blocking::Receiver<()>>,
    }

    impl Reread for Silent {
        fn reread(&self) -> Result<Config, ConfigError> {
            self.asked.blocking_send(()).expect("the test waits for it");
            // It answers when the other end is dropped.
            let _ = self.over.lock().expect("nobody panicked").recv();
            Ok(Config::defaults(Path::new("/")))
        }

        fn is_in_force(&self, _config: &Config) {}
    }

    #[tokio::test]
    async fn what_does_not_answer_does_not_keep_it_from_stopping() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::defaults(Path::new("/"));
        let store = Store::open(folder.path()).expect("a store");
        let (writer, _thread) = Writer::start(store.clone(), config.retention.clone()).expect("a thread");
        let check = CheckOptions {
            defaults: Defaults {
                scripts_dir: "/scripts".into(),
                onehem_scripts_dir: "/scripts".into(),
                remote_scripts_dir: "/scripts".into(),
                catch_up: false,
            },
            permissions: Permissions::Lax,
        };
        let hooks = Arc::new(HooksInForce::new(BTreeMap::new()));
        let (dispatcher, _inbox) = mpsc::channel(1);
        let hooks_dir = folder.path().join("hooks.d");
        let (mut reloader, _) =
            Reloader::new(hooks_dir, check, false, &store, hooks, dispatcher).expect("a reloader");
        let (asked, mut is_asked) = mpsc::channel(1);
        let (_goes_on, over) = blocking::channel::<()>();
        reloader.settings = Some(Settings {
            reread: Arc::new(Silent {
                asked,
                over: Mutex::new(over),
            }),
            room: Arc::new(Room::new(folder.path().to_owned(), config.limits.clone())),
            in_force: Arc::new(ArcSwap::from_pointee(config)),
            writer,
        });

        let ((requests, to_come), (_hints, hinted)) = (mpsc::channel(1), mpsc::channel(1));
        let (reply, _report) = oneshot::channel();
        let request = ReloadRequest {
            accept: false,
            actor: Actor::Daemon,
            reply,
        };
        requests.send(request).await.expect("somebody takes it");
        let stop = CancellationToken::new();
        let stops = async {
            is_asked.recv().await.expect("it is read");
            stop.cancel();
        };
        let both = async { tokio::join!(reloader.run(hinted, to_come, stop.clone()), stops) };
        timeout(Duration::from_secs(60), both).await.expect("it ends");
    }
}
