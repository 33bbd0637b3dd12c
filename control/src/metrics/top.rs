//! Who asks, and for what: the busiest clients and names as a few series each.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use martlet_engine::index::{ClusterIndex, LabelRef, PodName};
use martlet_engine::plugins::kubernetes::Kubernetes;
use martlet_engine::top::Busiest;
use martlet_engine::top::search::meant;
use martlet_engine::wire::FoldedName;
use martlet_engine::wire::name::{NameText, label_hash};

use super::family::Families;

/// Series of each family at most.
const MOST: usize = 10;

/// `martlet_top_…`
pub(super) fn busiest(busiest: &Busiest, clusters: &[Arc<Kubernetes>], families: &mut Families) {
    let clients = &busiest.clients[..busiest.clients.len().min(MOST)];
    let addresses = clients
        .iter()
        .map(|(client, _)| *client)
        .collect::<Vec<_>>();
    let owners = owners(&addresses, clusters);
    for (client, count) in clients {
        let owner = owners.get(client);
        families.gauge(
            "martlet_top_clients_queries",
            "Queries over UDP of the busiest clients in about two minutes, estimated from one in 64.",
            &[
                ("client", &client.to_string()),
                ("namespace", owner.map_or("", |owner| &owner.namespace)),
                ("pod", owner.map_or("", |owner| &owner.name)),
            ],
            *count as f64,
        );
    }
    for (name, count) in busiest.names.iter().take(MOST) {
        families.gauge(
            "martlet_top_names_queries",
            "Queries over UDP for the busiest names in about two minutes, estimated from one in 64.",
            &[("name", NameText::of(name).as_str())],
            *count as f64,
        );
    }
    for (name, count) in missed(busiest, clusters).into_iter().take(MOST) {
        families.gauge(
            "martlet_top_search_misses",
            "Queries that search lists made of a name outside of the cluster, and that found nothing: \
             as martlet_top_names_queries, for what was meant. A dot at the end of the name, or a \
             smaller ndots, spares them.",
            &[("name", NameText::of(&name).as_str())],
            count as f64,
        );
    }
}

/// Whose the clients' addresses are: pods, with `pods verified`, or else endpoints of Services.
fn owners(addresses: &[IpAddr], clusters: &[Arc<Kubernetes>]) -> HashMap<IpAddr, PodName> {
    let mut owners = HashMap::new();
    for cluster in clusters {
        for address in addresses {
            owners.extend(endpoint(&cluster.index, *address).map(|owner| (*address, owner)));
        }
        owners.extend(cluster.index.pods_at(addresses));
    }
    owners
}

/// The endpoint with this address, if there is but one.
fn endpoint(index: &ClusterIndex, address: IpAddr) -> Option<PodName> {
    let found = index.address(address, |node| {
        let (_, [endpoint]) = node.parts() else {
            return None;
        };
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into();
        Some(PodName {
            namespace: text(endpoint.service.namespace().label().octets),
            name: text(endpoint.name().unwrap_or_default()),
        })
    });
    found.flatten()
}

/// What was meant by the names that were not found, the most frequent first.
fn missed(busiest: &Busiest, clusters: &[Arc<Kubernetes>]) -> Vec<(Box<[u8]>, u64)> {
    let mut sums = HashMap::<Box<[u8]>, u64>::new();
    let mut name = FoldedName::default();
    for (wire, count) in &busiest.missed {
        if name.parse(wire, 0).is_err() {
            continue;
        }
        let zones = clusters.iter().flat_map(|cluster| {
            let forward = cluster.zones.iter().filter(|zone| !zone.reverse);
            forward.map(move |zone| (cluster, zone))
        });
        // The longest zone is the one that answered.
        let candidates = zones.filter_map(|(cluster, zone)| {
            let is_namespace = |label: usize| {
                let octets = name.label(label);
                let hash = label_hash(octets);
                cluster.index.namespace_exposed(LabelRef { octets, hash })
            };
            let left = meant(&name, &zone.apex, zone.labels, is_namespace)?;
            Some((zone.labels, left))
        });
        if let Some((_, left)) = candidates.max_by_key(|(labels, _)| *labels) {
            *sums.entry(left.into()).or_default() += count;
        }
    }
    let mut all = sums.into_iter().collect::<Vec<_>>();
    all.sort_unstable_by(|(one, more), (other, less)| less.cmp(more).then_with(|| one.cmp(other)));
    all
}
