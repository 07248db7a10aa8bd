//! What an API event says of its call, read from a document whose parameters are not escaped.
//!
//! A parameter's value is whatever a user sent, tags included, so the text can be cut in more than one way. What is sure:
//! the call and its result stand before the first value; EXTRA is written by the controller and ends the document. So EXTRA
//! is the element behind the one `</PARAMETERS>`, well-formed, that ends exactly where the document's frame closes; the
//! parameters before it are cut where the positions run IN 1, 2, 3 … and then OUT 1, 2, 3 …. Where more than one cut is
//! possible, the call is `ambiguous` and has no EXTRA.
//!
//! One forgery cannot be told from the truth: the last parameter that goes in can add more of them behind itself. What a
//! call is about never hangs on those.

use std::ops::Range;

use super::envelope::Envelope;
use super::subject;
use crate::event::document::{self, Element, Node};

/// What `CALL_INFO` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CallInfo {
    /// `RESULT` as it stands: `1` for success, `0` for failure.
    pub result: String,
    /// What went in and what came out, in document order.
    pub parameters: Vec<Parameter>,
    /// What stands inside `EXTRA`: the object of an allocate or delete. Empty where there is none, or it cannot be told.
    pub extra: String,
    /// The document can be read in more than one way.
    pub ambiguous: bool,
}

/// One parameter of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its number, from 1, in each direction for itself. IN 1 is the session, which the controller masks.
    pub position: u32,
    /// Whether it went in or came out.
    pub direction: Direction,
    /// Its value, as it stands in the document.
    pub value: String,
}

/// Which way a parameter went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// Sent with the call.
    In,
    /// Sent back: 1 success, 2 value or error text, 3 error code, 4 of a failure the resource's number.
    Out,
}

impl Direction {
    /// `IN` or `OUT`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::In => "IN",
            Self::Out => "OUT",
        }
    }
}

impl CallInfo {
    /// The parameter of that direction and position.
    pub fn value(&self, direction: Direction, position: u32) -> Option<&str> {
        self.parameters
            .iter()
            .find(|parameter| parameter.direction == direction && parameter.position == position)
            .map(|parameter| parameter.value.as_str())
    }

    /// Whether the call succeeded; unset when RESULT is neither 0 nor 1.
    pub fn success(&self) -> Option<bool> {
        match self.result.trim() {
            "1" => Some(true),
            "0" => Some(false),
            _ => None,
        }
    }

    /// Reads the call's part of an API message. Everything is some call; what cannot be cut for sure is ambiguous.
    pub(super) fn read(text: &str, envelope: &Envelope<'_>) -> Self {
        let Some((at, "CALL_INFO")) = envelope.body else {
            return Self {
                ambiguous: true,
                ..Self::default()
            };
        };
        let mut info = Self::cut(&text[at..]);
        if let Some(call) = envelope.get("CALL") {
            info.doubt_extra(call);
        }
        info
    }

    fn cut(body: &str) -> Self {
        let mut info = Self::default();
        let Some(rest) = after(body, "<CALL_INFO>") else {
            info.ambiguous = true;
            return info;
        };
        let rest = match after(rest, "<RESULT>").and_then(|result| result.split_once("</RESULT>")) {
            Some((result, rest)) if !result.contains('<') => {
                result.clone_into(&mut info.result);
                rest
            }
            _ => {
                info.ambiguous = true;
                return info;
            }
        };
        let Some(inner) = frame(rest) else {
            // The document ends early: there is no telling what is EXTRA and what is a value.
            info.ambiguous = true;
            if let Some(parameters) = after(rest, "<PARAMETERS>") {
                info.cut_parameters(parameters);
            }
            return info;
        };
        let Some(parameters) = after(inner, "<PARAMETERS>") else {
            let rest = after(inner, "<PARAMETERS/>").unwrap_or(inner);
            match extra(rest) {
                Some(extra) => extra.clone_into(&mut info.extra),
                None => info.ambiguous = true,
            }
            return info;
        };
        match only_end(parameters) {
            Some((end, extra)) => {
                extra.clone_into(&mut info.extra);
                info.cut_parameters(&parameters[..end]);
            }
            None => {
                let end = parameters.rfind("</PARAMETERS>").unwrap_or(parameters.len());
                info.cut_parameters(&parameters[..end]);
                info.ambiguous = true;
            }
        }
        if let (Some(success), Some(said)) = (info.success(), info.value(Direction::Out, 1))
            && said != if success { "true" } else { "false" }
        {
            info.ambiguous = true;
        }
        if info.ambiguous {
            info.extra.clear();
        }
        info
    }

    /// EXTRA of an allocate or delete holds the object the call was about. Another object there is a forgery.
    fn doubt_extra(&mut self, call: &str) {
        let Some(success) = self.success() else { return };
        if self.extra.is_empty() || !(call.ends_with(".allocate") || call.ends_with(".delete")) {
            return;
        }
        let Some(expected) = subject::of_call(call, success, self) else {
            return;
        };
        let [found] = document::leading_texts(&self.extra, ["ID"], &["TEMPLATE", "USER_TEMPLATE"]);
        if expected.rsplit_once('/').map(|(_, id)| id) != found.as_deref() {
            self.extra.clear();
            self.ambiguous = true;
        }
    }

    fn cut_parameters(&mut self, text: &str) {
        let starts = parameter_starts(text);
        if starts.is_empty() {
            self.ambiguous |= !text.trim().is_empty();
            return;
        }
        let kept = sure_starts(&starts);
        self.ambiguous |= kept.len() != starts.len() || starts[0].before != 0;
        for (n, start) in kept.iter().enumerate() {
            let end = match kept.get(n + 1) {
                Some(next) => next.before,
                None => match value_end(text) {
                    Some(end) => end,
                    None => {
                        self.ambiguous = true;
                        text.len()
                    }
                },
            };
            self.parameters.push(Parameter {
                position: start.position,
                direction: start.direction,
                value: text.get(start.value..end).unwrap_or("").to_owned(),
            });
        }
    }

    /// The call as an element, built from what was read: well-formed whatever the values hold.
    pub(super) fn to_element(&self) -> Element {
        let parameters = self
            .parameters
            .iter()
            .map(|parameter| {
                let children = vec![
                    Node::Element(Element::of_text("POSITION", &parameter.position.to_string())),
                    Node::Element(Element::of_text("TYPE", parameter.direction.as_str())),
                    Node::Element(Element::of_text("VALUE", &without_controls(&parameter.value))),
                ];
                Node::Element(Element::of("PARAMETER", children))
            })
            .collect();
        let extra = document::parse_element(&format!("<EXTRA>{}</EXTRA>", self.extra))
            .unwrap_or_else(|_| Element::of("EXTRA", Vec::new()));
        Element::of(
            "CALL_INFO",
            vec![
                Node::Element(Element::of_text("RESULT", &without_controls(&self.result))),
                Node::Element(Element::of("PARAMETERS", parameters)),
                Node::Element(extra),
            ],
        )
    }
}

/// XML has no way to write most control characters.
fn without_controls(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\t' | '\n' | '\r' => c,
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
            c => c,
        })
        .collect()
}

/// What follows `wanted`, blanks before it skipped; none if something else stands there.
fn after<'a>(text: &'a str, wanted: &str) -> Option<&'a str> {
    blanks_off(text).strip_prefix(wanted)
}

fn blanks_off(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\n', '\r'])
}

fn trailing_blanks_off(text: &str) -> &str {
    text.trim_end_matches([' ', '\t', '\n', '\r'])
}

/// The text up to the closing `</CALL_INFO></HOOK_MESSAGE>`, which must be the document's end.
fn frame(text: &str) -> Option<&str> {
    let text = trailing_blanks_off(text).strip_suffix("</HOOK_MESSAGE>")?;
    let text = trailing_blanks_off(text).strip_suffix("</CALL_INFO>")?;
    Some(trailing_blanks_off(text))
}

/// The content of the EXTRA element that `text` consists of; empty for no element at all; none for anything else.
fn extra(text: &str) -> Option<&str> {
    let text = blanks_off(text);
    if text.is_empty() || text == "<EXTRA/>" {
        return Some("");
    }
    let inner = text.strip_prefix("<EXTRA>")?.strip_suffix("</EXTRA>")?;
    (document::measure(text) == Ok(text.len())).then_some(inner)
}

/// The place where the parameters end, with the EXTRA that follows; none if that EXTRA is not whole, or another place looks
/// like the end as well.
///
/// A second place is enough to doubt, even where only one of them leads to a whole EXTRA: a value in which a CDATA section
/// begins or ends can spoil the true one as easily as it can make up a false one.
fn only_end(text: &str) -> Option<(usize, &str)> {
    const END: &str = "</PARAMETERS>";
    let mut ends = text.match_indices(END).filter_map(|(at, _)| {
        let rest = blanks_off(&text[at + END.len()..]);
        (rest.is_empty() || rest.starts_with("<EXTRA")).then_some((at, rest))
    });
    let (at, rest) = ends.next()?;
    match ends.next() {
        Some(_) => None,
        None => Some((at, extra(rest)?)),
    }
}

#[derive(Debug, Clone, Copy)]
struct Start {
    /// Where the value before this parameter ends.
    before: usize,
    position: u32,
    direction: Direction,
    /// Where its own value begins.
    value: usize,
}

/// Each place where a parameter can begin.
fn parameter_starts(text: &str) -> Vec<Start> {
    text.match_indices("<PARAMETER>")
        .filter_map(|(at, found)| {
            let before = match trailing_blanks_off(&text[..at]) {
                "" => 0,
                earlier => value_end(earlier)?,
            };
            let rest = after(&text[at + found.len()..], "<POSITION>")?;
            let rest = blanks_off(rest);
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let position = rest[..digits].parse().ok()?;
            let rest = after(&rest[digits..], "</POSITION>")?;
            let rest = after(rest, "<TYPE>")?;
            let (direction, rest) = match rest.strip_prefix("IN</TYPE>") {
                Some(rest) => (Direction::In, rest),
                None => (Direction::Out, rest.strip_prefix("OUT</TYPE>")?),
            };
            let rest = blanks_off(rest);
            let value = rest.strip_prefix("<VALUE>").or_else(|| {
                // An empty value ends where it begins.
                rest.strip_prefix("<VALUE/>").map(|_| rest)
            })?;
            Some(Start {
                before,
                position,
                direction,
                value: text.len() - value.len(),
            })
        })
        .collect()
}

/// Where the value ends that `text`, which ends with a whole parameter, closes.
fn value_end(text: &str) -> Option<usize> {
    let text = trailing_blanks_off(text).strip_suffix("</PARAMETER>")?;
    let text = trailing_blanks_off(text);
    text.strip_suffix("</VALUE>")
        .or_else(|| text.strip_suffix("<VALUE/>"))
        .map(str::len)
}

/// Each parameter's value in any text that holds a call's parameters, as a place in it; where the cut is not sure, a value
/// reaches to the end of the parameters.
pub(in crate::event) fn parameter_ranges(text: &str) -> Vec<(Direction, u32, Range<usize>)> {
    const BEGIN: &str = "<PARAMETERS>";
    let first = text.find(BEGIN).map_or(0, |at| at + BEGIN.len());
    let last = text
        .rfind("</PARAMETERS>")
        .filter(|&end| end > first)
        .unwrap_or(text.len());
    let region = &text[first..last];
    let starts = parameter_starts(region);
    let sure = sure_starts(&starts).len() == starts.len();
    starts
        .iter()
        .enumerate()
        .map(|(n, start)| {
            let end = match starts.get(n + 1) {
                Some(next) if sure => next.before,
                None if sure => value_end(region).unwrap_or(region.len()),
                _ => region.len(),
            };
            (
                start.direction,
                start.position,
                first + start.value..first + end.max(start.value),
            )
        })
        .collect()
}

/// The starts that can be believed: the longest run IN 1, 2, 3 … at the front, and the run OUT 1, 2, 3 … that ends the list.
/// What lies between is somebody's value.
fn sure_starts(starts: &[Start]) -> Vec<Start> {
    let front = starts
        .iter()
        .zip(1..)
        .take_while(|(start, n)| start.direction == Direction::In && start.position == *n)
        .count();
    let back = starts
        .iter()
        .rposition(|start| start.direction == Direction::Out && start.position == 1)
        .unwrap_or(starts.len())
        .max(front);
    let out = starts[back..]
        .iter()
        .zip(1..)
        .take_while(|(start, n)| start.direction == Direction::Out && start.position == *n)
        .count();
    let mut sure = starts[..front].to_vec();
    sure.extend_from_slice(&starts[back..back + out]);
    sure
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;
    use crate::event::Facts;
    use crate::event::opennebula::{Layout, call_info, parsed_call, read};
    use crate::event::payload::Payload;

    const REAL_EXTRA: &str = "<VM><ID>12</ID><TEMPLATE><CPU><![CDATA[1]]></CPU></TEMPLATE></VM>";

    /// What the controller sends for a `one.vm.allocate` whose template is `template`.
    fn allocate(template: &str, extra: &str) -> String {
        let parameter = |position: u32, direction: &str, value: &str| {
            format!(
                "<PARAMETER><POSITION>{position}</POSITION><TYPE>{direction}</TYPE><VALUE>{value}</VALUE></PARAMETER>"
            )
        };
        format!(
            "<HOOK_MESSAGE><HOOK_TYPE>API</HOOK_TYPE><CALL>one.vm.allocate</CALL><CALL_INFO><RESULT>1</RESULT>\
             <PARAMETERS>{}{}{}{}{}{}</PARAMETERS><EXTRA>{extra}</EXTRA></CALL_INFO></HOOK_MESSAGE>",
            parameter(1, "IN", "****"),
            parameter(2, "IN", template),
            parameter(3, "IN", "0"),
            parameter(1, "OUT", "true"),
            parameter(2, "OUT", "12"),
            parameter(3, "OUT", "0"),
        )
    }

    fn parsed(document: &str) -> CallInfo {
        parsed_call(&Payload::new(document.to_owned().into())).expect("a call")
    }

    #[test]
    fn unescaped_values_are_cut_where_they_end() {
        for template in [
            "NAME=x",
            "",
            "a < b & c",
            "<b>",
            "</VALUE>",
            "</CALL_INFO>",
            "</CALL_INFO></HOOK_MESSAGE>",
            "<EXTRA>",
            "<!DOCTYPE x>",
            "<?xml version='1.0'?>",
            "<![CDATA[",
            "</VALUE></PARAMETER>",
            "</PARAMETERS>",
            "</PARAMETERS></CALL_INFO>",
        ] {
            let document = allocate(template, REAL_EXTRA);
            let info = parsed(&document);
            assert!(!info.ambiguous, "{template}");
            assert_eq!(info.value(Direction::In, 2), Some(template));
            assert_eq!(info.value(Direction::Out, 2), Some("12"));
            assert_eq!(info.parameters.len(), 6);
            assert_eq!(info.extra, REAL_EXTRA);
            assert_eq!(read("", document.as_bytes()).subject.as_deref(), Some("vm/12"));
        }
    }

    #[test]
    fn a_forged_frame_is_flagged_and_never_believed() {
        for template in [
            // The parameters that follow, over again.
            "</VALUE></PARAMETER><PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>1",
            // The outcome.
            "</VALUE></PARAMETER><PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>true</VALUE></PARAMETER>\
             <PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>666",
            // The rest of the document, its true rest swallowed up to the first end of a CDATA section.
            "</VALUE></PARAMETER><PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>true</VALUE></PARAMETER>\
             <PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>666</VALUE></PARAMETER></PARAMETERS>\
             <EXTRA><VM><ID>666</ID><TEMPLATE><CPU><![CDATA[",
            "</VALUE></PARAMETER></PARAMETERS><EXTRA><VM><ID>666</ID><TEMPLATE><CPU><![CDATA[",
            "</PARAMETERS><EXTRA><VM><ID>666</ID></VM></EXTRA></CALL_INFO>",
            "</PARAMETERS>\n<EXTRA>",
        ] {
            let document = allocate(template, REAL_EXTRA);
            let info = parsed(&document);
            assert!(info.ambiguous, "{template}");
            assert_eq!(info.extra, "", "{template}");
            assert_eq!(info.success(), Some(true));
            let reading = read("", document.as_bytes());
            assert!(reading.ambiguous);
            assert!(
                matches!(&reading.facts, Facts::Api(api) if api.call == "one.vm.allocate" && api.success)
            );
            assert_eq!(reading.subject.as_deref(), Some("vm/12"), "{template}");
            let payload = Payload::new(document.into());
            assert_eq!(payload.text("CALL_INFO/EXTRA"), "");
            for layout in [Layout::AsReceived, Layout::Libxml2] {
                let element = call_info(&payload, layout).expect("a call");
                let element = std::str::from_utf8(&element).expect("UTF-8");
                let element = document::parse(element).expect("well-formed");
                let extra = element.elements().last().expect("EXTRA");
                assert_eq!((extra.name.as_str(), extra.children.len()), ("EXTRA", 0));
            }
        }
    }

    /// The owner of a VM spoils the true EXTRA with the end of a CDATA section, and swallows it in one of his own.
    #[test]
    fn a_forged_extra_is_not_believed_because_the_true_one_is_broken() {
        let template = "</VALUE></PARAMETER><PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>true</VALUE></PARAMETER>\
                        <PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>666</VALUE></PARAMETER></PARAMETERS>\
                        <EXTRA><VM><ID>666</ID><TEMPLATE><CPU><![CDATA[";
        let broken = "<VM><ID>12</ID><TEMPLATE><A>&no</A><CPU><![CDATA[]]></CPU></TEMPLATE></VM>";
        let info = parsed(&allocate(template, broken));
        assert!(info.ambiguous);
        assert_eq!(
            (info.extra.as_str(), info.value(Direction::Out, 2)),
            ("", Some("12"))
        );
    }

    #[test]
    fn an_object_that_the_call_did_not_make_is_not_believed() {
        let info = parsed(&allocate("NAME=x", "<VM><ID>666</ID></VM>"));
        assert!(info.ambiguous && info.extra.is_empty());
    }

    #[test]
    fn laid_out_documents_read_alike() {
        let document = "<HOOK_MESSAGE>\n  <HOOK_TYPE>API</HOOK_TYPE>\n  <CALL>one.vm.action</CALL>\n  <CALL_INFO>\n    \
             <RESULT>1</RESULT>\n    <PARAMETERS>\n      <PARAMETER>\n        <POSITION>1</POSITION>\n        \
             <TYPE>IN</TYPE>\n        <VALUE/>\n      </PARAMETER>\n      <PARAMETER>\n        <POSITION>2</POSITION>\n\
             <TYPE>IN</TYPE>\n<VALUE>hold</VALUE>\n</PARAMETER>\n      <PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE>\
             <VALUE>12</VALUE></PARAMETER>\n    </PARAMETERS>\n    <EXTRA/>\n  </CALL_INFO>\n</HOOK_MESSAGE>\n";
        let info = parsed(document);
        assert!(!info.ambiguous);
        assert_eq!(info.value(Direction::In, 1), Some(""));
        assert_eq!(info.value(Direction::In, 2), Some("hold"));
        assert_eq!(read("", document.as_bytes()).subject.as_deref(), Some("vm/12"));
    }

    #[test]
    fn a_document_without_extra_is_whole() {
        let document = allocate("NAME=x", "").replace("<EXTRA></EXTRA>", "");
        assert!(!parsed(&document).ambiguous);
    }

    #[test]
    fn a_document_cut_short_still_names_its_call() {
        let document = allocate("NAME=x", REAL_EXTRA);
        let reading = read("", &document.as_bytes()[..document.len() - 40]);
        assert!(reading.ambiguous);
        assert!(matches!(reading.facts, Facts::Api(api) if api.call == "one.vm.allocate"));
    }

    #[test]
    fn a_hostile_document_takes_no_longer_than_its_length() {
        for filler in [
            "<EXTRA>",
            "</PARAMETERS><EXTRA>",
            "</PARAMETERS><EXTRA><A>",
            "<PARAMETER>",
            "</VALUE></PARAMETER><PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>",
            "</SERVICE_ID><REMOTE_HOST>",
            "<POSITION>",
            "<![CDATA[",
            "</PARAMETERS>                                        ",
        ] {
            let document = allocate(&filler.repeat(4_000_000 / filler.len()), REAL_EXTRA);
            let started = Instant::now();
            let reading = read("", document.as_bytes());
            assert!(matches!(reading.facts, Facts::Api(_)));
            // Quadratic work on this would take hours; linear work takes well under a second even unoptimised.
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "{filler}: {:?}",
                started.elapsed()
            );
        }
    }

    proptest! {
        /// Whatever the value: it comes back whole, or the call is flagged; the true outcome is read in either case.
        #[test]
        fn no_value_passes_for_the_frame(parts in proptest::collection::vec(prop_oneof![
            Just("</VALUE></PARAMETER>".to_owned()), Just("</PARAMETERS>".to_owned()), Just("<EXTRA>".to_owned()),
            Just("<PARAMETER><POSITION>3</POSITION><TYPE>IN</TYPE><VALUE>".to_owned()),
            Just("<PARAMETER><POSITION>1</POSITION><TYPE>OUT</TYPE><VALUE>".to_owned()),
            Just("<PARAMETER><POSITION>2</POSITION><TYPE>OUT</TYPE><VALUE>666".to_owned()),
            Just("</EXTRA></CALL_INFO>".to_owned()), Just("</HOOK_MESSAGE>".to_owned()),
            Just("<VM><ID>666</ID><TEMPLATE><CPU><![CDATA[".to_owned()), Just("]]>".to_owned()), "[a-z&<>]{0,5}",
        ], 0..10)) {
            let template = parts.concat();
            let document = allocate(&template, REAL_EXTRA);
            let info = parsed(&document);
            prop_assert_eq!(info.success(), Some(true));
            prop_assert!(info.extra.is_empty() || info.extra == REAL_EXTRA);
            if !info.ambiguous {
                prop_assert_eq!(info.value(Direction::In, 2), Some(template.as_str()));
                prop_assert_eq!(info.extra.as_str(), REAL_EXTRA);
            }
            prop_assert_eq!(info.value(Direction::Out, 2), Some("12"));
            let payload = Payload::new(document.into());
            for layout in [Layout::AsReceived, Layout::Libxml2] {
                let element = call_info(&payload, layout).expect("a call");
                prop_assert!(document::parse(std::str::from_utf8(&element).expect("UTF-8")).is_ok());
            }
            prop_assert!(payload.at("CALL_INFO/RESULT").is_some());
        }
    }
}
