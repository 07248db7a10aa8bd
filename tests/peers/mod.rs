//! What the tests of the OpenNebula source have at the other end: real libzmq sockets, and peers that only pretend.

#![allow(dead_code, reason = "each test program uses its own part")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

/// Longer than anything takes on a machine that is busy with other tests.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A port nobody else gets while this lives, though nobody listens at it: what is bound with SO_REUSEADDR may be bound
/// again by another socket with it, as libzmq's are.
pub(crate) struct Port {
    _held: Socket,
    number: u16,
}

impl Port {
    pub(crate) fn reserve() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a free port");
        let address = socket.local_addr().expect("an address");
        Self {
            number: address.as_socket().expect("an IPv4 address").port(),
            _held: socket,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.number)
    }
}

/// A Python process with pyzmq.
pub(crate) struct Peer {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Peer {
    /// Starts a script of `tests/peers`.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        Self::start_below(&[], script, arguments)
    }

    /// Starts a script by a command that takes another one as its arguments: `ip netns exec NAME`.
    pub(crate) fn start_below(prefix: &[&str], script: &str, arguments: &[&str]) -> Self {
        let python = std::env::var("HEM_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let path = format!("{}/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut words: Vec<&str> = prefix.to_vec();
        words.extend([python.as_str(), path.as_str()]);
        words.extend(arguments);
        let mut child = Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{}` for the tests: {error}", words[0]));
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut stderr = child.stderr.take().expect("a pipe");
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said);
            if said.contains("No module named 'zmq'") {
                said = "install pyzmq: pip install pyzmq".to_owned();
            }
            let _ = sender.send(format!("the peer ended: {said}"));
        });
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    /// A libzmq publisher, bound.
    pub(crate) fn publisher(endpoint: &str, options: &[&str]) -> Self {
        let peer = Self::start("publisher.py", &[&[endpoint], options].concat());
        peer.expect("bound");
        peer
    }

    /// Gives an order without waiting for its answer.
    pub(crate) fn order(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("an open pipe");
        writeln!(stdin, "{line}").expect("the peer lives");
    }

    /// The peer's next line.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("the peer answers")
    }

    /// Waits for this line, which must be the next.
    pub(crate) fn expect(&self, line: &str) {
        assert_eq!(self.line(), line);
    }

    pub(crate) fn wait_for_subscriptions(&mut self, count: usize) {
        self.order(&format!("wait {count}"));
        self.expect("subscribed");
    }

    pub(crate) fn send(&mut self, frames: &[&[u8]]) {
        self.order_send(frames);
        self.expect("sent");
    }

    pub(crate) fn order_send(&mut self, frames: &[&[u8]]) {
        let words: Vec<String> = frames
            .iter()
            .map(|frame| {
                if frame.is_empty() {
                    "-".to_owned()
                } else {
                    STANDARD.encode(frame)
                }
            })
            .collect();
        self.order(&format!("send {}", words.join(" ")));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("the peer lives");
    }

    /// Lets it close its socket in order, and waits for its end.
    pub(crate) fn quit(mut self) {
        self.order("quit");
        self.child.wait().expect("it ends");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a pretending peer does with one connection.
pub(crate) type Behaviour = Box<dyn FnOnce(&mut TcpStream) + Send>;

/// Takes one connection for each behaviour, in turn, and keeps the last one open. Gives the endpoint.
pub(crate) fn pretend(behaviours: Vec<Behaviour>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let endpoint = format!("tcp://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        let mut last = None;
        for behave in behaviours {
            drop(last.take());
            let (mut stream, _) = listener.accept().expect("a connection");
            behave(&mut stream);
            last = Some(stream);
        }
        // Nothing more comes; the connection ends with the test.
        thread::park();
        drop(last);
    });
    endpoint
}

/// Answers the greeting and READY as a PUB, and takes `subscriptions` of them. Written by hand, not by the code under test.
pub(crate) fn greet_as_publisher(stream: &mut TcpStream, subscriptions: &[&str]) {
    let mut greeting = [0; 64];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[11] = 1;
    greeting[12..16].copy_from_slice(b"NULL");
    stream.write_all(&greeting).expect("the subscriber lives");
    stream
        .write_all(b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03PUB")
        .expect("the subscriber lives");
    let mut theirs = vec![0; 64 + 27];
    stream.read_exact(&mut theirs).expect("greeting and READY");
    assert_eq!(&theirs[64..], b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\x03SUB");
    for prefix in subscriptions {
        let mut subscription = vec![0; 3 + prefix.len()];
        stream.read_exact(&mut subscription).expect("a subscription");
        assert_eq!(&subscription[3..], prefix.as_bytes());
    }
}

/// A message of short frames.
pub(crate) fn frames(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, part) in parts.iter().enumerate() {
        out.push(u8::from(n + 1 < parts.len()));
        out.push(u8::try_from(part.len()).expect("a short part"));
        out.extend_from_slice(part);
    }
    out
}
