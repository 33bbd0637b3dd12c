//! What the clusters of a set offer together: ServiceImports, and the EndpointSlices behind them.
//!
//! An import is a Service of another set of zones. So it is kept in a store of its own, which is told
//! of imports as of Services, and publishes them to an index of its own.

use std::sync::Arc;

use martlet_engine::index::ClusterIndex;

use super::{Store, StoreSettings, convert};
use crate::cluster::object::{Event, Kind, Object};

/// The store of the imports of `index`, if they are wanted.
pub(super) fn store(index: &ClusterIndex, settings: &StoreSettings) -> Option<Box<Store>> {
    if !settings.multicluster {
        return None;
    }
    let imports = Arc::<ClusterIndex>::default();
    index.set_imports(Arc::clone(&imports));
    let settings = StoreSettings {
        clients: false,
        external: false,
        multicluster: false,
        // The store around it knows what has been listed.
        kinds: Vec::new(),
        ..settings.clone()
    };
    Some(Box::new(Store::new(imports, settings)))
}

impl Store {
    /// Tells the store of imports what an event is for it.
    pub(super) fn apply_to_imports(&mut self, event: &Event) {
        if let Some(imports) = &mut self.imports
            && let Some(event) = imported(event)
        {
            imports.apply(event);
        }
    }

    pub(super) fn publish_imports(&mut self) {
        if let Some(imports) = &mut self.imports {
            imports.publish();
            self.unsaved |= imports.take_unsaved();
        }
    }
}

/// What an event is for the store of imports.
fn imported(event: &Event) -> Option<Event> {
    let kind = |kind: Kind| match kind {
        Kind::ServiceImport => Some(Kind::Service),
        Kind::Namespace | Kind::EndpointSlice => Some(kind),
        Kind::Service | Kind::Pod => None,
    };
    Some(match event {
        Event::Applied(object) => Event::Applied(match object {
            Object::Namespace(key) => Object::Namespace(key.clone()),
            Object::ServiceImport(import) => Object::Service(import.clone()),
            Object::EndpointSlice(slice) => Object::EndpointSlice(convert::imported_slice(slice)),
            Object::ImportedSlice(slice) => Object::EndpointSlice(slice.clone()),
            Object::Service(_) | Object::Pod(_) => return None,
        }),
        Event::Deleted(of, key) => Event::Deleted(kind(*of)?, key.clone()),
        Event::RelistStarted(of) => Event::RelistStarted(kind(*of)?),
        Event::RelistDone(of) => Event::RelistDone(kind(*of)?),
    })
}
