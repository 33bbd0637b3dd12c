//! `no_aaaa`: NODATA for AAAA, before an upstream is asked. Half of all queries in a cluster without
//! IPv6 are such.

use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::wire::reply::Owner;
use crate::wire::{Class, FoldedName, RType, Reply, Section};

/// In seconds: how long clients may remember that there is no address.
const TTL: u32 = 30;

/// Answers AAAA at and under `zones`. The SOA is that of the zone named, since nobody is asked whose
/// it really is (RFC 2308 §2.2 wants one).
pub(crate) fn query(zones: &Zones, context: &Context<'_>, reply: &mut Reply<'_>) -> Step {
    let is_asked = context.query.qtype == RType::AAAA && context.query.qclass == Class::IN;
    let Some(zone) = zones.find(context.name).filter(|_| is_asked) else {
        return Step::Next;
    };
    let suffix = context.name.wire().len() - zone.len();
    soa(context.name, suffix, reply);
    Step::Answered
}

fn soa(name: &FoldedName, suffix: usize, reply: &mut Reply<'_>) {
    let owner = Owner::QuestionSuffix(suffix);
    let begun = reply.begin(Section::Authority, owner, RType::SOA, Class::IN, TTL);
    let zone = &name.wire()[suffix..];
    reply.put_name(&[b"\x02ns\x03dns", zone].concat());
    reply.put_name(&[b"\x0ahostmaster", zone].concat());
    // Serial, refresh, retry, expire, minimum.
    for number in [1, 7_200, 1_800, 86_400, TTL] {
        reply.put(&number.to_be_bytes());
    }
    reply.end(begun);
}
