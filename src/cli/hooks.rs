//! `hem hooks`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome, mute};
use crate::control::api::{HookView, OriginView, PoolView, ScopeView};

/// List, show, enable and disable hooks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem hooks
  hem hooks show vm-running
  hem hooks show oned/dns          # a hook that oned keeps, as it would stand in a file
  hem hooks disable vm-running     # stays so across reloads and restarts
  hem hooks reset vm-running       # what its file says counts again")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the hooks in force [the default]
    List,
    /// Show one hook: where it stands, what triggers it, its definition
    Show {
        /// The hook
        hook: String,
    },
    /// Enable a hook, whatever its file says
    Enable {
        /// The hook
        hook: String,
    },
    /// Disable a hook: no events are kept for it, and what waits is cancelled
    Disable {
        /// The hook
        hook: String,
    },
    /// Take back what `enable` or `disable` said
    Reset {
        /// The hook
        hook: String,
    },
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let client = global.client().await?;
    let style = global.style();
    let (hook, enabled) = match arguments.what.unwrap_or(What::List) {
        What::List => {
            let hooks = client.hooks().await?;
            if global.json {
                output::print_json(&hooks)?;
                return Ok(Exit::Ok);
            }
            if hooks.is_empty() {
                output::say("no hooks are in force; `hem check` says what is in the folder");
            } else {
                output::print(&table(&hooks, &style))?;
            }
            for note in notes(&hooks, client.status().await?.pool.as_ref()) {
                output::say(&note);
            }
            return Ok(Exit::Ok);
        }
        What::Show { hook } => {
            let hooks = client.hooks().await?;
            let view = hooks.iter().find(|view| view.name == hook).ok_or_else(|| {
                Failure::new(Exit::Failed, format!("there is no hook `{hook}`"))
                    .with_hint("`hem hooks` lists the hooks in force")
            })?;
            if global.json {
                output::print_json(view)?;
            } else {
                output::print(&render(view, &style))?;
            }
            return Ok(Exit::Ok);
        }
        What::Enable { hook } => (hook, Some(true)),
        What::Disable { hook } => (hook, Some(false)),
        What::Reset { hook } => (hook, None),
    };
    let view = client.set_enabled(&hook, enabled).await?;
    if global.json {
        output::print_json(&view)?;
    } else {
        output::say(&format!("`{}` is {}", view.name, standing(&view)));
    }
    Ok(Exit::Ok)
}

/// What is to be said below the table: what is doubtful about hooks, and the hooks of `oned` that are not in it.
fn notes(hooks: &[HookView], pool: Option<&PoolView>) -> Vec<String> {
    let mut notes: Vec<String> = hooks
        .iter()
        .flat_map(|hook| &hook.warnings)
        .map(|warning| format!("warning: {warning}"))
        .collect();
    let Some(pool) = pool else { return notes };
    notes.extend(pool.unusable.iter().map(|hook| {
        let id = hook.id.map(|id| format!(" #{id}")).unwrap_or_default();
        let name = hook.name.as_deref().unwrap_or("without a name");
        format!("warning: oned{id} ({name}) cannot be used: {}", hook.why)
    }));
    if let Some(why) = &pool.away {
        notes.push(format!("warning: oned cannot be asked for its hooks: {why}"));
    }
    notes
}

fn standing(hook: &HookView) -> String {
    if let Some(place) = &hook.shadowed_by {
        return format!("shadowed by {place}");
    }
    let mut words = if hook.enabled { "enabled" } else { "disabled" }.to_owned();
    if let Some(said) = &hook.override_ {
        words = format!("{words} by {}", output::actor(&said.actor));
    }
    for mute in &hook.muted {
        words.push_str(", ");
        words.push_str(&match &mute.scope {
            ScopeView::Lane { subject, .. } => format!("muted for {subject}"),
            ScopeView::All => "muted with everything".to_owned(),
            ScopeView::Hook { .. } | ScopeView::Source { .. } => "muted".to_owned(),
        });
    }
    if let OriginView::Oned {
        locked: Some(what), ..
    } = &hook.origin
    {
        words.push_str(&format!(", locked ({what})"));
    }
    words
}

const fn tint(hook: &HookView) -> Tint {
    if hook.shadowed_by.is_some() {
        return Tint::Faint;
    }
    match (hook.enabled, hook.override_.is_some() || !hook.muted.is_empty()) {
        (true, false) => Tint::Good,
        (_, true) => Tint::Busy,
        (false, false) => Tint::Faint,
    }
}

fn command(hook: &HookView) -> String {
    if hook.shell {
        format!("{} (shell)", hook.command)
    } else {
        hook.command.clone()
    }
}

fn origin(hook: &HookView) -> String {
    match &hook.origin {
        OriginView::File => format!("{}:{}", hook.definition.file, hook.definition.line),
        OriginView::Oned { id, .. } => format!("oned #{id}"),
    }
}

fn table(hooks: &[HookView], style: &Style) -> String {
    let mut table = style.table(&["HOOK", "STANDING", "TRIGGER", "COMMAND", "ORIGIN"]);
    for hook in hooks {
        let mut trigger = hook.triggers.join("\n");
        if hook.when.is_some() {
            trigger.push_str(" (when …)");
        }
        table.add_row([
            style.cell(Tint::Strong, &hook.name),
            style.cell(tint(hook), &standing(hook)),
            style.cell(Tint::Plain, &trigger),
            style.cell(Tint::Plain, &command(hook)),
            style.cell(Tint::Faint, &origin(hook)),
        ]);
    }
    output::lines_of(&table)
}

fn render(hook: &HookView, style: &Style) -> String {
    let mut text = format!(
        "{}  {}\n",
        style.paint(Tint::Strong, &hook.name),
        style.paint(tint(hook), &standing(hook))
    );
    let mut line = |name: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<12} {}", output::safe(value));
    };
    if let Some(description) = &hook.description {
        line("description", description);
    }
    if let Some(said) = &hook.override_ {
        let file = if hook.enabled_in_file {
            "enabled"
        } else {
            "disabled"
        };
        line(
            "override",
            &format!("since {}; its file says {file}", style.time(said.at)),
        );
    }
    for mute in &hook.muted {
        line(
            "muted",
            &format!("{} {}", mute.scope.in_words(), mute::in_words(mute, style)),
        );
    }
    if let (Some(id), OriginView::File) = (hook.oned_id, &hook.origin) {
        line("oned hook", &id.to_string());
    }
    for trigger in &hook.triggers {
        line("trigger", trigger);
    }
    if let Some(when) = &hook.when {
        line("when", when);
    }
    line("command", &hook.command);
    line(
        "program",
        if hook.shell {
            "/bin/sh, which reads the command"
        } else {
            &hook.program
        },
    );
    line("profile", &hook.profile);
    match &hook.origin {
        OriginView::File => line("file", &origin(hook)),
        OriginView::Oned { confirmed, notes, .. } => {
            let doubt = if *confirmed { "" } else { ", as it was read last" };
            line("origin", &format!("{}{doubt}", origin(hook)));
            for note in notes {
                line("note", note);
            }
        }
    }
    for warning in &hook.warnings {
        line("warning", warning);
    }
    line("version", &hook.definition.version);
    text.push('\n');
    for row in hook.definition.text.lines() {
        text.push_str("  ");
        text.push_str(&output::safe(row));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::show::tests::{definition, time};
    use crate::control::api::{ActorView, OverrideView, UnusableView};

    fn hook() -> HookView {
        HookView {
            name: "vm-running".to_owned(),
            oned_id: Some(7),
            description: Some("Register the VM in DNS".to_owned()),
            enabled: false,
            enabled_in_file: true,
            override_: Some(OverrideView {
                enabled: false,
                actor: ActorView::User {
                    uid: 1000,
                    name: Some("ann".to_owned()),
                },
                at: time(0),
            }),
            origin: OriginView::File,
            shadowed_by: None,
            warnings: Vec::new(),
            muted: vec![mute::tests::mute(ScopeView::Hook {
                hook: "vm-running".to_owned(),
            })],
            profile: "hem".to_owned(),
            triggers: vec!["state VM ACTIVE/RUNNING".to_owned()],
            when: Some("int(event.VM.ID) > 3".to_owned()),
            command: "dns/register.sh".to_owned(),
            program: "/etc/hem/scripts/dns/register.sh".to_owned(),
            shell: false,
            remote: false,
            definition: definition(),
        }
    }

    #[test]
    fn a_hook_says_where_it_stands() {
        let style = output::tests::fixed();
        insta::assert_snapshot!(format!(
            "{}\n{}",
            table(&[hook()], &style),
            render(&hook(), &style)
        ));
    }

    #[test]
    fn a_hook_of_oned_says_so_and_what_stands_for_it() {
        let style = output::tests::fixed();
        let of_oned = HookView {
            name: "oned/dns".to_owned(),
            oned_id: Some(7),
            description: None,
            enabled: true,
            override_: None,
            muted: Vec::new(),
            profile: "onehem".to_owned(),
            origin: OriginView::Oned {
                id: 7,
                locked: Some("use".to_owned()),
                confirmed: false,
                notes: vec!["a TIMEOUT that is not greater than 0 is no limit".to_owned()],
            },
            ..hook()
        };
        let shadowed = HookView {
            shell: true,
            shadowed_by: Some("dns.yaml:1".to_owned()),
            ..of_oned.clone()
        };
        let doubled = HookView {
            warnings: vec!["`vm-running` does what `oned/dns` does as well".to_owned()],
            ..hook()
        };
        let pool = PoolView {
            source: "opennebula".to_owned(),
            endpoint: "http://localhost:2633/RPC2".to_owned(),
            hooks: 1,
            shadowed: 1,
            unusable: vec![UnusableView {
                id: Some(9),
                name: Some("odd".to_owned()),
                why: "it has no COMMAND".to_owned(),
            }],
            read: None,
            away_since: Some(time(0)),
            away: Some("Connection refused".to_owned()),
            reads: 0,
            failures: 3,
        };
        let hooks = [of_oned.clone(), shadowed, doubled];
        insta::assert_snapshot!(format!(
            "{}\n{}\n{}",
            table(&hooks, &style),
            notes(&hooks, Some(&pool)).join("\n"),
            render(&of_oned, &style)
        ));
    }
}
