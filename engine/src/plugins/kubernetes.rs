//! `kubernetes`: answers from the cluster's index, as CoreDNS gives them.
//!
//! The name is cut into the parts of the DNS-Based Service Discovery specification
//! ([`name::Parts`]), the parts are looked up, and the answer for the type is written:
//!
//! ```text
//! [[port.proto | endpoint].]service.namespace.svc.ZONE      address.namespace.pod.ZONE
//! ```
//!
//! Zones of a set of clusters hold what these offer together, and `endpoint.cluster` there. With
//! `zonal`, headless Services have `TOPOLOGY-ZONE.(pin | prefer)._zone` names as well.
//!
//! Where CoreDNS's answers are odd but harmless they are the same here, because clients and tools
//! have grown around them; the comments say which those are. Deviations: `tests/DEVIATIONS.md`.

mod answer;
mod chase;
mod external;
mod labels;
mod name;
pub(super) mod reverse;
mod servers;
mod subject;
pub(super) mod whole;

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::{Context, Step};
use crate::index::{ClusterIndex, ServiceName, ServiceNode, ServiceRef};
use crate::wire::{FoldedName, RType, Rcode, Reply, Section};
pub(crate) use answer::{soa_record, weight};
pub use external::{ExternalOptions, ExternalZone, K8sExternal};
use name::Parts;
pub(crate) use name::without_underscore;
pub use name::{Cut, Part};
pub use subject::Subject;

/// The version of the specification that `dns-version.ZONE` tells.
const SPEC_VERSION: &[u8] = b"\x051.1.0";
const SPEC_VERSION_TTL: u32 = 28_800;

/// How names of pods are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PodMode {
    /// Not at all.
    Disabled,
    /// Any address that the name spells, if the namespace exists.
    Insecure,
    /// Only if a pod of the namespace has the address.
    Verified,
}

/// A zone of the plugin.
#[derive(Clone, Debug)]
pub struct Zone {
    /// The apex: lower-case wire name.
    pub apex: Box<[u8]>,
    /// The number of its labels.
    pub labels: usize,
    /// Under `in-addr.arpa.` or `ip6.arpa.`.
    pub reverse: bool,
    /// What names it has.
    pub grammar: Grammar,
    /// Names of it may be answered without the chain.
    pub(crate) is_short: bool,
}

/// Which names a zone has besides the usual ones, and whose Services it holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Grammar {
    /// The cluster's own Services.
    #[default]
    Usual,
    /// Likewise, and the endpoints of headless ones by topology zone.
    Zonal,
    /// The Services that clusters offer together; two labels below one are an endpoint and its
    /// cluster.
    Multicluster,
}

impl Zone {
    /// A zone from its lower-case wire name.
    pub fn new(apex: Box<[u8]>) -> Self {
        let labels = crate::wire::name::count_labels(&apex);
        let reverse =
            apex.ends_with(b"\x07in-addr\x04arpa\x00") || apex.ends_with(b"\x03ip6\x04arpa\x00");
        Self {
            apex,
            labels,
            reverse,
            grammar: Grammar::Usual,
            is_short: !reverse && labels > 0,
        }
    }

    /// The same zone with other names.
    #[must_use]
    pub fn with_grammar(self, grammar: Grammar) -> Self {
        let is_short = self.is_short && grammar != Grammar::Multicluster;
        Self {
            grammar,
            is_short,
            ..self
        }
    }
}

/// Which names go to the next plugin instead of NXDOMAIN.
#[derive(Clone, Debug, Default)]
pub struct Fallthrough {
    /// Wire names and their label counts; the root for all.
    pub zones: Vec<(Box<[u8]>, usize)>,
}

/// One `kubernetes` of a block.
#[derive(Clone)]
pub struct Kubernetes {
    /// The cluster's names.
    pub index: Arc<ClusterIndex>,
    /// Its zones, longest first.
    pub zones: Vec<Zone>,
    /// The zone that PTR records lead into.
    pub primary: Box<[u8]>,
    /// How pods are answered.
    pub pods: PodMode,
    /// TTL of records, in seconds.
    pub ttl: u32,
    /// What falls through.
    pub fallthrough: Fallthrough,
    /// `namespaces` is set: PTR answers respect it.
    pub filters_reverse: bool,
    /// The server's own addresses, for NS records.
    pub local_addresses: Arc<[IpAddr]>,
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Missing {
    /// There is no such name.
    Name,
    /// The name exists, records of this type do not.
    Data,
}

impl Kubernetes {
    /// The zone that a name is in, and how many of its labels are left of it.
    #[inline]
    pub(crate) fn zone(&self, name: &FoldedName) -> Option<(&Zone, usize)> {
        let mut zones = self.zones.iter();
        zones.find_map(|zone| Some((zone, name.labels_above(&zone.apex, zone.labels)?)))
    }

    /// The index that holds the Services of a zone. `None` for one that nobody publishes.
    #[inline]
    pub fn index_of(&self, zone: &Zone) -> Option<&ClusterIndex> {
        match zone.grammar {
            Grammar::Multicluster => self.index.imports().map(|imports| &**imports),
            Grammar::Usual | Grammar::Zonal => Some(&self.index),
        }
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let Some((zone, above)) = self.zone(context.name) else {
            return Step::Next;
        };
        let qtype = context.query.qtype;
        if matches!(qtype, RType::AXFR | RType::IXFR) {
            return Step::Failed(Rcode::REFUSED, "");
        }
        let suffix = context.name.offset(above);
        let question = Question {
            kubernetes: self,
            zone,
            above,
            suffix,
            name_as_sent: context.query.name_as_sent(),
        };
        let answered = question.answer(context, reply);
        if context.need.is_some() {
            return Step::Slow;
        }
        match answered {
            Ok(()) => {
                reply.set_authoritative();
                return Step::Answered;
            }
            Err(Missing::Data) => {}
            Err(Missing::Name) => {
                let falls = |(zone, labels): &(Box<[u8]>, usize)| {
                    context.name.labels_above(zone, *labels).is_some()
                };
                if self.fallthrough.zones.iter().any(falls) {
                    reply.clear();
                    return Step::Next;
                }
                // Before the first complete list a missing name says nothing: clients must not
                // remember NXDOMAIN.
                let rcode = if self.index.is_synced() {
                    Rcode::NXDOMAIN
                } else {
                    Rcode::SERVFAIL
                };
                reply.set_rcode(rcode);
            }
        }
        reply.set_authoritative();
        answer::soa(self, (zone, suffix), Section::Authority, reply);
        Step::Answered
    }
}

/// A question inside one of the plugin's zones.
#[derive(Clone, Copy)]
struct Question<'a> {
    kubernetes: &'a Kubernetes,
    zone: &'a Zone,
    /// Labels left of the zone.
    above: usize,
    /// Octets left of the zone.
    suffix: usize,
    /// The question's name in the client's spelling.
    name_as_sent: &'a [u8],
}

impl Question<'_> {
    /// Writes the answer, or says what is missing.
    fn answer(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<(), Missing> {
        match context.query.qtype {
            RType::SOA => {
                // CoreDNS tells nothing of the name's existence here, only of the apex.
                if self.above > 0 {
                    return Err(Missing::Data);
                }
                let zone = (self.zone, self.suffix);
                answer::soa(self.kubernetes, zone, Section::Answer, reply);
                Ok(())
            }
            RType::NS if self.above == 0 && self.is_zone_plain() => {
                servers::name_servers(self, context, reply)
            }
            RType::PTR => self.pointer(context, reply),
            RType::TXT => self.text(context, reply),
            RType::A | RType::AAAA if self.is_default_name_server(context) => {
                servers::own_addresses(self, context, reply)
            }
            _ if self.is_default_name_server(context) => Err(Missing::Data),
            RType::A | RType::AAAA | RType::SRV | RType::CNAME => self.records(context, reply),
            // MX and all others: only whether the name exists.
            _ => Err(self.missing(context)),
        }
    }

    /// Whether the client spelled the zone in lower case. CoreDNS compares its name servers' names
    /// with regard to case, and what it says of them in other spellings is kept: no resolver asks.
    fn is_zone_plain(&self) -> bool {
        self.name_as_sent.ends_with(&self.zone.apex)
    }

    /// Reads the entry of a Service of the zone, as [`ClusterIndex::service`].
    #[inline]
    fn service<R>(
        &self,
        service: ServiceRef<'_>,
        read: impl FnOnce(&ServiceName, &ServiceNode, bool) -> R,
    ) -> Option<R> {
        let index = self.kubernetes.index_of(self.zone)?;
        index.service(service, read)
    }

    #[inline]
    fn records(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Result<(), Missing> {
        match Parts::split(self, context.name)? {
            Parts::Pod { label, namespace } => answer::pod(self, context, label, namespace, reply),
            Parts::Service { service, part } => {
                let chased = self.service(service, |name, node, is_exposed| {
                    if !is_exposed || node.is_hidden() {
                        return Err(Missing::Name);
                    }
                    answer::service(self, context, (name, node), part, reply)
                });
                match chased.unwrap_or(Err(Missing::Name))? {
                    answer::Written::Whole => Ok(()),
                    // The rest happens outside of the index, which is not held meanwhile.
                    answer::Written::Lead(targets) => chase::chase(self, context, targets, reply),
                }
            }
        }
    }

    /// What is missing at a name that has no records of the type asked.
    fn missing(&self, context: &Context<'_>) -> Missing {
        match Parts::split(self, context.name) {
            Err(missing) => missing,
            Ok(Parts::Pod { label, namespace }) => {
                match answer::pod_address(self.kubernetes, label, namespace) {
                    Some(_) => Missing::Data,
                    None => Missing::Name,
                }
            }
            Ok(Parts::Service { service, part }) => {
                let exists = self.service(service, |_, node, is_exposed| {
                    is_exposed && part.items(node, |_| {}).is_some()
                });
                if exists == Some(true) {
                    Missing::Data
                } else {
                    Missing::Name
                }
            }
        }
    }

    fn pointer(&self, context: &Context<'_>, reply: &mut Reply<'_>) -> Result<(), Missing> {
        match reverse::address_of(context.name) {
            Some(address) => answer::pointers(self.kubernetes, address, reply),
            None => Err(self.missing(context)),
        }
    }

    /// Only `dns-version.ZONE` has text. Elsewhere CoreDNS says NODATA where a Service or a pod
    /// stands, NXDOMAIN at all other names, existing ones as well.
    fn text(&self, context: &Context<'_>, reply: &mut Reply<'_>) -> Result<(), Missing> {
        if self.above == 1 && context.name.label(0) == b"dns-version" {
            let owner = crate::wire::reply::Owner::Question;
            reply.record(
                Section::Answer,
                owner,
                RType::TXT,
                SPEC_VERSION_TTL,
                SPEC_VERSION,
            );
            return Ok(());
        }
        let empty = matches!(Parts::split(self, context.name), Err(Missing::Data));
        if empty {
            Err(Missing::Name)
        } else {
            Err(self.missing(context))
        }
    }

    /// `ns.dns.ZONE`. CoreDNS compares text, so whatever comes after the zone's first occurrence
    /// does not matter.
    fn is_default_name_server(&self, context: &Context<'_>) -> bool {
        self.is_default_name_server_name(context.name)
    }

    fn is_default_name_server_name(&self, name: &FoldedName) -> bool {
        name.wire()
            .strip_prefix(b"\x02ns\x03dns")
            .is_some_and(|rest| {
                let apex = &self.zone.apex[..self.zone.apex.len() - 1];
                self.above >= 2
                    && self.zone.labels > 0
                    && rest.starts_with(apex)
                    && self.is_zone_plain()
            })
    }

    /// Whether a service's target is inside this zone.
    fn holds(&self, target: &FoldedName) -> Option<usize> {
        target.labels_above(&self.zone.apex, self.zone.labels)
    }
}
