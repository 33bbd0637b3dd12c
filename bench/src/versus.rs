//! Side by side: servers against the bare echo, in one run.
//!
//! On a shared machine the same server is a third faster in one minute than in the next, so only
//! ratios between runs made in turn mean anything. All servers are started first, each pinned to
//! the same core, and asked everything once, so that caches are full. The generator, on another
//! core, then takes them in turns, round after round, the echo first: in closed loops for the rates,
//! and in open loops at rates that are common to all for the latencies. Idle servers wait in a
//! system call and disturb nobody.

use std::io;
use std::net::SocketAddr;
use std::process::ExitStatus;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::load::{self, Expect, Latency, LoadError, Pace, QuerySet, Settings, Tally};
use process::Server;

pub use process::Memory;

mod process;
mod table;

/// A server to measure.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What to call it.
    pub name: String,
    /// The shell command that starts it in the foreground.
    pub command: String,
    /// Where it then listens.
    pub address: SocketAddr,
    /// What its right replies look like; any NOERROR or NXDOMAIN at the start, and anything under
    /// load, when empty. Not looked at under load where the query set knows better.
    pub expect: Vec<Expect>,
    /// Whether its replies under load must say what the query set knows.
    pub check: bool,
    /// The run is about it: it fails if this one does not start, or loses or answers wrongly more
    /// than [`FAULTS_MAX`]. Others are left out, or shown with their faults.
    pub own: bool,
}

/// How to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers. The first is what the others are compared with: the echo.
    pub contenders: Vec<Contender>,
    /// Rounds; the median counts.
    pub rounds: usize,
    /// Measured time of each server's closed loop in each round. An open loop has a quarter of it.
    pub duration: Duration,
    /// The common rates at which latencies are taken. When empty: half of what the slowest server
    /// reaches, and half of what the middle one does; the echo is none of them.
    pub rates: Vec<f64>,
    /// Queries in flight in the closed loop.
    pub window: usize,
    /// The generator's sockets.
    pub sockets: usize,
    /// The servers' core.
    pub server_core: usize,
    /// The generator's core.
    pub load_core: usize,
}

/// Why no comparison was made.
#[derive(Debug, thiserror::Error)]
pub enum VersusError {
    /// The load could not be run.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The command could not be started.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: Box<str>,
        /// The cause.
        source: io::Error,
    },
    /// The server ended before it answered, or the shell did not find it.
    #[error("`{command}` ended before its first right answer: {status}")]
    Exited {
        /// The command.
        command: Box<str>,
        /// How it ended.
        status: ExitStatus,
    },
    /// The server runs but gives no right answer.
    #[error("`{command}` gave no right answer at {address} within a minute")]
    Silent {
        /// The command.
        command: Box<str>,
        /// Where it was asked.
        address: SocketAddr,
    },
    /// Something else answers there.
    #[error("another server already answers at {address}")]
    Busy {
        /// The address.
        address: SocketAddr,
    },
    /// The kernel tells nothing about the server.
    #[error("cannot read the state of `{command}`")]
    Process {
        /// The command.
        command: Box<str>,
        /// The cause.
        source: procfs::ProcError,
    },
    /// Nothing was right.
    #[error("{name} gave no right answer under load ({sent} queries sent, {lost} lost)")]
    NothingRight {
        /// The server.
        name: Box<str>,
        /// Queries that were sent.
        sent: u64,
        /// Those without a reply.
        lost: u64,
    },
    /// The server that the run is about is not fit to be compared.
    #[error(
        "{name} lost {lost} and answered wrongly {wrong} of {sent} queries; at most {} % of each are \
         allowed",
        FAULTS_MAX * 100.0
    )]
    Faulty {
        /// The server.
        name: Box<str>,
        /// Queries without a reply.
        lost: u64,
        /// Queries with a wrong one.
        wrong: u64,
        /// All queries.
        sent: u64,
    },
}

/// Share of its queries that the server which a run is about may lose, or answer wrongly.
pub const FAULTS_MAX: f64 = 0.001;

/// What one server showed.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Its name.
    pub name: String,
    /// Right answers a second in each round, closed loop.
    pub rates: Vec<f64>,
    /// Their median.
    pub rate: f64,
    /// The median of the ratios to the first server's rate in the same round.
    pub ratio: f64,
    /// Its CPU time per query in the closed loops, in microseconds.
    pub cpu_us: f64,
    /// Latencies in microseconds at each of [`Outcome::rates`], over all rounds; none at a rate that
    /// it cannot carry.
    pub latencies_us: Vec<Option<Latency>>,
    /// Its memory before any load.
    pub memory_start: Memory,
    /// Its memory after all rounds.
    pub memory_end: Memory,
    /// From starting the process to the first right answer, in milliseconds.
    pub start_ms: f64,
    /// What became of the queries of all closed loops.
    pub closed: Tally,
    /// The same of all open loops.
    pub open: Tally,
    /// Queries of open loops that were due but could not be sent.
    pub behind: u64,
    /// Share of the generator's looks at a socket that found nothing, in the closed loop where it was
    /// least. Near 0, the generator was the limit.
    pub idle: f64,
    /// The run is about it.
    pub own: bool,
}

impl Standing {
    /// Queries sent, lost, and answered wrongly, in all loops.
    pub const fn faults(&self) -> (u64, u64, u64) {
        let (closed, open) = (&self.closed, &self.open);
        (
            closed.sent + open.sent,
            closed.lost + open.lost,
            closed.wrong + open.wrong,
        )
    }
}

/// The result of a [`Plan`].
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// The common rates at which latencies were taken.
    pub rates: Vec<f64>,
    /// By server, in the plan's order.
    pub standings: Vec<Standing>,
    /// Who was left out and why.
    pub absent: Vec<String>,
}

impl Outcome {
    /// Whether the server that the run is about answered as it should.
    ///
    /// # Errors
    ///
    /// If it lost or answered wrongly more than [`FAULTS_MAX`].
    pub fn check(&self) -> Result<(), VersusError> {
        for standing in self.standings.iter().filter(|standing| standing.own) {
            let (sent, lost, wrong) = standing.faults();
            if share(lost, sent) > FAULTS_MAX || share(wrong, sent) > FAULTS_MAX {
                let name = standing.name.as_str().into();
                return Err(VersusError::Faulty {
                    name,
                    lost,
                    wrong,
                    sent,
                });
            }
        }
        Ok(())
    }
}

/// A part of all queries; none of none.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn share(count: u64, all: u64) -> f64 {
    count as f64 / all.max(1) as f64
}

struct Running<'p> {
    contender: &'p Contender,
    server: Server,
    started: Duration,
    memory: Memory,
    rates: Vec<f64>,
    cpu: Duration,
    closed: Tally,
    idle: f64,
    open: Tally,
    behind: u64,
    /// Nanoseconds, by common rate.
    latencies: Vec<Option<Histogram<u32>>>,
}

/// Starts the servers, measures them, stops them.
pub fn run(plan: &Plan, queries: &QuerySet) -> Result<Outcome, VersusError> {
    let distinct = queries.distinct();
    let mut running = Vec::with_capacity(plan.contenders.len());
    let mut absent = Vec::new();
    for (at, contender) in plan.contenders.iter().enumerate() {
        match start(plan, contender, &distinct) {
            Ok(entry) => running.push(entry),
            Err(error) if at == 0 || contender.own => return Err(error),
            Err(error) => absent.push(format!("{} takes no part: {error}", contender.name)),
        }
    }
    for _ in 0..plan.rounds.max(1) {
        for entry in &mut running {
            entry.closed_loop(plan, queries)?;
        }
    }
    for entry in &running {
        entry.expect_answers(&entry.closed)?;
    }
    let rates = if plan.rates.is_empty() {
        let medians: Vec<f64> = running.iter().map(Running::rate).collect();
        common_rates(
            medians
                .get(1..)
                .filter(|it| !it.is_empty())
                .unwrap_or(&medians),
        )
    } else {
        plan.rates.clone()
    };
    for entry in &mut running {
        entry.latencies = vec![None; rates.len()];
    }
    for _ in 0..plan.rounds.max(1) {
        for (at, &rate) in rates.iter().enumerate() {
            for entry in &mut running {
                if rate <= entry.rate() * CARRIED_SHARE {
                    entry.open_loop(plan, queries, (at, rate))?;
                }
            }
        }
    }
    let base: Vec<f64> = running
        .first()
        .map(|entry| entry.rates.clone())
        .unwrap_or_default();
    let standings = running
        .into_iter()
        .map(|entry| entry.finish(&base))
        .collect::<Result<_, _>>()?;
    Ok(Outcome {
        rates,
        standings,
        absent,
    })
}

/// Half of what the slowest and of what the middle one of some servers reaches.
fn common_rates(medians: &[f64]) -> Vec<f64> {
    let slowest = medians.iter().copied().fold(f64::INFINITY, f64::min);
    let mut rates = vec![slowest / 2.0, median(medians.iter().copied()) / 2.0];
    rates.dedup();
    rates
}

fn start<'p>(
    plan: &Plan,
    contender: &'p Contender,
    distinct: &QuerySet,
) -> Result<Running<'p>, VersusError> {
    let Contender {
        command,
        address,
        expect,
        ..
    } = contender;
    let (server, started) = Server::start(command, plan.server_core, *address, distinct, expect)?;
    let memory = server.memory().map_err(unreadable(contender))?;
    let running = Running {
        contender,
        server,
        started,
        memory,
        rates: Vec::new(),
        cpu: Duration::ZERO,
        closed: Tally::default(),
        idle: 1.0,
        open: Tally::default(),
        behind: 0,
        latencies: Vec::new(),
    };
    running.warm_up(plan, distinct)?;
    Ok(running)
}

impl Running<'_> {
    /// An error if nothing was right.
    fn expect_answers(&self, tally: &Tally) -> Result<(), VersusError> {
        if tally.answered > 0 {
            return Ok(());
        }
        Err(VersusError::NothingRight {
            name: self.contender.name.as_str().into(),
            sent: tally.sent,
            lost: tally.lost,
        })
    }

    fn settings(&self, plan: &Plan, pace: Pace) -> Settings {
        Settings {
            pace,
            sockets: plan.sockets,
            duration: plan.duration,
            expect: self.contender.expect.clone(),
            check: self.contender.check,
            core: Some(plan.load_core),
            ..Settings::new(self.contender.address)
        }
    }

    fn closed(&self, plan: &Plan) -> Settings {
        let window = plan.window;
        Settings {
            // The CPU clock spans the whole run, so all of it has to be counted.
            warm_up: Duration::ZERO,
            ..self.settings(plan, Pace::Closed { window })
        }
    }

    /// Asks everything once: for a moment first, which shows how long all of it will take.
    fn warm_up(&self, plan: &Plan, distinct: &QuerySet) -> Result<(), VersusError> {
        let mut settings = Settings {
            duration: WARM_UP_RUN,
            ..self.closed(plan)
        };
        for _ in 0..WARM_UP_RUNS_MAX {
            let tally = load::run(&settings, distinct)?.tally;
            self.expect_answers(&tally)?;
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let part = tally.sent as f64 / distinct.len() as f64;
            if part >= 1.0 {
                break;
            }
            let longer = settings.duration.mul_f64(WARM_UP_MARGIN / part);
            settings.duration = longer.min(WARM_UP_RUN_MAX);
        }
        Ok(())
    }

    fn closed_loop(&mut self, plan: &Plan, queries: &QuerySet) -> Result<(), VersusError> {
        let before = self.server.cpu().map_err(unreadable(self.contender))?;
        let report = load::run(&self.closed(plan), queries)?;
        self.cpu += self.server.cpu().map_err(unreadable(self.contender))? - before;
        self.rates.push(report.rate);
        self.idle = self.idle.min(report.idle);
        self.closed.add(&report.tally);
        Ok(())
    }

    fn open_loop(
        &mut self,
        plan: &Plan,
        queries: &QuerySet,
        (at, rate): (usize, f64),
    ) -> Result<(), VersusError> {
        let settings = Settings {
            warm_up: OPEN_WARM_UP,
            duration: plan.duration / 4,
            ..self.settings(plan, Pace::Open { rate })
        };
        let report = load::run(&settings, queries)?;
        self.open.add(&report.tally);
        self.behind += report.behind;
        let latencies = &mut self.latencies[at];
        match latencies {
            Some(all) => all.add(&report.latencies_ns).expect("the same bounds"),
            None => *latencies = Some(report.latencies_ns),
        }
        Ok(())
    }

    fn rate(&self) -> f64 {
        median(self.rates.iter().copied())
    }

    fn finish(self, base: &[f64]) -> Result<Standing, VersusError> {
        let ratios = self.rates.iter().zip(base).map(|(own, base)| own / base);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let count = self.closed.sent.max(1) as f64;
        let latencies = self.latencies.iter();
        Ok(Standing {
            name: self.contender.name.clone(),
            rate: self.rate(),
            ratio: median(ratios),
            cpu_us: self.cpu.as_secs_f64() * 1e6 / count,
            latencies_us: latencies.map(|it| it.as_ref().map(Latency::new)).collect(),
            memory_start: self.memory,
            memory_end: self.server.memory().map_err(unreadable(self.contender))?,
            start_ms: self.started.as_secs_f64() * 1e3,
            rates: self.rates,
            closed: self.closed,
            open: self.open,
            behind: self.behind,
            idle: self.idle,
            own: self.contender.own,
        })
    }
}

fn unreadable(contender: &Contender) -> impl FnOnce(procfs::ProcError) -> VersusError {
    let command = contender.command.as_str().into();
    move |source| VersusError::Process { command, source }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count => f64::midpoint(values[(count - 1) / 2], values[count / 2]),
    }
}

/// A server takes part at a common rate of at most this share of its own: a little more, and a slow
/// moment of the machine is a queue of the server.
const CARRIED_SHARE: f64 = 0.8;
/// Before the measured part of an open loop.
const OPEN_WARM_UP: Duration = Duration::from_millis(100);
/// The first attempt to ask everything once, and the longest one.
const WARM_UP_RUN: Duration = Duration::from_millis(200);
const WARM_UP_RUN_MAX: Duration = Duration::from_secs(10);
/// Of the time that the next one needs as it seems.
const WARM_UP_MARGIN: f64 = 1.25;
/// Attempts. Who has not answered everything by then is measured as it is.
const WARM_UP_RUNS_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let cases: &[(&[f64], f64)] = &[
            (&[3.0], 3.0),
            (&[9.0, 1.0, 2.0], 2.0),
            (&[4.0, 1.0, 2.0, 9.0], 3.0),
        ];
        for (values, expected) in cases {
            assert_eq!(median(values.iter().copied()), *expected, "{values:?}");
        }
    }

    #[test]
    fn common_rates_are_those_of_the_slowest_and_of_the_middle() {
        let cases: &[(&[f64], &[f64])] = &[
            (&[8.0], &[4.0]),
            (&[100.0, 10.0], &[5.0, 27.5]),
            (&[500.0, 300.0, 20.0], &[10.0, 150.0]),
        ];
        for (medians, expected) in cases {
            assert_eq!(common_rates(medians), *expected, "{medians:?}");
        }
    }

    #[test]
    fn a_server_that_does_not_start_is_named() {
        let free = std::net::UdpSocket::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let plan = Plan {
            contenders: vec![Contender {
                name: "none".into(),
                command: "/nowhere/server 2>/dev/null".into(),
                address: free,
                expect: Vec::new(),
                check: false,
                own: false,
            }],
            rounds: 1,
            duration: Duration::from_millis(10),
            rates: Vec::new(),
            window: 8,
            sockets: 1,
            server_core: 0,
            load_core: 0,
        };
        let queries = QuerySet::parse("a.example A", None).unwrap();
        let error = run(&plan, &queries).unwrap_err().to_string();
        assert!(
            error.starts_with("`/nowhere/server 2>/dev/null` ended before"),
            "{error}"
        );
    }
}
