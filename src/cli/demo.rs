//! `hem demo`.

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, Outcome};

/// Show everything in one process, on a throw-away folder
///
/// A publisher, the daemon and sample hooks run on free ports; recorded events go through real sockets and real scripts.
/// It tells what happens and ends by itself.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem demo")]
pub(super) struct Arguments {}

pub(super) fn run(_global: &Global, _arguments: Arguments) -> Outcome {
    Err(Failure::new(Exit::Failed, "the demo is not built in"))
}
