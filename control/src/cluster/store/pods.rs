//! Pods, for `pods verified`: the index has how many there are at an address, the store their names;
//! the index has names as well if labels of `metadata` show them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::index::{ClusterIndex, Namespace, PodName};

use super::{Key, Kind, PodEntry, Store, namespace_entry};
use crate::cluster::object;

impl Store {
    pub(super) fn apply_pod(&mut self, pod: object::Pod) {
        let seen = self.epoch(Kind::Pod);
        let entry = namespace_entry(&mut self.namespaces, &pod.key.namespace);
        let address = pod.address;
        let name = pod.key.name.clone();
        let old = entry.pods.insert(name, PodEntry { address, seen });
        let old = old.map(|old| old.address);
        if old == Some(address) {
            return;
        }
        self.changed = true;
        count_pods(&self.index, &entry.namespace, address, 1);
        if let Some(old) = old {
            count_pods(&self.index, &entry.namespace, old, -1);
            self.move_client(&pod.key, old, false);
        }
        self.move_client(&pod.key, address, true);
    }

    /// Publishes that a pod has an address from now on, or not any more. Whoever shares an address
    /// (pods in the host's network) is not known by it.
    fn move_client(&mut self, key: &Key, address: IpAddr, has_it: bool) {
        if !self.settings.clients {
            return;
        }
        let pods = self.clients.entry(address).or_default();
        pods.retain(|pod| pod != key);
        if has_it {
            pods.push(key.clone());
        }
        let pod = match pods.as_slice() {
            [pod] => Some(PodName {
                namespace: pod.namespace.clone(),
                name: pod.name.clone(),
            }),
            _ => None,
        };
        if pods.is_empty() {
            self.clients.remove(&address);
        }
        self.index.put_client(address, pod);
    }

    pub(super) fn delete_pod(&mut self, key: &Key) {
        let Some(entry) = self.namespaces.get_mut(&key.namespace) else {
            return;
        };
        if let Some(old) = entry.pods.remove(&key.name) {
            self.changed = true;
            count_pods(&self.index, &entry.namespace, old.address, -1);
            self.move_client(key, old.address, false);
            self.forget_namespace(&key.namespace);
        }
    }

    /// Whose these addresses are, but for those that several pods share.
    pub fn pods_at(&self, addresses: &[IpAddr]) -> Vec<(IpAddr, PodName)> {
        let mut found = HashMap::<IpAddr, Option<PodName>>::new();
        for (namespace, entry) in &self.namespaces {
            let asked = entry
                .pods
                .iter()
                .filter(|(_, pod)| addresses.contains(&pod.address));
            for (name, pod) in asked {
                let owner = PodName {
                    namespace: namespace.clone(),
                    name: name.clone(),
                };
                let known = found.entry(pod.address);
                known
                    .and_modify(|owner| *owner = None)
                    .or_insert(Some(owner));
            }
        }
        found
            .into_iter()
            .filter_map(|(address, owner)| Some((address, owner?)))
            .collect()
    }
}

/// One pod of a namespace more or less at an address, which those on the host network share.
fn count_pods(index: &ClusterIndex, namespace: &Arc<Namespace>, address: IpAddr, change: i32) {
    let known = index.pods(namespace.label(), address);
    let count = known.saturating_add_signed(change);
    index.put_pods(Arc::clone(namespace), address, count);
}
