//! What is known of a cluster, folded from a source's events and published to the index.
//!
//! The store keeps what it takes to rebuild one Service's entry and nothing else. An event marks
//! the Services that it concerns; [`Store::publish`] rebuilds those, so a change costs what it
//! touches. A relist only stamps what it names: nothing is taken away until the list is whole, and
//! no second copy of the cluster is ever made.

mod export;
mod imports;
mod outside;
mod pods;
mod serial;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use martlet_engine::index::{
    AddressNode, ClusterIndex, EndpointName, EndpointSlice, Namespace, ServiceName, ServiceNode,
    ServiceParts,
};

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
    services: HashMap<Key, ServiceEntry>,
    /// To which Service a slice belongs.
    slices: HashMap<Key, SliceEntry>,
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

struct NamespaceEntry {
    namespace: Arc<Namespace>,
    /// Services in it that the store knows.
    services: usize,
    /// Its pods, by name.
    pods: HashMap<Box<str>, PodEntry>,
    exists: bool,
    seen: u32,
}

struct ServiceEntry {
    name: Arc<ServiceName>,
    /// Absent while only slices name the Service.
    service: Option<object::Service>,
    seen: u32,
    /// By the slices' names, so that answers keep their order from change to change.
    slices: Vec<NamedSlice>,
}

/// The name of a slice, and its endpoints by family.
type NamedSlice = (Box<str>, Arc<[Arc<EndpointSlice>]>);

struct SliceEntry {
    service: Box<str>,
    seen: u32,
}

struct PodEntry {
    address: IpAddr,
    seen: u32,
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
            services: HashMap::new(),
            slices: HashMap::new(),
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
        let entry = self.services.get(key);
        let service = entry.and_then(|entry| entry.service.as_ref());
        let Some(service) = service.filter(|_| self.index.is_synced()) else {
            return;
        };
        let kind = match service.service_type {
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
                let gone = self
                    .services
                    .iter()
                    .filter(|(_, e)| e.service.is_some() && e.seen != number);
                let gone = gone.map(|(key, _)| key.clone()).collect::<Vec<_>>();
                gone.iter().for_each(|key| self.delete_service(key));
            }
            Kind::EndpointSlice => {
                let gone = stale(&self.slices, |entry| entry.seen != number);
                gone.iter().for_each(|key| self.delete_slice(key));
            }
            Kind::ServiceImport => {}
            Kind::Pod => {
                let stale = self.namespaces.iter().flat_map(|(namespace, entry)| {
                    let stale = entry.pods.iter().filter(|(_, pod)| pod.seen != number);
                    stale.map(|(name, _)| Key::new(namespace, name))
                });
                let gone = stale.collect::<Vec<_>>();
                gone.iter().for_each(|key| self.delete_pod(key));
            }
        }
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

    /// One Service of a namespace less.
    fn release_namespace(&mut self, name: &str) {
        if let Some(entry) = self.namespaces.get_mut(name) {
            entry.services -= 1;
        }
        self.forget_namespace(name);
    }

    fn forget_namespace(&mut self, name: &str) {
        if self
            .namespaces
            .get(name)
            .is_some_and(|entry| !entry.exists && entry.services == 0 && entry.pods.is_empty())
        {
            self.namespaces.remove(name);
        }
    }

    fn apply_service(&mut self, mut service: object::Service) {
        if !self.settings.external {
            service.external = Box::default();
        }
        let seen = self.epoch(Kind::Service);
        let entry = service_entry(&mut self.services, &mut self.namespaces, &service.key);
        entry.seen = seen;
        if entry.service.as_ref() == Some(&service) {
            return;
        }
        self.changed = true;
        self.dirty.insert(service.key.clone());
        let name = Arc::clone(&entry.name);
        let old = entry.service.replace(service.clone());
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
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        let Some(old) = entry.service.take() else {
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
        if let Some(known) = self.slices.get_mut(&slice.key) {
            if known.service == slice.service {
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
        let new = convert::endpoint_slices(slice);
        let entry = service_entry(&mut self.services, &mut self.namespaces, &service);
        let name = Arc::clone(&entry.name);
        let old = match entry
            .slices
            .binary_search_by(|(known, _)| known.cmp(&slice.key.name))
        {
            Ok(place) if entry.slices[place].1 == new => return,
            Ok(place) => std::mem::replace(&mut entry.slices[place].1, Arc::clone(&new)),
            Err(place) => {
                entry
                    .slices
                    .insert(place, (slice.key.name.clone(), Arc::clone(&new)));
                self.slices.insert(
                    slice.key.clone(),
                    SliceEntry {
                        service: slice.service.clone(),
                        seen,
                    },
                );
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
        let Some(SliceEntry { service, .. }) = self.slices.remove(key) else {
            return;
        };
        let service = Key {
            namespace: key.namespace.clone(),
            name: service,
        };
        let Some(entry) = self.services.get_mut(&service) else {
            return;
        };
        let Ok(place) = entry
            .slices
            .binary_search_by(|(known, _)| known.cmp(&key.name))
        else {
            return;
        };
        let (_, old) = entry.slices.remove(place);
        let name = Arc::clone(&entry.name);
        self.changed = true;
        self.dirty.insert(service);
        self.change_endpoints(&name, &old, &[]);
    }

    /// Moves PTR entries from a slice's old endpoints to its new ones.
    fn change_endpoints(
        &self,
        name: &Arc<ServiceName>,
        old: &[Arc<EndpointSlice>],
        new: &[Arc<EndpointSlice>],
    ) {
        let (old, new) = (
            convert::endpoint_names(name, old),
            convert::endpoint_names(name, new),
        );
        let mut left = HashMap::<(IpAddr, Option<&[u8]>), isize>::new();
        for (address, endpoint) in &old {
            *left.entry((*address, endpoint.name())).or_default() -= 1;
        }
        for (address, endpoint) in &new {
            *left.entry((*address, endpoint.name())).or_default() += 1;
        }
        for ((address, label), count) in left {
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
        change: impl FnOnce(&mut Vec<Arc<ServiceName>>, &mut Vec<EndpointName>),
    ) {
        let known = self.index.address(address, |node| {
            let (services, endpoints) = node.parts();
            (services.to_vec(), endpoints.to_vec())
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
        let Some(entry) = self.services.get(key) else {
            return;
        };
        let Some(service) = &entry.service else {
            self.index.remove_service(&entry.name);
            if entry.slices.is_empty() {
                self.services.remove(key);
                self.release_namespace(&key.namespace);
            }
            return;
        };
        let slices = entry
            .slices
            .iter()
            .flat_map(|(_, parts)| parts.iter().cloned())
            .collect();
        let node = ServiceNode::build(ServiceParts {
            kind: convert::service_kind(&service.service_type),
            ports: convert::ports(&service.ports),
            slices,
            ttl: self.settings.ttl,
            ignore_empty: self.settings.ignore_empty,
        });
        self.index.put_service(Arc::clone(&entry.name), node);
    }
}

fn stale<E>(entries: &HashMap<Key, E>, is_stale: impl Fn(&E) -> bool) -> Vec<Key> {
    entries
        .iter()
        .filter(|(_, entry)| is_stale(entry))
        .map(|(key, _)| key.clone())
        .collect()
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
            services: 0,
            pods: HashMap::new(),
            exists: false,
            seen: 0,
        })
}

fn service_entry<'a>(
    services: &'a mut HashMap<Key, ServiceEntry>,
    namespaces: &mut HashMap<Box<str>, NamespaceEntry>,
    key: &Key,
) -> &'a mut ServiceEntry {
    if !services.contains_key(key) {
        let namespace = namespace_entry(namespaces, &key.namespace);
        namespace.services += 1;
        let name = Arc::new(ServiceName::new(
            Arc::clone(&namespace.namespace),
            &key.name,
        ));
        services.insert(
            key.clone(),
            ServiceEntry {
                name,
                service: None,
                seen: 0,
                slices: Vec::new(),
            },
        );
    }
    services
        .get_mut(key)
        .expect("inserted above if it was not there")
}

#[cfg(test)]
mod tests;
