//! `hem completions`.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::exit::Exit;
use super::{Cli, Outcome, output};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem completions bash > /etc/bash_completion.d/hem
  hem completions fish > ~/.config/fish/completions/hem.fish")]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "hem", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
