//! A small cluster for the targets: one Service of each kind, under the names that they ask for.

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use martlet_engine::chain::{Block, Listener, Peer, Protocol, Stage};
use martlet_engine::index::{
    Addresses, ClusterIndex, EndpointSlice, Namespace, Port, ServiceKind, ServiceName, ServiceNode,
    ServiceParts,
};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Scope;
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::wire::name::wire_from_text;

/// Where log lines go: nowhere.
pub static LOG: LazyLock<LogSink> = LazyLock::new(|| LogSink::new().0);

/// A name in wire form.
pub fn wire(text: &str) -> Box<[u8]> {
    wire_from_text(text).expect("a name")
}

/// A client, over TCP or UDP.
pub fn peer(stream: bool) -> Peer {
    let remote = "192.0.2.1:4242".parse().expect("an address");
    Peer {
        remote,
        local: remote,
        stream,
        answer_from: None,
        received: Instant::now(),
    }
}

/// A listener with one block for all names.
pub fn listener(stages: Vec<Stage>) -> Listener {
    let block = Block::new(wire("."), stages.into(), Scope::NONE);
    Listener {
        addresses: Vec::new(),
        protocol: Protocol::Dns,
        blocks: vec![block],
        other_classes: false,
        scope: Scope::NONE,
    }
}

/// `web` (an address), `db` (sixty endpoints), `ext` (an alias to outside), `alias` (one to inside).
pub fn kubernetes() -> Stage {
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
        ports: Box::new([port.clone()]),
        addresses: Addresses::V4((1..=60).map(|last| [10, 0, 0, last].into()).collect()),
        names: None,
        zones: None,
    });
    let inside = wire("db.default.svc.cluster.local");
    let kinds = [
        ("web", ServiceKind::ClusterIp(Box::new([[10, 96, 0, 1].into()])), vec![]),
        ("db", ServiceKind::Headless, vec![slice]),
        ("ext", ServiceKind::External(Some(wire("example.com"))), vec![]),
        ("alias", ServiceKind::External(Some(inside)), vec![]),
    ];
    for (name, kind, slices) in kinds {
        let name = Arc::new(ServiceName::new(Arc::clone(&namespace), name));
        let parts = ServiceParts {
            kind,
            ports: Box::new([port.clone()]),
            slices: slices.into(),
            ttl: 5,
            ignore_empty: false,
        };
        index.put_service(name, ServiceNode::build(parts));
    }
    Stage::Kubernetes(Arc::new(Kubernetes {
        index,
        zones: vec![Zone::new(wire("cluster.local")), Zone::new(wire("in-addr.arpa"))],
        primary: wire("cluster.local"),
        pods: PodMode::Insecure,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: Arc::new([[10, 0, 0, 1].into()]),
    }))
}

/// What every reply must be: the query's ID, QR set, and records that fill the message as its
/// counts say. Replies that say FORMERR or NOTIMP may lack the question.
pub fn assert_well_formed(query: &[u8], reply: &[u8]) {
    use martlet_engine::wire::walk::{record_at, skip_name};

    assert!(reply.len() >= 12 && reply[..2] == query[..2] && reply[2] & 0x80 != 0);
    let count = |at: usize| u16::from_be_bytes([reply[at], reply[at + 1]]);
    let mut at = 12;
    for _ in 0..count(4) {
        at = skip_name(reply, at).expect("a question") + 4;
    }
    let records = [6, 8, 10].map(|place| usize::from(count(place)));
    for _ in 0..records.iter().sum() {
        at = record_at(reply, at).expect("as many records as it says").end;
    }
    assert_eq!(at, reply.len(), "nothing follows the last record");
}
