//! `hem source`.

use clap::{ArgGroup, Args, Subcommand};

use super::backend::Backend;
use super::exit::Exit;
use super::when::instant;
use super::{Global, Outcome, output};
use crate::control::api::{SeekOrder, SeekReply, SeekTarget, Time};

/// Say from where a source reads
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem source seek ncmp1 --topic ncmp-events --earliest
  hem source seek ncmp1 --topic ncmp-events --partition 2 --offset 1042 --dry-run")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Seek(Box<SeekArguments>),
}

/// Read partitions of a topic from elsewhere: once more, or past what was not read yet
///
/// What is read again is new to hem: its hooks run again. The daemon changes over at once; partitions that another member of the
/// group reads are not touched. While the daemon is down, `--offline` writes it into the store, and the next start reads from there.
/// What the group had committed does not count any more then. Where the offset is not there any more, reading begins with the
/// oldest record; where it is not there yet, at the end.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("target").required(true), after_help = "Examples:
  hem source seek ncmp1 --topic ncmp-events --earliest              # everything once more
  hem source seek ncmp1 --topic ncmp-events --time '2h ago'
  hem source seek ncmp1 --topic ncmp-events --partition 2 --offset 1042
  hem source seek ncmp1 --topic ncmp-events --latest --dry-run      # what would be left out
  hem source seek ncmp1 --topic ncmp-events --earliest --offline    # the daemon is down")]
struct SeekArguments {
    /// The source, of type ncmp
    #[arg(value_name = "SOURCE")]
    source: String,
    /// The topic
    #[arg(long, value_name = "TOPIC")]
    topic: String,
    /// One of its partitions [default: all that hem reads]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(0..))]
    partition: Option<i32>,
    /// From the oldest record that is there
    #[arg(long, group = "target")]
    earliest: bool,
    /// From the end: what comes from now on
    #[arg(long, group = "target")]
    latest: bool,
    /// From this offset
    #[arg(long, group = "target", value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    offset: Option<i64>,
    /// From the first record of this time or later: 2h ago, today, 2026-11-22 02:00, or RFC 3339
    #[arg(long, group = "target", value_name = "TIME", value_parser = instant)]
    time: Option<Time>,
    /// Write it into the store; the daemon must not run
    #[arg(long)]
    offline: bool,
    /// Only say which partitions it would be
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let Command::Seek(arguments) = arguments.command;
    let to = match (arguments.offset, arguments.time) {
        (Some(offset), _) => SeekTarget::Offset(offset),
        (None, Some(time)) => SeekTarget::Time(time),
        (None, None) if arguments.latest => SeekTarget::Latest,
        (None, None) => SeekTarget::Earliest,
    };
    let order = SeekOrder {
        topic: arguments.topic,
        partition: arguments.partition,
        to,
        dry_run: arguments.dry_run,
    };
    let reply = Backend::seek(&global, arguments.offline, &arguments.source, &order).await?;
    if global.json {
        output::print_json(&reply)?;
    } else {
        output::print(&render(&reply, &order, &global.style()))?;
    }
    Ok(Exit::Ok)
}

fn render(reply: &SeekReply, order: &SeekOrder, style: &output::Style) -> String {
    let to = match order.to {
        SeekTarget::Earliest => "its oldest record".to_owned(),
        SeekTarget::Latest => "the end".to_owned(),
        SeekTarget::Offset(offset) => format!("offset {offset}"),
        SeekTarget::Time(time) => style.time(time),
    };
    let does = if order.dry_run { "would be read" } else { "is read" };
    let mut text = String::new();
    for partition in &reply.partitions {
        let before = match partition.read_up_to {
            Some(offset) => format!("; it was read up to {offset}"),
            None => String::new(),
        };
        let topic = output::safe_line(&partition.topic);
        text.push_str(&format!(
            "{topic}/{} {does} from {to}{before}\n",
            partition.partition
        ));
    }
    text
}
