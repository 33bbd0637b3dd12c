//! What answers cost in instructions, one kind of them at a time. `perf/instructions` runs this and
//! compares with the budget; gungraun runs each bench in a process of its own under callgrind, which
//! counts in [`answers`] alone.
//!
//! Which names collide in the index is drawn by a seed, in a server at random; here it is one of a few. A
//! kind's count is the mean over them.

#![expect(missing_docs, reason = "what the macros write has none")]

use crossbeam::channel::Receiver;
use gungraun::{library_benchmark, library_benchmark_group, main};
use martlet_engine::chain::Listener;
use martlet_engine::limits::BATCH_MAX;
use martlet_engine::log::{Line, LogSink};
use martlet_engine::wire::name::fix_seed;
use martlet_perf::sample::{self, ANSWERS, Kind};
use martlet_perf::turn::Turn;
use martlet_perf::{external, seam};

/// A server, and what it is asked.
struct Server {
    kind: Kind,
    listener: Listener,
    log: LogSink,
    _lines: Receiver<Line>,
    turn: Turn,
    messages: Vec<&'static [u8]>,
}

/// Everything that is made once is made here, and the cache is filled.
fn server((kind, seed): (Kind, u64)) -> Box<Server> {
    fix_seed(seed);
    let mut listener = seam::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = seam::count(&mut listener);
    let (log, lines) = LogSink::new();
    let mut turn = Turn::new(metrics.recorder(), seed);
    let queries = kind.queries().into_iter().map(|query| &*query.leak());
    let queries: Vec<&[u8]> = queries.collect();
    turn.prepare(&queries, (&listener, &log), &upstreams);
    Box::new(Server {
        kind,
        listener,
        log,
        _lines: lines,
        turn,
        messages: queries.into_iter().cycle().take(ANSWERS).collect(),
    })
}

/// `perf/instructions` reads it.
const SEEDS: u64 = 8;

fn seeds(kind: Kind) -> impl Iterator<Item = (Kind, u64)> {
    // Multiplied, as a seed wants bits all over.
    (1..=SEEDS).map(move |seed| (kind, seed.wrapping_mul(0x1e37_79b9_7f4a_7c15)))
}

// The answers to batches, and the counting of them: what a worker does between its system calls.
#[library_benchmark(setup = server, teardown = check)]
#[benches::index_hit(iter = seeds(Kind::IndexHit))]
#[benches::nodata(iter = seeds(Kind::NoData))]
#[benches::nxdomain(iter = seeds(Kind::NxDomain))]
#[benches::headless(iter = seeds(Kind::Headless))]
#[benches::truncated(iter = seeds(Kind::Truncated))]
#[benches::endpoint(iter = seeds(Kind::Endpoint))]
#[benches::port(iter = seeds(Kind::Port))]
#[benches::cache_hit(iter = seeds(Kind::CacheHit))]
fn answers(mut server: Box<Server>) -> Box<Server> {
    let Server {
        listener,
        log,
        turn,
        messages,
        ..
    } = &mut *server;
    for batch in messages.chunks(BATCH_MAX) {
        turn.answer(batch, (listener, log));
    }
    server
}

/// A query without a reply, or a last reply that is wrong, fails the bench.
fn check(server: Box<Server>) {
    let Server { kind, turn, .. } = *server;
    assert_eq!(turn.unanswered(), 0, "{kind:?}: not all were answered");
    kind.check(turn.reply().unwrap_or_default());
}

library_benchmark_group!(name = kinds, benchmarks = answers);
main!(library_benchmark_groups = kinds);
