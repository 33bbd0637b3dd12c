//! `metadata`: what plugins know of a query besides its answer, under labels that `log` shows and
//! `view`, `template` and `rewrite` decide by.
//!
//! CoreDNS has every plugin write all its labels down for every query. Here whoever shows a label
//! asks for that one, when it shows it; what labels there are is known when the plan is made. A
//! query of which nobody reads a label costs nothing.

use std::sync::Arc;

use super::kubernetes::Kubernetes;
use super::surroundings::Asked;
use super::zones::Zones;

/// What a plugin tells of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Label {
    /// The namespace of the pod that asks.
    ClientNamespace,
    /// The name of the pod that asks.
    ClientPodName,
    /// What is wrong with a name in a zone of the cluster.
    ParseError,
    /// The name of a port, as it is asked for.
    PortName,
    /// The protocol of a port, as it is asked for.
    Protocol,
    /// The name of an endpoint.
    Endpoint,
    /// The cluster that an endpoint is in.
    Cluster,
    /// The topology zone that endpoints are wanted of.
    TopologyZone,
    /// The name of a Service; of a pod, what stands in its place.
    Service,
    /// The namespace of what is asked for.
    Namespace,
    /// `svc` or `pod`.
    Kind,
    /// The name of the `view`.
    View,
    /// The upstream that replied.
    Upstream,
}

impl Label {
    /// All of them, under their names in CoreDNS.
    const ALL: [(&'static str, Self); 13] = [
        ("kubernetes/client-namespace", Self::ClientNamespace),
        ("kubernetes/client-pod-name", Self::ClientPodName),
        ("kubernetes/parse-error", Self::ParseError),
        ("kubernetes/port-name", Self::PortName),
        ("kubernetes/protocol", Self::Protocol),
        ("kubernetes/endpoint", Self::Endpoint),
        ("kubernetes/cluster", Self::Cluster),
        ("kubernetes/zone", Self::TopologyZone),
        ("kubernetes/service", Self::Service),
        ("kubernetes/namespace", Self::Namespace),
        ("kubernetes/kind", Self::Kind),
        ("view/name", Self::View),
        ("forward/upstream", Self::Upstream),
    ];

    /// The label of this name, if a plugin gives it.
    pub fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(known, _)| *known == name)
            .map(|(_, label)| *label)
    }

    /// The names of all labels.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().map(|(name, _)| *name)
    }

    /// Whether it is about the pod that asks.
    pub const fn is_of_client(self) -> bool {
        matches!(self, Self::ClientNamespace | Self::ClientPodName)
    }
}

/// Where the labels of a server block come from.
pub struct Metadata {
    /// For which names plugins tell something.
    pub zones: Zones,
    /// The name of the block's `view`.
    pub view: Option<Box<str>>,
    /// Its `kubernetes`.
    pub kubernetes: Option<Arc<Kubernetes>>,
}

impl Metadata {
    /// The value of a label. `None` if nobody gives it for this query; an empty one is there and
    /// says nothing.
    #[cold]
    pub(crate) fn value(&self, label: Label, asked: &Asked<'_>) -> Option<String> {
        // As in CoreDNS the zones are those of plugins that know before the query goes its way.
        if label == Label::Upstream {
            return asked
                .gathered?
                .upstream()
                .map(|address| address.to_string());
        }
        if !self.zones.hold(asked.original) {
            return None;
        }
        if label == Label::View {
            return self.view.as_deref().map(str::to_owned);
        }
        let kubernetes = self.kubernetes.as_ref()?;
        kubernetes.label(label, asked.original, asked.peer.remote.ip())
    }
}

#[cfg(test)]
mod tests;
