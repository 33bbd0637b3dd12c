//! Cutting an owner name into the parts of the specification.

use super::{Missing, PodMode, Question};
use crate::index::{LabelRef, PortSelector};
use crate::wire::FoldedName;

/// What a name is about.
pub(super) enum Parts<'n> {
    /// A Service, some of its ports, or one of its endpoints.
    Service {
        service: LabelRef<'n>,
        namespace: LabelRef<'n>,
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
    /// Under `pod`, not under `svc`.
    pub is_pod: bool,
    /// The namespace.
    pub namespace: LabelRef<'n>,
    /// The Service, or a pod's address.
    pub service: Option<LabelRef<'n>>,
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
        let label = |index| {
            let (octets, hash) = name.label_and_hash(index);
            LabelRef { octets, hash }
        };
        let mut left = above;
        let mut next = || {
            left = left.checked_sub(1)?;
            Some(left)
        };
        let Some(kind) = next() else {
            return Err(Missing::Data);
        };
        let is_pod = match name.label(kind) {
            b"svc" => false,
            b"pod" => true,
            _ => return Err(Missing::Name),
        };
        let Some(namespace) = next() else {
            return Err(Missing::Data);
        };
        let service = next().map(label);
        let (selector, endpoint) = match left {
            0 => (PortSelector::default(), None),
            1 => (PortSelector::default(), Some(label(0))),
            // Any two labels are a port and a protocol; their underscores are optional.
            2 => {
                let selector = PortSelector {
                    port: without_underscore(name.label(0)),
                    protocol: without_underscore(name.label(1)),
                };
                (selector, None)
            }
            _ => return Err(Missing::Name),
        };
        Ok(Self {
            is_pod,
            namespace: label(namespace),
            service,
            selector,
            endpoint,
        })
    }
}

impl<'n> Parts<'n> {
    /// Reads the labels left of the zone, right to left. [`Missing::Data`] stands for names that
    /// exist only because others are below them.
    #[inline]
    pub(super) fn split(question: &Question<'_>, name: &'n FoldedName) -> Result<Self, Missing> {
        let Cut {
            is_pod,
            namespace,
            service,
            selector,
            endpoint,
        } = Cut::new(question.above, name)?;
        // Names of Services do not exist in reverse zones, whatever the labels say.
        if question.zone.reverse {
            return Err(Missing::Name);
        }
        let kubernetes = question.kubernetes;
        if is_pod && kubernetes.pods == PodMode::Disabled {
            return Err(Missing::Name);
        }
        // A Service's entry knows itself whether its namespace is exposed.
        let asks_index = is_pod || service.is_none();
        if asks_index && !kubernetes.index.namespace_exposed(namespace) {
            return Err(Missing::Name);
        }
        let Some(service) = service else {
            return Err(Missing::Data);
        };
        if is_pod {
            // Up to two further labels are accepted and mean nothing.
            return Ok(Self::Pod {
                label: service.octets,
                namespace,
            });
        }
        Ok(Self::Service {
            service,
            namespace,
            selector,
            endpoint,
        })
    }
}

fn without_underscore(label: &[u8]) -> &[u8] {
    label.strip_prefix(b"_").unwrap_or(label)
}
