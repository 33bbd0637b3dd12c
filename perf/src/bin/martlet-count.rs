//! Answers queries of one kind so that a tool can count what an answer costs; `perf/instructions`
//! runs it under callgrind, which is told to look at [`counted`] alone.
//!
//! Usage: `martlet-count KIND`; prints how many queries [`counted`] answered.

use std::process::ExitCode;

use martlet_engine::chain::{Listener, Peer};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Recorder;
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_perf::sample::Kind;
use martlet_perf::{external, sample, seam};

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_default();
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == argument) else {
        let kinds = Kind::ALL.map(Kind::as_str).join("|");
        eprintln!("usage: martlet-count {kinds}");
        return ExitCode::from(2);
    };
    println!("{}", run(kind));
    ExitCode::SUCCESS
}

fn run(kind: Kind) -> usize {
    let mut listener = seam::listener(sample::cluster(), Vec::new());
    let upstreams = external::forward(&mut listener, &[]);
    let metrics = seam::count(&mut listener);
    let mut recorder = metrics.recorder();
    let (log, _lines) = LogSink::new();
    let mut scratch = Scratch::default();
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
    }
    let peer = seam::peer();
    for query in &queries {
        let response = counted(
            query,
            peer,
            &listener,
            &log,
            (&mut scratch, &mut recorder),
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
    buf: &mut [u8],
) -> Response {
    let response = respond(query, peer, listener, log, scratch, buf);
    recorder.record(&scratch.seen);
    response
}
