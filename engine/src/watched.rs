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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::chain::{Block, Protocol, Stage};
    use crate::metrics::Scope;
    use crate::wire::name::wire_from_text;

    #[test]
    fn block_and_stage_are_seen() {
        let block = |zone: &str, stages: &[Stage]| {
            let zone = wire_from_text(zone).unwrap();
            Block::new(zone, Arc::from(stages), Scope::NONE)
        };
        let listener = Listener {
            addresses: Vec::new(),
            protocol: Protocol::Dns,
            blocks: vec![
                block("who.test", &[Stage::LoadBalance, Stage::Any, Stage::Whoami]),
                block("nobody.test", &[Stage::LoadBalance]),
            ],
            timeouts: crate::plugins::timeouts::Timeouts::default(),
            other_classes: false,
            scope: Scope::NONE,
        };
        let here = SocketAddr::from(([127, 0, 0, 1], 53));
        let peer = Peer {
            remote: here,
            local: here,
            stream: true,
            answer_from: None,
            received: Instant::now(),
        };
        let (log, _lines) = LogSink::new();
        let look = |name: &str| {
            let mut packet = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            packet.extend(wire_from_text(name).unwrap().iter());
            packet.extend([0, 1, 0, 1]);
            watch(&packet, peer, (&listener, &log), None).unwrap()
        };
        let seen = look("x.who.test");
        assert_eq!((seen.block, seen.passed), (Some(0), 2));
        assert_eq!(seen.step, Some(Step::Answered));
        assert_eq!(seen.rcode, Rcode::NOERROR);
        assert_eq!(seen.reply[..2], [0, 1]);
        let seen = look("nobody.test");
        assert_eq!((seen.block, seen.passed), (Some(1), 1));
        let failed = matches!(seen.step, Some(Step::Failed(Rcode::SERVFAIL, _)));
        assert!(failed, "{:?}", seen.step);
        let seen = look("elsewhere.test");
        assert_eq!((seen.block, seen.step), (None, None));
        assert_eq!(seen.rcode, Rcode::REFUSED);
        assert!(watch(b"no query", peer, (&listener, &log), None).is_none());
    }
}
