//! One invented Service and the pods behind it.

use std::net::IpAddr;
use std::ops::Range;

use martlet_control::cluster::object::{
    Endpoint, EndpointAddress, EndpointSlice, Key, Port, Service, ServiceType,
};

use super::{SLICE_ENDPOINTS_MAX, cluster_ip, pod_ip};

/// An address family.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// As `ipFamilies` and `addressType` spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

/// One port of a Service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PortSpec {
    /// The port's name; empty for the one port of a Service that names none.
    pub name: &'static str,
    /// `TCP` or `UDP`.
    pub protocol: &'static str,
    /// The Service's port.
    pub number: u16,
    /// The pods' port.
    pub target: u16,
}

/// A Service and what is behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Workload {
    /// Position among all Services; its addresses follow from it.
    pub index: u32,
    /// The namespace's name.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// `clusterIP: None`.
    pub headless: bool,
    /// Its pods have hostnames, as a StatefulSet's do. Headless Services only.
    pub stateful: bool,
    /// Has addresses of both families; otherwise IPv4 only.
    pub dual_stack: bool,
    /// Its ports.
    pub ports: &'static [PortSpec],
    /// The cluster-wide indexes of its pods; their addresses follow from them.
    pub endpoints: Range<u32>,
}

/// Which pods one EndpointSlice of a [`Workload`] lists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Slice {
    /// The slice's name.
    pub name: String,
    /// The family of all its addresses.
    pub family: Family,
    /// The cluster-wide indexes of its pods, at most [`SLICE_ENDPOINTS_MAX`].
    pub endpoints: Range<u32>,
}

impl Workload {
    /// The families it has, the primary one first.
    pub const fn families(&self) -> &'static [Family] {
        if self.dual_stack {
            &[Family::V4, Family::V6]
        } else {
            &[Family::V4]
        }
    }

    /// Its cluster IPs; none when it is headless.
    pub fn cluster_ips(&self) -> impl Iterator<Item = IpAddr> {
        let families = if self.headless { &[] } else { self.families() };
        families
            .iter()
            .map(|&family| cluster_ip(self.index, family))
    }

    /// The address of pod `endpoint`.
    pub fn pod_ip(&self, endpoint: u32, family: Family) -> IpAddr {
        pod_ip(endpoint, family)
    }

    /// The pod's `hostname`, if its slices give one.
    pub fn hostname(&self, endpoint: u32) -> Option<String> {
        let ordinal = endpoint - self.endpoints.start;
        self.stateful.then(|| format!("{}-{ordinal}", self.name))
    }

    /// The pod's name, as `targetRef` gives it.
    pub fn pod_name(&self, endpoint: u32) -> String {
        self.hostname(endpoint)
            .unwrap_or_else(|| format!("{}-6d4cf56db6-{endpoint:05x}", self.name))
    }

    /// The EndpointSlices, in the order they are written. A Service without pods has one empty
    /// slice for each family, as the slice controller leaves it.
    pub fn slices(&self) -> impl Iterator<Item = Slice> {
        self.families().iter().flat_map(move |&family| {
            let count = (self.endpoints.end - self.endpoints.start).div_ceil(SLICE_ENDPOINTS_MAX);
            (0..count.max(1)).map(move |number| {
                let start = self.endpoints.start + number * SLICE_ENDPOINTS_MAX;
                let end = self.endpoints.end.min(start + SLICE_ENDPOINTS_MAX);
                let digit = if family == Family::V4 { '4' } else { '6' };
                let name = format!("{}-s{digit}{number:03}", self.name);
                Slice {
                    name,
                    family,
                    endpoints: start..end,
                }
            })
        })
    }

    /// The Service as a source decodes it.
    pub fn service(&self) -> Service {
        let service_type = if self.headless {
            ServiceType::Headless
        } else {
            ServiceType::ClusterIp(self.cluster_ips().collect())
        };
        Service {
            key: Key::new(&self.namespace, &self.name),
            service_type,
            ports: self.ports(|port| port.number),
            external: Box::default(),
        }
    }

    /// One of its [`slices`](Self::slices) as a source decodes it.
    pub fn slice(&self, slice: &Slice) -> EndpointSlice {
        let endpoint = |endpoint| Endpoint {
            address: EndpointAddress::Ip(self.pod_ip(endpoint, slice.family)),
            hostname: self.hostname(endpoint).map(Into::into),
            pod_name: None,
            zone: None,
        };
        EndpointSlice {
            key: Key::new(&self.namespace, &slice.name),
            service: self.name.as_str().into(),
            import: None,
            endpoints: slice.endpoints.clone().map(endpoint).collect(),
            ports: self.ports(|port| port.target),
            last_change_trigger: None,
        }
    }

    fn ports(&self, number: impl Fn(&PortSpec) -> u16) -> Box<[Port]> {
        let port = |port: &PortSpec| Port {
            name: port.name.into(),
            protocol: port.protocol.into(),
            number: Some(number(port)),
        };
        self.ports.iter().map(port).collect()
    }
}

const fn tcp(name: &'static str, number: u16, target: u16) -> PortSpec {
    PortSpec {
        name,
        protocol: "TCP",
        number,
        target,
    }
}

const fn udp(name: &'static str, number: u16, target: u16) -> PortSpec {
    PortSpec {
        name,
        protocol: "UDP",
        number,
        target,
    }
}

/// What Services offer; one in eight leaves its only port unnamed, as the API allows.
pub(super) const PORT_SETS: [&[PortSpec]; 8] = [
    &[tcp("http", 80, 8080)],
    &[tcp("http", 80, 8080), tcp("https", 443, 8443)],
    &[tcp("http", 80, 8080), tcp("metrics", 9090, 9090)],
    &[tcp("grpc", 9000, 9000), tcp("metrics", 9090, 9090)],
    &[
        tcp("http", 80, 8080),
        tcp("https", 443, 8443),
        tcp("metrics", 9090, 9090),
    ],
    &[tcp("postgres", 5432, 5432)],
    &[udp("statsd", 8125, 8125), tcp("http", 80, 8080)],
    &[tcp("", 80, 8080)],
];
