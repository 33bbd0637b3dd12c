//! The same over io_uring: one system call sends the replies of the last turn and waits for the
//! datagrams of the next.

use std::time::Instant;

use super::{IDLE, Worker, WorkerSocket};
use crate::sys::ring::Ring;

/// Turns after the stop in which what is under way may end.
const LAST_TURNS_MAX: usize = 64;

/// Serves until the server stops, or the ring breaks, and answers what the ring had taken by then.
/// What has not left the sockets is for the other loop.
pub(super) fn run(worker: &mut Worker<'_>, sockets: &[WorkerSocket], mut ring: Ring) {
    if let Err(error) = ring.enable() {
        tracing::error!(%error, "the ring of a worker cannot be used");
        return;
    }
    let mut plan = arc_swap::Cache::new(&worker.shared.plan);
    let mut last_turns = LAST_TURNS_MAX;
    loop {
        let stopping = worker.is_stopping();
        if stopping {
            last_turns -= 1;
            if ring.is_idle() || last_turns == 0 {
                return;
            }
            ring.stop();
        }
        if let Err(error) = ring.turn(IDLE) {
            tracing::error!(%error, "the ring of a worker is broken");
            return;
        }
        let plan = plan.load();
        let now = Instant::now();
        let received = ring.answer(|place, datagram, room| {
            worker.answer(plan, &sockets[place], datagram, now, room)
        });
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
