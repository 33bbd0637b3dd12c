//! The packet seam as a whole: octets in, octets out. hickory-proto reads what we write.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use martlet_engine::chain::{Block, Listener, Peer, Protocol, Stage};
use martlet_engine::index::{
    AddressNode, Addresses, ClusterIndex, EndpointName, EndpointSlice, Namespace, Port,
    ServiceKind, ServiceName, ServiceNode, ServiceParts,
};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Scope;
use martlet_engine::plugins::kubernetes::{Fallthrough, Kubernetes, PodMode, Zone};
use martlet_engine::plugins::rewrite::{Action, Form, Matcher, ResponseRule};
use martlet_engine::plugins::zones::Zones;
use martlet_engine::plugins::{cache, dns64, hosts, loop_, rewrite};
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_engine::wire::RType;
use martlet_engine::wire::name::wire_from_text;
use proptest::prelude::*;

const TTL: u32 = 30;
/// An option of more octets than most payloads have.
const PADDING: &[u8] = &{
    let mut option = [0; 604];
    (option[1], option[2], option[3]) = (12, 2, 88);
    option
};

static BOTH_WAYS: LazyLock<Vec<(Listener, Listener)>> = LazyLock::new(both_ways);

fn port(name: &str, protocol: &str, number: u16) -> Port {
    Port {
        name: name.as_bytes().into(),
        protocol: protocol.as_bytes().into(),
        number: Some(number),
    }
}

struct Cluster {
    index: Arc<ClusterIndex>,
    namespace: Arc<Namespace>,
}

impl Cluster {
    fn new() -> Self {
        let namespace = Arc::new(Namespace::new("default"));
        namespace.set_exposed(true);
        let index = Arc::new(ClusterIndex::default());
        index.put_namespace(Arc::clone(&namespace));
        index.set_synced();
        Self { index, namespace }
    }

    fn service(&self, name: &str, kind: ServiceKind, ports: Vec<Port>, slices: Vec<EndpointSlice>) {
        let name = Arc::new(ServiceName::new(Arc::clone(&self.namespace), name));
        for slice in &slices {
            if let Addresses::V4(addresses) = &slice.addresses {
                for (place, &address) in addresses.iter().enumerate() {
                    let label = slice.names.as_ref().and_then(|names| names[place].clone());
                    let endpoint = EndpointName::new(Arc::clone(&name), label);
                    self.index
                        .put_address(address.into(), AddressNode::Endpoint(endpoint));
                }
            }
        }
        let slices = slices.into_iter().map(Arc::new).collect();
        let parts = ServiceParts {
            kind,
            ports: ports.into(),
            slices,
            ttl: TTL,
            ignore_empty: false,
        };
        self.index.put_service(name, ServiceNode::build(parts));
    }

    fn listener(&self, before: Vec<Stage>, pods: PodMode) -> Listener {
        let wire = |text| wire_from_text(text).expect("a name");
        let kubernetes = Kubernetes {
            index: Arc::clone(&self.index),
            zones: vec![
                Zone::new(wire("cluster.local")),
                Zone::new(wire("in-addr.arpa")),
            ],
            primary: wire("cluster.local"),
            pods,
            ttl: TTL,
            fallthrough: Fallthrough::default(),
            filters_reverse: false,
            local_addresses: Arc::new([Ipv4Addr::new(10, 244, 0, 53).into()]),
        };
        let mut stages = before;
        stages.push(Stage::Kubernetes(Arc::new(kubernetes)));
        let block = Block::new(wire("."), stages.into(), Scope::NONE);
        Listener {
            addresses: Vec::new(),
            protocol: Protocol::Dns,
            blocks: vec![block],
            timeouts: martlet_engine::plugins::timeouts::Timeouts::default(),
            other_classes: false,
            scope: Scope::NONE,
        }
    }
}

fn v4(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, last)
}

/// A cluster with one Service of each kind.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let web = ServiceKind::ClusterIp(Box::new([Ipv4Addr::new(10, 96, 0, 10).into()]));
    cluster.service(
        "web",
        web,
        vec![port("http", "tcp", 80), port("https", "tcp", 443)],
        vec![],
    );
    let v4_address = Ipv4Addr::new(10, 96, 0, 11);
    let v6_address = Ipv6Addr::new(0xfd00, 0, 0, 6, 0, 0, 0, 1);
    let families: [(&str, Box<[IpAddr]>); 3] = [
        ("flip", Box::new([v6_address.into(), v4_address.into()])),
        ("six", Box::new([v6_address.into()])),
        ("both", Box::new([v4_address.into(), v6_address.into()])),
    ];
    for (name, addresses) in families {
        let slice = EndpointSlice {
            ports: Arc::new([port("dns", "udp", 53)]),
            addresses: Addresses::V6(Box::new([Ipv6Addr::LOCALHOST])),
            names: None,
            zones: None,
        };
        let ports = vec![
            port("dns", "udp", 53),
            port("dns", "tcp", 53),
            port("sip", "sctp", 9),
        ];
        cluster.service(name, ServiceKind::ClusterIp(addresses), ports, vec![slice]);
    }
    let names = |list: [&str; 2]| Some(list.map(|name| Some(name.as_bytes().into())).into());
    let db = EndpointSlice {
        ports: Arc::new([port("sql", "tcp", 5432)]),
        addresses: Addresses::V4(Box::new([v4(1), v4(2)])),
        names: names(["db-0", "db-1"]),
        zones: None,
    };
    cluster.service("db", ServiceKind::Headless, vec![], vec![db]);
    cluster.service("idle", ServiceKind::Headless, vec![], vec![]);
    let big = EndpointSlice {
        ports: Arc::new([port("x", "tcp", 1)]),
        addresses: Addresses::V4(
            (1..=200)
                .map(|last| Ipv4Addr::new(10, 1, 0, last))
                .collect(),
        ),
        names: None,
        zones: None,
    };
    cluster.service("big", ServiceKind::Headless, vec![], vec![big]);
    let target = |text| ServiceKind::External(wire_from_text(text));
    cluster.service("ext", target("example.com"), vec![], vec![]);
    cluster.service(
        "alias",
        target("web.default.svc.cluster.local"),
        vec![],
        vec![],
    );
    cluster.service(
        "ring",
        target("ring.default.svc.cluster.local"),
        vec![],
        vec![],
    );
    cluster.service(
        "dead",
        target("missing.default.svc.cluster.local"),
        vec![],
        vec![],
    );
    cluster
}

fn ask_raw(listener: &Listener, message: &[u8], stream: bool) -> Option<Vec<u8>> {
    let remote = "192.0.2.1:4242".parse().expect("an address");
    let peer = Peer {
        remote,
        local: "192.0.2.2:53".parse().expect("an address"),
        stream,
        answer_from: None,
        received: Instant::now(),
    };
    let (log, _lines) = LogSink::new();
    let mut buf = vec![0xaa; 65_535];
    match respond(
        message,
        peer,
        listener,
        &log,
        &mut Scratch::default(),
        &mut buf,
    ) {
        Response::Reply(len) | Response::ReplyAndRefresh(len) => Some(buf[..len].to_vec()),
        Response::None => None,
        Response::Slow => panic!("nothing here needs an upstream"),
    }
}

fn query(name: &str, qtype: RecordType, size: Option<u16>) -> Vec<u8> {
    let mut message = vec![
        0x12,
        0x34,
        1,
        0,
        0,
        1,
        0,
        0,
        0,
        0,
        0,
        u8::from(size.is_some()),
    ];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(label.len() as u8);
        message.extend(label.bytes());
    }
    message.push(0);
    message.extend(u16::from(qtype).to_be_bytes());
    message.extend([0, 1]);
    if let Some(size) = size {
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

fn ask(listener: &Listener, name: &str, qtype: RecordType) -> Message {
    let reply = ask_raw(listener, &query(name, qtype, None), false).expect("a reply");
    Message::from_vec(&reply).expect("hickory reads it")
}

/// The same cluster answered with the short way and without: `loop` keeps a block off it, and
/// notices HINFO only. With bounds for TTLs that are met, and some that are not.
fn both_ways() -> Vec<(Listener, Listener)> {
    let range = |min, max| cache::TtlRange { min, max };
    let clamp = |range| {
        Stage::Clamp(Arc::new(cache::Cache {
            zones: vec![([0].into(), 0)],
            success: range,
            denial: range,
            success_disabled: Vec::new(),
            denial_disabled: Vec::new(),
            servfail: 5,
            prefetch: None,
            stale: None,
            keep_ttl: false,
            table: cache::Table::new(1_024, 1_024),
        }))
    };
    // What no rule is about goes the short way.
    let rule = |action| rewrite::Rule {
        continues: false,
        action,
    };
    let matcher = |form, text: &str| Matcher::new(form, text);
    let rules = vec![
        rule(Action::Name {
            from: matcher(Form::Exact, "web.default.svc.cluster.local."),
            to: "db.default.svc.cluster.local.".into(),
            auto: true,
            answers: Vec::new(),
        }),
        rule(Action::Response(
            matcher(Form::Prefix, "big."),
            ResponseRule::Ttl(7, 7),
        )),
        rule(Action::Type(RType(255), RType::A)),
    ];
    let rewrite = Stage::Rewrite(Arc::new(rewrite::Rewrite::new(rules, None)));
    // So does what ends otherwise than the names of a hosts file, if others are left to the cluster.
    let wire = |text: &str| wire_from_text(text).expect("a name");
    let hosts = |names: &[&str], fallthrough: &[&str]| {
        let mut inline = hosts::Table::default();
        for text in names {
            inline.add(&wire(text), v4(250).into(), true);
        }
        Stage::Hosts(Arc::new(hosts::Hosts {
            zones: Zones::new([wire(".")]),
            path: Default::default(),
            file: Arc::default(),
            inline,
            ttl: TTL,
            fallthrough: Zones::new(fallthrough.iter().map(|text| wire(text))),
            fallthrough_unsupported: false,
        }))
    };
    let dns64 = dns64::Dns64 {
        prefix: "64:ff9b::/96".parse().expect("a prefix"),
        translate_all: false,
        allow_ipv4: true,
    };
    let stages = [
        None,
        Some(clamp(range(5, TTL))),
        Some(clamp(range(5, TTL - 1))),
        Some(rewrite),
        Some(hosts(&["node-1", "*.example.org"], &["."])),
        Some(hosts(&["web.default.svc.cluster.local"], &["."])),
        Some(hosts(&["node-1"], &["arpa"])),
        Some(Stage::Nsid(b"a".as_slice().into())),
        Some(Stage::Bufsize(700)),
        Some(Stage::NoAaaa(Arc::new(Zones::new([wire("cluster.local")])))),
        Some(Stage::Dns64(dns64)),
    ];
    let both = stages.into_iter().map(|stage| {
        let detector = Stage::Loop(Arc::new(loop_::Loop::new([0].into(), |_| {})));
        let cluster = cluster();
        let short = stage.iter().cloned().collect();
        let long = [detector].into_iter().chain(stage).collect();
        (
            cluster.listener(short, PodMode::Insecure),
            cluster.listener(long, PodMode::Insecure),
        )
    });
    both.collect()
}

/// The answer section as `TYPE data`, in order.
fn answers(message: &Message) -> Vec<String> {
    message
        .answers
        .iter()
        .map(|record| format!("{} {}", record.record_type(), record.data))
        .collect()
}

#[test]
fn names_exist_as_coredns_has_them() {
    use RecordType::{A, AAAA, CNAME, MX, NS, PTR, SOA, SRV, TXT};
    use ResponseCode::{NXDomain, NoError, Refused, ServFail};
    let listener = cluster().listener(vec![], PodMode::Insecure);
    let z = |name: &str| format!("{name}.cluster.local");
    let none: &[&str] = &[];
    let cases: &[(String, RecordType, ResponseCode, &[&str])] = &[
        (z("web.default.svc"), A, NoError, &["A 10.96.0.10"]),
        (z("WEB.Default.svc"), A, NoError, &["A 10.96.0.10"]),
        (z("web.default.svc"), AAAA, NoError, none),
        (
            z("web.default.svc"),
            SRV,
            NoError,
            &[
                "SRV 0 50 80 web.default.svc.cluster.local.",
                "SRV 0 50 443 web.default.svc.cluster.local.",
            ],
        ),
        (
            z("_http._tcp.web.default.svc"),
            SRV,
            NoError,
            &["SRV 0 100 80 web.default.svc.cluster.local."],
        ),
        (z("http.tcp.web.default.svc"), A, NoError, &["A 10.96.0.10"]),
        (z("_http._udp.web.default.svc"), SRV, NXDomain, none),
        (
            z("db.default.svc"),
            A,
            NoError,
            &["A 10.244.0.1", "A 10.244.0.2"],
        ),
        (z("db-1.db.default.svc"), A, NoError, &["A 10.244.0.2"]),
        (z("10-244-0-2.db.default.svc"), A, NXDomain, none),
        (
            z("_sql._tcp.db.default.svc"),
            SRV,
            NoError,
            &[
                "SRV 0 50 5432 db-0.db.default.svc.cluster.local.",
                "SRV 0 50 5432 db-1.db.default.svc.cluster.local.",
            ],
        ),
        (z("idle.default.svc"), A, NXDomain, none),
        (z("missing.default.svc"), A, NXDomain, none),
        (z("a.b.c.web.default.svc"), A, NXDomain, none),
        // Empty non-terminals exist, but TXT is odd there.
        (z("default.svc"), A, NoError, none),
        (z("svc"), A, NoError, none),
        (z("pod"), A, NoError, none),
        (z("svc"), TXT, NXDomain, none),
        (z("web.default.svc"), TXT, NoError, none),
        (z("missing.svc"), A, NXDomain, none),
        (z("dns"), A, NXDomain, none),
        (z("1-2-3-4.default.pod"), A, NoError, &["A 1.2.3.4"]),
        (z("1-2-3-4.default.pod"), AAAA, NoError, none),
        (z("1-2-3.default.pod"), A, NXDomain, none),
        (z("1-2-3-4.missing.pod"), A, NXDomain, none),
        (z("dns-version"), TXT, NoError, &["TXT 1.1.0"]),
        (z("dns-version"), A, NXDomain, none),
        (
            "cluster.local".into(),
            NS,
            NoError,
            &["NS ns.dns.cluster.local."],
        ),
        (z("ns.dns"), A, NoError, &["A 10.244.0.53"]),
        (z("ns.dns"), AAAA, NoError, none),
        (z("nothing.at.all"), SOA, NoError, none),
        (z("web.default.svc"), MX, NoError, none),
        (
            "1.0.244.10.in-addr.arpa".into(),
            PTR,
            NoError,
            &["PTR db-0.db.default.svc.cluster.local."],
        ),
        ("9.0.244.10.in-addr.arpa".into(), PTR, NXDomain, none),
        ("web.default.svc.in-addr.arpa".into(), A, NXDomain, none),
        (z("ext.default.svc"), A, NoError, &["CNAME example.com."]),
        (
            z("ext.default.svc"),
            CNAME,
            NoError,
            &["CNAME example.com."],
        ),
        (z("ext.default.svc"), SRV, NoError, none),
        (z("x.ext.default.svc"), A, NXDomain, none),
        (
            z("alias.default.svc"),
            A,
            NoError,
            &["CNAME web.default.svc.cluster.local.", "A 10.96.0.10"],
        ),
        (z("alias.default.svc"), AAAA, NoError, none),
        (z("ring.default.svc"), A, NoError, none),
        (z("dead.default.svc"), A, NoError, none),
        ("example.com".into(), A, ServFail, none),
        ("cluster.local".into(), RecordType::AXFR, Refused, none),
    ];
    for (name, qtype, rcode, expected) in cases {
        let message = ask(&listener, name, *qtype);
        assert_eq!(message.metadata.response_code, *rcode, "{name} {qtype}");
        let found = answers(&message);
        let found = found.iter().map(|text| text.trim()).collect::<Vec<_>>();
        assert_eq!(found, *expected, "{name} {qtype}");
        let negative = expected.is_empty() && matches!(rcode, NoError | NXDomain);
        assert_eq!(
            message.authorities.len(),
            usize::from(negative),
            "{name} {qtype}: SOA"
        );
        assert_eq!(
            message.metadata.authoritative,
            !matches!(rcode, ServFail | Refused),
            "{name} {qtype}: AA"
        );
        assert!(!message.metadata.recursion_available, "{name} {qtype}: RA");
    }
}

#[test]
fn before_the_first_list_missing_names_are_servfail() {
    let cluster = Cluster {
        index: Arc::default(),
        ..Cluster::new()
    };
    let listener = cluster.listener(vec![], PodMode::Disabled);
    let message = ask(&listener, "web.default.svc.cluster.local", RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::ServFail);
    cluster.index.set_synced();
    let message = ask(&listener, "web.default.svc.cluster.local", RecordType::A);
    assert_eq!(message.metadata.response_code, ResponseCode::NXDomain);
}

#[test]
fn answers_are_cut_where_the_payload_size_ends() {
    let listener = cluster().listener(vec![], PodMode::Disabled);
    let name = "big.default.svc.cluster.local";
    // Header 12, question 35, records of 16 octets, an OPT of 11.
    let cases = [
        (None, false, (512 - 47) / 16, true),
        (Some(100), false, (512 - 58) / 16, true),
        (Some(1232), false, (1232 - 58) / 16, true),
        (Some(3257), false, 199, true),
        (Some(3258), false, 200, false),
        (None, true, 200, false),
    ];
    for (size, stream, count, truncated) in cases {
        let reply = ask_raw(&listener, &query(name, RecordType::A, size), stream).unwrap();
        let message = Message::from_vec(&reply).unwrap();
        assert_eq!(message.answers.len(), count, "{size:?} {stream}");
        assert_eq!(message.metadata.truncation, truncated, "{size:?} {stream}");
        assert!(stream || reply.len() <= usize::from(size.unwrap_or(512)).max(512));
    }
}

#[test]
fn rotation_changes_the_order_and_nothing_else() {
    let listener = cluster().listener(vec![Stage::LoadBalance], PodMode::Disabled);
    let mut firsts = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let mut found = answers(&ask(
            &listener,
            "db.default.svc.cluster.local",
            RecordType::A,
        ));
        firsts.insert(found[0].clone());
        found.sort();
        assert_eq!(found, ["A 10.244.0.1", "A 10.244.0.2"]);
    }
    assert_eq!(firsts.len(), 2, "each address comes first now and then");
}

#[test]
fn the_clients_spelling_is_echoed() {
    let listener = cluster().listener(vec![], PodMode::Disabled);
    let message = ask(&listener, "Web.DEFAULT.svc.Cluster.LOCAL", RecordType::SRV);
    let owner = message.answers[0].name.to_string();
    assert_eq!(owner, "Web.DEFAULT.svc.Cluster.LOCAL.");
    assert_eq!(
        answers(&message)[0],
        "SRV 0 50 80 web.default.svc.Cluster.LOCAL."
    );
}

#[test]
fn glue_stands_under_the_targets_of_srv_records() {
    let listener = cluster().listener(vec![], PodMode::Disabled);
    let reply = ask_raw(
        &listener,
        &query("big.default.svc.cluster.local", RecordType::SRV, None),
        true,
    );
    let message = Message::from_vec(&reply.unwrap()).unwrap();
    assert_eq!(
        (message.answers.len(), message.additionals.len()),
        (200, 200)
    );
    for (record, glue) in message.answers.iter().zip(&message.additionals) {
        assert!(
            record.data.to_string().ends_with(&glue.name.to_string()),
            "{record} {glue}"
        );
        let dashed = glue.data.to_string().replace('.', "-");
        assert!(glue.name.to_string().starts_with(&dashed), "{glue}");
    }
}

#[test]
fn edns_is_echoed_and_other_versions_are_refused() {
    let listener = cluster().listener(vec![], PodMode::Disabled);
    let mut message = query("web.default.svc.cluster.local", RecordType::A, Some(1400));
    let end = message.len();
    message[end - 4] = 0x80; // DO
    message[end - 1] = 4 + 8 + 4 + 2;
    message.extend([0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]); // A cookie: comes back.
    message.extend([0, 8, 0, 2, 9, 9]); // Client subnet: does not.
    let reply = ask_raw(&listener, &message, false).unwrap();
    let opt = &reply[reply.len() - 23..];
    assert_eq!(
        opt,
        [
            0, 0, 41, 5, 120, 0, 0, 0x80, 0, 0, 12, 0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8
        ]
    );
    message[end - 5] = 1; // EDNS version
    let reply = ask_raw(&listener, &message, false).unwrap();
    assert_eq!(
        reply[reply.len() - 11..],
        [0, 0, 41, 0, 0, 1, 0, 0, 0, 0, 0],
        "BADVERS, size 0"
    );
    assert_eq!(reply[3] & 15, 0);
}

fn well_formed_or_silent(listener: &Listener, message: &[u8]) -> Result<(), TestCaseError> {
    for stream in [false, true] {
        if let Some(reply) = ask_raw(listener, message, stream) {
            prop_assert!(reply[2] & 0x80 != 0, "QR is set");
            prop_assert_eq!(&reply[..2], &message[..2], "the ID comes back");
            prop_assert!(Message::from_vec(&reply).is_ok(), "{:02x?}", reply);
        }
    }
    Ok(())
}

/// Every kind of name that has a short way of its own, and what stands beside it.
#[test]
fn endpoints_and_ports_go_both_ways() {
    const NAMES: &[&str] = &[
        "_http._tcp.web",
        "http.tcp.web",
        "_HTTP._Tcp.Web",
        "_http._udp.web",
        "_x._tcp.web",
        "_http._tcp.no",
        "_dns._udp.six",
        "_dns._tcp.six",
        "_sip._sctp.six",
        "_dns._udp.both",
        "_dns._udp.flip",
        "_sql._tcp.db",
        "_x._tcp.big",
        "_http._tcp.ext",
        "_x._x.idle",
        "a._http._tcp.web",
        "_tcp.web",
        "db-0.db",
        "DB-1.Db",
        "db-2.db",
        "10-1-0-7.big",
        "10-1-0-07.big",
        "10-1-1-7.big",
        "--1.six",
        "--1.both",
        "x.web",
        "x.ext",
        "x.idle",
        "x.no",
    ];
    for name in NAMES {
        for zone in [
            "default.svc.cluster.local",
            "Default.SVC.Cluster.Local",
            "other.svc.cluster.local",
        ] {
            for qtype in [
                RecordType::A,
                RecordType::AAAA,
                RecordType::SRV,
                RecordType::ANY,
            ] {
                for size in [None, Some(512), Some(1_232)] {
                    let message = query(&format!("{name}.{zone}"), qtype, size);
                    for ((short, long), stream) in
                        BOTH_WAYS.iter().zip([false, true].into_iter().cycle())
                    {
                        let [short, long] = [short, long].map(|it| ask_raw(it, &message, stream));
                        assert_eq!(short, long, "{name}.{zone} {qtype} {size:?}");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_octets_get_a_well_formed_reply_or_none(message in prop::collection::vec(any::<u8>(), 0..200)) {
        well_formed_or_silent(&cluster().listener(vec![Stage::LoadBalance], PodMode::Insecure), &message)?;
    }

    #[test]
    fn damaged_queries_get_a_well_formed_reply_or_none(
        name in "([a-z0-9_-]{1,12}\\.){0,6}(web|db|big|ext|alias)\\.default\\.(svc|pod)\\.cluster\\.local",
        qtype in prop::sample::select(vec![1_u16, 2, 5, 6, 12, 16, 28, 33, 64, 252, 255]),
        size in prop::option::of(any::<u16>()),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut message = query(&name, qtype.into(), size);
        for (place, octet) in damage {
            let len = message.len();
            message[place.index(len)] = octet;
        }
        well_formed_or_silent(&cluster().listener(vec![Stage::LoadBalance], PodMode::Insecure), &message)?;
    }

    #[test]
    fn the_short_way_leads_where_the_chain_does(
        (left, middle, zone) in (
            "(([a-zA-Z0-9_-]{1,9}|ns|dns|a\\.b\\.c)\\.){0,3}",
            "((web|Web|db|db-0\\.db|10-1-0-7\\.(big|web)|_?(http|HTTP)\\._?tcp\\.(Web|web|big|db)|big|idle|ext|no)\\.(default|other|ns\\.dns)\\.)?(svc\\.|Svc\\.|pod\\.|ns\\.dns\\.|dns\\.)?",
            prop::sample::select(vec!["cluster.local", "CLUSTER.local", "1.10.in-addr.arpa", "example.org"]),
        ),
        qtype in prop::sample::select(vec![1_u16, 1, 1, 28, 28, 5, 33, 33, 33, 16, 255]),
        size in prop::option::of(prop::sample::select(vec![0_u16, 512, 600, 1_232, 65_535])),
        (flags, class, version, edns_flags, options) in (
            prop::sample::select(vec![0x0100_u16, 0x0000, 0x0130, 0x07ff, 0x2000]),
            prop::sample::select(vec![1_u8, 1, 1, 1, 3, 255]),
            prop::sample::select(vec![0_u8, 0, 0, 0, 1]),
            any::<u16>(),
            prop::sample::select(vec![&b""[..], b"", b"\0\x0a\0\x02ab", b"\0\x03\0\0", PADDING]),
        ),
        stream in any::<bool>(),
    ) {
        let mut message = query(&format!("{left}{middle}{zone}"), qtype.into(), size);
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        let class_at = message.len() - if size.is_some() { 12 } else { 1 };
        message[class_at] = class;
        if size.is_some() {
            let at = message.len() - 5;
            message[at] = version;
            message[at + 1..at + 3].copy_from_slice(&edns_flags.to_be_bytes());
            message[at + 3..at + 5].copy_from_slice(&(options.len() as u16).to_be_bytes());
            message.extend(options);
        }
        for (short, long) in &*BOTH_WAYS {
            let (short, long) = (ask_raw(short, &message, stream), ask_raw(long, &message, stream));
            prop_assert_eq!(short, long, "{:02x?}", message);
        }
    }

    #[test]
    fn any_addresses_come_back_as_they_are(
        addresses in prop::collection::hash_set(any::<[u8; 4]>(), 1..300)
    ) {
        let cluster = Cluster::new();
        let list = addresses.iter().map(|&octets| IpAddr::from(octets)).collect::<Box<_>>();
        cluster.service("many", ServiceKind::ClusterIp(list), vec![], vec![]);
        let listener = cluster.listener(vec![Stage::LoadBalance], PodMode::Disabled);
        let message = query("many.default.svc.cluster.local", RecordType::A, None);
        let reply = ask_raw(&listener, &message, true).unwrap();
        let mut found = answers(&Message::from_vec(&reply).unwrap());
        found.sort();
        let mut expected = addresses.iter().map(|octets| format!("A {}", Ipv4Addr::from(*octets))).collect::<Vec<_>>();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
