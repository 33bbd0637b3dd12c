//! What a store knows, as objects again: what a snapshot is made of.

use std::net::IpAddr;

use martlet_engine::index::{Addresses, EndpointSlice as Packed};
use martlet_engine::wire::name::write_presentation;

use super::{Key, Store};
use crate::cluster::object::{Endpoint, EndpointAddress, EndpointSlice, Object, Pod, Port};

impl Store {
    /// Objects from which an empty store becomes one with the same answers: namespaces first.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        let imports = self
            .imports
            .iter()
            .flat_map(|imports| imports.own_objects());
        let imports = imports.filter_map(|object| match object {
            Object::Service(import) => Some(Object::ServiceImport(import)),
            Object::EndpointSlice(slice) => Some(Object::ImportedSlice(slice)),
            _ => None,
        });
        self.own_objects().chain(imports)
    }

    /// What does not belong to imports.
    fn own_objects(&self) -> impl Iterator<Item = Object> {
        let namespaces = self.namespaces.iter().filter(|(_, entry)| entry.exists);
        let namespaces = namespaces.map(|(name, _)| Object::Namespace(Key::new("", name)));
        let services = self.namespaces.iter().flat_map(|(namespace, entry)| {
            let services = entry.services.iter();
            services.map(move |(name, service)| (Key::new(namespace, name), service))
        });
        let slices = services.clone().flat_map(|(service, entry)| {
            entry.slices.iter().map(move |(name, parts)| {
                Object::EndpointSlice(EndpointSlice {
                    key: Key::new(&service.namespace, name),
                    service: service.name.clone(),
                    import: None,
                    endpoints: parts.iter().flat_map(|part| endpoints(part)).collect(),
                    ports: parts.first().map_or_else(Box::default, |part| ports(part)),
                    last_change_trigger: None,
                })
            })
        });
        let services =
            services.filter_map(|(key, entry)| Some(entry.service.as_ref()?.unpack(&key)));
        let services = services.map(Object::Service);
        let pods = self.namespaces.iter().flat_map(|(namespace, entry)| {
            entry.pods.iter().map(|(name, pod)| {
                Object::Pod(Pod {
                    key: Key::new(namespace, name),
                    address: pod.address,
                })
            })
        });
        namespaces.chain(services).chain(slices).chain(pods)
    }
}

fn ports(slice: &Packed) -> Box<[Port]> {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into();
    let port = |port: &martlet_engine::index::Port| Port {
        name: text(&port.name),
        protocol: text(&port.protocol),
        number: port.number,
    };
    slice.ports.iter().map(port).collect()
}

fn endpoints(slice: &Packed) -> impl Iterator<Item = Endpoint> {
    let address = |index: usize| match &slice.addresses {
        Addresses::V4(list) => EndpointAddress::Ip(IpAddr::V4(list[index])),
        Addresses::V6(list) => EndpointAddress::Ip(IpAddr::V6(list[index])),
        Addresses::Fqdn(list) => {
            let mut text = String::new();
            // Writing to a string cannot fail.
            let _ = write_presentation(&list[index], &mut text);
            EndpointAddress::Fqdn(text.into())
        }
    };
    let text = |octets: Option<&[u8]>| Some(String::from_utf8_lossy(octets?).into());
    let name = move |index: usize| text(slice.names.as_ref()?[index].as_deref());
    (0..slice.addresses.len()).map(move |index| Endpoint {
        address: address(index),
        hostname: name(index),
        pod_name: None,
        zone: text(slice.zone(index)),
    })
}
