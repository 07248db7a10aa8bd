//! `hem match`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::Args;
use serde::Serialize;

use super::backend::Backend;
use super::exit::{Exit, Failure};
use super::output::{self, Style, Tint, safe};
use super::{Global, Outcome, check, pool_hooks};
use crate::config::Config;
use crate::control::api::{EventView, FactsView, HookView, Text};
use crate::event::id::{ExecutionKey, Reference, Seq, StoreId};
use crate::event::opennebula::key::Key;
use crate::event::payload::Payload;
use crate::event::redaction::Redaction;
use crate::event::saved;
use crate::event::webhook::{Form, WebhookRequest};
use crate::event::{Event, Facts, Subject, opennebula, own};
use crate::hooks::Hook;
use crate::hooks::invocation::{AttemptFacts, OnehemShell, invocation};
use crate::matching::{Explanation, explain};
use crate::runner::ssh::Ssh;
use crate::runner::{Invocation, StartFailure, Stdin};

/// Bytes shown of what a script reads from its standard input.
const SHOWN_STDIN: usize = 2000;

/// Say which hooks an event triggers, and why not the others
///
/// Every condition is shown with the value found; of hooks that match, the exact arguments, environment and standard
/// input. Nothing runs and nothing is recorded, but that the document of a kept event was read. Hooks that `oned` keeps take
/// part where a daemon is alive and no --hooks are named.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hem match examples/opennebula/events/vm-running.xml
  hem match examples/esc/events/vm-alive.xml --hooks examples/esc/hooks --scripts-dir examples/esc/scripts
  hem match 1042                               # an event the daemon has kept
  hem match events.jsonl#17 --hooks hooks.d --hook vm-running")]
pub(super) struct Arguments {
    /// A saved event of any system (.xml, .b64, .json, FILE.jsonl#17), or the id of an event the daemon has kept
    #[arg(value_name = "EVENT")]
    event: String,
    /// Only this hook
    #[arg(long)]
    hook: Option<String>,
    /// A hook file or a folder of them [default: hooks_dir of the configuration]
    #[arg(long, value_name = "PATH")]
    hooks: Option<PathBuf>,
    /// Where relative commands are looked for, instead of scripts_dir
    #[arg(long, value_name = "FOLDER")]
    scripts_dir: Option<PathBuf>,
    /// Take a kept event from the store itself, while no daemon is alive
    #[arg(long)]
    offline: bool,
}

/// What came of one hook, for programs.
#[derive(Debug, Serialize)]
struct HookAnswer {
    hook: String,
    enabled: bool,
    matches: bool,
    steps: Vec<StepView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<CommandView>,
}

/// One thing looked at.
#[derive(Debug, Serialize)]
struct StepView {
    asked: String,
    found: String,
    holds: bool,
    /// What a condition looked up in the event, each with the value found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lookups: Vec<(String, String)>,
}

/// What would run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum CommandView {
    /// This.
    Starts {
        argv: Vec<String>,
        environment: Vec<(String, String)>,
        directory: Option<String>,
        stdin: Option<String>,
    },
    /// Nothing: it cannot be laid out.
    Fails { why: String },
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Outcome {
    let config = check::config(global, arguments.scripts_dir.as_deref())?;
    let asked = find_event(global, &arguments.event, arguments.offline)?;
    let event = &asked.event;
    let of_oned = asked.hooks_of_oned(global, &config, arguments.hooks.as_deref(), arguments.offline)?;
    let path = arguments.hooks.unwrap_or_else(|| config.hooks_dir.clone());
    let checked = check::read(&path, &config)?;
    for fault in checked.faults.iter().filter(|fault| fault.is_error()) {
        output::say(fault.to_string().trim_end());
    }
    let hooks: Vec<&Arc<Hook>> = checked
        .hooks
        .iter()
        .chain(&of_oned)
        .filter(|hook| {
            arguments
                .hook
                .as_deref()
                .is_none_or(|name| hook.name.as_str() == name)
        })
        .collect();
    if let Some(name) = arguments.hook.filter(|_| hooks.is_empty()) {
        return Err(unknown_hook(&name, &path));
    }
    for name in asked.differing(hooks.iter().map(|hook| &***hook)) {
        output::say(&format!(
            "note: the daemon does not run this version of `{name}`; `hem hooks show {name}` shows its own"
        ));
    }
    let redaction = config.redaction().knowing(event.payload.bytes());
    let mut answers: Vec<HookAnswer> = hooks
        .iter()
        .map(|hook| {
            let mut answer = answer(hook, event, config.onehem_shell, &redaction);
            answer.enabled = asked.is_enabled(hook);
            answer
        })
        .collect();
    // What runs comes first.
    answers.sort_by_key(|answer| !(answer.matches && answer.enabled));
    if global.json {
        output::print_json(&answers)?;
    } else {
        output::print(&render(event, &answers, &redaction, &global.style()))?;
    }
    Ok(Exit::Ok)
}

pub(super) fn unknown_hook(name: &str, path: &Path) -> Failure {
    Failure::new(
        Exit::Failed,
        format!("there is no good hook `{name}` in `{}`", path.display()),
    )
    .with_hint("`hem check` says what is there, and what is wrong with it")
}

/// The event that is asked about.
pub(super) struct Asked {
    pub(super) event: Event,
    /// The daemon's hooks, where the event is one that it has kept.
    live: Option<Vec<HookView>>,
}

/// An event from a file, or from the daemon (or its store) when an id is given and no file has that name.
///
/// The daemon gives the document as it is, and writes that down: with secrets blotted out, conditions and arguments would
/// not be what they were. What is printed of it is blotted out here.
pub(super) fn find_event(global: &Global, named: &str, offline: bool) -> Result<Asked, Failure> {
    if let Ok(reference) = named.parse::<Reference>()
        && !Path::new(named).exists()
    {
        let (story, live) = super::wait_for_value(async {
            let backend = Backend::open_unveiled(global, offline).await?;
            let story = backend.story(named, &reference, true).await?;
            let live = match &backend {
                Backend::Daemon(client) => Some(client.hooks().await?),
                Backend::Store(_) => None,
            };
            Ok((story, live))
        })?;
        let view = story
            .event
            .ok_or_else(|| Failure::new(Exit::Failed, format!("the event of `{named}` is no longer kept")))?;
        return Ok(Asked {
            event: kept_event(view)?,
            live,
        });
    }
    let (path, line) = saved::locate(Path::new(named));
    let event = saved::read(&path, line).map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(Asked { event, live: None })
}

impl Asked {
    /// The hooks of `oned` that take part beside those of the folder.
    pub(super) fn hooks_of_oned(
        &self,
        global: &Global,
        config: &Config,
        folder: Option<&Path>,
        offline: bool,
    ) -> Result<Vec<Arc<Hook>>, Failure> {
        pool_hooks::in_force(global, config, folder, self.live.as_deref(), offline)
    }

    /// Whether the hook runs: its file's word, unless the daemon says otherwise.
    fn is_enabled(&self, hook: &Hook) -> bool {
        self.in_force(hook).map_or(hook.enabled, |live| live.enabled)
    }

    fn in_force(&self, hook: &Hook) -> Option<&HookView> {
        self.live
            .as_ref()?
            .iter()
            .find(|live| live.name == hook.name.as_str())
    }

    /// The hooks that the daemon runs in another version than the one looked at, or not at all.
    pub(super) fn differing<'a>(&self, hooks: impl Iterator<Item = &'a Hook>) -> Vec<&'a str> {
        if self.live.is_none() {
            return Vec::new();
        }
        hooks
            .filter(|hook| {
                self.in_force(hook)
                    .is_none_or(|live| live.definition.version != hook.version.to_string())
            })
            .map(|hook| hook.name.as_str())
            .collect()
    }
}

fn kept_event(view: EventView) -> Result<Event, Failure> {
    let payload = match view.payload {
        Some(Text::Text(text)) => text.into_bytes(),
        Some(Text::Base64(base64)) => BASE64.decode(base64).map_err(|error| {
            Failure::new(Exit::Failed, format!("the daemon's answer is no base64: {error}"))
        })?,
        None => Vec::new(),
    };
    if payload.is_empty() && !matches!(view.facts, FactsView::Undecodable { .. }) {
        return Err(Failure::new(
            Exit::Failed,
            format!("the document of event {} was not kept", view.seq),
        )
        .with_hint(
            "of `one.user.*` calls that match no hook only the envelope is kept, for the passwords in them",
        ));
    }
    if view.facts.is_own() {
        return Ok(Event {
            seq: Seq(view.seq),
            source: view.source.into(),
            ..own::read(&payload)
        });
    }
    let sent = match view.facts {
        FactsView::Webhook {
            endpoint,
            method,
            form,
            delivery,
            headers,
            sender,
            request,
        } => Some(Facts::Webhook(WebhookRequest {
            endpoint,
            method,
            form: Form::named(&form).ok_or_else(|| {
                Failure::new(Exit::Failed, format!("the daemon's answer names no form: {form}"))
            })?,
            delivery,
            headers,
            sender,
            request,
        })),
        FactsView::Esc(event) => Some(Facts::Esc(Box::new(event.into_event().ok_or_else(|| {
            Failure::new(
                Exit::Failed,
                "the daemon's answer names no way and form of ESC".to_owned(),
            )
        })?))),
        FactsView::Ncmp(told) => Some(Facts::Ncmp(Box::new(told.into_record()))),
        FactsView::Masakari(told) => Some(Facts::Masakari(told.into())),
        _ => None,
    };
    if let Some(facts) = sent {
        return Ok(Event {
            seq: Seq(view.seq),
            source: view.source.into(),
            key: view.key,
            subject: view.subject.as_deref().map(Subject::new),
            received: view.received.0,
            payload: facts.payload(payload.into()),
            facts,
            ambiguous: view.ambiguous,
            synthesised: view.synthesised,
        });
    }
    let reading = opennebula::read(&view.key, &payload);
    Ok(Event {
        seq: Seq(view.seq),
        source: view.source.into(),
        key: view.key,
        subject: view.subject.as_deref().map(Subject::new),
        received: view.received.0,
        facts: reading.facts,
        ambiguous: view.ambiguous,
        synthesised: view.synthesised,
        payload: Payload::new(payload.into()),
    })
}

/// What would be started for a hook and an event, outside of any store.
///
/// # Errors
/// It cannot be laid out.
pub(super) fn command_for(
    hook: &Hook,
    event: &Event,
    shell: OnehemShell,
) -> Result<Invocation, StartFailure> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let instance = StoreId::draw(&mut fastrand::Rng::with_seed(0));
    let execution = ExecutionKey::new(event.seq, hook.name.clone());
    let ssh = Ssh::default();
    let facts = AttemptFacts {
        instance: &instance,
        execution: &execution,
        attempt: 1,
        daemon_environment: &environment,
        shell,
        ssh: &ssh,
    };
    invocation(hook, event, &facts)
}

fn answer(hook: &Hook, event: &Event, shell: OnehemShell, redaction: &Redaction) -> HookAnswer {
    let Explanation { steps, matches } = explain(hook, event);
    let call = match &event.facts {
        Facts::Api(api) => Some(api.call.as_str()),
        _ => None,
    };
    HookAnswer {
        hook: hook.name.to_string(),
        enabled: hook.enabled,
        matches,
        steps: steps
            .into_iter()
            .map(|step| StepView {
                asked: step.asked,
                found: redaction.text(&step.found, call),
                holds: step.holds,
                lookups: step
                    .lookups
                    .into_iter()
                    .map(|(asked, found)| {
                        let found = redaction.variable(&asked, &found, call);
                        (asked, found)
                    })
                    .collect(),
            })
            .collect(),
        command: matches.then(|| match command_for(hook, event, shell) {
            Ok(invocation) => shown(&invocation, redaction, call),
            Err(failure) => CommandView::Fails {
                why: redaction.text(&failure.message, call),
            },
        }),
    }
}

fn shown(invocation: &Invocation, redaction: &Redaction, call: Option<&str>) -> CommandView {
    let mut argv = vec![invocation.program.display().to_string()];
    argv.extend(
        invocation
            .arguments
            .iter()
            .map(|argument| redaction.argument(&argument.to_string_lossy(), call)),
    );
    let mut environment: Vec<(String, String)> = invocation
        .environment
        .iter()
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let value = redaction.variable(&name, &value.to_string_lossy(), call);
            (name, value)
        })
        .collect();
    environment.extend(
        invocation
            .secrets
            .iter()
            .map(|secret| (secret.name.clone(), format!("(from {})", secret.file.display()))),
    );
    CommandView::Starts {
        argv,
        environment,
        directory: invocation
            .directory
            .as_ref()
            .map(|path| path.display().to_string()),
        stdin: match &invocation.stdin {
            Stdin::Empty => None,
            Stdin::Bytes(bytes) => Some(redaction.text(&String::from_utf8_lossy(bytes), call)),
        },
    }
}

fn render(event: &Event, answers: &[HookAnswer], redaction: &Redaction, style: &Style) -> String {
    let what = match &event.facts {
        Facts::Undecodable { reason } => format!("undecodable: {reason}"),
        _ => format!("{} event", event.kind()),
    };
    let subject = event.subject.as_ref().map_or("-", |subject| subject.as_str());
    let head = redaction.text(&format!("{what}  {subject}  {}", event.key), None);
    let mut text = format!("{}\n", safe(&head));
    if Key::parse(&event.key).is_twin() {
        text.push_str("note: this key is a further copy of a STATE event; the daemon counts it once and drops this one\n");
    }
    for answer in answers {
        let (tint, verdict) = match (answer.matches, answer.enabled) {
            (true, true) => (Tint::Good, "matches"),
            (true, false) => (Tint::Busy, "would match, but is disabled"),
            (false, _) => (Tint::Faint, "does not match"),
        };
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            text,
            "\n{}  {}",
            style.paint(Tint::Strong, &answer.hook),
            style.paint(tint, verdict)
        );
        for step in &answer.steps {
            let mark = if step.holds {
                style.paint(Tint::Good, "yes")
            } else {
                style.paint(Tint::Bad, "no ")
            };
            let _ = writeln!(
                text,
                "  {mark}  {}  (found: {})",
                safe(&step.asked),
                safe(&step.found)
            );
            for (asked, found) in &step.lookups {
                let _ = writeln!(text, "       {} is {}", safe(asked), safe(found));
            }
        }
        match &answer.command {
            None => {}
            Some(CommandView::Fails { why }) => {
                let _ = writeln!(
                    text,
                    "  {}",
                    style.paint(Tint::Bad, &format!("cannot start: {}", safe(why)))
                );
            }
            Some(CommandView::Starts {
                argv,
                environment,
                directory,
                stdin,
            }) => {
                text.push_str("  would run\n");
                for (index, argument) in argv.iter().enumerate() {
                    let _ = writeln!(text, "    [{index}] {}", safe(argument));
                }
                if let Some(directory) = directory {
                    let _ = writeln!(text, "  in {}", safe(directory));
                }
                text.push_str("  with\n");
                for (name, value) in environment {
                    let _ = writeln!(text, "    {}={}", safe(name), safe(value));
                }
                if let Some(stdin) = stdin {
                    let shown: String = stdin.chars().take(SHOWN_STDIN).collect();
                    let cut = if shown.len() < stdin.len() { " …" } else { "" };
                    let _ = writeln!(text, "  reading {} bytes\n    {}{cut}", stdin.len(), safe(&shown));
                }
            }
        }
    }
    let matching = answers
        .iter()
        .filter(|answer| answer.matches && answer.enabled)
        .count();
    let _ = writeln!(text, "\n{matching} of {} hooks would run", answers.len());
    text
}
