//! An invented cluster behind the engine's packet seam, as a server would have it.
//!
//! What goes through the real way of an event ends up here: objects folded by the store, published
//! to the index, answered by the plugins that a kubeadm cluster's Corefile names. Benches and the
//! allocation test share it, so that what is timed is what is checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use martlet_control::cluster::object::{Event, Kind};
use martlet_control::cluster::store::{Store, StoreSettings};
use martlet_engine::chain::{Block, Listener, Peer, Protocol, Stage};
use martlet_engine::index::ClusterIndex;
use martlet_engine::metrics::{Metrics, Scope};
use martlet_engine::plugins::cache::{Cache, Table, TtlRange};
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::wire::name::wire_from_text;
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::cluster::queries::{List, Question, Questions, service_name};
use crate::cluster::{Cluster, Family, Workload};

/// TTL of records, in seconds, as kubeadm's Corefile sets it.
pub const TTL: u32 = 30;

/// The payload size that questions offer: what resolvers send since the flag day of 2020.
pub const PAYLOAD_SIZE: u16 = 1_232;

/// Folds a whole cluster into a store as the first lists of a source do, and publishes it.
pub fn publish(cluster: &Cluster) -> (Store, Arc<ClusterIndex>) {
    const KINDS: [Kind; 3] = [Kind::Namespace, Kind::Service, Kind::EndpointSlice];
    let index = Arc::new(ClusterIndex::default());
    let settings = StoreSettings {
        ttl: TTL,
        ignore_empty: false,
        namespaces: Default::default(),
        kinds: KINDS.into(),
    };
    let mut store = Store::new(Arc::clone(&index), settings);
    for kind in KINDS {
        store.apply(Event::RelistStarted(kind));
    }
    for object in cluster.objects() {
        store.apply(Event::Applied(object));
    }
    for kind in KINDS {
        store.apply(Event::RelistDone(kind));
    }
    store.publish();
    (store, index)
}

/// A listener with the stages of kubeadm's Corefile that see cluster names. Names elsewhere would
/// leave the fast path and are refused here.
pub fn listener(index: Arc<ClusterIndex>, addresses: Vec<SocketAddr>) -> Listener {
    let zone = |text| Zone::new(wire_from_text(text).expect("a constant name"));
    let root: Box<[u8]> = Box::new([0]);
    let kubernetes = Kubernetes {
        index,
        zones: ["cluster.local", "in-addr.arpa", "ip6.arpa"]
            .map(zone)
            .into(),
        primary: zone("cluster.local").apex,
        pods: PodMode::Insecure,
        ttl: TTL,
        fallthrough: Fallthrough {
            zones: vec![(zone("in-addr.arpa").apex, 2), (zone("ip6.arpa").apex, 2)],
        },
        filters_reverse: false,
        local_addresses: Arc::new([IpAddr::V4(Ipv4Addr::LOCALHOST)]),
    };
    let cache = Cache {
        zones: vec![(root.clone(), 0)],
        success: TtlRange { min: 5, max: 30 },
        denial: TtlRange { min: 5, max: 30 },
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        servfail: 5,
        prefetch: None,
        stale: None,
        keep_ttl: false,
        table: Table::new(9_984, 9_984),
    };
    let cache = Arc::new(cache);
    let stages = [
        Stage::LoadBalance,
        Stage::Clamp(Arc::clone(&cache)),
        Stage::Kubernetes(Box::new(kubernetes)),
        Stage::Store(cache),
    ];
    let block = Block {
        zone: root,
        labels: 0,
        stages: stages.into(),
        scope: Scope::NONE,
    };
    Listener {
        addresses,
        protocol: Protocol::Dns,
        blocks: vec![block],
        other_classes: false,
        scope: Scope::NONE,
    }
}

/// Has the queries of a listener counted, as `prometheus` does.
pub fn count(listener: &mut Listener) -> Arc<Metrics> {
    let metrics = Metrics::new(2);
    listener.scope = metrics.scope("dns://:53", "dropped", true);
    for block in &mut listener.blocks {
        block.scope = metrics.scope("dns://:53", ".", true);
    }
    Arc::new(metrics)
}

/// A client on UDP.
pub fn peer() -> Peer {
    Peer {
        remote: SocketAddr::from(([10, 128, 0, 1], 40_000)),
        local: SocketAddr::from(([10, 96, 0, 10], 53)),
        stream: false,
        answer_from: None,
        received: Instant::now(),
    }
}

/// What is asked, one kind of answer each.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueryKind {
    /// A of a Service with a cluster IP.
    ServiceA,
    /// AAAA of a Service with IPv4 only.
    ServiceAaaaNodata,
    /// A of a headless Service.
    HeadlessA,
    /// A of an endpoint of a headless Service.
    EndpointA,
    /// SRV of a named port.
    Srv,
    /// PTR of a cluster IP or an endpoint.
    Ptr,
    /// A or AAAA of a name that does not exist.
    NxDomain,
}

impl QueryKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ServiceA,
        Self::ServiceAaaaNodata,
        Self::HeadlessA,
        Self::EndpointA,
        Self::Srv,
        Self::Ptr,
        Self::NxDomain,
    ];

    /// What benches call it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceA => "service_a",
            Self::ServiceAaaaNodata => "service_aaaa_nodata",
            Self::HeadlessA => "headless_a",
            Self::EndpointA => "endpoint_a",
            Self::Srv => "srv",
            Self::Ptr => "ptr",
            Self::NxDomain => "nxdomain",
        }
    }

    /// The RCODE of its replies, and whether they have answers.
    pub const fn expected(self) -> (u8, bool) {
        match self {
            Self::ServiceAaaaNodata => (0, false),
            Self::NxDomain => (3, false),
            _ => (0, true),
        }
    }

    /// Up to `count` questions about a cluster, in random order.
    pub fn questions(self, cluster: &Cluster, count: usize) -> Vec<Question> {
        let mut rng = Pcg64Mcg::seed_from_u64(cluster.shape().seed);
        let list = |list| {
            Questions::new(cluster, list)
                .take(count)
                .collect::<Vec<_>>()
        };
        let some = |rng: &mut Pcg64Mcg, keep: fn(&Workload) -> bool| {
            let mut chosen = cluster.workloads().filter(keep).sample(rng, count);
            // A sample keeps what came first in its place.
            chosen.shuffle(rng);
            chosen
        };
        let ask = |qtype| {
            move |workload: Workload| Question {
                name: service_name(&workload),
                qtype,
            }
        };
        let full = |workload: &Workload| workload.headless && !workload.endpoints.is_empty();
        match self {
            Self::ServiceA => some(&mut rng, |workload| !workload.headless)
                .into_iter()
                .map(ask("A"))
                .collect(),
            Self::ServiceAaaaNodata => some(&mut rng, |workload| {
                !workload.headless && !workload.dual_stack
            })
            .into_iter()
            .map(ask("AAAA"))
            .collect(),
            Self::HeadlessA => some(&mut rng, full).into_iter().map(ask("A")).collect(),
            Self::EndpointA => {
                let chosen = some(&mut rng, full);
                let endpoint = |workload: &Workload| {
                    let endpoint = rng.random_range(workload.endpoints.clone());
                    Question {
                        name: endpoint_name(workload, endpoint),
                        qtype: "A",
                    }
                };
                chosen.iter().map(endpoint).collect()
            }
            Self::Srv => list(List::Srv),
            Self::Ptr => list(List::Ptr),
            Self::NxDomain => list(List::NxDomain),
        }
    }
}

/// The name of an endpoint of a headless Service.
fn endpoint_name(workload: &Workload, endpoint: u32) -> String {
    let label = workload.hostname(endpoint).unwrap_or_else(|| {
        workload
            .pod_ip(endpoint, Family::V4)
            .to_string()
            .replace('.', "-")
    });
    format!("{label}.{}", service_name(workload))
}
