//! What must not be printed: passwords and tokens inside events.
//!
//! The controller masks some secrets and sends others in clear (`one.user.allocate` carries the new user's password and its
//! hash). [`Redaction`] blots them out of whatever is shown: documents, trees, argument lists, environments. It works on
//! text, so that documents that are not well-formed are covered, and rather hides too much than too little: an element or
//! attribute whose name speaks of a secret goes as a whole, and base64 is looked into.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value;

use super::opennebula::{Direction, parameter_ranges};

/// What is shown in place of a secret.
pub const MARK: &str = "[redacted]";

/// Parts of names that speak of a secret: `PASSWORD`, `TOKEN_PASSWORD`, `VNC_PASSWD`, `SSH_PRIVATE_KEY` …
const SECRET_WORDS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "TOKEN",
    "SECRET",
    "CREDENTIAL",
    "PRIVATE_KEY",
    "ACCESS_KEY",
    "API_KEY",
];

/// Parameters that are secrets by their place. Some the controller masks already; what it masks may change.
const SECRET_PARAMETERS: &[(&str, Direction, u32)] = &[
    // The password; for some drivers a certificate's subject.
    ("one.user.allocate", Direction::In, 3),
    ("one.user.passwd", Direction::In, 3),
    // A login token, in and out.
    ("one.user.login", Direction::In, 3),
    ("one.user.login", Direction::Out, 2),
    ("one.user.chauth", Direction::In, 4),
    // What the command is fed.
    ("one.vm.exec", Direction::In, 4),
];

/// Base64 in base64 is looked into this deep: a retry's arguments hold three layers.
const MAX_LAYERS: usize = 4;

/// Shorter runs of base64 letters are words.
const MIN_BASE64: usize = 16;

/// Shorter values of secret parameters are not searched for elsewhere: they would blot out half of a page.
const MIN_ECHO: usize = 4;

/// Values of one document that are searched for elsewhere; a document made of nothing but passwords must not cost more.
const MAX_KNOWN: usize = 256;

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A configured path that names nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{path}` names nothing to redact; write a name (`//PIN`, `VM/USER_TEMPLATE/PIN`) or a parameter (`one.vm.exec IN 3`)"
)]
pub struct InvalidPath {
    /// What was configured.
    pub path: String,
}

/// What is hidden: the built-in table and what the operator added.
#[derive(Clone, Default)]
pub struct Redaction {
    names: Vec<String>,
    parameters: Vec<(String, Direction, u32)>,
    /// What one document says.
    values: Vec<String>,
    /// What all clones hide, also what came to be known after they were made.
    secrets: Arc<ArcSwap<Vec<String>>>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction")
            .field("names", &self.names)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

impl Redaction {
    /// The built-in table, extended by `paths`: `//PIN` or `VM/USER_TEMPLATE/PIN` hides every element and attribute of that
    /// last name, wherever it stands; `one.vm.exec IN 3` hides a parameter of a call.
    ///
    /// # Errors
    /// The first path that is neither.
    pub fn new<S: AsRef<str>>(paths: &[S]) -> Result<Self, InvalidPath> {
        let mut redaction = Self::default();
        for path in paths {
            let path = path.as_ref();
            let invalid = || InvalidPath {
                path: path.to_owned(),
            };
            let words: Vec<&str> = path.split_ascii_whitespace().collect();
            match words.as_slice() {
                [name] => {
                    let name = name.rsplit('/').next().unwrap_or("").trim_start_matches('@');
                    if name.is_empty() || !name.chars().all(is_name_char) {
                        return Err(invalid());
                    }
                    redaction.names.push(name.to_uppercase());
                }
                [call, direction, position] if call.starts_with("one.") => {
                    let direction = match *direction {
                        "IN" => Direction::In,
                        "OUT" => Direction::Out,
                        _ => return Err(invalid()),
                    };
                    let position = position.parse().map_err(|_| invalid())?;
                    redaction
                        .parameters
                        .push(((*call).to_owned(), direction, position));
                }
                _ => return Err(invalid()),
            }
        }
        Ok(redaction)
    }

    /// Hides `secret` as well, from now on and in all clones, wherever it stands, in clear or in base64: for secrets that hem itself
    /// knows. What was hidden once stays so, for what was recorded with it. One of fewer than four bytes is not hidden: it would blot
    /// out half of a page.
    pub fn hide(&self, secret: &str) {
        if !is_echo(secret) {
            return;
        }
        self.secrets.rcu(|secrets| {
            let mut with_it = (**secrets).clone();
            if !with_it.iter().any(|known| known == secret) {
                with_it.push(secret.to_owned());
            }
            with_it
        });
    }

    /// Hides also what this document says under names of secrets, wherever else it stands: an expression in a hook's
    /// arguments takes a password out of its element, and nothing around it says any more what it is.
    #[must_use]
    pub fn knowing(&self, document: &[u8]) -> Self {
        let text = String::from_utf8_lossy(document);
        let mut hidden = self.secret_parameters(&text, call_of(&text));
        hidden.extend(self.secret_elements(&text));
        hidden.extend(self.secret_assignments(&text));
        let mut known = self.clone();
        let pieces = hidden
            .into_iter()
            .flat_map(|range| text[range].split(['<', '>']))
            .map(|piece| piece.trim_start_matches("![CDATA[").trim_end_matches("]]").trim())
            .filter(|piece| is_echo(piece) && !piece.starts_with('/'));
        for piece in pieces {
            if known.values.len() == MAX_KNOWN {
                break;
            }
            let plain = quick_xml::escape::unescape(piece).unwrap_or(Cow::Borrowed(piece));
            for value in [piece, &*plain] {
                if !known.values.iter().any(|known| known == value) {
                    known.values.push(value.to_owned());
                }
            }
        }
        known
    }

    /// Whether the value of something with this name is hidden as a whole.
    pub fn is_secret_name(&self, name: &str) -> bool {
        let name = name.to_ascii_uppercase().replace('-', "_");
        SECRET_WORDS.iter().any(|word| name.contains(word)) || self.names.contains(&name)
    }

    /// A document as it may be shown, well-formed or not.
    pub fn document(&self, document: &[u8]) -> String {
        self.text(&String::from_utf8_lossy(document), None)
    }

    /// Any text as it may be shown: script output, arguments, parts of documents.
    ///
    /// `call` is the API call it belongs to, where known; a `CALL_INFO` element does not say itself which call it is of, and
    /// without that knowledge every parameter that is a secret of some call is hidden.
    pub fn text(&self, text: &str, call: Option<&str>) -> String {
        self.layer(text, call, 0).into_owned()
    }

    /// A text whose beginning was cut away: what belongs to a secret that began before the cut is hidden as well.
    pub fn tail(&self, text: &str, call: Option<&str>) -> String {
        let rest = self.rest_of_element(text).max(self.rest_of_base64(text, call));
        let shown = self.text(&text[rest..], call);
        if rest == 0 || shown.starts_with(MARK) {
            return shown;
        }
        format!("{MARK}{shown}")
    }

    /// How far the text is the content of a secret element that began before it.
    fn rest_of_element(&self, text: &str) -> usize {
        let mut opened: Vec<&str> = Vec::new();
        let mut rest = 0;
        for (at, _) in text.match_indices('<') {
            let tag = &text[at + 1..];
            if let Some(closing) = tag.strip_prefix('/') {
                let name = leading_name(closing);
                if let Some(place) = opened.iter().rposition(|open| *open == name) {
                    opened.truncate(place);
                } else if self.is_secret_name(name) {
                    rest = at;
                }
            } else if self.is_secret_name(leading_name(tag)) {
                opened.push(leading_name(tag));
            }
        }
        rest
    }

    /// How far the text is the end of base64 that holds a secret. Where its groups of four begin is not known.
    fn rest_of_base64(&self, text: &str, call: Option<&str>) -> usize {
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=' | '\n' | '\r');
        let end = text.find(|c| !is_letter(c)).unwrap_or(text.len());
        let letters: String = text[..end].split_ascii_whitespace().collect();
        let holds_secret = |skipped: usize| {
            let group = letters.get(skipped..).unwrap_or_default();
            if group.len() < MIN_BASE64 {
                return false;
            }
            // The cut may have gone through a character.
            LENIENT.decode(group).is_ok_and(|bytes| {
                let inner = String::from_utf8_lossy(&bytes);
                self.tail(&inner, call) != inner
            })
        };
        if (0..4).any(holds_secret) { end } else { 0 }
    }

    /// A tree ([`Payload::tree`](super::payload::Payload::tree)) as it may be shown.
    pub fn tree(&self, tree: &Value) -> Value {
        let call = tree.get("CALL").and_then(Value::as_str);
        let mut echoes = Vec::new();
        self.secret_values(tree, call, &mut echoes);
        if echoes.is_empty() {
            return self.value(tree, call);
        }
        let mut with_echoes = self.clone();
        with_echoes.values.extend(echoes);
        with_echoes.value(tree, call)
    }

    /// One argument as it may be shown; an argument that is the base64 of a document is shown as that document.
    ///
    /// `call` is the API call of the event, where it is one.
    pub fn argument(&self, argument: &str, call: Option<&str>) -> String {
        let shown: Vec<Cow<'_, str>> = argument
            .split(' ')
            .map(|word| match decode(word) {
                Some(inner) if inner.trim_start().starts_with(['<', '{', '[']) => {
                    Cow::Owned(self.layer(&inner, call, 1).into_owned())
                }
                // A layer more: a retry's argument string.
                Some(inner) if inner.split(' ').any(is_encoded_document) => {
                    Cow::Owned(self.argument(&inner, call))
                }
                _ => Cow::Borrowed(word),
            })
            .collect();
        self.layer(&shown.join(" "), call, 0).into_owned()
    }

    /// An environment variable's value as it may be shown.
    pub fn variable(&self, name: &str, value: &str, call: Option<&str>) -> String {
        if self.is_secret_name(name) {
            MARK.to_owned()
        } else {
            self.argument(value, call)
        }
    }

    fn layer<'a>(&self, text: &'a str, call: Option<&str>, depth: usize) -> Cow<'a, str> {
        let call = call.or_else(|| call_of(text));
        let mut hidden = self.secret_parameters(text, call);
        let echoes: Vec<&str> = hidden
            .iter()
            .map(|range| text[range.clone()].trim())
            .filter(|secret| is_echo(secret))
            .collect();
        let secrets = self.secrets.load();
        let known = self.values.iter().chain(secrets.iter()).map(String::as_str);
        for secret in echoes.into_iter().chain(known) {
            hidden.extend(text.match_indices(secret).map(|(at, found)| at..at + found.len()));
        }
        hidden.extend(self.secret_elements(text));
        hidden.extend(self.secret_assignments(text));
        if depth < MAX_LAYERS {
            let runs: Vec<_> = encoded_runs(text).collect();
            let mut encoded = Vec::new();
            for run in runs {
                if let Some(inner) = decode(&text[run.clone()])
                    && self.layer(&inner, call, depth + 1) != inner
                {
                    encoded.push(run);
                }
            }
            hidden.extend(encoded);
        }
        blot(text, hidden)
    }

    fn secret_parameters(&self, text: &str, call: Option<&str>) -> Vec<Range<usize>> {
        if !text.contains("<PARAMETER>") {
            return Vec::new();
        }
        let is_secret = |direction, position| {
            let of_call = |name: &str| call.is_none_or(|call| call == name);
            SECRET_PARAMETERS
                .iter()
                .any(|&(name, d, p)| of_call(name) && (d, p) == (direction, position))
                || self
                    .parameters
                    .iter()
                    .any(|(name, d, p)| of_call(name) && (*d, *p) == (direction, position))
        };
        parameter_ranges(text)
            .into_iter()
            .filter(|(direction, position, _)| is_secret(*direction, *position))
            .map(|(_, _, range)| range)
            .collect()
    }

    /// The contents of elements whose name speaks of a secret, elements of the same name in them included; to the end of
    /// the text where the end tag is missing.
    fn secret_elements(&self, text: &str) -> Vec<Range<usize>> {
        let mut hidden = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find('<') {
            let open = at + found + 1;
            let name = leading_name(&text[open..]);
            at = open + name.len();
            if name.is_empty() || !self.is_secret_name(name) {
                continue;
            }
            let Some(close) = text[at..].find('>') else {
                hidden.push(at..text.len());
                break;
            };
            let content = at + close + 1;
            if text[..content].ends_with("/>") {
                // Its attributes may still hold something.
                hidden.push(at..content - 2);
                at = content;
                continue;
            }
            let end = matching_end(text, content, name);
            hidden.push(content..end);
            at = end;
        }
        hidden
    }

    /// The values in `NAME="value"`, `NAME = value`, `"name": "value"` where the name speaks of a secret.
    fn secret_assignments(&self, text: &str) -> Vec<Range<usize>> {
        let mut hidden = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(is_name_char) {
            let start = at + found;
            let name = leading_name(&text[start..]);
            at = start + name.len();
            if !self.is_secret_name(name) {
                continue;
            }
            if let Some(range) = assigned(text, at) {
                at = range.end;
                hidden.push(range);
            }
        }
        hidden
    }

    fn value(&self, value: &Value, call: Option<&str>) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text, call)),
            Value::Array(list) => list.iter().map(|item| self.value(item, call)).collect(),
            Value::Object(fields) => {
                let secret_parameter = self.is_secret_parameter(fields, call);
                fields
                    .iter()
                    .map(|(name, inner)| {
                        let hide = self.is_secret_name(name) || (secret_parameter && name == "VALUE");
                        let shown = if hide {
                            Value::String(MARK.to_owned())
                        } else {
                            self.value(inner, call)
                        };
                        (name.clone(), shown)
                    })
                    .collect()
            }
            other => other.clone(),
        }
    }

    /// The values of secret parameters, which may stand elsewhere as well.
    fn secret_values(&self, value: &Value, call: Option<&str>, found: &mut Vec<String>) {
        match value {
            Value::Array(list) => {
                for item in list {
                    self.secret_values(item, call, found);
                }
            }
            Value::Object(fields) => {
                if self.is_secret_parameter(fields, call)
                    && let Some(secret) = fields.get("VALUE").and_then(Value::as_str)
                    && is_echo(secret.trim())
                {
                    found.push(secret.trim().to_owned());
                }
                for inner in fields.values() {
                    self.secret_values(inner, call, found);
                }
            }
            _ => {}
        }
    }

    /// Whether an object is one of a call's parameters and a secret.
    fn is_secret_parameter(&self, fields: &serde_json::Map<String, Value>, call: Option<&str>) -> bool {
        let text = |name| fields.get(name).and_then(Value::as_str).unwrap_or("").trim();
        let (direction, position) = (text("TYPE"), text("POSITION"));
        let matches = |(name, d, p): (&str, Direction, u32)| {
            call.is_none_or(|call| call == name) && d.as_str() == direction && p.to_string() == position
        };
        fields.contains_key("VALUE")
            && (SECRET_PARAMETERS.iter().copied().any(matches)
                || self.parameters.iter().any(|(name, d, p)| matches((name, *d, *p))))
    }
}

/// Whether a secret parameter's value is worth looking for elsewhere: the controller's own mask is not.
fn is_echo(secret: &str) -> bool {
    secret.len() >= MIN_ECHO && !secret.chars().all(|c| c == '*')
}

/// The call that a whole message names in its head.
fn call_of(text: &str) -> Option<&str> {
    let head = &text[..text.find("<CALL_INFO")?];
    let (_, rest) = head.split_once("<CALL>")?;
    rest.split_once("</CALL>").map(|(call, _)| call.trim())
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn leading_name(text: &str) -> &str {
    &text[..text.find(|c| !is_name_char(c)).unwrap_or(text.len())]
}

/// Where the end tag stands that closes the element `name` whose content begins at `from`; the end of the text if it does
/// not. What looks like a tag in a CDATA section is text.
fn matching_end(text: &str, from: usize, name: &str) -> usize {
    let mut depth = 1usize;
    let mut at = from;
    while let Some(found) = text[at..].find('<') {
        let here = at + found;
        let rest = &text[here + 1..];
        if let Some(data) = rest.strip_prefix("![CDATA[") {
            match data.find("]]>") {
                Some(end) => at = text.len() - data.len() + end,
                None => return text.len(),
            }
            continue;
        }
        at = here + 1;
        if let Some(closing) = rest.strip_prefix('/') {
            if leading_name(closing) == name {
                depth -= 1;
                if depth == 0 {
                    return here;
                }
            }
        } else if leading_name(rest) == name {
            let empty = rest
                .find(['<', '>'])
                .is_some_and(|end| rest[..end].ends_with('/'));
            depth += usize::from(!empty);
        }
    }
    text.len()
}

/// The value assigned to a name that ends at `at`, if one is: quoted, in brackets, or up to the end of the line.
fn assigned(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = &text[at..];
    // The name itself may stand in quotes, escaped ones in a document within a document.
    let rest = rest.trim_start_matches('\\').trim_start_matches(['"', '\'']);
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix(['=', ':'])?.trim_start();
    let start = text.len() - rest.len();
    let escapes = rest.len() - rest.trim_start_matches('\\').len();
    let quoted = &rest[escapes..];
    if let Some(quote @ ('"' | '\'')) = quoted.chars().next() {
        let inner = start + escapes + 1;
        return Some(inner..closing_quote(text, inner, quote, escapes));
    }
    if rest.starts_with('[') && !rest.starts_with("[redacted]") {
        return Some(start..closing_bracket(text, start));
    }
    let end = end_of_bare_value(rest);
    (end > 0).then_some(start..start + end)
}

/// Where a value without quotes ends: with the line, the parameter or the CDATA section it stands in.
fn end_of_bare_value(text: &str) -> usize {
    let mut at = 0;
    while let Some(found) = text[at..].find(['\n', '<', ']']) {
        let here = at + found;
        let rest = &text[here..];
        if rest.starts_with('\n') || rest.starts_with("</VALUE>") || rest.starts_with("]]>") {
            return here;
        }
        at = here + 1;
    }
    text.len()
}

/// Where the quote stands that ends a value: one with no more backslashes before it than the opening one had.
fn closing_quote(text: &str, from: usize, quote: char, escapes: usize) -> usize {
    let mut backslashes = 0;
    for (at, c) in text[from..].char_indices() {
        if c == quote && backslashes <= escapes {
            return from + at - backslashes;
        }
        backslashes = if c == '\\' { backslashes + 1 } else { 0 };
    }
    text.len()
}

fn closing_bracket(text: &str, from: usize) -> usize {
    let mut depth = 0usize;
    for (at, c) in text[from..].char_indices() {
        match c {
            '[' => depth += 1,
            ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return from + at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

/// Runs of base64 letters: whole ones over line breaks first, then each line's.
fn encoded_runs(text: &str) -> impl Iterator<Item = Range<usize>> {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let lines = runs(text, is_letter);
    let blocks = runs(text, move |c| is_letter(c) || matches!(c, '\n' | '\r'))
        .filter(|run| text[run.clone()].trim().contains('\n'));
    blocks.chain(lines)
}

fn runs(text: &str, belongs: impl Fn(char) -> bool) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let start = at + text[at..].find(&belongs)?;
            let end = text[start..]
                .find(|c| !belongs(c))
                .map_or(text.len(), |length| start + length);
            at = end;
            if end - start >= MIN_BASE64 {
                return Some(start..end);
            }
        }
        None
    })
}

/// The text that a run of base64 stands for; none if it is no base64 or stands for no text.
fn decode(run: &str) -> Option<String> {
    if run.len() < MIN_BASE64 {
        return None;
    }
    let letters: String = run.split_ascii_whitespace().collect();
    let bytes = LENIENT.decode(letters).ok()?;
    String::from_utf8(bytes).ok()
}

fn is_encoded_document(word: &str) -> bool {
    decode(word).is_some_and(|inner| inner.trim_start().starts_with(['<', '{', '[']))
}

fn blot(text: &str, mut hidden: Vec<Range<usize>>) -> Cow<'_, str> {
    hidden.retain(|range| !range.is_empty() && &text[range.clone()] != MARK);
    if hidden.is_empty() {
        return Cow::Borrowed(text);
    }
    hidden.sort_by_key(|range| (range.start, range.end));
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut ranges = hidden.into_iter().peekable();
    while let Some(mut range) = ranges.next() {
        while let Some(next) = ranges.next_if(|next| next.start <= range.end) {
            range.end = range.end.max(next.end);
        }
        out.push_str(&text[at..range.start]);
        out.push_str(MARK);
        at = range.end;
    }
    out.push_str(&text[at..]);
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use base64::engine::general_purpose::STANDARD;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::event::payload::Payload;

    fn user_allocate(password: &str) -> String {
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.user.allocate</CALL><CALL_INFO><RESULT>1</RESULT><PARAMETERS>\
             <PARAMETER><POSITION>1</POSITION><TYPE>IN</TYPE><VALUE>****</VALUE></PARAMETER>\
             <PARAMETER><POSITION>2</POSITION><TYPE>IN</TYPE><VALUE>anna</VALUE></PARAMETER>\
             <PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>{password}</VALUE></PARAMETER>\
             <PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>true</VALUE></PARAMETER>\
             <PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>2</VALUE></PARAMETER>\
             </PARAMETERS><EXTRA><USER><ID>2</ID><PASSWORD><![CDATA[0a1b2c3d]]></PASSWORD></USER></EXTRA></CALL_INFO>\
             </HOOK_MESSAGE>"
        )
    }

    #[test]
    fn a_new_users_password_and_its_hash_are_hidden() {
        let redaction = Redaction::default();
        let document = user_allocate("sekret&pass");
        let shown = redaction.document(document.as_bytes());
        assert!(
            !shown.contains("sekret") && !shown.contains("0a1b2c3d"),
            "{shown}"
        );
        assert!(
            shown.contains("<VALUE>anna</VALUE>") && shown.contains("<ID>2</ID>"),
            "{shown}"
        );

        let tree = redaction.tree(Payload::new(Bytes::from(document.clone())).tree());
        let shown = tree.to_string();
        assert!(
            !shown.contains("sekret") && !shown.contains("0a1b2c3d"),
            "{shown}"
        );
        assert!(shown.contains("anna"));

        // What a hook gets as $API does not say which call it is of.
        let fragment = &document[document.find("<CALL_INFO>").expect("it")..document.len() - 15];
        let argument = format!("{} x y", STANDARD.encode(fragment));
        for call in [None, Some("one.user.allocate")] {
            let shown = redaction.argument(&argument, call);
            assert!(
                !shown.contains("sekret") && !shown.contains("0a1b2c3d"),
                "{shown}"
            );
            assert!(
                shown.starts_with("<CALL_INFO>") && shown.ends_with(" x y"),
                "{shown}"
            );
        }
        let shown = redaction.argument(&argument, Some("one.vm.allocate"));
        assert!(
            shown.contains("sekret"),
            "the parameter is no secret of another call"
        );
    }

    #[test]
    fn a_document_laid_out_hides_the_same() {
        let document = user_allocate("sekret").replace("><", ">\n  <");
        assert!(
            !Redaction::default()
                .document(document.as_bytes())
                .contains("sekret")
        );
    }

    #[test]
    fn what_is_no_secret_stays() {
        let redaction = Redaction::default();
        for text in [
            "<VM><ID>12</ID><NAME>web-1</NAME><TEMPLATE><CPU><![CDATA[0.1]]></CPU></TEMPLATE></VM>",
            "NAME=\"x\"\nCPU=0.1\nSSH_PUBLIC_KEY=\"ssh-rsa AAAA\"",
            "0123456789abcdef0123456789abcdef",
            "",
        ] {
            assert_eq!(redaction.text(text, None), text);
        }
        let shown = redaction.argument(&STANDARD.encode("<VM><ID>12</ID></VM>"), None);
        assert_eq!(shown, "<VM><ID>12</ID></VM>");
    }

    #[test]
    fn the_operator_adds_names_and_parameters() {
        let redaction =
            Redaction::new(&["//PIN", "VM/USER_TEMPLATE/DOOR_CODE", "one.vm.rename IN 3"]).expect("paths");
        let shown = redaction.text(
            "<PIN>1234</PIN><DOOR_CODE>5678</DOOR_CODE><pin>90</pin><PINS>77</PINS>",
            None,
        );
        assert_eq!(
            shown,
            "<PIN>[redacted]</PIN><DOOR_CODE>[redacted]</DOOR_CODE><pin>[redacted]</pin><PINS>77</PINS>"
        );
        let rename = user_allocate("new-name").replace("one.user.allocate", "one.vm.rename");
        assert!(!redaction.document(rename.as_bytes()).contains("new-name"));
        for bad in [
            "",
            "//",
            "a b",
            "one.vm.rename IN x",
            "one.vm.rename UP 3",
            "//a<b",
        ] {
            assert!(Redaction::new(&[bad]).is_err(), "{bad}");
        }
    }

    #[test]
    fn values_given_to_scripts_are_hidden_by_value() {
        let redaction = Redaction::default();
        let elsewhere = redaction.knowing(b"<PIN>x</PIN>");
        redaction.hide("hunter2");
        for redaction in [&redaction, &elsewhere] {
            assert_eq!(redaction.text("it is hunter2!", None), "it is [redacted]!");
            assert_eq!(redaction.text(&STANDARD.encode("and here: hunter2"), None), MARK);
        }
        assert_eq!(Redaction::default().text("hunter2", None), "hunter2");
    }

    #[test]
    fn a_variable_is_hidden_by_its_name_too() {
        let redaction = Redaction::default();
        assert_eq!(redaction.variable("DNS_TOKEN", "abc", None), MARK);
        assert_eq!(redaction.variable("ZONE", "prod", None), "prod");
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_its_length() {
        for filler in [
            "<TOKEN ",
            "<TOKEN>",
            "PASSWORD=x\n",
            "PASSWORD=[",
            "PASSWORD=\"",
            "TOKEN",
            "<![CDATA[",
            "<PARAMETER>",
        ] {
            let text = format!("<TOKEN>{}>", filler.repeat(1_000_000 / filler.len()));
            for text in [&text[..], &text["<TOKEN>".len()..]] {
                let started = Instant::now();
                let _ = Redaction::default().document(text.as_bytes());
                assert!(
                    started.elapsed() < Duration::from_secs(20),
                    "{filler}: {:?}",
                    started.elapsed()
                );
            }
        }
    }

    /// Each place a secret was seen in, or may be written to.
    fn places(secret: &str) -> Vec<String> {
        let message = user_allocate(secret);
        let retry = format!(
            "<HOOK_MESSAGE><ARGUMENTS>{}</ARGUMENTS><HOOK_ID>2</HOOK_ID></HOOK_MESSAGE>",
            STANDARD.encode(format!("{} x", STANDARD.encode(&message)))
        );
        let output: String = STANDARD
            .encode(format!("login\nPASSWORD=\"{secret}\"\ndone"))
            .as_bytes()
            .chunks(60)
            .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
            .collect();
        vec![
            format!("<VM><USER_TEMPLATE><ROOT_PASSWORD><![CDATA[{secret}]]></ROOT_PASSWORD></USER_TEMPLATE></VM>"),
            format!("<VM><USER_TEMPLATE><A><TOKEN><X>{secret}</X></TOKEN></A></USER_TEMPLATE></VM>"),
            format!("<VM><GRAPHICS><PASSWD>{secret}"),
            format!("<VALUE>NAME=x\nPASSWORD=\"{secret}\"\nCPU=1</VALUE>"),
            format!("<VALUE>NAME=x\nPASSWORD = {secret}\nCPU=1</VALUE>"),
            format!("<VALUE>GRAPHICS=[TYPE=vnc,PASSWD=\"{secret}\"]</VALUE>"),
            format!("<VALUE>AWS=[ SECRET_ACCESS_KEY = {secret} ]</VALUE>"),
            format!("<VALUE>API_KEY=[ A = {secret} ]</VALUE>"),
            format!("{{\"password\": \"{secret}\"}}"),
            format!("TEMPLATE=\"{{\\\"api-key\\\":\\\"{secret}\\\"}}\""),
            format!("<user token='{secret}'/>"),
            message.replace("<VALUE>anna</VALUE>", &format!("<VALUE>anna</VALUE></PARAMETER><PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>{secret}</VALUE>")),
            message.replace("<ID>2</ID>", &format!("<ID>2</ID><NOTE>{secret}</NOTE>")),
            format!("<STDOUT>{output}</STDOUT>"),
            retry,
            message,
        ]
    }

    #[test]
    fn a_secret_taken_out_of_its_element_is_known_by_its_value() {
        let document = "<VM><TEMPLATE><PASSWORD><![CDATA[a&b-c3cret]]></PASSWORD><PIN>12</PIN>\
            <X_TOKEN>q &amp; a</X_TOKEN><DESC>VNC_PASSWD=\"hunter22\"</DESC></TEMPLATE></VM>";
        let redaction = Redaction::default().knowing(document.as_bytes());
        for secret in ["a&b-c3cret", "q & a", "hunter22"] {
            assert_eq!(redaction.text(&format!("is {secret}!"), None), "is [redacted]!");
            assert_eq!(redaction.argument(secret, None), MARK);
        }
        assert_eq!(redaction.text("12 DESC", None), "12 DESC");
    }

    proptest! {
        #[test]
        fn a_planted_secret_never_comes_out(secret in "[A-Za-z0-9&+/%$!~]{8,24}") {
            // What stands in the documents anyway gives nothing away.
            prop_assume!(!secret.contains("PASSWORD") && !secret.chars().all(|c| c == '*'));
            let redaction = Redaction::default();
            for place in places(&secret) {
                let forms = [
                    redaction.document(place.as_bytes()),
                    redaction.argument(&STANDARD.encode(&place), None),
                    redaction.argument(&format!("{} -m -p 5", STANDARD.encode(&place)), Some("one.user.allocate")),
                    redaction.tree(Payload::new(Bytes::from(place.clone())).tree()).to_string(),
                    redaction.variable("HOOK_ARGUMENT", &place, None),
                ];
                for shown in forms {
                    prop_assert!(!shown.contains(&secret), "{shown} of {place}");
                    prop_assert!(!shown.contains(&STANDARD.encode(&secret)), "{shown} of {place}");
                    prop_assert!(!shown.contains(&STANDARD.encode(&place)), "{shown} of {place}");
                }
            }
        }

        #[test]
        fn no_text_makes_redaction_panic(text in "(<PASSWORD>|</PASSWORD>|<TOKEN/|PASSWORD|=|\"|\\\\|\\[|\\]|<PARAMETERS>|<PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>|</VALUE></PARAMETER>|[A-Za-z0-9+/=\n]{0,20}|<!\\[CDATA\\[|\\]\\]>|\\PC){0,16}") {
            let redaction = Redaction::default();
            let _ = redaction.document(text.as_bytes());
            let _ = redaction.argument(&text, None);
            let _ = redaction.tree(&Value::String(text));
        }
    }
}
