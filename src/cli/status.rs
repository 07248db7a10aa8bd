//! `hem status`.

use std::fmt::Write as _;

use clap::Args;

use super::exit::Exit;
use super::output::{self, Style, Tint, count};
use super::{Global, Outcome, mute};
use crate::control::api::{
    CatchUpView, EventSums, MuteStatusView, PoolView, QueueView, ResultsView, RoleView, StateView, StatusView,
};

/// How the daemon does, and whether everything adds up
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem status
  hem status --check     # for monitoring: says nothing and exits with 0 when all is well, else with 1")]
pub(super) struct Arguments {
    /// Print only what is not as it should be, and exit with 1 if there is anything
    #[arg(long)]
    check: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let status = global.client().await?.status().await?;
    if global.json {
        output::print_json(&status)?;
    } else if arguments.check {
        output::print(&concerns(&status))?;
    } else {
        output::print(&render(&status, &global.style()))?;
    }
    let fine = !arguments.check || status.concerns.is_empty();
    Ok(if fine { Exit::Ok } else { Exit::Failed })
}

/// Nobody waits for results of any hook.
const NOTHING_TOLD: ResultsView = ResultsView {
    waiting: 0,
    delivered: 0,
    superseded: 0,
    away_since: None,
};

fn concerns(status: &StatusView) -> String {
    status.concerns.iter().fold(String::new(), |mut text, concern| {
        text.push_str(&output::safe(concern));
        text.push('\n');
        text
    })
}

fn render(status: &StatusView, style: &Style) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = if status.concerns.is_empty() {
        writeln!(text, "{}", style.paint(Tint::Good, "all is well"))
    } else {
        let heading = format!("{} to look at", count(status.concerns.len() as u64));
        writeln!(text, "{}", style.paint(Tint::Bad, &heading))
    };
    for concern in &status.concerns {
        let _ = writeln!(text, "  {}", output::safe(concern));
    }
    let _ = writeln!(
        text,
        "\nhem {}, store {}, started {} ({})",
        status.version,
        status.store,
        style.time(status.started),
        style.ago(status.started)
    );
    let _ = writeln!(
        text,
        "{} hooks in force; {} of {} scripts running; last event {}",
        status.hooks, status.running, status.concurrency, status.last_seq
    );

    if let Some(url) = &status.url {
        let _ = writeln!(text, "control API and page at {}", output::safe_line(url));
    }
    if status.observing {
        let said = "observing: what would run is recorded, nothing is started and nothing is replied";
        let _ = writeln!(text, "{}", style.paint(Tint::Strong, said));
    }
    if let Some(role) = &status.role {
        let _ = writeln!(text, "{}", in_words(role, style));
    }

    if let Some(pool) = &status.pool {
        let _ = writeln!(
            text,
            "oned {}: {}",
            output::safe_line(&pool.endpoint),
            of_pool(pool, style)
        );
    }

    if !status.mutes.is_empty() {
        text.push_str(&style.paint(Tint::Strong, "\nMuted\n"));
        for MuteStatusView { mute, held } in &status.mutes {
            let _ = writeln!(
                text,
                "  {}: {} held; {}",
                output::safe_line(&mute.scope.in_words()),
                count(*held),
                mute::in_words(mute, style)
            );
        }
    }

    if !status.queue.is_empty() {
        text.push_str(&style.paint(Tint::Strong, "\nWaiting and running\n"));
        for group in &status.queue {
            let _ = writeln!(
                text,
                "  {}  {}",
                output::safe_line(&group.hook),
                queue(group, style)
            );
        }
    }

    text.push_str(&style.paint(Tint::Strong, "\nSources\n"));
    for (name, source) in &status.sources {
        let connection = if source.connected {
            style.paint(Tint::Good, "connected")
        } else {
            style.paint(Tint::Bad, "not connected")
        };
        let _ = writeln!(
            text,
            "  {name}: {connection} to {} since {} (connection {})",
            source.endpoint,
            style.time(source.since),
            source.connects
        );
        if let Some(error) = &source.last_error {
            let _ = writeln!(
                text,
                "    last error {}: {}",
                style.time(error.at),
                output::safe_line(&error.message)
            );
        }
        if let Some(results) = status
            .results
            .get(name)
            .filter(|results| **results != NOTHING_TOLD)
        {
            let away = results
                .away_since
                .map(|since| format!("; cannot be told since {}", style.time(since)));
            let _ = writeln!(
                text,
                "    results told: {}, waiting: {}, superseded: {}{}",
                count(results.delivered),
                count(results.waiting),
                count(results.superseded),
                away.unwrap_or_default()
            );
        }
        if let Some(catch_up) = &source.catch_up {
            text.push_str(&caught_up(catch_up, style));
        }
        for (reason, number) in &source.refused {
            let _ = writeln!(
                text,
                "    refused: {} {}",
                count(*number),
                output::safe_line(reason)
            );
        }
    }

    text.push_str(&style.paint(Tint::Strong, "\nEvents\n"));
    for (name, sums) in &status.events {
        text.push_str(&sums_of(name, sums, style));
    }

    text.push_str(&style.paint(Tint::Strong, "\nExecutions kept\n"));
    let total: u64 = status.executions.values().sum();
    let parts: Vec<_> = StateView::NAMES
        .iter()
        .map(|name| {
            let number = status.executions.get(*name).copied().unwrap_or(0);
            format!("{} {name}", count(number))
        })
        .collect();
    let _ = writeln!(text, "  {} = {}", count(total), parts.join(" + "));
    if status.condition_errors > 0 {
        let _ = writeln!(
            text,
            "  {} matches did not run because their condition could not be worked out",
            count(status.condition_errors)
        );
    }
    if status.absent_elements > 0 {
        let _ = writeln!(
            text,
            "  {} times a condition asked for an element that the event does not have, and nothing ran",
            count(status.absent_elements)
        );
    }

    if !status.blocked.is_empty() {
        text.push_str(&style.paint(Tint::Strong, "\nWaiting too long\n"));
        for blocked in &status.blocked {
            let _ = writeln!(
                text,
                "  {}: `{}` waits for `{}`, which is under way since {} ({})",
                output::safe_line(blocked.subject.as_deref().unwrap_or("-")),
                blocked.waiting,
                blocked.behind,
                style.time(blocked.since),
                style.ago(blocked.since)
            );
        }
    }

    if !status.stale.is_empty() {
        text.push_str(&style.paint(
            Tint::Strong,
            "\nBroken hook files; their last good version is in force\n",
        ));
        for stale in &status.stale {
            let _ = writeln!(
                text,
                "  {} since {}",
                output::safe(&stale.file),
                style.time(stale.since)
            );
            for line in stale.fault.lines() {
                let _ = writeln!(text, "    {}", output::safe(line));
            }
        }
    }

    if let Some(acceptance) = acceptance(status) {
        let _ = writeln!(text, "\n{acceptance}");
    }
    text
}

/// How it stands with the hooks of `oned`: `12 hooks, 1 of them shadowed, read 3 s ago`.
fn of_pool(pool: &PoolView, style: &Style) -> String {
    let mut words = match pool.hooks + pool.shadowed {
        1 => "1 hook".to_owned(),
        hooks => format!("{} hooks", count(hooks as u64)),
    };
    if pool.shadowed > 0 {
        words.push_str(&format!(", {} of them shadowed", count(pool.shadowed as u64)));
    }
    if !pool.unusable.is_empty() {
        words.push_str(&format!(", {} unusable", count(pool.unusable.len() as u64)));
    }
    match pool.read {
        Some(read) => words.push_str(&format!(", read {}", style.ago(read))),
        None => words.push_str(", not read yet since the start"),
    }
    if let Some(since) = pool.away_since {
        let away = format!("; cannot be asked since {}", style.time(since));
        words.push_str(&style.paint(Tint::Bad, &away));
    }
    words
}

/// `leader since 02:10`, `standby since 02:10: oned is FOLLOWER`.
fn in_words(role: &RoleView, style: &Style) -> String {
    let why = role
        .why
        .as_deref()
        .map_or_else(String::new, |why| format!(": {}", output::safe_line(why)));
    format!("{} since {}{why}", role.name, style.time(role.since))
}

/// What of one hook waits and runs: `4,988 queued, oldest 02:10:03, about 14 min left`.
fn queue(group: &QueueView, style: &Style) -> String {
    let mut parts: Vec<String> = [
        (group.queued, "queued"),
        (group.held, "of them held"),
        (group.debouncing, "waiting for a newer event"),
        (group.retrying, "waiting for a retry"),
        (group.running, "running"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", count(number)))
    .collect();
    parts.extend(
        group
            .oldest
            .map(|oldest| format!("oldest {}", style.clock(oldest))),
    );
    parts.extend(group.left_ms.map(|left| format!("{} left", mute::about(left))));
    parts.join(", ")
}

/// What was missed and came back, and what is known of the source's resources.
fn caught_up(catch_up: &CatchUpView, style: &Style) -> String {
    let mut text = match (catch_up.as_of, catch_up.open_since) {
        (None, _) => "    states known: none yet".to_owned(),
        (Some(as_of), None) => format!(
            "    states known: {}, as of {}",
            count(catch_up.known),
            style.time(as_of)
        ),
        (Some(_), Some(open)) => format!(
            "    states known: {}; still to be caught up with: what was missed since {}",
            count(catch_up.known),
            style.time(open)
        ),
    };
    let _ = write!(
        text,
        "\n    caught up: {} raised, {} came live first, {} nobody asked for, {} gaps too long\n",
        count(catch_up.raised),
        count(catch_up.live),
        count(catch_up.unwanted),
        count(catch_up.too_old),
    );
    if let Some(error) = &catch_up.last_error {
        let _ = writeln!(
            text,
            "    cannot be asked what was missed, last {}: {}",
            style.time(error.at),
            output::safe_line(&error.message)
        );
    }
    text
}

fn sums_of(name: &str, sums: &EventSums, style: &Style) -> String {
    let verdict = if sums.adds_up {
        String::new()
    } else {
        style.paint(Tint::Bad, "  does not add up")
    };
    let gaps = match sums.gaps {
        0 => String::new(),
        1 => "\n    1 gap; `hem events --kind gap` shows it".to_owned(),
        gaps => format!("\n    {} gaps; `hem events --kind gap` shows them", count(gaps)),
    };
    format!(
        "  {name}: received {} = accepted {} + duplicate {} + refused {} + lost {}{verdict}\n    \
         accepted {} = matched {} + unmatched {} + undecodable {}{gaps}\n",
        count(sums.received),
        count(sums.accepted),
        count(sums.duplicate),
        count(sums.refused),
        count(sums.lost),
        count(sums.accepted),
        count(sums.matched),
        count(sums.unmatched),
        count(sums.undecodable),
    )
}

/// From receipt to acceptance: the buckets in which the middle event and the 99th of a hundred lie.
fn acceptance(status: &StatusView) -> Option<String> {
    let total: u64 = status.acceptance.iter().map(|bucket| bucket.events).sum();
    if total == 0 {
        return None;
    }
    let within = |share: u64| {
        let mut seen = 0;
        for bucket in &status.acceptance {
            seen += bucket.events;
            if seen.saturating_mul(100) >= total.saturating_mul(share) {
                return match bucket.up_to_ms {
                    u64::MAX => "more".to_owned(),
                    millis => format!("{millis} ms"),
                };
            }
        }
        "more".to_owned()
    };
    Some(format!(
        "From receipt to acceptance: half of the events within {}, 99 of 100 within {}",
        within(50),
        within(99)
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::cli::show::tests::time;
    use crate::control::api::{
        AcceptanceBucket, BlockedView, KeptView, ScopeView, SourceErrorView, SourceView, StaleView,
        UnusableView,
    };

    fn status() -> StatusView {
        let sums = EventSums {
            received: 12_345,
            accepted: 12_300,
            matched: 300,
            unmatched: 11_999,
            undecodable: 1,
            duplicate: 40,
            refused: 5,
            lost: 0,
            gaps: 0,
            adds_up: true,
        };
        StatusView {
            version: "0.1.0".to_owned(),
            store: "k3vd".to_owned(),
            started: time(-3_600_000),
            now: time(0),
            url: None,
            last_seq: 12_300,
            events: BTreeMap::from([("opennebula".to_owned(), sums)]),
            executions: BTreeMap::from([("succeeded".to_owned(), 1200), ("failed".to_owned(), 3)]),
            held: 0,
            mutes: Vec::new(),
            queue: Vec::new(),
            sources: BTreeMap::from([(
                "opennebula".to_owned(),
                SourceView {
                    kind: "opennebula".to_owned(),
                    endpoint: "tcp://127.0.0.1:2101".to_owned(),
                    connected: true,
                    since: time(-3_599_000),
                    connects: 1,
                    last_error: None,
                    refused: BTreeMap::from([("ignore_calls".to_owned(), 5)]),
                    catch_up: None,
                },
            )]),
            blocked: Vec::new(),
            running: 2,
            concurrency: 10,
            hooks: 4,
            stale: Vec::new(),
            condition_errors: 0,
            absent_elements: 0,
            acceptance: vec![
                AcceptanceBucket {
                    up_to_ms: 10,
                    events: 98,
                },
                AcceptanceBucket {
                    up_to_ms: 100,
                    events: 2,
                },
                AcceptanceBucket {
                    up_to_ms: u64::MAX,
                    events: 0,
                },
            ],
            acceptance_total_ms: 900,
            oldest_queued: None,
            kept: KeptView::default(),
            not_accepting: None,
            observing: false,
            role: None,
            results: BTreeMap::new(),
            pool: None,
            concerns: Vec::new(),
        }
    }

    #[test]
    fn the_pool_of_oned_says_when_it_was_read_and_since_when_it_cannot_be() {
        let pool = PoolView {
            source: "opennebula".to_owned(),
            endpoint: "http://localhost:2633/RPC2".to_owned(),
            hooks: 12,
            shadowed: 0,
            unusable: Vec::new(),
            read: Some(time(594_000)),
            away_since: None,
            away: None,
            reads: 1,
            failures: 0,
        };
        let style = output::tests::fixed();
        assert_eq!(of_pool(&pool, &style), "12 hooks, read 3.0 s ago");
        let away = PoolView {
            shadowed: 1,
            unusable: vec![UnusableView {
                id: Some(3),
                name: None,
                why: "it has no COMMAND".to_owned(),
            }],
            read: None,
            away_since: Some(time(0)),
            away: Some("refused".to_owned()),
            ..pool
        };
        let words = of_pool(&away, &style);
        assert!(
            words.starts_with(
                "13 hooks, 1 of them shadowed, 1 unusable, not read yet since the start; cannot be asked since "
            ),
            "{words}"
        );
        let shown = render(
            &StatusView {
                pool: Some(away),
                ..status()
            },
            &style,
        );
        assert!(
            shown.contains("\noned http://localhost:2633/RPC2: 13 hooks"),
            "{shown}"
        );
    }

    #[test]
    fn a_daemon_that_does_well_says_so_and_adds_up() {
        insta::assert_snapshot!(render(&status(), &output::tests::fixed()));
    }

    #[test]
    fn the_role_among_several_front_ends_is_said() {
        let style = output::tests::fixed();
        let role = |name: &str, why: Option<&str>| RoleView {
            name: name.to_owned(),
            since: time(0),
            why: why.map(str::to_owned),
        };
        let since = style.time(time(0));
        for (role, expected) in [
            (role("leader", None), format!("leader since {since}")),
            (
                role("standby", Some("oned is FOLLOWER")),
                format!("standby since {since}: oned is FOLLOWER"),
            ),
        ] {
            let status = StatusView {
                role: Some(role),
                ..status()
            };
            let text = render(&status, &style);
            assert!(text.lines().any(|line| line == expected), "{text}");
        }
    }

    #[test]
    fn mutes_and_the_queue_by_hook_are_shown() {
        let mut status = status();
        let scope = ScopeView::Hook {
            hook: "dns".to_owned(),
        };
        status.mutes = vec![MuteStatusView {
            mute: mute::tests::mute(scope),
            held: 12,
        }];
        let queue = |hook: &str| QueueView {
            hook: hook.to_owned(),
            queued: 0,
            held: 0,
            debouncing: 0,
            retrying: 0,
            running: 0,
            oldest: None,
            left_ms: None,
        };
        status.queue = vec![
            QueueView {
                queued: 14,
                held: 12,
                running: 1,
                oldest: Some(time(-90_000_000)),
                ..queue("dns")
            },
            QueueView {
                debouncing: 2,
                retrying: 1,
                ..queue("backup")
            },
            QueueView {
                queued: 4_988,
                oldest: Some(time(0)),
                left_ms: Some(840_000),
                ..queue("vm-unknown")
            },
        ];
        insta::assert_snapshot!(render(&status, &output::tests::fixed()));
    }

    #[test]
    fn what_was_missed_and_came_back_is_shown_with_its_source() {
        let mut catch_up = CatchUpView {
            known: 1_234,
            as_of: Some(time(0)),
            open_since: None,
            raised: 17,
            live: 2,
            unwanted: 0,
            too_old: 1,
            last_error: None,
        };
        let style = output::tests::fixed();
        let well = caught_up(&catch_up, &style);
        catch_up.open_since = Some(time(-60_000));
        catch_up.last_error = Some(SourceErrorView {
            at: time(0),
            message: "oned cannot be reached at http://localhost:2633/RPC2".to_owned(),
        });
        let not_well = caught_up(&catch_up, &style);
        catch_up.as_of = None;
        let never = caught_up(&catch_up, &style);
        insta::assert_snapshot!([well, not_well, never].join("\n"));
    }

    #[test]
    fn what_is_wrong_comes_first() {
        let mut status = status();
        status.concerns =
            vec!["source `opennebula` is not connected to tcp://127.0.0.1:2101: refused".to_owned()];
        if let Some(source) = status.sources.get_mut("opennebula") {
            source.connected = false;
            source.last_error = Some(SourceErrorView {
                at: time(0),
                message: "refused".to_owned(),
            });
        }
        if let Some(sums) = status.events.get_mut("opennebula") {
            sums.adds_up = false;
        }
        status.condition_errors = 2;
        status.blocked = vec![BlockedView {
            subject: Some("vm/12".to_owned()),
            waiting: "1044.vm-running".to_owned(),
            behind: "1042.vm-running".to_owned(),
            since: time(0),
        }];
        status.stale = vec![StaleView {
            file: "dns.yaml".to_owned(),
            since: time(0),
            fault: "dns.yaml:3:1: unknown field `nmae`".to_owned(),
        }];
        insta::assert_snapshot!(render(&status, &output::tests::fixed()));
    }
}
