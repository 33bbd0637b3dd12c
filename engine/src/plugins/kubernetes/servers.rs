//! The zone's name servers: NS at the apex and `ns.dns.ZONE`. Asked rarely, so this may allocate.

use std::net::IpAddr;
use std::sync::Arc;

use super::answer::{address, address_type, holds_address, whole_unless_empty};
use super::{Kubernetes, Missing, Question};
use crate::chain::Context;
use crate::index::{EndpointSlice, Host, Kind, LabelBuf, ServiceName, ServiceNode};
use crate::wire::reply::Owner;
use crate::wire::{Class, RType, Reply, Section};

/// Visits the Services whose endpoints include one of our own addresses, with the slices that do,
/// and says whether there is such an endpoint at all.
pub(super) fn each_own_service(
    kubernetes: &Kubernetes,
    mut visit: impl FnMut(&ServiceName, &ServiceNode, &EndpointSlice),
) -> bool {
    let mut is_endpoint = false;
    for &own in &*kubernetes.local_addresses {
        let mut services = Vec::new();
        kubernetes.index.address(own, |node| {
            for endpoint in node.parts().1 {
                is_endpoint = true;
                if !services
                    .iter()
                    .any(|known| Arc::ptr_eq(known, &endpoint.service))
                {
                    services.push(Arc::clone(&endpoint.service));
                }
            }
        });
        for service in services {
            kubernetes.index.service(service.key(), |name, node, _| {
                for slice in node.slices().iter().filter(|slice| slice.contains(own)) {
                    visit(name, node, slice);
                }
            });
        }
    }
    is_endpoint
}

/// The labels of the name that this server has in the cluster if it has no Service.
pub(super) const DEFAULT_NAME: &[u8] = b"\x02ns\x03dns";

/// The names and addresses under which this server is known in the cluster: those of its Services,
/// or `ns.dns` if there is none. Names without zone.
pub(super) fn name_server_addresses(kubernetes: &Kubernetes) -> Vec<(Vec<u8>, IpAddr)> {
    let mut found = Vec::new();
    let is_endpoint = each_own_service(kubernetes, |name, node, slice| {
        add_name_servers(name, node, slice, &mut found);
    });
    if !is_endpoint {
        let default = kubernetes.local_addresses.iter();
        found.extend(default.map(|&own| (DEFAULT_NAME.to_vec(), own)));
    }
    found
}

fn add_name_servers(
    name: &ServiceName,
    node: &ServiceNode,
    slice: &EndpointSlice,
    found: &mut Vec<(Vec<u8>, IpAddr)>,
) {
    let service = || {
        let mut labels = Vec::new();
        for label in [name.label(), name.namespace().label().octets, b"svc"] {
            labels.push(label.len() as u8);
            labels.extend(label);
        }
        labels
    };
    match node.kind() {
        Kind::ClusterIp => {
            found.extend(node.cluster_ips().map(|host| (service(), host)));
        }
        Kind::Headless => {
            for (index, host) in slice.hosts().enumerate() {
                let Host::Ip(host) = host else { continue };
                let mut buf = LabelBuf::default();
                let mut labels = Vec::new();
                for label in slice.name(index, &mut buf).split(|&octet| octet == b'.') {
                    labels.push(label.len() as u8);
                    labels.extend(label);
                }
                labels.extend(service());
                found.push((labels, host));
            }
        }
        Kind::External(_) => {}
    }
}

/// Answers NS at the apex, with glue.
pub(super) fn name_servers(
    question: &Question<'_>,
    _context: &Context<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Missing> {
    let found = name_server_addresses(question.kubernetes);
    let ttl = question.kubernetes.ttl;
    let mut written = Vec::<(&[u8], usize)>::new();
    for (labels, _) in &found {
        if written.iter().any(|(known, _)| known == labels) {
            continue;
        }
        let begun = reply.begin(Section::Answer, Owner::Question, RType::NS, Class::IN, ttl);
        written.push((labels, reply.len()));
        reply.put_labels_under(labels, question.suffix);
        reply.end(begun);
    }
    for (labels, host) in &found {
        let Some((_, at)) = written.iter().find(|(known, _)| known == labels) else {
            continue;
        };
        address(
            Owner::At(*at),
            address_type(*host),
            ttl,
            Section::Additional,
            *host,
            reply,
        );
    }
    if found.is_empty() {
        Err(Missing::Data)
    } else {
        Ok(())
    }
}

/// Answers `ns.dns.ZONE`.
pub(super) fn own_addresses(
    question: &Question<'_>,
    context: &Context<'_>,
    reply: &mut Reply<'_>,
) -> Result<(), Missing> {
    for (_, host) in name_server_addresses(question.kubernetes) {
        if !holds_address(reply, host) {
            let (qtype, ttl) = (context.query.qtype, question.kubernetes.ttl);
            address(Owner::Question, qtype, ttl, Section::Answer, host, reply);
        }
    }
    whole_unless_empty(reply).map(|_| ())
}

/// The addresses of [`own_addresses`] for a name that a CNAME led to.
pub(super) fn own_address_list(kubernetes: &Kubernetes) -> Vec<IpAddr> {
    name_server_addresses(kubernetes)
        .into_iter()
        .map(|(_, host)| host)
        .collect()
}
