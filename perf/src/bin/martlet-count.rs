//! Answers queries of one kind so that a tool can count what an answer costs; `perf/instructions`
//! runs it under callgrind, which is told to look at [`counted`] alone.
//!
//! Usage: `martlet-count KIND SEED`; prints how many queries [`counted`] answered. The seed decides
//! which names collide in the index, and with it a part of the instructions: a count is the mean over
//! several seeds.

use std::process::ExitCode;

use martlet_engine::chain::{Listener, Peer};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Recorder;
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_engine::top::{Observer, Window};
use martlet_engine::wire::name::fix_seed;
use martlet_perf::sample::Kind;
use martlet_perf::{external, sample, seam};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
    let seed = arguments.next().and_then(|seed| seed.parse().ok());
    let (Some(kind), Some(seed)) = (kind, seed) else {
        let kinds = Kind::ALL.map(Kind::as_str).join("|");
        eprintln!("usage: martlet-count {kinds} SEED");
        return ExitCode::from(2);
    };
    fix_seed(seed);
    println!("{}", run(kind, seed));
    ExitCode::SUCCESS
}

fn run(kind: Kind, seed: u64) -> usize {
    let mut listener = seam::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = seam::count(&mut listener);
    let mut recorder = metrics.recorder();
    let (log, _lines) = LogSink::new();
    let mut scratch = Scratch::default();
    let (mut observer, window) = (Observer::new(seed), Window::default());
    let mut buf = vec![0; 65_535];
    let queries = kind.queries();
    let peer = seam::peer();
    // Everything that is made once is made here, and the cache is filled.
    for query in &queries {
        let mut response = respond(query, peer, &listener, &log, &mut scratch, &mut buf);
        if response == Response::Slow {
            let gathered = external::exchanged(&upstreams, query);
            response = external::store(&listener, &log, &gathered, query, &mut scratch, &mut buf);
        }
        assert!(matches!(response, Response::Reply(_)), "{kind:?}: no reply");
        recorder.record(&scratch.seen);
    }
    let peer = seam::peer();
    for query in &queries {
        let response = counted(
            query,
            peer,
            &listener,
            &log,
            (&mut scratch, &mut recorder),
            (&mut observer, &window),
            &mut buf,
        );
        assert!(
            matches!(response, Response::Reply(_)),
            "{kind:?}: {response:?}"
        );
        assert_eq!(
            ([buf[2], buf[3]], buf[7]),
            kind.expected(),
            "{kind:?}: flags and answers"
        );
    }
    queries.len()
}

/// One answer, and the counting of it: what a worker does for each datagram of a batch.
#[inline(never)]
fn counted(
    query: &[u8],
    peer: Peer,
    listener: &Listener,
    log: &LogSink,
    (scratch, recorder): (&mut Scratch, &mut Recorder),
    (observer, window): (&mut Observer, &Window),
    buf: &mut [u8],
) -> Response {
    let response = respond(query, peer, listener, log, scratch, buf);
    recorder.record(&scratch.seen);
    observer.see(window, scratch, peer.remote.ip(), peer.received);
    response
}
