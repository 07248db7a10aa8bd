//! The scheduler: a pure core that decides, and a dispatcher that carries its effects out.

pub mod core;
pub mod execution;
pub mod handle;
pub mod intake;
