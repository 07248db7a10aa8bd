//! What is wrong with a hook file, told with the place and, where possible, the cure.

use std::fmt;
use std::path::{Path, PathBuf};

use super::yaml::Document;
use crate::event::redaction::Redaction;

/// One thing wrong with a hook file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named.
    pub file: PathBuf,
    /// The line, from 1; 0 when the fault is about the file as a whole.
    pub line: usize,
    /// The column, in characters from 1; 0 when the fault is about the file as a whole.
    pub column: usize,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line in question with carets below the place; empty when there is no such line.
    pub snippet: String,
    /// Whether the hook is refused.
    pub severity: Severity,
}

/// How bad a fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The hook works, but perhaps not as meant.
    Warning,
    /// The file is refused.
    Error,
}

impl Severity {
    /// The name in messages and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a file: where carets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// From 1.
    pub(super) line: usize,
    /// In characters, from 1.
    pub(super) column: usize,
    /// In characters.
    pub(super) length: usize,
}

/// Names in back-ticks, divided by commas.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Lines longer than this are cut around the place: a screen's width at three in the morning.
const SNIPPET_WIDTH: usize = 100;

impl Fault {
    /// A fault at a place in a document.
    pub(super) fn at(
        file: &Path,
        document: Document<'_>,
        mark: Mark,
        severity: Severity,
        message: String,
    ) -> Self {
        Self {
            file: file.to_owned(),
            line: mark.line,
            column: mark.column,
            message,
            hint: None,
            snippet: snippet(document, mark),
            severity,
        }
    }

    /// A fault of the file as a whole.
    pub(super) fn of_file(file: &Path, severity: Severity, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            hint: None,
            snippet: String::new(),
            severity,
        }
    }

    /// Says what to do about it.
    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what to do about a fault that is recorded already.
    pub(super) fn help(&mut self, hint: impl Into<String>) {
        self.hint = Some(hint.into());
    }

    /// Whether it makes the file refused.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

fn snippet(document: Document<'_>, mark: Mark) -> String {
    let Some(line) = mark
        .line
        .checked_sub(document.line)
        .and_then(|index| document.text.lines().nth(index))
    else {
        return String::new();
    };
    let clear = line;
    let line = without_secrets(document, mark.line - document.line, clear);
    // Carets that pointed at what is hidden, or behind it, point at where it stood.
    let hidden_from = (line != clear).then(|| {
        line.chars()
            .zip(clear.chars())
            .take_while(|(shown, clear)| shown == clear)
            .count()
    });
    // Control characters would move the carets or the terminal.
    let characters: Vec<char> = line
        .chars()
        .map(|c| {
            if c == '\t' {
                ' '
            } else if c.is_control() {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect();
    let column = (mark.column.max(1) - 1).min(hidden_from.unwrap_or(usize::MAX));
    let start = if column >= SNIPPET_WIDTH {
        column - SNIPPET_WIDTH / 2
    } else {
        0
    };
    let shown: String = characters.iter().skip(start).take(SNIPPET_WIDTH).collect();
    let before = column.min(characters.len()).saturating_sub(start);
    let room = (characters.len().saturating_sub(start).min(SNIPPET_WIDTH)).saturating_sub(before);
    let carets = mark.length.clamp(1, room.max(1));
    format!(
        "{}\n{}{}",
        shown.trim_end(),
        " ".repeat(before),
        "^".repeat(carets)
    )
}

/// The line as it may stand in a log: a variable in `env` may be a password. What `secrets` names are files.
fn without_secrets(document: Document<'_>, index: usize, line: &str) -> String {
    let lines: Vec<&str> = document.text.lines().take(index + 1).collect();
    let is_of_secrets = lines
        .iter()
        .rev()
        .find(|line| line.starts_with(|c: char| !c.is_whitespace() && c != '#'))
        .is_some_and(|key| key.starts_with("secrets:"));
    if is_of_secrets {
        line.to_owned()
    } else {
        Redaction::default().text(line, None)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.severity, self.message)?;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        if self.line == 0 {
            write!(f, " --> {}", self.file.display())?;
        } else {
            write!(
                f,
                "{gutter}--> {}:{}:{}",
                self.file.display(),
                self.line,
                self.column
            )?;
        }
        if let Some((line, carets)) = self.snippet.split_once('\n') {
            write!(f, "\n{gutter} |\n{number} | {line}\n{gutter} | {carets}")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n{gutter} = help: {hint}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_points_at_its_word() {
        let text = "name: x\ntrigger: { state: { resource: VM, on: RUNING } }\n";
        let mark = Mark {
            line: 2,
            column: 43,
            length: 6,
        };
        let fault = Fault::at(
            Path::new("a.yaml"),
            Document { text, line: 1 },
            mark,
            Severity::Error,
            "no such state `RUNING`".to_owned(),
        )
        .with_hint("did you mean `RUNNING`?");
        assert_eq!(
            fault.to_string(),
            "error: no such state `RUNING`\n \
             --> a.yaml:2:43\n  \
             |\n\
             2 | trigger: { state: { resource: VM, on: RUNING } }\n  \
             |                                           ^^^^^^\n  \
             = help: did you mean `RUNNING`?"
        );
    }

    #[test]
    fn the_line_shown_holds_no_password() {
        let text = "env:\n  DNS_PASSWORD: s3cret-of-ann # why\n  A: [s3cret-of-ann]\nsecrets:\n  DNS_TOKEN: /etc/hem/dns\n";
        let shown = |line, column| {
            let mark = Mark {
                line,
                column,
                length: 6,
            };
            snippet(Document { text, line: 1 }, mark)
        };
        let (line, carets) = (shown(2, 17), shown(2, 3));
        assert!(line.starts_with("  DNS_PASSWORD: [redacted]"), "{line}");
        assert!(!line.contains("s3cret"), "{line}");
        assert!(line.ends_with("\n                ^^^^^^"), "{line}");
        assert!(carets.ends_with("\n  ^^^^^^"), "{carets}");
        assert!(shown(5, 14).starts_with("  DNS_TOKEN: /etc/hem/dns\n"));
    }

    #[test]
    fn places_outside_the_text_make_no_snippet_and_no_panic() {
        for mark in [(0, 0, 0), (9, 1, 1), (1, 500, 9), (1, 3, 10_000)] {
            let mark = Mark {
                line: mark.0,
                column: mark.1,
                length: mark.2,
            };
            let fault = Fault::at(
                Path::new("a"),
                Document { text: "abc", line: 1 },
                mark,
                Severity::Warning,
                "m".to_owned(),
            );
            assert!(fault.to_string().starts_with("warning: m"));
        }
    }
}
