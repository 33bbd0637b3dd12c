//! The index: what control publishes about one cluster, read by every worker without a lock.
//!
//! CoreDNS looks names up by their parts (service, namespace, endpoint…), and its answers follow
//! from that, so the index is keyed by those parts as well and not by whole owner names: one entry
//! a Service answers for its address names, its port names and its endpoints' names, in every zone
//! of the plugin. That is what keeps an endpoint at tens of bytes; see ARCHITECTURE.md. RRsets
//! that are asked for all the time (the addresses of a Service) stand there encoded and are copied.
//!
//! Readers never wait and never see a half-made entry; control is the only writer and replaces one
//! entry at a time, so that a change costs what it touches. The Services, which nearly every query is
//! about, have a table made for look-ups ahead ([`OpenTable`]); the others are [`papaya`] maps. The
//! bench `lookup` measures the table against the alternatives.

mod by_address;
mod external;
mod lookahead;
mod node;
mod records;
mod slice;
mod table;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use by_address::ByAddress;
pub use external::{ExternalHost, ExternalIndex, external_items};
pub(crate) use lookahead::{Entry, Services};
pub use node::{Encoded, Item, Kind, ServiceKind, ServiceNode, ServiceParts};
pub(crate) use records::{a_record, aaaa_record};
pub use slice::{
    Addresses, EndpointNames, EndpointSlice, Host, LabelBuf, Port, PortLabel, PortSelector,
    ZoneSelector,
};
pub(crate) use table::Passthrough;
pub use table::{AddressNode, EndpointName, Few, LabelRef, Namespace, ServiceName, ServiceRef};
use table::{LabelKey, ServiceKey};

use crate::open_table::OpenTable;
use crate::sys::epoch::Pinned;

type Map<K, V> = papaya::HashMap<K, V, Passthrough>;

fn map<K, V>() -> Map<K, V> {
    papaya::HashMap::builder().hasher(Passthrough).build()
}

/// The published names of one `kubernetes` plugin.
pub struct ClusterIndex {
    services: OpenTable<Entry>,
    namespaces: Map<LabelKey, Arc<Namespace>>,
    addresses: ByAddress<AddressNode>,
    /// How many pods share an address. One namespace has them nearly always.
    pods: ByAddress<Few<PodCount>>,
    /// Pods by their addresses, as far as somebody asks for their names query by query.
    clients: ByAddress<Arc<PodName>>,
    external: ExternalIndex,
    /// What the clusters of a set offer together (ServiceImports), if that is answered.
    imports: OnceLock<Arc<Self>>,
    serial: AtomicU32,
    synced: AtomicBool,
    /// Since when a part of the cluster cannot be followed.
    lost: Mutex<[Option<Instant>; PARTS]>,
    directory: OnceLock<Directory>,
}

/// How many pods of a namespace share an address.
#[derive(Clone)]
struct PodCount {
    namespace: Arc<Namespace>,
    count: u32,
}

/// The name of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PodName {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its own name.
    pub name: Box<str>,
}

/// Finds the names of pods by their addresses. Names would make the index larger, and answers do
/// not need them.
pub type Directory = Box<dyn Fn(&[IpAddr]) -> Vec<(IpAddr, PodName)> + Send + Sync>;

/// The parts of a cluster that are followed one by one: the kinds of its objects.
pub const PARTS: usize = 5;

impl Default for ClusterIndex {
    fn default() -> Self {
        Self {
            services: OpenTable::default(),
            namespaces: map(),
            addresses: ByAddress::default(),
            pods: ByAddress::default(),
            clients: ByAddress::default(),
            external: ExternalIndex::default(),
            imports: OnceLock::new(),
            serial: AtomicU32::new(0),
            synced: AtomicBool::new(false),
            lost: Mutex::default(),
            directory: OnceLock::new(),
        }
    }
}

/// What workers ask.
impl ClusterIndex {
    /// Reads the entry of a Service, whether or not its namespace is exposed, and says whether it
    /// is.
    pub fn service<R>(
        &self,
        service: ServiceRef<'_>,
        read: impl FnOnce(&ServiceName, &ServiceNode, bool) -> R,
    ) -> Option<R> {
        let guard = &Pinned::new();
        let Entry { key, node } = self.find(service, guard)?;
        Some(read(&key.name, node, key.is_exposed()))
    }

    /// Whether names under this namespace are answered.
    pub fn namespace_exposed(&self, namespace: LabelRef<'_>) -> bool {
        self.namespaces
            .pin()
            .get(&namespace)
            .is_some_and(|namespace| namespace.is_exposed())
    }

    /// Reads whose address this is.
    pub fn address<R>(&self, address: IpAddr, read: impl FnOnce(&AddressNode) -> R) -> Option<R> {
        self.addresses.read(address, read)
    }

    /// How many pods of this namespace have this as their primary address.
    pub fn pods(&self, namespace: LabelRef<'_>, address: IpAddr) -> u32 {
        let count = self.pods.read(address, |pods| {
            let is = |pods: &&PodCount| pods.namespace.label().octets == namespace.octets;
            pods.iter().find(is).map(|pods| pods.count)
        });
        count.flatten().unwrap_or_default()
    }

    /// Reads which pod has this address, if that was published and no other pod shares it.
    pub fn client<R>(&self, address: IpAddr, read: impl FnOnce(&PodName) -> R) -> Option<R> {
        self.clients.read(address, |pod| read(pod))
    }

    /// What Services are called outside of the cluster.
    pub const fn external(&self) -> &ExternalIndex {
        &self.external
    }

    /// The Services of a set of clusters, by the names of their imports, and the serial of the zones
    /// that hold them.
    pub fn imports(&self) -> Option<&Arc<Self>> {
        self.imports.get()
    }

    /// The zone's serial: Unix seconds of the last change that DNS shows. Whoever reads it and then the
    /// rest finds at least what it stands for.
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Acquire)
    }

    /// Whether the first complete list of every kind has arrived. Until then a missing name says
    /// nothing.
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// How old the oldest part of the data may be: zero while all of it is followed.
    pub fn age(&self) -> Duration {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let first = lost.iter().flatten().min();
        first.map_or(Duration::ZERO, Instant::elapsed)
    }

    /// The number of Services, addresses, and addresses of pods published.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.services.len(), self.addresses.len(), self.pods.len())
    }
}

/// What only the writer knows.
impl ClusterIndex {
    /// Says whom to ask for the names of pods.
    pub fn set_directory(&self, directory: Directory) {
        // There is one writer, and it says so once.
        let _ = self.directory.set(directory);
    }

    /// Says where imports are published.
    pub fn set_imports(&self, imports: Arc<Self>) {
        // As above.
        let _ = self.imports.set(imports);
    }

    /// Whose these addresses are, as far as pods are known and do not share theirs.
    pub fn pods_at(&self, addresses: &[IpAddr]) -> Vec<(IpAddr, PodName)> {
        let directory = self.directory.get();
        directory.map_or_else(Vec::new, |directory| directory(addresses))
    }
}

/// What tools and secondaries ask: everything, in no order, a moment after another.
impl ClusterIndex {
    /// Visits every Service and says whether its namespace is exposed.
    pub fn each_service(&self, mut visit: impl FnMut(&Arc<ServiceName>, &ServiceNode, bool)) {
        self.services
            .each(|Entry { key, node }| visit(&key.name, node, key.is_exposed()));
    }

    /// Visits every namespace.
    pub fn each_namespace(&self, mut visit: impl FnMut(&Namespace)) {
        for (_, namespace) in &self.namespaces.pin() {
            visit(namespace);
        }
    }

    /// Visits every address of a Service or an endpoint.
    pub fn each_address(&self, visit: impl FnMut(IpAddr, &AddressNode)) {
        self.addresses.each(visit);
    }

    /// Visits every pod's namespace and address.
    pub fn each_pod(&self, mut visit: impl FnMut(&Namespace, IpAddr)) {
        self.pods.each(|address, pods| {
            pods.iter().for_each(|pods| visit(&pods.namespace, address));
        });
    }
}

/// What control, the only writer, publishes.
impl ClusterIndex {
    /// Publishes a Service, replacing what stood under its name.
    pub fn put_service(&self, name: Arc<ServiceName>, node: ServiceNode) {
        let ServiceRef { octets, hash } = name.key();
        let key = ServiceKey::new(Arc::clone(&name));
        let made = |_: Option<&Entry>| Entry { key, node };
        self.services.put(hash, |entry| entry.is_of(octets), made);
    }

    /// Withdraws a Service.
    pub fn remove_service(&self, name: &ServiceName) {
        let ServiceRef { octets, hash } = name.key();
        self.services.remove(hash, |entry| entry.is_of(octets));
    }

    /// Publishes a namespace. Whether it is exposed is its own state and may change later.
    pub fn put_namespace(&self, namespace: Arc<Namespace>) {
        self.namespaces
            .pin()
            .insert(LabelKey(Arc::clone(&namespace)), namespace);
    }

    /// Withdraws a namespace.
    pub fn remove_namespace(&self, namespace: &Namespace) {
        self.namespaces.pin().remove(&namespace.label());
    }

    /// Publishes whose address this is.
    pub fn put_address(&self, address: IpAddr, node: AddressNode) {
        self.addresses.put(address, Some(node));
    }

    /// Withdraws an address.
    pub fn remove_address(&self, address: IpAddr) {
        self.addresses.put(address, None);
    }

    /// Publishes how many pods of a namespace share an address; 0 withdraws it.
    pub fn put_pods(&self, namespace: Arc<Namespace>, address: IpAddr, count: u32) {
        let mut pods = self.pods.read(address, Clone::clone).unwrap_or_default();
        pods.retain(|pods| pods.namespace.label().octets != namespace.label().octets);
        if count > 0 {
            pods.push(PodCount { namespace, count });
        }
        self.pods
            .put(address, Some(pods).filter(|pods| !pods.is_empty()));
    }

    /// Publishes which pod has an address; `None` withdraws it.
    pub fn put_client(&self, address: IpAddr, pod: Option<PodName>) {
        self.clients.put(address, pod.map(Arc::new));
    }

    /// Sets the serial, after the changes that it stands for.
    pub fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Release);
    }

    /// Says since when a part cannot be followed; `None` if it is.
    pub fn set_lost(&self, part: usize, since: Option<Instant>) {
        let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost[part] = since;
    }

    /// Says that the first complete lists are in.
    pub fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
    }
}
