//! `local`: `localhost` and the reverse zones of 0/8, 127/8 and 255/8 (RFC 6303), answered here so
//! that they never reach an upstream.

use crate::chain::{Context, Step};
use crate::metrics::Event;
use crate::wire::reply::Owner;
use crate::wire::{FoldedName, RType, Rcode, Reply, Section};

/// One week, as CoreDNS.
const TTL: u32 = 604_800;
const LOCALHOST: &[u8] = b"\x09localhost\x00";
/// The zones and their label counts.
const ZONES: [(&[u8], usize); 4] = [
    (LOCALHOST, 1),
    (b"\x010\x07in-addr\x04arpa\x00", 3),
    (b"\x03127\x07in-addr\x04arpa\x00", 3),
    (b"\x03255\x07in-addr\x04arpa\x00", 3),
];
const LOOPBACK_PTR: &[u8] = b"\x011\x010\x010\x03127\x07in-addr\x04arpa\x00";

/// The plugin's settings.
#[derive(Clone, Copy, Debug)]
pub struct Local {
    /// `localhost_prefix`: `localhost.` before any search domain is answered as well.
    pub localhost_prefix: bool,
}

impl Local {
    pub(crate) fn query(self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let (name, qtype) = (context.name, context.query.qtype);
        let zone = ZONES
            .iter()
            .find_map(|(zone, labels)| Some((*zone, name.labels_above(zone, *labels)?)));
        // As CoreDNS 1.14, and RFC 6761 §6.3 wants it: names below `localhost` are no less local.
        let is_below = matches!(zone, Some((LOCALHOST, 1..)));
        if is_below || (self.localhost_prefix && has_localhost_prefix(name)) {
            context.seen.events |= Event::Localhost.bit();
            if !address(qtype, reply) {
                soa(Section::Authority, 0, reply);
            }
            return Step::Answered;
        }
        let Some((zone, above)) = zone else {
            return Step::Next;
        };
        let suffix = name.offset(above);
        match (above, qtype) {
            (0, RType::A | RType::AAAA) if zone == LOCALHOST => {
                address(qtype, reply);
            }
            (0, RType::SOA) => soa(Section::Answer, 0, reply),
            (0, RType::NS) => {
                let begun = reply.begin(
                    Section::Answer,
                    Owner::Question,
                    RType::NS,
                    context.query.qclass,
                    TTL,
                );
                reply.put_name(LOCALHOST);
                reply.end(begun);
            }
            (0, _) => soa(Section::Authority, 0, reply),
            _ if name.wire() == LOOPBACK_PTR => {
                if qtype == RType::PTR {
                    let begun = reply.begin(
                        Section::Answer,
                        Owner::Question,
                        RType::PTR,
                        context.query.qclass,
                        TTL,
                    );
                    reply.put_name(LOCALHOST);
                    reply.end(begun);
                } else {
                    soa(Section::Authority, suffix, reply);
                }
            }
            _ => {
                soa(Section::Authority, suffix, reply);
                reply.set_rcode(Rcode::NXDOMAIN);
            }
        }
        Step::Answered
    }
}

fn has_localhost_prefix(name: &FoldedName) -> bool {
    name.label_count() > 1 && name.label(0) == b"localhost"
}

/// Writes the loopback address of the family asked for; `false` for other types.
fn address(qtype: RType, reply: &mut Reply<'_>) -> bool {
    match qtype {
        RType::A => reply.record(
            Section::Answer,
            Owner::Question,
            qtype,
            TTL,
            &[127, 0, 0, 1],
        ),
        RType::AAAA => {
            let octets = std::net::Ipv6Addr::LOCALHOST.octets();
            reply.record(Section::Answer, Owner::Question, qtype, TTL, &octets)
        }
        _ => return false,
    };
    true
}

/// Writes the SOA of the zone whose apex is the question without its first `suffix` octets.
fn soa(section: Section, suffix: usize, reply: &mut Reply<'_>) {
    let begun = reply.begin(
        section,
        Owner::QuestionSuffix(suffix),
        RType::SOA,
        crate::wire::Class::IN,
        TTL,
    );
    reply.put_name(LOCALHOST);
    reply.put_name(b"\x04root\x09localhost\x00");
    for number in [1, 0, 0, 0, TTL] {
        reply.put(&number.to_be_bytes());
    }
    reply.end(begun);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Stage, Step};
    use crate::plugins::testing::ask;

    #[test]
    fn names_below_localhost_are_local() {
        let stages = |localhost_prefix| {
            let behind = |_: &mut Context<'_>, reply: &mut Reply<'_>| {
                reply.set_rcode(Rcode::REFUSED);
                Step::Answered
            };
            [
                Stage::Local(Local { localhost_prefix }),
                Stage::Fixed(behind),
            ]
        };
        for (name, qtype, on, off) in [
            (
                "x.localhost.",
                RType::A,
                "NOERROR | x.localhost. 604800 A 127.0.0.1",
                "",
            ),
            (
                "a.x.localhost.",
                RType::AAAA,
                "NOERROR | a.x.localhost. 604800 AAAA ::1",
                "",
            ),
            (
                "localhost.a.test.",
                RType::A,
                "NOERROR | localhost.a.test. 604800 A 127.0.0.1",
                "REFUSED",
            ),
            (
                "x.127.in-addr.arpa.",
                RType::A,
                "NXDOMAIN | ns 127.in-addr.arpa. 604800 SOA",
                "",
            ),
            (
                "x.localhost.",
                RType::TXT,
                "NOERROR | ns x.localhost. 604800 SOA",
                "",
            ),
            ("xlocalhost.", RType::A, "REFUSED", ""),
        ] {
            let off = if off.is_empty() { on } else { off };
            for (localhost_prefix, expected) in [(true, on), (false, off)] {
                let found = ask(&stages(localhost_prefix), name, qtype);
                assert!(
                    found.starts_with(expected),
                    "{name} {qtype} {localhost_prefix}: {found}"
                );
            }
        }
    }
}
