//! Reading a query: what every datagram costs before anything is looked up.

use std::hint::black_box;

use criterion::Criterion;
use martlet_bench::load::QuerySet;
use martlet_engine::wire::{FoldedName, Query};

const SERVICE: &str = "order-api-4711.checkout-12.svc.cluster.local A";
const REVERSE: &str =
    "0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa PTR";

pub(crate) fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    let cases = [
        ("service", SERVICE, None),
        ("service_edns", SERVICE, Some(1_232)),
        ("ip6_arpa", REVERSE, None),
    ];
    for (name, line, payload_size) in cases {
        let queries = QuerySet::parse(line, payload_size).expect("a constant question");
        let mut folded = FoldedName::default();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let query = Query::parse(black_box(queries.datagram(0)), &mut folded);
                black_box(query.is_ok())
            });
        });
    }
    group.finish();
}
