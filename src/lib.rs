//! hem runs scripts when a cloud controller says something happened, keeps a durable record of every run, and retries.
//!
//! The rooms of the house, in the order an event passes them:
//!
//! * [`sources`]: one module a system; decodes what arrives and hands [`event::Event`]s to the intake.
//! * [`event`]: what happened: events, payloads, identifiers, times.
//! * [`hooks`]: what the operator declared: YAML in, checked [`hooks::Hook`]s out; the folder, its last good set.
//! * [`expression`]: CEL over one event, for `when:` and `${{ … }}`.
//! * [`matching`]: which hooks an event triggers, and why not. Pure.
//! * [`engine`]: the scheduler core (pure) and the dispatcher that carries its effects out.
//! * [`store`]: the journal, executions, counters; the only room that knows sled.
//! * [`runner`]: the life of one child process.
//! * [`oned`]: the API of OpenNebula's daemon.
//! * [`keystone`]: the API of OpenStack's identity service.
//! * [`http_client`]: questions over HTTP.
//! * [`secrets`]: what hem and others know, read again when it changes.
//! * [`control`]: HTTP on a Unix socket: queries, live feed, orders.
//! * [`cli`]: one file a command.
//! * [`config`]: what `hem.yaml` says.
//! * [`kill_point`]: where tests end the daemon; empty in a build for users.
//! * [`file_stamp`]: whether a file changed since it was last looked at.
//! * [`watched`]: what is read from files, and again when they change.
//! * [`repeats`]: how often the log says the same thing.
//! * [`quantity`]: durations and sizes as people write them.
//! * [`daemon`]: wires the rooms together, and ends them.

pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod event;
pub mod expression;
pub mod file_stamp;
pub mod hooks;
pub mod http_client;
pub mod keystone;
pub mod kill_point;
pub mod listener;
pub mod matching;
pub mod oned;
pub mod quantity;
pub mod repeats;
pub mod runner;
pub mod secrets;
pub mod sources;
pub mod store;
pub mod watched;
