//! From the trimmed objects to what the engine's index holds. Pure: no clock, no I/O.

use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::index::{
    Addresses, EndpointName, EndpointNames, EndpointSlice, ExternalHost, Host, Port, PortLabel,
    ServiceKind, ServiceName,
};
use martlet_engine::limits::{LABEL_LEN_MAX, NAME_LEN_MAX};

use super::object::{self, EndpointAddress, ServiceType};

/// Where a Service's addresses come from.
pub(super) fn service_kind(service_type: &ServiceType) -> ServiceKind {
    match service_type {
        ServiceType::ClusterIp(addresses) => ServiceKind::ClusterIp(addresses.clone()),
        ServiceType::Headless => ServiceKind::Headless,
        // CoreDNS has no record for an ExternalName that is an address: not even the name exists.
        ServiceType::ExternalName(target) if target.parse::<IpAddr>().is_ok() => {
            ServiceKind::External(None)
        }
        ServiceType::ExternalName(target) => ServiceKind::External(wire_name(target)),
    }
}

/// Where a Service is to be had from outside. What is neither an address nor a host name is left out.
pub(super) fn external_hosts(hosts: &[EndpointAddress]) -> Box<[ExternalHost]> {
    let host = |host: &EndpointAddress| match host {
        EndpointAddress::Ip(address) => Some(ExternalHost::Ip(*address)),
        EndpointAddress::Fqdn(name) => wire_name(name).map(ExternalHost::Name),
    };
    hosts.iter().filter_map(host).collect()
}

/// The ports, names and protocols in lower case.
pub(super) fn ports(ports: &[object::Port]) -> Box<[Port]> {
    let folded = |text: &str| PortLabel::from(text.to_ascii_lowercase().as_bytes());
    ports
        .iter()
        .map(|port| Port {
            name: folded(&port.name),
            protocol: folded(&port.protocol),
            number: port.number,
        })
        .collect()
}

/// A slice's endpoints, packed. A slice holds one family, so this gives one part; an API object
/// that mixes them gives one a family.
pub(super) fn endpoint_slices(slice: &object::EndpointSlice) -> Arc<[Arc<EndpointSlice>]> {
    let ports = ports(&slice.ports);
    let (mut v4, mut v6, mut fqdn) = (Part::default(), Part::default(), Part::default());
    for endpoint in &slice.endpoints {
        let name = endpoint
            .hostname
            .as_deref()
            .filter(|name| !name.is_empty())
            .or_else(|| {
                // Pods' names may be longer than a label; then the address makes the name.
                endpoint
                    .pod_name
                    .as_deref()
                    .filter(|name| name.len() <= LABEL_LEN_MAX)
            });
        match &endpoint.address {
            EndpointAddress::Ip(IpAddr::V4(address)) => v4.push(*address, name),
            EndpointAddress::Ip(IpAddr::V6(address)) => v6.push(*address, name),
            EndpointAddress::Fqdn(host) => {
                if let Some(wire) = wire_name(host) {
                    // CoreDNS makes a label of any host with dots in it, of names as well.
                    let dashed = host.replace('.', "-");
                    fqdn.push(wire, Some(name.unwrap_or(&dashed)));
                }
            }
        }
    }
    let mut parts = Vec::with_capacity(1);
    let mut add = |addresses: Addresses, names: Option<EndpointNames>| {
        if !addresses.is_empty() {
            parts.push(Arc::new(EndpointSlice {
                ports: ports.clone(),
                addresses,
                names,
            }));
        }
    };
    let (addresses, names) = v4.finish();
    add(Addresses::V4(addresses), names);
    let (addresses, names) = v6.finish();
    add(Addresses::V6(addresses), names);
    let (addresses, names) = fqdn.finish();
    add(Addresses::Fqdn(addresses), names);
    parts.into()
}

/// Endpoints of one family, while they are gathered.
struct Part<A> {
    addresses: Vec<A>,
    names: Vec<Option<Box<[u8]>>>,
}

impl<A> Default for Part<A> {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            names: Vec::new(),
        }
    }
}

impl<A> Part<A> {
    fn push(&mut self, address: A, name: Option<&str>) {
        self.addresses.push(address);
        self.names
            .push(name.map(|name| name.to_ascii_lowercase().into_bytes().into()));
    }

    /// The addresses, and the names if there is one at all.
    fn finish(self) -> (Box<[A]>, Option<EndpointNames>) {
        let names = self
            .names
            .iter()
            .any(Option::is_some)
            .then(|| self.names.into());
        (self.addresses.into(), names)
    }
}

/// The address and name of each endpoint that has an IP address: what PTR answers are made of.
pub(super) fn endpoint_names(
    service: &Arc<ServiceName>,
    slices: &[Arc<EndpointSlice>],
) -> Vec<(IpAddr, EndpointName)> {
    let mut out = Vec::new();
    for slice in slices {
        for (index, host) in slice.hosts().enumerate() {
            let Host::Ip(address) = host else { continue };
            let name = slice.names.as_ref().and_then(|names| names[index].clone());
            out.push((
                address,
                EndpointName {
                    service: Arc::clone(service),
                    name,
                },
            ));
        }
    }
    out
}

/// A host name as an uncompressed wire name in its own spelling; `None` if it is none.
fn wire_name(text: &str) -> Option<Box<[u8]>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in text.split('.') {
        if label.is_empty() || label.len() > LABEL_LEN_MAX {
            return None;
        }
        wire.push(label.len() as u8);
        wire.extend(label.bytes());
    }
    wire.push(0);
    (wire.len() <= NAME_LEN_MAX).then(|| wire.into())
}
