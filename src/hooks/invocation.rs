//! From a hook and an event to what is started: argv, environment, standard input. Pure: no input or output, no clock.
//!
//! The two profiles differ in everything but one rule: a value of an event is data. It becomes one argument, a variable or
//! standard input, and no shell ever reads it as a command.
//!
//! # The event as JSON
//!
//! `stdin: event` gives the whole event as one line:
//!
//! ```json
//! {"id": "k3vd-1042", "seq": 1042, "source": "opennebula", "kind": "state",
//!  "key": "EVENT STATE VM/ACTIVE/RUNNING/12 ", "subject": "vm/12", "received": "2026-11-22T02:10:03.120Z",
//!  "ambiguous": false, "synthesised": false,
//!  "facts": {"resource": "VM", "id": "12", "state": "ACTIVE", "lcm_state": "RUNNING",
//!            "previous_state": "ACTIVE", "previous_lcm_state": "BOOT", "host": "node1"},
//!  "event": {"HOOK_TYPE": "STATE", "VM": {"ID": "12"}},
//!  "payload": "PEhPT0tfTUVTU0FHRT4…"}
//! ```
//!
//! `event` is the tree that conditions see, `payload` the document as received, in base64. `facts` holds `call` and
//! `success` for an API event, `hook_id`, `arguments` and `remote_host` for a RETRY message, and `reason` for a message
//! that could not be read. What is not known is `null`.

mod environment;
mod hem;
mod onehem;
mod remote;
mod standard_input;

use std::borrow::Cow;

pub(super) use self::onehem::SHELL_CHARACTERS;
pub use crate::config::OnehemShell;
use crate::event::Event;
use crate::event::id::{ExecutionKey, StoreId};
use crate::hooks::{Hook, Profile};
use crate::runner::ssh::Ssh;
use crate::runner::{Invocation, Secret, StartFailure, StartFailureKind};

/// What an attempt's environment says besides the event.
#[derive(Debug, Clone)]
pub struct AttemptFacts<'a> {
    /// The store's id, `HEM_INSTANCE`.
    pub instance: &'a StoreId,
    /// The execution, `HEM_EXECUTION_ID`.
    pub execution: &'a ExecutionKey,
    /// The attempt's number, `HEM_ATTEMPT`.
    pub attempt: u32,
    /// The daemon's own environment.
    pub daemon_environment: &'a [(String, String)],
    /// Whether hooks of the `onehem` profile may use a shell.
    pub shell: OnehemShell,
    /// How other hosts are reached.
    pub ssh: &'a Ssh,
}

/// Lays out what is started when `hook` runs for `event`.
///
/// # Errors
/// A named failure to start when an argument cannot be made from the event.
pub fn invocation(hook: &Hook, event: &Event, facts: &AttemptFacts<'_>) -> Result<Invocation, StartFailure> {
    invocation_with(Arguments::of(hook, event)?, hook, event, facts)
}

/// [`invocation`] with the arguments that `hook` makes of `event`.
///
/// # Errors
/// A named failure to start when the event names no host for a hook that runs on its host.
pub fn invocation_with(
    arguments: Arguments,
    hook: &Hook,
    event: &Event,
    facts: &AttemptFacts<'_>,
) -> Result<Invocation, StartFailure> {
    let host = match hook.action.remote {
        true => Some(remote::host(event)?),
        false => None,
    };
    let line = match (&host, arguments.0) {
        (None, Made::Values(values)) => hem::command_line(hook, values),
        (None, Made::Line(arguments)) => onehem::command_line(&hook.action, arguments, facts.shell)?,
        (Some(host), Made::Values(values)) => remote::of_hem(hook, event, values, host, facts),
        (Some(host), Made::Line(arguments)) => remote::of_onehem(hook, arguments, host, facts),
    };
    let stdin = match line.stdin {
        Some(arguments) => standard_input::text(arguments),
        None => standard_input::chosen(hook.action.stdin, event, facts.instance),
    };
    Ok(Invocation {
        program: line.program,
        arguments: line.arguments,
        environment: environment::environment(hook, event, facts),
        secrets: hook
            .action
            .secrets
            .iter()
            .map(|(name, file)| Secret {
                name: name.clone(),
                file: file.clone(),
            })
            .collect(),
        directory: match hook.profile {
            // The folder of scripts is that of the other host.
            _ if host.is_some() => None,
            Profile::Hem => Some(
                hook.action
                    .directory
                    .as_ref()
                    .unwrap_or(&hook.action.scripts_dir)
                    .clone(),
            ),
            Profile::Onehem => hook.action.directory.clone(),
        },
        stdin,
        umask: match hook.profile {
            // Records and what scripts write are nobody's business but the owner's and the group's.
            Profile::Hem => Some(0o027),
            Profile::Onehem => None,
        },
        host,
        // The engine knows the configuration and says so where it is strict.
        refuses_open_programs: false,
    })
}

/// What a hook's arguments are for one event. To make them, its document is read and laid out.
#[derive(Debug)]
pub struct Arguments(Made);

/// As each profile makes them.
#[derive(Debug)]
enum Made {
    /// `hem`: a value for each argument.
    Values(Vec<String>),
    /// `onehem`: a line.
    Line(onehem::Arguments),
}

impl Arguments {
    /// Those of `hook` for `event`.
    ///
    /// # Errors
    /// A named failure to start when an argument cannot be made from the event.
    pub fn of(hook: &Hook, event: &Event) -> Result<Self, StartFailure> {
        Ok(Self(match hook.profile {
            Profile::Hem => Made::Values(hem::values(&hook.action, event)?),
            Profile::Onehem => Made::Line(onehem::Arguments::of(&hook.action, event)?),
        }))
    }

    /// As one line, as the controller's records and RETRY messages carry them, wherever they go to.
    pub fn line(&self) -> Cow<'_, str> {
        match &self.0 {
            Made::Values(values) => values.join(" ").into(),
            Made::Line(arguments) => arguments.text.as_str().into(),
        }
    }
}

/// The arguments as one line.
///
/// # Errors
/// A named failure to start when an argument cannot be made from the event.
pub fn argument_line(hook: &Hook, event: &Event) -> Result<String, StartFailure> {
    Arguments::of(hook, event).map(|arguments| arguments.line().into_owned())
}

/// The command with its arguments, which make this line, as the controller's records show it; without them where they go to
/// standard input. Nothing runs it.
pub fn command_shown(hook: &Hook, arguments: &str) -> String {
    let command = hook.action.command.trim();
    let (_, words) = command.split_once([' ', '\t']).unwrap_or_default();
    let arguments = match hook.action.arguments_stdin {
        true => "",
        false => arguments,
    };
    let program = hook.action.program.to_string_lossy();
    let parts = [&program, words, arguments];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// Whether a shell reads the command line of `hook`. Of the `onehem` profile this is so where the line calls for one.
pub fn uses_shell(hook: &Hook, shell: OnehemShell) -> bool {
    match hook.profile {
        Profile::Hem => hook.action.shell,
        Profile::Onehem => shell == OnehemShell::Auto && onehem::calls_for_shell(&hook.action),
    }
}

/// What a profile makes of command and arguments.
struct CommandLine {
    program: std::path::PathBuf,
    arguments: Vec<std::ffi::OsString>,
    /// The arguments, where they go to standard input.
    stdin: Option<String>,
}

fn bad_argument(message: String) -> StartFailure {
    StartFailure {
        kind: StartFailureKind::BadArgument,
        message,
    }
}

#[cfg(test)]
mod tests;
