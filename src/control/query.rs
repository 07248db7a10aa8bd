//! Reading the store in the interface's terms: what the daemon's routes and `--offline` share.

use std::sync::Arc;

use super::api::{
    AuditFilter, AuditView, EventFilter, EventView, ExecutionFilter, ExecutionStory, ExecutionView,
    LiveOutputView, MuteView, StateView, Story, Today,
};
use super::arguments::ArgumentLines;
use super::convert;
use super::cursor::{self, Page};
use super::mutes;
use super::veil::Veil;
use crate::config::control::Role;
use crate::engine::execution::Execution;
use crate::engine::handle::LiveOutput;
use crate::engine::mute::Mute;
use crate::event::id::{ExecutionKey, HookName, Reference, Seq, StoreId};
use crate::event::{Facts, Kind};
use crate::hooks::HookSet;
use crate::runner::Captured;
use crate::store::{AuditEntry, EventQuery, ExecutionQuery, ListedEvent, ReadError, Store};

/// Listed when nobody says how many.
pub const DEFAULT_LIMIT: usize = 50;

/// Listed at most, however many are asked for.
pub const GREATEST_LIMIT: usize = 100_000;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question cannot be answered as it is put.
    #[error("{message}")]
    Question {
        /// What is wrong with it.
        message: String,
        /// What to ask instead.
        hint: Option<String>,
    },
    /// There is no such thing.
    #[error("{message}")]
    Absent {
        /// What there is not.
        message: String,
        /// Why that may be.
        hint: Option<String>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl QueryError {
    fn absent_execution(key: &ExecutionKey) -> Self {
        Self::Absent {
            message: format!("there is no execution `{key}`"),
            hint: Some(format!(
                "`hem show {}` shows what event {} caused",
                key.event, key.event
            )),
        }
    }

    pub(super) fn absent_event(seq: Seq) -> Self {
        Self::Absent {
            message: format!("there is no event {seq}"),
            hint: Some(
                "it may have been pruned (`retention:` in hem.yaml); `hem events` lists what is kept"
                    .to_owned(),
            ),
        }
    }
}

/// Reads a store in the interface's terms.
#[derive(Debug, Clone)]
pub struct Reader {
    store: Store,
    /// The hooks in force; unknown without a daemon.
    today: Option<Arc<HookSet>>,
    veil: Veil,
}

impl Reader {
    /// A reader of this store. `today` are the hooks in force, where they are known.
    pub fn new(store: Store, today: Option<Arc<HookSet>>, veil: Veil) -> Self {
        Self { store, today, veil }
    }

    /// The store's id.
    pub fn store_id(&self) -> &StoreId {
        self.store.id()
    }

    /// Events, newest first, without payloads.
    ///
    /// # Errors
    /// A filter that names an unknown kind; a store that cannot be read.
    pub fn events(&self, filter: &EventFilter) -> Result<Page<EventView>, QueryError> {
        self.events_for(filter, Role::Operator)
    }

    /// The same for somebody who may be allowed less than whoever can read the store.
    ///
    /// # Errors
    /// Those of [`Self::events`].
    pub(super) fn events_for(&self, filter: &EventFilter, role: Role) -> Result<Page<EventView>, QueryError> {
        let mut query = event_query(filter)?;
        query.before = match &filter.cursor {
            Some(cursor) => Some(cursor::number(cursor, self.store.id())?),
            None => None,
        };
        let limit = query.limit;
        query.limit += 1;
        Page::of(
            self.store.events_that(&query, |listed| {
                self.veil.lets_find_event(role, &query, &listed.event)
            })?,
            limit,
            |last| format!("{}-{}", self.store.id(), last.event.seq),
            |found| Ok(found.iter().map(|listed| self.listed(listed)).collect()),
        )
    }

    /// One event with its payload.
    ///
    /// # Errors
    /// There is none; a store that cannot be read.
    pub fn event(&self, seq: Seq) -> Result<EventView, QueryError> {
        let listed = self
            .store
            .event(seq)?
            .ok_or_else(|| QueryError::absent_event(seq))?;
        Ok(self.whole(&listed))
    }

    /// Executions, newest first.
    ///
    /// # Errors
    /// A filter that names an unknown state; a store that cannot be read.
    pub fn executions(&self, filter: &ExecutionFilter) -> Result<Page<ExecutionView>, QueryError> {
        self.executions_for(filter, Role::Operator)
    }

    /// The same for somebody who may be allowed less than whoever can read the store.
    ///
    /// # Errors
    /// Those of [`Self::executions`].
    pub(super) fn executions_for(
        &self,
        filter: &ExecutionFilter,
        role: Role,
    ) -> Result<Page<ExecutionView>, QueryError> {
        let mut query = execution_query(filter)?;
        query.before = match &filter.cursor {
            Some(cursor) => Some(cursor::execution(cursor, self.store.id())?),
            None => None,
        };
        let limit = query.limit;
        query.limit += 1;
        Page::of(
            self.found(&query, role)?,
            limit,
            |last| last.key.with_store(self.store.id()),
            |found| self.views_with(found, filter.arguments.then_some(role)),
        )
    }

    /// The executions that are asked for and that somebody in this role may find.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) fn found(&self, query: &ExecutionQuery, role: Role) -> Result<Vec<Execution>, QueryError> {
        let found = self.store.executions_that(query, |execution| {
            self.veil.lets_find_execution(role, query, execution)
        })?;
        Ok(found)
    }

    fn views_with(
        &self,
        executions: &[Execution],
        with_arguments: Option<Role>,
    ) -> Result<Vec<ExecutionView>, QueryError> {
        let mut views = self.views(executions)?;
        if let Some(role) = with_arguments {
            let mut lines = ArgumentLines::new(&self.store, &self.veil, role);
            for (view, execution) in views.iter_mut().zip(executions) {
                view.arguments = lines.of(execution)?;
            }
        }
        Ok(views)
    }

    /// Executions in the interface's terms, each with the mute that holds it.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub(super) fn views(&self, executions: &[Execution]) -> Result<Vec<ExecutionView>, QueryError> {
        let mutes = self.store.mutes()?;
        let view = |execution| self.standing(&mutes, execution, &self.veil);
        Ok(executions.iter().map(view).collect())
    }

    fn standing(&self, mutes: &[Mute], execution: &Execution, veil: &Veil) -> ExecutionView {
        let mut view = ExecutionView {
            held_by: mutes::holding(mutes, execution),
            ..convert::execution(self.store.id(), execution)
        };
        veil.execution(&mut view);
        view
    }

    /// The mutes in force.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn mutes(&self) -> Result<Vec<MuteView>, QueryError> {
        let mut views: Vec<MuteView> = self.store.mutes()?.iter().map(mutes::view).collect();
        views.iter_mut().for_each(|view| self.veil.mute(view));
        Ok(views)
    }

    /// The keys a reference stands for: of `1042` all that the event caused.
    ///
    /// # Errors
    /// There are none; it names another store; a store that cannot be read.
    pub fn resolve(&self, reference: &Reference) -> Result<Vec<ExecutionKey>, QueryError> {
        self.check_store(reference)?;
        match reference {
            Reference::Last => self.last().map(|key| vec![key]),
            Reference::Execution(_, key) => match self.store.execution(key)? {
                Some(_) => Ok(vec![key.clone()]),
                None => Err(QueryError::absent_execution(key)),
            },
            Reference::Event(_, seq) => {
                let keys: Vec<_> = self
                    .store
                    .executions_of(*seq)?
                    .into_iter()
                    .map(|execution| execution.key)
                    .collect();
                if !keys.is_empty() {
                    return Ok(keys);
                }
                match self.store.event(*seq)? {
                    None => Err(QueryError::absent_event(*seq)),
                    Some(_) => Err(QueryError::Absent {
                        message: format!("event {seq} caused no execution"),
                        hint: Some(format!("`hem match {seq}` says why each hook does not match it")),
                    }),
                }
            }
        }
    }

    /// The whole story of an event and all it caused, or of one execution.
    ///
    /// # Errors
    /// There is no such thing; it names another store; a store that cannot be read.
    pub fn story(&self, reference: &Reference) -> Result<Story, QueryError> {
        self.check_store(reference)?;
        let (seq, keys) = match reference {
            Reference::Last => {
                let key = self.last()?;
                (key.event, vec![key])
            }
            Reference::Execution(_, key) => (key.event, vec![key.clone()]),
            Reference::Event(_, seq) => (
                *seq,
                self.store
                    .executions_of(*seq)?
                    .into_iter()
                    .map(|execution| execution.key)
                    .collect(),
            ),
        };
        let event = self.store.event(seq)?;
        if event.is_none() && keys.is_empty() {
            return Err(QueryError::absent_event(seq));
        }
        let call = event.as_ref().and_then(call);
        let veil = match &event {
            Some(listed) => self.veil.over(listed.event.payload.bytes()),
            None => self.veil.clone(),
        };
        let executions = keys
            .iter()
            .map(|key| self.told(key, call, &veil))
            .collect::<Result<_, _>>()?;
        let is_gap = |listed: &ListedEvent| matches!(listed.event.facts, Facts::Gap(_));
        let story = match event.as_ref().filter(|listed| is_gap(listed)) {
            Some(_) => self.store.gap_story(seq)?,
            None => None,
        };
        Ok(Story {
            event: event.map(|listed| self.whole(&listed)),
            executions,
            caught_up: story.as_ref().map(convert::caught_up),
        })
    }

    /// The last lines of the audit log, newest first.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub fn audit(&self, filter: &AuditFilter) -> Result<Page<AuditView>, QueryError> {
        let before = match &filter.cursor {
            Some(cursor) => Some(cursor::number(cursor, self.store.id())?.0),
            None => None,
        };
        let limit = limited(filter.limit);
        Page::of(
            self.store.audit_before(before, limit + 1)?,
            limit,
            |last| format!("{}-{}", self.store.id(), last.number),
            |found| Ok(found.iter().map(|entry| self.entry(entry)).collect()),
        )
    }

    fn entry(&self, entry: &AuditEntry) -> AuditView {
        let mut view = convert::audit(entry);
        self.veil.audit(&mut view);
        view
    }

    /// What an execution has written: the attempt that runs, or the last one that ended. `live` says what the one that runs has
    /// written so far.
    ///
    /// # Errors
    /// There is no such execution, or the reference names several; a store that cannot be read.
    pub(super) fn output(
        &self,
        reference: &Reference,
        live: impl FnOnce(&ExecutionKey) -> Option<LiveOutput>,
    ) -> Result<LiveOutputView, QueryError> {
        let key = self.one(reference)?;
        // Asked first: what is no longer shown by then is in the record.
        let (attempt, running, [mut stdout, mut stderr]) = match live(&key) {
            Some(live) => (
                Some(live.attempt),
                true,
                [live.stdout, live.stderr].map(|kept| convert::output(&kept)),
            ),
            None => {
                let last = self.store.attempts(&key)?.pop();
                let nothing = || Captured::default();
                let (number, ended) = match last {
                    Some(last) => (Some(last.number), last.ended),
                    None => (None, None),
                };
                let runs = number.is_some() && ended.is_none();
                let kept = ended.map_or_else(|| [nothing(), nothing()], |ended| [ended.stdout, ended.stderr]);
                (number, runs, kept.map(|kept| convert::output(&kept)))
            }
        };
        let event = self.store.event(key.event)?;
        let veil = match &event {
            Some(listed) => self.veil.over(listed.event.payload.bytes()),
            None => self.veil.clone(),
        };
        let call = event.as_ref().and_then(call);
        for stream in [&mut stdout, &mut stderr] {
            veil.output(stream, call);
        }
        Ok(LiveOutputView {
            execution: key.to_string(),
            attempt,
            running,
            stdout,
            stderr,
        })
    }

    /// The only execution that a reference stands for.
    ///
    /// # Errors
    /// There is none, or there are several; a store that cannot be read.
    pub fn one(&self, reference: &Reference) -> Result<ExecutionKey, QueryError> {
        let mut keys = self.resolve(reference)?;
        match (keys.pop(), keys.is_empty()) {
            (Some(key), true) => Ok(key),
            (last, _) => {
                let all: Vec<_> = keys.iter().chain(&last).map(|key| format!("`{key}`")).collect();
                Err(QueryError::Question {
                    message: format!("the event caused {} executions: {}", all.len(), all.join(", ")),
                    hint: Some("name one of them".to_owned()),
                })
            }
        }
    }

    fn last(&self) -> Result<ExecutionKey, QueryError> {
        let query = ExecutionQuery {
            limit: 1,
            ..ExecutionQuery::default()
        };
        self.store
            .executions(&query)?
            .into_iter()
            .next()
            .map(|execution| execution.key)
            .ok_or_else(|| QueryError::Absent {
                message: "there is no execution yet".to_owned(),
                hint: Some("`hem events` shows what arrived".to_owned()),
            })
    }

    fn check_store(&self, reference: &Reference) -> Result<(), QueryError> {
        let named = match reference {
            Reference::Last => None,
            Reference::Event(store, _) | Reference::Execution(store, _) => store.as_ref(),
        };
        match named {
            Some(named) if named != self.store.id() => Err(QueryError::Absent {
                message: format!("this is the store `{}`, not `{named}`", self.store.id()),
                hint: Some("the id belongs to another daemon, or to a store that was replaced".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    fn told(
        &self,
        key: &ExecutionKey,
        call: Option<&str>,
        veil: &Veil,
    ) -> Result<ExecutionStory, QueryError> {
        let execution = self
            .store
            .execution(key)?
            .ok_or_else(|| QueryError::absent_execution(key))?;
        let definition = self.store.definition(&execution.progress.version)?;
        let today = match &self.today {
            None => Today::Unknown,
            Some(hooks) => match hooks.get(&key.hook) {
                None => Today::Removed,
                Some(hook) if hook.version == execution.progress.version => Today::Same,
                Some(_) => Today::Changed,
            },
        };
        let attempts = self
            .store
            .attempts(key)?
            .iter()
            .map(|attempt| {
                let mut view = convert::attempt(attempt);
                veil.attempt(&mut view, call);
                view
            })
            .collect();
        Ok(ExecutionStory {
            definition: definition.map(|definition| {
                let mut view = convert::definition(&execution.progress.version, &definition);
                self.veil.definition(&mut view);
                view
            }),
            execution: self.standing(&self.store.mutes()?, &execution, veil),
            today,
            attempts,
        })
    }

    fn listed(&self, listed: &ListedEvent) -> EventView {
        let mut view = convert::event(self.store.id(), listed);
        self.veil.event(&mut view);
        view
    }

    fn whole(&self, listed: &ListedEvent) -> EventView {
        let mut view = self.listed(listed);
        view.payload = Some(convert::text(&self.veil.document(listed.event.payload.bytes())));
        view
    }
}

fn cursor_with_feed() -> QueryError {
    QueryError::Question {
        message: "`cursor` and `follow` do not go together".to_owned(),
        hint: Some(
            "a feed begins with the newest page; without `follow`, the pages before can be asked for"
                .to_owned(),
        ),
    }
}

/// The API call that an event is of, where it is of one.
fn call(listed: &ListedEvent) -> Option<&str> {
    match &listed.event.facts {
        Facts::Api(api) => Some(api.call.as_str()),
        _ => None,
    }
}

fn limited(limit: Option<usize>) -> usize {
    limit.unwrap_or(DEFAULT_LIMIT).min(GREATEST_LIMIT)
}

/// The store's question for a filter.
///
/// # Errors
/// The filter names an unknown kind.
pub(super) fn event_query(filter: &EventFilter) -> Result<EventQuery, QueryError> {
    let kind = match &filter.kind {
        None => None,
        Some(name) => Some(
            Kind::ALL
                .into_iter()
                .find(|kind| kind.as_str() == name)
                .ok_or_else(|| QueryError::Question {
                    message: format!("`{name}` is no kind of event"),
                    hint: Some(format!("there are {}", Kind::ALL.map(Kind::as_str).join(", "))),
                })?,
        ),
    };
    if filter.follow && filter.cursor.is_some() {
        return Err(cursor_with_feed());
    }
    Ok(EventQuery {
        subject: filter.subject.clone(),
        key: filter.key.clone(),
        source: filter.source.clone(),
        kind,
        unmatched: filter.unmatched,
        since: filter.since.map(|time| time.0),
        until: filter.until.map(|time| time.0),
        before: None,
        limit: limited(filter.limit),
    })
}

/// The store's question for a filter.
///
/// # Errors
/// The filter names an unknown state.
pub(super) fn execution_query(filter: &ExecutionFilter) -> Result<ExecutionQuery, QueryError> {
    if let Some(status) = &filter.status
        && !StateView::NAMES.contains(&status.as_str())
    {
        return Err(QueryError::Question {
            message: format!("`{status}` is no state of an execution"),
            hint: Some(format!("there are {}", StateView::NAMES.join(", "))),
        });
    }
    if filter.follow && filter.cursor.is_some() {
        return Err(cursor_with_feed());
    }
    Ok(ExecutionQuery {
        hook: filter.hook.as_deref().map(HookName::trusted),
        status: filter.status.clone(),
        subject: filter.subject.clone(),
        source: filter.source.clone(),
        since: filter.since.map(|time| time.0),
        until: filter.until.map(|time| time.0),
        before: None,
        limit: limited(filter.limit),
    })
}
