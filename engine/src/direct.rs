//! The short way: addresses of Services and endpoints, ports of Services, and the names that resolvers
//! make up from search lists, which together are most of what a cluster asks; and what the cache has
//! ([`kept`]).
//!
//! Such a query is known by its end: an OPT without options, if any, its type and class, and before
//! them the name of one of a few zones, or of none. So it is read from there ([`Aim::read`]). What the
//! chain comes to for it is the same each time and worked out when the plan is made ([`Direct::new`]).
//! A query that is in any way unusual, and all queries of a block with stages that might have their
//! say, are read from the front and walk the chain. Both ways give the same octets; a test holds them
//! against each other.

mod before;
mod kept;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use self::before::Before;
pub(crate) use self::kept::Kept;
use crate::chain::{Lead, Listener, Random, Stage};
use crate::index::{
    ClusterIndex, Encoded, Entry, Host, PortSelector, ServiceNode, ServiceRef, Services, a_record,
    aaaa_record,
};
use crate::metrics::Scope;
use crate::plugins::cache::Slot;
use crate::plugins::kubernetes::{
    Grammar, Kubernetes, Zone, soa_record, weight, without_underscore,
};
use crate::plugins::zones::Zones;
use crate::sys::epoch::Pinned;
use crate::wire::name::{Apex, Folded};
use crate::wire::query::HEADER_LEN;
use crate::wire::reply::{Asked, Target, Whole, write_target, write_whole};
use crate::wire::{FoldedName, PlainQuery, RType, Rcode, Section};

/// A zone of the plugin.
pub(crate) struct DirectZone {
    apex: Apex,
    grammar: Grammar,
    /// Names of it may be answered without the chain.
    pub(crate) is_short: bool,
}

impl DirectZone {
    /// Those that names of the block may be in. `None` if one of them has more labels than a zone of the
    /// short way can, or if the block is only a part of one.
    fn all(zones: &[Zone], block: &[u8]) -> Option<Arc<[Self]>> {
        let holds = |zone: &[u8], name| Zones::new([zone.into()]).hold_wire(name);
        let zones = zones.iter().filter_map(|zone| {
            if !holds(block, &zone.apex) {
                return holds(&zone.apex, block).then_some(None);
            }
            Some(Apex::new(&zone.apex).map(|apex| Self {
                apex,
                grammar: zone.grammar,
                is_short: zone.is_short,
            }))
        });
        zones.collect()
    }
}

/// What a block's chain comes to for addresses and ports in the cluster's zones.
#[derive(Clone)]
pub(crate) struct Direct {
    kubernetes: Arc<Kubernetes>,
    /// Where its names end, the longest first.
    zones: Arc<[DirectZone]>,
    before: Before,
    /// Other plugins are asked for names that do not exist.
    falls_through: bool,
}

impl Direct {
    /// `None` if a stage before `kubernetes` may do more with such a query than is done here. `zone` is
    /// the block's.
    pub(crate) fn new(zone: &[u8], stages: &[Stage]) -> Option<Self> {
        let mut before = Before::NONE;
        for stage in stages {
            let Stage::Kubernetes(kubernetes) = stage else {
                before.pass(stage)?;
                continue;
            };
            return Some(Self {
                zones: DirectZone::all(&kubernetes.zones, zone)?,
                falls_through: falls_through(kubernetes),
                kubernetes: Arc::clone(kubernetes),
                before,
            });
        }
        None
    }

    fn leaves_alone(&self, ttl: u32) -> bool {
        self.before.ttls.0 <= ttl && ttl <= self.before.ttls.1
    }
}

/// Whether any name outside of the reverse zones does.
fn falls_through(kubernetes: &Kubernetes) -> bool {
    let zones = kubernetes.zones.iter().filter(|zone| !zone.reverse);
    let falls = |apex: &[u8]| {
        let mut falling = kubernetes.fallthrough.zones.iter();
        falling.any(|(zone, _)| apex.ends_with(zone) || zone.ends_with(apex))
    };
    zones.into_iter().any(|zone| falls(&zone.apex))
}

/// Why no records were written.
enum Missing {
    /// There is the name, but not with such records.
    Data,
    /// There is no such name.
    Name,
    /// It is not known here: the chain has to answer.
    Unknown,
}

/// The length of a reply with records.
type Written = Result<usize, Missing>;

/// What queries are read with.
pub(crate) struct Ground<'l, 'p, 's> {
    pub(crate) listener: &'l Listener,
    /// Those in which look-ups are begun.
    pub(crate) services: Option<&'s Services<'p>>,
    /// What look-ups are kept by.
    pub(crate) pinned: &'p Pinned,
}

/// A message, where its query leads if the short way is for it, and how far the look-up is of what it is
/// about.
#[derive(Clone, Copy)]
pub(crate) struct Aim<'m, 'l, 'p> {
    pub(crate) asked: Asked<'m>,
    /// Where it is counted.
    pub(crate) scope: Scope,
    /// What answers it from the index.
    direct: Option<&'l Direct>,
    /// What answers it from the cache. If there is neither, the chain has to answer.
    kept: Option<&'l Kept>,
    /// Labels left of the zone.
    above: u8,
    /// Where the Service's labels stand in the name, if it has any: the first octet, the one behind.
    labels: (u8, u8),
    look_up: LookUp<'p>,
}

/// How far the look-up is of a Service, or of a reply in the cache.
#[derive(Clone, Copy)]
enum LookUp<'p> {
    /// Not begun yet.
    NotBegun,
    /// What has this hash: the slot where it would be is on its way from memory.
    Begun(u64),
    /// The same of the cache.
    BegunKept(u64),
    /// Most likely this one, which is on its way.
    Likely(&'p Entry),
    /// The same of the cache.
    LikelyKept(&'p Slot),
    /// There is none.
    Nothing,
}

impl<'m, 'l, 'p> Aim<'m, 'l, 'p> {
    /// The chain has to answer.
    pub(crate) const NONE: Self = Self {
        direct: None,
        kept: None,
        asked: Asked::NOTHING,
        scope: Scope::NONE,
        above: 0,
        labels: (0, 0),
        look_up: LookUp::NotBegun,
    };

    /// Reads a query and begins its look-up, in the cache, or in the index if that is the ground's: of
    /// A, AAAA and SRV in a zone of the cluster. If the chain has to answer, `name` holds unspecified
    /// octets after it, and [`Self::answer`] says so.
    // In its place, and one of three functions that are called for each query and not made a part of
    // their callers: so each has the processor's registers for itself.
    #[inline(never)]
    pub(crate) fn read(
        &mut self,
        message: &'m [u8],
        ground: &Ground<'l, 'p, '_>,
        name: &mut FoldedName,
    ) {
        self.asked.message = message;
        match self.try_read(message, ground, name) {
            Some(direct) => self.direct = Some(direct),
            None => self.begin_kept(ground, name),
        }
    }

    #[inline(always)]
    fn try_read(
        &mut self,
        message: &[u8],
        ground: &Ground<'l, 'p, '_>,
        name: &mut FoldedName,
    ) -> Option<&'l Direct> {
        const SVC: u32 = u32::from_ne_bytes(*b"\x03svc");
        const POD: u32 = u32::from_ne_bytes(*b"\x03pod");
        let query = PlainQuery::from_end(message)?;
        self.asked.query = query;
        let folded = name.fold(message, HEADER_LEN, query.name_len)?;
        let (direct, zone, scope) = match ground.listener.lead(&folded) {
            Lead::Index(direct, zone, scope) => (direct, zone, scope),
            Lead::Kept(kept, scope) => {
                (self.scope, self.kept) = (scope, Some(kept));
                return None;
            }
            Lead::Chain => return None,
        };
        if !matches!(query.qtype, RType::A | RType::AAAA | RType::SRV) {
            return None;
        }
        let above = folded.cut(&zone.apex)?;
        if direct.before.claims_query(&self.asked.query, name.wire()) {
            return None;
        }
        // What begins like the name of a zone's server may be one.
        if above == 0 || name.chunk(0) == b"\x02ns\x03" {
            return None;
        }
        (self.scope, self.above) = (scope, above as u8);
        self.look_up = match u32::from_ne_bytes(*name.chunk(above - 1)) {
            SVC => match above {
                // `svc` and namespaces, which exist without records.
                1 | 2 => return None,
                3..=5 => {
                    let first = name.start(above - 3) as u8 + 1;
                    self.labels = (first, name.start(above - 1) as u8);
                    match ground.services {
                        Some(services) if services.are_of(direct.index()) => {
                            let hash = name.hash_of(self.labels.0..self.labels.1);
                            services.prefetch(hash);
                            LookUp::Begun(hash)
                        }
                        _ => LookUp::NotBegun,
                    }
                }
                // Deeper ones may be about topology zones.
                _ if zone.grammar == Grammar::Zonal => return None,
                _ => LookUp::Nothing,
            },
            POD => return None,
            _ => LookUp::Nothing,
        };
        Some(direct)
    }

    /// Begins the look-up of a query that the cache may answer.
    #[inline(never)]
    fn begin_kept(&mut self, ground: &Ground<'l, 'p, '_>, name: &FoldedName) {
        if let Some(kept) = self.kept
            && let Some(hash) = kept.begin(&self.asked.query, name, ground.pinned)
        {
            self.look_up = LookUp::BegunKept(hash);
        }
    }

    /// Goes on with a look-up that was begun, once the slot may have arrived.
    #[inline(always)]
    pub(crate) fn go_on(&mut self, services: &Services<'p>, pinned: &'p Pinned) {
        match self.look_up {
            LookUp::Begun(hash) => {
                let likely = services.likely(hash, self.is_deep());
                self.look_up = likely.map_or(LookUp::Nothing, LookUp::Likely);
            }
            LookUp::BegunKept(_) => self.go_on_kept(pinned),
            _ => {}
        }
    }

    /// The same of one in the cache.
    // Apart, so that it does not crowd the way of the cluster's names.
    #[inline(never)]
    pub(crate) fn go_on_kept(&mut self, pinned: &'p Pinned) {
        if let (Some(kept), LookUp::BegunKept(hash)) = (self.kept, self.look_up) {
            let likely = kept.likely(hash, pinned);
            self.look_up = likely.map_or(LookUp::Nothing, LookUp::LikelyKept);
        }
    }

    /// Whether its answer reads more than the Service's own addresses.
    #[inline]
    const fn is_deep(&self) -> bool {
        self.above > 3
    }

    /// Has fetched what the answer reads besides, once the entry may have arrived.
    #[inline]
    pub(crate) fn prefetch(&self) {
        match self.look_up {
            LookUp::Likely(entry) if self.is_deep() => entry.node.prefetch_parts(),
            LookUp::LikelyKept(slot) => slot.prefetch(),
            _ => {}
        }
    }

    /// Answers the query that it was made of from the index: the length of the reply and its code.
    /// `None` if it cannot; then [`Self::answer_kept`] may, and otherwise the chain has to.
    #[inline(never)]
    pub(crate) fn answer(
        &self,
        name: &FoldedName,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode)> {
        let direct = self.direct?;
        let service = match self.look_up {
            LookUp::Likely(entry) if entry.is_of(self.labels(name)) => Some(entry),
            LookUp::Nothing => None,
            _ => return self.look_up_and_answer(direct, name, random, buf),
        };
        self.answer_with((direct, service), name, random, buf)
    }

    /// Answers from the cache, at this time: the length of the reply, its code, and the events to count.
    /// `None` if the chain has to.
    #[inline]
    pub(crate) fn answer_kept(
        &self,
        (name, now): (&FoldedName, impl FnOnce() -> Instant),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode, u16)> {
        match (self.kept, self.look_up) {
            (Some(kept), LookUp::LikelyKept(slot)) => {
                kept.answer(slot, &self.asked, (name, now()), random, buf)
            }
            _ => None,
        }
    }

    /// Label and namespace of the Service, with the length octet between them.
    #[inline]
    fn labels<'n>(&self, name: &'n FoldedName) -> &'n [u8] {
        name.part(self.labels.0..self.labels.1)
    }

    /// Answers without what was looked up before.
    #[inline(never)]
    fn look_up_and_answer(
        &self,
        direct: &Direct,
        name: &FoldedName,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode)> {
        let pinned = Pinned::new();
        let octets = self.labels(name);
        let hash = name.hash_of(self.labels.0..self.labels.1);
        let service = direct
            .index()
            .services(&pinned)
            .get(ServiceRef { octets, hash });
        self.answer_with((direct, service), name, random, buf)
    }

    #[inline(always)]
    fn answer_with(
        &self,
        (direct, service): (&Direct, Option<&Entry>),
        name: &FoldedName,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode)> {
        let asked = &self.asked;
        let above = usize::from(self.above);
        let suffix = name.start(above);
        let Some(node) = service.and_then(Entry::shown) else {
            return direct.end(Err(Missing::Name), suffix, asked, buf);
        };
        // Each on its own, so that the usual one need not meet the others.
        match above {
            3 => {
                let written = direct.bare(node, asked, random, buf);
                direct.end(written, suffix, asked, buf)
            }
            4 => {
                let written = direct.endpoint(node, name, asked, buf);
                direct.end(written, suffix, asked, buf)
            }
            _ => {
                let written = direct.port(node, (name, above), asked, random, buf);
                direct.end(written, suffix, asked, buf)
            }
        }
    }
}

impl Direct {
    /// What it answers from.
    #[inline]
    pub(crate) fn index(&self) -> &ClusterIndex {
        &self.kubernetes.index
    }

    /// The zone of the plugin that a name seems to be in.
    #[inline]
    pub(crate) fn zone(&self, name: &Folded<'_>) -> Option<&DirectZone> {
        self.zones.iter().find(|zone| name.ends_in(&zone.apex))
    }

    /// Whether what is not in the index may exist: elsewhere, or before the first complete list.
    fn may_exist(&self) -> bool {
        self.falls_through || !self.kubernetes.index.is_synced()
    }

    /// A Service's own name.
    #[inline(always)]
    fn bare(
        &self,
        node: &ServiceNode,
        asked: &Asked<'_>,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Written {
        let encoded = node.encoded(asked.query.qtype).ok_or(Missing::Unknown)?;
        if !node.exists() {
            return Err(Missing::Name);
        }
        match encoded {
            Encoded::A(records) => self.rrset(records, asked, random, buf),
            Encoded::Aaaa(records) => self.rrset(records, asked, random, buf),
        }
    }

    /// The name of an endpoint.
    // Apart, as what follows, so that they do not crowd the way to a Service's own name.
    #[inline(never)]
    fn endpoint(
        &self,
        node: &ServiceNode,
        name: &FoldedName,
        asked: &Asked<'_>,
        buf: &mut [u8],
    ) -> Written {
        if asked.query.qtype == RType::SRV {
            return Err(Missing::Unknown);
        }
        let hash = || name.label_and_hash(0).1;
        let address = match node.hosts_named(name.label(0), hash) {
            Some((0, _)) => return Err(Missing::Name),
            Some((1, Some(Host::Ip(address)))) => address,
            _ => return Err(Missing::Unknown),
        };
        let ttl = self.kubernetes.ttl;
        match (address, asked.query.qtype) {
            _ if !self.leaves_alone(ttl) => Err(Missing::Unknown),
            (IpAddr::V4(v4), RType::A) => Self::one(&a_record(ttl, v4), asked, buf),
            (IpAddr::V6(v6), RType::AAAA) => Self::one(&aaaa_record(ttl, v6), asked, buf),
            _ => Err(Missing::Data),
        }
    }

    fn one<const LEN: usize>(record: &[u8; LEN], asked: &Asked<'_>, buf: &mut [u8]) -> Written {
        let reply = Whole {
            rcode: Rcode::NOERROR,
            section: Section::Answer,
            records: std::slice::from_ref(record),
            rotation: 0,
        };
        write_whole(asked, &reply, buf).ok_or(Missing::Unknown)
    }

    /// The name of a port: `_port._protocol.service.namespace.svc.ZONE`.
    #[inline(never)]
    fn port(
        &self,
        node: &ServiceNode,
        (name, above): (&FoldedName, usize),
        asked: &Asked<'_>,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Written {
        let ttl = self.kubernetes.ttl;
        if asked.query.qtype != RType::SRV || !self.leaves_alone(ttl) {
            return Err(Missing::Unknown);
        }
        let selector = PortSelector {
            port: without_underscore(name.label(0)),
            protocol: without_underscore(name.label(1)),
        };
        let (port, mut addresses) = node.only_port(selector).ok_or(Missing::Unknown)?;
        let total = addresses.iter().filter(|it| !it.is_empty()).count();
        if total > 1 && self.before.rotates {
            addresses.rotate_left(random.below(total));
        }
        let zone_at = name.offset(above);
        let reply = Target {
            ttl,
            weight: weight(total),
            port,
            labels: &name.wire()[name.offset(2)..zone_at],
            zone: &asked.name_as_sent()[zone_at..],
            addresses,
        };
        write_target(asked, &reply, buf).ok_or(Missing::Unknown)
    }

    #[inline(always)]
    fn rrset<const LEN: usize>(
        &self,
        records: &[[u8; LEN]],
        asked: &Asked<'_>,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Written {
        let Some(first) = records.first() else {
            return Err(Missing::Data);
        };
        let ttl = first[6..].first_chunk().ok_or(Missing::Unknown)?;
        if !self.leaves_alone(u32::from_be_bytes(*ttl)) {
            return Err(Missing::Unknown);
        }
        let rotation = match records.len() {
            len @ 2.. if self.before.rotates => random.below(len),
            _ => 0,
        };
        let reply = Whole {
            rcode: Rcode::NOERROR,
            section: Section::Answer,
            records,
            rotation,
        };
        write_whole(asked, &reply, buf).ok_or(Missing::Unknown)
    }

    /// What becomes of a reply: it is as it was written, or says what is missing.
    #[inline(always)]
    fn end(
        &self,
        written: Written,
        suffix: usize,
        asked: &Asked<'_>,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode)> {
        match written {
            Ok(len) => Some((len as u16, Rcode::NOERROR)),
            Err(missing) => self.denial(missing, suffix, asked, buf),
        }
    }

    /// The reply that says what is missing.
    #[inline(never)]
    fn denial(
        &self,
        missing: Missing,
        suffix: usize,
        asked: &Asked<'_>,
        buf: &mut [u8],
    ) -> Option<(u16, Rcode)> {
        let rcode = match missing {
            Missing::Data => Rcode::NOERROR,
            Missing::Name if !self.may_exist() => Rcode::NXDOMAIN,
            Missing::Name | Missing::Unknown => return None,
        };
        let (soa, ttl) = soa_record(&self.kubernetes, suffix);
        if !self.leaves_alone(ttl) {
            return None;
        }
        let reply = Whole {
            rcode,
            section: Section::Authority,
            records: &[soa],
            rotation: 0,
        };
        let len = write_whole(asked, &reply, buf)?;
        Some((len as u16, rcode))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::testing::name;

    #[test]
    fn the_short_way_has_the_zones_that_are_the_blocks() {
        for (block, zones, expected) in [
            (".", &["cluster.local", "in-addr.arpa"][..], Some(2)),
            ("cluster.local", &["cluster.local"], Some(1)),
            // Names of the others never come here.
            ("cluster.local", &["cluster.local", "in-addr.arpa"], Some(1)),
            ("other.test", &["cluster.local"], Some(0)),
            // Which zone a name is in, and which block takes it, are two questions then.
            ("svc.cluster.local", &["cluster.local"], None),
            (".", &["a.b.c.d.e.f.g.h"], None),
        ] {
            let of = zones.iter().map(|zone| Zone::new(name(zone).into()));
            let found = DirectZone::all(&of.collect::<Vec<_>>(), &name(block));
            let found = found.map(|zones| zones.len());
            assert_eq!(found, expected, "{block}: {zones:?}");
        }
    }
}
