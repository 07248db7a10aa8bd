//! Which paths Rust code names: not only in `use` lines, but everywhere outside comments, texts and tests.
//!
//! A tokenizer and no parser. It knows comments, strings of all kinds, characters and lifetimes, groups in `use` lines, and items
//! under `#[cfg(test)]`. `self` and `super` are made absolute by the file's place. What macros build from pieces it does not see.

use std::path::Path;

/// What one file names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Paths, absolute where they begin with `crate`, `self` or `super`; a glob ends in `*`.
    pub(crate) paths: Vec<Vec<String>>,
    /// Modules in files of their own that only tests have.
    pub(crate) test_modules: Vec<String>,
}

/// Words of the language that a path, also one with a leading separator, may follow.
const NO_PATH: [&str; 8] = ["use", "return", "in", "as", "mut", "dyn", "impl", "match"];

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

/// The module that a file below `src` is: `engine/core.rs` is `crate::engine::core`.
pub(crate) fn module_of(file: &Path) -> Vec<String> {
    let mut module = vec!["crate".to_owned()];
    let parts: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    module.extend(parts);
    if module
        .last()
        .is_some_and(|last| matches!(last.as_str(), "mod" | "lib" | "main"))
    {
        module.pop();
    }
    module
}

/// Everything the text of `module` names outside its tests.
pub(crate) fn named(text: &str, module: &[String]) -> Named {
    let mut found = Named::default();
    let tokens = without_tests(tokens(text), &mut found.test_modules);
    let mut at = 0;
    while at < tokens.len() {
        let begins = match &tokens[at] {
            Token::Word(word) => !NO_PATH.contains(&word.as_str()) && !goes_on(&tokens, at),
            Token::PathSeparator | Token::Mark(_) => false,
        };
        if !begins {
            at += 1;
            continue;
        }
        let imports = tokens[..at]
            .iter()
            .rev()
            .find(|token| **token != Token::PathSeparator)
            .is_some_and(|token| *token == Token::Word("use".to_owned()));
        let is_visibility =
            at > 1 && tokens[at - 1] == Token::Mark('(') && tokens[at - 2] == Token::Word("pub".to_owned());
        let mut paths = Vec::new();
        at = path(&tokens, at, Vec::new(), &mut paths);
        for path in paths {
            if path.len() > 1 || (imports && !is_visibility) {
                found.paths.extend(absolute(path, module));
            }
        }
    }
    found
}

/// Whether the word at `at` goes on with a path: `a::b`, `<T as A>::b`; not so behind a leading separator, `use ::a`.
fn goes_on(tokens: &[Token], at: usize) -> bool {
    let [.., before, Token::PathSeparator] = &tokens[..at] else {
        return false;
    };
    match before {
        Token::Word(word) => !NO_PATH.contains(&word.as_str()),
        Token::Mark(mark) => *mark == '>',
        Token::PathSeparator => false,
    }
}

/// Reads one path, or a group of them, from `at`; returns where it ends.
fn path(tokens: &[Token], mut at: usize, mut prefix: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(at) {
            Some(Token::Word(word)) => {
                prefix.push(word.clone());
                at += 1;
            }
            Some(Token::Mark('*')) if !prefix.is_empty() => {
                prefix.push("*".to_owned());
                found.push(prefix);
                return at + 1;
            }
            Some(Token::Mark('{')) if !prefix.is_empty() => {
                at += 1;
                loop {
                    match tokens.get(at) {
                        None => return at,
                        Some(Token::Mark('}')) => return at + 1,
                        // `as` and the name behind it, and commas.
                        Some(Token::Word(word)) if word == "as" => at += 2,
                        Some(Token::Word(_)) => at = path(tokens, at, prefix.clone(), found),
                        Some(Token::Mark('*')) => at = path(tokens, at, prefix.clone(), found),
                        Some(_) => at += 1,
                    }
                }
            }
            _ => {
                found.push(prefix);
                return at;
            }
        }
        if tokens.get(at) == Some(&Token::PathSeparator) {
            at += 1;
        } else {
            found.push(prefix);
            return at;
        }
    }
}

/// A path without `self` and `super`; none where it climbs out of the crate, which does not compile.
fn absolute(path: Vec<String>, module: &[String]) -> Option<Vec<String>> {
    let mut base = match path.first().map(String::as_str) {
        Some("self" | "super") => module.to_vec(),
        _ => return Some(without_self(path)),
    };
    let mut rest = path.as_slice();
    loop {
        match rest.first().map(String::as_str) {
            Some("self") => {}
            Some("super") => {
                base.pop()?;
            }
            _ => break,
        }
        rest = &rest[1..];
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// `use crate::engine::{self}` names `crate::engine`.
fn without_self(mut path: Vec<String>) -> Vec<String> {
    if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
        path.pop();
    }
    path
}

/// Takes out every item under `#[cfg(test)]`.
fn without_tests(tokens: Vec<Token>, test_modules: &mut Vec<String>) -> Vec<Token> {
    let mark: Vec<Token> = [
        Token::Mark('#'),
        Token::Mark('['),
        Token::Word("cfg".to_owned()),
        Token::Mark('('),
        Token::Word("test".to_owned()),
        Token::Mark(')'),
        Token::Mark(']'),
    ]
    .into();
    let mut kept = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].starts_with(&mark) {
            kept.push(tokens[at].clone());
            at += 1;
            continue;
        }
        at += mark.len();
        let begin = at;
        let mut depth = 0_u32;
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token {
                Token::Mark('{' | '[' | '(') => depth += 1,
                Token::Mark('}') if depth == 1 => break,
                Token::Mark('}' | ']' | ')') => depth = depth.saturating_sub(1),
                Token::Mark(';') if depth == 0 => break,
                _ => {}
            }
        }
        let item = &tokens[begin..at];
        if let [.., Token::Word(keyword), Token::Word(name), Token::Mark(';')] = item
            && keyword == "mod"
        {
            test_modules.push(name.clone());
        }
    }
    kept
}

fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let next = chars.get(at + 1).copied();
        match c {
            '/' if next == Some('/') => at = line_end(&chars, at),
            '/' if next == Some('*') => at = comment_end(&chars, at),
            '"' => at = string_end(&chars, at + 1),
            '\'' => at = quote_end(&chars, at),
            ':' if next == Some(':') => {
                tokens.push(Token::PathSeparator);
                at += 2;
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = word_end(&chars, at);
                let word: String = chars[at..end].iter().collect();
                match (word.as_str(), chars.get(end)) {
                    ("r" | "br" | "cr", Some('"' | '#')) if raw_string_end(&chars, end).is_some() => {
                        at = raw_string_end(&chars, end).unwrap_or(end);
                    }
                    ("b" | "c", Some('"')) => at = string_end(&chars, end + 1),
                    ("b", Some('\'')) => at = quote_end(&chars, end),
                    // A raw identifier: `r#type`.
                    ("r", Some('#')) => at = end + 1,
                    _ => {
                        tokens.push(Token::Word(word));
                        at = end;
                    }
                }
            }
            // A number with its suffix is no word: `1_u32`.
            c if c.is_ascii_digit() => at = word_end(&chars, at),
            c if c.is_whitespace() => at += 1,
            c => {
                tokens.push(Token::Mark(c));
                at += 1;
            }
        }
    }
    tokens
}

fn word_end(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        at += 1;
    }
    at
}

fn line_end(chars: &[char], mut at: usize) -> usize {
    while chars.get(at).is_some_and(|c| *c != '\n') {
        at += 1;
    }
    at
}

/// Comments nest.
fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0_u32;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => {
                depth += 1;
                at += 2;
            }
            ('*', Some('/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

fn string_end(chars: &[char], mut at: usize) -> usize {
    while let Some(c) = chars.get(at) {
        match c {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    at
}

/// The end of a character; a lifetime ends with its quote, its name is a word that names nothing.
fn quote_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let mut end = at + 3;
            while chars.get(end).is_some_and(|c| *c != '\'') {
                end += 1;
            }
            end + 1
        }
        (Some(_), Some('\'')) => at + 3,
        _ => word_end(chars, at + 1).max(at + 1),
    }
}

/// The end of a raw string whose hashes begin at `at`; none when it is none.
fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    if chars.get(at + hashes) != Some(&'"') {
        return None;
    }
    let mut end = at + hashes + 1;
    while end < chars.len() {
        if chars[end] == '"'
            && chars[end + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
        {
            return Some(end + 1 + hashes);
        }
        end += 1;
    }
    Some(end)
}
