//! A small cluster and queries about it, one kind of answer each.

use std::net::Ipv4Addr;
use std::sync::Arc;

use martlet_engine::index::{
    Addresses, ClusterIndex, EndpointSlice, Namespace, Port, ServiceKind, ServiceName, ServiceNode,
    ServiceParts,
};
use martlet_engine::wire::name::wire_from_text;
use martlet_engine::wire::{Class, RType};

use crate::seam::{PAYLOAD_SIZE, TTL};

/// Services in the cluster; every tenth is headless.
pub const SERVICES: u32 = 500;

/// Endpoints of a headless Service: more than a reply of 512 octets holds.
pub const ENDPOINTS: u8 = 50;

/// Answers of each kind that are counted together: whole batches. `perf/instructions` reads it.
pub const ANSWERS: usize = 512;

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A of a Service with a cluster IP.
    IndexHit,
    /// AAAA of the same.
    NoData,
    /// A of a name that does not exist.
    NxDomain,
    /// A of a headless Service with [`ENDPOINTS`] endpoints.
    Headless,
    /// The same without EDNS: the reply is cut at 512 octets.
    Truncated,
    /// A of an endpoint of such a Service.
    Endpoint,
    /// SRV of a port of a Service with a cluster IP.
    Port,
    /// A of an external name that the cache holds.
    CacheHit,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::IndexHit,
        Self::NoData,
        Self::NxDomain,
        Self::Headless,
        Self::Truncated,
        Self::Endpoint,
        Self::Port,
        Self::CacheHit,
    ];

    /// What scripts call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IndexHit => "index-hit",
            Self::NoData => "nodata",
            Self::NxDomain => "nxdomain",
            Self::Headless => "headless",
            Self::Truncated => "truncated",
            Self::Endpoint => "endpoint",
            Self::Port => "port",
            Self::CacheHit => "cache-hit",
        }
    }

    /// The third and fourth octet of its replies' header, and the number of answers: QR, AA, TC,
    /// RD; RCODE.
    const fn expected(self) -> ([u8; 2], u8) {
        match self {
            Self::IndexHit | Self::Endpoint | Self::Port => ([0x85, 0], 1),
            Self::NoData => ([0x85, 0], 0),
            Self::NxDomain => ([0x85, 3], 0),
            Self::Headless => ([0x85, 0], ENDPOINTS),
            Self::Truncated => ([0x87, 0], TRUNCATED),
            Self::CacheHit => ([0x85, 0], 1),
        }
    }

    /// Looks at a reply.
    ///
    /// # Panics
    ///
    /// If it is not one of this kind.
    pub fn check(self, reply: &[u8]) {
        let told = reply
            .get(..8)
            .map(|header| ([header[2], header[3]], header[7]));
        assert_eq!(told, Some(self.expected()), "{self:?}: flags and answers");
    }

    /// Its queries, each about another name.
    pub fn queries(self) -> Vec<Vec<u8>> {
        let (names, qtype): (Vec<String>, _) = match self {
            Self::IndexHit => (services(false).collect(), RType::A),
            Self::NoData => (services(false).collect(), RType::AAAA),
            Self::NxDomain => {
                let missing = services(false).map(|name| format!("no-{name}"));
                (missing.collect(), RType::A)
            }
            Self::Headless | Self::Truncated => (services(true).collect(), RType::A),
            Self::Endpoint => {
                let endpoints = (0..SERVICES).filter(|&at| is_headless(at)).map(|at| {
                    let [_, _, high, low] = at.to_be_bytes();
                    format!("10-{}-{low}-7.{}", 128 + high, owner(at))
                });
                (endpoints.collect(), RType::A)
            }
            Self::Port => {
                let ports = services(false).map(|name| format!("_http._tcp.{name}"));
                (ports.collect(), RType::SRV)
            }
            Self::CacheHit => {
                let external = (0..SERVICES).map(|n| format!("www{n}.example.com"));
                (external.collect(), RType::A)
            }
        };
        let size = (self != Self::Truncated).then_some(PAYLOAD_SIZE);
        names.iter().map(|name| query(name, qtype, size)).collect()
    }
}

/// Records of 16 octets that fit 512, behind the header and a question that is as long as ours.
const TRUNCATED: u8 = 28;

/// The cluster, ready to answer.
pub fn cluster() -> Arc<ClusterIndex> {
    let index = Arc::new(ClusterIndex::default());
    let namespace = Arc::new(Namespace::new(NAMESPACE));
    namespace.set_exposed(true);
    index.put_namespace(Arc::clone(&namespace));
    for at in 0..SERVICES {
        let name = Arc::new(ServiceName::new(Arc::clone(&namespace), &service(at)));
        let [_, _, high, low] = at.to_be_bytes();
        let (kind, slices): (_, Box<[Arc<EndpointSlice>]>) = if is_headless(at) {
            let address = |last| Ipv4Addr::new(10, 128 + high, low, last);
            let slice = EndpointSlice {
                ports: port(),
                addresses: Addresses::V4((1..=ENDPOINTS).map(address).collect()),
                names: None,
                zones: None,
            };
            (ServiceKind::Headless, Box::new([Arc::new(slice)]))
        } else {
            let address = Ipv4Addr::new(10, 96, high, low).into();
            (ServiceKind::ClusterIp(Box::new([address])), Box::default())
        };
        let parts = ServiceParts {
            kind,
            ports: port(),
            slices,
            ttl: TTL,
            ignore_empty: false,
        };
        index.put_service(name, ServiceNode::build(parts));
    }
    index.set_synced();
    index
}

/// The octets of a query; with EDNS where a payload size is given.
///
/// # Panics
///
/// If the name is none.
pub fn query(name: &str, qtype: RType, payload_size: Option<u16>) -> Vec<u8> {
    let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0];
    out.push(u8::from(payload_size.is_some()));
    out.extend(wire_from_text(name).expect("a name"));
    out.extend(qtype.0.to_be_bytes());
    out.extend(Class::IN.0.to_be_bytes());
    if let Some(size) = payload_size {
        out.push(0);
        out.extend(RType::OPT.0.to_be_bytes());
        out.extend(size.to_be_bytes());
        out.extend([0; 6]);
    }
    out
}

fn port() -> Arc<[Port]> {
    Arc::new([Port {
        name: b"http".as_slice().into(),
        protocol: b"tcp".as_slice().into(),
        number: Some(80),
    }])
}

const fn is_headless(at: u32) -> bool {
    at.is_multiple_of(10)
}

fn service(at: u32) -> String {
    format!("order-api-{at:03}")
}

fn services(headless: bool) -> impl Iterator<Item = String> {
    let at = (0..SERVICES).filter(move |&at| is_headless(at) == headless);
    at.map(owner)
}

fn owner(at: u32) -> String {
    format!("{}.{NAMESPACE}.svc.cluster.local", service(at))
}

const NAMESPACE: &str = "checkout-12";
