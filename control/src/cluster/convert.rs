//! From the trimmed objects to what the engine's index holds. Pure: no clock, no I/O.

use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::index::{
    Addresses, EndpointNames, EndpointSlice, ExternalHost, Host, LabelBuf, Port, PortLabel,
    ServiceKind,
};
use martlet_engine::limits::{LABEL_LEN_MAX, NAME_LEN_MAX};

use super::object::{self, Endpoint, EndpointAddress, ServiceType};

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
pub(super) fn ports(ports: &[object::Port]) -> Vec<Port> {
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

/// A slice's endpoints, packed, with these ports. A slice holds one family, so this gives one part; an
/// API object that mixes them gives one a family.
pub(super) fn endpoint_slices(
    slice: &object::EndpointSlice,
    ports: Arc<[Port]>,
) -> Arc<[Arc<EndpointSlice>]> {
    let (mut v4, mut v6, mut fqdn) = (Part::default(), Part::default(), Part::default());
    for endpoint in &slice.endpoints {
        let (name, zone) = (own_name(endpoint), endpoint.zone.as_deref());
        match &endpoint.address {
            EndpointAddress::Ip(IpAddr::V4(address)) => v4.push(*address, name, zone),
            EndpointAddress::Ip(IpAddr::V6(address)) => v6.push(*address, name, zone),
            EndpointAddress::Fqdn(host) => {
                if let Some(wire) = wire_name(host) {
                    fqdn.push(wire, Some(name.unwrap_or(&dashed(host))), zone);
                }
            }
        }
    }
    let mut parts = Vec::with_capacity(1);
    let mut add = |addresses: Addresses, (names, zones): Labels| {
        if !addresses.is_empty() {
            parts.push(Arc::new(EndpointSlice {
                ports: Arc::clone(&ports),
                addresses,
                names,
                zones: zones.map(Box::new),
            }));
        }
    };
    let (addresses, labels) = v4.finish();
    add(Addresses::V4(addresses), labels);
    let (addresses, labels) = v6.finish();
    add(Addresses::V6(addresses), labels);
    let (addresses, labels) = fqdn.finish();
    add(Addresses::Fqdn(addresses), labels);
    parts.into()
}

/// The name that an endpoint has itself: its host's, or its pod's.
fn own_name(endpoint: &Endpoint) -> Option<&str> {
    let hostname = endpoint.hostname.as_deref();
    hostname.filter(|name| !name.is_empty()).or_else(|| {
        // Pods' names may be longer than a label; then the address makes the name.
        let pod_name = endpoint.pod_name.as_deref();
        pod_name.filter(|name| name.len() <= LABEL_LEN_MAX)
    })
}

/// CoreDNS makes a label of any host with dots in it, of names as well.
fn dashed(host: &str) -> String {
    host.replace('.', "-")
}

/// What of a slice belongs to a ServiceImport: a slice of a Service of its name, where endpoints are
/// called `endpoint.cluster`. Of no Service if it belongs to no import.
pub(super) fn imported_slice(slice: &object::EndpointSlice) -> object::EndpointSlice {
    let imported = |endpoint: &Endpoint, cluster: &str| {
        let mut name = match (own_name(endpoint), &endpoint.address) {
            (Some(name), _) => name.to_owned(),
            (None, EndpointAddress::Ip(address)) => {
                String::from_utf8_lossy(LabelBuf::default().dashed(*address)).into_owned()
            }
            (None, EndpointAddress::Fqdn(host)) => dashed(host),
        };
        if !cluster.is_empty() {
            name.push('.');
            name.push_str(cluster);
        }
        Endpoint {
            address: endpoint.address.clone(),
            hostname: Some(name.into()),
            pod_name: None,
            zone: None,
        }
    };
    let (service, endpoints) = slice
        .import
        .as_ref()
        .map_or_else(Default::default, |import| {
            let endpoints = slice.endpoints.iter();
            let endpoints = endpoints.map(|endpoint| imported(endpoint, &import.cluster));
            (import.service.clone(), endpoints.collect())
        });
    object::EndpointSlice {
        key: slice.key.clone(),
        service,
        import: None,
        endpoints,
        ports: slice.ports.clone(),
        last_change_trigger: None,
    }
}

/// Endpoints of one family, while they are gathered.
struct Part<A> {
    addresses: Vec<A>,
    names: Vec<Option<Box<[u8]>>>,
    zones: Vec<Option<Box<[u8]>>>,
}

/// Names and topology zones of endpoints, if there is one at all.
type Labels = (Option<EndpointNames>, Option<EndpointNames>);

impl<A> Default for Part<A> {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            names: Vec::new(),
            zones: Vec::new(),
        }
    }
}

impl<A> Part<A> {
    fn push(&mut self, address: A, name: Option<&str>, zone: Option<&str>) {
        let folded = |text: &str| text.to_ascii_lowercase().into_bytes().into();
        self.addresses.push(address);
        self.names.push(name.map(folded));
        self.zones.push(zone.map(folded));
    }

    /// The addresses, and what stands beside them.
    fn finish(self) -> (Box<[A]>, Labels) {
        let any = |list: Vec<Option<Box<[u8]>>>| {
            let any = list.iter().any(Option::is_some);
            any.then(|| list.into())
        };
        (self.addresses.into(), (any(self.names), any(self.zones)))
    }
}

/// The address, and the own name if there is one, of each endpoint that has an IP address: what PTR
/// answers are made of.
pub(super) fn endpoint_names(
    slices: &[Arc<EndpointSlice>],
) -> impl Iterator<Item = (IpAddr, Option<&[u8]>)> {
    slices.iter().flat_map(|slice| {
        slice.hosts().enumerate().filter_map(|(index, host)| {
            let Host::Ip(address) = host else {
                return None;
            };
            let names = slice.names.as_ref();
            Some((address, names.and_then(|names| names[index].as_deref())))
        })
    })
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
