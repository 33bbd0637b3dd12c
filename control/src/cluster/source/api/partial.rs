//! The wire types as kube wants to see them.

use std::borrow::Cow;

use kube::core::DynamicResourceScope;
use kube::core::ObjectMeta;
use serde::{Deserialize, Deserializer};

use crate::cluster::decode::{
    Keep, Wire, WireEndpointSlice, WireNamespace, WirePod, WireService, WireServiceImport,
};
use crate::cluster::object::{Event, Key};

/// How a kind is asked for.
pub(super) trait Resource: Wire {
    /// Its API group; empty for the core group.
    const GROUP: &'static str;
    /// The version of the group.
    const VERSION: &'static str = "v1";
    /// Its name in URLs.
    const PLURAL: &'static str;
    /// Objects in one page of a list.
    const PAGE_SIZE: u32;
    /// The field selector that goes with every request.
    const FIELDS: Option<&'static str>;
}

impl Resource for WireNamespace {
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "namespaces";
    const PAGE_SIZE: u32 = 500;
    const FIELDS: Option<&'static str> = None;
}

impl Resource for WireService {
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "services";
    const PAGE_SIZE: u32 = 500;
    const FIELDS: Option<&'static str> = None;
}

impl Resource for WireEndpointSlice {
    const GROUP: &'static str = "discovery.k8s.io";
    const PLURAL: &'static str = "endpointslices";
    // A slice may hold a hundred endpoints (a thousand at most), some hundred kilobytes of JSON.
    const PAGE_SIZE: u32 = 100;
    const FIELDS: Option<&'static str> = None;
}

impl Resource for WirePod {
    const GROUP: &'static str = "";
    const PLURAL: &'static str = "pods";
    const PAGE_SIZE: u32 = 500;
    // The server then reports a pod that is over as deleted, and no finished job costs memory.
    const FIELDS: Option<&'static str> =
        Some("status.phase!=Succeeded,status.phase!=Failed,status.phase!=Unknown");
}

impl Resource for WireServiceImport {
    const GROUP: &'static str = "multicluster.x-k8s.io";
    const VERSION: &'static str = "v1alpha1";
    const PLURAL: &'static str = "serviceimports";
    const PAGE_SIZE: u32 = 500;
    const FIELDS: Option<&'static str> = None;
}

/// An object of a list or a watch. kube's watcher asks its metadata for the resource version and
/// for nothing else, so that is all the metadata holds.
#[derive(Clone, Debug)]
pub(super) struct Partial<W> {
    metadata: ObjectMeta,
    wire: W,
}

impl<W: Wire> Partial<W> {
    /// What names the object.
    pub(super) fn key(&self) -> Key {
        self.wire.key()
    }

    /// The change that this state of the object means.
    pub(super) fn trim(self, keep: Keep) -> Event {
        let key = self.wire.key();
        match self.wire.trim(keep) {
            Some(object) => Event::Applied(object),
            None => Event::Deleted(W::KIND, key),
        }
    }
}

impl<'de, W: Wire> Deserialize<'de> for Partial<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = W::deserialize(deserializer)?;
        let resource_version = wire.metadata().resource_version.clone();
        Ok(Self {
            metadata: ObjectMeta {
                resource_version,
                ..ObjectMeta::default()
            },
            wire,
        })
    }
}

impl<W: Resource> kube::Resource for Partial<W> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        W::KIND.to_string().into()
    }

    fn group((): &()) -> Cow<'_, str> {
        W::GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        W::VERSION.into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        W::PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
