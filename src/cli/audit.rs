//! `hem audit`.

use clap::Args;

use super::backend::Backend;
use super::exit::Exit;
use super::output::{self, Style, Tint};
use super::{Global, Outcome};
use crate::control::api::AuditView;

/// Who ordered what: retries, cancellations, overrides, reloads, revealed secrets
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem audit
  hem audit --limit 500 --json")]
pub(super) struct Arguments {
    /// At most this many, the newest
    #[arg(short = 'n', long, default_value_t = 50, value_name = "NUMBER")]
    limit: usize,
    /// Open the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let backend = Backend::open(&global, arguments.offline).await?;
    let mut entries = backend.audit(arguments.limit).await?;
    entries.reverse();
    if global.json {
        output::print_json(&entries)?;
    } else if entries.is_empty() {
        output::say("nothing was ordered yet");
    } else {
        output::print(&table(&entries, &global.style()))?;
    }
    Ok(Exit::Ok)
}

fn table(entries: &[AuditView], style: &Style) -> String {
    let mut table = style.table(&["NO", "TIME", "WHO", "WHAT", "ON"]);
    for entry in entries {
        table.add_row([
            style.cell(Tint::Faint, &entry.number.to_string()),
            style.cell(Tint::Plain, &style.time(entry.at)),
            style.cell(Tint::Strong, &output::actor(&entry.actor)),
            style.cell(Tint::Plain, &entry.action),
            style.cell(Tint::Plain, &entry.target),
        ]);
    }
    output::lines_of(&table)
}
