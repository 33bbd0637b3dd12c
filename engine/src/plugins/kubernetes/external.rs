//! `k8s_external`: Services under the names and addresses that they have outside of the cluster.
//!
//! ```text
//! [[port.proto | endpoint].]service.namespace.ZONE        ns1.APEX.ZONE, APEX.ZONE
//! ```
//!
//! It knows its zones in lower case only, as CoreDNS's, so records of the zone itself do not follow
//! the client's spelling.

mod whole;

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::{
    EXPIRE, Items, NameBuf, REFRESH, RETRY, Written, address, holds_address, put_service, services,
    whole_unless_empty,
};
use super::name::{label_at, service_at, without_underscore};
use super::{Kubernetes, Missing, reverse, servers};
use crate::chain::{Context, Step};
use crate::index::{
    EndpointSlice, ExternalHost, Host, Item, Kind, LabelRef, PortSelector, ServiceName,
    ServiceNode, external_items,
};
use crate::plugins::zones::Zones;
use crate::wire::name::{count_labels, label_hash};
use crate::wire::reply::Owner;
use crate::wire::{Answer, Class, FoldedName, RType, Rcode, Record, Reply, Section};

/// A zone of the plugin. All names are wire names.
#[derive(Clone, Debug)]
pub struct ExternalZone {
    /// Its apex in lower case.
    apex: Box<[u8]>,
    labels: usize,
    /// What is under this name is the zone's own; lower case.
    own: Box<[u8]>,
    own_labels: usize,
    name_server: Box<[u8]>,
    mailbox: Box<[u8]>,
}

impl ExternalZone {
    /// The zone at `apex`, a lower-case wire name, with the name of its server below `own`, labels in
    /// wire form without the root.
    pub fn new(apex: Box<[u8]>, own: &[u8]) -> Self {
        let below = |first: &[u8]| [first, own, &apex].concat().into_boxed_slice();
        let (name_server, mailbox) = (below(b"\x03ns1"), below(b"\x0ahostmaster"));
        let own = below(b"").to_ascii_lowercase().into_boxed_slice();
        Self {
            labels: count_labels(&apex),
            own_labels: count_labels(&own),
            apex,
            own,
            name_server,
            mailbox,
        }
    }

    /// Its apex.
    pub fn apex(&self) -> &[u8] {
        &self.apex
    }
}

/// One `k8s_external` of a block.
pub struct K8sExternal {
    /// The cluster, as `kubernetes` of the same block has it.
    cluster: Arc<Kubernetes>,
    /// The zones, longest first.
    zones: Vec<ExternalZone>,
    /// The zone that PTR records lead into.
    primary: Box<[u8]>,
    ttl: u32,
    headless: bool,
    fallthrough: Zones,
}

/// What the plugin is told besides its zones.
pub struct ExternalOptions {
    /// TTL of records but SRV and CNAME, in seconds; theirs is the one of `kubernetes`.
    pub ttl: u32,
    /// Whether Services without external hosts are answered with their endpoints.
    pub headless: bool,
    /// What falls through.
    pub fallthrough: Zones,
}

/// What came of a look-up in the index.
enum Found {
    Done(Result<(), Missing>),
    /// Hosts of which some have to be looked up.
    Hosts(Vec<ExternalHost>),
}

impl K8sExternal {
    /// The plugin for the Services of `cluster`. PTR records lead into the first zone.
    pub fn new(
        cluster: Arc<Kubernetes>,
        mut zones: Vec<ExternalZone>,
        options: ExternalOptions,
    ) -> Self {
        let primary = zones
            .first()
            .map_or_else(|| [0].into(), |zone| zone.apex.clone());
        zones.sort_by_key(|zone| std::cmp::Reverse(zone.labels));
        let ExternalOptions {
            ttl,
            headless,
            fallthrough,
        } = options;
        Self {
            cluster,
            zones,
            primary,
            ttl,
            headless,
            fallthrough,
        }
    }

    /// Its zones.
    pub fn zones(&self) -> &[ExternalZone] {
        &self.zones
    }

    /// The apexes of its zones; other names are not its business.
    pub(crate) fn apexes(&self) -> impl Iterator<Item = &[u8]> {
        self.zones.iter().map(|zone| &*zone.apex)
    }

    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        let name = context.name;
        let mut zones = self.zones.iter();
        let found =
            zones.find_map(|zone| Some((zone, name.labels_above(&zone.apex, zone.labels)?)));
        let Some((zone, above)) = found else {
            return Step::Next;
        };
        let answered = if above == 0 {
            self.apex(zone, context, reply)
        } else if let Some(above) = name.labels_above(&zone.own, zone.own_labels) {
            self.own(above, context, reply)
        } else {
            let address = reverse::address_of(name).filter(|_| context.query.qtype == RType::PTR);
            let answered = match address {
                Some(address) => self.pointers(address, reply),
                None => self.records(zone, above, context, reply),
            };
            if context.need.is_some() {
                return Step::Slow;
            }
            if answered == Err(Missing::Name) && self.fallthrough.hold(name) {
                reply.clear();
                return Step::Next;
            }
            answered
        };
        reply.set_authoritative();
        if let Err(missing) = answered {
            match missing {
                Missing::Data => {}
                Missing::Name if self.cluster.index.is_synced() => {
                    reply.set_rcode(Rcode::NXDOMAIN);
                }
                // Nobody knows yet.
                Missing::Name => reply.set_rcode(Rcode::SERVFAIL),
            }
            self.soa(zone, Section::Authority, reply);
        }
        Step::Answered
    }

    fn soa(&self, zone: &ExternalZone, section: Section, reply: &mut Reply<'_>) {
        let owner = Owner::Name(&zone.apex);
        let begun = reply.begin(section, owner, RType::SOA, Class::IN, self.ttl);
        reply.put_name(&zone.name_server);
        reply.put_name(&zone.mailbox);
        let serial = self.cluster.index.external().serial();
        let numbers = [serial, REFRESH, RETRY, EXPIRE, self.ttl].map(u32::to_be_bytes);
        reply.put(numbers.as_flattened());
        reply.end(begun);
    }

    fn apex(
        &self,
        zone: &ExternalZone,
        context: &Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Missing> {
        match context.query.qtype {
            RType::SOA => self.soa(zone, Section::Answer, reply),
            RType::NS => {
                let owner = Owner::Name(&zone.apex);
                let begun = reply.begin(Section::Answer, owner, RType::NS, Class::IN, self.ttl);
                reply.put_name(&zone.name_server);
                reply.end(begun);
                // The glue follows the client's spelling of the zone.
                let above = &zone.name_server[..zone.name_server.len() - zone.apex.len()];
                let glue = [above, context.query.name_as_sent()].concat();
                for host in self.own_addresses() {
                    let (owner, rtype) = (Owner::Name(&glue), super::answer::address_type(host));
                    address(owner, rtype, self.ttl, Section::Additional, host, reply);
                }
            }
            _ => return Err(Missing::Data),
        }
        Ok(())
    }

    /// The zone's name server and the name above it.
    fn own(
        &self,
        above: usize,
        context: &Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Missing> {
        match above {
            0 => Err(Missing::Data),
            1 if context.name.label(0) == b"ns1" => {
                let qtype = context.query.qtype;
                for host in self.own_addresses() {
                    address(
                        Owner::Question,
                        qtype,
                        self.ttl,
                        Section::Answer,
                        host,
                        reply,
                    );
                }
                whole_unless_empty(reply).map(|_| ())
            }
            _ => Err(Missing::Name),
        }
    }

    /// Where this server is to be had from outside. Asked rarely, so this allocates.
    fn own_addresses(&self) -> Vec<IpAddr> {
        let cluster = &*self.cluster;
        let mut found = Vec::new();
        let is_endpoint = servers::each_own_service(cluster, |name, node, slice| {
            if self.headless && node.kind() == Kind::Headless {
                found.extend(slice.hosts().filter_map(ip));
                return;
            }
            cluster.index.external().hosts(name.key(), |hosts| {
                found.extend(hosts.iter().map(ExternalHost::host).filter_map(ip));
            });
        });
        if !is_endpoint {
            found.extend(&*cluster.local_addresses);
        }
        found
    }

    fn pointers(&self, host: IpAddr, reply: &mut Reply<'_>) -> Result<(), Missing> {
        self.each_pointer(host, |target| {
            let (owner, ttl) = (Owner::Question, self.ttl);
            let begun = reply.begin(Section::Answer, owner, RType::PTR, Class::IN, ttl);
            reply.put_name(target);
            reply.end(begun);
        });
        match whole_unless_empty(reply) {
            Ok(_) => Ok(()),
            Err(_) => Err(Missing::Name),
        }
    }

    /// Visits the names that an address stands for.
    fn each_pointer(&self, host: IpAddr, mut visit: impl FnMut(&[u8])) {
        let external = self.cluster.index.external();
        external.owners(host.to_canonical(), |names| {
            for name in names {
                if self.cluster.filters_reverse && !name.namespace().is_exposed() {
                    continue;
                }
                let mut target = NameBuf::default();
                target.push(name.label());
                target.push(name.namespace().label().octets);
                if let Some(target) = target.under(&self.primary) {
                    visit(target);
                }
            }
        });
    }

    fn records(
        &self,
        zone: &ExternalZone,
        above: usize,
        context: &mut Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Missing> {
        let (name, qtype) = (context.name, context.query.qtype);
        let index = &self.cluster.index;
        if !index.namespace_exposed(label_at(name, above - 1)) {
            return Err(Missing::Name);
        }
        let (selector, endpoint) = match above {
            1 => return Err(Missing::Data),
            2 => (PortSelector::default(), None),
            3 => (PortSelector::default(), Some(endpoint(name))),
            4 => {
                let selector = PortSelector {
                    port: without_underscore(name.label(0)),
                    protocol: without_underscore(name.label(1)),
                };
                (selector, None)
            }
            _ => return Err(Missing::Name),
        };
        let service = service_at(name, above - 2);
        let found = index.service(service, |name, node, _| {
            index.external().hosts(service, |hosts| {
                let is_headless = node.kind() == Kind::Headless || endpoint.is_some();
                let items = External {
                    zone,
                    name,
                    node,
                    hosts: (!self.headless || !is_headless || !hosts.is_empty()).then_some(hosts),
                    selector,
                    endpoint,
                };
                self.answer(&items, qtype, reply)
            })
        });
        match found {
            None => Err(Missing::Name),
            Some(Found::Done(answered)) => answered,
            // The rest happens outside of the index, which is not held meanwhile.
            Some(Found::Hosts(hosts)) => self.chase(&hosts, context, reply),
        }
    }

    fn answer(&self, items: &External<'_>, qtype: RType, reply: &mut Reply<'_>) -> Found {
        let mut has_names = false;
        let count = items.each(|item| has_names |= matches!(item.host, Host::Name(_)));
        if count.is_none() {
            return Found::Done(Err(Missing::Name));
        }
        if has_names && matches!(qtype, RType::A | RType::AAAA | RType::SRV) {
            let mut hosts = Vec::new();
            items.each(|item| {
                let host = match item.host {
                    Host::Ip(address) => ExternalHost::Ip(address),
                    Host::Name(name) => ExternalHost::Name(name.into()),
                };
                if !hosts.contains(&host) {
                    hosts.push(host);
                }
            });
            if qtype == RType::SRV {
                hosts.retain(|host| matches!(host, ExternalHost::Name(_)));
                let written = services(items, (self.cluster.ttl, self.ttl), reply);
                if let Err(missing) = written {
                    return Found::Done(Err(missing));
                }
            }
            return Found::Hosts(hosts);
        }
        let written = match qtype {
            RType::A | RType::AAAA => {
                items.each(|item| {
                    let Host::Ip(host) = item.host else { return };
                    let repeated = items.hosts.is_none() && items.node.repeats_addresses();
                    if !(item.repeats_address || repeated && holds_address(reply, host)) {
                        address(
                            Owner::Question,
                            qtype,
                            self.ttl,
                            Section::Answer,
                            host,
                            reply,
                        );
                    }
                });
                whole_unless_empty(reply)
            }
            RType::SRV => services(items, (self.cluster.ttl, self.ttl), reply),
            _ => Err(Missing::Data),
        };
        Found::Done(written.map(|_: Written| ()))
    }

    /// Writes hosts of which some are names, and what the server as a whole answers for those. For
    /// SRV, of which the records are there already, only that.
    fn chase(
        &self,
        hosts: &[ExternalHost],
        context: &mut Context<'_>,
        reply: &mut Reply<'_>,
    ) -> Result<(), Missing> {
        let qtype = context.query.qtype;
        let mut truncated = false;
        for host in hosts {
            match host {
                ExternalHost::Ip(host) => {
                    address(
                        Owner::Question,
                        qtype,
                        self.ttl,
                        Section::Answer,
                        *host,
                        reply,
                    );
                }
                ExternalHost::Name(target) if qtype == RType::SRV => {
                    for qtype in [RType::A, RType::AAAA] {
                        let (found, _) = look_up(target, qtype, context);
                        for record in found {
                            record.write(Section::Additional, reply);
                        }
                    }
                }
                ExternalHost::Name(target) => {
                    let (owner, ttl) = (Owner::Question, self.cluster.ttl);
                    let begun = reply.begin(Section::Answer, owner, RType::CNAME, Class::IN, ttl);
                    reply.put_name(target);
                    reply.end(begun);
                    let (found, was_truncated) = look_up(target, qtype, context);
                    truncated |= was_truncated;
                    for record in found {
                        record.write(Section::Answer, reply);
                    }
                }
            }
        }
        if truncated {
            reply.set_truncated();
        }
        whole_unless_empty(reply).map(|_| ())
    }
}

/// The answer of the server as a whole, and whether records are missing there.
fn look_up(target: &[u8], qtype: RType, context: &mut Context<'_>) -> (Vec<Record>, bool) {
    if context.need.is_some() {
        return (Vec::new(), false);
    }
    let answer = context.look_up(target, qtype, Answer::read).flatten();
    answer.map_or((Vec::new(), false), |answer| {
        let truncated = answer.flags.has(crate::wire::Flags::TC);
        let [records, ..] = answer.sections;
        (records, truncated)
    })
}

const fn ip(host: Host<'_>) -> Option<IpAddr> {
    match host {
        Host::Ip(address) => Some(address),
        Host::Name(_) => None,
    }
}

/// The first label, with or without an underscore.
fn endpoint(name: &FoldedName) -> LabelRef<'_> {
    let whole = label_at(name, 0);
    match without_underscore(whole.octets) {
        octets if octets.len() == whole.octets.len() => whole,
        octets => LabelRef {
            octets,
            hash: label_hash(octets),
        },
    }
}

/// Items of a Service as it is seen from outside.
#[derive(Clone, Copy)]
struct External<'a> {
    zone: &'a ExternalZone,
    name: &'a ServiceName,
    node: &'a ServiceNode,
    /// The hosts; `None` if its endpoints are meant.
    hosts: Option<&'a [ExternalHost]>,
    selector: PortSelector<'a>,
    endpoint: Option<LabelRef<'a>>,
}

impl<'a> Items<'a> for External<'a> {
    const SHOWS_NAMES: bool = true;

    fn each(&self, visit: impl FnMut(Item<'a>)) -> Option<usize> {
        match self.hosts {
            Some(hosts) => external_items(hosts, self.node.ports(), self.selector, visit),
            None => self.node.items(self.selector, self.endpoint, visit),
        }
    }

    fn put_target(&self, endpoint: Option<(&EndpointSlice, usize)>, reply: &mut Reply<'_>) {
        put_service(self.name, endpoint, reply);
        reply.put(&self.zone.apex);
    }
}

#[cfg(test)]
mod tests;
