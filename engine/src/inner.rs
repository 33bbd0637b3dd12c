//! Questions inside of questions: the rest of the chain asked something else than the client did,
//! and the whole server asked for another name.
//!
//! Only stages that change a query come here, so all of it may allocate.

use std::cell::RefCell;
use std::hash::Hash;
use std::sync::Arc;

use crate::chain::{Context, Outcome, Stage, Step};
use crate::gathered::{LookUp, Need};
use crate::limits::{MESSAGE_LEN_MAX, NESTING_MAX};
use crate::metrics::{Event, Labelled};
use crate::wire::message::compose;
use crate::wire::reply::Owner;
use crate::wire::{Answer, Class, Edns, FoldedName, Query, RType, Rcode, Reply};

thread_local! {
    /// Room for replies, used again: one for each level of nesting.
    static ROOMS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Lends room for the largest message to `work`.
fn with_room<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let spare = ROOMS.with_borrow_mut(Vec::pop);
    let mut room = spare.unwrap_or_else(|| vec![0; MESSAGE_LEN_MAX]);
    let result = work(&mut room);
    ROOMS.with_borrow_mut(|rooms| rooms.push(room));
    result
}

impl Context<'_> {
    /// Asks the stages of `rest` what `packet` asks, as if the client had sent that, and returns
    /// what they said and what they answered, as large as it is: the reply to the client is what has
    /// a limit. A failure comes with its code and no records.
    pub(crate) fn serve_rest(&mut self, packet: &[u8], rest: &[Stage]) -> (Step, Answer) {
        let mut folded = Box::new(FoldedName::default());
        let Ok(query) = Query::parse(packet, &mut folded) else {
            let step = Step::Failed(Rcode::SERVFAIL, "invalid query after rewriting");
            return (step, Answer::default());
        };
        with_room(|room| {
            let mut reply = Reply::new(room, &query, true);
            let mut inner = Context {
                query,
                name: &folded,
                original: Some(self.original.unwrap_or(self.name)),
                peer: self.peer,
                listener: self.listener,
                rotates: self.rotates,
                nesting: self.nesting,
                random: self.random,
                log: self.log,
                gathered: self.gathered,
                need: None,
                patience: self.patience,
                request_flags: self.request_flags,
                upstream: None,
                from_cache: false,
                impatient: false,
                verifies: false,
                wants_refresh: self.wants_refresh,
                cause: None,
                may_stream: false,
                outgoing: None,
                seen: self.seen,
                at_end: std::mem::take(&mut self.at_end),
            };
            let (step, _) = inner.walk(rest, &mut reply);
            let (need, patience) = (inner.need.take(), inner.patience);
            let (cause, seen) = (inner.cause.take(), inner.seen);
            let (rotates, wants_refresh) = (inner.rotates, inner.wants_refresh);
            self.need = need.or_else(|| self.need.take());
            (self.patience, self.rotates) = (patience, rotates);
            (self.cause, self.seen) = (cause.or_else(|| self.cause.take()), seen);
            self.wants_refresh = wants_refresh;
            self.at_end = std::mem::take(&mut inner.at_end);
            let mut answer = Answer::take(&mut reply);
            if let Step::Failed(rcode, _) = step {
                answer.rcode = rcode;
            }
            (step, answer)
        })
    }

    /// Counts an event, unless the chain is walked again and it has been.
    pub(crate) fn count(&mut self, event: Event) {
        if self.gathered.is_none_or(|gathered| !gathered.is_resumed()) {
            self.seen.events |= event.bit();
        }
    }

    /// Counts by labels of its own, if the query comes to its end with this walk of the chain.
    pub(crate) fn count_at_end<W>(&mut self, counts: &Arc<Labelled<W>>, what: W)
    where
        W: Clone + Eq + Hash + 'static,
    {
        let (counts, scope) = (Arc::clone(counts), self.seen.scope);
        self.at_end.push(Box::new(move || counts.add(scope, what)));
    }

    /// The question's name as CoreDNS's plugins write it that know names in lower case only.
    pub(crate) fn plain_owner(&self) -> Owner<'_> {
        if self.query.name_as_sent() == self.name.wire() {
            Owner::Question
        } else {
            Owner::Name(self.name.wire())
        }
    }

    /// The client's query with another name and type.
    pub(crate) fn asking(&self, name: &[u8], qtype: RType) -> Vec<u8> {
        let query = &self.query;
        let question = (name, qtype, query.qclass);
        compose((query.id(), query.flags), question, query.edns.as_ref())
    }

    /// Asks the whole server for another name, as a client with the same limits would, and hands
    /// the encoded reply to `read`. `None` when nobody replies, or when the reply is not to be had
    /// without I/O; then the context has a need.
    pub fn look_up<R>(
        &mut self,
        name: &[u8],
        qtype: RType,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        if let Some(known) = self.gathered.and_then(|known| known.look_up(name, qtype)) {
            return known.map(read);
        }
        if self.nesting >= NESTING_MAX {
            return None;
        }
        let edns = self.query.edns.map(|edns| Edns {
            version: 0,
            options: &[],
            ..edns
        });
        let header = (self.query.id(), self.query.flags);
        let packet = compose(header, (name, qtype, Class::IN), edns.as_ref());
        let mut folded = Box::new(FoldedName::default());
        let query = Query::parse(&packet, &mut folded).ok()?;
        with_room(|room| {
            let (listener, log) = (self.listener, self.log);
            let mut context = Context::new(query, &folded, self.peer, listener, self.random, log);
            context.nesting = self.nesting + 1;
            let mut reply = Reply::new(room, &query, self.peer.stream);
            let outcome = context.serve(&mut reply);
            self.at_end.append(&mut context.at_end);
            match outcome {
                Outcome::Reply => {}
                Outcome::Dropped => return None,
                Outcome::Slow => {
                    let packet = packet.clone();
                    self.need = Some(Need::LookUp(LookUp {
                        name: name.into(),
                        qtype,
                        packet,
                    }));
                    return None;
                }
            }
            let len = reply.finish(None);
            Some(read(&room[..len]))
        })
    }
}
