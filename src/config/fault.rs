//! What is wrong in a configuration file, told with the place and, where possible, the cure.

use std::fmt;
use std::path::{Path, PathBuf};

use super::load::ConfigError;
use crate::event::opennebula::vocabulary::nearest;
use crate::event::redaction::Redaction;

/// What is wrong in the file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1; 0 when the whole file is meant.
    pub line: usize,
    /// The column, in characters from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The line's text, without what may be a password.
    pub snippet: String,
}

impl Fault {
    /// A fault at a place in a text.
    pub(super) fn at(path: &Path, text: &str, line: u64, column: u64, message: String) -> Self {
        let line = usize::try_from(line).unwrap_or(0);
        let snippet = line
            .checked_sub(1)
            .and_then(|index| text.lines().nth(index))
            .unwrap_or_default();
        Self {
            path: path.to_owned(),
            line,
            column: usize::try_from(column).unwrap_or(0),
            message,
            hint: None,
            snippet: Redaction::default().text(snippet, None),
        }
    }

    /// What the parser says, in the words of somebody who writes the file.
    pub(super) fn of_parser(path: &Path, text: &str, error: &serde_saphyr::Error) -> Self {
        let (line, column) = error
            .location()
            .map_or((0, 0), |location| (location.line(), location.column()));
        let said = first_line(&error.without_snippet().to_string());
        let (message, hint) = in_the_writers_words(&said);
        Self {
            hint,
            ..Self::at(path, text, line, column, message)
        }
    }
}

impl From<Fault> for ConfigError {
    fn from(fault: Fault) -> Self {
        Self::Invalid(Box::new(fault))
    }
}

/// `hem.yaml:3:9: what is wrong`, then the line with a mark below the column, then what to do.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        if self.line == 0 {
            write!(f, ": {}", self.message)?;
        } else {
            let indent = " ".repeat(self.column.saturating_sub(1));
            write!(
                f,
                ":{}:{}: {}\n {gutter} |\n {number} | {}\n {gutter} | {indent}^",
                self.line, self.column, self.message, self.snippet
            )?;
        }
        match &self.hint {
            Some(hint) => write!(f, "\n {gutter} = help: {hint}"),
            None => Ok(()),
        }
    }
}

/// saphyr's messages begin with the position, which the fault says itself.
pub(super) fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: ").unwrap_or(line);
    let stripped = line
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "))
        .map_or(line, |(_, message)| message);
    // The parser's advice to programmers is none for operators.
    let stripped = stripped
        .split(", set DuplicateKeyPolicy")
        .next()
        .unwrap_or(stripped);
    match stripped.rsplit_once(" at line ") {
        Some((message, _)) => message.to_owned(),
        None => stripped.to_owned(),
    }
}

/// What the parser calls whole numbers.
const WHOLE_NUMBERS: [&str; 5] = ["u8", "u16", "u32", "u64", "usize"];

/// The message without the parser's vocabulary, and what was probably meant.
fn in_the_writers_words(said: &str) -> (String, Option<String>) {
    let quoted = |prefix: &str| said.strip_prefix(prefix)?.split_once('`');
    let choices = |rest: &str| {
        let listed = rest
            .trim_start_matches(", expected ")
            .trim_start_matches("one of ");
        let names: Vec<String> = listed
            .split(", ")
            .map(|name| name.trim_matches('`').to_owned())
            .filter(|name| !name.is_empty())
            .collect();
        names
    };
    let cure = |word: &str, names: &[String]| {
        if names.is_empty() {
            return None;
        }
        Some(match nearest(word, names.iter().map(String::as_str)) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("known here: {}", names.join(", "))
            }
        })
    };
    if let Some((word, rest)) = quoted("unknown field `") {
        return (format!("unknown setting `{word}`"), cure(word, &choices(rest)));
    }
    if let Some((word, rest)) = quoted("unknown variant `") {
        return (
            format!("`{word}` is not one of the values allowed here"),
            cure(word, &choices(rest)),
        );
    }
    if let Some((word, _)) = quoted("missing field `") {
        return (format!("the setting `{word}` is missing here"), None);
    }
    if let Some(key) = said.strip_prefix("duplicate mapping key: ") {
        return (
            format!("`{key}` stands here twice"),
            Some("remove one of the two".to_owned()),
        );
    }
    let kind = match said {
        "expected mapping start" => "settings belong here, `name: value`",
        "expected sequence start" => "a list belongs here, `[one, two]`",
        "expected string scalar" => "a single text belongs here",
        _ if said.starts_with("invalid boolean") => "`true` or `false` belongs here",
        _ if WHOLE_NUMBERS
            .iter()
            .any(|kind| said.strip_prefix("invalid ") == Some(kind)) =>
        {
            "a whole number belongs here"
        }
        other => other,
    };
    (kind.to_owned(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_words_become_the_writers() {
        for (said, message, hint) in [
            (
                "unknown field `concurency`, expected one of state_dir, concurrency",
                "unknown setting `concurency`",
                Some("did you mean `concurrency`?"),
            ),
            (
                "unknown field `x`, expected `share` or `config`",
                "unknown setting `x`",
                Some("known here: `share` or `config`"),
            ),
            (
                "unknown variant `often`, expected one of auto, never",
                "`often` is not one of the values allowed here",
                Some("known here: `auto`, `never`"),
            ),
            (
                "missing field `endpoints`",
                "the setting `endpoints` is missing here",
                None,
            ),
            ("`soon` is no duration", "`soon` is no duration", None),
        ] {
            assert_eq!(
                in_the_writers_words(said),
                (message.to_owned(), hint.map(str::to_owned)),
                "{said}"
            );
        }
    }

    #[test]
    fn a_line_that_may_hold_a_password_is_shown_without_it() {
        let fault = Fault::at(
            Path::new("hem.yaml"),
            "password: s3cret-of-ann\n",
            1,
            1,
            "unknown setting `password`".to_owned(),
        );
        assert!(!fault.to_string().contains("s3cret"), "{fault}");
        assert!(
            fault.to_string().starts_with("hem.yaml:1:1: unknown setting"),
            "{fault}"
        );
    }
}
