//! `hem token`.

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Outcome, output};
use crate::control::new_token;

/// Make a token for the control API over TCP
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  (umask 077; hem token >> /etc/hem/operator.tokens)

The daemon reads a file that `control: { tokens }` names again as soon as it changes: a token added to it works at once, and one taken
out of it no longer does.")]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments) -> Outcome {
    let token = new_token().map_err(|error| Failure::Said {
        exit: Exit::Failed,
        message: format!("the kernel's randomness cannot be had: {error}"),
        hint: None,
    })?;
    output::print(&format!("{token}\n"))?;
    Ok(Exit::Ok)
}
