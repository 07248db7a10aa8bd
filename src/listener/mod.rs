//! HTTP over TCP, for whoever has something to answer: binding, TLS, limits, request ids, and a stop in order.
//!
//! Whoever listens implements [`Serve`]; what HTTP and TLS are made of stays in here. What one sender may take is bounded in every
//! direction: the time for a head and for a body, the size of both, and the number of connections, of which the one that has kept
//! hem waiting longest makes place for a new one. A request whose body has arrived is carried out to its end, also when its
//! sender goes away.

mod connections;
mod message;
mod server;
mod tls;

pub use self::message::{Head, Response, Serve};
pub use self::server::{BindError, Bound, bind};
pub use self::tls::TlsError;
