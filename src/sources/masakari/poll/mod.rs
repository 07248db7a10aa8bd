//! An existing Masakari that is read: each of its notifications is an event, and so is each change of a notification's status that is
//! seen.

mod api;
mod ledger;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::api::{Api, ApiError, Pages, Told};
use self::ledger::{Cursor, Judgement, Ledger, Step, UNFINISHED};
use crate::config::MasakariPoll;
use crate::config::masakari::poll::PollStart;
use crate::engine::bookmark::BookmarkError;
use crate::engine::intake::{Intake, Limits, NotAccepted};
use crate::event::masakari::{MasakariNotification, Observed, texts};
use crate::event::time::Timestamp;
use crate::repeats::Repeats;
use crate::sources::{BuildError, Built, Site, Source, Wires, sentence};

/// One event is on its way at a time.
const QUEUE: Limits = Limits {
    events: 16,
    bytes: 16 << 20,
};

/// A host that is not listed is looked for again no sooner than this.
const HOSTS_AGAIN: Duration = Duration::from_secs(60);

/// Notifications that are asked for one by one in one round.
const ONE_BY_ONE: usize = 100;

impl Source for MasakariPoll {
    fn kind(&self) -> &'static str {
        "masakari"
    }

    fn queue(&self) -> Limits {
        QUEUE
    }

    fn build(&self, site: &Site<'_>) -> Result<Built, BuildError> {
        let api = Api::build(self, site.redaction)?;
        let (rules, names_source) = (self.clone(), site.names_source);
        Ok(Built {
            endpoint: self.endpoint.to_string(),
            decoder: None,
            pool: None,
            start: Box::new(move |wires| start(rules, api, names_source, wires)),
        })
    }
}

fn start(rules: MasakariPoll, api: Api, names_source: bool, wires: Wires) {
    let Wires {
        name,
        intake,
        records,
        readers,
        ..
    } = wires;
    readers.spawn(|until| async move {
        let bookmarks = match records.bookmarks(&name).await {
            Ok(bookmarks) => bookmarks,
            Err(error) => {
                tracing::error!(
                    source = name,
                    error = &error as &dyn std::error::Error,
                    "how far the Masakari was read is not to be had; it is not read"
                );
                intake.disconnected("how far it was read cannot be found in the store");
                return;
            }
        };
        let mut reader = Reader {
            name: name.as_str().into(),
            names_source,
            start: rules.start,
            api,
            intake,
            ledger: Ledger::of(&bookmarks),
            hosts: HashMap::new(),
            unlisted: HashMap::new(),
            is_up: false,
            log: Repeats::default(),
        };
        // Wherever it is given up: what is accepted has moved its bookmark, and nothing else has.
        until
            .run_until_cancelled(async {
                loop {
                    reader.round().await;
                    tokio::time::sleep(rules.every).await;
                }
            })
            .await;
        reader.intake.disconnected("hem stops");
    });
}

/// Why a round of reading ended early.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    NotNow(#[from] NotAccepted),
    #[error("the Masakari tells of a notification what cannot be kept")]
    Bookmark(#[from] BookmarkError),
}

/// Reads one Masakari.
struct Reader {
    name: Arc<str>,
    names_source: bool,
    start: PollStart,
    api: Api,
    intake: Intake,
    ledger: Ledger,
    hosts: HashMap<String, String>,
    /// Hosts that were not among them, and when they were looked for.
    unlisted: HashMap<String, Instant>,
    is_up: bool,
    log: Repeats,
}

impl Reader {
    /// Asks once for everything, and tells how that went.
    async fn round(&mut self) {
        self.api.look_at_secrets();
        match self.read().await {
            Ok(()) => {}
            Err(Stopped::NotNow(why)) => {
                let why = why.to_string();
                if let Some(repeats) = self.log.allows(&why, Instant::now()) {
                    tracing::warn!(
                        source = &*self.name,
                        why,
                        repeats,
                        "notifications wait in the Masakari: hem takes none now"
                    );
                }
            }
            Err(error @ (Stopped::Api(_) | Stopped::Bookmark(_))) => {
                let why = sentence(&error);
                self.intake.disconnected(&why);
                self.is_up = false;
                if let Some(repeats) = self.log.allows(&why, Instant::now()) {
                    tracing::warn!(source = &*self.name, why, repeats, "the Masakari cannot be read");
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), Stopped> {
        let newest = self.api.newest().await?;
        if !self.is_up {
            self.intake.reads_on();
            self.is_up = true;
            if let Some(repeats) = self.log.allows("up", Instant::now()) {
                tracing::info!(source = &*self.name, repeats, "the Masakari is read");
            }
        }
        let cursor = match self.ledger.cursor() {
            Some(cursor) => cursor.clone(),
            None => self.begin(newest.first()).await?,
        };
        self.read_new(newest, &cursor).await?;
        self.read_changes().await
    }

    /// The first reading: says where it begins.
    async fn begin(&mut self, newest: Option<&Told>) -> Result<Cursor, Stopped> {
        let cursor = match (self.start, newest) {
            (PollStart::Latest, Some(newest)) => Cursor::at(newest, newest.id),
            (PollStart::Latest, None) | (PollStart::Earliest, _) => Cursor::default(),
        };
        self.keep(Ledger::begin(cursor.clone())).await?;
        Ok(cursor)
    }

    /// Raises what is newer than the newest that was raised, the oldest first.
    async fn read_new(&mut self, newest: Vec<Told>, cursor: &Cursor) -> Result<(), Stopped> {
        if cursor.id == 0 {
            return self.read_behind(None, cursor.floor).await;
        }
        let highest = newest.first().map_or(0, |told| told.id);
        match newest.iter().find(|told| told.id == cursor.id) {
            Some(told) if told.uuid == cursor.uuid => {
                for told in newest.into_iter().rev() {
                    if told.id > cursor.id {
                        self.raise_new(told, cursor.floor).await?;
                    } else if self.ledger.judge(&told) == Judgement::Late {
                        // It may have ended before it could be seen, and then nothing else tells of it.
                        let step = self.ledger.sight(&told);
                        self.raise(&told, None, step).await?;
                    }
                }
                Ok(())
            }
            Some(_) => self.read_anew(cursor, Some(highest)).await,
            None if highest < cursor.id => self.read_anew(cursor, Some(highest)).await,
            None => match self.api.notification(&cursor.uuid).await? {
                Some(told) if told.id == cursor.id => self.read_behind(Some(cursor.id), cursor.floor).await,
                _ => self.read_anew(cursor, None).await,
            },
        }
    }

    /// Raises everything behind a number, page by page.
    async fn read_behind(&mut self, after: Option<u64>, floor: u64) -> Result<(), Stopped> {
        let mut pages = Pages::of_notifications(after);
        while let Some(page) = self.api.next::<Told>(&mut pages).await? {
            for told in page.into_iter().filter(|told| told.id > floor) {
                self.raise_new(told, floor).await?;
            }
        }
        Ok(())
    }

    /// The newest notification that was raised is not there any more: old ones were removed, or the Masakari lost its database, and
    /// then its numbers begin lower (`jumped_to` where that is known). Everything is read; what is new has a higher number, or was
    /// made later.
    async fn read_anew(&mut self, cursor: &Cursor, jumped_to: Option<u64>) -> Result<(), Stopped> {
        let mut has_jumped = false;
        if let Some(highest) = jumped_to {
            self.tell_of_jump(cursor, highest);
            has_jumped = true;
        }
        let (mut pages, mut floor) = (Pages::of_notifications(None), 0);
        while let Some(page) = self.api.next::<Told>(&mut pages).await? {
            for told in page {
                let is_known = self.ledger.status(&told.uuid).is_some();
                if is_known || (told.id <= cursor.id && !cursor.is_before(&told)) {
                    floor = told.id;
                    continue;
                }
                if told.id <= cursor.id && !has_jumped {
                    self.tell_of_jump(cursor, told.id);
                    has_jumped = true;
                }
                self.raise_new(told, floor).await?;
            }
        }
        if has_jumped && self.ledger.cursor() == Some(cursor) {
            // Nothing is newer yet, and the old place is not to be found again.
            let behind = Cursor {
                id: 0,
                uuid: String::new(),
                created_at: cursor.created_at.clone(),
                floor,
            };
            self.keep(Ledger::begin(behind)).await?;
        }
        Ok(())
    }

    /// Numbers that begin lower are another database: what the former one told last may never have been seen.
    fn tell_of_jump(&self, cursor: &Cursor, to: u64) {
        let why = format!(
            "the numbers of the notifications jumped back from {} to {to}: the Masakari has another database",
            cursor.id
        );
        self.intake.disconnected(&why);
        self.intake.connected();
    }

    /// Raises the changes of those that are not at their end.
    async fn read_changes(&mut self) -> Result<(), Stopped> {
        let mut listed: HashMap<String, Told> = HashMap::new();
        for status in UNFINISHED {
            let told = self.api.with_status(status).await?;
            listed.extend(told.into_iter().map(|told| (told.uuid.clone(), told)));
        }
        let missing: Vec<String> = self
            .ledger
            .unfinished()
            .filter(|uuid| !listed.contains_key(*uuid))
            .take(ONE_BY_ONE)
            .map(str::to_owned)
            .collect();
        let mut told: Vec<Told> = listed.into_values().collect();
        told.sort_by_key(|told| told.id);
        for uuid in missing {
            match self.api.notification(&uuid).await? {
                Some(found) => told.push(found),
                None => self.keep(Ledger::gone(&uuid)).await?,
            }
        }
        for told in told {
            let step = self.ledger.sight(&told);
            match self.ledger.judge(&told) {
                Judgement::Known | Judgement::Ahead => {}
                Judgement::Older => self.keep(step).await?,
                Judgement::Late => self.raise(&told, None, step).await?,
                Judgement::Changed(previous) => {
                    let previous = previous.to_owned();
                    self.raise(&told, Some(previous), step).await?;
                }
            }
        }
        Ok(())
    }

    async fn raise_new(&mut self, told: Told, floor: u64) -> Result<(), Stopped> {
        let step = self.ledger.first_sight(&told, floor);
        self.raise(&told, None, step).await
    }

    async fn raise(&mut self, told: &Told, previous: Option<String>, step: Step) -> Result<(), Stopped> {
        let hostname = self.host_name(told).await?;
        let mut whole = told.whole.clone();
        // As whoever sends notifications writes it: a Masakari tells the host's UUID alone.
        whole.insert("hostname".to_owned(), Value::String(hostname.clone()));
        let document = json!({ "notification": whole }).to_string();
        let notification = MasakariNotification {
            uuid: told.uuid.clone(),
            kind: told.kind.clone(),
            hostname,
            generated_time: told.generated_time.clone(),
            payload: texts(told.payload.clone()),
            host_uuid: told.host_uuid.clone(),
            segment_uuid: told.segment_uuid.clone(),
            observed: Some(Observed {
                id: told.id,
                status: told.status.clone(),
                previous,
            }),
            sender: None,
            request: None,
        };
        let event = notification.into_event(
            Arc::clone(&self.name),
            self.names_source,
            Timestamp::now(),
            document.into(),
        );
        // One after the other: were a later one accepted and this one not, its bookmark would hide this one.
        self.intake
            .hand_over(event, step.bookmarks()?)?
            .accepted()
            .await?;
        self.ledger.take(step);
        Ok(())
    }

    async fn keep(&mut self, step: Step) -> Result<(), Stopped> {
        self.intake.keep(step.bookmarks()?).await?;
        self.ledger.take(step);
        Ok(())
    }

    /// The name of the host that a notification is about; its UUID where no name is to be had.
    async fn host_name(&mut self, told: &Told) -> Result<String, ApiError> {
        let Some(uuid) = &told.host_uuid else {
            return Ok(String::new());
        };
        // The host of a new notification may be a new one; one that is not listed is asked for only now and then.
        let is_due = self
            .unlisted
            .get(uuid)
            .is_none_or(|at| at.elapsed() >= HOSTS_AGAIN);
        if !self.hosts.contains_key(uuid) && is_due {
            match self.api.hosts().await {
                Ok(hosts) => self.hosts = hosts,
                Err(
                    error @ ApiError::Status {
                        status: 403 | 404, ..
                    },
                ) => {
                    let why = sentence(&error);
                    if let Some(repeats) = self.log.allows(&why, Instant::now()) {
                        tracing::warn!(
                            source = &*self.name,
                            why,
                            repeats,
                            "hosts are called by their UUIDs: their names are not told"
                        );
                    }
                }
                Err(error) => return Err(error),
            }
            self.unlisted.retain(|_, at| at.elapsed() < HOSTS_AGAIN);
            if !self.hosts.contains_key(uuid) {
                self.unlisted.insert(uuid.clone(), Instant::now());
            }
        }
        Ok(self.hosts.get(uuid).unwrap_or(uuid).clone())
    }
}
