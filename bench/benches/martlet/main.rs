//! All benches in one program, which is linked with all optimisations once: `cargo bench`, or
//! `cargo bench -- GROUP` for those whose names have this in them.

mod cache;
mod chain;
mod dead_upstream;
mod encode;
mod end_to_end;
mod lookup;
mod parse;
mod publish;
mod top;

use std::process::ExitCode;
use std::time::Duration;

use criterion::Criterion;

fn main() -> ExitCode {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    parse::parse(&mut criterion);
    lookup::lookup(&mut criterion);
    encode::encode(&mut criterion);
    cache::cache(&mut criterion);
    publish::publish(&mut criterion);
    chain::chain(&mut criterion);
    top::top(&mut criterion);
    end_to_end::end_to_end(&mut criterion);
    criterion.final_summary();
    match dead_upstream::dead_upstream() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&*error),
    }
}
