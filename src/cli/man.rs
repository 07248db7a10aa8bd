//! `hem man`.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};

use super::exit::{Exit, Failure};
use super::{Cli, Outcome, output};

/// Print the manual page, or write the pages of all commands to a folder
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem man | man -l -
  hem man retry | man -l -
  hem man --dir /usr/local/share/man/man1")]
pub(super) struct Arguments {
    /// The command whose page is printed [default: hem itself]
    command: Option<String>,
    /// Write all pages there instead
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut hem = Cli::command();
    hem.build();
    if let Some(folder) = &arguments.dir {
        return match clap_mangen::generate_to(hem, folder) {
            Ok(()) => Ok(Exit::Ok),
            Err(error) => Err(Failure::new(
                Exit::Failed,
                format!("cannot write manual pages to `{}`: {error}", folder.display()),
            )),
        };
    }
    let command = match &arguments.command {
        None => hem,
        Some(name) => hem.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no command `{name}`"))
                .with_hint("`hem --help` lists the commands")
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    output::print(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Ok)
}
