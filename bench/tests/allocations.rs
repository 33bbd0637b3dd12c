//! The first promise of the fast path: answering and counting allocate nothing.

use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture::{self, PAYLOAD_SIZE, QueryKind};
use martlet_bench::load::QuerySet;
use martlet_engine::chain::Listener;
use martlet_engine::limits::BATCH_MAX;
use martlet_engine::log::LogSink;
use martlet_perf::sample::Kind;
use martlet_perf::turn::Turn;
use martlet_perf::{external, sample};

/// Answers messages in batches, as workers do. `check` looks at the last reply of each batch. Returns how
/// many batches allocated.
fn allocating(
    name: &str,
    turn: &mut Turn,
    messages: &[&[u8]],
    plan: (&Listener, &LogSink),
    check: impl Fn(&[u8]),
) -> usize {
    // The last one is not full, and the smallest ones of all are of one message.
    let batches = messages
        .chunks(BATCH_MAX)
        .chain(messages.chunks(1).take(10));
    let (mut all, mut allocating) = (0, 0);
    for batch in batches {
        let counted = allocation_counter::measure(|| {
            turn.answer(batch, plan);
            turn.end();
        });
        assert_eq!(turn.unanswered(), 0, "{name}: not all were answered");
        check(turn.reply().expect("all were answered"));
        allocating += usize::from(counted.count_total > 0);
        all += 1;
    }
    println!("{name:<20} {allocating} of {all} batches allocate");
    allocating
}

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
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = fixture::count(&mut listener);
    let (log, _lines) = LogSink::new();
    let mut turn = Turn::new(metrics.recorder(), 1);
    let mut faults = Vec::new();
    for kind in QueryKind::ALL {
        let queries = QuerySet::collect(kind.questions(&cluster, 200), Some(PAYLOAD_SIZE)).unwrap();
        let messages: Vec<&[u8]> = (0..queries.len()).map(|at| queries.datagram(at)).collect();
        // The first answers make what a thread makes once.
        turn.prepare(&messages[..10], (&listener, &log), &upstreams);
        let plan = (&listener, &log);
        let count = allocating(kind.as_str(), &mut turn, &messages, plan, |reply| {
            let told = (reply[3] & 0xf, reply[7] > 0 || reply[6] > 0);
            assert_eq!(told, kind.expected(), "{kind:?}");
        });
        faults.extend((count > 0).then_some((kind.as_str(), count)));
    }
    assert!(faults.is_empty(), "batches that allocated: {faults:?}");
}

#[test]
fn answers_of_each_kind_allocate_nothing() {
    let mut listener = fixture::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = fixture::count(&mut listener);
    let (log, _lines) = LogSink::new();
    let mut turn = Turn::new(metrics.recorder(), 1);
    let mut faults = Vec::new();
    for kind in Kind::ALL {
        let queries = kind.queries();
        let messages: Vec<&[u8]> = queries.iter().map(Vec::as_slice).collect();
        turn.prepare(&messages, (&listener, &log), &upstreams);
        let plan = (&listener, &log);
        let count = allocating(kind.as_str(), &mut turn, &messages, plan, |reply| {
            kind.check(reply);
        });
        faults.extend((count > 0).then_some((kind.as_str(), count)));
    }
    assert!(faults.is_empty(), "batches that allocated: {faults:?}");
}
