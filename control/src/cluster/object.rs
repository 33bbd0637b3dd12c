//! Kubernetes objects, trimmed on arrival to what answers need.
//!
//! Both sources (the API server and manifest files) decode into these types, one object at a time,
//! and hand them to the store as [`Event`]s. Nothing here knows JSON, YAML or the network.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

/// The kinds of object that martlet reads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Kind {
    /// `v1/Namespace`.
    Namespace,
    /// `v1/Service`.
    Service,
    /// `discovery.k8s.io/v1/EndpointSlice`.
    EndpointSlice,
    /// `v1/Pod`.
    Pod,
    /// `multicluster.x-k8s.io/v1alpha1/ServiceImport`.
    ServiceImport,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What names an object among those of its kind. Namespaces have an empty `namespace`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Key {
    /// The object's namespace; empty for objects that have none.
    pub namespace: Box<str>,
    /// The object's name.
    pub name: Box<str>,
}

impl Key {
    /// A key from its two parts.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            f.write_str(&self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// One trimmed object.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum Object {
    /// A namespace that passed the source's label selector. It carries nothing but its name.
    Namespace(Key),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A pod that can be asked for by its address.
    Pod(Pod),
    /// A ServiceImport, as the Service that it stands for.
    ServiceImport(Service),
    /// What of an EndpointSlice belongs to a ServiceImport. Only in snapshots: a source has the
    /// whole slice. Its `service` is the import, and its host names are whole.
    ImportedSlice(EndpointSlice),
}

impl Object {
    /// The object's kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) | Self::ImportedSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::ServiceImport(_) => Kind::ServiceImport,
        }
    }

    /// The object's key.
    pub const fn key(&self) -> &Key {
        match self {
            Self::Namespace(key) => key,
            Self::Service(service) | Self::ServiceImport(service) => &service.key,
            Self::EndpointSlice(slice) | Self::ImportedSlice(slice) => &slice.key,
            Self::Pod(pod) => &pod.key,
        }
    }
}

/// What kind of names a Service gives.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum ServiceType {
    /// Answered with its cluster IPs. Empty when none was assigned yet.
    ClusterIp(Box<[IpAddr]>),
    /// `clusterIP: None` (of any type but ExternalName): answered with its endpoints.
    Headless,
    /// `type: ExternalName`, with the `externalName` as the API gives it.
    ExternalName(Box<str>),
}

/// One named or unnamed port of a Service or an EndpointSlice.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Port {
    /// The port's name; empty when it has none.
    pub name: Box<str>,
    /// `TCP`, `UDP` or `SCTP`, as the API spells it; `TCP` when absent.
    pub protocol: Box<str>,
    /// The port's number; `None` in an EndpointSlice means "all ports".
    pub number: Option<u16>,
}

/// A trimmed `v1/Service`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Namespace and name.
    pub key: Key,
    /// Where its addresses come from.
    pub service_type: ServiceType,
    /// Its ports, in the API's order.
    pub ports: Box<[Port]>,
    /// Its external IPs and the hosts of its load balancers, in the API's order.
    pub external: Box<[EndpointAddress]>,
}

/// An address of an endpoint, or one of a Service from outside.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub enum EndpointAddress {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, in slices of `addressType: FQDN`.
    Fqdn(Box<str>),
}

/// One ready address of an EndpointSlice.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The address.
    pub address: EndpointAddress,
    /// The endpoint's `hostname`.
    pub hostname: Option<Box<str>>,
    /// `targetRef.name`; kept only when the source was asked to (`endpoint_pod_names`).
    pub pod_name: Option<Box<str>>,
    /// The endpoint's topology zone; kept only when the source was asked to (`zonal`).
    pub zone: Option<Box<str>>,
}

/// To which ServiceImport a slice belongs.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Import {
    /// The label `multicluster.kubernetes.io/service-name`, never empty.
    pub service: Box<str>,
    /// The label `multicluster.kubernetes.io/source-cluster`; empty when the slice has none.
    pub cluster: Box<str>,
}

/// A trimmed `discovery.k8s.io/v1/EndpointSlice`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Namespace and name of the slice itself.
    pub key: Key,
    /// The label `kubernetes.io/service-name`; empty when the slice has none.
    pub service: Box<str>,
    /// The import; kept only when the source was asked to (`multicluster`).
    pub import: Option<Import>,
    /// Ready addresses only (`conditions.ready` true or absent), one entry an address, in the API's
    /// order.
    pub endpoints: Box<[Endpoint]>,
    /// The slice's ports, in the API's order.
    pub ports: Box<[Port]>,
    /// The annotation `endpoints.kubernetes.io/last-change-trigger-time`, if it parses.
    pub last_change_trigger: Option<SystemTime>,
}

/// A trimmed `v1/Pod` that has an address, is in phase Pending or Running, and is not terminating.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct Pod {
    /// Namespace and name.
    pub key: Key,
    /// `status.podIP`: the primary address only, as CoreDNS has it.
    pub address: IpAddr,
}

/// One step of a source's stream. A source lists each kind as `RelistStarted`, `Applied…`,
/// `RelistDone`, then goes on with single changes; after a lost watch it lists again in the same
/// way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Event {
    /// The object exists and is like this now.
    Applied(Object),
    /// The object is gone. Also sent for an object that no longer passes the source's filters; may
    /// name an object that was never applied.
    Deleted(Kind, Key),
    /// A complete list of this kind begins. What is known stays in force until `RelistDone`. Comes
    /// again without a `RelistDone` when the list broke off and starts anew.
    RelistStarted(Kind),
    /// The list is whole: objects of this kind that it did not name are gone.
    RelistDone(Kind),
}
