//! `hem metrics`.

use clap::Args;

use super::exit::{Exit, Failure};
use super::{Global, Outcome, output};

/// How the daemon does, in Prometheus' text format
///
/// The same numbers as in `hem status`, by the names that docs/operations.md lists. Prometheus can ask for them itself
/// at the address /metrics of the control socket; this command is for node_exporter's textfile collector and for a look.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem metrics
  hem metrics | grep hem_blocked_lanes

Example for node_exporter, every minute; the file is replaced at once, so that no half of one is read:
  cd /var/lib/node_exporter/textfile && hem metrics > hem.prom.new && mv hem.prom.new hem.prom")]
pub(super) struct Arguments {
    /// Print OpenMetrics instead, which node_exporter does not read
    #[arg(long)]
    openmetrics: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    if global.json {
        return Err(
            Failure::new(Exit::Usage, "metrics are text for Prometheus, not JSON")
                .with_hint("`hem status --json` has the same numbers"),
        );
    }
    let text = global.client().await?.metrics(arguments.openmetrics).await?;
    output::print(&text)?;
    Ok(Exit::Ok)
}
