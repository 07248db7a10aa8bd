//! The OpenNebula source against real libzmq publishers, and against peers that are none.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's own machinery fails the test where it fails"
)]

mod peers;
mod recorded;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hem::config::OpennebulaSource;
use hem::engine::intake::{Counters, Decode as _, Decoded, Entry, Intake, IntakeQueue, Limits, Received};
use hem::event::{Event, Facts, Kind};
use hem::sources::opennebula::decode::Decoder;
use hem::sources::opennebula::run_with;
use hem::sources::opennebula::zmtp::{Keepalive, Options};
use nix::sys::signal::Signal;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use self::peers::{Behaviour, LIMIT, Peer, Port, frames, greet_as_publisher, pretend};

const ROOMY: Limits = Limits {
    events: 1_000_000,
    bytes: 1 << 30,
};

/// Noticed in 3 seconds.
const SHORT_KEEPALIVE: Keepalive = Keepalive {
    idle: Duration::from_secs(1),
    interval: Duration::from_secs(1),
    probes: 2,
};

const PREFIXES: [&str; 2] = ["EVENT", "RETRY"];

fn config(endpoint: &str) -> OpennebulaSource {
    OpennebulaSource {
        endpoint: endpoint.to_owned(),
        replies: "tcp://127.0.0.1:2102".to_owned(),
        ignore_calls: vec!["one.zone.*".to_owned()],
        validate: false,
        queue_events: ROOMY.events,
        queue_bytes: ROOMY.bytes,
    }
}

/// A source at work, and the receiving end of its queue.
struct Source {
    queue: IntakeQueue,
    intake: Intake,
    decoder: Decoder,
    shutdown: CancellationToken,
    _runtime: Runtime,
    disconnections: Vec<String>,
    lost: u64,
}

impl Source {
    fn start(endpoint: &str) -> Self {
        Self::start_with(endpoint, Options::default(), ROOMY)
    }

    fn start_with(endpoint: &str, options: Options, limits: Limits) -> Self {
        let queue = IntakeQueue::new(limits);
        let intake = queue.source("one");
        let shutdown = CancellationToken::new();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = config(endpoint);
        let decoder = Decoder::new("one", &config, false);
        let (ours, stop) = (intake.clone(), shutdown.clone());
        let tasks = tokio_util::task::TaskTracker::new();
        tasks.spawn_on(
            async move { run_with(config, "one", ours, stop, options).await },
            runtime.handle(),
        );
        Self {
            queue,
            intake,
            decoder,
            shutdown,
            _runtime: runtime,
            disconnections: Vec::new(),
            lost: 0,
        }
    }

    /// The next message; notes down what else comes on the way.
    fn message(&mut self) -> Received {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            for entry in self.queue.take(1, Duration::from_secs(1)) {
                match entry {
                    Entry::Message { received, .. } => return received,
                    Entry::Connected { .. } => {}
                    Entry::Disconnected { why, .. } => self.disconnections.push(why),
                    Entry::Lost { gap, .. } => self.lost += gap.lost,
                    Entry::Delivered(_)
                    | Entry::Kept(_)
                    | Entry::Emitted(_)
                    | Entry::Raised { .. }
                    | Entry::CatchUp { .. } => {
                        panic!("nobody emits here")
                    }
                }
            }
        }
        panic!(
            "no message within {LIMIT:?}; disconnected: {:?}",
            self.disconnections
        );
    }

    fn keys(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.message().key).collect()
    }

    /// The next message, decoded.
    fn event(&mut self) -> Event {
        let message = self.message();
        match self.decoder.decode(message) {
            Decoded::Event(event) => *event,
            Decoded::NotKept(why) => panic!("not kept: {why:?}"),
        }
    }

    fn wait_for_disconnection(&mut self) -> String {
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline {
            for entry in self.queue.take(1, Duration::from_secs(1)) {
                match entry {
                    Entry::Disconnected { why, .. } => return why,
                    Entry::Connected { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        panic!("no disconnection within {LIMIT:?}");
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Numbered keys, as the publisher makes them.
fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("EVENT API one.test {n}")).collect()
}

fn reason(event: &Event) -> &str {
    match &event.facts {
        Facts::Undecodable { reason } => reason,
        facts => panic!("it was read: {facts:?}"),
    }
}

const DOCUMENT: &str = "<HOOK_MESSAGE><HOOK_TYPE>STATE</HOOK_TYPE><HOOK_OBJECT>HOST</HOOK_OBJECT><STATE>ERROR</STATE>\
     <REMOTE_HOST>h1</REMOTE_HOST><RESOURCE_ID>7</RESOURCE_ID><HOST><ID>7</ID></HOST></HOOK_MESSAGE>";
const KEY: &str = "EVENT STATE HOST/ERROR//7 ";

// The connection.

#[test]
fn a_publisher_that_is_not_up_yet_is_waited_for() {
    let port = Port::reserve();
    let mut source = Source::start(&port.endpoint());
    let why = source.wait_for_disconnection();
    assert!(why.contains("Connection refused"), "{why}");
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    publisher.wait_for_subscriptions(2);
    publisher.order("numbered 10 5");
    assert_eq!(source.keys(10), numbered(10));
}

#[test]
fn a_publisher_on_a_unix_socket_is_read_and_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let endpoint = format!("ipc://{}/hm.sock", folder.path().display());
    let mut source = Source::start(&endpoint);
    let why = source.wait_for_disconnection();
    assert!(why.contains("No such file"), "{why}");
    let mut publisher = Peer::publisher(&endpoint, &[]);
    publisher.wait_for_subscriptions(2);
    publisher.order("numbered 10 5");
    assert_eq!(source.keys(10), numbered(10));
}

#[test]
fn a_publisher_restarted_twenty_times_is_found_again_each_time() {
    let port = Port::reserve();
    let mut source = Source::start(&port.endpoint());
    for round in 0..20 {
        let mut publisher = Peer::publisher(&port.endpoint(), &[]);
        publisher.wait_for_subscriptions(2);
        let key = format!("EVENT API one.test {round}");
        publisher.send(&[key.as_bytes(), b"eA=="]);
        assert_eq!(source.message().key, key);
        if round % 2 == 0 {
            publisher.quit();
        } else {
            drop(publisher);
        }
    }
    assert!(source.disconnections.len() >= 19, "{:?}", source.disconnections);
}

#[test]
fn a_frozen_publisher_is_waited_for_and_nothing_is_lost_when_it_thaws() {
    let port = Port::reserve();
    let options = Options {
        keepalive: SHORT_KEEPALIVE,
        ..Options::default()
    };
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    let mut source = Source::start_with(&port.endpoint(), options, ROOMY);
    publisher.wait_for_subscriptions(2);
    publisher.order("numbered 1000 500");
    publisher.expect("sent");
    publisher.signal(Signal::SIGSTOP);
    publisher.order("numbered 1000 500");
    // Twice as long as keepalive needs to notice a peer that is gone.
    thread::sleep(Duration::from_secs(6));
    publisher.signal(Signal::SIGCONT);
    let before = source.keys(1000);
    let after = source.keys(1000);
    assert_eq!((before, after), (numbered(1000), numbered(1000)));
    assert_eq!(source.disconnections, Vec::<String>::new());
}

#[test]
fn a_publisher_that_sends_heartbeats_is_answered() {
    let port = Port::reserve();
    let mut publisher = Peer::publisher(
        &port.endpoint(),
        &["--heartbeat", "200", "--heartbeat-timeout", "2000"],
    );
    let mut source = Source::start(&port.endpoint());
    publisher.wait_for_subscriptions(2);
    // Longer than a PONG may take, so that a single one left out would end the connection.
    let until = Instant::now() + Duration::from_secs(4);
    let mut sent = 0;
    while Instant::now() < until {
        publisher.send(&[format!("EVENT API one.test {sent}").as_bytes(), b"eA=="]);
        sent += 1;
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(source.keys(sent), numbered(sent));
    assert_eq!(source.disconnections, Vec::<String>::new());
}

#[test]
fn a_connection_whose_packets_are_dropped_is_noticed_by_keepalive_and_made_anew() {
    let network = Network::new();
    let endpoint = format!("tcp://{}:2101", network.inside);
    let prefix = ["ip", "netns", "exec", network.name.as_str()];
    let mut publisher = Peer::start_below(&prefix, "publisher.py", &[&endpoint]);
    publisher.expect("bound");
    let options = Options {
        keepalive: SHORT_KEEPALIVE,
        ..Options::default()
    };
    let mut source = Source::start_with(&endpoint, options, ROOMY);
    publisher.wait_for_subscriptions(2);
    publisher.send(&[b"EVENT before", b"eA=="]);
    assert_eq!(source.message().key, "EVENT before");

    let began = Instant::now();
    network.drop_packets();
    let why = source.wait_for_disconnection();
    assert!(why.contains("timed out"), "{why}");
    println!("noticed after {:?}: {why}", began.elapsed());

    network.pass_packets();
    publisher.wait_for_subscriptions(4);
    publisher.send(&[b"EVENT after", b"eA=="]);
    assert_eq!(source.message().key, "EVENT after");
}

/// A network namespace with a cable to this one, that can be made to swallow every packet.
struct Network {
    name: String,
    outside: String,
    inside: String,
}

impl Network {
    fn new() -> Self {
        let pid = std::process::id();
        let name = format!("hem{pid}");
        let (third, fourth) = ((pid >> 6) & 0xff, (pid & 0x3f) * 4);
        let second = 64 + ((pid >> 14) & 0x3f);
        let network = Self {
            outside: format!("10.{second}.{third}.{}", fourth + 1),
            inside: format!("10.{second}.{third}.{}", fourth + 2),
            name,
        };
        let Self {
            name,
            outside,
            inside,
        } = &network;
        let (ours, theirs) = (format!("{name}o"), format!("{name}i"));
        ip(&format!("netns add {name}"));
        ip(&format!(
            "link add {ours} type veth peer name {theirs} netns {name}"
        ));
        ip(&format!("address add {outside}/30 dev {ours}"));
        ip(&format!("-n {name} address add {inside}/30 dev {theirs}"));
        ip(&format!("-n {name} link set {theirs} up"));
        ip(&format!("link set {ours} up"));
        network
    }

    /// From now on the other side can neither answer nor take anything: the way back leads nowhere.
    fn drop_packets(&self) {
        ip(&format!(
            "-n {} route add blackhole {}/32",
            self.name, self.outside
        ));
    }

    fn pass_packets(&self) {
        ip(&format!(
            "-n {} route delete blackhole {}/32",
            self.name, self.outside
        ));
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["link", "delete", &format!("{}o", self.name)])
            .status();
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .status()
        .expect("install iproute2: apt-get install iproute2");
    assert!(
        status.success(),
        "`ip {arguments}` failed: this test needs the right to make network namespaces (root)"
    );
}

#[test]
fn an_endpoint_that_is_none_is_told_in_place_of_a_connection() {
    let mut source = Source::start("127.0.0.1:2101");
    assert_eq!(
        source.wait_for_disconnection(),
        "`127.0.0.1:2101` is no endpoint; expected `tcp://host:port` or `ipc:///path/of/socket`"
    );
}

// Peers that are no publishers, or hostile ones. Each is followed by a good connection: the source has survived.

/// A publisher that sends `KEY` and a fitting content, again and again, so that it is known to be alive.
fn good() -> Behaviour {
    Box::new(|stream| {
        greet_as_publisher(stream, &PREFIXES);
        stream
            .write_all(&frames(&[b"EVENT good", b"eA=="]))
            .expect("the subscriber lives");
    })
}

/// Runs a source against a first connection that behaves badly; gives why it was ended and what came before.
fn survive(bad: Behaviour, options: Options) -> (String, Vec<String>) {
    let endpoint = pretend(vec![bad, good()]);
    let mut source = Source::start_with(&endpoint, options, ROOMY);
    let mut before = Vec::new();
    loop {
        let key = source.message().key;
        if key == "EVENT good" {
            break;
        }
        before.push(key);
    }
    assert_eq!(source.disconnections.len(), 1, "{:?}", source.disconnections);
    (source.disconnections.remove(0), before)
}

/// Waits until the source has closed the connection.
fn wait_for_end(stream: &mut TcpStream) {
    let mut rest = [0; 256];
    while matches!(stream.read(&mut rest), Ok(n) if n > 0) {}
}

fn after_greeting(bytes: Vec<u8>) -> Behaviour {
    Box::new(move |stream| {
        greet_as_publisher(stream, &PREFIXES);
        stream
            .write_all(&frames(&[b"EVENT before", b"eA=="]))
            .expect("the subscriber lives");
        // The source may end the connection before it has taken all.
        let _ = stream.write_all(&bytes);
        wait_for_end(stream);
    })
}

#[test]
fn a_frame_that_announces_2_to_the_62_bytes_ends_the_connection_and_nothing_else() {
    let bytes = [&[0x02], (1_u64 << 62).to_be_bytes().as_slice(), &[0; 1000]].concat();
    let (why, before) = survive(after_greeting(bytes), Options::default());
    assert_eq!(
        why,
        "the peer announced 4611686018427387904 bytes, more than the limit of 67108864"
    );
    assert_eq!(before, ["EVENT before"]);
}

#[test]
fn garbage_after_the_handshake_ends_the_connection_and_nothing_else() {
    let garbage: Vec<u8> = (0..=255).rev().collect();
    let (why, before) = survive(after_greeting(garbage), Options::default());
    assert!(why.contains("unknown flags"), "{why}");
    assert_eq!(before, ["EVENT before"]);
}

#[test]
fn a_message_cut_short_by_the_end_of_the_connection_is_no_message() {
    let bad: Behaviour = Box::new(|stream| {
        greet_as_publisher(stream, &PREFIXES);
        stream
            .write_all(b"\x01\x05EVENT\x00\x20half")
            .expect("the subscriber lives");
    });
    let (why, before) = survive(bad, Options::default());
    assert_eq!(why, "the peer closed the connection");
    assert!(before.is_empty());
}

#[test]
fn an_http_server_on_the_port_is_called_by_its_name() {
    let bad: Behaviour = Box::new(|stream| {
        let mut request = [0; 16];
        stream.read_exact(&mut request).expect("a greeting");
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
            .expect("the subscriber lives");
        wait_for_end(stream);
    });
    let (why, _) = survive(bad, Options::default());
    assert!(why.starts_with("cannot talk to tcp://127.0.0.1:"), "{why}");
    assert!(why.ends_with(": the peer speaks HTTP, not ZMTP"), "{why}");
}

#[test]
fn a_peer_that_accepts_and_is_silent_is_given_up_after_three_seconds() {
    let began = Instant::now();
    let (why, _) = survive(Box::new(wait_for_end), Options::default());
    assert!(
        why.contains("the peer did not finish the ZMTP handshake within 3s"),
        "{why}"
    );
    assert!(began.elapsed() >= Duration::from_secs(3));
}

#[test]
fn a_peer_that_greets_byte_by_byte_and_never_ends_is_given_up_too() {
    let bad: Behaviour = Box::new(|stream| {
        stream
            .write_all(&[0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3])
            .expect("the source lives");
        while stream.write_all(b"\0").is_ok() {
            thread::sleep(Duration::from_millis(400));
        }
    });
    let options = Options {
        handshake: Duration::from_millis(1000),
        ..Options::default()
    };
    let (why, _) = survive(bad, options);
    assert!(why.contains("within 1s"), "{why}");
}

#[test]
fn the_port_for_replies_in_place_of_the_one_for_events_is_told_apart() {
    let port = Port::reserve();
    let answerer = Peer::start("other_end.py", &["answer", &port.endpoint()]);
    answerer.expect("bound");
    let mut source = Source::start(&port.endpoint());
    let why = source.wait_for_disconnection();
    assert!(
        why.contains("the peer is a REP socket, which does not work with SUB"),
        "{why}"
    );
}

// Messages that are not as they should be.

/// Publishes these frames by libzmq and gives the event made of them, after a good one has come too.
fn publish(message: &[&[u8]]) -> Event {
    let port = Port::reserve();
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    let mut source = Source::start(&port.endpoint());
    publisher.wait_for_subscriptions(2);
    publisher.send(message);
    publisher.send(&[KEY.as_bytes(), STANDARD.encode(DOCUMENT).as_bytes()]);
    let event = source.event();
    let next = source.event();
    assert_eq!(
        (next.kind(), next.key.as_str()),
        (Kind::State, KEY),
        "the stream goes on"
    );
    assert_eq!(source.disconnections, Vec::<String>::new());
    event
}

#[test]
fn one_frame_is_kept_as_undecodable() {
    let event = publish(&[b"EVENT alone"]);
    assert_eq!(
        reason(&event),
        "the message has one frame; expected are two, key and content"
    );
    assert_eq!(event.key, "EVENT alone");
}

#[test]
fn three_frames_are_kept_as_undecodable() {
    let event = publish(&[KEY.as_bytes(), b"eA==", b"more"]);
    assert_eq!(
        reason(&event),
        "the message has 3 frames; expected are two, key and content"
    );
    assert_eq!(event.payload.bytes(), b"eA==\nmore".as_slice());
}

#[test]
fn an_empty_key_is_kept_as_undecodable() {
    // A real PUB sends none to a subscriber of `EVENT`.
    let bad: Behaviour = Box::new(|stream| {
        greet_as_publisher(stream, &PREFIXES);
        stream
            .write_all(&frames(&[b"", b"eA=="]))
            .expect("the subscriber lives");
    });
    let mut source = Source::start(&pretend(vec![bad]));
    let event = source.event();
    assert_eq!(reason(&event), "the message has an empty key");
    assert_eq!(event.payload.bytes(), b"eA==".as_slice());
}

#[test]
fn broken_base64_is_kept_as_undecodable() {
    let event = publish(&[KEY.as_bytes(), b"PEhPT0tfTUV*"]);
    assert!(
        reason(&event).starts_with("the content is no base64: "),
        "{}",
        reason(&event)
    );
    assert_eq!(event.payload.bytes(), b"PEhPT0tfTUV*".as_slice());
}

#[test]
fn base64_with_line_breaks_is_read() {
    let encoded = STANDARD.encode(DOCUMENT);
    let lines: Vec<&[u8]> = encoded.as_bytes().chunks(60).collect();
    let event = publish(&[
        KEY.as_bytes(),
        &[lines.join(b"\r\n".as_slice()), b"\n ".to_vec()].concat(),
    ]);
    assert_eq!(event.kind(), Kind::State);
    assert_eq!(event.payload.bytes(), DOCUMENT.as_bytes());
    assert_eq!(event.subject.expect("a subject").as_str(), "host/7");
}

#[test]
fn what_is_not_xml_is_kept_as_undecodable() {
    let event = publish(&[KEY.as_bytes(), STANDARD.encode("{\"json\": true}").as_bytes()]);
    assert_eq!(event.kind(), Kind::Undecodable);
    assert_eq!(event.payload.bytes(), b"{\"json\": true}".as_slice());
    println!("{}", reason(&event));
}

#[test]
fn a_doctype_is_kept_as_undecodable() {
    let document = format!("<!DOCTYPE x [<!ENTITY a SYSTEM \"file:///etc/passwd\">]>{DOCUMENT}");
    let event = publish(&[KEY.as_bytes(), STANDARD.encode(&document).as_bytes()]);
    assert_eq!(event.kind(), Kind::Undecodable);
    assert_eq!(event.payload.bytes(), document.as_bytes());
    assert!(reason(&event).contains("DOCTYPE"), "{}", reason(&event));
}

#[test]
fn four_megabytes_of_content_are_read() {
    let note = "x".repeat(4 << 20);
    let document = DOCUMENT.replace(
        "<ID>7</ID>",
        &format!("<ID>7</ID><TEMPLATE><NOTE>{note}</NOTE></TEMPLATE>"),
    );
    let event = publish(&[KEY.as_bytes(), STANDARD.encode(&document).as_bytes()]);
    assert_eq!(event.kind(), Kind::State);
    assert_eq!(event.payload.bytes(), document.as_bytes());
}

// Many messages.

#[test]
fn all_recorded_events_come_in_order_and_unchanged() {
    let recorded = recorded::events();
    assert_eq!(recorded.len(), 578);
    let port = Port::reserve();
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    let mut source = Source::start(&port.endpoint());
    publisher.wait_for_subscriptions(2);
    let sending = recorded.clone();
    let sender = thread::spawn(move || {
        for event in &sending {
            publisher.order_send(&[event.key.as_bytes(), STANDARD.encode(&event.content).as_bytes()]);
        }
        publisher
    });
    let mut twins = 0;
    for expected in &recorded {
        let message = source.message();
        assert_eq!(message.key, expected.key);
        let encoded = STANDARD.encode(&expected.content);
        assert_eq!(message.frames, [Bytes::from(encoded)]);
        match source.decoder.decode(message) {
            Decoded::Event(event) => {
                assert_ne!(event.kind(), Kind::Undecodable, "{}", event.key);
                assert_eq!(event.payload.bytes(), &expected.content);
            }
            Decoded::NotKept(_) => twins += 1,
        }
    }
    println!(
        "578 messages: {} events, {twins} further copies or ignored calls",
        578 - twins
    );
    assert_eq!(source.disconnections, Vec::<String>::new());
    drop(sender.join().expect("the sender"));
}

#[test]
fn a_burst_of_20_000_events_is_taken_whole_while_the_consumer_stands_still() {
    const COUNT: usize = 20_000;
    let port = Port::reserve();
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    let mut source = Source::start(&port.endpoint());
    publisher.wait_for_subscriptions(2);
    let began = Instant::now();
    publisher.order(&format!("numbered {COUNT} 1536"));
    publisher.expect("sent");
    let published = began.elapsed();
    // Nothing was taken yet: the reader did not wait for the consumer.
    assert_eq!(source.keys(COUNT), numbered(COUNT));
    assert_eq!(
        source.intake.counters(),
        Counters {
            received: COUNT as u64,
            lost: 0
        }
    );
    assert_eq!(source.disconnections, Vec::<String>::new());
    println!("{COUNT} events of 2 KB were published in {published:?} and all came");
}

#[test]
fn memory_is_bounded_when_nobody_takes_and_every_loss_is_counted() {
    const COUNT: u64 = 20_000;
    let limits = Limits {
        events: 1000,
        bytes: 1 << 20,
    };
    let port = Port::reserve();
    let mut publisher = Peer::publisher(&port.endpoint(), &[]);
    let mut source = Source::start_with(&port.endpoint(), Options::default(), limits);
    publisher.wait_for_subscriptions(2);
    publisher.order(&format!("numbered {COUNT} 1536"));
    publisher.expect("sent");
    let deadline = Instant::now() + LIMIT;
    while source.intake.counters().received < COUNT {
        let depth = source.queue.depth();
        assert!(
            depth.events <= limits.events && depth.bytes <= limits.bytes,
            "{depth:?}"
        );
        assert!(Instant::now() < deadline, "{:?}", source.intake.counters());
        thread::sleep(Duration::from_millis(5));
    }
    let depth = source.queue.depth();
    publisher.send(&[b"EVENT last", b"eA=="]);
    let mut taken = 0;
    while source.message().key != "EVENT last" {
        taken += 1;
    }
    let lost = source.intake.counters().lost;
    println!("of {COUNT} events {taken} were kept in {depth:?} and {lost} counted lost");
    assert_eq!((taken + lost, source.lost), (COUNT, lost));
}

#[test]
fn the_zeromq_crate_is_read_as_well() {
    use zeromq::{PubSocket, Socket as _, SocketSend as _, ZmqMessage};

    let runtime = Runtime::new().expect("a runtime");
    let (mut publisher, endpoint) = runtime.block_on(async {
        let mut publisher = PubSocket::new();
        let endpoint = publisher.bind("tcp://127.0.0.1:0").await.expect("a free port");
        (publisher, endpoint.to_string())
    });
    let mut source = Source::start(&endpoint);
    let mut send = |key: String| {
        let mut message = ZmqMessage::from(key);
        message.push_back(Bytes::from_static(b"eA=="));
        runtime.block_on(publisher.send(message)).expect("sent");
    };
    // It does not tell who has subscribed: what comes first shows that the subscription is in force.
    let deadline = Instant::now() + LIMIT;
    while source.intake.counters().received == 0 {
        assert!(Instant::now() < deadline, "nothing comes");
        send("EVENT are you there".to_owned());
        thread::sleep(Duration::from_millis(20));
    }
    numbered(2000).into_iter().for_each(&mut send);
    let mut keys = source.keys(1);
    while keys.len() < 2000 {
        keys.extend(source.keys(1));
        keys.retain(|key| key != "EVENT are you there");
    }
    assert_eq!(keys, numbered(2000));
}

#[test]
fn shutdown_ends_the_source_at_once_connected_or_not() {
    let port = Port::reserve();
    for connected in [false, true] {
        let publisher = connected.then(|| Peer::publisher(&port.endpoint(), &[]));
        let queue = IntakeQueue::new(ROOMY);
        let shutdown = CancellationToken::new();
        let runtime = Runtime::new().expect("a runtime");
        let run = run_with(
            config(&port.endpoint()),
            "one",
            queue.source("one"),
            shutdown.clone(),
            Options::default(),
        );
        runtime.block_on(async {
            let cancel = tokio::task::spawn_blocking(move || {
                if let Some(mut publisher) = publisher {
                    publisher.wait_for_subscriptions(2);
                    shutdown.cancel();
                    return Some(publisher);
                }
                shutdown.cancel();
                None
            });
            let both = async { tokio::join!(run, cancel) };
            let (_, publisher) = tokio::time::timeout(LIMIT, both).await.expect("it ends");
            drop(publisher.expect("no panic"));
        });
    }
}
