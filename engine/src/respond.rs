//! From a received message to the reply: the seam that every loop, bench, fuzzer and test calls.

use crate::chain::{Context, Listener, Outcome, Peer, Random};
use crate::log::LogSink;
use crate::wire::query::QueryError;
use crate::wire::reply::write_error;
use crate::wire::{Class, FoldedName, Query, Rcode, Reply};

/// What a worker keeps from query to query, so that none of it is made anew.
#[derive(Default)]
pub struct Scratch {
    name: FoldedName,
    random: Random,
    /// What was answered and what was not.
    pub tally: Tally,
}

/// Plain counts of one worker since it last handed them over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Messages received.
    pub received: u64,
    /// Replies by response code; the last place counts all codes from 15 on.
    pub replies: [u64; 16],
    /// Messages that got no reply on purpose.
    pub dropped: u64,
    /// Queries handed to the slow path, or shed by it.
    pub slow: u64,
    /// Replies that the kernel refused to send.
    pub unsent: u64,
}

impl Tally {
    /// The number of counts.
    pub const LEN: usize = 20;

    /// The counts in a fixed order.
    pub(crate) fn values(&self) -> [u64; Self::LEN] {
        let mut values = [0; Self::LEN];
        values[..16].copy_from_slice(&self.replies);
        values[16..].copy_from_slice(&[self.received, self.dropped, self.slow, self.unsent]);
        values
    }

    pub(crate) fn from_values(values: &[u64; Self::LEN]) -> Self {
        let mut replies = [0; 16];
        replies.copy_from_slice(&values[..16]);
        let [received, dropped, slow, unsent] = [values[16], values[17], values[18], values[19]];
        Self {
            received,
            replies,
            dropped,
            slow,
            unsent,
        }
    }
}

/// What to do after [`respond`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Response {
    /// Send the first so many octets of the buffer.
    Reply(usize),
    /// Send nothing.
    None,
}

/// Answers one message. `buf` is where the reply goes; it must hold at least 512 octets, and
/// [`crate::limits::MESSAGE_LEN_MAX`] to leave large answers whole.
pub fn respond(
    message: &[u8],
    peer: Peer,
    listener: &Listener,
    log: &LogSink,
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Response {
    scratch.tally.received += 1;
    let query = match Query::parse(message, &mut scratch.name) {
        Ok(query) => query,
        Err(error) => {
            let Some(rcode) = error.rcode() else {
                scratch.tally.dropped += 1;
                return Response::None;
            };
            let question = if error == QueryError::Record {
                Query::question_only(message, &mut scratch.name)
            } else {
                None
            };
            scratch.tally.replies[usize::from(rcode.0)] += 1;
            return Response::Reply(write_error(message, rcode, question.as_ref(), buf));
        }
    };
    let mut reply = Reply::new(buf, &query, peer.stream);
    let outcome = if query.qclass != Class::IN && !listener.other_classes {
        reply.set_rcode(Rcode::REFUSED);
        Outcome::Reply
    } else if query.edns.is_some_and(|edns| edns.version != 0) {
        reply.set_rcode(Rcode::BADVERS);
        Outcome::Reply
    } else {
        let mut context = Context {
            query,
            name: &scratch.name,
            peer,
            listener,
            rotation: None,
            nesting: 0,
            random: &mut scratch.random,
            log,
        };
        context.serve(&mut reply)
    };
    match outcome {
        Outcome::Reply => {}
        Outcome::Dropped => {
            scratch.tally.dropped += 1;
            return Response::None;
        }
        Outcome::Slow => {
            // Nothing stands behind the fast path yet that could go on with the query.
            scratch.tally.slow += 1;
            reply.clear();
            reply.set_rcode(Rcode::SERVFAIL);
        }
    }
    scratch.tally.replies[usize::from(reply.rcode().0).min(15)] += 1;
    Response::Reply(reply.finish(query.edns.as_ref()))
}
