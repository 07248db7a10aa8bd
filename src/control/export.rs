//! A store's records as lines of JSON, oldest first, a chunk at a time: nothing is gathered in memory.

use std::collections::HashSet;

use super::api::{
    AttemptLine, DefinitionLine, EXPORT_FORMAT, EventLine, ExecutionLine, ExportFilter, ExportHeader,
    ExportLine, MuteLine, OverrideLine, Time,
};
use super::query::{QueryError, execution_query};
use super::veil::Veil;
use super::{convert, mutes};
use crate::engine::execution::{Actor, Attempt, Execution};
use crate::event::id::{ExecutionKey, Seq};
use crate::event::redaction::Redaction;
use crate::event::time::Timestamp;
use crate::event::{Event, Facts};
use crate::hooks::Version;
use crate::store::{ExecutionQuery, ListedEvent, ReadError, Store};

/// A chunk is handed out once it is as large as this, in bytes.
const CHUNK: usize = 256 << 10;

/// Events looked at for one chunk at most, so that one of which nothing is asked for ends soon all the same.
const LOOKED_AT: usize = 1_000;

/// Lines of the audit log read together.
const AUDIT_LINES: usize = 1_000;

/// Writes an export.
#[derive(Debug)]
pub struct Exporter {
    store: Store,
    veil: Veil,
    filter: ExportFilter,
    /// What is asked of executions.
    query: ExecutionQuery,
    stage: Stage,
    /// What is accepted from now on is not waited for.
    last_seq: Seq,
    defined: HashSet<Version>,
    /// The chunk that is being filled, and the lines written in all.
    chunk: Vec<u8>,
    lines: u64,
    /// The chunk that lines are given of, and how much of it was given.
    whole: Vec<u8>,
    given: usize,
}

/// What comes next.
#[derive(Debug)]
enum Stage {
    Header,
    Events { from: Seq },
    Audit { after: u64 },
    End,
    Done,
}

impl Exporter {
    /// An export of what `filter` asks for, of which `veil` hides its part.
    ///
    /// # Errors
    /// The filter names an unknown state.
    pub(super) fn new(store: Store, veil: Veil, filter: ExportFilter) -> Result<Self, QueryError> {
        let query = ExecutionQuery {
            hook: filter.hook.as_deref().map(crate::event::id::HookName::trusted),
            ..execution_query(&super::api::ExecutionFilter {
                status: filter.status.clone(),
                ..Default::default()
            })?
        };
        Ok(Self {
            last_seq: store.summary().last_seq,
            store,
            veil,
            filter,
            query,
            stage: Stage::Header,
            defined: HashSet::new(),
            chunk: Vec::new(),
            lines: 0,
            whole: Vec::new(),
            given: 0,
        })
    }

    /// An export of a store that no daemon has. Secrets that are shown are written to its audit log first.
    ///
    /// # Errors
    /// The filter names an unknown state; the audit log cannot be written.
    pub async fn offline(
        store: Store,
        redaction: Redaction,
        filter: ExportFilter,
    ) -> Result<Self, QueryError> {
        let veil = if filter.reveal {
            let uid = nix::unistd::getuid().as_raw();
            crate::store::offline::log_reveal(&store, Actor::User { uid }, "export")
                .await
                .map_err(|error| QueryError::Question {
                    message: format!("the audit log cannot be written: {error}"),
                    hint: None,
                })?;
            Veil::lifted()
        } else {
            Veil::new(redaction)
        };
        Self::new(store, veil, filter)
    }

    /// The next lines; none when all were given.
    pub fn next_chunk(&mut self) -> Option<Vec<u8>> {
        while self.chunk.len() < CHUNK {
            match self.stage {
                Stage::Header => self.header(),
                Stage::Events { from } => {
                    self.stage = self.events(from);
                    // Whoever waits sees that it goes on.
                    if !self.chunk.is_empty() {
                        break;
                    }
                }
                Stage::Audit { after } => self.stage = self.audit(after),
                Stage::End => {
                    let lines = self.lines;
                    self.line(&ExportLine::End { lines });
                    self.stage = Stage::Done;
                }
                Stage::Done => break,
            }
        }
        (!self.chunk.is_empty()).then(|| std::mem::take(&mut self.chunk))
    }

    /// The next line, with its end; none when all were given.
    pub fn next_line(&mut self) -> Option<Vec<u8>> {
        if self.given >= self.whole.len() {
            self.whole = self.next_chunk()?;
            self.given = 0;
        }
        let rest = self.whole.get(self.given..)?;
        let end = rest.iter().position(|byte| *byte == b'\n')? + 1;
        let line = rest.get(..end)?.to_vec();
        self.given += end;
        Some(line)
    }

    fn line(&mut self, line: &ExportLine) {
        // Lines are plain data with text for keys, and a vector takes what is written to it.
        let _ = serde_json::to_writer(&mut self.chunk, line);
        self.chunk.push(b'\n');
        self.lines += 1;
    }

    fn unread(&mut self, what: String, why: &ReadError) {
        let mut words = why.to_string();
        let mut cause = std::error::Error::source(why);
        while let Some(error) = cause {
            words = format!("{words}: {error}");
            cause = error.source();
        }
        self.line(&ExportLine::Unreadable { what, why: words });
    }

    fn header(&mut self) {
        let summary = self.store.summary();
        let header = ExportHeader {
            format: EXPORT_FORMAT,
            store: self.store.id().to_string(),
            hem: env!("CARGO_PKG_VERSION").to_owned(),
            made: Time(Timestamp::now()),
            redacted: !self.veil.is_lifted(),
            complete: self.filter.is_everything(),
            last_seq: self.last_seq.0,
            last_audit: summary.last_audit,
            events: summary
                .events
                .iter()
                .map(|(source, counters)| (source.clone(), convert::sums(counters)))
                .collect(),
            condition_errors: summary.condition_errors,
            absent_elements: summary.absent_elements,
        };
        self.line(&ExportLine::Export(Box::new(header)));
        if self.filter.is_everything() {
            match self.store.overrides() {
                Ok(overrides) => {
                    for (hook, value) in overrides {
                        self.line(&ExportLine::Override(OverrideLine {
                            hook: hook.to_string(),
                            said: convert::override_(&value),
                        }));
                    }
                }
                Err(error) => self.unread("the overrides".to_owned(), &error),
            }
            match self.store.mutes() {
                Ok(mutes) => {
                    for mute in mutes {
                        let mut view = mutes::view(&mute);
                        self.veil.mute(&mut view);
                        self.line(&ExportLine::Mute(MuteLine {
                            mute: view,
                            length_ms: mute.until.map(|until| convert::millis(until.length)),
                        }));
                    }
                }
                Err(error) => self.unread("the mutes".to_owned(), &error),
            }
        }
        self.stage = Stage::Events { from: Seq(1) };
    }

    /// Writes events from this number on until the chunk is full; says what comes next.
    fn events(&mut self, from: Seq) -> Stage {
        for (looked_at, found) in self.store.events_from(from).enumerate() {
            let seq = match &found {
                Ok(listed) => listed.event.seq,
                Err((seq, _)) => *seq,
            };
            if seq > self.last_seq {
                break;
            }
            if looked_at >= LOOKED_AT || self.chunk.len() >= CHUNK {
                return Stage::Events { from: seq };
            }
            match found {
                Ok(listed) => self.story(&listed),
                Err((seq, error)) => self.unread(format!("event {seq}"), &error),
            }
        }
        // Orders belong to no event.
        let orders = self.filter.hook.is_none()
            && self.filter.status.is_none()
            && !self.filter.events
            && !self.filter.executions;
        if orders {
            Stage::Audit { after: 0 }
        } else {
            Stage::End
        }
    }

    /// An event and all it caused, as far as it is asked for.
    fn story(&mut self, listed: &ListedEvent) {
        let seq = listed.event.seq;
        let is_in_time = self
            .filter
            .since
            .is_none_or(|since| listed.event.received >= since.0)
            && self
                .filter
                .until
                .is_none_or(|until| listed.event.received <= until.0);
        if !is_in_time {
            return;
        }
        let _held = self.store.hold(seq);
        let executions = match self.store.executions_of(seq) {
            Ok(executions) => executions,
            Err(error) => {
                self.unread(format!("the executions of event {seq}"), &error);
                Vec::new()
            }
        };
        let are_chosen = self.query.hook.is_some() || self.query.status.is_some();
        let executions: Vec<Execution> = executions
            .into_iter()
            .filter(|execution| self.query.selects(execution))
            .collect();
        if executions.is_empty() && (are_chosen || self.filter.executions) {
            return;
        }
        let event = match self.store.event(seq) {
            Ok(Some(listed)) => listed,
            // Pruned a moment ago.
            Ok(None) => return,
            Err(error) => return self.unread(format!("event {seq}"), &error),
        };
        if !self.filter.events {
            for execution in &executions {
                self.define(&execution.key, execution.progress.version);
            }
        }
        if !self.filter.executions {
            let line = self.event(&event);
            self.line(&ExportLine::Event(Box::new(line)));
        }
        if self.filter.events {
            return;
        }
        let call = match &event.event.facts {
            Facts::Api(api) => Some(api.call.as_str()),
            _ => None,
        };
        let veil = self.veil.over(event.event.payload.bytes());
        for execution in &executions {
            self.execution(execution, call, &veil);
        }
    }

    fn event(&self, listed: &ListedEvent) -> EventLine {
        let Event { facts, payload, .. } = &listed.event;
        let mut event = convert::event(self.store.id(), listed);
        self.veil.event(&mut event);
        let was_kept = !payload.bytes().is_empty() || listed.payload_len == 0;
        if was_kept {
            let shown = self.veil.document(payload.bytes());
            event.payload_len = shown.len() as u64;
            event.payload = Some(convert::text(&shown));
        }
        EventLine {
            event,
            retry_arguments: match facts {
                Facts::Retry(retry) => Some(self.veil.argument(&retry.arguments)),
                _ => None,
            },
            lost_keys: match facts {
                Facts::Gap(gap) => gap.keys.iter().map(|key| self.veil.text(key)).collect(),
                _ => Vec::new(),
            },
        }
    }

    fn execution(&mut self, execution: &Execution, call: Option<&str>, veil: &Veil) {
        let key = &execution.key;
        let attempts = match self.store.attempts(key) {
            Ok(attempts) => attempts,
            Err(error) => {
                self.unread(format!("the attempts of {key}"), &error);
                Vec::new()
            }
        };
        // An attempt may have run another version than the one that matched.
        for process in attempts.iter().filter_map(|attempt| attempt.process.as_ref()) {
            self.define(key, process.version);
        }
        let mut view = convert::execution(self.store.id(), execution);
        veil.execution(&mut view);
        self.line(&ExportLine::Execution(Box::new(ExecutionLine {
            execution: view,
            turn: execution.progress.turn,
        })));
        for attempt in &attempts {
            let line = self.attempt(key, attempt, call, veil);
            self.line(&ExportLine::Attempt(Box::new(line)));
        }
    }

    fn attempt(&self, key: &ExecutionKey, attempt: &Attempt, call: Option<&str>, veil: &Veil) -> AttemptLine {
        let mut view = convert::attempt(attempt);
        veil.attempt(&mut view, call);
        let arguments = attempt
            .process
            .as_ref()
            .and_then(|process| process.arguments_sha256);
        AttemptLine {
            execution: key.to_string(),
            attempt: view,
            arguments_sha256: arguments
                .filter(|_| self.veil.is_lifted())
                .map(|sum| convert::hex(&sum)),
        }
    }

    fn define(&mut self, key: &ExecutionKey, version: Version) {
        if !self.defined.insert(version) {
            return;
        }
        match self.store.definition(&version) {
            Ok(Some(found)) => {
                let mut definition = convert::definition(&version, &found);
                self.veil.definition(&mut definition);
                self.line(&ExportLine::Definition(Box::new(DefinitionLine {
                    hook: found.name.to_string(),
                    definition,
                })));
            }
            Ok(None) => {}
            Err(error) => self.unread(format!("the definition of {key}"), &error),
        }
    }

    /// Writes lines of the audit log behind this number; says what comes next.
    fn audit(&mut self, after: u64) -> Stage {
        let entries = match self.store.audit_after(after, AUDIT_LINES) {
            Ok(entries) => entries,
            Err(error) => {
                self.unread("the audit log".to_owned(), &error);
                return Stage::End;
            }
        };
        let Some(last) = entries.last().map(|entry| entry.number) else {
            return Stage::End;
        };
        for entry in &entries {
            let is_in_time = self.filter.since.is_none_or(|since| entry.at >= since.0)
                && self.filter.until.is_none_or(|until| entry.at <= until.0);
            if is_in_time {
                let mut view = convert::audit(entry);
                self.veil.audit(&mut view);
                self.line(&ExportLine::Audit(view));
            }
        }
        Stage::Audit { after: last }
    }
}
