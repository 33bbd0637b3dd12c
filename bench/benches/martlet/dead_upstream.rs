//! Whether a dead upstream is felt by those who ask for cluster names.
//!
//! Three servers in one process, each with one worker on the first core: nobody asks the first one
//! for external names, the second forwards them to an upstream that answers, the third to one that
//! never does. The generator takes them in turns with cluster names in a closed loop, while another
//! one asks for external names, never the same twice, at a fixed rate. What counts are the ratios of
//! one round; the one in the middle is shown.

use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::thread;
use std::time::Duration;

use martlet_bench::cluster::queries::{List, Question, Questions};
use martlet_bench::cluster::{Cluster, Shape};
use martlet_bench::fixture;
use martlet_bench::load::{self, Expect, Pace, QuerySet, Report, Settings};
use martlet_bench::served::{Effort, Served, core};
use martlet_bench::upstream::{self, Behaviour};
use martlet_perf::external;

const NAME: &str = "dead_upstream";

/// Questions about the cluster.
const QUESTIONS: usize = 20_000;

/// External names a second.
const EXTERNAL_RATE: u32 = 2_000;

struct Scale {
    rounds: u32,
    warm_up: Duration,
    duration: Duration,
    /// Until a server that asked in vain has given up on its last question.
    settle: Duration,
}

const MEASURE: Scale = Scale {
    rounds: 5,
    warm_up: Duration::from_millis(500),
    duration: Duration::from_secs(2),
    settle: Duration::from_secs(6),
};

/// Whether it runs at all.
const TRY: Scale = Scale {
    rounds: 1,
    warm_up: Duration::ZERO,
    duration: Duration::from_millis(200),
    settle: Duration::ZERO,
};

/// Who is asked for external names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Upstream {
    None,
    Alive,
    Dead,
}

/// Runs it, if the arguments ask for it.
///
/// # Errors
///
/// If a server cannot be started, or answers wrongly.
pub(crate) fn dead_upstream() -> Result<(), Box<dyn Error>> {
    match Effort::for_bench(NAME) {
        None => Ok(()),
        Some(Effort::Measure) => run(&MEASURE),
        Some(Effort::Try) => run(&TRY),
    }
}

fn run(scale: &Scale) -> Result<(), Box<dyn Error>> {
    let shape = Shape {
        services: 1_000,
        endpoints: 10_000,
        namespaces: 20,
        ..Shape::default()
    };
    let cluster = Cluster::new(shape)?;
    let (_store, index) = fixture::publish(&cluster);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let questions = Questions::new(&cluster, List::InCluster).take(QUESTIONS);
    let queries = QuerySet::collect(questions, Some(fixture::PAYLOAD_SIZE))?;
    let kinds = [Upstream::None, Upstream::Alive, Upstream::Dead];
    let mut servers = Vec::new();
    for kind in kinds {
        let upstream = start_upstream(kind == Upstream::Alive)?;
        servers.push(Served::start(index.clone(), |listener| {
            external::forward(listener, &[upstream]);
        })?);
    }
    println!(
        "{NAME}: one worker, closed loop of cluster names, {EXTERNAL_RATE} external names a second, \
         {} rounds of {:?}",
        scale.rounds, scale.duration
    );
    let mut rounds: Vec<[Report; 3]> = Vec::new();
    for round in 0..scale.rounds {
        let mut reports = Vec::new();
        for (kind, server) in kinds.iter().zip(&servers) {
            let names = (*kind != Upstream::None).then_some(round);
            reports.push(measure(scale, server.address, &queries, names)?);
        }
        rounds.push(reports.try_into().expect("three servers"));
        thread::sleep(scale.settle);
    }
    show(&rounds);
    if rounds
        .iter()
        .flatten()
        .any(|report| report.tally.answered == 0)
    {
        return Err("a server answered nothing".into());
    }
    servers.into_iter().for_each(Served::stop);
    Ok(())
}

/// An upstream for as long as the bench runs.
fn start_upstream(answers: bool) -> Result<SocketAddr, Box<dyn Error>> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    let behaviour = Behaviour {
        ttl: 30,
        delay: Duration::ZERO,
        silent: !answers,
    };
    thread::spawn(move || upstream::serve_on(&socket, behaviour));
    Ok(address)
}

/// Cluster names as fast as they are answered; external ones besides, new ones in each round.
fn measure(
    scale: &Scale,
    server: SocketAddr,
    queries: &QuerySet,
    external: Option<u32>,
) -> Result<Report, Box<dyn Error>> {
    let settings = Settings {
        warm_up: scale.warm_up,
        duration: scale.duration,
        expect: vec![Expect::Rcode(0)],
        core: core(1),
        ..Settings::new(server)
    };
    let others = match external {
        Some(round) => Some(external_names(scale, round)?),
        None => None,
    };
    let besides = Settings {
        pace: Pace::Open {
            rate: f64::from(EXTERNAL_RATE),
        },
        sockets: 4,
        warm_up: Duration::ZERO,
        duration: scale.warm_up + scale.duration,
        timeout: Duration::from_millis(200),
        expect: Vec::new(),
        ..settings.clone()
    };
    thread::scope(|scope| {
        let asking = others.map(|others| scope.spawn(move || load::run(&besides, &others)));
        let report = load::run(&settings, queries)?;
        if let Some(asking) = asking {
            asking.join().expect("the generator does not panic")?;
        }
        Ok(report)
    })
}

fn external_names(scale: &Scale, round: u32) -> Result<QuerySet, Box<dyn Error>> {
    let time = (scale.warm_up + scale.duration).as_secs_f64();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "some thousands"
    )]
    let count = (time * f64::from(EXTERNAL_RATE)).ceil() as u32;
    let question = |n| Question {
        name: format!("host{n}.round{round}.example.com"),
        qtype: "A",
    };
    let questions = (0..=count).map(question);
    Ok(QuerySet::collect(questions, Some(fixture::PAYLOAD_SIZE))?)
}

fn show(rounds: &[[Report; 3]]) {
    let dead_to = |other: usize, value: fn(&Report) -> f64| {
        let ratio = |round: &[Report; 3]| value(&round[2]) / value(&round[other]);
        let mut ratios: Vec<f64> = rounds.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    };
    let rate: fn(&Report) -> f64 = |report| report.rate;
    let p99: fn(&Report) -> f64 = |report| report.latency_us.p99;
    for (other, name) in [(1, "a live one"), (0, "no external names")] {
        println!(
            "{NAME}: a dead upstream to {name}: throughput {:.3}, p99 {:.3}",
            dead_to(other, rate),
            dead_to(other, p99)
        );
    }
    let mut sorted: Vec<_> = rounds.iter().collect();
    let ratio = |round: &[Report; 3]| round[2].rate / round[1].rate;
    sorted.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    for (name, report) in ["none", "alive", "dead"]
        .iter()
        .zip(sorted[sorted.len() / 2])
    {
        let latency = report.latency_us;
        println!(
            "    {name:<8} {:>8.0} q/s  p50 {:.0} µs, p99 {:.0} µs, p99.9 {:.0} µs, lost {}",
            report.rate, latency.p50, latency.p99, latency.p999, report.tally.lost
        );
    }
}
