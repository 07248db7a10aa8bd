//! Lines as records, each checked for itself and against what stands before it.

use std::collections::HashSet;
use std::io::{BufRead, Read as _};

use super::values;
use super::{ImportError, LineFault};
use crate::control::api::{EXPORT_FORMAT, ExportHeader, ExportLine};
use crate::engine::execution::{Attempt, Execution, State};
use crate::engine::mute::Mute;
use crate::event::id::{HookName, Seq, StoreId};
use crate::hooks::Version;
use crate::store::import::Counters;
use crate::store::{AuditEntry, Definition, ListedEvent, Override};

/// The longest line that is read: a document of some ten megabytes in base64 has room in it many times over.
const LONGEST: u64 = 256 << 20;

/// What the first line says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) store: StoreId,
    pub(super) redacted: bool,
    pub(super) counters: Counters,
}

/// What stands in a line, or in several that belong together.
#[derive(Debug)]
pub(super) enum Record {
    Override(HookName, Override),
    Mute(Mute),
    Definition(Version, Definition),
    Event {
        listed: Box<ListedEvent>,
        keep_payload: bool,
    },
    Execution {
        execution: Box<Execution>,
        attempts: Vec<Attempt>,
    },
    Audit(AuditEntry),
    Unreadable,
}

/// Reads records one by one.
#[derive(Debug)]
pub(super) struct Records<R> {
    source: R,
    /// Lines read.
    read: u64,
    store: StoreId,
    /// The line that was read to see whether it still belongs to an execution.
    next: Option<ExportLine>,
    event: Option<Seq>,
    hook: Option<HookName>,
    audit: u64,
    defined: HashSet<Version>,
}

impl<R: BufRead> Records<R> {
    /// Reads the first line.
    pub(super) fn open(source: R) -> Result<(Header, Self), ImportError> {
        let mut records = Self {
            source,
            read: 0,
            // The header says which it is.
            store: values::no_store(),
            next: None,
            event: None,
            hook: None,
            audit: 0,
            defined: HashSet::new(),
        };
        let Some(text) = records.text()? else {
            return Err(ImportError::CutOff { lines: 0 });
        };
        // A newer format may look otherwise in all but this.
        let format = serde_json::from_slice::<serde_json::Value>(&text)
            .ok()
            .filter(|line| line["type"] == "export")
            .and_then(|line| line["format"].as_u64());
        let Some(format) = format else {
            return Err(records.fault(LineFault::NoHeader));
        };
        let format = u32::try_from(format).unwrap_or(u32::MAX);
        if format > EXPORT_FORMAT {
            return Err(ImportError::Newer { found: format });
        }
        let header = match serde_json::from_slice(&text) {
            Ok(ExportLine::Export(header)) => *header,
            Ok(_) => return Err(records.fault(LineFault::NoHeader)),
            Err(error) => return Err(records.fault(LineFault::Json(error))),
        };
        let header = read_header(header).map_err(|fault| records.fault(fault))?;
        records.store = header.store.clone();
        Ok((header, records))
    }

    /// Whether the definition of this version stood in the lines read so far.
    pub(super) fn has_defined(&self, version: &Version) -> bool {
        self.defined.contains(version)
    }

    /// The next record, with the number of its line; none at the end of a file that has one.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Record)>, ImportError> {
        let Some(line) = self.line()? else {
            return Err(ImportError::CutOff { lines: self.read });
        };
        let number = self.read;
        if let ExportLine::End { lines } = line {
            if lines != number - 1 {
                return Err(self.fault(LineFault::Count { said: lines }));
            }
            return match self.text()? {
                None => Ok(None),
                Some(_) => Err(self.fault(LineFault::Order("the file has ended"))),
            };
        }
        let record = self.record(line)?;
        Ok(Some((number, record)))
    }

    fn record(&mut self, line: ExportLine) -> Result<Record, ImportError> {
        let record = match line {
            ExportLine::Export(_) | ExportLine::End { .. } => Err(LineFault::Order("the file has begun")),
            ExportLine::Override(line) => {
                values::override_(&line).map(|(hook, value)| Record::Override(hook, value))
            }
            ExportLine::Mute(line) => values::mute(line).map(Record::Mute),
            ExportLine::Definition(line) => values::definition(*line).map(|(version, definition)| {
                self.defined.insert(version);
                Record::Definition(version, definition)
            }),
            ExportLine::Event(line) => {
                values::event(&self.store, *line).and_then(|(listed, keep_payload)| {
                    if self.event.is_some_and(|before| listed.event.seq <= before) {
                        return Err(LineFault::Order(
                            "an event with this or a greater number stands before it",
                        ));
                    }
                    self.event = Some(listed.event.seq);
                    self.hook = None;
                    Ok(Record::Event {
                        listed: Box::new(listed),
                        keep_payload,
                    })
                })
            }
            ExportLine::Execution(line) => match values::execution(&self.store, *line) {
                Ok(execution) => return self.with_attempts(execution),
                Err(fault) => Err(fault),
            },
            ExportLine::Attempt(_) => Err(LineFault::Order("its execution does not stand before it")),
            ExportLine::Audit(line) => values::audit(&line).and_then(|entry| {
                if entry.number <= self.audit {
                    return Err(LineFault::Order(
                        "a line of the audit log with this or a greater number stands before it",
                    ));
                }
                self.audit = entry.number;
                Ok(Record::Audit(entry))
            }),
            ExportLine::Unreadable { .. } => Ok(Record::Unreadable),
        };
        record.map_err(|fault| self.fault(fault))
    }

    /// The execution with the attempts that follow it.
    fn with_attempts(&mut self, execution: Execution) -> Result<Record, ImportError> {
        if self.event != Some(execution.key.event) {
            return Err(self.fault(LineFault::Order("its event does not stand before it")));
        }
        if self
            .hook
            .as_ref()
            .is_some_and(|before| *before >= execution.key.hook)
        {
            return Err(self.fault(LineFault::Order(
                "the executions of an event stand in the order of their hooks",
            )));
        }
        self.hook = Some(execution.key.hook.clone());
        let mut attempts: Vec<Attempt> = Vec::new();
        while let Some(line) = self.line()? {
            let ExportLine::Attempt(line) = line else {
                // It has been counted, and is looked at next.
                self.read -= 1;
                self.next = Some(line);
                break;
            };
            let attempt = values::attempt(&execution.key, *line).map_err(|fault| self.fault(fault))?;
            let is_next = attempts.last().map_or(0, |before| before.number) < attempt.number;
            if !is_next || attempt.number > execution.progress.attempts {
                return Err(self.fault(LineFault::Order(
                    "attempts are numbered from 1 up to what the execution says",
                )));
            }
            attempts.push(attempt);
        }
        if let State::Running { attempt, .. } = execution.progress.state
            && attempts.last().map(|last| last.number) != Some(attempt)
        {
            return Err(self.fault(LineFault::Order(
                "the attempt that runs is missing behind its execution",
            )));
        }
        Ok(Record::Execution {
            execution: Box::new(execution),
            attempts,
        })
    }

    fn line(&mut self) -> Result<Option<ExportLine>, ImportError> {
        if let Some(line) = self.next.take() {
            self.read += 1;
            return Ok(Some(line));
        }
        let Some(text) = self.text()? else {
            return Ok(None);
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| self.fault(LineFault::Json(error)))
    }

    /// The text of the next line.
    fn text(&mut self) -> Result<Option<Vec<u8>>, ImportError> {
        let mut text = Vec::new();
        let length = (&mut self.source)
            .take(LONGEST + 1)
            .read_until(b'\n', &mut text)
            .map_err(ImportError::Read)?;
        if length == 0 {
            return Ok(None);
        }
        self.read += 1;
        if length as u64 > LONGEST {
            return Err(self.fault(LineFault::TooLong));
        }
        Ok(Some(text))
    }

    fn fault(&self, fault: LineFault) -> ImportError {
        ImportError::Line {
            line: self.read,
            fault,
        }
    }
}

fn read_header(header: ExportHeader) -> Result<Header, LineFault> {
    let store = header.store.parse().map_err(|_| LineFault::Value {
        field: "store",
        value: header.store.clone(),
    })?;
    let counters = Counters {
        last_seq: values::number("last_seq", header.last_seq)?,
        last_audit: values::number("last_audit", header.last_audit)?,
        events: header
            .events
            .iter()
            .map(|(source, sums)| (source.clone(), values::counters(sums)))
            .collect(),
        condition_errors: header.condition_errors,
        absent_elements: header.absent_elements,
    };
    Ok(Header {
        store,
        redacted: header.redacted,
        counters,
    })
}
