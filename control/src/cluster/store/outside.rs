//! How Services are seen from outside of the cluster.

use std::sync::Arc;

use martlet_engine::index::ServiceName;

use super::{Store, convert, object};
use crate::cluster::object::EndpointAddress;

impl Store {
    /// Publishes the external hosts of a Service that was `old` and is `new`.
    pub(super) fn change_outside(
        &mut self,
        name: &Arc<ServiceName>,
        old: Option<&object::Service>,
        new: Option<&object::Service>,
    ) {
        let (was, is) = (hosts(old), hosts(new));
        if was.is_empty() && is.is_empty() {
            return;
        }
        let ports =
            |service: Option<&object::Service>| service.map(|service| service.ports.clone());
        self.changed_outside |= was != is || ports(old) != ports(new);
        if was != is {
            let hosts = convert::external_hosts(is);
            self.index.external().put(name, hosts);
        }
    }

    /// Sets the serial of external zones if they have changed. As in CoreDNS, what the first lists
    /// bring is no change.
    pub(super) fn note_outside(&mut self, serial: u32) {
        if std::mem::take(&mut self.changed_outside) && self.index.is_synced() {
            self.index.external().set_serial(serial);
        }
    }
}

fn hosts(service: Option<&object::Service>) -> &[EndpointAddress] {
    service.map_or(&[], |service| &service.external)
}
