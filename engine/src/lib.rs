//! The packet half of martlet: wire format, index, plugin chain, sockets and workers.
//!
//! The way of a packet: a worker ([`server`], `net::udp`) receives a batch and parses its queries
//! ([`wire`]), which has the entries that they ask for fetched (`hints`). Then [`respond`] finds
//! each one's server block and walks the plugins ([`chain`], [`plugins`]), which answer from the
//! [`index`]; the batch of replies leaves in one system call.
//!
//! Five promises of that way: no heap allocation, no lock, no log call that waits, no panic on any
//! input, no waiting for control. Names that lead elsewhere (ExternalName) and the query log are
//! off it and may allocate.

pub mod chain;
pub mod counters;
pub mod gathered;
mod hints;
pub mod index;
pub mod limits;
pub mod log;
pub mod net;
pub mod plugins;
pub mod respond;
pub mod server;
pub mod slow;
pub mod sys;
pub mod upstream;
pub mod wire;
