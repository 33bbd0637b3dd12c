//! A small cluster, and upstreams that are not there.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use martlet_engine::chain::{Block, Listener, Protocol, Stage};
use martlet_engine::index::{
    Addresses, ClusterIndex, EndpointSlice, Namespace, Port, ServiceKind, ServiceName, ServiceNode,
    ServiceParts,
};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Scope;
use martlet_engine::plugins::cache::{Cache, Table, TtlRange};
use martlet_engine::plugins::forward::Forward;
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::plugins::timeouts::Timeouts;
use martlet_engine::upstream::{Group, HealthCheck, Policy, Settings};
use martlet_engine::wire::name::wire_from_text;

/// Where log lines go: nowhere.
pub(super) static LOG: LazyLock<LogSink> = LazyLock::new(|| LogSink::new().0);

/// The cluster as a stage.
pub(super) static KUBERNETES: LazyLock<Stage> = LazyLock::new(kubernetes);

/// The upstreams: never asked, as the replies are at hand.
pub(super) static GROUP: LazyLock<Arc<Group>> = LazyLock::new(|| {
    let second = Duration::from_secs(1);
    let settings = Settings {
        policy: Policy::Sequential,
        force_tcp: false,
        prefer_udp: false,
        read_timeout: second,
        max_fails: 0,
        max_connect_attempts: 0,
        health_check: HealthCheck {
            interval: second,
            recursion_desired: true,
            domain: wire("."),
        },
        fail_fast: false,
        max_concurrent: 0,
        expire: second,
        max_age: Duration::ZERO,
        max_idle_connections: 0,
        failover: Vec::new(),
        source_address: None,
        hedge: false,
    };
    Arc::new(Group::new(Vec::new(), settings))
});

/// A name in wire form.
pub(super) fn wire(text: &str) -> Box<[u8]> {
    wire_from_text(text).expect("a name")
}

/// A listener with one block for all names.
pub(super) fn listener(stages: Vec<Stage>) -> Listener {
    let block = Block::new(wire("."), stages.into(), Scope::NONE);
    Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![block],
        timeouts: Timeouts::default(),
        other_classes: true,
        scope: Scope::NONE,
    }
}

/// The cluster, an empty cache and upstreams.
pub(super) fn forwarding() -> Listener {
    let range = TtlRange { min: 0, max: 3_600 };
    let cache = Arc::new(Cache {
        zones: vec![(wire("."), 0)],
        success: range,
        denial: range,
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        servfail: 5,
        prefetch: None,
        stale: None,
        keep_ttl: false,
        table: Table::new(16, 16),
    });
    let forward = Forward {
        from: wire("."),
        from_labels: 0,
        except: Vec::new(),
        group: Arc::clone(&GROUP),
        next: Vec::new(),
        next_on_nodata: false,
    };
    listener(vec![
        Stage::LoadBalance,
        Stage::Clamp(Arc::clone(&cache)),
        KUBERNETES.clone(),
        Stage::Store(cache),
        Stage::Forward(forward),
    ])
}

/// `web` (an address), `db` (sixty endpoints), `ext` (an alias to outside), `alias` (one to inside).
fn kubernetes() -> Stage {
    let index = Arc::new(ClusterIndex::default());
    let namespace = Arc::new(Namespace::new("default"));
    namespace.set_exposed(true);
    index.put_namespace(Arc::clone(&namespace));
    index.set_synced();
    let port = Port {
        name: b"http"[..].into(),
        protocol: b"tcp"[..].into(),
        number: Some(80),
    };
    let slice = Arc::new(EndpointSlice {
        ports: Arc::new([port.clone()]),
        addresses: Addresses::V4((1..=60).map(|last| [10, 0, 0, last].into()).collect()),
        names: None,
        zones: None,
    });
    let inside = wire("db.default.svc.cluster.local");
    let kinds = [
        (
            "web",
            ServiceKind::ClusterIp(Box::new([[10, 96, 0, 1].into()])),
            vec![],
        ),
        ("db", ServiceKind::Headless, vec![slice]),
        (
            "ext",
            ServiceKind::External(Some(wire("example.com"))),
            vec![],
        ),
        ("alias", ServiceKind::External(Some(inside)), vec![]),
    ];
    for (name, kind, slices) in kinds {
        let name = Arc::new(ServiceName::new(Arc::clone(&namespace), name));
        let parts = ServiceParts {
            kind,
            ports: Arc::new([port.clone()]),
            slices: slices.into(),
            ttl: 5,
            ignore_empty: false,
        };
        index.put_service(name, ServiceNode::build(parts));
    }
    Stage::Kubernetes(Arc::new(Kubernetes {
        index,
        zones: vec![
            Zone::new(wire("cluster.local")),
            Zone::new(wire("in-addr.arpa")),
        ],
        primary: wire("cluster.local"),
        pods: PodMode::Insecure,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: Arc::new([[10, 0, 0, 1].into()]),
    }))
}
