//! ZMTP, the protocol of ZeroMQ's sockets (RFC 23/ZMTP 3.0, RFC 37/ZMTP 3.1), as far as hem needs it: the NULL mechanism
//! over TCP and Unix sockets, for SUB and REQ, and for the PUB and REP that stand in for a hook manager.
//!
//! It is written for a peer that cannot be trusted to be a ZeroMQ socket at all: every wait of a handshake has a
//! deadline, memory grows with the bytes that arrived and never with a length that was announced, and what is not
//! understood ends the connection with a sentence that says why.

pub mod codec;
mod endpoint;
mod session;

use std::fmt;

pub use self::endpoint::{Endpoint, InvalidEndpoint};
pub use self::session::{
    ConnectError, HandshakeError, Keepalive, Options, ReceiveError, RequestError, Requester, Session,
};
pub(super) use self::session::{Reader, Writer};

/// The kinds of ZeroMQ sockets that hem is or talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Publishes.
    Pub,
    /// Subscribes.
    Sub,
    /// Asks.
    Req,
    /// Answers.
    Rep,
}

impl SocketType {
    /// The name in the READY command.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Req => "REQ",
            Self::Rep => "REP",
        }
    }

    /// Whether a socket of this kind works with one of the kind `peer` (RFC 23, "Socket Types").
    pub fn works_with(self, peer: &str) -> bool {
        match self {
            Self::Pub => matches!(peer, "SUB" | "XSUB"),
            Self::Sub => matches!(peer, "PUB" | "XPUB"),
            Self::Req => matches!(peer, "REP" | "ROUTER"),
            Self::Rep => matches!(peer, "REQ" | "DEALER"),
        }
    }
}

impl fmt::Display for SocketType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
