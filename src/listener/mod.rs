//! HTTP over TCP, for whoever has something to answer: binding, TLS, limits, request ids, and a stop in order.
//!
//! Whoever listens implements [`Serve`] and sees whole bodies alone; or brings an HTTP service of their own, which reads bodies as they
//! come and may answer for as long as it likes ([`Bound::serve_streams`]). Both are served by the same loop; what TLS is made of stays in here. What one sender may take is bounded in every
//! direction: the time for a head and for a body, the size of both, and the number of connections, of which the one that has kept
//! hem waiting longest makes place for a new one. A request whose body has arrived is carried out to its end, also when its
//! sender goes away.

mod connections;
mod forwarded;
mod message;
mod server;
mod stream;
mod tls;
mod whole;

pub use self::message::{Head, Response, Serve};
pub use self::server::{BindError, Bound, bind};
pub use self::stream::{BodyError, Inbound, Peer};
pub use self::tls::TlsError;
