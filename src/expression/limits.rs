//! What an expression must keep to before the parser sees it.
//!
//! The parser and the interpreter recurse over the expression, so its depth decides how much stack they need. It is
//! bounded here, on the text alone, by reading it as the language's lexer would: strings and comments are skipped only
//! where they are certain to end, so that no bracket hides from the count.

use super::CompileError;

/// The longest expression, in bytes.
pub(super) const MAX_LENGTH: usize = 4096;

/// How deep brackets, and conditions inside the branches of `? :`, may be nested.
pub(super) const MAX_NESTING: usize = 32;

/// How deep the parsed expression may be: brackets plus the operators, selections and calls chained at each level.
/// `&&` and `||` do not count, for their chains are balanced by the parser. One level needs up to 38 KiB of stack in an
/// unoptimised build, and threads have 2 MiB.
pub(super) const MAX_DEPTH: usize = 36;

/// Checks length, nesting and depth, and that every string ends.
pub(super) fn check(text: &str) -> Result<(), CompileError> {
    if text.len() > MAX_LENGTH {
        return Err(CompileError {
            message: format!(
                "the expression is {} bytes long; at most {MAX_LENGTH} are allowed",
                text.len()
            ),
            offset: None,
        });
    }
    Scanner {
        text,
        position: 0,
        levels: vec![Level::default()],
    }
    .run()
}

/// One level of brackets.
#[derive(Default)]
struct Level {
    /// The bracket it began with, and where; none for the outermost.
    opened: Option<(u8, usize)>,
    /// Operators, selections and calls chained since the last separator.
    chain: usize,
    /// The deepest bracket since the last separator.
    inner: usize,
    /// The deepest of the parts that separators ended.
    deepest_part: usize,
    /// `?` met at this level: each puts the rest of the level one deeper.
    conditionals: usize,
}

impl Level {
    fn end_part(&mut self) {
        self.deepest_part = self.deepest_part.max(self.chain + self.inner);
        self.chain = 0;
        self.inner = 0;
    }

    fn depth(&self) -> usize {
        self.deepest_part.max(self.chain + self.inner) + self.conditionals
    }
}

struct Scanner<'t> {
    text: &'t str,
    position: usize,
    levels: Vec<Level>,
}

impl Scanner<'_> {
    fn run(mut self) -> Result<(), CompileError> {
        while let Some(byte) = self.peek(0) {
            match byte {
                b'"' | b'\'' => self.string(false, false)?,
                b'a'..=b'z' | b'A'..=b'Z' | b'_' => self.word()?,
                b'0'..=b'9' => self.number(),
                b'/' if self.peek(1) == Some(b'/') => self.comment(),
                b'(' | b'[' | b'{' => self.open(byte)?,
                b')' | b']' | b'}' => self.close(byte)?,
                b'&' | b'|' if self.peek(1) == Some(byte) => {
                    self.level().end_part();
                    self.position += 2;
                }
                b',' | b':' => {
                    self.level().end_part();
                    self.position += 1;
                }
                b'?' => {
                    let level = self.level();
                    level.end_part();
                    level.conditionals += 1;
                    self.within_nesting()?;
                    self.position += 1;
                }
                b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!' => {
                    self.level().chain += 1;
                    self.position += if self.peek(1) == Some(b'=') { 2 } else { 1 };
                }
                b'`' => {
                    return Err(
                        self.error_here("a name cannot be quoted with `; write `event.VM['MY-NAME']`")
                    );
                }
                _ => self.position += 1,
            }
            self.within_depth()?;
        }
        match self.levels.last().and_then(|level| level.opened) {
            Some((bracket, offset)) => Err(CompileError {
                message: format!("`{}` is never closed", char::from(bracket)),
                offset: Some(offset),
            }),
            None => Ok(()),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.as_bytes().get(self.position + ahead).copied()
    }

    fn level(&mut self) -> &mut Level {
        if self.levels.is_empty() {
            self.levels.push(Level::default());
        }
        let last = self.levels.len() - 1;
        &mut self.levels[last]
    }

    fn error_here(&self, message: &str) -> CompileError {
        CompileError {
            message: message.to_owned(),
            offset: Some(self.position),
        }
    }

    fn within_nesting(&self) -> Result<(), CompileError> {
        let nesting =
            self.levels.len() - 1 + self.levels.iter().map(|level| level.conditionals).sum::<usize>();
        if nesting > MAX_NESTING {
            return Err(self.error_here(&format!(
                "nested too deeply; at most {MAX_NESTING} levels of brackets and `? :` are allowed"
            )));
        }
        Ok(())
    }

    fn within_depth(&self) -> Result<(), CompileError> {
        let depth: usize = self.levels.iter().map(|level| level.depth() + 1).sum();
        if depth > MAX_DEPTH {
            return Err(self.error_here(&format!(
                "too many operators in a row; at most {MAX_DEPTH} may be chained or nested without `&&` or `||` between them"
            )));
        }
        Ok(())
    }

    fn open(&mut self, bracket: u8) -> Result<(), CompileError> {
        // An index applies to what stands before it and so lengthens the chain; a call has its dot or is the first.
        if bracket == b'[' {
            self.level().chain += 1;
        }
        self.levels.push(Level {
            opened: Some((bracket, self.position)),
            ..Level::default()
        });
        self.within_nesting()?;
        self.position += 1;
        Ok(())
    }

    fn close(&mut self, bracket: u8) -> Result<(), CompileError> {
        let expected = match self.level().opened {
            Some((b'(', _)) => b')',
            Some((b'[', _)) => b']',
            Some(_) => b'}',
            None => {
                return Err(self.error_here(&format!("`{}` closes nothing", char::from(bracket))));
            }
        };
        if bracket != expected {
            return Err(self.error_here(&format!(
                "`{}` stands where `{}` is expected",
                char::from(bracket),
                char::from(expected)
            )));
        }
        let depth = self.levels.pop().map_or(0, |level| level.depth()) + 1;
        let outer = self.level();
        outer.inner = outer.inner.max(depth);
        self.position += 1;
        Ok(())
    }

    /// A name, a keyword, or the prefix of a string (`r"…"`, `b'…'`).
    fn word(&mut self) -> Result<(), CompileError> {
        let rest = &self.text[self.position..];
        let length = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let word = &rest[..length];
        self.position += length;
        if matches!(self.peek(0), Some(b'"' | b'\'')) && word.len() <= 2 {
            match word.to_ascii_lowercase().as_str() {
                "r" => return self.string(true, false),
                "b" => return self.string(false, true),
                "br" => return self.string(true, true),
                _ => {}
            }
        }
        if word == "in" {
            self.level().chain += 1;
        }
        Ok(())
    }

    fn number(&mut self) {
        // The dot of `1.5` is no selection; a sign after an exponent is counted as an operator, which harms nobody.
        let rest = &self.text[self.position..];
        self.position += rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '.'))
            .unwrap_or(rest.len());
    }

    fn comment(&mut self) {
        let rest = &self.text[self.position..];
        self.position += rest.find(['\n', '\r']).unwrap_or(rest.len());
    }

    /// A string, from its opening quote on.
    fn string(&mut self, raw: bool, bytes: bool) -> Result<(), CompileError> {
        let start = self.position;
        let unterminated = || CompileError {
            message: "the string does not end".to_owned(),
            offset: Some(start),
        };
        let quote = self.peek(0).ok_or_else(unterminated)?;
        let triple = self.peek(1) == Some(quote) && self.peek(2) == Some(quote);
        self.position += if triple { 3 } else { 1 };
        loop {
            let byte = self.peek(0).ok_or_else(unterminated)?;
            if byte == quote && (!triple || (self.peek(1) == Some(quote) && self.peek(2) == Some(quote))) {
                self.position += if triple { 3 } else { 1 };
                return Ok(());
            }
            match byte {
                b'\n' | b'\r' if !triple => return Err(unterminated()),
                b'\\' if !raw => self.escape(bytes)?,
                _ => self.position += 1,
            }
        }
    }

    fn escape(&mut self, bytes: bool) -> Result<(), CompileError> {
        let (digits, allowed): (usize, fn(&u8) -> bool) = match self.peek(1) {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\' | b'"' | b'\'' | b'`' | b'?') => {
                (0, u8::is_ascii_hexdigit)
            }
            Some(b'x' | b'X') => (2, u8::is_ascii_hexdigit),
            Some(b'u') if !bytes => (4, u8::is_ascii_hexdigit),
            Some(b'U') if !bytes => (8, u8::is_ascii_hexdigit),
            Some(b'0'..=b'3') => (2, |digit| matches!(digit, b'0'..=b'7')),
            _ => {
                return Err(self.error_here(
                    r#"unknown escape in a string; write `\\` for a backslash, or `r"…"` for a string without escapes"#,
                ));
            }
        };
        let given = self.text.as_bytes().get(self.position + 2..);
        let complete = given
            .and_then(|given| given.get(..digits))
            .is_some_and(|given| given.iter().all(allowed));
        if !complete {
            return Err(self.error_here("the escape in this string has too few digits"));
        }
        self.position += 2 + digits;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> CompileError {
        check(text).expect_err(text)
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        let opening = "(".repeat(500);
        for text in [
            format!("'{opening}' == \"it's\""),
            format!("r'\\{opening}' != ''"),
            format!("'''a\n'{opening}'''"),
            format!("true // it's {opening}\n && true"),
            format!("b\"\\x41{opening}\" == bytes(\"\")"),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_does_not_end_is_refused_where_it_begins() {
        assert_eq!(refused("a == 'b").offset, Some(5));
        assert_eq!(refused("a == 'b\n'").offset, Some(5));
        assert_eq!(refused("a == '''b''").offset, Some(5));
        assert_eq!(refused("size([1, 2)").offset, Some(10));
        assert_eq!(refused("(a").offset, Some(0));
        assert_eq!(refused("a)").offset, Some(1));
        assert_eq!(refused(r"'\q'").offset, Some(1));
        assert_eq!(refused(r"'\x4'").offset, Some(1));
        assert_eq!(refused("event.`a`").offset, Some(6));
    }

    #[test]
    fn nesting_and_chains_are_bounded() {
        let nested = |n| format!("{}1{}", "(".repeat(n), ")".repeat(n));
        assert_eq!(check(&nested(MAX_NESTING)), Ok(()));
        assert!(refused(&nested(MAX_NESTING + 1)).message.contains("nested"));

        assert_eq!(check(&vec!["1"; MAX_DEPTH].join("+")), Ok(()));
        assert!(
            refused(&vec!["1"; MAX_DEPTH + 1].join("+"))
                .message
                .contains("operators in a row")
        );
        assert_eq!(check(&vec!["a.b == 'x'"; 150].join(" || ")), Ok(()));
        assert!(
            refused(&"a ? b : ".repeat(MAX_NESTING + 1))
                .message
                .contains("nested")
        );
        assert!(refused(&" ".repeat(MAX_LENGTH + 1)).offset.is_none());
    }
}
