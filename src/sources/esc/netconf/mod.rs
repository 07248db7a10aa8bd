//! ESC's notifications over NETCONF.
//!
//! What is said and heard is pure: how messages are told apart, what a session says and hears, the server's errors in words, what the
//! server says of its streams, and how far its events were read. What connects is apart from it: the link through SSH, the listener
//! that drives a session, the questions that it asks on others, and the line in which events wait until they are durable.

mod asking;
mod deployments;
mod framing;
mod hello;
mod inquiry;
mod ledger;
mod line;
mod listener;
mod look;
pub mod probe;
mod reply;
mod request;
mod session;
mod ssh;
mod streams;

pub use self::framing::{Decoder, Frame, Framing, FramingFault, framed};
pub use self::hello::HelloFault;
pub use self::inquiry::{Inquiry, InquiryFault};
pub(super) use self::listener::{Notifications, QUEUE};
pub use self::reply::{Reply, RpcError, read_reply};
pub use self::session::{Heard, Session, SessionFault, Subscription};
pub use self::streams::Stream;
