//! `hem hooks`.

use std::fmt::Write as _;

use clap::{Args, Subcommand};

use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint};
use super::{Global, Outcome, mute};
use crate::control::api::{HookView, ScopeView};

/// List, show, enable and disable hooks
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem hooks
  hem hooks show vm-running
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
            } else if hooks.is_empty() {
                output::say("no hooks are in force; `hem check` says what is in the folder");
            } else {
                output::print(&table(&hooks, &style))?;
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

fn standing(hook: &HookView) -> String {
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
    words
}

const fn tint(hook: &HookView) -> Tint {
    match (hook.enabled, hook.override_.is_some() || !hook.muted.is_empty()) {
        (true, false) => Tint::Good,
        (_, true) => Tint::Busy,
        (false, false) => Tint::Faint,
    }
}

fn place(hook: &HookView) -> String {
    format!("{}:{}", hook.definition.file, hook.definition.line)
}

fn table(hooks: &[HookView], style: &Style) -> String {
    let mut table = style.table(&["HOOK", "STANDING", "TRIGGER", "COMMAND", "FILE"]);
    for hook in hooks {
        let mut trigger = hook.triggers.join("\n");
        if hook.when.is_some() {
            trigger.push_str(" (when …)");
        }
        table.add_row([
            style.cell(Tint::Strong, &hook.name),
            style.cell(tint(hook), &standing(hook)),
            style.cell(Tint::Plain, &trigger),
            style.cell(Tint::Plain, &hook.command),
            style.cell(Tint::Faint, &place(hook)),
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
    if let Some(id) = hook.oned_id {
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
    line("file", &place(hook));
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
    use crate::control::api::{ActorView, OverrideView};

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
}
