//! One worker over loopback, beside the bare echo on the same core.
//!
//! One generator takes the two servers in turns, because a shared machine is not equally fast from one
//! second to the next: what counts is the ratio. All rounds of a list are made before criterion hears of
//! them, and each round is then one of its samples: times are those of an answer, so that its throughput
//! is answers a second, and the quantiles of latencies. Server and echo are pinned to the first core, the
//! generator to the second one where there is one. For whole servers as processes, with memory and CPU
//! time, there is `martlet-versus`.
//!
//! Rates are of closed loops, latencies of open ones at half of the rate that martlet reaches. A wrong
//! reply of martlet's fails the bench.

use std::cell::LazyCell;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::Duration;

use criterion::{Bencher, Criterion, SamplingMode, Throughput};
use martlet_bench::cluster::queries::{List, Questions};
use martlet_bench::cluster::{Cluster, Shape, zone};
use martlet_bench::echo::{Echo, Mode};
use martlet_bench::fixture;
use martlet_bench::load::{self, Latency, Pace, QuerySet, Report, Settings, Zone};
use martlet_bench::served::{Effort, Served, core};
use martlet_bench::upstream::{self, Behaviour};
use martlet_perf::external;
use tokio::runtime::Runtime;

/// What is asked. Right replies are those of the cluster's zones and of the upstream.
const LISTS: [List; 5] = [
    List::InCluster,
    List::NxDomain,
    List::Ptr,
    List::Srv,
    List::SearchMix,
];

/// Questions of each list: enough that answers come from memory, not from one cache line.
const QUESTIONS: usize = 20_000;

/// Who is asked, in this order.
const SERVERS: [&str; 2] = ["echo", "martlet"];

struct Scale {
    shape: fn() -> Shape,
    rounds: usize,
    warm_up: Duration,
    duration: Duration,
}

const MEASURE: Scale = Scale {
    shape: Shape::default,
    // The fewest samples that criterion takes.
    rounds: 10,
    warm_up: Duration::from_millis(100),
    duration: Duration::from_millis(500),
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

/// The two servers, and what is asked of them.
struct Pair {
    scale: &'static Scale,
    cluster: Cluster,
    zone: Zone,
    /// Where [`SERVERS`] listen.
    addresses: [SocketAddr; 2],
    _echo: Echo,
    server: Option<Served>,
    runtime: Runtime,
}

impl Pair {
    fn start() -> Self {
        let scale = match Effort::from_arguments() {
            Effort::Measure => &MEASURE,
            Effort::Try => &TRY,
        };
        let cluster = Cluster::new((scale.shape)()).expect("a shape");
        let zone = zone_of(&cluster);
        let (_store, index) = fixture::publish(&cluster);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("threads");
        let server = {
            let _entered = runtime.enter();
            let upstream = start_upstream();
            Served::start(index, |listener| {
                external::forward(listener, &[upstream]);
            })
        };
        let server = server.expect("a free port");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let echo = Echo::start(any, Mode::Batched, core(0)).expect("a free port");
        Self {
            scale,
            cluster,
            zone,
            addresses: [echo.address(), server.address],
            _echo: echo,
            server: Some(server),
            runtime,
        }
    }

    /// Takes both servers through all rounds with the questions of a list.
    fn measure(&self, list: List) -> Rounds {
        let questions = Questions::new(&self.cluster, list).take(QUESTIONS);
        let queries = QuerySet::collect(questions, Some(fixture::PAYLOAD_SIZE));
        let mut queries = queries.expect("questions");
        let known = queries.know(&self.zone);
        assert_eq!(known, queries.len(), "not all questions are known");
        let rounds = |pace| -> Vec<[Report; 2]> {
            let round = |_| [0, 1].map(|server| self.run(server, pace, &queries));
            (0..self.scale.rounds).map(round).collect()
        };
        let closed = rounds(Pace::Closed {
            window: load::WINDOW,
        });
        let mut ratios: Vec<f64> = closed.iter().map(|[a, b]| b.rate / a.rate).collect();
        ratios.sort_by(f64::total_cmp);
        let mut rates: Vec<f64> = closed.iter().map(|[_, martlet]| martlet.rate).collect();
        rates.sort_by(f64::total_cmp);
        let rate = rates[rates.len() / 2] / 2.0;
        let open = rounds(Pace::Open { rate });
        let lost = [0, 1].map(|server| {
            let both = closed.iter().chain(&open);
            both.map(|round| round[server].tally.lost).sum::<u64>()
        });
        println!(
            "\n{}: {:.3} of the echo's rate; latencies at {rate:.0} queries/s; lost {} of the echo's, {} \
             of martlet's",
            group_name(list),
            ratios[ratios.len() / 2],
            lost[0],
            lost[1],
        );
        Rounds { closed, open }
    }

    /// # Panics
    ///
    /// If a reply of martlet's is wrong, or there is none.
    fn run(&self, server: usize, pace: Pace, queries: &QuerySet) -> Report {
        let settings = Settings {
            pace,
            warm_up: self.scale.warm_up,
            duration: self.scale.duration,
            check: SERVERS[server] == "martlet",
            core: core(1),
            ..Settings::new(self.addresses[server])
        };
        let report = load::run(&settings, queries).expect("sockets");
        let tally = &report.tally;
        assert!(tally.answered > 0, "nothing was answered\n{report}");
        assert_eq!(tally.wrong, 0, "not all replies are right\n{report}");
        report
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _entered = self.runtime.enter();
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }
}

/// All that is known of right replies.
fn zone_of(cluster: &Cluster) -> Zone {
    let (mut own, mut reverse, mut external) = (Vec::new(), Vec::new(), Vec::new());
    zone::write(cluster, &mut own).expect("memory");
    zone::write_reverse(cluster, &mut reverse).expect("memory");
    zone::write_external(&mut external).expect("memory");
    let mut zone = Zone::default();
    for text in [own, reverse, external] {
        zone.add(&text, Path::new("generated")).expect("a zone");
    }
    zone
}

fn start_upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    let address = socket.local_addr().expect("it is bound");
    let behaviour = Behaviour {
        ttl: fixture::TTL,
        delay: Duration::ZERO,
        silent: false,
    };
    thread::spawn(move || upstream::serve_on(&socket, behaviour));
    address
}

/// What both servers showed, by round.
struct Rounds {
    closed: Vec<[Report; 2]>,
    open: Vec<[Report; 2]>,
}

fn group_name(list: List) -> String {
    format!("end_to_end/{}", list.file_name().trim_end_matches(".txt"))
}

pub(crate) fn end_to_end(criterion: &mut Criterion) {
    let pair = LazyCell::new(Pair::start);
    for list in LISTS {
        let rounds = LazyCell::new(|| pair.measure(list));
        let mut group = criterion.benchmark_group(group_name(list));
        group.sampling_mode(SamplingMode::Flat);
        group.sample_size(MEASURE.rounds);
        // Nothing is left to be warmed up or waited for.
        group.warm_up_time(Duration::from_nanos(1));
        group.throughput(Throughput::Elements(1));
        for (at, server) in SERVERS.into_iter().enumerate() {
            let mut turn = 0;
            group.bench_function(server, |bencher| {
                sample(bencher, &rounds.closed, &mut turn, |round| {
                    1e6 / round[at].rate
                });
            });
        }
        group.finish();
        let mut group = criterion.benchmark_group(format!("{}/latency", group_name(list)));
        group.sampling_mode(SamplingMode::Flat);
        group.sample_size(MEASURE.rounds);
        group.warm_up_time(Duration::from_nanos(1));
        for (at, server) in SERVERS.into_iter().enumerate() {
            type Quantile = fn(&Latency) -> f64;
            let quantiles: [(&str, Quantile); 3] = [
                ("p50", |latency| latency.p50),
                ("p99", |latency| latency.p99),
                ("p99.9", |latency| latency.p999),
            ];
            for (name, quantile) in quantiles {
                let mut turn = 0;
                group.bench_function(format!("{server}/{name}"), |bencher| {
                    sample(bencher, &rounds.open, &mut turn, |round| {
                        quantile(&round[at].latency_us)
                    });
                });
            }
        }
        group.finish();
    }
}

/// Gives criterion the next round's value, in microseconds, as its next sample.
fn sample(
    bencher: &mut Bencher<'_>,
    rounds: &[[Report; 2]],
    turn: &mut usize,
    value_us: impl Fn(&[Report; 2]) -> f64,
) {
    let value_us = value_us(&rounds[*turn % rounds.len()]);
    *turn += 1;
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    bencher.iter_custom(|times| Duration::from_secs_f64(value_us / 1e6 * times as f64));
}
