//! Names of upstreams at the packet seam: from the cache, past it, and into it.
//!
//! `hit` is a reply from the cache, names in random order; `miss` ends where the query would be
//! copied for the slow path; `store` walks the chain with the upstream's reply at hand, writes the
//! client's reply and keeps it. `store/new` has another name each time in a full table, so that
//! something has to leave; `store/again` replaces what was there.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use martlet_bench::fixture;
use martlet_engine::log::LogSink;
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_engine::wire::RType;
use martlet_perf::{external, sample};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

pub(crate) fn cache(criterion: &mut Criterion) {
    let mut listener = fixture::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let (log, _lines) = LogSink::new();
    let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
    let mut kept = queries("kept");
    for query in &kept {
        let gathered = external::exchanged(&upstreams, query);
        external::store(&listener, &log, &gathered, query, &mut scratch, &mut buf);
    }
    kept.shuffle(&mut Pcg64Mcg::seed_from_u64(1));
    let mut group = criterion.benchmark_group("cache");

    // What is measured must not expire meanwhile, so the clock of the queries stands still.
    let peer = fixture::peer();
    let missing = queries("missing");
    for (name, queries) in [("hit", &kept), ("miss", &missing)] {
        let mut turn = queries.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let query = black_box(turn.next().expect("endless"));
                let response = respond(query, peer, &listener, &log, &mut scratch, &mut buf);
                assert_eq!(response == Response::Slow, name == "miss");
                black_box(response)
            });
        });
    }

    // More than the table holds, or later turns would find their names there.
    let new: Vec<_> = (0..4)
        .flat_map(|part| queries(&format!("new{part}")))
        .collect();
    for (name, queries) in [("store/new", &new[..]), ("store/again", &kept[..64])] {
        let mut turn = queries.iter().cycle();
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || {
                    let query = turn.next().expect("endless");
                    (query, external::exchanged(&upstreams, query))
                },
                |(query, gathered)| {
                    let (scratch, buf) = (&mut scratch, &mut buf);
                    external::store(&listener, &log, &gathered, query, scratch, buf)
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn queries(prefix: &str) -> Vec<Vec<u8>> {
    let name = |n| format!("{prefix}{n}.example.com");
    (0..NAMES)
        .map(|n| sample::query(&name(n), RType::A, Some(fixture::PAYLOAD_SIZE)))
        .collect()
}

/// Most of the 9,984 that the table has room for.
const NAMES: usize = 8_192;
