//! One query through the chain with somebody watching: for tools. Serving does not come here.

use crate::chain::{Context, Listener, Outcome, Peer, Random, Step};
use crate::gathered::{Gathered, Need};
use crate::log::LogSink;
use crate::wire::{FoldedName, Query, Rcode, Reply};

/// What was seen of a query on its way.
pub struct Watched {
    /// The place of the server block in the listener; `None` if no block took the query.
    pub block: Option<usize>,
    /// How many stages it passed before one said `step`.
    pub passed: usize,
    /// What that stage said; `None` if no block took the query.
    pub step: Option<Step>,
    /// What became of the query.
    pub outcome: Outcome,
    /// What it needs, if it cannot go on without.
    pub need: Option<Need>,
    /// The reply's code.
    pub rcode: Rcode,
    /// The reply, if there is one.
    pub reply: Vec<u8>,
}

/// Walks a query (class IN, as over TCP) through the chain. `None` if it does not parse.
pub fn watch(
    packet: &[u8],
    peer: Peer,
    (listener, log): (&Listener, &LogSink),
    gathered: Option<&Gathered>,
) -> Option<Watched> {
    let mut name = FoldedName::default();
    let query = Query::parse(packet, &mut name).ok()?;
    let mut random = Random::new();
    let mut context = Context::new(query, &name, &peer, listener, &mut random, log);
    context.gathered = gathered;
    let mut buf = vec![0; crate::limits::MESSAGE_LEN_MAX];
    let mut reply = Reply::new(&mut buf, &query, true);
    let mut seen = None;
    let outcome = context.serve_watched(&mut reply, |block, passed, step| {
        let place = listener
            .blocks
            .iter()
            .position(|known| std::ptr::eq(known, block));
        seen = Some((place, passed, step));
    });
    let need = context.need.take();
    let rcode = reply.rcode();
    let len = reply.finish(query.edns.as_ref());
    buf.truncate(if outcome == Outcome::Reply { len } else { 0 });
    let (block, passed, step) = match seen {
        Some((block, passed, step)) => (block, passed, Some(step)),
        None => (None, 0, None),
    };
    Some(Watched {
        block,
        passed,
        step,
        outcome,
        need,
        rcode,
        reply: buf,
    })
}
