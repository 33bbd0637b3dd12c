//! The UDP workers: one thread a core, with sockets of its own.
//!
//! A worker answers batches of datagrams ([`turn`]) that one of two loops moves: [`mmsg`] with
//! `recvmmsg` and `sendmmsg`, [`ring`] with io_uring. The second one ends in the first.
//!
//! Once a turn a worker looks whether there is a newer plan. If sockets are gone with it, what had
//! arrived in them is answered with the plan before.

mod mmsg;
mod ring;
mod turn;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::chain::{Peer, Plan, Random};
use crate::metrics::Recorder;
use crate::respond::{Response, Scratch, after_fault, shed};
use crate::server::{Serving, Shared};
use crate::slow::ReplyTo;
use crate::sys::batch::{Batch, Datagram};
use crate::sys::ring::Ring;
use crate::sys::send::allow_fragments;
use crate::top::Observer;

/// How long an idle worker sleeps before it looks whether the server is to stop.
const IDLE: Duration = Duration::from_millis(100);

/// Batches answered after the stop, or of a socket that is to be closed: more than the largest
/// receive buffer holds.
const LAST_TURNS_MAX: usize = 256;

/// How long a worker waits, once its sockets get nothing new, for what is being put into them.
const LEAVING: Duration = Duration::from_millis(2);

/// A worker's socket and which listener of the plan it belongs to.
#[derive(Clone)]
pub(crate) struct WorkerSocket {
    /// Shared with the slow path, which answers through it.
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) address: SocketAddr,
    pub(crate) listener: usize,
}

impl WorkerSocket {
    /// Has the kernel give this socket's share of the datagrams to the other sockets on its address:
    /// those of a server that takes over. What it holds already can still be read and answered.
    ///
    /// A worker stops reading before its sockets are closed, since the slow path still answers
    /// through them; without this, what came in between would be lost. A connected socket gets only
    /// what its peer sends; this one's peer is the socket itself.
    fn leave(&self) {
        let loopback = match self.address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        };
        let mut itself = self.address;
        if itself.ip().is_unspecified() {
            itself.set_ip(loopback);
        }
        if let Err(error) = self.socket.connect(itself) {
            tracing::debug!(address = %self.address, %error, "cannot leave the address to others");
        }
    }
}

/// What a worker answers with, whichever loop moves its datagrams.
struct Worker<'s> {
    shared: &'s Shared,
    newest: arc_swap::Cache<&'s arc_swap::ArcSwap<Serving>, Arc<Serving>>,
    number: usize,
    scratch: Scratch,
    recorder: Recorder,
    observer: Observer,
}

impl<'s> Worker<'s> {
    fn new(shared: &'s Shared, number: usize, serving: &Serving) -> Self {
        Self {
            shared,
            newest: arc_swap::Cache::new(&shared.serving),
            number,
            scratch: Scratch::default(),
            recorder: serving.plan.metrics.recorder(),
            observer: Observer::new(Random::new().next().into()),
        }
    }

    /// What is to be served from now on, if it is something else.
    #[inline]
    fn newer_than(&mut self, serving: &Arc<Serving>) -> Option<Arc<Serving>> {
        let newest = self.newest.load();
        (!Arc::ptr_eq(newest, serving)).then(|| Arc::clone(newest))
    }

    /// Goes over to something newer: what waits in sockets that are not there any more is answered
    /// as before.
    fn go_over(&mut self, serving: &mut Arc<Serving>, newer: Arc<Serving>, batch: &mut Batch) {
        let old = std::mem::replace(serving, newer);
        if !Arc::ptr_eq(&old.plan.metrics, &serving.plan.metrics) {
            self.recorder = serving.plan.metrics.recorder();
        }
        let kept = &serving.sockets[self.number];
        for socket in &old.sockets[self.number] {
            if !kept
                .iter()
                .any(|it| Arc::ptr_eq(&it.socket, &socket.socket))
            {
                for _ in 0..LAST_TURNS_MAX {
                    if !matches!(mmsg::turn(self, &old.plan, socket, batch), Ok(1..)) {
                        break;
                    }
                }
            }
        }
        self.publish();
    }

    fn is_stopping(&self) -> bool {
        self.shared.stopping.load(Ordering::Relaxed)
    }

    /// Sees to what came of a message: counts it, and hands it on if it is not answered yet. Returns
    /// the length of the reply that is to be sent now.
    #[inline]
    fn done(
        &mut self,
        (plan, socket): (&Arc<Plan>, &WorkerSocket),
        (message, peer): (&[u8], impl Fn() -> Option<Peer>),
        response: Response,
        room: &mut [u8],
    ) -> Option<usize> {
        let len = match response {
            Response::Reply(len) => Some(len),
            Response::None => None,
            Response::ReplyAndRefresh(len) => {
                // No room: somebody else will find it worth refreshing.
                let _ = self.submit((plan, socket), (message, peer()?), ReplyTo::Nobody);
                Some(len)
            }
            Response::Slow => {
                let reply = ReplyTo::Datagram(Arc::clone(&socket.socket));
                match self.submit((plan, socket), (message, peer()?), reply) {
                    Ok(()) => None,
                    Err(_) => shed(message, false, &mut self.scratch, room),
                }
            }
        };
        self.recorder.record(&self.scratch.seen);
        if self.observer.looks()
            && let Some(peer) = peer()
        {
            self.shared.windows[self.number].see(&self.scratch, &peer);
        }
        len
    }

    /// Hands the message that was answered last to the slow path.
    fn submit(
        &self,
        (plan, socket): (&Arc<Plan>, &WorkerSocket),
        (message, peer): (&[u8], Peer),
        reply: ReplyTo,
    ) -> Result<(), ReplyTo> {
        let at = (plan, socket.listener);
        self.shared
            .slow
            .submit(message, self.scratch.name(), at, peer, reply)
    }

    /// Answers a datagram that made us panic.
    #[cold]
    fn after_panic(
        &mut self,
        plan: &Plan,
        socket: &WorkerSocket,
        datagram: Datagram<'_>,
        received: Instant,
        room: &mut [u8],
    ) -> Option<usize> {
        let listener = plan.listeners.get(socket.listener)?;
        let at = (peer(socket, datagram, received), &**listener);
        let len = after_fault(datagram.message, at, &mut self.scratch, room);
        self.recorder.record(&self.scratch.seen);
        len
    }

    /// Shows what was counted.
    fn publish(&self) {
        self.shared.counters[self.number].publish(&self.scratch.tally);
    }
}

/// Has the kernel send replies without numbering them for fragments. IPv4 alone does.
fn refuse_fragments(sockets: &[WorkerSocket]) {
    for socket in sockets.iter().filter(|it| it.address.is_ipv4()) {
        // Slower where it cannot be had.
        let _ = allow_fragments(socket.socket.as_fd(), false);
    }
}

#[inline]
fn peer(socket: &WorkerSocket, datagram: Datagram<'_>, received: Instant) -> Peer {
    let port = socket.address.port();
    let local = datagram.local.map(|ip| SocketAddr::new(ip, port));
    Peer {
        remote: datagram.remote,
        local: local.unwrap_or(socket.address),
        stream: false,
        answer_from: datagram.local,
        received,
    }
}

/// Serves until the server stops, then what had already arrived.
fn run(shared: &Shared, worker: usize, mut serving: Arc<Serving>, ring: Option<Ring>) {
    let mut worker = Worker::new(shared, worker, &serving);
    if let Some(ring) = ring {
        ring::run(&mut worker, &mut serving, ring);
    }
    mmsg::run(&mut worker, serving);
}

/// Starts the thread of a worker on its core.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    worker: usize,
    core: Option<core_affinity::CoreId>,
    serving: Arc<Serving>,
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
            run(&shared, worker, serving, ring);
        })
}
