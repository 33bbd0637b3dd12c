//! One worker over loopback, beside the bare echo on the same core.
//!
//! Not a criterion bench: what counts is the ratio of two servers that one generator takes in
//! turns, because a shared machine is not equally fast from one second to the next. Server and echo
//! are pinned to the first core, the generator to the second one where there is one. For whole
//! servers as processes, with memory and CPU time, there is `martlet-versus`.
//!
//! Rates are of closed loops, latencies of open ones at half of the rate that martlet reaches. A wrong
//! reply of martlet's fails the bench.

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use martlet_bench::cluster::queries::{List, Questions};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::echo::{Echo, Mode};
use martlet_bench::load::{self, Expect, Latency, Pace, QuerySet, Report, Settings};
use martlet_bench::served::{Effort, Served, core};
use martlet_bench::upstream::{self, Behaviour};
use martlet_bench::{fail, fixture};
use martlet_perf::external;

/// What is asked, and what right replies look like.
const LISTS: [(List, &[Expect]); 5] = [
    (List::InCluster, &[Expect::Rcode(0)]),
    (List::NxDomain, &[Expect::Rcode(3)]),
    (List::Ptr, &[Expect::Answer]),
    (List::Srv, &[Expect::Answer]),
    // Below the cluster domain there is none of these names; the upstream knows all others.
    (List::SearchMix, &[Expect::Rcode(3), Expect::Answer]),
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
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let upstream = socket.local_addr()?;
    let behaviour = Behaviour {
        ttl: fixture::TTL,
        delay: Duration::ZERO,
        silent: false,
    };
    thread::spawn(move || upstream::serve_on(&socket, behaviour));
    let server = Served::start(index, |listener| {
        external::forward(listener, &[upstream]);
    })?;
    let echo = Echo::start(
        SocketAddr::from(([127, 0, 0, 1], 0)),
        Mode::Batched,
        core(0),
    )?;
    println!(
        "{NAME}: one worker, {} rounds of {:?}",
        effort.rounds, effort.duration
    );
    for (list, expect) in LISTS {
        let questions = Questions::new(&cluster, list).take(QUESTIONS);
        let queries = QuerySet::collect(questions, Some(fixture::PAYLOAD_SIZE))?;
        let name = list.file_name().trim_end_matches(".txt");
        let run = |pace| -> Result<Vec<[Report; 2]>, Box<dyn Error>> {
            let mut rounds = Vec::with_capacity(effort.rounds);
            for _ in 0..effort.rounds {
                rounds.push([
                    measure(effort, echo.address(), pace, &[], &queries)?,
                    measure(effort, server.address, pace, expect, &queries)?,
                ]);
            }
            for [_, martlet] in &rounds {
                if martlet.tally.wrong > 0 || martlet.tally.answered == 0 {
                    return Err(format!("{name}: not all replies are right\n{martlet}").into());
                }
            }
            Ok(rounds)
        };
        let mut closed = run(Pace::Closed {
            window: load::WINDOW,
        })?;
        // By ratio: the round in the middle is the one to show.
        let ratio = |[echo, martlet]: &[Report; 2]| martlet.rate / echo.rate;
        closed.sort_by(|one, other| ratio(one).total_cmp(&ratio(other)));
        let middle = &closed[closed.len() / 2];
        let rate = middle[1].rate / 2.0;
        let open = run(Pace::Open { rate })?;
        println!(
            "{NAME}/{name}: ratio {:.3} to the echo; latencies at {rate:.0} q/s",
            ratio(middle)
        );
        for (at, server) in ["echo", "martlet"].into_iter().enumerate() {
            let mut latencies = open[0][at].latencies_ns.clone();
            for round in &open[1..] {
                latencies.add(&round[at].latencies_ns)?;
            }
            let lost: u64 = closed.iter().chain(&open).map(|it| it[at].tally.lost).sum();
            let Latency { p50, p99, p999, .. } = Latency::new(&latencies);
            println!(
                "    {server:<8} {:>8.0} q/s  p50 {p50:.0} µs, p99 {p99:.0} µs, p99.9 {p999:.0} µs, \
                 lost {lost}, {}",
                middle[at].rate,
                middle[at].tally.rcodes_text(),
            );
        }
    }
    server.stop();
    Ok(())
}

fn measure(
    effort: &Scale,
    server: SocketAddr,
    pace: Pace,
    expect: &[Expect],
    queries: &QuerySet,
) -> Result<Report, load::LoadError> {
    let settings = Settings {
        pace,
        warm_up: effort.warm_up,
        duration: effort.duration,
        expect: expect.to_vec(),
        core: core(1),
        ..Settings::new(server)
    };
    load::run(&settings, queries)
}
