//! What a server says of its streams: whether one is there, and since when it can be heard again (RFC 5277, section 3.2.5).

use super::hello::{child, local};
use super::request::escaped;
use crate::event::document::{self, Element};

/// What is longer is no time; it would be written anew with each event.
const LONGEST_TIME: usize = 64;

const NAMESPACE: &str = "urn:ietf:params:xml:ns:netmod:notification";

/// A stream, as a server tells of it. Times are the server's, as it wrote them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// What the server has kept can be heard again.
    pub replays: bool,
    /// Since when it keeps them.
    pub created: Option<String>,
    /// The time of the newest one that it has dropped again for want of room.
    pub aged: Option<String>,
}

/// The subtree that tells of a stream.
pub(super) fn subtree(stream: &str) -> String {
    format!(
        "<netconf xmlns=\"{NAMESPACE}\"><streams><stream><name>{}</name></stream></streams></netconf>",
        escaped(stream)
    )
}

/// Finds a stream in an answer; none where it is not there. Servers that heed no filter tell of others besides.
///
/// # Errors
/// The answer cannot be read; why, as a sentence for the operator.
pub(super) fn read(answer: &[u8], stream: &str) -> Result<Option<Stream>, String> {
    let text = std::str::from_utf8(answer).map_err(|_| "it is no UTF-8".to_owned())?;
    let root = document::parse(text).map_err(|fault| fault.to_string())?;
    let streams = child(&root, "data")
        .and_then(|data| child(data, "netconf"))
        .and_then(|netconf| child(netconf, "streams"));
    let found = streams
        .into_iter()
        .flat_map(Element::elements)
        .filter(|element| local(&element.name) == "stream")
        .find(|element| text_of(element, "name").as_deref() == Some(stream));
    Ok(found.map(|element| Stream {
        replays: matches!(text_of(element, "replaySupport").as_deref(), Some("true" | "1")),
        created: time_of(element, "replayLogCreationTime"),
        aged: time_of(element, "replayLogAgedTime"),
    }))
}

fn time_of(element: &Element, name: &str) -> Option<String> {
    text_of(element, name).filter(|time| time.len() <= LONGEST_TIME)
}

fn text_of(element: &Element, name: &str) -> Option<String> {
    let text = child(element, name)?.text();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(streams: &str) -> String {
        format!(
            "<rpc-reply><data><n:netconf xmlns:n='{NAMESPACE}'><n:streams>{streams}</n:streams></n:netconf></data></rpc-reply>"
        )
    }

    #[test]
    fn a_stream_is_found_among_others_with_its_times() {
        let text = answer(
            "<stream><name>NETCONF</name><replaySupport>false</replaySupport></stream><n:stream><n:name> escEvent </n:name>\
             <n:description>x</n:description><n:replaySupport>true</n:replaySupport><n:replayLogCreationTime>2026-01-01T00:00:00Z\
             </n:replayLogCreationTime></n:stream>",
        );
        let read = |name: &str| read(text.as_bytes(), name);
        assert_eq!(
            read("escEvent"),
            Ok(Some(Stream {
                replays: true,
                created: Some("2026-01-01T00:00:00Z".to_owned()),
                aged: None,
            }))
        );
        assert_eq!(read("NETCONF"), Ok(Some(Stream::default())));
        assert_eq!(read("other"), Ok(None));
        assert_eq!(super::read(b"<rpc-reply><data/></rpc-reply>", "a"), Ok(None));
        assert!(super::read(b"<rpc-reply>", "a").is_err() && super::read(b"\xff", "a").is_err());
        assert!(subtree("a<b").contains("<name>a&lt;b</name>"));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "(</?(rpc-reply|data|netconf|streams|stream|name|replaySupport)>|true|x|&|\\PC){0,24}") {
            let _ = read(text.as_bytes(), "x");
        }

        #[test]
        fn what_a_server_says_is_what_is_read(name in "[a-zA-Z]{1,8}", replays: bool, created in "[0-9T:Z-]{1,20}") {
            let text = answer(&format!(
                "<stream><name>{name}</name><replaySupport>{replays}</replaySupport>\
                 <replayLogCreationTime>{created}</replayLogCreationTime></stream>"
            ));
            let expected = Stream { replays, created: Some(created), aged: None };
            prop_assert_eq!(read(text.as_bytes(), &name), Ok(Some(expected)));
        }
    }
}
