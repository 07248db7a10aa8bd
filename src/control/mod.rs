//! HTTP on a Unix socket and, where that is configured, over TCP: queries, the live feed, orders, and the page.
//!
//! * `access`: who calls and what they may do: tokens, sessions, names of hosts.
//! * [`api`]: what goes over the socket, as types of its own.
//! * [`server`]: binding the socket, knowing who calls, serving.
//! * [`client`]: the typed calls of the command line.
//! * `explanation`: why an event triggers each hook or not; `activity`: what ended in each of the last minutes.
//! * `metrics`: the same status for Prometheus.
//! * [`export`] and [`import`]: records as lines, out of a store and into another one.
//! * [`query`]: reading the store in the interface's terms; also used where no daemon is alive.

mod access;
mod activity;
mod address;
pub mod api;
mod arguments;
mod asked;
pub mod client;
mod convert;
pub mod cursor;
mod explanation;
pub mod export;
mod feed;
mod health;
pub mod import;
mod metrics;
mod mutes;
pub mod openapi;
mod operations;
mod page;
mod pool;
mod problem;
pub mod query;
mod room;
mod routes;
pub mod seek;
pub mod server;
mod veil;
pub use self::access::{TokenError, secret as new_token};
pub use self::convert::outcome as outcome_view;
pub use self::veil::Veil;
