//! A zone of the cluster as a whole, for secondaries: what `transfer` sends.
//!
//! Names of pods, `dns-version` and topology zones are not in it, as in CoreDNS.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::vec::IntoIter;

use super::super::zones::Zones;
use super::answer::{self, NameBuf, address_type, weight};
use super::{Grammar, K8sExternal, Kubernetes, Zone, servers};
use crate::index::{ClusterIndex, EndpointSlice, Host, Kind, LabelBuf, ServiceName, ServiceNode};
use crate::wire::name::reverse_of;
use crate::wire::{Class, FoldedName, RType, Record};

/// The records of a zone, one Service after the other, as each is when its turn comes: what changes
/// meanwhile has a newer serial than the SOA record tells. Kept for that are the list of its Services,
/// which are only pointed to, and the records of one endpoint.
pub(in crate::plugins) struct WholeZone {
    kubernetes: Arc<Kubernetes>,
    /// The name that was asked for, in the client's spelling. Names are below it even where it is
    /// not the zone's: CoreDNS hands out such copies, and nobody else's names are in them.
    apex: Vec<u8>,
    pub(super) soa: Record,
    owners: Owners,
    /// Of the Service whose turn it is.
    endpoints: Endpoints,
    /// Made, and not sent yet.
    pub(super) ready: VecDeque<Record>,
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
pub(super) enum Owners {
    /// In the order of their names, and where they are.
    Services(IntoIter<Arc<ServiceName>>, Grammar),
    /// Of a reverse zone.
    Addresses(IntoIter<IpAddr>),
    /// Of a zone of `k8s_external`, by its place.
    ExternalServices(IntoIter<Arc<ServiceName>>, Arc<K8sExternal>, usize),
    /// Of a reverse zone of `k8s_external`.
    ExternalAddresses(IntoIter<IpAddr>, Arc<K8sExternal>),
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
            let services = index.map_or_else(Vec::new, sorted);
            Owners::Services(services.into_iter(), zone.grammar)
        };
        let soa = answer::soa_of(self, as_sent, serial);
        let mut whole = WholeZone::new(self, soa, owners);
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

/// All Services, by their names.
pub(super) fn sorted(index: &ClusterIndex) -> Vec<Arc<ServiceName>> {
    fn parts(name: &ServiceName) -> (&[u8], &[u8]) {
        (name.label(), name.namespace().label().octets)
    }
    let mut services = Vec::new();
    index.each_service(|name, _, _| services.push(Arc::clone(name)));
    services.sort_unstable_by(|a, b| parts(a).cmp(&parts(b)));
    services
}

impl WholeZone {
    /// A zone that begins with its SOA record.
    pub(super) fn new(kubernetes: &Arc<Kubernetes>, soa: Record, owners: Owners) -> Self {
        Self {
            kubernetes: Arc::clone(kubernetes),
            apex: soa.owner.clone(),
            ready: [soa.clone()].into(),
            soa,
            owners,
            endpoints: Endpoints::default(),
            is_ended: false,
        }
    }

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
        // Lent out for as long as records are made.
        let mut owners =
            std::mem::replace(&mut self.owners, Owners::Addresses(IntoIter::default()));
        let found = match &mut owners {
            Owners::Services(services, grammar) => services.next().map(|service| {
                let index = match grammar {
                    Grammar::Multicluster => kubernetes.index.imports(),
                    Grammar::Usual | Grammar::Zonal => Some(&kubernetes.index),
                };
                let index = index.expect("it has told its Services");
                index.service(service.key(), |_, node, is_exposed| {
                    if is_exposed && !node.is_hidden() {
                        self.add_service(&service, node);
                    }
                });
            }),
            Owners::Addresses(addresses) => addresses.next().map(|address| {
                answer::each_pointer(&kubernetes, address, |target| {
                    let owner = (reverse_of(address), kubernetes.ttl);
                    self.add(owner, RType::PTR, target.to_vec());
                });
            }),
            Owners::ExternalServices(services, external, place) => services.next().map(|service| {
                let index = &kubernetes.index;
                index.service(service.key(), |name, node, is_exposed| {
                    if is_exposed {
                        external.add_service(*place, (name, node), self);
                    }
                });
            }),
            Owners::ExternalAddresses(addresses, external) => {
                let next = addresses.next();
                next.map(|address| external.add_pointers(address, self))
            }
        };
        self.owners = owners;
        if found.is_none() {
            self.ready.push_back(self.soa.clone());
            self.is_ended = true;
        }
    }

    pub(super) fn add(&mut self, (owner, ttl): (Vec<u8>, u32), rtype: RType, rdata: Vec<u8>) {
        self.ready.push_back(Record {
            owner,
            rtype,
            class: Class::IN,
            ttl,
            rdata,
        });
    }

    pub(super) fn add_address(&mut self, (owner, ttl): (&[u8], u32), address: IpAddr) {
        let rdata = match address {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        self.add((owner.to_vec(), ttl), address_type(address), rdata);
    }

    /// The name servers and their addresses. CoreDNS gives those without a Service no TTL.
    fn add_name_servers(&mut self, zone: &Zone) {
        let ttl = self.kubernetes.ttl;
        let found = servers::name_server_addresses(&self.kubernetes);
        let mut known = Vec::new();
        for (labels, _) in &found {
            if !known.contains(&labels) {
                known.push(labels);
                let target = [labels, &*self.apex].concat();
                self.add((self.apex.clone(), ttl), RType::NS, target);
            }
        }
        if zone.reverse {
            return; // Their addresses are in the other zones.
        }
        for (labels, host) in &found {
            let owner = [labels, &*self.apex].concat();
            let is_default = *labels == servers::DEFAULT_NAME;
            self.add_address((&owner, if is_default { 0 } else { ttl }), *host);
        }
    }

    /// The name that these labels make in the zone. `None` if it is no name or too long.
    pub(super) fn name(&self, labels: &[&[u8]]) -> Option<Vec<u8>> {
        let mut name = NameBuf::default();
        labels.iter().for_each(|label| name.push(label));
        name.under(&self.apex).map(<[u8]>::to_vec)
    }

    fn add_service(&mut self, name: &Arc<ServiceName>, node: &ServiceNode) {
        let (service, ttl) = (labels(name), self.kubernetes.ttl);
        let Some(owner) = self.name(&service) else {
            return;
        };
        match node.kind() {
            Kind::ClusterIp => {
                for address in node.cluster_ips() {
                    self.add_address((&owner, ttl), address);
                }
                for port in node.ports() {
                    let data = srv(weight(1), port.number, &owner);
                    self.add((owner.clone(), ttl), RType::SRV, data.clone());
                    self.add_port(&service, (&port.name, &port.protocol), data);
                }
            }
            Kind::Headless => {
                self.endpoints = Endpoints {
                    service: Some(Arc::clone(name)),
                    slices: node.slices().iter().map(Arc::clone).collect(),
                    at: 0,
                };
            }
            Kind::External(target) => {
                if let Some(target) = target {
                    self.add((owner, ttl), RType::CNAME, target.to_vec());
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
                let ttl = self.kubernetes.ttl;
                self.add_address((&owner, ttl), address);
                let mut buf = LabelBuf::default();
                let endpoint = slice.name(index, &mut buf);
                let labels = endpoint.split(|&octet| octet == b'.');
                let labels: Vec<_> = labels.chain(service.iter().copied()).collect();
                let Some(target) = self.name(&labels) else {
                    return;
                };
                self.add_address((&target, ttl), address);
                target
            }
            // CoreDNS says "none" here (RFC 2782), unlike where it is asked for the record.
            Host::Name(_) => b"\0".to_vec(),
        };
        let share = weight(slice.addresses.len());
        for port in slice.ports.iter() {
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
            self.add((owner, self.kubernetes.ttl), RType::SRV, data);
        }
    }
}

/// `service.namespace.svc`.
fn labels(name: &ServiceName) -> [&[u8]; 3] {
    [name.label(), name.namespace().label().octets, b"svc"]
}

/// The data of a SRV record (RFC 2782). CoreDNS shows a port without number as the last one.
pub(super) fn srv(weight: u16, port: Option<u16>, target: &[u8]) -> Vec<u8> {
    let port = port.unwrap_or(u16::MAX);
    let [priority, weight, port] = [0, weight, port].map(u16::to_be_bytes);
    [&priority[..], &weight, &port, target].concat()
}

#[cfg(test)]
mod tests;
