//! One worker over loopback, beside the bare echo on the same core.
//!
//! Not a criterion bench: what counts is the ratio of two servers that one generator takes in
//! turns, because a shared machine is not equally fast from one second to the next. Server and echo
//! are pinned to the first core, the generator to the second one where there is one. For whole
//! servers as processes, with memory and CPU time, there is `martlet-versus`.

use std::error::Error;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use martlet_bench::cluster::queries::{List, Questions};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::echo::{Echo, Mode};
use martlet_bench::load::{self, Latency, QuerySet, Settings};
use martlet_bench::{fail, fixture};
use martlet_engine::chain::Plan;
use martlet_engine::log::LogSink;
use martlet_engine::net::io::IoChoice;
use martlet_engine::server::Server;

const LISTS: [List; 5] = [
    List::InCluster,
    List::NxDomain,
    List::Ptr,
    List::Srv,
    List::SearchMix,
];

/// Questions of each list: enough that answers come from memory, not from one cache line.
const QUESTIONS: usize = 20_000;

/// Times that a free port may be taken by somebody else before it is used.
const PORT_TRIES: usize = 8;

fn main() -> ExitCode {
    let (mut measure, mut test, mut list, mut filter) = (false, false, false, None);
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // `cargo bench` says so; `cargo test --benches` does not, and wants a quick try.
            "--bench" => measure = true,
            "--test" => test = true,
            "--list" => list = true,
            other if !other.starts_with('-') => filter = Some(argument),
            _ => {}
        }
    }
    if list || filter.is_some_and(|filter| !NAME.contains(&filter)) {
        return ExitCode::SUCCESS;
    }
    let effort = if measure && !test { &MEASURE } else { &TRY };
    match run(effort) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&*error),
    }
}

const NAME: &str = "end_to_end";

struct Effort {
    shape: fn() -> Shape,
    rounds: usize,
    warm_up: Duration,
    duration: Duration,
}

const MEASURE: Effort = Effort {
    shape: Shape::default,
    rounds: 5,
    warm_up: Duration::from_millis(200),
    duration: Duration::from_secs(1),
};

/// Whether it runs at all.
const TRY: Effort = Effort {
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

fn run(effort: &Effort) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::new((effort.shape)())?;
    let (_store, index) = fixture::publish(&cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let address = free_address()?;
    let (log, _lines) = LogSink::new();
    let mut listener = fixture::listener(index, vec![address]);
    let metrics = fixture::count(&mut listener);
    let listeners = vec![Arc::new(listener)];
    let plan = Plan {
        listeners,
        log,
        metrics,
    };
    let server = Server::start(plan, NonZeroUsize::MIN, IoChoice::Auto)?;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let core = |at: usize| {
        cores
            .get(at)
            .filter(|_| cores.len() > 1)
            .map(|core| core.id)
    };
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
            rounds.push((run(echo.address(), &queries)?, run(address, &queries)?));
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
                report.rcodes(),
            );
        }
        if martlet.tally.answered == 0 {
            return Err(format!("{name}: the server answered nothing").into());
        }
    }
    runtime.block_on(server.stop());
    Ok(())
}

/// An address whose port nobody uses, for UDP and for TCP. The server opens it a moment later.
fn free_address() -> Result<SocketAddr, std::io::Error> {
    let mut tries = 0;
    loop {
        let address = UdpSocket::bind("127.0.0.1:0")?.local_addr()?;
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) if tries == PORT_TRIES => return Err(error),
            Err(_) => tries += 1,
        }
    }
}
