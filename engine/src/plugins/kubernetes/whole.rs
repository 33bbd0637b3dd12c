//! A zone of the cluster as a whole, for secondaries: what `transfer` sends.
//!
//! Names of pods, `dns-version` and topology zones are not in it, as in CoreDNS.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::zones::Zones;
use super::answer::{self, NameBuf, address_type, weight};
use super::{Grammar, Kubernetes, Zone, servers};
use crate::index::{
    ClusterIndex, EndpointSlice, Host, LabelBuf, ServiceKind, ServiceName, ServiceNode,
};
use crate::wire::name::reverse_of;
use crate::wire::{Class, FoldedName, RType, Record};

/// The records of a zone, one Service after the other, as each is when its turn comes: what changes
/// meanwhile has a newer serial than the SOA record tells. Kept for that are the list of its Services,
/// which are only pointed to, and the records of one endpoint.
pub(in crate::plugins) struct WholeZone {
    kubernetes: Arc<Kubernetes>,
    grammar: Grammar,
    /// The name that was asked for, in the client's spelling. Names are below it even where it is
    /// not the zone's: CoreDNS hands out such copies, and nobody else's names are in them.
    apex: Vec<u8>,
    soa: Record,
    owners: Owners,
    /// Of the Service whose turn it is.
    endpoints: Endpoints,
    /// Made, and not sent yet.
    ready: VecDeque<Record>,
    is_ended: bool,
}

/// The endpoints of a headless Service that are still to come.
#[derive(Default)]
struct Endpoints {
    service: Option<Arc<ServiceName>>,
    slices: VecDeque<Arc<EndpointSlice>>,
    /// The place in the first of them.
    at: usize,
}

/// Whose records are still to be made.
enum Owners {
    /// In the order of their names.
    Services(std::vec::IntoIter<Arc<ServiceName>>),
    /// Of a reverse zone.
    Addresses(std::vec::IntoIter<IpAddr>),
}

impl Kubernetes {
    /// The zone that `name` is of, with the records that it has now. `None` if it is not ours.
    pub(in crate::plugins) fn whole(
        self: &Arc<Self>,
        name: &FoldedName,
        as_sent: &[u8],
    ) -> Option<WholeZone> {
        let (zone, _) = self.zone(name)?;
        let index = self.index_of(zone);
        // Before the rest: what comes in between has another serial, and is asked for again.
        let serial = index.map_or(0, ClusterIndex::serial);
        let owners = if zone.reverse {
            let mut addresses = Vec::new();
            self.index
                .each_address(|address, _| addresses.push(address));
            let zones = Zones::new([name.wire().into()]);
            addresses.retain(|&address| zones.hold_wire(&reverse_of(address)));
            addresses.sort_unstable();
            Owners::Addresses(addresses.into_iter())
        } else {
            let mut services = Vec::new();
            if let Some(index) = index {
                index.each_service(|name, _, _| services.push(Arc::clone(name)));
            }
            services.sort_unstable_by(|a, b| parts(a).cmp(&parts(b)));
            Owners::Services(services.into_iter())
        };
        let mut whole = WholeZone {
            kubernetes: Arc::clone(self),
            grammar: zone.grammar,
            apex: as_sent.to_vec(),
            soa: answer::soa_of(self, as_sent, serial),
            owners,
            endpoints: Endpoints::default(),
            ready: VecDeque::new(),
            is_ended: false,
        };
        whole.ready.push_back(whole.soa.clone());
        whole.add_name_servers(zone);
        Some(whole)
    }
}

impl Zone {
    /// Its SOA record, unless the cluster is not known yet.
    pub(in crate::plugins) fn soa(&self, kubernetes: &Kubernetes) -> Option<Record> {
        let index = kubernetes.index_of(self)?;
        let serial = index.serial();
        let is_known = kubernetes.index.is_synced();
        is_known.then(|| answer::soa_of(kubernetes, &self.apex, serial))
    }
}

/// Names are sorted by Service first.
fn parts(name: &ServiceName) -> (&[u8], &[u8]) {
    (name.label(), name.namespace().label().octets)
}

impl WholeZone {
    /// Whether all of it is there: before the first complete list it is not.
    pub(in crate::plugins) fn is_known(&self) -> bool {
        self.kubernetes.index.is_synced()
    }

    /// The SOA record.
    pub(in crate::plugins) const fn soa(&self) -> &Record {
        &self.soa
    }

    /// Hands over the records that were not yet, until `write` takes no more. `true` after the last,
    /// which is the SOA record again (RFC 5936 §2.2).
    pub(in crate::plugins) fn write(&mut self, mut write: impl FnMut(&Record) -> bool) -> bool {
        loop {
            while let Some(record) = self.ready.front() {
                if !write(record) {
                    return false;
                }
                self.ready.pop_front();
            }
            if self.is_ended {
                return true;
            }
            self.go_on();
        }
    }

    /// Makes the records of the next owner.
    fn go_on(&mut self) {
        if self.next_endpoint() {
            return;
        }
        let kubernetes = Arc::clone(&self.kubernetes);
        match &mut self.owners {
            Owners::Services(services) => {
                if let Some(service) = services.next() {
                    let index = match self.grammar {
                        Grammar::Multicluster => kubernetes.index.imports(),
                        Grammar::Usual | Grammar::Zonal => Some(&kubernetes.index),
                    };
                    index.map(|index| {
                        index.service(service.key(), |_, node, is_exposed| {
                            if is_exposed {
                                self.add_service(&service, node);
                            }
                        })
                    });
                    return;
                }
            }
            Owners::Addresses(addresses) => {
                if let Some(address) = addresses.next() {
                    let owner = reverse_of(address);
                    answer::each_pointer(&kubernetes, address, |target| {
                        self.add(owner.clone(), RType::PTR, target.to_vec());
                    });
                    return;
                }
            }
        }
        self.ready.push_back(self.soa.clone());
        self.is_ended = true;
    }

    fn add(&mut self, owner: Vec<u8>, rtype: RType, rdata: Vec<u8>) {
        self.ready.push_back(Record {
            owner,
            rtype,
            class: Class::IN,
            ttl: self.kubernetes.ttl,
            rdata,
        });
    }

    fn add_address(&mut self, owner: &[u8], address: IpAddr) {
        let rdata = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        self.add(owner.to_vec(), address_type(address), rdata);
    }

    /// The name servers and their addresses. CoreDNS gives those without a Service no TTL.
    fn add_name_servers(&mut self, zone: &Zone) {
        let found = servers::name_server_addresses(&self.kubernetes);
        let mut known = Vec::new();
        for (labels, _) in &found {
            if !known.contains(&labels) {
                known.push(labels);
                let target = [labels, &*self.apex].concat();
                self.add(self.apex.clone(), RType::NS, target);
            }
        }
        if zone.reverse {
            return; // Their addresses are in the other zones.
        }
        for (labels, host) in &found {
            let owner = [labels, &*self.apex].concat();
            self.add_address(&owner, *host);
            if *labels == servers::DEFAULT_NAME {
                let added = self.ready.back_mut();
                added.expect("it was just put there").ttl = 0;
            }
        }
    }

    /// The name that these labels make in the zone. `None` if it is no name or too long.
    fn name(&self, labels: &[&[u8]]) -> Option<Vec<u8>> {
        let mut name = NameBuf::default();
        labels.iter().for_each(|label| name.push(label));
        name.under(&self.apex).map(<[u8]>::to_vec)
    }

    fn add_service(&mut self, name: &Arc<ServiceName>, node: &ServiceNode) {
        let service = labels(name);
        let Some(owner) = self.name(&service) else {
            return;
        };
        match node.kind() {
            ServiceKind::ClusterIp(addresses) => {
                for &address in addresses {
                    self.add_address(&owner, address);
                }
                for port in node.ports() {
                    let data = srv(weight(1), port.number, &owner);
                    self.add(owner.clone(), RType::SRV, data.clone());
                    self.add_port(&service, (&port.name, &port.protocol), data);
                }
            }
            ServiceKind::Headless => {
                self.endpoints = Endpoints {
                    service: Some(Arc::clone(name)),
                    slices: node.slices().iter().map(Arc::clone).collect(),
                    at: 0,
                };
            }
            ServiceKind::External(target) => {
                if let Some(target) = target {
                    self.add(owner, RType::CNAME, target.to_vec());
                }
            }
        }
    }

    /// Makes the records of the next endpoint of the Service whose turn it is. `false` if there is none.
    fn next_endpoint(&mut self) -> bool {
        let Endpoints {
            service,
            slices,
            at,
        } = &mut self.endpoints;
        let (Some(service), Some(slice)) = (service.clone(), slices.front().map(Arc::clone)) else {
            return false;
        };
        let index = *at;
        *at += 1;
        match slice.hosts().nth(index) {
            Some(host) => self.add_endpoint(&labels(&service), &slice, (index, host)),
            None => {
                slices.pop_front();
                *at = 0;
            }
        }
        true
    }

    fn add_endpoint(
        &mut self,
        service: &[&[u8]],
        slice: &EndpointSlice,
        (index, host): (usize, Host<'_>),
    ) {
        let target = match host {
            Host::Ip(address) => {
                let Some(owner) = self.name(service) else {
                    return;
                };
                self.add_address(&owner, address);
                let mut buf = LabelBuf::default();
                let endpoint = slice.name(index, &mut buf);
                let labels = endpoint.split(|&octet| octet == b'.');
                let labels: Vec<_> = labels.chain(service.iter().copied()).collect();
                let Some(target) = self.name(&labels) else {
                    return;
                };
                self.add_address(&target, address);
                target
            }
            // CoreDNS says "none" here (RFC 2782), unlike where it is asked for the record.
            Host::Name(_) => b"\0".to_vec(),
        };
        let share = weight(slice.addresses.len());
        for port in &slice.ports {
            let data = srv(share, port.number, &target);
            self.add_port(service, (&port.name, &port.protocol), data);
        }
    }

    /// The record of a port's name, if it has one.
    fn add_port(&mut self, service: &[&[u8]], (name, protocol): (&[u8], &[u8]), data: Vec<u8>) {
        if name.is_empty() {
            return;
        }
        let [name, protocol] = [name, protocol].map(|part| [b"_", part].concat());
        let labels: Vec<_> = [&*name, &*protocol]
            .into_iter()
            .chain(service.iter().copied())
            .collect();
        if let Some(owner) = self.name(&labels) {
            self.add(owner, RType::SRV, data);
        }
    }
}

/// `service.namespace.svc`.
fn labels(name: &ServiceName) -> [&[u8]; 3] {
    [name.label(), name.namespace().label().octets, b"svc"]
}

/// The data of a SRV record (RFC 2782). CoreDNS shows a port without number as the last one.
fn srv(weight: u16, port: Option<u16>, target: &[u8]) -> Vec<u8> {
    let port = port.unwrap_or(u16::MAX);
    let [priority, weight, port] = [0, weight, port].map(u16::to_be_bytes);
    [&priority[..], &weight, &port, target].concat()
}

#[cfg(test)]
mod tests;
