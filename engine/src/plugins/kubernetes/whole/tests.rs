use std::net::Ipv4Addr;

use super::super::{Fallthrough, PodMode};
use super::*;
use crate::chain::{Peer, Stage};
use crate::index::{
    AddressNode, Addresses, EndpointName, Namespace, Port, ServiceKind, ServiceParts,
};
use crate::plugins::testing::{line, messages, name, peer, query};
use crate::plugins::transfer::{Rule, Transfer};
use crate::wire::Answer;
use crate::wire::record::serial_of;

fn port(name: &str, number: Option<u16>) -> Port {
    Port {
        name: name.as_bytes().into(),
        protocol: b"tcp"[..].into(),
        number,
    }
}

fn slice(addresses: Addresses, names: &[Option<&str>], ports: &[Port]) -> Arc<EndpointSlice> {
    let name = |name: &Option<&str>| name.map(|name| name.as_bytes().into());
    Arc::new(EndpointSlice {
        ports: ports.into(),
        addresses,
        names: (!names.is_empty()).then(|| names.iter().map(name).collect()),
        zones: None,
    })
}

fn v4(addresses: &[&str]) -> Addresses {
    Addresses::V4(addresses.iter().map(|it| it.parse().unwrap()).collect())
}

fn cluster_ip(addresses: &[&str]) -> ServiceKind {
    ServiceKind::ClusterIp(addresses.iter().map(|it| it.parse().unwrap()).collect())
}

struct Cluster {
    index: Arc<ClusterIndex>,
    namespace: Arc<Namespace>,
}

impl Cluster {
    /// Nothing but a namespace.
    fn new() -> Self {
        let index = Arc::new(ClusterIndex::default());
        let namespace = Arc::new(Namespace::new("prod"));
        namespace.set_exposed(true);
        index.set_serial(100);
        index.set_synced();
        Self { index, namespace }
    }

    fn put(
        &self,
        label: &str,
        kind: ServiceKind,
        ports: &[Port],
        slices: &[Arc<EndpointSlice>],
    ) -> Arc<ServiceName> {
        let name = Arc::new(ServiceName::new(Arc::clone(&self.namespace), label));
        let parts = ServiceParts {
            kind,
            ports: ports.into(),
            slices: slices.into(),
            ttl: 5,
            ignore_empty: false,
        };
        let node = ServiceNode::build(parts);
        self.index.put_service(Arc::clone(&name), node);
        name
    }

    fn plugin(&self) -> Arc<Kubernetes> {
        let zone = |text: &str| Zone::new(name(text).into());
        Arc::new(Kubernetes {
            index: Arc::clone(&self.index),
            zones: vec![
                zone("10.in-addr.arpa"),
                zone("set.test").with_grammar(Grammar::Multicluster),
                zone("c.test"),
            ],
            primary: name("c.test").into(),
            pods: PodMode::Disabled,
            ttl: 5,
            fallthrough: Fallthrough::default(),
            filters_reverse: false,
            local_addresses: ["192.0.2.53".parse().unwrap()].into(),
        })
    }

    fn whole(&self, zone: &str) -> WholeZone {
        let (mut folded, wire) = (FoldedName::default(), name(zone));
        folded.parse(&wire, 0).unwrap();
        self.plugin().whole(&folded, &wire).unwrap()
    }
}

/// What is left of a zone.
fn rest(whole: &mut WholeZone) -> Vec<String> {
    let mut lines = Vec::new();
    assert!(whole.write(|record| {
        lines.push(line(record));
        true
    }));
    lines
}

#[test]
fn a_zone_is_its_services_between_two_soas() {
    let cluster = Cluster::new();
    let ports = [port("web", Some(80)), port("", None)];
    cluster.put("shop", cluster_ip(&["10.9.0.1", "fd00::1"]), &ports, &[]);
    cluster.put(
        "alias",
        ServiceKind::External(Some(name("x.test").into())),
        &[],
        &[],
    );
    cluster.put("nothing", ServiceKind::External(None), &[], &[]);
    // As with `ignore empty_service`.
    let name_of_empty = cluster.put("empty", cluster_ip(&["10.9.0.3"]), &ports, &[]);
    let empty = ServiceNode::build(ServiceParts {
        kind: cluster_ip(&["10.9.0.3"]),
        ports: ports.clone().into(),
        slices: Box::default(),
        ttl: 5,
        ignore_empty: true,
    });
    cluster.index.put_service(name_of_empty, empty);
    let sql = [port("sql", Some(5432))];
    let slices = [
        slice(v4(&["10.1.0.5", "10.1.0.6"]), &[None, Some("db-1")], &sql),
        slice(Addresses::Fqdn([name("y.test").into()].into()), &[], &sql),
    ];
    cluster.put("db", ServiceKind::Headless, &[], &slices);
    let hidden = Cluster {
        index: Arc::clone(&cluster.index),
        namespace: Arc::new(Namespace::new("hidden")),
    };
    hidden.put("secret", cluster_ip(&["10.9.0.2"]), &ports, &[]);
    let soa = "c.test. 5 SOA ns.dns.c.test.";
    assert_eq!(
        rest(&mut cluster.whole("c.test")),
        [
            soa,
            "c.test. 5 NS ns.dns.c.test.",
            "ns.dns.c.test. 0 A 192.0.2.53",
            "alias.prod.svc.c.test. 5 CNAME x.test.",
            "db.prod.svc.c.test. 5 A 10.1.0.5",
            "10-1-0-5.db.prod.svc.c.test. 5 A 10.1.0.5",
            "_sql._tcp.db.prod.svc.c.test. 5 SRV 10-1-0-5.db.prod.svc.c.test.",
            "db.prod.svc.c.test. 5 A 10.1.0.6",
            "db-1.db.prod.svc.c.test. 5 A 10.1.0.6",
            "_sql._tcp.db.prod.svc.c.test. 5 SRV db-1.db.prod.svc.c.test.",
            "_sql._tcp.db.prod.svc.c.test. 5 SRV .",
            "shop.prod.svc.c.test. 5 A 10.9.0.1",
            "shop.prod.svc.c.test. 5 AAAA fd00::1",
            "shop.prod.svc.c.test. 5 SRV shop.prod.svc.c.test.",
            "_web._tcp.shop.prod.svc.c.test. 5 SRV shop.prod.svc.c.test.",
            "shop.prod.svc.c.test. 5 SRV shop.prod.svc.c.test.",
            soa,
        ]
    );
}

#[test]
fn a_server_with_a_service_has_its_name() {
    let cluster = Cluster::new();
    let own: IpAddr = "192.0.2.53".parse().unwrap();
    let slices = [slice(v4(&["192.0.2.53"]), &[], &[])];
    let service = cluster.put("dns", cluster_ip(&["10.9.0.10"]), &[], &slices);
    let endpoint = EndpointName::new(service, None);
    cluster
        .index
        .put_address(own, AddressNode::Endpoint(endpoint));
    assert_eq!(
        rest(&mut cluster.whole("c.test"))[1..4],
        [
            "c.test. 5 NS dns.prod.svc.c.test.",
            // The records of one name and type have one TTL (RFC 2181 §5.2).
            "dns.prod.svc.c.test. 5 A 10.9.0.10",
            "dns.prod.svc.c.test. 5 A 10.9.0.10",
        ]
    );
}

#[test]
fn other_zones_hold_what_is_theirs() {
    let cluster = Cluster::new();
    let service = cluster.put("shop", cluster_ip(&["10.9.0.1"]), &[], &[]);
    for address in ["10.9.0.1", "10.9.0.2", "11.9.0.1", "fd00::1"] {
        let node = AddressNode::Service(Arc::clone(&service));
        cluster.index.put_address(address.parse().unwrap(), node);
    }
    let soa = "10.in-addr.arpa. 5 SOA ns.dns.10.in-addr.arpa.";
    assert_eq!(
        rest(&mut cluster.whole("10.in-addr.arpa")),
        [
            soa,
            "10.in-addr.arpa. 5 NS ns.dns.10.in-addr.arpa.",
            "1.0.9.10.in-addr.arpa. 5 PTR shop.prod.svc.c.test.",
            "2.0.9.10.in-addr.arpa. 5 PTR shop.prod.svc.c.test.",
            soa,
        ]
    );
    // Nothing is imported: no Service of the cluster's own is in the zone.
    let imports = rest(&mut cluster.whole("set.test")).concat();
    assert!(!imports.contains("shop"), "{imports}");
    let set = Cluster {
        index: Arc::default(),
        namespace: Arc::clone(&cluster.namespace),
    };
    set.index.set_serial(200);
    set.put("fleet", cluster_ip(&["10.9.0.3"]), &[], &[]);
    cluster.index.set_imports(Arc::clone(&set.index));
    let mut whole = cluster.whole("set.test");
    assert_eq!(serial_of(whole.soa()), Some(200));
    let imports = rest(&mut whole).concat();
    assert!(
        imports.contains("fleet.prod.svc.set.test. 5 A 10.9.0.3"),
        "{imports}"
    );
}

#[test]
fn what_changes_meanwhile_is_seen_when_its_turn_comes() {
    let cluster = Cluster::new();
    let names: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|label| cluster.put(label, cluster_ip(&["10.9.0.1"]), &[], &[]))
        .collect();
    let sql = [port("sql", Some(5432))];
    let many = |count: u32| {
        let hosts = (0..count).map(|host| Ipv4Addr::from(0x0a01_0000 + host));
        slice(Addresses::V4(hosts.collect()), &[], &sql)
    };
    cluster.put("b", ServiceKind::Headless, &[], &[many(3)]);
    let mut whole = cluster.whole("c.test");
    let (mut lines, mut room) = (Vec::new(), 7);
    let is_done = whole.write(|record| {
        room -= 1;
        if room > 0 {
            lines.push(line(record));
        }
        room > 0
    });
    // The first of `b`'s endpoints was sent.
    assert_eq!(
        lines.last().unwrap(),
        "10-1-0-0.b.prod.svc.c.test. 5 A 10.1.0.0"
    );
    assert!(!is_done);
    cluster.put("a", cluster_ip(&["10.9.0.9"]), &[], &[]);
    cluster.put("b", cluster_ip(&["10.9.0.9"]), &[], &[]);
    cluster.index.remove_service(&names[2]);
    cluster.put("d", cluster_ip(&["10.9.0.9"]), &[], &[]);
    cluster.put("e", cluster_ip(&["10.9.0.9"]), &[], &[]);
    cluster.index.set_serial(101);
    assert_eq!(
        rest(&mut whole),
        [
            "_sql._tcp.b.prod.svc.c.test. 5 SRV 10-1-0-0.b.prod.svc.c.test.",
            "b.prod.svc.c.test. 5 A 10.1.0.1",
            "10-1-0-1.b.prod.svc.c.test. 5 A 10.1.0.1",
            "_sql._tcp.b.prod.svc.c.test. 5 SRV 10-1-0-1.b.prod.svc.c.test.",
            "b.prod.svc.c.test. 5 A 10.1.0.2",
            "10-1-0-2.b.prod.svc.c.test. 5 A 10.1.0.2",
            "_sql._tcp.b.prod.svc.c.test. 5 SRV 10-1-0-2.b.prod.svc.c.test.",
            "d.prod.svc.c.test. 5 A 10.9.0.9",
            "c.test. 5 SOA ns.dns.c.test.",
        ]
    );
    // So that the secondary comes again.
    assert_eq!(serial_of(whole.soa()), Some(100));
}

#[test]
fn a_large_zone_is_made_as_it_is_sent() {
    let cluster = Cluster::new();
    for number in 0..10_000_u32 {
        let address = Ipv4Addr::from(0x0a09_0000 + number).to_string();
        let ports = [port("web", Some(80))];
        cluster.put(&format!("s{number}"), cluster_ip(&[&address]), &ports, &[]);
    }
    let hosts = (0..1_000).map(|host| Ipv4Addr::from(0x0a01_0000 + host));
    let large = slice(
        Addresses::V4(hosts.collect()),
        &[],
        &[port("sql", Some(5432))],
    );
    cluster.put("db", ServiceKind::Headless, &[], &[large.clone(), large]);

    let (mut whole, mut total) = (cluster.whole("c.test"), 0);
    loop {
        let mut room = 100;
        let is_done = whole.write(|_| {
            room -= 1;
            total += usize::from(room >= 0);
            room >= 0
        });
        // The records of one Service or endpoint, and not those of the zone.
        assert!(whole.ready.len() <= 4, "{} records wait", whole.ready.len());
        if is_done {
            break;
        }
    }
    let expected = 2 + 2 + 3 * 10_000 + 3 * 2_000;
    assert_eq!(total, expected);

    let rule = Rule {
        zones: Zones::new([name("c.test").into()]),
        to_all: true,
        to: Vec::new(),
        source: None,
    };
    let transfer = Stage::Transfer(Arc::new(Transfer {
        rules: vec![rule],
        external: None,
        kubernetes: Some(cluster.plugin()),
        file: None,
    }));
    let peer = Peer {
        stream: true,
        ..peer("192.0.2.1")
    };
    let messages = messages(&[transfer], peer, &query("c.test", RType::AXFR, &[]));
    assert!(messages.len() > 10, "{} messages", messages.len());
    let records = messages
        .iter()
        .map(|it| Answer::read(it).unwrap().sections[0].len());
    assert_eq!(records.sum::<usize>(), expected);
}

#[test]
fn nothing_is_sent_before_the_cluster_is_known() {
    let cluster = Cluster::new();
    assert!(cluster.whole("c.test").is_known());
    let unknown = Cluster {
        index: Arc::default(),
        ..cluster
    };
    assert!(!unknown.whole("c.test").is_known());
}
