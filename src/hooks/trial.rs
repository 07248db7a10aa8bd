//! The author's own tests: a hook tried against saved events, without running anything.

use std::path::{Path, PathBuf};

use super::invocation::{AttemptFacts, OnehemShell, invocation};
use super::{Hook, HookTest};
use crate::event::Event;
use crate::event::id::{ExecutionKey, StoreId};
use crate::event::saved;
use crate::matching;
use crate::runner::ssh::Ssh;

/// What came of one test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// The saved event, as the test names it.
    pub event: PathBuf,
    /// The line of the hook's file the test begins on.
    pub line: usize,
    /// What was not as expected, in sentences; empty when the test passed.
    pub failures: Vec<String>,
}

impl TestResult {
    /// Whether all was as expected.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// Stands for any one argument in an expected argv.
const ANY_ARGUMENT: &str = "...";

/// Runs the tests of a hook. Saved events are looked for from the folder of the hook's file upwards, then in `search`.
pub fn run_tests(hook: &Hook, search: &[PathBuf], shell: OnehemShell) -> Vec<TestResult> {
    hook.tests
        .iter()
        .map(|test| TestResult {
            event: test.event.clone(),
            line: test.line,
            failures: match event_of(hook, test, search) {
                Ok(event) => failures(hook, test, &event, shell),
                Err(failure) => vec![failure],
            },
        })
        .collect()
}

fn event_of(hook: &Hook, test: &HookTest, search: &[PathBuf]) -> Result<Event, String> {
    let folder = hook.origin.file.parent().unwrap_or(Path::new(""));
    // A relative folder is looked at as an absolute one, so that its parents are found too.
    let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let (path, line) = folder
        .ancestors()
        .chain(search.iter().map(PathBuf::as_path))
        .map(|folder| saved::locate(&folder.join(&test.event)))
        .find(|(path, _)| path.exists())
        .ok_or_else(|| {
            format!(
                "there is no `{}` in the folder of the hook's file or above it",
                test.event.display()
            )
        })?;
    let mut event = saved::read(&path, line).map_err(|error| in_one_line(&error))?;
    // A trigger that asks for a source by name is tried with an event of that source.
    if let Some(source) = hook.triggers.iter().find_map(|trigger| trigger.source()) {
        event.source = source.into();
    }
    Ok(event)
}

fn in_one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        line.push_str(": ");
        line.push_str(&cause.to_string());
        source = cause.source();
    }
    line
}

fn failures(hook: &Hook, test: &HookTest, event: &Event, shell: OnehemShell) -> Vec<String> {
    let explanation = matching::explain(hook, event);
    if explanation.matches != test.expect_match {
        return vec![match explanation.steps.iter().find(|step| !step.holds) {
            Some(step) if test.expect_match => {
                format!("the hook does not match: {}, found {}", step.asked, step.found)
            }
            _ if test.expect_match => "the hook does not match".to_owned(),
            _ => "the hook matches and should not".to_owned(),
        }];
    }
    match &test.expect_argv {
        Some(expected) if test.expect_match => argv_failures(hook, event, expected, shell),
        _ => Vec::new(),
    }
}

fn argv_failures(hook: &Hook, event: &Event, expected: &[String], shell: OnehemShell) -> Vec<String> {
    let argv = match argv(hook, event, shell) {
        Ok(argv) => argv,
        Err(failure) => return vec![failure],
    };
    if argv.len() != expected.len() {
        return vec![format!(
            "argv has {} words and should have {}: {}",
            argv.len(),
            expected.len(),
            shown(&argv)
        )];
    }
    argv.iter()
        .zip(expected)
        .enumerate()
        .filter(|(_, (found, expected))| *expected != ANY_ARGUMENT && found != expected)
        .map(|(index, (found, expected))| {
            format!(
                "argv[{index}] is `{}` and should be `{expected}`",
                shortened(found)
            )
        })
        .collect()
}

/// The command as declared and its arguments: what does not depend on where the scripts folder is.
fn argv(hook: &Hook, event: &Event, shell: OnehemShell) -> Result<Vec<String>, String> {
    let instance: StoreId = "test".parse().map_err(|error| format!("{error}"))?;
    let execution = ExecutionKey::new(event.seq, hook.name.clone());
    let ssh = Ssh::default();
    let facts = AttemptFacts {
        instance: &instance,
        execution: &execution,
        attempt: 1,
        daemon_environment: &[],
        shell,
        ssh: &ssh,
    };
    // What is written in front of it for another host is not the author's.
    let mut here = hook.clone();
    here.action.remote = false;
    let invocation = invocation(&here, event, &facts).map_err(|failure| failure.message)?;
    let text = |word: &std::ffi::OsString| word.to_string_lossy().into_owned();
    let words = invocation.arguments.iter().map(text);
    Ok(if hook.action.shell {
        // `-c`, the script and its `$0` come before the values.
        std::iter::once(hook.action.command.clone())
            .chain(words.skip(3))
            .collect()
    } else if invocation.program == hook.action.program {
        std::iter::once(hook.action.command.clone())
            .chain(words)
            .collect()
    } else {
        std::iter::once(invocation.program.to_string_lossy().into_owned())
            .chain(words)
            .collect()
    })
}

fn shown(words: &[String]) -> String {
    words
        .iter()
        .map(|word| format!("`{}`", shortened(word)))
        .collect::<Vec<_>>()
        .join(" ")
}

/// An element in base64 is no help in a message.
fn shortened(word: &str) -> String {
    const SHOWN: usize = 60;
    if word.chars().count() <= SHOWN {
        return word.to_owned();
    }
    let start: String = word.chars().take(SHOWN).collect();
    format!("{start}… ({} bytes)", word.len())
}
