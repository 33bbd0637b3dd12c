//! The packet half of martlet: wire format, index, plugin chain, sockets and workers.

pub mod chain;
pub mod index;
pub mod limits;
pub mod log;
pub mod plugins;
pub mod respond;
pub mod wire;
