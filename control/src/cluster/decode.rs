//! From the API's JSON (or a manifest's YAML) to the trimmed objects of [`super::object`].
//!
//! Both sources deserialize into the *wire* types below, which name only the fields an answer can
//! depend on. Everything else, above all `managedFields` and annotations, is skipped by serde
//! without being stored. Decoding is lenient on purpose: a value that cannot be used, such as a
//! malformed address, drops that value alone, because one odd object must not cost the cluster its
//! whole list.

mod field;

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use k8s_openapi::jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

pub use self::field::IMPORT_LABEL;
use self::field::{LastChangeTrigger, Picked, SliceLabels, TextVisitor, text};
use super::object::{
    Endpoint, EndpointAddress, EndpointSlice, Import, Key, Kind, Object, Pod, Port, Service,
    ServiceType,
};

/// What is kept of EndpointSlices.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Keep {
    /// To which Service they belong.
    pub services: bool,
    /// To which ServiceImport they belong.
    pub imports: bool,
    /// The names of the pods behind endpoints.
    pub pod_names: bool,
    /// The topology zones of endpoints.
    pub zones: bool,
}

/// A kind's wire type: what is read of it, and how it becomes an [`Object`].
pub trait Wire: DeserializeOwned + Clone + fmt::Debug + Send + 'static {
    /// The kind it is read from.
    const KIND: Kind;

    /// The object's metadata.
    fn metadata(&self) -> &Metadata;

    /// The object's metadata, to be completed.
    fn metadata_mut(&mut self) -> &mut Metadata;

    /// What is left of the object, or `None` when it cannot be asked for, so that whoever knew it
    /// must forget it.
    fn trim(self, keep: Keep) -> Option<Object>;

    /// What names the object.
    fn key(&self) -> Key {
        let metadata = self.metadata();
        match Self::KIND {
            Kind::Namespace => Key::new("", &metadata.name),
            _ => Key::new(&metadata.namespace, &metadata.name),
        }
    }
}

/// The part of `ObjectMeta` that is read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The object's name; empty when the object has none.
    #[serde(default, deserialize_with = "text")]
    pub name: Box<str>,
    /// The object's namespace; empty when it has none.
    #[serde(default, deserialize_with = "text")]
    pub namespace: Box<str>,
    /// The version a watch resumes from.
    #[serde(default)]
    pub resource_version: Option<String>,
    /// Whether the object is being deleted.
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
    /// To what a slice belongs.
    #[serde(default)]
    labels: Picked<SliceLabels, 3>,
    /// When the change behind a slice's last update happened.
    #[serde(default)]
    annotations: Picked<LastChangeTrigger, 1>,
}

/// `v1/Namespace`.
#[derive(Clone, Debug, Deserialize)]
pub struct WireNamespace {
    #[serde(default)]
    metadata: Metadata,
}

impl Wire for WireNamespace {
    const KIND: Kind = Kind::Namespace;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    // A terminating namespace still exists, and so do the Services in it.
    fn trim(self, _: Keep) -> Option<Object> {
        Some(Object::Namespace(self.key()))
    }
}

/// `v1/Service`.
#[derive(Clone, Debug, Deserialize)]
pub struct WireService {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Option<WireServiceSpec>,
    #[serde(default)]
    status: Option<WireServiceStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireServiceStatus {
    #[serde(default)]
    load_balancer: Option<WireLoadBalancer>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WireLoadBalancer {
    #[serde(default)]
    ingress: Option<Vec<WireIngress>>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireIngress {
    #[serde(default)]
    ip: Option<WireAddress>,
    #[serde(default)]
    hostname: Option<WireAddress>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireServiceSpec {
    #[serde(default, rename = "type")]
    service_type: Option<Box<str>>,
    #[serde(default, rename = "clusterIP")]
    cluster_ip: Option<ClusterIp>,
    #[serde(default, rename = "clusterIPs")]
    cluster_ips: Option<Vec<ClusterIp>>,
    #[serde(default)]
    external_name: Option<Box<str>>,
    #[serde(default)]
    ports: Option<Vec<WirePort>>,
    #[serde(default, rename = "externalIPs")]
    external_ips: Option<Vec<WireAddress>>,
}

impl Wire for WireService {
    const KIND: Kind = Kind::Service;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn trim(self, _: Keep) -> Option<Object> {
        let key = self.key();
        let spec = self.spec.unwrap_or_default();
        // `clusterIPs` holds the primary address too; `clusterIP` is for objects that predate it.
        let cluster_ips = match spec.cluster_ips {
            Some(list) if !list.is_empty() => list,
            _ => spec.cluster_ip.into_iter().collect(),
        };
        let service_type = if spec.service_type.as_deref() == Some("ExternalName") {
            ServiceType::ExternalName(spec.external_name.unwrap_or_default())
        } else if cluster_ips.first() == Some(&ClusterIp::None) {
            ServiceType::Headless
        } else {
            ServiceType::ClusterIp(cluster_ips.into_iter().filter_map(ClusterIp::ip).collect())
        };
        let ingress = self.status.and_then(|status| status.load_balancer?.ingress);
        let ingress = ingress.unwrap_or_default().into_iter();
        let balanced = ingress.filter_map(|one| one.ip.filter(is_said).or(one.hostname));
        let external = spec.external_ips.unwrap_or_default().into_iter();
        let external = external.chain(balanced).filter(is_said);
        Some(Object::Service(Service {
            key,
            service_type,
            ports: trim_ports(spec.ports),
            external: external.map(|WireAddress(address)| address).collect(),
        }))
    }
}

/// `discovery.k8s.io/v1/EndpointSlice`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireEndpointSlice {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    address_type: Option<Box<str>>,
    #[serde(default)]
    endpoints: Option<Vec<WireEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<WirePort>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEndpoint {
    #[serde(default)]
    addresses: Option<Vec<WireAddress>>,
    #[serde(default)]
    conditions: Option<WireConditions>,
    #[serde(default)]
    hostname: Option<Box<str>>,
    #[serde(default)]
    target_ref: Option<WireTargetRef>,
    #[serde(default)]
    zone: Option<Box<str>>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireConditions {
    #[serde(default)]
    ready: Option<bool>,
}

#[derive(Clone, Debug, Deserialize)]
struct WireTargetRef {
    #[serde(default)]
    name: Option<Box<str>>,
}

impl WireEndpoint {
    fn is_ready(&self) -> bool {
        // Unknown readiness counts as ready, as the API's own description asks.
        self.conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true)
    }
}

impl Wire for WireEndpointSlice {
    const KIND: Kind = Kind::EndpointSlice;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn trim(self, keep: Keep) -> Option<Object> {
        let key = self.key();
        let fqdn = self.address_type.as_deref() == Some("FQDN");
        let mut endpoints = Vec::new();
        for endpoint in self.endpoints.unwrap_or_default() {
            if !endpoint.is_ready() {
                continue;
            }
            let hostname = endpoint.hostname.filter(|name| !name.is_empty());
            // A longer name cannot be a label, so it cannot name the endpoint either.
            let pod_name = endpoint
                .target_ref
                .filter(|_| keep.pod_names)
                .and_then(|target| target.name)
                .filter(|name| (1..=LABEL_LEN_MAX).contains(&name.len()));
            let zone = endpoint.zone.filter(|zone| keep.zones && !zone.is_empty());
            for WireAddress(address) in endpoint.addresses.unwrap_or_default() {
                if fqdn || matches!(address, EndpointAddress::Ip(_)) {
                    let (hostname, pod_name) = (hostname.clone(), pod_name.clone());
                    let zone = zone.clone();
                    endpoints.push(Endpoint {
                        address,
                        hostname,
                        pod_name,
                        zone,
                    });
                }
            }
        }
        let [service, import, cluster] = self.metadata.labels.values;
        let [trigger] = self.metadata.annotations.values;
        let import = import.filter(|name| keep.imports && !name.is_empty());
        let import = import.map(|service| Import {
            service,
            cluster: cluster.unwrap_or_default(),
        });
        Some(Object::EndpointSlice(EndpointSlice {
            key,
            service: service.filter(|_| keep.services).unwrap_or_default(),
            import,
            endpoints: endpoints.into(),
            ports: trim_ports(self.ports),
            last_change_trigger: trigger
                .and_then(|text| text.parse::<Timestamp>().ok())
                .map(SystemTime::from),
        }))
    }
}

/// `multicluster.x-k8s.io/v1alpha1/ServiceImport`.
#[derive(Clone, Debug, Deserialize)]
pub struct WireServiceImport {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Option<WireServiceImportSpec>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WireServiceImportSpec {
    #[serde(default, rename = "type")]
    import_type: Option<Box<str>>,
    #[serde(default)]
    ips: Option<Vec<ClusterIp>>,
    #[serde(default)]
    ports: Option<Vec<WirePort>>,
}

impl Wire for WireServiceImport {
    const KIND: Kind = Kind::ServiceImport;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn trim(self, _: Keep) -> Option<Object> {
        let key = self.key();
        let spec = self.spec.unwrap_or_default();
        let service_type = if spec.import_type.as_deref() == Some("Headless") {
            ServiceType::Headless
        } else {
            let ips = spec.ips.unwrap_or_default().into_iter();
            ServiceType::ClusterIp(ips.filter_map(ClusterIp::ip).collect())
        };
        let ports = trim_ports(spec.ports);
        // Unlike a Service, an import without ports does not even have its addresses.
        if ports.is_empty() && service_type != ServiceType::Headless {
            return None;
        }
        Some(Object::ServiceImport(Service {
            key,
            service_type,
            ports,
            external: Box::default(),
        }))
    }
}

/// `v1/Pod`.
#[derive(Clone, Debug, Deserialize)]
pub struct WirePod {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    status: Option<WirePodStatus>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct WirePodStatus {
    #[serde(default)]
    phase: Option<Box<str>>,
    #[serde(default, rename = "podIP")]
    pod_ip: Option<WireAddress>,
}

impl Wire for WirePod {
    const KIND: Kind = Kind::Pod;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    fn trim(self, _: Keep) -> Option<Object> {
        let key = self.key();
        let status = self.status.unwrap_or_default();
        let is_over = matches!(
            status.phase.as_deref(),
            Some("Succeeded" | "Failed" | "Unknown")
        );
        if is_over || self.metadata.deletion_timestamp.is_some() {
            return None;
        }
        match status.pod_ip {
            Some(WireAddress(EndpointAddress::Ip(address))) => {
                Some(Object::Pod(Pod { key, address }))
            }
            _ => None,
        }
    }
}

/// A port of a Service (`port` always set) or of a slice.
#[derive(Clone, Debug, Deserialize)]
struct WirePort {
    #[serde(default)]
    name: Option<Box<str>>,
    #[serde(default)]
    protocol: Option<Box<str>>,
    #[serde(default)]
    port: Option<i64>,
}

fn trim_ports(ports: Option<Vec<WirePort>>) -> Box<[Port]> {
    let trim = |port: WirePort| Port {
        name: port.name.unwrap_or_default(),
        protocol: match port.protocol {
            Some(protocol) if !protocol.is_empty() => protocol,
            _ => "TCP".into(),
        },
        number: port.port.and_then(|number| u16::try_from(number).ok()),
    };
    ports.unwrap_or_default().into_iter().map(trim).collect()
}

/// An entry of `clusterIPs`, read without keeping its text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ClusterIp {
    /// The word `None`: headless.
    None,
    Ip(IpAddr),
    /// Empty (not assigned yet) or malformed.
    Unusable,
}

impl ClusterIp {
    fn ip(self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address),
            Self::None | Self::Unusable => None,
        }
    }
}

impl From<&str> for ClusterIp {
    fn from(text: &str) -> Self {
        if text == "None" {
            Self::None
        } else {
            parse_ip(text).map_or(Self::Unusable, Self::Ip)
        }
    }
}

impl<'de> Deserialize<'de> for ClusterIp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor::default())
    }
}

/// An address of a slice or a pod, read without keeping the text of an IP address.
#[derive(Clone, Debug)]
struct WireAddress(EndpointAddress);

/// Whether there is anything at all.
fn is_said(WireAddress(address): &WireAddress) -> bool {
    !matches!(address, EndpointAddress::Fqdn(name) if name.is_empty())
}

impl From<&str> for WireAddress {
    fn from(text: &str) -> Self {
        Self(match parse_ip(text) {
            Some(address) => EndpointAddress::Ip(address),
            None => EndpointAddress::Fqdn(text.into()),
        })
    }
}

impl<'de> Deserialize<'de> for WireAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor::default())
    }
}

/// An IPv4 address written as an IPv6 one is answered with A records, not AAAA.
fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>()
        .ok()
        .map(|address| address.to_canonical())
}

/// The longest DNS label, in bytes (RFC 1035 §2.3.4).
const LABEL_LEN_MAX: usize = 63;

#[cfg(test)]
mod tests;
