//! `hem export`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tempfile::NamedTempFile;

use super::backend::{Backend, Export};
use super::exit::{Exit, Failure};
use super::{Global, Outcome, output, when};
use crate::control::api::{ExportFilter, StateView, Time};

/// Write records as lines of JSON: a backup, a way to another machine, food for other programs
///
/// One line for each event, execution, attempt and line of the audit log, oldest first; the first line says what the file is,
/// the last one that it is whole. `hem import-records` reads it. Passwords and tokens are blotted out unless --reveal says
/// otherwise.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem export --output records.jsonl
  hem export --since yesterday --status failed | jq 'select(.type == \"attempt\")'
  hem export --offline --reveal --output move.jsonl     # everything, for another machine")]
pub(super) struct Arguments {
    /// Only events received since then, and what they caused: 10m, 2h ago, today, 2026-11-22 02:00
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    since: Option<Time>,
    /// Only events received until then, and what they caused
    #[arg(long, value_name = "TIME", value_parser = when::instant)]
    until: Option<Time>,
    /// Only executions of this hook, with their events
    #[arg(long)]
    hook: Option<String>,
    /// Only executions in this state, with their events
    #[arg(long, value_parser = StateView::NAMES)]
    status: Option<String>,
    /// Events alone
    #[arg(long, conflicts_with = "executions")]
    events: bool,
    /// Executions alone, with their attempts; such a file cannot be imported
    #[arg(long)]
    executions: bool,
    /// Show passwords and tokens; written to the audit log
    #[arg(long)]
    reveal: bool,
    /// The file to write, with mode 0600; it gets its name once it is whole [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Open the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let filter = ExportFilter {
        since: arguments.since,
        until: arguments.until,
        hook: arguments.hook,
        status: arguments.status,
        events: arguments.events,
        executions: arguments.executions,
        reveal: arguments.reveal,
    };
    let mut export = Backend::export(&global, arguments.offline, filter).await?;
    let unreadable = match &arguments.output {
        None => {
            let mut out = BufWriter::new(io::stdout().lock());
            let (_, unreadable) = write(&mut export, &mut out, Failure::Output).await?;
            out.flush()?;
            unreadable
        }
        Some(path) => {
            let mut out = BufWriter::new(beside(path)?);
            let failed = |error: io::Error| cannot_write(path, &error);
            let (lines, unreadable) = write(&mut export, &mut out, failed).await?;
            let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
            finish(file, path).map_err(failed)?;
            output::say(&format!("{} lines in {}", output::count(lines), path.display()));
            unreadable
        }
    };
    if unreadable > 0 {
        return Err(Failure::new(
            Exit::Failed,
            format!("{unreadable} records could not be read; the lines of type `unreadable` name them"),
        )
        .with_hint("`hem store salvage` keeps what is readable of a damaged store"));
    }
    Ok(Exit::Ok)
}

/// Writes the lines; returns how many, and how many of them tell of a record that could not be read.
async fn write(
    export: &mut Export,
    out: &mut impl io::Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<(u64, u64), Failure> {
    let (mut lines, mut unreadable, mut is_whole) = (0, 0, false);
    while let Some(line) = export.next().await? {
        out.write_all(&line).map_err(&failed)?;
        lines += 1;
        // The kind of a line stands at its beginning.
        is_whole = line.starts_with(br#"{"type":"end""#);
        unreadable += u64::from(line.starts_with(br#"{"type":"unreadable""#));
    }
    if is_whole {
        return Ok((lines, unreadable));
    }
    Err(Failure::new(
        Exit::NotReachable,
        "the daemon ended the export before it was whole",
    ))
}

fn beside(path: &Path) -> Result<NamedTempFile, Failure> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    NamedTempFile::new_in(folder).map_err(|error| cannot_write(path, &error))
}

fn finish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    let file: File = file.persist(path)?;
    file.sync_all()
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("cannot write `{}`: {error}", path.display()),
    )
}
