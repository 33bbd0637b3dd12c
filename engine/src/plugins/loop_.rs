//! `loop`: notices that upstreams send queries back to us.
//!
//! Control asks the server for a name that nobody else knows. Whoever forwards it back shows it to
//! us again, and the process ends before it eats up its machine. CoreDNS waits for the third
//! sight; here the second is the last, because identical questions in flight are sent only once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use crate::chain::{Context, Step};
use crate::wire::RType;

/// One `loop` of a block.
pub struct Loop {
    /// The name that control asks for; lower-case wire name.
    name: Box<[u8]>,
    seen: AtomicU32,
    off: AtomicBool,
    found: Box<dyn Fn(SocketAddr) + Send + Sync>,
}

impl Loop {
    /// A detector that calls `found` with the sender of a query for `name` that came back.
    pub fn new(name: Box<[u8]>, found: impl Fn(SocketAddr) + Send + Sync + 'static) -> Self {
        Self {
            name,
            seen: AtomicU32::new(0),
            off: AtomicBool::new(false),
            found: Box::new(found),
        }
    }

    /// The name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Forgets what was seen, after a probe that did not get through.
    pub fn reset(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }

    /// Stops looking.
    pub fn turn_off(&self) {
        self.off.store(true, Ordering::Relaxed);
    }

    pub(crate) fn query(&self, context: &Context<'_>) -> Step {
        if context.query.qtype == RType::HINFO
            // The slow path walks the chain several times for one query.
            && context.gathered.is_none()
            && !self.off.load(Ordering::Relaxed)
            && *context.name.wire() == *self.name
            && self.seen.fetch_add(1, Ordering::Relaxed) > 0
        {
            (self.found)(context.peer.remote);
        }
        Step::Next
    }
}
