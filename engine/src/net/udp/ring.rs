//! The same over io_uring: one system call sends the replies of the last turn and waits for the
//! datagrams of the next.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use super::{IDLE, Worker, WorkerSocket, refuse_fragments, turn};
use crate::net::io;
use crate::server::Serving;
use crate::sys::batch::{Batch, Datagram};
use crate::sys::ring::{self, Ring};
use crate::sys::send::send_from;

/// Turns after the stop in which what is under way may end.
const LAST_TURNS_MAX: usize = 64;

/// Serves until the server stops, or the ring breaks, and answers what the ring had taken by then.
/// What has not left the sockets is for the other loop.
///
/// A ring knows the sockets that it was made with: for others there is a new one.
pub(super) fn run(worker: &mut Worker<'_>, serving: &mut Arc<Serving>, mut ring: Ring) {
    while let Some(newer) = serve(worker, serving, ring) {
        worker.go_over(serving, newer, &mut Batch::new());
        ring = match io::ring(worker.shared.io, &serving.sockets[worker.number]) {
            Ok(Some(ring)) => ring,
            Ok(None) => return,
            Err(error) => {
                tracing::error!(%error, "a worker has no ring for its new sockets");
                return;
            }
        };
    }
}

/// Serves with one ring until the server stops, the ring breaks, or there are other sockets.
fn serve(
    worker: &mut Worker<'_>,
    serving: &mut Arc<Serving>,
    mut ring: Ring,
) -> Option<Arc<Serving>> {
    if let Err(error) = ring.enable() {
        tracing::error!(%error, "the ring of a worker cannot be used");
        return None;
    }
    refuse_fragments(&serving.sockets[worker.number]);
    let mut last_turns = LAST_TURNS_MAX;
    let mut next: Option<Arc<Serving>> = None;
    loop {
        if next.is_some() || worker.is_stopping() {
            last_turns -= 1;
            if ring.is_idle() || last_turns == 0 {
                return next;
            }
            ring.stop();
        }
        if let Err(error) = ring.turn(IDLE) {
            tracing::error!(%error, "the ring of a worker is broken");
            return None;
        }
        // After the wait, so that what came now is answered as things are now.
        if next.is_none()
            && let Some(newer) = worker.newer_than(serving)
        {
            let number = worker.number;
            if are_same(&serving.sockets[number], &newer.sockets[number]) {
                worker.go_over(serving, newer, &mut Batch::new());
            } else {
                next = Some(newer);
            }
        }
        let number = worker.number;
        let now = Instant::now();
        ring.resend(|place, message, remote, local| {
            let socket = serving.sockets[number][place].socket.as_fd();
            send_from(socket, message, remote, local).is_ok()
        });
        let mut received = 0;
        while let Some((place, datagrams, mut answers)) = ring.batch() {
            let socket = &serving.sockets[number][place];
            let kept = next.as_ref().and_then(|next| {
                let mut sockets = next.sockets[number].iter();
                let kept = sockets.find(|it| Arc::ptr_eq(&it.socket, &socket.socket));
                kept.map(|kept| (&next.plan, kept))
            });
            let at = kept.unwrap_or((&serving.plan, socket));
            let count = datagrams.count();
            turn::answer(worker, at, (datagrams, count), &mut answers, now);
            received += count;
        }
        worker.scratch.tally.unsent += ring.take_unsent();
        if received > 0 {
            worker.recorder.end_batch(|| now.elapsed());
            worker.publish();
        } else if let Some(error) = ring.take_error() {
            tracing::error!(%error, "cannot receive");
            std::thread::sleep(IDLE);
        }
    }
}

impl<'r> turn::Received<'r> for ring::Received<'r> {
    #[inline]
    fn message(&self, slot: usize) -> &'r [u8] {
        ring::Received::message(self, slot)
    }

    #[inline]
    fn is_ipv6(&self, slot: usize) -> Option<bool> {
        ring::Received::is_ipv6(self, slot)
    }

    #[inline]
    fn datagram(&self, slot: usize) -> Option<Datagram<'r>> {
        ring::Received::datagram(self, slot)
    }
}

impl turn::Answers for ring::Answers<'_> {
    #[inline]
    fn room(&mut self) -> &mut [u8] {
        ring::Answers::room(self)
    }

    #[inline]
    fn queue(&mut self, slot: usize, len: usize) {
        ring::Answers::queue(self, slot, len);
    }
}

/// Whether a ring may go on.
fn are_same(old: &[WorkerSocket], new: &[WorkerSocket]) -> bool {
    old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(old, new)| Arc::ptr_eq(&old.socket, &new.socket))
}
