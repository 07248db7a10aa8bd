//! `hem cancel`.

use clap::Args;

use super::exit::Exit;
use super::{Global, Outcome, output};

/// Cancel an execution that waits, or end the one that runs
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem cancel 1042.vm-running
  hem cancel last")]
pub(super) struct Arguments {
    /// The execution, such as 1042.vm-running
    #[arg(value_name = "EXECUTION")]
    execution: String,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let cancelled = global.client().await?.cancel(&arguments.execution).await?;
    if global.json {
        output::print_json(&cancelled)?;
    } else {
        output::say(&format!(
            "cancelled; `hem show {}` shows how it ended",
            cancelled.execution
        ));
    }
    Ok(Exit::Ok)
}
