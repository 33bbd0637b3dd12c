//! `transfer`: whole zones for secondaries (RFC 5936), as long as they are asked for over a stream.
//! Incremental transfers (RFC 1995) are answered with the SOA alone or with the whole zone.

use std::net::IpAddr;
use std::ops::Bound;
use std::sync::Arc;

use super::file::File;
use super::file::zone::Zone;
use super::zones::Zones;
use crate::chain::{Context, Step};
use crate::wire::record::{Record, serial_of};
use crate::wire::walk::{records, skip_name};
use crate::wire::{FoldedName, Query, RType, Rcode, Reply, Section};

/// All `transfer`s of a block.
pub struct Transfer {
    /// One for each `transfer`.
    pub rules: Vec<Rule>,
    /// Where the zones are.
    pub file: Option<Arc<File>>,
}

/// Who may have some zones.
pub struct Rule {
    /// The zones, and all in them.
    pub zones: Zones,
    /// Everybody may have them.
    pub to_all: bool,
    /// Those who may have them otherwise.
    pub to: Vec<IpAddr>,
}

impl Rule {
    fn allows(&self, client: IpAddr) -> bool {
        self.to_all || self.to.contains(&client.to_canonical())
    }
}

impl Transfer {
    /// The rule with the longest zone that the name is in; the first of several.
    fn rule(&self, name: &FoldedName) -> Option<&Rule> {
        let mut best: Option<(usize, &Rule)> = None;
        for rule in &self.rules {
            if let Some(zone) = rule.zones.find(name)
                && best.is_none_or(|(len, _)| zone.len() > len)
            {
                best = Some((zone.len(), rule));
            }
        }
        best.map(|(_, rule)| rule)
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let qtype = context.query.qtype;
        if !matches!(qtype, RType::AXFR | RType::IXFR) {
            return Step::Next;
        }
        if !context.may_stream {
            return Step::Failed(Rcode::REFUSED, "");
        }
        let Some(rule) = self.rule(context.name) else {
            return Step::Next;
        };
        if !rule.allows(context.peer.remote.ip()) {
            reply.set_rcode(Rcode::REFUSED);
            return Step::Answered;
        }
        let mut known = None;
        if qtype == RType::IXFR {
            known = known_serial(&context.query);
            if known.is_none() {
                return Step::Failed(Rcode::SERVFAIL, "IXFR without a SOA");
            }
        }
        let zone = self.file.as_ref().and_then(|it| it.exactly(context.name));
        let Some(zone) = zone else {
            return Step::Next;
        };
        // Zero stands for no zone at all, as in CoreDNS.
        let is_current = known.is_some_and(|it| it != 0 && it == zone.serial());
        context.outgoing = Some(Box::new(Outgoing {
            query: context.query.packet.into(),
            zone,
            cursor: Cursor::default(),
            soa_alone: is_current,
            done: false,
        }));
        Step::Answered
    }
}

/// The serial of the SOA that an IXFR carries (RFC 1995 §3).
fn known_serial(query: &Query<'_>) -> Option<u32> {
    let packet = query.packet;
    let counts = packet.get(6..10)?;
    let [answers, authorities] = [0, 2].map(|at| u16::from_be_bytes([counts[at], counts[at + 1]]));
    if (answers, authorities) != (0, 1) {
        return None;
    }
    let at = skip_name(packet, crate::wire::query::HEADER_LEN)? + 4;
    let soa = records(packet, at, 1).next()?;
    let soa = Record::read(packet, &soa).filter(|it| it.rtype == RType::SOA)?;
    serial_of(&soa)
}

/// How much of a zone was sent.
#[derive(Debug)]
pub struct Cursor {
    /// Records of the apex.
    pub(super) apex: usize,
    /// The node to go on with, and how many of its records were sent.
    pub(super) node: Bound<Vec<u8>>,
    pub(super) within: usize,
}

impl Default for Cursor {
    fn default() -> Self {
        Self {
            apex: 0,
            node: Bound::Unbounded,
            within: 0,
        }
    }
}

/// A transfer under way: the zone as it was when it began, and how much of it is still to be sent.
/// Messages are made one by one, each when there is room for it.
pub struct Outgoing {
    query: Box<[u8]>,
    zone: Arc<Zone>,
    cursor: Cursor,
    soa_alone: bool,
    done: bool,
}

impl Outgoing {
    /// Writes the next message, as full as it gets, and returns its length; `None` after the last.
    pub fn next_message(&mut self, buf: &mut [u8]) -> Option<usize> {
        if self.done {
            return None;
        }
        let mut name = Box::new(FoldedName::default());
        let query = Query::parse(&self.query, &mut name).ok()?;
        let mut reply = Reply::new(buf, &query, true);
        reply.set_authoritative();
        let mut write = |record: &Record| record.write(Section::Answer, &mut reply);
        self.done = if self.soa_alone {
            write(self.zone.soa());
            true
        } else {
            self.zone.write_from(&mut self.cursor, write)
        };
        // A record that fits no message would never end.
        self.done |= reply.is_empty();
        // What did not fit is in the next one.
        reply.clear_truncated();
        Some(reply.finish(query.edns.as_ref()))
    }
}

#[cfg(test)]
mod tests;
