//! `onehem-server.conf` as `hem.yaml`.

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::{Arguments, files};
use crate::cli::exit::{Exit, Failure};
use crate::cli::{Global, Outcome, output};
use crate::config::{Config, OnehemConf, Place};
use crate::hooks::yaml_text::{remark, scalar};

/// What came of it, for programs.
#[derive(Debug, Serialize)]
struct ConfView<'a> {
    from: &'a Path,
    file: Option<&'a Path>,
    text: String,
    notes: Vec<String>,
}

pub(super) fn run(global: &Global, conf: &Path, arguments: &Arguments) -> Outcome {
    let read = OnehemConf::read(conf)?;
    let place = Place::of_this_process();
    let text = text(&read, conf, &place);
    // What is written is what hem reads; anything else is a fault of this program.
    Config::from_text(&text, Path::new("/etc/hem/hem.yaml"), &place)?;
    let file = arguments.write.as_deref();
    if let Some(file) = file {
        if arguments.dry_run {
            refuse_existing(file, arguments.force)?;
        } else {
            files::write(file, &text, arguments.force)?;
        }
    }
    if global.json {
        output::print_json(&ConfView {
            from: conf,
            file,
            text,
            notes: read.notes,
        })?;
        return Ok(Exit::Ok);
    }
    for note in &read.notes {
        output::say(&format!("note: {note}"));
    }
    output::print(&match file {
        Some(file) if arguments.dry_run => format!("would write {}\n", file.display()),
        Some(file) => format!("wrote {}\n", file.display()),
        None => text,
    })?;
    Ok(Exit::Ok)
}

fn refuse_existing(file: &Path, force: bool) -> Result<(), Failure> {
    if file.exists() && !force {
        return Err(
            Failure::new(Exit::Failed, format!("`{}` is there already", file.display()))
                .with_hint("--force writes over it"),
        );
    }
    Ok(())
}

fn text(conf: &OnehemConf, from: &Path, place: &Place) -> String {
    let mut text = String::new();
    remark(&mut text, &format!("Imported from {}.", from.display()));
    for note in &conf.notes {
        remark(&mut text, &format!("Note: {note}."));
    }
    let hook_base_path = conf.hook_base_path.clone().or_else(|| {
        place
            .one_location
            .as_ref()
            .map(|one| one.join("var/remotes/hooks"))
    });
    let settings = [
        ("log", conf.log.as_ref().map(|log| log.as_str().to_owned())),
        (
            "onehem_scripts_dir",
            hook_base_path.map(|path| path.display().to_string()),
        ),
        (
            "remote_scripts_dir",
            conf.remote_hook_base_path
                .as_ref()
                .map(|path| path.display().to_string()),
        ),
        ("concurrency", conf.concurrency.map(|number| number.0.to_string())),
    ];
    for (key, value) in settings {
        if let Some(value) = value {
            // Writing to a string cannot fail.
            let _ = match value.parse::<u64>() {
                Ok(number) => writeln!(text, "{key}: {number}"),
                Err(_) => writeln!(text, "{key}: {}", scalar(&value)),
            };
        }
    }
    text.push_str("sources:\n  opennebula:\n    type: opennebula\n");
    for (key, endpoint) in [
        ("endpoint", &conf.subscriber_endpoint),
        ("replies", &conf.replier_endpoint),
    ] {
        if let Some(endpoint) = endpoint {
            let _ = writeln!(text, "    {key}: {}", scalar(&endpoint.0));
        }
    }
    remark(
        &mut text,
        "The hooks of oned's pool run, as they did under onehem-server.",
    );
    text.push_str("oned: {}\n");
    text
}
