use proptest::prelude::*;

use super::*;
use crate::sources::esc::netconf::hello::{BASE_1_0, BASE_1_1, NOTIFICATIONS};
use crate::sources::esc::netconf::request::BASE_NAMESPACE;

fn subscription(start: Option<&str>) -> Subscription {
    Subscription {
        stream: "escEvent".to_owned(),
        start: start.map(str::to_owned),
    }
}

fn hello(capabilities: &[&str]) -> Vec<u8> {
    let capabilities: String = capabilities
        .iter()
        .map(|capability| format!("<nc:capability>\n{capability}\n</nc:capability>"))
        .collect();
    framed(
        Framing::EndMark,
        &format!(
            "<?xml version=\"1.0\"?>\n<nc:hello xmlns:nc=\"{BASE_NAMESPACE}\"><nc:capabilities>{capabilities}</nc:capabilities>\
             <nc:session-id>7</nc:session-id></nc:hello>"
        ),
    )
}

const NEW: &[&str] = &[BASE_1_0, BASE_1_1, NOTIFICATIONS];
const OLD: &[&str] = &[BASE_1_0, NOTIFICATIONS];
const OK: &str =
    "<rpc-reply message-id=\"1\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><ok/></rpc-reply>";
const GONE: &str =
    "<rpc-reply message-id=\"2\" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><ok/></rpc-reply>";

fn notification(inner: &str) -> String {
    format!(
        "<notification xmlns=\"{NOTIFICATION_NAMESPACE}\"><eventTime>2026-06-23T18:15:04.27+00:00</eventTime>{inner}</notification>"
    )
}

fn event(number: usize) -> String {
    notification(&format!(
        "<escEvent xmlns=\"http://www.cisco.com/esc/esc\"><status>SUCCESS</status><depname>dep{number}</depname><event><type>VM_ALIVE\
         </type></event></escEvent>"
    ))
}

/// Everything that is heard of these pieces, and why it ended, if it did.
fn heard(session: &mut Session, pieces: &[&[u8]]) -> (Vec<Heard>, Option<SessionFault>) {
    let mut all = Vec::new();
    for piece in pieces {
        session.push(piece);
        loop {
            match session.hear() {
                Ok(Some(heard)) => all.push(heard),
                Ok(None) => break,
                Err(fault) => return (all, Some(fault)),
            }
        }
    }
    (all, None)
}

fn sent(session: &mut Session) -> String {
    String::from_utf8(session.output()).expect("text")
}

/// What a whole session brings, in words.
fn in_short(heard: &[Heard]) -> Vec<String> {
    heard
        .iter()
        .map(|heard| match heard {
            Heard::Event { event, .. } => event.deployment.clone().unwrap_or_default(),
            Heard::Unreadable { reason, .. } => format!("unreadable: {reason}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_session_goes_from_hello_to_goodbye_in_both_framings() {
    for (capabilities, framing) in [(NEW, Framing::Chunks), (OLD, Framing::EndMark)] {
        let mut session = Session::new(subscription(Some("2026-06-23T18:15:04.27+00:00")), 10_000);
        let said = sent(&mut session);
        assert!(
            said.contains(BASE_1_0) && said.contains(BASE_1_1) && said.ends_with("]]>]]>"),
            "{said}"
        );
        assert!(!said.contains("session-id"), "{said}");

        let (greeted, fault) = heard(&mut session, &[&hello(capabilities)]);
        assert_eq!(
            (greeted, fault),
            (
                vec![Heard::Hello {
                    session: "7".to_owned(),
                    framing
                }],
                None
            )
        );
        let asked = sent(&mut session);
        let rpc = format!(
            "<rpc message-id=\"1\" xmlns=\"{BASE_NAMESPACE}\"><create-subscription xmlns=\"{NOTIFICATION_NAMESPACE}\">\
             <stream>escEvent</stream><startTime>2026-06-23T18:15:04.27+00:00</startTime></create-subscription></rpc>"
        );
        assert_eq!(asked.as_bytes(), framed(framing, &rpc));

        let messages = [
            OK.to_owned(),
            event(1),
            notification("<replayComplete/>"),
            event(2),
            notification("<linkDown xmlns=\"urn:x\"/>"),
            "<notification>".to_owned(),
            "<rpc-reply message-id=\"9\"><ok/></rpc-reply>".to_owned(),
            "x".repeat(20_000),
            event(3),
            notification("<notificationComplete/>"),
        ];
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| framed(framing, message))
            .collect();
        let (all, fault) = heard(&mut session, &[&bytes]);
        assert_eq!(fault, None);
        assert_eq!(
            in_short(&all),
            [
                "Subscribed",
                "dep1",
                "ReplayComplete",
                "dep2",
                "Other(\"linkDown\")",
                "unreadable: the body is no XML that is taken: it ends within an element",
                "unreadable: an answer to the message `9`, which nobody asked for",
                "TooLong(20000)",
                "dep3",
                "SubscriptionEnded",
            ]
        );
        assert!(
            matches!(&all[1], Heard::Event { document, .. } if *document == event(1)),
            "byte for byte"
        );

        session.close();
        session.close();
        assert_eq!(
            sent(&mut session).as_bytes(),
            framed(
                framing,
                &format!("<rpc message-id=\"2\" xmlns=\"{BASE_NAMESPACE}\"><close-session/></rpc>")
            )
        );
        let last = [
            framed(framing, &event(4)),
            framed(framing, GONE),
            framed(framing, &event(5)),
        ]
        .concat();
        let (all, fault) = heard(&mut session, &[&last]);
        assert_eq!(
            (in_short(&all), fault),
            (vec!["dep4".to_owned(), "Closed".to_owned()], None)
        );
    }
}

#[test]
fn a_server_that_cannot_be_listened_to_is_told_why() {
    let long = vec![b'x'; 20_000];
    for (first, why) in [
        (hello(&[NOTIFICATIONS]), "neither base:1.0 nor base:1.1"),
        (hello(&[BASE_1_0, BASE_1_1]), "notification:1.0"),
        (hello(&[]), "neither base:1.0 nor base:1.1"),
        (b"<hello><capabilities/></hello>]]>]]>".to_vec(), "no number"),
        (b"<rpc-reply/>]]>]]>".to_vec(), "something else"),
        (b"SSH-2.0-OpenSSH_9.2\r\n]]>]]>".to_vec(), "no hello"),
        (b"\xff]]>]]>".to_vec(), "UTF-8"),
        ([&long[..], b"]]>]]>"].concat(), "too long"),
    ] {
        let mut session = Session::new(subscription(None), 10_000);
        let (all, fault) = heard(&mut session, &[&first]);
        assert_eq!(all, []);
        let fault = fault.expect("an end");
        assert!(fault.to_string().contains(why), "{why}: {fault}");
        assert_eq!(session.hear(), Ok(None), "nothing is heard behind that");
        session.push(&hello(NEW));
        assert_eq!(session.hear(), Ok(None));
    }
}

#[test]
fn a_refusal_is_said_in_words() {
    let answered = |answer: &str| {
        let mut session = Session::new(subscription(Some("a < b & c")), 10_000);
        let bytes = [hello(NEW), framed(Framing::Chunks, answer)].concat();
        let (_, fault) = heard(&mut session, &[&bytes]);
        let said = sent(&mut session);
        assert!(said.contains("<startTime>a &lt; b &amp; c</startTime>"), "{said}");
        fault.map(|fault| fault.to_string())
    };
    assert_eq!(
        answered("<rpc-reply message-id='1'><rpc-error><error-tag>invalid-value</error-tag><error-message>unknown stream</error-message></rpc-error></rpc-reply>")
            .as_deref(),
        Some("the subscription to `escEvent` was refused: unknown stream (a value is not allowed)")
    );
    assert_eq!(
        answered("<rpc-reply><rpc-error><error-tag>malformed-message</error-tag></rpc-error></rpc-reply>")
            .as_deref(),
        Some("the subscription to `escEvent` was refused: the server could not read the request")
    );
    assert!(
        answered("<rpc-reply message-id='1'><data/></rpc-reply>")
            .is_some_and(|why| why.contains("neither ok"))
    );
    assert!(answered("<rpc-reply message-id='1'>").is_some_and(|why| why.contains("not understood")));
    assert_eq!(answered("<rpc-reply message-id='1'><ok/></rpc-reply>"), None);
    let mut session = Session::new(subscription(None), 10_000);
    let (_, fault) = heard(&mut session, &[&hello(NEW), b"<rpc-reply"]);
    assert!(matches!(fault, Some(SessionFault::Framing(_))), "{fault:?}");
}

#[test]
fn who_leaves_before_the_hello_says_nothing_more() {
    let mut session = Session::new(subscription(None), 10_000);
    let _ = session.output();
    session.close();
    let (all, fault) = heard(&mut session, &[&hello(NEW)]);
    assert_eq!((all, fault), (vec![], None));
    assert_eq!(sent(&mut session), "");
}

/// One message of a server, of every sort.
fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0_usize..100).prop_map(event),
        1 => Just(notification("<replayComplete/>")),
        1 => Just(notification("<other/>")),
        1 => Just(OK.to_owned()),
        1 => Just("<a".to_owned()),
        1 => "[x-z ]{1,900}",
    ]
}

proptest! {
    #[test]
    fn it_hears_the_same_however_the_bytes_are_cut(
        messages in proptest::collection::vec(message(), 0..12), sizes in proptest::collection::vec(1_usize..50, 1..20), is_new: bool,
    ) {
        let (capabilities, framing) = if is_new { (NEW, Framing::Chunks) } else { (OLD, Framing::EndMark) };
        let mut bytes = hello(capabilities);
        bytes.extend(framed(framing, OK));
        bytes.extend(messages.iter().flat_map(|message| framed(framing, message)));
        let mut whole = Session::new(subscription(None), 700);
        let at_once = heard(&mut whole, &[&bytes]);
        let mut rest = bytes.as_slice();
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, more) = rest.split_at(rest.len().min(*size));
            pieces.push(piece);
            rest = more;
        }
        let mut cut = Session::new(subscription(None), 700);
        prop_assert_eq!(&heard(&mut cut, &pieces), &at_once);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        let mut bytewise = Session::new(subscription(None), 700);
        prop_assert_eq!(&heard(&mut bytewise, &single), &at_once);
        prop_assert_eq!(at_once.1, None);
        prop_assert_eq!(at_once.0.len(), messages.len() + 2);
    }

    #[test]
    fn no_server_makes_it_panic(
        text in "(<hello>|<capabilities>|<capability>urn:ietf:params:netconf:base:1\\.[01]</capability>|</capabilities>|<session-id>1</session-id>|</hello>|\\]\\]>\\]\\]>|\n#[0-9]{1,3}\n|\n##\n|<rpc-reply message-id='1'>|<ok/>|</rpc-reply>|<notification>|</notification>|\\PC){0,30}",
        bytes in proptest::collection::vec(any::<u8>(), 0..60),
        leaves: bool,
    ) {
        for begun in [false, true] {
            let mut session = Session::new(subscription(None), 200);
            let mut pieces: Vec<&[u8]> = vec![text.as_bytes(), &bytes];
            let greeting = [hello(NEW), framed(Framing::Chunks, OK)].concat();
            if begun {
                session = Session::new(subscription(None), 1_000);
                pieces.insert(0, &greeting);
            }
            if leaves {
                session.close();
            }
            let _ = heard(&mut session, &pieces);
            let _ = session.output();
        }
    }
}
