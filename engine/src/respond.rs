//! From a received message to the reply: the seam that every loop, bench, fuzzer and test calls.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use crate::chain::{Context, Listener, Outcome, Peer, Protocol, Random};
use crate::direct::{Aim, Ground};
use crate::gathered::{Gathered, Need};
use crate::log::LogSink;
use crate::metrics::{Observation, Plugin};
use crate::plugins::transfer::Outgoing;
use crate::sys::epoch::Pinned;
use crate::wire::query::QueryError;
use crate::wire::reply::write_error;
use crate::wire::{Class, Edns, FoldedName, Query, Rcode, Reply};

/// What a worker keeps from query to query, so that none of it is made anew.
#[derive(Default)]
pub struct Scratch {
    names: Box<[FoldedName; Self::AHEAD]>,
    /// The place of the name of the message that was answered last.
    last: usize,
    random: Random,
    /// What was answered and what was not.
    pub tally: Tally,
    /// What is to be counted of the message that was seen last.
    pub seen: Observation,
    /// The messages that follow the reply, for whoever serves streams to take and send.
    pub outgoing: Option<Box<Outgoing>>,
}

impl Scratch {
    /// Messages that may be read ahead: enough for the first one's entry to arrive meanwhile.
    const AHEAD: usize = 16;
    /// Look-ups that are finished before the answer that needs the first of them: enough for what
    /// that answer reads besides to arrive.
    const LEAD: usize = 6;

    /// The name of the message that came last, if the chain has seen it.
    pub fn name(&self) -> &FoldedName {
        &self.names[self.last]
    }

    /// The name of the message that came last, in lower case.
    pub(crate) fn octets(&self) -> &[u8] {
        self.names[self.last].octets()
    }

    /// Where to read the name of a message to.
    const fn open(&mut self, place: usize) -> &mut FoldedName {
        &mut self.names[place]
    }
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
    /// Queries handed to the slow path.
    pub slow: u64,
    /// Queries that the slow path had no room for.
    pub shed: u64,
    /// Replies that the kernel refused to send.
    pub unsent: u64,
}

impl Tally {
    /// The number of counts.
    pub const LEN: usize = 21;

    /// The counts in a fixed order.
    pub(crate) fn values(&self) -> [u64; Self::LEN] {
        let mut values = [0; Self::LEN];
        values[..16].copy_from_slice(&self.replies);
        values[16..].copy_from_slice(&[
            self.received,
            self.dropped,
            self.slow,
            self.shed,
            self.unsent,
        ]);
        values
    }

    pub(crate) fn from_values(values: &[u64; Self::LEN]) -> Self {
        let mut replies = [0; 16];
        replies.copy_from_slice(&values[..16]);
        let [received, dropped, slow, shed, unsent] =
            [16, 17, 18, 19, 20].map(|place| values[place]);
        Self {
            received,
            replies,
            dropped,
            slow,
            shed,
            unsent,
        }
    }

    const fn count(&mut self, response: &Response, rcode: Rcode) {
        match response {
            Response::Reply(_) | Response::ReplyAndRefresh(_) => {
                let place = if rcode.0 < 15 { rcode.0 } else { 15 };
                self.replies[place as usize] += 1;
            }
            Response::None => self.dropped += 1,
            Response::Slow => self.slow += 1,
        }
    }
}

/// What to do after [`respond`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Response {
    /// Send the first so many octets of the buffer.
    Reply(usize),
    /// The same, and have the slow path ask again behind the client's back.
    ReplyAndRefresh(usize),
    /// Send nothing.
    None,
    /// Hand the message to the slow path.
    Slow,
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
    let pinned = Pinned::new();
    let ground = Ground {
        listener,
        services: None,
        pinned: &pinned,
    };
    let mut aim = Aim::NONE;
    aim.asked.stream = peer.stream;
    aim.read(message, &ground, scratch.open(0));
    aim.go_on_kept(&pinned);
    answer(
        (0, peer.remote.is_ipv6()),
        (|| Some(peer), || peer.received),
        &aim,
        (listener, log),
        scratch,
        buf,
    )
}

/// Datagrams that were received, for [`respond_to_all`].
pub trait Datagrams<'m> {
    /// The message in datagram `slot`.
    fn message(&self, slot: usize) -> &'m [u8];

    /// Whether it came over IPv6. `None` if nobody can answer it.
    fn is_ipv6(&self, slot: usize) -> Option<bool>;

    /// When they came.
    fn received(&self) -> Instant;

    /// How it came, which few answers depend on. `None` if nobody can answer it.
    fn peer(&self, slot: usize) -> Option<Peer>;
}

/// Where the replies to them go.
pub trait Replies {
    /// What is kept from message to message.
    fn scratch(&mut self) -> &mut Scratch;

    /// The same, and the room for the next reply, as in [`respond`].
    fn parts(&mut self) -> (&mut Scratch, &mut [u8]);

    /// Takes the reply to datagram `slot`.
    fn done(&mut self, slot: usize, response: Response);
}

/// Answers messages as [`respond`] does, in their order, but reads some of them ahead: what the index
/// or the cache has for each is then on its way from memory while others are read. `at` is always the message that
/// is worked on, should that panic.
pub fn respond_to_all<'m>(
    slots: Range<usize>,
    (datagrams, replies): (&impl Datagrams<'m>, &mut impl Replies),
    (listener, log): (&Listener, &LogSink),
    at: &mut usize,
) {
    let pinned = Pinned::new();
    // Nearly always there is one cluster.
    let services = listener.index().map(|index| index.services(&pinned));
    let ground = &Ground {
        listener,
        services: services.as_ref(),
        pinned: &pinned,
    };
    for first in slots.clone().step_by(Scratch::AHEAD) {
        let group = first..slots.end.min(first + Scratch::AHEAD);
        respond_to_group(group, (datagrams, replies), (ground, log), at);
    }
}

fn respond_to_group<'m>(
    group: Range<usize>,
    (datagrams, replies): (&impl Datagrams<'m>, &mut impl Replies),
    (ground, log): (&Ground<'_, '_, '_>, &LogSink),
    at: &mut usize,
) {
    let mut aims = [Aim::NONE; Scratch::AHEAD];
    let names = replies.scratch().names.iter_mut();
    for ((slot, aim), name) in group.clone().zip(&mut aims).zip(names) {
        *at = slot;
        aim.read(datagrams.message(slot), ground, name);
    }
    let pinned = ground.pinned;
    match ground.services {
        Some(services) => aims.iter_mut().for_each(|aim| aim.go_on(services, pinned)),
        None => aims.iter_mut().for_each(|aim| aim.go_on_kept(pinned)),
    }
    aims[..Scratch::LEAD].iter().for_each(Aim::prefetch);
    for (place, slot) in group.clone().enumerate() {
        *at = slot;
        if let Some(ahead) = aims.get(place + Scratch::LEAD) {
            ahead.prefetch();
        }
        let Some(ipv6) = datagrams.is_ipv6(slot) else {
            continue;
        };
        let came = (|| datagrams.peer(slot), || datagrams.received());
        let (scratch, buf) = replies.parts();
        let response = answer(
            (place, ipv6),
            came,
            &aims[place],
            (ground.listener, log),
            scratch,
            buf,
        );
        replies.done(slot, response);
    }
}

/// Answers a message: by its aim, with the name that was read to this place of `scratch`, or by the
/// chain. `ipv6` says what it came over.
#[inline]
fn answer(
    (place, ipv6): (usize, bool),
    (peer, received): (impl FnOnce() -> Option<Peer>, impl FnOnce() -> Instant),
    aim: &Aim<'_, '_, '_>,
    (listener, log): (&Listener, &LogSink),
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Response {
    scratch.tally.received += 1;
    scratch.last = place;
    let (name, random) = (&scratch.names[place], &mut scratch.random);
    if let Some((len, rcode)) = aim.answer(name, random, buf) {
        let by = (Plugin::Kubernetes, 0);
        return at_once((len, rcode, by), aim, ipv6, scratch);
    }
    if let Some((len, rcode, events)) = aim.answer_kept((name, received), random, buf) {
        let by = (Plugin::Cache, events);
        return at_once((len, rcode, by), aim, ipv6, scratch);
    }
    let Some(peer) = peer() else {
        scratch.seen = Observation::NOTHING;
        return Response::None;
    };
    walk((aim.asked.message, &peer), (listener, log), scratch, buf)
}

/// Counts a reply of the short way: its length and code, the plugin it is from and what else happened.
#[inline(always)]
fn at_once(
    (len, rcode, (plugin, events)): (u16, Rcode, (Plugin, u16)),
    aim: &Aim<'_, '_, '_>,
    ipv6: bool,
    scratch: &mut Scratch,
) -> Response {
    let asked = &aim.asked;
    scratch.tally.replies[usize::from(rcode.0)] += 1;
    scratch.seen = Observation {
        scope: aim.scope,
        done: true,
        stream: asked.stream,
        ipv6,
        dnssec_ok: asked.query.dnssec_ok(),
        qtype: asked.query.qtype,
        rcode,
        plugin,
        request_len: asked.message.len() as u16,
        reply_len: len,
        events,
    };
    Response::Reply(len.into())
}

/// Answers what the short way is not for.
fn walk(
    (message, peer): (&[u8], &Peer),
    (listener, log): (&Listener, &LogSink),
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Response {
    let name = &mut scratch.names[scratch.last];
    let query = match Query::parse(message, name) {
        Ok(query) => query,
        Err(error) => return complain(message, error, (peer, listener), scratch, buf),
    };
    let mut context = Context::new(query, name, peer, listener, &mut scratch.random, log);
    // A response over HTTPS is one message.
    context.may_stream = peer.stream && !matches!(listener.protocol, Protocol::Https(..));
    let (mut response, rcode) = serve(&mut context, buf);
    let mut outgoing = context.outgoing.take();
    if let (Response::Reply(len), Some(messages)) = (&mut response, &mut outgoing) {
        *len = messages.next_message(buf).unwrap_or(*len);
    }
    scratch.seen = observe(&context, response, rcode);
    scratch.outgoing = outgoing;
    scratch.tally.count(&response, rcode);
    response
}

/// Goes on with a message that [`respond`] left to the slow path. If it is still
/// [`Response::Slow`], the second value says what it needs.
pub fn resume(
    message: &[u8],
    peer: Peer,
    plan: (&Listener, &LogSink),
    resumed: Resumed<'_>,
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> (Response, Option<Stuck>) {
    scratch.last = 0;
    let name = &mut scratch.names[0];
    let Ok(query) = Query::parse(message, name) else {
        return (Response::None, None);
    };
    let (listener, log) = plan;
    let random = &mut scratch.random;
    let mut context = Context::new(query, name, &peer, listener, random, log);
    context.gathered = Some(resumed.gathered);
    context.nesting = resumed.nesting;
    let (response, rcode) = serve(&mut context, buf);
    let patience = context.patience;
    let stuck = context.need.take().map(|need| Stuck { need, patience });
    scratch.seen = observe(&context, response, rcode);
    if resumed.nesting == 0 && response != Response::Slow {
        scratch.tally.count(&response, rcode);
    }
    (response, stuck)
}

/// Where the slow path goes on.
#[derive(Clone, Copy)]
pub struct Resumed<'g> {
    /// What it found out so far.
    pub gathered: &'g Gathered,
    /// Look-ups inside look-ups so far.
    pub nesting: u8,
}

/// Why a query cannot go on.
pub struct Stuck {
    /// What it needs.
    pub need: Need,
    /// How long that is worth waiting for; `None` for as long as it takes.
    pub patience: Option<Duration>,
}

/// Writes the reply that a query gets which the slow path has no room for: SERVFAIL, so that its
/// sender asks somebody else. Returns its length; `None` if the message is no query.
pub fn shed(message: &[u8], stream: bool, scratch: &mut Scratch, buf: &mut [u8]) -> Option<usize> {
    let len = fail(message, stream, scratch, buf)?;
    scratch.tally.shed += 1;
    Some(len)
}

/// Does what may panic; `None` if it did. The hook has told and counted it by then.
///
/// What is lent to `work` may be half-written then. Of a query that is its [`Scratch`], all of which
/// the next query writes anew, and a reply that nobody sends.
pub(crate) fn unless_panic<R>(work: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

/// Writes the reply to a query that showed a fault of ours, a panic most likely: SERVFAIL, as in
/// CoreDNS. Returns its length; `None` if the message is no query, or makes us panic again.
#[cold]
pub(crate) fn after_fault(
    message: &[u8],
    (peer, listener): (Peer, &Listener),
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Option<usize> {
    scratch.seen = Observation {
        scope: listener.scope,
        stream: peer.stream,
        ipv6: peer.remote.is_ipv6(),
        request_len: message.len() as u16,
        ..Observation::NOTHING
    };
    unless_panic(|| fail(message, peer.stream, scratch, buf)).flatten()
}

fn fail(message: &[u8], stream: bool, scratch: &mut Scratch, buf: &mut [u8]) -> Option<usize> {
    let query = Query::parse(message, scratch.open(scratch.last)).ok()?;
    let mut reply = Reply::new(buf, &query, stream);
    reply.set_rcode(Rcode::SERVFAIL);
    scratch.tally.replies[usize::from(Rcode::SERVFAIL.0)] += 1;
    let len = reply.finish(query.edns.as_ref());
    let seen = &mut scratch.seen;
    (seen.done, seen.rcode, seen.reply_len) = (true, Rcode::SERVFAIL, len as u16);
    Some(len)
}

/// Answers what did not parse.
fn complain(
    message: &[u8],
    error: QueryError,
    (peer, listener): (&Peer, &Listener),
    scratch: &mut Scratch,
    buf: &mut [u8],
) -> Response {
    scratch.seen = Observation::NOTHING;
    let Some(rcode) = error.rcode() else {
        scratch.tally.dropped += 1;
        return Response::None;
    };
    let question = if error == QueryError::Record {
        Query::question_only(message, scratch.open(scratch.last))
    } else {
        None
    };
    scratch.tally.replies[usize::from(rcode.0)] += 1;
    let len = write_error(message, rcode, question.as_ref(), buf);
    if error == QueryError::NoQuestion {
        scratch.seen = Observation {
            scope: listener.scope,
            done: true,
            stream: peer.stream,
            ipv6: peer.remote.is_ipv6(),
            rcode,
            request_len: message.len() as u16,
            reply_len: len as u16,
            ..Observation::NOTHING
        };
    }
    Response::Reply(len)
}

/// What is to be counted of a query that the chain has seen.
fn observe(context: &Context<'_>, response: Response, rcode: Rcode) -> Observation {
    let (query, peer) = (&context.query, context.peer);
    let (done, len) = match response {
        Response::Reply(len) | Response::ReplyAndRefresh(len) => (true, len),
        Response::None => (true, 0),
        Response::Slow => (false, 0),
    };
    Observation {
        done: done && !context.is_refresh(),
        stream: peer.stream,
        ipv6: peer.remote.is_ipv6(),
        dnssec_ok: query.edns.as_ref().is_some_and(Edns::dnssec_ok),
        qtype: query.qtype,
        rcode,
        request_len: query.packet.len() as u16,
        reply_len: len as u16,
        ..context.seen
    }
}

/// Runs the chain and finishes the reply.
fn serve(context: &mut Context<'_>, buf: &mut [u8]) -> (Response, Rcode) {
    let query = context.query;
    let mut reply = Reply::new(buf, &query, context.peer.stream);
    let outcome = if query.qclass != Class::IN && !context.listener.other_classes {
        context.seen.scope = context.listener.scope;
        reply.set_rcode(Rcode::REFUSED);
        Outcome::Reply
    } else if query.edns.is_some_and(|edns| edns.version != 0) {
        reply.set_rcode(Rcode::BADVERS);
        Outcome::Reply
    } else {
        context.serve(&mut reply)
    };
    if outcome != Outcome::Slow {
        context.at_end.drain(..).for_each(|count| count());
    }
    reply.fit_rcode(query.edns.as_ref());
    let rcode = reply.rcode();
    let response = match outcome {
        Outcome::Reply if context.wants_refresh => {
            Response::ReplyAndRefresh(reply.finish(query.edns.as_ref()))
        }
        Outcome::Reply => Response::Reply(reply.finish(query.edns.as_ref())),
        Outcome::Dropped => Response::None,
        Outcome::Slow => Response::Slow,
    };
    (response, rcode)
}

#[cfg(test)]
mod tests;
