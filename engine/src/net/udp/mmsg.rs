//! Receive a batch, answer each in place, send the replies.
//!
//! Under load a turn is two system calls a busy socket for up to 64 queries; `poll` is only called
//! when nothing was there, and now and then for the sake of the other sockets.

use std::os::fd::AsFd;
use std::time::Instant;

use super::{IDLE, Worker, WorkerSocket};
use crate::sys::batch::Batch;
use crate::sys::poll::PollSet;

/// Turns after which sockets that were idle are looked at again while others are busy.
const TURNS_BETWEEN_LOOKS: u32 = 16;

/// Batches answered after the stop: more than the largest receive buffer holds.
const LAST_TURNS_MAX: usize = 256;

/// Serves until the server stops, then what had already arrived.
pub(super) fn run(worker: &mut Worker<'_>, sockets: &[WorkerSocket]) {
    let mut poll = PollSet::new(sockets.iter().map(|socket| socket.socket.as_fd()));
    let mut batch = Batch::new();
    let mut plan = arc_swap::Cache::new(&worker.shared.plan);
    let mut last_turns = LAST_TURNS_MAX;
    let mut turn = 0_u32;
    loop {
        turn = turn.wrapping_add(1);
        let stopping = worker.is_stopping();
        if stopping || turn.is_multiple_of(TURNS_BETWEEN_LOOKS) {
            poll.set_all_ready();
        }
        let mut received = 0;
        for (place, socket) in sockets.iter().enumerate() {
            if !poll.is_ready(place) {
                continue;
            }
            let plan = plan.load();
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
                if let Some(len) = worker.answer(plan, socket, datagram, now, room) {
                    batch.queue(slot, len);
                }
                if !batch.has_room() {
                    worker.scratch.tally.unsent += batch.send(socket.socket.as_fd()) as u64;
                }
            }
            worker.scratch.tally.unsent += batch.send(socket.socket.as_fd()) as u64;
            worker.recorder.end_batch(|| now.elapsed());
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
