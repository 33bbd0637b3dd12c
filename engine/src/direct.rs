//! The short way: addresses of Services and endpoints, ports of Services, and the names that resolvers
//! make up from search lists, which together are most of what a cluster asks.
//!
//! What the chain comes to for such a query is the same each time, so it is worked out when the plan
//! is made ([`Direct::new`]). A query that is in any way unusual, and all queries of a block with
//! stages that might have their say, walk the chain. Both ways give the same octets; a test holds
//! them against each other.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::{Block, Random, Stage};
use crate::index::{
    ClusterIndex, Encoded, Host, PortSelector, Service, ServiceNode, ServiceRef, Services, Sought,
    a_record, aaaa_record,
};
use crate::plugins::kubernetes::{
    Grammar, Kubernetes, service_at, soa_record, weight, without_underscore,
};
use crate::plugins::rewrite::Rewrite;
use crate::wire::reply::{Target, Whole, write_target, write_whole};
use crate::wire::{Class, FoldedName, Opcode, Query, RType, Rcode, Section};

/// What a block's chain comes to for addresses and ports in the cluster's zones.
#[derive(Clone)]
pub(crate) struct Direct {
    kubernetes: Arc<Kubernetes>,
    /// Queries that a rule of it is about are not answered here.
    rewrite: Option<Arc<Rewrite>>,
    /// `loadbalance` is there.
    rotates: bool,
    /// TTLs in seconds that the `cache` directive leaves alone: smallest, largest.
    ttls: (u32, u32),
    /// Other plugins are asked for names that do not exist.
    falls_through: bool,
}

impl Direct {
    /// `None` if a stage before `kubernetes` may do more with such a query than is done here.
    pub(crate) fn new(stages: &[Stage]) -> Option<Self> {
        let mut rotates = false;
        let mut rewrite = None;
        let mut ttls = (0, u32::MAX);
        for stage in stages {
            match stage {
                // They care for failures and for other types.
                Stage::Errors(_) | Stage::Any | Stage::Transfer(_) | Stage::Cancel(_) => {}
                Stage::LoadBalance => rotates = true,
                Stage::Rewrite(rules) => rewrite = Some(Arc::clone(rules)),
                Stage::Clamp(cache) => {
                    for range in [cache.success, cache.denial] {
                        ttls = (ttls.0.max(range.min), ttls.1.min(range.max));
                    }
                }
                Stage::Kubernetes(kubernetes) => {
                    return Some(Self {
                        falls_through: falls_through(kubernetes),
                        kubernetes: Arc::clone(kubernetes),
                        rewrite,
                        rotates,
                        ttls,
                    });
                }
                _ => return None,
            }
        }
        None
    }

    fn leaves_alone(&self, ttl: u32) -> bool {
        self.ttls.0 <= ttl && ttl <= self.ttls.1
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

/// What the index has.
enum Found {
    /// Addresses: the reply is written, with this length.
    Written(usize),
    /// The name without them.
    NoData,
    /// No such name.
    Nothing,
}

/// A query that the short way is for, and where it leads.
#[derive(Clone, Copy)]
pub(crate) struct Aim<'l> {
    direct: &'l Direct,
    /// Labels left of the zone.
    above: usize,
    /// The hash of the Service that its name is about; `None` if it is about nothing that may exist.
    service: Option<u64>,
}

impl<'l> Aim<'l> {
    /// A, AAAA and SRV in a zone of the cluster. `None` if the chain has to answer.
    #[inline]
    pub(crate) fn at(
        query: &Query<'_>,
        name: &FoldedName,
        block: Option<&'l Block>,
    ) -> Option<Self> {
        let is_usual = matches!(query.qtype, RType::A | RType::AAAA | RType::SRV)
            && query.qclass == Class::IN
            && query.flags.opcode() == Opcode::QUERY
            && query
                .edns
                .as_ref()
                .is_none_or(|edns| edns.version == 0 && edns.options.is_empty());
        if !is_usual {
            return None;
        }
        let direct = block?.direct.as_ref()?;
        if direct
            .rewrite
            .as_ref()
            .is_some_and(|rules| rules.is_about(query, name))
        {
            return None;
        }
        let (zone, above) = direct.kubernetes.zone(name)?;
        // What begins like the name of a zone's server may be one.
        if !zone.is_short || above == 0 || name.chunk(0) == b"\x02ns\x03" {
            return None;
        }
        const SVC: u32 = u32::from_ne_bytes(*b"\x03svc");
        const POD: u32 = u32::from_ne_bytes(*b"\x03pod");
        let service = match u32::from_ne_bytes(*name.chunk(above - 1)) {
            SVC => match above {
                // `svc` and namespaces, which exist without records.
                1 | 2 => return None,
                3..=5 => Some(service_at(name, above - 3).hash),
                // Deeper ones may be about topology zones.
                _ if zone.grammar == Grammar::Zonal => return None,
                _ => None,
            },
            POD => return None,
            _ => None,
        };
        Some(Self {
            direct,
            above,
            service,
        })
    }

    /// Where its Service would be.
    #[inline]
    fn index(&self) -> &'l ClusterIndex {
        self.direct.index()
    }

    /// What finds the Service that its name is about.
    #[inline]
    fn service<'n>(&self, name: &'n FoldedName) -> Option<ServiceRef<'n>> {
        let hash = self.service?;
        let octets = name.span(self.above - 3, self.above - 2);
        Some(ServiceRef { octets, hash })
    }

    /// Whether it is about more than the Service's own addresses.
    #[inline]
    const fn is_deep(&self) -> bool {
        self.above > 3
    }

    /// Answers the query that it was made for: the length of the reply and its code. `None` if the
    /// chain has to.
    #[inline]
    pub(crate) fn answer(
        &self,
        to: (&Query<'_>, bool),
        name: &FoldedName,
        look_up: LookUp<'_>,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(usize, Rcode)> {
        if let LookUp::Done(service) = look_up {
            return self.answer_with(service, to, name, random, buf);
        }
        let services = self.index().services();
        let mut look_up = LookUp::begin(self, (self.index(), &services));
        look_up.finish(self, name, &services);
        match look_up {
            LookUp::Done(service) => self.answer_with(service, to, name, random, buf),
            _ => None,
        }
    }

    #[inline(always)]
    fn answer_with(
        &self,
        service: Option<Service<'_>>,
        (query, stream): (&Query<'_>, bool),
        name: &FoldedName,
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<(usize, Rcode)> {
        let Self { direct, above, .. } = *self;
        let to = (query, stream);
        let found = match service {
            Some(it) if it.is_exposed() && !it.node.is_hidden() => match above {
                3 => direct.bare(it.node, to, random, buf),
                4 => direct.endpoint(it.node, name.label(0), to, buf),
                _ => direct.port(it.node, (name, above), to, random, buf),
            },
            _ => Some(Found::Nothing),
        };
        let rcode = match found? {
            Found::Written(len) => return Some((len, Rcode::NOERROR)),
            Found::NoData => Rcode::NOERROR,
            Found::Nothing if direct.may_exist() => return None,
            Found::Nothing => Rcode::NXDOMAIN,
        };
        let len = direct.denial(rcode, name.offset(above), (query, stream), buf)?;
        Some((len, rcode))
    }
}

/// How far the look-up is of the Service that a query is about.
#[derive(Clone, Copy)]
pub(crate) enum LookUp<'s> {
    /// Not begun yet.
    NotBegun,
    /// Begun: what the index has is on its way from memory.
    Sought(Sought<'s>),
    /// Done.
    Done(Option<Service<'s>>),
}

impl<'s> LookUp<'s> {
    /// Begins one, if it is for an index with these Services.
    #[inline]
    pub(crate) fn begin(
        aim: &Aim<'_>,
        (index, services): (&ClusterIndex, &'s Services<'_>),
    ) -> Self {
        match aim.service {
            None => Self::Done(None),
            Some(hash) if std::ptr::eq(aim.index(), index) => {
                Self::Sought(services.seek(hash, aim.is_deep()))
            }
            Some(_) => Self::NotBegun,
        }
    }

    /// Finishes one that was begun, and has fetched what the answer reads besides.
    #[inline]
    pub(crate) fn finish(&mut self, aim: &Aim<'_>, name: &FoldedName, services: &'s Services<'_>) {
        if let Self::Sought(sought) = *self
            && let Some(wanted) = aim.service(name)
        {
            let found = services.find(sought, wanted);
            if let Some(found) = &found {
                found.prefetch(aim.is_deep());
            }
            *self = Self::Done(found);
        }
    }
}

impl Direct {
    /// What it answers from.
    #[inline]
    pub(crate) fn index(&self) -> &ClusterIndex {
        &self.kubernetes.index
    }

    /// Whether what is not in the index may exist: elsewhere, or before the first complete list.
    fn may_exist(&self) -> bool {
        self.falls_through || !self.kubernetes.index.is_synced()
    }

    /// A Service's own name.
    #[inline]
    fn bare(
        &self,
        node: &ServiceNode,
        to: (&Query<'_>, bool),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<Found> {
        let encoded = node.encoded(to.0.qtype)?;
        if !node.exists() {
            return Some(Found::Nothing);
        }
        match encoded {
            Encoded::A(records) => self.rrset(records, to, random, buf),
            Encoded::Aaaa(records) => self.rrset(records, to, random, buf),
        }
    }

    /// The name of an endpoint.
    // Apart, as what follows, so that they do not crowd the way to a Service's own name.
    #[inline(never)]
    fn endpoint(
        &self,
        node: &ServiceNode,
        label: &[u8],
        (query, stream): (&Query<'_>, bool),
        buf: &mut [u8],
    ) -> Option<Found> {
        if query.qtype == RType::SRV {
            return None;
        }
        let address = match node.hosts_named(label)? {
            (0, _) => return Some(Found::Nothing),
            (1, Some(Host::Ip(address))) => address,
            _ => return None,
        };
        let ttl = self.kubernetes.ttl;
        match (address, query.qtype) {
            _ if !self.leaves_alone(ttl) => None,
            (IpAddr::V4(v4), RType::A) => Self::one(&a_record(ttl, v4), (query, stream), buf),
            (IpAddr::V6(v6), RType::AAAA) => Self::one(&aaaa_record(ttl, v6), (query, stream), buf),
            _ => Some(Found::NoData),
        }
    }

    fn one<const LEN: usize>(
        record: &[u8; LEN],
        (query, stream): (&Query<'_>, bool),
        buf: &mut [u8],
    ) -> Option<Found> {
        let reply = Whole {
            rcode: Rcode::NOERROR,
            section: Section::Answer,
            records: std::slice::from_ref(record),
            rotation: 0,
        };
        write_whole(query, stream, &reply, buf).map(Found::Written)
    }

    /// The name of a port: `_port._protocol.service.namespace.svc.ZONE`.
    #[inline(never)]
    fn port(
        &self,
        node: &ServiceNode,
        (name, above): (&FoldedName, usize),
        (query, stream): (&Query<'_>, bool),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<Found> {
        let ttl = self.kubernetes.ttl;
        if query.qtype != RType::SRV || !self.leaves_alone(ttl) {
            return None;
        }
        let selector = PortSelector {
            port: without_underscore(name.label(0)),
            protocol: without_underscore(name.label(1)),
        };
        let (port, mut addresses) = node.only_port(selector)?;
        let total = addresses.iter().filter(|it| !it.is_empty()).count();
        if total > 1 && self.rotates {
            addresses.rotate_left(random.below(total));
        }
        let zone_at = name.offset(above);
        let reply = Target {
            ttl,
            weight: weight(total),
            port,
            labels: &name.wire()[name.offset(2)..zone_at],
            zone: &query.name_as_sent()[zone_at..],
            addresses,
        };
        write_target(query, stream, &reply, buf).map(Found::Written)
    }

    #[inline]
    fn rrset<const LEN: usize>(
        &self,
        records: &[[u8; LEN]],
        (query, stream): (&Query<'_>, bool),
        random: &mut Random,
        buf: &mut [u8],
    ) -> Option<Found> {
        let Some(first) = records.first() else {
            return Some(Found::NoData);
        };
        if !self.leaves_alone(u32::from_be_bytes(*first[6..].first_chunk()?)) {
            return None;
        }
        let rotation = match records.len() {
            len @ 2.. if self.rotates => random.below(len),
            _ => 0,
        };
        let reply = Whole {
            rcode: Rcode::NOERROR,
            section: Section::Answer,
            records,
            rotation,
        };
        write_whole(query, stream, &reply, buf).map(Found::Written)
    }

    fn denial(
        &self,
        rcode: Rcode,
        suffix: usize,
        (query, stream): (&Query<'_>, bool),
        buf: &mut [u8],
    ) -> Option<usize> {
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
        write_whole(query, stream, &reply, buf)
    }
}
