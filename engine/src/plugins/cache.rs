//! `cache`: for now the part that cluster names see. CoreDNS gives every record of a reply that
//! passes its cache the smallest TTL of the message, clamped to the cache's bounds; answers of the
//! index pass the same clamp but are never stored, as the index is as fast and always fresh.

use crate::chain::{Context, Step};
use crate::wire::walk::records;
use crate::wire::{Opcode, RType, Rcode, Reply, Section};

/// TTL bounds of one kind of answer, in seconds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TtlRange {
    /// No TTL is below.
    pub min: u32,
    /// No TTL is above.
    pub max: u32,
}

/// One `cache` of a block.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Zones that it works for; wire name and number of labels.
    pub zones: Vec<(Box<[u8]>, usize)>,
    /// Bounds for positive answers.
    pub success: TtlRange,
    /// Bounds for NXDOMAIN and NODATA.
    pub denial: TtlRange,
    /// `keepttl`: TTLs pass as they are.
    pub keep_ttl: bool,
}

impl Cache {
    pub(crate) fn response(&self, context: &Context<'_>, step: Step, reply: &mut Reply<'_>) {
        let zones = &self.zones;
        if step != Step::Answered
            || self.keep_ttl
            || context.query.flags().opcode() != Opcode::QUERY
            || !zones
                .iter()
                .any(|(zone, labels)| context.name.labels_above(zone, *labels).is_some())
        {
            return;
        }
        let range = match reply.rcode() {
            Rcode::NOERROR if reply.count(Section::Answer) > 0 => self.success,
            Rcode::NOERROR | Rcode::NXDOMAIN if has_soa(reply) => self.denial,
            _ => return,
        };
        // The usual case: one TTL throughout, and within bounds.
        let (smallest, largest) = reply.ttls();
        if smallest == largest && (range.min..=range.max).contains(&smallest) {
            return;
        }
        let (message, at, counts) = reply.message_mut();
        let count = counts.iter().map(|&count| usize::from(count)).sum();
        let ttl = |message: &[u8], ttl_at: usize| {
            u32::from_be_bytes(
                message[ttl_at..ttl_at + 4]
                    .try_into()
                    .expect("a slice of four"),
            )
        };
        let smallest = records(message, at, count)
            .map(|record| ttl(message, record.ttl_at))
            .min();
        let Some(smallest) = smallest else { return };
        let clamped = smallest
            .clamp(range.min, range.max.max(range.min))
            .to_be_bytes();
        let mut next = at;
        for _ in 0..count {
            let Some(record) = crate::wire::walk::record_at(message, next) else {
                return;
            };
            message[record.ttl_at..record.ttl_at + 4].copy_from_slice(&clamped);
            next = record.end;
        }
    }
}

fn has_soa(reply: &mut Reply<'_>) -> bool {
    let (message, at, [answers, authorities, _]) = reply.message_mut();
    records(message, at, usize::from(answers + authorities))
        .any(|record| record.rtype == RType::SOA)
}
