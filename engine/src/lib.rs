//! The packet half of martlet: wire format, index, plugin chain, sockets and workers.
//!
//! The way of a packet: a worker ([`server`], `net::udp`) receives a batch, [`respond`] parses each
//! query ([`wire`]), finds its server block and walks the plugins ([`chain`], [`plugins`]), which
//! answer from the [`index`]; the batch of replies leaves in one system call.
//!
//! Five promises of that way: no heap allocation, no lock, no log call that waits, no panic on any
//! input, no waiting for control. Names that lead elsewhere (ExternalName) and the query log are
//! off it and may allocate.

pub mod chain;
pub mod counters;
mod direct;
pub mod gathered;
pub mod index;
mod inner;
pub mod limits;
pub mod log;
pub mod metrics;
pub mod net;
mod open_table;
pub mod pattern;
pub mod plugins;
pub mod respond;
pub mod script;
pub mod server;
pub mod slow;
pub mod sys;
pub mod top;
pub mod upstream;
pub mod watched;
pub mod wire;
