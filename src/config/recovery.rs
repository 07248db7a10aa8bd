//! All faults of a file at once: each is taken out of the text in turn, and what is left is read again.

use std::path::Path;

use super::Config;
use super::fault::Fault;
use super::load::{ConfigError, Place as Surroundings, read_raw};
use super::places::{Place, Places};

/// Whoever has more to mend checks again.
const MOST: usize = 50;

impl Config {
    /// Checks the text of a configuration file that stands at `path` (absolute), and goes on after a fault.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the text. What depends on several settings is looked at once each of them can
    /// be read.
    pub fn check_text(text: &str, path: &Path, place: &Surroundings) -> Result<Self, Vec<Fault>> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut left = text.to_owned();
        while faults.len() < MOST {
            let Err(fault) = read_raw(&left, path) else {
                break;
            };
            let at = place_of(&fault);
            // What is missing may be what was taken out.
            let follows = fault.message.ends_with("is missing here")
                || !is_as_written(text, &left, at)
                || faults.iter().any(|other| place_of(other) == at);
            if follows && !faults.is_empty() {
                break;
            }
            let rest = without(&left, at);
            let as_written = Fault::at(path, text, at.line as u64, at.column as u64, fault.message);
            let fault = Fault {
                hint: fault.hint,
                ..as_written
            };
            faults.push(fault);
            match rest {
                Some(rest) => left = rest,
                None => break,
            }
        }
        if !faults.is_empty() {
            faults.sort_by_key(place_of);
            return Err(faults);
        }
        Self::from_text(text, path, place).map_err(|error| match error {
            ConfigError::Invalid(fault) => vec![*fault],
            // None of these is about the text.
            other => vec![Fault::at(path, text, 0, 0, other.to_string())],
        })
    }
}

fn place_of(fault: &Fault) -> Place {
    Place {
        line: fault.line,
        column: fault.column,
    }
}

/// Whether the text still has there what its author wrote.
fn is_as_written(text: &str, left: &str, at: Place) -> bool {
    let character = |text: &str| {
        let line = text.lines().nth(at.line.checked_sub(1)?)?;
        line.chars().nth(at.column.checked_sub(1)?)
    };
    character(left).is_some_and(|left| !left.is_whitespace() && Some(left) == character(text))
}

/// The text without the setting that stands at that place, every other character where it was. None where that is no setting, or
/// where what is left would be no YAML.
fn without(text: &str, at: Place) -> Option<String> {
    let entries = Places::of(text)?.entries();
    let entry = entries.iter().rev().find(|entry| entry.key <= at)?;
    let mut lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
    let opens = lines
        .get(entry.mapping.line.checked_sub(1)?)?
        .get(entry.mapping.column.checked_sub(1)?);
    let (line, column) = (entry.key.line.checked_sub(1)?, entry.key.column.checked_sub(1)?);
    if opens == Some(&'{') {
        blank_in_braces(&mut lines, line, column);
    } else {
        blank_by_indentation(&mut lines, line, column, entry.is_alone);
    }
    let mut left: String = lines
        .into_iter()
        .map(|line| line.into_iter().chain(['\n']).collect::<String>())
        .collect();
    if !text.ends_with('\n') {
        left.pop();
    }
    (left != text && Places::of(&left).is_some()).then_some(left)
}

/// Up to the comma behind it or the brace around it. It begins at `column` of `line`, both counted from 0.
fn blank_in_braces(lines: &mut [Vec<char>], line: usize, column: usize) {
    let mut depth = 0_usize;
    let mut quote = None;
    for (index, text) in lines.iter_mut().enumerate().skip(line) {
        let from = if index == line { column } else { 0 };
        for character in text.iter_mut().skip(from) {
            match (*character, quote) {
                (c, Some(mark)) if c == mark => quote = None,
                (_, Some(_)) => {}
                (c @ ('"' | '\''), None) => quote = Some(c),
                ('{' | '[', None) => depth += 1,
                ('}' | ']', None) if depth == 0 => return,
                ('}' | ']', None) => depth -= 1,
                (',', None) if depth == 0 => {
                    *character = ' ';
                    return;
                }
                _ => {}
            }
            *character = ' ';
        }
    }
}

/// Its line, and those below it that are further in. A mapping that would be left empty stays one. It begins at `indent` of line
/// `first`, both counted from 0.
fn blank_by_indentation(lines: &mut [Vec<char>], first: usize, indent: usize, is_alone: bool) {
    for (index, line) in lines.iter_mut().enumerate().skip(first) {
        let from = if index == first {
            indent
        } else {
            let text: String = line.iter().collect();
            let begins = text.trim_start();
            let depth = text.len() - begins.len();
            let is_item_of_it = depth == indent && (begins.starts_with("- ") || begins == "-");
            if !begins.is_empty() && !begins.starts_with('#') && depth <= indent && !is_item_of_it {
                break;
            }
            0
        };
        line.iter_mut().skip(from).for_each(|character| *character = ' ');
    }
    if is_alone && let Some(line) = lines.get_mut(first) {
        line.truncate(indent);
        line.extend(['{', '}']);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn faults(text: &str) -> Vec<(usize, String)> {
        let place = Surroundings {
            root: true,
            ..Surroundings::default()
        };
        match Config::check_text(text, Path::new("/etc/hem/hem.yaml"), &place) {
            Ok(_) => Vec::new(),
            Err(faults) => faults
                .into_iter()
                .map(|fault| (fault.line, fault.message))
                .collect(),
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let text = "\
state_dirr: /x
concurrency: 0
control: { socket_mode: \"0666\", sockets: /run/x }
sources:
  z:
    type: opennebula
    enpoint: tcp://127.0.0.1:1
    queue:
      events: many
  hooks:
    type: webhook
    endpoints:
      deploy:
        respond: perhaps
      other: { path: other, methods: [POST, PAST] }
redact:
- x y
retention:
  age: 30 days
";
        let lines: Vec<usize> = faults(text).iter().map(|(line, _)| *line).collect();
        assert_eq!(
            lines,
            [1, 2, 3, 3, 7, 9, 14, 15, 15, 17, 19],
            "{:#?}",
            faults(text)
        );
    }

    #[test]
    fn what_follows_from_a_fault_is_not_told_of() {
        let text = "sources:\n  hooks:\n    type: webhook\n    endpointz: {}\n";
        let told = faults(text);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].1.contains("endpointz"), "{told:?}");
    }

    #[test]
    fn a_setting_is_taken_out_and_all_else_stays_where_it_was() {
        for (text, line, column, left) in [
            ("a: 1\nb: 2\n", 1, 4, "    \nb: 2\n"),
            ("a:\n  b: 1\nc: 2\n", 2, 6, "a:\n  {}\nc: 2\n"),
            ("a: { b: 1, c: 2 }\n", 1, 6, "a: {       c: 2 }\n"),
            ("a: { b: [1, 2], c: 2 }\n", 1, 17, "a: { b: [1, 2],      }\n"),
            ("a:\n- 1\n- 2\nb: 1", 2, 3, "  \n   \n   \nb: 1"),
            (
                "a:\n- b: 1\n  c: 2\n- b: 3\n",
                2,
                3,
                "a:\n-     \n  c: 2\n- b: 3\n",
            ),
        ] {
            let rest = without(text, Place { line, column });
            assert_eq!(rest.as_deref(), Some(left), "{text}");
        }
        assert_eq!(without("- 1\n", Place { line: 1, column: 3 }), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn no_text_makes_it_panic_or_go_on_for_ever(
            text in "(control|sources|log|redact|a|:|: |,|, |\\{|\\}|\\[|\\]|\"|'|\n|\n  |- |#|é|1){0,40}"
        ) {
            prop_assert!(faults(&text).len() <= MOST);
        }
    }
}
