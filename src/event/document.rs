//! XML read strictly, within limits: no document type, no entities but the predefined ones, bounded depth and size.
//!
//! Two readers over the same tokens: [`measure`] only checks one element and says where it ends, [`parse`] builds it.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::XmlVersion;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// Elements may stand in each other this deep, the root counted.
pub(crate) const MAX_DEPTH: usize = 128;

/// A document may hold this many elements, so that a tree's memory is bounded by more than the document's own size.
const MAX_ELEMENTS: usize = 1_000_000;

/// An element may have this many attributes; OpenNebula's have none.
const MAX_ATTRIBUTES: usize = 256;

/// Why a text is not a document that is accepted here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("it has a DOCTYPE, which is refused")]
    DocumentType,
    #[error("its elements are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    #[error("it has more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    #[error("its element `{0}` has more than {MAX_ATTRIBUTES} attributes")]
    TooManyAttributes(String),
    #[error("`{0}` cannot be the name of an element")]
    Name(String),
    #[error("the entity `&{0};` is not known")]
    Entity(String),
    #[error("it has a control character (0x{0:02x}) that XML does not allow")]
    ControlCharacter(u32),
    #[error("it ends within an element")]
    Unclosed,
    #[error("it has no root element")]
    NoRoot,
    #[error("it goes on after its root element")]
    AfterRoot,
    #[error("it is not well-formed XML: {0}")]
    Syntax(String),
}

/// An element with all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Node>,
}

/// What stands in an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Element(Element),
    /// Text with its references resolved; never two in a row.
    Text(String),
    CData(String),
    Comment(String),
    Instruction(String),
}

impl Element {
    /// An element that holds only `text`.
    pub(crate) fn of_text(name: &str, text: &str) -> Self {
        let children = if text.is_empty() {
            Vec::new()
        } else {
            vec![Node::Text(text.to_owned())]
        };
        Self::of(name, children)
    }

    /// An element with these children and no attributes.
    pub(crate) fn of(name: &str, children: Vec<Node>) -> Self {
        Self {
            name: name.to_owned(),
            attributes: Vec::new(),
            children,
        }
    }

    /// The elements directly below this one.
    pub(crate) fn elements(&self) -> impl Iterator<Item = &Element> {
        self.children.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The text directly in this element, CDATA included.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for node in &self.children {
            if let Node::Text(part) | Node::CData(part) = node {
                text.push_str(part);
            }
        }
        text
    }
}

enum Token {
    Open {
        name: String,
        attributes: Vec<(String, String)>,
        empty: bool,
    },
    Close,
    Text(String),
    CData(String),
    Comment(String),
    Instruction(String),
    End,
}

struct Tokens<'a> {
    reader: Reader<&'a [u8]>,
    depth: usize,
    elements: usize,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader::from_str(text);
        reader.config_mut().check_comments = true;
        Self {
            reader,
            depth: 0,
            elements: 0,
        }
    }

    /// How far the reading got, in bytes.
    fn position(&self) -> usize {
        usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX)
    }

    fn next(&mut self) -> Result<Token, Fault> {
        let event = self
            .reader
            .read_event()
            .map_err(|error| Fault::Syntax(error.to_string()))?;
        Ok(match event {
            Event::Start(start) => {
                self.depth += 1;
                self.open(&start, false)?
            }
            Event::Empty(start) => {
                // An empty element is as deep as one with an end tag.
                if self.depth >= MAX_DEPTH {
                    return Err(Fault::TooDeep);
                }
                self.open(&start, true)?
            }
            Event::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                Token::Close
            }
            Event::Text(text) if text.contains("]]>") => {
                return Err(Fault::Syntax("`]]>` outside of a CDATA section".to_owned()));
            }
            Event::Text(text) => Token::Text(legal(text.xml10_content())?),
            Event::CData(data) => Token::CData(legal(data.xml10_content())?),
            Event::GeneralRef(reference) => Token::Text(resolve(&reference)?),
            Event::Comment(comment) => Token::Comment(legal(comment.xml10_content())?),
            Event::PI(instruction) => Token::Instruction(legal(Cow::Borrowed(&instruction))?),
            Event::Decl(_) if self.elements > 0 => {
                return Err(Fault::Syntax("an XML declaration within the document".to_owned()));
            }
            Event::Decl(declaration) => Token::Instruction(legal(Cow::Borrowed(&declaration))?),
            Event::DocType(_) => return Err(Fault::DocumentType),
            Event::Eof => Token::End,
        })
    }

    fn open(&mut self, start: &BytesStart<'_>, empty: bool) -> Result<Token, Fault> {
        if self.depth > MAX_DEPTH {
            return Err(Fault::TooDeep);
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(Fault::TooManyElements);
        }
        let name = start.name();
        let name: &str = name.as_ref();
        if !is_name(name) {
            return Err(Fault::Name(name.chars().take(32).collect()));
        }
        let mut attributes = Vec::new();
        for attribute in start.attributes() {
            if attributes.len() == MAX_ATTRIBUTES {
                return Err(Fault::TooManyAttributes(name.to_owned()));
            }
            let attribute = attribute.map_err(|error| Fault::Syntax(error.to_string()))?;
            let key: &str = attribute.key.as_ref();
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|error| Fault::Syntax(error.to_string()))?;
            // A raw `<` in a value is what an unclosed quote looks like.
            if !is_name(key) || attribute.value.contains('<') {
                return Err(Fault::Name(key.chars().take(32).collect()));
            }
            attributes.push((key.to_owned(), legal(value)?));
        }
        Ok(Token::Open {
            name: name.to_owned(),
            attributes,
            empty,
        })
    }
}

fn legal(text: Cow<'_, str>) -> Result<String, Fault> {
    match text
        .chars()
        .find(|&c| (c < ' ' && !matches!(c, '\t' | '\n' | '\r')) || matches!(c, '\u{fffe}' | '\u{ffff}'))
    {
        Some(bad) => Err(Fault::ControlCharacter(bad.into())),
        None => Ok(text.into_owned()),
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, Fault> {
    let name: &str = reference;
    let character = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => reference
            .resolve_char_ref()
            .map_err(|error| Fault::Syntax(error.to_string()))?,
    };
    match character {
        Some(character) => legal(Cow::Owned(character.to_string())),
        None => Err(Fault::Entity(name.chars().take(32).collect())),
    }
}

/// Whether `name` can be the name of an element or attribute.
pub(crate) fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars
        .next()
        .is_some_and(|c| c.is_alphabetic() || matches!(c, '_' | ':'))
        && chars.all(|c| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '\u{b7}'))
}

/// Checks the one element `text` begins with and gives its length in bytes; what follows it is not looked at.
pub(crate) fn measure(text: &str) -> Result<usize, Fault> {
    let mut tokens = Tokens::new(text);
    loop {
        match tokens.next()? {
            Token::Open { empty: true, .. } | Token::Close if tokens.depth == 0 => {
                return Ok(tokens.position());
            }
            Token::Open { .. } | Token::Close => {}
            Token::End if tokens.elements > 0 => return Err(Fault::Unclosed),
            Token::End => return Err(Fault::NoRoot),
            // Only the element itself may stand first.
            _ if tokens.depth == 0 => return Err(Fault::NoRoot),
            _ => {}
        }
    }
}

/// The texts of the first elements of these names directly below the element `text` begins with, read up to the first
/// element named in `stop` or the first fault.
pub(crate) fn leading_texts<const N: usize>(
    text: &str,
    names: [&str; N],
    stop: &[&str],
) -> [Option<String>; N] {
    let mut found = [const { None }; N];
    let mut tokens = Tokens::new(text);
    let mut wanted: Option<(usize, String)> = None;
    while let Ok(token) = tokens.next() {
        match token {
            Token::Open { name, empty, .. } => {
                let parent = tokens.depth - usize::from(!empty);
                if parent != 1 {
                    continue;
                }
                if stop.contains(&name.as_str()) {
                    break;
                }
                wanted = names
                    .iter()
                    .position(|known| *known == name)
                    .filter(|&n| found[n].is_none())
                    .map(|n| (n, String::new()));
                if empty && let Some((n, text)) = wanted.take() {
                    found[n] = Some(text);
                }
            }
            Token::Text(part) | Token::CData(part) => {
                if let Some((_, text)) = &mut wanted
                    && tokens.depth == 2
                {
                    text.push_str(&part);
                }
            }
            Token::Close => {
                if tokens.depth <= 1
                    && let Some((n, text)) = wanted.take()
                {
                    found[n] = Some(text);
                }
                if tokens.depth == 0 || found.iter().all(Option::is_some) {
                    break;
                }
            }
            Token::Comment(_) | Token::Instruction(_) => {}
            Token::End => break,
        }
    }
    found
}

/// The name of a document's root element; none where it does not begin like one. Nothing behind that is looked at.
pub(crate) fn root_name(document: &[u8]) -> Option<String> {
    /// Nothing stands so far before the root of a document that anybody writes.
    const LONGEST_PROLOG: usize = 64 << 10;
    let text = readable(&document[..document.len().min(LONGEST_PROLOG)]);
    let mut tokens = Tokens::new(text.strip_prefix('\u{feff}').unwrap_or(&text));
    loop {
        match tokens.next().ok()? {
            Token::Open { name, .. } => return Some(name),
            Token::Comment(_) | Token::Instruction(_) => {}
            Token::Text(text) if is_blank(&text) => {}
            _ => return None,
        }
    }
}

/// Reads the one element `text` begins with; what follows it is not looked at.
pub(crate) fn parse_element(text: &str) -> Result<Element, Fault> {
    build(&mut Tokens::new(text))
}

/// Reads a whole document: a prolog, one root element, and after it nothing but blanks and comments.
pub(crate) fn parse(text: &str) -> Result<Element, Fault> {
    let mut tokens = Tokens::new(text.strip_prefix('\u{feff}').unwrap_or(text));
    let root = build(&mut tokens)?;
    loop {
        match tokens.next()? {
            Token::End => return Ok(root),
            Token::Comment(_) | Token::Instruction(_) => {}
            Token::Text(text) if is_blank(&text) => {}
            _ => return Err(Fault::AfterRoot),
        }
    }
}

fn build(tokens: &mut Tokens<'_>) -> Result<Element, Fault> {
    let mut open: Vec<Element> = Vec::new();
    loop {
        let finished = match tokens.next()? {
            Token::Open {
                name,
                attributes,
                empty,
            } => {
                let element = Element {
                    name,
                    attributes,
                    children: Vec::new(),
                };
                if !empty {
                    open.push(element);
                    continue;
                }
                element
            }
            Token::Close => open.pop().ok_or(Fault::NoRoot)?,
            Token::Text(text) => {
                match open.last_mut() {
                    Some(parent) => push_text(parent, text),
                    None if is_blank(&text) => {}
                    None => return Err(Fault::NoRoot),
                }
                continue;
            }
            Token::CData(data) => {
                open.last_mut()
                    .ok_or(Fault::NoRoot)?
                    .children
                    .push(Node::CData(data));
                continue;
            }
            Token::Comment(comment) => {
                if let Some(parent) = open.last_mut() {
                    parent.children.push(Node::Comment(comment));
                }
                continue;
            }
            Token::Instruction(instruction) => {
                if let Some(parent) = open.last_mut() {
                    parent.children.push(Node::Instruction(instruction));
                }
                continue;
            }
            Token::End if open.is_empty() => return Err(Fault::NoRoot),
            Token::End => return Err(Fault::Unclosed),
        };
        match open.last_mut() {
            Some(parent) => parent.children.push(Node::Element(finished)),
            None => return Ok(finished),
        }
    }
}

fn push_text(parent: &mut Element, text: String) {
    match parent.children.last_mut() {
        Some(Node::Text(last)) => last.push_str(&text),
        _ if text.is_empty() => {}
        _ => parent.children.push(Node::Text(text)),
    }
}

fn is_blank(text: &str) -> bool {
    text.chars().all(|c| matches!(c, ' ' | '\t' | '\n' | '\r'))
}

/// The bytes as text of the same length, so that places in the one are places in the other: each byte that is not part of
/// UTF-8 reads as `?`.
pub(crate) fn readable(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| '?'));
            }
            Cow::Owned(text)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_element_is_measured_to_its_end() {
        assert_eq!(measure("<A><B/>x</A>tail"), Ok(12));
        assert_eq!(measure("<A/>tail"), Ok(4));
        assert_eq!(measure("<A><A></A></A></A>"), Ok(14));
        assert_eq!(measure("x<A/>"), Err(Fault::NoRoot));
        assert_eq!(measure("<A><B>"), Err(Fault::Unclosed));
        assert_eq!(measure(""), Err(Fault::NoRoot));
        for bad in [
            "<A>&nosuch;</A>",
            "<A>a & b</A>",
            "<A>1 < 2</A>",
            "<A><B></A>",
            "<A>\u{1}</A>",
            "<A>]]></A>",
            "<A><?xml version='1.0'?></A>",
            "<A><!-- -- --></A>",
            "<A b=<C/>/>",
        ] {
            assert!(measure(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_documents_meet_a_limit() {
        assert_eq!(parse("<!DOCTYPE a><a/>"), Err(Fault::DocumentType));
        assert!(parse(&("<a>".repeat(MAX_DEPTH) + &"</a>".repeat(MAX_DEPTH))).is_ok());
        assert_eq!(
            parse(&("<a>".repeat(MAX_DEPTH + 1) + &"</a>".repeat(MAX_DEPTH + 1))),
            Err(Fault::TooDeep)
        );
        let attributes: String = (0..1000).map(|n| format!(" a{n}='1'")).collect();
        assert_eq!(
            parse(&format!("<a{attributes}/>")),
            Err(Fault::TooManyAttributes("a".to_owned()))
        );
        assert_eq!(parse("<a/><b/>"), Err(Fault::AfterRoot));
        assert_eq!(parse("text"), Err(Fault::NoRoot));
    }

    #[test]
    fn references_and_sections_become_text() {
        let root = parse("\u{feff}<?xml version='1.0'?>\n<a>x&lt;&#65;<![CDATA[&y]]><!-- no --></a>\n")
            .expect("a document");
        assert_eq!(root.text(), "x<A&y");
        assert_eq!(root.children.len(), 3);
    }

    #[test]
    fn readable_text_keeps_every_place() {
        let bytes = b"ab\xff\xfe\xc3\xa9\xe2\x98z";
        let text = readable(bytes);
        assert_eq!(text.len(), bytes.len());
        assert_eq!(text, "ab??é??z");
    }

    proptest! {
        #[test]
        fn no_text_makes_a_reader_panic(text in "(<[A-C]>|</[A-C]>|<[A-C]/>|&amp;|&|<|>|<!\\[CDATA\\[|\\]\\]>|<!--|-->|<\\?|\\PC){0,24}") {
            let _ = parse(&text);
            let _ = measure(&text);
        }

        #[test]
        fn readable_keeps_the_length(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(readable(&bytes).len(), bytes.len());
        }
    }
}
