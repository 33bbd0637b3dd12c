//! The server's slow path without its sockets and its waiting.

use std::sync::Arc;
use std::time::Instant;

use martlet_engine::chain::{Listener, Peer};
use martlet_engine::gathered::{ExchangeError, Exchanged, Gathered, Need};
use martlet_engine::respond::{Response, Resumed, Scratch, respond, resume};
use martlet_engine::wire::message::{MessageError, question_of};
use martlet_engine::wire::walk::{record_at, skip_name};

use super::cluster::{GROUP, LOG, wire};

/// How often the chain may be walked for one query. What is asked here needs an upstream and a
/// look-up at most.
const WALKS_MAX: usize = 8;

/// What a query is answered, by upstreams as well if need be; `None` for nothing. A look-up inside
/// of it gets what upstreams say at once.
pub(super) fn answer(
    listener: &Listener,
    query: &[u8],
    stream: bool,
    upstream: impl Fn(&[u8]) -> Exchanged,
) -> Option<Vec<u8>> {
    let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
    let response = respond(query, peer(stream), listener, &LOG, &mut scratch, &mut buf);
    if !matches!(response, Response::Slow) {
        return reply(query, response, &buf);
    }
    let mut gathered = Gathered::new(false);
    for _ in 0..WALKS_MAX {
        let (response, need) = walk(listener, query, stream, (&gathered, 0), &mut buf);
        match need {
            Some(Need::Exchange { group, request }) => {
                gathered.add_exchange(group, question_of(&request).into(), upstream(&request));
            }
            Some(Need::LookUp(look_up)) => {
                let (mut inner, request) = (Gathered::new(false), &look_up.packet);
                let question = question_of(request).into();
                inner.add_exchange(Arc::clone(&GROUP), question, upstream(request));
                let mut buf = vec![0; 65_535];
                let (response, _) = walk(listener, request, stream, (&inner, 1), &mut buf);
                let reply = reply(request, response, &buf);
                gathered.add_look_up(look_up, reply);
            }
            Some(Need::Pause { number, .. }) => gathered.pause = Some(number),
            None => return reply(query, response, &buf),
        }
    }
    panic!("a query that asks for ever: {query:02x?}");
}

/// Walks the chain once, with what is gathered and the depth of look-ups.
fn walk(
    listener: &Listener,
    query: &[u8],
    stream: bool,
    (gathered, nesting): (&Gathered, u8),
    buf: &mut [u8],
) -> (Response, Option<Need>) {
    let resumed = Resumed { gathered, nesting };
    let (plan, mut scratch) = ((listener, &*LOG), Scratch::default());
    let (response, stuck) = resume(query, peer(stream), plan, resumed, &mut scratch, buf);
    (response, stuck.map(|stuck| stuck.need))
}

/// The reply, which must be one.
fn reply(query: &[u8], response: Response, buf: &[u8]) -> Option<Vec<u8>> {
    let (Response::Reply(len) | Response::ReplyAndRefresh(len)) = response else {
        return None;
    };
    let reply = buf[..len].to_vec();
    assert_well_formed(query, &reply);
    Some(reply)
}

/// What every reply must be: the query's ID, QR set, and records that fill the message as its
/// counts say. Replies that say FORMERR or NOTIMP may lack the question.
fn assert_well_formed(query: &[u8], reply: &[u8]) {
    assert!(reply.len() >= 12 && reply[..2] == query[..2] && reply[2] & 0x80 != 0);
    let count = |at: usize| usize::from(u16::from_be_bytes([reply[at], reply[at + 1]]));
    let mut at = 12;
    for _ in 0..count(4) {
        at = skip_name(reply, at).expect("a question") + 4;
    }
    for _ in 0..[6, 8, 10].map(count).iter().sum() {
        at = record_at(reply, at)
            .expect("as many records as it says")
            .end;
    }
    assert_eq!(at, reply.len(), "nothing follows the last record");
}

/// A client, over TCP or UDP.
fn peer(stream: bool) -> Peer {
    let remote = "192.0.2.1:4242".parse().expect("an address");
    Peer {
        remote,
        local: remote,
        stream,
        answer_from: None,
        received: Instant::now(),
    }
}

/// A query with an OPT of this payload size; without one if it is zero.
pub(super) fn query(name: &str, qtype: u8, payload_size: u16) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0".to_vec();
    query.push(u8::from(payload_size > 0));
    query.extend(wire(name));
    query.extend([0, qtype, 0, 1]);
    if payload_size > 0 {
        query.extend([0, 0, 41]);
        query.extend(payload_size.to_be_bytes());
        query.extend([0, 0, 0x80, 0, 0, 0]);
    }
    query
}

/// What the slow path makes of a reply that is none.
pub(super) fn failure(error: MessageError) -> ExchangeError {
    match error {
        MessageError::Question => ExchangeError::Mismatch,
        MessageError::Malformed => ExchangeError::Failed("malformed".into()),
    }
}
