//! Argument lines → templates: words as a POSIX shell would split them, OpenNebula's own words, and `${{ … }}`.

use super::{Piece, Profile, Template};
use crate::expression::Expression;

/// What is wrong with an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ArgumentError {
    pub(super) message: String,
    pub(super) hint: Option<&'static str>,
    /// Where in the argument's text, in bytes, where known.
    pub(super) offset: Option<usize>,
}

impl ArgumentError {
    fn new(message: impl Into<String>, hint: Option<&'static str>, offset: Option<usize>) -> Self {
        Self {
            message: message.into(),
            hint,
            offset,
        }
    }
}

const OPEN: &str = "${{";
const CLOSE: &str = "}}";

/// Splits a line into words and reads each as a template.
pub(super) fn split(line: &str, profile: Profile) -> Result<Vec<Template>, ArgumentError> {
    refuse_nul(line)?;
    match profile {
        Profile::Onehem => Ok(line.split_ascii_whitespace().map(onehem_word).collect()),
        Profile::Hem => hem_words(line),
    }
}

/// Reads one item of a list as a template; blanks and quotes in it are its own.
pub(super) fn word(text: &str, profile: Profile) -> Result<Template, ArgumentError> {
    refuse_nul(text)?;
    match profile {
        Profile::Onehem => Ok(onehem_word(text)),
        Profile::Hem => template(pieces(text)?),
    }
}

/// Whether a text holds an expression, finished or not.
pub(super) fn holds_expression(text: &str) -> bool {
    text.contains(OPEN)
}

fn refuse_nul(text: &str) -> Result<(), ArgumentError> {
    match text.find('\0') {
        Some(offset) => Err(ArgumentError::new(
            "an argument cannot hold a NUL byte",
            None,
            Some(offset),
        )),
        None => Ok(()),
    }
}

fn onehem_word(word: &str) -> Template {
    match word {
        "$TEMPLATE" => Template::ResourceElement,
        "$API" => Template::CallInfo,
        text => Template::Text(vec![Piece::Literal(text.to_owned())]),
    }
}

/// A part of a text before its expressions are compiled.
enum Part<'a> {
    Literal(&'a str),
    Expression { text: &'a str, offset: usize },
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, ArgumentError> {
    let mut parts = Vec::new();
    let mut rest = 0;
    while let Some(found) = text[rest..].find(OPEN) {
        let open = rest + found;
        if open > rest {
            parts.push(Part::Literal(&text[rest..open]));
        }
        let start = open + OPEN.len();
        let length = expression_length(&text[start..]).ok_or_else(|| {
            ArgumentError::new(
                "`${{` is not closed",
                Some("end the expression with `}}`"),
                Some(open),
            )
        })?;
        parts.push(Part::Expression {
            text: &text[start..start + length],
            offset: start,
        });
        rest = start + length + CLOSE.len();
    }
    if rest < text.len() {
        parts.push(Part::Literal(&text[rest..]));
    }
    Ok(parts)
}

/// How long the expression at the beginning of `text` is; `}}` in its strings and of its maps does not end it.
fn expression_length(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    let mut braces = 0usize;
    for (index, c) in text.char_indices() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(end) if c == end => quote = None,
            Some(_) => {}
            None => match c {
                '\'' | '"' => quote = Some(c),
                '{' => braces += 1,
                '}' if braces > 0 => braces -= 1,
                '}' if text[index..].starts_with(CLOSE) => return Some(index),
                _ => {}
            },
        }
    }
    None
}

fn compile(text: &str, offset: usize) -> Result<Piece, ArgumentError> {
    let lead = text.len() - text.trim_start().len();
    match Expression::compile(text.trim()) {
        Ok(expression) => Ok(Piece::Value(expression)),
        Err(error) => Err(ArgumentError::new(
            format!(
                "the expression `{}` cannot be compiled: {}",
                text.trim(),
                error.message
            ),
            None,
            Some(offset + lead + error.offset.unwrap_or(0)),
        )),
    }
}

fn pieces(text: &str) -> Result<Vec<Piece>, ArgumentError> {
    parts(text)?
        .into_iter()
        .map(|part| match part {
            Part::Literal(text) => Ok(Piece::Literal(text.to_owned())),
            Part::Expression { text, offset } => compile(text, offset),
        })
        .collect()
}

fn template(pieces: Vec<Piece>) -> Result<Template, ArgumentError> {
    if let [Piece::Literal(text)] = pieces.as_slice() {
        match text.as_str() {
            "$TEMPLATE" => return Ok(Template::ResourceElement),
            "$API" => return Ok(Template::CallInfo),
            _ => {}
        }
    }
    Ok(Template::Text(pieces))
}

/// Expressions hold blanks and quotes of their own: they are taken out before the line is split, each leaving its
/// number between two NULs (which no line holds) in its place, and put back afterwards.
fn hem_words(line: &str) -> Result<Vec<Template>, ArgumentError> {
    let mut expressions = Vec::new();
    let mut plain = String::with_capacity(line.len());
    for part in parts(line)? {
        match part {
            Part::Literal(text) => plain.push_str(text),
            Part::Expression { text, offset } => {
                plain.push_str(&format!("\0{}\0", expressions.len()));
                expressions.push(compile(text, offset)?);
            }
        }
    }
    let words = shell_words::split(&plain).map_err(|_| {
        ArgumentError::new(
            "a quote is not closed",
            Some("strings are split into words like a shell would; write a list to be free of quotes"),
            None,
        )
    })?;
    words
        .into_iter()
        .map(|word| {
            let pieces = word
                .split('\0')
                .enumerate()
                .filter_map(|(index, text)| {
                    if index % 2 == 1 {
                        text.parse::<usize>()
                            .ok()
                            .and_then(|number| expressions.get(number).cloned())
                    } else {
                        Some(text)
                            .filter(|text| !text.is_empty())
                            .map(|text| Piece::Literal(text.to_owned()))
                    }
                })
                .collect();
            template(pieces)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(templates: &[Template]) -> Vec<String> {
        templates
            .iter()
            .map(|template| match template {
                Template::ResourceElement => "<template>".to_owned(),
                Template::CallInfo => "<api>".to_owned(),
                Template::Text(pieces) => pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Literal(text) => text.clone(),
                        Piece::Value(expression) => format!("<{}>", expression.text()),
                    })
                    .collect(),
            })
            .collect()
    }

    #[test]
    fn lines_are_split_like_a_shell_would() {
        for (line, words) in [
            ("", vec![]),
            ("$TEMPLATE -m -p 5", vec!["<template>", "-m", "-p", "5"]),
            (
                "'one arg' two\\ too \"three $API\"",
                vec!["one arg", "two too", "three $API"],
            ),
            ("--api=$API $API", vec!["--api=$API", "<api>"]),
            (
                "-n ${{ event.VM.NAME + ' x' }} end",
                vec!["-n", "<event.VM.NAME + ' x'>", "end"],
            ),
            ("\"vm ${{ event.VM.NAME }}!\"", vec!["vm <event.VM.NAME>!"]),
            (
                "${{ {'a': {'b': '}}'}}.a.b }}x",
                vec!["<{'a': {'b': '}}'}}.a.b>x"],
            ),
            ("'' a", vec!["", "a"]),
            ("${{ '${{' }}", vec!["<'${{'>"]),
            ("a;b $(c) | d", vec!["a;b", "$(c)", "|", "d"]),
        ] {
            assert_eq!(shown(&split(line, Profile::Hem).expect(line)), words, "{line}");
        }
        for line in ["'open", "${{ x", "a\0b"] {
            assert!(split(line, Profile::Hem).is_err(), "{line}");
        }
    }

    #[test]
    fn onehem_splits_at_blanks_only() {
        let words = split("'one arg'  $TEMPLATE ${{ x", Profile::Onehem).expect("words");
        assert_eq!(shown(&words), ["'one", "arg'", "<template>", "${{", "x"]);
    }

    #[test]
    fn an_item_of_a_list_is_one_argument() {
        assert_eq!(
            shown(&[word("it's  one", Profile::Hem).expect("a word")]),
            ["it's  one"]
        );
        assert_eq!(shown(&[word("$API", Profile::Hem).expect("a word")]), ["<api>"]);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "[ -~\\PC]{0,60}", glued in "(\\$\\{\\{|\\}\\}|'|\"|\\\\| |a){0,20}") {
            for profile in [Profile::Hem, Profile::Onehem] {
                let _ = split(&line, profile);
                let _ = split(&glued, profile);
                let _ = word(&glued, profile);
            }
        }
    }
}
