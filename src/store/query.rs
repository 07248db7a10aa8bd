//! Reading: events, executions, attempts, definitions, the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::blob::GetError;
use super::draft::{Lines, attempt_apart};
use super::format::StoredAttempt;
use super::keys::{AttemptPart, Space};
use super::{
    AuditEntry, Definition, EventQuery, ExecutionQuery, ListedEvent, Override, ReadError, Store, blob,
    format, keys,
};
use crate::engine::execution::{Attempt, Execution};
use crate::engine::known_states::{Baseline, GapStory};
use crate::engine::mute::Mute;
use crate::engine::outbox::Owed;
use crate::event::id::{ExecutionKey, HookName, Seq};
use crate::event::opennebula::pool::{ResourceId, StateNames};
use crate::event::own::{self, OwnEvent};
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};
use crate::hooks::Version;

/// Events stand in the order of their acceptance: one that waited, or was received before the clock was set back, may be received
/// earlier than one before it by as much as this.
const OUT_OF_ORDER: Duration = Duration::from_secs(3600);

impl Store {
    /// One event with its payload.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn event(&self, seq: Seq) -> Result<Option<ListedEvent>, ReadError> {
        let Some(bytes) = self.shared.tree.get(keys::event(seq)).map_err(ReadError::Read)? else {
            return Ok(None);
        };
        let what = || format!("event {seq}");
        let mut listed = self.listed_event(seq, &bytes)?;
        let payload = self.payload(seq, &bytes).map_err(ReadError::blob(what()))?;
        listed.event.payload = listed.event.facts.payload(payload.unwrap_or_default().into());
        Ok(Some(listed))
    }

    /// One event without its payload.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn event_header(&self, seq: Seq) -> Result<Option<ListedEvent>, ReadError> {
        let stored = self.shared.tree.get(keys::event(seq)).map_err(ReadError::Read)?;
        stored.map(|bytes| self.listed_event(seq, &bytes)).transpose()
    }

    /// The name of the source that an event came from.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn source_of(&self, seq: Seq) -> Result<Option<String>, ReadError> {
        let listed = self.event_header(seq)?;
        Ok(listed.map(|listed| listed.event.source.to_string()))
    }

    /// Events, newest first, without payloads. With `since`, reading ends where everything before was received earlier by far.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn events(&self, query: &EventQuery) -> Result<Vec<ListedEvent>, ReadError> {
        self.events_that(query, |_| true)
    }

    /// Those events alone of which `holds` says so as well.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn events_that(
        &self,
        query: &EventQuery,
        holds: impl Fn(&ListedEvent) -> bool,
    ) -> Result<Vec<ListedEvent>, ReadError> {
        let mut found = Vec::new();
        let before = query.before.map(keys::event);
        for entry in self.below(keys::space(Space::Event), before).rev() {
            if found.len() >= query.limit {
                break;
            }
            let (key, bytes) = entry.map_err(ReadError::Read)?;
            let seq = Seq(keys::number(&key).unwrap_or_default());
            let listed = self.listed_event(seq, &bytes)?;
            if query.selects(&listed) {
                if holds(&listed) {
                    found.push(listed);
                }
            } else if query
                .since
                .is_some_and(|since| listed.event.received.plus(OUT_OF_ORDER) < since)
            {
                break;
            }
        }
        Ok(found)
    }

    /// When the newest event of a source was received that is on record. It is looked for among the newest `at_most` of all; where
    /// it is none of those, the time of the oldest of all stands for it. None where none was received, or, with `since`, where
    /// the newest was received earlier by far. What cannot be read is said in the log and passed over.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn last_received(
        &self,
        source: &str,
        since: Option<Timestamp>,
        at_most: usize,
    ) -> Result<Option<Timestamp>, ReadError> {
        let counters = self.summary().events.get(source).cloned().unwrap_or_default();
        if counters.accepted() + counters.gaps == 0 {
            return Ok(None);
        }
        let all = self.shared.tree.scan_prefix(keys::space(Space::Event));
        for entry in all.rev().take(at_most) {
            let Some(event) = self.readable(entry)? else {
                continue;
            };
            if *event.source == *source {
                return Ok(Some(event.received));
            }
            if since.is_some_and(|since| event.received.plus(OUT_OF_ORDER) < since) {
                return Ok(None);
            }
        }
        for entry in self.shared.tree.scan_prefix(keys::space(Space::Event)) {
            if let Some(event) = self.readable(entry)? {
                return Ok(Some(event.received));
            }
        }
        Ok(None)
    }

    /// An event without its payload; none where its record is damaged.
    fn readable(&self, entry: sled::Result<(sled::IVec, sled::IVec)>) -> Result<Option<Event>, ReadError> {
        let (key, record) = entry.map_err(ReadError::Read)?;
        let seq = Seq(keys::number(&key).unwrap_or_default());
        match self.listed_event(seq, &record) {
            Ok(listed) => Ok(Some(listed.event)),
            Err(error @ ReadError::Read(_)) => Err(error),
            Err(error) => {
                tracing::warn!(event = %seq, error = &error as &dyn std::error::Error, "an event on record cannot be read");
                Ok(None)
            }
        }
    }

    /// What stands under keys that begin with `prefix`, and below `before`, one of those keys.
    fn below(&self, prefix: Vec<u8>, before: Option<Vec<u8>>) -> sled::Iter {
        match before {
            None => self.shared.tree.scan_prefix(prefix),
            Some(before) => self.shared.tree.range(prefix..before),
        }
    }

    /// Visits events, newest first, without payloads, for as long as `visit` says.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn visit_events(&self, mut visit: impl FnMut(ListedEvent) -> bool) -> Result<(), ReadError> {
        for entry in self.shared.tree.scan_prefix(keys::space(Space::Event)).rev() {
            let (key, bytes) = entry.map_err(ReadError::Read)?;
            let seq = Seq(keys::number(&key).unwrap_or_default());
            if !visit(self.listed_event(seq, &bytes)?) {
                break;
            }
        }
        Ok(())
    }

    /// Whether an event is on record.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn has_event(&self, seq: Seq) -> Result<bool, ReadError> {
        self.shared
            .tree
            .contains_key(keys::event(seq))
            .map_err(ReadError::Read)
    }

    /// The event whose record this is, without its payload.
    pub(super) fn listed_event(&self, seq: Seq, record: &[u8]) -> Result<ListedEvent, ReadError> {
        let what = || format!("event {seq}");
        let (line, _) = blob::split_line(record);
        let line =
            blob::line(&self.shared.tree, seq, &keys::event(seq), line).map_err(ReadError::blob(what()))?;
        format::read_event(seq, &line).map_err(ReadError::format(what()))
    }

    /// The payload of the event whose record this is.
    fn payload(&self, seq: Seq, record: &[u8]) -> Result<Option<Vec<u8>>, GetError> {
        match blob::split_line(record) {
            (_, []) => blob::get(&self.shared.tree, &keys::payload(seq)),
            (_, packed) => blob::unpack(packed).map(Some).map_err(GetError::Pieces),
        }
    }

    /// One execution.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn execution(&self, key: &ExecutionKey) -> Result<Option<Execution>, ReadError> {
        let tree = &self.shared.tree;
        let place = keys::of_execution(Space::Execution, key);
        let Some(record) = tree.get(&place).map_err(ReadError::Read)? else {
            return Ok(None);
        };
        let what = || format!("execution {key}");
        let lines = Lines::of(&record);
        let fixed = blob::line(tree, key.event, &place, lines.fixed).map_err(ReadError::blob(what()))?;
        let execution =
            format::read_execution(key.clone(), &fixed, lines.progress).map_err(ReadError::format(what()))?;
        Ok(Some(execution))
    }

    /// The executions an event caused, by hook name.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn executions_of(&self, event: Seq) -> Result<Vec<Execution>, ReadError> {
        self.listed_executions(
            self.shared
                .tree
                .scan_prefix(keys::numbered(Space::Execution, event.0))
                .keys(),
            usize::MAX,
            |_| true,
        )
    }

    /// Executions, newest first.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn executions(&self, query: &ExecutionQuery) -> Result<Vec<Execution>, ReadError> {
        self.executions_that(query, |_| true)
    }

    /// Those executions alone of which `holds` says so as well.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn executions_that(
        &self,
        query: &ExecutionQuery,
        holds: impl Fn(&Execution) -> bool,
    ) -> Result<Vec<Execution>, ReadError> {
        let selects = |execution: &Execution| query.selects(execution) && holds(execution);
        match &query.hook {
            None => {
                let before = query.before.as_ref();
                let before = before.map(|key| keys::of_execution(Space::Execution, key));
                let all = self.below(keys::space(Space::Execution), before).keys().rev();
                self.listed_executions(all, query.limit, selects)
            }
            Some(hook) => {
                let prefix = keys::by_hook(hook);
                let before = query.before.as_ref().map(|key| {
                    let mut bytes = prefix.clone();
                    bytes.extend_from_slice(&key.event.0.to_be_bytes());
                    bytes
                });
                let of_hook = self.below(prefix, before).keys().rev();
                let of_hook = of_hook.filter_map(|key| match key {
                    Ok(key) => {
                        let execution = keys::of_hook(&key)?;
                        Some(Ok(keys::of_execution(Space::Execution, &execution).into()))
                    }
                    Err(error) => Some(Err(error)),
                });
                self.listed_executions(of_hook, query.limit, selects)
            }
        }
    }

    /// The executions of a hook, newest first, as long as `goes_on` says so of them.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn newest(
        &self,
        hook: &HookName,
        mut goes_on: impl FnMut(&Execution) -> bool,
    ) -> Result<Vec<Execution>, ReadError> {
        let prefix = keys::by_hook(hook);
        let mut found = Vec::new();
        for key in self.shared.tree.scan_prefix(&prefix).keys().rev() {
            let key = key.map_err(ReadError::Read)?;
            let Some(key) = keys::of_hook(&key) else {
                continue;
            };
            if let Some(execution) = self.execution(&key)? {
                if !goes_on(&execution) {
                    break;
                }
                found.push(execution);
            }
        }
        Ok(found)
    }

    fn listed_executions(
        &self,
        found: impl Iterator<Item = sled::Result<sled::IVec>>,
        limit: usize,
        selects: impl Fn(&Execution) -> bool,
    ) -> Result<Vec<Execution>, ReadError> {
        let mut executions = Vec::new();
        for key in found {
            if executions.len() >= limit {
                break;
            }
            let key = key.map_err(ReadError::Read)?;
            let Some(key) = keys::execution(&key) else {
                continue;
            };
            if let Some(execution) = self.execution(&key)?
                && selects(&execution)
            {
                executions.push(execution);
            }
        }
        Ok(executions)
    }

    /// The newest execution of a controller's hook that ran with arguments of that SHA-256, if it is still kept.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn newest_with_arguments(
        &self,
        hook: &HookName,
        arguments: &[u8; 32],
    ) -> Result<Option<Execution>, ReadError> {
        let key = keys::by_hook_and_arguments(hook, arguments);
        let newest = self.shared.tree.get(key).map_err(ReadError::Read)?;
        match newest.and_then(|number| <[u8; 8]>::try_from(number.as_ref()).ok()) {
            Some(number) => self.execution(&ExecutionKey::new(Seq(u64::from_be_bytes(number)), hook.clone())),
            None => Ok(None),
        }
    }

    /// The executions that have not reached their end, in no order. Those whose records are damaged are told and left out.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn unsettled(&self) -> Result<Vec<Execution>, ReadError> {
        // In this order none is missed that is listed meanwhile. Where the newest are damaged was told when the writer started.
        let mut unsettled = self.unsettled_from(Seq(self.listed_below()), |_, _| {})?;
        for key in self.shared.tree.scan_prefix(keys::space(Space::Unsettled)).keys() {
            unsettled.extend(keys::execution(&key.map_err(ReadError::Read)?));
        }
        let mut found = Vec::with_capacity(unsettled.len());
        for key in unsettled {
            match self.execution(&key) {
                Ok(execution) => found.extend(execution.filter(|left| !left.progress.state.is_settled())),
                Err(error @ ReadError::Read(_)) => return Err(error),
                Err(error) => tracing::error!(
                    execution = %key,
                    error = &error as &dyn std::error::Error,
                    "the record of an unsettled execution is damaged; it cannot be taken up"
                ),
            }
        }
        Ok(found)
    }

    /// The unsettled executions of events from number `from` on, whether they are listed or not. `damaged` is told of those whose
    /// records do not say.
    pub(super) fn unsettled_from(
        &self,
        from: Seq,
        mut damaged: impl FnMut(&ExecutionKey, &ReadError),
    ) -> Result<BTreeSet<ExecutionKey>, ReadError> {
        let range = keys::numbered(Space::Execution, from.0)..keys::space_after(Space::Execution);
        let mut unsettled = BTreeSet::new();
        for entry in self.shared.tree.range(range) {
            let (key, record) = entry.map_err(ReadError::Read)?;
            let Some(key) = keys::execution(&key) else {
                continue;
            };
            match format::is_settled(Lines::of(&record).progress) {
                Ok(true) => {}
                Ok(false) => {
                    unsettled.insert(key);
                }
                Err(error) => damaged(&key, &ReadError::format(format!("execution {key}"))(error)),
            }
        }
        Ok(unsettled)
    }

    /// The attempts of an execution, in order, with their output.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn attempts(&self, key: &ExecutionKey) -> Result<Vec<Attempt>, ReadError> {
        let tree = &self.shared.tree;
        let damaged = |number: u32| ReadError::attempt(format!("attempt {number} of {key}"));
        // The record first: an attempt that leaves it meanwhile stands apart afterwards.
        let record = tree
            .get(keys::of_execution(Space::Execution, key))
            .map_err(ReadError::Read)?
            .unwrap_or_default();
        let within = Lines::of(&record)
            .attempt()
            .map_err(ReadError::attempt(format!("an attempt of {key}")))?;
        let mut found: BTreeMap<u32, StoredAttempt> = within
            .into_iter()
            .map(|attempt| (attempt.number(), attempt))
            .collect();
        let prefix = keys::attempts(key);
        for entry in tree.scan_prefix(&prefix).keys() {
            let entry = entry.map_err(ReadError::Read)?;
            if let Some(number) = keys::attempt_number(&entry, prefix.len())
                && !found.contains_key(&number)
                && let Some(attempt) = attempt_apart(tree, key, number).map_err(damaged(number))?
            {
                found.insert(number, attempt);
            }
        }
        found
            .into_iter()
            .map(|(number, attempt)| {
                let what = || format!("attempt {number} of {key}");
                let output = |part| {
                    let kept = blob::get(tree, &keys::attempt(key, number, part));
                    Ok::<Bytes, ReadError>(kept.map_err(ReadError::blob(what()))?.unwrap_or_default().into())
                };
                attempt
                    .with_outputs(output(AttemptPart::Stdout)?, output(AttemptPart::Stderr)?)
                    .map_err(ReadError::format(what()))
            })
            .collect()
    }

    /// The definition of that version.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn definition(&self, version: &Version) -> Result<Option<Definition>, ReadError> {
        let what = || format!("hook definition {version}");
        let bytes =
            blob::get(&self.shared.tree, &keys::definition(version)).map_err(ReadError::blob(what()))?;
        bytes
            .map(|bytes| format::read_definition(&bytes).map_err(ReadError::format(what())))
            .transpose()
    }

    /// The last `limit` lines of the audit log, newest first.
    ///
    /// # Errors
    /// When the store cannot be read or a line is damaged.
    pub fn audit(&self, limit: usize) -> Result<Vec<AuditEntry>, ReadError> {
        self.audit_before(None, limit)
    }

    /// The `limit` lines of the audit log that were written last before line `before`, newest first.
    ///
    /// # Errors
    /// When the store cannot be read or a line is damaged.
    pub fn audit_before(&self, before: Option<u64>, limit: usize) -> Result<Vec<AuditEntry>, ReadError> {
        let lines = self
            .below(keys::space(Space::Audit), before.map(keys::audit))
            .rev()
            .take(limit);
        lines
            .map(|entry| {
                let (key, bytes) = entry.map_err(ReadError::Read)?;
                let number = keys::number(&key).unwrap_or_default();
                format::read_audit(number, &bytes)
                    .map_err(ReadError::format(format!("line {number} of the audit log")))
            })
            .collect()
    }

    /// Attempts of which controllers are still to be told, in the order in which they ended.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn owed(&self) -> Result<Vec<Owed>, ReadError> {
        self.shared
            .tree
            .scan_prefix(keys::space(Space::Owed))
            .map(|entry| {
                let (key, bytes) = entry.map_err(ReadError::Read)?;
                let number = keys::number(&key).unwrap_or_default();
                format::read_owed(number, &bytes).map_err(ReadError::format(format!(
                    "number {number} of what is to be reported"
                )))
            })
            .collect()
    }

    /// What is known of sources' resources besides their states, by source. What cannot be read is as good as not known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn baselines(&self) -> Result<BTreeMap<Arc<str>, Baseline>, ReadError> {
        let mut baselines = BTreeMap::new();
        for entry in self.shared.tree.scan_prefix(keys::space(Space::Known)) {
            let (key, bytes) = entry.map_err(ReadError::Read)?;
            if let Some(source) = keys::source_of_baseline(&key)
                && let Ok(baseline) = format::read_baseline(&bytes)
            {
                baselines.insert(source.into(), baseline);
            }
        }
        Ok(baselines)
    }

    /// The last known state of each resource of a source, in no order. What cannot be read is as good as not known.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn known_states(&self, source: &str) -> Result<Vec<(ResourceId, StateNames)>, ReadError> {
        let prefix = keys::baseline(source);
        let mut known = Vec::new();
        for entry in self.shared.tree.scan_prefix(&prefix) {
            let (key, bytes) = entry.map_err(ReadError::Read)?;
            if let Some(id) = keys::resource_of_known(&key, &prefix)
                && let Ok(names) = format::read_state_names(&bytes)
            {
                known.push((id, names));
            }
        }
        Ok(known)
    }

    /// What is kept for a source, by name.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn bookmarks(&self, source: &str) -> Result<BTreeMap<String, Bytes>, ReadError> {
        let prefix = keys::bookmarks(source);
        let mut bookmarks = BTreeMap::new();
        for entry in self.shared.tree.scan_prefix(&prefix) {
            let (key, value) = entry.map_err(ReadError::Read)?;
            let name = String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default());
            bookmarks.insert(name.into_owned(), Bytes::copy_from_slice(&value));
        }
        Ok(bookmarks)
    }

    /// What became of the gap that an event records.
    ///
    /// # Errors
    /// When the store cannot be read or the record is damaged.
    pub fn gap_story(&self, record: Seq) -> Result<Option<GapStory>, ReadError> {
        let stored = self
            .shared
            .tree
            .get(keys::gap_story(record))
            .map_err(ReadError::Read)?;
        let what = || format!("what became of gap {record}");
        stored
            .map(|bytes| format::read_gap_story(&bytes).map_err(ReadError::format(what())))
            .transpose()
    }

    /// The overrides in force.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn overrides(&self) -> Result<BTreeMap<HookName, Override>, ReadError> {
        self.shared
            .tree
            .scan_prefix(keys::space(Space::Override))
            .map(|entry| {
                let (key, bytes) = entry.map_err(ReadError::Read)?;
                let name = HookName::trusted(&String::from_utf8_lossy(key.get(1..).unwrap_or_default()));
                let value = format::read_override(&bytes)
                    .map_err(ReadError::format(format!("the override of hook {name}")))?;
                Ok((name, value))
            })
            .collect()
    }

    /// The mutes in force, in no order.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn mutes(&self) -> Result<Vec<Mute>, ReadError> {
        let stored = self.shared.tree.scan_prefix(keys::space(Space::Mute)).values();
        stored
            .map(|bytes| {
                let bytes = bytes.map_err(ReadError::Read)?;
                format::read_mute(&bytes).map_err(ReadError::format("a mute"))
            })
            .collect()
    }

    /// When this front-end is last known to have led. None where it never did, or was not asked.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn led(&self) -> Result<Option<Timestamp>, ReadError> {
        let stored = self.shared.tree.get(keys::meta("led")).map_err(ReadError::Read)?;
        let millis = stored.and_then(|bytes| <[u8; 8]>::try_from(bytes.as_ref()).ok());
        Ok(millis.map(|millis| Timestamp::from_millis(i64::from_be_bytes(millis))))
    }

    /// Own events that are still to be told, at most `limit` of them. One whose record is damaged is said in the log
    /// and left where it is.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn untold(&self, limit: usize) -> Result<Vec<OwnEvent>, ReadError> {
        let mut untold = Vec::new();
        for key in self.shared.tree.scan_prefix(keys::space(Space::Untold)).keys() {
            if untold.len() >= limit {
                break;
            }
            let key = key.map_err(ReadError::Read)?;
            // The key ends with a NUL and the number of the piece; an event is read at its first one.
            let Some((identity, [0, 0, 0, 0, 0])) = key.split_last_chunk::<5>() else {
                continue;
            };
            let identity = String::from_utf8_lossy(identity.get(1..).unwrap_or_default());
            // Pieces that do not fit together are damage like any other, and keep no other event from being told.
            let document = match blob::get(&self.shared.tree, &keys::untold(&identity)) {
                Err(GetError::Sled(error)) => return Err(ReadError::Read(error)),
                document => document.ok().flatten(),
            };
            match document.map(|document| own::read(&document).facts) {
                Some(Facts::Own(own)) => untold.push(own),
                _ => {
                    tracing::error!(%identity, "the record of an own event that is still to be told is damaged")
                }
            }
        }
        Ok(untold)
    }

    /// The last good text of each hook file, and since when the file has been broken, if it is.
    ///
    /// # Errors
    /// When the store cannot be read or a record is damaged.
    pub fn last_good(&self) -> Result<BTreeMap<String, (String, Option<Timestamp>)>, ReadError> {
        let mut files = BTreeMap::new();
        for key in self.shared.tree.scan_prefix(keys::space(Space::LastGood)).keys() {
            let key = key.map_err(ReadError::Read)?;
            // The key ends with a NUL and the number of the piece.
            let Some(name) = key.get(1..key.len().saturating_sub(5)) else {
                continue;
            };
            let name = String::from_utf8_lossy(name).into_owned();
            if files.contains_key(&name) {
                continue;
            }
            let what = || format!("the last good text of {name}");
            let bytes =
                blob::get(&self.shared.tree, &keys::last_good(&name)).map_err(ReadError::blob(what()))?;
            let value =
                format::read_last_good(&bytes.unwrap_or_default()).map_err(ReadError::format(what()))?;
            files.insert(name, value);
        }
        Ok(files)
    }
}

impl EventQuery {
    /// Whether an event is among those asked for; the limit is the caller's.
    pub fn selects(&self, listed: &ListedEvent) -> bool {
        let event = &listed.event;
        let fits = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        fits(
            &self.subject,
            event.subject.as_ref().map(|subject| subject.as_str()),
        ) && fits(&self.source, Some(&event.source))
            && self
                .key
                .as_ref()
                .is_none_or(|part| event.key.contains(part.as_str()))
            && self.kind.is_none_or(|kind| kind == event.kind())
            && (!self.unmatched || listed.hooks.is_empty())
            && self.since.is_none_or(|since| event.received >= since)
            && self.until.is_none_or(|until| event.received <= until)
    }
}

impl ExecutionQuery {
    /// Whether an execution is among those asked for; the limit is the caller's.
    pub fn selects(&self, execution: &Execution) -> bool {
        self.hook.as_ref().is_none_or(|hook| *hook == execution.key.hook)
            && self
                .status
                .as_deref()
                .is_none_or(|status| status == execution.progress.state.name())
            && self.subject.as_deref().is_none_or(|wanted| {
                execution
                    .subject
                    .as_ref()
                    .is_some_and(|found| found.as_str() == wanted)
            })
            && self
                .source
                .as_deref()
                .is_none_or(|wanted| *execution.source == *wanted)
            && self.since.is_none_or(|since| execution.accepted >= since)
            && self.until.is_none_or(|until| execution.accepted <= until)
    }
}
