//! Whatever a server sends: it is counted and can be seen, and the stream goes on, in the same session where that can be.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on says where"
)]

mod daemon;
mod netconf;
mod recorded;
mod service;
mod sshd;

use daemon::{House, until};
use hem::control::api::StatusView;
use netconf::subscriber::{SOURCE, accepted, configure, connected, kept, refused};
use netconf::{Link, Manners, Scripted, Subscription, framed, notification, stream};
use service::{Service, hem};

/// A server that replays nothing: what it sends is what there is.
fn forgetful(chunked: bool) -> Manners {
    Manners {
        chunked,
        streams: Some(stream("escEvent", "<replaySupport>false</replaySupport>")),
        ..Manners::default()
    }
}

async fn start(manners: Manners) -> (House, Scripted, Link, Service) {
    let house = House::new();
    let server = Scripted::start(&house, manners).await;
    let link = Link::to(server.door.sshd.port);
    // Nothing but what is sent ends a session, however slow the machine is.
    let settings = format!("{}, keepalive: 20s", server.door.settings(link.port));
    configure(&house, &settings);
    let service = Service::start(&house);
    (house, server, link, service)
}

/// How much is counted as bad.
fn bad(status: &StatusView) -> u64 {
    let refused = &status.sources[SOURCE].refused;
    let undecodable = status.events.get(SOURCE).map_or(0, |sums| sums.undecodable);
    undecodable + refused.values().sum::<u64>() - refused.get("another module").copied().unwrap_or_default()
}

/// The time of the n-th event.
fn time(number: u32) -> String {
    format!("2026-03-01T10:{:02}:{:02}+00:00", number / 60, number % 60)
}

/// The notification of a good event, whose message is its number.
fn good(number: u32) -> String {
    notification(&time(number), "VM_ALIVE", &number.to_string())
}

/// What is wrong, and the message.
fn bad_messages() -> Vec<(&'static str, Vec<u8>)> {
    let event = |more: &str| {
        format!(
            "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>2026-03-01T10:00:00+00:00</eventTime>\
             <escEvent xmlns=\"http://www.cisco.com/esc/esc\">{more}</escEvent></notification>"
        )
    };
    let latin = event("<status_message>caf\u{0}</status_message><event><type>VM_ALIVE</type></event>")
        .into_bytes()
        .into_iter()
        .map(|byte| if byte == 0 { 0xe9 } else { byte })
        .collect();
    let utf16 = event("<event><type>VM_ALIVE</type></event>")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let deep = event(&format!(
        "{}{}<event><type>VM_ALIVE</type></event>",
        "<a>".repeat(50_000),
        "</a>".repeat(50_000)
    ));
    let laughs = format!(
        "<!DOCTYPE x [<!ENTITY a \"ha\"><!ENTITY b \"&a;&a;&a;&a;\">]>{}",
        event("<status_message>&b;</status_message><event><type>VM_ALIVE</type></event>")
    );
    vec![
        ("cut off", good(1).as_bytes()[..200].to_vec()),
        ("not XML", b"VM_ALIVE SUCCESS".to_vec()),
        (
            "JSON",
            br#"{"ietf-restconf:notification": {"eventTime": "x"}}"#.to_vec(),
        ),
        ("Latin-1", latin),
        ("UTF-16", utf16),
        ("zeros", vec![0; 64]),
        ("every byte", (0..=255).filter(|byte| *byte != b']').collect()),
        ("deep", deep.into_bytes()),
        ("a document type", laughs.into_bytes()),
        ("no type", event("<status>SUCCESS</status>").into_bytes()),
        (
            "an empty type",
            event("<event><type> </type></event>").into_bytes(),
        ),
        (
            "two roots",
            [good(1), good(1)]
                .concat()
                .replace("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n", "")
                .into_bytes(),
        ),
        (
            "crossed elements",
            event("<a><b></a></b><event><type>VM_ALIVE</type></event>").into_bytes(),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_message_is_kept_with_its_reason_and_the_session_goes_on() {
    for chunked in [true, false] {
        let (house, server, _link, mut service) = start(forgetful(chunked)).await;
        let mut session = server.subscription().await;
        let cases = bad_messages();
        for (number, (what, message)) in (1..).zip(&cases) {
            session.send(message);
            session.send(good(number).as_bytes());
            let status = accepted(&mut service, u64::from(number)).await;
            assert_eq!(
                status.events[SOURCE].undecodable,
                u64::from(number),
                "{what}, chunked: {chunked}"
            );
            assert!(status.events[SOURCE].adds_up, "{what}");
            assert_eq!(status.sources[SOURCE].connects, 1, "{what}, chunked: {chunked}");
        }
        let listed = hem(&house, &["events", "--kind", "undecodable", "--json"]).await;
        let listed: Vec<serde_json::Value> = serde_json::from_str(&listed.stdout).expect("a list");
        assert_eq!(listed.len(), cases.len());
        service.stop().await;
        let kept = kept(&house);
        assert_eq!(kept.undecodable.len(), cases.len());
        assert!(kept.undecodable.iter().all(|why| !why.is_empty()));
        let count = u32::try_from(cases.len()).expect("a few");
        assert_eq!(kept.lost_and_twice(1, count), (Vec::new(), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_messages_that_are_no_events_are_counted_and_trouble_nobody() {
    let (house, server, _link, mut service) = start(forgetful(true)).await;
    let mut session = server.subscription().await;
    let odd = [
        "<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"4711\"><ok/></rpc-reply>",
        "<rpc-reply xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><rpc-error><error-tag>missing-attribute</error-tag>\
         </rpc-error></rpc-reply>",
        "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities/></hello>",
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>2026-03-01T10:00:00Z</eventTime>\
         <nso-licensing-proxy xmlns=\"http://www.cisco.com/esc/esc_notifications\"><unique-id>1</unique-id></nso-licensing-proxy>\
         </notification>",
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>2026-03-01T10:00:00Z</eventTime></notification>",
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>yesterday</eventTime><escEvent>\
         <event><type>VM_STARTED</type></event></escEvent></notification>",
        "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><escEvent><event><type>VM_STARTED</type></event>\
         </escEvent></notification>",
    ];
    for message in odd {
        session.send(message.as_bytes());
    }
    for number in 1..=3 {
        session.send(good(number).as_bytes());
    }
    let status = accepted(&mut service, 3).await;
    assert!(status.events[SOURCE].adds_up);
    assert_eq!(status.sources[SOURCE].connects, 1, "{:?}", status.sources[SOURCE]);
    assert_eq!(
        status.sources[SOURCE].refused.get("another module"),
        Some(&2),
        "that of another module, and that of nothing: {:?}",
        status.sources[SOURCE]
    );
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 3), (Vec::new(), Vec::new()));
    assert_eq!(
        kept.of_type("VM_STARTED"),
        2,
        "an event is one, whatever its time is"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_mark_inside_a_text_breaks_that_message_and_no_other() {
    let text = |mark: &str| notification(&time(1), "VM_ALIVE", &format!("before {mark} after"));
    // With end marks nobody can tell it from an end: both halves are bad.
    let (house, server, _link, mut service) = start(forgetful(false)).await;
    let mut session = server.subscription().await;
    session.send(text("]]>]]>").as_bytes());
    session.send(good(1).as_bytes());
    let status = accepted(&mut service, 1).await;
    assert_eq!(
        status.events[SOURCE].undecodable, 2,
        "{:?}",
        status.events[SOURCE]
    );
    assert_eq!(status.sources[SOURCE].connects, 1);
    service.stop().await;
    assert_eq!(kept(&house).lost_and_twice(1, 1), (Vec::new(), Vec::new()));

    // In chunks it is a text like any other.
    let (house, server, _link, mut service) = start(forgetful(true)).await;
    let mut session = server.subscription().await;
    session.send(text("<![CDATA[]]]]>&gt;]]&gt;").as_bytes());
    session.send(text("\n##\n").as_bytes());
    session.send(good(1).as_bytes());
    let status = accepted(&mut service, 3).await;
    assert_eq!(
        status.events[SOURCE].undecodable, 0,
        "{:?}",
        status.events[SOURCE]
    );
    assert_eq!(status.sources[SOURCE].connects, 1);
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.events[0].1, "before ]]>]]> after");
    assert_eq!(kept.events[1].1, "before ## after");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_pieces_of_any_size_is_one_message() {
    let (house, server, _link, mut service) = start(forgetful(true)).await;
    let mut session = server.subscription().await;
    for (number, size) in (1..).zip([1, 2, 7, 100, 100_000]) {
        let mut bytes = Vec::new();
        for piece in good(number).as_bytes().chunks(size) {
            bytes.extend_from_slice(format!("\n#{}\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
        }
        bytes.extend_from_slice(b"\n##\n");
        assert!(session.send_bytes(&bytes));
    }
    // Byte by byte on the wire, and two messages in one piece.
    for byte in framed(good(6).as_bytes(), true) {
        assert!(session.send_bytes(&[byte]));
    }
    let both = [framed(good(7).as_bytes(), true), framed(good(8).as_bytes(), true)].concat();
    assert!(session.send_bytes(&both));
    accepted(&mut service, 8).await;
    service.stop().await;
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, 8), (Vec::new(), Vec::new()));
    assert_eq!(kept.undecodable, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_of_more_than_16_mb_is_counted_and_passed_over() {
    for chunked in [true, false] {
        let (house, server, _link, mut service) = start(forgetful(chunked)).await;
        let mut session = server.subscription().await;
        let long = "x".repeat(17 << 20);
        session.send(notification(&time(1), "VM_ALIVE", &long).as_bytes());
        session.send(good(1).as_bytes());
        let status = accepted(&mut service, 1).await;
        assert_eq!(
            bad(&status),
            1,
            "{:?} {:?}",
            status.events,
            status.sources[SOURCE]
        );
        assert!(status.events[SOURCE].adds_up);
        assert_eq!(status.sources[SOURCE].connects, 1);
        // One below the limit is an event.
        session.send(notification(&time(2), "VM_ALIVE", &long[..3 << 20]).as_bytes());
        session.send(good(3).as_bytes());
        let status = accepted(&mut service, 2).await;
        assert!(status.events[SOURCE].adds_up);
        service.stop().await;
        assert_eq!(kept(&house).lost_and_twice(3, 1), (Vec::new(), Vec::new()));
    }
}

/// What is sent in place of a chunk, and leaves the place of the next message unknown.
const NO_CHUNKS: [&[u8]; 9] = [
    b"\n#abc\n",
    b"\n#0\n",
    b"\n#-1\n",
    b"\n#4294967296\n",
    b"\n#99999999999999999999\n",
    b"\n##\n",
    b"<notification/>]]>]]>",
    b"#5\nhello\n##\n",
    b"\n#5\nhello#5\n",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_that_are_none_end_the_session_and_the_next_one_goes_on() {
    let (house, server, _link, mut service) = start(forgetful(true)).await;
    let mut session = server.subscription().await;
    for (number, bytes) in (1..).zip(NO_CHUNKS) {
        session.send(good(number).as_bytes());
        accepted(&mut service, u64::from(number)).await;
        let _ = session.send_bytes(bytes);
        session = server.subscription().await;
        connected(&mut service, u64::from(number) + 1).await;
        let what = String::from_utf8_lossy(bytes);
        let status = service
            .until(&format!("{what:?} is kept"), |status| {
                bad(status) >= u64::from(number)
            })
            .await;
        assert_eq!(bad(&status), u64::from(number), "{what:?}: it is counted once");
        assert!(status.events[SOURCE].adds_up);
        assert!(status.sources[SOURCE].last_error.is_some());
    }
    service.stop().await;
    let count = u32::try_from(NO_CHUNKS.len()).expect("a few");
    let kept = kept(&house);
    assert_eq!(kept.lost_and_twice(1, count), (Vec::new(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_without_an_end_takes_no_more_memory_than_one_may_and_is_given_up() {
    let (house, server, _link, mut service) = start(forgetful(true)).await;
    let mut session = server.subscription().await;
    session.send(good(1).as_bytes());
    accepted(&mut service, 1).await;
    let pid = service.pid();
    // The test sends until hem hangs up.
    let sender = std::thread::spawn(move || {
        let mut chunk = format!("\n#{}\n", 1 << 20).into_bytes();
        chunk.resize(chunk.len() + (1 << 20), b'x');
        let mut sent = 0_u64;
        while session.send_bytes(&chunk) {
            sent += 1;
        }
        sent
    });
    let mut largest = 0;
    let mut again = None;
    until("hem gives the session up", || {
        largest = largest.max(resident(pid));
        again = again.take().or_else(|| server.next_subscription());
        again.is_some()
    })
    .await;
    assert!(sender.join().is_ok_and(|sent| sent >= 16));
    assert!(largest < 400 << 20, "{largest} bytes");
    let mut again: Subscription = again.expect("a subscription");
    again.send(good(2).as_bytes());
    let status = accepted(&mut service, 2).await;
    assert!(bad(&status) >= 1, "{:?}", status.sources[SOURCE]);
    service.stop().await;
    assert_eq!(kept(&house).lost_and_twice(1, 2), (Vec::new(), Vec::new()));
}

/// The memory of a process, in bytes.
fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.unwrap_or_default() << 10
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_a_message_before_an_end_is_no_event() {
    for chunked in [true, false] {
        let (house, server, _link, mut service) = start(Manners {
            chunked,
            ..Manners::default()
        })
        .await;
        let mut session = server.first_subscription().await;
        session.send(good(1).as_bytes());
        accepted(&mut service, 1).await;
        let message = framed(good(2).as_bytes(), chunked);
        assert!(session.send_bytes(&message[..message.len() - 3]));
        session.end();
        let mut again = server.subscription().await;
        again.send(good(1).as_bytes());
        again.send(good(2).as_bytes());
        again.replay_is_complete(&time(3));
        let status = accepted(&mut service, 2).await;
        assert!(status.events[SOURCE].adds_up);
        service.stop().await;
        assert_eq!(kept(&house).lost_and_twice(1, 2), (Vec::new(), Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_greeting_that_is_none_is_said_plainly_and_tried_again() {
    let hello = |capabilities: &str| {
        let text = format!(
            "<hello xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"><capabilities>{capabilities}</capabilities>\
             <session-id>1</session-id></hello>"
        );
        framed(text.as_bytes(), false)
    };
    let old = "<capability>urn:ietf:params:netconf:base:1.0</capability>";
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (framed(b"Welcome to this machine!", false), ""),
        (framed(b"<hello", false), ""),
        (framed(b"\xff\xfe<hello/>", false), ""),
        (
            framed(b"<rpc-reply message-id=\"1\"><ok/></rpc-reply>", false),
            "",
        ),
        (
            hello("<capability>urn:ietf:params:netconf:base:2.0</capability>"),
            "base:1.",
        ),
        (hello(old), "notification"),
    ];
    let (_house, server, _link, mut service) = start(Manners {
        greeting: Some(cases[0].0.clone()),
        ..Manners::default()
    })
    .await;
    for (greeting, words) in &cases {
        server.change(|manners| manners.greeting = Some(greeting.clone()));
        // The one that begins now, and what became of it.
        let sessions = server.sessions();
        until("hem tries again", || server.sessions() >= sessions + 2).await;
        refused(&mut service, words).await;
    }
    server.change(|manners| manners.greeting = None);
    let mut session = server.first_subscription().await;
    session.send(good(1).as_bytes());
    accepted(&mut service, 1).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_of_the_server_is_said_in_its_words() {
    let error = "<rpc-error><error-type>application</error-type><error-tag>invalid-value</error-tag>\
                 <error-severity>error</error-severity><error-path>/create-subscription/stream</error-path>\
                 <error-message xml:lang=\"en\">no such stream here</error-message></rpc-error>";
    let (_house, server, _link, mut service) = start(Manners {
        answers: vec![("create-subscription".to_owned(), error.to_owned())],
        ..Manners::default()
    })
    .await;
    let why = refused(&mut service, "no such stream here").await;
    assert!(why.contains("a value is not allowed"), "{why}");
    // A reply that is none of either kind.
    server.change(|manners| {
        manners.answers = vec![("create-subscription".to_owned(), "<maybe/>".to_owned())];
    });
    service
        .until("it says something else", |status| {
            status.sources[SOURCE]
                .last_error
                .as_ref()
                .is_some_and(|error| !error.message.contains("no such stream"))
        })
        .await;
    server.change(|manners| manners.answers.clear());
    let mut session = server.first_subscription().await;
    session.send(good(1).as_bytes());
    accepted(&mut service, 1).await;
    service.stop().await;
}
