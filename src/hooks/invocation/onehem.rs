//! The `onehem` profile: command and arguments make one line, run as `onehem-server` runs it.
//!
//! onehem-server replaces the words `$API` and `$TEMPLATE`, joins all words by one blank, and gives the line to Ruby's
//! popen. That splits it at blanks and runs it directly, unless it holds one of the shell's characters; then it runs
//! `/bin/sh -c LINE` (process.c, `rb_exec_fillarg`). Ruby's manual counts `=` and `%` among those characters, but only a
//! `=` in a first word without a slash before it counts in fact, as does a first word that is one of the shell's own. The
//! first word here is an absolute path, so neither matters, and the `=` that pads base64 does not call for a shell.

use std::ffi::OsString;
use std::path::PathBuf;

use super::{CommandLine, OnehemShell, bad_argument};
use crate::event::opennebula::Layout;
use crate::event::{Event, Facts};
use crate::hooks::invocation::standard_input;
use crate::hooks::{Action, Piece, Template};
use crate::runner::StartFailure;

/// The characters for which Ruby's popen uses a shell, wherever they stand.
pub(in crate::hooks) const SHELL_CHARACTERS: &[char] = &[
    '*', '?', '{', '}', '[', ']', '<', '>', '(', ')', '~', '&', '|', '\\', '$', ';', '\'', '`', '"', '\n',
    '#',
];

/// What stands behind the program, and what goes to standard input.
pub(super) struct Line {
    /// The rest of the command and, unless they go to standard input, the arguments.
    pub(super) text: String,
    pub(super) stdin: Option<String>,
    /// A shell may read it: all of it was written by the hook's author or is base64.
    pub(super) may_use_shell: bool,
    /// Ruby's popen would give it to a shell.
    pub(super) calls_for_shell: bool,
}

impl Line {
    pub(super) fn of(action: &Action, arguments: Arguments) -> Self {
        let (_, rest) = action.command.trim().split_once([' ', '\t']).unwrap_or_default();
        let (text, stdin) = if action.arguments_stdin {
            (rest.to_owned(), Some(arguments.text))
        } else {
            (join(rest, &arguments.text), None)
        };
        Self {
            may_use_shell: stdin.is_some() || arguments.are_the_hooks_own,
            calls_for_shell: action.command.contains(SHELL_CHARACTERS) || text.contains(SHELL_CHARACTERS),
            text,
            stdin,
        }
    }

    /// The words between its blanks.
    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.text.split([' ', '\t']).filter(|word| !word.is_empty())
    }
}

pub(super) fn command_line(
    action: &Action,
    arguments: Arguments,
    shell: OnehemShell,
) -> Result<CommandLine, StartFailure> {
    let line = Line::of(action, arguments);
    let words: Vec<OsString> = match shell {
        OnehemShell::Auto if line.calls_for_shell && line.may_use_shell => {
            return Ok(CommandLine {
                program: PathBuf::from("/bin/sh"),
                arguments: vec![
                    "-c".into(),
                    join(&action.program.to_string_lossy(), &line.text).into(),
                ],
                stdin: line.stdin,
            });
        }
        // What the hook's author wrote is split as a shell would split it; what a message brought along, at its blanks.
        OnehemShell::Never if line.calls_for_shell && line.may_use_shell => shell_words::split(&line.text)
            .map_err(|error| bad_argument(format!("the command line cannot be split into words: {error}")))?
            .into_iter()
            .map(OsString::from)
            .collect(),
        OnehemShell::Auto | OnehemShell::Never => line.words().map(OsString::from).collect(),
    };
    Ok(CommandLine {
        program: action.program.clone(),
        arguments: words,
        stdin: line.stdin,
    })
}

/// Whether what the hook's author wrote holds one of the shell's characters; `$API` and `$TEMPLATE` become base64.
pub(super) fn calls_for_shell(action: &Action) -> bool {
    let in_arguments = || {
        action.arguments.iter().any(|template| match template {
            Template::ResourceElement | Template::CallInfo => false,
            Template::Text(pieces) => pieces.iter().any(|piece| match piece {
                Piece::Literal(text) => text.contains(SHELL_CHARACTERS),
                Piece::Value(_) => false,
            }),
        })
    };
    action.command.contains(SHELL_CHARACTERS) || (!action.arguments_stdin && in_arguments())
}

fn join(first: &str, second: &str) -> String {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => first.to_owned(),
        (true, false) => second.to_owned(),
        (false, false) => format!("{first} {second}"),
    }
}

/// One word of ARGUMENTS.
enum Word {
    Literal(String),
    ResourceElement,
    CallInfo,
}

fn words(action: &Action) -> Result<Vec<Word>, StartFailure> {
    let mut words = Vec::new();
    for template in &action.arguments {
        match template {
            Template::ResourceElement => words.push(Word::ResourceElement),
            Template::CallInfo => words.push(Word::CallInfo),
            Template::Text(pieces) => {
                let literal = pieces.iter().map(|piece| match piece {
                    Piece::Literal(text) => Ok(text.as_str()),
                    Piece::Value(expression) => Err(bad_argument(format!(
                        "`{}` cannot stand in an argument of the profile `onehem`: its line may be given to a shell",
                        expression.text()
                    ))),
                });
                words.push(Word::Literal(literal.collect::<Result<_, _>>()?));
            }
        }
    }
    Ok(words)
}

/// The arguments as one line.
#[derive(Debug)]
pub(super) struct Arguments {
    pub(super) text: String,
    /// Every character of it was written by the hook's author or is base64, so a shell may read it.
    are_the_hooks_own: bool,
}

impl Arguments {
    pub(super) fn of(action: &Action, event: &Event) -> Result<Self, StartFailure> {
        let words = words(action)?;
        let arguments = if let Facts::Retry(retry) = &event.facts {
            Self {
                text: retry.arguments.clone(),
                are_the_hooks_own: repeats(&words, &retry.arguments),
            }
        } else {
            let words: Vec<String> = words
                .iter()
                .map(|word| match word {
                    Word::Literal(text) => text.clone(),
                    Word::ResourceElement => standard_input::resource_element(event, Layout::Libxml2),
                    Word::CallInfo => standard_input::call_info(event, Layout::Libxml2),
                })
                .collect();
            // A hook may ask for an element its event has not; the blank beside the empty word goes with it, as there.
            Self {
                text: words.join(" ").trim().to_owned(),
                are_the_hooks_own: true,
            }
        };
        if arguments.text.contains('\0') {
            return Err(bad_argument(
                "the arguments hold a NUL byte, which no argument can carry".to_owned(),
            ));
        }
        Ok(arguments)
    }
}

/// Whether the arguments of a RETRY message are what this hook's own line gave before: its words, and base64 where it has
/// `$API` or `$TEMPLATE`. Anybody who can publish can send such a message, so anything else never comes near a shell.
fn repeats(words: &[Word], arguments: &str) -> bool {
    let is_base64 = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
    };
    let mut rest = Some(arguments);
    for word in words {
        // A literal may hold blanks of its own where it was written as an item of a list.
        let Some(text) = rest else { return false };
        let length = match word {
            Word::Literal(literal) if text.starts_with(literal.as_str()) => literal.len(),
            Word::Literal(_) => return false,
            Word::ResourceElement | Word::CallInfo => text.find(' ').unwrap_or(text.len()),
        };
        if !matches!(word, Word::Literal(_)) && !is_base64(&text[..length]) {
            return false;
        }
        rest = match &text[length..] {
            "" => None,
            after => match after.strip_prefix(' ') {
                Some(after) => Some(after),
                None => return false,
            },
        };
    }
    rest.is_none_or(str::is_empty)
}
