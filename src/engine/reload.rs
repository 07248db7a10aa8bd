//! Brings changes of the hooks folder into force, the whole folder at once, and those changes of the configuration that a
//! running daemon can take up.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::dispatcher::Message;
use super::execution::Actor;
use super::handle::{ReloadReport, StaleFile};
use super::hooks_in_force::HooksInForce;
use super::room::Room;
use crate::config::{Changes, Config, Reread};
use crate::event::id::HookName;
use crate::event::time::Timestamp;
use crate::hooks::check::CheckOptions;
use crate::hooks::fault::Fault;
use crate::hooks::folder::{LastGood, LastGoodFile, LoadOptions, Loaded, load};
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

/// Knows the folder and what of it is in force.
pub(super) struct Reloader {
    /// Without it the configuration stays as it was at the start.
    pub(super) settings: Option<Settings>,
    folder: PathBuf,
    check: CheckOptions,
    strict: bool,
    last_good: LastGood,
    /// The faults that were reported last: what is not new is not said again.
    faults: Vec<Fault>,
    hooks: Arc<HooksInForce>,
    dispatcher: mpsc::Sender<Message>,
}

impl Reloader {
    /// A reloader that takes up the last good texts of a former life.
    pub(super) fn new(
        folder: PathBuf,
        check: CheckOptions,
        strict: bool,
        store: &Store,
        hooks: Arc<HooksInForce>,
        dispatcher: mpsc::Sender<Message>,
    ) -> Result<Self, ReadError> {
        let files = store
            .last_good()?
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
        Ok(Self {
            settings: None,
            folder,
            check,
            strict,
            last_good: LastGood { files },
            faults: Vec::new(),
            hooks,
            dispatcher,
        })
    }

    /// Reads the folder at each hint and each request, until `stop` is cancelled.
    pub(super) async fn run(
        mut self,
        mut hints: mpsc::Receiver<()>,
        mut requests: mpsc::Receiver<ReloadRequest>,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = hints.recv() => {
                    self.reload(false, Actor::Daemon, None).await;
                }
                request = requests.recv() => {
                    let Some(ReloadRequest { accept, actor, reply }) = request else { return };
                    let settings = self.reread().await;
                    if let Some(report) = self.reload(accept, actor, Some(settings)).await {
                        // Whoever asked may have gone away.
                        let _ = reply.send(report);
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
        let (folder, last_good) = (self.folder.clone(), self.last_good.clone());
        let loaded = tokio::task::spawn_blocking(move || load(&folder, &last_good, &options)).await;
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(panic) => {
                tracing::error!(%panic, "reading the hooks folder failed; the hooks in force stay");
                return None;
            }
        };
        let former = self.hooks.now();
        let mut report = compare(&former.set, &loaded);
        match settings {
            Some(Ok(changes)) => report.settings = changes,
            Some(Err(fault)) => report.configuration = Some(fault),
            None => {}
        }
        let stale = stale_files(&loaded);
        let by_operator = !matches!(actor, Actor::Daemon);
        let unchanged = report.added.is_empty()
            && report.changed.is_empty()
            && report.removed.is_empty()
            && report.settings.at_once.is_empty()
            && stale == self.hooks.stale()
            && loaded.last_good == self.last_good;
        if unchanged && !by_operator && report.faults == self.faults {
            return Some(report);
        }
        log(&report, loaded.set.len());
        self.faults.clone_from(&report.faults);
        if unchanged && !by_operator {
            return Some(report);
        }
        let mut changes = kept_texts(&self.last_good, &loaded.last_good);
        if by_operator || !unchanged {
            let mut target = format!(
                "+{} ~{} -{}{}",
                report.added.len(),
                report.changed.len(),
                report.removed.len(),
                if accept { " accepted" } else { "" }
            );
            for setting in &report.settings.at_once {
                target.push_str(&format!(" {setting}"));
            }
            changes.push(Change::Audit {
                at: Timestamp::now(),
                actor,
                action: "reload",
                target,
            });
        }
        changes.push(Change::Keep(
            loaded
                .set
                .iter()
                .filter_map(|hook| Some((hook.name.clone(), hook.policy.keep?)))
                .collect(),
        ));
        self.last_good = loaded.last_good;
        self.hooks.set_stale(stale);
        let withdrawn = self.hooks.replace_set(Arc::new(loaded.set));
        let (reply, done) = oneshot::channel();
        self.dispatcher
            .send(Message::HooksChanged {
                withdrawn,
                changes,
                reply,
            })
            .await
            .ok()?;
        done.await.ok()?;
        Some(report)
    }
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
    let names = |names: &[HookName]| names.iter().map(HookName::as_str).collect::<Vec<_>>().join(" ");
    tracing::info!(
        hooks,
        added = names(&report.added),
        changed = names(&report.changed),
        removed = names(&report.removed),
        "hooks in force"
    );
}

fn compare(former: &HookSet, loaded: &Loaded) -> ReloadReport {
    let versions = |set: &HookSet| -> BTreeMap<HookName, Version> {
        set.iter().map(|hook| (hook.name.clone(), hook.version)).collect()
    };
    let (before, after) = (versions(former), versions(&loaded.set));
    let mut report = ReloadReport {
        faults: loaded.faults.clone(),
        kept: loaded.kept.clone(),
        ..ReloadReport::default()
    };
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
