//! `hem import`.

mod files;
mod hem_yaml;

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use serde::Serialize;

use self::files::Folder;
use super::exit::{Exit, Failure};
use super::{Global, Outcome, check, output};
use crate::config::Config;
use crate::event::opennebula::{hook_pool, template};
use crate::hooks::onehook::{Onehook, Use, declare_all};
use crate::hooks::{Origin, parse_definition, yaml_text};
use crate::oned::{CallError, Client};

/// Turn OpenNebula's hooks into hook files, or onehem-server.conf into hem.yaml
///
/// It reads templates as `onehook create` takes them, what `onehook list -x` and `onehook show -x` print, or the pool of a running
/// oned. Each hook becomes a YAML document with the profile `onehem`; comments are kept, and what has no equal is explained in a
/// comment and on standard error. A hook with a number stands in for the pool's hook of that number. Without --out the documents go
/// to standard output.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true),
    after_help = "Examples:
  hem import vm-hook.tmpl host-hook.tmpl --out /etc/hem/hooks.d
  onehook list -x | hem import -
  hem import --pool --out ./hooks.d --dry-run
  hem import --onehem-conf /etc/one/onehem-server.conf --write /etc/hem/hem.yaml"
)]
pub(super) struct Arguments {
    /// Templates, or XML of one hook or of all; - for standard input
    #[arg(value_name = "FILE", group = "what")]
    files: Vec<PathBuf>,
    /// Ask oned for its hooks, as `oned` in hem.yaml says, or else as OpenNebula's own tools do
    #[arg(long, group = "what")]
    pool: bool,
    /// Turn this configuration of onehem-server into hem.yaml
    #[arg(long, value_name = "FILE", group = "what")]
    onehem_conf: Option<PathBuf>,
    /// Write a file for each hook into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "onehem_conf")]
    out: Option<PathBuf>,
    /// Write hem.yaml here, instead of to standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files", "pool"])]
    write: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long)]
    force: bool,
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// A hook that is ready to be written.
#[derive(Debug, Serialize)]
struct Ready {
    name: String,
    /// Its number in oned's pool.
    id: Option<u64>,
    /// What it was read from.
    from: String,
    /// The file it goes to.
    file: Option<PathBuf>,
    /// The YAML document.
    text: String,
    /// What has no equal, or means something else than it seems to.
    notes: Vec<String>,
}

/// Something that is not imported.
#[derive(Debug, Serialize)]
struct Refused {
    from: String,
    reason: String,
}

/// What came of it all, for programs.
#[derive(Debug, Serialize)]
struct ImportView {
    hooks: Vec<Ready>,
    refused: Vec<Refused>,
}

pub(super) async fn run(global: Global, arguments: Arguments) -> Outcome {
    if let Some(conf) = &arguments.onehem_conf {
        return hem_yaml::run(&global, conf, &arguments);
    }
    let config = global.config()?;
    let mut view = ImportView {
        hooks: Vec::new(),
        refused: Vec::new(),
    };
    let mut found = Vec::new();
    if arguments.pool {
        let client = Client::new(&config.oned_to_ask()?);
        let document = client
            .text("one.hookpool.info", &[])
            .await
            .map_err(|error| failure(&error))?;
        read(&document, "oned", &mut found, &mut view.refused);
    }
    for path in &arguments.files {
        let (name, text) = contents(path)?;
        match text {
            Ok(text) => read(&text, &name, &mut found, &mut view.refused),
            Err(reason) => view.refused.push(Refused { from: name, reason }),
        }
    }
    declare(found, &config, &mut view);
    if let Some(out) = &arguments.out {
        let folder = Folder::look(out, &check::options(&config))?;
        folder.name_files(&mut view.hooks, &mut view.refused, arguments.force);
        if !arguments.dry_run {
            folder.write(&view.hooks, arguments.force)?;
        }
    }
    tell(&view, global.json, &arguments)
}

/// A file and how it is called; the reason where it is no text.
fn contents(path: &Path) -> Result<(String, Result<String, String>), Failure> {
    let (name, bytes) = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let read = io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes);
        ("standard input".to_owned(), read)
    } else {
        (path.display().to_string(), std::fs::read(path))
    };
    let bytes =
        bytes.map_err(|error| Failure::new(Exit::Failed, format!("cannot read `{name}`: {error}")))?;
    Ok((
        name,
        String::from_utf8(bytes).map_err(|_| "it is not in UTF-8".to_owned()),
    ))
}

/// The hooks of one document, with what it is called.
fn read(text: &str, from: &str, found: &mut Vec<(String, Onehook)>, refused: &mut Vec<Refused>) {
    let mut refuse = |reason: String| {
        refused.push(Refused {
            from: from.to_owned(),
            reason,
        });
    };
    if text.trim_start_matches('\u{feff}').trim_start().starts_with('<') {
        match hook_pool::read(text) {
            Ok(pool) => {
                found.extend(
                    pool.hooks
                        .iter()
                        .map(|hook| (from.to_owned(), Onehook::from(hook))),
                );
                pool.faults.iter().for_each(|fault| refuse(fault.to_string()));
            }
            Err(error) => refuse(error.to_string()),
        }
        return;
    }
    match template::parse(text) {
        Ok(template) => match Onehook::try_from(template) {
            Ok(hook) => found.push((from.to_owned(), hook)),
            Err(error) => refuse(format!("the hook cannot be imported: {error}")),
        },
        Err(fault) => refuse(fault.to_string()),
    }
}

/// Makes documents of the hooks. What `hem check` would refuse is not among them.
fn declare(found: Vec<(String, Onehook)>, config: &Config, view: &mut ImportView) {
    let defaults = check::options(config).defaults;
    let (from, hooks): (Vec<String>, Vec<Onehook>) = found.into_iter().unzip();
    let mut by_id: BTreeMap<u64, String> = BTreeMap::new();
    for ((declared, hook), from) in declare_all(&hooks, Use::File).into_iter().zip(&hooks).zip(from) {
        let shown = hook.name.escape_debug().to_string();
        let mut refuse = |reason: String| {
            view.refused.push(Refused {
                from: from.clone(),
                reason: format!("hook `{shown}` {reason}"),
            });
        };
        let declared = match declared {
            Ok(declared) => declared,
            Err(error) => {
                refuse(format!("cannot be imported: {error}"));
                continue;
            }
        };
        if let Some(other) = hook.id.and_then(|id| by_id.get(&id)) {
            refuse(format!("has the number of `{other}`, which is imported already"));
            continue;
        }
        let name = declared.name.to_string();
        let mut text = String::new();
        yaml_text::remark(&mut text, &format!("Imported from {from}."));
        text.push_str(&declared.text);
        let origin = Origin {
            file: format!("{name}.yaml").into(),
            line: 1,
            file_sha256: [0; 32],
        };
        if let Err(faults) = parse_definition(&text, &origin, &defaults) {
            let reasons: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
            refuse(format!("would be refused by hem: {}", reasons.join("; ")));
            continue;
        }
        if let Some(id) = hook.id {
            by_id.insert(id, name.clone());
        }
        view.hooks.push(Ready {
            name,
            id: hook.id,
            from,
            file: None,
            text,
            notes: declared.notes,
        });
    }
}

fn tell(view: &ImportView, json: bool, arguments: &Arguments) -> Outcome {
    if json {
        output::print_json(view)?;
    } else {
        for hook in &view.hooks {
            for note in &hook.notes {
                output::say(&format!("note: {}: {note}", hook.name));
            }
        }
        for refused in &view.refused {
            output::say(&format!("refused: {}: {}", refused.from, refused.reason));
        }
        output::print(&in_words(view, arguments))?;
    }
    Ok(if view.refused.is_empty() {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

fn in_words(view: &ImportView, arguments: &Arguments) -> String {
    let texts = view.hooks.iter().map(|hook| match &hook.file {
        Some(file) => {
            let done = if arguments.dry_run { "would write" } else { "wrote" };
            format!("{done} {}\n", file.display())
        }
        None if arguments.dry_run => format!("{} from {}\n", hook.name, hook.from),
        None => hook.text.clone(),
    });
    let are_documents = arguments.out.is_none() && !arguments.dry_run;
    let between = if are_documents { "---\n" } else { "" };
    texts.collect::<Vec<_>>().join(between)
}

fn failure(error: &CallError) -> Failure {
    let failure = Failure::of(Exit::Failed, error);
    match error {
        CallError::Credentials(_) => failure
            .with_hint("run it as oneadmin, or name the file with `oned: { auth }` in hem.yaml or ONE_AUTH"),
        CallError::NotReachable { .. } => {
            failure.with_hint("name oned's address with `oned: { endpoint }` in hem.yaml or ONE_XMLRPC")
        }
        error if error.is_authentication() => {
            failure.with_hint("hooks are shown to oneadmin and his group alone")
        }
        _ => failure,
    }
}
