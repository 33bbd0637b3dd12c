//! The UDP workers: one thread a core, with sockets of its own.
//!
//! A worker answers datagrams ([`Worker::answer`]) that one of two loops moves: [`mmsg`] with
//! `recvmmsg` and `sendmmsg`, [`ring`] with io_uring. The second one ends in the first.

mod mmsg;
mod ring;

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::chain::{Peer, Plan};
use crate::metrics::Recorder;
use crate::respond::{Response, Scratch, respond, shed};
use crate::server::Shared;
use crate::slow::ReplyTo;
use crate::sys::batch::Datagram;
use crate::sys::ring::Ring;

/// How long an idle worker sleeps before it looks whether the server is to stop.
const IDLE: Duration = Duration::from_millis(100);

/// A worker's socket and which listener of the plan it belongs to.
pub(crate) struct WorkerSocket {
    /// Shared with the slow path, which answers through it.
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) address: SocketAddr,
    pub(crate) listener: usize,
}

/// What a worker answers with, whichever loop moves its datagrams.
struct Worker<'s> {
    shared: &'s Shared,
    number: usize,
    scratch: Scratch,
    recorder: Recorder,
}

impl<'s> Worker<'s> {
    fn new(shared: &'s Shared, number: usize) -> Self {
        Self {
            shared,
            number,
            scratch: Scratch::default(),
            recorder: shared.plan.load().metrics.recorder(),
        }
    }

    fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }

    /// Answers one datagram, or has the slow path do it. Returns the length of the reply that is to
    /// be sent now.
    #[inline]
    fn answer(
        &mut self,
        plan: &Arc<Plan>,
        socket: &WorkerSocket,
        datagram: Datagram<'_>,
        received: Instant,
        room: &mut [u8],
    ) -> Option<usize> {
        let listener = plan.listeners.get(socket.listener)?;
        let local = datagram.local.map_or(socket.address, |ip| {
            SocketAddr::new(ip, socket.address.port())
        });
        let peer = Peer {
            remote: datagram.remote,
            local,
            stream: false,
            answer_from: datagram.local,
            received,
        };
        let message = datagram.message;
        let scratch = &mut self.scratch;
        let at = (plan, socket.listener);
        let slow = &self.shared.slow;
        let len = match respond(message, peer, listener, &plan.log, scratch, room) {
            Response::Reply(len) => Some(len),
            Response::None => None,
            Response::ReplyAndRefresh(len) => {
                // No room: somebody else will find it worth refreshing.
                let _ = slow.submit(message, scratch.name(), at, peer, ReplyTo::Nobody);
                Some(len)
            }
            Response::Slow => {
                let reply = ReplyTo::Datagram(Arc::clone(&socket.socket));
                match slow.submit(message, scratch.name(), at, peer, reply) {
                    Ok(()) => None,
                    Err(_) => shed(message, false, scratch, room),
                }
            }
        };
        self.recorder.record(&scratch.seen);
        len
    }

    /// Shows what was counted.
    fn publish(&self) {
        self.shared.counters[self.number].publish(&self.scratch.tally);
    }
}

/// Serves until the server stops, then what had already arrived.
fn run(shared: &Shared, worker: usize, sockets: &[WorkerSocket], ring: Option<Ring>) {
    let mut worker = Worker::new(shared, worker);
    if let Some(ring) = ring {
        ring::run(&mut worker, sockets, ring);
    }
    mmsg::run(&mut worker, sockets);
}

/// Starts the thread of a worker on its core.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    worker: usize,
    core: Option<core_affinity::CoreId>,
    sockets: Vec<WorkerSocket>,
    ring: Option<Ring>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(core = core.id, "cannot pin a worker to its core");
            }
            run(&shared, worker, &sockets, ring);
        })
}
