//! `dns64`: AAAA records for names that have only A records (RFC 6147).

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::Ipv6Net;

use crate::chain::{Context, Stage, Step};
use crate::metrics::Event;
use crate::wire::{Answer, Class, Flags, RType, Rcode, Record, Reply};

/// One `dns64`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dns64 {
    /// Where IPv4 addresses are in IPv6: 32, 40, 48, 56, 64, 72, 80, 88 or 96 bits.
    pub prefix: Ipv6Net,
    /// Names that have AAAA records are translated as well.
    pub translate_all: bool,
    /// Queries over IPv4 are as well.
    pub allow_ipv4: bool,
}

/// In seconds: what new records live at most if there is no SOA that says it (RFC 6147 §5.1.7).
const TTL_MAX: u32 = 600;

impl Dns64 {
    pub(crate) fn query(self, context: &Context<'_>) -> Step {
        let query = &context.query;
        let is_v6 = context.peer.remote.ip().to_canonical().is_ipv6();
        if query.qtype == RType::AAAA && query.qclass == Class::IN && (is_v6 || self.allow_ipv4) {
            Step::Wraps
        } else {
            Step::Next
        }
    }

    pub(crate) fn wrap(
        self,
        context: &mut Context<'_>,
        rest: &[Stage],
        reply: &mut Reply<'_>,
    ) -> Step {
        let packet = context.asking(context.query.name_as_sent(), RType::AAAA);
        let (step, answer) = context.serve_rest(&packet, rest);
        let has_aaaa = || {
            answer.sections[0]
                .iter()
                .any(|record| record.rtype == RType::AAAA)
        };
        // Without a SOA it denies nothing, for CoreDNS: the name may be where an alias leads.
        let has_soa = || {
            let mut authority = answer.sections[1].iter();
            authority.any(|record| record.rtype == RType::SOA)
        };
        // A failure is as good as an empty answer (RFC 6147 §5.1.2), but for one that nobody wrote.
        if step != Step::Answered
            || (answer.rcode == Rcode::NXDOMAIN && has_soa())
            || (!self.translate_all && has_aaaa())
        {
            if step == Step::Answered {
                answer.put(reply);
            }
            return step;
        }
        let name = context.name.wire().to_vec();
        let found = context.look_up(&name, RType::A, Answer::read);
        if context.need.is_some() {
            return Step::Slow;
        }
        let Some(Some(found)) = found else {
            return Step::Failed(Rcode::SERVFAIL, "no reply to the question for A records");
        };
        self.synthesize(&answer, found, reply);
        context.count(Event::Dns64Translated);
        Step::Answered
    }

    /// Turns the A records of `found` into AAAA records. `denied` is the answer for AAAA.
    fn synthesize(self, denied: &Answer, found: Answer, reply: &mut Reply<'_>) {
        let soa = denied.sections[1]
            .iter()
            .rfind(|record| record.rtype == RType::SOA);
        let ttl_max = soa.map_or(TTL_MAX, |soa| soa.ttl);
        let [mut answers, authorities, additionals] = found.sections;
        for record in &mut answers {
            self.translate(record, ttl_max);
        }
        let answer = Answer {
            flags: Flags(reply.flags().0 | (found.flags.0 & Flags::TC)),
            rcode: Rcode::NOERROR,
            sections: [answers, authorities, additionals],
            opt: None,
        };
        answer.put(reply);
    }

    fn translate(self, record: &mut Record, ttl_max: u32) {
        let Ok(octets) = <[u8; 4]>::try_from(&*record.rdata) else {
            return;
        };
        if record.rtype == RType::A {
            record.rtype = RType::AAAA;
            record.ttl = record.ttl.min(ttl_max);
            record.rdata = self.embed(octets.into()).octets().to_vec();
        }
    }

    /// RFC 6052 §2.2: octet 8 stays zero, wherever the address begins.
    fn embed(self, address: Ipv4Addr) -> Ipv6Addr {
        let mut octets = self.prefix.network().octets();
        let mut at = usize::from(self.prefix.prefix_len() / 8);
        for octet in address.octets() {
            if at == 8 {
                at += 1;
            }
            if let Some(place) = octets.get_mut(at) {
                *place = octet;
            }
            at += 1;
        }
        octets.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ask_from, describe, peer, query};
    use super::*;
    use crate::wire::Section;
    use crate::wire::reply::Owner;

    #[test]
    fn addresses_are_put_where_rfc_6052_wants_them() {
        let address = Ipv4Addr::new(192, 0, 2, 33);
        for (prefix, expected) in [
            ("2001:db8::/32", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "2001:db8:122:344:c0:2:2100::"),
            ("2001:db8:122:344::/96", "2001:db8:122:344::192.0.2.33"),
        ] {
            let dns64 = Dns64 {
                prefix: prefix.parse().unwrap(),
                translate_all: false,
                allow_ipv4: false,
            };
            assert_eq!(
                dns64.embed(address),
                expected.parse::<Ipv6Addr>().unwrap(),
                "{prefix}"
            );
        }
    }

    #[test]
    fn records_are_made_where_there_are_none() {
        // v4 has an A record, v6 an AAAA record, both have both; others do not exist, and vague's
        // denial has no SOA.
        let zone = Stage::Fixed(|context, reply| {
            let name = context.name.wire();
            let is_both = name == b"\x04both\0";
            match context.query.qtype {
                RType::A if is_both || name == b"\x02v4\0" => {
                    reply.record(
                        Section::Answer,
                        Owner::Question,
                        RType::A,
                        900,
                        &[10, 0, 0, 1],
                    );
                }
                RType::AAAA if is_both || name == b"\x02v6\0" => {
                    let octets = Ipv6Addr::LOCALHOST.octets();
                    reply.record(Section::Answer, Owner::Question, RType::AAAA, 900, &octets);
                }
                _ if name == b"\x05vague\0" => reply.set_rcode(Rcode::NXDOMAIN),
                _ if !is_both && !name.starts_with(b"\x02v") => {
                    reply.set_rcode(Rcode::NXDOMAIN);
                    let owner = Owner::Question;
                    reply.record(Section::Authority, owner, RType::SOA, 60, &[0; 22]);
                }
                _ => {}
            }
            Step::Answered
        });
        let made = "600 AAAA 64:ff9b::a00:1";
        for (all, v4, from, asked, expected) in [
            (
                false,
                false,
                "fd00::1",
                "v4.",
                format!("NOERROR | v4. {made}"),
            ),
            (false, false, "192.0.2.1", "v4.", "NOERROR".to_owned()),
            (
                false,
                true,
                "192.0.2.1",
                "v4.",
                format!("NOERROR | v4. {made}"),
            ),
            (
                false,
                false,
                "fd00::1",
                "both.",
                "NOERROR | both. 900 AAAA ::1".to_owned(),
            ),
            (
                true,
                false,
                "fd00::1",
                "both.",
                format!("NOERROR | both. {made}"),
            ),
            (
                false,
                false,
                "fd00::1",
                "none.",
                "NXDOMAIN | ns none. 60 SOA .".to_owned(),
            ),
            (false, false, "fd00::1", "vague.", "NOERROR".to_owned()),
        ] {
            let dns64 = Dns64 {
                prefix: "64:ff9b::/96".parse().unwrap(),
                translate_all: all,
                allow_ipv4: v4,
            };
            let stages = [Stage::Dns64(dns64), zone.clone()];
            let packet = query(asked, RType::AAAA, &[]);
            let reply = ask_from(&stages, peer(from), &packet).unwrap();
            assert_eq!(describe(&reply), expected, "{all} {v4} {from} {asked}");
        }
    }
}
