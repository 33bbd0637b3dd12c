//! Writing replies: what is left of an answer once the query is read and the entry found.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::Criterion;
use martlet_bench::fixture::{PAYLOAD_SIZE, TTL};
use martlet_engine::index::{
    Addresses, Encoded, EndpointSlice, ServiceKind, ServiceNode, ServiceParts,
};
use martlet_engine::wire::reply::Owner;
use martlet_engine::wire::{Class, FoldedName, Query, RType, Rcode, Reply, Section};
use martlet_perf::sample;

const NAME: &str = "order-api-4711.checkout-12.svc.cluster.local";
const PORT_NAME: &str = "_http._tcp.order-api-4711.checkout-12.svc.cluster.local";
/// Octets of the question's name before the cluster's domain.
const SUFFIX: usize = "order-api-4711.checkout-12.svc.".len();
const PORT_SUFFIX: usize = "_http._tcp.".len();
const ENDPOINTS: u8 = 50;

/// Name, question, payload size, what writes the reply, and how many answers it has then.
type Case<'w> = (&'w str, &'w str, RType, Option<u16>, Write<'w>, u16);
type Write<'w> = &'w dyn Fn(&mut Reply<'_>);

pub(crate) fn encode(criterion: &mut Criterion) {
    let one = node(ServiceKind::ClusterIp(Box::new([address(1)])), 0);
    let many = node(ServiceKind::Headless, ENDPOINTS);
    let mut group = criterion.benchmark_group("encode");
    let (edns, plain) = (Some(PAYLOAD_SIZE), None);
    let cases: [Case<'_>; 5] = [
        ("a", NAME, RType::A, edns, &|reply| rrset(&one, reply), 1),
        (
            "headless_50",
            NAME,
            RType::A,
            edns,
            &|reply| rrset(&many, reply),
            50,
        ),
        ("srv", PORT_NAME, RType::SRV, edns, &srv, 1),
        ("nxdomain_soa", NAME, RType::A, edns, &nxdomain, 0),
        // What fits 512 octets without EDNS.
        (
            "truncated",
            NAME,
            RType::A,
            plain,
            &|reply| rrset(&many, reply),
            28,
        ),
    ];
    for (case, name, qtype, payload_size, write, answers) in cases {
        let octets = sample::query(name, qtype, payload_size);
        let mut folded = FoldedName::default();
        let query = Query::parse(&octets, &mut folded).expect("a constant query");
        let mut buf = vec![0; 65_535];
        let mut run = || {
            let mut reply = Reply::new(&mut buf, black_box(&query), false);
            reply.set_authoritative();
            write(&mut reply);
            let count = reply.count(Section::Answer);
            (reply.finish(query.edns.as_ref()), count)
        };
        assert_eq!(run().1, answers, "{case}");
        group.bench_function(case, |bencher| bencher.iter(|| black_box(run())));
    }
    group.finish();
}

/// The encoded addresses, as they lie in the index.
fn rrset(node: &ServiceNode, reply: &mut Reply<'_>) {
    let Some(Encoded::A(records)) = node.encoded(RType::A) else {
        panic!("it has addresses");
    };
    reply.copy_rrset(Section::Answer, records, 0);
}

/// One port, and the address of its target.
fn srv(reply: &mut Reply<'_>) {
    let begun = reply.begin(Section::Answer, Owner::Question, RType::SRV, Class::IN, TTL);
    reply.put(&[0, 0, 0, 100, 0, 80]);
    reply.put_question_suffix(PORT_SUFFIX);
    reply.end(begun);
    let owner = Owner::QuestionSuffix(PORT_SUFFIX);
    reply.record(Section::Additional, owner, RType::A, TTL, &[10, 96, 0, 1]);
}

fn nxdomain(reply: &mut Reply<'_>) {
    reply.set_rcode(Rcode::NXDOMAIN);
    let owner = Owner::QuestionSuffix(SUFFIX);
    let begun = reply.begin(Section::Authority, owner, RType::SOA, Class::IN, TTL);
    reply.put_labels_under(b"\x02ns\x03dns", SUFFIX);
    reply.put_labels_under(b"\x0ahostmaster", SUFFIX);
    reply.put(&[1; 20]);
    reply.end(begun);
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(10, 96, 0, last).into()
}

fn node(kind: ServiceKind, endpoints: u8) -> ServiceNode {
    let pods = (1..=endpoints).map(|last| Ipv4Addr::new(10, 128, 0, last));
    let slice = EndpointSlice {
        ports: Arc::default(),
        addresses: Addresses::V4(pods.collect()),
        names: None,
        zones: None,
    };
    ServiceNode::build(ServiceParts {
        kind,
        ports: Arc::default(),
        slices: Box::new([Arc::new(slice)]),
        ttl: TTL,
        ignore_empty: false,
    })
}
