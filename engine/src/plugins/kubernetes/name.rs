//! Cutting an owner name into the parts of the specification.

use super::{Missing, PodMode, Question};
use crate::index::{LabelRef, PortSelector, ServiceRef};
use crate::wire::FoldedName;

/// What a name is about.
pub(super) enum Parts<'n> {
    /// A Service, some of its ports, or one of its endpoints.
    Service {
        service: ServiceRef<'n>,
        selector: PortSelector<'n>,
        endpoint: Option<LabelRef<'n>>,
    },
    /// A pod, by its address.
    Pod {
        label: &'n [u8],
        namespace: LabelRef<'n>,
    },
}

/// The labels left of the zone, by their places alone.
#[derive(Clone, Copy, Debug)]
pub struct Cut<'n> {
    name: &'n FoldedName,
    /// The place of the namespace's label.
    namespace: usize,
    /// Under `pod`, not under `svc`.
    pub is_pod: bool,
    /// Some of the Service's ports.
    pub selector: PortSelector<'n>,
    /// One of its endpoints.
    pub endpoint: Option<LabelRef<'n>>,
}

impl<'n> Cut<'n> {
    /// Reads the first `above` labels of `name`, right to left.
    // Always: tools call it as well, and serving must not pay for that.
    #[inline(always)]
    pub(super) fn new(above: usize, name: &'n FoldedName) -> Result<Self, Missing> {
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
        let (selector, endpoint) = match namespace {
            0 | 1 => (PortSelector::default(), None),
            2 => (PortSelector::default(), Some(label_at(name, 0))),
            // Any two labels are a port and a protocol; their underscores are optional.
            3 => {
                let selector = PortSelector {
                    port: without_underscore(name.label(0)),
                    protocol: without_underscore(name.label(1)),
                };
                (selector, None)
            }
            _ => return Err(Missing::Name),
        };
        Ok(Self {
            name,
            namespace,
            is_pod,
            selector,
            endpoint,
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
pub(crate) fn service_at(name: &FoldedName, place: usize) -> ServiceRef<'_> {
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
        let cut = Cut::new(question.above, name)?;
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
                selector: cut.selector,
                endpoint: cut.endpoint,
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

pub(crate) fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
