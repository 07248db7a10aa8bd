//! `hem store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};
use crate::store::salvage::{SalvageError, Salvaged, salvage};

/// Look after the store itself
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem store salvage
  hem store salvage --state-dir /var/lib/hem")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Save what is readable of a damaged store
    ///
    /// Makes a new store of all that can be read, work that is still to be done first and foremost, and puts it in the place of
    /// the damaged one, which is set aside untouched. The daemon must not run. Room for twice the store is needed beside it.
    Salvage {
        /// Where the store lives, instead of state_dir
        #[arg(long, value_name = "FOLDER")]
        state_dir: Option<PathBuf>,
    },
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let Command::Salvage { state_dir } = arguments.command;
    let folder = match state_dir {
        Some(folder) => folder,
        None => global.config()?.state_dir,
    };
    let saved = salvage(&folder, output::say).map_err(|error| failure(&error))?;
    if global.json {
        output::print_json(&json!({
            "store": saved.id.as_str(),
            "events": saved.events,
            "executions": saved.executions,
            "unsettled": saved.unsettled,
            "left_out": saved.left_out,
            "cut_bytes": saved.cut,
            "set_aside": saved.set_aside,
        }))?;
    } else {
        output::print(&in_words(&saved))?;
    }
    Ok(Exit::Ok)
}

fn in_words(saved: &Salvaged) -> String {
    format!(
        "saved {} events and {} executions, {} of them still to be done; {} were not whole and are left out\n\
         the damaged store is in {}; remove it when nothing is missed\n",
        output::count(saved.events),
        output::count(saved.executions),
        output::count(saved.unsettled),
        output::count(saved.left_out),
        saved.set_aside.display()
    )
}

fn failure(error: &SalvageError) -> Failure {
    let exit = match error {
        SalvageError::InUse { .. } => Exit::StoreForNow,
        SalvageError::Newer { .. } | SalvageError::NothingReadable { .. } => Exit::Store,
        SalvageError::Absent { .. } | SalvageError::Folder { .. } | SalvageError::Write { .. } => {
            Exit::Failed
        }
    };
    Failure::of(exit, error)
}
