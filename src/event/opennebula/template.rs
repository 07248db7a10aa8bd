//! OpenNebula's template files: `NAME = value`, quoted values, `NAME = [ KEY = value, … ]`, comments.
//!
//! The grammar is `oned`'s own (`src/parsers/template_parser.l`, `template_syntax.y`), its longest-match rules included: what
//! `oned` takes is read here as `oned` reads it. Characters that its scanner passes over in silence are faults here, because
//! nobody writes them on purpose.

use std::fmt;

use super::hook_pool::AttributeValue;

/// A template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template {
    /// Its attributes, in the file's order.
    pub attributes: Vec<TemplateAttribute>,
    /// The comments below the last attribute; one line each, without the `#`.
    pub comments_below: Vec<String>,
}

/// One attribute, with what its author wrote about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateAttribute {
    /// Its name, in capitals as `oned` keeps it.
    pub name: String,
    /// Its value.
    pub value: AttributeValue,
    /// The comments above it and behind it; one line each, without the `#`.
    pub comments: Vec<String>,
    /// The line its name stands on, from 1.
    pub line: usize,
}

/// What is wrong with a template, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for TemplateFault {}

/// Reads a template.
///
/// # Errors
/// The first place where it follows the grammar no longer.
pub fn parse(text: &str) -> Result<Template, TemplateFault> {
    let mut scanner = Scanner {
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        at: 0,
        comments: Vec::new(),
    };
    let mut template = Template::default();
    loop {
        let line_before = scanner.line();
        scanner.skip_comment_behind(template.attributes.last_mut(), line_before);
        scanner.skip_blanks();
        if scanner.rest().is_empty() {
            break;
        }
        let line = scanner.line();
        let name = scanner.variable("the name of an attribute")?;
        let value = scanner.value(true)?;
        template.attributes.push(TemplateAttribute {
            name: name.to_ascii_uppercase(),
            value,
            comments: std::mem::take(&mut scanner.comments),
            line,
        });
    }
    template.comments_below = scanner.comments;
    Ok(template)
}

struct Scanner<'a> {
    text: &'a str,
    /// In bytes.
    at: usize,
    /// Those that were passed since the last attribute.
    comments: Vec<String>,
}

/// `[[:blank:]]` of the scanner; a carriage return counts as well, or files from elsewhere could not be read.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn line(&self) -> usize {
        self.text[..self.at].matches('\n').count() + 1
    }

    fn fault(&self, message: impl Into<String>) -> TemplateFault {
        let before = &self.text[..self.at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        TemplateFault {
            line: self.line(),
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    /// The next character as a message names it.
    fn found(&self) -> String {
        match self.rest().chars().next() {
            None => "the end of the file".to_owned(),
            Some('\n') => "the end of the line".to_owned(),
            Some(c) => format!("`{}`", c.escape_debug()),
        }
    }

    /// A comment that stands on the same line behind an attribute belongs to it.
    fn skip_comment_behind(&mut self, attribute: Option<&mut TemplateAttribute>, line: usize) {
        let Some(attribute) = attribute else { return };
        self.skip(is_blank);
        if self.rest().starts_with('#') && self.line() == line {
            let comment = self.comment();
            attribute.comments.push(comment);
        }
    }

    /// Passes blanks, line breaks and comments, which are kept.
    fn skip_blanks(&mut self) {
        loop {
            self.skip(|c| is_blank(c) || c == '\n');
            if !self.rest().starts_with('#') {
                return;
            }
            let comment = self.comment();
            self.comments.push(comment);
        }
    }

    fn skip(&mut self, passed: impl Fn(char) -> bool) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(passed).len();
    }

    fn comment(&mut self) -> String {
        let rest = self.rest();
        let line = rest.split('\n').next().unwrap_or_default();
        self.at += line.len();
        line[1..].trim_end().to_owned()
    }

    fn variable(&mut self, what: &str) -> Result<&'a str, TemplateFault> {
        let rest = self.rest();
        let end = rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        if end == 0 {
            return Err(self.fault(format!(
                "{} where {what} should stand (letters, digits and `_`); a value that holds blanks stands in quotes",
                self.found()
            )));
        }
        self.at += end;
        Ok(&rest[..end])
    }

    /// What stands behind a name: `=` and a value. A vector may not stand in a vector.
    fn value(&mut self, may_be_vector: bool) -> Result<AttributeValue, TemplateFault> {
        let behind_name = self.at;
        self.skip(|c| is_blank(c) || c == '\n');
        if !self.rest().starts_with('=') {
            self.at = behind_name;
            self.skip(is_blank);
            return Err(self.fault(format!(
                "{} where `=` should stand; a value that holds blanks stands in quotes",
                self.found()
            )));
        }
        self.at += 1;
        self.skip(is_blank);
        let rest = self.rest();
        if rest.is_empty() || rest.starts_with('\n') {
            if may_be_vector {
                return Ok(AttributeValue::Text(String::new()));
            }
            return Err(self.fault("a value is missing; an empty one is written `\"\"`"));
        }
        if rest.lines().next().is_some_and(|line| line.contains("]]>")) {
            return Err(self.fault("`]]>` cannot stand in a value"));
        }
        if rest.starts_with('[') {
            if may_be_vector {
                return self.vector();
            }
            return Err(self.fault("a vector cannot stand in a vector"));
        }
        self.scalar().map(AttributeValue::Text)
    }

    fn vector(&mut self) -> Result<AttributeValue, TemplateFault> {
        let start = self.fault("this `[` is not closed");
        self.at += 1;
        let mut parts: Vec<(String, String)> = Vec::new();
        loop {
            self.skip_blanks();
            if self.rest().is_empty() {
                return Err(start);
            }
            if parts.is_empty() && self.rest().starts_with(']') {
                self.at += 1;
                return Ok(AttributeValue::Vector(parts));
            }
            let key = self.variable("a name")?.to_ascii_uppercase();
            if let AttributeValue::Text(value) = self.value(false)? {
                // oned keeps the first of several.
                if parts.iter().all(|(known, _)| *known != key) {
                    parts.push((key, value));
                }
            }
            self.skip_blanks();
            match self.rest().chars().next() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(AttributeValue::Vector(parts));
                }
                None => return Err(start),
                Some(_) => {
                    return Err(self.fault(format!(
                        "{} where `,` or `]` should stand; a value that holds blanks stands in quotes",
                        self.found()
                    )));
                }
            }
        }
    }

    /// A value in quotes or without; the longer reading counts, as in every scanner made by flex.
    fn scalar(&mut self) -> Result<String, TemplateFault> {
        let rest = self.rest();
        let plain = rest
            .find(|c: char| is_blank(c) || matches!(c, '=' | '#' | '\n' | ',' | '[' | ']'))
            .unwrap_or(rest.len());
        let quoted = quoted_length(rest).unwrap_or(0);
        if quoted == 0 && rest.starts_with('"') {
            return Err(self.fault("this quote is not closed"));
        }
        if quoted >= plain.max(1) {
            self.at += quoted;
            return Ok(rest[1..quoted - 1].replace("\\\"", "\""));
        }
        if plain == 0 {
            return Err(self.fault(format!(
                "{} where a value should stand; put quotes around a value that holds it",
                self.found()
            )));
        }
        self.at += plain;
        Ok(rest[..plain].replace("\\\"", "\""))
    }
}

/// How long the quoted value is that `text` begins with, quotes included. A quote behind a backslash ends it only if no other
/// does.
fn quoted_length(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('"')?;
    let mut last = None;
    let mut escaped = false;
    for (index, byte) in inside.bytes().enumerate() {
        if byte == b'"' {
            last = Some(index + 2);
            if !escaped {
                return last;
            }
        }
        escaped = byte == b'\\';
    }
    last
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(text: &str) -> Vec<(String, String)> {
        parse(text)
            .expect("a template")
            .attributes
            .into_iter()
            .map(|attribute| match attribute.value {
                AttributeValue::Text(text) => (attribute.name, text),
                AttributeValue::Vector(parts) => (attribute.name, format!("{parts:?}")),
            })
            .collect()
    }

    fn one(text: &str) -> String {
        texts(text).remove(0).1
    }

    #[test]
    fn values_are_read_as_oned_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            ("a = b\r\n", "b"),
            ("A = \"b c\"", "b c"),
            ("A = \"b \\\" c\"", "b \" c"),
            ("A = \"b\\\\\\\" c\"", "b\\\\\" c"),
            (
                "A = \"over\ntwo lines # no comment\"",
                "over\ntwo lines # no comment",
            ),
            ("A =", ""),
            ("A\n = b", "b"),
            ("A = \t\nB = x", ""),
            ("A = \"\"", ""),
            ("A = $TEMPLATE # note", "$TEMPLATE"),
            ("A = /bin/x#no", "/bin/x"),
            // A longer reading without quotes wins over a shorter one with them.
            ("A = \"b\"c", "\"b\"c"),
            // No other quote ends it.
            ("A = \"C:\\\"", "C:\\"),
            ("A = one.vm.allocate", "one.vm.allocate"),
            ("A = é", "é"),
        ] {
            assert_eq!(one(text), expected, "{text:?}");
        }
        assert_eq!(
            texts("NAME=x TYPE = api\nCALL=\"one.vm.info\" COMMAND = y"),
            [
                ("NAME", "x"),
                ("TYPE", "api"),
                ("CALL", "one.vm.info"),
                ("COMMAND", "y")
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn vectors_are_read_with_their_comments() {
        let template =
            parse("A = [ k = v, # about k\n  L = \"w, x\",K=again ]\nB = [ ]\nC = []").expect("a template");
        assert_eq!(
            template.attributes[0].value,
            AttributeValue::Vector(vec![
                ("K".to_owned(), "v".to_owned()),
                ("L".to_owned(), "w, x".to_owned())
            ])
        );
        assert_eq!(template.attributes[0].comments, [" about k"]);
        assert_eq!(template.attributes[1].value, AttributeValue::Vector(Vec::new()));
        assert_eq!(template.attributes[2].value, AttributeValue::Vector(Vec::new()));
    }

    #[test]
    fn comments_stay_with_what_they_are_about() {
        let template = parse("# head\n\n#  second \nNAME = x # behind\n# above\n\nTYPE = api\n#end")
            .expect("a template");
        assert_eq!(template.attributes[0].comments, [" head", "  second", " behind"]);
        assert_eq!(template.attributes[1].comments, [" above"]);
        assert_eq!((template.attributes[0].line, template.attributes[1].line), (4, 7));
        assert_eq!(template.comments_below, ["end"]);
    }

    #[test]
    fn a_fault_says_where_it_is() {
        for (text, line, column, part) in [
            (
                "NAME = a b\nTYPE = api",
                1,
                11,
                "the end of the line where `=` should stand",
            ),
            (
                "NAME = a\nCOMMAND = /bin/x -v",
                2,
                18,
                "`-` where the name of an attribute should stand",
            ),
            ("NAME", 1, 5, "the end of the file where `=`"),
            ("A = \"b", 1, 5, "this quote is not closed"),
            ("A = [ B = c", 1, 5, "this `[` is not closed"),
            ("A = [ B = [ ] ]", 1, 11, "a vector cannot stand in a vector"),
            ("A = [ B = c D = e ]", 1, 13, "where `,` or `]` should stand"),
            ("A = [ B =\n]", 1, 10, "a value is missing"),
            ("A = #", 1, 5, "`#` where a value should stand"),
            ("A = x]]>y", 1, 5, "`]]>` cannot stand in a value"),
            ("é = x", 1, 1, "`é` where the name of an attribute should stand"),
            ("A = \"é\" é", 1, 9, "`é` where the name of an attribute"),
        ] {
            let fault = parse(text).expect_err(text);
            assert_eq!((fault.line, fault.column), (line, column), "{text:?}: {fault}");
            assert!(fault.message.contains(part), "{text:?}: {fault}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "([A-C]|=| = |\"|\\\\|\\[|\\]|,|#|\n|\r| |\\PC){0,24}") {
            let _ = parse(&text);
        }

        #[test]
        fn every_quoted_value_comes_back(value in "\\PC{0,40}", other in "[a-z]{1,5}") {
            // What oned cannot express: it has no escape for a backslash before a quote.
            prop_assume!(!value.contains('\\') && !value.contains("]]>"));
            let text = format!("A = \"{}\"\nB = {other}\n", value.replace('"', "\\\""));
            prop_assert_eq!(texts(&text), [("A".to_owned(), value), ("B".to_owned(), other)]);
        }
    }
}
