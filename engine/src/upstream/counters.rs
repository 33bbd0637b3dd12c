//! What is counted about one server. Slow-path threads share these: an exchange costs so much more
//! than a shared line.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{DurationTotals, Durations, RCODES};
use crate::wire::Rcode;

/// What carries questions to a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// UDP.
    Udp,
    /// TCP.
    Tcp,
    /// TLS.
    Tls,
}

impl Carrier {
    /// All of them, each at its own place.
    pub const ALL: [Self; 3] = [Self::Udp, Self::Tcp, Self::Tls];

    /// CoreDNS's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tcp-tls",
        }
    }
}

/// What is counted about one server.
#[derive(Debug, Default)]
pub struct UpstreamCounters {
    durations: [OnceLock<Box<Durations>>; RCODES],
    reused: [AtomicU64; Carrier::ALL.len()],
    opened: [AtomicU64; Carrier::ALL.len()],
    forged: AtomicU64,
}

impl UpstreamCounters {
    /// A reply came after so long.
    pub(super) fn replied(&self, rcode: Rcode, after: Duration) {
        let place = usize::from(rcode.0).min(RCODES - 1);
        self.durations[place]
            .get_or_init(Box::default)
            .record(after);
    }

    /// A question got a connection or socket, which was there already or not.
    pub(super) fn connected(&self, carrier: Carrier, reused: bool) {
        let counts = if reused { &self.reused } else { &self.opened };
        counts[carrier as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody tried to forge this server's replies.
    pub(super) fn forged(&self) {
        self.forged.fetch_add(1, Ordering::Relaxed);
    }

    /// Sockets given up because somebody tried to forge this server's replies.
    pub fn forgeries(&self) -> u64 {
        self.forged.load(Ordering::Relaxed)
    }

    /// How long replies took, by response code; the last code is any from 24 on.
    pub fn durations(&self) -> impl Iterator<Item = (usize, DurationTotals)> {
        let known = self.durations.iter().enumerate();
        known.filter_map(|(rcode, durations)| Some((rcode, durations.get()?.totals())))
    }

    /// Questions that found a connection or socket, and those for which one was opened.
    pub fn connections(&self, carrier: Carrier) -> (u64, u64) {
        let of = |counts: &[AtomicU64; 3]| counts[carrier as usize].load(Ordering::Relaxed);
        (of(&self.reused), of(&self.opened))
    }
}
