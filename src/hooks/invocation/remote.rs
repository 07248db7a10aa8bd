//! Hooks that run on the event's host: what `ssh` is given.
//!
//! `ssh` joins its words by blanks and the shell of the other host reads them. hem's own profile quotes each word for that
//! shell; the profile `onehem` leaves the line as it is, as `onehem-server` does: it is read twice, here and there.

use std::ffi::OsString;

use super::onehem::{Arguments, Line};
use super::{AttemptFacts, CommandLine, OnehemShell, bad_argument, environment, hem};
use crate::event::Event;
use crate::hooks::{Hook, StdinChoice};
use crate::runner::StartFailure;

/// The host the event names.
pub(super) fn host(event: &Event) -> Result<String, StartFailure> {
    let name = event.host().filter(|host| !host.is_empty()).ok_or_else(|| {
        bad_argument(
            "the hook runs on the event's host (`remote: true`), and this event names none".to_owned(),
        )
    })?;
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-'));
    if is_name {
        Ok(name.to_owned())
    } else {
        Err(bad_argument(format!("`{name}` cannot be the name of a host")))
    }
}

pub(super) fn of_hem(
    hook: &Hook,
    event: &Event,
    values: Vec<String>,
    host: &str,
    facts: &AttemptFacts<'_>,
) -> CommandLine {
    let line = hem::command_line(hook, values);
    let mut words: Vec<String> = Vec::new();
    if let Some(directory) = &hook.action.directory {
        words.extend([
            "cd".to_owned(),
            quoted(&directory.to_string_lossy()),
            "&&".to_owned(),
        ]);
    }
    words.push("env".to_owned());
    let variables = environment::given(hook, event, facts);
    words.extend(
        variables
            .iter()
            .map(|(name, value)| quoted(&format!("{name}={value}"))),
    );
    words.extend(limited(hook));
    words.push(quoted(&line.program.to_string_lossy()));
    words.extend(line.arguments.iter().map(|word| quoted(&word.to_string_lossy())));
    let reads = line.stdin.is_some() || hook.action.stdin != StdinChoice::None;
    CommandLine {
        program: "ssh".into(),
        arguments: before(host, reads, facts)
            .into_iter()
            .chain(words.into_iter().map(OsString::from))
            .collect(),
        stdin: line.stdin,
    }
}

pub(super) fn of_onehem(
    hook: &Hook,
    arguments: Arguments,
    host: &str,
    facts: &AttemptFacts<'_>,
) -> CommandLine {
    let action = &hook.action;
    let line = Line::of(action, arguments);
    let program = action.program.to_string_lossy();
    let before = before(host, line.stdin.is_some(), facts);
    if line.calls_for_shell && line.may_use_shell && facts.shell == OnehemShell::Auto {
        let own = before.iter().map(|word| quoted(&word.to_string_lossy()));
        let words: Vec<String> = own.chain(limited(hook)).collect();
        let script = format!("exec ssh {} {program} {}", words.join(" "), line.text);
        return CommandLine {
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.trim_end().into()],
            stdin: line.stdin,
        };
    }
    // What a message brought along is nobody's script: the other host's shell must not read it as one.
    let word = |word: &str| match line.may_use_shell {
        true => OsString::from(word),
        false => quoted(word).into(),
    };
    let mut arguments = before;
    arguments.extend(limited(hook).into_iter().map(OsString::from));
    arguments.push(program.as_ref().into());
    arguments.extend(line.words().map(word));
    CommandLine {
        program: "ssh".into(),
        arguments,
        stdin: line.stdin,
    }
}

/// What comes before the command. Without input `ssh` must not read the daemon's.
fn before(host: &str, reads: bool, facts: &AttemptFacts<'_>) -> Vec<OsString> {
    let mut words = facts.ssh.options(host);
    if !reads {
        words.push("-n".into());
    }
    words.extend(["--".into(), host.into()]);
    words
}

/// The limit is kept on the other host too: ending `ssh` here ends nothing there.
fn limited(hook: &Hook) -> Vec<String> {
    let Some(limit) = hook.policy.timeout else {
        return Vec::new();
    };
    let seconds = |duration: std::time::Duration| format!("{:.3}", duration.as_secs_f64());
    vec![
        "timeout".to_owned(),
        "-k".to_owned(),
        seconds(hook.policy.grace),
        seconds(limit),
    ]
}

fn quoted(word: &str) -> String {
    shell_words::quote(word).into_owned()
}
