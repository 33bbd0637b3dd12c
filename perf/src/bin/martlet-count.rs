//! Answers queries of one kind so that a tool can count what an answer costs; `perf/instructions`
//! runs it under callgrind, which is told to look at [`counted`] alone.
//!
//! Usage: `martlet-count KIND SEED`; prints how many queries [`counted`] answered. The seed decides
//! which names collide in the index, and with it a part of the instructions: a count is the mean over
//! several seeds.

use std::ops::Range;
use std::process::ExitCode;
use std::time::Instant;

use martlet_engine::chain::{Listener, Peer};
use martlet_engine::limits::BATCH_MAX;
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Recorder;
use martlet_engine::respond::{Datagrams, Replies, Response, Scratch, respond, respond_to_all};
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
    let (observer, window) = (Observer::new(seed), Window::default());
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
    let arrived = Arrived {
        queries: &queries,
        peer,
    };
    let mut batch = Batch {
        peer,
        scratch,
        recorder,
        observer,
        window,
        buf,
        unexpected: false,
    };
    for first in (0..queries.len()).step_by(BATCH_MAX) {
        let slots = first..queries.len().min(first + BATCH_MAX);
        counted(slots, &arrived, &mut batch, (&listener, &log));
        assert!(!batch.unexpected, "{kind:?}: not all were answered");
        check(kind, &batch.buf);
    }
    queries.len()
}

/// Whether a reply is one of its kind.
fn check(kind: Kind, reply: &[u8]) {
    let told = ([reply[2], reply[3]], reply[7]);
    assert_eq!(told, kind.expected(), "{kind:?}: flags and answers");
}

/// The answers to a batch, and the counting of them: what a worker does between its system calls.
#[inline(never)]
fn counted(
    slots: Range<usize>,
    arrived: &Arrived<'_>,
    batch: &mut Batch,
    plan: (&Listener, &LogSink),
) {
    respond_to_all(slots, (arrived, batch), plan, &mut 0);
}

struct Batch {
    peer: Peer,
    scratch: Scratch,
    recorder: Recorder,
    observer: Observer,
    window: Window,
    buf: Vec<u8>,
    /// There was something else than a reply.
    unexpected: bool,
}

struct Arrived<'q> {
    queries: &'q [Vec<u8>],
    peer: Peer,
}

impl<'q> Datagrams<'q> for Arrived<'q> {
    fn message(&self, slot: usize) -> &'q [u8] {
        &self.queries[slot]
    }

    fn is_ipv6(&self, _: usize) -> Option<bool> {
        Some(self.peer.remote.is_ipv6())
    }

    fn received(&self) -> Instant {
        self.peer.received
    }

    fn peer(&self, _: usize) -> Option<Peer> {
        Some(self.peer)
    }
}

impl Replies for Batch {
    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    fn parts(&mut self) -> (&mut Scratch, &mut [u8]) {
        (&mut self.scratch, &mut self.buf)
    }

    fn done(&mut self, _: usize, response: Response) {
        self.recorder.record(&self.scratch.seen);
        if self.observer.looks() {
            self.window.see(&self.scratch, &self.peer);
        }
        // What it says is looked at afterwards, so that nothing but answering is counted.
        self.unexpected |= !matches!(response, Response::Reply(_));
    }
}
