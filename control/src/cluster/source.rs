//! Where events come from: the API server ([`api`]) or manifest files ([`manifests`]).
//!
//! Both send the same [`Event`](super::object::Event)s, decoded by [`super::decode`] and filtered
//! by the same [`SourceSettings`], so that nothing behind them can tell which one is at work.

pub mod api;
pub mod manifests;

use std::borrow::Cow;

use super::decode::{IMPORT_LABEL, Keep};
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
    /// Whether endpoints keep their topology zone (`zonal`).
    pub keep_zones: bool,
    /// Whether ServiceImports are watched, and the EndpointSlices behind them (`multicluster`).
    pub multicluster: bool,
}

impl SourceSettings {
    /// The kinds a source with these settings lists. No event names any other kind, so the first
    /// state is whole once each of these had its `RelistDone`.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        let (imports, pods) = (self.multicluster, self.pods);
        let slices = self.endpoint_slices || imports;
        [
            (Kind::Namespace, true),
            (Kind::Service, true),
            (Kind::EndpointSlice, slices),
            (Kind::Pod, pods),
            (Kind::ServiceImport, imports),
        ]
        .into_iter()
        .filter_map(|(kind, wanted)| wanted.then_some(kind))
    }

    /// The selector that objects of this kind must match.
    pub fn selector(&self, kind: Kind) -> Option<Cow<'_, Selector>> {
        let selector = match kind {
            // CoreDNS selects imports as it does namespaces.
            Kind::Namespace | Kind::ServiceImport => &self.namespace_labels,
            Kind::Service | Kind::EndpointSlice | Kind::Pod => &self.labels,
        };
        if kind == Kind::EndpointSlice && !self.endpoint_slices {
            let imported = selector.clone().unwrap_or_default();
            return Some(Cow::Owned(imported.with_label(IMPORT_LABEL)));
        }
        selector.as_ref().map(Cow::Borrowed)
    }

    /// What is kept of EndpointSlices.
    pub const fn keep(&self) -> Keep {
        Keep {
            services: self.endpoint_slices,
            imports: self.multicluster,
            pod_names: self.keep_pod_names,
            zones: self.keep_zones,
        }
    }
}
