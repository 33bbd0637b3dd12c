//! What Services are called outside of the cluster: the addresses and names of their load
//! balancers and their external IPs. In maps of its own, so that clusters without `k8s_external`
//! pay nothing for it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::by_address::ByAddress;
use super::node::Item;
use super::slice::{Host, Port, PortSelector};
use super::table::{ServiceKey, ServiceName, ServiceRef};
use super::{Map, map};

/// Where a Service is to be had from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ExternalHost {
    /// An address.
    Ip(IpAddr),
    /// The host name of a load balancer, as an uncompressed wire name in the API's spelling.
    Name(Box<[u8]>),
}

impl ExternalHost {
    /// The same, borrowed.
    pub fn host(&self) -> Host<'_> {
        match self {
            Self::Ip(address) => Host::Ip(*address),
            Self::Name(name) => Host::Name(name),
        }
    }
}

/// The external hosts of a cluster's Services.
pub struct ExternalIndex {
    hosts: Map<ServiceKey, Box<[ExternalHost]>>,
    owners: ByAddress<Box<[Arc<ServiceName>]>>,
    serial: AtomicU32,
}

impl Default for ExternalIndex {
    fn default() -> Self {
        Self {
            hosts: map(),
            owners: ByAddress::default(),
            serial: AtomicU32::new(0),
        }
    }
}

impl ExternalIndex {
    /// Reads the hosts of a Service; none for one that is not there.
    pub fn hosts<R>(&self, service: ServiceRef<'_>, read: impl FnOnce(&[ExternalHost]) -> R) -> R {
        let hosts = self.hosts.pin();
        read(hosts.get(&service).map_or(&[], |hosts| &**hosts))
    }

    /// Reads which Services have this external address; `None` if there is none.
    pub fn owners<R>(
        &self,
        address: IpAddr,
        read: impl FnOnce(&[Arc<ServiceName>]) -> R,
    ) -> Option<R> {
        self.owners.read(address, |owners| read(owners))
    }

    /// Visits every address, in no order.
    pub fn each_address(&self, mut visit: impl FnMut(IpAddr)) {
        self.owners.each(|address, _| visit(address));
    }

    /// The serial of external zones: Unix seconds of the last change of an external host, 0 before
    /// the first one.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Acquire)
    }

    /// Sets the serial, after the changes that it stands for.
    pub fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Release);
    }

    /// Publishes the hosts of a Service, in place of those that it had.
    pub fn put(&self, name: &Arc<ServiceName>, hosts: Box<[ExternalHost]>) {
        let new = hosts.clone();
        let known = self.hosts.pin();
        let old = if new.is_empty() {
            known.remove(&name.key())
        } else {
            known.insert(ServiceKey::new(Arc::clone(name)), hosts)
        };
        let old = old.map_or(&[][..], |old| &**old);
        for address in addresses(old).chain(addresses(&new)) {
            let others = self.owners.read(address, |owners| owners.to_vec());
            let mut all = others.unwrap_or_default();
            all.retain(|owner| owner.key().octets != name.key().octets);
            if new.contains(&ExternalHost::Ip(address)) {
                all.push(Arc::clone(name));
            }
            self.owners
                .put(address, (!all.is_empty()).then(|| all.into()));
        }
    }
}

fn addresses(hosts: &[ExternalHost]) -> impl Iterator<Item = IpAddr> {
    hosts.iter().filter_map(|host| match host {
        ExternalHost::Ip(address) => Some(*address),
        ExternalHost::Name(_) => None,
    })
}

/// Visits each host with each of the ports that `selector` is about, and returns how many
/// combinations there are. `None` means that there is no such name.
pub fn external_items<'a>(
    hosts: &'a [ExternalHost],
    ports: &'a [Port],
    selector: PortSelector<'_>,
    mut visit: impl FnMut(Item<'a>),
) -> Option<usize> {
    let mut count = 0;
    for (place, host) in hosts.iter().enumerate() {
        let earlier = &hosts[..place];
        let is_repeated = earlier.contains(host);
        // All addresses are behind the Service's own name, a load balancer has one of its own.
        let shares_owner = match host {
            ExternalHost::Ip(_) => addresses(earlier).next().is_some(),
            ExternalHost::Name(_) => is_repeated,
        };
        for (nth, port) in selector.numbers(ports).enumerate() {
            count += 1;
            let before = || selector.numbers(ports).take(nth);
            visit(Item {
                host: host.host(),
                port,
                endpoint: None,
                repeats_port: shares_owner || before().any(|other| other == port),
                repeats_address: is_repeated || nth > 0,
                repeats_glue: is_repeated || before().any(|other| other.is_some()),
            });
        }
    }
    (count > 0).then_some(count)
}
