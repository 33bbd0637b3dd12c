//! The short way to what upstreams replied before: names outside of the cluster's zones, with a reply
//! in the cache that is fresh and fits.

use std::sync::Arc;
use std::time::Instant;

use super::before::Before;
use crate::chain::{Random, Stage};
use crate::metrics::Event;
use crate::plugins::cache::{Cache, Question, Slot};
use crate::plugins::loadbalance;
use crate::plugins::zones::Zones;
use crate::sys::epoch::Pinned;
use crate::wire::reply::{Asked, Copied, write_copied};
use crate::wire::{Class, Flags, FoldedName, PlainQuery, RType, Rcode};

/// What a block's chain comes to for names that none of its plugins before the cache has a say about.
#[derive(Clone)]
pub(crate) struct Kept {
    cache: Arc<Cache>,
    before: Before,
}

/// Whether replies to all names of a block are kept, and none to others. The block is chosen by the
/// name's last octets alone, which may begin inside of a label. That does no harm, as the cache holds
/// only names of this block.
fn keeps_block(cache: &Cache, block: &[u8]) -> bool {
    let zones = || cache.zones.iter().map(|(zone, _)| zone.clone());
    let within = Zones::new([block.into()]);
    Zones::new(zones()).hold_wire(block) && zones().all(|zone| within.hold_wire(&zone))
}

impl Kept {
    /// `None` if a stage before the cache may do more with such a query than is done here, but for a
    /// `kubernetes` whose zones have a short way of their own (`has_short_zones`). `zone` is the
    /// block's.
    pub(crate) fn new(zone: &[u8], stages: &[Stage], mut has_short_zones: bool) -> Option<Self> {
        let mut before = Before::NONE;
        for stage in stages {
            match stage {
                // Of the first one only.
                Stage::Kubernetes(_) if std::mem::take(&mut has_short_zones) => {}
                Stage::Store(cache) => {
                    return keeps_block(cache, zone).then(|| Self {
                        cache: Arc::clone(cache),
                        before,
                    });
                }
                _ => before.pass(stage)?,
            }
        }
        None
    }

    fn question<'n>(query: &PlainQuery, name: &'n FoldedName) -> Question<'n> {
        Question {
            name: name.part(0..query.name_len),
            qtype: query.qtype,
            qclass: Class::IN,
            dnssec_ok: query.dnssec_ok(),
            checking_disabled: query.flags.has(Flags::CD),
        }
    }

    /// Begins the look-up of a query that was folded into `name`: what finds its entry. `None` if the
    /// chain has to answer.
    #[inline]
    pub(super) fn begin(
        &self,
        query: &PlainQuery,
        name: &FoldedName,
        pinned: &Pinned,
    ) -> Option<u64> {
        // `any`, `transfer` and the choice of a block look at these.
        if matches!(
            query.qtype,
            RType::ANY | RType::AXFR | RType::IXFR | RType::DS
        ) {
            return None;
        }
        let question = Self::question(query, name);
        if self.before.claims_query(query, question.name) {
            return None;
        }
        let hash = name.hash_of(0..query.name_len);
        Some(self.cache.table.begin(&question, hash, pinned))
    }

    /// Goes on with it, once the place may have arrived.
    #[inline]
    pub(super) fn likely<'p>(&self, hash: u64, pinned: &'p Pinned) -> Option<&'p Slot> {
        self.cache.table.likely(hash, pinned)
    }

    /// Answers, most likely from this entry: the length of the reply, its code, and the events to count.
    /// `None` if the chain has to.
    #[inline(never)]
    pub(super) fn answer(
        &self,
        likely: &Slot,
        asked: &Asked<'_>,
        (name, now): (&FoldedName, Instant),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode, u16)> {
        let query = &asked.query;
        if !likely.answers(&Self::question(query, name)) {
            return self.search_and_answer(asked, (name, now), random, buf);
        }
        let (entry, ttl) = self.cache.fresh(likely, now)?;
        if self.before.rotates && !entry.is_in_order {
            return None;
        }
        if self.before.logs_failures && !matches!(entry.rcode, Rcode::NOERROR | Rcode::NXDOMAIN) {
            return None;
        }
        let wants_authentic = query.dnssec_ok() || query.flags.has(Flags::AD);
        let reply = Copied {
            rcode: entry.rcode,
            flags: entry.flags_kept(wants_authentic),
            counts: entry.counts,
            records: entry.records(),
            ttls_at: entry.ttls_at(),
            ttl,
        };
        let len = write_copied(asked, reply, buf)?;
        self.cache.count_visit(likely, now);
        if self.before.rotates && entry.rcode == Rcode::NOERROR {
            loadbalance::rotate(&mut buf[..len], asked.question_end(), entry.counts, random);
        }
        let events = Event::CacheRequest.bit() | entry.hit_event().bit();
        Some((len as u16, entry.rcode, events))
    }

    /// The same, if what looked like the entry is another one.
    #[cold]
    fn search_and_answer(
        &self,
        asked: &Asked<'_>,
        (name, now): (&FoldedName, Instant),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode, u16)> {
        let (pinned, hash) = (Pinned::new(), name.hash_of(0..asked.query.name_len));
        let question = Self::question(&asked.query, name);
        let found = self.cache.table.slot(&question, hash, &pinned)?;
        self.answer(found, asked, (name, now), random, buf)
    }
}
