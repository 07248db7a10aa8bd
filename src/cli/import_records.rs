//! `hem import-records`.

use std::fs::File;
use std::io::{self, Seek as _};
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::control::api::ImportReply;
use crate::control::import::{ImportError, ImportOptions, import};

/// Take over records that `hem export` wrote; the daemon must not run
///
/// They become history under their old numbers: nothing runs for them. An empty store, or a folder without one, takes on the id
/// of the store they come from, and new events are numbered behind them; a store that has records of another one refuses them.
/// What is there already stays as it is, so importing twice changes nothing. A broken line is named, and then nothing is
/// imported.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem import-records records.jsonl
  ssh old-machine hem export --offline --reveal | hem import-records - --with-unsettled
  hem import-records records.jsonl --dry-run")]
pub(super) struct Arguments {
    /// What `hem export` wrote; - for standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where the store lives, instead of state_dir
    #[arg(long, value_name = "FOLDER")]
    state_dir: Option<PathBuf>,
    /// Take over what had not reached its end as well: the next daemon runs it. The store it comes from must not be used any more
    #[arg(long)]
    with_unsettled: bool,
    /// Read and check the file, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let folder = match arguments.state_dir {
        Some(folder) => folder,
        None => global.config()?.state_dir,
    };
    let (mut file, name) = open(&arguments.file)?;
    let options = ImportOptions {
        with_unsettled: arguments.with_unsettled,
        dry_run: arguments.dry_run,
    };
    let reply = import(&folder, &mut file, &name, options)
        .await
        .map_err(|error| failure(&error))?;
    if global.json {
        output::print_json(&reply)?;
    } else {
        output::print(&in_words(&reply, options))?;
    }
    Ok(Exit::Ok)
}

/// The file, and what it is called. It is read twice, so what comes from a pipe is written down first.
fn open(path: &Path) -> Result<(File, String), Failure> {
    let name = path.display().to_string();
    let unreadable = |error: &io::Error| Failure::new(Exit::Failed, format!("cannot read `{name}`: {error}"));
    let mut file = if path.as_os_str() == "-" {
        None
    } else {
        Some(File::open(path).map_err(|error| unreadable(&error))?)
    };
    let is_file = match &file {
        Some(file) => file.metadata().map_err(|error| unreadable(&error))?.is_file(),
        None => false,
    };
    if let Some(file) = file.take_if(|_| is_file) {
        return Ok((file, name));
    }
    let mut spooled = tempfile::tempfile().map_err(|error| unreadable(&error))?;
    let copied = match &mut file {
        Some(pipe) => io::copy(pipe, &mut spooled),
        None => io::copy(&mut io::stdin().lock(), &mut spooled),
    };
    copied
        .and_then(|_| spooled.rewind())
        .map_err(|error| unreadable(&error))?;
    let name = if path.as_os_str() == "-" {
        "standard input".to_owned()
    } else {
        name
    };
    Ok((spooled, name))
}

fn in_words(reply: &ImportReply, options: ImportOptions) -> String {
    let mut text = format!(
        "{} {} events, {} executions and {} lines of the audit log of the store {}\n",
        if options.dry_run {
            "the file has"
        } else {
            "imported"
        },
        output::count(reply.events),
        output::count(reply.executions),
        output::count(reply.audit),
        reply.store,
    );
    let mut besides = |count: u64, words: &str| {
        if count > 0 {
            text.push_str(&format!("{} {words}\n", output::count(count)));
        }
    };
    besides(
        reply.already_there,
        "records were there already and stay as they are",
    );
    besides(
        reply.unsettled,
        "of the executions had not reached their end: the next daemon takes them up",
    );
    besides(
        reply.left_out,
        "executions had not reached their end and are left out (--with-unsettled takes them over)",
    );
    besides(
        reply.unreadable,
        "records could not be read when the export was made",
    );
    text
}

fn failure(error: &ImportError) -> Failure {
    let exit = if error.is_about_the_store() {
        Exit::Store
    } else {
        Exit::Failed
    };
    let failure = Failure::of(exit, error);
    match error {
        ImportError::Redacted => failure.with_hint(
            "make the export with `--reveal`, or leave out `--with-unsettled` to take over history alone",
        ),
        _ if error.is_in_use() => failure.with_hint("stop the daemon first: `systemctl stop hem`"),
        _ => failure,
    }
}
