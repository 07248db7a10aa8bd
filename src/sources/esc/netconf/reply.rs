//! What a server answers, and its errors in words (RFC 6241, section 4).

use std::fmt;

use super::hello::local;
use crate::event::document::{self, Element};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Ok,
    /// It was refused.
    Errors(Vec<RpcError>),
    /// Data, or nothing that is known.
    Other,
}

/// Why something was refused.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RpcError {
    /// What is wrong, in the protocol's word: `invalid-value`.
    pub tag: String,
    /// Where it was found: `transport`, `rpc`, `protocol` or `application`.
    pub layer: String,
    /// What it is about, as a path.
    pub path: Option<String>,
    /// What the server says.
    pub message: Option<String>,
    /// Which element, attribute or session it means, `bad-element: startTime`.
    pub about: Vec<String>,
}

impl RpcError {
    /// Whether the server refuses to send again what it has kept, rather than the whole subscription or for a while.
    pub(super) fn is_about_start(&self) -> bool {
        let is_lasting = matches!(
            self.tag.as_str(),
            "bad-element" | "unknown-element" | "invalid-value" | "operation-not-supported"
        );
        let texts = [&self.path, &self.message]
            .into_iter()
            .flatten()
            .chain(&self.about);
        is_lasting
            && texts.into_iter().any(|text| {
                let text = text.to_ascii_lowercase().replace([' ', '-', '_'], "");
                text.contains("starttime") || text.contains("replay")
            })
    }
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meaning = meaning(&self.tag);
        match &self.message {
            Some(message) => write!(f, "{message} ({meaning})")?,
            None => f.write_str(meaning)?,
        }
        if !self.about.is_empty() {
            write!(f, "; {}", self.about.join(", "))?;
        }
        match &self.path {
            Some(path) => write!(f, "; at {path}"),
            None => Ok(()),
        }
    }
}

/// Several of them, one behind the other.
pub(super) fn in_words(errors: &[RpcError]) -> String {
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// What the protocol's words mean.
fn meaning(tag: &str) -> &str {
    match tag {
        "in-use" => "it is in use by somebody else",
        "invalid-value" => "a value is not allowed",
        "too-big" => "request or answer would be too big",
        "missing-attribute" => "an attribute is missing",
        "bad-attribute" => "an attribute's value is wrong",
        "unknown-attribute" => "an attribute is not known",
        "missing-element" => "an element is missing",
        "bad-element" => "an element's value is wrong",
        "unknown-element" => "an element is not known",
        "unknown-namespace" => "a namespace is not known",
        "access-denied" => "the user may not do that",
        "lock-denied" => "somebody else holds the lock",
        "resource-denied" => "the server has no room for it",
        "rollback-failed" => "it could not be undone",
        "data-exists" => "it is there already",
        "data-missing" => "it is not there",
        "operation-not-supported" => "the server cannot do that",
        "operation-failed" => "it failed",
        "malformed-message" => "the server could not read the request",
        "" => "the server does not say why",
        other => other,
    }
}

/// The `message-id` and the answer.
///
/// # Errors
/// It cannot be read; why, as a sentence for the operator.
pub fn read_reply(document: &[u8]) -> Result<(Option<String>, Reply), String> {
    let text = std::str::from_utf8(document).map_err(|_| "an answer is no UTF-8".to_owned())?;
    let root =
        document::parse(text).map_err(|fault| format!("an answer is no XML that is taken: {fault}"))?;
    let id = root.attributes.iter().find(|(name, _)| name == "message-id");
    let id = id.map(|(_, id)| id.clone());
    let errors: Vec<RpcError> = root
        .elements()
        .filter(|child| local(&child.name) == "rpc-error")
        // A warning goes with what was done.
        .filter(|error| text_of(error, "error-severity").as_deref() != Some("warning"))
        .map(error)
        .collect();
    let is_ok = root.elements().any(|child| local(&child.name) == "ok");
    Ok((
        id,
        match (errors.is_empty(), is_ok) {
            (false, _) => Reply::Errors(errors),
            (true, true) => Reply::Ok,
            (true, false) => Reply::Other,
        },
    ))
}

fn error(element: &Element) -> RpcError {
    let info = element
        .elements()
        .find(|child| local(&child.name) == "error-info");
    RpcError {
        tag: text_of(element, "error-tag").unwrap_or_default(),
        layer: text_of(element, "error-type").unwrap_or_default(),
        path: text_of(element, "error-path"),
        message: text_of(element, "error-message"),
        about: info
            .into_iter()
            .flat_map(Element::elements)
            .map(|about| format!("{}: {}", local(&about.name), in_one_line(&about.text())))
            .collect(),
    }
}

fn text_of(element: &Element, name: &str) -> Option<String> {
    let child = element.elements().find(|child| local(&child.name) == name)?;
    Some(in_one_line(&child.text())).filter(|text| !text.is_empty())
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REFUSED: &str = "<nc:rpc-reply xmlns:nc='urn:x' message-id='1'><nc:rpc-error><nc:error-type>application</nc:error-type>\
        <nc:error-tag>bad-element</nc:error-tag><nc:error-severity>error</nc:error-severity><nc:error-path>/create-subscription\
        </nc:error-path><nc:error-message xml:lang='en'>no\n such time</nc:error-message><nc:error-info><nc:bad-element>startTime\
        </nc:bad-element></nc:error-info></nc:rpc-error><nc:rpc-error><nc:error-tag>access-denied</nc:error-tag></nc:rpc-error>\
        </nc:rpc-reply>";

    #[test]
    fn errors_are_said_in_words() {
        let (id, reply) = read_reply(REFUSED.as_bytes()).expect("a reply");
        assert_eq!(id.as_deref(), Some("1"));
        let Reply::Errors(errors) = reply else {
            panic!("{reply:?}")
        };
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            words,
            [
                "no such time (an element's value is wrong); bad-element: startTime; at /create-subscription",
                "the user may not do that",
            ]
        );
        assert_eq!(RpcError::default().to_string(), "the server does not say why");
    }

    #[test]
    fn only_a_lasting_error_that_names_the_start_is_about_it() {
        let error = |tag: &str, message: &str| RpcError {
            tag: tag.to_owned(),
            message: Some(message.to_owned()),
            ..RpcError::default()
        };
        for message in ["startTime is too late", "no start time, please", "no replay here"] {
            assert!(error("invalid-value", message).is_about_start(), "{message}");
            assert!(!error("resource-denied", message).is_about_start(), "{message}");
            assert!(!error("in-use", message).is_about_start(), "{message}");
        }
        assert!(!error("invalid-value", "no such stream").is_about_start());
        let Ok((_, Reply::Errors(errors))) = read_reply(REFUSED.as_bytes()) else {
            panic!("errors")
        };
        assert!(errors[0].is_about_start() && !errors[1].is_about_start());
    }

    #[test]
    fn what_was_done_may_have_a_warning() {
        for (inner, reply) in [
            ("<ok/>", Reply::Ok),
            (
                "<rpc-error><error-severity>warning</error-severity></rpc-error><ok/>",
                Reply::Ok,
            ),
            ("<data/>", Reply::Other),
            ("", Reply::Other),
        ] {
            let document = format!("<rpc-reply>{inner}</rpc-reply>");
            assert_eq!(read_reply(document.as_bytes()), Ok((None, reply)), "{inner}");
        }
        assert!(read_reply(b"<rpc-reply>").is_err() && read_reply(b"\xff").is_err());
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(text in "(</?(rpc-reply|rpc-error|error-tag|error-info|ok|a)>|<ok/>| |x|&|\\PC){0,20}") {
            let _ = read_reply(text.as_bytes());
        }
    }
}
