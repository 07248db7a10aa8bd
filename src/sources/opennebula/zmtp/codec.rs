//! ZMTP's greeting, frames and commands over bytes, without input or output.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::SocketType;

/// The length of a greeting.
pub const GREETING_LEN: usize = 64;

/// All parts of a message together may have this many bytes. The largest event seen from a real `oned` has 4 MB.
pub const MAX_MESSAGE: usize = 64 << 20;

/// A message may have this many parts; the hook manager's have two.
pub const MAX_PARTS: usize = 16;

/// A command may have this many bytes; real ones have less than a hundred.
pub const MAX_COMMAND: usize = 64 << 10;

/// A PING's context may have this many bytes (RFC 37).
const MAX_PING_CONTEXT: usize = 16;

/// After a frame larger than this the buffer is given back, so that one large message does not cost memory for ever.
const KEPT_CAPACITY: usize = 1 << 20;

/// Bytes of a peer's answer shown when it is no greeting.
const SAMPLE_LEN: usize = 24;

const MORE: u8 = 0b001;
const LONG: u8 = 0b010;
const COMMAND: u8 = 0b100;

/// What a peer sent in place of a greeting that this program can go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GreetingError {
    /// Another protocol that was recognised.
    #[error("the peer speaks {0}, not ZMTP")]
    OtherProtocol(&'static str),
    /// Something else.
    #[error("the peer does not speak ZMTP; it sent `{sample}`")]
    NotZmtp {
        /// What it sent first, escaped.
        sample: String,
    },
    /// A ZeroMQ library before 4.0.
    #[error("the peer speaks ZMTP {0}; version 3 is needed (libzmq 4.0 or newer)")]
    OldVersion(u8),
    /// A mechanism other than NULL.
    #[error("the peer asks for the security mechanism `{0}`; only NULL is supported")]
    Mechanism(String),
}

/// The greeting hem sends.
///
/// It says version 3.0, so that subscriptions are exchanged as messages: the one form that libzmq 4.x and the other
/// implementations all take.
pub fn greeting() -> [u8; GREETING_LEN] {
    let mut greeting = [0; GREETING_LEN];
    greeting[0] = 0xff;
    greeting[9] = 0x7f;
    greeting[10] = 3;
    greeting[12..16].copy_from_slice(b"NULL");
    greeting
}

/// Looks at what arrived of the peer's greeting; true when it is complete and hem can go on with it.
///
/// # Errors
/// As soon as the bytes so far cannot become such a greeting.
pub fn check_greeting(received: &[u8]) -> Result<bool, GreetingError> {
    let Some(first) = received.first() else {
        return Ok(false);
    };
    if *first != 0xff || received.get(9).is_some_and(|b| b & 1 == 0) {
        return Err(name_protocol(received));
    }
    if let Some(major) = received.get(10)
        && *major < 3
    {
        // Before version 3 this byte was a revision, counted from 0 for ZMTP 1.0.
        return Err(GreetingError::OldVersion((*major + 1).min(2)));
    }
    let Some(greeting) = received.get(..GREETING_LEN) else {
        return Ok(false);
    };
    let mechanism = &greeting[12..32];
    let end = mechanism.iter().position(|b| *b == 0).unwrap_or(mechanism.len());
    if &mechanism[..end] != b"NULL" {
        return Err(GreetingError::Mechanism(escape(&mechanism[..end])));
    }
    Ok(true)
}

fn name_protocol(received: &[u8]) -> GreetingError {
    const KNOWN: [(&[u8], &str); 5] = [
        (b"HTTP/", "HTTP"),
        (b"SSH-", "SSH"),
        (b"\x15\x03", "TLS"),
        (b"<?xml", "XML"),
        (b"220 ", "SMTP or FTP"),
    ];
    match KNOWN.iter().find(|(start, _)| received.starts_with(start)) {
        Some((_, name)) => GreetingError::OtherProtocol(name),
        None => GreetingError::NotZmtp {
            sample: escape(&received[..received.len().min(SAMPLE_LEN)]),
        },
    }
}

fn escape(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

/// What a peer sent after the greeting that is no ZMTP, or beyond the limits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Reserved flags are set: this is no frame, or one of a version that does not exist yet.
    #[error("the peer sent a frame with the unknown flags {0:#010b}: not ZMTP, or a damaged stream")]
    UnknownFlags(u8),
    /// The announced length is beyond the limit; nothing was allocated for it.
    #[error("the peer announced {announced} bytes, more than the limit of {limit}")]
    TooLong {
        /// The bytes of the message so far and those announced.
        announced: u64,
        /// The limit.
        limit: usize,
    },
    /// More parts than any message has.
    #[error("the peer sent a message of more than {MAX_PARTS} parts")]
    TooManyParts,
    /// A command's name or content does not fit its frame.
    #[error("the peer sent a malformed command")]
    MalformedCommand,
}

/// What arrives after the greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Traffic {
    /// A message with its parts.
    Message(Vec<Bytes>),
    /// A command.
    Command(Command),
}

/// A command: part of the protocol, never seen by the user of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The handshake's last step.
    Ready {
        /// The kind of socket the peer says it is; empty when it does not say.
        socket_type: String,
    },
    /// The peer refuses the connection.
    Error {
        /// Why, in its words.
        reason: String,
    },
    /// The peer wants to hear that this side is alive.
    Ping {
        /// To be sent back in the PONG.
        context: Bytes,
    },
    /// A subscription in the form of ZMTP 3.1.
    Subscribe {
        /// The prefix subscribed to.
        prefix: Bytes,
    },
    /// The end of a subscription in the form of ZMTP 3.1.
    Cancel {
        /// The prefix no longer subscribed to.
        prefix: Bytes,
    },
    /// Any other, to be ignored as RFC 23 says.
    Other {
        /// Its name.
        name: String,
    },
}

/// Turns bytes, however they are cut, into messages and commands.
///
/// It holds at most what was fed and not yet taken, and never reserves room for what a header announces.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    parts: Vec<Bytes>,
    parts_len: usize,
}

/// A frame's header.
#[derive(Clone, Copy)]
struct Header {
    flags: u8,
    len: usize,
    body: u64,
}

impl Decoder {
    /// The buffer to put received bytes into.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next message or command; none until more bytes arrive.
    ///
    /// # Errors
    /// When the bytes are not ZMTP or beyond a limit. The connection is of no use then: asking again gives the same error.
    pub fn take(&mut self) -> Result<Option<Traffic>, FrameError> {
        while let Some(header) = read_header(&self.buffer)? {
            self.check(header)?;
            let Some(body) = usize::try_from(header.body)
                .ok()
                .and_then(|len| self.buffer.get(header.len..header.len.checked_add(len)?))
            else {
                return Ok(None);
            };
            let consumed = header.len + body.len();
            if header.flags & COMMAND != 0 {
                // libzmq sends its heartbeats even between the parts of a message.
                let command = read_command(body)?;
                self.consume(consumed);
                return Ok(Some(Traffic::Command(command)));
            }
            // A copy, so that a small frame that is kept does not keep the whole buffer.
            let part = Bytes::copy_from_slice(body);
            self.consume(consumed);
            self.parts_len += part.len();
            self.parts.push(part);
            if header.flags & MORE == 0 {
                self.parts_len = 0;
                return Ok(Some(Traffic::Message(std::mem::take(&mut self.parts))));
            }
        }
        Ok(None)
    }

    fn check(&self, header: Header) -> Result<(), FrameError> {
        let (so_far, limit) = if header.flags & COMMAND == 0 {
            (self.parts_len, MAX_MESSAGE)
        } else {
            (0, MAX_COMMAND)
        };
        let announced = header.body.saturating_add(so_far as u64);
        if announced > limit as u64 {
            return Err(FrameError::TooLong { announced, limit });
        }
        if header.flags & COMMAND == 0 && self.parts.len() == MAX_PARTS {
            return Err(FrameError::TooManyParts);
        }
        Ok(())
    }

    fn consume(&mut self, len: usize) {
        if len > KEPT_CAPACITY {
            self.buffer = BytesMut::from(&self.buffer[len..]);
        } else {
            self.buffer.advance(len);
        }
    }
}

fn read_header(bytes: &[u8]) -> Result<Option<Header>, FrameError> {
    let Some((&flags, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if flags & !(MORE | LONG | COMMAND) != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        return Err(FrameError::UnknownFlags(flags));
    }
    if flags & LONG == 0 {
        return Ok(rest.first().map(|&len| Header {
            flags,
            len: 2,
            body: u64::from(len),
        }));
    }
    Ok(rest.first_chunk().map(|&len| Header {
        flags,
        len: 9,
        body: u64::from_be_bytes(len),
    }))
}

fn read_command(body: &[u8]) -> Result<Command, FrameError> {
    let malformed = FrameError::MalformedCommand;
    let (name, data) = split_short(body).ok_or(malformed.clone())?;
    Ok(match name {
        b"READY" => Command::Ready {
            socket_type: read_socket_type(data).ok_or(malformed)?,
        },
        b"ERROR" => Command::Error {
            reason: escape(split_short(data).ok_or(malformed)?.0),
        },
        b"PING" => {
            // A time to live comes first, in tenths of a second; hem relies on TCP to notice a dead peer.
            let context = data
                .get(2..)
                .filter(|context| context.len() <= MAX_PING_CONTEXT)
                .ok_or(malformed)?;
            Command::Ping {
                context: Bytes::copy_from_slice(context),
            }
        }
        b"SUBSCRIBE" => Command::Subscribe {
            prefix: Bytes::copy_from_slice(data),
        },
        b"CANCEL" => Command::Cancel {
            prefix: Bytes::copy_from_slice(data),
        },
        other => Command::Other { name: escape(other) },
    })
}

/// The value of `Socket-Type` in READY's properties; names are compared without regard to case.
fn read_socket_type(mut properties: &[u8]) -> Option<String> {
    let mut socket_type = String::new();
    while !properties.is_empty() {
        let (name, rest) = split_short(properties)?;
        let (&len, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(len)).ok()?)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            socket_type = escape(value);
        }
        properties = rest;
    }
    Some(socket_type)
}

/// Splits off a string with its length in one octet before it.
fn split_short(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

/// Writes a message.
pub fn write_message(parts: &[&[u8]], out: &mut BytesMut) {
    for (n, part) in parts.iter().enumerate() {
        let more = if n + 1 < parts.len() { MORE } else { 0 };
        write_frame(more, part, out);
    }
}

/// Writes the handshake's last step.
pub fn write_ready(socket_type: SocketType, out: &mut BytesMut) {
    const NAME: &[u8] = b"\x05READY\x0bSocket-Type\0\0\0";
    let value = socket_type.as_str().as_bytes();
    // Every socket type's name has fewer than 256 characters: the length's last octet is the length.
    let body = [NAME, &[value.len() as u8], value].concat();
    write_frame(COMMAND, &body, out);
}

/// Writes the answer to a PING.
pub fn write_pong(context: &[u8], out: &mut BytesMut) {
    write_frame(COMMAND, &[b"\x04PONG", context].concat(), out);
}

fn write_frame(flags: u8, body: &[u8], out: &mut BytesMut) {
    match u8::try_from(body.len()) {
        Ok(len) => out.extend_from_slice(&[flags, len]),
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body.len() as u64);
        }
    }
    out.extend_from_slice(body);
}

#[cfg(test)]
mod tests;
