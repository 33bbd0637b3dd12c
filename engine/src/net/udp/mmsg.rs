//! Receive a batch, answer each in place, send the replies.
//!
//! Under load a turn is two system calls a busy socket for up to 64 queries; `poll` is only called
//! when nothing was there, and now and then for the sake of the other sockets.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::{IDLE, LAST_TURNS_MAX, LEAVING, Worker, WorkerSocket, refuse_fragments, turn};
use crate::chain::Plan;
use crate::server::Serving;
use crate::sys::batch::{self, Batch, Datagram};
use crate::sys::poll::PollSet;

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
    refuse_fragments(sockets);
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
    if count == 0 {
        return Ok(0);
    }
    let now = Instant::now();
    let (received, answers) = batch.split();
    let mut sender = Sender {
        answers,
        socket,
        unsent: 0,
    };
    turn::answer(worker, (plan, socket), (received, count), &mut sender, now);
    sender.send();
    worker.scratch.tally.unsent += sender.unsent;
    worker.recorder.end_batch(|| now.elapsed());
    Ok(count)
}

impl<'b> turn::Received<'b> for &'b batch::Received {
    #[inline]
    fn message(&self, slot: usize) -> &'b [u8] {
        batch::Received::message(self, slot)
    }

    #[inline]
    fn is_ipv6(&self, slot: usize) -> Option<bool> {
        batch::Received::is_ipv6(self, slot)
    }

    #[inline]
    fn datagram(&self, slot: usize) -> Option<Datagram<'b>> {
        batch::Received::datagram(self, slot)
    }
}

/// Sends replies when they are all there, or there is no room for more.
struct Sender<'b> {
    answers: batch::Answers<'b>,
    socket: &'b WorkerSocket,
    unsent: u64,
}

impl Sender<'_> {
    fn send(&mut self) {
        self.unsent += self.answers.send(self.socket.socket.as_fd()) as u64;
    }
}

impl turn::Answers for Sender<'_> {
    #[inline]
    fn room(&mut self) -> &mut [u8] {
        self.answers.room()
    }

    #[inline]
    fn queue(&mut self, slot: usize, len: usize) {
        self.answers.queue(slot, len);
        if !self.answers.has_room() {
            self.send();
        }
    }
}
