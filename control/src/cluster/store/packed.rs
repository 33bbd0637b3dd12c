//! What the store keeps of objects, in less room than objects take.

use std::collections::HashSet;
use std::sync::Arc;

use martlet_engine::index::Port;

use super::{Key, convert, object};

/// A Service but for its key, in [`postcard`]'s format: one piece of some fifty octets. It is read
/// again only when the Service changes.
#[derive(Eq, PartialEq)]
pub(super) struct PackedService(Box<[u8]>);

impl PackedService {
    pub(super) fn new(service: &object::Service) -> Self {
        let object::Service {
            key: _,
            service_type,
            ports,
            external,
        } = service;
        let octets = postcard::to_stdvec(&(service_type, ports, external));
        Self(octets.expect("memory is all it takes").into())
    }

    pub(super) fn unpack(&self, key: &Key) -> object::Service {
        let (service_type, ports, external) =
            postcard::from_bytes(&self.0).expect("packed by this very program");
        object::Service {
            key: key.clone(),
            service_type,
            ports,
            external,
        }
    }
}

/// Lists of ports. A cluster has few that differ, so all that have the same one share it.
#[derive(Default)]
pub(super) struct PortLists {
    lists: HashSet<Arc<[Port]>>,
    /// How many there may be before those that nobody has any more are given up.
    most: usize,
}

impl PortLists {
    /// These ports as the index has them.
    pub(super) fn shared(&mut self, ports: &[object::Port]) -> Arc<[Port]> {
        let ports = convert::ports(ports);
        if let Some(known) = self.lists.get(&*ports) {
            return Arc::clone(known);
        }
        if self.lists.len() >= self.most {
            self.lists.retain(|list| Arc::strong_count(list) > 1);
            self.most = self.lists.len() * 2 + 32;
        }
        let list: Arc<[Port]> = ports.into();
        self.lists.insert(Arc::clone(&list));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(lists: &mut PortLists, number: u16) -> Arc<[Port]> {
        lists.shared(&[object::Port {
            name: "http".into(),
            protocol: "TCP".into(),
            number: Some(number),
        }])
    }

    #[test]
    fn lists_are_shared_while_somebody_has_them() {
        let mut lists = PortLists::default();
        let kept = list(&mut lists, 0);
        for number in 0..1_000 {
            list(&mut lists, number);
        }
        assert!(lists.lists.len() < 70, "{}", lists.lists.len());
        assert!(Arc::ptr_eq(&kept, &list(&mut lists, 0)));
    }
}
