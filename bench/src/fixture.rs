//! An invented cluster behind the engine's packet seam, as a server would have it.
//!
//! What goes through the real way of an event ends up here: objects folded by the store, published
//! to the index, answered by the plugins that a kubeadm cluster's Corefile names. Benches and the
//! allocation test share it, so that what is timed is what is checked.

use std::sync::Arc;

use martlet_control::cluster::object::{Event, Kind};
use martlet_control::cluster::store::{Store, StoreSettings};
use martlet_engine::index::ClusterIndex;
pub use martlet_perf::seam::{PAYLOAD_SIZE, TTL, count, listener, peer};
use rand::seq::{IteratorRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::cluster::queries::{List, Question, Questions, endpoint_name, service_name};
use crate::cluster::{Cluster, Family, Workload};

/// Folds a whole cluster into a store as the first lists of a source do, and publishes it.
pub fn publish(cluster: &Cluster) -> (Store, Arc<ClusterIndex>) {
    const KINDS: [Kind; 3] = [Kind::Namespace, Kind::Service, Kind::EndpointSlice];
    let index = Arc::new(ClusterIndex::default());
    let settings = StoreSettings {
        ttl: TTL,
        ignore_empty: false,
        namespaces: Default::default(),
        clients: false,
        external: false,
        multicluster: false,
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
                        name: endpoint_name(workload, endpoint, Family::V4),
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
