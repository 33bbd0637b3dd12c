//! The first promise of the fast path: answering and counting allocate nothing.

use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture::{self, PAYLOAD_SIZE, QueryKind};
use martlet_bench::load::QuerySet;
use martlet_engine::log::LogSink;
use martlet_engine::respond::{Response, Scratch, respond};

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
