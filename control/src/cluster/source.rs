//! Where events come from: the API server ([`api`]) or manifest files ([`manifests`]).
//!
//! Both send the same [`Event`](super::object::Event)s, decoded by [`super::decode`] and filtered
//! by the same [`SourceSettings`], so that nothing behind them can tell which one is at work.

pub mod api;
pub mod manifests;

use super::object::Kind;
use super::selector::Selector;

/// What to watch, and what to keep of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceSettings {
    /// Services, EndpointSlices and pods must match this (`labels`).
    pub labels: Option<Selector>,
    /// Namespaces must match this (`namespace_labels`).
    pub namespace_labels: Option<Selector>,
    /// Whether pods are watched (`pods verified`).
    pub pods: bool,
    /// Whether EndpointSlices are watched (not with `noendpoints`).
    pub endpoint_slices: bool,
    /// Whether endpoints keep the name of the pod behind them (`endpoint_pod_names`).
    pub keep_pod_names: bool,
}

impl SourceSettings {
    /// The kinds a source with these settings lists. No event names any other kind, so the first
    /// state is whole once each of these had its `RelistDone`.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let (slices, pods) = (self.endpoint_slices, self.pods);
        [
            (Kind::Namespace, true),
            (Kind::Service, true),
            (Kind::EndpointSlice, slices),
            (Kind::Pod, pods),
        ]
        .into_iter()
        .filter_map(|(kind, wanted)| wanted.then_some(kind))
    }

    /// The selector that objects of this kind must match.
    pub const fn selector(&self, kind: Kind) -> Option<&Selector> {
        match kind {
            Kind::Namespace => self.namespace_labels.as_ref(),
            Kind::Service | Kind::EndpointSlice | Kind::Pod => self.labels.as_ref(),
        }
    }
}
