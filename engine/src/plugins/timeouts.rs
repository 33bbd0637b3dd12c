//! `timeouts`: how long connections may take for what, and how many queries they may bring.

use std::num::NonZeroU32;
use std::time::Duration;

/// What connections to one address may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// From the beginning of a connection to its first query; over HTTPS for each request, once its
    /// head is there. As much again for the handshake of TLS.
    pub read: Duration,
    /// For a client to take what is written.
    pub write: Duration,
    /// From one query to the next.
    pub idle: Duration,
    /// Queries of a connection over TCP or TLS, after which it is closed; `None` for any number.
    pub queries_max: Option<NonZeroU32>,
}

impl Timeouts {
    /// What holds unless a Corefile says otherwise, as in CoreDNS.
    pub const DEFAULT: Self = Self {
        read: Duration::from_secs(3),
        write: Duration::from_secs(5),
        idle: Duration::from_secs(10),
        queries_max: None,
    };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}
