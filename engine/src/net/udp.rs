//! The UDP loop: receive a batch, answer each in place, send the replies.
//!
//! Under load a turn is two system calls a busy socket for up to 64 queries; `poll` is only called
//! when nothing was there, and now and then for the sake of the other sockets. An io_uring form of
//! the loop would call the same `respond`.

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::chain::Peer;
use crate::respond::{Response, Scratch, respond, shed};
use crate::server::Shared;
use crate::slow::ReplyTo;
use crate::sys::batch::Batch;
use crate::sys::poll::PollSet;

/// How long an idle worker sleeps before it looks whether the server is to stop.
const IDLE: Duration = Duration::from_millis(100);

/// Turns after which sockets that were idle are looked at again while others are busy.
const TURNS_BETWEEN_LOOKS: u32 = 16;

/// Batches answered after the stop: more than the largest receive buffer holds.
const LAST_TURNS_MAX: usize = 256;

/// A worker's socket and which listener of the plan it belongs to.
pub(crate) struct WorkerSocket {
    /// Shared with the slow path, which answers through it.
    pub(crate) socket: Arc<UdpSocket>,
    pub(crate) address: SocketAddr,
    pub(crate) listener: usize,
}

/// Serves until the server stops, then what had already arrived.
pub(crate) fn run(shared: &Shared, worker: usize, sockets: &[WorkerSocket]) {
    let mut poll = PollSet::new(sockets.iter().map(|socket| socket.socket.as_fd()));
    let mut batch = Batch::new();
    let mut scratch = Scratch::default();
    let mut plan = arc_swap::Cache::new(&shared.plan);
    let mut recorder = plan.load().metrics.recorder();
    let mut last_turns = LAST_TURNS_MAX;
    let mut turn = 0_u32;
    loop {
        turn = turn.wrapping_add(1);
        let stopping = shared.stopping.load(Ordering::Relaxed);
        if stopping || turn.is_multiple_of(TURNS_BETWEEN_LOOKS) {
            poll.set_all_ready();
        }
        let mut received = 0;
        for (place, socket) in sockets.iter().enumerate() {
            if !poll.is_ready(place) {
                continue;
            }
            let plan = plan.load();
            let Some(listener) = plan.listeners.get(socket.listener) else {
                continue;
            };
            let count = match batch.receive(socket.socket.as_fd()) {
                Ok(count) => count,
                Err(error) => {
                    tracing::error!(address = %socket.address, %error, "cannot receive");
                    std::thread::sleep(IDLE);
                    continue;
                }
            };
            if count == 0 {
                poll.set_empty(place);
                continue;
            }
            received += count;
            let now = Instant::now();
            for slot in 0..count {
                let Some((datagram, room)) = batch.slot(slot) else {
                    continue;
                };
                let local = datagram.local.map_or(socket.address, |ip| {
                    SocketAddr::new(ip, socket.address.port())
                });
                let peer = Peer {
                    remote: datagram.remote,
                    local,
                    stream: false,
                    answer_from: datagram.local,
                    received: now,
                };
                let message = datagram.message;
                let response = respond(message, peer, listener, &plan.log, &mut scratch, room);
                let len = match response {
                    Response::Reply(len) => Some(len),
                    Response::None => None,
                    Response::ReplyAndRefresh(len) => {
                        let at = (plan, socket.listener);
                        let name = scratch.name();
                        // No room: somebody else will find it worth refreshing.
                        let _ = shared.slow.submit(message, name, at, peer, ReplyTo::Nobody);
                        Some(len)
                    }
                    Response::Slow => {
                        let reply = ReplyTo::Datagram(Arc::clone(&socket.socket));
                        let at = (plan, socket.listener);
                        let name = scratch.name();
                        match shared.slow.submit(message, name, at, peer, reply) {
                            Ok(()) => None,
                            Err(_) => shed(message, false, &mut scratch, room),
                        }
                    }
                };
                recorder.record(&scratch.seen);
                if let Some(len) = len {
                    batch.queue(slot, len);
                }
                if !batch.has_room() {
                    scratch.tally.unsent += batch.send(socket.socket.as_fd()) as u64;
                }
            }
            scratch.tally.unsent += batch.send(socket.socket.as_fd()) as u64;
            recorder.end_batch(|| now.elapsed());
        }
        if received > 0 {
            shared.counters[worker].publish(&scratch.tally);
        }
        if stopping {
            // Clients may go on sending for ever; what counts is what was there before.
            last_turns -= 1;
            if received == 0 || last_turns == 0 {
                return;
            }
        } else if received > 0 {
            continue;
        } else if let Err(error) = poll.wait(IDLE) {
            tracing::error!(%error, "cannot wait for sockets");
            std::thread::sleep(IDLE);
        }
    }
}

/// Starts the thread of a worker on its core.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    worker: usize,
    core: Option<core_affinity::CoreId>,
    sockets: Vec<WorkerSocket>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new()
        .name(format!("worker-{worker}"))
        .spawn(move || {
            if let Some(core) = core
                && !core_affinity::set_for_current(core)
            {
                tracing::warn!(core = core.id, "cannot pin a worker to its core");
            }
            run(&shared, worker, &sockets);
        })
}
