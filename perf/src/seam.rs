//! A listener as a kubeadm cluster's Corefile makes it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use martlet_engine::chain::{Block, Listener, Peer, Protocol, Stage};
use martlet_engine::index::ClusterIndex;
use martlet_engine::metrics::{Metrics, Scope};
use martlet_engine::plugins::cache::{Cache, Table, TtlRange};
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::wire::name::wire_from_text;

/// TTL of records, in seconds, as kubeadm's Corefile sets it.
pub const TTL: u32 = 30;

/// The payload size that questions offer: what resolvers send since the flag day of 2020.
pub const PAYLOAD_SIZE: u16 = 1_232;

/// A listener with the stages of kubeadm's Corefile that see cluster names. Names elsewhere would
/// leave the fast path and are refused here, unless [`crate::external::forward`] adds upstreams.
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
        Stage::Kubernetes(Arc::new(kubernetes)),
        Stage::Store(cache),
    ];
    let block = Block::new(root, stages.into(), Scope::NONE);
    Listener {
        addresses,
        protocol: Protocol::Dns,
        blocks: vec![block],
        timeouts: martlet_engine::plugins::timeouts::Timeouts::default(),
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
