//! `hem reload`.

use clap::Args;

use super::exit::Exit;
use super::{Global, Outcome, output};
use crate::control::api::{ReloadReply, SeverityView};

/// Read the configuration and the hooks folder now
///
/// Of the configuration, what a running daemon can take up is in force at once, and what changed besides is named. A
/// configuration with a fault is refused as a whole. Broken hook files are refused and the last good version of their
/// hooks stays in force; a set that lost more than half of its hooks at once is taken only with --accept. The hooks that
/// `oned` keeps are read again as well, right afterwards.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem reload
  hem reload --accept     # the folder is meant to be nearly empty")]
pub(super) struct Arguments {
    /// Take a set that lost more than half of its hooks
    #[arg(long)]
    accept: bool,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    let reply = global.client().await?.reload(arguments.accept).await?;
    if global.json {
        output::print_json(&reply)?;
    } else {
        output::print(&render(&reply))?;
    }
    let refused = reply
        .faults
        .iter()
        .any(|fault| fault.severity == SeverityView::Error);
    let fine = !refused && reply.kept.is_none() && reply.configuration.is_none();
    Ok(if fine { Exit::Ok } else { Exit::Invalid })
}

fn render(reply: &ReloadReply) -> String {
    let mut text = String::new();
    if let Some(fault) = &reply.configuration {
        text.push_str(&format!(
            "the former configuration stays in force:\n{}\n",
            output::safe(fault).trim_end()
        ));
    }
    for setting in &reply.settings {
        text.push_str(&format!("setting  {setting}\n"));
    }
    if !reply.settings_at_start.is_empty() {
        text.push_str(&format!(
            "these settings changed and wait for the daemon's next start: {}\n",
            reply.settings_at_start.join(", ")
        ));
    }
    if let Some(why) = &reply.kept {
        text.push_str(&format!(
            "the former hooks stay in force: {}\n",
            output::safe(why)
        ));
    }
    for (names, word) in [
        (&reply.added, "added"),
        (&reply.changed, "changed"),
        (&reply.removed, "removed"),
    ] {
        for name in names {
            text.push_str(&format!("{word:<8} {name}\n"));
        }
    }
    for fault in &reply.faults {
        text.push_str(&format!("\n{}\n", output::safe(&fault.text).trim_end()));
    }
    if text.is_empty() {
        text.push_str("nothing changed\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::api::FaultView;

    #[test]
    fn a_reload_says_what_it_did() {
        assert_eq!(render(&ReloadReply::default()), "nothing changed\n");
        let reply = ReloadReply {
            added: vec!["a".to_owned()],
            removed: vec!["b".to_owned()],
            kept: Some("3 of 4 hooks are gone".to_owned()),
            faults: vec![FaultView {
                severity: SeverityView::Error,
                file: "dns.yaml".to_owned(),
                line: 3,
                text: "dns.yaml:3:1: unknown field `nmae`".to_owned(),
            }],
            ..ReloadReply::default()
        };
        insta::assert_snapshot!(render(&reply));
    }
}
