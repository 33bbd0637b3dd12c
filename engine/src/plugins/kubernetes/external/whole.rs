//! A zone of `k8s_external` as a whole, for secondaries: what it answers, as far as a zone may hold it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::answer::{EXPIRE, Items, REFRESH, RETRY, weight};
use super::super::whole::{Owners, WholeZone, sorted, srv};
use super::{External, ExternalZone, K8sExternal};
use crate::index::{
    ExternalHost, Host, Kind, LabelBuf, LabelRef, Port, PortSelector, ServiceName, ServiceNode,
};
use crate::plugins::zones::Zones;
use crate::wire::name::{label_hash, reverse_of};
use crate::wire::{Class, FoldedName, RType, Record};

impl K8sExternal {
    /// The zone at `name`, with the records that it has now. `None` if it is not ours.
    pub(in crate::plugins) fn whole(self: &Arc<Self>, name: &FoldedName) -> Option<WholeZone> {
        let mut zones = self.zones.iter();
        let place = zones.position(|zone| *zone.apex == *name.wire())?;
        let zone = &self.zones[place];
        // Before the rest, as for zones of the cluster.
        let soa = self.soa_of(zone);
        let index = &self.cluster.index;
        let owners = if super::super::Zone::new(zone.apex.clone()).reverse {
            let (mut addresses, own) = (Vec::new(), Zones::new([zone.apex.clone()]));
            index.external().each_address(|it| addresses.push(it));
            addresses.retain(|&address| own.hold_wire(&reverse_of(address)));
            addresses.sort_unstable();
            Owners::ExternalAddresses(addresses.into_iter(), Arc::clone(self))
        } else {
            let services = sorted(index).into_iter();
            Owners::ExternalServices(services, Arc::clone(self), place)
        };
        let mut whole = WholeZone::new(&self.cluster, soa, owners);
        whole.ready.push_back(Record {
            rtype: RType::NS,
            rdata: zone.name_server.to_vec(),
            ..whole.soa.clone()
        });
        for host in self.own_addresses() {
            whole.add_address((&zone.name_server, self.ttl), host);
        }
        Some(whole)
    }

    /// The SOA record of the zone at this place, unless the cluster is not known yet.
    pub(in crate::plugins) fn soa_at(&self, place: usize) -> Option<Record> {
        let is_known = self.cluster.index.is_synced();
        let zone = self.zones.get(place).filter(|_| is_known)?;
        Some(self.soa_of(zone))
    }

    fn soa_of(&self, zone: &ExternalZone) -> Record {
        let serial = self.cluster.index.external().serial();
        let numbers = [serial, REFRESH, RETRY, EXPIRE, self.ttl].map(u32::to_be_bytes);
        Record {
            owner: zone.apex.to_vec(),
            rtype: RType::SOA,
            class: Class::IN,
            ttl: self.ttl,
            rdata: [&zone.name_server, &zone.mailbox, numbers.as_flattened()].concat(),
        }
    }

    /// Adds the records of a Service.
    pub(in crate::plugins::kubernetes) fn add_service(
        &self,
        place: usize,
        (name, node): (&ServiceName, &ServiceNode),
        whole: &mut WholeZone,
    ) {
        let external = self.cluster.index.external();
        let hosts = external.hosts(name.key(), <[ExternalHost]>::to_vec);
        let is_headless = self.headless && node.kind() == Kind::Headless;
        let service = service_of(name);
        let Some(owner) = whole.name(&service) else {
            return;
        };
        let items = External {
            zone: &self.zones[place],
            name,
            node,
            hosts: (!hosts.is_empty() || !is_headless).then_some(&*hosts),
            selector: PortSelector::default(),
            endpoint: None,
        };
        let mut only_name = None;
        items.each(|item| match item.host {
            Host::Ip(_) => only_name = Some(None),
            Host::Name(name) => _ = only_name.get_or_insert(Some(name)),
        });
        if let (Some(Some(target)), Some(_)) = (only_name, items.hosts) {
            // Nothing else may stand beside an alias, and no second one (RFC 2181 §10.1).
            whole.add((owner, self.cluster.ttl), RType::CNAME, target.to_vec());
        } else {
            self.add_items(&items, &owner, whole);
        }
        let of_slices = node.slices().iter().flat_map(|slice| slice.ports.iter());
        let ports: Vec<_> = match items.hosts {
            Some(_) => node.ports().iter().collect(),
            None => of_slices.collect(),
        };
        let labels = |port: &Port| (port.name.clone(), port.protocol.clone());
        let named = ports.into_iter().filter(|port| !port.name.is_empty());
        for (port, protocol) in named.map(labels).collect::<BTreeSet<_>>() {
            let [first, second] = [&port, &protocol].map(|it| [b"_", &**it].concat());
            let labels = [&*first, &*second, service[0], service[1]];
            let selector = PortSelector {
                port: &port,
                protocol: &protocol,
            };
            if let Some(owner) = whole.name(&labels) {
                self.add_ports(&External { selector, ..items }, &owner, whole);
            }
        }
        if items.hosts.is_none() {
            self.add_endpoints(&items, &service, whole);
        }
    }

    /// Adds the names of a headless Service's endpoints.
    fn add_endpoints(&self, items: &External<'_>, service: &[&[u8]], whole: &mut WholeZone) {
        let mut names = BTreeSet::new();
        for slice in items.node.slices() {
            for (index, _) in slice.hosts().enumerate() {
                names.insert(slice.name(index, &mut LabelBuf::default()).to_vec());
            }
        }
        for name in names {
            let labels = name.split(|&octet| octet == b'.');
            let labels: Vec<_> = labels.chain(service.iter().copied()).collect();
            // The index has labels in lower case.
            let octets = &*name.to_ascii_lowercase();
            let hash = label_hash(octets);
            let endpoint = Some(LabelRef { octets, hash });
            if let Some(owner) = whole.name(&labels) {
                self.add_items(&External { endpoint, ..*items }, &owner, whole);
            }
        }
    }

    /// Adds the addresses of what `owner` stands for, and its ports.
    fn add_items(&self, items: &External<'_>, owner: &[u8], whole: &mut WholeZone) {
        let mut seen = BTreeSet::new();
        items.each(|item| {
            if let Host::Ip(host) = item.host
                && seen.insert(host)
            {
                whole.add_address((owner, self.ttl), host);
            }
        });
        self.add_ports(items, owner, whole);
    }

    /// Adds the ports of what `owner` stands for.
    fn add_ports(&self, items: &External<'_>, owner: &[u8], whole: &mut WholeZone) {
        let mut total = 0;
        items.each(|_| total += 1);
        let weight = weight(total);
        items.each(|item| {
            if item.port.is_none() || item.repeats_port {
                return;
            }
            let target = match (item.host, item.endpoint) {
                (Host::Name(name), _) => Some(name.to_vec()),
                (Host::Ip(_), None) => whole.name(&service_of(items.name)),
                (Host::Ip(_), Some((slice, index))) => {
                    let mut buf = LabelBuf::default();
                    let labels = slice.name(index, &mut buf).split(|&octet| octet == b'.');
                    let labels: Vec<_> = labels.chain(service_of(items.name)).collect();
                    whole.name(&labels)
                }
            };
            if let Some(target) = target {
                let data = srv(weight, item.port, &target);
                whole.add((owner.to_vec(), self.cluster.ttl), RType::SRV, data);
            }
        });
    }

    /// Adds the names that an address outside of the cluster stands for.
    pub(in crate::plugins::kubernetes) fn add_pointers(
        &self,
        address: std::net::IpAddr,
        whole: &mut WholeZone,
    ) {
        self.each_pointer(address, |target| {
            whole.add((reverse_of(address), self.ttl), RType::PTR, target.to_vec());
        });
    }
}

fn service_of(name: &ServiceName) -> [&[u8]; 2] {
    [name.label(), name.namespace().label().octets]
}

#[cfg(test)]
mod tests;
