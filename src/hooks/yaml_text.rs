//! Text as YAML: scalars that every YAML parser reads back as the same text, and comments.

use std::fmt::Write as _;

/// Columns that the text of a comment takes at most, where its words allow.
const COMMENT_WIDTH: usize = 100;

/// A text as a scalar on one line, in block and in flow style.
pub fn scalar(text: &str) -> String {
    if is_plain(text) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Whether a text means itself without quotes, to parsers of YAML 1.1 as well.
fn is_plain(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '$' | '+' | '-');
    text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '/' | '$'))
        && text
            .split(' ')
            .all(|part| !part.is_empty() && part.chars().all(word))
        && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if must_be_escaped(c) => escape(&mut out, c),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// What YAML counts as not printable or as a break of lines, and the byte order mark.
fn must_be_escaped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn escape(out: &mut String, c: char) {
    let code = u32::from(c);
    // Writing into a String cannot fail.
    let _ = match code {
        0..=0xff => write!(out, "\\x{code:02x}"),
        0x100..=0xffff => write!(out, "\\u{code:04x}"),
        _ => write!(out, "\\U{code:08x}"),
    };
}

/// A remark as comment lines, broken between words.
pub fn remark(out: &mut String, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > COMMENT_WIDTH {
            comment(out, &line);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    comment(out, &line);
}

/// One line of a comment as its author wrote it; what cannot stand in a comment is escaped.
pub fn comment(out: &mut String, text: &str) {
    out.push('#');
    let text = text.trim_end();
    if !text.is_empty() && !text.starts_with(['#', ' ', '\t', '!']) {
        out.push(' ');
    }
    for c in text.chars() {
        match c {
            '\t' => out.push('\t'),
            c if must_be_escaped(c) => escape(out, c),
            c => out.push(c),
        }
    }
    out.push('\n');
}
