//! Receive a batch, answer each in place, send the replies.
//!
//! Under load a turn is two system calls a busy socket for up to 64 queries; `poll` is only called
//! when nothing was there, and now and then for the sake of the other sockets.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::{IDLE, LAST_TURNS_MAX, LEAVING, Worker, WorkerSocket, peer};
use crate::chain::{Peer, Plan};
use crate::respond::{Datagrams, Replies, Response, Scratch, respond_to_all, unless_panic};
use crate::server::Serving;
use crate::sys::batch::{Answers, Batch, Received};
use crate::sys::poll::PollSet;
use crate::sys::send::allow_fragments;

/// Turns after which sockets that were idle are looked at again while others are busy.
const TURNS_BETWEEN_LOOKS: u32 = 16;

/// Serves until the server stops, then what had already arrived.
pub(super) fn run(worker: &mut Worker<'_>, mut serving: Arc<Serving>) {
    let mut poll = take_up(&serving.sockets[worker.number]);
    let mut batch = Batch::new();
    let mut last_turns = LAST_TURNS_MAX;
    let mut count = 0_u32;
    let mut has_left = false;
    loop {
        count = count.wrapping_add(1);
        let stopping = worker.is_stopping();
        if let Some(newer) = worker.newer_than(&serving) {
            worker.go_over(&mut serving, newer, &mut batch);
            poll = take_up(&serving.sockets[worker.number]);
        }
        if stopping && !has_left {
            has_left = true;
            let sockets = &serving.sockets[worker.number];
            sockets.iter().for_each(WorkerSocket::leave);
            // A datagram that the kernel had a place for already is in it by then.
            std::thread::sleep(LEAVING);
        }
        if stopping || count.is_multiple_of(TURNS_BETWEEN_LOOKS) {
            poll.set_all_ready();
        }
        let mut received = 0;
        for (place, socket) in serving.sockets[worker.number].iter().enumerate() {
            if !poll.is_ready(place) {
                continue;
            }
            match turn(worker, &serving.plan, socket, &mut batch) {
                Ok(0) => poll.set_empty(place),
                Ok(count) => received += count,
                Err(error) => {
                    tracing::error!(address = %socket.address, %error, "cannot receive");
                    std::thread::sleep(IDLE);
                }
            }
        }
        if received > 0 {
            worker.publish();
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

/// Makes sockets ready for this loop, and says what to wait for.
fn take_up(sockets: &[WorkerSocket]) -> PollSet {
    for socket in sockets.iter().filter(|it| it.address.is_ipv4()) {
        // Slower where it cannot be had.
        let _ = allow_fragments(socket.socket.as_fd(), false);
    }
    PollSet::new(sockets.iter().map(|socket| socket.socket.as_fd()))
}

/// Answers a batch of what waits in a socket, and says how much that was.
pub(super) fn turn(
    worker: &mut Worker<'_>,
    plan: &Arc<Plan>,
    socket: &WorkerSocket,
    batch: &mut Batch,
) -> io::Result<usize> {
    let count = batch.receive(socket.socket.as_fd())?;
    let Some(listener) = plan.listeners.get(socket.listener).filter(|_| count > 0) else {
        return Ok(0);
    };
    let now = Instant::now();
    let (received, replies) = batch.split();
    let arrived = Arrived {
        socket,
        received,
        now,
    };
    let mut turn = Turn {
        worker,
        plan,
        arrived,
        replies,
        next: 0,
    };
    // Up to the one that makes us panic, if that is known.
    let mut end = count;
    while turn.next < count {
        let (mut at, slots) = (turn.next, turn.next..end);
        // Once a batch, so that it costs nothing as long as nothing panics.
        let whole = unless_panic(|| {
            respond_to_all(slots, (&arrived, &mut turn), (listener, &plan.log), &mut at);
        });
        if whole.is_none() {
            // It may have been read ahead: those before it come first.
            end = at;
        }
        if whole.is_some() {
            turn.next = end;
        }
        if turn.next == end && end < count {
            turn.after_panic(end);
            end = count;
        }
    }
    turn.send();
    worker.recorder.end_batch(|| now.elapsed());
    Ok(count)
}

/// A batch that was received.
#[derive(Clone, Copy)]
struct Arrived<'b> {
    socket: &'b WorkerSocket,
    received: &'b Received,
    now: Instant,
}

impl<'b> Datagrams<'b> for Arrived<'b> {
    #[inline]
    fn message(&self, slot: usize) -> &'b [u8] {
        self.received.message(slot)
    }

    #[inline]
    fn is_ipv6(&self, slot: usize) -> Option<bool> {
        self.received.is_ipv6(slot)
    }

    #[inline]
    fn received(&self) -> Instant {
        self.now
    }

    #[inline]
    fn peer(&self, slot: usize) -> Option<Peer> {
        Some(peer(self.socket, self.received.datagram(slot)?, self.now))
    }
}

/// The answering of a batch.
struct Turn<'b, 's> {
    worker: &'b mut Worker<'s>,
    plan: &'b Arc<Plan>,
    arrived: Arrived<'b>,
    replies: Answers<'b>,
    /// The first datagram that is not done with.
    next: usize,
}

impl Replies for Turn<'_, '_> {
    fn scratch(&mut self) -> &mut Scratch {
        &mut self.worker.scratch
    }

    fn parts(&mut self) -> (&mut Scratch, &mut [u8]) {
        (&mut self.worker.scratch, self.replies.room())
    }

    #[inline]
    fn done(&mut self, slot: usize, response: Response) {
        let to = (self.plan, self.arrived.socket);
        let from = (self.arrived.message(slot), || self.arrived.peer(slot));
        let room = self.replies.room();
        if let Some(len) = self.worker.done(to, from, response, room) {
            self.queue(slot, len);
        }
        self.next = slot + 1;
    }
}

impl Turn<'_, '_> {
    #[cold]
    fn after_panic(&mut self, slot: usize) {
        let Arrived {
            socket,
            received,
            now,
        } = self.arrived;
        if let Some(datagram) = received.datagram(slot) {
            let (plan, room) = (self.plan, self.replies.room());
            let worker = &mut *self.worker;
            if let Some(len) = worker.after_panic(plan, socket, datagram, now, room) {
                self.queue(slot, len);
            }
        }
        self.next = slot + 1;
    }

    fn queue(&mut self, slot: usize, len: usize) {
        self.replies.queue(slot, len);
        if !self.replies.has_room() {
            self.send();
        }
    }

    fn send(&mut self) {
        let unsent = self.replies.send(self.arrived.socket.socket.as_fd());
        self.worker.scratch.tally.unsent += unsent as u64;
    }
}
