//! Records that `hem export` wrote, taken into a store that no daemon has.
//!
//! What comes in is history under its old numbers. A file is read twice: the first time to its end, so that a broken line
//! is found before anything is written. What is there already is never replaced, so importing twice changes nothing, and
//! an import that was cut short is finished by doing it again.
//!
//! * `records`: lines, in order, as records.
//! * `values`: from the interface's types to the engine's.

mod records;
#[cfg(test)]
mod tests;
mod values;

use std::fs::File;
use std::io::{self, BufReader, Seek as _};
use std::path::Path;

use self::records::{Header, Record, Records};
use super::api::{EXPORT_FORMAT, ImportReply};
use crate::engine::execution::{Actor, Execution};
use crate::event::id::Seq;
use crate::store::import::{AdoptError, Imported, Importer, TakeError};
use crate::store::writer::Closed;
use crate::store::{OpenError, ReadError, Store};

/// Why nothing was imported, or not everything.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Read(#[source] io::Error),
    /// A line is not what it should be. Nothing was imported.
    #[error("line {line} {fault}; nothing was imported")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it.
        fault: LineFault,
    },
    /// The file has no end. Nothing was imported.
    #[error(
        "the file is cut off behind line {lines}: the line that says how many there are is missing; nothing was imported"
    )]
    CutOff {
        /// The lines there are.
        lines: u64,
    },
    /// It was written by a newer program.
    #[error(
        "the file has format {found}; this hem reads up to {EXPORT_FORMAT}: use the hem that wrote it, or a newer one"
    )]
    Newer {
        /// Its format.
        found: u32,
    },
    /// Work cannot be taken over without what its scripts need.
    #[error(
        "passwords and tokens are blotted out in this file: what is still to be done would run without them"
    )]
    Redacted,
    /// The store does not take these records.
    #[error("cannot import into the store")]
    Adopt(#[from] AdoptError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// The store cannot be written. What was imported stays, and importing again goes on behind it.
    #[error("cannot write the store; {events} events and {executions} executions came in")]
    Write {
        /// Events written so far.
        events: u64,
        /// Executions written so far.
        executions: u64,
        /// Why.
        source: Closed,
    },
}

impl ImportError {
    /// Whether a daemon has the store.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Adopt(AdoptError::Open(OpenError::InUse { .. })))
    }

    /// Whether the store is what keeps the records out, and not the file.
    pub fn is_about_the_store(&self) -> bool {
        matches!(self, Self::Adopt(_) | Self::Store(_) | Self::Write { .. })
    }
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// It cannot be read.
    #[error("is no line of an export: {0}")]
    Json(serde_json::Error),
    /// It is longer than anything that was written.
    #[error("is longer than 256 MiB")]
    TooLong,
    /// The first line is another one.
    #[error("should say what the file is (`\"type\":\"export\"`)")]
    NoHeader,
    /// A value cannot stand there.
    #[error("has `{value}` for its {field}")]
    Value {
        /// What it is the value of.
        field: &'static str,
        /// The value.
        value: String,
    },
    /// It does not follow what stands before it.
    #[error("is out of place: {0}")]
    Order(&'static str),
    /// The end counts other lines than there are.
    #[error("says that {said} lines stand before it")]
    Count {
        /// The number it says.
        said: u64,
    },
    /// What is still to be done refers to a hook that is not there.
    #[error("is still to be done, and the definition of its hook is missing")]
    NoDefinition,
}

/// How records are taken over.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImportOptions {
    /// What had not reached its end is taken over as well, and run by the next daemon.
    pub with_unsettled: bool,
    /// Only the file is checked.
    pub dry_run: bool,
}

/// Takes the records of `file` into the store in `folder`, which is made where there is none. `said` is what the audit log
/// names as their origin.
///
/// # Errors
/// See [`ImportError`].
pub async fn import(
    folder: &Path,
    file: &mut File,
    said: &str,
    options: ImportOptions,
) -> Result<ImportReply, ImportError> {
    let (header, found) = check(file, options)?;
    if options.dry_run {
        return Ok(found);
    }
    let importer = Importer::open(folder, &header.store)?;
    let taken = take(importer, header, file, said, options).await?;
    Ok(ImportReply {
        unreadable: found.unreadable,
        left_out: found.left_out,
        ..taken
    })
}

/// Reads everything and counts what would be taken over.
fn check(file: &mut File, options: ImportOptions) -> Result<(Header, ImportReply), ImportError> {
    let (header, mut records) = open(file)?;
    if options.with_unsettled && header.redacted {
        return Err(ImportError::Redacted);
    }
    let mut found = ImportReply {
        store: header.store.to_string(),
        ..ImportReply::default()
    };
    while let Some((line, record)) = records.next()? {
        match record {
            Record::Event { .. } => found.events += 1,
            Record::Execution { execution, .. } if is_taken(&execution, options) => {
                found.executions += 1;
                if !execution.progress.state.is_settled() {
                    found.unsettled += 1;
                    if !records.has_defined(&execution.progress.version) {
                        let fault = LineFault::NoDefinition;
                        return Err(ImportError::Line { line, fault });
                    }
                }
            }
            Record::Execution { .. } => found.left_out += 1,
            Record::Audit(_) => found.audit += 1,
            Record::Unreadable => found.unreadable += 1,
            Record::Override(..) | Record::Mute(_) | Record::Definition(..) => {}
        }
    }
    Ok((header, found))
}

fn open(file: &mut File) -> Result<(Header, Records<BufReader<&mut File>>), ImportError> {
    file.rewind().map_err(ImportError::Read)?;
    Records::open(BufReader::with_capacity(1 << 20, file))
}

fn is_taken(execution: &Execution, options: ImportOptions) -> bool {
    execution.progress.state.is_settled() || options.with_unsettled
}

/// Writes what the store does not have yet.
async fn take(
    importer: Importer,
    header: Header,
    file: &mut File,
    said: &str,
    options: ImportOptions,
) -> Result<ImportReply, ImportError> {
    let mut taken = ImportReply {
        store: header.store.to_string(),
        ..ImportReply::default()
    };
    importer
        .adopt(header.counters)
        .await
        .map_err(|error| match error {
            TakeError::Read(error) => ImportError::Store(error),
            TakeError::Write(closed) => failed(&taken)(closed),
        })?;
    let (_, mut records) = open(file)?;
    while let Some((_, record)) = records.next()? {
        take_one(&importer, record, options, &mut taken).await?;
    }
    let is_something = taken.events + taken.executions + taken.audit > 0;
    let target = is_something.then(|| {
        format!(
            "{} events and {} executions of {said}",
            taken.events, taken.executions
        )
    });
    let uid = nix::unistd::getuid().as_raw();
    importer
        .finish(Actor::User { uid }, target)
        .await
        .map_err(failed(&taken))?;
    Ok(taken)
}

async fn take_one(
    importer: &Importer,
    record: Record,
    options: ImportOptions,
    taken: &mut ImportReply,
) -> Result<(), ImportError> {
    let store = importer.store();
    match record {
        Record::Override(hook, value) => {
            if !store.overrides()?.contains_key(&hook) {
                importer
                    .write_override(hook, value)
                    .await
                    .map_err(failed(taken))?;
            }
        }
        Record::Mute(mute) => {
            if store.mutes()?.iter().all(|there| there.scope != mute.scope) {
                importer.write_mute(mute).await.map_err(failed(taken))?;
            }
        }
        Record::Definition(version, definition) => {
            if store.definition(&version)?.is_none() {
                write(importer, vec![Imported::Definition(version, definition)], taken).await?;
            }
        }
        Record::Event { listed, keep_payload } => {
            if has_event(store, listed.event.seq)? {
                taken.already_there += 1;
            } else {
                write(importer, vec![Imported::Event { listed, keep_payload }], taken).await?;
                taken.events += 1;
            }
        }
        Record::Execution { execution, .. } if !is_taken(&execution, options) => {}
        Record::Execution { execution, attempts } => {
            if store.execution(&execution.key)?.is_some() {
                taken.already_there += 1;
            } else {
                let is_settled = execution.progress.state.is_settled();
                importer
                    .write_execution(*execution, attempts)
                    .await
                    .map_err(failed(taken))?;
                taken.executions += 1;
                taken.unsettled += u64::from(!is_settled);
            }
        }
        Record::Audit(entry) => {
            let there = store.audit_after(entry.number - 1, 1)?;
            if there.first().is_some_and(|line| line.number == entry.number) {
                taken.already_there += 1;
            } else {
                write(importer, vec![Imported::Audit(entry)], taken).await?;
                taken.audit += 1;
            }
        }
        Record::Unreadable => {}
    }
    Ok(())
}

async fn write(importer: &Importer, records: Vec<Imported>, taken: &ImportReply) -> Result<(), ImportError> {
    importer.write(records).await.map_err(failed(taken))
}

fn failed(taken: &ImportReply) -> impl FnOnce(Closed) -> ImportError {
    let (events, executions) = (taken.events, taken.executions);
    move |source| ImportError::Write {
        events,
        executions,
        source,
    }
}

fn has_event(store: &Store, seq: Seq) -> Result<bool, ReadError> {
    match store.events_from(seq).next() {
        Some(Ok(listed)) => Ok(listed.event.seq == seq),
        // One that cannot be read is there all the same; what is wrong with others is not asked here.
        Some(Err((found, _))) => Ok(found == seq),
        None => Ok(false),
    }
}
