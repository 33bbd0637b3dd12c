//! One worker over loopback, beside the bare echo on the same core.
//!
//! Not a criterion bench: what counts is the ratio of two servers that one generator takes in
//! turns, because a shared machine is not equally fast from one second to the next. Server and echo
//! are pinned to the first core, the generator to the second one where there is one. For whole
//! servers as processes, with memory and CPU time, there is `martlet-versus`.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use martlet_bench::cluster::queries::{List, Questions};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::echo::{Echo, Mode};
use martlet_bench::load::{self, Latency, QuerySet, Settings};
use martlet_bench::served::{Effort, Served, core};
use martlet_bench::{fail, fixture};

const LISTS: [List; 5] = [
    List::InCluster,
    List::NxDomain,
    List::Ptr,
    List::Srv,
    List::SearchMix,
];

/// Questions of each list: enough that answers come from memory, not from one cache line.
const QUESTIONS: usize = 20_000;

fn main() -> ExitCode {
    let effort = match Effort::from_arguments(NAME) {
        None => return ExitCode::SUCCESS,
        Some(Effort::Measure) => &MEASURE,
        Some(Effort::Try) => &TRY,
    };
    match run(effort) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

const NAME: &str = "end_to_end";

struct Scale {
    shape: fn() -> Shape,
    rounds: usize,
    warm_up: Duration,
    duration: Duration,
}

const MEASURE: Scale = Scale {
    shape: Shape::default,
    rounds: 5,
    warm_up: Duration::from_millis(200),
    duration: Duration::from_secs(1),
};

/// Whether it runs at all.
const TRY: Scale = Scale {
    shape: || Shape {
        services: 500,
        endpoints: 5_000,
        namespaces: 10,
        ..Shape::default()
    },
    rounds: 1,
    warm_up: Duration::ZERO,
    duration: Duration::from_millis(200),
};

fn run(effort: &Scale) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::new((effort.shape)())?;
    let (_store, index) = fixture::publish(&cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let server = Served::start(index, |_| {})?;
    let echo = Echo::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Mode::Batched,
        core(0),
    )?;
    let run = |server, queries: &QuerySet| {
        let settings = Settings {
            warm_up: effort.warm_up,
            duration: effort.duration,
            core: core(1),
            ..Settings::new(server)
        };
        load::run(&settings, queries)
    };
    println!(
        "{NAME}: one worker, closed loop, {} rounds of {:?}",
        effort.rounds, effort.duration
    );
    for list in LISTS {
        let questions = Questions::new(&cluster, list).take(QUESTIONS);
        let queries = QuerySet::collect(questions, Some(fixture::PAYLOAD_SIZE))?;
        let mut rounds = Vec::with_capacity(effort.rounds);
        for _ in 0..effort.rounds {
            rounds.push((
                run(echo.address(), &queries)?,
                run(server.address, &queries)?,
            ));
        }
        // By ratio: the round in the middle is the one to show.
        rounds.sort_by(|(a, b), (c, d)| (b.rate / a.rate).total_cmp(&(d.rate / c.rate)));
        let (echo, martlet) = &rounds[rounds.len() / 2];
        let name = list.file_name().trim_end_matches(".txt");
        println!(
            "{NAME}/{name}: ratio {:.3} to the echo",
            martlet.rate / echo.rate
        );
        for (server, report) in [("echo", echo), ("martlet", martlet)] {
            let Latency { p50, p99, p999, .. } = report.latency_us;
            println!(
                "    {server:<8} {:>8.0} q/s  p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, \
                 lost {}, {}",
                report.rate,
                report.tally.lost,
                report.tally.rcodes_text(),
            );
        }
        if martlet.tally.answered == 0 {
            return Err(format!("{name}: the server answered nothing").into());
        }
    }
    server.stop();
    Ok(())
}
