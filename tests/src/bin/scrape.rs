//! `scrape`: what looking at the metrics costs those who ask. Clients ask for names of a cluster as fast
//! as they are answered, in rounds: without anybody looking, and with `/metrics` read so many times a
//! second, in turns. Printed are the ratio of the rates and that of CPU time a query, round by round.
//!
//! Usage: `scrape [SCRAPES-PER-SECOND [SECONDS-A-ROUND [ROUNDS]]]`; `perf/scrape` runs it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use martlet_tests::measured::{Load, corefile, median, under_load};
use martlet_tests::{FakeApi, Martlet, Setup, http_get};
use serde_json::json;

/// Asked for all the time.
const NAME: &str = "web.scrape.svc.cluster.local.";

fn main() {
    let argument = |at, default| {
        let given = std::env::args().nth(at);
        given.map_or(default, |text| text.parse::<f64>().expect("a number"))
    };
    let (rate, seconds, rounds) = (argument(1, 10.0), argument(2, 3.0), argument(3, 5.0));
    let time = Duration::from_secs_f64(seconds);
    let metadata = |name: &str| json!({"name": name, "namespace": "scrape"});
    let api = FakeApi::start(vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "scrape"}}),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata("web"),
            "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]},
        }),
    ]);
    let dir = tempfile::tempdir().expect("the temporary directory is writable");
    let corefile = corefile(&api.write_kubeconfig(dir.path()));
    let martlet = Setup::new(&corefile).until_it_answers(NAME).start();
    round(&martlet, None, time / 3); // To get warm.
    println!("{rate} scrapes a second in every other round of {seconds} s");
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for number in 1..=rounds as u32 {
        let alone = round(&martlet, None, time);
        let watched = round(&martlet, Some(rate), time);
        let (before, after) = (alone.load, watched.load);
        rates.push(after.rate / before.rate);
        costs.push(after.cpu_us / before.cpu_us);
        println!(
            "{number}: {:.0} and {:.0} q/s, {:.2} and {:.2} µs CPU a query; {:.1} ms a scrape, {} scrapes",
            before.rate,
            after.rate,
            before.cpu_us,
            after.cpu_us,
            watched.scrape_ms,
            watched.scrapes
        );
    }
    println!(
        "with scrapes, of the rate without: median {:.3}; of the CPU time a query: median {:.3}",
        median(rates),
        median(costs)
    );
}

/// What one round has shown.
struct Round {
    /// A scrape's CPU time is in it.
    load: Load,
    scrapes: u32,
    /// The mean time that one took.
    scrape_ms: f64,
}

fn round(martlet: &Martlet, scrapes: Option<f64>, time: Duration) -> Round {
    let (load, (count, took)) = under_load(martlet, NAME, || {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let looking = scope.spawn(|| look(martlet.nth_port(2), scrapes, &is_over));
            thread::sleep(time);
            is_over.store(true, Ordering::Relaxed);
            looking.join().expect("it only looks")
        })
    });
    Round {
        load,
        scrapes: count,
        scrape_ms: took.as_secs_f64() * 1e3 / f64::from(count.max(1)),
    }
}

/// Reads the metrics at this rate until it is over; how often, and how long all of it took.
fn look(port: u16, rate: Option<f64>, is_over: &AtomicBool) -> (u32, Duration) {
    let (mut count, mut took) = (0, Duration::ZERO);
    let (start, pause) = (
        Instant::now(),
        rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
    );
    while !is_over.load(Ordering::Relaxed) {
        let due = pause.map_or(Duration::MAX, |pause| pause * count);
        if start.elapsed() < due {
            thread::sleep(Duration::from_millis(1));
            continue;
        }
        let begin = Instant::now();
        http_get(port, "/metrics");
        took += begin.elapsed();
        count += 1;
    }
    (count, took)
}
