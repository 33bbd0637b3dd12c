//! What is known of a cluster, folded from a source's events and published to the index.
//!
//! The store keeps what it takes to rebuild one Service's entry and nothing else. An event marks
//! the Services that it concerns; [`Store::publish`] rebuilds those, so a change costs what it
//! touches. A relist only stamps what it names: nothing is taken away until the list is whole, and
//! no second copy of the cluster is ever made.

mod export;
mod imports;
mod outside;
mod packed;
mod pods;
mod serial;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use martlet_engine::index::{
    AddressNode, ClusterIndex, EndpointName, EndpointSlice, Few, Namespace, ServiceName,
    ServiceNode, ServiceParts,
};

use self::packed::{PackedService, PortLists};
use super::convert;
use super::object::{self, Event, Key, Kind, Object, ServiceType};
use crate::metrics::own::OWN;

/// Settings of a `kubernetes` plugin that decide what is published.
#[derive(Clone, Debug, PartialEq)]
pub struct StoreSettings {
    /// TTL of records, in seconds.
    pub ttl: u32,
    /// `ignore empty_service`.
    pub ignore_empty: bool,
    /// `namespaces`: only these are exposed; empty for all.
    pub namespaces: HashSet<Box<str>>,
    /// Whether each client's pod is published (labels of `metadata`).
    pub clients: bool,
    /// Whether Services are answered as they are seen from outside (`k8s_external`).
    pub external: bool,
    /// Whether ServiceImports are published as well (`multicluster`).
    pub multicluster: bool,
    /// The kinds that have to be listed once before a missing name means anything.
    pub kinds: Vec<Kind>,
}

/// The single writer of one [`ClusterIndex`].
pub struct Store {
    index: Arc<ClusterIndex>,
    settings: StoreSettings,
    /// The pods at each address, if they are published.
    clients: HashMap<IpAddr, Vec<Key>>,
    /// What clusters offer together.
    imports: Option<Box<Self>>,
    namespaces: HashMap<Box<str>, NamespaceEntry>,
    ports: PortLists,
    epochs: HashMap<Kind, Epoch>,
    /// Services whose entry has to be rebuilt.
    dirty: HashSet<Key>,
    /// Services whose endpoints changed, and when whatever caused that happened.
    triggers: Vec<(Key, SystemTime)>,
    changed: bool,
    /// What has changed has no serial of its own yet.
    undated: bool,
    /// Something has changed that external zones show, and has no serial of its own yet.
    undated_outside: bool,
    /// What is served comes from a snapshot: not every kind has been listed since.
    restored: bool,
    /// Something has changed since [`Self::take_unsaved`].
    unsaved: bool,
}

#[derive(Default)]
struct Epoch {
    number: u32,
    listed: bool,
}

/// A namespace and what is in it, by name.
struct NamespaceEntry {
    namespace: Arc<Namespace>,
    services: HashMap<Arc<str>, ServiceEntry>,
    slices: HashMap<Arc<str>, SliceEntry>,
    pods: HashMap<Box<str>, PodEntry>,
    exists: bool,
    seen: u32,
}

struct ServiceEntry {
    name: Arc<ServiceName>,
    /// Absent while only slices name the Service.
    service: Option<PackedService>,
    seen: u32,
    /// By the slices' names, so that answers keep their order from change to change.
    slices: Vec<NamedSlice>,
}

/// The name of a slice, and its endpoints by family.
type NamedSlice = (Arc<str>, Arc<[Arc<EndpointSlice>]>);

struct SliceEntry {
    /// The Service that it belongs to.
    service: Arc<str>,
    seen: u32,
}

struct PodEntry {
    address: IpAddr,
    seen: u32,
}

impl NamespaceEntry {
    /// Notes to which of the Services a slice belongs.
    fn add_slice(&mut self, slice: Arc<str>, service: &str, seen: u32) {
        if let Some((service, _)) = self.services.get_key_value(service) {
            let service = Arc::clone(service);
            self.slices.insert(slice, SliceEntry { service, seen });
        }
    }
}

impl Store {
    /// An empty store that publishes to `index`.
    pub fn new(index: Arc<ClusterIndex>, settings: StoreSettings) -> Self {
        Self {
            imports: imports::store(&index, &settings),
            index,
            settings,
            clients: HashMap::new(),
            namespaces: HashMap::new(),
            ports: PortLists::default(),
            epochs: HashMap::new(),
            dirty: HashSet::new(),
            triggers: Vec::new(),
            changed: false,
            undated: false,
            undated_outside: false,
            restored: false,
            unsaved: false,
        }
    }

    /// Publishes what was applied so far, the content of a snapshot, as if it were a whole list. The
    /// first real lists then take away what is gone.
    pub fn restore(&mut self) {
        self.publish();
        self.restored = true;
        OWN.snapshots_served.inc();
        self.index.set_synced();
    }

    /// Whether every kind has been listed once by the source.
    pub fn is_listed(&self) -> bool {
        let listed = |kind| self.epochs.get(kind).is_some_and(|epoch| epoch.listed);
        self.settings.kinds.iter().all(listed)
    }

    /// Whether what is published has changed since the last time somebody asked.
    pub const fn take_unsaved(&mut self) -> bool {
        std::mem::replace(&mut self.unsaved, false)
    }

    /// Folds one event in. What it changes for Services shows after [`Self::publish`].
    pub fn apply(&mut self, event: Event) {
        self.apply_to_imports(&event);
        match event {
            Event::Applied(Object::Namespace(key)) => self.apply_namespace(&key),
            Event::Applied(Object::Service(service)) => self.apply_service(service),
            Event::Applied(Object::EndpointSlice(slice)) => self.apply_slice(&slice),
            Event::Applied(Object::Pod(pod)) => self.apply_pod(pod),
            Event::Deleted(Kind::Namespace, key) => self.delete_namespace(&key.name),
            Event::Deleted(Kind::Service, key) => self.delete_service(&key),
            Event::Deleted(Kind::EndpointSlice, key) => self.delete_slice(&key),
            Event::Deleted(Kind::Pod, key) => self.delete_pod(&key),
            // Nothing but imports.
            Event::Applied(Object::ServiceImport(_) | Object::ImportedSlice(_))
            | Event::Deleted(Kind::ServiceImport, _) => {}
            Event::RelistStarted(kind) => self.epochs.entry(kind).or_default().number += 1,
            Event::RelistDone(kind) => self.finish_relist(kind),
        }
    }

    /// Rebuilds and publishes what the events since the last call concerned.
    pub fn publish(&mut self) {
        self.publish_imports();
        for key in std::mem::take(&mut self.dirty) {
            self.publish_service(&key);
        }
        for (key, trigger) in std::mem::take(&mut self.triggers) {
            self.observe_latency(&key, trigger);
        }
        if std::mem::take(&mut self.changed) {
            self.unsaved = true;
            self.undated = true;
            OWN.generation.inc();
        }
        self.date(false);
        if (self.restored || !self.index.is_synced()) && self.is_listed() {
            self.index.set_synced();
            if std::mem::take(&mut self.restored) {
                OWN.snapshots_served.dec();
                tracing::info!("plugin/kubernetes: synced; the snapshot is served no longer");
            }
        }
    }

    /// Counts how long a change of endpoints took to show. As in CoreDNS only where the Service is
    /// known; what the first lists bring changed long ago and says nothing of us.
    fn observe_latency(&self, key: &Key, trigger: SystemTime) {
        let service = self.service(key).and_then(|it| it.service.as_ref());
        let Some(service) = service.filter(|_| self.index.is_synced()) else {
            return;
        };
        let kind = match service.unpack(key).service_type {
            ServiceType::Headless => "headless_with_selector",
            ServiceType::ClusterIp(_) | ServiceType::ExternalName(_) => "cluster_ip",
        };
        // A clock that is ahead of ours makes no time.
        let took = SystemTime::now()
            .duration_since(trigger)
            .unwrap_or_default();
        OWN.dns_programming
            .with_label_values(&[kind])
            .observe(took.as_secs_f64());
    }

    fn epoch(&self, kind: Kind) -> u32 {
        self.epochs.get(&kind).map_or(0, |epoch| epoch.number)
    }

    /// The list is whole: what it did not name was deleted while nobody told us.
    fn finish_relist(&mut self, kind: Kind) {
        let epoch = self.epochs.entry(kind).or_default();
        epoch.listed = true;
        let number = epoch.number;
        match kind {
            Kind::Namespace => {
                let gone = self
                    .namespaces
                    .iter()
                    .filter(|(_, e)| e.exists && e.seen != number);
                let gone = gone.map(|(name, _)| name.clone()).collect::<Vec<_>>();
                gone.iter().for_each(|name| self.delete_namespace(name));
            }
            Kind::Service => {
                let is_gone = |e: &ServiceEntry| e.service.is_some() && e.seen != number;
                let gone = self.gone(|namespace| &namespace.services, is_gone);
                gone.iter().for_each(|key| self.delete_service(key));
            }
            Kind::EndpointSlice => {
                let gone = self.gone(|namespace| &namespace.slices, |e| e.seen != number);
                gone.iter().for_each(|key| self.delete_slice(key));
            }
            Kind::ServiceImport => {}
            Kind::Pod => {
                let gone = self.gone(|namespace| &namespace.pods, |e| e.seen != number);
                gone.iter().for_each(|key| self.delete_pod(key));
            }
        }
    }

    /// The keys of what is gone.
    fn gone<N: AsRef<str> + 'static, E: 'static>(
        &self,
        entries: impl Fn(&NamespaceEntry) -> &HashMap<N, E>,
        is_gone: impl Fn(&E) -> bool,
    ) -> Vec<Key> {
        let mut gone = Vec::new();
        for (namespace, entry) in &self.namespaces {
            let found = entries(entry).iter().filter(|(_, entry)| is_gone(entry));
            gone.extend(found.map(|(name, _)| Key::new(namespace, name.as_ref())));
        }
        gone
    }

    fn service(&self, key: &Key) -> Option<&ServiceEntry> {
        self.namespaces
            .get(&key.namespace)?
            .services
            .get(&*key.name)
    }

    fn service_mut(&mut self, key: &Key) -> Option<&mut ServiceEntry> {
        let namespace = self.namespaces.get_mut(&key.namespace)?;
        namespace.services.get_mut(&*key.name)
    }

    fn apply_namespace(&mut self, key: &Key) {
        let seen = self.epoch(Kind::Namespace);
        let exposed =
            self.settings.namespaces.is_empty() || self.settings.namespaces.contains(&key.name);
        let entry = namespace_entry(&mut self.namespaces, &key.name);
        entry.seen = seen;
        if entry.exists {
            return;
        }
        entry.exists = true;
        entry.namespace.set_exposed(exposed);
        self.index.put_namespace(Arc::clone(&entry.namespace));
        self.changed = true;
    }

    fn delete_namespace(&mut self, name: &str) {
        let Some(entry) = self.namespaces.get_mut(name).filter(|entry| entry.exists) else {
            return;
        };
        entry.exists = false;
        entry.namespace.set_exposed(false);
        self.index.remove_namespace(&entry.namespace);
        self.changed = true;
        self.forget_namespace(name);
    }

    fn forget_namespace(&mut self, name: &str) {
        if self.namespaces.get(name).is_some_and(|entry| {
            !entry.exists && entry.services.is_empty() && entry.pods.is_empty()
        }) {
            self.namespaces.remove(name);
        }
    }

    fn apply_service(&mut self, mut service: object::Service) {
        if !self.settings.external {
            service.external = Box::default();
        }
        let seen = self.epoch(Kind::Service);
        let entry = service_entry(&mut self.namespaces, &service.key);
        let packed = PackedService::new(&service);
        entry.seen = seen;
        if entry.service.as_ref() == Some(&packed) {
            return;
        }
        self.changed = true;
        self.dirty.insert(service.key.clone());
        let name = Arc::clone(&entry.name);
        let old = entry.service.replace(packed);
        let old = old.map(|old| old.unpack(&service.key));
        self.change_outside(&name, old.as_ref(), Some(&service));
        let (old, new) = (
            old.as_ref().map_or(&[][..], cluster_ips),
            cluster_ips(&service),
        );
        for &address in old.iter().filter(|address| !new.contains(address)) {
            self.change_address(address, |services, _| {
                services.retain(|known| !Arc::ptr_eq(known, &name))
            });
        }
        for &address in new.iter().filter(|address| !old.contains(address)) {
            self.change_address(address, |services, _| services.push(Arc::clone(&name)));
        }
    }

    fn delete_service(&mut self, key: &Key) {
        let Some(entry) = self.service_mut(key) else {
            return;
        };
        let Some(old) = entry.service.take().map(|old| old.unpack(key)) else {
            return;
        };
        let name = Arc::clone(&entry.name);
        self.change_outside(&name, Some(&old), None);
        for &address in cluster_ips(&old) {
            self.change_address(address, |services, _| {
                services.retain(|known| !Arc::ptr_eq(known, &name))
            });
        }
        self.changed = true;
        self.dirty.insert(key.clone());
    }

    fn apply_slice(&mut self, slice: &object::EndpointSlice) {
        let seen = self.epoch(Kind::EndpointSlice);
        let namespace = self.namespaces.get_mut(&slice.key.namespace);
        let known = namespace.and_then(|entry| entry.slices.get_mut(&*slice.key.name));
        if let Some(known) = known {
            if *known.service == *slice.service {
                known.seen = seen;
            } else {
                // Relabelled: it leaves one Service and joins another.
                self.delete_slice(&slice.key);
            }
        }
        // A slice of no Service has no names. CoreDNS makes PTR records of it that cannot be
        // packed, and the client gets no reply.
        if slice.service.is_empty() {
            return;
        }
        let service = Key {
            namespace: slice.key.namespace.clone(),
            name: slice.service.clone(),
        };
        let new = convert::endpoint_slices(slice, self.ports.shared(&slice.ports));
        let entry = service_entry(&mut self.namespaces, &service);
        let name = Arc::clone(&entry.name);
        let old = match entry
            .slices
            .binary_search_by(|(known, _)| (**known).cmp(&slice.key.name))
        {
            Ok(place) if entry.slices[place].1 == new => return,
            Ok(place) => std::mem::replace(&mut entry.slices[place].1, Arc::clone(&new)),
            Err(place) => {
                let own: Arc<str> = slice.key.name.clone().into();
                // Nearly every Service has one.
                entry.slices.reserve_exact(1);
                entry
                    .slices
                    .insert(place, (Arc::clone(&own), Arc::clone(&new)));
                let namespace = namespace_entry(&mut self.namespaces, &service.namespace);
                namespace.add_slice(own, &service.name, seen);
                Arc::default()
            }
        };
        self.changed = true;
        if let Some(trigger) = slice.last_change_trigger {
            self.triggers.push((service.clone(), trigger));
        }
        self.dirty.insert(service);
        self.change_endpoints(&name, &old, &new);
    }

    fn delete_slice(&mut self, key: &Key) {
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        let Some(SliceEntry { service, .. }) = namespace.slices.remove(&*key.name) else {
            return;
        };
        let Some(entry) = namespace.services.get_mut(&service) else {
            return;
        };
        let Ok(place) = entry
            .slices
            .binary_search_by(|(known, _)| (**known).cmp(&key.name))
        else {
            return;
        };
        let (_, old) = entry.slices.remove(place);
        let name = Arc::clone(&entry.name);
        self.changed = true;
        self.dirty.insert(Key::new(&key.namespace, &service));
        self.change_endpoints(&name, &old, &[]);
    }

    /// Moves PTR entries from a slice's old endpoints to its new ones.
    fn change_endpoints(
        &self,
        name: &Arc<ServiceName>,
        old: &[Arc<EndpointSlice>],
        new: &[Arc<EndpointSlice>],
    ) {
        if old.is_empty() {
            // As in a first list, most of which is this.
            for (address, label) in convert::endpoint_names(new) {
                let endpoint = EndpointName::new(Arc::clone(name), label.map(Into::into));
                self.change_address(address, |_, endpoints| endpoints.push(endpoint));
            }
            return;
        }
        let mut left = HashMap::<(IpAddr, Option<&[u8]>), isize>::new();
        for endpoint in convert::endpoint_names(old) {
            *left.entry(endpoint).or_default() -= 1;
        }
        for endpoint in convert::endpoint_names(new) {
            *left.entry(endpoint).or_default() += 1;
        }
        for ((address, label), count) in left.into_iter().filter(|(_, count)| *count != 0) {
            let endpoint = EndpointName::new(Arc::clone(name), label.map(Into::into));
            self.change_address(address, |_, endpoints| {
                for _ in count..0 {
                    if let Some(place) = endpoints.iter().position(|known| *known == endpoint) {
                        endpoints.remove(place);
                    }
                }
                endpoints.extend((0..count).map(|_| endpoint.clone()));
            });
        }
    }

    /// Publishes an address with its owners changed.
    fn change_address(
        &self,
        address: IpAddr,
        change: impl FnOnce(&mut Few<Arc<ServiceName>>, &mut Few<EndpointName>),
    ) {
        let known = self.index.address(address, |node| {
            let (services, endpoints) = node.parts();
            (Few::from(services), Few::from(endpoints))
        });
        let existed = known.is_some();
        let (mut services, mut endpoints) = known.unwrap_or_default();
        change(&mut services, &mut endpoints);
        match AddressNode::from_parts(services, endpoints) {
            Some(node) => self.index.put_address(address, node),
            None if existed => self.index.remove_address(address),
            None => {}
        }
    }

    fn publish_service(&mut self, key: &Key) {
        let Some(namespace) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        let Some(entry) = namespace.services.get(&*key.name) else {
            return;
        };
        let Some(service) = &entry.service else {
            self.index.remove_service(&entry.name);
            if entry.slices.is_empty() {
                namespace.services.remove(&*key.name);
                self.forget_namespace(&key.namespace);
            }
            return;
        };
        let service = service.unpack(key);
        let slices = entry
            .slices
            .iter()
            .flat_map(|(_, parts)| parts.iter().cloned())
            .collect();
        let node = ServiceNode::build(ServiceParts {
            kind: convert::service_kind(&service.service_type),
            ports: self.ports.shared(&service.ports),
            slices,
            ttl: self.settings.ttl,
            ignore_empty: self.settings.ignore_empty,
        });
        self.index.put_service(Arc::clone(&entry.name), node);
    }
}

fn cluster_ips(service: &object::Service) -> &[IpAddr] {
    match &service.service_type {
        ServiceType::ClusterIp(addresses) => addresses,
        _ => &[],
    }
}

fn namespace_entry<'a>(
    namespaces: &'a mut HashMap<Box<str>, NamespaceEntry>,
    name: &str,
) -> &'a mut NamespaceEntry {
    namespaces
        .entry(name.into())
        .or_insert_with(|| NamespaceEntry {
            namespace: Arc::new(Namespace::new(name)),
            services: HashMap::new(),
            slices: HashMap::new(),
            pods: HashMap::new(),
            exists: false,
            seen: 0,
        })
}

fn service_entry<'a>(
    namespaces: &'a mut HashMap<Box<str>, NamespaceEntry>,
    key: &Key,
) -> &'a mut ServiceEntry {
    let NamespaceEntry {
        namespace,
        services,
        ..
    } = namespace_entry(namespaces, &key.namespace);
    if !services.contains_key(&*key.name) {
        let entry = ServiceEntry {
            name: Arc::new(ServiceName::new(Arc::clone(namespace), &key.name)),
            service: None,
            seen: 0,
            slices: Vec::new(),
        };
        services.insert(key.name.clone().into(), entry);
    }
    services
        .get_mut(&*key.name)
        .expect("inserted above if it was not there")
}

#[cfg(test)]
mod tests;
