//! Cutting an owner name into the parts of the specification.

use super::{Grammar, Missing, PodMode, Question};
use crate::index::{Item, LabelRef, PortSelector, ServiceNode, ServiceRef, ZoneSelector};
use crate::limits::LABEL_LEN_MAX;
use crate::wire::FoldedName;
use crate::wire::name::label_hash;

/// What a name is about.
pub(super) enum Parts<'n> {
    /// A Service or a part of it.
    Service {
        service: ServiceRef<'n>,
        part: Part<'n>,
    },
    /// A pod, by its address.
    Pod {
        label: &'n [u8],
        namespace: LabelRef<'n>,
    },
}

/// What of a Service a name is about.
#[derive(Clone, Copy, Debug)]
pub enum Part<'n> {
    /// Some of its ports; all of it if the selector says nothing.
    Ports(PortSelector<'n>),
    /// One of its endpoints.
    Endpoint(LabelRef<'n>),
    /// An endpoint in one of the clusters that offer the Service: the labels of both.
    Member {
        /// The endpoint's.
        endpoint: &'n [u8],
        /// The cluster's.
        cluster: &'n [u8],
    },
    /// Its endpoints in a topology zone.
    Zone(ZoneSelector<'n>),
}

impl Part<'_> {
    /// Whether it is the whole Service.
    #[inline]
    pub const fn is_whole(&self) -> bool {
        matches!(self, Self::Ports(ports) if ports.port.is_empty() && ports.protocol.is_empty())
    }

    /// Visits what it stands for, as [`ServiceNode::items`].
    #[inline]
    pub(super) fn items<'a>(
        self,
        node: &'a ServiceNode,
        visit: impl FnMut(Item<'a>),
    ) -> Option<usize> {
        match self {
            Self::Ports(ports) => node.items(ports, None, visit),
            Self::Endpoint(label) => node.items(PortSelector::default(), Some(label), visit),
            Self::Member { endpoint, cluster } => {
                let mut joined = [0; 2 * LABEL_LEN_MAX + 1];
                let octets = join(endpoint, cluster, &mut joined);
                let hash = label_hash(octets);
                let label = LabelRef { octets, hash };
                node.items(PortSelector::default(), Some(label), visit)
            }
            Self::Zone(zone) => node.items_in_zone(&zone, visit),
        }
    }
}

/// The name that an endpoint of another cluster has in the index: `endpoint.cluster`.
fn join<'b>(endpoint: &[u8], cluster: &[u8], buf: &'b mut [u8]) -> &'b [u8] {
    let len = endpoint.len() + 1 + cluster.len();
    buf[..endpoint.len()].copy_from_slice(endpoint);
    buf[endpoint.len()] = b'.';
    buf[endpoint.len() + 1..len].copy_from_slice(cluster);
    &buf[..len]
}

/// The labels left of the zone, by their places alone.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'n> {
    name: &'n FoldedName,
    /// The place of the namespace's label.
    namespace: usize,
    /// Under `pod`, not under `svc`.
    pub is_pod: bool,
    /// What of the Service.
    pub part: Part<'n>,
}

impl<'n> Cut<'n> {
    /// Reads the first `above` labels of `name`, right to left.
    // Always: tools call it as well, and serving must not pay for that.
    #[inline(always)]
    pub(super) fn new(
        above: usize,
        name: &'n FoldedName,
        grammar: Grammar,
    ) -> Result<Self, Missing> {
        let Some(kind) = above.checked_sub(1) else {
            return Err(Missing::Data);
        };
        let is_pod = match name.label(kind) {
            b"svc" => false,
            b"pod" => true,
            _ => return Err(Missing::Name),
        };
        let Some(namespace) = kind.checked_sub(1) else {
            return Err(Missing::Data);
        };
        let part = match namespace {
            0 | 1 => Part::Ports(PortSelector::default()),
            2 => Part::Endpoint(label_at(name, 0)),
            3 if grammar == Grammar::Multicluster && !has_underscore(name) => Part::Member {
                endpoint: name.label(0),
                cluster: name.label(1),
            },
            // Any two labels are a port and a protocol; their underscores are optional.
            3 => Part::Ports(PortSelector {
                port: without_underscore(name.label(0)),
                protocol: without_underscore(name.label(1)),
            }),
            _ if grammar == Grammar::Zonal && !is_pod => topology_zone(name, namespace)?,
            _ => return Err(Missing::Name),
        };
        Ok(Self {
            name,
            namespace,
            is_pod,
            part,
        })
    }

    /// The namespace.
    #[inline]
    pub fn namespace(&self) -> LabelRef<'n> {
        label_at(self.name, self.namespace)
    }

    /// The label of the Service, or that of a pod's address.
    #[inline]
    pub fn own_label(&self) -> Option<&'n [u8]> {
        let place = self.namespace.checked_sub(1)?;
        Some(self.name.label(place))
    }

    /// The Service and its namespace.
    #[inline]
    pub fn service(&self) -> Option<ServiceRef<'n>> {
        let place = self.namespace.checked_sub(1)?;
        Some(service_at(self.name, place))
    }
}

/// The Service whose label has this place in a name; that of its namespace comes next.
#[inline]
pub(super) fn service_at(name: &FoldedName, place: usize) -> ServiceRef<'_> {
    let (octets, hash) = name.span_and_hash(place, place + 1);
    ServiceRef { octets, hash }
}

#[inline]
pub(crate) fn label_at(name: &FoldedName, place: usize) -> LabelRef<'_> {
    let (octets, hash) = name.label_and_hash(place);
    LabelRef { octets, hash }
}

impl<'n> Parts<'n> {
    /// Reads the labels left of the zone, right to left. [`Missing::Data`] stands for names that
    /// exist only because others are below them.
    #[inline]
    pub(super) fn split(question: &Question<'_>, name: &'n FoldedName) -> Result<Self, Missing> {
        let cut = Cut::new(question.above, name, question.zone.grammar)?;
        // Names of Services do not exist in reverse zones, whatever the labels say.
        if question.zone.reverse {
            return Err(Missing::Name);
        }
        let kubernetes = question.kubernetes;
        if cut.is_pod && kubernetes.pods == PodMode::Disabled {
            return Err(Missing::Name);
        }
        let service = cut.service().filter(|_| !cut.is_pod);
        // A Service's entry knows itself whether its namespace is exposed.
        if service.is_none() && !kubernetes.index.namespace_exposed(cut.namespace()) {
            return Err(Missing::Name);
        }
        if let Some(service) = service {
            return Ok(Self::Service {
                service,
                part: cut.part,
            });
        }
        // Up to two further labels of a pod's name are accepted and mean nothing.
        let label = cut.own_label().ok_or(Missing::Data)?;
        Ok(Self::Pod {
            label,
            namespace: cut.namespace(),
        })
    }
}

fn has_underscore(name: &FoldedName) -> bool {
    name.label(0).starts_with(b"_") || name.label(1).starts_with(b"_")
}

/// `TOPOLOGY-ZONE.(pin | prefer)._zone` left of a Service, whose namespace has the place
/// `namespace`, at least 4. The zone may be of several labels.
fn topology_zone(name: &FoldedName, namespace: usize) -> Result<Part<'_>, Missing> {
    let falls_back = match (name.label(namespace - 3), name.label(namespace - 2)) {
        (b"pin", b"_zone") => false,
        (b"prefer", b"_zone") => true,
        _ => return Err(Missing::Name),
    };
    Ok(Part::Zone(ZoneSelector {
        name,
        labels: namespace - 3,
        falls_back,
    }))
}

pub(crate) fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
