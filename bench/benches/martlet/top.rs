//! What it costs a query that the busiest clients and names are told: an answer alone, with the observer
//! that a worker has behind it, and with one that looks at every query, which none does.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::Criterion;
use martlet_engine::log::LogSink;
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_engine::top::{Observer, Window};
use martlet_perf::sample::{self, Kind};
use martlet_perf::seam;

/// Clients that ask in turn; more than have a place in a sketch.
const CLIENTS: u32 = 1_000;

#[derive(Clone, Copy)]
enum Looks {
    Never,
    AsWorkersDo,
    Always,
}

pub(crate) fn top(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("top");
    let queries = Kind::IndexHit.queries();
    let listener = seam::listener(sample::cluster(), Vec::new());
    let (log, _lines) = LogSink::new();
    let mut peer = seam::peer();
    for (name, looks) in [
        ("nobody_looks", Looks::Never),
        ("as_workers_do", Looks::AsWorkersDo),
        ("at_every_query", Looks::Always),
    ] {
        let (window, mut observer) = (Window::default(), Observer::new(1));
        let (mut scratch, mut buf) = (Scratch::default(), vec![0; 65_535]);
        let (mut next, mut client) = (queries.iter().cycle(), 0);
        let mut run = || {
            let query = next.next().expect("it goes round");
            client = (client + 1) % CLIENTS;
            peer.remote
                .set_ip(Ipv4Addr::from(0x0a80_0000 + client).into());
            let response = respond(
                black_box(query),
                peer,
                &listener,
                &log,
                &mut scratch,
                &mut buf,
            );
            match looks {
                Looks::Never => {}
                Looks::AsWorkersDo => {
                    if observer.looks() {
                        window.see(&scratch, &peer);
                    }
                }
                Looks::Always => window.see(&scratch, &peer),
            }
            response
        };
        assert!(matches!(run(), Response::Reply(_)), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(run())));
    }
    group.finish();
}
