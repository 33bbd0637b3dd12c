//! Answers queries of one kind so that a tool can count what an answer costs; `perf/instructions`
//! runs it under callgrind, which is told to look at [`counted`] alone.
//!
//! Usage: `martlet-count KIND SEED`; prints how many queries [`counted`] answered. The seed decides
//! which names collide in the index, and with it a part of the instructions: a count is the mean over
//! several seeds.

use std::process::ExitCode;

use martlet_engine::chain::Listener;
use martlet_engine::limits::BATCH_MAX;
use martlet_engine::log::LogSink;
use martlet_engine::wire::name::fix_seed;
use martlet_perf::sample::Kind;
use martlet_perf::turn::Turn;
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
    let (log, _lines) = LogSink::new();
    let mut turn = Turn::new(metrics.recorder(), seed);
    let queries = kind.queries();
    let messages: Vec<&[u8]> = queries.iter().map(Vec::as_slice).collect();
    // Everything that is made once is made here, and the cache is filled.
    turn.prepare(&messages, (&listener, &log), &upstreams);
    for batch in messages.chunks(BATCH_MAX) {
        counted(&mut turn, batch, (&listener, &log));
        assert_eq!(turn.unanswered(), 0, "{kind:?}: not all were answered");
        kind.check(turn.reply().unwrap_or_default());
    }
    queries.len()
}

/// The answers to a batch, and the counting of them: what a worker does between its system calls.
#[inline(never)]
fn counted(turn: &mut Turn, batch: &[&[u8]], plan: (&Listener, &LogSink)) {
    turn.answer(batch, plan);
}
