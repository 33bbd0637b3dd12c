//! Any octets as a message: a reply with the same ID and QR set, or silence, never a panic.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use martlet_engine::chain::{Block, Listener, Peer, Protocol, Stage};
use martlet_engine::index::{
    Addresses, ClusterIndex, EndpointSlice, Namespace, Port, ServiceKind, ServiceName, ServiceNode,
    ServiceParts,
};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Scope;
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_engine::wire::name::wire_from_text;

static LISTENER: LazyLock<Listener> = LazyLock::new(listener);

fn wire(text: &str) -> Box<[u8]> {
    wire_from_text(text).expect("a name")
}

/// A server with one Service of each kind, under the names that the corpus asks for.
fn listener() -> Listener {
    let index = Arc::new(ClusterIndex::default());
    let namespace = Arc::new(Namespace::new("default"));
    namespace.set_exposed(true);
    index.put_namespace(Arc::clone(&namespace));
    index.set_synced();
    let port = Port { name: b"http"[..].into(), protocol: b"tcp"[..].into(), number: Some(80) };
    let slice = Arc::new(EndpointSlice {
        ports: Box::new([port.clone()]),
        addresses: Addresses::V4((1..=60).map(|last| [10, 0, 0, last].into()).collect()),
        names: None,
    });
    let kinds = [
        ("web", ServiceKind::ClusterIp(Box::new([[10, 96, 0, 1].into()])), vec![]),
        ("db", ServiceKind::Headless, vec![slice]),
        ("ext", ServiceKind::External(Some(wire("example.com"))), vec![]),
        ("alias", ServiceKind::External(Some(wire("db.default.svc.cluster.local"))), vec![]),
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
    let kubernetes = Kubernetes {
        index,
        zones: vec![Zone::new(wire("cluster.local")), Zone::new(wire("in-addr.arpa"))],
        primary: wire("cluster.local"),
        pods: PodMode::Insecure,
        ttl: 5,
        fallthrough: Fallthrough::default(),
        filters_reverse: false,
        local_addresses: Arc::new([[10, 0, 0, 1].into()]),
    };
    let stages = vec![Stage::LoadBalance, Stage::Kubernetes(Box::new(kubernetes)), Stage::Whoami];
    let scope = Scope::NONE;
    let block = Block { zone: wire("."), labels: 0, stages: stages.into(), scope };
    Listener { addresses: Vec::new(),
        protocol: Protocol::Dns, blocks: vec![block], other_classes: false, scope }
}

fuzz_target!(|message: &[u8]| {
    let remote = "192.0.2.1:4242".parse().expect("an address");
    let (log, _lines) = LogSink::new();
    let mut buf = vec![0; 65_535];
    for stream in [false, true] {
        let peer = Peer { remote, local: remote, stream, answer_from: None, received: Instant::now() };
        let mut scratch = Scratch::default();
        if let Response::Reply(len) = respond(message, peer, &LISTENER, &log, &mut scratch, &mut buf) {
            assert!(len >= 12 && buf[..2] == message[..2] && buf[2] & 0x80 != 0);
        }
    }
});
