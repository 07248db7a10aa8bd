//! A NETCONF server that the test plays itself, behind a real sshd: for all that netconfd cannot or would not do.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use super::door::Door;
use super::operator::element;
use crate::daemon::{House, until};

const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";
const END: &[u8] = b"]]>]]>";

/// What the server says of itself, and answers.
#[derive(Debug, Clone)]
pub(crate) struct Manners {
    /// Its greeting names base:1.1 too, and chunks are used.
    pub(crate) chunked: bool,
    /// Its whole greeting, in place of the usual one.
    pub(crate) greeting: Option<Vec<u8>>,
    /// What stands in `/netconf/streams`, within `streams`; none: it knows of no such data.
    pub(crate) streams: Option<String>,
    /// What stands in `esc_datamodel/opdata`.
    pub(crate) deployments: String,
    /// The body of the reply to an operation with this in it, in place of the usual one.
    pub(crate) answers: Vec<(String, String)>,
    /// What is sent before it is said that a subscription is in force.
    pub(crate) before_ok: Vec<String>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            chunked: true,
            greeting: None,
            streams: Some(stream("escEvent", "<replaySupport>true</replaySupport>")),
            deployments: String::new(),
            answers: Vec::new(),
            before_ok: Vec::new(),
        }
    }
}

/// A stream as it stands in `/netconf/streams`.
pub(crate) fn stream(name: &str, more: &str) -> String {
    format!("<stream><name>{name}</name><description>events</description>{more}</stream>")
}

/// The server; sessions are served until the test ends.
pub(crate) struct Scripted {
    pub(crate) door: Door,
    shared: Arc<Shared>,
    subscriptions: Receiver<Subscription>,
}

struct Shared {
    manners: Mutex<Manners>,
    /// Every operation that was asked for, as it came, with the number of its session.
    asked: Mutex<Vec<(usize, String)>>,
    sessions: AtomicUsize,
}

impl Scripted {
    /// Starts it.
    pub(crate) async fn start(house: &House, manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/netconf/relay.py");
        let door = Door::open(house, "", |_, _| format!("python3 {} {port}", relay.display()));
        let shared = Arc::new(Shared {
            manners: Mutex::new(manners),
            asked: Mutex::new(Vec::new()),
            sessions: AtomicUsize::new(0),
        });
        let (sender, subscriptions) = channel();
        let of_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let (shared, sender) = (Arc::clone(&of_thread), sender.clone());
                thread::spawn(move || serve(&shared, socket, &sender));
            }
        });
        door.sshd.listens().await;
        Self {
            door,
            shared,
            subscriptions,
        }
    }

    /// From the next session, and the next operation, on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.shared.manners.lock().expect("nobody panicked"));
    }

    /// Waits for the next subscription.
    pub(crate) async fn subscription(&self) -> Subscription {
        let mut came = None;
        until("hem subscribes", || {
            came = self.next_subscription();
            came.is_some()
        })
        .await;
        came.expect("a subscription")
    }

    /// Waits for the very first subscription of all. Where what is kept is asked for, there is nothing.
    pub(crate) async fn first_subscription(&self) -> Subscription {
        let mut first = self.subscription().await;
        if first.start.is_some() {
            first.replay_is_complete("2026-01-01T00:00:00Z");
        }
        first
    }

    /// The next subscription, where there is one by now.
    pub(crate) fn next_subscription(&self) -> Option<Subscription> {
        self.subscriptions.try_recv().ok()
    }

    /// How many sessions there were.
    pub(crate) fn sessions(&self) -> usize {
        self.shared.sessions.load(Ordering::SeqCst)
    }

    /// Every operation that was asked for so far, in all sessions.
    pub(crate) fn asked(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().expect("nobody panicked");
        asked.iter().map(|(_, request)| request.clone()).collect()
    }

    /// The operations of the newest session in which something was subscribed to.
    pub(crate) fn asked_where_subscribed(&self) -> Vec<String> {
        let asked = self.shared.asked.lock().expect("nobody panicked");
        let subscribing = asked
            .iter()
            .rev()
            .find(|(_, request)| request.contains("create-subscription"));
        let of_it = asked
            .iter()
            .filter(|(session, _)| subscribing.is_some_and(|(subscribing, _)| subscribing == session));
        of_it.map(|(_, request)| request.clone()).collect()
    }
}

/// A session on which notifications are sent.
#[derive(Debug)]
pub(crate) struct Subscription {
    socket: TcpStream,
    chunked: bool,
    /// What was subscribed to.
    pub(crate) stream: String,
    /// From when on the past is asked for; none: nothing of it.
    pub(crate) start: Option<String>,
}

impl Subscription {
    /// Sends a message in the framing of the session. Errors are none of the test's: whoever is not liked hangs up.
    pub(crate) fn send(&mut self, message: &[u8]) {
        let _ = self.socket.write_all(&framed(message, self.chunked));
    }

    /// Sends bytes as they are; says whether they could be sent.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// Sends an event of this type, at this time.
    pub(crate) fn event(&mut self, time: &str, event: &str, message: &str) {
        self.send(notification(time, event, message).as_bytes());
    }

    /// Says that the past has been told.
    pub(crate) fn replay_is_complete(&mut self, time: &str) {
        self.send(
            format!(
                "<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\"><eventTime>{time}</eventTime>\
                 <replayComplete xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"/></notification>"
            )
            .as_bytes(),
        );
    }

    /// Ends the session.
    pub(crate) fn end(self) {
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A notification as ESC sends it, of the deployment `dep1` of the tenant `t1`.
pub(crate) fn notification(time: &str, event: &str, message: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<notification xmlns=\"urn:ietf:params:xml:ns:netconf:notification:1.0\">\
         <eventTime>{time}</eventTime><escEvent xmlns=\"http://www.cisco.com/esc/esc\"><status>SUCCESS</status>\
         <status_message>{message}</status_message><depname>dep1</depname><tenant>t1</tenant><vm_source/><vm_target/>\
         <event><type>{event}</type></event></escEvent></notification>"
    )
}

/// A message in the framing of the session.
pub(crate) fn framed(message: &[u8], chunked: bool) -> Vec<u8> {
    if chunked {
        let mut framed = format!("\n#{}\n", message.len()).into_bytes();
        framed.extend_from_slice(message);
        framed.extend_from_slice(b"\n##\n");
        framed
    } else {
        [message, END].concat()
    }
}

fn serve(shared: &Shared, mut socket: TcpStream, subscriptions: &Sender<Subscription>) {
    let manners = || shared.manners.lock().expect("nobody panicked").clone();
    let number = shared.sessions.fetch_add(1, Ordering::SeqCst);
    let at_start = manners();
    let greeting = at_start.greeting.unwrap_or_else(|| {
        let version = if at_start.chunked {
            "<capability>urn:ietf:params:netconf:base:1.1</capability>"
        } else {
            ""
        };
        let hello = format!(
            "<hello xmlns=\"{BASE}\"><capabilities><capability>urn:ietf:params:netconf:base:1.0</capability>{version}\
             <capability>urn:ietf:params:netconf:capability:writable-running:1.0</capability>\
             <capability>urn:ietf:params:netconf:capability:notification:1.0</capability></capabilities>\
             <session-id>7</session-id></hello>"
        );
        framed(hello.as_bytes(), false)
    });
    if socket.write_all(&greeting).is_err() {
        return;
    }
    let mut reader = Reader {
        socket: socket.try_clone().expect("a socket"),
        bytes: Vec::new(),
    };
    let Some(hello) = reader.message(false) else {
        return;
    };
    let newer = "urn:ietf:params:netconf:base:1.1";
    let chunked = String::from_utf8_lossy(&greeting).contains(newer) && hello.contains(newer);
    while let Some(request) = reader.message(chunked) {
        shared
            .asked
            .lock()
            .expect("nobody panicked")
            .push((number, request.clone()));
        let manners = manners();
        let own = manners.answers.iter().find(|(part, _)| request.contains(part));
        let subscribes = own.is_none() && request.contains("create-subscription");
        let ends = request.contains("close-session");
        let body = match own {
            Some((_, body)) => body.clone(),
            None if request.contains("esc_datamodel") => format!(
                "<data><esc_datamodel xmlns=\"http://www.cisco.com/esc/esc\"><opdata>{}</opdata></esc_datamodel></data>",
                manners.deployments
            ),
            None if request.contains("streams") => manners.streams.map_or_else(
                || "<data/>".to_owned(),
                |streams| {
                    format!(
                        "<data><netconf xmlns=\"urn:ietf:params:xml:ns:netmod:notification\"><streams>{streams}</streams></netconf></data>"
                    )
                },
            ),
            None => "<ok/>".to_owned(),
        };
        if subscribes {
            for message in &manners.before_ok {
                // Whoever is not liked hangs up.
                let _ = socket.write_all(&framed(message.as_bytes(), chunked));
            }
        }
        let id = attribute(&request, "message-id").unwrap_or_default();
        let reply = format!("<rpc-reply xmlns=\"{BASE}\" message-id=\"{id}\">{body}</rpc-reply>");
        if socket.write_all(&framed(reply.as_bytes(), chunked)).is_err() {
            return;
        }
        if subscribes {
            let subscription = Subscription {
                socket: socket.try_clone().expect("a socket"),
                chunked,
                stream: text_of(&request, "stream").unwrap_or_default(),
                start: text_of(&request, "startTime"),
            };
            if subscriptions.send(subscription).is_err() {
                return;
            }
        }
        if ends {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// Takes messages out of what the client sends.
struct Reader {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Reader {
    fn message(&mut self, chunked: bool) -> Option<String> {
        loop {
            let taken = if chunked { self.chunked() } else { self.delimited() };
            if let Some(message) = taken {
                return Some(String::from_utf8(message).expect("hem speaks UTF-8"));
            }
            let mut more = [0; 4096];
            match self.socket.read(&mut more) {
                Ok(count @ 1..) => self.bytes.extend_from_slice(&more[..count]),
                _ => return None,
            }
        }
    }

    fn delimited(&mut self) -> Option<Vec<u8>> {
        let at = self.bytes.windows(END.len()).position(|bytes| bytes == END)?;
        let message = self.bytes.drain(..at + END.len()).take(at).collect();
        Some(message)
    }

    fn chunked(&mut self) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        let mut at = 0;
        loop {
            let rest = self.bytes.get(at..)?.strip_prefix(b"\n#")?;
            let end = rest.iter().position(|byte| *byte == b'\n')?;
            let size = std::str::from_utf8(&rest[..end]).expect("a chunk's size");
            at += 2 + end + 1;
            if size == "#" {
                self.bytes.drain(..at);
                return Some(message);
            }
            let size: usize = size.parse().expect("a chunk's size");
            message.extend_from_slice(self.bytes.get(at..at + size)?);
            at += size;
        }
    }
}

fn attribute(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("{name}="))?;
    let quote = rest.chars().next()?;
    rest[1..].split_once(quote).map(|(value, _)| value.to_owned())
}

/// The text of an element, whatever its prefix.
fn text_of(document: &str, name: &str) -> Option<String> {
    element(document, name)
        .or_else(|| {
            let (_, rest) = document.split_once(&format!(":{name}>"))?;
            Some(rest.split_once('<')?.0)
        })
        .map(|text| text.trim().to_owned())
}
