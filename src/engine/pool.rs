//! The way in for the hooks that a controller keeps itself: a source hands over the whole pool, or says why it cannot be read.
//!
//! What was handed over last is in force until the next time, and the store keeps it for the next life.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, mpsc, oneshot};

use super::handle::Stopping;
use crate::event::id::HookName;
use crate::event::opennebula::hook_pool::Pool;
use crate::event::time::Timestamp;
pub use crate::hooks::pool::UnusableHook;
use crate::hooks::pool::{Combined, PoolHooks, combine};
use crate::hooks::{Defaults, HookSet};
use crate::store::writer::Change;

/// What the store keeps of a pool stands beside the texts of hook files under names that begin so; no file of the hooks
/// folder is named like that.
const KEPT_BELOW: &str = "oned/";

/// Says that a pool may have changed. Any number of hints before the next look count as one. Cloning is cheap.
#[derive(Debug, Clone, Default)]
pub struct Hints {
    notify: Arc<Notify>,
}

impl Hints {
    /// The pool may have changed.
    pub fn give(&self) {
        self.notify.notify_one();
    }
}

/// A controller whose hooks are to run.
#[derive(Debug, Clone)]
pub struct Followed {
    /// Where it is asked, for people.
    pub endpoint: String,
    /// Where changes are hinted at.
    pub hints: Hints,
}

/// How it stands with the pool of a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolStatus {
    /// The source whose controller it is.
    pub source: String,
    /// Where it is asked.
    pub endpoint: String,
    /// Hooks of it that are in force.
    pub hooks: usize,
    /// Hooks of it that hooks of the folder stand for.
    pub shadowed: usize,
    /// Hooks of it that cannot be used.
    pub unusable: Vec<UnusableHook>,
    /// When it was last read in this life of the daemon. While it has not been, the hooks are those that were read last before.
    pub read: Option<Timestamp>,
    /// Since when it cannot be read and why, if that is how it stands.
    pub away: Option<(Timestamp, String)>,
    /// How often it was read since the daemon started.
    pub reads: u64,
    /// How often it could not be read since the daemon started.
    pub failures: u64,
}

/// A pool as it was read.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) pool: Pool,
    pub(super) reply: oneshot::Sender<()>,
}

/// The end at which a source hands the pool over.
#[derive(Debug)]
pub struct Inlet {
    readings: mpsc::Sender<Reading>,
    shared: SharedPool,
}

impl Inlet {
    /// Comes back when there was a hint since the last time.
    pub async fn hinted(&self) {
        self.shared.hints.notify.notified().await;
    }

    /// This is the controller's whole pool now. Comes back when its hooks are in force.
    ///
    /// # Errors
    /// When the engine is stopping.
    pub async fn hand_over(&self, pool: Pool) -> Result<(), Stopping> {
        let (reply, in_force) = oneshot::channel();
        self.readings
            .send(Reading { pool, reply })
            .await
            .map_err(|_| Stopping)?;
        in_force.await.map_err(|_| Stopping)
    }

    /// The pool cannot be read; what was read last stays in force.
    pub fn cannot_be_read(&self, why: &str) {
        self.shared.cannot_be_read(why);
    }
}

/// What the inlet, the reloader, the dispatcher and the matching thread share.
#[derive(Debug, Clone)]
pub(super) struct SharedPool {
    status: Arc<Mutex<PoolStatus>>,
    hints: Hints,
}

impl SharedPool {
    fn locked(&self) -> MutexGuard<'_, PoolStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> PoolStatus {
        self.locked().clone()
    }

    fn cannot_be_read(&self, why: &str) {
        let mut status = self.locked();
        let since = match &status.away {
            Some((since, _)) => *since,
            None => Timestamp::now(),
        };
        status.away = Some((since, why.to_owned()));
        status.failures += 1;
    }

    /// Has the pool read again: what became of it may have passed unseen.
    pub(super) fn hint(&self) {
        self.hints.give();
    }

    /// The same, if it is the pool of the controller behind `source`.
    pub(super) fn hint_of(&self, source: &str) {
        if self.locked().source == source {
            self.hint();
        }
    }
}

/// What the store keeps of pools, by the names it has there.
#[derive(Debug, Default)]
pub(super) struct KeptTexts(BTreeMap<String, String>);

impl KeptTexts {
    /// Takes what belongs to pools out of all texts that the store keeps.
    pub(super) fn taken_from<T>(texts: &mut BTreeMap<String, (String, T)>) -> Self {
        let of_pools = texts.extract_if(.., |name, _| name.starts_with(KEPT_BELOW));
        Self(of_pools.map(|(name, (text, _))| (name, text)).collect())
    }

    /// Takes out what the controller behind `source` declared when it was read last.
    fn take(&mut self, source: &str) -> BTreeMap<String, String> {
        let of_source = |name: &str| number_in(name, source).is_some();
        self.0.extract_if(.., |name, _| of_source(name)).collect()
    }

    /// Forgets the rest: those pools are not followed any more.
    pub(super) fn forgotten(self) -> Vec<Change> {
        self.0.into_keys().map(|name| kept(name, None)).collect()
    }
}

fn kept_as(source: &str, id: u64) -> String {
    format!("{KEPT_BELOW}{source}/{id}")
}

/// The controller's number in a name that [`kept_as`] gave for this source.
fn number_in(name: &str, source: &str) -> Option<u64> {
    let (of, id) = name.strip_prefix(KEPT_BELOW)?.rsplit_once('/')?;
    let id = id.parse().ok()?;
    (of == source).then_some(id)
}

fn kept(name: String, text: Option<String>) -> Change {
    Change::LastGood {
        file: name,
        text: text.map(|text| (text, None)),
    }
}

/// What is known of the hooks in force that the controller keeps, beside the hooks themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolInForce {
    /// All that can run, those included that hooks of the folder stand for.
    pub hooks: BTreeMap<HookName, Remarks>,
    /// Hooks of the folder that do what one of the pool does as well: the warnings.
    pub repeats: BTreeMap<HookName, Vec<String>>,
    /// The pool was read in this life of the daemon; until then its hooks are those of the last time.
    pub is_confirmed: bool,
}

/// What is known of a hook of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remarks {
    /// What is locked, as `oned` numbers it; none while it is not locked, or that is not known.
    pub lock: Option<u32>,
    /// How it was understood where that may surprise.
    pub notes: Vec<String>,
}

/// The pool as the reloader has it.
#[derive(Debug)]
pub(super) struct PoolDesk {
    source: String,
    /// Whether the site has further sources, so that a hook must say whose events it takes.
    names_source: bool,
    shared: SharedPool,
    hooks: PoolHooks,
    /// What the store keeps of it.
    kept: BTreeMap<String, String>,
    readings: mpsc::Receiver<Reading>,
}

impl PoolDesk {
    /// A desk for the pool of the controller behind `source`, with the hooks that it had when it was read last, and the inlet
    /// that feeds it.
    pub(super) fn new(
        source: &str,
        names_source: bool,
        followed: Followed,
        kept: &mut KeptTexts,
        defaults: &Defaults,
    ) -> (Self, Inlet) {
        let kept = kept.take(source);
        let texts = kept
            .iter()
            .filter_map(|(name, text)| Some((number_in(name, source)?, text.as_str())));
        let hooks = PoolHooks::restored(texts, defaults);
        for hook in &hooks.unusable {
            let (hook, why) = (hook.called(), &hook.why);
            tracing::warn!(source, hook, why, "a hook of oned's pool cannot be used");
        }
        let status = PoolStatus {
            source: source.to_owned(),
            endpoint: followed.endpoint,
            hooks: 0,
            shadowed: 0,
            unusable: hooks.unusable.clone(),
            read: None,
            away: None,
            reads: 0,
            failures: 0,
        };
        let shared = SharedPool {
            status: Arc::new(Mutex::new(status)),
            hints: followed.hints,
        };
        let (sender, readings) = mpsc::channel(1);
        let inlet = Inlet {
            readings: sender,
            shared: shared.clone(),
        };
        let desk = Self {
            source: source.to_owned(),
            names_source,
            shared,
            hooks,
            kept,
            readings,
        };
        (desk, inlet)
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) const fn shared(&self) -> &SharedPool {
        &self.shared
    }

    /// The next pool that a source hands over. None when none will be any more.
    pub(super) async fn reading(&mut self) -> Option<Reading> {
        self.readings.recv().await
    }

    /// Takes up a pool that was read; what to put into the store for that. Hooks that cannot be used are said once.
    pub(super) fn take_up(&mut self, pool: &Pool, defaults: &Defaults) -> Vec<Change> {
        let source = self.names_source.then_some(self.source.as_str());
        let read = catch_unwind(AssertUnwindSafe(|| {
            self.hooks.followed_by(pool, source, defaults)
        }));
        let Ok(hooks) = read else {
            // With the daemon, the folder's hooks would end as well, and again after each restart.
            tracing::error!(
                source = self.source,
                "hem failed to declare the hooks of oned's pool, a fault of hem"
            );
            self.shared
                .cannot_be_read("hem failed to declare them, a fault of hem; its log says more");
            return Vec::new();
        };
        self.hooks = hooks;
        let unusable = self.hooks.unusable.clone();
        let said = {
            let mut status = self.shared.locked();
            status.read = Some(Timestamp::now());
            status.away = None;
            status.reads += 1;
            std::mem::replace(&mut status.unusable, unusable)
        };
        for hook in self.hooks.unusable.iter().filter(|hook| !said.contains(hook)) {
            let (hook, why) = (hook.called(), &hook.why);
            tracing::warn!(
                source = self.source,
                hook,
                why,
                "a hook of oned's pool cannot be used"
            );
        }
        let hooks = self.hooks.hooks.iter();
        let texts = hooks.map(|pooled| (kept_as(&self.source, pooled.id), pooled.hook.text.to_string()));
        let former = std::mem::replace(&mut self.kept, texts.collect());
        let gone = former.keys().filter(|name| !self.kept.contains_key(*name));
        let gone = gone.map(|name| kept(name.clone(), None));
        let new = self
            .kept
            .iter()
            .filter(|(name, text)| former.get(*name) != Some(text));
        gone.chain(new.map(|(name, text)| kept(name.clone(), Some(text.clone()))))
            .collect()
    }

    /// The pool beside these hooks of the folder, with what there is to know of its hooks.
    pub(super) fn beside(&self, folder: &HookSet) -> (Combined, PoolInForce) {
        let combined = combine(folder, &self.hooks, &self.source);
        let mut status = self.shared.locked();
        status.shadowed = combined.shadowed.len();
        status.hooks = self.hooks.hooks.len() - status.shadowed;
        let mut known = PoolInForce {
            is_confirmed: status.read.is_some(),
            ..PoolInForce::default()
        };
        drop(status);
        for pooled in &self.hooks.hooks {
            let remarks = Remarks {
                lock: pooled.lock.as_ref().map(|lock| lock.level),
                notes: pooled.notes.clone(),
            };
            known.hooks.insert(pooled.hook.name.clone(), remarks);
        }
        for (hook, fault) in &combined.repeats {
            let warnings = known.repeats.entry(hook.clone()).or_default();
            warnings.push(fault.message.clone());
        }
        (combined, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::opennebula::hook_pool;

    fn defaults() -> Defaults {
        Defaults {
            scripts_dir: "/scripts".into(),
            onehem_scripts_dir: "/scripts".into(),
            remote_scripts_dir: "/var/tmp/one/hooks".into(),
            catch_up: false,
        }
    }

    fn pool(hooks: &[(u64, &str)]) -> Pool {
        let hooks: String = hooks
            .iter()
            .map(|(id, command)| {
                format!(
                    "<HOOK><ID>{id}</ID><NAME>h{id}</NAME><TYPE>api</TYPE><TEMPLATE><CALL>one.vm.action</CALL>\
                     <COMMAND>{command}</COMMAND></TEMPLATE></HOOK>"
                )
            })
            .collect();
        hook_pool::read(&format!("<HOOK_POOL>{hooks}</HOOK_POOL>")).expect("a pool")
    }

    fn desk(kept: &mut KeptTexts) -> (PoolDesk, Inlet) {
        let followed = Followed {
            endpoint: "http://localhost:2633/RPC2".to_owned(),
            hints: Hints::default(),
        };
        PoolDesk::new("one", false, followed, kept, &defaults())
    }

    /// What is put into the store, by name; without a text where something is taken out.
    fn written(changes: Vec<Change>) -> Vec<(String, Option<String>)> {
        let mut written: Vec<_> = changes
            .into_iter()
            .map(|change| match change {
                Change::LastGood { file, text } => (file, text.map(|(text, _)| text)),
                other => panic!("not of a pool: {other:?}"),
            })
            .collect();
        written.sort();
        written
    }

    #[test]
    fn only_what_changed_is_written_and_the_next_life_has_it() {
        let (mut one, _inlet) = desk(&mut KeptTexts::default());
        let first = written(one.take_up(&pool(&[(1, "a.sh"), (2, "b.sh")]), &defaults()));
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["oned/one/1", "oned/one/2"]);
        assert_eq!(
            written(one.take_up(&pool(&[(2, "b.sh"), (1, "a.sh")]), &defaults())),
            []
        );
        let second = written(one.take_up(&pool(&[(2, "c.sh")]), &defaults()));
        assert_eq!(second[0], ("oned/one/1".to_owned(), None));
        let (name, text) = &second[1];
        assert_eq!(name, "oned/one/2");
        assert!(
            text.as_deref().is_some_and(|text| text.contains("c.sh")),
            "{text:?}"
        );
        assert_eq!(second.len(), 2);

        let mut stored: BTreeMap<String, (String, ())> = first
            .into_iter()
            .filter_map(|(name, text)| Some((name, (text?, ()))))
            .collect();
        for other in ["dns.yaml", "oned/other/1", "oned/one/x"] {
            stored.insert(other.to_owned(), ("name: other\n".to_owned(), ()));
        }
        let mut kept = KeptTexts::taken_from(&mut stored);
        assert_eq!(stored.into_keys().collect::<Vec<_>>(), ["dns.yaml"]);
        let (next, _inlet) = desk(&mut kept);
        let (combined, known) = next.beside(&HookSet::default());
        let names: Vec<&str> = combined.set.iter().map(|hook| hook.name.as_str()).collect();
        assert_eq!(names, ["oned/h1", "oned/h2"]);
        assert!(!known.is_confirmed);
        assert_eq!(
            written(kept.forgotten()),
            [("oned/one/x".to_owned(), None), ("oned/other/1".to_owned(), None)]
        );
    }

    #[test]
    fn a_text_that_is_not_understood_is_said_and_written_anew() {
        let mut stored = BTreeMap::from([("oned/one/1".to_owned(), ("name: [\n".to_owned(), ()))]);
        let (mut desk, _inlet) = desk(&mut KeptTexts::taken_from(&mut stored));
        assert_eq!(desk.shared().status().unusable.len(), 1);
        let changes = written(desk.take_up(&pool(&[]), &defaults()));
        assert_eq!(changes, [("oned/one/1".to_owned(), None)]);
        assert!(desk.shared().status().unusable.is_empty());
    }

    #[test]
    fn the_status_says_since_when_it_cannot_be_read_and_forgets_that_with_the_next_read() {
        let (mut desk, inlet) = desk(&mut KeptTexts::default());
        inlet.cannot_be_read("refused");
        let (since, _) = desk.shared().status().away.expect("away");
        inlet.cannot_be_read("no answer");
        let status = desk.shared().status();
        assert_eq!(status.away, Some((since, "no answer".to_owned())));
        assert_eq!((status.reads, status.failures, status.read), (0, 2, None));
        desk.take_up(&pool(&[]), &defaults());
        let status = desk.shared().status();
        assert_eq!((status.reads, status.failures, status.away), (1, 2, None));
        assert!(status.read.is_some());
    }

    #[tokio::test]
    async fn hints_of_its_own_source_count_once_until_they_are_taken() {
        let (desk, inlet) = desk(&mut KeptTexts::default());
        desk.shared().hint_of("other");
        desk.shared().hint_of("one");
        desk.shared().hint_of("one");
        inlet.hinted().await;
        let again = tokio::time::timeout(std::time::Duration::ZERO, inlet.hinted()).await;
        assert!(again.is_err(), "one hint is left");
    }
}
