//! `autopath`: walks the client's search list here, in one query instead of many.
//!
//! A question below the first domain of the client's search list is asked again with each domain, and
//! with none; the first name that exists is the answer, behind an alias from the name that was asked.
//!
//! Which pod asks is told by its address, so only a pod whose address is its own is helped: an
//! address that pods of several namespaces share (pods in the host's network) belongs to none. The
//! namespace is the one that the client names itself, and the index says whether such a pod has this
//! address: what is out of date can only mean no help, never somebody else's names. What exists for
//! one type of a name exists for the others as well, so A and AAAA come to the same.

use std::sync::Arc;

use super::zones::Zones;
use crate::chain::{Context, Stage, Step};
use crate::index::{ClusterIndex, LabelRef};
use crate::limits::NAME_LEN_MAX;
use crate::metrics::Event;
use crate::wire::name::count_labels;
use crate::wire::{Class, FoldedName, RType, Rcode, Record, Reply};

/// One `autopath`.
pub struct Autopath {
    /// What it is for.
    pub zones: Zones,
    /// Where search lists are from.
    pub source: Source,
}

/// Where the search list of a client is from.
pub enum Source {
    /// One for all: lower-case wire names.
    Fixed(Vec<Box<[u8]>>),
    /// That of pods: `NAMESPACE.svc.ZONE`, `svc.ZONE`, `ZONE`, and what the machine has besides.
    Pods {
        /// The cluster, which knows pods by their addresses.
        index: Arc<ClusterIndex>,
        /// Its zones.
        zones: Zones,
        /// The search list of the machine: lower-case wire names.
        more: Vec<Box<[u8]>>,
    },
}

/// The domains that are tried, and how many octets of the name come before the first of them.
struct Search {
    above: usize,
    domains: Vec<Box<[u8]>>,
}

impl Autopath {
    pub(crate) fn query(&self, context: &Context<'_>) -> Step {
        let name = context.name;
        if !self.zones.hold(name) {
            return Step::Next;
        }
        let is_first = match &self.source {
            Source::Fixed(domains) => domains.first().is_some_and(|first| {
                name.labels_above(first, count_labels(first))
                    .is_some_and(|above| above > 0)
            }),
            Source::Pods { index, zones, .. } => pod_domain(name, zones, index, context).is_some(),
        };
        if is_first { Step::Wraps } else { Step::Next }
    }

    /// The search list for a query that [`Self::query`] found to be in its first domain.
    fn search(&self, context: &Context<'_>) -> Option<Search> {
        let name = context.name;
        match &self.source {
            Source::Fixed(domains) => {
                let first = domains.first()?;
                let above = name.labels_above(first, count_labels(first))?;
                let root = Box::from([0]);
                Some(Search {
                    above: name.offset(above),
                    domains: domains.iter().cloned().chain([root]).collect(),
                })
            }
            Source::Pods { index, zones, more } => {
                let above = pod_domain(name, zones, index, context)?;
                let domains = [above, above + 1, above + 2];
                let domains = domains.map(|above| Box::from(&name.wire()[name.offset(above)..]));
                let root = Box::from([0]);
                Some(Search {
                    above: name.offset(above),
                    domains: domains
                        .into_iter()
                        .chain(more.iter().cloned())
                        .chain([root])
                        .collect(),
                })
            }
        }
    }

    pub(crate) fn wrap(
        &self,
        context: &mut Context<'_>,
        rest: &[Stage],
        reply: &mut Reply<'_>,
    ) -> Step {
        let Some(search) = self.search(context) else {
            return Step::Failed(Rcode::SERVFAIL, "no search list");
        };
        let sent = context.query.name_as_sent();
        let base = &sent[..search.above];
        let qtype = context.query.qtype;
        let mut first = None;
        for domain in &search.domains {
            let name = [base, domain].concat();
            if name.len() > NAME_LEN_MAX {
                continue;
            }
            let packet = context.asking(&name, qtype);
            let (step, mut answer) = context.serve_rest(&packet, rest);
            match step {
                Step::Slow | Step::Dropped => return step,
                // What says no more than that it has no answer lets the next name be asked. After
                // an error it is not known whether the name exists, so no later one may count.
                Step::Failed(_, cause) if !cause.is_empty() => return step,
                _ => {}
            }
            if step == Step::Answered && answer.rcode != Rcode::NXDOMAIN {
                alias(sent, &mut answer.sections[0]);
                answer.put(reply);
                context.count(Event::AutopathSuccess);
                return step;
            }
            first.get_or_insert((step, answer));
        }
        let Some((step, answer)) = first else {
            return Step::Failed(
                Rcode::SERVFAIL,
                "no name of the search list is short enough",
            );
        };
        if step == Step::Answered {
            answer.put(reply);
        }
        step
    }
}

/// The number of labels before `NAMESPACE.svc.ZONE`, if the client is a pod in that namespace and in
/// no other, and if there are any.
fn pod_domain(
    name: &FoldedName,
    zones: &Zones,
    index: &ClusterIndex,
    context: &Context<'_>,
) -> Option<usize> {
    let zone = zones.find(name)?;
    let above = name
        .labels_above(zone, count_labels(zone))?
        .checked_sub(2)?;
    if above == 0 || name.label(above + 1) != b"svc" {
        return None;
    }
    let client = context.peer.remote.ip().to_canonical();
    let (octets, hash) = name.label_and_hash(above);
    (index.pods(LabelRef { octets, hash }, client) == 1).then_some(above)
}

/// Puts an alias from the name that was asked before the records of another one.
fn alias(asked: &[u8], records: &mut Vec<Record>) {
    let mut others = records.iter();
    let other = others.find(|record| !record.owner.eq_ignore_ascii_case(asked));
    if let Some(other) = other {
        let alias = Record {
            owner: asked.to_vec(),
            rtype: RType::CNAME,
            class: Class::IN,
            ttl: other.ttl,
            rdata: other.owner.clone(),
        };
        records.insert(0, alias);
    }
}

#[cfg(test)]
mod tests;
