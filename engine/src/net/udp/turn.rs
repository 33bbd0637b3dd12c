//! Answering a batch of datagrams, whichever loop moves them.

use std::sync::Arc;
use std::time::Instant;

use super::{Worker, WorkerSocket, peer};
use crate::chain::{Peer, Plan};
use crate::respond::{Datagrams, Replies, Response, Scratch, respond_to_all, unless_panic};
use crate::sys::batch::Datagram;

/// Datagrams that came to one socket.
pub(super) trait Received<'b>: Copy {
    /// The message of datagram `slot`.
    fn message(&self, slot: usize) -> &'b [u8];

    /// Whether the sender of datagram `slot` has an IPv6 address; `None` if it has no IP address.
    fn is_ipv6(&self, slot: usize) -> Option<bool>;

    /// Datagram `slot`. `None` if its sender has no address that can be answered.
    fn datagram(&self, slot: usize) -> Option<Datagram<'b>>;
}

/// Where the replies to them go.
pub(super) trait Answers {
    /// The room for the next reply, which may have any size.
    fn room(&mut self) -> &mut [u8];

    /// Takes the first `len` octets of the room as the reply to datagram `slot`.
    fn queue(&mut self, slot: usize, len: usize);
}

/// Answers so many datagrams of a socket.
pub(super) fn answer<'b>(
    worker: &mut Worker<'_>,
    (plan, socket): (&Arc<Plan>, &WorkerSocket),
    (received, count): (impl Received<'b>, usize),
    answers: &mut impl Answers,
    now: Instant,
) {
    let Some(listener) = plan.listeners.get(socket.listener) else {
        return;
    };
    let arrived = Arrived {
        socket,
        received,
        now,
    };
    let mut turn = Turn {
        worker,
        plan,
        arrived,
        answers,
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
}

/// A batch that was received.
#[derive(Clone, Copy)]
struct Arrived<'w, R> {
    socket: &'w WorkerSocket,
    received: R,
    now: Instant,
}

impl<'b, R: Received<'b>> Datagrams<'b> for Arrived<'_, R> {
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
struct Turn<'w, 's, R, A> {
    worker: &'w mut Worker<'s>,
    plan: &'w Arc<Plan>,
    arrived: Arrived<'w, R>,
    answers: &'w mut A,
    /// The first datagram that is not done with.
    next: usize,
}

impl<'b, R: Received<'b>, A: Answers> Replies for Turn<'_, '_, R, A> {
    fn scratch(&mut self) -> &mut Scratch {
        &mut self.worker.scratch
    }

    fn parts(&mut self) -> (&mut Scratch, &mut [u8]) {
        (&mut self.worker.scratch, self.answers.room())
    }

    #[inline]
    fn done(&mut self, slot: usize, response: Response) {
        let to = (self.plan, self.arrived.socket);
        let from = (self.arrived.message(slot), || self.arrived.peer(slot));
        let room = self.answers.room();
        if let Some(len) = self.worker.done(to, from, response, room) {
            self.answers.queue(slot, len);
        }
        self.next = slot + 1;
    }
}

impl<'b, R: Received<'b>, A: Answers> Turn<'_, '_, R, A> {
    #[cold]
    fn after_panic(&mut self, slot: usize) {
        let Arrived {
            socket,
            received,
            now,
        } = self.arrived;
        if let Some(datagram) = received.datagram(slot) {
            let (plan, room) = (self.plan, self.answers.room());
            if let Some(len) = self.worker.after_panic(plan, socket, datagram, now, room) {
                self.answers.queue(slot, len);
            }
        }
        self.next = slot + 1;
    }
}
