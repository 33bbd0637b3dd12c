//! The first promise of the fast path: answering and counting allocate nothing.

use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture::{self, PAYLOAD_SIZE, QueryKind};
use martlet_bench::load::QuerySet;
use martlet_engine::log::LogSink;
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_perf::sample::Kind;
use martlet_perf::{external, sample};

#[test]
fn answers_from_the_index_allocate_nothing() {
    let shape = Shape {
        services: 500,
        endpoints: 5_000,
        namespaces: 10,
        ..Shape::default()
    };
    let cluster = Cluster::new(shape).unwrap();
    let (_store, index) = fixture::publish(&cluster);
    let mut listener = fixture::listener(index, Vec::new());
    let metrics = fixture::count(&mut listener);
    let mut recorder = metrics.recorder();
    let peer = fixture::peer();
    let (log, _lines) = LogSink::new();
    let mut scratch = Scratch::default();
    let mut buf = vec![0; 65_535];
    let mut faults = Vec::new();
    for kind in QueryKind::ALL {
        let queries = QuerySet::collect(kind.questions(&cluster, 200), Some(PAYLOAD_SIZE)).unwrap();
        let mut ask = |at| {
            let response = respond(
                queries.datagram(at),
                peer,
                &listener,
                &log,
                &mut scratch,
                &mut buf,
            );
            recorder.record(&scratch.seen);
            recorder.end_batch(|| peer.received.elapsed());
            response
        };
        // The first answers make what a thread makes once.
        for at in 0..queries.len().min(10) {
            ask(at);
        }
        let mut allocating = 0;
        for at in 0..queries.len() {
            let mut response = Response::None;
            let counted = allocation_counter::measure(|| response = ask(at));
            assert!(
                matches!(response, Response::Reply(_)),
                "{kind:?}: query {at} got no reply"
            );
            allocating += usize::from(counted.count_total > 0);
        }
        println!(
            "{:<20} {allocating} of {} answers allocate",
            kind.as_str(),
            queries.len()
        );
        if allocating > 0 {
            faults.push(format!(
                "{}: {allocating} of {} answers",
                kind.as_str(),
                queries.len()
            ));
        }
    }
    assert!(faults.is_empty(), "answers that allocated: {faults:#?}");
}

#[test]
fn answers_from_the_cache_allocate_nothing() {
    let mut listener = fixture::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = fixture::count(&mut listener);
    let mut recorder = metrics.recorder();
    let (log, _lines) = LogSink::new();
    let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
    let queries = Kind::CacheHit.queries();
    for query in &queries {
        let gathered = external::exchanged(&upstreams, query);
        external::store(&listener, &log, &gathered, query, &mut scratch, &mut buf);
    }
    let peer = fixture::peer();
    let mut allocating = 0;
    // The first answers make what a thread makes once.
    for (at, query) in queries[..10].iter().chain(&queries).enumerate() {
        let mut response = Response::None;
        let counted = allocation_counter::measure(|| {
            response = respond(query, peer, &listener, &log, &mut scratch, &mut buf);
            recorder.record(&scratch.seen);
        });
        assert!(matches!(response, Response::Reply(_)), "query {at}");
        allocating += usize::from(at >= 10 && counted.count_total > 0);
    }
    println!(
        "{:<20} {allocating} of {} answers allocate",
        "cache hit",
        queries.len()
    );
    assert_eq!(allocating, 0, "answers from the cache that allocated");
}
