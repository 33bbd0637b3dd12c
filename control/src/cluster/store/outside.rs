//! How Services are seen from outside of the cluster.

use std::sync::Arc;

use martlet_engine::index::ServiceName;

use super::serial::serial_after;
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
        self.undated_outside |= was != is || ports(old) != ports(new);
        if was != is {
            let hosts = convert::external_hosts(is);
            self.index.external().put(name, hosts);
        }
    }

    /// Gives what has changed in external zones its serial. As in CoreDNS, what the first lists bring is
    /// no change.
    pub(super) fn date_outside(&mut self, is_over: bool) {
        self.undated_outside &= self.index.is_synced();
        let external = self.index.external();
        if self.undated_outside
            && let Some(serial) = serial_after(external.serial(), is_over)
        {
            external.set_serial(serial);
            self.undated_outside = false;
        }
    }
}

fn hosts(service: Option<&object::Service>) -> &[EndpointAddress] {
    service.map_or(&[], |service| &service.external)
}
