//! `hem unmute`.

use clap::{ArgGroup, Args, ValueEnum};

use super::exit::Exit;
use super::mute::ScopeArguments;
use super::output::{self, count};
use super::{Global, Outcome};
use crate::control::api::{ThenView, UnmuteOrder, UnmuteReply};

/// Take a mute back, and say what becomes of what it held
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["hook", "source", "all"]),
    after_help = "Examples:
  hem unmute vm-running                  # everything that was held runs, in its order
  hem unmute vm-running --then latest    # of each VM the newest event alone
  hem unmute --source zone1 --then drop  # nothing of it runs; the record says `skipped: muted`"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// What becomes of what it held
    #[arg(long, value_enum, default_value_t = Then::Run)]
    then: Then,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Then {
    /// It runs, in the order of its events
    Run,
    /// Of each hook and resource the newest runs; the others are skipped
    Latest,
    /// None of it runs
    Drop,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let scope = arguments.scope.view();
    let words = scope.in_words();
    let order = UnmuteOrder {
        scope,
        then: match arguments.then {
            Then::Run => ThenView::Run,
            Then::Latest => ThenView::Latest,
            Then::Drop => ThenView::Drop,
        },
    };
    let reply = global.client().await?.unmute(&order).await?;
    if global.json {
        output::print_json(&reply)?;
    } else {
        output::say(&render(&words, &reply));
    }
    Ok(Exit::Ok)
}

fn render(words: &str, reply: &UnmuteReply) -> String {
    let parts: Vec<String> = [
        (reply.released, "go on"),
        (reply.skipped, "are skipped"),
        (reply.cancelled, "are cancelled"),
        (reply.still_held, "are held by another mute"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", count(number)))
    .collect();
    let what = if parts.is_empty() {
        "it held nothing".to_owned()
    } else {
        format!("of what it held {}", parts.join(", "))
    };
    format!("{} is no longer muted; {what}", output::safe_line(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_becomes_of_what_was_held_is_said() {
        let nothing = UnmuteReply::default();
        assert_eq!(
            render("hook dns", &nothing),
            "hook dns is no longer muted; it held nothing"
        );
        let much = UnmuteReply {
            released: 8,
            still_held: 2,
            skipped: 4980,
            cancelled: 1,
        };
        assert_eq!(
            render("everything", &much),
            "everything is no longer muted; of what it held 8 go on, 4,980 are skipped, 1 are cancelled, \
             2 are held by another mute"
        );
    }
}
