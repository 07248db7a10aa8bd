//! `hem mute`, and what commands about mutes share.

use std::time::Duration;

use clap::{ArgGroup, Args};

use super::exit::Exit;
use super::output::{self, Style, count};
use super::{Global, Outcome};
use crate::config::scalar::DurationText;
use crate::control::api::{MuteOrder, MuteReply, MuteView, MutedByView, ScopeView};

/// Hold executions back: their events are kept, nothing is started until the mute ends
///
/// Scripts that run go on; automatic retries wait too. An order for just one execution, such as `hem retry`, is carried
/// out all the same. Muting again what is muted already replaces the former mute.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["hook", "source", "all"]),
    after_help = "Examples:
  hem mute vm-running --for 2h --reason 'DNS is moved'
  hem mute vm-running --subject vm/12        # about this VM alone
  hem mute --source zone1                    # all that events of one source cause
  hem mute --all --for 30m                   # everything
  hem status                                 # who muted what until when, and how much is held"
)]
pub(super) struct Arguments {
    #[command(flatten)]
    scope: ScopeArguments,
    /// End it by itself after so long: 90s, 30m, 2h; what was held then runs
    #[arg(long = "for", value_name = "DURATION")]
    length: Option<DurationText>,
    /// Why, for whoever looks at `hem status`
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What a mute covers. The command that takes these has a group `what`, of which one is required.
#[derive(Debug, Args)]
pub(super) struct ScopeArguments {
    /// The hook
    #[arg(value_name = "HOOK")]
    hook: Option<String>,
    /// What events of this source cause
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
    /// The hook about this resource alone, such as vm/12
    #[arg(long, requires = "hook", conflicts_with_all = ["source", "all"])]
    subject: Option<String>,
}

impl ScopeArguments {
    pub(super) fn view(self) -> ScopeView {
        match (self.hook, self.subject, self.source) {
            (Some(hook), Some(subject), _) => ScopeView::Lane { hook, subject },
            (Some(hook), None, _) => ScopeView::Hook { hook },
            (None, _, Some(source)) => ScopeView::Source { source },
            (None, _, None) => ScopeView::All,
        }
    }
}

/// The words that name a scope on the command line.
pub(super) fn named(scope: &ScopeView) -> String {
    match scope {
        ScopeView::All => "--all".to_owned(),
        ScopeView::Source { source } => format!("--source {source}"),
        ScopeView::Hook { hook } => hook.clone(),
        ScopeView::Lane { hook, subject } => format!("{hook} --subject {subject}"),
    }
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let order = MuteOrder {
        scope: arguments.scope.view(),
        for_ms: arguments.length.map(millis),
        reason: arguments.reason,
    };
    let reply = global.client().await?.mute(&order).await?;
    if global.json {
        output::print_json(&reply)?;
    } else {
        output::say(render(&reply, &global.style()).trim_end());
    }
    Ok(Exit::Ok)
}

/// A duration as the interface has it.
pub(super) fn millis(length: DurationText) -> u64 {
    u64::try_from(length.0.as_millis()).unwrap_or(u64::MAX)
}

fn render(reply: &MuteReply, style: &Style) -> String {
    let scope = &reply.mute.scope;
    let until = match reply.mute.until {
        Some(until) => format!("until {}", style.time(until)),
        None => "until somebody takes that back".to_owned(),
    };
    let running = match reply.running {
        0 => String::new(),
        1 => "1 script runs on\n".to_owned(),
        many => format!("{} scripts run on\n", count(many)),
    };
    format!(
        "{} is muted {until}\n{}\n{running}`hem unmute {}` takes it back\n",
        output::safe_line(&scope.in_words()),
        held(reply.held),
        output::safe_line(&named(scope)),
    )
}

fn held(held: u64) -> String {
    match held {
        0 => "nothing waits yet; what comes is held".to_owned(),
        1 => "1 queued execution is held, and what comes".to_owned(),
        many => format!("{} queued executions are held, and what comes", count(many)),
    }
}

/// Who muted, since when, until when and why: `by ann since 02:10:03 until 04:10:03 (in 1 h 50 min): DNS is moved`.
pub(super) fn in_words(mute: &MuteView, style: &Style) -> String {
    let by = match &mute.by {
        MutedByView::Operator(actor) => output::actor(actor),
        MutedByView::Throttle => "its throttle".to_owned(),
        MutedByView::LoopGuard => "its loop_guard".to_owned(),
        MutedByView::Breaker => "its breaker".to_owned(),
    };
    let until = mute.until.map_or_else(String::new, |until| {
        format!(" until {} ({})", style.clock(until), style.ago(until))
    });
    let reason = mute
        .reason
        .as_ref()
        .map_or_else(String::new, |reason| format!(": {}", output::safe_line(reason)));
    format!("by {by} since {}{until}{reason}", style.clock(mute.since))
}

/// About how long something takes: `about 14 min`.
pub(super) fn about(millis: u64) -> String {
    format!("about {}", output::span(Duration::from_millis(millis)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::show::tests::time;
    use crate::control::api::ActorView;

    pub(in crate::cli) fn mute(scope: ScopeView) -> MuteView {
        MuteView {
            scope,
            since: time(0),
            until: Some(time(7_200_000)),
            by: MutedByView::Operator(ActorView::User {
                uid: 1000,
                name: Some("ann".to_owned()),
            }),
            reason: Some("DNS is moved".to_owned()),
        }
    }

    #[test]
    fn what_is_muted_and_how_to_take_it_back_is_said() {
        let style = output::tests::fixed();
        let lane = ScopeView::Lane {
            hook: "dns".to_owned(),
            subject: "vm/12".to_owned(),
        };
        let source = ScopeView::Source {
            source: "zone1".to_owned(),
        };
        let replies = [
            MuteReply {
                mute: mute(ScopeView::Hook {
                    hook: "dns".to_owned(),
                }),
                held: 4988,
                running: 2,
            },
            MuteReply {
                mute: MuteView {
                    until: None,
                    ..mute(lane)
                },
                held: 1,
                running: 1,
            },
            MuteReply {
                mute: mute(source),
                held: 0,
                running: 0,
            },
            MuteReply {
                mute: mute(ScopeView::All),
                held: 0,
                running: 0,
            },
        ];
        let said: Vec<String> = replies.iter().map(|reply| render(reply, &style)).collect();
        insta::assert_snapshot!(said.join("\n"));
    }

    #[test]
    fn who_muted_until_when_and_why_is_one_line() {
        let style = output::tests::fixed();
        let mut by_policy = mute(ScopeView::All);
        by_policy.by = MutedByView::LoopGuard;
        by_policy.until = None;
        by_policy.reason = None;
        let lines = [
            in_words(&mute(ScopeView::All), &style),
            in_words(&by_policy, &style),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }
}
