//! The way between hem and a server: it can be cut, and it can go silent.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A TCP proxy on a port of its own.
pub(crate) struct Link {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    pairs: Mutex<Vec<TcpStream>>,
    /// Connections before this one carry nothing any more, though nobody is told.
    silent_before: AtomicUsize,
    connections: AtomicUsize,
    /// Whoever connects is turned away.
    down: AtomicBool,
    /// How many bytes came from the server.
    received: AtomicU64,
}

impl Link {
    /// Leads to this port.
    pub(crate) fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        // It ends with the test's process.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let number = of_thread.connections.fetch_add(1, Ordering::SeqCst);
                if of_thread.down.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
                    continue;
                };
                for (from, to, counts) in [(&near, &far, false), (&far, &near, true)] {
                    let copy = |stream: &TcpStream| stream.try_clone().expect("a socket");
                    let (from, to, shared) = (copy(from), copy(to), Arc::clone(&of_thread));
                    thread::spawn(move || carry(&shared, number, from, to, counts));
                }
                let mut pairs = of_thread.pairs.lock().expect("nobody panicked");
                pairs.extend([near, far]);
            }
        });
        Self { port: own, shared }
    }

    /// Ends all connections; new ones are taken.
    pub(crate) fn cut(&self) {
        let mut pairs = self.shared.pairs.lock().expect("nobody panicked");
        for stream in pairs.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections and takes no new ones, until [`repair`](Self::repair).
    pub(crate) fn take_down(&self) {
        self.shared.down.store(true, Ordering::SeqCst);
        self.cut();
    }

    /// Takes connections again.
    pub(crate) fn repair(&self) {
        self.shared.down.store(false, Ordering::SeqCst);
    }

    /// The connections there are carry nothing any more, and nobody is told: half-open. New ones work.
    pub(crate) fn freeze(&self) {
        let made = self.shared.connections.load(Ordering::SeqCst);
        self.shared.silent_before.store(made, Ordering::SeqCst);
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// How many bytes came from the server.
    pub(crate) fn received(&self) -> u64 {
        self.shared.received.load(Ordering::SeqCst)
    }
}

fn carry(shared: &Shared, number: usize, mut from: TcpStream, mut to: TcpStream, counts: bool) {
    let mut bytes = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        while number < shared.silent_before.load(Ordering::SeqCst) {
            // What is read from a silent connection is never handed on; the thread ends with the test's process.
            thread::park_timeout(Duration::from_secs(3600));
        }
        if counts {
            shared.received.fetch_add(count as u64, Ordering::SeqCst);
        }
        if to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
