//! The NETCONF protocol as far as a listener to notifications needs it: how messages are told apart, what a session says and hears, and
//! the server's errors in words. Pure; nothing connects here.

mod framing;
mod reply;
mod session;

pub use self::framing::{Decoder, Frame, Framing, FramingFault, framed};
pub use self::reply::{Reply, RpcError, read_reply};
pub use self::session::{Heard, Session, SessionFault, Subscription};
