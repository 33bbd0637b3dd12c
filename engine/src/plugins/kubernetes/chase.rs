//! Following ExternalName Services and endpoints that are host names: a CNAME and what it leads
//! to, in one answer, because stub resolvers do not follow CNAMEs themselves.
//!
//! Rare next to address look-ups, so this is plain code that allocates. Chains inside the zone are
//! followed in the index; a target outside of it goes through the whole server like a query of the
//! client.

use std::net::IpAddr;

use super::name::Parts;
use super::{Missing, Question, answer, servers};
use crate::chain::Context;
use crate::index::Host;
use crate::limits::CNAME_CHAIN_MAX;
use crate::wire::codes::Flags;
use crate::wire::walk::{records, skip_name};
use crate::wire::{Class, FoldedName, RType, Record, Reply, Section};

/// Follows `targets` of the question's name and writes what they lead to.
pub(super) fn chase(
    question: &Question<'_>,
    context: &mut Context<'_>,
    targets: Vec<Box<[u8]>>,
    reply: &mut Reply<'_>,
) -> Result<(), Missing> {
    let owner = context.query.name_as_sent();
    let mut chase = Chase {
        question,
        context,
        chain: Vec::new(),
        truncated: false,
    };
    let found = chase.follow_all(owner, targets);
    let truncated = chase.truncated;
    for record in &found {
        record.write(Section::Answer, reply);
    }
    if truncated {
        reply.set_truncated();
    }
    let empty = found.is_empty() && reply.count(Section::Answer) == 0;
    if empty { Err(Missing::Data) } else { Ok(()) }
}

/// Owner and target of a CNAME.
type Alias = (Box<[u8]>, Box<[u8]>);

struct Chase<'a, 'q> {
    question: &'a Question<'a>,
    context: &'a mut Context<'q>,
    /// Owner and target of each CNAME so far.
    chain: Vec<Alias>,
    truncated: bool,
}

impl Chase<'_, '_> {
    fn follow_all(&mut self, owner: &[u8], targets: Vec<Box<[u8]>>) -> Vec<Record> {
        targets
            .into_iter()
            .flat_map(|target| self.follow(owner, target))
            .collect()
    }

    /// The CNAME from `owner` to `target` and what is behind it; nothing if it leads nowhere inside
    /// the zone, in a circle, or too far.
    fn follow(&mut self, owner: &[u8], target: Box<[u8]>) -> Vec<Record> {
        let mut folded = Box::new(FoldedName::default());
        if folded.parse(&target, 0).is_err() || is_under(&target, owner) {
            return Vec::new();
        }
        let step = (owner.into(), target.clone());
        let repeated = self.chain.iter().any(|known| {
            known.0.eq_ignore_ascii_case(owner) && known.1.eq_ignore_ascii_case(&target)
        });
        if self.chain.len() >= CNAME_CHAIN_MAX || repeated {
            return Vec::new();
        }
        let ttl = self.question.kubernetes.ttl;
        let mut found = vec![Record {
            owner: owner.to_vec(),
            rtype: RType::CNAME,
            class: Class::IN,
            ttl,
            rdata: target.to_vec(),
        }];
        let behind = if let Some(above) = self.question.holds(&folded) {
            self.chain.push(step);
            let behind = self.inside(&target, &folded, above);
            self.chain.pop();
            if behind.is_empty() {
                return behind;
            }
            behind
        } else {
            match self.outside(&target) {
                Some(behind) => behind,
                None => return Vec::new(),
            }
        };
        found.extend(behind);
        found
    }

    /// What a name of the same zone stands for.
    fn inside(&mut self, target: &[u8], folded: &FoldedName, above: usize) -> Vec<Record> {
        let question = Question {
            above,
            suffix: folded.offset(above),
            ..*self.question
        };
        let kubernetes = question.kubernetes;
        let qtype = self.context.query.qtype;
        let mut leads = Vec::new();
        let mut hosts = Vec::new();
        if question.is_default_name_server_name(folded) {
            hosts = servers::own_address_list(kubernetes);
        } else {
            match Parts::split(&question, folded) {
                Err(_) => {}
                Ok(Parts::Pod { label, namespace }) => {
                    let pod = answer::pod_address(kubernetes, label, namespace);
                    hosts.extend(pod.map(|(host, _)| host));
                }
                Ok(Parts::Service { service, part }) => {
                    question.service(service, |_, node, is_exposed| {
                        if !is_exposed {
                            return;
                        }
                        part.items(node, |item| match item.host {
                            Host::Name(name) => leads.push(name.into()),
                            Host::Ip(host) => hosts.push(host),
                        });
                    });
                }
            }
        }
        let mut seen = Vec::new();
        let mut found = Vec::new();
        for host in hosts {
            let octets: Vec<u8> = match (host, qtype) {
                (IpAddr::V4(v4), RType::A) => v4.octets().into(),
                (IpAddr::V6(v6), RType::AAAA) => v6.octets().into(),
                _ => continue,
            };
            if !seen.contains(&host) {
                seen.push(host);
                found.push(Record {
                    owner: target.to_vec(),
                    rtype: qtype,
                    class: Class::IN,
                    ttl: kubernetes.ttl,
                    rdata: octets,
                });
            }
        }
        found.extend(self.follow_all(target, leads));
        found
    }

    /// What the server as a whole answers for a name outside of the zone. `None` if it does not
    /// reply at all.
    fn outside(&mut self, target: &[u8]) -> Option<Vec<Record>> {
        let qtype = self.context.query.qtype;
        let (found, truncated) = self.context.look_up(target, qtype, |message| {
            let answers = usize::from(u16::from_be_bytes([message[6], message[7]]));
            let records_at = skip_name(message, 12).map_or(message.len(), |end| end + 4);
            let found = records(message, records_at, answers)
                .filter_map(|record| Record::read(message, &record))
                .collect();
            let flags = Flags(u16::from_be_bytes([message[2], message[3]]));
            (found, flags.has(Flags::TC))
        })?;
        self.truncated |= truncated;
        Some(found)
    }
}

/// Whether `name` is at or below `parent`; both uncompressed wire names of any case.
fn is_under(name: &[u8], parent: &[u8]) -> bool {
    let mut at = 0;
    loop {
        if name[at..].eq_ignore_ascii_case(parent) {
            return true;
        }
        match name.get(at) {
            Some(&len @ 1..) => at += 1 + usize::from(len),
            _ => return false,
        }
    }
}
