//! A zone's records by their owner names, and what stands under a name: RFC 1034 §4.3.2, wildcards as
//! in RFC 4592, DNAME as in RFC 6672, with CoreDNS's choice of what goes into which section.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::super::transfer::Cursor;
use crate::limits::NAME_LEN_MAX;
use crate::wire::name::count_labels;
use crate::wire::record::{name_len, serial_of};
use crate::wire::{RType, Record};

/// Aliases of a zone that are followed behind the first two, as in CoreDNS.
const CHAIN_MAX: usize = 8;

/// Why records make no zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ZoneFault {
    /// There is no SOA.
    NoSoa,
    /// NSEC3 denies names in a way that is not supported.
    Nsec3,
}

/// The records of one zone.
#[derive(Clone, Debug)]
pub struct Zone {
    origin: Box<[u8]>,
    labels: usize,
    soa: Record,
    /// The apex's own NS records: no delegation.
    ns: Vec<Record>,
    /// All others, by [`key`] of their owner.
    nodes: BTreeMap<Vec<u8>, Node>,
}

/// The records of one name, as they stand in the file.
#[derive(Clone, Debug, Default)]
struct Node(Vec<Record>);

impl Node {
    fn of(&self, rtype: RType) -> impl Iterator<Item = &Record> {
        self.0.iter().filter(move |record| record.rtype == rtype)
    }

    fn copies(&self, rtype: RType) -> Vec<Record> {
        self.of(rtype).cloned().collect()
    }
}

/// How a look-up ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// There are records.
    Success,
    /// The name exists, the type does not.
    NoData,
    /// The name exists only because there are others below it.
    Parent,
    /// There is no such name.
    NameError,
    /// The name is in a zone below.
    Delegation,
    /// An alias leads in circles, or to a name outside that cannot be resolved.
    Failure,
}

/// What a look-up found: the records of the three sections.
#[derive(Debug)]
pub struct Found {
    /// Answer, authority, additional.
    pub sections: [Vec<Record>; 3],
    /// How it ended.
    pub outcome: Outcome,
}

/// Asks for a name that the zone does not have: what stands in the answer section, and how it ended.
pub type Ask<'a> = dyn FnMut(&[u8], RType) -> (Vec<Record>, Outcome) + 'a;

impl Zone {
    /// The zone of these records, with names in lower case; records outside of it are left out.
    ///
    /// # Errors
    ///
    /// [`ZoneFault`].
    pub fn new(
        origin: &[u8],
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, ZoneFault> {
        let labels = count_labels(origin);
        let (mut soa, mut ns) = (None, Vec::new());
        let mut nodes: BTreeMap<Vec<u8>, Node> = BTreeMap::new();
        for mut record in records {
            fold(&mut record);
            let owner = record.owner.to_ascii_lowercase();
            let at_apex = *owner == *origin;
            match record.rtype {
                // Whatever its owner: a file may serve several zones.
                RType::SOA => soa = Some(record),
                RType::NS if at_apex => ns.push(record),
                RType::NSEC3 | RType::NSEC3PARAM => return Err(ZoneFault::Nsec3),
                _ if is_under(&owner, origin) => {
                    nodes.entry(key(&owner)).or_default().0.push(record);
                }
                _ => {}
            }
        }
        Ok(Self {
            origin: origin.into(),
            labels,
            soa: soa.ok_or(ZoneFault::NoSoa)?,
            ns,
            nodes,
        })
    }

    /// The serial of its SOA.
    pub fn serial(&self) -> u32 {
        serial_of(&self.soa).unwrap_or(0)
    }

    /// All of its records in the order of a transfer (RFC 5936 §2.2), but for the SOA at the end.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        let apex = std::iter::once(&self.soa).chain(&self.ns);
        apex.chain(self.nodes.values().flat_map(|node| &node.0))
    }

    /// Its SOA.
    pub(in crate::plugins) const fn soa(&self) -> &Record {
        &self.soa
    }

    /// Writes the records that are still to be sent, in the order of a transfer (RFC 5936 §2.2), until
    /// `write` has no room for one. Returns whether all are written, the SOA at the end as well.
    pub(in crate::plugins) fn write_from(
        &self,
        cursor: &mut Cursor,
        mut write: impl FnMut(&Record) -> bool,
    ) -> bool {
        let apex = std::iter::once(&self.soa).chain(&self.ns);
        for record in apex.skip(cursor.apex) {
            if !write(record) {
                return false;
            }
            cursor.apex += 1;
        }
        let from = (
            std::mem::replace(&mut cursor.node, Bound::Unbounded),
            Bound::Unbounded,
        );
        let mut last = None;
        for (key, node) in self.nodes.range(from.clone()) {
            for record in &node.0[cursor.within..] {
                if !write(record) {
                    cursor.node = Bound::Included(key.clone());
                    return false;
                }
                cursor.within += 1;
            }
            cursor.within = 0;
            last = Some(key);
        }
        cursor.node = last.map_or(from.0, |key| Bound::Excluded(key.clone()));
        write(&self.soa)
    }

    /// Looks up a name of the zone, in lower-case wire form, for a client that wants DNSSEC records or
    /// not. `ask` is for where aliases lead.
    pub fn look_up(
        &self,
        name: &[u8],
        (qtype, dnssec_ok): (RType, bool),
        ask: &mut Ask<'_>,
    ) -> Found {
        let mut found = self.find(name, qtype, ask);
        if dnssec_ok
            && found.outcome == Outcome::Delegation
            && let Some(cut) = found.sections[1].first()
            && let Some(node) = self.node(&cut.owner)
        {
            let ds = node.copies(RType::DS);
            found.sections[1].extend(ds);
        }
        found
    }

    fn find(&self, name: &[u8], qtype: RType, ask: &mut Ask<'_>) -> Found {
        if *name == *self.origin {
            match qtype {
                RType::SOA => return found([vec![self.soa.clone()], self.ns.clone(), vec![]]),
                RType::NS => return found([self.ns.clone(), vec![], self.glue(&self.ns)]),
                _ => {}
            }
        }
        let mut wildcard = None;
        for ancestor in self.path(name) {
            let Some(node) = self.node(ancestor) else {
                if *ancestor != *self.origin {
                    let star = asterisk_for(ancestor);
                    match self.node(&star) {
                        Some(node) => wildcard = Some(Some(node)),
                        None if self.has_below(&star) => wildcard = Some(None),
                        None => {}
                    }
                }
                continue;
            };
            if let Some(dname) = node.of(RType::DNAME).next()
                && let Some(alias) = synthesized(name, dname)
            {
                return self.renamed(dname, alias, qtype, ask);
            }
            if let Some(referral) = self.referral(node, name, qtype) {
                return referral;
            }
        }
        if let Some(node) = self.node(name) {
            return self.at(node, None, qtype, ask);
        }
        // As in CoreDNS, for names without records that have others below them, too, and for what is
        // below those; RFC 4592 §3.3.1 would have no wildcard there.
        if let Some(node) = wildcard {
            return match node {
                Some(node) => self.at(node, Some(name), qtype, ask),
                None => self.denial(Outcome::NoData),
            };
        }
        // A name without records that has others below it exists (RFC 4592 §2.2.2).
        self.denial(if self.has_below(name) {
            Outcome::Parent
        } else {
            Outcome::NameError
        })
    }

    /// The answer from a node; under another name if that is given (RFC 4592 §3.3.1).
    fn at(&self, node: &Node, name: Option<&[u8]>, qtype: RType, ask: &mut Ask<'_>) -> Found {
        let copies = |rtype| {
            let mut copies = node.copies(rtype);
            if let Some(name) = name {
                copies.iter_mut().for_each(|it| it.owner = name.into());
            }
            copies
        };
        let aliases = copies(RType::CNAME);
        if !aliases.is_empty() && qtype != RType::CNAME {
            return self.follow(aliases, qtype, ask);
        }
        let records = copies(qtype);
        if records.is_empty() {
            return self.denial(Outcome::NoData);
        }
        let additional = self.additional(&records);
        found([records, self.ns.clone(), additional])
    }

    fn denial(&self, outcome: Outcome) -> Found {
        Found {
            sections: [vec![], vec![self.soa.clone()], vec![]],
            outcome,
        }
    }

    /// The DNAME, the CNAME made from it, and what that leads to.
    fn renamed(&self, dname: &Record, alias: Record, qtype: RType, ask: &mut Ask<'_>) -> Found {
        if alias.target() == Some(&*alias.owner) {
            return Found {
                sections: Default::default(),
                outcome: Outcome::Failure,
            };
        }
        let mut found = if qtype == RType::CNAME {
            found([vec![alias], self.ns.clone(), vec![]])
        } else {
            self.follow(vec![alias], qtype, ask)
        };
        found.sections[0].insert(0, dname.clone());
        found
    }

    /// Follows an alias: through the zone, and with `ask` beyond it.
    fn follow(&self, mut answer: Vec<Record>, qtype: RType, ask: &mut Ask<'_>) -> Found {
        let mut alias = answer[0].clone();
        for _ in 0..=CHAIN_MAX {
            let target = alias.target().unwrap_or_default().to_ascii_lowercase();
            for ancestor in self.path(&target).filter(|it| **it != *self.origin) {
                let node = self.node(ancestor);
                if let Some(referral) = node.and_then(|it| self.referral(it, &target, qtype)) {
                    let [_, authority, additional] = referral.sections;
                    return Found {
                        sections: [answer, authority, additional],
                        ..referral
                    };
                }
            }
            // The apex's SOA and NS are not among the nodes.
            let at_apex = matches!(qtype, RType::NS | RType::SOA) && *target == *self.origin;
            let Some(node) = self.node(&target).filter(|_| !at_apex) else {
                let (records, outcome) = ask(&target, qtype);
                answer.extend(records);
                let additional = self.additional(&answer);
                return Found {
                    sections: [answer, self.ns.clone(), additional],
                    outcome,
                };
            };
            let aliases = node.copies(RType::CNAME);
            let Some(next) = aliases.first() else {
                answer.extend(node.copies(qtype));
                break;
            };
            alias = next.clone();
            answer.extend(aliases);
        }
        let additional = self.additional(&answer);
        found([answer, self.ns.clone(), additional])
    }

    /// The referral to the zone below that a node begins. DS stands above the cut.
    fn referral(&self, node: &Node, name: &[u8], qtype: RType) -> Option<Found> {
        let ns = node.copies(RType::NS);
        let owner = ns.first()?.owner.to_ascii_lowercase();
        if qtype == RType::DS && *owner == *name {
            return None;
        }
        let glue = self.glue(&ns);
        Some(Found {
            sections: [vec![], ns, glue],
            outcome: Outcome::Delegation,
        })
    }

    /// Addresses of name servers that are below the names they serve.
    fn glue(&self, ns: &[Record]) -> Vec<Record> {
        let below = ns.iter().filter_map(|record| {
            let server = record.target()?.to_ascii_lowercase();
            is_under(&server, &record.owner.to_ascii_lowercase()).then_some(server)
        });
        below.flat_map(|server| self.addresses(&server)).collect()
    }

    /// Addresses in the zone of the hosts that MX, SRV, SVCB and HTTPS records name, each once.
    fn additional(&self, answer: &[Record]) -> Vec<Record> {
        let mut hosts: Vec<Vec<u8>> = Vec::new();
        for record in answer {
            let host = match record.rtype {
                RType::MX | RType::SRV => record.target(),
                RType::SVCB | RType::HTTPS => record.rdata.get(2..).map(first_name),
                _ => None,
            };
            let Some(host) = host.map(<[u8]>::to_ascii_lowercase) else {
                continue;
            };
            if is_under(&host, &self.origin) && !hosts.contains(&host) {
                hosts.push(host);
            }
        }
        hosts.iter().flat_map(|host| self.addresses(host)).collect()
    }

    fn addresses(&self, host: &[u8]) -> Vec<Record> {
        let of = |node: &Node| {
            [RType::A, RType::AAAA]
                .map(|rtype| node.copies(rtype))
                .concat()
        };
        self.node(host).map_or_else(Vec::new, of)
    }

    fn node(&self, name: &[u8]) -> Option<&Node> {
        self.nodes.get(&key(name))
    }

    /// Whether there are names strictly below this one.
    fn has_below(&self, name: &[u8]) -> bool {
        let key = key(name);
        let mut behind = self.nodes.range(key.clone()..);
        behind
            .find(|(other, _)| **other != key)
            .is_some_and(|(other, _)| other.starts_with(&key))
    }

    /// The names from the apex down to `name`, if it is in the zone.
    fn path<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'n [u8]> + use<'n> {
        let ancestors: Vec<_> = if is_under(name, &self.origin) {
            let all = ancestors(name);
            all.take(count_labels(name) - self.labels + 1).collect()
        } else {
            Vec::new()
        };
        ancestors.into_iter().rev()
    }
}

fn found(sections: [Vec<Record>; 3]) -> Found {
    Found {
        sections,
        outcome: Outcome::Success,
    }
}

const ASTERISK: &[u8] = b"\x01*";

/// The wildcard in the place of a name's first label.
fn asterisk_for(name: &[u8]) -> Vec<u8> {
    let parent = ancestors(name).nth(1).unwrap_or(&[0]);
    [ASTERISK, parent].concat()
}

/// The name, its parent, and so on to the root.
fn ancestors(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |&name| match name.first() {
        Some(&len @ 1..) => name.get(1 + usize::from(len)..),
        _ => None,
    })
}

/// Whether a wire name is at or below another one; both in the same case.
fn is_under(name: &[u8], parent: &[u8]) -> bool {
    ancestors(name).any(|ancestor| ancestor == parent)
}

/// Labels from the right, each with its length: whatever is below a name begins with its key.
fn key(name: &[u8]) -> Vec<u8> {
    let labels: Vec<_> = ancestors(name)
        .filter_map(|it| it.first().map(|&len| &it[..=usize::from(len)]))
        .collect();
    let from_the_right = labels.into_iter().rev().skip(1); // The root.
    from_the_right.flatten().copied().collect()
}

fn first_name(octets: &[u8]) -> &[u8] {
    &octets[..name_len(octets)]
}

/// Names in lower case, where CoreDNS has them so: all but owners and targets of SRV.
fn fold(record: &mut Record) {
    match record.rtype {
        RType::SRV => return,
        RType::NS | RType::CNAME | RType::MX => {
            if let Some(target) = record.target().map(<[u8]>::to_ascii_lowercase) {
                record.set_target(&target);
            }
        }
        RType::SOA | RType::SVCB | RType::HTTPS => {
            let (from, names) = if record.rtype == RType::SOA {
                (0, 2)
            } else {
                (2, 1)
            };
            let mut at = from.min(record.rdata.len());
            for _ in 0..names {
                let len = name_len(&record.rdata[at..]);
                record.rdata[at..at + len].make_ascii_lowercase();
                at += len;
            }
        }
        _ => {}
    }
    record.owner.make_ascii_lowercase();
}

/// The CNAME that a DNAME makes of a name strictly below it (RFC 6672 §2.2). `None` for other names
/// and for results that are too long.
fn synthesized(name: &[u8], dname: &Record) -> Option<Record> {
    let owner = dname.owner.to_ascii_lowercase();
    let left = name.strip_suffix(&*owner).filter(|left| !left.is_empty())?;
    if !is_under(name, &owner) {
        return None;
    }
    let target = [left, dname.target()?].concat();
    (target.len() <= NAME_LEN_MAX).then(|| Record {
        owner: name.into(),
        rtype: RType::CNAME,
        rdata: target,
        ..dname.clone()
    })
}

#[cfg(test)]
mod tests;
