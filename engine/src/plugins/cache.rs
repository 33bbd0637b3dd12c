//! `cache`: TTL bounds for all replies, and a store for those of upstreams.
//!
//! CoreDNS gives every record of a reply that passes its cache the smallest TTL of the message,
//! clamped to the cache's bounds. Here that is a stage of its own at CoreDNS's place in the chain
//! ([`Cache::clamp`]), which the answers of the index pass as well. The store stands right before
//! the upstreams: what needs no upstream is as fast without it and always fresh, so a new Service
//! is never hidden by a cached denial.

mod entry;
mod table;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use entry::Kind;
use entry::{Class2308, Entry};
pub(crate) use table::Slot;
pub use table::{Question, Table};

use crate::chain::{Context, Step};
use crate::metrics::Event;
use crate::wire::query::Edns;
use crate::wire::walk::records;
use crate::wire::{Flags, Opcode, RType, Rcode, Reply, Section};

/// TTL of what has none: failures, delegations, replies without records. In seconds.
const TTL_DEFAULT: u32 = 5;

/// No message's TTL counts for more, as in CoreDNS. In seconds.
pub const TTL_MAX: u32 = 3_600;

/// A zone: lower-case wire name and number of labels.
type Zone = (Box<[u8]>, usize);

/// TTL bounds of one kind of answer, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TtlRange {
    /// No TTL is below.
    pub min: u32,
    /// No TTL is above.
    pub max: u32,
}

impl TtlRange {
    /// Between `min` and `max`, but for [`TTL_MAX`].
    pub fn new(min: u32, max: u32) -> Self {
        let max = max.min(TTL_MAX).max(min);
        Self { min, max }
    }

    fn clamp(self, ttl: u32) -> u32 {
        ttl.max(self.min).min(self.max)
    }

    fn holds(self, ttl: u32) -> bool {
        (self.min..=self.max).contains(&ttl)
    }
}

/// What is asked again before it expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefetch {
    /// Replies that were used at least this often…
    pub hits: u32,
    /// …without a pause longer than this…
    pub pause: Duration,
    /// …once no more than this share of their TTL is left, in percent.
    pub percentage: u8,
}

impl Prefetch {
    /// Whether so little of an entry's TTL is left.
    fn is_time(&self, entry: &Entry, left: i64) -> bool {
        let threshold = (u64::from(entry.ttl) * u64::from(self.percentage)).div_ceil(100);
        left <= threshold as i64
    }
}

/// What is served after it expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServeStale {
    /// For how many seconds after.
    pub up_to: u32,
    /// Ask upstreams first, and serve the stale reply if they fail or after this time (zero: wait
    /// as long as it takes). `None` to serve it at once and ask then.
    pub verify: Option<Duration>,
    /// The TTL in stale replies, in seconds.
    pub ttl: u32,
    /// For how long a failed refresh is not tried again.
    pub recheck: Duration,
    /// A stale answer is preferred to a fresh denial.
    pub prefer_positive: bool,
}

/// One `cache` of a block.
pub struct Cache {
    /// Zones that it works for.
    pub zones: Vec<Zone>,
    /// Bounds for positive answers.
    pub success: TtlRange,
    /// Bounds for NXDOMAIN and NODATA.
    pub denial: TtlRange,
    /// Answers at or below these are not kept.
    pub success_disabled: Vec<Zone>,
    /// Denials and failures at or below these are not kept.
    pub denial_disabled: Vec<Zone>,
    /// For how many seconds failures are kept.
    pub servfail: u32,
    /// `prefetch`.
    pub prefetch: Option<Prefetch>,
    /// `serve_stale`.
    pub stale: Option<ServeStale>,
    /// `keepttl`: hits carry the TTL that the reply was stored with, not what is left of it.
    pub keep_ttl: bool,
    /// The replies.
    pub table: Table,
}

/// What the store has for a query.
enum Found {
    /// The reply is written.
    Hit,
    /// It is stale, and upstreams are to be asked before it is served.
    Verify,
}

impl Cache {
    fn applies(&self, context: &Context<'_>) -> bool {
        context.query.flags.opcode() == Opcode::QUERY && under(context, &self.zones)
    }

    /// Answers from the store.
    pub(crate) fn query(
        self: &Arc<Self>,
        context: &mut Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Step {
        if !self.applies(context) {
            return Step::Next;
        }
        if !context.is_refresh() {
            let question = question(context);
            let found = self
                .table
                .get(&question, context.name.hash_all(), |entry| {
                    self.answer(entry, context, reply)
                })
                .flatten();
            // Whoever walks the chain again has been counted.
            if context.gathered.is_none() {
                context.seen.events |= Event::CacheRequest.bit();
                if found.is_none() {
                    context.seen.events |= Event::CacheMiss.bit();
                }
            }
            match found {
                Some(Found::Hit) => return Step::Answered,
                Some(Found::Verify) => context.verifies = true,
                None => {}
            }
        }
        // As CoreDNS: with AD we are told what the upstream knows, and tell clients who asked.
        context.request_flags |= Flags::AD;
        Step::Next
    }

    fn answer(
        &self,
        entry: &Entry,
        context: &mut Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Option<Found> {
        let now = context.peer.received;
        let left = entry.ttl_left(now);
        if left > 0 {
            let ttl = if self.keep_ttl {
                entry.ttl
            } else {
                left as u32
            };
            if let Some(prefetch) = &self.prefetch {
                let hits = entry.hit(now, prefetch.pause);
                if hits >= prefetch.hits
                    && prefetch.is_time(entry, left)
                    && entry.begin_refresh(now)
                {
                    context.wants_refresh = true;
                    context.seen.events |= Event::CachePrefetch.bit();
                }
            }
            hit(entry, context);
            write(entry, ttl, context, reply);
            return Some(Found::Hit);
        }
        let stale = self.stale.as_ref()?;
        if !entry.is_usable(now, stale.up_to) {
            return None;
        }
        hit(entry, context);
        match stale.verify {
            None if entry.begin_refresh(now) => {
                context.wants_refresh = true;
                context.seen.events |= Event::CachePrefetch.bit();
            }
            None => {}
            // While a failure is fresh in mind, nobody waits for the next one.
            Some(_) if !stale.recheck.is_zero() && !context.may_verify(entry) => {}
            Some(timeout) => {
                if !timeout.is_zero() {
                    context.limit_patience(timeout);
                }
                return Some(Found::Verify);
            }
        }
        context.seen.events |= Event::CacheStale.bit();
        write(entry, stale.ttl, context, reply);
        Some(Found::Hit)
    }

    /// The reply in `slot` and its TTL, if there is nothing to do but to copy it: it is fresh, and not
    /// about to be asked for again.
    #[inline]
    pub(crate) fn fresh<'s>(&self, slot: &'s Slot, now: Instant) -> Option<(&'s Entry, u32)> {
        let entry = &slot.entry;
        let left = entry.ttl_left(now);
        if left <= 0 {
            return None;
        }
        let is_due = |prefetch: &Prefetch| prefetch.is_time(entry, left);
        if self.prefetch.as_ref().is_some_and(is_due) {
            return None;
        }
        let ttl = if self.keep_ttl {
            entry.ttl
        } else {
            left as u32
        };
        Some((entry, ttl))
    }

    /// Says that such a reply was used.
    #[inline]
    pub(crate) fn count_visit(&self, slot: &Slot, now: Instant) {
        if let Some(prefetch) = &self.prefetch {
            slot.entry.hit(now, prefetch.pause);
        }
        slot.visit();
    }

    /// Keeps what an upstream replied, and serves what is stale instead of a failure.
    pub(crate) fn response(&self, context: &mut Context<'_>, step: Step, reply: &mut Reply<'_>) {
        if context.from_cache || !self.applies(context) {
            return;
        }
        let now = context.peer.received;
        let refreshes = context.verifies || context.is_refresh();
        let stored = step == Step::Answered && self.store(context, reply);
        let acceptable = stored
            && match &self.stale {
                Some(stale) if stale.prefer_positive => {
                    reply.rcode() == Rcode::NOERROR && reply.count(Section::Answer) > 0
                }
                _ => matches!(reply.rcode(), Rcode::NOERROR | Rcode::NXDOMAIN),
            };
        if !refreshes || acceptable {
            return;
        }
        let pause = self.stale.map_or(Duration::ZERO, |stale| stale.recheck);
        let question = question(context);
        self.table.get(&question, context.name.hash_all(), |entry| {
            entry.end_refresh(Instant::now(), pause);
            if let Some(stale) = self.stale.filter(|_| context.verifies) {
                let ttl = match entry.ttl_left(now) {
                    left @ 1.. => left as u32,
                    _ => {
                        context.seen.events |= Event::CacheStale.bit();
                        stale.ttl
                    }
                };
                reply.clear();
                write(entry, ttl, context, reply);
                // An answer that comes after we lost patience is still worth keeping.
                context.wants_refresh = context.impatient;
            }
        });
    }

    /// Judges the upstream's reply, clamps its TTLs, and keeps it if it may. `false` if there is no
    /// such reply.
    fn store(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> bool {
        let Some(message) = context.upstream.take() else {
            return false;
        };
        let query = &context.query;
        let dnssec_ok = query.edns.as_ref().is_some_and(Edns::dnssec_ok);
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let verdict = entry::judge(&message, query.qtype, query.qclass, dnssec_ok, unix as u32);
        let ttl = verdict.ttl.unwrap_or(TTL_DEFAULT);
        let (ttl, kind) = match verdict.class {
            Class2308::Success | Class2308::Other => (self.success.clamp(ttl), Kind::Success),
            Class2308::Denial => (self.denial.clamp(ttl), Kind::Denial),
            Class2308::Failure => (self.servfail, Kind::Denial),
        };
        reply.set_ttls(ttl);
        // What is kept has no OPT, so its first reply has none of the upstream's either.
        reply.take_opt();
        if !dnssec_ok && !query.flags.has(Flags::AD) {
            reply.clear_authentic();
        }
        let disabled = match kind {
            Kind::Success => &self.success_disabled,
            Kind::Denial => &self.denial_disabled,
        };
        if !verdict.cacheable || ttl == 0 || under(context, disabled) {
            return true;
        }
        let now = context.peer.received;
        let (question, hash) = (question(context), context.name.hash_all());
        let fails = verdict.class == Class2308::Failure;
        let prefers = self.stale.is_some_and(|stale| stale.prefer_positive);
        let stale = self.stale.map_or(0, |stale| stale.up_to);
        let inherited = self.table.get(&question, hash, |old| {
            let guarded = fails || (prefers && !verdict.answers);
            // A failure is no reason to forget what is known.
            let keeps = guarded
                && old.kind == Kind::Success
                && (old.answers || fails)
                && old.is_usable(now, stale);
            (!keeps).then(|| old.hits())
        });
        if inherited == Some(None) {
            return true;
        }
        let entry = Entry::new(
            context.name,
            &message,
            (kind, verdict.answers),
            ttl,
            Instant::now(),
        );
        entry.inherit_hits(inherited.flatten().unwrap_or(0));
        self.table.put(&question, hash, entry);
        true
    }

    /// Whether [`Self::clamp`] has nothing to do. That is the usual case.
    #[inline]
    pub(crate) fn within_bounds(&self, reply: &Reply<'_>) -> bool {
        let is_answer = reply.rcode() == Rcode::NOERROR && reply.count(Section::Answer) > 0;
        let (smallest, largest) = reply.ttls();
        let is_within = smallest == largest && self.success.holds(smallest);
        is_answer && is_within && reply.own_opt().is_none()
    }

    /// Gives every record the smallest TTL of the message, within the bounds of its kind, as if it were
    /// kept. So the OPT is not for clients either.
    pub(crate) fn clamp(&self, context: &Context<'_>, reply: &mut Reply<'_>) {
        if !self.applies(context) || matches!(context.query.qtype, RType::AXFR | RType::IXFR) {
            return;
        }
        reply.take_opt();
        let has_answer = reply.count(Section::Answer) > 0;
        let ttl = match reply.rcode() {
            Rcode::NOERROR if has_answer => self.success.clamp(smallest_ttl(reply)),
            Rcode::NOERROR | Rcode::NXDOMAIN if has(RType::SOA, reply) => {
                self.denial.clamp(smallest_ttl(reply))
            }
            Rcode::NOERROR if !has(RType::NS, reply) => self.success.clamp(smallest_ttl(reply)),
            Rcode::SERVFAIL | Rcode::NOTIMP => self.servfail,
            // Referrals, and what is not understood.
            _ => self.success.clamp(TTL_DEFAULT),
        };
        if reply.ttls() != (ttl, ttl) {
            reply.set_ttls(ttl);
        }
    }
}

/// Of all records, in seconds.
fn smallest_ttl(reply: &mut Reply<'_>) -> u32 {
    let (message, at, counts) = reply.message_mut();
    let all = counts.map(usize::from).iter().sum();
    let ttls = records(message, at, all).map(|record| {
        let ttl = message[record.ttl_at..record.ttl_at + 4].try_into();
        u32::from_be_bytes(ttl.expect("a slice of four"))
    });
    ttls.min().unwrap_or(TTL_DEFAULT)
}

/// Counts a hit, unless the chain is walked again and it has been.
fn hit(entry: &Entry, context: &mut Context<'_>) {
    if context.gathered.is_none() {
        context.seen.events |= entry.hit_event().bit();
    }
}

/// Writes what is cached.
fn write(entry: &Entry, ttl: u32, context: &mut Context<'_>, reply: &mut Reply<'_>) {
    let query = &context.query;
    let dnssec_ok = query.edns.as_ref().is_some_and(Edns::dnssec_ok);
    let flags = entry.flags_kept(dnssec_ok || query.flags.has(Flags::AD));
    let echoed = query.flags.0 & (Flags::RD | Flags::CD);
    // Some stub resolvers drop answers without AA, so CoreDNS sets it, and so do we.
    reply.set_flags(Flags(flags | echoed | Flags::AA));
    reply.set_rcode(entry.rcode);
    reply.append(entry.records(), entry.counts);
    reply.set_ttls_at(entry.ttls_at(), ttl);
    context.from_cache = true;
}

impl Context<'_> {
    /// Whether upstreams are asked now for what `entry` held. The slow path, which does ask, claims
    /// the right to when it first comes by.
    fn may_verify(&self, entry: &Entry) -> bool {
        let now = Instant::now();
        match self.gathered {
            None => entry.may_refresh(now),
            Some(gathered) => gathered.is_resumed() || entry.begin_refresh(now),
        }
    }
}

fn question<'a>(context: &Context<'a>) -> Question<'a> {
    Question {
        name: context.name.wire(),
        qtype: context.query.qtype,
        qclass: context.query.qclass,
        dnssec_ok: context.query.edns.as_ref().is_some_and(Edns::dnssec_ok),
        checking_disabled: context.query.flags.has(Flags::CD),
    }
}

fn under(context: &Context<'_>, zones: &[Zone]) -> bool {
    zones
        .iter()
        .any(|(zone, labels)| context.name.labels_above(zone, *labels).is_some())
}

/// Whether the answer or the authority section has such a record.
fn has(rtype: RType, reply: &mut Reply<'_>) -> bool {
    let (message, at, [answers, authorities, _]) = reply.message_mut();
    let mut found = records(message, at, usize::from(answers + authorities));
    found.any(|record| record.rtype == rtype)
}

#[cfg(test)]
mod tests;
